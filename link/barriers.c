/* link/barriers.c -- questions in the order in which they came. */
#include "link/barriers.h"

#include <stdlib.h>

struct barriers_item {
    struct barriers_item *next;
    struct barrier *question;
    struct bytes group, filter; /* of the question */
    uint64_t due_ms;
};

static void on_timer(struct timer *t, void *owner, uint64_t now_ms);

static void arm(struct barriers *b)
{
    if (b->first)
        timer_arm(shard_timers(b->host->shard), &b->timer, b->first->due_ms, on_timer);
    else
        timer_cancel(shard_timers(b->host->shard), &b->timer);
}

/* Answers the question at *at, which is then the one behind it. */
static void answer(struct barriers *b, struct barriers_item **at, bool is_late)
{
    struct barriers_item *x = *at;

    *at = x->next;
    if (!x->next)
        b->last = at;
    b->count--;
    shard_barrier_done(b->host->shard, x->question, is_late);
    free(x);
}

static void on_timer(struct timer *t, void *owner, uint64_t now_ms)
{
    struct barriers *b = (struct barriers *)(void *)((char *)t - offsetof(struct barriers, timer));

    (void)owner;
    while (b->first && b->first->due_ms <= now_ms)
        answer(b, &b->first, true);
    arm(b);
}

void barriers_take(struct barriers *b, struct barrier *question, struct bytes group,
                   struct bytes filter)
{
    bool is_told = b->is_told(b->arg, group, filter);
    struct barriers_item *x = is_told || b->count == BARRIERS_MAX ? NULL : malloc(sizeof(*x));

    if (!x) {
        shard_barrier_done(b->host->shard, question, !is_told);
        return;
    }
    *x = (struct barriers_item){.question = question,
                                .group = group,
                                .filter = filter,
                                .due_ms = shard_now_ms(b->host->shard) + BARRIERS_WAIT_MS};
    *b->last = x;
    b->last = &x->next;
    if (b->count++ == 0)
        arm(b);
}

void barriers_run(struct barriers *b)
{
    struct barriers_item **at = &b->first;

    if (!b->host->has_news)
        return;
    b->host->has_news = false;
    if (!b->first)
        return;
    while (*at) {
        if (b->is_told(b->arg, (*at)->group, (*at)->filter))
            answer(b, at, false);
        else
            at = &(*at)->next;
    }
    arm(b);
}

void barriers_init(struct barriers *b, struct link_host *host, barriers_told *is_told, void *arg)
{
    *b = (struct barriers){.host = host, .is_told = is_told, .arg = arg};
    b->last = &b->first;
}

void barriers_fini(struct barriers *b)
{
    if (!b->host)
        return;
    while (b->first)
        answer(b, &b->first, true);
    arm(b);
}
