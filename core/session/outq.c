/* core/session/outq.c -- the chain of chunks that waits to leave on one connection. */
#include "core/session/outq.h"

#include <stdlib.h>

#include "core/base/check.h"

/* Free chunks a worker keeps for the next burst. */
#define POOL_FREE_MAX 256u

struct outq_chunk {
    struct outq_chunk *next;
    uint32_t count;     /* bytes written into it */
    uint32_t ref_count; /* references, from the end of `bytes` downwards */
    uint32_t capacity;  /* of `bytes`, for both */
    uint32_t sent;      /* of the bytes, those that are gone */
    uint32_t refs_sent; /* of the references */
    uint32_t ref_sent;  /* of the first reference that is left, bytes that are gone */
    _Alignas(8) uint8_t bytes[];
};

/* A payload that lies elsewhere. */
struct outq_ref {
    struct message *message; /* held */
    const uint8_t *at;
    uint32_t count; /* bytes at `at` */
    uint32_t place; /* it leaves before the byte of the chunk with this number */
};

_Static_assert(sizeof(struct outq_chunk) + OUTQ_CHUNK_BYTES == 10240,
               "a size that jemalloc has, and one that spreads chunks over the sets of a cache");
_Static_assert(OUTQ_CHUNK_BYTES % _Alignof(struct outq_ref) == 0, "references stand at its end");

void outq_init(struct outq *q)
{
    *q = (struct outq){0};
}

/* The reference with number i of a chunk. */
static struct outq_ref *ref_at(struct outq_chunk *s, uint32_t i)
{
    return (struct outq_ref *)(void *)(s->bytes + s->capacity) - 1 - i;
}

static uint32_t room_of(const struct outq_chunk *s)
{
    return s->capacity - s->count - s->ref_count * (uint32_t)sizeof(struct outq_ref);
}

static struct outq_chunk *make_chunk(struct outq_pool *pool, uint32_t n)
{
    struct outq_chunk *s;
    uint32_t align = _Alignof(struct outq_ref);
    uint32_t capacity = n > OUTQ_CHUNK_BYTES ? (n + align - 1) / align * align : OUTQ_CHUNK_BYTES;

    s = malloc(sizeof *s + capacity);
    if (!s)
        return NULL;
    s->capacity = capacity;
    pool->held_bytes += capacity;
    return s;
}

/* An empty chunk with room for n bytes, at the end of the queue. */
static struct outq_chunk *append(struct outq *q, struct outq_pool *pool, uint32_t n)
{
    struct outq_chunk *s = pool->free;

    if (s && n <= OUTQ_CHUNK_BYTES) {
        pool->free = s->next;
        pool->free_count--;
    } else {
        s = make_chunk(pool, n);
        if (!s)
            return NULL;
    }
    *s = (struct outq_chunk){.capacity = s->capacity};
    if (q->tail)
        q->tail->next = s;
    else
        q->head = s;
    q->tail = s;
    return s;
}

static void give_back(struct outq_chunk *s, struct outq_pool *pool)
{
    if (s->capacity == OUTQ_CHUNK_BYTES && pool->free_count < POOL_FREE_MAX) {
        s->next = pool->free;
        pool->free = s;
        pool->free_count++;
        return;
    }
    pool->held_bytes -= s->capacity;
    free(s);
}

/* The head is gone. */
static void drop_head(struct outq *q, struct outq_pool *pool)
{
    struct outq_chunk *s = q->head;

    q->head = s->next;
    if (!q->head)
        q->tail = NULL;
    give_back(s, pool);
}

void outq_fini(struct outq *q, struct outq_pool *pool)
{
    while (q->head) {
        for (uint32_t i = q->head->refs_sent; i < q->head->ref_count; i++)
            message_release(ref_at(q->head, i)->message);
        drop_head(q, pool);
    }
    pool->queued_bytes -= q->counted;
    outq_init(q);
}

void outq_pool_fini(struct outq_pool *pool)
{
    while (pool->free) {
        struct outq_chunk *s = pool->free;

        pool->free = s->next;
        free(s);
    }
    *pool = (struct outq_pool){0};
}

uint8_t *outq_reserve(struct outq *q, struct outq_pool *pool, uint32_t n)
{
    struct outq_chunk *s = q->tail;
    uint8_t *at;

    if (!s || room_of(s) < n) {
        s = append(q, pool, n);
        if (!s)
            return NULL;
    }
    at = s->bytes + s->count;
    s->count += n;
    q->bytes += n;
    return at;
}

bool outq_refer(struct outq *q, struct outq_pool *pool, struct message *m, const uint8_t *p,
                uint32_t n)
{
    struct outq_chunk *s = q->tail;

    CHECK(n > 0);
    if (!s || room_of(s) < sizeof(struct outq_ref)) {
        s = append(q, pool, 0);
        if (!s)
            return false;
    }
    *ref_at(s, s->ref_count++) =
        (struct outq_ref){.message = message_ref(m), .at = p, .count = n, .place = s->count};
    q->bytes += n;
    return true;
}

/* What is left of one chunk. */
static uint32_t front_of(struct outq_chunk *s, struct outq_vec *v, uint32_t max)
{
    uint32_t from = s->sent, skip = s->ref_sent, n = 0;

    for (uint32_t i = s->refs_sent; i < s->ref_count && n < max; i++) {
        const struct outq_ref *r = ref_at(s, i);

        if (from < r->place) {
            v[n++] = (struct outq_vec){s->bytes + from, r->place - from};
            from = r->place;
            if (n == max)
                return n;
        }
        v[n++] = (struct outq_vec){r->at + skip, r->count - skip};
        skip = 0;
    }
    if (n < max && from < s->count)
        v[n++] = (struct outq_vec){s->bytes + from, s->count - from};
    return n;
}

uint32_t outq_front(const struct outq *q, struct outq_vec *v, uint32_t max)
{
    uint32_t n = 0;

    for (struct outq_chunk *s = q->head; s && n < max; s = s->next)
        n += front_of(s, v + n, max - n);
    return n;
}

/* `*n` bytes of a chunk have left, or fewer if it has not as many. Returns whether it is gone. */
static bool chunk_sent(struct outq_chunk *s, uint32_t *n)
{
    for (;; s->refs_sent++, s->ref_sent = 0) {
        const struct outq_ref *r = s->refs_sent < s->ref_count ? ref_at(s, s->refs_sent) : NULL;
        uint32_t part = (r ? r->place : s->count) - s->sent;

        if (*n < part) {
            s->sent += *n;
            return false;
        }
        *n -= part;
        s->sent += part;
        if (!r)
            return true;
        part = r->count - s->ref_sent;
        if (*n < part) {
            s->ref_sent += *n;
            return false;
        }
        *n -= part;
        message_release(r->message);
    }
}

void outq_sent(struct outq *q, struct outq_pool *pool, uint32_t n)
{
    CHECK(n <= q->bytes);
    q->bytes -= n;
    while (q->head && chunk_sent(q->head, &n))
        drop_head(q, pool);
    outq_count(q, pool);
}

void outq_count(struct outq *q, struct outq_pool *pool)
{
    pool->queued_bytes += (uint64_t)q->bytes - q->counted;
    q->counted = q->bytes;
}
