/* tests/core/broker/test_group_links.c -- shared groups of remote clusters, at home and at a link
 * worker whose link layer is the test's. */
#include <stdio.h>
#include <stdlib.h>

#include "core/base/epoch.h"
#include "core/broker/group.h"
#include "tests/support/broker.h"
#include "tests/support/test.h"

/* What a link worker has been given, as "LINK GROUP/FILTER HOPS PAYLOAD" each. */
struct given {
    char text[4096];
    uint32_t count;
    char from[64]; /* of the last one: its publisher's client id */
    bool is_deaf;  /* no link takes anything */
    struct shard *shard;
};

static bool on_forward_group(void *link, uint32_t number, struct bytes group, struct bytes filter,
                             const struct publish *p)
{
    struct given *g = link;
    size_t n = strlen(g->text);

    if (g->is_deaf)
        return false;
    snprintf(g->text + n, sizeof g->text - n, "%u %.*s/%.*s %u %.*s ", number, (int)group.n,
             (const char *)group.p, (int)filter.n, (const char *)filter.p, p->group_hops,
             (int)(p->payload.n < 20 ? p->payload.n : 20), (const char *)p->payload.p);
    g->count++;
    snprintf(g->from, sizeof g->from, "%.*s", (int)p->from_id.n, (const char *)p->from_id.p);
    return true;
}

/* A topic that belongs to the last worker for clients, and its group. */
struct scene {
    struct broker b;
    struct given given;
    const char *topic;
    char filter[80];
    struct peer *publisher;
};

static void start(struct scene *x, uint32_t workers)
{
    struct shard_hooks hooks = {.link = &x->given, .forward_group = on_forward_group};

    memset(x, 0, sizeof *x);
    broker_init(&x->b, workers);
    x->b.config.link_workers = 1;
    broker_start(&x->b);
    x->given.shard = cluster_shard(x->b.cluster, workers);
    shard_set_hooks(x->given.shard, &hooks);
    x->topic = broker_topic_at(&x->b, workers - 1, 0);
    snprintf(x->filter, sizeof x->filter, "$share/g/%s", x->topic);
    x->publisher = broker_client(&x->b, broker_id_at(&x->b, 0, 77));
}

/* The link worker is woken, and all goes on. */
static void settle(struct scene *x)
{
    x->b.is_woken[x->b.worker_count - 1] = true;
    broker_settle(&x->b);
}

static void announce(struct scene *x, uint32_t link, bool is_added)
{
    assert_int_equal(
        shard_link_group(x->given.shard, link, BYTES_LIT("g"), bytes_str(x->topic), is_added), OK);
    settle(x);
}

static void up(struct scene *x, uint32_t link, bool is_up)
{
    shard_link_up(x->given.shard, link, is_up);
    settle(x);
}

static void say(struct scene *x, const char *payload)
{
    peer_publish(x->publisher, x->topic, payload, 1);
    settle(x);
}

/* Since it was last asked. */
static void check_given(struct scene *x, const char *expected)
{
    char text[4096];
    size_t at = 0;

    for (const char *p = expected; *p && at < sizeof text - 100; p++)
        if (*p == '=')
            at += (size_t)snprintf(text + at, sizeof text - at, "g/%s", x->topic);
        else
            text[at++] = *p;
    text[at] = '\0';
    assert_string_equal(x->given.text, text);
    x->given.text[0] = '\0';
}

BROKER_TEST(remote_clusters_take_turns_those_whose_link_is_up)
{
    struct scene x;

    start(&x, workers);
    for (uint32_t link = 3; link < 64; link += 30) {
        announce(&x, link, true);
        up(&x, link, true);
    }
    for (int i = 0; i < 4; i++)
        say(&x, "m");
    assert_string_equal(x.given.from, broker_id_at(&x.b, 0, 77));
    check_given(&x, "3 = 0 m 33 = 0 m 63 = 0 m 3 = 0 m ");
    up(&x, 33, false);
    say(&x, "n");
    check_given(&x, "63 = 0 n ");
    up(&x, 3, false);
    up(&x, 63, false);
    say(&x, "o"); /* all are down: it waits for any */
    assert_int_equal(x.given.count, 6);
    broker_stop(&x.b);
}

