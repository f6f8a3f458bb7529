/* tests/link/test_wants.c -- what a native peer is told, with a peer that applies it. */
#include "link/wants.h"

#include "link/algebra.h"
#include "tests/link/vectors.h"

static const struct hash_key key = {{11, 22, 33, 44}};

/* ---- a set of filters, as text ---- */

#define LINES_MAX 64
#define TEXT_MAX 32

struct lines {
    char line[LINES_MAX][TEXT_MAX];
    uint64_t mark[LINES_MAX]; /* at the peer: the generation */
    uint32_t count;
};

static int lines_find(const struct lines *s, const char *line)
{
    for (uint32_t i = 0; i < s->count; i++)
        if (strcmp(s->line[i], line) == 0)
            return (int)i;
    return -1;
}

static void lines_put(struct lines *s, const char *line, uint64_t mark)
{
    int at = lines_find(s, line);

    if (at < 0) {
        at = (int)s->count++;
        assert_true(at < LINES_MAX);
        snprintf(s->line[at], TEXT_MAX, "%s", line);
    }
    s->mark[at] = mark;
}

static void lines_take(struct lines *s, int at)
{
    if (at < 0)
        return;
    memcpy(s->line[at], s->line[--s->count], TEXT_MAX);
    s->mark[at] = s->mark[s->count];
}

static bool lines_cover(const struct lines *s, const char *line)
{
    for (uint32_t i = 0; i < s->count; i++)
        if (algebra_subset(bytes_str(line), bytes_str(s->line[i])))
            return true;
    return false;
}

/* ---- elements of the stream ---- */

struct element {
    uint64_t generation, number;
    bool is_beat;
    struct wants_beat beat;
    struct lines ops;    /* "+filter" or "-filter" */
    struct lines wanted; /* when it was handed out */
    uint32_t room;
    const char *never; /* a filter that fits into no frame */
};

static enum wants_taken take_op(void *arg, bool is_add, struct bytes filter)
{
    struct element *e = arg;
    char line[TEXT_MAX];

    if (e->never && bytes_eq(filter, bytes_str(e->never)))
        return WANTS_NEVER;
    if (e->ops.count == e->room)
        return WANTS_NO_ROOM;
    snprintf(line, sizeof(line), "%c%.*s", is_add ? '+' : '-', (int)filter.n,
             (const char *)filter.p);
    for (uint32_t i = 0; i < e->ops.count; i++) /* at most one op for each filter */
        assert_string_not_equal(e->ops.line[i] + 1, line + 1);
    lines_put(&e->ops, line, 0);
    return WANTS_TAKEN;
}

/* ---- a peer ---- */

struct peer {
    struct lines has;
    uint64_t generation, number;
    bool is_fresh; /* a new connection: numbers may jump once */
};

static struct hash_key digest_key(uint64_t generation)
{
    return (struct hash_key){{9, 8, 7, generation}};
}

static void check_beat(const struct peer *p, const struct wants_beat *b)
{
    struct hash_key k = digest_key(p->generation);
    uint64_t count = 0, digest = 0;

    for (uint32_t i = 0; i < p->has.count; i++) {
        if (p->has.mark[i] != p->generation)
            continue;
        count++;
        digest += hash_bytes(&k, bytes_str(p->has.line[i]));
    }
    assert_int_equal(b->count, count);
    assert_true(b->digest == digest);
}

/* What was covered and wanted when the element was handed out is covered afterwards. */
static void check_cover(const struct lines *wanted, const struct lines *before,
                        const struct lines *after)
{
    for (uint32_t i = 0; i < wanted->count; i++)
        if (lines_cover(before, wanted->line[i]))
            assert_true(lines_cover(after, wanted->line[i]));
}

static void sweep(struct peer *p)
{
    for (uint32_t i = 0; i < p->has.count;) {
        if (p->has.mark[i] != p->generation)
            lines_take(&p->has, (int)i);
        else
            i++;
    }
}

static void apply(struct peer *p, const struct element *e)
{
    struct lines before = p->has;

    assert_true(e->generation >= p->generation);
    if (e->generation > p->generation)
        assert_true(p->is_fresh || e->number == 1);
    else if (p->is_fresh)
        assert_true(e->number > p->number);
    else
        assert_int_equal(e->number, p->number + 1);
    p->generation = e->generation;
    p->number = e->number;
    p->is_fresh = false;
    for (uint32_t i = 0; i < e->ops.count; i++) {
        const char *filter = e->ops.line[i] + 1;

        if (e->ops.line[i][0] == '+')
            lines_put(&p->has, filter, p->generation);
        else
            lines_take(&p->has, lines_find(&p->has, filter));
        check_cover(&e->wanted, &before, &p->has);
        before = p->has;
    }
    if (e->is_beat)
        check_beat(p, &e->beat);
    if (e->is_beat && e->beat.is_end)
        sweep(p);
    check_cover(&e->wanted, &before, &p->has);
}

/* ---- helpers of the plain tests ---- */

struct end {
    struct wants *w;
    struct peer peer;
    uint64_t now;
};

static void forget(struct end *x)
{
    uint64_t generation = wants_state(x->w).generation + 1;
    struct hash_key k = digest_key(generation);

    wants_forget(x->w, generation, &k);
}

