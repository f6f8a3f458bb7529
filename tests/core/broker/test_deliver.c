/* tests/core/broker/test_deliver.c -- one message to one session: windows, queues, bounds. */
#include <stdio.h>
#include <stdlib.h>

#include "core/broker/state.h"
#include "tests/support/broker.h"
#include "tests/support/test.h"

static char *text_of(uint32_t n)
{
    char *text = malloc(n + 1);

    assert_non_null(text);
    memset(text, 'x', n);
    text[n] = 0;
    return text;
}

TEST(answers_may_stand_behind_a_message_larger_than_outq_bytes)
{
    struct broker b;
    struct peer *p, *q;
    char *large = text_of(3u << 20);

    broker_init(&b, 1);
    broker_start(&b);
    p = broker_client(&b, "sub");
    q = broker_client(&b, "pub");
    peer_subscribed(p, "t", 0);
    peer_publish(q, "t", large, 0);
    peer_ping(p);
    broker_turn(&b, 0);
    assert_non_null(p->stream);
    broker_settle(&b);
    assert_non_null(p->stream);
    assert_int_equal(peer_count_publishes(p), 1);
    free(large);
    broker_stop(&b);
}

TEST(large_message_to_oneself_is_acknowledged)
{
    struct broker b;
    struct peer *p;
    char *large = text_of(2u << 20);

    broker_init(&b, 1);
    broker_start(&b);
    p = broker_client(&b, "self");
    peer_subscribed(p, "t", 1);
    peer_publish(p, "t", large, 1);
    broker_settle(&b);
    assert_non_null(p->stream);
    peer_expect_publish(p, "t", large);
    peer_expect(p, PACKET_PUBACK);
    free(large);
    broker_stop(&b);
}

TEST(overlapping_subscriptions_take_bounded_scratch_memory)
{
    struct broker b;
    struct peer *q;
    uint64_t most = 0;

    broker_init(&b, 1);
    broker_start(&b);
    for (uint32_t i = 0; i < 50; i++) {
        struct peer *p = broker_client(&b, broker_id_at(&b, 0, i));

        peer_subscribed(p, "a/b", 0);
        peer_subscribed(p, "a/+", 0);
    }
    q = broker_client(&b, "pub");
    for (uint32_t i = 0; i < 1000; i++)
        peer_publish(q, "a/b", "", 0);
    most = cluster_shard(b.cluster, 0)->arena.total;
    assert_int_equal(most, 0);
    shard_begin_turn(cluster_shard(b.cluster, 0), b.now_ms, b.wall_ms);
    {
        enum input verdict;
        uint32_t need;

        q->in_count -=
            q->stream->ops->input(q->stream, bytes_of(q->in, q->in_count), &verdict, &need);
    }
    most = cluster_shard(b.cluster, 0)->arena.total;
    assert_in_range(most, 0, 1u << 20); /* 1000 publishes of 70 KB each would be 4 MB */
    broker_settle(&b);
    broker_stop(&b);
}

TEST(packets_larger_than_the_client_accepts_are_not_sent)
{
    struct connect_out o = {.protocol = MQTT_5,
                            .clean_start = true,
                            .client_id = BYTES_LIT("small"),
                            .maximum_packet_size = 40};
    struct filter_request f[64];
    struct broker b;
    struct peer *p;
    const struct packet *packet;

    broker_init(&b, 1);
    broker_start(&b);
    p = broker_dial(&b, 0, &o);
    for (int i = 0; i < 64; i++)
        f[i] = (struct filter_request){.filter = BYTES_LIT("a/b/c")};
    peer_subscribe_to(p, f, 64, 0);
    broker_settle(&b);
    peer_expect(p, PACKET_CONNACK);
    packet = peer_next(p);
    if (packet && packet->type == PACKET_SUBACK) /* [MQTT-3.1.2-24] */
        assert_in_range(packet->suback.reasons.n + 5, 0, 40);
    broker_stop(&b);
}

/* ---- the window: Receive Maximum and max_inflight_messages ---- */

