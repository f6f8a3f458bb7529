/* tests/core/broker/test_acl.c -- who may publish, leave a will, subscribe and get what, by an ACL.
 *
 * What happens when the ACL changes is in test_acl_change.c.
 */
#include <stdio.h>
#include <stdlib.h>

#include "core/broker/state.h"
#include "tests/support/broker.h"
#include "tests/support/test.h"

static const enum protocol versions[] = {MQTT_31, MQTT_311, MQTT_5};

/* `all` may everything; the others what stands here. */
static const char rules[] = "topic read open/#\n"
                            "user all\n"
                            "topic #\n"
                            "topic $SYS/#\n"
                            "user writer\n"
                            "topic write open/#\n"
                            "user reader\n"
                            "topic read open/#\n"
                            "topic deny open/secret/#\n"
                            "pattern readwrite own/%c/#\n"
                            "pattern readwrite of/%u\n";

static void start(struct broker *b, uint32_t workers, const char *acl)
{
    broker_init(b, workers);
    broker_set_acl(b, acl);
    broker_start(b);
}

static struct peer *client(struct broker *b, const char *id, const char *user)
{
    return broker_client_as(b, 0, MQTT_5, id, user, false);
}

static uint8_t suback_of(struct peer *p, const char *filter)
{
    peer_subscribe(p, filter, 1);
    broker_settle(p->broker);
    return peer_expect(p, PACKET_SUBACK)->suback.reasons.p[0];
}

static void expect_ack(struct peer *p, enum packet_type type, uint16_t id, uint8_t reason)
{
    const struct packet_ack *a = &peer_expect(p, type)->ack;

    assert_int_equal(a->packet_id, id);
    assert_int_equal(a->reason, p->protocol == MQTT_5 ? reason : 0);
}

/* ---- publishing ---- */

static void publish_denied(enum protocol protocol, uint32_t workers)
{
    struct broker b;
    struct peer *p, *all;
    uint16_t id;

    start(&b, workers, rules);
    all = client(&b, broker_id_at(&b, 0, 0), "all");
    peer_subscribed(all, "#", 2);
    p = broker_client_as(&b, 0, protocol, broker_id_at(&b, workers - 1, 1), "writer", false);
    peer_publish(p, "shut", "0", 0);
    id = peer_publish(p, "shut", "1", 1);
    broker_settle(&b);
    expect_ack(p, PACKET_PUBACK, id, REASON_NOT_AUTHORIZED);
    id = peer_publish(p, "shut", "2", 2);
    broker_settle(&b);
    expect_ack(p, PACKET_PUBREC, id, REASON_NOT_AUTHORIZED);
    assert_int_equal(BROKER_SUM(&b, denied_publish), 3);
    peer_expect_nothing(all);
    if (protocol != MQTT_5) { /* who cannot be told goes on as if it had been taken */
        peer_ack(p, PACKET_PUBREL, id);
        broker_settle(&b);
        expect_ack(p, PACKET_PUBCOMP, id, 0);
    }
    peer_publish(p, "open/x", "3", 0);
    broker_settle(&b);
    peer_expect_publish(all, "open/x", "3");
    assert_non_null(p->stream);
    broker_stop(&b);
}

BROKER_TEST(publish_without_the_right_is_answered_and_dropped)
{
    for (int i = 0; i < 3; i++)
        publish_denied(versions[i], workers);
}

TEST(denied_publish_by_alias_is_denied_each_time)
{
    struct publish_out o = {.topic = BYTES_LIT("shut"), .topic_alias = 1, .qos = 1, .packet_id = 1};
    struct broker b;
    struct peer *p;

    start(&b, 1, rules);
    p = client(&b, "p", "writer");
    peer_publish_out(p, &o);
    o.topic = bytes_of("", 0);
    o.packet_id = 2;
    peer_publish_out(p, &o);
    broker_settle(&b);
    expect_ack(p, PACKET_PUBACK, 1, REASON_NOT_AUTHORIZED);
    expect_ack(p, PACKET_PUBACK, 2, REASON_NOT_AUTHORIZED);
    broker_stop(&b);
}

