#!/bin/bash
# tests/e2e/test_ocsp.sh -- OCSP stapling: what the CA says of the broker's certificate, to clients
# of OpenSSL and GnuTLS that ask, from a file that may change.
. "$(dirname "$0")/broker.sh"

certs=$BUILD/certs
bash "$E2E/../support/certs.sh" "$certs" || exit 1
port=$(free_port) chain_port=$(free_port) plain_port=$(free_port) mutual_port=$(free_port)
cp "$certs/server.ocsp" "$work/response"
broker_start broker <<CONFIG
[broker]
workers = ${WORKERS:-2}
[listener tls]
bind = 127.0.0.1:$port
certfile = $certs/server.crt
keyfile = $certs/server.key
ocsp_file = $work/response
[listener chain]
bind = 127.0.0.1:$chain_port
certfile = $certs/chain_server.crt
keyfile = $certs/chain_server.key
ocsp_file = $certs/chain_server.ocsp
[listener without]
bind = 127.0.0.1:$plain_port
certfile = $certs/server.crt
keyfile = $certs/server.key
[listener mutual]
bind = 127.0.0.1:$mutual_port
certfile = $certs/server.crt
keyfile = $certs/server.key
cafile = $certs/other_ca.crt
require_certificate = true
tls_version = tlsv1.2
ocsp_file = $certs/server_sha256.ocsp
CONFIG

# asks PORT OPTIONS...: what s_client sees that asks for the response.
asks() {
    timeout 10 openssl s_client -connect "localhost:$1" -CAfile "$certs/ca.crt" \
        -verify_return_error -status "${@:2}" </dev/null 2>&1 || :
}
is_stapled() { # PORT OPTIONS...
    local said
    said=$(asks "$@")
    has "$said" 'OCSP Response Status: successful'
    has "$said" 'Cert Status: good'
    has "$said" 'Verification: OK'
}
is_not_stapled() {
    local said
    said=$(asks "$@")
    has "$said" 'OCSP response: no response sent'
    has "$said" 'Verification: OK'
}
# The end of the response that comes.
next_update() {
    asks "$port" | sed -n 's/^ *Next Update: //p'
}
end_of() { # RESPONSE
    openssl ocsp -respin "$1" -noverify -resp_text | sed -n 's/^ *Next Update: //p'
}

for version in 1_2 1_3; do
    check "openssl_gets_the_response_with_$version" is_stapled "$port" "-tls$version"
    check "openssl_gets_it_for_a_chain_with_$version" is_stapled "$chain_port" "-tls$version"
    check "openssl_gets_it_where_clients_have_certificates_with_$version" is_stapled \
        "$mutual_port" "-tls$version" -cert "$certs/other_client.crt" \
        -key "$certs/other_client.key"
    check "nothing_is_stapled_where_there_is_no_file_with_$version" is_not_stapled \
        "$plain_port" "-tls$version"
done
check openssl_gets_it_after_a_retry is_stapled "$port" -tls1_3 -groups P-384:P-256

who_does_not_ask() {
    local version
    for version in -tls1_2 -tls1_3; do
        mosquitto_pub -h localhost -p "$port" --cafile "$certs/ca.crt" -t x -m x \
            --tls-version "tlsv1.${version: -1}"
    done
}
check who_does_not_ask_gets_in_as_ever who_does_not_ask

the_whole_response() {
    equal "$(next_update)" "$(end_of "$certs/server.ocsp")"
    has "$(asks "$mutual_port" -tls1_3)" 'Hash Algorithm: sha256'
}
check the_response_of_the_file_comes the_whole_response

with_gnutls() { # VERSION
    local said
    said=$(timeout 10 gnutls-cli --x509cafile="$certs/ca.crt" -p "$1" --priority \
        "NORMAL:-VERS-ALL:+VERS-TLS$2" localhost </dev/null 2>&1) || :
    has "$said" 'Options:.*OCSP status request'
    has "$said" 'The certificate is trusted'
}
for version in 1.2 1.3; do
    check "gnutls_takes_the_response_with_$version" with_gnutls "$port" "$version"
    check "gnutls_takes_it_for_a_chain_with_$version" with_gnutls "$chain_port" "$version"
