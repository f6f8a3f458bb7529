#!/bin/bash
# tests/e2e/test_cli.sh -- the broker's command line, its start and its end, its logs.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/broker.sh"

run() { # its output in $said, its status in $rc
    rc=0
    said=$(timeout 10 "$CAUSEWAY" "$@" 2>&1 </dev/null) || rc=$?
}

file() { # file NAME: the configuration from stdin
    cat >"$work/$1.ini"
    echo "$work/$1.ini"
}

# ---- what is only printed ----

version() {
    for option in -V --version; do
        run "$option"
        equal "$rc" 0
        has "$said" '^causeway [0-9]+\.[0-9]+'
    done
}
check version_is_printed version

help() {
    for option in -h --help; do
        run "$option"
        equal "$rc" 0
        has "$said" '-c FILE'
        has "$said" '-t '
        has "$said" '-p PORT'
        has "$said" '--help-config'
    done
}
check help_is_printed help

help_config() {
    run --help-config
    equal "$rc" 0
    local word
    for word in '\[broker\]' '\[cluster\]' '\[listener' '\[link' '\[limits\]' '\[log\]' '\[auth\]' \
        max_inflight_messages max_queued_messages allow_anonymous topics server workers \
        sys_interval; do
        has "$said" "$word"
    done
}
check help_config_explains_every_section help_config

sample() {
    run --sample-config
    equal "$rc" 0
    printf '%s\n' "$said" >"$work/sample.ini"
    run -t -c "$work/sample.ini"
    equal "$rc" 0
}
check the_sample_configuration_is_right sample

unknown_options() {
    local options
    for options in -z --nonsense '-p' '-p x' '-p 0' '-p 65536' '-p -1' '-c' 'stray'; do
        # shellcheck disable=SC2086 # several words
        run $options
        [ "$rc" -ne 0 ] || { echo "$options ends with 0: $said"; return 1; }
        [ -n "$said" ]
    done
}
check wrong_options_are_refused unknown_options

# ---- -t ----

good_file() {
    run -t -c "$(file good <<CONFIG
[broker]
workers = 3
[listener a]
bind = 127.0.0.1:1999
[limits]
max_packet_size = 1MB
[log]
log_format = json
CONFIG
)"
    equal "$rc" 0
    has "$said" '127\.0\.0\.1:1999'
}
check a_good_file_passes good_file

an_empty_file() {
    run -t -c "$(file empty </dev/null)"
    equal "$rc" 0
    has "$said" '127\.0\.0\.1:1883'
    run -t
    equal "$rc" 0
}
check an_empty_file_is_the_default an_empty_file

all_mistakes() {
    local f
    f=$(file bad <<CONFIG
[broker]
workers = many
wrokers = 2
[limits]
max_packet_size = 5 furlongs
max_qos = 3
no equals sign here
[nonsense]
a = b
[listener a]
bind = 999.0.0.1:1
allow_anonymous = perhaps
[listener a]
bind = 127.0.0.1:1884
[log]
log_level = loud
CONFIG
)
    run -t -c "$f"
    equal "$rc" 1
    local line
    for line in 2 3 5 6 7 8 11 12 13 16; do
        has "$said" "^$f:$line: .*"
    done
    has "$said" "^$f:2: .*workers"
    has "$said" "^$f:3: .*wrokers"
    run -c "$f" # and without -t it does not start either
    equal "$rc" 1
    has "$said" "^$f:16: "
}
check all_mistakes_are_told_with_their_lines all_mistakes

missing_file() {
    run -t -c "$work/nowhere.ini"
    equal "$rc" 1
    has "$said" nowhere.ini
    run -c "$work"
    equal "$rc" 1
}
check a_missing_file_is_told missing_file

hash_is_a_filter() {
    run -t -c "$(file hash <<CONFIG
[cluster]
name = a
[listener a]
bind = 127.0.0.1:1999
[link b]
server = 127.0.0.1:1998
topics = #
[link c]
server = 127.0.0.1:1997
topics = a/#, b/+/c
topics = d
[link d]
server = 127.0.0.1:1996
topics =
CONFIG
)"
    equal "$rc" 0
    has "$said" 'b.*#'
    has "$said" 'c.*a/#.*b/\+/c.*d'
}
check topics_may_be_a_hash_several_or_none hash_is_a_filter

