/* link/peer_routes.c -- what a remote cluster wants from us: its routes in our route index. */
#include "link/peer_routes.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/base/arena.h"
#include "core/base/check.h"
#include "core/mqtt/topic.h"
#include "link/exported.h"
#include "link/path.h"
#include "link/peer_groups.h"
#include "link/transit.h"

/* Levels of a group's name before those of its filter. */
#define PEER_NAME_LEVELS 2u

static uint64_t now(const struct peer *p)
{
    return shard_now_ms(p->host->shard);
}

/* ---- into the route index ---- */

static void on_filter(void *arg, struct bytes filter, bool is_wanted)
{
    struct peer *p = arg;

    if (p->transits || !is_wanted)
        transit_route(p->host->transit, p, filter, is_wanted);
    if (!route_is_passing(filter))
        changes_ask(&p->changes, p->number, filter, is_wanted);
}

static bool on_hold(void *arg, int64_t bytes)
{
    const struct peer *p = arg;

    return shard_hold_routes(p->host->shard, bytes);
}

static const struct announced_ops announced_ops = {.report = on_filter, .hold = on_hold};

/* ---- time ---- */

static void on_expiry(struct timer *t, void *owner, uint64_t now_ms);

void peer_routes_arm(struct peer *p)
{
    uint64_t next = announced_next_expiry(p->announced);

    if (next == UINT64_MAX)
        timer_cancel(shard_timers(p->host->shard), &p->expiry);
    else
        timer_arm(shard_timers(p->host->shard), &p->expiry, next, on_expiry);
}

/* Also a cluster that refuses us is there. */
static bool has_connection(const struct peer *p)
{
    if (p->announcer.dialer.state == DIALER_UP || p->announcer.is_refused ||
        channel_is_up(&p->intake.channel) || channel_is_up(&p->carrier.from))
        return true;
    for (uint32_t i = 0; i < p->forwarder_count; i++)
        if (p->forwarders[i].dialer.state == DIALER_UP)
            return true;
    return !p->speaks_native && now(p) < p->heard_ms + PEER_HEARD_MS;
}

/* Until when routes are kept of a cluster that is not heard of. */
static uint64_t kept_until(const struct peer *p)
{
    return p->heard_ms + p->link->queue_age * 1000ull;
}

void peer_routes_look(struct peer *p)
{
    bool stands = has_connection(p);

    if (stands == p->stands)
        return;
    p->stands = stands;
    if (!stands || kept_until(p) <= now(p)) /* or who always comes and goes was never silent */
        return;
    announced_spare(p->announced, now(p) + ANNOUNCED_TTL_MS);
    peer_routes_arm(p);
}

void peer_routes_heard(struct peer *p)
{
    peer_routes_look(p);
    p->heard_ms = now(p);
    peer_routes_look(p);
}

static void say_kept(const struct peer *p)
{
    char detail[64];

    if (!announced_route_count(p->announced))
        return;
    snprintf(detail, sizeof(detail), "%u routes stay, as long as queue_age says",
             announced_route_count(p->announced));
    host_log(p->host, 5, "link routes kept", p->link->name, NULL, "no connection stands", detail);
}

/* The moment before which no actor expires; 0: there is none. */
static uint64_t frozen_until(struct peer *p)
{
    uint64_t until = hold_hears_ms(&p->hold);

    peer_routes_look(p);
    if (until > now(p)) /* it is us who did not listen */
        return until;
    if (p->stands || kept_until(p) <= now(p))
        return 0;
    say_kept(p);
    return kept_until(p);
}

static void on_expiry(struct timer *t, void *owner, uint64_t now_ms)
{
    struct peer *p = (struct peer *)(void *)((char *)t - offsetof(struct peer, expiry));
    uint64_t frozen = frozen_until(p);
    uint32_t routes;
    char detail[64];

    (void)owner;
    if (host_stood_still(p->host)) { /* nobody could be heard: all have the whole time again */
        announced_spare(p->announced, now_ms + ANNOUNCED_TTL_MS);
        peer_routes_arm(p);
        return;
    }
    if (frozen) {
        timer_arm(shard_timers(p->host->shard), t, frozen, on_expiry);
        return;
    }
    if (announced_expire(p->announced, now_ms, &routes)) {
        p->must_sweep = true;
        snprintf(detail, sizeof(detail), "%u routes go", routes);
        host_log(p->host, 4, "link routes expired", p->link->name, NULL,
                 "not heard of for too long", detail);
    }
    peer_routes_arm(p);
}

