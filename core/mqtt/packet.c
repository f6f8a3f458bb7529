/* core/mqtt/packet.c -- bytes become a struct packet.
 *
 * One function per packet type goes over the body once, front to back, with a cursor that cannot
 * leave it. What it answers is REASON_SUCCESS or the reason the specification names for the first
 * fault met. Whatever is left over at the end is a fault too. Nothing is allocated, so nothing can
 * be lost on the way out (CVE-2017-7654, CVE-2021-34431, CVE-2023-3592).
 *
 * Statements are named as in MQTT 5; those of MQTT 3.1.1 have "v3:" before them. MQTT 3.1 knows no
 * numbers: its sections are named.
 */
#include "core/mqtt/packet.h"

#include "core/mqtt/packet_wire.h"

#define REASON_CODES 256
#define ACKS (IN(PUBACK) | IN(PUBREC))
#define RELS (IN(PUBREL) | IN(PUBCOMP))

/* Which packets may carry a reason code, by code [MQTT5 2.4, and the tables of 3.x.2.1]. */
static const uint16_t reason_in[REASON_CODES] = {
    [0x00] = IN(CONNACK) | ACKS | RELS | IN(SUBACK) | IN(UNSUBACK) | IN(DISCONNECT) | IN(AUTH),
    [0x01] = IN(SUBACK),
    [0x02] = IN(SUBACK),
    [0x04] = IN(DISCONNECT),
    [0x10] = ACKS,
    [0x11] = IN(UNSUBACK),
    [0x18] = IN(AUTH),
    [0x19] = IN(AUTH),
    [0x80] = IN(CONNACK) | ACKS | IN(SUBACK) | IN(UNSUBACK) | IN(DISCONNECT),
    [0x81] = IN(CONNACK) | IN(DISCONNECT),
    [0x82] = IN(CONNACK) | IN(DISCONNECT),
    [0x83] = IN(CONNACK) | ACKS | IN(SUBACK) | IN(UNSUBACK) | IN(DISCONNECT),
    [0x84] = IN(CONNACK),
    [0x85] = IN(CONNACK),
    [0x86] = IN(CONNACK),
    [0x87] = IN(CONNACK) | ACKS | IN(SUBACK) | IN(UNSUBACK) | IN(DISCONNECT),
    [0x88] = IN(CONNACK),
    [0x89] = IN(CONNACK) | IN(DISCONNECT),
    [0x8A] = IN(CONNACK),
    [0x8B] = IN(DISCONNECT),
    [0x8C] = IN(CONNACK) | IN(DISCONNECT),
    [0x8D] = IN(DISCONNECT),
    [0x8E] = IN(DISCONNECT),
    [0x8F] = IN(SUBACK) | IN(UNSUBACK) | IN(DISCONNECT),
    [0x90] = IN(CONNACK) | ACKS | IN(DISCONNECT),
    [0x91] = ACKS | IN(SUBACK) | IN(UNSUBACK),
    [0x92] = RELS,
    [0x93] = IN(DISCONNECT),
    [0x94] = IN(DISCONNECT),
    [0x95] = IN(CONNACK) | IN(DISCONNECT),
    [0x96] = IN(DISCONNECT),
    [0x97] = IN(CONNACK) | ACKS | IN(SUBACK) | IN(DISCONNECT),
    [0x98] = IN(DISCONNECT),
    [0x99] = IN(CONNACK) | ACKS | IN(DISCONNECT),
    [0x9A] = IN(CONNACK) | IN(DISCONNECT),
    [0x9B] = IN(CONNACK) | IN(DISCONNECT),
    [0x9C] = IN(CONNACK) | IN(DISCONNECT),
    [0x9D] = IN(CONNACK) | IN(DISCONNECT),
    [0x9E] = IN(SUBACK) | IN(DISCONNECT),
    [0x9F] = IN(CONNACK) | IN(DISCONNECT),
    [0xA0] = IN(DISCONNECT),
    [0xA1] = IN(SUBACK) | IN(DISCONNECT),
    [0xA2] = IN(SUBACK) | IN(DISCONNECT),
};

