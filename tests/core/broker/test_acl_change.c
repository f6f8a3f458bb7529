/* tests/core/broker/test_acl_change.c -- an ACL comes, changes and goes while sessions live. */
#include <stdio.h>
#include <stdlib.h>

#include "core/base/check.h"
#include "core/broker/state.h"
#include "tests/support/broker.h"
#include "tests/support/test.h"

static const char open_rules[] = "user all\ntopic #\nuser p\ntopic #\n";
static const char narrow_rules[] = "user all\ntopic #\nuser p\ntopic a/#\n";

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

/* Publishes one message that `p` reads under any of the rules here, and one that it reads only
 * under some; *both: whether that one came. */
static void expect_rights(struct broker *b, struct peer *all, struct peer *p, bool both)
{
    peer_publish(all, "b/x", "2", 0);
    broker_settle(b); /* a shared group may be further away */
    peer_publish(all, "a/x", "1", 0);
    broker_settle(b);
    if (both)
        peer_expect_publish(p, "b/x", "2");
    peer_expect_publish(p, "a/x", "1");
    peer_expect_nothing(p);
}

BROKER_TEST(change_of_the_acl_counts_for_subscriptions_that_are_there)
{
    static const char *const filters[] = {"#", "b/x", "$share/g/#", "$share/g/b/x"};

    for (size_t i = 0; i < sizeof filters / sizeof filters[0]; i++) {
        struct broker b;
        struct peer *p, *all;

        start(&b, workers, open_rules);
        all = client(&b, broker_id_at(&b, 0, 0), "all");
        p = client(&b, broker_id_at(&b, workers - 1, 1), "p");
        peer_subscribed(p, filters[i], 0);
        if (i % 2)
            peer_subscribed(p, "a/x", 0);
        expect_rights(&b, all, p, true);
        broker_set_acl(&b, narrow_rules);
        expect_rights(&b, all, p, false); /* not a turn later */
        expect_rights(&b, all, p, false);
        broker_set_acl(&b, NULL);
        expect_rights(&b, all, p, true);
        broker_set_acl(&b, narrow_rules);
        broker_settle(&b);
        expect_rights(&b, all, p, false);
        broker_set_acl(&b, open_rules);
        broker_settle(&b);
        expect_rights(&b, all, p, true);
        assert_non_null(p->stream);
        broker_stop(&b);
    }
}

BROKER_TEST(acl_that_appears_knows_the_users_that_are_there)
{
    const char *id;
    struct broker b;
    struct peer *p, *q, *all;

    start(&b, workers, NULL);
    all = client(&b, broker_id_at(&b, 0, 0), "all");
    id = broker_id_at(&b, workers - 1, 1);
    p = broker_client_as(&b, 0, MQTT_5, id, "p", true);
    q = client(&b, broker_id_at(&b, 0, 2), NULL);
    peer_subscribed(p, "#", 1);
    peer_subscribed(q, "#", 1);
    peer_drop(p);
    broker_settle(&b);
    peer_publish(all, "a/x", "1", 1);
    peer_publish(all, "b/x", "2", 1);
    broker_settle(&b);
    assert_int_equal(peer_count_publishes(q), 2);
    broker_set_acl(&b, narrow_rules);
    peer_publish(all, "a/x", "3", 1);
    peer_publish(all, "b/x", "4", 1);
    broker_settle(&b);
    assert_int_equal(BROKER_SUM(&b, queued_messages), 3);
    peer_expect_nothing(q); /* nobody without a name may anything */
    p = broker_client_as(&b, 0, MQTT_5, id, "p", true);
    peer_expect_publish(p, "a/x", "1"); /* b/x was let in, and is not let out */
    peer_expect_publish(p, "a/x", "3");
    peer_expect_nothing(p);
    assert_int_equal(BROKER_SUM(&b, queued_messages), 0);
    broker_stop(&b);
}

