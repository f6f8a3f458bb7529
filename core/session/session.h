/* core/session/session.h -- what outlives a connection: subscriptions, windows, waiting messages.
 *
 * A session lives on the home worker of its client id and never moves. This file keeps its parts in
 * order; what is sent when is core/broker/deliver.c.
 *
 * Threads  the owning worker only.
 */
#ifndef CORE_SESSION_SESSION_H
#define CORE_SESSION_SESSION_H

#include "core/base/slab.h"
#include "core/base/table.h"
#include "core/base/timer.h"
#include "core/mqtt/message.h"
#include "core/session/filters.h"
#include "core/session/idset.h"

struct client;
struct share;
struct ask;

/* One message owed to this session: waiting, or in flight. */
enum delivery_state {
    DELIVERY_FREE,
    DELIVERY_SENT,     /* PUBLISH left; PUBACK or PUBREC is due */
    DELIVERY_HELD,     /* left on an earlier connection; has yet to be sent again on this one */
    DELIVERY_RELEASED, /* PUBREL left; PUBCOMP is due; the message is gone */
};

struct delivery {
    struct message *message;
    uint32_t *more_ids; /* [0] how many, then all subscription identifiers; NULL: at most one */
    uint32_t subscription_id; /* 0: none */
    uint32_t sequence;        /* in flight: order of sending */
    struct handle group;      /* generation 0: no shared group */
    uint16_t group_home;
    uint16_t packet_id;
    uint8_t qos;
    uint8_t state; /* enum delivery_state */
    bool retain;
};

/* A message the session will publish when its client goes without a word. */
struct will {
    struct message *message;
    uint32_t delay;  /* seconds */
    uint32_t expiry; /* seconds, counted from its publication */
    bool has_expiry;
    bool is_granted; /* by the net, when it was left: the ACL is not asked */
};

/* One subscription: of a filter, or of a shared group. */
struct subscription {
    struct filter *filter; /* NULL: shared */
    struct share *share;
    uint32_t at; /* place in filter->v */
};

struct session {
    struct table_node node; /* by hash of the client id */
    struct client *client;  /* NULL: no connection */
    struct subscription *subs;
    struct delivery *inflight; /* by packet id & (capacity - 1) */
    struct delivery *queue;    /* ring */
    struct idset received;     /* incoming QoS 2 ids not released; marked: of earlier connections */
    uint16_t *resend;          /* packet ids to be sent again, oldest first; NULL: none */
    struct will *will;
    struct ask *asks;   /* questions for retained messages; the first is under way */
    uint8_t *id;        /* the client identifier, then the user name */
    struct timer timer; /* end of an absent session */
    struct timer will_timer;
    uint64_t publish_mark; /* the publish it was last met in */
    uint32_t gather_at;    /* and its place there */
    uint32_t sub_count, sub_capacity;
    uint32_t inflight_count, inflight_capacity;
    uint32_t held_count; /* of those in flight: DELIVERY_HELD */
    uint32_t resend_at, resend_count;
    uint32_t queue_head, queue_count, queue_capacity, queue_bytes;
    uint32_t expiry; /* seconds after the connection; UINT32_MAX: never */
    uint32_t next_sequence;
    uint32_t ask_count;
    uint16_t next_packet_id;
    uint16_t id_count, user_count;
    uint16_t acl_version; /* of what is known about its rights: see core/broker/access.c */
    uint8_t protocol;
    bool is_ending : 1;      /* session_end is running */
    bool has_user : 1;       /* its client gave a user name; an empty one is a name */
    bool is_local : 1;       /* its client's listener is on a loopback address */
    bool is_queue_stale : 1; /* some of what waits was judged by other rights */
    bool has_claim : 1;      /* its client has brought rules of its own: see there, too */
};

/* Gives it its client identifier, before anything else. false: no memory. */
bool session_set_id(struct session *s, struct bytes id);
/* Its client identifier, until session_set_user. */
struct bytes session_id(const struct session *s);
/* The user name its client goes by; NULL: it gave none. false: no memory, nothing changed. */
bool session_set_user(struct session *s, const struct bytes *user);
/* See session_set_user; lives until the next one. Empty also where there is none. */
struct bytes session_user(const struct session *s);
/* Whether its client goes by this name (or by none). */
bool session_has_user(const struct session *s, const struct bytes *user);

/* Remembers a subscription.  UINT32_MAX: no memory. Its place otherwise. */
uint32_t session_add_subscription(struct session *s, struct subscription sub);
/* Forgets the one at `at`; the last one moves to its place and its filter or share is told. */
void session_drop_subscription(struct session *s, uint32_t at);
/* The subscription to this filter: its place, or UINT32_MAX. Searches the shorter list. */
uint32_t session_find_filter(const struct session *s, const struct filter *f);

/* Puts a delivery in flight under a fresh packet id (in *d afterwards). NULL: no memory. The caller
 * has seen that the window has room (inflight_count < 65535). */
struct delivery *session_send(struct session *s, const struct delivery *d);
/* The one in flight with this packet id, or NULL. */
struct delivery *session_inflight(struct session *s, uint16_t packet_id);
/* PUBREC has come: RELEASED from now on. */
void session_accept(struct session *s, struct delivery *d);
/* Frees its packet id, message and identifiers. */
void session_done(struct session *s, struct delivery *d);
/* Gives back the room for what is in flight, in either direction, if nothing is: for one that has
 * become quiet. */
void session_trim(struct session *s);
/* A new connection: everything that was sent is held, and `resend` lists it oldest first.
 * false: no memory. */
bool session_hold(struct session *s);
/* The next one to be sent again, SENT from now on, or NULL when none is held. */
struct delivery *session_unhold(struct session *s);
/* All in flight, oldest first, into v (room for inflight_count); returns how many. */
uint32_t session_inflight_sorted(struct session *s, struct delivery **v);

/* Appends to the waiting ones; takes over the reference in d.  false: no memory. */
bool session_push(struct session *s, const struct delivery *d);
/* The oldest waiting one, or NULL; and takes it off without freeing (the caller has it). */
struct delivery *session_peek(struct session *s);
void session_pop(struct session *s);
/* Lets go of what a delivery holds. */
void delivery_fini(struct delivery *d);

/* Frees windows, queues and lists (not subscriptions' filters, asks or timers: the broker's). */
void session_fini(struct session *s);

#endif
