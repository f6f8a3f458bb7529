/* tests/race/race_mailbox.c -- workers that flood each other through rings that are full most of
 * the time, and workers that sleep most of the time.
 *
 * Every publish makes its receiver post a group message, that one a request, that one an answer, as
 * in the broker: a handler refuses a record while there is no room for what it has to post; for an
 * answer there always is, because nobody has more requests open than answers fit.
 */
#include "core/mail/mailbox.h"

#include "core/base/check.h"
#include "tests/support/test.h"

#include <pthread.h>
#include <sched.h>
#include <unistd.h>

enum { WORKERS = 3, PUBLISHES = 8000, OPEN_MAX = 4, HOPS = 20000 };

static const uint32_t tiny[MAIL_KIND_COUNT] = {256, 256, 256, 256};

/* Up to 24 bytes behind the number. */
struct letter {
    uint32_t number; /* counts for each sender, receiver and kind */
    uint8_t text[];
};

struct worker {
    _Alignas(CACHE_LINE) uint32_t me;
    uint64_t seed;
    struct mail *m;
    uint32_t left[WORKERS]; /* publishes to send */
    uint32_t open[WORKERS]; /* requests sent, not answered */
    uint32_t posted[WORKERS][MAIL_KIND_COUNT];
    uint32_t handled[WORKERS][MAIL_KIND_COUNT];
    uint32_t slept_count;
    /* the bed: all workers write, under the lock */
    _Alignas(CACHE_LINE) pthread_mutex_t lock;
    pthread_cond_t wake;
    bool is_woken;
    bool is_over;
};

static struct worker workers[WORKERS];
static _Atomic uint64_t to_go; /* letters of the last kind not yet handled */

static uint32_t draw(struct worker *w, uint32_t below)
{
    w->seed = w->seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(w->seed >> 33) % below;
}

static void wake(uint32_t to, bool is_over)
{
    struct worker *w = &workers[to];

    pthread_mutex_lock(&w->lock);
    w->is_woken = true;
    w->is_over |= is_over;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
}

static void wake_set(uint64_t set)
{
    for (; set; set &= set - 1)
        wake((uint32_t)__builtin_ctzll(set), false);
}

/* Sleeps until woken; false when all is over. Nothing but a wake() ends it: a lost one hangs. */
static bool sleep_until_woken(struct worker *w)
{
    bool is_over;

    if (!mail_sleep(w->m, w->me))
        return true;
    w->slept_count++;
    pthread_mutex_lock(&w->lock);
    while (!w->is_woken && !w->is_over)
        pthread_cond_wait(&w->wake, &w->lock);
    w->is_woken = false;
    is_over = w->is_over;
    pthread_mutex_unlock(&w->lock);
    mail_awake(w->m, w->me);
    return !is_over;
}

static bool post(struct worker *w, uint32_t to, enum mail_kind kind)
{
    uint32_t bytes = draw(w, 25);
    struct letter *l;

    if (kind == MAIL_REQUEST && w->open[to] == OPEN_MAX)
        return false;
    if (kind == MAIL_ANSWER)
        CHECK(mail_room(w->m, w->me, to, kind, (uint32_t)sizeof *l + bytes));
    l = mail_post(w->m, w->me, to, kind, (uint32_t)sizeof *l + bytes);
    if (!l)
        return false;
    l->number = w->posted[to][kind]++;
    for (uint32_t i = 0; i < bytes; i++)
        l->text[i] = (uint8_t)(l->number + i);
    if (kind == MAIL_REQUEST)
        w->open[to]++;
    return true;
}

/* One less to handle; whoever handles the last one ends it for all. */
static void count_down(void)
{
    if (sub_acq_rel(&to_go, 1) != 1)
        return;
    for (uint32_t i = 0; i < WORKERS; i++)
        wake(i, true);
}

static bool handle(void *owner, uint32_t from, enum mail_kind kind, void *record, uint32_t bytes)
{
    struct worker *w = owner;
    struct letter *l = record;
    uint32_t to = kind == MAIL_REQUEST ? from : (from + l->number) % WORKERS;

    CHECK(l->number == w->handled[from][kind]); /* nothing lost, doubled or overtaken */
    for (uint32_t i = 0; i < bytes - sizeof *l; i++)
        CHECK(l->text[i] == (uint8_t)(l->number + i));
    if (kind != MAIL_ANSWER && !post(w, to, kind + 1))
        return false;
    w->handled[from][kind]++;
    if (kind == MAIL_ANSWER) {
        w->open[from]--;
        count_down();
    }
    return true;
}

