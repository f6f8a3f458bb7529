/* link/covers.h -- filters with a wildcard, and which of them covers another filter.
 *
 * A trie of levels. `#` is no node of its own but a second place of its parent, because `a/#`
 * covers `a` too. Looking for a cover walks it with the filter as if that were a topic: a literal
 * level is met by itself and by `+`, the level `+` only by `+`, `#` only by `#`; all that is left
 * is met by `#`. So covers_find answers as algebra_subset does (link/algebra.h), with its rule for
 * a first level that begins with `$`.
 *
 * Threads  the worker that made it; pure.
 * Memory   a node for each prefix of its filters, 56 bytes and the level, and 8 to 16 bytes of hash
 *          table.
 * Bounds   a search visits at most COVERS_VISITS_MAX nodes and remembers COVERS_WAITING_MAX ways
 *          not yet gone; then it gives up and finds nothing.
 */
#ifndef LINK_COVERS_H
#define LINK_COVERS_H

#include "core/base/bytes.h"
#include "core/base/hash.h"
#include "core/base/table.h"

#define COVERS_VISITS_MAX 256u
#define COVERS_WAITING_MAX 256u

/* A filter's place; part of the caller's object. All zero: it is not in. */
struct cover {
    struct covers_node *node;
};

struct covers_node {
    struct table_node item; /* the hash of the path */
    struct covers_node *parent;
    struct covers_node *plus;
    struct cover *here; /* the filter that ends in this node */
    struct cover *rest; /* the filter that ends in `#` below it */
    uint32_t children;
    uint32_t level_n; /* the level stands behind the structure */
};

struct covers {
    struct covers_node root;
    struct table nodes;
    const struct hash_key *key;
};

/* An empty one; `key` outlives it. covers_fini frees the nodes: no place may be used any more. */
void covers_init(struct covers *c, const struct hash_key *key);
void covers_fini(struct covers *c);

/* Puts in a filter with a wildcard which is not in. False: no memory, nothing was changed. */
bool covers_add(struct covers *c, struct bytes filter, struct cover *place);
/* Takes it out; one that is not in stays so. */
void covers_remove(struct covers *c, struct cover *place);

/* A filter that covers this one, or is the same; NULL when there is none. */
struct cover *covers_find(const struct covers *c, struct bytes filter);

#endif
