/* core/broker/plan.c -- from a topic to the workers and slots that want it. */
#include "core/broker/plan.h"

#include <stdlib.h>

#include "core/base/check.h"
#include "core/mqtt/topic.h"

#define CACHE_ENTRIES 2048u
#define CACHE_TOPIC_MAX 256u
#define CACHE_SLOTS_MAX 64u
#define MATCHES_FIRST 256u

struct cached {
    uint64_t hash;
    struct stripe_places places;
    struct stripe_view seen;
    struct plan plan;
    uint8_t *block; /* plan arrays, then the topic; NULL: only the hash was seen once */
    uint32_t topic_count;
    const uint8_t *topic;
};

struct topic_cache {
    struct matches found;
    struct cached entries[CACHE_ENTRIES];
};

struct topic_cache *topic_cache_create(void)
{
    struct topic_cache *t = calloc(1, sizeof *t);

    if (!t)
        return NULL;
    t->found.v = malloc(MATCHES_FIRST * sizeof *t->found.v);
    t->found.max = MATCHES_FIRST;
    if (!t->found.v) {
        free(t);
        return NULL;
    }
    return t;
}

void topic_cache_destroy(struct topic_cache *t)
{
    if (!t)
        return;
    for (uint32_t i = 0; i < CACHE_ENTRIES; i++)
        free(t->entries[i].block);
    free(t->found.v);
    free(t);
}

/* ---- partitions ---- */

static struct bytes first_level(struct bytes t)
{
    const uint8_t *slash = t.n ? memchr(t.p, '/', t.n) : NULL;

    return slash ? bytes_of(t.p, (size_t)(slash - t.p)) : t;
}

uint32_t owner_of_topic(const struct cluster_state *c, uint64_t topic_hash)
{
    return (uint32_t)((topic_hash >> 32) % c->config.workers);
}

static bool leads_with_wildcard(struct bytes filter)
{
    return filter.p[0] == '#' || (filter.p[0] == '+' && (filter.n == 1 || filter.p[1] == '/'));
}

static uint32_t owner_of_first_level(const struct cluster_state *c, struct bytes t)
{
    return (uint32_t)((hash_bytes(&c->key, first_level(t)) >> 32) % c->config.workers);
}

uint32_t owner_of_filter(const struct cluster_state *c, struct bytes filter, uint64_t hash)
{
    if (!topic_has_wildcard(filter))
        return owner_of_topic(c, hash);
    return leads_with_wildcard(filter) ? 0 : owner_of_first_level(c, filter);
}

struct index *partition_of_filter(const struct cluster_state *c, struct bytes filter, uint64_t hash)
{
    if (topic_has_wildcard(filter) && leads_with_wildcard(filter))
        return c->leading;
    return c->index[owner_of_filter(c, filter, hash)];
}

/* ---- matching ---- */

static void match(struct shard *s, struct bytes topic, uint64_t hash, struct matches *out)
{
    const struct cluster_state *c = s->cluster;

    out->count = 0;
    out->is_cut = false;
    index_prefetch_exact(c->index[owner_of_topic(c, hash)], hash);
    index_match_wild(c->index[owner_of_first_level(c, topic)], topic, out);
    index_match_wild(c->leading, topic, out);
    index_match_exact(c->index[owner_of_topic(c, hash)], topic, hash, out);
}

static bool match_all(struct shard *s, struct bytes topic, uint64_t hash)
{
    struct matches *found = &s->topics->found;

    match(s, topic, hash, found);
    while (found->is_cut) {
        struct dest *v = malloc(2ul * found->max * sizeof *v);

        if (!v)
            return false;
        free(found->v);
        found->v = v;
        found->max *= 2;
        match(s, topic, hash, found);
    }
    return true;
}

/* By worker, then filters before groups before links. */
static int by_worker(const void *a, const void *b)
{
    const struct dest *x = a, *y = b;

    if (x->worker != y->worker)
        return x->worker < y->worker ? -1 : 1;
    return (int)x->kind - (int)y->kind;
}