/* Publishes what fits; true when some are left. */
static bool publish(struct worker *w)
{
    bool is_left = false;

    for (uint32_t to = 0; to < WORKERS; to++) {
        while (w->left[to] && post(w, to, MAIL_PUBLISH))
            w->left[to]--;
        is_left |= w->left[to] != 0;
    }
    return is_left;
}

static void *flood(void *arg)
{
    struct worker *w = arg;
    bool is_on = true;

    while (is_on) {
        bool is_left = publish(w);

        is_left |= mail_drain(w->m, w->me, handle, w, 1 + draw(w, 4));
        wake_set(mail_flush(w->m, w->me));
        if (is_left)
            sched_yield();
        else
            is_on = sleep_until_woken(w);
    }
    return NULL;
}

/* Hands each letter on to the next worker, in any kind. */
static bool hand_on(void *owner, uint32_t from, enum mail_kind kind, void *record, uint32_t bytes)
{
    struct worker *w = owner;
    uint32_t hops = *(uint32_t *)record, *next;

    (void)from;
    (void)kind;
    CHECK(bytes == sizeof hops);
    if (hops > 0) {
        next = mail_post(w->m, w->me, (w->me + 1) % WORKERS,
                         (enum mail_kind)draw(w, MAIL_KIND_COUNT), sizeof hops);
        CHECK(next); /* there are only two letters */
        *next = hops - 1;
    }
    count_down();
    return true;
}

static void *relay(void *arg)
{
    struct worker *w = arg;
    bool is_on = true;

    while (is_on) {
        bool is_left = mail_drain(w->m, w->me, hand_on, w, 1);

        wake_set(mail_flush(w->m, w->me));
        if (!is_left)
            is_on = sleep_until_woken(w);
    }
    return NULL;
}

static void start(struct mail *m, uint64_t letters)
{
    store_relaxed(&to_go, letters);       /* no thread yet */
    mail_start_at(m, (uint64_t)0 - 1024); /* positions wrap on the way */
    memset(workers, 0, sizeof workers);
    for (uint32_t i = 0; i < WORKERS; i++) {
        workers[i].me = i;
        workers[i].seed = i + 1;
        workers[i].m = m;
        pthread_mutex_init(&workers[i].lock, NULL);
        pthread_cond_init(&workers[i].wake, NULL);
    }
}

static void run(void *(*work)(void *))
{
    pthread_t threads[WORKERS];

    alarm(60); /* a lost wake-up hangs: end with a signal instead */
    for (int i = 0; i < WORKERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    for (int i = 0; i < WORKERS; i++)
        pthread_join(threads[i], NULL);
    alarm(0);
}

TEST(race_mailbox_flood_in_all_directions_drains)
{
    struct mail *m = mail_create(WORKERS, tiny);

    start(m, (uint64_t)WORKERS * WORKERS * PUBLISHES);
    for (uint32_t i = 0; i < WORKERS; i++) {
        for (uint32_t to = 0; to < WORKERS; to++)
            workers[i].left[to] = PUBLISHES;
    }
    run(flood);
    for (uint32_t i = 0; i < WORKERS; i++) {
        for (uint32_t to = 0; to < WORKERS; to++) {
            assert_int_equal(workers[i].open[to], 0);
            for (int k = 0; k < MAIL_KIND_COUNT; k++)
                assert_int_equal(workers[i].posted[to][k], workers[to].handled[i][k]);
        }
    }
    mail_destroy(m);
}

TEST(race_mailbox_sleepers_are_always_woken)
{
    struct mail *m = mail_create(WORKERS, tiny);
    uint32_t slept = 0;

    start(m, 2 * (HOPS + 1));
    for (uint32_t i = 0; i < 2; i++) { /* two letters go round */
        uint32_t *hops = mail_post(m, i, i + 1, MAIL_PUBLISH, sizeof *hops);

        assert_non_null(hops);
        *hops = HOPS;
        mail_flush(m, i);
    }
    run(relay);
    for (uint32_t i = 0; i < WORKERS; i++)
        slept += workers[i].slept_count;
    assert_true(slept > HOPS / 100);
    mail_destroy(m);
}
