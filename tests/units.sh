#!/bin/bash
# tests/units.sh -- runs cmocka programs, as many at a time as there are processors.
#
# Usage: tests/units.sh PROGRAM... Prints a line for each, the whole output of one that failed, and
# at the end `N passed, N failed`. A test that began and did not end well counts as failed, so a
# program that crashes or hangs cannot lose any.
set -u

run_one() {
    timeout -k 5 "${UNIT_SECONDS:-120}" "$1" >"$1.log" 2>&1 </dev/null
    echo $? >"$1.rc"
}
export -f run_one
[ $# -gt 0 ] && printf '%s\0' "$@" | xargs -0 -n 1 -P "$(nproc)" bash -c 'run_one "$0"'

passed=0
failed=0
for program in "$@"; do
    rc=$(cat "$program.rc")
    began=$(grep -c '^\[ RUN      \]' "$program.log")
    well=$(grep -c '^\[       OK \]' "$program.log")
    skipped=$(grep -c '^\[  SKIPPED \]' "$program.log")
    bad=$((began - well - skipped))
    [ "$rc" -ne 0 ] && [ "$bad" -le 0 ] && bad=1
    [ "$rc" -eq 0 ] && [ "$began" -eq 0 ] && bad=1 # a program without a test is a mistake
    passed=$((passed + well))
    failed=$((failed + bad))
    if [ "$bad" -eq 0 ]; then
        printf 'ok      %-48s %d\n' "${program#*/}" "$well"
    else
        sed 's/^/    /' "$program.log" | tail -n 100
        printf 'not ok  %-48s %d of %d failed, exit status %d\n' \
            "${program#*/}" "$bad" "$began" "$rc"
    fi
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
