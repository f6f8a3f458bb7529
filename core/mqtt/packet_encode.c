/* core/mqtt/packet_encode.c -- packets become bytes.
 *
 * Every packet is written by one pass with sizes known beforehand. Packets with many optional parts
 * (CONNECT, CONNACK, SUBSCRIBE) go through struct pen, which counts when it has no paper: so the
 * size of a packet and its bytes come from the same lines and cannot disagree.
 */
#include "core/base/check.h"
#include "core/mqtt/packet_wire.h"

#define REMAINING_LENGTH_MAX 268435455u
#define FIRST(type, flags) ((uint8_t)(((type) << 4) | (flags)))

/* Writes at `to` and counts in `n`; with `to` NULL it only counts. */
struct pen {
    uint8_t *to;
    uint32_t n;
};

static struct pen pen_at(uint8_t *to)
{
    struct pen pen = {0};

    pen.to = to;
    return pen;
}

static void write_u8(struct pen *pen, uint8_t v)
{
    if (pen->to)
        *pen->to++ = v;
    pen->n++;
}

static void write_u16(struct pen *pen, uint16_t v)
{
    if (pen->to)
        pen->to = put_be16(pen->to, v);
    pen->n += 2;
}

static void write_u32(struct pen *pen, uint32_t v)
{
    if (pen->to)
        pen->to = put_be32(pen->to, v);
    pen->n += 4;
}

static void write_varint(struct pen *pen, uint32_t v)
{
    if (pen->to)
        pen->to = varint_put(pen->to, v);
    pen->n += varint_size(v);
}

/* Text or binary data: its length and itself. */
static void write_text(struct pen *pen, struct bytes text)
{
    CHECK(text.n <= UINT16_MAX);
    write_u16(pen, (uint16_t)text.n);
    if (pen->to)
        pen->to = bytes_put(pen->to, text);
    pen->n += text.n;
}

static void property_u8(struct pen *pen, enum property_id id, uint8_t v)
{
    write_u8(pen, (uint8_t)id);
    write_u8(pen, v);
}

static void property_u16(struct pen *pen, enum property_id id, uint16_t v)
{
    write_u8(pen, (uint8_t)id);
    write_u16(pen, v);
}

static void property_u32(struct pen *pen, enum property_id id, uint32_t v)
{
    write_u8(pen, (uint8_t)id);
    write_u32(pen, v);
}

/* A property of text or binary data, unless the text is empty. */
static void property_text(struct pen *pen, enum property_id id, struct bytes text)
{
    if (text.n == 0)
        return;
    write_u8(pen, (uint8_t)id);
    write_text(pen, text);
}

/* Size of a packet whose fixed header is followed by `body` bytes. */
static uint32_t whole_size(uint32_t body)
{
    CHECK(body <= REMAINING_LENGTH_MAX);
    return 1 + varint_size(body) + body;
}

/* Size of a block of `n` bytes of properties with its length before it. */
static uint32_t block_size(uint32_t n)
{
    return varint_size(n) + n;
}

/* Bytes of a property that holds `text`; an empty one is left out. */
static uint32_t text_property_size(struct bytes text)
{
    return text.n ? 3 + text.n : 0;
}

/* ---- CONNECT ---- */

static void connect_props(struct pen *pen, const struct connect_out *c)
{
    if (c->has_session_expiry)
        property_u32(pen, ID_SESSION_EXPIRY, c->session_expiry);
    if (c->receive_maximum)
        property_u16(pen, ID_RECEIVE_MAXIMUM, c->receive_maximum);
    if (c->maximum_packet_size)
        property_u32(pen, ID_MAXIMUM_PACKET_SIZE, c->maximum_packet_size);
    if (c->topic_alias_maximum)
        property_u16(pen, ID_TOPIC_ALIAS_MAXIMUM, c->topic_alias_maximum);
    if (c->user_property_name.n) {
        property_text(pen, ID_USER_PROPERTY, c->user_property_name);
        write_text(pen, c->user_property_value);
    }
}

