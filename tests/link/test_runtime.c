/* tests/link/test_runtime.c -- links that are added, changed, disabled and removed at run time. */
#include "tests/link/runtime.h"

LINK_TEST(changed_topics_are_told_over_the_connections_that_stand)
{
    struct wire *reader, *writer;
    uint32_t wires;
    uint64_t incarnation;

    two();
    reader = client(alpha, "reader");
    writer = client(beta, "writer");
    subscribe(reader, "t/1", 1);
    subscribe(reader, "u/1", 1);
    publish(writer, "t/1", "a", 1);
    expect_publish(reader, "t/1", "a");
    publish(writer, "u/1", "b", 1);
    assert_null(wire_next(reader));
    wires = all.wire_count;
    incarnation = world_peer(alpha, "beta")->announcer.incarnation;
    wish(alpha, 0, "u/#,t/1");
    apply(alpha);
    assert_int_equal(announced_filters(beta, "alpha"), 2);
    publish(writer, "t/1", "c", 1);
    publish(writer, "u/1", "d", 1);
    expect_publish(reader, "t/1", "c");
    expect_publish(reader, "u/1", "d");
    wish(alpha, 0, "u/#");
    apply(alpha);
    assert_int_equal(announced_filters(beta, "alpha"), 1);
    publish(writer, "t/1", "e", 1);
    publish(writer, "u/1", "f", 1);
    expect_publish(reader, "u/1", "f");
    unsubscribe(reader, "u/1");
    assert_int_equal(announced_filters(beta, "alpha"), 0);
    assert_int_equal(all.wire_count, wires);
    assert_int_equal(world_peer(alpha, "beta")->announcer.incarnation, incarnation);
    worlds_end();
}

LINK_TEST(changed_topics_say_nothing_of_what_is_wanted_as_before)
{
    static const char *const filters[] = {"t/#", "t/1", "t/+/2", "t/a/b"};
    struct wire *reader;
    uint64_t before;
    uint32_t filter_count;

    two();
    reader = client(alpha, "reader");
    for (uint32_t i = 0; i < 4; i++)
        subscribe(reader, filters[i], 1);
    before = told(alpha, "beta");
    filter_count = announced_filters(beta, "alpha");
    wish(alpha, 0, "u/#,t/#");
    apply(alpha);
    wish(alpha, 0, "#");
    apply(alpha);
    world_peer(alpha, "beta")->link->max_routes--; /* something to be changed */
    apply(alpha);
    assert_int_equal(told(alpha, "beta"), before);
    assert_int_equal(announced_filters(beta, "alpha"), filter_count);
    for (uint32_t i = 0; i < 4; i++)
        unsubscribe(reader, filters[i]);
    worlds_pass(WANTS_LINGER_MS + 1000);
    assert_int_equal(announced_filters(beta, "alpha"), 0);
    worlds_end();
}

LINK_TEST(topics_that_are_not_wanted_any_more_are_withdrawn_at_once)
{
    struct wire *reader;

    two();
    wish(alpha, 0, "#");
    apply(alpha);
    reader = client(alpha, "reader");
    subscribe(reader, "t/#", 1);
    subscribe(reader, "t/1", 1); /* is hidden, natively */
    subscribe(reader, "u/1", 1);
    wish(alpha, 0, "u/+");
    apply(alpha);
    assert_int_equal(announced_filters(beta, "alpha"), 1);
    wish(alpha, 0, "");
    apply(alpha);
    assert_int_equal(announced_filters(beta, "alpha"), 0);
    wish(alpha, 0, "t/1");
    apply(alpha);
    assert_int_equal(announced_filters(beta, "alpha"), 1);
    worlds_end();
}

LINK_TEST(nothing_is_lost_while_topics_are_told_in_other_words)
{
    struct wire *reader, *writer;
    char text[8];

    two();
    wish(alpha, 0, "#");
    apply(alpha);
    reader = client(alpha, "reader");
    writer = client(beta, "writer");
    subscribe(reader, "#", 1);
    wish(alpha, 0, "t/1,+/1/2");
    assert_int_equal(apply_once(alpha), OK);
    for (uint32_t i = 0; i < 40; i++) {
        struct publish_out p = {.qos = 1, .packet_id = (uint16_t)(i + 1)};

        snprintf(text, sizeof(text), "%u", i);
        p.topic = BYTES_LIT("t/1");
        p.payload = bytes_str(text);
        wire_publish(writer, &p);
        (void)turn(alpha, WORLD_LINKS + world_home(alpha, "beta"));
        (void)world_turn(beta);
    }
    worlds_settle();
    for (uint32_t i = 0; i < 40; i++) {
        snprintf(text, sizeof(text), "%u", i);
        expect_publish(reader, "t/1", text);
    }
    assert_null(wire_next(reader));
    worlds_end();
}

