/* tests/core/base/test_epoch.c -- when retired blocks are freed, one thread playing all workers. */
#include "core/base/epoch.h"

#include <stdlib.h>

#include "tests/support/test.h"

static uint32_t freed_count;
static uint64_t freed_bytes;
static void *freed_last;

static void count_freed(void *p, uint32_t bytes)
{
    freed_count++;
    freed_bytes += bytes;
    freed_last = p;
    free(p);
}

static struct epoch *start(uint32_t workers)
{
    struct epoch *e = epoch_create(workers);

    freed_count = 0;
    freed_bytes = 0;
    epoch_set_free(e, count_freed);
    for (uint32_t i = 0; i < workers; i++)
        epoch_online(e, i);
    return e;
}

TEST(epoch_waits_for_every_worker_that_is_online)
{
    struct epoch *e = start(3);

    epoch_retire(e, 0, malloc(40), 40);
    assert_int_equal(epoch_retired_bytes(e, 0), 40);
    assert_int_equal(epoch_retired_bytes(e, 1), 0);
    assert_int_equal(epoch_reclaim(e, 0, 10), 1);
    epoch_quiesce(e, 0);
    epoch_quiesce(e, 1);
    assert_int_equal(epoch_reclaim(e, 0, 10), 1);
    epoch_quiesce(e, 1);
    assert_int_equal(epoch_reclaim(e, 0, 10), 1);
    epoch_quiesce(e, 2);
    assert_int_equal(epoch_reclaim(e, 0, 10), 0);
    assert_int_equal(epoch_retired_bytes(e, 0), 0);
    assert_int_equal(freed_count, 1);
    epoch_destroy(e);
}

TEST(epoch_writer_itself_must_quiesce)
{
    struct epoch *e = start(2);

    epoch_retire(e, 0, malloc(24), 24);
    epoch_quiesce(e, 1);
    assert_int_equal(epoch_reclaim(e, 0, 10), 1);
    epoch_quiesce(e, 0);
    assert_int_equal(epoch_reclaim(e, 0, 10), 0);
    epoch_destroy(e);
}

TEST(epoch_sleepers_hold_nothing)
{
    struct epoch *e = start(3);

    epoch_offline(e, 1);
    epoch_retire(e, 0, malloc(24), 24);
    epoch_quiesce(e, 0);
    assert_int_equal(epoch_reclaim(e, 0, 10), 1);
    epoch_offline(e, 2); /* sleeping counts as passing, too */
    assert_int_equal(epoch_reclaim(e, 0, 10), 0);
    epoch_destroy(e);
}

TEST(epoch_who_wakes_later_delays_nobody_after_quiescing_once)
{
    struct epoch *e = start(2);

    epoch_offline(e, 1);
    epoch_retire(e, 0, malloc(24), 24);
    epoch_online(e, 1);
    epoch_quiesce(e, 0);
    epoch_quiesce(e, 1);
    assert_int_equal(epoch_reclaim(e, 0, 10), 0);
    epoch_destroy(e);
}

TEST(epoch_later_blocks_wait_for_a_later_quiescence)
{
    struct epoch *e = start(2);
    void *first = malloc(24);

    epoch_retire(e, 0, first, 24);
    epoch_quiesce(e, 1);
    epoch_retire(e, 0, malloc(24), 24);
    epoch_quiesce(e, 0);
    assert_int_equal(epoch_reclaim(e, 0, 10), 1);
    assert_ptr_equal(freed_last, first);
    epoch_quiesce(e, 1);
    assert_int_equal(epoch_reclaim(e, 0, 10), 0);
    epoch_destroy(e);
}

TEST(epoch_retired_block_keeps_its_content)
{
    struct epoch *e = start(2);
    uint8_t *p = malloc(24);

    memset(p, 0x5a, 24);
    epoch_retire(e, 0, p, 24);
    epoch_reclaim(e, 0, 10);
    for (int i = 0; i < 24; i++)
        assert_int_equal(p[i], 0x5a); /* worker 1 may be reading it */
    epoch_destroy(e);
}

TEST(epoch_reclaims_within_budget_oldest_first)
{
    struct epoch *e = start(1);
    void *p[1000];

    for (int i = 0; i < 1000; i++)
        epoch_retire(e, 0, p[i] = malloc(16), 16);
    epoch_quiesce(e, 0);
    for (uint32_t left = 1000; left > 0; left -= 10) {
        assert_int_equal(epoch_reclaim(e, 0, 10), left - 10);
        assert_ptr_equal(freed_last, p[1000 - left + 9]);
        assert_int_equal(epoch_retired_bytes(e, 0), (left - 10) * 16);
    }
    assert_int_equal(epoch_reclaim(e, 0, 0), 0);
    epoch_destroy(e);
}

TEST(epoch_destroy_frees_what_is_left_of_every_worker)
{
    struct epoch *e = start(3);

    for (uint32_t i = 0; i < 600; i++)
        epoch_retire(e, i % 3, malloc(32), 32);
    epoch_destroy(e);
    assert_int_equal(freed_count, 600);
    assert_int_equal(freed_bytes, 600 * 32);
    epoch_destroy(NULL);
}
