/* tests/link/test_interest.c -- what we want from a peer, with a peer that plays along or not. */
#include "link/interest.h"

#include "link/algebra.h"
#include "tests/link/vectors.h"

static const struct hash_key key = {{11, 22, 33, 44}};

/* ---- a peer: the set of routes it was told, as lines "filter=id" ---- */

#define LINES_MAX 512

struct lines {
    char line[LINES_MAX][64];
    uint32_t count;
};

static int lines_find(const struct lines *s, const char *line)
{
    for (uint32_t i = 0; i < s->count; i++)
        if (strcmp(s->line[i], line) == 0)
            return (int)i;
    return -1;
}

static void lines_put(struct lines *s, const char *line)
{
    if (lines_find(s, line) >= 0)
        return;
    assert_true(s->count < LINES_MAX);
    snprintf(s->line[s->count++], sizeof(*s->line), "%s", line);
}

static void lines_take(struct lines *s, const char *line)
{
    int at = lines_find(s, line);

    if (at >= 0)
        memcpy(s->line[at], s->line[--s->count], sizeof(*s->line));
}

static void check_same(const struct lines *a, const struct lines *b)
{
    assert_int_equal(a->count, b->count);
    for (uint32_t i = 0; i < a->count; i++)
        assert_true(lines_find(b, a->line[i]) >= 0);
}

/* A batch as it was handed out: "+filter=id" or "-filter=id". */
struct batch {
    struct lines ops;
    uint32_t room;     /* how many it takes */
    const char *never; /* a filter that fits into no batch */
};

static enum interest_taken take_op(void *arg, bool is_add, struct bytes filter, struct bytes id)
{
    struct batch *b = arg;
    char line[64];

    if (b->never && bytes_eq(filter, bytes_str(b->never)))
        return INTEREST_NEVER;
    if (b->ops.count == b->room)
        return INTEREST_NO_ROOM;
    snprintf(line, sizeof(line), "%c%.*s=%.*s", is_add ? '+' : '-', (int)filter.n,
             (const char *)filter.p, (int)id.n, (const char *)id.p);
    for (uint32_t i = 0; i < b->ops.count; i++) /* at most one op per route */
        assert_string_not_equal(b->ops.line[i] + 1, line + 1);
    lines_put(&b->ops, line);
    return INTEREST_TAKEN;
}

static void apply(struct lines *peer, const struct batch *b)
{
    for (uint32_t i = 0; i < b->ops.count; i++) {
        if (b->ops.line[i][0] == '+')
            lines_put(peer, b->ops.line[i] + 1);
        else
            lines_take(peer, b->ops.line[i] + 1);
    }
}

/* Sends all there is to a peer that takes everything. */
static void drain(struct interest *in, struct lines *peer)
{
    for (;;) {
        struct batch b = {.room = 7};
        uint32_t n = interest_take(in, 100, take_op, &b);

        assert_int_equal(n, b.ops.count);
        if (n == 0)
            break;
        assert_int_equal(interest_state(in).out, n);
        apply(peer, &b);
        interest_ack(in);
    }
    assert_int_equal(interest_state(in).pending, 0);
    assert_false(interest_state(in).is_walking);
}

static struct interest *make(const char *a, const char *b, uint32_t routes_max)
{
    struct bytes topics[2] = {bytes_str(a), bytes_str(b)};
    struct interest *in = interest_create(topics, b[0] ? 2 : 1, routes_max, &key);

    assert_non_null(in);
    return in;
}

static void add(struct interest *in, const char *group, const char *filter)
{
    assert_int_equal(interest_add(in, bytes_str(group), bytes_str(filter)), OK);
}

static void del(struct interest *in, const char *group, const char *filter)
{
    interest_remove(in, bytes_str(group), bytes_str(filter));
}

TEST(interest_routes_have_the_ids_of_the_protocol)
{
    struct interest *in = make("iot/#", "pre/#", 100);
    struct lines peer = {0}, want = {0};

    add(in, "", "pre/one");
    add(in, "g1", "iot/+");
    add(in, "", "#");
    add(in, "", "other/x");
    lines_put(&want, "pre/one=pre/one");
    lines_put(&want, "iot/+=$s/g1/iot/+");
    lines_put(&want, "iot/#=#");
    lines_put(&want, "pre/#=#");
    drain(in, &peer);
    check_same(&peer, &want);
    assert_int_equal(interest_state(in).wanted, 4);
    interest_destroy(in);
}

