/* tests/core/broker/test_shard.c -- turns, connections on their way home, the end of it all. */
#include "core/broker/shard.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/base/check.h"
#include "core/broker/state.h"
#include "tests/support/broker.h"
#include "tests/support/test.h"

/* ---- connections come home ---- */

static struct bytes connect_bytes(uint8_t *to, enum protocol protocol, const char *id)
{
    struct connect_out o = {.protocol = protocol, .clean_start = true, .client_id = bytes_str(id)};

    return bytes_of(to, (size_t)(connect_put(to, &o) - to));
}

BROKER_TEST(connection_is_placed_by_its_client_id_when_that_is_whole)
{
    struct broker b;
    uint8_t bytes[100];

    broker_init(&b, workers);
    broker_start(&b);
    for (uint32_t w = 0; w < workers; w++) {
        struct bytes all = connect_bytes(bytes, w % 2 ? MQTT_5 : MQTT_311, broker_id_at(&b, w, w));
        struct greeting g;
        uint32_t need = 0;

        for (uint32_t n = 0; n < all.n; n++)
            assert_int_equal(
                shard_greet(cluster_shard(b.cluster, 0), bytes_of(bytes, n), &g, &need), ERR_MORE);
        for (uint32_t from = 0; from < workers; from++) {
            assert_int_equal(shard_greet(cluster_shard(b.cluster, from), all, &g, &need), OK);
            assert_int_equal(g.home, w);
        }
    }
    broker_stop(&b);
}

TEST(connection_that_cannot_be_placed_is_answered_where_it_is)
{
    static const uint8_t junk[] = "GET / HTTP/1.1", bad[] = {0x10, 2, 0, 9};
    uint8_t large[] = {0x10, 0xff, 0xff, 0x7f}, bytes[100];
    struct greeting g;
    uint32_t need;
    struct broker b;
    struct shard *s;

    broker_init(&b, 7);
    b.config.limits.connect_bytes = 1000;
    broker_start(&b);
    s = cluster_shard(b.cluster, 3);
    assert_int_equal(shard_greet(s, bytes_of(junk, 1), &g, &need), OK);
    assert_int_equal(g.home, 3);
    assert_int_equal(shard_greet(s, bytes_of(bad, sizeof bad), &g, &need), OK);
    assert_int_equal(g.home, 3);
    assert_int_equal(shard_greet(s, bytes_of(large, sizeof large), &g, &need), OK);
    assert_int_equal(g.home, 3);
    assert_int_equal(shard_greet(s, connect_bytes(bytes, MQTT_5, ""), &g, &need), OK);
    assert_int_equal(g.home, 3); /* an id will be made up that is at home here */
    broker_stop(&b);
}

static void adopt(void *net, struct handoff *h)
{
    *(int *)net += h->fd;
    free(h);
}

TEST(connection_is_handed_over_with_what_it_has_sent)
{
    int sum = 0;
    struct shard_hooks hooks = {.net = &sum, .adopt = adopt};
    struct handoff *h = NULL;
    struct broker b;
    int given = 0;

    broker_init(&b, 2);
    b.config.ring_bytes[MAIL_REQUEST] = 4096;
    broker_start(&b);
    shard_set_hooks(cluster_shard(b.cluster, 1), &hooks);
    for (int i = 1;; i++) {
        h = calloc(1, sizeof *h);
        assert_non_null(h);
        h->fd = i;
        if (shard_handoff(cluster_shard(b.cluster, 0), 1, h) != OK)
            break;
        given += i;
    }
    b.is_woken[0] = true;
    broker_settle(&b);
    assert_int_equal(sum, given);
    assert_int_equal(shard_handoff(cluster_shard(b.cluster, 0), 1, h), OK); /* there is room */
    cluster_destroy(b.cluster); /* frees what is under way */
    check_set_handler(NULL);
    assert_int_equal(sum, given);
}

TEST(bytes_of_a_hand_off_are_counted_as_mail)
{
    const uint32_t bytes = 3u << 20;
    struct handoff *h = calloc(1, sizeof *h + bytes);
    struct shard_hooks hooks = {.adopt = adopt};
    struct shard *to;
    struct broker b;
    int sum = 0;

    assert_non_null(h);
    h->count = bytes;
    hooks.net = &sum;
    broker_init(&b, 2);
    b.config.limits.memory_bytes = bytes / 2; /* and an eighth of it for what is on its way */
    broker_start(&b);
    to = cluster_shard(b.cluster, 1);
    shard_set_hooks(to, &hooks);
    assert_int_equal(shard_handoff(cluster_shard(b.cluster, 0), 1, h), OK);
    assert_int_equal(load_relaxed(&to->mail_bytes), handoff_bytes(h));
    for (int i = 0; i < 17; i++)
        broker_turn(&b, 0); /* it has looked at the memory of the process */
    assert_false(shard_hold_input(cluster_shard(b.cluster, 0), 1));
    broker_turn(&b, 1);
    assert_int_equal(load_relaxed(&to->mail_bytes), 0);
    for (int i = 0; i < 17; i++)
        broker_turn(&b, 0);
    assert_true(shard_hold_input(cluster_shard(b.cluster, 0), 1));
    assert_true(shard_hold_input(cluster_shard(b.cluster, 0), -1));
    broker_stop(&b);
}

