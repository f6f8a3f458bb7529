/* tests/net/test_jwt.c -- tokens: those of the RFCs, every refusal, and the keys that judge. */
#include "net/jwt.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/crypt.h"
#include "net/jwt_text.h"
#include "tests/net/jwt_keys.h"
#include "tests/support/test.h"

/* The time of these tests. */
#define NOW_MS 1700000000000ull
/* 64 bytes: enough for each HMAC. */
#define SECRET "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define HS256 "{\"alg\":\"HS256\"}"

#define OCT_KEY "{\"kty\":\"oct\",\"k\":\"" RFC_SECRET "\"}"
#define RSA_KEY "{\"kty\":\"RSA\",\"n\":\"" RFC_N "\",\"e\":\"AQAB\"}"
#define EC_KEY "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" RFC_X "\",\"y\":\"" RFC_Y "\"}"
#define ED_KEY "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"" RFC_ED "\"}"

/* ---- making them ---- */

static char *encode(struct bytes b, char *to)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

    for (uint32_t i = 0; i < b.n; i += 3) {
        uint32_t left = b.n - i;
        uint32_t v = (uint32_t)b.p[i] << 16 | (left > 1 ? (uint32_t)b.p[i + 1] << 8 : 0) |
                     (left > 2 ? b.p[i + 2] : 0);

        *to++ = digits[v >> 18];
        *to++ = digits[v >> 12 & 63];
        if (left > 1)
            *to++ = digits[v >> 6 & 63];
        if (left > 2)
            *to++ = digits[v & 63];
    }
    *to = 0;
    return to;
}

/* A token signed with a secret, by the HMAC of `bits`. It lives until the next call. */
static struct bytes sign(const char *header, struct bytes claims, struct bytes secret, int bits)
{
    static char text[2 * JWT_TOKEN_BYTES_MAX];
    uint8_t mac[CRYPT_SHA512_BYTES];
    struct bytes part;
    char *end = encode(bytes_str(header), text);

    *end++ = '.';
    end = encode(claims, end);
    part = bytes_of(text, (size_t)(end - text));
    if (bits == 512)
        assert_int_equal(crypt_hmac_sha512(secret, &part, 1, mac), OK);
    else if (bits == 384)
        assert_int_equal(crypt_hmac_sha384(secret, &part, 1, mac), OK);
    else
        assert_int_equal(crypt_hmac_sha256(secret, &part, 1, mac), OK);
    *end++ = '.';
    end = encode(bytes_of(mac, (size_t)bits / 8), end);
    return bytes_of(text, (size_t)(end - text));
}

static struct bytes token_of(const char *claims)
{
    return sign(HS256, bytes_str(claims), bytes_str(SECRET), 256);
}

static void fail_on_mistake(void *context, bool is_mistake, const char *what)
{
    (void)context;
    if (is_mistake)
        fail_msg("%s", what);
}

static struct jwt *with_file(const struct cfg_jwt *rules, const char *text)
{
    struct jwt *j = jwt_create(rules);

    assert_non_null(j);
    assert_int_equal(jwt_add_key_file(j, bytes_str(text), fail_on_mistake, NULL), OK);
    return j;
}

static struct jwt *with_set(const struct cfg_jwt *rules, const char *keys)
{
    char text[8192];
    struct jwt *j = jwt_create(rules);

    assert_non_null(j);
    snprintf(text, sizeof(text), "{\"keys\":[%s]}", keys);
    assert_int_equal(jwt_add_jwks(j, bytes_str(text), fail_on_mistake, NULL), OK);
    return j;
}

static const struct cfg_jwt of_secret = {.algs = 1u << CFG_JWT_HS256};
static const struct cfg_jwt of_iss = {.username_claim = "iss"};
static const struct cfg_jwt of_anything = {0};

/* The words of a refusal at a time; NULL: it holds for `user`. */
static const char *judged(struct jwt *j, struct bytes token, uint64_t wall_ms,
                          struct jwt_identity *id)
{
    const char *why = NULL;
    enum err e = jwt_verify(j, token, wall_ms, id, &why);

    assert_true(e == OK || e == ERR_PEER);
    assert_int_equal(e == OK, why == NULL);
    return why;
}

static void expect_user(struct jwt *j, struct bytes token, uint64_t wall_ms, const char *user)
{
    struct jwt_identity id;
    const char *why = judged(j, token, wall_ms, &id);

    if (why)
        fail_msg("refused: %s", why);
    assert_true(bytes_eq(bytes_of(id.user, id.user_count), bytes_str(user)));
    assert_true(jwt_has_form(token));
}

static void expect_refusal(struct jwt *j, struct bytes token, uint64_t wall_ms, const char *words)
{
    struct jwt_identity id;
    const char *why = judged(j, token, wall_ms, &id);

    if (!why || !strstr(why, words))
        fail_msg("'%s' does not say '%s'", why ? why : "accepted", words);
}

/* Judges claims under a secret and rules. */
static void claims_hold(const struct cfg_jwt *rules, const char *claims)
{
    struct jwt *j = with_file(rules, SECRET);

    expect_user(j, token_of(claims), NOW_MS, "u");
    jwt_release(j);
}

static void claims_fail(const struct cfg_jwt *rules, const char *claims, const char *words)
{
    struct jwt *j = with_file(rules, SECRET);

    expect_refusal(j, token_of(claims), NOW_MS, words);
    jwt_release(j);
}

/* ---- the RFCs ---- */

