/* tests/core/broker/test_claim.c -- rules that a client has brought, wherever a right is asked for.
 */
#include <stdio.h>
#include <stdlib.h>

#include "core/broker/state.h"
#include "core/policy/acl_claim.h"
#include "tests/support/broker.h"
#include "tests/support/test.h"

/* Rules as words, apart by blanks: "+pa/#" allows to publish, "-sb" denies to subscribe, `a` is
 * both, and `r` to publish retained messages. A `!` in front of all: the rest is refused. */
static void bring(struct broker *b, const char *rules)
{
    static struct acl_claim_text text;
    struct admission *a;
    char words[256], *next, *w;

    acl_claim_begin(&text, *rules == '!');
    snprintf(words, sizeof words, "%s", *rules == '!' ? rules + 1 : rules);
    for (w = strtok_r(words, " ", &next); w; w = strtok_r(NULL, " ", &next)) {
        struct acl_claim_rule r = {.is_allow = *w == '+',
                                   .actions = w[1] == 'p' || w[1] == 'r' ? ACL_WRITE
                                              : w[1] == 's'              ? ACL_READ
                                                                         : ACL_READ | ACL_WRITE,
                                   .qos = ACL_CLAIM_ANY_QOS,
                                   .retain = w[1] == 'r' ? 2 : ACL_CLAIM_ANY_RETAIN,
                                   .filter = bytes_str(w + 2)};

        assert_int_equal(acl_claim_add(&text, &r), OK);
    }
    a = calloc(1, sizeof *a + 3 + text.n);
    a->has_user = true;
    a->user_count = 3;
    a->rules_count = (uint16_t)text.n;
    memcpy(a->user, "joe", 3);
    bytes_put((uint8_t *)a->user + 3, acl_claim_text(&text));
    b->admission = a;
}

/* A client with rules (NULL: without); its session stays. */
static struct peer *with_rules(struct broker *b, const char *id, const char *rules)
{
    if (rules)
        bring(b, rules);
    return broker_client_as(b, 0, MQTT_5, id, rules ? "joe" : NULL, true);
}

static void start(struct broker *b, uint32_t workers, const char *acl)
{
    broker_init(b, workers);
    if (acl)
        broker_set_acl(b, acl);
    broker_start(b);
}

static uint8_t publishes(struct peer *p, const char *topic)
{
    uint8_t reason;

    peer_publish(p, topic, "x", 1);
    broker_settle(p->broker);
    reason = peer_expect(p, PACKET_PUBACK)->ack.reason;
    return reason == REASON_NO_MATCHING_SUBSCRIBERS ? REASON_SUCCESS : reason;
}

static uint8_t subscribes(struct peer *p, const char *filter)
{
    peer_subscribe(p, filter, 1);
    broker_settle(p->broker);
    return peer_expect(p, PACKET_SUBACK)->suback.reasons.p[0];
}

#define NO REASON_NOT_AUTHORIZED

BROKER_TEST(claim_is_asked_before_the_acl_and_hands_on_the_rest)
{
    struct broker b;
    struct peer *p;

    start(&b, workers, "user joe\ntopic file/#\ntopic deny no/#\n");
    p = with_rules(&b, broker_id_at(&b, workers - 1, 0), "-pfile/x +ano/x +st/%c");
    for (int i = 0; i < 3; i++) { /* what is remembered says the same */
        assert_int_equal(publishes(p, "file/x"), NO);
        assert_int_equal(publishes(p, "file/y"), 0);
        assert_int_equal(publishes(p, "no/x"), 0);
        assert_int_equal(publishes(p, "no/y"), NO);
    }
    assert_int_equal(subscribes(p, "no/x"), 1);
    assert_int_equal(BROKER_SUM(&b, denied_publish), 6);
    broker_stop(&b);
}

BROKER_TEST(claim_without_an_acl_hands_on_to_everything_is_allowed)
{
    struct broker b;
    struct peer *p;

    start(&b, workers, NULL);
    p = with_rules(&b, broker_id_at(&b, workers - 1, 0), "-pa -sa +sb/# -a#");
    assert_int_equal(publishes(p, "a"), NO);
    assert_int_equal(subscribes(p, "a"), NO);
    assert_int_equal(subscribes(p, "b/+"), 1);
    assert_int_equal(subscribes(p, "c"), NO);
    p = with_rules(&b, broker_id_at(&b, 0, 1), "-pa");
    assert_int_equal(publishes(p, "b"), 0);
    assert_int_equal(subscribes(p, "a"), 1);
    broker_stop(&b);
}

