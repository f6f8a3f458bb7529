/* tests/core/mqtt/test_packet.c -- decoding: what packets say, and every way they can be wrong.
 *
 * All bodies are exact copies on the heap, so under the address sanitizer a read beyond one of them
 * ends the test.
 */
#include "tests/support/test.h"

#include "tests/core/mqtt/packets.h"

#define MALFORMED REASON_MALFORMED_PACKET
#define PROTOCOL REASON_PROTOCOL_ERROR
#define BAD_NAME REASON_TOPIC_NAME_INVALID
#define BAD_VERSION REASON_UNSUPPORTED_PROTOCOL_VERSION
#define FINE REASON_SUCCESS

/* A CONNECT of MQTT 5 up to its properties, and what comes behind them. */
#define C5 "0004 'MQTT' 05 02 003c "
#define C5_END " 0001 'a'"
/* The same with a will, up to the will's properties, and what comes behind those. */
#define W5 "0004 'MQTT' 05 06 003c 00 0001 'a' "
#define W5_END " 0001 't' 0000"
/* A PUBLISH of MQTT 5 up to its properties. */
#define P5 "0001 't' "

struct judged_packet {
    const char *name;
    enum protocol protocol;
    uint8_t first;
    const char *body;
    enum reason why;
};

static const struct judged_packet connects[] = {
    {"no name", V311, 0x10, "", MALFORMED},
    {"name cut off", V311, 0x10, "0004 'MQT'", MALFORMED},
    {"name of 65535 bytes", V311, 0x10, "ffff 'MQTT' 04 02 003c 0001 'a'", MALFORMED},
    {"empty name", V311, 0x10, "0000 04 02 003c 0001 'a'", MALFORMED},
    {"other name", V311, 0x10, "0004 'mqtt' 04 02 003c 0001 'a'", MALFORMED},
    {"longer name", V311, 0x10, "0005 'MQTTX' 04 02 003c 0001 'a'", MALFORMED},
    {"HTTP", V311, 0x10, "0004 'HTTP' 04 02 003c 0001 'a'", MALFORMED},
    {"level missing", V311, 0x10, "0004 'MQTT'", MALFORMED},
    {"level 0", V311, 0x10, "0004 'MQTT' 00 02 003c 0001 'a'", BAD_VERSION},
    {"level 3 as MQTT", V311, 0x10, "0004 'MQTT' 03 02 003c 0001 'a'", BAD_VERSION},
    {"level 6", V311, 0x10, "0004 'MQTT' 06 02 003c 00 0001 'a'", BAD_VERSION},
    {"level 7f", V311, 0x10, "0004 'MQTT' 7f 02 003c 00 0001 'a'", BAD_VERSION},
    {"level 4 as MQIsdp", V311, 0x10, "0006 'MQIsdp' 04 02 003c 0001 'a'", BAD_VERSION},
    {"bridge of level 5", V311, 0x10, "0004 'MQTT' 85 02 003c 00 0001 'a'", BAD_VERSION},
    {"bridge of level 3 as MQTT", V311, 0x10, "0004 'MQTT' 83 02 003c 0001 'a'", BAD_VERSION},
    {"bridge of level 3", V311, 0x10, "0006 'MQIsdp' 83 02 003c 0001 'a'", FINE},
    {"bridge of level 4", V311, 0x10, "0004 'MQTT' 84 02 003c 0001 'a'", FINE},
    {"fixed header flags", V311, 0x11, "0004 'MQTT' 04 02 003c 0001 'a'", MALFORMED},
    {"fixed header dup", V5, 0x18, C5 "00" C5_END, MALFORMED},
    {"reserved bit", V311, 0x10, "0004 'MQTT' 04 03 003c 0001 'a'", MALFORMED},
    {"reserved bit in 5", V311, 0x10, "0004 'MQTT' 05 03 003c 00 0001 'a'", MALFORMED},
    {"unused bit in 3.1", V311, 0x10, "0006 'MQIsdp' 03 03 003c 0001 'a'", FINE},
    {"will qos without will", V311, 0x10, "0004 'MQTT' 04 0a 003c 0001 'a'", MALFORMED},
    {"will retain without will", V311, 0x10, "0004 'MQTT' 04 22 003c 0001 'a'", MALFORMED},
    {"will qos without will in 5", V5, 0x10, "0004 'MQTT' 05 12 003c 00 0001 'a'", MALFORMED},
    {"will retain without will in 5", V5, 0x10, "0004 'MQTT' 05 22 003c 00 0001 'a'", MALFORMED},
    {"will qos without will in 3.1", V311, 0x10, "0006 'MQIsdp' 03 3a 003c 0001 'a'", FINE},
    {"will qos 3", V311, 0x10, "0004 'MQTT' 04 1e 003c 0001 'a' 0001 't' 0000", MALFORMED},
    {"will qos 3 in 5", V5, 0x10, "0004 'MQTT' 05 1e 003c 00 0001 'a' 00" W5_END, MALFORMED},
    {"will missing", V311, 0x10, "0004 'MQTT' 04 06 003c 0001 'a'", MALFORMED},
    {"will payload missing", V311, 0x10, "0004 'MQTT' 04 06 003c 0001 'a' 0001 't'", MALFORMED},
    {"will topic empty", V311, 0x10, "0004 'MQTT' 04 06 003c 0001 'a' 0000 0000", BAD_NAME},
    {"will topic wildcard", V5, 0x10, W5 "00 0003 'a/#' 0000", BAD_NAME},
    {"will topic bad text", V5, 0x10, W5 "00 0002 'a' ff 0000", MALFORMED},
    {"will payload of any bytes", V5, 0x10, W5 "00 0001 't' 0002 00ff", FINE},
    {"password without user", V311, 0x10, "0004 'MQTT' 04 42 003c 0001 'a' 0001 'p'", MALFORMED},
    {"password without user in 3.1", V31, 0x10, "0006 'MQIsdp' 03 42 003c 0001 'a' 0001 'p'",
     MALFORMED},
    {"password without user in 5", V5, 0x10, "0004 'MQTT' 05 42 003c 00 0001 'a' 0001 'p'", FINE},
    {"user missing", V311, 0x10, "0004 'MQTT' 04 82 003c 0001 'a'", MALFORMED},
    {"user missing in 3.1", V31, 0x10, "0006 'MQIsdp' 03 c2 003c 0001 'a'", FINE},
    {"password missing", V311, 0x10, "0004 'MQTT' 04 c2 003c 0001 'a' 0001 'u'", MALFORMED},
    {"password missing in 3.1", V31, 0x10, "0006 'MQIsdp' 03 c2 003c 0001 'a' 0001 'u'", FINE},
    {"user name bad text", V311, 0x10, "0004 'MQTT' 04 82 003c 0001 'a' 0002 c328", MALFORMED},
    {"user name with NUL", V311, 0x10, "0004 'MQTT' 04 82 003c 0001 'a' 0002 'u' 00", MALFORMED},
    {"password of any bytes", V311, 0x10, "0004 'MQTT' 04 c2 003c 0001 'a' 0001 'u' 0002 00ff",
     FINE},
    {"client id bad text", V311, 0x10, "0004 'MQTT' 04 02 003c 0001 80", MALFORMED},
    {"client id with NUL", V311, 0x10, "0004 'MQTT' 04 02 003c 0003 'a' 00 'b'", MALFORMED},
    {"client id surrogate", V5, 0x10, C5 "00 0003 eda080", MALFORMED},
    {"client id missing", V311, 0x10, "0004 'MQTT' 04 02 003c", MALFORMED},
    {"client id empty", V311, 0x10, "0004 'MQTT' 04 00 003c 0000", FINE},
    {"client id of 24 bytes in 3.1", V31, 0x10,
     "0006 'MQIsdp' 03 02 003c 0018 'abcdefghijklmnopqrstuvwx'", FINE},
    {"something behind", V311, 0x10, "0004 'MQTT' 04 02 003c 0001 'a' 00", MALFORMED},
    {"something behind in 5", V5, 0x10, C5 "00" C5_END " 00", MALFORMED},
    {"something behind in 3.1", V31, 0x10, "0006 'MQIsdp' 03 02 003c 0001 'a' 00", MALFORMED},
    {"properties missing", V5, 0x10, "0004 'MQTT' 05 02 003c", MALFORMED},
    {"properties longer than packet", V5, 0x10, C5 "7f" C5_END, MALFORMED},
    {"properties length of 5 bytes", V5, 0x10, C5 "80808080 01" C5_END, MALFORMED},
    {"properties length padded", V5, 0x10, C5 "8000" C5_END, MALFORMED},
    {"property cut off by block", V5, 0x10, C5 "03 11 0000" C5_END, MALFORMED},
    {"property identifier alone", V5, 0x10, C5 "01 11" C5_END, MALFORMED},
    {"text longer than block", V5, 0x10, C5 "04 15 0009 'm'" C5_END, MALFORMED},
    {"unknown property 00", V5, 0x10, C5 "02 00 00" C5_END, MALFORMED},
    {"unknown property 04", V5, 0x10, C5 "02 04 00" C5_END, MALFORMED},
    {"unknown property 2b", V5, 0x10, C5 "02 2b 00" C5_END, MALFORMED},
    {"unknown property of 2 bytes", V5, 0x10, C5 "03 9101 00" C5_END, MALFORMED},
    {"property of another packet", V5, 0x10, C5 "03 13 003c" C5_END, MALFORMED},
    {"property of the will", V5, 0x10, C5 "05 18 00000001" C5_END, MALFORMED},
    {"session expiry twice", V5, 0x10, C5 "0a 11 00000001 11 00000001" C5_END, PROTOCOL},
    {"receive maximum 0", V5, 0x10, C5 "03 21 0000" C5_END, PROTOCOL},
    {"receive maximum twice", V5, 0x10, C5 "06 21 0001 21 0001" C5_END, PROTOCOL},
    {"maximum packet size 0", V5, 0x10, C5 "05 27 00000000" C5_END, PROTOCOL},
    {"maximum packet size twice", V5, 0x10, C5 "0a 27 00000001 27 00000001" C5_END, PROTOCOL},
    {"topic alias maximum 0", V5, 0x10, C5 "03 22 0000" C5_END, FINE},
    {"topic alias maximum twice", V5, 0x10, C5 "06 22 0000 22 0000" C5_END, PROTOCOL},
    {"request response information 2", V5, 0x10, C5 "02 19 02" C5_END, PROTOCOL},
    {"request response information twice", V5, 0x10, C5 "04 19 01 19 01" C5_END, PROTOCOL},
    {"request problem information 2", V5, 0x10, C5 "02 17 02" C5_END, PROTOCOL},
    {"request problem information twice", V5, 0x10, C5 "04 17 01 17 01" C5_END, PROTOCOL},
    {"authentication data alone", V5, 0x10, C5 "05 16 0002 0102" C5_END, PROTOCOL},
    {"authentication method twice", V5, 0x10, C5 "08 15 0001 'm' 15 0001 'm'" C5_END, PROTOCOL},
    {"authentication method bad text", V5, 0x10, C5 "04 15 0001 ff" C5_END, MALFORMED},
    {"user property twice", V5, 0x10, C5 "0e 26 0001 'k' 0001 'v' 26 0001 'k' 0001 'v'" C5_END,
     FINE},
    {"user property without value", V5, 0x10, C5 "04 26 0001 'k'" C5_END, MALFORMED},
    {"user property name bad text", V5, 0x10, C5 "06 26 0001 ff 0000" C5_END, MALFORMED},
    {"user property value bad text", V5, 0x10, C5 "07 26 0001 'k' 0001 00" C5_END, MALFORMED},
    {"will properties missing", V5, 0x10, "0004 'MQTT' 05 06 003c 00 0001 'a'", MALFORMED},
    {"will: property of CONNECT", V5, 0x10, W5 "05 11 00000001" W5_END, MALFORMED},
    {"will: subscription id", V5, 0x10, W5 "02 0b 01" W5_END, MALFORMED},
    {"will: topic alias", V5, 0x10, W5 "03 23 0001" W5_END, MALFORMED},
    {"will: payload format 2", V5, 0x10, W5 "02 01 02" W5_END, PROTOCOL},
    {"will: response topic wildcard", V5, 0x10, W5 "04 08 0001 '+'" W5_END, PROTOCOL},
    {"will: delay twice", V5, 0x10, W5 "0a 18 00000001 18 00000001" W5_END, PROTOCOL},
    {"will: content type bad text", V5, 0x10, W5 "04 03 0001 fe" W5_END, MALFORMED},
    {"will: delay beyond expiry", V5, 0x10, W5 "05 18 ffffffff" W5_END, FINE}, /* CVE-2019-11778 */
};

