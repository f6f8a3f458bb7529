/* tests/sim/linked_clients.c -- clients of linked clusters: MQTT 5, one connection, no session. */
#include "core/base/check.h"
#include "tests/sim/linked.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const topics[] = {"a", "c", "a/x", "a/y", "b/x", "b/y", "a/x/z", "b/x/z"};
static const char *const filters[] = {"#",   "a/#", "a/+", "a/x", "+/x", "b/#",
                                      "b/y", "+",   "c",   "+/#", "a",   "+/+/z"};

static struct world *world_of(const struct l_client *c)
{
    return c->all->cluster[c->cluster]->world;
}

static void write_now(struct l_client *c, const uint8_t *from, const uint8_t *end)
{
    wire_write(world_of(c), c->end->wire, from, (uint32_t)(end - from));
}

/* An answer is written a little later. */
static void write_later(struct l_client *c, const uint8_t *from, const uint8_t *end)
{
    for (; from < end; from++) {
        c->tx = must_grow(c->tx, c->tx_count, &c->tx_capacity, 1);
        c->tx[c->tx_count++] = *from;
    }
}

bool client_is_away(const struct l_client *c)
{
    return !c->end && (!c->end_count || !c->ends[c->end_count - 1]->wire);
}

bool client_flush(struct l_client *c)
{
    uint32_t n = c->tx_count;

    if (!n || !c->end)
        return false;
    c->tx_count = 0;
    write_now(c, c->tx, c->tx + n);
    return true;
}

static uint16_t next_id(struct l_client *c)
{
    return c->last_id = (uint16_t)(c->last_id % 65535 + 1);
}

/* ---- payloads ---- */

void mark_payload(uint8_t *to, uint32_t count, uint32_t message)
{
    char mark[MARK_BYTES + 1];

    snprintf(mark, sizeof(mark), "@#%08" PRIu32 "#", message);
    memcpy(to, mark, MARK_BYTES);
    memset(to + MARK_BYTES, 'a' + (int)(message % 26), count - MARK_BYTES);
}

/* "@#", eight digits, "#"; other bytes may look like its beginning. */
static bool is_mark(const uint8_t *at)
{
    for (uint32_t i = 2; i < MARK_BYTES - 1; i++)
        if (at[i] < '0' || at[i] > '9')
            return false;
    return at[0] == '@' && at[1] == '#' && at[MARK_BYTES - 1] == '#';
}

uint32_t find_mark(struct bytes b)
{
    for (uint32_t i = 0; i + MARK_BYTES <= b.n; i++)
        if (is_mark(b.p + i))
            return (uint32_t)strtoul((const char *)b.p + i + 2, NULL, 10);
    return NONE;
}

/* ---- life ---- */

struct l_client *client_new(struct linked *l, uint32_t cluster)
{
    struct l_client *c = must_alloc(sizeof(*c));

    c->all = l;
    c->number = l->client_count;
    c->cluster = cluster;
    c->will = NONE;
    if (chance(l->sim, 40)) /* the same client ids in several clusters */
        snprintf(c->id, sizeof(c->id), "same%" PRIu32, c->number / l->count);
    else
        snprintf(c->id, sizeof(c->id), "c%" PRIu32, c->number);
    l->clients[l->client_count++] = c;
    return c;
}

void client_free(struct l_client *c)
{
    for (uint32_t i = 0; i < c->end_count; i++)
        free(c->ends[i]);
    free(c->ends);
    free(c->rx);
    free(c->tx);
    free(c->out);
    free(c->sent);
    free(c->asks);
    free(c->orders);
    free(c);
}

/* A message this client is about to publish. */
static uint32_t new_message(struct l_client *c)
{
    struct linked *l = c->all;
    struct sim *s = l->sim;
    struct l_message *m;

    l->messages = must_grow(l->messages, l->message_count, &l->message_capacity, sizeof(*m));
    m = &l->messages[l->message_count];
    *m = (struct l_message){.cluster = c->cluster,
                            .client = c->number,
                            .life = c->life,
                            .payload_count = MARK_BYTES + draw(s, 40),
                            .qos = (uint8_t)draw(s, 3),
                            .retain = chance(s, l->is_synced ? 60 : 20),
                            .published = NEVER,
                            .settled = NEVER,
                            .last_copy = NONE};
    if (chance(s, 8))
        m->payload_count += draw(s, chance(s, 20) ? 20000 : 3000);
    if (chance(s, 5))
        m->expiry_s = 1 + draw(s, 1000);
    strcpy(m->topic, topics[draw(s, 8)]);
    return l->message_count++;
}

