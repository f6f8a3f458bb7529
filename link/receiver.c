/* link/receiver.c -- routes and messages of remote clusters.
 *
 * A packet that found no room is offered again, whole, by core or from those that wait. So whatever
 * was done before the place that had no room must be harmless when it is done twice; the one thing
 * that is not, the answer to an introduction, is remembered in the binding (answer_due).
 *
 * Anybody who may publish under `$LINK/` can send a little that unpacks to much. So a payload is
 * unpacked last, when all else about it is known, and no more in a turn than leaves the link worker
 * time for its other work. While clients wait, a packet of another one that must be unpacked gets
 * in line behind them, so what comes new cannot use up the turn before them. What only has no room
 * does not wait here but in core's rings, as long as nothing else of its client waits: there its
 * sender is slowed down, not disconnected.
 */
#include "link/receiver.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/base/arena.h"
#include "core/base/check.h"
#include "core/mqtt/topic.h"
#include "link/binding.h"
#include "link/channel.h"
#include "link/emqx_message.h"
#include "link/incoming.h"
#include "link/peer_groups.h"
#include "link/waiting.h"

/* A client that is disconnected. */
struct kicked {
    struct client_name client;
    enum reason reason;
    const char *why_due; /* it has not been told yet, there was no room; or NULL */
};

struct receiver {
    struct link_host *host;
    receiver_find *find;
    void *arg;
    struct inflate *inflate;
    struct bindings bindings;
    struct kicked kicked[RECEIVER_KICKED_MAX]; /* a ring */
    uint32_t kicked_count;                     /* ever */
    struct peer *sender;                       /* of the packet at hand, or NULL: no link has it */
    struct peer_refusals strangers[PEER_SAID_COUNT];
    struct waiting waiting;
    uint32_t inflated_bytes; /* in this turn */
    bool is_behind;          /* the packet at hand came while others waited */
    bool must_wait;          /* it must be unpacked, and may not be now */
};

/* ---- refusals ---- */

/* Counts a refused packet. Whether a line may be said of it: `left_out` is then text about those of
 * which none was. */
static bool count_refusal(struct receiver *r, enum peer_said of, char *left_out, size_t room)
{
    struct peer_refusals *f = r->sender ? &r->sender->refusals[of] : &r->strangers[of];
    uint64_t now = shard_now_ms(r->host->shard);

    STAT_INC(shard_count(r->host->shard), link_packets_refused);
    left_out[0] = '\0';
    if (now < f->say_ms) {
        f->left_out++;
        return false;
    }
    if (f->left_out)
        snprintf(left_out, room, "; %llu more were refused since the last line",
                 (unsigned long long)f->left_out);
    f->say_ms = now + RECEIVER_SAY_MS;
    f->left_out = 0;
    return true;
}

static struct kicked *kicked_of(struct receiver *r, const struct client_name *c)
{
    uint32_t n = r->kicked_count < RECEIVER_KICKED_MAX ? r->kicked_count : RECEIVER_KICKED_MAX;

    for (uint32_t i = 0; i < n; i++)
        if (client_name_eq(&r->kicked[i].client, c))
            return &r->kicked[i];
    return NULL;
}

/* false: no room now. */
static bool tell_kicked(struct receiver *r, const struct link_packet *packet, struct kicked *k)
{
    char detail[128], left_out[80];
    struct log_event e = {.level = 4,
                          .event = "link packet refused",
                          .client = packet->client_id,
                          .user = packet->user,
                          .link = r->sender ? r->sender->link->name : NULL,
                          .reason = k->why_due,
                          .detail = detail};

    if (shard_link_kick(r->host->shard, packet->from, (uint8_t)k->reason) == ERR_FULL)
        return false;
    k->why_due = NULL;
    if (count_refusal(r, PEER_SAID_PACKET, left_out, sizeof(left_out)) && r->host->log) {
        snprintf(detail, sizeof(detail), "its client is disconnected%s", left_out);
        r->host->log(r->host->net, &e);
    }
    return true;
}

/* What a client sends is acknowledged before we look at it, so whoever is disconnected may believe
 * that we took routes which we did not: its actor must announce them again. */
static void doubt(struct peer *peer, struct bytes name, uint64_t incarnation)
{
    struct announced_actor *actor = announced_find(peer->announced, name, incarnation);

    if (actor)
        announced_doubt(actor);
}

