/* core/base/table.c -- linear hashing with chains. */
#include "core/base/table.h"

#include <stdlib.h>

#include "core/base/check.h"

#define BUCKETS_FIRST 16u

/* A tag: 0 for an empty bucket. For one object, bits TAG_SHIFT and up of its hash; for several, a
 * set of what those are modulo TAG_BITS. */
#define TAG_ONE 0x8000u
#define TAG_MANY 0x4000u
#define TAG_HASH 0x3fffu
#define TAG_BITS 14u
#define TAG_SHIFT 16u
/* How many splits ahead the objects are asked for that will be divided, and those behind them. */
#define AHEAD_FIRST 8u
#define AHEAD_NEXT 4u

static uint32_t tag_hash(uint64_t hash)
{
    return hash >> TAG_SHIFT & TAG_HASH;
}

/* What a tag becomes with one object more. */
static uint16_t tag_with(uint16_t tag, uint64_t hash)
{
    uint32_t set = tag & TAG_HASH;

    if (!tag)
        return (uint16_t)(TAG_ONE | tag_hash(hash));
    if (tag & TAG_ONE)
        set = 1u << set % TAG_BITS;
    return (uint16_t)(TAG_MANY | set | 1u << tag_hash(hash) % TAG_BITS);
}

/* Whether an object of this hash may be in the bucket. */
static bool tag_allows(uint16_t tag, uint64_t hash)
{
    if (tag & TAG_MANY)
        return tag >> tag_hash(hash) % TAG_BITS & 1;
    return tag == (TAG_ONE | tag_hash(hash));
}

static uint16_t tag_of(const struct table_node *first)
{
    uint16_t tag = 0;

    for (const struct table_node *n = first; n; n = n->next)
        tag = tag_with(tag, n->hash);
    return tag;
}

void table_init(struct table *t)
{
    *t = (struct table){0};
}

void table_fini(struct table *t)
{
    free(t->buckets);
    free(t->tags);
    *t = (struct table){0};
}

/* Buckets [0, bucket_count); those not yet split this round are addressed by `mask`, the others by
 * twice that. */
static uint32_t bucket_of(const struct table *t, uint64_t hash)
{
    uint32_t b = (uint32_t)hash & (t->mask * 2 + 1);

    return b < t->bucket_count ? b : (uint32_t)hash & t->mask;
}

static bool enlarge(struct table *t)
{
    uint32_t capacity = t->capacity ? t->capacity * 2 : BUCKETS_FIRST;
    struct table_node **b = realloc(t->buckets, capacity * sizeof(struct table_node *));
    uint16_t *tags;

    if (!b)
        return false;
    t->buckets = b;
    tags = realloc(t->tags, capacity * sizeof(*tags));
    if (!tags)
        return false;
    t->tags = tags;
    t->capacity = capacity;
    if (t->bucket_count == 0) {
        memset(b, 0, capacity * sizeof(struct table_node *));
        memset(tags, 0, capacity * sizeof(*tags));
        t->bucket_count = capacity;
        t->mask = capacity - 1;
    }
    return true;
}

/* Divides the objects of a bucket between it and the last one. */
static void divide(struct table *t, uint32_t from)
{
    struct table_node **low = &t->buckets[from], **high = &t->buckets[t->bucket_count - 1];
    struct table_node *n = *low;

    while (n) {
        struct table_node *next = n->next;

        if (bucket_of(t, n->hash) == from) {
            *low = n;
            low = &n->next;
        } else {
            *high = n;
            high = &n->next;
        }
        n = next;
    }
    *low = NULL;
    *high = NULL;
    t->tags[from] = tag_of(t->buckets[from]);
    t->tags[t->bucket_count - 1] = tag_of(t->buckets[t->bucket_count - 1]);
}

/* Whether the tag of a bucket tells where its one object belongs, by the bit of the hash that is
 * `mask + 1`. */
static bool tag_decides(const struct table *t, uint32_t from)
{
    return (t->tags[from] & TAG_ONE) && ((t->mask + 1) >> TAG_SHIFT & TAG_HASH);
}

/* The objects of the buckets that are split next are to come nearer. */
static void look_ahead(const struct table *t, uint32_t from)
{
    if (from + AHEAD_FIRST > t->mask)
        return;
    if (t->tags[from + AHEAD_FIRST] & TAG_MANY)
        __builtin_prefetch(t->buckets[from + AHEAD_FIRST]);
    if (t->tags[from + AHEAD_NEXT] & TAG_MANY)
        __builtin_prefetch(t->buckets[from + AHEAD_NEXT]->next);
}

static bool grow(struct table *t)
{
    uint32_t from, to;

    if (t->bucket_count == t->capacity && !enlarge(t))
        return t->bucket_count > 0; /* longer chains, nothing worse */
    if (t->bucket_count == t->capacity)
        return true; /* the first buckets */
    if (t->bucket_count == t->mask * 2 + 2)
        t->mask = t->mask * 2 + 1;
    from = t->bucket_count - t->mask - 1;
    to = t->bucket_count++;
    t->buckets[to] = NULL;
    t->tags[to] = 0;
    look_ahead(t, from);
    if (t->tags[from] == 0)
        return true;
    if (!tag_decides(t, from)) {
        divide(t, from);
    } else if (t->tags[from] & ((t->mask + 1) >> TAG_SHIFT)) {
        t->buckets[to] = t->buckets[from];
        t->tags[to] = t->tags[from];
        t->buckets[from] = NULL;
        t->tags[from] = 0;
    }
    return true;
}

bool table_insert(struct table *t, struct table_node *n, uint64_t hash)
{
    uint32_t b;

    if (t->count >= t->bucket_count && !grow(t))
        return false;
    b = bucket_of(t, hash);
    n->hash = hash;
    n->next = t->tags[b] ? t->buckets[b] : NULL;
    t->buckets[b] = n;
    t->tags[b] = tag_with(t->tags[b], hash);
    t->count++;
    return true;
}

void table_remove(struct table *t, struct table_node *n)
{
    uint32_t b = bucket_of(t, n->hash);
    struct table_node **at = &t->buckets[b];

    while (*at != n) {
        CHECK(*at);
        at = &(*at)->next;
    }
    *at = n->next;
    n->next = NULL;
    t->tags[b] = tag_of(t->buckets[b]);
    t->count--;
}

struct table_node *table_first(const struct table *t, uint64_t hash)
{
    struct table_node *n;
    uint32_t b;

    if (t->bucket_count == 0)
        return NULL;
    b = bucket_of(t, hash);
    if (!tag_allows(t->tags[b], hash))
        return NULL;
    n = t->buckets[b];
    while (n && n->hash != hash)
        n = n->next;
    return n;
}

struct table_node *table_after(const struct table_node *n)
{
    uint64_t hash = n->hash;

    for (n = n->next; n && n->hash != hash; n = n->next)
        ;
    return (struct table_node *)n;
}

struct table_node *table_next(const struct table *t, const struct table_node *n)
{
    uint32_t b = n ? bucket_of(t, n->hash) + 1 : 0;

    if (n && n->next)
        return n->next;
    while (b < t->bucket_count && !t->buckets[b])
        b++;
    return b < t->bucket_count ? t->buckets[b] : NULL;
}
