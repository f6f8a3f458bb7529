/* tests/core/broker/test_mount_session.c -- mount points and what outlives a connection: sessions
 * that come back elsewhere, wills, groups; and who is asked about which topic.
 */
#include <stdio.h>
#include <stdlib.h>

#include "core/broker/state.h"
#include "core/policy/acl_claim.h"
#include "tests/support/broker.h"
#include "tests/support/test.h"

/* Whole topics; below "t/a/"; below "t/b/"; below "t/USER/". */
enum { WHOLE, BELOW_A, BELOW_B, BELOW_USER, LISTENERS };
static struct listener_rules rules[LISTENERS];
static const struct link_rules links[] = {{.name = "x", .identity = "link-x"}};

static void init(struct broker *b, uint32_t workers)
{
    broker_init(b, workers);
    for (int i = 0; i < LISTENERS; i++)
        rules[i] = (struct listener_rules){.allow_anonymous = true, .is_loopback = true};
    rules[BELOW_A].mount_point = "t/a/";
    rules[BELOW_B].mount_point = "t/b/";
    rules[BELOW_USER].mount_point = "t/%u/";
    b->config.listeners = rules;
    b->config.listener_count = LISTENERS;
}

static void start(struct broker *b, uint32_t workers)
{
    init(b, workers);
    broker_start(b);
}

static struct peer *client(struct broker *b, int listener, const char *id)
{
    return broker_client_as(b, (uint16_t)listener, MQTT_5, id, NULL, false);
}

static struct peer *lasting(struct broker *b, int listener, const char *id)
{
    return broker_client_as(b, (uint16_t)listener, MQTT_5, id, NULL, true);
}

static uint8_t suback_of(struct peer *p, const char *filter)
{
    peer_subscribe(p, filter, 1);
    broker_settle(p->broker);
    return peer_expect(p, PACKET_SUBACK)->suback.reasons.p[0];
}

static uint8_t puback_of(struct peer *p, const char *topic)
{
    peer_publish(p, topic, "x", 1);
    broker_settle(p->broker);
    return peer_expect(p, PACKET_PUBACK)->ack.reason;
}

/* ---- sessions that come back elsewhere ---- */

BROKER_TEST(session_that_comes_back_elsewhere_gets_nothing_of_its_old_mount_point)
{
    struct broker b;
    struct peer *p, *from;
    const char *id;

    start(&b, workers);
    id = broker_id_at(&b, 0, 0);
    from = client(&b, BELOW_A, broker_id_at(&b, workers - 1, 1));
    p = lasting(&b, BELOW_A, id);
    peer_subscribed(p, "#", 2);
    peer_drop(p);
    for (uint8_t qos = 1; qos < 3; qos++)
        peer_publish(from, "x", "1", qos);
    broker_settle(&b);
    p = lasting(&b, BELOW_B, id);
    peer_publish(from, "x", "2", 0);
    peer_publish(from, "x", "3", 1);
    broker_settle(&b);
    peer_expect_nothing(p);
    assert_int_equal(BROKER_SUM(&b, dropped_mount_point), 4);
    assert_int_equal(BROKER_SUM(&b, queued_messages), 0);
    assert_int_equal(BROKER_SUM(&b, inflight_messages), 0);
    peer_subscribed(p, "#", 1);
    peer_publish(p, "x", "4", 0);
    broker_settle(&b);
    peer_expect_publish(p, "x", "4");
    p = lasting(&b, BELOW_A, id); /* taken over, and below the first one again */
    peer_publish(from, "x", "5", 0);
    broker_settle(&b);
    peer_expect_publish(p, "x", "5");
    peer_expect_nothing(p);
    p = lasting(&b, WHOLE, id); /* which sees all of both */
    peer_publish(from, "x", "6", 0);
    broker_settle(&b);
    peer_expect_publish(p, "t/a/x", "6");
    broker_stop(&b);
}

