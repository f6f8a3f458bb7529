/* link/dialer.c -- connect, greet, ping, begin again.
 *
 * One function changes the state. The stream belongs to the net from conn_dial to on_closed, and
 * only on_closed leads to another attempt, so there is never more than one connection.
 */
#include "link/dialer.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/base/check.h"
#include "core/mqtt/frame.h"

#define BIT(n) (1u << (n))

static const uint8_t may_become[DIALER_STATE_COUNT] = {
    [DIALER_OFF] = BIT(DIALER_DIALING) | BIT(DIALER_WAITING),
    [DIALER_WAITING] = BIT(DIALER_DIALING) | BIT(DIALER_WAITING) | BIT(DIALER_OFF),
    [DIALER_DIALING] = BIT(DIALER_GREETING) | BIT(DIALER_CLOSING) | BIT(DIALER_WAITING),
    [DIALER_GREETING] = BIT(DIALER_UP) | BIT(DIALER_CLOSING) | BIT(DIALER_WAITING),
    [DIALER_UP] = BIT(DIALER_CLOSING) | BIT(DIALER_WAITING),
    [DIALER_CLOSING] = BIT(DIALER_WAITING) | BIT(DIALER_OFF),
};

static struct dialer *dialer_of(struct stream *s)
{
    return (struct dialer *)(void *)s;
}

static struct dialer *of_timer(struct timer *t, size_t offset)
{
    return (struct dialer *)(void *)((char *)t - offset);
}

static void become(struct dialer *d, enum dialer_state to)
{
    CHECK(may_become[d->state] & BIT(to));
    d->state = (uint8_t)to;
}

static struct timer_wheel *wheel(const struct dialer *d)
{
    return shard_timers(d->host->shard);
}

static uint64_t now(const struct dialer *d)
{
    return shard_now_ms(d->host->shard);
}

/* The first reason stays. */
static void explain(struct dialer *d, const char *why)
{
    if (!d->why[0])
        snprintf(d->why, sizeof(d->why), "%s", why);
}

void dialer_peer_text(const struct dialer *d, char to[300])
{
    const struct cfg_server *s = &d->link->servers[d->server];

    if (d->link->server_count == 0) {
        to[0] = '\0';
        return;
    }
    snprintf(to, 300, s->is_v6 ? "[%s]:%u" : "%s:%u", s->host, s->port);
}

/* ---- attempts ---- */

static void on_retry(struct timer *t, void *owner, uint64_t now_ms);

/* Half to one and a half of the pause, so that many links do not dial in step. */
static uint64_t with_chance(const struct dialer *d, uint32_t pause_ms)
{
    return pause_ms / 2 + shard_random(d->host->shard) % (pause_ms + 1u);
}

static void wait_and_retry(struct dialer *d)
{
    uint32_t most = d->link->retry_interval_ms;
    uint64_t pause;

    if (d->pause_ms == 0) {
        d->pause_ms = most < DIALER_PAUSE_FIRST_MS ? most : DIALER_PAUSE_FIRST_MS;
        pause = d->pause_ms;
    } else {
        d->pause_ms = d->pause_ms > most / 2 ? most : d->pause_ms * 2;
        pause = with_chance(d, d->pause_ms);
        pause = pause > most ? most : pause;
    }
    become(d, DIALER_WAITING);
    timer_arm(wheel(d), &d->timer, now(d) + pause, on_retry);
}

static const struct stream_ops ops;

static void dial(struct dialer *d)
{
    struct link_target to = {.link = d->link,
                             .server = &d->link->servers[d->server],
                             .attempt = d->failures / d->link->server_count,
                             .timeout_ms = DIALER_CONNECT_MS};

    timer_cancel(wheel(d), &d->timer);
    d->stream = (struct stream){.ops = &ops, .shard = d->host->shard};
    outq_init(&d->stream.outq);
    d->why[0] = '\0';
    d->refusal = 0;
    d->was_up = false;
    if (d->host->dial(d->host->net, &d->stream, &to) != OK) {
        explain(d, "no memory for a connection");
        wait_and_retry(d);
        d->events->down(d, false);
        return;
    }
    become(d, DIALER_DIALING);
}

static void on_retry(struct timer *t, void *owner, uint64_t now_ms)
{
    (void)owner;
    (void)now_ms;
    dial(of_timer(t, offsetof(struct dialer, timer)));
}

void dialer_start(struct dialer *d)
{
    CHECK(d->state == DIALER_OFF);
    d->must_stop = false;
    dial(d);
}

void dialer_hurry(struct dialer *d)
{
    if (d->state == DIALER_WAITING)
        dial(d);
}

/* ---- endings ---- */

static void cancel_timers(struct dialer *d)
{
    timer_cancel(wheel(d), &d->timer);
    timer_cancel(wheel(d), &d->pinger);
}

