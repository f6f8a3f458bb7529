/* core/policy/acl_text.c -- the lines of an ACL file. */
#include "core/policy/acl_text.h"

#include <stdarg.h>
#include <stdio.h>

#include "core/base/limits.h"
#include "core/mqtt/topic.h"

/* Bytes of a text that is told, and of what is quoted in it. */
#define WHAT_BYTES_MAX 320u
#define QUOTE_BYTES_MAX 80u

static const char byte_order_mark[] = "\xEF\xBB\xBF";

/* --------------------------------------------------------------------------------- telling --- */

/* A part of the file for a person to read: cut, and harmless to a terminal. */
struct quote {
    char text[QUOTE_BYTES_MAX + 4];
};

static struct quote quote_of(struct bytes b)
{
    struct quote q;
    uint32_t n = b.n < QUOTE_BYTES_MAX ? b.n : QUOTE_BYTES_MAX;
    bool is_text = utf8_valid(b);

    while (n > 0 && n < b.n && is_text && (b.p[n] & 0xC0) == 0x80)
        n--; /* not within a character */
    for (uint32_t i = 0; i < n; i++) {
        uint8_t byte = b.p[i];

        q.text[i] = byte < 0x20 || byte == 0x7F || (byte >= 0x80 && !is_text) ? '?' : (char)byte;
    }
    memcpy(q.text + n, n < b.n ? "..." : "", n < b.n ? 4 : 1);
    return q;
}

__attribute__((format(printf, 4, 0))) static void say(struct acl_text *t, bool is_mistake,
                                                      uint32_t line, const char *format,
                                                      va_list args)
{
    char what[WHAT_BYTES_MAX];
    uint32_t *count = is_mistake ? &t->mistakes : &t->warnings;

    (*count)++;
    if (!t->tell || *count > ACL_MISTAKES_MAX)
        return;
    vsnprintf(what, sizeof(what), format, args);
    t->tell(t->context, is_mistake, line, what);
}

__attribute__((format(printf, 2, 3))) static void mistake(struct acl_text *t, const char *format,
                                                          ...)
{
    va_list args;

    va_start(args, format);
    say(t, true, t->line, format, args);
    va_end(args);
}

__attribute__((format(printf, 2, 3))) static void warn(struct acl_text *t, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    say(t, false, t->line, format, args);
    va_end(args);
}

static void tell_untold(const struct acl_text *t, bool is_mistake, uint32_t count, const char *noun)
{
    char what[WHAT_BYTES_MAX];

    if (!t->tell || count <= ACL_MISTAKES_MAX)
        return;
    snprintf(what, sizeof(what), "%u more %s", count - ACL_MISTAKES_MAX, noun);
    t->tell(t->context, is_mistake, 0, what);
}

/* ----------------------------------------------------------------------------------- words --- */

