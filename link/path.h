/* link/path.h -- names of clusters in a row, and what is made of them for transit.
 *
 * A path is names, each with a NUL behind it. Two texts hold one:
 *
 *   a passing route  `$`, perhaps `!`, a path that is not empty, `/`, a filter: what the last
 *                    cluster of the path wants, and by way of which others; with `!` one of them is
 *                    away from the next for now. It stands beside ordinary filters in the
 *                    same stream, tables and sums. No filter has a NUL in it and no name a `/`, so
 *                    none looks like one; and since its first level begins with `$`, no filter with
 *                    a wildcard covers it but one of the same path.
 *   a way            the path of the clusters a copy of a message is meant for, a NUL, and the path
 *                    of those that it has passed, where it was published first
 *
 * Threads  any; pure functions.
 */
#ifndef LINK_PATH_H
#define LINK_PATH_H

#include "core/base/bytes.h"

/* Names in the path of a route. What is further away is not announced. */
#define PATH_NAMES_MAX 8u
/* Clusters that a way says were passed, which is more than a message needs once all know the
 * routes. With so many it goes on only to a cluster that is linked here, without a way, and else is
 * dropped and counted. Beyond: so is the record. */
#define PATH_PASSED_MAX 16u
/* Clusters that one copy is meant for. Beyond: the record is dropped and counted. */
#define PATH_TARGETS_MAX 64u

/* Takes the first name off a path; false: none is left. */
bool path_next(struct bytes *rest, struct bytes *name);
/* Whether it is a path of at most `most` names, each of them one that a cluster may have. */
bool path_valid(struct bytes path, uint32_t most);
/* How many names it has. */
uint32_t path_length(struct bytes path);
/* Whether it has this name. */
bool path_holds(struct bytes path, struct bytes name);
/* Its last name, of one that is not empty. */
struct bytes path_last(struct bytes path);
/* Writes a name and its NUL; returns the position behind. */
uint8_t *path_put(uint8_t *to, struct bytes name);

/* Whether a text is that of a passing route, or is meant to be: it has a NUL. */
bool route_is_passing(struct bytes text);
/* What it says. */
struct route_text {
    bool is_away;
    struct bytes path, filter; /* the filter may be any bytes */
};
/* Takes the text of a passing route apart. false: it is none, and all is empty. */
bool route_split(struct bytes text, struct route_text *out);
/* How many bytes of such a text stand before its filter. */
uint32_t route_head_bytes(const struct route_text *r);
/* Writes them; returns the position behind. */
uint8_t *route_put_head(uint8_t *to, const struct route_text *r);

/* Takes a way apart. false: it is none, or has too many names. */
bool way_split(struct bytes way, struct bytes *targets, struct bytes *passed);

#endif
