/* tests/core/base/test_table.c -- linear hashing against a plain array, with collisions. */
#include "core/base/table.h"

#include <stdlib.h>

#include "core/base/check.h"
#include "tests/support/test.h"

#define THINGS 3000u

struct thing {
    uint64_t hash; /* what it was put in under */
    struct table_node node;
    bool is_in;
};

static uint64_t draw(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

static struct thing *things_create(uint64_t hash_mask, uint64_t *seed)
{
    struct thing *v = calloc(THINGS, sizeof *v);

    assert_non_null(v);
    for (uint32_t i = 0; i < THINGS; i++)
        v[i].hash = draw(seed) & hash_mask;
    return v;
}

static bool is_found(const struct table *t, const struct thing *x)
{
    for (struct table_node *n = table_first(t, x->hash); n; n = table_after(n)) {
        assert_int_equal(n->hash, x->hash);
        if (TABLE_OBJECT(n, struct thing, node) == x)
            return true;
    }
    return false;
}

static void expect_same(const struct table *t, const struct thing *v)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < THINGS; i++) {
        assert_int_equal(is_found(t, &v[i]), v[i].is_in);
        n += v[i].is_in;
    }
    assert_int_equal(t->count, n);
}

/* Puts in and takes out at random; `share` of 100 draws put in. */
static void churn(struct table *t, struct thing *v, uint64_t *seed, uint32_t share)
{
    for (uint32_t i = 0; i < THINGS; i++) {
        struct thing *x = &v[draw(seed) % THINGS];

        if (!x->is_in && draw(seed) % 100 < share) {
            assert_true(table_insert(t, &x->node, x->hash));
            x->is_in = true;
        } else if (x->is_in && draw(seed) % 100 >= share) {
            table_remove(t, &x->node);
            assert_null(x->node.next);
            x->is_in = false;
        }
    }
}

static void compare_with_array(uint64_t hash_mask)
{
    uint64_t seed = 0x5eed0001;
    struct thing *v = things_create(hash_mask, &seed);
    struct table t;

    print_message("seed 0x5eed0001, hashes & 0x%llx\n", (unsigned long long)hash_mask);
    table_init(&t);
    for (uint32_t round = 0; round < 12; round++) {
        churn(&t, v, &seed, round < 6 ? 80 : 20);
        expect_same(&t, v);
    }
    for (uint32_t i = 0; i < THINGS; i++)
        if (v[i].is_in)
            table_remove(&t, &v[i].node);
    assert_int_equal(t.count, 0);
    for (uint32_t i = 0; i < t.bucket_count; i++)
        assert_null(t.buckets[i]);
    table_fini(&t);
    free(v);
}

TEST(table_finds_what_an_array_finds)
{
    compare_with_array(UINT64_MAX);
}

TEST(table_finds_what_an_array_finds_when_hashes_collide)
{
    compare_with_array(0xff);
}

TEST(table_finds_what_an_array_finds_when_low_bits_are_equal)
{
    compare_with_array(0xffull << 32);
}

TEST(table_of_nothing_owns_nothing)
{
    struct table t;

    table_init(&t);
    assert_null(table_first(&t, 0));
    assert_null(table_first(&t, UINT64_MAX));
    assert_null(t.buckets);
    table_fini(&t);
}

TEST(table_grows_by_one_bucket_an_insertion)
{
    struct thing *v = calloc(THINGS, sizeof *v);
    uint32_t before;
    struct table t;

    assert_non_null(v);
    table_init(&t);
    assert_true(table_insert(&t, &v[0].node, 0));
    before = t.bucket_count;
    for (uint32_t i = 1; i < THINGS; i++) {
        assert_true(table_insert(&t, &v[i].node, i));
        assert_in_range(t.bucket_count, before, before + 1);
        assert_in_range(t.count, 1, t.bucket_count);
        before = t.bucket_count;
    }
    assert_in_range(t.bucket_count, THINGS, THINGS + 1);
    for (uint32_t i = 0; i < t.bucket_count; i++) /* hashes in a row: no chain is long */
        assert_true(!t.buckets[i] || !t.buckets[i]->next || !t.buckets[i]->next->next);
    for (uint32_t i = 0; i < THINGS; i++)
        assert_ptr_equal(table_first(&t, i), &v[i].node);
    table_fini(&t);
    free(v);
}

