/* tests/link/test_called.c -- links without a server, and what others may do to them. */
#include "link/native.h"
#include "link/status.h"
#include "tests/link/worlds.h"

#define MANY 30000u

/* "alpha" has no server; "beta" dials it. */
static void pair(struct world **a, struct world **b)
{
    worlds_dialect = DIALECT_AUTO;
    *a = world_make("alpha", 1001);
    *b = world_make("beta", 1002);
    world_link(*a, "beta", 1002, "#")->server_count = 0;
    world_link(*b, "alpha", 1001, "#");
    world_start(*a);
    world_start(*b);
    worlds_settle();
}

/* The wires that a world has dialled. */
static uint32_t dialled_by(const struct world *w)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < all.wire_count; i++)
        count += all.wire[i]->world[0] == w;
    return count;
}

/* As if who was called had said it on the route connection of `b`. */
static void say_to(struct world *b, const struct native_frame *f)
{
    struct wire *k = world_peer(b, "alpha")->announcer.dialer.stream.conn;
    struct publish_out p = {.topic = BYTES_LIT("$LINK/cluster/native/alpha")};
    uint8_t frame[NATIVE_CONTROL_BYTES_MAX], packet[256], *to;
    uint32_t n;

    assert_int_equal(native_frame_encode(f, frame, sizeof(frame), &n), OK);
    p.payload = bytes_of(frame, n);
    to = bytes_put(publish_put_header(packet, MQTT_5, &p), p.payload);
    wire_put(k, 0, packet, (size_t)(to - packet));
    worlds_settle();
}

TEST(called_link_dials_nobody_and_says_how_it_stands)
{
    struct world *a, *b;
    struct wire *k;

    pair(&a, &b);
    assert_int_equal(dialled_by(a), 0);
    assert_int_equal(dialled_by(b), 2);
    assert_true(world_peer(a, "beta")->is_up && world_peer(b, "alpha")->is_up);
    assert_true(world_said(a, "5 link up|beta|"));
    k = client(a, "watcher");
    subscribe(k, "$SYS/broker/connection/#", 0);
    expect_publish(k, "$SYS/broker/connection/beta/state", "1");
    world_cut(b);
    worlds_settle();
    assert_true(world_said(a, "4 link down|beta|a connection that the other side had opened"));
    expect_publish(k, "$SYS/broker/connection/beta/state", "0");
    worlds_pass(1000);
    expect_publish(k, "$SYS/broker/connection/beta/state", "1");
    assert_int_equal(dialled_by(a), 0);
    worlds_end();
}

TEST(called_link_has_a_status_like_any_other)
{
    struct link_status s;
    struct world *a, *b;

    worlds_dialect = DIALECT_AUTO;
    a = world_make("alpha", 1001);
    world_link(a, "beta", 1002, "#")->server_count = 0;
    world_start(a);
    status_of(world_peer(a, "beta"), &s);
    assert_string_equal(s.state, "connecting");
    assert_string_equal(s.server, "");
    assert_string_equal(s.routes_out, "connecting");
    assert_string_equal(s.messages_out, "connecting");
    worlds_end();
    pair(&a, &b);
    status_of(world_peer(a, "beta"), &s);
    assert_string_equal(s.state, "up");
    assert_string_equal(s.dialect, "native 1");
    assert_string_equal(s.routes_out, "up");
    assert_string_equal(s.routes_in, "up");
    assert_string_equal(s.messages_out, "up");
    assert_string_equal(s.messages_in, "up");
    world_kill(b);
    worlds_settle();
    status_of(world_peer(a, "beta"), &s);
    assert_string_equal(s.state, "connecting");
    assert_string_equal(s.routes_out, "connecting");
    assert_string_equal(s.error, "a connection that the other side had opened is gone");
    free(b);
    worlds_end();
}

TEST(called_link_is_down_without_either_of_its_connections)
{
    struct world *a, *b;

    for (int i = 0; i < 2; i++) {
        struct peer *p;

        pair(&a, &b);
        p = world_peer(b, "alpha");
        dialer_fail(i ? &p->announcer.dialer : &p->forwarders[0].dialer, "the test says so");
        worlds_settle();
        assert_false(world_peer(a, "beta")->is_up);
        worlds_pass(1000);
        assert_true(world_peer(a, "beta")->is_up);
        worlds_end();
    }
}

TEST(called_link_refuses_who_does_not_speak_our_dialect)
{
    struct world *a, *b;

    worlds_dialect = DIALECT_AUTO;
    a = world_make("alpha", 1001);
    b = world_make("beta", 1002);
    world_link(a, "beta", 1002, "#")->server_count = 0;
    world_link(b, "alpha", 1001, "#")->dialect = DIALECT_EMQX;
    world_start(a);
    world_start(b);
    worlds_pass(1000);
    assert_true(world_said(a, "4 link refused|beta|we answer dialect_not_spoken"));
    assert_true(world_said(b, "4 link refused|alpha|dialect_not_spoken"));
    assert_false(world_peer(a, "beta")->is_up);
    worlds_end();
}

