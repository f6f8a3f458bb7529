/* core/broker/deliver.c -- one message to one session: now, later, or not at all.
 *
 * QoS 0 goes out at once or is dropped when the connection is slow. QoS 1 and 2 go out while the
 * window (Receive Maximum, max_inflight_messages) and the connection have room, and wait in the
 * session otherwise, in order, up to its bound. Every loss is counted by cause.
 */
#include <stdlib.h>

#include "core/base/check.h"
#include "core/broker/state.h"

/* Payloads from this size on are not copied into the connection's queue but referred to there. For
 * several subscribers that saves a copy for each. For the only one on this worker it saves none,
 * and the message and the vector that it takes cost more than the bytes up to some 3 KiB
 * (causeway-load, 1 KiB: copied, point to point takes 0.76 of the processor time, fan-out to 100
 * takes 1.1 to 1.2). */
#define REFER_BYTES_MIN 1024u
#define REFER_BYTES_MIN_ALONE 3072u

/* ---- one PUBLISH packet ---- */

/* The alias for a topic: *is_new when the topic must be sent along to establish it. 0: none. */
static uint16_t alias_for(struct client *c, struct bytes topic, uint64_t hash, bool *is_new)
{
    struct aliases_out *a = c->aliases_out;
    uint8_t *text;

    *is_new = false;
    if (!a)
        return 0;
    for (uint32_t i = 0; i < a->count; i++)
        if (a->v[i].hash == hash && bytes_eq(a->v[i].topic, topic))
            return (uint16_t)(i + 1);
    if (a->count == a->max || topic.n < 4)
        return 0; /* a topic shorter than its alias gains nothing */
    text = malloc(topic.n);
    if (!text)
        return 0;
    bytes_put(text, topic);
    a->v[a->count].hash = hash;
    a->v[a->count].topic = bytes_of(text, topic.n);
    a->count++;
    *is_new = true;
    return (uint16_t)a->count;
}

/* The packet that would have established it does not leave. */
static void forget_newest_alias(struct aliases_out *a)
{
    a->count--;
    free((void *)(uintptr_t)a->v[a->count].topic.p);
}

/* Seconds left, to the nearest, so that workers whose turns began at different moments never add a
 * second [MQTT-3.3.2-6]; a message that has not expired never says 0. */
static uint32_t seconds_left(const struct shard *s, uint64_t expires_ms)
{
    uint64_t left = (expires_ms - s->now_ms + 500) / 1000;

    return left ? (uint32_t)left : 1;
}

static bool is_expired(const struct shard *s, uint64_t expires_ms)
{
    return expires_ms && expires_ms <= s->now_ms;
}

enum sent { SENT, SENT_TOO_LARGE, SENT_NO_MEMORY, SENT_NOT_BELOW };

static void count_unsent(struct shard *s, enum sent sent)
{
    if (sent == SENT_TOO_LARGE)
        STAT_INC(&s->stats, dropped_too_large); /* as if it had been sent [MQTT-3.1.2-25] */
    else if (sent == SENT_NO_MEMORY)
        STAT_INC(&s->stats, dropped_memory);
    else if (sent == SENT_NOT_BELOW)
        STAT_INC(&s->stats, dropped_mount_point); /* not below the client's mount point */
}

/* Writes the packet to the connection's queue. */
static enum sent write_publish(struct shard *s, struct client *c, struct publish *p,
                               struct publish_out *o)
{
    uint32_t header, size;
    bool refers = p->payload.n >= (p->is_wide ? REFER_BYTES_MIN : REFER_BYTES_MIN_ALONE);
    bool is_new = false;
    uint8_t *to;

