/* tests/link/test_barriers.c -- SUBACKs that wait for remote clusters, and what waits for whom. */
#include "link/barriers.h"

#include "tests/link/worlds.h"

/* Alpha, whose SUBACKs wait, and beta, linked; alpha wants `topics`. */
struct pair {
    struct world *a, *b;
    struct wire *k; /* a client of alpha */
};

static struct pair pair(const char *topics, enum cfg_suback suback)
{
    struct pair p = {.a = world_make("alpha", 1001), .b = world_make("beta", 1002)};

    p.a->cfg.cluster.suback = suback;
    world_link(p.a, "beta", 1002, topics);
    world_link(p.b, "alpha", 1001, "#");
    world_start(p.a);
    world_start(p.b);
    worlds_pass(1000);
    p.k = client(p.a, "on-a");
    return p;
}

/* One cluster alone moves, until it has nothing to do. */
static void run_only(struct world *w)
{
    for (uint32_t i = 0; i < 20; i++)
        (void)world_turn(w);
}

/* Time passes for one cluster alone. */
static void pass_only(struct world *w, uint64_t ms)
{
    all.now_ms += ms;
    all.wall_ms += ms;
    run_only(w);
}

static void ask(struct wire *k, const char *filter)
{
    struct filter_request f = {.filter = bytes_str(filter), .qos = 1};
    uint8_t b[512];

    wire_send(k, b, subscribe_put(b, MQTT_5, 77, &f, 1, 0));
}

static void take_back(struct wire *k, const char *filter)
{
    struct bytes f = bytes_str(filter);
    uint8_t b[512];

    wire_send(k, b, unsubscribe_put(b, MQTT_5, 78, &f, 1));
}

LINK_TEST(suback_waits_until_the_remote_cluster_has_the_route)
{
    struct pair p = pair("#", SUBACK_LINKED);
    struct wire *far = client(p.b, "on-b");

    ask(p.k, "t/1");
    run_only(p.a);
    assert_null(wire_next(p.k));
    worlds_settle();
    assert_int_equal(wire_expect(p.k, PACKET_SUBACK)->suback.reasons.p[0], 1);
    publish(far, "t/1", "at once", 1);
    expect_publish(p.k, "t/1", "at once");
    assert_int_equal(WORLD_COUNT(p.a, link_subacks_late), 0);
    worlds_end();
}

LINK_TEST(suback_of_a_shared_subscription_waits_too)
{
    struct pair p = pair("#", SUBACK_LINKED);

    ask(p.k, "$share/g/t/1");
    run_only(p.a);
    assert_null(wire_next(p.k));
    worlds_settle();
    wire_expect(p.k, PACKET_SUBACK);
    worlds_end();
}

LINK_TEST(suback_does_not_wait_where_it_is_local)
{
    struct pair p = pair("#", SUBACK_LOCAL);

    ask(p.k, "t/1");
    run_only(p.a);
    wire_expect(p.k, PACKET_SUBACK);
    worlds_end();
}

LINK_TEST(suback_waits_two_seconds_at_the_most_and_that_is_counted)
{
    struct pair p = pair("#", SUBACK_LINKED);

    ask(p.k, "t/1");
    run_only(p.a);
    pass_only(p.a, BARRIERS_WAIT_MS - 50);
    assert_null(wire_next(p.k));
    pass_only(p.a, 100);
    wire_expect(p.k, PACKET_SUBACK);
    assert_int_equal(WORLD_COUNT(p.a, link_subacks_late), 1);
    worlds_settle();
    assert_null(wire_next(p.k));
    assert_int_equal(announced_filter_count(world_peer(p.b, "alpha")->announced), 1);
    worlds_end();
}

LINK_TEST(suback_of_a_second_subscriber_waits_like_the_first)
{
    struct pair p = pair("#", SUBACK_LINKED);
    struct wire *second = client(p.a, "second");

    ask(p.k, "t/1");
    run_only(p.a);
    ask(second, "t/1");
    run_only(p.a);
    assert_null(wire_next(second));
    worlds_settle();
    wire_expect(p.k, PACKET_SUBACK);
    wire_expect(second, PACKET_SUBACK);
    worlds_end();
}

