/* bench/bench_index.c -- what it costs to find who wants a topic, among a million filters.
 *
 * Half of the filters have no wildcard, half have one, in four shapes. Topic number i is matched by
 * exact filter i and by wildcard filter i. Cold: all topics in random order, far more than the
 * caches hold; hot: 64 topics. A look-up may begin only when the one before has ended (its topic
 * depends on that result), so the time is that of a lone publish, not of many in parallel.
 * `bytes` is the memory of the index for each filter, one destination included.
 */
#include "bench/shim.h"

#include "core/base/check.h"
#include "core/index/index.h"

#include <stdio.h>
#include <stdlib.h>

#define FILTERS 1000000u
#define HOT 64u
#define TEXT_MAX 48u
#define GENERATION 7u

static const struct hash_key key = {
    {0x243f6a8885a308d3, 0x13198a2e03707344, 0xa4093822299f31d0, 0x082efa98ec4e6c89}};

struct text {
    uint32_t n;
    char p[TEXT_MAX - 4];
};

static void topic_text(struct text *t, uint32_t i)
{
    uint32_t site = i % 1000;
    int n;

    if (i % 4 < 2)
        n = snprintf(t->p, sizeof(t->p), "site/%03u/device/%08u/temp", site, i);
    else if (i % 4 == 2)
        n = snprintf(t->p, sizeof(t->p), "site/%03u/meter/%09u/temp", site, i);
    else
        n = snprintf(t->p, sizeof(t->p), "line%08u/%03u/machine/state", i, site);
    t->n = (uint32_t)n;
}

static void wild_text(struct text *t, uint32_t i)
{
    uint32_t site = i % 1000;
    int n;

    if (i % 4 == 0)
        n = snprintf(t->p, sizeof(t->p), "site/%03u/device/%08u/#", site, i);
    else if (i % 4 == 1)
        n = snprintf(t->p, sizeof(t->p), "site/%03u/device/%08u/+", site, i);
    else if (i % 4 == 2)
        n = snprintf(t->p, sizeof(t->p), "site/+/meter/%09u/temp", i);
    else
        n = snprintf(t->p, sizeof(t->p), "line%08u/+/machine/state", i);
    t->n = (uint32_t)n;
}

static struct bytes view(const struct text *t)
{
    return bytes_of(t->p, t->n);
}

static struct dest dest_of(uint32_t i)
{
    return (struct dest){.worker = 1, .kind = 1, .slot = i, .generation = GENERATION};
}

/* Made once for all benchmarks of one size. */
struct set {
    uint32_t half; /* exact filters, and as many with a wildcard */
    double exact_bytes, wild_bytes;
    struct index *exact, *wild;
    struct text *topics; /* in random order */
};

static uint64_t draw(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed * 0x2545f4914f6cdd1dull >> 20;
}

static struct index *make_index(uint32_t count, void (*text)(struct text *, uint32_t),
                                double *bytes)
{
    struct index *ix = index_create(&key, NULL, 0);
    struct text t;

    CHECK(ix);
    for (uint32_t i = 0; i < count; i++) {
        text(&t, i);
        CHECK(index_add(ix, view(&t), dest_of(i), NULL) == OK);
    }
    *bytes = (double)index_bytes(ix) / count;
    return ix;
}

static struct set *make_set(uint32_t filters)
{
    struct set *s = calloc(1, sizeof(*s));
    uint64_t seed = 42;

    CHECK(s);
    s->half = filters / 2;
    s->exact = make_index(s->half, topic_text, &s->exact_bytes);
    s->wild = make_index(s->half, wild_text, &s->wild_bytes);
    s->topics = calloc(s->half, sizeof(*s->topics));
    CHECK(s->topics);
    for (uint32_t i = 0; i < s->half; i++)
        topic_text(&s->topics[i], i);
    for (uint32_t i = s->half - 1; i > 0; i--) {
        uint32_t other = (uint32_t)(draw(&seed) % (i + 1));
        struct text t = s->topics[i];

        s->topics[i] = s->topics[other];
        s->topics[other] = t;
    }
    return s;
}

static struct set *set_of(uint32_t filters)
{
    static struct set *sets[3];
    uint32_t i = 0;

    filters = bench_is_tiny() ? 2000 : filters;
    while (i < 2 && sets[i] && sets[i]->half != filters / 2)
        i++;
    if (!sets[i])
        sets[i] = make_set(filters);
    return sets[i];
}

enum what { EXACT = 1, WILD = 2, BOTH = 3 };

