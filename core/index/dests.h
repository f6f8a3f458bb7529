/* core/index/dests.h -- the destinations of one filter: one writer, readers without a lock.
 *
 * One word says them all: nothing, one destination as bits, or where a list of cells is. So a
 * filter with one destination, as nearly all have, costs no second look into memory and no memory.
 *
 *   0        none
 *   bit 0    one: kind in bits 1-2, worker in 3-8, slot in 9-34, generation in 35-63; one that has
 *            larger numbers stands in a list of its own
 *   else     the address of a list
 *
 * In a list a destination is added in the first unused cell, which no reader looks at before
 * `count` says so, and removed by a mark in its cell; only a full list is copied to a larger one.
 * When one is left, it becomes a word again.
 * A reader takes the word once: so it sees each destination that stays exactly once, in the old
 * word or list or in the new one.
 */
#ifndef CORE_INDEX_DESTS_H
#define CORE_INDEX_DESTS_H

#include "core/index/index.h"
#include "core/index/reclaim.h"

/* A removed cell. No destination has this: worker numbers are below WORKERS_MAX. */
#define DEST_GONE UINT32_MAX

struct dest_cell {
    _Atomic uint32_t who;        /* worker and kind; becomes DEST_GONE once */
    uint32_t slot;               /* never changes while readers can see it */
    _Atomic uint32_t generation; /* the only thing that changes in place */
};

struct dests {
    _Atomic uint32_t count; /* used cells, removed ones included */
    uint32_t max;
    /* max cells follow */
};

/* Adds a destination to *at or replaces its generation. ERR_MEMORY: nothing changed. */
MUST_USE enum err dests_add(struct reclaim *memory, _Atomic uint64_t *at, struct dest d);
/* Takes one away; *at becomes 0 with the last. Needs no memory. ERR_NONE: it was not there. */
MUST_USE enum err dests_remove(struct reclaim *memory, _Atomic uint64_t *at, struct dest d);

/* Gives everything back; *at becomes 0. */
void dests_drop_all(struct reclaim *memory, _Atomic uint64_t *at);

/* ---- one destination as a word ---- */

#define DESTS_ONE 1ull

/* The word of a destination, 0 when its numbers are too large for one. */
static inline uint64_t dests_pack(struct dest d)
{
    if (d.kind > 3 || d.worker > 63 || d.slot >> 26 || d.generation >> 29)
        return 0;
    return DESTS_ONE | (uint64_t)d.kind << 1 | (uint64_t)d.worker << 3 | (uint64_t)d.slot << 9 |
           (uint64_t)d.generation << 35;
}

/* The reverse. */
static inline struct dest dests_unpack(uint64_t word)
{
    return (struct dest){.kind = word >> 1 & 3,
                         .worker = word >> 3 & 63,
                         .slot = (uint32_t)(word >> 9) & ((1u << 26) - 1),
                         .generation = (uint32_t)(word >> 35)};
}

/* ---- reading ---- */

/* The list at a word that is neither 0 nor one destination. */
static inline struct dests *dests_list(uint64_t word)
{
    return (struct dests *)(uintptr_t)word;
}

/* The cells of a list. */
static inline struct dest_cell *dests_cells(const struct dests *list)
{
    return (struct dest_cell *)(void *)((uintptr_t)list + sizeof(*list));
}

#define DESTS_DONE UINT32_MAX

/* Adds what a word says to `out`, beginning with the cell `from`; an inline part of every match.
 * Returns DESTS_DONE, or when there is no more room the cell to go on from. */
static inline uint32_t dests_collect_from(uint64_t word, uint32_t from, struct matches *out)
{
    const struct dest_cell *cells;
    uint32_t count;

    if (word & DESTS_ONE) {
        if (out->count == out->max)
            return 0;
        out->v[out->count++] = dests_unpack(word);
        return DESTS_DONE;
    }
    cells = dests_cells(dests_list(word));
    count = load_acquire(&dests_list(word)->count); /* pairs with store_release in put, dests.c */
    for (uint32_t i = from; i < count; i++) {
        /* a cell is complete before `count` or the list's pointer shows it; later stores to it
         * stand alone and pair with nothing */
        uint32_t who = load_relaxed(&cells[i].who);

        if (who == DEST_GONE)
            continue;
        if (out->count == out->max)
            return i;
        out->v[out->count++] = (struct dest){.worker = (uint16_t)(who >> 16),
                                             .kind = (uint16_t)who,
                                             .slot = cells[i].slot,
                                             .generation = load_relaxed(&cells[i].generation)};
    }
    return DESTS_DONE;
}

/* Adds what stands at `at` to `out`. */
static inline void dests_collect(const _Atomic uint64_t *at, struct matches *out)
{
    uint64_t word = load_acquire(at); /* pairs with store_release in show, dests.c */

    if (word && dests_collect_from(word, 0, out) != DESTS_DONE)
        out->is_cut = true;
}

#endif
