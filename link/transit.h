/* link/transit.h -- what passes this cluster on its way between others.
 *
 * Between links with `transit = on` on both sides, each cluster is told not only what we want, but
 * also what every other one wants, and messages for it come through us.
 *
 *   a way       how a cluster can be reached: by which link, and past which clusters. Every route
 *               of a link with transit is of one: what the cluster of the link wants itself, or a
 *               passing route (link/path.h), which names the others.
 *   a choice    of all ways on which the same wish of the same cluster came, the best: first those
 *               where nobody is away, then the shorter ones, then by the numbers of the links. That
 *               one is told on, but not to a cluster that it passes.
 *
 * So each wish of each cluster spreads as a path vector: who is in a path never hears of it, hence
 * no route leads back to itself, and when a wish is withdrawn, only ever longer paths are left to
 * be tried, each of which ends at a cluster that has heard of the end. Routes of a link that is
 * down stay (link/peer_routes.h), so that what is for it waits; after TRANSIT_AWAY_MS they are told
 * on as those of a cluster that is away, and whoever knows another way takes that.
 *
 * A message that is published here names, in each of its copies, for which clusters that copy is:
 * every one that wants it is in exactly one copy. Who gets a copy takes it if it is named, and
 * shares the others out among its links again. So nobody gets a message twice, in a ring as in a
 * tree, and whatever routes change meanwhile, because a link itself brings nothing twice. A way
 * that avoids the clusters that were passed is preferred; where routes are changing there may be
 * none, and then the copy may go back, but passes at most PATH_PASSED_MAX clusters.
 *
 * The clusters that are reached by way of others are destinations of the route index, as links are:
 * their numbers are the last ones, from LINKS_MAX - TRANSIT_CLUSTERS_MAX on (core/base/limits.h).
 *
 * Filters that begin with `$` do not pass. Retained messages pass as messages do.
 *
 * Threads  the link worker that has all links with transit.
 * Memory   for each wish of each other cluster about 150 bytes and its filter, counted as routes
 *          are, and what the links take that are told it.
 */
#ifndef LINK_TRANSIT_H
#define LINK_TRANSIT_H

#include "link/native.h"
#include "link/peer.h"

/* So long a link is down before messages take other ways, if there are any. What already waits for
 * it waits on, so what comes then may arrive before that. */
#define TRANSIT_AWAY_MS 10000u
/* Ways that lead by one link, since each is looked at by who looks for one. Routes that come on
 * others are left out, counted (link_routes_over_limit) and said. */
#define TRANSIT_WAYS_MAX 1000u
/* Pause between two times that clusters without a number among destinations are given one. */
#define TRANSIT_NUMBER_MS 10000u
/* Bytes of the text of any passing route. */
#define TRANSIT_TEXT_BYTES (70u << 10)

struct transit; /* opaque */

/* For all links of a link worker; `peers` has LINKS_MAX places and outlives it. NULL: no memory. */
struct transit *transit_create(struct link_host *host, struct peer *const *peers);
/* Peers may be gone by now. NULL is fine. */
void transit_destroy(struct transit *t);

/* The link of that number, on whatever link worker, is this one, or none (NULL). A cluster that is
 * linked without transit gets what is published here by that link alone. ERR_MEMORY: the one before
 * counts. */
MUST_USE enum err transit_link(struct transit *t, uint32_t number, const struct cfg_link *link);

/* A distinct route of a peer with transit, a filter or the text of a passing route, has come or
 * gone. One that is not there may go. */
void transit_route(struct transit *t, struct peer *p, struct bytes text, bool is_wanted);
/* A link has been down for TRANSIT_AWAY_MS, or is up again: ways by it come last, or no longer. */
void transit_away(struct transit *t, struct peer *p, bool is_away);
/* Tells a peer all that is for it, or that nothing of it is any more. */
void transit_tell_all(struct transit *t, struct peer *p, bool is_wanted);

/* Tries again what the route index could not take: once per turn. True: something is left. */
bool transit_run(struct transit *t);
/* Whether something that was asked for is not yet asked of the route index. */
bool transit_is_behind(const struct transit *t);

/* The numbers of destinations that are not links. */
uint64_t transit_numbers(const struct transit *t);
/* Plans the copies of what is published here: for the clusters of `links` that are not links, and
 * for those of *direct, which are, where they share a copy. *direct becomes those that get none.
 * Returns the links by which the copies go. */
uint64_t transit_plan(struct transit *t, const struct publish *p, uint64_t links, uint64_t *direct);
/* Sends the copies that were planned; `p` has its source and its tag, and no message. Returns the
 * links for which there was no memory. */
uint64_t transit_send(struct transit *t, const struct publish *p);

/* Whether a message that came with a way is for us, among others or alone. */
bool transit_is_ours(const struct link_host *host, struct bytes way);
/* Sends on what came with a way, without the part that is ours. *dropped: for how many clusters
 * there was no way, or no room. Returns how many copies left. */
uint32_t transit_pass(struct transit *t, const struct native_record *r, uint32_t *dropped);

/* How many clusters are known, links and others, and how many wishes of theirs. */
struct transit_state {
    uint32_t clusters, wishes;
};
struct transit_state transit_state(const struct transit *t);

#endif
