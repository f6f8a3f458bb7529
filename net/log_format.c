/* net/log_format.c -- one log line as text or JSON, with everything foreign escaped.
 *
 * In text a value stands in quotes when it has a blank, a quote, '=' or anything escaped; escapes
 * are \" \\ \n \r \t and \xNN for each other byte. In JSON they are those of RFC 8259, and a byte
 * that is not UTF-8 becomes U+FFFD. Characters that steer a terminal or turn the direction of
 * writing (C0, DEL, C1, U+2028..202E, U+2066..2069) are escaped in both.
 */
#include "net/log.h"

/* Bytes a value may take, with what closes it. Beyond: it is cut and ends with "...", so that a
 * long client id cannot push out the address behind it. */
#define VALUE_BYTES_MAX 400u
#define VALUE_END_BYTES 8u
#define LINE_END_BYTES 8u

struct writer {
    char *p;
    uint32_t count;
    uint32_t max;
    bool is_full; /* something did not fit: nothing more is written */
};

static void put(struct writer *w, const char *s, uint32_t n)
{
    if (w->is_full || w->count + n > w->max) {
        w->is_full = true;
        return;
    }
    memcpy(w->p + w->count, s, n);
    w->count += n;
}

static void put_str(struct writer *w, const char *s)
{
    put(w, s, (uint32_t)strlen(s));
}

/* Length of the UTF-8 character at p, its code in *code; 0: not one. */
static uint32_t utf8_at(const uint8_t *p, uint32_t n, uint32_t *code)
{
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    uint32_t length = p[0] < 0x80   ? 1
                      : p[0] < 0xC2 ? 0
                      : p[0] < 0xE0 ? 2
                      : p[0] < 0xF0 ? 3
                      : p[0] < 0xF5 ? 4
                                    : 0;

    if (length == 0 || length > n)
        return 0;
    *code = length == 1 ? p[0] : p[0] & (0x7Fu >> length);
    for (uint32_t i = 1; i < length; i++) {
        if ((p[i] & 0xC0) != 0x80)
            return 0;
        *code = (*code << 6) | (p[i] & 0x3F);
    }
    if (*code < smallest[length] || *code > 0x10FFFF || (*code >= 0xD800 && *code <= 0xDFFF))
        return 0;
    return length;
}

static bool is_steering(uint32_t code)
{
    return code < 0x20 || (code >= 0x7F && code <= 0x9F) || (code >= 0x2028 && code <= 0x202E) ||
           (code >= 0x2066 && code <= 0x2069);
}

/* The escape of one letter that both forms have, or 0. */
static char short_escape(uint32_t code)
{
    return code == '"'    ? '"'
           : code == '\\' ? '\\'
           : code == '\n' ? 'n'
           : code == '\r' ? 'r'
           : code == '\t' ? 't'
                          : 0;
}

/* How a form writes a letter that must not stand there as it is: `n` bytes at `p`, its code. */
typedef void put_strange_fn(struct writer *w, const uint8_t *p, uint32_t n, uint32_t code);

static void put_strange_text(struct writer *w, const uint8_t *p, uint32_t n, uint32_t code)
{
    char e[8];

    (void)code;
    for (uint32_t k = 0; k < n; k++) {
        snprintf(e, sizeof(e), "\\x%02x", p[k]);
        put(w, e, 4);
    }
}

static void put_strange_json(struct writer *w, const uint8_t *p, uint32_t n, uint32_t code)
{
    char e[8];

    (void)p;
    (void)n;
    snprintf(e, sizeof(e), "\\u%04x", (unsigned)code);
    put(w, e, 6);
}

/* Letters as they are, where they may be; bytes that are no letter are strange one by one. */
static void put_escaped(struct writer *w, struct bytes b, put_strange_fn *put_strange)
{
    for (uint32_t i = 0; i < b.n;) {
        uint32_t code = 0;
        uint32_t n = utf8_at(b.p + i, b.n - i, &code);
        char letter = n ? short_escape(code) : 0;

        if (letter)
            put(w, (char[]){'\\', letter}, 2);
        else if (n && !is_steering(code))
            put(w, (const char *)b.p + i, n);
        else
            put_strange(w, b.p + i, n ? n : 1, n ? code : 0xFFFD);
        i += n ? n : 1;
    }
}

static bool needs_quotes(struct bytes b)
{
    for (uint32_t i = 0; i < b.n; i++) {
        if (b.p[i] <= ' ' || b.p[i] >= 0x7F || b.p[i] == '"' || b.p[i] == '=' || b.p[i] == '\\')
            return true;
    }
    return false;
}

/* What is in front of a value; false when not even that fits. */
static bool put_front(struct writer *w, enum cfg_log_format format, const char *key, bool quoted)
{
    uint32_t before = w->count;

    if (w->count > (format == LOG_JSON ? 1u : 0u))
        put_str(w, format == LOG_JSON ? "," : " ");
    put_str(w, format == LOG_JSON ? "\"" : "");
    put_str(w, key);
    put_str(w, format == LOG_JSON ? "\":" : "=");
    put_str(w, quoted ? "\"" : "");
    if (w->is_full)
        w->count = before;
    return !w->is_full;
}

static void put_key(struct writer *w, enum cfg_log_format format, const char *key, struct bytes b)
{
    bool quoted = format == LOG_JSON || needs_quotes(b);
    bool is_cut;

    if (b.n == 0)
        return;
    w->max = LOG_LINE_BYTES_MAX - LINE_END_BYTES - VALUE_BYTES_MAX;
    if (!put_front(w, format, key, quoted))
        return;
    w->max = w->count + VALUE_BYTES_MAX - VALUE_END_BYTES;
    if (format == LOG_JSON)
        put_escaped(w, b, put_strange_json);
    else if (quoted)
        put_escaped(w, b, put_strange_text);
    else
        put(w, (const char *)b.p, b.n < VALUE_BYTES_MAX / 2 ? b.n : VALUE_BYTES_MAX / 2);
    is_cut = w->is_full || (!quoted && b.n >= VALUE_BYTES_MAX / 2);
    w->is_full = false;
    w->max += VALUE_END_BYTES;
    put_str(w, is_cut ? "..." : "");
    put_str(w, quoted ? "\"" : "");
}

static struct bytes of_str(const char *s)
{
    return s ? bytes_str(s) : (struct bytes){NULL, 0};
}

uint32_t log_format(enum cfg_log_format format, const char *ts, const struct log_line *line,
                    char *to)
{
    static const char *const levels[] = {"error",   "error",  "error", "error",
                                         "warning", "notice", "info",  "debug"};
    const struct {
        const char *key;
        struct bytes value;
    } keys[] = {
        {"ts", of_str(ts)},
        {"level", bytes_str(levels[line->level & 7])},
        {"event", of_str(line->event)},
        {"link", of_str(line->link)},
        {"client", line->client},
        {"user", line->user},
        {"peer", of_str(line->peer)},
        {"listener", of_str(line->listener)},
        {"reason", of_str(line->reason)},
        {"detail", of_str(line->detail)},
    };
    struct writer w = {.max = LOG_LINE_BYTES_MAX};

    w.p = to;
    if (format == LOG_JSON)
        put_str(&w, "{");
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        put_key(&w, format, keys[i].key, keys[i].value);
    w.max = LOG_LINE_BYTES_MAX;
    w.is_full = false;
    if (format == LOG_JSON)
        put_str(&w, "}");
    return w.count;
}