open_listener() {
    local f
    f=$(file open <<CONFIG
[listener a]
bind = 0.0.0.0:$(free_port)
CONFIG
)
    run -c "$f"
    equal "$rc" 1
    has "$said" "^$f:.*allow_anonymous"
    run -t -c "$(file auth_is_not_enough <<CONFIG
[auth]
allow_anonymous = true
[listener a]
bind = [::]:$(free_port)
CONFIG
)"
    equal "$rc" 1
    run -t -c "$(file said_so <<CONFIG
[listener a]
bind = 0.0.0.0:$(free_port)
allow_anonymous = true
CONFIG
)"
    equal "$rc" 0
}
check an_open_listener_must_say_so open_listener

repeated_listeners() {
    run -t -c "$(file twice <<CONFIG
[listener a]
bind = 127.0.0.1:1999
[listener b]
bind = 127.0.0.1:1999
CONFIG
)"
    equal "$rc" 1
    has "$said" 1999
}
check one_address_for_two_listeners_is_a_mistake repeated_listeners

# ---- starting and ending ----

starts_on_a_port() {
    local port pid
    port=$(free_port)
    "$CAUSEWAY" -p "$port" >"$work/port.log" 2>&1 &
    pid=$!
    until_true port_open "$port"
    timeout 5 mosquitto_pub -p "$port" -t a -m b
    kill -TERM "$pid"
    wait "$pid"
}
check option_p_names_the_port starts_on_a_port

port_in_use() {
    local port
    port=$(free_port)
    broker_start first <<CONFIG
[listener a]
bind = 127.0.0.1:$port
CONFIG
    run -p "$port"
    equal "$rc" 1
    has "$said" "$port"
    has "$said" 'in use|already|taken'
    run -c "$work/first.ini"
    equal "$rc" 1
    timeout 5 mosquitto_pub -p "$port" -t a -m b # the first one lives
    broker_stop "$pid"
}
check a_port_in_use_is_told port_in_use

restart_at_once() {
    local port n
    port=$(free_port)
    for n in 1 2 3; do
        broker_start again <<CONFIG
[listener a]
bind = 127.0.0.1:$port
CONFIG
        timeout 5 mosquitto_pub -p "$port" -t a -m b
        broker_stop "$pid"
    done
}
check the_port_is_free_again_at_once restart_at_once

ends_on() {
    local port
    port=$(free_port)
    broker_start ends <<CONFIG
[broker]
pid_file = $work/pid
[listener a]
bind = 127.0.0.1:$port
CONFIG
    until_true test -s "$work/pid" # written once the port is ours
    equal "$(cat "$work/pid")" "$pid"
    kill "-$1" "$pid"
    wait "$pid"
    fails port_open "$port"
    [ ! -e "$work/pid" ]
}
check sigterm_ends_cleanly ends_on TERM
check sigint_ends_cleanly ends_on INT

hangup_does_not_end_it() {
    local port
    port=$(free_port)
    broker_start hup <<CONFIG
[listener a]
bind = 127.0.0.1:$port
CONFIG
    kill -PIPE "$pid"
    kill -USR1 "$pid"
    timeout 5 mosquitto_pub -p "$port" -t a -m b
    broker_stop "$pid"
}
check sigpipe_and_sigusr1_do_not_end_it hangup_does_not_end_it

# The client says what it got when the broker ended.
says_goodbye() {
    local port
    port=$(free_port)
    broker_start bye <<CONFIG
[listener a]
bind = 127.0.0.1:$port
CONFIG
    PYTHONPATH=$here /usr/bin/python3 - "$port" "$pid" <<'SCRIPT'
import os, signal, sys
import mqtt
clients = [mqtt.Client(("127.0.0.1", int(sys.argv[1])), 3 + i % 3).login(f"c{i}") for i in range(9)]
os.kill(int(sys.argv[2]), signal.SIGTERM)
for c in clients:
    c.closed(0x8B)
SCRIPT
    wait "$pid"
}
check clients_of_mqtt_5_are_told_that_it_ends says_goodbye