static void say_disconnect(struct dialer *d)
{
    uint32_t n = disconnect_size(0, (struct bytes){0});
    uint8_t *to = outq_reserve(&d->stream.outq, shard_pool(d->host->shard), n);

    if (to)
        disconnect_put(to, 0, (struct bytes){0});
}

static void close_with(struct dialer *d, bool politely)
{
    bool was_up = d->state == DIALER_UP;

    if (d->state != DIALER_DIALING && d->state != DIALER_GREETING && !was_up)
        return;
    d->was_up = was_up;
    cancel_timers(d);
    become(d, DIALER_CLOSING);
    if (was_up && politely) {
        say_disconnect(d);
        stream_close(&d->stream, CLOSE_LINK);
    } else {
        stream_abort(&d->stream, CLOSE_LINK);
    }
}

void dialer_fail(struct dialer *d, const char *why)
{
    explain(d, why);
    close_with(d, false);
}

void dialer_stop(struct dialer *d)
{
    d->must_stop = true;
    if (d->state == DIALER_WAITING) {
        timer_cancel(wheel(d), &d->timer);
        become(d, DIALER_OFF);
        return;
    }
    explain(d, "we are stopping");
    close_with(d, true);
}

static const char *words_for(const struct dialer *d, enum close_reason why)
{
    if (d->state == DIALER_DIALING && why == CLOSE_CONNECT_TIMEOUT)
        return "TLS: no answer to the handshake in time";
    if (d->state == DIALER_DIALING && why == CLOSE_EOF)
        return "TLS: the other side closed the connection during the handshake";
    if (d->state == DIALER_DIALING)
        return "cannot connect: nobody listens there, or the name or the way is not known";
    if (why == CLOSE_EOF || why == CLOSE_CLIENT)
        return "the other side closed the connection";
    if (why == CLOSE_SOCKET_ERROR)
        return "the connection broke";
    return close_reason_name(why);
}

static void on_failed(struct stream *s, const char *why)
{
    char text[160];

    snprintf(text, sizeof(text), "TLS: %s", why);
    explain(dialer_of(s), text);
}

static void on_closed(struct stream *s, enum close_reason why)
{
    struct dialer *d = dialer_of(s);
    bool was_up = d->state == DIALER_UP || (d->state == DIALER_CLOSING && d->was_up);

    explain(d, words_for(d, why));
    cancel_timers(d);
    outq_fini(&s->outq, shard_pool(d->host->shard));
    if (d->must_stop) {
        if (d->state != DIALER_CLOSING)
            become(d, DIALER_CLOSING);
        become(d, DIALER_OFF);
        d->events->down(d, was_up);
        return;
    }
    if (was_up && now(d) - d->up_ms >= DIALER_GOOD_MS)
        d->pause_ms = 0;
    wait_and_retry(d);
    d->events->down(d, was_up); /* speaks of the server that failed; then comes the next one */
    if (was_up)
        return;
    d->failures++;
    d->server = (d->server + 1) % d->link->server_count;
}

/* ---- greeting ---- */

static void on_no_connack(struct timer *t, void *owner, uint64_t now_ms)
{
    (void)owner;
    (void)now_ms;
    dialer_fail(of_timer(t, offsetof(struct dialer, timer)), "no CONNACK in time");
}

static void on_opened(struct stream *s)
{
    struct dialer *d = dialer_of(s);
    const struct cfg_link *l = d->link;
    struct connect_out c = {.protocol = MQTT_5,
                            .clean_start = true,
                            .keep_alive = (uint16_t)l->keepalive,
                            .client_id = bytes_of(d->client_id, d->client_id_n),
                            .maximum_packet_size = d->host->limits->packet_bytes};
    char said[CFG_NAME_BYTES_MAX + 16];
    uint8_t *to;

    if (d->state != DIALER_DIALING)
        return; /* given up meanwhile */
    if (l->username)
        c.username = bytes_str(l->username);
    if (l->password)
        c.password = bytes_str(l->password);
    if (l->dialect != DIALECT_EMQX) { /* then the connection lives with the link over there */
        c.user_property_name = BYTES_LIT(LINK_PROPERTY);
        c.user_property_value = d->host->cluster;
        if (d->stream_number) {
            snprintf(said, sizeof(said), "%.*s/%u", (int)d->host->cluster.n,
                     (const char *)d->host->cluster.p, d->stream_number);
            c.user_property_value = bytes_str(said);
        }
    }
    become(d, DIALER_GREETING);
    to = dialer_room(d, connect_size(&c));
    if (!to)
        return;
    connect_put(to, &c);
    timer_arm(wheel(d), &d->timer, now(d) + DIALER_CONNACK_MS, on_no_connack);
}