LINK_TEST_DIALLED(another_server_is_dialled_and_what_waits_goes_there)
{
    struct wire *reader, *writer;

    two();
    reader = client(beta, "reader");
    writer = client(alpha, "writer");
    subscribe(reader, "t/#", 1);
    world_kill(beta);
    publish(writer, "t/1", "1", 1);
    publish(writer, "t/1", "2", 1);
    beta->port = 3005;
    world_start(beta);
    beta->servers[0][0].port = 3000;
    reader = client(beta, "reader");
    subscribe(reader, "t/#", 1);
    publish(writer, "t/1", "3", 1);
    assert_int_equal(world_waiting(alpha, "beta"), 3);
    alpha->servers[0][0].port = 3005;
    apply(alpha);
    worlds_pass(2000);
    expect_publish(reader, "t/1", "1");
    expect_publish(reader, "t/1", "2");
    expect_publish(reader, "t/1", "3");
    assert_true(world_peer(alpha, "beta")->is_up);
    worlds_end();
}

LINK_TEST_DIALLED(other_credentials_end_connections_in_the_same_life)
{
    struct wire *reader, *writer;
    uint64_t incarnation, before;
    uint32_t wires;

    two();
    reader = client(alpha, "reader");
    writer = client(beta, "writer");
    subscribe(reader, "t/1", 1);
    incarnation = world_peer(alpha, "beta")->announcer.incarnation;
    wires = all.wire_count;
    before = world_peer(alpha, "beta")->routes.generation;
    alpha->cfg.links[0].username = "somebody";
    alpha->cfg.links[0].clientid = "another";
    apply(alpha);
    worlds_pass(1000);
    assert_true(all.wire_count >= wires + 2);
    assert_true(world_peer(alpha, "beta")->is_up);
    assert_int_equal(world_peer(alpha, "beta")->announcer.incarnation, incarnation);
    assert_int_equal(world_peer(alpha, "beta")->routes.generation, before);
    assert_int_equal(announced_filters(beta, "alpha"), 1);
    publish(writer, "t/1", "a", 1);
    expect_publish(reader, "t/1", "a");
    worlds_end();
}

TEST(link_that_loses_its_server_is_called_over_what_stands_and_may_get_one_again)
{
    struct wire *reader, *writer, *back;
    uint64_t incarnation;

    worlds_dialect = DIALECT_AUTO;
    two();
    reader = client(alpha, "reader");
    writer = client(beta, "writer");
    back = client(alpha, "back");
    subscribe(reader, "t/1", 1);
    subscribe(writer, "t/2", 1);
    incarnation = world_incarnation(alpha, "beta");
    for (uint32_t i = 0; i < 4; i++) {
        alpha->cfg.links[0].server_count = i % 2;
        apply(alpha);
        worlds_pass(i % 2 ? 5000 : 0);
        assert_true(world_peer(alpha, "beta")->is_up);
        assert_true(world_peer(beta, "alpha")->is_up);
        assert_int_equal(world_incarnation(alpha, "beta"), incarnation);
        assert_int_equal(announced_filters(beta, "alpha"), 1);
        publish(writer, "t/1", "a", 1);
        expect_publish(reader, "t/1", "a");
        publish(back, "t/2", "b", 1);
        expect_publish(writer, "t/2", "b");
    }
    assert_null(wire_next(reader));
    assert_null(wire_next(writer));
    worlds_end();
}

TEST(link_that_loses_its_server_does_not_know_whether_it_would_be_refused)
{
    worlds_dialect = DIALECT_AUTO;
    two();
    beta->cfg.links[0].enable = false;
    apply(beta);
    worlds_pass(5000);
    assert_true(world_peer(alpha, "beta")->announcer.is_refused);
    alpha->cfg.links[0].server_count = 0;
    apply(alpha);
    assert_false(world_peer(alpha, "beta")->announcer.is_refused);
    worlds_end();
}

TEST(link_that_was_called_from_the_start_dials_when_it_gets_a_server)
{
    worlds_dialect = DIALECT_AUTO;
    worlds_called = "alpha";
    two();
    worlds_called = NULL;
    subscribe(client(alpha, "reader"), "t/1", 1);
    alpha->cfg.links[0].server_count = 1;
    apply(alpha);
    beta->cfg.links[0].server_count = 0;
    apply(beta);
    worlds_pass(20000);
    assert_int_not_equal(world_incarnation(alpha, "beta"), 0);
    assert_true(world_peer(alpha, "beta")->is_up);
    assert_true(world_peer(beta, "alpha")->is_up);
    assert_int_equal(announced_filters(beta, "alpha"), 1);
    worlds_end();
}