BROKER_TEST(connected_member_comes_before_remote_clusters)
{
    struct scene x;
    struct peer *member;

    start(&x, workers);
    announce(&x, 5, true);
    up(&x, 5, true);
    member = broker_client(&x.b, broker_id_at(&x.b, 0, 0));
    peer_subscribed(member, x.filter, 1);
    say(&x, "m");
    check_given(&x, "");
    peer_expect_publish(member, x.topic, "m");
    peer_unsubscribe(member, x.filter);
    settle(&x);
    say(&x, "n");
    check_given(&x, "5 = 0 n ");
    broker_stop(&x.b);
}

BROKER_TEST(group_that_nobody_has_any_more_is_forgotten)
{
    struct scene x;
    uint64_t held;

    start(&x, workers);
    held = load_relaxed(&shard_stats(x.given.shard)->filter_bytes_held);
    announce(&x, 5, true);
    announce(&x, 6, true);
    announce(&x, 6, true);
    assert_int_equal(x.b.cluster->global_groups, 1);
    announce(&x, 5, false);
    announce(&x, 6, false);
    announce(&x, 6, false);
    assert_int_equal(x.b.cluster->global_groups, 0);
    assert_int_equal(load_relaxed(&shard_stats(x.given.shard)->filter_bytes_held), held);
    say(&x, "m");
    check_given(&x, "");
    broker_stop(&x.b);
}

/* A remote cluster waits, a client is refused, as for other filters. */
BROKER_TEST(group_is_not_made_before_what_was_taken_away_is_freed)
{
    struct scene x;
    struct peer *member;
    const uint32_t much = (64u << 20) + 1;
    uint64_t before;

    start(&x, workers);
    member = broker_client(&x.b, broker_id_at(&x.b, workers - 1, 0));
    before = index_count(x.b.cluster->index[workers - 1]);
    epoch_retire(x.b.cluster->epoch, workers - 1, malloc(much), much);
    assert_int_equal(shard_link_group(x.given.shard, 5, BYTES_LIT("g"), bytes_str(x.topic), true),
                     OK);
    peer_subscribe(member, x.filter, 1);
    broker_turn(&x.b, workers);
    broker_turn(&x.b, workers - 1);
    assert_int_equal(index_count(x.b.cluster->index[workers - 1]), before);
    settle(&x);
    assert_int_equal(peer_expect(member, PACKET_SUBACK)->suback.reasons.p[0],
                     REASON_QUOTA_EXCEEDED);
    assert_int_equal(index_count(x.b.cluster->index[workers - 1]), before + 1);
    assert_int_equal(BROKER_SUM(&x.b, link_routes_memory), 0);
    broker_stop(&x.b);
}

/* Between the two the record of the name goes and comes while the home is being told. */
BROKER_TEST(name_that_comes_and_goes_at_once_is_what_it_was_last)
{
    struct scene x;

    start(&x, workers);
    up(&x, 5, true);
    for (int i = 0; i < 3; i++) {
        uint64_t asked;

        for (int n = 0; n <= i; n++)
            assert_int_equal(
                shard_link_group(x.given.shard, 5, BYTES_LIT("g"), bytes_str(x.topic), n % 2 == 0),
                OK);
        asked = shard_link_routes_asked(x.given.shard);
        assert_false(shard_link_routes_in_force(x.given.shard, asked));
        settle(&x);
        assert_true(shard_link_routes_in_force(x.given.shard, asked));
        say(&x, "m");
        check_given(&x, i % 2 == 0 ? "5 = 0 m " : "");
        announce(&x, 5, false);
    }
    broker_stop(&x.b);
}

