/* core/broker/retained.c -- retained messages at the owner of their topic: stored, and given to
 * who asks.
 *
 * The owner answers a question (core/broker/asks.c) after it has handled everything that stood in
 * its rings when the question came, in slices, and stops after each until the subscriber's worker
 * says that its session has room.
 *
 * Threads  the owner's worker; those who ask by mail.
 */
#include <stdlib.h>

#include "core/base/check.h"
#include "core/broker/state.h"

/* Messages of one slice before the last step, and nodes visited between two looks at the ring. */
#define SLICE_MESSAGES (RETAINED_SLICE_MAX - STEP_NODES)
#define STEP_NODES 16u

/* ---- the store ---- */

/* One more or one less in the store; the bounds are not for our own topics. */
static void count(struct shard *s, const struct message *m, int64_t sign)
{
    int64_t cost = sign * (int64_t)message_cost(m);

    STAT_ADD(&s->stats, retained, sign);
    STAT_ADD(&s->stats, retained_bytes, cost);
    if (bytes_begin(message_topic(m), BYTES_LIT("$SYS/")))
        return;
    STAT_ADD(&s->stats, retained_counted, sign);
    STAT_ADD(&s->stats, retained_counted_bytes, cost);
}

static void forget(struct shard *s, struct message *m)
{
    if (!m)
        return;
    count(s, m, -1);
    message_release(m);
}

/* Whether the bounds of all workers together leave no room for `cost` bytes in place of `old`. */
static bool is_full(struct shard *s, const struct publish *p, uint32_t cost,
                    const struct message *old)
{
    const struct cluster_state *c = s->cluster;
    uint32_t freed = old ? message_cost(old) : 0;
    uint64_t messages = 0, bytes = 0;

    if (bytes_begin(p->topic, BYTES_LIT("$SYS/")))
        return false;
    for (uint32_t i = 0; i < c->config.workers; i++) {
        messages += load_relaxed(&c->shards[i]->stats.retained_counted);
        bytes += load_relaxed(&c->shards[i]->stats.retained_counted_bytes);
    }
    return (!old && messages >= s->limits->retained) ||
           bytes - freed + cost > s->limits->retained_bytes || (cost > freed && memory_is_full(s));
}

static void note(struct shard *s, const struct publish *p, bool is_delete)
{
    struct record r = {.kind = RECORD_RETAINED, .is_delete = is_delete, .publish = p};

    if (s->store.keeps)
        (void)store_put(&s->store, &r);
}

/* Of two values with one stamp, all clusters must choose the same: the greater one, or none. */
static bool is_less(const struct publish *p, const struct message *stored)
{
    struct bytes other = message_payload(stored);
    uint32_t n = p->payload.n < other.n ? p->payload.n : other.n;
    int order = n ? memcmp(p->payload.p, other.p, n) : 0;

    return p->payload.n > 0 && (order < 0 || (order == 0 && p->payload.n <= other.n));
}

/* Whether something as late is known of this topic already: rings have no order among each other,
 * and clusters neither; the sequence has. */
static bool is_old(const struct shard *s, const struct publish *p, const struct message *stored)
{
    const struct message *tomb;

    if (stored && stored->sequence == p->sequence)
        return is_less(p, stored);
    if (stored)
        return stored->sequence > p->sequence;
    tomb = tombs_find(s, p->topic);
    return removed_later(s->removed, p->topic_hash, p->sequence) ||
           (tomb && tomb->sequence >= p->sequence);
}

/* Whether there was something to remove. */
static bool remove_value(struct shard *s, const struct publish *p)
{
    struct message *m = retain_remove(s->retain, p->topic);

    forget(s, m);
    if (s->cluster->worker_count > 1) /* one sender has one order */
        removed_note(s->removed, p->topic_hash, p->sequence);
    note(s, p, true);
    return m != NULL;
}

bool retained_put(struct shard *s, struct publish *p)
{
    uint32_t names = p->source ? p->from_id.n + p->from_user.n : 0;
    uint32_t cost =
        (uint32_t)sizeof(struct message) + names + p->topic.n + p->props.n + p->payload.n;
    struct message *m = retain_get(s->retain, p->topic);
    void *old = NULL;

    if (is_old(s, p, m))
        return false;
    if (p->payload.n == 0) { /* [MQTT-3.3.1-6] [MQTT-3.3.1-7]: it removes and is not stored */
        tombs_put(s, p->topic, p->sequence);
        return remove_value(s, p);
    }
    if (is_full(s, p, cost, m)) { /* the old value goes too: nobody shall get it any more */
        STAT_INC(&s->stats, dropped_retained_full);
        (void)remove_value(s, p);
        return false;
    }
    m = publish_message(p, &s->waiting_bytes);
    if (!m || retain_put(s->retain, p->topic, m, &old) != OK) {
        STAT_INC(&s->stats, dropped_memory);
        return false;
    }
    m->sequence = p->sequence;
    message_ref(m);
    count(s, m, 1);
    forget(s, old); /* [MQTT-3.3.1-5]: replaced */
    tombs_remove(s, p->topic);
    note(s, p, false);
    return true;
}

