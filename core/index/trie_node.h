/* core/index/trie_node.h -- how a node of the trie is named: by parent and level.
 *
 * Between trie.c and trie_match.c; inline, because the match is made of it.
 */
#ifndef CORE_INDEX_TRIE_NODE_H
#define CORE_INDEX_TRIE_NODE_H

#include "core/index/trie.h"

struct trie_edge {
    const struct trie_node *parent;
    struct bytes level;
};

/* A lookup_same_fn for a key of struct trie_edge. */
static inline bool trie_same_edge(const struct lookup_item *item, const void *key)
{
    const struct trie_node *n = (const void *)item;
    const struct trie_edge *edge = key;

    return n->parent == edge->parent && n->level_n == edge->level.n &&
           memcmp(n->level, edge->level.p, edge->level.n) == 0;
}

#endif
