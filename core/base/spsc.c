/* core/base/spsc.c -- a bounded ring of records from one thread to one other thread.
 *
 * A record is a header of 8 bytes and its bytes, rounded up to 8. Positions count bytes since the
 * start and never wrap (they are 64 bits wide), so "full" and "empty" cannot be confused and a
 * position doubles as a mark; a place in the ring is a position modulo the size.
 *
 * Invariants, as positions: head <= tail <= reserved <= head + size. A filler lies only at the end
 * of the ring and only before a record reserved together with it, so what is committed never ends
 * with a filler: head == tail says "empty" exactly.
 *
 * Each side owns one cache line. It keeps its last look at the other's position there and looks
 * again only when that look is not enough, so in steady flow the two lines are exchanged once per
 * batch and not once per record. What nobody writes stands in both lines: a third would be one
 * more miss for a ring that has not been used for a while.
 */
#include "core/base/spsc.h"

#include "core/base/check.h"

/* In front of each record; a filler has no record behind it, only `bytes` to skip. */
struct record_head {
    uint32_t bytes;
    uint32_t is_filler;
};

#define HEAD_BYTES ((uint32_t)sizeof(struct record_head))

struct spsc {
    /* producer writes */ _Alignas(CACHE_LINE) _Atomic uint64_t tail; /* all committed */
    uint64_t reserved;  /* end of what is reserved; tail follows at commit */
    uint64_t head_seen; /* producer's last look at head */
    uint8_t *put_cells; /* nobody writes: the ring */
    uint32_t put_size;  /* nobody writes: its size */
    bool is_placed;     /* nobody writes: the memory is the caller's */
    /* consumer writes */ _Alignas(CACHE_LINE) _Atomic uint64_t head; /* all given back */
    uint64_t tail_seen; /* consumer's last look at tail */
    uint8_t *get_cells; /* nobody writes: the ring */
    uint32_t get_size;  /* nobody writes: its size */
};

_Static_assert(sizeof(struct spsc) == SPSC_HEAD_BYTES, "one cache line for each side");

struct spsc *spsc_place(void *head, void *cells, uint32_t bytes)
{
    struct spsc *q = head;

    CHECK(bytes >= SPSC_BYTES_MIN && bytes <= SPSC_BYTES_MAX);
    CHECK((bytes & (bytes - 1)) == 0);
    CHECK((uintptr_t)head % CACHE_LINE == 0);
    CHECK((uintptr_t)cells % 8 == 0);
    memset(q, 0, sizeof *q);
    q->put_cells = q->get_cells = cells;
    q->put_size = q->get_size = bytes;
    q->is_placed = true;
    return q;
}

struct spsc *spsc_create(uint32_t bytes)
{
    void *head = aligned_alloc(CACHE_LINE, SPSC_HEAD_BYTES);
    void *cells = calloc(1, bytes); /* fresh pages are not touched */
    struct spsc *q;

    if (!head || !cells) {
        free(head);
        free(cells);
        return NULL;
    }
    q = spsc_place(head, cells, bytes);
    q->is_placed = false;
    return q;
}

void spsc_destroy(struct spsc *q)
{
    if (!q)
        return;
    CHECK(!q->is_placed);
    free(q->put_cells);
    free(q);
}

void spsc_start_at(struct spsc *q, uint64_t position)
{
    CHECK(position % 8 == 0);
    CHECK(q->reserved == load_relaxed(&q->head)); /* nothing in it; no other thread knows it */
    q->reserved = q->head_seen = q->tail_seen = position;
    store_relaxed(&q->tail, position);
    store_relaxed(&q->head, position);
}

uint32_t spsc_record_max(const struct spsc *q)
{
    return q->put_size / 4;
}

/* Bytes that a record of `bytes` takes in the ring. */
static uint64_t space_of(uint32_t bytes)
{
    return HEAD_BYTES + (((uint64_t)bytes + 7) & ~7ull);
}

/* Bytes from the next record's place to the end of the ring; never 0. */
static uint64_t space_to_end(const struct spsc *q)
{
    return q->put_size - (q->reserved & (q->put_size - 1));
}

/* Whether `space` bytes are free, asking the consumer's head only when the last look says no. */
static bool is_free(struct spsc *q, uint64_t space)
{
    if (q->head_seen + q->put_size - q->reserved >= space)
        return true;
    /* Pairs with store_release in spsc_pop and skip_filler: the consumer is done with those bytes
     * before we overwrite them. */
    q->head_seen = load_acquire(&q->head);
    return q->head_seen + q->put_size - q->reserved >= space;
}

