/* net/http_answer.c -- what an HTTP server says about a client: one JSON object (RFC 8259). */
#include "net/http_answer.h"

/* Seconds since 1970 beyond this are no date. */
#define EXPIRY_MAX 9999999999999ull

struct reader {
    const uint8_t *at, *end;
};

static void skip_space(struct reader *r)
{
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\t' || *r->at == '\n' || *r->at == '\r'))
        r->at++;
}

/* Takes one character if it comes next, after white space. */
static bool take(struct reader *r, char c)
{
    skip_space(r);
    if (r->at == r->end || *r->at != (uint8_t)c)
        return false;
    r->at++;
    return true;
}

static bool take_word(struct reader *r, struct bytes word)
{
    if (!bytes_begin(bytes_of(r->at, (size_t)(r->end - r->at)), word))
        return false;
    r->at += word.n;
    return true;
}

/* ---- values ---- */

static bool is_hex(uint8_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* What follows a backslash. */
static bool skip_escape(struct reader *r)
{
    uint8_t c;

    if (r->at == r->end)
        return false;
    c = *r->at++;
    if (c != 'u')
        return c && strchr("\"\\/bfnrt", c);
    for (int i = 0; i < 4; i++, r->at++)
        if (r->at == r->end || !is_hex(*r->at))
            return false;
    return true;
}

/* A string; *text is what stands between its quotes, as it stands there. */
static bool take_string(struct reader *r, struct bytes *text, bool *has_escape)
{
    const uint8_t *begin;

    *has_escape = false;
    if (!take(r, '"'))
        return false;
    begin = r->at;
    while (r->at < r->end && *r->at != '"') {
        uint8_t c = *r->at++;

        if (c < 0x20)
            return false;
        if (c != '\\')
            continue;
        *has_escape = true;
        if (!skip_escape(r))
            return false;
    }
    *text = bytes_of(begin, (size_t)(r->at - begin));
    return take(r, '"');
}

static bool skip_digits(struct reader *r)
{
    const uint8_t *begin = r->at;

    while (r->at < r->end && *r->at >= '0' && *r->at <= '9')
        r->at++;
    return r->at > begin;
}

static bool skip_number(struct reader *r)
{
    if (r->at < r->end && *r->at == '-')
        r->at++;
    if (r->at < r->end && *r->at == '0')
        r->at++;
    else if (!skip_digits(r))
        return false;
    if (r->at < r->end && *r->at == '.') {
        r->at++;
        if (!skip_digits(r))
            return false;
    }
    if (r->at < r->end && (*r->at == 'e' || *r->at == 'E')) {
        r->at++;
        if (r->at < r->end && (*r->at == '+' || *r->at == '-'))
            r->at++;
        return skip_digits(r);
    }
    return true;
}

static bool skip_value(struct reader *r, uint32_t depth);

/* The members of an object or the elements of an array, behind the bracket that opens it. */
static bool skip_list(struct reader *r, bool is_object, uint32_t depth)
{
    const char end = is_object ? '}' : ']';
    struct bytes name;
    bool has_escape;

    if (depth == 0)
        return false;
    if (take(r, end))
        return true;
    do {
        if (is_object && (!take_string(r, &name, &has_escape) || !take(r, ':')))
            return false;
        if (!skip_value(r, depth - 1))
            return false;
    } while (take(r, ','));
    return take(r, end);
}

static bool skip_value(struct reader *r, uint32_t depth)
{
    struct bytes text;
    bool has_escape;

    skip_space(r);
    if (r->at == r->end)
        return false;
    switch (*r->at) {
    case '"':
        return take_string(r, &text, &has_escape);
    case '{':
    case '[':
        r->at++;
        return skip_list(r, r->at[-1] == '{', depth);
    case 't':
        return take_word(r, BYTES_LIT("true"));
    case 'f':
        return take_word(r, BYTES_LIT("false"));
    case 'n':
        return take_word(r, BYTES_LIT("null"));
    default:
        return skip_number(r);
    }
}

/* ---- what we look for ---- */

static bool take_result(struct reader *r, struct http_answer *to)
{
    struct bytes text;
    bool has_escape;

    if (!take_string(r, &text, &has_escape))
        return false;
    if (bytes_eq(text, BYTES_LIT("allow")))
        to->verdict = HTTP_ALLOW;
    else if (bytes_eq(text, BYTES_LIT("ignore")))
        to->verdict = HTTP_IGNORE;
    else
        return bytes_eq(text, BYTES_LIT("deny"));
    return true;
}

static bool take_bool(struct reader *r, bool *to)
{
    skip_space(r);
    *to = take_word(r, BYTES_LIT("true"));
    return *to || take_word(r, BYTES_LIT("false"));
}

static bool take_expiry(struct reader *r, struct http_answer *to)
{
    const uint8_t *begin;

    skip_space(r);
    begin = r->at;
    if (!skip_number(r))
        return false;
    to->has_expiry = true;
    for (; begin < r->at; begin++) {
        if (*begin < '0' || *begin > '9' || to->expire_at > EXPIRY_MAX)
            return false;
        to->expire_at = to->expire_at * 10 + (*begin - '0');
    }
    return true;
}

enum { HAS_RESULT = 1, HAS_SUPERUSER = 2, HAS_EXPIRY = 4 };

/* The value of one member. *had: the members so far. */
static bool take_member(struct reader *r, struct bytes name, struct http_answer *to, uint32_t *had)
{
    uint32_t bit = 0;

    if (bytes_eq(name, BYTES_LIT("result")))
        bit = HAS_RESULT;
    else if (bytes_eq(name, BYTES_LIT("is_superuser")))
        bit = HAS_SUPERUSER;
    else if (bytes_eq(name, BYTES_LIT("expire_at")))
        bit = HAS_EXPIRY;
    if (*had & bit)
        return false;
    *had |= bit;
    switch (bit) {
    case HAS_RESULT:
        return take_result(r, to);
    case HAS_SUPERUSER:
        return take_bool(r, &to->is_superuser);
    case HAS_EXPIRY:
        return take_expiry(r, to);
    default:
        return skip_value(r, HTTP_ANSWER_DEPTH_MAX);
    }
}

static bool take_object(struct reader *r, struct http_answer *to)
{
    uint32_t had = 0;
    struct bytes name;
    bool has_escape;

    if (!take(r, '{'))
        return false;
    do {
        if (!take_string(r, &name, &has_escape) || has_escape || !take(r, ':') ||
            !take_member(r, name, to, &had))
            return false;
    } while (take(r, ','));
    return take(r, '}') && (had & HAS_RESULT);
}

enum err http_answer_read(uint32_t status, struct bytes body, struct http_answer *to)
{
    struct reader r = {body.p, body.p ? body.p + body.n : NULL};

    memset(to, 0, sizeof(*to));
    if (status == 204) {
        to->verdict = HTTP_ALLOW;
        return OK;
    }
    if (status == 200 && take_object(&r, to)) {
        skip_space(&r);
        if (r.at == r.end)
            return OK;
    }
    memset(to, 0, sizeof(*to));
    return ERR_PEER;
}