static const struct judged_packet publishes[] = {
    {"qos 3", V311, 0x36, "0001 't' 0001", MALFORMED},
    {"qos 3 in 5", V5, 0x36, "0001 't' 0001 00", MALFORMED},
    {"dup with qos 0", V311, 0x38, "0001 't'", MALFORMED},
    {"dup with qos 0 in 5", V5, 0x38, "0001 't' 00", MALFORMED},
    {"no topic", V311, 0x30, "", MALFORMED},
    {"topic cut off", V311, 0x30, "0002 't'", MALFORMED},
    {"topic length cut off", V311, 0x30, "00", MALFORMED},
    {"empty topic", V311, 0x30, "0000 'x'", MALFORMED}, /* CVE-2021-34432 */
    {"empty topic without alias", V5, 0x30, "0000 00 'x'", PROTOCOL},
    {"empty topic with alias", V5, 0x30, "0000 03 23 0001", FINE},
    {"topic +", V311, 0x30, "0001 '+'", BAD_NAME},
    {"topic a/#", V5, 0x30, "0003 'a/#' 00", BAD_NAME},
    {"topic bad text", V311, 0x30, "0002 c328", MALFORMED}, /* CVE-2017-7653 */
    {"topic with NUL", V311, 0x30, "0003 'a' 00 'b'", MALFORMED},
    {"topic bad text and wildcard", V5, 0x30, "0002 '+' ff 00", MALFORMED},
    {"packet id missing", V311, 0x32, "0001 't'", MALFORMED},
    {"packet id cut off", V311, 0x32, "0001 't' 00", MALFORMED},
    {"packet id 0", V311, 0x32, "0001 't' 0000", PROTOCOL},
    {"packet id 0 in 5", V5, 0x34, "0001 't' 0000 00", PROTOCOL},
    {"no payload", V311, 0x30, "0001 't'", FINE},
    {"properties missing", V5, 0x30, P5, MALFORMED},
    {"properties longer than packet", V5, 0x30, P5 "05 01 01", MALFORMED},
    {"payload format 2", V5, 0x30, P5 "02 01 02", PROTOCOL},
    {"payload format twice", V5, 0x30, P5 "04 01 01 01 01", PROTOCOL},
    {"message expiry twice", V5, 0x30, P5 "0a 02 00000001 02 00000001", PROTOCOL},
    {"topic alias 0", V5, 0x30, P5 "03 23 0000", PROTOCOL},
    {"topic alias twice", V5, 0x30, P5 "06 23 0001 23 0001", PROTOCOL},
    {"response topic wildcard", V5, 0x30, P5 "06 08 0003 'a/+'", PROTOCOL},
    {"response topic #", V5, 0x30, P5 "04 08 0001 '#'", PROTOCOL},
    {"response topic empty", V5, 0x30, P5 "03 08 0000", PROTOCOL},
    {"response topic bad text", V5, 0x30, P5 "04 08 0001 ff", MALFORMED},
    {"response topic twice", V5, 0x30, P5 "08 08 0001 'a' 08 0001 'a'", PROTOCOL},
    {"correlation data twice", V5, 0x30, P5 "06 09 0000 09 0000", PROTOCOL},
    {"correlation data of any bytes", V5, 0x30, P5 "05 09 0002 00ff", FINE},
    {"subscription id 0", V5, 0x30, P5 "02 0b 00", PROTOCOL},
    {"subscription id padded", V5, 0x30, P5 "03 0b 8100", MALFORMED},
    {"subscription id of 5 bytes", V5, 0x30, P5 "06 0b ffffffff 01", MALFORMED},
    {"subscription ids", V5, 0x30, P5 "04 0b 01 0b 02", FINE}, /* from a server; caller judges */
    {"content type twice", V5, 0x30, P5 "06 03 0000 03 0000", PROTOCOL},
    {"property of CONNECT", V5, 0x30, P5 "05 11 00000001", MALFORMED},
    {"will delay", V5, 0x30, P5 "05 18 00000001", MALFORMED},
    {"reason string", V5, 0x30, P5 "03 1f 0000", MALFORMED},
};

