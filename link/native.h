/* link/native.h -- the native dialect between Causeway clusters: frames <-> structs.
 *
 * Offered and granted by key 100 of actor_init and its ack (link/emqx.h); the lower version counts.
 * A frame is the payload of one PUBLISH (MQTT 5, QoS 0, no properties) to
 * $LINK/cluster/native/CLUSTER, where CLUSTER is the sender's. Either side of a connection sends
 * them; nobody subscribes to them.
 *
 * A frame is a kind byte and a body without anything behind it. Numbers are little-endian base 128,
 * 7 bits a byte, up to 64 bits in at most 10 bytes, and need not be the shortest; `id8` is 8 bytes,
 * big-endian; `text` is a number and as many bytes; flags are one byte.
 *
 *   1 ROUTES      generation, number, count, ops: flags (1: delete, 2: a passing route), bytes in
 *                 common with the filter before it in this frame (first: 0), text: the rest of the
 *                 filter
 *   2 BEAT        generation, number, count, digest id8, flags (1: all of this generation has been
 *                 announced: what was not heard again in it goes)
 *   3 ROUTES_ACK  generation, number, flags (1: announce all anew in a higher generation)
 *   4 OPEN        boot id8, first, stream, streams
 *   5 OPENED      boot id8, last, window bytes, window messages, stream
 *   6 MESSAGES    first, count, records: flags (3: QoS, 4: retain, 8: expiry, 16: user, 32:
 *                 publisher, 64: retained stamp, 128: group), protocol (a byte; 128: way), stamp,
 *                 [expiry], [retained stamp id8], [text: group, if that is not empty: hops], text:
 *                 topic, [text: publisher's client id], [text: its user name], [text: way], text:
 *                 properties, text: payload
 *   7 ACK         as OPENED
 *   8 HELLO       incarnation, flags (1: groups): introduces who was called, as actor_init does who
 *                 calls
 *   9 WELCOME     incarnation, flags (1: it has no routes of it, 2: refused, it knows this later
 *                 incarnation, 4: groups)
 *  10 RETAINED_ASK  question, part, count, flags (1: these were the last), as many texts: filters
 *  11 RETAINED      question, number, count, records as in MESSAGES
 *  12 RETAINED_END  question, number
 *  13 RETAINED_ACK  question, number
 *  14 DEFLATED      size, a zlib stream of as many bytes: a MESSAGES frame
 *
 * ROUTES and BEAT are one stream, numbered 1, 2, ... within a generation. Count and digest of a
 * BEAT are those of all filters announced after everything before it; the digest is the sum (mod
 * 2^64) of the filters' hashes, see native_digest_key. ROUTES_ACK: all up to `number` is visible.
 * Who is asked too often to announce all anew takes its time (link/route_stream.h).
 * OPEN begins a stream of messages on a connection; `boot` is the sending process, which has
 * `streams` of them, numbered from 0, each on a connection of its own. A publisher's messages are
 * all in one, except that those with a group or a way are in stream 0. Who has opened a connection
 * says in its CONNECT for which stream it is (LINK_PROPERTY); who has none of his own sends stream
 * 0 alone, where theirs comes. Sequences are consecutive in a frame and only grow; what is not
 * above the receiver's `last` of that boot and stream is a double. Beyond `last`, at most the
 * window of records may be in flight, but always one. link/outstream.h and link/instream.h are the
 * two sides, link/lane.h says who has them.
 *
 * Transit: what one neighbour wants may be told to another, and messages for it pass. It is
 * offered and granted by "transit" => 1 beside "native" in the map of key 100, by who has
 * `transit = on` for that link; without it there is no passing route and no way. Names are those of
 * clusters.
 *
 *   A passing route stands in ROUTES in place of a filter: `$`, perhaps `!`, names each with a NUL
 *   behind it, `/`, and the filter. It says: the cluster of the last name wants this, and is
 *   reached from the sender past the clusters before it, in this order, so the first is a
 *   neighbour of the sender; with `!` one of these links is down. It counts in BEAT as any route
 *   does, by the hash of this text. For each filter of each cluster a sender tells one path, of
 *   those it has: one without `!` before one with it, and a shorter one before a longer; not to a
 *   cluster that is in the path; and none of more than PATH_NAMES_MAX names. A receiver takes none
 *   that has its own name or the sender's. A path that changes is told as a new route, before the
 *   old one is deleted. Filters that begin with `$` are not told on. Routes of one path have their
 *   beginning in common, and cost little.
 *   A way stands in a record that is not for its receiver alone: the clusters that this copy is
 *   for, each with a NUL behind it, a NUL, and the clusters that it has passed, likewise, the
 *   first of which published it and the last of which sends it. Who receives it publishes it if it
 *   is named, and sends it on, in copies that name each of the others once, with its own name
 *   behind those that were passed; for one that is the next cluster itself, and alone, without a
 *   way. So a message comes to each cluster by one copy only, whatever routes are or were. Of the
 *   ways to a cluster, one that avoids those that were passed is taken; if there is none, any.
 *   When PATH_PASSED_MAX were passed, it goes on only to who is linked here, and no way has more.
 *
 * link/path.h has both texts, link/transit.h the rules at work.
 *
 * RETAINED_ASK asks for what is retained under filters, in parts numbered 1, 2, ...; a question
 * takes the place of the one before. It is answered, where MESSAGES go, by RETAINED frames numbered
 * 1, 2, ... and RETAINED_END with the number of the last, and from then on every retained message
 * under the filters comes as one of MESSAGES, also where no route wants it. The answer may begin
 * anew at any time, with higher numbers. At most NATIVE_RETAINED_WINDOW frames are beyond the
 * highest RETAINED_ACK. A record without payload there: its topic was removed. Retained stamps are
 * compared as numbers: what has the higher one is later, in all clusters; see core/broker/keep.c.
 *
 * Who introduces itself may offer to name its shared groups: actor_init with "groups" => 1 in the
 * map of key 100, HELLO with its flag; and is granted that by the same in the answer. Then each of
 * its shared subscriptions is a route `$share/GROUP/FILTER` instead of one to the filter, told only
 * if the link imports all of the filter, and taken only if it exports all of it; it hides no other
 * and is hidden by none. Who has granted it serves each group once over all clusters (by the rules
 * of core/broker/group.h), and says in each record to that cluster for whom it is, whatever becomes
 * of the link meanwhile:
 *   without a group     for all that want it, as ever: it was pushed when nothing was granted
 *   an empty group      for all but shared groups: these are served where it was published
 *   GROUP/FILTER        for that one group alone, and not to be retained. `hops` counts the links
 *                       it has crossed for it, this one included. Whoever has no member of the
 *                       group any more hands it on to a cluster that has, or, if it knows of
 *                       none, back. Such a record has no way.
 *
 * DEFLATED stands for the frame in it, of at most NATIVE_FRAME_BYTES. It is sent only to who has
 * said in its introduction, or in its ack of ours, that it takes it: by a further key, "deflate" =>
 * 1, beside "native". Windows and bounds count the bytes of the frame in it.
 *
 * Decoding checks all of a frame, copies nothing and allocates nothing: views point into it. A kind
 * of a later version is NATIVE_LATER and to be passed over; anything else not right is ERR_PEER.
 *
 * Threads  any; pure functions.
 */
