/* tests/net/test_pace.c -- pauses between attempts. */
#include "tests/support/test.h"

#include "net/pace.h"

TEST(pace_tries_at_once_first)
{
    struct pace p = {0};

    assert_true(pace_is_due(&p, 0));
    assert_int_equal(pace_left_us(&p, 0), PACE_FIRST_US);
}

TEST(pace_doubles_while_nothing_comes_of_it)
{
    struct pace p = {0};
    uint64_t now = 1000000, expected = PACE_FIRST_US;

    for (int i = 0; i < 20; i++) {
        pace_tried(&p, false, now);
        assert_int_equal(pace_left_us(&p, now), expected);
        assert_false(pace_is_due(&p, now + expected - 1));
        now += expected;
        assert_true(pace_is_due(&p, now));
        expected = expected * 2 < PACE_LONGEST_US ? expected * 2 : PACE_LONGEST_US;
    }
    assert_int_equal(expected, PACE_LONGEST_US);
}

TEST(pace_tries_at_once_again_when_something_came_of_it)
{
    struct pace p = {0};

    for (int i = 0; i < 20; i++)
        pace_tried(&p, false, 0);
    pace_tried(&p, true, 50000);
    assert_true(pace_is_due(&p, 50000));
    pace_tried(&p, false, 50000);
    assert_int_equal(pace_left_us(&p, 50000), PACE_FIRST_US);
}

TEST(pace_tries_what_is_new_at_once_and_goes_on_as_before)
{
    struct pace p = {0};

    pace_tried(&p, false, 0);
    pace_tried(&p, false, 0);
    pace_hurry(&p);
    assert_true(pace_is_due(&p, 0));
    assert_int_equal(pace_left_us(&p, 0), 0);
    pace_tried(&p, false, 0);
    assert_int_equal(pace_left_us(&p, 0), 4 * PACE_FIRST_US);
}
