/* tests/core/broker/test_access_net.c -- when the net is asked who may publish and subscribe, and
 * what happens to a packet that waits for its answer.
 */
#include "core/broker/state.h"
#include "tests/support/broker.h"
#include "tests/support/test.h"

/* What the net says: by the first letter of a topic. */
static struct {
    enum access_answer w; /* of topics with 'w': WAIT at first */
    uint32_t asked_count;
    struct access_question last;
} net;

static enum access_answer may(void *self, const struct access_question *q)
{
    (void)self;
    net.asked_count++;
    net.last = *q;
    assert_non_null(q->topic.p);
    switch (q->topic.p[0]) {
    case 'y':
        return ACCESS_YES;
    case 'n':
        return ACCESS_NO;
    case 'f':
        return ACCESS_FILE;
    default:
        return net.w;
    }
}

static void start(struct broker *b, uint32_t workers, const char *acl)
{
    struct shard_hooks hooks = {.may = may};

    memset(&net, 0, sizeof(net));
    net.w = ACCESS_WAIT;
    broker_init(b, workers);
    if (acl)
        broker_set_acl(b, acl);
    broker_start(b);
    for (uint32_t i = 0; i < workers; i++)
        shard_set_hooks(cluster_shard(b->cluster, i), &hooks);
}

static void expect_ack(struct peer *p, enum packet_type type, uint16_t id, uint8_t reason)
{
    const struct packet_ack *a = &peer_expect(p, type)->ack;

    assert_int_equal(a->packet_id, id);
    assert_int_equal(a->reason, reason);
}

static uint8_t suback_of(struct peer *p, const char *filter)
{
    peer_subscribe(p, filter, 1);
    broker_settle(p->broker);
    return peer_expect(p, PACKET_SUBACK)->suback.reasons.p[0];
}

/* Turns in which somebody waits do not settle. */
static void turns(struct broker *b)
{
    for (uint32_t i = 0; i < 4 * b->worker_count; i++)
        broker_turn(b, i % b->worker_count);
}

BROKER_TEST(net_says_who_may_publish)
{
    struct broker b;
    struct peer *p, *q;
    uint16_t id;

    start(&b, workers, NULL);
    p = broker_client_as(&b, 0, MQTT_5, broker_id_at(&b, 0, 0), "alice", false);
    q = broker_client(&b, broker_id_at(&b, workers - 1, 1));
    peer_subscribed(q, "y", 2);
    id = peer_publish(p, "y", "1", 1);
    broker_settle(&b);
    expect_ack(p, PACKET_PUBACK, id, 0);
    peer_expect_publish(q, "y", "1");
    assert_true(bytes_eq(net.last.user, BYTES_LIT("alice")));
    assert_true(!net.last.is_subscribe && net.last.qos == 1 && !net.last.retain);
    id = peer_publish(p, "n", "2", 1);
    broker_settle(&b);
    expect_ack(p, PACKET_PUBACK, id, REASON_NOT_AUTHORIZED);
    id = peer_publish(p, "f", "3", 2); /* without an ACL nobody allows it */
    broker_settle(&b);
    expect_ack(p, PACKET_PUBREC, id, REASON_NOT_AUTHORIZED);
    assert_int_equal(BROKER_SUM(&b, denied_publish), 2);
    broker_stop(&b);
}

BROKER_TEST(net_leaves_to_the_acl_what_it_ignores)
{
    struct broker b;
    struct peer *p;
    uint16_t id;

    start(&b, workers, "topic write f/1\ntopic write n\n");
    p = broker_client(&b, broker_id_at(&b, 0, 0));
    id = peer_publish(p, "f/1", "1", 1);
    broker_settle(&b);
    expect_ack(p, PACKET_PUBACK, id, REASON_NO_MATCHING_SUBSCRIBERS);
    id = peer_publish(p, "f/2", "2", 1);
    broker_settle(&b);
    expect_ack(p, PACKET_PUBACK, id, REASON_NOT_AUTHORIZED);
    id = peer_publish(p, "n", "3", 1); /* the ACL is not asked */
    broker_settle(&b);
    expect_ack(p, PACKET_PUBACK, id, REASON_NOT_AUTHORIZED);
    id = peer_publish(p, "y", "4", 1);
    broker_settle(&b);
    expect_ack(p, PACKET_PUBACK, id, REASON_NO_MATCHING_SUBSCRIBERS);
    broker_stop(&b);
}

/* What waits holds back what comes behind it, and only that. */
BROKER_TEST(net_lets_a_publish_wait_and_keeps_its_order)
{
    struct broker b;
    struct peer *p, *q;
    uint16_t id[3];

    start(&b, workers, NULL);
    p = broker_client(&b, broker_id_at(&b, 0, 0));
    q = broker_client(&b, broker_id_at(&b, workers - 1, 1));
    peer_subscribed(q, "y/#", 0);
    net.w = ACCESS_YES;
    peer_subscribed(q, "w", 0);
    net.w = ACCESS_WAIT;
    id[0] = peer_publish(p, "y/1", "1", 1);
    id[1] = peer_publish(p, "w", "2", 2);
    id[2] = peer_publish(p, "y/2", "3", 1);
    turns(&b);
    expect_ack(p, PACKET_PUBACK, id[0], 0);
    peer_expect_nothing(p);
    assert_true(p->is_parked);
    peer_publish(q, "y/other", "another client's", 0);
    turns(&b);
    peer_expect_publish(q, "y/1", "1");
    peer_expect_publish(q, "y/other", "another client's");
    peer_expect_nothing(q);
    net.w = ACCESS_YES;
    turns(&b);
    broker_settle(&b);
    expect_ack(p, PACKET_PUBREC, id[1], 0);
    expect_ack(p, PACKET_PUBACK, id[2], 0);
    peer_expect_publish(q, "w", "2");
    peer_expect_publish(q, "y/2", "3");
    broker_stop(&b);
}