/* Publisher at worker 0, a lasting subscriber with a receive maximum at the last one. */
struct stage {
    struct broker b;
    struct peer *p, *q;
    const char *topic;
    uint32_t sent;
};

static struct connect_out reader(struct stage *s, uint32_t workers, uint16_t receive_maximum)
{
    return (struct connect_out){.protocol = MQTT_5,
                                .client_id = bytes_str(broker_id_at(&s->b, workers - 1, 1)),
                                .has_session_expiry = true,
                                .session_expiry = 3600,
                                .receive_maximum = receive_maximum};
}

static void start(struct stage *s, uint32_t workers, uint8_t qos, uint16_t receive_maximum)
{
    struct connect_out o;

    broker_start(&s->b);
    s->sent = 0;
    s->topic = broker_topic_at(&s->b, workers / 2, 0);
    s->p = broker_client(&s->b, broker_id_at(&s->b, 0, 0));
    o = reader(s, workers, receive_maximum);
    s->q = broker_connect(&s->b, &o);
    peer_subscribed(s->q, s->topic, qos);
}

static void send(struct stage *s, uint32_t count, uint8_t qos)
{
    char text[16];

    while (count--) {
        snprintf(text, sizeof text, "%u", s->sent++);
        peer_publish(s->p, s->topic, text, qos);
    }
    broker_settle(&s->b);
}

static void come_back(struct stage *s, uint32_t workers, uint16_t receive_maximum)
{
    struct connect_out o = reader(s, workers, receive_maximum);

    peer_drop(s->q);
    broker_settle(&s->b);
    s->q = broker_connect(&s->b, &o);
    assert_true(s->q->packet.connack.session_present);
}

/* The next packet is message `number`. Returns its packet id. */
static uint16_t expect_number(struct stage *s, uint32_t number, bool dup)
{
    const struct packet_publish *m;
    char text[16];

    snprintf(text, sizeof text, "%u", number);
    m = peer_expect_publish(s->q, s->topic, text);
    assert_int_equal(m->dup, dup);
    return m->packet_id;
}

BROKER_TEST(no_more_are_in_flight_than_the_client_takes)
{
    struct stage s;
    uint16_t id;

    broker_init(&s.b, workers);
    start(&s, workers, 1, 2);
    send(&s, 10, 1);
    id = expect_number(&s, 0, false);
    expect_number(&s, 1, false);
    peer_expect_nothing(s.q); /* [MQTT-3.3.4-9] */
    assert_int_equal(BROKER_SUM(&s.b, inflight_messages), 2);
    assert_int_equal(BROKER_SUM(&s.b, queued_messages), 8);
    peer_ack(s.q, PACKET_PUBACK, id);
    broker_settle(&s.b);
    id = expect_number(&s, 2, false);
    peer_expect_nothing(s.q);
    peer_ack(s.q, PACKET_PUBACK, 60000); /* a stray one opens nothing */
    broker_settle(&s.b);
    peer_expect_nothing(s.q);
    peer_ack(s.q, PACKET_PUBACK, (uint16_t)(id - 1));
    peer_ack(s.q, PACKET_PUBACK, id);
    broker_settle(&s.b);
    assert_int_equal(peer_take_numbered(s.q, 3), 10);
    broker_stop(&s.b);
}

TEST(room_for_the_window_goes_when_the_client_pings_or_leaves)
{
    struct stage s;
    const struct session *x;

    broker_init(&s.b, 1);
    start(&s, 1, 1, 100);
    x = session_find(cluster_shard(s.b.cluster, 0), bytes_str(broker_id_at(&s.b, 0, 1)));
    assert_non_null(x);
    for (uint32_t round = 0; round < 2; round++) {
        send(&s, 20, 1);
        for (uint32_t i = 0; i < 20; i++)
            peer_ack(s.q, PACKET_PUBACK, expect_number(&s, round * 20 + i, false));
        broker_settle(&s.b);
        assert_int_not_equal(x->inflight_capacity, 0); /* more may follow */
        if (round == 0)
            peer_ping(s.q);
        else
            peer_drop(s.q);
        broker_settle(&s.b);
        assert_int_equal(x->inflight_capacity, 0);
        if (round == 0)
            peer_expect(s.q, PACKET_PINGRESP);
    }
    broker_stop(&s.b);
}