static bool reason_allowed(uint8_t reason, uint32_t in)
{
    return reason_in[reason] & in;
}

/* Takes the properties of a packet of `type`; MQTT 3 has none. */
static inline enum reason take_props(struct cursor *c, enum protocol protocol,
                                     enum packet_type type, struct props *out)
{
    if (protocol == MQTT_5)
        return props_decode(c, 1u << type, out);
    props_none(out);
    return REASON_SUCCESS;
}

static enum reason at_end(const struct cursor *c)
{
    return c->p == c->end ? REASON_SUCCESS : REASON_MALFORMED_PACKET;
}

static enum reason take_packet_id(struct cursor *c, uint16_t *id)
{
    if (!take_u16(c, id))
        return REASON_MALFORMED_PACKET;
    return *id ? REASON_SUCCESS : REASON_PROTOCOL_ERROR; /* [MQTT-2.2.1-3], v3: [MQTT-2.3.1-1] */
}

/* What is wrong with a topic name for which topic_name_valid said no. */
static enum reason judge_topic_name(struct bytes topic)
{
    if (!utf8_valid(topic))
        return REASON_MALFORMED_PACKET;
    return REASON_TOPIC_NAME_INVALID; /* empty [MQTT-4.7.3-1] or a wildcard [MQTT-3.3.2-2] */
}

/* ---- CONNECT ---- */

/* Protocol name and level. out->protocol becomes the version of the answer, as far as one can be
 * given: a client that asks for a level we do not know is told so in the form nearest to it. */
static enum reason decode_version(struct cursor *c, struct packet_connect *out)
{
    struct bytes name;
    uint8_t level;

    out->is_bridge = false;
    if (!take_text(c, &name))
        return REASON_MALFORMED_PACKET;
    if (!bytes_eq(name, BYTES_LIT("MQTT")) && !bytes_eq(name, BYTES_LIT("MQIsdp")))
        return REASON_MALFORMED_PACKET; /* [MQTT-3.1.2-1]: not MQTT, so it gets no answer */
    if (!take_u8(c, &level))
        return REASON_MALFORMED_PACKET;
    if (name.n == 6) {
        out->protocol = MQTT_31;
    } else if (level >= MQTT_5 && !(level & LEVEL_BRIDGE)) {
        out->protocol = MQTT_5;
    } else {
        out->protocol = MQTT_311;
    }
    out->is_bridge = out->protocol != MQTT_5 && (level & LEVEL_BRIDGE);
    if (out->is_bridge)
        level = (uint8_t)(level & ~LEVEL_BRIDGE);
    if (level != (uint8_t)out->protocol)
        return REASON_UNSUPPORTED_PROTOCOL_VERSION; /* [MQTT-3.1.2-2] */
    return REASON_SUCCESS;
}

static enum reason decode_connect_flags(uint8_t flags, struct packet_connect *out)
{
    /* MQTT 3.1 calls bit 0 unused, and the will's bits without a will too. */
    bool is_strict = out->protocol != MQTT_31;

    if (is_strict && (flags & CONNECT_RESERVED))
        return REASON_MALFORMED_PACKET; /* [MQTT-3.1.2-3] */
    out->clean_start = flags & CONNECT_CLEAN_START;
    out->has_will = flags & CONNECT_WILL;
    out->will_qos = (flags >> CONNECT_WILL_QOS_SHIFT) & 3;
    out->will_retain = flags & CONNECT_WILL_RETAIN;
    out->has_username = flags & CONNECT_USERNAME;
    out->has_password = flags & CONNECT_PASSWORD;
    if (!out->has_will) {
        if (is_strict && (out->will_qos || out->will_retain))
            return REASON_MALFORMED_PACKET; /* [MQTT-3.1.2-11] [MQTT-3.1.2-13] */
        out->will_qos = 0;
        out->will_retain = false;
    }
    if (out->will_qos == 3)
        return REASON_MALFORMED_PACKET; /* [MQTT-3.1.2-12], v3: [MQTT-3.1.2-14] */
    if (out->has_password && !out->has_username && out->protocol != MQTT_5)
        return REASON_MALFORMED_PACKET; /* v3: [MQTT-3.1.2-22] */
    return REASON_SUCCESS;
}

