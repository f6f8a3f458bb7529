#!/bin/bash
# tests/e2e/test_tls_clients.sh -- the programs of mosquitto, OpenSSL and GnuTLS at TLS listeners.
. "$(dirname "$0")/broker.sh"

certs=$BUILD/certs
bash "$E2E/../support/certs.sh" "$certs" || exit 1
port=$(free_port) psk_port=$(free_port) new_port=$(free_port) mutual_port=$(free_port)
psk_key=00112233445566778899aabbccddeeff
echo "pump psk:$psk_key" >"$work/psk"
printf 'topic readwrite #\npattern readwrite u/%%u/#\n' >"$work/acl"
broker_start broker <<CONFIG
[broker]
workers = ${WORKERS:-2}
[auth]
acl_file = $work/acl
[listener tls]
bind = 127.0.0.1:$port
certfile = $certs/chain_server.crt
keyfile = $certs/chain_server.key
[listener psk]
bind = 127.0.0.1:$psk_port
psk_file = $work/psk
psk_hint = here
use_identity_as_username = true
[listener new]
bind = 127.0.0.1:$new_port
certfile = $certs/server_rsa.crt
keyfile = $certs/server_rsa.key
tls_version = tlsv1.3
[listener mutual]
bind = 127.0.0.1:$mutual_port
certfile = $certs/server_ed25519.crt
keyfile = $certs/server_ed25519.key
cafile = $certs/ca.crt
crlfile = $certs/ca.crl
require_certificate = true
tls_version = tlsv1.2
use_identity_as_username = true
CONFIG

# ---- mosquitto ----

pub() {
    timeout 10 mosquitto_pub -h localhost -p "$port" --cafile "$certs/ca.crt" "$@" && return
    echo "mosquitto_pub $* ended with $?"
    return 1
}

# listen FILE OPTIONS...: a subscriber in the background, ready when this returns; its id in $job.
listen() {
    local file=$work/$1
    shift
    : >"$file" # what an earlier one said must not count
    timeout 20 stdbuf -oL mosquitto_sub -h localhost -d "$@" >"$file" 2>&1 &
    job=$!
    until_true grep -q SUBACK "$file" || { echo "$file: no SUBACK"; cat "$file"; return 1; }
}

# ends FILE: the listener comes to its end as it should.
ends() {
    wait "$job" && return
    echo "$1 ended with $?:"
    cat "$work/$1"
    return 1
}

heard() {
    grep -v '^Client \|^Subscribed ' "$work/$1"
}

crosses() { # version of MQTT, of TLS
    local qos
    for qos in 0 1 2; do
        listen one -p "$port" --cafile "$certs/ca.crt" --tls-version "$2" -V "$1" -q "$qos" \
            -t one -C 1 -F '%q %p'
        pub --tls-version "$2" -V "$1" -q "$qos" -t one -m "hello $1"
        ends one
        equal "$(heard one)" "$qos hello $1"
    done
}
for version in mqttv31 mqttv311 mqttv5; do
    for tls in tlsv1.2 tlsv1.3; do
        check "mosquitto_sends_and_receives_${version}_$tls" crosses "$version" "$tls"
    done
done

a_file_of_1_mb() {
    head -c 1048576 /dev/urandom >"$work/random"
    listen copied -p "$port" --cafile "$certs/ca.crt" -q 1 -t file -t last -C 2 -F '%x'
    pub -q 1 -t file -f "$work/random"
    pub -q 1 -t last -m x
    ends copied
    equal "$(heard copied | head -n 1 | cut -c 1-2097152 | md5sum)" \
        "$(od -An -v -tx1 <"$work/random" | tr -d ' \n' | sed 's/$/\n/' | md5sum)"
}
check mosquitto_sends_and_receives_1_mb a_file_of_1_mb

an_unknown_ca() {
    fails timeout 10 mosquitto_pub -h localhost -p "$port" --cafile "$certs/other_ca.crt" -t x -m x
    fails timeout 10 mosquitto_pub -h 127.0.0.2 -p "$port" --cafile "$certs/ca.crt" -t x -m x
}
check mosquitto_checks_our_certificate an_unknown_ca

with_psk() {
    listen keyed -p "$psk_port" --psk-identity 'pump psk' --psk "$psk_key" -t 'u/pump psk/x' -C 1
    timeout 10 mosquitto_pub -h localhost -p "$psk_port" --psk-identity 'pump psk' \
        --psk "$psk_key" -q 1 -t 'u/pump psk/x' -m hello
    ends keyed
    equal "$(heard keyed)" hello
    until_true grep -q 'client connected.*user="pump psk"' "$work/broker.log"
}
check mosquitto_comes_in_with_a_pre_shared_key with_psk

