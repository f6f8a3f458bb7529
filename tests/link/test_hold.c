/* tests/link/test_hold.c -- why the connections of a link are not read. */
#include "link/hold.h"

#include "link/emqx_message.h"
#include "tests/link/worlds.h"

static struct world *w;
static struct wire *reader, *speaker;
static struct hold *hold;

static void begin(void)
{
    w = world_make("alpha", 0);
    world_link(w, "beta", 3000, "#");
    world_start(w);
    reader = client(w, "reader");
    speaker = client(w, "beta:msg:1");
    subscribe(reader, "#", 0);
    worlds_settle();
    hold = &world_peer(w, "beta")->hold;
}

static void speak(void)
{
    struct emqx_message m = {.id = BYTES_LIT("0123456789abcdef"),
                             .from = BYTES_LIT("dev"),
                             .topic = BYTES_LIT("t"),
                             .payload = BYTES_LIT("hi"),
                             .timestamp_ms = all.wall_ms};
    uint8_t payload[512], behind[EMQX_TAIL_BYTES];
    struct publish_out p = {.topic = BYTES_LIT("$LINK/cluster/msg/beta")};
    uint32_t head, tail;

    assert_int_equal(emqx_message_encode(&m, payload, 256, &head, behind, &tail), OK);
    bytes_put(bytes_put(payload + head, m.payload), bytes_of(behind, tail));
    p.payload = bytes_of(payload, head + m.payload.n + tail);
    wire_publish(speaker, &p);
    worlds_settle();
}

TEST(hold_ends_with_the_last_of_its_reasons)
{
    for (int order = 0; order < 2; order++) {
        begin();
        hold_crowded(hold, true);
        hold_until(hold, all.now_ms + 1000);
        speak();
        assert_null(wire_next(reader));
        if (order)
            hold_crowded(hold, false);
        worlds_pass(order ? 900 : 1100);
        assert_null(wire_next(reader));
        if (!order)
            hold_crowded(hold, false);
        worlds_pass(200);
        expect_publish(reader, "t", "hi");
        speak();
        expect_publish(reader, "t", "hi");
        assert_int_equal(WORLD_COUNT(w, link_holds), 1);
        worlds_end();
    }
}

TEST(hold_lets_silence_count_only_some_time_after_it)
{
    begin();
    assert_int_equal(hold_hears_ms(hold), 0);
    hold_crowded(hold, true);
    worlds_pass(60000);
    assert_int_equal(hold_hears_ms(hold), all.now_ms + HOLD_HEAR_MS);
    hold_until(hold, all.now_ms + 500);
    assert_int_equal(hold_hears_ms(hold), all.now_ms + 500 + HOLD_HEAR_MS);
    hold_crowded(hold, false);
    worlds_pass(1000);
    assert_in_range(hold_hears_ms(hold), all.now_ms - 500 + HOLD_HEAR_MS,
                    all.now_ms - 400 + HOLD_HEAR_MS);
    hold_until(hold, all.now_ms); /* not in the future */
    speak();
    expect_publish(reader, "t", "hi");
    worlds_end();
}