static void draw_will(struct l_client *c, struct connect_out *out, uint8_t *payload)
{
    struct l_message *m;

    c->will = new_message(c);
    m = &c->all->messages[c->will];
    m->is_will = true;
    m->expiry_s = 0;
    m->payload_count = MARK_BYTES;
    mark_payload(payload, MARK_BYTES, c->will);
    out->has_will = true;
    out->will_qos = m->qos;
    out->will_retain = m->retain;
    out->will_topic = bytes_str(m->topic);
    out->will_payload = bytes_of(payload, MARK_BYTES);
}

void client_connect(struct l_client *c)
{
    struct connect_out out = {
        .protocol = MQTT_5, .clean_start = true, .client_id = bytes_str(c->id)};
    uint8_t b[512], will[MARK_BYTES];

    c->life = ++c->all->lives;
    c->is_up = false;
    c->receive_max = 65535;
    c->out_count = c->ask_count = c->rx_count = c->tx_count = c->order_count = c->sent_count = 0;
    c->will = NONE;
    c->end = must_alloc(sizeof(*c->end));
    *c->end = (struct cable_end){.client = c, .life = c->life, .cluster = c->cluster};
    c->ends = must_grow(c->ends, c->end_count, &c->end_capacity, sizeof(struct cable_end *));
    c->ends[c->end_count++] = c->end;
    c->end->wire = wire_open(world_of(c), c->end);
    note(c->all->sim, "%s: client %" PRIu32 " connects", cluster_name(c->cluster), c->number);
    if (chance(c->all->sim, 25))
        draw_will(c, &out, will);
    write_now(c, b, connect_put(b, &out));
}

void client_closed(struct l_client *c, uint32_t life)
{
    struct linked *l = c->all;

    l->sim->step++;
    if (c->life == life && c->will != NONE)
        judge_taken(l, c->will);
    for (uint32_t i = 0; i < l->sub_count; i++)
        if (l->subs[i].life == life && l->subs[i].group != NONE)
            l->groups[l->subs[i].group].changed = l->sim->step;
}

void client_taken(struct l_client *c, uint64_t upto)
{
    uint32_t n = 0;

    while (n < c->sent_count && c->sent[n].end <= upto)
        judge_taken(c->all, c->sent[n++].message);
    c->sent_count -= n;
    if (n)
        memmove(c->sent, c->sent + n, c->sent_count * sizeof(*c->sent));
}

/* Its subscriptions end, and its groups change. */
static void end_subs(struct l_client *c)
{
    struct linked *l = c->all;

    l->sim->step++;
    for (uint32_t i = 0; i < l->sub_count; i++) {
        struct l_sub *sub = &l->subs[i];

        if (sub->life != c->life)
            continue;
        if (sub->end_asked == NEVER)
            sub->end_asked = l->sim->step;
        if (sub->group != NONE)
            l->groups[sub->group].changed = l->sim->step;
    }
    l->is_exact = false;
}

static void forget_line(struct l_client *c)
{
    end_subs(c);
    c->end = NULL;
    c->is_up = false;
}

void client_lost(struct l_client *c)
{
    if (c->end)
        forget_line(c);
    if (c->end_count)
        c->ends[c->end_count - 1]->wire = NULL;
}

void client_leave(struct l_client *c)
{
    bool is_clean = chance(c->all->sim, 50);
    uint8_t b[16];

    note(c->all->sim, "%s: client %" PRIu32 " %s", cluster_name(c->cluster), c->number,
         is_clean ? "disconnects" : "drops its connection");
    c->all->sim->step++;
    if (is_clean) {
        write_now(c, b, disconnect_put(b, 0, (struct bytes){0}));
    } else {
        wire_hang_up(world_of(c), c->end->wire, chance(c->all->sim, 70));
        if (c->will != NONE) {
            judge_published(c->all, c->will);
            /* else the broker may not have had the CONNECT */
            c->all->messages[c->will].is_acked = c->is_up;
        }
    }
    forget_line(c);
}

