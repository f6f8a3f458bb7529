/* tools/load_traffic.c -- the messages: who may publish when, and what has become of each. */
#include "tools/load_traffic.h"

#include "core/base/check.h"
#include "net/clock.h"
#include "tools/load_act.h"
#include "tools/load_stamp.h"

/* In an entry of `left`: the acknowledgement has not come. */
#define ACK_LEFT 0x80000000u
/* Likewise of the answer. */
#define ANSWER_ACK_LEFT 0x40000000u
#define COPIES_LEFT 0x3fffffffu
/* A publisher does not write on when so many bytes wait for its socket. */
#define WAITING_BYTES_MAX 65536u
/* What names a request in its answer: publisher and sequence. */
#define CORRELATION_BYTES 8u
#define REQUEST_PROPS_BYTES (6u + CORRELATION_BYTES + LOAD_TOPIC_BYTES)
enum { RESPONSE_TOPIC_ID = 0x08, CORRELATION_DATA_ID = 0x09 };

/* ---- who may send ---- */

static void enqueue(struct load_traffic *t, struct load_publisher *p)
{
    if (p->is_queued)
        return;
    p->is_queued = true;
    p->next_queued = NULL;
    *t->queue_end = p;
    t->queue_end = &p->next_queued;
}

static bool may_send(const struct load_traffic *t, const struct load_publisher *p)
{
    return t->is_publishing && p->sent - p->head < p->window && t->counts.sent < t->limit &&
           (p->due > 0 || t->rate == 0);
}

/* When the next message of a publisher is or was due: messages are dealt to publishers in turn. */
static uint64_t due_us(const struct load_traffic *t, const struct load_publisher *p)
{
    uint64_t tick = (uint64_t)p->sent * t->publisher_count + p->idx;

    return t->started_us + tick * 1000000u / t->rate;
}

static uint8_t *put_text(uint8_t *to, uint8_t id, struct bytes text)
{
    *to++ = id;
    return bytes_put(put_be16(to, (uint16_t)text.n), text);
}

static struct bytes correlation_of(const struct load_stamp *s, uint8_t to[CORRELATION_BYTES])
{
    put_be32(put_be32(to, s->publisher), s->sequence);
    return bytes_of(to, CORRELATION_BYTES);
}

/* The properties of a request: where its answer goes, and what is to stand in that. */
static struct bytes request_props(const struct load_traffic *t, const struct load_stamp *s,
                                  uint8_t to[REQUEST_PROPS_BYTES])
{
    uint8_t correlation[CORRELATION_BYTES];
    uint8_t *p = put_text(to, RESPONSE_TOPIC_ID, bytes_str(t->subscribers[s->publisher].filter));

    p = put_text(p, CORRELATION_DATA_ID, correlation_of(s, correlation));
    return bytes_of(to, (size_t)(p - to));
}

static uint32_t size_of(const struct load_traffic *t, uint32_t publisher, uint32_t sequence)
{
    return load_sizes_at(&t->options->sizes, load_size_random(t->run, publisher, sequence));
}

/* What a message waits for before it is complete. */
static uint32_t all_left(const struct load_traffic *t)
{
    uint32_t acks = t->options->scenario->is_answered ? ACK_LEFT | ANSWER_ACK_LEFT : ACK_LEFT;

    return t->copies | (t->options->qos ? acks : 0);
}

static void settle(struct load_traffic *t, struct load_publisher *p, uint32_t sequence,
                   uint32_t what);

static bool send_one(struct load_traffic *t, struct load_publisher *p, uint64_t now_us)
{
    const struct load_options *o = t->options;
    struct load_stamp stamp = {.run = t->run, .publisher = p->idx, .sequence = p->sent};
    uint8_t props[REQUEST_PROPS_BYTES];
    struct publish_out out = {
        .qos = o->qos,
        .packet_id = (uint16_t)(o->qos ? p->sent % p->window + 1 : 0),
        .topic = bytes_of(p->topic, p->topic_bytes),
        .payload = bytes_of(t->payload, size_of(t, p->idx, p->sent)),
    };

    stamp.sent_us = t->rate ? due_us(t, p) : now_us;
    load_stamp_put(t->payload, &stamp);
    if (o->scenario->is_answered)
        out.props = request_props(t, &stamp, props);
    if (!load_client_publish(p->client, &out))
        return false;
    p->left[p->sent & p->left_mask] = all_left(t);
    if (p->times)
        p->times[p->sent & p->left_mask] = stamp.sent_us;
    p->sent++;
    p->due -= t->rate ? 1 : 0;
    t->counts.sent++;
    if (all_left(t) == 0)
        settle(t, p, p->sent - 1, 0);
    return true;
}

