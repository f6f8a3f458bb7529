/* tests/core/broker/test_subscribe.c -- SUBSCRIBE, UNSUBSCRIBE, the way into the index. */
#include <stdio.h>
#include <stdlib.h>

#include "core/broker/state.h"
#include "tests/support/broker.h"
#include "tests/support/test.h"

/* Two workers; the client lives at 0 and all filters of these tests belong to 1. */
static struct peer *start_far(struct broker *b)
{
    broker_init(b, 2);
    broker_start(b);
    return broker_client(b, broker_id_at(b, 0, 0));
}

TEST(suback_waits_for_the_owners_answer)
{
    struct broker b;
    struct peer *p = start_far(&b);

    peer_subscribe(p, broker_topic_at(&b, 1, 0), 1);
    broker_turn(&b, 0);
    peer_expect_nothing(p);
    broker_turn(&b, 1);
    broker_turn(&b, 0);
    assert_int_equal(peer_expect(p, PACKET_SUBACK)->suback.reasons.p[0], 1);
    broker_stop(&b);
}

TEST(second_subscriber_waits_for_the_same_answer)
{
    struct broker b;
    struct peer *p = start_far(&b), *q = broker_client(&b, broker_id_at(&b, 0, 1));
    const char *topic = broker_topic_at(&b, 1, 0);

    peer_subscribe(p, topic, 0);
    broker_turn(&b, 0);
    peer_subscribe(q, topic, 1);
    broker_turn(&b, 0);
    peer_expect_nothing(q);
    broker_settle(&b);
    peer_expect(p, PACKET_SUBACK);
    peer_expect(q, PACKET_SUBACK);
    broker_stop(&b);
}

TEST(filter_is_taken_back_while_its_second_subscriber_leaves_too)
{
    struct broker b;
    struct peer *p = start_far(&b), *q = broker_client(&b, broker_id_at(&b, 1, 0));
    const char *topic = broker_topic_at(&b, 1, 0);

    peer_subscribed(p, topic, 0);
    peer_unsubscribe(p, topic);
    peer_subscribe(p, topic, 0);
    peer_unsubscribe(p, topic);
    broker_settle(&b);
    assert_int_equal(peer_expect(p, PACKET_UNSUBACK)->type, PACKET_UNSUBACK);
    assert_int_equal(peer_count_publishes(p), 0);
    peer_publish(q, topic, "x", 0);
    broker_settle(&b);
    peer_expect_nothing(p);
    assert_int_equal(cluster_shard(b.cluster, 0)->filters.slab.count, 0);
    broker_stop(&b);
}

TEST(filter_is_taken_back_while_its_second_subscriber_disconnects)
{
    struct broker b;
    struct peer *p = start_far(&b);
    const char *topic = broker_topic_at(&b, 1, 0);

    peer_subscribed(p, topic, 0);
    peer_unsubscribe(p, topic);
    peer_subscribe(p, topic, 0);
    broker_turn(&b, 0);
    peer_drop(p);
    broker_settle(&b);
    assert_int_equal(cluster_shard(b.cluster, 0)->filters.slab.count, 0);
    broker_stop(&b);
}

TEST(subscribe_unsubscribe_subscribe_before_the_owner_answers)
{
    struct broker b;
    struct peer *p = start_far(&b), *q = broker_client(&b, broker_id_at(&b, 1, 0));
    const char *topic = broker_topic_at(&b, 1, 0);
    uint32_t subacks = 0;
    const struct packet *packet;

    peer_subscribe(p, topic, 0);
    peer_unsubscribe(p, topic);
    peer_subscribe(p, topic, 1);
    broker_settle(&b);
    while ((packet = peer_next(p)))
        subacks += packet->type == PACKET_SUBACK;
    assert_int_equal(subacks, 2);
    peer_publish(q, topic, "x", 1);
    broker_settle(&b);
    assert_int_equal(peer_expect_publish(p, topic, "x")->qos, 1);
    peer_expect_nothing(p);
    broker_stop(&b);
}

TEST(requests_without_room_wait_and_nothing_is_lost)
{
    struct broker b;
    struct peer *p, *q;
    char filter[32];

    broker_init(&b, 2);
    b.config.ring_bytes[MAIL_REQUEST] = 4096;
    broker_start(&b);
    p = broker_client(&b, broker_id_at(&b, 0, 0));
    q = broker_client(&b, broker_id_at(&b, 1, 0));
    for (int i = 0; i < 500; i++) {
        snprintf(filter, sizeof filter, "f/%d", i);
        peer_subscribe(p, filter, 0);
    }
    broker_settle(&b);
    for (int i = 0; i < 500; i++)
        peer_expect(p, PACKET_SUBACK);
    for (int i = 0; i < 500; i++) {
        snprintf(filter, sizeof filter, "f/%d", i);
        peer_publish(q, filter, "x", 0);
    }
    broker_settle(&b);
    assert_int_equal(peer_count_publishes(p), 500);
    broker_stop(&b);
}

