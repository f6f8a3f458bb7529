/* tests/fuzz/fuzz_packing.c -- compressed frames of any bytes, taken; and any MESSAGES frame packed
 * and taken again: it must come out as it was.
 */
#include <stdlib.h>

#include "core/base/check.h"
#include "link/packing.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FRAME_BYTES_MAX (1u << 14)

static struct packing packing;

/* Through our own side, where that makes it smaller. */
static void check_again(struct bytes plain)
{
    struct packer k = {0};
    uint8_t *to = packing_room(&packing);
    struct bytes packed;
    struct native_frame f, g;

    if (!to || !packer_wants(&k, plain.n))
        return;
    bytes_put(to, plain);
    packed = packing_pack(&packing, &k, plain.n);
    if (packed.n == 0)
        return;
    CHECK(packed.n < plain.n);
    CHECK(native_frame_decode(packed, &f) == OK && f.kind == NATIVE_DEFLATED);
    CHECK(packing_take(&packing, &f, &g) == OK);
    CHECK(native_frame_decode(plain, &f) == OK && f.kind == g.kind && f.first == g.first);
    CHECK(f.count == g.count && bytes_eq(f.body, g.body));
}

static void check_records(const struct native_frame *f)
{
    struct native_records walk = native_records_begin(f);
    struct native_record r;
    uint64_t count = 0;

    while (native_records_next(&walk, &r))
        count++;
    CHECK(count == f->count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t copy[NATIVE_FRAME_BYTES];
    struct native_frame f, in;

    if (size > FRAME_BYTES_MAX || native_frame_decode(bytes_of(data, size), &f) != OK)
        return 0;
    if (f.kind == NATIVE_MESSAGES)
        check_again(bytes_of(data, size));
    if (f.kind != NATIVE_DEFLATED || packing_take(&packing, &f, &in) != OK)
        return 0;
    CHECK(in.kind == NATIVE_MESSAGES && f.count <= NATIVE_FRAME_BYTES);
    check_records(&in);
    bytes_put(copy, bytes_of(packing.in, f.count));
    check_again(bytes_of(copy, f.count));
    return 0;
}