#ifndef LINK_NATIVE_H
#define LINK_NATIVE_H

#include "core/base/err.h"
#include "core/base/hash.h"
#include "core/mqtt/message.h"

/* The highest version spoken here. */
#define NATIVE_VERSION 1u
/* Bytes of a MESSAGES or RETAINED frame, unless it holds one larger record alone. Beyond: ERR_PEER.
 */
#define NATIVE_FRAME_BYTES (64u << 10)
/* Operations in a ROUTES frame, or filters in a RETAINED_ASK, and bytes of all filters of the
 * former, which it can say in much fewer; a first one always may be. Who takes a frame must not be
 * kept from other work for long. Beyond: ERR_PEER. */
#define NATIVE_OPS_MAX 4000u
#define NATIVE_FILTERS_BYTES (1u << 20)
/* Bytes of a filter, a topic, a client id, a user name. Beyond: ERR_PEER. */
#define NATIVE_TEXT_BYTES_MAX 65535u
/* Bytes of a frame of any kind without operations, records or filters. */
#define NATIVE_CONTROL_BYTES_MAX 48u
/* Bytes of the head of a DEFLATED frame at most. */
#define NATIVE_DEFLATED_HEAD_BYTES 6u
/* RETAINED frames that were sent and are not acknowledged. */
#define NATIVE_RETAINED_WINDOW 4u
/* Links that a record can say it has crossed for a group. Beyond: ERR_PEER. */
#define NATIVE_HOPS_MAX 15u

