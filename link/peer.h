/* link/peer.h -- one remote cluster: the two planes of a link, and what it says of itself.
 *
 *     routes    ours to them: announcer (their part: link/receiver.h)   theirs to us: announced
 *     messages  ours to them: forwarders                                theirs to us: receiver
 *
 * With a broker of ours, announcer and forwarder keep the connections up, and what is said on them
 * is the native dialect: our routes are told by a route_stream, theirs come by a route_intake, and
 * messages go and come by a carrier.
 *
 * A link without a server dials nobody. A broker of ours calls it, and all goes over the
 * connections that this one has opened: our routes over that on which it has introduced itself
 * (greeter), our messages over that on which it has opened its own stream.
 *
 * With several link workers, messages to and from a broker of ours are in as many streams: that of
 * this link worker, number 0, is the carrier, and the others have lanes (spread). A link without a
 * server, or with transit, sends all in stream 0.
 *
 * A route that the other side announces becomes a destination of the route index here. A link is
 * up when its route connection is accepted and all its message connections stand.
 *
 * Threads  the link worker that has it.
 */
#ifndef LINK_PEER_H
#define LINK_PEER_H

#include "link/announced.h"
#include "link/announcer.h"
#include "link/binding.h"
#include "link/carrier.h"
#include "link/changes.h"
#include "link/forwarder.h"
#include "link/greeter.h"
#include "link/hold.h"
#include "link/inlets.h"
#include "link/intake.h"
#include "link/rate.h"
#include "link/retained_sync.h"
#include "link/route_stream.h"
#include "link/spread.h"
#include "link/waiting.h"

/* Subscriptions of ours that are looked at in one turn for what is wanted of a remote cluster. */
#define PEER_TELL_MAX 2000u
/* Nodes of a remote cluster, each with two actors. Beyond: the handshake is refused. */
#define PEER_ACTORS_MAX 1024u
/* Pause between two lines about lost messages of one link. */
#define PEER_SAY_MS 10000u
/* What may wait to be unpacked of all connections of a link before they are held, so that what is
 * still on its way has room. They are read again when half of it is left. */
#define PEER_WAITING_PACKETS (WAITING_PACKETS_MAX / 4)
#define PEER_WAITING_BYTES (WAITING_BYTES_MAX / 2)
/* Routes of actors that are gone, or of an earlier life of one, that are removed in one turn. */
#define PEER_SWEEP_MAX 1000u

/* How far an incarnation, which is a clock's time, may be ahead of our clock: as far as ours ever
 * is, and an hour for clocks that differ. Beyond: the sender is disconnected. */
#define PEER_AHEAD_MS (ANNOUNCER_JUMP_MAX_MS + 3600000u)

/* How long after an actor of theirs was heard of a connection of theirs counts as standing, where
 * nobody says when it goes: EMQX sends a heartbeat every 10 s. */
#define PEER_HEARD_MS 15000u

/* Why a route was not taken. */
enum peer_refused {
    PEER_REFUSED_NUMBER, /* max_routes of the link */
    PEER_REFUSED_MEMORY, /* memory_limit */
    PEER_REFUSED_INVALID,
    PEER_REFUSED_EXPORT, /* nothing of it is exported */
    PEER_REFUSED_GROUP,  /* a shared group's, and not all of it is imported or exported */
    PEER_REFUSED_COUNT
};

/* How far the names of their groups are that were announced while routes stood without them. */
enum peer_names { NAMES_KNOWN, NAMES_ANNOUNCED, NAMES_ASKED, NAMES_IN_FORCE };

/* Lines about refused packets: at most one a second, which says how many were left out. Those about
 * introductions have their own, since they say what is to be mended. */
enum peer_said { PEER_SAID_PACKET, PEER_SAID_INTRODUCTION, PEER_SAID_COUNT };
struct peer_refusals {
    uint64_t say_ms; /* no line before */
    uint64_t left_out;
};

