#!/bin/bash
# tests/fuzz/run.sh -- runs libFuzzer programs for a while each, counts those that found nothing.
#
# Usage: BUILD=DIR tests/fuzz/run.sh SECONDS PROGRAM... The kept corpus tests/fuzz/corpus/<name>/ is
# only read; what is found goes to BUILD/corpus/<name>/, an input that fails to BUILD/crash/.
# A dictionary tests/fuzz/<name>.dict is used where there is one.
set -u
seconds=$1
shift
passed=0
failed=0
for program in "$@"; do
    name=${program##*/fuzz_}
    kept=tests/fuzz/corpus/$name
    found=$BUILD/corpus/$name
    log=$BUILD/fuzz_$name.log
    mkdir -p "$found" "$BUILD/crash"
    args=(-max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1
        -artifact_prefix="$BUILD/crash/$name-")
    [ -f "tests/fuzz/$name.dict" ] && args+=(-dict="tests/fuzz/$name.dict")
    args+=("$found")
    [ -d "$kept" ] && args+=("$kept")
    if timeout -k 5 $((seconds + 60)) "$program" "${args[@]}" >"$log" 2>&1 </dev/null; then
        passed=$((passed + 1))
        runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
        printf 'ok      %-24s %s runs\n' "$name" "$runs"
    else
        failed=$((failed + 1))
        tail -n 60 "$log" | sed 's/^/    /'
        printf 'not ok  %-24s inputs that fail are in %s\n' "$name" "$BUILD/crash"
    fi
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
