/* link/announcer.h -- introduces us to one remote cluster, and tells it which messages we want.
 *
 * The route connection of a link, in the role of the subscriber: subscribe to the answer, introduce
 * ourselves as an actor, announce all routes when the other side has none of ours, then every
 * change, and say every 8 s that we live. One route PUBLISH is out at a time; what changes
 * meanwhile is gathered by struct interest, so a busy link sends large batches and an idle one at
 * once.
 *
 * The introduction offers our own dialect. Where the other side grants it, routes are told by a
 * struct route_stream instead, over this connection.
 *
 *     IDLE -> SUBSCRIBING -> INTRODUCING -> ONLINE -> (connection lost) IDLE ...
 *
 * The connection is kept also when we want nothing: the other side sees that we are there.
 *
 * Threads  the link worker.
 */
#ifndef LINK_ANNOUNCER_H
#define LINK_ANNOUNCER_H

#include "link/dialer.h"
#include "link/interest.h"
#include "link/native.h"

/* Our only actor: a cluster is one process, and the next life of it must find the routes of the
 * last one under the same name. */
#define ANNOUNCER_ACTOR "causeway"
/* Time for SUBACK, and for the answer to actor_init. */
#define ANNOUNCER_HANDSHAKE_MS 5000u
/* EMQX wants to hear of us every 10 s and forgets after 30. */
#define ANNOUNCER_BEAT_MS 8000u
/* Pause before a batch that was refused is sent again. */
#define ANNOUNCER_AGAIN_MS 500u
/* A batch without PUBACK for so long ends the connection. */
#define ANNOUNCER_BATCH_MS 30000u
/* Bytes, unpacked, of an answer that comes compressed. */
#define ANNOUNCER_ANSWER_BYTES_MAX 4096u
/* How far the incarnation jumps when it is refused: at first, and at most. The latter is also how
 * far it is ever ahead of our clock: receivers refuse more. */
#define ANNOUNCER_JUMP_FIRST_MS 1000u
#define ANNOUNCER_JUMP_MAX_MS (24u * 3600000u)

enum announcer_state {
    ANNOUNCER_IDLE,
    ANNOUNCER_SUBSCRIBING,
    ANNOUNCER_INTRODUCING,
    ANNOUNCER_ONLINE,
    ANNOUNCER_STATE_COUNT
};

struct announcer;

struct announcer_events {
    /* The other side has accepted us; a->is_native says what it speaks. `needs_all`: it has none of
     * our routes. If it is not native, a->interest is what it is told from now on. */
    void (*online)(struct announcer *a, bool needs_all);
    /* A frame of our own dialect has come while we are online. false: no room now, it comes
     * again. */
    bool (*frame)(struct announcer *a, struct bytes payload);
    /* The connection or the attempt has ended for the reason in a->dialer.why. */
    void (*offline)(struct announcer *a, bool was_online);
};

struct announcer {
    struct dialer dialer;      /* first */
    struct interest *interest; /* set by the owner; not used while is_native */
    const struct announcer_events *events;
    struct timer timer;   /* handshake: too late; ONLINE: the next beat or attempt */
    uint64_t incarnation; /* goes back only where all the other side would take were refused */
    uint64_t jump_ms;
    uint64_t beat_ms;   /* when the next one is due */
    uint64_t again_ms;  /* no batch before */
    uint64_t batch_ms;  /* when the one that is out has left */
    uint16_t last_id;   /* packet ids: 1, 2, ... */
    uint16_t waits_for; /* PUBACK or SUBACK; 0: none */
    uint8_t state;
    uint8_t correlation[16];
    bool has_groups;    /* with it: we name our shared groups, see link/native.h */
    bool is_native;     /* since it was accepted: it speaks our dialect */
    bool deflates;      /* and both of us take compressed frames */
    bool transits;      /* and both sides let pass what comes over links */
    bool is_introduced; /* actor_init has left on this connection */
    bool has_announced; /* all routes have been offered in this life */
    bool is_raised;     /* it is known whether an earlier life had our incarnation */
    bool is_refused;    /* the last answer was a refusal: said once */
};

/* Prepares the route connection of a link. ERR_MEMORY. */
MUST_USE enum err announcer_init(struct announcer *a, struct link_host *host,
                                 const struct cfg_link *link,
                                 const struct announcer_events *events);
void announcer_fini(struct announcer *a);

/* Begins a life of ours, of which the other side has no routes: the incarnation is the wall clock's
 * milliseconds, or one more than before. To go on in the same life is the dialer's to start. */
void announcer_start(struct announcer *a);
/* Sends what is pending, if it may: once per turn. */
void announcer_run(struct announcer *a);

#endif
