/* tests/link/test_retained_sync.c -- what clusters in memory retain, linked. */
#include "tests/link/worlds.h"

#define READ_MAX 32u

/* A value of a topic, as a new subscriber gets it. */
struct kept {
    char topic[64], payload[64];
};

struct set {
    struct kept v[READ_MAX];
    uint32_t count;
};

static uint32_t reader_count;

/* Links from `w` to the others, by port; all want `topics` of each other. */
static struct world *make(const char *name, uint16_t port, const char *topics,
                          enum cfg_retained retained)
{
    static const char *const names[] = {"alpha", "beta", "gamma"};
    struct world *w = world_make(name, port);

    for (uint16_t i = 0; i < 3; i++)
        if (strcmp(names[i], name) != 0)
            world_link(w, names[i], (uint16_t)(1001 + i), topics)->retained = retained;
    return w;
}

static struct world *start(const char *name, uint16_t port, const char *topics,
                           enum cfg_retained retained)
{
    struct world *w = make(name, port, topics, retained);

    world_start(w);
    return w;
}

static void retain(struct world *w, const char *topic, const char *payload)
{
    char id[32];
    struct publish_out p = {.qos = 1,
                            .packet_id = 9,
                            .retain = true,
                            .topic = bytes_str(topic),
                            .payload = bytes_str(payload)};
    struct wire *k;

    snprintf(id, sizeof(id), "writer%u", reader_count++);
    k = client(w, id);
    wire_publish(k, &p);
    worlds_settle();
    wire_expect(k, PACKET_PUBACK);
    wire_drop(k);
    worlds_settle();
}

static void copy(char to[64], struct bytes from)
{
    assert_true(from.n < 64);
    memcpy(to, from.p, from.n);
    to[from.n] = '\0';
}

static int by_topic(const void *a, const void *b)
{
    return strcmp(((const struct kept *)a)->topic, ((const struct kept *)b)->topic);
}

/* All that is retained under a filter, in the order of its topics. */
static struct set read_set(struct world *w, const char *filter)
{
    char id[32];
    struct set set = {0};
    const struct packet *p;
    struct wire *k;

    snprintf(id, sizeof(id), "reader%u", reader_count++);
    k = client(w, id);
    subscribe(k, filter, 0);
    worlds_settle();
    while ((p = wire_next(k)) != NULL) {
        assert_int_equal(p->type, PACKET_PUBLISH);
        assert_true(p->publish.retain && set.count < READ_MAX);
        copy(set.v[set.count].topic, p->publish.topic);
        copy(set.v[set.count].payload, p->publish.payload);
        set.count++;
    }
    wire_drop(k);
    worlds_settle();
    qsort(set.v, set.count, sizeof(set.v[0]), by_topic);
    return set;
}

/* As "topic=payload topic=payload". */
static void assert_kept(struct world *w, const char *filter, const char *expected)
{
    struct set set = read_set(w, filter);
    char text[READ_MAX * 130] = "";
    size_t n = 0;

    for (uint32_t i = 0; i < set.count; i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s=%s", i ? " " : "", set.v[i].topic,
                              set.v[i].payload);
    assert_string_equal(text, expected);
}

LINK_TEST(retained_off_stores_nothing)
{
    struct world *a = start("alpha", 1001, "#", RETAINED_OFF);
    struct world *b = start("beta", 1002, "#", RETAINED_OFF);
    struct wire *k;

    worlds_pass(1000);
    k = client(b, "reader");
    subscribe(k, "t/#", 0);
    worlds_settle();
    retain(a, "t/1", "x");
    expect_publish(k, "t/1", "x");
    assert_kept(b, "t/#", "");
    worlds_end();
}

LINK_TEST(retained_pass_stores_what_somebody_subscribes_to)
{
    struct world *a = start("alpha", 1001, "#", RETAINED_OFF);
    struct world *b = start("beta", 1002, "#", RETAINED_PASS);
    struct wire *k;

    worlds_pass(1000);
    retain(a, "t/0", "before");
    k = client(b, "reader");
    subscribe(k, "t/#", 0);
    worlds_settle();
    retain(a, "t/1", "x");
    expect_publish(k, "t/1", "x");
    retain(a, "t/2", "y");
    expect_publish(k, "t/2", "y");
    assert_kept(b, "t/#", "t/1=x t/2=y");
    retain(a, "t/1", "");
    assert_kept(b, "t/#", "t/2=y");
    worlds_end();
}

