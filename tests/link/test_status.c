/* tests/link/test_status.c -- what a link says of itself. */
#include "tests/link/worlds.h"

/* A and B, each with a link to the other that wants everything. */
static void pair(struct world **a, struct world **b)
{
    *a = world_make("alpha", 1001);
    *b = world_make("beta", 1002);
    (*a)->cfg.limits.sys_interval = 1;
    world_link(*a, "beta", 1002, "#");
    world_link(*b, "alpha", 1001, "#");
    world_start(*a);
    world_start(*b);
}

static struct link_status status(struct world *w, const char *name)
{
    struct link_status s;

    assert_true(hub_status(w->hub[world_home(w, name)], bytes_str(name), &s));
    assert_string_equal(s.name, name);
    return s;
}

LINK_TEST_NATIVE(status_says_where_transit_is_on_and_what_has_passed)
{
    static const char *const names[] = {"alpha", "beta", "gamma"};
    struct world *w[3];
    struct wire *from, *to;

    for (uint16_t i = 0; i < 3; i++)
        w[i] = world_make(names[i], (uint16_t)(1001 + i));
    for (int i = 0; i < 2; i++) {
        world_link(w[i], names[i + 1], (uint16_t)(1002 + i), "#")->transit = true;
        world_link(w[i + 1], names[i], (uint16_t)(1001 + i), "#")->transit = true;
    }
    for (int i = 0; i < 3; i++)
        world_start(w[i]);
    worlds_pass(1000);
    from = client(w[0], "from");
    to = client(w[2], "to");
    subscribe(to, "t", 1);
    worlds_settle();
    publish(from, "t", "m", 1);
    expect_publish(to, "t", "m");
    assert_string_equal(status(w[1], "alpha").transit, "on");
    assert_int_equal(status(w[1], "alpha").passed, 1);
    assert_int_equal(status(w[1], "gamma").passed, 0);
    assert_int_equal(status(w[1], "gamma").sent, 1);
    worlds_end();
}

TEST(status_says_where_only_one_side_has_transit)
{
    struct world *a, *b;

    for (int i = 0; i < 2; i++) {
        worlds_dialect = i ? DIALECT_EMQX : DIALECT_AUTO;
        a = world_make("alpha", 1001);
        b = world_make("beta", 1002);
        world_link(a, "beta", 1002, "#")->transit = true;
        world_link(b, "alpha", 1001, "#");
        world_start(a);
        world_start(b);
        worlds_pass(20000);
        assert_string_equal(status(a, "beta").transit, "here");
        assert_string_equal(status(b, "alpha").transit, "off");
        assert_true(
            world_said(a, i ? "5 link without transit|beta|it does not speak our dialect"
                            : "5 link without transit|beta|the other side has transit = off"));
        assert_false(world_said(b, "without transit"));
        worlds_end();
    }
    worlds_dialect = DIALECT_AUTO;
}

LINK_TEST_DIALLED(status_of_a_link_that_stands)
{
    struct world *a, *b;
    struct link_status s;

    pair(&a, &b);
    worlds_pass(3000);
    s = status(a, "beta");
    assert_string_equal(s.state, "up");
    assert_string_equal(s.dialect, worlds_dialect == DIALECT_EMQX ? "emqx 1" : "native 1");
    assert_string_equal(s.server, peer_is_called(world_peer(a, "beta")) ? "" : "memory:1002");
    assert_string_equal(s.error, "");
    assert_string_equal(s.routes_out, "up");
    assert_string_equal(s.routes_in, "up");
    assert_string_equal(s.messages_out, "up");
    assert_string_equal(s.messages_in, "up");
    assert_in_range(s.since_s, 1800000000u, 1800000001u);
    assert_in_range(s.rtt_ms, 0, 50);
    assert_int_equal(s.sent + s.received + s.waiting + s.inflight + s.held_bytes + s.oldest_ms, 0);
    assert_false(hub_status(a->hub[0], BYTES_LIT("gamma"), &s));
    worlds_end();
}

static void expect_up(struct world *w, const char *name)
{
    struct link_status s = status(w, name);

    assert_string_equal(s.state, "up");
    assert_string_equal(s.dialect, "native 1");
    assert_string_equal(s.server, world_peer(w, name)->link->server_count ? s.server : "");
    assert_string_equal(s.routes_out, "up");
    assert_string_equal(s.routes_in, "up");
    assert_string_equal(s.messages_out, "up");
    assert_string_equal(s.messages_in, "up");
}

LINK_TEST_NATIVE(status_of_a_link_is_the_same_whoever_calls)
{
    struct world *a, *b;

    pair(&a, &b);
    worlds_pass(10000);
    expect_up(a, "beta");
    expect_up(b, "alpha");
    worlds_end();
}

LINK_TEST_DIALLED(status_counts_routes_and_messages)
{
    struct world *a, *b;
    struct wire *ka, *kb;
    struct link_status s;

    pair(&a, &b);
    worlds_pass(1000);
    ka = client(a, "on-a");
    kb = client(b, "on-b");
    subscribe(ka, "x/#", 0);
    subscribe(ka, "y", 0);
    subscribe(kb, "z", 1);
    worlds_pass(1000);
    publish(ka, "z", "1", 0);
    publish(ka, "z", "2", 1);
    expect_publish(kb, "z", "1");
    expect_publish(kb, "z", "2");
    publish(kb, "y", "3", 1);
    worlds_pass(1000);
    s = status(a, "beta");
    assert_int_equal(s.routes_wanted, 2);
    assert_int_equal(s.routes_theirs, 1);
    assert_int_equal(s.routes_pending, 0);
    assert_int_equal(s.routes_lag_ms, 0);
    assert_int_equal(s.sent, 2);
    assert_int_equal(s.received, 1);
    assert_int_equal(s.waiting + s.inflight + s.held_bytes + s.doubles + s.unwanted, 0);
    s = status(b, "alpha");
    assert_int_equal(s.sent, 1);
    assert_int_equal(s.received, 2);
    worlds_end();
}

