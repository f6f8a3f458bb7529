/* tests/core/policy/fake_crypt.h -- functions that hash nothing, so that core is tested alone.
 *
 * A "hash" is the sum of what goes in, spread over the bytes: equal input gives equal output, and a
 * different one, in these tests, a different one. The work that was asked for is counted.
 */
#ifndef TESTS_CORE_POLICY_FAKE_CRYPT_H
#define TESTS_CORE_POLICY_FAKE_CRYPT_H

#include "core/policy/passwd_hash.h"

struct fake_work {
    uint32_t sha512, hmac, pbkdf2, argon2id, iterations, memory_kib, compared;
    enum err answer;
};

static struct fake_work fake;

/* The sum of the parts and a number, as n bytes. */
static inline void fake_sum(const struct bytes *parts, uint32_t count, uint32_t more, uint8_t *to,
                            uint32_t n)
{
    uint64_t h = 1469598103934665603u + more;

    for (uint32_t p = 0; p < count; p++) {
        for (uint32_t i = 0; i < parts[p].n; i++)
            h = (h ^ parts[p].p[i]) * 1099511628211u;
    }
    for (uint32_t i = 0; i < n; i++) {
        h = (h ^ i) * 1099511628211u;
        to[i] = (uint8_t)(h >> 32);
    }
}

/* SHA-512, as struct passwd_crypt has it; and so on. */
static inline enum err fake_sha512(const struct bytes *parts, uint32_t count, uint8_t digest[64])
{
    fake.sha512++;
    fake_sum(parts, count, 6, digest, 64);
    return fake.answer;
}

/* HMAC. */
static inline enum err fake_hmac(struct bytes key, const struct bytes *parts, uint32_t count,
                                 uint8_t mac[32])
{
    uint8_t inner[8];
    const struct bytes both[] = {key, bytes_of(inner, sizeof(inner))};

    fake.hmac++;
    fake_sum(parts, count, 2, inner, sizeof(inner));
    fake_sum(both, 2, 3, mac, 32);
    return fake.answer;
}

/* PBKDF2. */
static inline enum err fake_pbkdf2(struct bytes password, struct bytes salt, uint32_t iterations,
                                   uint8_t *to, uint32_t n)
{
    const struct bytes parts[] = {password, salt};

    fake.pbkdf2++;
    fake.iterations = iterations;
    fake_sum(parts, 2, iterations, to, n);
    return fake.answer;
}

/* argon2id. */
static inline enum err fake_argon2id(struct bytes password, struct bytes salt, uint32_t passes,
                                     uint32_t memory_kib, uint32_t lanes, uint8_t *to, uint32_t n)
{
    const struct bytes parts[] = {password, salt};

    fake.argon2id++;
    fake.memory_kib = memory_kib;
    fake_sum(parts, 2, passes * 7919 + memory_kib * 31 + lanes, to, n);
    return fake.answer;
}

/* Comparing. */
static inline bool fake_equal(const void *a, const void *b, size_t n)
{
    fake.compared++;
    return memcmp(a, b, n) == 0;
}

static const struct passwd_crypt fake_crypt = {fake_sha512, fake_hmac, fake_pbkdf2, fake_argon2id,
                                               fake_equal};

#endif
