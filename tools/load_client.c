/* tools/load_client.c -- one MQTT client of the load generator: a wire, and the protocol on it. */
#include "tools/load_client.h"

#include <string.h>

#include "net/clock.h"
#include "tools/load_bare.h"

#define SUBSCRIBE_ID 1

static struct load_client *client_of(struct load_wire *w)
{
    return URING_OWNER(w, struct load_client, wire);
}

static void fail(struct load_client *c, const char *why)
{
    if (c->state == LOAD_CLIENT_GONE)
        return;
    c->state = LOAD_CLIENT_GONE;
    load_wire_shut(&c->wire);
    c->setup->calls->on_gone(c, why);
}

static void become_ready(struct load_client *c)
{
    c->state = LOAD_CLIENT_READY;
    c->setup->calls->on_ready(c);
}

/* ---- frames without MQTT ---- */

static bool send_bare(struct load_client *c, const struct load_bare_frame *f)
{
    uint8_t *p = load_wire_room(&c->wire, LOAD_BARE_HEADER_BYTES + f->payload.n);

    if (!p)
        return false;
    load_wire_wrote(&c->wire, load_bare_put(p, f));
    return true;
}

static void say_bare(struct load_client *c, enum load_bare_kind kind, uint16_t id, uint32_t topic)
{
    struct load_bare_frame f = {.kind = kind, .id = id, .topic = topic};

    if (!send_bare(c, &f))
        fail(c, "out of memory");
}

static void subscribe_bare(struct load_client *c, uint16_t id, struct bytes filter)
{
    bool is_shared = bytes_begin(filter, BYTES_LIT("$share/"));

    say_bare(c, is_shared ? LOAD_BARE_SHARE : LOAD_BARE_SUBSCRIBE, id, load_bare_topic(filter));
}

static bool publish_bare(struct load_client *c, const struct publish_out *out)
{
    struct load_bare_frame message = {.kind = LOAD_BARE_MESSAGE + out->qos,
                                      .id = out->packet_id,
                                      .topic = load_bare_topic(out->topic),
                                      .payload = out->payload};

    return send_bare(c, &message);
}

static void bare_on_granted(struct load_client *c, uint16_t id)
{
    if (c->state == LOAD_CLIENT_CONNECTING && c->filter.n > 0) {
        c->state = LOAD_CLIENT_SUBSCRIBING;
        c->receive_maximum = UINT16_MAX;
        subscribe_bare(c, SUBSCRIBE_ID, c->filter);
    } else if (c->state < LOAD_CLIENT_READY) {
        c->receive_maximum = UINT16_MAX;
        become_ready(c);
    } else if (c->setup->calls->on_suback) {
        c->setup->calls->on_suback(c, id);
    }
}

static void bare_on_message(struct load_client *c, const struct load_bare_frame *f, uint8_t qos,
                            uint64_t now_us)
{
    struct packet_publish message = {.qos = qos, .packet_id = f->id, .payload = f->payload};

    if (qos > 0)
        say_bare(c, qos == 1 ? LOAD_BARE_ACK : LOAD_BARE_REC, f->id, 0);
    c->setup->calls->on_message(c, &message, now_us);
}

static void client_on_frame(struct load_client *c, const struct load_bare_frame *f, uint64_t now_us)
{
    uint8_t qos;

    if (load_bare_is_message(f->kind, &qos))
        bare_on_message(c, f, qos, now_us);
    else if (f->kind == LOAD_BARE_GRANTED)
        bare_on_granted(c, f->id);
    else if (f->kind == LOAD_BARE_ACK || f->kind == LOAD_BARE_COMP)
        c->setup->calls->on_ack(c, f->id, false);
    else if (f->kind == LOAD_BARE_REC)
        say_bare(c, LOAD_BARE_REL, f->id, 0);
    else if (f->kind == LOAD_BARE_REL)
        say_bare(c, LOAD_BARE_COMP, f->id, 0);
    else
        fail(c, "a frame that a forwarder does not send");
}

