/* tests/link/test_algebra.c -- filter algebra against golden vectors and against brute force. */
#include "link/algebra.h"

#include "core/base/limits.h"
#include "core/mqtt/topic.h"
#include "tests/link/vectors.h"

#define FILTERS_MAX 32

/* Splits a column at blanks. */
static uint32_t split(char *text, struct bytes out[FILTERS_MAX])
{
    uint32_t count = 0;
    char *word;

    while (text && *text && (word = strsep(&text, " "))) {
        assert_true(count < FILTERS_MAX);
        out[count++] = bytes_str(word);
    }
    return count;
}

/* Whether two lists hold the same filters, in any order. */
static bool same_set(const struct bytes *a, uint32_t an, const struct bytes *b, uint32_t bn)
{
    uint32_t found = 0;

    for (uint32_t i = 0; i < an; i++)
        for (uint32_t k = 0; k < bn; k++)
            found += bytes_eq(a[i], b[k]);
    return an == bn && found == an;
}

TEST(algebra_intersects_as_the_vectors_say)
{
    struct vectors v = vectors_open();
    uint32_t count = 0;

    for (; vectors_next(&v, "intersection"); count++) {
        struct bytes a = bytes_str(v.column[1]), b = bytes_str(v.column[2]), got[2];
        bool is_none = strcmp(v.column[3], "!none") == 0;
        uint8_t text[2][256];

        for (int k = 0; k < 2; k++) {
            enum err e = algebra_intersect(k ? b : a, k ? a : b, text[k], sizeof(text[k]), &got[k]);

            assert_int_equal(e, is_none ? ERR_NONE : OK);
            if (!is_none)
                assert_true(bytes_eq(got[k], bytes_str(v.column[3])));
        }
        assert_int_equal(algebra_subset(a, b), v.column[4][0] == '1');
        assert_int_equal(algebra_subset(b, a), v.column[5][0] == '1');
    }
    assert_int_equal(count, 24);
}

TEST(algebra_reduces_as_the_vectors_say)
{
    struct vectors v = vectors_open();
    uint32_t count = 0;

    for (; vectors_next(&v, "union"); count++) {
        struct bytes set[FILTERS_MAX], want[FILTERS_MAX];
        uint32_t n = split(v.column[1], set), wanted = split(v.column[2], want);

        n = algebra_reduce(set, n);
        assert_true(same_set(set, n, want, wanted));
    }
    assert_int_equal(count, 6);
}

TEST(algebra_computes_routes_as_the_vectors_say)
{
    struct vectors v = vectors_open();
    uint32_t count = 0;

    for (; vectors_next(&v, "routes"); count++) {
        struct bytes topics[FILTERS_MAX], reduced[FILTERS_MAX], want[FILTERS_MAX];
        struct bytes got[FILTERS_MAX];
        uint32_t topic_count = split(v.column[2], topics), got_count;
        uint32_t reduced_count = split(v.column[3], reduced), wanted = split(v.column[4], want);
        uint8_t text[4096];

        topic_count = algebra_reduce(topics, topic_count);
        assert_true(same_set(topics, topic_count, reduced, reduced_count));
        assert_int_equal(algebra_routes(bytes_str(v.column[1]), topics, topic_count, text,
                                        sizeof(text), got, &got_count),
                         OK);
        assert_true(same_set(got, got_count, want, wanted));
    }
    assert_int_equal(count, 12);
}

TEST(algebra_computes_the_routes_of_the_protocol_description)
{
    struct bytes topics[] = {BYTES_LIT("t/+/1/#"), BYTES_LIT("t/z"), BYTES_LIT("t/1/+")};
    struct bytes want[] = {BYTES_LIT("t/1/+"), BYTES_LIT("t/+/1")}, got[3];
    uint8_t text[64];
    uint32_t count;

    assert_int_equal(algebra_routes(BYTES_LIT("t/+/+"), topics, 3, text, sizeof(text), got, &count),
                     OK);
    assert_true(same_set(got, count, want, 2));
}

TEST(algebra_says_full_when_the_text_has_no_room)
{
    struct bytes a = BYTES_LIT("t/global/#"), b = BYTES_LIT("t/+/1/+"), out;
    uint8_t text[16];

    for (uint32_t room = 0; room < 12; room++)
        assert_int_equal(algebra_intersect(a, b, text, room, &out), ERR_FULL);
    assert_int_equal(algebra_intersect(a, b, text, 12, &out), OK);
    assert_int_equal(algebra_intersect(BYTES_LIT("a/b"), BYTES_LIT("a/+"), NULL, 0, &out), OK);
}

