/* core/broker/shard.c -- the turn of one shard, and the mail that comes in. */
#include "core/broker/shard.h"

#include <stdlib.h>

#include "core/base/check.h"
#include "core/broker/state.h"

/* Records of one ring handled in one turn, timers fired, blocks freed. */
#define MAIL_BUDGET 256u
/* Operations on routes of links in one turn. */
#define LINK_OPS_BUDGET 256u
#define TIMER_BUDGET 256u
#define RECLAIM_BUDGET 512u
/* Turns between two looks at the memory of all workers. */
#define MEMORY_LOOK_TURNS 16u
/* And what a worker may take in between. */
#define MEMORY_LOOK_BYTES (128u << 10)
/* Half-received packets may go beyond memory_limit by its eighth: a publisher is not cut off
 * because messages for others wait, which are then dropped instead. */
#define INPUT_SHARE 8u

void shard_set_hooks(struct shard *s, const struct shard_hooks *hooks)
{
    s->hooks = *hooks;
}

/* ---- mail ---- */

bool mail_takes(const struct shard *s, uint32_t to, uint64_t bytes)
{
    uint64_t waiting = load_relaxed(&s->cluster->shards[to]->mail_bytes);

    return waiting == 0 || waiting + bytes <= MAIL_BYTES_MAX;
}

void mail_count(struct shard *s, uint32_t to, int64_t bytes)
{
    add_relaxed(&s->cluster->shards[to]->mail_bytes, (uint64_t)bytes);
}

/* A record with a shared body has been dealt with. */
void body_done(struct shard *s, const struct msg_body *b)
{
    if (!b->blob)
        return;
    mail_count(s, s->number, -(int64_t)b->blob->bytes_count);
    blob_release(b->blob);
}

static bool on_link_packet(struct shard *s, const struct msg_link_packet *m)
{
    const struct link_parcel *l = m->parcel;
    const uint8_t *at = l->bytes;
    struct link_packet p = {.from = {l->worker, l->client.slot, l->client.generation},
                            .qos = l->qos,
                            .is_impostor = l->is_impostor};

    p.topic = bytes_of(at, l->topic_count);
    at += l->topic_count;
    p.client_id = bytes_of(at, l->client_id_count);
    at += l->client_id_count;
    p.user = bytes_of(at, l->user_count);
    at += l->user_count;
    p.response_topic = bytes_of(at, l->response_count);
    at += l->response_count;
    p.correlation = bytes_of(at, l->correlation_count);
    at += l->correlation_count;
    p.payload = bytes_of(at, l->payload_count);
    if (s->hooks.link_packet && !s->hooks.link_packet(s->hooks.link, &p))
        return false;
    mail_count(s, s->number, -(int64_t)l->payload_count);
    free(m->parcel);
    return true;
}

static bool on_handoff(struct shard *s, const struct msg_pointer *m)
{
    STAT_INC(&s->stats, handoffs);
    mail_count(s, s->number, -(int64_t)handoff_bytes(m->p));
    if (s->hooks.adopt)
        s->hooks.adopt(s->hooks.net, m->p);
    else
        free(m->p);
    return true;
}

static bool on_kick(struct shard *s, const struct msg_kick *m)
{
    struct client *c = slab_at(&s->clients, m->client);

    if (c)
        client_fail(c, (enum reason)m->reason, CLOSE_LINK);
    return true;
}

static bool on_interest(struct shard *s, const struct msg_interest *m)
{
    if (s->hooks.interest)
        s->hooks.interest(s->hooks.link, bytes_of(m->text, m->group_count),
                          bytes_of(m->text + m->group_count, m->filter_count), m->is_added);
    free(m->text);
    return true;
}

static void on_retained(struct shard *s, const struct msg_retained *m)
{
    const uint8_t *body = (const uint8_t *)(m + 1);

    if (m->is_link)
        shard_on_link_retained(s, m, body);
    else
        shard_on_retained(s, m, body);
}

