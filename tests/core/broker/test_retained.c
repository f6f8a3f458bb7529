/* tests/core/broker/test_retained.c -- retained messages: stored, asked for, held back. */
#include <stdio.h>
#include <stdlib.h>

#include "core/broker/state.h"
#include "tests/support/broker.h"
#include "tests/support/test.h"

static void retain_many(struct broker *b, struct peer *q, const char *prefix, uint32_t count,
                        uint32_t bytes, uint8_t qos)
{
    char topic[32], *text = malloc(bytes + 1);

    assert_non_null(text);
    memset(text, 'x', bytes);
    text[bytes] = 0;
    for (uint32_t i = 0; i < count; i++) {
        snprintf(topic, sizeof topic, "%s/%u", prefix, i);
        peer_retain(q, topic, text, qos);
    }
    free(text);
    broker_settle(b);
}

TEST(large_retained_messages_are_held_back_for_a_reader_at_qos_0)
{
    struct broker b;
    struct peer *p, *q;

    broker_init(&b, 2);
    broker_start(&b);
    p = broker_client(&b, broker_id_at(&b, 0, 0));
    q = broker_client(&b, broker_id_at(&b, 1, 0));
    retain_many(&b, q, "d", 60, 50000, 0);
    peer_subscribed(p, "d/#", 0);
    assert_int_equal(peer_count_publishes(p), 60);
    assert_int_equal(BROKER_SUM(&b, dropped_qos0_slow), 0);
    broker_stop(&b);
}

TEST(retained_messages_of_many_filters_do_not_overflow_the_queue)
{
    struct broker b;
    struct peer *p, *q;
    struct filter_request f[30];
    char filter[30][16];
    const struct packet *packet;
    uint32_t n = 0;

    broker_init(&b, 1);
    broker_start(&b);
    p = broker_client(&b, "sub");
    q = broker_client(&b, "pub");
    for (uint32_t i = 0; i < 30; i++) {
        snprintf(filter[i], sizeof filter[i], "d%u/#", i);
        f[i] = (struct filter_request){.filter = bytes_str(filter[i]), .qos = 1};
        filter[i][strlen(filter[i]) - 2] = 0;
        retain_many(&b, q, filter[i], 60, 10, 1);
        filter[i][strlen(filter[i])] = '/';
    }
    peer_subscribe_to(p, f, 30, 0);
    broker_settle(&b);
    for (bool more = true; more; broker_settle(&b)) {
        more = false;
        while ((packet = peer_next(p)))
            if (packet->type == PACKET_PUBLISH) {
                peer_ack(p, PACKET_PUBACK, packet->publish.packet_id);
                n++;
                more = true;
            }
    }
    assert_int_equal(BROKER_SUM(&b, dropped_queue_full), 0);
    assert_int_equal(n, 30 * 60);
    broker_stop(&b);
}

TEST(slice_of_retained_messages_fits_a_small_queue)
{
    struct broker b;
    struct peer *p, *q;
    const struct packet *packet;
    uint32_t n = 0;

    broker_init(&b, 1);
    b.config.limits.queued_messages = 10;
    broker_start(&b);
    p = broker_client(&b, "sub");
    q = broker_client(&b, "pub");
    retain_many(&b, q, "d", 60, 10, 1);
    peer_subscribe(p, "d/#", 1);
    broker_settle(&b);
    for (bool more = true; more; broker_settle(&b)) {
        more = false;
        while ((packet = peer_next(p)))
            if (packet->type == PACKET_PUBLISH) {
                peer_ack(p, PACKET_PUBACK, packet->publish.packet_id);
                n++;
                more = true;
            }
    }
    assert_int_equal(n, 60);
    broker_stop(&b);
}

TEST(retained_bytes_bound_holds_for_replaced_values_too)
{
    struct broker b;
    struct peer *q;

    broker_init(&b, 1);
    b.config.limits.retained_bytes = 100000;
    broker_start(&b);
    q = broker_client(&b, "pub");
    retain_many(&b, q, "d", 100, 1, 0);
    retain_many(&b, q, "d", 100, 20000, 0);
    assert_in_range(BROKER_SUM(&b, retained_bytes), 0, 130000);
    broker_stop(&b);
}

