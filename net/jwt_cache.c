/* net/jwt_cache.c -- tokens that held. */
#include "net/jwt_cache.h"

#include <stdlib.h>

#include "core/base/check.h"

#define WAYS 4u /* places to choose from */

struct place {
    struct passwd_proof hash;
    uint64_t end_ms;
    struct jwt_proven *proven; /* NULL: the place is free */
};

struct jwt_cache {
    uint64_t bytes, bytes_max;
    uint32_t mask; /* groups of WAYS places - 1 */
    struct place places[];
};

struct jwt_proven *jwt_proven_create(const struct jwt_identity *identity)
{
    struct bytes rules = {0};
    struct jwt_proven *p;

    if (identity->has_rules)
        rules = acl_claim_text(&identity->rules);
    p = malloc(sizeof(*p) + identity->user_count + rules.n);
    if (!p)
        return NULL;
    *p = (struct jwt_proven){.expires_ms = identity->expires_ms,
                             .ends_connection = identity->ends_connection,
                             .user_count = (uint16_t)identity->user_count,
                             .rules_count = (uint16_t)rules.n};
    (void)bytes_put(bytes_put(p->bytes, bytes_of(identity->user, identity->user_count)), rules);
    return p;
}

static uint64_t bytes_of_proven(const struct jwt_proven *p)
{
    return sizeof(*p) + p->user_count + p->rules_count;
}

struct jwt_cache *jwt_cache_create(uint32_t places, uint64_t bytes_max)
{
    struct jwt_cache *c;
    uint32_t groups = 1;

    CHECK(places > 0 && places <= JWT_CACHE_PLACES);
    while (groups * WAYS < places)
        groups *= 2;
    c = calloc(1, sizeof(*c) + (size_t)groups * WAYS * sizeof(c->places[0]));
    if (!c)
        return NULL;
    c->mask = groups - 1;
    c->bytes_max = bytes_max;
    return c;
}

static void drop(struct jwt_cache *c, struct place *p)
{
    if (p->proven)
        c->bytes -= bytes_of_proven(p->proven);
    free(p->proven);
    *p = (struct place){0};
}

void jwt_cache_clear(struct jwt_cache *c)
{
    for (uint32_t i = 0; i < (c->mask + 1) * WAYS; i++)
        drop(c, &c->places[i]);
    CHECK(c->bytes == 0);
}

void jwt_cache_destroy(struct jwt_cache *c)
{
    if (!c)
        return;
    jwt_cache_clear(c);
    free(c);
}

static const struct place *group_of(const struct jwt_cache *c, const struct passwd_proof *hash)
{
    return &c->places[(hash->word[0] & c->mask) * WAYS];
}

/* Who asks cannot choose the bits of a hash, so the time of this comparison tells nothing. */
static bool is_same(const struct passwd_proof *a, const struct passwd_proof *b)
{
    return ((a->word[0] ^ b->word[0]) | (a->word[1] ^ b->word[1])) == 0;
}

const struct jwt_proven *jwt_cache_find(const struct jwt_cache *c, const struct passwd_proof *hash,
                                        uint64_t now_ms)
{
    const struct place *group = group_of(c, hash);

    for (uint32_t i = 0; i < WAYS; i++) {
        if (group[i].proven && is_same(&group[i].hash, hash) && group[i].end_ms > now_ms)
            return group[i].proven;
    }
    return NULL;
}

/* The place for a token: its own, a free one, or the one that ends first. */
static struct place *place_for(struct jwt_cache *c, const struct passwd_proof *hash,
                               uint64_t now_ms)
{
    struct place *group = (struct place *)group_of(c, hash); /* ours, and we may write */
    struct place *best = &group[0];

    for (uint32_t i = 0; i < WAYS; i++) {
        if (group[i].proven && group[i].end_ms <= now_ms)
            drop(c, &group[i]);
        if (group[i].proven && is_same(&group[i].hash, hash))
            return &group[i];
        if (group[i].end_ms < best->end_ms)
            best = &group[i];
    }
    return best;
}

void jwt_cache_put(struct jwt_cache *c, const struct passwd_proof *hash, struct jwt_proven *p,
                   uint64_t now_ms, uint64_t end_ms)
{
    struct place *place;

    if (end_ms <= now_ms) {
        free(p);
        return;
    }
    place = place_for(c, hash, now_ms);
    drop(c, place);
    if (bytes_of_proven(p) > c->bytes_max - c->bytes) {
        free(p);
        return;
    }
    c->bytes += bytes_of_proven(p);
    *place = (struct place){.hash = *hash, .end_ms = end_ms, .proven = p};
}

uint64_t jwt_cache_bytes(const struct jwt_cache *c)
{
    return c->bytes;
}
