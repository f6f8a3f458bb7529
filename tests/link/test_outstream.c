/* tests/link/test_outstream.c -- what waits for a native peer, what it has, what is lost. */
#include "tests/link/streams.h"

#define WIDE ((struct native_window){1u << 20, 1000})

static void start(struct outstream *s, uint64_t bytes_max, enum outstream_full full)
{
    struct outstream_config c = {.boot = BOOT, .bytes_max = bytes_max, .full = full};

    outstream_init(s, &c);
}

static enum err rewind_to(struct outstream *s, uint64_t last, struct native_window window)
{
    struct native_frame f = {.kind = NATIVE_OPENED, .boot = BOOT, .last = last, .window = window};

    return outstream_rewind(s, &f, UINT32_MAX);
}

static enum err ack_to(struct outstream *s, uint64_t last, struct native_window window)
{
    struct native_frame f = {.kind = NATIVE_ACK, .boot = BOOT, .last = last, .window = window};

    return outstream_ack(s, &f);
}

static void opened(struct outstream *s, uint64_t last)
{
    assert_int_equal(rewind_to(s, last, WIDE), OK);
}

static void acked(struct outstream *s, uint64_t last)
{
    assert_int_equal(ack_to(s, last, WIDE), OK);
}

static void push_at(struct outstream *s, uint32_t number, uint8_t qos, uint64_t now_ms)
{
    struct message *m = numbered(number, qos, 10, 0);

    outstream_push(s, m, now_ms);
    message_release(m);
}

static void push(struct outstream *s, uint32_t number, uint8_t qos)
{
    push_at(s, number, qos, 0);
}

/* The cost of a message of `push`. */
static uint32_t cost(void)
{
    struct message *m = numbered(0, 0, 10, 0);
    uint32_t n = message_cost(m);

    message_release(m);
    return n;
}

/* The next frame holds `count` messages numbered from `number`, with sequences from `first`. */
static void expect_at(struct outstream *s, uint64_t now_ms, uint32_t room, uint64_t first,
                      uint32_t number, uint32_t count)
{
    struct outstream_frame f;

    assert_true(outstream_next(s, now_ms, room, &f));
    assert_int_equal(f.first, first);
    assert_int_equal(f.count, count);
    for (uint32_t i = 0; i < f.count; i++) {
        assert_int_equal(get_be32(message_payload(f.records[i].message).p), number + i);
        message_release(f.records[i].message);
    }
}

static void expect(struct outstream *s, uint64_t first, uint32_t number, uint32_t count)
{
    expect_at(s, 0, UINT32_MAX, first, number, count);
}

static void nothing(struct outstream *s)
{
    struct outstream_frame f;

    assert_false(outstream_next(s, 0, UINT32_MAX, &f));
}

static void end(struct outstream *s)
{
    outstream_fini(s);
    assert_int_equal(held, 0);
}

static uint64_t first_of_open(const struct outstream *s)
{
    struct native_frame f;

    outstream_open(s, &f);
    assert_int_equal(f.kind, NATIVE_OPEN);
    assert_int_equal(f.boot, BOOT);
    return f.first;
}

TEST(outstream_sends_all_that_waits_in_one_frame)
{
    struct outstream s;

    start(&s, 1u << 20, OUTSTREAM_DROP_OLDEST);
    for (uint32_t i = 0; i < 5; i++)
        push(&s, i, (uint8_t)(i % 3));
    nothing(&s); /* not opened yet */
    assert_int_equal(first_of_open(&s), 1);
    opened(&s, 0);
    expect(&s, 1, 0, 5);
    nothing(&s);
    assert_int_equal(s.inflight.messages, 5);
    assert_int_equal(s.kept_count, 3);
    acked(&s, 4);
    assert_int_equal(s.inflight.messages, 1);
    assert_int_equal(first_of_open(&s), 5);
    acked(&s, 5);
    assert_int_equal(s.inflight.bytes, 0);
    assert_int_equal(s.kept_bytes + s.waiting_bytes, 0);
    assert_int_equal(held, 0);
    assert_int_equal(outstream_lost_sum(&s), 0);
    end(&s);
}

TEST(outstream_lets_go_of_qos_0_when_it_is_sent)
{
    struct outstream s;

    start(&s, 1u << 20, OUTSTREAM_DROP_OLDEST);
    opened(&s, 0);
    push(&s, 0, 0);
    expect(&s, 1, 0, 1);
    assert_int_equal(held, 0);
    assert_int_equal(s.inflight.messages, 1); /* but its flight counts */
    outstream_gone(&s);
    assert_int_equal(s.sent.count, 0);
    assert_int_equal(first_of_open(&s), 2);
    opened(&s, 0);
    nothing(&s);
    end(&s);
}

