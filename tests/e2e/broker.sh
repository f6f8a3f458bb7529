# tests/e2e/broker.sh -- for tests in shell: starts brokers on free ports and counts what passed.
#
# Sourced. `broker_start NAME <<CONFIG` writes the configuration, starts the broker and waits until
# every port in it accepts; the process is then in $pid and its output in $work/NAME.log.
# `check NAME COMMAND...` runs the command in a subshell and prints `ok NAME` or, with the end of
# its output, `not ok NAME`. `finish` stops what still runs and ends the test.
set -u
export LC_ALL=C
work=$(mktemp -d)
pids=()
failed=0
wait_seconds=${E2E_WAIT:-5}

# A port nobody listens on, of those that tests/e2e/run gives this test.
free_port() {
    local port first count
    read -r first count <<<"${E2E_PORTS:-20000 12000}"
    while :; do
        port=$((first + RANDOM % count))
        port_open "$port" || { echo "$port"; return; }
    done
}

port_open() {
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# until_true COMMAND...: tries it for a while.
until_true() {
    local end=$((SECONDS + wait_seconds + 1))
    until "$@"; do
        [ "$SECONDS" -ge "$end" ] && return 1
        sleep 0.02
    done
}

broker_start() {
    local name=$1
    cat >"$work/$name.ini"
    "$CAUSEWAY" -c "$work/$name.ini" >>"$work/$name.log" 2>&1 </dev/null &
    pid=$!
    pids+=("$pid")
    local port
    for port in $(sed -n 's/^bind *= *127\.0\.0\.1:\([0-9]*\)$/\1/p' "$work/$name.ini"); do
        if ! until_true port_open "$port"; then
            echo "the broker does not listen on $port:"
            tail -n 20 "$work/$name.log"
            return 1
        fi
    done
}

# Ends with status 0 when the broker ends cleanly.
broker_stop() {
    local status
    kill -TERM "$1" 2>/dev/null
    wait "$1"
    status=$?
    local left=() p
    for p in "${pids[@]}"; do [ "$p" = "$1" ] || left+=("$p"); done
    pids=("${left[@]}")
    [ "$status" -eq 0 ] || echo "the broker ended with $status"
    return "$status"
}

check() {
    local name=$1
    shift
    # Not as a condition, so that set -e works inside. What a failed one leaves is ended.
    (set -e; trap 'kill $(jobs -p) 2>/dev/null || :' EXIT; "$@") >"$work/check.out" 2>&1
    if [ $? -eq 0 ]; then
        echo "ok $name"
    else
        failed=$((failed + 1))
        echo "not ok $name"
        tail -n 25 "$work/check.out" | sed 's/^/    /'
    fi
}

# fails COMMAND...: true when it fails.
fails() {
    ! "$@"
}

# equal GOT WANTED
equal() {
    [ "$1" = "$2" ] && return
    printf 'expected: %s\ngot:      %s\n' "$2" "$1"
    return 1
}

# has TEXT PATTERN: an extended regular expression found in the text.
has() {
    grep -Eq -- "$2" <<<"$1" && return
    printf 'no "%s" in:\n%s\n' "$2" "$1"
    return 1
}

has_not() {
    grep -Eq -- "$2" <<<"$1" || return 0
    printf '"%s" in:\n%s\n' "$2" "$1"
    return 1
}

no_sanitizer_report() {
    if grep -Eh 'Sanitizer|runtime error:|this must hold and does not' "$work"/*.log; then
        return 1
    fi
}

finish() {
    local p
    for p in "${pids[@]}"; do
        check broker_ends_cleanly broker_ends "$p"
    done
    check no_sanitizer_report no_sanitizer_report
    rm -rf "$work"
    [ "$failed" -eq 0 ]
    exit
}

# For finish: the broker is a child of the test, not of the subshell of check.
broker_ends() {
    kill -TERM "$1"
    until_true fails kill -0 "$1" 2>/dev/null || return 1
}