/* What alpha sends on connections that beta has opened reaches beta, or does not yet. */
static void let_through(bool lets)
{
    for (uint32_t i = 0; i < all.wire_count; i++) {
        struct wire *k = all.wire[i];

        if (k->world[0] != beta || !k->stream[1])
            continue;
        k->reads = lets;
        stream_touch(k->stream[1]);
    }
    worlds_settle();
}

/* It leaves the connection on which theirs come, and what is on the way there must come first. */
TEST(link_that_gets_a_server_loses_nothing_that_is_on_the_way)
{
    struct wire *reader, *writer;
    const struct carrier *c;

    worlds_dialect = DIALECT_AUTO;
    worlds_called = "alpha";
    two();
    worlds_called = NULL;
    c = &world_peer(alpha, "beta")->carrier;
    reader = client(beta, "reader");
    writer = client(alpha, "writer");
    subscribe(reader, "t/1", 0);
    let_through(false);
    publish(writer, "t/1", "a", 0);
    alpha->cfg.links[0].server_count = 1;
    apply(alpha);
    worlds_pass(1000);
    assert_int_equal(world_peer(alpha, "beta")->forwarders[0].dialer.state, DIALER_UP);
    publish(writer, "t/1", "b", 0);
    assert_null(c->to.dialer);
    assert_null(wire_next(reader));
    let_through(true);
    worlds_settle();
    assert_non_null(c->to.dialer);
    publish(writer, "t/1", "c", 0);
    expect_publish(reader, "t/1", "a");
    expect_publish(reader, "t/1", "b");
    expect_publish(reader, "t/1", "c");
    worlds_end();
}

/* What it has for EMQX stays, but nobody waits for room there. */
TEST(link_that_loses_its_server_with_a_full_queue_for_emqx_blocks_nobody)
{
    struct cfg_link *link;
    struct wire *writer;

    worlds_dialect = DIALECT_EMQX;
    two();
    link = &alpha->cfg.links[0];
    link->on_full = ON_FULL_BLOCK;
    link->queue_bytes = 64u << 10;
    apply(alpha);
    subscribe(client(beta, "reader"), "t/1", 0);
    beta->port = 0;
    world_cut(alpha);
    worlds_settle();
    writer = client(alpha, "writer");
    for (uint32_t i = 0; i < 1000 && !peer_blocks(world_peer(alpha, "beta")); i++)
        publish(writer, "t/1", "x", 0);
    assert_true(peer_blocks(world_peer(alpha, "beta")));
    link->dialect = DIALECT_AUTO;
    link->server_count = 0;
    apply(alpha);
    assert_true(world_waiting(alpha, "beta") > 0);
    assert_false(peer_blocks(world_peer(alpha, "beta")));
    publish(writer, "t/1", "x", 1);
    worlds_end();
}

/* How many filters beta knows of alpha when alpha and then it again has changed the dialect; a
 * filter of before is gone. */
static void expect_routes_in(enum cfg_dialect first, enum cfg_dialect then)
{
    struct wire *reader = client(alpha, "reader");

    subscribe(reader, "t/1", 1);
    subscribe(reader, "t/2", 1);
    alpha->cfg.links[0].dialect = first;
    assert_int_equal(apply_once(alpha), OK);
    unsubscribe(reader, "t/1");
    worlds_pass(20000);
    assert_true(world_peer(alpha, "beta")->is_up);
    assert_int_equal(announced_filters(beta, "alpha"), 1);
    beta->cfg.links[0].dialect = first;
    apply(beta);
    worlds_pass(1000);
    alpha->cfg.links[0].dialect = beta->cfg.links[0].dialect = then;
    apply(alpha);
    assert_int_equal(apply_once(beta), OK);
    unsubscribe(reader, "t/2");
    subscribe(reader, "t/3", 1);
    worlds_pass(20000);
    assert_true(world_peer(alpha, "beta")->is_up);
    assert_int_equal(world_peer(alpha, "beta")->tells_native, then == DIALECT_AUTO);
    assert_int_equal(announced_filters(beta, "alpha"), 1);
    publish(client(beta, "writer"), "t/3", "a", 1);
    expect_publish(reader, "t/3", "a");
}

TEST(other_dialect_leaves_no_route_that_was_told_in_the_one_before)
{
    worlds_dialect = DIALECT_AUTO;
    two();
    expect_routes_in(DIALECT_EMQX, DIALECT_AUTO);
    worlds_end();
}