/* ---- what is not taken ---- */

static enum peer_refused count_refused(struct stats *stats, enum err err)
{
    switch (err) {
    case ERR_FULL:
        STAT_INC(stats, link_routes_over_limit);
        return PEER_REFUSED_NUMBER;
    case ERR_MEMORY:
        STAT_INC(stats, link_routes_memory);
        return PEER_REFUSED_MEMORY;
    case ERR_NONE:
        STAT_INC(stats, link_routes_not_exported);
        return PEER_REFUSED_EXPORT;
    default:
        STAT_INC(stats, link_routes_invalid);
        return PEER_REFUSED_INVALID;
    }
}

void peer_route_refused(struct peer *p, const char *event, struct bytes filter, enum err err)
{
    enum peer_refused why = count_refused(shard_count(p->host->shard), err);
    char detail[256];

    if (p->routes_refused[why]++)
        return;
    snprintf(detail, sizeof(detail), "filter %.*s", (int)(filter.n < 200 ? filter.n : 200),
             (const char *)filter.p);
    host_log(p->host, 4, event, p->link->name, NULL,
             err == ERR_FULL     ? "the link has as many routes as max_routes allows"
             : err == ERR_MEMORY ? "memory_limit is reached, or there is no memory"
             : err == ERR_NONE   ? "export of the link has nothing of it"
                                 : "not a filter, or deeper than max_topic_levels",
             detail);
}

/* ---- operations ---- */

/* Where an operation of a route payload is applied. */
struct applied {
    struct peer *peer;
    struct announced_actor *actor;
    struct bytes filter;
    struct route_text passing; /* of a passing route; else empty */
    bool is_add;
    bool is_cut; /* they get less than they asked for */
};

/* The text of a passing route in memory of this turn; a filter without a path as it is. */
static bool put_text(struct arena *arena, const struct route_text *r, struct bytes *filter)
{
    uint8_t *text;

    if (!r->path.n)
        return true;
    text = arena_alloc(arena, route_head_bytes(r) + filter->n);
    if (!text)
        return false;
    *filter = bytes_of(text, (size_t)(bytes_put(route_put_head(text, r), *filter) - text));
    return true;
}

static enum err apply_part(void *arg, struct bytes filter, struct bytes id)
{
    struct applied *to = arg;

    to->is_cut |= !bytes_eq(filter, to->filter);
    if (!put_text(shard_arena(to->peer->host->shard), &to->passing, &filter))
        return ERR_MEMORY;
    if (to->is_add)
        return announced_add(to->peer->announced, to->actor, filter, id);
    announced_delete(to->peer->announced, to->actor, filter, id);
    return OK;
}

static enum err apply(struct peer *p, struct announced_actor *actor, const struct emqx_route_op *op,
                      const struct route_text *passing, bool *is_cut)
{
    const struct arena_mark mark = arena_mark(shard_arena(p->host->shard));
    struct applied to = {
        .peer = p, .actor = actor, .filter = op->filter, .passing = *passing, .is_add = op->is_add};
    enum err err;

    if (!topic_filter_valid(op->filter, p->host->limits->topic_levels) ||
        peer_is_group(op->filter) || op->id.n > ANNOUNCED_ID_BYTES_MAX)
        return ERR_PEER;
    err = exported_parts(p->link, op->filter, op->id, p->host->scratch, HOST_SCRATCH_BYTES,
                         apply_part, &to);
    arena_rewind(shard_arena(p->host->shard), mark);
    *is_cut = to.is_cut;
    return err;
}

void peer_routes(struct peer *p, struct announced_actor *actor, const struct emqx_control *c)
{
    struct emqx_ops ops = emqx_ops_begin(c);
    struct emqx_route_op op;

    while (emqx_ops_next(&ops, &op)) {
        bool is_cut;
        enum err err = apply(p, actor, &op, &(struct route_text){0}, &is_cut);

        if (err != OK && op.is_add) /* the others must not suffer for one */
            peer_route_refused(p, "link route not taken", op.filter, err);
    }
    announced_heard(actor, now(p), false);
    peer_routes_heard(p);
    hold_until(&p->hold, rate_take(&p->ops, c->add_count + c->delete_count, now(p)));
}