/* ---- requests ---- */

/* `topic` NULL: any. */
static void publish_to(struct l_client *c, const char *topic)
{
    uint32_t number, n, header;
    struct l_message *m;
    struct publish_out p = {0};
    uint8_t *b, *to;

    if (c->out_count >= c->receive_max)
        return;
    number = new_message(c);
    m = &c->all->messages[number];
    if (topic)
        strcpy(m->topic, topic);
    p.qos = m->qos;
    p.retain = m->retain;
    p.packet_id = m->qos ? next_id(c) : 0;
    p.topic = bytes_str(m->topic);
    p.has_expiry = m->expiry_s != 0;
    p.message_expiry = m->expiry_s;
    p.payload.n = m->payload_count;
    n = publish_size(MQTT_5, &p, &header);
    b = must_alloc(n);
    to = publish_put_header(b, MQTT_5, &p);
    mark_payload(to, m->payload_count, number);
    judge_published(c->all, number);
    if (m->qos) {
        c->out = must_grow(c->out, c->out_count, &c->out_capacity, sizeof(*c->out));
        c->out[c->out_count++] =
            (struct l_out){.packet_id = p.packet_id, .qos = m->qos, .message = number};
    }
    note(c->all->sim, "%s: client %" PRIu32 " publishes %" PRIu32 " to %s, QoS %u, life %" PRIu32,
         cluster_name(c->cluster), c->number, number, m->topic, m->qos, c->life);
    write_now(c, b, b + n);
    free(b);
    c->sent = must_grow(c->sent, c->sent_count, &c->sent_capacity, sizeof(*c->sent));
    c->sent[c->sent_count++] = (struct l_sent){.end = c->end->wire->written, .message = number};
}

/* What is retained on a topic goes: a message without a number, of which nothing is expected. */
static void remove_retained(struct l_client *c)
{
    struct publish_out p = {.retain = true, .topic = bytes_str(topics[draw(c->all->sim, 8)])};
    uint32_t header;
    uint8_t b[64];

    CHECK(publish_size(MQTT_5, &p, &header) <= sizeof(b));
    note(c->all->sim, "%s: client %" PRIu32 " removes %.*s", cluster_name(c->cluster), c->number,
         (int)p.topic.n, (const char *)p.topic.p);
    write_now(c, b, publish_put_header(b, MQTT_5, &p));
}

void client_publish(struct l_client *c)
{
    if (c->all->is_synced && chance(c->all->sim, 10)) {
        remove_retained(c);
        return;
    }
    publish_to(c, NULL);
}

/* Somebody at another cluster publishes what was just subscribed to, at once. */
static void publish_elsewhere(struct linked *l, const struct l_client *subscriber,
                              const char *filter)
{
    uint32_t first = draw(l->sim, 8), at = draw(l->sim, l->client_count), i = 0;
    struct l_client *c = l->clients[at];

    while (i < 8 && !model_matches(filter, topics[(first + i) % 8]))
        i++;
    if (i < 8 && c->cluster != subscriber->cluster && c->end && c->is_up)
        publish_to(c, topics[(first + i) % 8]);
}

/* A filter that this life does not have; false: it has it, or asked for it. */
static bool draw_filter(struct l_client *c, struct m_filter *f)
{
    struct linked *l = c->all;
    struct sim *s = l->sim;

    *f = (struct m_filter){.qos = (uint8_t)draw(s, 3), .retain_as_published = chance(s, 50)};
    f->retain_handling = f->retain_as_published ? 2 : (uint8_t)(2 * draw(s, 2));
    strcpy(f->filter, filters[draw(s, 12)]);
    if (chance(s, 25))
        strcpy(f->group, chance(s, 50) ? "g" : "h");
    for (uint32_t i = 0; i < l->sub_count; i++)
        if (l->subs[i].life == c->life && l->subs[i].end_acked == NEVER &&
            same_filter(&l->subs[i].f, f))
            return false;
    return true;
}

