/* core/index/lookup.h -- a hash table of pointers: one writer, readers without a lock.
 *
 * Linear hashing: the table grows and shrinks by one bucket at a time, so no write ever pays for a
 * whole table and nothing is copied twice. Bucket b is split into b and b + 2^k, in order of b; a
 * merge is the reverse. A bucket is one cache line: six one-byte tags, six pointers, and a pointer
 * to an overflow bucket. A look-up costs that line and the item it finds.
 *
 * Readers never see an item that is in the table all the time missing, and never see it twice:
 *
 *   1. `shape` (bucket count, number of merges) names for every hash one place, a bucket with its
 *      overflow chain. A split copies the items that move into the new bucket, which no shape yet
 *      names, then stores the new shape, then takes them out of the old bucket. A merge copies into
 *      the old bucket, stores the new shape, and leaves the merged bucket as it is.
 *   2. So every store that takes an item from a place which some shape named for it -- a tag
 *      cleared, a slot used again, an empty overflow bucket unlinked, a merged bucket rewritten by
 *      a later split, a segment taken away -- follows the store of a later shape that names another
 *      place where the item already is. All these stores release, all loads of readers acquire.
 *   3. A reader that finds nothing therefore looks at `shape` again. If it missed the item because
 *      of such a store, it has read from that store or a later one, and now sees the later shape.
 *      Unless the place is the same and no merge has happened (the count can only have grown, and a
 *      place once left does not come back without a merge), it searches again at the new place.
 *      The number of merges wraps after 2^32 of them within one look-up.
 *   4. A segment can be taken away and made anew, with buckets that are not yet filled in. A reader
 *      that holds an old shape and meets the new segment has, by acquire, also a view of the merge
 *      between the two; so it looks at the number of merges once more before it enters a bucket.
 *      A segment of the right time has its bucket filled in since before the shape that names it.
 *   5. Twice is impossible because a look-up ends with the first item that is equal to the key, and
 *      the writer never inserts two equal ones.
 *   6. Tags are hints: a pointer is read with acquire and compared by content. A slot is emptied by
 *      clearing tag and pointer, so what a reader follows was in the table after the reader's last
 *      epoch_quiesce, and is not freed before its next one.
 *
 * Memory   items belong to the caller; buckets are taken from `reclaim`.
 */
#ifndef CORE_INDEX_LOOKUP_H
#define CORE_INDEX_LOOKUP_H

#include "core/base/err.h"
#include "core/index/reclaim.h"

#define LOOKUP_SLOTS 6
#define LOOKUP_FIRST_LOG2 2
#define LOOKUP_FIRST (1u << LOOKUP_FIRST_LOG2)
/* Buckets lie in segments: LOOKUP_FIRST in the first, in each other as many as in all before. */
#define LOOKUP_SEGMENTS 24
#define LOOKUP_BUCKETS_MAX (1u << (LOOKUP_FIRST_LOG2 + LOOKUP_SEGMENTS - 1))
#define LOOKUP_SPLIT_AT 3 /* items for each bucket: above, a bucket is split */
#define LOOKUP_MERGE_AT 1 /* below, two are merged */
#define LOOKUP_LARGE 4096 /* buckets: a quarter of a MiB, and three times as many items */

/* Embedded first in whatever is put into a table. Never changes while it is in it. */
struct lookup_item {
    uint64_t hash;
};

struct lookup_bucket {
    _Alignas(CACHE_LINE) _Atomic uint64_t tags; /* byte i: tag of items[i], 0 when it is empty */
    _Atomic(struct lookup_item *) items[LOOKUP_SLOTS];
    _Atomic(struct lookup_bucket *) next; /* overflow */
};

struct lookup {
    /* the writer writes, readers read */
    _Alignas(CACHE_LINE) _Atomic uint64_t shape; /* high half: merges so far, low half: buckets */
    _Atomic(struct lookup_bucket *) segments[LOOKUP_SEGMENTS];
    /* the writer's own */
    _Alignas(CACHE_LINE) uint64_t count;
    struct reclaim *memory;
};

/* An empty table. ERR_MEMORY: nothing to undo. `memory` must outlive it. */
MUST_USE enum err lookup_init(struct lookup *t, struct reclaim *memory);
/* Frees the buckets, not the items.  No reader may be left. */
void lookup_fini(struct lookup *t);

/* Puts in an item whose equal is not there. ERR_MEMORY: nothing changed. */
MUST_USE enum err lookup_insert(struct lookup *t, struct lookup_item *item);
/* Takes out an item that is there; the caller retires it. Never fails. */
void lookup_remove(struct lookup *t, struct lookup_item *item);

/* Walks all items in an order that splits and merges do not change: the item with the smallest key
 * that is >= `from`, its key in *key (below 2^63), NULL when there is none. An item that stays is
 * therefore seen exactly once by a walk that goes on from *key + 1. At most `budget` empty buckets
 * are passed; then NULL is answered and *key says where to go on (2^63: the end).  Writer only. */
