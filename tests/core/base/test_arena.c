/* tests/core/base/test_arena.c -- scratch memory of a turn. */
#include "core/base/arena.h"

#include "tests/support/test.h"

TEST(arena_pieces_are_aligned_and_do_not_overlap)
{
    struct arena a;
    uint8_t *p[500];

    arena_init(&a);
    for (uint32_t i = 0; i < 500; i++) {
        p[i] = arena_alloc(&a, i);
        assert_int_equal((uintptr_t)p[i] % 16, 0);
        memset(p[i], (int)i, i);
    }
    assert_ptr_not_equal(p[0], p[1]);
    for (uint32_t i = 0; i < 500; i++) {
        for (uint32_t k = 0; k < i; k++)
            assert_int_equal(p[i][k], (uint8_t)i);
    }
    assert_true(a.total >= 500 * 499 / 2);
    arena_fini(&a);
}

TEST(arena_takes_pieces_larger_than_a_chunk)
{
    struct arena a;
    uint8_t *small, *large;

    arena_init(&a);
    small = arena_alloc(&a, 10);
    large = arena_alloc(&a, 1 << 20);
    memset(small, 1, 10);
    memset(large, 2, 1 << 20);
    memset(arena_alloc(&a, 100), 3, 100);
    assert_int_equal(small[9], 1);
    assert_int_equal(large[(1 << 20) - 1], 2);
    arena_fini(&a);
}

TEST(arena_reset_keeps_at_most_one_small_chunk)
{
    struct arena a;

    arena_init(&a);
    arena_reset(&a); /* of an arena that was not used */
    assert_int_equal(a.total, 0);
    for (int turn = 0; turn < 3; turn++) {
        for (int i = 0; i < 100; i++)
            assert_non_null(arena_alloc(&a, 5000));
        assert_non_null(arena_alloc(&a, 1 << 20));
        assert_true(a.total > (1 << 20) + 500000);
        arena_reset(&a);
        assert_true(a.total <= 64 << 10);
    }
    assert_non_null(arena_alloc(&a, 1));
    arena_fini(&a);
    assert_int_equal(a.total, 0);
}
