/* tests/race/race_epoch.c -- workers replace nodes of shared lists while all of them walk them.
 *
 * Each worker owns some lists, is their only writer, and walks all. A freed node is poisoned first,
 * so a walk that meets it fails; ThreadSanitizer reports it, too.
 */
#include "core/base/epoch.h"

#include "core/base/check.h"
#include "tests/support/test.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

enum { WORKERS = 3, LISTS = 6, NODES = 4, TURNS = 40000 };

#define CANARY 0x600dc0de600dc0deull

struct node {
    struct node *_Atomic next;
    uint64_t canary;
    uint64_t number;
};

static struct node *_Atomic lists[LISTS];
static struct epoch *epoch;
static _Atomic uint64_t freed_count;

static void poison(void *p, uint32_t bytes)
{
    CHECK(bytes == sizeof(struct node));
    memset(p, 0xdb, bytes);
    free(p);
    add_relaxed(&freed_count, 1);
}

static struct node *new_node(struct node *next, uint64_t number)
{
    struct node *n = malloc(sizeof *n);

    CHECK(n);
    n->canary = CANARY;
    n->number = number;
    store_relaxed(&n->next, next); /* shown by store_release in replace */
    return n;
}

/* Walks all lists: the nodes are alive, whole and in order. */
static void walk_all(void)
{
    for (int i = 0; i < LISTS; i++) {
        uint64_t number = 0;
        struct node *n = load_acquire(&lists[i]); /* pairs with store_release in replace */

        for (; n; n = load_acquire(&n->next)) {
            CHECK(n->canary == CANARY);
            CHECK(n->number == number);
            number++;
        }
        CHECK(number == NODES);
    }
}

/* Puts a new node in the place of one in a list of `worker` and retires the old one. */
static void replace(uint32_t worker, uint64_t draw)
{
    struct node *_Atomic *link = &lists[worker + WORKERS * (draw % (LISTS / WORKERS))];
    struct node *old;

    for (uint64_t skip = draw / 16 % NODES; skip > 0; skip--)
        link = &load_relaxed(link)->next; /* ours: no other writer */
    old = load_relaxed(link);
    /* Pairs with load_acquire in walk_all: the node is complete before it is reachable. */
    store_release(link, new_node(load_relaxed(&old->next), old->number));
    epoch_retire(epoch, worker, old, sizeof *old);
}

static void *work(void *arg)
{
    uint32_t worker = *(const uint32_t *)arg;
    uint64_t seed = worker + 1;

    epoch_online(epoch, worker);
    for (int turn = 0; turn < TURNS; turn++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        walk_all();
        for (uint64_t n = seed >> 33 & 3; n > 0; n--)
            replace(worker, (seed >> 35) + n);
        walk_all();
        if (seed >> 50 & 1)
            epoch_quiesce(epoch, worker);
        if ((seed >> 51 & 7) == 0) { /* sleeps for a moment */
            epoch_offline(epoch, worker);
            sched_yield();
            epoch_online(epoch, worker);
        }
        epoch_reclaim(epoch, worker, 8);
    }
    epoch_offline(epoch, worker);
    return NULL;
}

TEST(race_epoch_frees_nothing_that_a_worker_can_see)
{
    static const uint32_t number_of[WORKERS] = {0, 1, 2};
    pthread_t threads[WORKERS];
    uint64_t freed_early;

    epoch = epoch_create(WORKERS);
    epoch_set_free(epoch, poison);
    for (int i = 0; i < LISTS; i++) {
        struct node *n = NULL;

        for (uint64_t number = NODES; number-- > 0;)
            n = new_node(n, number);
        store_relaxed(&lists[i], n);
    }
    for (int i = 0; i < WORKERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, work, (void *)&number_of[i]), 0);
    for (int i = 0; i < WORKERS; i++)
        pthread_join(threads[i], NULL);
    freed_early = load_relaxed(&freed_count);
    assert_true(freed_early > TURNS / 10); /* not all were left for the end */
    walk_all();
    for (uint32_t i = 0; i < WORKERS; i++)
        assert_int_equal(epoch_reclaim(epoch, i, UINT32_MAX), 0);
    epoch_destroy(epoch);
    for (int i = 0; i < LISTS; i++) {
        struct node *n = load_relaxed(&lists[i]), *next;

        for (; n; n = next) {
            next = load_relaxed(&n->next);
            free(n);
        }
    }
}
