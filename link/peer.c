/* link/peer.c -- one remote cluster. */
#include "link/peer.h"

#include <stdio.h>
#include <stdlib.h>

#include "cfg/change.h"
#include "core/base/check.h"
#include "link/peer_groups.h"
#include "link/peer_routes.h"
#include "link/transit.h"

static uint64_t now(const struct peer *p)
{
    return shard_now_ms(p->host->shard);
}

static struct peer *of_announcer(struct announcer *a)
{
    return (struct peer *)(void *)((char *)a - offsetof(struct peer, announcer));
}

/* ---- what a link says of itself ---- */

bool peer_is_called(const struct peer *p)
{
    return p->link->server_count == 0;
}

void peer_say_state(struct peer *p, const char *text)
{
    char topic[CFG_NAME_BYTES_MAX + 32];

    snprintf(topic, sizeof(topic), "connection/%s/state", p->link->name);
    shard_sys_say(p->host->shard, topic, text);
}

static bool is_up(const struct peer *p)
{
    if (peer_is_called(p))
        return p->greeter.is_online && carrier_is_up(&p->carrier);
    if (p->announcer.state != ANNOUNCER_ONLINE || (p->speaks_native && !carrier_is_up(&p->carrier)))
        return false;
    if (p->speaks_native && p->spread.count &&
        !((p->spread.words & LANE_DIALS) && spread_is_up(&p->spread)))
        return false;
    for (uint32_t i = 0; i < p->dialled_count; i++)
        if (p->forwarders[i].dialer.state != DIALER_UP)
            return false;
    return true;
}

static void on_away(struct timer *t, void *owner, uint64_t now_ms)
{
    struct peer *p = (struct peer *)(void *)((char *)t - offsetof(struct peer, away));

    (void)owner;
    (void)now_ms;
    transit_away(p->host->transit, p, true);
}

/* From now on it is up, or is not. */
static void be_up(struct peer *p, bool is_up)
{
    p->is_up = is_up;
    p->since_s = shard_wall_ms(p->host->shard) / 1000;
    timer_cancel(shard_timers(p->host->shard), &p->away);
    if (is_up)
        transit_away(p->host->transit, p, false);
    else
        timer_arm(shard_timers(p->host->shard), &p->away, now(p) + TRANSIT_AWAY_MS, on_away);
}

void peer_look_up(struct peer *p)
{
    char peer[300], detail[128];
    uint32_t wanted;

    if (p->is_up || !is_up(p))
        return;
    be_up(p, true);
    p->last_why[0] = '\0';
    dialer_peer_text(&p->announcer.dialer, peer);
    wanted =
        p->tells_native ? wants_state(p->routes.wants).wanted : interest_state(p->interest).wanted;
    snprintf(detail, sizeof(detail), "we want %u routes, they want %u filters%s", wanted,
             announced_filter_count(p->announced), p->tells_native ? ", native" : "");
    host_log(p->host, 5, "link up", p->link->name, peer[0] ? peer : NULL, NULL, detail);
    peer_say_state(p, "1");
}

/* The first loss of a link, and every new reason after it, is news; the same again is not. */
static void look_whether_down(struct peer *p, const struct dialer *d)
{
    bool was_up = p->is_up;
    bool is_news = strcmp(p->last_why, d->why) != 0;
    char peer[300];

    dialer_peer_text(d, peer);
    host_log(p->host,
             d->must_stop ? 7
             : was_up     ? 4
             : is_news    ? 5
                          : 7,
             was_up ? "link down" : "link not connected", p->link->name, peer, d->why,
             d->must_stop ? NULL : "it is tried again");
    memcpy(p->last_why, d->why, sizeof(p->last_why));
    memcpy(p->error, d->why, sizeof(p->error));
    if (!was_up)
        return;
    be_up(p, false);
    peer_say_state(p, "0");
}

const char peer_left_by_them[] = "a connection that the other side had opened is gone";

/* A connection that we need is gone, and none of those that this link worker dials. */
void peer_look_left(struct peer *p, const char *why, const char *what_next)
{
    if (!p->is_up)
        return;
    be_up(p, false);
    snprintf(p->error, sizeof(p->error), "%s", why);
    host_log(p->host, 4, "link down", p->link->name, NULL, p->error, what_next);
    peer_say_state(p, "0");
}

