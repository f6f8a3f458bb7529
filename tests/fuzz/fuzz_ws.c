/* tests/fuzz/fuzz_ws.c -- a WebSocket gives the same stream and the same end however it is cut.
 *
 * Input: a byte that seeds the cuts, a byte of flags (1: the handshake is over already; 2: a small
 * bound for the request; 4: only some origins may), then what the client sends. It is taken once
 * whole and once in pieces, in memory of just their size.
 */
#include "core/base/check.h"
#include "net/ws.h"

#define BYTES_MAX 65536u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char request[] = "GET /mqtt HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n"
                              "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                              "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                              "Sec-WebSocket-Protocol: mqtt\r\n\r\n";

/* What came of one way to cut the stream. */
struct reading {
    uint8_t plain[BYTES_MAX];
    uint32_t plain_n;
    uint64_t last_sum; /* of what was sent with the end */
    enum err end;
    enum ws_why why;
};

static struct reading whole, pieces;

static enum err fake_sha1(const uint8_t *p, uint32_t n, uint8_t digest[WS_SHA1_BYTES])
{
    CHECK(n == 60);
    memcpy(digest, p, WS_SHA1_BYTES);
    return OK;
}

/* All that is sent after the handshake must be whole, unmasked, valid frames. */
static void check_frames(const uint8_t *p, uint32_t n)
{
    uint32_t at = 0;

    while (at < n) {
        CHECK(n - at >= 2 && (p[at] == 0x8A || p[at] == 0x88) && p[at + 1] <= 125);
        CHECK(p[at] != 0x88 || at + 2 + p[at + 1] == n);
        at += 2u + p[at + 1];
        CHECK(at <= n);
    }
}

static void take(struct ws *ws, struct reading *r, const uint8_t *p, uint32_t n)
{
    bool was_open = ws->state == WS_OPEN;
    uint8_t *copy = malloc(n);
    struct ws_out out;
    uint32_t plain;

    CHECK(copy != NULL);
    memcpy(copy, p, n);
    r->end = ws_input(ws, copy, n, &plain, &out);
    CHECK(plain <= n && out.n <= WS_OUT_BYTES_MAX && out.pong_at <= out.n);
    CHECK((r->end == OK) == (ws->state != WS_CLOSED));
    CHECK(ws_held(ws) <= (ws->state == WS_REQUEST ? 4096 : WS_CONTROL_BYTES_MAX));
    if (was_open)
        check_frames(out.p, out.n);
    memcpy(r->plain + r->plain_n, copy, plain);
    r->plain_n += plain;
    r->last_sum = 0;
    if (ws->state == WS_CLOSED && was_open) {
        for (uint32_t i = 0; i < out.n; i++)
            r->last_sum = r->last_sum * 31 + out.p[i];
    }
    free(copy);
}

/* Feeds the stream in pieces of the seed's choice (0: whole). */
static void run(struct reading *r, const struct ws_rules *rules, bool is_open, uint32_t seed,
                struct bytes in)
{
    struct ws ws;

    ws_init(&ws, rules);
    r->plain_n = 0;
    r->end = OK;
    if (is_open)
        take(&ws, r, (const uint8_t *)request, sizeof(request) - 1);
    CHECK(!is_open || ws.state == WS_OPEN);
    for (uint32_t at = 0; at < in.n && r->end == OK;) {
        uint32_t n = in.n - at;

        seed = seed * 1103515245u + 12345u;
        if (r == &pieces && n > 1 + (seed >> 16) % 9)
            n = 1 + (seed >> 16) % 9;
        take(&ws, r, in.p + at, n);
        at += n;
    }
    r->why = (enum ws_why)ws.why;
    CHECK(ws_why_name(r->why) != NULL);
    ws_fini(&ws);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct bytes origins[] = {{(const uint8_t *)"https://a", 9}};
    struct ws_rules rules = {.path = BYTES_LIT("/mqtt"), .sha1 = fake_sha1};
    bool is_open;
    struct bytes in;

    if (size < 2 || size > BYTES_MAX)
        return 0;
    is_open = data[1] & 1;
    rules.header_bytes = data[1] & 2 ? WS_HEADER_BYTES_MIN : 0;
    rules.origins = origins;
    rules.origin_count = data[1] & 4 ? 1 : 0;
    in = bytes_of(data + 2, size - 2);
    run(&whole, &rules, is_open, 0, in);
    run(&pieces, &rules, is_open, data[0], in);
    CHECK(whole.end == pieces.end && whole.why == pieces.why);
    CHECK(whole.plain_n == pieces.plain_n);
    CHECK(memcmp(whole.plain, pieces.plain, whole.plain_n) == 0);
    /* pongs may differ, as only the last one of a call is sent; the end may not */
    CHECK(!is_open || whole.last_sum == pieces.last_sum);
    return 0;
}
