/* link/algebra.h -- which filters to ask a peer for: intersection, reduction, routes.
 *
 * The rules are EMQX's, so that both sides of a link compute the same routes. Filters are compared
 * level by level; a wildcard in the first level never meets a first level that begins with `$`.
 * Filters are taken as given: valid ones give valid ones.
 *
 * Threads  any; pure functions over views.
 */
#ifndef LINK_ALGEBRA_H
#define LINK_ALGEBRA_H

#include "core/base/bytes.h"
#include "core/base/err.h"

/* The filter that matches what both match. *out becomes a view of `a`, of `b`, or of the bytes
 * written to `to`. ERR_NONE: they have nothing in common. ERR_FULL: the result is longer than
 * `room` or than a filter may be (it never exceeds a.n + b.n). */
MUST_USE enum err algebra_intersect(struct bytes a, struct bytes b, uint8_t *to, uint32_t room,
                                    struct bytes *out);

/* Whether the intersection of `a` and `b` is `a`: everything `a` matches is matched by `b`. It
 * answers what EMQX answers: unlike topic_filter_covers it does not see that `#` is a part of `+/#`
 * or `/#` one of `/+/#`, because no topic is empty; in all else the two agree. */
bool algebra_subset(struct bytes a, struct bytes b);

/* Takes out every filter that is a subset of another (of equal ones all but the first). Keeps the
 * order; returns how many are left at the front of `filters`. */
uint32_t algebra_reduce(struct bytes *filters, uint32_t count);

/* The filters to announce for a subscription to `filter` over a link that imports `topics` (already
 * reduced): the intersections, reduced. `routes` has a place for every topic; texts that stand in
 * neither argument are written to `to`. ERR_FULL: `room` is too small. */
MUST_USE enum err algebra_routes(struct bytes filter, const struct bytes *topics,
                                 uint32_t topic_count, uint8_t *to, uint32_t room,
                                 struct bytes *routes, uint32_t *route_count);

#endif
