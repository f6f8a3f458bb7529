/* tests/tools/test_load_hist.c -- what the histogram of latencies says of what was put in. */
#include "tests/support/test.h"

#include <stdlib.h>
#include <string.h>

#include "tools/load_hist.h"

static struct load_hist hist; /* 16 KiB */

static void clear(void)
{
    memset(&hist, 0, sizeof(hist));
}

/* What the histogram makes of one value among larger ones. */
static uint64_t seen_as(uint64_t value)
{
    clear();
    load_hist_add(&hist, value);
    load_hist_add(&hist, UINT64_MAX / 4);
    return load_hist_at(&hist, 0);
}

TEST(load_hist_of_nothing_says_0)
{
    clear();
    assert_int_equal(load_hist_at(&hist, 0.5), 0);
    assert_int_equal(load_hist_at(&hist, 1), 0);
    assert_true(load_hist_mean(&hist) == 0);
}

TEST(load_hist_is_exact_for_small_values)
{
    for (uint64_t v = 0; v < 2 * LOAD_HIST_PARTS; v++)
        assert_int_equal(seen_as(v), v);
}

TEST(load_hist_is_never_below_and_less_than_2_percent_above)
{
    for (uint64_t v = 1; v >> LOAD_HIST_VALUE_BITS == 0; v += v / 97 + 1) {
        uint64_t seen = seen_as(v);

        assert_true(seen >= v);
        assert_true((seen - v) * 100 < v * 2);
    }
}

/* Both sides of every border between powers of two. */
TEST(load_hist_keeps_the_order_of_values)
{
    for (uint32_t bits = 1; bits < LOAD_HIST_VALUE_BITS; bits++) {
        uint64_t power = 1ull << bits;

        assert_true(seen_as(power - 1) < seen_as(power));
        assert_true(seen_as(power) <= seen_as(power + 1));
        assert_int_equal(seen_as(power - 1), power - 1); /* the top of its bin */
    }
}

TEST(load_hist_counts_what_is_too_large_as_the_largest)
{
    const uint64_t top = (1ull << LOAD_HIST_VALUE_BITS) - 1;

    assert_int_equal(seen_as(top), top);
    assert_int_equal(seen_as(top + 1), top);
    assert_int_equal(seen_as(top * 1000), top);
    assert_int_equal(hist.max, UINT64_MAX / 4); /* that one is kept as it is */
    assert_int_equal(load_hist_at(&hist, 1), UINT64_MAX / 4);
}

TEST(load_hist_finds_shares_of_all_values)
{
    clear();
    for (uint64_t v = 100; v >= 1; v--)
        load_hist_add(&hist, v);
    assert_int_equal(load_hist_at(&hist, 0), 1);
    assert_int_equal(load_hist_at(&hist, 0.25), 26);
    assert_int_equal(load_hist_at(&hist, 0.5), 51);
    assert_int_equal(load_hist_at(&hist, 0.999), 100);
    assert_int_equal(load_hist_at(&hist, 1), 100);
    assert_true(load_hist_mean(&hist) == 50.5);
    assert_int_equal(hist.count, 100);
    assert_int_equal(hist.max, 100);
}

TEST(load_hist_never_says_more_than_the_largest)
{
    clear();
    load_hist_add(&hist, 1000);
    for (int share = 0; share <= 10; share++)
        assert_int_equal(load_hist_at(&hist, share / 10.0), 1000);
}
