/* link/locals.h -- what is subscribed to here, for links that are to be told of all of it.
 *
 * Each filter, and each pair of a group and a filter, stands here once, in the order in which they
 * came. Who is to be told of all of them walks along that order, a slice in each turn, while others
 * come and go: what comes meanwhile stands at the end, where the walk will find it, so it is told
 * by the walk only; what goes before the walk has come to it is told not at all.
 *
 * Threads  the link worker that has it.
 * Memory   a piece for each, with its text; as many as the broker has subscriptions.
 */
#ifndef LINK_LOCALS_H
#define LINK_LOCALS_H

#include "core/base/bytes.h"
#include "core/base/err.h"
#include "core/base/hash.h"
#include "core/base/links.h"
#include "core/base/table.h"

struct local; /* opaque */

struct locals {
    struct hash_key key;
    struct table table;
    struct links all;   /* in the order of their coming */
    struct links walks; /* under way */
    uint64_t last;      /* number of the one that came last */
};

/* A walk through all of them. All zero: none was ever begun. */
struct locals_walk {
    struct links at;    /* in `walks` while it is under way */
    struct links *next; /* in `all`; NULL: it is not under way */
    uint64_t below;     /* number of that; those with lower ones are told of */
};

/* None yet; locals_fini forgets all. No walk may be under way then. */
void locals_init(struct locals *all, const struct hash_key *key);
void locals_fini(struct locals *all);

/* `group` is empty for what is not shared. NULL: it is not there. */
struct local *locals_find(const struct locals *all, struct bytes group, struct bytes filter);
/* One that is not there. NULL: no memory. */
struct local *locals_add(struct locals *all, struct bytes group, struct bytes filter);
void locals_remove(struct locals *all, struct local *l);

/* Is told of one. */
typedef void locals_tell(void *arg, struct bytes group, struct bytes filter);

/* Begins at the beginning, also one that is under way; ends one, if it is under way. */
void locals_walk_begin(struct locals *all, struct locals_walk *walk);
void locals_walk_end(struct locals_walk *walk);
/* Tells of up to *budget of them, which is used up. Whether that was all: then the walk has ended.
 * Nothing may be added or removed by `tell`. */
bool locals_walk_on(struct locals *all, struct locals_walk *walk, uint32_t *budget,
                    locals_tell *tell, void *arg);
/* Whether a walk has come to this one, or is not under way. */
bool locals_walk_knows(const struct locals_walk *walk, const struct local *l);

#endif
