/* core/mqtt/packet_props.c -- the properties of MQTT 5.
 *
 * One table says all there is to know of a property: what it looks like, where it may stand, and
 * where it may stand more than once. So decoding is one loop of constant work per property, however
 * many user properties there are (CVE-2021-41039), and walkers go over a block by the same table.
 */
#include "core/mqtt/packet_wire.h"

enum form {
    FORM_NONE, /* no such property */
    FORM_U8,
    FORM_U16,
    FORM_U32,
    FORM_VARINT,
    FORM_TEXT,
    FORM_BINARY,
    FORM_PAIR, /* a name and a value */
};
/* What the value must be, where its form does not say it. */
enum range { RANGE_ANY, RANGE_FLAG, RANGE_NOT_0, RANGE_TOPIC };

struct rule {
    uint8_t form, range;
    uint8_t prop;     /* enum prop */
    uint16_t offset;  /* of its field in struct props; FORM_PAIR is not stored */
    uint16_t in;      /* packets that may carry it */
    uint16_t many_in; /* packets that may carry it more than once */
};

#define ID_COUNT 0x2B

#define IN_ALL                                                                                     \
    (IN_WILL | IN(CONNECT) | IN(CONNACK) | IN(PUBLISH) | IN(PUBACK) | IN(PUBREC) | IN(PUBREL) |    \
     IN(PUBCOMP) | IN(SUBSCRIBE) | IN(SUBACK) | IN(UNSUBSCRIBE) | IN(UNSUBACK) | IN(DISCONNECT) |  \
     IN(AUTH))
#define IN_ANSWERS                                                                                 \
    (IN(CONNACK) | IN(PUBACK) | IN(PUBREC) | IN(PUBREL) | IN(PUBCOMP) | IN(SUBACK) |               \
     IN(UNSUBACK) | IN(DISCONNECT) | IN(AUTH))
#define IN_MESSAGE (IN(PUBLISH) | IN_WILL)
#define IN_BOTH_WAYS (IN(CONNECT) | IN(CONNACK))
#define IN_LOGIN (IN(CONNECT) | IN(CONNACK) | IN(AUTH))
#define IN_SUBSCRIBED (IN(PUBLISH) | IN(SUBSCRIBE))
#define IN_REFERRAL (IN(CONNACK) | IN(DISCONNECT))
#define IN_EXPIRY (IN(CONNECT) | IN(CONNACK) | IN(DISCONNECT))

#define ROW(form, range, NAME, field, in, many_in)                                                 \
    {                                                                                              \
        FORM_##form, RANGE_##range, PROP_##NAME, offsetof(struct props, field), in, many_in        \
    }

/* Table 2-4 of MQTT 5, by identifier: form, range, enum prop, field of struct props, in, many_in.
 * All identifiers are of one byte [MQTT5 2.2.2.2]. */
/* clang-format off */
static const struct rule rules[ID_COUNT] = {
[0x01] = ROW(U8,     FLAG,  PAYLOAD_FORMAT, payload_format, IN_MESSAGE, 0),
[0x02] = ROW(U32,    ANY,   MESSAGE_EXPIRY, message_expiry, IN_MESSAGE, 0),
[0x03] = ROW(TEXT,   ANY,   CONTENT_TYPE, content_type, IN_MESSAGE, 0),
[0x08] = ROW(TEXT,   TOPIC, RESPONSE_TOPIC, response_topic, IN_MESSAGE, 0),
[0x09] = ROW(BINARY, ANY,   CORRELATION_DATA, correlation_data, IN_MESSAGE, 0),
[0x0B] = ROW(VARINT, NOT_0, SUBSCRIPTION_ID, subscription_id, IN_SUBSCRIBED, IN(PUBLISH)),
[0x11] = ROW(U32,    ANY,   SESSION_EXPIRY, session_expiry, IN_EXPIRY, 0),
[0x12] = ROW(TEXT,   ANY,   ASSIGNED_CLIENT_ID, assigned_client_id, IN(CONNACK), 0),
[0x13] = ROW(U16,    ANY,   SERVER_KEEP_ALIVE, server_keep_alive, IN(CONNACK), 0),
[0x15] = ROW(TEXT,   ANY,   AUTH_METHOD, auth_method, IN_LOGIN, 0),
[0x16] = ROW(BINARY, ANY,   AUTH_DATA, auth_data, IN_LOGIN, 0),
[0x17] = ROW(U8,     FLAG,  REQUEST_PROBLEM_INFO, request_problem_info, IN(CONNECT), 0),
[0x18] = ROW(U32,    ANY,   WILL_DELAY, will_delay, IN_WILL, 0),
[0x19] = ROW(U8,     FLAG,  REQUEST_RESPONSE_INFO, request_response_info, IN(CONNECT), 0),
[0x1A] = ROW(TEXT,   ANY,   RESPONSE_INFO, response_info, IN(CONNACK), 0),
[0x1C] = ROW(TEXT,   ANY,   SERVER_REFERENCE, server_reference, IN_REFERRAL, 0),
[0x1F] = ROW(TEXT,   ANY,   REASON_STRING, reason_string, IN_ANSWERS, 0),
[0x21] = ROW(U16,    NOT_0, RECEIVE_MAXIMUM, receive_maximum, IN_BOTH_WAYS, 0),
[0x22] = ROW(U16,    ANY,   TOPIC_ALIAS_MAXIMUM, topic_alias_maximum, IN_BOTH_WAYS, 0),
[0x23] = ROW(U16,    NOT_0, TOPIC_ALIAS, topic_alias, IN(PUBLISH), 0),
[0x24] = ROW(U8,     FLAG,  MAXIMUM_QOS, maximum_qos, IN(CONNACK), 0),
[0x25] = ROW(U8,     FLAG,  RETAIN_AVAILABLE, retain_available, IN(CONNACK), 0),
[0x26] = ROW(PAIR,   ANY,   USER_PROPERTY, all, IN_ALL, IN_ALL),
[0x27] = ROW(U32,    NOT_0, MAXIMUM_PACKET_SIZE, maximum_packet_size, IN_BOTH_WAYS, 0),
[0x28] = ROW(U8,     FLAG,  WILDCARD_AVAILABLE, wildcard_available, IN(CONNACK), 0),
[0x29] = ROW(U8,     FLAG,  SUBSCRIPTION_ID_AVAILABLE, subscription_id_available, IN(CONNACK), 0),
[0x2A] = ROW(U8,     FLAG,  SHARED_AVAILABLE, shared_available, IN(CONNACK), 0),
};
/* clang-format on */