TEST(no_more_are_in_flight_than_the_configuration_allows)
{
    struct stage s;

    broker_init(&s.b, 1);
    s.b.config.limits.inflight = 3;
    start(&s, 1, 1, 100);
    send(&s, 10, 1);
    assert_int_equal(peer_count_publishes(s.q), 3);
    broker_stop(&s.b);
}

TEST(qos_2_takes_its_place_until_pubcomp)
{
    struct stage s;
    uint16_t id;

    broker_init(&s.b, 1);
    start(&s, 1, 2, 1);
    send(&s, 3, 2);
    id = expect_number(&s, 0, false);
    peer_ack(s.q, PACKET_PUBREC, id);
    broker_settle(&s.b);
    assert_int_equal(peer_expect(s.q, PACKET_PUBREL)->ack.packet_id, id);
    peer_expect_nothing(s.q);
    peer_ack(s.q, PACKET_PUBACK, id); /* not the answer that is due */
    broker_settle(&s.b);
    peer_expect_nothing(s.q);
    peer_ack(s.q, PACKET_PUBCOMP, id);
    broker_settle(&s.b);
    expect_number(&s, 1, false);
    peer_expect_nothing(s.q);
    broker_stop(&s.b);
}

TEST(refusing_pubrec_gives_the_place_back)
{
    uint8_t refusal[ACK_BYTES_MAX], *end;
    struct stage s;
    uint16_t id;

    broker_init(&s.b, 1);
    start(&s, 1, 2, 1);
    send(&s, 2, 2);
    id = expect_number(&s, 0, false);
    end = ack_put(refusal, MQTT_5, PACKET_PUBREC, id, REASON_QUOTA_EXCEEDED, bytes_of("", 0));
    peer_write(s.q, bytes_of(refusal, (size_t)(end - refusal)));
    broker_settle(&s.b);
    expect_number(&s, 1, false); /* without a PUBREL */
    broker_stop(&s.b);
}

BROKER_TEST(resumed_client_gets_no_more_at_a_time_than_it_takes_now)
{
    struct stage s;
    uint16_t id;

    broker_init(&s.b, workers);
    start(&s, workers, 1, 5);
    send(&s, 8, 1);
    assert_int_equal(peer_count_publishes(s.q), 5);
    come_back(&s, workers, 2);
    id = expect_number(&s, 0, true);
    expect_number(&s, 1, true);
    peer_expect_nothing(s.q);
    peer_ack(s.q, PACKET_PUBACK, id);
    broker_settle(&s.b);
    expect_number(&s, 2, true); /* what was in flight first, in order [MQTT-4.6.0-1] */
    peer_expect_nothing(s.q);
    send(&s, 2, 1);
    peer_expect_nothing(s.q);
    peer_ack(s.q, PACKET_PUBACK, (uint16_t)(id + 1));
    peer_ack(s.q, PACKET_PUBACK, (uint16_t)(id + 2));
    broker_settle(&s.b);
    peer_ack(s.q, PACKET_PUBACK, expect_number(&s, 3, true));
    peer_ack(s.q, PACKET_PUBACK, expect_number(&s, 4, true));
    assert_int_equal(peer_take_numbered(s.q, 5), 10);
    assert_int_equal(BROKER_SUM(&s.b, inflight_messages), 0);
    broker_stop(&s.b);
}

