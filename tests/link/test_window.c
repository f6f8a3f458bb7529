/* tests/link/test_window.c -- what waits, what is in flight, and what is lost at a bound. */
#include "tests/support/test.h"

#include <stdlib.h>

#include "core/mqtt/packet.h"
#include "link/window.h"

#define AGE 10000u /* ms */

static uint64_t held; /* bytes in messages: 0 at the end of each test, or something leaked */

static struct message *record(uint32_t number, uint8_t qos, uint32_t size, uint64_t expires_ms)
{
    uint8_t *payload = calloc(1, size);
    struct publish p = {
        .topic = BYTES_LIT("t"), .payload = {payload, size}, .qos = qos, .expires_ms = expires_ms};

    assert_non_null(payload);
    assert_true(size >= 4);
    put_be32(payload, number);
    assert_non_null(publish_message(&p, &held));
    free(payload);
    return p.message;
}

static void push(struct window *w, uint32_t number, uint8_t qos)
{
    struct message *m = record(number, qos, 10, 0);

    window_push(w, m);
    message_release(m);
}

/* Sends the next one, which must be `number`. Returns its packet id. */
static uint16_t next(struct window *w, uint32_t number, bool is_again)
{
    struct window_packet p;

    assert_true(window_next(w, 0, &p));
    assert_int_equal(get_be32(message_payload(p.record).p), number);
    assert_int_equal(p.is_again, is_again);
    assert_int_equal(p.id != 0, p.record->qos != 0);
    message_release(p.record);
    return p.id;
}

static void nothing(struct window *w)
{
    struct window_packet p;

    assert_false(window_next(w, 0, &p));
}

static void ack(struct window *w, uint16_t id)
{
    assert_int_equal(window_ack(w, id, false), OK);
}

static void end(struct window *w)
{
    window_fini(w);
    assert_int_equal(held, 0);
}

TEST(window_sends_in_order_and_no_more_than_it_may)
{
    struct window w;
    uint16_t id[3];

    window_init(&w, 1u << 20, AGE, WINDOW_DROP_OLDEST);
    window_restart(&w, 2, UINT32_MAX);
    for (uint32_t i = 0; i < 4; i++)
        push(&w, i, 1);
    push(&w, 4, 0);
    id[0] = next(&w, 0, false);
    id[1] = next(&w, 1, false);
    nothing(&w);
    ack(&w, id[1]); /* out of turn */
    id[2] = next(&w, 2, false);
    nothing(&w);
    ack(&w, id[0]);
    ack(&w, id[2]);
    ack(&w, next(&w, 3, false));
    assert_int_equal(next(&w, 4, false), 0);
    nothing(&w);
    assert_int_equal(w.bytes, 0);
    assert_int_equal(window_lost_sum(&w), 0);
    end(&w);
}

TEST(window_refuses_acknowledgements_for_nothing)
{
    struct window w;
    uint16_t id;

    window_init(&w, 1u << 20, AGE, WINDOW_DROP_OLDEST);
    window_restart(&w, 10, UINT32_MAX);
    assert_int_equal(window_ack(&w, 0, false), ERR_PEER);
    assert_int_equal(window_ack(&w, 1, false), ERR_PEER);
    push(&w, 0, 1);
    push(&w, 1, 1);
    id = next(&w, 0, false);
    next(&w, 1, false);
    assert_int_equal(window_ack(&w, (uint16_t)(id + 2), false), ERR_PEER);
    ack(&w, id);
    assert_int_equal(window_ack(&w, id, false), ERR_PEER);
    window_restart(&w, 10, UINT32_MAX);
    assert_int_equal(window_ack(&w, (uint16_t)(id + 1), false), ERR_PEER); /* not sent on this */
    end(&w);
}

TEST(window_sends_again_what_was_not_acknowledged)
{
    struct window w;
    uint16_t id[5];

    window_init(&w, 1u << 20, AGE, WINDOW_DROP_OLDEST);
    window_restart(&w, 5, UINT32_MAX);
    for (uint32_t i = 0; i < 7; i++)
        push(&w, i, 1);
    for (uint32_t i = 0; i < 5; i++)
        id[i] = next(&w, i, false);
    ack(&w, id[0]);
    ack(&w, id[2]);
    window_restart(&w, 2, UINT32_MAX); /* the next connection takes less at once */
    assert_int_equal(next(&w, 1, true), id[1]);
    assert_int_equal(next(&w, 3, true), id[3]);
    nothing(&w);
    ack(&w, id[1]);
    assert_int_equal(next(&w, 4, true), id[4]);
    nothing(&w);
    window_restart(&w, 100, UINT32_MAX); /* cut in the middle of that */
    next(&w, 3, true);
    next(&w, 4, true);
    next(&w, 5, false);
    next(&w, 6, false);
    nothing(&w);
    end(&w);
}