static bool on_answer(struct shard *s, uint32_t from, void *record, uint8_t type)
{
    switch (type) {
    case MSG_ROUTE_DONE:
        shard_on_route_done(s, record);
        return true;
    case MSG_GROUP_DONE:
        shard_on_group_done(s, record);
        return true;
    case MSG_GROUP_LINKS_DONE:
        shard_on_group_links_done(s, record);
        return true;
    case MSG_RETAINED:
        on_retained(s, record);
        return true;
    case MSG_RETAINED_END:
        if (((struct msg_retained_end *)record)->is_link)
            shard_on_link_retained_end(s, record);
        else
            shard_on_retained_end(s, from, record);
        return true;
    case MSG_BARRIER:
        shard_on_barrier(s, record);
        return true;
    case MSG_BARRIER_DONE:
        shard_on_barrier_done(s, record);
        return true;
    case MSG_RECEIPT:
        shard_on_receipt(s, record);
        return true;
    case MSG_LINK_ROUTES_DONE:
        shard_on_link_routes_done(s, record);
        return true;
    default:
        CHECK(type == MSG_INTEREST);
        return on_interest(s, record);
    }
}

static bool on_mail(void *owner, uint32_t from, enum mail_kind kind, void *record, uint32_t bytes)
{
    struct shard *s = owner;
    uint8_t type = *(uint8_t *)record;

    (void)bytes;
    switch (type) {
    case MSG_DELIVER:
        return shard_on_deliver(s, record);
    case MSG_RETAIN:
        return shard_on_retain(s, record);
    case MSG_LINK_PACKET:
        return on_link_packet(s, record);
    case MSG_GROUP_PUBLISH:
        return shard_on_group_publish(s, from, record);
    case MSG_GROUP_LEAVES:
        shard_on_group_leaves(s, from, record);
        return true;
    case MSG_DISPATCH:
        return shard_on_dispatch(s, record, (const uint8_t *)((struct msg_dispatch *)record + 1));
    case MSG_RELAY:
        shard_on_relay(s, from, record);
        return true;
    case MSG_LINK_NOTE:
        shard_on_link_note(s, from, record);
        return true;
    case MSG_ROUTE:
        return shard_on_route(s, from, record);
    case MSG_GROUP_JOIN:
    case MSG_GROUP_LEAVE:
    case MSG_GROUP_STATE:
        return shard_on_group_member(s, from, record);
    case MSG_GROUP_LINKS:
        return shard_on_group_links(s, from, record);
    case MSG_RETAIN_ASK:
    case MSG_RETAIN_MORE:
    case MSG_RETAIN_STOP:
        return shard_on_retain_ask(s, from, record);
    case MSG_HANDOFF:
        return on_handoff(s, record);
    case MSG_KICK:
        return on_kick(s, record);
    case MSG_BARRIER_ASK:
        shard_on_barrier_ask(s, record);
        return true;
    case MSG_LINK_ROUTES:
        return shard_on_link_routes(s, from, record);
    default:
        CHECK(kind == MAIL_ANSWER);
        return on_answer(s, from, record, type);
    }
}

bool shard_run_mail(struct shard *s)
{
    s->link_ops_left = LINK_OPS_BUDGET;
    return mail_drain(s->cluster->mail, s->number, on_mail, s, MAIL_BUDGET);
}

/* ---- the turn ---- */

/* What this worker adds to the memory that is looked at, but for what stands in rings. */
static uint64_t held_here(const struct shard *s)
{
    return s->waiting_bytes + load_relaxed(&s->stats.input_bytes_held) +
           load_relaxed(&s->stats.filter_bytes_held);
}

/* Bytes that wait and are retained, in all workers, against the one bound of the process. */
static void look_at_memory(struct shard *s)
{
    uint64_t sum = 0;

    s->held_at_look = held_here(s);
    store_relaxed(&s->stats.message_bytes_held, s->waiting_bytes);
    for (uint32_t i = 0; i < s->cluster->worker_count; i++)
        sum += load_relaxed(&s->cluster->shards[i]->stats.message_bytes_held) +
               load_relaxed(&s->cluster->shards[i]->stats.input_bytes_held) +
               load_relaxed(&s->cluster->shards[i]->stats.filter_bytes_held) +
               load_relaxed(&s->cluster->shards[i]->mail_bytes);
    s->is_memory_full = s->limits->memory_bytes && sum > s->limits->memory_bytes;
    s->is_input_full = s->limits->memory_bytes &&
                       sum > s->limits->memory_bytes + s->limits->memory_bytes / INPUT_SHARE;
}

