/* core/index/dests.c -- the writer's side of destinations. */
#include "core/index/dests.h"

static uint32_t who_of(struct dest d)
{
    return (uint32_t)d.worker << 16 | d.kind;
}

static bool is_same(struct dest a, struct dest b)
{
    return who_of(a) == who_of(b) && a.slot == b.slot;
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
    store_release(&list->count, count + 1); /* pairs with load_acquire in dests_collect_from */
}

/* An empty list, not yet shown to anybody.  NULL: no memory. */
static struct dests *list_create(struct reclaim *memory, uint32_t max)
{
    struct dests *list = reclaim_alloc(memory, list_bytes(max));

    if (list) {
        store_relaxed(&list->count, 0); /* nobody sees it yet */
        list->max = max;
    }
    return list;
}

static struct dest dest_in(const struct dest_cell *cell)
{
    uint32_t who = load_relaxed(&cell->who); /* ours */

    return (struct dest){.worker = (uint16_t)(who >> 16),
                         .kind = (uint16_t)who,
                         .slot = cell->slot,
                         .generation = load_relaxed(&cell->generation)};
}

/* The same with the cells of `old` that are in use. */
static struct dests *copy(struct reclaim *memory, const struct dests *old, uint32_t max)
{
    struct dests *list = list_create(memory, max);
    const struct dest_cell *cells = dests_cells(old);

    for (uint32_t i = 0; list && i < load_relaxed(&old->count); i++) /* ours */
        if (load_relaxed(&cells[i].who) != DEST_GONE)
            put(list, dest_in(&cells[i]));
    return list;
}

/* The word of the one destination that is left beside `gone`; 0: it has none. */
static uint64_t left_alone(const struct dests *list, const struct dest_cell *gone)
{
    const struct dest_cell *cell = dests_cells(list);

    while (cell == gone || load_relaxed(&cell->who) == DEST_GONE)
        cell++;
    return dests_pack(dest_in(cell));
}

/* Shows a word instead of what stood there. */
static void show(struct reclaim *memory, _Atomic uint64_t *at, uint64_t word)
{
    uint64_t old = load_relaxed(at); /* ours */

    store_release(at, word); /* pairs with load_acquire in the matches */
    if (old && !(old & DESTS_ONE))
        reclaim_retire(memory, dests_list(old), list_bytes(dests_list(old)->max));
}

/* In place of nothing or of one destination that is the same. */
static enum err show_one(struct reclaim *memory, _Atomic uint64_t *at, struct dest d)
{
    uint64_t word = dests_pack(d);
    struct dests *list = word ? NULL : list_create(memory, 1);

    if (!word && !list)
        return ERR_MEMORY;
    if (list) {
        put(list, d);
        word = (uintptr_t)list;
    }
    show(memory, at, word);
    return OK;
}

/* Beside one destination that stands as a word. */
static enum err add_second(struct reclaim *memory, _Atomic uint64_t *at, struct dest first,
                           struct dest d)
{
    struct dests *list = list_create(memory, 2);

    if (!list)
        return ERR_MEMORY;
    put(list, first);
    put(list, d);
    show(memory, at, (uintptr_t)list);
    return OK;
}

static enum err add_to_list(struct reclaim *memory, _Atomic uint64_t *at, struct dests *list,
                            struct dest d)
{
    uint32_t live;
    struct dest_cell *cell = find(list, d, &live);
    struct dests *larger;

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
    show(memory, at, (uintptr_t)larger);
    return OK;
}

enum err dests_add(struct reclaim *memory, _Atomic uint64_t *at, struct dest d)
{
    uint64_t word = load_relaxed(at); /* ours */

    CHECK(who_of(d) != DEST_GONE);
    if (!word || ((word & DESTS_ONE) && is_same(dests_unpack(word), d)))
        return show_one(memory, at, d);
    if (word & DESTS_ONE)
        return add_second(memory, at, dests_unpack(word), d);
    return add_to_list(memory, at, dests_list(word), d);
}

static enum err remove_from_list(struct reclaim *memory, _Atomic uint64_t *at, struct dests *list,
                                 struct dest d)
{
    uint32_t live;
    struct dest_cell *cell = find(list, d, &live);
    struct dests *smaller;
    uint64_t word;

    if (!cell)
        return ERR_NONE;
    word = live == 2 ? left_alone(list, cell) : 0;
    if (live == 1 || word) {
        show(memory, at, word);
        return OK;
    }
    store_relaxed(&cell->who, DEST_GONE); /* a mark by itself */
    live--;
    if (list->max >= 8 && live <= list->max / 4) {
        smaller = copy(memory, list, live);
        if (smaller) /* without memory the marks stay */
            show(memory, at, (uintptr_t)smaller);
    }
    return OK;
}

enum err dests_remove(struct reclaim *memory, _Atomic uint64_t *at, struct dest d)
{
    uint64_t word = load_relaxed(at); /* ours */

    if (!word || ((word & DESTS_ONE) && !is_same(dests_unpack(word), d)))
        return ERR_NONE;
    if (word & DESTS_ONE) {
        show(memory, at, 0);
        return OK;
    }
    return remove_from_list(memory, at, dests_list(word), d);
}

void dests_drop_all(struct reclaim *memory, _Atomic uint64_t *at)
{
    show(memory, at, 0);
}
