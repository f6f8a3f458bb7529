/* link/announced_routes.c -- routes of actors, and the distinct filters behind them.
 *
 * A filter counts its routes and is reported with the first and the last. It has a place of its own
 * for one route whose id is empty, as all are of a native peer, or equals the filter, as that of
 * every plain subscription does; a further route holds its filter by reference. A route says which
 * actor holds it, by number, and in which generation that was; it stands in no list of its actor,
 * which would cost as much again. An actor counts what is old, and a sweep walks the buckets of the
 * tables, which change little, going on where the last one stopped, until nothing old is left.
 */
#include <stdlib.h>

#include "core/base/check.h"
#include "core/mqtt/topic.h"
#include "link/announced_state.h"
#include "link/path.h"

/* Buckets that a sweep looks at, for each route that it may remove and besides. */
#define SWEEP_STEPS 2u
#define SWEEP_STEPS_MIN 4096u
/* Routes that may be held beyond `routes_max` while what is old is looked for: more than it takes
 * adds to look through tables for millions of routes. */
#define BEYOND_MAX 4096u

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
    return bytes_of(f->text, f->own.n);
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
static size_t filter_bytes(size_t n)
{
    return offsetof(struct filter, text) + sizeof(void *) + ANNOUNCED_INDEX_BYTES + 2 * n;
}

static struct filter *filter_make(struct announced *a, struct bytes text, uint64_t hash)
{
    struct filter *f = NULL;

    if (!hold(a, (int64_t)filter_bytes(text.n)))
        return NULL;
    f = malloc(offsetof(struct filter, text) + text.n);
    if (!f)
        goto no_memory;
    f->own = (struct held){.n = text.n & TEXT_BYTES_MAX};
    f->more_count = 0;
    bytes_put(f->text, text);
    if (!table_insert(&a->filters, &f->node, hash))
        goto no_memory;
    return f;

no_memory:
    free(f);
    let_go(a, filter_bytes(text.n));
    return NULL;
}

static void filter_free(struct announced *a, struct filter *f)
{
    table_remove(&a->filters, &f->node);
    let_go(a, filter_bytes(f->own.n));
    free(f);
}

static bool is_held(const struct filter *f)
{
    return f->own.actor || f->more_count;
}

/* -------------------------------------------------------------------------------- routes --- */

/* A route: in its filter, or beside it. */
struct place {
    struct filter *filter;
    struct route *route; /* NULL: the filter's own */
};

static struct held *held_at(struct place p)
{
    return p.route ? &p.route->held : &p.filter->own;
}

/* What a route takes that does not stand in its filter. */
static size_t route_bytes(size_t id_n)
{
    return sizeof(struct route) + id_n;
}

static uint64_t route_hash(const struct announced *a, uint64_t filter_hash, uint32_t actor,
                           struct bytes id)
{
    return hash_more(&a->key, filter_hash + actor, id);
}

/* Whether an id can be that of a filter's own route. */
static bool is_plain(const struct filter *f, struct bytes id)
{
    return id.n == 0 || bytes_eq(id, text_of(f));
}

/* The route of an actor with this id. false: it has none. */
static bool find(const struct announced *a, const struct announced_actor *actor, struct filter *f,
                 struct bytes id, struct place *found)
{
    struct table_node *n;

