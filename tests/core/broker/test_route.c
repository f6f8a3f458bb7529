/* tests/core/broker/test_route.c -- a publish to all its destinations or to none. */
#include <stdio.h>
#include <stdlib.h>

#include "core/broker/state.h"
#include "tests/support/broker.h"
#include "tests/support/test.h"

static bool take(void *link, const struct publish *p, uint64_t links)
{
    (void)p;
    (void)links;
    ++*(uint32_t *)link;
    return true;
}

TEST(publisher_with_a_long_client_id_reaches_a_link)
{
    struct shard_hooks hooks = {.forward = take};
    struct connect_out o = {.protocol = MQTT_5, .clean_start = true};
    struct broker b;
    struct peer *p;
    uint32_t taken = 0, n;
    uint8_t *bytes, *id = malloc(60000);

    assert_non_null(id);
    memset(id, 'i', 60000);
    broker_init(&b, 1);
    b.config.link_workers = 1;
    b.config.ring_bytes[MAIL_PUBLISH] = 8192; /* as with many workers */
    broker_start(&b);
    hooks.link = &taken;
    shard_set_hooks(cluster_shard(b.cluster, 1), &hooks);
    assert_int_equal(shard_link_route(cluster_shard(b.cluster, 1), 0, BYTES_LIT("t"), true), OK);
    b.is_woken[1] = true;
    broker_settle(&b);
    p = broker_open(&b, 0, "");
    o.client_id = bytes_of(id, 60000);
    n = connect_size(&o);
    bytes = malloc(n);
    assert_non_null(bytes);
    connect_put(bytes, &o);
    peer_write(p, bytes_of(bytes, n));
    peer_publish(p, "t", "x", 1);
    free(bytes);
    free(id);
    broker_settle(&b);
    assert_int_equal(taken, 1);
    broker_stop(&b);
}

/* ---- full mailboxes ---- */

/* A publisher at worker 0 and `readers` at each worker, all on one topic, with tiny rings. */
#define READERS_MAX 16u
struct crowd {
    struct broker b;
    struct peer *p, *v[READERS_MAX];
    uint32_t count;
    const char *topic;
};

static void start_crowd(struct crowd *c, uint32_t workers, uint32_t each, uint8_t qos)
{
    broker_init(&c->b, workers);
    for (int kind = 0; kind < MAIL_KIND_COUNT; kind++)
        c->b.config.ring_bytes[kind] = 4096;
    c->b.config.limits.queued_messages = 10000;
    broker_start(&c->b);
    c->topic = broker_topic_at(&c->b, workers - 1, 0);
    c->p = broker_client(&c->b, broker_id_at(&c->b, 0, 0));
    c->count = 0;
    for (uint32_t i = 0; i < workers * each; i++) {
        struct peer *q = broker_client(&c->b, broker_id_at(&c->b, i % workers, 1 + i / workers));

        peer_subscribed(q, c->topic, qos);
        c->v[c->count++] = q;
    }
}

static void publish_numbers(struct crowd *c, uint32_t from, uint32_t count, uint32_t pad,
                            uint8_t qos)
{
    char text[700];

    for (uint32_t i = 0; i < count; i++) {
        snprintf(text, sizeof text, "%u %0*d", from + i, (int)pad, 0);
        peer_publish(c->p, c->topic, text, qos);
    }
}

static void expect_numbers(struct crowd *c, uint32_t from, uint32_t to)
{
    for (uint32_t i = 0; i < c->count; i++)
        assert_int_equal(peer_take_numbered(c->v[i], from), to);
}

static void fill_mailboxes(uint32_t workers, uint32_t pad, uint8_t qos)
{
    struct crowd c;

    start_crowd(&c, workers, 2, qos);
    publish_numbers(&c, 0, 300, pad, qos);
    for (uint32_t i = 0; i < 3 && workers > 1; i++)
        broker_turn(&c.b, 0); /* nobody takes anything out */
    if (workers > 1) {
        assert_true(c.p->is_parked);
        assert_int_equal(BROKER_SUM(&c.b, parked), 1);
    }
    expect_numbers(&c, 0, 300);
    assert_false(c.p->is_parked);
    assert_int_equal(BROKER_SUM(&c.b, publish_received), 300);
    publish_numbers(&c, 300, 10, pad, qos);
    expect_numbers(&c, 300, 310);
    broker_stop(&c.b);
}

