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