TEST(what_waits_for_a_broker_of_ours_goes_to_it_also_in_the_other_dialect)
{
    struct wire *reader, *writer;

    worlds_dialect = DIALECT_AUTO;
    two();
    reader = client(beta, "reader");
    writer = client(alpha, "writer");
    subscribe(reader, "t/#", 1);
    world_kill(beta);
    publish(writer, "t/1", "1", 1);
    publish(writer, "t/1", "2", 1);
    assert_int_equal(world_peer(alpha, "beta")->carrier.out.waiting.count, 2);
    beta->cfg.links[0].dialect = DIALECT_EMQX;
    beta->servers[0][0].port = 9; /* or what waits would come before its reader */
    world_start(beta);
    reader = client(beta, "reader");
    subscribe(reader, "t/#", 1);
    beta->servers[0][0].port = 3000;
    apply(beta);
    worlds_pass(20000);
    expect_publish(reader, "t/1", "1");
    expect_publish(reader, "t/1", "2");
    assert_null(wire_next(reader));
    assert_int_equal(world_waiting(alpha, "beta"), 0);
    worlds_end();
}

/* Who is only called cannot be told that it is, and keeps our routes as if we were away. */
LINK_TEST(disabled_link_takes_and_gives_nothing)
{
    struct wire *reader, *writer, *local;
    bool is_told;

    two();
    is_told = !peer_is_called(world_peer(beta, "alpha"));
    reader = client(beta, "reader");
    writer = client(alpha, "writer");
    local = client(alpha, "local");
    subscribe(reader, "t/#", 1);
    subscribe(local, "t/#", 1);
    alpha->cfg.links[0].enable = false;
    apply(alpha);
    assert_int_equal(announced_filters(alpha, "beta"), 0);
    publish(writer, "t/1", "a", 1);
    expect_publish(local, "t/1", "a");
    assert_null(wire_next(reader));
    assert_int_equal(world_waiting(alpha, "beta"), 0);
    worlds_pass(3000);
    assert_false(world_peer(beta, "alpha")->is_up);
    assert_int_equal(world_said(beta, "cluster_link_disabled"), is_told);
    assert_int_equal(announced_filters(alpha, "beta"), 0);
    worlds_pass(40000); /* they forget us */
    assert_int_equal(announced_filters(beta, "alpha"), is_told ? 0 : 1);
    alpha->cfg.links[0].enable = true;
    apply(alpha);
    worlds_pass(20000);
    assert_true(world_peer(alpha, "beta")->is_up);
    assert_true(world_peer(beta, "alpha")->is_up);
    assert_int_equal(announced_filters(alpha, "beta"), 1);
    publish(writer, "t/1", "b", 1);
    expect_publish(reader, "t/1", "b");
    expect_publish(local, "t/1", "b");
    publish(client(beta, "other"), "t/2", "c", 1);
    expect_publish(local, "t/2", "c");
    worlds_end();
}

LINK_TEST(disabled_link_takes_nothing_while_its_routes_go)
{
    struct publish_out p = {.qos = 1, .topic = BYTES_LIT("t/1"), .payload = BYTES_LIT("a")};
    struct wire *writer;

    two();
    subscribe(client(beta, "reader"), "t/#", 1);
    writer = client(alpha, "writer");
    alpha->cfg.links[0].enable = false;
    assert_int_equal(apply_once(alpha), OK);
    for (uint32_t i = 0; i < 10; i++) {
        p.packet_id = (uint16_t)(i + 1);
        wire_publish(writer, &p);
        (void)world_turn(alpha);
    }
    worlds_settle();
    assert_int_equal(world_waiting(alpha, "beta"), 0);
    worlds_end();
}

LINK_TEST_DIALLED(introduction_whose_answer_is_lost_announces_all_the_same)
{
    two();
    subscribe(client(alpha, "reader"), "t/1", 1);
    world_kill(beta);
    world_start(beta);
    for (uint32_t i = 0; !announced_actor_count(world_peer(beta, "alpha")->announced); i++) {
        assert_true(i < 10000);
        all.now_ms += 10;
        (void)turn(alpha, WORLD_LINKS + world_home(alpha, "beta"));
        (void)world_turn(beta);
    }
    assert_int_equal(world_peer(alpha, "beta")->announcer.state, ANNOUNCER_INTRODUCING);
    world_cut(beta);
    worlds_pass(5000);
    assert_true(world_peer(alpha, "beta")->is_up);
    assert_int_equal(announced_filters(beta, "alpha"), 1);
    worlds_end();
}

