/* tests/core/broker/test_publish.c -- what clients publish: QoS 1 and 2, quota, aliases, rules. */
#include <stdio.h>
#include <stdlib.h>

#include "core/broker/state.h"
#include "tests/support/broker.h"
#include "tests/support/test.h"

/* Publisher at worker 0, a subscriber with QoS 2 at the last one, a topic between them. */
struct stage {
    struct broker b;
    struct peer *p, *q;
    const char *topic;
};

static void start(struct stage *s, uint32_t workers)
{
    broker_start(&s->b);
    s->topic = broker_topic_at(&s->b, workers / 2, 0);
    s->p = broker_durable(&s->b, broker_id_at(&s->b, 0, 0), MQTT_5);
    s->q = broker_client(&s->b, broker_id_at(&s->b, workers - 1, 1));
    peer_subscribed(s->q, s->topic, 2);
}

static void publish_with_id(struct peer *p, const char *topic, uint8_t qos, uint16_t id)
{
    struct publish_out o = {
        .qos = qos, .packet_id = id, .topic = bytes_str(topic), .payload = BYTES_LIT("x")};

    peer_publish_out(p, &o);
}

static void expect_ack(struct peer *p, enum packet_type type, uint16_t id, uint8_t reason)
{
    const struct packet_ack *a = &peer_expect(p, type)->ack;

    assert_int_equal(a->packet_id, id);
    assert_int_equal(a->reason, reason);
}

/* ---- QoS 2 ---- */

BROKER_TEST(qos_2_duplicate_is_not_routed_twice)
{
    struct stage s;

    broker_init(&s.b, workers);
    start(&s, workers);
    publish_with_id(s.p, s.topic, 2, 9);
    publish_with_id(s.p, s.topic, 2, 9); /* in the same turn */
    broker_settle(&s.b);
    publish_with_id(s.p, s.topic, 2, 9);
    broker_settle(&s.b);
    for (int i = 0; i < 3; i++)
        expect_ack(s.p, PACKET_PUBREC, 9, 0); /* [MQTT-4.3.3-10] */
    assert_int_equal(peer_count_publishes(s.q), 1);
    peer_ack(s.p, PACKET_PUBREL, 9);
    broker_settle(&s.b);
    expect_ack(s.p, PACKET_PUBCOMP, 9, 0);
    publish_with_id(s.p, s.topic, 2, 9); /* another message under the same id */
    broker_settle(&s.b);
    expect_ack(s.p, PACKET_PUBREC, 9, 0);
    assert_int_equal(peer_count_publishes(s.q), 1);
    broker_stop(&s.b);
}

BROKER_TEST(qos_2_duplicate_after_a_reconnect_is_not_routed_twice)
{
    struct stage s;

    broker_init(&s.b, workers);
    start(&s, workers);
    publish_with_id(s.p, s.topic, 2, 9);
    broker_settle(&s.b);
    peer_drop(s.p);
    s.p = broker_durable(&s.b, broker_id_at(&s.b, 0, 0), MQTT_5);
    assert_true(s.p->packet.connack.session_present);
    publish_with_id(s.p, s.topic, 2, 9);
    peer_ack(s.p, PACKET_PUBREL, 9);
    broker_settle(&s.b);
    expect_ack(s.p, PACKET_PUBREC, 9, 0);
    expect_ack(s.p, PACKET_PUBCOMP, 9, 0);
    assert_int_equal(peer_count_publishes(s.q), 1);
    broker_stop(&s.b);
}

TEST(pubrel_of_an_unknown_id_is_answered)
{
    struct stage s;

    broker_init(&s.b, 1);
    start(&s, 1);
    peer_ack(s.p, PACKET_PUBREL, 77);
    broker_settle(&s.b);
    expect_ack(s.p, PACKET_PUBCOMP, 77, REASON_PACKET_ID_NOT_FOUND);
    broker_stop(&s.b);
}

TEST(acknowledgements_come_in_the_order_of_the_messages)
{
    struct stage s;

    broker_init(&s.b, 2);
    start(&s, 2);
    for (uint16_t id = 500; id > 0; id--)
        publish_with_id(s.p, s.topic, 1 + id % 2, id);
    broker_settle(&s.b);
    for (uint16_t id = 500; id > 0; id--) /* [MQTT-4.6.0-2] [MQTT-4.6.0-3] */
        expect_ack(s.p, id % 2 ? PACKET_PUBREC : PACKET_PUBACK, id, 0);
    broker_stop(&s.b);
}

