/* tests/core/broker/test_bounds.c -- what one hostile client may cost: little, and with a bound. */
#include <stdio.h>
#include <stdlib.h>

#include "core/broker/state.h"
#include "tests/support/broker.h"
#include "tests/support/test.h"

/* A list of `count` times the same filter, as SUBSCRIBE or UNSUBSCRIBE of MQTT 3.1.1. */
static void write_list(struct peer *p, uint8_t first, uint32_t count, const char *filter)
{
    const bool has_qos = first == 0x82;
    const uint32_t n = (uint32_t)strlen(filter);
    uint32_t body = 2 + count * (2 + n + has_qos);
    uint8_t *bytes = malloc(body + 5), *to = bytes;

    assert_non_null(bytes);
    *to++ = first;
    to = varint_put(to, body);
    to = put_be16(to, 1);
    for (uint32_t i = 0; i < count; i++) {
        to = put_be16(to, (uint16_t)n);
        to = bytes_put(to, bytes_str(filter));
        if (has_qos)
            *to++ = 0;
    }
    peer_write(p, bytes_of(bytes, (size_t)(to - bytes)));
    free(bytes);
}

static void expect_too_many(uint8_t first)
{
    struct broker b;
    struct peer *p;

    broker_init(&b, 1);
    b.config.limits.subscriptions = 100;
    broker_start(&b);
    p = broker_durable(&b, "c", MQTT_311);
    write_list(p, first, SUBSCRIPTIONS_DEFAULT + 1, "a");
    broker_settle(&b);
    peer_expect_end(p, 0, CLOSE_QUOTA);
    broker_stop(&b);
}

TEST(subscribe_of_more_filters_than_any_session_may_have_ends_the_client)
{
    expect_too_many(0x82);
}

TEST(unsubscribe_of_more_filters_than_any_session_may_have_ends_the_client)
{
    expect_too_many(0xA2);
}

TEST(asking_again_and_again_for_the_same_retained_messages_is_one_question)
{
    struct broker b;
    struct peer *p, *reader;
    struct session *x;
    char topic[16];

    broker_init(&b, 2);
    b.config.limits.queued_messages = 4; /* so that the first slice fills its room */
    broker_start(&b);
    p = broker_client(&b, "p");
    for (int i = 0; i < 50; i++) {
        snprintf(topic, sizeof topic, "r/%d", i);
        peer_retain(p, topic, "v", 1);
    }
    broker_settle(&b);
    reader = broker_durable(&b, broker_id_at(&b, 0, 0), MQTT_311);
    reader->reads = false;
    for (int i = 0; i < 20; i++)
        write_list(reader, 0x82, 50, "r/#");
    broker_settle(&b);
    x = session_find(cluster_shard(b.cluster, 0), bytes_str(broker_id_at(&b, 0, 0)));
    assert_non_null(x);
    assert_in_range(x->ask_count, 0, 1);
    reader->reads = true;
    broker_settle(&b);
    broker_stop(&b);
}

/* A publisher of `count` messages of a megabyte each to a worker that does not run. */
static uint32_t bytes_towards_a_stuck_worker(uint32_t count)
{
    const uint32_t n = 1u << 20;
    struct publish_out o = {0};
    struct broker b;
    struct peer *p, *reader;
    uint8_t *payload = calloc(1, n);
    uint64_t waiting;

    assert_non_null(payload);
    broker_init(&b, 2);
    broker_start(&b);
    reader = broker_client(&b, broker_id_at(&b, 1, 0));
    peer_subscribed(reader, "big", 0);
    p = broker_client(&b, broker_id_at(&b, 0, 0));
    o.topic = BYTES_LIT("big");
    o.payload = bytes_of(payload, n);
    for (uint32_t i = 0; i < count; i++)
        peer_publish_out(p, &o);
    free(payload);
    for (int i = 0; i < 5; i++)
        broker_turn(&b, 0);
    waiting = load_relaxed(&cluster_shard(b.cluster, 1)->mail_bytes);
    b.is_woken[1] = true;
    broker_settle(&b);
    assert_int_equal(load_relaxed(&cluster_shard(b.cluster, 1)->mail_bytes), 0);
    broker_stop(&b);
    return (uint32_t)waiting;
}

TEST(large_messages_towards_a_busy_worker_are_bounded_by_bytes)
{
    assert_in_range(bytes_towards_a_stuck_worker(3), 3u << 20, 4u << 20);
    assert_in_range(bytes_towards_a_stuck_worker(80), 1, MAIL_BYTES_MAX);
}

/* With memory_limit reached: the worker looks at once, as it has taken more than a little. */
static void fill_memory(struct broker *b)
{
    struct shard *s = cluster_shard(b->cluster, 0);

    STAT_ADD(&s->stats, input_bytes_held, 2u << 20);
    for (int i = 0; i < 17; i++)
        broker_turn(b, 0);
}

