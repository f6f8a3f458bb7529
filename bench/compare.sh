#!/bin/bash
# bench/compare.sh -- our broker and others under the same load, in turn, on this machine.
#
# Usage: bench/compare.sh [-T] [-r ROUNDS] [-s SECONDS] [-n CONNECTIONS] [-i SECONDS] [PEER]...
#   -T  within TLS, with the EC certificate of tests/support/certs.sh
#   -r  rounds; in each, every scenario runs against every broker (5)
#   -s  seconds that one run measures (1)
#   -n  silent connections of the hold run; 0 leaves it out (15000)
#   -i  seconds they are silent (10)
#   PEER is "name|start command|port": one more broker. It must stay in the foreground, listen on
#   127.0.0.1 and lose nothing with 1000 messages in flight and a million waiting per client.
#
# The programs come from $BUILD (build/release), mosquitto from Debian's package, unpacked into
# $OUT/peers and never installed. Every run has a freshly started broker. All brokers allow 1000
# messages in flight and a million waiting per client, and log errors only. "causeway 1w" is ours
# with workers = 1; without, it has one for each core.
# Prints medians with their spread, and processor time as a multiple of mosquitto's.
# Exit status 1 when a message was lost, doubled or out of order anywhere.
set -u
cd "$(dirname "$0")/.." || exit 1

OUT=${OUT:-build}
BUILD=${BUILD:-$OUT/release}
LOAD=$BUILD/causeway-load
PYTHON=/usr/bin/python3
INFLIGHT=1000
QUEUED=1000000

# name|arguments of causeway-load
SCENARIOS=(
    "point to point QoS 0, 10 pairs, window 100|-n 10 --window 100 -q 0 point-to-point"
    "point to point QoS 1, 10 pairs, window 100|-n 10 --window 100 -q 1 point-to-point"
    "fan-out 1:100 QoS 0, window 100|-n 100 --window 100 -q 0 fan-out"
    "fan-out 1:100 QoS 1, window 100|-n 100 --window 100 -q 1 fan-out"
    "lone messages QoS 0, 100 pairs, 5000/s|-n 100 --rate 5000 -q 0 point-to-point"
)

rounds=5 seconds=1 connections=15000 idle=10 tls=
while getopts Tr:s:n:i: option; do
    case $option in
    T) tls=yes ;;
    r) rounds=$OPTARG ;;
    s) seconds=$OPTARG ;;
    n) connections=$OPTARG ;;
    i) idle=$OPTARG ;;
    *) exit 2 ;;
    esac
done
shift $((OPTIND - 1))

die() {
    echo "compare.sh: $*" >&2
    exit 1
}