static const struct filter *last_waiting(const struct broker *b)
{
    const struct filter *f = cluster_shard(b->cluster, 0)->filter_todo;

    while (f && f->todo_next)
        f = f->todo_next;
    return f;
}

/* Trying them would put them into another order. */
TEST(behind_requests_without_room_nothing_is_tried_in_vain)
{
    const struct filter *last;
    struct broker b;
    struct peer *p;
    char filter[32];

    broker_init(&b, 2);
    b.config.ring_bytes[MAIL_REQUEST] = 4096;
    broker_start(&b);
    p = broker_client(&b, broker_id_at(&b, 0, 0));
    for (int i = 0; i < 1000; i++) {
        snprintf(filter, sizeof filter, "f/%d", i);
        peer_subscribe(p, filter, 0);
    }
    broker_turn(&b, 0);
    last = last_waiting(&b);
    assert_non_null(last);
    for (int i = 0; i < 3; i++) {
        broker_turn(&b, 0); /* the owner takes nothing */
        assert_ptr_equal(last_waiting(&b), last);
    }
    broker_settle(&b);
    for (int i = 0; i < 1000; i++)
        peer_expect(p, PACKET_SUBACK);
    broker_stop(&b);
}

TEST(session_ends_while_its_requests_wait_for_room)
{
    struct broker b;
    struct peer *p;
    char filter[32];

    broker_init(&b, 2);
    b.config.ring_bytes[MAIL_REQUEST] = 4096;
    broker_start(&b);
    p = broker_client(&b, broker_id_at(&b, 0, 0));
    for (int i = 0; i < 500; i++) {
        snprintf(filter, sizeof filter, "f/%d", i);
        peer_subscribe(p, filter, 0);
    }
    peer_disconnect(p, 0);
    broker_settle(&b);
    assert_int_equal(cluster_shard(b.cluster, 0)->filters.slab.count, 0);
    broker_stop(&b);
}

/* Whatever the moments at which the owner's answers come between the packets of the client. */
BROKER_TEST(subscribe_unsubscribe_subscribe_ends_subscribed_whenever_answers_come)
{
    for (uint32_t turns = 0; turns < 81; turns++) { /* four digits to the base 3 */
        uint32_t pause = turns;
        struct broker b;
        struct peer *p, *q;
        const char *topic;

        broker_init(&b, workers);
        broker_start(&b);
        topic = broker_topic_at(&b, workers - 1, 0);
        p = broker_client(&b, broker_id_at(&b, 0, 0));
        q = broker_client(&b, broker_id_at(&b, workers - 1, 1));
        for (int i = 0; i < 5; i++, pause /= 3) {
            if (i % 2)
                peer_unsubscribe(p, topic);
            else
                peer_subscribe(p, topic, 1);
            broker_turn(&b, 0);
            for (uint32_t k = 0; k < pause % 3; k++)
                broker_turn(&b, k ? 0 : workers - 1);
        }
        broker_settle(&b);
        for (int i = 0; i < 5; i++)
            assert_true(peer_next(p)->type == PACKET_SUBACK || p->packet.type == PACKET_UNSUBACK);
        peer_publish(q, topic, "x", 1);
        broker_settle(&b);
        peer_expect_publish(p, topic, "x");
        peer_unsubscribe(p, topic);
        broker_settle(&b);
        assert_int_equal(peer_expect(p, PACKET_UNSUBACK)->suback.reasons.p[0], 0);
        assert_int_equal(cluster_shard(b.cluster, 0)->filters.slab.count, 0);
        broker_stop(&b);
    }
}

/* SUBACK means subscribed: what is published anywhere after it arrives. */
BROKER_TEST(message_published_after_the_suback_arrives)
{
    static const char *const filters[] = {"a/b", "a/+", "+/b", "#", "$share/g/a/b"};

    for (uint32_t i = 0; i < 5; i++)
        for (uint32_t from = 0; from < workers; from++) {
            struct broker b;
            struct peer *p, *q;

            broker_init(&b, workers);
            broker_start(&b);
            p = broker_client(&b, broker_id_at(&b, workers / 2, 0));
            q = broker_client(&b, broker_id_at(&b, from, 1));
            peer_publish(q, "a/b", "hot", 0);
            peer_publish(q, "a/b", "hot", 0);
            broker_settle(&b);
            peer_subscribe(p, filters[i], 0);
            while (!peer_next(p))
                for (uint32_t w = 0; w < workers; w++)
                    broker_turn(&b, w);
            assert_int_equal(p->packet.type, PACKET_SUBACK);
            peer_publish(q, "a/b", "x", 0);
            broker_settle(&b);
            peer_expect_publish(p, "a/b", "x");
            broker_stop(&b);
        }
}