/* Who stops here for its socket is queued again when that has sent. */
static void send_some(struct load_traffic *t, struct load_publisher *p, uint64_t now_us)
{
    while (may_send(t, p) && load_wire_waiting(&p->client->wire) < WAITING_BYTES_MAX) {
        if (!send_one(t, p, now_us))
            return;
    }
}

/* Deals the messages that have become due, and none beyond the limit. */
static void deal(struct load_traffic *t, uint64_t now_us)
{
    uint64_t ticks = (now_us - t->started_us) * t->rate / 1000000u + 1;

    for (; t->ticks < ticks && t->ticks < t->limit; t->ticks++) {
        struct load_publisher *p = &t->publishers[t->ticks % t->publisher_count];

        p->due++;
        enqueue(t, p);
    }
}

void load_traffic_publish(struct load_traffic *t, uint64_t now_us)
{
    struct load_publisher *p;

    if (t->is_publishing && t->rate)
        deal(t, now_us);
    p = t->queue;
    t->queue = NULL;
    t->queue_end = &t->queue;
    while (p) {
        struct load_publisher *next = p->next_queued;

        p->is_queued = false;
        send_some(t, p, now_us);
        p = next;
    }
}

uint64_t load_traffic_next_us(const struct load_traffic *t)
{
    if (t->queue)
        return 0;
    if (!t->is_publishing || t->rate == 0 || t->ticks >= t->limit)
        return UINT64_MAX;
    return t->started_us + (t->ticks * 1000000u + t->rate - 1) / t->rate;
}

void load_traffic_start(struct load_traffic *t, uint64_t now_us)
{
    t->is_publishing = true;
    t->started_us = now_us;
    for (uint32_t i = 0; i < t->publisher_count; i++)
        enqueue(t, &t->publishers[i]);
}

void load_traffic_check(struct load_traffic *t, uint64_t now_us)
{
    t->limit = t->publisher_count;
    t->rate = 0;
    for (uint32_t i = 0; i < t->publisher_count; i++)
        t->publishers[i].window = 1;
    load_traffic_start(t, now_us);
}

/* Those that were due and could not leave are as late as they are by now: without them the slow
 * moments at the end would look fast. */
void load_traffic_stop(struct load_traffic *t, uint64_t now_us)
{
    t->is_publishing = false;
    for (uint32_t i = 0; t->rate && i < t->publisher_count; i++) {
        struct load_publisher *p = &t->publishers[i];
        struct load_publisher unsent = *p;

        for (; unsent.due > 0; unsent.due--, unsent.sent++) {
            uint64_t due = due_us(t, &unsent);

            t->counts.overdue++;
            load_act_measure(t, due, now_us > due ? now_us - due : 0);
        }
        p->due = 0;
    }
}

/* ---- what becomes of a message ---- */

/* Takes `what` off a message on its way, and lets those that are complete go. */
static void settle(struct load_traffic *t, struct load_publisher *p, uint32_t sequence,
                   uint32_t what)
{
    p->left[sequence & p->left_mask] -= what;
    if (sequence != p->head)
        return;
    while (p->head < p->sent && p->left[p->head & p->left_mask] == 0) {
        p->head++;
        t->counts.complete++;
    }
    enqueue(t, p);
}

static struct load_traffic *traffic_of(const struct load_client *c)
{
    return c->setup->user;
}

static struct load_party *party_of(struct load_client *c)
{
    return URING_OWNER(c, struct load_party, client);
}

/* Whether this is what a request asked to get. */
static bool is_answer(const struct load_subscriber *s, const struct packet_publish *m,
                      const struct load_stamp *stamp)
{
    uint8_t wanted[CORRELATION_BYTES];

    return (m->props.present & PROP_BIT(PROP_CORRELATION_DATA)) &&
           bytes_eq(m->props.correlation_data, correlation_of(stamp, wanted)) &&
           bytes_eq(m->topic, bytes_str(s->filter));
}