TEST(table_walks_all_of_one_hash_and_no_others)
{
    struct thing v[40] = {0};
    uint32_t seen = 0;
    struct table t;

    table_init(&t);
    for (uint32_t i = 0; i < 40; i++) /* the low bits are equal: one bucket */
        assert_true(table_insert(&t, &v[i].node, (uint64_t)(i % 4) << 40));
    for (struct table_node *n = table_first(&t, 2ull << 40); n; n = table_after(n), seen++)
        assert_int_equal((TABLE_OBJECT(n, struct thing, node) - v) % 4, 2);
    assert_int_equal(seen, 10);
    table_fini(&t);
}

/* Large enough that splits go by the tags of buckets. */
TEST(table_of_very_many_finds_each_and_no_other)
{
    enum { MANY = 400000 };
    struct table_node *v = calloc(MANY, sizeof(*v));
    uint64_t seed = 11, hash;
    struct table t;

    assert_non_null(v);
    table_init(&t);
    for (uint32_t i = 0; i < MANY; i++) {
        hash = draw(&seed);
        assert_null(table_first(&t, hash));
        assert_true(table_insert(&t, &v[i], hash));
        assert_ptr_equal(table_first(&t, hash), &v[i]);
    }
    for (uint32_t i = 0; i < MANY; i++)
        assert_ptr_equal(table_first(&t, v[i].hash), &v[i]);
    for (uint32_t i = 0; i < MANY; i++)
        assert_null(table_first(&t, draw(&seed)));
    for (uint32_t i = 0; i < MANY; i += 2) {
        table_remove(&t, &v[i]);
        assert_null(table_first(&t, v[i].hash));
    }
    for (uint32_t i = 1; i < MANY; i += 2)
        assert_ptr_equal(table_first(&t, v[i].hash), &v[i]);
    for (uint32_t i = 0; i < MANY; i += 2)
        assert_true(table_insert(&t, &v[i], v[i].hash));
    for (uint32_t i = 0; i < MANY; i++)
        assert_ptr_equal(table_first(&t, v[i].hash), &v[i]);
    assert_int_equal(t.count, MANY);
    table_fini(&t);
    free(v);
}

TEST(table_walks_all_nodes_once)
{
    struct thing v[100] = {0};
    bool seen[100] = {false};
    struct table_node *n;
    struct table t;

    table_init(&t);
    assert_null(table_next(&t, NULL));
    for (uint32_t i = 0; i < 100; i++) {
        assert_true(table_insert(&t, &v[i].node, i * i));
        memset(seen, 0, sizeof(seen));
        for (n = table_next(&t, NULL); n; n = table_next(&t, n)) {
            uint32_t at = (uint32_t)(TABLE_OBJECT(n, struct thing, node) - v);

            assert_false(seen[at]);
            seen[at] = true;
        }
        for (uint32_t j = 0; j < 100; j++)
            assert_int_equal(seen[j], j <= i);
    }
    table_fini(&t);
}

static void jump(const char *file, int line, const char *what)
{
    mock_assert(0, what, file, line);
}

TEST(table_removal_of_a_stranger_is_a_bug)
{
    struct thing in = {0}, out = {0};
    struct table t;

    table_init(&t);
    assert_true(table_insert(&t, &in.node, 7));
    out.node.hash = 7;
    check_set_handler(jump);
    expect_assert_failure(table_remove(&t, &out.node));
    check_set_handler(NULL);
    table_remove(&t, &in.node);
    table_fini(&t);
}
