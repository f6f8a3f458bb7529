/* link/emqx.h -- the EMQX dialect: topics, client ids and control payloads <-> structs.
 * Forwarded messages: link/emqx_message.h.
 *
 * Decoding takes a plain payload (131, term; link/deflate.h made it plain), checks all of it,
 * copies nothing and allocates nothing: views point into the payload. What is not understood and
 * not needed is passed over (keys of later versions, headers of plugins); what is needed and not
 * right is ERR_PEER. Encoding writes into the caller's buffer; ERR_FULL says how much it would
 * have taken.
 *
 * Threads  any; pure functions.
 */
#ifndef LINK_EMQX_H
#define LINK_EMQX_H

#include "core/base/bytes.h"
#include "core/base/err.h"
#include "link/etf.h"

/* The only protocol version there is; carried, never compared. */
#define EMQX_PROTOCOL_VERSION 1u
/* Route ops that EMQX puts into one payload at most. */
#define EMQX_OPS_MAX 4000u

/* ---- topics: $LINK/cluster/{route,msg,native}/CLUSTER and $LINK/cluster/resp/CLUSTER/ACTOR, where
 * CLUSTER is always the one that publishes or, for resp, subscribes. EMQX knows no `native`; see
 * link/native.h ---- */

enum emqx_topic {
    EMQX_TOPIC_NONE, /* not a topic of a link */
    EMQX_TOPIC_ROUTE,
    EMQX_TOPIC_MSG,
    EMQX_TOPIC_RESP,
    EMQX_TOPIC_NATIVE,
    EMQX_TOPIC_COUNT
};

/* Takes a topic apart. EMQX_TOPIC_NONE also for an empty cluster or actor and for wildcards. *actor
 * is empty but for EMQX_TOPIC_RESP. */
enum emqx_topic emqx_topic_parse(struct bytes topic, struct bytes *cluster, struct bytes *actor);

/* Writes a topic (`actor` only for EMQX_TOPIC_RESP). *size is what it takes; ERR_FULL: `room` is
 * less, nothing was written. */
MUST_USE enum err emqx_topic_put(enum emqx_topic kind, struct bytes cluster, struct bytes actor,
                                 uint8_t *to, uint32_t room, uint32_t *size);

/* ---- client ids of our connections: PREFIX:routesync:SUFFIX and PREFIX:msg:SUFFIX:N ---- */

#define EMQX_SUFFIX_BYTES 8u

/* Eight hex digits that tell this node from others: EMQX takes the beginning of the SHA-1 of the
 * node's name, anything that differs between nodes will do. */
void emqx_suffix(uint64_t hash, uint8_t suffix[EMQX_SUFFIX_BYTES]);

/* Writes a client id; `number` 0: the route connection, else message connection 1, 2, ... *size and
 * ERR_FULL as above. */
MUST_USE enum err emqx_client_id_put(struct bytes prefix, struct bytes suffix, uint32_t number,
                                     uint8_t *to, uint32_t room, uint32_t *size);

/* ---- control payloads ---- */

enum emqx_op { EMQX_ACTOR_INIT, EMQX_ACTOR_INIT_ACK, EMQX_ROUTE, EMQX_HEARTBEAT, EMQX_OP_COUNT };

enum emqx_need { EMQX_NEED_UNDEFINED, EMQX_NEED_FALSE, EMQX_NEED_TRUE };

struct emqx_control {
    enum emqx_op op;
    struct bytes actor;
    uint64_t incarnation; /* not in the ack */
    /* actor_init and its ack */
    uint64_t version;
    /* the highest version of the native dialect that is offered or granted, from key 100 => map
     * {"native" => version}; 0: none (no such key, or a value of any other shape) */
    uint32_t native;
    /* with it: whether "groups" => 1 stands there too, the ability to serve shared groups once over
     * clusters, see link/native.h */
    bool has_groups;
    bool deflates; /* it takes DEFLATED frames: "deflate" => 1 beside it */
    bool transits; /* and "transit" => 1 beside it: messages may pass, see link/native.h */
    /* actor_init: the name by which the sender knows the receiver */
    struct bytes target;
    /* actor_init_ack */
    bool is_accepted;
    struct bytes reason; /* when refused */
    enum emqx_need need_bootstrap;
    /* route: counted and checked; walk them with emqx_ops_begin */
    uint32_t add_count, delete_count;
    struct bytes ops;
};

/* Decodes a control payload of any kind. ERR_PEER: not a map, an unknown operation, a key of it
 * missing, given twice or of the wrong type, an op of the wrong shape. */
MUST_USE enum err emqx_control_decode(struct bytes payload, struct emqx_control *out);

/* Encodes actor_init, actor_init_ack or heartbeat in the order in which EMQX does. For route see
 * emqx_batch. *size and ERR_FULL as above. */
MUST_USE enum err emqx_control_encode(const struct emqx_control *c, uint8_t *to, uint32_t room,
                                      uint32_t *size);

struct emqx_route_op {
    bool is_add;
    struct bytes filter;
    struct bytes id;
};

struct emqx_ops {
    struct etf_reader reader;
    uint32_t left;
};

/* Walks the ops of a decoded EMQX_ROUTE in their order; emqx_ops_next is false at the end. */
struct emqx_ops emqx_ops_begin(const struct emqx_control *route);
bool emqx_ops_next(struct emqx_ops *ops, struct emqx_route_op *op);

/* A route payload that grows while ops fit. Fields are emqx.c's, but for `count`. */
struct emqx_batch {
    struct etf_writer w;
    uint64_t count_at; /* where the list's length stands */
    uint32_t count;
    uint32_t count_max;
};

/* Starts a payload in to[0..room) for at most `count_max` ops. ERR_FULL: not even an empty one
 * fits. */
MUST_USE enum err emqx_batch_begin(struct emqx_batch *b, struct bytes actor, uint64_t incarnation,
                                   uint32_t count_max, uint8_t *to, uint32_t room);
/* Adds an op. ERR_FULL: nothing was added; if count is 0, it can never be sent in such room. */
MUST_USE enum err emqx_batch_add(struct emqx_batch *b, const struct emqx_route_op *op);
/* Closes the payload, for which room was kept, and returns its size. */
uint32_t emqx_batch_end(struct emqx_batch *b);

#endif
