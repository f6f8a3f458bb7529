/* tests/link/test_hostile.c -- who is let in as a broker of ours, and means harm. */
#include "tests/link/stranger.h"

#define OUTQ_BYTES (64u << 10)
#define BOUND (4 * OUTQ_BYTES) /* of what may wait for one connection */

/* A world "alpha" that knows "beta"; nothing is dialled successfully. */
static struct world *alone(void)
{
    struct world *w = world_make("alpha", 1001);

    worlds_dialect = DIALECT_AUTO;
    worlds_called = NULL;
    w->cfg.limits.outq_bytes = OUTQ_BYTES;
    world_link(w, "beta", 3000, "t/#");
    world_start(w);
    worlds_settle();
    return w;
}

static uint32_t lines_with(const struct world *w, const char *text)
{
    const char *at = w->log.text;
    uint32_t n = 0;

    for (; (at = strstr(at, text)) != NULL; at++)
        n++;
    return n;
}

/* Bytes that wait for a connection; 0: it was cut off. */
static uint32_t waiting_for(const struct wire *k)
{
    return k->stream[1] ? k->stream[1]->outq.bytes : 0;
}

/* ---- who does not read ---- */

TEST(hostile_beats_whose_answers_nobody_reads_do_not_pile_up)
{
    struct world *w = alone();
    struct wire *k = speaker(w, "b:1");
    struct native_frame f = {.kind = NATIVE_BEAT, .generation = 1};

    introduce(k);
    k->reads = false;
    for (uint32_t i = 0; i < 20000; i++) {
        f.number = i + 1;
        put_control(k, &f);
        turn(w, WORLD_LINKS); /* an answer in each */
    }
    assert_true(waiting_for(k) < BOUND);
    k->reads = true;
    stream_touch(k->stream[1]);
    worlds_settle();
    f.number++;
    put_control(k, &f); /* who reads again is told again */
    worlds_settle();
    assert_true(k->n[0] > 0 && k->stream[1]);
    worlds_end();
}

TEST(hostile_openings_whose_answers_nobody_reads_end)
{
    struct world *w = alone();
    struct wire *k[2] = {speaker(w, "b:1"), speaker(w, "b:2")};

    k[0]->reads = k[1]->reads = false;
    for (uint32_t i = 0; i < 20000; i++) {
        put_open(k[i % 2], i + 1); /* the newest is the other one each time */
        if (i % 1000 == 0)
            worlds_settle();
    }
    worlds_settle();
    assert_true(waiting_for(k[0]) < BOUND && waiting_for(k[1]) < BOUND);
    worlds_end();
}

TEST(hostile_second_opening_on_one_connection_ends_it)
{
    struct world *w = alone();
    struct wire *k = speaker(w, "b:1");

    put_open(k, 1);
    worlds_settle();
    wire_expect(k, PACKET_PUBLISH);
    put_open(k, 2);
    worlds_settle();
    assert_int_equal(wire_expect(k, PACKET_DISCONNECT)->disconnect.reason, 0x83);
    worlds_end();
}

/* What is behind a fault on the same connection is lost with it, so its sender must keep it. */
TEST(hostile_connection_that_ends_acknowledges_nothing_any_more)
{
    struct world *w = alone();
    struct wire *k = speaker(w, "b:1");
    struct publish_out message = {.topic = BYTES_LIT("$LINK/cluster/msg/beta"),
                                  .qos = 1,
                                  .packet_id = 7,
                                  .payload = BYTES_LIT("x")};

    put_open(k, 1);
    worlds_settle();
    wire_expect(k, PACKET_PUBLISH);
    put_open(k, 2);
    wire_publish(k, &message);
    worlds_settle();
    assert_int_equal(wire_expect(k, PACKET_DISCONNECT)->disconnect.reason, 0x83);
    assert_null(k->stream[1]);
    worlds_end();
}

TEST(hostile_introductions_whose_refusals_nobody_reads_end)
{
    struct world *w = alone();
    struct wire *k = speaker(w, "b:1");

    k->reads = false;
    for (uint32_t i = 0; i < 10000 && k->stream[1]; i++) {
        put_introduction(k, "gamma");
        if (i % 100 == 0)
            worlds_settle();
    }
    worlds_settle();
    assert_true(waiting_for(k) < BOUND);
    worlds_end();
}

/* ---- what is retained ---- */

/* An answer with a retained message of t/1. */
static void put_retained(struct wire *k, uint64_t question, uint64_t number)
{
    struct publish p = {.topic = BYTES_LIT("t/1"),
                        .payload = BYTES_LIT("x"),
                        .retain = true,
                        .protocol = MQTT_5,
                        .sequence = all.wall_ms << 22};
    uint8_t b[256], *to = native_retained_put_head(b, question, number, 1);
    uint64_t held = 0;

    assert_non_null(publish_message(&p, &held));
    to = bytes_put(native_record_put_head(to, p.message, 0), p.payload);
    publish_fini(&p);
    put_frame(k, bytes_of(b, (size_t)(to - b)));
    worlds_settle();
}