TEST(publisher_learns_that_nobody_subscribed)
{
    struct stage s;

    broker_init(&s.b, 2);
    start(&s, 2);
    publish_with_id(s.p, "nobody", 1, 1);
    publish_with_id(s.p, "nobody", 2, 2);
    publish_with_id(s.p, s.topic, 1, 3);
    broker_settle(&s.b);
    expect_ack(s.p, PACKET_PUBACK, 1, REASON_NO_MATCHING_SUBSCRIBERS);
    expect_ack(s.p, PACKET_PUBREC, 2, REASON_NO_MATCHING_SUBSCRIBERS);
    expect_ack(s.p, PACKET_PUBACK, 3, 0);
    broker_stop(&s.b);
}

/* ---- receive maximum, towards us ---- */

BROKER_TEST(one_qos_2_message_too_many_ends_the_connection)
{
    struct stage s;

    broker_init(&s.b, workers);
    s.b.config.limits.receive_maximum = 3;
    start(&s, workers);
    for (uint16_t id = 1; id <= 3; id++)
        publish_with_id(s.p, s.topic, 2, id);
    broker_settle(&s.b);
    for (uint16_t id = 1; id <= 3; id++)
        expect_ack(s.p, PACKET_PUBREC, id, 0);
    publish_with_id(s.p, s.topic, 2, 2); /* a duplicate takes no place */
    peer_ack(s.p, PACKET_PUBREL, 1);
    publish_with_id(s.p, s.topic, 2, 4);
    broker_settle(&s.b);
    expect_ack(s.p, PACKET_PUBREC, 2, 0);
    expect_ack(s.p, PACKET_PUBCOMP, 1, 0);
    expect_ack(s.p, PACKET_PUBREC, 4, 0);
    publish_with_id(s.p, s.topic, 2, 5);
    broker_settle(&s.b);
    peer_expect_end(s.p, REASON_RECEIVE_MAXIMUM_EXCEEDED, CLOSE_RECEIVE_MAXIMUM);
    assert_int_equal(BROKER_SUM(&s.b, receive_maximum_exceeded), 1);
    assert_int_equal(peer_count_publishes(s.q), 4);
    broker_stop(&s.b);
}

TEST(puback_gives_the_place_back)
{
    struct stage s;

    broker_init(&s.b, 1);
    s.b.config.limits.receive_maximum = 3;
    start(&s, 1);
    for (uint16_t round = 0; round < 20; round++) {
        for (uint16_t i = 1; i <= 3; i++)
            publish_with_id(s.p, s.topic, 1, i);
        broker_settle(&s.b);
        for (uint16_t i = 1; i <= 3; i++)
            expect_ack(s.p, PACKET_PUBACK, i, 0);
    }
    publish_with_id(s.p, s.topic, 0, 0); /* QoS 0 takes none */
    for (uint16_t i = 1; i <= 4; i++)
        publish_with_id(s.p, s.topic, 1, i);
    broker_settle(&s.b);
    assert_null(s.p->stream);
    assert_int_equal(s.p->why, CLOSE_RECEIVE_MAXIMUM);
    broker_stop(&s.b);
}

TEST(refused_qos_2_message_takes_no_place)
{
    struct stage s;

    broker_init(&s.b, 1);
    s.b.config.limits.receive_maximum = 2;
    start(&s, 1);
    for (uint16_t id = 1; id <= 10; id++) {
        publish_with_id(s.p, "$SYS/x", 2, id);
        broker_settle(&s.b);
        expect_ack(s.p, PACKET_PUBREC, id, REASON_NOT_AUTHORIZED);
    }
    publish_with_id(s.p, s.topic, 2, 10); /* refused, so the id was free [MQTT-4.3.3-9] */
    broker_settle(&s.b);
    expect_ack(s.p, PACKET_PUBREC, 10, 0);
    assert_int_equal(peer_count_publishes(s.q), 1);
    broker_stop(&s.b);
}

