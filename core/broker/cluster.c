/* core/broker/cluster.c -- the beginning and the end: what the shards share, and each shard. */
#include "core/broker/shard.h"

#include <stdlib.h>

#include "core/base/check.h"
#include "core/broker/state.h"

/* Filters, shares and groups of one worker: slots must leave room for DELIVER_GROUP. */
#define SLOTS_MAX (1u << 26)
/* Records of one ring that are taken out at a time. */
#define DISCARD_BATCH 256u

static bool shard_init(struct shard *s, struct cluster_state *c, uint32_t number, uint64_t now_ms,
                       uint64_t wall_ms)
{
    s->cluster = c;
    s->limits = &c->config.limits;
    s->number = number;
    s->is_link = is_link_worker(c, number);
    s->now_ms = now_ms;
    s->wall_ms = wall_ms;
    s->random = c->config.seed[0] ^ ((number + 1) * 0x9E3779B97F4A7C15ull);
    s->dirty_last = &s->dirty_first;
    s->due.last = &s->due.first;
    s->interest_last = &s->interest_first;
    s->receipt_last = &s->receipt_first;
    s->barrier_asks.last = &s->barrier_asks.first;
    s->barrier_answers.last = &s->barrier_answers.first;
    link_routes_init(s);
    arena_init(&s->arena);
    timer_wheel_init(&s->timers, now_ms, s);
    slab_init(&s->clients, sizeof(struct client), SLOTS_MAX);
    slab_init(&s->sessions, sizeof(struct session), SLOTS_MAX);
    slab_init(&s->shares, sizeof(struct share), SLOTS_MAX);
    table_init(&s->session_table);
    table_init(&s->share_table);
    filters_init(&s->filters, SLOTS_MAX);
    groups_init(s);
    link_groups_init(s);
    asks_init(s);
    access_init(s);
    login_init(s);
    store_nothing_init(&s->store, &s->store_nothing);
    s->topics = topic_cache_create();
    return retained_init(s) && link_asks_init(s) && s->topics &&
           shard_set_links(s, c->config.links, c->config.link_count) == OK;
}

