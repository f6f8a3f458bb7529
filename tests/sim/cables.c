/* tests/sim/cables.c -- the network between linked worlds: dials, slices, cuts, silence. */
#include "link/lane.h"
#include "link/transit.h"
#include "tests/sim/linked.h"

#include <inttypes.h>
#include <stdlib.h>

/* A dial nobody answers. */
#define SILENT_DIAL_MS 5000u
/* A route connection must have been seen alive so lately, or its routes may have expired: the last
 * beat may be one pause older, and have been 2 s on its way. */
#define HEALTHY_MS (ANNOUNCED_TTL_MS - ANNOUNCER_BEAT_MS - 2000u)

static struct world *world_of(struct linked *l, const struct cable_end *e)
{
    return l->cluster[e->cluster]->world;
}

static struct cable_end *other_end(struct cable_end *e)
{
    return &e->cable->end[e == &e->cable->end[0]];
}

/* What an end says is lost, and so is its end. */
static bool is_unheard(const struct cable_end *e)
{
    return e->cable->is_mute[e == &e->cable->end[1]];
}

static bool is_silent(const struct cable *c)
{
    return c->is_mute[0] || c->is_mute[1];
}

/* ---- dials ---- */

void cable_dialled(void *ctx, struct world *w, struct wire *k, uint16_t port)
{
    struct cluster *from = ctx;
    struct linked *l = from->all;
    struct cable *c = must_alloc(sizeof(*c));

    (void)w;
    c->end[0] = (struct cable_end){.cable = c, .cluster = from->number, .wire = k};
    c->end[1] = (struct cable_end){.cable = c, .cluster = (uint32_t)port - PORT_FIRST};
    c->stream = k->stream;
    c->answer_ms = l->sim->now_ms;
    c->is_mute[0] = c->is_mute[1] = !l->is_calm && chance(l->sim, 5);
    if (c->is_mute[0])
        c->answer_ms += SILENT_DIAL_MS;
    else if (!l->is_calm && chance(l->sim, 10))
        c->answer_ms += draw(l->sim, 300);
    k->line = &c->end[0];
    l->cables = must_grow(l->cables, l->cable_count, &l->cable_capacity, sizeof(struct cable *));
    l->cables[l->cable_count++] = c;
}

void cable_written(void *ctx, const struct wire *k, struct pulse_written *to)
{
    const struct cable_end *e = k->line;

    (void)ctx;
    *to = (struct pulse_written){true, e->through, e->lost, e->lost};
}

static bool cable_answer(struct linked *l, struct cable *c)
{
    struct sim *s = l->sim;
    bool is_listening = c->end[1].cluster < l->count && world_of(l, &c->end[1]);

    if (c->is_answered || !c->end[0].wire || s->now_ms < c->answer_ms)
        return false;
    if (!l->is_calm && chance(s, 60))
        return false; /* a little later */
    c->is_answered = true;
    if (is_silent(c) || (!l->is_calm && chance(s, 5)))
        is_listening = false;
    if (is_listening && l->cluster[c->end[0].cluster]->is_parted[c->end[1].cluster])
        is_listening = false;
    if (is_listening)
        c->end[1].wire = wire_open(world_of(l, &c->end[1]), &c->end[1]);
    note(s, "network: %s wire %" PRIu32 " to %s is %s", cluster_name(c->end[0].cluster),
         c->end[0].wire->number, cluster_name(c->end[1].cluster),
         is_listening ? "accepted" : "refused");
    wire_answer(c->end[0].wire, is_listening);
    return true;
}

bool cables_run(struct linked *l)
{
    bool has_moved = false;

    for (uint32_t i = 0; i < l->cable_count; i++) {
        struct cable *c = l->cables[i];

        has_moved |= cable_answer(l, c);
        for (int side = 0; side < 2; side++) {
            if (c->end[side].wire)
                c->end[side].wire->stalled =
                    !l->is_calm &&
                    (c->end[side].wire->stalled ? !chance(l->sim, 20) : chance(l->sim, 3));
        }
    }
    return has_moved;
}

/* ---- what worlds tell ---- */

static void on_taken(void *ctx, struct wire *k, uint64_t upto)
{
    const struct cable_end *e = k->line;

    (void)ctx;
    if (!e->cable && e->client->end == e)
        client_taken(e->client, upto);
}

static void on_parked(void *ctx, struct wire *k)
{
    (void)ctx;
    (void)k;
}

