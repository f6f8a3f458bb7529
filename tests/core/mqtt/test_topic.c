/* tests/core/mqtt/test_topic.c -- names, filters, matching and coverage, mostly as tables. */
#include "tests/support/test.h"

#include "core/base/limits.h"
#include "core/mqtt/topic.h"
#include "tests/core/mqtt/wire.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))
#define LEVELS 200

/* A view of an exact heap copy of a string. */
static struct bytes copy(const char *s)
{
    return bytes_of(exact_copy((const uint8_t *)s, strlen(s)), strlen(s));
}

static void expect(bool is, bool should, const char *a, const char *b)
{
    if (is != should)
        fail_msg("'%s' and '%s': %s, but should %s", a, b, is ? "yes" : "no",
                 should ? "yes" : "no");
}

TEST(utf8_is_judged_by_rfc3629_without_nul)
{
    static const struct {
        const char *text;
        bool valid;
    } cases[] = {
        {"", true},
        {"'a'", true},
        {"'plain text of more than eight bytes'", true},
        {"c3a4", true},          /* U+00E4 */
        {"e282ac", true},        /* U+20AC */
        {"f0aa9b94", true},      /* U+2A6D4 [MQTT5 1.5.4] */
        {"'A' f0aa9b94", true},  /* the example of that section */
        {"efbbbf 'a'", true},    /* U+FEFF is not taken off [MQTT-1.5.4-3] */
        {"ed9fbf", true},        /* U+D7FF */
        {"ee8080", true},        /* U+E000 */
        {"f48fbfbf", true},      /* U+10FFFF */
        {"01 1f 7f c280", true}, /* control characters are let through */
        {"efbfbf", true},        /* so are non-characters */
        {"'a234567' c3a4 'b2345678'", true},
        {"'a2345678' c3a4", true},
        {"00", false}, /* [MQTT-1.5.4-2] */
        {"'abc' 00 'defgh'", false},
        {"'abcdefgh' 00", false},
        {"00 'abcdefgh'", false},
        {"80", false}, /* a tail without a head */
        {"c3", false}, /* cut off */
        {"'a2345678' c3", false},
        {"e282", false},
        {"f0aa9b", false},
        {"c080", false}, /* NUL, made longer */
        {"c1bf", false},
        {"e09fbf", false},
        {"f08fbfbf", false},
        {"eda080", false},   /* U+D800 [MQTT-1.5.4-1] */
        {"edbfbf", false},   /* U+DFFF */
        {"f4908080", false}, /* U+110000 */
        {"f5808080", false},
        {"ff", false},
        {"fe", false},
        {"c3 'a'", false},
        {"e282 'a'", false},
        {"f0aa9b 'a'", false},
        {"'a234567' c3", false},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct bytes b = wire(cases[i].text);

        expect(utf8_valid(b), cases[i].valid, cases[i].text, "");
        wire_free(b);
    }
}

TEST(every_place_of_a_bad_byte_is_found)
{
    static const uint8_t bad[] = {0, '+', '#', 0x80, 0xFF};
    uint8_t text[40];

    for (uint32_t n = 1; n <= sizeof(text); n++) {
        for (uint32_t at = 0; at < n; at++) {
            for (size_t k = 0; k < COUNT(bad); k++) {
                struct bytes b;

                memset(text, 'a', sizeof(text));
                text[at] = bad[k];
                b = bytes_of(exact_copy(text, n), n);
                assert_false(topic_name_valid(b, LEVELS));
                assert_int_equal(utf8_valid(b), bad[k] == '+' || bad[k] == '#');
                wire_free(b);
            }
        }
    }
}

TEST(names_have_text_and_no_wildcard)
{
    static const struct {
        const char *name;
        bool valid;
    } cases[] = {
        {"a", true},
        {"/", true},
        {"//", true},
        {"a b", true},
        {"/finance", true},
        {"sport/tennis/", true},
        {"$SYS/x", true},
        {"$share", true},
        {"a,b(c)*d\"e", true},
        {"", false},
        {"#", false},
        {"+", false},
        {"a/#", false},
        {"a/+/b", false},
        {"a+", false},
        {"a#", false},
        {"sport/tennis#", false},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct bytes b = copy(cases[i].name);

        expect(topic_name_valid(b, LEVELS), cases[i].valid, cases[i].name, "");
        wire_free(b);
    }
    assert_false(topic_name_valid((struct bytes){0}, LEVELS));
}

