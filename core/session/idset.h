/* core/session/idset.h -- a set of packet identifiers, each with one mark.
 *
 * A hash set of pages: a page has a bit for each of 64 identifiers that follow each other, since
 * clients take one after the other. A question costs O(1) for them; for a client that knows no
 * receive window and scatters 65,535 identifiers, at most a look at each of 1,024 pages.
 *
 * Threads  the owning worker only.
 */
#ifndef CORE_SESSION_IDSET_H
#define CORE_SESSION_IDSET_H

#include "core/base/bytes.h"

struct idset_page; /* opaque */

/* All zero: empty, owns nothing. */
struct idset {
    struct idset_page *v;
    uint32_t count;
    uint16_t page_count, capacity; /* pages in use, and room for them */
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