static struct end make(const char *a, const char *b, uint32_t routes_max)
{
    struct bytes topics[2] = {bytes_str(a), bytes_str(b)};
    struct end x = {.now = 1000, .peer.is_fresh = true};

    x.w = wants_create(topics, b[0] ? 2 : 1, routes_max, &key);
    assert_non_null(x.w);
    forget(&x);
    return x;
}

static void add(struct end *x, const char *filter)
{
    assert_int_equal(wants_add(x->w, BYTES_LIT(""), bytes_str(filter)), OK);
}

static void del(struct end *x, const char *filter)
{
    wants_remove(x->w, BYTES_LIT(""), bytes_str(filter), x->now);
}

/* A frame of at most `room` operations, not yet applied. */
static struct element take(struct end *x, uint32_t room)
{
    struct wants_state s = wants_state(x->w);
    struct element e = {.room = room, .generation = s.generation, .number = s.next};
    uint32_t n = wants_take(x->w, x->now, take_op, &e);

    assert_int_equal(n, e.ops.count);
    return e;
}

static void ack(struct end *x, uint64_t number)
{
    assert_int_equal(wants_ack(x->w, wants_state(x->w).generation, number), OK);
}

/* Sends all there is to a peer that applies and acks it. */
static void drain(struct end *x)
{
    struct element e;

    for (;;) {
        e = take(x, 7);
        if (e.ops.count == 0)
            break;
        apply(&x->peer, &e);
        ack(x, e.number);
    }
    e = (struct element){.is_beat = true};
    assert_true(wants_beat(x->w, &e.beat));
    e.generation = e.beat.generation;
    e.number = e.beat.number;
    apply(&x->peer, &e);
    ack(x, e.number);
    assert_false(wants_is_due(x->w));
    assert_int_equal(wants_state(x->w).pending, 0);
    assert_int_equal(wants_state(x->w).flying, 0);
    assert_int_equal(wants_state(x->w).frames, 0);
    assert_int_equal(wants_state(x->w).count, x->peer.has.count);
    assert_false(wants_state(x->w).is_announcing);
}

/* The peer has exactly these, separated by blanks. */
static void check_peer(const struct end *x, const char *filters)
{
    char text[256];
    uint32_t count = 0;

    snprintf(text, sizeof(text), "%s", filters);
    for (char *f = strtok(text, " "); f; f = strtok(NULL, " "), count++)
        assert_true(lines_find(&x->peer.has, f) >= 0);
    assert_int_equal(x->peer.has.count, count);
}

TEST(wants_announces_each_filter_once)
{
    struct end x = make("iot/#", "pre/#", 100);

    add(&x, "iot/+");
    add(&x, "other/x");
    assert_int_equal(wants_add(x.w, BYTES_LIT("g"), BYTES_LIT("iot/+")), OK);
    drain(&x);
    check_peer(&x, "iot/+");
    del(&x, "iot/+");
    drain(&x);
    check_peer(&x, "iot/+");
    wants_remove(x.w, BYTES_LIT("g"), BYTES_LIT("iot/+"), x.now);
    drain(&x);
    check_peer(&x, "");
    assert_int_equal(wants_state(x.w).held, 0);
    add(&x, "#");
    drain(&x);
    check_peer(&x, "iot/# pre/#");
    wants_destroy(x.w);
}

static bool is_told(struct end *x, const char *filter)
{
    return wants_is_told(x->w, (struct bytes){0}, bytes_str(filter));
}

TEST(wants_a_filter_is_told_when_it_is_acknowledged)
{
    struct end x = make("iot/#", "pre/#", 100);
    struct element one, two;

    add(&x, "iot/1");
    assert_false(is_told(&x, "iot/1"));
    one = take(&x, 9);
    add(&x, "iot/2");
    add(&x, "+/3"); /* two filters */
    two = take(&x, 9);
    assert_false(is_told(&x, "iot/1"));
    ack(&x, one.number);
    assert_true(is_told(&x, "iot/1"));
    assert_false(is_told(&x, "iot/2"));
    assert_false(is_told(&x, "+/3"));
    ack(&x, two.number);
    assert_true(is_told(&x, "iot/2"));
    assert_true(is_told(&x, "+/3"));
    assert_true(is_told(&x, "other")); /* not of our topics */
    assert_true(is_told(&x, "iot/9")); /* nobody wants it */
    forget(&x);
    assert_false(is_told(&x, "iot/1"));
    wants_destroy(x.w);
}

TEST(wants_a_filter_is_told_when_a_cover_of_it_is)
{
    struct end x = make("#", "", 100);
    struct element e;

    add(&x, "a/#");
    add(&x, "a/b");
    assert_int_equal(wants_state(x.w).hidden, 1);
    e = take(&x, 9);
    assert_false(is_told(&x, "a/b"));
    ack(&x, e.number);
    assert_true(is_told(&x, "a/b"));
    del(&x, "a/#");
    x.now += WANTS_LINGER_MS; /* the cover closes, and what it hid is announced */
    e = take(&x, 1);
    assert_string_equal(e.ops.line[0], "+a/b");
    assert_false(is_told(&x, "a/b"));
    ack(&x, e.number);
    assert_true(is_told(&x, "a/b"));
    wants_destroy(x.w);
}

