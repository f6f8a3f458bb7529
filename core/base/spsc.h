/* core/base/spsc.h -- a bounded ring of records from one thread to one other thread.
 *
 * Records have any size up to a quarter of the ring and lie contiguous and 8-byte aligned in it, so
 * the producer writes and the consumer reads them in place. No lock, no allocation.
 *
 * Threads  producer: room, reserve, commit.  consumer: peek, pop, mark, passed.
 *          anybody: is_empty (a hint).
 * Full     reserve returns NULL and changes nothing. Room once seen by the producer stays.
 */
#ifndef CORE_BASE_SPSC_H
#define CORE_BASE_SPSC_H

#include "core/base/atomic.h"
#include "core/base/bytes.h"

/* Opaque: the fields live in spsc.c. Two cache lines, aligned to one. */
struct spsc;
#define SPSC_HEAD_BYTES (2 * CACHE_LINE)

/* The smallest and the largest ring, both powers of two. */
#define SPSC_BYTES_MIN 256u
#define SPSC_BYTES_MAX (1u << 30)

/* Makes a ring of `bytes` (a power of two, at least 256).  NULL: no memory.  Boot only. */
struct spsc *spsc_create(uint32_t bytes);
void spsc_destroy(struct spsc *q); /* NULL is fine; not for spsc_place */

/* Makes a ring in memory of the caller: SPSC_HEAD_BYTES at `head`, aligned to a cache line, and
 * `bytes` at `cells`, aligned to 8. The cells are not touched, so fresh pages stay unused until the
 * first record comes. The caller frees both.  Boot only. */
struct spsc *spsc_place(void *head, void *cells, uint32_t bytes);

/* The largest record this ring takes. An empty ring always takes one of that size. */
uint32_t spsc_record_max(const struct spsc *q);

/* Whether records of these total sizes would all fit now: `count` records of together `bytes`, none
 * above spsc_record_max. True is a promise that holds until the producer reserves something else.
 * For one record the answer is exact, also where it has to skip the end of the ring. For several,
 * whose sizes are unknown here, it counts the worst padding (7 bytes each) and the worst skip (the
 * largest record they can contain), so false may be too careful by that much. */
bool spsc_room(struct spsc *q, uint32_t count, uint32_t bytes);

/* Room for one record of `bytes`, or NULL. Several may be reserved before one commit; all of them
 * may be written until then, in any order. */
void *spsc_reserve(struct spsc *q, uint32_t bytes);

/* Shows everything reserved so far to the consumer. */
void spsc_commit(struct spsc *q);

/* The oldest record, or NULL when the ring is empty; stays valid until spsc_pop, and may be written
 * by the consumer. Asking again gives the same record. */
void *spsc_peek(struct spsc *q, uint32_t *bytes);
/* Gives back the record that spsc_peek returned last. */
void spsc_pop(struct spsc *q);

/* A hint; exact for the consumer when it says "not empty" and for the producer when "empty". */
bool spsc_is_empty(const struct spsc *q);

/* Positions for "drained up to where it stood": the consumer takes spsc_mark and later asks whether
 * it has popped everything that had been committed by then. */
uint64_t spsc_mark(const struct spsc *q);
bool spsc_passed(const struct spsc *q, uint64_t mark);

/* For tests: an empty, unused ring goes on from `position`, a multiple of 8; positions wrap at
 * 2^64, which nothing else would ever reach. */
void spsc_start_at(struct spsc *q, uint64_t position);

#endif