/* The whole filter as in SUBSCRIBE. */
static void filter_text(const struct m_filter *f, char to[2 * NAME_BYTES + 16])
{
    if (f->group[0])
        snprintf(to, 2 * NAME_BYTES + 16, "$share/%s/%s", f->group, f->filter);
    else
        snprintf(to, 2 * NAME_BYTES + 16, "%s", f->filter);
}

static void add_ask(struct l_client *c, uint32_t sub, bool is_end)
{
    c->asks = must_grow(c->asks, c->ask_count, &c->ask_capacity, sizeof(*c->asks));
    c->asks[c->ask_count++] = (struct l_ask){.packet_id = c->last_id, .is_end = is_end, .sub = sub};
}

void client_subscribe(struct l_client *c)
{
    struct linked *l = c->all;
    struct m_filter f;
    struct filter_request r;
    char text[2 * NAME_BYTES + 16];
    uint8_t b[256];

    if (!draw_filter(c, &f))
        return;
    l->sim->step++;
    l->is_exact = false;
    l->subs = must_grow(l->subs, l->sub_count, &l->sub_capacity, sizeof(*l->subs));
    l->subs[l->sub_count++] = (struct l_sub){.client = c->number,
                                             .life = c->life,
                                             .f = f,
                                             .group = judge_group(l, c->cluster, &f),
                                             .asked_ms = l->sim->now_ms,
                                             .asked = l->sim->step,
                                             .acked = NEVER,
                                             .known = NEVER,
                                             .end_asked = NEVER,
                                             .end_acked = NEVER,
                                             .told = {NEVER, NEVER, NEVER, NEVER}};
    filter_text(&f, text);
    r = (struct filter_request){.filter = bytes_str(text),
                                .qos = f.qos,
                                .retain_as_published = f.retain_as_published,
                                .retain_handling = f.retain_handling};
    note(l->sim, "%s: client %" PRIu32 " subscribes %s, QoS %u, id %" PRIu32,
         cluster_name(c->cluster), c->number, text, f.qos, l->sub_count);
    write_now(c, b, subscribe_put(b, MQTT_5, next_id(c), &r, 1, l->sub_count));
    add_ask(c, l->sub_count - 1, false);
}

static void unsubscribe(struct l_client *c, uint32_t number)
{
    struct linked *l = c->all;
    struct l_sub *sub = &l->subs[number];
    char text[2 * NAME_BYTES + 16];
    struct bytes filter;
    uint8_t b[256];

    filter_text(&sub->f, text);
    filter = bytes_str(text);
    l->sim->step++;
    l->is_exact = false;
    sub->end_asked = l->sim->step;
    if (sub->group != NONE)
        l->groups[sub->group].changed = l->sim->step;
    note(l->sim, "%s: client %" PRIu32 " unsubscribes %s", cluster_name(c->cluster), c->number,
         text);
    write_now(c, b, unsubscribe_put(b, MQTT_5, next_id(c), &filter, 1));
    add_ask(c, number, true);
}

static bool may_unsubscribe(const struct l_client *c, const struct l_sub *sub)
{
    return sub->life == c->life && sub->acked != NEVER && sub->end_asked == NEVER;
}

void client_unsubscribe(struct l_client *c)
{
    struct linked *l = c->all;
    uint32_t first = l->sub_count ? draw(l->sim, l->sub_count) : 0;

    for (uint32_t i = 0; i < l->sub_count; i++) {
        uint32_t at = (first + i) % l->sub_count;

        if (may_unsubscribe(c, &l->subs[at])) {
            unsubscribe(c, at);
            return;
        }
    }
}

void client_unsubscribe_all(struct l_client *c)
{
    for (uint32_t i = 0; i < c->all->sub_count; i++)
        if (may_unsubscribe(c, &c->all->subs[i]))
            unsubscribe(c, i);
}

/* ---- what comes ---- */

static void wrong(struct l_client *c, const char *what, uint32_t value)
{
    differ(c->all->sim, "%s: client %" PRIu32 ": %s (%" PRIu32 ")", cluster_name(c->cluster),
           c->number, what, value);
}

static void on_publish(struct l_client *c, const struct packet_publish *p)
{
    uint8_t b[ACK_BYTES_MAX];

    judge_delivery(c, p);
    if (p->qos == 0)
        return;
    write_later(c, b,
                ack_put(b, MQTT_5, p->qos == 1 ? PACKET_PUBACK : PACKET_PUBREC, p->packet_id, 0,
                        (struct bytes){0}));
}

