/* tests/net/test_crypt_key.c -- known signatures, and everything that is none. */
#include "net/crypt_key.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/jwt_text.h"
#include "tests/net/jwt_keys.h"
#include "tests/support/test.h"

static const char small_rsa_pem[] =
    "-----BEGIN PUBLIC KEY-----\n"
    "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQCxi8jE/3brw/eWjSMl901bpTE1\n"
    "l1eu+g2cKRJhCfw6NUqFQtM9ekAnqqfVjMNuAEWlvPOQ93aE4onUOLPkhq//DF1L\n"
    "+WmmKRp8BS/QQD/x/61/cpexgQYTZNxdDyZWXC/VwlkFR8zmL++Efx/prZGUOrxq\n"
    "GAVfEg3CT0EmBzYqkwIDAQAB\n"
    "-----END PUBLIC KEY-----\n";
static const char p384_pem[] = "-----BEGIN PUBLIC KEY-----\n"
                               "MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEpVBI7larPIcvNrw2RZjAY/yvK+GF6nxY\n"
                               "93DDq80PVioPuxDUP/ivCZXxsyFwAOY5Jt4IBbBHwGhd4XJCi5YPKMp8yCIFZ6Hr\n"
                               "pP3ePKwoeSfQ/Jiek3tpHkxhsx7YQFZO\n"
                               "-----END PUBLIC KEY-----\n";

/* Bytes of a text in base64url; they live until the next four calls. */
static struct bytes decoded(const char *text)
{
    static uint8_t room[4][1024];
    static uint32_t turn;
    uint8_t *to = room[turn++ % 4];
    uint32_t n;

    assert_true(jwt_text_room(bytes_str(text)) <= sizeof(room[0]));
    assert_int_equal(jwt_text_decode(bytes_str(text), to, &n), OK);
    return bytes_of(to, n);
}

/* What is signed of a token, and its signature. */
static struct bytes signed_text(const char *token)
{
    return bytes_of(token, (size_t)(strrchr(token, '.') - token));
}

static struct bytes signature(const char *token)
{
    return decoded(strrchr(token, '.') + 1);
}

static bool verifies(const struct crypt_key *key, struct bytes text, struct bytes sig)
{
    bool matches = true;

    assert_int_equal(crypt_key_verify(key, text, sig, &matches), OK);
    return matches;
}

/* The token holds; with any bit of text or signature changed, or cut off, it does not. */
static void check_key(struct crypt_key *key, const char *token)
{
    struct bytes text = signed_text(token), sig = signature(token);
    uint8_t changed[1024];

    assert_non_null(key);
    assert_true(verifies(key, text, sig));
    assert_true(verifies(key, text, sig)); /* asking changes nothing */
    assert_false(verifies(key, bytes_of(text.p, text.n - 1), sig));
    assert_false(verifies(key, text, bytes_of(sig.p, sig.n - 1)));
    assert_false(verifies(key, text, (struct bytes){0}));
    for (uint32_t i = 0; i < sig.n; i += 7) {
        (void)bytes_put(changed, sig);
        changed[i] ^= 1;
        assert_false(verifies(key, text, bytes_of(changed, sig.n)));
    }
    (void)bytes_put(changed, sig);
    changed[sig.n] = 0;
    assert_false(verifies(key, text, bytes_of(changed, sig.n + 1)));
    memset(changed, 0, sig.n);
    assert_false(verifies(key, text, bytes_of(changed, sig.n)));
    memset(changed, 0xff, sig.n);
    assert_false(verifies(key, text, bytes_of(changed, sig.n)));
    crypt_key_destroy(key);
}

static struct crypt_key *of_pem(const char *text)
{
    struct bytes rest;
    struct crypt_key *key;
    const char *why;

    assert_int_equal(crypt_key_pem(bytes_str(text), &rest, &key, &why), OK);
    assert_int_equal(crypt_key_pem(rest, &rest, &(struct crypt_key *){NULL}, &why), ERR_NONE);
    return key;
}

TEST(crypt_key_verifies_the_signatures_of_the_rfcs)
{
    struct crypt_key *key = NULL;
    const char *why;

    assert_int_equal(crypt_key_rsa(decoded(RFC_N), decoded("AQAB"), &key, &why), OK);
    assert_int_equal(crypt_key_kind(key), CRYPT_KEY_RSA);
    check_key(key, RFC_RS256);
    assert_int_equal(crypt_key_p256(decoded(RFC_X), decoded(RFC_Y), &key, &why), OK);
    assert_int_equal(crypt_key_kind(key), CRYPT_KEY_P256);
    check_key(key, RFC_ES256);
    assert_int_equal(crypt_key_ed25519(decoded(RFC_ED), &key, &why), OK);
    assert_int_equal(crypt_key_kind(key), CRYPT_KEY_ED25519);
    check_key(key, RFC_EDDSA);
}