TEST(retained_sync_is_pass_with_a_cluster_that_does_not_speak_our_dialect)
{
    struct world *a, *b;
    struct wire *k;

    worlds_dialect = DIALECT_EMQX;
    a = start("alpha", 1001, "#", RETAINED_SYNC);
    b = start("beta", 1002, "#", RETAINED_SYNC);
    retain(a, "t/0", "before");
    worlds_pass(1000);
    assert_true(world_said(b, "retained = sync is as retained = pass"));
    k = client(b, "reader");
    subscribe(k, "t/#", 0);
    worlds_settle();
    assert_null(wire_next(k));
    retain(a, "t/1", "x");
    expect_publish(k, "t/1", "x");
    assert_kept(b, "t/#", "t/1=x");
    worlds_dialect = DIALECT_AUTO;
    worlds_end();
}

LINK_TEST_NATIVE(what_was_retained_before_the_link_comes_with_it)
{
    struct world *a = start("alpha", 1001, "t/#,u/1", RETAINED_SYNC);
    struct world *b = make("beta", 1002, "t/#", RETAINED_SYNC);

    worlds_dialect = DIALECT_AUTO;
    retain(a, "t/1", "a1");
    retain(a, "u/1", "not wanted");
    world_start(b);
    retain(b, "t/2", "b2");
    retain(b, "u/1", "wanted");
    retain(b, "v/1", "not wanted");
    worlds_pass(1000);
    assert_kept(b, "#", "t/1=a1 t/2=b2 u/1=wanted v/1=not wanted");
    assert_kept(a, "t/#", "t/1=a1 t/2=b2");
    assert_kept(a, "v/#", "");
    worlds_end();
}

LINK_TEST_NATIVE(retained_changes_come_live_without_a_subscriber)
{
    struct world *a = start("alpha", 1001, "t/#", RETAINED_SYNC);
    struct world *b = start("beta", 1002, "t/#", RETAINED_SYNC);

    worlds_pass(1000);
    retain(a, "t/1", "x");
    retain(a, "v/1", "not wanted");
    assert_kept(b, "#", "t/1=x");
    retain(b, "t/1", "y");
    assert_kept(a, "t/#", "t/1=y");
    retain(b, "t/1", "");
    assert_kept(a, "t/#", "");
    assert_kept(b, "t/#", "");
    worlds_end();
}

TEST(only_one_cluster_needs_to_synchronise)
{
    struct world *a = start("alpha", 1001, "t/#", RETAINED_OFF);
    struct world *b = start("beta", 1002, "t/#", RETAINED_SYNC);

    worlds_pass(1000);
    retain(a, "t/1", "x");
    retain(b, "t/2", "y");
    assert_kept(b, "#", "t/1=x t/2=y");
    assert_kept(a, "#", "t/1=x");
    worlds_end();
}

TEST(subscriber_gets_a_retained_message_once_whichever_way_it_came)
{
    struct world *a = make("alpha", 1001, "#", RETAINED_SYNC);
    struct world *b = start("beta", 1002, "#", RETAINED_SYNC);
    struct wire *k;

    k = client(b, "reader");
    subscribe(k, "t/#", 1);
    world_start(a);
    retain(a, "t/1", "before");
    worlds_pass(1000);
    expect_publish(k, "t/1", "before"); /* nobody forwarded it: the answer brought it */
    retain(a, "t/1", "live");
    expect_publish(k, "t/1", "live");
    world_cut(a);
    retain(a, "t/1", "queued");
    retain(a, "t/1", "queued too");
    worlds_pass(20000);
    expect_publish(k, "t/1", "queued");
    expect_publish(k, "t/1", "queued too");
    worlds_pass(20000);
    assert_null(wire_next(k));
    assert_kept(b, "t/#", "t/1=queued too");
    worlds_end();
}

TEST(later_value_wins_on_both_sides)
{
    struct world *a = start("alpha", 1001, "#", RETAINED_SYNC);
    struct world *b = make("beta", 1002, "#", RETAINED_SYNC);

    retain(a, "t/1", "older at a");
    worlds_pass(50);
    world_start(b);
    world_cut(b);
    retain(b, "t/1", "newer at b");
    retain(b, "t/2", "older at b");
    all.wall_ms += 5;
    retain(a, "t/2", "newer at a");
    worlds_pass(20000);
    assert_kept(a, "#", "t/1=newer at b t/2=newer at a");
    assert_kept(b, "#", "t/1=newer at b t/2=newer at a");
    worlds_end();
}