with_a_wrong_psk() {
    fails timeout 10 mosquitto_pub -h localhost -p "$psk_port" --psk-identity 'pump psk' \
        --psk 00112233445566778899aabbccddeef0 -t x -m x
    fails timeout 10 mosquitto_pub -h localhost -p "$psk_port" --psk-identity nobody \
        --psk "$psk_key" -t x -m x
    until_true grep -q 'listener=psk reason="unknown PSK identity"' "$work/broker.log"
    fails grep -qi "$psk_key\|ddeef0" "$work/broker.log"
}
check a_wrong_key_or_identity_is_refused with_a_wrong_psk

# ---- openssl ----

# Says CONNECT (3.1.1) through a program that connects its standard input, and answers with what it
# printed and the packet that came.
connect_packet='\x10\x10\0\x04MQTT\x04\x02\0\x3c\0\x04'
connack=20020000
say_connect() { # CLIENT_ID (4 letters) COMMAND...
    local id=$1 program
    shift
    : >"$work/said.out" # what an earlier one got must not count
    exec 9<>"$work/pipe"
    timeout 10 "$@" <"$work/pipe" >"$work/said.out" 2>"$work/said.err" 9>&- &
    program=$!
    printf "$connect_packet$id" >&9
    until_true was_answered "$program" || :
    exec 9>&-
    wait "$program" || :
    what_came
}
mkfifo "$work/pipe"
what_came() {
    od -An -v -tx1 <"$work/said.out" | tr -d ' \n'
}
was_answered() { # or its process has ended
    ! grep -q '^State:.*[RSD]' "/proc/$1/status" 2>/dev/null || grep -q "$connack" <<<"$(what_came)"
}
s_client=(openssl s_client -CAfile "$certs/ca.crt" -verify_return_error -quiet -no_ign_eof)

openssl_connects() {
    has "$(say_connect ossl "${s_client[@]}" -connect "localhost:$port" "$@")" "$connack"
}
openssl_is_refused() {
    local to=$1
    shift
    has_not "$(say_connect ossl "${s_client[@]}" -connect "localhost:$to" "$@")" "$connack"
}
check openssl_connects_with_1_2 openssl_connects -tls1_2
check openssl_connects_with_1_3 openssl_connects -tls1_3
check openssl_connects_with_p256 openssl_connects -groups P-256
check openssl_is_refused_with_1_1 openssl_is_refused "$port" -tls1_1 -cipher 'ALL:@SECLEVEL=0'
check openssl_is_refused_with_1_2_where_1_3_is_the_least openssl_is_refused "$new_port" -tls1_2
check openssl_connects_with_mqtt_by_alpn openssl_connects -alpn mqtt
check openssl_is_refused_with_another_protocol openssl_is_refused "$port" -alpn http/1.1

the_certificate_that_came() { # PORT
    openssl s_client -CAfile "$certs/ca.crt" -connect "localhost:$1" </dev/null 2>/dev/null |
        openssl x509 -noout -fingerprint
}
each_listener_shows_its_own() {
    local pair
    for pair in "$port chain_server" "$new_port server_rsa" "$mutual_port server_ed25519"; do
        set -- $pair
        equal "$(the_certificate_that_came "$1")" \
            "$(openssl x509 -noout -fingerprint -in "$certs/$2.crt")"
    done
}
check each_listener_shows_its_own_certificate each_listener_shows_its_own

openssl_resumes() { # VERSION
    local session=$work/session$1
    rm -f "$session"
    say_connect keep openssl s_client -CAfile "$certs/ca.crt" -connect "localhost:$port" "$1" \
        -no_ign_eof -sess_out "$session" >/dev/null
    has "$(cat "$work/said.out")" '^New, TLS'
    say_connect keep openssl s_client -CAfile "$certs/ca.crt" -connect "localhost:$port" "$1" \
        -no_ign_eof -sess_in "$session" >/dev/null
    has "$(tr -d '\0' <"$work/said.out")" '^Reused, TLS'
}
check openssl_resumes_1_2 openssl_resumes -tls1_2
check openssl_resumes_1_3 openssl_resumes -tls1_3

