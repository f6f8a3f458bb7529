/* core/broker/client.c -- the protocol of one connection, from CONNECT to the end.
 *
 * Bytes become frames, frames packets, packets calls. A publish that does not fit into a mailbox
 * parks the connection: nothing of it was changed, and the same bytes are offered again.
 */
#include <stdlib.h>

#include "core/base/check.h"
#include "core/broker/state.h"
#include "core/mqtt/topic.h"

/* ---- output ---- */

uint8_t *client_room(struct client *c, uint32_t n)
{
    struct shard *s = c->stream.shard;
    uint8_t *to;

    /* Answers count too: who asks without reading is cut off, not kept [outq_bytes]. */
    if (c->stream.outq.bytes > s->limits->outq_bytes + OUTQ_BYTES_MIN) {
        stream_abort(&c->stream, CLOSE_QUEUE_FULL);
        return NULL;
    }
    to = outq_reserve(&c->stream.outq, &s->pool, n);
    if (!to) {
        stream_abort(&c->stream, CLOSE_MEMORY);
        return NULL;
    }
    STAT_INC(&s->stats, packets_sent);
    stream_touch(&c->stream);
    return to;
}

void client_log(struct client *c, int level, const char *event, const char *reason)
{
    struct shard *s = c->stream.shard;
    struct log_event e = {.level = level,
                          .event = event,
                          .user = bytes_of(c->user, c->user_count),
                          .peer = c->peer,
                          .reason = reason};

    if (c->session)
        e.client = session_id(c->session);
    if (s->hooks.log)
        s->hooks.log(s->hooks.net, &e);
}

/* Says why, if the protocol can, and asks for the end of the connection. */
static void say_goodbye(struct client *c, enum reason reason, enum close_reason why)
{
    struct shard *s = c->stream.shard;

    if (c->state == CLIENT_CONNECTED && c->protocol == MQTT_5) {
        uint8_t *to = client_room(c, disconnect_size((uint8_t)reason, bytes_of("", 0)));

        if (to)
            disconnect_put(to, (uint8_t)reason, bytes_of("", 0));
    }
    if (why == CLOSE_MALFORMED || why == CLOSE_PROTOCOL_ERROR || why == CLOSE_TOPIC_INVALID)
        STAT_INC(&s->stats, protocol_errors);
    stream_close(&c->stream, why);
}

void client_fail(struct client *c, enum reason reason, enum close_reason why)
{
    if (c->state == CLIENT_CLOSING)
        return;
    say_goodbye(c, reason, why);
    client_log(c, 5, "client disconnected", close_reason_name(why));
    client_leave_session(c, true);
}

void client_fail_later(struct client *c, enum reason reason, enum close_reason why)
{
    if (c->state == CLIENT_CLOSING)
        return;
    say_goodbye(c, reason, why);
    c->state = CLIENT_CLOSING;
}

/* ---- acknowledgements, in the order of their tickets ---- */

void client_ack(struct client *c, enum packet_type type, uint16_t packet_id, uint8_t reason,
                store_ticket ticket, bool is_quota)
{
    struct shard *s = c->stream.shard;

    if (s->ack_count == s->ack_capacity) {
        uint32_t capacity = s->ack_capacity ? s->ack_capacity * 2 : 256;
        struct pending_ack *v = realloc(s->acks, capacity * sizeof *v);

        if (!v) {
            stream_abort(&c->stream, CLOSE_MEMORY);
            return;
        }
        s->acks = v;
        s->ack_capacity = capacity;
    }
    s->acks[s->ack_count++] = (struct pending_ack){.ticket = ticket,
                                                   .client = slab_handle(&s->clients, c),
                                                   .packet_id = packet_id,
                                                   .type = (uint8_t)type,
                                                   .reason = reason,
                                                   .is_quota = is_quota};
}

