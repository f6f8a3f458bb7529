/* tests/net/test_scram.c -- SCRAM with the real hashes: the exchange of RFC 7677, section 3, and
 * the same with SHA-512, computed by Python's hashlib.
 */
#include "core/policy/scram.h"
#include "net/crypt.h"
#include "tests/core/policy/scram_client.h"
#include "tests/support/test.h"

#define FIRST "n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
#define NONCE "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
#define SERVER_FIRST "r=rOprNGfwEbeRWgbNEkqO" NONCE ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
#define LAST "c=biws,r=rOprNGfwEbeRWgbNEkqO" NONCE ",p="

static const struct vector {
    enum scram_kind kind;
    const char *line, *last, *server_last;
} vectors[] = {
    {SCRAM_SHA256,
     "user:SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY="
     ":wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=\n",
     LAST "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
     "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="},
    {SCRAM_SHA512,
     "user:SCRAM-SHA-512$4096:W22ZaJ0SNY7soEsUEjb6gQ==$6AAub3065EYRmyFpM2RNwqK+eGnrkYuEWbXn19LsEmBq"
     "zu8QaCXNc1FwpnX9NhH2hK/60dzj9DoO5DvVkOHbvg==:jZHbYjC1aHh0/hKbxyBuGFjDrgjgKTT1esA7awWiKcRZ0o/"
     "0b1yWEebBeSVkkCFewf91nLDfKF24mvD5nmE6rA==\n",
     LAST
     "gMGXRcevScNtxZ6/8lQYpGtnsNAc3mGcmNomv+xnoOMw+3R2xNJdMNnzMlTN8PPC6wdp6dybEmDYXYTxwnYPJQ==",
     "v=ZQnYEgWQMFmmsM8aQMF0nDDCy/AgCzkwk8CmMZYcMg0vSVlKDanekLtifDSeVGT4+5ZxXnJq199RVG2rR7N7Zw=="},
};

static const struct hash_key key = {{1, 2, 3, 4}};

static void on_report(void *arg, uint32_t line, bool is_warning, const char *what)
{
    (void)arg;
    fail_msg("line %u, %d: %s", line, is_warning, what);
}

static void check_text(struct bytes got, const char *wanted)
{
    assert_int_equal(got.n, strlen(wanted));
    assert_memory_equal(got.p, wanted, got.n);
}

static void check_exchange(const struct vector *v)
{
    struct scram_users *u;
    struct scram *x;

    assert_int_equal(scram_users_parse(bytes_str(v->line), &key, on_report, NULL, &u), OK);
    assert_int_equal(scram_begin(v->kind, BYTES_LIT(FIRST), BYTES_LIT(NONCE), u, &crypt_scram, &x),
                     OK);
    check_text(scram_says(x), SERVER_FIRST);
    check_text(scram_user(x), "user");
    assert_int_equal(scram_prove(x, bytes_str(v->last), &crypt_scram), OK);
    check_text(scram_says(x), v->server_last);
    scram_end(x);
    scram_users_release(u);
}

TEST(scram_exchange_is_that_of_the_rfc)
{
    check_exchange(&vectors[0]);
}

TEST(scram_exchange_with_sha512_is_that_of_another_implementation)
{
    check_exchange(&vectors[1]);
}

TEST(scram_verifiers_are_made_as_the_rfc_says)
{
    for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
        struct scram_room room;
        struct scram_verifier v = {.kind = vectors[i].kind, .iterations = 4096};
        char text[SCRAM_VERIFIER_TEXT_BYTES];
        uint32_t n;

        assert_int_equal(base64_decode(BYTES_LIT("W22ZaJ0SNY7soEsUEjb6gQ=="), BASE64_PADDED,
                                       room.salt, sizeof(room.salt), &n),
                         OK);
        v.salt = bytes_of(room.salt, n);
        assert_int_equal(scram_verifier_make(&v, BYTES_LIT("pencil"), &crypt_scram, &room), OK);
        n = scram_verifier_format(&v, text);
        check_text(bytes_of(vectors[i].line + 5, strlen(vectors[i].line) - 6), text);
        assert_int_equal(n, strlen(text));
    }
}

TEST(scram_client_of_these_tests_speaks_with_real_hashes)
{
    char text[1024] = "";
    struct scram_client c = {.crypt = &crypt_scram,
                             .kind = SCRAM_SHA512,
                             .header = "n,,",
                             .user = "u",
                             .password = "p",
                             .nonce = "n"};
    struct scram_users *u;
    struct scram *x;

    scram_line(text, "u", SCRAM_SHA512, 4096, "s", "p", &crypt_scram);
    assert_int_equal(scram_users_parse(bytes_str(text), &key, on_report, NULL, &u), OK);
    for (int i = 0; i < 2; i++) {
        c.password = i ? "q" : "p";
        assert_int_equal(
            scram_begin(c.kind, scram_client_first(&c), BYTES_LIT("x"), u, &crypt_scram, &x), OK);
        assert_int_equal(scram_prove(x, scram_client_last(&c, scram_says(x)), &crypt_scram),
                         i ? ERR_PEER : OK);
        assert_int_equal(scram_client_believes(&c, scram_says(x)), !i);
        scram_end(x);
    }
    scram_users_release(u);
}