static void empty_memory(struct broker *b)
{
    struct shard *s = cluster_shard(b->cluster, 0);

    STAT_ADD(&s->stats, input_bytes_held, -(2 << 20));
}

TEST(packets_on_their_way_have_an_eighth_of_the_memory_of_their_own)
{
    struct broker b;
    struct shard *s;

    broker_init(&b, 1);
    b.config.limits.memory_bytes = 8u << 20;
    broker_start(&b);
    s = cluster_shard(b.cluster, 0);
    STAT_ADD(&s->stats, filter_bytes_held, 8u << 20); /* others have all of it */
    assert_true(shard_hold_input(s, 500u << 10));
    assert_false(shard_hold_routes(s, 1));
    assert_true(shard_hold_input(s, 600u << 10)); /* this one goes beyond */
    assert_false(shard_hold_input(s, 1));
    assert_true(shard_hold_input(s, -(1100 << 10)));
    assert_true(shard_hold_input(s, 1));
    assert_true(shard_hold_input(s, -1));
    STAT_ADD(&s->stats, filter_bytes_held, -(8 << 20));
    broker_stop(&b);
}

TEST(will_is_refused_when_the_memory_is_used_up)
{
    struct connect_out o = {.protocol = MQTT_5,
                            .clean_start = true,
                            .client_id = BYTES_LIT("c"),
                            .has_will = true,
                            .will_topic = BYTES_LIT("w"),
                            .will_payload = BYTES_LIT("gone")};
    struct broker b;
    struct peer *p;

    broker_init(&b, 1);
    b.config.limits.memory_bytes = 1u << 20;
    broker_start(&b);
    fill_memory(&b);
    p = broker_dial(&b, 0, &o);
    broker_settle(&b);
    assert_int_equal(peer_expect(p, PACKET_CONNACK)->connack.reason, REASON_QUOTA_EXCEEDED);
    empty_memory(&b);
    broker_stop(&b);
}

static void expect_refused(struct peer *p, const char *filter)
{
    peer_subscribe(p, filter, 0);
    broker_settle(p->broker);
    assert_int_equal(peer_expect(p, PACKET_SUBACK)->suback.reasons.p[0], REASON_QUOTA_EXCEEDED);
}

TEST(new_filters_are_refused_when_the_memory_is_used_up)
{
    struct broker b;
    struct peer *p;

    broker_init(&b, 1);
    b.config.limits.memory_bytes = 1u << 20;
    broker_start(&b);
    p = broker_client(&b, "c");
    peer_subscribed(p, "before", 0);
    fill_memory(&b);
    peer_subscribed(p, "before", 0); /* nothing new is held for this */
    expect_refused(p, "after");
    expect_refused(p, "$share/g/after");
    empty_memory(&b);
    broker_stop(&b);
}

TEST(routes_of_links_count_against_the_memory_and_are_refused_when_it_is_used_up)
{
    struct broker b;
    struct shard *s;

    broker_init(&b, 1);
    b.config.limits.memory_bytes = 1u << 20;
    broker_start(&b);
    s = cluster_shard(b.cluster, 0);
    assert_true(shard_hold_routes(s, 800u << 10));
    assert_true(shard_hold_routes(s, 300u << 10)); /* seen before the next regular look */
    assert_false(shard_hold_routes(s, 1));
    assert_int_equal(BROKER_SUM(&b, filter_bytes_held), 1100u << 10);
    assert_true(shard_hold_routes(s, -(300 << 10)));
    assert_true(shard_hold_routes(s, 1));
    assert_true(shard_hold_routes(s, -(800 << 10) - 1));
    assert_int_equal(BROKER_SUM(&b, filter_bytes_held), 0);
    broker_stop(&b);
}

TEST(bridge_gets_no_message_of_its_own_back)
{
    static const uint8_t connect[] = {0x10, 13, 0, 4, 'M', 'Q', 'T', 'T', 0x84, 2, 0, 0, 0, 1, 'b'};
    struct broker b;
    struct peer *bridge, *p;

    broker_init(&b, 1);
    broker_start(&b);
    bridge = broker_open(&b, 0, "b");
    bridge->protocol = MQTT_311;
    peer_write(bridge, bytes_of(connect, sizeof connect));
    broker_settle(&b);
    peer_expect(bridge, PACKET_CONNACK);
    peer_subscribed(bridge, "t", 0);
    peer_publish(bridge, "t", "own", 0);
    p = broker_client(&b, "p");
    peer_retain(p, "t", "other", 0);
    broker_settle(&b);
    assert_true(peer_expect_publish(bridge, "t", "other")->retain); /* as published */
    peer_expect_nothing(bridge);
    broker_stop(&b);
}
