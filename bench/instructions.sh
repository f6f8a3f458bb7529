#!/bin/bash
# bench/instructions.sh -- instructions of the broker for a message, on each path, by callgrind.
#
# Usage: bench/instructions.sh [-f FUNCTIONS] [PATH]...
#   -f  name so many functions of each path that take the most, inlined ones with their callers (4)
#   PATH is one of those that `build/release/paths` names; all without one.
#
# Prints a Markdown table. Each path is walked twice, with different counts; the difference is what
# the messages took, without the start. What is counted is the broker's part alone, from bytes that
# came to bytes that are to leave (bench/paths/paths.c): no kernel, no net, no TLS. The figures are
# the same from run to run, whatever else the machine does.
set -u
cd "$(dirname "$0")/.." || exit 1

PATHS=${BUILD:-${OUT:-build}/release}/paths
FEW=6400
MANY=32000

functions=4
while getopts f: option; do
    case $option in
    f) functions=$OPTARG ;;
    *) sed -n '3,6s/^# //p' "$0" >&2 && exit 2 ;;
    esac
done
shift $((OPTIND - 1))
if [ ! -x "$PATHS" ]; then
    echo "instructions.sh: $PATHS is missing: make $PATHS" >&2
    exit 2
fi
if ! command -v valgrind >/dev/null; then
    echo "instructions.sh: valgrind is missing: apt-get install valgrind" >&2
    exit 2
fi
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# walk NAME COUNT: prints the instructions of so many messages; the profile is in $scratch/COUNT.
walk() {
    valgrind --tool=callgrind --collect-atstart=no --callgrind-out-file="$scratch/$2" \
        --toggle-collect=path_offer --toggle-collect=path_turn --toggle-collect=path_leave \
        --toggle-collect=path_gone "$PATHS" "$1" "$2" >"$scratch/log" 2>&1 || {
        cat "$scratch/log" >&2
        return 1
    }
    sed -n 's/^summary: *//p' "$scratch/$2"
}

# hottest ALL: the functions that take most of the profile of the longer walk, in per cent.
hottest() {
    callgrind_annotate --threshold=100 "$scratch/$MANY" |
        sed -nE 's/^ *[0-9,]+ \( *([0-9.]+)%\) +[^ ]*:([A-Za-z_0-9]+).*/\1 \2/p' |
        awk -v few="$functions" \
            'NR <= few { printf("%s%s %.0f %%", (NR == 1 ? "" : ", "), $2, $1) }'
}

failed=0
echo "| path | instructions | most in |"
echo "|---|---|---|"
while IFS=$'\t' read -r name text; do
    if [ $# -gt 0 ] && [[ " $* " != *" $name "* ]]; then
        continue
    fi
    if few=$(walk "$name" $FEW) && many=$(walk "$name" $MANY); then
        echo "| $text | $(((many - few) / (MANY - FEW))) | $(hottest) |"
    else
        failed=1
    fi
done < <("$PATHS")
exit $failed
