/* tests/link/test_switch.c -- messages that wait while `dialect` is changed. */
#include "tests/link/runtime.h"

static struct wire *reader, *writer;
static struct peer *to_beta;

/* Both links speak this dialect; a reader at beta, a writer at alpha. */
static void begin(enum cfg_dialect dialect)
{
    worlds_dialect = dialect;
    two();
    to_beta = world_peer(alpha, "beta");
    reader = client(beta, "reader");
    writer = client(alpha, "writer");
    subscribe(reader, "t/#", 1);
    worlds_pass(1000);
}

/* Alpha cannot reach beta, nor beta alpha; or they can again. */
static void part(bool is_parted)
{
    alpha->port = is_parted ? 0 : 3000;
    beta->port = is_parted ? 0 : 3001;
    for (uint32_t i = 0; is_parted && i < all.wire_count; i++)
        if (all.wire[i]->world[0] && all.wire[i]->stream[0])
            wire_drop(all.wire[i]);
    worlds_settle();
}

/* Both links are to speak so. */
static void speak(enum cfg_dialect dialect)
{
    alpha->cfg.links[0].dialect = dialect;
    beta->cfg.links[0].dialect = dialect;
    apply(alpha);
    apply(beta);
}

static void publish_from(struct wire *k, uint32_t from, uint32_t to)
{
    char text[16];

    for (uint32_t i = from; i < to; i++) {
        snprintf(text, sizeof(text), "%u", i);
        publish(k, "t/1", text, i % 3 ? 1 : 0);
    }
}

static void expect_up_to(struct wire *k, uint32_t to)
{
    char text[16];

    for (uint32_t i = 0; i < to; i++) {
        snprintf(text, sizeof(text), "%u", i);
        expect_publish(k, "t/1", text);
    }
    assert_null(wire_next(k));
}

static void switch_while_they_wait(enum cfg_dialect before, enum cfg_dialect after)
{
    begin(before);
    part(true);
    publish_from(writer, 0, 20);
    assert_int_equal(world_waiting(alpha, "beta"), 20);
    speak(after);
    publish_from(writer, 20, 30); /* nobody knows yet what they will speak */
    part(false);
    worlds_pass(20000);
    assert_int_equal(to_beta->speaks_native, after == DIALECT_AUTO);
    publish_from(writer, 30, 40);
    expect_up_to(reader, 40);
    assert_int_equal(world_waiting(alpha, "beta"), 0);
    assert_int_equal(to_beta->carrier.out.sent.count, 0);
    assert_int_equal(WORLD_COUNT(alpha, link_messages_dropped), 0);
    assert_int_equal(WORLD_COUNT(alpha, input_bytes_held), 0);
    worlds_end();
}

TEST(what_waits_natively_goes_as_to_emqx_in_order_when_that_is_spoken)
{
    switch_while_they_wait(DIALECT_AUTO, DIALECT_EMQX);
}

TEST(what_waits_as_for_emqx_goes_first_when_our_dialect_is_spoken)
{
    switch_while_they_wait(DIALECT_EMQX, DIALECT_AUTO);
}

/* What was on its way, and a window that lets little through. */
TEST(what_was_sent_natively_and_not_acknowledged_goes_as_to_emqx)
{
    begin(DIALECT_AUTO);
    for (uint32_t i = 0; i < all.wire_count; i++)
        all.wire[i]->is_silent |= all.wire[i]->world[0] != NULL; /* nothing arrives any more */
    publish_from(writer, 1, 3);
    assert_int_equal(to_beta->carrier.out.sent.count, 2);
    speak(DIALECT_EMQX);
    worlds_pass(30000);
    expect_publish(reader, "t/1", "1");
    expect_publish(reader, "t/1", "2");
    assert_null(wire_next(reader));
    assert_int_equal(to_beta->carrier.out.sent.count, 0);
    worlds_end();
}

/* As long as it has waited already counts. */
TEST(what_waits_grows_no_younger_when_another_dialect_is_spoken)
{
    begin(DIALECT_AUTO);
    alpha->cfg.links[0].queue_age = 100;
    apply(alpha);
    part(true);
    publish_from(writer, 0, 3);
    worlds_pass(90000);
    to_beta->speaks_native = false; /* as after their introduction */
    worlds_pass(1000);
    assert_int_equal(to_beta->carrier.out.waiting.count, 0);
    assert_int_equal(world_waiting(alpha, "beta"), 3);
    worlds_pass(20000);
    assert_int_equal(world_waiting(alpha, "beta"), 0);
    assert_int_equal(to_beta->forwarders[0].window.lost.aged, 3);
    worlds_end();
}

/* A slice in each turn, and what comes meanwhile stays behind it. */
TEST(much_that_waits_is_moved_in_slices_in_order)
{
    enum { MANY = 3000 };
    char text[16];
    uint32_t before, slices = 0;

    begin(DIALECT_AUTO);
    part(true);
    for (uint32_t i = 0; i < MANY; i++) {
        snprintf(text, sizeof(text), "%u", i);
        wire_publish(writer,
                     &(struct publish_out){.topic = BYTES_LIT("t/1"), .payload = bytes_str(text)});
    }
    worlds_settle();
    assert_int_equal(to_beta->carrier.out.waiting.count, MANY);
    to_beta->speaks_native = false; /* as after their introduction */
    while ((before = to_beta->carrier.out.waiting.count) > 0) {
        snprintf(text, sizeof(text), "%u", MANY + slices);
        wire_publish(writer,
                     &(struct publish_out){.topic = BYTES_LIT("t/1"), .payload = bytes_str(text)});
        turn(alpha, WORLD_CLIENTS);
        turn(alpha, WORLD_LINKS);
        assert_true(before < to_beta->carrier.out.waiting.count + 1000);
        assert_true(++slices < 20);
    }
    assert_true(slices > 3);
    speak(DIALECT_EMQX);
    part(false);
    worlds_pass(20000);
    expect_up_to(reader, MANY + slices);
    worlds_end();
}