TEST(jwt_tokens_of_rfc_7515_hold_until_they_expire)
{
    static const struct {
        const char *key, *token;
    } v[] = {{OCT_KEY, RFC_HS256}, {RSA_KEY, RFC_RS256}, {EC_KEY, RFC_ES256}};

    for (uint32_t i = 0; i < 3; i++) {
        struct jwt *j = with_set(&of_iss, v[i].key);
        struct jwt_identity id;

        expect_user(j, bytes_str(v[i].token), RFC_EXPIRES_MS - 1, "joe");
        expect_refusal(j, bytes_str(v[i].token), RFC_EXPIRES_MS, "expired");
        assert_null(judged(j, bytes_str(v[i].token), 0, &id));
        assert_int_equal(id.expires_ms, RFC_EXPIRES_MS);
        jwt_release(j);
    }
}

TEST(jwt_of_rfc_8037_is_signed_but_says_nothing)
{
    struct jwt *j = with_set(&of_iss, ED_KEY);

    expect_refusal(j, bytes_str(RFC_EDDSA), 0, "claims are no JSON");
    jwt_release(j);
}

TEST(jwt_keys_in_pem_judge_the_same)
{
    struct jwt *j = with_file(&of_iss, rsa_pem);

    assert_int_equal(jwt_add_key_file(j, bytes_str(certificate_pem), fail_on_mistake, NULL), OK);
    assert_int_equal(jwt_add_key_file(j, bytes_str(ed25519_pem), fail_on_mistake, NULL), OK);
    assert_int_equal(jwt_key_count(j), 3);
    expect_user(j, bytes_str(RFC_RS256), 0, "joe");
    expect_user(j, bytes_str(RFC_ES256), 0, "joe");
    expect_refusal(j, bytes_str(RFC_EDDSA), 0, "claims are no JSON");
    expect_refusal(j, bytes_str(RFC_HS256), 0, "no key fits");
    jwt_release(j);
}

TEST(jwt_without_a_signature_never_holds) /* EMQX 6.2.2 */
{
    struct jwt *j = with_set(&of_iss, OCT_KEY "," RSA_KEY);
    static const char *const nones[] = {"none", "None", "NONE", "nOnE", ""};
    char header[64];

    assert_true(jwt_has_form(bytes_str(RFC_NONE))); /* it is refused as a token, not handed on */
    expect_refusal(j, bytes_str(RFC_NONE), 0, "alg is not allowed");
    for (uint32_t i = 0; i < 5; i++) {
        snprintf(header, sizeof(header), "{\"alg\":\"%s\"}", nones[i]);
        expect_refusal(j, sign(header, BYTES_LIT("{\"iss\":\"joe\"}"), BYTES_LIT(""), 256), 0,
                       "alg is not allowed");
    }
    jwt_release(j);
}

/* ---- algorithms ---- */

TEST(jwt_signed_with_a_public_key_as_the_secret_is_refused) /* EMQX 6.2.2 */
{
    static const char *const pems[] = {rsa_pem, p256_pem, ed25519_pem, certificate_pem};

    for (uint32_t i = 0; i < 4; i++) {
        struct jwt *j = with_file(&of_anything, pems[i]);

        expect_refusal(j, sign(HS256, BYTES_LIT("{\"sub\":\"u\"}"), bytes_str(pems[i]), 256), 0,
                       "no key fits");
        jwt_release(j);
    }
}

TEST(jwt_alg_of_another_kind_than_the_key_finds_none) /* EMQX 6.2.2 */
{
    static const char *const keys[] = {OCT_KEY, RSA_KEY, EC_KEY, ED_KEY};
    static const char *const algs[] = {"HS256", "RS256", "ES256", "EdDSA"};

    for (uint32_t k = 0; k < 4; k++) {
        struct jwt *j = with_set(&of_anything, keys[k]);

        for (uint32_t a = 0; a < 4; a++) {
            char header[64];

            snprintf(header, sizeof(header), "{\"alg\":\"%s\"}", algs[a]);
            expect_refusal(j, sign(header, BYTES_LIT("{\"sub\":\"u\"}"), BYTES_LIT("x"), 256), 0,
                           a == k ? "does not match" : "no key fits");
        }
        jwt_release(j);
    }
}

TEST(jwt_algs_that_are_not_known_are_refused)
{
    static const char *const algs[] = {"RS384", "RS512",  "PS256",    "ES384", "ES512",
                                       "hs256", "HS256 ", "RSA-OAEP", "dir"};
    struct jwt *j = with_set(&of_anything, OCT_KEY "," RSA_KEY "," EC_KEY "," ED_KEY);
    char header[64];

    for (uint32_t i = 0; i < sizeof(algs) / sizeof(algs[0]); i++) {
        snprintf(header, sizeof(header), "{\"alg\":\"%s\"}", algs[i]);
        expect_refusal(j, sign(header, BYTES_LIT("{\"sub\":\"u\"}"), BYTES_LIT("x"), 256), 0,
                       "alg is not allowed");
    }
    jwt_release(j);
}

TEST(jwt_takes_the_hmac_of_its_length_only)
{
    static const struct cfg_jwt all = {.algs = 1u << CFG_JWT_HS256 | 1u << CFG_JWT_HS384 |
                                               1u << CFG_JWT_HS512};
    static const char *const headers[] = {HS256, "{\"alg\":\"HS384\"}", "{\"alg\":\"HS512\"}"};
    struct jwt *j = with_file(&all, SECRET);

    for (int h = 0; h < 3; h++) {
        for (int bits = 0; bits < 3; bits++) {
            struct bytes token =
                sign(headers[h], BYTES_LIT("{\"sub\":\"u\"}"), bytes_str(SECRET), 256 + 128 * bits);

            if (h == bits)
                expect_user(j, token, 0, "u");
            else
                expect_refusal(j, token, 0, "does not match");
        }
    }
    jwt_release(j);
    j = with_file(&of_secret, SECRET); /* HS512 is not named */
    expect_refusal(j, sign(headers[2], BYTES_LIT("{\"sub\":\"u\"}"), bytes_str(SECRET), 512), 0,
                   "no key fits");
    jwt_release(j);
}

