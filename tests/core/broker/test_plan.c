/* tests/core/broker/test_plan.c -- the cached plan of a hot topic is dropped when who wants it
 * changes, wherever that happens.
 */
#include <stdio.h>
#include <stdlib.h>

#include "core/broker/state.h"
#include "tests/support/broker.h"
#include "tests/support/test.h"

/* A publisher at worker 0 that has made "a/b" hot, and a client at each worker. */
struct stage {
    struct broker b;
    struct peer *p, *v[7];
    uint32_t workers;
};

static void publish_hot(struct stage *s)
{
    for (int i = 0; i < 3; i++)
        peer_publish(s->p, "a/b", "hot", 0);
    broker_settle(&s->b);
}

static void start(struct stage *s, uint32_t workers)
{
    broker_init(&s->b, workers);
    broker_start(&s->b);
    s->workers = workers;
    s->p = broker_client(&s->b, broker_id_at(&s->b, 0, 0));
    for (uint32_t i = 0; i < workers; i++)
        s->v[i] = broker_client(&s->b, broker_id_at(&s->b, i, 1));
    publish_hot(s);
}

static void unsubscribed(struct peer *p, const char *filter)
{
    peer_unsubscribe(p, filter);
    broker_settle(p->broker);
    peer_expect(p, PACKET_UNSUBACK);
}

/* At each worker in turn the filter comes and goes while the topic is hot. */
static void come_and_go(struct stage *s, const char *filter)
{
    for (uint32_t i = 0; i < s->workers; i++) {
        struct peer *q = s->v[i];

        publish_hot(s);
        peer_expect_nothing(q);
        peer_subscribed(q, filter, 0);
        publish_hot(s);
        assert_int_equal(peer_count_publishes(q), 3);
        unsubscribed(q, filter);
        publish_hot(s);
        peer_expect_nothing(q);
    }
}

BROKER_TEST(hot_topic_sees_exact_filters_come_and_go)
{
    struct stage s;

    start(&s, workers);
    come_and_go(&s, "a/b");
    broker_stop(&s.b);
}

BROKER_TEST(hot_topic_sees_wildcard_filters_come_and_go)
{
    static const char *const filters[] = {"a/+", "a/#", "a/b/#", "+/b", "#", "+/+", "+/#"};
    struct stage s;

    start(&s, workers);
    for (size_t i = 0; i < sizeof filters / sizeof filters[0]; i++)
        come_and_go(&s, filters[i]);
    broker_stop(&s.b);
}

BROKER_TEST(hot_topic_sees_groups_come_and_go)
{
    struct stage s;

    start(&s, workers);
    come_and_go(&s, "$share/g/a/b");
    come_and_go(&s, "$share/g/+/b");
    broker_stop(&s.b);
}

BROKER_TEST(hot_topic_sees_sessions_end)
{
    struct stage s;

    start(&s, workers);
    for (uint32_t i = 0; i < workers; i++)
        peer_subscribed(s.v[i], i % 2 ? "a/+" : "a/b", 0);
    publish_hot(&s);
    for (uint32_t i = 0; i < workers; i++) {
        for (uint32_t k = i; k < workers; k++)
            assert_int_equal(peer_count_publishes(s.v[k]), 3);
        peer_drop(s.v[i]);
        publish_hot(&s);
    }
    peer_publish(s.p, "a/b", "x", 1);
    broker_settle(&s.b);
    assert_int_equal(peer_expect(s.p, PACKET_PUBACK)->ack.reason, REASON_NO_MATCHING_SUBSCRIBERS);
    broker_stop(&s.b);
}

TEST(filter_slot_taken_by_another_filter_is_not_a_match)
{
    struct stage s;

    start(&s, 2);
    peer_subscribed(s.v[1], "a/b", 0);
    publish_hot(&s);
    assert_int_equal(peer_count_publishes(s.v[1]), 3);
    peer_publish(s.p, "a/b", "late", 0);
    broker_turn(&s.b, 0); /* the record is under way with the slot of "a/b" */
    peer_unsubscribe(s.v[1], "a/b");
    broker_turn(&s.b, 1);
    broker_settle(&s.b);
    (void)peer_count_publishes(s.v[1]);
    peer_subscribed(s.v[1], "x/y", 0); /* takes the slot */
    publish_hot(&s);
    peer_expect_nothing(s.v[1]);
    broker_stop(&s.b);
}

TEST(more_topics_than_the_cache_holds_all_arrive)
{
    struct stage s;
    char topic[32];

    start(&s, 2);
    peer_subscribed(s.v[1], "many/#", 0);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 5000; i++) {
            snprintf(topic, sizeof topic, "many/%d", i);
            peer_publish(s.p, topic, "x", 0);
        }
        broker_settle(&s.b);
        for (int i = 0; i < 5000; i++) {
            snprintf(topic, sizeof topic, "many/%d", i);
            peer_expect_publish(s.v[1], topic, "x");
        }
        peer_expect_nothing(s.v[1]);
    }
    broker_stop(&s.b);
}

TEST(topic_too_long_or_too_wanted_for_the_cache_arrives)
{
    static const char *const levels[] = {"a", "+"};
    struct stage s;
    char filter[32], long_topic[400];

    start(&s, 2);
    memset(long_topic, 't', sizeof long_topic);
    long_topic[sizeof long_topic - 1] = 0;
    peer_subscribed(s.v[1], long_topic, 0);
    for (int i = 0; i < 3; i++)
        peer_publish(s.p, long_topic, "x", 0);
    broker_settle(&s.b);
    assert_int_equal(peer_count_publishes(s.v[1]), 3);
    for (int i = 0; i < 128; i++) { /* 128 filters of one worker match a/a/a/a/a/a/a */
        snprintf(filter, sizeof filter, "%s/%s/%s/%s/%s/%s/%s", levels[i & 1], levels[i >> 1 & 1],
                 levels[i >> 2 & 1], levels[i >> 3 & 1], levels[i >> 4 & 1], levels[i >> 5 & 1],
                 levels[i >> 6 & 1]);
        peer_subscribed(s.v[1], filter, 0);
        peer_subscribed(s.v[0], filter, 0);
    }
    for (int i = 0; i < 3; i++)
        peer_publish(s.p, "a/a/a/a/a/a/a", "x", 0);
    broker_settle(&s.b);
    assert_int_equal(peer_count_publishes(s.v[0]), 3);
    assert_int_equal(peer_count_publishes(s.v[1]), 3);
    broker_stop(&s.b);
}