TEST(wants_what_can_never_be_told_is_not_waited_for)
{
    struct end x = make("#", "", 1);
    struct element e = {.room = 9, .never = "long"};

    add(&x, "long");
    assert_false(is_told(&x, "long"));
    assert_int_equal(wants_take(x.w, x.now, take_op, &e), 0);
    assert_true(is_told(&x, "long"));
    assert_int_equal(wants_add(x.w, BYTES_LIT(""), BYTES_LIT("more")), ERR_FULL);
    assert_true(is_told(&x, "more"));
    wants_destroy(x.w);
}

TEST(wants_counts_what_several_subscriptions_have_in_common)
{
    struct end x = make("a/b", "", 100);

    add(&x, "a/+");
    add(&x, "+/b");
    assert_int_equal(wants_state(x.w).wanted, 1);
    del(&x, "a/+");
    drain(&x);
    check_peer(&x, "a/b");
    wants_destroy(x.w);
}

TEST(wants_nothing_is_due_before_the_first_generation)
{
    struct bytes topic = BYTES_LIT("#");
    struct end x = {.w = wants_create(&topic, 1, 10, &key)};
    struct wants_beat beat;

    add(&x, "a");
    assert_false(wants_is_due(x.w));
    assert_false(wants_end_is_due(x.w));
    assert_false(wants_beat(x.w, &beat));
    assert_int_equal(take(&x, 9).ops.count, 0);
    forget(&x);
    drain(&x);
    check_peer(&x, "a");
    wants_destroy(x.w);
}

TEST(wants_sends_nothing_for_what_came_and_went)
{
    struct end x = make("#", "", 100);

    add(&x, "a");
    del(&x, "a");
    assert_int_equal(take(&x, 9).ops.count, 0);
    assert_int_equal(wants_state(x.w).held, 0);
    add(&x, "a");
    drain(&x);
    del(&x, "a");
    add(&x, "a");
    assert_int_equal(take(&x, 9).ops.count, 0);
    wants_destroy(x.w);
}

TEST(wants_a_cover_spares_new_announcements_only)
{
    struct end x = make("#", "", 100);

    add(&x, "a/b");
    drain(&x);
    add(&x, "a/#");
    add(&x, "a/c");
    add(&x, "a/+");
    add(&x, "a");
    add(&x, "b");
    assert_int_equal(wants_state(x.w).hidden, 3);
    drain(&x);
    check_peer(&x, "a/b a/# b");
    del(&x, "a/c");
    assert_int_equal(wants_state(x.w).hidden, 2);
    assert_int_equal(wants_state(x.w).held, 5);
    wants_destroy(x.w);
}

TEST(wants_a_cover_lingers_and_goes_after_what_it_hid)
{
    struct end x = make("#", "", 100);
    struct element e;

    add(&x, "a/#");
    add(&x, "a/c");
    add(&x, "a/b");
    drain(&x);
    del(&x, "a/#");
    assert_int_equal(wants_next_due(x.w), x.now + WANTS_LINGER_MS);
    assert_int_equal(wants_state(x.w).lingering, 1);
    x.now += WANTS_LINGER_MS - 1;
    assert_int_equal(take(&x, 9).ops.count, 0);
    x.now++;
    e = take(&x, 9);
    assert_int_equal(e.ops.count, 3);
    assert_string_equal(e.ops.line[0], "+a/b"); /* sorted */
    assert_string_equal(e.ops.line[1], "+a/c");
    assert_string_equal(e.ops.line[2], "-a/#");
    assert_int_equal(wants_next_due(x.w), UINT64_MAX);
    wants_destroy(x.w);
}

TEST(wants_what_a_closing_cover_hid_may_be_hidden_by_another)
{
    struct end x = make("#", "", 100);

    add(&x, "a/+");
    drain(&x);
    add(&x, "+/b");
    drain(&x);
    add(&x, "a/b");
    drain(&x);
    check_peer(&x, "a/+ +/b");
    del(&x, "a/+");
    del(&x, "+/b");
    x.now += WANTS_LINGER_MS;
    drain(&x);
    check_peer(&x, "a/b");
    wants_destroy(x.w);
}

TEST(wants_a_cover_that_hides_nothing_goes_at_once)
{
    struct end x = make("#", "", 100);

    add(&x, "a/#");
    drain(&x);
    del(&x, "a/#");
    drain(&x);
    check_peer(&x, "");
    wants_destroy(x.w);
}

TEST(wants_a_cover_that_comes_back_has_never_been_away)
{
    struct end x = make("#", "", 100);

    add(&x, "a/#");
    add(&x, "a/b");
    drain(&x);
    del(&x, "a/#");
    x.now += WANTS_LINGER_MS - 1;
    add(&x, "a/#");
    x.now += 2 * WANTS_LINGER_MS;
    assert_int_equal(wants_next_due(x.w), UINT64_MAX);
    assert_int_equal(take(&x, 9).ops.count, 0);
    assert_int_equal(wants_state(x.w).hidden, 1);
    wants_destroy(x.w);
}

