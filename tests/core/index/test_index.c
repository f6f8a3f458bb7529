/* tests/core/index/test_index.c -- matching, growth, walks and bounds of one partition, against a
 * plain list of filters. */
#include "core/index/index.h"
#include "core/base/limits.h"
#include "core/mqtt/topic.h"
#include "tests/support/test.h"

#include <stdio.h>
#include <stdlib.h>

static const struct hash_key key = {
    {0x243f6a8885a308d3, 0x13198a2e03707344, 0xa4093822299f31d0, 0x082efa98ec4e6c89}};

static struct dest dest_of(uint32_t slot)
{
    return (struct dest){.worker = 1, .kind = 2, .slot = slot, .generation = 7};
}

static void add(struct index *ix, const char *filter, uint32_t slot)
{
    assert_int_equal(index_add(ix, bytes_str(filter), dest_of(slot), NULL), OK);
}

/* Both matches together, as a publish does them. */
static struct matches match(const struct index *ix, struct bytes topic, struct dest *room,
                            uint32_t max)
{
    struct matches m = {.v = room, .max = max};

    index_match_wild(ix, topic, &m);
    index_match_exact(ix, topic, hash_bytes(&key, topic), &m);
    return m;
}

static uint32_t match_count(const struct index *ix, const char *topic)
{
    struct dest room[64];

    return match(ix, bytes_str(topic), room, 64).count;
}

/* ---- tables ---- */

/* Says it without any code of ours: level by level, recursively. */
static bool naive_matches(const char *f, const char *t)
{
    size_t fn = strcspn(f, "/"), tn = strcspn(t, "/");

    if (fn == 1 && f[0] == '#')
        return true;
    if (!(fn == 1 && f[0] == '+') && (fn != tn || strncmp(f, t, fn) != 0))
        return false;
    if (!t[tn])
        return !f[fn] || strcmp(f + fn, "/#") == 0;
    return f[fn] && naive_matches(f + fn + 1, t + tn + 1);
}

static bool model_matches(const char *f, const char *t)
{
    if (t[0] == '$' && (f[0] == '+' || f[0] == '#'))
        return false;
    return naive_matches(f, t);
}

static const struct {
    const char *filter, *topic;
    bool is_match;
} rows[] = {
    {"a", "a", true},
    {"a", "b", false},
    {"a", "a/", false},
    {"a/", "a/", true},
    {"/", "/", true},
    {"//", "//", true},
    {"/", "//", false},
    {"a//b", "a//b", true},
    {"a//b", "a/b", false},
    {"+", "a", true},
    {"+", "a/b", false},
    {"+/+", "/", true},
    {"+/+", "a/b", true},
    {"+/+", "a", false},
    {"/+", "/a", true},
    {"/+", "a", false},
    {"+", "/a", false},
    {"+/+", "/a", true},
    {"#", "a", true},
    {"#", "/", true},
    {"#", "a/b/c", true},
    {"a/#", "a", true},
    {"a/#", "a/", true},
    {"a/#", "a/b/c", true},
    {"a/#", "b", false},
    {"a/#", "ab", false},
    {"/#", "/", true},
    {"/#", "a", false},
    {"+/#", "a", true},
    {"+/#", "/a/b", true},
    {"#", "$SYS", false},
    {"#", "$SYS/x", false},
    {"+/x", "$SYS/x", false},
    {"$SYS/#", "$SYS/x", true},
    {"$SYS/#", "$SYS", true},
    {"$SYS/+", "$SYS/x", true},
    {"+/+/+", "a//b", true},
    {"a/+/b", "a//b", true},
    {"a/+", "a/$b", true},
    {"+", "$", false},
    {"a/+/+/d", "a/b/c/d", true},
    {"a/+/c/#", "a/b/c", true},
    {"a/+/c/#", "a/b/d", false},
    {"sport/+", "sport", false},
    {"sport/+", "sport/", true},
};

