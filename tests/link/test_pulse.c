/* tests/link/test_pulse.c -- signs of life, with time handed in. */
#include "tests/support/test.h"

#include "link/pulse.h"

#define DEAD_AFTER 3000u

/* A connection and its other side, in steps of 50 ms. */
struct path {
    struct pulse pulse;
    struct pulse_written written;
    uint64_t now_ms, heard_ms;
    uint32_t ping_count;
    bool answers; /* pings, after rtt_ms */
    uint32_t rtt_ms;
    uint64_t answer_ms; /* 0: none is on its way */
};

static struct path path_begin(uint32_t dead_after_ms)
{
    struct path p = {.now_ms = 5000, .heard_ms = 5000, .written = {.is_known = true}};

    pulse_begin(&p.pulse, dead_after_ms, p.now_ms);
    return p;
}

/* One step of 50 ms; false: it counts as dead. */
static bool step(struct path *p)
{
    enum pulse_verdict verdict;

    p->now_ms += 50;
    if (p->answer_ms && p->now_ms >= p->answer_ms) {
        p->answer_ms = 0;
        p->heard_ms = p->now_ms;
        pulse_answer(&p->pulse, p->now_ms);
    }
    if (p->now_ms < p->pulse.due_ms)
        return true;
    verdict = pulse_look(&p->pulse, p->now_ms, p->heard_ms, &p->written);
    if (verdict == PULSE_PING) {
        p->ping_count++;
        if (p->answers && !p->answer_ms)
            p->answer_ms = p->now_ms + p->rtt_ms;
        if (p->written.outstanding == 0)
            p->written.acked += 2; /* the kernel over there has it at once */
    }
    return verdict != PULSE_DEAD;
}

/* Lets time pass; returns after how many ms it counts as dead, or 0: it lives. */
static uint64_t pass(struct path *p, uint64_t ms)
{
    uint64_t begin = p->now_ms;

    while (p->now_ms - begin < ms)
        if (!step(p))
            return p->now_ms - begin;
    return 0;
}

TEST(pulse_is_fine_while_pings_are_answered)
{
    struct path p = path_begin(DEAD_AFTER);

    p.answers = true;
    p.rtt_ms = 100;
    assert_int_equal(pass(&p, 60000), 0);
    assert_in_range(p.ping_count, 55, 60);
    assert_true(p.pulse.has_rtt);
    assert_in_range(p.pulse.rtt_ms, 100, 150);
}

TEST(pulse_needs_no_answer_sooner_than_dead_after)
{
    struct path p = path_begin(DEAD_AFTER);

    p.answers = true;
    p.rtt_ms = 1800;
    assert_int_equal(pass(&p, 60000), 0);
}

TEST(pulse_pings_every_second_also_while_data_comes)
{
    struct path p = path_begin(DEAD_AFTER);

    for (uint32_t i = 0; i < 10000 / 50; i++) {
        p.heard_ms = p.now_ms;
        assert_true(step(&p));
    }
    assert_in_range(p.ping_count, 9, 10);
}

TEST(pulse_looks_once_a_second_while_data_comes)
{
    struct path p = path_begin(DEAD_AFTER);
    uint32_t looks = 0;

    while (p.now_ms < 5000 + 10000) {
        uint64_t due_ms = p.pulse.due_ms;

        p.heard_ms = p.now_ms;
        assert_true(step(&p));
        looks += p.pulse.due_ms != due_ms;
    }
    assert_in_range(looks, 9, 10);
}

/* A stopped process has a kernel that takes pings, and acknowledges them. */
TEST(pulse_notices_a_stopped_process_while_idle)
{
    struct path p = path_begin(DEAD_AFTER);

    p.answers = true;
    assert_int_equal(pass(&p, 10000), 0);
    p.answers = false;
    assert_in_range(pass(&p, 10000), 1900, 3050);
}

TEST(pulse_notices_a_black_hole_while_idle)
{
    struct path p = path_begin(DEAD_AFTER);

    p.written.outstanding = 2; /* nothing is acknowledged any more */
    assert_in_range(pass(&p, 10000), 2900, 3050);
}

TEST(pulse_notices_a_black_hole_while_data_flows)
{
    struct path p = path_begin(DEAD_AFTER);

    p.written.outstanding = 1u << 20;
    for (uint32_t i = 0; i < 100; i++) {
        p.heard_ms = p.now_ms;
        p.written.acked += 100000;
        assert_true(step(&p));
    }
    assert_in_range(pass(&p, 10000), 2800, 3050);
}

