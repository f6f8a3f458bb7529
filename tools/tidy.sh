#!/bin/bash
# tools/tidy.sh -- clang-tidy over the files given, as many at a time as there are processors.
#
# Usage: tools/tidy.sh FILE.c... A file that was clean is remembered under $OUT/tidy/ by what it
# and all it includes say after preprocessing (comments kept, for NOLINT) and by .clang-tidy, so
# only what changed is read again. Ends with `N passed, N failed`, in files.
set -u
export CACHE=${OUT:-build}/tidy
export FLAGS='-std=c11 -D_GNU_SOURCE -I. -pthread -DCAUSEWAY_VERSION="0"'
mkdir -p "$CACHE"
[ $# -gt 0 ] || { echo "0 passed, 0 failed"; exit 0; }

tidy_one() {
    local file=$1 key out flags
    flags=$FLAGS
    case $file in
    net/tls*.c | net/crypt.c | */wolfssl_smoke.c) [ -d "${CACHE%/*}/wolfssl/include" ] || exit 0
        flags+=" -isystem ${CACHE%/*}/wolfssl/include -DWOLFSSL_ALWAYS_VERIFY_CB" ;;
    esac
    # shellcheck disable=SC2086 # a list of words
    key=$({ cat .clang-tidy tests/.clang-tidy; echo "$file"; clang -E -C $flags "$file"; } 2>&1 \
        | sha256sum)
    key=$CACHE/${key%% *}
    [ -e "$key" ] && { touch "$key"; exit 0; }
    # shellcheck disable=SC2086
    if out=$(clang-tidy --quiet "$file" -- $flags 2>&1); then
        touch "$key"
    else
        printf '%s\n' "$out" | grep -vE '^[0-9]+ warnings? |^Suppressed |^Use -header-filter|^$'
        exit 1
    fi
}
export -f tidy_one

# Each failure is one line in this file.
failures=$(mktemp)
printf '%s\0' "$@" | xargs -0 -n 1 -P "$(nproc)" bash -c \
    '(tidy_one "$0") || echo "$0" >>"'"$failures"'"'
failed=$(wc -l <"$failures")
rm -f "$failures"
find "$CACHE" -type f -mtime +14 -delete
echo "$(($# - failed)) passed, $failed failed"
[ "$failed" -eq 0 ]
