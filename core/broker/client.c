/* core/broker/client.c -- the protocol of one connection, from CONNECT to the end.
 *
 * Bytes become frames, frames packets, packets calls. A publish that does not fit into a mailbox
 * parks the connection: nothing of it was changed, and the same bytes are offered again.
 */
#include <stdio.h>
#include <stdlib.h>

#include "core/base/check.h"
#include "core/broker/state.h"

/* ---- output ---- */

uint8_t *client_room(struct client *c, uint32_t n)
{
    struct shard *s = c->stream.shard;
    uint8_t *to;

    /* Who asks and asks without reading the answers is cut off, not kept. */
    if (c->stream.outq.bytes == 0)
        c->answer_bytes = 0;
    c->answer_bytes += n;
    if (c->answer_bytes > s->limits->outq_bytes) {
        stream_abort(&c->stream, CLOSE_QUEUE_FULL);
        return NULL;
    }
    if (n > c->packet_max) { /* [MQTT-3.1.2-24]; without this answer the client cannot go on */
        stream_close(&c->stream, CLOSE_TOO_LARGE);
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
    client_log_detail(c, level, event, reason, NULL);
}

void client_log_detail(struct client *c, int level, const char *event, const char *reason,
                       const char *detail)
{
    struct shard *s = c->stream.shard;
    struct log_event e = {
        .level = level, .event = event, .peer = c->peer, .reason = reason, .detail = detail};

    if (c->session) {
        e.client = session_id(c->session);
        e.user = session_user(c->session);
    }
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
        if (c->session->expiry > client_expiry_max(c->stream.shard))
            c->session->expiry = client_expiry_max(c->stream.shard);
    }
    client_log(c, 5, "client disconnected", close_reason_name(CLOSE_CLIENT));
    stream_close(&c->stream, CLOSE_CLIENT);
    client_leave_session(c, with_will); /* [MQTT-3.14.4-3]: a will is dropped by code 0 */
}

/* ---- input ---- */

static void on_pingreq(struct client *c)
{
    uint8_t *to = client_room(c, 2);

    session_trim(c->session); /* who pings is quiet */
    if (to)
        pingresp_put(to);
}