/* A refusal in words, with what helps. */
static const char *refusal_words(uint8_t reason)
{
    switch (reason) {
    case REASON_BAD_USER_NAME_OR_PASSWORD:
    case REASON_NOT_AUTHORIZED:
        return "not let in: see username, password and certificate of this link, and over there "
               "the users and the peer_identity of its link to us";
    case REASON_CLIENT_ID_NOT_VALID:
        return "the client id is refused: see clientid of this link";
    case REASON_UNSUPPORTED_PROTOCOL_VERSION:
        return "it does not speak MQTT 5, which links need";
    case REASON_SESSION_TAKEN_OVER:
        return "another connection came with our client id: is there a second cluster of our name?";
    case REASON_SERVER_SHUTTING_DOWN:
        return "it is shutting down";
    case REASON_IMPLEMENTATION_SPECIFIC:
        return "it found a fault in the link's protocol";
    case REASON_KEEP_ALIVE_TIMEOUT:
        return "it did not hear of us in time";
    case REASON_PACKET_TOO_LARGE:
        return "a packet was too large for it";
    default:
        return "the other side ended the connection";
    }
}

static void refuse(struct dialer *d, const char *what, uint8_t reason)
{
    char text[160];

    snprintf(text, sizeof(text), "%s 0x%02X: %s", what, reason, refusal_words(reason));
    d->refusal = reason;
    dialer_fail(d, text);
}

/* ---- pulse ---- */

static struct pulse_written written_of(const struct dialer *d)
{
    struct pulse_written w = {.is_known = false};

    if (d->host->written)
        d->host->written(d->host->net, &d->stream, &w);
    return w;
}

static void on_pulse(struct timer *t, void *owner, uint64_t now_ms)
{
    struct dialer *d = of_timer(t, offsetof(struct dialer, pinger));
    struct pulse_written w = written_of(d);
    enum pulse_verdict verdict =
        pulse_look(&d->pulse, now_ms, stream_heard_ms(&d->stream, now_ms), &w);
    uint8_t *to;

    (void)owner;
    if (verdict == PULSE_DEAD) {
        dialer_fail(d, now_ms >= d->pulse.alive_ms + d->pulse.dead_after_ms
                           ? "it is silent: nothing came for the time of dead_after, not even an "
                             "answer to a ping"
                           : "it does not hear us: nothing that we sent was acknowledged for the "
                             "time of dead_after");
        return;
    }
    if (verdict == PULSE_PING) {
        to = dialer_room(d, 2);
        if (!to)
            return;
        pingreq_put(to);
    }
    timer_arm(wheel(d), &d->pinger, d->pulse.due_ms, on_pulse);
}

static void on_connack(struct dialer *d, const struct packet_connack *p)
{
    uint32_t has = p->props.present;

    if (p->reason) {
        refuse(d, "CONNACK", p->reason);
        return;
    }
    if ((has & PROP_BIT(PROP_MAXIMUM_QOS)) && p->props.maximum_qos == 0) {
        dialer_fail(d, "it takes QoS 0 only, and a link needs QoS 1");
        return;
    }
    timer_cancel(wheel(d), &d->timer);
    d->packet_max =
        has & PROP_BIT(PROP_MAXIMUM_PACKET_SIZE) ? p->props.maximum_packet_size : UINT32_MAX;
    d->receive_max = has & PROP_BIT(PROP_RECEIVE_MAXIMUM) ? p->props.receive_maximum : 65535;
    d->up_ms = now(d);
    d->failures = 0;
    become(d, DIALER_UP);
    pulse_begin(&d->pulse, d->link->dead_after_ms, now(d));
    timer_arm(wheel(d), &d->pinger, d->pulse.due_ms, on_pulse);
    d->events->up(d);
}

/* ---- packets ---- */

/* false: no room now. */
static bool on_publish(struct dialer *d, const struct packet_publish *p)
{
    bool is_taken;
    uint8_t *to;

    if (p->qos > 1) {
        dialer_fail(d, "a PUBLISH with QoS 2, which was not asked for");
        return true;
    }
    if (p->qos == 1) {
        if (d->stream.outq.bytes > 2ull * d->host->limits->outq_bytes) {
            dialer_fail(d, "it does not read our acknowledgements");
            return true;
        }
        to = dialer_room(d, ack_size(MQTT_5, REASON_SUCCESS, (struct bytes){0}));
        if (!to)
            return true;
        ack_put(to, MQTT_5, PACKET_PUBACK, p->packet_id, REASON_SUCCESS, (struct bytes){0});
    }
    is_taken = d->events->publish(d, p);
    CHECK(is_taken || p->qos == 0);
    return is_taken;
}