TEST(messages_in_flight_are_not_sent_again_below_another_mount_point)
{
    struct broker b;
    struct peer *p, *from;

    start(&b, 1);
    from = client(&b, BELOW_A, "from");
    p = lasting(&b, BELOW_A, "p");
    peer_subscribed(p, "#", 2);
    peer_publish(from, "x", "1", 1);
    peer_publish(from, "x", "2", 2);
    peer_publish(from, "y", "3", 2);
    broker_settle(&b);
    peer_expect_publish(p, "x", "1");
    peer_expect_publish(p, "x", "2");
    peer_ack(p, PACKET_PUBREC, peer_expect_publish(p, "y", "3")->packet_id);
    broker_settle(&b);
    peer_expect(p, PACKET_PUBREL);
    peer_drop(p);
    p = lasting(&b, BELOW_B, "p");
    peer_expect(p, PACKET_PUBREL); /* has no topic, and must come */
    peer_expect_nothing(p);
    assert_int_equal(BROKER_SUM(&b, dropped_mount_point), 2);
    assert_int_equal(BROKER_SUM(&b, inflight_messages), 1);
    broker_stop(&b);
}

TEST(messages_in_flight_are_sent_again_below_the_same_mount_point)
{
    struct broker b;
    struct peer *p, *from;

    start(&b, 1);
    from = client(&b, BELOW_A, "from");
    p = lasting(&b, BELOW_A, "p");
    peer_subscribed(p, "#", 1);
    peer_publish(from, "x", "1", 1);
    broker_settle(&b);
    peer_expect_publish(p, "x", "1");
    peer_drop(p);
    p = lasting(&b, BELOW_A, "p");
    assert_true(peer_expect_publish(p, "x", "1")->dup);
    broker_stop(&b);
}

TEST(messages_of_another_mount_point_take_no_place_in_the_queue)
{
    struct broker b;
    struct peer *p, *a, *whole;

    init(&b, 1);
    b.config.limits.inflight = 1;
    b.config.limits.queued_messages = 2;
    broker_start(&b);
    whole = client(&b, WHOLE, "w");
    a = client(&b, BELOW_A, "a");
    p = lasting(&b, BELOW_B, "p");
    peer_subscribed(p, "#", 1);
    p = lasting(&b, BELOW_A, "p");
    peer_subscribed(p, "#", 1);
    peer_publish(a, "x", "0", 1); /* fills the window */
    for (int i = 0; i < 5; i++)
        peer_publish(whole, "t/b/x", "b", 1);
    peer_publish(a, "x", "1", 1);
    peer_publish(a, "x", "2", 1);
    broker_settle(&b);
    assert_int_equal(BROKER_SUM(&b, dropped_queue_full), 0);
    assert_int_equal(BROKER_SUM(&b, dropped_mount_point), 5);
    assert_int_equal(peer_take_numbered(p, 0), 3);
    broker_stop(&b);
}

TEST(subscriptions_of_another_mount_point_are_out_of_reach)
{
    struct broker b;
    struct peer *p;

    start(&b, 1);
    p = lasting(&b, BELOW_A, "p");
    peer_subscribed(p, "x", 1);
    p = lasting(&b, BELOW_B, "p");
    peer_unsubscribe(p, "x");
    broker_settle(&b);
    assert_int_equal(peer_expect(p, PACKET_UNSUBACK)->suback.reasons.p[0],
                     REASON_NO_SUBSCRIPTION_EXISTED);
    assert_int_equal(BROKER_SUM(&b, subscriptions), 1);
    p = lasting(&b, WHOLE, "p");
    peer_unsubscribe(p, "t/a/x");
    broker_settle(&b);
    assert_int_equal(peer_expect(p, PACKET_UNSUBACK)->suback.reasons.p[0], 0);
    broker_stop(&b);
}

/* ---- wills ---- */

static struct peer *dial_with_will(struct broker *b, int listener, const char *id,
                                   const char *topic, uint32_t delay)
{
    struct connect_out c = {.protocol = MQTT_5,
                            .client_id = bytes_str(id),
                            .has_session_expiry = true,
                            .session_expiry = 3600,
                            .has_will = true,
                            .will_delay = delay,
                            .will_topic = bytes_str(topic),
                            .will_payload = BYTES_LIT("gone")};
    struct peer *p = broker_dial(b, (uint16_t)listener, &c);

    broker_settle(b);
    return p;
}