/* The home's answer always finds that something else is wanted by now. */
BROKER_TEST(name_that_comes_and_goes_all_the_time_is_waited_for_no_longer_than_any)
{
    struct scene x;
    uint64_t asked;
    uint32_t rounds = 0;

    start(&x, workers);
    asked = shard_link_routes_asked(x.given.shard);
    for (uint32_t i = 0; i < 100; i++) {
        assert_int_equal(
            shard_link_group(x.given.shard, 5, BYTES_LIT("g"), bytes_str(x.topic), i % 2 == 0), OK);
        if (shard_link_routes_in_force(x.given.shard, asked)) {
            asked = shard_link_routes_asked(x.given.shard);
            rounds++;
        }
        broker_turn(&x.b, workers - 1);
        broker_turn(&x.b, workers);
    }
    assert_true(rounds > 20);
    settle(&x);
    assert_true(shard_link_routes_in_force(x.given.shard, asked));
    broker_stop(&x.b);
}

/* A message for the group has come over a link. */
static void comes(struct scene *x, uint32_t link, struct bytes group, const struct publish *p)
{
    struct publish copy = *p;

    assert_int_equal(shard_publish_group(x->given.shard, link, group, bytes_str(x->topic), &copy),
                     OK);
    settle(x);
}

/* Not even where that is the only one that is up; but if there is no other at all. */
BROKER_TEST(what_came_for_a_group_goes_to_another_cluster_than_it_came_from)
{
    struct scene x;
    struct publish p = {.payload = BYTES_LIT("m"), .qos = 1, .protocol = MQTT_5, .group_hops = 1};

    start(&x, workers);
    p.topic = bytes_str(x.topic);
    announce(&x, 5, true);
    announce(&x, 9, true);
    up(&x, 5, true);
    for (int i = 0; i < 2; i++)
        comes(&x, 5, BYTES_LIT("g"), &p);
    check_given(&x, "9 = 1 m 9 = 1 m ");
    announce(&x, 9, false);
    comes(&x, 5, BYTES_LIT("g"), &p);
    check_given(&x, "5 = 1 m ");
    broker_stop(&x.b);
}

/* What came over a link for all is for the members here; for this group alone, it goes on when
 * nobody is left, and back when nothing is known. */
BROKER_TEST(what_came_over_a_link_leaves_only_if_it_was_for_the_group)
{
    struct scene x;
    struct publish p = {.payload = BYTES_LIT("m"), .qos = 1, .protocol = MQTT_5};
    struct publish q = p;
    bool matched;

    start(&x, workers);
    p.topic = q.topic = bytes_str(x.topic);
    announce(&x, 5, true);
    up(&x, 5, true);
    assert_int_equal(shard_publish(x.given.shard, &p, &matched), OK);
    settle(&x);
    check_given(&x, "");
    for (q.group_hops = 1; q.group_hops <= GROUP_HOPS_MAX; q.group_hops++)
        comes(&x, 9, BYTES_LIT("g"), &q);
    check_given(&x, "5 = 1 m 5 = 2 m 5 = 3 m 5 = 4 m 5 = 5 m 5 = 6 m 5 = 7 m ");
    announce(&x, 9, true);
    announce(&x, 5, false);
    announce(&x, 9, false);
    q.group_hops = 3;
    comes(&x, 9, BYTES_LIT("g"), &q);
    check_given(&x, "9 = 3 m ");
    broker_stop(&x.b);
}

/* It came over a link for all, so it is for the member that is away; the others are not. */
BROKER_TEST(what_may_leave_does_not_wait_behind_what_may_not)
{
    struct scene x;
    struct peer *member;
    struct publish p = {.payload = BYTES_LIT("stays"), .qos = 1, .protocol = MQTT_5};
    const char *id;
    bool matched;

    start(&x, workers);
    p.topic = bytes_str(x.topic);
    id = broker_id_at(&x.b, workers - 1, 0);
    member = broker_durable(&x.b, id, MQTT_5);
    peer_subscribed(member, x.filter, 1);
    peer_disconnect(member, 0);
    announce(&x, 5, true);
    up(&x, 5, true);
    assert_int_equal(shard_publish(x.given.shard, &p, &matched), OK);
    settle(&x);
    say(&x, "1");
    say(&x, "2");
    check_given(&x, "5 = 0 1 5 = 0 2 ");
    up(&x, 5, false);
    say(&x, "3");
    assert_int_equal(shard_publish(x.given.shard, &p, &matched), OK);
    settle(&x);
    say(&x, "4");
    check_given(&x, "");
    up(&x, 5, true);
    check_given(&x, "5 = 0 3 5 = 0 4 ");
    member = broker_durable(&x.b, id, MQTT_5);
    settle(&x);
    peer_expect_publish(member, x.topic, "stays");
    peer_expect_publish(member, x.topic, "stays");
    assert_int_equal(peer_count_publishes(member), 0);
    broker_stop(&x.b);
}