TEST(filters_have_wildcards_only_as_whole_levels)
{
    static const struct {
        const char *filter;
        bool valid;
    } cases[] = {
        {"#", true},
        {"+", true},
        {"/", true},
        {"sport/tennis/#", true},
        {"+/+", true},
        {"/+", true},
        {"+/", true},
        {"+/tennis/#", true},
        {"sport/+/player1", true},
        {"a//b", true},
        {"/#", true},
        {"$SYS/#", true},
        {"a", true},
        {"", false},
        {"sport/tennis#", false},
        {"sport/tennis/#/ranking", false},
        {"sport+", false},
        {"+sport", false},
        {"a/+b/c", false},
        {"a/b+/c", false},
        {"##", false},
        {"#/", false},
        {"++", false},
        {"+#", false},
        {"#+", false},
        {"a/#b", false},
        {"a#", false},
        {"/a#/", false},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct bytes b = copy(cases[i].filter);

        expect(topic_filter_valid(b, LEVELS), cases[i].valid, cases[i].filter, "");
        wire_free(b);
    }
    assert_false(topic_filter_valid((struct bytes){0}, LEVELS));
}

TEST(levels_and_bytes_are_bounded)
{
    static uint8_t slashes[TOPIC_BYTES_MAX + 1];
    struct bytes b = {slashes, TOPIC_BYTES_MAX};

    memset(slashes, '/', sizeof(slashes));
    assert_false(topic_name_valid(b, LEVELS)); /* CVE-2019-11779 */
    assert_false(topic_filter_valid(b, LEVELS));
    assert_true(topic_name_valid(b, UINT32_MAX));
    assert_true(topic_matches(b, b));
    assert_true(topic_filter_covers(b, b));
    b.n = TOPIC_BYTES_MAX + 1;
    assert_false(topic_name_valid(b, UINT32_MAX)); /* [MQTT-4.7.3-3] */
    assert_false(topic_filter_valid(b, UINT32_MAX));

    assert_true(topic_name_valid(BYTES_LIT("a/b/c"), 3));
    assert_false(topic_name_valid(BYTES_LIT("a/b/c"), 2));
    assert_true(topic_filter_valid(BYTES_LIT("a/b/#"), 3));
    assert_false(topic_filter_valid(BYTES_LIT("a/b/#"), 2));
    assert_true(topic_filter_valid(BYTES_LIT("a"), 1));
}

TEST(wildcards_are_seen)
{
    assert_true(topic_has_wildcard(BYTES_LIT("a/+")));
    assert_true(topic_has_wildcard(BYTES_LIT("#")));
    assert_false(topic_has_wildcard(BYTES_LIT("a/b")));
    assert_false(topic_has_wildcard((struct bytes){0}));
}

TEST(share_prefix_is_split_or_refused)
{
    static const struct {
        const char *text;
        enum err err;
        const char *group, *filter; /* group NULL: not shared */
    } cases[] = {
        {"a/b", OK, NULL, "a/b"},
        {"", OK, NULL, ""},
        {"$share", OK, NULL, "$share"},
        {"$shared/g/f", OK, NULL, "$shared/g/f"},
        {"$SHARE/g/f", OK, NULL, "$SHARE/g/f"},
        {"a/$share/g/f", OK, NULL, "a/$share/g/f"},
        {"$queue", OK, NULL, "$queue"},
        {"$share/g/f", OK, "g", "f"},
        {"$share/g//", OK, "g", "/"},
        {"$share/group/a/+/#", OK, "group", "a/+/#"},
        {"$share/g/$SYS/#", OK, "g", "$SYS/#"},
        {"$share/g/$share/h/f", OK, "g", "$share/h/f"},
        {"$queue/a/b", OK, "$queue", "a/b"},
        {"$share/", ERR_PEER, NULL, NULL},
        {"$share/ab", ERR_PEER, NULL, NULL}, /* CVE-2025-68699 */
        {"$share//", ERR_PEER, NULL, NULL},
        {"$share//f", ERR_PEER, NULL, NULL},
        {"$share/g/", ERR_PEER, NULL, NULL},
        {"$share/g+/f", ERR_PEER, NULL, NULL},
        {"$share/#/f", ERR_PEER, NULL, NULL},
        {"$share/+/f", ERR_PEER, NULL, NULL},
        {"$queue/", ERR_PEER, NULL, NULL},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct bytes b = copy(cases[i].text), group, filter;
        bool is_shared;

        expect(topic_split_share(b, &is_shared, &group, &filter) == OK, cases[i].err == OK,
               cases[i].text, "");
        if (cases[i].err == OK) {
            expect(is_shared, cases[i].group != NULL, cases[i].text, "");
            assert_true(bytes_eq(filter, bytes_str(cases[i].filter)));
            if (is_shared)
                assert_true(bytes_eq(group, bytes_str(cases[i].group)));
        }
        wire_free(b);
    }
}

