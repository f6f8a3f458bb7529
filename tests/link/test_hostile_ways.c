/* tests/link/test_hostile_ways.c -- a broker of ours that names groups, paths and ways as it may
 * not. */
#include "link/path.h"
#include "tests/link/stranger.h"

/* Alpha, whose links to beta, which is played here, and gamma have transit; gamma has a reader. */
struct scene {
    struct world *alpha, *gamma;
    struct cfg_link *to_beta, *to_gamma;
    struct wire *beta, *reader;
    uint64_t number; /* of the last frame of routes, or message */
};

static void design(struct scene *x)
{
    *x = (struct scene){.alpha = world_make("alpha", 1001), .gamma = world_make("gamma", 1002)};
    worlds_dialect = DIALECT_AUTO;
    worlds_called = NULL;
    x->to_beta = world_link(x->alpha, "beta", 3000, "#");
    x->to_gamma = world_link(x->alpha, "gamma", 1002, "#");
    x->to_beta->transit = x->to_gamma->transit = true;
    world_link(x->gamma, "alpha", 1001, "#")->transit = true;
}

static void begin(struct scene *x, struct emqx_control can)
{
    world_start(x->alpha);
    world_start(x->gamma);
    worlds_pass(20000);
    x->reader = client(x->gamma, "reader");
    x->beta = speaker(x->alpha, "b:1");
    introduce_with(x->beta, can);
    put_open(x->beta, 1);
    worlds_settle();
}

/* Beta announces one route, which may be passing. */
static void announce(struct scene *x, struct bytes text, bool is_passing)
{
    const struct native_op op = {.is_add = true, .is_passing = is_passing, .filter = text};
    static uint8_t last[NATIVE_TEXT_BYTES_MAX];
    struct native_batch batch;
    uint8_t b[1024];

    assert_int_equal(native_batch_begin(&batch, 1, ++x->number, last, b, sizeof(b)), OK);
    assert_int_equal(native_batch_add(&batch, &op), OK);
    put_frame(x->beta, bytes_of(b, native_batch_end(&batch)));
    worlds_settle();
}

static void expect_routes(const struct scene *x, uint32_t taken, uint32_t refused)
{
    assert_non_null(x->beta->stream[1]);
    assert_int_equal(announced_route_count(world_peer(x->alpha, "beta")->announced), taken);
    assert_int_equal(WORLD_COUNT(x->alpha, link_routes_invalid), refused);
}

/* Beta sends a message with a way. */
static void send(struct scene *x, const char *topic, struct bytes way)
{
    struct publish p = {.topic = bytes_str(topic),
                        .payload = BYTES_LIT("m"),
                        .qos = 1,
                        .protocol = MQTT_5,
                        .way = way};
    uint64_t held = 0;
    uint8_t b[1024], *to;

    assert_true(publish_message(&p, &held));
    to = native_messages_put_head(b, ++x->number, 1);
    to = bytes_put(native_record_put_head(to, p.message, 0), p.payload);
    publish_fini(&p);
    put_frame(x->beta, bytes_of(b, (size_t)(to - b)));
    worlds_settle();
    assert_non_null(x->beta->stream[1]);
}

static void expect_dropped(const struct scene *x, uint32_t count)
{
    assert_int_equal(WORLD_COUNT(x->alpha, link_messages_dropped), count);
}

/* ---- routes ---- */

TEST(hostile_names_of_groups_that_were_not_agreed_on_are_refused)
{
    for (int is_agreed = 0; is_agreed < 2; is_agreed++) {
        struct scene x;

        design(&x);
        x.to_beta->shared_groups = SHARED_GROUPS_GLOBAL;
        begin(&x, (struct emqx_control){.has_groups = is_agreed});
        announce(&x, BYTES_LIT("$share/g/t/+"), false);
        expect_routes(&x, is_agreed ? 1 : 0, is_agreed ? 0 : 1);
        announce(&x, BYTES_LIT("$share/g/t/#/u"), false);
        announce(&x, BYTES_LIT("$share/+/t"), false);
        announce(&x, BYTES_LIT("$share/g"), false);
        expect_routes(&x, is_agreed ? 1 : 0, is_agreed ? 3 : 4);
        worlds_end();
    }
}

TEST(hostile_passing_routes_that_were_not_agreed_on_are_refused)
{
    for (int is_agreed = 0; is_agreed < 2; is_agreed++) {
        struct scene x;

        design(&x);
        begin(&x, (struct emqx_control){.transits = is_agreed});
        announce(&x, BYTES_LIT("$delta\0/t"), true);
        expect_routes(&x, is_agreed ? 1 : 0, is_agreed ? 0 : 1);
        worlds_end();
    }
}