TEST(wants_a_cover_that_was_never_sent_is_not_sent_for_its_lingering)
{
    struct end x = make("#", "", 100);
    struct element e;

    add(&x, "a/#");
    add(&x, "a/b");
    del(&x, "a/#");
    assert_int_equal(wants_next_due(x.w), 0);
    e = take(&x, 9);
    assert_int_equal(e.ops.count, 1);
    assert_string_equal(e.ops.line[0], "+a/b");
    assert_int_equal(wants_state(x.w).held, 1);
    wants_destroy(x.w);
}

/* The cover that takes over was not yet sent and is gone again: what it took must not be
 * uncovered. */
TEST(wants_deletes_wait_for_every_add)
{
    struct end x = make("#", "", 100);
    struct element e;

    add(&x, "a/#");
    add(&x, "a/b");
    drain(&x);
    del(&x, "a/#");
    x.now += WANTS_LINGER_MS;
    add(&x, "+/b");
    wants_run(x.w, x.now);
    assert_int_equal(wants_state(x.w).hidden, 1);
    del(&x, "+/b");
    e = take(&x, 1);
    assert_string_equal(e.ops.line[0], "+a/b");
    e = take(&x, 1);
    assert_string_equal(e.ops.line[0], "-a/#");
    wants_destroy(x.w);
}

TEST(wants_frames_in_flight_are_bounded_and_acks_cumulative)
{
    struct end x = make("#", "", 100);
    char f[TEXT_MAX];

    for (uint32_t i = 0; i < WANTS_FRAMES_MAX + 2; i++) {
        snprintf(f, sizeof(f), "f%u", i);
        add(&x, f);
    }
    for (uint32_t i = 1; i <= WANTS_FRAMES_MAX; i++) {
        assert_true(wants_is_due(x.w));
        x.now = 1000 + i;
        assert_int_equal(take(&x, 1).number, i);
    }
    assert_false(wants_is_due(x.w));
    assert_int_equal(take(&x, 1).ops.count, 0);
    assert_int_equal(wants_state(x.w).oldest_ms, 1001);
    ack(&x, 3);
    assert_int_equal(wants_state(x.w).frames, WANTS_FRAMES_MAX - 3);
    assert_int_equal(wants_state(x.w).oldest_ms, 1004);
    ack(&x, 2); /* late */
    assert_int_equal(wants_state(x.w).flying, WANTS_FRAMES_MAX - 3);
    assert_int_equal(take(&x, 9).ops.count, 2);
    assert_int_equal(wants_ack(x.w, 1, WANTS_FRAMES_MAX + 2), ERR_PEER);
    assert_int_equal(wants_ack(x.w, 2, 1), ERR_PEER);
    forget(&x);
    assert_int_equal(wants_ack(x.w, 1, 5), OK);
    assert_int_equal(wants_state(x.w).frames, 0);
    wants_destroy(x.w);
}

TEST(wants_an_operation_may_follow_one_that_is_in_flight)
{
    struct end x = make("#", "", 100);
    struct element e[3];

    add(&x, "a");
    e[0] = take(&x, 9);
    del(&x, "a");
    e[1] = take(&x, 9);
    assert_string_equal(e[1].ops.line[0], "-a");
    add(&x, "a");
    e[2] = take(&x, 9);
    assert_string_equal(e[2].ops.line[0], "+a");
    ack(&x, 2);
    assert_int_equal(wants_state(x.w).flying, 1);
    for (int i = 0; i < 3; i++)
        apply(&x.peer, &e[i]);
    ack(&x, 3);
    drain(&x);
    check_peer(&x, "a");
    wants_destroy(x.w);
}

TEST(wants_what_was_in_flight_at_a_loss_is_sent_again)
{
    struct end x = make("#", "", 100);
    struct wants_beat beat;
    struct element e;

    add(&x, "z");
    e = take(&x, 9);
    add(&x, "a");
    assert_int_equal(wants_state(x.w).oldest_ms, 1000);
    wants_lost(x.w);
    assert_false(wants_beat(x.w, &beat)); /* nobody knows what the peer has */
    assert_int_equal(wants_state(x.w).oldest_ms, 1000);
    e = take(&x, 9);
    assert_int_equal(e.number, 2);
    assert_int_equal(e.ops.count, 2);
    apply(&x.peer, &e);
    ack(&x, 2);
    drain(&x);
    check_peer(&x, "a z");
    assert_int_equal(wants_state(x.w).generation, 1);
    wants_destroy(x.w);
}

TEST(wants_a_wish_that_returns_while_its_operation_is_in_flight_costs_nothing)
{
    struct end x = make("#", "", 100);

    add(&x, "a");
    assert_int_equal(take(&x, 9).ops.count, 1);
    del(&x, "a");
    add(&x, "a");
    assert_int_equal(wants_state(x.w).pending, 0);
    assert_int_equal(wants_state(x.w).flying, 1);
    wants_lost(x.w);
    assert_int_equal(wants_state(x.w).pending, 1);
    wants_destroy(x.w);
}