static enum reason decode_will(struct cursor *c, struct packet_connect *out)
{
    enum reason why = REASON_SUCCESS;

    props_none(&out->will_props);
    out->will_topic = out->will_payload = (struct bytes){0};
    if (!out->has_will)
        return REASON_SUCCESS;
    if (out->protocol == MQTT_5)
        why = props_decode(c, IN_WILL, &out->will_props);
    if (why != REASON_SUCCESS)
        return why;
    if (!take_binary(c, &out->will_topic) || !take_binary(c, &out->will_payload))
        return REASON_MALFORMED_PACKET;
    if (!topic_name_valid(out->will_topic, UINT32_MAX))
        return judge_topic_name(out->will_topic); /* [MQTT-3.1.3-11] */
    return REASON_SUCCESS;
}

/* User name and password. In MQTT 3.1 the remaining length takes precedence over the flags: a
 * packet that ends before them is valid and has none (MQTT 3.1, section 3.1, "User name"). */
static enum reason decode_credentials(struct cursor *c, struct packet_connect *out)
{
    out->username = out->password = (struct bytes){0};
    if (out->protocol == MQTT_31 && c->p == c->end)
        out->has_username = out->has_password = false;
    if (out->has_username && !take_text(c, &out->username))
        return REASON_MALFORMED_PACKET; /* [MQTT-3.1.3-12] */
    if (out->protocol == MQTT_31 && c->p == c->end)
        out->has_password = false;
    if (out->has_password && !take_binary(c, &out->password))
        return REASON_MALFORMED_PACKET;
    return at_end(c);
}

static enum reason decode_connect(struct cursor *c, struct packet_connect *out)
{
    enum reason why;
    uint8_t flags;

    out->protocol = PROTOCOL_UNKNOWN;
    why = decode_version(c, out);
    if (why != REASON_SUCCESS)
        return why;
    if (!take_u8(c, &flags) || !take_u16(c, &out->keep_alive))
        return REASON_MALFORMED_PACKET;
    why = decode_connect_flags(flags, out);
    if (why != REASON_SUCCESS)
        return why;
    why = take_props(c, out->protocol, PACKET_CONNECT, &out->props);
    if (why != REASON_SUCCESS)
        return why;
    if (!take_text(c, &out->client_id)) /* [MQTT-3.1.3-4] */
        return REASON_MALFORMED_PACKET;
    why = decode_will(c, out);
    return why != REASON_SUCCESS ? why : decode_credentials(c, out);
}

static enum reason decode_connack(struct cursor *c, enum protocol protocol,
                                  struct packet_connack *out)
{
    enum reason why;
    uint8_t flags;

    if (!take_u8(c, &flags) || !take_u8(c, &out->reason))
        return REASON_MALFORMED_PACKET;
    if (protocol == MQTT_31)
        flags = 0; /* reserved and not used there */
    if (flags > 1)
        return REASON_MALFORMED_PACKET; /* [MQTT-3.2.2-1] */
    out->session_present = flags;
    if (out->session_present && out->reason)
        return REASON_PROTOCOL_ERROR; /* [MQTT-3.2.2-6], v3: [MQTT-3.2.2-4] */
    if (protocol == MQTT_5 ? !reason_allowed(out->reason, IN(CONNACK)) : out->reason > 5)
        return REASON_PROTOCOL_ERROR; /* [MQTT-3.2.2-8] */
    why = take_props(c, protocol, PACKET_CONNACK, &out->props);
    return why != REASON_SUCCESS ? why : at_end(c);
}

