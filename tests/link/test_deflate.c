/* tests/link/test_deflate.c -- compressed payloads, honest, broken and lying. */
#include "link/deflate.h"

#include "tests/link/vectors.h"

TEST(inflate_makes_the_golden_payloads_plain)
{
    static const char *const sections[] = {"control", "forwarded", "peer_made"};
    struct inflate *z = inflate_create();
    uint32_t compressed = 0;

    assert_non_null(z);
    for (size_t i = 0; i < sizeof(sections) / sizeof(*sections); i++) {
        struct vectors v = vectors_open();

        while (vectors_next(&v, sections[i])) {
            struct bytes payload = unhex(v.column[2]), want = unhex(v.column[3]), plain;
            uint32_t room;

            assert_int_equal(inflate_room(payload, 1u << 20, &room), OK);
            if (room > 0) {
                uint8_t *to = malloc(room);

                assert_int_equal(inflate_run(z, payload, to, room, &plain), OK);
                assert_true(bytes_eq(plain, want));
                compressed++;
                free(to);
            } else {
                assert_true(bytes_eq(payload, want));
            }
            free_bytes(payload);
            free_bytes(want);
        }
    }
    assert_true(compressed >= 10);
    inflate_destroy(z);
}

TEST(inflate_checks_the_claim_before_anything_else)
{
    uint32_t room;

    assert_int_equal(inflate_room(BYTES_LIT("\x83\x50\xff\xff\xff\xff"), 1u << 20, &room),
                     ERR_FULL);
    assert_int_equal(inflate_room(BYTES_LIT("\x83\x50\xff\xff\xff\xff"), UINT32_MAX, &room),
                     ERR_FULL);
    assert_int_equal(inflate_room(BYTES_LIT("\x83\x50\x00\x00\x01\x00"), 256, &room), ERR_FULL);
    assert_int_equal(inflate_room(BYTES_LIT("\x83\x50\x00\x00\x00\xff"), 256, &room), OK);
    assert_int_equal(room, 256);
    assert_int_equal(inflate_room(BYTES_LIT("\x83\x50\x00\x00\x00"), 256, &room), ERR_PEER);
    assert_int_equal(inflate_room(BYTES_LIT("\x83"), 256, &room), OK);
    assert_int_equal(room, 0);
}

/* The heartbeat of the golden data, with its length and its stream spoilt. */
static enum err run_spoilt(struct inflate *z, struct bytes good, int length_by, uint32_t cut,
                           uint32_t flip_at)
{
    uint8_t *b = malloc(good.n), *to;
    struct bytes plain;
    uint32_t room;
    enum err e;

    assert_non_null(b);
    bytes_put(b, good);
    put_be32(b + 2, (uint32_t)((int)get_be32(b + 2) + length_by));
    if (flip_at)
        b[flip_at] ^= 0x10;
    assert_int_equal(inflate_room(bytes_of(b, good.n), 1u << 20, &room), OK);
    to = malloc(room);
    assert_non_null(to);
    e = inflate_run(z, bytes_of(b, good.n - cut), to, room, &plain);
    free(to);
    free(b);
    return e;
}

TEST(inflate_refuses_streams_that_are_broken_or_of_another_length)
{
    struct vectors v = vectors_open();
    struct inflate *z = inflate_create();
    bool found = false;

    assert_non_null(z);
    while (vectors_next(&v, "decoder")) {
        struct bytes good = unhex(v.column[2]);

        if (strcmp(v.column[1], "hb_compressed") == 0) {
            found = true;
            assert_int_equal(run_spoilt(z, good, 0, 0, 0), OK);
            for (int by = -8; by <= 8; by++)
                assert_int_equal(run_spoilt(z, good, by, 0, 0), by ? ERR_PEER : OK);
            for (uint32_t cut = 1; cut <= good.n - 6; cut++)
                assert_int_equal(run_spoilt(z, good, 0, cut, 0), ERR_PEER);
            for (uint32_t at = 6; at < good.n; at++)
                assert_int_equal(run_spoilt(z, good, 0, 0, at), ERR_PEER);
            assert_int_equal(run_spoilt(z, good, 0, 0, 0), OK); /* the state is as new */
        }
        free_bytes(good);
    }
    assert_true(found);
    inflate_destroy(z);
}

TEST(inflate_takes_an_empty_stream_and_bytes_behind_the_stream)
{
    static const uint8_t empty[] = {131, 80, 0, 0, 0, 0, 0x78, 0x9c, 3, 0, 0, 0, 0, 1, 'x'};
    struct inflate *z = inflate_create();
    struct bytes payload = bytes_of(empty, sizeof(empty)), plain;
    uint8_t to[1];
    uint32_t room;

    assert_non_null(z);
    assert_int_equal(inflate_room(payload, 100, &room), OK);
    assert_int_equal(room, 1);
    assert_int_equal(inflate_run(z, payload, to, room, &plain), OK);
    assert_int_equal(plain.n, 1);
    inflate_destroy(z);
}