openssl_with_psk() { # IDENTITY KEY OPTIONS...
    say_connect psk1 openssl s_client -quiet -no_ign_eof -connect "localhost:$psk_port" \
        -psk_identity "$1" -psk "$2" "${@:3}"
}
psk_by_openssl() { # VERSION
    has "$(openssl_with_psk 'pump psk' "$psk_key" "$1")" "$connack"
    has_not "$(openssl_with_psk 'pump psk' "ff$psk_key" "$1")" "$connack"
    has_not "$(openssl_with_psk nobody "$psk_key" "$1")" "$connack"
}
check openssl_comes_in_with_a_pre_shared_key_in_1_2 psk_by_openssl -tls1_2
check openssl_comes_in_with_a_pre_shared_key_in_1_3 psk_by_openssl -tls1_3
no_certificate_where_there_are_keys() {
    has_not "$(say_connect none "${s_client[@]}" -connect "localhost:$psk_port")" "$connack"
}
check a_listener_with_keys_wants_one no_certificate_where_there_are_keys

mutual() { # NAME OPTIONS...
    say_connect mutu "${s_client[@]}" -connect "localhost:$mutual_port" -cert "$certs/$1.crt" \
        -key "$certs/$1.key" "${@:2}"
}
mutual_by_openssl() { # VERSION
    local name
    for name in client client_rsa client_ed25519; do
        has "$(mutual "$name" "$1")" "$connack"
    done
    for name in revoked expired_client other_client; do
        has_not "$(mutual "$name" "$1")" "$connack"
    done
}
check openssl_proves_a_certificate_in_1_2 mutual_by_openssl -tls1_2
check openssl_proves_a_certificate_in_1_3 mutual_by_openssl -tls1_3
check openssl_is_refused_without_a_certificate openssl_is_refused "$mutual_port"

a_renegotiation() {
    # "R" at the start of a line asks for one; the connection must not do it.
    { printf 'R\n'; sleep 0.3; } | timeout 10 openssl s_client -CAfile "$certs/ca.crt" -tls1_2 \
        -legacy_renegotiation -connect "localhost:$port" >"$work/said.out" 2>&1 || :
    has_not "$(grep -ac 'verify return:1' "$work/said.out")" '^[1-9][0-9]'
    openssl_connects -tls1_2
}
check a_renegotiation_does_no_harm a_renegotiation

# ---- gnutls ----

gnutls() { # PORT OPTIONS...
    say_connect gnut gnutls-cli --logfile=/dev/null --x509cafile="$certs/ca.crt" -p "$1" \
        "${@:2}" localhost
}
gnutls_connects() {
    has "$(gnutls "$port" --priority "NORMAL:-VERS-ALL:+VERS-TLS$1")" "$connack"
}
check gnutls_connects_with_1_2 gnutls_connects 1.2
check gnutls_connects_with_1_3 gnutls_connects 1.3
gnutls_is_refused() {
    has_not "$(gnutls "$port" --priority "NORMAL:-VERS-ALL:+VERS-TLS1.1:%COMPAT")" "$connack"
    has_not "$(gnutls "$new_port" --priority 'NORMAL:-VERS-ALL:+VERS-TLS1.2')" "$connack"
}
check gnutls_is_refused_with_versions_that_are_too_old gnutls_is_refused
gnutls_proves() {
    has "$(gnutls "$mutual_port" --x509certfile="$certs/client.crt" \
        --x509keyfile="$certs/client.key")" "$connack"
    has_not "$(gnutls "$mutual_port" --x509certfile="$certs/revoked.crt" \
        --x509keyfile="$certs/revoked.key")" "$connack"
    has_not "$(gnutls "$mutual_port")" "$connack"
}
check gnutls_proves_a_certificate gnutls_proves
gnutls_with_psk() {
    # (With 1.2 gnutls-cli itself crashes before it has connected.)
    has "$(gnutls "$psk_port" --pskusername 'pump psk' --pskkey "$psk_key" --priority \
        "NORMAL:-VERS-ALL:+VERS-TLS1.3:-KX-ALL:+ECDHE-PSK:+DHE-PSK:+PSK")" "$connack"
}
check gnutls_comes_in_with_a_pre_shared_key_in_1_3 gnutls_with_psk
gnutls_resumes() {
    gnutls "$port" --resume --waitresumption >/dev/null || :
    local said
    said=$(printf '' | timeout 10 gnutls-cli --x509cafile="$certs/ca.crt" -p "$port" --resume \
        --waitresumption localhost 2>&1)
    has "$said" 'This is a resumed session'
}
check gnutls_resumes gnutls_resumes

finish