    o->topic = p->topic;
    if (c->mount && !mount_take_off(c->mount, &o->topic))
        return SENT_NOT_BELOW;
    o->payload = p->payload;
    if (c->protocol == MQTT_5) {
        o->props = p->props;
        o->has_expiry = p->expires_ms != 0;
        o->message_expiry = o->has_expiry ? seconds_left(s, p->expires_ms) : 0;
        if (c->aliases_out)
            o->topic_alias = alias_for(c, o->topic, hash_of(s, o->topic), &is_new);
    } else {
        o->subscription_id_count = 0;
    }
    if (o->topic_alias && !is_new)
        o->topic = bytes_of("", 0);
    size = publish_size((enum protocol)c->protocol, o, &header);
    if (size == 0 || size > c->packet_max) {
        if (is_new)
            forget_newest_alias(c->aliases_out);
        return SENT_TOO_LARGE; /* [MQTT-3.1.2-24] [MQTT-3.1.2-25] */
    }
    if (refers && !publish_message(p, &s->waiting_bytes))
        return SENT_NO_MEMORY;
    to = outq_reserve(&c->stream.outq, &s->pool, refers ? header : size);
    if (!to)
        return SENT_NO_MEMORY;
    to = publish_put_header(to, (enum protocol)c->protocol, o);
    if (!refers)
        bytes_put(to, p->payload);
    else if (!outq_refer(&c->stream.outq, &s->pool, p->message, message_payload(p->message).p,
                         p->payload.n))
        return SENT_NO_MEMORY;
    stream_touch(&c->stream);
    STAT_INC(&s->stats, packets_sent);
    STAT_INC(&s->stats, publish_sent);
    STAT_ADD(&s->stats, publish_bytes_sent, p->payload.n);
    return SENT;
}

/* A header stands without its payload, or an alias without its topic: the stream is broken. */
static void give_up(struct client *c)
{
    stream_abort(&c->stream, CLOSE_MEMORY);
}

/* ---- sending and waiting ---- */

/* Whether n bytes may go to the client now; else it is to be told when its output has left. */
static bool outq_has_room(const struct shard *s, struct client *c, uint32_t n)
{
    uint32_t waiting = c->stream.outq.bytes;
    bool has_room = waiting == 0 || waiting + n <= s->limits->outq_bytes;

    c->stream.wants_room |= !has_room;
    return has_room;
}

static uint32_t window_of(const struct shard *s, const struct client *c)
{
    return c->receive_max < s->limits->inflight ? c->receive_max : s->limits->inflight;
}

static bool window_has_room(const struct shard *s, const struct session *to)
{
    return to->client && to->client->state == CLIENT_CONNECTED &&
           to->inflight_count - to->held_count < window_of(s, to->client) &&
           outq_has_room(s, to->client, 1024);
}

/* The identifiers as send_publish wants them, from the compact form of a delivery. */
static void ids_of(const struct delivery *d, struct publish_out *o)
{
    if (d->more_ids) {
        o->subscription_ids = d->more_ids + 1;
        o->subscription_id_count = d->more_ids[0];
    } else if (d->subscription_id) {
        o->subscription_ids = &d->subscription_id;
        o->subscription_id_count = 1;
    }
}

static void note_inflight(struct shard *s, struct session *to, const struct delivery *d,
                          bool is_delete)
{
    struct record r = {.kind = RECORD_INFLIGHT,
                       .is_delete = is_delete,
                       .client_id = session_id(to),
                       .packet_id = d->packet_id,
                       .state =
                           d->state == DELIVERY_RELEASED ? RECORD_RECEIVED_BY_PEER : RECORD_SENT};

    if (s->store.keeps)
        (void)store_put(&s->store, &r);
}

/* Puts a delivery in flight and writes its packet; the window has room. Takes over *d. */
static void send_delivery(struct shard *s, struct session *to, struct publish *p,
                          struct delivery *d)
{
    struct delivery *placed = session_send(to, d);
    struct publish_out o = {.qos = d->qos, .retain = d->retain};
    enum sent sent;

    if (!placed) {
        STAT_INC(&s->stats, dropped_memory);
        delivery_fini(d);
        return;
    }
    ids_of(placed, &o);
    o.packet_id = placed->packet_id;
    sent = write_publish(s, to->client, p, &o);
    if (sent == SENT) {
        STAT_INC(&s->stats, inflight_messages);
        note_inflight(s, to, placed, false);
        return;
    }
    session_done(to, placed);
    count_unsent(s, sent);
    if (sent == SENT_NO_MEMORY)
        give_up(to->client);
}

static void drop_oldest(struct shard *s, struct session *to)
{
    struct delivery d = *session_peek(to);

    session_pop(to);
    delivery_fini(&d);
    STAT_ADD(&s->stats, queued_messages, -1);
}

/* Whether one more message of `cost` may wait; makes room if the rule says so. */
static bool may_wait(struct shard *s, struct session *to, uint32_t cost)
{
    const struct limits *l = s->limits;

    if (memory_is_full(s)) {
        STAT_INC(&s->stats, dropped_memory);
        return false;
    }
    while (to->queue_count >= l->queued_messages ||
           (to->queue_count && to->queue_bytes + cost > l->queued_bytes)) {
        if (to->queue_count >= l->queued_messages)
            STAT_INC(&s->stats, dropped_queue_full);
        else
            STAT_INC(&s->stats, dropped_queue_bytes);
        if (l->queue_full == QUEUE_DISCONNECT && to->client)
            client_fail_later(to->client, REASON_QUOTA_EXCEEDED, CLOSE_QUEUE_FULL);
        if (l->queue_full != QUEUE_DROP_OLD)
            return false;
        drop_oldest(s, to);
    }
    return true;
}

