/* tests/core/broker/test_stream.c -- the dirty list, and how a stream asks to be closed. */
#include "core/broker/stream.h"

#include "core/broker/state.h"
#include "tests/support/test.h"

static void init(struct shard *s)
{
    memset(s, 0, sizeof *s);
    s->dirty_last = &s->dirty_first;
}

TEST(dirty_streams_come_once_and_in_order)
{
    static struct shard s;
    struct stream v[4] = {0};

    init(&s);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 4; i++)
            v[i].shard = &s;
        for (int i = 0; i < 12; i++)
            stream_touch(&v[i * 3 % 4]);
        for (int i = 0; i < 4; i++) {
            assert_ptr_equal(shard_next_dirty(&s), &v[i * 3 % 4]);
            assert_false(v[i * 3 % 4].is_dirty);
        }
        assert_null(shard_next_dirty(&s));
    }
}

TEST(stream_touched_while_the_list_is_walked_comes_again)
{
    static struct shard s;
    struct stream v[2] = {{.shard = &s}, {.shard = &s}};

    init(&s);
    stream_touch(&v[0]);
    stream_touch(&v[1]);
    assert_ptr_equal(shard_next_dirty(&s), &v[0]);
    stream_touch(&v[0]);
    assert_ptr_equal(shard_next_dirty(&s), &v[1]);
    assert_ptr_equal(shard_next_dirty(&s), &v[0]);
    stream_touch(&v[0]); /* of an empty list */
    assert_ptr_equal(shard_next_dirty(&s), &v[0]);
    assert_null(shard_next_dirty(&s));
}

TEST(first_reason_to_close_stays)
{
    static struct shard s;
    struct stream v = {.shard = &s};

    init(&s);
    stream_close(&v, CLOSE_KEEPALIVE);
    assert_true(v.close_wanted && !v.close_now);
    stream_abort(&v, CLOSE_MEMORY);
    assert_true(v.close_now);
    stream_close(&v, CLOSE_CLIENT);
    assert_int_equal(v.close_why, CLOSE_KEEPALIVE);
    assert_ptr_equal(shard_next_dirty(&s), &v);
    assert_null(shard_next_dirty(&s));
}

TEST(every_reason_has_a_word_of_its_own)
{
    for (int i = 0; i < CLOSE_REASON_COUNT; i++)
        for (int k = 0; k <= i; k++)
            assert_int_equal(strcmp(close_reason_name((enum close_reason)i),
                                    close_reason_name((enum close_reason)k)) == 0,
                             i == k);
    for (int i = 0; i < CLOSE_REASON_COUNT; i++)
        assert_string_not_equal(close_reason_name((enum close_reason)i), "unknown");
    assert_string_equal(close_reason_name(CLOSE_REASON_COUNT), "unknown");
}