TEST(jwt_secret_that_is_shorter_than_the_hash_is_not_used)
{
    static const struct cfg_jwt all = {.algs = 1u << CFG_JWT_HS256 | 1u << CFG_JWT_HS384 |
                                               1u << CFG_JWT_HS512};
    const char *short_one = &SECRET[32];
    struct jwt *j = with_file(&all, short_one);

    expect_user(j, sign(HS256, BYTES_LIT("{\"sub\":\"u\"}"), bytes_str(short_one), 256), 0, "u");
    expect_refusal(
        j, sign("{\"alg\":\"HS512\"}", BYTES_LIT("{\"sub\":\"u\"}"), bytes_str(short_one), 512), 0,
        "no key fits");
    jwt_release(j);
}

/* ---- headers and forms ---- */

TEST(jwt_header_with_crit_or_without_alg_is_refused)
{
    static const struct {
        const char *header, *words;
    } v[] = {
        {"{\"alg\":\"HS256\",\"crit\":[\"exp\"],\"exp\":1}", "crit"},
        {"{\"alg\":\"HS256\",\"b64\":false,\"crit\":[\"b64\"]}", "crit"},
        {"{\"alg\":\"HS256\",\"crit\":null}", "crit"},
        {"{\"typ\":\"JWT\"}", "no alg"},
        {"{\"alg\":256}", "no alg"},
        {"{\"alg\":\"HS256\",\"kid\":7}", "kid"},
        {"{\"alg\":\"HS256\",\"alg\":\"none\"}", "header is no JSON"},
        {"{\"alg\":\"HS256\"} ", ""},
        {"{\"alg\":\"HS256\"}x", "header is no JSON"},
        {"{\"alg\":\"HS256\\u0000\"}", "header is no JSON"},
        {"[\"HS256\"]", "header is no JSON"},
        {"\"HS256\"", "header is no JSON"},
        {"{", "header is no JSON"},
        {"", "header is no JSON"},
    };
    struct jwt *j = with_file(&of_secret, SECRET);

    for (uint32_t i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
        struct bytes token =
            sign(v[i].header, BYTES_LIT("{\"sub\":\"u\"}"), bytes_str(SECRET), 256);

        if (*v[i].words)
            expect_refusal(j, token, 0, v[i].words);
        else
            expect_user(j, token, 0, "u");
    }
    jwt_release(j);
}

TEST(jwt_keys_within_a_token_are_not_looked_at)
{
    struct jwt *j = with_file(&of_secret, SECRET);

    expect_refusal(j,
                   sign("{\"alg\":\"HS256\",\"jwk\":" OCT_KEY "}", BYTES_LIT("{\"sub\":\"u\"}"),
                        BYTES_LIT("another"), 256),
                   0, "does not match");
    expect_user(j,
                sign("{\"alg\":\"HS256\",\"jku\":\"file:///x\",\"x5u\":\"x\"}",
                     BYTES_LIT("{\"sub\":\"u\"}"), bytes_str(SECRET), 256),
                0, "u");
    jwt_release(j);
}

TEST(jwt_form_is_three_parts_that_begin_with_a_brace)
{
    static const char *const others[] = {"",        ".",         "..",       "a.b.c",    "secret",
                                         "eyJh.b",  "eyJ.b.c.d", "eyJ.b .c", "eyJ.b.c=", "eyJ+.b.c",
                                         "eyJh..c", ".eyJh.c",   "e.b.c",    "ev.b.c"};

    assert_true(jwt_has_form(BYTES_LIT("eyJh.b.c")));
    assert_true(jwt_has_form(BYTES_LIT("eyJh.b.")));
    for (uint32_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        if (jwt_has_form(bytes_str(others[i])))
            fail_msg("'%s'", others[i]);
    }
}

TEST(jwt_longer_than_its_bound_is_none)
{
    static char claims[JWT_TOKEN_BYTES_MAX];
    struct jwt *j = with_file(&of_secret, SECRET);
    struct bytes token = {0};

    /* 3 bytes of claims are 4 of the token, so not every length can be met. */
    for (uint32_t n = 12200; token.n <= JWT_TOKEN_BYTES_MAX; n++) {
        memset(claims, ' ', n);
        memcpy(claims, "{\"sub\":\"u\"", 10);
        claims[n - 1] = '}';
        token = sign(HS256, bytes_of(claims, n), bytes_str(SECRET), 256);
        if (token.n <= JWT_TOKEN_BYTES_MAX)
            expect_user(j, token, 0, "u");
    }
    expect_refusal(j, token, 0, "no token");
    assert_false(jwt_has_form(token));
    jwt_release(j);
}

TEST(jwt_that_nests_too_deep_is_refused)
{
    char claims[512];
    struct jwt *j = with_file(&of_secret, SECRET);

    for (int depth = 15; depth <= 16; depth++) {
        snprintf(claims, sizeof(claims),
                 "{\"sub\":\"u\",\"s\":\"[[[[[[[[[[[[[[[[[[\\\"{{\",\"a\":%.*s%.*s}", depth,
                 "[[[[[[[[[[[[[[[[[[[[", depth, "]]]]]]]]]]]]]]]]]]]]");
        if (depth < 16)
            expect_user(j, token_of(claims), 0, "u");
        else
            expect_refusal(j, token_of(claims), 0, "claims are no JSON");
    }
    jwt_release(j);
}

