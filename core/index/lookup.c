/* core/index/lookup.c -- the writer's side of the hash table: insert, remove, split, merge.
 *
 * All stores that readers can see release, see the head of lookup.h; the writer's own loads are
 * relaxed, because nobody else stores.
 */
#include "core/index/lookup.h"

#define SHAPE(merges, count) ((uint64_t)(merges) << 32 | (count))

static uint32_t bucket_count(const struct lookup *t)
{
    return (uint32_t)load_relaxed(&t->shape); /* ours */
}

static uint64_t tag_shift(uint32_t slot)
{
    return 8ull * slot;
}

static void bucket_clear(struct lookup_bucket *b)
{
    /* a reader from before a merge may still look here: pairs with load_acquire in lookup_search */
    store_release(&b->tags, 0);
    for (uint32_t i = 0; i < LOOKUP_SLOTS; i++)
        store_release(&b->items[i], NULL);
    store_release(&b->next, NULL);
}

static struct lookup_bucket *bucket_create(struct lookup *t)
{
    struct lookup_bucket *b = reclaim_alloc_lines(t->memory, sizeof(*b));

    if (b)
        bucket_clear(b);
    return b;
}

static void slot_fill(struct lookup_bucket *b, uint32_t slot, struct lookup_item *item)
{
    uint64_t tag = lookup_tag(lookup_mix(item->hash));

    /* the pointer, then the tag that leads to it: both pair with load_acquire in lookup_search */
    store_release(&b->items[slot], item);
    store_release(&b->tags, load_relaxed(&b->tags) | tag << tag_shift(slot));
}

static void slot_empty(struct lookup_bucket *b, uint32_t slot)
{
    /* pairs with load_acquire in lookup_search */
    store_release(&b->tags, load_relaxed(&b->tags) & ~(0xffull << tag_shift(slot)));
    store_release(&b->items[slot], NULL);
}

static bool is_full(const struct lookup_bucket *b, uint32_t *slot)
{
    for (uint32_t i = 0; i < LOOKUP_SLOTS; i++) {
        if (!load_relaxed(&b->items[i])) { /* ours */
            *slot = i;
            return false;
        }
    }
    return true;
}

/* Puts an item into the first hole of a chain, or into a new bucket at its end. */
static enum err bucket_put(struct lookup *t, struct lookup_bucket *b, struct lookup_item *item)
{
    struct lookup_bucket *fresh;
    uint32_t slot = 0;

    for (;;) {
        struct lookup_bucket *next = load_relaxed(&b->next); /* ours */

        if (!is_full(b, &slot)) {
            slot_fill(b, slot, item);
            return OK;
        }
        if (!next)
            break;
        b = next;
    }
    fresh = bucket_create(t);
    if (!fresh)
        return ERR_MEMORY;
    slot_fill(fresh, 0, item);
    store_release(&b->next, fresh); /* pairs with load_acquire in lookup_search */
    return OK;
}

/* Unlinks and retires the overflow buckets of a chain that hold nothing. */
static void chain_trim(struct lookup *t, struct lookup_bucket *b)
{
    for (struct lookup_bucket *next; (next = load_relaxed(&b->next)) != NULL;) { /* ours */
        if (load_relaxed(&next->tags)) {
            b = next;
            continue;
        }
        /* `next` keeps its own link for readers in it; pairs with load_acquire in lookup_search */
        store_release(&b->next, load_relaxed(&next->next));
        reclaim_retire(t->memory, next, sizeof(*next));
    }
}

static void bucket_take(struct lookup *t, struct lookup_bucket *first, struct lookup_item *item)
{
    for (struct lookup_bucket *b = first; b; b = load_relaxed(&b->next)) { /* ours */
        for (uint32_t i = 0; i < LOOKUP_SLOTS; i++) {
            if (load_relaxed(&b->items[i]) != item)
                continue;
            slot_empty(b, i);
            if (b != first && !load_relaxed(&b->tags))
                chain_trim(t, first);
            return;
        }
    }
    check_failed(__FILE__, __LINE__, "the item is in the table");
}

/* Retires an overflow chain that only readers with an old shape can see. */
static void chain_retire(struct lookup *t, struct lookup_bucket *b)
{
    while (b) {
        struct lookup_bucket *next = load_relaxed(&b->next); /* ours */

        reclaim_retire(t->memory, b, sizeof(*b));
        b = next;
    }
}

