/* link/announced_routes.c -- routes of actors, and the distinct filters behind them.
 *
 * A filter counts its routes and is reported with the first and the last. It has a place of its own
 * for one route whose id is empty, as all are of a native peer, or equals the filter, as that of
 * every plain subscription does; a further route holds its filter by reference. An actor's routes
 * stand in a list ordered by generation: announcing an old one moves it to the end, so what an
 * earlier generation left behind is always at the front.
 */
#include <stdlib.h>

#include "core/base/check.h"
#include "core/mqtt/topic.h"
#include "link/announced_state.h"

static bool hold(const struct announced *a, int64_t bytes)
{
    return !a->ops->hold || a->ops->hold(a->arg, bytes);
}

static void let_go(const struct announced *a, size_t bytes)
{
    (void)hold(a, -(int64_t)bytes);
}

/* ------------------------------------------------------------------------------- filters --- */

static struct bytes text_of(const struct filter *f)
{
    return bytes_of(f->text, f->n);
}

static struct filter *filter_find(const struct announced *a, struct bytes text, uint64_t hash)
{
    struct table_node *n = table_first(&a->filters, hash);

    for (; n; n = table_after(n)) {
        struct filter *f = TABLE_OBJECT(n, struct filter, node);

        if (bytes_eq(text_of(f), text))
            return f;
    }
    return NULL;
}

/* What a filter takes: here, and in the route index, which keeps its text, too. */
static size_t filter_bytes(uint32_t n)
{
    return sizeof(struct filter) + ANNOUNCED_INDEX_BYTES + 2 * (size_t)n;
}

static struct filter *filter_make(struct announced *a, struct bytes text, uint64_t hash)
{
    struct filter *f = NULL;

    if (!hold(a, (int64_t)filter_bytes(text.n)))
        return NULL;
    f = malloc(sizeof(*f) + text.n);
    if (!f)
        goto no_memory;
    *f = (struct filter){.prev = a->last, .n = text.n};
    bytes_put(f->text, text);
    if (!table_insert(&a->filters, &f->node, hash))
        goto no_memory;
    *(a->last ? &a->last->next : &a->first) = f;
    a->last = f;
    return f;

no_memory:
    free(f);
    let_go(a, filter_bytes(text.n));
    return NULL;
}

static void filter_free(struct announced *a, struct filter *f)
{
    *(f->prev ? &f->prev->next : &a->first) = f->next;
    *(f->next ? &f->next->prev : &a->last) = f->prev;
    table_remove(&a->filters, &f->node);
    let_go(a, filter_bytes(f->n));
    free(f);
}

/* -------------------------------------------------------------------------------- routes --- */

static struct route *route_of(struct held *h)
{
    CHECK(!h->is_own);
    return TABLE_OBJECT(h, struct route, held);
}

static struct filter *filter_of(struct held *h)
{
    return h->is_own ? TABLE_OBJECT(h, struct filter, own) : route_of(h)->filter;
}

static bool has_id(struct held *h, struct bytes id)
{
    if (h->id_n == ID_IS_FILTER)
        return bytes_eq(text_of(filter_of(h)), id);
    return h->is_own ? id.n == 0 : bytes_eq(bytes_of(route_of(h)->id, h->id_n), id);
}

/* What a route takes that does not stand in its filter; an id that is the filter stands there. */
static size_t route_bytes(uint32_t id_n)
{
    return sizeof(struct route) + (id_n == ID_IS_FILTER ? 0 : id_n);
}

static uint64_t route_hash(const struct announced *a, uint64_t filter_hash, uint32_t actor,
                           struct bytes id)
{
    return hash_more(&a->key, filter_hash + actor, id);
}

static struct held *held_find(const struct announced *a, const struct announced_actor *actor,
                              struct filter *f, struct bytes id)
{
    struct table_node *n;

    CHECK(actor); /* as an empty place of a filter has none */
    if (f->own.actor == actor && has_id(&f->own, id))
        return &f->own;
    if (a->routes.count == 0)
        return NULL;
    n = table_first(&a->routes, route_hash(a, f->node.hash, actor->number, id));
    for (; n; n = table_after(n)) {
        struct route *r = TABLE_OBJECT(n, struct route, node);

        if (r->filter == f && r->held.actor == actor && has_id(&r->held, id))
            return &r->held;
    }
    return NULL;
}

/* Adds a filter of the present generation to count and digest, or takes it out. */
static void count_in(struct announced_actor *actor, const struct filter *f, bool is_heard)
{
    uint64_t hash;

    if (!actor->has_digest)
        return;
    hash = hash_bytes(&actor->digest_key, text_of(f));
    actor->count += is_heard ? 1 : UINT64_MAX;
    actor->digest += is_heard ? hash : 0 - hash;
}

static void held_append(struct held *h)
{
    struct announced_actor *actor = h->actor;

    h->generation = actor->generation;
    h->prev = actor->last;
    h->next = NULL;
    *(actor->last ? &actor->last->next : &actor->first) = h;
    actor->last = h;
    actor->route_count++;
    count_in(actor, filter_of(h), true);
}