static void connect_will(struct pen *pen, const struct connect_out *c)
{
    if (c->protocol == MQTT_5) {
        write_varint(pen, c->will_delay ? 5 : 0);
        if (c->will_delay)
            property_u32(pen, ID_WILL_DELAY, c->will_delay);
    }
    write_text(pen, c->will_topic);
    write_text(pen, c->will_payload);
}

static uint8_t connect_flags(const struct connect_out *c)
{
    uint32_t flags = 0;

    if (c->clean_start)
        flags |= CONNECT_CLEAN_START;
    if (c->has_will)
        flags |= CONNECT_WILL | (uint32_t)c->will_qos << CONNECT_WILL_QOS_SHIFT;
    if (c->has_will && c->will_retain)
        flags |= CONNECT_WILL_RETAIN;
    if (c->username.p)
        flags |= CONNECT_USERNAME;
    if (c->password.p)
        flags |= CONNECT_PASSWORD;
    return (uint8_t)flags;
}

static void connect_body(struct pen *pen, const struct connect_out *c)
{
    struct pen count = {0};

    write_text(pen, c->protocol == MQTT_31 ? BYTES_LIT("MQIsdp") : BYTES_LIT("MQTT"));
    write_u8(pen, (uint8_t)c->protocol);
    write_u8(pen, connect_flags(c));
    write_u16(pen, c->keep_alive);
    if (c->protocol == MQTT_5) {
        connect_props(&count, c);
        write_varint(pen, count.n);
        connect_props(pen, c);
    }
    write_text(pen, c->client_id);
    if (c->has_will)
        connect_will(pen, c);
    if (c->username.p)
        write_text(pen, c->username);
    if (c->password.p)
        write_text(pen, c->password);
}

uint32_t connect_size(const struct connect_out *c)
{
    struct pen count = {0};

    connect_body(&count, c);
    return whole_size(count.n);
}

uint8_t *connect_put(uint8_t *to, const struct connect_out *c)
{
    struct pen count = {0}, pen = pen_at(to);

    connect_body(&count, c);
    write_u8(&pen, FIRST(PACKET_CONNECT, 0));
    write_varint(&pen, count.n);
    connect_body(&pen, c);
    return pen.to;
}

/* ---- CONNACK ---- */

static void connack_props(struct pen *pen, const struct connack_out *c)
{
    if (c->has_session_expiry)
        property_u32(pen, ID_SESSION_EXPIRY, c->session_expiry);
    if (c->receive_maximum)
        property_u16(pen, ID_RECEIVE_MAXIMUM, c->receive_maximum);
    if (c->maximum_qos < 2)
        property_u8(pen, ID_MAXIMUM_QOS, c->maximum_qos);
    if (!c->retain_available)
        property_u8(pen, ID_RETAIN_AVAILABLE, 0);
    if (c->maximum_packet_size)
        property_u32(pen, ID_MAXIMUM_PACKET_SIZE, c->maximum_packet_size);
    property_text(pen, ID_ASSIGNED_CLIENT_ID, c->assigned_client_id);
    if (c->topic_alias_maximum)
        property_u16(pen, ID_TOPIC_ALIAS_MAXIMUM, c->topic_alias_maximum);
    property_text(pen, ID_REASON_STRING, c->reason_string);
    if (c->has_server_keep_alive)
        property_u16(pen, ID_SERVER_KEEP_ALIVE, c->server_keep_alive);
    property_text(pen, ID_RESPONSE_INFO, c->response_info);
    property_text(pen, ID_AUTH_METHOD, c->auth_method);
    property_text(pen, ID_AUTH_DATA, c->auth_data);
}

static void connack_body(struct pen *pen, enum protocol protocol, const struct connack_out *c)
{
    /* The flag goes with success alone [MQTT-3.2.2-6], and MQTT 3.1 does not have it. */
    bool session_present = c->session_present && c->reason == 0 && protocol != MQTT_31;
    struct pen count = {0};

    write_u8(pen, session_present);
    write_u8(pen, c->reason);
    if (protocol != MQTT_5)
        return;
    connack_props(&count, c);
    write_varint(pen, count.n);
    connack_props(pen, c);
}

