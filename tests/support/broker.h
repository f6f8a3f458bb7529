/* tests/support/broker.h -- a whole broker without sockets, turned by hand.
 *
 *     struct broker b;
 *     struct peer *p;
 *
 *     broker_init(&b, 2);
 *     b.config.limits.inflight = 1;            whatever this test needs
 *     broker_start(&b);
 *     p = broker_client(&b, "c1");             connected with MQTT 5, clean start
 *     peer_subscribe(p, "a/#", 1);
 *     broker_settle(&b);
 *     peer_expect(p, PACKET_SUBACK);
 *     broker_stop(&b);                         also compares all gauges with what is there
 *
 * What a peer writes reaches the broker in its worker's next turn, in memory of just that size.
 * What the broker writes reaches the peer when the turn ends, unless the peer does not read.
 * A worker that has gone to sleep runs only when something wakes it, so a lost wake-up shows. A
 * failed CHECK fails the test it happens in.
 */
#ifndef TESTS_SUPPORT_BROKER_H
#define TESTS_SUPPORT_BROKER_H

#include "core/broker/shard.h"
#include "core/mqtt/packet.h"
#include "tests/support/test.h"

#define BROKER_WORKERS_MAX 9u

struct peer;

struct broker {
    struct cluster_config config;       /* set by broker_init, changed before broker_start */
    struct listener_rules listeners[2]; /* 0: on loopback; 1: beyond */
    struct cluster_state *cluster;
    struct peer *peers;
    struct admission *admission; /* of the next connection, which takes it; NULL: none */
    struct acl *acl;             /* of broker_set_acl */
    uint64_t now_ms, wall_ms;
    uint32_t worker_count; /* link workers included */
    bool is_asleep[BROKER_WORKERS_MAX];
    bool is_woken[BROKER_WORKERS_MAX];
    uint64_t wake_at_ms[BROKER_WORKERS_MAX];
};

/* One connection, seen from the client. The fields are for reading, `reads` for writing too. */
struct peer {
    struct peer *next;
    struct broker *broker;
    struct stream *stream; /* NULL: closed */
    uint32_t home;
    enum protocol protocol;
    enum close_reason why; /* once it is closed */
    bool reads;            /* false: what the broker writes stays in its queue */
    bool is_parked;
    bool has_news; /* written since the last offer */
    uint16_t next_packet_id;
    uint8_t *in; /* not taken by the broker yet */
    uint32_t in_count, in_capacity;
    uint8_t *out; /* received from the broker */
    uint32_t out_count, out_at, out_capacity;
    struct packet packet; /* the last one decoded */
};

/* Defines a test that is run in clusters of 1, 2 and 7 workers. Its body finds the number in
 * `workers`; worker 0 and worker workers - 1 are then the same one, neighbours, or far apart. */
