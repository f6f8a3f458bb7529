/* tests/link/test_announced.c -- what a peer's actors announce, and what the index hears of it. */
#include "link/announced.h"

#include "tests/link/vectors.h"

static const struct hash_key key = {{5, 6, 7, 8}};

/* What the route index has been told: which filters are wanted. A filter that is reported twice the
 * same way fails the test. */
struct index {
    char filter[256][16];
    uint32_t count, reports;
    int64_t held, held_max; /* 0: no bound */
};

static int index_find(const struct index *x, const char *filter)
{
    for (uint32_t i = 0; i < x->count; i++)
        if (strcmp(x->filter[i], filter) == 0)
            return (int)i;
    return -1;
}

static void on_report(void *arg, struct bytes filter, bool is_wanted)
{
    struct index *x = arg;
    char text[16];
    int at;

    snprintf(text, sizeof(text), "%.*s", (int)filter.n, (const char *)filter.p);
    at = index_find(x, text);
    assert_int_equal(at >= 0, !is_wanted);
    if (is_wanted)
        memcpy(x->filter[x->count++], text, sizeof(text));
    else
        memcpy(x->filter[at], x->filter[--x->count], sizeof(text));
    x->reports++;
}

static bool on_hold(void *arg, int64_t bytes)
{
    struct index *x = arg;

    if (bytes > 0 && x->held_max && x->held + bytes > x->held_max)
        return false;
    x->held += bytes;
    assert_true(x->held >= 0);
    return true;
}

static const struct announced_ops ops = {.report = on_report, .hold = on_hold};

static struct announced *make(struct index *x, uint32_t actors_max, uint32_t routes_max)
{
    struct announced *a = announced_create(actors_max, routes_max, 8, &key, &ops, x);

    assert_non_null(a);
    return a;
}

static struct announced_actor *hello(struct announced *a, const char *name, uint64_t incarnation,
                                     uint64_t expiry, bool expected_need)
{
    bool need = !expected_need;

    assert_int_equal(
        announced_hello(a, bytes_str(name), incarnation, expiry, ANNOUNCED_OLD_GO, &need), OK);
    assert_int_equal(need, expected_need);
    return announced_find(a, bytes_str(name), incarnation);
}

static enum err add(struct announced *a, struct announced_actor *actor, const char *filter,
                    const char *id)
{
    return announced_add(a, actor, bytes_str(filter), bytes_str(id));
}

static void del(struct announced *a, struct announced_actor *actor, const char *filter,
                const char *id)
{
    announced_delete(a, actor, bytes_str(filter), bytes_str(id));
}

TEST(handshake_answers_in_the_order_of_the_protocol)
{
    struct bytes us = BYTES_LIT("us"), other = BYTES_LIT("other");

    assert_int_equal(handshake_decide(true, true, us, us), HANDSHAKE_OK);
    assert_int_equal(handshake_decide(false, false, us, us), HANDSHAKE_UNKNOWN_CLUSTER);
    assert_int_equal(handshake_decide(false, true, other, us), HANDSHAKE_UNKNOWN_CLUSTER);
    assert_int_equal(handshake_decide(true, true, other, us), HANDSHAKE_BAD_LINK_NAME);
    assert_int_equal(handshake_decide(true, false, us, us), HANDSHAKE_LINK_DISABLED);
    assert_int_equal(handshake_decide(true, false, other, us), HANDSHAKE_LINK_DISABLED);
    assert_true(
        bytes_eq(handshake_reason(HANDSHAKE_UNKNOWN_CLUSTER), BYTES_LIT("unknown_cluster")));
    assert_true(bytes_eq(handshake_reason(HANDSHAKE_BAD_LINK_NAME),
                         BYTES_LIT("bad_remote_cluster_link_name")));
    assert_true(
        bytes_eq(handshake_reason(HANDSHAKE_LINK_DISABLED), BYTES_LIT("cluster_link_disabled")));
    assert_int_equal(handshake_reason(HANDSHAKE_OK).n, 0);
}

TEST(announced_reports_a_filter_with_its_first_and_last_route)
{
    struct index x = {.count = 0};
    struct announced *a = make(&x, 4, 100);
    struct announced_actor *n1 = hello(a, "n1", 1, 10, true);
    struct announced_actor *n2 = hello(a, "n2", 1, 10, true);

    assert_int_equal(add(a, n1, "t/1", "t/1"), OK);
    assert_int_equal(add(a, n1, "t/1", "t/+"), OK);
    assert_int_equal(add(a, n2, "t/1", "t/1"), OK);
    assert_int_equal(add(a, n1, "t/1", "t/1"), OK); /* again */
    assert_int_equal(x.reports, 1);
    assert_int_equal(announced_route_count(a), 3);
    del(a, n1, "t/1", "t/1");
    del(a, n1, "t/1", "t/1");
    del(a, n1, "t/1", "nothing");
    del(a, n1, "nothing", "t/1");
    del(a, n2, "t/1", "t/+"); /* is n1's */
    assert_int_equal(announced_route_count(a), 2);
    del(a, n1, "t/1", "t/+");
    assert_int_equal(x.reports, 1);
    del(a, n2, "t/1", "t/1");
    assert_int_equal(x.reports, 2);
    assert_int_equal(x.count, 0);
    assert_int_equal(announced_filter_count(a), 0);
    announced_destroy(a);
}

