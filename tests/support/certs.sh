#!/bin/bash
# tests/support/certs.sh -- makes the certificates that tests of TLS need, with the openssl command.
#
# Usage: tests/support/certs.sh DIR. Leaves PEM files in DIR, NAME.crt (a chain where there is one)
# and NAME.key, and makes nothing when DIR has a whole set of this script already.
#
#   ca, other_ca         two that know nothing of each other; ca.crl revokes `revoked` and
#                        `revoked_server`
#   middle               an intermediate of ca, chain_server below it
#   server               EC, localhost, *.example.com, broker.test, 127.0.0.1 and ::1
#   server_rsa, server_ed25519, cn_server (a common name and nothing else), wrong_host, expired,
#   other_server (of other_ca)
#   server.ocsp, server_rsa.ocsp, chain_server.ocsp, revoked_server.ocsp
#                        what their CAs say of them for ten years, in DER; server_week.ocsp for a
#                        week, server_endless.ocsp without an end, server_sha256.ocsp by another
#                        hash
#   client, client_rsa, client_ed25519, client_odd (a subject that needs escapes), revoked,
#   other_client (of other_ca), expired_client
set -euo pipefail
dir=$1
stamp=$dir/.stamp
mkdir -p "$dir"
exec 9>"$dir/.lock" # tests run at the same time
flock 9
if [ -f "$stamp" ] && [ "$stamp" -nt "$0" ]; then
    exit 0
fi
work=$(mktemp -d "$dir/new.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"

# new_key NAME KIND
new_key() {
    case $2 in
    ec) openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.key" ;;
    rsa) openssl genpkey -quiet -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$1.key" ;;
    ed25519) openssl genpkey -algorithm ed25519 -out "$1.key" ;;
    esac 2>/dev/null
}

# sign NAME KIND CA SUBJECT EXTENSIONS [DAYS_FROM DAYS_TO], days counted from now
sign() {
    local from to
    from=$(date -u -d "${6:--1} days" +%Y%m%d%H%M%SZ)
    to=$(date -u -d "${7:-3650} days" +%Y%m%d%H%M%SZ)
    [ -f "$1.key" ] || new_key "$1" "$2"
    printf '%b\n' "$5" >"$1.ext"
    openssl req -new -utf8 -key "$1.key" -subj "$4" -config empty.cnf -out "$1.csr" -multivalue-rdn
    if [ "$3" = self ]; then
        openssl ca -batch -notext -config ca.cnf -name "$1" -selfsign -keyfile "$1.key" \
            -in "$1.csr" -extfile "$1.ext" -startdate "$from" -enddate "$to" -out "$1.crt"
    else
        openssl ca -batch -notext -config ca.cnf -name "$3" -keyfile "$3.key" -cert "$3.crt" \
            -in "$1.csr" -extfile "$1.ext" -startdate "$from" -enddate "$to" -out "$1.crt"
    fi 2>"$1.log" || { cat "$1.log" >&2; exit 1; }
}

printf '[req]\ndistinguished_name = dn\nstring_mask = utf8only\n[dn]\n' >empty.cnf
for ca in ca other_ca middle; do
    mkdir "$ca.db"
    : >"$ca.db/index"
    echo 'unique_subject = no' >"$ca.db/index.attr"
    echo 1000 >"$ca.db/serial"
    echo 1000 >"$ca.db/crlnumber"
    cat <<END
[$ca]
database = $ca.db/index
new_certs_dir = $ca.db
serial = $ca.db/serial
crlnumber = $ca.db/crlnumber
default_md = sha256
policy = any
preserve = yes
END
done >ca.cnf
echo '[any]' >>ca.cnf
for part in countryName organizationName organizationalUnitName commonName emailAddress DC UID; do
    echo "$part = optional"
done >>ca.cnf

is_ca='basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign'
is_ca="$is_ca\nsubjectKeyIdentifier=hash"
of_ca='authorityKeyIdentifier=keyid'
server="$of_ca\nextendedKeyUsage=serverAuth"
client="$of_ca\nextendedKeyUsage=clientAuth"
names='subjectAltName=DNS:localhost,DNS:*.example.com,DNS:broker.test,IP:127.0.0.1,IP:::1'

sign ca ec self '/CN=Test CA' "$is_ca"
sign other_ca ec self '/CN=Other CA' "$is_ca"
sign middle ec ca '/CN=Middle CA' "$is_ca\n$of_ca"
sign server ec ca '/O=Test/CN=localhost' "$server\n$names"
sign server_rsa rsa ca '/CN=localhost' "$server\n$names"
sign server_ed25519 ed25519 ca '/CN=localhost' "$server\n$names"
sign cn_server ec ca '/CN=broker.test' "$server"
sign wrong_host ec ca '/CN=localhost' "$server\nsubjectAltName=DNS:elsewhere.test,IP:192.0.2.1"
sign expired ec ca '/CN=localhost' "$server\n$names" -30 -10
sign revoked_server ec ca '/CN=localhost' "$server\n$names"
sign chain_server ec middle '/CN=localhost' "$server\n$names"
cat middle.crt >>chain_server.crt
sign other_server ec other_ca '/CN=localhost' "$server\n$names"
uri=URI:https://example.com/pump/1
sign client ec ca '/C=DE/O=Test/OU=Pumps/CN=pump 1' \
    "$client\nsubjectAltName=DNS:pump1.test,email:pump1@example.com,$uri,DNS:pump-one.test"
sign client_rsa rsa ca '/CN=pump rsa' "$client"
sign client_ed25519 ed25519 ca '/CN=pump ed25519' "$client"
sign client_odd ec ca \
    '/DC=test/O=Wind, "Wasser" \+ <Söhne>;/OU=#first+UID=u1/CN= pump =2 ' "$client"
sign revoked ec ca '/CN=pump 9' "$client"
sign expired_client ec ca '/CN=pump 8' "$client" -30 -10
sign other_client ec other_ca '/CN=pump 1' "$client"

{
    for name in revoked revoked_server; do
        openssl ca -config ca.cnf -name ca -keyfile ca.key -cert ca.crt -revoke $name.crt
    done
    openssl ca -config ca.cnf -name ca -keyfile ca.key -cert ca.crt -gencrl -crldays 3650 \
        -out ca.crl
} 2>crl.log || { cat crl.log >&2; exit 1; }

# respond RESPONSE CA CERTIFICATE HASH OPTIONS...
respond() {
    openssl ocsp "-$4" -issuer "$2.crt" -cert "$3.crt" -no_nonce -reqout "$3.ask"
    openssl ocsp -index "$2.db/index" -CA "$2.crt" -rsigner "$2.crt" -rkey "$2.key" \
        -reqin "$3.ask" -respout "$1.ocsp" "${@:5}"
}
{
    for name in server server_rsa revoked_server; do
        respond $name ca $name sha1 -ndays 3650
    done
    respond chain_server middle chain_server sha1 -ndays 3650
    respond server_sha256 ca server sha256 -ndays 3650
    respond server_week ca server sha1 -ndays 7
    respond server_endless ca server sha1
} >ocsp.log 2>&1 || { cat ocsp.log >&2; exit 1; }
cp ca.crt both_ca.crt
cat other_ca.crt >>both_ca.crt
cp -- *.crt *.key *.ocsp ca.crl ..
touch ../.stamp