TEST(slow_reader_gets_all_retained_messages)
{
    struct broker b;
    struct peer *p, *q;

    broker_init(&b, 1);
    b.config.limits.outq_bytes = OUTQ_BYTES_MIN;
    broker_start(&b);
    p = broker_client(&b, "sub");
    q = broker_client(&b, "pub");
    retain_many(&b, q, "d", 200, 2000, 0);
    p->reads = false;
    peer_subscribe(p, "d/#", 0);
    broker_settle(&b);
    assert_in_range(p->stream->outq.bytes, 1, 4 * OUTQ_BYTES_MIN);
    p->reads = true;
    broker_settle(&b);
    peer_expect(p, PACKET_SUBACK);
    assert_int_equal(peer_count_publishes(p), 200);
    broker_stop(&b);
}

/* ---- what a subscriber is told ---- */

/* A publisher at worker 0, a subscriber at the last one, and ten retained messages d/0 .. d/9. */
struct stage {
    struct broker b;
    struct peer *p, *q;
};

static void start(struct stage *s, uint32_t workers)
{
    broker_start(&s->b);
    s->p = broker_client(&s->b, broker_id_at(&s->b, workers - 1, 1));
    s->q = broker_client(&s->b, broker_id_at(&s->b, 0, 0));
    retain_many(&s->b, s->q, "d", 10, 1, 1);
}

static uint32_t answers_to(struct stage *s, const struct filter_request *f)
{
    peer_subscribe_to(s->p, f, 1, 0);
    broker_settle(&s->b);
    peer_expect(s->p, PACKET_SUBACK); /* before the first of them */
    return peer_count_publishes(s->p);
}

BROKER_TEST(retain_handling_decides_who_is_told)
{
    struct filter_request f = {.filter = BYTES_LIT("d/#"), .retain_handling = 2};
    struct stage s;

    broker_init(&s.b, workers);
    start(&s, workers);
    assert_int_equal(answers_to(&s, &f), 0); /* [MQTT-3.3.1-11] */
    f.retain_handling = 1;
    assert_int_equal(answers_to(&s, &f), 0); /* [MQTT-3.3.1-10]: it was there */
    f.retain_handling = 0;
    assert_int_equal(answers_to(&s, &f), 10); /* [MQTT-3.3.1-9] */
    f.filter = BYTES_LIT("d/1");
    f.retain_handling = 1;
    assert_int_equal(answers_to(&s, &f), 1);
    f.filter = BYTES_LIT("$share/g/d/#");
    f.retain_handling = 0;
    assert_int_equal(answers_to(&s, &f), 0); /* [MQTT5 4.8.2] */
    broker_stop(&s.b);
}

BROKER_TEST(answer_carries_the_flag_and_a_live_message_does_not)
{
    const struct packet_publish *m;
    struct stage s;

    broker_init(&s.b, workers);
    start(&s, workers);
    peer_subscribed(s.p, "d/1", 1);
    m = peer_expect_publish(s.p, "d/1", "x");
    assert_true(m->retain); /* [MQTT-3.3.1-8] */
    assert_int_equal(m->qos, 1);
    peer_retain(s.q, "d/1", "new", 1);
    broker_settle(&s.b);
    assert_false(peer_expect_publish(s.p, "d/1", "new")->retain); /* [MQTT-3.3.1-12] */
    broker_stop(&s.b);
}

BROKER_TEST(empty_payload_removes_and_is_not_kept)
{
    struct stage s;

    broker_init(&s.b, workers);
    start(&s, workers);
    peer_subscribed(s.p, "d/1", 0);
    peer_expect_publish(s.p, "d/1", "x");
    peer_retain(s.q, "d/1", "", 0);
    broker_settle(&s.b);
    peer_expect_publish(s.p, "d/1", ""); /* subscribers get it as any other */
    peer_subscribed(s.p, "d/1", 0);
    peer_expect_nothing(s.p); /* [MQTT-3.3.1-6] [MQTT-3.3.1-7] */
    assert_int_equal(BROKER_SUM(&s.b, retained), 9);
    broker_stop(&s.b);
}