/* The publisher of a message, or NULL if it is not one we sent to this subscriber. */
static struct load_publisher *sender_of(const struct load_traffic *t,
                                        const struct load_subscriber *s,
                                        const struct packet_publish *m,
                                        const struct load_stamp *stamp)
{
    struct load_publisher *p;

    if (stamp->run != t->run || stamp->publisher - s->first >= s->count)
        return NULL;
    p = &t->publishers[stamp->publisher];
    if (stamp->sequence >= p->sent || m->qos != t->options->qos ||
        m->payload.n != size_of(t, stamp->publisher, stamp->sequence))
        return NULL;
    if (t->options->scenario->is_answered)
        return is_answer(s, m, stamp) ? p : NULL;
    if (t->options->is_bare || bytes_eq(m->topic, bytes_of(p->topic, p->topic_bytes)))
        return p;
    return NULL;
}

/* Members of a group have messages of one publisher in turns, so only what one member sees has an
 * order; what has come is known from what is left of each. */
static void account_shared(struct load_traffic *t, struct load_subscriber *s,
                           struct load_publisher *p, uint32_t sequence)
{
    uint32_t *next = &s->next[p->idx - s->first];

    if (sequence < p->head || (p->left[sequence & p->left_mask] & COPIES_LEFT) == 0) {
        t->counts.doubled++;
        return;
    }
    if (sequence < *next)
        t->counts.late++;
    else
        *next = sequence + 1;
    t->counts.delivered++;
    settle(t, p, sequence, 1);
}

static void account(struct load_traffic *t, struct load_subscriber *s, struct load_publisher *p,
                    uint32_t sequence)
{
    struct load_flow *flow = &s->flows[p->idx - s->first];
    uint32_t expected = flow->next;

    switch (load_flow_take(flow, sequence)) {
    case LOAD_ARRIVAL_DOUBLE:
        t->counts.doubled++;
        return;
    case LOAD_ARRIVAL_LATE:
        t->counts.lost--;
        t->counts.late++;
        break; /* was settled when it was missed */
    case LOAD_ARRIVAL_GAP:
    case LOAD_ARRIVAL_IN_ORDER:
        t->counts.lost += sequence - expected;
        for (uint32_t missed = expected; missed < sequence; missed++)
            settle(t, p, missed, 1);
        settle(t, p, sequence, 1);
        break;
    }
    t->counts.delivered++;
}

/* A request came: its answer has the same payload and the same number. */
static void answer(struct load_traffic *t, struct load_party *party, const struct packet_publish *m)
{
    const struct load_publisher *p = party->asked_by;
    struct load_stamp stamp = load_stamp_get(m->payload.p);
    uint8_t props[REQUEST_PROPS_BYTES], *end;
    struct publish_out out = {.qos = m->qos, .payload = m->payload};
    uint32_t wanted = PROP_BIT(PROP_CORRELATION_DATA) | PROP_BIT(PROP_RESPONSE_TOPIC);

    if (stamp.run != t->run || stamp.publisher != p->idx || stamp.sequence >= p->sent ||
        (m->props.present & wanted) != wanted || m->props.correlation_data.n != CORRELATION_BYTES) {
        t->counts.strange++;
        return;
    }
    out.topic = m->props.response_topic;
    end = put_text(props, CORRELATION_DATA_ID, m->props.correlation_data);
    out.props = bytes_of(props, (size_t)(end - props));
    out.packet_id = (uint16_t)(m->qos ? stamp.sequence % p->window + 1 : 0);
    (void)load_client_publish(&party->client, &out); /* without memory it is missed */
}

static void take(struct load_traffic *t, struct load_subscriber *s, const struct packet_publish *m,
                 uint64_t now_us)
{
    struct load_publisher *p = NULL;
    struct load_stamp stamp;

    if (s && m->payload.n >= LOAD_STAMP_BYTES) {
        stamp = load_stamp_get(m->payload.p);
        p = sender_of(t, s, m, &stamp);
    }
    if (!p) {
        t->counts.strange++;
        return;
    }
    if (t->options->scenario->is_shared)
        account_shared(t, s, p, stamp.sequence);
    else
        account(t, s, p, stamp.sequence);
    load_act_measure(t, stamp.sent_us, now_us > stamp.sent_us ? now_us - stamp.sent_us : 0);
}

static void traffic_on_message(struct load_client *c, const struct packet_publish *m,
                               uint64_t now_us)
{
    struct load_traffic *t = traffic_of(c);
    struct load_party *party = party_of(c);

    if (t->act->on_message)
        t->act->on_message(t, party, m, now_us);
    else if (party->asked_by && m->payload.n >= LOAD_STAMP_BYTES)
        answer(t, party, m);
    else
        take(t, party->subscriber, m, now_us);
}