/* Whether the item's place is `place` in a table of 2^k buckets, mask = 2^k - 1. */
static bool belongs(const struct lookup_item *item, uint32_t mask, uint32_t place)
{
    return ((uint32_t)(lookup_mix(item->hash) >> 32) & mask) == place;
}

static enum err copy_moving(struct lookup *t, struct lookup_bucket *from, struct lookup_bucket *to,
                            uint32_t mask, uint32_t place)
{
    for (; from; from = load_relaxed(&from->next)) { /* ours */
        for (uint32_t i = 0; i < LOOKUP_SLOTS; i++) {
            struct lookup_item *item = load_relaxed(&from->items[i]);

            if (item && belongs(item, mask, place) && bucket_put(t, to, item) != OK)
                return ERR_MEMORY;
        }
    }
    return OK;
}

static void drop_moved(struct lookup *t, struct lookup_bucket *first, uint32_t mask, uint32_t place)
{
    for (struct lookup_bucket *b = first; b; b = load_relaxed(&b->next)) { /* ours */
        for (uint32_t i = 0; i < LOOKUP_SLOTS; i++) {
            struct lookup_item *item = load_relaxed(&b->items[i]);

            if (item && belongs(item, mask, place))
                slot_empty(b, i);
        }
    }
    chain_trim(t, first);
}

/* Memory for the segment that begins with bucket `place`, when one does. */
static enum err segment_open(struct lookup *t, uint32_t place)
{
    uint32_t segment = 32 - (uint32_t)__builtin_clz(place) - LOOKUP_FIRST_LOG2;
    struct lookup_bucket *first;

    if (place & (place - 1))
        return OK;
    if (load_relaxed(&t->segments[segment])) /* ours; left by a split that found no memory */
        return OK;
    first = reclaim_alloc_lines(t->memory, place * sizeof(struct lookup_bucket));
    if (!first)
        return ERR_MEMORY;
    /* pairs with load_acquire in lookup_bucket_at; no shape names a bucket in it yet */
    store_release(&t->segments[segment], first);
    return OK;
}

static void segment_close(struct lookup *t, uint32_t place)
{
    uint32_t segment = 32 - (uint32_t)__builtin_clz(place) - LOOKUP_FIRST_LOG2;
    struct lookup_bucket *first = load_relaxed(&t->segments[segment]); /* ours */

    if (place & (place - 1))
        return;
    store_release(&t->segments[segment], NULL); /* pairs with load_acquire in lookup_bucket_at */
    reclaim_retire(t->memory, first, place * sizeof(struct lookup_bucket));
}

/* Splits one bucket. Without memory the table stays as it is: fuller, but right. */
static void grow(struct lookup *t)
{
    uint64_t shape = load_relaxed(&t->shape); /* ours */
    uint32_t place = (uint32_t)shape;
    uint32_t half = 1u << (31 - __builtin_clz(place));
    struct lookup_bucket *from = lookup_bucket_at(t, place - half), *to;

    if (place == LOOKUP_BUCKETS_MAX || segment_open(t, place) != OK)
        return;
    to = lookup_bucket_at(t, place);
    bucket_clear(to);
    if (copy_moving(t, from, to, half * 2 - 1, place) != OK) {
        chain_retire(t, load_relaxed(&to->next)); /* `to` is cleared before it is used */
        return;
    }
    /* pairs with load_acquire in lookup_find: copied, then named, then taken out */
    store_release(&t->shape, SHAPE(shape >> 32, place + 1));
    drop_moved(t, from, half * 2 - 1, place);
}

/* Merges the last bucket into the one it came from. */
static void shrink(struct lookup *t)
{
    uint64_t shape = load_relaxed(&t->shape); /* ours */
    uint32_t place = (uint32_t)shape - 1;
    uint32_t half = 1u << (31 - __builtin_clz(place));
    struct lookup_bucket *from = lookup_bucket_at(t, place);
    struct lookup_bucket *to = lookup_bucket_at(t, place - half);

    if (copy_moving(t, from, to, half * 2 - 1, place) != OK) {
        drop_moved(t, to, half * 2 - 1, place); /* the copies; nobody was sent to them */
        return;
    }
    /* pairs with load_acquire in lookup_find: copied, then named; `from` keeps its items */
    store_release(&t->shape, SHAPE((shape >> 32) + 1, place));
    chain_retire(t, load_relaxed(&from->next));
    segment_close(t, place);
}

enum err lookup_init(struct lookup *t, struct reclaim *memory)
{
    struct lookup_bucket *first;