struct peer {
    struct link_host *host;
    struct cfg_link *link; /* a copy, as `next` is */
    struct cfg_link *next; /* what it becomes when its connections have ended; or NULL */
    uint32_t number;       /* of the link: its bit among destinations */
    struct announcer announcer;
    struct greeter greeter;      /* instead of it, where the link has no server */
    struct locals_walk telling;  /* of what is subscribed to here, into one of these: */
    struct interest *interest;   /* what we want from them, as EMQX is told it */
    struct route_stream routes;  /* or as a broker of ours is */
    struct announced *announced; /* what they want from us */
    struct binding_list bound;   /* clients that speak for actors: link/receiver.h */
    struct intake intake;        /* from a broker of ours */
    struct carrier carrier;      /* messages from and to one: stream 0 */
    struct inlets inlets;        /* further streams of theirs that end here */
    struct spread spread;        /* the streams of the other link workers */
    uint64_t apart_mark;         /* of the carrier's stream, when is_apart began */
    struct retained_sync retained;
    struct forwarder *forwarders;
    uint32_t forwarder_count;
    uint32_t dialled_count;     /* of these, from the first on, that are to have a connection */
    bool is_emqx;               /* they have accepted us last as something else than one of ours */
    struct timer expiry;        /* of the actor that is heard of least */
    uint64_t heard_ms;          /* when any actor was heard of last */
    struct changes changes;     /* changes of the route index */
    uint64_t on_ms;             /* since when it is on */
    uint64_t say_ms;            /* no line about losses before */
    struct rate ops, bytes;     /* of what they send */
    struct waiting_sum waiting; /* of that, what waits to be unpacked */
    struct hold hold;           /* whether we read what they send */
    uint64_t routes_refused[PEER_REFUSED_COUNT]; /* in either direction */
    struct peer_refusals refusals[PEER_SAID_COUNT];
    struct timer away;    /* while it is down, until it is_away */
    struct timer settle;  /* while an actor has routes of an earlier life that go soon */
    bool tells_native;    /* our routes are in `routes`, and `interest` is empty; or the reverse */
    bool is_telling;      /* not all that is subscribed to here is there yet */
    bool speaks_native;   /* they have last introduced themselves as a broker of ours */
    bool grants_groups;   /* they may name their shared groups: link/peer_groups.h */
    bool takes_groups;    /* and have: each record of ours says for whom it is */
    uint8_t names_due;    /* enum peer_names: how far the names are that takes_groups waits for */
    uint64_t names_asked; /* of the index, with them */
    bool gives_groups;    /* we name ours to them */
    bool no_groups_said;  /* that they do not want it */
    bool transits;        /* what comes over it may leave over others of these (link/transit.h) */
    bool is_away;         /* it was down for TRANSIT_AWAY_MS, and still is */
    bool is_told;         /* what others want is among what we tell them that we want */
    bool no_transit_said; /* that the other side does not do transit */
    bool no_sync_said;    /* that it cannot do retained = sync */
    bool is_on;           /* enabled: we dial, what we want is told, and what they send is taken */
    bool is_begun;        /* peer_start was called */
    bool is_dialing;      /* its dialers run; else they end or have ended */
    bool is_ending;       /* removed: it goes when nothing of it is left */
    bool is_spread;       /* all lanes stand */
    bool is_apart;        /* what belongs into lanes goes there: link/peer_switch.c */
    bool holds_lanes;     /* they keep it until stream 0 is past what it had then */
    bool is_stopping;     /* for good */
    bool has_left;        /* its last route is withdrawn, when the owners have done all of `left` */
    uint64_t left;        /* of shard_link_routes_asked */
    bool must_kick;       /* who is introduced on connections of theirs is to be disconnected */
    bool is_up, must_sweep; /* an actor is gone, or has settled after an earlier life */
    bool stands;            /* a connection of theirs or ours: see link/peer_routes.h */
    char last_why[192];     /* the last failure that was said */
    /* for link/status.h */
    uint64_t received, unwanted; /* messages of theirs, in EMQX's dialect: as in struct carrier */
    uint64_t since_s;            /* is_up is what it is; seconds since 1970 */
    char error[192];             /* why a connection has ended or was not made, last */
};

/* A peer for a link, of which it keeps a copy. NULL: no memory. */
struct peer *peer_create(struct link_host *host, const struct cfg_link *from, uint32_t number);
void peer_destroy(struct peer *p); /* NULL is fine */

/* Whether the link has no server: the other side dials us, and we never it. */
bool peer_is_called(const struct peer *p);

/* Dials, or waits to be called, if the link is enabled, and is told of all that is subscribed to;
 * only once. */
void peer_start(struct peer *p);
/* Once per turn: sends pending routes, tries again what found no room. True: something is left. */
bool peer_run(struct peer *p);
/* Says good-bye and dials no more. */
void peer_stop(struct peer *p);

/* The link has changed. What waits stays, but for what an `export` no longer allows. Connections
 * end, and others begin, only where a key says that they must: see link/peer_change.c. A link that
 * is disabled takes nothing any more, and its routes go. ERR_MEMORY: nothing has changed. */
MUST_USE enum err peer_change(struct peer *p, const struct cfg_link *link);
/* The link is no more. When peer_is_gone, it can be destroyed. */
void peer_remove(struct peer *p);
bool peer_is_gone(struct peer *p);
/* Once per turn, by peer_run: goes on where connections had to end first. */
void peer_change_run(struct peer *p);

