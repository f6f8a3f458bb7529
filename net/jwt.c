/* net/jwt.c -- JSON Web Tokens: what one says, and whether it may be believed. */
#include "net/jwt.h"

#include <jansson.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/atomic.h"
#include "core/base/check.h"
#include "core/mqtt/topic.h"
#include "net/crypt.h"
#include "net/jwt_acl.h"
#include "net/jwt_keys.h"
#include "net/jwt_text.h"

/* A later second than any that counts, so that sums of seconds stay exact. */
#define SECONDS_MAX 1e12
#define PART_BYTES_MAX (JWT_TOKEN_BYTES_MAX / 4 * 3 + 3)

struct jwt {
    _Atomic uint32_t refs;
    const struct cfg_jwt *rules;
    struct jwt_keys keys;
};

/* A token in its parts, all views into it. */
struct token {
    struct bytes header, claims, signature;
    struct bytes signed_text; /* header and claims, as they stand */
};

/* One that is judged. */
struct judging {
    const struct jwt *j;
    uint64_t wall_ms;
    enum err err;    /* of the refusal; OK: none yet */
    const char *why; /* of the refusal */
};

/* ---- memory of JSON ---- */

/* Keys and tokens pass through the JSON library, which frees without wiping. So its memory has its
 * size in front. */
union json_head {
    size_t bytes;
    max_align_t align;
};

static void *json_take(size_t bytes)
{
    union json_head *head = bytes < SIZE_MAX - sizeof(*head) ? malloc(sizeof(*head) + bytes) : NULL;

    if (!head)
        return NULL;
    head->bytes = bytes;
    return head + 1;
}

static void json_give(void *p)
{
    union json_head *head = p;

    if (!head)
        return;
    head--;
    crypt_wipe(head, sizeof(*head) + head->bytes);
    free(head);
}

/* Before the first text is read, in a process where nobody else reads JSON. */
static void begin_json(void)
{
    json_set_alloc_funcs(json_take, json_give);
    json_object_seed(0); /* here, where there is no second thread that reads JSON */
}

/* ---- life ---- */

struct jwt *jwt_create(const struct cfg_jwt *rules)
{
    static pthread_once_t begun = PTHREAD_ONCE_INIT;
    struct jwt *j = calloc(1, sizeof(*j));

    if (!j || pthread_once(&begun, begin_json) != 0) {
        free(j);
        return NULL;
    }
    j->refs = 1;
    j->rules = rules;
    j->keys.algs_wanted = rules->algs;
    return j;
}

enum err jwt_add_key_file(struct jwt *j, struct bytes text, jwt_tell *tell, void *context)
{
    return jwt_keys_add_file(&j->keys, text, tell, context);
}

enum err jwt_add_jwks(struct jwt *j, struct bytes text, jwt_tell *tell, void *context)
{
    return jwt_keys_add_set(&j->keys, text, tell, context);
}

uint32_t jwt_key_count(const struct jwt *j)
{
    return j->keys.count;
}

struct jwt *jwt_ref(struct jwt *j)
{
    if (j)
        CHECK(add_relaxed(&j->refs, 1) > 0); /* the caller holds one, so it cannot go away */
    return j;
}

void jwt_release(struct jwt *j)
{
    /* Pairs with itself: what others did with it is done before the last one frees it. */
    if (!j || sub_acq_rel(&j->refs, 1) != 1)
        return;
    jwt_keys_fini(&j->keys);
    free(j);
}

/* ---- the text ---- */

/* Takes what stands before the next dot off *rest. false: there is none. */
static bool next_part(struct bytes *rest, struct bytes *part)
{
    const uint8_t *dot = rest->n ? memchr(rest->p, '.', rest->n) : NULL;

    if (!dot)
        return false;
    *part = bytes_of(rest->p, (size_t)(dot - rest->p));
    *rest = bytes_of(dot + 1, rest->n - part->n - 1);
    return true;
}

static bool is_base64url(struct bytes b)
{
    for (uint32_t i = 0; i < b.n; i++) {
        if (jwt_text_digit(b.p[i]) < 0)
            return false;
    }
    return b.n > 0;
}

static bool split(struct bytes text, struct token *t)
{
    struct bytes rest = text;

    if (text.n > JWT_TOKEN_BYTES_MAX || !next_part(&rest, &t->header) ||
        !next_part(&rest, &t->claims))
        return false;
    t->signature = rest;
    t->signed_text = bytes_of(text.p, t->header.n + 1 + t->claims.n);
    return true;
}

bool jwt_has_form(struct bytes password)
{
    struct token t;

    if (!split(password, &t) || !is_base64url(t.header) || !is_base64url(t.claims))
        return false;
    /* The first byte of the header is a brace. A token without a signature is one, too. */
    return (t.signature.n == 0 || is_base64url(t.signature)) && t.header.n >= 2 &&
           t.header.p[0] == 'e' && jwt_text_digit(t.header.p[1]) >> 4 == 3;
}

