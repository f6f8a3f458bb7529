/* tools/load_traffic.c -- the messages: who may publish when, and what has become of each. */
#include "tools/load_traffic.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/base/check.h"
#include "net/clock.h"
#include "tools/load_stamp.h"

/* In an entry of `left`: the acknowledgement has not come. */
#define ACK_LEFT 0x80000000u
/* A publisher does not write on when so many bytes wait for its socket. */
#define WAITING_BYTES_MAX 65536u
/* Room for the topic and the headers of the largest packet. */
#define PACKET_EXTRA_BYTES 256u

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
           (p->due > 0 || t->options->rate == 0);
}

/* When the next message of a publisher is or was due: messages are dealt to publishers in turn. */
static uint64_t due_us(const struct load_traffic *t, const struct load_publisher *p)
{
    uint64_t tick = (uint64_t)p->sent * t->publisher_count + p->idx;

    return t->started_us + tick * 1000000u / t->options->rate;
}

static bool send_one(struct load_traffic *t, struct load_publisher *p, uint64_t now_us)
{
    const struct load_options *o = t->options;
    struct load_stamp stamp = {.run = t->run, .publisher = p->idx, .sequence = p->sent};
    struct publish_out out = {
        .qos = o->qos,
        .packet_id = (uint16_t)(o->qos ? p->sent % p->window + 1 : 0),
        .topic = bytes_of(p->topic, p->topic_bytes),
        .payload = bytes_of(t->payload, o->payload_bytes),
    };

    stamp.sent_us = o->rate ? due_us(t, p) : now_us;
    load_stamp_put(t->payload, &stamp);
    if (!load_client_publish(p->client, &out))
        return false;
    p->left[p->sent & p->left_mask] = t->copies | (o->qos ? ACK_LEFT : 0);
    p->sent++;
    p->due -= o->rate ? 1 : 0;
    t->counts.sent++;
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

/* Deals the messages that have become due. */
static void deal(struct load_traffic *t, uint64_t now_us)
{
    uint64_t ticks = (now_us - t->started_us) * t->options->rate / 1000000u + 1;

    for (; t->ticks < ticks; t->ticks++) {
        struct load_publisher *p = &t->publishers[t->ticks % t->publisher_count];

        p->due++;
        enqueue(t, p);
    }
}

void load_traffic_publish(struct load_traffic *t, uint64_t now_us)
{
    struct load_publisher *p;

    if (t->is_publishing && t->options->rate)
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
    if (!t->is_publishing || t->options->rate == 0 || t->counts.sent >= t->limit)
        return UINT64_MAX;
    return t->started_us + (t->ticks * 1000000u + t->options->rate - 1) / t->options->rate;
}

void load_traffic_start(struct load_traffic *t, uint64_t limit, uint64_t now_us)
{
    t->is_publishing = true;
    t->limit = limit;
    t->started_us = now_us;
    for (uint32_t i = 0; i < t->publisher_count; i++)
        enqueue(t, &t->publishers[i]);
}

void load_traffic_stop(struct load_traffic *t)
{
    t->is_publishing = false;
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
        m->payload.n != t->options->payload_bytes ||
        !bytes_eq(m->topic, bytes_of(p->topic, p->topic_bytes)))
        return NULL;
    return p;
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

static void traffic_on_message(struct load_client *c, const struct packet_publish *m,
                               uint64_t now_us)
{
    struct load_traffic *t = traffic_of(c);
    struct load_subscriber *s = party_of(c)->subscriber;
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
    account(t, s, p, stamp.sequence);
    if (t->is_measuring && stamp.sent_us >= t->measured_from_us)
        load_hist_add(&t->latency, now_us > stamp.sent_us ? now_us - stamp.sent_us : 0);
}

/* The packet id of a message is its sequence modulo the window, plus one, so among those on their
 * way it names one. */
static void traffic_on_ack(struct load_client *c, uint16_t packet_id, bool is_refused)
{
    struct load_traffic *t = traffic_of(c);
    struct load_publisher *p = party_of(c)->publisher;
    uint32_t sequence;

    if (!p || packet_id == 0 || packet_id > p->window) {
        t->counts.strange++;
        return;
    }
    sequence = p->head + (packet_id - 1u + p->window - p->head % p->window) % p->window;
    if (sequence >= p->sent || !(p->left[sequence & p->left_mask] & ACK_LEFT)) {
        t->counts.strange++;
        return;
    }
    t->counts.acked++;
    t->counts.refused += is_refused;
    settle(t, p, sequence, ACK_LEFT);
}

static void traffic_on_ready(struct load_client *c)
{
    struct load_traffic *t = traffic_of(c);
    struct load_publisher *p = party_of(c)->publisher;

    if (p && t->options->qos > 0 && p->window > c->receive_maximum)
        p->window = c->receive_maximum;
    t->counts.ready++;
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
    for (uint32_t i = 0; i < t->subscriber_count; i++) {
        const struct load_subscriber *s = &t->subscribers[i];

        for (uint32_t j = 0; j < s->count; j++)
            t->counts.lost += t->publishers[s->first + j].sent - s->flows[j].next;
    }
}

/* ---- making and unmaking ---- */

static const struct load_client_calls client_calls = {
    .on_ready = traffic_on_ready,
    .on_message = traffic_on_message,
    .on_ack = traffic_on_ack,
    .on_sent = traffic_on_sent,
    .on_gone = traffic_on_gone,
};

static void set_up(struct load_traffic *t)
{
    const struct load_options *o = t->options;

    t->setup = (struct load_client_setup){
        .calls = &client_calls,
        .user = t,
        .protocol = o->protocol,
        .subscribe_qos = o->qos,
        .keep_alive = LOAD_KEEP_ALIVE,
        .packet_bytes_max = o->payload_bytes + PACKET_EXTRA_BYTES,
        .to = (const struct sockaddr *)&o->to,
        .to_bytes = o->to_bytes,
    };
    if (o->username)
        t->setup.username = bytes_str(o->username);
    if (o->password)
        t->setup.password = bytes_str(o->password);
    t->far_setup = t->setup;
    t->far_setup.to = (const struct sockaddr *)&o->far_to;
    t->far_setup.to_bytes = o->far_to_bytes;
}

static enum err init_publisher(struct load_traffic *t, uint32_t idx)
{
    struct load_publisher *p = &t->publishers[idx];
    uint32_t room = 1;

    p->idx = idx;
    p->window = t->options->window;
    while (room < p->window)
        room *= 2;
    p->left_mask = room - 1;
    p->left = calloc(room, sizeof(*p->left));
    snprintf(p->topic, sizeof(p->topic), "%s/%" PRIu32, t->options->topic_prefix, idx);
    p->topic_bytes = (uint8_t)strlen(p->topic);
    return p->left ? OK : ERR_MEMORY;
}

static enum err init_subscriber(struct load_traffic *t, uint32_t idx)
{
    const struct load_options *o = t->options;
    struct load_subscriber *s = &t->subscribers[idx];

    s->count = load_scenario_heard(o->scenario, o->clients, idx, &s->first);
    s->flows = calloc(s->count, sizeof(*s->flows));
    if (!s->flows)
        return ERR_MEMORY;
    for (uint32_t i = 0; i < s->count; i++) {
        if (load_flow_init(&s->flows[i], o->window) != OK)
            return ERR_MEMORY;
    }
    if (s->count > 1)
        snprintf(s->filter, sizeof(s->filter), "%s/+", o->topic_prefix);
    else
        snprintf(s->filter, sizeof(s->filter), "%s/%" PRIu32, o->topic_prefix, s->first);
    return OK;
}

/* Subscribers come first, so that they are the first to connect. */
static void init_party(struct load_traffic *t, uint32_t idx)
{
    struct load_party *party = &t->parties[idx];
    struct load_client *c = &party->client;
    bool is_both = t->options->scenario->is_hold;

    if (idx < t->subscriber_count)
        party->subscriber = &t->subscribers[idx];
    if (is_both)
        party->publisher = &t->publishers[idx];
    else if (idx >= t->subscriber_count)
        party->publisher = &t->publishers[idx - t->subscriber_count];
    c->setup = party->subscriber && t->options->far_port ? &t->far_setup : &t->setup;
    c->idx = idx;
    snprintf(c->id, sizeof(c->id), "load-%08" PRIx32 "-%" PRIu32, t->run, idx);
    if (party->subscriber)
        c->filter = bytes_str(party->subscriber->filter);
    if (party->publisher)
        party->publisher->client = c;
}

enum err load_traffic_init(struct load_traffic *t, const struct load_options *o,
                           struct load_loop *loop)
{
    const struct load_scenario *s = o->scenario;

    *t = (struct load_traffic){.options = o, .loop = loop, .queue_end = &t->queue};
    t->run = (uint32_t)(clock_wall_ms() * 2654435761u) ^ (uint32_t)getpid();
    t->publisher_count = load_scenario_publishers(s, o->clients);
    t->subscriber_count = load_scenario_subscribers(s, o->clients);
    t->party_count = load_scenario_connections(s, o->clients);
    t->copies = load_scenario_copies(s, o->clients);
    t->parties = calloc(t->party_count, sizeof(*t->parties));
    t->publishers = calloc(t->publisher_count, sizeof(*t->publishers));
    t->subscribers = calloc(t->subscriber_count, sizeof(*t->subscribers));
    t->payload = calloc(1, o->payload_bytes);
    if (!t->parties || !t->publishers || !t->subscribers || !t->payload)
        return ERR_MEMORY;
    memset(t->payload, 'x', o->payload_bytes);
    set_up(t);
    for (uint32_t i = 0; i < t->publisher_count; i++) {
        if (init_publisher(t, i) != OK)
            return ERR_MEMORY;
    }
    for (uint32_t i = 0; i < t->subscriber_count; i++) {
        if (init_subscriber(t, i) != OK)
            return ERR_MEMORY;
    }
    for (uint32_t i = 0; i < t->party_count; i++)
        init_party(t, i);
    return OK;
}

void load_traffic_fini(struct load_traffic *t)
{
    for (uint32_t i = 0; t->parties && i < t->party_count; i++)
        load_wire_fini(&t->parties[i].client.wire);
    for (uint32_t i = 0; t->publishers && i < t->publisher_count; i++)
        free(t->publishers[i].left);
    for (uint32_t i = 0; t->subscribers && i < t->subscriber_count; i++) {
        struct load_subscriber *s = &t->subscribers[i];

        for (uint32_t j = 0; s->flows && j < s->count; j++)
            load_flow_fini(&s->flows[j]);
        free(s->flows);
    }
    free(t->parties);
    free(t->publishers);
    free(t->subscribers);
    free(t->payload);
}

enum err load_traffic_open(struct load_traffic *t, uint32_t party_idx)
{
    struct sockaddr_storage from;

    return load_client_open(&t->parties[party_idx].client, t->loop,
                            load_options_source(t->options, party_idx, &from));
}