TEST(announced_same_incarnation_keeps_routes_higher_loses_lower_is_refused)
{
    struct index x = {.count = 0};
    struct announced *a = make(&x, 4, 100);
    struct announced_actor *n1 = hello(a, "n1", 5, 10, true);
    bool need;

    assert_int_equal(add(a, n1, "t/1", "t/1"), OK);
    hello(a, "n1", 5, 20, false);
    assert_int_equal(x.count, 1);
    assert_int_equal(announced_hello(a, BYTES_LIT("n1"), 4, 30, ANNOUNCED_OLD_GO, &need), ERR_PEER);
    assert_null(announced_find(a, BYTES_LIT("n1"), 4));
    assert_int_equal(announced_next_expiry(a), 20);
    hello(a, "n1", 6, 40, true);
    assert_null(announced_find(a, BYTES_LIT("n1"), 5));
    assert_int_equal(x.count, 0);
    announced_destroy(a);
}

TEST(announced_old_routes_may_stay_until_swept)
{
    struct index x = {.count = 0};
    struct announced *a = make(&x, 4, 100);
    struct announced_actor *n1 = hello(a, "n1", 1, 10, true);
    bool need;

    assert_int_equal(add(a, n1, "a", "a"), OK);
    assert_int_equal(add(a, n1, "b", "b"), OK);
    assert_int_equal(add(a, n1, "c", "c"), OK);
    assert_int_equal(announced_hello(a, BYTES_LIT("n1"), 2, 20, ANNOUNCED_OLD_STAY, &need), OK);
    assert_true(need);
    n1 = announced_find(a, BYTES_LIT("n1"), 2);
    assert_int_equal(x.reports, 3); /* nothing went dark */
    assert_int_equal(add(a, n1, "b", "b"), OK);
    assert_int_equal(add(a, n1, "d", "d"), OK);
    assert_true(announced_sweep(a, n1, 1));
    assert_int_equal(x.count, 3);
    assert_false(announced_sweep(a, n1, 100));
    assert_int_equal(x.count, 2);
    assert_true(index_find(&x, "b") >= 0 && index_find(&x, "d") >= 0);
    assert_false(announced_sweep(a, n1, 100));
    announced_destroy(a);
}

TEST(announced_sweeps_all_actors_together)
{
    struct index x = {.count = 0};
    struct announced *a = make(&x, 4, 4);
    struct announced_actor *n1 = hello(a, "n1", 1, 10, true), *n2 = hello(a, "n2", 1, 10, true);
    bool need;

    assert_int_equal(add(a, n1, "a", "a"), OK);
    assert_int_equal(add(a, n1, "b", "b"), OK);
    assert_int_equal(add(a, n2, "c", "c"), OK);
    assert_int_equal(add(a, n2, "d", "d"), OK);
    assert_false(announced_sweep_all(a, UINT64_MAX, 100));
    assert_int_equal(announced_hello(a, BYTES_LIT("n1"), 2, 20, ANNOUNCED_OLD_STAY, &need), OK);
    assert_int_equal(announced_hello(a, BYTES_LIT("n2"), 2, 20, ANNOUNCED_OLD_STAY, &need), OK);
    assert_int_equal(add(a, n1, "e", "e"), OK); /* full, but for what is old */
    assert_int_equal(x.count, 4);
    assert_true(announced_sweep_all(a, UINT64_MAX, 2));
    assert_int_equal(x.count, 2);
    assert_false(announced_sweep_all(a, UINT64_MAX, 1));
    assert_int_equal(x.count, 1);
    assert_true(index_find(&x, "e") >= 0);
    announced_destroy(a);
}

TEST(announced_actors_expire_unless_they_beat)
{
    struct index x = {.count = 0};
    struct announced *a = make(&x, 4, 100);
    struct announced_actor *n1, *n2;
    uint32_t routes;

    assert_true(announced_next_expiry(a) == UINT64_MAX);
    n1 = hello(a, "n1", 1, 100, true);
    n2 = hello(a, "n2", 1, 100, true);
    assert_int_equal(add(a, n1, "a", "a"), OK);
    assert_int_equal(add(a, n2, "a", "a"), OK);
    assert_int_equal(add(a, n2, "b", "b"), OK);
    announced_beat(n1, 200);
    assert_int_equal(announced_expire(a, 99, &routes), 0);
    assert_int_equal(announced_expire(a, 100, &routes), 1);
    assert_int_equal(routes, 2);
    assert_int_equal(announced_actor_count(a), 1);
    assert_false(announced_sweep_all(a, UINT64_MAX, 2));
    assert_null(announced_find(a, BYTES_LIT("n2"), 1));
    assert_int_equal(x.count, 1);
    assert_int_equal(announced_next_expiry(a), 200);
    hello(a, "n2", 1, 300, true); /* the same life, but forgotten: all anew */
    announced_drop(a);
    assert_int_equal(x.count, 0);
    assert_int_equal(announced_actor_count(a), 0);
    announced_destroy(a);
}