TEST(window_towards_us_begins_anew_with_a_connection)
{
    struct stage s;

    broker_init(&s.b, 1);
    s.b.config.limits.receive_maximum = 2;
    start(&s, 1);
    publish_with_id(s.p, s.topic, 2, 1);
    publish_with_id(s.p, s.topic, 2, 2);
    broker_settle(&s.b);
    peer_drop(s.p);
    s.p = broker_durable(&s.b, broker_id_at(&s.b, 0, 0), MQTT_5);
    publish_with_id(s.p, s.topic, 2, 1); /* the old ones, again */
    publish_with_id(s.p, s.topic, 2, 2);
    peer_ack(s.p, PACKET_PUBREL, 1); /* takes no place, so gives none */
    publish_with_id(s.p, s.topic, 2, 3);
    publish_with_id(s.p, s.topic, 2, 4);
    broker_settle(&s.b);
    expect_ack(s.p, PACKET_PUBREC, 1, 0);
    expect_ack(s.p, PACKET_PUBREC, 2, 0);
    expect_ack(s.p, PACKET_PUBCOMP, 1, 0);
    expect_ack(s.p, PACKET_PUBREC, 3, 0);
    expect_ack(s.p, PACKET_PUBREC, 4, 0);
    publish_with_id(s.p, s.topic, 2, 5);
    broker_settle(&s.b);
    peer_expect_end(s.p, REASON_RECEIVE_MAXIMUM_EXCEEDED, CLOSE_RECEIVE_MAXIMUM);
    assert_int_equal(peer_count_publishes(s.q), 4);
    broker_stop(&s.b);
}

TEST(client_of_mqtt_3_knows_no_receive_maximum)
{
    struct broker b;
    struct peer *p;

    broker_init(&b, 1);
    b.config.limits.receive_maximum = 2;
    broker_start(&b);
    p = broker_durable(&b, "c", MQTT_311);
    for (uint16_t id = 1; id <= 100; id++)
        publish_with_id(p, "t", 1 + id % 2, id);
    broker_settle(&b);
    assert_non_null(p->stream);
    broker_stop(&b);
}

/* ---- topic aliases, towards us ---- */

static void publish_alias(struct peer *p, const char *topic, uint16_t alias, const char *payload)
{
    struct publish_out o = {
        .topic = bytes_str(topic), .topic_alias = alias, .payload = bytes_str(payload)};

    peer_publish_out(p, &o);
}

BROKER_TEST(topic_alias_stands_for_its_last_topic)
{
    struct stage s;
    const char *other;

    broker_init(&s.b, workers);
    s.b.config.limits.topic_alias = 2;
    start(&s, workers);
    other = broker_topic_at(&s.b, workers / 2, 1);
    peer_subscribed(s.q, other, 0);
    publish_alias(s.p, s.topic, 1, "1");
    publish_alias(s.p, other, 2, "2");
    publish_alias(s.p, "", 1, "3");
    publish_alias(s.p, "", 2, "4");
    publish_alias(s.p, other, 1, "5"); /* [MQTT-3.3.2-12]: from now on */
    publish_alias(s.p, "", 1, "6");
    broker_settle(&s.b);
    peer_expect_publish(s.q, s.topic, "1");
    peer_expect_publish(s.q, other, "2");
    peer_expect_publish(s.q, s.topic, "3");
    peer_expect_publish(s.q, other, "4");
    peer_expect_publish(s.q, other, "5");
    peer_expect_publish(s.q, other, "6");
    broker_stop(&s.b);
}

TEST(topic_alias_beyond_the_bound_or_unknown_ends_the_connection)
{
    struct broker b;
    struct peer *p;

    broker_init(&b, 1);
    b.config.limits.topic_alias = 2;
    broker_start(&b);
    p = broker_client(&b, "a");
    publish_alias(p, "t", 3, "x");
    broker_settle(&b);
    peer_expect_end(p, REASON_TOPIC_ALIAS_INVALID, CLOSE_TOPIC_ALIAS); /* [MQTT-3.3.2-9] */
    p = broker_client(&b, "b");
    publish_alias(p, "", 1, "x");
    broker_settle(&b);
    peer_expect_end(p, REASON_PROTOCOL_ERROR, CLOSE_PROTOCOL_ERROR);
    broker_stop(&b);
}

TEST(topic_alias_ends_with_its_connection)
{
    struct broker b;
    struct peer *p;

    broker_init(&b, 1);
    broker_start(&b);
    p = broker_durable(&b, "c", MQTT_5);
    publish_alias(p, "t", 1, "x");
    broker_settle(&b);
    peer_drop(p);
    p = broker_durable(&b, "c", MQTT_5);
    publish_alias(p, "", 1, "x"); /* [MQTT-3.3.2-7] */
    broker_settle(&b);
    peer_expect_end(p, REASON_PROTOCOL_ERROR, CLOSE_PROTOCOL_ERROR);
    broker_stop(&b);
}

