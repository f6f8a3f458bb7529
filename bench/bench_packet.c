/* bench/bench_packet.c -- what it costs to take a packet apart and to put one together.
 *
 * The argument of decode and encode is the number of payload bytes, that of topic the number of
 * topic bytes.
 */
#include "bench/shim.h"

#include "core/base/check.h"
#include "core/mqtt/frame.h"
#include "core/mqtt/packet.h"
#include "core/mqtt/topic.h"

#define PACKET_BYTES 2048

static const uint8_t few_props[] = {0x01, 1,    0x03, 0, 4,   't', 'e', 'x',
                                    't',  0x26, 0,    1, 'k', 0,   1,   'v'};
static const uint8_t payload[PACKET_BYTES / 2];

/* Writes a PUBLISH with QoS 1 to packet[PACKET_BYTES] and returns its view. */
static struct bytes make_publish(uint8_t *packet, enum protocol protocol, size_t payload_bytes,
                                 bool has_props)
{
    struct publish_out p = {
        .qos = 1,
        .packet_id = 7,
        .topic = BYTES_LIT("site/7/line/12/temperature"),
        .payload = bytes_of(payload, payload_bytes),
        .props = has_props ? bytes_of(few_props, sizeof(few_props)) : (struct bytes){0},
        .has_expiry = has_props,
        .message_expiry = 60,
    };
    uint32_t header, size = publish_size(protocol, &p, &header);

    CHECK(size > 0 && size <= PACKET_BYTES);
    bytes_put(publish_put_header(packet, protocol, &p), p.payload);
    return bytes_of(packet, size);
}

static void run_decode(struct bench *b, enum protocol protocol, struct bytes in)
{
    struct packet packet;
    struct frame frame;
    enum reason why;
    uint32_t need;
    uint64_t n;

    while (bench_next_batch(b, &n)) {
        for (uint64_t i = 0; i < n; i++) {
            CHECK(frame_next(in, PACKET_BYTES, &frame, &need) == OK);
            CHECK(packet_decode(&frame, protocol, &packet, &why) == OK);
            bench_keep(&packet);
        }
    }
}

static void decode_publish_v3(struct bench *b, int64_t arg)
{
    uint8_t packet[PACKET_BYTES];

    run_decode(b, MQTT_311, make_publish(packet, MQTT_311, (size_t)arg, false));
}

static void decode_publish_v5(struct bench *b, int64_t arg)
{
    uint8_t packet[PACKET_BYTES];

    run_decode(b, MQTT_5, make_publish(packet, MQTT_5, (size_t)arg, false));
}

static void decode_publish_v5_props(struct bench *b, int64_t arg)
{
    uint8_t packet[PACKET_BYTES];

    run_decode(b, MQTT_5, make_publish(packet, MQTT_5, (size_t)arg, true));
}

static void decode_puback(struct bench *b, int64_t arg)
{
    uint8_t packet[ACK_BYTES_MAX];
    const uint8_t *end = ack_put(packet, MQTT_311, PACKET_PUBACK, 7, 0, (struct bytes){0});

    (void)arg;
    run_decode(b, MQTT_311, bytes_of(packet, (size_t)(end - packet)));
}

/* As the output of a connection does it: header and a small payload copied behind it. */
static void run_encode(struct bench *b, enum protocol protocol, int64_t payload_bytes)
{
    struct publish_out p = {
        .qos = 1,
        .packet_id = 7,
        .topic = BYTES_LIT("site/7/line/12/temperature"),
        .payload = bytes_of(payload, (size_t)payload_bytes),
    };
    uint8_t packet[PACKET_BYTES];
    uint32_t header;
    uint64_t n;

    while (bench_next_batch(b, &n)) {
        for (uint64_t i = 0; i < n; i++) {
            CHECK(publish_size(protocol, &p, &header) <= PACKET_BYTES);
            bytes_put(publish_put_header(packet, protocol, &p), p.payload);
            bench_keep(packet);
        }
    }
}

static void encode_publish_v3(struct bench *b, int64_t arg)
{
    run_encode(b, MQTT_311, arg);
}

static void encode_publish_v5(struct bench *b, int64_t arg)
{
    run_encode(b, MQTT_5, arg);
}

static void topic_name(struct bench *b, int64_t arg)
{
    struct bytes topic = {payload, (uint32_t)arg};
    uint8_t text[256];
    uint64_t n, valid = 0;

    CHECK((size_t)arg <= sizeof(text));
    for (int64_t i = 0; i < arg; i++)
        text[i] = i % 8 == 7 ? '/' : 'a';
    topic.p = text;
    while (bench_next_batch(b, &n)) {
        for (uint64_t i = 0; i < n; i++) {
            valid += topic_name_valid(topic, 200);
            bench_keep(text);
        }
    }
    CHECK(valid > 0 || n == 0);
}

static void matches(struct bench *b, int64_t arg)
{
    const struct bytes filter = BYTES_LIT("site/+/line/12/#");
    const struct bytes topic = BYTES_LIT("site/7/line/12/temperature");
    uint64_t n, hits = 0;

    (void)arg;
    while (bench_next_batch(b, &n)) {
        for (uint64_t i = 0; i < n; i++) {
            hits += topic_matches(filter, topic);
            bench_keep(topic.p);
        }
    }
    CHECK(hits > 0 || n == 0);
}

__attribute__((constructor)) static void register_packet(void)
{
    bench_register("BM_packet_decode/publish:100/v3", decode_publish_v3, 100);
    bench_register("BM_packet_decode/publish:100/v5", decode_publish_v5, 100);
    bench_register("BM_packet_decode/publish:100/v5/props:4", decode_publish_v5_props, 100);
    bench_register("BM_packet_decode/puback/v3", decode_puback, 0);
    bench_register("BM_packet_encode/publish:100/v3", encode_publish_v3, 100);
    bench_register("BM_packet_encode/publish:100/v5", encode_publish_v5, 100);
    bench_register("BM_topic_name_valid/bytes:25", topic_name, 25);
    bench_register("BM_topic_name_valid/bytes:200", topic_name, 200);
    bench_register("BM_topic_matches", matches, 0);
}
