/* tests/core/broker/test_client.c -- the protocol of one connection. */
#include <stdio.h>
#include <stdlib.h>

#include "core/broker/state.h"
#include "tests/support/broker.h"
#include "tests/support/test.h"

TEST(every_packet_id_may_wait_for_its_pubrel)
{
    struct connect_out o = {
        .protocol = MQTT_311, .clean_start = true, .client_id = BYTES_LIT("all")};
    struct publish_out m = {.qos = 2, .topic = BYTES_LIT("t")};
    struct broker b;
    struct peer *p;

    broker_init(&b, 1);
    broker_start(&b);
    p = broker_dial(&b, 0, &o);
    for (uint32_t id = 1; id <= 65535; id++) {
        m.packet_id = (uint16_t)id;
        peer_publish_out(p, &m);
    }
    m.qos = 1;
    m.packet_id = 1;
    peer_publish_out(p, &m);
    peer_ack(p, PACKET_PUBREL, 1);
    broker_settle(&b);
    assert_non_null(p->stream);
    broker_stop(&b);
}

/* One worker and a client of MQTT 5. */
static struct peer *start(struct broker *b)
{
    broker_init(b, 1);
    broker_start(b);
    return broker_client(b, "c");
}

/* ---- keep alive ---- */

static struct peer *start_keep_alive(struct broker *b, enum protocol protocol, uint16_t seconds)
{
    struct connect_out o = {.protocol = protocol,
                            .clean_start = true,
                            .client_id = BYTES_LIT("c"),
                            .keep_alive = seconds};

    broker_init(b, 1);
    broker_start(b);
    return broker_connect(b, &o);
}

TEST(silent_client_is_closed_after_one_and_a_half_keep_alives)
{
    struct broker b;
    struct peer *p = start_keep_alive(&b, MQTT_5, 10);

    broker_pass(&b, 14999);
    peer_expect_nothing(p);
    assert_non_null(p->stream);
    broker_pass(&b, BROKER_LATE(15000) - 14999);
    peer_expect_end(p, REASON_KEEP_ALIVE_TIMEOUT, CLOSE_KEEPALIVE); /* [MQTT-3.1.2-22] */
    assert_int_equal(BROKER_SUM(&b, keepalive_timeouts), 1);
    broker_stop(&b);
}

TEST(silent_client_of_mqtt_3_is_closed_without_a_word)
{
    struct broker b;
    struct peer *p = start_keep_alive(&b, MQTT_311, 1);

    broker_pass(&b, 1499);
    assert_non_null(p->stream);
    broker_pass(&b, BROKER_LATE(1500) - 1499);
    peer_expect_end(p, 0, CLOSE_KEEPALIVE);
    broker_stop(&b);
}

TEST(any_packet_keeps_a_client_alive)
{
    struct broker b;
    struct peer *p = start_keep_alive(&b, MQTT_5, 10);

    for (int i = 0; i < 20; i++) {
        broker_pass(&b, 14000);
        if (i % 2)
            peer_ping(p);
        else
            peer_publish(p, "t", "x", 0);
        broker_settle(&b);
        assert_non_null(p->stream);
    }
    broker_pass(&b, BROKER_LATE(15000));
    assert_null(p->stream);
    broker_stop(&b);
}

TEST(client_without_keep_alive_may_be_silent)
{
    struct broker b;
    struct peer *p = start_keep_alive(&b, MQTT_5, 0);

    broker_pass(&b, 1000ull * 3600 * 24 * 30);
    assert_non_null(p->stream);
    broker_stop(&b);
}

TEST(what_is_sent_to_a_client_does_not_keep_it_alive)
{
    struct broker b;
    struct peer *p = start_keep_alive(&b, MQTT_5, 10), *q = broker_client(&b, "q");

    peer_subscribed(p, "t", 0);
    for (int i = 0; i < 4; i++) {
        broker_pass(&b, 3800);
        peer_publish(q, "t", "x", 0);
        broker_settle(&b);
    }
    broker_pass(&b, 300);
    assert_null(p->stream);
    broker_stop(&b);
}

/* ---- packets that may not come ---- */

static void expect_fatal(const uint8_t *packet, uint32_t n, uint8_t reason, enum close_reason why)
{
    struct broker b;
    struct peer *p = start(&b);

    peer_write(p, bytes_of(packet, n));
    peer_ping(p); /* is not answered any more */
    broker_settle(&b);
    peer_expect_end(p, reason, why);
    broker_stop(&b);
}

TEST(packets_that_only_a_server_sends_are_protocol_errors)
{
    static const uint8_t connack[] = {0x20, 3, 0, 0, 0}, suback[] = {0x90, 4, 0, 1, 0, 0};
    static const uint8_t unsuback[] = {0xb0, 4, 0, 1, 0, 0}, pingresp[] = {0xd0, 0};

    expect_fatal(connack, sizeof connack, REASON_PROTOCOL_ERROR, CLOSE_PROTOCOL_ERROR);
    expect_fatal(suback, sizeof suback, REASON_PROTOCOL_ERROR, CLOSE_PROTOCOL_ERROR);
    expect_fatal(unsuback, sizeof unsuback, REASON_PROTOCOL_ERROR, CLOSE_PROTOCOL_ERROR);
    expect_fatal(pingresp, sizeof pingresp, REASON_PROTOCOL_ERROR, CLOSE_PROTOCOL_ERROR);
}

TEST(second_connect_is_a_protocol_error)
{
    static const uint8_t connect[] = {0x10, 14, 0, 4, 'M', 'Q', 'T', 'T', 5, 2, 0, 0, 0, 0, 1, 'x'};

    expect_fatal(connect, sizeof connect, REASON_PROTOCOL_ERROR, CLOSE_PROTOCOL_ERROR);
}

