/* link/announcer.c -- handshake, batches and heartbeats of the route connection. */
#include "link/announcer.h"

#include <stdio.h>

#include "core/base/check.h"
#include "link/deflate.h"

static struct announcer *announcer_of(struct dialer *d)
{
    return (struct announcer *)(void *)d;
}

static struct announcer *of_timer(struct timer *t)
{
    return (struct announcer *)(void *)((char *)t - offsetof(struct announcer, timer));
}

static struct link_host *host_of(const struct announcer *a)
{
    return a->dialer.host;
}

static uint64_t now(const struct announcer *a)
{
    return shard_now_ms(host_of(a)->shard);
}

static void on_timer(struct timer *t, void *owner, uint64_t now_ms);

static void arm(struct announcer *a, uint64_t due_ms)
{
    timer_arm(shard_timers(host_of(a)->shard), &a->timer, due_ms, on_timer);
}

static uint16_t next_id(struct announcer *a)
{
    a->last_id = (uint16_t)(a->last_id % 65535u + 1);
    return a->last_id;
}

/* Topics have at most a cluster's and an actor's name in them. */
#define TOPIC_ROOM 600u

static struct bytes topic_of(const struct announcer *a, enum emqx_topic kind,
                             uint8_t to[TOPIC_ROOM])
{
    struct bytes actor = kind == EMQX_TOPIC_RESP ? BYTES_LIT(ANNOUNCER_ACTOR) : (struct bytes){0};
    uint32_t size;

    if (emqx_topic_put(kind, host_of(a)->cluster, actor, to, TOPIC_ROOM, &size) != OK)
        CHECK(false);
    return bytes_of(to, size);
}

/* Sends a control payload to the route topic. */
static void send_control(struct announcer *a, struct publish_out p, struct bytes payload)
{
    uint8_t topic[TOPIC_ROOM];

    p.topic = topic_of(a, EMQX_TOPIC_ROUTE, topic);
    p.payload = payload;
    if (dialer_publish(&a->dialer, &p) == ERR_FULL)
        dialer_fail(&a->dialer, "the other side's Maximum Packet Size is too small for a link");
}

/* ---- handshake ---- */

static void subscribe(struct announcer *a)
{
    uint8_t topic[TOPIC_ROOM];
    struct filter_request f = {.filter = topic_of(a, EMQX_TOPIC_RESP, topic), .qos = 1};
    uint8_t *to = dialer_room(&a->dialer, subscribe_size(MQTT_5, &f, 1, 0));

    if (!to)
        return;
    a->state = ANNOUNCER_SUBSCRIBING;
    a->waits_for = next_id(a);
    subscribe_put(to, MQTT_5, a->waits_for, &f, 1, 0);
    arm(a, now(a) + ANNOUNCER_HANDSHAKE_MS);
}

/* Correlation data are 16 hex digits, as EMQX's are. */
static void draw_correlation(struct announcer *a)
{
    char hex[17];

    snprintf(hex, sizeof(hex), "%016llx", (unsigned long long)shard_random(host_of(a)->shard));
    memcpy(a->correlation, hex, sizeof(a->correlation));
}

/* The version of our dialect that a link offers and grants. */
static uint32_t native_offer(const struct cfg_link *link)
{
    return link->dialect == DIALECT_EMQX ? 0 : NATIVE_VERSION;
}

/* Whether a link offers to name our shared groups. */
static bool groups_offer(const struct cfg_link *link)
{
    return native_offer(link) > 0 && link->shared_groups == SHARED_GROUPS_GLOBAL;
}