TEST(broker_without_topic_aliases_refuses_all)
{
    struct broker b;
    struct peer *p;

    broker_init(&b, 1);
    b.config.limits.topic_alias = 0;
    broker_start(&b);
    p = broker_client(&b, "c");
    assert_false(p->packet.connack.props.present & PROP_BIT(PROP_TOPIC_ALIAS_MAXIMUM) &&
                 p->packet.connack.props.topic_alias_maximum);
    publish_alias(p, "t", 1, "x");
    broker_settle(&b);
    peer_expect_end(p, REASON_TOPIC_ALIAS_INVALID, CLOSE_TOPIC_ALIAS);
    broker_stop(&b);
}

/* ---- what may not be published ---- */

TEST(publish_beyond_what_was_announced_ends_the_connection)
{
    struct broker b;
    struct peer *p;

    broker_init(&b, 1);
    b.config.limits.max_qos = 1;
    b.config.limits.retain_available = false;
    broker_start(&b);
    p = broker_client(&b, "a");
    publish_with_id(p, "t", 2, 1);
    broker_settle(&b);
    peer_expect_end(p, REASON_QOS_NOT_SUPPORTED, CLOSE_UNSUPPORTED); /* [MQTT-3.2.2-11] */
    p = broker_client(&b, "b");
    peer_retain(p, "t", "x", 0);
    broker_settle(&b);
    peer_expect_end(p, REASON_RETAIN_NOT_SUPPORTED, CLOSE_UNSUPPORTED); /* [MQTT-3.2.2-14] */
    broker_stop(&b);
}

TEST(publish_beyond_the_qos_of_its_listener_ends_the_connection)
{
    struct broker b;
    struct peer *p;

    broker_init(&b, 1);
    b.listeners[0].has_max_qos = true;
    b.listeners[0].max_qos = 0;
    broker_start(&b);
    p = broker_client(&b, "a");
    peer_subscribed(p, "t", 0);
    publish_with_id(p, "t", 1, 1);
    broker_settle(&b);
    peer_expect_end(p, REASON_QOS_NOT_SUPPORTED, CLOSE_UNSUPPORTED); /* [MQTT-3.2.2-11] */
    broker_stop(&b);
}

TEST(topic_with_too_many_levels_ends_the_connection)
{
    struct broker b;
    struct peer *p;

    broker_init(&b, 1);
    b.config.limits.topic_levels = 3;
    broker_start(&b);
    p = broker_client(&b, "c");
    publish_with_id(p, "a/b/c", 1, 1);
    broker_settle(&b);
    expect_ack(p, PACKET_PUBACK, 1, REASON_NO_MATCHING_SUBSCRIBERS);
    publish_with_id(p, "a/b/c/d", 1, 1);
    broker_settle(&b);
    peer_expect_end(p, REASON_TOPIC_NAME_INVALID, CLOSE_TOPIC_INVALID);
    assert_int_equal(BROKER_SUM(&b, dropped_topic_levels), 1);
    broker_stop(&b);
}

TEST(subscription_identifier_may_not_come_from_a_client)
{
    static const uint8_t publish[] = {0x30, 7, 0, 1, 't', 2, 0x0b, 1, 'x'};
    struct broker b;
    struct peer *p;

    broker_init(&b, 1);
    broker_start(&b);
    p = broker_client(&b, "c");
    peer_write(p, bytes_of(publish, sizeof publish));
    broker_settle(&b);
    peer_expect_end(p, REASON_PROTOCOL_ERROR, CLOSE_PROTOCOL_ERROR); /* [MQTT-3.3.4-6] */
    broker_stop(&b);
}

static void expect_not_routed(struct broker *b, struct peer *p, const char *topic)
{
    publish_with_id(p, topic, 1, 5);
    publish_with_id(p, topic, 0, 0);
    peer_retain(p, topic, "x", 0);
    broker_settle(b);
    expect_ack(p, PACKET_PUBACK, 5, p->protocol == MQTT_5 ? REASON_NOT_AUTHORIZED : 0);
    peer_expect_nothing(p);
    assert_non_null(p->stream);
}

