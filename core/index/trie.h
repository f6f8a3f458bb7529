/* core/index/trie.h -- filters with a wildcard: a trie of levels.
 *
 * A node is a prefix of filters. All nodes but the root stand in one hash table by the hash of
 * their path, which a reader can compute without having seen the nodes above; so it asks for the
 * buckets of the next levels while the nodes of this one are still on their way from memory. The
 * child `+` is a direct pointer too; `#` is no node but a second list of its parent, because `a/#`
 * matches `a` as well.
 *
 * A match goes depth first, with a stack of its own and no recursion: a node leads to its literal
 * child and its `+`, so at most one node for each level waits. It never visits a node twice, and
 * at most min(2^levels, nodes) of them; it stops when `out` is full.
 */
#ifndef CORE_INDEX_TRIE_H
#define CORE_INDEX_TRIE_H

#include "core/base/hash.h"
#include "core/base/limits.h"
#include "core/index/dests.h"
#include "core/index/lookup.h"

struct trie_node {
    struct lookup_item item;  /* first: a lookup knows nothing else; the hash of the path */
    struct trie_node *parent; /* never changes */
    /* the writer writes, readers read */
    _Atomic(struct trie_node *) plus;
    _Atomic uint64_t here;     /* see dests.h: of filters that end in this node */
    _Atomic uint64_t rest;     /* of filters that end in `#` below it */
    _Atomic uint32_t literals; /* children other than plus */
    uint16_t level_n;          /* these never change */
    uint8_t is_plus;
    uint8_t level[];
};

struct trie {
    struct lookup table;
    /* nobody writes */
    const struct hash_key *key;
    uint64_t plus_hash; /* of the level `+` */
    struct trie_node *root;
    struct reclaim *memory;
    /* the writer's own */
    _Alignas(CACHE_LINE) uint64_t count; /* filters */
};

/* An empty trie. ERR_MEMORY: nothing to undo. `key` and `memory` must outlive it. */
MUST_USE enum err trie_init(struct trie *t, const struct hash_key *key, struct reclaim *memory);
void trie_fini(struct trie *t); /* no reader is left */

/* As index_add and index_remove. */
MUST_USE enum err trie_add(struct trie *t, struct bytes filter, struct dest d, bool *is_first);
MUST_USE enum err trie_remove(struct trie *t, struct bytes filter, struct dest d, bool *is_last);
/* As index_match_wild. */
void trie_match(const struct trie *t, struct bytes topic, struct matches *out);
/* As index_find. */
void trie_find(const struct trie *t, struct bytes filter, struct matches *out);

/* Writes the path of a node before `end` and returns its first byte.  Writer only. */
uint8_t *trie_path(const struct trie *t, const struct trie_node *node, uint8_t *end);

#endif
