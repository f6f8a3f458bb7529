/* net/ws.c -- the server's side of WebSocket: when a request is whole, and frames.
 *
 * The stream is unmasked and moved to the front of the caller's buffer in one pass: the headers of
 * frames go, so it only ever moves forward, and every byte is read once and written once.
 * Invariant: between two calls, every byte that came was either passed on, or judged, or is held.
 */
#include "net/ws.h"

#include "core/base/check.h"
#include "core/mqtt/topic.h"
#include "net/ws_http.h"

#include <stdlib.h>

/* First room for a request that comes in pieces. */
#define REQUEST_ROOM 512u

enum opcode {
    OPCODE_CONTINUATION = 0,
    OPCODE_TEXT = 1,
    OPCODE_BINARY = 2,
    OPCODE_CLOSE = 8,
    OPCODE_PING = 9,
    OPCODE_PONG = 10,
};

/* Bits of the first two bytes of a frame. */
enum { FIN = 0x80, RESERVED = 0x70, OPCODE = 0x0F, CONTROL = 0x08, MASKED = 0x80, LENGTH = 0x7F };
/* What LENGTH says when two or eight bytes with the length follow. */
enum { LENGTH_IN_2 = 126, LENGTH_IN_8 = 127 };

/* Where one call stands. to <= at <= end. */
struct cursor {
    uint8_t *at, *end;
    uint8_t *to; /* where the stream goes on */
};

static const char *const why_names[WS_WHY_COUNT] = {
    [WS_WHY_NONE] = "websocket: open",
    [WS_WHY_CLOSE_FRAME] = "websocket: closed by the peer",
    [WS_WHY_OURS] = "websocket: closed by the broker",
    [WS_WHY_MEMORY] = "websocket: out of memory",
    [WS_WHY_REQUEST_LINE] = "websocket: not an HTTP request",
    [WS_WHY_REQUEST_BYTE] = "websocket: control character in request",
    [WS_WHY_REQUEST_LONG] = "websocket: request line too long",
    [WS_WHY_HEADERS_LONG] = "websocket: headers too long",
    [WS_WHY_HEADERS_MANY] = "websocket: too many headers",
    [WS_WHY_HEADER_SYNTAX] = "websocket: malformed header",
    [WS_WHY_HEADER_FOLDED] = "websocket: folded header",
    [WS_WHY_HEADER_TWICE] = "websocket: header given twice",
    [WS_WHY_HTTP_VERSION] = "websocket: not HTTP/1.1",
    [WS_WHY_METHOD] = "websocket: method is not GET",
    [WS_WHY_PATH] = "websocket: no such path",
    [WS_WHY_BODY] = "websocket: request with a body",
    [WS_WHY_HOST] = "websocket: no Host header",
    [WS_WHY_UPGRADE] = "websocket: no upgrade asked for",
    [WS_WHY_CONNECTION] = "websocket: Connection header without upgrade",
    [WS_WHY_KEY] = "websocket: bad Sec-WebSocket-Key",
    [WS_WHY_VERSION] = "websocket: version is not 13",
    [WS_WHY_PROTOCOL] = "websocket: sub-protocol mqtt not offered",
    [WS_WHY_ORIGIN] = "websocket: origin not allowed",
    [WS_WHY_DIGEST] = "websocket: no digest",
    [WS_WHY_RESERVED_BITS] = "websocket: reserved bits set",
    [WS_WHY_OPCODE] = "websocket: reserved opcode",
    [WS_WHY_UNMASKED] = "websocket: unmasked frame",
    [WS_WHY_LENGTH_PADDED] = "websocket: length not in its shortest form",
    [WS_WHY_LENGTH_HUGE] = "websocket: length of 2^63 or more",
    [WS_WHY_TEXT] = "websocket: text frame",
    [WS_WHY_CONTINUATION] = "websocket: continuation of nothing",
    [WS_WHY_INTERRUPTED] = "websocket: new message within a fragmented one",
    [WS_WHY_CONTROL_FRAGMENTED] = "websocket: fragmented control frame",
    [WS_WHY_CONTROL_LONG] = "websocket: control frame over 125 bytes",
    [WS_WHY_CLOSE_PAYLOAD] = "websocket: bad close code",
    [WS_WHY_CLOSE_UTF8] = "websocket: close reason is not UTF-8",
};