/* Its kernel takes a little more, then nothing. */
TEST(pulse_notices_a_stopped_process_while_data_flows)
{
    struct path p = path_begin(DEAD_AFTER);
    uint64_t after = 0;

    p.written.outstanding = 1u << 20;
    for (uint32_t i = 0; i < 2; i++) {
        p.written.acked += 100000;
        assert_int_equal(pass(&p, 50), 0);
        after += 50;
    }
    assert_in_range(after + pass(&p, 10000), 2900, 3150);
}

/* A message of many megabytes on a slow path: nothing comes for half a minute, for the answer to
 * what was written last stands behind it. */
TEST(pulse_lets_a_slow_path_live)
{
    struct path p = path_begin(DEAD_AFTER);

    p.written.outstanding = 10u << 20;
    for (uint32_t i = 0; i < 15; i++) { /* a byte in two seconds */
        p.written.acked++;
        assert_int_equal(pass(&p, 2000), 0);
    }
    p.written.outstanding = 0;
    p.heard_ms = p.now_ms;
    assert_int_equal(pass(&p, 2000), 0);
    assert_in_range(pass(&p, 10000), 900, 1050); /* and dies like any other */
}

TEST(pulse_does_without_the_kernel)
{
    struct path p = path_begin(DEAD_AFTER);

    p.written.is_known = false;
    assert_in_range(pass(&p, 10000), 2900, 3050);
}

TEST(pulse_has_the_time_it_was_given)
{
    struct path p = path_begin(20000);

    assert_in_range(pass(&p, 60000), 19900, 20050);
}

/* We were stopped ourselves, and what came meanwhile waits in our kernel. */
TEST(pulse_does_not_count_time_in_which_we_did_not_run)
{
    struct path p = path_begin(DEAD_AFTER);

    p.answers = true;
    p.rtt_ms = 10;
    assert_int_equal(pass(&p, 5000), 0);
    p.now_ms += 60000;
    p.answer_ms = 0;
    assert_int_equal(pass(&p, 5000), 0);
    p.answers = false;
    p.now_ms += 60000;
    assert_in_range(pass(&p, 10000), 1000, 3050);
}

/* What it sends comes, what we send is lost. */
TEST(pulse_notices_who_does_not_hear_us)
{
    struct path p = path_begin(DEAD_AFTER);
    uint64_t after_ms = 0;

    p.written.in_flight = p.written.outstanding = 100;
    for (uint32_t i = 0; i < 10000 / 50; i++) {
        p.heard_ms = p.now_ms;
        p.written.acked += 100;
        assert_true(step(&p));
    }
    do {
        p.heard_ms = p.now_ms;
        after_ms += 50;
    } while (step(&p) && after_ms < 10000);
    assert_in_range(after_ms, DEAD_AFTER - PULSE_PING_MS - 50, DEAD_AFTER + 50);
}

/* Its window is closed: nothing is on its way. */
TEST(pulse_does_not_hold_slow_reading_against_who_sends)
{
    struct path p = path_begin(DEAD_AFTER);

    p.written.outstanding = 1u << 20;
    for (uint32_t i = 0; i < 10000 / 50; i++) {
        p.heard_ms = p.now_ms;
        assert_true(step(&p));
    }
}

/* Only what is on its way since long counts, not that something always is. */
TEST(pulse_lets_lone_bytes_take_their_time)
{
    struct path p = path_begin(DEAD_AFTER);

    for (uint32_t i = 0; i < 20000 / 50; i++) {
        p.heard_ms = p.now_ms;
        p.written.in_flight = 2;
        p.written.acked += i % 36 == 35 ? 2 : 0; /* a round trip of 1.8 s */
        assert_true(step(&p));
    }
}

TEST(pulse_measures_only_answers_to_its_pings)
{
    struct path p = path_begin(DEAD_AFTER);

    pulse_answer(&p.pulse, p.now_ms);
    assert_false(p.pulse.has_rtt);
    assert_int_equal(pass(&p, 2100), 0); /* two pings, the first is answered after 1.1 s */
    assert_int_equal(p.ping_count, 2);
    pulse_answer(&p.pulse, p.now_ms);
    assert_in_range(p.pulse.rtt_ms, 1000, 1150);
    pulse_answer(&p.pulse, p.now_ms);
    assert_in_range(p.pulse.rtt_ms, 1000, 1150); /* nobody knows when the other one left */
    pulse_answer(&p.pulse, p.now_ms);
    assert_int_equal(p.pulse.unanswered, 0);
}
