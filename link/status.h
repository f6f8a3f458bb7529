/* link/status.h -- how each link is doing, both directions and both planes.
 *
 * A link has routes and messages, each out (ours to them) and in (theirs to us). What is known of
 * them stands in one struct link_status, filled on request: a message between threads may carry a
 * copy to who asks from elsewhere. Every sys_interval what has changed of it is published, as
 * retained messages, under `$SYS/broker/links/NAME/`; the names of the topics are those of
 * LINK_STATUS_NUMBERS and of LINK_STATUS_WORDS. tools/doc/causeway.8 says what they mean.
 *
 * Threads  the link worker that has the link.
 * Memory   a copy of what was said last, for each link.
 */
#ifndef LINK_STATUS_H
#define LINK_STATUS_H

#include "link/peer.h"

/* Bytes of an address or an error, with the NUL. */
#define STATUS_TEXT_BYTES 320u

/* X(field, topic). Moments are seconds since 1970, 0: never; counts are of this life of ours. */
#define LINK_STATUS_NUMBERS(X)                                                                     \
    X(since_s, "since")                  /* the state is what it is */                             \
    X(rtt_ms, "rtt_ms")                  /* from a ping to its answer, on the route connection */  \
    X(routes_wanted, "routes/out/count") /* that we want of them */                                \
    X(routes_pending, "routes/out/pending") /* changes that they have not acknowledged */          \
    X(routes_lag_ms, "routes/out/lag_ms")   /* since the oldest of these that was sent left */     \
    X(routes_theirs, "routes/in/count")     /* filters that they want of us */                     \
    X(routes_refused, "routes/refused")     /* in either direction */                              \
    X(sent, "messages/out/sent")            /* for the first time */                               \
    X(inflight, "messages/out/inflight")    /* not acknowledged */                                 \
    X(waiting, "messages/out/waiting")      /* not sent, or not on this connection */              \
    X(held_bytes, "messages/out/bytes")     /* of all that wait or are in flight */                \
    X(acks_waiting, "messages/out/acks_waiting") /* for ack = remote */                            \
    X(saved_bytes, "messages/out/saved_bytes")   /* by compression */                              \
    X(oldest_ms, "messages/out/oldest_ms")       /* how long the oldest of these is here */        \
    X(received, "messages/in/received")          /* and published here */                          \
    X(passed, "messages/in/passed")           /* copies of them that went on to other clusters */  \
    X(doubles, "messages/in/doubles")         /* that had come before, removed */                  \
    X(unwanted, "messages/in/dropped")        /* of topics that we did not ask for */              \
    X(lost_full, "messages/out/dropped/full") /* queue_bytes was reached */                        \
    X(lost_aged, "messages/out/dropped/aged") /* waited longer than queue_age */                   \
    X(lost_expired, "messages/out/dropped/expired")                                                \
    X(lost_too_large, "messages/out/dropped/too_large")                                            \
    X(lost_refused, "messages/out/dropped/refused") /* by them */                                  \
    X(lost_memory, "messages/out/dropped/memory")

/* X(field, topic): words and names. */
#define LINK_STATUS_WORDS(X)                                                                       \
    X(state, "state")     /* disabled, connecting, up */                                           \
    X(dialect, "dialect") /* and its version: "native 1", "emqx 1"; empty: not known yet */        \
    X(server, "server")   /* that is connected or tried */                                         \
    X(transit, "transit") /* off; on; here: the other side has it not */                           \
    X(error, "error")     /* why it was not connected last; empty: it always was */                \
    X(routes_out, "routes/out/state")     /* connecting, introducing, up */                        \
    X(routes_in, "routes/in/state")       /* away, up */                                           \
    X(messages_out, "messages/out/state") /* connecting, up */                                     \
    X(messages_in, "messages/in/state")   /* away, up */                                           \
    X(groups, "shared_groups") /* local, connecting, global, refused: it does not say global */

struct link_status {
    const char *name; /* of the remote cluster */
#define X(field, topic) uint64_t field;
    LINK_STATUS_NUMBERS(X)
#undef X
#define X(field, topic) char field[STATUS_TEXT_BYTES];
    LINK_STATUS_WORDS(X)
#undef X
};

/* How a link is doing at this moment. */
void status_of(struct peer *p, struct link_status *to);

/* Says what has changed of a link since `said`, or everything where that has no name yet; it is
 * what was said then. */
void status_say(struct peer *p, struct link_status *said);
/* Says nothing any more: what was said is retained no longer, and has no name. */
void status_unsay(struct peer *p, struct link_status *said);

#endif