LINK_TEST(enabled_again_at_once_leaves_no_route_of_before)
{
    struct wire *reader;

    two();
    reader = client(alpha, "reader");
    subscribe(reader, "t/1", 1);
    subscribe(reader, "t/2", 1);
    alpha->cfg.links[0].enable = false;
    apply(alpha);
    unsubscribe(reader, "t/1");
    alpha->cfg.links[0].enable = true;
    apply(alpha);
    worlds_pass(20000);
    assert_int_equal(announced_filters(beta, "alpha"), 1);
    worlds_end();
}

LINK_TEST(enabled_again_is_a_new_life_however_often_routes_were_announced)
{
    static const struct bytes other[] = {{(const uint8_t *)"t/#", 3}};
    struct wire *reader;

    two();
    reader = client(alpha, "reader");
    subscribe(reader, "t/1", 1);
    for (uint32_t i = 0; i < 2; i++) { /* each time all is announced anew */
        beta->cfg.links[0].exports = i ? &world_everything : other;
        apply(beta);
        worlds_pass(20000);
    }
    alpha->cfg.links[0].enable = false;
    apply(alpha);
    alpha->cfg.links[0].enable = true;
    apply(alpha);
    worlds_pass(20000);
    assert_true(world_peer(alpha, "beta")->is_up);
    assert_true(world_peer(beta, "alpha")->is_up);
    publish(client(beta, "writer"), "t/1", "a", 1);
    expect_publish(reader, "t/1", "a");
    worlds_end();
}

LINK_TEST(what_waits_for_a_disabled_link_goes_when_it_is_enabled)
{
    struct wire *reader, *writer;

    two();
    reader = client(beta, "reader");
    writer = client(alpha, "writer");
    subscribe(reader, "t/#", 1);
    world_kill(beta);
    publish(writer, "t/1", "1", 1);
    publish(writer, "t/2", "2", 1);
    alpha->cfg.links[0].enable = false;
    apply(alpha);
    assert_int_equal(world_waiting(alpha, "beta"), 2);
    world_start(beta);
    reader = client(beta, "reader");
    subscribe(reader, "t/#", 1);
    worlds_pass(60000);
    assert_null(wire_next(reader));
    alpha->cfg.links[0].enable = true;
    apply(alpha);
    worlds_pass(20000);
    expect_publish(reader, "t/1", "1");
    expect_publish(reader, "t/2", "2");
    assert_null(wire_next(reader));
    worlds_end();
}

LINK_TEST(what_waits_for_a_disabled_link_becomes_too_old)
{
    struct wire *reader, *writer;

    two();
    reader = client(beta, "reader");
    writer = client(alpha, "writer");
    subscribe(reader, "t/#", 1);
    world_kill(beta);
    publish(writer, "t/1", "1", 1);
    alpha->cfg.links[0].enable = false;
    alpha->cfg.links[0].queue_age = 30;
    apply(alpha);
    worlds_pass(20000);
    assert_int_equal(world_waiting(alpha, "beta"), 1);
    worlds_pass(12000);
    assert_int_equal(world_waiting(alpha, "beta"), 0);
    worlds_end();
    free(beta);
}

LINK_TEST_DIALLED(removed_link_goes_with_all_it_had)
{
    struct wire *reader, *writer, *local;

    two();
    reader = client(beta, "reader");
    writer = client(alpha, "writer");
    local = client(alpha, "local");
    subscribe(reader, "t/#", 1);
    subscribe(local, "t/#", 1);
    alpha->cfg.links[0].name = "";
    apply(alpha);
    assert_null(world_peer(alpha, "beta"));
    publish(writer, "t/1", "a", 1);
    expect_publish(local, "t/1", "a");
    assert_null(wire_next(reader));
    publish(client(beta, "other"), "t/1", "b", 1);
    worlds_pass(2000);
    assert_null(wire_next(local));
    expect_publish(reader, "t/1", "b");
    assert_true(world_said(beta, "unknown_cluster"));
    assert_non_null(reader->stream[1]);
    assert_non_null(writer->stream[1]);
    worlds_end();
}

LINK_TEST(removed_link_that_comes_again_is_a_new_one)
{
    struct wire *reader, *writer;

    two();
    reader = client(beta, "reader");
    writer = client(alpha, "writer");
    subscribe(reader, "t/#", 1);
    for (uint32_t i = 0; i < 5; i++) {
        publish(writer, "t/1", "x", 1);
        expect_publish(reader, "t/1", "x");
    }
    alpha->cfg.links[0].name = "";
    apply(alpha);
    alpha->cfg.links[0].name = "beta";
    apply(alpha);
    worlds_pass(20000);
    assert_true(world_peer(alpha, "beta")->is_up);
    publish(writer, "t/1", "y", 1);
    expect_publish(reader, "t/1", "y");
    worlds_end();
}