/* ---- the owner answers ---- */

enum query_state { QUERY_DRAINING, QUERY_RUNNING, QUERY_PAUSED };

struct query {
    struct query *next;     /* while it runs */
    struct table_node node; /* while it is paused: by worker and question */
    struct handle ask;
    struct bytes filter; /* lent */
    struct retain_cursor cursor;
    uint32_t from;
    uint32_t sent; /* in this slice */
    uint64_t sent_bytes;
    enum query_state state;
    bool is_stopped;
    bool is_link;  /* a link's: what was removed is told behind what is there */
    bool in_tombs; /* and that is where it is */
    uint64_t marks[WORKERS_MAX];
};

struct collected {
    struct shard *shard;
    bool in_tombs;
    uint32_t count;
    struct message *v[STEP_NODES];
};

static void collect(void *ctx, struct bytes topic, void *value)
{
    struct collected *c = ctx;
    struct message *m = c->in_tombs ? tombs_message(value) : value;

    if (m->expires_ms && m->expires_ms <= c->shard->now_ms) {
        STAT_INC(&c->shard->stats, dropped_expired);
        tombs_put(c->shard, topic, m->sequence); /* or an older one would come back */
        forget(c->shard, retain_remove(c->shard->retain, topic));
        return;
    }
    CHECK(c->count < STEP_NODES);
    c->v[c->count++] = message_ref(m);
}

static void post_retained(struct shard *s, struct query *q, struct message *m)
{
    struct msg_retained *to;
    struct publish p;

    q->sent++; /* also if it is not: one slice looks at so many */
    q->sent_bytes += message_cost(m);
    if (!access_source_stands(s, m)) {
        STAT_INC(&s->stats, denied_delivery);
        return;
    }
    publish_of_message(&p, m);
    if (!body_share(s, &p)) {
        STAT_INC(&s->stats, dropped_memory);
        return;
    }
    to = mail_post(s->cluster->mail, s->number, q->from, MAIL_ANSWER,
                   (uint32_t)sizeof *to + body_bytes(&p, false));
    CHECK(to); /* room was seen */
    to->type = MSG_RETAINED;
    to->is_link = q->is_link;
    to->ask = q->ask;
    to->sequence = m->sequence;
    to->topic_hash = hash_of(s, p.topic);
    body_put(s, q->from, &to->body, (uint8_t *)(to + 1), &p, false);
    if (p.blob != m->blob)
        blob_release(p.blob);
}

/* A slice fits where deliver_has_room says yes: half of a queue's bounds. */
static bool slice_is_full(const struct shard *s, const struct query *q)
{
    const struct limits *l = s->limits;
    uint32_t bytes = l->outq_bytes < l->queued_bytes ? l->outq_bytes : l->queued_bytes;

    return q->sent >= SLICE_MESSAGES || q->sent >= l->queued_messages / 2 + 1 ||
           q->sent_bytes >= bytes / 2;
}

/* Nodes to visit before the next look at the slice: one, as long as messages may be large. */
static uint32_t slice_step(const struct shard *s, const struct query *q)
{
    uint32_t left = s->limits->queued_messages / 2 + 1 - q->sent;

    if (q->sent == 0 || q->sent_bytes / q->sent > 4096)
        return 1;
    return left < STEP_NODES ? left : STEP_NODES;
}

/* The next nodes of the cursor; a link's goes on in the tombstones. Whether more may be left. */
static bool visit(struct shard *s, struct query *q, uint32_t step, struct collected *c)
{
    c->in_tombs = q->in_tombs;
    if (retain_cursor_next(&q->cursor, step, collect, c))
        return true;
    if (!q->is_link || q->in_tombs)
        return false;
    q->in_tombs = true;
    retain_cursor_fini(&q->cursor);
    if (retain_cursor_init(&q->cursor, tombs_tree(s->tombs), q->filter) == OK)
        return true;
    STAT_INC(&s->stats, dropped_memory);
    return false;
}

/* Goes on with one question while there is room. Returns true when it is done with. *waits: for
 * room in the ring. */
static bool run_query(struct shard *s, struct query *q, bool *waits)
{
    struct mail *mail = s->cluster->mail;
    const uint32_t one = (uint32_t)sizeof(struct msg_retained) + INLINE_BYTES_MAX;
    const uint32_t end = (uint32_t)sizeof(struct msg_retained_end);
    struct msg_retained_end *to;
    bool more = true;

    while (more && !q->is_stopped && !slice_is_full(s, q)) {
        struct collected c = {.shard = s};
        uint32_t step = slice_step(s, q);

        while (step &&
               !mail_room_for(mail, s->number, q->from, MAIL_ANSWER, step + 1, step * one + end))
            step /= 2;
        if (step == 0) {
            *waits = true;
            return false;
        }
        more = visit(s, q, step, &c);
        for (uint32_t i = 0; i < c.count; i++) {
            post_retained(s, q, c.v[i]);
            message_release(c.v[i]);
        }
    }
    to = mail_post(mail, s->number, q->from, MAIL_ANSWER, end);
    if (!to) {
        *waits = true;
        q->sent = SLICE_MESSAGES; /* nothing more before this is said */
        return false;
    }
    *to = (struct msg_retained_end){.type = MSG_RETAINED_END,
                                    .is_link = q->is_link,
                                    .is_last = !more || q->is_stopped,
                                    .ask = q->ask};
    q->state = QUERY_PAUSED;
    return to->is_last;
}