/* Looks again when this worker has taken or let go of a good deal since. */
static void keep_looking(struct shard *s)
{
    uint64_t held = held_here(s);

    if (held - s->held_at_look > MEMORY_LOOK_BYTES && s->held_at_look - held > MEMORY_LOOK_BYTES)
        look_at_memory(s);
}

bool memory_is_full(struct shard *s)
{
    keep_looking(s);
    return s->is_memory_full;
}

void shard_begin_turn(struct shard *s, uint64_t now_ms, uint64_t wall_ms)
{
    s->now_ms = now_ms;
    s->wall_ms = wall_ms;
    timer_wheel_tell(&s->timers, now_ms);
    if (s->turn++ % MEMORY_LOOK_TURNS == 0)
        look_at_memory(s);
}

bool shard_hold_input(struct shard *s, int64_t bytes)
{
    if (bytes > 0)
        keep_looking(s);
    if (bytes > 0 && s->is_input_full)
        return false;
    STAT_ADD(&s->stats, input_bytes_held, bytes);
    return true;
}

bool shard_memory_is_full(struct shard *s)
{
    return memory_is_full(s);
}

bool shard_hold_routes(struct shard *s, int64_t bytes)
{
    if (bytes > 0 && memory_is_full(s))
        return false;
    STAT_ADD(&s->stats, filter_bytes_held, bytes);
    return true;
}

bool shard_run_timers(struct shard *s)
{
    return timer_advance(&s->timers, s->now_ms, TIMER_BUDGET);
}

uint64_t shard_end_turn(struct shard *s, bool *more)
{
    bool waits = false;
    uint64_t wake;

    waits |= access_run(s);
    waits |= clients_judge(s);
    waits |= subscribe_run(s);
    waits |= shares_run(s);
    waits |= groups_run(s);
    waits |= link_groups_run(s);
    waits |= asks_run(s);
    waits |= link_asks_run(s);
    waits |= retained_run(s);
    waits |= due_run(s);
    waits |= interest_run(s);
    waits |= receipts_run(s);
    waits |= link_routes_run(s);
    s->store.ops->end_turn(s->store.self);
    acks_run(s);
    store_relaxed(&s->stats.message_bytes_held, s->waiting_bytes);
    wake = mail_flush(s->cluster->mail, s->number);
    arena_reset(&s->arena);
    blob_home_collect(&s->blobs);
    (void)epoch_reclaim(s->cluster->epoch, s->number, RECLAIM_BUDGET);
    epoch_quiesce(s->cluster->epoch, s->number);
    *more = waits;
    return wake & ~(1ull << s->number);
}

uint64_t shard_next_timer_ms(const struct shard *s)
{
    return timer_next_ms(&s->timers, s->now_ms);
}

bool shard_sleep(struct shard *s)
{
    if (!mail_sleep(s->cluster->mail, s->number))
        return false;
    epoch_offline(s->cluster->epoch, s->number);
    return true;
}

void shard_awake(struct shard *s)
{
    epoch_online(s->cluster->epoch, s->number);
    mail_awake(s->cluster->mail, s->number);
}

void shard_shutdown(struct shard *s)
{
    uint32_t slot = 0;
    struct client *c;

    while ((c = slab_next(&s->clients, &slot))) {
        if (c->state == CLIENT_CONNECTED)
            client_fail(c, REASON_SERVER_SHUTTING_DOWN, CLOSE_SHUTDOWN);
        else
            stream_close(&c->stream, CLOSE_SHUTDOWN);
    }
}

/* ---- connections come home ---- */

enum err shard_greet(struct shard *s, struct bytes in, struct greeting *g, uint32_t *need)
{
    enum reason why;
    struct packet p;
    struct frame f;
    enum err err;

    g->home = s->number;
    g->is_connect = false;
    if (in.n && in.p[0] >> 4 != PACKET_CONNECT)
        return OK; /* known after one byte; its client says goodbye */
    err = frame_next(in, s->limits->connect_bytes, &f, need);
    if (err == ERR_MORE)
        return ERR_MORE;
    if (err != OK || packet_decode(&f, MQTT_5, &p, &why) != OK)
        return OK;
    g->is_connect = true;
    g->connect = p.connect;
    if (speaker_home(s, &p.connect, &g->home))
        return OK;
    if (p.connect.client_id.n)
        g->home = (uint32_t)((hash_of(s, p.connect.client_id) >> 32) % s->cluster->config.workers);
    return OK;
}

