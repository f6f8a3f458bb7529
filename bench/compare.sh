#!/bin/bash
# bench/compare.sh -- our broker, mosquitto and others under one load, in turn, on one machine.
#
# Usage: bench/compare.sh [-T] [-r ROUNDS] [-s SECONDS] [-n CONNECTIONS] [-i SECONDS]
#                         [-o OPTION]... [PEER]...
#   -T  within TLS, with the EC certificate of tests/support/certs.sh
#   -r  rounds; in each, every scenario runs against every broker (3)
#   -s  seconds that one run measures (1)
#   -n  silent connections of the last run; 0 leaves it out (15000)
#   -i  seconds they are silent (10)
#   -o  an option of causeway-load, as --json, --csv, --html=FILE, --pin=0-2:3, or its scenario
#       instead of all of them
#   PEER is "name|start command|port": one more broker. It must stay in the foreground, listen on
#   127.0.0.1 and lose nothing with 1000 messages in flight and a million waiting per client.
#
# A wrapper of `causeway-load --compare`: what it adds is mosquitto, of Debian's package, unpacked
# into $OUT/peers and never installed, and the settings. All brokers allow 1000 messages in flight
# and a million waiting per client, and log errors only. "causeway 1w" is ours with workers = 1;
# without, it has one for each core. "floor" is bench/floor: forwarding without MQTT; it is left out
# where it cannot follow. At the end, without -o, comes one worker beside two, with the load on a
# core of its own: where there are three cores or more ($CORES; all that there are).
# The programs come from $BUILD (build/release).
# Exit status 1 when a message was lost, doubled or out of order anywhere.
set -u
cd "$(dirname "$0")/.." || exit 1

OUT=${OUT:-build}
BUILD=${BUILD:-$OUT/release}
LOAD=$BUILD/causeway-load
INFLIGHT=1000
QUEUED=1000000

rounds=3 seconds=1 connections=15000 idle=10 tls=
options=()
while getopts Tr:s:n:i:o: option; do
    case $option in
    T) tls=yes ;;
    r) rounds=$OPTARG ;;
    s) seconds=$OPTARG ;;
    n) connections=$OPTARG ;;
    i) idle=$OPTARG ;;
    o) options+=("$OPTARG") ;;
    *) exit 2 ;;
    esac
done
shift $((OPTIND - 1))

die() {
    echo "compare.sh: $*" >&2
    exit 1
}

# A port nobody listens on, from $1 on.
free_port() {
    local port=$1
    while (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do port=$((port + 1)); done
    echo "$port"
}

write_settings() {
    local keys=
    if [ "$tls" ]; then
        bash tests/support/certs.sh "$OUT/certs" || die "no certificates"
        keys="$OUT/certs/server"
    fi
    cat >"$scratch/mosquitto.conf" <<END
listener $mosquitto_port 127.0.0.1
${keys:+certfile $keys.crt
keyfile $keys.key}
allow_anonymous true
user $(id -un)
persistence false
log_type error
max_inflight_messages $INFLIGHT
max_queued_messages $QUEUED
END
    cat >"$scratch/causeway.ini" <<END
[listener mqtt]
bind = 127.0.0.1:$causeway_port
${keys:+certfile = $keys.crt
keyfile = $keys.key}
[log]
log_level = error
[limits]
max_inflight_messages = $INFLIGHT
max_queued_messages = $QUEUED
END
    { cat "$scratch/causeway.ini"; printf '[broker]\nworkers = 1\n'; } >"$scratch/one.ini"
    { cat "$scratch/causeway.ini"; printf '[broker]\nworkers = 2\n'; } >"$scratch/two.ini"
}

# The brokers, as lines that causeway-load reads; the first is what the others are compared with.
write_brokers() {
    local peer name command port
    echo "broker mosquitto $mosquitto_port $mosquitto -c $scratch/mosquitto.conf"
    echo "broker causeway $causeway_port $BUILD/causeway -c $scratch/causeway.ini"
    echo "broker \"causeway 1w\" $causeway_port $BUILD/causeway -c $scratch/one.ini"
    for peer in "$@"; do
        IFS='|' read -r name command port <<<"$peer"
        echo "broker \"$name\" $port $command"
    done
    echo "floor floor $floor_port $BUILD/floor $floor_port"
}

# From one worker to two. Where the load has no core of its own, it is the load that is measured.
compare_workers() {
    local cores=${CORES:-$(nproc)} qos
    if [ "$cores" -lt 3 ]; then
        echo "From one worker to two (goal: 1.8 times the messages): left out, for it takes 3" \
            "cores and here are $cores."
        return
    fi
    {
        echo "broker \"1 worker\" $causeway_port $BUILD/causeway -c $scratch/one.ini"
        echo "broker \"2 workers\" $causeway_port $BUILD/causeway -c $scratch/two.ini"
        for qos in 0 1 2; do
            echo "run \"point to point QoS $qos, 100 pairs\" -n 100 -q $qos p2p"
        done
    } >"$scratch/workers"
    "$LOAD" ${tls:+--insecure} --rounds "$rounds" --seconds "$seconds" --warm-up 0.3 --pin auto \
        --compare "$scratch/workers"
}

for program in "$LOAD" "$BUILD/causeway" "$BUILD/floor"; do
    [ -x "$program" ] || die "$program is missing: build first, with make all $BUILD/floor"
done
mosquitto=$(bench/mosquitto.sh) || exit 1
ulimit -n "$(ulimit -Hn)"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' INT TERM
causeway_port=$(free_port 28811)
mosquitto_port=$(free_port $((causeway_port + 1)))
floor_port=$(free_port $((mosquitto_port + 1)))
write_settings
write_brokers "$@" >"$scratch/plan"

echo "$rounds rounds of $seconds s, $(nproc) cores, Linux $(uname -r);" \
    "$(git describe --always --dirty 2>/dev/null || echo 'no commit')" >&2
"$LOAD" ${tls:+--insecure} --rounds "$rounds" --seconds "$seconds" --warm-up 0.3 \
    "${options[@]}" --compare "$scratch/plan"
status=$?
[ $status -lt 2 ] || exit $status # a mistake in the options
if [ "$connections" -gt 0 ]; then
    "$LOAD" ${tls:+--insecure} --rounds 1 --seconds "$idle" -n "$connections" --ramp 500 \
        -A 127.0.0.2 --addresses 8 --compare "$scratch/plan" hold || status=1
fi
[ ${#options[@]} -gt 0 ] || compare_workers || status=1
exit $status
