/* tests/core/session/test_filters.c -- filters of one worker, and who of its sessions wants them.
 */
#include "core/session/filters.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/session/session.h"
#include "tests/support/test.h"

#define SESSIONS 40u
#define FILTERS 25u

static uint64_t draw(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

/* Subscribes and unsubscribes as core/broker/subscribe.c does. */
static void subscribe(struct session *x, struct filter *f)
{
    uint32_t at = session_add_subscription(x, (struct subscription){.filter = f});

    assert_true(at != UINT32_MAX);
    x->subs[at].at = filter_join(f, (struct subscriber){.session = x, .at = at});
    assert_true(x->subs[at].at != UINT32_MAX);
}

static void unsubscribe(struct session *x, uint32_t at)
{
    struct subscription sub = x->subs[at];

    filter_leave(sub.filter, sub.at);
    session_drop_subscription(x, at);
}

static void expect_back_references(const struct session *x, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t at = 0; at < x[i].sub_count; at++) {
            const struct subscription *sub = &x[i].subs[at];

            assert_in_range(sub->at, 0, sub->filter->count - 1);
            assert_ptr_equal(sub->filter->v[sub->at].session, &x[i]);
            assert_int_equal(sub->filter->v[sub->at].at, at);
        }
}

TEST(joining_and_leaving_keeps_back_references)
{
    uint64_t seed = 0xf1170001;
    struct session *x = calloc(SESSIONS, sizeof *x);
    struct filter *f[FILTERS];
    struct filters all;

    print_message("seed 0xf1170001\n");
    assert_non_null(x);
    filters_init(&all, 1000);
    for (uint32_t i = 0; i < FILTERS; i++)
        f[i] = filters_create(&all, bytes_of(&i, sizeof i), i, 0);
    for (uint32_t i = 0; i < 6000; i++) {
        struct session *who = &x[draw(&seed) % SESSIONS];
        struct filter *what = f[draw(&seed) % FILTERS];
        uint32_t at = session_find_filter(who, what);

        if (draw(&seed) % 100 < (i < 3000 ? 70 : 30)) {
            if (at == UINT32_MAX)
                subscribe(who, what);
        } else if (at != UINT32_MAX) {
            unsubscribe(who, at);
        }
        if (i % 100 == 0)
            expect_back_references(x, SESSIONS);
    }
    expect_back_references(x, SESSIONS);
    for (uint32_t i = 0; i < SESSIONS; i++) {
        while (x[i].sub_count)
            unsubscribe(&x[i], x[i].sub_count / 2);
        session_fini(&x[i]);
    }
    for (uint32_t i = 0; i < FILTERS; i++) {
        assert_int_equal(f[i]->count, 0);
        assert_ptr_equal(f[i]->v, &f[i]->one);
        filters_remove(&all, f[i]);
    }
    filters_fini(&all);
    free(x);
}

TEST(subscription_is_found_whichever_list_is_shorter)
{
    struct session busy = {0}, idle = {0};
    struct filter *f[10];
    struct filters all;

    filters_init(&all, 100);
    for (uint32_t i = 0; i < 10; i++) {
        f[i] = filters_create(&all, bytes_of(&i, sizeof i), i, 0);
        subscribe(&busy, f[i]);
    }
    subscribe(&idle, f[7]);
    assert_int_equal(session_find_filter(&busy, f[7]), 7);
    assert_int_equal(session_find_filter(&idle, f[7]), 0);
    assert_int_equal(session_find_filter(&idle, f[6]), UINT32_MAX);
    unsubscribe(&busy, 7);
    assert_int_equal(session_find_filter(&busy, f[7]), UINT32_MAX);
    assert_int_equal(session_find_filter(&idle, f[7]), 0);
    session_fini(&busy);
    session_fini(&idle);
    filters_fini(&all); /* in whatever state */
}

TEST(leaving_takes_the_right_one_and_tells_who_moved)
{
    struct session x[4] = {0};
    struct filter *f;
    struct filters all;

    filters_init(&all, 100);
    f = filters_create(&all, BYTES_LIT("a"), 1, 0);
    for (uint32_t i = 0; i < 4; i++)
        subscribe(&x[i], f);
    filter_leave(f, 1);
    assert_int_equal(f->count, 3);
    assert_ptr_equal(f->v[1].session, &x[3]);
    assert_int_equal(x[3].subs[0].at, 1);
    filter_leave(f, 2);
    filter_leave(f, 0);
    assert_int_equal(f->count, 1);
    assert_ptr_equal(f->v, &f->one);
    assert_ptr_equal(f->one.session, &x[3]);
    assert_int_equal(x[3].subs[0].at, 0);
    filter_leave(f, 0);
    filters_remove(&all, f);
    for (uint32_t i = 0; i < 4; i++)
        session_fini(&x[i]);
    filters_fini(&all);
}

/* ---- texts and slots ---- */

TEST(filter_is_found_by_its_text_also_among_equal_hashes)
{
    struct filters all;
    char text[16];

    filters_init(&all, 1000);
    for (int i = 0; i < 200; i++) {
        snprintf(text, sizeof text, "a/%d", i);
        assert_null(filters_find(&all, bytes_str(text), (uint64_t)i % 3));
        assert_non_null(filters_create(&all, bytes_str(text), (uint64_t)i % 3, (uint16_t)i));
    }
    for (int i = 0; i < 200; i++) {
        struct filter *f;

        snprintf(text, sizeof text, "a/%d", i);
        f = filters_find(&all, bytes_str(text), (uint64_t)i % 3);
        assert_non_null(f);
        assert_int_equal(f->owner, i);
        assert_true(bytes_eq(filter_text(f), bytes_str(text)));
        assert_null(filters_find(&all, bytes_str(text), (uint64_t)i % 3 + 1));
    }
    filters_fini(&all);
}

TEST(slot_of_a_removed_filter_goes_stale)
{
    struct filter *f, *again;
    struct handle h, fresh;
    struct filters all;

    filters_init(&all, 64);
    f = filters_create(&all, BYTES_LIT("a"), 1, 0);
    h = slab_handle(&all.slab, f);
    assert_ptr_equal(filters_at(&all, h), f);
    filters_remove(&all, f);
    assert_null(filters_at(&all, h));
    again = filters_create(&all, BYTES_LIT("b"), 1, 0);
    fresh = slab_handle(&all.slab, again);
    assert_int_equal(fresh.slot, h.slot);
    assert_null(filters_at(&all, h));
    assert_ptr_equal(filters_at(&all, fresh), again);
    assert_null(filters_find(&all, BYTES_LIT("a"), 1));
    filters_fini(&all);
}

TEST(filters_stop_at_their_bound_and_go_on_after_a_removal)
{
    struct filter *f[64];
    struct filters all;

    filters_init(&all, 64);
    for (uint32_t i = 0; i < 64; i++)
        assert_non_null(f[i] = filters_create(&all, bytes_of(&i, sizeof i), i, 0));
    assert_null(filters_create(&all, BYTES_LIT("more"), 99, 0));
    assert_null(filters_find(&all, BYTES_LIT("more"), 99));
    filters_remove(&all, f[30]);
    assert_non_null(filters_create(&all, BYTES_LIT("more"), 99, 0));
    filters_fini(&all);
}