TEST(sys_and_link_topics_are_not_for_clients_to_publish)
{
    struct broker b;
    struct peer *p, *old, *q;

    broker_init(&b, 2);
    broker_start(&b);
    q = broker_client(&b, broker_id_at(&b, 0, 0));
    p = broker_client(&b, broker_id_at(&b, 1, 0));
    old = broker_durable(&b, broker_id_at(&b, 1, 1), MQTT_311);
    peer_subscribed(q, "$SYS/#", 0);
    peer_subscribed(q, "#", 0);
    expect_not_routed(&b, p, "$SYS/broker/uptime");
    expect_not_routed(&b, p, "$LINK/cluster/x");
    expect_not_routed(&b, old, "$SYS/broker/uptime"); /* [MQTT-3.3.5-2] */
    expect_not_routed(&b, old, "$LINK/cluster/x");
    peer_expect_nothing(q);
    assert_int_equal(BROKER_SUM(&b, retained), 0);
    broker_stop(&b);
}

struct taken {
    uint32_t count;
    bool is_busy;
    struct client_name from;
    char topic[64];
};

static bool take_packet(void *link, const struct link_packet *p)
{
    struct taken *t = link;

    if (t->is_busy)
        return false;
    t->count++;
    t->from = p->from;
    assert_true(p->topic.n < sizeof t->topic);
    memcpy(t->topic, p->topic.p, p->topic.n);
    t->topic[p->topic.n] = 0;
    assert_true(bytes_eq(p->payload, BYTES_LIT("x")));
    return true;
}

TEST(link_topics_go_to_the_link_worker_from_listeners_that_may)
{
    struct connect_out o = {
        .protocol = MQTT_5, .clean_start = true, .client_id = BYTES_LIT("outside")};
    struct taken taken = {.is_busy = true};
    struct shard_hooks hooks = {.link = &taken, .link_packet = take_packet};
    struct broker b;
    struct peer *p;

    broker_init(&b, 2);
    b.config.link_workers = 1;
    b.listeners[0].links = LISTENER_LINKS_ON;
    broker_start(&b);
    shard_set_hooks(cluster_shard(b.cluster, 2), &hooks);
    p = broker_client(&b, "peer");
    publish_with_id(p, "$LINK/cluster/hello/x", 1, 1);
    for (int i = 0; i < 5; i++)
        for (uint32_t w = 0; w < 3; w++)
            broker_turn(&b, w);
    assert_int_equal(taken.count, 0); /* offered again until it is taken */
    taken.is_busy = false;
    broker_settle(&b);
    assert_int_equal(taken.count, 1);
    assert_string_equal(taken.topic, "$LINK/cluster/hello/x");
    expect_ack(p, PACKET_PUBACK, 1, 0);
    assert_int_equal(shard_link_kick(cluster_shard(b.cluster, 2), taken.from, 0x87), OK);
    b.is_woken[2] = true;
    broker_settle(&b);
    peer_expect_end(p, REASON_NOT_AUTHORIZED, CLOSE_LINK);
    p = broker_dial(&b, 1, &o);
    broker_settle(&b);
    peer_expect(p, PACKET_CONNACK);
    expect_not_routed(&b, p, "$LINK/cluster/hello/x");
    assert_int_equal(taken.count, 1);
    broker_stop(&b);
}

TEST(listener_for_links_only_is_closed_to_all_other_topics)
{
    struct taken taken = {0};
    struct shard_hooks hooks = {.link = &taken, .link_packet = take_packet};
    struct broker b;
    struct peer *p;

    broker_init(&b, 2);
    b.config.link_workers = 1;
    b.listeners[0].links = LISTENER_LINKS_ONLY;
    broker_start(&b);
    shard_set_hooks(cluster_shard(b.cluster, 2), &hooks);
    p = broker_client(&b, "peer");
    expect_not_routed(&b, p, "t");
    publish_with_id(p, "$LINK/cluster/hello/x", 1, 1);
    broker_settle(&b);
    expect_ack(p, PACKET_PUBACK, 1, 0);
    assert_int_equal(taken.count, 1);
    broker_stop(&b);
}

TEST(message_that_expires_at_once_goes_nowhere)
{
    struct publish_out o = {.topic = BYTES_LIT("t"), .has_expiry = true};
    struct broker b;
    struct peer *p;

    broker_init(&b, 1);
    broker_start(&b);
    p = broker_client(&b, "c");
    peer_subscribed(p, "t", 0);
    peer_publish_out(p, &o);
    broker_settle(&b);
    peer_expect_nothing(p);
    broker_stop(&b);
}
