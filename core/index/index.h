/* core/index/index.h -- which destinations want which topic filters.
 *
 * One partition: filters without a wildcard in a hash table (exact.h), filters with one in a trie
 * of levels (trie.h).
 *
 * Threads  add, remove, walk, count, bytes: the writer, the partition's worker. match and find: any
 *          worker that is online in `epoch`, without a lock and without waiting.
 * Memory   a match copies destinations out; nothing of the index stays in the caller's hands.
 * Truth    a filter that is there during the whole match is found, and each of its destinations
 *          once, whatever the writer does meanwhile; one that comes or goes is found or not.
 *
 * Invariant: a node is complete before it is reachable, unreachable before epoch_retire.
 * Tables grow and shrink by one bucket for each write, never in one stop (lookup.h).
 */
#ifndef CORE_INDEX_INDEX_H
#define CORE_INDEX_INDEX_H

#include "core/base/epoch.h"
#include "core/base/err.h"
#include "core/base/hash.h"

/* Where a matching message goes: a slot of a worker's own table. */
struct dest {
    uint16_t worker;
    uint16_t kind; /* the caller's meaning; part of the key */
    uint32_t slot; /* part of the key */
    uint32_t generation;
};

struct index; /* opaque */

/* An empty partition. `key` must outlive it and be the same for everybody who hashes topics.
 * `epoch` may be NULL when there are no other readers (memory is then freed at once).
 * `writer` is the worker number used for epoch_retire.  NULL: no memory. */
struct index *index_create(const struct hash_key *key, struct epoch *epoch, uint32_t writer);
/* Boot only: no reader may be left, and the epoch is still there.  NULL is fine. */
void index_destroy(struct index *ix);

/* A bound on index_bytes: beyond it index_add answers ERR_MEMORY. There is none at first. */
void index_limit(struct index *ix, uint64_t bytes_max);

/* Adds a destination under a valid filter (worker, kind, slot not there yet: else its generation is
 * replaced). *is_first (may be NULL): the filter had none before. ERR_MEMORY: nothing changed. */
MUST_USE enum err index_add(struct index *ix, struct bytes filter, struct dest d, bool *is_first);
/* Takes one away. ERR_NONE: was not there. *is_last (may be NULL): the filter has none left and is
 * gone. Never fails for lack of memory. */
MUST_USE enum err index_remove(struct index *ix, struct bytes filter, struct dest d, bool *is_last);

/* The same for a filter without a wildcard whose hash_bytes(key, filter) is known already. */
MUST_USE enum err index_add_exact(struct index *ix, struct bytes filter, uint64_t hash,
                                  struct dest d, bool *is_first);
MUST_USE enum err index_remove_exact(struct index *ix, struct bytes filter, uint64_t hash,
                                     struct dest d, bool *is_last);

/* What a match collects. The caller gives room; more than `max` sets is_cut. */
struct matches {
    struct dest *v;
    uint32_t count, max;
    bool is_cut;
};

/* Adds the destinations of filters equal to `topic` (no wildcard in them). `hash` is
 * hash_bytes(key, topic). */
void index_match_exact(const struct index *ix, struct bytes topic, uint64_t hash,
                       struct matches *out);
/* Adds the destinations of all filters with a wildcard that match `topic`. Leading wildcards do not
 * match a topic whose first byte is `$` [MQTT-4.7.2-1]. A destination met under several filters is
 * added once for each. */
void index_match_wild(const struct index *ix, struct bytes topic, struct matches *out);

/* Starts to load what index_match_exact will look at first. A publish that looks into several
 * partitions calls it before it matches the wildcards: memory then works on both at once. */
void index_prefetch_exact(const struct index *ix, uint64_t hash);

/* Destinations of exactly this filter (a wildcard is compared as text). Writer or any reader. */
void index_find(const struct index *ix, struct bytes filter, struct matches *out);

/* Number of filters, and bytes held by the partition (writer's view). */
uint64_t index_count(const struct index *ix);
uint64_t index_bytes(const struct index *ix);

/* Walks all filters in slices (the writer only): *cursor starts at 0, at most `budget` filters a
 * call (`f` and `f/#` may count as one); returns false at the end. A filter that is there during
 * the whole walk is seen once, whatever is added and removed between two slices; with more than 64
 * destinations in several calls, one after the other. `filter` and `v` are valid during the call of
 * `fn` only, and `fn` does not change this index. A cursor is just a number: it holds nothing and
 * may be dropped at any time. */
typedef void index_walk_fn(void *ctx, struct bytes filter, const struct dest *v, uint32_t count);
bool index_walk(struct index *ix, uint64_t *cursor, uint32_t budget, index_walk_fn *fn, void *ctx);

/* ---- versions: is what I matched before still true? (the hot-topic cache) ---- */

#define STRIPES_EXACT 4096
#define STRIPES_WILD 4096

/* One set for all partitions of the process: exact filters by hash of the whole topic, wildcard
 * filters by their first one or two literal levels, leading wildcards have one of their own. */
struct stripes; /* opaque */
struct stripes *stripes_create(void);
void stripes_destroy(struct stripes *s);

/* Where the versions that concern a topic stand: of its text, its first level, its first two, and
 * leading wildcards. The same for ever. */
#define STRIPE_PLACES 4u
struct stripe_places {
    uint16_t at[STRIPE_PLACES];
};
/* The places of `topic` (hash as above).  Any thread. */
struct stripe_places stripes_places(const struct hash_key *key, struct bytes topic, uint64_t hash);

/* What was read before a match; equal later means that no filter that could match has changed. */
struct stripe_view {
    uint32_t version[STRIPE_PLACES];
};
/* Reads the versions that concern a topic. Take it first, then match. */
struct stripe_view stripes_view(const struct stripes *s, const struct stripe_places *places);
/* The owner calls it after the index has changed and before it answers.  Any worker. */
void stripes_touch(struct stripes *s, const struct hash_key *key, struct bytes filter);
/* The same for a filter without a wildcard, by its hash. */
void stripes_touch_exact(struct stripes *s, uint64_t hash);

#endif