BROKER_TEST(full_mailbox_parks_the_publisher_and_nothing_is_lost_or_doubled)
{
    fill_mailboxes(workers, 100, 1);
}

BROKER_TEST(full_mailbox_parks_the_publisher_of_qos_0_too)
{
    fill_mailboxes(workers, 1, 0);
}

BROKER_TEST(full_mailbox_parks_the_publisher_of_large_messages_too)
{
    fill_mailboxes(workers, 600, 1);
}

TEST(one_full_mailbox_holds_back_all_destinations)
{
    struct crowd c;
    uint32_t before;

    start_crowd(&c, 7, 1, 1);
    publish_numbers(&c, 0, 300, 100, 1);
    broker_turn(&c.b, 0);
    for (uint32_t round = 0; round < 10; round++) /* worker 6 sleeps on */
        for (uint32_t w = 0; w < 6; w++)
            broker_turn(&c.b, w);
    assert_true(c.p->is_parked);
    before = c.v[1]->out_count;
    broker_turn(&c.b, 0);
    broker_turn(&c.b, 1);
    assert_int_equal(c.v[1]->out_count, before);
    expect_numbers(&c, 0, 300);
    broker_stop(&c.b);
}

TEST(parked_client_that_leaves_takes_the_rest_along)
{
    struct crowd c;
    uint32_t n;

    start_crowd(&c, 2, 1, 1);
    publish_numbers(&c, 0, 300, 100, 1);
    broker_turn(&c.b, 0);
    assert_true(c.p->is_parked);
    peer_drop(c.p);
    n = peer_take_numbered(c.v[0], 0);
    assert_in_range(n, 1, 299);
    assert_int_equal(peer_take_numbered(c.v[1], 0), n);
    broker_stop(&c.b);
}

BROKER_TEST(will_of_a_client_waits_for_room)
{
    struct connect_out o = {.protocol = MQTT_5,
                            .clean_start = true,
                            .has_will = true,
                            .will_qos = 1,
                            .will_payload = BYTES_LIT("300")};
    struct crowd c;
    struct peer *p;

    start_crowd(&c, workers, 1, 1);
    o.client_id = bytes_str(broker_id_at(&c.b, 0, 100));
    o.will_topic = bytes_str(c.topic);
    p = broker_connect(&c.b, &o);
    publish_numbers(&c, 0, 300, 100, 1);
    while (c.p->in_count) {
        broker_turn(&c.b, 0);
        if (c.p->in_count) /* one record out, several in */
            for (uint32_t w = 1; w < workers; w++)
                broker_turn(&c.b, w);
    }
    peer_drop(p); /* the rings hold the last numbers still */
    expect_numbers(&c, 0, 301);
    broker_stop(&c.b);
}

BROKER_TEST(retained_messages_wait_for_room_and_the_last_one_stays)
{
    struct crowd c;
    struct peer *late;
    char text[200];

    start_crowd(&c, workers, 1, 1);
    for (uint32_t i = 0; i < 200; i++) {
        snprintf(text, sizeof text, "%u %0100d", i, 0);
        peer_retain(c.p, c.topic, text, 1);
    }
    expect_numbers(&c, 0, 200);
    late = broker_client(&c.b, broker_id_at(&c.b, 0, 50));
    peer_subscribed(late, c.topic, 0);
    assert_int_equal(peer_take_numbered(late, 199), 200);
    broker_stop(&c.b);
}

/* ---- order ---- */

BROKER_TEST(order_of_one_publisher_holds_everywhere)
{
    struct crowd c;

    start_crowd(&c, workers, 2, 1);
    for (uint32_t i = 0; i < 500; i += 5) {
        publish_numbers(&c, i, 5, 1, 1);
        broker_turn(&c.b, i * 7 % workers);
        broker_turn(&c.b, 0);
    }
    expect_numbers(&c, 0, 500);
    broker_stop(&c.b);
}

/* ---- more filters than a record holds ---- */

/* Subscribes to `count` filters that all match `topic`, which has 3 levels. */
static uint32_t subscribe_overlapping(struct peer *p, uint32_t count)
{
    static const char *const filters[] = {
        "a/b/c", "a/b/+", "a/+/c", "a/+/+",   "+/b/c", "+/b/+",   "+/+/c", "+/+/+", "#",
        "a/#",   "a/b/#", "+/#",   "a/b/c/#", "a/+/#", "a/+/c/#", "+/b/#", "+/+/#", "+/b/c/#",
    };

    assert_true(count <= sizeof filters / sizeof filters[0]);
    for (uint32_t i = 0; i < count; i++) {
        struct filter_request f = {.filter = bytes_str(filters[i]), .qos = 1};

        peer_subscribe_to(p, &f, 1, i + 1);
    }
    broker_settle(p->broker);
    for (uint32_t i = 0; i < count; i++)
        peer_expect(p, PACKET_SUBACK);
    return count;
}

