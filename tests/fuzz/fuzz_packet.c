/* tests/fuzz/fuzz_packet.c -- every packet in every version: what decodes is sound.
 *
 * Input: a byte that chooses the version, the first byte of the packet, its body. The body is
 * decoded from a copy of exactly its size. All views of a packet lie inside it, walkers end, and
 * what can be encoded again says the same when decoded again.
 */
#include "core/base/check.h"
#include "core/mqtt/packet.h"
#include "core/mqtt/topic.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum err decode(uint8_t first, struct bytes body, enum protocol protocol, struct packet *out,
                       enum reason *why)
{
    struct frame f = {first, (uint8_t)(1 + varint_size(body.n)), body};

    return packet_decode(&f, protocol, out, why);
}

static void check_inside(struct bytes view, struct bytes body)
{
    if (view.n)
        CHECK(view.p >= body.p && view.p + view.n <= body.p + body.n);
}

static void check_text(struct bytes view, struct bytes body)
{
    check_inside(view, body);
    CHECK(utf8_valid(view));
}

static void check_views(const struct props *p, struct bytes body)
{
    const struct {
        enum prop prop;
        const struct bytes *view;
    } views[] = {
        {PROP_CONTENT_TYPE, &p->content_type},
        {PROP_RESPONSE_TOPIC, &p->response_topic},
        {PROP_CORRELATION_DATA, &p->correlation_data},
        {PROP_ASSIGNED_CLIENT_ID, &p->assigned_client_id},
        {PROP_AUTH_METHOD, &p->auth_method},
        {PROP_AUTH_DATA, &p->auth_data},
        {PROP_RESPONSE_INFO, &p->response_info},
        {PROP_SERVER_REFERENCE, &p->server_reference},
        {PROP_REASON_STRING, &p->reason_string},
    };

    for (size_t i = 0; i < sizeof(views) / sizeof(views[0]); i++) {
        if (p->present & PROP_BIT(views[i].prop))
            check_inside(*views[i].view, body);
    }
}

static void check_props(const struct props *p, struct bytes body)
{
    struct bytes rest = p->all, name, value, view;
    uint32_t id, users = 0, ids = 0, forwarded;
    uint8_t *to = malloc(p->all.n ? p->all.n : 1);

    CHECK(to != NULL);
    CHECK(p->present >> PROP_COUNT == 0);
    CHECK((p->present == 0) == (p->all.n == 0));
    check_inside(p->all, body);
    check_views(p, body);
    while (props_next_user(&rest, &name, &value)) {
        check_text(name, body);
        check_text(value, body);
        users++;
    }
    for (rest = p->all; props_next_subscription_id(&rest, &id); ids++)
        CHECK(id > 0 && (ids > 0 || id == p->subscription_id));
    CHECK((users > 0) == !!(p->present & PROP_BIT(PROP_USER_PROPERTY)));
    CHECK((ids > 0) == !!(p->present & PROP_BIT(PROP_SUBSCRIPTION_ID)));
    forwarded = props_forward(p, to);
    CHECK(forwarded <= p->all.n);
    if (props_forward_view(p, &view))
        CHECK(bytes_eq(view, bytes_of(to, forwarded)));
    CHECK(props_travel(bytes_of(to, forwarded)));
    free(to);
}

/* Decodes a whole packet that one of our encoders wrote; it must be valid. */
static void decode_again(const uint8_t *p, uint32_t size, enum protocol protocol,
                         struct packet *out)
{
    struct frame f;
    enum reason why;
    uint32_t need;

    CHECK(frame_next(bytes_of(p, size), size, &f, &need) == OK);
    CHECK(need == size);
    CHECK(packet_decode(&f, protocol, out, &why) == OK);
}

/* Exactly `size` bytes. */
static uint8_t *room(uint32_t size)
{
    uint8_t *p = malloc(size ? size : 1);

    CHECK(p != NULL);
    return p;
}

static void check_publish(const struct packet_publish *p, enum protocol protocol, struct bytes body)
{
    uint8_t *props = room(p->props.all.n + 1), *whole;
    struct publish_out o = {
        .qos = p->qos,
        .dup = p->dup,
        .retain = p->retain,
        .packet_id = p->packet_id,
        .topic = p->topic,
        .payload = p->payload,
    };
    uint32_t header, size;
    struct packet again;

    check_text(p->topic, body);
    check_inside(p->payload, body);
    check_props(&p->props, body);
    CHECK(!topic_has_wildcard(p->topic));
    CHECK((p->qos == 0) == (p->packet_id == 0));
    o.props = bytes_of(props, props_forward(&p->props, props));
    if (p->props.present & PROP_BIT(PROP_TOPIC_ALIAS))
        o.topic_alias = p->props.topic_alias;
    o.has_expiry = p->props.present & PROP_BIT(PROP_MESSAGE_EXPIRY);
    if (o.has_expiry)
        o.message_expiry = p->props.message_expiry;
    size = publish_size(protocol, &o, &header);
    whole = room(size);
    CHECK(publish_put_header(whole, protocol, &o) == whole + header);
    bytes_put(whole + header, o.payload);
    decode_again(whole, size, protocol, &again);
    CHECK(bytes_eq(again.publish.topic, p->topic));
    CHECK(bytes_eq(again.publish.payload, p->payload));
    CHECK(again.publish.qos == p->qos && again.publish.packet_id == p->packet_id);
    free(whole);
    free(props);
}