static void introduce(struct announcer *a)
{
    struct emqx_control c = {.op = EMQX_ACTOR_INIT,
                             .actor = BYTES_LIT(ANNOUNCER_ACTOR),
                             .incarnation = a->incarnation,
                             .version = EMQX_PROTOCOL_VERSION,
                             .native = native_offer(a->dialer.link),
                             .has_groups = groups_offer(a->dialer.link),
                             .deflates = a->dialer.link->compression,
                             .transits = a->dialer.link->transit,
                             .target = bytes_str(a->dialer.link->name)};
    uint8_t payload[1024], topic[TOPIC_ROOM], props[TOPIC_ROOM + 32];
    struct bytes response = topic_of(a, EMQX_TOPIC_RESP, topic);
    struct publish_out p = {.qos = 1};
    uint8_t *to = props;
    uint32_t size;

    if (emqx_control_encode(&c, payload, sizeof(payload), &size) != OK)
        CHECK(false); /* names are bounded */
    draw_correlation(a);
    *to++ = 0x08; /* response topic [MQTT5 3.3.2.3.5] */
    to = put_be16(to, (uint16_t)response.n);
    to = bytes_put(to, response);
    *to++ = 0x09; /* correlation data [MQTT5 3.3.2.3.6] */
    to = put_be16(to, sizeof(a->correlation));
    to = bytes_put(to, bytes_of(a->correlation, sizeof(a->correlation)));
    p.props = bytes_of(props, (size_t)(to - props));
    a->state = ANNOUNCER_INTRODUCING;
    a->waits_for = p.packet_id = next_id(a);
    a->is_introduced = true;
    send_control(a, p, bytes_of(payload, size));
    arm(a, now(a) + ANNOUNCER_HANDSHAKE_MS);
}

static const char *refusal_help(struct bytes reason)
{
    if (bytes_eq(reason, BYTES_LIT("unknown_cluster")))
        return "it has no link with the name of our cluster: write one there, or correct name in "
               "[cluster] here";
    if (bytes_eq(reason, BYTES_LIT("bad_remote_cluster_link_name")))
        return "it is another cluster than our link is named after: correct the link's name here, "
               "or its server";
    if (bytes_eq(reason, BYTES_LIT("not_authorized")))
        return "we have not proven who we are: the user name or the certificate of our link must "
               "be the peer_identity of its link to us";
    if (bytes_eq(reason, BYTES_LIT("cluster_link_disabled")))
        return "its link to us is disabled: enable it there";
    return NULL;
}

static void on_refusal(struct announcer *a, struct bytes reason)
{
    struct dialer *d = &a->dialer;
    char text[128], peer[300];

    snprintf(text, sizeof(text), "%.*s", (int)(reason.n < 100 ? reason.n : 100),
             (const char *)reason.p);
    dialer_peer_text(d, peer);
    host_log(d->host, a->is_refused ? 7 : 4, "link refused", d->link->name, peer, text,
             refusal_help(reason));
    a->is_refused = true;
    dialer_fail(d, text);
}

/* It has routes of our incarnation before we announced any: of an earlier life, if our clock was
 * set back to the very millisecond, or it accepted us once and the answer was lost. What an earlier
 * life left there would stay for ever. */
static bool is_taken_for_another(struct announcer *a, enum emqx_need need)
{
    bool is_first = !a->has_announced && !a->is_raised;

    a->is_raised = true; /* once is enough, and some versions say it wrongly */
    return is_first && need == EMQX_NEED_FALSE;
}

/* Ends the connection and is another life on the next. */
static void begin_anew(struct announcer *a, const char *why)
{
    a->incarnation++;
    a->has_announced = false;
    dialer_fail(&a->dialer, why);
}