LINK_TEST(added_link_knows_what_is_subscribed_to)
{
    struct wire *reader, *writer;

    alpha = world_make("alpha", 3000);
    beta = world_make("beta", 3001);
    world_link(beta, "alpha", 3000, "t/#");
    world_start(alpha);
    world_start(beta);
    reader = client(alpha, "reader");
    writer = client(beta, "writer");
    subscribe(reader, "t/1", 1);
    world_link(alpha, "beta", 3001, "t/#");
    apply(alpha);
    worlds_pass(20000);
    assert_true(world_peer(alpha, "beta")->is_up);
    assert_true(world_peer(beta, "alpha")->is_up);
    publish(writer, "t/1", "a", 1);
    expect_publish(reader, "t/1", "a");
    worlds_end();
}

LINK_TEST_DIALLED(link_that_was_missed_is_up_when_it_is_added)
{
    struct wire *reader, *writer;

    two();
    beta->cfg.links[0].name = "";
    apply(beta);
    worlds_pass(3000); /* alpha stands before the door, with its connection for messages */
    beta->cfg.links[0].name = "alpha";
    apply(beta);
    worlds_pass(40000);
    assert_true(world_peer(alpha, "beta")->is_up);
    reader = client(beta, "reader");
    writer = client(alpha, "writer");
    subscribe(reader, "t/#", 1);
    publish(writer, "t/1", "a", 1);
    expect_publish(reader, "t/1", "a");
    worlds_end();
}

/* The connection lives where other clients do, and the link is there when it is introduced. */
TEST(who_has_connected_before_its_link_was_added_is_spoken_to_natively_all_the_same)
{
    worlds_dialect = DIALECT_AUTO;
    two();
    beta->cfg.links[0].name = "";
    apply(beta);
    beta->cfg.links[0].name = "alpha";
    assert_int_equal(apply_once(beta), OK);
    beta->cfg.links[0].name = ""; /* for those who connect */
    worlds_pass(2000);
    beta->cfg.links[0].name = "alpha";
    worlds_pass(20000);
    assert_true(world_peer(alpha, "beta")->is_up);
    assert_true(world_peer(alpha, "beta")->tells_native);
    assert_true(world_peer(beta, "alpha")->tells_native);
    worlds_end();
}

LINK_TEST_DIALLED(number_of_a_removed_link_is_given_away_when_its_routes_are_gone)
{
    struct world *gamma = world_make("gamma", 3002);
    struct wire *reader, *writer, *other;
    char filter[16];
    uint32_t turns = 0;

    world_link(gamma, "alpha", 3000, "t/#");
    world_start(gamma);
    two();
    reader = client(beta, "reader");
    other = client(gamma, "other");
    writer = client(alpha, "writer");
    for (uint32_t i = 0; i < 100; i++) {
        snprintf(filter, sizeof(filter), "t/%u", i);
        subscribe(reader, filter, 1);
    }
    subscribe(other, "t/200", 1);
    alpha->cfg.links[0].name = "gamma";
    alpha->servers[0][0].port = 3002;
    if (world_home(alpha, "beta") == world_home(alpha, "gamma"))
        assert_int_equal(apply_once(alpha), ERR_FULL);
    while (apply_once(alpha) != OK) {
        assert_true(++turns < 100);
        worlds_settle();
    }
    worlds_pass(20000);
    assert_true(world_peer(alpha, "gamma")->is_up);
    publish(writer, "t/7", "a", 1);
    assert_int_equal(world_waiting(alpha, "gamma"), 0);
    assert_null(wire_next(reader));
    publish(writer, "t/200", "b", 1);
    expect_publish(other, "t/200", "b");
    worlds_end();
}

/* Connections for messages of alpha's that stand. */
static uint32_t connections_up(void)
{
    const struct peer *p = world_peer(alpha, "beta");
    uint32_t count = 0;

    for (uint32_t i = 0; i < p->forwarder_count; i++)
        count += p->forwarders[i].dialer.state == DIALER_UP;
    return count;
}

