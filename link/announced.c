/* link/announced.c -- actors: they come, are heard of, announce in streams, and go.
 *
 * When an actor goes, all its routes become old, as if a new generation had begun
 * (link/announced_routes.c), and the sweep finds them.
 */
#include "link/announced.h"

#include <stdlib.h>

#include "core/base/check.h"
#include "link/announced_state.h"

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

/* ------------------------------------------------------------------------------- streams --- */

enum err announced_renew(struct announced_actor *actor, uint64_t generation,
                         const struct hash_key *digest_key)
{
    if (generation < actor->stream)
        return ERR_PEER;
    if (generation == actor->stream)
        return OK;
    announced_begin_generation(actor);
    actor->is_asked = false;
    actor->stream = generation;
    actor->digest_key = *digest_key;
    actor->has_digest = actor->is_kept = true;
    return OK;
}

void announced_keep(struct announced_actor *actor)
{
    actor->is_kept = true;
    actor->is_asked = true; /* again, should it not hear of it */
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
    announced_begin_generation(actor);
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

/* There is one: actors are fewer than numbers. */
static uint32_t free_number(const struct announced *a)
{
    uint32_t number = 1;

    while (a->numbered[number])
        number++;
    CHECK(number <= a->actors_max);
    return number;
}

enum err announced_hello(struct announced *a, struct bytes name, uint64_t incarnation,
                         uint64_t expiry, enum announced_old old, bool *need_bootstrap)
{
    struct announced_actor *actor = actor_find(a, name);

    if (name.n == 0 || name.n > ANNOUNCED_ACTOR_BYTES_MAX)
        return ERR_PEER;
    if (actor && !actor->is_gone && incarnation < actor->incarnation)
        return ERR_PEER;
    *need_bootstrap = !actor || actor->is_gone || actor->is_doubtful || actor->is_asked ||
                      incarnation > actor->incarnation;
    if (!actor) {
        if (a->actor_count + a->gone_count >= a->actors_max)
            return ERR_FULL;
        actor = malloc(sizeof(*actor) + name.n);
        if (!actor)
            return ERR_MEMORY;
        *actor =
            (struct announced_actor){.next = a->actors, .number = free_number(a), .name_n = name.n};
        bytes_put(actor->name, name);
        a->numbered[actor->number] = actor;
        a->actors = actor;
        a->actor_count++;
    } else if (*need_bootstrap) {
        actor_renew(a, actor, incarnation, old);
    }
    actor->incarnation = incarnation;
    actor->expiry = expiry;
    actor->is_asked = *need_bootstrap;
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

    CHECK(actor->route_count == 0);
    *at = actor->next;
    a->numbered[actor->number] = NULL;
    *(actor->is_gone ? &a->gone_count : &a->actor_count) -= 1;
    free(actor);
}

void announced_heard(struct announced_actor *actor, uint64_t now, bool is_beat)
{
    actor->is_asked = false;
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

    while (actor && !actor->old_count)
        actor = actor->next;
    return actor != NULL;
}

uint64_t announced_next_settled(const struct announced *a)
{
    uint64_t next = UINT64_MAX;

    for (const struct announced_actor *actor = a->actors; actor; actor = actor->next)
        if (actor->old_count && settled_at(actor) < next)
            next = settled_at(actor);
    return next;
}

bool announced_sweep_all(struct announced *a, uint64_t now, uint32_t count_max)
{
    struct announced_actor **at = &a->actors;
    bool more;

    for (struct announced_actor *actor = a->actors; actor; actor = actor->next)
        actor->is_swept = !actor->is_kept && settled_at(actor) <= now;
    more = announced_sweep_marked(a, count_max);
    while (*at) {
        (*at)->is_swept = false;
        if ((*at)->is_gone && (*at)->route_count == 0)
            actor_free(a, at);
        else
            at = &(*at)->next;
    }
    return more;
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
        announced_begin_generation(actor);
        a->actor_count--;
        a->gone_count++;
        *routes += actor->route_count;
        gone++;
    }
    return gone;
}

void announced_spare(struct announced *a, uint64_t expiry)
{
    for (struct announced_actor *actor = a->actors; actor; actor = actor->next)
        if (actor->expiry < expiry)
            actor->expiry = expiry;
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
    announced_free_all(a);
    while (a->actors)
        actor_free(a, &a->actors);
}

uint32_t announced_actor_count(const struct announced *a)
{
    return a->actor_count;
}

uint32_t announced_route_count(const struct announced *a)
{
    return a->route_count;
}

/* ------------------------------------------------------------------------------ lifetime --- */

struct announced *announced_create(uint32_t actors_max, uint32_t routes_max, uint32_t levels_max,
                                   const struct hash_key *key, const struct announced_ops *ops,
                                   void *arg)
{
    struct announced *a = calloc(1, sizeof(*a));

    CHECK(actors_max <= ACTORS_MAX);
    if (!a)
        return NULL;
    *a = (struct announced){.key = *key,
                            .numbered = calloc(actors_max + 1u, sizeof(struct announced_actor *)),
                            .actors_max = actors_max,
                            .routes_max = routes_max,
                            .levels_max = levels_max,
                            .ops = ops,
                            .arg = arg};
    if (!a->numbered) {
        free(a);
        return NULL;
    }
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
    free(a->numbered);
    free(a);
}