static uint32_t count_ids(const struct peer *p)
{
    struct bytes rest = p->packet.publish.props.all;
    uint32_t id, n = 0;

    while (props_next_subscription_id(&rest, &id))
        n++;
    return n;
}

static void overlap(uint32_t workers, uint32_t count, uint32_t payload_bytes)
{
    struct broker b;
    struct peer *p, *q, *other;
    char *text = malloc(payload_bytes + 1);

    assert_non_null(text);
    memset(text, 'x', payload_bytes);
    text[payload_bytes] = 0;
    broker_init(&b, workers);
    broker_start(&b);
    p = broker_client(&b, broker_id_at(&b, 0, 0));
    q = broker_client(&b, broker_id_at(&b, workers - 1, 1));
    other = broker_client(&b, broker_id_at(&b, workers - 1, 2));
    subscribe_overlapping(q, count);
    peer_subscribed(other, "a/+/c", 0);
    for (int i = 0; i < 5; i++) { /* hot from the second on */
        peer_publish(p, "a/b/c", text, 1);
        broker_settle(&b);
        peer_expect_publish(q, "a/b/c", text);
        assert_int_equal(count_ids(q), count);
        peer_expect_nothing(q);
        peer_expect_publish(other, "a/b/c", text);
        peer_expect_nothing(other);
    }
    free(text);
    broker_stop(&b);
}

BROKER_TEST(as_many_filters_as_a_record_holds_make_one_copy)
{
    overlap(workers, DELIVER_SLOTS_MAX - 1, 1);
    overlap(workers, DELIVER_SLOTS_MAX, 1);
}

BROKER_TEST(more_filters_than_a_record_holds_make_one_copy)
{
    overlap(workers, DELIVER_SLOTS_MAX + 1, 1);
    overlap(workers, 18, 1);
}

BROKER_TEST(more_filters_than_a_record_holds_and_a_large_body_make_one_copy)
{
    overlap(workers, 18, 5000);
}

TEST(matched_again_means_matched_as_of_then)
{
    struct broker b;
    struct peer *p, *q;

    broker_init(&b, 2);
    broker_start(&b);
    p = broker_client(&b, broker_id_at(&b, 0, 0));
    q = broker_client(&b, broker_id_at(&b, 1, 0));
    subscribe_overlapping(q, 12);
    peer_publish(p, "a/b/c", "x", 1);
    broker_turn(&b, 0);
    peer_disconnect(q, 0); /* worker 1 hears of both in one turn */
    broker_settle(&b);
    assert_int_equal(peer_count_publishes(q), 0);
    broker_stop(&b);
}

/* ---- large messages ---- */

static uint64_t held_bytes(const struct broker *b)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < b->worker_count; i++)
        sum += cluster_shard(b->cluster, i)->blobs.held_bytes;
    return sum;
}

static uint64_t waiting_bytes(const struct broker *b)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < b->worker_count; i++)
        sum += cluster_shard(b->cluster, i)->waiting_bytes;
    return sum;
}

static void send_large(uint32_t workers, uint32_t bytes, bool expect_blob)
{
    struct crowd c;
    char *text = malloc(bytes + 1);

    assert_non_null(text);
    memset(text, 'x', bytes);
    text[bytes] = 0;
    start_crowd(&c, workers, 2, 1);
    for (uint32_t i = 0; i < c.count; i++)
        c.v[i]->reads = false;
    peer_publish(c.p, c.topic, text, 1);
    broker_settle(&c.b);
    if (expect_blob) /* one for all workers */
        assert_int_equal(held_bytes(&c.b), strlen(c.topic) + bytes);
    else
        assert_int_equal(held_bytes(&c.b), 0);
    for (uint32_t i = 0; i < c.count; i++) {
        c.v[i]->reads = true;
        broker_settle(&c.b);
        peer_expect_publish(c.v[i], c.topic, text);
        peer_ack(c.v[i], PACKET_PUBACK, c.v[i]->packet.publish.packet_id);
    }
    broker_settle(&c.b);
    assert_int_equal(waiting_bytes(&c.b), 0);
    broker_turn(&c.b, 0); /* home looks once per turn */
    assert_int_equal(held_bytes(&c.b), 0);
    free(text);
    broker_stop(&c.b);
}

