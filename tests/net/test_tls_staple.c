/* tests/net/test_tls_staple.c -- what a CA says of a certificate, read. */
#include "tests/support/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/clock.h"
#include "net/tls_staple.h"

#define CERTS "build/certs/"

struct pile {
    uint8_t p[4096];
    uint32_t n;
};

static struct pile certificate, response;
static struct tls_staple_times times;

static void run(const char *command, struct pile *out)
{
    FILE *f = popen(command, "r");

    assert_non_null(f);
    out->n = (uint32_t)fread(out->p, 1, sizeof(out->p), f);
    assert_int_equal(pclose(f), 0);
    assert_true(out->n > 0 && out->n < sizeof(out->p));
}

/* A certificate and a response, by their names in the folder. */
static void load(const char *crt, const char *ocsp)
{
    char command[256];

    assert_int_equal(system("tests/support/certs.sh build/certs"), 0);
    snprintf(command, sizeof(command), "openssl x509 -in " CERTS "%s.crt -outform DER", crt);
    run(command, &certificate);
    snprintf(command, sizeof(command), "cat " CERTS "%s.ocsp", ocsp);
    run(command, &response);
}

/* Both in blocks of their own, so that the sanitizer sees a step behind them. */
static const char *read_both(uint32_t certificate_n, uint32_t response_n)
{
    uint8_t *a = malloc(certificate_n + 1), *b = malloc(response_n + 1);
    uint8_t *c = realloc(a, certificate_n ? certificate_n : 1);
    uint8_t *d = realloc(b, response_n ? response_n : 1);
    const char *wrong;

    assert_non_null(c);
    assert_non_null(d);
    memcpy(c, certificate.p, certificate_n);
    memcpy(d, response.p, response_n);
    wrong = tls_staple_read(bytes_of(d, response_n), bytes_of(c, certificate_n), &times);
    free(c);
    free(d);
    return wrong;
}

static const char *read_them(void)
{
    return read_both(certificate.n, response.n);
}

static void assert_wrong(const char *words)
{
    const char *wrong = read_them();

    assert_non_null(wrong);
    if (!strstr(wrong, words))
        fail_msg("\"%s\" is not in \"%s\"", words, wrong);
}

/* Replaces the only `from` of the response by `to`. */
static void change(const char *from, const char *to, size_t n)
{
    uint8_t *at = memmem(response.p, response.n, from, n);

    assert_non_null(at);
    memcpy(at, to, n);
}

TEST(tls_staple_is_taken_for_the_certificate_it_is_about)
{
    static const char *const names[][2] = {{"server", "server"},
                                           {"server", "server_sha256"},
                                           {"server_rsa", "server_rsa"},
                                           {"chain_server", "chain_server"}};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        load(names[i][0], names[i][1]);
        assert_null(read_them());
        assert_true(times.from <= (int64_t)(clock_wall_ms() / 1000));
        assert_int_equal(times.until - times.from, 3650ll * 86400);
    }
    load("server", "server_week");
    assert_null(read_them());
    assert_int_equal(times.until - times.from, 7 * 86400);
}

TEST(tls_staple_of_another_certificate_is_refused)
{
    load("server", "server_rsa"); /* of the same CA */
    assert_wrong("is about another certificate");
    load("chain_server", "server");
    assert_wrong("is about another certificate");
    load("server", "server");
    change("\x2b\x0e\x03\x02\x1a", "\x2b\x0e\x03\x02\x1b", 5); /* hashed by something unknown */
    assert_wrong("is about another certificate");
}

TEST(tls_staple_that_is_not_good_is_refused)
{
    load("revoked_server", "revoked_server");
    assert_wrong("says that the certificate is revoked");
    load("server", "server");
    change("\x80\x00\x18\x0f", "\x82\x00\x18\x0f", 4); /* unknown [2], in front of thisUpdate */
    assert_wrong("does not know the certificate");
    load("server", "server_endless");
    assert_wrong("does not say how long it holds");
}

TEST(tls_staple_that_is_no_answer_is_refused)
{
    load("server", "server");
    memcpy(response.p, "\x30\x03\x0a\x01\x03", 5); /* tryLater */
    response.n = 5;
    assert_wrong("has no answer in it");
    load("server", "server");
    change("\x30\x01\x01\x04", "\x30\x01\x02\x04", 4); /* id-pkix-ocsp-basic */
    assert_wrong("of an unknown kind");
    load("server", "server");
    response.p[response.n++] = 0;
    assert_wrong("is no OCSP response in DER");
    memcpy(response.p, "-----BEGIN OCSP RESPONSE-----", 29);
    response.n = 29;
    assert_wrong("is no OCSP response in DER");
    load("server", "server");
    certificate.n = 20;
    assert_wrong("cannot be compared");
}

TEST(tls_staple_that_is_cut_is_refused)
{
    load("server", "server");
    for (uint32_t n = 0; n < response.n; n++)
        assert_non_null(read_both(certificate.n, n));
    for (uint32_t n = 0; n < 40; n++)
        assert_non_null(read_both(n, response.n));
}

/* Every byte in turn: refused, or what was changed is a signature, a hash or a name. */
TEST(tls_staple_that_is_tampered_with_stays_within_its_bytes)
{
    load("server", "server");
    for (uint32_t i = 0; i < response.n; i++) {
        for (int bit = 0; bit < 8; bit++) {
            response.p[i] ^= (uint8_t)(1 << bit);
            if (!read_them())
                assert_true(times.until >= times.from);
            response.p[i] ^= (uint8_t)(1 << bit);
        }
    }
}
