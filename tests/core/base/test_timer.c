/* tests/core/base/test_timer.c -- the timer wheel, also against a plain list of timers. */
#include "core/base/timer.h"

#include <stdlib.h>

#include "tests/support/test.h"

/* A timer that notes when it fired; what else it does on firing is a test's business. */
struct probe {
    struct timer timer;
    uint64_t fired_ms;
    uint32_t fired_count;
};

static void note(struct timer *t, void *owner, uint64_t now_ms)
{
    struct probe *p = (struct probe *)t;

    (void)owner;
    assert_false(timer_is_armed(t));
    p->fired_ms = now_ms;
    p->fired_count++;
}

#define NO_BUDGET UINT32_MAX

/* Sleeps as a worker does until `end_ms`, advancing whenever the wheel wants it. Returns how often
 * it woke up. */
static uint32_t run_until(struct timer_wheel *w, uint64_t end_ms)
{
    uint64_t now = w->now_ms;
    uint32_t wakes = 0;

    for (;;) {
        uint64_t wait = timer_next_ms(w, now);

        if (wait > end_ms - now)
            break;
        now += wait;
        wakes++;
        timer_advance(w, now, NO_BUDGET);
    }
    timer_advance(w, end_ms, NO_BUDGET);
    return wakes;
}

TEST(timer_fires_once_and_never_early)
{
    struct timer_wheel w;
    struct probe p = {0};

    timer_wheel_init(&w, 1000, NULL);
    timer_arm(&w, &p.timer, 1050, note);
    assert_true(timer_is_armed(&p.timer));
    assert_int_equal(timer_next_ms(&w, 1000), 24); /* at 1024 it moves to a finer level */
    assert_false(timer_advance(&w, 1049, NO_BUDGET));
    assert_int_equal(p.fired_count, 0);
    assert_int_equal(timer_next_ms(&w, 1049), 1);
    timer_advance(&w, 1050, NO_BUDGET);
    assert_int_equal(p.fired_count, 1);
    assert_int_equal(p.fired_ms, 1050);
    timer_advance(&w, 100000, NO_BUDGET);
    assert_int_equal(p.fired_count, 1);
    assert_int_equal(timer_next_ms(&w, 100000), UINT64_MAX);
    assert_int_equal(w.count, 0);
}

TEST(timer_for_the_past_fires_at_the_next_advance)
{
    struct timer_wheel w;
    struct probe p[3] = {0};

    timer_wheel_init(&w, 5000, NULL);
    timer_arm(&w, &p[0].timer, 0, note);
    timer_arm(&w, &p[1].timer, 4999, note);
    timer_arm(&w, &p[2].timer, 5000, note);
    assert_int_equal(timer_next_ms(&w, 5000), 0);
    timer_cancel(&w, &p[1].timer);
    timer_advance(&w, 5000, NO_BUDGET);
    assert_int_equal(p[0].fired_count, 1);
    assert_int_equal(p[1].fired_count, 0);
    assert_int_equal(p[2].fired_count, 1);
}

TEST(timer_cancel_is_fine_at_any_time)
{
    struct timer_wheel w;
    struct probe p = {0}, other = {0};

    timer_wheel_init(&w, 0, NULL);
    timer_cancel(&w, &p.timer);
    timer_arm(&w, &p.timer, 100, note);
    timer_arm(&w, &other.timer, 100, note);
    timer_cancel(&w, &p.timer);
    timer_cancel(&w, &p.timer);
    assert_false(timer_is_armed(&p.timer));
    run_until(&w, 1000);
    assert_int_equal(p.fired_count, 0);
    assert_int_equal(other.fired_count, 1);
    timer_arm(&w, &p.timer, 1234567, note);
    timer_cancel(&w, &p.timer);
    assert_int_equal(timer_next_ms(&w, 1000), UINT64_MAX); /* no bit is left behind */
}

TEST(timer_rearming_moves_it)
{
    struct timer_wheel w;
    struct probe p = {0};

    timer_wheel_init(&w, 0, NULL);
    timer_arm(&w, &p.timer, 10, note);
    timer_arm(&w, &p.timer, 2000, note);
    timer_arm(&w, &p.timer, 500, note);
    assert_int_equal(w.count, 1);
    run_until(&w, 3000);
    assert_int_equal(p.fired_count, 1);
    assert_int_equal(p.fired_ms, 500);
}

TEST(timer_is_late_by_at_most_a_64th_of_its_delay)
{
    uint64_t starts[] = {0, 1, 63, 64, 4095, 999999, (1ull << 36) - 3, 1700000000123};

    for (size_t s = 0; s < sizeof starts / sizeof *starts; s++) {
        for (uint64_t delay = 1; delay < 1ull << 40; delay = delay * 3 / 2 + 1) {
            struct timer_wheel w;
            struct probe p = {0};

            timer_wheel_init(&w, starts[s], NULL);
            timer_arm(&w, &p.timer, starts[s] + delay, note);
            assert_true(run_until(&w, starts[s] + 2 * delay) <= TIMER_LEVELS);
            assert_int_equal(p.fired_count, 1);
            assert_true(p.fired_ms >= starts[s] + delay);
            assert_true(p.fired_ms - starts[s] - delay <= delay / 64);
        }
    }
}