static void wait(struct shard *s, struct session *to, struct delivery *d)
{
    struct publish p;
    struct record r = {.kind = RECORD_QUEUED, .client_id = session_id(to), .publish = &p};

    if (to->client && !mounted_reaches(to, message_topic(d->message))) {
        count_unsent(s, SENT_NOT_BELOW); /* it would only take the place of others */
        delivery_fini(d);
        return;
    }
    if (!may_wait(s, to, message_cost(d->message))) {
        delivery_fini(d);
        return;
    }
    if (to->queue_count == 0)
        to->is_queue_stale = false;
    if (!session_push(to, d)) {
        STAT_INC(&s->stats, dropped_memory);
        delivery_fini(d);
        return;
    }
    STAT_INC(&s->stats, queued_messages);
    if (s->store.keeps) {
        publish_of_message(&p, d->message);
        (void)store_put(&s->store, &r);
    }
}

static void deliver_now(struct shard *s, struct session *to, struct publish *p,
                        const struct wanted *w, bool retain)
{
    struct client *c = to->client;
    struct publish_out o = {
        .retain = retain, .subscription_ids = w->ids, .subscription_id_count = w->id_count};
    enum sent sent;

    /* A retained answer was asked for when there was room for a slice. */
    if (!w->is_retained && !outq_has_room(s, c, p->topic.n + p->payload.n)) {
        STAT_INC(&s->stats, dropped_qos0_slow);
        return;
    }
    sent = write_publish(s, c, p, &o);
    if (sent != SENT)
        count_unsent(s, sent);
    if (sent == SENT_NO_MEMORY)
        give_up(c);
}

/* What the session keeps of a delivery that cannot leave at once, or is QoS 1 or 2. */
static bool make_delivery(struct shard *s, struct publish *p, const struct wanted *w, uint8_t qos,
                          bool retain, struct delivery *d)
{
    if (!publish_message(p, &s->waiting_bytes))
        return false;
    *d = (struct delivery){.qos = qos,
                           .retain = retain,
                           .group = w->group,
                           .group_home = w->group_home,
                           .subscription_id = w->id_count == 1 ? w->ids[0] : 0};
    if (w->id_count > 1) {
        d->more_ids = malloc((w->id_count + 1) * sizeof *d->more_ids);
        if (!d->more_ids)
            return false;
        d->more_ids[0] = w->id_count;
        memcpy(d->more_ids + 1, w->ids, w->id_count * sizeof *d->more_ids);
    }
    d->message = message_ref(p->message);
    return true;
}

void deliver(struct shard *s, struct session *to, struct publish *p, const struct wanted *w)
{
    uint8_t qos = w->options & SUB_QOS;
    bool is_connected = to->client && to->client->state == CLIENT_CONNECTED;
    bool retain = p->retain && (w->is_retained || (w->options & SUB_RETAIN_AS_PUBLISHED) ||
                                (is_connected && to->client->is_bridge));
    struct delivery d;

    if (qos > p->qos && !s->limits->upgrade_qos)
        qos = p->qos; /* [MQTT-3.8.4-8]: the lower of the two */
    if (p->retain && to->asks && !w->is_retained)
        asks_note(to, p);
    if (!access_may_deliver(s, to, p, w->options)) {
        STAT_INC(&s->stats, denied_delivery);
        return;
    }
    if (is_expired(s, p->expires_ms)) {
        STAT_INC(&s->stats, dropped_expired);
        return;
    }
    if (qos == 0 && is_connected && to->queue_count == 0) {
        deliver_now(s, to, p, w, retain);
        return;
    }
    if (qos == 0 && !is_connected && !(s->limits->queue_qos0 && to->expiry)) {
        STAT_INC(&s->stats, dropped_offline_qos0);
        return;
    }
    if (qos == 0 && is_connected) { /* overtakes what waits: order holds for each QoS */
        deliver_now(s, to, p, w, retain);
        return;
    }
    if (!make_delivery(s, p, w, qos, retain, &d)) {
        STAT_INC(&s->stats, dropped_memory);
        return;
    }
    if (to->queue_count == 0 && to->held_count == 0 && window_has_room(s, to))
        send_delivery(s, to, p, &d);
    else
        wait(s, to, &d);
}