LINK_TEST(suback_of_what_is_in_force_comes_at_once)
{
    struct pair p = pair("#", SUBACK_LINKED);
    struct wire *second = client(p.a, "second");

    subscribe(p.k, "t/1", 0);
    ask(p.k, "t/1");
    ask(second, "t/1");
    run_only(p.a);
    wire_expect(p.k, PACKET_SUBACK);
    wire_expect(second, PACKET_SUBACK);
    worlds_end();
}

LINK_TEST(suback_waits_again_for_what_was_withdrawn)
{
    struct pair p = pair("#", SUBACK_LINKED);

    subscribe(p.k, "t/1", 0);
    unsubscribe(p.k, "t/1");
    ask(p.k, "t/1");
    run_only(p.a);
    assert_null(wire_next(p.k));
    worlds_settle();
    wire_expect(p.k, PACKET_SUBACK);
    worlds_end();
}

LINK_TEST(suback_waits_while_a_withdrawal_is_on_its_way)
{
    struct pair p = pair("#", SUBACK_LINKED);

    subscribe(p.k, "t/1", 0);
    take_back(p.k, "t/1");
    run_only(p.a); /* beta has not read it */
    wire_expect(p.k, PACKET_UNSUBACK);
    ask(p.k, "t/1");
    run_only(p.a);
    assert_null(wire_next(p.k));
    worlds_settle();
    wire_expect(p.k, PACKET_SUBACK);
    worlds_end();
}

TEST(suback_does_not_wait_behind_a_cover_that_is_in_force)
{
    struct pair p;

    worlds_dialect = DIALECT_AUTO;
    p = pair("#", SUBACK_LINKED);
    subscribe(p.k, "t/#", 0);
    ask(p.k, "t/1");
    run_only(p.a);
    wire_expect(p.k, PACKET_SUBACK);
    worlds_end();
}

TEST(suback_waits_behind_a_cover_that_is_not_in_force)
{
    struct pair p;

    worlds_dialect = DIALECT_AUTO;
    p = pair("#", SUBACK_LINKED);
    ask(p.k, "t/#");
    run_only(p.a);
    ask(p.k, "t/1");
    run_only(p.a);
    assert_null(wire_next(p.k));
    worlds_settle();
    wire_expect(p.k, PACKET_SUBACK);
    wire_expect(p.k, PACKET_SUBACK);
    worlds_end();
}

LINK_TEST(suback_does_not_wait_for_who_is_not_concerned)
{
    struct pair p = pair("in/#", SUBACK_LINKED);

    ask(p.k, "out/1");
    run_only(p.a);
    wire_expect(p.k, PACKET_SUBACK);
    ask(p.k, "+/1");
    run_only(p.a);
    assert_null(wire_next(p.k));
    worlds_settle();
    wire_expect(p.k, PACKET_SUBACK);
    worlds_end();
}

LINK_TEST(suback_does_not_wait_for_who_is_not_connected)
{
    struct pair p = pair("#", SUBACK_LINKED);

    ask(p.k, "t/1");
    run_only(p.a);
    assert_null(wire_next(p.k));
    world_cut(p.b); /* while it is waited for */
    run_only(p.a);
    wire_expect(p.k, PACKET_SUBACK);
    ask(p.k, "t/2");
    run_only(p.a);
    wire_expect(p.k, PACKET_SUBACK);
    assert_int_equal(WORLD_COUNT(p.a, link_subacks_late), 0);
    worlds_end();
}

LINK_TEST(suback_does_not_wait_for_a_route_over_the_limit)
{
    struct world *a = world_make("alpha", 1001), *b = world_make("beta", 1002);
    struct wire *k;

    a->cfg.cluster.suback = SUBACK_LINKED;
    world_link(a, "beta", 1002, "#")->max_routes = 1;
    world_link(b, "alpha", 1001, "#");
    world_start(a);
    world_start(b);
    worlds_pass(1000);
    k = client(a, "on-a");
    subscribe(k, "t/1", 0);
    ask(k, "t/2");
    run_only(a);
    wire_expect(k, PACKET_SUBACK);
    assert_int_equal(WORLD_COUNT(a, link_subacks_late), 0);
    worlds_end();
}