struct lookup_item *lookup_after(const struct lookup *t, uint64_t from, uint32_t budget,
                                 uint64_t *key);
#define LOOKUP_KEY_END (1ull << 63)

/* ---- the readers' side, inline: it is the innermost loop of every publish ---- */

/* A caller may choose partitions by any bits of the hash; places and tags use all of them. */
static inline uint64_t lookup_mix(uint64_t hash)
{
    return (hash ^ (hash >> 32)) * 0x9e3779b97f4a7c15ull;
}

/* The number of the bucket that a shape names for a hash. */
static inline uint32_t lookup_place(uint64_t shape, uint64_t mix)
{
    uint32_t count = (uint32_t)shape;
    uint32_t low = (1u << (31 - __builtin_clz(count))) - 1; /* 2^k - 1, 2^k <= count */
    uint32_t wide = (uint32_t)(mix >> 32) & (low << 1 | 1);

    return wide < count ? wide : wide & low;
}

/* What a bucket remembers of a hash: one byte, never 0. */
static inline uint64_t lookup_tag(uint64_t mix)
{
    uint64_t tag = (mix >> 24) & 0xff;

    return tag ? tag : 1;
}

/* The first bucket of a place, NULL when its segment has been taken away since. */
static inline struct lookup_bucket *lookup_bucket_at(const struct lookup *t, uint32_t place)
{
    uint32_t log2 = 31 - (uint32_t)__builtin_clz(place | (LOOKUP_FIRST / 2));
    uint32_t segment = log2 - (LOOKUP_FIRST_LOG2 - 1);
    uint32_t start = place < LOOKUP_FIRST ? 0 : 1u << log2;
    /* pairs with store_release in grow and shrink */
    struct lookup_bucket *first = load_acquire(&t->segments[segment]);

    return first ? first + (place - start) : NULL;
}

/* A bit in the top of every byte of `tags` that equals `tag`; exact, no carries between bytes. */
static inline uint64_t lookup_same_tags(uint64_t tags, uint64_t tag)
{
    uint64_t x = tags ^ (tag * 0x010101010101ull);
    uint64_t low = 0x7f7f7f7f7f7full;

    return ~(((x & low) + low) | x | low) & 0x808080808080ull;
}

/* Whether an item is the one that is looked for; its hash is equal already. */
typedef bool lookup_same_fn(const struct lookup_item *item, const void *key);

/* The item in this bucket or its overflow chain, or NULL. */
static inline struct lookup_item *lookup_search(const struct lookup_bucket *b, uint64_t hash,
                                                uint64_t tag, lookup_same_fn *same, const void *key)
{
    /* all loads here pair with the store_release of bucket_put, bucket_take and split */
    for (; b; b = load_acquire(&b->next)) {
        uint64_t hits = lookup_same_tags(load_acquire(&b->tags), tag);

        for (; hits; hits &= hits - 1) {
            struct lookup_item *item = load_acquire(&b->items[__builtin_ctzll(hits) / 8]);

            if (item && item->hash == hash && same(item, key))
                return item;
        }
    }
    return NULL;
}

/* How many merges a shape has seen. */
static inline uint32_t lookup_merges(uint64_t shape)
{
    return (uint32_t)(shape >> 32);
}

/* The item of this hash for which `same` is true, or NULL.  Any reader. */
static inline struct lookup_item *lookup_find(const struct lookup *t, uint64_t hash,
                                              lookup_same_fn *same, const void *key)
{
    uint64_t mix = lookup_mix(hash);
    uint64_t shape = load_acquire(&t->shape), now; /* all pair with store_release in grow, shrink */

    for (;; shape = now) {
        uint32_t place = lookup_place(shape, mix);
        const struct lookup_bucket *b = lookup_bucket_at(t, place);
        struct lookup_item *item;

        now = load_acquire(&t->shape); /* point 4 of the head comment */
        if (lookup_merges(now) != lookup_merges(shape))
            continue;
        item = lookup_search(b, hash, lookup_tag(mix), same, key);
        if (item)
            return item;
        now = load_acquire(&t->shape); /* point 3 */
        if (lookup_merges(now) == lookup_merges(shape) && lookup_place(now, mix) == place)
            return NULL;
    }
}

/* Starts to load the bucket of a hash. Only a hint: any shape will do. To ask for the item as well
 * does not pay: the processor would wait for the bucket here and not look further ahead. */
static inline void lookup_prefetch(const struct lookup *t, uint64_t hash)
{
    uint32_t place = lookup_place(load_relaxed(&t->shape), lookup_mix(hash)); /* no partner */

    __builtin_prefetch(lookup_bucket_at(t, place));
}

/* Whether the table is too large for the nearer caches, so that prefetching pays. */
static inline bool lookup_is_large(const struct lookup *t)
{
    return (uint32_t)load_relaxed(&t->shape) >= LOOKUP_LARGE; /* a hint: no partner */
}

#endif