slow_clients_do_not_hold_it_up() {
    local port began
    port=$(free_port)
    broker_start slow <<CONFIG
[listener a]
bind = 127.0.0.1:$port
CONFIG
    PYTHONPATH=$here /usr/bin/python3 - "$port" "$pid" <<'SCRIPT'
import os, signal, sys, time
import mqtt
a = ("127.0.0.1", int(sys.argv[1]))
slow = mqtt.Client(a, 5, receive_buffer=4096).login("slow")
slow.subscribe("flood")
pub = mqtt.Client(a, 5).login("pub")
for _ in range(300):
    pub.publish("flood", bytes(5000))
pub.ping()
silent = mqtt.Client(a, 5)
os.kill(int(sys.argv[2]), signal.SIGTERM)
end = time.monotonic() + 8
while time.monotonic() < end:
    state = open(f"/proc/{sys.argv[2]}/stat").read().rsplit(")", 1)[1].split()[0] \
        if os.path.exists(f"/proc/{sys.argv[2]}/stat") else "Z"
    if state == "Z":
        sys.exit(0)
    time.sleep(0.05)
sys.exit("it did not end within 8 s")
SCRIPT
    wait "$pid"
}
check slow_clients_do_not_hold_up_the_end slow_clients_do_not_hold_it_up

# As under a container's seccomp profile: io_uring_setup answers EPERM.
io_uring_forbidden() {
    local out
    out=$(timeout 10 /usr/bin/python3 - "$CAUSEWAY" "$(free_port)" 2>&1 <<'SCRIPT'
import ctypes, os, struct, sys
code = b"".join(struct.pack("HBBI", *x) for x in (
    (0x20, 0, 0, 0),  # the number of the system call
    (0x15, 0, 1, 425),  # io_uring_setup, on every architecture
    (0x06, 0, 0, 0x00050001),  # error EPERM
    (0x06, 0, 0, 0x7FFF0000)))  # allow
buffer = ctypes.create_string_buffer(code)
class Program(ctypes.Structure):
    _fields_ = [("count", ctypes.c_ushort), ("code", ctypes.c_void_p)]
program = Program(4, ctypes.addressof(buffer))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0  # no new privileges
assert libc.prctl(22, 2, ctypes.byref(program), 0, 0) == 0, ctypes.get_errno()
os.execv(sys.argv[1], [sys.argv[1], "-p", sys.argv[2]])
SCRIPT
) && { echo "it started: $out"; return 1; }
    has "$out" io_uring
    has "$out" 'seccomp|io_uring_disabled'
}
check a_kernel_that_forbids_io_uring_is_explained io_uring_forbidden

# ---- logs ----

logs() { # format: what is logged of a client's life, in $work/FORMAT.file
    local port
    port=$(free_port)
    broker_start "$1" <<CONFIG
[listener a]
bind = 127.0.0.1:$port
[log]
log_dest = stderr
log_dest = file $work/$1.file
log_format = $1
CONFIG
    timeout 5 mosquitto_pub -p "$port" -i 'the "client"' -u somebody -P topsecret -t a -m b
    timeout 5 mosquitto_pub -p "$port" -V mqttv5 -i other -u somebody -P topsecret -t 'a' -m b
    printf 'GARBAGE\0' >"/dev/tcp/127.0.0.1/$port" || true
    timeout 5 mosquitto_pub -p "$port" -i last -t a -m b
    broker_stop "$pid"
}

text_logs() {
    logs text
    local all
    all=$(cat "$work/text.file")
    has "$all" 'event="client connected".* client="the \\"client\\""'
    has "$all" 'client=other'
    has "$all" 'event="client connected".*peer=127\.0\.0\.1'
    has "$all" 'event=stopped'
    has_not "$all" topsecret
    has "$(cat "$work/text.log")" 'client=other' # both destinations
}
check text_logs_tell_what_happened text_logs

