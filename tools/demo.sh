#!/bin/bash
# tools/demo.sh -- two linked brokers on this machine, and messages that cross between them.
#
# Usage: CAUSEWAY=PROGRAM tools/demo.sh. Starts the two brokers of the quick start (README.md),
# waits until the link is up, listens and publishes on both sides with mosquitto_sub and
# mosquitto_pub, and stops everything. Ends with status 1 if a message did not cross. If a port of
# the quick start is taken, it takes others and says so.
set -u
program=${CAUSEWAY:-build/release/causeway}
seconds=${DEMO_SECONDS:-15} # for the link to come up
work=$(mktemp -d)
pids=()

clean_up() {
    local pid
    for pid in "${pids[@]}"; do
        kill -TERM "$pid" 2>/dev/null
    done
    for pid in "${pids[@]}"; do
        wait "$pid" 2>/dev/null
    done
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

fail() {
    printf '\n%s\n' "$*" >&2
    local name
    for name in us-east eu-west; do
        if [ -s "$work/$name.log" ]; then
            printf '\nThe last lines of %s:\n' "$name" >&2
            tail -n 15 "$work/$name.log" | sed 's/^/    /' >&2
        fi
    done
    exit 1
}

for tool in mosquitto_sub mosquitto_pub; do
    command -v "$tool" >/dev/null || fail "$tool is missing: apt-get install mosquitto-clients"
done
[ -x "$program" ] || fail "there is no broker at $program: run make first"

is_taken() {
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# The ports of the quick start, moved up together until all four are free.
move=0
while :; do
    us=$((1883 + move)) eu=$((2883 + move))
    us_link=$((11883 + move)) eu_link=$((21883 + move))
    taken=
    for port in "$us" "$eu" "$us_link" "$eu_link"; do
        is_taken "$port" && taken+=" $port"
    done
    [ -z "$taken" ] && break
    echo "port$taken is taken: trying others"
    move=$((move + 10))
    [ "$move" -le 500 ] || fail "no free ports"
done

# $1 name, $2 port, $3 port for links, $4 the other's name, $5 its port for links
start() {
    cat >"$work/$1.ini" <<CONFIG
[cluster]
name = cluster-$1
[listener mqtt]
bind = 127.0.0.1:$2
[listener clink]
bind = 127.0.0.1:$3
[link cluster-$4]
server = 127.0.0.1:$5
clientid = clink-$1
topics = #
CONFIG
    "$program" -c "$work/$1.ini" >"$work/$1.log" 2>&1 </dev/null &
    pids+=($!)
    local tries
    for tries in $(seq 250); do
        is_taken "$2" && return
        kill -0 "${pids[-1]}" 2>/dev/null || break
        sleep 0.02
    done
    fail "the broker of cluster-$1 does not start"
}

echo "Starting two brokers:"
start us-east "$us" "$us_link" eu-west "$eu_link"
start eu-west "$eu" "$eu_link" us-east "$us_link"
echo "  cluster-us-east   clients on 127.0.0.1:$us   links on 127.0.0.1:$us_link"
echo "  cluster-eu-west   clients on 127.0.0.1:$eu   links on 127.0.0.1:$eu_link"
printf '\nThe configuration of cluster-us-east; the other is its mirror:\n'
sed 's/^/    /' "$work/us-east.ini"

# A subscriber in the background; what it hears goes to a file.
listen() { # name, port
    timeout 60 mosquitto_sub -h 127.0.0.1 -p "$2" -q 1 -t 'demo/#' -F '%t  %p' \
        >"$work/$1.heard" 2>&1 &
    pids+=($!)
}
listen us-east "$us"
listen eu-west "$eu"

publish() { # port, topic, text
    mosquitto_pub -h 127.0.0.1 -p "$1" -q 1 -t "$2" -m "$3" || fail "cannot publish on port $1"
}

# Waits until a file has a line.
heard() { # name, text, tries of 50 ms
    local tries
    for tries in $(seq "$3"); do
        grep -qF -- "$2" "$work/$1.heard" 2>/dev/null && return
        sleep 0.05
    done
    return 1
}

printf '\nWaiting for the link '
began=$SECONDS
until publish "$us" demo/hello from-us && heard eu-west from-us 4 &&
    publish "$eu" demo/hello from-eu && heard us-east from-eu 4; do
    [ $((SECONDS - began)) -lt "$seconds" ] || fail "the link is not up after $seconds s"
    printf '.'
done
printf ' up\n\n'

missing=0
cross() { # from, its port, to, topic, text
    echo "  mosquitto_pub -p $2 -t $4 -m '$5'        # at cluster-$1"
    publish "$2" "$4" "$5"
    if heard "$3" "$4  $5" 100; then
        echo "      cluster-$3 heard:  $4  $5"
    else
        echo "      cluster-$3 did not hear it"
        missing=1
    fi
}
echo "With mosquitto_sub -t 'demo/#' at both brokers:"
cross us-east "$us" eu-west demo/train/7 'leaves New York at 9:05'
cross eu-west "$eu" us-east demo/ferry/3 'arrives in Dover at 14:40'
cross us-east "$us" eu-west demo/weather 'rain'
cross eu-west "$eu" us-east demo/weather 'sun, for once'

# Each broker's own subscriber heard its own messages too, and everything once.
for name in us-east eu-west; do
    count=$(grep -cF 'demo/weather  ' "$work/$name.heard")
    if [ "$count" -ne 2 ]; then
        echo "  cluster-$name heard $count messages about the weather instead of 2"
        missing=1
    fi
done

[ "$missing" -eq 0 ] || fail "not every message crossed as it should"
printf '\nEvery message crossed the link, once.\n'