TEST(announced_actors_that_are_spared_live_so_long_at_least)
{
    struct index x = {.count = 0};
    struct announced *a = make(&x, 4, 100);
    uint32_t routes;

    hello(a, "n1", 1, 100, true);
    hello(a, "n2", 1, 300, true);
    announced_spare(a, 200);
    assert_int_equal(announced_next_expiry(a), 200);
    assert_int_equal(announced_expire(a, 200, &routes), 1);
    assert_int_equal(announced_next_expiry(a), 300);
    announced_spare(a, 400); /* who is gone stays gone */
    assert_int_equal(announced_actor_count(a), 1);
    assert_null(announced_find(a, BYTES_LIT("n1"), 1));
    announced_destroy(a);
}

TEST(announced_routes_of_who_is_gone_go_in_slices)
{
    struct index x = {.count = 0};
    struct announced *a = make(&x, 2, 100);
    struct announced_actor *n1 = hello(a, "n1", 5, 100, true);
    struct announced_actor *n2 = hello(a, "n2", 1, 200, true);
    uint32_t routes;
    bool need;

    assert_int_equal(add(a, n1, "a", "a"), OK);
    assert_int_equal(add(a, n1, "b", "b"), OK);
    assert_int_equal(add(a, n1, "c", "c"), OK);
    assert_int_equal(add(a, n2, "b", "b"), OK);
    assert_int_equal(announced_expire(a, 100, &routes), 1);
    assert_int_equal(routes, 3);
    assert_int_equal(x.count, 3); /* nothing has gone yet */
    assert_null(announced_find(a, BYTES_LIT("n1"), 5));
    assert_int_equal(announced_expire(a, 150, &routes), 0); /* only once */
    assert_int_equal(announced_next_expiry(a), 200);
    assert_true(announced_sweep_all(a, UINT64_MAX, 2));
    assert_int_equal(announced_route_count(a), 2);
    assert_int_equal(announced_hello(a, BYTES_LIT("n3"), 1, 300, ANNOUNCED_OLD_STAY, &need),
                     ERR_FULL); /* n1 still takes its place */
    assert_false(announced_sweep_all(a, UINT64_MAX, 1));
    assert_int_equal(announced_hello(a, BYTES_LIT("n3"), 1, 300, ANNOUNCED_OLD_STAY, &need), OK);
    assert_int_equal(x.count, 1);
    assert_true(index_find(&x, "b") >= 0); /* n2's */
    announced_destroy(a);
}

TEST(announced_actor_that_comes_back_while_its_routes_go_announces_anew)
{
    struct index x = {.count = 0};
    struct announced *a = make(&x, 1, 100);
    struct announced_actor *n1 = hello(a, "n1", 5, 100, true);
    uint32_t routes;
    bool need;

    assert_int_equal(add(a, n1, "a", "a"), OK);
    assert_int_equal(add(a, n1, "b", "b"), OK);
    assert_int_equal(add(a, n1, "c", "c"), OK);
    assert_int_equal(announced_expire(a, 100, &routes), 1);
    assert_true(announced_sweep_all(a, UINT64_MAX, 1)); /* a */
    /* the same life, or after a clock set back an earlier one: what is gone has no number */
    assert_int_equal(announced_hello(a, BYTES_LIT("n1"), 4, 200, ANNOUNCED_OLD_STAY, &need), OK);
    assert_true(need);
    assert_int_equal(announced_actor_count(a), 1);
    assert_int_equal(announced_next_expiry(a), 200);
    n1 = announced_find(a, BYTES_LIT("n1"), 4);
    assert_non_null(n1);
    assert_int_equal(add(a, n1, "a", "a"), OK);
    assert_int_equal(add(a, n1, "c", "c"), OK);
    assert_false(announced_sweep_all(a, UINT64_MAX, 100));
    assert_non_null(announced_find(a, BYTES_LIT("n1"), 4));
    assert_int_equal(x.count, 2);
    assert_true(index_find(&x, "a") >= 0 && index_find(&x, "c") >= 0);
    announced_destroy(a);
    assert_int_equal(x.held, 0);
}