    *found = (struct place){.filter = f};
    if (f->own.actor == actor->number && is_plain(f, id) && f->own.is_id == (id.n != 0))
        return true;
    if (f->more_count == 0)
        return false;
    n = table_first(&a->routes, route_hash(a, f->node.hash, actor->number, id));
    for (; n; n = table_after(n)) {
        struct route *r = TABLE_OBJECT(n, struct route, node);

        found->route = r;
        if (r->filter == f && r->held.actor == actor->number &&
            bytes_eq(bytes_of(r->id, r->held.n), id))
            return true;
    }
    return false;
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

static bool is_old(const struct announced_actor *actor, const struct held *h)
{
    return h->generation != (actor->generation & GENERATION_MASK);
}

static struct announced_actor *actor_of(const struct announced *a, const struct held *h)
{
    return a->numbered[h->actor];
}

static void forget(struct announced *a, struct place p)
{
    struct held *h = held_at(p);
    struct announced_actor *actor = actor_of(a, h);

    CHECK(actor->route_count);
    actor->route_count--;
    a->route_count--;
    if (is_old(actor, h))
        actor->old_count--;
    else
        count_in(actor, p.filter, false);
    if (p.route) {
        table_remove(&a->routes, &p.route->node);
        let_go(a, route_bytes(h->n));
        free(p.route);
        p.filter->more_count--;
    } else {
        h->actor = 0;
    }
    if (is_held(p.filter))
        return;
    a->ops->report(a->arg, text_of(p.filter), false);
    filter_free(a, p.filter);
}

/* A route outside of its filter. */
static struct route *route_make(struct announced *a, const struct announced_actor *actor,
                                struct filter *f, struct bytes id)
{
    struct route *r = NULL;

    if (!hold(a, (int64_t)route_bytes(id.n)))
        return NULL;
    r = malloc(route_bytes(id.n));
    if (!r)
        goto no_memory;
    *r = (struct route){.filter = f, .held = {.n = id.n & TEXT_BYTES_MAX}};
    bytes_put(r->id, id);
    if (!table_insert(&a->routes, &r->node, route_hash(a, f->node.hash, actor->number, id)))
        goto no_memory;
    f->more_count++;
    return r;

no_memory:
    free(r);
    let_go(a, route_bytes(id.n));
    return NULL;
}

static enum err route_add(struct announced *a, struct announced_actor *actor, struct filter *f,
                          struct bytes id)
{
    struct place p = {.filter = f};
    struct held *h = &f->own;
    bool was_held = is_held(f);

    if (f->own.actor || !is_plain(f, id)) {
        p.route = route_make(a, actor, f, id);
        if (!p.route)
            return ERR_MEMORY;
        h = &p.route->held;
    }
    h->actor = actor->number & 0xffffu;
    h->generation = actor->generation & GENERATION_MASK;
    h->is_id = id.n != 0;
    actor->route_count++;
    a->route_count++;
    count_in(actor, f, true);
    if (!was_held)
        a->ops->report(a->arg, text_of(f), true);
    return OK;
}

/* It belongs to the present generation, from now on if it did not. */
static void renew(struct announced_actor *actor, struct place p)
{
    struct held *h = held_at(p);

    if (!is_old(actor, h))
        return;
    h->generation = actor->generation & GENERATION_MASK;
    actor->old_count--;
    count_in(actor, p.filter, true);
}

/* Whether one route more may be held. What is old makes room; where little of it is left among
 * many, it is not looked for to the end, and a few routes more are held meanwhile. */
static bool has_room(struct announced *a, struct announced_actor *actor)
{
    uint32_t before = a->route_count;
    bool more;

    if (before < a->routes_max)
        return true;
    more = announced_sweep_actor(a, actor, 1);
    return a->route_count < a->routes_max ||
           (more && a->route_count == before && before - a->routes_max < BEYOND_MAX);
}

static bool is_route(const struct announced *a, struct bytes text)
{
    struct route_text r;

    if (!route_is_passing(text))
        return topic_filter_valid(text, a->levels_max);
    return route_split(text, &r) && path_valid(r.path, PATH_NAMES_MAX) &&
           topic_filter_valid(r.filter, a->levels_max);
}

static enum err add(struct announced *a, struct announced_actor *actor, struct bytes filter,
                    struct bytes id)
{
    uint64_t hash = hash_bytes(&a->key, filter);
    struct filter *f;
    struct place p;
    enum err e;

    if (!is_route(a, filter) || id.n > ANNOUNCED_ID_BYTES_MAX)
        return ERR_PEER;
    f = filter_find(a, filter, hash);
    if (f && find(a, actor, f, id, &p)) {
        renew(actor, p);
        return OK;
    }
    if (!has_room(a, actor))
        return ERR_FULL;
    f = filter_find(a, filter, hash); /* the sweep may have freed it */
    if (!f && !(f = filter_make(a, filter, hash)))
        return ERR_MEMORY;
    e = route_add(a, actor, f, id);
    if (!is_held(f))
        filter_free(a, f);
    return e;
}

enum err announced_add(struct announced *a, struct announced_actor *actor, struct bytes filter,
                       struct bytes id)
{
    enum err e = add(a, actor, filter, id);

