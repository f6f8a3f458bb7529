/* tests/core/broker/test_deliver.c -- one message to one session: windows, queues, bounds. */
#include <stdlib.h>

#include "core/broker/state.h"
#include "tests/support/broker.h"
#include "tests/support/test.h"

static char *text_of(uint32_t n)
{
    char *text = malloc(n + 1);

    assert_non_null(text);
    memset(text, 'x', n);
    text[n] = 0;
    return text;
}

TEST(answers_may_stand_behind_a_message_larger_than_outq_bytes)
{
    struct broker b;
    struct peer *p, *q;
    char *large = text_of(3u << 20);

    broker_init(&b, 1);
    broker_start(&b);
    p = broker_client(&b, "sub");
    q = broker_client(&b, "pub");
    peer_subscribed(p, "t", 0);
    peer_publish(q, "t", large, 0);
    peer_ping(p);
    broker_turn(&b, 0);
    assert_non_null(p->stream);
    broker_settle(&b);
    assert_non_null(p->stream);
    assert_int_equal(peer_count_publishes(p), 1);
    free(large);
    broker_stop(&b);
}

TEST(large_message_to_oneself_is_acknowledged)
{
    struct broker b;
    struct peer *p;
    char *large = text_of(2u << 20);

    broker_init(&b, 1);
    broker_start(&b);
    p = broker_client(&b, "self");
    peer_subscribed(p, "t", 1);
    peer_publish(p, "t", large, 1);
    broker_settle(&b);
    assert_non_null(p->stream);
    peer_expect_publish(p, "t", large);
    peer_expect(p, PACKET_PUBACK);
    free(large);
    broker_stop(&b);
}

TEST(overlapping_subscriptions_take_bounded_scratch_memory)
{
    struct broker b;
    struct peer *q;
    uint64_t most = 0;

    broker_init(&b, 1);
    broker_start(&b);
    for (uint32_t i = 0; i < 50; i++) {
        struct peer *p = broker_client(&b, broker_id_at(&b, 0, i));

        peer_subscribed(p, "a/b", 0);
        peer_subscribed(p, "a/+", 0);
    }
    q = broker_client(&b, "pub");
    for (uint32_t i = 0; i < 1000; i++)
        peer_publish(q, "a/b", "", 0);
    most = cluster_shard(b.cluster, 0)->arena.total;
    assert_int_equal(most, 0);
    shard_begin_turn(cluster_shard(b.cluster, 0), b.now_ms, b.wall_ms);
    {
        enum input verdict;
        uint32_t need;

        q->in_count -=
            q->stream->ops->input(q->stream, bytes_of(q->in, q->in_count), &verdict, &need);
    }
    most = cluster_shard(b.cluster, 0)->arena.total;
    assert_in_range(most, 0, 1u << 20); /* 1000 publishes of 70 KB each would be 4 MB */
    broker_settle(&b);
    broker_stop(&b);
}

TEST(packets_larger_than_the_client_accepts_are_not_sent)
{
    struct connect_out o = {.protocol = MQTT_5,
                            .clean_start = true,
                            .client_id = BYTES_LIT("small"),
                            .maximum_packet_size = 40};
    struct filter_request f[64];
    struct broker b;
    struct peer *p;
    const struct packet *packet;

    broker_init(&b, 1);
    broker_start(&b);
    p = broker_dial(&b, 0, &o);
    for (int i = 0; i < 64; i++)
        f[i] = (struct filter_request){.filter = BYTES_LIT("a/b/c")};
    peer_subscribe_to(p, f, 64, 0);
    broker_settle(&b);
    peer_expect(p, PACKET_CONNACK);
    packet = peer_next(p);
    if (packet && packet->type == PACKET_SUBACK) /* [MQTT-3.1.2-24] */
        assert_in_range(packet->suback.reasons.n + 5, 0, 40);
    broker_stop(&b);
}
