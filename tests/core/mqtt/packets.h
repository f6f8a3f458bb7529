/* tests/core/mqtt/packets.h -- bodies of packets, one of each kind, and how they are decoded.
 *
 * Each is the packet without its remaining length, which decode_wire() supplies.
 */
#ifndef TESTS_CORE_MQTT_PACKETS_H
#define TESTS_CORE_MQTT_PACKETS_H

#include "core/mqtt/packet.h"
#include "tests/core/mqtt/wire.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

#define V31 MQTT_31
#define V311 MQTT_311
#define V5 MQTT_5

struct valid_packet {
    const char *name;
    enum protocol protocol;
    uint8_t first;
    const char *body;
};

static const struct valid_packet valid_packets[] = {
    {"connect 3.1", V31, 0x10, "0006 'MQIsdp' 03 02 003c 0001 'a'"},
    {"connect 3.1, full", V31, 0x10,
     "0006 'MQIsdp' 03 ee 003c 0001 'a' 0001 't' 0002 'wp' 0001 'u' 0001 'p'"},
    {"connect 3.1.1", V311, 0x10, "0004 'MQTT' 04 02 003c 0001 'a'"},
    {"connect 3.1.1, full", V311, 0x10,
     "0004 'MQTT' 04 ee 003c 0001 'a' 0001 't' 0002 'wp' 0001 'u' 0001 'p'"},
    {"connect 5", V5, 0x10, "0004 'MQTT' 05 02 003c 00 0001 'a'"},
    {"connect 5, full", V5, 0x10,
     "0004 'MQTT' 05 ee 003c 25 11 00000e10 21 0014 27 00010000 22 000a 19 01 17 00"
     " 15 0001 'm' 16 0002 0102 26 0001 'k' 0002 'vv' 0001 'a'"
     " 1e 18 0000000a 01 01 02 0000003c 03 0001 'c' 08 0001 'r' 09 0001 'd' 26 0001 'k' 0000"
     " 0001 't' 0002 'wp' 0001 'u' 0001 'p'"},
    {"connack 3.1.1", V311, 0x20, "01 00"},
    {"connack 5", V5, 0x20,
     "00 00 3c 11 00000e10 21 0014 24 01 25 00 27 00010000 12 0001 'a' 22 000a 1f 0001 'r'"
     " 26 0001 'k' 0001 'v' 28 00 29 01 2a 00 13 003c 1a 0001 'i' 1c 0001 's' 15 0001 'm'"
     " 16 0001 'd'"},
    {"publish 3.1.1 qos 0", V311, 0x30, "0003 'a/b' 'hello'"},
    {"publish 3.1.1 qos 1", V311, 0x3B, "0003 'a/b' 000a 'hello'"},
    {"publish 5 qos 0", V5, 0x31, "0003 'a/b' 00 'hello'"},
    {"publish 5 qos 2", V5, 0x3C,
     "0003 'a/b' 000a 22 01 00 02 0000003c 03 0001 'c' 08 0001 'r' 09 0001 'd' 0b 01 0b 8001"
     " 23 0005 26 0001 'k' 0001 'v' 'hello'"},
    {"publish 5 alias", V5, 0x30, "0000 03 23 0001 'hello'"},
    {"puback 3.1.1", V311, 0x40, "1234"},
    {"puback 5", V5, 0x40, "1234"},
    {"puback 5, reason", V5, 0x40, "1234 10"},
    {"puback 5, properties", V5, 0x40, "1234 80 0a 1f 0001 'r' 26 0001 'k' 0000"},
    {"pubrec 5", V5, 0x50, "1234 97 00"},
    {"pubrel 3.1", V31, 0x6A, "1234"},
    {"pubrel 5", V5, 0x62, "1234 92"},
    {"pubcomp 5", V5, 0x70, "1234 92 00"},
    {"subscribe 3.1.1", V311, 0x82, "000a 0003 'a/b' 01 0003 'c/d' 02"},
    {"subscribe 5", V5, 0x82, "000a 08 0b c102 26 0000 0000 0003 'a/b' 2d 000a '$share/g/f' 02"},
    {"suback 3.1.1", V311, 0x90, "000a 00 01 02 80"},
    {"suback 5", V5, 0x90, "000a 04 1f 0001 'r' 00 01 02 80 83 87 8f 91 97 9e a1 a2"},
    {"unsubscribe 3.1.1", V311, 0xA2, "000a 0003 'a/b' 0003 'c/d'"},
    {"unsubscribe 5", V5, 0xA2, "000a 07 26 0001 'k' 0001 'v' 0003 'a/b'"},
    {"unsuback 3.1.1", V311, 0xB0, "000a"},
    {"unsuback 5", V5, 0xB0, "000a 00 00 11 80 83 87 8f 91"},
    {"pingreq", V311, 0xC0, ""},
    {"pingresp", V5, 0xD0, ""},
    {"disconnect 3.1.1", V311, 0xE0, ""},
    {"disconnect 5", V5, 0xE0, ""},
    {"disconnect 5, reason", V5, 0xE0, "04"},
    {"disconnect 5, properties", V5, 0xE0,
     "8e 14 11 00000000 1f 0001 'r' 1c 0001 's' 26 0001 'k' 0001 'v'"},
    {"auth 5", V5, 0xF0, "18 09 15 0001 'm' 16 0002 0102"},
    {"auth 5, empty", V5, 0xF0, ""},
};

/* Decodes a body that somebody else owns as a packet with the first byte `first`. */
static inline enum err decode_body_of(uint8_t first, struct bytes body, enum protocol protocol,
                                      struct packet *out, enum reason *why)
{
    struct frame f = {first, (uint8_t)(1 + varint_size(body.n)), body};

    return packet_decode(&f, protocol, out, why);
}

#endif