LINK_TEST_DIALLED(status_of_a_link_whose_peer_is_away)
{
    struct world *a, *b;
    struct wire *ka, *kb;
    struct link_status s;

    pair(&a, &b);
    worlds_pass(1000);
    ka = client(a, "on-a");
    kb = client(b, "on-b");
    subscribe(kb, "z", 1);
    worlds_pass(8000);
    for (uint32_t i = 0; i < all.wire_count; i++)
        all.wire[i]->is_silent |= all.wire[i]->world[0] && all.wire[i]->world[1];
    b->port = 0;
    worlds_pass(1500);
    publish(ka, "z", "1", 1);
    publish(ka, "z", "2", 1);
    s = status(a, "beta");
    assert_string_equal(s.state, "up");
    assert_int_equal(s.inflight, 2);
    worlds_pass(2000);
    s = status(a, "beta");
    assert_string_equal(s.state, "connecting");
    assert_string_equal(s.routes_out, "connecting");
    assert_string_equal(s.messages_out, "connecting");
    assert_true(s.error[0] != '\0');
    assert_in_range(s.since_s, 1800000011u, 1800000013u);
    assert_int_equal(s.inflight, 0);
    assert_int_equal(s.waiting, 2);
    assert_true(s.held_bytes > 0);
    assert_in_range(s.oldest_ms, 1900, 2100);
    assert_int_equal(s.rtt_ms, 0);
    worlds_end();
}

LINK_TEST_DIALLED(status_counts_losses_by_cause)
{
    struct world *a, *b;
    struct wire *ka, *kb;
    struct link_status s;

    pair(&a, &b);
    worlds_pass(1000);
    ka = client(a, "on-a");
    kb = client(b, "on-b");
    subscribe(kb, "z", 1);
    worlds_pass(1000);
    b->port = 0;
    world_cut(b);
    publish(ka, "z", "1", 1);
    assert_int_equal(status(a, "beta").waiting, 1);
    all.now_ms += 86400000; /* queue_age */
    all.wall_ms += 86400000;
    worlds_pass(2000);
    s = status(a, "beta");
    assert_int_equal(s.waiting, 0);
    assert_int_equal(s.lost_aged, 1);
    worlds_end();
}

LINK_TEST_DIALLED(status_of_a_disabled_link)
{
    struct world *a, *b;

    a = world_make("alpha", 1001);
    b = world_make("beta", 1002);
    world_link(a, "beta", 1002, "#")->enable = false;
    world_link(b, "alpha", 1001, "#");
    world_start(a);
    world_start(b);
    worlds_pass(1000);
    assert_string_equal(status(a, "beta").state, "disabled");
    assert_string_equal(status(a, "beta").routes_in, "away");
    assert_string_equal(status(b, "alpha").state, "connecting");
    assert_non_null(strstr(status(b, "alpha").error, "cluster_link_disabled"));
    worlds_end();
}

/* The newest text of a topic among what came, NULL: none. */
static const char *said(struct wire *k, const char *topic, uint32_t *count)
{
    static char text[512];
    const char *found = NULL;

    *count = 0;
    k->at = 0;
    for (const struct packet *p; (p = wire_next(k)) != NULL;) {
        if (p->type != PACKET_PUBLISH || !bytes_eq(p->publish.topic, bytes_str(topic)))
            continue;
        assert_true(p->publish.payload.n < sizeof(text));
        bytes_put((uint8_t *)text, p->publish.payload);
        text[p->publish.payload.n] = '\0';
        found = text;
        ++*count;
    }
    return found;
}

LINK_TEST_DIALLED(status_is_published_where_it_has_changed)
{
    struct world *a, *b;
    struct wire *k, *kb;
    uint32_t n;

    pair(&a, &b);
    k = client(a, "watcher");
    subscribe(k, "$SYS/broker/links/#", 0);
    worlds_pass(5000);
    assert_string_equal(said(k, "$SYS/broker/links/beta/state", &n), "up");
    assert_in_range(n, 1, 2);
    assert_string_equal(said(k, "$SYS/broker/links/beta/messages/out/sent", &n), "0");
    assert_int_equal(n, 1);
    kb = client(b, "on-b");
    subscribe(kb, "z", 0);
    publish(k, "z", "1", 0);
    worlds_pass(2000);
    assert_string_equal(said(k, "$SYS/broker/links/beta/messages/out/sent", &n), "1");
    assert_int_equal(n, 2);
    assert_string_equal(said(k, "$SYS/broker/links/beta/routes/in/count", &n), "1");
    world_kill(b);
    free(b);
    worlds_pass(2000);
    assert_string_equal(said(k, "$SYS/broker/links/beta/state", &n), "connecting");
    assert_true(strlen(said(k, "$SYS/broker/links/beta/error", &n)) > 0);
    worlds_end();
}
