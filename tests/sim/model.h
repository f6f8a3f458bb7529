/* tests/sim/model.h -- what MQTT says must, may and must not happen, in the plainest form.
 *
 * The model keeps records and answers questions about them. Moments are steps of the simulation:
 *
 *   taken   the broker took the packet from the connection: it cannot have had an effect before
 *   acked   the client has the answer: it must have its effect from then on
 *   rest    a moment at which nothing moves anywhere in the world: all that was taken before has
 *           had its effect, and who is connected has all that he is owed
 *
 * Between "taken" and "acked" both are right, because clients are concurrent. So every delivery is
 * judged when it arrives (may it?), and what is missing is judged at a rest (must it have?).
 */
#ifndef TESTS_SIM_MODEL_H
#define TESTS_SIM_MODEL_H

#include "core/base/bytes.h"
#include "tests/sim/rights.h"
#include "tests/sim/sim.h"

#define NAME_BYTES 32

/* A message somebody published, or a will. */
struct m_message {
    uint32_t publisher; /* who, as in m_connect */
    char topic[NAME_BYTES];
    uint32_t payload_count;
    uint8_t qos;
    bool retain, is_will;
    bool is_deletion;  /* empty and retained: nobody can tell two of them apart */
    bool has_note;     /* a user property with its number */
    uint32_t expiry_s; /* 0: none */
    uint64_t offered;  /* the broker may have stored it, if retained; NEVER: no */
    uint64_t t0;       /* in effect not before; NEVER: the broker has not taken it */
    uint64_t t1;       /* in effect not later; for wills only a rest tells */
    uint64_t done;     /* its publisher knows that it is in effect */
    uint64_t settled;  /* the first rest after t1: it is with everybody it was for */
    uint64_t rest;     /* the last rest before t0 */
    uint64_t taken_ms;
    uint32_t users;     /* bits: who published it, as far as the broker knows */
    bool is_denied;     /* when it came, its publisher had no right to it: as if it had not */
    uint32_t last_copy; /* of those that came, or NONE */
};

struct m_filter {
    char group[NAME_BYTES]; /* empty: not shared */
    char filter[NAME_BYTES];
    uint8_t qos;
    bool no_local, retain_as_published;
    uint8_t retain_handling;
    uint32_t id;
};

/* One SUBSCRIBE to one filter. A later one to the same filter is a record of its own. */
struct m_sub {
    struct m_filter f;
    uint64_t taken, acked;
    uint64_t end_taken, end_acked; /* by UNSUBSCRIBE, or because a successor took its place */
    uint32_t successor;            /* place of the one that replaced it, or NONE */
    uint32_t predecessor;          /* and back */
    bool wants_retained;           /* and nobody has checked yet whether it got them */
    void *line;                    /* on which it was made */
};

enum m_kind { KIND_LIVE, KIND_RETAINED, KIND_SHARED, KIND_NONE };

/* A copy of a message that came to a session. */
struct m_delivery {
    struct m_session *session;
    uint32_t message;
    uint8_t qos;
    bool retain;
    uint32_t ids[8];
    uint32_t id_count;
    /* filled by the model */
    enum m_kind kind; /* the reason it is thought to have come for */
    uint32_t sub;     /* KIND_RETAINED and KIND_SHARED: by which of the session's subscriptions */
    uint64_t step;
    uint32_t previous; /* copy of the same message */
    bool is_tried;     /* while reasons are looked for */
};

struct m_order {
    uint32_t publisher;
    char topic[NAME_BYTES];
    uint8_t published_qos, qos;
    uint64_t last;
};

/* One life of a session, from its creation to its end. */
struct m_session {
    uint32_t actor, who;
    uint32_t users; /* bits: all it ever had */
    bool is_v5;
    uint64_t created, ended;
    bool is_doubtful; /* the model cannot know whether it is this one or a fresh one */
    bool is_unknown;  /* and will never know: everything goes */
    bool expect_present, expect_doubt; /* what the next CONNACK must say */
    void *line;                        /* its connection, or NULL */
    void *last_line;                   /* the one it has or had last */
    uint64_t up_since;                 /* CONNACK of that connection; NEVER: not yet */
    uint32_t expiry_s;                 /* NONE: never */
    uint64_t gone_min_ms, gone_max_ms; /* without a connection: it ends between these */
    uint32_t packet_max;               /* smallest that any connection of it accepted; 0: none */
    struct m_sub *subs;
    uint32_t sub_count, sub_capacity;
    struct m_order *orders;
    uint32_t order_count, order_capacity;
    uint64_t *left; /* when its connections ended */
    uint32_t left_count, left_capacity;
};

enum m_will_state {
    WILL_ARMED,    /* its connection stands */
    WILL_WAITING,  /* the connection ended badly; the delay runs */
    WILL_SENT,     /* must be published */
    WILL_DOUBTFUL, /* may be published */
    WILL_DROPPED,  /* must not */
};

struct m_will {
    uint32_t message, actor, user;
    void *line;
    enum m_will_state state;
    uint32_t delay_s;
    bool is_delayed;
    uint64_t due_min_ms, due_max_ms;
};

