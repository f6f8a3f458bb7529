/* tools/load_act.c -- what the clients of a scenario do between connecting and leaving. */
#include "tools/load_act.h"

#include <errno.h>
#include <string.h>

/* ---- messages ---- */

static void start_messages(struct load_traffic *t, uint64_t now_us)
{
    load_traffic_start(t, now_us);
}

static const struct load_act load_act_messages = {
    .start = start_messages,
    .stop = load_traffic_stop,
};

static const struct load_act load_act_silence = {0};

static const struct load_act *const acts[] = {
    [LOAD_MESSAGES] = &load_act_messages,   [LOAD_SILENCE] = &load_act_silence,
    [LOAD_RAMP] = &load_act_ramp,           [LOAD_RECONNECT] = &load_act_reconnect,
    [LOAD_SUBSCRIBE] = &load_act_subscribe, [LOAD_RETAINED] = &load_act_retained,
    [LOAD_ROUTES] = &load_act_routes,
};

const struct load_act *load_act_of(enum load_kind kind)
{
    return acts[kind];
}

uint32_t load_act_idx(const struct load_traffic *t, const struct load_party *party)
{
    return (uint32_t)(party - t->parties);
}

void load_act_open(struct load_traffic *t, struct load_party *party)
{
    if (load_traffic_open(t, load_act_idx(t, party)) == OK)
        return;
    t->counts.gone++;
    t->why_gone = strerrordesc_np(errno);
}

/* ---- operations ---- */

/* When operation number `idx` is or was due. */
static uint64_t due_us(const struct load_traffic *t, uint64_t idx)
{
    return t->started_us + idx * 1000000u / t->rate;
}

bool load_act_may_begin(const struct load_traffic *t, uint64_t now_us)
{
    return t->is_acting && t->counts.begun < t->limit &&
           (t->rate == 0 || due_us(t, t->counts.begun) <= now_us);
}

uint64_t load_act_begin(struct load_traffic *t, uint64_t now_us)
{
    uint64_t begun_us = t->rate ? due_us(t, t->counts.begun) : now_us;

    t->counts.begun++;
    return begun_us;
}

uint64_t load_act_next_us(const struct load_traffic *t)
{
    if (!t->is_acting || t->rate == 0 || t->counts.begun >= t->limit)
        return UINT64_MAX;
    return due_us(t, t->counts.begun);
}

void load_act_stop(struct load_traffic *t, uint64_t now_us)
{
    for (uint64_t i = t->counts.begun; t->rate && i < t->limit; i++) {
        uint64_t due = due_us(t, i);

        if (due > now_us)
            return;
        t->counts.overdue++;
        load_act_measure(t, due, now_us - due);
    }
}

void load_act_measure(struct load_traffic *t, uint64_t begun_us, uint64_t us)
{
    if (t->is_measuring && begun_us >= t->measured_from_us) {
        load_hist_add(&t->latency, us);
        if (t->keeps_recent)
            load_hist_add(&t->recent, us);
    }
}

void load_act_end(struct load_traffic *t, uint64_t begun_us, uint64_t now_us)
{
    t->counts.finished++;
    load_act_measure(t, begun_us, now_us > begun_us ? now_us - begun_us : 0);
}