/* Disconnects the sender, for a reason in fixed words. false: no room now. */
static bool kick_for(struct receiver *r, const struct link_packet *packet, enum reason reason,
                     const char *why)
{
    struct kicked *k = &r->kicked[r->kicked_count++ % RECEIVER_KICKED_MAX];
    const struct binding *b = bindings_find(&r->bindings, &packet->from);

    if (b)
        doubt(b->peer, bytes_of(b->actor, b->actor_n), b->incarnation);
    *k = (struct kicked){.client = packet->from, .reason = reason, .why_due = why};
    return tell_kicked(r, packet, k);
}

/* Who broke the protocol. false: no room now. */
static bool kick(struct receiver *r, const struct link_packet *packet, const char *why)
{
    return kick_for(r, packet, REASON_IMPLEMENTATION_SPECIFIC, why);
}

/* ---- answers ---- */

/* Sends an answer to who asked: over the connection itself if it lives here, else to the subscriber
 * of the topic. ERR_FULL: no room now. */
static enum err reply(struct receiver *r, const struct link_packet *packet, struct bytes payload)
{
    struct channel channel = channel_of_client(r->host, packet->from);
    struct publish_out p = {.topic = packet->response_topic, .payload = payload};
    uint8_t *props;

    if (packet->from.worker != shard_number(r->host->shard))
        return shard_link_reply(r->host->shard, packet->response_topic, packet->correlation,
                                payload);
    props = arena_alloc(shard_arena(r->host->shard), packet->correlation.n + 3);
    if (!props)
        return ERR_MEMORY;
    props[0] = 0x09; /* correlation data [MQTT5 3.3.2.3.6] */
    put_be16(props + 1, (uint16_t)packet->correlation.n);
    bytes_put(props + 3, packet->correlation);
    p.props = bytes_of(props, packet->correlation.n + 3);
    if (!channel_takes_answers(&channel))
        channel_fail(&channel, "it does not read our answers");
    else if (channel_publish(&channel, &p) == ERR_FULL)
        channel_fail(&channel, "it takes no packets large enough for our answer");
    return OK; /* or it is gone */
}

/* Sends an actor_init_ack: that of a binding, or a refusal. false: no room now. */
static bool answer(struct receiver *r, const struct link_packet *packet, struct bytes actor,
                   const struct binding *accepted, struct bytes refusal)
{
    struct emqx_control c = {.op = EMQX_ACTOR_INIT_ACK,
                             .actor = actor,
                             .version = EMQX_PROTOCOL_VERSION,
                             .is_accepted = accepted != NULL,
                             .reason = refusal};
    uint8_t payload[ANNOUNCED_ACTOR_BYTES_MAX + 256];
    uint32_t size;
    enum err err;

    if (accepted) {
        c.need_bootstrap = accepted->need_bootstrap ? EMQX_NEED_TRUE : EMQX_NEED_FALSE;
        c.native = accepted->is_native ? NATIVE_VERSION : 0;
        c.has_groups = accepted->has_groups;
        c.deflates = accepted->deflates;
        c.transits = accepted->transits;
    }
    err = emqx_control_encode(&c, payload, sizeof(payload), &size);
    CHECK(err == OK); /* the actor's name was bounded by announced_hello or by on_init */
    err = reply(r, packet, bytes_of(payload, size));
    if (err == ERR_MEMORY) /* they wait 5 s for nothing and begin again */
        STAT_INC(shard_count(r->host->shard), dropped_memory);
    return err != ERR_FULL;
}

/* ---- routes ---- */

static bool may_answer_to(const struct link_packet *packet, struct bytes cluster)
{
    struct bytes to, actor;

    return packet->correlation.n && packet->correlation.n <= UINT16_MAX &&
           emqx_topic_parse(packet->response_topic, &to, &actor) == EMQX_TOPIC_RESP &&
           bytes_eq(to, cluster);
}