/* The set of properties that go with a message to its subscribers [MQTT-3.3.2-4]
 * [MQTT-3.3.2-15..18, 20]. */
#define TRAVELLERS                                                                                 \
    (PROP_BIT(PROP_PAYLOAD_FORMAT) | PROP_BIT(PROP_CONTENT_TYPE) | PROP_BIT(PROP_RESPONSE_TOPIC) | \
     PROP_BIT(PROP_CORRELATION_DATA) | PROP_BIT(PROP_USER_PROPERTY))

/* A value of any form; which member holds it follows from the form. */
struct value {
    uint32_t number;
    struct bytes text, text2;
};

static bool take_varint(struct cursor *c, uint32_t *v)
{
    uint32_t size;

    if (varint_get(c->p, bytes_left(c), v, &size) != OK)
        return false;
    c->p += size;
    return true;
}

/* Takes a value; false if it is cut off or not of that form. Text is not looked into. */
static inline bool take_value(struct cursor *c, uint8_t form, struct value *v)
{
    uint8_t u8 = 0;
    uint16_t u16 = 0;
    bool is_whole;

    switch ((enum form)form) {
    case FORM_U8:
        is_whole = take_u8(c, &u8);
        v->number = u8;
        return is_whole;
    case FORM_U16:
        is_whole = take_u16(c, &u16);
        v->number = u16;
        return is_whole;
    case FORM_U32:
        return take_u32(c, &v->number);
    case FORM_VARINT:
        return take_varint(c, &v->number);
    case FORM_TEXT:
    case FORM_BINARY:
        return take_binary(c, &v->text);
    case FORM_PAIR:
        return take_binary(c, &v->text) && take_binary(c, &v->text2);
    case FORM_NONE:
    default:
        return false;
    }
}

/* Judges a value of a form that is a number, and stores it unless it is `repeated`. */
static inline enum reason keep_number(const struct rule *rule, uint32_t number, bool repeated,
                                      struct props *out)
{
    uint8_t *field = (uint8_t *)out + rule->offset;
    uint8_t u8 = (uint8_t)number;
    uint16_t u16 = (uint16_t)number;

    if (rule->range == RANGE_FLAG && number > 1)
        return REASON_PROTOCOL_ERROR;
    if (rule->range == RANGE_NOT_0 && number == 0)
        return REASON_PROTOCOL_ERROR;
    if (repeated)
        return REASON_SUCCESS;
    if (rule->form == FORM_U8) {
        memcpy(field, &u8, sizeof(u8));
    } else if (rule->form == FORM_U16) {
        memcpy(field, &u16, sizeof(u16));
    } else {
        memcpy(field, &number, sizeof(number));
    }
    return REASON_SUCCESS;
}

/* The same for text and binary data. User properties stay in the block. */
static inline enum reason keep_text(const struct rule *rule, const struct value *v,
                                    struct props *out)
{
    if (rule->form != FORM_BINARY && !utf8_valid(v->text))
        return REASON_MALFORMED_PACKET; /* [MQTT-1.5.4-1] */
    if (rule->form == FORM_PAIR)
        return utf8_valid(v->text2) ? REASON_SUCCESS : REASON_MALFORMED_PACKET; /* [MQTT-1.5.7-1] */
    if (rule->range == RANGE_TOPIC && !topic_name_valid(v->text, UINT32_MAX))
        return REASON_PROTOCOL_ERROR; /* [MQTT-3.3.2-14] */
    memcpy((uint8_t *)out + rule->offset, &v->text, sizeof(v->text));
    return REASON_SUCCESS;
}