TEST(announced_keeps_its_bounds)
{
    struct index x = {.count = 0};
    struct announced *a = make(&x, 2, 3);
    struct announced_actor *n1 = hello(a, "n1", 1, 100, true);
    uint8_t *long_text = malloc(ANNOUNCED_ID_BYTES_MAX + 1u);
    bool need;

    assert_non_null(long_text);
    memset(long_text, 'x', ANNOUNCED_ID_BYTES_MAX + 1u);
    hello(a, "n2", 1, 100, true);
    assert_int_equal(announced_hello(a, BYTES_LIT("n3"), 1, 9, ANNOUNCED_OLD_GO, &need), ERR_FULL);
    assert_int_equal(announced_hello(a, BYTES_LIT(""), 1, 9, ANNOUNCED_OLD_GO, &need), ERR_PEER);
    assert_int_equal(announced_hello(a, bytes_of(long_text, ANNOUNCED_ACTOR_BYTES_MAX + 1), 1, 9,
                                     ANNOUNCED_OLD_GO, &need),
                     ERR_PEER);
    assert_int_equal(add(a, n1, "a", "1"), OK);
    assert_int_equal(add(a, n1, "a", "2"), OK);
    assert_int_equal(add(a, n1, "b", "3"), OK);
    assert_int_equal(add(a, n1, "c", "4"), ERR_FULL);
    assert_int_equal(add(a, n1, "a", "1"), OK); /* known: takes no place */
    assert_int_equal(x.reports, 2);
    del(a, n1, "b", "3");
    assert_int_equal(add(a, n1, "a/#/b", "4"), ERR_PEER);
    assert_int_equal(add(a, n1, "", "4"), ERR_PEER);
    assert_int_equal(add(a, n1, "1/2/3/4/5/6/7/8/9", "4"), ERR_PEER); /* too many levels */
    assert_int_equal(
        announced_add(a, n1, BYTES_LIT("c"), bytes_of(long_text, ANNOUNCED_ID_BYTES_MAX + 1u)),
        ERR_PEER);
    assert_int_equal(announced_filter_count(a), 1);
    announced_destroy(a);
    free(long_text);
}

TEST(announced_asks_for_the_bytes_of_filters_and_ids)
{
    struct index x = {.count = 0};
    struct announced *a = make(&x, 2, 100);
    struct announced_actor *n1 = hello(a, "n1", 1, 100, true);
    int64_t one, two;

    assert_int_equal(add(a, n1, "a/1", "a/1"), OK);
    one = x.held;
    assert_true(one > 0);
    assert_int_equal(add(a, n1, "a/1", "123456789"), OK); /* no filter more, an id of 9 */
    two = x.held - one;
    assert_in_range(two, 10, one);
    x.held_max = x.held + one - 1;
    assert_int_equal(add(a, n1, "b/1", "b/1"), ERR_MEMORY);
    assert_int_equal(add(a, n1, "b/1", "b/1"), ERR_MEMORY);
    assert_int_equal(x.held, one + two); /* also what was held for its filter is let go */
    assert_int_equal(add(a, n1, "a/1", "123456789"), OK); /* again: takes nothing */
    assert_int_equal(announced_filter_count(a), 1);
    assert_int_equal(x.reports, 1);
    del(a, n1, "a/1", "123456789");
    assert_int_equal(add(a, n1, "b/1", "b/1"), OK);
    assert_int_equal(x.held, 2 * one);
    announced_destroy(a);
    assert_int_equal(x.held, 0);
}

TEST(announced_filters_can_be_walked)
{
    struct index x = {.count = 0};
    struct announced *a = make(&x, 2, 10);
    struct announced_actor *n1 = hello(a, "n1", 1, 100, true);
    const void *cursor = NULL;
    struct bytes f;
    uint32_t count = 0, seen = 0;

    assert_false(announced_next_filter(a, &cursor, &f));
    assert_int_equal(add(a, n1, "a", "1"), OK);
    assert_int_equal(add(a, n1, "b", "2"), OK);
    assert_int_equal(add(a, n1, "a", "3"), OK);
    for (cursor = NULL; announced_next_filter(a, &cursor, &f); count++) {
        assert_true(bytes_eq(f, BYTES_LIT("a")) != bytes_eq(f, BYTES_LIT("b")));
        seen += f.p[0];
    }
    assert_int_equal(count, 2);
    assert_int_equal(seen, 'a' + 'b');
    announced_destroy(a);
}

/* ---- many routes ---- */

static void count_report(void *arg, struct bytes filter, bool is_wanted)
{
    (void)filter;
    *(uint32_t *)arg += is_wanted ? 1 : UINT32_MAX;
}

static const struct announced_ops count_ops = {.report = count_report};

static enum err add_number(struct announced *a, struct announced_actor *actor, uint32_t n)
{
    char filter[32];

    snprintf(filter, sizeof(filter), "site/%u", n);
    return announced_add(a, actor, bytes_str(filter), bytes_str(n % 16 ? "" : "id"));
}

/* One that has announced `count` routes, and all but the first `old` of them in a new life. */
static struct announced_actor *with_old(struct announced *a, uint32_t count, uint32_t old)
{
    struct announced_actor *actor;
    bool need;

    for (uint32_t life = 1; life <= 2; life++) {
        assert_int_equal(announced_hello(a, BYTES_LIT("n"), life, 100, ANNOUNCED_OLD_STAY, &need),
                         OK);
        actor = announced_find(a, BYTES_LIT("n"), life);
        for (uint32_t n = life == 1 ? 0 : old; n < count; n++)
            assert_int_equal(add_number(a, actor, n), OK);
    }
    return actor;
}

TEST(announced_looks_for_few_old_routes_among_many_in_slices)
{
    uint32_t wanted = 0, slices = 0;
    struct announced *a = announced_create(4, 200000, 8, &key, &count_ops, &wanted);
    struct announced_actor *actor = with_old(a, 200000, 3);

    while (announced_sweep(a, actor, 2))
        slices++;
    assert_in_range(slices, 10, 100); /* each looks at a few thousand of 262,144 places */
    assert_int_equal(wanted, 199997);
    assert_int_equal(announced_route_count(a), 199997);
    assert_false(announced_has_old(a));
    announced_destroy(a);
}

