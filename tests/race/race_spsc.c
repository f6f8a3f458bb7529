/* tests/race/race_spsc.c -- a tiny ring between two threads: sizes, content, order, all of it. */
#include "core/base/spsc.h"

#include "core/base/check.h"
#include "tests/support/test.h"

#include <pthread.h>
#include <sched.h>

enum { RECORDS = 500000, BYTES_MAX = 64 };

/* A small generator: both sides draw the same numbers. */
static uint32_t draw(uint64_t *seed, uint32_t below)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*seed >> 33) % below;
}

static void fill(uint8_t *p, uint32_t bytes, uint32_t number)
{
    for (uint32_t i = 0; i < bytes; i++)
        p[i] = (uint8_t)(number + i * 7);
}

static void check(const uint8_t *p, uint32_t bytes, uint32_t number)
{
    for (uint32_t i = 0; i < bytes; i++)
        CHECK(p[i] == (uint8_t)(number + i * 7));
}

/* Reserves one or several before each commit, as they fit. */
static void *produce(void *arg)
{
    struct spsc *q = arg;
    uint64_t sizes = 1, batches = 2;
    uint32_t number = 0;

    while (number < RECORDS) {
        uint32_t bytes = draw(&sizes, BYTES_MAX + 1);
        bool has_room = spsc_room(q, 1, bytes);
        uint8_t *p = spsc_reserve(q, bytes);

        CHECK(!has_room || p); /* room once seen stays */
        while (!p) {
            spsc_commit(q);
            sched_yield();
            p = spsc_reserve(q, bytes);
        }
        fill(p, bytes, number++);
        if (draw(&batches, 3) == 0)
            spsc_commit(q);
    }
    spsc_commit(q);
    return NULL;
}

/* Takes them all; now and then it waits until everything up to a mark is passed. */
static void consume(struct spsc *q)
{
    uint64_t sizes = 1, marks = 3, mark = spsc_mark(q);
    uint32_t number = 0, bytes;

    while (number < RECORDS) {
        uint8_t *p = spsc_peek(q, &bytes);

        if (!p) {
            CHECK(spsc_passed(q, mark));
            sched_yield();
            continue;
        }
        CHECK(bytes == draw(&sizes, BYTES_MAX + 1));
        check(p, bytes, number++);
        memset(p, 0xee, bytes); /* ours until popped */
        spsc_pop(q);
        if (draw(&marks, 16) == 0)
            mark = spsc_mark(q);
    }
    CHECK(spsc_is_empty(q));
}

TEST(race_spsc_loses_doubles_and_tears_nothing)
{
    struct spsc *q = spsc_create(256);
    pthread_t producer;

    spsc_start_at(q, (uint64_t)0 - RECORDS * 8); /* positions wrap on the way */
    assert_int_equal(pthread_create(&producer, NULL, produce, q), 0);
    consume(q);
    pthread_join(producer, NULL);
    spsc_destroy(q);
}