static void on_ack(struct l_client *c, enum packet_type type, const struct packet_ack *a)
{
    uint8_t b[ACK_BYTES_MAX];
    uint32_t i = 0;

    while (i < c->out_count && c->out[i].packet_id != a->packet_id)
        i++;
    if (i == c->out_count || (type == PACKET_PUBACK) != (c->out[i].qos == 1) ||
        (type == PACKET_PUBCOMP) != (c->out[i].step == OUT_RELEASING)) {
        wrong(c, "an acknowledgement of nothing", a->packet_id);
        return;
    }
    if (type == PACKET_PUBREC && a->reason < 0x80) {
        c->out[i].step = OUT_RELEASING;
        write_later(c, b, ack_put(b, MQTT_5, PACKET_PUBREL, a->packet_id, 0, (struct bytes){0}));
    }
    if (type != PACKET_PUBCOMP)
        judge_acked(c->all, c->out[i].message, a->reason);
    if (type != PACKET_PUBREC || a->reason >= 0x80)
        c->out[i] = c->out[--c->out_count];
}

static void on_suback(struct l_client *c, const struct packet_suback *p, bool is_end)
{
    uint32_t i = 0;
    struct l_sub *sub;

    while (i < c->ask_count && c->asks[i].packet_id != p->packet_id)
        i++;
    if (i == c->ask_count || c->asks[i].is_end != is_end) {
        wrong(c, "an answer to no question", p->packet_id);
        return;
    }
    sub = &c->all->subs[c->asks[i].sub];
    if (p->reasons.p[0] != (is_end ? 0 : sub->f.qos))
        wrong(c, "refused", p->reasons.p[0]);
    if (is_end)
        sub->end_acked = c->all->sim->step;
    else
        judge_subscribed(c->all, sub);
    c->asks[i] = c->asks[--c->ask_count];
    if (!is_end && c->all->cluster[c->cluster]->cfg.cluster.suback == SUBACK_LINKED)
        publish_elsewhere(c->all, c, sub->f.filter);
}

static void on_packet(struct l_client *c, const struct packet *p)
{
    uint8_t b[ACK_BYTES_MAX];

    switch (p->type) {
    case PACKET_CONNACK:
        c->is_up = p->connack.reason == 0;
        if (p->connack.props.present & PROP_BIT(PROP_RECEIVE_MAXIMUM))
            c->receive_max = p->connack.props.receive_maximum;
        break;
    case PACKET_PUBLISH:
        on_publish(c, &p->publish);
        break;
    case PACKET_PUBACK:
    case PACKET_PUBREC:
    case PACKET_PUBCOMP:
        on_ack(c, p->type, &p->ack);
        break;
    case PACKET_PUBREL:
        write_later(c, b,
                    ack_put(b, MQTT_5, PACKET_PUBCOMP, p->ack.packet_id, 0, (struct bytes){0}));
        break;
    case PACKET_SUBACK:
    case PACKET_UNSUBACK:
        on_suback(c, &p->suback, p->type == PACKET_UNSUBACK);
        break;
    default:
        wrong(c, "a packet that nobody asked for", p->type);
        break;
    }
}

void client_received(struct l_client *c, struct bytes b)
{
    uint32_t at = 0, need;
    enum reason why;
    struct packet p;
    struct frame f;

    while (c->rx_count + b.n > c->rx_capacity)
        c->rx = must_grow(c->rx, c->rx_capacity, &c->rx_capacity, 1);
    memcpy(c->rx + c->rx_count, b.p, b.n);
    c->rx_count += b.n;
    while (frame_next(bytes_of(c->rx + at, c->rx_count - at), UINT32_MAX, &f, &need) == OK) {
        if (packet_decode(&f, MQTT_5, &p, &why) != OK) {
            wrong(c, "a packet that cannot be read", why);
            return;
        }
        on_packet(c, &p);
        at += f.header_size + f.body.n;
    }
    memmove(c->rx, c->rx + at, c->rx_count - at);
    c->rx_count -= at;
}
