/* link/window.h -- messages for one connection: waiting, sent, acknowledged.
 *
 * Two queues. `waiting` holds what has not been sent, oldest first. `inflight` holds what was sent
 * with QoS 1 and is not acknowledged, in the order of sending; packet ids run without gaps, so an
 * acknowledgement is found by counting. When a connection ends both stay: on the next one
 * everything in flight is sent again first, in order and with DUP, then what waits.
 *
 * Invariant: resent <= inflight.count; unacked is the number of those before `resent` that are not
 * acknowledged, and never more than inflight_max.
 *
 * Threads  the worker that owns it; pure: time is given in.
 * Memory   holds a reference to each record. bytes <= bytes_max, kept by dropping what waits
 *          longest or what comes; only WINDOW_BLOCK takes more, and its owner keeps others from
 *          publishing. Every loss is counted by cause in `lost`; a publisher that
 *          waits for the message (link/acks.h) hears of it, and of what was acknowledged.
 */
#ifndef LINK_WINDOW_H
#define LINK_WINDOW_H

#include "core/base/bytes.h"
#include "core/base/err.h"
#include "core/mqtt/message.h"
#include "link/acks.h"

/* What a window may hold also where memory is short. */
#define WINDOW_LEAST_BYTES (1u << 20)

/* A queue that grows in powers of two. */
struct window_ring {
    struct message **v; /* NULL in `inflight`: acknowledged out of turn */
    uint32_t head, count, capacity;
};

/* What happens at the bound. */
enum window_full { WINDOW_DROP_OLDEST, WINDOW_DROP_NEWEST, WINDOW_BLOCK };

struct window_lost {
    uint64_t full;      /* the bound was reached */
    uint64_t aged;      /* it waited for too long */
    uint64_t expired;   /* message expiry passed while it waited */
    uint64_t too_large; /* larger than the other side takes */
    uint64_t refused;   /* answered with a reason of failure */
    uint64_t memory;    /* the allocator had nothing */
};

struct window {
    struct window_ring waiting, inflight;
    uint64_t bytes, bytes_max;
    uint64_t age_max;      /* ms that a record may wait */
    enum window_full full; /* what happens at bytes_max */
    bool must_not_grow;    /* beyond WINDOW_LEAST_BYTES: set by the owner where memory is short */
    uint32_t resent;       /* of inflight, those sent on the present connection */
    uint32_t unacked;      /* those of them that are not acknowledged */
    uint32_t inflight_max; /* how many may be */
    uint32_t packet_max;   /* bytes of a packet the other side takes */
    uint16_t first_id;     /* packet id of the oldest in flight */
    uint64_t sent;         /* for the first time */
    struct window_lost lost;
    struct acks_of acks; /* who waits for what is in it */
};

/* Empty, for at most `bytes_max` bytes, none of which waits for longer than `age_max` ms. fini lets
 * go of everything. */
void window_init(struct window *w, uint64_t bytes_max, uint64_t age_max, enum window_full full);
void window_fini(struct window *w);

/* A connection stands: what is in flight is to be sent again, at most `inflight_max` at once (1 to
 * 65535), no packet larger than `packet_max`. */
void window_restart(struct window *w, uint32_t inflight_max, uint32_t packet_max);
/* The connection has ended: nothing counts as sent until window_restart. */
void window_stop(struct window *w);

/* Appends a record (its qos: 0 or 1; its stamp_ms: the moment at which it came, on the clock of
 * `now_ms` below; takes a reference). What is too much is dropped, see enum window_full. */
void window_push(struct window *w, struct message *record);

/* Takes the oldest message out, sent or not; the reference is the caller's. NULL: there is none.
 * Only while no connection stands. */
struct message *window_pop(struct window *w);

struct window_packet {
    struct message *record; /* one reference is the caller's now */
    uint32_t header_bytes;  /* of the PUBLISH around it */
    uint16_t id;            /* 0: QoS 0 */
    bool is_again;          /* was sent before: DUP */
};

/* What to send next, or false: nothing, or the window is full. It counts as sent from now on; QoS 0
 * is forgotten at once. `now_ms` is compared with the records' expiry. */
bool window_next(struct window *w, uint64_t now_ms, struct window_packet *out);

/* Drops what has waited for too long; returns when the next one will have, UINT64_MAX: nothing
 * waits. What is sent and not acknowledged does not wait while its connection stands. */
uint64_t window_age(struct window *w, uint64_t now_ms);
/* Whether it is at its bound, must_not_grow being set or not. */
bool window_is_full(const struct window *w);

/* A PUBACK. ERR_PEER: nothing with this id is in flight on this connection. */
MUST_USE enum err window_ack(struct window *w, uint16_t id, bool is_refused);

/* The PUBLISH of a record: its fields (qos and topic of the record), to be completed by the caller
 * with packet id and dup. */
struct publish_out;
void window_publish(const struct message *record, struct publish_out *out);

/* How long the oldest message in it is here; 0: there is none. */
uint64_t window_oldest_ms(const struct window *w, uint64_t now_ms);
/* Messages in it; and all that were lost. */
uint32_t window_count(const struct window *w);
uint64_t window_lost_sum(const struct window *w);

#endif
