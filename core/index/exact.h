/* core/index/exact.h -- filters without a wildcard: a hash table of whole texts.
 *
 * A match of a topic costs one bucket and one entry, which holds text and first destination.
 */
#ifndef CORE_INDEX_EXACT_H
#define CORE_INDEX_EXACT_H

#include "core/index/dests.h"
#include "core/index/lookup.h"

struct exact_entry {
    struct lookup_item item; /* first: a lookup knows nothing else */
    _Atomic uint64_t dests;  /* see dests.h; 0 while it is being removed */
    uint16_t text_n;
    uint8_t text[];
};

struct exact {
    struct lookup table;
    struct reclaim *memory;
};

/* An empty table. ERR_MEMORY: nothing to undo. `memory` must outlive it. */
MUST_USE enum err exact_init(struct exact *x, struct reclaim *memory);
void exact_fini(struct exact *x); /* no reader is left */

/* As index_add and index_remove; `hash` is the hash of the filter. */
MUST_USE enum err exact_add(struct exact *x, struct bytes filter, uint64_t hash, struct dest d,
                            bool *is_first);
MUST_USE enum err exact_remove(struct exact *x, struct bytes filter, uint64_t hash, struct dest d,
                               bool *is_last);
/* As index_match_exact. */
void exact_match(const struct exact *x, struct bytes topic, uint64_t hash, struct matches *out);

#endif
