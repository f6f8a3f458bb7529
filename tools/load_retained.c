/* tools/load_retained.c -- the act of retained messages.
 *
 * The publisher stores a message under PREFIX/0, PREFIX/1 ... Each subscriber then subscribes to
 * PREFIX/+, waits until all of them have come, each once and marked as retained, gives the
 * subscription up, and begins again. At the end the publisher removes what it has stored.
 * Topics have no order among each other, so none is looked for.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/load_act.h"
#include "tools/load_stamp.h"

#define PACKET_ID 2

struct reader {
    bool is_reading, is_granted;
    uint32_t came;
    uint64_t *seen; /* a bit for each topic */
};

struct store {
    uint32_t next, acked; /* topics that were published, and acknowledged */
    bool removes;
    char filter[LOAD_TOPIC_BYTES];
    struct reader readers[];
};

static uint32_t words_of(const struct load_traffic *t)
{
    return t->options->topics / 64 + 1;
}

static enum err store_init(struct load_traffic *t)
{
    struct store *s = calloc(1, sizeof(*s) + t->subscriber_count * sizeof(s->readers[0]));

    t->act_state = s;
    if (!s)
        return ERR_MEMORY;
    snprintf(s->filter, sizeof(s->filter), "%s/+", t->options->topic_prefix);
    for (uint32_t i = 0; i < t->subscriber_count; i++) {
        s->readers[i].seen = calloc(words_of(t), sizeof(uint64_t));
        if (!s->readers[i].seen)
            return ERR_MEMORY;
    }
    return OK;
}

static void store_fini(struct load_traffic *t)
{
    struct store *s = t->act_state;

    for (uint32_t i = 0; s && i < t->subscriber_count; i++)
        free(s->readers[i].seen);
    free(s);
}

/* ---- storing and removing ---- */

static uint32_t size_of(const struct load_traffic *t, uint32_t topic)
{
    return load_sizes_at(&t->options->sizes, load_size_random(t->run, 0, topic));
}

static uint32_t topic_of(const struct load_traffic *t, uint32_t topic, char to[LOAD_TOPIC_BYTES])
{
    return (uint32_t)snprintf(to, LOAD_TOPIC_BYTES, "%s/%" PRIu32, t->options->topic_prefix, topic);
}

/* With QoS 1 at least, so that it is known when all is stored. */
static void store_some(struct load_traffic *t)
{
    struct store *s = t->act_state;
    const struct load_publisher *p = &t->publishers[0];

    while (s->next < t->options->topics && s->next - s->acked < p->window) {
        struct load_stamp stamp = {.run = t->run, .sequence = s->next};
        char topic[LOAD_TOPIC_BYTES];
        struct publish_out out = {
            .qos = t->options->qos ? t->options->qos : 1,
            .retain = true,
            .packet_id = (uint16_t)(s->next % UINT16_MAX + 1),
            .topic = bytes_of(topic, topic_of(t, s->next, topic)),
        };

        load_stamp_put(t->payload, &stamp);
        if (!s->removes)
            out.payload = bytes_of(t->payload, size_of(t, s->next));
        if (!load_client_publish(p->client, &out))
            return;
        s->next++;
    }
}

static void store_again(struct load_traffic *t, bool removes)
{
    struct store *s = t->act_state;

    s->next = s->acked = 0;
    s->removes = removes;
    t->counts.chores = t->options->topics;
    if (t->publishers[0].window > t->publishers[0].client->receive_maximum)
        t->publishers[0].window = t->publishers[0].client->receive_maximum;
    store_some(t);
}

static void store_prepare(struct load_traffic *t, uint64_t now_us)
{
    (void)now_us;
    store_again(t, false);
}

static void store_clean(struct load_traffic *t, uint64_t now_us)
{
    (void)now_us;
    store_again(t, true);
}

static void store_on_ack(struct load_traffic *t, struct load_party *party, uint16_t packet_id)
{
    struct store *s = t->act_state;

    (void)packet_id;
    if (!party->publisher || s->acked == s->next) {
        t->counts.strange++;
        return;
    }
    s->acked++;
    t->counts.acked++;
    t->counts.chores--;
    store_some(t);
}

/* ---- reading ---- */

static struct reader *reader_of(const struct load_traffic *t, const struct load_party *party)
{
    struct store *s = t->act_state;

    return &s->readers[load_act_idx(t, party)];
}