uint32_t connack_size(enum protocol protocol, const struct connack_out *c)
{
    struct pen count = {0};

    connack_body(&count, protocol, c);
    return whole_size(count.n);
}

uint8_t *connack_put(uint8_t *to, enum protocol protocol, const struct connack_out *c)
{
    struct pen count = {0}, pen = pen_at(to);

    connack_body(&count, protocol, c);
    write_u8(&pen, FIRST(PACKET_CONNACK, 0));
    write_varint(&pen, count.n);
    connack_body(&pen, protocol, c);
    return pen.to;
}

/* ---- PUBLISH: the packet that is written most, so without a pen ---- */

/* Bytes of the properties of a PUBLISH in MQTT 5, without their length. */
static uint64_t publish_props_size(const struct publish_out *p)
{
    uint64_t n = p->props.n;

    if (p->topic_alias)
        n += 3;
    if (p->has_expiry)
        n += 5;
    for (uint32_t i = 0; i < p->subscription_id_count; i++)
        n += 1 + varint_size(p->subscription_ids[i]);
    return n;
}

/* Remaining length of a PUBLISH; more than REMAINING_LENGTH_MAX if it cannot be sent. */
static uint64_t publish_body_size(enum protocol protocol, const struct publish_out *p,
                                  uint64_t props_size)
{
    uint64_t n = 2 + (uint64_t)p->topic.n + (p->qos ? 2 : 0) + p->payload.n;

    if (props_size > REMAINING_LENGTH_MAX)
        return props_size;
    if (protocol == MQTT_5)
        n += block_size((uint32_t)props_size);
    return n;
}

uint32_t publish_size(enum protocol protocol, const struct publish_out *p, uint32_t *header)
{
    uint64_t props_size = protocol == MQTT_5 ? publish_props_size(p) : 0;
    uint64_t body = publish_body_size(protocol, p, props_size);
    uint32_t size;

    *header = 0;
    if (body > REMAINING_LENGTH_MAX || p->topic.n > UINT16_MAX)
        return 0;
    size = whole_size((uint32_t)body);
    *header = size - p->payload.n;
    return size;
}

static uint8_t *put_publish_props(uint8_t *to, const struct publish_out *p, uint32_t props_size)
{
    to = varint_put(to, props_size);
    if (p->topic_alias) {
        *to++ = ID_TOPIC_ALIAS;
        to = put_be16(to, p->topic_alias);
    }
    if (p->has_expiry) {
        *to++ = ID_MESSAGE_EXPIRY;
        to = put_be32(to, p->message_expiry);
    }
    for (uint32_t i = 0; i < p->subscription_id_count; i++) {
        *to++ = ID_SUBSCRIPTION_ID;
        to = varint_put(to, p->subscription_ids[i]);
    }
    return bytes_put(to, p->props);
}

uint8_t *publish_put_header(uint8_t *to, enum protocol protocol, const struct publish_out *p)
{
    uint64_t props_size = protocol == MQTT_5 ? publish_props_size(p) : 0;
    uint64_t body = publish_body_size(protocol, p, props_size);

    CHECK(body <= REMAINING_LENGTH_MAX); /* publish_size has said so */
    CHECK(p->qos <= 2);
    *to++ = FIRST(PACKET_PUBLISH, (p->dup << 3) | (p->qos << 1) | p->retain);
    to = varint_put(to, (uint32_t)body);
    to = put_be16(to, (uint16_t)p->topic.n);
    to = bytes_put(to, p->topic);
    if (p->qos)
        to = put_be16(to, p->packet_id);
    if (protocol == MQTT_5)
        to = put_publish_props(to, p, (uint32_t)props_size);
    return to;
}

/* ---- acknowledgements ---- */

/* Body of an acknowledgement. MQTT 5 lets the property length go when there are no properties, and
 * the code too when it is 0 [MQTT5 3.4.2.1] [MQTT5 3.4.2.2.1]. */