static void send_ack(struct client *c, const struct pending_ack *a)
{
    enum protocol protocol = (enum protocol)c->protocol;
    uint8_t *to;

    if (a->is_quota)
        c->quota_used--;
    to = client_room(c, ack_size(protocol, a->reason, bytes_of("", 0)));
    if (to)
        ack_put(to, protocol, (enum packet_type)a->type, a->packet_id, a->reason, bytes_of("", 0));
}

void acks_run(struct shard *s)
{
    store_ticket safe = s->store.ops->committed(s->store.self);
    uint32_t i = 0;

    for (; i < s->ack_count && s->acks[i].ticket <= safe; i++) {
        struct client *c = slab_at(&s->clients, s->acks[i].client);

        if (c && c->state == CLIENT_CONNECTED)
            send_ack(c, &s->acks[i]);
    }
    s->ack_count -= i;
    if (s->ack_count)
        memmove(s->acks, s->acks + i, s->ack_count * sizeof *s->acks);
}

/* ---- PUBLISH ---- */

/* Which topic: given, or by alias [MQTT-3.3.2-8..12]. false: the client has been failed. */
static bool find_topic(struct client *c, const struct packet_publish *p, struct bytes *topic)
{
    const struct shard *s = c->stream.shard;
    uint32_t alias = p->props.present & PROP_BIT(PROP_TOPIC_ALIAS) ? p->props.topic_alias : 0;
    struct bytes *place;
    uint8_t *text;

    *topic = p->topic;
    if (!alias)
        return true;
    if (alias > s->limits->topic_alias) {
        client_fail(c, REASON_TOPIC_ALIAS_INVALID, CLOSE_TOPIC_ALIAS);
        return false;
    }
    if (!c->aliases_in)
        c->aliases_in = calloc(s->limits->topic_alias, sizeof *c->aliases_in);
    if (!c->aliases_in) {
        stream_abort(&c->stream, CLOSE_MEMORY);
        return false;
    }
    place = &c->aliases_in[alias - 1];
    if (p->topic.n == 0) {
        *topic = *place;
        if (place->n == 0)
            client_fail(c, REASON_PROTOCOL_ERROR, CLOSE_PROTOCOL_ERROR);
        return place->n > 0;
    }
    if (bytes_eq(*place, p->topic))
        return true;
    text = malloc(p->topic.n);
    if (!text) {
        stream_abort(&c->stream, CLOSE_MEMORY);
        return false;
    }
    bytes_put(text, p->topic);
    free((void *)(uintptr_t)place->p);
    *place = bytes_of(text, p->topic.n);
    return true;
}

static bool begins_with(struct bytes t, const char *prefix)
{
    size_t n = strlen(prefix);

    return t.n >= n && memcmp(t.p, prefix, n) == 0;
}

/* The link worker of the cluster that `$LINK/cluster/WORD/CLUSTER` names; of another text, any. */
static uint32_t link_worker_of(const struct shard *s, struct bytes topic)
{
    uint32_t slashes = 0, at = 0;

    while (at < topic.n && slashes < 3)
        slashes += topic.p[at++] == '/';
    return s->cluster->config.workers + shard_link_home(s, bytes_of(topic.p + at, topic.n - at));
}

/* A `$LINK/` packet goes to the link worker as it is. */
static enum err pass_to_link(struct client *c, const struct packet_publish *p, struct bytes topic)
{
    struct shard *s = c->stream.shard;
    uint32_t worker = link_worker_of(s, topic);
    struct bytes id = session_id(c->session), response = {0}, correlation = {0};
    struct msg_link_packet *m;
    struct link_parcel *parcel;
    uint8_t *to;