/* What isspace() says in the C locale. */
static bool is_space(uint8_t byte)
{
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

static struct bytes trim_end(struct bytes b)
{
    while (b.n > 0 && is_space(b.p[b.n - 1]))
        b.n--;
    return b;
}

static struct bytes trim(struct bytes b)
{
    while (b.n > 0 && is_space(*b.p))
        b = bytes_of(b.p + 1, b.n - 1);
    return trim_end(b);
}

/* Takes the next word off *rest, and the blank behind it. An empty one: there is none. */
static struct bytes next_word(struct bytes *rest)
{
    struct bytes word;

    while (rest->n > 0 && *rest->p == ' ')
        *rest = bytes_of(rest->p + 1, rest->n - 1);
    word = bytes_of(rest->p, 0);
    while (word.n < rest->n && rest->p[word.n] != ' ')
        word.n++;
    if (word.n < rest->n)
        *rest = bytes_of(rest->p + word.n + 1, rest->n - word.n - 1);
    else
        *rest = bytes_of(rest->p + rest->n, 0);
    return word;
}

static bool has_byte(struct bytes b, char byte)
{
    return b.n > 0 && memchr(b.p, byte, b.n) != NULL;
}

/* ----------------------------------------------------------------------------------- lines --- */

uint32_t acl_text_placeholder(struct bytes text, uint32_t at)
{
    for (; at + 1 < text.n; at++) {
        if (text.p[at] == '%' && (text.p[at + 1] == 'c' || text.p[at + 1] == 'u'))
            return at;
    }
    return text.n;
}

/* The bits of an access word; 0: it is none. */
static uint8_t access_of(struct bytes word)
{
    if (bytes_eq(word, BYTES_LIT("read")))
        return ACL_READ;
    if (bytes_eq(word, BYTES_LIT("write")))
        return ACL_WRITE;
    if (bytes_eq(word, BYTES_LIT("readwrite")))
        return ACL_READ | ACL_WRITE;
    return bytes_eq(word, BYTES_LIT("deny")) ? ACL_DENY : 0;
}

static bool filter_is_good(struct acl_text *t, struct bytes filter)
{
    if (topic_filter_valid(filter, ACL_LEVELS_MAX))
        return true;
    if (!utf8_valid(filter))
        mistake(t, "the filter '%s' is not UTF-8", quote_of(filter).text);
    else if (filter.n > TOPIC_BYTES_MAX)
        mistake(t, "the filter has %u bytes; at most %u are allowed", filter.n, TOPIC_BYTES_MAX);
    else if (!topic_filter_valid(filter, UINT32_MAX))
        mistake(t,
                "'%s' is no filter: '+' and '#' stand for whole levels, and '#' only for the last",
                quote_of(filter).text);
    else
        mistake(t, "the filter '%s' has more than %u levels", quote_of(filter).text,
                ACL_LEVELS_MAX);
    return false;
}

/* What is behind `topic` or `pattern`. */
static bool read_rule(struct acl_text *t, struct acl_line *line, const char *keyword,
                      struct bytes rest)
{
    struct bytes word = next_word(&rest);

    line->text = trim(rest);
    if (word.n == 0) {
        mistake(t, "'%s' needs a filter behind it", keyword);
        return false;
    }
    if (rest.n > 0) {
        line->access = access_of(word);
        if (line->access == 0) {
            mistake(t,
                    "'%s' is no access (read, write, readwrite, deny); a filter with a blank in it "
                    "needs one in front",
                    quote_of(word).text);
            return false;
        }
    } else {
        line->access = ACL_READ | ACL_WRITE;
        line->text = word;
        if (access_of(word) != 0)
            warn(t, "'%s' is taken as the filter, as nothing follows it", quote_of(word).text);
    }
    if (!filter_is_good(t, line->text))
        return false;
    if (line->kind == ACL_LINE_PATTERN && acl_text_placeholder(line->text, 0) == line->text.n)
        warn(t, "the pattern '%s' has neither %%c nor %%u; it holds for every client",
             quote_of(line->text).text);
    return true;
}

static bool read_user(struct acl_text *t, struct acl_line *line, struct bytes rest)
{
    line->text = trim(rest);
    if (line->text.n == 0)
        mistake(t, "'user' needs a name behind it");
    else if (line->text.n > TOPIC_BYTES_MAX || !utf8_valid(line->text))
        mistake(t, "the user name '%s' is longer than %u bytes or not UTF-8",
                quote_of(line->text).text, TOPIC_BYTES_MAX);
    else
        return true;
    return false;
}

static void refuse_keyword(struct acl_text *t, struct bytes word)
{
    if (has_byte(word, '\t'))
        mistake(t, "'%s': only a blank separates words, not a tab", quote_of(word).text);
    else if (*word.p == '#')
        mistake(t, "a comment begins in the first column");
    else if (t->line == 1 && bytes_begin(word, bytes_str(byte_order_mark)))
        mistake(t, "the file begins with a byte order mark; save it as UTF-8 without one");
    else
        mistake(t, "'%s' is not known here; a line begins with user, topic, pattern or #",
                quote_of(word).text);
}

/* Whether a line without its end says something. */
static bool read_line(struct acl_text *t, struct acl_line *line, struct bytes rest)
{
    struct bytes word;

    if (rest.n > ACL_LINE_BYTES_MAX) {
        mistake(t, "the line has %u bytes; at most %u are allowed", rest.n, ACL_LINE_BYTES_MAX);
        return false;
    }
    if (has_byte(rest, '\0')) {
        mistake(t, "there is a NUL byte in the line");
        return false;
    }
    rest = trim_end(rest);
    if (rest.n == 0 || *rest.p == '#')
        return false;
    word = next_word(&rest);
    *line = (struct acl_line){0};
    if (bytes_eq(word, BYTES_LIT("user"))) {
        line->kind = ACL_LINE_USER;
        return read_user(t, line, rest);
    }
    if (bytes_eq(word, BYTES_LIT("topic"))) {
        line->kind = ACL_LINE_TOPIC;
        return read_rule(t, line, "topic", rest);
    }
    if (bytes_eq(word, BYTES_LIT("pattern"))) {
        line->kind = ACL_LINE_PATTERN;
        return read_rule(t, line, "pattern", rest);
    }
    refuse_keyword(t, word);
    return false;
}

void acl_text_begin(struct acl_text *t, struct bytes text, acl_tell *tell, void *context)
{
    *t = (struct acl_text){.rest = text, .tell = tell, .context = context};
}

bool acl_text_next(struct acl_text *t, struct acl_line *line)
{
    while (t->rest.n > 0 && !t->is_full) {
        const uint8_t *end = memchr(t->rest.p, '\n', t->rest.n);
        uint32_t n = end ? (uint32_t)(end - t->rest.p) : t->rest.n;
        struct bytes whole = bytes_of(t->rest.p, n);

        n += end != NULL;
        t->rest = bytes_of(t->rest.p + n, t->rest.n - n);
        t->line++;
        if (!read_line(t, line, whole))
            continue;
        if (line->kind == ACL_LINE_USER)
            return true;
        if (++t->rules <= ACL_RULES_MAX)
            return true;
        mistake(t, "there are more than %u rules", ACL_RULES_MAX);
        t->is_full = true;
    }
    return false;
}

enum err acl_text_end(struct acl_text *t)
{
    tell_untold(t, true, t->mistakes, "mistakes");
    tell_untold(t, false, t->warnings, "warnings");
    if (t->is_full)
        return ERR_FULL;
    return t->mistakes ? ERR_PEER : OK;
}
