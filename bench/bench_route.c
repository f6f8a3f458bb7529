/* bench/bench_route.c -- from a topic to its destinations: cold, and by the cache of hot topics.
 *
 * One worker with 1,000,000 filters in its partition, half of them with a wildcard. The argument of
 * a benchmark is the number of topics published to in turn.
 */
#include <stdio.h>
#include <stdlib.h>

#include "bench/shim.h"

#include "core/base/check.h"
#include "core/broker/plan.h"

#define FILTERS_FULL 1000000u
#define FILTERS_TINY 2000u
#define TOPIC_BYTES 64

static const struct listener_rules rules = {.allow_anonymous = true, .is_loopback = true};

static uint32_t filter_count(void)
{
    return bench_is_tiny() ? FILTERS_TINY : FILTERS_FULL;
}

/* The topic of number n; every second one is subscribed to by a filter with a wildcard. */
static struct bytes topic_of(uint32_t n, char *text)
{
    int count = snprintf(text, TOPIC_BYTES, "site/%u/line/%u/sensor/%u", n % 997, n % 31, n);

    CHECK(count > 0 && count < TOPIC_BYTES);
    return bytes_of(text, (size_t)count);
}

static struct bytes filter_of(uint32_t n, char *text)
{
    int count = n % 2 == 0
                    ? snprintf(text, TOPIC_BYTES, "site/%u/line/%u/sensor/%u", n % 997, n % 31, n)
                    : snprintf(text, TOPIC_BYTES, "site/%u/line/+/sensor/%u", n % 997, n);

    CHECK(count > 0 && count < TOPIC_BYTES);
    return bytes_of(text, (size_t)count);
}

/* The cluster all runs share, with its filters. */
static struct cluster_state *the_cluster(void)
{
    static struct cluster_state *c;
    struct cluster_config config = {.workers = 1,
                                    .listeners = &rules,
                                    .listener_count = 1,
                                    .seed = {1, 2, 3, 4},
                                    .version = "bench"};

    if (c)
        return c;
    c = cluster_create(&config, 1, 1);
    CHECK(c);
    for (uint32_t i = 0; i < filter_count(); i++) {
        struct dest d = {0, DEST_FILTER, i, 1};
        char text[TOPIC_BYTES];

        CHECK(index_add(c->index[0], filter_of(i, text), d, NULL) == OK);
    }
    return c;
}

static void run(struct bench *b, uint32_t topics, uint32_t step, double goal)
{
    struct shard *s = cluster_shard(the_cluster(), 0);
    char(*text)[TOPIC_BYTES] = malloc(topics * sizeof *text);
    struct publish *p = calloc(topics, sizeof *p);
    uint64_t n, at = 0;

    CHECK(text && p);
    for (uint32_t i = 0; i < topics; i++) {
        p[i].topic = topic_of((uint32_t)((uint64_t)i * step % filter_count()), text[i]);
        CHECK(plan_of(s, &p[i]));
    }
    while (bench_next_batch(b, &n)) {
        for (uint64_t i = 0; i < n; i++) {
            struct publish *one = &p[at++ % topics];
            const struct arena_mark mark = arena_mark(&s->arena);

            one->topic_hash = hash_of(s, one->topic);
            bench_keep(plan_of(s, one));
            arena_rewind(&s->arena, mark);
        }
    }
    bench_goal(b, goal);
    free(p);
    free(text);
}

static void hot(struct bench *b, int64_t arg)
{
    run(b, (uint32_t)arg, 1, 0.6);
}

static void cold(struct bench *b, int64_t arg)
{
    uint32_t topics = (uint32_t)arg < filter_count() ? (uint32_t)arg : filter_count();

    run(b, topics, 7919, 6);
}

__attribute__((constructor)) static void register_route(void)
{
    bench_register("BM_route_hot/filters:1000000/topics:64", hot, 64);
    bench_register("BM_route_cold/filters:1000000/topics:250000", cold, 250000);
}