static void on_accepted(struct announcer *a, const struct emqx_control *c)
{
    bool needs_all = !a->has_announced || c->need_bootstrap != EMQX_NEED_FALSE;
    bool was_native = a->is_native;

    a->is_native = c->native > 0 && native_offer(a->dialer.link) > 0;
    a->has_groups = a->is_native && c->has_groups && groups_offer(a->dialer.link);
    a->transits = a->is_native && c->transits && a->dialer.link->transit;
    if (!a->is_native && a->dialer.link->dialect == DIALECT_NATIVE) {
        dialer_fail(&a->dialer, "it speaks EMQX's dialect only, and dialect = native");
        return;
    }
    a->deflates = c->deflates && a->dialer.link->compression;
    a->is_refused = false;
    if (a->has_announced && a->is_native != was_native) {
        begin_anew(a, "it speaks another dialect than before; it is told all in a new life");
        return;
    }
    if (!a->is_native && is_taken_for_another(a, c->need_bootstrap)) {
        begin_anew(a, "it knows our incarnation from an earlier life; the next is later");
        return;
    }
    a->jump_ms = 0;
    a->has_announced = true;
    a->waits_for = 0; /* the PUBACK of actor_init, should it come yet, means nothing more */
    a->again_ms = 0;
    a->state = ANNOUNCER_ONLINE;
    a->beat_ms = now(a) + ANNOUNCER_BEAT_MS;
    if (a->is_native)
        timer_cancel(shard_timers(host_of(a)->shard), &a->timer);
    else
        arm(a, a->beat_ms);
    a->events->online(a, needs_all);
}

static bool is_our_answer(const struct announcer *a, const struct packet_publish *p)
{
    return a->state == ANNOUNCER_INTRODUCING &&
           (p->props.present & PROP_BIT(PROP_CORRELATION_DATA)) &&
           bytes_eq(p->props.correlation_data, bytes_of(a->correlation, sizeof(a->correlation)));
}

static bool is_frame(struct bytes topic)
{
    struct bytes cluster, actor;

    return emqx_topic_parse(topic, &cluster, &actor) == EMQX_TOPIC_NATIVE;
}

/* Understands an answer, which may come compressed; `to` has room for it then. */
static enum err decode_answer(struct bytes payload, uint8_t to[ANNOUNCER_ANSWER_BYTES_MAX],
                              struct emqx_control *c)
{
    struct inflate *z;
    uint32_t room;
    enum err err = inflate_room(payload, ANNOUNCER_ANSWER_BYTES_MAX, &room);

    if (err != OK || room == 0)
        return err == OK ? emqx_control_decode(payload, c) : ERR_PEER;
    z = inflate_create(); /* it is rare, so none is kept */
    err = z ? inflate_run(z, payload, to, room, &payload) : ERR_MEMORY;
    inflate_destroy(z);
    return err == OK ? emqx_control_decode(payload, c) : err;
}

static void on_answer(struct announcer *a, const struct packet_publish *p)
{
    struct dialer *d = &a->dialer;
    uint8_t plain[ANNOUNCER_ANSWER_BYTES_MAX];
    struct emqx_control c;

    if (decode_answer(p->payload, plain, &c) != OK || c.op != EMQX_ACTOR_INIT_ACK)
        dialer_fail(d, "its answer to our introduction cannot be understood");
    else if (!c.is_accepted)
        on_refusal(a, c.reason);
    else
        on_accepted(a, &c);
}

static bool on_publish(struct dialer *d, const struct packet_publish *p)
{
    struct announcer *a = announcer_of(d);

    if (a->state == ANNOUNCER_ONLINE && a->is_native && is_frame(p->topic)) {
        if (p->qos == 0)
            return a->events->frame(a, p->payload);
        dialer_fail(d, "a frame with QoS 1");
    } else if (is_our_answer(a, p)) { /* not to an earlier attempt */
        on_answer(a, p);
    }
    return true;
}

static void on_suback(struct dialer *d, uint16_t id, uint8_t reason)
{
    struct announcer *a = announcer_of(d);

    if (a->state != ANNOUNCER_SUBSCRIBING || id != a->waits_for)
        dialer_fail(d, "a SUBACK that nobody asked for");
    else if (reason >= REASON_UNSPECIFIED_ERROR)
        dialer_fail(d, "we may not subscribe there to $LINK/cluster/resp/: allow it in its access "
                       "rules, link to a listener that takes links, or be the peer_identity of its "
                       "link");
    else
        introduce(a);
}

/* ---- routes ---- */

static enum interest_taken take_op(void *arg, bool is_add, struct bytes filter, struct bytes id)
{
    struct emqx_batch *batch = arg;
    struct emqx_route_op op = {.is_add = is_add, .filter = filter, .id = id};

