/* tests/link/test_covers.c -- which filter covers another, against the algebra. */
#include "link/covers.h"

#include "link/algebra.h"
#include "tests/link/vectors.h"

static const struct hash_key key = {{3, 1, 4, 1}};

#define FILTERS_MAX 200u
#define TEXT_MAX 24u

/* Filters that are in, and their texts. */
struct set {
    struct covers covers;
    struct cover place[FILTERS_MAX];
    char text[FILTERS_MAX][TEXT_MAX];
    uint32_t count;
};

static void put(struct set *s, const char *text)
{
    uint32_t i = s->count++;

    snprintf(s->text[i], TEXT_MAX, "%s", text);
    assert_true(covers_add(&s->covers, bytes_str(s->text[i]), &s->place[i]));
}

static const char *find(const struct set *s, const char *text)
{
    const struct cover *c = covers_find(&s->covers, bytes_str(text));

    return c ? s->text[c - s->place] : NULL;
}

static struct set *make(void)
{
    struct set *s = calloc(1, sizeof(*s));

    assert_non_null(s);
    covers_init(&s->covers, &key);
    return s;
}

static void drop(struct set *s)
{
    covers_fini(&s->covers);
    free(s);
}

TEST(covers_levels_are_met_as_the_algebra_says)
{
    struct set *s = make();

    put(s, "a/+/c");
    assert_string_equal(find(s, "a/b/c"), "a/+/c");
    assert_string_equal(find(s, "a/+/c"), "a/+/c");
    assert_null(find(s, "a/b"));
    assert_null(find(s, "a/b/c/d"));
    assert_null(find(s, "a/#"));
    assert_null(find(s, "+/b/c"));
    put(s, "b/#");
    assert_string_equal(find(s, "b"), "b/#");
    assert_string_equal(find(s, "b/+/+"), "b/#");
    assert_string_equal(find(s, "b/x/#"), "b/#");
    assert_string_equal(find(s, "b//"), "b/#");
    assert_null(find(s, "bb"));
    assert_null(find(s, "+"));
    assert_null(find(s, "#"));
    drop(s);
}

TEST(covers_dollar_is_hidden_from_a_leading_wildcard)
{
    struct set *s = make();

    put(s, "+/a");
    put(s, "#");
    assert_null(find(s, "$SYS/a"));
    assert_string_equal(find(s, "x/$SYS"), "#");
    put(s, "$SYS/+");
    assert_string_equal(find(s, "$SYS/a"), "$SYS/+");
    drop(s);
}

TEST(covers_nothing_is_left_of_what_was_taken_out)
{
    struct set *s = make();

    put(s, "a/b/+");
    put(s, "a/b/#");
    covers_remove(&s->covers, &s->place[1]);
    assert_string_equal(find(s, "a/b/c"), "a/b/+");
    covers_remove(&s->covers, &s->place[0]);
    covers_remove(&s->covers, &s->place[0]);
    assert_null(find(s, "a/b/c"));
    assert_int_equal(s->covers.nodes.count, 0);
    drop(s);
}

/* 12 levels that are each `0` or `+`: literals come first, so the way of the last filter would be
 * gone last, and the search has given up before. */
TEST(covers_search_is_bounded)
{
    enum { LEVELS = 12, WAYS = 1 << LEVELS }; /* more than COVERS_VISITS_MAX */
    struct cover *places = calloc(WAYS, sizeof(*places));
    struct covers covers;
    char f[64];

    assert_non_null(places);
    covers_init(&covers, &key);
    for (uint32_t bits = 0; bits < WAYS; bits++) {
        for (int i = 0; i < LEVELS; i++)
            snprintf(f + 2 * i, 3, "%s/", bits >> i & 1 ? "+" : "0");
        snprintf(f + 2 * LEVELS, 8, "%s", bits == WAYS - 1 ? "y/+" : "x/+");
        assert_true(covers_add(&covers, bytes_str(f), &places[bits]));
    }
    assert_ptr_equal(covers_find(&covers, BYTES_LIT("0/0/0/0/0/0/0/0/0/0/0/0/x/1")), &places[0]);
    assert_null(covers_find(&covers, BYTES_LIT("0/0/0/0/0/0/0/0/0/0/0/0/y/1")));
    assert_ptr_equal(covers_find(&covers, BYTES_LIT("1/1/1/1/1/1/1/1/1/1/1/1/y/1")),
                     &places[WAYS - 1]);
    covers_fini(&covers);
    free(places);
}

static void draw_filter(uint64_t *seed, char text[TEXT_MAX])
{
    static const char *const levels[] = {"a", "b", "", "+", "+", "$x"};
    uint32_t count = 1 + (uint32_t)(draw(seed) % 4);

    text[0] = '\0';
    for (uint32_t i = 0; i < count; i++)
        snprintf(text + strlen(text), TEXT_MAX - strlen(text), "%s%s", i ? "/" : "",
                 levels[draw(seed) % 6]);
    if (draw(seed) % 4 == 0)
        snprintf(text + strlen(text), TEXT_MAX - strlen(text), "/#");
    if (draw(seed) % 40 == 0)
        snprintf(text, TEXT_MAX, "#");
    if (!text[0])
        snprintf(text, TEXT_MAX, "+");
}

TEST(covers_random_sets_answer_as_every_filter_asked_in_turn)
{
    for (uint64_t start = 1; start <= 200; start++) {
        struct set *s = make();
        uint64_t seed = start;
        bool in[FILTERS_MAX] = {false};
        char text[TEXT_MAX];

        for (int step = 0; step < 400; step++) {
            uint32_t same = 0, i = (uint32_t)(draw(&seed) % FILTERS_MAX);
            bool expected = false;

            draw_filter(&seed, text);
            while (same < s->count && !(in[same] && strcmp(s->text[same], text) == 0))
                same++;
            if (draw(&seed) % 3 == 0 && same == s->count && s->count < FILTERS_MAX &&
                strpbrk(text, "+#")) {
                in[s->count] = true;
                put(s, text);
            } else if (i < s->count && draw(&seed) % 4 == 0) {
                covers_remove(&s->covers, &s->place[i]);
                in[i] = false;
            }
            draw_filter(&seed, text);
            for (uint32_t k = 0; k < s->count; k++)
                expected |= in[k] && algebra_subset(bytes_str(text), bytes_str(s->text[k]));
            if (expected != (find(s, text) != NULL))
                fprintf(stderr, "seed %llu: %s\n", (unsigned long long)start, text);
            assert_int_equal(expected, find(s, text) != NULL);
            if (expected)
                assert_true(algebra_subset(bytes_str(text), bytes_str(find(s, text))));
        }
        for (uint32_t k = 0; k < s->count; k++)
            covers_remove(&s->covers, &s->place[k]);
        assert_int_equal(s->covers.nodes.count, 0);
        drop(s);
    }
}