TEST(interest_is_told_what_the_peer_has_acknowledged)
{
    struct interest *in = make("#", "", 2);
    struct batch b = {.room = 10}, more = {.room = 10, .never = "b"};

    add(in, "g", "a");
    assert_false(interest_is_told(in, BYTES_LIT("g"), BYTES_LIT("a")));
    assert_true(interest_is_told(in, BYTES_LIT(""), BYTES_LIT("a"))); /* nobody wants it so */
    assert_int_equal(interest_take(in, 10, take_op, &b), 1);
    assert_false(interest_is_told(in, BYTES_LIT("g"), BYTES_LIT("a")));
    interest_ack(in);
    assert_true(interest_is_told(in, BYTES_LIT("g"), BYTES_LIT("a")));
    del(in, "g", "a");
    b.ops.count = 0;
    assert_int_equal(interest_take(in, 10, take_op, &b), 1);
    add(in, "g", "a"); /* while it is being withdrawn */
    assert_false(interest_is_told(in, BYTES_LIT("g"), BYTES_LIT("a")));
    interest_ack(in);
    assert_false(interest_is_told(in, BYTES_LIT("g"), BYTES_LIT("a")));
    b.ops.count = 0;
    assert_int_equal(interest_take(in, 10, take_op, &b), 1);
    interest_ack(in);
    assert_true(interest_is_told(in, BYTES_LIT("g"), BYTES_LIT("a")));
    add(in, "", "b");
    assert_false(interest_is_told(in, BYTES_LIT(""), BYTES_LIT("b")));
    assert_int_equal(interest_take(in, 10, take_op, &more), 0);
    assert_true(interest_is_told(in, BYTES_LIT(""), BYTES_LIT("b"))); /* it fits into no batch */
    interest_forget(in);
    assert_false(interest_is_told(in, BYTES_LIT("g"), BYTES_LIT("a")));
    interest_destroy(in);
}

TEST(interest_sends_nothing_for_what_came_and_went)
{
    struct interest *in = make("#", "", 100);
    struct lines peer = {0};
    struct batch b = {.room = 10};

    add(in, "", "a");
    del(in, "", "a");
    assert_int_equal(interest_take(in, 10, take_op, &b), 0);
    assert_int_equal(interest_state(in).held, 0);
    add(in, "", "a");
    drain(in, &peer);
    del(in, "", "a");
    add(in, "", "a");
    assert_int_equal(interest_state(in).pending, 0);
    del(in, "", "a");
    drain(in, &peer);
    assert_int_equal(peer.count, 0);
    assert_int_equal(interest_state(in).held, 0);
    interest_destroy(in);
}

TEST(interest_repeated_events_change_nothing)
{
    struct interest *in = make("#", "", 100);
    struct lines peer = {0};

    add(in, "", "a");
    add(in, "", "a");
    del(in, "", "a");
    del(in, "", "a");
    del(in, "g", "b");
    assert_int_equal(interest_state(in).held, 0);
    assert_int_equal(interest_state(in).wanted, 0);
    drain(in, &peer);
    interest_destroy(in);
}

TEST(interest_change_while_out_is_sent_after_the_batch)
{
    struct interest *in = make("#", "", 100);
    struct lines peer = {0};
    struct batch b = {.room = 10}, none = {.room = 10};

    add(in, "", "a");
    assert_int_equal(interest_take(in, 10, take_op, &b), 1);
    del(in, "", "a");
    assert_int_equal(interest_take(in, 10, take_op, &none), 0); /* one batch at a time */
    apply(&peer, &b);
    interest_ack(in);
    drain(in, &peer);
    assert_int_equal(peer.count, 0);
    assert_int_equal(interest_state(in).held, 0);
    interest_destroy(in);
}