TEST(outstream_frames_are_no_larger_than_there_is_room)
{
    struct outstream_frame f;
    struct outstream s;
    uint32_t one;

    start(&s, 1u << 20, OUTSTREAM_DROP_OLDEST);
    opened(&s, 0);
    push(&s, 0, 1);
    assert_true(outstream_next(&s, 0, 0, &f)); /* alone always */
    one = f.bytes;
    message_release(f.records[0].message);
    for (uint32_t i = 1; i < 1000; i++)
        push(&s, i, 1);
    expect_at(&s, 0, 2 * one, 2, 1, 2);
    expect_at(&s, 0, 2 * one - 4, 4, 3, 1); /* the head is for both */
    expect(&s, 5, 4, OUTSTREAM_FRAME_MESSAGES);
    end(&s);
}

TEST(outstream_frames_end_before_64_kib_unless_one_record_is_larger)
{
    struct outstream_frame f;
    struct outstream s;
    struct message *m;

    start(&s, 1u << 20, OUTSTREAM_DROP_OLDEST);
    assert_int_equal(rewind_to(&s, 0, (struct native_window){UINT64_MAX, UINT64_MAX}), OK);
    for (uint32_t i = 0; i < 7; i++) {
        m = numbered(i, 1, i == 3 ? 100000 : 20000, 0);
        outstream_push(&s, m, 0);
        message_release(m);
    }
    expect(&s, 1, 0, 3);
    expect(&s, 4, 3, 1);
    expect(&s, 5, 4, 3);
    assert_false(outstream_next(&s, 0, UINT32_MAX, &f));
    end(&s);
}

TEST(outstream_keeps_to_the_window_but_one_may_always_fly)
{
    struct outstream s;
    uint64_t one;

    start(&s, 1u << 20, OUTSTREAM_DROP_OLDEST);
    for (uint32_t i = 0; i < 10; i++)
        push(&s, i, 1);
    assert_int_equal(rewind_to(&s, 0, (struct native_window){0, 0}), OK);
    expect(&s, 1, 0, 1);
    one = s.inflight.bytes;
    nothing(&s);
    assert_int_equal(ack_to(&s, 1, (struct native_window){3 * one, 100}), OK);
    expect(&s, 2, 1, 3);
    nothing(&s);
    assert_int_equal(ack_to(&s, 2, (struct native_window){3 * one, 100}), OK);
    expect(&s, 5, 4, 1);
    assert_int_equal(ack_to(&s, 5, (struct native_window){100 * one, 2}), OK);
    expect(&s, 6, 5, 2);
    nothing(&s);
    assert_int_equal(ack_to(&s, 5, (struct native_window){one, 1}), OK); /* it takes some back */
    nothing(&s);
    assert_int_equal(ack_to(&s, 6, (struct native_window){one, 1}), OK);
    nothing(&s);
    assert_int_equal(ack_to(&s, 7, (struct native_window){one, 1}), OK);
    expect(&s, 8, 7, 1);
    end(&s);
}

TEST(outstream_refuses_acknowledgements_for_nothing)
{
    struct native_frame f = {.kind = NATIVE_OPENED, .boot = BOOT + 1, .window = WIDE};
    struct outstream s;

    start(&s, 1u << 20, OUTSTREAM_DROP_OLDEST);
    assert_int_equal(ack_to(&s, 0, WIDE), ERR_PEER); /* before OPENED */
    assert_int_equal(rewind_to(&s, 1, WIDE), ERR_PEER);
    assert_int_equal(outstream_rewind(&s, &f, UINT32_MAX), ERR_PEER);
    opened(&s, 0);
    push(&s, 0, 1);
    assert_int_equal(ack_to(&s, 1, WIDE), ERR_PEER); /* it waits */
    expect(&s, 1, 0, 1);
    assert_int_equal(ack_to(&s, 2, WIDE), ERR_PEER);
    assert_int_equal(outstream_ack(&s, &f), ERR_PEER);
    acked(&s, 1);
    acked(&s, 1);
    acked(&s, 0);
    outstream_gone(&s);
    assert_int_equal(ack_to(&s, 1, WIDE), ERR_PEER);
    end(&s);
}