BROKER_TEST(resumed_client_gets_pubrel_for_what_it_has_received)
{
    struct stage s;
    uint16_t id;

    broker_init(&s.b, workers);
    start(&s, workers, 2, 2);
    send(&s, 3, 2);
    id = expect_number(&s, 0, false);
    expect_number(&s, 1, false);
    peer_ack(s.q, PACKET_PUBREC, id);
    broker_settle(&s.b);
    come_back(&s, workers, 2);
    assert_int_equal(peer_expect(s.q, PACKET_PUBREL)->ack.packet_id, id); /* [MQTT-4.4.0-1] */
    expect_number(&s, 1, true);
    peer_expect_nothing(s.q);
    peer_ack(s.q, PACKET_PUBCOMP, id);
    broker_settle(&s.b);
    expect_number(&s, 2, false);
    broker_stop(&s.b);
}

TEST(delivery_acknowledged_before_it_is_sent_again_is_done)
{
    struct stage s;

    broker_init(&s.b, 1);
    start(&s, 1, 1, 5);
    send(&s, 5, 1);
    assert_int_equal(peer_count_publishes(s.q), 5);
    come_back(&s, 1, 1);
    expect_number(&s, 0, true);
    peer_ack(s.q, PACKET_PUBACK, 3); /* known from the old connection */
    broker_settle(&s.b);
    peer_expect_nothing(s.q);
    peer_ack(s.q, PACKET_PUBACK, 1);
    broker_settle(&s.b);
    expect_number(&s, 1, true);
    peer_ack(s.q, PACKET_PUBACK, 2);
    broker_settle(&s.b);
    expect_number(&s, 3, true);
    broker_stop(&s.b);
}

/* ---- waiting, and the bounds of it ---- */

BROKER_TEST(absent_session_gets_what_was_published_meanwhile_in_order)
{
    struct stage s;

    broker_init(&s.b, workers);
    start(&s, workers, 1, 10);
    peer_drop(s.q);
    broker_settle(&s.b);
    send(&s, 200, 1);
    assert_int_equal(BROKER_SUM(&s.b, queued_messages), 200);
    come_back(&s, workers, 10);
    assert_int_equal(peer_take_numbered(s.q, 0), 200);
    broker_stop(&s.b);
}

TEST(full_queue_drops_the_new_ones)
{
    struct stage s;

    broker_init(&s.b, 2);
    s.b.config.limits.queued_messages = 5;
    s.b.config.limits.queue_full = QUEUE_DROP_NEW;
    start(&s, 2, 1, 2);
    send(&s, 20, 1);
    assert_int_equal(BROKER_SUM(&s.b, dropped_queue_full), 13);
    assert_int_equal(peer_take_numbered(s.q, 0), 7);
    send(&s, 3, 1); /* there is room again */
    assert_int_equal(peer_take_numbered(s.q, 20), 23);
    broker_stop(&s.b);
}

TEST(full_queue_drops_the_old_ones)
{
    struct stage s;

    broker_init(&s.b, 2);
    s.b.config.limits.queued_messages = 5;
    s.b.config.limits.queue_full = QUEUE_DROP_OLD;
    start(&s, 2, 1, 2);
    send(&s, 20, 1);
    assert_int_equal(BROKER_SUM(&s.b, dropped_queue_full), 13);
    peer_ack(s.q, PACKET_PUBACK, expect_number(&s, 0, false));
    peer_ack(s.q, PACKET_PUBACK, expect_number(&s, 1, false));
    assert_int_equal(peer_take_numbered(s.q, 15), 20);
    broker_stop(&s.b);
}

TEST(full_queue_disconnects_who_does_not_acknowledge)
{
    struct stage s;

    broker_init(&s.b, 2);
    s.b.config.limits.queued_messages = 5;
    s.b.config.limits.queue_full = QUEUE_DISCONNECT;
    start(&s, 2, 1, 2);
    send(&s, 20, 1);
    expect_number(&s, 0, false);
    expect_number(&s, 1, false);
    peer_expect_end(s.q, REASON_QUOTA_EXCEEDED, CLOSE_QUEUE_FULL);
    assert_int_equal(BROKER_SUM(&s.b, dropped_queue_full), 13);
    send(&s, 5, 1); /* nobody to disconnect */
    come_back(&s, 2, 100);
    peer_ack(s.q, PACKET_PUBACK, expect_number(&s, 0, true));
    peer_ack(s.q, PACKET_PUBACK, expect_number(&s, 1, true));
    assert_int_equal(peer_take_numbered(s.q, 2), 7);
    broker_stop(&s.b);
}