/* The add may have arrived: only a delete makes sure. */
TEST(wants_what_was_lost_and_is_no_longer_wanted_is_deleted)
{
    struct end x = make("#", "", 100);
    struct element e;

    add(&x, "a");
    e = take(&x, 9);
    apply(&x.peer, &e);
    wants_lost(x.w);
    x.peer.is_fresh = true;
    del(&x, "a");
    drain(&x);
    check_peer(&x, "");
    assert_int_equal(wants_state(x.w).held, 0);
    wants_destroy(x.w);
}

TEST(wants_a_new_generation_announces_all_and_then_ends)
{
    struct end x = make("#", "", 100);
    struct wants_beat beat;
    struct element e;

    add(&x, "a");
    add(&x, "b");
    drain(&x);
    del(&x, "a");
    forget(&x);
    assert_false(wants_end_is_due(x.w));
    assert_true(wants_beat(x.w, &beat));
    assert_int_equal(beat.number, 1);
    assert_int_equal(beat.count, 0);
    assert_false(beat.is_end);
    e = take(&x, 9);
    assert_int_equal(e.ops.count, 1); /* no delete: the peer sweeps */
    assert_string_equal(e.ops.line[0], "+b");
    assert_true(wants_end_is_due(x.w));
    assert_true(wants_beat(x.w, &beat));
    assert_true(beat.is_end);
    assert_int_equal(beat.count, 1);
    assert_false(wants_end_is_due(x.w));
    wants_lost(x.w); /* it may not have arrived */
    assert_false(wants_end_is_due(x.w));
    assert_int_equal(take(&x, 9).number, 4);
    assert_true(wants_beat(x.w, &beat));
    assert_true(beat.is_end);
    ack(&x, beat.number);
    assert_false(wants_state(x.w).is_announcing);
    wants_lost(x.w);
    assert_true(wants_beat(x.w, &beat));
    assert_false(beat.is_end);
    assert_int_equal(wants_state(x.w).held, 1);
    wants_destroy(x.w);
}

TEST(wants_the_end_waits_for_deletes_that_were_lost)
{
    struct end x = make("#", "", 100);

    add(&x, "a");
    ack(&x, take(&x, 9).number);
    del(&x, "a");
    assert_int_equal(take(&x, 9).ops.count, 1);
    assert_true(wants_end_is_due(x.w));
    wants_lost(x.w);
    assert_false(wants_end_is_due(x.w));
    assert_int_equal(take(&x, 9).ops.count, 1);
    assert_true(wants_end_is_due(x.w));
    wants_destroy(x.w);
}

TEST(wants_what_fits_into_no_frame_is_put_aside_and_hides_nothing)
{
    struct end x = make("#", "", 100);
    struct element e = {.room = 9, .never = "a/#"};

    add(&x, "a/#");
    add(&x, "a/b");
    assert_int_equal(wants_take(x.w, x.now, take_op, &e), 1);
    assert_string_equal(e.ops.line[0], "+a/b");
    assert_int_equal(wants_state(x.w).aside, 1);
    add(&x, "a/c");
    assert_int_equal(wants_state(x.w).hidden, 0);
    e.generation = e.number = 1;
    apply(&x.peer, &e);
    ack(&x, 1);
    drain(&x);
    wants_lost(x.w);
    drain(&x);
    check_peer(&x, "a/# a/b a/c");
    assert_int_equal(wants_state(x.w).aside, 0);
    wants_destroy(x.w);
}

/* Nobody knows whether the add has arrived, and neither it nor a delete can be sent any more. */
TEST(wants_what_was_lost_and_fits_no_more_asks_for_a_new_generation)
{
    struct end x = make("#", "", 100);
    struct element e = {.room = 9, .never = "a"};
    struct wants_beat beat;

    add(&x, "a");
    assert_int_equal(take(&x, 9).ops.count, 1); /* it does not arrive */
    wants_lost(x.w);
    x.peer.is_fresh = true;
    add(&x, "b");
    assert_int_equal(wants_take(x.w, x.now, take_op, &e), 1);
    assert_int_equal(wants_state(x.w).aside, 1);
    assert_true(wants_state(x.w).is_doubtful);
    assert_false(wants_end_is_due(x.w));
    assert_false(wants_beat(x.w, &beat));
    del(&x, "a");
    assert_int_equal(wants_state(x.w).aside, 0);
    assert_false(wants_beat(x.w, &beat));
    forget(&x);
    assert_false(wants_state(x.w).is_doubtful);
    drain(&x);
    check_peer(&x, "b");
    wants_destroy(x.w);
}

/* The same of a delete: the peer may still have it. */
TEST(wants_a_lost_delete_that_fits_no_more_asks_for_a_new_generation)
{
    struct end x = make("#", "", 100);
    struct element e = {.room = 9, .never = "a"};

    add(&x, "a");
    drain(&x);
    del(&x, "a");
    assert_int_equal(take(&x, 9).ops.count, 1);
    wants_lost(x.w);
    assert_int_equal(wants_take(x.w, x.now, take_op, &e), 0);
    assert_true(wants_state(x.w).is_doubtful);
    forget(&x);
    x.peer.is_fresh = true;
    drain(&x);
    check_peer(&x, "");
    wants_destroy(x.w);
}

