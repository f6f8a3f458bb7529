/* core/base/table.c -- linear hashing with chains. */
#include "core/base/table.h"

#include <stdlib.h>

#include "core/base/check.h"

#define BUCKETS_FIRST 16u

void table_init(struct table *t)
{
    *t = (struct table){0};
}

void table_fini(struct table *t)
{
    free(t->buckets);
    *t = (struct table){0};
}

/* Buckets [0, bucket_count); those not yet split this round are addressed by `mask`, the others by
 * twice that. */
static uint32_t bucket_of(const struct table *t, uint64_t hash)
{
    uint32_t b = (uint32_t)hash & (t->mask * 2 + 1);

    return b < t->bucket_count ? b : (uint32_t)hash & t->mask;
}

static bool grow(struct table *t)
{
    struct table_node *n, **low, **high;
    uint32_t from;

    if (t->bucket_count == t->capacity) {
        uint32_t capacity = t->capacity ? t->capacity * 2 : BUCKETS_FIRST;
        struct table_node **b = realloc(t->buckets, capacity * sizeof(struct table_node *));

        if (!b)
            return t->bucket_count > 0; /* longer chains, nothing worse */
        t->buckets = b;
        t->capacity = capacity;
        if (t->bucket_count == 0) {
            memset(b, 0, capacity * sizeof(struct table_node *));
            t->bucket_count = capacity;
            t->mask = capacity - 1;
            return true;
        }
    }
    if (t->bucket_count == t->mask * 2 + 2)
        t->mask = t->mask * 2 + 1;
    from = t->bucket_count - t->mask - 1;
    low = &t->buckets[from];
    high = &t->buckets[t->bucket_count];
    n = *low;
    *high = NULL;
    t->bucket_count++;
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
    return true;
}

bool table_insert(struct table *t, struct table_node *n, uint64_t hash)
{
    uint32_t b;

    if (t->count >= t->bucket_count && !grow(t))
        return false;
    b = bucket_of(t, hash);
    n->hash = hash;
    n->next = t->buckets[b];
    t->buckets[b] = n;
    t->count++;
    return true;
}

void table_remove(struct table *t, struct table_node *n)
{
    struct table_node **at = &t->buckets[bucket_of(t, n->hash)];

    while (*at != n) {
        CHECK(*at);
        at = &(*at)->next;
    }
    *at = n->next;
    n->next = NULL;
    t->count--;
}

struct table_node *table_first(const struct table *t, uint64_t hash)
{
    struct table_node *n;

    if (t->bucket_count == 0)
        return NULL;
    n = t->buckets[bucket_of(t, hash)];
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