TEST(jwt_base64url_has_one_spelling)
{
    uint8_t to[64];
    uint32_t n;

    assert_int_equal(jwt_text_decode(BYTES_LIT(""), to, &n), OK);
    assert_int_equal(n, 0);
    assert_int_equal(jwt_text_decode(BYTES_LIT("-_8"), to, &n), OK);
    assert_int_equal(n, 2);
    assert_memory_equal(to, "\xfb\xff", 2);
    assert_int_equal(jwt_text_decode(BYTES_LIT("A"), to, &n), ERR_PEER);
    assert_int_equal(jwt_text_decode(BYTES_LIT("AA"), to, &n), OK);
    assert_int_equal(jwt_text_decode(BYTES_LIT("AB"), to, &n), ERR_PEER);  /* bits are left */
    assert_int_equal(jwt_text_decode(BYTES_LIT("AAB"), to, &n), ERR_PEER); /* so here */
    assert_int_equal(jwt_text_decode(BYTES_LIT("AA=="), to, &n), ERR_PEER);
    assert_int_equal(jwt_text_decode(BYTES_LIT("A+AA"), to, &n), ERR_PEER);
    assert_int_equal(jwt_text_decode(BYTES_LIT("A/AA"), to, &n), ERR_PEER);
    assert_int_equal(jwt_text_decode(BYTES_LIT("AA\nA"), to, &n), ERR_PEER);
}

TEST(jwt_signature_with_another_spelling_is_refused)
{
    struct jwt *j = with_set(&of_iss, OCT_KEY);
    char text[1024];
    size_t n = strlen(RFC_HS256);

    memcpy(text, RFC_HS256, n + 1);
    assert_int_equal(text[n - 1], 'k');
    text[n - 1] = 'l'; /* the same bytes, if the last two bits did not count */
    expect_refusal(j, bytes_str(text), 0, "no base64url");
    jwt_release(j);
}

/* ---- claims ---- */

TEST(jwt_times_are_kept_with_their_leeway)
{
    static const struct cfg_jwt strict = {.algs = 1u << CFG_JWT_HS256};
    static const struct cfg_jwt lax = {.algs = 1u << CFG_JWT_HS256, .leeway_s = 5};

    claims_hold(&strict, "{\"sub\":\"u\",\"exp\":1700000001}");
    claims_fail(&strict, "{\"sub\":\"u\",\"exp\":1700000000}", "expired");
    claims_hold(&strict, "{\"sub\":\"u\",\"exp\":1700000000.5}");
    claims_hold(&lax, "{\"sub\":\"u\",\"exp\":1699999996}");
    claims_fail(&lax, "{\"sub\":\"u\",\"exp\":1699999995}", "expired");
    claims_hold(&strict, "{\"sub\":\"u\",\"nbf\":1700000000}");
    claims_fail(&strict, "{\"sub\":\"u\",\"nbf\":1700000001}", "yet");
    claims_hold(&lax, "{\"sub\":\"u\",\"nbf\":1700000005}");
    claims_fail(&lax, "{\"sub\":\"u\",\"nbf\":1700000006}", "yet");
    claims_hold(&strict, "{\"sub\":\"u\",\"iat\":1700000000}");
    claims_fail(&strict, "{\"sub\":\"u\",\"iat\":1700000001}", "future");
    claims_hold(&lax, "{\"sub\":\"u\",\"iat\":1700000005}");
    claims_fail(&lax, "{\"sub\":\"u\",\"iat\":1700000006}", "future");
}

TEST(jwt_time_that_is_no_number_is_refused)
{
    static const char *const names[] = {"exp", "nbf", "iat"};
    static const char *const values[] = {
        "\"1800000000\"",     "null", "-1", "1e300", "true", "{}", "9007199254740993",
        "9223372036854775807"};

    for (uint32_t n = 0; n < 3; n++) {
        for (uint32_t v = 0; v < 8; v++) {
            char claims[128];

            snprintf(claims, sizeof(claims), "{\"sub\":\"u\",\"%s\":%s}", names[n], values[v]);
            claims_fail(&of_secret, claims, "no number of seconds");
        }
    }
}

TEST(jwt_without_exp_holds_unless_it_must_have_one)
{
    static const struct cfg_jwt must = {.algs = 1u << CFG_JWT_HS256, .require_exp = true};
    static const struct cfg_jwt ends = {.algs = 1u << CFG_JWT_HS256,
                                        .disconnect_after_expire = true};
    struct jwt *j = with_file(&ends, SECRET);
    struct jwt_identity id;

    claims_hold(&of_secret, "{\"sub\":\"u\"}");
    claims_fail(&must, "{\"sub\":\"u\"}", "no exp");
    claims_hold(&must, "{\"sub\":\"u\",\"exp\":1700000001}");
    assert_null(judged(j, token_of("{\"sub\":\"u\"}"), NOW_MS, &id));
    assert_int_equal(id.expires_ms, UINT64_MAX);
    assert_false(id.ends_connection);
    assert_null(judged(j, token_of("{\"sub\":\"u\",\"exp\":1700000001}"), NOW_MS, &id));
    assert_int_equal(id.expires_ms, NOW_MS + 1000);
    assert_true(id.ends_connection);
    jwt_release(j);
    j = with_file(&of_secret, SECRET);
    assert_null(judged(j, token_of("{\"sub\":\"u\",\"exp\":1700000001}"), NOW_MS, &id));
    assert_false(id.ends_connection);
    jwt_release(j);
}

