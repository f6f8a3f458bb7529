/* tests/core/store/test_nothing.c -- the store that keeps nothing is safe at the end of a turn. */
#include "core/store/record.h"

#include "tests/support/test.h"

TEST(nothing_is_safe_before_the_turn_ends)
{
    struct record r = {.kind = RECORD_PUBLISH, .client_id = BYTES_LIT("c")};
    struct store_nothing self;
    struct store s;
    store_ticket first, second;

    store_nothing_init(&s, &self);
    assert_false(s.keeps);
    first = store_put(&s, &r);
    second = store_put(&s, &r);
    assert_true(first < second);
    assert_true(s.ops->committed(s.self) < first);
    s.ops->end_turn(s.self);
    assert_int_equal(s.ops->committed(s.self), second);
}

TEST(tickets_of_the_next_turn_are_not_safe_yet)
{
    struct record r = {.kind = RECORD_RECEIVED, .is_delete = true, .packet_id = 1};
    struct store_nothing self;
    struct store s;
    store_ticket before, after;

    store_nothing_init(&s, &self);
    before = store_put(&s, &r);
    s.ops->end_turn(s.self);
    after = store_put(&s, &r);
    assert_int_equal(s.ops->committed(s.self), before);
    assert_true(after > before);
    s.ops->end_turn(s.self);
    s.ops->end_turn(s.self); /* a turn without records changes nothing */
    assert_int_equal(s.ops->committed(s.self), after);
}

TEST(every_kind_gets_a_ticket_of_its_own)
{
    struct store_nothing self;
    struct store s;
    store_ticket last = 0;

    store_nothing_init(&s, &self);
    assert_int_equal(s.ops->committed(s.self), 0);
    for (int kind = 0; kind < RECORD_KIND_COUNT; kind++) {
        struct record r = {.kind = (enum record_kind)kind};
        store_ticket t = store_put(&s, &r);

        assert_int_equal(t, last + 1);
        last = t;
    }
}