    if (p->props.present & PROP_BIT(PROP_RESPONSE_TOPIC))
        response = p->props.response_topic;
    if (p->props.present & PROP_BIT(PROP_CORRELATION_DATA))
        correlation = p->props.correlation_data;
    if (!mail_room(s->cluster->mail, s->number, worker, MAIL_PUBLISH, sizeof *m))
        return ERR_FULL;
    parcel = malloc(sizeof *parcel + topic.n + id.n + response.n + correlation.n + p->payload.n);
    if (!parcel)
        return ERR_MEMORY;
    *parcel = (struct link_parcel){.topic_count = topic.n,
                                   .client_id_count = id.n,
                                   .response_count = response.n,
                                   .correlation_count = correlation.n,
                                   .payload_count = p->payload.n,
                                   .client = slab_handle(&s->clients, c),
                                   .worker = (uint16_t)s->number,
                                   .qos = p->qos};
    to = bytes_put(parcel->bytes, topic);
    to = bytes_put(to, id);
    to = bytes_put(to, response);
    to = bytes_put(to, correlation);
    bytes_put(to, p->payload);
    m = mail_post(s->cluster->mail, s->number, worker, MAIL_PUBLISH, sizeof *m);
    CHECK(m);
    *m = (struct msg_link_packet){.type = MSG_LINK_PACKET, .parcel = parcel};
    return OK;
}

/* Routes it. *reason: for the acknowledgement. ERR_FULL: nothing happened. */
static enum err route(struct client *c, const struct packet_publish *p, struct bytes topic,
                      uint8_t *reason)
{
    struct shard *s = c->stream.shard;
    struct publish out = {.topic = topic,
                          .payload = p->payload,
                          .stamp_ms = s->wall_ms,
                          .qos = p->qos,
                          .retain = p->retain,
                          .protocol = c->protocol,
                          .from = c->session,
                          .from_id = session_id(c->session),
                          .from_user = bytes_of(c->user, c->user_count)};
    bool matched = false;
    enum err err;

    *reason = REASON_SUCCESS;
    if (begins_with(topic, "$LINK/") && c->may_link)
        return pass_to_link(c, p, topic);
    if (begins_with(topic, "$SYS/") || begins_with(topic, "$LINK/")) {
        *reason = REASON_NOT_AUTHORIZED; /* an MQTT 3 client gets its PUBACK [MQTT-3.3.5-2] */
        return OK;
    }
    if (p->props.present & PROP_BIT(PROP_MESSAGE_EXPIRY)) {
        out.expires_ms = s->now_ms + p->props.message_expiry * 1000ull;
        if (p->props.message_expiry == 0)
            return OK;
    }
    if (p->props.present && !props_forward_view(&p->props, &out.props)) {
        uint8_t *to = arena_alloc(&s->arena, p->props.all.n);

        if (!to)
            return ERR_MEMORY;
        out.props = bytes_of(to, props_forward(&p->props, to));
    }
    err = route_publish(s, &out, &matched);
    if (err == OK && !matched)
        *reason = REASON_NO_MATCHING_SUBSCRIBERS;
    return err;
}

/* What a PUBLISH may not be, beyond its form. false: the client has been failed. */
static bool publish_is_allowed(struct client *c, const struct packet_publish *p)
{
    struct shard *s = c->stream.shard;

    if (p->props.present & PROP_BIT(PROP_SUBSCRIPTION_ID)) /* [MQTT-3.3.4-6] */
        client_fail(c, REASON_PROTOCOL_ERROR, CLOSE_PROTOCOL_ERROR);
    else if (p->qos > s->limits->max_qos) /* [MQTT-3.2.2-11] */
        client_fail(c, REASON_QOS_NOT_SUPPORTED, CLOSE_UNSUPPORTED);
    else if (p->retain && !s->limits->retain_available) /* [MQTT-3.2.2-14] */
        client_fail(c, REASON_RETAIN_NOT_SUPPORTED, CLOSE_UNSUPPORTED);
    else
        return true;
    return false;
}

/* Incoming QoS 1 and 2 that are not answered yet [MQTT-3.3.4-9]. false: one too many. */
static bool take_quota(struct client *c)
{
    struct shard *s = c->stream.shard;

    if (c->quota_used >= s->limits->receive_maximum && c->protocol == MQTT_5) {
        STAT_INC(&s->stats, receive_maximum_exceeded);
        client_fail(c, REASON_RECEIVE_MAXIMUM_EXCEEDED, CLOSE_RECEIVE_MAXIMUM);
        return false;
    }
    return true;
}