static void on_ending(void *ctx, struct wire *k, enum close_reason why)
{
    (void)ctx;
    (void)k;
    (void)why;
}

static void on_bytes(void *ctx, struct wire *k, struct bytes b)
{
    struct cluster *at = ctx;
    struct cable_end *e = k->line, *o;

    if (!e->cable) {
        if (e->client->end == e)
            client_received(e->client, b);
        return;
    }
    o = other_end(e);
    *(is_silent(e->cable) ? &e->lost : &e->through) += b.n; /* no acknowledgement comes back */
    if (!is_unheard(e) && o->wire && !o->wire->hung_up)
        wire_write(world_of(at->all, o), o->wire, b.p, b.n);
}

/* Which of a link's connections it is: of the forwarders, or NULL. */
static struct forwarder *forwarder_of(struct peer *p, const struct cable *c)
{
    for (uint32_t i = 0; i < p->forwarder_count; i++)
        if (&p->forwarders[i].dialer.stream == c->stream)
            return &p->forwarders[i];
    return NULL;
}

/* As that, of its lanes: the connection, or NULL. */
static struct dialer *lane_dialer_of(struct linked *l, const struct cable *c)
{
    for (uint32_t i = 0; i < LINK_WORKERS_MAX; i++) {
        struct lane *lane = lane_of(l, c->end[0].cluster, c->end[1].cluster, i);

        if (lane && &lane_dialer(lane)->stream == c->stream)
            return lane_dialer(lane);
    }
    return NULL;
}

/* Where only one side dials, messages of both are on its connections. */
static void called_end_closed(struct linked *l, const struct cable *c)
{
    static const struct window none;
    uint32_t called = c->end[1].cluster, caller = c->end[0].cluster;
    const struct peer *p = called < l->count ? peer_of(l, called, caller) : NULL;

    if (called >= l->count || (p && !peer_is_called(p) && !l->is_changed))
        return;
    l->is_exact = false;
    l->cluster[called]->telling[caller] = NEVER;
    judge_link_ended(l, called, caller, &none);
}

static void dialled_end_closed(struct linked *l, struct cable *c)
{
    struct peer *p = peer_of(l, c->end[0].cluster, c->end[1].cluster);
    struct forwarder *f = p ? forwarder_of(p, c) : NULL;
    static const struct window none;

    l->is_exact = false;
    if (p) /* else the server that is not there */
        l->cluster[c->end[0].cluster]->telling[c->end[1].cluster] = NEVER;
    if (f)
        judge_link_ended(l, c->end[0].cluster, c->end[1].cluster, &f->window);
    else if (lane_dialer_of(l, c))
        judge_link_ended(l, c->end[0].cluster, c->end[1].cluster, &none);
}

static void on_closed(void *ctx, struct wire *k, enum close_reason why)
{
    struct cluster *at = ctx;
    struct cable_end *e = k->line, *o;

    if (!e->cable) {
        if (e->client->end == e) {
            differ(at->all->sim, "%s: the connection of client %" PRIu32 " ends: %s",
                   cluster_name(at->number), e->client->number, close_reason_name(why));
        }
        client_closed(e->client, e->life);
        e->wire = NULL;
        return;
    }
    e->wire = NULL;
    o = other_end(e);
    if (o->wire && !is_unheard(e))
        wire_hang_up(world_of(at->all, o), o->wire, chance(at->all->sim, 30));
    if (e == &e->cable->end[0])
        dialled_end_closed(at->all, e->cable);
    called_end_closed(at->all, e->cable);
}

struct listener cables_listener(struct cluster *c)
{
    return (struct listener){.ctx = c,
                             .taken = on_taken,
                             .parked = on_parked,
                             .ending = on_ending,
                             .bytes = on_bytes,
                             .closed = on_closed};
}

/* ---- cuts ---- */

/* Both ways, or one of them. */
static void fall_silent(struct linked *l, struct cable *c)
{
    uint32_t kind = draw(l->sim, 3);

    note(l->sim, "network: of that, %s",
         kind == 0   ? "the dialler is not heard"
         : kind == 1 ? "who was dialled is not heard"
                     : "nobody is heard");
    c->is_mute[0] = kind != 1;
    c->is_mute[1] = kind != 0;
    c->silent_ms = l->sim->now_ms;
}