/* The next frame of `in`; *used becomes its size. */
static enum err take_bare(struct load_client *c, struct bytes in, uint64_t now_us, uint32_t *used)
{
    struct load_bare_frame f;
    enum err err = load_bare_next(in, &f, used);

    if (err == OK)
        client_on_frame(c, &f, now_us);
    return err;
}

/* ---- what we say ---- */

static void send_connect(struct load_client *c)
{
    struct connect_out out = {
        .protocol = c->setup->protocol,
        .clean_start = true,
        .keep_alive = c->setup->keep_alive,
        .client_id = bytes_str(c->id),
        .username = c->setup->username,
        .password = c->setup->password,
    };
    uint8_t *p = load_wire_room(&c->wire, connect_size(&out));

    if (!p)
        fail(c, "out of memory");
    else
        load_wire_wrote(&c->wire, connect_put(p, &out));
}

void load_client_subscribe(struct load_client *c, uint16_t packet_id, struct bytes filter)
{
    struct filter_request request = {.filter = filter, .qos = c->setup->subscribe_qos};
    enum protocol protocol = c->setup->protocol;
    uint8_t *p;

    if (c->setup->is_bare) {
        subscribe_bare(c, packet_id, filter);
        return;
    }
    p = load_wire_room(&c->wire, subscribe_size(protocol, &request, 1, 0));
    if (!p)
        fail(c, "out of memory");
    else
        load_wire_wrote(&c->wire, subscribe_put(p, protocol, packet_id, &request, 1, 0));
}

void load_client_unsubscribe(struct load_client *c, uint16_t packet_id, struct bytes filter)
{
    enum protocol protocol = c->setup->protocol;
    uint8_t *p = load_wire_room(&c->wire, unsubscribe_size(protocol, &filter, 1));

    if (!p)
        fail(c, "out of memory");
    else
        load_wire_wrote(&c->wire, unsubscribe_put(p, protocol, packet_id, &filter, 1));
}

static void send_ack(struct load_client *c, enum packet_type type, uint16_t packet_id)
{
    uint8_t *p = load_wire_room(&c->wire, ACK_BYTES_MAX);

    if (!p)
        fail(c, "out of memory");
    else
        load_wire_wrote(&c->wire, ack_put(p, c->setup->protocol, type, packet_id, REASON_SUCCESS,
                                          (struct bytes){0}));
}

bool load_client_publish(struct load_client *c, const struct publish_out *out)
{
    uint32_t header;
    uint8_t *p;

    if (c->setup->is_bare)
        return publish_bare(c, out);
    p = load_wire_room(&c->wire, publish_size(c->setup->protocol, out, &header));
    if (!p)
        return false;
    p = publish_put_header(p, c->setup->protocol, out);
    load_wire_wrote(&c->wire, bytes_put(p, out->payload));
    return true;
}

void load_client_leave(struct load_client *c)
{
    struct bytes none = {0};
    uint8_t *p;

    if (c->state != LOAD_CLIENT_READY)
        return;
    if (c->setup->is_bare) {
        say_bare(c, LOAD_BARE_BYE, 0, 0);
        c->state = LOAD_CLIENT_GONE;
        return;
    }
    p = load_wire_room(&c->wire, disconnect_size(REASON_SUCCESS, none));
    if (p)
        load_wire_wrote(&c->wire, disconnect_put(p, REASON_SUCCESS, none));
    c->state = LOAD_CLIENT_GONE;
}

/* ---- what we are told ---- */

/* Why a CONNECT was refused; MQTT 3 counts from 1 to 5. */
static const char *refusal(uint8_t reason)
{
    switch (reason) {
    case 1:
    case REASON_UNSUPPORTED_PROTOCOL_VERSION:
        return "CONNECT was refused: the broker wants another version of MQTT; see -V";
    case 2:
    case REASON_CLIENT_ID_NOT_VALID:
        return "CONNECT was refused: the client id";
    case 3:
    case REASON_SERVER_UNAVAILABLE:
    case REASON_SERVER_BUSY:
        return "CONNECT was refused: the broker is busy";
    case 4:
    case 5:
    case REASON_BAD_USER_NAME_OR_PASSWORD:
    case REASON_NOT_AUTHORIZED:
        return "CONNECT was refused: not authorized; see -u and -P, or --cert";
    case REASON_BANNED:
        return "CONNECT was refused: banned";
    case REASON_QUOTA_EXCEEDED:
    case REASON_CONNECTION_RATE_EXCEEDED:
        return "CONNECT was refused: too many connections; see -n and --rate";
    default:
        return "CONNECT was refused";
    }
}