static void count_publish(struct shard *s, const struct packet_publish *p)
{
    STAT_INC(&s->stats, publish_received);
    STAT_ADD(&s->stats, publish_bytes_received, p->payload.n);
}

static store_ticket put_received(struct shard *s, struct session *x, uint16_t packet_id,
                                 bool is_delete)
{
    struct record r = {.kind = RECORD_RECEIVED,
                       .is_delete = is_delete,
                       .client_id = session_id(x),
                       .packet_id = packet_id};

    return store_put(&s->store, &r);
}

/* QoS 2, method B: routed once when the id is new, remembered until PUBREL [MQTT-4.3.3-10]. */
static enum err publish_qos2(struct client *c, const struct packet_publish *p, struct bytes topic)
{
    struct shard *s = c->stream.shard;
    struct session *x = c->session;
    uint8_t reason = REASON_SUCCESS;
    bool is_counted;
    enum err err;

    if (session_has_received(x, p->packet_id)) {
        client_ack(c, PACKET_PUBREC, p->packet_id, REASON_SUCCESS,
                   put_received(s, x, p->packet_id, false), false);
        return OK;
    }
    if (!take_quota(c))
        return OK;
    if (!session_received(x, p->packet_id)) {
        stream_abort(&c->stream, CLOSE_MEMORY);
        return OK;
    }
    err = route(c, p, topic, &reason);
    if (err != OK || reason >= 0x80)
        (void)session_release(x, p->packet_id, &is_counted); /* [MQTT-4.3.3-9]: 0x80 and above end it */
    if (err != OK)
        return err;
    count_publish(s, p);
    c->quota_used++;
    client_ack(c, PACKET_PUBREC, p->packet_id, reason, put_received(s, x, p->packet_id, false),
               reason >= 0x80);
    return OK;
}

static enum err publish_qos1(struct client *c, const struct packet_publish *p, struct bytes topic)
{
    struct shard *s = c->stream.shard;
    struct record r = {.kind = RECORD_PUBLISH, .client_id = session_id(c->session)};
    uint8_t reason = REASON_SUCCESS;
    enum err err;

    if (!take_quota(c))
        return OK;
    err = route(c, p, topic, &reason);
    if (err != OK)
        return err;
    count_publish(s, p);
    c->quota_used++;
    client_ack(c, PACKET_PUBACK, p->packet_id, reason, store_put(&s->store, &r), true);
    return OK;
}

/* ERR_FULL: park. */
static enum err on_publish(struct client *c, const struct packet_publish *p)
{
    struct shard *s = c->stream.shard;
    struct bytes topic;
    uint8_t reason;
    enum err err = OK;

    if (!publish_is_allowed(c, p) || !find_topic(c, p, &topic))
        return OK;
    if (!topic_name_valid(topic, s->limits->topic_levels)) {
        STAT_INC(&s->stats, dropped_topic_levels);
        client_fail(c, REASON_TOPIC_NAME_INVALID, CLOSE_TOPIC_INVALID);
        return OK;
    }
    if (p->qos == 0) {
        err = route(c, p, topic, &reason);
        if (err == OK)
            count_publish(s, p);
    } else {
        err = p->qos == 1 ? publish_qos1(c, p, topic) : publish_qos2(c, p, topic);
    }
    if (err != ERR_MEMORY)
        return err;
    STAT_INC(&s->stats, dropped_memory);
    if (p->qos) /* not acknowledged, so not lost: the client sends it again elsewhere or later */
        client_fail(c, REASON_QUOTA_EXCEEDED, CLOSE_MEMORY);
    return OK;
}

/* ---- acknowledgements from the client ---- */

static void done(struct shard *s, struct session *x, struct delivery *d)
{
    struct record r = {.kind = RECORD_INFLIGHT,
                       .is_delete = true,
                       .client_id = session_id(x),
                       .packet_id = d->packet_id};

    if (s->store.keeps)
        (void)store_put(&s->store, &r);
    STAT_ADD(&s->stats, inflight_messages, -1);
    session_done(x, d);
    deliver_waiting(s, x);
}

