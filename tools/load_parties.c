/* tools/load_parties.c -- making the publishers and subscribers of a run, and unmaking them. */
#include "tools/load_traffic.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "net/clock.h"
#include "tools/load_act.h"

/* Room for the topic and the headers of the largest packet. */
#define PACKET_EXTRA_BYTES 512u

static void set_up(struct load_traffic *t)
{
    const struct load_options *o = t->options;

    t->setup = (struct load_client_setup){
        .calls = &load_traffic_client_calls,
        .user = t,
        .protocol = o->protocol,
        .is_bare = o->is_bare,
        .subscribe_qos = o->qos,
        .keep_alive = LOAD_KEEP_ALIVE,
        .packet_bytes_max = o->sizes.max + PACKET_EXTRA_BYTES,
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
    if (t->copies == 0 && t->options->qos > 0) {
        p->times = calloc(room, sizeof(*p->times));
        if (!p->times)
            return ERR_MEMORY;
    }
    snprintf(p->topic, sizeof(p->topic), "%s/%" PRIu32, t->options->topic_prefix, idx);
    p->topic_bytes = (uint8_t)strlen(p->topic);
    return p->left ? OK : ERR_MEMORY;
}

static enum err init_flows(struct load_subscriber *s, const struct load_options *o)
{
    if (o->scenario->is_shared) {
        s->next = calloc(s->count, sizeof(*s->next));
        return s->next ? OK : ERR_MEMORY;
    }
    s->flows = calloc(s->count, sizeof(*s->flows));
    if (!s->flows)
        return ERR_MEMORY;
    for (uint32_t i = 0; i < s->count; i++) {
        if (load_flow_init(&s->flows[i], o->window) != OK)
            return ERR_MEMORY;
    }
    return OK;
}

static enum err init_subscriber(struct load_traffic *t, uint32_t idx)
{
    const struct load_options *o = t->options;
    struct load_subscriber *s = &t->subscribers[idx];
    const char *prefix = o->topic_prefix;

    s->count = load_scenario_heard(o->scenario, o->clients, idx, &s->first);
    if (o->scenario->is_shared)
        snprintf(s->filter, sizeof(s->filter), "$share/%08" PRIx32 "/%s/+", t->run, prefix);
    else if (o->scenario->is_answered)
        snprintf(s->filter, sizeof(s->filter), "%s/%" PRIu32 "/answer", prefix, s->first);
    else if (o->scenario->has_one_subscriber)
        snprintf(s->filter, sizeof(s->filter), "%s/+", prefix);
    else
        snprintf(s->filter, sizeof(s->filter), "%s/%" PRIu32, prefix, s->first);
    return init_flows(s, o);
}

/* Whether clients subscribe when they connect; in the other scenarios it is what they do later. */
static bool subscribes_first(enum load_kind kind)
{
    return kind == LOAD_MESSAGES || kind == LOAD_SILENCE || kind == LOAD_RECONNECT;
}

/* Who receives comes first, to be the first to connect: subscribers, or those who answer. */
static void init_party(struct load_traffic *t, uint32_t idx)
{
    const struct load_scenario *s = t->options->scenario;
    struct load_party *party = &t->parties[idx];
    struct load_client *c = &party->client;
    bool is_receiver = idx < t->subscriber_count;

    if (s->is_checked) {
        party->subscriber = &t->subscribers[idx];
        party->publisher = &t->publishers[idx];
    } else if (s->is_answered && is_receiver) {
        party->asked_by = &t->publishers[idx];
        c->filter = bytes_str(party->asked_by->topic);
    } else if (is_receiver) {
        party->subscriber = &t->subscribers[idx];
    } else {
        party->publisher = &t->publishers[idx - t->subscriber_count];
        if (s->is_answered)
            party->subscriber = &t->subscribers[idx - t->subscriber_count];
    }
    c->setup = is_receiver && t->options->far_port ? &t->far_setup : &t->setup;
    c->idx = idx;
    snprintf(c->id, sizeof(c->id), "load-%08" PRIx32 "-%" PRIu32, t->run, idx);
    if (party->subscriber && subscribes_first(s->kind))
        c->filter = bytes_str(party->subscriber->filter);
    if (party->publisher)
        party->publisher->client = c;
}

/* Memory of all that is counted; zeroed.  ERR_MEMORY. */
static enum err allocate(struct load_traffic *t)
{
    const struct load_options *o = t->options;

    t->parties = calloc(t->party_count, sizeof(*t->parties));
    t->publishers = calloc(t->publisher_count, sizeof(*t->publishers));
    t->subscribers = calloc(t->subscriber_count ? t->subscriber_count : 1, sizeof(*t->subscribers));
    t->payload = calloc(1, o->sizes.max);
    if (!t->parties || !t->publishers || !t->subscribers || !t->payload)
        return ERR_MEMORY;
    memset(t->payload, 'x', o->sizes.max);
    return OK;
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
    t->act = load_act_of(s->kind);
    t->rate = o->rate;
    if (allocate(t) != OK)
        return ERR_MEMORY;
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
    return t->act->init ? t->act->init(t) : OK;
}

void load_traffic_fini(struct load_traffic *t)
{
    if (t->act && t->act->fini)
        t->act->fini(t);
    for (uint32_t i = 0; t->parties && i < t->party_count; i++)
        load_wire_fini(&t->parties[i].client.wire);
    for (uint32_t i = 0; t->publishers && i < t->publisher_count; i++) {
        free(t->publishers[i].left);
        free(t->publishers[i].times);
    }
    for (uint32_t i = 0; t->subscribers && i < t->subscriber_count; i++) {
        struct load_subscriber *s = &t->subscribers[i];

        for (uint32_t j = 0; s->flows && j < s->count; j++)
            load_flow_fini(&s->flows[j]);
        free(s->flows);
        free(s->next);
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
