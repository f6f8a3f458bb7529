/* link/imports.h -- what a link imports, and which routes a subscription makes of that.
 *
 * Threads  the worker that made it; pure.
 * Memory   the topics, and scratch as large as the longest routes needed.
 */
#ifndef LINK_IMPORTS_H
#define LINK_IMPORTS_H

#include "core/base/bytes.h"
#include "core/base/err.h"

struct imports {
    struct bytes *topics; /* reduced: link/algebra.h */
    uint32_t topic_count;
    uint8_t *topic_text;
    struct bytes *found; /* routes of one subscription: a place for each topic */
    uint8_t *text;       /* their texts, as far as they are new */
    uint32_t text_bytes;
    uint8_t *name; /* of one group */
    uint32_t name_bytes;
    uint8_t *passing; /* texts of passing routes */
    uint32_t passing_bytes;
};

/* Bytes of the text of a route. */
#define IMPORTS_TEXT_BYTES_MAX 65535u

/* Copies the topics of a link. ERR_MEMORY; imports_fini is in order then too. */
MUST_USE enum err imports_init(struct imports *im, const struct bytes *topics, uint32_t count);
void imports_fini(struct imports *im);

/* The routes of a subscription, or of a passing route (link/path.h), into `found`, valid until the
 * next call. ERR_FULL: one of them would be longer than a filter may be. ERR_MEMORY; never for a
 * filter that was asked for before. */
MUST_USE enum err imports_routes(struct imports *im, struct bytes filter, uint32_t *count);

/* The name of a shared group, `$share/GROUP/FILTER`, as the only route, if all of its filter is
 * imported; none if nothing of it is. ERR_NONE: a part of it is. ERR_FULL and ERR_MEMORY as
 * above. */
MUST_USE enum err imports_group(struct imports *im, struct bytes group, struct bytes filter,
                                uint32_t *count);

/* Makes room for `need` bytes at *p, of which there are *have. */
bool imports_room(uint8_t **p, uint32_t *have, uint64_t need);

#endif