static void cut(struct linked *l, struct cable *c)
{
    struct sim *s = l->sim;
    uint32_t kind = draw(s, 20);

    note(s, "network: the connection %s wire %" PRIu32 " to %s %s", cluster_name(c->end[0].cluster),
         c->end[0].wire->number, cluster_name(c->end[1].cluster),
         kind > 1 ? "breaks" : "falls silent");
    if (kind <= 1) {
        fall_silent(l, c);
        return;
    }
    for (int side = 0; side < 2; side++)
        if (c->end[side].wire)
            wire_hang_up(world_of(l, &c->end[side]), c->end[side].wire, kind < 15);
}

void cables_cut(struct linked *l)
{
    bool all = chance(l->sim, 30);
    uint32_t at = l->cable_count ? draw(l->sim, l->cable_count) : 0;

    for (uint32_t i = 0; i < l->cable_count; i++) {
        struct cable *c = l->cables[(at + i) % l->cable_count];

        if (!c->is_answered || !c->end[0].wire || is_silent(c))
            continue;
        cut(l, c);
        if (!all)
            return;
    }
}

/* Who dialled may have given a connection up, with another client id since then: who was called
 * goes on sending on it, until the next one comes or it has been silent for long. */
void cables_doubt_silent(struct linked *l)
{
    for (uint32_t i = 0; i < l->cable_count; i++) {
        struct cable *c = l->cables[i];

        if (is_silent(c) && !c->is_doubted && c->end[1].wire)
            called_end_closed(l, c);
        c->is_doubted = is_silent(c);
    }
}

void cables_outlive_links(struct linked *l, uint32_t cluster)
{
    for (uint32_t i = 0; i < l->cable_count; i++)
        l->cables[i]->is_older |= l->cables[i]->end[1].cluster == cluster;
}

/* Whether a cable is between these two, whoever dialled. */
static bool is_between(const struct cable *c, uint32_t a, uint32_t b)
{
    return (c->end[0].cluster == a && c->end[1].cluster == b) ||
           (c->end[0].cluster == b && c->end[1].cluster == a);
}

void cables_part(struct linked *l, uint32_t a, uint32_t b, bool is_parted)
{
    note(l->sim, "network: %s and %s %s each other", cluster_name(a), cluster_name(b),
         is_parted ? "cannot reach" : "reach");
    l->cluster[a]->is_parted[b] = l->cluster[b]->is_parted[a] = is_parted;
    for (uint32_t i = 0; is_parted && i < l->cable_count; i++) {
        struct cable *c = l->cables[i];

        for (int side = 0; side < 2; side++)
            if (is_between(c, a, b) && c->is_answered && c->end[side].wire && !is_silent(c))
                wire_hang_up(world_of(l, &c->end[side]), c->end[side].wire, side);
    }
}

void cables_lose(struct linked *l, uint32_t cluster)
{
    for (uint32_t i = 0; i < l->cable_count; i++) {
        for (int side = 0; side < 2; side++) {
            struct cable_end *e = &l->cables[i]->end[side], *o = other_end(e);

            if (e->cluster != cluster || !e->wire)
                continue;
            e->wire = NULL;
            if (o->wire && !is_unheard(e))
                wire_hang_up(world_of(l, o), o->wire, true);
        }
    }
}

void cables_fini(struct linked *l)
{
    for (uint32_t i = 0; i < l->cable_count; i++)
        free(l->cables[i]);
    free(l->cables);
}

/* ---- looking ---- */

/* Whether bytes of this dialler's connection come through, as far as the network knows. */
static bool stream_is_healthy(const struct linked *l, const struct stream *s)
{
    for (uint32_t i = l->cable_count; i-- > 0;) {
        const struct cable *c = l->cables[i];

        if (c->stream == s && c->end[0].wire)
            return c->end[1].wire && !is_silent(c) && !c->end[0].wire->hung_up &&
                   !c->end[1].wire->hung_up;
    }
    return false;
}

/* Whether our routes are told, and how it stands with the connection on which they are. */
static bool is_told(struct linked *l, uint32_t from, uint32_t to)
{
    const struct peer *p = peer_of(l, from, to);

    return p->announcer.state == ANNOUNCER_ONLINE || p->greeter.is_online;
}

static bool is_route_healthy(struct linked *l, uint32_t from, uint32_t to)
{
    bool is_called = peer_is_called(peer_of(l, from, to));
    struct peer *caller = is_called ? peer_of(l, to, from) : peer_of(l, from, to);

    return caller && stream_is_healthy(l, &caller->announcer.dialer.stream);
}

