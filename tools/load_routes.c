/* tools/load_routes.c -- the act of routes: how soon after SUBACK a publisher is heard.
 *
 * A subscriber asks for a topic that is new. From its SUBACK on the publisher of the pair publishes
 * probes to that topic, one every PROBE_US, until one arrives; what is measured is the time from
 * the SUBACK to when the first probe that arrives was sent, so the time that the message itself
 * takes does not count. All probes behind that one must arrive too, once and in order. Then the
 * subscription is given up and the next begins.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "net/clock.h"
#include "tools/load_act.h"
#include "tools/load_stamp.h"

/* Between two probes; the error of what is measured. */
#define PROBE_US 200u
#define PACKET_ID 2

enum pair_state { PAIR_IDLE, PAIR_ASKING, PAIR_PROBING, PAIR_ENDING };

struct pair {
    enum pair_state state;
    uint32_t number;      /* of its topics so far */
    uint32_t sent, acked; /* probes of this topic */
    uint32_t expected;    /* the next probe to arrive, once one has */
    bool is_heard;
    uint64_t suback_us, probe_us; /* when it was granted, when the next probe is due */
    char topic[LOAD_TOPIC_BYTES];
};

static enum err pairs_init(struct load_traffic *t)
{
    t->act_state = calloc(t->publisher_count, sizeof(struct pair));
    return t->act_state ? OK : ERR_MEMORY;
}

static void pairs_fini(struct load_traffic *t)
{
    free(t->act_state);
}

static struct pair *pair_of(const struct load_traffic *t, uint32_t idx)
{
    struct pair *pairs = t->act_state;

    return &pairs[idx];
}

/* ---- one topic after the other ---- */

static void ask(struct load_traffic *t, uint32_t idx, uint64_t now_us)
{
    struct pair *p = pair_of(t, idx);

    (void)load_act_begin(t, now_us);
    p->state = PAIR_ASKING;
    p->sent = p->acked = p->expected = 0;
    p->is_heard = false;
    snprintf(p->topic, sizeof(p->topic), "%s/%08" PRIx32 "/%" PRIu32 "/%" PRIu32,
             t->options->topic_prefix, t->run, idx, p->number++);
    load_client_subscribe(&t->parties[idx].client, PACKET_ID, bytes_str(p->topic));
}

static void probe(struct load_traffic *t, uint32_t idx, uint64_t now_us)
{
    struct pair *p = pair_of(t, idx);
    struct load_publisher *publisher = &t->publishers[idx];
    struct load_stamp stamp = {
        .run = t->run, .publisher = idx, .sequence = p->sent, .sent_us = now_us};
    uint8_t qos = t->options->qos;
    struct publish_out out = {
        .qos = qos,
        .packet_id = (uint16_t)(qos ? p->sent % UINT16_MAX + 1 : 0),
        .topic = bytes_str(p->topic),
        .payload = bytes_of(t->payload, t->options->sizes.max),
    };

    p->probe_us = now_us + PROBE_US;
    if (qos > 0 && p->sent - p->acked >= publisher->window)
        return;
    load_stamp_put(t->payload, &stamp);
    if (!load_client_publish(publisher->client, &out))
        return;
    p->sent++;
    t->counts.sent++;
    t->counts.complete++; /* those before the first that is heard need not arrive */
}

/* All that were sent since the first that was heard have come, and are acknowledged. */
static void end_if_done(struct load_traffic *t, uint32_t idx)
{
    struct pair *p = pair_of(t, idx);

    if (p->state != PAIR_PROBING || !p->is_heard || p->expected < p->sent)
        return;
    if (t->options->qos > 0 && p->acked < p->sent)
        return;
    p->state = PAIR_ENDING;
    load_client_unsubscribe(&t->parties[idx].client, PACKET_ID, bytes_str(p->topic));
}

static void pairs_turn(struct load_traffic *t, uint64_t now_us)
{
    for (uint32_t i = 0; i < t->publisher_count; i++) {
        struct pair *p = pair_of(t, i);

        if (p->state == PAIR_PROBING && !p->is_heard && p->probe_us <= now_us)
            probe(t, i, now_us);
        else if (p->state == PAIR_IDLE && load_act_may_begin(t, now_us))
            ask(t, i, now_us);
    }
}