BROKER_TEST(claim_of_what_is_allowed_refuses_the_rest)
{
    struct broker b;
    struct peer *p;

    start(&b, workers, "user joe\ntopic #\n");
    p = with_rules(&b, broker_id_at(&b, workers - 1, 0), "!+pp +ss/#");
    assert_int_equal(publishes(p, "p"), 0);
    assert_int_equal(publishes(p, "s/1"), NO);
    assert_int_equal(subscribes(p, "s/+"), 1);
    assert_int_equal(subscribes(p, "$share/g/s/1"), 1);
    assert_int_equal(subscribes(p, "$share/g/p"), NO);
    assert_int_equal(subscribes(p, "#"), NO);
    assert_int_equal(subscribes(p, "$SYS/#"), NO); /* although the listener is on loopback */
    broker_stop(&b);
}

BROKER_TEST(claim_is_remembered_for_each_kind_of_publish)
{
    struct broker b;
    struct peer *p;

    start(&b, workers, NULL);
    p = with_rules(&b, broker_id_at(&b, workers - 1, 0), "-rr");
    for (int i = 0; i < 3; i++) {
        assert_int_equal(publishes(p, "r"), 0);
        peer_retain(p, "r", "x", 1);
        broker_settle(&b);
        assert_int_equal(peer_expect(p, PACKET_PUBACK)->ack.reason, NO);
    }
    broker_stop(&b);
}

BROKER_TEST(claim_keeps_what_it_denies_from_wider_subscriptions)
{
    static const char *const filters[] = {"#", "a/+", "a/no", "$share/g/#", "$share/g/a/no"};

    for (size_t i = 0; i < sizeof filters / sizeof filters[0]; i++) {
        bool is_denied = i == 2 || i == 4;
        struct broker b;
        struct peer *p, *all;

        start(&b, workers, NULL);
        all = broker_client(&b, broker_id_at(&b, 0, 0));
        p = with_rules(&b, broker_id_at(&b, workers - 1, 1), "-sa/no +s#");
        assert_int_equal(subscribes(p, filters[i]), is_denied ? NO : 1);
        for (int n = 0; n < 3; n++) {
            peer_publish(all, "a/no", "1", 0);
            broker_settle(&b);
            peer_expect_nothing(p);
            peer_publish(all, "a/yes", "2", 0);
            broker_settle(&b);
            if (!is_denied)
                peer_expect_publish(p, "a/yes", "2");
        }
        broker_stop(&b);
    }
}

BROKER_TEST(claim_holds_while_its_client_is_away_and_the_next_one_replaces_it)
{
    struct broker b;
    const char *id;
    struct peer *p, *all;

    start(&b, workers, NULL);
    all = broker_client(&b, broker_id_at(&b, 0, 0));
    id = broker_id_at(&b, workers - 1, 1);
    p = with_rules(&b, id, "-sa/no +s#");
    assert_int_equal(subscribes(p, "#"), 1);
    peer_drop(p);
    broker_settle(&b);
    peer_publish(all, "a/no", "1", 1);
    peer_publish(all, "a/x", "2", 1);
    peer_publish(all, "b/x", "3", 1);
    broker_settle(&b);
    assert_int_equal(BROKER_SUM(&b, queued_messages), 2);
    p = with_rules(&b, id, "!+sb/#"); /* it may read less now, also of what waits */
    peer_ack(p, PACKET_PUBACK, peer_expect_publish(p, "b/x", "3")->packet_id);
    broker_settle(&b);
    peer_expect_nothing(p);
    peer_publish(all, "a/no", "4", 0);
    peer_publish(all, "b/x", "5", 0);
    broker_settle(&b);
    peer_expect_publish(p, "b/x", "5");
    peer_expect_nothing(p);
    assert_true(BROKER_SUM(&b, filter_bytes_held) > 0);
    peer_drop(p);
    broker_settle(&b);
    p = broker_client_as(&b, 0, MQTT_5, id, "joe", true); /* the same user, without rules */
    peer_publish(all, "a/no", "6", 0);
    broker_settle(&b);
    peer_expect_publish(p, "a/no", "6");
    broker_stop(&b);
}