/* For link/peer_change.c: connections for messages, as a link wants them, for a peer; the number of
 * them that `link` wants. NULL: no memory. */
struct forwarder *peer_make_forwarders(struct peer *p, const struct cfg_link *link);
uint32_t peer_forwarder_count(const struct cfg_link *link);
/* Chooses how many of them are dialled, by what the other side speaks. */
void peer_choose_dialled(struct peer *p, const struct cfg_link *link);
void peer_free_forwarders(struct forwarder *v, uint32_t count);
/* Whether connections must end before a link becomes the other one. */
bool peer_must_redial(const struct cfg_link *from, const struct cfg_link *to);
/* How many streams we send such a link's messages in, and what its lanes are to do. */
uint32_t peer_stream_count(const struct peer *p, const struct cfg_link *link);
/* Tells what we want of all that is subscribed to, and what others want, anew, in slices; no longer
 * does. */
void peer_tell_all(struct peer *p);
void peer_tell_stop(struct peer *p);
/* Says "0", "1" or, without a text, nothing any more, under connection/NAME/state. */
void peer_say_state(struct peer *p, const char *text);

/* A local subscription, or a wish of another cluster (the text of a passing route), has appeared or
 * gone. */
void peer_interest(struct peer *p, struct bytes group, struct bytes filter, bool is_added);
/* Whether they have all routes of a local subscription in force, or are not connected. What they
 * can never have does not count. */
bool peer_is_told(struct peer *p, struct bytes group, struct bytes filter);
/* Whether its queue is full and its link says that who publishes waits for room. */
bool peer_blocks(struct peer *p);
/* A record for them, see forwarder_push; messages of one publisher have one hash. */
void peer_forward(struct peer *p, struct message *record, uint64_t publisher_hash);
/* A message for them, as it is, in stream 0: while peer_takes_native. */
void peer_carry(struct peer *p, struct message *m);
/* Whether publishers wait until they have acknowledged what goes to them. */
bool peer_acks_remotely(const struct peer *p);
/* Whether messages for them go as they are; else as records. That is not at once what they speak:
 * see link/peer_switch.c. */
bool peer_takes_native(const struct peer *p);
/* Once per turn, by peer_run: goes on where they speak another dialect than before. True: there is
 * more. */
bool peer_switch_run(struct peer *p);
/* Whether what belongs into other streams than 0 goes to their lanes. */
bool peer_spreads(const struct peer *p);
/* Whether a retained message goes to them, where no route of theirs wants it. */
bool peer_wants_retained(const struct peer *p, const struct publish *message);

/* They introduce an actor of theirs: as announced_hello. It also means that they can be reached.
 * `native`: the connection on which our dialect is spoken from now on; NULL: EMQX's is. */
MUST_USE enum err peer_hello(struct peer *p, struct bytes actor, uint64_t incarnation,
                             const struct channel *native, bool *need_bootstrap);
/* Both sides have `transit = on`, or not both, as an introduction has said. */
void peer_transits(struct peer *p, bool transits);
/* An actor of theirs lives. */
void peer_beat(struct peer *p, struct announced_actor *actor);
/* Applies the operations of a route payload to an actor of theirs, as far as they may have them. */
void peer_routes(struct peer *p, struct announced_actor *actor, const struct emqx_control *c);
/* Takes a frame of our dialect; `actor` is who was introduced on that connection, or NULL. false:
 * no room now, offer it again, whole. *fault: NULL, or why the connection must be given up. */
bool peer_take_frame(struct peer *p, const struct channel *from, struct announced_actor *actor,
                     struct bytes payload, const char **fault);
/* For link/peer_frames.c: a broker of ours has accepted us on a connection that it has opened; our
 * messages take the connection that there is for them; and whether the link is up now. */
void peer_welcomed(struct peer *p, const struct native_frame *f);
void peer_carry_on(struct peer *p);
/* Whether they are to take it when what is on the way on another has come. */
bool peer_is_moving(struct peer *p);
void peer_look_up(struct peer *p);
/* And, for link/peer_change.c too, that it is down: what it needs is not there any more. */
void peer_look_left(struct peer *p, const char *why, const char *what_next);
extern const char peer_left_by_them[];
/* A connection that lived here as a client is gone. */
void peer_channel_gone(struct peer *p, const struct channel *channel);

/* A packet of theirs with so many bytes was taken: after too many they are not read for a while. */
void peer_received(struct peer *p, uint64_t bytes);
/* More or less of theirs waits: while it is much they are not read. */
void peer_waits(struct peer *p);

#endif