static bool refuse(struct receiver *r, const struct link_packet *packet, struct bytes cluster,
                   const struct emqx_control *c, struct bytes reason)
{
    char name[CFG_NAME_BYTES_MAX + 1], text[64], client[640], left_out[80];

    if (!answer(r, packet, c->actor, NULL, reason))
        return false;
    if (!count_refusal(r, PEER_SAID_INTRODUCTION, left_out, sizeof(left_out)))
        return true;
    snprintf(name, sizeof(name), "%.*s", (int)(cluster.n < 254 ? cluster.n : 254),
             (const char *)cluster.p);
    snprintf(text, sizeof(text), "we answer %.*s", (int)reason.n, (const char *)reason.p);
    snprintf(client, sizeof(client), "it came as client %.*s%s%.*s%s",
             (int)(packet->client_id.n < 250 ? packet->client_id.n : 250),
             (const char *)packet->client_id.p, packet->user.n ? ", user " : "",
             (int)(packet->user.n < 250 ? packet->user.n : 250), (const char *)packet->user.p,
             left_out);
    host_log(r->host, 4, "link refused", name, NULL, text, client);
    return true;
}

/* Whether our dialect is spoken from now on: it is offered, we want to, and the connection lives
 * here. */
static bool grants_native(const struct receiver *r, const struct link_packet *packet,
                          const struct peer *peer, const struct emqx_control *c)
{
    return c->native > 0 && peer->link->dialect != DIALECT_EMQX &&
           packet->from.worker == shard_number(r->host->shard);
}

/* Whether our dialect is offered where it cannot be spoken, because the link was not there when it
 * connected. */
static bool is_early(const struct receiver *r, const struct link_packet *packet,
                     const struct peer *peer, const struct emqx_control *c)
{
    return c->native > 0 && peer->link->dialect != DIALECT_EMQX &&
           packet->from.worker != shard_number(r->host->shard) &&
           shard_now_ms(r->host->shard) < peer->on_ms + RECEIVER_EARLY_MS;
}

/* An introduction that we accept. */
static bool accept(struct receiver *r, const struct link_packet *packet, struct bytes cluster,
                   struct peer *peer, const struct emqx_control *c)
{
    struct channel channel = channel_of_client(r->host, packet->from);
    bool need_bootstrap, is_native;
    struct binding *b;
    enum err err;

    CHECK(peer); /* handshake_decide has found its link */
    if (is_early(r, packet, peer, c))
        return kick_for(r, packet, REASON_ADMINISTRATIVE_ACTION, "it came before its link");
    is_native = grants_native(r, packet, peer, c);
    if (!is_native && (peer->link->dialect == DIALECT_NATIVE || !peer->link->server_count))
        return refuse(r, packet, cluster, c, BYTES_LIT("dialect_not_spoken"));
    err = peer_hello(peer, c->actor, c->incarnation, is_native ? &channel : NULL, &need_bootstrap);

    if (err == ERR_FULL)
        return refuse(r, packet, cluster, c, BYTES_LIT("too_many_actors"));
    if (err == ERR_PEER)
        return kick(r, packet, "its incarnation is lower than one we know");
    b = err == OK ? bindings_add(&r->bindings, &packet->from, peer, &peer->bound, c) : NULL;
    if (!b)
        return kick(r, packet, "no memory for its introduction");
    b->need_bootstrap = need_bootstrap;
    b->is_native = is_native;
    b->has_groups = peer_grant_groups(peer, c->has_groups);
    b->deflates = is_native && c->deflates && peer->link->compression;
    if (is_native)
        carrier_agree(&peer->carrier, b->deflates);
    b->transits = is_native && c->transits && peer->link->transit;
    peer_transits(peer, b->transits);
    b->answer_due = !answer(r, packet, c->actor, b, (struct bytes){0});
    return !b->answer_due;
}

static bool on_init(struct receiver *r, const struct link_packet *packet, struct bytes cluster,
                    struct peer *peer, const struct emqx_control *c)
{
    struct binding *b = bindings_find(&r->bindings, &packet->from);
    enum handshake h;

    if (b && b->answer_due) { /* this very packet, offered again */
        b->answer_due = !answer(r, packet, c->actor, b, (struct bytes){0});
        return !b->answer_due;
    }
    if (b)
        return kick(r, packet, "a second introduction on one connection");
    if (!may_answer_to(packet, cluster))
        return kick(r, packet, "an introduction without a proper response topic and correlation");
    if (c->actor.n > ANNOUNCED_ACTOR_BYTES_MAX)
        return kick(r, packet, "the name of its actor is too long");
    h = handshake_decide(peer != NULL, peer && peer->is_on, c->target, r->host->cluster);
    if (h != HANDSHAKE_OK)
        return refuse(r, packet, cluster, c, handshake_reason(h));
    if (c->incarnation > shard_wall_ms(r->host->shard) + RECEIVER_AHEAD_MS)
        return kick(r, packet, "its incarnation is more than a day ahead of our clock");
    return accept(r, packet, cluster, peer, c);
}