/* ---- our routes ---- */

void peer_interest(struct peer *p, struct bytes group, struct bytes filter, bool is_added)
{
    enum err err = OK;

    if (is_added)
        err = p->tells_native ? wants_add(p->routes.wants, group, filter)
                              : interest_add(p->interest, group, filter);
    else if (p->tells_native)
        wants_remove(p->routes.wants, group, filter, now(p));
    else
        interest_remove(p->interest, group, filter);
    if (err == ERR_NONE)
        peer_group_refused(p, filter);
    else if (err != OK)
        peer_route_refused(p, "link route not announced", filter, err);
}

bool peer_is_told(struct peer *p, struct bytes group, struct bytes filter)
{
    const struct local *l = p->is_telling ? locals_find(p->host->locals, group, filter) : NULL;

    if (p->announcer.state != ANNOUNCER_ONLINE && !p->greeter.is_online)
        return true;
    if (l && !locals_walk_knows(&p->telling, l))
        return false;
    return p->tells_native
               ? !p->routes.must_restart && wants_is_told(p->routes.wants, group, filter)
               : interest_is_told(p->interest, group, filter);
}

static void tell_local(void *arg, struct bytes group, struct bytes filter)
{
    peer_interest(arg, group, filter, true);
}

static bool must_tell_others(const struct peer *p)
{
    return p->transits && p->tells_native && p->is_on;
}

/* What other clusters want, too, if they may be told. */
static void tell_others(struct peer *p)
{
    if (p->is_told || !must_tell_others(p))
        return;
    p->is_told = true;
    transit_tell_all(p->host->transit, p, true);
}

/* Goes on with that. True: there is more. */
static bool tell_on(struct peer *p)
{
    uint32_t budget = PEER_TELL_MAX;

    if (!p->is_telling)
        return false;
    if (p->tells_native ? !wants_forgo(p->routes.wants, now(p), &budget)
                        : !interest_forgo(p->interest, &budget))
        return true;
    tell_others(p);
    if (!locals_walk_on(p->host->locals, &p->telling, &budget, tell_local, p))
        return true;
    if (p->tells_native)
        route_stream_imported(&p->routes);
    else if (!interest_imported(p->interest, &budget))
        return true;
    p->is_telling = false;
    p->host->has_news = true;
    return false;
}

void peer_tell_all(struct peer *p)
{
    p->is_told = false;
    if (p->tells_native)
        wants_refill(p->routes.wants);
    else
        interest_refill(p->interest);
    locals_walk_begin(p->host->locals, &p->telling);
    p->is_telling = true;
    (void)tell_on(p);
}

void peer_tell_stop(struct peer *p)
{
    locals_walk_end(&p->telling);
    p->is_telling = false;
}

/* Once until that changes. */
static void say_transit(struct peer *p, bool transits)
{
    bool is_missed = !transits && (p->next ? p->next : p->link)->transit;

    if (is_missed && !p->no_transit_said)
        host_log(p->host, 5, "link without transit", p->link->name, NULL,
                 p->speaks_native || p->announcer.is_native
                     ? "the other side has transit = off for its link to us"
                     : "it does not speak our dialect",
                 "messages cross this link and no other");
    p->no_transit_said = is_missed;
}

void peer_transits(struct peer *p, bool transits)
{
    const void *cursor = NULL;
    struct bytes text;

    say_transit(p, transits);
    if (p->transits != transits) {
        p->transits = p->carrier.transits = transits;
        while (announced_next_filter(p->announced, &cursor, &text))
            transit_route(p->host->transit, p, text, transits);
    }
    if (!p->is_telling)
        tell_others(p);
    if (!p->is_told || must_tell_others(p))
        return;
    p->is_told = false;
    transit_tell_all(p->host->transit, p, false);
}