TEST(client_that_subscribes_and_publishes_at_once_gets_its_message)
{
    struct broker b;
    struct peer *p = start_far(&b);
    const char *topic = broker_topic_at(&b, 1, 0);

    peer_subscribe(p, topic, 0);
    peer_publish(p, topic, "x", 0);
    broker_settle(&b);
    peer_expect(p, PACKET_SUBACK);
    peer_expect_publish(p, topic, "x");
    broker_stop(&b);
}

BROKER_TEST(subscribing_again_replaces_the_options)
{
    struct filter_request f = {.qos = 0};
    struct broker b;
    struct peer *p, *q;
    const char *topic;

    broker_init(&b, workers);
    broker_start(&b);
    topic = broker_topic_at(&b, workers - 1, 0);
    p = broker_client(&b, broker_id_at(&b, 0, 0));
    q = broker_client(&b, broker_id_at(&b, workers - 1, 1));
    f.filter = bytes_str(topic);
    for (uint32_t id = 1; id < 4; id++) {
        const struct packet_publish *m;

        f.qos = (uint8_t)(id % 3);
        f.retain_as_published = id % 2;
        peer_subscribe_to(p, &f, 1, id);
        broker_settle(&b);
        peer_expect(p, PACKET_SUBACK);
        if (id > 1)
            peer_expect_publish(p, topic, "x"); /* [MQTT-3.8.4-3]: retained ones come again */
        peer_retain(q, topic, "x", 2);
        broker_settle(&b);
        m = peer_expect_publish(p, topic, "x");
        assert_int_equal(m->qos, id % 3);
        assert_int_equal(m->retain, id % 2);
        assert_int_equal(m->props.subscription_id, id);
        peer_expect_nothing(p);
    }
    assert_int_equal(BROKER_SUM(&b, subscriptions), 1);
    broker_stop(&b);
}

/* ---- limits and rules ---- */

static uint8_t suback_of(struct peer *p, const char *filter)
{
    peer_subscribe(p, filter, 1);
    broker_settle(p->broker);
    return peer_expect(p, PACKET_SUBACK)->suback.reasons.p[0];
}

BROKER_TEST(subscriptions_beyond_the_limit_are_refused)
{
    struct broker b;
    struct peer *p;
    char filter[32];

    broker_init(&b, workers);
    b.config.limits.subscriptions = 5;
    broker_start(&b);
    p = broker_client(&b, broker_id_at(&b, 0, 0));
    for (int i = 0; i < 5; i++) {
        snprintf(filter, sizeof filter, i % 2 ? "$share/g/f/%d" : "f/%d", i);
        assert_int_equal(suback_of(p, filter), 1);
    }
    assert_int_equal(suback_of(p, "more"), REASON_QUOTA_EXCEEDED);
    assert_int_equal(suback_of(p, "$share/g/more"), REASON_QUOTA_EXCEEDED);
    assert_int_equal(BROKER_SUM(&b, subscriptions_refused), 2);
    assert_int_equal(suback_of(p, "f/0"), 1); /* not one more */
    assert_int_equal(suback_of(p, "$share/g/f/1"), 1);
    peer_unsubscribe(p, "f/0");
    broker_settle(&b);
    peer_expect(p, PACKET_UNSUBACK);
    assert_int_equal(suback_of(p, "more"), 1);
    broker_stop(&b);
}

TEST(refused_filters_stand_beside_granted_ones)
{
    struct filter_request f[] = {{.filter = BYTES_LIT("a"), .qos = 2},
                                 {.filter = BYTES_LIT("a/b/c/d"), .qos = 2},
                                 {.filter = BYTES_LIT("$LINK/cluster/x")},
                                 {.filter = BYTES_LIT("b"), .qos = 1},
                                 {.filter = BYTES_LIT("c")}};
    static const uint8_t expected[] = {2, 0x8f, 0x87, 1, 0x97};
    struct broker b;
    struct peer *p;

    broker_init(&b, 2);
    b.config.limits.topic_levels = 3;
    b.config.limits.subscriptions = 2;
    broker_start(&b);
    for (int i = 0; i < 2; i++) {
        p = broker_durable(&b, broker_id_at(&b, 0, 0), i ? MQTT_311 : MQTT_5);
        peer_subscribe_to(p, f, 5, 0);
        broker_settle(&b);
        assert_int_equal(peer_expect(p, PACKET_SUBACK)->suback.reasons.n, 5);
        for (int k = 0; k < 5; k++)
            assert_int_equal(p->packet.suback.reasons.p[k],
                             i && expected[k] >= 0x80 ? 0x80 : expected[k]);
    }
    broker_stop(&b);
}

