/* tests/core/broker/test_removed.c -- retained topics that were removed a moment ago. */
#include "core/broker/state.h"
#include "tests/support/broker.h"
#include "tests/support/test.h"

TEST(removal_is_later_than_what_was_published_before_it)
{
    struct removed *r = removed_create();

    assert_non_null(r);
    assert_false(removed_later(r, 7, 1));
    removed_note(r, 7, 10);
    assert_true(removed_later(r, 7, 9));
    assert_false(removed_later(r, 7, 10));
    assert_false(removed_later(r, 7, 11));
    assert_false(removed_later(r, 8, 9));
    removed_note(r, 7, 20);
    assert_true(removed_later(r, 7, 19));
    removed_destroy(r);
}

TEST(many_removals_are_all_remembered)
{
    struct removed *r = removed_create();

    assert_non_null(r);
    for (uint64_t i = 0; i < 5000; i++)
        removed_note(r, i * 0x9E3779B97F4A7C15u, 2 * i + 2);
    for (uint64_t i = 0; i < 5000; i++) {
        assert_true(removed_later(r, i * 0x9E3779B97F4A7C15u, 2 * i + 1));
        assert_false(removed_later(r, i * 0x9E3779B97F4A7C15u, 2 * i + 2));
    }
    removed_destroy(r);
    removed_destroy(NULL);
}

/* Two workers publish one after the other; the owner, a third one, empties their rings in either
 * order. What it keeps must be what was published last; empty: nothing. */
static void race_to_the_owner(const char *first, const char *last)
{
    const char *topic;
    struct peer *p[2], *q;
    struct broker b;

    broker_init(&b, 3);
    broker_start(&b);
    topic = broker_topic_at(&b, 2, 0);
    for (uint32_t i = 0; i < 2; i++)
        p[i] = broker_client(&b, broker_id_at(&b, i, 0));
    q = broker_client(&b, broker_id_at(&b, 2, 0));
    for (uint32_t round = 0; round < 12; round++) {
        uint32_t one = round & 1;

        peer_retain(p[one], topic, first, 0);
        broker_turn(&b, one);
        peer_retain(p[1 - one], topic, last, 0);
        broker_turn(&b, 1 - one);
        for (uint32_t i = 0; i <= round / 2 % 3; i++) /* another ring is the first one then */
            broker_turn(&b, 2);
        broker_settle(&b);
        peer_subscribed(q, topic, 0);
        if (*last)
            peer_expect_publish(q, topic, last);
        peer_expect_nothing(q);
        peer_unsubscribe(q, topic);
        broker_settle(&b);
        peer_expect(q, PACKET_UNSUBACK);
    }
    broker_stop(&b);
}

TEST(last_retained_message_wins_whatever_ring_is_emptied_first)
{
    race_to_the_owner("first", "last");
}

TEST(removal_wins_over_older_values_whatever_ring_is_emptied_first)
{
    race_to_the_owner("first", "");
}

TEST(value_wins_over_older_removals_whatever_ring_is_emptied_first)
{
    race_to_the_owner("", "last");
}

BROKER_TEST(removals_are_forgotten_when_nothing_older_is_under_way)
{
    struct broker b;
    struct peer *p;

    broker_init(&b, workers);
    broker_start(&b);
    p = broker_client(&b, broker_id_at(&b, 0, 0));
    for (int round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < 50; i++) {
            peer_retain(p, broker_topic_at(&b, i % workers, i), "x", 0);
            peer_retain(p, broker_topic_at(&b, i % workers, i), "", 0);
        }
        broker_settle(&b);
        for (uint32_t i = 0; i < 10 * workers; i++)
            broker_turn(&b, i % workers);
        for (uint32_t i = 0; i < workers; i++)
            for (uint32_t k = 0; k < 50; k++) {
                struct bytes t = bytes_str(broker_topic_at(&b, i, k));
                struct shard *s = cluster_shard(b.cluster, i);

                assert_false(removed_later(s->removed, hash_of(s, t), 0));
            }
    }
    assert_int_equal(BROKER_SUM(&b, retained), 0);
    broker_stop(&b);
}
