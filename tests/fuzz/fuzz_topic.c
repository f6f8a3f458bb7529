/* tests/fuzz/fuzz_topic.c -- matching and coverage against a matcher that is plainly right.
 *
 * Input: three texts with line feeds between them: a filter, a second filter, a topic name.
 */
#include "core/base/check.h"
#include "core/base/limits.h"
#include "core/mqtt/topic.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define LEVELS 24u /* bounds the recursion below */

/* The text up to the next slash; *rest becomes what is behind it, *more whether there was one. */
static struct bytes head(struct bytes text, struct bytes *rest, bool *more)
{
    uint32_t n = 0;

    while (n < text.n && text.p[n] != '/')
        n++;
    *more = n < text.n;
    *rest = *more ? bytes_of(text.p + n + 1, text.n - n - 1) : (struct bytes){0};
    return bytes_of(text.p, n);
}

/* Chapter 4.7 of the specification, level by level. */
static bool naive_levels(struct bytes filter, struct bytes topic)
{
    struct bytes filter_rest, topic_rest, f, t;
    bool filter_more, topic_more;

    f = head(filter, &filter_rest, &filter_more);
    if (bytes_eq(f, BYTES_LIT("#")))
        return true;
    t = head(topic, &topic_rest, &topic_more);
    if (!bytes_eq(f, BYTES_LIT("+")) && !bytes_eq(f, t))
        return false;
    if (filter_more && topic_more)
        return naive_levels(filter_rest, topic_rest);
    if (filter_more)
        return bytes_eq(filter_rest, BYTES_LIT("#"));
    return !topic_more;
}

static bool naive_matches(struct bytes filter, struct bytes topic)
{
    if (topic.p[0] == '$' && (filter.p[0] == '+' || filter.p[0] == '#'))
        return false;
    return naive_levels(filter, topic);
}

/* RFC 3629 by decoding and comparing. */
static bool naive_utf8(struct bytes s)
{
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};

    for (uint32_t i = 0; i < s.n;) {
        uint32_t b = s.p[i++], tails, value;

        if (b < 0x80) {
            tails = 0;
            value = b;
        } else if ((b & 0xE0) == 0xC0) {
            tails = 1;
            value = b & 0x1F;
        } else if ((b & 0xF0) == 0xE0) {
            tails = 2;
            value = b & 0x0F;
        } else if ((b & 0xF8) == 0xF0) {
            tails = 3;
            value = b & 0x07;
        } else {
            return false;
        }
        for (uint32_t k = 0; k < tails; k++, i++) {
            if (i >= s.n || (s.p[i] & 0xC0) != 0x80)
                return false;
            value = value << 6 | (s.p[i] & 0x3F);
        }
        if (value == 0 || value < least[tails] || value > 0x10FFFF)
            return false;
        if (value >= 0xD800 && value <= 0xDFFF)
            return false;
    }
    return true;
}

/* Takes the text up to a line feed off the input, as a copy of exactly its size. */
static struct bytes take_line(const uint8_t **data, size_t *size)
{
    const uint8_t *end = *size ? memchr(*data, '\n', *size) : NULL;
    size_t n = end ? (size_t)(end - *data) : *size;
    uint8_t *copy = malloc(n ? n : 1);

    CHECK(copy != NULL);
    if (n)
        memcpy(copy, *data, n);
    *data += n + (end != NULL);
    *size -= n + (end != NULL);
    return bytes_of(copy, n);
}

static void check_share(struct bytes text)
{
    struct bytes group, filter;
    bool is_shared;

    if (topic_split_share(text, &is_shared, &group, &filter) != OK)
        return;
    if (!is_shared) {
        CHECK(filter.p == text.p && filter.n == text.n);
        return;
    }
    CHECK(group.n > 0 && filter.n > 0);
    CHECK(group.p >= text.p && group.p + group.n < filter.p);
    CHECK(filter.p + filter.n == text.p + text.n);
    CHECK(!topic_has_wildcard(group));
}

static void check_levels(struct bytes text)
{
    struct bytes rest = text, level;
    uint32_t levels = 0, bytes = 0;
    bool first = true;

    while (topic_next_level(&rest, &first, &level)) {
        CHECK(level.n == 0 || memchr(level.p, '/', level.n) == NULL);
        bytes += level.n;
        levels++;
    }
    CHECK(levels > 0 && bytes + levels - 1 == text.n);
}

static void check_all(struct bytes a, struct bytes b, struct bytes topic)
{
    bool a_valid = topic_filter_valid(a, LEVELS), b_valid = topic_filter_valid(b, LEVELS);
    bool topic_valid = topic_name_valid(topic, LEVELS);

    if (a_valid && topic_valid)
        CHECK(topic_matches(a, topic) == naive_matches(a, topic));
    if (a_valid && b_valid && topic_valid && topic_filter_covers(a, b)) {
        if (topic_matches(b, topic))
            CHECK(topic_matches(a, topic));
    }
    /* A filter without wildcards is covered by what matches it, and by nothing else. */
    if (a_valid && topic_valid)
        CHECK(topic_filter_covers(a, topic) == topic_matches(a, topic));
    if (a_valid)
        CHECK(topic_filter_covers(a, a));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes text[3];

    if (size > 4096)
        return 0;
    for (int i = 0; i < 3; i++) {
        text[i] = take_line(&data, &size);
        CHECK(utf8_valid(text[i]) == naive_utf8(text[i]));
        check_share(text[i]);
        check_levels(text[i]);
        if (topic_name_valid(text[i], UINT32_MAX))
            CHECK(naive_utf8(text[i]) && !topic_has_wildcard(text[i]));
    }
    (void)topic_matches(text[0], text[2]); /* whatever they are, it ends and stays inside */
    (void)topic_filter_covers(text[0], text[1]);
    check_all(text[0], text[1], text[2]);
    check_all(text[1], text[0], text[2]);
    for (int i = 0; i < 3; i++)
        free((void *)text[i].p);
    return 0;
}