/* It is given to us, and stays, though a link is up. */
BROKER_TEST(what_came_for_a_group_waits_for_members_that_are_away)
{
    struct scene x;
    struct publish p = {.payload = BYTES_LIT("m"), .qos = 1, .protocol = MQTT_5, .group_hops = 1};
    struct peer *member;
    const char *id;

    start(&x, workers);
    p.topic = bytes_str(x.topic);
    id = broker_id_at(&x.b, 0, 0);
    member = broker_durable(&x.b, id, MQTT_5);
    peer_subscribed(member, x.filter, 1);
    peer_drop(member);
    settle(&x);
    announce(&x, 5, true);
    up(&x, 5, true);
    comes(&x, 9, BYTES_LIT("g"), &p);
    check_given(&x, "");
    member = broker_durable(&x.b, id, MQTT_5);
    settle(&x);
    peer_expect_publish(member, x.topic, "m");
    broker_stop(&x.b);
}

/* What waits at home for whoever comes first is told with its publisher. */
BROKER_TEST(what_waits_for_members_that_are_away_leaves_when_a_link_comes_up)
{
    struct scene x;
    struct peer *member;

    start(&x, workers);
    member = broker_durable(&x.b, broker_id_at(&x.b, 0, 0), MQTT_5);
    peer_subscribed(member, x.filter, 1);
    peer_drop(member);
    announce(&x, 5, true);
    say(&x, "m");
    say(&x, "n");
    check_given(&x, "");
    assert_int_equal(BROKER_SUM(&x.b, dropped_session_end), 0);
    up(&x, 5, true);
    check_given(&x, "5 = 0 m 5 = 0 n ");
    assert_string_equal(x.given.from, broker_id_at(&x.b, 0, 77));
    broker_stop(&x.b);
}

/* A name that is too long to travel along: where it is not known, the message ends. */
BROKER_TEST(what_came_for_a_group_of_a_long_name_that_is_not_known_is_dropped)
{
    struct scene x;
    struct publish p = {.payload = BYTES_LIT("m"), .qos = 1, .protocol = MQTT_5, .group_hops = 1};
    char longest[INLINE_NAME_BYTES_MAX], longer[INLINE_NAME_BYTES_MAX];
    uint32_t room;

    start(&x, workers);
    p.topic = bytes_str(x.topic);
    up(&x, 9, true);
    memset(longest, 'g', sizeof longest);
    memset(longer, 'h', sizeof longer);
    room = INLINE_NAME_BYTES_MAX - (uint32_t)strlen(x.topic);
    comes(&x, 9, bytes_of(longest, room), &p);
    assert_int_equal(x.given.count, 1);
    comes(&x, 9, bytes_of(longer, room + 1), &p);
    assert_int_equal(x.given.count, 1);
    assert_int_equal(BROKER_SUM(&x.b, dropped_session_end), 1);
    broker_stop(&x.b);
}

BROKER_TEST(what_is_for_no_group_reaches_plain_subscribers_only)
{
    struct scene x;
    struct peer *member, *plain;
    struct publish p = {.payload = BYTES_LIT("m"), .qos = 1, .protocol = MQTT_5, .no_groups = true};
    bool matched;

    start(&x, workers);
    p.topic = bytes_str(x.topic);
    member = broker_client(&x.b, broker_id_at(&x.b, 0, 0));
    plain = broker_client(&x.b, broker_id_at(&x.b, 0, 1));
    peer_subscribed(member, x.filter, 1);
    peer_subscribed(plain, x.topic, 1);
    assert_int_equal(shard_publish(x.given.shard, &p, &matched), OK);
    settle(&x);
    peer_expect_publish(plain, x.topic, "m");
    assert_int_equal(peer_count_publishes(member), 0);
    broker_stop(&x.b);
}

