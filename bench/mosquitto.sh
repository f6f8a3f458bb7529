#!/bin/bash
# bench/mosquitto.sh -- brings Debian's mosquitto and prints the words that start it.
#
# Usage: mosquitto=$(bench/mosquitto.sh). The package and the libraries that may be missing are
# unpacked into $OUT/peers (build) and not installed: installing it would start a broker.
set -u
cd "$(dirname "$0")/.." || exit 1

peers=${OUT:-build}/peers

die() {
    echo "mosquitto.sh: $*" >&2
    exit 1
}

if [ ! -x "$peers/mosquitto/usr/sbin/mosquitto" ]; then
    command -v apt-get >/dev/null || die "mosquitto is taken from Debian's packages"
    mkdir -p "$peers"
    (cd "$peers" && apt-get -q download mosquitto libdlt2 libwrap0 libcjson1 >&2) \
        || die "mosquitto could not be downloaded"
    for deb in "$peers"/*.deb; do
        dpkg -x "$deb" "$peers/mosquitto" || die "$deb could not be unpacked"
    done
fi
peers=$(realpath "$peers")
libraries=$(echo "$peers"/mosquitto/usr/lib/*-linux-gnu)
echo "env LD_LIBRARY_PATH=$libraries $peers/mosquitto/usr/sbin/mosquitto"