TEST(window_drops_the_oldest_that_waits_at_its_bound)
{
    struct message *m = record(0, 1, 10, 0), *large = record(9, 1, 5000, 0);
    struct window w;

    window_init(&w, 4ull * message_cost(m), AGE, WINDOW_DROP_OLDEST);
    window_restart(&w, 1, UINT32_MAX);
    for (uint32_t i = 0; i < 4; i++)
        push(&w, i, 1);
    next(&w, 0, false);
    push(&w, 4, 1);
    push(&w, 5, 0);
    assert_int_equal(w.lost.full, 2); /* 1 and 2; 0 is in flight and stays */
    window_push(&w, large); /* larger than all of it: everything that waits goes, and it */
    assert_int_equal(w.lost.full, 6);
    assert_int_equal(window_count(&w), 1);
    message_release(m);
    message_release(large);
    end(&w);
}

TEST(window_drops_what_the_other_side_does_not_take)
{
    struct message *large = record(1, 1, 1000, 0);
    struct window w;

    window_init(&w, 1u << 20, AGE, WINDOW_DROP_OLDEST);
    window_restart(&w, 10, UINT32_MAX);
    window_push(&w, large);
    next(&w, 1, false);
    push(&w, 2, 1);
    next(&w, 2, false);
    window_push(&w, large);
    push(&w, 3, 0);
    window_restart(&w, 10, 500);
    next(&w, 2, true); /* the large one in flight is gone too */
    next(&w, 3, false);
    nothing(&w);
    assert_int_equal(w.lost.too_large, 2);
    message_release(large);
    end(&w);
}

TEST(window_drops_what_has_expired)
{
    struct message *m = record(1, 1, 10, 100);
    struct window_packet p;
    struct window w;

    window_init(&w, 1u << 20, AGE, WINDOW_DROP_OLDEST);
    window_restart(&w, 10, UINT32_MAX);
    window_push(&w, m);
    window_push(&w, m);
    assert_true(window_next(&w, 99, &p));
    message_release(p.record);
    assert_false(window_next(&w, 100, &p));
    assert_int_equal(w.lost.expired, 1);
    message_release(m);
    end(&w);
}

/* Far beyond 65535 messages, with random acknowledgements and reconnects, against a plain model:
 * everything arrives, nothing arrives twice on one connection, the order holds. */
TEST(window_keeps_order_over_many_ids)
{
    uint32_t pushed = 0, random = 12345, high = 0, count = 0;
    uint16_t open[40];
    uint32_t number[40];
    struct window w;

    window_init(&w, 1u << 30, AGE, WINDOW_DROP_OLDEST);
    window_restart(&w, 40, UINT32_MAX);
    while (pushed < 200000 || window_count(&w)) {
        struct window_packet p;

        random = random * 1664525u + 1013904223u;
        if ((random >> 16) % 3 && pushed < 200000)
            push(&w, pushed++, 1);
        while (window_next(&w, 0, &p)) {
            uint32_t n = get_be32(message_payload(p.record).p);

            assert_true(count < 40);
            assert_true(count == 0 || n > number[count - 1]);
            assert_int_equal(p.is_again, n < high);
            high = n >= high ? n + 1 : high;
            number[count] = n;
            open[count++] = p.id;
            message_release(p.record);
        }
        if (count && (random >> 8) % 5 < 3) {
            uint32_t at = (random >> 20) % count;

            ack(&w, open[at]);
            count--;
            memmove(open + at, open + at + 1, (count - at) * sizeof(*open));
            memmove(number + at, number + at + 1, (count - at) * sizeof(*number));
        }
        if (random >> 22 == 7) {
            window_restart(&w, 1 + (random >> 12) % 40, UINT32_MAX);
            count = 0;
        }
    }
    assert_int_equal(high, 200000);
    assert_int_equal(window_lost_sum(&w), 0);
    end(&w);
}

/* As push, at a moment. */
static void push_at(struct window *w, uint32_t number, uint8_t qos, uint64_t now_ms)
{
    struct message *m = record(number, qos, 10, 0);

    m->stamp_ms = now_ms;
    window_push(w, m);
    message_release(m);
}

