#!/bin/bash
# tests/e2e/test_mosquitto_clients.sh -- mosquitto_pub and mosquitto_sub against our broker.
. "$(dirname "$0")/broker.sh"

port=$(free_port)
broker_start broker <<CONFIG
[broker]
workers = ${WORKERS:-2}
sys_interval = 1s
[listener mqtt]
bind = 127.0.0.1:$port
CONFIG

pub() {
    timeout 10 mosquitto_pub -h 127.0.0.1 -p "$port" "$@" && return
    echo "mosquitto_pub $* ended with $?"
    return 1
}
sub() { timeout 20 mosquitto_sub -h 127.0.0.1 -p "$port" "$@"; }

# listen FILE OPTIONS...: a subscriber in the background, ready when this returns; its id in $job.
# It says so itself: what it prints with -d shows its SUBACK.
listen() {
    local file=$work/$1
    shift
    : >"$file.all" # what an earlier one said must not count
    timeout 20 stdbuf -oL mosquitto_sub -h 127.0.0.1 -p "$port" -d "$@" >"$file.all" 2>&1 &
    job=$!
    until_true grep -q SUBACK "$file.all" || { echo "$file: no SUBACK"; cat "$file.all"; return 1; }
}

# ends FILE: the listener comes to its end as it should.
ends() {
    wait "$job" && return
    echo "$1 ended with $?:"
    cat "$work/$1.all"
    return 1
}

# What a listener printed, without what -d adds.
heard() {
    grep -v '^Client \|^Subscribed ' "$work/$1.all"
}

sends_and_receives() { # version, publisher's QoS, subscriber's QoS
    listen one -V "$1" -q "$3" -t "one/$1/$2/$3" -C 1 -F '%q %r %t %p'
    pub -V "$1" -q "$2" -t "one/$1/$2/$3" -m "hello $1"
    ends one
    equal "$(heard one)" "$(($2 < $3 ? $2 : $3)) 0 one/$1/$2/$3 hello $1"
}
for version in mqttv31 mqttv311 mqttv5; do
    for qos in 0 1 2; do
        for granted in 0 1 2; do
            check "sends_at_qos_${qos}_and_receives_at_qos_${granted}_$version" \
                sends_and_receives "$version" "$qos" "$granted"
        done
    done
done

versions_mix() {
    listen mix -V "$1" -q 2 -t mix -C 3
    for version in mqttv31 mqttv311 mqttv5; do pub -V "$version" -q 2 -t mix -m "$version"; done
    ends mix
    equal "$(heard mix | sort | tr '\n' ' ')" "mqttv31 mqttv311 mqttv5 "
}
for version in mqttv31 mqttv311 mqttv5; do
    check "a_subscriber_hears_all_versions_$version" versions_mix "$version"
done

a_thousand_lines() {
    seq 1000 >"$work/lines"
    listen lines -V "$1" -q "$2" -t "lines/$1/$2" -C 1000
    pub -V "$1" -q "$2" -t "lines/$1/$2" -l <"$work/lines"
    ends lines
    heard lines | cmp - "$work/lines"
}
for version in mqttv311 mqttv5; do
    for qos in 0 1 2; do
        check "a_thousand_lines_stay_in_order_at_qos_${qos}_$version" a_thousand_lines \
            "$version" "$qos"
    done
done

a_file_arrives_whole() {
    head -c 700000 /dev/urandom >"$work/random"
    # What it hears on the second topic is neither printed nor counted.
    sub -q 1 -t file -t file-probe -T file-probe -C 1 -N >"$work/copy" &
    job=$!
    until_true subscribed file-probe
    pub -q 1 -t file -f "$work/random"
    wait "$job"
    cmp "$work/random" "$work/copy"
}
# Tells that somebody subscribes: only then is the reason not 0x10.
subscribed() {
    ! pub -V mqttv5 -q 1 -d -t "$1" -n 2>&1 | grep -q 'RC:16'
}
check a_file_arrives_whole a_file_arrives_whole

retained() {
    pub -V "$1" -q 1 -r -t "kept/$1/a" -m A
    pub -V "$1" -q 1 -r -t "kept/$1/b" -m B
    equal "$(sub -V "$1" -t "kept/$1/#" -C 2 -F '%r %t %p' | sort | tr '\n' ',')" \
        "1 kept/$1/a A,1 kept/$1/b B,"
    pub -V "$1" -q 1 -r -t "kept/$1/a" -n
    equal "$(sub -V "$1" -t "kept/$1/#" -C 1 -W 5 -F '%r %t %p')" "1 kept/$1/b B"
    pub -V "$1" -q 1 -r -t "kept/$1/b" -m C
    equal "$(sub -V "$1" -t "kept/$1/#" -C 1 -W 5)" C
}
for version in mqttv31 mqttv311 mqttv5; do
    check "retained_messages_$version" retained "$version"
done

waiting_in_vain() { # for what mosquitto_sub itself removes meanwhile
    local rc=0
    pub -r -t nothing -m x
    sub -t nothing --remove-retained --retained-only -W 1 || true
    sub -t nothing -W 1 || rc=$?
    equal "$rc" 27
}
check a_timeout_ends_with_status_27 waiting_in_vain

