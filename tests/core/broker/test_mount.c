/* tests/core/broker/test_mount.c -- clients below a mount point: what they publish, subscribe to
 * and get, and what is refused.
 *
 * Sessions that come back elsewhere are in test_mount_session.c.
 */
#include <stdio.h>
#include <stdlib.h>

#include "core/broker/state.h"
#include "tests/support/broker.h"
#include "tests/support/test.h"

static const enum protocol versions[] = {MQTT_31, MQTT_311, MQTT_5};

/* Whole topics; below "t/a/"; below "t/USER/"; below "t/ID/". */
enum { WHOLE, BELOW_A, BELOW_USER, BELOW_ID, LISTENERS };
static struct listener_rules rules[LISTENERS];

static void init(struct broker *b, uint32_t workers)
{
    broker_init(b, workers);
    for (int i = 0; i < LISTENERS; i++)
        rules[i] = (struct listener_rules){.allow_anonymous = true, .is_loopback = true};
    rules[BELOW_A].mount_point = "t/a/";
    rules[BELOW_USER].mount_point = "t/%u/";
    rules[BELOW_ID].mount_point = "t/${clientid}/";
    b->config.listeners = rules;
    b->config.listener_count = LISTENERS;
}

static void start(struct broker *b, uint32_t workers)
{
    init(b, workers);
    broker_start(b);
}

static struct peer *client_of_version(struct broker *b, int listener, enum protocol version,
                                      const char *id, const char *user)
{
    return broker_client_as(b, (uint16_t)listener, version, id, user, false);
}

static struct peer *client(struct broker *b, int listener, const char *id)
{
    return client_of_version(b, listener, MQTT_5, id, NULL);
}

/* ---- publishing and subscribing ---- */

static void topics_are_below(enum protocol version, uint32_t workers)
{
    struct broker b;
    struct peer *whole, *p, *q, *from;

    start(&b, workers);
    whole = client(&b, WHOLE, broker_id_at(&b, 0, 0));
    p = client_of_version(&b, BELOW_A, version, broker_id_at(&b, workers - 1, 1), NULL);
    q = client_of_version(&b, BELOW_USER, version, broker_id_at(&b, 0, 2), "a");
    from = client_of_version(&b, BELOW_A, version, broker_id_at(&b, 0, 3), NULL);
    peer_subscribed(whole, "#", 2);
    peer_subscribed(p, "x/+", 2);
    peer_subscribed(q, "x/y", 2);
    for (uint8_t qos = 0; qos < 3; qos++) {
        peer_publish(from, "x/y", "1", qos);
        broker_settle(&b);
        peer_expect_publish(whole, "t/a/x/y", "1");
        peer_expect_publish(q, "x/y", "1");
        peer_expect_publish(p, "x/y", "1");
        peer_expect_nothing(p);
    }
    peer_publish(whole, "t/a/x/z", "2", 0);
    peer_publish(whole, "x/y", "3", 0);
    broker_settle(&b);
    peer_expect_publish(p, "x/z", "2");
    peer_expect_nothing(p);
    peer_expect_nothing(q);
    assert_int_equal(BROKER_SUM(&b, dropped_mount_point), 0);
    broker_stop(&b);
}

BROKER_TEST(topics_of_a_client_are_below_its_mount_point)
{
    for (int i = 0; i < 3; i++)
        topics_are_below(versions[i], workers);
}

BROKER_TEST(clients_of_two_mount_points_do_not_meet)
{
    static const char *const filters[] = {"#", "+/x", "x", "/x", "../b/x", "$share/g/#", "t/b/x"};
    struct broker b;
    struct peer *p, *q;

    start(&b, workers);
    p = client_of_version(&b, BELOW_USER, MQTT_5, broker_id_at(&b, 0, 0), "a");
    q = client_of_version(&b, BELOW_USER, MQTT_5, broker_id_at(&b, workers - 1, 1), "b");
    for (size_t i = 0; i < sizeof(filters) / sizeof(filters[0]); i++)
        peer_subscribed(p, filters[i], 0);
    peer_publish(q, "x", "1", 0);
    peer_publish(q, "y/x", "1", 0);
    peer_publish(q, "/x", "1", 0);
    peer_publish(q, "t/a/x", "1", 0);
    peer_publish(q, "../a/x", "1", 0);
    broker_settle(&b);
    peer_expect_nothing(p);
    broker_stop(&b);
}

