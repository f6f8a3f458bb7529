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
