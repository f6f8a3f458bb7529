/* core/mqtt/packet_wire.h -- what decoder and encoder share: bits on the wire, a cursor.
 *
 * Inside core/mqtt only. A cursor never passes its end: each function either takes a whole item or
 * takes nothing and answers false, so a packet that is cut off anywhere is malformed and never
 * read beyond (CVE-2024-31040 and its kind).
 */
#ifndef CORE_MQTT_PACKET_WIRE_H
#define CORE_MQTT_PACKET_WIRE_H

#include "core/mqtt/packet.h"
#include "core/mqtt/topic.h"

/* Connect Flags [MQTT5 3.1.2.3], and mosquitto's bit in the protocol level. */
#define CONNECT_RESERVED 0x01u
#define CONNECT_CLEAN_START 0x02u
#define CONNECT_WILL 0x04u
#define CONNECT_WILL_QOS_SHIFT 3
#define CONNECT_WILL_RETAIN 0x20u
#define CONNECT_PASSWORD 0x40u
#define CONNECT_USERNAME 0x80u
#define LEVEL_BRIDGE 0x80u

/* Subscription Options [MQTT5 3.8.3.1]. */
#define OPTION_QOS 0x03u
#define OPTION_NO_LOCAL 0x04u
#define OPTION_RETAIN_AS_PUBLISHED 0x08u
#define OPTION_RETAIN_HANDLING_SHIFT 4
#define OPTION_RESERVED 0xC0u

/* Identifiers of properties that we write [MQTT5 2.2.2.2]; packet_props.c has the whole table. */
enum property_id {
    ID_MESSAGE_EXPIRY = 0x02,
    ID_SUBSCRIPTION_ID = 0x0B,
    ID_SESSION_EXPIRY = 0x11,
    ID_ASSIGNED_CLIENT_ID = 0x12,
    ID_SERVER_KEEP_ALIVE = 0x13,
    ID_AUTH_METHOD = 0x15,
    ID_AUTH_DATA = 0x16,
    ID_WILL_DELAY = 0x18,
    ID_RESPONSE_INFO = 0x1A,
    ID_REASON_STRING = 0x1F,
    ID_RECEIVE_MAXIMUM = 0x21,
    ID_TOPIC_ALIAS_MAXIMUM = 0x22,
    ID_TOPIC_ALIAS = 0x23,
    ID_MAXIMUM_QOS = 0x24,
    ID_RETAIN_AVAILABLE = 0x25,
    ID_USER_PROPERTY = 0x26,
    ID_MAXIMUM_PACKET_SIZE = 0x27,
};

/* Sets of packet types: one bit per enum packet_type, and the free bit 0 for the will of a CONNECT,
 * which has properties of its own. */
#define IN(type) (1u << PACKET_##type)
#define IN_WILL 1u

struct cursor {
    const uint8_t *p, *end;
};

/* Bytes between the cursor and its end. */
static inline uint32_t bytes_left(const struct cursor *c)
{
    return (uint32_t)(c->end - c->p);
}

/* A number of one byte. */
static inline bool take_u8(struct cursor *c, uint8_t *v)
{
    if (c->p == c->end)
        return false;
    *v = *c->p++;
    return true;
}

/* A big-endian number of two bytes [MQTT5 1.5.2]. */
static inline bool take_u16(struct cursor *c, uint16_t *v)
{
    if (bytes_left(c) < 2)
        return false;
    *v = get_be16(c->p);
    c->p += 2;
    return true;
}

/* A big-endian number of four bytes [MQTT5 1.5.3]. */
static inline bool take_u32(struct cursor *c, uint32_t *v)
{
    if (bytes_left(c) < 4)
        return false;
    *v = get_be32(c->p);
    c->p += 4;
    return true;
}

/* Binary data: two bytes of length, then as many bytes. */
static inline bool take_binary(struct cursor *c, struct bytes *v)
{
    uint32_t n;

    if (bytes_left(c) < 2)
        return false;
    n = get_be16(c->p);
    if (bytes_left(c) - 2 < n)
        return false;
    *v = bytes_of(c->p + 2, n);
    c->p += 2 + n;
    return true;
}

/* A UTF-8 encoded string [MQTT-1.5.4-1] [MQTT-1.5.4-2]. */
static inline bool take_text(struct cursor *c, struct bytes *v)
{
    struct cursor start = *c;

    if (take_binary(c, v) && utf8_valid(*v))
        return true;
    *c = start;
    return false;
}

/* Takes a property length and the block behind it, for the packet type `in` (one bit). Says
 * REASON_SUCCESS or what is wrong. */
enum reason props_decode(struct cursor *c, uint32_t in, struct props *out);

/* No properties at all: what a packet of MQTT 3 has. */
static inline void props_none(struct props *out)
{
    out->present = 0;
    out->all = (struct bytes){0};
}

#endif
