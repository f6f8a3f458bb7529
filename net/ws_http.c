/* net/ws_http.c -- the request that opens a WebSocket, and its answer.
 *
 * RFC 6455, 4.2; what that leaves to HTTP/1.1 is RFC 9112. Extensions are not even looked at: a
 * server that answers none has accepted none.
 */
#include "net/ws_http.h"

#include "core/base/check.h"

#include <stdio.h>
#include <strings.h>

#define GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
/* 16 bytes in base64. */
#define KEY_BYTES 24u
/* A SHA-1 digest in base64. */
#define ACCEPT_BYTES 28u

/* The headers that mean something to us. */
enum header {
    HEADER_HOST,
    HEADER_KEY,
    HEADER_VERSION,
    HEADER_ORIGIN,
    HEADER_CONTENT_LENGTH,
    HEADER_TRANSFER_ENCODING,
    HEADER_ONCE_COUNT, /* those before may stand once; those behind are lists */
    HEADER_UPGRADE = HEADER_ONCE_COUNT,
    HEADER_CONNECTION,
    HEADER_PROTOCOL,
    HEADER_COUNT
};

static const char *const header_names[HEADER_COUNT] = {
    [HEADER_HOST] = "Host",
    [HEADER_KEY] = "Sec-WebSocket-Key",
    [HEADER_VERSION] = "Sec-WebSocket-Version",
    [HEADER_ORIGIN] = "Origin",
    [HEADER_CONTENT_LENGTH] = "Content-Length",
    [HEADER_TRANSFER_ENCODING] = "Transfer-Encoding",
    [HEADER_UPGRADE] = "Upgrade",
    [HEADER_CONNECTION] = "Connection",
    [HEADER_PROTOCOL] = "Sec-WebSocket-Protocol",
};

/* All that is remembered of the headers. */
struct headers {
    struct bytes once[HEADER_ONCE_COUNT]; /* p == NULL: absent */
    bool wants_upgrade, wants_websocket;
    enum ws_protocol protocol;
};

/* ---- pieces of text ---- */

static bool eq_any_case(struct bytes a, struct bytes b)
{
    return a.n == b.n && strncasecmp((const char *)a.p, (const char *)b.p, a.n) == 0;
}

static struct bytes trimmed(struct bytes s)
{
    while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t'))
        s = bytes_of(s.p + 1, s.n - 1);
    while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    return s;
}

/* Cuts off what stands before the first `end`, which is dropped; all of *s if there is none. */
static struct bytes cut(struct bytes *s, uint8_t end)
{
    const uint8_t *p = s->n ? memchr(s->p, end, s->n) : NULL;
    struct bytes piece = *s;

    if (p) {
        piece.n = (uint32_t)(p - s->p);
        *s = bytes_of(p + 1, s->n - piece.n - 1);
    } else {
        *s = (struct bytes){0};
    }
    return piece;
}

static bool is_letter_or_digit(uint8_t c)
{
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
}

/* Whether `s` is a token of RFC 9110, 5.6.2: the name of a method or of a header. */
static bool is_token(struct bytes s)
{
    for (uint32_t i = 0; i < s.n; i++) {
        if (!is_letter_or_digit(s.p[i]) && (s.p[i] == 0 || !strchr("!#$%&'*+-.^_`|~", s.p[i])))
            return false;
    }
    return s.n > 0;
}

/* Whether a list of names with commas between has `name`, in letters of either case. */
static bool list_has(struct bytes list, struct bytes name)
{
    while (list.n > 0) {
        if (eq_any_case(trimmed(cut(&list, ',')), name))
            return true;
    }
    return false;
}

/* ---- the first line ---- */

/* The path of what was asked for: without scheme and host, if it has them, and without query. */
static enum ws_why read_target(struct bytes target, struct bytes *path)
{
    static const char *const schemes[] = {"http://", "https://"};

    for (uint32_t i = 0; i < target.n; i++) {
        if (target.p[i] <= ' ' || target.p[i] >= 0x7F || target.p[i] == '#')
            return WS_WHY_REQUEST_LINE;
    }
    target = cut(&target, '?');
    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        struct bytes scheme = bytes_str(schemes[i]);

        if (target.n > scheme.n && eq_any_case(bytes_of(target.p, scheme.n), scheme)) {
            const uint8_t *end = target.p + target.n;
            const uint8_t *slash = memchr(target.p + scheme.n, '/', target.n - scheme.n);

            *path = slash ? bytes_of(slash, (size_t)(end - slash)) : BYTES_LIT("/");
            return WS_WHY_NONE;
        }
    }
    if (target.n == 0 || target.p[0] != '/')
        return WS_WHY_REQUEST_LINE;
    *path = target;
    return WS_WHY_NONE;
}