TEST(interest_failed_batch_is_sent_again_as_the_latest_wish)
{
    struct interest *in = make("#", "", 100);
    struct lines peer = {0};
    struct batch b = {.room = 10}, again = {.room = 10};

    add(in, "", "a");
    add(in, "", "b");
    assert_int_equal(interest_take(in, 10, take_op, &b), 2);
    apply(&peer, &b); /* the peer took it, but the answer was lost */
    del(in, "", "a");
    interest_fail(in);
    assert_int_equal(interest_take(in, 10, take_op, &again), 2);
    assert_true(lines_find(&again.ops, "-a=a") >= 0);
    assert_true(lines_find(&again.ops, "+b=b") >= 0);
    apply(&peer, &again);
    interest_ack(in);
    assert_int_equal(peer.count, 1);
    interest_destroy(in);
}

TEST(interest_walk_announces_everything_once_and_in_slices)
{
    struct interest *in = make("#", "", 1000);
    struct lines peer = {0}, want = {0};
    char name[16], line[40];

    for (int i = 0; i < 100; i++) {
        snprintf(name, sizeof(name), "f/%d", i);
        snprintf(line, sizeof(line), "%s=%s", name, name);
        add(in, "", name);
        lines_put(&want, line);
    }
    drain(in, &peer);
    peer.count = 0;
    interest_forget(in);
    for (int i = 0; i < 10; i++) {
        struct batch b = {.room = 10};

        assert_true(interest_state(in).is_walking);
        assert_int_equal(interest_take(in, 10, take_op, &b), 10);
        apply(&peer, &b);
        interest_ack(in);
    }
    drain(in, &peer);
    check_same(&peer, &want);
    interest_destroy(in);
}

TEST(interest_withdrawals_are_not_sent_to_a_peer_that_forgot)
{
    struct interest *in = make("#", "", 100);
    struct lines peer = {0};

    add(in, "", "a");
    add(in, "", "b");
    drain(in, &peer);
    del(in, "", "a");
    assert_int_equal(interest_state(in).pending, 1);
    interest_forget(in);
    peer.count = 0;
    drain(in, &peer);
    assert_int_equal(peer.count, 1);
    assert_int_equal(interest_state(in).held, 1);
    interest_destroy(in);
}

TEST(interest_at_its_bound_takes_nothing_of_a_subscription)
{
    struct interest *in = make("a/#", "b/#", 3);
    struct lines peer = {0};

    add(in, "", "a/1");
    add(in, "", "a/2");
    assert_int_equal(interest_add(in, BYTES_LIT(""), BYTES_LIT("#")), ERR_FULL); /* needs two */
    assert_int_equal(interest_state(in).wanted, 2);
    assert_int_equal(interest_state(in).held, 2);
    add(in, "", "b/1");
    assert_int_equal(interest_add(in, BYTES_LIT(""), BYTES_LIT("b/2")), ERR_FULL);
    drain(in, &peer);
    assert_int_equal(peer.count, 3);
    interest_destroy(in);
}

TEST(interest_puts_aside_what_fits_into_no_batch)
{
    struct interest *in = make("#", "", 100);
    struct batch b = {.room = 10, .never = "long"};
    struct lines peer = {0};

    add(in, "", "long");
    add(in, "", "short");
    assert_int_equal(interest_take(in, 10, take_op, &b), 1);
    interest_ack(in);
    assert_int_equal(interest_state(in).aside, 1);
    assert_int_equal(interest_state(in).pending, 0);
    b.ops.count = 0;
    assert_int_equal(interest_take(in, 10, take_op, &b), 0);
    interest_forget(in); /* another peer may have more room */
    drain(in, &peer);
    assert_int_equal(peer.count, 2);
    add(in, "", "long"); /* still there */
    del(in, "", "long");
    drain(in, &peer);
    assert_int_equal(peer.count, 1);
    interest_destroy(in);
}

TEST(interest_plain_filter_may_be_spelled_like_a_shared_id)
{
    struct interest *in = make("$s/g/$s/#", "", 100);
    struct lines peer = {0};

    add(in, "", "$s/g/$s/#");
    add(in, "g", "$s/#");
    drain(in, &peer);
    assert_int_equal(peer.count, 1); /* one route, wanted twice */
    del(in, "", "$s/g/$s/#");
    drain(in, &peer);
    assert_int_equal(peer.count, 1);
    del(in, "g", "$s/#");
    drain(in, &peer);
    assert_int_equal(peer.count, 0);
    assert_int_equal(interest_state(in).held, 0);
    interest_destroy(in);
}

