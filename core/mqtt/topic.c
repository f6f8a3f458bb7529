/* core/mqtt/topic.c -- topic names and filters.
 *
 * Text that is plain ASCII, as nearly all of it is, is judged eight bytes at a time; the bytes
 * around anything else are judged one by one. Nothing here recurses or looks back, so the time is
 * linear in the text whatever its number of levels (CVE-2019-11779).
 */
#include "core/mqtt/topic.h"

#include "core/base/limits.h"

#define ALL_BYTES(b) (0x0101010101010101ull * (b))

/* Non-zero if a byte of `word` is zero. */
static inline uint64_t zero_bytes(uint64_t word)
{
    return (word - ALL_BYTES(0x01)) & ~word & ALL_BYTES(0x80);
}

/* Whether eight bytes are ASCII without NUL and, in a name, without wildcard: `+` and `#` differ
 * in the bit 0x08 alone, so one comparison finds both. */
static inline bool is_plain(uint64_t word, bool in_name)
{
    uint64_t odd = (word & ALL_BYTES(0x80)) | zero_bytes(word);

    if (in_name)
        odd |= zero_bytes((word | ALL_BYTES(0x08)) ^ ALL_BYTES('+'));
    return odd == 0;
}

static inline uint64_t load8(const uint8_t *p)
{
    uint64_t word;

    memcpy(&word, p, sizeof(word));
    return word;
}

/* The first and the last four of four to eight bytes, in one word. */
static inline uint64_t load_ends(const uint8_t *p, uint32_t n)
{
    uint32_t front, back;

    memcpy(&front, p, sizeof(front));
    memcpy(&back, p + n - sizeof(back), sizeof(back));
    return front | (uint64_t)back << 32;
}

static inline bool is_tail(uint8_t byte)
{
    return (byte & 0xC0) == 0x80;
}

/* Bytes of the well-formed sequence of two to four bytes at p, of which n are there; 0 if it is
 * cut off, too long for its value, a surrogate [MQTT-1.5.4-1], or above U+10FFFF. */
static uint32_t sequence_size(const uint8_t *p, size_t n)
{
    if (p[0] >= 0xC2 && p[0] <= 0xDF)
        return n >= 2 && is_tail(p[1]) ? 2 : 0;
    if (p[0] >= 0xE0 && p[0] <= 0xEF) {
        if (n < 3 || !is_tail(p[1]) || !is_tail(p[2]))
            return 0;
        if ((p[0] == 0xE0 && p[1] < 0xA0) || (p[0] == 0xED && p[1] >= 0xA0))
            return 0;
        return 3;
    }
    if (p[0] >= 0xF0 && p[0] <= 0xF4) {
        if (n < 4 || !is_tail(p[1]) || !is_tail(p[2]) || !is_tail(p[3]))
            return 0;
        if ((p[0] == 0xF0 && p[1] < 0x90) || (p[0] == 0xF4 && p[1] >= 0x90))
            return 0;
        return 4;
    }
    return 0;
}

/* Whether all of `s` is well-formed text and, in a name, free of wildcards. A last part of less
 * than eight bytes is judged together with bytes before it, which is harmless. */
static inline __attribute__((always_inline)) bool scan(struct bytes s, bool in_name)
{
    uint32_t i = 0;

    if (s.n >= 4 && s.n < 8 && is_plain(load_ends(s.p, s.n), in_name))
        return true;
    while (i < s.n) {
        uint8_t byte = s.p[i];

        if (s.n - i >= 8 && is_plain(load8(s.p + i), in_name)) {
            i += 8;
        } else if (s.n >= 8 && s.n - i < 8 && is_plain(load8(s.p + s.n - 8), in_name)) {
            return true;
        } else if (byte >= 0x80) {
            uint32_t size = sequence_size(s.p + i, s.n - i);

            if (size == 0)
                return false;
            i += size;
        } else if (byte == 0 || (in_name && (byte == '+' || byte == '#'))) {
            return false;
        } else {
            i++;
        }
    }
    return true;
}

bool utf8_valid(struct bytes s)
{
    return scan(s, false);
}

bool topic_depth_allowed(struct bytes t, uint32_t levels_max)
{
    uint32_t levels = 1;

    if (t.n < levels_max)
        return true; /* short text cannot have more */
    for (uint32_t i = 0; i < t.n; i++)
        levels += t.p[i] == '/';
    return levels <= levels_max;
}

bool topic_name_valid(struct bytes t, uint32_t levels_max)
{
    if (t.n == 0 || t.n > TOPIC_BYTES_MAX) /* [MQTT-4.7.3-1] [MQTT-4.7.3-3] */
        return false;
    return scan(t, true) && topic_depth_allowed(t, levels_max);
}