TEST(client_that_fills_its_own_queue_is_disconnected_once)
{
    struct broker b;
    struct peer *p;

    broker_init(&b, 1);
    b.config.limits.inflight = 1;
    b.config.limits.queued_messages = 2;
    b.config.limits.queue_full = QUEUE_DISCONNECT;
    broker_start(&b);
    p = broker_durable(&b, "self", MQTT_5);
    peer_subscribed(p, "t", 1);
    peer_subscribed(p, "+", 1);
    for (int i = 0; i < 10; i++)
        peer_publish(p, "t", "x", 1);
    broker_settle(&b);
    peer_expect_publish(p, "t", "x");
    while (peer_next(p) && p->packet.type == PACKET_PUBACK)
        ;
    assert_int_equal(p->packet.type, PACKET_DISCONNECT);
    assert_null(p->stream);
    broker_stop(&b);
}

TEST(queued_bytes_are_bounded_too)
{
    char *large = text_of(10000);
    struct stage s;

    broker_init(&s.b, 1);
    s.b.config.limits.queued_bytes = 100000;
    start(&s, 1, 1, 1);
    for (int i = 0; i < 30; i++)
        peer_publish(s.p, s.topic, large, 1);
    broker_settle(&s.b);
    assert_in_range(BROKER_SUM(&s.b, queued_messages), 9, 10);
    assert_int_equal(BROKER_SUM(&s.b, dropped_queue_bytes), 29 - BROKER_SUM(&s.b, queued_messages));
    assert_int_equal(BROKER_SUM(&s.b, dropped_queue_full), 0);
    free(large);
    broker_stop(&s.b);
}

TEST(message_larger_than_the_bound_waits_if_it_is_alone)
{
    char *large = text_of(10000);
    struct stage s;

    broker_init(&s.b, 1);
    s.b.config.limits.queued_bytes = 1000;
    start(&s, 1, 1, 1);
    peer_drop(s.q);
    broker_settle(&s.b);
    peer_publish(s.p, s.topic, large, 1);
    peer_publish(s.p, s.topic, large, 1);
    broker_settle(&s.b);
    assert_int_equal(BROKER_SUM(&s.b, queued_messages), 1);
    assert_int_equal(BROKER_SUM(&s.b, dropped_queue_bytes), 1);
    free(large);
    broker_stop(&s.b);
}

TEST(qos_0_to_a_slow_reader_is_dropped_and_counted)
{
    char *large = text_of(5000);
    struct stage s;
    uint32_t n;

    broker_init(&s.b, 2);
    s.b.config.limits.outq_bytes = OUTQ_BYTES_MIN;
    start(&s, 2, 0, 10);
    s.q->reads = false;
    for (int i = 0; i < 100; i++)
        peer_publish(s.p, s.topic, large, 0);
    broker_settle(&s.b);
    assert_in_range(s.q->stream->outq.bytes, OUTQ_BYTES_MIN - 5100, OUTQ_BYTES_MIN + 100);
    s.q->reads = true;
    broker_settle(&s.b);
    n = peer_count_publishes(s.q);
    assert_in_range(n, OUTQ_BYTES_MIN / 5100, OUTQ_BYTES_MIN / 5000);
    assert_int_equal(BROKER_SUM(&s.b, dropped_qos0_slow), 100 - n);
    free(large);
    broker_stop(&s.b);
}

