/* tests/race/race_index.c -- readers match topics while the writer changes the index under them.
 *
 * Some filters are there all the time: every match must find each of them exactly once, while the
 * tables grow and shrink around them and their destination lists are copied. What does not match is
 * never found. Freed memory is poisoned, so whoever still reads it finds nonsense.
 */
#include "core/index/index.h"

#include "core/base/check.h"
#include "tests/support/test.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { READERS = 3, STAYING = 48, PASSING = 500, CYCLES = 100, SHAPES = 4, ROOM = 16 };

/* Slots of destinations: who stays, and who comes and goes under a filter that stays. */
#define GUEST 0x10000u
#define PASSER 0x20000u

static const struct hash_key key = {{11, 0x9e3779b97f4a7c15, 0xd6e8feb86659fd93, 0x1234567}};
static struct index *ix;
static struct epoch *epoch;
static _Atomic uint32_t is_done, ready_count;

static void poison(void *p, uint32_t bytes)
{
    memset(p, 0xdb, bytes);
    free(p);
}

static void filter_text(char *text, char prefix, uint32_t i)
{
    switch (i % SHAPES) {
    case 0:
        sprintf(text, "%c/%u", prefix, i);
        break;
    case 1:
        sprintf(text, "%c/%u/+", prefix, i);
        break;
    case 2:
        sprintf(text, "+/%c%u/w", prefix, i);
        break;
    default:
        sprintf(text, "%c/%u/#", prefix, i);
    }
}

/* A topic that only filter_text of the same number matches. */
static void topic_text(char *text, char prefix, uint32_t i)
{
    switch (i % SHAPES) {
    case 0:
        sprintf(text, "%c/%u", prefix, i);
        break;
    case 1:
        sprintf(text, "%c/%u/z", prefix, i);
        break;
    case 2:
        sprintf(text, "y/%c%u/w", prefix, i);
        break;
    default:
        sprintf(text, "%c/%u/s/t", prefix, i);
    }
}

static void add(char prefix, uint32_t i, uint32_t slot)
{
    struct dest d = {1, 1, slot, slot * 3};
    char text[32];

    filter_text(text, prefix, i);
    CHECK(index_add(ix, bytes_str(text), d, NULL) == OK);
}

static void drop(char prefix, uint32_t i, uint32_t slot)
{
    struct dest d = {1, 1, slot, 0};
    char text[32];

    filter_text(text, prefix, i);
    CHECK(index_remove(ix, bytes_str(text), d, NULL) == OK);
}

static void turn(uint32_t worker)
{
    epoch_quiesce(epoch, worker);
    (void)epoch_reclaim(epoch, worker, 64);
}

/* Worker 0: up and down again, with guests under the filters that stay. */
static void *writer(void *unused)
{
    (void)unused;
    epoch_online(epoch, 0);
    while (load_acquire(&ready_count) < READERS) /* pairs with add_acq_rel in reader */
        turn(0);
    for (uint32_t cycle = 0; cycle < CYCLES; cycle++) {
        for (uint32_t i = 0; i < PASSING; i++) {
            add('p', i, PASSER + i);
            if (i < STAYING * 3)
                add('s', i % STAYING, GUEST + i);
            turn(0);
        }
        for (uint32_t i = 0; i < PASSING; i++) {
            drop('p', i, PASSER + i);
            if (i < STAYING * 3)
                drop('s', i % STAYING, GUEST + i);
            turn(0);
        }
    }
    store_release(&is_done, 1); /* pairs with load_acquire in reader */
    epoch_offline(epoch, 0);
    return NULL;
}

static struct matches match(char prefix, uint32_t i, struct dest *room)
{
    struct matches m = {.v = room, .max = ROOM};
    char text[32];

    topic_text(text, prefix, i);
    index_match_wild(ix, bytes_str(text), &m);
    index_match_exact(ix, bytes_str(text), hash_bytes(&key, bytes_str(text)), &m);
    CHECK(!m.is_cut);
    return m;
}

static void match_staying(uint32_t i)
{
    struct dest room[ROOM];
    struct matches m = match('s', i, room);
    uint32_t seen[4] = {0}; /* itself, and its guests i, i + STAYING, i + 2 * STAYING */

    for (uint32_t n = 0; n < m.count; n++) {
        uint32_t number = room[n].slot & 0xffff;

        CHECK(room[n].generation == room[n].slot * 3);
        CHECK(number % STAYING == i && room[n].slot < PASSER);
        seen[room[n].slot & GUEST ? 1 + number / STAYING : 0]++;
    }
    CHECK(seen[0] == 1);
    CHECK(seen[1] <= 1 && seen[2] <= 1 && seen[3] <= 1);
}

static void *reader(void *arg)
{
    uint32_t me = *(const uint32_t *)arg, i = me * 17;
    struct dest room[ROOM];

    epoch_online(epoch, me);
    (void)add_acq_rel(&ready_count, 1); /* pairs with load_acquire in writer */
    do {
        struct matches m;

        match_staying(i % STAYING);
        m = match('p', i % PASSING, room);
        CHECK(m.count <= 1);
        CHECK(m.count == 0 || room[0].slot == PASSER + i % PASSING);
        m = match('n', i, room);
        CHECK(m.count == 0);
        epoch_quiesce(epoch, me);
        if (i % 64 == 0) { /* to sleep and up again */
            epoch_offline(epoch, me);
            epoch_online(epoch, me);
        }
        i += 7;
    } while (!load_acquire(&is_done)); /* pairs with store_release in writer */
    epoch_offline(epoch, me);
    return NULL;
}

TEST(race_index_finds_what_stays_once_and_nothing_else)
{
    pthread_t threads[READERS + 1];
    uint32_t numbers[READERS + 1];

    epoch = epoch_create(READERS + 1);
    epoch_set_free(epoch, poison);
    ix = index_create(&key, epoch, 0);
    for (uint32_t i = 0; i < STAYING; i++)
        add('s', i, i);
    for (uint32_t i = 0; i <= READERS; i++) {
        numbers[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, i ? reader : writer, &numbers[i]), 0);
    }
    for (uint32_t i = 0; i <= READERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(index_count(ix), STAYING);
    index_destroy(ix);
    epoch_destroy(epoch);
}
