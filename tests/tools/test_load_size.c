/* tests/tools/test_load_size.c -- how long payloads are, by what was asked for. */
#include "tests/support/test.h"

#include "tools/load_size.h"

static struct load_sizes sizes_of(const char *text)
{
    struct load_sizes s;

    assert_true(load_sizes_read(&s, text, 20, 100000));
    return s;
}

/* How many of 100,000 messages have a size in that range. */
static uint32_t count_within(const struct load_sizes *s, uint32_t from, uint32_t to)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < 100000; i++) {
        uint32_t size = load_sizes_at(s, load_size_random(1, i % 7, i));

        count += size >= from && size <= to;
    }
    return count;
}

TEST(load_size_of_one_number_is_always_that)
{
    struct load_sizes s = sizes_of("64");

    assert_int_equal(s.max, 64);
    assert_true(load_sizes_mean(&s) == 64);
    assert_int_equal(load_sizes_at(&s, 0), 64);
    assert_int_equal(load_sizes_at(&s, UINT64_MAX), 64);
}

TEST(load_size_of_a_range_has_both_ends_and_is_even)
{
    struct load_sizes s = sizes_of("100-199");
    uint32_t low = count_within(&s, 100, 149);

    assert_int_equal(load_sizes_at(&s, 0), 100);
    assert_int_equal(load_sizes_at(&s, UINT64_MAX), 199);
    assert_int_equal(count_within(&s, 100, 199), 100000);
    assert_true(low > 49000 && low < 51000);
    assert_true(load_sizes_mean(&s) == 149.5);
}

TEST(load_size_without_share_gets_what_the_others_leave)
{
    struct load_sizes s = sizes_of("64,1024:0.1,4000-8000:0.01");
    uint32_t common = count_within(&s, 64, 64), rare = count_within(&s, 4000, 8000);

    assert_int_equal(s.max, 8000);
    assert_true(common > 88500 && common < 89500);
    assert_true(rare > 850 && rare < 1150);
    assert_int_equal(common + rare + count_within(&s, 1024, 1024), 100000);
}

TEST(load_size_parts_without_shares_are_even)
{
    struct load_sizes s = sizes_of("64,1024");
    uint32_t small = count_within(&s, 64, 64);

    assert_true(small > 49000 && small < 51000);
}

TEST(load_size_shares_may_make_1_or_leave_nothing)
{
    struct load_sizes all = sizes_of("64:0.5,1024:0.5"), none = sizes_of("64,1024:1");

    assert_int_equal(count_within(&all, 64, 64) + count_within(&all, 1024, 1024), 100000);
    assert_int_equal(count_within(&none, 64, 64), 0);
}

TEST(load_size_refuses_what_is_no_distribution)
{
    static const char *const wrong[] = {"",
                                        "x",
                                        "19",
                                        "100001",
                                        "64,",
                                        "64,,64",
                                        "64:",
                                        "64:x",
                                        "64:1.1",
                                        "64:-1",
                                        "64:0.5",
                                        "50-40",
                                        "20-",
                                        "20-100001",
                                        "-30",
                                        " 64",
                                        "64 ",
                                        "64:1x",
                                        "64:0.6,70:0.6",
                                        "64;70",
                                        "64:nan",
                                        "99999999999",
                                        "20-99999999999",
                                        "20,21,22,23,24,25,26,27,28,29,30,31,32,33,34,35,36"};
    struct load_sizes s;

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        if (load_sizes_read(&s, wrong[i], 20, 100000))
            fail_msg("taken: %s", wrong[i]);
    }
}

TEST(load_size_random_differs_by_each_of_its_numbers)
{
    uint64_t a = load_size_random(1, 2, 3);

    assert_true(a == load_size_random(1, 2, 3));
    assert_true(a != load_size_random(2, 2, 3));
    assert_true(a != load_size_random(1, 3, 3));
    assert_true(a != load_size_random(1, 2, 4));
}