/* Keeps what we want in the form in which the other side is told it. false: no memory. */
static bool tell_native(struct peer *p, bool is_native)
{
    struct interest *interest = NULL;

    if (p->tells_native == is_native)
        return true;
    if (!is_native) {
        interest = interest_create(p->link->topics, p->link->topic_count, p->link->max_routes,
                                   &p->host->key);
        if (!interest)
            return false;
        route_stream_fini(&p->routes);
    } else if (route_stream_init(&p->routes, p->host, p->link, p->link->max_routes) != OK) {
        return false;
    }
    interest_destroy(p->interest);
    p->interest = p->announcer.interest = interest;
    p->tells_native = is_native;
    p->gives_groups = p->retained.no_groups = false;
    peer_tell_all(p);
    return true;
}

/* Once: it will not change soon. */
static void say_no_sync(struct peer *p)
{
    if (p->no_sync_said)
        return;
    p->no_sync_said = true;
    host_log(p->host, 5, "link retained messages not asked for", p->link->name, NULL,
             "it does not speak our dialect", "retained = sync is as retained = pass");
}

/* A broker of ours has accepted us on a connection that it has opened. */
void peer_welcomed(struct peer *p, const struct native_frame *f)
{
    bool is_other = !p->tells_native;

    if (!tell_native(p, true)) {
        channel_fail(&p->greeter.channel, "no memory");
        return;
    }
    is_other |= peer_give_groups(p, f->has_groups && p->greeter.offers_groups);
    retained_sync_online(&p->retained, &p->greeter.channel);
    route_stream_open(&p->routes, &p->greeter.channel, p->greeter.incarnation,
                      f->needs_all || is_other);
    peer_look_up(p);
}

static void on_online(struct announcer *a, bool needs_all)
{
    struct peer *p = of_announcer(a);
    struct channel channel = channel_of_dialer(&a->dialer);
    bool is_other = p->tells_native != a->is_native;

    if (!tell_native(p, a->is_native)) {
        dialer_fail(&a->dialer, "no memory");
        return;
    }
    is_other |= peer_give_groups(p, a->has_groups);
    peer_transits(p, a->transits);
    if (a->is_native)
        carrier_agree(&p->carrier, a->deflates);
    p->is_emqx = !a->is_native;
    peer_choose_dialled(p, p->link);
    if (a->is_native)
        retained_sync_online(&p->retained, &channel);
    else if (p->link->retained == RETAINED_SYNC)
        say_no_sync(p);
    if (a->is_native)
        route_stream_open(&p->routes, &channel, a->incarnation, needs_all || is_other);
    else if (needs_all || is_other)
        interest_forget(p->interest);
    for (uint32_t i = 0; i < p->forwarder_count; i++)
        dialer_hurry(&p->forwarders[i].dialer);
    peer_look_up(p);
}

static void on_offline(struct announcer *a, bool was_online)
{
    struct peer *p = of_announcer(a);
    struct channel channel = channel_of_dialer(&a->dialer);

    (void)was_online;
    p->host->has_news = true;
    if (p->tells_native)
        route_stream_close(&p->routes);
    retained_sync_gone(&p->retained, &channel);
    intake_gone(&p->intake, &channel);
    look_whether_down(p, &a->dialer);
}

/* A frame on a connection that we opened. While they are held back, it waits as others do. false:
 * no room now. */
static bool on_frame(struct peer *p, struct dialer *d, struct bytes payload)
{
    struct channel channel = channel_of_dialer(d);
    struct announced_actor *actor =
        announced_find(p->announced, BYTES_LIT(ANNOUNCER_ACTOR), p->intake.incarnation);
    const char *fault;

    if (hold_is_on(&p->hold) || !peer_take_frame(p, &channel, actor, payload, &fault))
        return false;
    if (fault)
        dialer_fail(d, fault);
    else
        peer_received(p, payload.n);
    return true;
}

static bool on_announcer_frame(struct announcer *a, struct bytes payload)
{
    return on_frame(of_announcer(a), &a->dialer, payload);
}

static const struct announcer_events announcer_events = {
    .online = on_online, .frame = on_announcer_frame, .offline = on_offline};

/* ---- messages to them ---- */

/* Our messages to a broker of ours take the first of our connections for messages; if we have none,
 * the one on which theirs come. Whether that is not the one they take now. */