TEST(index_matches_what_the_table_says)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct index *ix = index_create(&key, NULL, 0);

        add(ix, rows[i].filter, 1);
        assert_int_equal(model_matches(rows[i].filter, rows[i].topic), rows[i].is_match);
        assert_int_equal(match_count(ix, rows[i].topic), rows[i].is_match);
        index_destroy(ix);
    }
}

TEST(index_says_which_is_first_and_last)
{
    static const char *const filters[] = {"a/b", "a/+", "a/#", "#", "+"};
    struct index *ix = index_create(&key, NULL, 0);
    uint64_t empty = index_bytes(ix);

    for (size_t i = 0; i < sizeof(filters) / sizeof(filters[0]); i++) {
        struct bytes f = bytes_str(filters[i]);
        bool is_first, is_last;

        assert_int_equal(index_remove(ix, f, dest_of(1), &is_last), ERR_NONE);
        assert_int_equal(index_add(ix, f, dest_of(1), &is_first), OK);
        assert_true(is_first);
        assert_int_equal(index_add(ix, f, dest_of(2), &is_first), OK);
        assert_false(is_first);
        assert_int_equal(index_add(ix, f, dest_of(2), &is_first), OK);
        assert_false(is_first);
        assert_int_equal(index_count(ix), 1);
        assert_int_equal(index_remove(ix, f, dest_of(3), &is_last), ERR_NONE);
        assert_false(is_last);
        assert_int_equal(index_remove(ix, f, dest_of(1), &is_last), OK);
        assert_false(is_last);
        assert_int_equal(index_remove(ix, f, dest_of(2), &is_last), OK);
        assert_true(is_last);
        assert_int_equal(index_count(ix), 0);
    }
    assert_int_equal(index_bytes(ix), empty);
    index_destroy(ix);
}

TEST(index_replaces_the_generation_of_a_known_destination)
{
    struct index *ix = index_create(&key, NULL, 0);
    struct dest d = dest_of(1), room[4];
    struct matches m = {.v = room, .max = 4};

    add(ix, "a/+", 1);
    d.generation = 9;
    assert_int_equal(index_add(ix, BYTES_LIT("a/+"), d, NULL), OK);
    index_match_wild(ix, BYTES_LIT("a/b"), &m);
    assert_int_equal(m.count, 1);
    assert_int_equal(room[0].generation, 9);
    assert_int_equal(room[0].worker, 1);
    assert_int_equal(room[0].kind, 2);
    assert_int_equal(room[0].slot, 1);
    index_destroy(ix);
}

TEST(index_finds_a_filter_by_its_text)
{
    static const char *const filters[] = {"a", "a/+", "a/#", "#", "+/#", "+"};
    struct index *ix = index_create(&key, NULL, 0);
    struct dest room[8];

    for (uint32_t i = 0; i < 6; i++)
        add(ix, filters[i], i);
    for (uint32_t i = 0; i < 6; i++) {
        struct matches m = {.v = room, .max = 8};

        index_find(ix, bytes_str(filters[i]), &m);
        assert_int_equal(m.count, 1);
        assert_int_equal(room[0].slot, i);
        m.count = 0;
        index_find(ix, BYTES_LIT("a/b/+"), &m);
        assert_int_equal(m.count, 0);
    }
    index_destroy(ix);
}

/* Destinations of a filter, which must be those of `expected`, in order. */
static void expect_dests(const struct index *ix, const struct dest *expected, uint32_t count)
{
    struct dest room[8];
    struct matches m = {.v = room, .max = 8};

    index_find(ix, BYTES_LIT("a"), &m);
    assert_int_equal(m.count, count);
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(room[i].worker, expected[i].worker);
        assert_int_equal(room[i].kind, expected[i].kind);
        assert_int_equal(room[i].slot, expected[i].slot);
        assert_int_equal(room[i].generation, expected[i].generation);
    }
}

