/* tests/core/broker/test_keep.c -- stamps of retained messages, and what other clusters retain. */
#include <stdio.h>

#include "core/broker/state.h"
#include "tests/support/broker.h"
#include "tests/support/test.h"

static const struct link_rules links[] = {{.name = "x"}, {.name = "y"}};

/* What a link worker hears of, and what is answered to it. */
struct heard {
    uint32_t forwarded, found, removed, ends;
    bool is_last;
    uint64_t stamp; /* of the last one */
};

static bool on_forward(void *link, const struct publish *p, uint64_t routes)
{
    struct heard *h = link;

    assert_int_equal(routes, 0);
    h->forwarded++;
    h->stamp = p->sequence;
    return true;
}

static void on_retained(void *link, uint32_t number, struct publish *p)
{
    struct heard *h = link;

    assert_int_equal(number, 1);
    *(p->payload.n ? &h->found : &h->removed) += 1;
    h->stamp = p->sequence;
}

static void on_end(void *link, uint32_t number, bool is_last)
{
    struct heard *h = link;

    assert_int_equal(number, 1);
    h->ends++;
    h->is_last = is_last;
}

struct stage {
    struct broker b;
    struct peer *p;
    struct shard *link;
    struct heard heard;
};

static void start(struct stage *s, uint32_t workers)
{
    struct shard_hooks hooks = {
        .forward = on_forward, .retained = on_retained, .retained_end = on_end, .link = &s->heard};

    s->heard = (struct heard){0};
    broker_init(&s->b, workers);
    s->b.config.link_workers = 1;
    s->b.config.links = links;
    s->b.config.link_count = 2;
    s->b.config.cluster_name = "us";
    s->b.wall_ms = 1800000000000u;
    broker_start(&s->b);
    s->link = cluster_shard(s->b.cluster, workers);
    shard_set_hooks(s->link, &hooks);
    shard_retained_feed(s->link);
    s->p = broker_client(&s->b, broker_id_at(&s->b, workers - 1, 0));
}

static void put(struct stage *s, const char *topic, const char *payload, uint64_t stamp)
{
    struct publish p = {.topic = bytes_str(topic),
                        .payload = bytes_str(payload),
                        .sequence = stamp,
                        .retain = true,
                        .protocol = MQTT_5};

    assert_int_equal(shard_retained_put(s->link, 1, &p), OK);
    s->b.is_woken[s->link->number] = true;
    broker_settle(&s->b);
}

/* Asks for all, slice by slice. */
static void ask(struct stage *s)
{
    s->heard = (struct heard){0};
    assert_int_equal(shard_retained_ask(s->link, 1, BYTES_LIT("#")), OK);
    assert_int_equal(shard_retained_ask(s->link, 1, BYTES_LIT("#")), ERR_FULL);
    while (!s->heard.is_last) {
        uint32_t before = s->heard.ends;

        s->b.is_woken[s->link->number] = true;
        broker_settle(&s->b);
        assert_int_equal(s->heard.ends, before + 1);
        if (!s->heard.is_last)
            shard_retained_more(s->link, 1);
    }
}

BROKER_TEST(link_worker_hears_of_retained_messages_that_nobody_wants)
{
    uint64_t before;
    struct stage s;

    start(&s, workers);
    before = shard_retained_stamp(s.link);
    peer_retain(s.p, "a", "1", 0);
    broker_settle(&s.b);
    assert_int_equal(s.heard.forwarded, 1);
    assert_true(s.heard.stamp > before);
    before = s.heard.stamp;
    peer_retain(s.p, "a", "", 0);
    peer_publish(s.p, "a", "not retained", 0);
    broker_settle(&s.b);
    assert_int_equal(s.heard.forwarded, 2);
    assert_true(s.heard.stamp > before);
    broker_stop(&s.b);
}

