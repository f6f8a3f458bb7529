/* link/peer_change.c -- a peer that begins, changes, is disabled and goes.
 *
 * A changed link is taken over in one of two ways. Where the keys that have changed say nothing of
 * the connections (`in_place`), at once, and the connections stand. Else all connections of ours
 * say good-bye first; when the last has ended, the link is taken over, and if it is enabled, it is
 * dialled anew in the same life: queues and routes are what they were, and only what has changed is
 * told. What comes while that lasts replaces what waits to be taken over.
 *
 * A link that loses its server is called from then on: where they have introduced themselves
 * already, we do it there at once. One that gets a server dials. It is the same life either way.
 *
 * A link that is disabled or removed takes nothing any more from that moment. Who is introduced on
 * connections of theirs is disconnected, their routes go in slices, and what waits stays as long as
 * queue_age allows. When it is enabled again we introduce ourselves in a new life, so nothing of
 * the last one is left over there.
 *
 * Where `export` or `shared_groups` has changed, they must introduce themselves and announce all
 * their routes again, which are then cut anew; meanwhile those they had go on, as after any new
 * life. Where `dialect` or `transit` has changed, they must introduce themselves again, too, and so
 * learn of it.
 */
#include <stdlib.h>

#include "cfg/change.h"
#include "core/base/check.h"
#include "link/peer_routes.h"

/* Keys that connections need not end for. */
static const char *const in_place[] = {
    "topics",  "export",     "retry_interval", "window_bytes",  "queue_bytes", "queue_age",
    "on_full", "max_routes", "max_route_ops",  "peer_identity", "max_rate",    "ack",
    NULL};

/* ---- connections ---- */

bool peer_must_redial(const struct cfg_link *from, const struct cfg_link *to)
{
    return cfg_link_difference(from, to, in_place) != NULL;
}

static bool is_off(const struct peer *p)
{
    for (uint32_t i = 0; i < p->forwarder_count; i++)
        if (p->forwarders[i].dialer.state != DIALER_OFF)
            return false;
    return p->announcer.dialer.state == DIALER_OFF;
}

static void hang_up(struct peer *p)
{
    p->is_dialing = false;
    for (uint32_t i = 0; i < p->forwarder_count; i++)
        dialer_stop(&p->forwarders[i].dialer);
    dialer_stop(&p->announcer.dialer);
}

/* Those that are dialled are as many as the other side's dialect asks for. */
static void run_forwarders(struct peer *p)
{
    for (uint32_t i = 0; i < p->forwarder_count; i++) {
        struct dialer *d = &p->forwarders[i].dialer;

        bool is_wanted = i < p->dialled_count || window_count(&p->forwarders[i].window) > 0;

        if (is_wanted && d->state == DIALER_OFF)
            dialer_start(d);
        else if (!is_wanted && d->state != DIALER_OFF && !d->must_stop)
            dialer_stop(d);
    }
}

static void dial(struct peer *p)
{
    bool is_first = !p->is_on;

    p->is_dialing = true;
    p->is_on = true;
    if (is_first) {
        p->on_ms = shard_now_ms(p->host->shard);
        peer_tell_all(p);
    }
    if (is_first && peer_is_called(p))
        greeter_start(&p->greeter);
    if (peer_is_called(p))
        return;
    if (is_first || !p->announcer.incarnation)
        announcer_start(&p->announcer);
    else
        dialer_start(&p->announcer.dialer);
    run_forwarders(p);
}

void peer_start(struct peer *p)
{
    peer_say_state(p, "0");
    p->is_begun = true;
    if (p->link->enable)
        dial(p);
}

void peer_stop(struct peer *p)
{
    p->is_stopping = true;
    hang_up(p);
}

/* ---- a link that is not used any more ---- */

/* Nobody waits for them any longer. What is in the queues stays there. */
static void release_publishers(struct peer *p)
{
    acks_release(p->host->acks, p->number);
}

static void turn_off(struct peer *p)
{
    uint32_t routes;

    p->is_on = false;
    peer_tell_stop(p);
    release_publishers(p);
    p->must_kick = true;
    p->must_sweep = true;
    (void)announced_expire(p->announced, UINT64_MAX, &routes);
    timer_cancel(shard_timers(p->host->shard), &p->expiry);
    inlets_close(&p->inlets, &p->carrier, "the link is disabled");
}

/* ---- the link taken over ---- */

/* Whether the link that is taken over has another value of a key. */
static bool differs(const struct peer *p, const char *key)
{
    return cfg_link_differs(p->link, p->next, key);
}

static enum err use_connections(struct peer *p)
{
    const struct cfg_link *to = p->next;
    uint32_t count = peer_forwarder_count(to);
    struct forwarder *fresh;

    if (dialer_use(&p->announcer.dialer, to) != OK)
        return ERR_MEMORY;
    if (count == p->forwarder_count) {
        peer_choose_dialled(p, to);
        for (uint32_t i = 0; i < count; i++)
            if (forwarder_use(&p->forwarders[i], to, to->queue_bytes / count) != OK)
                return ERR_MEMORY;
        return OK;
    }
    CHECK(is_off(p));
    fresh = peer_make_forwarders(p, to);
    if (!fresh)
        return ERR_MEMORY;
    forwarders_move(p->forwarders, p->forwarder_count, fresh, count);
    peer_free_forwarders(p->forwarders, p->forwarder_count);
    p->forwarders = fresh;
    p->forwarder_count = count;
    peer_choose_dialled(p, to);
    return OK;
}

/* Nothing is told, as in the beginning. */
static enum err forget_wishes(struct peer *p)
{
    const struct cfg_link *to = p->next;
    struct interest *fresh =
        interest_create(to->topics, to->topic_count, to->max_routes, &p->host->key);