/* Large ones, in a block of their own, too: nothing of it may stay. */
BROKER_TEST(what_no_link_takes_finds_another_way)
{
    struct scene x;
    struct peer *member;
    char large[3000];

    start(&x, workers);
    memset(large, 'l', sizeof large - 1);
    large[sizeof large - 1] = '\0';
    member = broker_client(&x.b, broker_id_at(&x.b, 0, 0));
    announce(&x, 5, true);
    up(&x, 5, true);
    x.given.is_deaf = true;
    peer_publish(x.publisher, x.topic, large, 1);
    peer_publish(x.publisher, x.topic, "small", 1);
    for (int i = 0; i < 10; i++) /* to and fro */
        for (uint32_t w = 0; w < x.b.worker_count; w++)
            broker_turn(&x.b, w);
    x.given.is_deaf = false;
    settle(&x);
    assert_int_equal(x.given.count, 2);
    x.given.is_deaf = true;
    peer_publish(x.publisher, x.topic, large, 1);
    peer_publish(x.publisher, x.topic, "small", 1);
    for (int i = 0; i < 3; i++)
        for (uint32_t w = 0; w < x.b.worker_count; w++)
            broker_turn(&x.b, w);
    peer_subscribe(member, x.filter, 1);
    settle(&x);
    assert_int_equal(peer_count_publishes(member), 2);
    x.given.is_deaf = false; /* what the member has not acknowledged leaves once more */
    broker_stop(&x.b);
}

/* A link that blocks holds up who publishes for such a group, and nobody else. */
BROKER_TEST(publisher_waits_while_a_link_blocks_if_a_group_may_need_it)
{
    struct scene x;
    struct peer *member;

    start(&x, workers);
    member = broker_client(&x.b, broker_id_at(&x.b, 0, 0));
    peer_subscribed(member, x.filter, 1);
    shard_links_full(x.given.shard, true);
    say(&x, "m");
    peer_expect_publish(member, x.topic, "m");
    announce(&x, 5, true);
    peer_publish(x.publisher, x.topic, "n", 1);
    for (int i = 0; i < 5; i++)
        for (uint32_t w = 0; w < x.b.worker_count; w++)
            broker_turn(&x.b, w);
    assert_int_equal(peer_count_publishes(member), 0);
    shard_links_full(x.given.shard, false);
    settle(&x);
    peer_expect_publish(member, x.topic, "n");
    broker_stop(&x.b);
}

/* At the group's home and elsewhere. */
BROKER_TEST(publishers_wait_when_the_backlog_for_a_remote_cluster_is_full)
{
    struct scene x;
    struct peer *near;
    char text[200];

    start(&x, workers);
    x.b.cluster->config.limits.group_queued = 20;
    near = broker_client(&x.b, broker_id_at(&x.b, workers - 1, 0)); /* lives at the home */
    announce(&x, 5, true);
    up(&x, 5, true);
    for (int i = 0; i < 2000; i++) {
        snprintf(text, sizeof text, "%0150d", i);
        peer_publish(i % 2 ? near : x.publisher, x.topic, text, 1);
    }
    settle(&x);
    assert_int_equal(x.given.count, 2000);
    assert_int_equal(BROKER_SUM(&x.b, dropped_group_full), 0);
    broker_stop(&x.b);
}

/* What is in the rings at the end is freed. */
BROKER_TEST(broker_that_stops_forgets_what_is_under_way)
{
    struct scene x;
    struct publish p = {.qos = 1, .protocol = MQTT_5, .group_hops = 1};
    char large[3000] = {0};

    start(&x, workers);
    announce(&x, 5, true);
    p.topic = bytes_str(x.topic);
    p.payload = bytes_of(large, sizeof large);
    peer_publish(x.publisher, x.topic, "m", 1);
    broker_turn(&x.b, 0);
    assert_int_equal(shard_publish_group(x.given.shard, 9, BYTES_LIT("g"), bytes_str(x.topic), &p),
                     OK);
    assert_int_equal(shard_link_group(x.given.shard, 6, BYTES_LIT("h"), bytes_str(x.topic), true),
                     OK);
    broker_stop(&x.b);
}