    memset(t, 0, sizeof(*t));
    t->memory = memory;
    first = reclaim_alloc_lines(memory, LOOKUP_FIRST * sizeof(*first));
    if (!first)
        return ERR_MEMORY;
    for (uint32_t i = 0; i < LOOKUP_FIRST; i++)
        bucket_clear(&first[i]);
    store_relaxed(&t->segments[0], first); /* nobody reads yet */
    store_relaxed(&t->shape, SHAPE(0, LOOKUP_FIRST));
    return OK;
}

void lookup_fini(struct lookup *t)
{
    for (uint32_t i = 0; i < bucket_count(t); i++)
        chain_retire(t, load_relaxed(&lookup_bucket_at(t, i)->next));
    for (uint32_t i = 0; i < LOOKUP_SEGMENTS; i++) {
        struct lookup_bucket *first = load_relaxed(&t->segments[i]);
        size_t count = i ? (size_t)LOOKUP_FIRST << (i - 1) : LOOKUP_FIRST;

        if (first)
            reclaim_free(t->memory, first, count * sizeof(*first));
    }
}

static struct lookup_bucket *home_of(const struct lookup *t, const struct lookup_item *item)
{
    return lookup_bucket_at(t, lookup_place(load_relaxed(&t->shape), lookup_mix(item->hash)));
}

enum err lookup_insert(struct lookup *t, struct lookup_item *item)
{
    if (bucket_put(t, home_of(t, item), item) != OK)
        return ERR_MEMORY;
    t->count++;
    /* one step is enough to keep up; the second makes good steps that found no memory */
    for (int i = 0; i < 2 && t->count > (uint64_t)bucket_count(t) * LOOKUP_SPLIT_AT; i++)
        grow(t);
    return OK;
}

void lookup_remove(struct lookup *t, struct lookup_item *item)
{
    bucket_take(t, home_of(t, item), item);
    t->count--;
    if (bucket_count(t) > LOOKUP_FIRST && t->count < (uint64_t)bucket_count(t) * LOOKUP_MERGE_AT)
        shrink(t);
}

static uint32_t reverse_bits(uint32_t x)
{
    x = (x & 0x55555555u) << 1 | (x >> 1 & 0x55555555u);
    x = (x & 0x33333333u) << 2 | (x >> 2 & 0x33333333u);
    x = (x & 0x0f0f0f0fu) << 4 | (x >> 4 & 0x0f0f0f0fu);
    return __builtin_bswap32(x);
}

/* The walk's order: the bits that choose the bucket, lowest first. A bucket is then an interval of
 * keys, a split cuts it in two halves and a merge joins them, whatever the table's size. */
static uint64_t walk_key(const struct lookup_item *item)
{
    uint32_t bits = (uint32_t)(lookup_mix(item->hash) >> 32);

    return (uint64_t)reverse_bits(bits) << 31 | (item->hash & 0x7fffffffu);
}

/* Where the interval of a bucket ends. */
static uint64_t interval_end(uint32_t count, uint32_t place)
{
    uint32_t log2 = 31 - (uint32_t)__builtin_clz(count);
    uint32_t low = (1u << log2) - 1;
    /* split already, or made by a split: one bit more */
    uint32_t bits = place > low || place + low + 1 < count ? log2 + 1 : log2;

    return ((uint64_t)reverse_bits(place) + (1ull << (32 - bits))) << 31;
}

static struct lookup_item *smallest_after(const struct lookup_bucket *b, uint64_t from,
                                          uint64_t *key)
{
    struct lookup_item *best = NULL;

    for (; b; b = load_relaxed(&b->next)) { /* ours */
        for (uint32_t i = 0; i < LOOKUP_SLOTS; i++) {
            struct lookup_item *item = load_relaxed(&b->items[i]);

            if (!item || walk_key(item) < from || (best && walk_key(item) >= *key))
                continue;
            best = item;
            *key = walk_key(item);
        }
    }
    return best;
}

struct lookup_item *lookup_after(const struct lookup *t, uint64_t from, uint32_t budget,
                                 uint64_t *key)
{
    uint32_t count = bucket_count(t);

    for (; from < LOOKUP_KEY_END && budget; budget--) {
        uint64_t mix = (uint64_t)reverse_bits((uint32_t)(from >> 31)) << 32;
        uint32_t place = lookup_place(load_relaxed(&t->shape), mix); /* ours */
        struct lookup_item *item = smallest_after(lookup_bucket_at(t, place), from, key);

        if (item)
            return item;
        from = interval_end(count, place);
    }
    *key = from;
    return NULL;
}