TEST(timer_delay_counts_from_the_time_told)
{
    struct timer_wheel w;
    struct probe p = {0};

    timer_wheel_init(&w, 0, NULL);
    timer_wheel_tell(&w, 3600000); /* woke up after an hour */
    timer_arm(&w, &p.timer, 3600000 + 1000, note);
    run_until(&w, 3700000);
    assert_int_equal(p.fired_ms, 3601000);
}

TEST(timer_in_the_far_future_waits)
{
    struct timer_wheel w;
    struct probe p[3] = {0};

    timer_wheel_init(&w, 77, NULL);
    timer_arm(&w, &p[0].timer, UINT64_MAX, note);
    timer_arm(&w, &p[1].timer, UINT64_MAX - 1, note);
    timer_arm(&w, &p[2].timer, 1ull << 62, note);
    run_until(&w, 1ull << 61);
    assert_int_equal(p[2].fired_count, 0);
    run_until(&w, UINT64_MAX - 2);
    assert_int_equal(p[2].fired_count, 1);
    assert_int_equal(p[0].fired_count + p[1].fired_count, 0);
    timer_advance(&w, UINT64_MAX, NO_BUDGET);
    assert_int_equal(p[0].fired_count + p[1].fired_count, 2);
}

TEST(timer_time_that_goes_back_stands_still)
{
    struct timer_wheel w;
    struct probe p = {0};

    timer_wheel_init(&w, 1000, NULL);
    timer_advance(&w, 2000, NO_BUDGET);
    timer_arm(&w, &p.timer, 2010, note);
    assert_false(timer_advance(&w, 500, NO_BUDGET));
    assert_int_equal(p.fired_count, 0);
    timer_advance(&w, 2010, NO_BUDGET);
    assert_int_equal(p.fired_count, 1);
}

TEST(timer_jump_of_time_works_within_the_budget)
{
    enum { COUNT = 2000, BUDGET = 50 };
    static struct probe p[COUNT];
    struct timer_wheel w;
    uint64_t jump = 1ull << 45;
    uint32_t calls = 1, fired, before = 0;

    memset(p, 0, sizeof p);
    timer_wheel_init(&w, 12345, NULL);
    for (uint32_t i = 0; i < COUNT; i++)
        timer_arm(&w, &p[i].timer, 12345 + (uint64_t)i * i * i, note);
    while (timer_advance(&w, jump, BUDGET)) {
        assert_int_equal(timer_next_ms(&w, jump), 0);
        fired = COUNT - w.count;
        assert_true(fired - before <= BUDGET);
        before = fired;
        calls++;
    }
    assert_int_equal(w.count, 0);
    assert_true(calls <= COUNT * 7 / BUDGET); /* a few moves for each timer */
    for (uint32_t i = 0; i < COUNT; i++)
        assert_int_equal(p[i].fired_count, 1);
}

/* Arms itself again: for the past, then for now, then for a little later. */
static void again(struct timer *t, void *owner, uint64_t now_ms)
{
    static const uint64_t delay[] = {0, 0, 1, 100, 5000};
    struct probe *p = (struct probe *)t;

    note(t, NULL, now_ms);
    if (p->fired_count <= 5)
        timer_arm(owner, t, p->fired_count == 1 ? 3 : now_ms + delay[p->fired_count - 1], again);
}

TEST(timer_may_arm_itself_while_it_fires)
{
    struct timer_wheel w;
    struct probe p = {0};

    timer_wheel_init(&w, 0, &w);
    timer_arm(&w, &p.timer, 10, again);
    timer_advance(&w, 20, NO_BUDGET);
    assert_int_equal(p.fired_count, 1); /* armed for the past: not in the same advance */
    timer_advance(&w, 20, NO_BUDGET);
    assert_int_equal(p.fired_count, 2);
    run_until(&w, 20000);
    assert_int_equal(p.fired_count, 6);
    assert_int_equal(w.count, 0);
}

static struct probe group[8];

/* Cancels all of its slot that have not fired, but moves one of them to later. */
static void cancel_others(struct timer *t, void *owner, uint64_t now_ms)
{
    note(t, NULL, now_ms);
    for (int i = 0; i < 8; i++)
        timer_cancel(owner, &group[i].timer);
    timer_arm(owner, t, now_ms + 7, note);
}

TEST(timer_may_cancel_others_of_its_moment_while_it_fires)
{
    struct timer_wheel w;
    uint32_t fired = 0;

    memset(group, 0, sizeof group);
    timer_wheel_init(&w, 0, &w);
    for (int i = 0; i < 8; i++)
        timer_arm(&w, &group[i].timer, 5000, cancel_others);
    run_until(&w, 100000);
    for (int i = 0; i < 8; i++)
        fired += group[i].fired_count;
    assert_int_equal(fired, 2); /* one cancelled the rest and fired again later */
    assert_int_equal(w.count, 0);
}