TEST(denied_retained_message_is_not_stored)
{
    struct broker b;
    struct peer *p;

    start(&b, 2, rules);
    p = client(&b, broker_id_at(&b, 0, 0), "writer");
    peer_retain(p, broker_topic_at(&b, 0, 0), "x", 0);
    peer_retain(p, broker_topic_at(&b, 1, 0), "x", 0);
    broker_settle(&b);
    assert_int_equal(BROKER_SUM(&b, retained), 0);
    broker_stop(&b);
}

TEST(many_topics_of_one_client_are_each_judged_rightly)
{
    char topic[32];
    struct broker b;
    struct peer *p, *all;

    start(&b, 1, rules);
    all = client(&b, "all", "all");
    peer_subscribed(all, "#", 0);
    p = client(&b, "p", "writer");
    for (int round = 0; round < 3; round++)
        for (int i = 0; i < 100; i++) {
            snprintf(topic, sizeof topic, "%s/%d", i % 3 ? "open" : "shut", i);
            peer_publish(p, topic, "x", 0);
        }
    broker_settle(&b);
    assert_int_equal(BROKER_SUM(&b, denied_publish), 3 * 34);
    assert_int_equal(peer_count_publishes(all), 3 * 66);
    broker_stop(&b);
}

TEST(right_to_read_is_none_to_write)
{
    struct broker b;
    struct peer *p, *all;

    start(&b, 1, rules);
    all = client(&b, "all", "all");
    p = client(&b, "p", "reader");
    peer_subscribed(p, "open/#", 0);
    peer_publish(all, "open/x", "y", 0);
    broker_settle(&b);
    peer_expect_publish(p, "open/x", "y");
    peer_publish(p, "open/x", "x", 0); /* one verdict must not stand for the other */
    broker_settle(&b);
    assert_int_equal(BROKER_SUM(&b, denied_publish), 1);
    peer_expect_nothing(p);
    broker_stop(&b);
}

TEST(user_is_the_one_that_was_proven)
{
    struct connect_out o = {.protocol = MQTT_5,
                            .clean_start = true,
                            .client_id = BYTES_LIT("p"),
                            .username = BYTES_LIT("all")};
    struct broker b;
    struct peer *p;

    start(&b, 1, rules);
    b.admission = calloc(1, sizeof *b.admission + 6);
    assert_non_null(b.admission);
    b.admission->has_user = true;
    b.admission->user_count = 6;
    memcpy(b.admission->user, "writer", 6);
    p = broker_connect(&b, &o);
    peer_publish(p, "shut", "x", 0);
    peer_publish(p, "of/all", "x", 0);
    peer_publish(p, "of/writer", "x", 0);
    broker_settle(&b);
    assert_int_equal(BROKER_SUM(&b, denied_publish), 2);
    broker_stop(&b);
}

TEST(client_without_user_name_is_not_one_with_an_empty_name)
{
    struct broker b;
    struct peer *p, *q;

    start(&b, 1, "topic write nobody\nuser all\ntopic read #\n");
    p = client(&b, "p", NULL);
    peer_publish(p, "nobody", "x", 0);
    broker_settle(&b);
    assert_int_equal(BROKER_SUM(&b, denied_publish), 0);
    q = client(&b, "q", "");
    peer_publish(q, "nobody", "x", 0);
    broker_settle(&b);
    assert_int_equal(BROKER_SUM(&b, denied_publish), 1);
    broker_stop(&b);
}

/* ---- wills ---- */

static void connect_with_will(struct broker *b, enum protocol protocol, const char *id,
                              const char *topic, uint8_t reason)
{
    struct connect_out o = {.protocol = protocol,
                            .clean_start = true,
                            .client_id = bytes_str(id),
                            .username = BYTES_LIT("writer"),
                            .has_will = true,
                            .will_topic = bytes_str(topic),
                            .will_payload = BYTES_LIT("gone")};
    struct peer *p = broker_dial(b, 0, &o);

    broker_settle(b);
    assert_int_equal(peer_expect(p, PACKET_CONNACK)->connack.reason, reason);
    assert_int_equal(p->stream == NULL, reason != 0);
    peer_drop(p);
    broker_settle(b);
}