/* The rule of the identifier at the front, which is taken; NULL when there is none. */
static inline const struct rule *take_rule(struct cursor *c)
{
    uint8_t id = *c->p++;

    return id < ID_COUNT && rules[id].form != FORM_NONE ? &rules[id] : NULL;
}

static enum reason decode_property(struct cursor *block, uint32_t in, struct props *out)
{
    const struct rule *rule = take_rule(block);
    struct value v = {0};
    bool is_repeated;

    if (!rule || !(rule->in & in))
        return REASON_MALFORMED_PACKET; /* [MQTT5 2.2.2.2] */
    if (!take_value(block, rule->form, &v))
        return REASON_MALFORMED_PACKET;
    is_repeated = out->present & PROP_BIT(rule->prop);
    if (is_repeated && !(rule->many_in & in))
        return REASON_PROTOCOL_ERROR;
    out->present |= PROP_BIT(rule->prop);
    if (rule->form >= FORM_TEXT)
        return keep_text(rule, &v, out);
    return keep_number(rule, v.number, is_repeated, out);
}

enum reason props_decode(struct cursor *c, uint32_t in, struct props *out)
{
    struct cursor block;
    uint32_t n, size;

#if defined(CAUSEWAY_SANITIZE) || defined(CAUSEWAY_DEBUG)
    memset(out, 0xA5, sizeof(*out)); /* who reads a field without its bit shall notice */
#endif
    props_none(out);
    if (varint_get(c->p, bytes_left(c), &n, &size) != OK || n > bytes_left(c) - size)
        return REASON_MALFORMED_PACKET;
    block = (struct cursor){c->p + size, c->p + size + n};
    c->p = block.end;
    if (n == 0)
        return REASON_SUCCESS;
    out->all = bytes_of(block.p, n);
    while (block.p < block.end) {
        enum reason why = decode_property(&block, in, out);

        if (why != REASON_SUCCESS)
            return why;
    }
    /* Authentication Data without a method [MQTT5 3.1.2.11.10]. */
    if ((out->present & PROP_BIT(PROP_AUTH_DATA)) && !(out->present & PROP_BIT(PROP_AUTH_METHOD)))
        return REASON_PROTOCOL_ERROR;
    return REASON_SUCCESS;
}

/* Takes the next property with the identifier `id` off a block; false when there is none. */
static bool next_of(struct bytes *rest, uint8_t id, struct value *v)
{
    struct cursor c = {rest->p, rest->p};

    if (rest->n)
        c.end += rest->n;
    while (c.p < c.end) {
        const struct rule *rule = take_rule(&c);

        if (!rule || !take_value(&c, rule->form, v))
            break; /* cannot be in a checked block */
        if (rule == &rules[id]) {
            *rest = bytes_of(c.p, bytes_left(&c));
            return true;
        }
    }
    *rest = (struct bytes){0};
    return false;
}

bool props_next_user(struct bytes *rest, struct bytes *name, struct bytes *value)
{
    struct value v;

    if (!next_of(rest, ID_USER_PROPERTY, &v))
        return false;
    *name = v.text;
    *value = v.text2;
    return true;
}

bool props_next_subscription_id(struct bytes *rest, uint32_t *id)
{
    struct value v;

    if (!next_of(rest, ID_SUBSCRIPTION_ID, &v))
        return false;
    *id = v.number;
    return true;
}

uint32_t props_forward(const struct props *props, uint8_t *to)
{
    struct cursor c = {props->all.p, props->all.p};
    uint8_t *start = to;
    struct value v;

    if (props->all.n)
        c.end += props->all.n;
    while (c.p < c.end) {
        const uint8_t *from = c.p;
        const struct rule *rule = take_rule(&c);

        if (!rule || !take_value(&c, rule->form, &v))
            break; /* cannot be in a checked block */
        if (PROP_BIT(rule->prop) & TRAVELLERS)
            to = bytes_put(to, bytes_of(from, (size_t)(c.p - from)));
    }
    return (uint32_t)(to - start);
}

bool props_forward_view(const struct props *props, struct bytes *view)
{
    if (props->present & ~TRAVELLERS)
        return false;
    *view = props->all;
    return true;
}

bool props_travel(struct bytes block)
{
    struct cursor c = {block.p, block.p};
    struct props props;

    if (block.n)
        c.end += block.n;
    props_none(&props);
    while (c.p < c.end)
        if (decode_property(&c, IN(PUBLISH), &props) != REASON_SUCCESS)
            return false;
    return (props.present & ~TRAVELLERS) == 0;
}