BROKER_TEST(new_value_replaces_the_old_one)
{
    struct stage s;

    broker_init(&s.b, workers);
    start(&s, workers);
    for (int i = 0; i < 5; i++)
        peer_retain(s.q, "d/1", i == 4 ? "last" : "not yet", (uint8_t)(i % 3));
    peer_publish(s.q, "d/1", "not retained", 1); /* [MQTT-3.3.1-8]: leaves it alone */
    broker_settle(&s.b);
    peer_subscribed(s.p, "d/1", 0);
    peer_expect_publish(s.p, "d/1", "last");
    peer_expect_nothing(s.p);
    assert_int_equal(BROKER_SUM(&s.b, retained), 10);
    broker_stop(&s.b);
}

/* ---- limits ---- */

BROKER_TEST(retained_messages_beyond_the_limit_are_delivered_but_not_stored)
{
    struct stage s;

    broker_init(&s.b, workers);
    s.b.config.limits.retained = 10;
    start(&s, workers);
    peer_subscribed(s.p, "#", 0);
    assert_int_equal(peer_count_publishes(s.p), 10);
    peer_retain(s.q, "new", "x", 0);
    peer_retain(s.q, "d/1", "y", 0); /* replaces, so it is stored */
    broker_settle(&s.b);
    peer_expect_publish(s.p, "new", "x");
    peer_expect_publish(s.p, "d/1", "y");
    peer_subscribed(s.p, "new", 0);
    peer_expect_nothing(s.p);
    peer_subscribed(s.p, "d/1", 0);
    peer_expect_publish(s.p, "d/1", "y");
    assert_int_equal(BROKER_SUM(&s.b, retained), 10);
    assert_int_equal(BROKER_SUM(&s.b, dropped_retained_full), 1);
    peer_retain(s.q, "d/1", "", 0); /* room for another one */
    broker_settle(&s.b);
    peer_retain(s.q, "new", "x", 0);
    broker_settle(&s.b);
    assert_int_equal(BROKER_SUM(&s.b, retained), 10);
    assert_int_equal(BROKER_SUM(&s.b, dropped_retained_full), 1);
    broker_stop(&s.b);
}

/* ---- questions and what happens meanwhile ---- */

/* However the turns fall, the last value a subscriber has is the last one published. */
BROKER_TEST(subscriber_ends_with_the_last_value_however_turns_fall)
{
    uint64_t seed = 0x4e7a0001;

    print_message("seed 0x4e7a0001\n");
    for (int round = 0; round < 60; round++) {
        const struct packet *packet;
        struct broker b;
        struct peer *p, *q;
        uint32_t last = UINT32_MAX, value = 0;
        char text[16];

        broker_init(&b, workers);
        broker_start(&b);
        p = broker_client(&b, broker_id_at(&b, 0, 0));
        q = broker_client(&b, broker_id_at(&b, workers - 1, 1));
        for (int i = 0; i < 30; i++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            if (i == 10)
                peer_subscribe(p, round % 2 ? "d" : "+", 0);
            snprintf(text, sizeof text, "%u", value++);
            peer_retain(q, "d", text, 0);
            for (uint64_t k = seed >> 62; k; k--)
                broker_turn(&b, (uint32_t)(seed >> (8 * k)) % workers);
        }
        broker_settle(&b);
        while ((packet = peer_next(p)))
            if (packet->type == PACKET_PUBLISH) {
                last = 0;
                for (uint32_t i = 0; i < packet->publish.payload.n; i++)
                    last = last * 10 + packet->publish.payload.p[i] - '0';
            }
        assert_int_equal(last, value - 1);
        broker_stop(&b);
    }
}

BROKER_TEST(asker_may_leave_while_answers_come)
{
    for (uint32_t turns = 0; turns < 12; turns++)
        for (int how = 0; how < 2; how++) {
            struct stage s;

            broker_init(&s.b, workers);
            start(&s, workers);
            retain_many(&s.b, s.q, "e", 300, 10, 1);
            peer_subscribe(s.p, "#", 1);
            for (uint32_t i = 0; i < turns; i++)
                broker_turn(&s.b, i % workers);
            if (how)
                peer_drop(s.p);
            else
                peer_unsubscribe(s.p, "#");
            broker_settle(&s.b);
            for (uint32_t i = 0; i < workers; i++) {
                assert_int_equal(cluster_shard(s.b.cluster, i)->asks.count, 0);
                assert_null(cluster_shard(s.b.cluster, i)->queries);
            }
            broker_stop(&s.b);
        }
}
