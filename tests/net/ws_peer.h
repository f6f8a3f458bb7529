/* tests/net/ws_peer.h -- the other end of a WebSocket, for tests.
 *
 *     struct ws_peer p;
 *
 *     ws_peer_open(&p);                        the handshake is over
 *     ws_peer_frame(&p, 0x82, "abc", 3);       a masked binary frame, to be sent
 *     assert_int_equal(ws_peer_send(&p, 1), OK);    one byte at a time
 *     ws_peer_expect(&p, "abc", "");           the stream, and what was sent back in hex
 *     ws_peer_close(&p);
 *
 * Every chunk is offered in heap memory of just its size, so that the address sanitizer sees one
 * byte too many.
 */
#ifndef TESTS_NET_WS_PEER_H
#define TESTS_NET_WS_PEER_H

#include "net/ws.h"
#include "tests/core/mqtt/wire.h"
#include "tests/support/test.h"

#define WS_PEER_BYTES_MAX (256u << 10)

/* The request of RFC 6455, 1.2, in one piece with all that is needed. */
#define WS_PEER_REQUEST                                                                            \
    "GET /mqtt HTTP/1.1\r\n"                                                                       \
    "Host: server.example.com\r\n"                                                                 \
    "Upgrade: websocket\r\n"                                                                       \
    "Connection: Upgrade\r\n"                                                                      \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"                                              \
    "Origin: http://example.com\r\n"                                                               \
    "Sec-WebSocket-Protocol: mqtt\r\n"                                                             \
    "Sec-WebSocket-Version: 13\r\n\r\n"

#define WS_PEER_ANSWER                                                                             \
    "HTTP/1.1 101 Switching Protocols\r\n"                                                         \
    "Upgrade: websocket\r\n"                                                                       \
    "Connection: Upgrade\r\n"                                                                      \
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"                                       \
    "Sec-WebSocket-Protocol: mqtt\r\n\r\n"

struct ws_peer {
    struct ws ws;
    struct ws_rules rules;
    uint8_t in[WS_PEER_BYTES_MAX]; /* to be sent */
    uint32_t in_n;
    uint8_t plain[WS_PEER_BYTES_MAX]; /* the stream so far */
    uint32_t plain_n;
    uint8_t out[WS_PEER_BYTES_MAX]; /* what was sent back */
    uint32_t out_n;
    uint32_t held_most;
    uint32_t pongs;
};

/* SHA-1 of two keys with their GUID, as openssl gives it; nothing else may be asked. */
static inline enum err ws_peer_sha1(const uint8_t *p, uint32_t n, uint8_t digest[WS_SHA1_BYTES])
{
    static const struct {
        const char *text, *digest;
    } known[] = {
        {"dGhlIHNhbXBsZSBub25jZQ==258EAFA5-E914-47DA-95CA-C5AB0DC85B11",
         "b37a4f2cc0624f1690f64606cf385945b2bec4ea"},
        {"x3JJHMbDL1EzLkh9GBhXDw==258EAFA5-E914-47DA-95CA-C5AB0DC85B11",
         "1d29ab734b0c9585240069a6e4e3e91b61da1969"},
    };

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (bytes_eq(bytes_of(p, n), bytes_str(known[i].text))) {
            struct bytes b = wire(known[i].digest);

            memcpy(digest, b.p, WS_SHA1_BYTES);
            wire_free(b);
            return OK;
        }
    }
    return ERR_SYSTEM;
}

/* A connection before its request. */
static inline void ws_peer_init(struct ws_peer *p)
{
    memset(p, 0, sizeof(*p));
    p->rules = (struct ws_rules){.path = BYTES_LIT("/mqtt"), .sha1 = ws_peer_sha1};
    ws_init(&p->ws, &p->rules);
}

/* Appends bytes to what is to be sent. */
static inline void ws_peer_bytes(struct ws_peer *p, const void *bytes, size_t n)
{
    CHECK(p->in_n + n <= WS_PEER_BYTES_MAX);
    memcpy(p->in + p->in_n, bytes, n);
    p->in_n += (uint32_t)n;
}

/* Appends a string. */
static inline void ws_peer_text(struct ws_peer *p, const char *text)
{
    ws_peer_bytes(p, text, strlen(text));
}

/* Appends bytes as wire() writes them. */
static inline void ws_peer_wire(struct ws_peer *p, const char *text)
{
    struct bytes b = wire(text);

    ws_peer_bytes(p, b.p, b.n);
    wire_free(b);
}

/* Appends a masked frame; the key changes with every frame. */
static inline void ws_peer_frame(struct ws_peer *p, uint8_t first, const void *payload, size_t n)
{
    uint8_t header[10], key[4] = {(uint8_t)(0x37 + p->in_n), 0xFA, 0x21, (uint8_t)n};
    uint32_t size = ws_frame_header(header, n);
    const uint8_t *from = payload;

    header[0] = first;
    header[1] |= 0x80;
    ws_peer_bytes(p, header, size);
    ws_peer_bytes(p, key, 4);
    for (size_t i = 0; i < n; i++) {
        uint8_t c = from[i] ^ key[i % 4];

        ws_peer_bytes(p, &c, 1);
    }
}

/* Sends all of it in chunks of `step` bytes (0: at once) until an error; what is not sent then is
 * forgotten. */
static inline enum err ws_peer_send(struct ws_peer *p, uint32_t step)
{
    enum err err = OK;

    for (uint32_t at = 0; at < p->in_n && err == OK;) {
        uint32_t n = step && step < p->in_n - at ? step : p->in_n - at, plain;
        uint8_t *chunk = exact_copy(p->in + at, n);
        struct ws_out out;

        err = ws_input(&p->ws, chunk, n, &plain, &out);
        CHECK(plain <= n && out.n <= WS_OUT_BYTES_MAX && out.pong_at <= out.n);
        memcpy(p->plain + p->plain_n, chunk, plain);
        memcpy(p->out + p->out_n, out.p, out.n);
        p->plain_n += plain;
        p->out_n += out.n;
        p->pongs += out.pong_at < out.n;
        if (ws_held(&p->ws) > p->held_most)
            p->held_most = ws_held(&p->ws);
        free(chunk);
        at += n;
    }
    p->in_n = 0;
    return err;
}

/* All that came since the last time; `out` as wire() writes it. */
static inline void ws_peer_expect(struct ws_peer *p, const char *plain, const char *out)
{
    struct bytes want = wire(out);

    assert_int_equal(p->plain_n, strlen(plain));
    assert_memory_equal(p->plain, plain, p->plain_n);
    assert_int_equal(p->out_n, want.n);
    assert_memory_equal(p->out, want.p, want.n);
    wire_free(want);
    p->plain_n = p->out_n = 0;
}

/* A connection after its handshake. */
static inline void ws_peer_open(struct ws_peer *p)
{
    ws_peer_init(p);
    ws_peer_text(p, WS_PEER_REQUEST);
    assert_int_equal(ws_peer_send(p, 0), OK);
    assert_int_equal(p->ws.state, WS_OPEN);
    p->out_n = 0;
}

/* Ends it; nothing may be held any more once it is over. */
static inline void ws_peer_close(struct ws_peer *p)
{
    if (p->ws.state == WS_CLOSED)
        assert_int_equal(ws_held(&p->ws), 0);
    ws_fini(&p->ws);
}

#endif
