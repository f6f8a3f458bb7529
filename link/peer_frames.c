/* link/peer_frames.c -- frames of a broker of ours, each to the part of the peer that it is for. */
#include "link/peer_groups.h"
#include "link/peer_routes.h"

static uint64_t now(const struct peer *p)
{
    return shard_now_ms(p->host->shard);
}

/* Who was called introduces itself, on the connection on which we did so. */
static void on_hello(struct peer *p, const struct channel *from, const struct native_frame *f,
                     const char **fault)
{
    struct bytes name = BYTES_LIT(ANNOUNCER_ACTOR);
    struct native_frame answer = {.kind = NATIVE_WELCOME, .incarnation = f->incarnation};
    enum err err;

    if (from->dialer != &p->announcer.dialer || channel_eq(&p->intake.channel, from) ||
        !channel_takes_answers(from)) {
        *fault = "a HELLO where there should be none";
        return;
    }
    if (f->incarnation > shard_wall_ms(p->host->shard) + PEER_AHEAD_MS) {
        *fault = "its incarnation is more than a day ahead of our clock";
        return;
    }
    err = peer_hello(p, name, f->incarnation, from, &answer.needs_all);
    if (err != OK && err != ERR_PEER) {
        *fault = "no room for its introduction";
        return;
    }
    answer.is_refused = err == ERR_PEER;
    answer.has_groups = err == OK && peer_grant_groups(p, f->has_groups);
    if (answer.is_refused)
        answer.incarnation = announced_incarnation(p->announced, name);
    channel_say(from, &answer);
}

/* false: no room now. */
static bool take_routes(struct peer *p, const struct channel *from, struct announced_actor *actor,
                        const struct native_frame *f, const char **fault)
{
    if (peer_routes_are_behind(p))
        return false; /* the route index is behind: what we have not taken need not be kept */
    if (!actor || !channel_eq(&p->intake.channel, from))
        *fault = "routes before an introduction";
    else if (intake_take(&p->intake, actor, f) != OK)
        *fault = "routes that were numbered before";
    else
        peer_routes_heard(p);
    if (!*fault && f->kind == NATIVE_ROUTES)
        hold_until(&p->hold, rate_take(&p->ops, f->count, now(p)));
    return true;
}

static void take_routes_ack(struct peer *p, const struct channel *from,
                            const struct native_frame *f, const char **fault)
{
    if (!p->tells_native || !channel_eq(&p->routes.channel, from))
        return; /* of an earlier connection */
    p->host->has_news = true;
    if (route_stream_take(&p->routes, f) != OK)
        *fault = "an acknowledgement of routes that were never sent";
}

/* `plain`: bytes that it had before it was packed, or 0. false: no room now. */
static bool take_messages(struct peer *p, const struct channel *from, const struct native_frame *f,
                          uint32_t plain, uint32_t packed, const char **fault)
{
    if (!carrier_take(inlets_find(&p->inlets, &p->carrier, from, f), from, f, fault))
        return false;
    if (plain > packed) /* max_rate counts what it is, too */
        peer_received(p, plain - packed);
    if (f->kind == NATIVE_OPEN)
        p->bytes.per_s = carrier_rate(&p->carrier);
    if (f->kind == NATIVE_OPENED && !*fault && channel_eq(&p->carrier.to, from))
        retained_sync_carried(&p->retained);
    if (peer_is_called(p))
        peer_carry_on(p);
    peer_look_up(p);
    return true;
}

bool peer_take_frame(struct peer *p, const struct channel *from, struct announced_actor *actor,
                     struct bytes payload, const char **fault)
{
    uint32_t plain = 0;
    struct native_frame f;
    enum err err;

    *fault = NULL;
    if (native_frame_decode(payload, &f) != OK) {
        *fault = "a frame that cannot be understood";
        return true;
    }
    if (f.kind == NATIVE_DEFLATED) {
        plain = (uint32_t)f.count;
        err = carrier_unpack(&p->carrier, &f, fault);
        if (err != OK)
            return err != ERR_FULL;
    }
    switch (f.kind) {
    case NATIVE_ROUTES:
    case NATIVE_BEAT:
        return take_routes(p, from, actor, &f, fault);
    case NATIVE_ROUTES_ACK:
        take_routes_ack(p, from, &f, fault);
        return true;
    case NATIVE_OPEN:
    case NATIVE_OPENED:
    case NATIVE_MESSAGES:
    case NATIVE_ACK:
        return take_messages(p, from, &f, plain, payload.n, fault);
    case NATIVE_RETAINED_ASK:
    case NATIVE_RETAINED:
    case NATIVE_RETAINED_END:
    case NATIVE_RETAINED_ACK:
        return retained_sync_take(&p->retained, from, &f, fault);
    case NATIVE_HELLO:
        on_hello(p, from, &f, fault);
        return true;
    case NATIVE_WELCOME:
        if (greeter_take(&p->greeter, from, &f))
            peer_welcomed(p, &f);
        return true;
    case NATIVE_LATER:
    default:
        return true;
    }
}
