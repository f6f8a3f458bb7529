/* bench/bench_mailbox.c -- what it costs to leave work for another worker.
 *
 * Goal: a message handed over in batches costs at most 0.2 of a dependent cache miss.
 */
#include "bench/shim.h"

#include "core/base/check.h"
#include "core/mail/mailbox.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#define RECORD_BYTES 64
#define GOAL_MISSES 0.2

/* The receiver: adds up what comes, so that each record is really read. */
struct receiver {
    _Alignas(CACHE_LINE) struct mail *m;
    uint64_t sum;
    uint64_t count;
    /* the sender writes */ _Alignas(CACHE_LINE) _Atomic uint64_t stop_at; /* UINT64_MAX: never */
};

static bool take(void *owner, uint32_t from, enum mail_kind kind, void *record, uint32_t bytes)
{
    struct receiver *r = owner;

    (void)from;
    (void)kind;
    (void)bytes;
    r->sum += *(uint64_t *)record;
    r->count++;
    return true;
}

/* Drains as a busy worker does, until all have come. */
static void *receive(void *arg)
{
    struct receiver *r = arg;
    uint64_t before = 0;

    while (r->count != load_acquire(&r->stop_at)) { /* pairs with store_release in stop */
        mail_drain(r->m, 1, take, r, 1024);
        if (r->count == before)
            sched_yield(); /* the other side may need this core */
        before = r->count;
    }
    return NULL;
}

/* Posts one record; false while the ring is full. */
static bool post(struct mail *m, uint32_t from, uint32_t to, uint64_t number)
{
    uint64_t *record = mail_post(m, from, to, MAIL_PUBLISH, RECORD_BYTES);

    if (!record)
        return false;
    memset(record, 0, RECORD_BYTES);
    record[0] = number;
    return true;
}

static struct mail *make_mail(void)
{
    uint32_t ring_bytes[MAIL_KIND_COUNT];
    struct mail *m;

    mail_default_sizes(2, ring_bytes);
    m = mail_create(2, ring_bytes);
    CHECK(m);
    return m;
}

/* Two threads: one posts batches and flushes after each, the other drains. */
static void bench_hand_over(struct bench *b, int64_t batch)
{
    struct mail *m = make_mail();
    struct receiver *r = aligned_alloc(CACHE_LINE, sizeof *r);
    pthread_t thread;
    uint64_t count = 0;

    CHECK(r);
    memset(r, 0, sizeof *r);
    r->m = m;
    store_relaxed(&r->stop_at, UINT64_MAX); /* the thread starts later */
    CHECK(pthread_create(&thread, NULL, receive, r) == 0);
    while (bench_next(b)) {
        for (int64_t i = 0; i < batch; i++) {
            while (!post(m, 0, 1, count)) {
                mail_flush(m, 0);
                sched_yield();
            }
            count++;
        }
        mail_flush(m, 0);
    }
    store_release(&r->stop_at, count); /* pairs with load_acquire in receive */
    pthread_join(thread, NULL);
    CHECK(r->sum == count * (count - 1) / 2);
    bench_items(b, count);
    if (batch > 1)
        bench_goal(b, GOAL_MISSES);
    free(r);
    mail_destroy(m);
}

/* One thread plays both sides: what the instructions cost, without a cache line that travels. */
static void bench_alone(struct bench *b, int64_t batch)
{
    struct mail *m = make_mail();
    struct receiver r = {.m = m};
    uint64_t count = 0;

    while (bench_next(b)) {
        for (int64_t i = 0; i < batch; i++)
            CHECK(post(m, 0, 1, count++));
        mail_flush(m, 0);
        mail_drain(m, 1, take, &r, UINT32_MAX);
    }
    CHECK(r.count == count);
    bench_items(b, count);
    mail_destroy(m);
}

/* The bare ring, one record at a time. */
static void bench_spsc(struct bench *b, int64_t bytes)
{
    struct spsc *q = spsc_create(64 << 10);
    uint32_t size;
    uint64_t n;

    CHECK(q);
    while (bench_next_batch(b, &n)) {
        for (; n > 0; n--) {
            uint64_t *record = spsc_reserve(q, (uint32_t)bytes);

            *record = n;
            spsc_commit(q);
            bench_keep(spsc_peek(q, &size));
            spsc_pop(q);
        }
    }
    spsc_destroy(q);
}

/* What a worker pays each turn for looking into its mailbox and finding nothing. */
static void bench_idle(struct bench *b, int64_t arg)
{
    struct mail *m = make_mail();
    struct receiver r = {.m = m};
    uint64_t n;

    (void)arg;
    while (bench_next_batch(b, &n)) {
        for (; n > 0; n--)
            CHECK(!mail_drain(m, 1, take, &r, 64));
    }
    mail_destroy(m);
}

__attribute__((constructor)) static void register_mailbox(void)
{
    bench_register_wall("BM_mail_hand_over/batch:1/bytes:64", bench_hand_over, 1);
    bench_register_wall("BM_mail_hand_over/batch:16/bytes:64", bench_hand_over, 16);
    bench_register_wall("BM_mail_hand_over/batch:256/bytes:64", bench_hand_over, 256);
    bench_register("BM_mail_alone/batch:1/bytes:64", bench_alone, 1);
    bench_register("BM_mail_alone/batch:16/bytes:64", bench_alone, 16);
    bench_register("BM_mail_alone/batch:256/bytes:64", bench_alone, 256);
    bench_register("BM_mail_drain_nothing", bench_idle, 0);
    bench_register("BM_spsc_push_pop/bytes:8", bench_spsc, 8);
    bench_register("BM_spsc_push_pop/bytes:64", bench_spsc, 64);
    bench_register("BM_spsc_push_pop/bytes:512", bench_spsc, 512);
}