TEST(jwt_is_for_the_audience_and_of_the_issuer_that_are_configured)
{
    static const struct cfg_jwt aud = {.algs = 1u << CFG_JWT_HS256, .audience = "me"};
    static const struct cfg_jwt iss = {.algs = 1u << CFG_JWT_HS256, .issuer = "them"};

    claims_hold(&of_secret, "{\"sub\":\"u\",\"aud\":\"x\",\"iss\":7}");
    claims_hold(&aud, "{\"sub\":\"u\",\"aud\":\"me\"}");
    claims_hold(&aud, "{\"sub\":\"u\",\"aud\":[\"you\",7,\"me\"]}");
    claims_fail(&aud, "{\"sub\":\"u\"}", "audience");
    claims_fail(&aud, "{\"sub\":\"u\",\"aud\":\"men\"}", "audience");
    claims_fail(&aud, "{\"sub\":\"u\",\"aud\":[\"you\"]}", "audience");
    claims_fail(&aud, "{\"sub\":\"u\",\"aud\":{\"me\":\"me\"}}", "audience");
    claims_hold(&iss, "{\"sub\":\"u\",\"iss\":\"them\"}");
    claims_fail(&iss, "{\"sub\":\"u\",\"iss\":\"Them\"}", "issuer");
    claims_fail(&iss, "{\"sub\":\"u\",\"iss\":[\"them\"]}", "issuer");
    claims_fail(&iss, "{\"sub\":\"u\"}", "issuer");
}

TEST(jwt_names_its_user)
{
    static const struct cfg_jwt named = {.algs = 1u << CFG_JWT_HS256, .username_claim = "who"};
    char claims[JWT_USER_BYTES_MAX + 64];

    claims_hold(&of_secret, "{\"username\":\"u\",\"sub\":\"x\"}");
    claims_hold(&of_secret, "{\"sub\":\"u\"}");
    claims_hold(&named, "{\"username\":\"x\",\"sub\":\"x\",\"who\":\"u\"}");
    claims_fail(&named, "{\"username\":\"x\",\"sub\":\"x\"}", "no user");
    claims_fail(&of_secret, "{}", "no user");
    claims_fail(&of_secret, "{\"username\":null,\"sub\":\"x\"}", "no user");
    claims_fail(&of_secret, "{\"sub\":7}", "no user");
    claims_fail(&of_secret, "{\"sub\":\"\"}", "no user name");
    claims_fail(&of_secret, "{\"sub\":\"a\\nb\"}", "no user name");
    claims_fail(&of_secret, "{\"sub\":\"a\\u007fb\"}", "no user name");
    claims_fail(&of_secret, "{\"sub\":\"a\\u0000b\"}", "claims are no JSON");
    claims_fail(&of_secret, "{\"sub\":\"a\xff\"}", "claims are no JSON");
    claims_fail(&of_secret, "[\"sub\",\"u\"]", "claims are no JSON");
    snprintf(claims, sizeof(claims), "{\"sub\":\"%0*d\"}", (int)JWT_USER_BYTES_MAX + 1, 0);
    claims_fail(&of_secret, claims, "no user name");
}

/* ---- rules ---- */

static const struct cfg_jwt with_acl = {.algs = 1u << CFG_JWT_HS256, .acl_claim = "acl"};

/* What a client may do by a token: 'A', 'D' or '-' for each question, in the words "p TOPIC" and
 * "s FILTER", apart by commas; with QoS 1, and retained with "r TOPIC". */
static void check_rules(const char *acl, const char *questions, const char *answers)
{
    struct jwt *j = with_file(&with_acl, SECRET);
    char claims[4096], words[256], *next, *q;
    struct bytes user = BYTES_LIT("joe");
    struct acl_claim *c = NULL;
    struct jwt_identity id;
    const char *why;

    snprintf(claims, sizeof(claims), "{\"sub\":\"joe\",\"acl\":%s}", acl);
    why = judged(j, token_of(claims), NOW_MS, &id);
    if (why)
        fail_msg("%s: %s", acl, why);
    assert_true(id.has_rules);
    assert_int_equal(acl_claim_bind(acl_claim_text(&id.rules), &user, BYTES_LIT("dev"), &c, &why),
                     OK);
    snprintf(words, sizeof(words), "%s", questions);
    for (q = strtok_r(words, ",", &next); q; q = strtok_r(NULL, ",", &next), answers++) {
        struct bytes topic = bytes_str(q + 2);
        enum acl_claim_verdict v = *q == 's' ? acl_claim_subscribe(c, topic, 1)
                                             : acl_claim_publish(c, topic, 1, *q == 'r');

        if (*answers != (v == ACL_CLAIM_ALLOW ? 'A' : v == ACL_CLAIM_DENY ? 'D' : '-'))
            fail_msg("%s: %s", acl, q);
    }
    assert_int_equal(*answers, 0);
    acl_claim_destroy(c);
    jwt_release(j);
}

TEST(jwt_rules_are_a_list_of_what_is_allowed)
{
    check_rules("{\"pub\":[\"p/${clientid}\",\"eq p/%c\"],\"sub\":[\"s/#\"],\"all\":[\"a/%u\"]}",
                "p p/dev,p p/%c,p p/x,p s/1,s s/+,s p/dev,p a/joe,s a/joe,s a/x,r p/dev",
                "AADDADAADA");
    check_rules("{}", "p a,s a", "DD");
    check_rules("{\"pub\":[],\"note\":7}", "p a,s a", "DD");
}