BROKER_TEST(claim_stays_when_the_acl_changes)
{
    struct broker b;
    struct peer *p, *all;

    start(&b, workers, NULL);
    all = broker_client_as(&b, 0, MQTT_5, broker_id_at(&b, 0, 0), "all", false);
    p = with_rules(&b, broker_id_at(&b, workers - 1, 1), "-aa/no +aa/yes");
    assert_int_equal(subscribes(p, "#"), 1);
    for (int i = 0; i < 4; i++) {
        bool has_acl = i % 2;

        broker_set_acl(&b, has_acl ? "user all\ntopic #\nuser joe\ntopic b/#\n" : NULL);
        if (i > 1)
            broker_settle(&b);
        peer_publish(all, "a/no", "1", 0);
        peer_publish(all, "c/x", "2", 0);
        peer_publish(all, "a/yes", "3", 0);
        broker_settle(&b);
        if (!has_acl)
            peer_expect_publish(p, "c/x", "2");
        peer_expect_publish(p, "a/yes", "3");
        peer_expect_nothing(p);
        assert_int_equal(publishes(p, "a/no"), NO);
        if (has_acl)
            assert_int_equal(publishes(p, "c/x"), NO);
    }
    broker_stop(&b);
}

BROKER_TEST(claim_says_who_may_leave_a_will)
{
    static const char *const topics[] = {"w/yes", "w/no", "w/file", "x"};

    for (uint32_t i = 0; i < 4; i++) {
        struct broker b;
        struct peer *p, *all;
        struct connect_out c = {.protocol = MQTT_5,
                                .clean_start = true,
                                .has_will = true,
                                .will_topic = bytes_str(topics[i]),
                                .will_payload = BYTES_LIT("gone")};
        bool is_allowed = i % 2 == 0;

        start(&b, workers, "user all\ntopic #\nuser joe\ntopic w/file\ntopic w/no\n");
        all = broker_client_as(&b, 0, MQTT_5, broker_id_at(&b, 0, 0), "all", false);
        peer_subscribed(all, "#", 1);
        c.client_id = bytes_str(broker_id_at(&b, workers - 1, 1));
        bring(&b, "+pw/yes -pw/no");
        p = broker_dial(&b, 0, &c);
        broker_settle(&b);
        assert_int_equal(peer_expect(p, PACKET_CONNACK)->connack.reason, is_allowed ? 0 : NO);
        peer_drop(p);
        broker_settle(&b);
        if (is_allowed)
            peer_expect_publish(all, topics[i], "gone");
        peer_expect_nothing(all);
        broker_stop(&b);
    }
}

BROKER_TEST(claim_that_allowed_a_retained_message_vouches_for_it)
{
    struct broker b;
    struct peer *p, *q;

    broker_init(&b, workers);
    b.config.check_retain_source = true;
    broker_set_acl(&b, "user all\ntopic #\n");
    broker_start(&b);
    p = with_rules(&b, broker_id_at(&b, workers - 1, 1), "+pr");
    peer_retain(p, "r", "1", 1);
    broker_settle(&b);
    q = broker_client_as(&b, 0, MQTT_5, broker_id_at(&b, 0, 0), "all", false);
    peer_subscribed(q, "r", 1);
    peer_expect_publish(q, "r", "1");
    broker_stop(&b);
}

/* The CONNACK of a client that brings rules; NULL id: none. */
static uint8_t connack_of(struct broker *b, const char *id, const char *rules)
{
    struct connect_out c = {.protocol = MQTT_5, .clean_start = true, .client_id = bytes_str(id)};
    struct peer *p;

    bring(b, rules);
    p = broker_dial(b, 0, &c);
    broker_settle(b);
    return peer_expect(p, PACKET_CONNACK)->connack.reason;
}