TEST(what_does_not_go_on_behind_the_mount_is_dropped_and_counted)
{
    struct broker b;
    struct peer *whole, *p;

    start(&b, 1);
    whole = client(&b, WHOLE, "w");
    p = client(&b, BELOW_A, "p");
    peer_subscribed(p, "#", 2); /* t/a/#, which matches the level above, too */
    for (uint8_t qos = 0; qos < 3; qos++) {
        peer_publish(whole, "t/a", "1", qos);
        peer_publish(whole, "t/a/", "1", qos);
    }
    peer_publish(whole, "t/a//", "2", 0);
    broker_settle(&b);
    peer_expect_publish(p, "/", "2");
    peer_expect_nothing(p);
    assert_int_equal(BROKER_SUM(&b, dropped_mount_point), 6);
    assert_int_equal(BROKER_SUM(&b, inflight_messages), 0);
    broker_stop(&b);
}

BROKER_TEST(large_payloads_come_whole_below_a_mount_point)
{
    static char text[4097];
    struct broker b;
    struct peer *p, *q, *from;

    memset(text, 'x', sizeof text - 1);
    start(&b, workers);
    p = client(&b, BELOW_A, broker_id_at(&b, 0, 0));
    q = client(&b, BELOW_A, broker_id_at(&b, workers - 1, 1));
    peer_subscribed(p, "x", 1);
    peer_subscribed(q, "x", 1);
    from = client(&b, BELOW_A, broker_id_at(&b, 0, 2));
    peer_publish(from, "x", text, 1);
    broker_settle(&b);
    peer_expect_publish(p, "x", text);
    peer_expect_publish(q, "x", text);
    broker_stop(&b);
}

TEST(overlapping_subscriptions_below_a_mount_point_make_one_copy)
{
    struct filter_request f = {.filter = BYTES_LIT("x/#"), .qos = 1};
    const struct packet_publish *m;
    struct broker b;
    struct peer *p;
    struct bytes rest;
    uint32_t id, sum = 0;

    start(&b, 1);
    p = client(&b, BELOW_A, "p");
    peer_subscribe_to(p, &f, 1, 7);
    f.filter = BYTES_LIT("x/+");
    peer_subscribe_to(p, &f, 1, 9);
    broker_settle(&b);
    peer_expect(p, PACKET_SUBACK);
    peer_expect(p, PACKET_SUBACK);
    peer_publish(p, "x/y", "1", 0);
    broker_settle(&b);
    m = peer_expect_publish(p, "x/y", "1");
    rest = m->props.all;
    while (props_next_subscription_id(&rest, &id))
        sum += id;
    assert_int_equal(sum, 16);
    peer_expect_nothing(p);
    broker_stop(&b);
}

BROKER_TEST(unsubscribing_finds_what_was_subscribed_below_a_mount_point)
{
    struct broker b;
    struct peer *p, *whole;

    start(&b, workers);
    whole = client(&b, WHOLE, broker_id_at(&b, 0, 0));
    p = client(&b, BELOW_A, broker_id_at(&b, workers - 1, 1));
    peer_subscribed(p, "x/#", 0);
    peer_subscribed(p, "$share/g/y", 0);
    peer_subscribed(whole, "x/#", 0);
    peer_unsubscribe(p, "t/a/x/#");
    peer_unsubscribe(p, "x/#");
    peer_unsubscribe(p, "$share/g/y");
    peer_unsubscribe(p, "$share/g/y");
    broker_settle(&b);
    assert_int_equal(peer_expect(p, PACKET_UNSUBACK)->suback.reasons.p[0],
                     REASON_NO_SUBSCRIPTION_EXISTED);
    assert_int_equal(peer_expect(p, PACKET_UNSUBACK)->suback.reasons.p[0], 0);
    assert_int_equal(peer_expect(p, PACKET_UNSUBACK)->suback.reasons.p[0], 0);
    assert_int_equal(peer_expect(p, PACKET_UNSUBACK)->suback.reasons.p[0],
                     REASON_NO_SUBSCRIPTION_EXISTED);
    peer_publish(whole, "t/a/x/1", "1", 0);
    peer_publish(whole, "t/a/y", "1", 0);
    peer_publish(whole, "x/1", "2", 0);
    broker_settle(&b);
    peer_expect_nothing(p);
    peer_expect_publish(whole, "x/1", "2");
    broker_stop(&b);
}