/* Routes and heartbeats: only of the actor that was introduced on this connection. */
static bool on_actor(struct receiver *r, const struct link_packet *packet, struct peer *peer,
                     const struct emqx_control *c)
{
    struct binding *b = bindings_find(&r->bindings, &packet->from);
    struct announced_actor *actor;

    if (!b && c->op == EMQX_HEARTBEAT)
        return true; /* EMQX ignores it too */
    if (!b && peer)  /* its binding may have been forgotten */
        doubt(peer, c->actor, c->incarnation);
    if (!b)
        return kick(r, packet, "routes before an introduction");
    if (b->peer != peer || !bytes_eq(c->actor, bytes_of(b->actor, b->actor_n)))
        return kick(r, packet, "another actor or cluster than was introduced");
    CHECK(peer); /* who was introduced has a link */
    if (!peer->is_on)
        return kick(r, packet, "its link is disabled now");
    actor = announced_find(peer->announced, c->actor, b->incarnation);
    if (!actor)
        return kick(r, packet, "its actor has expired, or came again elsewhere");
    if (c->op == EMQX_HEARTBEAT)
        peer_beat(peer, actor);
    else
        peer_routes(peer, actor, c);
    return true;
}

/* Who speaks for a link that it is not: told so in the link's protocol, or disconnected. */
static bool on_impostor(struct receiver *r, const struct link_packet *packet, struct bytes cluster,
                        const struct emqx_control *c)
{
    bool is_answered;

    if (!c || c->op != EMQX_ACTOR_INIT || c->actor.n > ANNOUNCED_ACTOR_BYTES_MAX ||
        !may_answer_to(packet, cluster)) {
        STAT_INC(shard_count(r->host->shard), link_impostors);
        return kick_for(r, packet, REASON_NOT_AUTHORIZED,
                        "it has not proven the peer_identity of this link");
    }
    is_answered = refuse(r, packet, cluster, c, BYTES_LIT("not_authorized"));
    if (is_answered)
        STAT_INC(shard_count(r->host->shard), link_impostors);
    return is_answered;
}

static bool on_route(struct receiver *r, const struct link_packet *packet, struct bytes cluster,
                     struct bytes plain)
{
    struct peer *peer = r->sender;
    struct emqx_control c;

    if (emqx_control_decode(plain, &c) != OK || c.op == EMQX_ACTOR_INIT_ACK)
        return kick(r, packet, "a route payload that cannot be understood");
    if (packet->is_impostor)
        return on_impostor(r, packet, cluster, &c);
    if (c.op == EMQX_ACTOR_INIT)
        return on_init(r, packet, cluster, peer, &c);
    return on_actor(r, packet, peer, &c);
}

/* ---- messages ---- */

/* When it expires, on our monotonic clock; 0: never. Its age is counted from the publisher's clock,
 * as EMQX counts it; a clock that is ahead of ours makes no message younger than new. false: it
 * has expired. */
static bool expiry_of(const struct receiver *r, const struct emqx_message *m, uint64_t *expires_ms)
{
    uint64_t wall = shard_wall_ms(r->host->shard);
    uint64_t age = wall > m->timestamp_ms ? wall - m->timestamp_ms : 0;
    uint64_t most = m->message_expiry * 1000ull;

    *expires_ms = 0;
    if (!m->has_expiry)
        return true;
    *expires_ms = shard_now_ms(r->host->shard) + (most > age ? most - age : 0);
    return most > age;
}

/* false: no room now. */
static bool publish(struct receiver *r, const struct emqx_message *m, uint64_t expires_ms)
{
    struct shard *s = r->host->shard;
    uint8_t *props = m->properties.n ? malloc(m->properties.n) : NULL;
    struct publish p = {.topic = m->topic,
                        .payload = m->payload,
                        .expires_ms = expires_ms,
                        .stamp_ms = shard_wall_ms(s),
                        .qos = m->qos,
                        .retain = m->retain,
                        .protocol = MQTT_5,
                        .from_id = m->from,
                        .from_user = m->username};
    bool is_done = true;

    if (props)
        p.props = bytes_of(props, emqx_props_put(m, props));
    if (props || !m->properties.n) {
        is_done = incoming_publish(s, r->sender->link, &p);
        r->sender->received += is_done;
    } else {
        STAT_INC(shard_count(s), dropped_memory);
    }
    free(props);
    return is_done;
}

