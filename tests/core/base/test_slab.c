/* tests/core/base/test_slab.c -- objects, their handles, and handles of objects that are gone. */
#include "core/base/slab.h"

#include "tests/support/test.h"

TEST(slab_objects_are_zeroed_and_aligned)
{
    struct slab s;

    slab_init(&s, 33, 1000);
    assert_int_equal(s.object_bytes, 48);
    for (int round = 0; round < 2; round++) {
        uint8_t *p = slab_alloc(&s);

        assert_int_equal((uintptr_t)p % 16, 0);
        for (int i = 0; i < 33; i++)
            assert_int_equal(p[i], 0);
        memset(p, 0xff, 33);
        slab_free(&s, p);
    }
    assert_int_equal(s.count, 0);
    slab_fini(&s);
}

TEST(slab_stops_at_its_bound_and_goes_on_after_a_free)
{
    struct slab s;
    void *p[128];

    slab_init(&s, 16, 65); /* whole chunks: 128 */
    assert_int_equal(s.count_max, 128);
    for (int i = 0; i < 128; i++)
        assert_non_null(p[i] = slab_alloc(&s));
    assert_int_equal(s.count, 128);
    assert_null(slab_alloc(&s));
    slab_free(&s, p[77]);
    assert_ptr_equal(slab_alloc(&s), p[77]);
    assert_null(slab_alloc(&s));
    slab_fini(&s);

    slab_init(&s, 16, 0);
    assert_null(slab_alloc(&s));
    slab_fini(&s);
}

TEST(slab_grows_by_chunks_and_keeps_addresses)
{
    struct slab s;
    uint32_t *p[1000];

    slab_init(&s, sizeof(uint32_t), UINT32_MAX);
    for (uint32_t i = 0; i < 1000; i++) {
        p[i] = slab_alloc(&s);
        *p[i] = i;
    }
    assert_int_equal(s.chunk_count, 16);
    for (uint32_t i = 0; i < 1000; i++) {
        assert_int_equal(*p[i], i);
        assert_int_equal(slab_handle(&s, p[i]).slot, i);
    }
    for (uint32_t i = 0; i < 1000; i++)
        slab_free(&s, p[i]);
    assert_int_equal(s.chunk_count, 16); /* chunks are kept */
    slab_fini(&s);
}

TEST(slab_handle_goes_stale_when_the_object_is_freed)
{
    struct slab s;
    void *p, *again;
    struct handle h;

    slab_init(&s, 64, 64);
    p = slab_alloc(&s);
    h = slab_handle(&s, p);
    assert_int_not_equal(h.generation, 0);
    assert_ptr_equal(slab_at(&s, h), p);
    slab_free(&s, p);
    assert_null(slab_at(&s, h));
    again = slab_alloc(&s);
    assert_ptr_equal(again, p); /* the same place, another object */
    assert_null(slab_at(&s, h));
    assert_ptr_equal(slab_at(&s, slab_handle(&s, again)), again);
    slab_fini(&s);
}

TEST(slab_handle_of_nothing_finds_nothing)
{
    struct slab s;

    slab_init(&s, 64, 64);
    assert_null(slab_at(&s, (struct handle){0, 0}));
    slab_free(&s, slab_alloc(&s));
    assert_null(slab_at(&s, (struct handle){0, 0}));
    assert_null(slab_at(&s, (struct handle){5, 1}));
    assert_null(slab_at(&s, (struct handle){64, 1}));
    assert_null(slab_at(&s, (struct handle){UINT32_MAX, 1}));
    slab_fini(&s);
}

TEST(slab_walk_meets_the_living_and_allows_freeing)
{
    struct slab s;
    void *p[200], *at;
    uint32_t slot = 0, met = 0;

    slab_init(&s, 16, 200);
    for (int i = 0; i < 200; i++)
        p[i] = slab_alloc(&s);
    for (int i = 0; i < 200; i += 2)
        slab_free(&s, p[i]);
    while ((at = slab_next(&s, &slot)) != NULL) {
        assert_ptr_equal(at, p[2 * met + 1]);
        slab_free(&s, at);
        met++;
    }
    assert_int_equal(met, 100);
    slot = 0;
    assert_null(slab_next(&s, &slot));
    slab_fini(&s);
    assert_null(slab_alloc(&s)); /* a finished slab has no places */
}