static enum err on_packet(struct client *c, const struct packet *p)
{
    switch (p->type) {
    case PACKET_PUBLISH:
        return client_on_publish(c, &p->publish);
    case PACKET_PUBACK:
        on_puback(c, &p->ack);
        break;
    case PACKET_PUBREC:
        on_pubrec(c, &p->ack);
        break;
    case PACKET_PUBREL:
        client_on_pubrel(c, &p->ack);
        break;
    case PACKET_PUBCOMP:
        on_pubcomp(c, &p->ack);
        break;
    case PACKET_SUBSCRIBE:
        return client_on_subscribe(c, &p->subscribe);
    case PACKET_UNSUBSCRIBE:
        client_on_unsubscribe(c, &p->subscribe);
        break;
    case PACKET_PINGREQ:
        on_pingreq(c);
        break;
    case PACKET_DISCONNECT:
        on_disconnect(c, &p->disconnect);
        break;
    case PACKET_AUTH:
        return login_on_packet(c, &p->disconnect);
    case PACKET_CONNECT: /* [MQTT-3.1.0-2]: a second one */
    case PACKET_CONNACK:
    case PACKET_SUBACK:
    case PACKET_UNSUBACK:
    case PACKET_PINGRESP:
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

/* Ends a connection that has not become a client. */
static void turn_away(struct client *c, enum close_reason why)
{
    STAT_INC(&c->stream.shard->stats, protocol_errors);
    client_log(c, 5, "connection refused", close_reason_name(why));
    stream_close(&c->stream, why);
    c->state = CLIENT_CLOSING;
}

/* The session has the rules of the admission now, which stays for its end. */
static void forget_rules(struct client *c)
{
    struct admission *a = c->admission;

    if (a->rules_count == 0)
        return;
    a->rules_count = 0;
    a = realloc(a, sizeof(*a) + a->user_count);
    if (a)
        c->admission = a;
}

/* The first packet is CONNECT. ERR_FULL: park. */
static enum err on_first(struct client *c, const struct frame *f)
{
    struct packet p;
    enum reason why = REASON_PROTOCOL_ERROR;

    if (packet_decode(f, MQTT_5, &p, &why) != OK) {
        if (why == REASON_UNSUPPORTED_PROTOCOL_VERSION) { /* [MQTT-3.1.2-2], as MQTT 3 answers it */
            static const uint8_t connack[] = {0x20, 2, 0, 1};
            uint8_t *to = client_room(c, sizeof connack);

            if (to)
                memcpy(to, connack, sizeof connack);
        }
        turn_away(c, why_of(why));
        return OK;
    }
    if (p.connect.protocol == MQTT_5 && (p.connect.props.present & PROP_BIT(PROP_AUTH_METHOD)) &&
        login_begin(c, f, &p.connect))
        return OK;
    if (client_on_connect(c, &p.connect) == ERR_FULL)
        return ERR_FULL;
    if (!c->admission || !c->admission->expires_ms)
        login_forget(c);
    else
        forget_rules(c);
    return OK;
}

/* A packet while the CONNECT waits: AUTH or DISCONNECT [MQTT-3.1.2-30].  ERR_FULL: park. */
static enum err on_login_frame(struct client *c, const struct frame *f)
{
    enum reason why = REASON_MALFORMED_PACKET;
    struct packet p;

    if (packet_decode(f, MQTT_5, &p, &why) != OK) {
        login_refuse(c, why, why_of(why));
    } else if (p.type == PACKET_AUTH) {
        return login_on_packet(c, &p.disconnect);
    } else {
        client_log(c, 5, "connection refused", close_reason_name(CLOSE_CLIENT));
        stream_close(&c->stream, CLOSE_CLIENT);
        client_leave_session(c, false);
    }
    return OK;
}

/* One whole packet. ERR_FULL: park. */
static enum err on_frame(struct client *c, const struct frame *f)
{
    enum reason why = REASON_MALFORMED_PACKET;
    struct packet p;

    if (c->state == CLIENT_WAITING)
        return on_first(c, f);
    if (c->state == CLIENT_AUTHENTICATING)
        return on_login_frame(c, f);
    if (packet_decode(f, (enum protocol)c->protocol, &p, &why) != OK) {
        client_fail(c, why, why_of(why));
        return OK;
    }
    return on_packet(c, &p);
}

static void on_bad_length(struct client *c, enum err err)
{
    struct shard *s = c->stream.shard;

    if (err == ERR_FULL)
        STAT_INC(&s->stats, packets_too_large);
    if (c->state == CLIENT_AUTHENTICATING) {
        login_refuse(c, err == ERR_FULL ? REASON_PACKET_TOO_LARGE : REASON_MALFORMED_PACKET,
                     err == ERR_FULL ? CLOSE_TOO_LARGE : CLOSE_MALFORMED);
    } else if (err == ERR_FULL) {
        client_fail(c, REASON_PACKET_TOO_LARGE, CLOSE_TOO_LARGE);
    } else {
        client_fail(c, REASON_MALFORMED_PACKET, CLOSE_MALFORMED);
    }
    c->state = CLIENT_CLOSING;
}

/* Whether a connection that is no client yet may begin a packet so; known from one byte, so junk is
 * not waited for. */
static bool may_begin(struct client *c, uint8_t first)
{
    if (c->state == CLIENT_WAITING && first != PACKET_CONNECT << 4) {
        turn_away(c, CLOSE_PROTOCOL_ERROR); /* [MQTT-3.1.0-1] */
        return false;
    }
    if (c->state == CLIENT_AUTHENTICATING && first >> 4 != PACKET_AUTH &&
        first >> 4 != PACKET_DISCONNECT) {
        login_refuse(c, REASON_PROTOCOL_ERROR, CLOSE_PROTOCOL_ERROR); /* [MQTT-3.1.2-30] */
        return false;
    }
    return true;
}

/* Cuts one packet off. ERR_MORE: not whole. Other faults have closed the connection. */
static enum err next_frame(struct client *c, struct bytes in, struct frame *f, uint32_t *need)
{
    const struct limits *l = c->stream.shard->limits;
    bool is_waiting = c->state == CLIENT_WAITING || c->state == CLIENT_AUTHENTICATING;
    enum err err;

    if (in.n && !may_begin(c, in.p[0]))
        return ERR_PEER;
    err = frame_next(in, is_waiting ? l->connect_bytes : l->packet_bytes, f, need);
    if (err != OK && err != ERR_MORE)
        on_bad_length(c, err);
    return err;
}

static void note_parked(struct client *c)
{
    if (!c->is_parked)
        STAT_INC(&c->stream.shard->stats, parked);
    c->is_parked = true;
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

        if (next_frame(c, bytes_of(in.p + taken, in.n - taken), &f, need) != OK)
            break;
        if (on_frame(c, &f) == ERR_FULL) {
            note_parked(c);
            *verdict = INPUT_PARKED;
            break;
        }
        c->is_parked = false;
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

    c->answer_bytes = 0;
    if (c->session && c->state == CLIENT_CONNECTED)
        deliver_waiting(st->shard, c->session);
}

/* ---- life ---- */

/* "address:port", with brackets around an address that holds colons; without a port where there is
 * none. */
static char *peer_text(const char *peer, uint16_t port)
{
    size_t n = strlen(peer) + 16;
    char *to = malloc(n);

    if (to && port == 0)
        snprintf(to, n, "%s", peer);
    else if (to && strchr(peer, ':'))
        snprintf(to, n, "[%s]:%u", peer, port);
    else if (to)
        snprintf(to, n, "%s:%u", peer, port);
    return to;
}

struct client *client_open(struct shard *s, uint16_t listener, const char *peer, uint16_t peer_port,
                           struct admission *admission, void *conn)
{
    const struct listener_rules *rules = &s->cluster->config.listeners[listener];
    struct client *c = slab_alloc(&s->clients);

    if (!c) {
        STAT_INC(&s->stats, connections_over_limit);
        free(admission);
        return NULL;
    }
    c->peer = peer_text(peer, peer_port);
    if (!c->peer) {
        free(admission);
        slab_free(&s->clients, c);
        return NULL;
    }
    c->admission = admission;
    c->stream.ops = &client_ops;
    c->stream.shard = s;
    c->stream.conn = conn;
    outq_init(&c->stream.outq);
    c->listener = listener;
    c->max_qos = s->limits->max_qos;
    if (rules->has_max_qos && rules->max_qos < c->max_qos)
        c->max_qos = rules->max_qos;
    c->packet_max = UINT32_MAX;
    c->receive_max = 65535;
    c->last_input_ms = s->now_ms;
    return c;
}

/* Clients judged in one turn. */
#define JUDGE_SLICE 1024u

void shard_judge_all(struct shard *s)
{
    s->is_judging = true;
    s->judge_slot = 0;
}

bool client_still_holds(const struct client *c, struct bytes user)
{
    const struct shard_hooks *hooks = &c->stream.shard->hooks;

    if (login_is_used(c))
        return login_still_holds(c, user);
    return !c->credential || !hooks->still_holds ||
           hooks->still_holds(hooks->net, user, c->credential);
}

bool clients_judge(struct shard *s)
{
    uint32_t left = JUDGE_SLICE;
    struct client *c;

    while (s->is_judging && left-- > 0) {
        c = slab_next(&s->clients, &s->judge_slot);
        s->is_judging = c != NULL;
        if (c && c->state == CLIENT_CONNECTED && !client_still_holds(c, session_user(c->session)))
            client_fail(c, REASON_NOT_AUTHORIZED, CLOSE_NOT_AUTHORIZED);
    }
    return s->is_judging;
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
    login_forget(c);
    free(c->answers);
    free(c->mount);
    free(c->peer);
    slab_free(&s->clients, c);
}

const struct stream_ops client_ops = {.input = input, .drained = drained, .closed = closed};