BROKER_TEST(what_waits_for_a_slow_client_is_judged_when_it_leaves)
{
    struct broker b;
    struct peer *p, *all;

    broker_init(&b, workers);
    b.config.limits.inflight = 1;
    broker_set_acl(&b, open_rules);
    broker_start(&b);
    all = client(&b, broker_id_at(&b, 0, 0), "all");
    p = client(&b, broker_id_at(&b, workers - 1, 1), "p");
    peer_subscribed(p, "#", 1);
    peer_publish(all, "b/x", "1", 1);
    peer_publish(all, "b/x", "2", 1);
    peer_publish(all, "a/x", "3", 1);
    broker_settle(&b);
    broker_set_acl(&b, narrow_rules);
    broker_settle(&b); /* also when the session has been judged anew meanwhile */
    peer_ack(p, PACKET_PUBACK, peer_expect_publish(p, "b/x", "1")->packet_id);
    broker_settle(&b);
    peer_expect_publish(p, "a/x", "3");
    peer_expect_nothing(p);
    assert_int_equal(BROKER_SUM(&b, denied_delivery), 1);
    broker_stop(&b);
}

TEST(what_came_after_the_change_is_judged_once)
{
    struct broker b;
    struct peer *p, *all;

    start(&b, 1, open_rules);
    all = client(&b, "all", "all");
    p = broker_client_as(&b, 0, MQTT_5, "p", "p", true);
    peer_subscribed(p, "#", 1);
    peer_drop(p);
    broker_set_acl(&b, narrow_rules);
    peer_publish(all, "a/x", "1", 1);
    broker_settle(&b);
    assert_false(session_find(cluster_shard(b.cluster, 0), BYTES_LIT("p"))->is_queue_stale);
    broker_set_acl(&b, open_rules);
    broker_settle(&b);
    assert_true(session_find(cluster_shard(b.cluster, 0), BYTES_LIT("p"))->is_queue_stale);
    broker_stop(&b);
}

BROKER_TEST(change_of_the_acl_counts_for_publishers_that_are_there)
{
    struct broker b;
    struct peer *p, *all;
    uint16_t id;

    start(&b, workers, open_rules);
    all = client(&b, broker_id_at(&b, 0, 0), "all");
    peer_subscribed(all, "#", 1);
    p = broker_client_as(&b, 0, MQTT_5, broker_id_at(&b, workers - 1, 1), "p", true);
    id = peer_publish(p, "b/x", "1", 2);
    broker_settle(&b);
    assert_int_equal(peer_expect(p, PACKET_PUBREC)->ack.reason, 0);
    peer_expect_publish(all, "b/x", "1");
    peer_drop(p);
    broker_set_acl(&b, narrow_rules);
    p = broker_client_as(&b, 0, MQTT_5, broker_id_at(&b, workers - 1, 1), "p", true);
    p->next_packet_id = id; /* again, without PUBREC: known, so not published once more */
    peer_publish(p, "b/x", "1", 2);
    peer_publish(p, "b/x", "2", 2);
    broker_settle(&b);
    assert_int_equal(peer_expect(p, PACKET_PUBREC)->ack.reason, 0);
    assert_int_equal(peer_expect(p, PACKET_PUBREC)->ack.reason, REASON_NOT_AUTHORIZED);
    peer_expect_nothing(all);
    assert_int_equal(BROKER_SUM(&b, denied_publish), 1);
    broker_set_acl(&b, NULL);
    peer_publish(p, "b/x", "3", 1);
    broker_settle(&b);
    peer_expect_publish(all, "b/x", "3");
    broker_stop(&b);
}

BROKER_TEST(will_is_judged_again_when_it_is_sent)
{
    static const char *const topics[] = {"b/x", "a/x"};
    struct connect_out o = {.protocol = MQTT_5,
                            .clean_start = true,
                            .username = BYTES_LIT("p"),
                            .has_will = true,
                            .will_payload = BYTES_LIT("gone"),
                            .will_delay = 10,
                            .has_session_expiry = true,
                            .session_expiry = 100};

    for (int delayed = 0; delayed < 2; delayed++) {
        struct broker b;
        struct peer *p[2], *all;

        start(&b, workers, open_rules);
        all = client(&b, broker_id_at(&b, 0, 0), "all");
        peer_subscribed(all, "#", 1);
        o.will_delay = delayed ? 10 : 0;
        for (uint32_t i = 0; i < 2; i++) {
            o.client_id = bytes_str(broker_id_at(&b, workers - 1, i + 1));
            o.will_topic = bytes_str(topics[i]);
            p[i] = broker_connect(&b, &o);
        }
        if (delayed) {
            peer_drop(p[0]);
            peer_drop(p[1]);
            broker_settle(&b);
        }
        broker_set_acl(&b, narrow_rules);
        peer_drop(p[0]);
        peer_drop(p[1]);
        broker_pass(&b, BROKER_LATE(10000));
        peer_expect_publish(all, "a/x", "gone");
        peer_expect_nothing(all);
        assert_int_equal(BROKER_SUM(&b, denied_publish), 1);
        broker_stop(&b);
    }
}

