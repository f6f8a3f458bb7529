/* tests/link/test_exported.c -- routes, cut to what a link exports. */
#include "tests/support/test.h"

#include <stdio.h>

#include "core/mqtt/topic.h"
#include "link/exported.h"

/* Parts as "filter=id ", a NUL in an id as '|'. */
static char parts[1024];

static enum err on_part(void *arg, struct bytes filter, struct bytes id)
{
    const enum err *answer = arg;
    size_t n = strlen(parts);

    n += (size_t)snprintf(parts + n, sizeof(parts) - n, "%.*s=", (int)filter.n, filter.p);
    for (uint32_t i = 0; i < id.n; i++)
        parts[n++] = id.p[i] ? (char)id.p[i] : '|';
    snprintf(parts + n, sizeof(parts) - n, " ");
    return *answer;
}

/* Of a link that exports up to three filters. */
static enum err cut(const char *a, const char *b, const char *c, const char *filter, const char *id)
{
    struct bytes exports[3] = {bytes_str(a ? a : ""), bytes_str(b ? b : ""), bytes_str(c ? c : "")};
    struct cfg_link link = {.exports = exports, .export_count = c ? 3 : b ? 2 : a ? 1 : 0};
    enum err answer = OK;
    uint8_t scratch[512];

    memset(parts, 0, sizeof(parts));
    return exported_parts(&link, bytes_str(filter), bytes_str(id), scratch, sizeof(scratch),
                          on_part, &answer);
}

TEST(exported_hands_on_as_it_is_what_is_covered)
{
    assert_int_equal(cut("#", NULL, NULL, "a/+", "$s/g/a/+"), OK);
    assert_string_equal(parts, "a/+=$s/g/a/+ ");
    assert_int_equal(cut("x", "a/#", NULL, "a/b/+", "i"), OK);
    assert_string_equal(parts, "a/b/+=i ");
}

TEST(exported_cuts_what_is_covered_in_part)
{
    assert_int_equal(cut("a/#", "b/+", "c", "#", "#"), OK);
    assert_string_equal(parts, "a/#=#|# b/+=#|# c=#|# ");
    assert_int_equal(cut("+/b", NULL, NULL, "a/+", "i"), OK);
    assert_string_equal(parts, "a/b=a/+|i ");
    assert_int_equal(cut("+/b", NULL, NULL, "a/#", "i"), OK);
    assert_string_equal(parts, "a/b=a/#|i "); /* another route */
}

TEST(exported_gives_nothing_of_what_is_not_exported)
{
    assert_int_equal(cut(NULL, NULL, NULL, "a", "a"), ERR_NONE);
    assert_int_equal(cut("a/#", NULL, NULL, "b", "b"), ERR_NONE);
    assert_int_equal(cut("#", NULL, NULL, "$SYS/#", "$SYS/#"), ERR_NONE);
    assert_int_equal(cut("#", "$SYS/broker/+", NULL, "$SYS/#", "$SYS/#"), OK);
    assert_string_equal(parts, "$SYS/broker/+=$SYS/#|$SYS/# ");
}

TEST(exported_says_full_and_hands_out_nothing_without_scratch_memory)
{
    struct bytes export = BYTES_LIT("+/b");
    struct cfg_link link = {.exports = &export, .export_count = 1};
    enum err answer = OK;
    uint8_t scratch[16];

    memset(parts, 0, sizeof(parts));
    for (uint32_t room = 0; room < 8; room++)
        assert_int_equal(exported_parts(&link, BYTES_LIT("a/+"), BYTES_LIT("id"), scratch, room,
                                        on_part, &answer),
                         ERR_FULL);
    assert_string_equal(parts, "");
    assert_int_equal(
        exported_parts(&link, BYTES_LIT("a/+"), BYTES_LIT("id"), scratch, 9, on_part, &answer), OK);
    assert_string_equal(parts, "a/b=a/+|id ");
}

TEST(exported_answers_what_a_part_answered)
{
    struct bytes exports[2] = {BYTES_LIT("a/#"), BYTES_LIT("b/#")};
    struct cfg_link link = {.exports = exports, .export_count = 2};
    enum err answer = ERR_MEMORY;
    uint8_t scratch[64];

    memset(parts, 0, sizeof(parts));
    assert_int_equal(exported_parts(&link, BYTES_LIT("#"), BYTES_LIT("#"), scratch, sizeof(scratch),
                                    on_part, &answer),
                     ERR_MEMORY);
    assert_string_equal(parts, "a/#=#|# b/#=#|# "); /* the second was tried too */
}

/* Every topic that a route matches and a link exports is matched by a part, and no other. */
TEST(exported_parts_match_exactly_what_both_match)
{
    static const char *const words[] = {"a", "b", "+", "#", "$S"};
    static const char *const topics[] = {"a",     "b",  "a/a",  "a/b",  "b/a",   "b/b",
                                         "a/a/b", "$S", "$S/a", "a/$S", "b/b/b", "b/a/a"};
    char filter[3][32];

    for (uint32_t n = 0; n < 200000; n += 7) {
        bool is_any_valid = true;
        uint32_t x = n;

        for (int i = 0; i < 3; i++) {
            snprintf(filter[i], sizeof(filter[i]), "%s%s%s", words[x % 5], x / 5 % 2 ? "/" : "",
                     x / 5 % 2 ? words[x / 10 % 4] : "");
            x /= 40;
            is_any_valid &= topic_filter_valid(bytes_str(filter[i]), 8);
        }
        if (!is_any_valid)
            continue;
        (void)!cut(filter[0], filter[1], NULL, filter[2], "i");
        for (size_t t = 0; t < sizeof(topics) / sizeof(topics[0]); t++) {
            struct bytes topic = bytes_str(topics[t]);
            bool may = topic_matches(bytes_str(filter[0]), topic) ||
                       topic_matches(bytes_str(filter[1]), topic);
            bool got = false;
            char copy[1024], *at = copy, *part;

            snprintf(copy, sizeof(copy), "%s", parts);
            while ((part = strsep(&at, " ")) && *part) {
                *strchr(part, '=') = '\0';
                got |= topic_matches(bytes_str(part), topic);
            }
            assert_int_equal(got, may && topic_matches(bytes_str(filter[2]), topic));
        }
    }
}
