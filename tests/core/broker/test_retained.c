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