/* Whether `at` has any connection with another cluster, as far as it knows. */
static bool has_connection(const struct linked *l, uint32_t at, uint32_t with)
{
    for (uint32_t i = l->cable_count; i-- > 0;) {
        const struct cable *c = l->cables[i];

        if (is_between(c, at, with) && c->is_answered &&
            c->end[c->end[0].cluster == at ? 0 : 1].wire)
            return true;
    }
    return false;
}

/* Routes expire only while some connection stands. */
bool cables_have_expired(const struct linked *l, uint32_t of, uint32_t at)
{
    const struct cluster *c = l->cluster[of];

    return c->is_met[at] && l->sim->now_ms - c->healthy_ms[at] > HEALTHY_MS;
}

static void look_whether_shaky(struct linked *l, uint32_t from, uint32_t to, bool is_healthy)
{
    struct cluster *c = l->cluster[from];

    if (!is_healthy && cables_have_expired(l, from, to))
        c->is_shaky[to] = true;
    c->is_met[to] = has_connection(l, to, from);
    if (is_healthy || !c->is_met[to])
        c->healthy_ms[to] = l->sim->now_ms;
}

/* QoS 0 that was sent on a connection is not sent again on the one that takes its place. */
static void look_whether_moved(struct linked *l, uint32_t from, uint32_t to)
{
    static const struct window none;
    struct channel *was = &l->cluster[from]->carries[to];
    const struct peer *p = peer_of(l, from, to);
    struct channel is = p ? p->carrier.to : (struct channel){0};

    if (was->host && !channel_eq(was, &is))
        judge_link_ended(l, from, to, &none);
    *was = is;
}

static void look(struct linked *l, uint32_t from, uint32_t to)
{
    struct cluster *c = l->cluster[from];
    bool is_healthy = peer_of(l, from, to) && is_told(l, from, to) && is_route_healthy(l, from, to);

    if (!is_healthy || !peer_of(l, from, to)->tells_native)
        c->telling[to] = NEVER;
    else if (c->telling[to] == NEVER)
        c->telling[to] = l->sim->step;
    look_whether_shaky(l, from, to, is_healthy);
    look_whether_moved(l, from, to);
}

void cables_look(struct linked *l)
{
    for (uint32_t i = 0; i < l->count; i++)
        for (uint32_t j = 0; j < l->count; j++)
            if (j != i)
                look(l, i, j);
}

/* The dialler of a connection, or NULL. */
static const struct dialer *dialer_of(struct linked *l, const struct cable *c)
{
    struct peer *p = peer_of(l, c->end[0].cluster, c->end[1].cluster);
    struct forwarder *f = p ? forwarder_of(p, c) : NULL;

    if (f)
        return &f->dialer;
    if (lane_dialer_of(l, c))
        return lane_dialer_of(l, c);
    return p && &p->announcer.dialer.stream == c->stream ? &p->announcer.dialer : NULL;
}

/* How long the side that was dialled may keep a silent connection. */
static uint64_t accepted_ms(struct linked *l, const struct cable *c)
{
    const struct cable_end *e = &c->end[1];
    bool is_ours = !c->is_older && /* it lives with the link, which was there when it came */
                   e->wire->worker >= world_workers(world_of(l, e));

    return is_ours ? DEAD_AFTER_MS + LINK_SILENCE_MORE_S * 1000 + DEAD_LATE_MS : NEVER;
}

void cables_check_silent(struct linked *l, uint64_t begin_ms)
{
    for (uint32_t i = 0; i < l->cable_count; i++) {
        struct cable *c = l->cables[i];
        uint64_t since = c->silent_ms > begin_ms ? c->silent_ms : begin_ms;
        const struct dialer *d = is_silent(c) && c->end[0].wire ? dialer_of(l, c) : NULL;

        if (d && d->state == DIALER_UP && l->sim->now_ms > since + DEAD_AFTER_MS + DEAD_LATE_MS)
            differ(l->sim, "%s has not noticed that wire %" PRIu32 " is silent",
                   cluster_name(c->end[0].cluster), c->end[0].wire->number);
        if (is_silent(c) && c->end[1].wire && l->sim->now_ms - since > accepted_ms(l, c))
            differ(l->sim, "%s keeps wire %" PRIu32 ", which is silent",
                   cluster_name(c->end[1].cluster), c->end[1].wire->number);
    }
}

static const char *interest_unrest(struct interest_state in)
{
    return in.pending || in.out || in.is_walking ? "routes are pending" : NULL;
}