enum err shard_handoff(struct shard *s, uint32_t home, struct handoff *h)
{
    struct msg_pointer *m = mail_post(s->cluster->mail, s->number, home, MAIL_REQUEST, sizeof *m);

    if (!m)
        return ERR_FULL;
    mail_count(s, home, handoff_bytes(h));
    *m = (struct msg_pointer){.type = MSG_HANDOFF, .p = h};
    return OK;
}

/* ---- links ---- */

uint32_t shard_link_workers(const struct shard *s)
{
    return s->cluster->config.link_workers;
}

void shard_links_full(struct shard *s, bool is_full)
{
    store_relaxed(&s->links_full, is_full); /* a hint: who reads it late posts a little more */
}

void shard_link_hold(struct shard *s, uint32_t link, bool is_held)
{
    uint64_t bit = 1ull << link, held = load_relaxed(&s->links_held);

    CHECK(link < LINKS_MAX);
    store_relaxed(&s->links_held, is_held ? held | bit : held & ~bit); /* a hint, as above */
}

enum err shard_publish(struct shard *s, struct publish *p, bool *matched)
{
    p->from_link = true;
    p->from_hash = p->from_id.n ? hash_of(s, p->from_id) : 0;
    return route_publish(s, p, matched);
}

enum err shard_link_reply(struct shard *s, struct bytes topic, struct bytes correlation,
                          struct bytes payload)
{
    uint8_t *props = arena_alloc(&s->arena, correlation.n + 3);
    struct publish p = {.topic = topic,
                        .payload = payload,
                        .stamp_ms = s->wall_ms,
                        .qos = 1,
                        .protocol = MQTT_5,
                        .from_link = true};

    if (!props)
        return ERR_MEMORY;
    props[0] = 0x09; /* correlation data [MQTT5 3.3.2.3.6] */
    put_be16(props + 1, (uint16_t)correlation.n);
    bytes_put(props + 3, correlation);
    p.props = bytes_of(props, correlation.n + 3);
    return route_publish(s, &p, NULL);
}

enum err shard_link_kick(struct shard *s, struct client_name who, uint8_t reason)
{
    struct msg_kick *m =
        mail_post(s->cluster->mail, s->number, who.worker, MAIL_REQUEST, sizeof *m);

    if (!m)
        return ERR_FULL;
    *m =
        (struct msg_kick){.type = MSG_KICK, .reason = reason, .client = {who.slot, who.generation}};
    return OK;
}

struct stream *shard_link_stream(struct shard *s, struct client_name who, uint32_t *packet_max)
{
    struct client *c = slab_at(&s->clients, (struct handle){who.slot, who.generation});

    CHECK(who.worker == s->number);
    if (!c || c->state != CLIENT_CONNECTED || c->stream.close_wanted || c->stream.close_now)
        return NULL;
    *packet_max = c->packet_max;
    return &c->stream;
}

/* ---- what others may know ---- */

uint64_t shard_now_ms(const struct shard *s)
{
    return s->now_ms;
}

uint64_t shard_wall_ms(const struct shard *s)
{
    return s->wall_ms;
}

struct outq_pool *shard_pool(struct shard *s)
{
    return &s->pool;
}

uint64_t *shard_waiting(struct shard *s)
{
    return &s->waiting_bytes;
}

struct timer_wheel *shard_timers(struct shard *s)
{
    return &s->timers;
}

struct arena *shard_arena(struct shard *s)
{
    return &s->arena;
}

/* SplitMix64 (Steele, Lea, Flood, 2014): for choices, not for secrets. */
uint64_t shard_random(struct shard *s)
{
    uint64_t z = (s->random += 0x9E3779B97F4A7C15ull);

    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return z ^ (z >> 31);
}

const struct stats *shard_stats(const struct shard *s)
{
    return &s->stats;
}

struct stats *shard_count(struct shard *s)
{
    return &s->stats;
}

uint32_t shard_number(const struct shard *s)
{
    return s->number;
}

uint32_t shard_client_count(const struct shard *s)
{
    return s->clients.count;
}