bool spsc_room(struct spsc *q, uint32_t count, uint32_t bytes)
{
    uint32_t largest = bytes < spsc_record_max(q) ? bytes : spsc_record_max(q);
    uint64_t end = space_to_end(q);
    uint64_t space, skip;

    if (count == 0)
        return true;
    if (count == 1) {
        if (bytes > largest)
            return false;
        space = space_of(bytes);
        skip = end < space ? end : 0;
    } else {
        space = (uint64_t)count * (HEAD_BYTES + 7) + bytes;
        skip = space_of(largest) - 8; /* a record of n bytes skips at most n - 8 */
        if (skip > end)
            skip = end;
        if (end >= space)
            skip = 0;
    }
    return is_free(q, space + skip);
}

/* Writes the header of a record or a filler at the end of what is reserved. */
static uint8_t *put_head(struct spsc *q, uint32_t bytes, bool is_filler)
{
    uint8_t *at = q->put_cells + (q->reserved & (q->put_size - 1));

    *(struct record_head *)(void *)at = (struct record_head){bytes, is_filler};
    return at + HEAD_BYTES;
}

void *spsc_reserve(struct spsc *q, uint32_t bytes)
{
    uint64_t space = space_of(bytes);
    uint64_t end = space_to_end(q);
    uint8_t *record;

    CHECK(bytes <= spsc_record_max(q));
    if (end < space) { /* it would not be contiguous: it begins anew at the front */
        if (!is_free(q, end + space))
            return NULL;
        put_head(q, (uint32_t)end, true);
        q->reserved += end;
    } else if (!is_free(q, space)) {
        return NULL;
    }
    record = put_head(q, bytes, false);
    q->reserved += space;
    return record;
}

void spsc_commit(struct spsc *q)
{
    /* Pairs with load_acquire in oldest and spsc_mark: records first, then the tail. */
    store_release(&q->tail, q->reserved);
}

/* The header at the consumer's position `head`, or NULL when nothing is committed there. */
static struct record_head *oldest(struct spsc *q, uint64_t head)
{
    if (head == q->tail_seen) {
        q->tail_seen = load_acquire(&q->tail); /* pairs with store_release in spsc_commit */
        if (head == q->tail_seen)
            return NULL;
    }
    return (struct record_head *)(void *)(q->get_cells + (head & (q->get_size - 1)));
}

/* Gives back the filler at `head`; the record behind it was committed with it. */
static struct record_head *skip_filler(struct spsc *q, uint64_t head, const struct record_head *r)
{
    head += r->bytes;
    CHECK(head != q->tail_seen);
    store_release(&q->head, head); /* pairs with load_acquire in is_free */
    return oldest(q, head);
}

void *spsc_peek(struct spsc *q, uint32_t *bytes)
{
    uint64_t head = load_relaxed(&q->head); /* ours: only the consumer writes it */
    struct record_head *r = oldest(q, head);

    if (!r)
        return NULL;
    if (r->is_filler)
        r = skip_filler(q, head, r);
    *bytes = r->bytes;
    return r + 1;
}

void spsc_pop(struct spsc *q)
{
    uint64_t head = load_relaxed(&q->head); /* ours: only the consumer writes it */
    const struct record_head *r = oldest(q, head);

    CHECK(r && !r->is_filler); /* otherwise nothing was peeked */
    /* Pairs with load_acquire in is_free: our reads first, then the place is the producer's. */
    store_release(&q->head, head + space_of(r->bytes));
}

bool spsc_is_empty(const struct spsc *q)
{
    /* Each side's own position is exact, the other's only grows. No data is read after this, so
     * nothing pairs with it but for the order of the two loads: head first, so that a third thread
     * cannot see a head beyond its tail. */
    uint64_t head = load_acquire(&q->head);

    return head == load_relaxed(&q->tail);
}

uint64_t spsc_mark(const struct spsc *q)
{
    return load_acquire(&q->tail); /* pairs with store_release in spsc_commit */
}

bool spsc_passed(const struct spsc *q, uint64_t mark)
{
    return (int64_t)(load_relaxed(&q->head) - mark) >= 0; /* ours: only the consumer writes it */
}