TEST(qos_1_to_a_slow_reader_waits_and_nothing_is_lost)
{
    char *large = text_of(5000);
    struct stage s;

    broker_init(&s.b, 2);
    s.b.config.limits.outq_bytes = OUTQ_BYTES_MIN;
    s.b.config.limits.inflight = 1000;
    start(&s, 2, 1, 1000);
    s.q->reads = false;
    for (int i = 0; i < 100; i++)
        peer_publish(s.p, s.topic, large, 1);
    broker_settle(&s.b);
    assert_in_range(s.q->stream->outq.bytes, 1, 2 * OUTQ_BYTES_MIN);
    s.q->reads = true;
    broker_settle(&s.b);
    assert_int_equal(peer_count_publishes(s.q), 100);
    free(large);
    broker_stop(&s.b);
}

/* ---- absent sessions and QoS 0 ---- */

static uint32_t qos_0_kept_while_absent(bool queue_qos0)
{
    struct stage s;
    uint32_t n;

    broker_init(&s.b, 2);
    s.b.config.limits.queue_qos0 = queue_qos0;
    start(&s, 2, 1, 10);
    peer_drop(s.q);
    broker_settle(&s.b);
    send(&s, 3, 0);
    assert_int_equal(BROKER_SUM(&s.b, dropped_offline_qos0), queue_qos0 ? 0 : 3);
    come_back(&s, 2, 10);
    n = peer_take_numbered(s.q, 0);
    broker_stop(&s.b);
    return n;
}

TEST(qos_0_waits_for_an_absent_session_only_if_configured)
{
    assert_int_equal(qos_0_kept_while_absent(false), 0);
    assert_int_equal(qos_0_kept_while_absent(true), 3);
}

TEST(waiting_qos_0_that_is_too_large_for_the_new_connection_is_counted)
{
    struct connect_out o = {.protocol = MQTT_5,
                            .client_id = BYTES_LIT("q"),
                            .has_session_expiry = true,
                            .session_expiry = 3600,
                            .maximum_packet_size = 100};
    char *large = text_of(200);
    struct broker b;
    struct peer *p, *q;

    broker_init(&b, 1);
    b.config.limits.queue_qos0 = true;
    broker_start(&b);
    q = broker_durable(&b, "q", MQTT_5);
    peer_subscribed(q, "t", 0);
    peer_drop(q);
    p = broker_client(&b, "p");
    peer_publish(p, "t", large, 0);
    peer_publish(p, "t", "1", 0);
    broker_settle(&b);
    q = broker_connect(&b, &o);
    broker_settle(&b);
    peer_expect_publish(q, "t", "1");
    assert_int_equal(BROKER_SUM(&b, dropped_too_large), 1);
    free(large);
    broker_stop(&b);
}

/* ---- expiry ---- */

static void send_expiring(struct stage *s, uint32_t seconds, bool retain)
{
    struct publish_out o = {.qos = 1,
                            .packet_id = 1,
                            .topic = bytes_str(s->topic),
                            .payload = BYTES_LIT("x"),
                            .retain = retain,
                            .has_expiry = true,
                            .message_expiry = seconds};

    peer_publish_out(s->p, &o);
    broker_settle(&s->b);
}

BROKER_TEST(waiting_message_that_has_expired_is_not_delivered)
{
    struct stage s;

    broker_init(&s.b, workers);
    start(&s, workers, 1, 10);
    peer_drop(s.q);
    broker_settle(&s.b);
    send_expiring(&s, 10, false);
    send_expiring(&s, 20, false);
    send(&s, 1, 1);
    broker_pass(&s.b, 15000);
    come_back(&s, workers, 10);
    peer_expect_publish(s.q, s.topic, "x");                        /* [MQTT-3.3.2-5] */
    assert_int_equal(s.q->packet.publish.props.message_expiry, 5); /* [MQTT-3.3.2-6] */
    expect_number(&s, 0, false);
    peer_expect_nothing(s.q);
    assert_int_equal(BROKER_SUM(&s.b, dropped_expired), 1);
    broker_stop(&s.b);
}