TEST(announced_old_routes_make_room_though_they_are_few_among_many)
{
    uint32_t wanted = 0, most = 0;
    struct announced *a = announced_create(4, 200000, 8, &key, &count_ops, &wanted);
    struct announced_actor *actor = with_old(a, 200000, 300);

    for (uint32_t n = 0; n < 300; n++) {
        assert_int_equal(add_number(a, actor, 200000 + n), OK);
        if (announced_route_count(a) > most)
            most = announced_route_count(a);
    }
    while (announced_sweep(a, actor, 1000))
        ;
    assert_in_range(most, 200000, 200200);
    assert_int_equal(announced_route_count(a), 200000);
    assert_int_equal(add_number(a, actor, 200300), ERR_FULL);
    announced_limit(a, 100000); /* nothing is old: nothing makes room */
    assert_int_equal(add_number(a, actor, 200300), ERR_FULL);
    assert_int_equal(wanted, 200000);
    announced_destroy(a);
}

TEST(announced_limit_that_was_lowered_holds_while_there_are_old_routes)
{
    uint32_t wanted = 0, taken = 0;
    struct announced *a = announced_create(4, 20000, 8, &key, &count_ops, &wanted);
    struct announced_actor *actor = with_old(a, 20000, 10000);

    announced_limit(a, 5000);
    for (uint32_t n = 0; n < 9000; n++)
        taken += add_number(a, actor, 20000 + n) == OK;
    assert_int_equal(taken, 0);
    assert_int_equal(announced_route_count(a), 11000); /* each that was refused has swept one */
    announced_destroy(a);
}

/* An actor of EMQX that goes and comes under another name each time. */
TEST(announced_numbers_of_actors_are_used_again)
{
    uint32_t wanted = 0, routes;
    struct announced *a = announced_create(2, 100, 8, &key, &count_ops, &wanted);
    char name[16];
    bool need;

    for (uint32_t i = 0; i < 200000; i++) {
        snprintf(name, sizeof(name), "n%u", i);
        assert_int_equal(announced_hello(a, bytes_str(name), 1, i + 1, ANNOUNCED_OLD_GO, &need),
                         OK);
        assert_int_equal(add_number(a, announced_find(a, bytes_str(name), 1), i % 3), OK);
        assert_int_equal(announced_expire(a, i + 1, &routes), 1);
        while (i % 2 && announced_sweep_all(a, i + 1, 10))
            ;
    }
    assert_int_equal(announced_route_count(a), 0);
    assert_int_equal(wanted, 0);
    announced_destroy(a);
}

/* ---- the stream of a native peer ---- */

static struct hash_key digest_key(uint64_t generation)
{
    return (struct hash_key){{9, 8, 7, generation}};
}

static enum err renew(struct announced_actor *actor, uint64_t generation)
{
    struct hash_key k = digest_key(generation);

    return announced_renew(actor, generation, &k);
}

/* What a peer believes that has announced these. */
static bool differs(const struct announced_actor *actor, uint64_t generation, const char *f1,
                    const char *f2)
{
    struct hash_key k = digest_key(generation);
    uint64_t digest = hash_bytes(&k, bytes_str(f1)) + hash_bytes(&k, bytes_str(f2));

    return announced_differs(actor, 2, digest);
}

/* The answer that says so may be lost. */
TEST(announced_native_peer_must_announce_until_it_begins)
{
    struct index x = {.count = 0};
    struct announced *a = make(&x, 2, 10);
    struct hash_key k = digest_key(1);

    announced_keep(hello(a, "n1", 1, 100, true));
    announced_keep(hello(a, "n1", 1, 100, true));
    assert_int_equal(announced_renew(hello(a, "n1", 1, 100, true), 1, &k), OK);
    announced_doubt(hello(a, "n1", 1, 100, false));
    announced_keep(hello(a, "n1", 1, 100, true));
    assert_int_equal(announced_renew(hello(a, "n1", 1, 100, true), 1, &k), OK); /* not begun */
    assert_int_equal(announced_renew(hello(a, "n1", 1, 100, true), 2, &k), OK);
    (void)hello(a, "n1", 1, 100, false);
    announced_destroy(a);
}

TEST(announced_only_the_end_of_the_newest_generation_sweeps)
{
    struct index x = {.count = 0};
    struct announced *a = make(&x, 2, 100);
    struct announced_actor *n = hello(a, "n", 1, 50, true);

    announced_keep(n);
    assert_false(announced_sweep_all(a, UINT64_MAX, 10));
    assert_int_equal(renew(n, 1), OK);
    assert_int_equal(add(a, n, "a", ""), OK);
    assert_int_equal(add(a, n, "b", ""), OK);
    assert_int_equal(add(a, n, "c", ""), OK);
    announced_end(n);
    assert_int_equal(renew(n, 2), OK);
    assert_int_equal(add(a, n, "b", ""), OK);
    assert_int_equal(renew(n, 4), OK);
    assert_int_equal(add(a, n, "a", ""), OK);
    assert_int_equal(renew(n, 3), ERR_PEER);
    assert_int_equal(renew(n, 4), OK);
    assert_false(announced_sweep(a, n, 10));
    assert_false(announced_sweep_all(a, UINT64_MAX, 10));
    assert_int_equal(x.count, 3);
    announced_end(n);
    assert_true(announced_sweep(a, n, 1));
    assert_false(announced_sweep(a, n, 1));
    assert_int_equal(x.count, 1);
    assert_true(index_find(&x, "a") >= 0);
    assert_int_equal(x.reports, 5);
    announced_destroy(a);
}

