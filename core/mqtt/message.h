/* core/mqtt/message.h -- a published message, and the bytes that workers share of a large one.
 *
 * A `struct publish` is a message on its way: views that somebody else owns. Who must keep it makes
 * a `struct message` of it once per worker; sessions of that worker count references without
 * atomics. Small bodies are copied into it; large ones stay in a blob, which is counted once per
 * worker, never per session, and goes home by its last holder, where it is freed.
 *
 * Body layout everywhere: topic, then property block (as it travels, see props_forward), then
 * payload, contiguous.
 */
#ifndef CORE_MQTT_MESSAGE_H
#define CORE_MQTT_MESSAGE_H

#include "core/base/atomic.h"
#include "core/base/bytes.h"

/* Bytes of one large message, shared by workers. */
struct blob {
    _Atomic uint32_t refs; /* workers that hold it */
    uint32_t bytes_count;
    struct blob *next; /* on the way home */
    struct blob_home *home;
    uint8_t bytes[];
};

/* Where blobs of one worker come back to: a stack any worker pushes to and the home empties. */
struct blob_home {
    _Alignas(CACHE_LINE) struct blob *_Atomic returned;
    _Alignas(CACHE_LINE) uint64_t held_bytes; /* home only: blobs alive */
};

/* A blob of `n` bytes with one reference, the caller's.  NULL: no memory.  Home only. */
struct blob *blob_create(struct blob_home *home, uint32_t n);
/* One more worker holds it; called by a worker that holds it, before it is posted. */
void blob_share(struct blob *b, uint32_t workers);
/* This worker holds it no longer. The last one pushes it home.  Any worker. */
void blob_release(struct blob *b);
/* Frees what came back.  Home only, once per turn. */
void blob_home_collect(struct blob_home *home);

struct session;
struct message;
struct owed;
struct receipt;

/* Whether a message remembers who published it: its client id, and its user name if it gave one. */
enum source { SOURCE_UNKNOWN, SOURCE_NAMELESS, SOURCE_USER };

/* A message on its way through one worker's turn. All views live for the call. */
struct publish {
    struct bytes topic, props, payload;
    uint64_t topic_hash;
    uint64_t expires_ms; /* moment on the monotonic clock; 0: never */
    uint64_t stamp_ms;   /* wall clock when it was published here */
    uint64_t sequence;   /* of retained publishes, its stamp (core/broker/keep.c): a later one is
                          * higher; 0: none yet */
    uint8_t qos;
    bool retain;
    bool from_link; /* came from another cluster: is not forwarded again */
    bool is_kept;   /* and yet it is retained here as one that was published here */
    bool is_will;
    bool is_wide;         /* several sessions of this worker get it */
    bool is_due;          /* nobody can be parked for it: a link's bound does not hold it up */
    bool names_travel;    /* to groups, too: they may have to send it over a link */
    bool no_groups;       /* shared groups get it elsewhere, and none does here */
    uint8_t group_hops;   /* links it has crossed for one shared group alone; 0: it is for all */
    uint8_t protocol;     /* of the publisher: 3, 4, 5 */
    struct session *from; /* publisher, if its session lives on this worker; else NULL */
    struct bytes from_id; /* publisher's client id and user name, for links and for `source` */
    struct bytes from_user;
    uint64_t from_hash;      /* with from_link, of that client id; 0: it has none */
    uint8_t source;          /* enum source: what publish_message keeps of these two */
    struct owed **owed;      /* where to leave what its acknowledgement waits for, if links are to
                              * have it first; NULL: it does not wait */
    struct receipt *receipt; /* towards a link worker: goes back when they have it; or NULL */
    uint64_t tag;            /* kept with the message, for who makes it; 0: none */
    struct bytes group;      /* to a link: the one group it is for, GROUP/FILTER; else empty */
    struct bytes way;        /* where links take it: for link/ alone; then it has no group */
    struct blob *blob;       /* holds the body, if it is large; one reference is the caller's */
    struct message *message; /* made on demand by publish_message; released by the caller */
};

/* Kept by sessions, retained store and output queues of one worker. Immutable. */
struct message {
    uint32_t refs; /* of this worker */
    uint32_t payload_count;
    uint32_t props_count;
    uint16_t topic_count;
    uint16_t from_id_count, from_user_count, extra_count;
    uint8_t qos : 2;
    uint8_t protocol : 6;
    uint8_t source; /* enum source */
    bool retain : 1;
    bool from_link : 1;
    bool is_unsaid : 1; /* retained here, but nobody was told of it: a link will bring it */
    bool has_tag : 1;   /* it stands behind all else */
    bool no_groups : 1; /* this and the next: as the publish it came with */
    bool has_way : 1;   /* what stands behind the names is a way, else a group */
    uint8_t group_hops;
    uint64_t expires_ms;
    uint64_t stamp_ms;
    uint64_t sequence; /* as the publish it came with */
    struct blob *blob; /* NULL: the body follows, behind the names of the source */
    const uint8_t *body;
    uint64_t *waiting_bytes; /* the worker's sum, minus which it is freed */
};

/* The message of a publish, made at the first call; the reference stays the publish's (take one
 * more with message_ref to keep it). `waiting` is the worker's sum of bytes held in messages.
 * NULL: no memory. */
struct message *publish_message(struct publish *p, uint64_t *waiting);
/* Lets go of what publish_message made.  NULL is fine. */
void publish_fini(struct publish *p);
/* A publish that speaks for a kept message; p->message is set and borrowed: no publish_fini. */
void publish_of_message(struct publish *p, struct message *m);

/* One reference more, and one less; the last one frees it.  NULL is fine for release. */
struct message *message_ref(struct message *m);
/* See message_ref. */
void message_release(struct message *m);
/* The parts of its body, as long as it is held. */
struct bytes message_topic(const struct message *m);
struct bytes message_props(const struct message *m);
struct bytes message_payload(const struct message *m);
/* The names of its source: empty if it is unknown. */
struct bytes message_from_id(const struct message *m);
/* See message_from_id. */
struct bytes message_from_user(const struct message *m);
/* The tag of the publish it came with; 0: none. */
uint64_t message_tag(const struct message *m);
/* The shared group that it is to a link for, GROUP/FILTER, or nothing. */
struct bytes message_group(const struct message *m);
/* The way of the publish it was made of. */
struct bytes message_way(const struct message *m);
/* Bytes it is counted with in queues. */
uint32_t message_cost(const struct message *m);

#endif