TEST(malformed_filter_ends_the_connection)
{
    static const char *const filters[] = {"a#",      "a/#/b",    "a+",          "+a/b",
                                          "$share/", "$share/g", "$share/g+/a", "$share//a"};
    struct broker b;

    broker_init(&b, 1);
    broker_start(&b);
    for (size_t i = 0; i < sizeof filters / sizeof filters[0]; i++)
        for (int un = 0; un < 2; un++) {
            struct peer *p = broker_client(&b, "c");

            if (un)
                peer_unsubscribe(p, filters[i]);
            else
                peer_subscribe(p, filters[i], 0);
            broker_settle(&b);
            assert_int_equal(peer_next(p)->type, PACKET_DISCONNECT);
            assert_null(p->stream);
        }
    assert_int_equal(BROKER_SUM(&b, subscriptions), 0);
    broker_stop(&b);
}

TEST(sys_topics_are_open_to_loopback_only)
{
    struct connect_out o = {
        .protocol = MQTT_5, .clean_start = true, .client_id = BYTES_LIT("outside")};
    struct broker b;
    struct peer *p;

    broker_init(&b, 1);
    broker_start(&b);
    p = broker_client(&b, "inside");
    assert_int_equal(suback_of(p, "$SYS/#"), 1);
    assert_int_equal(suback_of(p, "$share/g/$SYS/broker/uptime"), 1);
    p = broker_dial(&b, 1, &o);
    broker_settle(&b);
    peer_expect(p, PACKET_CONNACK);
    assert_int_equal(suback_of(p, "$SYS/#"), REASON_NOT_AUTHORIZED);
    assert_int_equal(suback_of(p, "$share/g/$SYS/broker/uptime"), REASON_NOT_AUTHORIZED);
    assert_int_equal(suback_of(p, "#"), 1);
    broker_stop(&b);
}

TEST(link_topics_are_open_to_answers_on_listeners_for_links_only)
{
    for (int links = LISTENER_LINKS_NO; links <= LISTENER_LINKS_ONLY; links++) {
        uint8_t answer = links == LISTENER_LINKS_NO ? REASON_NOT_AUTHORIZED : 1;
        uint8_t other = links == LISTENER_LINKS_ONLY ? REASON_NOT_AUTHORIZED : 1;
        struct broker b;
        struct peer *p;

        broker_init(&b, 1);
        b.config.link_workers = 1;
        b.listeners[0].links = (uint8_t)links;
        broker_start(&b);
        p = broker_client(&b, "c");
        assert_int_equal(suback_of(p, "$LINK/cluster/resp/x"), answer);
        assert_int_equal(suback_of(p, "$LINK/cluster/msg/x"), REASON_NOT_AUTHORIZED);
        assert_int_equal(suback_of(p, "$LINK/#"), REASON_NOT_AUTHORIZED);
        assert_int_equal(suback_of(p, "t"), other);
        broker_stop(&b);
    }
}

TEST(unsuback_says_what_was_there)
{
    struct bytes filters[] = {BYTES_LIT("a"), BYTES_LIT("b"), BYTES_LIT("$share/g/a"),
                              BYTES_LIT("$share/h/a"), BYTES_LIT("a")};
    static const uint8_t expected[] = {0, 0x11, 0, 0x11, 0x11};
    uint8_t bytes[200];
    struct broker b;
    struct peer *p;

    broker_init(&b, 2);
    broker_start(&b);
    p = broker_client(&b, broker_id_at(&b, 0, 0));
    peer_subscribed(p, "a", 0);
    peer_subscribed(p, "$share/g/a", 0);
    assert_in_range(unsubscribe_size(MQTT_5, filters, 5), 1, sizeof bytes);
    unsubscribe_put(bytes, MQTT_5, 9, filters, 5);
    peer_write(p, bytes_of(bytes, unsubscribe_size(MQTT_5, filters, 5)));
    broker_settle(&b);
    assert_int_equal(peer_expect(p, PACKET_UNSUBACK)->suback.packet_id, 9);
    assert_int_equal(p->packet.suback.reasons.n, 5);
    assert_memory_equal(p->packet.suback.reasons.p, expected, 5);
    broker_stop(&b);
}