/* One of those in flight leaves without its acknowledgement. */
static void abandon(struct shard *s, struct session *to, struct delivery *d)
{
    STAT_ADD(&s->stats, inflight_messages, -1);
    session_done(to, d);
}

/* Sends one that was in flight when the last connection ended [MQTT-4.4.0-1]. What has expired goes
 * all the same: its delivery has begun. But it may have begun to somebody else. */
static void resend(struct shard *s, struct session *to, struct delivery *d)
{
    struct client *c = to->client;
    struct publish_out o = {.qos = d->qos,
                            .dup = true, /* [MQTT-3.3.1-1] */
                            .retain = d->retain,
                            .packet_id = d->packet_id};
    struct publish p;
    enum sent sent;

    publish_of_message(&p, d->message);
    if (!access_may_read(s, to, &p)) {
        STAT_INC(&s->stats, denied_delivery);
        abandon(s, to, d);
        return;
    }
    if (is_expired(s, p.expires_ms))
        p.expires_ms = s->now_ms + 1;
    ids_of(d, &o);
    sent = write_publish(s, c, &p, &o);
    if (sent == SENT)
        return;
    if (sent == SENT_NO_MEMORY) {
        give_up(c);
        return;
    }
    count_unsent(s, sent);
    abandon(s, to, d);
}

/* What waits was judged when it came: again, if rights have changed since. */
static bool may_still_read(struct shard *s, struct session *to, const struct publish *p)
{
    return (!to->is_queue_stale && to->acl_version == s->acl_version) || access_may_read(s, to, p);
}

static void send_waiting(struct shard *s, struct session *to, struct delivery *d)
{
    struct publish_out o = {.retain = d->retain};
    struct publish p;
    enum sent sent;

    STAT_ADD(&s->stats, queued_messages, -1);
    publish_of_message(&p, d->message);
    if (is_expired(s, p.expires_ms)) {
        STAT_INC(&s->stats, dropped_expired); /* [MQTT-3.3.2-5] */
        delivery_fini(d);
    } else if (!may_still_read(s, to, &p)) {
        STAT_INC(&s->stats, denied_delivery);
        delivery_fini(d);
    } else if (d->qos) {
        send_delivery(s, to, &p, d);
    } else {
        ids_of(d, &o);
        sent = write_publish(s, to->client, &p, &o);
        count_unsent(s, sent);
        if (sent == SENT_NO_MEMORY)
            give_up(to->client);
        delivery_fini(d);
    }
}

void deliver_waiting(struct shard *s, struct session *to)
{
    struct delivery *first;

    while (to->held_count && window_has_room(s, to))
        resend(s, to, session_unhold(to));
    while (!to->held_count && (first = session_peek(to)) && window_has_room(s, to)) {
        struct delivery d = *first;

        session_pop(to);
        send_waiting(s, to, &d);
    }
}

/* PUBREL is sent again at once: it takes no place of the client's window [MQTT-4.9.0-3]. */
static void resend_releases(struct session *to)
{
    struct client *c = to->client;
    enum protocol protocol = (enum protocol)c->protocol;
    uint32_t n = to->inflight_count;
    struct delivery **v = malloc(n * sizeof(struct delivery *) + 1);

    if (!v) {
        give_up(c);
        return;
    }
    n = session_inflight_sorted(to, v);
    for (uint32_t i = 0; i < n; i++) {
        uint8_t *at;

        if (v[i]->state != DELIVERY_RELEASED)
            continue;
        at = client_room(c, ack_size(protocol, REASON_SUCCESS, bytes_of("", 0)));
        if (at)
            ack_put(at, protocol, PACKET_PUBREL, v[i]->packet_id, REASON_SUCCESS, bytes_of("", 0));
    }
    free(v);
}

void deliver_resume(struct shard *s, struct session *to)
{
    if (!session_hold(to)) {
        give_up(to->client);
        return;
    }
    if (to->inflight_count > to->held_count)
        resend_releases(to);
    deliver_waiting(s, to);
}

bool deliver_has_room(const struct shard *s, const struct session *to)
{
    const struct client *c = to->client;

    return (!c || c->stream.outq.bytes < s->limits->outq_bytes / 2) &&
           to->queue_count < s->limits->queued_messages / 2 + 1 &&
           to->queue_bytes < s->limits->queued_bytes / 2 + 1;
}
