/* tests/link/test_links.c -- whole clusters in memory, linked. */
#include "tests/link/worlds.h"

/* A and B, each with a link to the other; both want `topics_*` of the other. */
static void pair(struct world **a, struct world **b, const char *a_wants, const char *b_wants)
{
    *a = world_make("alpha", 1001);
    *b = world_make("beta", 1002);
    world_link(*a, "beta", 1002, a_wants);
    world_link(*b, "alpha", 1001, b_wants);
    world_start(*a);
    world_start(*b);
    worlds_pass(1000);
}

LINK_TEST(links_come_up_and_say_so)
{
    struct world *a, *b;
    struct wire *k;

    pair(&a, &b, "#", "#");
    assert_true(world_said(a, "5 link up|beta|"));
    assert_true(world_said(b, "5 link up|alpha|"));
    k = client(a, "watcher");
    subscribe(k, "$SYS/broker/connection/#", 0);
    expect_publish(k, "$SYS/broker/connection/beta/state", "1");
    world_kill(b);
    worlds_settle();
    expect_publish(k, "$SYS/broker/connection/beta/state", "0");
    assert_true(world_said(a, "4 link down|beta|"));
    free(b);
    worlds_end();
}

static void subscribe_no_local(struct wire *k, const char *filter)
{
    struct filter_request f = {.filter = bytes_str(filter), .qos = 1, .no_local = true};
    uint8_t b[512];

    wire_send(k, b, subscribe_put(b, MQTT_5, 77, &f, 1, 0));
    worlds_settle();
    wire_expect(k, PACKET_SUBACK);
}

LINK_TEST(no_local_holds_for_a_client_that_publishes_in_another_cluster)
{
    struct world *a, *b;
    struct wire *here, *other, *there;

    pair(&a, &b, "#", "#");
    here = client(a, "moves");
    other = client(a, "stays");
    there = client(b, "moves");
    subscribe_no_local(here, "t/#");
    subscribe_no_local(other, "t/#");
    worlds_settle();
    for (uint8_t qos = 0; qos < 2; qos++) {
        publish(there, "t/1", "own", qos);
        expect_publish(other, "t/1", "own");
        assert_null(wire_next(here)); /* [MQTT-3.8.3-3] */
        publish(other, "t/1", "others", 0);
        expect_publish(here, "t/1", "others");
    }
    subscribe_no_local(here, "t/+"); /* by two filters at once */
    publish(there, "t/1", "own", 1);
    expect_publish(other, "t/1", "own");
    assert_null(wire_next(here));
    subscribe(here, "t/1", 1); /* this one wants it */
    publish(there, "t/1", "own", 1);
    expect_publish(here, "t/1", "own");
    assert_null(wire_next(here));
    worlds_end();
}

LINK_TEST(links_carry_messages_both_ways_once)
{
    struct world *a, *b;
    struct wire *ka, *kb;

    pair(&a, &b, "#", "#");
    ka = client(a, "on-a");
    kb = client(b, "on-b");
    subscribe(ka, "back/#", 1);
    subscribe(kb, "to/+", 1);
    worlds_settle();
    for (uint8_t qos = 0; qos < 2; qos++) {
        publish(ka, "to/b", "hello", qos);
        expect_publish(kb, "to/b", "hello");
        publish(kb, "back/a", "thanks", qos);
        expect_publish(ka, "back/a", "thanks");
    }
    publish(ka, "other/b", "nobody", 1);
    worlds_settle();
    assert_null(wire_next(ka));
    assert_null(wire_next(kb));
    assert_int_equal(WORLD_COUNT(a, link_messages_sent), 2);
    assert_int_equal(WORLD_COUNT(b, link_messages_received), 2);
    worlds_end();
}

LINK_TEST(links_send_one_copy_for_many_filters_and_groups)
{
    struct world *a, *b;
    struct wire *ka, *k1, *k2;

    pair(&a, &b, "#", "#");
    ka = client(a, "on-a");
    k1 = client(b, "b1");
    k2 = client(b, "b2");
    subscribe(k1, "t/#", 0);
    subscribe(k2, "t/+", 0);
    subscribe(k2, "$share/g/t/1", 0);
    worlds_settle();
    publish(ka, "t/1", "x", 1);
    expect_publish(k1, "t/1", "x");
    expect_publish(k2, "t/1", "x");
    expect_publish(k2, "t/1", "x"); /* the group's */
    assert_null(wire_next(k1));
    assert_null(wire_next(k2));
    assert_int_equal(WORLD_COUNT(a, link_messages_sent), 1);
    worlds_end();
}

