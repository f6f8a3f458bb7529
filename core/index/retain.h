/* core/index/retain.h -- the retained messages of one worker: topics -> values.
 *
 * A tree of levels. A topic is found by the hash of its path in one look-up, however deep it is;
 * the tree is for filters with wildcards.
 *
 * Threads  the owning worker only.
 * Memory   topics are copied in; a value is the caller's pointer, never looked at, never NULL.
 */
#ifndef CORE_INDEX_RETAIN_H
#define CORE_INDEX_RETAIN_H

#include "core/base/err.h"
#include "core/base/hash.h"

struct retain; /* opaque */

/* An empty tree. `key` must outlive it.  NULL: no memory. */
struct retain *retain_create(const struct hash_key *key);
/* Hands every value to `release` (may be NULL). No cursor may be left.  NULL is fine. */
typedef void retain_release_fn(void *ctx, void *value);
void retain_destroy(struct retain *r, retain_release_fn *release, void *ctx);

/* Stores a value under a valid topic; *old becomes what was there before or NULL. ERR_MEMORY:
 * nothing changed. */
MUST_USE enum err retain_put(struct retain *r, struct bytes topic, void *value, void **old);
/* The value of a topic, or NULL. */
void *retain_get(const struct retain *r, struct bytes topic);
/* Takes a topic away; returns its value, or NULL when it was not there. Never fails. */
void *retain_remove(struct retain *r, struct bytes topic);

/* Number of topics, and bytes held by the tree without the values. */
uint64_t retain_count(const struct retain *r);
uint64_t retain_bytes(const struct retain *r);

/* A bound on retain_bytes: beyond it retain_put answers ERR_MEMORY for a new topic. There is none
 * at first. */
void retain_limit(struct retain *r, uint64_t bytes_max);

/* ---- all topics that match a filter, in slices ----
 *
 * Between slices and from within the callback, topics may be put and removed and other cursors may
 * run. A topic that is there during the whole time is seen exactly once; one that comes or goes
 * once or not at all, with the value it has then. One that is removed and put again may be seen
 * twice, once for each. */

/* In the caller's memory, until retain_cursor_fini. Holds a copy of the filter and one node. */
struct retain_cursor {
    struct retain *r;
    struct retain_node *at; /* pinned; NULL at the end */
    uint32_t depth;         /* levels above and including `at` */
    uint32_t level_count;   /* of the filter, without `#` */
    bool has_wildcard;
    bool has_rest;        /* the filter ends in `#` */
    uint16_t *level_ends; /* level_count of them, then the text; one block, may be NULL */
    const uint8_t *text;
};

/* Begins with a valid filter. ERR_MEMORY: there is nothing to give back. */
MUST_USE enum err retain_cursor_init(struct retain_cursor *c, struct retain *r,
                                     struct bytes filter);
/* Goes on for at most `budget` visited nodes and calls `fn` for each match; `topic` is valid during
 * the call. Returns whether more may be left. */
typedef void retain_match_fn(void *ctx, struct bytes topic, void *value);
bool retain_cursor_next(struct retain_cursor *c, uint32_t budget, retain_match_fn *fn, void *ctx);
/* Lets go of what the cursor holds, at any time. */
void retain_cursor_fini(struct retain_cursor *c);

#endif
