/* link/announced.c -- actors, their routes, and the distinct filters behind them.
 *
 * A filter counts its routes and is reported with the first and the last. It has a place of its own
 * for one route whose id is empty, as all are of a native peer, or equals the filter, as that of
 * every plain subscription does; a further route holds its filter by reference. An actor's routes
 * stand in a list ordered by generation: announcing an old one moves it to the end, so what an
 * earlier generation left behind is always at the front. When an actor goes, all its routes become
 * old in this sense, and the sweep finds them.
 */
#include "link/announced.h"

#include <stdlib.h>

#include "core/base/check.h"
#include "core/base/limits.h"
#include "core/base/table.h"
#include "core/mqtt/topic.h"

struct held {
    struct held *prev, *next; /* of the actor, older generations first */
    struct announced_actor *actor;
    uint32_t generation;
    uint32_t id_n : 31;  /* ID_IS_FILTER: none of its own */
    uint32_t is_own : 1; /* part of a filter, else of a route */
};

#define ID_IS_FILTER 0x7fffffffu

struct filter {
    struct table_node node;
    struct filter *prev, *next; /* all filters, in the order of their coming */
    uint32_t route_count;
    uint32_t n;
    struct held own; /* without an actor: none */
    uint8_t text[];
};

struct route {
    struct held held;
    struct table_node node;
    struct filter *filter;
    uint8_t id[];
};

struct announced_actor {
    struct announced_actor *next;
    uint64_t incarnation, expiry;
    uint64_t told_ms;    /* when it last sent routes, in EMQX's dialect */
    uint64_t stream;     /* the generation of its stream */
    uint32_t generation; /* counts incarnations and generations seen */
    uint32_t number;     /* tells actors apart in hashes */
    uint32_t route_count;
    bool is_gone;           /* expired: kept for its routes only */
    bool is_kept;           /* nothing is swept until the end marker */
    bool is_refused;        /* something of the present generation was not taken */
    bool is_doubtful;       /* see announced_doubt */
    bool has_beaten;        /* in this incarnation: see announced_heard */
    bool has_digest;        /* count and digest are kept */
    uint64_t count, digest; /* of the present generation */
    struct hash_key digest_key;
    struct held *first, *last;
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
    uint32_t route_count;
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

static void held_free(struct announced *a, struct announced_actor *actor, struct held *h)
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

static bool sweep(struct announced *a, struct announced_actor *actor, uint32_t *count);

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
        (void)sweep(a, actor, &one);
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
        held_free(a, actor, h);
}

static bool has_old(const struct announced_actor *actor)
{
    return actor->first && actor->first->generation != actor->generation;
}

/* Uses up *count. Also of an actor that is kept: somebody needs the room. */
static bool sweep(struct announced *a, struct announced_actor *actor, uint32_t *count)
{
    while (has_old(actor)) {
        if (*count == 0)
            return true;
        --*count;
        CHECK(actor->first->prev == NULL);
        held_free(a, actor, actor->first);
    }
    return false;
}

bool announced_sweep(struct announced *a, struct announced_actor *actor, uint32_t count_max)
{
    return !actor->is_kept && sweep(a, actor, &count_max);
}

/* ------------------------------------------------------------------------------- streams --- */

static void begin_generation(struct announced_actor *actor)
{
    actor->generation++;
    actor->count = actor->digest = 0;
    actor->is_refused = false;
}

enum err announced_renew(struct announced_actor *actor, uint64_t generation,
                         const struct hash_key *digest_key)
{
    if (generation < actor->stream)
        return ERR_PEER;
    if (generation == actor->stream)
        return OK;
    begin_generation(actor);
    actor->stream = generation;
    actor->digest_key = *digest_key;
    actor->has_digest = actor->is_kept = true;
    return OK;
}

void announced_keep(struct announced_actor *actor)
{
    actor->is_kept = true;
}

void announced_end(struct announced_actor *actor)
{
    actor->is_kept = false;
}

void announced_refuse(struct announced_actor *actor)
{
    actor->is_refused = true;
}

bool announced_differs(const struct announced_actor *actor, uint64_t count, uint64_t digest)
{
    if (actor->is_kept || actor->is_refused || !actor->has_digest)
        return false;
    return actor->count != count || actor->digest != digest;
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
static void actor_renew(struct announced *a, struct announced_actor *actor, uint64_t incarnation,
                        enum announced_old old)
{
    begin_generation(actor);
    actor->is_kept = false;
    actor->is_doubtful = false;
    actor->has_beaten = false;
    if (incarnation != actor->incarnation) { /* it may speak another dialect now */
        actor->stream = 0;
        actor->has_digest = false;
    }
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
    *need_bootstrap =
        !actor || actor->is_gone || actor->is_doubtful || incarnation > actor->incarnation;
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
        actor_renew(a, actor, incarnation, old);
    }
    actor->incarnation = incarnation;
    actor->expiry = expiry;
    return OK;
}

uint64_t announced_incarnation(struct announced *a, struct bytes name)
{
    const struct announced_actor *actor = actor_find(a, name);

    return actor && !actor->is_gone ? actor->incarnation : 0;
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

void announced_doubt_all(struct announced *a)
{
    for (struct announced_actor *actor = a->actors; actor; actor = actor->next)
        actor->is_doubtful = true;
}

void announced_doubt(struct announced_actor *actor)
{
    actor->is_doubtful = true;
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

void announced_heard(struct announced_actor *actor, uint64_t now, bool is_beat)
{
    if (is_beat)
        actor->has_beaten = true;
    else
        actor->told_ms = now;
}

/* When its old routes may go. */
static uint64_t settled_at(const struct announced_actor *actor)
{
    if (actor->is_kept)
        return UINT64_MAX;
    if (actor->is_gone || actor->stream) /* it has said that it is done */
        return 0;
    return actor->has_beaten ? actor->told_ms + ANNOUNCED_SETTLE_MS : UINT64_MAX;
}

bool announced_has_old(const struct announced *a)
{
    const struct announced_actor *actor = a->actors;

    while (actor && !has_old(actor))
        actor = actor->next;
    return actor != NULL;
}

uint64_t announced_next_settled(const struct announced *a)
{
    uint64_t next = UINT64_MAX;

    for (const struct announced_actor *actor = a->actors; actor; actor = actor->next)
        if (has_old(actor) && settled_at(actor) < next)
            next = settled_at(actor);
    return next;
}

bool announced_sweep_all(struct announced *a, uint64_t now, uint32_t count_max)
{
    struct announced_actor **at = &a->actors;

    while (*at) {
        if (!(*at)->is_kept && settled_at(*at) <= now && sweep(a, *at, &count_max))
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
        actor->is_kept = false;
        begin_generation(actor);
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
            held_free(a, a->actors, a->actors->first);
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
    return a->route_count;
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

void announced_limit(struct announced *a, uint32_t routes_max)
{
    a->routes_max = routes_max;
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