BROKER_TEST(will_without_the_right_refuses_the_connect)
{
    for (int i = 0; i < 3; i++) {
        uint8_t denied = versions[i] == MQTT_5 ? REASON_NOT_AUTHORIZED : 5;
        struct broker b;
        struct peer *all;
        char own[64];

        start(&b, workers, rules);
        all = client(&b, broker_id_at(&b, 0, 0), "all");
        peer_subscribed(all, "#", 0);
        connect_with_will(&b, versions[i], broker_id_at(&b, workers - 1, 1), "shut", denied);
        peer_expect_nothing(all);
        connect_with_will(&b, versions[i], broker_id_at(&b, workers - 1, 1), "open/x", 0);
        peer_expect_publish(all, "open/x", "gone");
        snprintf(own, sizeof own, "own/%s/will", broker_id_at(&b, workers - 1, 1));
        connect_with_will(&b, versions[i], broker_id_at(&b, workers - 1, 1), own, 0);
        peer_expect_publish(all, own, "gone");
        broker_stop(&b);
    }
}

/* ---- delivering ---- */

BROKER_TEST(deliveries_are_judged_one_by_one)
{
    for (int i = 0; i < 3; i++)
        for (uint8_t qos = 0; qos < 3; qos++) {
            struct broker b;
            struct peer *p, *all;
            const char *id;
            char own[64];

            start(&b, workers, rules);
            all = client(&b, broker_id_at(&b, 0, 0), "all");
            id = broker_id_at(&b, workers - 1, 1);
            p = broker_client_as(&b, 0, versions[i], id, "reader", false);
            peer_subscribed(p, "#", qos);
            snprintf(own, sizeof own, "own/%s/x", id);
            peer_publish(all, "shut", "1", qos);
            peer_publish(all, "open/x", "2", qos);
            peer_publish(all, "open/secret/x", "3", qos);
            peer_publish(all, own, "4", qos);
            peer_publish(all, "own/other/x", "5", qos);
            peer_publish(all, "of/reader", "6", qos);
            peer_publish(all, "of/writer", "7", qos);
            broker_settle(&b);
            peer_expect_publish(p, "open/x", "2");
            peer_expect_publish(p, own, "4");
            peer_expect_publish(p, "of/reader", "6");
            peer_expect_nothing(p);
            assert_int_equal(BROKER_SUM(&b, denied_delivery), 4);
            broker_stop(&b);
        }
}

/* How a subscription is marked, of a session that has no other. */
static bool is_covered(struct broker *b, struct peer *p, const char *id)
{
    struct shard *s = cluster_shard(b->cluster, p->home);
    const struct session *x = session_find(s, bytes_str(id));
    const struct subscription *sub = &x->subs[0];

    assert_int_equal(x->sub_count, 1);
    return (sub->share ? sub->share->options : sub->filter->v[sub->at].options) & SUB_COVERED;
}

TEST(covered_subscriptions_are_not_asked_about)
{
    static const struct {
        const char *filter;
        bool is_covered;
    } expected[] = {{"own/p/#", true},         {"open/x", true},          {"#", false},
                    {"open/#", false},         {"own/+/#", false},        {"shut", false},
                    {"$share/g/open/x", true}, {"$share/g/open/#", false}};
    struct broker b;
    struct peer *p;

    start(&b, 1, rules);
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        p = client(&b, "p", "reader");
        peer_subscribed(p, expected[i].filter, 0);
        assert_int_equal(is_covered(&b, p, "p"), expected[i].is_covered);
        peer_subscribed(p, expected[i].filter, 1); /* replaced */
        assert_int_equal(is_covered(&b, p, "p"), expected[i].is_covered);
    }
    broker_stop(&b);
}