/* ---- memory ---- */

BROKER_TEST(messages_wait_only_up_to_the_limit_of_the_process)
{
    struct broker b;
    struct peer *p, *q;
    char text[1001];
    uint64_t held;
    const char *topic;

    memset(text, 'x', 1000);
    text[1000] = 0;
    broker_init(&b, workers);
    b.config.limits.memory_bytes = 100000;
    b.config.limits.queued_messages = 100000;
    broker_start(&b);
    topic = broker_topic_at(&b, 0, 0);
    p = broker_durable(&b, broker_id_at(&b, workers - 1, 0), MQTT_5);
    q = broker_client(&b, broker_id_at(&b, 0, 1));
    peer_subscribed(p, topic, 1);
    peer_drop(p);
    broker_settle(&b);
    for (int i = 0; i < 1000; i++) {
        peer_publish(q, topic, text, 1);
        broker_settle(&b);
    }
    held = BROKER_SUM(&b, message_bytes_held);
    assert_in_range(held, 100000, 200000); /* looked at now and then */
    assert_int_equal(BROKER_SUM(&b, queued_messages) + BROKER_SUM(&b, dropped_memory), 1000);
    p = broker_durable(&b, broker_id_at(&b, workers - 1, 0), MQTT_5);
    for (int i = 0; i < 50; i++) { /* the reader takes it all, and there is room again */
        const struct packet *packet;

        broker_settle(&b);
        while ((packet = peer_next(p)))
            if (packet->type == PACKET_PUBLISH)
                peer_ack(p, PACKET_PUBACK, packet->publish.packet_id);
    }
    peer_drop(p);
    for (uint32_t i = 0; i < 20 * workers; i++)
        broker_turn(&b, i % workers);
    peer_publish(q, topic, text, 1);
    broker_settle(&b);
    assert_int_equal(BROKER_SUM(&b, queued_messages), 1);
    broker_stop(&b);
}

/* ---- the end ---- */

BROKER_TEST(shutdown_ends_all_clients_and_sends_their_wills)
{
    struct connect_out o = {.protocol = MQTT_5,
                            .clean_start = true,
                            .has_will = true,
                            .will_payload = BYTES_LIT("gone")};
    struct broker b;
    struct peer *p[7], *old, *waits, *q;

    broker_init(&b, workers);
    broker_start(&b);
    q = broker_durable(&b, broker_id_at(&b, 0, 50), MQTT_5);
    peer_subscribed(q, "will/#", 1);
    old = broker_durable(&b, broker_id_at(&b, 0, 51), MQTT_311);
    waits = broker_open(&b, 0, "");
    for (uint32_t i = 0; i < workers; i++) {
        char topic[32];

        snprintf(topic, sizeof topic, "will/%u", i);
        o.client_id = bytes_str(broker_id_at(&b, i, i));
        o.will_topic = bytes_str(topic);
        o.will_qos = 1;
        p[i] = broker_connect(&b, &o);
    }
    for (uint32_t i = 0; i < workers; i++) {
        shard_shutdown(cluster_shard(b.cluster, i));
        b.is_woken[i] = true;
    }
    broker_settle(&b);
    for (uint32_t i = 0; i < workers; i++)
        peer_expect_end(p[i], REASON_SERVER_SHUTTING_DOWN, CLOSE_SHUTDOWN);
    peer_expect_end(old, 0, CLOSE_SHUTDOWN);
    assert_null(waits->stream);
    assert_int_equal(BROKER_SUM(&b, clients_connected), 0);
    assert_int_equal(BROKER_SUM(&b, queued_messages) + BROKER_SUM(&b, inflight_messages), workers);
    broker_stop(&b);
}

TEST(broker_ends_with_anything_under_way)
{
    for (uint32_t turns = 0; turns < 10; turns++) {
        struct broker b;
        struct peer *p, *q;
        char topic[32], text[700];

        memset(text, 'x', sizeof text);
        text[sizeof text - 1] = 0;
        broker_init(&b, 2);
        b.config.link_workers = 1;
        broker_start(&b);
        p = broker_durable(&b, broker_id_at(&b, 0, 0), MQTT_5);
        q = broker_client(&b, broker_id_at(&b, 1, 1));
        peer_subscribed(p, "a/#", 1);
        peer_subscribed(q, "$share/g/a/#", 1);
        for (int i = 0; i < 50; i++) {
            snprintf(topic, sizeof topic, "a/%d", i);
            peer_retain(q, topic, text, 1);
            peer_publish(p, topic, "x", 2);
            peer_subscribe(q, topic, 0);
        }
        for (uint32_t i = 0; i < turns; i++)
            broker_turn(&b, i % 2);
        peer_drop(p);
        peer_drop(q);
        cluster_destroy(b.cluster); /* the leak sanitizer looks */
        check_set_handler(NULL);
        broker_forget_peers(&b);
    }
}
