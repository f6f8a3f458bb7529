/* tests/core/index/test_retain.c -- retained topics and their cursors, against a plain list. */
#include "core/base/limits.h"
#include "core/index/retain.h"
#include "core/mqtt/topic.h"
#include "tests/support/test.h"

#include <stdio.h>
#include <stdlib.h>

static const struct hash_key key = {{1, 0x9e3779b97f4a7c15, 0xd6e8feb86659fd93, 77}};

/* A value is a pointer into this array; its place is its number. */
static char values[1 << 16];

static void put(struct retain *r, const char *topic, uint32_t number)
{
    void *old;

    assert_int_equal(retain_put(r, bytes_str(topic), &values[number], &old), OK);
}

static void *get(const struct retain *r, const char *topic)
{
    return retain_get(r, bytes_str(topic));
}

static void *take(struct retain *r, const char *topic)
{
    return retain_remove(r, bytes_str(topic));
}

struct seen {
    uint32_t count;
    uint32_t times[1 << 16];
};

static void see(void *ctx, struct bytes topic, void *value)
{
    struct seen *s = ctx;

    assert_true(topic.n > 0);
    s->count++;
    s->times[(char *)value - values]++;
}

static uint32_t match_count(struct retain *r, const char *filter)
{
    static struct seen s;
    struct retain_cursor c;

    memset(&s, 0, sizeof(s));
    assert_int_equal(retain_cursor_init(&c, r, bytes_str(filter)), OK);
    while (retain_cursor_next(&c, 1, see, &s))
        ;
    assert_false(retain_cursor_next(&c, 1, see, &s));
    retain_cursor_fini(&c);
    return s.count;
}

TEST(retain_keeps_the_last_value_of_a_topic)
{
    struct retain *r = retain_create(&key);
    uint64_t empty = retain_bytes(r);
    void *old;

    assert_null(get(r, "a/b"));
    assert_int_equal(retain_put(r, BYTES_LIT("a/b"), &values[1], &old), OK);
    assert_null(old);
    assert_int_equal(retain_put(r, BYTES_LIT("a/b"), &values[2], &old), OK);
    assert_ptr_equal(old, &values[1]);
    assert_ptr_equal(get(r, "a/b"), &values[2]);
    assert_null(get(r, "a"));
    assert_null(get(r, "/a/b"));
    assert_null(get(r, "a/b/"));
    assert_int_equal(retain_count(r), 1);
    assert_ptr_equal(take(r, "a/b"), &values[2]);
    assert_null(take(r, "a/b"));
    assert_int_equal(retain_count(r), 0);
    assert_int_equal(retain_bytes(r), empty);
    retain_destroy(r, NULL, NULL);
}

static void count_released(void *ctx, void *value)
{
    *(uint32_t *)ctx += (uint32_t)((char *)value - values);
}

TEST(retain_destroy_hands_out_every_value)
{
    struct retain *r = retain_create(&key);
    uint32_t sum = 0;

    put(r, "a", 1);
    put(r, "a/b", 10);
    put(r, "/", 100);
    retain_destroy(r, count_released, &sum);
    assert_int_equal(sum, 111);
    retain_destroy(NULL, NULL, NULL);
}