/* Of a cluster that we have an enabled link with. A broker that is not strict passes on what its
 * clients send, so a message that is none of MQTT is not the fault of the link: it goes alone. */
static bool on_message(struct receiver *r, const struct link_packet *packet, struct bytes plain)
{
    struct stats *stats = shard_count(r->host->shard);
    struct emqx_message m;
    uint64_t expires_ms;

    if (emqx_message_decode(plain, &m) != OK && !m.is_unfit)
        return kick(r, packet, "a message that cannot be understood");
    if (m.is_unfit || !incoming_may_come(r->host, r->sender->link, m.topic)) {
        r->sender->unwanted++;
        STAT_INC(stats, link_messages_dropped);
        return true;
    }
    if (!expiry_of(r, &m, &expires_ms)) {
        STAT_INC(stats, dropped_expired);
        return true;
    }
    return publish(r, &m, expires_ms);
}

/* ---- our own dialect ---- */

static bool on_native(struct receiver *r, const struct link_packet *packet)
{
    struct channel channel = channel_of_client(r->host, packet->from);
    const struct binding *b = bindings_find(&r->bindings, &packet->from);
    struct announced_actor *actor = NULL;
    const char *fault;

    if (packet->from.worker != shard_number(r->host->shard) ||
        r->sender->link->dialect == DIALECT_EMQX)
        return kick(r, packet, "a frame of a dialect that was not granted");
    if (b && b->peer == r->sender)
        actor = announced_find(b->peer->announced, bytes_of(b->actor, b->actor_n), b->incarnation);
    if (b && !actor)
        return kick(r, packet, "its actor has expired, or came again elsewhere");
    if (!peer_take_frame(r->sender, &channel, actor, packet->payload, &fault))
        return false;
    return !fault || kick(r, packet, fault);
}

bool receiver_forget(struct receiver *r, const struct peer *peer)
{
    while (peer->bound.first) {
        struct binding *b = peer->bound.first;

        if (shard_link_kick(r->host->shard, b->client, REASON_ADMINISTRATIVE_ACTION) != OK)
            return false;
        bindings_forget(&r->bindings, b);
    }
    r->sender = NULL;
    return true;
}

void receiver_gone(struct receiver *r, struct client_name who)
{
    bindings_remove(&r->bindings, &who);
}

/* ---- packets ---- */

/* A packet whose topic is understood. */
struct addressed {
    const struct link_packet *packet;
    enum emqx_topic kind; /* ROUTE, MSG or NATIVE */
    struct bytes cluster;
};

static bool take_plain(struct receiver *r, const struct addressed *a, struct bytes plain)
{
    if (a->kind == EMQX_TOPIC_ROUTE)
        return on_route(r, a->packet, a->cluster, plain);
    return on_message(r, a->packet, plain);
}

/* Whether so much may be unpacked in this turn. */
static bool may_inflate(struct receiver *r, uint32_t room)
{
    r->must_wait = r->is_behind || (r->inflated_bytes &&
                                    r->inflated_bytes + (uint64_t)room > RECEIVER_INFLATE_BYTES);
    if (r->must_wait)
        return false;
    r->inflated_bytes += room;
    return true;
}

/* What a compressed payload may grow to: what a client may send plain. */
static bool take_compressed(struct receiver *r, const struct addressed *a, uint32_t room)
{
    uint8_t *to;
    struct bytes plain;
    bool is_done;

    if (a->kind == EMQX_TOPIC_ROUTE && room > RECEIVER_STRANGER_BYTES_MAX &&
        !bindings_find(&r->bindings, &a->packet->from))
        return kick(r, a->packet, "a large compressed payload before an introduction");
    if (!may_inflate(r, room))
        return false;
    to = malloc(room);
    if (!to) {
        STAT_INC(shard_count(r->host->shard), dropped_memory);
        return kick(r, a->packet, "no memory to unpack it");
    }
    if (inflate_run(r->inflate, a->packet->payload, to, room, &plain) == OK)
        is_done = take_plain(r, a, plain);
    else
        is_done = kick(r, a->packet, "a compressed payload that is damaged");
    free(to);
    return is_done;
}

