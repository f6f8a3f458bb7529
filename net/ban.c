/* net/ban.c -- who has failed to prove who he is too often. */
#include "net/ban.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/atomic.h"
#include "core/base/check.h"

/* Places one hash may have. */
#define WAYS 8u
/* Guilt is counted in thousandths of a failure. */
#define FAILURE 1000u

struct place {
    _Atomic uint64_t tag;    /* the hash of who it is; 0: free */
    _Atomic uint64_t end_ms; /* of the ban; 0: none so far */
    uint64_t guilt;          /* under the lock, as of `last_ms`: failures not forgiven */
    uint64_t last_ms;        /* under the lock */
};

struct bans {
    struct ban_rules rules;
    struct hash_key key;
    uint32_t mask; /* groups of WAYS places - 1 */
    pthread_mutex_t lock;
    _Alignas(CACHE_LINE) _Atomic uint64_t last_end_ms; /* when the last of all bans ends */
    _Alignas(CACHE_LINE) struct place places[];
};

struct bans *bans_create(const struct ban_rules *rules, const struct hash_key *key, uint32_t places)
{
    size_t bytes = sizeof(struct bans) + places * sizeof(struct place);
    struct bans *b = aligned_alloc(CACHE_LINE, (bytes + CACHE_LINE - 1) & ~(CACHE_LINE - 1ul));

    CHECK(places >= WAYS);
    CHECK((places & (places - 1)) == 0);
    CHECK(rules->failures_max > 0);
    CHECK(rules->window_ms > 0);
    if (!b)
        return NULL;
    memset(b, 0, bytes);
    b->rules = *rules;
    b->key = *key;
    b->mask = places / WAYS - 1;
    pthread_mutex_init(&b->lock, NULL);
    return b;
}

void bans_destroy(struct bans *b)
{
    if (!b)
        return;
    pthread_mutex_destroy(&b->lock);
    free(b);
}

/* ---- who ---- */

/* The hash of an address: an IPv4 address also where it is written as one of IPv6, else a /64. */
static uint64_t address_tag(const struct bans *b, const uint8_t *ip, uint32_t n)
{
    static const uint8_t mapped[12] = {[10] = 0xFF, [11] = 0xFF};
    struct bytes part = bytes_of(ip, n);
    uint64_t tag;

    if (n == 16 && memcmp(ip, mapped, sizeof(mapped)) == 0)
        part = bytes_of(ip + 12, 4);
    else if (n == 16)
        part.n = 8;
    tag = hash_bytes(&b->key, part);
    return tag ? tag : 1;
}

static uint64_t client_tag(const struct bans *b, const uint8_t *ip, uint32_t n,
                           struct bytes client_id)
{
    uint64_t tag = hash_more(&b->key, address_tag(b, ip, n), client_id);

    return tag ? tag : 1;
}

static struct place *group_of(const struct bans *b, uint64_t tag)
{
    return (struct place *)(uintptr_t)&b->places[((tag >> 32) & b->mask) * WAYS];
}

/* ---- asking ---- */

static bool is_any_banned(const struct bans *b, uint64_t now_ms)
{
    return b && load_relaxed(&b->last_end_ms) > now_ms; /* a moment too old does no harm */
}

static bool is_banned(const struct bans *b, uint64_t tag, uint64_t now_ms)
{
    const struct place *p = group_of(b, tag);

    for (uint32_t i = 0; i < WAYS; i++, p++) {
        /* pair with store_release in take_place and begin_ban: the ban of who came after him is not
         * taken for his, for then his tag is gone */
        if (load_relaxed(&p->tag) == tag && load_acquire(&p->end_ms) > now_ms &&
            load_relaxed(&p->tag) == tag)
            return true;
    }
    return false;
}

bool bans_address(const struct bans *b, const uint8_t *ip, uint32_t n, uint64_t now_ms)
{
    return is_any_banned(b, now_ms) && n > 0 && is_banned(b, address_tag(b, ip, n), now_ms);
}

bool bans_client(const struct bans *b, const uint8_t *ip, uint32_t n, struct bytes client_id,
                 uint64_t now_ms)
{
    return is_any_banned(b, now_ms) && client_id.n > 0 &&
           is_banned(b, client_tag(b, ip, n, client_id), now_ms);
}

/* ---- counting; under the lock ---- */

/* What of its guilt is left now; a bucket of `max` failures. */
static uint64_t guilt_at(const struct bans *b, const struct place *p, uint32_t max, uint64_t now_ms)
{
    uint64_t passed_ms = now_ms > p->last_ms ? now_ms - p->last_ms : 0;
    uint64_t forgiven;

    if (passed_ms >= b->rules.window_ms)
        return 0;
    forgiven = passed_ms * max * FAILURE / b->rules.window_ms;
    return p->guilt > forgiven ? p->guilt - forgiven : 0;
}

/* Who goes before whom: the smaller number. */
static uint64_t worth(const struct bans *b, const struct place *p, uint64_t now_ms)
{
    uint64_t end_ms = load_relaxed(&p->end_ms); /* only written under the lock */

    if (load_relaxed(&p->tag) == 0)
        return 0;
    if (end_ms > now_ms)
        return (1ull << 63) | end_ms;
    return 1 + guilt_at(b, p, b->rules.failures_max, now_ms);
}

/* The place of `tag`; perhaps one that was somebody else's. */
static struct place *take_place(struct bans *b, uint64_t tag, uint64_t now_ms)
{
    struct place *group = group_of(b, tag), *least = group;

    for (uint32_t i = 0; i < WAYS; i++) {
        if (load_relaxed(&group[i].tag) == tag)
            return &group[i];
        if (worth(b, &group[i], now_ms) < worth(b, least, now_ms))
            least = &group[i];
    }
    store_release(&least->end_ms, 0);
    store_release(&least->tag, tag); /* pairs with is_banned */
    least->guilt = 0;
    least->last_ms = now_ms;
    return least;
}

static void begin_ban(struct bans *b, struct place *p, uint64_t now_ms)
{
    uint64_t end_ms = now_ms + b->rules.ban_ms;

    p->guilt = 0;                      /* after the ban it begins anew */
    store_release(&p->end_ms, end_ms); /* pairs with is_banned */
    if (end_ms > load_relaxed(&b->last_end_ms))
        store_relaxed(&b->last_end_ms, end_ms);
}

/* One failure more; whether that begins a ban. */
static bool count_failure(struct bans *b, uint64_t tag, uint32_t max, uint64_t now_ms)
{
    struct place *p = take_place(b, tag, now_ms);

    if (load_relaxed(&p->end_ms) > now_ms)
        return false; /* it was on its way already when the ban began */
    p->guilt = guilt_at(b, p, max, now_ms) + FAILURE;
    p->last_ms = now_ms;
    if (p->guilt + FAILURE <= (uint64_t)max * FAILURE)
        return false;
    begin_ban(b, p, now_ms);
    return true;
}

uint32_t bans_failed(struct bans *b, const uint8_t *ip, uint32_t n, struct bytes client_id,
                     uint64_t now_ms)
{
    const uint32_t max = b->rules.failures_max;
    uint32_t begun = 0;

    pthread_mutex_lock(&b->lock);
    if (client_id.n && count_failure(b, client_tag(b, ip, n, client_id), max - max / 2, now_ms))
        begun |= BAN_CLIENT;
    if (n > 0 && !cidr_has(b->rules.exempt, ip, n) &&
        count_failure(b, address_tag(b, ip, n), max, now_ms))
        begun |= BAN_ADDRESS;
    pthread_mutex_unlock(&b->lock);
    return begun;
}