BROKER_TEST(wills_are_below_the_mount_point_they_were_left_at)
{
    struct broker b;
    struct peer *p, *a, *whole;

    start(&b, workers);
    whole = client(&b, WHOLE, broker_id_at(&b, 0, 0));
    a = client(&b, BELOW_A, broker_id_at(&b, workers - 1, 1));
    peer_subscribed(whole, "#", 0);
    peer_subscribed(a, "#", 0);
    for (uint32_t delay = 0; delay <= 10; delay += 10) {
        p = dial_with_will(&b, BELOW_A, broker_id_at(&b, 0, 2), "w", delay);
        peer_expect(p, PACKET_CONNACK);
        peer_drop(p);
        broker_pass(&b, BROKER_LATE(delay * 1000));
        peer_expect_publish(whole, "t/a/w", "gone");
        peer_expect_publish(a, "w", "gone");
    }
    (void)dial_with_will(&b, BELOW_A, broker_id_at(&b, 0, 2), "w", 0);
    (void)lasting(&b, BELOW_B, broker_id_at(&b, 0, 2)); /* takes the session over */
    peer_expect_publish(whole, "t/a/w", "gone");
    peer_expect_publish(a, "w", "gone");
    peer_expect_nothing(whole);
    broker_stop(&b);
}

TEST(will_that_is_too_long_below_the_mount_point_is_refused)
{
    struct broker b;
    char *topic = malloc(TOPIC_BYTES_MAX + 1);

    assert_non_null(topic);
    start(&b, 1);
    for (uint32_t over = 0; over < 2; over++) {
        memset(topic, 'x', TOPIC_BYTES_MAX);
        topic[TOPIC_BYTES_MAX - 4 + over] = 0;
        assert_int_equal(
            peer_expect(dial_with_will(&b, BELOW_A, "p", topic, 0), PACKET_CONNACK)->connack.reason,
            over ? REASON_TOPIC_NAME_INVALID : 0);
    }
    free(topic);
    broker_stop(&b);
}

/* ---- shared groups ---- */

BROKER_TEST(member_of_a_group_that_is_elsewhere_is_passed_over)
{
    struct broker b;
    struct peer *p, *q, *from;
    const char *id;

    start(&b, workers);
    id = broker_id_at(&b, 0, 0);
    from = client(&b, BELOW_A, broker_id_at(&b, 0, 1));
    q = client(&b, BELOW_A, broker_id_at(&b, workers - 1, 2));
    p = lasting(&b, BELOW_A, id);
    peer_subscribed(p, "$share/g/x", 1);
    peer_subscribed(q, "$share/g/x", 1);
    peer_drop(p);
    p = lasting(&b, BELOW_B, id);
    broker_settle(&b);
    for (int i = 0; i < 6; i++)
        peer_publish(from, "x", "1", 1);
    broker_settle(&b);
    assert_int_equal(peer_count_publishes(q), 6);
    peer_drop(q);
    peer_publish(from, "x", "7", 1); /* nobody is there to take these */
    broker_settle(&b);
    peer_expect_nothing(p);
    p = lasting(&b, BELOW_A, id);
    assert_int_equal(peer_count_publishes(p), 7);
    assert_int_equal(BROKER_SUM(&b, dropped_mount_point), 0);
    broker_stop(&b);
}