TEST(values_of_one_moment_end_as_the_same_one_everywhere)
{
    struct world *a = start("alpha", 1001, "#", RETAINED_SYNC);
    struct world *b = make("beta", 1002, "#", RETAINED_SYNC);
    struct world *c = make("gamma", 1003, "#", RETAINED_SYNC);
    struct set at_a, at_b, at_c;

    world_start(b);
    world_start(c);
    for (uint32_t i = 0; i < 3; i++)
        world_cut(all.world[i]);
    retain(a, "t/1", "a");
    retain(b, "t/1", "b");
    retain(c, "t/1", "c");
    worlds_pass(30000);
    at_a = read_set(a, "#");
    at_b = read_set(b, "#");
    at_c = read_set(c, "#");
    assert_int_equal(at_a.count, 1);
    assert_memory_equal(&at_a, &at_b, sizeof(at_a));
    assert_memory_equal(&at_a, &at_c, sizeof(at_a));
    worlds_end();
}

TEST(who_reads_a_value_and_then_writes_is_later_even_with_a_slow_clock)
{
    struct world *a = start("alpha", 1001, "#", RETAINED_SYNC);
    struct world *b;

    worlds_pass(100);
    all.wall_ms += 3600000; /* beta's clock is an hour ahead */
    b = start("beta", 1002, "#", RETAINED_SYNC);
    retain(b, "t/1", "b");
    all.wall_ms -= 3600000;
    worlds_pass(1000);
    assert_kept(a, "#", "t/1=b");
    retain(a, "t/1", "a");
    assert_kept(a, "#", "t/1=a");
    assert_kept(b, "#", "t/1=a");
    worlds_end();
}

TEST(stamp_of_a_clock_that_is_far_ahead_is_not_taken_and_said)
{
    struct world *a = make("alpha", 1001, "#", RETAINED_SYNC), *b;

    all.wall_ms += RETAINED_AHEAD_MS + 60000;
    b = start("beta", 1002, "#", RETAINED_SYNC);
    retain(b, "t/1", "b");
    all.wall_ms -= RETAINED_AHEAD_MS + 60000;
    world_start(a);
    worlds_pass(1000);
    assert_kept(a, "#", "");
    assert_true(world_said(a, "link retained message not taken|beta|"));
    assert_int_equal(WORLD_COUNT(a, dropped_retained_ahead), 1);
    worlds_end();
}

TEST(removal_while_the_link_is_down_is_not_undone_by_it)
{
    struct world *a = start("alpha", 1001, "#", RETAINED_SYNC);
    struct world *b = start("beta", 1002, "#", RETAINED_SYNC);
    struct wire *k;

    worlds_pass(1000);
    retain(a, "t/1", "x");
    retain(a, "t/2", "y");
    assert_kept(b, "#", "t/1=x t/2=y");
    world_cut(b);
    retain(a, "t/1", "");
    all.wall_ms += 10;
    retain(b, "t/2", "");
    k = client(b, "reader");
    subscribe(k, "t/#", 1);
    expect_publish(k, "t/1", "x");
    worlds_pass(20000);
    expect_publish(k, "t/1", ""); /* as a message: it changed something */
    assert_null(wire_next(k));
    assert_kept(a, "#", "");
    assert_kept(b, "#", "");
    worlds_end();
}

TEST(removal_is_forgotten_after_a_bounded_time)
{
    struct world *a = start("alpha", 1001, "#", RETAINED_SYNC);

    worlds_pass(1000);
    retain(a, "t/1", "x");
    retain(a, "t/1", "");
    assert_int_equal(WORLD_COUNT(a, tombstones), 1);
    all.now_ms += TOMBSTONE_MS;
    worlds_settle();
    assert_int_equal(WORLD_COUNT(a, tombstones), 0);
    retain(a, "t/2", "");
    retain(a, "t/2", "y");
    assert_int_equal(WORLD_COUNT(a, tombstones), 0);
    worlds_end();
}

TEST(restarted_cluster_gets_back_what_others_retain)
{
    struct world *a = start("alpha", 1001, "#", RETAINED_SYNC);
    struct world *b = start("beta", 1002, "#", RETAINED_SYNC);

    worlds_pass(1000);
    retain(a, "t/1", "a");
    retain(b, "t/2", "b");
    world_kill(b);
    worlds_settle();
    retain(a, "t/3", "meanwhile");
    worlds_pass(500);
    world_start(b);
    worlds_pass(30000);
    assert_kept(b, "#", "t/1=a t/2=b t/3=meanwhile");
    retain(b, "t/2", "new");
    assert_kept(a, "#", "t/1=a t/2=new t/3=meanwhile");
    worlds_end();
}