TEST(index_keeps_destinations_of_any_numbers)
{
    static const struct dest v[] = {{0, 0, 0, 0},
                                    {63, 3, (1u << 26) - 1, (1u << 29) - 1},
                                    {64, 0, 0, 0},
                                    {0, 4, 0, 0},
                                    {0, 0, 1u << 26, 0},
                                    {0, 0, 1, 1u << 29},
                                    {63, 65535, UINT32_MAX, UINT32_MAX}};
    const uint32_t count = sizeof(v) / sizeof(v[0]);
    struct index *ix = index_create(&key, NULL, 0);

    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t j = 0; j < count; j++) {
            struct dest two[2] = {v[i], v[j]};
            uint64_t before = index_bytes(ix);

            assert_int_equal(index_add(ix, BYTES_LIT("a"), v[i], NULL), OK);
            expect_dests(ix, &v[i], 1);
            assert_int_equal(index_add(ix, BYTES_LIT("a"), v[j], NULL), OK);
            expect_dests(ix, two, i == j ? 1 : 2);
            assert_int_equal(index_remove(ix, BYTES_LIT("a"), v[i], NULL), OK);
            expect_dests(ix, &v[j], i == j ? 0 : 1);
            assert_int_equal(index_remove(ix, BYTES_LIT("a"), v[i], NULL), ERR_NONE);
            if (i != j)
                assert_int_equal(index_remove(ix, BYTES_LIT("a"), v[j], NULL), OK);
            assert_int_equal(index_bytes(ix), before);
        }
    }
    index_destroy(ix);
}

TEST(index_replaces_a_generation_by_one_that_needs_more_room_and_back)
{
    struct dest d = {1, 0, 5, 7};
    struct index *ix = index_create(&key, NULL, 0);

    for (uint32_t i = 0; i < 6; i++) {
        d.generation = i % 2 ? UINT32_MAX - i : i;
        assert_int_equal(index_add(ix, BYTES_LIT("a"), d, NULL), OK);
        expect_dests(ix, &d, 1);
    }
    index_destroy(ix);
}

/* One destination lies in the entry itself: 18 bytes and the text, rounded up by the allocator. */
TEST(filter_with_one_destination_takes_little_memory)
{
    struct index *ix = index_create(&key, NULL, 0);
    uint64_t before = index_bytes(ix);
    char text[32];

    for (uint32_t i = 0; i < 10000; i++) {
        snprintf(text, sizeof(text), "site/%02u/dev/%07u", i % 100, i);
        add(ix, text, i);
    }
    assert_in_range((index_bytes(ix) - before) / 10000, 48, 48 + 64 / 2);
    index_destroy(ix);
}

TEST(index_says_when_there_was_no_room_for_all)
{
    struct index *ix = index_create(&key, NULL, 0);
    struct dest room[8];
    struct matches m;

    for (uint32_t i = 0; i < 4; i++) {
        add(ix, "a/+", i);
        add(ix, "a/b", i);
    }
    for (uint32_t max = 0; max < 8; max++) {
        m = match(ix, BYTES_LIT("a/b"), room, max);
        assert_int_equal(m.count, max);
        assert_true(m.is_cut);
    }
    m = match(ix, BYTES_LIT("a/b"), room, 8);
    assert_int_equal(m.count, 8);
    assert_false(m.is_cut);
    index_destroy(ix);
}

TEST(index_keeps_many_destinations_of_one_filter)
{
    enum { MANY = 3000 };
    struct index *ix = index_create(&key, NULL, 0);
    struct dest *room = malloc(MANY * sizeof(*room));
    struct matches m;
    uint64_t empty = index_bytes(ix);

    for (uint32_t i = 0; i < MANY; i++)
        add(ix, "a/#", i);
    for (uint32_t i = 0; i < MANY; i += 2)
        assert_int_equal(index_remove(ix, BYTES_LIT("a/#"), dest_of(i), NULL), OK);
    m = match(ix, BYTES_LIT("a"), room, MANY);
    assert_int_equal(m.count, MANY / 2);
    for (uint32_t i = 0; i < m.count; i++)
        assert_int_equal(room[i].slot, i * 2 + 1);
    for (uint32_t i = 1; i < MANY; i += 2)
        assert_int_equal(index_remove(ix, BYTES_LIT("a/#"), dest_of(i), NULL), OK);
    assert_int_equal(index_count(ix), 0);
    assert_int_equal(index_bytes(ix), empty);
    free(room);
    index_destroy(ix);
}