will() {
    listen will -V "$1" -t "will/$1" -C 1 -F '%q %p' -q 1
    local watcher=$job
    listen dying -V "$1" -t nothing --will-topic "will/$1" --will-payload gone --will-qos 1
    kill -KILL "$(pgrep -P "$job" mosquitto_sub)"
    wait "$watcher"
    equal "$(heard will)" "1 gone"
}
for version in mqttv31 mqttv311 mqttv5; do
    check "a_killed_client_leaves_its_will_$version" will "$version"
done

no_will() {
    listen will -t will/none -C 1
    local watcher=$job
    sub -t nothing -W 1 --will-topic will/none --will-payload gone || true
    pub -t will/none -m other
    wait "$watcher"
    equal "$(heard will)" other
}
check a_client_that_says_goodbye_leaves_no_will no_will

shared() {
    local n jobs=()
    for n in 1 2 3; do
        listen "shared$n" -V "$1" -q 1 -t "\$share/g/shared/$1" -C 10
        jobs+=("$job")
    done
    seq 30 | pub -V "$1" -q 1 -t "shared/$1" -l
    wait "${jobs[@]}"
    equal "$(for n in 1 2 3; do heard "shared$n"; done | sort -n | tr '\n' ' ')" \
        "$(seq 30 | tr '\n' ' ')"
}
for version in mqttv311 mqttv5; do
    check "a_group_shares_its_messages_$version" shared "$version"
done

resume() {
    local expiry=()
    [ "$1" = mqttv5 ] && expiry=(-x 60)
    sub -V "$1" -c -i "resume-$1" "${expiry[@]}" -q 2 -t "resume/$1" -E
    seq 10 | pub -V "$1" -q 2 -t "resume/$1" -l
    local got
    got=$(sub -V "$1" -c -i "resume-$1" "${expiry[@]}" -q 2 -t "resume/$1" -C 10)
    equal "$(tr '\n' ' ' <<<"$got")" "1 2 3 4 5 6 7 8 9 10 "
}
for version in mqttv31 mqttv311 mqttv5; do
    check "messages_wait_for_a_kept_session_$version" resume "$version"
done

properties() {
    listen props -V mqttv5 -t props -C 1 -F '%A|%C|%D|%F|%P|%R|%p' \
        -D subscribe subscription-identifier 5
    pub -V mqttv5 -t props -m body -D publish content-type text -D publish correlation-data cd \
        -D publish payload-format-indicator 1 -D publish response-topic answer \
        -D publish user-property a 1 -D publish user-property b 2
    ends props
    has "$(heard props)" 'text\|cd\|1\|a:1 *b:2 *\|answer\|body'
}
check properties_of_mqtt_5 properties

alias() {
    listen alias -V mqttv5 -t alias -C 1
    pub -V mqttv5 -t alias -m x -D publish topic-alias 3
    ends alias
    equal "$(heard alias)" x
}
check a_topic_alias alias

no_local() {
    listen nolocal -V mqttv5 -t nolocal -C 1 -i nolocal --retain-as-published
    pub -V mqttv5 -t nolocal -m 1 -r
    ends nolocal
    equal "$(heard nolocal)" 1
    pub -t nolocal -r -n
}
check retain_as_published no_local

request() {
    listen server -V mqttv5 -t rr/request -C 1 -F '%R %D'
    timeout 10 mosquitto_rr -h 127.0.0.1 -p "$port" -V mqttv5 -t rr/request -e rr/answer/me \
        -m question -W 8 -D publish correlation-data 7 >"$work/answer" &
    local asker=$!
    ends server
    equal "$(heard server)" "rr/answer/me 7"
    pub -V mqttv5 -t rr/answer/me -m reply -D publish correlation-data 7
    wait "$asker"
    equal "$(cat "$work/answer")" reply
}
check request_and_response request

sys_topics() {
    has "$(sub -t '$SYS/broker/version' -C 1 -W 5)" 'causeway|mosquitto'
    has "$(sub -t '$SYS/broker/uptime' -C 1 -W 5)" '^[0-9]+ seconds'
    has "$(sub -t '$SYS/broker/clients/connected' -C 1 -W 5)" '^[0-9]+$'
}
check sys_topics sys_topics

assigned() {
    listen assigned -t assigned -C 2
    pub -V mqttv5 -t assigned -m 5
    pub -V mqttv311 -t assigned -m 311
    ends assigned
    equal "$(heard assigned | tr '\n' ' ')" "5 311 "
}
check clients_without_an_id assigned

take_over() {
    listen old -V mqttv5 -i taken -t take
    local old=$job rc=0
    listen new -V mqttv5 -i taken -t take -C 1
    kill "$(pgrep -P "$old" mosquitto_sub)" 2>/dev/null || true # it would come back for ever
    until_true subscribed take
    wait "$old" || rc=$?
    wait "$job" || true
}
check a_second_client_takes_over take_over

one_after_another() {
    local i
    listen many -t many -q 1 -C 40
    for i in $(seq 40); do pub -t many -q 1 -m "$i"; done
    ends many
    equal "$(heard many | tr '\n' ' ')" "$(seq 40 | tr '\n' ' ')"
}
check forty_publishers_one_after_another one_after_another

finish