/* Where nobody receives, latency is that of the acknowledgement. */
static void measure_ack(struct load_traffic *t, uint64_t sent_us)
{
    uint64_t now_us = clock_mono_us();

    load_act_measure(t, sent_us, now_us > sent_us ? now_us - sent_us : 0);
}

/* The packet id of a message is its sequence modulo the window, plus one, so among those on their
 * way it names one. */
static void traffic_on_ack(struct load_client *c, uint16_t packet_id, bool is_refused)
{
    struct load_traffic *t = traffic_of(c);
    struct load_party *party = party_of(c);
    struct load_publisher *p = party->asked_by ? party->asked_by : party->publisher;
    uint32_t what = party->asked_by ? ANSWER_ACK_LEFT : ACK_LEFT;
    uint32_t sequence;

    t->counts.refused += is_refused;
    if (t->act->on_ack) {
        t->act->on_ack(t, party, packet_id);
        return;
    }
    if (!p || packet_id == 0 || packet_id > p->window) {
        t->counts.strange++;
        return;
    }
    sequence = p->head + (packet_id - 1u + p->window - p->head % p->window) % p->window;
    if (sequence >= p->sent || !(p->left[sequence & p->left_mask] & what)) {
        t->counts.strange++;
        return;
    }
    t->counts.acked++;
    if (p->times)
        measure_ack(t, p->times[sequence & p->left_mask]);
    settle(t, p, sequence, what);
}

static void traffic_on_ready(struct load_client *c)
{
    struct load_traffic *t = traffic_of(c);
    struct load_party *party = party_of(c);
    struct load_publisher *p = party->asked_by ? party->asked_by : party->publisher;

    /* Who answers has as many answers on their way as there are requests. */
    if (p && t->options->qos > 0 && p->window > c->receive_maximum)
        p->window = c->receive_maximum;
    if (t->act->on_ready)
        t->act->on_ready(t, party, clock_mono_us());
    else
        t->counts.ready++;
}

static void traffic_on_suback(struct load_client *c, uint16_t packet_id)
{
    struct load_traffic *t = traffic_of(c);

    if (t->act->on_suback && party_of(c)->subscriber)
        t->act->on_suback(t, party_of(c), packet_id, clock_mono_us());
    else
        t->counts.strange++;
}

static void traffic_on_unsuback(struct load_client *c, uint16_t packet_id)
{
    struct load_traffic *t = traffic_of(c);

    if (t->act->on_unsuback && party_of(c)->subscriber)
        t->act->on_unsuback(t, party_of(c), packet_id);
    else
        t->counts.strange++;
}

static void traffic_on_free(struct load_client *c)
{
    struct load_traffic *t = traffic_of(c);

    if (t->act->on_free)
        t->act->on_free(t, party_of(c));
}

static void traffic_on_sent(struct load_client *c)
{
    struct load_traffic *t = traffic_of(c);
    struct load_publisher *p = party_of(c)->publisher;

    if (p && may_send(t, p))
        enqueue(t, p);
}

static void traffic_on_gone(struct load_client *c, const char *why)
{
    struct load_traffic *t = traffic_of(c);

    t->counts.gone++;
    t->why_gone = why;
}

void load_traffic_write_off(struct load_traffic *t)
{
    for (uint32_t i = 0; t->options->scenario->is_shared && i < t->publisher_count; i++) {
        const struct load_publisher *p = &t->publishers[i];

        for (uint32_t at = p->head; at < p->sent; at++)
            t->counts.lost += p->left[at & p->left_mask] & COPIES_LEFT;
    }
    for (uint32_t i = 0; i < t->subscriber_count; i++) {
        const struct load_subscriber *s = &t->subscribers[i];

        for (uint32_t j = 0; s->flows && j < s->count; j++)
            t->counts.lost += t->publishers[s->first + j].sent - s->flows[j].next;
    }
}

const struct load_client_calls load_traffic_client_calls = {
    .on_ready = traffic_on_ready,
    .on_message = traffic_on_message,
    .on_ack = traffic_on_ack,
    .on_sent = traffic_on_sent,
    .on_gone = traffic_on_gone,
    .on_suback = traffic_on_suback,
    .on_unsuback = traffic_on_unsuback,
    .on_free = traffic_on_free,
};