/* ---- brute force: all filters and topics of few levels over a small alphabet ---- */

struct pool {
    char text[2000][16];
    uint32_t count;
};

static void pool_grow(struct pool *p, const char *prefix, int levels, const char *const *words,
                      uint32_t word_count)
{
    for (uint32_t i = 0; i < word_count; i++) {
        char *t = p->text[p->count];

        assert_true(p->count < 2000);
        snprintf(t, 16, "%s%s", prefix, words[i]);
        p->count += t[0] != '\0';
        if (levels > 1 && strcmp(words[i], "#") != 0) {
            char longer[16];

            snprintf(longer, sizeof(longer), "%s%s/", prefix, words[i]);
            pool_grow(p, longer, levels - 1, words, word_count);
        }
    }
}

static struct pool filters, topics;

static void make_pools(void)
{
    static const char *const filter_words[] = {"a", "", "$s", "+", "#"};
    static const char *const topic_words[] = {"a", "b", "", "$s"};

    if (filters.count)
        return;
    pool_grow(&filters, "", 3, filter_words, 5);
    pool_grow(&topics, "", 4, topic_words, 4);
}

TEST(algebra_intersection_matches_exactly_what_both_match)
{
    make_pools();
    for (uint32_t i = 0; i < filters.count; i++) {
        for (uint32_t k = 0; k <= i; k++) {
            struct bytes a = bytes_str(filters.text[i]), b = bytes_str(filters.text[k]), both;
            uint8_t text[32];
            enum err e = algebra_intersect(a, b, text, sizeof(text), &both);

            assert_true(e == OK || e == ERR_NONE);
            assert_true(e == ERR_NONE || both.n == 0 || topic_filter_valid(both, 10));
            for (uint32_t t = 0; t < topics.count; t++) {
                struct bytes topic = bytes_str(topics.text[t]);
                bool is_in = topic_matches(a, topic) && topic_matches(b, topic);

                assert_int_equal(e == OK && topic_matches(both, topic), is_in);
            }
        }
    }
}

TEST(algebra_subset_agrees_with_intersection_and_with_coverage)
{
    uint32_t apart = 0;

    make_pools();
    for (uint32_t i = 0; i < filters.count; i++) {
        for (uint32_t k = 0; k < filters.count; k++) {
            struct bytes a = bytes_str(filters.text[i]), b = bytes_str(filters.text[k]), both;
            uint8_t text[32];
            bool is_subset = algebra_subset(a, b);
            enum err e = algebra_intersect(a, b, text, sizeof(text), &both);

            assert_int_equal(is_subset, e == OK && bytes_eq(both, a));
            if (is_subset == topic_filter_covers(b, a))
                continue;
            /* coverage knows that no topic is empty: `#` within `+/#`, `/#` within `/+/#` */
            assert_false(is_subset);
            for (uint32_t t = 0; t < topics.count; t++)
                assert_true(!topic_matches(a, bytes_str(topics.text[t])) ||
                            topic_matches(b, bytes_str(topics.text[t])));
            apart++;
        }
    }
    assert_in_range(apart, 1, 4);
}

TEST(algebra_reduce_loses_no_topic_and_keeps_nothing_covered)
{
    uint64_t seed = 1;

    make_pools();
    for (int round = 0; round < 2000; round++) {
        struct bytes before[6], after[6];
        uint32_t n = 1 + (uint32_t)(draw(&seed) % 6), left;

        for (uint32_t i = 0; i < n; i++)
            before[i] = after[i] = bytes_str(filters.text[draw(&seed) % filters.count]);
        left = algebra_reduce(after, n);
        assert_true(left >= 1);
        for (uint32_t i = 0; i < left; i++)
            for (uint32_t k = 0; k < left; k++)
                assert_true(i == k || !algebra_subset(after[i], after[k]));
        for (uint32_t i = 0; i < n; i++) {
            bool is_kept = false;

            for (uint32_t k = 0; k < left; k++)
                is_kept |= algebra_subset(before[i], after[k]);
            assert_true(is_kept);
        }
    }
}