TEST(announced_compares_what_is_complete)
{
    struct index x = {.count = 0};
    struct announced *a = make(&x, 2, 3);
    struct announced_actor *n = hello(a, "n", 1, 50, true);

    assert_false(differs(n, 1, "a", "b"));
    assert_int_equal(renew(n, 1), OK);
    assert_int_equal(add(a, n, "a", ""), OK);
    assert_false(differs(n, 1, "a", "b")); /* still being announced */
    announced_end(n);
    assert_true(differs(n, 1, "a", "b"));
    assert_int_equal(add(a, n, "b", ""), OK);
    assert_int_equal(add(a, n, "b", ""), OK);
    assert_int_equal(add(a, n, "c", ""), OK);
    del(a, n, "c", "");
    del(a, n, "c", "");
    assert_false(differs(n, 1, "a", "b"));
    assert_true(differs(n, 1, "a", "c"));
    assert_true(differs(n, 2, "a", "b"));
    assert_int_equal(add(a, n, "c", ""), OK);
    assert_true(differs(n, 1, "a", "b"));
    assert_int_equal(add(a, n, "d", ""), ERR_FULL);
    assert_false(differs(n, 1, "a", "b"));
    assert_int_equal(renew(n, 2), OK); /* what is old is not counted, whatever becomes of it */
    assert_int_equal(add(a, n, "c", ""), OK);
    assert_int_equal(add(a, n, "b", ""), OK);
    announced_end(n);
    assert_false(differs(n, 2, "b", "c"));
    assert_false(announced_sweep(a, n, 10));
    assert_false(differs(n, 2, "b", "c"));
    announced_refuse(n);
    assert_false(differs(n, 2, "a", "b"));
    assert_int_equal(renew(n, 3), OK);
    announced_end(n);
    assert_true(differs(n, 3, "a", "b"));
    announced_destroy(a);
}

TEST(announced_who_is_gone_is_swept_though_kept)
{
    struct index x = {.count = 0};
    struct announced *a = make(&x, 2, 100);
    struct announced_actor *n = hello(a, "n", 1, 50, true);
    uint32_t routes;

    assert_int_equal(renew(n, 7), OK);
    assert_int_equal(add(a, n, "a", ""), OK);
    assert_int_equal(announced_expire(a, 50, &routes), 1);
    assert_false(announced_sweep_all(a, UINT64_MAX, 10));
    assert_int_equal(x.count, 0);
    n = hello(a, "n", 2, 90, true);
    assert_int_equal(renew(n, 1), OK); /* another life counts anew */
    announced_destroy(a);
}

TEST(announced_a_route_in_its_filter_is_one_of_many)
{
    struct index x = {.count = 0};
    struct announced *a = make(&x, 2, 100);
    struct announced_actor *n = hello(a, "n", 1, 50, true);
    struct announced_actor *o = hello(a, "o", 1, 50, true);
    int64_t alone;

    assert_int_equal(add(a, n, "a", ""), OK);
    alone = x.held;
    assert_int_equal(add(a, o, "a", ""), OK);
    assert_true(x.held > alone);
    assert_int_equal(add(a, n, "a", "a"), OK);
    assert_int_equal(add(a, n, "a", "i"), OK);
    assert_int_equal(announced_route_count(a), 4);
    del(a, n, "a", "");
    assert_int_equal(add(a, n, "a", "a"), OK);
    assert_int_equal(announced_route_count(a), 3);
    del(a, n, "a", "a");
    del(a, n, "a", "i");
    assert_int_equal(x.count, 1);
    del(a, o, "a", "");
    assert_int_equal(x.count, 0);
    assert_int_equal(x.held, 0);
    announced_destroy(a);
}

/* ---- random: a naive table of routes ---- */

#define ACTORS 3
#define FILTERS 6
#define IDS 5

static const char *const filters[FILTERS] = {"a", "a/+", "#", "b/c", "$x", "b"};
static const char *const ids[IDS] = {"a", "i1", "b", "i2", ""};

struct model {
    uint64_t incarnation[ACTORS], expiry[ACTORS]; /* 0: absent */
    uint8_t has[ACTORS][FILTERS][IDS];            /* 1: yes, 2: of an earlier incarnation */
    uint64_t stream[ACTORS];                      /* generation; 0: none of this incarnation */
    bool is_kept[ACTORS];
    uint64_t now;
};

static const char *const names[ACTORS] = {"n0", "n1", "n2"};