TEST(wants_what_was_never_sent_is_put_aside_without_a_doubt)
{
    struct end x = make("#", "", 100);
    struct element e = {.room = 9, .never = "a"};
    struct wants_beat beat;

    add(&x, "a");
    assert_int_equal(wants_take(x.w, x.now, take_op, &e), 0);
    assert_false(wants_state(x.w).is_doubtful);
    assert_true(wants_beat(x.w, &beat));
    assert_true(beat.is_end);
    assert_int_equal(beat.count, 0);
    wants_destroy(x.w);
}

/* A cover that lingers is announced again in a new generation, for the sake of what it hides. */
TEST(wants_a_lingering_cover_that_fits_no_more_is_not_kept)
{
    struct end x = make("#", "", 100);
    struct element e = {.room = 9, .never = "a/#"};

    add(&x, "a/#");
    add(&x, "a/b");
    drain(&x);
    del(&x, "a/#");
    assert_int_equal(wants_state(x.w).lingering, 1);
    forget(&x);
    x.peer.is_fresh = true;
    assert_int_equal(wants_take(x.w, x.now, take_op, &e), 1);
    assert_string_equal(e.ops.line[0], "+a/b");
    assert_int_equal(wants_state(x.w).lingering, 0);
    assert_int_equal(wants_state(x.w).held, 1);
    wants_destroy(x.w);
}

TEST(wants_a_refused_subscription_has_no_part_in_the_count)
{
    struct end x = make("a", "b", 1);

    add(&x, "a");
    assert_int_equal(wants_add(x.w, BYTES_LIT(""), BYTES_LIT("+")), ERR_FULL);
    assert_int_equal(wants_state(x.w).held, 1);
    wants_remove(x.w, BYTES_LIT(""), BYTES_LIT("+"), x.now);
    assert_int_equal(wants_state(x.w).wanted, 1);
    drain(&x);
    check_peer(&x, "a");
    del(&x, "a");
    forget(&x);
    drain(&x);
    add(&x, "b");
    assert_int_equal(wants_state(x.w).held, 1);
    wants_destroy(x.w);
}

TEST(wants_what_was_forgotten_makes_room)
{
    struct end x = make("#", "", 1);

    add(&x, "a");
    drain(&x);
    del(&x, "a");
    assert_int_equal(wants_add(x.w, BYTES_LIT(""), BYTES_LIT("b")), ERR_FULL);
    wants_remove(x.w, BYTES_LIT(""), BYTES_LIT("b"), x.now);
    forget(&x);
    assert_int_equal(wants_next_due(x.w), 0);
    add(&x, "c");
    assert_int_equal(wants_next_due(x.w), UINT64_MAX);
    drain(&x);
    check_peer(&x, "c");
    wants_destroy(x.w);
}

/* What was forgotten is wanted again, and must not be what makes room for its neighbour. */
TEST(wants_room_is_not_made_of_what_the_same_subscription_needs)
{
    struct end x = make("a", "b", 1);

    add(&x, "a");
    drain(&x);
    del(&x, "a");
    forget(&x);
    assert_int_equal(wants_add(x.w, BYTES_LIT(""), BYTES_LIT("+")), ERR_FULL);
    wants_remove(x.w, BYTES_LIT(""), BYTES_LIT("+"), x.now);
    assert_int_equal(wants_state(x.w).wanted, 0);
    assert_int_equal(wants_state(x.w).held, 0);
    add(&x, "a");
    x.peer.is_fresh = true;
    drain(&x);
    check_peer(&x, "a");
    wants_destroy(x.w);
}

/* ---- more than one slice ---- */

/* What a frame without end was offered, in its order. */
struct tally {
    uint32_t adds, deletes, room;
    const char *find;
    uint32_t found_at; /* how many came before; UINT32_MAX: it did not come */
};

static enum wants_taken tally_op(void *arg, bool is_add, struct bytes filter)
{
    struct tally *t = arg;

    if (t->adds + t->deletes == t->room)
        return WANTS_NO_ROOM;
    if (bytes_eq(filter, bytes_str(t->find)))
        t->found_at = t->adds + t->deletes;
    *(is_add ? &t->adds : &t->deletes) += 1;
    return WANTS_TAKEN;
}

static struct tally tally(struct end *x, uint32_t room, const char *find)
{
    struct tally t = {.room = room, .find = find, .found_at = UINT32_MAX};

    wants_take(x->w, x->now, tally_op, &t);
    return t;
}

static void add_many(struct end *x, const char *under, uint32_t count)
{
    char f[TEXT_MAX];

    for (uint32_t i = 0; i < count; i++) {
        snprintf(f, sizeof(f), "%s/%u", under, i);
        add(x, f);
    }
}

TEST(wants_many_hidden_filters_are_shown_in_slices)
{
    uint32_t total = 2 * WANTS_SLICE + 5, last = 0;
    struct end x = make("#", "", total + 1);

    add(&x, "a/#");
    drain(&x);
    add_many(&x, "a", total);
    assert_int_equal(wants_state(x.w).hidden, total);
    del(&x, "a/#");
    x.now += WANTS_LINGER_MS;
    for (int i = 0; i < 3; i++) {
        assert_true(wants_next_due(x.w) <= x.now);
        wants_run(x.w, x.now);
        assert_true(wants_state(x.w).pending - last <= WANTS_SLICE + 1);
        last = wants_state(x.w).pending;
    }
    assert_int_equal(last, total + 1);
    assert_int_equal(wants_state(x.w).hidden, 0);
    wants_destroy(x.w);
}

