/* tools/load_client.h -- one MQTT client of the load generator: a wire, and the protocol on it.
 *
 * Connects, subscribes to one filter if it has one, and is then ready; acknowledges by itself what
 * it receives. Sends no pings: its keep alive has to be longer than the run. What a bare client
 * receives has no topic.
 *
 * Threads  one.
 * Memory   clients live until the loop is closed; texts they are given live longer.
 */
#ifndef TOOLS_LOAD_CLIENT_H
#define TOOLS_LOAD_CLIENT_H

#include "core/mqtt/packet.h"
#include "tools/load_wire.h"

struct load_client;

/* What a client tells its user. */
struct load_client_calls {
    /* Connected, and subscribed if it had to. */
    void (*on_ready)(struct load_client *c);
    /* A message came; `now_us` is when. It is acknowledged already. */
    void (*on_message)(struct load_client *c, const struct packet_publish *p, uint64_t now_us);
    /* The handshake of a message of ours is over. */
    void (*on_ack)(struct load_client *c, uint16_t packet_id, bool is_refused);
    /* All that was written has left. */
    void (*on_sent)(struct load_client *c);
    /* The connection ended, and not by us; `why` is a text of static life. */
    void (*on_gone)(struct load_client *c, const char *why);
    /* Those that follow may be NULL. What was asked for after the first subscription is granted,
     * or given up. */
    void (*on_suback)(struct load_client *c, uint16_t packet_id);
    void (*on_unsuback)(struct load_client *c, uint16_t packet_id);
    /* The connection is over, in whatever way, and the client may be opened again. */
    void (*on_free)(struct load_client *c);
};

/* What all clients share. */
struct load_client_setup {
    const struct load_client_calls *calls;
    void *user;
    enum protocol protocol;
    bool is_bare; /* no MQTT, but frames of tools/load_bare.h */
    uint8_t subscribe_qos;
    uint16_t keep_alive;
    uint32_t packet_bytes_max;
    struct bytes username, password;
    const struct sockaddr *to;
    socklen_t to_bytes;
};

enum load_client_state {
    LOAD_CLIENT_IDLE,
    LOAD_CLIENT_CONNECTING,
    LOAD_CLIENT_SUBSCRIBING,
    LOAD_CLIENT_READY,
    LOAD_CLIENT_GONE,
};

#define LOAD_CLIENT_ID_BYTES 32

struct load_client {
    struct load_wire wire;
    const struct load_client_setup *setup;
    enum load_client_state state;
    uint16_t receive_maximum; /* the broker's, once connected */
    uint32_t idx;
    char id[LOAD_CLIENT_ID_BYTES];
    struct bytes filter; /* empty: subscribes to nothing */
};

/* What a loop's wires call when they are embedded in clients. */
extern const struct load_wire_calls load_client_wire_calls;

/* Starts to connect, the first time or after on_free; `id` and `filter` are set. Returns as
 * load_wire_open. */
MUST_USE enum err load_client_open(struct load_client *c, struct load_loop *loop,
                                   const struct sockaddr *from);
/* Writes a PUBLISH; false without memory. */
bool load_client_publish(struct load_client *c, const struct publish_out *p);
/* Asks for a subscription, or gives one up; the answer comes as on_suback or on_unsuback. */
void load_client_subscribe(struct load_client *c, uint16_t packet_id, struct bytes filter);
void load_client_unsubscribe(struct load_client *c, uint16_t packet_id, struct bytes filter);
/* Ends the connection without a word. */
void load_client_cut(struct load_client *c);
/* Says DISCONNECT; the broker is the one that closes. */
void load_client_leave(struct load_client *c);

#endif
