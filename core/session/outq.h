/* core/session/outq.h -- what waits to leave on one connection.
 *
 * A chain of chunks. Packets are written into a chunk from its begin on; from its end on stand
 * references to payloads that are not copied, each with its place among the bytes. While the
 * kernel sends the front, new packets gather at the back: that is the batching. An idle queue owns
 * no memory.
 *
 * Threads  the worker of the connection only.
 * Memory   chunks come from the worker's pool; a referenced message is held until it was sent.
 */
#ifndef CORE_SESSION_OUTQ_H
#define CORE_SESSION_OUTQ_H

#include "core/base/bytes.h"
#include "core/mqtt/message.h"

/* What fits into a chunk; a larger packet gets one of its own. */
#define OUTQ_CHUNK_BYTES 10208u
#define OUTQ_IOV_MAX 64

struct outq_chunk;

/* Free chunks of one worker, shared by its queues. */
struct outq_pool {
    struct outq_chunk *free;
    uint32_t free_count;
    uint64_t held_bytes;   /* in use and free */
    uint64_t queued_bytes; /* waiting in its queues, as last counted */
};

struct outq {
    struct outq_chunk *head, *tail;
    uint32_t bytes;   /* waiting, in all */
    uint32_t counted; /* of them, what the pool knows of */
};

/* An empty queue owns nothing. */
void outq_init(struct outq *q);
/* Gives everything back. Nothing of it may be lent to the kernel any more. */
void outq_fini(struct outq *q, struct outq_pool *pool);
void outq_pool_fini(struct outq_pool *pool);

/* Contiguous room for a packet of exactly `n` bytes, counted at once; the caller fills it before
 * the turn ends. NULL: no memory. */
uint8_t *outq_reserve(struct outq *q, struct outq_pool *pool, uint32_t n);

/* Appends `n` bytes at `p`, at least one, that live in `m`; takes a reference. false: no memory. */
bool outq_refer(struct outq *q, struct outq_pool *pool, struct message *m, const uint8_t *p,
                uint32_t n);

/* The front as vectors of (base, length), at most `max`; they stay valid and unchanged until
 * outq_sent, whatever is appended meanwhile. Returns how many. */
struct outq_vec {
    const void *base;
    size_t length;
};
uint32_t outq_front(const struct outq *q, struct outq_vec *v, uint32_t max);

/* `n` bytes of the front have left. */
void outq_sent(struct outq *q, struct outq_pool *pool, uint32_t n);

/* Tells the pool how much waits. Once a turn: not each packet pays for it. */
void outq_count(struct outq *q, struct outq_pool *pool);

#endif