/* The filters were hidden by what is sent, and then by what is not and shall never be. */
TEST(wants_deletes_and_the_end_wait_for_covers_that_were_never_sent)
{
    uint32_t total = 2 * WANTS_SLICE + 5;
    struct end x = make("#", "", total + 2);
    struct tally t;

    add(&x, "a/#");
    drain(&x);
    add_many(&x, "a", total);
    del(&x, "a/#");
    x.now += WANTS_LINGER_MS;
    add(&x, "+/+");
    while (wants_next_due(x.w) <= x.now)
        wants_run(x.w, x.now);
    assert_int_equal(wants_state(x.w).hidden, total);
    del(&x, "+/+");
    for (int i = 0; i < 2; i++) {
        t = tally(&x, UINT32_MAX, "+/+");
        assert_int_equal(t.adds, WANTS_SLICE);
        assert_int_equal(t.deletes, 0);
        assert_int_equal(t.found_at, UINT32_MAX);
        assert_false(wants_end_is_due(x.w));
    }
    t = tally(&x, UINT32_MAX, "a/#");
    assert_int_equal(t.adds, 5);
    assert_int_equal(t.found_at, 5);
    assert_int_equal(wants_state(x.w).hidden, 0);
    wants_destroy(x.w);
}

TEST(wants_what_was_lost_goes_before_what_waited_behind_it)
{
    struct end x = make("#", "", 10 * WANTS_SORT);

    add(&x, "z");
    assert_int_equal(tally(&x, 1, "z").found_at, 0);
    add_many(&x, "a", 3 * WANTS_SORT);
    wants_lost(x.w);
    assert_true(tally(&x, WANTS_SORT, "z").found_at < WANTS_SORT);
    wants_destroy(x.w);
}

/* The frame ends within a slice: the rest of it waits, nothing is sent twice. */
TEST(wants_full_frames_leave_nothing_out)
{
    struct end x = make("#", "", 10 * WANTS_SORT);
    uint32_t sum = 0;

    add_many(&x, "a", 3 * WANTS_SORT);
    for (int i = 0; i < 8; i++)
        sum += tally(&x, WANTS_SORT / 2 - 7, "").adds;
    assert_int_equal(sum, 3 * WANTS_SORT);
    assert_int_equal(wants_state(x.w).count, sum);
    assert_int_equal(wants_state(x.w).pending, 0);
    wants_destroy(x.w);
}

/* ---- random histories against a plain model ---- */

static const char *const filters[] = {"a",   "a/b",   "a/+", "a/#",   "#",   "+/b",
                                      "b/c", "+/#",   "b/+", "$x/a",  "b",   "a/b/c",
                                      "+/+", "a/+/c", "+",   "a/b/#", "b/#", "$x/+"};
#define FILTER_COUNT (sizeof(filters) / sizeof(*filters))
#define FLIGHT_MAX 64

struct world {
    struct end x;
    uint64_t seed;
    bool on[2][FILTER_COUNT];      /* plain, and in a group */
    bool refused[2][FILTER_COUNT]; /* told, and found no room */
    uint32_t routes_max;
    struct bytes topics[3];
    uint32_t topic_count;
    struct element *flight; /* handed out, not yet at the peer */
    uint32_t flight_count;
    uint64_t acks; /* what the peer has applied and not yet said; 0: nothing */
    uint64_t acks_generation;
    const char *never;
};

static void model_wanted(const struct world *m, struct lines *out)
{
    *out = (struct lines){0};
    for (size_t i = 0; i < 2 * FILTER_COUNT; i++) {
        struct bytes routes[3];
        uint8_t text[256];
        char line[TEXT_MAX];
        uint32_t n;

        if (!m->on[i / FILTER_COUNT][i % FILTER_COUNT])
            continue;
        assert_int_equal(algebra_routes(bytes_str(filters[i % FILTER_COUNT]), m->topics,
                                        m->topic_count, text, sizeof(text), routes, &n),
                         OK);
        for (uint32_t k = 0; k < n; k++) {
            snprintf(line, sizeof(line), "%.*s", (int)routes[k].n, (const char *)routes[k].p);
            if (!m->never || strcmp(line, m->never) != 0)
                lines_put(out, line, 0);
        }
    }
}

static void turn(struct world *m)
{
    size_t group = draw(&m->seed) % 2;
    size_t filter = draw(&m->seed) % FILTER_COUNT;
    struct bytes g = group ? BYTES_LIT("g") : BYTES_LIT("");
    bool *on = &m->on[group][filter], *refused = &m->refused[group][filter];

    if (*on || *refused) {
        wants_remove(m->x.w, g, bytes_str(filters[filter]), m->x.now);
        *on = *refused = false;
        return;
    }
    *on = wants_add(m->x.w, g, bytes_str(filters[filter])) == OK;
    *refused = !*on;
    if (*refused)
        assert_true(m->routes_max < 1000);
    assert_true(wants_state(m->x.w).held <= m->routes_max);
}