static void read_all(struct load_traffic *t, struct load_party *party, uint64_t now_us)
{
    struct store *s = t->act_state;
    struct reader *r = reader_of(t, party);

    if (r->is_reading || !load_act_may_begin(t, now_us))
        return;
    party->began_us = load_act_begin(t, now_us);
    memset(r->seen, 0, words_of(t) * sizeof(*r->seen));
    r->is_reading = true;
    r->is_granted = false;
    r->came = 0;
    load_client_subscribe(&party->client, PACKET_ID, bytes_str(s->filter));
}

/* In every turn, for those that had to wait until they may. */
static void store_turn(struct load_traffic *t, uint64_t now_us)
{
    for (uint32_t i = 0; i < t->subscriber_count && load_act_may_begin(t, now_us); i++)
        read_all(t, &t->parties[i], now_us);
}

static bool has_all(const struct load_traffic *t, const struct reader *r)
{
    return r->is_granted && r->came == t->options->topics;
}

static void end_if_done(struct load_traffic *t, struct load_party *party)
{
    struct store *s = t->act_state;

    if (has_all(t, reader_of(t, party)))
        load_client_unsubscribe(&party->client, PACKET_ID, bytes_str(s->filter));
}

static void store_on_suback(struct load_traffic *t, struct load_party *party, uint16_t packet_id,
                            uint64_t now_us)
{
    struct reader *r = reader_of(t, party);

    (void)packet_id, (void)now_us;
    if (!r->is_reading || r->is_granted) {
        t->counts.strange++;
        return;
    }
    r->is_granted = true;
    end_if_done(t, party);
}

static void store_on_unsuback(struct load_traffic *t, struct load_party *party, uint16_t packet_id)
{
    struct reader *r = reader_of(t, party);

    (void)packet_id;
    if (!r->is_reading || !has_all(t, r)) {
        t->counts.strange++;
        return;
    }
    r->is_reading = false;
    t->counts.finished++;
}

/* Whether it is the message that was stored under that number. */
static bool is_stored(const struct load_traffic *t, const struct packet_publish *m, uint32_t *idx)
{
    struct load_stamp stamp;
    char topic[LOAD_TOPIC_BYTES];

    if (m->payload.n < LOAD_STAMP_BYTES)
        return false;
    stamp = load_stamp_get(m->payload.p);
    *idx = stamp.sequence;
    return stamp.run == t->run && *idx < t->options->topics && m->retain &&
           m->qos == t->options->qos && m->payload.n == size_of(t, *idx) &&
           bytes_eq(m->topic, bytes_of(topic, topic_of(t, *idx, topic)));
}

static void store_on_message(struct load_traffic *t, struct load_party *party,
                             const struct packet_publish *m, uint64_t now_us)
{
    struct reader *r = party->subscriber ? reader_of(t, party) : NULL;
    uint32_t idx;

    if (!r || !r->is_reading || !is_stored(t, m, &idx)) {
        t->counts.strange++;
        return;
    }
    if (r->seen[idx / 64] & (1ull << (idx % 64))) {
        t->counts.doubled++;
        return;
    }
    r->seen[idx / 64] |= 1ull << (idx % 64);
    r->came++;
    t->counts.delivered++;
    load_act_measure(t, party->began_us, now_us > party->began_us ? now_us - party->began_us : 0);
    end_if_done(t, party);
}

static void store_write_off(struct load_traffic *t)
{
    struct store *s = t->act_state;

    for (uint32_t i = 0; i < t->subscriber_count; i++) {
        if (s->readers[i].is_reading)
            t->counts.lost += t->options->topics - s->readers[i].came;
    }
}

static uint64_t store_next_us(const struct load_traffic *t)
{
    struct store *s = t->act_state;
    bool waits = false;

    for (uint32_t i = 0; i < t->subscriber_count; i++)
        waits = waits || !s->readers[i].is_reading;
    if (!waits || !t->is_acting || t->counts.begun >= t->limit)
        return UINT64_MAX;
    return t->rate ? load_act_next_us(t) : 0;
}

const struct load_act load_act_retained = {
    .init = store_init,
    .fini = store_fini,
    .prepare = store_prepare,
    .clean = store_clean,
    .stop = load_act_stop,
    .turn = store_turn,
    .write_off = store_write_off,
    .next_us = store_next_us,
    .on_message = store_on_message,
    .on_ack = store_on_ack,
    .on_suback = store_on_suback,
    .on_unsuback = store_on_unsuback,
};