/* ---- PUBLISH and its answers ---- */

static enum reason decode_publish(struct cursor *c, uint8_t flags, enum protocol protocol,
                                  struct packet_publish *out)
{
    enum reason why;

    out->retain = flags & 1;
    out->qos = (flags >> 1) & 3;
    out->dup = flags & 8;
    if (out->qos == 3)
        return REASON_MALFORMED_PACKET; /* [MQTT-3.3.1-4] */
    if (out->dup && out->qos == 0)
        return REASON_MALFORMED_PACKET; /* [MQTT-3.3.1-2] */
    if (!take_binary(c, &out->topic))
        return REASON_MALFORMED_PACKET;
    if (out->topic.n == 0 && protocol != MQTT_5)
        return REASON_MALFORMED_PACKET; /* [MQTT-4.7.3-1] (CVE-2021-34432) */
    if (out->topic.n && !topic_name_valid(out->topic, UINT32_MAX))
        return judge_topic_name(out->topic); /* [MQTT-3.3.2-1] [MQTT-3.3.2-2] */

    out->packet_id = 0; /* [MQTT-2.2.1-2] */
    if (out->qos) {
        why = take_packet_id(c, &out->packet_id);
        if (why != REASON_SUCCESS)
            return why;
    }
    why = take_props(c, protocol, PACKET_PUBLISH, &out->props);
    if (why != REASON_SUCCESS)
        return why;
    if (out->topic.n == 0 && !(out->props.present & PROP_BIT(PROP_TOPIC_ALIAS)))
        return REASON_PROTOCOL_ERROR; /* [MQTT5 3.3.2.1] */
    out->payload = bytes_of(c->p, bytes_left(c));
    return REASON_SUCCESS;
}

/* Reason code and properties at the end of a packet, where MQTT 5 lets both be left out, or the
 * properties alone. */
static enum reason decode_ending(struct cursor *c, enum protocol protocol, enum packet_type type,
                                 uint8_t *reason, struct props *props)
{
    enum reason why;

    *reason = REASON_SUCCESS;
    props_none(props);
    if (protocol != MQTT_5 || c->p == c->end)
        return at_end(c);
    *reason = *c->p++;
    if (!reason_allowed(*reason, 1u << type))
        return REASON_PROTOCOL_ERROR; /* [MQTT-3.4.2-1] and its like for each type */
    if (c->p == c->end)
        return REASON_SUCCESS;
    why = props_decode(c, 1u << type, props);
    return why != REASON_SUCCESS ? why : at_end(c);
}

static enum reason decode_ack(struct cursor *c, enum protocol protocol, enum packet_type type,
                              struct packet_ack *out)
{
    enum reason why = take_packet_id(c, &out->packet_id);

    return why != REASON_SUCCESS ? why
                                 : decode_ending(c, protocol, type, &out->reason, &out->props);
}

/* DISCONNECT and AUTH. */
static enum reason decode_disconnect(struct cursor *c, enum protocol protocol,
                                     enum packet_type type, struct packet_disconnect *out)
{
    bool is_empty = c->p == c->end;
    enum reason why;

    if (type == PACKET_AUTH && protocol != MQTT_5)
        return REASON_MALFORMED_PACKET; /* v3: type 15 is forbidden [MQTT311 2.2.1] */
    why = decode_ending(c, protocol, type, &out->reason, &out->props);
    if (why != REASON_SUCCESS)
        return why;
    if (type == PACKET_AUTH && !is_empty && !(out->props.present & PROP_BIT(PROP_AUTH_METHOD)))
        return REASON_PROTOCOL_ERROR; /* [MQTT5 3.15.2.2.2] */
    return REASON_SUCCESS;
}

/* ---- SUBSCRIBE, UNSUBSCRIBE and their answers ---- */