BROKER_TEST(retained_message_that_has_expired_is_not_delivered)
{
    struct stage s;
    struct peer *p;

    broker_init(&s.b, workers);
    start(&s, workers, 1, 10);
    send_expiring(&s, 10, true);
    p = broker_client(&s.b, broker_id_at(&s.b, workers - 1, 5));
    broker_pass(&s.b, 4000);
    peer_subscribed(p, s.topic, 0);
    peer_expect_publish(p, s.topic, "x");
    assert_int_equal(p->packet.publish.props.message_expiry, 6);
    broker_pass(&s.b, 6000);
    peer_subscribed(p, s.topic, 0);
    peer_expect_nothing(p);
    broker_stop(&s.b);
}

TEST(message_in_flight_is_sent_again_although_it_has_expired)
{
    struct stage s;

    broker_init(&s.b, 1);
    start(&s, 1, 1, 10);
    send_expiring(&s, 10, false);
    peer_expect_publish(s.q, s.topic, "x");
    broker_pass(&s.b, 60000);
    come_back(&s, 1, 10);
    assert_true(peer_expect_publish(s.q, s.topic, "x")->dup);
    broker_stop(&s.b);
}

/* ---- what the receiver takes ---- */

TEST(message_too_large_for_the_receiver_is_as_good_as_sent)
{
    struct connect_out o;
    struct stage s;
    char *large = text_of(200);
    uint32_t sent;

    broker_init(&s.b, 2);
    start(&s, 2, 1, 2);
    o = reader(&s, 2, 2);
    o.maximum_packet_size = 100;
    peer_drop(s.q);
    broker_settle(&s.b);
    s.q = broker_connect(&s.b, &o);
    for (int i = 0; i < 5; i++) {
        send(&s, 1, 1);
        peer_publish(s.p, s.topic, large, 1);
        peer_publish(s.p, s.topic, large, 0);
    }
    sent = s.sent;
    assert_int_equal(peer_take_numbered(s.q, 0), sent); /* [MQTT-3.1.2-24] [MQTT-3.1.2-25] */
    assert_int_equal(BROKER_SUM(&s.b, dropped_too_large), 10);
    assert_int_equal(BROKER_SUM(&s.b, inflight_messages), 0);
    free(large);
    broker_stop(&s.b);
}

BROKER_TEST(topic_alias_towards_the_receiver_saves_the_topic)
{
    struct connect_out o = {.protocol = MQTT_5, .clean_start = true, .topic_alias_maximum = 2};
    const struct packet_publish *m;
    struct broker b;
    struct peer *p, *q;

    broker_init(&b, workers);
    broker_start(&b);
    p = broker_client(&b, broker_id_at(&b, 0, 0));
    o.client_id = bytes_str(broker_id_at(&b, workers - 1, 1));
    q = broker_connect(&b, &o);
    peer_subscribed(q, "#", 1);
    for (int round = 0; round < 3; round++) {
        peer_publish(p, "long/topic/1", "1", 0);
        peer_publish(p, "long/topic/2", "2", 1);
        peer_publish(p, "long/topic/3", "3", 0);
        broker_settle(&b);
        m = peer_expect_publish(q, round ? "" : "long/topic/1", "1");
        assert_int_equal(m->props.topic_alias, 1);
        m = peer_expect_publish(q, round ? "" : "long/topic/2", "2");
        assert_int_equal(m->props.topic_alias, 2);
        m = peer_expect_publish(q, "long/topic/3", "3"); /* [MQTT-3.1.2-26]: no third */
        assert_false(m->props.present & PROP_BIT(PROP_TOPIC_ALIAS));
    }
    broker_stop(&b);
}

TEST(topic_alias_is_not_used_unasked)
{
    struct stage s;

    broker_init(&s.b, 1);
    start(&s, 1, 0, 10);
    send(&s, 3, 0);
    for (uint32_t i = 0; i < 3; i++) {
        expect_number(&s, i, false);
        assert_false(s.q->packet.publish.props.present & PROP_BIT(PROP_TOPIC_ALIAS));
    }
    broker_stop(&s.b);
}

