/* link/exported.h -- which part of what a peer asks for it may have.
 *
 * A link exports filters. A route that the peer announces is taken as it is when one of them covers
 * it; else its intersections with them are taken instead, each under an id that names the whole
 * route, so that two routes which shrink to one filter stay two.
 *
 * Threads  any; pure functions.
 */
#ifndef LINK_EXPORTED_H
#define LINK_EXPORTED_H

#include "cfg/cfg.h"

/* Is given each part of a route. Anything but OK is answered to the caller; the others come. */
typedef enum err exported_part(void *arg, struct bytes filter, struct bytes id);

/* Hands every part of a route that the link exports to `part`; `filter` is a valid one. `scratch`
 * has `room` bytes and is lent to the parts. ERR_NONE: it exports nothing of it. ERR_FULL: the
 * parts do not fit into the scratch memory, and none was handed out. Else the last answer of `part`
 * that was not OK. */
MUST_USE enum err exported_parts(const struct cfg_link *link, struct bytes filter, struct bytes id,
                                 uint8_t *scratch, uint32_t room, exported_part *part, void *arg);
/* Whether the link exports all that a filter matches. */
bool exported_whole(const struct cfg_link *link, struct bytes filter);

#endif
