/* tests/core/broker/test_share.c -- members of shared groups come, go, and give back. */
#include <stdio.h>
#include <stdlib.h>

#include "core/broker/state.h"
#include "tests/support/broker.h"
#include "tests/support/test.h"

#define MEMBERS 3u

/* A publisher, and three lasting members of one group, spread over the workers. */
struct stage {
    struct broker b;
    struct peer *p, *v[MEMBERS];
    const char *topic;
    char filter[64];
    uint32_t workers, sent;
};

static struct peer *member(struct stage *s, uint32_t i)
{
    struct connect_out o = {.protocol = MQTT_5,
                            .client_id = bytes_str(broker_id_at(&s->b, i % s->workers, 1 + i)),
                            .has_session_expiry = true,
                            .session_expiry = 3600,
                            .receive_maximum = 100};

    return broker_connect(&s->b, &o);
}

/* After broker_init, and what the test changes in the configuration. */
static void go(struct stage *s, uint32_t workers, uint8_t qos)
{
    broker_start(&s->b);
    s->workers = workers;
    s->sent = 0;
    s->topic = broker_topic_at(&s->b, workers - 1, 0);
    snprintf(s->filter, sizeof s->filter, "$share/g/%s", s->topic);
    s->p = broker_client(&s->b, broker_id_at(&s->b, 0, 0));
    for (uint32_t i = 0; i < MEMBERS; i++) {
        s->v[i] = member(s, i);
        peer_subscribed(s->v[i], s->filter, qos);
    }
}

static void start(struct stage *s, uint32_t workers, uint8_t qos)
{
    broker_init(&s->b, workers);
    go(s, workers, qos);
}

/* Members that choose by `policy`, and messages to them with QoS 1. */
static void start_by(struct stage *s, uint32_t workers, enum share_policy policy)
{
    broker_init(&s->b, workers);
    s->b.config.limits.share_policy = policy;
    go(s, workers, 1);
}

