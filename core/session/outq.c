/* core/session/outq.c -- the chain of segments that waits to leave on one connection. */
#include "core/session/outq.h"

#include <stdlib.h>

#include "core/base/check.h"

/* Free chunks a worker keeps for the next burst. */
#define POOL_FREE_MAX 256u

struct outq_segment {
    struct outq_segment *next;
    struct message *message; /* held while it is here; NULL: a chunk */
    const uint8_t *at;       /* first byte */
    uint32_t count;          /* bytes in it */
    uint32_t capacity;       /* of a chunk; 0 for a reference */
    uint8_t bytes[];
};

void outq_init(struct outq *q)
{
    *q = (struct outq){0};
}

static struct outq_segment *take_chunk(struct outq_pool *pool, uint32_t n)
{
    struct outq_segment *s = pool->free;
    uint32_t capacity = n > OUTQ_CHUNK_BYTES ? n : OUTQ_CHUNK_BYTES;

    if (s && n <= OUTQ_CHUNK_BYTES) {
        pool->free = s->next;
        pool->free_count--;
    } else {
        s = malloc(sizeof *s + capacity);
        if (!s)
            return NULL;
        s->capacity = capacity;
        pool->held_bytes += capacity;
    }
    s->next = NULL;
    s->message = NULL;
    s->at = s->bytes;
    s->count = 0;
    return s;
}

static void give_back(struct outq_segment *s, struct outq_pool *pool)
{
    message_release(s->message);
    if (s->capacity == OUTQ_CHUNK_BYTES && pool->free_count < POOL_FREE_MAX) {
        s->message = NULL;
        s->next = pool->free;
        pool->free = s;
        pool->free_count++;
        return;
    }
    pool->held_bytes -= s->capacity;
    free(s);
}

void outq_fini(struct outq *q, struct outq_pool *pool)
{
    struct outq_segment *s = q->head;

    while (s) {
        struct outq_segment *next = s->next;

        give_back(s, pool);
        s = next;
    }
    pool->queued_bytes -= q->counted;
    outq_init(q);
}

void outq_pool_fini(struct outq_pool *pool)
{
    while (pool->free) {
        struct outq_segment *s = pool->free;

        pool->free = s->next;
        free(s);
    }
    *pool = (struct outq_pool){0};
}

static void append(struct outq *q, struct outq_segment *s)
{
    if (q->tail)
        q->tail->next = s;
    else
        q->head = s;
    q->tail = s;
}

uint8_t *outq_reserve(struct outq *q, struct outq_pool *pool, uint32_t n)
{
    struct outq_segment *s = q->tail;
    uint8_t *at;

    if (!s || s->capacity < n || s->capacity - s->count < n) {
        s = take_chunk(pool, n);
        if (!s)
            return NULL;
        append(q, s);
    }
    at = s->bytes + s->count;
    s->count += n;
    q->bytes += n;
    return at;
}

bool outq_refer(struct outq *q, struct outq_pool *pool, struct message *m, const uint8_t *p,
                uint32_t n)
{
    struct outq_segment *s = malloc(sizeof *s);

    (void)pool;
    if (!s)
        return false;
    *s = (struct outq_segment){.message = message_ref(m), .at = p, .count = n};
    append(q, s);
    q->bytes += n;
    return true;
}

uint32_t outq_front(const struct outq *q, struct outq_vec *v, uint32_t max)
{
    uint32_t skip = q->head_sent;
    uint32_t n = 0;

    for (const struct outq_segment *s = q->head; s && n < max; s = s->next) {
        if (s->count > skip)
            v[n++] = (struct outq_vec){s->at + skip, s->count - skip};
        skip = 0;
    }
    return n;
}

void outq_sent(struct outq *q, struct outq_pool *pool, uint32_t n)
{
    CHECK(n <= q->bytes);
    q->bytes -= n;
    while (q->head && n >= q->head->count - q->head_sent) {
        struct outq_segment *s = q->head;

        n -= s->count - q->head_sent;
        q->head_sent = 0;
        q->head = s->next;
        if (!q->head)
            q->tail = NULL;
        give_back(s, pool);
    }
    q->head_sent += n;
    outq_count(q, pool);
}

void outq_count(struct outq *q, struct outq_pool *pool)
{
    pool->queued_bytes += (uint64_t)q->bytes - q->counted;
    q->counted = q->bytes;
}
