/* tests/net/test_jwt_cache.c -- tokens that held: how long, and how many. */
#include "net/jwt_cache.h"

#include <stdlib.h>

#include "tests/support/test.h"

static struct jwt_proven *proven(const char *user, uint32_t rules)
{
    static struct jwt_identity id;

    id.expires_ms = UINT64_MAX;
    id.user_count = (uint32_t)strlen(user);
    bytes_put((uint8_t *)id.user, bytes_str(user));
    id.has_rules = rules > 0;
    id.rules.n = rules;
    memset(id.rules.bytes, 'r', rules);
    return jwt_proven_create(&id);
}

static struct passwd_proof hash_at(uint64_t group, uint64_t number)
{
    return (struct passwd_proof){{group, number}};
}

static void put(struct jwt_cache *c, uint64_t group, uint64_t number, uint64_t end_ms)
{
    struct passwd_proof hash = hash_at(group, number);

    jwt_cache_put(c, &hash, proven("joe", 5), 100, end_ms);
}

static bool has(const struct jwt_cache *c, uint64_t group, uint64_t number, uint64_t now_ms)
{
    struct passwd_proof hash = hash_at(group, number);

    return jwt_cache_find(c, &hash, now_ms) != NULL;
}

TEST(jwt_cache_keeps_what_a_token_proves_until_its_end)
{
    struct jwt_cache *c = jwt_cache_create(16, 1 << 20);
    struct passwd_proof hash = hash_at(1, 2);
    const struct jwt_proven *p;

    put(c, 1, 2, 200);
    p = jwt_cache_find(c, &hash, 199);
    assert_non_null(p);
    assert_true(p->user_count == 3 && p->rules_count == 5 && p->expires_ms == UINT64_MAX);
    assert_memory_equal(p->bytes, "joerrrrr", 8);
    assert_false(has(c, 1, 2, 200));
    assert_false(has(c, 1, 3, 150));
    assert_false(has(c, 2, 2, 150));
    put(c, 1, 2, 300); /* the same token again */
    assert_true(has(c, 1, 2, 299));
    assert_int_equal(jwt_cache_bytes(c), sizeof(*p) + 8);
    put(c, 1, 4, 100); /* it has ended already */
    assert_false(has(c, 1, 4, 99));
    jwt_cache_clear(c);
    assert_false(has(c, 1, 2, 150));
    assert_int_equal(jwt_cache_bytes(c), 0);
    jwt_cache_destroy(c);
    jwt_cache_destroy(NULL);
}

TEST(jwt_cache_lets_the_one_go_that_ends_first)
{
    struct jwt_cache *c = jwt_cache_create(4, 1 << 20);

    for (uint64_t i = 0; i < 4; i++)
        put(c, 0, i, 200 + i);
    put(c, 0, 9, 500);
    assert_false(has(c, 0, 0, 150));
    for (uint64_t i = 1; i < 4; i++)
        assert_true(has(c, 0, i, 150));
    assert_true(has(c, 0, 9, 150));
    jwt_cache_destroy(c);
}

TEST(jwt_cache_takes_no_more_than_its_bytes)
{
    uint64_t one = sizeof(struct jwt_proven) + 8;
    struct jwt_cache *c = jwt_cache_create(64, 3 * one + 1);

    for (uint64_t i = 0; i < 10; i++)
        put(c, i, i, 200);
    assert_int_equal(jwt_cache_bytes(c), 3 * one);
    assert_true(has(c, 0, 0, 150) && has(c, 2, 2, 150) && !has(c, 3, 3, 150));
    put(c, 0, 0, 300);
    assert_true(has(c, 0, 0, 250));
    jwt_cache_destroy(c);
}
