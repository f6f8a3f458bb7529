/* core/base/table.h -- a hash table of objects that carry their own link; grows a bucket a step.
 *
 * Linear hashing (Litwin, 1980): an insertion splits one bucket, so no insertion stops the worker
 * for a rehash of everything. Objects embed a struct table_node; the caller compares keys. Beside
 * each bucket stands a tag of two bytes, which says of none, one or many objects which hashes they
 * may have. So most look-ups that find nothing, insertions, and most splits do not read the
 * objects, which in a large table are far away.
 *
 * Threads  the owning worker only.
 */
#ifndef CORE_BASE_TABLE_H
#define CORE_BASE_TABLE_H

#include "core/base/bytes.h"

struct table_node {
    struct table_node *next;
    uint64_t hash;
};

struct table {
    struct table_node **buckets;
    uint16_t *tags; /* of buckets */
    uint32_t bucket_count, capacity;
    uint32_t mask; /* of the current round: buckets below split also use mask * 2 + 1 */
    uint32_t count;
};

/* The object a node is part of. */
#define TABLE_OBJECT(node, type, member) ((type *)(void *)((char *)(node)-offsetof(type, member)))

/* An empty table owns nothing. */
void table_init(struct table *t);
void table_fini(struct table *t); /* the objects are the caller's */

/* Puts a node in; the caller knows that its key is not there. false: no memory. */
bool table_insert(struct table *t, struct table_node *n, uint64_t hash);
void table_remove(struct table *t, struct table_node *n);

/* First node with this hash, and the next one after `n`; the caller compares the key. */
struct table_node *table_first(const struct table *t, uint64_t hash);
struct table_node *table_after(const struct table_node *n);

/* Walks all nodes, in no order: the one after `n`, or the first for NULL; NULL at the end. Nothing
 * may change meanwhile. */
struct table_node *table_next(const struct table *t, const struct table_node *n);

#endif
