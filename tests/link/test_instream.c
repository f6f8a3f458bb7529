/* tests/link/test_instream.c -- what was taken of a native peer, and what it is told. */
#include "link/instream.h"

#include "tests/support/test.h"

#define WINDOW ((struct native_window){1000, 10})

static void open_as(struct instream *in, uint64_t boot)
{
    struct native_frame f = {.kind = NATIVE_OPEN, .boot = boot, .first = 1};

    instream_open(in, &f);
}

/* Opens, and the answer says `last`. */
static void opened(struct instream *in, uint64_t boot, uint64_t last)
{
    struct native_frame f;

    open_as(in, boot);
    instream_opened(in, &f);
    assert_int_equal(f.kind, NATIVE_OPENED);
    assert_int_equal(f.boot, boot);
    assert_int_equal(f.last, last);
}

static void take(struct instream *in, uint64_t boot, uint64_t sequence)
{
    assert_true(instream_wants(in, boot, sequence));
    instream_take(in, boot, sequence);
}

static void acked(struct instream *in, uint64_t boot, uint64_t last)
{
    struct native_frame f;

    assert_true(instream_ack(in, &f));
    assert_int_equal(f.kind, NATIVE_ACK);
    assert_int_equal(f.boot, boot);
    assert_int_equal(f.last, last);
    assert_int_equal(f.window.bytes, in->window.bytes);
    assert_int_equal(f.window.messages, in->window.messages);
    assert_false(instream_ack(in, &f));
}

TEST(instream_acknowledges_once_what_was_taken_in_a_turn)
{
    struct native_frame f;
    struct instream in;

    instream_init(&in, WINDOW);
    opened(&in, 1, 0);
    assert_false(instream_ack(&in, &f));
    take(&in, 1, 1);
    take(&in, 1, 2);
    take(&in, 1, 7); /* what lies between is gone */
    acked(&in, 1, 7);
    assert_true(instream_wants(&in, 1, 8)); /* asking takes nothing */
    assert_true(instream_wants(&in, 1, 8));
    assert_false(instream_ack(&in, &f));
    assert_int_equal(in.doubles, 0);
}

TEST(instream_takes_nothing_twice_and_says_so)
{
    struct instream in;

    instream_init(&in, WINDOW);
    opened(&in, 1, 0);
    take(&in, 1, 5);
    acked(&in, 1, 5);
    assert_false(instream_wants(&in, 1, 5));
    acked(&in, 1, 5); /* or the sender would wait for ever */
    assert_false(instream_wants(&in, 1, 3));
    assert_int_equal(in.doubles, 2);
    opened(&in, 1, 5); /* a connection later */
    assert_false(instream_wants(&in, 1, 5));
    take(&in, 1, 6);
}

TEST(instream_begins_anew_with_another_boot_and_remembers_the_one_before)
{
    struct native_frame f;
    struct instream in;

    instream_init(&in, WINDOW);
    opened(&in, 1, 0);
    take(&in, 1, 100);
    opened(&in, 2, 0);
    take(&in, 2, 1);
    acked(&in, 2, 1);
    assert_false(instream_wants(&in, 1, 100)); /* from the older connection */
    take(&in, 1, 101);
    assert_false(instream_ack(&in, &f)); /* there is nobody to be told */
    take(&in, 2, 2);
    acked(&in, 2, 2);
    opened(&in, 1, 101);
    opened(&in, 2, 2);
}

TEST(instream_forgets_the_boot_that_was_opened_longest_ago)
{
    struct instream in;

    instream_init(&in, WINDOW);
    assert_false(instream_wants(&in, 1, 1)); /* nobody has opened */
    assert_false(in.ack_due);
    for (uint64_t boot = 1; boot <= INSTREAM_BOOTS; boot++) {
        opened(&in, boot, 0);
        take(&in, boot, 10 * boot);
    }
    opened(&in, 1, 10);
    opened(&in, 99, 0); /* 2 has to go */
    assert_false(instream_wants(&in, 2, 1000));
    for (uint64_t boot = 3; boot <= INSTREAM_BOOTS; boot++)
        opened(&in, boot, 10 * boot);
    opened(&in, 1, 10);
    opened(&in, 99, 0);
}

TEST(instream_tells_of_another_window_at_once)
{
    struct native_frame f;
    struct instream in;

    instream_init(&in, WINDOW);
    instream_grant(&in, (struct native_window){1, 1});
    assert_false(instream_ack(&in, &f)); /* to whom? */
    opened(&in, 1, 0);
    instream_grant(&in, (struct native_window){1, 1});
    assert_false(instream_ack(&in, &f));
    instream_grant(&in, (struct native_window){1, 2});
    acked(&in, 1, 0);
    instream_grant(&in, (struct native_window){2, 2});
    acked(&in, 1, 0);
}