static void held_unlink(struct announced_actor *actor, struct held *h)
{
    CHECK(h->actor == actor);
    *(h->prev ? &h->prev->next : &actor->first) = h->next;
    *(h->next ? &h->next->prev : &actor->last) = h->prev;
    actor->route_count--;
    if (h->generation == actor->generation)
        count_in(actor, filter_of(h), false);
}

void announced_free_route(struct announced *a, struct announced_actor *actor, struct held *h)
{
    struct filter *f = filter_of(h);

    held_unlink(actor, h);
    a->route_count--;
    if (h == &f->own) {
        h->actor = NULL;
    } else {
        table_remove(&a->routes, &route_of(h)->node);
        let_go(a, route_bytes(h->id_n));
        free(route_of(h));
    }
    if (--f->route_count > 0)
        return;
    a->ops->report(a->arg, text_of(f), false);
    filter_free(a, f);
}

/* A route outside of its filter. */
static struct held *route_make(struct announced *a, const struct announced_actor *actor,
                               struct filter *f, struct bytes id, uint32_t id_n)
{
    struct route *r = NULL;

    if (!hold(a, (int64_t)route_bytes(id_n)))
        return NULL;
    r = malloc(route_bytes(id_n));
    if (!r)
        goto no_memory;
    *r = (struct route){.filter = f};
    if (id_n != ID_IS_FILTER)
        bytes_put(r->id, id);
    if (!table_insert(&a->routes, &r->node, route_hash(a, f->node.hash, actor->number, id)))
        goto no_memory;
    return &r->held;

no_memory:
    free(r);
    let_go(a, route_bytes(id_n));
    return NULL;
}

static enum err held_make(struct announced *a, struct announced_actor *actor, struct filter *f,
                          struct bytes id)
{
    uint32_t id_n = bytes_eq(id, text_of(f)) ? ID_IS_FILTER : id.n;
    bool is_own = !f->own.actor && (id_n == ID_IS_FILTER || id_n == 0);
    struct held *h = is_own ? &f->own : route_make(a, actor, f, id, id_n);

    if (!h)
        return ERR_MEMORY;
    *h = (struct held){.actor = actor, .id_n = id_n & ID_IS_FILTER, .is_own = is_own};
    held_append(h);
    a->route_count++;
    f->route_count++;
    return OK;
}

static enum err add(struct announced *a, struct announced_actor *actor, struct bytes filter,
                    struct bytes id)
{
    uint64_t hash = hash_bytes(&a->key, filter);
    uint32_t one = 1;
    struct filter *f;
    struct held *h;
    enum err e;

    if (!topic_filter_valid(filter, a->levels_max) || id.n > ANNOUNCED_ID_BYTES_MAX)
        return ERR_PEER;
    if (a->route_count >= a->routes_max)
        (void)announced_sweep_actor(a, actor, &one);
    f = filter_find(a, filter, hash);
    h = f ? held_find(a, actor, f, id) : NULL;
    if (h && h->generation != actor->generation) { /* it belongs to the present one now */
        held_unlink(actor, h);
        held_append(h);
    }
    if (h)
        return OK;
    if (a->route_count >= a->routes_max)
        return ERR_FULL;
    if (!f && !(f = filter_make(a, filter, hash)))
        return ERR_MEMORY;
    e = held_make(a, actor, f, id);
    if (e != OK && f->route_count == 0)
        filter_free(a, f);
    if (e == OK && f->route_count == 1)
        a->ops->report(a->arg, text_of(f), true);
    return e;
}

enum err announced_add(struct announced *a, struct announced_actor *actor, struct bytes filter,
                       struct bytes id)
{
    enum err e = add(a, actor, filter, id);

    if (e != OK)
        announced_refuse(actor);
    return e;
}

void announced_delete(struct announced *a, struct announced_actor *actor, struct bytes filter,
                      struct bytes id)
{
    struct filter *f = filter_find(a, filter, hash_bytes(&a->key, filter));
    struct held *h = f ? held_find(a, actor, f, id) : NULL;

    if (h)
        announced_free_route(a, actor, h);
}

bool announced_actor_has_old(const struct announced_actor *actor)
{
    return actor->first && actor->first->generation != actor->generation;
}

bool announced_sweep_actor(struct announced *a, struct announced_actor *actor, uint32_t *count)
{
    while (announced_actor_has_old(actor)) {
        if (*count == 0)
            return true;
        --*count;
        CHECK(actor->first->prev == NULL);
        announced_free_route(a, actor, actor->first);
    }
    return false;
}

bool announced_sweep(struct announced *a, struct announced_actor *actor, uint32_t count_max)
{
    return !actor->is_kept && announced_sweep_actor(a, actor, &count_max);
}

bool announced_next_filter(const struct announced *a, const void **cursor, struct bytes *filter)
{
    const struct filter *f = *cursor ? ((const struct filter *)*cursor)->next : a->first;

    if (!f)
        return false;
    *cursor = f;
    *filter = text_of(f);
    return true;
}

uint32_t announced_filter_count(const struct announced *a)
{
    return a->filters.count;
}