/* The home of the group has not heard yet that the member is elsewhere. */
TEST(message_on_its_way_to_a_member_that_is_elsewhere_goes_back_to_its_group)
{
    struct connect_out c = {.protocol = MQTT_5, .has_session_expiry = true, .session_expiry = 3600};
    char full[32], filter[48];
    struct broker b;
    struct peer *p, *q, *from;
    uint32_t n = 0;

    start(&b, 3);
    do
        snprintf(full, sizeof full, "t/a/x%u", n++);
    while (owner_of_topic(b.cluster, hash_of(cluster_shard(b.cluster, 0), bytes_str(full))) != 1);
    snprintf(filter, sizeof filter, "$share/g/%s", full + 4);
    c.client_id = bytes_str(broker_id_at(&b, 2, 0));
    from = client(&b, BELOW_A, broker_id_at(&b, 0, 0));
    q = client(&b, BELOW_A, broker_id_at(&b, 0, 1));
    p = lasting(&b, BELOW_A, broker_id_at(&b, 2, 0));
    peer_subscribed(p, filter, 1);
    peer_subscribed(q, filter, 1);
    peer_publish(from, full + 4, "1", 1); /* one for each member */
    peer_publish(from, full + 4, "2", 1);
    broker_turn(&b, 0);
    broker_turn(&b, 1);
    p = broker_dial(&b, BELOW_B, &c);
    broker_turn(&b, 2);
    broker_settle(&b);
    peer_expect(p, PACKET_CONNACK);
    peer_expect_nothing(p);
    assert_int_equal(peer_count_publishes(q), 2);
    assert_int_equal(BROKER_SUM(&b, dropped_mount_point), 0);
    broker_stop(&b);
}

/* ---- $SYS and $LINK ---- */

TEST(topics_of_the_broker_are_not_below_a_mount_point)
{
    struct broker b;
    struct peer *p, *whole;

    init(&b, 2);
    b.config.limits.sys_interval = 1;
    broker_start(&b);
    p = client(&b, BELOW_A, broker_id_at(&b, 0, 0));
    whole = client(&b, WHOLE, broker_id_at(&b, 1, 0));
    peer_subscribed(p, "$SYS/#", 0);
    peer_subscribed(p, "#", 0);
    peer_subscribed(whole, "t/a/#", 0);
    broker_pass(&b, 3000);
    peer_expect_nothing(p);
    peer_publish(p, "$SYS/broker/uptime", "x", 0); /* a topic like any other there */
    broker_settle(&b);
    peer_expect_publish(p, "$SYS/broker/uptime", "x");
    peer_expect_publish(whole, "t/a/$SYS/broker/uptime", "x");
    broker_stop(&b);
}

TEST(operator_may_mount_topics_of_the_broker_to_be_read)
{
    struct broker b;
    struct peer *p;

    init(&b, 1);
    rules[BELOW_A].mount_point = "$SYS/";
    b.config.limits.sys_interval = 1;
    broker_start(&b);
    p = client(&b, BELOW_A, "p");
    peer_subscribed(p, "broker/version", 0);
    broker_settle(&b);
    peer_expect_publish(p, "broker/version", "causeway version test");
    assert_int_equal(puback_of(p, "broker/version"), REASON_NOT_AUTHORIZED);
    broker_stop(&b);
}

TEST(links_are_closed_below_a_mount_point)
{
    struct broker b;
    struct peer *p, *whole;

    start(&b, 1);
    p = client(&b, BELOW_A, "p");
    whole = client(&b, WHOLE, "w");
    peer_subscribed(whole, "#", 0);
    assert_int_equal(puback_of(p, "$LINK/cluster/route/x"), REASON_NOT_AUTHORIZED);
    assert_int_equal(suback_of(p, "$LINK/cluster/resp/x"), REASON_NOT_AUTHORIZED);
    assert_int_equal(suback_of(p, "$share/g/$LINK/cluster/resp/x"), REASON_NOT_AUTHORIZED);
    assert_int_equal(
        peer_expect(dial_with_will(&b, BELOW_A, "q", "$LINK/x", 0), PACKET_CONNACK)->connack.reason,
        REASON_NOT_AUTHORIZED);
    peer_expect_nothing(whole);
    broker_stop(&b);
}

static char announced[64];

static void note_interest(void *link, struct bytes group, struct bytes filter, bool is_added)
{
    (void)link;
    (void)group;
    if (is_added && filter.n < sizeof announced) {
        bytes_put((uint8_t *)announced, filter);
        announced[filter.n] = 0;
    }
}