BROKER_TEST(net_is_asked_about_every_filter_but_once)
{
    static const struct filter_request filters[] = {{.filter = {(const uint8_t *)"y/+", 3}},
                                                    {.filter = {(const uint8_t *)"w", 1}},
                                                    {.filter = {(const uint8_t *)"n/#", 3}},
                                                    {.filter = {(const uint8_t *)"f", 1}}};
    struct broker b;
    struct bytes reasons;
    struct peer *p;

    start(&b, workers, NULL);
    p = broker_client(&b, broker_id_at(&b, 0, 0));
    peer_subscribe_to(p, filters, 4, 0);
    turns(&b);
    peer_expect_nothing(p);
    assert_int_equal(BROKER_SUM(&b, subscriptions), 0); /* nothing was changed */
    net.asked_count = 0;
    net.w = ACCESS_YES;
    turns(&b);
    broker_settle(&b);
    assert_int_equal(net.asked_count, 1);
    assert_true(net.last.is_subscribe);
    reasons = peer_expect(p, PACKET_SUBACK)->suback.reasons;
    assert_int_equal(reasons.n, 4);
    assert_memory_equal(reasons.p, "\0\0\x87\x87", 4);
    assert_int_equal(BROKER_SUM(&b, denied_subscribe), 2);
    assert_int_equal(suback_of(p, "$share/g/n"), REASON_NOT_AUTHORIZED);
    assert_int_equal(suback_of(p, "$share/g/y"), 1);
    broker_stop(&b);
}

BROKER_TEST(net_is_not_asked_about_sys_of_loopback_and_links)
{
    struct broker b;
    struct peer *p;

    start(&b, workers, NULL);
    p = broker_client(&b, broker_id_at(&b, 0, 0));
    assert_int_equal(suback_of(p, "$SYS/#"), 1);
    assert_int_equal(suback_of(p, "$LINK/x"), REASON_NOT_AUTHORIZED);
    assert_int_equal(net.asked_count, 0);
    broker_stop(&b);
}

static struct peer *dial_with_will(struct broker *b, const char *topic)
{
    struct connect_out o = {.protocol = MQTT_5,
                            .client_id = bytes_str(broker_id_at(b, 0, 0)),
                            .clean_start = true,
                            .has_will = true,
                            .will_topic = bytes_str(topic),
                            .will_payload = BYTES_LIT("gone")};
    struct peer *p = broker_dial(b, 0, &o);

    turns(b);
    return p;
}

BROKER_TEST(net_judges_a_will_when_it_is_left)
{
    struct broker b;
    struct peer *p, *q;

    start(&b, workers, "topic read #\n");
    q = broker_client(&b, broker_id_at(&b, workers - 1, 1));
    net.w = ACCESS_YES;
    peer_subscribed(q, "w", 0);
    net.w = ACCESS_WAIT;
    p = dial_with_will(&b, "w");
    peer_expect_nothing(p); /* the CONNECT waits */
    net.w = ACCESS_YES;
    turns(&b);
    broker_settle(&b);
    assert_int_equal(peer_expect(p, PACKET_CONNACK)->connack.reason, 0);
    net.w = ACCESS_NO; /* it was allowed when it was left */
    peer_drop(p);
    broker_settle(&b);
    peer_expect_publish(q, "w", "gone");
    p = dial_with_will(&b, "n");
    broker_settle(&b);
    assert_int_equal(peer_expect(p, PACKET_CONNACK)->connack.reason, REASON_NOT_AUTHORIZED);
    broker_stop(&b);
}

/* It is the broker that does not read: nobody is silent. */
BROKER_TEST(net_that_takes_its_time_ends_no_client_for_silence)
{
    struct connect_out o = {.protocol = MQTT_5, .clean_start = true, .keep_alive = 1};
    struct broker b;
    struct peer *p;

    start(&b, workers, NULL);
    o.client_id = bytes_str(broker_id_at(&b, 0, 0));
    p = broker_connect(&b, &o);
    peer_publish(p, "w", "1", 1);
    turns(&b);
    assert_true(p->is_parked);
    p->is_parked = false; /* the packet is offered again when the answer is there, not before */
    for (int i = 0; i < 5; i++) {
        b.now_ms += 1000;
        turns(&b);
    }
    assert_non_null(p->stream);
    p->is_parked = true;
    net.w = ACCESS_YES;
    turns(&b);
    broker_settle(&b);
    (void)peer_expect(p, PACKET_PUBACK);
    broker_stop(&b);
}

BROKER_TEST(net_may_take_longer_than_its_client_stays)
{
    struct broker b;
    struct peer *p, *q;

    start(&b, workers, NULL);
    p = broker_client(&b, broker_id_at(&b, 0, 0));
    q = broker_client(&b, broker_id_at(&b, 0, 1));
    peer_publish(p, "w", "1", 1);
    peer_subscribe(q, "w", 1);
    turns(&b);
    peer_drop(p);
    peer_drop(q);
    broker_settle(&b);
    broker_stop(&b);
}