/* A stray PUBACK changes nothing: above all, it does not open the window. */
static void on_puback(struct client *c, const struct packet_ack *p)
{
    struct delivery *d = session_inflight(c->session, p->packet_id);

    if (d && d->qos == 1)
        done(c->stream.shard, c->session, d);
}

static void send_now(struct client *c, enum packet_type type, uint16_t packet_id, uint8_t reason)
{
    enum protocol protocol = (enum protocol)c->protocol;
    uint8_t *to = client_room(c, ack_size(protocol, reason, bytes_of("", 0)));

    if (to)
        ack_put(to, protocol, type, packet_id, reason, bytes_of("", 0));
}

static void on_pubrec(struct client *c, const struct packet_ack *p)
{
    struct delivery *d = session_inflight(c->session, p->packet_id);

    if (!d || d->qos != 2) { /* [MQTT-4.3.3-4]: PUBREL all the same, so that the client is done */
        send_now(c, PACKET_PUBREL, p->packet_id, REASON_PACKET_ID_NOT_FOUND);
        return;
    }
    if (p->reason >= 0x80) { /* [MQTT-4.3.3-4]: refused, the id is free */
        done(c->stream.shard, c->session, d);
        return;
    }
    if (d->state != DELIVERY_RELEASED) {
        session_accept(c->session, d);
        delivery_fini(d); /* the message is theirs now [MQTT-4.3.3-5] */
    }
    send_now(c, PACKET_PUBREL, p->packet_id, REASON_SUCCESS);
}

static void on_pubrel(struct client *c, const struct packet_ack *p)
{
    struct shard *s = c->stream.shard;
    bool is_counted, was_there = session_release(c->session, p->packet_id, &is_counted);

    if (was_there && is_counted) {
        CHECK(c->quota_used);
        c->quota_used--;
    }
    client_ack(c, PACKET_PUBCOMP, p->packet_id,
               was_there ? REASON_SUCCESS : REASON_PACKET_ID_NOT_FOUND,
               put_received(s, c->session, p->packet_id, true), false);
}

static void on_pubcomp(struct client *c, const struct packet_ack *p)
{
    struct delivery *d = session_inflight(c->session, p->packet_id);

    if (d && d->qos == 2 && d->state == DELIVERY_RELEASED)
        done(c->stream.shard, c->session, d);
}

/* ---- the end of a connection ---- */

static void on_disconnect(struct client *c, const struct packet_disconnect *p)
{
    bool with_will = c->protocol == MQTT_5 && p->reason != REASON_SUCCESS;

    if (c->protocol == MQTT_5 && (p->props.present & PROP_BIT(PROP_SESSION_EXPIRY))) {
        if (c->connect_expiry == 0 && p->props.session_expiry != 0) { /* [MQTT-3.14.2-2] */
            client_fail(c, REASON_PROTOCOL_ERROR, CLOSE_PROTOCOL_ERROR);
            return;
        }
        c->session->expiry = p->props.session_expiry;
        if (c->session->expiry > c->stream.shard->limits->session_expiry)
            c->session->expiry = c->stream.shard->limits->session_expiry;
    }
    client_log(c, 5, "client disconnected", close_reason_name(CLOSE_CLIENT));
    stream_close(&c->stream, CLOSE_CLIENT);
    client_leave_session(c, with_will); /* [MQTT-3.14.4-3]: a will is dropped by code 0 */
}

/* ---- input ---- */

static void on_pingreq(struct client *c)
{
    uint8_t *to = client_room(c, 2);

    if (to)
        pingresp_put(to);
}

