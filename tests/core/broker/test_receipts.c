/* tests/core/broker/test_receipts.c -- acknowledgements that wait for links. */
#include <stdio.h>
#include <stdlib.h>

#include "core/broker/state.h"
#include "tests/support/broker.h"
#include "tests/support/test.h"

/* What two link workers have kept: receipts, oldest first. */
struct links {
    struct broker b;
    struct link_rules rules[2];
    char names[2][16];
    struct fake {
        struct shard *shard;
        struct receipt *kept[100];
        uint32_t kept_count, came;
        bool takes; /* receipts */
    } at[2];
};

static bool on_forward(void *link, const struct publish *p, uint64_t links)
{
    struct fake *f = link;

    (void)links;
    f->came++;
    if (!p->receipt || !f->takes)
        return true;
    p->receipt->is_taken = true;
    f->kept[f->kept_count++] = p->receipt;
    return true;
}

/* A link for each of two link workers, both of which want t/#; `acks`: a bit for each that is to
 * acknowledge. */
static void start(struct links *l, uint32_t workers, uint32_t acks)
{
    memset(l, 0, sizeof *l);
    broker_init(&l->b, workers);
    l->b.config.link_workers = 2;
    l->b.config.links = l->rules;
    l->b.config.link_count = 2;
    l->b.config.ring_bytes[MAIL_ANSWER] = 4096;
    broker_start(&l->b);
    for (uint32_t i = 0; i < 2; i++) {
        struct shard_hooks hooks = {.link = &l->at[i], .forward = on_forward};
        uint32_t n = 0;

        do {
            snprintf(l->names[i], sizeof l->names[i], "cluster-%u-%u", i, n++);
        } while (link_home(l->b.cluster, bytes_str(l->names[i])) != i);
        l->rules[i] = (struct link_rules){.name = l->names[i], .acks_remotely = acks >> i & 1};
        l->at[i].shard = cluster_shard(l->b.cluster, workers + i);
        l->at[i].takes = acks >> i & 1;
        shard_set_hooks(l->at[i].shard, &hooks);
        assert_int_equal(shard_link_route(l->at[i].shard, i, BYTES_LIT("t/#"), true), OK);
        broker_turn(&l->b, workers + i);
    }
    for (uint32_t w = 0; w < workers; w++)
        assert_int_equal(shard_set_links(cluster_shard(l->b.cluster, w), l->rules, 2), OK);
    broker_settle(&l->b);
}

/* A link gives back receipt `n` that it has kept. */
static void give_back(struct links *l, uint32_t link, uint32_t n, uint8_t reason)
{
    shard_receipt_done(l->at[link].shard, l->at[link].kept[n], reason);
    l->b.is_woken[l->b.worker_count - 2 + link] = true;
    broker_settle(&l->b);
}

static void expect_ack(struct peer *p, enum packet_type type, uint16_t id, uint8_t reason)
{
    const struct packet_ack *a = &peer_expect(p, type)->ack;

    assert_int_equal(a->packet_id, id);
    assert_int_equal(a->reason, reason);
}

BROKER_TEST(ack_waits_for_every_link_worker_that_acknowledges)
{
    struct links l;
    struct peer *p;

    start(&l, workers, 3);
    p = broker_client(&l.b, broker_id_at(&l.b, workers - 1, 0));
    peer_publish(p, "t/1", "x", 1);
    broker_settle(&l.b);
    peer_expect_nothing(p);
    assert_int_equal(l.at[0].kept_count + l.at[1].kept_count, 2);
    give_back(&l, 1, 0, 0);
    peer_expect_nothing(p);
    give_back(&l, 0, 0, 0);
    expect_ack(p, PACKET_PUBACK, 1, 0);
    broker_stop(&l.b);
}

BROKER_TEST(ack_does_not_wait_for_link_workers_that_do_not_acknowledge)
{
    struct links l;
    struct peer *p;

    start(&l, workers, 1);
    p = broker_client(&l.b, broker_id_at(&l.b, 0, 0));
    peer_publish(p, "t/1", "x", 1);
    peer_publish(p, "t/1", "x", 0);
    broker_settle(&l.b);
    assert_int_equal(l.at[0].kept_count, 1); /* QoS 0 takes none along */
    assert_int_equal(l.at[1].came, 2);
    give_back(&l, 0, 0, 0);
    expect_ack(p, PACKET_PUBACK, 1, 0);
    l.at[0].takes = false; /* nobody there waits for it: it goes back at once */
    peer_publish(p, "t/1", "x", 2);
    broker_settle(&l.b);
    expect_ack(p, PACKET_PUBREC, 2, 0);
    peer_ack(p, PACKET_PUBREL, 2);
    broker_settle(&l.b);
    peer_expect(p, PACKET_PUBCOMP);
    broker_stop(&l.b);
}