LINK_TEST(links_follow_subscriptions)
{
    struct world *a, *b;
    struct wire *ka, *kb;

    pair(&a, &b, "", "in/#");
    ka = client(a, "on-a");
    kb = client(b, "on-b");
    subscribe(kb, "#", 0);
    worlds_settle();
    publish(ka, "in/1", "1", 1);
    expect_publish(kb, "in/1", "1");
    publish(ka, "out/1", "2", 1);
    assert_null(wire_next(kb));
    unsubscribe(kb, "#");
    worlds_settle();
    publish(ka, "in/1", "3", 1);
    assert_int_equal(WORLD_COUNT(a, link_messages_sent), 1);
    assert_int_equal(announced_filter_count(world_peer(a, "beta")->announced), 0);
    worlds_end();
}

LINK_TEST(link_that_wants_nothing_stays_connected_and_gives)
{
    struct world *a, *b;
    struct wire *ka, *kb, *publisher_a, *publisher_b;

    pair(&a, &b, "", "#");
    ka = client(a, "on-a");
    kb = client(b, "on-b");
    publisher_a = client(a, "publisher-a");
    publisher_b = client(b, "publisher-b");
    subscribe(ka, "#", 0);
    subscribe(kb, "#", 0);
    worlds_pass(60000);
    assert_true(world_tells(a, "beta"));
    assert_int_equal(announced_actor_count(world_peer(b, "alpha")->announced), 1);
    assert_int_equal(announced_filter_count(world_peer(b, "alpha")->announced), 0);
    publish(publisher_b, "x", "stays", 1);
    expect_publish(kb, "x", "stays");
    assert_null(wire_next(ka));
    publish(publisher_a, "x", "goes", 1);
    expect_publish(ka, "x", "goes");
    expect_publish(kb, "x", "goes");
    worlds_end();
}

LINK_TEST(links_keep_properties_retain_flag_and_expiry)
{
    static const uint8_t props[] = {0x01, 1,   0x03, 0, 1,   'c',  0x08, 0, 1,   'r', 0x26, 0,
                                    1,    'k', 0,    1, 'v', 0x26, 0,    1, 'k', 0,   1,    'w'};
    struct publish_out p = {.qos = 1,
                            .packet_id = 5,
                            .retain = true,
                            .topic = BYTES_LIT("t"),
                            .payload = BYTES_LIT("x"),
                            .props = bytes_of(props, sizeof(props)),
                            .has_expiry = true,
                            .message_expiry = 100};
    struct bytes rest, name, value;
    const struct packet *got;
    struct world *a, *b;
    struct wire *ka, *kb, *late;

    pair(&a, &b, "#", "#");
    ka = client(a, "on-a");
    kb = client(b, "on-b");
    subscribe(kb, "t", 1);
    worlds_settle();
    wire_publish(ka, &p);
    worlds_settle();
    got = wire_expect(kb, PACKET_PUBLISH);
    assert_true(got->publish.retain); /* retain as published */
    assert_int_equal(got->publish.qos, 1);
    assert_int_equal(got->publish.props.payload_format, 1);
    assert_int_equal(got->publish.props.message_expiry, 100);
    assert_true(bytes_eq(got->publish.props.content_type, BYTES_LIT("c")));
    assert_true(bytes_eq(got->publish.props.response_topic, BYTES_LIT("r")));
    rest = got->publish.props.all;
    assert_true(props_next_user(&rest, &name, &value) && value.p[0] == 'v');
    assert_true(props_next_user(&rest, &name, &value) && value.p[0] == 'w');
    late = client(b, "late"); /* retained messages stay where they were published */
    subscribe(late, "t", 1);
    assert_null(wire_next(late));
    worlds_end();
}

LINK_TEST(links_do_not_carry_what_has_expired)
{
    struct publish_out p = {.topic = BYTES_LIT("t"),
                            .payload = BYTES_LIT("x"),
                            .has_expiry = true,
                            .message_expiry = 2};
    struct world *a, *b;
    struct wire *ka, *kb;

    pair(&a, &b, "#", "#");
    ka = client(a, "on-a");
    subscribe(client(b, "on-b"), "t", 1);
    worlds_settle();
    world_kill(b);
    wire_publish(ka, &p);
    worlds_pass(5000);
    assert_int_equal(world_waiting(a, "beta") + WORLD_COUNT(a, link_messages_dropped), 1);
    world_start(b);
    worlds_settle();
    kb = client(b, "on-b");
    subscribe(kb, "t", 1);
    worlds_pass(5000);
    assert_null(wire_next(kb));
    assert_int_equal(WORLD_COUNT(a, link_messages_dropped), 1);
    worlds_end();
}

