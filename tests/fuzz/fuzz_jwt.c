/* tests/fuzz/fuzz_jwt.c -- tokens and key sets: nothing holds that no key has signed.
 *
 * Input: a byte that says what it is, and a text. 0: a token, as it came. 1: the claims of a token
 * that is signed here, so that they are read. 2: the header of one. 3: a key set. 4: a file of
 * keys. A token as it came never holds, as nobody can guess the secret.
 */
#include <stdlib.h>

#include "core/base/check.h"
#include "core/mqtt/topic.h"
#include "net/crypt.h"
#include "net/jwt.h"
#include "net/jwt_text.h"

#define TEXT_BYTES_MAX 4096u
#define NOW_MS 1700000000000ull

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct cfg_jwt rules = {.algs = 1u << CFG_JWT_HS256,
                                     .audience = "me",
                                     .acl_claim = "acl",
                                     .leeway_s = 3,
                                     .disconnect_after_expire = true};
static const struct cfg_jwt any = {.algs = (1u << CFG_JWT_ALG_COUNT) - 1};

/* Drawn anew for each run of the program. */
static uint8_t secret[CRYPT_SHA256_BYTES];

static void check_said(void *context, bool is_mistake, const char *what)
{
    bool *has_mistake = context;

    *has_mistake |= is_mistake;
    CHECK(*what);
    for (; *what; what++)
        CHECK(*what >= 0x20 && *what < 0x7f);
}

static struct jwt *judge_of_tokens(void)
{
    static struct jwt *j;
    bool has_mistake = false;

    if (j)
        return j;
    CHECK(crypt_random(secret, sizeof(secret)) == OK);
    for (uint32_t i = 0; i < sizeof(secret); i++)
        secret[i] |= 0x80; /* no blank, no PEM */
    j = jwt_create(&rules);
    CHECK(jwt_add_key_file(j, bytes_of(secret, sizeof(secret)), check_said, &has_mistake) == OK);
    CHECK(!has_mistake && jwt_key_count(j) == 1);
    return j;
}

static char *encode(struct bytes b, char *to)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    uint32_t bits = 0, count = 0;

    for (uint32_t i = 0; i < b.n; i++) {
        bits = (bits << 8 | b.p[i]) & 0xffff;
        for (count += 8; count >= 6; count -= 6)
            *to++ = digits[bits >> (count - 6) & 63];
    }
    if (count)
        *to++ = digits[bits << (6 - count) & 63];
    return to;
}

/* Signs, and checks that what was written is read. */
static struct bytes sign(struct bytes header, struct bytes claims)
{
    static char text[2 * TEXT_BYTES_MAX + 512];
    uint8_t mac[CRYPT_SHA256_BYTES], again[TEXT_BYTES_MAX + 8];
    char *end = encode(header, text);
    struct bytes part = bytes_of(text, (size_t)(end - text));
    uint32_t n;

    CHECK(jwt_text_decode(part, again, &n) == OK && bytes_eq(bytes_of(again, n), header));
    *end++ = '.';
    end = encode(claims, end);
    part = bytes_of(text, (size_t)(end - text));
    CHECK(crypt_hmac_sha256(bytes_of(secret, sizeof(secret)), &part, 1, mac) == OK);
    *end++ = '.';
    end = encode(bytes_of(mac, sizeof(mac)), end);
    return bytes_of(text, (size_t)(end - text));
}

/* A token's rules fit into their bounds, and are the same for each question. */
static void check_rules(const struct jwt_identity *id)
{
    static const char *const topics[] = {"a", "a/b", "a/dev/joe", "$SYS/x", "b/c/d"};
    static const char *const names[] = {"dev", "a/b", "$x", "+"};
    struct bytes user = bytes_of(id->user, id->user_count), text = acl_claim_text(&id->rules);

    CHECK(id->rules.rule_count <= ACL_CLAIM_RULES_MAX);
    for (uint32_t n = 0; n < 4; n++) {
        struct acl_claim *c = NULL;
        const char *why = NULL;

        if (acl_claim_bind(text, n % 2 ? &user : NULL, bytes_str(names[n]), &c, &why) != OK) {
            CHECK(why && !c);
            continue;
        }
        for (uint32_t t = 0; t < 5; t++) {
            struct bytes topic = bytes_str(topics[t]);
            enum acl_claim_verdict read = acl_claim_read(c, topic);

            (void)acl_claim_publish(c, topic, (uint8_t)(t % 3), t & 1);
            (void)acl_claim_subscribe(c, topic, (uint8_t)(t % 3));
            CHECK(acl_claim_covers(c, topic) != ACL_CLAIM_ALLOW || read == ACL_CLAIM_ALLOW);
            CHECK(acl_claim_covers(c, BYTES_LIT("#")) != ACL_CLAIM_ALLOW ||
                  read == ACL_CLAIM_ALLOW || *topics[t] == '$');
            CHECK(acl_claim_covers(c, BYTES_LIT("a/#")) != ACL_CLAIM_ALLOW ||
                  read == ACL_CLAIM_ALLOW || *topics[t] != 'a');
        }
        acl_claim_destroy(c);
    }
}

static bool holds(struct bytes token)
{
    struct jwt_identity id;
    const char *why = NULL;
    enum err e = jwt_verify(judge_of_tokens(), token, NOW_MS, &id, &why);
    struct bytes user = bytes_of(id.user, id.user_count);

    CHECK((e == OK) == (why == NULL));
    if (e != OK)
        return false;
    CHECK(user.n > 0 && user.n <= JWT_USER_BYTES_MAX && utf8_valid(user));
    CHECK(id.expires_ms > NOW_MS);
    if (id.has_rules)
        check_rules(&id);
    CHECK(jwt_has_form(token) || token.p[0] != 'e');
    return true;
}

static void fuzz_keys(struct bytes text, bool is_set)
{
    struct jwt *j = jwt_create(&any);
    bool has_mistake = false;
    enum err e;

    if (is_set)
        e = jwt_add_jwks(j, text, check_said, &has_mistake);
    else
        e = jwt_add_key_file(j, text, check_said, &has_mistake);
    CHECK((e != OK) == has_mistake);
    CHECK(e != OK || jwt_key_count(j) > 0);
    jwt_release(j);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes text;

    if (size < 1 || size > TEXT_BYTES_MAX)
        return 0;
    text = bytes_of(data + 1, size - 1);
    (void)judge_of_tokens();
    switch (data[0] % 5) {
    case 0:
        (void)jwt_has_form(text);
        CHECK(!holds(text));
        break;
    case 1:
        (void)holds(sign(BYTES_LIT("{\"alg\":\"HS256\"}"), text));
        break;
    case 2:
        (void)holds(sign(text, BYTES_LIT("{\"sub\":\"u\",\"aud\":\"me\"}")));
        break;
    default:
        fuzz_keys(text, data[0] % 5 == 3);
    }
    return 0;
}
