/* core/session/idset.c -- a hash set of packet identifiers. */
#include "core/session/idset.h"

#include <stdlib.h>

#define IDSET_MARK 0x10000u
#define CAPACITY_FIRST 8u

/* Identifiers come mostly one after the other: their low bits spread them evenly. */
static uint32_t place_of(const struct idset *t, uint16_t id)
{
    uint32_t at = id & (t->capacity - 1);

    while (t->v[at] && (uint16_t)t->v[at] != id)
        at = (at + 1) & (t->capacity - 1);
    return at;
}

bool idset_has(const struct idset *t, uint16_t id)
{
    return t->count && t->v[place_of(t, id)];
}

static bool grow(struct idset *t)
{
    struct idset wider = {.capacity = t->capacity ? t->capacity * 2 : CAPACITY_FIRST};

    wider.v = calloc(wider.capacity, sizeof *wider.v);
    if (!wider.v)
        return false;
    for (uint32_t i = 0; i < t->capacity; i++)
        if (t->v[i])
            wider.v[place_of(&wider, (uint16_t)t->v[i])] = t->v[i];
    wider.count = t->count;
    free(t->v);
    *t = wider;
    return true;
}

bool idset_add(struct idset *t, uint16_t id)
{
    if (t->count * 2 >= t->capacity && !grow(t))
        return false;
    t->v[place_of(t, id)] = id;
    t->count++;
    return true;
}

/* Closes the gap at `at`: those behind it that would not be found any more move up. */
static void close_gap(struct idset *t, uint32_t at)
{
    uint32_t mask = t->capacity - 1;

    for (uint32_t next = (at + 1) & mask; t->v[next]; next = (next + 1) & mask) {
        uint32_t home = (uint16_t)t->v[next] & mask;

        if (((next - home) & mask) >= ((next - at) & mask)) {
            t->v[at] = t->v[next];
            at = next;
        }
    }
    t->v[at] = 0;
}

bool idset_remove(struct idset *t, uint16_t id, bool *is_marked)
{
    uint32_t at;

    *is_marked = false;
    if (!idset_has(t, id))
        return false;
    at = place_of(t, id);
    *is_marked = (t->v[at] & IDSET_MARK) != 0;
    close_gap(t, at);
    if (--t->count == 0 && t->capacity > CAPACITY_FIRST)
        idset_fini(t);
    return true;
}

void idset_mark_all(struct idset *t)
{
    for (uint32_t i = 0; i < t->capacity; i++)
        if (t->v[i])
            t->v[i] |= IDSET_MARK;
}

void idset_fini(struct idset *t)
{
    free(t->v);
    *t = (struct idset){0};
}
