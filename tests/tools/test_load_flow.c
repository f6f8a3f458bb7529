/* tests/tools/test_load_flow.c -- what came in order, after a gap, late, and twice. */
#include "tests/support/test.h"

#include <stdlib.h>

#include "tools/load_flow.h"

static struct load_flow flow_of(uint32_t window)
{
    struct load_flow f;

    assert_int_equal(load_flow_init(&f, window), OK);
    return f;
}

TEST(load_flow_takes_what_comes_in_order)
{
    struct load_flow f = flow_of(1);

    for (uint32_t i = 0; i < 1000; i++) {
        assert_int_equal(load_flow_take(&f, i), LOAD_ARRIVAL_IN_ORDER);
        assert_int_equal(f.next, i + 1);
    }
    load_flow_fini(&f);
}

TEST(load_flow_tells_late_from_double)
{
    struct load_flow f = flow_of(100);

    assert_int_equal(load_flow_take(&f, 0), LOAD_ARRIVAL_IN_ORDER);
    assert_int_equal(load_flow_take(&f, 3), LOAD_ARRIVAL_GAP);
    assert_int_equal(f.next, 4);
    assert_int_equal(load_flow_take(&f, 3), LOAD_ARRIVAL_DOUBLE);
    assert_int_equal(load_flow_take(&f, 0), LOAD_ARRIVAL_DOUBLE);
    assert_int_equal(load_flow_take(&f, 2), LOAD_ARRIVAL_LATE);
    assert_int_equal(load_flow_take(&f, 2), LOAD_ARRIVAL_DOUBLE);
    assert_int_equal(load_flow_take(&f, 1), LOAD_ARRIVAL_LATE);
    assert_int_equal(load_flow_take(&f, 4), LOAD_ARRIVAL_IN_ORDER);
    load_flow_fini(&f);
}

TEST(load_flow_begins_with_a_gap_when_the_first_is_missing)
{
    struct load_flow f = flow_of(10);

    assert_int_equal(load_flow_take(&f, 5), LOAD_ARRIVAL_GAP);
    for (uint32_t i = 0; i < 5; i++)
        assert_int_equal(load_flow_take(&f, i), LOAD_ARRIVAL_LATE);
    load_flow_fini(&f);
}

/* Wherever the newest one stands, a whole window back is known. */
TEST(load_flow_looks_back_a_window_and_takes_what_is_older_for_double)
{
    for (uint32_t window = 1; window <= 300; window += 7) {
        for (uint32_t top = window; top < window + 130; top++) {
            struct load_flow f = flow_of(window);
            uint32_t oldest = top + 1 - window;

            assert_int_equal(load_flow_take(&f, top), LOAD_ARRIVAL_GAP);
            if (window > 1)
                assert_int_equal(load_flow_take(&f, oldest), LOAD_ARRIVAL_LATE);
            assert_int_equal(load_flow_take(&f, oldest), LOAD_ARRIVAL_DOUBLE);
            assert_int_equal(load_flow_take(&f, top + 5000), LOAD_ARRIVAL_GAP);
            assert_int_equal(load_flow_take(&f, oldest), LOAD_ARRIVAL_DOUBLE);
            load_flow_fini(&f);
        }
    }
}

/* Against a list of all that came. */
TEST(load_flow_agrees_with_a_list)
{
    enum { COUNT = 20000, WINDOW = 200 };
    struct load_flow f = flow_of(WINDOW);
    bool *came = calloc(COUNT, sizeof(*came));
    uint32_t seed = 7;

    assert_non_null(came);
    for (;;) {
        uint32_t next = f.next, at;
        enum load_arrival arrival;

        seed = seed * 1664525u + 1013904223u;
        at = next + (seed >> 16) % 8; /* on, or back within the window */
        if (seed >> 30 == 0 && next >= WINDOW)
            at = next - 1 - (seed >> 8) % WINDOW;
        if (at >= COUNT)
            break;
        arrival = load_flow_take(&f, at);
        if (at >= next)
            assert_int_equal(arrival, at == next ? LOAD_ARRIVAL_IN_ORDER : LOAD_ARRIVAL_GAP);
        else
            assert_int_equal(arrival, came[at] ? LOAD_ARRIVAL_DOUBLE : LOAD_ARRIVAL_LATE);
        came[at] = true;
    }
    free(came);
    load_flow_fini(&f);
}

TEST(load_flow_zeroed_can_be_given_back)
{
    struct load_flow f = {0};

    load_flow_fini(&f);
    assert_null(f.seen);
}