TEST(window_drops_what_has_waited_too_long)
{
    struct window_packet p;
    struct window w;

    window_init(&w, 1u << 20, AGE, WINDOW_DROP_OLDEST);
    assert_int_equal(window_age(&w, 0), UINT64_MAX);
    push_at(&w, 1, 1, 1000);
    push_at(&w, 2, 0, 2000);
    push_at(&w, 3, 1, 3000);
    assert_int_equal(window_age(&w, 999 + AGE), 1000 + AGE);
    assert_int_equal(window_age(&w, 2000 + AGE), 3000 + AGE);
    assert_int_equal(w.lost.aged, 2);
    assert_int_equal(window_count(&w), 1);
    window_restart(&w, 5, UINT32_MAX);
    assert_false(window_next(&w, 3000 + AGE, &p)); /* not only when the timer fires */
    assert_int_equal(w.lost.aged, 3);
    assert_int_equal(window_lost_sum(&w), 3);
    assert_int_equal(w.bytes, 0);
    end(&w);
}

TEST(window_ages_what_was_sent_only_after_its_connection)
{
    struct window w;
    uint16_t id;

    window_init(&w, 1u << 20, AGE, WINDOW_DROP_OLDEST);
    window_restart(&w, 5, UINT32_MAX);
    push_at(&w, 1, 1, 1000);
    push_at(&w, 2, 1, 5000);
    id = next(&w, 1, false);
    next(&w, 2, false);
    assert_int_equal(window_age(&w, 9000 + AGE), UINT64_MAX);
    assert_int_equal(window_count(&w), 2);
    window_stop(&w);
    assert_int_equal(window_age(&w, 4000 + AGE), 5000 + AGE);
    assert_int_equal(w.lost.aged, 1);
    window_restart(&w, 5, UINT32_MAX);
    assert_int_equal(window_ack(&w, id, false), ERR_PEER);
    ack(&w, next(&w, 2, true));
    assert_int_equal(window_count(&w), 0);
    end(&w);
}

TEST(window_drops_what_comes_when_told_so)
{
    struct message *m = record(0, 1, 10, 0);
    struct window w;

    window_init(&w, 3ull * message_cost(m), AGE, WINDOW_DROP_NEWEST);
    message_release(m);
    for (uint32_t i = 1; i < 7; i++)
        push(&w, i, 1);
    assert_int_equal(w.lost.full, 3);
    assert_true(window_is_full(&w));
    window_restart(&w, 10, UINT32_MAX);
    for (uint32_t i = 1; i < 4; i++)
        ack(&w, next(&w, i, false));
    nothing(&w);
    assert_false(window_is_full(&w));
    end(&w);
}

TEST(window_that_blocks_takes_what_is_on_its_way)
{
    struct message *m = record(0, 1, 10, 0);
    struct window w;

    window_init(&w, 3ull * message_cost(m), AGE, WINDOW_BLOCK);
    message_release(m);
    window_restart(&w, 10, UINT32_MAX);
    for (uint32_t i = 1; i < 7; i++) {
        assert_int_equal(window_is_full(&w), i > 3);
        push(&w, i, 1);
    }
    for (uint32_t i = 1; i < 7; i++)
        ack(&w, next(&w, i, false));
    assert_int_equal(window_lost_sum(&w), 0);
    end(&w);
}

TEST(window_does_not_grow_where_memory_is_short)
{
    struct window w;
    uint32_t held_then;

    window_init(&w, 1u << 30, AGE, WINDOW_DROP_OLDEST);
    for (uint32_t i = 0; i < 5; i++) {
        struct message *m = record(i, 1, 300000, 0);

        window_push(&w, m);
        message_release(m);
    }
    held_then = window_count(&w);
    w.must_not_grow = true;
    assert_true(window_is_full(&w));
    push(&w, 5, 1);
    assert_int_equal(window_count(&w), held_then); /* one went, one came */
    assert_int_equal(w.lost.full, 1);
    end(&w);
    window_init(&w, 1u << 30, AGE, WINDOW_DROP_OLDEST);
    w.must_not_grow = true;
    push(&w, 1, 1); /* a little is always taken */
    assert_int_equal(window_count(&w), 1);
    end(&w);
}

TEST(window_hands_its_messages_out_oldest_first)
{
    struct window w;

    window_init(&w, UINT64_MAX, AGE, WINDOW_DROP_OLDEST);
    window_restart(&w, 4, UINT32_MAX);
    for (uint32_t i = 1; i < 7; i++)
        push(&w, i, 1);
    (void)next(&w, 1, false);
    ack(&w, next(&w, 2, false)); /* 1 and 3 stay in flight */
    (void)next(&w, 3, false);
    window_stop(&w);
    assert_int_equal(window_count(&w), 6);
    for (uint32_t i = 1; i < 7; i++) {
        struct message *m;

        if (i == 2)
            continue;
        m = window_pop(&w);
        assert_non_null(m);
        assert_int_equal(get_be32(message_payload(m).p), i);
        message_release(m);
    }
    assert_null(window_pop(&w));
    assert_int_equal(w.bytes, 0);
    end(&w);
}