static enum err on_packet(struct client *c, const struct packet *p)
{
    switch (p->type) {
    case PACKET_PUBLISH:
        return on_publish(c, &p->publish);
    case PACKET_PUBACK:
        on_puback(c, &p->ack);
        break;
    case PACKET_PUBREC:
        on_pubrec(c, &p->ack);
        break;
    case PACKET_PUBREL:
        on_pubrel(c, &p->ack);
        break;
    case PACKET_PUBCOMP:
        on_pubcomp(c, &p->ack);
        break;
    case PACKET_SUBSCRIBE:
        client_on_subscribe(c, &p->subscribe);
        break;
    case PACKET_UNSUBSCRIBE:
        client_on_unsubscribe(c, &p->subscribe);
        break;
    case PACKET_PINGREQ:
        on_pingreq(c);
        break;
    case PACKET_DISCONNECT:
        on_disconnect(c, &p->disconnect);
        break;
    case PACKET_CONNECT: /* [MQTT-3.1.0-2]: a second one */
    case PACKET_CONNACK:
    case PACKET_SUBACK:
    case PACKET_UNSUBACK:
    case PACKET_PINGRESP:
    case PACKET_AUTH: /* no method was agreed on [MQTT-4.12.1-1] */
        client_fail(c, REASON_PROTOCOL_ERROR, CLOSE_PROTOCOL_ERROR);
        break;
    }
    return OK;
}

static enum close_reason why_of(enum reason reason)
{
    switch (reason) {
    case REASON_MALFORMED_PACKET:
        return CLOSE_MALFORMED;
    case REASON_TOPIC_NAME_INVALID:
    case REASON_TOPIC_FILTER_INVALID:
        return CLOSE_TOPIC_INVALID;
    case REASON_TOPIC_ALIAS_INVALID:
        return CLOSE_TOPIC_ALIAS;
    case REASON_UNSUPPORTED_PROTOCOL_VERSION:
        return CLOSE_BAD_VERSION;
    case REASON_PACKET_TOO_LARGE:
        return CLOSE_TOO_LARGE;
    default:
        return CLOSE_PROTOCOL_ERROR;
    }
}

/* The first packet must be CONNECT [MQTT-3.1.0-1]. */
static void on_first(struct client *c, const struct frame *f)
{
    struct packet p;
    enum reason why = REASON_PROTOCOL_ERROR;

    if (f->first >> 4 != PACKET_CONNECT) {
        STAT_INC(&c->stream.shard->stats, protocol_errors);
        stream_close(&c->stream, CLOSE_PROTOCOL_ERROR);
        c->state = CLIENT_CLOSING;
        return;
    }
    if (packet_decode(f, MQTT_5, &p, &why) != OK) {
        if (why == REASON_UNSUPPORTED_PROTOCOL_VERSION) { /* [MQTT-3.1.2-2], as MQTT 3 answers it */
            static const uint8_t connack[] = {0x20, 2, 0, 1};
            uint8_t *to = client_room(c, sizeof connack);

            if (to)
                memcpy(to, connack, sizeof connack);
        }
        STAT_INC(&c->stream.shard->stats, protocol_errors);
        stream_close(&c->stream, why_of(why));
        c->state = CLIENT_CLOSING;
        return;
    }
    client_on_connect(c, &p.connect);
}

/* One whole packet. ERR_FULL: park. */
static enum err on_frame(struct client *c, const struct frame *f)
{
    enum reason why = REASON_MALFORMED_PACKET;
    struct packet p;

    if (c->state == CLIENT_WAITING) {
        on_first(c, f);
        return OK;
    }
    if (packet_decode(f, (enum protocol)c->protocol, &p, &why) != OK) {
        client_fail(c, why, why_of(why));
        return OK;
    }
    return on_packet(c, &p);
}

static void on_bad_length(struct client *c, enum err err)
{
    struct shard *s = c->stream.shard;

    if (err == ERR_FULL) {
        STAT_INC(&s->stats, packets_too_large);
        client_fail(c, REASON_PACKET_TOO_LARGE, CLOSE_TOO_LARGE);
    } else {
        client_fail(c, REASON_MALFORMED_PACKET, CLOSE_MALFORMED);
    }
    c->state = CLIENT_CLOSING;
}

