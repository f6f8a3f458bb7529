/* link/announced.c -- actors, their routes, and the distinct filters behind them.
 *
 * A route holds its filter by reference; the filter counts its routes and is reported with the
 * first and the last. An id that equals its filter, as of every plain subscription, is not stored
 * again. An actor's routes stand in a list ordered by generation: announcing one again moves it to
 * the end, so what an earlier incarnation left behind is always at the front. When an actor goes,
 * all its routes become old in this sense, and the sweep finds them.
 */
#include "link/announced.h"

#include <stdlib.h>

#include "core/base/check.h"
#include "core/base/limits.h"
#include "core/base/table.h"
#include "core/mqtt/topic.h"

struct filter {
    struct table_node node;
    struct filter *prev, *next; /* all filters, in the order of their coming */
    uint32_t route_count;
    uint32_t n;
    uint8_t text[];
};

struct route {
    struct table_node node;
    struct route *prev, *next; /* of the actor, older generations first */
    struct filter *filter;
    struct announced_actor *actor;
    uint32_t generation;
    uint32_t id_n; /* ID_IS_FILTER: none of its own */
    uint8_t id[];
};

#define ID_IS_FILTER UINT32_MAX

struct announced_actor {
    struct announced_actor *next;
    uint64_t incarnation, expiry;
    uint32_t generation; /* counts incarnations seen */
    uint32_t number;     /* tells actors apart in hashes */
    uint32_t route_count;
    bool is_gone; /* expired: kept for its routes only */
    struct route *first, *last;
    uint32_t name_n;
    uint8_t name[];
};

struct announced {
    struct hash_key key;
    struct table filters, routes;
    struct filter *first, *last;
    struct announced_actor *actors;
    uint32_t actor_count, gone_count; /* gone: not in actor_count */
    uint32_t actors_max, routes_max, levels_max, next_number;
    const struct announced_ops *ops;
    void *arg;
};

/* ----------------------------------------------------------------------------- handshake --- */

enum handshake handshake_decide(bool is_known, bool is_enabled, struct bytes target,
                                struct bytes own_name)
{
    if (!is_known)
        return HANDSHAKE_UNKNOWN_CLUSTER;
    if (!is_enabled)
        return HANDSHAKE_LINK_DISABLED;
    return bytes_eq(target, own_name) ? HANDSHAKE_OK : HANDSHAKE_BAD_LINK_NAME;
}

struct bytes handshake_reason(enum handshake h)
{
    switch (h) {
    case HANDSHAKE_UNKNOWN_CLUSTER:
        return BYTES_LIT("unknown_cluster");
    case HANDSHAKE_BAD_LINK_NAME:
        return BYTES_LIT("bad_remote_cluster_link_name");
    case HANDSHAKE_LINK_DISABLED:
        return BYTES_LIT("cluster_link_disabled");
    default:
        CHECK(h == HANDSHAKE_OK);
        return BYTES_LIT("");
    }
}

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

static struct filter *filter_make(struct announced *a, struct bytes text, uint64_t hash)
{
    struct filter *f = NULL;

    if (!hold(a, (int64_t)(sizeof(*f) + text.n)))
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
    let_go(a, sizeof(*f) + text.n);
    return NULL;
}

static void filter_free(struct announced *a, struct filter *f)
{
    *(f->prev ? &f->prev->next : &a->first) = f->next;
    *(f->next ? &f->next->prev : &a->last) = f->prev;
    table_remove(&a->filters, &f->node);
    let_go(a, sizeof(*f) + f->n);
    free(f);
}

/* -------------------------------------------------------------------------------- routes --- */

static struct bytes id_of(const struct route *r)
{
    return r->id_n == ID_IS_FILTER ? text_of(r->filter) : bytes_of(r->id, r->id_n);
}

/* What a route takes; an id that is its filter stands there. */
static size_t route_bytes(uint32_t id_n)
{
    return sizeof(struct route) + (id_n == ID_IS_FILTER ? 0 : id_n);
}

static uint64_t route_hash(const struct announced *a, uint64_t filter_hash, uint32_t actor,
                           struct bytes id)
{
    return hash_more(&a->key, filter_hash + actor, id);
}

static struct route *route_find(const struct announced *a, const struct announced_actor *actor,
                                const struct filter *f, struct bytes id)
{
    struct table_node *n = table_first(&a->routes, route_hash(a, f->node.hash, actor->number, id));

    for (; n; n = table_after(n)) {
        struct route *r = TABLE_OBJECT(n, struct route, node);

        if (r->filter == f && r->actor == actor && bytes_eq(id_of(r), id))
            return r;
    }
    return NULL;
}