static const struct {
    const char *filter, *topic;
    bool matches;
} matching[] = {
    {"sport/tennis/player1/#", "sport/tennis/player1", true},
    {"sport/tennis/player1/#", "sport/tennis/player1/ranking", true},
    {"sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true},
    {"sport/tennis/player1/#", "sport/tennis/player10", false},
    {"sport/#", "sport", true},
    {"sport/#", "sport/", true},
    {"sport/#", "sports", false},
    {"#", "a", true},
    {"#", "/", true},
    {"#", "/a/b", true},
    {"sport/tennis/+", "sport/tennis/player1", true},
    {"sport/tennis/+", "sport/tennis/player1/ranking", false},
    {"sport/+", "sport", false},
    {"sport/+", "sport/", true},
    {"+/+", "/finance", true},
    {"/+", "/finance", true},
    {"+", "/finance", false},
    {"+", "finance", true},
    {"+/", "a/", true},
    {"+/", "a", false},
    {"+/+", "/", true},
    {"+//+", "a//b", true},
    {"+/#", "a", true},
    {"+/#", "/", true},
    {"+/+/#", "a", false},
    {"+/+/#", "a/b", true},
    {"a/+/c", "a//c", true},
    {"a/+/c", "a/b/b/c", false},
    {"a/b", "a/b", true},
    {"a/b", "a/b/", false},
    {"a/b/", "a/b", false},
    {"a/b", "A/b", false}, /* [MQTT-4.7.3-4] */
    {"a", "ab", false},
    {"ab", "a", false},
    {"/", "/", true},
    {"a//#", "a/", true},
    {"a//#", "a", false},
    {"a/#", "b", false},
    {"#", "$SYS/x", false}, /* [MQTT-4.7.2-1] */
    {"+/monitor/Clients", "$SYS/monitor/Clients", false},
    {"+/#", "$SYS/x", false},
    {"+", "$SYS", false},
    {"$SYS/#", "$SYS/monitor", true},
    {"$SYS/#", "$SYS", true},
    {"$SYS/+/x", "$SYS/a/x", true},
    {"a/+", "a/$x", true},
    {"a/#", "a/$x", true},
    {"+/$x", "a/$x", true},
};

TEST(filter_matches_what_the_specification_says)
{
    for (size_t i = 0; i < COUNT(matching); i++) {
        struct bytes f = copy(matching[i].filter), t = copy(matching[i].topic);

        expect(topic_matches(f, t), matching[i].matches, matching[i].filter, matching[i].topic);
        wire_free(f);
        wire_free(t);
    }
}

static const struct {
    const char *wide, *narrow;
    bool covers;
} covering[] = {
    {"a/b", "a/b", true},       {"a/b", "a/c", false},
    {"a/b", "a/b/c", false},    {"a/b/c", "a/b", false},
    {"a/+", "a/b", true},       {"a/+", "a/+", true},
    {"a/+", "a/", true},        {"a/+", "a", false},
    {"a/+", "a/#", false},      {"a/+", "a/b/c", false},
    {"a/b", "a/+", false},      {"+/+", "a/+", true},
    {"+/b", "a/b", true},       {"a/+", "+/b", false},
    {"#", "a", true},           {"#", "#", true},
    {"#", "+", true},           {"#", "a/b/#", true},
    {"a/#", "a", true},         {"a/#", "a/#", true},
    {"a/#", "a/+", true},       {"a/#", "a/+/#", true},
    {"a/#", "ab", false},       {"a/#", "#", false},
    {"a/#", "+/b", false},      {"a/+/#", "a/b", true},
    {"a/+/#", "a/b/#", true},   {"a/+/#", "a/#", false},
    {"a/+/#", "a", false},      {"a", "a/#", false},
    {"+/#", "#", true}, /* both match every topic */
    {"+/#", "+/#", true},       {"+/+/#", "#", false},
    {"/+/#", "/#", true}, /* an empty topic does not exist */
    {"a/+/#", "+/#", false},    {"+/+", "#", false},
    {"/#", "#", false},         {"#", "$SYS/x", false},
    {"#", "$SYS/#", false},     {"+/x", "$SYS/x", false},
    {"+/#", "$SYS/#", false},   {"$SYS/#", "$SYS/x", true},
    {"$SYS/+", "$SYS/x", true}, {"$SYS/#", "#", false},
    {"a/#", "a/$x", true},
};

TEST(wide_filter_covers_narrow_one)
{
    for (size_t i = 0; i < COUNT(covering); i++) {
        struct bytes w = copy(covering[i].wide), n = copy(covering[i].narrow);

        expect(topic_filter_covers(w, n), covering[i].covers, covering[i].wide, covering[i].narrow);
        wire_free(w);
        wire_free(n);
    }
}

TEST(levels_come_one_by_one)
{
    static const struct {
        const char *text, *levels[4];
    } cases[] = {
        {"", {""}},
        {"a", {"a"}},
        {"/", {"", ""}},
        {"a/", {"a", ""}},
        {"/a", {"", "a"}},
        {"a//b", {"a", "", "b"}},
        {"ab/c/d", {"ab", "c", "d"}},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct bytes b = copy(cases[i].text), rest = b, level;
        bool first = true;
        size_t k = 0;

        for (; topic_next_level(&rest, &first, &level); k++) {
            assert_non_null(cases[i].levels[k]);
            assert_true(bytes_eq(level, bytes_str(cases[i].levels[k])));
        }
        assert_null(cases[i].levels[k]);
        assert_false(topic_next_level(&rest, &first, &level));
        wire_free(b);
    }
}

#define TEXTS_MAX 1024

/* All texts of up to `levels` levels out of `parts`, without the empty text. */
static size_t all_texts(const char *const *parts, size_t part_count, unsigned levels,
                        char (*out)[16])
{
    size_t count = 0, from = 0;

    for (size_t k = 0; k < part_count; k++)
        snprintf(out[count++], sizeof(*out), "%s", parts[k]);
    for (unsigned level = 1; level < levels; level++) {
        size_t to = count;

        for (; from < to; from++) {
            for (size_t k = 0; k < part_count; k++) {
                assert_true(count < TEXTS_MAX);
                snprintf(out[count++], sizeof(*out), "%.8s/%.4s", out[from], parts[k]);
            }
        }
    }
    return count;
}

/* Whether `wide` matches each of the topics that `narrow` matches. */
static bool covers_all(struct bytes wide, struct bytes narrow, char (*topics)[16], size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct bytes t = bytes_str(topics[i]);

        if (t.n && topic_matches(narrow, t) && !topic_matches(wide, t))
            return false;
    }
    return true;
}

TEST(coverage_is_exact_for_all_small_filters)
{
    static const char *const filter_parts[] = {"", "a", "$a", "+", "#"};
    static const char *const topic_parts[] = {"", "a", "$a", "z"};
    static char filters[TEXTS_MAX][16], topics[TEXTS_MAX][16];
    size_t filter_count = all_texts(filter_parts, COUNT(filter_parts), 3, filters);
    size_t topic_count = all_texts(topic_parts, COUNT(topic_parts), 4, topics);

    for (size_t i = 0; i < filter_count; i++) {
        struct bytes w = bytes_str(filters[i]);

        for (size_t k = 0; k < filter_count && topic_filter_valid(w, LEVELS); k++) {
            struct bytes n = bytes_str(filters[k]);

            if (topic_filter_valid(n, LEVELS))
                expect(topic_filter_covers(w, n), covers_all(w, n, topics, topic_count), filters[i],
                       filters[k]);
        }
    }
}
