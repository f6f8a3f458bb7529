/* tests/core/broker/test_link_routes.c -- what links want, and when it is in force. */
#include <stdio.h>
#include <stdlib.h>

#include "core/base/epoch.h"
#include "core/broker/state.h"
#include "tests/support/broker.h"
#include "tests/support/test.h"

/* The link worker of a test, and what came to its links: their bits. */
struct heard {
    struct shard *shard;
    uint64_t links;
    uint32_t count;
};

static bool on_forward(void *link, const struct publish *p, uint64_t links)
{
    struct heard *h = link;

    (void)p;
    h->links = links;
    h->count++;
    return true;
}

/* `workers` for clients and one for links, which is the last; its rings are small. */
static void start(struct broker *b, struct heard *h, uint32_t workers)
{
    struct shard_hooks hooks = {.link = h, .forward = on_forward};

    memset(h, 0, sizeof *h);
    broker_init(b, workers);
    b->config.link_workers = 1;
    b->config.ring_bytes[MAIL_REQUEST] = b->config.ring_bytes[MAIL_ANSWER] = 4096;
    broker_start(b);
    h->shard = cluster_shard(b->cluster, workers);
    shard_set_hooks(h->shard, &hooks);
}

/* All goes on until nobody has work. */
static void settle(struct broker *b)
{
    b->is_woken[b->worker_count - 1] = true;
    broker_settle(b);
}

static uint64_t filters_in(const struct broker *b)
{
    uint64_t n = index_count(b->cluster->leading);

    for (uint32_t i = 0; i < b->config.workers; i++)
        n += index_count(b->cluster->index[i]);
    return n;
}

/* Which links get a message of this topic. */
static uint64_t forwarded(struct broker *b, struct heard *h, struct peer *p, const char *topic)
{
    h->links = 0;
    peer_publish(p, topic, "x", 0);
    broker_settle(b);
    return h->links;
}

static void want(struct heard *h, const char *filter, bool is_added)
{
    assert_int_equal(shard_link_route(h->shard, 0, bytes_str(filter), is_added), OK);
}

TEST(routes_are_in_force_when_their_owners_have_answered)
{
    struct broker b;
    struct heard h;
    uint64_t asked;

    start(&b, &h, 2);
    assert_true(shard_link_routes_in_force(h.shard, shard_link_routes_asked(h.shard)));
    want(&h, broker_topic_at(&b, 0, 0), true);
    want(&h, broker_topic_at(&b, 1, 0), true);
    asked = shard_link_routes_asked(h.shard);
    broker_turn(&b, 2);
    broker_turn(&b, 0);
    broker_turn(&b, 2);
    assert_false(shard_link_routes_in_force(h.shard, asked));
    broker_turn(&b, 1);
    broker_turn(&b, 2);
    assert_true(shard_link_routes_in_force(h.shard, asked));
    broker_stop(&b);
}

TEST(routes_come_into_force_while_more_are_asked_for_all_the_time)
{
    struct broker b;
    struct heard h;
    uint64_t asked, waits = 0, rounds = 0;
    char filter[32];

    start(&b, &h, 2);
    want(&h, "first", true);
    asked = shard_link_routes_asked(h.shard);
    for (uint32_t i = 0; i < 300; i++) {
        snprintf(filter, sizeof filter, "f/%u", i);
        want(&h, filter, true); /* there is always one that is open */
        assert_false(shard_link_routes_in_force(h.shard, shard_link_routes_asked(h.shard)));
        broker_turn(&b, 2);
        broker_turn(&b, i % 2);
        if (shard_link_routes_in_force(h.shard, asked)) {
            asked = shard_link_routes_asked(h.shard);
            rounds++;
            waits = 0;
        }
        assert_true(++waits < 20);
    }
    assert_true(rounds > 20);
    b.is_woken[0] = b.is_woken[1] = b.is_woken[2] = true;
    broker_settle(&b);
    assert_true(shard_link_routes_in_force(h.shard, asked));
    broker_stop(&b);
}