static struct shard *shard_create(struct cluster_state *c, uint32_t number, uint64_t now_ms,
                                  uint64_t wall_ms)
{
    size_t bytes = (sizeof(struct shard) + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
    struct shard *s = aligned_alloc(CACHE_LINE, bytes);

    if (!s)
        return NULL;
    memset(s, 0, bytes);
    if (shard_init(s, c, number, now_ms, wall_ms))
        return s;
    topic_cache_destroy(s->topics);
    retained_fini(s);
    link_asks_fini(s);
    asks_fini(s);
    access_fini(s);
    login_fini(s);
    free(s->links);
    free(s);
    return NULL;
}

static void end_sessions(struct shard *s)
{
    uint32_t slot = 0;
    struct session *x;

    while ((x = slab_next(&s->sessions, &slot))) {
        access_drop(s, x);
        owed_drop(s, x);
        session_fini(x);
    }
    slab_fini(&s->sessions);
    table_fini(&s->session_table);
}

/* Nobody will be answered any more. */
static void forget_waiting(struct filter_wait *w)
{
    while (w) {
        struct filter_wait *next = w->next;
        struct suback *a = w->suback;

        if (--a->waiting == 0)
            suback_free(a);
        w = next;
    }
}

static void forget_subacks(struct shard *s)
{
    uint32_t slot = 0;
    struct filter *f;
    struct share *h;

    while ((f = slab_next(&s->filters.slab, &slot)))
        forget_waiting(f->waiting);
    slot = 0;
    while ((h = slab_next(&s->shares, &slot)))
        forget_waiting(h->waiting);
}

/* The clients have been closed by the net; what is left is memory. */
static void shard_destroy(struct shard *s)
{
    uint32_t slot = 0;
    struct share *h;

    sys_stop(s);
    due_fini(s);
    forget_subacks(s);
    retained_fini(s);
    link_asks_fini(s);
    asks_fini(s);
    groups_fini(s);
    link_groups_fini(s);
    end_sessions(s);
    access_fini(s);
    login_fini(s);
    free(s->links);
    while ((h = slab_next(&s->shares, &slot)))
        free(h->text);
    slab_fini(&s->shares);
    table_fini(&s->share_table);
    slab_fini(&s->clients);
    filters_fini(&s->filters);
    topic_cache_destroy(s->topics);
    interest_fini(s);
    receipts_fini(s);
    free(s->owing);
    link_routes_fini(s);
    free(s->acks);
    outq_pool_fini(&s->pool);
    arena_fini(&s->arena);
}

static bool create_parts(struct cluster_state *c)
{
    uint32_t sizes[MAIL_KIND_COUNT];

    mail_default_sizes(c->worker_count, sizes);
    for (int k = 0; k < MAIL_KIND_COUNT; k++)
        if (c->config.ring_bytes[k])
            sizes[k] = c->config.ring_bytes[k];
    c->mail = mail_create(c->worker_count, sizes);
    c->epoch = epoch_create(c->worker_count);
    c->stripes = stripes_create();
    c->leading = index_create(&c->key, c->epoch, 0);
    if (!c->mail || !c->epoch || !c->stripes || !c->leading)
        return false;
    for (uint32_t i = 0; i < c->config.workers; i++) {
        c->index[i] = index_create(&c->key, c->epoch, i);
        if (!c->index[i])
            return false;
    }
    return true;
}

struct cluster_state *cluster_create(const struct cluster_config *config, uint64_t now_ms,
                                     uint64_t wall_ms)
{
    struct cluster_state *c = aligned_alloc(CACHE_LINE, sizeof *c);

    if (!c)
        return NULL;
    memset(c, 0, sizeof *c);
    c->config = *config;
    memcpy(c->key.k, config->seed, sizeof c->key.k);
    c->worker_count = config->workers + config->link_workers;
    c->started_ms = now_ms;
    stamps_init(c);
    CHECK(config->workers >= 1 && c->worker_count <= WORKERS_MAX);
    if (!create_parts(c)) {
        cluster_destroy(c);
        return NULL;
    }
    for (uint32_t i = 0; i < c->worker_count; i++) {
        c->shards[i] = shard_create(c, i, now_ms, wall_ms);
        if (!c->shards[i]) {
            cluster_destroy(c);
            return NULL;
        }
        epoch_online(c->epoch, i);
    }
    sys_start(c->shards[0]);
    return c;
}

static void abandon_handoff(struct shard *s, struct handoff *h)
{
    if (s && s->hooks.abandon)
        s->hooks.abandon(h);
    free(h->admission);
    free(h);
}

/* A receipt that a record would have brought. */
static void forget_posted(const struct msg_deliver *m)
{
    uint32_t slots = m->slot_count == DELIVER_MATCH_AGAIN ? 0 : m->slot_count;
    struct publish p;

    body_get(&p, &m->body, (const uint8_t *)&m->slots[slots]);
    if (p.receipt)
        receipt_forget(p.receipt);
}

/* Records still in the rings hold memory of their own: they are taken out first. */
static bool discard(void *owner, uint32_t from, enum mail_kind kind, void *record, uint32_t bytes)
{
    const uint8_t *type = record;

    (void)from;
    (void)kind;
    (void)bytes;
    if (*type == MSG_RETAIN)
        free(((struct msg_retain *)record)->source);
    if (*type == MSG_DELIVER)
        forget_posted(record);
    if (*type == MSG_DELIVER && ((struct msg_deliver *)record)->body.blob)
        blob_release(((struct msg_deliver *)record)->body.blob);
    else if (*type == MSG_RETAIN && ((struct msg_retain *)record)->body.blob)
        blob_release(((struct msg_retain *)record)->body.blob);
    else if (*type == MSG_DISPATCH && ((struct msg_dispatch *)record)->body.blob)
        blob_release(((struct msg_dispatch *)record)->body.blob);
    else if (*type == MSG_GROUP_PUBLISH && ((struct msg_group_publish *)record)->body.blob)
        blob_release(((struct msg_group_publish *)record)->body.blob);
    else if (*type == MSG_GROUP_LEAVES && ((struct msg_group_leaves *)record)->body.blob)
        blob_release(((struct msg_group_leaves *)record)->body.blob);
    else if (*type == MSG_RELAY && ((struct msg_relay *)record)->body.blob)
        blob_release(((struct msg_relay *)record)->body.blob);
    else if (*type == MSG_RETAINED && ((struct msg_retained *)record)->body.blob)
        blob_release(((struct msg_retained *)record)->body.blob);
    else if (*type == MSG_LINK_PACKET)
        free(((struct msg_link_packet *)record)->parcel);
    else if (*type == MSG_LINK_NOTE && ((struct msg_link_note *)record)->note.drop)
        ((struct msg_link_note *)record)->note.drop(((struct msg_link_note *)record)->note.gift);
    else if (*type == MSG_HANDOFF)
        abandon_handoff(owner, ((struct msg_pointer *)record)->p);
    else if (*type == MSG_INTEREST)
        free(((struct msg_interest *)record)->text);
    else if (*type == MSG_BARRIER_ASK || *type == MSG_BARRIER || *type == MSG_BARRIER_DONE)
        barrier_forget(((struct msg_pointer *)record)->p);
    else if (*type == MSG_RECEIPT)
        receipt_forget(((struct msg_pointer *)record)->p);
    else if (*type == MSG_LINK_ROUTES || *type == MSG_LINK_ROUTES_DONE)
        link_routes_discard(record);
    return true;
}

void cluster_destroy(struct cluster_state *c)
{
    if (!c)
        return;
    for (uint32_t i = 0; c->mail && i < c->worker_count; i++)
        mail_flush(c->mail, i);
    for (uint32_t i = 0; c->mail && i < c->worker_count; i++)
        while (mail_drain(c->mail, i, discard, c->shards[i], DISCARD_BATCH))
            ;
    for (uint32_t i = 0; i < c->worker_count; i++)
        if (c->shards[i])
            shard_destroy(c->shards[i]);
    for (uint32_t i = 0; i < c->worker_count; i++) {
        if (c->shards[i])
            blob_home_collect(&c->shards[i]->blobs);
        free(c->shards[i]);
    }
    for (uint32_t i = 0; i < c->config.workers; i++)
        index_destroy(c->index[i]);
    index_destroy(c->leading);
    stripes_destroy(c->stripes);
    epoch_destroy(c->epoch);
    mail_destroy(c->mail);
    free(c);
}

struct shard *cluster_shard(struct cluster_state *c, uint32_t worker)
{
    return c->shards[worker];
}