static const struct judged_packet acks[] = {
    {"puback empty", V311, 0x40, "", MALFORMED},
    {"puback of 1 byte", V311, 0x40, "00", MALFORMED},
    {"puback of 3 bytes", V311, 0x40, "0001 00", MALFORMED},
    {"puback id 0", V311, 0x40, "0000", PROTOCOL},
    {"puback flags", V311, 0x42, "0001", MALFORMED},
    {"puback of 3 bytes in 5", V5, 0x40, "0001 00", FINE},
    {"puback reason of others", V5, 0x40, "0001 92", PROTOCOL},
    {"puback reason unknown", V5, 0x40, "0001 77", PROTOCOL},
    {"puback reason ff", V5, 0x40, "0001 ff", PROTOCOL},
    {"puback properties cut off", V5, 0x40, "0001 00 04", MALFORMED},
    {"puback something behind", V5, 0x40, "0001 00 00 00", MALFORMED},
    {"puback reason string twice", V5, 0x40, "0001 00 06 1f 0000 1f 0000", PROTOCOL},
    {"puback property of others", V5, 0x40, "0001 00 02 01 00", MALFORMED},
    {"pubrec reason of others", V5, 0x50, "0001 92", PROTOCOL},
    {"pubrec flags", V311, 0x52, "0001", MALFORMED},
    {"pubrel flags 0", V311, 0x60, "0001", MALFORMED},
    {"pubrel flags 0 in 5", V5, 0x60, "0001", MALFORMED},
    {"pubrel flags 0 in 3.1", V31, 0x60, "0001", MALFORMED},
    {"pubrel flags 6", V311, 0x66, "0001", MALFORMED},
    {"pubrel dup", V311, 0x6A, "0001", MALFORMED},
    {"pubrel dup in 3.1", V31, 0x6A, "0001", FINE},
    {"pubrel reason of others", V5, 0x62, "0001 10", PROTOCOL},
    {"pubcomp reason of others", V5, 0x70, "0001 80", PROTOCOL},
    {"pubcomp flags", V311, 0x72, "0001", MALFORMED},
    {"pubcomp id 0", V5, 0x70, "0000", PROTOCOL},
};