/* ---- retained messages, groups, aliases ---- */

BROKER_TEST(retained_messages_are_below_the_mount_point)
{
    struct broker b;
    struct peer *p, *q, *other, *whole;

    start(&b, workers);
    p = client(&b, BELOW_A, broker_id_at(&b, 0, 0));
    q = client(&b, BELOW_A, broker_id_at(&b, workers - 1, 1));
    other = client_of_version(&b, BELOW_USER, MQTT_5, broker_id_at(&b, 0, 2), "b");
    whole = client(&b, WHOLE, broker_id_at(&b, 0, 3));
    for (int i = 0; i < 3; i++)
        peer_retain(p, broker_topic_at(&b, (uint32_t)i % workers, 0), "kept", 1);
    broker_settle(&b);
    peer_subscribed(q, "#", 1);
    assert_int_equal(peer_count_publishes(q), workers < 3 ? workers : 3);
    peer_subscribed(q, broker_topic_at(&b, 0, 0), 1);
    peer_expect_publish(q, broker_topic_at(&b, 0, 0), "kept");
    peer_subscribed(other, "#", 1);
    peer_expect_nothing(other);
    peer_subscribed(whole, "t/a/#", 1);
    assert_int_equal(peer_count_publishes(whole), workers < 3 ? workers : 3);
    broker_stop(&b);
}

BROKER_TEST(groups_of_one_name_below_two_mount_points_are_two)
{
    static const char *const prefixes[] = {"$share/g/x", "$queue/x"};
    struct broker b;
    struct peer *v[3];
    uint32_t n[3];

    for (int i = 0; i < 2; i++) {
        start(&b, workers);
        v[0] = client(&b, BELOW_A, broker_id_at(&b, 0, 0));
        v[1] = client(&b, BELOW_A, broker_id_at(&b, workers - 1, 1));
        v[2] = client_of_version(&b, BELOW_USER, MQTT_5, broker_id_at(&b, 0, 2), "b");
        for (int k = 0; k < 3; k++)
            peer_subscribed(v[k], prefixes[i], 0);
        for (int k = 0; k < 8; k++)
            peer_publish(v[0], "x", "1", 0);
        peer_publish(v[2], "x", "2", 0);
        broker_settle(&b);
        peer_expect_publish(v[2], "x", "2");
        for (int k = 0; k < 3; k++)
            n[k] = peer_count_publishes(v[k]);
        assert_int_equal(n[0] + n[1], 8);
        assert_int_equal(n[0], 4);
        assert_int_equal(n[2], 0);
        broker_stop(&b);
    }
}

TEST(aliases_of_both_sides_stand_for_what_the_client_calls_a_topic)
{
    struct connect_out c = {.protocol = MQTT_5,
                            .clean_start = true,
                            .client_id = BYTES_LIT("q"),
                            .topic_alias_maximum = 4};
    struct publish_out o = {.topic = BYTES_LIT("some/x"), .topic_alias = 1};
    const struct packet_publish *m;
    struct broker b;
    struct peer *p, *q, *whole;

    start(&b, 1);
    whole = client(&b, WHOLE, "w");
    p = client(&b, BELOW_A, "p");
    q = broker_dial(&b, BELOW_A, &c);
    broker_settle(&b);
    peer_expect(q, PACKET_CONNACK);
    peer_subscribed(whole, "#", 0);
    peer_subscribed(q, "#", 0);
    for (int i = 0; i < 3; i++) {
        peer_publish_out(p, &o);
        broker_settle(&b);
        peer_expect_publish(whole, "t/a/some/x", "");
        m = &peer_expect(q, PACKET_PUBLISH)->publish;
        assert_int_equal(m->props.topic_alias, 1);
        assert_true(bytes_eq(m->topic, i ? BYTES_LIT("") : BYTES_LIT("some/x")));
        o.topic = bytes_of("", 0);
    }
    peer_publish(p, "x", "", 0); /* shorter than its alias */
    broker_settle(&b);
    assert_int_equal(peer_expect_publish(q, "x", "")->props.present & PROP_BIT(PROP_TOPIC_ALIAS),
                     0);
    broker_stop(&b);
}

/* ---- names ---- */