/* ---- a broker of ours ---- */

/* A path that comes back to us, or to who tells it, leads nowhere. */
static bool may_pass(const struct peer *p, struct bytes text, struct route_text *r)
{
    return p->transits && route_split(text, r) && path_valid(r->path, PATH_NAMES_MAX) &&
           !path_holds(r->path, p->host->cluster) && !path_holds(r->path, bytes_str(p->link->name));
}

static bool apply_native(void *arg, struct announced_actor *actor, const struct native_op *op)
{
    struct emqx_route_op as = {.is_add = op->is_add, .filter = op->filter};
    struct route_text passing = {0};
    struct peer *p = arg;
    bool is_cut = false;
    enum err err = ERR_PEER;

    if (op->is_passing && may_pass(p, op->filter, &passing)) {
        as.filter = passing.filter;
        err = apply(p, actor, &as, &passing, &is_cut);
    } else if (!op->is_passing) {
        err = peer_is_group(op->filter) ? peer_apply_group(p, actor, op)
                                        : apply(p, actor, &as, &passing, &is_cut);
    }
    if (err == ERR_NONE && peer_is_group(op->filter))
        return false; /* it has been said */
    if (err != OK && op->is_add)
        peer_route_refused(p, "link route not taken", op->filter, err);
    return err == OK && !is_cut;
}

static void on_ended(void *arg)
{
    struct peer *p = arg;

    p->must_sweep = true;
    peer_groups_announced(p);
}

static const struct intake_ops intake_ops = {.apply = apply_native, .ended = on_ended};

/* ---- routes of an earlier life ---- */

static void on_settle(struct timer *t, void *owner, uint64_t now_ms);

/* Not while we do not listen: then nothing can be heard. */
static void arm_settle(struct peer *p)
{
    uint64_t next = announced_next_settled(p->announced);

    if (next == UINT64_MAX)
        return;
    if (next < hold_hears_ms(&p->hold))
        next = hold_hears_ms(&p->hold);
    timer_arm(shard_timers(p->host->shard), &p->settle, next, on_settle);
}

static void on_settle(struct timer *t, void *owner, uint64_t now_ms)
{
    struct peer *p = (struct peer *)(void *)((char *)t - offsetof(struct peer, settle));

    (void)owner;
    if (hold_hears_ms(&p->hold) <= now_ms && announced_next_settled(p->announced) <= now_ms)
        p->must_sweep = true;
    else
        arm_settle(p);
}

void peer_beat(struct peer *p, struct announced_actor *actor)
{
    peer_routes_heard(p);
    announced_beat(actor, now(p) + ANNOUNCED_TTL_MS);
    announced_heard(actor, now(p), true);
    arm_settle(p);
}

bool peer_routes_are_behind(const struct peer *p)
{
    return changes_wait(&p->changes) || transit_is_behind(p->host->transit);
}

/* Not faster than the route index takes them: what it cannot take waits in memory. */
static bool run_sweep(struct peer *p)
{
    if (!p->must_sweep || peer_routes_are_behind(p))
        return false;
    p->must_sweep = announced_sweep_all(p->announced, now(p), PEER_SWEEP_MAX);
    if (!p->must_sweep)
        arm_settle(p);
    return p->must_sweep;
}

/* ---- life ---- */

bool peer_routes_run(struct peer *p)
{
    bool more = changes_run(&p->changes);

    peer_routes_look(p);
    more |= peer_groups_run(p);
    return run_sweep(p) || more;
}

enum err peer_routes_init(struct peer *p)
{
    changes_init(&p->changes, p->host->shard);
    p->ops.per_s = p->link->max_route_ops;
    p->announced = announced_create(PEER_ACTORS_MAX, p->link->max_routes,
                                    p->host->limits->topic_levels + PEER_NAME_LEVELS, &p->host->key,
                                    &announced_ops, p);
    intake_init(&p->intake, p->host, &intake_ops, p);
    return p->announced ? OK : ERR_MEMORY;
}

void peer_routes_fini(struct peer *p)
{
    changes_fini(&p->changes);
    timer_cancel(shard_timers(p->host->shard), &p->expiry);
    timer_cancel(shard_timers(p->host->shard), &p->settle);
    announced_destroy(p->announced);
}