static const struct judged_packet subscribes[] = {
    {"flags 0", V311, 0x80, "0001 0001 'a' 00", MALFORMED},
    {"flags 3", V5, 0x83, "0001 00 0001 'a' 00", MALFORMED},
    {"dup", V311, 0x8A, "0001 0001 'a' 00", MALFORMED},
    {"dup in 3.1", V31, 0x8A, "0001 0001 'a' 00", FINE},
    {"empty", V311, 0x82, "", MALFORMED},
    {"packet id 0", V311, 0x82, "0000 0001 'a' 00", PROTOCOL},
    {"no filter", V311, 0x82, "0001", PROTOCOL},
    {"no filter in 5", V5, 0x82, "0001 00", PROTOCOL},
    {"no properties", V5, 0x82, "0001", MALFORMED},
    {"filter cut off", V311, 0x82, "0001 0002 'a'", MALFORMED},
    {"options missing", V311, 0x82, "0001 0001 'a'", MALFORMED},
    {"second options missing", V311, 0x82, "0001 0001 'a' 00 0001 'b'", MALFORMED},
    {"one byte behind", V311, 0x82, "0001 0001 'a' 00 00", MALFORMED},
    {"filter bad text", V311, 0x82, "0001 0002 c328 00", MALFORMED},
    {"filter with NUL", V5, 0x82, "0001 00 0001 00 00", MALFORMED},
    {"bad filter is for the caller", V5, 0x82, "0001 00 0003 'a#b' 00", FINE},
    {"qos 3", V311, 0x82, "0001 0001 'a' 03", MALFORMED},
    {"qos 3 in 3.1", V31, 0x82, "0001 0001 'a' 03", MALFORMED},
    {"qos 3 in 5", V5, 0x82, "0001 00 0001 'a' 03", PROTOCOL},
    {"upper bits", V311, 0x82, "0001 0001 'a' 04", MALFORMED},
    {"upper bits 80", V311, 0x82, "0001 0001 'a' 80", MALFORMED},
    {"upper bits in 3.1", V31, 0x82, "0001 0001 'a' 41", FINE},
    {"reserved bit 6", V5, 0x82, "0001 00 0001 'a' 40", MALFORMED},
    {"reserved bit 7", V5, 0x82, "0001 00 0001 'a' 80", MALFORMED},
    {"retain handling 3", V5, 0x82, "0001 00 0001 'a' 30", PROTOCOL},
    {"retain handling 2", V5, 0x82, "0001 00 0001 'a' 2e", FINE},
    {"no local on shared", V5, 0x82, "0001 00 000a '$share/g/f' 04", PROTOCOL},
    {"no local on $share", V5, 0x82, "0001 00 0006 '$share' 04", FINE},
    {"subscription id 0", V5, 0x82, "0001 02 0b 00 0001 'a' 00", PROTOCOL},
    {"subscription id twice", V5, 0x82, "0001 04 0b 01 0b 02 0001 'a' 00", PROTOCOL},
    {"subscription id of 5 bytes", V5, 0x82, "0001 06 0b ffffffff7f 0001 'a' 00", MALFORMED},
    {"property of others", V5, 0x82, "0001 03 1f 0000 0001 'a' 00", MALFORMED},
    {"unsubscribe flags 0", V311, 0xA0, "0001 0001 'a'", MALFORMED},
    {"unsubscribe no filter", V311, 0xA2, "0001", PROTOCOL},
    {"unsubscribe no filter in 5", V5, 0xA2, "0001 00", PROTOCOL},
    {"unsubscribe id 0", V311, 0xA2, "0000 0001 'a'", PROTOCOL},
    {"unsubscribe filter cut off", V311, 0xA2, "0001 0002 'a'", MALFORMED},
    {"unsubscribe one byte behind", V311, 0xA2, "0001 0001 'a' 00", MALFORMED},
    {"unsubscribe filter bad text", V5, 0xA2, "0001 00 0001 ff", MALFORMED},
    {"unsubscribe subscription id", V5, 0xA2, "0001 02 0b 01 0001 'a'", MALFORMED},
    {"suback without code", V311, 0x90, "0001", PROTOCOL}, /* CVE-2024-10525 */
    {"suback without code in 5", V5, 0x90, "0001 00", PROTOCOL},
    {"suback code 3", V311, 0x90, "0001 03", PROTOCOL},
    {"suback code 87 in 3.1.1", V311, 0x90, "0001 87", PROTOCOL},
    {"suback code 03 in 5", V5, 0x90, "0001 00 03", PROTOCOL},
    {"suback code of others", V5, 0x90, "0001 00 11", PROTOCOL},
    {"suback id 0", V311, 0x90, "0000 00", PROTOCOL},
    {"suback flags", V311, 0x92, "0001 00", MALFORMED},
    {"unsuback with code", V311, 0xB0, "0001 00", MALFORMED},
    {"unsuback without code in 5", V5, 0xB0, "0001 00", PROTOCOL},
    {"unsuback code of others", V5, 0xB0, "0001 00 01", PROTOCOL},
};