json_logs() {
    logs json
    /usr/bin/python3 - "$work/json.file" "$work/json.log" <<'SCRIPT'
import json, sys
for path in sys.argv[1:]:
    lines = [json.loads(line) for line in open(path, encoding="utf-8")]
    assert lines, path
    for line in lines:
        assert {"ts", "level", "event"} <= set(line), line
    came = [x for x in lines if x["event"] == "client connected"]
    assert {"the \"client\"", "other", "last"} <= {x.get("client") for x in came}, came
    for x in came:
        assert x.get("peer", "").startswith("127.0.0.1"), x
        if x["client"] == "other":
            assert x.get("user") in (None, "somebody"), x
    assert "topsecret" not in open(path).read()
SCRIPT
}
check json_logs_are_json json_logs

client_ids_cannot_forge_lines() {
    local port
    port=$(free_port)
    for format in text json; do
        broker_start "forged-$format" <<CONFIG
[listener a]
bind = 127.0.0.1:$port
[log]
log_format = $format
CONFIG
        PYTHONPATH=$here /usr/bin/python3 - "$port" <<'SCRIPT'
import sys
import mqtt
for name in ("a\nevent=forged", "b\revent=forged", 'c" event=forged "', "d\u2028event=forged",
             "e\x1b[31m", "f\x7f", "g\\", "h ü"):
    c = mqtt.Client(("127.0.0.1", int(sys.argv[1])), 5)
    c.send(mqtt.connect(5, name, username=name))
    c.recv()  # it may be refused
    c.close()
SCRIPT
        broker_stop "$pid"
        has_not "$(cat "$work/forged-$format.log")" '^event=forged'
        has_not "$(grep -ac $'\x1b\|\r' "$work/forged-$format.log")" '[1-9]'
    done
    /usr/bin/python3 -c 'import json, sys
for line in open(sys.argv[1], newline="\n"): json.loads(line)' "$work/forged-json.log"
}
check client_ids_cannot_forge_log_lines client_ids_cannot_forge_lines

rotation() {
    local port
    port=$(free_port)
    broker_start rotate <<CONFIG
[listener a]
bind = 127.0.0.1:$port
[log]
log_dest = file $work/rotate.file
CONFIG
    timeout 5 mosquitto_pub -p "$port" -i before -t a -m b
    until_true grep -q 'client=before' "$work/rotate.file"
    mv "$work/rotate.file" "$work/rotate.old"
    kill -USR1 "$pid"
    until_true test -e "$work/rotate.file"
    timeout 5 mosquitto_pub -p "$port" -i after -t a -m b
    until_true grep -q 'client=after' "$work/rotate.file"
    has_not "$(cat "$work/rotate.old")" 'client=after'
    broker_stop "$pid"
}
check sigusr1_opens_the_log_anew rotation

quiet() {
    local port
    port=$(free_port)
    broker_start quiet <<CONFIG
[listener a]
bind = 127.0.0.1:$port
[log]
connection_messages = false
CONFIG
    timeout 5 mosquitto_pub -p "$port" -i unseen -t a -m b
    broker_stop "$pid"
    has_not "$(cat "$work/quiet.log")" unseen
}
check connections_may_be_left_out_of_the_log quiet

no_log() {
    local port
    port=$(free_port)
    broker_start none <<CONFIG
[listener a]
bind = 127.0.0.1:$port
[log]
log_dest = none
CONFIG
    timeout 5 mosquitto_pub -p "$port" -i unseen -t a -m b
    broker_stop "$pid"
    equal "$(cat "$work/none.log")" ""
}
check the_log_may_be_turned_off no_log

bad_log_file() {
    run -c "$(file badlog <<CONFIG
[listener a]
bind = 127.0.0.1:$(free_port)
[log]
log_dest = file $work/nowhere/log
CONFIG
)"
    equal "$rc" 1
    has "$said" nowhere
}
check a_log_file_that_cannot_be_opened_is_told bad_log_file

finish