/* ---- retained messages and their source ---- */

static const char source_rules[] = "user p\ntopic #\nuser r\ntopic read #\nuser all\ntopic #\n";
static const char no_source[] = "user p\ntopic a/#\nuser r\ntopic read #\n";

/* What a fresh reader finds on the topics of all workers, and on `a/x`. */
static uint32_t retained_found(struct broker *b, uint32_t worker, uint32_t n)
{
    struct peer *r = client(b, broker_id_at(b, worker, n), "r");
    uint32_t count;

    peer_subscribed(r, "#", 1);
    count = peer_count_publishes(r);
    peer_drop(r);
    broker_settle(b);
    return count;
}

static void retain_everywhere(struct broker *b, struct peer *p, uint32_t workers)
{
    char large[1500];

    memset(large, 'x', sizeof large);
    large[sizeof large - 1] = 0;
    for (uint32_t i = 0; i < workers; i++) {
        peer_retain(p, broker_topic_at(b, i, 0), "small", 1);
        peer_retain(p, broker_topic_at(b, i, 1), large, 1);
    }
    broker_settle(b);
}

BROKER_TEST(retained_messages_vanish_while_their_publisher_may_not_write)
{
    static const char *const users[] = {"p", NULL};
    char name[400];

    for (int i = 0; i < 3; i++) {
        const char *user = i < 2 ? users[i] : name;
        char before[900];
        struct broker b;
        struct peer *p;

        memset(name, 'n', sizeof name); /* longer than any record would hold */
        name[sizeof name - 1] = 0;
        snprintf(before, sizeof before, "topic #\n%suser %s\ntopic #\n", source_rules, name);
        start(&b, workers, before);
        p = client(&b, broker_id_at(&b, workers - 1, 0), user);
        retain_everywhere(&b, p, workers);
        peer_retain(p, "a/x", "x", 1);
        broker_settle(&b);
        peer_drop(p);
        broker_settle(&b);
        assert_int_equal(retained_found(&b, 0, 3), 2 * workers + 1);
        broker_set_acl(&b, no_source);
        assert_int_equal(retained_found(&b, 0, 4), i == 0); /* p may write to a/x */
        assert_int_equal(BROKER_SUM(&b, retained), 2 * workers + 1);
        broker_set_acl(&b, before); /* nothing was lost */
        assert_int_equal(retained_found(&b, workers - 1, 5), 2 * workers + 1);
        broker_set_acl(&b, NULL);
        assert_int_equal(retained_found(&b, workers - 1, 6), 2 * workers + 1);
        broker_stop(&b);
    }
}

BROKER_TEST(retained_will_knows_its_publisher)
{
    struct connect_out o = {.protocol = MQTT_311,
                            .clean_start = true,
                            .username = BYTES_LIT("p"),
                            .has_will = true,
                            .will_retain = true,
                            .will_topic = BYTES_LIT("b/x"),
                            .will_payload = BYTES_LIT("gone")};
    struct broker b;

    start(&b, workers, source_rules);
    o.client_id = bytes_str(broker_id_at(&b, workers - 1, 0));
    peer_drop(broker_connect(&b, &o));
    broker_settle(&b);
    assert_int_equal(retained_found(&b, 0, 1), 1);
    broker_set_acl(&b, no_source);
    assert_int_equal(retained_found(&b, 0, 2), 0);
    broker_stop(&b);
}

TEST(source_of_retained_messages_need_not_count)
{
    struct broker b;
    struct peer *p;

    broker_init(&b, 2);
    b.config.check_retain_source = false;
    broker_set_acl(&b, source_rules);
    broker_start(&b);
    p = client(&b, "p", "p");
    retain_everywhere(&b, p, 2);
    broker_set_acl(&b, no_source);
    assert_int_equal(retained_found(&b, 0, 1), 4);
    broker_stop(&b);
}

TEST(retained_messages_without_a_known_publisher_stay)
{
    struct broker b;
    struct peer *p;

    broker_init(&b, 2);
    b.config.limits.sys_interval = 10;
    broker_start(&b);
    broker_settle(&b);
    p = client(&b, "p", "p");
    retain_everywhere(&b, p, 2); /* while there was no ACL */
    broker_set_acl(&b, no_source);
    assert_int_equal(retained_found(&b, 0, 1), 4);
    p = client(&b, "s", "r");
    peer_subscribed(p, "$SYS/#", 0);
    assert_true(peer_count_publishes(p) > 0);
    broker_stop(&b);
}