const char *ws_why_name(enum ws_why why)
{
    CHECK(why < WS_WHY_COUNT);
    return why_names[why];
}

void ws_init(struct ws *ws, const struct ws_rules *rules)
{
    CHECK(rules->header_bytes == 0 || rules->header_bytes >= WS_HEADER_BYTES_MIN);
    CHECK(rules->header_bytes <= WS_HEADER_BYTES_MAX);
    *ws = (struct ws){.state = WS_REQUEST, .rules = rules};
}

void ws_fini(struct ws *ws)
{
    free(ws->held);
    ws->held = NULL;
    ws->held_n = ws->held_room = 0;
}

uint32_t ws_held(const struct ws *ws)
{
    return ws->held_room;
}

/* Copies n bytes behind what is held; room doubles from `first`, up to `most`. */
static bool hold(struct ws *ws, const uint8_t *p, uint32_t n, uint32_t first, uint32_t most)
{
    uint32_t room = ws->held_room ? ws->held_room : first;
    uint8_t *grown;

    CHECK(n <= most - ws->held_n);
    while (room < ws->held_n + n)
        room *= 2;
    if (room > most)
        room = most;
    if (room > ws->held_room) {
        grown = realloc(ws->held, room);
        if (!grown)
            return false;
        ws->held = grown;
        ws->held_room = room;
    }
    memcpy(ws->held + ws->held_n, p, n);
    ws->held_n += n;
    return true;
}

/* ---- what we send ---- */

/* Begins a control frame; a pong that stands in `out` gives way. */
static uint8_t *begin_control(struct ws_out *out, enum opcode opcode, uint32_t n)
{
    CHECK(n <= WS_CONTROL_BYTES_MAX && out->pong_at + 2 + n <= WS_OUT_BYTES_MAX);
    out->p[out->pong_at] = (uint8_t)(FIN | (int)opcode);
    out->p[out->pong_at + 1] = (uint8_t)n;
    out->n = out->pong_at + 2 + n;
    return out->p + out->pong_at + 2;
}

static void put_pong(struct ws_out *out, struct bytes payload)
{
    bytes_put(begin_control(out, OPCODE_PONG, payload.n), payload);
}

/* `code` 0: none. */
static void put_close(struct ws_out *out, uint16_t code)
{
    uint8_t *to = begin_control(out, OPCODE_CLOSE, code ? 2 : 0);

    if (code)
        put_be16(to, code);
    out->pong_at = out->n;
}

static uint16_t close_code_of(enum ws_why why)
{
    switch (why) {
    case WS_WHY_TEXT:
        return WS_CLOSE_UNSUPPORTED; /* [MQTT-6.0.0-1] */
    case WS_WHY_CLOSE_UTF8:
        return WS_CLOSE_NOT_UTF8;
    case WS_WHY_MEMORY:
        return WS_CLOSE_INTERNAL;
    default:
        return WS_CLOSE_PROTOCOL;
    }
}

/* Says why in the way that the state knows, and ends. */
static void fail(struct ws *ws, enum ws_why why, struct ws_out *out)
{
    if (ws->state == WS_REQUEST) {
        out->n = ws_refusal_write(why, out->p);
        out->pong_at = out->n;
    } else if (why != WS_WHY_CLOSE_FRAME) {
        put_close(out, close_code_of(why));
    }
    ws_fini(ws);
    ws->state = WS_CLOSED;
    ws->why = (uint8_t)why;
}

uint32_t ws_frame_header(uint8_t to[WS_FRAME_HEADER_BYTES_MAX], uint64_t n)
{
    to[0] = FIN | OPCODE_BINARY;
    if (n < LENGTH_IN_2) {
        to[1] = (uint8_t)n;
        return 2;
    }
    if (n <= UINT16_MAX) {
        to[1] = LENGTH_IN_2;
        put_be16(to + 2, (uint16_t)n);
        return 4;
    }
    CHECK(n >> 63 == 0);
    to[1] = LENGTH_IN_8;
    put_be32(put_be32(to + 2, (uint32_t)(n >> 32)), (uint32_t)n);
    return 10;
}