BROKER_TEST(claim_that_a_name_would_widen_refuses_its_client)
{
    struct broker b;

    start(&b, workers, NULL);
    assert_int_equal(connack_of(&b, "a+", "+pt/%c"), NO);
    assert_int_equal(connack_of(&b, "#", "-pt/${clientid}"), NO);
    assert_int_equal(connack_of(&b, "a+", "+pt/%u"), 0);
    assert_int_equal(BROKER_SUM(&b, clients_refused), 2);
    broker_stop(&b);
}

BROKER_TEST(claim_knows_an_id_that_the_broker_has_chosen)
{
    struct connect_out c = {.protocol = MQTT_5, .clean_start = true, .client_id = BYTES_LIT("")};
    struct broker b;
    struct bytes id;
    struct peer *p;
    char topic[64];

    start(&b, workers, NULL);
    bring(&b, "!+pt/%c");
    p = broker_dial(&b, 0, &c);
    broker_settle(&b);
    id = peer_expect(p, PACKET_CONNACK)->connack.props.assigned_client_id;
    snprintf(topic, sizeof topic, "t/%.*s", (int)id.n, (const char *)id.p);
    assert_int_equal(publishes(p, topic), 0);
    assert_int_equal(publishes(p, "t/other"), NO);
    broker_stop(&b);
}

BROKER_TEST(claim_that_has_ended_allows_nothing_more)
{
    struct broker b;
    struct peer *p, *all;

    start(&b, workers, NULL);
    all = broker_client(&b, broker_id_at(&b, 0, 0));
    bring(&b, "+a#");
    b.admission->rules_end_ms = b.now_ms + 1000;
    p = broker_client_as(&b, 0, MQTT_5, broker_id_at(&b, workers - 1, 1), "joe", true);
    assert_int_equal(subscribes(p, "a"), 1);
    assert_int_equal(publishes(p, "b"), 0);
    broker_pass(&b, 1000);
    assert_int_equal(subscribes(p, "b"), NO);
    assert_int_equal(publishes(p, "b"), NO);
    peer_publish(all, "a", "1", 1); /* what it has subscribed to goes on waiting for it */
    broker_settle(&b);
    peer_expect_publish(p, "a", "1");
    broker_stop(&b);
}

static uint32_t net_asked;

static enum access_answer nobody_may(void *self, const struct access_question *q)
{
    (void)self;
    (void)q;
    net_asked++;
    return ACCESS_NO;
}

BROKER_TEST(claim_is_asked_before_the_net)
{
    struct broker b;
    struct shard_hooks hooks = {.may = nobody_may};
    struct peer *p;

    net_asked = 0;
    start(&b, workers, NULL);
    for (uint32_t i = 0; i < workers; i++)
        shard_set_hooks(cluster_shard(b.cluster, i), &hooks);
    p = with_rules(&b, broker_id_at(&b, workers - 1, 0), "+pa -pb +sc -sd");
    assert_int_equal(publishes(p, "a"), 0);
    assert_int_equal(publishes(p, "b"), NO);
    assert_int_equal(subscribes(p, "c"), 1);
    assert_int_equal(subscribes(p, "d"), NO);
    assert_int_equal(net_asked, 0);
    assert_int_equal(publishes(p, "e"), NO);
    assert_int_equal(subscribes(p, "e"), NO);
    assert_int_equal(net_asked, 2);
    broker_stop(&b);
}

TEST(claim_counts_against_the_memory_and_is_refused_at_its_end)
{
    struct broker b;
    struct shard *s;

    broker_init(&b, 1);
    b.config.limits.memory_bytes = 8u << 20;
    broker_start(&b);
    s = cluster_shard(b.cluster, 0);
    assert_int_equal(connack_of(&b, "a", "+pt/x"), 0);
    assert_true(BROKER_SUM(&b, filter_bytes_held) > 3);
    STAT_ADD(&s->stats, filter_bytes_held, 9u << 20); /* others have all of it */
    broker_settle(&b);
    assert_int_equal(connack_of(&b, "b", "+pt/x"), REASON_QUOTA_EXCEEDED);
    STAT_ADD(&s->stats, filter_bytes_held, -(9 << 20));
    broker_pass(&b, 1);
    assert_int_equal(connack_of(&b, "a", "+pt/x"), 0);
    broker_stop(&b);
}
