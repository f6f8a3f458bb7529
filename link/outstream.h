/* link/outstream.h -- messages for one native peer: waiting, sent, acknowledged.
 *
 * Two queues. `waiting` holds what was never sent, oldest first. `sent` holds what has a sequence
 * and is not acknowledged, in order: QoS 1 and 2 with their message, to be sent again on the next
 * connection; of QoS 0 only the size, as long as it is in flight. A sequence is given at the first
 * sending, counts from 1 and never repeats within a boot, so only what was sent can leave a gap.
 *
 *     connection stands   outstream_open, send that OPEN
 *     OPENED comes        outstream_rewind; then send frames while outstream_next gives one
 *     ACK comes           outstream_ack; then as above
 *     connection is gone  outstream_gone
 *
 * The peer's OPENED says exactly what it took, so what is sent again was not taken: it can expire,
 * be too old or too large like what waits. Until OPENED it stays. (A peer that still reads an older
 * connection then may take what was counted as lost here, but nothing twice.)
 *
 * Bound: the cost of all messages in it (message_cost) is at most bytes_max. At the bound
 *   DROP_OLDEST  the oldest that wait go; when that would not be enough, the new one
 *   DROP_NEWEST  the new one goes
 *   BLOCK        it is taken all the same: the owner, who asks outstream_is_full, keeps others
 *                from publishing, and only what was on its way already comes
 * What was sent is never dropped for room: it would free memory, but its arrival is near.
 * Every message lost here is counted once, by cause, in `lost`; QoS 0 in flight when a connection
 * ends is not known to be lost and not counted. A publisher that waits for it (link/acks.h) hears
 * of it, and of what was acknowledged.
 *
 * Invariant: live <= sent.count; those before `live` were sent on the present connection.
 *
 * Threads  the worker that owns it; pure: time is given in.
 * Memory   a reference to each message.
 */
#ifndef LINK_OUTSTREAM_H
#define LINK_OUTSTREAM_H

#include "link/acks.h"
#include "link/native.h"

/* What it may hold also where memory is short. */
#define OUTSTREAM_LEAST_BYTES (1u << 20)
/* Messages in one frame at most. */
#define OUTSTREAM_FRAME_MESSAGES 256u
/* Messages in `sent`, whatever the peer grants. At the bound nothing new is sent. */
#define OUTSTREAM_SENT_MAX 65536u

enum outstream_full { OUTSTREAM_DROP_OLDEST, OUTSTREAM_DROP_NEWEST, OUTSTREAM_BLOCK };

struct outstream_entry {
    struct message *message; /* NULL: nothing that could be sent again */
    uint64_t since_ms;       /* when it was pushed */
    uint64_t sequence;       /* in `sent` */
    uint32_t bytes;          /* of its record while it is in flight; else 0 */
};

/* A queue that grows in powers of two and gives its memory back when it is empty. */
struct outstream_ring {
    struct outstream_entry *v;
    uint32_t head, count, capacity;
};

struct outstream_lost {
    uint64_t full;      /* the bound was reached */
    uint64_t expired;   /* message expiry passed */
    uint64_t aged;      /* was here longer than age_max_ms */
    uint64_t too_large; /* larger than the other side takes */
    uint64_t memory;    /* the allocator had nothing */
};

struct outstream_config {
    uint64_t boot;       /* of this process */
    uint32_t stream;     /* its number among */
    uint32_t streams;    /* those of the link */
    uint64_t bytes_max;  /* of messages */
    uint64_t age_max_ms; /* 0: no age is too old */
    enum outstream_full full;
};

/* Others read it: counts, bytes, lost, again. */
struct outstream {
    struct outstream_config config;
    struct outstream_ring waiting, sent;
    uint64_t waiting_bytes;        /* cost of what waits */
    uint64_t kept_bytes;           /* cost of messages in `sent` */
    uint32_t kept_count;           /* such messages */
    uint32_t live;                 /* of `sent`, those sent on the present connection */
    struct native_window inflight; /* in flight on it */
    struct native_window window;   /* granted on it */
    uint32_t frame_max;            /* bytes of a frame the other side takes */
    uint64_t next_sequence;
    bool is_open;        /* OPENED has come on the present connection */
    bool must_not_grow;  /* beyond OUTSTREAM_LEAST_BYTES: set by the owner where memory is short */
    uint64_t again;      /* records that were sent again */
    struct acks_of acks; /* who waits for what is in it */
    struct outstream_lost lost;
};

/* Empty. fini lets go of everything. */
void outstream_init(struct outstream *s, const struct outstream_config *config);
void outstream_fini(struct outstream *s);

/* Appends a message (takes a reference), or drops by the rule above and counts. */
void outstream_push(struct outstream *s, struct message *m, uint64_t now_ms);
/* Whether it is at its bound. */
bool outstream_is_full(const struct outstream *s);

/* Drops from the front what waits and has expired or is too old, as outstream_next and a full
 * outstream_push do: for now and then, while no connection stands. */
void outstream_sweep(struct outstream *s, uint64_t now_ms);

/* The OPEN that begins it on a connection. An OPENED or ACK of another stream is ERR_PEER below. */
void outstream_open(const struct outstream *s, struct native_frame *out);

/* An OPENED came: what the peer has taken goes, the rest will be sent again, in order. No frame is
 * larger than `frame_max` (native_frame_max). ERR_PEER: another boot, or what was never sent. */
MUST_USE enum err outstream_rewind(struct outstream *s, const struct native_frame *opened,
                                   uint32_t frame_max);

/* An ACK came. ERR_PEER as above, or no OPENED before it. */
MUST_USE enum err outstream_ack(struct outstream *s, const struct native_frame *ack);

/* The connection is gone. */
void outstream_gone(struct outstream *s);

/* Takes the oldest message out, sent or not, which goes another way; the reference is the caller's,
 * and so is who waits for it. *since_ms: when it came. NULL: there is none. Only while no
 * connection stands. */
struct message *outstream_pop(struct outstream *s, uint64_t *since_ms);

struct outstream_record {
    struct message *message; /* one reference is the caller's now */
    uint32_t head_bytes;     /* of its record, without the payload */
};

/* A MESSAGES frame: native_messages_put_head(first, count), then for each message
 * native_record_put_head with the same now_ms, and its payload. */
struct outstream_frame {
    uint64_t first;
    uint32_t count;
    uint32_t bytes; /* of all of it */
    bool is_again;  /* these were sent before */
    struct outstream_record records[OUTSTREAM_FRAME_MESSAGES];
};

/* What to send next, or false: nothing, or the window is full, or there is no memory to note what
 * is sent. It counts as sent from now on. A frame is no larger than `room` and NATIVE_FRAME_BYTES
 * unless it holds one record alone. */
bool outstream_next(struct outstream *s, uint64_t now_ms, uint32_t room,
                    struct outstream_frame *out);

/* A mark behind all that is in it now, and later whether none of that is in it any more. */
uint64_t outstream_mark(const struct outstream *s);
bool outstream_is_past(const struct outstream *s, uint64_t mark);

/* How long the oldest message is here; 0: there is none. And all that were lost. */
uint64_t outstream_age_ms(const struct outstream *s, uint64_t now_ms);
uint64_t outstream_lost_sum(const struct outstream *s);

#endif