static uint64_t pairs_next_us(const struct load_traffic *t)
{
    uint64_t next = UINT64_MAX;

    for (uint32_t i = 0; i < t->publisher_count; i++) {
        const struct pair *p = pair_of(t, i);
        uint64_t at = UINT64_MAX;

        if (p->state == PAIR_PROBING && !p->is_heard)
            at = p->probe_us;
        else if (p->state == PAIR_IDLE && t->is_acting && t->counts.begun < t->limit)
            at = t->rate ? load_act_next_us(t) : 0;
        next = at < next ? at : next;
    }
    return next;
}

/* ---- what is told ---- */

static void pairs_on_suback(struct load_traffic *t, struct load_party *party, uint16_t packet_id,
                            uint64_t now_us)
{
    uint32_t idx = load_act_idx(t, party);
    struct pair *p = pair_of(t, idx);

    (void)packet_id;
    if (p->state != PAIR_ASKING) {
        t->counts.strange++;
        return;
    }
    p->state = PAIR_PROBING;
    p->suback_us = now_us;
    probe(t, idx, now_us);
}

static void pairs_on_message(struct load_traffic *t, struct load_party *party,
                             const struct packet_publish *m, uint64_t now_us)
{
    uint32_t idx = load_act_idx(t, party);
    struct load_stamp stamp = {0};
    struct pair *p = NULL;

    (void)now_us;
    if (party->subscriber && m->payload.n == t->options->sizes.max) {
        p = pair_of(t, idx);
        stamp = load_stamp_get(m->payload.p);
    }
    if (!p || p->state != PAIR_PROBING || stamp.run != t->run || stamp.publisher != idx ||
        stamp.sequence >= p->sent || !bytes_eq(m->topic, bytes_str(p->topic))) {
        t->counts.strange++;
        return;
    }
    if (p->is_heard && stamp.sequence < p->expected) {
        t->counts.doubled++;
        return;
    }
    if (p->is_heard)
        t->counts.lost += stamp.sequence - p->expected;
    else
        load_act_measure(t, p->suback_us, stamp.sent_us - p->suback_us);
    p->is_heard = true;
    p->expected = stamp.sequence + 1;
    t->counts.delivered++;
    end_if_done(t, idx);
}

/* Is no progress (t->counts.acked): probes are acknowledged as long as they are sent. */
static void pairs_on_ack(struct load_traffic *t, struct load_party *party, uint16_t packet_id)
{
    uint32_t idx = load_act_idx(t, party) - t->subscriber_count;

    (void)packet_id;
    if (!party->publisher || pair_of(t, idx)->acked == pair_of(t, idx)->sent) {
        t->counts.strange++;
        return;
    }
    pair_of(t, idx)->acked++;
    end_if_done(t, idx);
}

static void pairs_on_unsuback(struct load_traffic *t, struct load_party *party, uint16_t packet_id)
{
    struct pair *p = pair_of(t, load_act_idx(t, party));

    (void)packet_id;
    if (p->state != PAIR_ENDING) {
        t->counts.strange++;
        return;
    }
    p->state = PAIR_IDLE;
    t->counts.finished++;
    pairs_turn(t, clock_mono_us());
}

static void pairs_write_off(struct load_traffic *t)
{
    for (uint32_t i = 0; i < t->publisher_count; i++) {
        const struct pair *p = pair_of(t, i);

        if (p->state == PAIR_PROBING)
            t->counts.lost += p->sent - p->expected;
    }
}

const struct load_act load_act_routes = {
    .init = pairs_init,
    .fini = pairs_fini,
    .turn = pairs_turn,
    .write_off = pairs_write_off,
    .next_us = pairs_next_us,
    .on_message = pairs_on_message,
    .on_ack = pairs_on_ack,
    .on_suback = pairs_on_suback,
    .on_unsuback = pairs_on_unsuback,
};