BROKER_TEST(publisher_hears_the_reason_of_the_first_link_that_lets_go)
{
    struct links l;
    struct peer *p;

    start(&l, workers, 3);
    p = broker_client(&l.b, broker_id_at(&l.b, 0, 0));
    peer_publish(p, "t/1", "x", 1);
    broker_settle(&l.b);
    give_back(&l, 1, 0, REASON_QUOTA_EXCEEDED);
    give_back(&l, 0, 0, REASON_UNSPECIFIED_ERROR);
    expect_ack(p, PACKET_PUBACK, 1, REASON_QUOTA_EXCEEDED);
    broker_stop(&l.b);
}

BROKER_TEST(acks_of_a_connection_leave_in_the_order_of_its_publishes)
{
    struct links l;
    struct peer *p, *other;

    start(&l, workers, 1);
    p = broker_client(&l.b, broker_id_at(&l.b, 0, 0));
    other = broker_client(&l.b, broker_id_at(&l.b, 0, 1));
    peer_publish(p, "t/1", "x", 1);
    peer_publish(p, "t/2", "x", 2);
    peer_publish(p, "here", "x", 1);
    peer_publish(p, "t/3", "x", 1);
    peer_publish(other, "here", "x", 1);
    broker_settle(&l.b);
    expect_ack(other, PACKET_PUBACK, 1, REASON_NO_MATCHING_SUBSCRIBERS);
    give_back(&l, 0, 2, 0);
    give_back(&l, 0, 1, REASON_QUOTA_EXCEEDED);
    peer_expect_nothing(p); /* [MQTT-4.6.0-2] */
    give_back(&l, 0, 0, 0);
    expect_ack(p, PACKET_PUBACK, 1, 0);
    expect_ack(p, PACKET_PUBREC, 2, REASON_QUOTA_EXCEEDED);
    expect_ack(p, PACKET_PUBACK, 3, REASON_NO_MATCHING_SUBSCRIBERS);
    expect_ack(p, PACKET_PUBACK, 4, 0);
    broker_stop(&l.b);
}

BROKER_TEST(acks_that_wait_take_places_of_the_receive_window)
{
    struct links l;
    struct peer *p;

    start(&l, workers, 1);
    l.b.cluster->config.limits.receive_maximum = 3;
    p = broker_client(&l.b, broker_id_at(&l.b, 0, 0));
    for (int i = 0; i < 3; i++)
        peer_publish(p, "t/1", "x", 1);
    broker_settle(&l.b);
    give_back(&l, 0, 0, 0);
    expect_ack(p, PACKET_PUBACK, 1, 0);
    peer_publish(p, "t/1", "x", 2);
    broker_settle(&l.b);
    give_back(&l, 0, 3, REASON_QUOTA_EXCEEDED); /* its failure is to free its place, too */
    give_back(&l, 0, 1, 0);
    give_back(&l, 0, 2, 0);
    for (int i = 0; i < 3; i++)
        (void)peer_next(p);
    for (int i = 0; i < 3; i++)
        peer_publish(p, "t/1", "x", 1);
    broker_settle(&l.b);
    peer_expect_nothing(p);
    assert_non_null(p->stream);
    peer_publish(p, "t/1", "x", 1);
    broker_settle(&l.b);
    peer_expect_end(p, REASON_RECEIVE_MAXIMUM_EXCEEDED, CLOSE_RECEIVE_MAXIMUM);
    for (uint32_t i = 4; i < l.at[0].kept_count; i++)
        give_back(&l, 0, i, 0); /* nobody is answered any more */
    broker_stop(&l.b);
}

/* As a client does on a later connection. */
static void publish_again(struct peer *p, uint8_t qos, uint16_t id)
{
    struct publish_out o = {.qos = qos,
                            .packet_id = id,
                            .dup = true,
                            .topic = BYTES_LIT("t/1"),
                            .payload = BYTES_LIT("x")};

    peer_publish_out(p, &o);
}

BROKER_TEST(what_is_sent_again_takes_places_of_the_receive_window_but_for_qos_2)
{
    struct links l;
    struct peer *p;
    const char *id;

    start(&l, workers, 1);
    l.b.cluster->config.limits.receive_maximum = 3;
    id = broker_id_at(&l.b, 0, 0);
    p = broker_durable(&l.b, id, MQTT_5);
    peer_publish(p, "t/1", "x", 2);
    peer_publish(p, "t/1", "x", 1);
    peer_publish(p, "t/1", "x", 1);
    broker_settle(&l.b);
    p = broker_durable(&l.b, id, MQTT_5);
    publish_again(p, 2, 1);
    publish_again(p, 1, 2);
    publish_again(p, 1, 3);
    p->next_packet_id = 4;
    peer_publish(p, "t/1", "x", 1);
    broker_settle(&l.b);
    assert_int_equal(l.at[0].came, 4);
    peer_expect_nothing(p);
    assert_non_null(p->stream);
    peer_publish(p, "t/1", "x", 1);
    broker_settle(&l.b);
    peer_expect_end(p, REASON_RECEIVE_MAXIMUM_EXCEEDED, CLOSE_RECEIVE_MAXIMUM);
    for (uint32_t i = 0; i < l.at[0].kept_count; i++)
        give_back(&l, 0, i, 0);
    broker_stop(&l.b);
}