static bool is_to_move(struct peer *p, struct channel *to)
{
    *to = peer_is_called(p) ? p->carrier.from : channel_of_dialer(&p->forwarders[0].dialer);
    return p->speaks_native && channel_is_up(to) && !channel_eq(&p->carrier.to, to);
}

/* Who has a server now leaves the one on which theirs come when nothing is on the way there: what
 * of QoS 0 were, would be passed over behind the OPEN on another. */
bool peer_is_moving(struct peer *p)
{
    struct channel to;

    return is_to_move(p, &to) && !peer_is_called(p) && p->carrier.out.inflight.messages > 0;
}

void peer_carry_on(struct peer *p)
{
    struct channel to;

    if (is_to_move(p, &to) && !peer_is_moving(p))
        carrier_up(&p->carrier, &to);
}

static void on_forwarder_up(struct forwarder *f)
{
    peer_carry_on(f->peer);
    peer_look_up(f->peer);
}

static void on_forwarder_down(struct forwarder *f, bool was_up)
{
    struct channel channel = channel_of_dialer(&f->dialer);

    (void)was_up;
    carrier_down(&f->peer->carrier, &channel);
    if (f - f->peer->forwarders < f->peer->dialled_count)
        look_whether_down(f->peer, &f->dialer);
}

static bool on_forwarder_frame(struct forwarder *f, struct bytes payload)
{
    return on_frame(f->peer, &f->dialer, payload);
}

static void on_lost(struct forwarder *f, uint64_t count)
{
    struct peer *p = f->peer;
    const struct window_lost *l = &f->window.lost;
    uint64_t now = shard_now_ms(p->host->shard);
    char peer[300], detail[256];

    (void)count;
    if (now < p->say_ms)
        return;
    p->say_ms = now + PEER_SAY_MS;
    dialer_peer_text(&f->dialer, peer);
    snprintf(detail, sizeof(detail),
             "so far: %llu because the queue was full, %llu waited too long, %llu expired, %llu "
             "too large for the other side, %llu refused by it, %llu without memory",
             (unsigned long long)l->full, (unsigned long long)l->aged,
             (unsigned long long)l->expired, (unsigned long long)l->too_large,
             (unsigned long long)l->refused, (unsigned long long)l->memory);
    host_log(p->host, 4, "link messages lost", p->link->name, peer, NULL, detail);
}

static const struct forwarder_events forwarder_events = {
    .up = on_forwarder_up, .frame = on_forwarder_frame, .down = on_forwarder_down, .lost = on_lost};

bool peer_blocks(struct peer *p)
{
    bool is_short = p->link->on_full == ON_FULL_BLOCK && shard_memory_is_full(p->host->shard);

    if (p->link->on_full != ON_FULL_BLOCK)
        return false;
    if (carrier_is_full(&p->carrier, is_short) || spread_is_full(&p->spread))
        return true;
    for (uint32_t i = 0; i < p->forwarder_count && !peer_is_called(p); i++) {
        p->forwarders[i].window.must_not_grow = is_short;
        if (window_is_full(&p->forwarders[i].window))
            return true;
    }
    return false;
}

void peer_forward(struct peer *p, struct message *record, uint64_t publisher_hash)
{
    forwarder_push(&p->forwarders[publisher_hash % p->forwarder_count], record);
}

void peer_carry(struct peer *p, struct message *m)
{
    carrier_push(&p->carrier, m);
}

bool peer_acks_remotely(const struct peer *p)
{
    return p->link->ack == ACK_REMOTE && p->is_on;
}

bool peer_spreads(const struct peer *p)
{
    return p->is_apart && p->speaks_native && !peer_is_called(p) && !p->link->transit;
}

bool peer_wants_retained(const struct peer *p, const struct publish *message)
{
    return p->speaks_native && carrier_is_up(&p->carrier) &&
           retained_sync_wants(&p->retained, message->topic);
}

/* ---- they come and go ---- */

