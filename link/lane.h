/* link/lane.h -- messages of a link on a link worker that is not the link's own.
 *
 * A link has its routes, its state and stream 0 of messages on its own link worker (link/peer.h).
 * Each of the others has a lane for it: a stream of ours over a connection of its own, and the
 * streams of theirs that end there. Which stream a message of ours takes is chosen by its
 * publisher, so its order stays. What names clusters, and what names a group, takes stream 0
 * (link/peer_switch.c says why).
 *
 *     peer (link/spread.h)  notes, and messages for the stream, in order ─▶ lane
 *     lane  how it is doing, on a board; notes of news, and of what is acknowledged ─▶ peer
 *
 * A lane is made by the first note that speaks of its board and brings the link, and does what the
 * last one said. Where there was no memory for it, the peer is told and brings the link again.
 *
 * Threads  the lane's link worker; the board is written there and read by the peer's.
 * Memory   what link/carrier.h takes. The peer has the board, and keeps it until is_gone.
 */
#ifndef LINK_LANE_H
#define LINK_LANE_H

#include "link/hold.h"
#include "link/inlets.h"
#include "link/rate.h"

/* Of a note: what the lane is to do. Its value is the mark to tell of; its gift a copy of the link,
 * if it is new or has changed. */
enum lane_word {
    LANE_DIALS = 1,    /* keeps its connection up */
    LANE_TAKES = 2,    /* what they send */
    LANE_ENDS = 4,     /* no note comes behind this one */
    LANE_HURRIES = 8,  /* the other side can be reached: dials now, if it waits */
    LANE_RETURNS = 16, /* what waits goes back to the peer, which sends it otherwise */
    LANE_PACKS = 32,   /* it is agreed that frames may go compressed */
    LANE_HOLDS = 64,   /* keeps ours: what stream 0 has of the same publishers goes first */
};

/* Publishes that the other side has acknowledged, or that were let go (link/acks.h): the gift of a
 * note to the peer. */
struct lane_settled {
    uint32_t count, room;
    struct {
        uint64_t tag;
        uint8_t reason;
    } v[];
};

/* Connections of lanes have these numbers, and that of their stream on top. */
#define LANE_CONNECTIONS 100u

/* X(field): counts for link/status.h, of the same names there. */
#define LANE_COUNTS(X)                                                                             \
    X(sent)                                                                                        \
    X(inflight)                                                                                    \
    X(waiting)                                                                                     \
    X(held_bytes)                                                                                  \
    X(saved_bytes)                                                                                 \
    X(received)                                                                                    \
    X(doubles)                                                                                     \
    X(unwanted)                                                                                    \
    X(lost_full)                                                                                   \
    X(lost_aged)                                                                                   \
    X(lost_expired)                                                                                \
    X(lost_too_large)                                                                              \
    X(lost_memory)

struct lane_board {
    /* before the first note, and never again */
    uint64_t boot;
    uint32_t number; /* of the link */
    uint32_t stream;
    /* by the lane */
    _Atomic bool is_there, is_up, is_full, is_gone;
    _Atomic uint64_t failures; /* how often it could not be made */
    _Atomic uint64_t opened;   /* how often the other side has answered its OPEN */
    _Atomic uint64_t passed;   /* the mark behind which nothing is left of what came before it */
    _Atomic uint64_t since_ms; /* the oldest message is here; 0: there is none */
    _Atomic uint64_t lost;     /* of all causes */
#define X(field) _Atomic uint64_t field;
    LANE_COUNTS(X)
#undef X
};

struct lane;

/* The lanes of one link worker. */
struct lanes {
    struct link_host *host;
    struct lane *first;
    bool is_stopping;
};

/* There are none. */
void lanes_init(struct lanes *all, struct link_host *host);
/* Forgets all, as at the end. */
void lanes_fini(struct lanes *all);

/* A note of another link worker has come; takes the gift. */
void lanes_note(struct lanes *all, uint32_t from, const struct link_note *note);
/* A message of ours for links of another link worker, as far as they have lanes: returns those of
 * `links` that have none. NULL: there was no memory for the one of that tag. */
uint64_t lanes_push(struct lanes *all, uint32_t from, uint64_t links, struct message *m,
                    uint64_t tag);

/* Whether a packet of a remote cluster is for a lane, as its topic says: a frame on a connection
 * that lives here. */
bool lanes_have(const struct lanes *all, const struct link_packet *packet, struct bytes cluster);
/* Takes it. false: no room now, offer it again. */
bool lanes_take(struct lanes *all, const struct link_packet *packet, struct bytes cluster);
/* A client that lived on this link worker is gone. */
void lanes_gone(struct lanes *all, struct client_name who);

/* Once per turn. True: something had no room. */
bool lanes_run(struct lanes *all);
/* Says good-bye and dials no more. */
void lanes_stop(struct lanes *all);

/* For tests: the lane of a link, or NULL; and its connection. */
struct lane *lanes_find(const struct lanes *all, struct bytes cluster);
struct dialer *lane_dialer(struct lane *l);
/* Whether it takes what the other side sends, as far as it has been told. */
bool lane_takes(const struct lane *l);

#endif