static void check_connect(const struct packet_connect *p, struct bytes body)
{
    struct connect_out o = {
        .protocol = p->protocol,
        .clean_start = p->clean_start,
        .keep_alive = p->keep_alive,
        .client_id = p->client_id,
        .username = p->has_username ? p->username : (struct bytes){0},
        .password = p->has_password ? p->password : (struct bytes){0},
        .has_will = p->has_will,
        .will_retain = p->will_retain,
        .will_qos = p->will_qos,
        .will_topic = p->will_topic,
        .will_payload = p->will_payload,
    };
    struct packet again;
    uint32_t size;
    uint8_t *whole;

    check_text(p->client_id, body);
    check_text(p->username, body);
    check_inside(p->password, body);
    check_text(p->will_topic, body);
    check_inside(p->will_payload, body);
    check_props(&p->props, body);
    check_props(&p->will_props, body);
    size = connect_size(&o);
    whole = room(size);
    CHECK(connect_put(whole, &o) == whole + size);
    decode_again(whole, size, MQTT_311, &again);
    CHECK(again.connect.protocol == p->protocol);
    CHECK(bytes_eq(again.connect.client_id, p->client_id));
    CHECK(bytes_eq(again.connect.password, p->password));
    CHECK(bytes_eq(again.connect.will_payload, p->will_payload));
    free(whole);
}

static void check_connack(const struct packet_connack *p, enum protocol protocol, struct bytes body)
{
    struct connack_out o = {.session_present = p->session_present,
                            .reason = p->reason,
                            .retain_available = true,
                            .maximum_qos = 2};
    uint32_t size = connack_size(protocol, &o);
    uint8_t *whole = room(size);
    struct packet again;

    check_props(&p->props, body);
    CHECK(connack_put(whole, protocol, &o) == whole + size);
    decode_again(whole, size, protocol, &again);
    CHECK(again.connack.reason == p->reason);
    free(whole);
}

static void check_ack(const struct packet *p, enum protocol protocol, struct bytes body)
{
    bool has_text = p->ack.props.present & PROP_BIT(PROP_REASON_STRING);
    struct bytes text = has_text ? p->ack.props.reason_string : (struct bytes){0};
    uint32_t size = ack_size(protocol, p->ack.reason, text);
    uint8_t *whole = room(size);
    struct packet again;

    check_props(&p->ack.props, body);
    CHECK(p->ack.packet_id != 0);
    CHECK(ack_put(whole, protocol, p->type, p->ack.packet_id, p->ack.reason, text) == whole + size);
    decode_again(whole, size, protocol, &again);
    CHECK(again.type == p->type && again.ack.reason == p->ack.reason);
    free(whole);
}

static void check_list(const struct packet *p, enum protocol protocol, struct bytes body)
{
    struct bytes rest = p->subscribe.list;
    struct filter_request f;
    uint32_t count = 0;

    check_props(&p->subscribe.props, body);
    check_inside(rest, body);
    while (packet_next_filter(p->type, protocol, &rest, &f)) {
        uint32_t size = subscribe_size(protocol, &f, 1, 0);
        uint8_t *whole = room(size);
        struct packet again;

        check_text(f.filter, body);
        CHECK(f.qos <= 2 && f.retain_handling <= 2);
        CHECK(subscribe_put(whole, protocol, 1, &f, 1, 0) == whole + size);
        decode_again(whole, size, protocol, &again);
        free(whole);
        count++;
    }
    CHECK(rest.n == 0 && count > 0 && count == p->subscribe.filter_count);
}

static void check_suback(const struct packet *p, enum protocol protocol, struct bytes body)
{
    const struct packet_suback *s = &p->suback;
    uint32_t size = suback_size(protocol, p->type, s->reasons.n);
    uint8_t *whole = room(size);
    struct packet again;

    check_props(&s->props, body);
    check_inside(s->reasons, body);
    CHECK(suback_put(whole, protocol, p->type, s->packet_id, s->reasons.p, s->reasons.n) ==
          whole + size);
    decode_again(whole, size, protocol, &again);
    CHECK(bytes_eq(again.suback.reasons, s->reasons));
    free(whole);
}

static void check_packet(const struct packet *p, enum protocol protocol, struct bytes body)
{
    switch (p->type) {
    case PACKET_CONNECT:
        check_connect(&p->connect, body);
        break;
    case PACKET_CONNACK:
        check_connack(&p->connack, protocol, body);
        break;
    case PACKET_PUBLISH:
        check_publish(&p->publish, protocol, body);
        break;
    case PACKET_PUBACK:
    case PACKET_PUBREC:
    case PACKET_PUBREL:
    case PACKET_PUBCOMP:
        check_ack(p, protocol, body);
        break;
    case PACKET_SUBSCRIBE:
    case PACKET_UNSUBSCRIBE:
        check_list(p, protocol, body);
        break;
    case PACKET_SUBACK:
    case PACKET_UNSUBACK:
        check_suback(p, protocol, body);
        break;
    case PACKET_DISCONNECT:
    case PACKET_AUTH:
        check_props(&p->disconnect.props, body);
        break;
    default:
        CHECK(body.n == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum protocol versions[] = {MQTT_31, MQTT_311, MQTT_5};
    enum protocol protocol;
    struct packet packet;
    struct bytes body;
    enum reason why;
    uint8_t *copy;

    if (size < 2)
        return 0;
    protocol = versions[data[0] % 3];
    copy = room((uint32_t)size - 2);
    memcpy(copy, data + 2, size - 2);
    body = bytes_of(copy, size - 2);
    if (decode(data[1], body, protocol, &packet, &why) == OK) {
        CHECK(why == REASON_SUCCESS);
        check_packet(&packet, protocol, body);
    } else {
        CHECK(why >= REASON_UNSPECIFIED_ERROR);
    }
    free(copy);
    return 0;
}