static bool take_addressed(struct receiver *r, const struct addressed *a)
{
    uint32_t room;
    enum err err;

    if (a->kind != EMQX_TOPIC_ROUTE && a->packet->is_impostor)
        return on_impostor(r, a->packet, a->cluster, NULL);
    if (a->kind != EMQX_TOPIC_ROUTE && r->sender && !r->sender->is_on)
        return kick_for(r, a->packet, REASON_ADMINISTRATIVE_ACTION, "its link is disabled");
    if (a->kind == EMQX_TOPIC_NATIVE && !r->sender) /* or it would wait here for an answer */
        return kick_for(r, a->packet, REASON_ADMINISTRATIVE_ACTION, "its cluster has no link");
    if (a->kind != EMQX_TOPIC_ROUTE && !r->sender) {
        STAT_INC(shard_count(r->host->shard), link_messages_dropped);
        return true;
    }
    if (a->kind == EMQX_TOPIC_NATIVE)
        return on_native(r, a->packet);
    err = inflate_room(a->packet->payload, r->host->limits->packet_bytes, &room);
    if (err == ERR_FULL)
        return kick(r, a->packet, "a compressed payload larger than max_packet_size");
    if (err != OK)
        return kick(r, a->packet, "a payload that cannot be understood");
    if (room)
        return take_compressed(r, a, room);
    return take_plain(r, a, a->packet->payload);
}

/* Also finds the peer that the packet is of, for what is said of it. */
static struct addressed address(struct receiver *r, const struct link_packet *packet)
{
    struct addressed a = {.packet = packet};
    struct bytes actor;

    a.kind = emqx_topic_parse(packet->topic, &a.cluster, &actor);
    r->sender = a.cluster.n ? r->find(r->arg, a.cluster) : NULL;
    return a;
}

/* Another packet of who was disconnected. Where the connection lives here it is not taken, so it is
 * not acknowledged either; elsewhere it has been acknowledged. */
static bool take_of_kicked(struct receiver *r, const struct link_packet *packet)
{
    if (packet->from.worker == shard_number(r->host->shard))
        return false;
    STAT_INC(shard_count(r->host->shard), link_packets_refused);
    return true;
}

/* Takes a packet now. false: it has no room, or must_wait. */
static bool take(struct receiver *r, const struct link_packet *packet)
{
    struct addressed a = address(r, packet);
    struct kicked *k = kicked_of(r, &packet->from);

    r->must_wait = false;
    if (k && k->why_due) /* this very packet, offered again */
        return tell_kicked(r, packet, k);
    if (k)
        return take_of_kicked(r, packet);
    if (a.kind == EMQX_TOPIC_NONE || a.kind == EMQX_TOPIC_RESP)
        return kick(r, packet, "not a topic of the link protocol");
    if (!take_addressed(r, &a))
        return false;
    if (r->sender && !packet->is_impostor)
        peer_received(r->sender, (uint64_t)packet->topic.n + packet->payload.n);
    return true;
}

/* ---- packets that wait ---- */

/* A link's own speakers can be kept from sending more, others cannot. */
static struct waiting_sum *sum_of(const struct receiver *r, const struct link_packet *packet)
{
    if (packet->is_impostor || !r->sender || !r->sender->is_on)
        return NULL;
    return &r->sender->waiting;
}

static void look_whether_crowded(struct waiting_sum *sum)
{
    if (sum)
        peer_waits((struct peer *)(void *)((char *)sum - offsetof(struct peer, waiting)));
}

/* As waiting_pop. */
static struct waiting_client *pop(struct receiver *r, struct waiting_client *c)
{
    struct waiting_sum *sum = waiting_front_sum(c);

    c = waiting_pop(&r->waiting, c);
    look_whether_crowded(sum);
    return c;
}

/* Drops what waits of a client: all, or what came first on one connection. */
static void drop(struct receiver *r, struct waiting_client *c, const struct client_name *from)
{
    while (c && (!from || client_name_eq(&waiting_front(c)->from, from))) {
        c = pop(r, c);
        STAT_INC(shard_count(r->host->shard), link_packets_refused);
    }
}

