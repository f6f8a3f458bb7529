/* tests/core/base/test_spsc.c -- the ring of records, one thread playing both sides.
 *
 * What two threads can do to each other is in tests/race/race_spsc.c.
 */
#include "core/base/spsc.h"

#include "tests/support/test.h"

/* Puts one committed record of `bytes`, filled with `fill`; false when the ring is full. */
static bool put(struct spsc *q, uint32_t bytes, int fill)
{
    void *record = spsc_reserve(q, bytes);

    if (!record)
        return false;
    memset(record, fill, bytes);
    spsc_commit(q);
    return true;
}

/* Takes the oldest record and checks its size and content. */
static void take(struct spsc *q, uint32_t bytes, int fill)
{
    uint32_t n = 0;
    uint8_t *record = spsc_peek(q, &n);

    assert_non_null(record);
    assert_int_equal(n, bytes);
    assert_int_equal((uintptr_t)record % 8, 0);
    for (uint32_t i = 0; i < n; i++)
        assert_int_equal(record[i], (uint8_t)fill);
    spsc_pop(q);
}

TEST(spsc_gives_records_in_order_with_their_sizes)
{
    struct spsc *q = spsc_create(1024);

    assert_true(spsc_is_empty(q));
    assert_true(put(q, 1, 'a'));
    assert_true(put(q, 0, 0));
    assert_true(put(q, 256, 'c'));
    assert_false(spsc_is_empty(q));
    take(q, 1, 'a');
    take(q, 0, 0);
    take(q, 256, 'c');
    assert_true(spsc_is_empty(q));
    spsc_destroy(q);
    spsc_destroy(NULL);
}

TEST(spsc_shows_nothing_before_commit)
{
    struct spsc *q = spsc_create(256);
    uint32_t n;
    uint8_t *a = spsc_reserve(q, 3);
    uint8_t *b = spsc_reserve(q, 5);

    assert_null(spsc_peek(q, &n));
    assert_true(spsc_is_empty(q));
    memset(b, 'b', 5); /* several reserved before one commit, written in any order */
    memset(a, 'a', 3);
    spsc_commit(q);
    take(q, 3, 'a');
    take(q, 5, 'b');
    assert_null(spsc_peek(q, &n));
    spsc_destroy(q);
}

TEST(spsc_peek_again_gives_the_same_record)
{
    struct spsc *q = spsc_create(256);
    uint32_t n;
    uint8_t *seen;

    put(q, 8, 'x');
    seen = spsc_peek(q, &n);
    *seen = 'y'; /* the consumer may note something in a record it leaves there */
    assert_ptr_equal(spsc_peek(q, &n), seen);
    assert_int_equal(*(uint8_t *)spsc_peek(q, &n), 'y');
    spsc_pop(q);
    assert_null(spsc_peek(q, &n));
    spsc_destroy(q);
}

TEST(spsc_full_changes_nothing)
{
    struct spsc *q = spsc_create(256);
    uint32_t count = 0;

    while (put(q, 24, (int)count))
        count++;
    assert_int_equal(count, 256 / 32);
    assert_false(spsc_room(q, 1, 0));
    assert_null(spsc_reserve(q, 0));
    for (uint32_t i = 0; i < count; i++)
        take(q, 24, (int)i);
    assert_true(put(q, 24, 'z'));
    take(q, 24, 'z');
    spsc_destroy(q);
}

TEST(spsc_empty_ring_takes_the_largest_record_at_every_offset)
{
    for (uint64_t offset = 0; offset < 512; offset += 8) {
        struct spsc *q = spsc_create(512);

        spsc_start_at(q, offset);
        assert_int_equal(spsc_record_max(q), 128);
        assert_true(spsc_room(q, 1, 128));
        assert_true(put(q, 128, 'm'));
        take(q, 128, 'm');
        assert_true(spsc_is_empty(q)); /* no filler is left behind */
        spsc_destroy(q);
    }
}

/* A small generator: the same numbers for the same seed everywhere. */
static uint32_t draw(uint64_t *seed, uint32_t below)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*seed >> 33) % below;
}

TEST(spsc_room_for_one_is_exact)
{
    struct spsc *q = spsc_create(256);
    uint64_t seed = 11;
    uint32_t waiting = 0, n;

    for (int i = 0; i < 20000; i++) {
        uint32_t bytes = draw(&seed, 65);
        bool has_room = spsc_room(q, 1, bytes);

        assert_int_equal(put(q, bytes, i), has_room);
        waiting += has_room;
        for (uint32_t gone = draw(&seed, 3); gone && waiting; gone--, waiting--) {
            assert_non_null(spsc_peek(q, &n));
            spsc_pop(q);
        }
    }
    assert_false(spsc_room(q, 1, 65)); /* larger than any record */
    spsc_destroy(q);
}

TEST(spsc_room_for_several_holds_whatever_their_sizes)
{
    struct spsc *q = spsc_create(512);
    uint64_t seed = 12;
    uint32_t n, found = 0;

    for (int i = 0; i < 20000; i++) {
        uint32_t count = 1 + draw(&seed, 8), bytes = 0, size[8];

        for (uint32_t k = 0; k < count; k++)
            bytes += size[k] = draw(&seed, 60);
        if (spsc_room(q, count, bytes)) {
            found++;
            for (uint32_t k = 0; k < count; k++)
                assert_non_null(spsc_reserve(q, size[k]));
            spsc_commit(q);
        }
        for (uint32_t gone = draw(&seed, 10); gone && spsc_peek(q, &n); gone--)
            spsc_pop(q);
    }
    assert_true(found > 1000);
    assert_true(spsc_room(q, 0, 0));
    spsc_destroy(q);
}

TEST(spsc_room_once_seen_stays_while_the_consumer_works)
{
    struct spsc *q = spsc_create(256);
    uint64_t seed = 13;
    uint32_t n;

    for (int i = 0; i < 5000; i++) {
        uint32_t bytes = draw(&seed, 65);
        bool has_room = spsc_room(q, 1, bytes);

        for (uint32_t gone = draw(&seed, 3); gone && spsc_peek(q, &n); gone--)
            spsc_pop(q);
        if (has_room)
            assert_true(put(q, bytes, 0));
    }
    spsc_destroy(q);
}

TEST(spsc_positions_may_wrap)
{
    struct spsc *q = spsc_create(256);
    uint64_t mark;

    spsc_start_at(q, (uint64_t)0 - 96);
    mark = spsc_mark(q);
    assert_true(spsc_passed(q, mark));
    for (int i = 0; i < 50; i++) {
        assert_true(put(q, 40, i));
        assert_true(put(q, 16, i));
        mark = spsc_mark(q);
        assert_false(spsc_passed(q, mark));
        take(q, 40, i);
        assert_false(spsc_passed(q, mark));
        take(q, 16, i);
        assert_true(spsc_passed(q, mark));
    }
    spsc_destroy(q);
}

TEST(spsc_mark_does_not_wait_for_later_records)
{
    struct spsc *q = spsc_create(256);
    uint64_t mark;

    put(q, 10, 'a');
    mark = spsc_mark(q);
    put(q, 10, 'b');
    take(q, 10, 'a');
    assert_true(spsc_passed(q, mark));
    assert_false(spsc_is_empty(q));
    spsc_destroy(q);
}

TEST(spsc_lives_in_memory_of_the_caller)
{
    static _Alignas(CACHE_LINE) uint8_t head[SPSC_HEAD_BYTES];
    static _Alignas(8) uint8_t cells[256];
    struct spsc *q = spsc_place(head, cells, sizeof cells);

    assert_true(put(q, 64, 'p'));
    take(q, 64, 'p');
}