/* As many of t/0, in one frame. */
static void put_many_retained(struct wire *k, uint64_t question, uint64_t number, uint32_t count)
{
    static uint8_t b[NATIVE_FRAME_BYTES];
    uint8_t *to = native_retained_put_head(b, question, number, count);
    uint64_t held = 0;

    while (count-- > 0) {
        struct publish p = {.topic = BYTES_LIT("t/0"),
                            .payload = BYTES_LIT("x"),
                            .retain = true,
                            .protocol = MQTT_5,
                            .sequence = all.wall_ms << 22};

        assert_non_null(publish_message(&p, &held));
        to = bytes_put(native_record_put_head(to, p.message, 0), p.payload);
        publish_fini(&p);
    }
    put_frame(k, bytes_of(b, (size_t)(to - b)));
}

static void assert_nothing_is_retained(struct world *w)
{
    struct wire *reader = client(w, "reader");

    subscribe(reader, "t/#", 0);
    worlds_settle();
    assert_null(wire_next(reader));
}

TEST(hostile_retained_messages_that_nobody_asked_for_are_not_kept)
{
    struct world *w = alone();
    struct wire *k = speaker(w, "b:1");

    put_retained(k, 0, 1);
    put_retained(k, 1, 2);
    assert_nothing_is_retained(w);
    worlds_end();
}

TEST(hostile_answer_goes_on_after_its_link_has_ceased_to_ask_and_is_not_kept)
{
    struct world *w = alone();
    struct wire *k = speaker(w, "b:1");

    world_peer(w, "beta")->retained.asked.question = 5; /* it was `sync` then */
    put_retained(k, 5, 1);
    wire_expect(k, PACKET_PUBLISH); /* acknowledged, so that it ends */
    assert_nothing_is_retained(w);
    worlds_end();
}

/* The answer then goes on elsewhere, with other frames. */
TEST(hostile_connection_that_ends_within_a_frame_of_an_answer_costs_no_other_frame_a_message)
{
    struct world *w = alone();
    struct wire *k = speaker(w, "b:1"), *reader;
    struct retained_sync *r = &world_peer(w, "beta")->retained;
    uint64_t number = 0;

    world_peer(w, "beta")->link->retained = RETAINED_SYNC;
    r->asked.question = 5;
    while (r->asked.at == 0) { /* nobody takes what it posts */
        put_many_retained(k, 5, ++number, 2000);
        turn(w, WORLD_LINKS);
        assert_true(number < 1000);
    }
    stream_abort(k->stream[1], CLOSE_SOCKET_ERROR);
    turn(w, WORLD_LINKS);
    worlds_settle();
    put_retained(speaker(w, "b:2"), 5, number + 1);
    reader = client(w, "reader");
    subscribe(reader, "t/1", 0);
    worlds_settle();
    expect_publish(reader, "t/1", "x");
    worlds_end();
}

TEST(hostile_ends_of_answers_do_not_fill_the_log)
{
    struct native_frame f = {.kind = NATIVE_RETAINED_END};
    struct world *w = alone();
    struct wire *k = speaker(w, "b:1");

    put_control(k, &f); /* of a question that was never asked */
    worlds_settle();
    assert_int_equal(lines_with(w, "retained messages compared"), 0);
    f.question = 5;
    world_peer(w, "beta")->retained.asked.question = 5;
    for (uint32_t i = 0; i < 10; i++)
        put_control(k, &f);
    worlds_settle();
    assert_int_equal(lines_with(w, "retained messages compared"), 1);
    worlds_pass(RETAINED_SAY_MS);
    put_control(speaker(w, "b:1"), &f);
    worlds_settle();
    assert_int_equal(lines_with(w, "retained messages compared"), 2);
    worlds_end();
}

/* ---- sessions ---- */

TEST(hostile_session_with_an_expiry_does_not_stay_with_the_links)
{
    struct world *w = alone();
    struct wire *k = wire_to_links(w);
    const struct packet *p;

    greet(k, "b:1", 3600);
    p = wire_expect(k, PACKET_CONNACK);
    assert_int_equal(p->connack.reason, 0);
    assert_true(p->connack.props.present & PROP_BIT(PROP_SESSION_EXPIRY));
    assert_int_equal(p->connack.props.session_expiry, 0);
    assert_int_equal(WORLD_COUNT(w, sessions), 1);
    wire_drop(k);
    worlds_settle();
    assert_int_equal(WORLD_COUNT(w, sessions), 0);
    worlds_end();
}

TEST(hostile_session_is_not_lengthened_in_parting)
{
    struct world *w = alone();
    struct wire *k = wire_to_links(w);
    static const uint8_t bye[] = {0xE0, 7, 0, 5, 0x11, 0, 0, 0x0E, 0x10};

    greet(k, "b:1", 3600);
    wire_expect(k, PACKET_CONNACK);
    wire_send(k, bye, bye + sizeof(bye));
    worlds_settle();
    assert_int_equal(WORLD_COUNT(w, sessions), 0);
    worlds_end();
}

