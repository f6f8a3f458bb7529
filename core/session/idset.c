/* core/session/idset.c -- a hash set of pages of packet identifiers.
 *
 * Open addressing with linear probing, at most half full. The low bits of a page's number are its
 * place: pages come one after the other, too.
 */
#include "core/session/idset.h"

#include <stdlib.h>

#define PAGE_IDS 64u
#define CAPACITY_FIRST 4u

struct idset_page {
    uint64_t present; /* a bit for each identifier; 0: this place is free */
    uint64_t marked;
    uint32_t number;
};

static uint32_t number_of(uint16_t id)
{
    return id / PAGE_IDS;
}

static uint64_t bit_of(uint16_t id)
{
    return 1ull << id % PAGE_IDS;
}

/* Where the page of that number is, or the free place where it would be. */
static struct idset_page *place_of(const struct idset *t, uint32_t number)
{
    uint32_t mask = t->capacity - 1u, at = number & mask;

    while (t->v[at].present && t->v[at].number != number)
        at = (at + 1) & mask;
    return &t->v[at];
}

bool idset_has(const struct idset *t, uint16_t id)
{
    return t->count && (place_of(t, number_of(id))->present & bit_of(id));
}

static bool grow(struct idset *t)
{
    struct idset wider = *t;

    wider.capacity = (uint16_t)(t->capacity ? t->capacity * 2u : CAPACITY_FIRST);
    wider.v = calloc(wider.capacity, sizeof *wider.v);
    if (!wider.v)
        return false;
    for (uint32_t i = 0; i < t->capacity; i++)
        if (t->v[i].present)
            *place_of(&wider, t->v[i].number) = t->v[i];
    free(t->v);
    *t = wider;
    return true;
}

bool idset_add(struct idset *t, uint16_t id)
{
    uint32_t number = number_of(id);
    struct idset_page *page = t->capacity ? place_of(t, number) : NULL;

    if (!page || !page->present) {
        if (t->page_count * 2u >= t->capacity && !grow(t))
            return false;
        page = place_of(t, number);
        *page = (struct idset_page){.number = number};
        t->page_count++;
    }
    page->present |= bit_of(id);
    page->marked &= ~bit_of(id);
    t->count++;
    return true;
}

/* Closes the gap at `at`: those behind it that would not be found any more move up. */
static void close_gap(struct idset *t, uint32_t at)
{
    uint32_t mask = t->capacity - 1u;

    for (uint32_t next = (at + 1) & mask; t->v[next].present; next = (next + 1) & mask) {
        uint32_t home = t->v[next].number & mask;

        if (((next - home) & mask) >= ((next - at) & mask)) {
            t->v[at] = t->v[next];
            at = next;
        }
    }
    t->v[at].present = 0;
}

bool idset_remove(struct idset *t, uint16_t id, bool *is_marked)
{
    struct idset_page *page;

    *is_marked = false;
    if (!idset_has(t, id))
        return false;
    page = place_of(t, number_of(id));
    *is_marked = page->marked & bit_of(id);
    page->present &= ~bit_of(id);
    if (!page->present) {
        close_gap(t, (uint32_t)(page - t->v));
        t->page_count--;
    }
    if (--t->count == 0 && t->capacity > CAPACITY_FIRST)
        idset_fini(t);
    return true;
}

void idset_mark_all(struct idset *t)
{
    for (uint32_t i = 0; i < t->capacity; i++)
        t->v[i].marked = t->v[i].present;
}

void idset_fini(struct idset *t)
{
    free(t->v);
    *t = (struct idset){0};
}