static bool take_packet(void *link, const struct link_packet *p)
{
    (void)link;
    (void)p;
    return true;
}

TEST(links_have_whole_topics_and_no_mount_point)
{
    struct shard_hooks hooks = {.link_packet = take_packet, .interest = note_interest};
    struct broker b;
    struct peer *p;

    init(&b, 1);
    rules[BELOW_USER].mount_point = "t/%c/";
    b.config.link_workers = 1;
    b.config.links = links;
    b.config.link_count = 1;
    broker_start(&b);
    shard_set_hooks(cluster_shard(b.cluster, 1), &hooks);
    p = client(&b, BELOW_A, "p");
    peer_subscribed(p, "x/#", 0);
    assert_string_equal(announced, "t/a/x/#");
    b.admission = calloc(1, sizeof(*b.admission) + 6);
    assert_non_null(b.admission);
    b.admission->has_user = true;
    b.admission->user_count = 6;
    memcpy(b.admission->user, "link-x", 6);
    p = client(&b, BELOW_USER, "l/+"); /* who is a link stands below nothing */
    assert_int_equal(puback_of(p, "$LINK/cluster/route/x"), 0);
    assert_int_equal(puback_of(p, "x"), REASON_NOT_AUTHORIZED);
    broker_stop(&b);
}

/* ---- who is asked about which topic ---- */

TEST(acl_is_asked_about_whole_topics)
{
    static const char acl[] = "pattern readwrite t/%u/open/#\n"
                              "user all\n"
                              "topic #\n";
    struct broker b;
    struct peer *p, *all;

    init(&b, 1);
    b.config.acl_check_subscribe = true;
    broker_set_acl(&b, acl);
    broker_start(&b);
    all = broker_client_as(&b, WHOLE, MQTT_5, "all", "all", false);
    p = broker_client_as(&b, BELOW_USER, MQTT_5, "p", "bob", false);
    peer_subscribed(all, "#", 0);
    assert_int_equal(puback_of(p, "open/x"), 0);
    assert_int_equal(puback_of(p, "x"), REASON_NOT_AUTHORIZED);
    assert_int_equal(puback_of(p, "t/bob/open/x"), REASON_NOT_AUTHORIZED);
    peer_expect_publish(all, "t/bob/open/x", "x");
    peer_expect_nothing(all);
    assert_int_equal(suback_of(p, "x"), REASON_NOT_AUTHORIZED);
    assert_int_equal(suback_of(p, "t/bob/open/#"), REASON_NOT_AUTHORIZED);
    peer_subscribed(p, "#", 0);      /* a part of it may be read */
    peer_subscribed(p, "open/+", 0); /* all of it */
    peer_publish(all, "t/bob/shut", "1", 0);
    peer_publish(all, "t/bob/open/y", "2", 0);
    broker_settle(&b);
    peer_expect_publish(p, "open/y", "2");
    peer_expect_nothing(p);
    assert_int_equal(BROKER_SUM(&b, denied_delivery), 1);
    broker_stop(&b);
}

TEST(rules_of_a_token_are_about_whole_topics)
{
    static struct acl_claim_text text;
    struct acl_claim_rule r = {.is_allow = true,
                               .actions = ACL_READ | ACL_WRITE,
                               .qos = ACL_CLAIM_ANY_QOS,
                               .retain = ACL_CLAIM_ANY_RETAIN,
                               .filter = BYTES_LIT("t/joe/open/#")};
    struct broker b;
    struct peer *p;

    start(&b, 1);
    acl_claim_begin(&text, true); /* nothing else */
    assert_int_equal(acl_claim_add(&text, &r), OK);
    b.admission = calloc(1, sizeof(*b.admission) + 3 + text.n);
    assert_non_null(b.admission);
    b.admission->has_user = true;
    b.admission->user_count = 3;
    b.admission->rules_count = (uint16_t)text.n;
    bytes_put(bytes_put((uint8_t *)b.admission->user, BYTES_LIT("joe")), acl_claim_text(&text));
    p = client(&b, BELOW_USER, "p");
    assert_int_equal(puback_of(p, "open/x"), REASON_NO_MATCHING_SUBSCRIBERS);
    assert_int_equal(puback_of(p, "t/joe/open/x"), REASON_NOT_AUTHORIZED);
    assert_int_equal(suback_of(p, "t/joe/open/#"), REASON_NOT_AUTHORIZED);
    peer_subscribed(p, "open/#", 0);
    peer_publish(p, "open/x", "1", 0);
    broker_settle(&b);
    peer_expect_publish(p, "open/x", "1");
    broker_stop(&b);
}

