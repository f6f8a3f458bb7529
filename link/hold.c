/* link/hold.c -- two reasons for one bit. */
#include "link/hold.h"

static uint64_t now(const struct hold *h)
{
    return shard_now_ms(h->host->shard);
}

bool hold_is_on(const struct hold *h)
{
    return timer_is_armed(&h->timer) || h->is_crowded;
}

static void begin(struct hold *h, const char *reason)
{
    STAT_INC(shard_count(h->host->shard), link_holds);
    shard_link_hold(h->host->shard, h->number, true);
    if (now(h) < h->say_ms)
        return;
    h->say_ms = now(h) + HOLD_SAY_MS;
    host_log(h->host, 5, "link held back", h->name, NULL, reason,
             "its connections are not read for a while");
}

static void look_whether_over(struct hold *h)
{
    if (hold_is_on(h))
        return;
    h->ended_ms = now(h);
    shard_link_hold(h->host->shard, h->number, false);
}

static void on_timer(struct timer *t, void *owner, uint64_t now_ms)
{
    (void)owner;
    (void)now_ms;
    look_whether_over((struct hold *)(void *)((char *)t - offsetof(struct hold, timer)));
}

void hold_until(struct hold *h, uint64_t due_ms)
{
    if (due_ms <= now(h) || (timer_is_armed(&h->timer) && h->timer.due_ms >= due_ms))
        return;
    if (!hold_is_on(h))
        begin(h, "it sends more than max_rate or max_route_ops allows");
    timer_arm(shard_timers(h->host->shard), &h->timer, due_ms, on_timer);
}

void hold_crowded(struct hold *h, bool is_crowded)
{
    if (is_crowded == h->is_crowded)
        return;
    if (!hold_is_on(h))
        begin(h, "much of what it sent waits to be unpacked");
    h->is_crowded = is_crowded;
    look_whether_over(h);
}

uint64_t hold_hears_ms(const struct hold *h)
{
    uint64_t until = h->ended_ms;

    if (h->is_crowded)
        until = now(h);
    if (timer_is_armed(&h->timer))
        until = h->timer.due_ms; /* which is in the future */
    return until ? until + HOLD_HEAR_MS : 0;
}

void hold_init(struct hold *h, struct link_host *host, const char *name, uint32_t number)
{
    *h = (struct hold){.host = host, .name = name, .number = number};
}

void hold_fini(struct hold *h)
{
    if (h->host)
        timer_cancel(shard_timers(h->host->shard), &h->timer);
}