static enum ws_why read_first_line(const struct ws_rules *rules, struct bytes line)
{
    struct bytes method = cut(&line, ' ');
    struct bytes target = cut(&line, ' ');
    struct bytes path;
    enum ws_why why;

    if (!is_token(method) || target.n == 0 || line.n != 8 ||
        !bytes_begin(line, BYTES_LIT("HTTP/")) || line.p[5] < '0' || line.p[5] > '9' ||
        line.p[6] != '.' || line.p[7] < '0' || line.p[7] > '9')
        return WS_WHY_REQUEST_LINE;
    if (line.p[5] != '1' || line.p[7] == '0')
        return WS_WHY_HTTP_VERSION;
    if (!bytes_eq(method, BYTES_LIT("GET")))
        return WS_WHY_METHOD;
    why = read_target(target, &path);
    if (why != WS_WHY_NONE)
        return why;
    if (rules->path.n > 0 && !bytes_eq(path, rules->path))
        return WS_WHY_PATH;
    return WS_WHY_NONE;
}

/* ---- headers ---- */

/* Of the sub-protocols offered, in the client's order, the first that is ours. */
static enum ws_protocol choose_protocol(struct bytes list)
{
    while (list.n > 0) {
        struct bytes name = trimmed(cut(&list, ','));

        if (bytes_eq(name, BYTES_LIT("mqtt")))
            return WS_PROTOCOL_MQTT;
        if (bytes_eq(name, BYTES_LIT("mqttv3.1")))
            return WS_PROTOCOL_MQTTV31;
    }
    return WS_PROTOCOL_NONE;
}

/* Remembers one header; lists may come in several lines. */
static enum ws_why keep_header(struct headers *h, struct bytes name, struct bytes value)
{
    uint32_t i = 0;

    while (i < HEADER_COUNT && !eq_any_case(name, bytes_str(header_names[i])))
        i++;
    if (i < HEADER_ONCE_COUNT) {
        if (h->once[i].p)
            return WS_WHY_HEADER_TWICE;
        h->once[i] = value;
    } else if (i == HEADER_UPGRADE) {
        h->wants_websocket |= list_has(value, BYTES_LIT("websocket"));
    } else if (i == HEADER_CONNECTION) {
        h->wants_upgrade |= list_has(value, BYTES_LIT("upgrade"));
    } else if (i == HEADER_PROTOCOL && h->protocol == WS_PROTOCOL_NONE) {
        h->protocol = choose_protocol(value);
    }
    return WS_WHY_NONE;
}

static enum ws_why read_header(struct headers *h, struct bytes line)
{
    struct bytes name;

    if (line.p[0] == ' ' || line.p[0] == '\t')
        return WS_WHY_HEADER_FOLDED;
    if (!memchr(line.p, ':', line.n))
        return WS_WHY_HEADER_SYNTAX;
    name = cut(&line, ':');
    if (!is_token(name))
        return WS_WHY_HEADER_SYNTAX; /* with a blank before the colon, too */
    return keep_header(h, name, trimmed(line));
}

/* ---- what the headers must say ---- */

/* 22 letters of base64 and "==": what 16 bytes give. */
static bool is_key(struct bytes key)
{
    if (key.n != KEY_BYTES || key.p[22] != '=' || key.p[23] != '=')
        return false;
    for (uint32_t i = 0; i < 22; i++) {
        if (!is_letter_or_digit(key.p[i]) && key.p[i] != '+' && key.p[i] != '/')
            return false;
    }
    return true;
}

static bool has_body(const struct headers *h)
{
    struct bytes n = h->once[HEADER_CONTENT_LENGTH];

    return h->once[HEADER_TRANSFER_ENCODING].p || (n.p && !bytes_eq(n, BYTES_LIT("0")));
}

static bool origin_may(const struct ws_rules *rules, struct bytes origin)
{
    if (rules->origin_count == 0 || !origin.p)
        return true;
    for (uint32_t i = 0; i < rules->origin_count; i++) {
        if (eq_any_case(rules->origins[i], origin))
            return true;
    }
    return false;
}

static enum ws_why judge_headers(const struct ws_rules *rules, const struct headers *h)
{
    if (h->once[HEADER_HOST].n == 0)
        return WS_WHY_HOST;
    if (has_body(h))
        return WS_WHY_BODY;
    if (!h->wants_websocket)
        return WS_WHY_UPGRADE;
    if (!h->wants_upgrade)
        return WS_WHY_CONNECTION;
    if (!bytes_eq(h->once[HEADER_VERSION], BYTES_LIT("13")))
        return WS_WHY_VERSION;
    if (!is_key(h->once[HEADER_KEY]))
        return WS_WHY_KEY;
    if (!origin_may(rules, h->once[HEADER_ORIGIN]))
        return WS_WHY_ORIGIN;
    if (h->protocol == WS_PROTOCOL_NONE)
        return WS_WHY_PROTOCOL; /* [MQTT-6.0.0-3] */
    return WS_WHY_NONE;
}

