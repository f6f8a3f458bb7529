#!/bin/sh
# tools/deps.sh -- installs the Debian packages that are missing, and only then touches apt.
#
# Usage: tools/deps.sh PACKAGE... Ordinary users go through sudo where there is one; without it the
# line to run is printed. `npm` is asked for as a command, because Debian's package cannot stand
# beside a node from elsewhere.
set -eu

if ! command -v dpkg-query >/dev/null; then
    echo "deps: not a Debian system; needed, under Debian's names: $*" >&2
    exit 0
fi

missing=
for package in "$@"; do
    if [ "$package" = npm ]; then
        command -v npm >/dev/null || missing="$missing nodejs npm"
        continue
    fi
    status=$(dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null || true)
    case "$status" in
    *not-installed* | '') missing="$missing $package" ;;
    *installed*) ;;
    *) missing="$missing $package" ;;
    esac
done
[ -n "$missing" ] || exit 0

as_root=
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "deps: packages are missing; please run as root:" >&2
        echo "    apt-get update && apt-get install -y --no-install-recommends$missing" >&2
        exit 1
    fi
    as_root=sudo
fi
echo "deps: installing$missing"
$as_root apt-get update -qq
# shellcheck disable=SC2086 # a list of words
$as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends $missing >/dev/null