TEST(auth_without_a_method_is_a_protocol_error)
{
    static const uint8_t auth[] = {0xf0, 7, 0x18, 5, 0x15, 0, 2, 'a', 'b'};

    expect_fatal(auth, sizeof auth, REASON_PROTOCOL_ERROR, CLOSE_PROTOCOL_ERROR);
}

TEST(malformed_packets_are_told_apart)
{
    static const uint8_t bad_flags[] = {0xc1, 0}, bad_length[] = {0x30, 0xff, 0xff, 0xff, 0xff, 1};
    static const uint8_t no_topic[] = {0x30, 3, 0, 0, 0};

    expect_fatal(bad_flags, sizeof bad_flags, REASON_MALFORMED_PACKET, CLOSE_MALFORMED);
    expect_fatal(bad_length, sizeof bad_length, REASON_MALFORMED_PACKET, CLOSE_MALFORMED);
    expect_fatal(no_topic, sizeof no_topic, REASON_PROTOCOL_ERROR, CLOSE_PROTOCOL_ERROR);
}

TEST(packet_larger_than_the_limit_is_refused_by_its_length)
{
    static const uint8_t header[] = {0x30, 0x80, 0x08}; /* 1024 bytes to come */
    struct broker b;
    struct peer *p;

    broker_init(&b, 1);
    b.config.limits.packet_bytes = 1000;
    broker_start(&b);
    p = broker_client(&b, "c");
    peer_write(p, bytes_of(header, sizeof header));
    broker_settle(&b);
    peer_expect_end(p, REASON_PACKET_TOO_LARGE, CLOSE_TOO_LARGE);
    assert_int_equal(BROKER_SUM(&b, packets_too_large), 1);
    broker_stop(&b);
}

TEST(first_packet_must_be_connect_and_is_judged_by_its_first_byte)
{
    static const uint8_t get[] = "G";
    struct broker b;
    struct peer *p;

    broker_init(&b, 1);
    broker_start(&b);
    p = broker_open(&b, 0, "");
    peer_write(p, bytes_of(get, 1));
    broker_settle(&b);
    peer_expect_nothing(p); /* [MQTT-3.1.0-1]: not an answer in a protocol it does not speak */
    assert_null(p->stream);
    p = broker_open(&b, 0, "");
    peer_ping(p);
    broker_settle(&b);
    peer_expect_nothing(p);
    assert_null(p->stream);
    assert_int_equal(BROKER_SUM(&b, protocol_errors), 2);
    broker_stop(&b);
}

TEST(unknown_protocol_version_is_answered_as_mqtt_3_does)
{
    static const uint8_t connect[] = {0x10, 13, 0, 4, 'M', 'Q', 'T', 'T', 9, 2, 0, 0, 0, 1, 'x'};
    static const uint8_t answer[] = {0x20, 2, 0, 1};
    struct broker b;
    struct peer *p;

    broker_init(&b, 1);
    broker_start(&b);
    p = broker_open(&b, 0, "");
    peer_write(p, bytes_of(connect, sizeof connect));
    broker_settle(&b);
    assert_int_equal(p->out_count, sizeof answer);
    assert_memory_equal(p->out, answer, sizeof answer); /* [MQTT-3.1.2-2] */
    assert_null(p->stream);
    broker_stop(&b);
}

/* ---- bytes come as they like ---- */

TEST(packets_may_come_a_byte_at_a_time)
{
    static const uint8_t connect[] = {0x10, 14, 0, 4, 'M', 'Q', 'T', 'T', 5, 2, 0, 0, 0, 0, 1, 'x'};
    static const uint8_t packets[] = {0x82, 7, 0, 1, 0, 0, 1, 't', 0, 0x30, 5, 0, 1, 't', 0, '!'};
    struct broker b;
    struct peer *p;

    broker_init(&b, 1);
    broker_start(&b);
    p = broker_open(&b, 0, "x");
    for (size_t i = 0; i < sizeof connect; i++) {
        peer_write(p, bytes_of(connect + i, 1));
        broker_settle(&b);
    }
    peer_expect(p, PACKET_CONNACK);
    for (size_t i = 0; i < sizeof packets; i++) {
        peer_write(p, bytes_of(packets + i, 1));
        broker_settle(&b);
    }
    peer_expect(p, PACKET_SUBACK);
    peer_expect_publish(p, "t", "!");
    broker_stop(&b);
}

TEST(client_that_asks_without_reading_is_cut_off)
{
    struct broker b;
    struct peer *p;

    broker_init(&b, 1);
    b.config.limits.outq_bytes = OUTQ_BYTES_MIN;
    broker_start(&b);
    p = broker_client(&b, "c");
    p->reads = false;
    for (uint32_t i = 0; i < OUTQ_BYTES_MIN; i++)
        peer_ping(p);
    broker_settle(&b);
    assert_null(p->stream);
    assert_int_equal(p->why, CLOSE_QUEUE_FULL);
    broker_stop(&b);
}

TEST(client_that_reads_may_ask_without_end)
{
    struct broker b;
    struct peer *p;

    broker_init(&b, 1);
    b.config.limits.outq_bytes = OUTQ_BYTES_MIN;
    broker_start(&b);
    p = broker_client(&b, "c");
    for (uint32_t round = 0; round < 20; round++) {
        for (uint32_t i = 0; i < OUTQ_BYTES_MIN / 4; i++)
            peer_ping(p);
        broker_settle(&b);
        assert_non_null(p->stream);
    }
    broker_stop(&b);
}