uint32_t ws_close(struct ws *ws, enum ws_close_code code, uint8_t to[WS_CLOSE_FRAME_BYTES])
{
    bool is_open = ws->state == WS_OPEN;

    if (ws->state == WS_CLOSED)
        return 0;
    ws_fini(ws);
    ws->state = WS_CLOSED;
    ws->why = WS_WHY_OURS;
    if (!is_open)
        return 0;
    to[0] = FIN | OPCODE_CLOSE;
    to[1] = 2;
    put_be16(to + 2, (uint16_t)code);
    return WS_CLOSE_FRAME_BYTES;
}

/* ---- the request ---- */

/* One more byte of the request. *is_whole: the empty line is complete. */
static enum ws_why scan_byte(struct ws *ws, uint8_t c, bool *is_whole)
{
    uint8_t last = ws->last;

    ws->last = c;
    if (c == '\n') {
        if (last != '\r')
            return WS_WHY_REQUEST_BYTE;
        if (ws->line_n == 0 && !ws->in_headers)
            return WS_WHY_REQUEST_LINE;
        *is_whole = ws->line_n == 0;
        ws->in_headers = true;
        ws->line_n = 0;
        return WS_WHY_NONE;
    }
    if (last == '\r')
        return WS_WHY_REQUEST_BYTE;
    if (c == '\r')
        return WS_WHY_NONE;
    if ((c < ' ' && c != '\t') || c == 0x7F)
        return WS_WHY_REQUEST_BYTE;
    ws->line_n++;
    return WS_WHY_NONE;
}

static uint32_t request_most(const struct ws *ws)
{
    return ws->rules->header_bytes ? ws->rules->header_bytes : WS_HEADER_BYTES_DEFAULT;
}

/* Looks for the end of the request among the next n bytes; *taken of them belong to it. */
static enum ws_why scan_request(struct ws *ws, const uint8_t *p, uint32_t n, uint32_t *taken,
                                bool *is_whole)
{
    enum ws_why why = WS_WHY_NONE;
    uint32_t i = 0;

    *is_whole = false;
    while (i < n && !*is_whole && why == WS_WHY_NONE) {
        if (ws->held_n + i == request_most(ws))
            why = ws->in_headers ? WS_WHY_HEADERS_LONG : WS_WHY_REQUEST_LONG;
        else
            why = scan_byte(ws, p[i++], is_whole);
    }
    *taken = i;
    return why;
}

/* The request is whole: grants or refuses it. */
static enum ws_why answer_request(struct ws *ws, struct bytes request, struct ws_out *out)
{
    struct ws_request r;
    enum ws_why why = ws_request_read(ws->rules, request, &r);

    if (why != WS_WHY_NONE)
        return why;
    if (ws_accept_write(ws->rules, &r, out->p, &out->n) != OK)
        return WS_WHY_DIGEST;
    out->pong_at = out->n;
    ws_fini(ws);
    ws->protocol = (uint8_t)r.protocol;
    ws->state = WS_OPEN;
    return WS_WHY_NONE;
}

static enum ws_why take_request(struct ws *ws, struct cursor *c, struct ws_out *out)
{
    uint32_t taken;
    bool is_whole;
    struct bytes request;
    enum ws_why why = scan_request(ws, c->at, (uint32_t)(c->end - c->at), &taken, &is_whole);

    if (why != WS_WHY_NONE)
        return why;
    request = bytes_of(c->at, taken);
    c->at += taken;
    if (!is_whole || ws->held_n > 0) {
        if (!hold(ws, request.p, request.n, REQUEST_ROOM, request_most(ws)))
            return WS_WHY_MEMORY;
        request = bytes_of(ws->held, ws->held_n);
    }
    return is_whole ? answer_request(ws, request, out) : WS_WHY_NONE;
}

/* ---- headers of frames ---- */

/* Judges the first two bytes. */
static enum ws_why judge_start(const struct ws *ws)
{
    uint8_t first = ws->header[0], second = ws->header[1];

