/* tests/fuzz/fuzz_frame.c -- a stream gives the same packets however it is cut.
 *
 * Input: a byte that seeds the cuts, a byte that chooses the bound, then the stream. The stream is
 * taken once whole and once as it would arrive in pieces.
 */
#include "core/base/check.h"
#include "core/mqtt/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* How a stream ended, and a sum over all packets before that. */
struct reading {
    uint64_t sum;
    uint32_t packets, consumed;
    enum err end;
};

static void add_frame(struct reading *r, const struct frame *f, const uint8_t *start)
{
    CHECK(f->header_size >= 2 && f->header_size <= 5);
    CHECK(f->body.p == start + f->header_size);
    r->sum = r->sum * 31 + f->first;
    r->sum = r->sum * 31 + f->body.n;
    for (uint32_t i = 0; i < f->body.n; i++)
        r->sum = r->sum * 31 + f->body.p[i];
    r->consumed += f->header_size + f->body.n;
    r->packets++;
}

/* Takes all packets that `in` holds behind what was consumed. */
static void take_frames(struct reading *r, struct bytes in, uint32_t bytes_max)
{
    struct frame f;
    uint32_t need;

    for (;;) {
        struct bytes rest = {in.p + r->consumed, in.n - r->consumed};

        r->end = frame_next(rest, bytes_max, &f, &need);
        if (r->end != OK) {
            CHECK(r->end != ERR_MORE || need == 0 || (need > rest.n && need <= bytes_max));
            CHECK(r->end != ERR_FULL || need > bytes_max);
            return;
        }
        CHECK(need == f.header_size + f.body.n && need <= bytes_max);
        add_frame(r, &f, rest.p);
    }
}

static void check_varint(struct bytes in)
{
    uint32_t value, size;
    uint8_t out[4];

    if (varint_get(in.p, in.n, &value, &size) != OK)
        return;
    CHECK(varint_size(value) == size);
    CHECK(varint_put(out, value) == out + size);
    CHECK(memcmp(out, in.p, size) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reading whole = {0}, pieces = {.end = ERR_MORE};
    uint32_t seed, bytes_max, have = 0;
    struct bytes in;

    if (size < 3)
        return 0;
    seed = data[0];
    bytes_max = data[1] ? data[1] * 4u : 268435460u;
    in = bytes_of(data + 2, size - 2);
    check_varint(in);
    take_frames(&whole, in, bytes_max);
    while (have < in.n && pieces.end == ERR_MORE) {
        uint32_t step;

        seed = seed * 1103515245u + 12345u;
        step = 1 + (seed >> 16) % 9;
        have = in.n - have < step ? in.n : have + step;
        take_frames(&pieces, bytes_of(in.p, have), bytes_max);
    }
    CHECK(whole.packets == pieces.packets);
    CHECK(whole.consumed == pieces.consumed);
    CHECK(whole.sum == pieces.sum);
    CHECK(whole.end == pieces.end);
    return 0;
}