/* Three clusters, each linked with both others: one copy for each, no loop. */
LINK_TEST(links_of_three_clusters_carry_one_copy)
{
    static const char *const names[] = {"alpha", "beta", "gamma"};
    struct world *w[3];
    struct wire *k[3], *publisher;

    for (uint16_t i = 0; i < 3; i++) {
        w[i] = world_make(names[i], (uint16_t)(1001 + i));
        for (uint16_t j = 0; j < 3; j++)
            if (j != i)
                world_link(w[i], names[j], (uint16_t)(1001 + j), "#");
    }
    for (int i = 0; i < 3; i++)
        world_start(w[i]);
    worlds_pass(1000);
    for (int i = 0; i < 3; i++) {
        k[i] = client(w[i], "reader");
        subscribe(k[i], "t/#", 1);
    }
    worlds_settle();
    for (int i = 0; i < 3; i++) {
        publisher = client(w[i], "writer");
        publish(publisher, "t/1", names[i], 1);
        worlds_pass(100);
        for (int j = 0; j < 3; j++) {
            expect_publish(k[j], "t/1", names[i]);
            assert_null(wire_next(k[j]));
        }
    }
    worlds_end();
}

LINK_TEST(links_go_on_after_a_cut_and_lose_nothing)
{
    struct world *a, *b;
    struct wire *ka, *kb;
    char text[16];

    pair(&a, &b, "#", "#");
    ka = client(a, "on-a");
    kb = client(b, "on-b");
    subscribe(kb, "t", 1);
    worlds_settle();
    for (int i = 0; i < 20; i++) {
        snprintf(text, sizeof(text), "%d", i);
        publish(ka, "t", text, 1);
        if (i % 5 == 2)
            for (uint32_t n = 0; n < all.wire_count; n++)
                if (all.wire[n]->world[0] && all.wire[n]->stream[0])
                    wire_drop(all.wire[n]);
        if (i % 5 == 3)
            worlds_pass(1000);
        expect_publish(kb, "t", text);
    }
    worlds_pass(1000);
    snprintf(text, sizeof(text), "last");
    publish(ka, "t", text, 1);
    expect_publish(kb, "t", text);
    assert_null(wire_next(kb));
    worlds_end();
}

LINK_TEST_DIALLED(link_is_back_at_once_when_the_other_side_returns)
{
    struct world *a, *b;
    struct wire *ka, *kb;

    pair(&a, &b, "#", "#");
    ka = client(a, "on-a");
    subscribe(ka, "back", 1);
    worlds_settle();
    world_kill(b);
    worlds_pass(200000);
    world_start(b);
    worlds_pass(100); /* B dials A at once, so A need not wait for its next attempt */
    assert_true(world_tells(a, "beta"));
    assert_true(world_tells(b, "alpha"));
    kb = client(b, "on-b");
    publish(kb, "back", "x", 1);
    expect_publish(ka, "back", "x");
    worlds_end();
}

LINK_TEST(link_queue_waits_for_a_peer_that_comes_back)
{
    struct world *a, *b;
    struct wire *ka, *kb;
    char text[16];

    pair(&a, &b, "#", "#");
    ka = client(a, "on-a");
    kb = client(b, "on-b");
    subscribe(kb, "t", 1);
    worlds_settle();
    b->port = 0; /* nobody can connect; B's process and its sessions live */
    for (uint32_t n = 0; n < all.wire_count; n++)
        if (all.wire[n]->world[0] && all.wire[n]->stream[0])
            wire_drop(all.wire[n]);
    worlds_settle();
    for (int i = 0; i < 50; i++) {
        snprintf(text, sizeof(text), "%d", i);
        publish(ka, "t", text, i % 2 ? 1 : 0);
    }
    assert_null(wire_next(kb));
    b->port = 1002;
    worlds_pass(20000);
    for (int i = 0; i < 50; i++) {
        snprintf(text, sizeof(text), "%d", i);
        expect_publish(kb, "t", text);
    }
    assert_null(wire_next(kb));
    worlds_end();
}

LINK_TEST(link_takes_the_new_life_of_a_peer_for_the_same_actor)
{
    struct world *a, *b;
    struct wire *kb;

    pair(&a, &b, "#", "#");
    kb = client(b, "on-b");
    subscribe(kb, "old", 1);
    worlds_settle();
    assert_int_equal(announced_filter_count(world_peer(a, "beta")->announced), 1);
    world_kill(b);
    world_start(b);
    worlds_pass(1000);
    assert_int_equal(announced_actor_count(world_peer(a, "beta")->announced), 1);
    assert_int_equal(announced_filter_count(world_peer(a, "beta")->announced),
                     world_peer(a, "beta")->speaks_native ? 0 : 1); /* ours say when all is said */
    worlds_pass(ANNOUNCER_BEAT_MS + ANNOUNCED_SETTLE_MS);
    assert_int_equal(announced_filter_count(world_peer(a, "beta")->announced), 0);
    kb = client(b, "on-b");
    subscribe(kb, "new", 1);
    worlds_settle();
    assert_int_equal(announced_filter_count(world_peer(a, "beta")->announced), 1);
    worlds_end();
}