TEST(hostile_passing_routes_that_lead_nowhere_are_refused)
{
    uint8_t far[64] = "$", *to = far + 1;
    struct scene x;

    design(&x);
    begin(&x, (struct emqx_control){.transits = true});
    announce(&x, BYTES_LIT("$delta\0alpha\0/t"), true); /* it comes back to us */
    announce(&x, BYTES_LIT("$beta\0delta\0/t"), true);  /* and to who tells it */
    announce(&x, BYTES_LIT("$delta\0/t/#/u"), true);
    announce(&x, BYTES_LIT("$del+a\0/t"), true);
    announce(&x, BYTES_LIT("$delta\0xt"), true);
    announce(&x, BYTES_LIT("t"), true);
    for (uint32_t i = 0; i <= PATH_NAMES_MAX; i++)
        to = path_put(to, BYTES_LIT("x"));
    to = bytes_put(to, BYTES_LIT("/t"));
    announce(&x, bytes_of(far, (size_t)(to - far)), true);
    expect_routes(&x, 0, 7);
    worlds_end();
}

/* ---- messages ---- */

TEST(hostile_way_goes_nowhere_over_a_link_without_transit)
{
    for (int is_agreed = 0; is_agreed < 2; is_agreed++) {
        struct scene x;

        design(&x);
        begin(&x, (struct emqx_control){.transits = is_agreed});
        subscribe(x.reader, "#", 1);
        x.number = 0;
        send(&x, "t", BYTES_LIT("gamma\0\0beta\0"));
        if (is_agreed)
            expect_publish(x.reader, "t", "m");
        assert_null(wire_next(x.reader));
        worlds_end();
    }
}

TEST(hostile_way_takes_nothing_to_whom_it_is_not_exported)
{
    static const struct bytes exported = {(const uint8_t *)"t/#", 3};
    struct scene x;

    design(&x);
    x.to_gamma->exports = &exported;
    begin(&x, (struct emqx_control){.transits = true});
    subscribe(x.reader, "#", 1);
    send(&x, "t/1", BYTES_LIT("gamma\0\0beta\0"));
    send(&x, "u", BYTES_LIT("gamma\0\0beta\0"));
    expect_publish(x.reader, "t/1", "m");
    assert_null(wire_next(x.reader));
    expect_dropped(&x, 1);
    worlds_end();
}

TEST(hostile_way_that_names_a_cluster_twice_makes_one_copy)
{
    struct scene x;

    design(&x);
    begin(&x, (struct emqx_control){.transits = true});
    subscribe(x.reader, "t", 1);
    send(&x, "t", BYTES_LIT("gamma\0gamma\0\0beta\0"));
    expect_publish(x.reader, "t", "m");
    assert_null(wire_next(x.reader));
    assert_int_equal(WORLD_COUNT(x.alpha, link_messages_sent), 1);
    assert_int_equal(WORLD_COUNT(x.gamma, link_messages_received), 1);
    worlds_end();
}

/* Both beta and gamma lead to delta, and beta is preferred; but from there it comes. */
TEST(what_passes_does_not_go_back_where_another_way_leads_on)
{
    struct world *delta;
    struct wire *far;
    struct scene x;

    design(&x);
    world_link(x.gamma, "delta", 1003, "#")->transit = true;
    delta = world_make("delta", 1003);
    world_link(delta, "gamma", 1002, "#")->transit = true;
    world_start(delta);
    begin(&x, (struct emqx_control){.transits = true});
    far = client(delta, "far");
    subscribe(far, "t", 1);
    announce(&x, BYTES_LIT("$delta\0/t"), true);
    expect_routes(&x, 1, 0);
    x.number = 0;
    send(&x, "t", BYTES_LIT("delta\0\0beta\0"));
    expect_publish(far, "t", "m");
    assert_int_equal(world_waiting(x.alpha, "beta"), 0);
    worlds_end();
}

/* Only beta leads to delta: back it goes, if it has not been about for too long. */
TEST(what_passes_goes_back_where_no_other_way_leads_on_but_not_for_ever)
{
    uint8_t way[64], *to = bytes_put(way, BYTES_LIT("delta\0\0"));
    struct scene x;

    design(&x);
    begin(&x, (struct emqx_control){.transits = true});
    announce(&x, BYTES_LIT("$delta\0/t"), true);
    x.number = 0;
    to = path_put(to, BYTES_LIT("beta"));
    for (uint32_t i = 1; i <= PATH_PASSED_MAX; i++) {
        assert_int_equal(world_waiting(x.alpha, "beta"), i - 1);
        send(&x, "t", bytes_of(way, (size_t)(to - way)));
        to = path_put(to, BYTES_LIT("x"));
    }
    assert_int_equal(world_waiting(x.alpha, "beta"), PATH_PASSED_MAX - 1);
    expect_dropped(&x, 1);
    worlds_end();
}