TEST(three_clusters_retain_the_same)
{
    struct world *a = start("alpha", 1001, "#", RETAINED_SYNC);
    struct world *b = start("beta", 1002, "#", RETAINED_SYNC);
    struct world *c = start("gamma", 1003, "#", RETAINED_SYNC);

    worlds_pass(1000);
    retain(a, "t/1", "a");
    retain(b, "t/2", "b");
    retain(c, "t/3", "c");
    world_cut(b);
    retain(a, "t/2", "a");
    all.wall_ms++;
    retain(b, "t/1", "");
    retain(b, "t/3", "b");
    worlds_pass(30000);
    assert_kept(a, "#", "t/2=a t/3=b");
    assert_kept(b, "#", "t/2=a t/3=b");
    assert_kept(c, "#", "t/2=a t/3=b");
    worlds_end();
}

/* A cluster that gets its own values back from one tells them to the others, which have asked it
 * while it knew nothing. */
TEST(what_a_third_cluster_brings_back_is_passed_on)
{
    struct world *a, *b = make("beta", 1002, "#", RETAINED_SYNC);
    struct world *c = make("gamma", 1003, "#", RETAINED_SYNC);

    b->cfg.links[0].enable = false; /* alpha */
    world_start(b);
    world_start(c);
    worlds_pass(1000);
    retain(c, "t/1", "x");
    retain(c, "t/2", "y");
    retain(c, "t/2", "");
    worlds_pass(1000);
    world_kill(c);
    b->port = 0; /* gamma cannot ask beta yet */
    a = make("alpha", 1001, "#", RETAINED_SYNC);
    a->cfg.links[0].enable = false; /* beta */
    world_start(c);
    world_start(a);
    retain(a, "t/2", "old");
    worlds_pass(1000);
    assert_kept(a, "#", "t/2=old");
    b->port = 1002;
    worlds_pass(40000);
    assert_kept(c, "#", "t/1=x t/2=old");
    assert_kept(a, "#", "t/1=x t/2=old");
    worlds_end();
}

TEST(export_bounds_what_is_retained_elsewhere)
{
    struct world *a = make("alpha", 1001, "#", RETAINED_SYNC);
    struct world *b = start("beta", 1002, "#", RETAINED_SYNC);
    static const struct bytes shown = {(const uint8_t *)"shown/#", 7};

    a->cfg.links[0].exports = &shown;
    world_start(a);
    retain(a, "hidden/1", "x");
    retain(a, "shown/1", "x");
    worlds_pass(1000);
    retain(a, "hidden/2", "x");
    retain(a, "shown/2", "x");
    assert_kept(b, "#", "shown/1=x shown/2=x");
    worlds_end();
}

/* More than a window of frames, and more than a slice. */
static void retain_many(struct world *w, uint32_t count)
{
    static uint8_t large[20000];
    struct wire *k = client(w, "filler");
    char topic[32];

    for (uint32_t i = 0; i < count; i++) {
        struct publish_out p = {.retain = true, .payload = bytes_of(large, 1 + i * 37 % 20000)};

        memset(large, 'a' + (int)(i % 26), sizeof(large));
        snprintf(topic, sizeof(topic), "many/%u", i);
        p.topic = bytes_str(topic);
        wire_publish(k, &p);
    }
    wire_drop(k);
    worlds_settle();
}

LINK_TEST_NATIVE(large_answer_comes_in_frames_and_a_cut_in_the_middle_loses_nothing)
{
    struct world *a = make("alpha", 1001, "#", RETAINED_SYNC);
    struct world *b = make("beta", 1002, "#", RETAINED_SYNC);

    a->cfg.limits.retained_bytes = b->cfg.limits.retained_bytes = 64u << 20;
    world_start(a);
    retain_many(a, 500);
    assert_int_equal(WORLD_COUNT(a, retained_counted), 500);
    world_start(b);
    for (uint32_t i = 0; i < 600 && WORLD_COUNT(b, retained_counted) < 100; i++) {
        all.now_ms += 5;
        (void)world_turn(a);
        (void)world_turn(b);
    }
    assert_in_range(WORLD_COUNT(b, retained_counted), 1, 499);
    world_cut(b);
    retain(a, "many/0", "");
    worlds_pass(30000);
    assert_int_equal(WORLD_COUNT(a, retained_counted), 499);
    assert_int_equal(WORLD_COUNT(b, retained_counted), 499);
    worlds_end();
}
