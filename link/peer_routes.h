/* link/peer_routes.h -- what a remote cluster wants from us: its routes in our route index.
 *
 *     their operations ─▶ exported, counted, limited ─▶ announced ─▶ route index (of other workers)
 *
 * Changes reach the index in their order (link/changes.h). Routes of an actor that is gone, or of
 * an earlier life of one, are removed a few in a turn, no faster than the index takes them.
 *
 * An actor that is not heard of for ANNOUNCED_TTL_MS expires, but only while some connection with
 * its cluster stands, whoever opened it. While none does, nothing can be heard, and all routes
 * stay, so that messages wait for them, until queue_age has passed since the cluster was last heard
 * of. When one stands again, every actor has the whole time from then on; so it has when it would
 * expire because this process has stood still, and could hear nobody.
 *
 * Threads  the link worker that has the peer.
 */
#ifndef LINK_PEER_ROUTES_H
#define LINK_PEER_ROUTES_H

#include "link/peer.h"

/* Makes `announced` and `intake` of a peer that has its link. ERR_MEMORY: peer_routes_fini. */
MUST_USE enum err peer_routes_init(struct peer *p);
void peer_routes_fini(struct peer *p); /* also of one whose init failed */

/* Once per turn: tries again what the route index could not take. True: something is left. */
bool peer_routes_run(struct peer *p);
/* Whether the route index has not yet taken all that was asked of it, for them or for clusters
 * beyond: what wants more of it waits. */
bool peer_routes_are_behind(const struct peer *p);
/* Looks whether a connection stands, or none any more: once per turn. */
void peer_routes_look(struct peer *p);
/* An actor of theirs is heard of. */
void peer_routes_heard(struct peer *p);
/* An actor has been heard of, or queue_age has changed: arms the timer for the one that is
 * heard of least. */
void peer_routes_arm(struct peer *p);
/* Counts a route that was not taken, in either direction, and says the first of each cause. */
void peer_route_refused(struct peer *p, const char *event, struct bytes filter, enum err err);

#endif