/* Streams of messages of one sender. Beyond: ERR_PEER. */
#define NATIVE_STREAMS_MAX 64u

enum native_kind {
    NATIVE_LATER, /* a kind of a later version */
    NATIVE_ROUTES,
    NATIVE_BEAT,
    NATIVE_ROUTES_ACK,
    NATIVE_OPEN,
    NATIVE_OPENED,
    NATIVE_MESSAGES,
    NATIVE_ACK,
    NATIVE_HELLO,
    NATIVE_WELCOME,
    NATIVE_RETAINED_ASK,
    NATIVE_RETAINED,
    NATIVE_RETAINED_END,
    NATIVE_RETAINED_ACK,
    NATIVE_DEFLATED,
    NATIVE_KIND_COUNT
};

/* What a receiver lets be in flight. */
struct native_window {
    uint64_t bytes, messages; /* bytes of records, heads included */
};

struct native_frame {
    enum native_kind kind;
    uint64_t generation, number; /* routes, beat, routes ack */
    uint64_t question;           /* retained...; `number` counts its parts, or frames answered */
    uint64_t count;              /* of ops in routes, filters in beat and retained ask, records;
                                  * bytes in deflated */
    uint64_t digest;             /* beat */
    bool is_end;                 /* beat: of the announcement; retained ask: the last part */
    bool wants_all;              /* routes ack */
    uint64_t incarnation;        /* hello, welcome */
    bool needs_all, is_refused;  /* welcome */
    bool has_groups;             /* hello, welcome */
    uint64_t boot;               /* open, opened, ack */
    uint64_t first;              /* open, messages; from 1 */
    uint32_t stream;             /* open, opened, ack */
    uint32_t streams;            /* open: of the sender, more than `stream` */
    uint64_t last;               /* opened, ack; 0: none */
    struct native_window window; /* opened, ack */
    struct bytes body;           /* decode: ops or records, to be walked with the functions
                                  * below; of deflated the stream */
};

/* Decodes a frame of any kind. */
MUST_USE enum err native_frame_decode(struct bytes payload, struct native_frame *out);

/* Encodes a frame of any kind but those with a body, which have functions of their own. *size is
 * what it takes; ERR_FULL: `room` is less, nothing was written. */
MUST_USE enum err native_frame_encode(const struct native_frame *f, uint8_t *to, uint32_t room,
                                      uint32_t *size);

/* The largest frame that goes to a topic of `topic_bytes` within a packet of `packet_max` bytes; 0:
 * none does. Up to 3 bytes less than would fit. */
uint32_t native_frame_max(uint32_t packet_max, uint32_t topic_bytes);

/* ---- routes ---- */

struct native_op {
    bool is_add;
    bool is_passing;
    struct bytes filter; /* any bytes: its syntax is the caller's; or a passing route's text */
};

/* Fields are native.c's. */
struct native_ops {
    struct bytes rest;
    uint64_t left;
    uint8_t *filter; /* the one before */
    uint32_t filter_bytes;
};

/* Walks the ops of a decoded NATIVE_ROUTES in their order; false at the end. Filters are put
 * together in `filter`, which has room for NATIVE_TEXT_BYTES_MAX; each lives until the next
 * call. */
struct native_ops native_ops_begin(const struct native_frame *routes, uint8_t *filter);
bool native_ops_next(struct native_ops *ops, struct native_op *op);