TEST(outstream_sends_again_what_was_not_taken_and_nothing_else)
{
    struct outstream_frame f;
    struct outstream s;

    start(&s, 1u << 20, OUTSTREAM_DROP_OLDEST);
    opened(&s, 0);
    for (uint32_t i = 0; i < 8; i++)
        push(&s, i, i == 4 ? 0 : 2);
    expect(&s, 1, 0, 8);
    acked(&s, 1);
    push(&s, 8, 1);
    outstream_gone(&s);
    nothing(&s);
    assert_int_equal(first_of_open(&s), 2);
    assert_int_equal(s.inflight.messages, 0);
    opened(&s, 2); /* it took one more than it could say */
    expect(&s, 3, 2, 2);
    expect(&s, 6, 5, 3); /* QoS 0 in between is gone */
    assert_int_equal(s.again, 5);
    acked(&s, 6);
    outstream_gone(&s); /* in the middle of that */
    opened(&s, 6);
    assert_true(outstream_next(&s, 0, UINT32_MAX, &f));
    assert_true(f.is_again && f.first == 7 && f.count == 2);
    message_release(f.records[0].message);
    message_release(f.records[1].message);
    assert_true(outstream_next(&s, 0, UINT32_MAX, &f));
    assert_true(!f.is_again && f.first == 9 && f.count == 1);
    message_release(f.records[0].message);
    acked(&s, 9);
    assert_int_equal(outstream_lost_sum(&s), 0);
    assert_int_equal(held, 0);
    end(&s);
}

TEST(outstream_takes_the_word_of_a_peer_that_has_it_from_an_older_connection)
{
    struct outstream s;

    start(&s, 1u << 20, OUTSTREAM_DROP_OLDEST);
    opened(&s, 0);
    for (uint32_t i = 0; i < 4; i++)
        push(&s, i, 1);
    expect(&s, 1, 0, 4);
    assert_int_equal(rewind_to(&s, 0, (struct native_window){0, 1}), OK);
    expect(&s, 1, 0, 1);
    assert_int_equal(ack_to(&s, 3, (struct native_window){0, 1}), OK); /* not sent on this one */
    expect(&s, 4, 3, 1);
    assert_int_equal(s.inflight.messages, 1);
    acked(&s, 4);
    assert_int_equal(s.inflight.messages, 0);
    assert_int_equal(s.inflight.bytes, 0);
    end(&s);
}

TEST(outstream_drops_the_oldest_that_waits_at_its_bound)
{
    struct message *large = numbered(99, 1, 5000, 0);
    struct outstream s;

    start(&s, 4ull * cost(), OUTSTREAM_DROP_OLDEST);
    opened(&s, 0);
    push(&s, 0, 1);
    expect(&s, 1, 0, 1);
    for (uint32_t i = 1; i < 6; i++)
        push(&s, i, 1);
    assert_int_equal(s.lost.full, 2);
    outstream_push(&s, large, 0); /* never fits: nobody goes for it */
    assert_int_equal(s.lost.full, 3);
    message_release(large);
    expect(&s, 2, 3, 3);
    push(&s, 6, 1); /* all is sent: what was sent stays */
    assert_int_equal(s.lost.full, 4);
    acked(&s, 1);
    push(&s, 7, 1);
    expect(&s, 5, 7, 1);
    acked(&s, 5);
    assert_int_equal(s.lost.full, 4);
    end(&s);
}

TEST(outstream_does_not_empty_its_queue_for_what_will_not_fit_beside_what_was_sent)
{
    struct message *large = numbered(99, 1, 10 + cost(), 0);
    struct outstream s;

    start(&s, 3ull * cost(), OUTSTREAM_DROP_OLDEST);
    opened(&s, 0);
    push(&s, 0, 1);
    push(&s, 1, 1);
    expect(&s, 1, 0, 2);
    push(&s, 2, 1);
    outstream_push(&s, large, 0);
    message_release(large);
    assert_int_equal(s.lost.full, 1);
    expect(&s, 3, 2, 1);
    end(&s);
}

TEST(outstream_drops_the_newest_when_told_to)
{
    struct outstream s;

    start(&s, 2ull * cost(), OUTSTREAM_DROP_NEWEST);
    for (uint32_t i = 0; i < 5; i++)
        push(&s, i, 1);
    assert_int_equal(s.lost.full, 3);
    opened(&s, 0);
    expect(&s, 1, 0, 2);
    end(&s);
}

TEST(outstream_that_blocks_says_so_and_takes_what_comes_all_the_same)
{
    struct outstream s;

    start(&s, 2ull * cost(), OUTSTREAM_BLOCK);
    push(&s, 0, 1);
    assert_false(outstream_is_full(&s));
    push(&s, 1, 1);
    assert_true(outstream_is_full(&s));
    push(&s, 2, 1); /* was on its way */
    assert_int_equal(outstream_lost_sum(&s), 0);
    opened(&s, 0);
    expect(&s, 1, 0, 3);
    assert_true(outstream_is_full(&s));
    acked(&s, 2);
    assert_false(outstream_is_full(&s));
    end(&s);
}