BROKER_TEST(later_stamp_wins_and_only_changes_are_told)
{
    struct peer *q;
    struct stage s;
    uint64_t now;

    start(&s, workers);
    q = broker_client(&s.b, broker_id_at(&s.b, 0, 1));
    peer_subscribed(q, "#", 0);
    now = shard_retained_stamp(s.link);
    put(&s, "t", "new", now + 2);
    peer_expect_publish(q, "t", "new");
    put(&s, "t", "new", now + 2);
    put(&s, "t", "old", now + 1);
    put(&s, "t", "", now);
    peer_expect_nothing(q);
    peer_retain(s.p, "t", "ours", 0); /* later than all that has come */
    broker_settle(&s.b);
    peer_expect_publish(q, "t", "ours");
    put(&s, "t", "theirs", now + 3);
    peer_expect_nothing(q);
    put(&s, "t", "", s.heard.stamp + 1);
    peer_expect_publish(q, "t", "");
    put(&s, "t", "late", s.heard.stamp + 1);
    put(&s, "t", "", s.heard.stamp + 2);
    peer_expect_nothing(q);
    assert_int_equal(BROKER_SUM(&s.b, retained_counted), 0);
    assert_int_equal(BROKER_SUM(&s.b, tombstones), 1);
    broker_stop(&s.b);
}

BROKER_TEST(of_two_values_with_one_stamp_the_same_one_stays_in_any_order)
{
    struct stage s;
    uint64_t stamp;

    start(&s, workers);
    stamp = shard_retained_stamp(s.link);
    put(&s, "t", "b", stamp);
    put(&s, "t", "a", stamp);
    put(&s, "u", "a", stamp);
    put(&s, "u", "b", stamp);
    peer_subscribed(s.p, "t", 0);
    peer_expect_publish(s.p, "t", "b");
    peer_subscribed(s.p, "u", 0);
    peer_expect_publish(s.p, "u", "b");
    put(&s, "u", "", stamp);
    peer_expect_publish(s.p, "u", "");
    put(&s, "u", "b", stamp);
    peer_expect_nothing(s.p);
    broker_stop(&s.b);
}

BROKER_TEST(link_is_answered_in_slices_with_what_was_removed)
{
    struct stage s;
    char topic[16];

    start(&s, workers);
    for (uint32_t i = 0; i < 500; i++) {
        snprintf(topic, sizeof topic, "t/%u", i);
        peer_retain(s.p, topic, "x", 0);
        if (i % 5 == 0)
            peer_retain(s.p, topic, "", 0);
    }
    broker_settle(&s.b);
    ask(&s);
    assert_int_equal(s.heard.found, 400);
    assert_int_equal(s.heard.removed, 100);
    assert_true(s.heard.ends >= 500 / RETAINED_SLICE_MAX);
    assert_int_equal(shard_retained_ask(s.link, 1, BYTES_LIT("#")), OK);
    shard_retained_stop(s.link, 1);
    s.heard = (struct heard){0};
    s.b.is_woken[workers] = true;
    broker_settle(&s.b);
    assert_int_equal(s.heard.found + s.heard.ends, 0);
    ask(&s); /* the one that was stopped is over */
    broker_stop(&s.b);
}

TEST(removals_are_remembered_up_to_a_bound)
{
    struct stage s;
    char topic[16];

    start(&s, 1);
    for (uint32_t i = 0; i < TOMBSTONES_MAX + 10; i++) {
        snprintf(topic, sizeof topic, "t/%u", i);
        peer_retain(s.p, topic, "", 0);
        if (i % 1000 == 0)
            broker_settle(&s.b);
    }
    broker_settle(&s.b);
    assert_int_equal(BROKER_SUM(&s.b, tombstones), TOMBSTONES_MAX);
    assert_int_equal(BROKER_SUM(&s.b, dropped_tombstones), 10);
    broker_pass(&s.b, BROKER_LATE(TOMBSTONE_MS));
    s.b.is_woken[0] = true;
    broker_settle(&s.b);
    assert_int_equal(BROKER_SUM(&s.b, tombstones), 0);
    broker_stop(&s.b);
}