TEST(jwt_rules_are_an_array_in_its_order)
{
    check_rules(
        "[{\"permission\":\"deny\",\"action\":\"publish\",\"topic\":\"t/no\"},"
        "{\"permission\":\"allow\",\"action\":\"all\",\"topics\":[\"t/#\",\"u/${username}\"]}]",
        "p t/no,s t/no,p t/x,s u/joe,p u/x", "DAAA-");
    check_rules("[]", "p a,s a", "--");
    check_rules(
        "[{\"permission\":\"allow\",\"action\":\"subscribe\",\"topic\":\"eq t/1/#\","
        "\"qos\":[1]},"
        "{\"permission\":\"deny\",\"action\":\"publish\",\"topic\":\"t/2\",\"retain\":true},"
        "{\"permission\":\"deny\",\"action\":\"all\",\"topic\":\"q\",\"qos\":\"2\"}]",
        "s t/1/#,s t/1/x,p t/2,r t/2,p q", "A--D-");
    check_rules(
        "[{\"permission\":\"deny\",\"action\":\"publish\",\"topic\":\"a\",\"qos\":0},"
        "{\"permission\":\"deny\",\"action\":\"publish\",\"topic\":\"a\",\"retain\":\"false\","
        "\"qos\":[0,\"1\"]}]",
        "p a,r a", "D-");
}

TEST(jwt_without_the_claim_or_with_another_name_brings_no_rules)
{
    static const struct cfg_jwt other = {.algs = 1u << CFG_JWT_HS256, .acl_claim = "rights"};
    const struct cfg_jwt *const rules[] = {&other, &of_secret};
    struct jwt_identity id;

    for (int i = 0; i < 2; i++) {
        struct jwt *j = with_file(rules[i], SECRET);

        assert_null(judged(j, token_of("{\"sub\":\"u\",\"acl\":7}"), NOW_MS, &id));
        assert_false(id.has_rules);
        jwt_release(j);
    }
    claims_hold(&with_acl, "{\"sub\":\"u\"}");
    claims_fail(&other, "{\"sub\":\"u\",\"rights\":7}", "neither an object nor an array");
}

#define RULE "\"permission\":\"allow\",\"action\":\"all\""

TEST(jwt_rules_that_are_not_understood_refuse_the_token)
{
    static const struct {
        const char *acl, *words;
    } v[] = {
        {"null", "neither an object"},
        {"\"a/#\"", "neither an object"},
        {"{\"pub\":\"a\"}", "no array"},
        {"{\"all\":{\"a\":\"b\"}}", "no array"},
        {"{\"pub\":[7]}", "no text"},
        {"{\"pub\":[\"\"]}", "is none"},
        {"{\"pub\":[\"a+\"]}", "is none"},
        {"{\"pub\":[\"${peerhost}\"]}", "is none"},
        {"[7]", "no object"},
        {"[{}]", "permission"},
        {"[{\"action\":\"all\",\"topic\":\"a\"}]", "permission"},
        {"[{\"permission\":\"Allow\",\"action\":\"all\",\"topic\":\"a\"}]", "permission"},
        {"[{\"permission\":\"deny\",\"action\":\"pub\",\"topic\":\"a\"}]", "action"},
        {"[{\"permission\":\"deny\",\"topic\":\"a\"}]", "action"},
        {"[{" RULE "}]", "topic or topics"},
        {"[{" RULE ",\"topic\":\"a\",\"topics\":[\"b\"]}]", "topic or topics"},
        {"[{" RULE ",\"topics\":\"a\"}]", "no array"},
        {"[{" RULE ",\"topic\":[\"a\"]}]", "no text"},
        {"[{" RULE ",\"topic\":\"a\",\"ipaddr\":\"::1\"}]", "not known here"},
        {"[{" RULE ",\"topic\":\"a\",\"qos\":3}]", "qos"},
        {"[{" RULE ",\"topic\":\"a\",\"qos\":[]}]", "qos"},
        {"[{" RULE ",\"topic\":\"a\",\"qos\":[1,null]}]", "qos"},
        {"[{" RULE ",\"topic\":\"a\",\"retain\":2}]", "retain"},
        {"[{" RULE ",\"topic\":\"a\",\"retain\":null}]", "retain"},
    };

    for (uint32_t i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
        char claims[512];

        snprintf(claims, sizeof(claims), "{\"sub\":\"u\",\"acl\":%s}", v[i].acl);
        claims_fail(&with_acl, claims, v[i].words);
    }
}

TEST(jwt_brings_a_bounded_number_of_rules)
{
    static char claims[4096];
    int n = snprintf(claims, sizeof(claims), "{\"sub\":\"u\",\"acl\":{\"pub\":[\"a\"");

    for (uint32_t i = 1; i < ACL_CLAIM_RULES_MAX; i++)
        n += snprintf(claims + n, sizeof(claims) - (size_t)n, ",\"a\"");
    snprintf(claims + n, sizeof(claims) - (size_t)n, "]}}");
    claims_hold(&with_acl, claims);
    snprintf(claims + n, sizeof(claims) - (size_t)n, ",\"a\"]}}");
    claims_fail(&with_acl, claims, "too many rules");
}

/* ---- keys ---- */

#define OTHER_OCT "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"

