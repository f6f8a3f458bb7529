/* core/session/filters.c -- one worker's filters and their subscribers. */
#include "core/session/filters.h"

#include <stdlib.h>

#include "core/base/check.h"
#include "core/session/session.h"

void filters_init(struct filters *f, uint32_t count_max)
{
    slab_init(&f->slab, sizeof(struct filter), count_max);
    table_init(&f->table);
}

void filters_fini(struct filters *f)
{
    uint32_t slot = 0;
    struct filter *x;

    while ((x = slab_next(&f->slab, &slot))) {
        if (x->v != &x->one)
            free(x->v);
        free(x->text);
    }
    slab_fini(&f->slab);
    table_fini(&f->table);
}

struct filter *filters_find(const struct filters *f, struct bytes text, uint64_t hash)
{
    for (struct table_node *n = table_first(&f->table, hash); n; n = table_after(n)) {
        struct filter *x = TABLE_OBJECT(n, struct filter, node);

        if (bytes_eq(filter_text(x), text))
            return x;
    }
    return NULL;
}

struct filter *filters_create(struct filters *f, struct bytes text, uint64_t hash, uint16_t owner)
{
    struct filter *x = slab_alloc(&f->slab);

    if (!x)
        return NULL;
    x->text = malloc(text.n ? text.n : 1);
    if (!x->text || !table_insert(&f->table, &x->node, hash)) {
        free(x->text);
        slab_free(&f->slab, x);
        return NULL;
    }
    bytes_put(x->text, text);
    x->text_count = text.n;
    x->owner = owner;
    x->v = &x->one;
    x->capacity = 1;
    x->state = FILTER_IDLE;
    return x;
}

void filters_remove(struct filters *f, struct filter *x)
{
    CHECK(x->state == FILTER_IDLE && x->count == 0 && !x->waiting && !x->is_todo);
    table_remove(&f->table, &x->node);
    if (x->v != &x->one)
        free(x->v);
    free(x->text);
    slab_free(&f->slab, x);
}

struct filter *filters_at(const struct filters *f, struct handle h)
{
    return slab_at(&f->slab, h);
}

struct bytes filter_text(const struct filter *f)
{
    return bytes_of(f->text, f->text_count);
}

uint32_t filter_join(struct filter *f, struct subscriber s)
{
    if (f->count == f->capacity) {
        uint32_t capacity = f->capacity * 2;
        struct subscriber *v = malloc(capacity * sizeof *v);

        if (!v)
            return UINT32_MAX;
        memcpy(v, f->v, f->count * sizeof *v);
        if (f->v != &f->one)
            free(f->v);
        f->v = v;
        f->capacity = capacity;
    }
    f->v[f->count] = s;
    return f->count++;
}

void filter_leave(struct filter *f, uint32_t at)
{
    CHECK(at < f->count);
    f->count--;
    if (at != f->count) {
        f->v[at] = f->v[f->count];
        f->v[at].session->subs[f->v[at].at].at = at;
    }
    if (f->v != &f->one && f->count <= 1) {
        struct subscriber *v = f->v;

        f->one = v[0];
        f->v = &f->one;
        f->capacity = 1;
        free(v);
    }
}