/* The next connection has proven this user name. */
static void prove(struct world *w, const char *user)
{
    size_t n = strlen(user);

    w->admission = calloc(1, sizeof(*w->admission) + n);
    assert_non_null(w->admission);
    w->admission->has_user = true;
    w->admission->user_count = (uint16_t)n;
    memcpy(w->admission->user, user, n);
}

TEST(hostile_client_does_not_take_the_place_of_a_proven_peer)
{
    struct world *w = world_make("alpha", 1001);
    struct wire *real, *fake, *again;

    worlds_dialect = DIALECT_AUTO;
    worlds_called = NULL;
    world_link(w, "beta", 3000, "t/#")->peer_identity = "cluster-b";
    world_start(w);
    prove(w, "cluster-b");
    real = speaker(w, "b:1");
    fake = wire_to_links(w);
    greet(fake, "b:1", 0);
    assert_int_equal(wire_expect(fake, PACKET_CONNACK)->connack.reason, REASON_CLIENT_ID_NOT_VALID);
    introduce(real); /* it is still there */
    prove(w, "cluster-b");
    again = speaker(w, "b:1"); /* and it may come again */
    assert_int_equal(wire_expect(real, PACKET_DISCONNECT)->disconnect.reason,
                     REASON_SESSION_TAKEN_OVER);
    introduce(again);
    worlds_end();
}

TEST(hostile_refusals_of_our_incarnation_end)
{
    struct world *w = world_make("alpha", 1001);
    struct native_frame f = {.kind = NATIVE_WELCOME, .is_refused = true};
    struct wire *k;

    worlds_dialect = DIALECT_AUTO;
    worlds_called = NULL;
    world_link(w, "beta", 3000, "t/#")->server_count = 0;
    world_start(w);
    k = speaker(w, "b:1");
    introduce(k);
    for (uint32_t i = 0; i < 100 && k->stream[1]; i++) {
        f.incarnation = world_peer(w, "beta")->greeter.incarnation + 1; /* it is never enough */
        put_control(k, &f);
        worlds_settle();
    }
    assert_null(k->stream[1]);
    assert_int_equal(lines_with(w, "link incarnation refused"), 1);
    worlds_end();
}

/* ---- what we send ---- */

/* The wire of a connection that `w` has opened for messages. */
static struct wire *wire_of_messages(struct world *w, struct peer *p)
{
    struct wire *k = p->forwarders[0].dialer.stream.conn;

    assert_true(k->world[0] == w);
    return k;
}

/* As if the server had said it. */
static void say_to_dialer(struct wire *k, const struct native_frame *f)
{
    struct publish_out p = {.topic = BYTES_LIT("$LINK/cluster/native/beta")};
    uint8_t b[NATIVE_CONTROL_BYTES_MAX], packet[256], *to;
    uint32_t n;

    assert_int_equal(native_frame_encode(f, b, sizeof(b), &n), OK);
    p.payload = bytes_of(b, n);
    to = bytes_put(publish_put_header(packet, MQTT_5, &p), p.payload);
    wire_put(k, 0, packet, (size_t)(to - packet));
    worlds_settle();
}

TEST(hostile_peer_that_answers_our_opening_again_ends)
{
    struct world *alpha = world_make("alpha", 1001), *beta = world_make("beta", 1002);
    struct native_frame f = {.kind = NATIVE_OPENED};
    struct peer *p;

    worlds_dialect = DIALECT_AUTO;
    worlds_called = NULL;
    world_link(alpha, "beta", 1002, "#");
    world_link(beta, "alpha", 1001, "#");
    world_start(alpha);
    world_start(beta);
    worlds_settle();
    p = world_peer(alpha, "beta");
    assert_true(p->is_up && p->carrier.out.is_open);
    f.boot = p->host->boot;
    f.window = (struct native_window){1000, 1000};
    say_to_dialer(wire_of_messages(alpha, p), &f);
    assert_true(world_said(alpha, "a second OPENED on one connection"));
    worlds_end();
}

TEST(hostile_server_that_reads_no_acknowledgement_ends)
{
    struct world *alpha = world_make("alpha", 1001), *beta = world_make("beta", 1002);
    struct publish_out m = {.topic = BYTES_LIT("x"), .qos = 1, .packet_id = 7};
    struct wire *k;
    uint8_t packet[64];
    uint8_t *end = publish_put_header(packet, MQTT_5, &m);

    worlds_dialect = DIALECT_AUTO;
    worlds_called = NULL;
    alpha->cfg.limits.outq_bytes = OUTQ_BYTES;
    world_link(alpha, "beta", 1002, "#");
    world_link(beta, "alpha", 1001, "#");
    world_start(alpha);
    world_start(beta);
    worlds_settle();
    k = wire_of_messages(alpha, world_peer(alpha, "beta"));
    k->reads = false;
    for (uint32_t i = 0; i < 4 * BOUND / 4 && k->stream[0]; i++) {
        wire_put(k, 0, packet, (size_t)(end - packet));
        if (i % 10000 == 0)
            turn(alpha, WORLD_LINKS);
    }
    turn(alpha, WORLD_LINKS);
    assert_true(world_said(alpha, "it does not read our acknowledgements"));
    worlds_end();
}
