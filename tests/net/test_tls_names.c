/* tests/net/test_tls_names.c -- names of certificates that were tampered with, and hosts. */
#include "tests/support/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/tls_names.h"

static uint8_t der[1024];
static uint32_t der_count;

/* Reads a certificate of the fuzzer's corpus. */
static void load(const char *name)
{
    char path[128];
    FILE *f;

    snprintf(path, sizeof(path), "tests/fuzz/corpus/tls_names/%s", name);
    f = fopen(path, "rb");
    assert_non_null(f);
    der_count = (uint32_t)fread(der, 1, sizeof(der), f);
    fclose(f);
    assert_true(der_count > 100);
}

/* Replaces the only `from` by `to`, of the same length. */
static void change(const char *from, const void *to)
{
    uint8_t *at = memmem(der, der_count, from, strlen(from));

    assert_non_null(at);
    memcpy(at, to, strlen(from));
}

/* Its own block, so that the sanitizer sees a step behind it. */
static struct tls_names *read_names(void)
{
    struct tls_names *names = NULL;
    uint8_t *copy = malloc(der_count);

    memcpy(copy, der, der_count);
    assert_int_equal(tls_names_read(bytes_of(copy, der_count), &names), OK);
    free(copy);
    return names;
}

TEST(tls_names_with_control_bytes_are_left_out) /* FlashMQ 813cc4b */
{
    struct tls_names *names;

    load("client");
    change("pump 1", "pump\0001");
    change("pump1.test", "pump1\0test");
    change("pump-one.test", "pump-one.tes\001");
    names = read_names();
    assert_null(tls_names_common(names));
    assert_null(tls_names_alternative(names, TLS_NAME_DNS, 0));
    assert_string_equal(tls_names_alternative(names, TLS_NAME_EMAIL, 0), "pump1@example.com");
    assert_string_equal(tls_names_subject(names), "CN=pump\\001,OU=Pumps,O=Test,C=DE");
    free(names);
}

TEST(tls_names_that_are_no_utf8_are_left_out)
{
    struct tls_names *names;

    load("client");
    change("pump 1", "pump\xff\xfe");
    names = read_names();
    assert_null(tls_names_common(names));
    assert_non_null(strstr(tls_names_subject(names), "CN=pump\\FF\\FE"));
    free(names);
}

TEST(tls_names_of_a_cut_certificate_are_none) /* FlashMQ 813cc4b */
{
    struct tls_names *names;
    int64_t seconds;

    load("client");
    for (uint32_t n = 0; n < der_count; n++) {
        uint8_t *copy = malloc(n + 1);

        memcpy(copy, der, n);
        assert_int_equal(tls_names_read(bytes_of(copy, n), &names), ERR_PEER);
        assert_int_equal(tls_names_expiry(bytes_of(copy, n), &seconds), ERR_PEER);
        assert_false(tls_names_match(bytes_of(copy, n), "pump1.test"));
        free(copy);
    }
}

TEST(tls_names_match_hosts_as_rfc_6125_wants)
{
    static const struct {
        const char *host;
        bool matches;
    } rows[] = {
        {"localhost", true},     {"LocalHost", true},
        {"localhost.", true},    {"a.example.com", true},
        {"A.EXAMPLE.com", true}, {"a.b.example.com", false},
        {"example.com", false},  {".example.com", false},
        {"*.example.com", true}, {"xexample.com", false},
        {"127.0.0.1", true},     {"127.0.0.10", false},
        {"::1", true},           {"0:0:0:0:0:0:0:1", true},
        {"::2", false},          {"localhost.evil", false},
        {"ocalhost", false},     {"", false},
        {"broker.test", true},   {"127.0.0.1.", false},
    };

    load("server");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (tls_names_match(bytes_of(der, der_count), rows[i].host) != rows[i].matches)
            fail_msg("%s", rows[i].host);
    }
    change("*.example.com", "*.mexamplecom"); /* two labels in all: too wide */
    assert_true(tls_names_match(bytes_of(der, der_count), "a.mexamplecom") == false);
}

/* A name cut by a NUL must not be taken for what stands in front of it. */
TEST(tls_names_with_nul_match_nobody)
{
    load("server");
    change("broker.test", "broker\0test");
    assert_false(tls_names_match(bytes_of(der, der_count), "broker"));
    load("cn_server");
    change("broker.test", "broker\0test");
    assert_false(tls_names_match(bytes_of(der, der_count), "broker"));
}