static uint32_t ack_body_size(enum protocol protocol, uint8_t reason, struct bytes reason_string)
{
    if (protocol != MQTT_5 || (reason == REASON_SUCCESS && reason_string.n == 0))
        return 2;
    if (reason_string.n == 0)
        return 3;
    return 3 + block_size(text_property_size(reason_string));
}

/* Reason string as the only property, after its length. */
static uint8_t *put_reason_string(uint8_t *to, struct bytes reason_string)
{
    struct pen pen = pen_at(to);

    write_varint(&pen, text_property_size(reason_string));
    property_text(&pen, ID_REASON_STRING, reason_string);
    return pen.to;
}

uint32_t ack_size(enum protocol protocol, uint8_t reason, struct bytes reason_string)
{
    return whole_size(ack_body_size(protocol, reason, reason_string));
}

uint8_t *ack_put(uint8_t *to, enum protocol protocol, enum packet_type type, uint16_t packet_id,
                 uint8_t reason, struct bytes reason_string)
{
    uint32_t body = ack_body_size(protocol, reason, reason_string);

    *to++ = FIRST(type, type == PACKET_PUBREL ? 2 : 0); /* [MQTT-3.6.1-1] */
    to = varint_put(to, body);
    to = put_be16(to, packet_id);
    if (body > 2)
        *to++ = reason;
    return body > 3 ? put_reason_string(to, reason_string) : to;
}

/* Body of a SUBACK or UNSUBACK. */
static uint32_t suback_body_size(enum protocol protocol, enum packet_type type, uint32_t count)
{
    if (protocol == MQTT_5)
        return 3 + count;
    return type == PACKET_SUBACK ? 2 + count : 2;
}

uint32_t suback_size(enum protocol protocol, enum packet_type type, uint32_t count)
{
    return whole_size(suback_body_size(protocol, type, count));
}

uint8_t *suback_put(uint8_t *to, enum protocol protocol, enum packet_type type, uint16_t packet_id,
                    const uint8_t *reasons, uint32_t count)
{
    *to++ = FIRST(type, 0);
    to = varint_put(to, suback_body_size(protocol, type, count));
    to = put_be16(to, packet_id);
    if (protocol == MQTT_5) {
        *to++ = 0; /* no properties */
        return bytes_put(to, bytes_of(reasons, count));
    }
    if (type == PACKET_UNSUBACK)
        return to;
    for (uint32_t i = 0; i < count; i++) /* v3: [MQTT-3.9.3-2] */
        *to++ = reasons[i] < REASON_UNSPECIFIED_ERROR ? reasons[i] : REASON_UNSPECIFIED_ERROR;
    return to;
}

/* ---- DISCONNECT, AUTH, PINGREQ, PINGRESP ---- */

static uint32_t disconnect_body_size(uint8_t reason, struct bytes reason_string)
{
    if (reason_string.n == 0)
        return reason == REASON_SUCCESS ? 0 : 1;
    return 1 + block_size(text_property_size(reason_string));
}

uint32_t disconnect_size(uint8_t reason, struct bytes reason_string)
{
    return whole_size(disconnect_body_size(reason, reason_string));
}

uint8_t *disconnect_put(uint8_t *to, uint8_t reason, struct bytes reason_string)
{
    uint32_t body = disconnect_body_size(reason, reason_string);

    *to++ = FIRST(PACKET_DISCONNECT, 0);
    to = varint_put(to, body);
    if (body > 0)
        *to++ = reason;
    return body > 1 ? put_reason_string(to, reason_string) : to;
}

static void auth_props(struct pen *pen, struct bytes method, struct bytes data)
{
    property_text(pen, ID_AUTH_METHOD, method);
    if (data.p) {
        write_u8(pen, ID_AUTH_DATA);
        write_text(pen, data);
    }
}

uint32_t auth_size(struct bytes method, struct bytes data)
{
    struct pen count = {0};

    auth_props(&count, method, data);
    return whole_size(1 + block_size(count.n));
}