/* A topic of `levels` times "a", and as a filter with `+` where the bits of `mask` say so. */
static struct bytes long_text(uint8_t *room, uint32_t levels, uint64_t mask)
{
    for (uint32_t i = 0; i < levels; i++) {
        room[i * 2] = i < 64 && (mask >> i & 1) ? '+' : 'a';
        room[i * 2 + 1] = '/';
    }
    return bytes_of(room, levels * 2 - 1);
}

TEST(index_goes_as_deep_as_a_topic_can)
{
    static uint8_t f[2 * TOPIC_LEVELS_MAX], t[2 * TOPIC_LEVELS_MAX];
    struct index *ix = index_create(&key, NULL, 0);
    struct dest room[64];
    uint64_t empty = index_bytes(ix);

    for (uint32_t i = 0; i < 64; i++)
        assert_int_equal(index_add(ix, long_text(f, TOPIC_LEVELS_MAX, 1ull << i), dest_of(i), NULL),
                         OK);
    assert_int_equal(match(ix, long_text(t, TOPIC_LEVELS_MAX, 0), room, 64).count, 64);
    assert_int_equal(match(ix, long_text(t, TOPIC_LEVELS_MAX - 1, 0), room, 64).count, 0);
    for (uint32_t i = 0; i < 64; i++)
        assert_int_equal(
            index_remove(ix, long_text(f, TOPIC_LEVELS_MAX, 1ull << i), dest_of(i), NULL), OK);
    assert_int_equal(index_bytes(ix), empty);
    /* a topic that is deeper than any filter */
    add(ix, "a/#", 1);
    memset(t, '/', sizeof(t));
    t[0] = 'a';
    assert_int_equal(match(ix, bytes_of(t, sizeof(t)), room, 64).count, 1);
    index_destroy(ix);
}

TEST(index_visits_all_branches_of_filters_made_to_branch)
{
    enum { LEVELS = 12 };
    uint8_t f[2 * LEVELS], t[2 * LEVELS];
    struct index *ix = index_create(&key, NULL, 0);
    struct dest *room = malloc((1u << LEVELS) * sizeof(*room));

    for (uint32_t mask = 1; mask < 1u << LEVELS; mask++)
        assert_int_equal(index_add(ix, long_text(f, LEVELS, mask), dest_of(mask), NULL), OK);
    assert_int_equal(match(ix, long_text(t, LEVELS, 0), room, 1u << LEVELS).count,
                     (1u << LEVELS) - 1);
    free(room);
    index_destroy(ix);
}

TEST(index_at_its_memory_bound_refuses_and_stays_as_it_was)
{
    struct index *ix = index_create(&key, NULL, 0);
    uint64_t before;
    char text[64];

    for (uint32_t i = 0; i < 500; i++) {
        snprintf(text, sizeof(text), i % 2 ? "kept/%u/x" : "kept/%u/+", i);
        add(ix, text, i);
    }
    before = index_bytes(ix);
    for (uint32_t room = 0; room < 1200; room += 8) {
        enum err err;

        index_limit(ix, before + room - 512);
        err = index_add(ix, BYTES_LIT("a/b/c/d/e/f/+/#"), dest_of(1), NULL);
        index_limit(ix, UINT64_MAX);
        if (err == OK) {
            assert_int_equal(index_remove(ix, BYTES_LIT("a/b/c/d/e/f/+/#"), dest_of(1), NULL), OK);
        } else {
            assert_int_equal(err, ERR_MEMORY);
        }
        assert_int_equal(index_count(ix), 500);
        assert_int_equal(match_count(ix, "a/b/c/d/e/f/g"), 0);
    }
    index_limit(ix, 0);
    assert_int_equal(index_add(ix, BYTES_LIT("new"), dest_of(1), NULL), ERR_MEMORY);
    for (uint32_t i = 0; i < 500; i++) { /* removing needs no memory */
        snprintf(text, sizeof(text), i % 2 ? "kept/%u/x" : "kept/%u/+", i);
        assert_int_equal(index_remove(ix, bytes_str(text), dest_of(i), NULL), OK);
    }
    assert_int_equal(index_count(ix), 0);
    index_destroy(ix);
}

