/* tests/sim/clients.h -- simulated MQTT clients that keep to the rules.
 *
 * An actor is somebody with a client id and a client's memory of its session; a line is one of its
 * connections. Actors draw what they do from the seed (clients.c); what the broker sends is checked
 * packet by packet and told to the model (receive.c).
 */
#ifndef TESTS_SIM_CLIENTS_H
#define TESTS_SIM_CLIENTS_H

#include "core/mqtt/packet.h"
#include "tests/sim/model.h"
#include "tests/sim/world.h"

#define FILTERS_MAX 3
#define ALIASES 16

/* A QoS 1 or 2 message from an actor, until PUBACK or PUBCOMP. */
enum out_state { OUT_SENT, OUT_RECEIVED, OUT_RELEASED };
struct outgoing {
    uint16_t packet_id;
    uint8_t qos;
    enum out_state state;
    uint32_t message; /* as sent last: what is sent again carries a number of its own */
    uint32_t first;   /* QoS 2: the one that counts, once it was taken */
    void *line;       /* on which it was sent first */
    const struct m_session *session; /* whose it is, once it was taken */
    bool was_taken;                  /* the broker has taken it, on this or an earlier line */
    bool taken_now;                  /* on this line */
};

/* A QoS 1 or 2 message to an actor, from PUBLISH until the broker has taken PUBACK or PUBCOMP. */
struct incoming {
    uint16_t packet_id;
    uint8_t qos;
    uint32_t message;
    uint64_t order;
    void *line; /* that brought the PUBLISH last */
    const struct m_session *session;
    bool rec_taken;  /* the broker has taken PUBREC */
    bool released;   /* PUBREL has come */
    bool again;      /* the session was resumed: PUBLISH or PUBREL must come again */
    bool may_vanish; /* it was too large for a connection since, or was a group's */
};

/* A SUBSCRIBE or UNSUBSCRIBE that has no answer yet. */
struct request {
    uint16_t packet_id;
    bool is_unsubscribe;
    uint32_t count;
    struct m_filter filters[FILTERS_MAX];
    uint32_t subs[FILTERS_MAX]; /* their places in the model, once taken */
    bool had[FILTERS_MAX];      /* UNSUBSCRIBE: there was one */
    bool is_taken;
};

/* A packet on its way to the broker. */
struct sent {
    uint64_t end; /* position in the stream behind it */
    enum packet_type type;
    uint16_t packet_id;
    uint32_t message;
};

/* An answer the client has yet to write. */
struct todo {
    enum packet_type type;
    uint16_t packet_id;
};

enum line_state { LINE_OPENING, LINE_UP, LINE_OVER };

struct actor;
struct line {
    struct actor *actor;
    uint32_t who; /* whom messages from here are from */
    struct wire *wire;
    enum line_state state;
    struct m_connect connect;
    struct m_session *session; /* NULL: CONNECT not taken yet */
    bool is_muted;             /* a newer line is up: what comes here is not listened to any more */
    bool is_resumed;           /* CONNACK said so */
    bool was_stalled;
    bool said_bye, bye_taken, bye_is_clean;
    uint32_t bye_expiry_s; /* with has_bye_expiry */
    bool has_bye_expiry;
    bool dropped;    /* we hung up */
    bool told_over;  /* DISCONNECT 0x8E came */
    bool is_refused; /* something on it was wrong: look no further */
    uint16_t keep_alive, receive_max, alias_max;
    uint16_t broker_receive_max, broker_alias_max;
    uint32_t pings;
    uint64_t opened_ms, last_taken_ms;
    uint64_t taken_step; /* when its CONNECT was taken */
    uint64_t last_again; /* order of what came again last */
    char aliases_in[ALIASES][NAME_BYTES], aliases_out[ALIASES][NAME_BYTES];
    struct sent *sent;
    uint32_t sent_first, sent_count, sent_capacity;
    struct todo *todo;
    uint32_t todo_first, todo_count, todo_capacity;
    struct request *requests;
    uint32_t request_count, request_capacity;
    uint8_t *rx;
    uint32_t rx_count, rx_capacity;
};

struct actor {
    struct clients *all;
    uint32_t number;
    char id[NAME_BYTES]; /* empty: lets the broker choose */
    enum protocol protocol;
    uint32_t user;      /* mostly */
    struct line *line;  /* the newest, or NULL */
    struct line *taken; /* the one whose CONNECT the broker took last, or NULL */
    struct outgoing *out;
    uint32_t out_count, out_capacity;
    struct incoming *in;
    uint32_t in_count, in_capacity;
    uint64_t in_order;
    uint16_t last_id;
};

struct clients {
    struct sim *sim;
    struct model *model;
    struct world *world;
    struct actor actors[16];
    uint32_t actor_count;
    struct line **lines; /* all that ever were */
    uint32_t line_count, line_capacity;
};

/* Actors with drawn protocols and client ids, none connected; and their end. */
void clients_init(struct clients *c, struct sim *sim, struct model *model);
void clients_fini(struct clients *c);
/* What the world tells the clients. */
struct listener clients_listener(struct clients *c);

/* A drawn client does a drawn thing. */
void clients_act(struct clients *c);
/* Nobody starts anything; everybody answers and reads, until nothing moves. Then the model and the
 * clients look whether everything is there. */
void clients_rest(struct clients *c);
/* At a rest: other rights count from now on, drawn, or those without an ACL. */
void clients_new_rights(struct clients *c, bool is_none);
/* Everybody comes back, gets what he is owed, and ends for good. */
void clients_finish(struct clients *c);

/* ---- between clients.c, send.c and receive.c ---- */

/* A new connection of an actor with a drawn CONNECT. `is_plain`: no will, nothing that could end
 * the connection or hold anything back. */
void line_connect(struct actor *a, bool may_resume, bool is_plain);
/* Each writes one packet, its content drawn from the seed. */
void line_publish(struct line *l);
void line_delete_retained(struct line *l, const char *topic);
void line_subscribe(struct line *l);
void line_unsubscribe(struct line *l);
void line_ping(struct line *l);
void line_disconnect(struct line *l, bool is_clean);
/* Closes the socket without a word. */
void line_drop(struct line *l);
/* Writes the oldest answer that waits; false: none did. */
bool line_answer(struct line *l);
/* The session goes on: sends again what the broker has not acknowledged [MQTT-4.4.0-1]. */
void line_send_again(struct line *l);
struct outgoing *actor_outgoing(struct actor *a, uint16_t packet_id);
/* Whether it was sent on a connection other than `l` that the broker has yet to take. */
bool outgoing_is_early(const struct outgoing *o, const struct line *l);
struct incoming *actor_incoming(struct actor *a, uint16_t packet_id);
void actor_drop_incoming(struct actor *a, struct incoming *in);
/* The broker resumed the session on `l`: what of it need not come again? */
void line_mark_vanishing(struct line *l);
void line_todo(struct line *l, enum packet_type type, uint16_t packet_id);
/* Bytes came from the broker. */
void line_received(struct line *l, struct bytes b);
/* The payload of a message: its number and then as many letters as it takes. */
void payload_write(uint8_t *to, uint32_t count, uint32_t message);

#endif