TEST(change_of_the_acl_counts_for_retained_messages_on_their_way)
{
    struct broker b;
    struct peer *p, *all;
    char topic[16];
    uint32_t n;

    start(&b, 2, open_rules);
    all = client(&b, broker_id_at(&b, 0, 0), "all");
    for (int i = 0; i < 500; i++) {
        snprintf(topic, sizeof topic, "b/%d", i);
        peer_retain(all, topic, "x", 0);
    }
    broker_settle(&b);
    p = client(&b, broker_id_at(&b, 1, 1), "p");
    peer_subscribe(p, "b/#", 0);
    for (int i = 0; i < 8; i++)
        broker_turn(&b, (uint32_t)i % 2);
    broker_set_acl(&b, narrow_rules);
    n = peer_count_publishes(p);
    assert_in_range(n, 1, 499);
    broker_settle(&b);
    assert_int_equal(peer_count_publishes(p), 0);
    assert_int_equal(BROKER_SUM(&b, denied_delivery), 500 - n);
    broker_stop(&b);
}

/* ---- many sessions, memory ---- */

TEST(many_sessions_are_judged_anew_in_slices)
{
    enum { SESSIONS = 20, FILTERS = 200 };
    struct peer *p[SESSIONS], *all;
    char text[32];
    struct broker b;
    struct shard *s;
    uint32_t turns = 0;

    start(&b, 1, open_rules);
    s = cluster_shard(b.cluster, 0);
    all = client(&b, "all", "all");
    for (uint32_t i = 0; i < SESSIONS; i++) {
        snprintf(text, sizeof text, "p%u", i);
        p[i] = client(&b, text, "p");
        peer_subscribed(p[i], "b/x", 0);
        for (uint32_t k = 0; k < FILTERS; k++) {
            snprintf(text, sizeof text, "b/%u", k);
            peer_subscribe(p[i], text, 0);
        }
        broker_settle(&b);
        assert_int_equal(peer_count_publishes(p[i]), 0);
    }
    broker_set_acl(&b, narrow_rules);
    for (; s->access_cursor != UINT32_MAX; turns++)
        broker_turn(&b, 0);
    assert_in_range(turns, 3, 10);
    broker_set_acl(&b, open_rules);
    broker_set_acl(&b, narrow_rules); /* while the first is being worked through */
    broker_turn(&b, 0);
    peer_publish(all, "b/x", "x", 0);
    broker_settle(&b);
    for (uint32_t i = 0; i < SESSIONS; i++) {
        peer_expect_nothing(p[i]);
        assert_non_null(p[i]->stream);
    }
    assert_int_equal(BROKER_SUM(&b, denied_delivery), SESSIONS);
    broker_stop(&b);
}

TEST(sessions_cost_nothing_more_without_an_acl)
{
    struct broker b;
    struct peer *p, *all;

    assert_true(sizeof(struct client) <= 208 && sizeof(struct session) <= 240);
    assert_true(sizeof(struct message) <= 72);
    start(&b, 1, NULL);
    all = client(&b, "all", "all");
    p = client(&b, "p", "p");
    peer_subscribed(p, "#", 0);
    expect_rights(&b, all, p, true);
    assert_null(cluster_shard(b.cluster, 0)->access);
    broker_set_acl(&b, open_rules);
    expect_rights(&b, all, p, true);
    assert_non_null(cluster_shard(b.cluster, 0)->access);
    broker_set_acl(&b, NULL);
    expect_rights(&b, all, p, true);
    assert_null(cluster_shard(b.cluster, 0)->access);
    broker_stop(&b);
}

TEST(broker_ends_with_sources_on_their_way)
{
    struct broker b;
    struct peer *p;

    start(&b, 2, open_rules);
    p = client(&b, broker_id_at(&b, 0, 0), "p");
    for (uint32_t i = 0; i < 20; i++)
        peer_retain(p, broker_topic_at(&b, 1, i), "x", 1);
    broker_turn(&b, 0);
    peer_drop(p);
    cluster_destroy(b.cluster); /* the leak sanitizer looks */
    b.cluster = NULL;
    broker_set_acl(&b, NULL);
    check_set_handler(NULL);
    broker_forget_peers(&b);
}