TEST(connections_are_as_many_as_the_other_side_s_dialect_asks_for)
{
    worlds_dialect = DIALECT_AUTO;
    alpha = world_make("alpha", 3000);
    beta = world_make("beta", 3001);
    world_link(alpha, "beta", 3001, "t/#")->connections = 0;
    world_link(beta, "alpha", 3000, "t/#");
    world_start(alpha);
    world_start(beta);
    worlds_pass(1000);
    assert_int_equal(connections_up(), 1);
    assert_true(world_peer(alpha, "beta")->is_up);
    beta->cfg.links[0].dialect = DIALECT_EMQX;
    apply(beta);
    worlds_pass(40000);
    assert_int_equal(connections_up(), FORWARDER_CONNECTIONS_EMQX);
    assert_true(world_peer(alpha, "beta")->is_up);
    beta->cfg.links[0].dialect = DIALECT_AUTO;
    apply(beta);
    alpha->cfg.links[0].keepalive = 30; /* it looks again */
    apply(alpha);
    worlds_pass(40000);
    assert_int_equal(connections_up(), 1);
    assert_true(world_peer(alpha, "beta")->is_up);
    worlds_end();
}

LINK_TEST_DIALLED(other_number_of_connections_keeps_what_waits_and_its_order)
{
    struct wire *reader, *writer[4];
    uint32_t rounds[4] = {0};
    char text[16];

    two();
    reader = client(beta, "reader");
    for (uint32_t i = 0; i < 4; i++) {
        snprintf(text, sizeof(text), "writer%u", i);
        writer[i] = client(alpha, text);
    }
    subscribe(reader, "t/#", 1);
    world_kill(beta);
    for (uint32_t i = 0; i < 40; i++) {
        snprintf(text, sizeof(text), "%u%u", i % 4, i / 4);
        publish(writer[i % 4], "t/1", text, 1);
        if (i == 10 || i == 25) {
            alpha->cfg.links[0].connections = i == 10 ? 3 : 2;
            apply(alpha);
            assert_int_equal(world_waiting(alpha, "beta"), i + 1);
        }
    }
    beta->servers[0][0].port = 9; /* or what waits would come before its reader */
    world_start(beta);
    reader = client(beta, "reader");
    subscribe(reader, "t/#", 1);
    worlds_pass(40000);
    assert_int_equal(world_waiting(alpha, "beta"), 0);
    for (uint32_t i = 0; i < 40; i++) {
        const struct packet *p = wire_expect(reader, PACKET_PUBLISH);
        uint32_t of = (uint32_t)(p->publish.payload.p[0] - '0');

        assert_int_equal(p->publish.payload.p[1] - '0', rounds[of]++);
        wire_ack(reader, p->publish.packet_id, 0);
    }
    assert_null(wire_next(reader));
    worlds_end();
}

LINK_TEST(changed_export_cuts_anew_what_they_asked_for)
{
    static const struct bytes narrow[] = {{(const uint8_t *)"t/1", 3}};
    struct wire *reader, *writer;

    two();
    reader = client(beta, "reader");
    writer = client(alpha, "writer");
    subscribe(reader, "t/#", 1);
    publish(writer, "t/2", "a", 1);
    expect_publish(reader, "t/2", "a");
    alpha->cfg.links[0].exports = narrow;
    apply(alpha);
    publish(writer, "t/1", "b", 1); /* not dark meanwhile */
    worlds_pass(20000);
    expect_publish(reader, "t/1", "b");
    publish(writer, "t/2", "c", 1);
    publish(writer, "t/1", "d", 1);
    expect_publish(reader, "t/1", "d");
    alpha->cfg.links[0].exports = &world_everything;
    apply(alpha);
    worlds_pass(20000);
    publish(writer, "t/2", "e", 1);
    expect_publish(reader, "t/2", "e");
    worlds_end();
}

LINK_TEST(links_that_are_as_before_are_not_touched)
{
    struct world *gamma = world_make("gamma", 3002);
    struct wire *reader, *writer;
    uint32_t wires;

    world_link(gamma, "alpha", 3000, "t/#");
    two();
    world_link(alpha, "gamma", 3002, "t/#");
    apply(alpha);
    world_start(gamma);
    worlds_pass(20000);
    reader = client(gamma, "reader");
    writer = client(alpha, "writer");
    subscribe(reader, "t/#", 1);
    wires = all.wire_count;
    alpha->cfg.links[0].name = "";
    apply(alpha);
    publish(writer, "t/1", "a", 1);
    expect_publish(reader, "t/1", "a");
    apply(alpha);
    for (uint32_t i = 0; i < wires; i++)
        if (all.wire[i]->world[0] == gamma || all.wire[i]->world[1] == gamma)
            assert_true(all.wire[i]->is_failed || all.wire[i]->stream[1]);
    worlds_end();
}