enum err peer_hello(struct peer *p, struct bytes actor, uint64_t incarnation,
                    const struct channel *native, bool *need_bootstrap)
{
    uint64_t expiry = shard_now_ms(p->host->shard) + ANNOUNCED_TTL_MS;
    enum err err = announced_hello(p->announced, actor, incarnation, expiry, ANNOUNCED_OLD_STAY,
                                   need_bootstrap);

    if (err != OK)
        return err;
    if (p->speaks_native && !native)
        carrier_leave(&p->carrier);
    p->speaks_native = native != NULL;
    peer_routes_heard(p);
    if (native) { /* its announcement has an end marker, see announced_heard for others */
        if (*need_bootstrap)
            announced_keep(announced_find(p->announced, actor, incarnation));
        intake_open(&p->intake, native, incarnation);
        if (peer_is_called(p)) {
            peer_look_left(p, peer_left_by_them, "we wait to be called");
            if (p->tells_native)
                route_stream_close(&p->routes);
            greeter_open(&p->greeter, native);
        }
        peer_carry_on(p);
    }
    peer_routes_arm(p);
    dialer_hurry(&p->announcer.dialer);
    for (uint32_t i = 0; i < p->forwarder_count; i++)
        dialer_hurry(&p->forwarders[i].dialer);
    spread_hurry(&p->spread);
    return OK;
}

void peer_channel_gone(struct peer *p, const struct channel *channel)
{
    bool was_ours = channel_eq(&p->carrier.to, channel);

    intake_gone(&p->intake, channel);
    carrier_down(&p->carrier, channel);
    inlets_down(&p->inlets, channel);
    retained_sync_gone(&p->retained, channel);
    if (greeter_gone(&p->greeter, channel)) {
        p->host->has_news = true;
        if (p->tells_native)
            route_stream_close(&p->routes);
        was_ours = true;
    }
    if (was_ours && peer_is_called(p))
        peer_look_left(p, peer_left_by_them, "we wait to be called");
}

void peer_received(struct peer *p, uint64_t bytes)
{
    hold_until(&p->hold, rate_take(&p->bytes, bytes, now(p)));
}

void peer_waits(struct peer *p)
{
    uint32_t part = p->hold.is_crowded ? 2 : 1;

    hold_crowded(&p->hold, p->waiting.count >= PEER_WAITING_PACKETS / part ||
                               p->waiting.bytes >= PEER_WAITING_BYTES / part);
}

/* What the lanes are to do. */
static uint8_t words_for_lanes(const struct peer *p)
{
    bool spreads = p->speaks_native && !peer_is_called(p);
    bool dials = p->is_dialing && spreads;
    uint8_t holds = p->holds_lanes ? LANE_HOLDS : 0;

    if (p->is_ending)
        return LANE_ENDS;
    if (!p->is_on)
        return holds;
    return (uint8_t)(holds | LANE_TAKES | (dials ? LANE_DIALS : 0) | (spreads ? 0 : LANE_RETURNS) |
                     (p->carrier.packs ? LANE_PACKS : 0));
}

/* One of several connections for messages is gone, or is there again. */
static void look_at_spread(struct peer *p)
{
    bool stands;

    if (p->spread.count == 0)
        return;
    if (spread_has_opened(&p->spread))
        retained_sync_carried(&p->retained);
    stands = (p->spread.words & LANE_DIALS) && spread_is_up(&p->spread);
    if (p->is_spread && !stands && (p->spread.words & LANE_DIALS))
        peer_look_left(p, "a connection of another link worker is gone", "it is tried again");
    p->is_spread = stands;
}

bool peer_run(struct peer *p)
{
    bool more;

    peer_change_run(p);
    more = tell_on(p);
    announcer_run(&p->announcer);
    greeter_run(&p->greeter);
    if (p->tells_native)
        route_stream_run(&p->routes);
    more |= peer_switch_run(p);
    carrier_run(&p->carrier);
    inlets_run(&p->inlets);
    look_at_spread(p);
    peer_look_up(p); /* the other side may speak another dialect than when this was asked last */
    retained_sync_run(&p->retained, &p->carrier, &p->spread);
    more |= spread_run(&p->spread, p->link, words_for_lanes(p)); /* also of marks from above */
    more |= peer_routes_run(p);
    intake_run(&p->intake, peer_routes_are_behind(p));
    return more;
}