struct model {
    struct sim *sim;
    uint64_t rest; /* the last one */
    struct m_message *messages;
    uint32_t message_count, message_capacity;
    struct m_delivery *copies;
    uint32_t copy_count, copy_capacity;
    struct m_session **sessions;
    uint32_t session_count, session_capacity;
    struct m_session *current[64]; /* by actor */
    struct m_will *wills;
    uint32_t will_count, will_capacity;
    struct rights rights[8]; /* in the order in which they came to count; the last one counts */
    uint32_t rights_count;
};

struct m_connect {
    uint32_t actor;
    uint32_t who; /* stands for the client id */
    uint32_t user;
    void *line;
    bool is_v5, clean_start;
    bool is_nameless; /* the broker chooses a new client id */
    uint32_t expiry_s, packet_max;
    uint32_t will; /* its message, or NONE */
    uint32_t will_delay_s;
};

/* An empty world, and its end. */
void model_init(struct model *m, struct sim *sim);
void model_fini(struct model *m);

/* Whether a filter matches a topic [MQTT-4.7]. */
bool model_matches(const char *filter, const char *topic);
/* Questions about one filter, with its group. */
bool is_shared(const struct m_filter *f);
bool same_filter(const struct m_filter *a, const struct m_filter *b);

/* ---- what clients write and the broker takes ---- */

/* A message that somebody is about to publish; its number. The copy in `msg` is completed. */
uint32_t model_message(struct model *m, const struct m_message *msg);
void model_publish_taken(struct model *m, uint32_t message, uint32_t user, uint64_t now_ms);
/* The broker could not take it yet, but may have stored it, if retained. */
void model_publish_parked(struct model *m, uint32_t message, uint32_t user);
/* The publisher was told by PUBACK or PUBREC. */
void model_publish_acked(struct model *m, uint32_t message);
/* Whether `0x10 no matching subscribers` would be a lie. */
bool model_has_subscriber(const struct model *m, uint32_t message);

/* SUBSCRIBE: a record, its place; then the broker takes it; then SUBACK says yes. */
uint32_t model_subscribe_taken(struct model *m, struct m_session *s, const struct m_filter *f);
void model_subscribe_acked(struct model *m, struct m_session *s, uint32_t at);
/* UNSUBSCRIBE: the place of the subscription that it ended, or NONE. */
uint32_t model_unsubscribe_taken(struct model *m, struct m_session *s, const struct m_filter *f);
void model_unsubscribe_acked(struct model *m, struct m_session *s, uint32_t at);

/* ---- connections ---- */

/* The broker took a CONNECT; `now_ms` is its worker's time, and its timers have certainly fired up
 * to `timers_ran_ms`. */
struct m_session *model_connect_taken(struct model *m, const struct m_connect *c, uint64_t now_ms,
                                      uint64_t timers_ran_ms);
/* CONNACK: the session it speaks of (another one than before if there was doubt). */
struct m_session *model_connack(struct model *m, struct m_session *s, bool session_present);
/* The connection ends for the broker, cleanly (DISCONNECT 0x00) or not; and is closed. */
void model_line_ending(struct model *m, void *line, bool is_clean, uint64_t now_ms);
void model_line_closed(struct model *m, const void *line, uint64_t now_ms);
/* The session has ended, now. */
void session_over(struct model *m, struct m_session *s);
/* Time has passed. */
void model_time(struct model *m);

/* ---- rights ---- */

/* At a rest: from now on these count. */
void model_set_rights(struct model *m, const struct rights *r);
/* Whether a user has a right now. */
bool model_allows(const struct model *m, uint32_t user, enum right right, const char *topic);
/* Whether all of these users (bits) have it, and had it ever since that step. */
bool model_allowed_since(const struct model *m, uint64_t step, uint32_t users, enum right right,
                         const char *topic);
/* Whether somebody of them had it at some time since. */
bool model_allowed_once(const struct model *m, uint64_t step, uint32_t users, enum right right,
                        const char *topic);
/* Whether there was an ACL at that step. */
bool model_had_rights(const struct model *m, uint64_t step);

/* ---- judgement ---- */

/* At most so many bytes is its PUBLISH to a subscriber. */
uint32_t model_packet_bytes(const struct m_message *p);

/* Whether this deletion may have arrived (deletions have no payload that tells them apart). */
bool model_may_deliver(const struct model *m, const struct m_delivery *d);
/* A message arrived for the first time at a session. */
void model_delivered(struct model *m, struct m_delivery *d);
/* Whether it may have come for a shared group; of a session that is unknown, so are its groups. */
bool model_may_be_shared(const struct model *m, const struct m_session *s, uint32_t message);
/* Nothing moves: is everything there? */
void model_rest(struct model *m);

/* What the gauges must show now, at a rest; false: the model cannot know. */
struct m_gauges {
    uint64_t clients, sessions, subscriptions, shared_subscriptions, retained;
};
bool model_gauges(const struct model *m, struct m_gauges *g);
/* Whether a message on this topic may be retained now. */
bool model_may_be_retained(const struct model *m, const char *topic);

#endif