bool topic_filter_valid(struct bytes f, uint32_t levels_max)
{
    if (f.n == 0 || f.n > TOPIC_BYTES_MAX) /* [MQTT-4.7.3-1] [MQTT-4.7.3-3] */
        return false;
    if (!scan(f, false) || !topic_depth_allowed(f, levels_max))
        return false;
    for (uint32_t i = 0; i < f.n; i++) {
        if (f.p[i] != '+' && f.p[i] != '#')
            continue;
        if (i > 0 && f.p[i - 1] != '/')
            return false;
        if (i + 1 < f.n && (f.p[i] == '#' || f.p[i + 1] != '/'))
            return false; /* [MQTT-4.7.1-1]: `#` is last; [MQTT-4.7.1-2]: `+` is a whole level */
    }
    return true;
}

bool topic_has_wildcard(struct bytes f)
{
    for (uint32_t i = 0; i < f.n; i++) {
        if (f.p[i] == '+' || f.p[i] == '#')
            return true;
    }
    return false;
}

static bool has_prefix(struct bytes s, struct bytes prefix)
{
    return s.n >= prefix.n && memcmp(s.p, prefix.p, prefix.n) == 0;
}

enum err topic_split_share(struct bytes f, bool *is_shared, struct bytes *group,
                           struct bytes *filter)
{
    const struct bytes share = BYTES_LIT("$share/"), queue = BYTES_LIT("$queue/");
    struct bytes rest;
    const uint8_t *slash;

    *is_shared = false;
    *group = (struct bytes){0};
    *filter = f;
    if (has_prefix(f, queue)) {
        if (f.n == queue.n)
            return ERR_PEER;
        *is_shared = true;
        *group = bytes_of(f.p, queue.n - 1);
        *filter = bytes_of(f.p + queue.n, f.n - queue.n);
        return OK;
    }
    if (!has_prefix(f, share))
        return OK;

    rest = bytes_of(f.p + share.n, f.n - share.n);
    slash = rest.n ? memchr(rest.p, '/', rest.n) : NULL;
    if (!slash || slash == rest.p || slash + 1 == rest.p + rest.n)
        return ERR_PEER; /* [MQTT-4.8.2-1]; no second `/` or nothing behind it */
    if (topic_has_wildcard(bytes_of(rest.p, (size_t)(slash - rest.p))))
        return ERR_PEER; /* [MQTT-4.8.2-2] */
    *is_shared = true;
    *group = bytes_of(rest.p, (size_t)(slash - rest.p));
    *filter = bytes_of(slash + 1, (size_t)(rest.p + rest.n - slash - 1));
    return OK;
}

/* Whether `wide` begins with a wildcard level and `text` with `$` [MQTT-4.7.2-1]. */
static bool hidden_by_dollar(struct bytes wide, struct bytes text)
{
    return text.n > 0 && text.p[0] == '$' && wide.n > 0 && (wide.p[0] == '+' || wide.p[0] == '#');
}

bool topic_matches(struct bytes filter, struct bytes topic)
{
    uint32_t i = 0, j = 0;

    if (hidden_by_dollar(filter, topic))
        return false;
    while (i < filter.n) {
        uint8_t byte = filter.p[i];

        if (byte == '#')
            return true;
        if (byte == '+') {
            while (j < topic.n && topic.p[j] != '/')
                j++;
            i++;
        } else if (j < topic.n && topic.p[j] == byte) {
            i++;
            j++;
        } else {
            /* `#` stands for the parent level too: `sport/#` matches `sport`. */
            return j == topic.n && filter.n - i == 2 && byte == '/' && filter.p[i + 1] == '#';
        }
    }
    return j == topic.n;
}

static bool level_is(struct bytes level, char wildcard)
{
    return level.n == 1 && level.p[0] == (uint8_t)wildcard;
}

bool topic_filter_covers(struct bytes wide, struct bytes narrow)
{
    /* What `#` has before it here is no topic by itself, so it stands for one level at least, and
     * `+` with `#` behind it takes that. Elsewhere `#` may stand for none. */
    bool takes_a_level = bytes_eq(narrow, BYTES_LIT("#")) || bytes_eq(narrow, BYTES_LIT("/#"));
    bool wide_first = true, narrow_first = true;
    struct bytes w, n;

    if (hidden_by_dollar(wide, narrow))
        return false;
    while (topic_next_level(&wide, &wide_first, &w)) {
        if (level_is(w, '#'))
            return true; /* also when `narrow` has ended: the parent level */
        if (!topic_next_level(&narrow, &narrow_first, &n))
            return false;
        if (level_is(n, '#'))
            return takes_a_level && level_is(w, '+') && bytes_eq(wide, BYTES_LIT("/#"));
        if (!level_is(w, '+') && !bytes_eq(w, n))
            return false;
    }
    return !topic_next_level(&narrow, &narrow_first, &n);
}

bool topic_next_level(struct bytes *rest, bool *first, struct bytes *level)
{
    const uint8_t *slash;

    /* Between calls `rest` is empty or begins with the slash behind the level last taken. */
    if (!*first) {
        if (rest->n == 0)
            return false;
        rest->p++;
        rest->n--;
    }
    *first = false;
    slash = rest->n ? memchr(rest->p, '/', rest->n) : NULL;
    *level = *rest;
    if (slash)
        level->n = (uint32_t)(slash - rest->p);
    if (level->n)
        rest->p += level->n;
    rest->n -= level->n;
    return true;
}
