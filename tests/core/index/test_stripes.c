/* tests/core/index/test_stripes.c -- a changed filter changes the view of all topics it matches. */
#include "core/index/index.h"
#include "core/mqtt/topic.h"
#include "tests/support/test.h"

#include <stdio.h>

static const struct hash_key key = {{3, 0x9e3779b97f4a7c15, 0xd6e8feb86659fd93, 1}};

static struct stripe_view view(const struct stripes *s, const char *topic)
{
    struct stripe_places places =
        stripes_places(&key, bytes_str(topic), hash_bytes(&key, bytes_str(topic)));

    return stripes_view(s, &places);
}

static bool is_same(struct stripe_view a, struct stripe_view b)
{
    return memcmp(a.version, b.version, sizeof a.version) == 0;
}

/* Whether touching the filter changes the view of the topic. */
static bool changes(struct stripes *s, const char *filter, const char *topic)
{
    struct stripe_view before = view(s, topic);

    stripes_touch(s, &key, bytes_str(filter));
    return !is_same(before, view(s, topic));
}

TEST(stripes_of_a_filter_are_those_of_the_topics_it_matches)
{
    struct stripes *s = stripes_create();

    assert_true(changes(s, "a/b/c", "a/b/c"));
    assert_true(changes(s, "a/b/#", "a/b"));
    assert_true(changes(s, "a/b/+", "a/b/c"));
    assert_true(changes(s, "a/#", "a"));
    assert_true(changes(s, "a/+/c", "a/b/c"));
    assert_true(changes(s, "#", "a"));
    assert_true(changes(s, "+", "/"));
    assert_true(changes(s, "/#", "/"));
    assert_true(changes(s, "//+", "//"));
    stripes_destroy(s);
}

TEST(stripes_of_a_filter_leave_most_other_topics_alone)
{
    struct stripes *s = stripes_create();
    uint32_t stale = 0;
    char filter[32];

    for (uint32_t i = 0; i < 100; i++) {
        sprintf(filter, "fleet/%u", i);
        stale += changes(s, filter, "fleet/x");
        sprintf(filter, "fleet/%u/#", i);
        stale += changes(s, filter, "fleet/x");
        sprintf(filter, "f%u/+", i);
        stale += changes(s, filter, "fleet/x");
    }
    assert_true(stale <= 3); /* by chance, one in 4,096 for each stripe looked at */
    assert_false(changes(s, "#", "$SYS/x"));
    assert_false(changes(s, "+/x", "$SYS/x"));
    stripes_destroy(s);
}

static uint64_t draw(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed * 0x2545f4914f6cdd1dull >> 11;
}

static void draw_text(uint64_t *seed, char *text, bool is_filter)
{
    static const char *const words[] = {"a", "b", "", "$x", "a", "+", "#"};
    uint32_t levels = 1 + (uint32_t)(draw(seed) % 4);
    struct bytes b;

    do {
        char *at = text;

        for (uint32_t l = 0; l < levels; l++)
            at += sprintf(at, "%s%s", l ? "/" : "", words[draw(seed) % (is_filter ? 7 : 5)]);
        b = bytes_str(text);
    } while (is_filter ? !topic_filter_valid(b, 9) : !topic_name_valid(b, 9));
}

TEST(stripes_change_for_every_topic_a_random_filter_matches)
{
    struct stripes *s = stripes_create();
    uint64_t seed = 4711;
    uint32_t matches = 0;

    print_message("seed %llu\n", (unsigned long long)seed);
    for (uint32_t i = 0; i < 100000; i++) {
        char filter[64], topic[64];

        draw_text(&seed, filter, true);
        draw_text(&seed, topic, false);
        if (topic_matches(bytes_str(filter), bytes_str(topic))) {
            matches++;
            assert_true(changes(s, filter, topic));
        }
    }
    assert_true(matches > 1000);
    stripes_destroy(s);
}
