/* tests/core/session/test_idset.c -- a set of packet identifiers against a plain array. */
#include "core/session/idset.h"

#include "tests/support/test.h"

struct plain {
    bool is_in[65536], is_marked[65536];
    uint32_t count;
};

static uint64_t draw(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

static void add(struct idset *t, struct plain *p, uint16_t id)
{
    assert_false(idset_has(t, id));
    assert_true(idset_add(t, id));
    p->is_in[id] = true;
    p->is_marked[id] = false;
    p->count++;
}

static void take_out(struct idset *t, struct plain *p, uint16_t id)
{
    bool is_marked = true;

    assert_int_equal(idset_remove(t, id, &is_marked), p->is_in[id]);
    assert_int_equal(is_marked, p->is_in[id] && p->is_marked[id]);
    p->count -= p->is_in[id];
    p->is_in[id] = false;
}

static void expect_same(const struct idset *t, const struct plain *p)
{
    assert_int_equal(t->count, p->count);
    for (uint32_t id = 1; id < 65536; id++)
        assert_int_equal(idset_has(t, (uint16_t)id), p->is_in[id]);
}

static void mark_all(struct idset *t, struct plain *p)
{
    idset_mark_all(t);
    memcpy(p->is_marked, p->is_in, sizeof p->is_in);
}

TEST(idset_holds_what_an_array_holds)
{
    static const uint32_t ranges[] = {6, 300, 5000, 65535};
    uint64_t seed = 0x1d5e7001;

    print_message("seed 0x1d5e7001\n");
    for (uint32_t r = 0; r < 4; r++) {
        static struct plain p;
        struct idset t = {0};

        p = (struct plain){0};
        for (uint32_t i = 0; i < 60000; i++) {
            uint16_t id = (uint16_t)(1 + draw(&seed) % ranges[r]);
            bool adds = draw(&seed) % 100 < (i < 40000 ? 60 : 20);

            if (adds && !p.is_in[id])
                add(&t, &p, id);
            else if (!adds)
                take_out(&t, &p, id);
            if (i % 5000 == 0)
                mark_all(&t, &p);
        }
        expect_same(&t, &p);
        idset_fini(&t);
    }
}

TEST(idset_of_nothing_owns_nothing)
{
    struct idset t = {0};
    bool is_marked = true;

    assert_false(idset_has(&t, 1));
    assert_false(idset_remove(&t, 1, &is_marked));
    assert_false(is_marked);
    idset_mark_all(&t);
    idset_fini(&t);
    assert_null(t.v);
}

TEST(idset_gives_its_memory_back_when_it_is_empty_again)
{
    struct idset t = {0};
    bool is_marked;

    for (uint16_t id = 1; id <= 1000; id++)
        assert_true(idset_add(&t, id));
    for (uint16_t id = 1000; id >= 1; id--)
        assert_true(idset_remove(&t, id, &is_marked));
    assert_int_equal(t.count, 0);
    assert_null(t.v);
    idset_fini(&t);
}

TEST(idset_finds_ids_that_share_a_place_after_one_is_gone)
{
    static const uint16_t ids[] = {193, 449, 705}; /* pages 3, 7, 11 of 4 places: the last one */
    struct idset t = {0};
    bool is_marked;

    for (uint32_t gone = 0; gone < 3; gone++) {
        for (uint32_t i = 0; i < 3; i++)
            assert_true(idset_add(&t, ids[i]));
        assert_true(idset_remove(&t, ids[gone], &is_marked));
        for (uint32_t i = 0; i < 3; i++)
            assert_int_equal(idset_has(&t, ids[i]), i != gone);
        for (uint32_t i = 0; i < 3; i++)
            (void)idset_remove(&t, ids[i], &is_marked);
        assert_int_equal(t.count, 0);
    }
    idset_fini(&t);
}

TEST(idset_finds_all_65535_ids_also_when_they_are_marked)
{
    static struct plain p;
    struct idset t = {0};

    p = (struct plain){0};
    for (uint32_t id = 1; id <= 65535; id++)
        add(&t, &p, (uint16_t)id);
    mark_all(&t, &p);
    expect_same(&t, &p);
    for (uint32_t id = 1; id <= 65535; id += 2)
        take_out(&t, &p, (uint16_t)id);
    expect_same(&t, &p);
    for (uint32_t id = 2; id <= 65535; id += 2)
        take_out(&t, &p, (uint16_t)id);
    assert_int_equal(t.count, 0);
    idset_fini(&t);
}