static void model_check_stream(const struct model *m, struct announced *a, int n)
{
    struct announced_actor *actor = announced_find(a, bytes_str(names[n]), m->incarnation[n]);
    struct hash_key k = digest_key(m->stream[n]);
    uint64_t count = 0, digest = 0;

    for (int f = 0; f < FILTERS; f++)
        for (int i = 0; i < IDS; i++)
            if (m->has[n][f][i] == 1) {
                count++;
                digest += hash_bytes(&k, bytes_str(filters[f]));
            }
    assert_false(announced_differs(actor, count, digest));
    assert_int_equal(announced_differs(actor, count, digest + 1),
                     m->stream[n] > 0 && !m->is_kept[n]);
    assert_int_equal(announced_differs(actor, count + 1, digest),
                     m->stream[n] > 0 && !m->is_kept[n]);
}

static void model_check(const struct model *m, const struct index *x, struct announced *a)
{
    uint32_t routes = 0, wanted = 0, actors = 0;

    for (int f = 0; f < FILTERS; f++) {
        bool is_wanted = false;

        for (int n = 0; n < ACTORS; n++)
            for (int i = 0; i < IDS; i++) {
                routes += m->has[n][f][i] != 0;
                is_wanted |= m->has[n][f][i] != 0;
            }
        wanted += is_wanted;
        assert_int_equal(index_find(x, filters[f]) >= 0, is_wanted);
    }
    for (int n = 0; n < ACTORS; n++) {
        actors += m->incarnation[n] != 0;
        if (m->incarnation[n])
            model_check_stream(m, a, n);
    }
    assert_int_equal(x->count, wanted);
    assert_int_equal(announced_filter_count(a), wanted);
    assert_int_equal(announced_route_count(a), routes);
    assert_int_equal(announced_actor_count(a), actors);
}

static void model_hello(struct model *m, struct announced *a, int n, uint64_t incarnation,
                        bool stay)
{
    bool is_new = incarnation > m->incarnation[n], need;
    enum err e = announced_hello(a, bytes_str(names[n]), incarnation, m->now + 20,
                                 stay ? ANNOUNCED_OLD_STAY : ANNOUNCED_OLD_GO, &need);

    assert_int_equal(e, incarnation < m->incarnation[n] ? ERR_PEER : OK);
    if (e != OK)
        return;
    assert_int_equal(need, is_new);
    announced_heard(announced_find(a, bytes_str(names[n]), incarnation), m->now, false);
    for (int f = 0; f < FILTERS && is_new; f++)
        for (int i = 0; i < IDS; i++)
            m->has[n][f][i] = m->has[n][f][i] && stay ? 2 : 0;
    if (is_new) {
        m->stream[n] = 0;
        m->is_kept[n] = false;
    }
    m->incarnation[n] = incarnation;
    m->expiry[n] = m->now + 20;
}

static void model_expire(struct model *m, struct announced *a)
{
    uint32_t gone = 0, routes;

    for (int n = 0; n < ACTORS; n++) {
        if (m->incarnation[n] == 0 || m->expiry[n] > m->now)
            continue;
        m->incarnation[n] = 0;
        m->stream[n] = 0; /* it may come back with any, and is asked for another */
        m->is_kept[n] = false;
        memset(m->has[n], 0, sizeof(m->has[n]));
        gone++;
    }
    assert_int_equal(announced_expire(a, m->now, &routes), gone);
    while (announced_sweep_all(a, UINT64_MAX, 1 + routes / 2))
        ;
    for (int n = 0; n < ACTORS; n++)
        for (int f = 0; f < FILTERS; f++)
            for (int i = 0; i < IDS; i++)
                if (!m->is_kept[n])
                    m->has[n][f][i] &= 1; /* that sweeps what is old, too */
}

static void model_renew(struct model *m, struct announced_actor *actor, int n)
{
    struct hash_key k = digest_key(++m->stream[n]);

    assert_int_equal(announced_renew(actor, m->stream[n], &k), OK);
    m->is_kept[n] = true;
    for (int f = 0; f < FILTERS; f++)
        for (int i = 0; i < IDS; i++)
            m->has[n][f][i] = m->has[n][f][i] ? 2 : 0;
}

static void model_step(struct model *m, struct announced *a, uint64_t *seed)
{
    int n = (int)(draw(seed) % ACTORS), f = (int)(draw(seed) % FILTERS);
    int i = (int)(draw(seed) % IDS);
    struct announced_actor *actor = announced_find(a, bytes_str(names[n]), m->incarnation[n]);
    uint64_t what = draw(seed) % 20;

    assert_int_equal(actor != NULL, m->incarnation[n] != 0);
    if (what == 0 || !actor) {
        model_hello(m, a, n, 1 + m->incarnation[n] - (draw(seed) % 3 && m->incarnation[n] > 1),
                    draw(seed) % 2);
    } else if (what == 1) {
        m->now += draw(seed) % 15;
        model_expire(m, a);
    } else if (what == 2) {
        announced_beat(actor, m->expiry[n] = m->now + 20);
    } else if (what == 3) {
        assert_false(announced_sweep(a, actor, UINT32_MAX));
        for (f = 0; f < FILTERS && !m->is_kept[n]; f++)
            for (i = 0; i < IDS; i++)
                m->has[n][f][i] &= 1;
    } else if (what == 4) {
        model_renew(m, actor, n);
    } else if (what == 5) {
        announced_end(actor);
        m->is_kept[n] = false;
    } else if (what < 12) {
        assert_int_equal(add(a, actor, filters[f], ids[i]), OK);
        m->has[n][f][i] = 1;
    } else {
        del(a, actor, filters[f], ids[i]);
        m->has[n][f][i] = 0;
    }
}