/* Takes the next line off the front, without its CR LF. */
static struct bytes next_line(struct bytes *rest)
{
    struct bytes line = cut(rest, '\n');

    CHECK(line.n > 0 && line.p[line.n - 1] == '\r');
    line.n--;
    return line;
}

enum ws_why ws_request_read(const struct ws_rules *rules, struct bytes request,
                            struct ws_request *out)
{
    struct headers h = {0};
    enum ws_why why = read_first_line(rules, next_line(&request));

    for (uint32_t count = 0; why == WS_WHY_NONE; count++) {
        struct bytes line = next_line(&request);

        if (line.n == 0)
            break;
        if (count == WS_HEADERS_MAX)
            return WS_WHY_HEADERS_MANY;
        why = read_header(&h, line);
    }
    if (why == WS_WHY_NONE)
        why = judge_headers(rules, &h);
    out->key = h.once[HEADER_KEY];
    out->protocol = h.protocol;
    return why;
}

/* ---- answers ---- */

/* Writes the base64 of a digest. */
static void put_base64(const uint8_t digest[WS_SHA1_BYTES], char to[ACCEPT_BYTES])
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint8_t padded[WS_SHA1_BYTES + 1] = {0};

    memcpy(padded, digest, WS_SHA1_BYTES);
    for (uint32_t i = 0; i < sizeof(padded); i += 3) {
        uint32_t v = (uint32_t)padded[i] << 16 | (uint32_t)padded[i + 1] << 8 | padded[i + 2];

        for (uint32_t k = 0; k < 4; k++)
            *to++ = letters[v >> (18 - 6 * k) & 63];
    }
    to[-1] = '='; /* of the last three bytes one is none */
}

enum err ws_accept_write(const struct ws_rules *rules, const struct ws_request *r, uint8_t *to,
                         uint32_t *n)
{
    uint8_t text[KEY_BYTES + sizeof(GUID) - 1];
    uint8_t digest[WS_SHA1_BYTES];
    char accept[ACCEPT_BYTES];
    enum err err;
    int size;

    bytes_put(bytes_put(text, r->key), BYTES_LIT(GUID));
    err = rules->sha1(text, sizeof(text), digest);
    if (err != OK)
        return err;
    put_base64(digest, accept);
    size =
        snprintf((char *)to, WS_OUT_BYTES_MAX,
                 "HTTP/1.1 101 Switching Protocols\r\n"
                 "Upgrade: websocket\r\n"
                 "Connection: Upgrade\r\n"
                 "Sec-WebSocket-Accept: %.*s\r\n"
                 "Sec-WebSocket-Protocol: %s\r\n\r\n",
                 (int)ACCEPT_BYTES, accept, r->protocol == WS_PROTOCOL_MQTT ? "mqtt" : "mqttv3.1");
    CHECK(size > 0 && size < (int)WS_OUT_BYTES_MAX);
    *n = (uint32_t)size;
    return OK;
}

/* The first line of a refusal, and what its status demands beside. */
static const char *status_of(enum ws_why why)
{
    switch (why) {
    case WS_WHY_ORIGIN:
        return "403 Forbidden\r\nConnection: close";
    case WS_WHY_PATH:
        return "404 Not Found\r\nConnection: close";
    case WS_WHY_METHOD:
        return "405 Method Not Allowed\r\nConnection: close\r\nAllow: GET";
    case WS_WHY_REQUEST_LONG:
        return "414 URI Too Long\r\nConnection: close";
    case WS_WHY_UPGRADE:
    case WS_WHY_VERSION:
        return "426 Upgrade Required\r\nConnection: close, Upgrade\r\nUpgrade: websocket\r\n"
               "Sec-WebSocket-Version: 13";
    case WS_WHY_HEADERS_LONG:
    case WS_WHY_HEADERS_MANY:
        return "431 Request Header Fields Too Large\r\nConnection: close";
    case WS_WHY_DIGEST:
    case WS_WHY_MEMORY:
        return "500 Internal Server Error\r\nConnection: close";
    case WS_WHY_HTTP_VERSION:
        return "505 HTTP Version Not Supported\r\nConnection: close";
    default:
        return "400 Bad Request\r\nConnection: close";
    }
}

uint32_t ws_refusal_write(enum ws_why why, uint8_t *to)
{
    const char *text = ws_why_name(why);
    int size = snprintf((char *)to, WS_OUT_BYTES_MAX,
                        "HTTP/1.1 %s\r\n"
                        "Content-Type: text/plain\r\n"
                        "Content-Length: %zu\r\n\r\n"
                        "%s\n",
                        status_of(why), strlen(text) + 1, text);

    CHECK(size > 0 && size < (int)WS_OUT_BYTES_MAX);
    return (uint32_t)size;
}
