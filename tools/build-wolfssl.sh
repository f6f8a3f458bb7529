#!/bin/bash
# tools/build-wolfssl.sh -- builds wolfSSL from Debian's source package, once, small and static.
#
# Usage: tools/build-wolfssl.sh DIR. Leaves DIR/lib/libwolfssl.a, DIR/include/ and DIR/.stamp.
# Works as root and as anybody else, and touches nothing of the system: apt gets lists, cache and
# sources of its own below DIR. The sources come from where this machine's packages come from
# (the lines of the machine itself, turned into deb-src), so its proxy and mirror serve here too.
#
# Not Debian's binary: that one is built without AES-NI and with the OpenSSL layer, which costs
# bulk speed and 60 KB a connection. Left out: renegotiation, early data, finite-field groups,
# post-handshake client certificates, compression. ALWAYS_VERIFY_CB hands us the peer's certificate
# when it was found good, so that no connection keeps a copy; GETRANDOM takes seeds from
# getrandom(2) instead of opening a file for each connection.
#
# Changed in the sources: OCSP stapling. As it stands the library asks a responder in the middle of
# a handshake, wants the CA of our own certificate among those that clients are trusted by, and with
# TLS 1.3 frees neither the response nor what it read of the certificate. With the few lines of
# `staple` both versions send what wolfSSL_CTX_SetOCSP_Cb hands out, as it is. Whether they found
# their places is told to our files by WOLFSSL_STAPLE_GIVEN in wolfssl/ssl.h; without it nothing is
# stapled.
set -euo pipefail
dir=$(realpath -m "$1")
apt=$dir/apt
log=$dir/build.log
mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$dir/source"
trap 'status=$?; [ $status -eq 0 ] || { tail -n 30 "$log"; echo "wolfSSL: see $log"; } >&2' EXIT
: >"$log"

apt-get indextargets --format 'deb-src $(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' \
    | sort -u >"$apt/sources.list"
options=(-o Dir::Etc::sourcelist="$apt/sources.list" -o Dir::Etc::sourceparts=-
    -o Dir::State::lists="$apt/lists" -o Dir::Cache="$apt/cache" -o APT::Sandbox::User=root)
apt-get "${options[@]}" update >>"$log" 2>&1
rm -rf "$dir"/source/*
(cd "$dir/source" && apt-get "${options[@]}" source wolfssl >>"$log" 2>&1)
rm -rf "$apt"

staple() {
    # TLS 1.2 frees what it was given, TLS 1.3 does not: that one has the bytes on loan.
    sed -i '/^int CreateOcspResponse(/,/^}/ { /^    request = \*ocspRequest;$/ r /dev/stdin
        }' src/internal.c <<'END'
#ifdef WOLFSSL_STAPLE_GIVEN
    if (SSL_CM(ssl) != NULL && SSL_CM(ssl)->ocspStaplingEnabled) {
        byte* given = NULL;
        int n = SSL_CM(ssl)->ocspIOCb(SSL_CM(ssl)->ocspIOCtx, NULL, 0, NULL, 0, &given);

        if (n <= 0 || given == NULL)
            return 0;
        response->buffer = given;
        if (!ssl->options.tls1_3) {
            response->buffer = (byte*)XMALLOC(n, ssl->heap, DYNAMIC_TYPE_OCSP_REQUEST);
            if (response->buffer == NULL)
                return MEMORY_E;
            XMEMCPY(response->buffer, given, n);
        }
        response->length = (word32)n;
        return 0;
    }
#endif
END
    # No request is made, so our own certificate need not be read for it.
    sed -i '/^static int TLSX_CSR_Parse(/,/^}/ {
        /^            cert = (DecodedCert\*)XMALLOC/,/^            extension = TLSX_Find/ {
            /cert = (DecodedCert\*)XMALLOC/ i #ifndef WOLFSSL_STAPLE_GIVEN
            /extension = TLSX_Find/ i #else\n            (void)cert;\n#endif
        } }' src/tls.c
    if [ "$(grep -c WOLFSSL_STAPLE_GIVEN src/internal.c)" = 1 ] &&
        [ "$(grep -A 25 'ifndef WOLFSSL_STAPLE_GIVEN' src/tls.c | grep -c '(void)cert')" = 1 ]; then
        sed -i 's/^#define WOLFSSL_SSL_H$/&\n#define WOLFSSL_STAPLE_GIVEN/' wolfssl/ssl.h
    else
        echo "wolfSSL: this version is another one: no OCSP stapling" >&2
    fi
}

cd "$dir"/source/wolfssl-*/
staple
autoreconf -fi >>"$log" 2>&1
./configure --prefix="$dir" --disable-shared --enable-static \
    --disable-examples --disable-crypttests --disable-opensslextra --disable-oldtls \
    --enable-intelasm --enable-aesni --enable-sp --enable-sp-asm \
    --enable-tls13 --enable-sni --enable-alpn --enable-session-ticket --enable-psk \
    --enable-supportedcurves \
    --enable-ocsp --enable-ocspstapling --enable-crl \
    --enable-chacha --enable-poly1305 --enable-aesgcm --enable-rsapss --enable-ecc \
    --enable-curve25519 --enable-ed25519 --disable-dh --disable-keygen \
    --enable-pwdbased --enable-sha512 \
    CFLAGS='-O2 -g -fPIC -fstack-protector-strong' \
    CPPFLAGS='-DWOLFSSL_ALWAYS_VERIFY_CB -DWOLFSSL_GETRANDOM' >>"$log" 2>&1
make -j"$(nproc)" >>"$log" 2>&1
make install >>"$log" 2>&1
cd "$dir"
rm -rf source
touch .stamp