/* ---- random work against a list ---- */

static uint64_t draw(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed * 0x2545f4914f6cdd1dull >> 11;
}

/* A filter or topic of up to five levels of a small alphabet, so that most things overlap. */
static void draw_text(uint64_t *seed, char *text, bool is_filter)
{
    static const char *const words[] = {"a", "b", "", "$x", "ab", "c"};
    uint32_t levels = 1 + (uint32_t)(draw(seed) % 5);

    for (;;) {
        char *at = text;

        for (uint32_t i = 0; i < levels; i++) {
            const char *word = words[draw(seed) % 6];
            uint64_t wild = is_filter ? draw(seed) % 4 : 9;

            if (wild == 0)
                word = "+";
            if (is_filter && i == levels - 1 && draw(seed) % 4 == 0)
                word = "#";
            at += sprintf(at, "%s%s", i ? "/" : "", word);
        }
        if (*text)
            return;
    }
}

#define MODEL_MAX 4096
struct model {
    uint32_t count;
    struct {
        char filter[32];
        uint32_t slot, generation;
    } v[MODEL_MAX];
};

static uint32_t model_find(const struct model *m, const char *filter, uint32_t slot)
{
    uint32_t i = 0;

    while (i < m->count && (m->v[i].slot != slot || strcmp(m->v[i].filter, filter) != 0))
        i++;
    return i;
}

static uint32_t model_dests(const struct model *m, const char *filter)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < m->count; i++)
        n += strcmp(m->v[i].filter, filter) == 0;
    return n;
}

static void model_add(struct model *m, struct index *ix, const char *filter, uint32_t slot,
                      uint32_t generation)
{
    struct dest d = {1, 2, slot, generation};
    uint32_t i = model_find(m, filter, slot);
    bool is_first, was_first = model_dests(m, filter) == 0;

    assert_int_equal(index_add(ix, bytes_str(filter), d, &is_first), OK);
    assert_int_equal(is_first, was_first);
    if (i == m->count) {
        m->count++;
        strcpy(m->v[i].filter, filter);
        m->v[i].slot = slot;
    }
    m->v[i].generation = generation;
}

static void model_remove(struct model *m, struct index *ix, const char *filter, uint32_t slot)
{
    uint32_t i = model_find(m, filter, slot);
    bool is_last, was_there = i < m->count;

    assert_int_equal(index_remove(ix, bytes_str(filter), dest_of(slot), &is_last),
                     was_there ? OK : ERR_NONE);
    if (was_there)
        m->v[i] = m->v[--m->count];
    assert_int_equal(is_last, was_there && model_dests(m, filter) == 0);
}

/* As a number that does not depend on the order. */
static uint64_t fold_dest(uint32_t slot, uint32_t generation)
{
    uint64_t x = ((uint64_t)slot << 32 | generation) * 0x9e3779b97f4a7c15ull;

    return (x ^ x >> 31) * 0xd6e8feb86659fd93ull;
}

