/* tools/load_subscribe.c -- the act of many subscriptions.
 *
 * Client i subscribes to PREFIX/i/0, PREFIX/i/1 ..., with at most a window of requests that are not
 * answered. The message of the check at the end goes to the first of them.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "tools/load_act.h"

struct subscriber {
    uint32_t asked;
    uint64_t *began_us; /* of each request of the window; 0: none */
};

struct storm {
    uint32_t turn; /* whose turn it is, with a rate */
    uint32_t window;
    struct subscriber subscribers[];
};

static enum err storm_init(struct load_traffic *t)
{
    struct storm *storm = calloc(1, sizeof(*storm) + t->party_count * sizeof(*storm->subscribers));

    t->act_state = storm;
    if (!storm)
        return ERR_MEMORY;
    storm->window = t->options->window;
    for (uint32_t i = 0; i < t->party_count; i++) {
        struct load_publisher *p = &t->publishers[i];

        storm->subscribers[i].began_us = calloc(storm->window, sizeof(uint64_t));
        if (!storm->subscribers[i].began_us)
            return ERR_MEMORY;
        snprintf(p->topic, sizeof(p->topic), "%s/%" PRIu32 "/0", t->options->topic_prefix, i);
        p->topic_bytes = (uint8_t)strlen(p->topic);
    }
    return OK;
}

static void storm_fini(struct load_traffic *t)
{
    struct storm *storm = t->act_state;

    for (uint32_t i = 0; storm && i < t->party_count; i++)
        free(storm->subscribers[i].began_us);
    free(storm);
}

/* Asks for the next topic of a client, if it may. */
static bool ask(struct load_traffic *t, uint32_t idx, uint64_t now_us)
{
    struct storm *storm = t->act_state;
    struct subscriber *s = &storm->subscribers[idx];
    uint32_t slot = s->asked % storm->window;
    char topic[LOAD_TOPIC_BYTES];

    if (s->asked == t->options->topics || s->began_us[slot] || !load_act_may_begin(t, now_us))
        return false;
    snprintf(topic, sizeof(topic), "%s/%" PRIu32 "/%" PRIu32, t->options->topic_prefix, idx,
             s->asked);
    s->asked++;
    s->began_us[slot] = load_act_begin(t, now_us);
    load_client_subscribe(&t->parties[idx].client, (uint16_t)(slot + 1), bytes_str(topic));
    return true;
}

/* With a rate the clients take turns. */
static void storm_turn(struct load_traffic *t, uint64_t now_us)
{
    struct storm *storm = t->act_state;
    uint32_t unable = 0;

    while (t->rate && unable < t->party_count && load_act_may_begin(t, now_us)) {
        unable = ask(t, storm->turn, now_us) ? 0 : unable + 1;
        storm->turn = (storm->turn + 1) % t->party_count;
    }
}

static void storm_start(struct load_traffic *t, uint64_t now_us)
{
    uint64_t all = (uint64_t)t->party_count * t->options->topics;

    if (t->limit > all)
        t->limit = all;
    for (uint32_t i = 0; t->rate == 0 && i < t->party_count; i++) {
        while (ask(t, i, now_us))
            continue;
    }
}

static void storm_on_suback(struct load_traffic *t, struct load_party *party, uint16_t packet_id,
                            uint64_t now_us)
{
    struct storm *storm = t->act_state;
    uint32_t idx = load_act_idx(t, party);
    uint64_t *began_us = &storm->subscribers[idx].began_us[(packet_id - 1u) % storm->window];

    if (*began_us == 0 || packet_id > storm->window) {
        t->counts.strange++;
        return;
    }
    load_act_end(t, *began_us, now_us);
    *began_us = 0;
    if (t->rate == 0)
        (void)ask(t, idx, now_us);
}

const struct load_act load_act_subscribe = {
    .init = storm_init,
    .fini = storm_fini,
    .start = storm_start,
    .turn = storm_turn,
    .next_us = load_act_next_us,
    .on_suback = storm_on_suback,
};