TEST(topic_alias_of_a_message_that_did_not_leave_is_not_used)
{
    struct connect_out o = {.protocol = MQTT_5,
                            .clean_start = true,
                            .client_id = BYTES_LIT("q"),
                            .topic_alias_maximum = 5,
                            .maximum_packet_size = 100};
    struct broker b;
    struct peer *p, *q;
    char *large = text_of(200);

    broker_init(&b, 1);
    broker_start(&b);
    p = broker_client(&b, "p");
    q = broker_connect(&b, &o);
    peer_subscribed(q, "#", 0);
    peer_publish(p, "long/topic", large, 0);
    peer_publish(p, "long/topic", "small", 0);
    peer_publish(p, "long/topic", "small", 0);
    broker_settle(&b);
    peer_expect_publish(q, "long/topic", "small");
    assert_int_equal(q->packet.publish.props.topic_alias, 1);
    peer_expect_publish(q, "", "small");
    free(large);
    broker_stop(&b);
}

/* ---- one copy ---- */

static uint32_t ids_of_last(const struct peer *q)
{
    struct bytes rest = q->packet.publish.props.all;
    uint32_t id, set = 0;

    while (props_next_subscription_id(&rest, &id))
        set |= 1u << id;
    return set;
}

BROKER_TEST(overlapping_subscriptions_make_one_copy_with_all_identifiers)
{
    static const char *const filters[] = {"a/b", "a/+", "#", "+/b"};
    struct broker b;
    struct peer *p, *q;

    broker_init(&b, workers);
    broker_start(&b);
    p = broker_client(&b, broker_id_at(&b, 0, 0));
    q = broker_client(&b, broker_id_at(&b, workers - 1, 1));
    for (uint32_t i = 0; i < 4; i++) {
        struct filter_request f = {.filter = bytes_str(filters[i]), .qos = (uint8_t)(i % 3)};

        peer_subscribe_to(q, &f, 1, i + 1);
        broker_settle(&b);
        peer_expect(q, PACKET_SUBACK);
    }
    peer_publish(p, "a/b", "x", 2);
    broker_settle(&b);
    assert_int_equal(peer_expect_publish(q, "a/b", "x")->qos, 2); /* [MQTT-3.3.4-2] */
    assert_int_equal(ids_of_last(q), 2 + 4 + 8 + 16);             /* [MQTT-3.3.4-3] */
    peer_expect_nothing(q);
    peer_publish(p, "c", "x", 2);
    broker_settle(&b);
    assert_int_equal(peer_expect_publish(q, "c", "x")->qos, 2);
    assert_int_equal(ids_of_last(q), 8);
    broker_stop(&b);
}

TEST(identifiers_survive_waiting_and_sending_again)
{
    struct filter_request f = {.qos = 1};
    struct stage s;

    broker_init(&s.b, 2);
    start(&s, 2, 1, 10);
    f.filter = bytes_str(s.topic);
    peer_subscribe_to(s.q, &f, 1, 3);
    f.filter = BYTES_LIT("#");
    peer_subscribe_to(s.q, &f, 1, 5);
    broker_settle(&s.b);
    peer_drop(s.q);
    broker_settle(&s.b);
    send(&s, 1, 1);
    for (int i = 0; i < 3; i++) {
        come_back(&s, 2, 10);
        expect_number(&s, 0, i > 0);
        assert_int_equal(ids_of_last(s.q), 8 + 32);
    }
    broker_stop(&s.b);
}

TEST(qos_is_the_lower_of_both_unless_upgraded)
{
    for (int upgrade = 0; upgrade < 2; upgrade++)
        for (uint8_t granted = 0; granted < 3; granted++)
            for (uint8_t sent = 0; sent < 3; sent++) {
                struct stage s;
                uint8_t lower = granted < sent ? granted : sent;

                broker_init(&s.b, 2);
                s.b.config.limits.upgrade_qos = upgrade;
                start(&s, 2, granted, 10);
                send(&s, 1, sent);
                expect_number(&s, 0, false);
                assert_int_equal(s.q->packet.publish.qos, upgrade ? granted : lower);
                broker_stop(&s.b);
            }
}
