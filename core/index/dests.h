/* core/index/dests.h -- the destinations of one filter: one writer, readers without a lock.
 *
 * A list of cells behind one pointer; NULL says that there are none. A destination is added in the
 * first unused cell, which no reader looks at before `count` says so, and removed by a mark in its
 * cell; only a full list is copied to a larger one. So removing needs no memory, and a reader sees
 * each destination that stays exactly once: in the old list or in the new one.
 * The first list lies inside the object that owns it (struct dests_room): a filter with one
 * destination costs no second look into memory. The room is used once and not again, because
 * readers may still be in it.
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

/* Room for a list of one. */
struct dests_room {
    uint32_t words[(sizeof(struct dests) + sizeof(struct dest_cell)) / 4];
};

/* Where a list hangs, and the room it may use. */
struct dests_slot {
    _Atomic(struct dests *) *at;
    struct dests_room *room;
    uint8_t *room_used; /* bit 0 */
};

/* Adds a destination or replaces its generation. ERR_MEMORY: nothing changed. */
MUST_USE enum err dests_add(struct reclaim *memory, struct dests_slot s, struct dest d);
/* Takes one away; *at becomes NULL with the last. ERR_NONE: it was not there. */
MUST_USE enum err dests_remove(struct reclaim *memory, struct dests_slot s, struct dest d);

/* Gives the whole list back; *at becomes NULL. */
void dests_drop_all(struct reclaim *memory, struct dests_slot s);

/* The cells of a list. */
static inline struct dest_cell *dests_cells(const struct dests *list)
{
    return (struct dest_cell *)(void *)((uintptr_t)list + sizeof(*list));
}

#define DESTS_DONE UINT32_MAX

/* Adds what the list holds to `out`, beginning with the cell `from`; an inline part of every match.
 * Returns DESTS_DONE, or when there is no more room the cell to go on from. */
static inline uint32_t dests_collect_from(const struct dests *list, uint32_t from,
                                          struct matches *out)
{
    const struct dest_cell *cells = dests_cells(list);
    uint32_t count = load_acquire(&list->count); /* pairs with store_release in put, dests.c */

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

/* Adds what the list holds to `out`. */
static inline void dests_collect(const struct dests *list, struct matches *out)
{
    if (dests_collect_from(list, 0, out) != DESTS_DONE)
        out->is_cut = true;
}

#endif