LINK_TEST(unsubscribing_meanwhile_ends_the_wait)
{
    struct pair p = pair("#", SUBACK_LINKED);

    ask(p.k, "t/1");
    run_only(p.a);
    take_back(p.k, "t/1");
    run_only(p.a);
    wire_expect(p.k, PACKET_UNSUBACK);
    worlds_settle();
    wire_expect(p.k, PACKET_SUBACK);
    worlds_settle();
    assert_int_equal(announced_filter_count(world_peer(p.b, "alpha")->announced), 0);
    worlds_end();
}

LINK_TEST(disconnecting_meanwhile_does_no_harm)
{
    struct pair p = pair("#", SUBACK_LINKED);

    ask(p.k, "t/1");
    run_only(p.a);
    wire_drop(p.k);
    worlds_settle();
    worlds_pass(3000);
    assert_int_equal(WORLD_COUNT(p.a, subscriptions), /* beta's, for our answers */
                     worlds_called && strcmp(worlds_called, "beta") == 0 ? 0 : 1);
    assert_int_equal(announced_filter_count(world_peer(p.b, "alpha")->announced), 0);
    worlds_end();
}

LINK_TEST(publishing_is_not_held_up_by_a_suback_that_waits)
{
    struct pair p = pair("#", SUBACK_LINKED);
    struct publish_out out = {.topic = BYTES_LIT("t/1"), .payload = BYTES_LIT("own")};

    ask(p.k, "t/1");
    wire_publish(p.k, &out);
    run_only(p.a);
    expect_publish(p.k, "t/1", "own");
    worlds_settle();
    wire_expect(p.k, PACKET_SUBACK);
    worlds_end();
}

LINK_TEST(broker_ends_while_subacks_wait)
{
    struct pair p = pair("#", SUBACK_LINKED);

    ask(p.k, "t/1");
    run_only(p.a);
    ask(p.k, "t/2");
    ask(p.k, "$share/g/t/3");
    for (uint32_t worker = 0; worker < 2; worker++)
        (void)turn(p.a, worker);
    assert_null(wire_next(p.k));
    worlds_end();
}

/* One SUBSCRIBE with so many filters. */
static void ask_many(struct wire *k, uint32_t count)
{
    struct filter_request *f = calloc(count, sizeof(*f));
    char(*texts)[12] = calloc(count, sizeof(*texts));
    uint8_t *b = malloc(count * 16u);

    assert_non_null(f);
    assert_non_null(texts);
    assert_non_null(b);
    for (uint32_t i = 0; i < count; i++) {
        snprintf(texts[i], sizeof(texts[i]), "f%06u", i % 1000000);
        f[i].filter = bytes_str(texts[i]);
    }
    assert_in_range(subscribe_size(MQTT_5, f, count, 0), 1, count * 16u);
    wire_send(k, b, subscribe_put(b, MQTT_5, 77, f, count, 0));
    free(b);
    free(texts);
    free(f);
}

TEST(questions_beyond_the_bound_wait_for_nobody)
{
    for (uint32_t extra = 0; extra < 2; extra++) {
        struct pair p;

        worlds_dialect = DIALECT_AUTO;
        p = pair("#", SUBACK_LINKED);
        ask_many(p.k, BARRIERS_MAX + extra);
        for (uint32_t i = 0; i < 100; i++) /* all are asked before beta moves */
            run_only(p.a);
        assert_null(wire_next(p.k));
        worlds_settle();
        assert_int_equal(wire_expect(p.k, PACKET_SUBACK)->suback.reasons.n, BARRIERS_MAX + extra);
        assert_int_equal(WORLD_COUNT(p.a, link_subacks_late), extra);
        worlds_end();
    }
}

/* The owner of every filter of beta is its worker for clients: while that does not run, nobody who
 * publishes there would find the route. */
TEST(routes_are_acknowledged_when_every_worker_sees_them)
{
    struct pair p;

    worlds_dialect = DIALECT_AUTO;
    p = pair("#", SUBACK_LINKED);
    ask(p.k, "t/1");
    run_only(p.a);
    for (uint32_t i = 0; i < 20; i++) {
        (void)turn(p.b, WORLD_LINKS);
        run_only(p.a);
    }
    assert_int_equal(announced_filter_count(world_peer(p.b, "alpha")->announced), 1);
    assert_null(wire_next(p.k));
    (void)turn(p.b, WORLD_CLIENTS);
    (void)turn(p.b, WORLD_LINKS);
    run_only(p.a);
    wire_expect(p.k, PACKET_SUBACK);
    worlds_end();
}
