/* tests/core/index/test_lookup.c -- a look-up finds what stays while the table changes under it.
 *
 * The comparison that a look-up calls is where the test takes the writer's part: it grows and
 * shrinks the table there, as another thread could. Decoys with the hash of the item looked for
 * make sure that there is something to compare on the way.
 */
#include "core/index/lookup.h"
#include "tests/support/test.h"

#include <stdlib.h>

enum { GROUPS = 8, DECOYS = 5, FILLERS = 600, ROUNDS = 40000 };

struct thing {
    struct lookup_item item;
    uint32_t group, number; /* number 0 of each group is looked for */
    bool is_there;
};

static struct reclaim memory;
static struct lookup table;
static struct thing things[GROUPS][DECOYS + 1], fillers[FILLERS];
static uint64_t seed;
static uint32_t filler_count;

static uint64_t draw(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed * 0x2545f4914f6cdd1dull;
}

static void toggle(struct thing *t)
{
    if (t->is_there)
        lookup_remove(&table, &t->item);
    else
        assert_int_equal(lookup_insert(&table, &t->item), OK);
    t->is_there = !t->is_there;
}

static void fill(uint32_t to)
{
    while (filler_count < to)
        toggle(&fillers[filler_count++]);
    while (filler_count > to)
        toggle(&fillers[--filler_count]);
}

static void disturb(void)
{
    static const uint32_t sizes[] = {0, 3, 7, 12, 30, 50, 100, 200, FILLERS};
    uint32_t steps = (uint32_t)(draw() >> 40) % 3;

    for (uint32_t i = 0; i < steps; i++) {
        uint64_t what = draw() >> 40;

        if (what % 4 == 0)
            toggle(&things[what / 4 % GROUPS][1 + what / 64 % DECOYS]);
        else if (what % 4 == 1)
            fill(sizes[what / 4 % 9]);
        else if (what % 4 == 2 && filler_count < FILLERS)
            fill(filler_count + 1);
        else if (filler_count > 0)
            fill(filler_count - 1);
    }
}

static bool same(const struct lookup_item *item, const void *key)
{
    const struct thing *t = (const void *)item;

    if (t != key)
        disturb();
    return t == key;
}

static void random_run(uint64_t with_seed)
{
    static const struct thing nobody;
    struct epoch *epoch = epoch_create(2);

    print_message("seed %llu\n", (unsigned long long)with_seed);
    seed = with_seed * 0x9e3779b97f4a7c15ull;
    memory = (struct reclaim){.epoch = epoch, .writer = 0, .bytes_max = UINT64_MAX};
    memset(things, 0, sizeof(things));
    memset(fillers, 0, sizeof(fillers));
    filler_count = 0;
    epoch_online(epoch, 0);
    epoch_online(epoch, 1);
    assert_int_equal(lookup_init(&table, &memory), OK);
    for (uint32_t i = 0; i < FILLERS; i++)
        fillers[i].item.hash = draw();
    for (uint32_t g = 0; g < GROUPS; g++) {
        uint64_t hash = draw();

        for (uint32_t i = DECOYS + 1; i-- > 0;) {
            things[g][i].item.hash = hash;
            toggle(&things[g][i]);
        }
    }
    for (uint32_t i = 0; i < ROUNDS; i++) {
        struct thing *t = &things[i % GROUPS][0];

        assert_ptr_equal(lookup_find(&table, t->item.hash, same, t), t);
        if (i % 16 == 0)
            assert_null(lookup_find(&table, t->item.hash, same, &nobody));
        epoch_quiesce(epoch, 1);
        epoch_quiesce(epoch, 0);
        (void)epoch_reclaim(epoch, 0, UINT32_MAX);
    }
    lookup_fini(&table);
    assert_int_equal(memory.bytes, 0);
    epoch_offline(epoch, 1);
    epoch_offline(epoch, 0);
    epoch_destroy(epoch);
}

TEST(lookup_finds_what_stays_whatever_happens_in_the_middle)
{
    for (uint64_t s = 1; s <= 4; s++)
        random_run(s);
}

TEST(lookup_tags_are_compared_exactly)
{
    for (uint32_t tag = 1; tag < 256; tag++) {
        for (uint32_t other = 0; other < 256; other++) {
            uint64_t tags = (uint64_t)other | (uint64_t)tag << 8 | (uint64_t)other << 40;
            uint64_t hits = lookup_same_tags(tags, tag);

            assert_true(hits == (other == tag ? 0x800000008080ull : 0x8000ull));
        }
    }
}