TEST(jwt_kid_picks_the_key)
{
    struct jwt *j = with_set(&of_anything,
                             "{\"kty\":\"oct\",\"kid\":\"a\",\"k\":\"" OTHER_OCT "\"},"
                             "{\"kty\":\"oct\",\"kid\":\"b\",\"k\":\"" RFC_SECRET "\"},"
                             "{\"kty\":\"RSA\",\"kid\":\"c\",\"n\":\"" RFC_N "\",\"e\":\"AQAB\"}");
    struct bytes claims = BYTES_LIT("{\"sub\":\"u\"}");
    uint8_t secret[128];
    uint32_t n;

    assert_int_equal(jwt_text_decode(BYTES_LIT(OTHER_OCT), secret, &n), OK);
    expect_user(j, sign("{\"alg\":\"HS256\",\"kid\":\"a\"}", claims, bytes_of(secret, n), 256), 0,
                "u");
    expect_user(j, sign(HS256, claims, bytes_of(secret, n), 256), 0, "u");
    expect_refusal(j, sign("{\"alg\":\"HS256\",\"kid\":\"b\"}", claims, bytes_of(secret, n), 256),
                   0, "does not match");
    expect_refusal(j, sign("{\"alg\":\"HS256\",\"kid\":\"c\"}", claims, bytes_of(secret, n), 256),
                   0, "no key fits");
    expect_refusal(j, sign("{\"alg\":\"HS256\",\"kid\":\"d\"}", claims, bytes_of(secret, n), 256),
                   0, "no key fits");
    assert_int_equal(jwt_text_decode(BYTES_LIT(RFC_SECRET), secret, &n), OK);
    expect_user(j, sign(HS256, claims, bytes_of(secret, n), 256), 0, "u"); /* the second one */
    jwt_release(j);
}

TEST(jwt_tries_a_bounded_number_of_keys)
{
    struct jwt *j = jwt_create(&of_secret);
    struct bytes claims = BYTES_LIT("{\"sub\":\"u\"}");
    char secret[] = "a secret of 32 bytes and a digit";

    for (uint32_t i = 0; i <= JWT_TRIES_MAX; i++) {
        secret[31] = (char)('a' + i);
        assert_int_equal(jwt_add_key_file(j, bytes_str(secret), fail_on_mistake, NULL), OK);
    }
    expect_refusal(j, sign(HS256, claims, bytes_str(secret), 256), 0, "too many keys");
    secret[31]--;
    expect_user(j, sign(HS256, claims, bytes_str(secret), 256), 0, "u");
    jwt_release(j);
}

struct said {
    uint32_t mistakes, warnings;
    char text[1024];
};

static void note(void *context, bool is_mistake, const char *what)
{
    struct said *said = context;

    *(is_mistake ? &said->mistakes : &said->warnings) += 1;
    snprintf(said->text + strlen(said->text), sizeof(said->text) - strlen(said->text), "%s\n",
             what);
}

static void check_bytes_refused(const struct cfg_jwt *rules, struct bytes text, const char *words)
{
    struct jwt *j = jwt_create(rules);
    struct said said = {0};

    assert_int_equal(jwt_add_key_file(j, text, note, &said), ERR_PEER);
    if (!strstr(said.text, words))
        fail_msg("'%s' does not say '%s'", said.text, words);
    assert_int_equal(jwt_key_count(j), 0);
    jwt_release(j);
}

static void check_file_refused(const struct cfg_jwt *rules, const char *text, const char *words)
{
    check_bytes_refused(rules, bytes_str(text), words);
}

TEST(jwt_key_file_that_cannot_be_used_is_refused)
{
    static const struct cfg_jwt of_rsa = {.algs = 1u << CFG_JWT_RS256};
    char text[2048];

    check_file_refused(&of_anything, SECRET, "write jwt_algorithms = HS256");
    check_file_refused(&of_rsa, SECRET, "write jwt_algorithms = HS256");
    check_file_refused(&of_anything, "", "no public key in PEM");
    check_file_refused(&of_secret, "", "0 bytes");
    check_file_refused(&of_secret, "short\n", "has 5 bytes");
    check_file_refused(&of_secret, "base64:????", "no base64");
    check_file_refused(&of_secret, "base64:c2hvcnQ=\n", "has 5 bytes");
    check_file_refused(&of_secret, rsa_pem, "jwt_algorithms names none");
    check_file_refused(&of_rsa, certificate_pem, "jwt_algorithms names none");
    /* A PEM with a line in front is no secret. */
    snprintf(text, sizeof(text), "Bag Attributes\n%s", rsa_pem);
    check_file_refused(&of_secret, text, "jwt_algorithms names none");
}

TEST(jwt_secret_that_looks_like_a_public_key_is_refused)
{
    static const char set[] = " \n{\"keys\":[" RSA_KEY "]}";
    static const uint8_t headers[][4] = {
        {0x30, 0x82, 0x01, 0x28}, {0x30, 0x81, 0x80, 0x30}, {0x30, 0x59, 0x30, 0x13}};
    static const uint32_t counts[] = {0x128 + 4, 0x80 + 3, 0x59 + 2};
    uint8_t der[512];
    struct jwt *j;

    check_file_refused(&of_secret, set, "not in PEM");
    check_file_refused(&of_secret, "[" RSA_KEY "]", "not in PEM");
    check_file_refused(&of_secret, RSA_KEY, "not in PEM");
    check_file_refused(&of_secret, "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE me@here", "not in PEM");
    check_file_refused(&of_secret, "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHA me", "not in");
    for (uint32_t i = 0; i < 3; i++) {
        memset(der, 'x', sizeof(der));
        memcpy(der, headers[i], sizeof(headers[i]));
        check_bytes_refused(&of_secret, bytes_of(der, counts[i]), "not in PEM");
        j = jwt_create(&of_secret); /* of another length it is none */
        assert_int_equal(jwt_add_key_file(j, bytes_of(der, counts[i] + 1), fail_on_mistake, NULL),
                         OK);
        jwt_release(j);
    }
}