/* false: no room now. */
static bool disconnect_largest(struct receiver *r)
{
    struct waiting_client *c = waiting_largest(&r->waiting);
    const struct link_packet *packet = waiting_back(c);
    struct kicked *k = kicked_of(r, &packet->from);

    (void)address(r, packet);
    if (k ? k->why_due && !tell_kicked(r, packet, k)
          : !kick_for(r, packet, REASON_QUOTA_EXCEEDED,
                      "too much waits to be unpacked, and most of it is its own"))
        return false;
    STAT_INC(shard_count(r->host->shard), link_clients_over_limit);
    drop(r, c, NULL);
    return true;
}

/* Of the sender more waits than may, or than there is memory for. false: no room now. */
static bool disconnect_sender(struct receiver *r, const struct link_packet *packet, const char *why)
{
    STAT_INC(shard_count(r->host->shard), link_clients_over_limit);
    drop(r, waiting_of(&r->waiting, packet->client_id), NULL);
    return kick_for(r, packet, REASON_QUOTA_EXCEEDED, why);
}

/* Lets a packet wait. false: no room now. */
static bool take_later(struct receiver *r, const struct link_packet *packet)
{
    while (waiting_is_full(&r->waiting, packet))
        if (!disconnect_largest(r))
            return false;
    (void)address(r, packet);
    if (kicked_of(r, &packet->from)) /* that was the sender itself */
        return take_of_kicked(r, packet);
    switch (waiting_put(&r->waiting, packet, sum_of(r, packet))) {
    case OK:
        look_whether_crowded(sum_of(r, packet));
        return true;
    case ERR_FULL:
        if (waiting_of(&r->waiting, packet->client_id)->lacks_room)
            return false;
        return disconnect_sender(r, packet, "too many of its packets wait to be unpacked");
    default:
        return disconnect_sender(r, packet, "no memory for its packets that wait");
    }
}

bool receiver_take(struct receiver *r, const struct link_packet *packet)
{
    r->is_behind = r->waiting.first != NULL;
    if (!kicked_of(r, &packet->from) && waiting_of(&r->waiting, packet->client_id))
        return take_later(r, packet);
    if (take(r, packet))
        return true;
    return r->must_wait && take_later(r, packet);
}

/* Tries the first packet of a client. Whether it was taken. */
static bool work_off(struct receiver *r, struct waiting_client *c)
{
    struct client_name from = waiting_front(c)->from;

    if (!take(r, waiting_front(c))) {
        c->lacks_room = !r->must_wait;
        if (c->lacks_room)
            waiting_to_end(&r->waiting, c);
        return false;
    }
    waiting_to_end(&r->waiting, c);
    c = pop(r, c);
    if (kicked_of(r, &from))
        drop(r, c, &from);
    return true;
}

/* Goes once through all clients that wait. Whether anything was taken. */
static bool work_off_all(struct receiver *r, uint32_t *looks)
{
    struct waiting_client *c = r->waiting.first, *next;
    uint32_t count = r->waiting.clients.count;
    bool is_any = false;

    for (; c && count > 0 && *looks > 0; c = next, count--, --*looks) {
        next = c->next;
        is_any |= work_off(r, c);
    }
    return is_any;
}

bool receiver_turn(struct receiver *r)
{
    uint32_t looks = RECEIVER_LOOKS_MAX;

    r->is_behind = false;
    while (work_off_all(r, &looks))
        ;
    r->inflated_bytes = 0;
    return r->waiting.first != NULL;
}

/* ---- life ---- */

struct receiver *receiver_create(struct link_host *host, receiver_find *find, void *arg)
{
    struct receiver *r = calloc(1, sizeof(*r));

    if (!r)
        return NULL;
    *r = (struct receiver){.host = host, .find = find, .arg = arg};
    bindings_init(&r->bindings, &host->key);
    waiting_init(&r->waiting, host);
    r->inflate = inflate_create();
    if (!r->inflate) {
        receiver_destroy(r);
        return NULL;
    }
    return r;
}

void receiver_destroy(struct receiver *r)
{
    if (!r)
        return;
    bindings_fini(&r->bindings);
    waiting_fini(&r->waiting);
    inflate_destroy(r->inflate);
    free(r);
}
