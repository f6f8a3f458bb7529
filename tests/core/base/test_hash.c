/* tests/core/base/test_hash.c -- the keyed hash: every length, every byte, every key counts. */
#include "core/base/hash.h"

#include <stdlib.h>

#include "tests/support/test.h"

static const struct hash_key key = {
    {0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 0xD6E8FEB86659FD93}};

/* A copy in memory of just that size, so that a read beyond it is found. */
static uint8_t *exactly(const uint8_t *from, uint32_t n)
{
    uint8_t *p = malloc(n ? n : 1);

    assert_non_null(p);
    if (n)
        memcpy(p, from, n);
    return p;
}

static void fill(uint8_t *to, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        to[i] = (uint8_t)(i * 37 + 11);
}

TEST(hash_reads_views_of_every_length_and_no_further)
{
    uint8_t text[64];
    uint64_t seen[65];

    fill(text, 64);
    for (uint32_t n = 0; n <= 64; n++) {
        uint8_t *p = exactly(text, n);

        seen[n] = hash_bytes(&key, bytes_of(p, n));
        assert_int_equal(seen[n], hash_bytes(&key, bytes_of(text, n))); /* not of the address */
        for (uint32_t i = 0; i < n; i++)
            assert_true(seen[i] != seen[n]);
        free(p);
    }
    assert_int_equal(seen[0], hash_bytes(&key, bytes_of(NULL, 0)));
}

TEST(hash_depends_on_every_bit_of_every_length)
{
    uint8_t text[64];

    fill(text, 64);
    for (uint32_t n = 1; n <= 64; n++) {
        uint64_t h = hash_bytes(&key, bytes_of(text, n));

        for (uint32_t bit = 0; bit < n * 8; bit++) {
            text[bit / 8] ^= (uint8_t)(1u << bit % 8);
            assert_true(hash_bytes(&key, bytes_of(text, n)) != h);
            text[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
    }
}

TEST(hash_of_zeros_depends_on_their_number)
{
    static const uint8_t zeros[64];

    for (uint32_t n = 0; n <= 64; n++)
        for (uint32_t k = 0; k < n; k++)
            assert_true(hash_bytes(&key, bytes_of(zeros, n)) !=
                        hash_bytes(&key, bytes_of(zeros, k)));
}

TEST(hash_depends_on_every_word_of_the_key)
{
    uint8_t text[64];

    fill(text, 64);
    for (uint32_t n = 0; n <= 64; n++) {
        uint64_t h = hash_bytes(&key, bytes_of(text, n));

        for (uint32_t i = 0; i < 4; i++) {
            struct hash_key other = key;

            if (i == 1 && n <= 16)
                continue; /* of the loop over longer texts only */
            other.k[i] ^= 1ull << 17;
            assert_true(hash_bytes(&other, bytes_of(text, n)) != h);
        }
    }
}

TEST(hash_more_goes_on_from_what_was_hashed)
{
    uint64_t ab, ba, a = hash_bytes(&key, BYTES_LIT("a")), b = hash_bytes(&key, BYTES_LIT("b"));

    assert_int_equal(hash_more(&key, 0, BYTES_LIT("a")), a);
    ab = hash_more(&key, a, BYTES_LIT("b"));
    ba = hash_more(&key, b, BYTES_LIT("a"));
    assert_true(ab != ba);
    assert_true(ab != a && ab != b);
    assert_true(ab != hash_bytes(&key, BYTES_LIT("ab"))); /* parts, not their text */
    assert_true(hash_more(&key, hash_bytes(&key, BYTES_LIT("ab")), BYTES_LIT("c")) !=
                hash_more(&key, a, BYTES_LIT("bc")));
    assert_true(hash_more(&key, a, BYTES_LIT("")) != a); /* an empty level counts */
}

TEST(hash_spreads_names_in_a_row_over_workers_and_buckets)
{
    uint32_t low[16] = {0}, high[7] = {0};

    for (uint32_t i = 0; i < 16000; i++) {
        uint8_t name[6] = {'c', '/', 0, 0, 0, 0};
        uint64_t h;

        put_be32(name + 2, i);
        h = hash_bytes(&key, bytes_of(name, sizeof name));
        low[h & 15]++;
        high[(h >> 32) % 7]++;
    }
    for (uint32_t i = 0; i < 16; i++)
        assert_in_range(low[i], 800, 1200);
    for (uint32_t i = 0; i < 7; i++)
        assert_in_range(high[i], 2000, 2600);
}