static const char *wants_unrest(const struct linked *l, struct wants_state w)
{
    if (l->is_patient && w.lingering)
        return "a cover lingers";
    return w.pending || w.frames || w.is_announcing ? "native routes are pending" : NULL;
}

/* Nothing of a link that is off is left; one that the other side has switched off waits. */
static const char *off_unrest(struct linked *l, uint32_t from, uint32_t to)
{
    struct peer *p = peer_of(l, from, to);

    if (link_is_on(l, from, to))
        return !p ? "a link is not there" : p->is_up ? "a link is up to one that is off" : NULL;
    if (p && !l->cluster[from]->link[to])
        return "a link that was removed is there";
    if (p && (p->is_on || p->is_up))
        return "a link that is disabled is on";
    return p && announced_route_count(p->announced) ? "a link that is disabled has routes" : NULL;
}

static const char *lanes_unrest(struct linked *l, uint32_t from, uint32_t to)
{
    const struct peer *p = peer_of(l, from, to);

    if (SPREAD_SUM(&p->spread, waiting) || SPREAD_SUM(&p->spread, inflight))
        return "messages wait in a lane";
    for (uint32_t i = 0; i < LINK_WORKERS_MAX && (p->spread.words & LANE_DIALS); i++) {
        struct lane *lane = lane_of(l, from, to, i);

        if (lane && lane_dialer(lane)->state != DIALER_UP)
            return "the connection of a lane is not up";
        if (lane && !stream_is_healthy(l, &lane_dialer(lane)->stream))
            return "the connection of a lane is dead";
    }
    return NULL;
}

static const char *link_unrest(struct linked *l, uint32_t from, uint32_t to)
{
    struct peer *p = peer_of(l, from, to);
    const char *why;

    if (!l->cluster[from]->world)
        return "a cluster is down";
    if (!world_has_links(l->cluster[from]->world))
        return "changed links are not taken over";
    if (!link_is_on(l, from, to) || !link_is_on(l, to, from))
        return off_unrest(l, from, to);
    if (!p)
        return "a link is not there";
    if (p->next || !p->is_dialing)
        return "a changed link is not taken over";
    if (!is_told(l, from, to))
        return "routes are not online";
    if (!is_route_healthy(l, from, to))
        return "the route connection is dead";
    why = p->tells_native ? wants_unrest(l, wants_state(p->routes.wants))
                          : interest_unrest(interest_state(p->interest));
    if (p->is_telling)
        why = "not all routes are told";
    if (p->tells_native && p->routes.must_restart)
        why = "an announcement is due";
    if (why)
        return why;
    if (changes_wait(&p->changes) || transit_is_behind(p->host->transit))
        return "routes wait for the index";
    if (announced_has_old(p->announced))
        return "routes of an earlier life are left";
    for (uint32_t i = 0; p->link->server_count && i < p->forwarder_count; i++) {
        if (i >= p->dialled_count && !window_count(&p->forwarders[i].window))
            continue;
        if (p->forwarders[i].dialer.state != DIALER_UP)
            return "a message connection is not up";
        if (!stream_is_healthy(l, &p->forwarders[i].dialer.stream))
            return "a message connection is dead";
        if (window_count(&p->forwarders[i].window))
            return "messages wait";
    }
    if (p->carrier.out.waiting.count || p->carrier.out.sent.count)
        return "messages wait to be carried";
    why = lanes_unrest(l, from, to);
    if (why)
        return why;
    if (l->is_synced && retained_sync_is_behind(&p->retained))
        return "retained messages are not compared";
    return p->is_up ? NULL : "a link does not say that it is up";
}

static bool is_answered(const struct linked *l)
{
    for (uint32_t i = 0; i < l->client_count; i++)
        if (l->clients[i]->end && l->clients[i]->is_up && l->clients[i]->ask_count)
            return false;
    return true;
}

bool cables_quiet(struct linked *l, const char **why)
{
    *why = "a SUBACK is missing";
    if (!is_answered(l))
        return false;
    for (uint32_t i = 0; i < l->count; i++) {
        *why = "somebody waits for room in a link";
        if (l->cluster[i]->world && world_is_parked(l->cluster[i]->world))
            return false;
        for (uint32_t j = 0; j < l->count; j++) {
            *why = j != i ? link_unrest(l, i, j) : NULL;
            if (*why)
                return false;
        }
    }
    return true;
}