static void sort(struct matches *found)
{
    if (found->count > 16) {
        qsort(found->v, found->count, sizeof *found->v, by_worker);
        return;
    }
    for (uint32_t i = 1; i < found->count; i++) {
        struct dest d = found->v[i];
        uint32_t at = i;

        for (; at > 0 && by_worker(&found->v[at - 1], &d) > 0; at--)
            found->v[at] = found->v[at - 1];
        found->v[at] = d;
    }
}

static size_t block_bytes(uint32_t dests)
{
    return dests * (sizeof(struct plan_worker) + sizeof(struct handle));
}

/* Lays the plan out in `block`, which has block_bytes(found->count). */
static void lay_out(const struct matches *found, void *block, struct plan *out)
{
    struct plan_worker *w = block;
    struct handle *slots = (struct handle *)(void *)(w + found->count);
    uint32_t n = 0, slot_count = 0;

    for (uint32_t i = 0; i < found->count; i++) {
        const struct dest *d = &found->v[i];
        bool is_group = d->kind == DEST_GROUP;

        if (n == 0 || w[n - 1].worker != d->worker)
            w[n++] = (struct plan_worker){.worker = d->worker, .first = slot_count};
        if (d->kind == DEST_LINK) {
            w[n - 1].links |= 1ull << d->slot;
            continue;
        }
        slots[slot_count++] =
            (struct handle){d->slot | (is_group ? DELIVER_GROUP : 0), d->generation};
        w[n - 1].count++;
        w[n - 1].group_count += is_group;
    }
    *out = (struct plan){n, w, slots};
}

static bool stripes_equal(const struct stripe_view *a, const struct stripe_view *b)
{
    return memcmp(a->version, b->version, sizeof a->version) == 0;
}

/* Keeps the plan of a topic that was seen before; the first time only its hash. */
static void remember(struct cached *e, const struct publish *p, struct stripe_places places,
                     struct stripe_view seen, const struct matches *found)
{
    size_t plan_bytes = block_bytes(found->count);
    bool seen_before = e->hash == p->topic_hash;

    free(e->block);
    *e = (struct cached){.hash = p->topic_hash};
    if (!seen_before || p->topic.n > CACHE_TOPIC_MAX || found->count > CACHE_SLOTS_MAX)
        return;
    e->block = malloc(plan_bytes + p->topic.n);
    if (!e->block)
        return;
    lay_out(found, e->block, &e->plan);
    e->places = places;
    e->seen = seen;
    e->topic = e->block + plan_bytes;
    e->topic_count = p->topic.n;
    bytes_put(e->block + plan_bytes, p->topic);
}

/* Whether an entry is of that topic. */
static bool is_of(const struct cached *e, const struct publish *p)
{
    return e->block && e->hash == p->topic_hash &&
           bytes_eq(bytes_of(e->topic, e->topic_count), p->topic);
}

const struct plan *plan_of(struct shard *s, const struct publish *p)
{
    const struct cluster_state *c = s->cluster;
    struct cached *e = &s->topics->entries[p->topic_hash % CACHE_ENTRIES];
    struct matches *found = &s->topics->found;
    const bool is_known = is_of(e, p);
    struct stripe_places places =
        is_known ? e->places : stripes_places(&c->key, p->topic, p->topic_hash);
    struct stripe_view seen = stripes_view(c->stripes, &places);
    struct plan *plan;
    void *block;

    if (is_known && stripes_equal(&e->seen, &seen))
        return &e->plan;
    if (!match_all(s, p->topic, p->topic_hash))
        return NULL;
    sort(found);
    remember(e, p, places, seen, found);
    if (e->block)
        return &e->plan;
    plan = arena_alloc(&s->arena, sizeof *plan);
    block = arena_alloc(&s->arena, (uint32_t)block_bytes(found->count) + 16);
    if (!plan || !block)
        return NULL;
    lay_out(found, block, plan);
    return plan;
}
