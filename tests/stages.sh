#!/bin/bash
# tests/stages.sh -- runs make targets one after the other and adds up what they counted.
#
# Usage: tests/stages.sh 'TARGET' 'VARIABLE=value TARGET' ... A stage's count is its last line of
# the form `N passed, N failed`; a stage without one counts as one passed or one failed. After a
# failed stage it goes on, so that one run shows everything. STAGE_ARGS is given to every make.
# Prints the time of each stage, then the sum in the same form; exit status 1 if anything failed.
set -u
out=${OUT:-build}
mkdir -p "$out/log"

passed=0
failed=0
table=
for stage in "$@"; do
    name=${stage##* }
    log=$out/log/${STAGE_ARGS:+${STAGE_ARGS#*=}-}$name.log
    printf -- '--- %s%s\n' "${STAGE_ARGS:+$STAGE_ARGS }" "$stage"
    began=$(date +%s%N)
    # shellcheck disable=SC2086 # both are lists of words
    "${MAKE:-make}" --no-print-directory ${STAGE_ARGS:-} $stage 2>&1 | tee "$log"
    rc=${PIPESTATUS[0]}
    took=$((($(date +%s%N) - began) / 100000000))
    count=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$log" | tail -n 1)
    if [ -n "$count" ]; then
        p=${count%% *}
        f=${count#*, }
        f=${f%% *}
        [ "$rc" -ne 0 ] && [ "$f" -eq 0 ] && f=1
    else
        p=$((rc == 0))
        f=$((rc != 0))
    fi
    passed=$((passed + p))
    failed=$((failed + f))
    row=$(printf '%-28s %5d passed %4d failed %5d.%d s' \
        "$stage" "$p" "$f" $((took / 10)) $((took % 10)))
    table+=$row$'\n'
done
printf -- '---\n%s' "$table"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