TEST(overlapping_subscriptions_get_what_any_of_them_may)
{
    struct broker b;
    struct peer *p, *all;

    start(&b, 2, rules);
    all = client(&b, broker_id_at(&b, 0, 0), "all");
    p = client(&b, broker_id_at(&b, 1, 1), "reader");
    peer_subscribed(p, "#", 0);
    peer_subscribed(p, "open/+", 2);
    peer_subscribed(p, "open/secret/#", 2);
    peer_publish(all, "open/x", "1", 2);
    peer_publish(all, "open/secret/x", "2", 2);
    broker_settle(&b);
    assert_int_equal(peer_expect_publish(p, "open/x", "1")->qos, 2);
    peer_expect_nothing(p);
    assert_int_equal(BROKER_SUM(&b, denied_delivery), 1); /* one copy, judged once */
    broker_stop(&b);
}

BROKER_TEST(shared_groups_are_judged_at_the_member)
{
    struct broker b;
    struct peer *p, *all;

    start(&b, workers, rules);
    all = client(&b, broker_id_at(&b, 0, 0), "all");
    p = client(&b, broker_id_at(&b, workers - 1, 1), "reader");
    peer_subscribed(p, "$share/g/#", 1);
    peer_subscribed(p, "$share/h/open/+", 1);
    peer_publish(all, "shut", "1", 1);
    peer_publish(all, "open/a/b", "2", 1);
    peer_publish(all, "open/secret/x", "3", 1);
    broker_settle(&b);
    peer_expect_publish(p, "open/a/b", "2");
    peer_expect_nothing(p);
    peer_publish(all, "open/x", "4", 1);
    broker_settle(&b);
    peer_expect_publish(p, "open/x", "4");
    peer_expect_publish(p, "open/x", "4");
    assert_int_equal(BROKER_SUM(&b, denied_delivery), 2);
    broker_stop(&b);
}

BROKER_TEST(absent_session_is_judged_by_its_last_user)
{
    const char *id;
    struct broker b;
    struct peer *p, *all;

    start(&b, workers, rules);
    all = client(&b, broker_id_at(&b, 0, 0), "all");
    id = broker_id_at(&b, workers - 1, 1);
    p = broker_client_as(&b, 0, MQTT_311, id, "reader", true);
    peer_subscribed(p, "#", 1);
    peer_drop(p);
    broker_settle(&b);
    peer_publish(all, "shut", "1", 1);
    peer_publish(all, "of/reader", "2", 1);
    broker_settle(&b);
    assert_int_equal(BROKER_SUM(&b, queued_messages), 1);
    assert_int_equal(BROKER_SUM(&b, denied_delivery), 1);
    p = broker_client_as(&b, 0, MQTT_5, id, "reader", true);
    peer_expect_publish(p, "of/reader", "2");
    broker_stop(&b);
}

BROKER_TEST(what_waits_for_one_user_is_not_sent_to_another)
{
    const char *id;
    struct broker b;
    struct peer *p, *all;

    broker_init(&b, workers);
    b.config.limits.inflight = 2;
    broker_set_acl(&b, rules);
    broker_start(&b);
    all = client(&b, broker_id_at(&b, 0, 0), "all");
    id = broker_id_at(&b, workers - 1, 1);
    p = broker_client_as(&b, 0, MQTT_5, id, "reader", true);
    peer_subscribed(p, "#", 2);
    for (uint8_t qos = 1; qos <= 2; qos++) {
        peer_publish(all, "of/reader", "in flight", qos);
        peer_publish(all, "of/writer", "not yours", qos);
        broker_settle(&b);
        peer_expect_publish(p, "of/reader", "in flight");
    }
    peer_publish(all, "of/reader", "waits", 1);
    broker_settle(&b);
    assert_int_equal(BROKER_SUM(&b, inflight_messages), 2);
    peer_drop(p);
    broker_settle(&b);
    peer_publish(all, "open/x", "for reader only", 1);
    broker_settle(&b);
    assert_int_equal(BROKER_SUM(&b, queued_messages), 2);
    p = broker_client_as(&b, 0, MQTT_5, id, "writer", true); /* reads of/writer */
    assert_true(p->packet.connack.session_present);
    peer_publish(all, "of/writer", "mine", 1);
    broker_settle(&b);
    peer_expect_publish(p, "of/writer", "mine");
    peer_expect_nothing(p);
    assert_int_equal(BROKER_SUM(&b, inflight_messages), 1);
    assert_int_equal(BROKER_SUM(&b, queued_messages), 0);
    broker_stop(&b);
}