TEST(retain_cursor_matches_what_the_table_says)
{
    static const char *const topics[] = {"a",    "a/b", "a/",     "/",  "//",   "a//b", "a/b/c",
                                         "$SYS", "b",   "$SYS/x", "/a", "a/$x", "b/b"};
    static const struct {
        const char *filter;
        uint32_t count;
    } rows[] = {
        {"#", 11},     {"+", 2},      {"+/+", 6},  {"a/#", 6},     {"a", 1},         {"a/+", 3},
        {"+/b", 2},    {"/#", 3},     {"/+", 2},   {"//", 1},      {"+/+/+", 3},     {"a//+", 1},
        {"$SYS/#", 2}, {"$SYS/+", 1}, {"$SYS", 1}, {"+/#", 11},    {"x", 0},         {"x/#", 0},
        {"x/+", 0},    {"a/+/#", 5},  {"+/x", 0},  {"a/b/c/#", 1}, {"a/b/c/d/#", 0},
    };
    struct retain *r = retain_create(&key);

    for (uint32_t i = 0; i < sizeof(topics) / sizeof(topics[0]); i++)
        put(r, topics[i], i);
    for (uint32_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_int_equal(match_count(r, rows[i].filter), rows[i].count);
    retain_destroy(r, NULL, NULL);
}

static void text_is_right(void *ctx, struct bytes topic, void *value)
{
    (void)value;
    assert_true(bytes_eq(topic, *(struct bytes *)ctx));
}

TEST(retain_goes_as_deep_as_a_topic_can)
{
    static uint8_t text[2 * TOPIC_LEVELS_MAX - 1];
    struct bytes topic = bytes_of(text, sizeof(text));
    struct retain *r = retain_create(&key);
    struct retain_cursor c;
    void *old;

    memset(text, '/', sizeof(text));
    for (uint32_t i = 0; i < sizeof(text); i += 2)
        text[i] = 'x';
    assert_int_equal(retain_put(r, topic, &values[1], &old), OK);
    assert_int_equal(retain_cursor_init(&c, r, BYTES_LIT("+/x/#")), OK);
    assert_true(retain_cursor_next(&c, TOPIC_LEVELS_MAX - 1, text_is_right, &topic));
    (void)retain_cursor_next(&c, 1, text_is_right, &topic);
    assert_false(retain_cursor_next(&c, 1, text_is_right, &topic));
    retain_cursor_fini(&c);
    assert_ptr_equal(retain_remove(r, topic), &values[1]);
    retain_destroy(r, NULL, NULL);
}

TEST(retain_at_its_memory_bound_refuses_new_topics_and_stays_as_it_was)
{
    struct retain *r = retain_create(&key);
    uint64_t empty = retain_bytes(r);
    void *old;

    for (uint32_t room = 0; room < 2000; room += 16) {
        enum err err;

        retain_limit(r, empty + room - sizeof(void *) * 64);
        err = retain_put(r, BYTES_LIT("a/b/c/d/e/f"), &values[1], &old);
        if (err == OK)
            assert_ptr_equal(take(r, "a/b/c/d/e/f"), &values[1]);
        else
            assert_int_equal(err, ERR_MEMORY);
        assert_int_equal(retain_bytes(r), empty);
    }
    retain_destroy(r, NULL, NULL);
}

TEST(retain_cursor_may_be_dropped_at_any_time)
{
    struct retain *r = retain_create(&key);
    uint64_t empty = retain_bytes(r);
    static struct seen s;

    for (uint32_t steps = 0; steps < 8; steps++) {
        struct retain_cursor c;

        put(r, "a/b/c", 1);
        put(r, "a/d/c", 2);
        assert_int_equal(retain_cursor_init(&c, r, BYTES_LIT("a/+/#")), OK);
        (void)retain_cursor_next(&c, steps, see, &s);
        take(r, "a/b/c");
        take(r, "a/d/c");
        assert_int_equal(retain_count(r), 0);
        retain_cursor_fini(&c);
        assert_int_equal(retain_bytes(r), empty);
    }
    retain_destroy(r, NULL, NULL);
}

struct eater {
    struct retain *r;
    uint32_t count;
};

static void eat(void *ctx, struct bytes topic, void *value)
{
    struct eater *e = ctx;

    assert_ptr_equal(retain_remove(e->r, topic), value);
    e->count++;
}

TEST(retain_cursor_callback_may_remove_what_it_sees)
{
    struct retain *r = retain_create(&key);
    struct eater e = {.r = r};
    struct retain_cursor c;
    char text[32];

    for (uint32_t i = 0; i < 300; i++) {
        sprintf(text, "a/%u/%u", i % 7, i);
        put(r, text, i);
    }
    assert_int_equal(retain_cursor_init(&c, r, BYTES_LIT("#")), OK);
    while (retain_cursor_next(&c, 5, eat, &e))
        ;
    retain_cursor_fini(&c);
    assert_int_equal(e.count, 300);
    assert_int_equal(retain_count(r), 0);
    retain_destroy(r, NULL, NULL);
}

/* ---- random work against a list ---- */

static uint64_t draw(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed * 0x2545f4914f6cdd1dull >> 11;
}

#define LEVELS 4
#define WORDS 6
#define TOPICS (6 + 36 + 216 + 1296)

static const char *const words[WORDS] = {"a", "b", "", "$x", "ab", "+"};

/* Topic number i: every sequence of one to four words of the first five and "c". */
static void topic_text(char *text, uint32_t i)
{
    uint32_t levels = 1, size = WORDS;

    while (i >= size) {
        i -= size;
        size *= WORDS;
        levels++;
    }
    for (uint32_t l = 0; l < levels; l++, i /= WORDS)
        text += sprintf(text, "%s%s", l ? "/" : "", i % WORDS == 5 ? "c" : words[i % WORDS]);
}

static void draw_filter(uint64_t *seed, char *text)
{
    char *at = text;
    uint32_t levels = 1 + (uint32_t)(draw(seed) % LEVELS);

    do {
        at = text;
        for (uint32_t l = 0; l < levels; l++)
            at +=
                sprintf(at, "%s%s", l ? "/" : "", draw(seed) % 3 ? words[draw(seed) % WORDS] : "+");
        if (draw(seed) % 2)
            strcpy(at, at == text ? "#" : "/#");
    } while (!topic_filter_valid(bytes_str(text), 100));
}

struct topic_model {
    bool is_there, was_there_always;
    uint32_t times;
};

static struct topic_model model[TOPICS];

/* Puts or removes one topic in both. */
static void change(struct retain *r, uint64_t *seed)
{
    uint32_t i = (uint32_t)(draw(seed) % TOPICS);
    char text[64];
    void *old = NULL;

    topic_text(text, i);
    if (!*text)
        return;
    if (model[i].is_there && draw(seed) % 4) {
        assert_ptr_equal(take(r, text), &values[i]);
        model[i].is_there = model[i].was_there_always = false;
        return;
    }
    assert_int_equal(retain_put(r, bytes_str(text), &values[i], &old), OK);
    assert_ptr_equal(old, model[i].is_there ? &values[i] : NULL);
    model[i].is_there = true;
}

static void model_see(void *ctx, struct bytes topic, void *value)
{
    uint32_t i = (uint32_t)((char *)value - values);
    char text[64];

    topic_text(text, i);
    assert_true(bytes_eq(topic, bytes_str(text)));
    assert_true(topic_matches(bytes_str(ctx), topic));
    assert_true(model[i].is_there);
    model[i].times++;
}

static void walk_with_changes(struct retain *r, uint64_t *seed, char *filter)
{
    struct retain_cursor c, other;
    uint32_t changes = (uint32_t)(draw(seed) % 8);

    for (uint32_t i = 0; i < TOPICS; i++) {
        model[i].was_there_always = model[i].is_there;
        model[i].times = 0;
    }
    assert_int_equal(retain_cursor_init(&c, r, bytes_str(filter)), OK);
    assert_int_equal(retain_cursor_init(&other, r, BYTES_LIT("+/#")), OK);
    while (retain_cursor_next(&c, 1 + (uint32_t)(draw(seed) % 4), model_see, filter)) {
        static struct seen unused;

        (void)retain_cursor_next(&other, 3, see, &unused); /* pins other nodes meanwhile */
        for (uint32_t n = 0; n < changes; n++)
            change(r, seed);
    }
    retain_cursor_fini(&c);
    retain_cursor_fini(&other);
    for (uint32_t i = 0; i < TOPICS; i++) {
        char text[64];

        topic_text(text, i);
        if (model[i].was_there_always && topic_matches(bytes_str(filter), bytes_str(text)))
            assert_int_equal(model[i].times, 1);
    }
}

static void random_run(uint64_t seed)
{
    struct retain *r = retain_create(&key);
    uint64_t s = seed * 0x9e3779b97f4a7c15ull, empty = retain_bytes(r);
    char text[64];

    print_message("seed %llu\n", (unsigned long long)seed);
    memset(model, 0, sizeof(model));
    for (uint32_t round = 0; round < 120; round++) {
        for (uint32_t i = 0; i < 40; i++)
            change(r, &s);
        draw_filter(&s, text);
        walk_with_changes(r, &s, text);
    }
    for (uint32_t i = 0; i < TOPICS; i++) {
        topic_text(text, i);
        assert_ptr_equal(get(r, text), model[i].is_there ? &values[i] : NULL);
        take(r, text);
    }
    assert_int_equal(retain_count(r), 0);
    assert_int_equal(retain_bytes(r), empty);
    retain_destroy(r, NULL, NULL);
}

TEST(retain_cursor_sees_what_stays_once_while_others_come_and_go)
{
    for (uint64_t seed = 1; seed <= 5; seed++)
        random_run(seed);
}
