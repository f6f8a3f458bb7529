/* tests/core/session/test_session.c -- the parts of a session: window, queue, subscriptions. */
#include "core/session/session.h"

#include <stdlib.h>

#include "core/base/check.h"
#include "core/session/share.h"
#include "tests/support/test.h"

static uint64_t waiting;

static uint64_t draw(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

/* A delivery whose message has `n` bytes and says `number` in its stamp. */
static struct delivery a_delivery(uint64_t number, uint32_t n)
{
    static const uint8_t zeros[256];
    struct publish p = {
        .topic = BYTES_LIT("t"), .payload = bytes_of(zeros, n), .stamp_ms = number, .qos = 1};
    struct delivery d = {.qos = 1};

    d.message = publish_message(&p, &waiting);
    assert_non_null(d.message);
    return d;
}

static struct delivery *send(struct session *x, uint64_t number)
{
    struct delivery d = a_delivery(number, 0);
    struct delivery *placed = session_send(x, &d);

    if (!placed)
        delivery_fini(&d);
    return placed;
}

static void fini(struct session *x)
{
    session_fini(x);
    assert_int_equal(waiting, 0);
}

static void jump(const char *file, int line, const char *what)
{
    mock_assert(0, what, file, line);
}

/* ---- in flight ---- */

TEST(packet_ids_are_never_used_twice_at_a_time)
{
    static uint64_t number[65536]; /* of the message in flight under this id, plus 1 */
    static uint16_t ids[3000];
    uint64_t seed = 0x5e550001;
    struct session x = {0};
    uint32_t n = 0;

    print_message("seed 0x5e550001\n");
    memset(number, 0, sizeof number);
    for (uint64_t i = 0; i < 200000; i++) {
        if (n < 3000 && (n == 0 || draw(&seed) % 2000 > n / 2)) {
            struct delivery *d = send(&x, i);

            assert_non_null(d);
            assert_int_not_equal(d->packet_id, 0); /* [MQTT-2.2.1-3] */
            assert_int_equal(number[d->packet_id], 0);
            number[d->packet_id] = i + 1;
            ids[n++] = d->packet_id;
        } else {
            uint32_t at = (uint32_t)(draw(&seed) % n);
            struct delivery *d = session_inflight(&x, ids[at]);

            assert_non_null(d);
            assert_int_equal(d->packet_id, ids[at]);
            assert_int_equal(d->message->stamp_ms + 1, number[ids[at]]);
            session_done(&x, d);
            assert_null(session_inflight(&x, ids[at]));
            number[ids[at]] = 0;
            ids[at] = ids[--n];
        }
        assert_int_equal(x.inflight_count, n);
    }
    for (uint32_t i = 0; i < n; i++)
        assert_non_null(session_inflight(&x, ids[i]));
    fini(&x);
}

TEST(packet_ids_go_on_with_1_after_65535)
{
    struct session x = {.next_packet_id = 65533};

    assert_int_equal(send(&x, 0)->packet_id, 65534);
    assert_int_equal(send(&x, 0)->packet_id, 65535);
    assert_int_equal(send(&x, 0)->packet_id, 1);
    x.next_packet_id = 65533; /* a whole round later */
    assert_int_equal(send(&x, 0)->packet_id % 65535, 2);
    fini(&x);
}

TEST(every_id_may_be_in_flight_and_then_no_more)
{
    static bool is_used[65536];
    struct session x = {.next_packet_id = 40000};

    memset(is_used, 0, sizeof is_used);
    for (uint32_t i = 0; i < 65535; i++) {
        struct delivery *d = send(&x, i);

        assert_non_null(d);
        assert_false(is_used[d->packet_id]);
        is_used[d->packet_id] = true;
    }
    assert_false(is_used[0]);
    assert_null(send(&x, 0));
    session_done(&x, session_inflight(&x, 777));
    assert_int_equal(send(&x, 0)->packet_id, 777);
    assert_null(send(&x, 0));
    fini(&x);
}

TEST(room_for_what_is_in_flight_stays_until_a_quiet_session_is_trimmed)
{
    struct session x = {0};
    uint16_t first, last;
    uint32_t capacity;

    first = send(&x, 0)->packet_id;
    for (uint64_t i = 1; i < 200; i++)
        last = send(&x, i)->packet_id;
    capacity = x.inflight_capacity;
    session_trim(&x);
    assert_int_equal(x.inflight_capacity, capacity); /* they are there */
    assert_non_null(session_inflight(&x, last));
    for (uint16_t id = first; id <= last; id++)
        session_done(&x, session_inflight(&x, id));
    assert_int_equal(x.inflight_capacity, capacity); /* the next ones need it */
    session_trim(&x);
    assert_int_equal(x.inflight_capacity, 0);
    assert_non_null(send(&x, 0));
    fini(&x);
}

TEST(room_for_received_ids_stays_until_a_quiet_session_is_trimmed)
{
    struct session x = {0};
    bool is_marked;

    assert_true(idset_add(&x.received, 7));
    session_trim(&x);
    assert_true(idset_remove(&x.received, 7, &is_marked));
    assert_non_null(x.received.v);
    session_trim(&x);
    assert_null(x.received.v);
    fini(&x);
}

TEST(window_grows_and_loses_nothing)
{
    struct session x = {.next_packet_id = 65000}; /* over the wrap */
    uint16_t ids[5000];

    for (uint32_t i = 0; i < 5000; i++) {
        ids[i] = send(&x, i)->packet_id;
        if ((i & (i + 1)) == 0) /* near each doubling */
            for (uint32_t k = 0; k <= i; k++)
                assert_int_equal(session_inflight(&x, ids[k])->message->stamp_ms, k);
    }
    for (uint32_t i = 0; i < 5000; i++)
        assert_int_equal(session_inflight(&x, ids[i])->message->stamp_ms, i);
    for (uint32_t i = 0; i < 5000; i++)
        session_done(&x, session_inflight(&x, ids[i]));
    assert_null(x.inflight); /* a large window is not kept by an idle session */
    assert_null(session_inflight(&x, ids[0]));
    assert_non_null(send(&x, 0));
    fini(&x);
}

TEST(stranger_with_the_same_place_is_not_in_flight)
{
    struct session x = {0};
    struct delivery *d = send(&x, 0);

    assert_int_equal(d->packet_id, 1);
    assert_ptr_equal(session_inflight(&x, 1), d);
    for (uint32_t id = 2; id <= 65535; id++)
        assert_null(session_inflight(&x, (uint16_t)id));
    assert_null(session_inflight(&x, 0));
    fini(&x);
}

TEST(delivery_is_done_once)
{
    struct session x = {0};
    struct delivery *d = send(&x, 0);

    session_done(&x, d);
    check_set_handler(jump);
    expect_assert_failure(session_done(&x, d));
    expect_assert_failure(session_accept(&x, d));
    check_set_handler(NULL);
    fini(&x);
}

TEST(inflight_is_sorted_by_sending_also_when_sequences_wrap)
{
    struct session x = {.next_packet_id = 65530, .next_sequence = UINT32_MAX - 10};
    struct delivery *v[30];

    for (uint32_t i = 0; i < 30; i++)
        assert_non_null(send(&x, i));
    assert_int_equal(session_inflight_sorted(&x, v), 30);
    for (uint32_t i = 0; i < 30; i++)
        assert_int_equal(v[i]->message->stamp_ms, i);
    fini(&x);
}

/* ---- sending again ---- */

TEST(held_deliveries_come_back_oldest_first)
{
    struct session x = {.next_packet_id = 65530};

    for (uint32_t i = 0; i < 20; i++)
        assert_non_null(send(&x, i));
    assert_true(session_hold(&x));
    assert_int_equal(x.held_count, 20);
    for (uint32_t i = 0; i < 20; i++) {
        struct delivery *d = session_unhold(&x);

        assert_int_equal(d->message->stamp_ms, i);
        assert_int_equal(d->state, DELIVERY_SENT);
        assert_int_equal(x.held_count, 19 - i);
    }
    assert_null(session_unhold(&x));
    assert_int_equal(x.inflight_count, 20);
    fini(&x);
}

TEST(held_deliveries_that_are_acknowledged_are_not_sent_again)
{
    struct session x = {0};

    for (uint32_t i = 0; i < 6; i++)
        assert_non_null(send(&x, i));
    assert_true(session_hold(&x));
    session_done(&x, session_inflight(&x, 1));
    session_done(&x, session_inflight(&x, 3));
    session_accept(&x, session_inflight(&x, 6));
    assert_int_equal(x.held_count, 3);
    assert_int_equal(session_unhold(&x)->packet_id, 2);
    assert_int_equal(session_unhold(&x)->packet_id, 4);
    assert_int_equal(session_unhold(&x)->packet_id, 5);
    assert_null(session_unhold(&x));
    assert_int_equal(x.held_count, 0);
    fini(&x);
}

TEST(released_deliveries_are_not_held)
{
    struct session x = {0};

    for (uint32_t i = 0; i < 3; i++)
        assert_non_null(send(&x, i));
    session_accept(&x, session_inflight(&x, 2));
    delivery_fini(session_inflight(&x, 2));
    assert_true(session_hold(&x));
    assert_int_equal(x.held_count, 2);
    assert_int_equal(session_inflight(&x, 2)->state, DELIVERY_RELEASED);
    assert_int_equal(session_unhold(&x)->packet_id, 1);
    assert_int_equal(session_unhold(&x)->packet_id, 3);
    assert_null(session_unhold(&x));
    fini(&x);
}

TEST(second_connection_holds_all_again_in_the_first_order)
{
    struct session x = {0};

    for (uint32_t i = 0; i < 5; i++)
        assert_non_null(send(&x, i));
    assert_true(session_hold(&x));
    assert_int_equal(session_unhold(&x)->packet_id, 1);
    assert_int_equal(session_unhold(&x)->packet_id, 2);
    assert_true(session_hold(&x)); /* gone again before the rest was sent */
    assert_int_equal(x.held_count, 5);
    for (uint16_t id = 1; id <= 5; id++)
        assert_int_equal(session_unhold(&x)->packet_id, id);
    assert_null(session_unhold(&x));
    fini(&x);
}

TEST(hold_of_nothing_holds_nothing)
{
    struct session x = {0};

    assert_true(session_hold(&x));
    assert_int_equal(x.held_count, 0);
    assert_null(session_unhold(&x));
    fini(&x);
}

TEST(fresh_delivery_beside_held_ones_gets_an_id_of_its_own)
{
    struct session x = {0};

    for (uint32_t i = 0; i < 3; i++)
        assert_non_null(send(&x, i));
    assert_true(session_hold(&x));
    for (uint32_t i = 0; i < 100; i++) { /* grows while some are held */
        struct delivery *d = send(&x, 100 + i);

        assert_in_range(d->packet_id, 4, 65535);
        assert_int_equal(d->state, DELIVERY_SENT);
    }
    for (uint16_t id = 1; id <= 3; id++)
        assert_int_equal(session_unhold(&x)->packet_id, id);
    assert_null(session_unhold(&x));
    fini(&x);
}

/* ---- waiting ---- */

TEST(queue_is_first_in_first_out_whatever_its_ring_does)
{
    uint64_t seed = 0x5e550002, pushed = 0, popped = 0;
    struct session x = {0};

    print_message("seed 0x5e550002\n");
    for (uint32_t i = 0; i < 50000; i++) {
        struct delivery d, *first = session_peek(&x);

        assert_int_equal(x.queue_count, pushed - popped);
        assert_int_equal(first != NULL, pushed > popped);
        if (draw(&seed) % 100 < (i / 5000 % 2 ? 40 : 60)) {
            d = a_delivery(pushed++, (uint32_t)(draw(&seed) % 256));
            assert_true(session_push(&x, &d));
        } else if (first) {
            d = *first;
            assert_int_equal(d.message->stamp_ms, popped++);
            session_pop(&x);
            delivery_fini(&d);
        }
    }
    fini(&x); /* with some still in it */
}

TEST(queue_bytes_count_what_waits)
{
    struct delivery small = a_delivery(0, 0), large = a_delivery(1, 200);
    struct session x = {0};
    uint32_t one;

    assert_true(session_push(&x, &small));
    one = x.queue_bytes;
    assert_in_range(one, sizeof(struct message), 1000);
    assert_true(session_push(&x, &large));
    assert_int_equal(x.queue_bytes, 2 * one + 200);
    session_pop(&x);
    assert_int_equal(x.queue_bytes, one + 200);
    session_pop(&x);
    assert_int_equal(x.queue_bytes, 0);
    assert_null(x.queue); /* an empty queue owns nothing */
    assert_null(session_peek(&x));
    delivery_fini(&small);
    delivery_fini(&large);
    fini(&x);
}

TEST(queue_of_nothing_gives_nothing)
{
    struct session x = {0};

    assert_null(session_peek(&x));
    check_set_handler(jump);
    expect_assert_failure(session_pop(&x));
    check_set_handler(NULL);
    fini(&x);
}

TEST(session_frees_what_its_deliveries_hold)
{
    struct delivery d = a_delivery(0, 10), q = a_delivery(1, 10);
    struct session x = {0};

    d.more_ids = calloc(3, sizeof *d.more_ids);
    q.more_ids = calloc(3, sizeof *q.more_ids);
    assert_true(d.more_ids && q.more_ids);
    assert_non_null(session_send(&x, &d));
    assert_true(session_hold(&x));
    assert_true(session_push(&x, &q));
    x.will = calloc(1, sizeof *x.will);
    assert_non_null(x.will);
    x.will->message = a_delivery(2, 10).message;
    fini(&x);
}

/* ---- subscriptions ---- */

TEST(subscription_that_moves_tells_its_share)
{
    struct share shares[3] = {0};
    struct session x = {0};

    for (uint32_t i = 0; i < 3; i++)
        shares[i].at = session_add_subscription(&x, (struct subscription){.share = &shares[i]});
    session_drop_subscription(&x, 0);
    assert_int_equal(x.sub_count, 2);
    assert_int_equal(shares[2].at, 0);
    assert_ptr_equal(x.subs[0].share, &shares[2]);
    assert_int_equal(shares[1].at, 1);
    session_drop_subscription(&x, 1);
    assert_int_equal(shares[2].at, 0);
    session_drop_subscription(&x, 0);
    assert_int_equal(x.sub_count, 0);
    check_set_handler(jump);
    expect_assert_failure(session_drop_subscription(&x, 0));
    check_set_handler(NULL);
    fini(&x);
}

TEST(session_goes_by_the_user_name_of_its_last_client)
{
    struct bytes first = BYTES_LIT("first"), longer = BYTES_LIT("second"), none = bytes_of("", 0);
    struct session x = {0};

    assert_true(session_set_id(&x, BYTES_LIT("id")));
    assert_true(session_has_user(&x, NULL));
    assert_false(session_has_user(&x, &none)); /* an empty name is a name */
    assert_true(session_set_user(&x, &first));
    assert_true(bytes_eq(session_user(&x), first));
    assert_false(session_has_user(&x, &longer) || session_has_user(&x, NULL));
    assert_true(session_set_user(&x, &longer));
    assert_true(session_has_user(&x, &longer));
    assert_true(session_set_user(&x, &none));
    assert_true(session_has_user(&x, &none) && !session_has_user(&x, NULL));
    assert_true(session_set_user(&x, NULL));
    assert_true(session_has_user(&x, NULL));
    assert_true(bytes_eq(session_id(&x), BYTES_LIT("id")));
    fini(&x);
}