BROKER_TEST(large_message_is_shared_by_workers_and_goes_home)
{
    send_large(workers, 5000, workers > 1);
    send_large(workers, 200000, workers > 1);
}

BROKER_TEST(small_message_travels_by_value)
{
    send_large(workers, INLINE_BYTES_MAX - 10, false);
}

TEST(large_message_goes_home_from_a_session_that_ends)
{
    struct crowd c;
    char *text = malloc(5001);

    assert_non_null(text);
    memset(text, 'x', 5000);
    text[5000] = 0;
    start_crowd(&c, 7, 1, 1);
    for (int i = 0; i < 50; i++)
        peer_publish(c.p, c.topic, text, 1); /* in flight and waiting */
    broker_settle(&c.b);
    assert_int_equal(held_bytes(&c.b), 50 * (strlen(c.topic) + 5000));
    for (uint32_t i = 0; i < c.count; i++)
        peer_drop(c.v[i]);
    broker_settle(&c.b);
    assert_int_equal(waiting_bytes(&c.b), 0);
    broker_turn(&c.b, 0);
    assert_int_equal(held_bytes(&c.b), 0);
    free(text);
    broker_stop(&c.b);
}

BROKER_TEST(large_retained_message_is_kept_once_and_answered_anywhere)
{
    struct crowd c;
    char *text = malloc(5001);

    assert_non_null(text);
    memset(text, 'x', 5000);
    text[5000] = 0;
    start_crowd(&c, workers, 1, 1);
    peer_retain(c.p, c.topic, text, 0);
    broker_settle(&c.b);
    for (uint32_t i = 0; i < c.count; i++) {
        peer_expect_publish(c.v[i], c.topic, text);
        peer_subscribed(c.v[i], c.topic, 0);
        peer_expect_publish(c.v[i], c.topic, text);
    }
    peer_retain(c.p, c.topic, "", 0);
    broker_settle(&c.b);
    for (uint32_t i = 0; i < workers; i++)
        broker_turn(&c.b, i);
    assert_int_equal(waiting_bytes(&c.b), 0);
    assert_int_equal(held_bytes(&c.b), 0);
    free(text);
    broker_stop(&c.b);
}

/* ---- who gets it ---- */

BROKER_TEST(no_local_holds_for_its_own_connection_only)
{
    struct filter_request f = {.qos = 1, .no_local = true};
    struct broker b;
    struct peer *p, *q;
    const char *topic;

    broker_init(&b, workers);
    broker_start(&b);
    topic = broker_topic_at(&b, workers - 1, 0);
    p = broker_client(&b, broker_id_at(&b, 0, 0));
    q = broker_client(&b, broker_id_at(&b, workers - 1, 1));
    f.filter = bytes_str(topic);
    peer_subscribe_to(p, &f, 1, 0);
    peer_subscribe_to(q, &f, 1, 0);
    broker_settle(&b);
    peer_expect(p, PACKET_SUBACK);
    peer_expect(q, PACKET_SUBACK);
    peer_publish(p, topic, "x", 0);
    broker_settle(&b);
    peer_expect_nothing(p); /* [MQTT-3.8.3-3] */
    peer_expect_publish(q, topic, "x");
    peer_publish(q, topic, "y", 0);
    broker_settle(&b);
    peer_expect_nothing(q);
    peer_expect_publish(p, topic, "y");
    broker_stop(&b);
}

TEST(leading_wildcards_do_not_match_topics_of_the_server)
{
    struct broker b;
    struct peer *p, *q;

    broker_init(&b, 2);
    broker_start(&b);
    p = broker_client(&b, broker_id_at(&b, 0, 0));
    q = broker_client(&b, broker_id_at(&b, 1, 0));
    peer_subscribed(q, "#", 0);
    peer_subscribed(q, "+/a", 0);
    peer_publish(p, "$mine/a", "x", 0);
    broker_settle(&b);
    peer_expect_nothing(q); /* [MQTT-4.7.2-1] */
    peer_subscribed(q, "$mine/+", 0);
    peer_publish(p, "$mine/a", "x", 0);
    broker_settle(&b);
    peer_expect_publish(q, "$mine/a", "x");
    peer_expect_nothing(q);
    broker_stop(&b);
}