static const struct judged_packet others[] = {
    {"type 0", V311, 0x00, "", MALFORMED},
    {"type 0 in 5", V5, 0x0F, "00", MALFORMED},
    {"auth in 3.1.1", V311, 0xF0, "", MALFORMED},
    {"auth in 3.1", V31, 0xF0, "18 00", MALFORMED},
    {"auth flags", V5, 0xF1, "", MALFORMED},
    {"auth reason of others", V5, 0xF0, "04 04 15 0001 'm'", PROTOCOL},
    {"auth without method", V5, 0xF0, "18 00", PROTOCOL},
    {"auth without properties", V5, 0xF0, "18", PROTOCOL},
    {"auth data alone", V5, 0xF0, "18 03 16 0000", PROTOCOL},
    {"auth method twice", V5, 0xF0, "18 08 15 0001 'm' 15 0001 'm'", PROTOCOL},
    {"auth property of others", V5, 0xF0, "18 05 11 00000000", MALFORMED},
    {"pingreq flags", V311, 0xC1, "", MALFORMED},
    {"pingreq with body", V311, 0xC0, "00", MALFORMED},
    {"pingresp with body", V5, 0xD0, "00", MALFORMED},
    {"pingresp flags", V5, 0xD8, "", MALFORMED},
    {"disconnect flags", V311, 0xE2, "", MALFORMED},
    {"disconnect with body", V311, 0xE0, "00", MALFORMED},
    {"disconnect reason unknown", V5, 0xE0, "01", PROTOCOL},
    {"disconnect reason of others", V5, 0xE0, "18", PROTOCOL},
    {"disconnect properties cut off", V5, 0xE0, "00 05 11 0000", MALFORMED},
    {"disconnect something behind", V5, 0xE0, "00 00 00", MALFORMED},
    {"disconnect expiry twice", V5, 0xE0, "00 0a 11 00000000 11 00000000", PROTOCOL},
    {"disconnect property of others", V5, 0xE0, "00 03 21 0001", MALFORMED},
    {"connack empty", V5, 0x20, "", MALFORMED},
    {"connack of 1 byte", V311, 0x20, "00", MALFORMED},
    {"connack of 3 bytes", V311, 0x20, "00 00 00", MALFORMED},
    {"connack flags", V311, 0x20, "02 00", MALFORMED},
    {"connack flags in 3.1", V31, 0x20, "02 00", FINE},
    {"connack code 6", V311, 0x20, "00 06", PROTOCOL},
    {"connack session with error", V5, 0x20, "01 80 00", PROTOCOL},
    {"connack session with error in 3.1.1", V311, 0x20, "01 05", PROTOCOL},
    {"connack reason of others", V5, 0x20, "00 04 00", PROTOCOL},
    {"connack properties missing", V5, 0x20, "00 00", MALFORMED},
    {"connack receive maximum 0", V5, 0x20, "00 00 03 21 0000", PROTOCOL},
    {"connack maximum qos 2", V5, 0x20, "00 00 02 24 02", PROTOCOL},
    {"connack retain available 2", V5, 0x20, "00 00 02 25 02", PROTOCOL},
    {"connack wildcard available 2", V5, 0x20, "00 00 02 28 02", PROTOCOL},
    {"connack subscription ids available 2", V5, 0x20, "00 00 02 29 02", PROTOCOL},
    {"connack shared available 2", V5, 0x20, "00 00 02 2a 02", PROTOCOL},
    {"connack packet size 0", V5, 0x20, "00 00 05 27 00000000", PROTOCOL},
    {"connack assigned id twice", V5, 0x20, "00 00 06 12 0000 12 0000", PROTOCOL},
    {"connack property of others", V5, 0x20, "00 00 02 19 01", MALFORMED},
};