TEST(client_that_takes_over_under_another_user_has_its_rights)
{
    struct broker b;
    struct peer *p, *all;

    start(&b, 1, rules);
    all = client(&b, "all", "all");
    p = broker_client_as(&b, 0, MQTT_5, "p", "reader", true);
    peer_subscribed(p, "open/x", 0);
    p = broker_client_as(&b, 0, MQTT_5, "p", "writer", true);
    peer_publish(all, "open/x", "x", 0);
    broker_settle(&b);
    peer_expect_nothing(p);
    p = broker_client_as(&b, 0, MQTT_5, "p", NULL, true); /* topics above the first user */
    peer_publish(all, "open/x", "x", 0);
    broker_settle(&b);
    peer_expect_publish(p, "open/x", "x");
    broker_stop(&b);
}

/* ---- retained messages ---- */

BROKER_TEST(retained_messages_go_to_those_who_may_read_them)
{
    struct broker b;
    struct peer *p, *all;

    start(&b, workers, rules);
    all = client(&b, broker_id_at(&b, 0, 0), "all");
    peer_retain(all, "open/x", "1", 1);
    peer_retain(all, "open/secret/x", "2", 1);
    peer_retain(all, "shut", "3", 1);
    broker_settle(&b);
    p = client(&b, broker_id_at(&b, workers - 1, 1), "reader");
    peer_subscribed(p, "#", 1);
    peer_expect_publish(p, "open/x", "1");
    peer_expect_nothing(p);
    peer_subscribed(p, "open/secret/x", 1);
    peer_expect_nothing(p);
    peer_subscribed(p, "open/x", 1); /* covered */
    peer_expect_publish(p, "open/x", "1");
    broker_stop(&b);
}

/* ---- subscribing ---- */

TEST(subscriptions_are_accepted_whatever_they_bring)
{
    for (int i = 0; i < 3; i++) {
        struct broker b;
        struct peer *p;

        start(&b, 1, rules);
        p = broker_client_as(&b, 0, versions[i], "p", "writer", false);
        peer_subscribed(p, "shut", 1);
        peer_subscribed(p, "$share/g/shut", 1);
        assert_int_equal(BROKER_SUM(&b, denied_subscribe), 0);
        broker_stop(&b);
    }
}

TEST(subscriptions_without_hope_can_be_refused)
{
    for (int i = 0; i < 3; i++) {
        uint8_t denied = versions[i] == MQTT_5 ? REASON_NOT_AUTHORIZED : 0x80;
        struct broker b;
        struct peer *p;

        broker_init(&b, 1);
        b.config.acl_check_subscribe = true;
        broker_set_acl(&b, rules);
        broker_start(&b);
        p = broker_client_as(&b, 0, versions[i], "p", "reader", false);
        assert_int_equal(suback_of(p, "shut"), denied);
        assert_int_equal(suback_of(p, "$share/g/shut"), denied);
        assert_int_equal(suback_of(p, "open/secret/#"), denied);
        assert_int_equal(suback_of(p, "#"), 1);
        assert_int_equal(suback_of(p, "own/p/x"), 1);
        assert_int_equal(suback_of(p, "$share/g/open/+"), 1);
        assert_int_equal(suback_of(p, "$SYS/#"), 1); /* on loopback */
        assert_int_equal(BROKER_SUM(&b, denied_subscribe), 3);
        assert_non_null(p->stream);
        broker_stop(&b);
    }
}

/* ---- $SYS and $LINK ---- */

#define VERSION "$SYS/broker/version"

static void start_sys(struct broker *b, uint32_t workers, const char *acl)
{
    broker_init(b, workers);
    b->config.limits.sys_interval = 10;
    broker_set_acl(b, acl);
    broker_start(b);
    broker_settle(b);
}