    if (first & RESERVED)
        return WS_WHY_RESERVED_BITS;
    if (!(second & MASKED))
        return WS_WHY_UNMASKED;
    switch (first & OPCODE) {
    case OPCODE_CONTINUATION:
        return ws->in_message ? WS_WHY_NONE : WS_WHY_CONTINUATION;
    case OPCODE_TEXT:
        return WS_WHY_TEXT;
    case OPCODE_BINARY:
        return ws->in_message ? WS_WHY_INTERRUPTED : WS_WHY_NONE;
    case OPCODE_CLOSE:
    case OPCODE_PING:
    case OPCODE_PONG:
        if (!(first & FIN))
            return WS_WHY_CONTROL_FRAGMENTED;
        return (second & LENGTH) > WS_CONTROL_BYTES_MAX ? WS_WHY_CONTROL_LONG : WS_WHY_NONE;
    default:
        return WS_WHY_OPCODE;
    }
}

/* Bytes of the header with its masking key, once its first two bytes are there. */
static uint32_t header_size(const struct ws *ws)
{
    uint8_t length = ws->header[1] & LENGTH;

    return 6 + (length == LENGTH_IN_2 ? 2u : length == LENGTH_IN_8 ? 8u : 0u);
}

/* Reads the length of a whole header. */
static enum ws_why judge_length(struct ws *ws)
{
    uint8_t length = ws->header[1] & LENGTH;

    ws->left = length;
    if (length == LENGTH_IN_2) {
        ws->left = get_be16(ws->header + 2);
        if (ws->left < LENGTH_IN_2)
            return WS_WHY_LENGTH_PADDED;
    } else if (length == LENGTH_IN_8) {
        ws->left = (uint64_t)get_be32(ws->header + 2) << 32 | get_be32(ws->header + 6);
        if (ws->left >> 63)
            return WS_WHY_LENGTH_HUGE;
        if (ws->left <= UINT16_MAX)
            return WS_WHY_LENGTH_PADDED;
    }
    return WS_WHY_NONE;
}

/* Goes on with a header as far as there are bytes; in_payload: it is whole. */
static enum ws_why take_header(struct ws *ws, struct cursor *c)
{
    enum ws_why why;

    while (c->at < c->end && ws->header_n < 2)
        ws->header[ws->header_n++] = *c->at++;
    if (ws->header_n < 2)
        return WS_WHY_NONE;
    why = judge_start(ws); /* again with every call: cheaper than to remember that it was done */
    if (why != WS_WHY_NONE)
        return why;
    while (c->at < c->end && ws->header_n < header_size(ws))
        ws->header[ws->header_n++] = *c->at++;
    if (ws->header_n < header_size(ws))
        return WS_WHY_NONE;
    ws->in_payload = true;
    ws->mask_idx = 0;
    return judge_length(ws);
}

/* ---- payloads ---- */

/* Unmasks the next n bytes of the payload; `to` is `from` or lies before it. */
static void unmask(struct ws *ws, uint8_t *to, const uint8_t *from, uint32_t n)
{
    const uint8_t *mask = ws->header + ws->header_n - 4;
    uint8_t key[8];
    uint64_t key64, a, b;
    uint32_t i = 0;

    for (uint32_t k = 0; k < 8; k++)
        key[k] = mask[(ws->mask_idx + k) & 3];
    memcpy(&key64, key, 8);
    for (; n - i >= 16; i += 16) {
        memcpy(&a, from + i, 8); /* all reads before the writes: the two may overlap */
        memcpy(&b, from + i + 8, 8);
        a ^= key64;
        b ^= key64;
        memcpy(to + i, &a, 8);
        memcpy(to + i + 8, &b, 8);
    }
    for (; i < n; i++)
        to[i] = from[i] ^ key[i & 7];
    ws->mask_idx = (uint8_t)((ws->mask_idx + n) & 3);
}

/* Codes that a peer may put into a close frame (RFC 6455, 7.4, and the IANA registry). */
static bool close_code_valid(uint16_t code)
{
    if (code >= 3000)
        return code <= 4999;
    return code >= 1000 && code <= 1014 && (code < 1004 || code > 1006);
}