/* The worker of the subscriber has no turn for a while: what comes on the connection that we have
 * dialled finds no room, and waits there. */
TEST(called_link_loses_nothing_that_finds_no_room_at_who_dialled)
{
    struct world *a, *b;
    struct wire *reader, *writer;
    const struct packet *p;
    uint32_t next = 0;

    pair(&a, &b);
    b->cfg.limits.queued_messages = MANY;
    reader = client(b, "reader");
    writer = client(a, "writer");
    subscribe(reader, "t", 0);
    worlds_settle();
    for (uint32_t i = 0; i < MANY; i++) {
        char text[600];
        struct publish_out out = {.topic = BYTES_LIT("t"), .payload = bytes_of(text, sizeof(text))};

        memset(text, ' ', sizeof(text));
        snprintf(text, sizeof(text), "%u", i);
        wire_publish(writer, &out);
        if (i % 50)
            continue;
        (void)turn(a, WORLD_CLIENTS);
        (void)turn(a, WORLD_LINKS);
        (void)turn(b, WORLD_LINKS);
    }
    for (int i = 0; i < 1000; i++) {
        (void)turn(a, WORLD_CLIENTS);
        (void)turn(a, WORLD_LINKS);
        (void)turn(b, WORLD_LINKS);
    }
    assert_true(WORLD_COUNT(b, link_messages_received) < MANY); /* or it was no test */
    worlds_settle();
    while ((p = wire_next(reader)))
        assert_int_equal(atoi((const char *)p->publish.payload.p), next++);
    assert_int_equal(next, MANY);
    assert_int_equal(WORLD_COUNT(b, link_messages_received), MANY);
    assert_int_equal(WORLD_COUNT(a, link_messages_dropped), 0);
    worlds_end();
}

TEST(called_link_is_held_back_by_who_dialled_it)
{
    struct world *a, *b;
    struct wire *reader, *writer;

    worlds_dialect = DIALECT_AUTO;
    a = world_make("alpha", 1001);
    b = world_make("beta", 1002);
    world_link(a, "beta", 1002, "#")->server_count = 0;
    world_link(b, "alpha", 1001, "#")->max_rate = 10000;
    world_start(a);
    world_start(b);
    worlds_settle();
    reader = client(b, "reader");
    writer = client(a, "writer");
    subscribe(reader, "t", 1);
    worlds_settle();
    for (uint32_t i = 0; i < 100; i++) {
        static uint8_t text[1000];
        struct publish_out out = {.topic = BYTES_LIT("t"),
                                  .payload = bytes_of(text, sizeof(text)),
                                  .qos = 1,
                                  .packet_id = (uint16_t)(i + 1)};

        wire_publish(writer, &out);
        worlds_settle();
    }
    assert_true(WORLD_COUNT(b, link_holds) > 0);
    assert_true(WORLD_COUNT(b, link_messages_received) < 50);
    worlds_pass(20000);
    assert_int_equal(WORLD_COUNT(b, link_messages_received), 100);
    worlds_end();
}

TEST(called_link_is_introduced_once_on_a_connection)
{
    struct native_frame f = {.kind = NATIVE_HELLO, .incarnation = 1};
    struct world *a, *b;

    pair(&a, &b);
    f.incarnation = all.wall_ms;
    say_to(b, &f);
    assert_true(world_said(b, "a HELLO where there should be none"));
    worlds_pass(1000);
    assert_true(world_peer(a, "beta")->is_up);
    worlds_end();
}

TEST(called_link_may_not_be_far_ahead_of_our_clock)
{
    struct world *a, *b;

    worlds_dialect = DIALECT_AUTO;
    a = world_make("alpha", 1001);
    b = world_make("beta", 1002);
    world_link(a, "beta", 1002, "#")->server_count = 0;
    world_link(b, "alpha", 1001, "#");
    world_start(a);
    world_peer(a, "beta")->greeter.incarnation = all.wall_ms + PEER_AHEAD_MS + 3600000;
    world_start(b);
    worlds_settle();
    assert_true(world_said(b, "its incarnation is more than a day ahead of our clock"));
    worlds_pass(20000); /* what nobody takes is given up */
    assert_true(world_peer(a, "beta")->is_up && world_tells(a, "beta"));
    worlds_end();
}

/* An answer to no question of ours changes nothing. */
TEST(called_link_is_not_moved_by_a_welcome_it_did_not_ask_for)
{
    struct native_frame f = {.kind = NATIVE_WELCOME, .incarnation = 5, .is_refused = true};
    struct world *a, *b;
    uint64_t incarnation;

    pair(&a, &b);
    say_to(b, &f); /* who has dialled never asks */
    incarnation = world_incarnation(a, "beta");
    assert_false(
        greeter_take(&world_peer(a, "beta")->greeter, &world_peer(a, "beta")->greeter.channel, &f));
    assert_true(world_incarnation(a, "beta") == incarnation);
    assert_true(world_peer(a, "beta")->is_up && world_peer(b, "alpha")->is_up);
    worlds_end();
}
