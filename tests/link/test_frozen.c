/* tests/link/test_frozen.c -- routes of a cluster that is away: they stay, and messages wait. */
#include "tests/link/worlds.h"

static struct world *a, *b;

/* Alpha and beta are linked, and alpha keeps what waits for `queue_age` seconds. */
static void two(uint32_t queue_age)
{
    a = world_make("alpha", 1001);
    b = world_make("beta", 1002);
    world_link(a, "beta", 1002, "#")->queue_age = queue_age;
    world_link(b, "alpha", 1001, "#");
    world_start(a);
    world_start(b);
    worlds_pass(1000);
}

/* Both processes live, and neither reaches the other. */
static void part(void)
{
    a->port = b->port = 0;
    for (uint32_t i = 0; i < all.wire_count; i++)
        if (all.wire[i]->world[0] && all.wire[i]->stream[0])
            wire_drop(all.wire[i]);
    worlds_settle();
}

static void meet(void)
{
    a->port = 1001;
    b->port = 1002;
}

static uint32_t filters_of_beta(void)
{
    return announced_filter_count(world_peer(a, "beta")->announced);
}

LINK_TEST(what_is_published_while_a_cluster_is_long_away_comes_in_order_and_once)
{
    struct wire *ka, *kb;
    char text[16];

    two(86400);
    ka = client(a, "on-a");
    kb = client(b, "on-b");
    subscribe(kb, "t", 1);
    worlds_settle();
    part();
    for (int i = 0; i < 20; i++) {
        worlds_pass(ANNOUNCED_TTL_MS / 4);
        snprintf(text, sizeof(text), "%d", i);
        publish(ka, "t", text, 1);
    }
    assert_int_equal(filters_of_beta(), 1);
    assert_null(wire_next(kb));
    meet();
    worlds_pass(20000);
    for (int i = 0; i < 20; i++) {
        snprintf(text, sizeof(text), "%d", i);
        expect_publish(kb, "t", text);
    }
    assert_null(wire_next(kb));
    assert_true(world_said(a, "5 link routes kept|beta|no connection stands|1 routes stay"));
    assert_false(world_said(a, "link routes expired"));
    worlds_end();
}

/* It was not told that they are, so they are not announced again. */
LINK_TEST(what_is_withdrawn_while_a_cluster_is_long_away_is_withdrawn_at_its_return)
{
    struct wire *kb;

    two(86400);
    kb = client(b, "on-b");
    subscribe(kb, "old", 1);
    subscribe(kb, "new/1", 1);
    worlds_settle();
    part();
    worlds_pass(3 * ANNOUNCED_TTL_MS);
    unsubscribe(kb, "old");
    subscribe(kb, "new/2", 1);
    assert_int_equal(filters_of_beta(), 2);
    meet();
    worlds_pass(20000 + ANNOUNCED_SETTLE_MS);
    assert_int_equal(filters_of_beta(), 2);
    publish(client(a, "on-a"), "new/2", "x", 1);
    expect_publish(kb, "new/2", "x");
    publish(client(a, "on-a"), "old", "x", 1);
    assert_int_equal(world_waiting(a, "beta"), 0);
    assert_null(wire_next(kb));
    worlds_end();
}

LINK_TEST(routes_of_a_cluster_that_is_away_go_after_queue_age)
{
    enum { AGE_S = 120 };

    two(AGE_S);
    subscribe(client(b, "on-b"), "t", 1);
    worlds_settle();
    part();
    worlds_pass(AGE_S * 1000 - 1000);
    assert_int_equal(filters_of_beta(), 1);
    worlds_pass(PEER_HEARD_MS + 2000);
    assert_int_equal(filters_of_beta(), 0);
    assert_true(world_said(a, "4 link routes expired|beta"));
    meet();
    worlds_pass(20000);
    assert_int_equal(filters_of_beta(), 1);
    worlds_end();
}

/* All processes stand still, as on a machine that is paused. */
static void stand_still(uint64_t ms)
{
    all.now_ms += ms;
    all.wall_ms += ms;
    worlds_settle();
}

LINK_TEST(routes_stay_when_it_is_us_who_did_not_run)
{
    static const uint64_t pauses_ms[] = {ANNOUNCED_TTL_MS + 1, 3 * ANNOUNCED_TTL_MS};
    struct wire *ka, *kb;

    two(86400);
    ka = client(a, "on-a");
    kb = client(b, "on-b");
    subscribe(kb, "t", 1);
    worlds_settle();
    for (int i = 0; i < 2; i++) {
        stand_still(pauses_ms[i]);
        publish(ka, "t", "x", 1);
        worlds_pass(20000);
        expect_publish(kb, "t", "x");
        assert_null(wire_next(kb));
    }
    assert_false(world_said(a, "link routes expired"));
    worlds_end();
}

/* Also where queue_age is less than the time in which a cluster that is there must be heard of. */
LINK_TEST(routes_stay_for_a_short_absence_whatever_queue_age_is)
{
    two(1);
    subscribe(client(b, "on-b"), "t", 1);
    worlds_settle();
    part();
    worlds_pass(ANNOUNCED_TTL_MS - ANNOUNCER_BEAT_MS - 2000);
    assert_int_equal(filters_of_beta(), 1);
    worlds_pass(ANNOUNCER_BEAT_MS + 4000);
    assert_int_equal(filters_of_beta(), 0);
    worlds_end();
}

/* Of a new life all is announced again, and what it does not want any more goes. */
LINK_TEST(routes_of_before_go_when_a_new_life_returns_after_long)
{
    two(86400);
    subscribe(client(b, "on-b"), "old", 1);
    worlds_settle();
    world_kill(b);
    worlds_pass(10 * ANNOUNCED_TTL_MS);
    assert_int_equal(filters_of_beta(), 1);
    world_start(b);
    subscribe(client(b, "on-b"), "new", 1);
    worlds_pass(20000 + ANNOUNCER_BEAT_MS + ANNOUNCED_SETTLE_MS);
    assert_int_equal(filters_of_beta(), 1);
    publish(client(a, "on-a"), "old", "x", 1);
    assert_int_equal(world_waiting(a, "beta"), 0);
    assert_int_equal(WORLD_COUNT(a, link_messages_sent), 0);
    worlds_end();
}