static enum reason judge_options(uint8_t options, enum protocol protocol, struct bytes filter)
{
    struct bytes group, rest;
    bool is_shared;

    if (protocol == MQTT_31)
        options &= OPTION_QOS; /* the upper six bits are unused there */
    if (protocol != MQTT_5)    /* v3: [MQTT-3-8.3-4] */
        return options <= 2 ? REASON_SUCCESS : REASON_MALFORMED_PACKET;
    if (options & OPTION_RESERVED)
        return REASON_MALFORMED_PACKET; /* [MQTT-3.8.3-5] */
    if ((options & OPTION_QOS) == 3 || (options >> OPTION_RETAIN_HANDLING_SHIFT) == 3)
        return REASON_PROTOCOL_ERROR; /* [MQTT5 3.8.3.1] */
    if ((options & OPTION_NO_LOCAL) && topic_split_share(filter, &is_shared, &group, &rest) == OK &&
        is_shared)
        return REASON_PROTOCOL_ERROR; /* [MQTT-3.8.3-4] */
    return REASON_SUCCESS;
}

/* Filters of a SUBSCRIBE or UNSUBSCRIBE: checks the whole list and counts it. */
static enum reason decode_list(struct cursor *c, enum protocol protocol, enum packet_type type,
                               struct packet_subscribe *out)
{
    out->filter_count = 0;
    out->list = bytes_of(c->p, bytes_left(c));
    while (c->p < c->end) {
        enum reason why = REASON_SUCCESS;
        struct bytes filter;
        uint8_t options;

        if (!take_text(c, &filter))
            return REASON_MALFORMED_PACKET; /* [MQTT-3.8.3-1] [MQTT-3.10.3-1] */
        if (type == PACKET_SUBSCRIBE) {
            if (!take_u8(c, &options))
                return REASON_MALFORMED_PACKET;
            why = judge_options(options, protocol, filter);
        }
        if (why != REASON_SUCCESS)
            return why;
        out->filter_count++;
    }
    /* At least one: [MQTT-3.8.3-2] [MQTT-3.10.3-2]. */
    return out->filter_count ? REASON_SUCCESS : REASON_PROTOCOL_ERROR;
}

static enum reason decode_subscribe(struct cursor *c, enum protocol protocol, enum packet_type type,
                                    struct packet_subscribe *out)
{
    enum reason why = take_packet_id(c, &out->packet_id);

    if (why == REASON_SUCCESS)
        why = take_props(c, protocol, type, &out->props);
    return why != REASON_SUCCESS ? why : decode_list(c, protocol, type, out);
}

/* SUBACK and UNSUBACK. An answer to nothing is refused here, so nobody reads a code that is not
 * there (CVE-2024-10525). */
static enum reason decode_suback(struct cursor *c, enum protocol protocol, enum packet_type type,
                                 struct packet_suback *out)
{
    enum reason why = take_packet_id(c, &out->packet_id);

    if (why == REASON_SUCCESS)
        why = take_props(c, protocol, type, &out->props);
    if (why != REASON_SUCCESS)
        return why;
    out->reasons = bytes_of(c->p, bytes_left(c));
    if (type == PACKET_UNSUBACK && protocol != MQTT_5)
        return at_end(c); /* no codes in MQTT 3 */
    if (out->reasons.n == 0)
        return REASON_PROTOCOL_ERROR;
    for (uint32_t i = 0; i < out->reasons.n; i++) {
        uint8_t reason = out->reasons.p[i];

        if (protocol == MQTT_5 ? !reason_allowed(reason, 1u << type)
                               : reason > 2 && reason != REASON_UNSPECIFIED_ERROR)
            return REASON_PROTOCOL_ERROR; /* [MQTT-3.9.3-2] */
    }
    return REASON_SUCCESS;
}

bool packet_next_filter(enum packet_type type, enum protocol protocol, struct bytes *rest,
                        struct filter_request *out)
{
    struct cursor c = {rest->p, rest->p};
    uint8_t options = 0;