/* What the net was asked last, and what it says. */
static struct {
    char topic[128];
    enum access_answer says;
    uint32_t asked_count;
} net;

static enum access_answer may(void *self, const struct access_question *q)
{
    (void)self;
    assert_true(q->topic.n < sizeof net.topic);
    bytes_put((uint8_t *)net.topic, q->topic);
    net.topic[q->topic.n] = 0;
    net.asked_count++;
    return net.says;
}

static void start_with_net(struct broker *b)
{
    struct shard_hooks hooks = {.may = may};

    start(b, 1);
    net.says = ACCESS_WAIT;
    net.asked_count = 0;
    shard_set_hooks(cluster_shard(b->cluster, 0), &hooks);
}

/* Turns in which somebody waits do not settle. */
static void turns(struct broker *b)
{
    for (int i = 0; i < 4; i++)
        broker_turn(b, 0);
}

TEST(net_is_asked_about_whole_topics)
{
    struct filter_request f[] = {{.filter = BYTES_LIT("s")}, {.filter = BYTES_LIT("$share/g/h")}};
    struct broker b;
    struct peer *p;

    start_with_net(&b);
    p = client(&b, BELOW_A, "p");
    peer_publish(p, "x", "1", 1);
    turns(&b);
    assert_string_equal(net.topic, "t/a/x");
    net.says = ACCESS_YES;
    turns(&b);
    assert_string_equal(net.topic, "t/a/x"); /* and no more in front the second time */
    assert_int_equal(peer_expect(p, PACKET_PUBACK)->ack.reason, REASON_NO_MATCHING_SUBSCRIBERS);
    net.says = ACCESS_WAIT;
    peer_subscribe_to(p, f, 2, 0);
    turns(&b);
    assert_string_equal(net.topic, "t/a/h");
    net.says = ACCESS_YES;
    turns(&b);
    broker_settle(&b);
    assert_int_equal(peer_expect(p, PACKET_SUBACK)->suback.reasons.p[1], 0);
    broker_stop(&b);
}

/* A client without an id, at a listener with %c, leaves a will that the net has to judge. */
TEST(net_is_not_asked_for_ever_about_a_will_below_an_assigned_id)
{
    struct broker b;
    struct peer *p;

    start_with_net(&b);
    rules[BELOW_A].mount_point = "t/%c/";
    p = dial_with_will(&b, BELOW_A, "", "w", 0);
    turns(&b);
    assert_int_equal(peer_expect(p, PACKET_CONNACK)->connack.reason, REASON_CLIENT_ID_NOT_VALID);
    assert_int_equal(net.asked_count, 1);
    broker_stop(&b);
}

TEST(net_judges_a_will_by_its_whole_topic)
{
    struct connect_out c = {.protocol = MQTT_5,
                            .client_id = BYTES_LIT("p"),
                            .has_will = true,
                            .will_topic = BYTES_LIT("w")};
    struct broker b;
    struct peer *p;

    start_with_net(&b);
    p = broker_dial(&b, BELOW_A, &c);
    turns(&b);
    assert_string_equal(net.topic, "t/a/w");
    peer_expect_nothing(p);
    net.says = ACCESS_YES;
    turns(&b);
    assert_string_equal(net.topic, "t/a/w");
    assert_int_equal(peer_expect(p, PACKET_CONNACK)->connack.reason, 0);
    broker_stop(&b);
}