BROKER_TEST(sys_topics_are_open_on_loopback_and_elsewhere_by_a_rule)
{
    struct broker b;
    struct peer *p;

    start_sys(&b, workers, rules);
    p = broker_client_as(&b, 0, MQTT_5, broker_id_at(&b, workers - 1, 0), "reader", false);
    peer_subscribed(p, VERSION, 0);
    peer_expect_publish(p, VERSION, "causeway version test");
    p = broker_client_as(&b, 1, MQTT_5, broker_id_at(&b, workers - 1, 1), "all", false);
    peer_subscribed(p, VERSION, 0);
    peer_expect_publish(p, VERSION, "causeway version test");
    p = broker_client_as(&b, 1, MQTT_5, broker_id_at(&b, workers - 1, 2), "reader", false);
    peer_subscribed(p, VERSION, 0);
    peer_subscribed(p, "$SYS/#", 0);
    broker_pass(&b, 20000); /* what is said again */
    peer_expect_nothing(p);
    broker_stop(&b);
}

TEST(sys_topics_are_closed_beyond_loopback_without_an_acl)
{
    struct broker b;
    struct peer *p;

    start_sys(&b, 1, NULL);
    p = broker_client_as(&b, 1, MQTT_5, "p", "all", true);
    assert_int_equal(suback_of(p, VERSION), REASON_NOT_AUTHORIZED);
    assert_int_equal(suback_of(p, "$share/g/$SYS/#"), REASON_NOT_AUTHORIZED);
    p = broker_client_as(&b, 0, MQTT_5, "p", "all", true); /* at home */
    peer_subscribed(p, "$SYS/#", 1);
    assert_true(peer_count_publishes(p) > 0);
    broker_stop(&b);
}

TEST(sys_topics_end_where_a_session_goes_beyond_loopback)
{
    for (int i = 0; i < 2; i++) {
        struct broker b;
        struct peer *p;

        start_sys(&b, 2, i ? rules : NULL);
        p = broker_client_as(&b, 0, MQTT_311, "p", "reader", true);
        peer_subscribed(p, "$SYS/broker/uptime", 1);
        assert_int_equal(peer_count_publishes(p), 1);
        peer_drop(p);
        broker_pass(&b, 30000);
        assert_true(BROKER_SUM(&b, queued_messages) > 0); /* for somebody on loopback */
        p = broker_client_as(&b, 1, MQTT_311, "p", "reader", true);
        broker_pass(&b, 20000);
        peer_expect_nothing(p);
        p = broker_client_as(&b, 0, MQTT_311, "p", "reader", true);
        broker_pass(&b, 20000);
        assert_true(peer_count_publishes(p) > 0);
        broker_stop(&b);
    }
}

TEST(links_are_not_judged)
{
    struct publish m = {.topic = BYTES_LIT("open/x"), .payload = BYTES_LIT("x")};
    struct broker b;
    struct peer *p;

    broker_init(&b, 1);
    b.config.link_workers = 1;
    broker_set_acl(&b, rules);
    broker_start(&b);
    p = client(&b, "p", "reader");
    peer_subscribed(p, "open/#", 0);
    peer_subscribed(p, "$LINK/cluster/resp/x", 1);
    assert_int_equal(shard_publish(cluster_shard(b.cluster, 1), &m, NULL), OK);
    m.topic = BYTES_LIT("open/secret/x"); /* but its readers are */
    assert_int_equal(shard_publish(cluster_shard(b.cluster, 1), &m, NULL), OK);
    b.is_woken[1] = true;
    broker_settle(&b);
    broker_set_acl(&b, rules);
    assert_int_equal(shard_link_reply(cluster_shard(b.cluster, 1),
                                      BYTES_LIT("$LINK/cluster/resp/x"), BYTES_LIT("c"),
                                      BYTES_LIT("y")),
                     OK);
    broker_turn(&b, 1); /* so that it is there before the session is judged anew */
    broker_settle(&b);
    peer_expect_publish(p, "open/x", "x");
    peer_expect_publish(p, "$LINK/cluster/resp/x", "y");
    peer_expect_nothing(p);
    assert_int_equal(BROKER_SUM(&b, denied_publish), 0);
    broker_stop(&b);
}