static void route_append(struct route *r)
{
    struct announced_actor *actor = r->actor;

    r->generation = actor->generation;
    r->prev = actor->last;
    r->next = NULL;
    *(actor->last ? &actor->last->next : &actor->first) = r;
    actor->last = r;
    actor->route_count++;
}

static void route_unlink(struct announced_actor *actor, struct route *r)
{
    CHECK(r->actor == actor);
    *(r->prev ? &r->prev->next : &actor->first) = r->next;
    *(r->next ? &r->next->prev : &actor->last) = r->prev;
    actor->route_count--;
}

static void route_free(struct announced *a, struct announced_actor *actor, struct route *r)
{
    struct filter *f = r->filter;

    route_unlink(actor, r);
    table_remove(&a->routes, &r->node);
    let_go(a, route_bytes(r->id_n));
    free(r);
    if (--f->route_count > 0)
        return;
    a->ops->report(a->arg, text_of(f), false);
    filter_free(a, f);
}

static enum err route_make(struct announced *a, struct announced_actor *actor, struct filter *f,
                           struct bytes id)
{
    uint32_t id_n = bytes_eq(id, text_of(f)) ? ID_IS_FILTER : id.n;
    struct route *r = NULL;

    if (!hold(a, (int64_t)route_bytes(id_n)))
        return ERR_MEMORY;
    r = malloc(route_bytes(id_n));
    if (!r)
        goto no_memory;
    *r = (struct route){.filter = f, .actor = actor, .id_n = id_n};
    if (id_n != ID_IS_FILTER)
        bytes_put(r->id, id);
    if (!table_insert(&a->routes, &r->node, route_hash(a, f->node.hash, actor->number, id)))
        goto no_memory;
    route_append(r);
    f->route_count++;
    return OK;

no_memory:
    free(r);
    let_go(a, route_bytes(id_n));
    return ERR_MEMORY;
}

enum err announced_add(struct announced *a, struct announced_actor *actor, struct bytes filter,
                       struct bytes id)
{
    uint64_t hash = hash_bytes(&a->key, filter);
    struct filter *f;
    struct route *r;
    enum err e;

    if (!topic_filter_valid(filter, a->levels_max) || id.n > ANNOUNCED_ID_BYTES_MAX)
        return ERR_PEER;
    if (a->routes.count >= a->routes_max)
        (void)announced_sweep(a, actor, 1);
    f = filter_find(a, filter, hash);
    r = f ? route_find(a, actor, f, id) : NULL;
    if (r) { /* again: it belongs to the present incarnation now */
        route_unlink(actor, r);
        route_append(r);
        return OK;
    }
    if (a->routes.count >= a->routes_max)
        return ERR_FULL;
    if (!f && !(f = filter_make(a, filter, hash)))
        return ERR_MEMORY;
    e = route_make(a, actor, f, id);
    if (e != OK && f->route_count == 0)
        filter_free(a, f);
    if (e == OK && f->route_count == 1)
        a->ops->report(a->arg, text_of(f), true);
    return e;
}

void announced_delete(struct announced *a, struct announced_actor *actor, struct bytes filter,
                      struct bytes id)
{
    struct filter *f = filter_find(a, filter, hash_bytes(&a->key, filter));
    struct route *r = f ? route_find(a, actor, f, id) : NULL;

    if (r)
        route_free(a, actor, r);
}

/* Uses up *count. */
static bool sweep(struct announced *a, struct announced_actor *actor, uint32_t *count)
{
    while (actor->first && actor->first->generation != actor->generation) {
        if (*count == 0)
            return true;
        --*count;
        CHECK(actor->first->prev == NULL);
        route_free(a, actor, actor->first);
    }
    return false;
}

bool announced_sweep(struct announced *a, struct announced_actor *actor, uint32_t count_max)
{
    return sweep(a, actor, &count_max);
}

/* -------------------------------------------------------------------------------- actors --- */

static struct announced_actor *actor_find(struct announced *a, struct bytes name)
{
    struct announced_actor *actor = a->actors;

    while (actor && !bytes_eq(bytes_of(actor->name, actor->name_n), name))
        actor = actor->next;
    return actor;
}

/* A new generation of nothing is complete; of something, all routes are old. */
static void actor_renew(struct announced *a, struct announced_actor *actor, enum announced_old old)
{
    actor->generation++;
    if (actor->is_gone) {
        actor->is_gone = false;
        a->gone_count--;
        a->actor_count++;
    }
    if (old == ANNOUNCED_OLD_GO)
        (void)announced_sweep(a, actor, UINT32_MAX);
}