/* Why the broker ended a connection. */
static const char *ending(uint8_t reason)
{
    switch (reason) {
    case REASON_SERVER_SHUTTING_DOWN:
        return "the broker is shutting down";
    case REASON_SESSION_TAKEN_OVER:
        return "the broker said DISCONNECT: another client has the same client id";
    case REASON_RECEIVE_MAXIMUM_EXCEEDED:
        return "the broker said DISCONNECT: too many messages on their way; see --window";
    case REASON_PACKET_TOO_LARGE:
        return "the broker said DISCONNECT: too large a packet; see --size";
    case REASON_MESSAGE_RATE_TOO_HIGH:
    case REASON_QUOTA_EXCEEDED:
        return "the broker said DISCONNECT: too many messages; see --rate";
    case REASON_NOT_AUTHORIZED:
        return "the broker said DISCONNECT: not authorized";
    default:
        return "the broker said DISCONNECT";
    }
}

static void client_on_connack(struct load_client *c, const struct packet_connack *p)
{
    if (p->reason != REASON_SUCCESS) {
        fail(c, refusal(p->reason));
        return;
    }
    c->receive_maximum = UINT16_MAX;
    if (p->props.present & PROP_BIT(PROP_RECEIVE_MAXIMUM))
        c->receive_maximum = p->props.receive_maximum;
    if (c->filter.n == 0) {
        become_ready(c);
        return;
    }
    c->state = LOAD_CLIENT_SUBSCRIBING;
    load_client_subscribe(c, SUBSCRIBE_ID, c->filter);
}

static void client_on_suback(struct load_client *c, const struct packet_suback *p)
{
    bool is_first = c->state == LOAD_CLIENT_SUBSCRIBING;

    if (p->reasons.n != 1 ||
        (is_first ? p->packet_id != SUBSCRIBE_ID : !c->setup->calls->on_suback))
        fail(c, "SUBACK without its SUBSCRIBE");
    else if (p->reasons.p[0] != c->setup->subscribe_qos)
        fail(c, "the subscription was refused or has a lower QoS");
    else if (is_first)
        become_ready(c);
    else
        c->setup->calls->on_suback(c, p->packet_id);
}

static void client_on_unsuback(struct load_client *c, const struct packet_suback *p)
{
    if (!c->setup->calls->on_unsuback)
        fail(c, "UNSUBACK without its UNSUBSCRIBE");
    else if (p->reasons.n > 0 && p->reasons.p[0] != REASON_SUCCESS)
        fail(c, "UNSUBSCRIBE was refused");
    else
        c->setup->calls->on_unsuback(c, p->packet_id);
}

static void client_on_publish(struct load_client *c, const struct packet_publish *p,
                              uint64_t now_us)
{
    if (p->qos > 0)
        send_ack(c, p->qos == 1 ? PACKET_PUBACK : PACKET_PUBREC, p->packet_id);
    c->setup->calls->on_message(c, p, now_us);
}

static void client_on_ack(struct load_client *c, enum packet_type type, const struct packet_ack *p)
{
    bool is_refused = p->reason >= REASON_UNSPECIFIED_ERROR;

    if (type == PACKET_PUBREC && !is_refused)
        send_ack(c, PACKET_PUBREL, p->packet_id);
    else if (type == PACKET_PUBREL)
        send_ack(c, PACKET_PUBCOMP, p->packet_id);
    else
        c->setup->calls->on_ack(c, p->packet_id, is_refused);
}

