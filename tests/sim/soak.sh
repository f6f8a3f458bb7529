#!/bin/bash
# tests/sim/soak.sh -- many seeds of the simulated world, on all processors.
#
# Usage: tests/sim/soak.sh PROGRAM SEEDS. Runs SEEDS seeds of one broker and as many of linked
# clusters, in pieces, as many at a time as there are processors (SOAK_JOBS). Says a line for each
# piece, with what failed in it, and at the end `N passed, N failed`.
set -u
program=$1
seeds=$2
piece=250
counts=$(mktemp -d)

run_piece() {
    local first=$1 count=$2 what=$3 said sum

    said=$("$program" "$what" --first "$first" --seeds "$count" 2>&1)
    sum=$(tail -n 1 <<<"$said")
    case $sum in
    *" passed, 0 failed") ;;
    *" passed, "*" failed") echo "$said" ;;
    *) # it has ended in the middle
        echo "$said"
        sum="0 passed, $count failed"
        ;;
    esac
    echo "seeds $first to $((first + count - 1)), $what: $sum"
    echo "$sum" >"$counts/$what.$first"
}
export -f run_piece
export program counts

for ((first = 1; first <= seeds; first += piece)); do
    count=$((seeds - first + 1 < piece ? seeds - first + 1 : piece))
    echo "$first $count --links"
    echo "$first $count --no-links"
done | xargs -P "${SOAK_JOBS:-$(nproc)}" -n 3 bash -c 'run_piece "$@"' run_piece

cat "$counts"/* | awk '
    { passed += $1; failed += $3 }
    END { printf "%d passed, %d failed\n", passed, failed; exit failed > 0 }'
rc=$?
rm -rf "$counts"
exit $rc