enum err announced_hello(struct announced *a, struct bytes name, uint64_t incarnation,
                         uint64_t expiry, enum announced_old old, bool *need_bootstrap)
{
    struct announced_actor *actor = actor_find(a, name);

    if (name.n == 0 || name.n > ANNOUNCED_ACTOR_BYTES_MAX)
        return ERR_PEER;
    if (actor && !actor->is_gone && incarnation < actor->incarnation)
        return ERR_PEER;
    *need_bootstrap = !actor || actor->is_gone || incarnation > actor->incarnation;
    if (!actor) {
        if (a->actor_count + a->gone_count >= a->actors_max)
            return ERR_FULL;
        actor = malloc(sizeof(*actor) + name.n);
        if (!actor)
            return ERR_MEMORY;
        *actor = (struct announced_actor){
            .next = a->actors, .number = a->next_number++, .name_n = name.n};
        bytes_put(actor->name, name);
        a->actors = actor;
        a->actor_count++;
    } else if (*need_bootstrap) {
        actor_renew(a, actor, old);
    }
    actor->incarnation = incarnation;
    actor->expiry = expiry;
    return OK;
}

struct announced_actor *announced_find(struct announced *a, struct bytes name, uint64_t incarnation)
{
    struct announced_actor *actor = actor_find(a, name);

    return actor && !actor->is_gone && actor->incarnation == incarnation ? actor : NULL;
}

void announced_beat(struct announced_actor *actor, uint64_t expiry)
{
    actor->expiry = expiry;
}

/* Removes the actor that *at points to, which has no route any more. */
static void actor_free(struct announced *a, struct announced_actor **at)
{
    struct announced_actor *actor = *at;

    CHECK(!actor->first && actor->route_count == 0);
    *at = actor->next;
    *(actor->is_gone ? &a->gone_count : &a->actor_count) -= 1;
    free(actor);
}

bool announced_sweep_all(struct announced *a, uint32_t count_max)
{
    struct announced_actor **at = &a->actors;

    while (*at) {
        if (sweep(a, *at, &count_max))
            return true;
        if ((*at)->is_gone)
            actor_free(a, at);
        else
            at = &(*at)->next;
    }
    return false;
}

uint32_t announced_expire(struct announced *a, uint64_t now, uint32_t *routes)
{
    uint32_t gone = 0;

    *routes = 0;
    for (struct announced_actor *actor = a->actors; actor; actor = actor->next) {
        if (actor->is_gone || actor->expiry > now)
            continue;
        actor->is_gone = true;
        actor->generation++;
        a->actor_count--;
        a->gone_count++;
        *routes += actor->route_count;
        gone++;
    }
    return gone;
}

uint64_t announced_next_expiry(const struct announced *a)
{
    uint64_t next = UINT64_MAX;

    for (const struct announced_actor *actor = a->actors; actor; actor = actor->next)
        if (!actor->is_gone && actor->expiry < next)
            next = actor->expiry;
    return next;
}

void announced_drop(struct announced *a)
{
    while (a->actors) {
        while (a->actors->first)
            route_free(a, a->actors, a->actors->first);
        actor_free(a, &a->actors);
    }
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

uint32_t announced_actor_count(const struct announced *a)
{
    return a->actor_count;
}

uint32_t announced_route_count(const struct announced *a)
{
    return a->routes.count;
}

uint32_t announced_filter_count(const struct announced *a)
{
    return a->filters.count;
}

/* ------------------------------------------------------------------------------ lifetime --- */

struct announced *announced_create(uint32_t actors_max, uint32_t routes_max, uint32_t levels_max,
                                   const struct hash_key *key, const struct announced_ops *ops,
                                   void *arg)
{
    struct announced *a = calloc(1, sizeof(*a));

    if (!a)
        return NULL;
    *a = (struct announced){.key = *key,
                            .actors_max = actors_max,
                            .routes_max = routes_max,
                            .levels_max = levels_max,
                            .ops = ops,
                            .arg = arg};
    table_init(&a->filters);
    table_init(&a->routes);
    return a;
}

static void report_nothing(void *arg, struct bytes filter, bool is_wanted)
{
    (void)arg;
    (void)filter;
    (void)is_wanted;
}

void announced_destroy(struct announced *a)
{
    struct announced_ops silent;

    if (!a)
        return;
    silent = (struct announced_ops){.report = report_nothing, .hold = a->ops->hold};
    a->ops = &silent;
    announced_drop(a);
    table_fini(&a->filters);
    table_fini(&a->routes);
    free(a);
}
