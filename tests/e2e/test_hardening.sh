#!/bin/bash
# tests/e2e/test_hardening.sh -- what tools/doc/hardening.md tells people to copy works as it is.
set -u
root=$(cd "$E2E/../.." && pwd)
page=$root/tools/doc/hardening.md
etc=$TMPDIR/etc
failed=0

check() { # check NAME COMMAND...
    local name=$1
    shift
    if "$@" >"$TMPDIR/out" 2>&1; then
        echo "ok $name"
    else
        echo "not ok $name"
        cat "$TMPDIR/out"
        failed=1
    fi
}

# The indented block of the page whose first line is $1.
block() {
    awk -v first="    $1" '
        $0 == first { on = 1 }
        on && /^[^ ]/ { exit }
        on { sub(/^    /, ""); print }' "$page" | sed "s|/etc/causeway|$etc|g"
}

mkdir -p "$etc/tls"
"$root/tests/support/certs.sh" "$TMPDIR/certs"
cp "$TMPDIR/certs/server.crt" "$etc/tls/server.pem"
cp "$TMPDIR/certs/server.key" "$etc/tls/server.key"
cp "$TMPDIR/certs/ca.crt" "$etc/tls/devices-ca.pem"
cp "$TMPDIR/certs/ca.crl" "$etc/tls/devices-ca.crl"
block '[broker]' >"$etc/causeway.ini"
block '# Everybody: his own branch, by user name.' >"$etc/acl"
passwd=${CAUSEWAY%/*}/causeway-passwd
check its_users_can_be_made "$passwd" -c -b -I 1000 "$etc/passwd" dashboard secret
check it_has_a_configuration grep -q '^\[listener devices\]' "$etc/causeway.ini"
check it_has_rules grep -q '^pattern' "$etc/acl"
check the_broker_takes_it "$CAUSEWAY" -t -c "$etc/causeway.ini"
check it_lets_nobody_in_without_a_name \
    bash -c '! "$0" -t -c "$1" | grep -E "anonymous|without authentication|lets everybody"' \
    "$CAUSEWAY" "$etc/causeway.ini"
exit $failed
