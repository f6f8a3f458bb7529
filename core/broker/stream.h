/* core/broker/stream.h -- what the net needs to know of whoever speaks on a connection.
 *
 * A broker client and a link's connection are both streams: bytes come in by `input`, what is to
 * leave stands in `outq`, and a stream that has something to send or wants to close puts itself on
 * its shard's dirty list, which the net walks once per turn (one send per connection and turn).
 *
 * Threads  the worker that owns the stream.
 */
#ifndef CORE_BROKER_STREAM_H
#define CORE_BROKER_STREAM_H

#include "core/base/bytes.h"
#include "core/session/outq.h"

struct stream;
struct shard;

/* What became of bytes that were offered. */
enum input {
    INPUT_MORE,   /* all whole packets were taken; what is left is the start of one */
    INPUT_PARKED, /* a packet cannot be taken now (a mailbox is full, a right is asked for): stop
                   * receiving, keep the rest, offer it again, in order: each turn, or when the
                   * answer is there */
    INPUT_CLOSED, /* the stream wants to close; do not offer more */
};

/* Why a connection ended; counted by cause and logged. The names are those of the log. */
enum close_reason {
    CLOSE_NONE,
    CLOSE_CLIENT,          /* DISCONNECT packet */
    CLOSE_EOF,             /* the peer closed the socket */
    CLOSE_SOCKET_ERROR,    /* the kernel says so */
    CLOSE_CONNECT_TIMEOUT, /* no whole CONNECT in time */
    CLOSE_AUTH_TIMEOUT,    /* 0x87: a re-authentication was not gone on with */
    CLOSE_KEEPALIVE,       /* 1.5 times the keep alive passed */
    CLOSE_MALFORMED,       /* 0x81 */
    CLOSE_PROTOCOL_ERROR,  /* 0x82 */
    CLOSE_TOO_LARGE,       /* 0x95 */
    CLOSE_RECEIVE_MAXIMUM, /* 0x93 */
    CLOSE_TOPIC_ALIAS,     /* 0x94 */
    CLOSE_TOPIC_INVALID,   /* 0x90 */
    CLOSE_NOT_AUTHORIZED,  /* 0x87 */
    CLOSE_BAD_CREDENTIALS, /* 0x86 */
    CLOSE_BAD_CLIENT_ID,   /* 0x85 */
    CLOSE_MOUNT_POINT,     /* 0x85 to 0x87: its name cannot stand in the mount point */
    CLOSE_BAD_VERSION,     /* 0x84 */
    CLOSE_TAKEN_OVER,      /* 0x8E */
    CLOSE_QUOTA,           /* 0x97 */
    CLOSE_QUEUE_FULL,      /* queue_full = disconnect */
    CLOSE_UNSUPPORTED,     /* 0x9A, 0x9B and their kin */
    CLOSE_BANNED,          /* 0x9F: too many failed authentications */
    CLOSE_SERVER_FULL,     /* a limit of connections */
    CLOSE_MEMORY,          /* no memory */
    CLOSE_SHUTDOWN,        /* 0x8B */
    CLOSE_ADMIN,           /* 0x98 */
    CLOSE_LINK,            /* a link's own decision */
    CLOSE_LAYERS,          /* TLS or WebSocket broke its own rules; the log says how */
    CLOSE_REASON_COUNT
};

struct stream_ops {
    /* Offers bytes; returns how many were consumed. *need: size of the packet that is not whole
     * yet, 0 when unknown (only with INPUT_MORE). */
    uint32_t (*input)(struct stream *s, struct bytes in, enum input *verdict, uint32_t *need);
    /* Output that waited has left and the queue is below its low mark: more may be written. */
    void (*drained)(struct stream *s);
    /* An outgoing connection stands, its TLS too if it has it (links only; else NULL). */
    void (*opened)(struct stream *s);
    /* TLS has failed, in words for the log; `closed` follows (links only; else NULL). */
    void (*failed)(struct stream *s, const char *why);
    /* The socket is gone for good, nothing of the stream is lent any more; frees the stream. */
    void (*closed)(struct stream *s, enum close_reason why);
};

struct stream {
    const struct stream_ops *ops;
    struct shard *shard;
    void *conn; /* the net's side */
    struct stream *dirty_next;
    struct outq outq;
    bool is_dirty : 1;
    bool close_wanted : 1; /* close when what is in outq has left, or after a short time */
    bool close_now : 1;    /* close without waiting for outq */
    bool wants_room : 1;   /* something waits for what is in outq to leave, for `drained` */
    uint8_t close_why;     /* enum close_reason, with close_wanted or close_now */
    uint32_t heard_ms;     /* low bits of the moment at which bytes came last; set by the net */
};

/* When bytes came last, be they only part of a packet; 24 days ago is forgotten. */
static inline uint64_t stream_heard_ms(const struct stream *s, uint64_t now_ms)
{
    int32_t age = (int32_t)((uint32_t)now_ms - s->heard_ms);

    return age > 0 ? now_ms - (uint32_t)age : now_ms;
}

/* Puts the stream on its shard's dirty list, once. */
void stream_touch(struct stream *s);
/* Asks the net to close after the output has left; the first reason stays. */
void stream_close(struct stream *s, enum close_reason why);
/* Asks the net to close without waiting. */
void stream_abort(struct stream *s, enum close_reason why);

/* The word used in logs and counters. */
const char *close_reason_name(enum close_reason why);

#endif