TEST(route_that_is_withdrawn_or_comes_back_is_not_waited_for_in_vain)
{
    struct broker b;
    struct heard h;
    const char *topic;
    uint64_t asked;

    start(&b, &h, 2);
    topic = broker_topic_at(&b, 1, 0);
    want(&h, topic, true);
    asked = shard_link_routes_asked(h.shard);
    want(&h, topic, false);
    broker_settle(&b);
    b.is_woken[2] = true;
    broker_settle(&b);
    assert_true(shard_link_routes_in_force(h.shard, asked));
    want(&h, topic, true);
    broker_turn(&b, 2);
    broker_turn(&b, 1);
    broker_turn(&b, 2);
    want(&h, topic, false);
    want(&h, topic, true); /* while it is taken back */
    asked = shard_link_routes_asked(h.shard);
    assert_false(shard_link_routes_in_force(h.shard, asked));
    want(&h, topic, false); /* and no longer */
    broker_turn(&b, 2);
    broker_turn(&b, 1);
    broker_turn(&b, 2);
    assert_true(shard_link_routes_in_force(h.shard, asked));
    broker_stop(&b);
}

/* ---- batches ---- */

static enum err want_number(struct heard *h, uint32_t n, bool is_added)
{
    char filter[64];

    snprintf(filter, sizeof filter, n % 10 ? "site/%02u/dev/%07u" : "site/%02u/+/%07u", n % 100, n);
    return shard_link_route(h->shard, 0, bytes_str(filter), is_added);
}

/* Asks for all up to `count`, as often as it takes. */
static void want_many(struct broker *b, struct heard *h, uint32_t count, bool is_added)
{
    for (uint32_t n = 0; n < count; n++)
        while (want_number(h, n, is_added) != OK)
            settle(b);
    settle(b);
}

BROKER_TEST(many_routes_come_into_the_index_and_leave_it)
{
    struct broker b;
    struct heard h;

    start(&b, &h, workers);
    want_many(&b, &h, 50000, true);
    assert_int_equal(filters_in(&b), 50000);
    assert_true(shard_link_routes_in_force(h.shard, shard_link_routes_asked(h.shard)));
    want_many(&b, &h, 50000, false);
    assert_int_equal(filters_in(&b), 0);
    broker_stop(&b);
}

TEST(owner_does_a_bounded_number_of_operations_in_a_turn)
{
    struct broker b;
    struct heard h;
    uint32_t count = 0;

    start(&b, &h, 1);
    while (want_number(&h, count, true) == OK)
        count++;
    for (uint64_t before = 0, now; before < count; before = now) {
        broker_turn(&b, 1); /* it must take the answers */
        broker_turn(&b, 0);
        now = filters_in(&b);
        assert_in_range(now, before + 1, before + 256);
    }
    broker_stop(&b);
}

TEST(too_many_operations_on_their_way_are_refused_until_owners_have_answered)
{
    struct broker b;
    struct heard h;
    uint32_t count = 0;

    start(&b, &h, 1);
    while (count < 1000000 && want_number(&h, count, true) == OK)
        count++;
    assert_in_range(count, 10000, 100000);
    assert_int_equal(want_number(&h, count, true), ERR_FULL);
    settle(&b);
    assert_int_equal(want_number(&h, count, true), OK);
    settle(&b);
    assert_int_equal(filters_in(&b), count + 1);
    broker_stop(&b);
}

BROKER_TEST(last_operation_on_a_filter_is_what_stands)
{
    static const char *const filters[] = {"a", "a/b", "+/b", "a/+/c", "#"};
    struct broker b;
    struct heard h;

    start(&b, &h, workers);
    for (uint32_t round = 0; round < 20; round++) {
        bool is_added = round % 2;

        for (uint32_t i = 0; i < 5; i++) {
            want(&h, filters[i], false); /* the first time there is none */
            want(&h, filters[i], true);
            want(&h, filters[i], true);
            if (!is_added)
                want(&h, filters[i], false);
        }
        settle(&b);
        assert_int_equal(filters_in(&b), is_added ? 5 : 0);
    }
    broker_stop(&b);
}

TEST(filter_of_any_length_has_room)
{
    uint8_t *text = malloc(TOPIC_BYTES_MAX);
    struct broker b;
    struct heard h;

    assert_non_null(text);
    start(&b, &h, 2);
    for (uint32_t n = 3900; n <= TOPIC_BYTES_MAX; n = n < 4100 ? n + 1 : n + 6143) {
        struct bytes filter = bytes_of(memset(text, 'x', n), n);

        want(&h, "small", true);
        assert_int_equal(shard_link_route(h.shard, 1, filter, true), OK);
        settle(&b);
        assert_int_equal(filters_in(&b), 2);
        assert_int_equal(shard_link_route(h.shard, 1, filter, false), OK);
        want(&h, "small", false);
        settle(&b);
        assert_int_equal(filters_in(&b), 0);
    }
    free(text);
    broker_stop(&b);
}