is_listening() {
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# A port nobody listens on, from $1 on.
free_port() {
    local port=$1
    while is_listening "$port"; do port=$((port + 1)); done
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
}

# start COMMAND PORT: sets $broker, its process.
start() {
    is_listening "$2" && die "something listens on port $2 already"
    # shellcheck disable=SC2086 # the command is a list of words
    bash -c "exec $1" >"$scratch/broker.log" 2>&1 &
    broker=$!
    for _ in $(seq 100); do
        is_listening "$2" && return
        kill -0 "$broker" 2>/dev/null || break
        sleep 0.1
    done
    cat "$scratch/broker.log" >&2
    stop
    die "this broker does not start: $1"
}

stop() {
    [ -n "$broker" ] || return
    kill "$broker" 2>/dev/null
    wait "$broker" 2>/dev/null
    broker=
}

# measure NAME COMMAND PORT LABEL ARGUMENTS: one run against a fresh broker.
measure() {
    local found
    start "$2" "$3"
    # shellcheck disable=SC2086
    if ! found=$("$LOAD" ${tls:+--insecure} -p "$3" --pid "$broker" --json $5); then
        echo "compare.sh: $1, $4: not clean: $found" >&2
        unclean=1
    fi
    stop
    [ -n "$found" ] && printf '%s\t%s\t%s\n' "$4" "$1" "$found" >>"$scratch/results"
}

for program in "$LOAD" "$BUILD/causeway"; do
    [ -x "$program" ] || die "$program is missing: build first, with make"
done
mosquitto=$(bench/mosquitto.sh) || exit 1
ulimit -n "$(ulimit -Hn)"
scratch=$(mktemp -d)
broker='' unclean=0
trap 'stop; rm -rf "$scratch"' EXIT
trap 'exit 1' INT TERM
causeway_port=$(free_port 28811)
mosquitto_port=$(free_port $((causeway_port + 1)))
write_settings
# The first is what the others are compared with.
peers=(
    "mosquitto|$mosquitto -c $scratch/mosquitto.conf|$mosquitto_port"
    "causeway|$BUILD/causeway -c $scratch/causeway.ini|$causeway_port"
    "causeway 1w|$BUILD/causeway -c $scratch/one.ini|$causeway_port"
    "$@"
)

echo "$rounds rounds of $seconds s, 64-byte payload, MQTT 3.1.1, $(nproc) cores," \
    "Linux $(uname -r); $(git describe --always --dirty 2>/dev/null || echo 'no commit')"
: >"$scratch/results"
for round in $(seq "$rounds"); do
    for scenario in "${SCENARIOS[@]}"; do
        for peer in "${peers[@]}"; do
            IFS='|' read -r name command port <<<"$peer"
            measure "$name" "$command" "$port" "${scenario%%|*}" \
                "--seconds $seconds --warm-up 0.3 ${scenario#*|}"
        done
    done
    echo "round $round of $rounds" >&2
done
if [ "$connections" -gt 0 ]; then
    for peer in "${peers[@]}"; do
        IFS='|' read -r name command port <<<"$peer"
        measure "$name" "$command" "$port" "hold" \
            "-n $connections --seconds $idle --ramp 500 -A 127.0.0.2 --addresses 8 hold"
    done
fi

"$PYTHON" - "$scratch/results" <<'END'
import json
import statistics
import sys

runs = {}
for line in open(sys.argv[1], encoding="utf-8"):
    label, name, found = line.rstrip("\n").split("\t")
    runs.setdefault(label, {}).setdefault(name, []).append(json.loads(found))


def column(results, *path):
    values = []
    for r in results:
        for key in path:
            r = r[key]
        values.append(r)
    return values


hold = runs.pop("hold", {})
form = "{:<44} {:<12} {:>8} {:>17} {:>7} {:>12} {:>9} {:>9}"
print()
print(form.format("scenario", "broker", "CPU us", "(least..most)", "ratio", "delivered/s",
                  "50 % us", "99 % us"))
for label, brokers in runs.items():
    base = None
    for name, results in brokers.items():
        cpu = column(results, "broker", "cpu_us_per_delivered")
        median = statistics.median(cpu)
        base = median if base is None else base
        print(form.format(
            label, name, f"{median:.3f}", f"({min(cpu):.3f}..{max(cpu):.3f})",
            f"x{median / base:.3f}" if base else "-",
            f"{statistics.median(column(results, 'delivered_per_second')):,.0f}",
            f"{statistics.median(column(results, 'latency_us', 'p50')):,.0f}",
            f"{statistics.median(column(results, 'latency_us', 'p99')):,.0f}"))
if hold:
    print()
for name, (r, *_) in hold.items():
    b = r["broker"]
    print(f"{r['connections']:,} silent connections: {name:<12} "
          f"{b['bytes_per_connection']:,.0f} bytes of user space each "
          f"({b['memory_before'] / 1e6:.1f} -> {b['memory_connected'] / 1e6:.1f} MB), "
          f"idle {b['cores'] * 100:.2f} % of one core, "
          f"{b['cpu_us_per_connection']:.0f} us of CPU to connect and subscribe")
END
exit $unclean
