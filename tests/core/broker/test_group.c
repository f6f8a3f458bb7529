/* tests/core/broker/test_group.c -- shared groups at their home and at their members'. */
#include <stdio.h>
#include <stdlib.h>

#include "core/broker/state.h"
#include "tests/support/broker.h"
#include "tests/support/test.h"

TEST(group_keeps_the_order_when_its_ring_is_full)
{
    struct broker b;
    struct peer *p, *q;
    const char *topic;
    char filter[64], text[200];
    int32_t last = -1;
    const struct packet *packet;

    broker_init(&b, 2);
    b.config.ring_bytes[MAIL_GROUP] = 4096;
    b.config.limits.inflight = 1000;
    broker_start(&b);
    topic = broker_topic_at(&b, 0, 0);
    snprintf(filter, sizeof filter, "$share/g/%s", topic);
    p = broker_client(&b, broker_id_at(&b, 1, 0));
    q = broker_client(&b, broker_id_at(&b, 0, 0)); /* lives at the group's home */
    peer_subscribed(p, filter, 1);
    for (int round = 0, n = 0; round < 5; round++) {
        for (int i = 0; i < 30; i++, n++) {
            snprintf(text, sizeof text, "%d %0150d", n, 0);
            peer_publish(q, topic, text, 1);
        }
        broker_turn(&b, 0);
        broker_turn(&b, 1);
    }
    broker_settle(&b);
    for (int n = 0; (packet = peer_next(p)); n++) {
        int32_t number = atoi((const char *)packet->publish.payload.p);

        assert_int_equal(packet->type, PACKET_PUBLISH);
        if (number != last + 1)
            fail_msg("message %d came after %d", number, last);
        last = number;
    }
    assert_int_equal(last, 149);
    broker_stop(&b);
}

/* Where messages of one publisher go, seen at the members: a bit for each that got one. */
static uint32_t who_got_some(struct peer *const *members, uint32_t count)
{
    uint32_t set = 0;

    for (uint32_t i = 0; i < count; i++)
        if (peer_count_publishes(members[i]))
            set |= 1u << i;
    return set;
}

TEST(hash_clientid_holds_also_for_more_filters_than_fit_a_record)
{
    struct broker b;
    struct peer *members[4], *q;
    const char *topic;
    char filter[64];

    broker_init(&b, 2);
    b.config.limits.share_policy = SHARE_HASH_CLIENTID;
    broker_start(&b);
    topic = broker_topic_at(&b, 1, 0);
    for (uint32_t i = 0; i < 4; i++) {
        members[i] = broker_client(&b, broker_id_at(&b, 1, i));
        snprintf(filter, sizeof filter, "$share/g/%s", topic);
        peer_subscribed(members[i], filter, 0);
    }
    for (uint32_t k = 0; k < 40; k++) { /* 40 publishers: at 4 members not all hash to one */
        q = broker_client(&b, broker_id_at(&b, 0, k));
        peer_publish(q, topic, "x", 0);
        broker_settle(&b);
    }
    assert_true(who_got_some(members, 4) == 15);
    for (uint32_t i = 0; i < 9; i++) {
        snprintf(filter, sizeof filter, "$share/h%u/%s", i, topic);
        peer_subscribed(members[0], filter, 0);
    }
    for (uint32_t k = 0; k < 40; k++) {
        q = broker_client(&b, broker_id_at(&b, 0, 100 + k));
        peer_publish(q, topic, "x", 0);
        broker_settle(&b);
    }
    assert_true((who_got_some(members, 4) & 14) == 14);
    broker_stop(&b);
}

TEST(member_that_left_and_came_back_before_the_answer_is_a_member)
{
    struct broker b;
    struct peer *p, *q;
    const char *topic;
    char filter[64];

    broker_init(&b, 2);
    broker_start(&b);
    topic = broker_topic_at(&b, 1, 0);
    snprintf(filter, sizeof filter, "$share/g/%s", topic);
    p = broker_client(&b, broker_id_at(&b, 0, 0));
    q = broker_client(&b, broker_id_at(&b, 1, 0));
    peer_subscribe(p, filter, 0);
    peer_unsubscribe(p, filter);
    peer_subscribe(p, filter, 0);
    broker_settle(&b);
    assert_int_equal(peer_count_publishes(p), 0);
    peer_publish(q, topic, "x", 0);
    broker_settle(&b);
    peer_expect_publish(p, topic, "x");
    broker_stop(&b);
}
