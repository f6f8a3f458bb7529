/* core/session/idset.h -- a set of packet identifiers, each with one mark.
 *
 * Open addressing with linear probing in a table that grows by doubling: every question costs O(1),
 * also when a client that knows no receive window keeps 65,535 identifiers open.
 *
 * Threads  the owning worker only.
 */
#ifndef CORE_SESSION_IDSET_H
#define CORE_SESSION_IDSET_H

#include "core/base/bytes.h"

/* All zero: empty, owns nothing. */
struct idset {
    uint32_t *v; /* 0: free; else the identifier, and IDSET_MARK */
    uint32_t count, capacity;
};

/* Whether `id` (never 0) is in it. */
bool idset_has(const struct idset *t, uint16_t id);
/* Adds one that is not in it, without a mark.  false: no memory, nothing changed. */
bool idset_add(struct idset *t, uint16_t id);
/* Takes one out; false when it was not there. *is_marked: it had its mark. */
bool idset_remove(struct idset *t, uint16_t id, bool *is_marked);
/* Marks all that are in it now. */
void idset_mark_all(struct idset *t);
/* Frees what it owns. */
void idset_fini(struct idset *t);

#endif