#define BROKER_TEST(name)                                                                          \
    static void name##_in(uint32_t workers);                                                       \
    TEST(name##_with_1_worker)                                                                     \
    {                                                                                              \
        name##_in(1);                                                                              \
    }                                                                                              \
    TEST(name##_with_2_workers)                                                                    \
    {                                                                                              \
        name##_in(2);                                                                              \
    }                                                                                              \
    TEST(name##_with_7_workers)                                                                    \
    {                                                                                              \
        name##_in(7);                                                                              \
    }                                                                                              \
    static void name##_in(uint32_t workers)

/* A configuration with wide limits and `workers` workers; nothing runs yet. */
void broker_init(struct broker *b, uint32_t workers);
void broker_start(struct broker *b);
/* This ACL counts from now on, in words of its file; NULL: none. Before broker_start or after it;
 * what the workers have to do about it comes with their next turns. */
void broker_set_acl(struct broker *b, const char *text);
/* Closes all connections, lets everything come to rest, compares gauges, frees. */
void broker_stop(struct broker *b);

/* Frees the peers, after a test has destroyed the cluster in the middle of something. */
void broker_forget_peers(struct broker *b);

/* One turn of one worker, awake or not. */
void broker_turn(struct broker *b, uint32_t worker);
/* Turns of all workers that have a reason to run, until none has. Fails after very many. */
void broker_settle(struct broker *b);
/* When a timer of `ms` has fired at the latest (core/base/timer.h). */
#define BROKER_LATE(ms) ((ms) + (ms) / 64 + 1)
/* `ms` pass, then broker_settle. */
void broker_pass(struct broker *b, uint64_t ms);
/* The sum of a counter over all workers. */
uint64_t broker_sum(const struct broker *b, size_t offset);
#define BROKER_SUM(b, name) broker_sum((b), offsetof(struct stats, name))
/* All gauges against what they count. */
void broker_check_gauges(struct broker *b);

/* The n-th client id (from 0) that is at home at a worker, and the n-th topic whose filter belongs
 * to it. In static memory, for 1000 calls. */
const char *broker_id_at(const struct broker *b, uint32_t worker, uint32_t n);
const char *broker_topic_at(const struct broker *b, uint32_t worker, uint32_t n);

/* ---- connections ---- */

/* A connection at the home of `id`, before its CONNECT. */
struct peer *broker_open(struct broker *b, uint16_t listener, const char *id);
/* Opens a connection and writes its CONNECT; nothing runs. */
struct peer *broker_dial(struct broker *b, uint16_t listener, const struct connect_out *c);
/* Connects with MQTT 5 and clean start; the CONNACK has come and is a success. */
struct peer *broker_client(struct broker *b, const char *id);
/* The same at a listener, for a user (NULL: without a name); `stays`: not clean, and the session
 * outlives the connection. */
struct peer *broker_client_as(struct broker *b, uint16_t listener, enum protocol protocol,
                              const char *id, const char *user, bool stays);
/* The same with a session that stays, and MQTT 3.1.1; not clean. */
struct peer *broker_durable(struct broker *b, const char *id, enum protocol protocol);
/* Connects as `c` says; the CONNACK has come, is a success, and stands in peer->packet. */
struct peer *broker_connect(struct broker *b, const struct connect_out *c);
/* The socket is gone without a word. The peer can still be read. */
void peer_drop(struct peer *p);

/* ---- what a client writes: each call appends to what the broker will be offered ---- */

/* Bytes as they are. */
void peer_write(struct peer *p, struct bytes packet);
/* With the next packet id (QoS 1 and 2), which is returned. */
uint16_t peer_publish(struct peer *p, const char *topic, const char *payload, uint8_t qos);
uint16_t peer_retain(struct peer *p, const char *topic, const char *payload, uint8_t qos);
void peer_publish_out(struct peer *p, const struct publish_out *o);
uint16_t peer_subscribe(struct peer *p, const char *filter, uint8_t qos);
uint16_t peer_subscribe_to(struct peer *p, const struct filter_request *f, uint32_t count,
                           uint32_t subscription_id);
uint16_t peer_unsubscribe(struct peer *p, const char *filter);
void peer_ack(struct peer *p, enum packet_type type, uint16_t packet_id);
void peer_disconnect(struct peer *p, uint8_t reason);
void peer_ping(struct peer *p);

/* ---- what a client reads ---- */

/* The next packet, valid until the broker runs again; NULL: nothing whole is there. */
const struct packet *peer_next(struct peer *p);
/* The next packet must be of this type. */
const struct packet *peer_expect(struct peer *p, enum packet_type type);
/* The next packet must be this PUBLISH. */
const struct packet_publish *peer_expect_publish(struct peer *p, const char *topic,
                                                 const char *payload);
void peer_expect_nothing(struct peer *p);
/* How many PUBLISH packets are there, up to the end of what has come; acknowledges none. */
uint32_t peer_count_publishes(struct peer *p);
/* Reads and acknowledges (QoS 1) messages whose payloads are numbers that go on from `next`, and
 * skips all else, until nothing more comes. Returns the number after the last one. */
uint32_t peer_take_numbered(struct peer *p, uint32_t next);
/* What has not been read is a DISCONNECT with this reason (MQTT 5) or nothing, and it is closed. */
void peer_expect_end(struct peer *p, uint8_t reason, enum close_reason why);
/* Subscribes, settles and reads the SUBACK, which must say `qos`. */
void peer_subscribed(struct peer *p, const char *filter, uint8_t qos);

#endif