static void client_on_packet(struct load_client *c, const struct packet *p, uint64_t now_us)
{
    bool is_connected = c->state >= LOAD_CLIENT_SUBSCRIBING;

    switch (p->type) {
    case PACKET_CONNACK:
        if (is_connected)
            fail(c, "a second CONNACK");
        else
            client_on_connack(c, &p->connack);
        return;
    case PACKET_SUBACK:
    case PACKET_UNSUBACK:
        if (!is_connected)
            fail(c, "an acknowledgement before CONNACK");
        else if (p->type == PACKET_SUBACK)
            client_on_suback(c, &p->suback);
        else
            client_on_unsuback(c, &p->suback);
        return;
    case PACKET_PUBLISH:
        if (is_connected)
            client_on_publish(c, &p->publish, now_us);
        else
            fail(c, "PUBLISH before CONNACK");
        return;
    case PACKET_PUBACK:
    case PACKET_PUBREC:
    case PACKET_PUBREL:
    case PACKET_PUBCOMP:
        client_on_ack(c, p->type, &p->ack);
        return;
    case PACKET_DISCONNECT:
        fail(c, ending(p->disconnect.reason));
        return;
    default:
        fail(c, "a packet that a broker does not send");
    }
}

/* ---- the wire ---- */

static void client_on_open(struct load_wire *w)
{
    struct load_client *c = client_of(w);

    if (c->setup->is_bare)
        say_bare(c, LOAD_BARE_HELLO, 0, 0);
    else
        send_connect(c);
}

/* The same of MQTT. */
static enum err take_packet(struct load_client *c, struct bytes in, uint64_t now_us, uint32_t *used)
{
    struct packet packet;
    struct frame frame;
    enum reason why;
    uint32_t need;
    enum err err = frame_next(in, c->setup->packet_bytes_max, &frame, &need);

    if (err == OK)
        err = packet_decode(&frame, c->setup->protocol, &packet, &why);
    if (err != OK)
        return err;
    *used = frame.header_size + frame.body.n;
    client_on_packet(c, &packet, now_us);
    return OK;
}

/* A client that leaves or is gone is deaf: what comes is thrown away. */
static uint32_t client_on_bytes(struct load_wire *w, struct bytes in)
{
    struct load_client *c = client_of(w);
    uint64_t now_us = clock_mono_us();
    uint32_t done = 0;

    while (c->state != LOAD_CLIENT_GONE) {
        struct bytes rest = bytes_of(in.p + done, in.n - done);
        uint32_t used = 0;
        enum err err = c->setup->is_bare ? take_bare(c, rest, now_us, &used)
                                         : take_packet(c, rest, now_us, &used);

        if (err == ERR_MORE)
            return done;
        if (err != OK) {
            fail(c, "the broker sent a packet that cannot be");
            break;
        }
        done += used;
    }
    return in.n;
}

static void client_on_sent(struct load_wire *w)
{
    struct load_client *c = client_of(w);

    if (c->state == LOAD_CLIENT_READY)
        c->setup->calls->on_sent(c);
}

static void client_on_gone(struct load_wire *w, int error)
{
    fail(client_of(w), error ? strerrordesc_np(error) : "the broker closed the connection");
}

static void client_on_free(struct load_wire *w)
{
    struct load_client *c = client_of(w);

    if (c->setup->calls->on_free)
        c->setup->calls->on_free(c);
}

const struct load_wire_calls load_client_wire_calls = {
    .on_open = client_on_open,
    .on_bytes = client_on_bytes,
    .on_sent = client_on_sent,
    .on_gone = client_on_gone,
    .on_free = client_on_free,
};

void load_client_cut(struct load_client *c)
{
    c->state = LOAD_CLIENT_GONE;
    load_wire_shut(&c->wire);
}

enum err load_client_open(struct load_client *c, struct load_loop *loop,
                          const struct sockaddr *from)
{
    enum err err = load_wire_open(&c->wire, loop, c->setup->to, c->setup->to_bytes, from);

    if (err == OK)
        c->state = LOAD_CLIENT_CONNECTING;
    return err;
}