LINK_TEST(link_survives_a_clock_that_went_back)
{
    struct world *a, *b;

    pair(&a, &b, "#", "#");
    world_kill(b);
    all.wall_ms -= 3600000; /* an hour */
    world_start(b);
    worlds_pass(10000);
    assert_true(world_said(b, "link incarnation refused|alpha|"));
    assert_true(world_tells(b, "alpha"));
    assert_true(world_incarnation(b, "alpha") > all.wall_ms);
    worlds_end();
}

/* Both name the other wrongly, or not at all, or not any more. */
LINK_TEST_DIALLED(link_refusals_say_what_to_do)
{
    static const struct {
        const char *b_name; /* what A calls B */
        const char *a_name; /* what B calls A */
        bool b_enabled;     /* B's link to A */
        const char *said_by_a;
    } cases[] = {
        {"beta", "other", true, "4 link refused|beta|unknown_cluster|it has no link"},
        {"beeta", "alpha", true, "4 link refused|beeta|bad_remote_cluster_link_name|it is another"},
        {"beta", "alpha", false, "4 link refused|beta|cluster_link_disabled|its link to us"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct world *a = world_make("alpha", 1001), *b = world_make("beta", 1002);

        world_link(a, cases[i].b_name, 1002, "#");
        world_link(b, cases[i].a_name, 1009, "#")->enable = cases[i].b_enabled;
        world_start(a);
        world_start(b);
        worlds_pass(100000);
        assert_true(world_said(a, cases[i].said_by_a));
        assert_true(world_said(b, "4 link refused|alpha|we answer"));
        assert_true(WORLD_COUNT(b, link_packets_refused) >= 5); /* tried again, not in a hurry */
        assert_true(WORLD_COUNT(b, link_packets_refused) <= 20);
        assert_null(strstr(strstr(a->log.text, "4 link refused") + 5, "4 link refused"));
        worlds_end();
    }
}

/* Nothing comes through any more, and nobody is told. */
static void fall_silent(void)
{
    for (uint32_t i = 0; i < all.wire_count; i++)
        if (all.wire[i]->world[0] && all.wire[i]->world[1])
            all.wire[i]->is_silent = true;
}

LINK_TEST_DIALLED(links_notice_silence_and_come_back)
{
    struct world *a, *b;

    pair(&a, &b, "#", "#");
    worlds_pass(20000);
    assert_false(world_said(a, "link down") || world_said(b, "link down"));
    fall_silent();
    worlds_pass(3100);
    assert_true(world_said(a, "link down|beta|it is silent"));
    assert_true(world_said(b, "link down|alpha|it is silent"));
    worlds_pass(1000);
    assert_true(world_peer(a, "beta")->is_up);
    assert_true(world_peer(b, "alpha")->is_up);
    worlds_end();
}

/* The same id takes over what it had; so only what nobody dials anew stays for longer. */
TEST(links_close_what_a_silent_peer_had_opened)
{
    struct world *a, *b;
    uint32_t open = 0;

    worlds_dialect = DIALECT_AUTO;
    pair(&a, &b, "#", "#");
    worlds_pass(20000);
    fall_silent();
    b->port = 0; /* it cannot come back */
    a->port = 0;
    worlds_pass(3900); /* they were heard of within the second before */
    for (uint32_t i = 0; i < all.wire_count; i++)
        open += all.wire[i]->stream[1] != NULL;
    assert_int_equal(open, 4);
    worlds_pass(1200);
    for (uint32_t i = 0; i < all.wire_count; i++)
        assert_null(all.wire[i]->stream[1]);
    worlds_end();
}

LINK_TEST(links_that_do_not_read_are_not_dead)
{
    struct world *a, *b;

    pair(&a, &b, "#", "#");
    worlds_pass(5000);
    shard_link_hold(shard_of(a, WORLD_LINKS), world_peer(a, "beta")->number, true);
    worlds_pass(20000);
    assert_false(world_said(b, "link down"));
    shard_link_hold(shard_of(a, WORLD_LINKS), world_peer(a, "beta")->number, false);
    worlds_pass(5000);
    assert_false(world_said(b, "link down") || world_said(a, "link down"));
    worlds_end();
}
