/* link/acks.h -- publishes whose acknowledgement waits for links: which links still have to answer.
 *
 * Core hands over a receipt with such a publish (core/broker/shard.h). Here it is kept under a
 * number, the tag of the message that stands in the queues of links, until each link of `ack =
 * remote` that the message went to has settled it: acknowledged, or let go. Then it goes back, with
 * the reason of the first link that has let it go.
 *
 * A tag goes stale with its receipt, and a link settles a tag only once: whoever settles what is
 * settled or released already does no harm. So a queue need not know what became of its link.
 *
 * Threads  the link worker.
 * Memory   one place for each receipt, bounded by ACKS_MAX. Beyond: the receipt goes back at once,
 *          as if the queue of a link were full.
 */
#ifndef LINK_ACKS_H
#define LINK_ACKS_H

#include "core/base/limits.h"
#include "core/base/slab.h"
#include "core/broker/shard.h"

/* Receipts that links of one worker keep. */
#define ACKS_MAX (1u << 20)

struct acks {
    struct shard *shard;
    struct slab places;
    uint32_t waiting[LINKS_MAX]; /* by number of the link: what it has to settle */
};

/* Who brings it to the receipts, for a queue that is on another link worker than they are. */
struct acks_far {
    void (*settle)(struct acks_far *far, uint64_t tag, uint8_t reason);
};

/* What a queue knows of it; all zero: its link acknowledges nothing remotely. */
struct acks_of {
    struct acks *acks;
    uint32_t link;        /* its number */
    struct acks_far *far; /* instead of acks; or NULL */
};

/* Nothing waits. fini forgets the receipts that are left: nobody will be answered. */
void acks_init(struct acks *a, struct shard *shard);
void acks_fini(struct acks *a);

/* Keeps a receipt that `links`, a bit each and at least one, have to settle. Its tag; 0: there is
 * no room, and it has gone back. */
uint64_t acks_begin(struct acks *a, struct receipt *receipt, uint64_t links);
/* A link is done with the message of a tag (0: there is none): acknowledged, or let go for a reason
 * of failure. */
void acks_settle(const struct acks_of *of, uint64_t tag, uint8_t reason);
/* A link does not count any more: all that waits for it is settled without a fault. */
void acks_release(struct acks *a, uint32_t link);

#endif
