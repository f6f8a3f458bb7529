/* tests/core/policy/test_passwd_cache.c -- what is remembered of good checks, and for how long. */
#include "core/policy/passwd_cache.h"

#include "tests/core/policy/fake_crypt.h"
#include "tests/support/test.h"

static const uint8_t key[PASSWD_CACHE_KEY_BYTES] = {1, 2, 3};
static const uint8_t other_key[PASSWD_CACHE_KEY_BYTES] = {1, 2, 4};
static uint8_t salt[12], hash[64];

static struct passwd_entry entry(const char *name)
{
    return (struct passwd_entry){.name = bytes_str(name),
                                 .line = 1,
                                 .hash = {.kind = PASSWD_PBKDF2,
                                          .cost = 101,
                                          .salt = {salt, sizeof(salt)},
                                          .hash = {hash, sizeof(hash)}}};
}

static struct passwd_proof proof_of(const struct passwd_entry *e, const char *password)
{
    struct passwd_proof proof;

    fake.answer = OK;
    assert_int_equal(passwd_proof_make(key, e, bytes_str(password), &fake_crypt, &proof), OK);
    return proof;
}

static bool same(struct passwd_proof a, struct passwd_proof b)
{
    return memcmp(&a, &b, sizeof(a)) == 0;
}

TEST(passwd_proof_depends_on_all_that_was_checked)
{
    struct passwd_entry e = entry("alice"), other;
    struct passwd_proof good = proof_of(&e, "secret"), different;

    assert_true(same(good, proof_of(&e, "secret")));
    assert_false(same(good, proof_of(&e, "secreu")));
    other = entry("alicf");
    assert_false(same(good, proof_of(&other, "secret")));
    other = entry("alices"); /* the same bytes, cut elsewhere */
    assert_false(same(good, proof_of(&other, "ecret")));
    other = entry("alice");
    other.hash.cost++;
    assert_false(same(good, proof_of(&other, "secret")));
    other = entry("alice");
    other.hash.kind = PASSWD_SHA512;
    assert_false(same(good, proof_of(&other, "secret")));
    hash[63] ^= 1; /* a reload brought another password */
    assert_false(same(good, proof_of(&e, "secret")));
    hash[63] ^= 1;
    salt[0] ^= 1;
    assert_false(same(good, proof_of(&e, "secret")));
    salt[0] ^= 1;
    assert_int_equal(passwd_proof_make(other_key, &e, BYTES_LIT("secret"), &fake_crypt, &different),
                     OK);
    assert_false(same(good, different));
}

TEST(passwd_proof_is_made_for_users_only)
{
    struct passwd_entry e = entry("");
    struct passwd_proof proof;

    e.line = 0;
    assert_int_equal(passwd_proof_make(key, &e, BYTES_LIT("secret"), &fake_crypt, &proof),
                     ERR_NONE);
    e.line = 1;
    fake.answer = ERR_MEMORY;
    assert_int_equal(passwd_proof_make(key, &e, BYTES_LIT("secret"), &fake_crypt, &proof),
                     ERR_MEMORY);
    fake.answer = OK;
}

TEST(passwd_cache_has_what_was_put_until_it_ends)
{
    struct passwd_entry e = entry("alice");
    struct passwd_proof good = proof_of(&e, "secret"), bad = proof_of(&e, "guess");
    struct passwd_cache *c = passwd_cache_create(64);

    assert_non_null(c);
    assert_false(passwd_cache_has(c, &good, 1000));
    passwd_cache_put(c, &good, 1000, 2000);
    assert_true(passwd_cache_has(c, &good, 1000));
    assert_true(passwd_cache_has(c, &good, 1999));
    assert_false(passwd_cache_has(c, &bad, 1000));
    assert_false(passwd_cache_has(c, &good, 2000));
    passwd_cache_put(c, &good, 2000, 3000);
    assert_true(passwd_cache_has(c, &good, 2999));
    passwd_cache_destroy(c);
    passwd_cache_destroy(NULL);
}

TEST(passwd_cache_has_nothing_that_was_never_put)
{
    const struct passwd_proof zero = {{0, 0}};
    struct passwd_cache *c = passwd_cache_create(1);

    assert_false(passwd_cache_has(c, &zero, 0));
    passwd_cache_put(c, &zero, 5, 5); /* ended before it began */
    assert_false(passwd_cache_has(c, &zero, 0));
    passwd_cache_destroy(c);
}

TEST(passwd_cache_gives_up_what_ends_first)
{
    struct passwd_cache *c = passwd_cache_create(4); /* one group of four places */
    struct passwd_proof proofs[6];

    for (uint32_t i = 0; i < 6; i++)
        proofs[i] = (struct passwd_proof){{i, 77 + i}};
    passwd_cache_put(c, &proofs[0], 0, 400);
    passwd_cache_put(c, &proofs[1], 0, 200);
    passwd_cache_put(c, &proofs[2], 0, 300);
    passwd_cache_put(c, &proofs[3], 0, 500);
    passwd_cache_put(c, &proofs[2], 0, 600); /* is there: takes no second place */
    passwd_cache_put(c, &proofs[4], 0, 700);
    assert_false(passwd_cache_has(c, &proofs[1], 0));
    passwd_cache_put(c, &proofs[5], 0, 800);
    assert_false(passwd_cache_has(c, &proofs[0], 0));
    for (uint32_t i = 2; i < 6; i++)
        assert_true(passwd_cache_has(c, &proofs[i], 0));
    passwd_cache_destroy(c);
}

TEST(passwd_cache_keeps_as_many_as_it_has_places)
{
    struct passwd_cache *c = passwd_cache_create(1000);
    uint32_t kept = 0;

    for (uint64_t i = 0; i < 100000; i++) {
        struct passwd_proof proof = {{i * 0x9E3779B97F4A7C15u, i}};

        passwd_cache_put(c, &proof, 0, i + 1);
    }
    for (uint64_t i = 0; i < 100000; i++) {
        struct passwd_proof proof = {{i * 0x9E3779B97F4A7C15u, i}};

        kept += passwd_cache_has(c, &proof, 0);
    }
    assert_int_equal(kept, 1024);
    passwd_cache_destroy(c);
}