uint8_t *auth_put(uint8_t *to, uint8_t reason, struct bytes method, struct bytes data)
{
    struct pen count = {0}, pen = pen_at(to);

    CHECK(method.n > 0); /* [MQTT5 3.15.2.2.2] */
    auth_props(&count, method, data);
    write_u8(&pen, FIRST(PACKET_AUTH, 0));
    write_varint(&pen, 1 + block_size(count.n));
    write_u8(&pen, reason);
    write_varint(&pen, count.n);
    auth_props(&pen, method, data);
    return pen.to;
}

uint8_t *pingresp_put(uint8_t *to)
{
    *to++ = FIRST(PACKET_PINGRESP, 0);
    *to++ = 0;
    return to;
}

uint8_t *pingreq_put(uint8_t *to)
{
    *to++ = FIRST(PACKET_PINGREQ, 0);
    *to++ = 0;
    return to;
}

/* ---- SUBSCRIBE, UNSUBSCRIBE ---- */

static uint8_t subscribe_options(enum protocol protocol, const struct filter_request *f)
{
    uint32_t options = f->qos;

    if (protocol != MQTT_5)
        return (uint8_t)options;
    if (f->no_local)
        options |= OPTION_NO_LOCAL;
    if (f->retain_as_published)
        options |= OPTION_RETAIN_AS_PUBLISHED;
    options |= (uint32_t)f->retain_handling << OPTION_RETAIN_HANDLING_SHIFT;
    return (uint8_t)options;
}

static void subscribe_body(struct pen *pen, enum protocol protocol, uint16_t packet_id,
                           const struct filter_request *f, uint32_t count, uint32_t subscription_id)
{
    write_u16(pen, packet_id);
    if (protocol == MQTT_5) {
        write_varint(pen, subscription_id ? 1 + varint_size(subscription_id) : 0);
        if (subscription_id) {
            write_u8(pen, ID_SUBSCRIPTION_ID);
            write_varint(pen, subscription_id);
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        write_text(pen, f[i].filter);
        write_u8(pen, subscribe_options(protocol, &f[i]));
    }
}

uint32_t subscribe_size(enum protocol protocol, const struct filter_request *f, uint32_t count,
                        uint32_t subscription_id)
{
    struct pen size = {0};

    subscribe_body(&size, protocol, 0, f, count, subscription_id);
    return whole_size(size.n);
}

uint8_t *subscribe_put(uint8_t *to, enum protocol protocol, uint16_t packet_id,
                       const struct filter_request *f, uint32_t count, uint32_t subscription_id)
{
    struct pen size = {0}, pen = pen_at(to);

    subscribe_body(&size, protocol, packet_id, f, count, subscription_id);
    write_u8(&pen, FIRST(PACKET_SUBSCRIBE, 2)); /* [MQTT-3.8.1-1] */
    write_varint(&pen, size.n);
    subscribe_body(&pen, protocol, packet_id, f, count, subscription_id);
    return pen.to;
}

static void unsubscribe_body(struct pen *pen, enum protocol protocol, uint16_t packet_id,
                             const struct bytes *filters, uint32_t count)
{
    write_u16(pen, packet_id);
    if (protocol == MQTT_5)
        write_varint(pen, 0);
    for (uint32_t i = 0; i < count; i++)
        write_text(pen, filters[i]);
}

uint32_t unsubscribe_size(enum protocol protocol, const struct bytes *filters, uint32_t count)
{
    struct pen size = {0};

    unsubscribe_body(&size, protocol, 0, filters, count);
    return whole_size(size.n);
}

uint8_t *unsubscribe_put(uint8_t *to, enum protocol protocol, uint16_t packet_id,
                         const struct bytes *filters, uint32_t count)
{
    struct pen size = {0}, pen = pen_at(to);

    unsubscribe_body(&size, protocol, packet_id, filters, count);
    write_u8(&pen, FIRST(PACKET_UNSUBSCRIBE, 2)); /* [MQTT-3.10.1-1] */
    write_varint(&pen, size.n);
    unsubscribe_body(&pen, protocol, packet_id, filters, count);
    return pen.to;
}
