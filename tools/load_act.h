/* tools/load_act.h -- what the clients of a scenario do between connecting and leaving.
 *
 * An act begins operations (connections, subscriptions) or lets publishers publish. Operations are
 * counted as begun and finished, messages as sent and complete (tools/load_traffic.h). Any function
 * of an act may be NULL: nothing is done then, or what messages need.
 *
 *     connect -> prepare -> start ... turn, turn ... stop -> clean
 *
 * Threads  one, that of the loop.
 */
#ifndef TOOLS_LOAD_ACT_H
#define TOOLS_LOAD_ACT_H

#include "tools/load_traffic.h"

struct load_act {
    bool connects_late; /* connections are what it begins: none are made before */
    /* Memory of its own, and giving it back. */
    enum err (*init)(struct load_traffic *t);
    void (*fini)(struct load_traffic *t);
    /* Before anything is measured, and when all is over: done once no chore is left. */
    void (*prepare)(struct load_traffic *t, uint64_t now_us);
    void (*clean)(struct load_traffic *t, uint64_t now_us);
    /* From here on something is begun, `t->limit` in all; and from here on nothing more. */
    void (*start)(struct load_traffic *t, uint64_t now_us);
    void (*stop)(struct load_traffic *t, uint64_t now_us);
    /* Does what may be done by now, in every turn of the loop. */
    void (*turn)(struct load_traffic *t, uint64_t now_us);
    /* Counts as lost what has not come and does not come any more. */
    void (*write_off)(struct load_traffic *t);
    /* When turn has something to do, if nothing happens before; UINT64_MAX: never. */
    uint64_t (*next_us)(const struct load_traffic *t);
    /* What clients tell. */
    void (*on_ready)(struct load_traffic *t, struct load_party *party, uint64_t now_us);
    void (*on_message)(struct load_traffic *t, struct load_party *party,
                       const struct packet_publish *m, uint64_t now_us);
    void (*on_ack)(struct load_traffic *t, struct load_party *party, uint16_t packet_id);
    /* Of subscribers only, whether they have asked or not. */
    void (*on_suback)(struct load_traffic *t, struct load_party *party, uint16_t packet_id,
                      uint64_t now_us);
    void (*on_unsuback)(struct load_traffic *t, struct load_party *party, uint16_t packet_id);
    void (*on_free)(struct load_traffic *t, struct load_party *party);
};

/* The act of a scenario. */
const struct load_act *load_act_of(enum load_kind kind);

/* The party's number. */
uint32_t load_act_idx(const struct load_traffic *t, const struct load_party *party);
/* Opens the connection of a party; when that fails the run does. */
void load_act_open(struct load_traffic *t, struct load_party *party);

extern const struct load_act load_act_ramp, load_act_reconnect, load_act_subscribe;
extern const struct load_act load_act_retained, load_act_routes;

/* Whether another operation may be begun by now: there is one left, and with a rate it is due. */
bool load_act_may_begin(const struct load_traffic *t, uint64_t now_us);
/* Begins one: the result is when it was due, or with no rate now. */
uint64_t load_act_begin(struct load_traffic *t, uint64_t now_us);
/* When the next one is due; UINT64_MAX without a rate, or when there is none. */
uint64_t load_act_next_us(const struct load_traffic *t);
/* What was due by now and could not be begun is as late as it is: see load_traffic_stop. */
void load_act_stop(struct load_traffic *t, uint64_t now_us);
/* One that was begun at `begun_us` has ended well. */
void load_act_end(struct load_traffic *t, uint64_t begun_us, uint64_t now_us);
/* Takes note of a latency, of what began at `begun_us`, if that is measured. */
void load_act_measure(struct load_traffic *t, uint64_t begun_us, uint64_t us);

#endif