    if (rest->n)
        c.end += rest->n;
    *out = (struct filter_request){0};
    if (!take_binary(&c, &out->filter))
        return false;
    if (type == PACKET_SUBSCRIBE && !take_u8(&c, &options))
        return false;
    out->qos = options & OPTION_QOS;
    if (protocol == MQTT_5) {
        out->no_local = options & OPTION_NO_LOCAL;
        out->retain_as_published = options & OPTION_RETAIN_AS_PUBLISHED;
        out->retain_handling = (options >> OPTION_RETAIN_HANDLING_SHIFT) & 3;
    }
    *rest = bytes_of(c.p, bytes_left(&c));
    return true;
}

/* ---- all of them ---- */

/* Whether the lower four bits of the fixed header are what the type wants [MQTT-2.1.3-1]; those of
 * PUBLISH are looked at in decode_publish. MQTT 3.1 sent the three types with QoS 1 again with DUP
 * set. */
static bool flags_allowed(enum packet_type type, uint8_t flags, enum protocol protocol)
{
    if (type == PACKET_PUBLISH)
        return true;
    if (!((IN(PUBREL) | IN(SUBSCRIBE) | IN(UNSUBSCRIBE)) & (1u << type)))
        return flags == 0;
    if (protocol == MQTT_31)
        flags &= 7;
    return flags == 2; /* [MQTT-3.6.1-1] [MQTT-3.8.1-1] [MQTT-3.10.1-1] */
}

static enum reason decode_body(struct cursor *c, uint8_t flags, enum protocol protocol,
                               struct packet *out)
{
    switch (out->type) {
    case PACKET_CONNECT:
        return decode_connect(c, &out->connect);
    case PACKET_CONNACK:
        return decode_connack(c, protocol, &out->connack);
    case PACKET_PUBLISH:
        return decode_publish(c, flags, protocol, &out->publish);
    case PACKET_PUBACK:
    case PACKET_PUBREC:
    case PACKET_PUBREL:
    case PACKET_PUBCOMP:
        return decode_ack(c, protocol, out->type, &out->ack);
    case PACKET_SUBSCRIBE:
    case PACKET_UNSUBSCRIBE:
        return decode_subscribe(c, protocol, out->type, &out->subscribe);
    case PACKET_SUBACK:
    case PACKET_UNSUBACK:
        return decode_suback(c, protocol, out->type, &out->suback);
    case PACKET_PINGREQ:
    case PACKET_PINGRESP:
        return at_end(c);
    case PACKET_DISCONNECT:
    case PACKET_AUTH:
        return decode_disconnect(c, protocol, out->type, &out->disconnect);
    default:
        return REASON_MALFORMED_PACKET; /* type 0 is forbidden [MQTT5 2.1.2] */
    }
}

enum err packet_decode(const struct frame *f, enum protocol protocol, struct packet *out,
                       enum reason *why)
{
    const uint8_t *p = f->body.n ? f->body.p : &f->first; /* an empty body may have no address */
    struct cursor c = {p, p + f->body.n};
    uint8_t flags = f->first & 0x0F;

    out->type = (enum packet_type)(f->first >> 4);
    if (out->type == PACKET_CONNECT)
        out->connect.protocol = PROTOCOL_UNKNOWN;
    *why = REASON_MALFORMED_PACKET;
    if (!flags_allowed(out->type, flags, protocol))
        return ERR_PEER;
    *why = decode_body(&c, flags, protocol, out);
    if (*why != REASON_SUCCESS)
        return ERR_PEER;
    if (out->type == PACKET_CONNECT)
        protocol = out->connect.protocol;
    if (protocol == MQTT_5 && f->header_size > 1 + varint_size(f->body.n)) {
        *why = REASON_MALFORMED_PACKET; /* the remaining length, too [MQTT-1.5.5-1] */
        return ERR_PEER;
    }
    return OK;
}