static bool refuse(struct judging *g, const char *why)
{
    g->err = ERR_PEER;
    g->why = why;
    return false;
}

static bool no_memory(struct judging *g)
{
    g->err = ERR_MEMORY;
    g->why = "no memory for the token";
    return false;
}

/* The object of a text; NULL after a refusal with `why`. */
static json_t *read_object(struct judging *g, struct bytes text, const char *why)
{
    json_error_t error;
    json_t *object;

    if (text.n == 0 || !jwt_text_is_shallow(text, JWT_DEPTH_MAX)) {
        refuse(g, why);
        return NULL;
    }
    object = json_loadb((const char *)text.p, text.n, JSON_REJECT_DUPLICATES, &error);
    if (json_is_object(object))
        return object;
    if (!object && json_error_code(&error) == json_error_out_of_memory)
        no_memory(g);
    else
        refuse(g, why);
    json_decref(object);
    return NULL;
}

/* The object that a part stands for; NULL after a refusal with `why`. */
static json_t *object_of(struct judging *g, struct bytes part, const char *why)
{
    uint8_t text[PART_BYTES_MAX];
    json_t *object = NULL;
    uint32_t n;

    if (jwt_text_decode(part, text, &n) == OK)
        object = read_object(g, bytes_of(text, n), why);
    else
        refuse(g, why);
    crypt_wipe(text, n);
    return object;
}

/* ---- the signature ---- */

static bool hmac_matches(struct judging *g, const struct jwt_key *k, enum cfg_jwt_alg alg,
                         struct bytes text, struct bytes signature)
{
    struct bytes secret = bytes_of(k->secret, k->secret_count);
    uint8_t mac[CRYPT_SHA512_BYTES];
    bool matches;
    uint32_t n;
    enum err e;

    switch (alg) {
    case CFG_JWT_HS256:
        n = CRYPT_SHA256_BYTES;
        e = crypt_hmac_sha256(secret, &text, 1, mac);
        break;
    case CFG_JWT_HS384:
        n = CRYPT_SHA384_BYTES;
        e = crypt_hmac_sha384(secret, &text, 1, mac);
        break;
    default:
        CHECK(alg == CFG_JWT_HS512);
        n = CRYPT_SHA512_BYTES;
        e = crypt_hmac_sha512(secret, &text, 1, mac);
    }
    matches = e == OK ? signature.n == n && crypt_equal(mac, signature.p, n) : no_memory(g);
    crypt_wipe(mac, sizeof(mac));
    return matches;
}

static bool key_matches(struct judging *g, const struct jwt_key *k, enum cfg_jwt_alg alg,
                        struct bytes text, struct bytes signature)
{
    bool matches;

    CHECK(k->algs & 1u << alg);
    if (k->secret)
        return hmac_matches(g, k, alg, text, signature);
    if (crypt_key_verify(k->key, text, signature, &matches) != OK)
        return no_memory(g);
    return matches;
}

/* Whether one of the keys that fit `alg` and `kid` has signed it. */
static bool is_signed_with(struct judging *g, const struct token *t, enum cfg_jwt_alg alg,
                           const char *kid, struct bytes signature)
{
    const struct jwt_keys *keys = &g->j->keys;
    uint32_t tried = 0;

    for (uint32_t i = 0; i < keys->count; i++) {
        const struct jwt_key *k = &keys->v[i];

        if (!(k->algs & 1u << alg) || (kid && k->kid && strcmp(kid, k->kid) != 0))
            continue;
        if (++tried > JWT_TRIES_MAX)
            return refuse(g, "too many keys fit the token; a kid would pick one");
        if (key_matches(g, k, alg, t->signed_text, signature))
            return true;
        if (g->err != OK)
            return false;
    }
    return refuse(g, tried ? "the token's signature does not match"
                           : "no key fits the token's alg and kid");
}

static bool is_signed(struct judging *g, const struct token *t, enum cfg_jwt_alg alg,
                      const char *kid)
{
    uint8_t signature[PART_BYTES_MAX];
    bool is_good;
    uint32_t n;

    if (jwt_text_decode(t->signature, signature, &n) != OK)
        is_good = refuse(g, "the token's signature is no base64url");
    else
        is_good = is_signed_with(g, t, alg, kid, bytes_of(signature, n));
    crypt_wipe(signature, n); /* who has all parts of a token can come with it */
    return is_good;
}

static bool judge_header(struct judging *g, const struct token *t)
{
    json_t *header = object_of(g, t->header, "the token's header is no JSON object");
    const json_t *alg, *kid;
    enum cfg_jwt_alg found;
    bool is_good;

    if (!header)
        return false;
    alg = json_object_get(header, "alg");
    kid = json_object_get(header, "kid");
    if (json_object_get(header, "crit"))
        is_good = refuse(g, "the token's header has a crit");
    else if (!json_is_string(alg) || (kid && !json_is_string(kid)))
        is_good = refuse(g, "the token's header has no alg, or a kid that is no text");
    else if (!cfg_jwt_alg_find(bytes_str(json_string_value(alg)), &found))
        is_good = refuse(g, "the token's alg is not allowed");
    else
        is_good = is_signed(g, t, found, json_string_value(kid));
    json_decref(header);
    return is_good;
}