/* A ROUTES frame that grows while ops fit. Fields are native.c's, but for `count`. */
struct native_batch {
    uint8_t *to;
    uint32_t room, size;
    uint32_t count_at; /* where the count stands */
    uint32_t count;
    uint8_t *filter; /* the one before */
    uint32_t filter_bytes;
    uint32_t filters_bytes; /* of all */
};

/* Starts a frame in to[0..room); `filter` as in native_ops_begin. ERR_FULL: it does not fit. */
MUST_USE enum err native_batch_begin(struct native_batch *b, uint64_t generation, uint64_t number,
                                     uint8_t *filter, uint8_t *to, uint32_t room);
/* Adds an op. ERR_FULL: nothing was added; if count is 0, it can never be sent in such room. */
MUST_USE enum err native_batch_add(struct native_batch *b, const struct native_op *op);
/* Closes the frame and returns its size. */
uint32_t native_batch_end(struct native_batch *b);

/* The key under which both sides hash filters, with hash_bytes, for the digest of a generation. */
struct hash_key native_digest_key(uint64_t incarnation, uint64_t generation);

/* ---- messages ---- */

struct native_record {
    uint64_t sequence;
    uint64_t stamp_ms;       /* wall clock when it was published there */
    uint64_t retained_stamp; /* 0: none */
    uint32_t expiry_s;       /* seconds left, rounded, at least 1; 0: never */
    uint8_t qos;
    bool retain;
    uint8_t protocol; /* of the publisher: 3, 4, 5 */
    uint8_t source;   /* enum source: which of these two there are */
    struct bytes from_id, from_user;
    struct bytes way; /* empty: for the receiver alone */
    struct bytes topic, props, payload;
    bool no_groups;             /* an empty group */
    struct bytes group, filter; /* of the one group that it is for; empty: there is none */
    uint8_t hops;               /* then: at least 1 */
    /* its group, topic (deeper than TOPIC_LEVELS_MAX, too), properties or names are nothing that
     * MQTT can carry: to be taken and dropped, because it would only come again */
    bool is_unfit;
};

/* Fields are native.c's. */
struct native_records {
    struct bytes rest;
    uint64_t left, sequence;
};

/* Walks the records of a decoded NATIVE_MESSAGES or NATIVE_RETAINED in their order; false at the
 * end. The latter have no sequence. */
struct native_records native_records_begin(const struct native_frame *messages);
bool native_records_next(struct native_records *records, struct native_record *out);

/* A publish that speaks for a record, from a link; its sequence is the retained stamp, its hash is
 * the caller's. */
void native_record_publish(const struct native_record *record, uint64_t now_ms,
                           struct publish *out);

/* A MESSAGES frame is put together in place: its head, then of each record head and payload, the
 * latter from where it is. Sizes first; each _put returns the position behind it. `now_ms` is
 * compared with the message's expiry and must be the same for size and bytes. */
uint32_t native_messages_head_bytes(uint64_t first, uint32_t count);
uint8_t *native_messages_put_head(uint8_t *to, uint64_t first, uint32_t count);
uint32_t native_record_head_bytes(const struct message *m, uint64_t now_ms);
uint8_t *native_record_put_head(uint8_t *to, const struct message *m, uint64_t now_ms);

/* The head of a DEFLATED frame of `size` plain bytes, before its stream. */
uint8_t *native_deflated_put_head(uint8_t *to, uint32_t size);

/* ---- retained messages ---- */

/* Puts a part of a question: the first of `count` filters that fit, *taken of them; if that is all
 * of them, it is the last part. Returns its size; 0: not one fits. */
uint32_t native_retained_ask(uint64_t question, uint64_t part, const struct bytes *filters,
                             uint32_t count, uint8_t *to, uint32_t room, uint32_t *taken);
/* Takes the next filter off what is left of the body of a decoded NATIVE_RETAINED_ASK, where
 * f->count are. */
struct bytes native_retained_filter(struct bytes *left);
/* The head of a RETAINED frame, before its records. */
uint32_t native_retained_head_bytes(uint64_t question, uint64_t number, uint32_t count);
uint8_t *native_retained_put_head(uint8_t *to, uint64_t question, uint64_t number, uint32_t count);

#endif