static void drop(struct stage *s, uint32_t i)
{
    peer_drop(s->v[i]);
    broker_settle(&s->b);
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

/* Counts how often each number came to anybody; acknowledges QoS 1, and takes what that brings. */
static uint32_t take(struct stage *s, uint32_t *times, uint32_t i)
{
    const struct packet *packet;
    uint32_t n = 0, before;

    do {
        before = n;
        while ((packet = peer_next(s->v[i]))) {
            char text[16] = "";

            if (packet->type != PACKET_PUBLISH)
                continue;
            n++;
            assert_in_range(packet->publish.payload.n, 1, sizeof text - 1);
            memcpy(text, packet->publish.payload.p, packet->publish.payload.n);
            times[atoi(text)]++;
            if (packet->publish.qos == 1)
                peer_ack(s->v[i], PACKET_PUBACK, packet->publish.packet_id);
        }
        broker_settle(&s->b);
    } while (n > before);
    return n;
}

static void expect_once(const uint32_t *times, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (times[i] != 1)
            fail_msg("message %u came %u times", i, times[i]);
}

BROKER_TEST(round_robin_gives_everyone_the_same)
{
    uint32_t times[90] = {0};
    struct stage s;

    start(&s, workers, 1);
    send(&s, 90, 1);
    for (uint32_t i = 0; i < MEMBERS; i++)
        assert_int_equal(take(&s, times, i), 30);
    expect_once(times, 90);
    broker_stop(&s.b);
}

BROKER_TEST(round_robin_skips_nobody_when_a_member_leaves)
{
    uint32_t times[3] = {0};
    struct stage s;

    start(&s, workers, 1);
    send(&s, 2, 1);
    assert_int_equal(take(&s, times, 0) + take(&s, times, 1), 2);
    peer_unsubscribe(s.v[0], s.filter);
    broker_settle(&s.b);
    send(&s, 1, 1);
    assert_int_equal(take(&s, times, 2), 1);
    expect_once(times, 3);
    broker_stop(&s.b);
}

BROKER_TEST(sticky_stays_with_one_member_until_it_goes)
{
    uint32_t times[60] = {0}, n;
    struct stage s;

    start_by(&s, workers, SHARE_STICKY);
    send(&s, 30, 1);
    assert_int_equal(take(&s, times, 0), 30);
    drop(&s, 0);
    send(&s, 30, 1);
    n = take(&s, times, 1);
    assert_true(n == 0 || n == 30);
    assert_int_equal(n + take(&s, times, 2), 30);
    expect_once(times, 60);
    broker_stop(&s.b);
}

BROKER_TEST(hash_topic_keeps_a_topic_with_one_member)
{
    uint32_t times[30] = {0}, with_some = 0;
    struct stage s;

    start_by(&s, workers, SHARE_HASH_TOPIC);
    send(&s, 30, 1);
    for (uint32_t i = 0; i < MEMBERS; i++)
        with_some += take(&s, times, i) > 0;
    assert_int_equal(with_some, 1);
    expect_once(times, 30);
    broker_stop(&s.b);
}

BROKER_TEST(random_choice_leaves_nobody_out)
{
    uint32_t times[300] = {0};
    struct stage s;

    start_by(&s, workers, SHARE_RANDOM);
    send(&s, 300, 1);
    for (uint32_t i = 0; i < MEMBERS; i++) {
        assert_in_range(take(&s, times, i), 60, 140);
    }
    expect_once(times, 300);
    broker_stop(&s.b);
}

BROKER_TEST(unacknowledged_qos_1_messages_go_to_others)
{
    uint32_t times[90] = {0};
    struct stage s;

    start(&s, workers, 1);
    send(&s, 90, 1);
    drop(&s, 1); /* with 20 in flight and 10 waiting */
    take(&s, times, 0);
    take(&s, times, 2);
    expect_once(times, 90); /* [MQTT-4.8.2-5] */
    s.v[1] = member(&s, 1);
    assert_int_equal(take(&s, times, 1), 0);
    broker_stop(&s.b);
}

BROKER_TEST(qos_2_in_flight_stays_with_its_member)
{
    uint32_t times[9] = {0};
    struct stage s;

    start(&s, workers, 2);
    send(&s, 9, 2);
    drop(&s, 1);
    take(&s, times, 0);
    take(&s, times, 2);
    s.v[1] = member(&s, 1);
    assert_int_equal(take(&s, times, 1), 3); /* [MQTT-4.8.2-4] */
    expect_once(times, 9);
    broker_stop(&s.b);
}

BROKER_TEST(group_keeps_messages_while_nobody_is_connected)
{
    uint32_t times[30] = {0};
    struct stage s;

    broker_init(&s.b, workers);
    s.b.config.limits.group_queued = 20;
    go(&s, workers, 1);
    for (uint32_t i = 0; i < MEMBERS; i++)
        peer_drop(s.v[i]);
    broker_settle(&s.b);
    send(&s, 30, 1);
    assert_int_equal(BROKER_SUM(&s.b, dropped_group_full), 10);
    s.v[2] = member(&s, 2);
    assert_int_equal(take(&s, times, 2), 20);
    for (uint32_t i = 0; i < 30; i++)
        assert_int_equal(times[i], i >= 10);
    broker_stop(&s.b);
}

BROKER_TEST(member_that_unsubscribes_gets_no_more)
{
    uint32_t times[20] = {0};
    struct stage s;

    start(&s, workers, 1);
    peer_publish(s.p, s.topic, "0", 1);
    broker_turn(&s.b, 0); /* may be on its way to any member */
    s.sent = 1;
    for (uint32_t i = 0; i < MEMBERS - 1; i++)
        peer_unsubscribe(s.v[i], s.filter);
    broker_settle(&s.b);
    send(&s, 19, 1);
    for (uint32_t i = 0; i < MEMBERS; i++)
        take(&s, times, i);
    expect_once(times, 20);
    peer_unsubscribe(s.v[2], s.filter);
    broker_settle(&s.b);
    peer_expect(s.v[2], PACKET_UNSUBACK);
    send(&s, 1, 1);
    for (uint32_t i = 0; i < MEMBERS; i++)
        peer_expect_nothing(s.v[i]);
    for (uint32_t w = 0; w < workers; w++) {
        assert_int_equal(cluster_shard(s.b.cluster, w)->groups.count, 0);
        assert_int_equal(cluster_shard(s.b.cluster, w)->shares.count, 0);
    }
    broker_stop(&s.b);
}

BROKER_TEST(group_and_plain_subscription_of_one_client_both_deliver)
{
    struct stage s;

    start(&s, workers, 1);
    peer_subscribed(s.v[0], s.topic, 0);
    send(&s, 3, 1);
    assert_int_equal(peer_count_publishes(s.v[0]), 4);
    assert_int_equal(peer_count_publishes(s.v[1]), 1);
    broker_stop(&s.b);
}

/* Members come, go, subscribe and leave at random; a message is for one of them at most, and for
 * one at least once everybody who may have it has had time for it. */
BROKER_TEST(nothing_is_lost_while_members_come_and_go)
{
    static uint32_t times[2000];
    uint64_t seed = 0x57a7e001;
    struct stage s;

    print_message("seed 0x57a7e001\n");
    memset(times, 0, sizeof times);
    broker_init(&s.b, workers);
    s.b.config.limits.group_queued = 5000;
    go(&s, workers, 1);
    for (uint32_t i = 0; i < 300; i++) {
        uint32_t who;

        seed = seed * 6364136223846793005u + 1442695040888963407u;
        who = (uint32_t)(seed >> 40) % 2; /* the third one never leaves the group */
        send(&s, (uint32_t)(seed >> 61), 1);
        if (s.v[who]->stream && (seed >> 58 & 1)) {
            take(&s, times, who);
        } else if (s.v[who]->stream) {
            drop(&s, who); /* what it has not taken comes again elsewhere */
        } else {
            s.v[who] = member(&s, who);
        }
    }
    for (uint32_t i = 0; i < MEMBERS; i++)
        if (s.v[i]->stream)
            take(&s, times, i);
    expect_once(times, s.sent);
    broker_stop(&s.b);
}