/* ---- the claims ---- */

/* A time in seconds. false: refused; *is_there says whether there is one. */
static bool time_claim(struct judging *g, const json_t *claims, const char *name, bool *is_there,
                       double *seconds)
{
    const json_t *v = json_object_get(claims, name);

    *is_there = v != NULL;
    *seconds = v ? json_number_value(v) : 0;
    if (v && !(json_is_number(v) && *seconds >= 0 && *seconds <= SECONDS_MAX))
        return refuse(g, "a time in the token is no number of seconds");
    return true;
}

static bool judge_times(struct judging *g, const json_t *claims, uint64_t *expires_ms)
{
    const struct cfg_jwt *rules = g->j->rules;
    double now = (double)g->wall_ms / 1000, leeway = (double)rules->leeway_s;
    double expires, from, issued;
    bool has_expires, has_from, has_issued;

    if (!time_claim(g, claims, "exp", &has_expires, &expires) ||
        !time_claim(g, claims, "nbf", &has_from, &from) ||
        !time_claim(g, claims, "iat", &has_issued, &issued))
        return false;
    *expires_ms = has_expires ? (uint64_t)((expires + leeway) * 1000) : UINT64_MAX;
    if (!has_expires && rules->require_exp)
        return refuse(g, "the token has no exp");
    if (g->wall_ms >= *expires_ms)
        return refuse(g, "the token has expired");
    if (has_from && now + leeway < from)
        return refuse(g, "the token does not hold yet");
    if (has_issued && now + leeway < issued)
        return refuse(g, "the token was issued in the future");
    return true;
}

static bool is_text(const json_t *v, const char *text)
{
    return json_is_string(v) && strcmp(json_string_value(v), text) == 0;
}

/* `aud` is a text or an array of texts (RFC 7519, 4.1.3). */
static bool names_audience(const json_t *v, const char *audience)
{
    for (size_t i = 0; json_is_array(v) && i < json_array_size(v); i++) {
        if (is_text(json_array_get(v, i), audience))
            return true;
    }
    return is_text(v, audience);
}

static bool judge_parties(struct judging *g, const json_t *claims)
{
    const struct cfg_jwt *rules = g->j->rules;

    if (rules->issuer && !is_text(json_object_get(claims, "iss"), rules->issuer))
        return refuse(g, "the token is of another issuer");
    if (rules->audience && !names_audience(json_object_get(claims, "aud"), rules->audience))
        return refuse(g, "the token is for another audience");
    return true;
}

static bool is_printable(struct bytes user)
{
    for (uint32_t i = 0; i < user.n; i++) {
        if (user.p[i] < 0x20 || user.p[i] == 0x7f)
            return false;
    }
    return utf8_valid(user);
}

static bool judge_user(struct judging *g, const json_t *claims, struct jwt_identity *identity)
{
    const char *name = g->j->rules->username_claim;
    const json_t *v = json_object_get(claims, name ? name : "username");
    struct bytes user;

    if (!v && !name)
        v = json_object_get(claims, "sub");
    if (!json_is_string(v))
        return refuse(g, "the token names no user");
    user = bytes_of(json_string_value(v), json_string_length(v));
    if (user.n == 0 || user.n > JWT_USER_BYTES_MAX || !is_printable(user))
        return refuse(g, "the token's user is no user name");
    identity->user_count = user.n;
    (void)bytes_put((uint8_t *)identity->user, user);
    return true;
}

static bool judge_rules(struct judging *g, const json_t *claims, struct jwt_identity *identity)
{
    const char *name = g->j->rules->acl_claim;
    const json_t *v = name ? json_object_get(claims, name) : NULL;
    const char *why;

    identity->has_rules = v != NULL;
    return !v || jwt_acl_read(v, &identity->rules, &why) == OK || refuse(g, why);
}

enum err jwt_verify(const struct jwt *j, struct bytes token, uint64_t wall_ms,
                    struct jwt_identity *identity, const char **why)
{
    struct judging g = {.j = j, .wall_ms = wall_ms};
    json_t *claims = NULL;
    struct token t;

    identity->expires_ms = 0;
    identity->user_count = 0;
    identity->has_rules = false;
    if (!split(token, &t))
        (void)refuse(&g, "it is no token");
    else if (judge_header(&g, &t))
        claims = object_of(&g, t.claims, "the token's claims are no JSON object");
    if (claims && judge_times(&g, claims, &identity->expires_ms) && judge_parties(&g, claims) &&
        judge_user(&g, claims, identity))
        (void)judge_rules(&g, claims, identity);
    json_decref(claims);
    identity->ends_connection =
        j->rules->disconnect_after_expire && identity->expires_ms != UINT64_MAX;
    *why = g.why;
    return g.err;
}