static void expect_connack(struct broker *b, int listener, enum protocol version, const char *id,
                           const char *user, uint8_t reason)
{
    struct connect_out c = {.protocol = version, .clean_start = true, .client_id = bytes_str(id)};
    struct peer *p;

    if (user)
        c.username = bytes_str(user);
    p = broker_dial(b, (uint16_t)listener, &c);
    broker_settle(b);
    assert_int_equal(peer_expect(p, PACKET_CONNACK)->connack.reason, reason);
    assert_int_equal(p->stream != NULL, reason == 0);
    if (reason)
        assert_int_equal(p->why, CLOSE_MOUNT_POINT);
}

TEST(names_that_cannot_stand_in_the_mount_point_are_refused)
{
    static const char *const bad[] = {"a/b", "+", "#", "a+", "a#b", "/"};
    struct broker b;

    start(&b, 2);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        expect_connack(&b, BELOW_ID, MQTT_5, bad[i], NULL, REASON_CLIENT_ID_NOT_VALID);
        expect_connack(&b, BELOW_ID, MQTT_311, bad[i], NULL, 2);
        expect_connack(&b, BELOW_USER, MQTT_5, "c", bad[i], REASON_BAD_USER_NAME_OR_PASSWORD);
        expect_connack(&b, BELOW_USER, MQTT_31, "c", bad[i], 4);
        expect_connack(&b, BELOW_A, MQTT_5, bad[i], bad[i], 0);
    }
    expect_connack(&b, BELOW_USER, MQTT_5, "c", "", REASON_BAD_USER_NAME_OR_PASSWORD);
    expect_connack(&b, BELOW_USER, MQTT_5, "c", NULL, REASON_NOT_AUTHORIZED);
    expect_connack(&b, BELOW_USER, MQTT_311, "c", NULL, 5);
    assert_int_equal(BROKER_SUM(&b, auth_failures), 0);
    assert_int_equal(BROKER_SUM(&b, sessions), sizeof(bad) / sizeof(bad[0]));
    broker_stop(&b);
}

TEST(name_that_was_proven_stands_in_the_mount_point)
{
    struct connect_out c = {.protocol = MQTT_5,
                            .clean_start = true,
                            .client_id = BYTES_LIT("c"),
                            .username = BYTES_LIT("says")};
    struct broker b;
    struct peer *p, *whole;

    start(&b, 1);
    whole = client(&b, WHOLE, "w");
    peer_subscribed(whole, "#", 0);
    b.admission = calloc(1, sizeof(*b.admission) + 5);
    assert_non_null(b.admission);
    b.admission->has_user = true;
    b.admission->user_count = 5;
    memcpy(b.admission->user, "truth", 5);
    p = broker_dial(&b, BELOW_USER, &c);
    peer_publish(p, "x", "1", 0);
    broker_settle(&b);
    peer_expect_publish(whole, "t/truth/x", "1");
    broker_stop(&b);
}

BROKER_TEST(id_that_was_assigned_stands_in_the_mount_point)
{
    struct connect_out c = {
        .protocol = MQTT_5, .clean_start = true, .has_will = true, .will_topic = BYTES_LIT("gone")};
    char topic[64];
    const struct packet_connack *a;
    struct broker b;
    struct peer *p, *whole;

    start(&b, workers);
    whole = client(&b, WHOLE, broker_id_at(&b, workers - 1, 0));
    peer_subscribed(whole, "t/#", 0);
    p = broker_dial(&b, BELOW_ID, &c);
    broker_settle(&b);
    a = &peer_expect(p, PACKET_CONNACK)->connack;
    assert_int_equal(a->reason, 0);
    snprintf(topic, sizeof topic, "t/%.*s/gone", (int)a->props.assigned_client_id.n,
             (const char *)a->props.assigned_client_id.p);
    peer_drop(p);
    broker_settle(&b);
    peer_expect_publish(whole, topic, "");
    broker_stop(&b);
}

/* ---- bounds ---- */

static char *long_text(uint32_t n)
{
    char *text = malloc(n + 1);

    assert_non_null(text);
    memset(text, 'x', n);
    text[n] = 0;
    return text;
}