/* Returns 0, in a way that depends on what was found. */
static uint32_t look_up(const struct set *s, enum what what, struct bytes topic)
{
    struct dest room[8];
    struct matches m = {.v = room, .max = 8};
    uint64_t hash = 0;

    if (what & EXACT) {
        hash = hash_bytes(&key, topic);
        index_prefetch_exact(s->exact, hash);
    }
    if (what & WILD)
        index_match_wild(s->wild, topic, &m);
    if (what & EXACT)
        index_match_exact(s->exact, topic, hash, &m);
    CHECK(m.count == (what == BOTH ? 2 : 1));
    return room[0].generation + room[m.count - 1].generation - 2 * GENERATION;
}

static void run(struct bench *b, const struct set *s, enum what what, uint32_t topics)
{
    uint32_t at = 0;
    uint64_t n;

    while (bench_next_batch(b, &n)) {
        for (; n > 0; n--) {
            at += look_up(s, what, view(&s->topics[at]));
            at = at + 1 < topics ? at + 1 : 0;
        }
    }
}

static void bench_exact(struct bench *b, int64_t topics)
{
    const struct set *s = set_of(2 * FILTERS); /* a million of them without a wildcard */

    run(b, s, EXACT, topics ? (uint32_t)topics : s->half);
    bench_counter(b, "bytes", s->exact_bytes);
    bench_goal(b, 2);
}

static void bench_wild(struct bench *b, int64_t filters)
{
    const struct set *s = set_of((uint32_t)filters * 2);

    run(b, s, WILD, s->half);
    bench_counter(b, "bytes", s->wild_bytes);
    bench_goal(b, 4);
}

static void bench_wild_hot(struct bench *b, int64_t filters)
{
    run(b, set_of((uint32_t)filters * 2), WILD, HOT);
    bench_goal(b, 4);
}

static void bench_both(struct bench *b, int64_t filters)
{
    const struct set *s = set_of((uint32_t)filters);

    run(b, s, BOTH, s->half);
    bench_counter(b, "bytes", (s->exact_bytes + s->wild_bytes) / 2);
    bench_goal(b, 6);
}

static void bench_both_hot(struct bench *b, int64_t filters)
{
    run(b, set_of((uint32_t)filters), BOTH, HOT);
    bench_goal(b, 6);
}

/* A filter comes and goes in a full table: an add and a remove. */
static void bench_change(struct bench *b, int64_t is_wild)
{
    const struct set *s = set_of(FILTERS);
    struct index *ix = is_wild ? s->wild : s->exact;
    uint32_t i = 0;
    uint64_t n;

    while (bench_next_batch(b, &n)) {
        for (; n > 0; n--) {
            struct text t;

            i = (i + 7919) % s->half;
            (is_wild ? wild_text : topic_text)(&t, s->half + i);
            CHECK(index_add(ix, view(&t), dest_of(i), NULL) == OK);
            CHECK(index_remove(ix, view(&t), dest_of(i), NULL) == OK);
        }
    }
}

/* A table that grows from nothing; an item is one filter. */
static void bench_grow(struct bench *b, int64_t is_wild)
{
    uint32_t count = bench_is_tiny() ? 1000 : 100000;
    uint64_t items = 0;
    double bytes = 0;

    while (bench_next(b)) {
        index_destroy(make_index(count, is_wild ? wild_text : topic_text, &bytes));
        items += count;
    }
    bench_items(b, items);
    bench_counter(b, "bytes", bytes);
}

__attribute__((constructor)) static void register_index(void)
{
    bench_register("BM_index_exact/filters:1000000/cold", bench_exact, 0);
    bench_register("BM_index_exact/filters:1000000/hot", bench_exact, HOT);
    bench_register("BM_index_wild/filters:100000/cold", bench_wild, 100000);
    bench_register("BM_index_wild/filters:1000000/cold", bench_wild, 1000000);
    bench_register("BM_index_wild/filters:1000000/hot", bench_wild_hot, 1000000);
    bench_register("BM_index_both/filters:1000000/cold", bench_both, 1000000);
    bench_register("BM_index_both/filters:1000000/hot", bench_both_hot, 1000000);
    bench_register("BM_index_change/filters:1000000/exact", bench_change, 0);
    bench_register("BM_index_change/filters:1000000/wild", bench_change, 1);
    bench_register("BM_index_grow/filters:100000/exact", bench_grow, 0);
    bench_register("BM_index_grow/filters:100000/wild", bench_grow, 1);
}