static void model_check(const struct model *m, const struct index *ix, const char *topic)
{
    static struct dest room[MODEL_MAX];
    struct matches got = match(ix, bytes_str(topic), room, MODEL_MAX);
    uint64_t sum = 0;
    uint32_t count = 0;

    for (uint32_t i = 0; i < m->count; i++) {
        if (model_matches(m->v[i].filter, topic)) {
            count++;
            sum += fold_dest(m->v[i].slot, m->v[i].generation);
        }
    }
    assert_int_equal(got.count, count);
    for (uint32_t i = 0; i < got.count; i++)
        sum -= fold_dest(room[i].slot, room[i].generation);
    assert_true(sum == 0);
}

static void random_run(uint64_t seed, uint32_t operations, uint32_t target)
{
    static struct model m;
    struct index *ix = index_create(&key, NULL, 0);
    uint64_t s = seed * 0x9e3779b97f4a7c15ull + 1, empty = index_bytes(ix);
    char text[64];

    print_message("seed %llu\n", (unsigned long long)seed);
    m.count = 0;
    for (uint32_t i = 0; i < operations; i++) {
        uint64_t what = draw(&s) % 4;
        uint32_t slot = (uint32_t)(draw(&s) % 4);

        draw_text(&s, text, what < 3);
        if (what == 3)
            model_check(&m, ix, text);
        else if (m.count < target / 2 || (what == 0 && m.count < target))
            model_add(&m, ix, text, slot, (uint32_t)draw(&s));
        else if (draw(&s) % 2)
            model_remove(&m, ix, text, slot);
        else
            model_remove(&m, ix, strcpy(text, m.v[i % m.count].filter), m.v[i % m.count].slot);
    }
    while (m.count)
        model_remove(&m, ix, strcpy(text, m.v[0].filter), m.v[0].slot);
    assert_int_equal(index_count(ix), 0);
    assert_int_equal(index_bytes(ix), empty);
    index_destroy(ix);
}

TEST(index_agrees_with_a_list_of_filters)
{
    for (uint64_t seed = 1; seed <= 6; seed++)
        random_run(seed, 20000, seed % 2 ? 40 : 400);
}

/* ---- growth ---- */

enum { GROWN = 20000 };

static void grown_text(char *text, uint32_t i)
{
    if (i % 4 < 2)
        sprintf(text, "fleet/%u/%s", i, i % 4 ? "+" : "state");
    else
        sprintf(text, i % 4 == 2 ? "fleet/+/%u/x" : "t%u/#", i);
}

/* Matched by grown_text(i) and no other. */
static void grown_topic(char *text, uint32_t i)
{
    if (i % 4 < 2)
        sprintf(text, "fleet/%u/%s", i, i % 4 ? "q" : "state");
    else
        sprintf(text, i % 4 == 2 ? "fleet/z/%u/x" : "t%u/y/z", i);
}

TEST(index_finds_everything_while_it_grows_and_shrinks)
{
    struct index *ix = index_create(&key, NULL, 0);
    uint64_t empty = index_bytes(ix), s = 5;
    char text[64];

    for (uint32_t i = 0; i < GROWN; i++) {
        grown_text(text, i);
        add(ix, text, i);
        grown_topic(text, (uint32_t)(draw(&s) % (i + 1)));
        assert_int_equal(match_count(ix, text), 1);
        grown_topic(text, i + 1);
        assert_int_equal(match_count(ix, text), 0);
    }
    assert_int_equal(index_count(ix), GROWN);
    for (uint32_t i = 0; i < GROWN; i++) {
        grown_text(text, i);
        assert_int_equal(index_remove(ix, bytes_str(text), dest_of(i), NULL), OK);
        grown_topic(text, i);
        assert_int_equal(match_count(ix, text), 0);
        if (i + 1 < GROWN) {
            grown_topic(text, i + 1 + (uint32_t)(draw(&s) % (GROWN - i - 1)));
            assert_int_equal(match_count(ix, text), 1);
        }
    }
    assert_int_equal(index_bytes(ix), empty);
    index_destroy(ix);
}