BROKER_TEST(id_of_what_waits_at_qos_2_may_name_another_message_at_qos_1)
{
    struct links l;
    struct peer *p;
    const char *id;

    start(&l, workers, 1);
    id = broker_id_at(&l.b, 0, 0);
    p = broker_durable(&l.b, id, MQTT_5);
    peer_publish(p, "t/1", "x", 2);
    broker_settle(&l.b);
    p = broker_durable(&l.b, id, MQTT_5);
    publish_again(p, 1, 1);
    broker_settle(&l.b);
    assert_int_equal(l.at[0].came, 2);
    give_back(&l, 0, 0, 0); /* nobody is answered for the first any more */
    peer_expect_nothing(p);
    give_back(&l, 0, 1, 0);
    expect_ack(p, PACKET_PUBACK, 1, 0);
    broker_stop(&l.b);
}

BROKER_TEST(session_that_is_taken_over_keeps_what_waits)
{
    struct links l;
    struct peer *p;
    const char *id;

    start(&l, workers, 1);
    id = broker_id_at(&l.b, workers - 1, 0);
    p = broker_durable(&l.b, id, MQTT_5);
    peer_publish(p, "t/1", "x", 1);
    peer_publish(p, "t/1", "x", 2);
    broker_settle(&l.b);
    p = broker_durable(&l.b, id, MQTT_5);
    publish_again(p, 1, 1);
    publish_again(p, 2, 2);
    broker_settle(&l.b);
    assert_int_equal(l.at[0].came, 2);
    peer_expect_nothing(p);
    give_back(&l, 0, 0, 0);
    expect_ack(p, PACKET_PUBACK, 1, 0);
    give_back(&l, 0, 1, REASON_UNSPECIFIED_ERROR);
    expect_ack(p, PACKET_PUBREC, 2, REASON_UNSPECIFIED_ERROR);
    assert_int_equal(BROKER_SUM(&l.b, link_acks_failed), 1);
    assert_int_equal(BROKER_SUM(&l.b, link_acks_waiting), 0);
    p->next_packet_id = 2;
    peer_publish(p, "t/1", "x", 2); /* the flow has ended [MQTT-4.3.3-9] */
    broker_settle(&l.b);
    assert_int_equal(l.at[0].came, 3);
    give_back(&l, 0, 2, 0);
    expect_ack(p, PACKET_PUBREC, 2, 0);
    broker_stop(&l.b);
}

/* Sent again from both ends at once, and a part by a third connection. */
BROKER_TEST(what_was_left_is_known_again_in_any_order)
{
    struct links l;
    struct peer *p;
    const char *id;
    struct publish_out o = {.dup = true, .topic = BYTES_LIT("t/1"), .payload = BYTES_LIT("x")};

    start(&l, workers, 1);
    id = broker_id_at(&l.b, workers - 1, 0);
    p = broker_durable(&l.b, id, MQTT_5);
    for (uint16_t i = 1; i <= 60; i++)
        peer_publish(p, "t/1", "x", 1 + i % 2);
    broker_settle(&l.b);
    for (uint16_t n = 0; n < 2; n++) {
        p = broker_durable(&l.b, id, MQTT_5);
        for (uint16_t i = 1; i <= 30 - n; i++) {
            o.packet_id = i % 2 ? i : 61 - i;
            o.qos = 1 + o.packet_id % 2;
            peer_publish_out(p, &o);
        }
        broker_settle(&l.b);
        peer_expect_nothing(p);
    }
    assert_int_equal(l.at[0].came, 60);
    for (uint32_t i = 0; i < 60; i++)
        give_back(&l, 0, i, 0);
    for (uint16_t i = 1; i <= 29; i++) {
        uint16_t packet_id = i % 2 ? i : 61 - i;

        expect_ack(p, packet_id % 2 ? PACKET_PUBREC : PACKET_PUBACK, packet_id, 0);
    }
    peer_expect_nothing(p);
    assert_int_equal(BROKER_SUM(&l.b, link_acks_waiting), 31);
    broker_stop(&l.b);
}

