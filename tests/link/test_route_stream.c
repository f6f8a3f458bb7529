/* tests/link/test_route_stream.c -- how a broker of ours is told what we want. */
#include "link/route_stream.h"

#include "tests/link/worlds.h"

/* The only operation goes into a frame that does not arrive; or it fits into none. */
static enum wants_taken take(void *arg, bool is_add, struct bytes filter)
{
    (void)is_add;
    assert_true(bytes_eq(filter, BYTES_LIT("t/1")));
    return *(const enum wants_taken *)arg;
}

/* The other side need not find it out and ask. */
TEST(route_stream_announces_all_anew_when_it_cannot_know_what_has_arrived)
{
    enum wants_taken lost = WANTS_TAKEN, never = WANTS_NEVER;
    struct world *a = world_make("alpha", 1001), *b = world_make("beta", 1002);
    struct route_stream *r;
    uint64_t generation;

    worlds_dialect = DIALECT_AUTO;
    world_link(a, "beta", 1002, "");
    world_link(b, "alpha", 1001, "t/#");
    world_start(a);
    world_start(b);
    worlds_pass(1000);
    r = &world_peer(b, "alpha")->routes;
    generation = r->generation;
    assert_int_equal(wants_add(r->wants, BYTES_LIT(""), BYTES_LIT("t/1")), OK);
    assert_int_equal(wants_take(r->wants, all.now_ms, take, &lost), 1);
    wants_lost(r->wants);
    assert_int_equal(wants_take(r->wants, all.now_ms, take, &never), 0);
    assert_true(wants_state(r->wants).is_doubtful);
    worlds_pass(ROUTE_STREAM_BEAT_MS);
    assert_int_equal(r->generation, generation + 1);
    assert_false(wants_state(r->wants).is_announcing);
    assert_int_equal(announced_filter_count(world_peer(a, "beta")->announced), 1);
    assert_int_equal(world_peer(a, "beta")->intake.resyncs, 0);
    worlds_end();
}

/* Beta is asked for everything anew. */
static void ask_anew(struct route_stream *r)
{
    struct native_frame f = {
        .kind = NATIVE_ROUTES_ACK, .generation = r->generation, .wants_all = true};

    assert_int_equal(route_stream_take(r, &f), OK);
    worlds_settle();
}

TEST(route_stream_announces_all_anew_only_so_often_however_often_it_is_asked)
{
    struct world *a = world_make("alpha", 1001), *b = world_make("beta", 1002);
    struct route_stream *r;
    uint64_t before;

    worlds_dialect = DIALECT_AUTO;
    world_link(a, "beta", 1002, "");
    world_link(b, "alpha", 1001, "t/#");
    world_start(a);
    world_start(b);
    worlds_pass(60000);
    r = &world_peer(b, "alpha")->routes;
    before = r->generation;
    for (int i = 0; i < 100; i++)
        ask_anew(r);
    assert_int_equal(r->generation - before, ROUTE_STREAM_RESTARTS);
    for (int i = 0; i < 100; i++) {
        ask_anew(r);
        worlds_pass(ROUTE_STREAM_RESTART_MS / 10);
    }
    assert_in_range(r->generation - before, ROUTE_STREAM_RESTARTS + 9, ROUTE_STREAM_RESTARTS + 11);
    subscribe(client(b, "on-b"), "t/1", 1);
    worlds_pass(ROUTE_STREAM_RESTART_MS); /* what was put off is not forgotten */
    assert_false(r->must_restart || wants_state(r->wants).is_announcing);
    assert_int_equal(announced_filter_count(world_peer(a, "beta")->announced), 1);
    assert_false(world_said(a, "link down") || world_said(b, "link down"));
    worlds_pass(60000); /* and all may be asked for again */
    before = r->generation;
    for (int i = 0; i < 100; i++)
        ask_anew(r);
    assert_int_equal(r->generation - before, ROUTE_STREAM_RESTARTS);
    worlds_end();
}
