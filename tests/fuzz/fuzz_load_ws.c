/* tests/fuzz/fuzz_load_ws.c -- what a broker sends within WebSocket, and frames without MQTT.
 *
 * Input: a byte that says how long the pieces are, then what the broker sends, first an answer to
 * the handshake. What is carried must be the same taken whole and in pieces, and pongs must be as
 * long as RFC 6455 lets them. Then the same bytes as frames of tools/load_bare.h.
 */
#include <stdlib.h>

#include "core/base/check.h"
#include "tools/load_bare.h"
#include "tools/load_ws.h"

#define BYTES_MAX 65536u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct reading {
    uint8_t plain[BYTES_MAX];
    uint32_t plain_n;
    enum err end;
};

static struct reading whole, pieces;

/* Takes the bytes in pieces, each in memory of just its size. */
static void take_frames(struct reading *r, struct bytes in, uint32_t piece)
{
    uint8_t pong[LOAD_WS_PONG_BYTES_MAX];
    struct load_ws ws = {0};

    r->plain_n = 0;
    r->end = OK;
    for (uint32_t at = 0; at < in.n && r->end == OK; at += piece) {
        uint32_t n = in.n - at < piece ? in.n - at : piece, plain, pong_n;
        uint8_t *copy = malloc(n);

        CHECK(copy != NULL);
        memcpy(copy, in.p + at, n);
        r->end = load_ws_input(&ws, copy, n, &plain, pong, &pong_n);
        CHECK(plain <= n && pong_n <= sizeof(pong));
        CHECK(pong_n == 0 || (pong[0] == 0x8a && (pong[1] & 0x7fu) == pong_n - 6));
        memcpy(r->plain + r->plain_n, copy, plain);
        r->plain_n += plain;
        free(copy);
    }
}

static void take_bare(struct bytes in)
{
    struct load_bare_frame f;
    uint32_t used;

    while (load_bare_next(in, &f, &used) == OK) {
        uint8_t *again = malloc(used);

        CHECK(used <= in.n && used == LOAD_BARE_HEADER_BYTES + f.payload.n && again != NULL);
        CHECK(load_bare_put(again, &f) == again + used);
        CHECK(memcmp(again, in.p, 5) == 0 && memcmp(again + 6, in.p + 6, used - 6) == 0);
        free(again);
        in = bytes_of(in.p + used, in.n - used);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes in;
    uint32_t used = 0;

    if (size < 2 || size > BYTES_MAX)
        return 0;
    in = bytes_of(data + 1, size - 1);
    if (load_ws_answer(in, &used) == OK) {
        CHECK(used <= in.n);
        in = bytes_of(in.p + used, in.n - used);
    }
    take_frames(&whole, in, BYTES_MAX);
    take_frames(&pieces, in, data[0] + 1u);
    CHECK(whole.end == pieces.end);
    CHECK(whole.plain_n == pieces.plain_n && memcmp(whole.plain, pieces.plain, whole.plain_n) == 0);
    take_bare(in);
    return 0;
}