done

resuming() { # VERSION
    asks "$port" "$1" -sess_out "$work/session" >/dev/null
    [ -s "$work/session" ] || { echo "no session with $1"; return 1; }
    has "$(asks "$port" "$1" -sess_in "$work/session")" '^Reused, TLS'
}
check a_session_is_resumed_without_one resuming -tls1_2

# ---- the file changes ----

put() { # FILE, in one step
    cp "$1" "$work/response.new"
    mv "$work/response.new" "$work/response"
}
reload() { # WORDS of the log that must come
    local before
    before=$(wc -l <"$work/broker.log")
    kill -HUP "$pid"
    until_true said_since "$before" "$1" || { tail -n 5 "$work/broker.log"; return 1; }
}
said_since() {
    tail -n "+$(($1 + 1))" "$work/broker.log" | grep -q -- "$2"
}

a_new_response() {
    put "$certs/server_week.ocsp"
    reload event=reloaded
    equal "$(next_update)" "$(end_of "$certs/server_week.ocsp")"
}
check a_new_response_is_read_on_sighup a_new_response

a_wrong_response() {
    put "$certs/server_rsa.ocsp"
    reload 'reload failed.*\[listener tls\].*response: is about another certificate'
    equal "$(next_update)" "$(end_of "$certs/server_week.ocsp")"
    head -c 100 "$certs/server.ocsp" >"$work/half"
    put "$work/half"
    reload 'reload failed.*response: is no OCSP response in DER'
    rm "$work/response"
    reload 'reload failed.*response: cannot be read'
    is_stapled "$port"
    put "$certs/server.ocsp"
    reload event=reloaded
}
check a_wrong_response_keeps_the_old_one a_wrong_response

# It began an hour ago. The signature is then wrong, but that is for clients to see.
response_until() { # SECONDS from now
    /usr/bin/python3 - "$certs/server_week.ocsp" "$1" <<'END'
import re, sys, time
with open(sys.argv[1], "rb") as f:
    der = bytearray(f.read())
times = [m.start() + 2 for m in re.finditer(rb"\x18\x0f\d{14}Z", der)]
for at, seconds in zip(times[1:3], (-3600, int(sys.argv[2]))):
    der[at:at + 15] = time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + seconds)).encode()
sys.stdout.buffer.write(der)
END
}
a_response_that_ends() {
    response_until 3 >"$work/short"
    put "$work/short"
    reload 'OCSP response .*response expires in less than a day; fetch a newer one'
    until_true grep -q 'response expired less than a day ago and is not stapled any more' \
        "$work/broker.log"
    is_not_stapled "$port" -tls1_2
    is_not_stapled "$port" -tls1_3
    reload 'reload failed.*the OCSP response has expired; fetch a newer one'
    put "$certs/server.ocsp"
    reload event=reloaded
    is_stapled "$port"
}
check a_response_that_ends_is_stapled_no_more a_response_that_ends

# ---- at start ----

refused() { # OCSP_FILE WORDS
    local said
    printf '[listener tls]\nbind = 127.0.0.1:%s\ncertfile = %s\nkeyfile = %s\nocsp_file = %s\n' \
        "$port" "$certs/server.crt" "$certs/server.key" "$1" >"$work/bad.ini"
    said=$("$CAUSEWAY" -t -c "$work/bad.ini" 2>&1) && { echo "$1 was taken"; return 1; }
    has "$said" "\\[listener tls\\]: $1: $2"
}
wrong_at_start() {
    refused "$work/none" 'cannot be read'
    refused "$certs/server_rsa.ocsp" 'is about another certificate'
    refused "$certs/server.crt" 'is no OCSP response in DER'
    refused "$certs/server_endless.ocsp" 'does not say how long it holds'
    response_until -5 >"$work/old"
    refused "$work/old" 'the OCSP response has expired'
}
check a_wrong_response_is_explained_at_start wrong_at_start

finish