static void judge(const struct judged_packet *table, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct bytes body = wire(table[i].body);
        struct packet packet;
        enum reason why = REASON_WILDCARDS_NOT_SUPPORTED;
        enum err err = decode_body_of(table[i].first, body, table[i].protocol, &packet, &why);

        if (why != table[i].why || (err == OK) != (table[i].why == FINE))
            fail_msg("%s: %02x, should be %02x", table[i].name, (unsigned)why,
                     (unsigned)table[i].why);
        wire_free(body);
    }
}

TEST(connect_is_judged)
{
    judge(connects, COUNT(connects));
}

TEST(publish_is_judged)
{
    judge(publishes, COUNT(publishes));
}

TEST(acknowledgements_are_judged)
{
    judge(acks, COUNT(acks));
}

TEST(subscribe_and_its_kin_are_judged)
{
    judge(subscribes, COUNT(subscribes));
}

TEST(other_packets_are_judged)
{
    judge(others, COUNT(others));
}

TEST(valid_packets_are_valid)
{
    for (size_t i = 0; i < COUNT(valid_packets); i++) {
        const struct valid_packet *v = &valid_packets[i];
        struct bytes body = wire(v->body);
        struct packet packet;
        enum reason why;

        if (decode_body_of(v->first, body, v->protocol, &packet, &why) != OK)
            fail_msg("%s: %02x", v->name, (unsigned)why);
        assert_int_equal(packet.type, v->first >> 4);
        wire_free(body);
    }
}

