/* tools/load_ws.c -- the client's side of WebSocket (RFC 6455), for the load generator. */
#include "tools/load_ws.h"

#include <stdio.h>
#include <strings.h>

/* The example of RFC 6455, 1.3, and what answers it. */
#define KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define ANSWER "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

#define FRAME_END 0x80u
#define FRAME_MASKED 0x80u
#define RESERVED_BITS 0x70u
enum { OP_MORE = 0, OP_BINARY = 2, OP_CLOSE = 8, OP_PING = 9, OP_PONG = 10 };

/* ---- the handshake ---- */

uint32_t load_ws_request(char to[LOAD_WS_REQUEST_BYTES_MAX], const char *host, const char *path)
{
    bool is_ipv6 = strchr(host, ':') != NULL;
    int n = snprintf(to, LOAD_WS_REQUEST_BYTES_MAX,
                     "GET %s HTTP/1.1\r\nHost: %s%s%s\r\nUpgrade: websocket\r\n"
                     "Connection: Upgrade\r\nSec-WebSocket-Key: " KEY "\r\n"
                     "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n",
                     path, is_ipv6 ? "[" : "", host, is_ipv6 ? "]" : "");

    return n > 0 && (uint32_t)n < LOAD_WS_REQUEST_BYTES_MAX ? (uint32_t)n : 0;
}

/* Whether a header line has this name and, but for blanks around it, this value. */
static bool line_says(struct bytes line, const char *name, const char *value)
{
    uint32_t at = (uint32_t)strlen(name);
    uint32_t n = (uint32_t)strlen(value);

    if (line.n < at + 1 || strncasecmp((const char *)line.p, name, at) != 0 || line.p[at] != ':')
        return false;
    at++;
    while (at < line.n && line.p[at] == ' ')
        at++;
    while (line.n > at && line.p[line.n - 1] == ' ')
        line.n--;
    return line.n - at == n && memcmp(line.p + at, value, n) == 0;
}

enum err load_ws_answer(struct bytes in, uint32_t *used)
{
    const uint8_t *end = memmem(in.p, in.n, "\r\n\r\n", 4);
    bool is_ours = false;
    struct bytes rest;

    if (!end)
        return in.n < LOAD_WS_ANSWER_BYTES_MAX ? ERR_MORE : ERR_PEER;
    *used = (uint32_t)(end + 4 - in.p);
    rest = bytes_of(in.p, *used - 2);
    if (!bytes_begin(rest, BYTES_LIT("HTTP/1.1 101")))
        return ERR_PEER;
    while (rest.n > 0) {
        const uint8_t *eol = memmem(rest.p, rest.n, "\r\n", 2);
        struct bytes line = bytes_of(rest.p, (size_t)(eol - rest.p));

        is_ours = is_ours || line_says(line, "Sec-WebSocket-Accept", ANSWER);
        rest = bytes_of(eol + 2, rest.n - line.n - 2);
    }
    return is_ours ? OK : ERR_PEER;
}

/* ---- frames of ours ---- */

uint32_t load_ws_header_bytes(uint32_t n)
{
    return n < 126 ? 6 : n <= UINT16_MAX ? 8 : 14;
}

static void write_frame(uint8_t *to, uint8_t op, uint32_t n, uint32_t key)
{
    uint8_t mask[4];

    *to++ = (uint8_t)(FRAME_END | op);
    if (n < 126) {
        *to++ = (uint8_t)(FRAME_MASKED | n);
    } else if (n <= UINT16_MAX) {
        *to++ = FRAME_MASKED | 126;
        to = put_be16(to, (uint16_t)n);
    } else {
        *to++ = FRAME_MASKED | 127;
        to = put_be32(put_be32(to, 0), n);
    }
    put_be32(mask, key);
    to = put_be32(to, key);
    for (uint32_t i = 0; i < n; i++)
        to[i] ^= mask[i & 3];
}

void load_ws_frame(uint8_t *to, uint32_t n, uint32_t key)
{
    write_frame(to, OP_BINARY, n, key);
}

/* ---- frames of theirs ---- */

/* Bytes of the header that begins with these. */
static uint32_t header_need(const uint8_t *header, uint32_t n)
{
    uint32_t length;

    if (n < 2)
        return 2;
    length = header[1] & 0x7fu;
    return length < 126 ? 2 : length == 126 ? 4 : 10;
}

static bool begin_payload(struct load_ws *ws)
{
    const uint8_t *h = ws->header;
    uint8_t op = h[0] & 0x0f;
    bool is_control = op >= OP_CLOSE;

    ws->left = h[1] & 0x7fu;
    if (ws->left == 126)
        ws->left = get_be16(h + 2);
    else if (ws->left == 127)
        ws->left = ((uint64_t)get_be32(h + 2) << 32) | get_be32(h + 6);
    ws->in_payload = true;
    ws->ping_n = 0;
    if ((h[0] & RESERVED_BITS) || (h[1] & FRAME_MASKED))
        return false;
    if (is_control && (ws->left > sizeof(ws->ping) || !(h[0] & FRAME_END)))
        return false;
    return op == OP_MORE || op == OP_BINARY || op == OP_PING || op == OP_PONG;
}

static uint32_t end_payload(struct load_ws *ws, uint8_t *to)
{
    uint8_t op = ws->header[0] & 0x0f;

    ws->in_payload = false;
    ws->header_n = 0;
    if (op != OP_PING)
        return 0;
    memcpy(to + 6, ws->ping, ws->ping_n);
    write_frame(to, OP_PONG, ws->ping_n, 0);
    return ws->ping_n + 6;
}

enum err load_ws_input(struct load_ws *ws, uint8_t *p, uint32_t n, uint32_t *plain,
                       uint8_t to[LOAD_WS_PONG_BYTES_MAX], uint32_t *pong)
{
    uint32_t at = 0;

    *plain = *pong = 0;
    while (at < n || (ws->in_payload && ws->left == 0)) {
        uint32_t part;

        if (!ws->in_payload) {
            ws->header[ws->header_n++] = p[at++];
            if (ws->header_n == header_need(ws->header, ws->header_n) && !begin_payload(ws))
                return ERR_PEER;
            continue;
        }
        part = n - at < ws->left ? n - at : (uint32_t)ws->left;
        if ((ws->header[0] & 0x0f) < OP_CLOSE) {
            memmove(p + *plain, p + at, part);
            *plain += part;
        } else {
            memcpy(ws->ping + ws->ping_n, p + at, part);
            ws->ping_n += part;
        }
        at += part;
        ws->left -= part;
        if (ws->left == 0) {
            uint32_t answer = end_payload(ws, to);

            *pong = answer ? answer : *pong;
        }
    }
    return OK;
}