    if (!fresh)
        return ERR_MEMORY;
    route_stream_fini(&p->routes);
    interest_destroy(p->interest);
    p->interest = p->announcer.interest = fresh;
    p->tells_native = p->gives_groups = p->retained.no_groups = false;
    p->is_told = false;
    return OK;
}

static enum err use_topics(struct peer *p)
{
    const struct cfg_link *to = p->next;
    enum err err;

    if (!p->is_on)
        return forget_wishes(p);
    if (!differs(p, "topics") && !differs(p, "max_routes"))
        return OK;
    if (p->tells_native)
        err = route_stream_import(&p->routes, to);
    else
        err = interest_import(p->interest, to->topics, to->topic_count, to->max_routes);
    if (err != OK)
        return err;
    peer_tell_all(p);
    return OK;
}

/* Who introduces us is another one now, in the same life, if it was told natively. */
static void change_caller(struct peer *p)
{
    struct announcer *a = &p->announcer;
    struct greeter *g = &p->greeter;

    a->is_refused = false; /* by a server that it has no more */
    if (peer_is_called(p)) {
        g->incarnation = a->incarnation && !a->is_native ? a->incarnation + 1 : a->incarnation;
        if (channel_is_up(&p->intake.channel)) /* they have called already */
            greeter_open(g, &p->intake.channel);
        peer_carry_on(p);
        return;
    }
    peer_look_left(p, peer_left_by_them, "we dial from now on");
    if (p->tells_native)
        route_stream_close(&p->routes);
    (void)greeter_gone(g, &g->channel);
    a->incarnation = g->incarnation;
    a->has_announced = a->is_native = g->incarnation != 0;
}

/* Other topics than were asked for with, on the connection on which we are introduced. */
static void ask_retained(struct peer *p)
{
    struct channel to = channel_of_dialer(&p->announcer.dialer);

    if (p->greeter.is_online)
        to = p->greeter.channel;
    else if (p->announcer.state != ANNOUNCER_ONLINE || !p->announcer.is_native)
        return;
    retained_sync_online(&p->retained, &to);
}

/* What can fail comes first, and may be done again. */
static enum err take_over(struct peer *p)
{
    bool was_called = peer_is_called(p);
    bool has_new_topics = differs(p, "topics");

    if (use_connections(p) != OK || use_topics(p) != OK)
        return ERR_MEMORY;
    carrier_use(&p->carrier, p->next, peer_stream_count(p, p->next));
    inlets_use(&p->inlets, p->next);
    spread_changed(&p->spread);
    announced_limit(p->announced, p->next->max_routes);
    p->ops.per_s = p->next->max_route_ops;
    p->bytes.per_s = carrier_rate(&p->carrier);
    if (p->is_on && (differs(p, "export") || differs(p, "shared_groups")))
        announced_doubt_all(p->announced);
    if (p->is_on && (differs(p, "export") || differs(p, "dialect") || differs(p, "transit") ||
                     differs(p, "shared_groups") || differs(p, "compression"))) {
        p->must_kick = true;
        if (p->intake.channel.dialer) /* they have introduced themselves where we called */
            channel_fail(&p->intake.channel,
                         "export, dialect, transit or shared_groups has changed");
    }
    if (!p->next->transit)
        peer_transits(p, false);
    if (p->next->ack != ACK_REMOTE || differs(p, "dialect"))
        release_publishers(p);
    cfg_link_free(p->link);
    p->link = p->next;
    p->next = NULL;
    p->speaks_native |= peer_is_called(p);
    if (p->speaks_native && !peer_is_called(p) && p->link->dialect == DIALECT_EMQX) {
        carrier_leave(&p->carrier); /* our connections take no frames from now on */
        p->speaks_native = false;
    }
    p->greeter.offers_groups = p->link->shared_groups == SHARED_GROUPS_GLOBAL;
    if (was_called != peer_is_called(p))
        change_caller(p);
    p->hold.name = p->greeter.link = p->link->name;
    retained_sync_use(&p->retained, p->link);
    if (has_new_topics)
        ask_retained(p);
    peer_routes_arm(p);
    return OK;
}

void peer_change_run(struct peer *p)
{
    if (!p->is_begun || p->is_stopping || (!p->is_dialing && !is_off(p)))
        return;
    if (p->next && take_over(p) != OK)
        return; /* in the next turn again */
    if (!p->is_dialing && !p->is_ending && p->link->enable)
        dial(p);
    else if (p->is_dialing && !peer_is_called(p))
        run_forwarders(p);
}

enum err peer_change(struct peer *p, const struct cfg_link *link)
{
    struct cfg_link *to;

    CHECK(!p->is_ending);
    if (!cfg_link_difference(p->next ? p->next : p->link, link, NULL))
        return OK;
    to = cfg_link_copy(link);
    if (!to)
        return ERR_MEMORY;
    cfg_link_free(p->next);
    p->next = to;
    if (p->is_on && !to->enable)
        turn_off(p);
    if (p->is_dialing && peer_must_redial(p->link, to))
        hang_up(p);
    return OK;
}

void peer_remove(struct peer *p)
{
    CHECK(!p->is_ending);
    turn_off(p);
    p->is_ending = true;
    cfg_link_free(p->next);
    p->next = NULL;
    hang_up(p);
}

bool peer_is_gone(struct peer *p)
{
    if (!p->is_ending || p->must_kick || p->must_sweep || changes_wait(&p->changes) ||
        p->waiting.count || !is_off(p) || !spread_is_gone(&p->spread))
        return false;
    if (!p->has_left)
        p->left = shard_link_routes_asked(p->host->shard);
    p->has_left = true;
    return shard_link_routes_in_force(p->host->shard, p->left);
}