TEST(index_holds_an_exact_filter_of_30_bytes_in_less_than_150)
{
    struct index *ix = index_create(&key, NULL, 0);
    uint64_t empty = index_bytes(ix);
    char text[64];

    for (uint32_t i = 0; i < 100000; i++) {
        assert_int_equal(sprintf(text, "building/seven/sensor/%08u", i), 30);
        add(ix, text, i);
    }
    assert_true(index_bytes(ix) - empty < 150 * 100000);
    index_destroy(ix);
}

/* ---- walking ---- */

struct seen {
    uint32_t times[GROWN];
    uint32_t calls;
};

static void see(void *ctx, struct bytes filter, const struct dest *v, uint32_t count)
{
    struct seen *seen = ctx;
    char text[64];

    seen->calls++;
    assert_int_equal(count, 1);
    assert_true(v[0].slot < GROWN);
    grown_text(text, v[0].slot);
    assert_true(bytes_eq(filter, bytes_str(text)));
    seen->times[v[0].slot]++;
}

TEST(index_walk_sees_every_filter_once)
{
    static struct seen seen;
    struct index *ix = index_create(&key, NULL, 0);
    uint64_t cursor = 0;
    char text[64];
    bool is_more = true;

    memset(&seen, 0, sizeof(seen));
    for (uint32_t i = 0; i < 1000; i++) {
        grown_text(text, i);
        add(ix, text, i);
    }
    while (is_more) {
        uint32_t before = seen.calls;

        is_more = index_walk(ix, &cursor, 3, see, &seen);
        assert_true(seen.calls - before <= 3);
    }
    for (uint32_t i = 0; i < 1000; i++)
        assert_int_equal(seen.times[i], 1);
    index_destroy(ix);
}

static void walk_with_changes(uint64_t seed)
{
    static struct seen seen;
    static bool is_there[GROWN];
    struct index *ix = index_create(&key, NULL, 0);
    uint64_t cursor = 0, s = seed;
    char text[64];

    print_message("seed %llu\n", (unsigned long long)seed);
    memset(&seen, 0, sizeof(seen));
    memset(is_there, 0, sizeof(is_there));
    for (uint32_t i = 0; i < GROWN; i += seed % 2 ? 10 : 1) {
        grown_text(text, i);
        add(ix, text, i);
        is_there[i] = true;
    }
    while (index_walk(ix, &cursor, 16, see, &seen)) {
        for (uint32_t n = 0; n < 64; n++) { /* multiples of 10 stay, the others come or go */
            uint32_t i = (uint32_t)(draw(&s) % GROWN);

            if (i % 10 == 0 || is_there[i] == seed % 2)
                continue;
            grown_text(text, i);
            if (is_there[i])
                assert_int_equal(index_remove(ix, bytes_str(text), dest_of(i), NULL), OK);
            else
                add(ix, text, i);
            is_there[i] = !is_there[i];
        }
    }
    for (uint32_t i = 0; i < GROWN; i += 10)
        assert_int_equal(seen.times[i], 1);
    index_destroy(ix);
}

TEST(index_walk_sees_what_stays_once_while_others_come_and_go)
{
    for (uint64_t seed = 11; seed < 15; seed++)
        walk_with_changes(seed);
}

struct parts {
    uint32_t calls, dests;
};

static void count_parts(void *ctx, struct bytes filter, const struct dest *v, uint32_t count)
{
    struct parts *p = ctx;

    assert_true(bytes_eq(filter, BYTES_LIT("#")) && count <= 64 && v[0].slot == p->dests);
    p->calls++;
    p->dests += count;
}

TEST(index_walk_hands_out_long_lists_in_parts)
{
    struct index *ix = index_create(&key, NULL, 0);
    struct parts p = {0};
    uint64_t cursor = 0;

    for (uint32_t i = 0; i < 150; i++)
        add(ix, "#", i);
    while (index_walk(ix, &cursor, 1, count_parts, &p))
        ;
    assert_int_equal(p.calls, 3);
    assert_int_equal(p.dests, 150);
    index_destroy(ix);
}