/* false: no room now. */
static bool on_packet(struct dialer *d, const struct packet *p)
{
    if (d->state == DIALER_GREETING) {
        if (p->type == PACKET_CONNACK)
            on_connack(d, &p->connack);
        else
            dialer_fail(d, "something else than CONNACK came first");
        return true;
    }
    switch (p->type) {
    case PACKET_PUBLISH:
        return on_publish(d, &p->publish);
    case PACKET_PUBACK:
        d->events->ack(d, p->ack.packet_id, p->ack.reason);
        break;
    case PACKET_SUBACK:
        d->events->suback(d, p->suback.packet_id, p->suback.reasons.p[0]);
        break;
    case PACKET_PINGRESP:
        pulse_answer(&d->pulse, now(d));
        break;
    case PACKET_DISCONNECT:
        refuse(d, "DISCONNECT", p->disconnect.reason);
        break;
    default:
        dialer_fail(d, "a packet that no server sends");
        break;
    }
    return true;
}

static uint32_t on_input(struct stream *s, struct bytes in, enum input *verdict, uint32_t *need)
{
    struct dialer *d = dialer_of(s);
    uint32_t taken = 0;

    *verdict = INPUT_MORE;
    *need = 0;
    s->heard_ms = (uint32_t)now(d);
    while (taken < in.n && (d->state == DIALER_GREETING || d->state == DIALER_UP)) {
        struct bytes rest = bytes_of(in.p + taken, in.n - taken);
        enum reason why;
        struct packet p;
        struct frame f;
        enum err err = frame_next(rest, d->host->limits->packet_bytes, &f, need);

        if (err == ERR_MORE)
            return taken;
        *need = 0;
        if (err != OK || packet_decode(&f, MQTT_5, &p, &why) != OK) {
            dialer_fail(d, "it sent something that is not MQTT 5");
            break;
        }
        if (!on_packet(d, &p)) {
            *verdict = INPUT_PARKED;
            return taken;
        }
        taken += f.header_size + f.body.n;
    }
    if (d->state != DIALER_GREETING && d->state != DIALER_UP)
        *verdict = INPUT_CLOSED;
    return taken;
}

static void on_drained(struct stream *s)
{
    struct dialer *d = dialer_of(s);

    if (d->state == DIALER_UP)
        d->events->drained(d);
}

static const struct stream_ops ops = {.input = on_input,
                                      .drained = on_drained,
                                      .opened = on_opened,
                                      .failed = on_failed,
                                      .closed = on_closed};

/* ---- sending ---- */

uint8_t *dialer_room(struct dialer *d, uint32_t n)
{
    uint8_t *to = outq_reserve(&d->stream.outq, shard_pool(d->host->shard), n);

    if (to)
        stream_touch(&d->stream);
    else
        dialer_fail(d, "no memory");
    return to;
}

enum err dialer_publish(struct dialer *d, const struct publish_out *p)
{
    uint32_t header;
    uint32_t size = publish_size(MQTT_5, p, &header);
    uint8_t *to;

    if (size == 0 || size > d->packet_max)
        return ERR_FULL;
    to = dialer_room(d, size);
    if (!to)
        return ERR_MEMORY;
    bytes_put(publish_put_header(to, MQTT_5, p), p->payload);
    return OK;
}

/* ---- life ---- */

/* Gives it the client id of a link. ERR_MEMORY. */
static enum err name_client(struct dialer *d, const struct cfg_link *link)
{
    struct bytes prefix = bytes_str(link->clientid);
    struct bytes suffix = bytes_of(d->host->suffix, sizeof(d->host->suffix));
    uint32_t room = prefix.n + suffix.n + 32;
    uint8_t *id = malloc(room);

    if (!id)
        return ERR_MEMORY;
    if (emqx_client_id_put(prefix, suffix, d->number, id, room, &d->client_id_n) != OK)
        CHECK(false); /* the room is enough */
    free(d->client_id);
    d->client_id = id;
    return OK;
}

enum err dialer_init(struct dialer *d, struct link_host *host, const struct cfg_link *link,
                     uint32_t number, const struct dialer_events *events)
{
    *d = (struct dialer){
        .host = host, .link = link, .events = events, .number = number, .packet_max = UINT32_MAX};
    outq_init(&d->stream.outq);
    return name_client(d, link);
}

enum err dialer_use(struct dialer *d, const struct cfg_link *link)
{
    if (d->state == DIALER_OFF) {
        if (name_client(d, link) != OK)
            return ERR_MEMORY;
        d->server = 0;
        d->failures = 0;
        d->pause_ms = 0;
    }
    CHECK(d->server < link->server_count || link->server_count == 0);
    d->link = link;
    return OK;
}

void dialer_fini(struct dialer *d)
{
    if (!d->host)
        return;
    cancel_timers(d);
    outq_fini(&d->stream.outq, shard_pool(d->host->shard));
    free(d->client_id);
}
