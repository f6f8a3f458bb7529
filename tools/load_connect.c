/* tools/load_connect.c -- acts about connections: ramp and reconnect. */
#include <stdlib.h>

#include "net/clock.h"
#include "tools/load_act.h"

/* Parties that are to be connected. */
struct idle {
    uint64_t cut_us;    /* reconnect: all lost their connections */
    uint32_t count;     /* in `parties` */
    uint32_t opening;   /* connections that are being made */
    uint32_t connected; /* reconnect: parties that are */
    struct load_party *parties[];
};

static enum err idle_init(struct load_traffic *t)
{
    struct idle *idle = calloc(1, sizeof(*idle) + t->party_count * sizeof(struct load_party *));

    t->act_state = idle;
    return idle ? OK : ERR_MEMORY;
}

static void idle_fini(struct load_traffic *t)
{
    free(t->act_state);
}

/* ---- ramp: connect, say DISCONNECT, and again ---- */

static void ramp_turn(struct load_traffic *t, uint64_t now_us)
{
    struct idle *idle = t->act_state;

    while (idle->count > 0 && load_act_may_begin(t, now_us)) {
        struct load_party *party = idle->parties[--idle->count];

        party->began_us = load_act_begin(t, now_us);
        load_act_open(t, party);
    }
}

static void ramp_start(struct load_traffic *t, uint64_t now_us)
{
    struct idle *idle = t->act_state;

    while (idle->count < t->party_count) {
        idle->parties[idle->count] = &t->parties[idle->count];
        idle->count++;
    }
    ramp_turn(t, now_us);
}

static uint64_t ramp_next_us(const struct load_traffic *t)
{
    const struct idle *idle = t->act_state;

    return idle->count > 0 ? load_act_next_us(t) : UINT64_MAX;
}

static void ramp_on_ready(struct load_traffic *t, struct load_party *party, uint64_t now_us)
{
    load_act_measure(t, party->began_us, now_us > party->began_us ? now_us - party->began_us : 0);
    load_client_leave(&party->client);
}

static void ramp_on_free(struct load_traffic *t, struct load_party *party)
{
    struct idle *idle = t->act_state;

    idle->parties[idle->count++] = party;
    t->counts.finished++;
    ramp_turn(t, clock_mono_us());
}

const struct load_act load_act_ramp = {
    .connects_late = true,
    .init = idle_init,
    .fini = idle_fini,
    .start = ramp_start,
    .stop = load_act_stop,
    .turn = ramp_turn,
    .next_us = ramp_next_us,
    .on_ready = ramp_on_ready,
    .on_free = ramp_on_free,
};

/* ---- reconnect: all are cut off, and come back ---- */

static void open_some(struct load_traffic *t)
{
    struct idle *idle = t->act_state;

    while (idle->count > 0 && idle->opening < t->options->ramp) {
        idle->opening++;
        load_act_open(t, idle->parties[--idle->count]);
    }
}

/* A round begins when the last one is over. */
static void reconnect_turn(struct load_traffic *t, uint64_t now_us)
{
    struct idle *idle = t->act_state;

    if (idle->connected < t->party_count || !load_act_may_begin(t, now_us))
        return;
    idle->connected = 0;
    idle->cut_us = now_us;
    t->counts.begun += t->party_count;
    for (uint32_t i = 0; i < t->party_count; i++)
        load_client_cut(&t->parties[i].client);
}

static uint64_t reconnect_next_us(const struct load_traffic *t)
{
    const struct idle *idle = t->act_state;

    if (idle->connected < t->party_count || !t->is_acting || t->counts.begun >= t->limit)
        return UINT64_MAX;
    return t->rate ? load_act_next_us(t) : 0;
}

static void reconnect_on_free(struct load_traffic *t, struct load_party *party)
{
    struct idle *idle = t->act_state;

    idle->parties[idle->count++] = party;
    open_some(t);
}

static void reconnect_on_ready(struct load_traffic *t, struct load_party *party, uint64_t now_us)
{
    struct idle *idle = t->act_state;

    (void)party;
    idle->connected++;
    if (t->counts.ready < t->party_count) { /* the first time */
        t->counts.ready++;
        return;
    }
    idle->opening--;
    load_act_end(t, idle->cut_us, now_us);
    open_some(t);
}

const struct load_act load_act_reconnect = {
    .init = idle_init,
    .fini = idle_fini,
    .turn = reconnect_turn,
    .next_us = reconnect_next_us,
    .on_ready = reconnect_on_ready,
    .on_free = reconnect_on_free,
};