static uint32_t input(struct stream *st, struct bytes in, enum input *verdict, uint32_t *need)
{
    struct client *c = client_of(st);
    struct shard *s = st->shard;
    uint32_t taken = 0;

    c->last_input_ms = s->now_ms;
    *verdict = INPUT_MORE;
    *need = 0;
    while (c->state != CLIENT_CLOSING && !st->close_now) {
        struct frame f;
        struct bytes rest = bytes_of(in.p + taken, in.n - taken);
        uint32_t max =
            c->state == CLIENT_WAITING ? s->limits->connect_bytes : s->limits->packet_bytes;
        enum err err = frame_next(rest, max, &f, need);

        if (err == ERR_MORE)
            break;
        if (err != OK) {
            on_bad_length(c, err);
            break;
        }
        if (on_frame(c, &f) == ERR_FULL) {
            STAT_INC(&s->stats, parked);
            *verdict = INPUT_PARKED;
            break;
        }
        STAT_INC(&s->stats, packets_received);
        taken += f.header_size + f.body.n;
    }
    STAT_ADD(&s->stats, bytes_received, taken);
    if (c->state == CLIENT_CLOSING || st->close_now)
        *verdict = INPUT_CLOSED;
    return taken;
}

static void drained(struct stream *st)
{
    struct client *c = client_of(st);

    if (c->session && c->state == CLIENT_CONNECTED)
        deliver_waiting(st->shard, c->session);
}

/* ---- life ---- */

struct client *client_open(struct shard *s, uint16_t listener, const char *peer, uint16_t peer_port,
                           void *conn)
{
    size_t n = strlen(peer) + 8;
    struct client *c = slab_alloc(&s->clients);

    (void)peer_port;
    if (!c) {
        STAT_INC(&s->stats, connections_over_limit);
        return NULL;
    }
    c->peer = malloc(n);
    if (!c->peer) {
        slab_free(&s->clients, c);
        return NULL;
    }
    memcpy(c->peer, peer, strlen(peer) + 1);
    c->stream.ops = &client_ops;
    c->stream.shard = s;
    c->stream.conn = conn;
    outq_init(&c->stream.outq);
    c->listener = listener;
    c->peer_port = peer_port;
    c->packet_max = UINT32_MAX;
    c->receive_max = 65535;
    c->last_input_ms = s->now_ms;
    return c;
}

struct stream *client_stream(struct client *c)
{
    return &c->stream;
}

static void take_off_dirty(struct shard *s, struct stream *st)
{
    struct stream **at = &s->dirty_first;

    if (!st->is_dirty)
        return;
    while (*at != st)
        at = &(*at)->dirty_next;
    *at = st->dirty_next;
    if (s->dirty_last == &st->dirty_next)
        s->dirty_last = at;
    st->is_dirty = false;
}

static void free_aliases(struct shard *s, struct client *c)
{
    if (c->aliases_in)
        for (uint32_t i = 0; i < s->limits->topic_alias; i++)
            free((void *)(uintptr_t)c->aliases_in[i].p);
    free(c->aliases_in);
    if (c->aliases_out)
        for (uint32_t i = 0; i < c->aliases_out->count; i++)
            free((void *)(uintptr_t)c->aliases_out->v[i].topic.p);
    free(c->aliases_out);
}

static void closed(struct stream *st, enum close_reason why)
{
    struct client *c = client_of(st);
    struct shard *s = st->shard;

    if (c->session) {
        client_log(c, 5, "client disconnected", close_reason_name(why));
        client_leave_session(c, true);
    }
    take_off_dirty(s, st);
    timer_cancel(&s->timers, &c->keepalive_timer);
    outq_fini(&st->outq, &s->pool);
    free_aliases(s, c);
    free(c->user);
    free(c->peer);
    slab_free(&s->clients, c);
}

const struct stream_ops client_ops = {.input = input, .drained = drained, .closed = closed};
