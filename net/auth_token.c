/* net/auth_token.c -- who a client is, by a token. */
#include "net/auth_token.h"

#include <stdlib.h>
#include <string.h>

#include "net/clock.h"
#include "net/crypt.h"

/* 128 bits of a keyed hash of a whole token. */
static bool hash_of_token(const struct auth *a, struct bytes token, struct passwd_proof *hash)
{
    struct bytes parts[] = {BYTES_LIT("token"), token};
    uint8_t mac[CRYPT_SHA256_BYTES];

    if (crypt_hmac_sha256(bytes_of(a->key, sizeof(a->key)), parts, 2, mac) != OK)
        return false;
    memcpy(hash, mac, sizeof(*hash));
    return true;
}

/* By the clock of the workers: when a token ends that does not end before `wall_ms`. */
static uint64_t end_of(const struct jwt_proven *p, uint64_t wall_ms)
{
    return clock_mono_ms() + (p->expires_ms - wall_ms);
}

static struct admission *admit(const struct jwt_proven *p, uint64_t wall_ms)
{
    struct admission *a = calloc(1, sizeof(*a) + p->user_count + p->rules_count);

    if (!a)
        return NULL;
    a->has_user = true;
    a->user_count = p->user_count;
    a->rules_count = p->rules_count;
    memcpy(a->user, p->bytes, (size_t)p->user_count + p->rules_count);
    if (p->expires_ms == UINT64_MAX)
        return a;
    if (p->ends_connection)
        a->expires_ms = end_of(p, wall_ms);
    if (p->rules_count)
        a->rules_end_ms = end_of(p, wall_ms);
    return a;
}

struct admission *auth_token_find(struct auth *a, struct bytes token, bool *is_known)
{
    const struct jwt_proven *p = NULL;
    struct admission *admission = NULL;
    uint64_t wall_ms = clock_wall_ms();
    struct passwd_proof hash;

    *is_known = false;
    if (a->cache_ms == 0 || !hash_of_token(a, token, &hash))
        return NULL;
    pthread_mutex_lock(&a->lock);
    p = jwt_cache_find(a->tokens, &hash, clock_mono_ms());
    *is_known = p && p->expires_ms > wall_ms;
    if (*is_known)
        admission = admit(p, wall_ms);
    pthread_mutex_unlock(&a->lock);
    return admission;
}

/* Notes what a token has proven to the keys of the question, unless there are others now. */
static void remember(struct auth *a, const struct auth_question *q, struct jwt_proven *p,
                     uint64_t wall_ms)
{
    struct bytes token = bytes_of(q->password, q->password_count);
    uint64_t now = clock_mono_ms(), end = now + a->cache_ms;
    struct passwd_proof hash;

    if (a->cache_ms == 0 || !hash_of_token(a, token, &hash)) {
        free(p);
        return;
    }
    if (p->expires_ms != UINT64_MAX && end_of(p, wall_ms) < end)
        end = end_of(p, wall_ms);
    pthread_mutex_lock(&a->lock);
    if (q->jwt == a->jwt)
        jwt_cache_put(a->tokens, &hash, p, now, end);
    else
        free(p);
    pthread_mutex_unlock(&a->lock);
}

/* What the keys of the question say. */
static struct admission *judge(struct auth *a, const struct auth_question *q)
{
    struct bytes token = bytes_of(q->password, q->password_count);
    uint64_t wall_ms = clock_wall_ms();
    struct jwt_identity identity;
    struct admission *admission;
    struct jwt_proven *p;
    const char *why;
    enum err e = jwt_verify(q->jwt, token, wall_ms, &identity, &why);

    if (e != OK)
        return auth_refuse(e == ERR_MEMORY ? REASON_SERVER_BUSY : REASON_BAD_USER_NAME_OR_PASSWORD,
                           why);
    p = jwt_proven_create(&identity);
    if (!p)
        return NULL;
    admission = admit(p, wall_ms);
    remember(a, q, p, wall_ms);
    return admission;
}

struct admission *auth_token_check(struct auth *a, const struct auth_question *q)
{
    struct bytes token = bytes_of(q->password, q->password_count);
    bool is_known;
    struct admission *admission = auth_token_find(a, token, &is_known);

    /* Those who come at once with the same token wait in line; the first was judged for all. */
    return is_known ? admission : judge(a, q);
}
