/* core/index/dests.c -- the writer's side of destination lists. */
#include "core/index/dests.h"

static uint32_t who_of(struct dest d)
{
    return (uint32_t)d.worker << 16 | d.kind;
}

static size_t list_bytes(uint32_t max)
{
    return sizeof(struct dests) + max * sizeof(struct dest_cell);
}

/* The cell of a destination, or NULL. *live becomes the number of cells in use. */
static struct dest_cell *find(struct dests *list, struct dest d, uint32_t *live)
{
    struct dest_cell *cells = dests_cells(list), *found = NULL;
    uint32_t count = load_relaxed(&list->count); /* ours */

    *live = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t who = load_relaxed(&cells[i].who);

        *live += who != DEST_GONE;
        if (who == who_of(d) && cells[i].slot == d.slot)
            found = &cells[i];
    }
    return found;
}

static void put(struct dests *list, struct dest d)
{
    uint32_t count = load_relaxed(&list->count); /* ours */
    struct dest_cell *cell = &dests_cells(list)[count];

    store_relaxed(&cell->who, who_of(d));
    cell->slot = d.slot;
    store_relaxed(&cell->generation, d.generation);
    store_release(&list->count, count + 1); /* pairs with load_acquire in dests_collect */
}

static struct dests *init(void *memory, uint32_t max)
{
    struct dests *list = memory;

    if (list) {
        store_relaxed(&list->count, 0); /* nobody sees it yet */
        list->max = max;
    }
    return list;
}

/* A list of `max` with the cells of `old` that are in use, not yet shown to anybody. */
static struct dests *copy(struct reclaim *memory, const struct dests *old, uint32_t max)
{
    struct dests *list = init(reclaim_alloc(memory, list_bytes(max)), max);
    const struct dest_cell *cells = dests_cells(old);

    for (uint32_t i = 0; list && i < load_relaxed(&old->count); i++) { /* ours */
        uint32_t who = load_relaxed(&cells[i].who);

        if (who != DEST_GONE)
            put(list, (struct dest){.worker = (uint16_t)(who >> 16),
                                    .kind = (uint16_t)who,
                                    .slot = cells[i].slot,
                                    .generation = load_relaxed(&cells[i].generation)});
    }
    return list;
}

/* Shows `list` (or nothing) instead of what hung there. */
static void replace(struct reclaim *memory, struct dests_slot s, struct dests *list)
{
    struct dests *old = load_relaxed(s.at); /* ours */

    store_release(s.at, list); /* pairs with load_acquire in the matches */
    if (old && (void *)old != (void *)s.room)
        reclaim_retire(memory, old, list_bytes(old->max));
}

static enum err add_first(struct reclaim *memory, struct dests_slot s, struct dest d)
{
    struct dests *list;

    if (*s.room_used & 1)
        list = init(reclaim_alloc(memory, list_bytes(1)), 1);
    else
        list = init(s.room, 1);
    if (!list)
        return ERR_MEMORY;
    *s.room_used |= 1;
    put(list, d);
    replace(memory, s, list);
    return OK;
}

enum err dests_add(struct reclaim *memory, struct dests_slot s, struct dest d)
{
    struct dests *list = load_relaxed(s.at), *larger; /* ours */
    struct dest_cell *cell;
    uint32_t live;

    CHECK(who_of(d) != DEST_GONE);
    if (!list)
        return add_first(memory, s, d);
    cell = find(list, d, &live);
    if (cell) {
        store_relaxed(&cell->generation, d.generation); /* a number by itself */
        return OK;
    }
    if (load_relaxed(&list->count) < list->max) {
        put(list, d);
        return OK;
    }
    larger = copy(memory, list, live + 1 + live / 2);
    if (!larger)
        return ERR_MEMORY;
    put(larger, d);
    replace(memory, s, larger);
    return OK;
}

enum err dests_remove(struct reclaim *memory, struct dests_slot s, struct dest d)
{
    struct dests *list = load_relaxed(s.at), *smaller; /* ours */
    struct dest_cell *cell;
    uint32_t live;

    cell = list ? find(list, d, &live) : NULL;
    if (!cell)
        return ERR_NONE;
    if (live == 1) {
        replace(memory, s, NULL);
        return OK;
    }
    store_relaxed(&cell->who, DEST_GONE); /* a mark by itself */
    live--;
    if (list->max >= 8 && live <= list->max / 4) {
        smaller = copy(memory, list, live);
        if (smaller) /* without memory the marks stay */
            replace(memory, s, smaller);
    }
    return OK;
}

void dests_drop_all(struct reclaim *memory, struct dests_slot s)
{
    replace(memory, s, NULL);
}
