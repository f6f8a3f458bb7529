/* core/policy/passwd_cache.c -- the checks that went well, so that a reconnect costs none. */
#include "core/policy/passwd_cache.h"

#include <stdlib.h>

#include "core/base/check.h"

#define WAYS 4u /* places to choose from */

struct place {
    struct passwd_proof proof;
    uint64_t end_ms; /* 0: never used */
};

struct passwd_cache {
    uint32_t mask; /* groups of WAYS places - 1 */
    struct place places[];
};

/* Length before content, so that no two different lists of parts are the same bytes. */
static uint8_t *put_lengths(uint8_t *to, const struct passwd_entry *e, struct bytes password)
{
    to = put_be32(to, e->name.n);
    to = put_be32(to, password.n);
    to = put_be32(to, (uint32_t)e->hash.kind);
    to = put_be32(to, e->hash.cost);
    to = put_be32(to, e->hash.memory_kib);
    to = put_be32(to, e->hash.lanes);
    to = put_be32(to, e->hash.salt.n);
    return put_be32(to, e->hash.hash.n);
}

enum err passwd_proof_make(const uint8_t key[PASSWD_CACHE_KEY_BYTES], const struct passwd_entry *e,
                           struct bytes password, const struct passwd_crypt *crypt,
                           struct passwd_proof *proof)
{
    uint8_t lengths[32];
    uint8_t mac[32];
    const struct bytes parts[] = {bytes_of(lengths, sizeof(lengths)), e->name, password,
                                  e->hash.salt, e->hash.hash};
    enum err err;

    memset(proof, 0, sizeof(*proof));
    if (!passwd_is_user(e))
        return ERR_NONE;
    CHECK(put_lengths(lengths, e, password) == lengths + sizeof(lengths));
    err = crypt->hmac_sha256(bytes_of(key, PASSWD_CACHE_KEY_BYTES), parts,
                             sizeof(parts) / sizeof(parts[0]), mac);
    if (err == OK)
        memcpy(proof->word, mac, sizeof(proof->word));
    explicit_bzero(mac, sizeof(mac));
    return err;
}

struct passwd_cache *passwd_cache_create(uint32_t places)
{
    struct passwd_cache *c;
    uint32_t groups = 1;

    CHECK(places > 0 && places <= PASSWD_CACHE_PLACES_MAX);
    while (groups * WAYS < places)
        groups *= 2;
    c = calloc(1, sizeof(*c) + (size_t)groups * WAYS * sizeof(c->places[0]));
    if (c)
        c->mask = groups - 1;
    return c;
}

void passwd_cache_destroy(struct passwd_cache *c)
{
    if (!c)
        return;
    explicit_bzero(c->places, ((size_t)c->mask + 1) * WAYS * sizeof(c->places[0]));
    free(c);
}

static const struct place *group_of(const struct passwd_cache *c, const struct passwd_proof *proof)
{
    return &c->places[(proof->word[0] & c->mask) * WAYS];
}

/* Who asks cannot choose the bits of a proof, so the time of this comparison tells nothing. */
static bool is_same(const struct passwd_proof *a, const struct passwd_proof *b)
{
    return ((a->word[0] ^ b->word[0]) | (a->word[1] ^ b->word[1])) == 0;
}

bool passwd_cache_has(const struct passwd_cache *c, const struct passwd_proof *proof,
                      uint64_t now_ms)
{
    const struct place *group = group_of(c, proof);

    for (uint32_t i = 0; i < WAYS; i++) {
        if (is_same(&group[i].proof, proof) && group[i].end_ms > now_ms)
            return true;
    }
    return false;
}

void passwd_cache_put(struct passwd_cache *c, const struct passwd_proof *proof, uint64_t now_ms,
                      uint64_t end_ms)
{
    struct place *group = (struct place *)group_of(c, proof); /* ours, and we may write */
    struct place *best = &group[0];

    if (end_ms <= now_ms)
        return;
    for (uint32_t i = 0; i < WAYS; i++) {
        if (is_same(&group[i].proof, proof)) {
            best = &group[i];
            break;
        }
        if (group[i].end_ms < best->end_ms)
            best = &group[i];
    }
    *best = (struct place){.proof = *proof, .end_ms = end_ms};
}