/* ---- random: a naive model, a peer that loses batches, forgets, and takes few at a time ---- */

static const char *const filters[] = {"a",   "a/b", "a/+", "a/#",  "#",     "+/b",
                                      "b/c", "+/#", "b/+", "$x/a", "a/b/c", "b"};
static const char *const groups[] = {"", "", "g", "h"};
#define FILTER_COUNT (sizeof(filters) / sizeof(*filters))
#define GROUP_COUNT (sizeof(groups) / sizeof(*groups))

/* The routes of all subscriptions in the model. */
static void model_routes(bool on[GROUP_COUNT][FILTER_COUNT], const struct bytes *topics,
                         uint32_t topic_count, struct lines *out)
{
    for (size_t g = 0; g < GROUP_COUNT; g++) {
        for (size_t f = 0; f < FILTER_COUNT; f++) {
            struct bytes routes[3];
            uint8_t text[256];
            uint32_t n;
            char line[64];

            if (!on[g][f])
                continue;
            assert_int_equal(algebra_routes(bytes_str(filters[f]), topics, topic_count, text,
                                            sizeof(text), routes, &n),
                             OK);
            for (uint32_t i = 0; i < n; i++) {
                if (groups[g][0])
                    snprintf(line, sizeof(line), "%.*s=$s/%s/%s", (int)routes[i].n,
                             (const char *)routes[i].p, groups[g], filters[f]);
                else
                    snprintf(line, sizeof(line), "%.*s=%s", (int)routes[i].n,
                             (const char *)routes[i].p, filters[f]);
                lines_put(out, line);
            }
        }
    }
}

static void step(struct interest *in, struct lines *peer, struct batch *out, uint64_t *seed,
                 bool on[GROUP_COUNT][FILTER_COUNT])
{
    size_t g = draw(seed) % GROUP_COUNT, f = draw(seed) % FILTER_COUNT;

    if (g == 1) /* the second empty group is the first */
        g = 0;
    switch (draw(seed) % 10) {
    case 0:
    case 1:
    case 2:
        on[g][f] = true;
        add(in, groups[g], filters[f]);
        break;
    case 3:
    case 4:
    case 5:
        on[g][f] = false;
        del(in, groups[g], filters[f]);
        break;
    case 6:
    case 7:
        if (interest_state(in).out > 0)
            break;
        *out = (struct batch){.room = (uint32_t)(draw(seed) % 5)};
        interest_take(in, 1 + (uint32_t)(draw(seed) % 6), take_op, out);
        break;
    case 8:
        apply(peer, out);
        interest_ack(in);
        out->ops.count = 0;
        break;
    default:
        if (draw(seed) % 2)
            apply(peer, out); /* applied, but we were not told */
        if (draw(seed) % 4) {
            interest_fail(in);
        } else {
            peer->count = 0;
            interest_forget(in);
        }
        out->ops.count = 0;
    }
}

TEST(interest_random_histories_end_with_the_wanted_set)
{
    struct bytes topics[] = {BYTES_LIT("a/#"), BYTES_LIT("+/b"), BYTES_LIT("b/+")};

    for (uint64_t start = 1; start <= 400; start++) {
        uint64_t seed = start;
        bool on[GROUP_COUNT][FILTER_COUNT] = {{false}};
        struct interest *in = interest_create(topics, 3, 1000, &key);
        struct lines peer = {0}, want = {0};
        struct batch out = {.room = 0};

        assert_non_null(in);
        for (int i = 0; i < 300; i++)
            step(in, &peer, &out, &seed, on);
        interest_fail(in);
        drain(in, &peer);
        model_routes(on, topics, 3, &want);
        if (peer.count != want.count)
            fprintf(stderr, "seed %llu\n", (unsigned long long)start);
        check_same(&peer, &want);
        assert_int_equal(interest_state(in).wanted, want.count);
        assert_int_equal(interest_state(in).held, want.count);
        interest_destroy(in);
    }
}