static void hand_out(struct world *m, bool is_beat)
{
    struct wants_state s = wants_state(m->x.w);
    struct element *e = &m->flight[m->flight_count];

    if (m->flight_count == FLIGHT_MAX)
        return;
    *e = (struct element){.generation = s.generation,
                          .number = s.next,
                          .is_beat = is_beat,
                          .never = m->never,
                          .room = (uint32_t)(draw(&m->seed) % 6)};
    model_wanted(m, &e->wanted);
    if (is_beat ? wants_beat(m->x.w, &e->beat) : wants_take(m->x.w, m->x.now, take_op, e) > 0)
        m->flight_count++;
    if (is_beat && m->flight_count > 0)
        assert_int_equal(wants_state(m->x.w).next, m->flight[m->flight_count - 1].number + 1);
    if (wants_state(m->x.w).is_doubtful)
        forget(&m->x);
}

static void deliver(struct world *m)
{
    if (m->flight_count == 0)
        return;
    apply(&m->x.peer, &m->flight[0]);
    m->acks = m->flight[0].number;
    m->acks_generation = m->flight[0].generation;
    memmove(m->flight, m->flight + 1, --m->flight_count * sizeof(*m->flight));
}

/* A part of what is in flight still arrives. */
static void cut(struct world *m)
{
    for (uint64_t n = draw(&m->seed) % (m->flight_count + 1u); n > 0; n--)
        deliver(m);
    m->flight_count = 0;
    m->acks = 0;
    m->x.peer.is_fresh = true;
    m->never = draw(&m->seed) % 4 == 0 ? filters[draw(&m->seed) % FILTER_COUNT] : NULL;
    if (draw(&m->seed) % 3)
        wants_lost(m->x.w);
    else
        forget(&m->x);
}

static void step(struct world *m)
{
    switch (draw(&m->seed) % 16) {
    case 0:
    case 1:
    case 2:
    case 3:
    case 4:
        turn(m);
        break;
    case 5:
    case 6:
    case 7:
        hand_out(m, false);
        break;
    case 8:
        hand_out(m, true);
        break;
    case 9:
    case 10:
    case 11:
        deliver(m);
        break;
    case 12:
        if (m->acks)
            assert_int_equal(wants_ack(m->x.w, m->acks_generation, m->acks), OK);
        m->acks = 0;
        break;
    case 13:
        m->x.now += draw(&m->seed) % 20000;
        break;
    case 14:
        wants_run(m->x.w, m->x.now);
        break;
    default:
        if (draw(&m->seed) % 4 == 0)
            cut(m);
    }
}

static void check_quiet(struct world *m)
{
    struct lines wanted;

    while (m->flight_count > 0)
        deliver(m);
    drain(&m->x);
    model_wanted(m, &wanted);
    assert_int_equal(wants_state(m->x.w).wanted, wanted.count);
    for (uint32_t i = 0; i < wanted.count; i++)
        assert_true(lines_cover(&m->x.peer.has, wanted.line[i]));
    if (draw(&m->seed) % 2)
        return;
    m->x.now += WANTS_LINGER_MS;
    drain(&m->x);
    for (uint32_t i = 0; i < wanted.count; i++)
        assert_true(lines_cover(&m->x.peer.has, wanted.line[i]));
    for (uint32_t i = 0; i < m->x.peer.has.count; i++)
        assert_true(lines_find(&wanted, m->x.peer.has.line[i]) >= 0);
    assert_int_equal(wants_state(m->x.w).held, wanted.count);
    assert_int_equal(wants_state(m->x.w).lingering, 0);
    assert_int_equal(wants_state(m->x.w).hidden, wanted.count - m->x.peer.has.count);
}

TEST(wants_random_histories_keep_what_is_wanted_covered)
{
    static const char *const imports[][3] = {
        {"#", "$x/#", NULL}, {"a/#", "+/b", "b/+"}, {"a/b/#", "+", NULL}};

    for (uint64_t start = 1; start <= 600; start++) {
        struct world m = {.seed = start,
                          .x = {.now = 1000, .peer.is_fresh = true},
                          .routes_max = start % 4 ? 1000 : (uint32_t)(5 + start / 4 % 9)};

        fprintf(stderr, "%s%llu", start == 1 ? "seeds " : " ", (unsigned long long)start);
        for (; m.topic_count < 3 && imports[start % 3][m.topic_count]; m.topic_count++)
            m.topics[m.topic_count] = bytes_str(imports[start % 3][m.topic_count]);
        m.flight = calloc(FLIGHT_MAX, sizeof(*m.flight));
        m.x.w = wants_create(m.topics, m.topic_count, m.routes_max, &key);
        assert_non_null(m.flight);
        assert_non_null(m.x.w);
        forget(&m.x);
        for (int round = 0; round < 4; round++) {
            for (int i = 0; i < 200; i++)
                step(&m);
            if (m.never) {
                m.never = NULL;
                m.flight_count = 0;
                m.acks = 0;
                m.x.peer.is_fresh = true;
                wants_lost(m.x.w);
            }
            check_quiet(&m);
        }
        wants_destroy(m.x.w);
        free(m.flight);
    }
    fprintf(stderr, "\n");
}