/* One question, one turn. Returns true when it is done with. */
static bool turn_query(struct shard *s, struct query *q, bool *waits)
{
    if (q->state == QUERY_DRAINING) {
        if (!mail_passed(s->cluster->mail, s->number, MAIL_PUBLISH, q->marks)) {
            *waits = true;
            return false;
        }
        if (retain_cursor_init(&q->cursor, s->retain, q->filter) != OK) {
            STAT_INC(&s->stats, dropped_memory);
            q->is_stopped = true;
        }
        q->state = QUERY_RUNNING;
    }
    return q->state == QUERY_RUNNING && run_query(s, q, waits);
}

static void free_query(struct query *q)
{
    if (q->state != QUERY_DRAINING)
        retain_cursor_fini(&q->cursor);
    free(q);
}

static uint64_t query_hash(const struct shard *s, uint32_t from, struct handle ask)
{
    const uint32_t name[2] = {from, ask.slot};

    return hash_of(s, bytes_of(name, sizeof name));
}

static void start(struct shard *s, struct query *q)
{
    q->next = s->queries;
    s->queries = q;
}

/* Runs all that can run; those that end a slice leave the list until they are asked for more. */
static bool run_queries(struct shard *s)
{
    struct query *q = s->queries;
    bool waits = false;

    s->queries = NULL;
    while (q) {
        struct query *next = q->next;

        if (turn_query(s, q, &waits))
            free_query(q);
        else if (q->state != QUERY_PAUSED ||
                 !table_insert(&s->query_table, &q->node, query_hash(s, q->from, q->ask)))
            start(s, q);
        q = next;
    }
    return waits;
}

static struct query *find_paused(struct shard *s, uint32_t from, struct handle ask)
{
    struct table_node *n = table_first(&s->query_table, query_hash(s, from, ask));

    for (; n; n = table_after(n)) {
        struct query *q = TABLE_OBJECT(n, struct query, node);

        if (q->from == from && q->ask.slot == ask.slot && q->ask.generation == ask.generation)
            return q;
    }
    return NULL;
}

/* The subscriber wants the next slice, or no more. */
static void resume(struct shard *s, uint32_t from, const struct msg_retain_ask *m)
{
    struct query *q = find_paused(s, from, m->ask);

    if (q) {
        table_remove(&s->query_table, &q->node);
        start(s, q);
    }
    for (q = s->queries; q && !(q->from == from && q->ask.slot == m->ask.slot); q = q->next)
        ; /* the first one, unless there was no memory to put it aside */
    CHECK(q && q->state == QUERY_PAUSED); /* it waits for exactly this */
    q->state = QUERY_RUNNING;
    q->sent = 0;
    q->sent_bytes = 0;
    q->is_stopped = m->type == MSG_RETAIN_STOP;
}

bool shard_on_retain_ask(struct shard *s, uint32_t from, const struct msg_retain_ask *m)
{
    struct query *q;

    if (m->type != MSG_RETAIN_ASK) {
        resume(s, from, m);
        return true;
    }
    q = calloc(1, sizeof *q);
    if (!q)
        return false; /* tried again: the subscriber waits, nothing is lost */
    q->from = from;
    q->is_link = m->is_link;
    q->ask = m->ask;
    q->filter = bytes_of(m->filter, m->filter_count);
    fence_full(&s->fence); /* pairs with the fence of route.c: index first, then the rings */
    mail_mark(s->cluster->mail, s->number, MAIL_PUBLISH, q->marks);
    start(s, q);
    return true;
}

bool retained_run(struct shard *s)
{
    removed_run(s);
    tombs_run(s);
    return run_queries(s);
}

static void release(void *ctx, void *value)
{
    (void)ctx;
    message_release(value);
}

bool retained_init(struct shard *s)
{
    s->retain = retain_create(&s->cluster->key);
    s->removed = removed_create();
    s->tombs = tombs_create(&s->cluster->key);
    table_init(&s->query_table);
    return s->retain && s->removed && s->tombs;
}

void retained_fini(struct shard *s)
{
    for (uint32_t i = 0; i < s->query_table.bucket_count; i++)
        while (s->query_table.buckets[i]) {
            struct table_node *n = s->query_table.buckets[i];

            table_remove(&s->query_table, n);
            free_query(TABLE_OBJECT(n, struct query, node));
        }
    table_fini(&s->query_table);
    while (s->queries) {
        struct query *q = s->queries;

        s->queries = q->next;
        free_query(q);
    }
    retain_destroy(s->retain, release, NULL);
    removed_destroy(s->removed);
    tombs_destroy(s->tombs);
}