BROKER_TEST(message_goes_to_all_links_that_want_it_and_to_no_other)
{
    struct broker b;
    struct heard h;
    struct peer *p;

    start(&b, &h, workers);
    p = broker_client(&b, broker_id_at(&b, 0, 0));
    assert_int_equal(shard_link_route(h.shard, 0, BYTES_LIT("a/b"), true), OK);
    assert_int_equal(shard_link_route(h.shard, 63, BYTES_LIT("a/b"), true), OK);
    assert_int_equal(shard_link_route(h.shard, 5, BYTES_LIT("a/+"), true), OK);
    assert_int_equal(shard_link_route(h.shard, 63, BYTES_LIT("#"), true), OK);
    settle(&b);
    assert_true(forwarded(&b, &h, p, "a/b") == (1ull << 63 | 1u << 5 | 1u));
    assert_true(forwarded(&b, &h, p, "a/c") == (1ull << 63 | 1u << 5));
    assert_int_equal(h.count, 2);
    assert_int_equal(shard_link_route(h.shard, 63, BYTES_LIT("#"), false), OK);
    assert_int_equal(shard_link_route(h.shard, 0, BYTES_LIT("a/b"), false), OK);
    settle(&b);
    assert_true(forwarded(&b, &h, p, "a/b") == (1ull << 63 | 1u << 5));
    assert_true(forwarded(&b, &h, p, "b") == 0);
    assert_int_equal(h.count, 3);
    broker_stop(&b);
}

TEST(links_get_one_message_however_many_of_their_filters_match)
{
    struct broker b;
    struct heard h;
    struct peer *p;
    char filter[64];

    start(&b, &h, 1);
    p = broker_client(&b, "c1");
    for (uint32_t i = 0; i < 16; i++) {
        snprintf(filter, sizeof filter, "%s/%s/%s/%s", i & 1 ? "+" : "a", i & 2 ? "+" : "b",
                 i & 4 ? "+" : "c", i & 8 ? "+" : "d");
        assert_int_equal(shard_link_route(h.shard, i, bytes_str(filter), true), OK);
        assert_int_equal(shard_link_route(h.shard, 16, bytes_str(filter), true), OK);
    }
    settle(&b);
    assert_true(forwarded(&b, &h, p, "a/b/c/d") == 0x1ffff);
    assert_int_equal(h.count, 1);
    broker_stop(&b);
}

/* ---- where memory ends ---- */

TEST(route_without_memory_is_counted_and_may_be_withdrawn)
{
    struct broker b;
    struct heard h;
    uint64_t asked;

    start(&b, &h, 1);
    index_limit(b.cluster->index[0], 0);
    want(&h, "a", true);
    want(&h, "b", true);
    asked = shard_link_routes_asked(h.shard);
    settle(&b);
    assert_true(shard_link_routes_in_force(h.shard, asked)); /* nobody can have them */
    assert_int_equal(BROKER_SUM(&b, link_routes_memory), 2);
    index_limit(b.cluster->index[0], UINT64_MAX);
    want(&h, "a", false);
    want(&h, "b", true);
    settle(&b);
    assert_int_equal(BROKER_SUM(&b, link_routes_memory), 2);
    assert_int_equal(filters_in(&b), 1);
    broker_stop(&b);
}

TEST(route_waits_until_what_was_taken_away_is_freed)
{
    struct broker b;
    struct heard h;

    start(&b, &h, 1);
    epoch_retire(b.cluster->epoch, 0, malloc((64u << 20) + 1), (64u << 20) + 1);
    want(&h, "a", true);
    broker_turn(&b, 1);
    broker_turn(&b, 0);
    assert_int_equal(filters_in(&b), 0);
    settle(&b); /* nobody reads it any more */
    assert_int_equal(filters_in(&b), 1);
    assert_int_equal(BROKER_SUM(&b, link_routes_memory), 0);
    broker_stop(&b);
}

TEST(cluster_ends_with_routes_on_their_way)
{
    for (uint32_t turns = 0; turns < 8; turns++) {
        struct broker b;
        struct heard h;
        uint32_t count = 0;

        start(&b, &h, 2);
        while (want_number(&h, count, true) == OK)
            count++;
        for (uint32_t i = 0; i < turns; i++)
            broker_turn(&b, i % 2 ? i / 2 % 2 : 2);
        cluster_destroy(b.cluster);
        broker_forget_peers(&b);
    }
}
