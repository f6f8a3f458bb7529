/* tests/link/test_rate.c -- how much may come in a second. */
#include "tests/support/test.h"

#include "link/rate.h"

TEST(rate_lets_a_burst_pass_and_then_only_so_much)
{
    struct rate r = {.per_s = 100};
    uint64_t now = 5000000, next;

    assert_true(rate_take(&r, 100, now) <= now); /* what a second saved */
    next = rate_take(&r, 50, now);
    assert_int_equal(next, now + 500);
    assert_int_equal(rate_take(&r, 0, next), next);
    assert_true(rate_take(&r, 0, next) <= next);
    assert_int_equal(rate_take(&r, 100, next), next + 1000);
}

TEST(rate_saves_no_more_than_a_burst)
{
    struct rate r = {.per_s = 1000};
    uint64_t now = 1000000;

    assert_true(rate_take(&r, 10, now) <= now);
    now += 3600000;
    assert_int_equal(rate_take(&r, 1000 + 7, now), now + 7);
}

TEST(rate_holds_up_for_a_bounded_time_whatever_came)
{
    struct rate r = {.per_s = 1};

    assert_int_equal(rate_take(&r, UINT64_MAX, 5000), 5000 + RATE_DEBT_MS);
    assert_int_equal(rate_take(&r, UINT64_MAX, 5001), 5001 + RATE_DEBT_MS);
    r = (struct rate){.per_s = UINT64_MAX};
    assert_true(rate_take(&r, UINT64_MAX / 2, 5000) <= 5000);
}