/* Whether a body of this packet can be cut and still be a whole one. */
static bool may_be_shorter(const struct packet *p, const struct valid_packet *v)
{
    switch (p->type) {
    case PACKET_CONNECT:
        return v->protocol == MQTT_31; /* there user name and password may be missing */
    case PACKET_CONNACK:
    case PACKET_PINGREQ:
    case PACKET_PINGRESP:
        return false;
    default:
        return true;
    }
}

TEST(no_cut_of_a_valid_packet_is_read_beyond) /* CVE-2024-31040, CVE-2024-31036 */
{
    for (size_t i = 0; i < COUNT(valid_packets); i++) {
        const struct valid_packet *v = &valid_packets[i];
        struct bytes body = wire(v->body);

        for (uint32_t n = 0; n < body.n; n++) {
            struct bytes part = bytes_of(exact_copy(body.p, n), n);
            struct packet packet;
            enum reason why;
            enum err err = decode_body_of(v->first, part, v->protocol, &packet, &why);

            if (err == OK && !may_be_shorter(&packet, v))
                fail_msg("%s: valid with %u bytes", v->name, n);
            assert_true(err == OK || err == ERR_PEER);
            assert_true((err == OK) == (why == REASON_SUCCESS));
            wire_free(part);
        }
        wire_free(body);
    }
}

