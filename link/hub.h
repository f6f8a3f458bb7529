/* link/hub.h -- all remote clusters of one link worker, behind the hooks that core calls.
 *
 * A link lives on the link worker that shard_link_home names for it: its connections, its routes,
 * and the packets its cluster sends; all but the streams of messages of other link workers, whose
 * hubs have lanes for it (link/lane.h). The hub also keeps every local filter, so that a link that
 * comes later can be told of them.
 *
 * Threads  create, destroy: boot.  All else: the link worker.
 */
#ifndef LINK_HUB_H
#define LINK_HUB_H

#include "link/status.h"

struct hub; /* opaque */
struct lane;

/* What a hub is made of. The functions are those of struct link_host. */
struct hub_config {
    const struct cfg
        *cfg;            /* outlives the hub, but for its links; the number of each is its place */
    struct shard *shard; /* of a link worker */
    uint32_t number;     /* of this link worker: 0.. */
    struct hash_key key;
    void *net;
    enum err (*dial)(void *net, struct stream *stream, const struct link_target *to);
    void (*written)(void *net, const struct stream *stream, struct pulse_written *to);
    void (*log)(void *net, const struct log_event *e);
};

/* NULL: no memory. */
struct hub *hub_create(const struct hub_config *config);
/* The net has no stream of it any more. NULL is fine. */
void hub_destroy(struct hub *h);

/* Fills in what core calls: link, and all that is for link workers only. */
void hub_set_hooks(struct hub *h, struct shard_hooks *hooks);

/* Dials the enabled links: before the first turn. hub_stop says good-bye and dials no more. */
void hub_start(struct hub *h);
void hub_stop(struct hub *h);
/* Makes the links what they are from now on, by number; NULL: there is none. Links that are as
 * before are not touched; copies are kept. ERR_FULL: a number is still that of a link that goes; it
 * and ERR_MEMORY: not all could be done, and the same is to be called again in a later turn. */
MUST_USE enum err hub_apply(struct hub *h, const struct cfg_link *const links[LINKS_MAX]);
/* Once per turn, after mail and timers. True: there is work for another turn at once. */
bool hub_turn(struct hub *h);

/* For tests and the state of links: the peer of that name on this worker, or NULL. */
struct peer *hub_peer(struct hub *h, struct bytes name);
/* The same for the lane of a link that lives on another link worker. */
struct lane *hub_lane(struct hub *h, struct bytes name);
/* How the link of that name is doing. false: it does not live on this worker. Who is on another
 * thread asks this worker by a message of its own, and gets a copy. */
bool hub_status(struct hub *h, struct bytes name, struct link_status *to);
/* Distinct local filters known. */
uint32_t hub_local_count(const struct hub *h);

#endif