TEST(topic_that_is_too_long_below_the_mount_point_ends_the_connection)
{
    struct broker b;
    struct peer *p, *whole;
    char *fits = long_text(TOPIC_BYTES_MAX - 4), *one_more = long_text(TOPIC_BYTES_MAX - 3);

    start(&b, 1);
    whole = client(&b, WHOLE, "w");
    peer_subscribed(whole, "t/a/+", 0);
    for (int i = 0; i < 3; i++) {
        p = client_of_version(&b, BELOW_A, versions[i], "p", NULL);
        peer_publish(p, fits, "1", 0);
        broker_settle(&b);
        assert_int_equal(peer_expect(whole, PACKET_PUBLISH)->publish.topic.n, TOPIC_BYTES_MAX);
        peer_publish(p, one_more, "2", (uint8_t)i);
        broker_settle(&b);
        peer_expect_end(p, REASON_TOPIC_NAME_INVALID, CLOSE_TOPIC_INVALID);
    }
    peer_expect_nothing(whole);
    assert_int_equal(BROKER_SUM(&b, dropped_topic_levels), 3);
    free(fits);
    free(one_more);
    broker_stop(&b);
}

TEST(levels_of_the_mount_point_count)
{
    struct connect_out c = {.protocol = MQTT_5,
                            .clean_start = true,
                            .client_id = BYTES_LIT("will"),
                            .has_will = true,
                            .will_topic = BYTES_LIT("x/y")};
    struct broker b;
    struct peer *p;

    init(&b, 1);
    b.config.limits.topic_levels = 3;
    broker_start(&b);
    p = client(&b, BELOW_A, "p");
    peer_subscribed(p, "x", 0);
    peer_subscribe(p, "x/y", 0);
    peer_unsubscribe(p, "x/y");
    peer_publish(p, "x", "1", 0);
    broker_settle(&b);
    assert_int_equal(peer_expect(p, PACKET_SUBACK)->suback.reasons.p[0],
                     REASON_TOPIC_FILTER_INVALID);
    peer_expect(p, PACKET_UNSUBACK);
    peer_expect_publish(p, "x", "1");
    peer_publish(p, "x/y", "1", 1);
    broker_settle(&b);
    peer_expect_end(p, REASON_TOPIC_NAME_INVALID, CLOSE_TOPIC_INVALID);
    p = broker_dial(&b, BELOW_A, &c);
    broker_settle(&b);
    assert_int_equal(peer_expect(p, PACKET_CONNACK)->connack.reason, REASON_TOPIC_NAME_INVALID);
    broker_stop(&b);
}

TEST(filter_that_is_too_long_below_the_mount_point_is_refused_alone)
{
    char *fits = long_text(TOPIC_BYTES_MAX - 4), *one_more = long_text(TOPIC_BYTES_MAX - 3);
    struct filter_request f[] = {{.filter = bytes_str(one_more)}, {.filter = BYTES_LIT("x")}};
    const struct packet_suback *a;
    struct broker b;
    struct peer *p;

    start(&b, 1);
    p = client(&b, BELOW_A, "p");
    peer_subscribe_to(p, f, 2, 0);
    peer_unsubscribe(p, one_more);
    peer_subscribe(p, fits, 1);
    broker_settle(&b);
    a = &peer_expect(p, PACKET_SUBACK)->suback;
    assert_int_equal(a->reasons.p[0], REASON_TOPIC_FILTER_INVALID);
    assert_int_equal(a->reasons.p[1], 0);
    assert_int_equal(peer_expect(p, PACKET_UNSUBACK)->suback.reasons.p[0],
                     REASON_TOPIC_FILTER_INVALID);
    assert_int_equal(peer_expect(p, PACKET_SUBACK)->suback.reasons.p[0], 1);
    free(fits);
    free(one_more);
    broker_stop(&b);
}

TEST(broken_topics_are_broken_below_a_mount_point_too)
{
    static const char *const filters[] = {"a#", "#/a", "a+", "$share/g", "$share//x", ""};
    struct broker b;
    struct peer *p;

    start(&b, 1);
    for (size_t i = 0; i < sizeof(filters) / sizeof(filters[0]); i++) {
        p = client(&b, BELOW_A, "p");
        peer_subscribe(p, filters[i], 0);
        broker_settle(&b);
        assert_null(p->stream);
    }
    p = client(&b, BELOW_A, "p");
    peer_publish(p, "", "1", 0);
    broker_settle(&b);
    assert_null(p->stream);
    broker_stop(&b);
}