TEST(outstream_does_not_grow_where_memory_is_short)
{
    struct message *large = numbered(0, 1, OUTSTREAM_LEAST_BYTES, 0);
    struct outstream s;

    start(&s, 4ull * OUTSTREAM_LEAST_BYTES, OUTSTREAM_DROP_NEWEST);
    outstream_push(&s, large, 0);
    assert_false(outstream_is_full(&s));
    s.must_not_grow = true;
    assert_true(outstream_is_full(&s));
    push(&s, 1, 1);
    assert_int_equal(s.lost.full, 1);
    s.must_not_grow = false;
    push(&s, 2, 1);
    assert_int_equal(s.waiting.count, 2);
    message_release(large);
    end(&s);
}

TEST(outstream_drops_what_has_expired_also_when_it_was_sent_before)
{
    struct outstream s;

    start(&s, 1u << 20, OUTSTREAM_DROP_OLDEST);
    opened(&s, 0);
    for (uint32_t i = 0; i < 6; i++) {
        struct message *m = numbered(i, 1, 10, i % 4 == 1 ? 1000 : 0);

        outstream_push(&s, m, 0);
        message_release(m);
    }
    assert_int_equal(rewind_to(&s, 0, (struct native_window){1u << 20, 3}), OK);
    expect_at(&s, 999, UINT32_MAX, 1, 0, 3);
    opened(&s, 0);
    expect_at(&s, 1000, UINT32_MAX, 1, 0, 1);
    expect_at(&s, 1000, UINT32_MAX, 3, 2, 1);
    expect_at(&s, 1000, UINT32_MAX, 4, 3, 2);
    assert_int_equal(s.lost.expired, 2);
    end(&s);
}

TEST(outstream_drops_what_is_too_old_and_says_how_old_the_oldest_is)
{
    struct outstream_config c = {.boot = BOOT, .bytes_max = 1u << 20, .age_max_ms = 500};
    struct outstream s;

    outstream_init(&s, &c);
    assert_int_equal(outstream_age_ms(&s, 100), 0);
    for (uint32_t i = 0; i < 4; i++)
        push_at(&s, i, 1, 100 * i);
    assert_int_equal(outstream_age_ms(&s, 500), 500);
    outstream_sweep(&s, 500);
    assert_int_equal(s.lost.aged, 0);
    outstream_sweep(&s, 501);
    assert_int_equal(s.lost.aged, 1);
    opened(&s, 0);
    expect_at(&s, 550, UINT32_MAX, 1, 1, 3);
    outstream_gone(&s);
    outstream_sweep(&s, 10000);
    assert_int_equal(s.lost.aged, 1); /* what was sent may have been taken */
    opened(&s, 1);
    assert_int_equal(outstream_age_ms(&s, 750), 550);
    expect_at(&s, 750, UINT32_MAX, 3, 3, 1); /* what it has not said to have taken was not */
    assert_int_equal(s.lost.aged, 2);
    end(&s);
}

TEST(outstream_a_full_queue_sheds_what_is_too_old_before_it_drops_what_comes)
{
    struct outstream_config c = {
        .boot = BOOT, .bytes_max = 2ull * cost(), .age_max_ms = 500, .full = OUTSTREAM_DROP_NEWEST};
    struct outstream s;

    outstream_init(&s, &c);
    push_at(&s, 0, 1, 0);
    push_at(&s, 1, 1, 300);
    push_at(&s, 2, 1, 500);
    assert_int_equal(s.lost.full, 1);
    push_at(&s, 2, 1, 501);
    assert_int_equal(s.lost.full, 1);
    assert_int_equal(s.lost.aged, 1);
    assert_int_equal(s.waiting.count, 2);
    end(&s);
}

