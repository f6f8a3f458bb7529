/* core/base/hash.c -- keyed multiply-and-fold hash. */
#include "core/base/hash.h"

__extension__ typedef unsigned __int128 uint128;

static inline uint64_t fold(uint64_t a, uint64_t b)
{
    uint128 m = (uint128)a * b;

    return (uint64_t)m ^ (uint64_t)(m >> 64);
}

static inline uint64_t read8(const uint8_t *p)
{
    uint64_t v;

    memcpy(&v, p, 8);
    return v;
}

static inline uint64_t read4(const uint8_t *p)
{
    uint32_t v;

    memcpy(&v, p, 4);
    return v;
}

uint64_t hash_more(const struct hash_key *key, uint64_t sofar, struct bytes b)
{
    const uint8_t *p = b.p;
    uint32_t n = b.n;
    uint64_t h = sofar ^ key->k[0];
    uint64_t x = 0, y = 0;

    for (; n > 16; n -= 16, p += 16)
        h = fold(read8(p) ^ key->k[1], read8(p + 8) ^ h);
    if (n >= 8) {
        x = read8(p);
        y = read8(p + n - 8);
    } else if (n >= 4) {
        x = read4(p);
        y = read4(p + n - 4);
    } else if (n > 0) {
        x = ((uint64_t)p[0] << 16) | ((uint64_t)p[n >> 1] << 8) | p[n - 1];
    }
    h = fold(x ^ key->k[2], y ^ h);
    return fold(h ^ b.n, key->k[3]);
}

uint64_t hash_bytes(const struct hash_key *key, struct bytes b)
{
    return hash_more(key, 0, b);
}