    if (emqx_batch_add(batch, &op) == OK)
        return INTEREST_TAKEN;
    return batch->count ? INTEREST_NO_ROOM : INTEREST_NEVER;
}

/* Bytes of payload that fit into a packet for the other side, and into our scratch memory. */
static uint32_t payload_room(const struct announcer *a, uint32_t topic_n)
{
    uint32_t around = 5 + 2 + topic_n + 2 + 1; /* fixed header, topic, packet id, no properties */
    uint32_t most = a->dialer.packet_max > around ? a->dialer.packet_max - around : 0;

    return most < HOST_SCRATCH_BYTES ? most : HOST_SCRATCH_BYTES;
}

void announcer_run(struct announcer *a)
{
    struct link_host *host = host_of(a);
    struct publish_out p = {.qos = 1};
    uint8_t topic[TOPIC_ROOM];
    struct emqx_batch batch;
    uint32_t room;

    if (a->state != ANNOUNCER_ONLINE || a->is_native || a->dialer.state != DIALER_UP ||
        a->waits_for || now(a) < a->again_ms)
        return;
    if (interest_state(a->interest).pending == 0 && !interest_state(a->interest).is_walking)
        return;
    room = payload_room(a, topic_of(a, EMQX_TOPIC_ROUTE, topic).n);
    if (emqx_batch_begin(&batch, BYTES_LIT(ANNOUNCER_ACTOR), a->incarnation, EMQX_OPS_MAX,
                         host->scratch, room) != OK) {
        dialer_fail(&a->dialer, "the other side's Maximum Packet Size is too small for a link");
        return;
    }
    if (interest_take(a->interest, EMQX_OPS_MAX, take_op, &batch) == 0)
        return;
    a->waits_for = p.packet_id = next_id(a);
    a->batch_ms = now(a);
    send_control(a, p, bytes_of(host->scratch, emqx_batch_end(&batch)));
}

static void on_ack(struct dialer *d, uint16_t id, uint8_t reason)
{
    struct announcer *a = announcer_of(d);

    if (id == 0 || id != a->waits_for)
        return; /* of actor_init, after its answer */
    a->waits_for = 0;
    if (a->state == ANNOUNCER_INTRODUCING) {
        if (reason >= REASON_UNSPECIFIED_ERROR)
            dialer_fail(d, "we may not publish there to $LINK/cluster/route/: allow it in its "
                           "access rules, link to a listener that takes links, or be the "
                           "peer_identity of its link");
        return;
    }
    if (a->state != ANNOUNCER_ONLINE)
        return;
    if (reason < REASON_UNSPECIFIED_ERROR) {
        interest_ack(a->interest);
        host_of(a)->has_news = true;
        return;
    }
    interest_fail(a->interest);
    a->again_ms = now(a) + ANNOUNCER_AGAIN_MS;
    arm(a, a->again_ms < a->beat_ms ? a->again_ms : a->beat_ms);
}

static void beat(struct announcer *a)
{
    struct emqx_control c = {
        .op = EMQX_HEARTBEAT, .actor = BYTES_LIT(ANNOUNCER_ACTOR), .incarnation = a->incarnation};
    struct publish_out p = {.qos = 0};
    uint8_t payload[256];
    uint32_t size;

    if (emqx_control_encode(&c, payload, sizeof(payload), &size) != OK)
        CHECK(false);
    send_control(a, p, bytes_of(payload, size));
}

/* ---- time ---- */

static void on_timer(struct timer *t, void *owner, uint64_t now_ms)
{
    struct announcer *a = of_timer(t);

    (void)owner;
    if (a->state == ANNOUNCER_SUBSCRIBING) {
        dialer_fail(&a->dialer, "no SUBACK in time");
    } else if (a->state == ANNOUNCER_INTRODUCING) {
        dialer_fail(&a->dialer, "no answer to our introduction in time: are links served there?");
    } else if (a->state == ANNOUNCER_ONLINE) {
        if (a->waits_for && now_ms - a->batch_ms > ANNOUNCER_BATCH_MS) {
            dialer_fail(&a->dialer, "no PUBACK for our routes in time");
            return;
        }
        if (now_ms >= a->beat_ms) {
            beat(a);
            a->beat_ms = now_ms + ANNOUNCER_BEAT_MS;
        }
        arm(a, a->beat_ms);
    }
}