/* What it means is for the client to know: each is answered, and one is found again. */
BROKER_TEST(packet_id_that_is_used_twice_at_once_is_answered_twice)
{
    struct links l;
    struct peer *p;
    const char *id;
    struct publish_out o = {
        .qos = 1, .packet_id = 7, .topic = BYTES_LIT("t/1"), .payload = BYTES_LIT("x")};

    start(&l, workers, 1);
    id = broker_id_at(&l.b, workers - 1, 0);
    p = broker_durable(&l.b, id, MQTT_5);
    for (int i = 0; i < 4; i++)
        peer_publish_out(p, &o);
    broker_settle(&l.b);
    assert_int_equal(l.at[0].came, 4);
    give_back(&l, 0, 1, 0);
    give_back(&l, 0, 0, 0);
    for (int i = 0; i < 2; i++)
        expect_ack(p, PACKET_PUBACK, 7, 0);
    peer_publish_out(p, &o);
    broker_settle(&l.b);
    p = broker_durable(&l.b, id, MQTT_5);
    o.dup = true;
    peer_publish_out(p, &o);
    broker_settle(&l.b);
    assert_int_equal(l.at[0].came, 5);
    for (uint32_t i = 2; i < 5; i++)
        give_back(&l, 0, i, 0);
    expect_ack(p, PACKET_PUBACK, 7, 0);
    peer_expect_nothing(p);
    broker_stop(&l.b);
}

BROKER_TEST(receipts_find_no_room_and_wait_for_it)
{
    struct links l;
    struct peer *p;

    start(&l, workers, 1);
    p = broker_client(&l.b, broker_id_at(&l.b, 0, 0));
    for (uint32_t n = 0; n < 5; n++) {
        for (uint32_t i = 0; i < 100; i++)
            peer_publish(p, "t/1", "x", 1);
        broker_settle(&l.b);
        assert_int_equal(l.at[0].kept_count, 100);
        for (uint32_t i = 0; i < 100; i++) /* more than its ring takes at once */
            shard_receipt_done(l.at[0].shard, l.at[0].kept[i], 0);
        l.at[0].kept_count = 0;
        l.b.is_woken[workers] = true;
        broker_settle(&l.b);
        for (uint32_t i = 0; i < 100; i++)
            expect_ack(p, PACKET_PUBACK, (uint16_t)(n * 100 + i + 1), 0);
    }
    broker_stop(&l.b);
}

/* All workers, for a while, whatever waits. */
static void run(struct links *l)
{
    for (uint32_t i = 0; i < 40; i++)
        for (uint32_t worker = 0; worker < l->b.worker_count; worker++)
            broker_turn(&l->b, worker);
}

BROKER_TEST(client_of_whom_one_waits_is_not_read_while_memory_is_full)
{
    struct links l;
    struct peer *p, *other;
    uint64_t before;

    start(&l, workers, 1);
    p = broker_client(&l.b, broker_id_at(&l.b, workers - 1, 0));
    other = broker_client(&l.b, broker_id_at(&l.b, workers - 1, 1));
    before = BROKER_SUM(&l.b, filter_bytes_held);
    peer_publish(p, "t/1", "x", 1);
    run(&l);
    assert_true(BROKER_SUM(&l.b, filter_bytes_held) > before);
    l.b.cluster->config.limits.memory_bytes = 1;
    run(&l);
    peer_publish(p, "t/1", "x", 1);
    peer_publish(other, "t/1", "x", 1);
    run(&l);
    assert_int_equal(l.at[0].came, 2);
    assert_true(p->is_parked);
    l.b.cluster->config.limits.memory_bytes = 1u << 30;
    run(&l);
    assert_int_equal(l.at[0].came, 3);
    for (uint32_t i = 0; i < 3; i++)
        give_back(&l, 0, i, 0);
    expect_ack(p, PACKET_PUBACK, 1, 0);
    expect_ack(p, PACKET_PUBACK, 2, 0);
    expect_ack(other, PACKET_PUBACK, 1, 0);
    assert_int_equal(BROKER_SUM(&l.b, filter_bytes_held), before);
    broker_stop(&l.b);
}

BROKER_TEST(process_can_end_with_receipts_anywhere)
{
    struct links l;
    struct peer *p;

    start(&l, workers, 3);
    p = broker_durable(&l.b, broker_id_at(&l.b, 0, 0), MQTT_5);
    peer_publish(p, "t/1", "x", 1);
    peer_publish(p, "t/1", "x", 1);
    broker_settle(&l.b);
    for (uint32_t i = 0; i < 2; i++) {
        shard_receipt_done(l.at[i].shard, l.at[i].kept[0], 0);
        broker_turn(&l.b, workers + i);                        /* one on its way back in a ring */
        shard_receipt_done(l.at[i].shard, l.at[i].kept[1], 0); /* and one that was not posted */
    }
    peer_publish(p, "t/1", "x", 1);
    broker_turn(&l.b, 0); /* one in a ring towards each */
    peer_drop(p);
    cluster_destroy(l.b.cluster);
    broker_forget_peers(&l.b);
}
