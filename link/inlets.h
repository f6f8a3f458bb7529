/* link/inlets.h -- the streams of messages that a remote cluster sends to one link worker.
 *
 * Stream k of a sender ends on the link worker that is k further than the link's own, counted round
 * and round. Where the sender has more link workers than we have, several end on one: that of the
 * worker's own carrier, and those here.
 *
 * Threads  the link worker.
 */
#ifndef LINK_INLETS_H
#define LINK_INLETS_H

#include "link/carrier.h"

struct inlets {
    struct carrier more[LINK_WORKERS_MAX - 1]; /* in the order of their numbers */
    uint32_t count;
};

/* Prepares them beside the carrier of a place, for the link of that number. */
void inlets_init(struct inlets *in, struct link_host *host, const struct cfg_link *link,
                 const struct carrier_place *own, uint32_t number);
/* From now on the link is this one. */
void inlets_use(struct inlets *in, const struct cfg_link *link);
/* Ones that were never prepared are fine. */
void inlets_fini(struct inlets *in);

/* For whom a frame of a carrier is that came on a connection: one of these, or `own`. */
struct carrier *inlets_find(struct inlets *in, struct carrier *own, const struct channel *from,
                            const struct native_frame *f);
/* A connection is gone. */
void inlets_down(struct inlets *in, const struct channel *gone);
/* Gives up the connections on which theirs come, if they have opened them. */
void inlets_close(struct inlets *in, struct carrier *own, const char *why);
/* Acknowledges what was taken: once per turn. */
void inlets_run(struct inlets *in);

#endif
