/* core/index/index.c -- one partition: the exact filters and the trie under one roof.
 *
 * What readers touch and what the writer counts lie in different lines.
 */
#include "core/index/index.h"
#include "core/index/exact.h"
#include "core/index/trie.h"
#include "core/mqtt/topic.h"

struct index {
    struct exact exact;
    struct trie trie;
    struct reclaim memory;
    const struct hash_key *key;
};

struct index *index_create(const struct hash_key *key, struct epoch *epoch, uint32_t writer)
{
    struct index *ix = aligned_alloc(CACHE_LINE, sizeof(*ix)); /* its size is a multiple already */

    if (!ix)
        return NULL;
    ix->key = key;
    ix->memory = (struct reclaim){.epoch = epoch, .writer = writer, .bytes_max = UINT64_MAX};
    if (exact_init(&ix->exact, &ix->memory) != OK)
        goto no_exact;
    if (trie_init(&ix->trie, key, &ix->memory) != OK)
        goto no_trie;
    return ix;
no_trie:
    exact_fini(&ix->exact);
no_exact:
    free(ix);
    return NULL;
}

void index_destroy(struct index *ix)
{
    if (!ix)
        return;
    exact_fini(&ix->exact);
    trie_fini(&ix->trie);
    CHECK(ix->memory.bytes == 0);
    free(ix);
}

void index_limit(struct index *ix, uint64_t bytes_max)
{
    ix->memory.bytes_max = bytes_max;
}

enum err index_add_exact(struct index *ix, struct bytes filter, uint64_t hash, struct dest d,
                         bool *is_first)
{
    bool unasked;

    CHECK(filter.n > 0 && filter.n <= TOPIC_BYTES_MAX);
    return exact_add(&ix->exact, filter, hash, d, is_first ? is_first : &unasked);
}

enum err index_add(struct index *ix, struct bytes filter, struct dest d, bool *is_first)
{
    bool unasked;

    CHECK(filter.n > 0 && filter.n <= TOPIC_BYTES_MAX);
    if (topic_has_wildcard(filter))
        return trie_add(&ix->trie, filter, d, is_first ? is_first : &unasked);
    return index_add_exact(ix, filter, hash_bytes(ix->key, filter), d, is_first);
}

enum err index_remove_exact(struct index *ix, struct bytes filter, uint64_t hash, struct dest d,
                            bool *is_last)
{
    bool unasked;

    return exact_remove(&ix->exact, filter, hash, d, is_last ? is_last : &unasked);
}

enum err index_remove(struct index *ix, struct bytes filter, struct dest d, bool *is_last)
{
    bool unasked;

    if (topic_has_wildcard(filter))
        return trie_remove(&ix->trie, filter, d, is_last ? is_last : &unasked);
    return index_remove_exact(ix, filter, hash_bytes(ix->key, filter), d, is_last);
}

void index_match_exact(const struct index *ix, struct bytes topic, uint64_t hash,
                       struct matches *out)
{
    exact_match(&ix->exact, topic, hash, out);
}

void index_prefetch_exact(const struct index *ix, uint64_t hash)
{
    lookup_prefetch(&ix->exact.table, hash);
}

void index_match_wild(const struct index *ix, struct bytes topic, struct matches *out)
{
    trie_match(&ix->trie, topic, out);
}

void index_find(const struct index *ix, struct bytes filter, struct matches *out)
{
    if (topic_has_wildcard(filter))
        trie_find(&ix->trie, filter, out);
    else
        exact_match(&ix->exact, filter, hash_bytes(ix->key, filter), out);
}

uint64_t index_count(const struct index *ix)
{
    return ix->exact.table.count + ix->trie.count;
}

uint64_t index_bytes(const struct index *ix)
{
    return sizeof(*ix) + ix->memory.bytes;
}

/* ---- walking ---- */

#define WALK_TRIE (1ull << 63) /* in a cursor: the exact filters are done */
#define WALK_DESTS 64          /* destinations handed out in one call */

/* One slice of a walk. */
struct walk {
    struct index *ix;
    uint32_t left;  /* filters that may still be seen */
    uint32_t steps; /* buckets and nodes that may still be passed */
    index_walk_fn *fn;
    void *ctx;
};

static void walk_emit(struct walk *w, struct bytes filter, uint64_t dests)
{
    struct dest part[WALK_DESTS];
    uint32_t at = 0;

    if (!dests)
        return;
    do {
        struct matches m = {.v = part, .max = WALK_DESTS};

        at = dests_collect_from(dests, at, &m);
        w->fn(w->ctx, filter, part, m.count);
    } while (at != DESTS_DONE);
    w->left -= w->left > 0;
}

static void walk_node(struct walk *w, const struct trie_node *n)
{
    uint8_t text[TOPIC_BYTES_MAX + 2], *end = text + TOPIC_BYTES_MAX, *at; /* path, then `/#` */
    uint64_t here = load_relaxed(&n->here), rest = load_relaxed(&n->rest); /* ours */

    if (!here && !rest)
        return;
    at = trie_path(&w->ix->trie, n, end);
    walk_emit(w, bytes_of(at, (size_t)(end - at)), here);
    if (n != w->ix->trie.root)
        *end++ = '/';
    *end++ = '#';
    walk_emit(w, bytes_of(at, (size_t)(end - at)), rest);
}

/* Goes on in one table until it or the slice is done; returns the key to go on from. */
static uint64_t walk_table(struct walk *w, bool is_trie, uint64_t from)
{
    const struct lookup *table = is_trie ? &w->ix->trie.table : &w->ix->exact.table;
    uint64_t key;

    while (w->left && w->steps && from < LOOKUP_KEY_END) {
        struct lookup_item *item = lookup_after(table, from, w->steps, &key);

        if (!item)
            return key;
        w->steps--;
        from = key + 1;
        if (is_trie) {
            walk_node(w, (const void *)item);
        } else {
            const struct exact_entry *e = (const void *)item;

            walk_emit(w, bytes_of(e->text, e->text_n), load_relaxed(&e->dests)); /* ours */
        }
    }
    return from;
}

bool index_walk(struct index *ix, uint64_t *cursor, uint32_t budget, index_walk_fn *fn, void *ctx)
{
    struct walk w = {.ix = ix, .left = budget, .steps = budget * 4 + 16, .fn = fn, .ctx = ctx};
    uint64_t from = *cursor & ~WALK_TRIE;

    if (!(*cursor & WALK_TRIE)) {
        from = walk_table(&w, false, from);
        *cursor = from;
        if (from < LOOKUP_KEY_END)
            return true;
        walk_node(&w, ix->trie.root); /* the filter `#` stands in no table */
        *cursor = WALK_TRIE;
        from = 0;
    }
    from = walk_table(&w, true, from);
    *cursor = from | WALK_TRIE;
    return from < LOOKUP_KEY_END;
}