/* ---- the connection ---- */

static void on_up(struct dialer *d)
{
    subscribe(announcer_of(d));
}

/* An introduction that is answered with a protocol error may have an incarnation lower than one we
 * used in an earlier life, before the clock was set back: the next one is higher, in growing jumps.
 * After the largest we begin again with the clock: an actor that is not heard of is forgotten. */
static void raise_incarnation(struct announcer *a)
{
    uint64_t wall = shard_wall_ms(host_of(a)->shard);
    char text[64];

    if (a->jump_ms == ANNOUNCER_JUMP_MAX_MS) {
        a->jump_ms = 0;
        a->incarnation = wall;
    } else {
        a->jump_ms = a->jump_ms ? a->jump_ms * 10 : ANNOUNCER_JUMP_FIRST_MS;
        if (a->jump_ms > ANNOUNCER_JUMP_MAX_MS)
            a->jump_ms = ANNOUNCER_JUMP_MAX_MS;
        a->incarnation = (wall > a->incarnation ? wall : a->incarnation) + a->jump_ms;
        if (a->incarnation > wall + ANNOUNCER_JUMP_MAX_MS)
            a->incarnation = wall + ANNOUNCER_JUMP_MAX_MS;
    }
    snprintf(text, sizeof(text), "the next one is %llu", (unsigned long long)a->incarnation);
    host_log(host_of(a), 5, "link incarnation refused", a->dialer.link->name, NULL, a->dialer.why,
             text);
}

/* The answer that is lost may have said that all must be announced; it is not said twice. */
static void doubt_answer(struct announcer *a)
{
    if (a->state != ANNOUNCER_INTRODUCING || !a->has_announced)
        return;
    a->incarnation++;
    a->has_announced = false;
}

static void on_down(struct dialer *d, bool was_up)
{
    struct announcer *a = announcer_of(d);
    bool was_online = a->state == ANNOUNCER_ONLINE;

    doubt_answer(a);
    (void)was_up;
    timer_cancel(shard_timers(host_of(a)->shard), &a->timer);
    if (a->waits_for && was_online && !a->is_native)
        interest_fail(a->interest);
    if (a->is_introduced && d->refusal == REASON_IMPLEMENTATION_SPECIFIC && !was_online)
        raise_incarnation(a);
    a->waits_for = 0;
    a->is_introduced = false;
    a->state = ANNOUNCER_IDLE;
    a->events->offline(a, was_online);
}

static void on_drained(struct dialer *d)
{
    (void)d;
}

static const struct dialer_events dialer_events = {.up = on_up,
                                                   .publish = on_publish,
                                                   .ack = on_ack,
                                                   .suback = on_suback,
                                                   .drained = on_drained,
                                                   .down = on_down};

/* ---- life ---- */

enum err announcer_init(struct announcer *a, struct link_host *host, const struct cfg_link *link,
                        const struct announcer_events *events)
{
    *a = (struct announcer){.events = events};
    return dialer_init(&a->dialer, host, link, 0, &dialer_events);
}

void announcer_fini(struct announcer *a)
{
    if (!a->dialer.host)
        return;
    timer_cancel(shard_timers(host_of(a)->shard), &a->timer);
    dialer_fini(&a->dialer);
}

void announcer_start(struct announcer *a)
{
    uint64_t wall = shard_wall_ms(host_of(a)->shard);

    a->incarnation = wall > a->incarnation ? wall : a->incarnation + 1;
    a->has_announced = false;
    a->is_raised = false;
    dialer_start(&a->dialer);
}