/* ---- life ---- */

uint32_t peer_stream_count(const struct peer *p, const struct cfg_link *link)
{
    bool is_apart = link->server_count && link->dialect != DIALECT_EMQX && !link->transit;

    return is_apart ? p->host->workers : 1;
}

uint32_t peer_forwarder_count(const struct cfg_link *link)
{
    bool is_ours = link->dialect == DIALECT_NATIVE || !link->server_count;

    if (link->connections)
        return link->connections;
    return is_ours ? 1 : FORWARDER_CONNECTIONS_EMQX;
}

void peer_choose_dialled(struct peer *p, const struct cfg_link *link)
{
    bool is_emqx = p->is_emqx || link->dialect == DIALECT_EMQX;

    p->dialled_count = link->connections || is_emqx ? p->forwarder_count : 1;
}

void peer_free_forwarders(struct forwarder *v, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        forwarder_fini(&v[i]);
    free(v);
}

struct forwarder *peer_make_forwarders(struct peer *p, const struct cfg_link *link)
{
    uint32_t count = peer_forwarder_count(link);
    struct forwarder *v = calloc(count, sizeof(*v));

    for (uint32_t i = 0; v && i < count; i++) {
        if (forwarder_init(&v[i], p->host, link, i + 1, link->queue_bytes / count,
                           &forwarder_events) != OK) {
            peer_free_forwarders(v, i + 1);
            return NULL;
        }
        v[i].peer = p;
        v[i].window.acks = (struct acks_of){.acks = p->host->acks, .link = p->number};
    }
    return v;
}

struct peer *peer_create(struct link_host *host, const struct cfg_link *from, uint32_t number)
{
    struct carrier_place place = {.boot = host->boot};
    struct peer *p = calloc(1, sizeof(*p));
    struct cfg_link *link = cfg_link_copy(from);

    if (!p || !link) {
        free(p);
        cfg_link_free(link);
        return NULL;
    }
    CHECK(number < LINKS_MAX);
    p->host = host;
    p->link = link;
    p->number = number;
    hold_init(&p->hold, host, link->name, number);
    be_up(p, false);
    p->bytes.per_s = link->max_rate;
    p->interest = interest_create(link->topics, link->topic_count, link->max_routes, &host->key);
    p->forwarders = peer_make_forwarders(p, link);
    p->forwarder_count = p->forwarders ? peer_forwarder_count(link) : 0;
    peer_choose_dialled(p, link);
    if (peer_routes_init(p) != OK || !p->interest || !p->forwarders ||
        announcer_init(&p->announcer, host, link, &announcer_events) != OK ||
        spread_init(&p->spread, host, number) != OK) {
        peer_destroy(p);
        return NULL;
    }
    p->announcer.interest = p->interest;
    place.streams = peer_stream_count(p, link);
    carrier_init(&p->carrier, host, link, &place);
    inlets_init(&p->inlets, host, link, &place, number);
    p->carrier.out.acks = (struct acks_of){.acks = host->acks, .link = number};
    retained_sync_init(&p->retained, host, link, number);
    greeter_init(&p->greeter, host, link->name);
    p->greeter.offers_groups = link->shared_groups == SHARED_GROUPS_GLOBAL;
    p->speaks_native = peer_is_called(p); /* nobody else can call us */
    return p;
}

void peer_destroy(struct peer *p)
{
    if (!p)
        return;
    acks_release(p->host->acks, p->number);
    timer_cancel(shard_timers(p->host->shard), &p->away);
    hold_fini(&p->hold);
    peer_tell_stop(p);
    announcer_fini(&p->announcer);
    peer_free_forwarders(p->forwarders, p->forwarder_count);
    retained_sync_fini(&p->retained);
    carrier_fini(&p->carrier);
    inlets_fini(&p->inlets);
    spread_fini(&p->spread);
    route_stream_fini(&p->routes);
    interest_destroy(p->interest);
    peer_routes_fini(p);
    cfg_link_free(p->link);
    cfg_link_free(p->next);
    free(p);
}