TEST(no_changed_byte_of_a_valid_packet_is_read_beyond)
{
    for (size_t i = 0; i < COUNT(valid_packets); i++) {
        const struct valid_packet *v = &valid_packets[i];
        struct bytes body = wire(v->body);
        uint8_t *p = exact_copy(body.p, body.n);

        for (uint32_t at = 0; at < body.n; at++) {
            for (unsigned value = 0; value < 256; value++) {
                struct packet packet;
                enum reason why;
                enum err err;

                p[at] = (uint8_t)value;
                err = decode_body_of(v->first, bytes_of(p, body.n), v->protocol, &packet, &why);
                assert_true(err == OK || err == ERR_PEER);
            }
            p[at] = body.p[at];
        }
        free(p);
        wire_free(body);
    }
}

TEST(remaining_length_is_of_the_shortest_form_in_mqtt_5)
{
    struct frame f = {.first = 0xC0, .header_size = 3};
    struct packet packet;
    enum reason why;

    assert_int_equal(packet_decode(&f, MQTT_311, &packet, &why), OK);
    assert_int_equal(packet_decode(&f, MQTT_5, &packet, &why), ERR_PEER);
    assert_int_equal(why, MALFORMED);
    f.body = wire("0004 'MQTT' 05 02 003c 00 0001 'a'");
    f.first = 0x10;
    assert_int_equal(packet_decode(&f, MQTT_311, &packet, &why), ERR_PEER);
    assert_int_equal(why, MALFORMED);
    wire_free(f.body);
}

TEST(connect_says_in_which_version_to_answer)
{
    static const struct {
        const char *body;
        enum protocol protocol;
    } cases[] = {
        {"0004 'HTTP' 04 02 003c 0001 'a'", PROTOCOL_UNKNOWN},
        {"0004 'MQ'", PROTOCOL_UNKNOWN},
        {"0004 'MQTT' 04 03 003c 0001 'a'", MQTT_311},
        {"0004 'MQTT' 01 02 003c 0001 'a'", MQTT_311},
        {"0004 'MQTT' 05 03 003c 00 0001 'a'", MQTT_5},
        {"0004 'MQTT' 06 02 003c 00 0001 'a'", MQTT_5},
        {"0006 'MQIsdp' 04 02 003c 0001 'a'", MQTT_31},
        {"0006 'MQIsdp' 03 1e 003c 0001 'a'", MQTT_31},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct bytes body = wire(cases[i].body);
        struct packet packet;
        enum reason why;

        assert_int_equal(decode_body_of(0x10, body, MQTT_311, &packet, &why), ERR_PEER);
        assert_int_equal(packet.connect.protocol, cases[i].protocol);
        wire_free(body);
    }
}

TEST(decoding_needs_no_memory_of_the_last_packet)
{
    struct bytes body = wire("0001 't' 00 'x'");
    struct packet packet;
    enum reason why;

    memset(&packet, 0xFF, sizeof(packet));
    assert_int_equal(decode_body_of(0x30, body, MQTT_5, &packet, &why), OK);
    assert_int_equal(packet.publish.qos, 0);
    assert_false(packet.publish.dup);
    assert_false(packet.publish.retain);
    assert_int_equal(packet.publish.packet_id, 0);
    assert_int_equal(packet.publish.props.present, 0);
    assert_int_equal(packet.publish.props.all.n, 0);
    wire_free(body);
}
