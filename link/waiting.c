/* link/waiting.c -- queues by client, in a row. */
#include "link/waiting.h"

#include <stdlib.h>

#include "core/base/check.h"

struct waiting_packet {
    struct waiting_packet *next;
    struct waiting_sum *sum;   /* or NULL */
    struct link_packet packet; /* views of bytes[], but for the id, which is its client's */
    uint8_t bytes[];
};

/* ---- the row ---- */

static void unlist(struct waiting *w, struct waiting_client *c)
{
    *(c->prev ? &c->prev->next : &w->first) = c->next;
    *(c->next ? &c->next->prev : &w->last) = c->prev;
}

static void list_last(struct waiting *w, struct waiting_client *c)
{
    c->prev = w->last;
    c->next = NULL;
    *(w->last ? &w->last->next : &w->first) = c;
    w->last = c;
}

void waiting_to_end(struct waiting *w, struct waiting_client *c)
{
    unlist(w, c);
    list_last(w, c);
}

struct waiting_client *waiting_largest(const struct waiting *w)
{
    struct waiting_client *most = w->first;

    for (struct waiting_client *c = w->first; c; c = c->next)
        if (c->bytes > most->bytes)
            most = c;
    return most;
}

/* ---- clients ---- */

static struct bytes id_of(const struct waiting_client *c)
{
    return bytes_of(c->id, c->id_n);
}

struct waiting_client *waiting_of(const struct waiting *w, struct bytes client_id)
{
    struct table_node *n = table_first(&w->clients, hash_bytes(&w->host->key, client_id));

    for (; n; n = table_after(n)) {
        struct waiting_client *c = TABLE_OBJECT(n, struct waiting_client, node);

        if (bytes_eq(id_of(c), client_id))
            return c;
    }
    return NULL;
}

static struct waiting_client *client_make(struct waiting *w, struct bytes id)
{
    struct waiting_client *c = malloc(sizeof(*c) + id.n);

    if (!c)
        return NULL;
    *c = (struct waiting_client){.id_n = id.n};
    c->last = &c->first;
    bytes_put(c->id, id);
    if (!table_insert(&w->clients, &c->node, hash_bytes(&w->host->key, id))) {
        free(c);
        return NULL;
    }
    list_last(w, c);
    return c;
}

static void client_free(struct waiting *w, struct waiting_client *c)
{
    CHECK(!c->first && c->count == 0 && c->bytes == 0);
    table_remove(&w->clients, &c->node);
    unlist(w, c);
    free(c);
}

/* ---- packets ---- */

static size_t text_bytes(const struct link_packet *p)
{
    return (size_t)p->topic.n + p->user.n + p->response_topic.n + p->correlation.n + p->payload.n;
}

/* What a packet takes: as if its client had only this one. */
static uint64_t cost_of(const struct link_packet *p)
{
    return sizeof(struct waiting_client) + p->client_id.n + sizeof(struct waiting_packet) +
           text_bytes(p);
}

static struct bytes keep(uint8_t **to, struct bytes text)
{
    struct bytes kept = bytes_of(*to, text.n);

    *to = bytes_put(*to, text);
    return kept;
}

static struct waiting_packet *copy(const struct link_packet *p, const struct waiting_client *c)
{
    struct waiting_packet *q = malloc(sizeof(*q) + text_bytes(p));
    uint8_t *to;

    if (!q)
        return NULL;
    to = q->bytes;
    *q = (struct waiting_packet){.packet = *p};
    q->packet.client_id = id_of(c);
    q->packet.topic = keep(&to, p->topic);
    q->packet.user = keep(&to, p->user);
    q->packet.response_topic = keep(&to, p->response_topic);
    q->packet.correlation = keep(&to, p->correlation);
    q->packet.payload = keep(&to, p->payload);
    return q;
}

bool waiting_is_full(const struct waiting *w, const struct link_packet *packet)
{
    return w->first && w->bytes + cost_of(packet) > WAITING_ALL_BYTES_MAX;
}

static void count(struct waiting_sum *sum, bool is_more, uint64_t cost)
{
    if (!sum)
        return;
    CHECK(is_more || (sum->count > 0 && sum->bytes >= cost));
    sum->count += is_more ? 1 : UINT32_MAX;
    sum->bytes += is_more ? cost : 0 - cost;
}

enum err waiting_put(struct waiting *w, const struct link_packet *packet, struct waiting_sum *sum)
{
    struct waiting_client *c = waiting_of(w, packet->client_id);
    uint64_t cost = cost_of(packet);
    struct waiting_packet *q;

    if (c && ((!sum && c->count >= WAITING_PACKETS_MAX) || c->bytes + cost > WAITING_BYTES_MAX))
        return ERR_FULL;
    if (!shard_hold_input(w->host->shard, (int64_t)cost))
        return ERR_MEMORY;
    if (!c)
        c = client_make(w, packet->client_id);
    q = c ? copy(packet, c) : NULL;
    if (!q) {
        if (c && !c->first)
            client_free(w, c);
        (void)shard_hold_input(w->host->shard, -(int64_t)cost);
        return ERR_MEMORY;
    }
    q->sum = sum;
    count(sum, true, cost);
    *c->last = q;
    c->last = &q->next;
    c->count++;
    c->bytes += cost;
    w->bytes += cost;
    return OK;
}

const struct link_packet *waiting_front(const struct waiting_client *c)
{
    return &c->first->packet;
}

const struct link_packet *waiting_back(const struct waiting_client *c)
{
    const struct waiting_packet *q =
        (const void *)((const char *)c->last - offsetof(struct waiting_packet, next));

    return &q->packet;
}

struct waiting_sum *waiting_front_sum(const struct waiting_client *c)
{
    return c->first->sum;
}

struct waiting_client *waiting_pop(struct waiting *w, struct waiting_client *c)
{
    struct waiting_packet *q = c->first;
    uint64_t cost = cost_of(&q->packet);

    c->first = q->next;
    if (!c->first)
        c->last = &c->first;
    c->count--;
    c->bytes -= cost;
    w->bytes -= cost;
    c->lacks_room = false;
    count(q->sum, false, cost);
    (void)shard_hold_input(w->host->shard, -(int64_t)cost);
    free(q);
    if (c->first)
        return c;
    client_free(w, c);
    return NULL;
}

/* ---- life ---- */

void waiting_init(struct waiting *w, struct link_host *host)
{
    *w = (struct waiting){.host = host};
    table_init(&w->clients);
}

void waiting_fini(struct waiting *w)
{
    while (w->first)
        (void)waiting_pop(w, w->first);
    CHECK(w->bytes == 0);
    table_fini(&w->clients);
}