/* Frees the object it is in. */
static void free_self(struct timer *t, void *owner, uint64_t now_ms)
{
    (void)now_ms;
    ++*(uint32_t *)owner;
    free(t);
}

TEST(timer_may_be_freed_while_it_fires)
{
    struct timer_wheel w;
    uint32_t fired = 0;

    timer_wheel_init(&w, 0, &fired);
    for (uint64_t i = 0; i < 100; i++)
        timer_arm(&w, calloc(1, sizeof(struct timer)), i * 3, free_self);
    run_until(&w, 400);
    assert_int_equal(fired, 100);
}

TEST(timer_many_idle_timers_share_their_wake_ups)
{
    enum { COUNT = 1000 };
    static struct probe p[COUNT];
    struct timer_wheel w;

    memset(p, 0, sizeof p);
    timer_wheel_init(&w, 0, NULL);
    for (uint32_t i = 0; i < COUNT; i++) /* keep alives of a minute, one each millisecond */
        timer_arm(&w, &p[i].timer, 60000 + i, note);
    assert_true(run_until(&w, 62000) <= 1000 / 64 + 8);
    assert_int_equal(w.count, 0);
}

/* The model: every armed timer with what was asked for. */
enum { MODEL_COUNT = 200 };
struct model {
    struct probe probe;
    uint64_t asked_ms;
    uint64_t armed_ms;
    bool is_armed;
};
static struct model model[MODEL_COUNT];
static struct timer_wheel model_wheel;
static uint64_t model_seed;
static uint64_t model_fired;

static uint64_t draw(uint64_t below)
{
    model_seed = model_seed * 6364136223846793005u + 1442695040888963407u;
    return (model_seed >> 20) % below;
}

static void model_fire(struct timer *t, void *owner, uint64_t now_ms);

/* Arms, re-arms or cancels any of them. */
static void model_change(uint64_t now_ms)
{
    struct model *m = &model[draw(MODEL_COUNT)];

    if (draw(4) == 0) {
        timer_cancel(&model_wheel, &m->probe.timer);
        m->is_armed = false;
        return;
    }
    m->armed_ms = now_ms;
    m->asked_ms = now_ms + draw(1ull << draw(30));
    if (draw(16) == 0)
        m->asked_ms = now_ms - draw(now_ms);
    m->is_armed = true;
    timer_arm(&model_wheel, &m->probe.timer, m->asked_ms, model_fire);
}

static uint64_t latest(const struct model *m)
{
    return m->asked_ms > m->armed_ms ? m->asked_ms + (m->asked_ms - m->armed_ms) / 64 : m->armed_ms;
}

static void model_fire(struct timer *t, void *owner, uint64_t now_ms)
{
    struct model *m = (struct model *)t;

    assert_ptr_equal(owner, model);
    assert_true(m->is_armed);
    assert_true(m->asked_ms <= now_ms);
    m->is_armed = false;
    model_fired++;
    for (uint64_t n = draw(3); n > 0; n--)
        model_change(now_ms);
}

/* Nothing that should have fired by now is still armed. */
static void model_check(uint64_t now_ms)
{
    uint32_t armed = 0;

    for (int i = 0; i < MODEL_COUNT; i++) {
        assert_int_equal(timer_is_armed(&model[i].probe.timer), model[i].is_armed);
        armed += model[i].is_armed;
        if (model[i].is_armed && model[i].armed_ms < now_ms)
            assert_true(latest(&model[i]) > now_ms);
    }
    assert_int_equal(model_wheel.count, armed);
}

static void model_run(uint64_t seed)
{
    uint64_t now = 1 + seed * 0x9e3779b9;

    print_message("seed %llu\n", (unsigned long long)seed);
    model_seed = seed;
    memset(model, 0, sizeof model);
    timer_wheel_init(&model_wheel, now, model);
    for (int step = 0; step < 3000; step++) {
        uint64_t wait = timer_next_ms(&model_wheel, now);
        uint64_t jump = draw(1ull << draw(26));

        if (wait < jump && draw(3)) /* mostly as a worker would, sometimes late */
            jump = wait;
        now += jump;
        timer_wheel_tell(&model_wheel, now);
        for (uint64_t n = draw(4); n > 0; n--)
            model_change(now);
        while (timer_advance(&model_wheel, now, 1 + (uint32_t)draw(20)))
            assert_int_equal(timer_next_ms(&model_wheel, now), 0);
        model_check(now);
    }
}

TEST(timer_does_what_a_plain_list_of_timers_does)
{
    model_fired = 0;
    for (uint64_t seed = 1; seed <= 20; seed++)
        model_run(seed);
    assert_true(model_fired > 10000);
}