TEST(announced_random_histories_match_a_naive_table)
{
    for (uint64_t start = 1; start <= 100; start++) {
        uint64_t seed = start;
        struct index x = {.count = 0};
        struct model m = {.now = 1};
        struct announced *a = make(&x, ACTORS, 1000);

        for (int i = 0; i < 500; i++) {
            model_step(&m, a, &seed);
            model_check(&m, &x, a);
        }
        announced_destroy(a);
    }
}

static void report_none(void *arg, struct bytes filter, bool is_wanted)
{
    (void)arg;
    (void)filter;
    (void)is_wanted;
}

static const struct announced_ops quiet_ops = {.report = report_none};

TEST(announced_settles_after_a_heartbeat_and_silence)
{
    struct announced *a = announced_create(4, 100, 8, &key, &quiet_ops, NULL);
    struct announced_actor *n1;
    bool need;

    assert_non_null(a);
    assert_int_equal(announced_hello(a, BYTES_LIT("n1"), 1, 9999999, ANNOUNCED_OLD_STAY, &need),
                     OK);
    n1 = announced_find(a, BYTES_LIT("n1"), 1);
    assert_int_equal(announced_add(a, n1, BYTES_LIT("f"), BYTES_LIT("f")), OK);
    announced_heard(n1, 1000, true);
    assert_int_equal(announced_next_settled(a), UINT64_MAX); /* nothing is old */
    assert_false(announced_has_old(a));
    assert_int_equal(announced_hello(a, BYTES_LIT("n1"), 2, 9999999, ANNOUNCED_OLD_STAY, &need),
                     OK);
    assert_int_equal(announced_next_settled(a), UINT64_MAX); /* no heartbeat since */
    assert_true(announced_has_old(a));
    announced_heard(n1, 5000, false);
    assert_false(announced_sweep_all(a, 100000, 10));
    assert_int_equal(announced_route_count(a), 1);
    announced_heard(n1, 5500, true);
    assert_int_equal(announced_next_settled(a), 5000 + ANNOUNCED_SETTLE_MS);
    announced_heard(n1, 6000, false);
    assert_false(announced_sweep_all(a, 5000 + ANNOUNCED_SETTLE_MS, 10));
    assert_int_equal(announced_route_count(a), 1);
    assert_false(announced_sweep_all(a, 6000 + ANNOUNCED_SETTLE_MS, 10));
    assert_int_equal(announced_route_count(a), 0);
    announced_destroy(a);
}

TEST(announced_doubtful_actor_announces_again_and_loses_what_it_does_not)
{
    struct announced *a = announced_create(4, 100, 8, &key, &quiet_ops, NULL);
    struct announced_actor *n1;
    bool need;

    assert_non_null(a);
    assert_int_equal(announced_hello(a, BYTES_LIT("n1"), 1, 9, ANNOUNCED_OLD_STAY, &need), OK);
    n1 = announced_find(a, BYTES_LIT("n1"), 1);
    assert_int_equal(announced_add(a, n1, BYTES_LIT("f"), BYTES_LIT("f")), OK);
    assert_int_equal(announced_add(a, n1, BYTES_LIT("g"), BYTES_LIT("g")), OK);
    announced_doubt(n1);
    assert_int_equal(announced_hello(a, BYTES_LIT("n1"), 1, 9, ANNOUNCED_OLD_STAY, &need), OK);
    assert_true(need);
    assert_int_equal(announced_add(a, n1, BYTES_LIT("f"), BYTES_LIT("f")), OK);
    assert_false(announced_sweep(a, n1, 10));
    assert_int_equal(announced_route_count(a), 1);
    assert_int_equal(announced_hello(a, BYTES_LIT("n1"), 1, 9, ANNOUNCED_OLD_STAY, &need), OK);
    assert_false(need);
    announced_destroy(a);
}

/* The answer that said so may have been lost with its connection. */
TEST(announced_actor_must_announce_until_it_has_said_something)
{
    struct index x = {.count = 0};
    struct announced *a = make(&x, 4, 100);
    struct announced_actor *n1;

    hello(a, "n1", 1, 100, true);
    n1 = hello(a, "n1", 1, 100, true);
    announced_heard(n1, 50, true);
    n1 = hello(a, "n1", 1, 100, false);
    announced_doubt(n1);
    hello(a, "n1", 1, 100, true);
    n1 = hello(a, "n1", 1, 100, true);
    announced_heard(n1, 60, false);
    hello(a, "n1", 1, 100, false);
    announced_drop(a);
    announced_destroy(a);
}