/* utf8_valid refuses U+0000, which is legal here; it is never part of a longer character. */
static bool reason_valid(struct bytes s)
{
    while (s.n > 0) {
        const uint8_t *nul = memchr(s.p, 0, s.n);
        uint32_t n = nul ? (uint32_t)(nul - s.p) : s.n;

        if (!utf8_valid(bytes_of(s.p, n)))
            return false;
        n += nul != NULL;
        s = bytes_of(s.p + n, s.n - n);
    }
    return true;
}

/* A close frame is answered with its own code; what follows it is thrown away. */
static enum ws_why on_close(struct bytes payload, struct ws_out *out)
{
    uint16_t code = payload.n >= 2 ? get_be16(payload.p) : 0;

    if (payload.n == 1 || (payload.n >= 2 && !close_code_valid(code)))
        return WS_WHY_CLOSE_PAYLOAD;
    if (payload.n > 2 && !reason_valid(bytes_of(payload.p + 2, payload.n - 2)))
        return WS_WHY_CLOSE_UTF8;
    put_close(out, code);
    return WS_WHY_CLOSE_FRAME;
}

/* Takes n bytes of a control frame, its last ones if n == left. */
static enum ws_why take_control(struct ws *ws, uint8_t *p, uint32_t n, struct ws_out *out)
{
    uint8_t opcode = ws->header[0] & OPCODE;
    struct bytes payload = bytes_of(p, n);
    enum ws_why why = WS_WHY_NONE;

    if (opcode == OPCODE_PONG)
        return WS_WHY_NONE; /* unasked for, and allowed */
    unmask(ws, p, p, n);
    if (n < ws->left || ws->held_n > 0) {
        if (!hold(ws, p, n, WS_CONTROL_BYTES_MAX, WS_CONTROL_BYTES_MAX))
            return WS_WHY_MEMORY;
        payload = bytes_of(ws->held, ws->held_n);
    }
    if (n < ws->left)
        return WS_WHY_NONE;
    if (opcode == OPCODE_PING)
        put_pong(out, payload);
    else
        why = on_close(payload, out);
    ws_fini(ws);
    return why;
}

/* Takes what there is of a payload, and ends the frame with its last byte. */
static enum ws_why take_payload(struct ws *ws, struct cursor *c, struct ws_out *out)
{
    uint32_t there = (uint32_t)(c->end - c->at);
    uint32_t n = ws->left < there ? (uint32_t)ws->left : there;
    enum ws_why why;

    if (ws->header[0] & CONTROL) {
        why = take_control(ws, c->at, n, out);
        if (why != WS_WHY_NONE)
            return why;
    } else {
        unmask(ws, c->to, c->at, n);
        c->to += n;
        ws->in_message = !(ws->header[0] & FIN);
    }
    c->at += n;
    ws->left -= n;
    if (ws->left == 0) {
        ws->in_payload = false;
        ws->header_n = 0;
    }
    return WS_WHY_NONE;
}

static enum ws_why take_frames(struct ws *ws, struct cursor *c, struct ws_out *out)
{
    enum ws_why why = WS_WHY_NONE;

    while (c->at < c->end && why == WS_WHY_NONE) {
        if (!ws->in_payload)
            why = take_header(ws, c);
        if (ws->in_payload && why == WS_WHY_NONE)
            why = take_payload(ws, c, out); /* an empty one, too */
    }
    return why;
}

enum err ws_input(struct ws *ws, uint8_t *p, uint32_t n, uint32_t *plain, struct ws_out *out)
{
    struct cursor c;
    enum ws_why why = WS_WHY_NONE;

    c.at = c.to = p;
    c.end = p + n;
    out->n = out->pong_at = 0;
    *plain = 0;
    if (ws->state == WS_CLOSED)
        return ERR_PEER;
    if (n == 0)
        return OK;
    if (ws->state == WS_REQUEST)
        why = take_request(ws, &c, out);
    if (ws->state == WS_OPEN && why == WS_WHY_NONE)
        why = take_frames(ws, &c, out);
    *plain = (uint32_t)(c.to - p);
    if (why == WS_WHY_NONE)
        return OK;
    fail(ws, why, out);
    return why == WS_WHY_MEMORY ? ERR_MEMORY : ERR_PEER;
}