TEST(jwt_secret_is_the_line_or_its_base64)
{
    static const char encoded[] = "base64:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWYwMTIzNDU2"
                                  "Nzg5YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZg==\n";
    static const char *const files[] = {SECRET, SECRET "\n", SECRET "\r\n", encoded};

    for (uint32_t i = 0; i < 4; i++) {
        struct jwt *j = with_file(&of_secret, files[i]);

        expect_user(j, token_of("{\"sub\":\"u\"}"), 0, "u");
        jwt_release(j);
    }
}

static void check_set(const char *text, uint32_t keys, uint32_t mistakes, uint32_t warnings,
                      const char *words)
{
    struct jwt *j = jwt_create(&of_anything);
    struct said said = {0};
    enum err e = jwt_add_jwks(j, bytes_str(text), note, &said);

    if (!strstr(said.text, words) || said.mistakes != mistakes || said.warnings != warnings)
        fail_msg("%s: said %u, %u: %s", text, said.mistakes, said.warnings, said.text);
    assert_int_equal(e, mistakes ? ERR_PEER : OK);
    assert_int_equal(jwt_key_count(j), keys);
    jwt_release(j);
}

TEST(jwt_key_set_says_what_is_wrong_with_each_key)
{
    check_set("", 0, 1, 0, "empty");
    check_set("{\n{", 0, 1, 0, "line 2 is no JSON");
    check_set("[]", 0, 1, 0, "no array");
    check_set("{\"keys\":{}}", 0, 1, 0, "no array");
    check_set("{\"keys\":[]}", 0, 1, 0, "no key in it");
    check_set("[[[[[[[[[[[[[[[[[", 0, 1, 0, "too deep");
    check_set("{\"keys\":[7," OCT_KEY ",{}]}", 1, 2, 0, "key 3: it is no object");
    check_set("{\"keys\":[{\"kty\":\"RSA\",\"n\":\"AA\"}]}", 0, 1, 0, "\"e\" is missing");
    check_set("{\"keys\":[{\"kty\":\"RSA\",\"n\":\"AA\",\"e\":\"AQAB\"}]}", 0, 1, 0, "2048");
    check_set("{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AA==\",\"y\":\"AA\"}]}", 0, 1,
              0, "\"x\" is no base64url");
    check_set("{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" RFC_X "\",\"y\":\"" RFC_X
              "\"}]}",
              0, 1, 0, "no point");
    check_set("{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AA\"}]}", 0, 1, 0,
              "32 bytes");
    check_set("{\"keys\":[{\"kty\":\"oct\",\"k\":\"AA\"}]}", 0, 1, 0, "1 bytes");
    check_set("{\"keys\":[{\"kty\":\"oct\",\"kid\":7,\"k\":\"" RFC_SECRET "\"}]}", 0, 1, 0,
              "\"kid\" is no text");
    check_set("{\"keys\":[{\"kty\":\"oct\",\"alg\":\"RS256\",\"k\":\"" RFC_SECRET "\"}]}", 0, 1, 0,
              "does not fit the algorithm");
}

TEST(jwt_key_set_passes_over_what_is_not_for_it)
{
    check_set("{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-521\"}," OCT_KEY "]}", 1, 0, 1, "not known");
    check_set("{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-521\"}]}", 0, 1, 1, "no key in it");
    check_set("{\"keys\":[" OCT_KEY ",{\"kty\":\"oct\",\"use\":\"enc\"}]}", 1, 0, 1,
              "not for signatures");
    check_set("{\"keys\":[" OCT_KEY ",{\"kty\":\"oct\",\"alg\":\"A128GCM\"}]}", 1, 0, 1,
              "algorithm is not known");
    check_set("{\"keys\":[" OCT_KEY ",{\"kty\":\"oct\",\"key_ops\":[\"sign\"]}]}", 1, 0, 1,
              "key_ops");
    check_set("{\"keys\":[{\"kty\":\"oct\",\"use\":\"sig\",\"key_ops\":[\"sign\",\"verify\"],"
              "\"alg\":\"HS512\",\"k\":\"" RFC_SECRET "\"}]}",
              1, 0, 0, "");
}

TEST(jwt_key_of_a_set_keeps_to_its_alg)
{
    struct jwt *j =
        with_set(&of_iss, "{\"kty\":\"oct\",\"alg\":\"HS512\",\"k\":\"" RFC_SECRET "\"}");

    expect_refusal(j, bytes_str(RFC_HS256), 0, "no key fits");
    jwt_release(j);
}

TEST(jwt_has_a_bounded_number_of_keys)
{
    struct jwt *j = jwt_create(&of_secret);
    struct said said = {0};

    for (uint32_t i = 0; i < JWT_KEYS_MAX; i++)
        assert_int_equal(jwt_add_key_file(j, bytes_str(SECRET), note, &said), OK);
    assert_int_equal(jwt_add_key_file(j, bytes_str(SECRET), note, &said), ERR_PEER);
    assert_non_null(strstr(said.text, "more than 64"));
    assert_int_equal(jwt_key_count(j), JWT_KEYS_MAX);
    assert_ptr_equal(jwt_ref(j), j);
    jwt_release(j);
    assert_int_equal(jwt_key_count(j), JWT_KEYS_MAX);
    jwt_release(j);
    jwt_release(NULL);
}