TEST(crypt_key_reads_public_keys_and_certificates_in_pem)
{
    check_key(of_pem(rsa_pem), RFC_RS256);
    check_key(of_pem(p256_pem), RFC_ES256);
    check_key(of_pem(ed25519_pem), RFC_EDDSA);
    check_key(of_pem(certificate_pem), RFC_ES256);
}

TEST(crypt_key_finds_one_block_after_the_other)
{
    char text[4096];
    struct bytes rest;
    struct crypt_key *key;
    const char *why;

    snprintf(text, sizeof(text), "a comment\r\n%s\n%s", rsa_pem, p256_pem);
    assert_int_equal(crypt_key_pem(bytes_str(text), &rest, &key, &why), OK);
    check_key(key, RFC_RS256);
    assert_int_equal(crypt_key_pem(rest, &rest, &key, &why), OK);
    check_key(key, RFC_ES256);
    assert_int_equal(crypt_key_pem(rest, &rest, &key, &why), ERR_NONE);
    assert_null(key);
}

static void check_refused(const char *pem, const char *words)
{
    struct bytes rest;
    struct crypt_key *key;
    const char *why = NULL;

    assert_int_equal(crypt_key_pem(bytes_str(pem), &rest, &key, &why), ERR_PEER);
    assert_null(key);
    if (!strstr(why, words))
        fail_msg("'%s' does not say '%s'", why, words);
}

TEST(crypt_key_refuses_what_is_no_key)
{
    check_refused(small_rsa_pem, "2048 bits");
    check_refused(p384_pem, "only P-256");
    check_refused("-----BEGIN PUBLIC KEY-----\nAAAA\n", "no end");
    check_refused("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END CERTIFICATE-----\n", "no end");
    check_refused("-----BEGIN PUBLIC KEY", "no end");
    check_refused("-----BEGIN PUBLIC KEY-----\n!!!!\n-----END PUBLIC KEY-----\n", "base64");
    check_refused("-----BEGIN PUBLIC KEY----------END PUBLIC KEY-----\n", "base64");
    check_refused("-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n", "no RSA, P-256");
    check_refused("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "no RSA, P-256");
    check_refused("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "certificate");
    check_refused("-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n",
                  "private key");
    check_refused("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "private key");
    check_refused("-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n", "neither");
}

TEST(crypt_key_refuses_numbers_that_are_no_key)
{
    struct bytes n = decoded(RFC_N), x = decoded(RFC_X), y = decoded(RFC_Y);
    uint8_t large[520] = {0};
    struct crypt_key *key;
    const char *why;

    assert_int_equal(crypt_key_rsa((struct bytes){0}, decoded("AQAB"), &key, &why), ERR_PEER);
    assert_int_equal(crypt_key_rsa(n, (struct bytes){0}, &key, &why), ERR_PEER);
    assert_int_equal(crypt_key_rsa(n, bytes_of("\1", 1), &key, &why), ERR_PEER);
    assert_int_equal(crypt_key_rsa(n, bytes_of("\4", 1), &key, &why), ERR_PEER);
    assert_int_equal(crypt_key_rsa(n, bytes_of("\1\1\1\1\1", 5), &key, &why), ERR_PEER);
    assert_int_equal(crypt_key_rsa(bytes_of(n.p, 255), decoded("AQAB"), &key, &why), ERR_PEER);
    memset(large, 0xff, sizeof(large));
    assert_int_equal(crypt_key_rsa(bytes_of(large, 513), decoded("AQAB"), &key, &why), ERR_PEER);
    assert_int_equal(crypt_key_rsa(bytes_of(large, 512), decoded("AQAB"), &key, &why), OK);
    crypt_key_destroy(key);
    assert_int_equal(crypt_key_p256(x, x, &key, &why), ERR_PEER);
    assert_int_equal(crypt_key_p256(x, bytes_of(y.p, 31), &key, &why), ERR_PEER);
    memset(large, 0, 32);
    assert_int_equal(crypt_key_p256(bytes_of(large, 32), bytes_of(large, 32), &key, &why),
                     ERR_PEER);
    assert_int_equal(crypt_key_ed25519(bytes_of(x.p, 31), &key, &why), ERR_PEER);
}

TEST(crypt_key_of_another_kind_never_matches)
{
    static const char *const tokens[] = {RFC_RS256, RFC_ES256, RFC_EDDSA};
    static const char *const pems[] = {rsa_pem, p256_pem, ed25519_pem};

    for (uint32_t i = 0; i < 3; i++) {
        struct crypt_key *key = of_pem(pems[i]);

        for (uint32_t k = 0; k < 3; k++)
            assert_int_equal(verifies(key, signed_text(tokens[k]), signature(tokens[k])), i == k);
        crypt_key_destroy(key);
    }
}