TEST(outstream_one_too_large_for_the_peer_holds_up_nobody)
{
    struct native_frame f = {.kind = NATIVE_OPENED, .boot = BOOT, .window = WIDE};
    struct outstream s;
    struct message *m = numbered(1, 1, 500, 0);
    uint32_t bytes = native_messages_head_bytes(2, 1) + native_record_head_bytes(m, 0) + 500;

    start(&s, 1u << 20, OUTSTREAM_DROP_OLDEST);
    push(&s, 0, 1);
    outstream_push(&s, m, 0);
    push(&s, 2, 1);
    assert_int_equal(outstream_rewind(&s, &f, bytes), OK); /* just fits */
    expect(&s, 1, 0, 1);
    expect(&s, 2, 1, 1);
    expect(&s, 3, 2, 1);
    assert_int_equal(outstream_rewind(&s, &f, bytes - 1), OK); /* the next connection takes less */
    expect(&s, 1, 0, 1);
    expect(&s, 3, 2, 1);
    nothing(&s);
    assert_int_equal(s.lost.too_large, 1);
    outstream_push(&s, m, 0);
    push(&s, 3, 1);
    expect(&s, 4, 3, 1);
    assert_int_equal(s.lost.too_large, 2);
    message_release(m);
    end(&s);
}

TEST(outstream_rings_grow_and_give_their_memory_back)
{
    struct outstream s;

    start(&s, 1u << 24, OUTSTREAM_DROP_OLDEST);
    for (uint32_t i = 0; i < 1000; i++)
        push(&s, i, 1);
    assert_int_equal(s.waiting.capacity, 1024);
    assert_int_equal(rewind_to(&s, 0, (struct native_window){UINT64_MAX, UINT64_MAX}), OK);
    for (uint32_t i = 0; i < 4; i++)
        expect(&s, 1 + 256 * i, 256 * i, i < 3 ? 256 : 1000 - 768);
    assert_int_equal(s.waiting.capacity, 0);
    assert_int_equal(s.sent.capacity, 1024);
    acked(&s, 1000);
    assert_int_equal(s.sent.capacity, 0);
    end(&s);
}

TEST(outstream_notes_no_more_than_it_may_whatever_the_peer_grants)
{
    struct outstream s;
    struct outstream_frame f;
    uint32_t sent = 0;

    start(&s, 1u << 30, OUTSTREAM_DROP_OLDEST);
    assert_int_equal(rewind_to(&s, 0, (struct native_window){UINT64_MAX, UINT64_MAX}), OK);
    for (uint32_t i = 0; i < OUTSTREAM_SENT_MAX + 10; i++)
        push(&s, i, 0);
    while (outstream_next(&s, 0, UINT32_MAX, &f)) {
        sent += f.count;
        for (uint32_t i = 0; i < f.count; i++)
            message_release(f.records[i].message);
    }
    assert_int_equal(sent, OUTSTREAM_SENT_MAX);
    assert_int_equal(ack_to(&s, 5, (struct native_window){UINT64_MAX, UINT64_MAX}), OK);
    expect(&s, OUTSTREAM_SENT_MAX + 1, OUTSTREAM_SENT_MAX, 5);
    end(&s);
}

/* The ring can grow no more: as large as any ever gets, which nobody has the memory for. */
TEST(outstream_counts_what_there_is_no_memory_for_and_goes_on)
{
    struct outstream s;
    struct outstream_ring waiting;

    start(&s, 1u << 20, OUTSTREAM_DROP_OLDEST);
    push(&s, 1, 1);
    waiting = s.waiting;
    s.waiting.count = s.waiting.capacity = 1u << 31;
    push(&s, 2, 1);
    assert_int_equal(s.lost.memory, 1);
    assert_int_equal(s.waiting_bytes, cost());
    s.waiting = waiting;
    push(&s, 3, 1);
    assert_int_equal(outstream_lost_sum(&s), 1);
    assert_int_equal(s.waiting.count, 2);
    outstream_fini(&s);
}

TEST(outstream_gives_out_what_goes_another_way_in_order)
{
    struct outstream s;
    struct message *m;
    uint64_t since_ms;

    start(&s, 1u << 20, OUTSTREAM_DROP_OLDEST);
    push_at(&s, 1, 1, 10);
    push_at(&s, 2, 0, 20);
    push_at(&s, 3, 2, 30);
    opened(&s, 0);
    expect_at(&s, 40, UINT32_MAX, 1, 1, 3);
    push_at(&s, 4, 0, 40);
    outstream_gone(&s);
    for (uint64_t i = 1; i <= 4; i++) {
        if (i == 2)
            continue; /* nobody knows whether it arrived */
        m = outstream_pop(&s, &since_ms);
        assert_non_null(m);
        assert_int_equal(since_ms, 10 * i);
        message_release(m);
    }
    assert_null(outstream_pop(&s, &since_ms));
    assert_int_equal(s.waiting_bytes + s.kept_bytes + s.kept_count, 0);
    assert_int_equal(outstream_lost_sum(&s), 0);
    outstream_fini(&s);
}