LINK_TEST(changes_that_follow_each_other_come_to_the_last)
{
    struct wire *reader, *writer;

    two();
    reader = client(alpha, "reader");
    writer = client(beta, "writer");
    subscribe(reader, "#", 1);
    for (uint32_t i = 0; i < 20; i++) {
        alpha->cfg.links[0].enable = i % 3 != 0;
        alpha->cfg.links[0].username = i % 2 ? "one" : "two";
        alpha->cfg.links[0].connections = i % 4;
        wish(alpha, 0, i % 2 ? "t/#" : "u/#");
        assert_int_equal(apply_once(alpha), OK);
        if (i % 5 == 0)
            worlds_pass(1000);
    }
    alpha->cfg.links[0].enable = true;
    apply(alpha);
    worlds_pass(20000);
    assert_true(world_peer(alpha, "beta")->is_up);
    publish(writer, "u/1", "no", 1);
    publish(writer, "t/1", "yes", 1);
    expect_publish(reader, "t/1", "yes");
    worlds_end();
}

LINK_TEST(shorter_queue_age_lets_routes_of_an_absent_cluster_go)
{
    two();
    subscribe(client(beta, "reader"), "t/1", 1);
    worlds_settle();
    alpha->port = beta->port = 0;
    for (uint32_t i = 0; i < all.wire_count; i++)
        if (all.wire[i]->world[0] && all.wire[i]->stream[0])
            wire_drop(all.wire[i]);
    worlds_pass(200000);
    assert_int_equal(announced_filters(alpha, "beta"), 1);
    alpha->cfg.links[0].queue_age = 300;
    apply(alpha);
    worlds_pass(50000);
    assert_int_equal(announced_filters(alpha, "beta"), 1);
    alpha->cfg.links[0].queue_age = 200;
    apply(alpha);
    worlds_pass(100);
    assert_int_equal(announced_filters(alpha, "beta"), 0);
    worlds_end();
}

/* Reads all that is retained under a filter; returns how many. */
static uint32_t retained_under(struct world *w, const char *id, const char *filter)
{
    struct wire *k = client(w, id);
    uint32_t count = 0;

    subscribe(k, filter, 0);
    while (wire_next(k))
        count++;
    return count;
}

LINK_TEST(removed_link_leaves_nothing_under_sys)
{
    alpha = world_make("alpha", 3000);
    beta = world_make("beta", 3001);
    alpha->cfg.limits.sys_interval = 1;
    world_link(alpha, "beta", 3001, "t/#");
    world_link(beta, "alpha", 3000, "t/#");
    world_start(alpha);
    world_start(beta);
    worlds_pass(3000);
    assert_true(retained_under(alpha, "a", "$SYS/broker/links/beta/#") > 20);
    assert_int_equal(retained_under(alpha, "b", "$SYS/broker/connection/beta/#"), 1);
    alpha->cfg.links[0].name = "";
    apply(alpha);
    worlds_pass(3000);
    assert_int_equal(retained_under(alpha, "c", "$SYS/broker/links/#"), 0);
    assert_int_equal(retained_under(alpha, "d", "$SYS/broker/connection/#"), 0);
    alpha->cfg.links[0].name = "other"; /* in the same place: all of it is said */
    apply(alpha);
    worlds_pass(3000);
    assert_true(retained_under(alpha, "e", "$SYS/broker/links/other/#") > 20);
    assert_int_equal(retained_under(alpha, "f", "$SYS/broker/links/beta/#"), 0);
    worlds_end();
}

/* Retains a message, on a client of its own. */
static void retain(struct world *w, const char *topic, const char *payload)
{
    struct wire *k = client(w, topic);

    wire_publish(k, &(struct publish_out){
                        .topic = bytes_str(topic), .payload = bytes_str(payload), .retain = true});
    worlds_settle();
    wire_drop(k);
    worlds_settle();
}

LINK_TEST_NATIVE(changed_topics_bring_what_is_retained_under_them_at_once)
{
    struct wire *k;

    alpha = world_make("alpha", 3000);
    beta = world_make("beta", 3001);
    world_link(alpha, "beta", 3001, "");
    world_link(beta, "alpha", 3000, "t/#")->retained = RETAINED_SYNC;
    world_start(alpha);
    world_start(beta);
    worlds_pass(1000);
    retain(alpha, "t/1", "1");
    retain(alpha, "u/1", "1");
    worlds_pass(1000);
    assert_int_equal(retained_under(beta, "a", "+/1"), 1);
    wish(beta, 0, "t/#,u/#");
    apply(beta);
    worlds_pass(1000);
    k = client(beta, "b");
    subscribe(k, "+/1", 0);
    assert_non_null(wire_next(k));
    assert_non_null(wire_next(k));
    retain(alpha, "u/1", "2"); /* and what follows */
    worlds_pass(1000);
    expect_publish(k, "u/1", "2");
    assert_null(wire_next(k));
    worlds_end();
}