    if (!actor->stream) /* else only a new generation says so */
        actor->is_asked = false;
    if (e != OK)
        announced_refuse(actor);
    return e;
}

void announced_delete(struct announced *a, struct announced_actor *actor, struct bytes filter,
                      struct bytes id)
{
    struct filter *f = filter_find(a, filter, hash_bytes(&a->key, filter));
    struct place p;

    if (f && find(a, actor, f, id, &p))
        forget(a, p);
}

/* --------------------------------------------------------------------------------- sweep --- */

void announced_begin_generation(struct announced_actor *actor)
{
    actor->generation++;
    actor->count = actor->digest = 0;
    actor->old_count = actor->route_count;
    actor->is_refused = false;
}

static bool must_go(const struct announced *a, const struct held *h)
{
    const struct announced_actor *actor = h->actor ? actor_of(a, h) : NULL;

    return actor && actor->is_swept && is_old(actor, h);
}

/* Removes what must go of the bucket at hand. false: *count is used up. */
static bool sweep_bucket(struct announced *a, const struct table *t, uint32_t *count)
{
    struct table_node *n = t->buckets[a->sweep_at], *next;

    for (; n; n = next) {
        struct route *r = a->sweeps_routes ? TABLE_OBJECT(n, struct route, node) : NULL;
        struct place p = {.filter = r ? r->filter : TABLE_OBJECT(n, struct filter, node),
                          .route = r};

        next = n->next;
        if (!must_go(a, held_at(p)))
            continue;
        if (*count == 0)
            return false;
        --*count;
        forget(a, p);
    }
    return true;
}

static uint32_t left_to_sweep(const struct announced *a)
{
    uint32_t left = 0;

    for (const struct announced_actor *actor = a->actors; actor; actor = actor->next)
        left += actor->is_swept ? actor->old_count : 0;
    return left;
}

bool announced_sweep_marked(struct announced *a, uint32_t count_max)
{
    uint64_t steps = (uint64_t)count_max * SWEEP_STEPS + SWEEP_STEPS_MIN;
    uint32_t left = left_to_sweep(a), count = count_max;

    for (; left > count_max - count && steps; steps--) {
        const struct table *t = a->sweeps_routes ? &a->routes : &a->filters;

        if (a->sweep_at >= t->bucket_count) {
            a->sweeps_routes = !a->sweeps_routes;
            a->sweep_at = 0;
            continue;
        }
        if (!sweep_bucket(a, t, &count))
            break;
        a->sweep_at++;
    }
    return left > count_max - count;
}

bool announced_sweep_actor(struct announced *a, struct announced_actor *actor, uint32_t count_max)
{
    bool more;

    actor->is_swept = true;
    more = announced_sweep_marked(a, count_max);
    actor->is_swept = false;
    return more;
}

bool announced_sweep(struct announced *a, struct announced_actor *actor, uint32_t count_max)
{
    return !actor->is_kept && announced_sweep_actor(a, actor, count_max);
}

void announced_free_all(struct announced *a)
{
    for (struct announced_actor *actor = a->actors; actor; actor = actor->next) {
        announced_begin_generation(actor);
        actor->is_swept = true;
    }
    while (announced_sweep_marked(a, UINT32_MAX))
        ;
}

bool announced_next_filter(const struct announced *a, const void **cursor, struct bytes *filter)
{
    const struct filter *last = *cursor;
    struct table_node *n = table_next(&a->filters, last ? &last->node : NULL);

    if (!n)
        return false;
    *cursor = TABLE_OBJECT(n, struct filter, node);
    *filter = text_of(*cursor);
    return true;
}

uint32_t announced_filter_count(const struct announced *a)
{
    return a->filters.count;
}
