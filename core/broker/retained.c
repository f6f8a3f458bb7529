/* core/broker/retained.c -- retained messages: stored at the owner of their topic, asked for by
 * subscribers.
 *
 * A subscriber asks only when its filter is visible everywhere, one owner after the other (a filter
 * without wildcard has one). The owner answers after it has handled everything that stood in its
 * rings when the question came, in slices, and stops after each until the subscriber's worker says
 * that its session has room. A live retained publish that reached the subscription meanwhile makes
 * answers for its topic old: they are dropped, so nobody keeps an old value.
 *
 * Threads  each part on its own worker, by mail.
 */
#include <stdlib.h>

#include "core/base/check.h"
#include "core/broker/state.h"
#include "core/mqtt/topic.h"

/* Messages of one slice, and nodes visited between two looks at the ring. */
#define SLICE_MESSAGES 64u
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

/* Whether a newer publish to this topic has been here already: rings have no order among each
 * other, the sequence has. */
static bool is_old(const struct shard *s, const struct publish *p, const struct message *stored)
{
    return stored ? stored->sequence > p->sequence
                  : removed_later(s->removed, p->topic_hash, p->sequence);
}

void retained_put(struct shard *s, struct publish *p)
{
    uint32_t names = p->source ? p->from_id.n + p->from_user.n : 0;
    uint32_t cost =
        (uint32_t)sizeof(struct message) + names + p->topic.n + p->props.n + p->payload.n;
    struct message *m = retain_get(s->retain, p->topic);
    void *old = NULL;

    if (is_old(s, p, m))
        return;
    if (p->payload.n == 0 || is_full(s, p, cost, m)) {
        /* [MQTT-3.3.1-6] [MQTT-3.3.1-7]: an empty one removes and is not stored. At the bound the
         * old value goes too: nobody shall get it any more. */
        if (p->payload.n)
            STAT_INC(&s->stats, dropped_retained_full);
        forget(s, retain_remove(s->retain, p->topic));
        if (s->cluster->worker_count > 1) /* one sender has one order */
            removed_note(s->removed, p->topic_hash, p->sequence);
        note(s, p, true);
        return;
    }
    m = publish_message(p, &s->waiting_bytes);
    if (!m || retain_put(s->retain, p->topic, m, &old) != OK) {
        STAT_INC(&s->stats, dropped_memory);
        return;
    }
    m->sequence = p->sequence;
    message_ref(m);
    count(s, m, 1);
    forget(s, old); /* [MQTT-3.3.1-5]: replaced */
    note(s, p, false);
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
    uint64_t marks[WORKERS_MAX];
};

struct collected {
    struct shard *shard;
    uint32_t count;
    struct message *v[STEP_NODES];
};

static void collect(void *ctx, struct bytes topic, void *value)
{
    struct collected *c = ctx;
    struct message *m = value;

    if (m->expires_ms && m->expires_ms <= c->shard->now_ms) {
        STAT_INC(&c->shard->stats, dropped_expired);
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
    to->ask = q->ask;
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
        more = retain_cursor_next(&q->cursor, step, collect, &c);
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
    *to = (struct msg_retained_end){
        .type = MSG_RETAINED_END, .is_last = !more || q->is_stopped, .ask = q->ask};
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
    q->ask = m->ask;
    q->filter = bytes_of(m->filter, m->filter_count);
    fence_full(&s->fence); /* pairs with the fence of route.c: index first, then the rings */
    mail_mark(s->cluster->mail, s->number, MAIL_PUBLISH, q->marks);
    start(s, q);
    return true;
}

/* ---- the subscriber's worker asks ---- */

enum ask_state {
    ASK_START,  /* the next owner is to be asked */
    ASK_ASKED,  /* a slice is on its way */
    ASK_PAUSED, /* the owner waits for us */
};

/* Topics one question remembers. Beyond: it is asked again from its first owner, so that nothing
 * grows while a client does not read. */
#define SEEN_MAX 4096u

/* Topics of which a live retained publish has come since the question. */
struct seen {
    uint64_t *v;
    uint32_t count, capacity;
};

struct ask {
    struct table_node node; /* by session and filter, while the session is there */
    struct ask *next;       /* of the session */
    struct ask *todo_next;
    struct handle session; /* generation 0: the session has gone */
    struct seen seen;
    uint32_t owner, first_owner, last_owner;
    uint32_t subscription_id;
    uint32_t filter_count;
    uint8_t *filter;
    uint8_t options;
    uint8_t state; /* enum ask_state */
    bool is_todo;
    bool is_over; /* too much has changed: answers are dropped, and it is asked again */
};

static bool seen_has(const struct seen *t, uint64_t hash)
{
    uint32_t i;

    if (!t->count)
        return false;
    for (i = (uint32_t)hash & (t->capacity - 1); t->v[i]; i = (i + 1) & (t->capacity - 1))
        if (t->v[i] == hash)
            return true;
    return false;
}

static void seen_place(struct seen *t, uint64_t hash)
{
    uint32_t i = (uint32_t)hash & (t->capacity - 1);

    while (t->v[i])
        i = (i + 1) & (t->capacity - 1);
    t->v[i] = hash;
    t->count++;
}

static void seen_add(struct seen *t, uint64_t hash)
{
    hash |= 1; /* 0 is an empty place */
    if (seen_has(t, hash))
        return;
    if (t->count * 2 >= t->capacity) {
        struct seen wider = {.capacity = t->capacity ? t->capacity * 2 : 16};

        wider.v = calloc(wider.capacity, sizeof *wider.v);
        if (!wider.v)
            return; /* the subscriber may get an old value once more */
        for (uint32_t i = 0; i < t->capacity; i++)
            if (t->v[i])
                seen_place(&wider, t->v[i]);
        free(t->v);
        *t = wider;
    }
    seen_place(t, hash);
}

static void todo(struct shard *s, struct ask *a)
{
    if (a->is_todo)
        return;
    a->is_todo = true;
    a->todo_next = s->ask_todo;
    s->ask_todo = a;
}

static uint64_t ask_hash(const struct shard *s, const struct session *x, struct bytes filter)
{
    return hash_of(s, filter) ^ (slab_handle(&s->sessions, x).slot * 0x9E3779B97F4A7C15ull);
}

static struct ask *find_ask(const struct shard *s, const struct session *x, struct bytes filter)
{
    struct table_node *n = table_first(&s->ask_table, ask_hash(s, x, filter));

    for (; n; n = table_after(n)) {
        struct ask *a = TABLE_OBJECT(n, struct ask, node);

        if (slab_at(&s->sessions, a->session) == x &&
            bytes_eq(bytes_of(a->filter, a->filter_count), filter))
            return a;
    }
    return NULL;
}

/* The session has nothing to do with it any more. */
static void unlink_first(struct shard *s, struct session *x)
{
    struct ask *a = x->asks;

    table_remove(&s->ask_table, &a->node);
    x->asks = a->next;
    x->ask_count--;
    a->session = (struct handle){0, 0};
}

static void free_ask(struct shard *s, struct ask *a)
{
    struct session *x = slab_at(&s->sessions, a->session);

    if (x) {
        CHECK(x->asks == a); /* only the first is under way */
        unlink_first(s, x);
        if (x->asks)
            todo(s, x->asks); /* the next one's turn */
    }
    STAT_ADD(&s->stats, filter_bytes_held, -(int64_t)(sizeof *a + a->filter_count));
    free(a->seen.v);
    free(a->filter);
    slab_free(&s->asks, a);
}

static bool post_ask(struct shard *s, struct ask *a, enum msg_type type)
{
    struct msg_retain_ask *m =
        mail_post(s->cluster->mail, s->number, a->owner, MAIL_REQUEST, sizeof *m);

    if (!m)
        return false;
    *m = (struct msg_retain_ask){.type = (uint8_t)type,
                                 .ask = slab_handle(&s->asks, a),
                                 .filter = a->filter,
                                 .filter_count = a->filter_count};
    a->state = ASK_ASKED;
    return true;
}

/* Takes the next step if it can be taken. *waits: for room in a ring (not for the client, who will
 * wake us himself). */
static void step(struct shard *s, struct ask *a, bool *waits)
{
    struct session *x = slab_at(&s->sessions, a->session);
    bool is_done = true;

    if (a->state == ASK_START && !x) {
        free_ask(s, a);
        return;
    }
    if (a->state != ASK_ASKED && x && !deliver_has_room(s, x)) {
        todo(s, a);
        return;
    }
    if (a->state == ASK_START) {
        if (a->is_over)
            a->owner = a->first_owner;
        a->is_over = false;
        is_done = post_ask(s, a, MSG_RETAIN_ASK);
    } else if (a->state == ASK_PAUSED) {
        is_done = post_ask(s, a, x && !a->is_over ? MSG_RETAIN_MORE : MSG_RETAIN_STOP);
    }
    if (!is_done) {
        *waits = true;
        todo(s, a);
    }
}

static struct ask *create_ask(struct shard *s, struct session *x, struct bytes filter)
{
    struct ask *a = memory_is_full(s) ? NULL : slab_alloc(&s->asks);

    if (!a)
        return NULL;
    a->filter = malloc(filter.n);
    if (!a->filter || !table_insert(&s->ask_table, &a->node, ask_hash(s, x, filter))) {
        free(a->filter);
        slab_free(&s->asks, a);
        return NULL;
    }
    bytes_put(a->filter, filter);
    a->filter_count = filter.n;
    a->session = slab_handle(&s->sessions, x);
    STAT_ADD(&s->stats, filter_bytes_held, sizeof *a + filter.n);
    return a;
}

/* The first one of the session is under way; the others wait behind it: a session's room is for one
 * slice at a time. */
static void enqueue(struct session *x, struct ask *a)
{
    struct ask **at = x->asks ? &x->asks->next : &x->asks;

    a->next = *at;
    *at = a;
    x->ask_count++;
}

/* What has been answered does not count: it is asked from its first owner again. */
static void ask_again(struct ask *a)
{
    free(a->seen.v);
    a->seen = (struct seen){0};
    a->is_over = true;
}

void ask_retained(struct shard *s, struct session *x, struct bytes filter, uint8_t options,
                  uint32_t subscription_id)
{
    bool is_wild = topic_has_wildcard(filter), waits;
    struct ask *a = find_ask(s, x, filter), *first = x->asks;
    bool is_new = !a;

    if (!s->limits->retain_available)
        return;
    if (is_new && x->ask_count < s->limits->subscriptions)
        a = create_ask(s, x, filter);
    if (!a) {
        STAT_INC(&s->stats, dropped_memory);
        return;
    }
    a->options = (uint8_t)(options & ~SUB_COVERED); /* the subscription knows it, as it is then */
    a->subscription_id = subscription_id;
    if (!is_new) {
        if (a == first)
            ask_again(a);
        return;
    }
    a->owner = is_wild ? 0 : owner_of_topic(s->cluster, hash_of(s, filter));
    a->first_owner = a->owner;
    a->last_owner = is_wild ? s->cluster->config.workers - 1 : a->owner;
    enqueue(x, a);
    if (!first)
        step(s, a, &waits);
}

void asks_note(struct session *x, const struct publish *p)
{
    struct ask *a = x->asks; /* those that wait will get the new value */

    if (a->is_over || !topic_matches(bytes_of(a->filter, a->filter_count), p->topic))
        return;
    seen_add(&a->seen, p->topic_hash);
    if (a->seen.count >= SEEN_MAX)
        ask_again(a);
}

void asks_drop(struct shard *s, struct session *x)
{
    while (x->asks) {
        struct ask *a = x->asks;

        unlink_first(s, x);
        if (a->state != ASK_ASKED)
            todo(s, a); /* tells the owner; an answer that is on its way is waited for */
    }
}

/* The subscription that asked, or NULL when it is not there any more. */
static const struct subscriber *asker(const struct shard *s, const struct session *x,
                                      const struct ask *a)
{
    struct bytes text = bytes_of(a->filter, a->filter_count);
    const struct filter *f = filters_find(&s->filters, text, hash_of(s, text));

    uint32_t at = f ? session_find_filter(x, f) : UINT32_MAX;

    return at == UINT32_MAX ? NULL : &f->v[x->subs[at].at];
}

void shard_on_retained(struct shard *s, const struct msg_retained *m, const uint8_t *body)
{
    struct ask *a = slab_at(&s->asks, m->ask);
    const struct subscriber *by = NULL;
    struct session *x;

    CHECK(a); /* an ask is not freed while an answer is due */
    x = slab_at(&s->sessions, a->session);
    if (x && !a->is_over && !seen_has(&a->seen, m->topic_hash | 1))
        by = asker(s, x, a);
    if (by) {
        struct wanted w = {.ids = &a->subscription_id,
                           .id_count = a->subscription_id != 0,
                           .options = a->options | (by->options & SUB_COVERED),
                           .is_retained = true};
        struct publish p;

        body_get(&p, &m->body, body);
        p.topic_hash = m->topic_hash;
        deliver(s, x, &p, &w);
        publish_fini(&p);
    }
    body_done(s, &m->body);
}

void shard_on_retained_end(struct shard *s, uint32_t from, const struct msg_retained_end *m)
{
    struct ask *a = slab_at(&s->asks, m->ask);

    CHECK(a && a->owner == from && a->state == ASK_ASKED);
    if (!m->is_last) {
        a->state = ASK_PAUSED;
    } else if (a->is_over && slab_at(&s->sessions, a->session)) {
        a->is_over = false;
        a->owner = a->first_owner;
        a->state = ASK_START;
    } else if (a->owner == a->last_owner || !slab_at(&s->sessions, a->session)) {
        free_ask(s, a);
        return;
    } else {
        a->owner++;
        a->state = ASK_START;
    }
    todo(s, a); /* requests are not posted from an answer's handler */
}

static bool run_asks(struct shard *s)
{
    struct ask *a = s->ask_todo;
    bool waits = false;

    s->ask_todo = NULL;
    while (a) {
        struct ask *next = a->todo_next;

        a->is_todo = false;
        step(s, a, &waits);
        a = next;
    }
    return waits;
}

bool retained_run(struct shard *s)
{
    bool asks_wait = run_asks(s);

    removed_run(s);
    return run_queries(s) || asks_wait;
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
    slab_init(&s->asks, sizeof(struct ask), 1u << 26);
    table_init(&s->query_table);
    table_init(&s->ask_table);
    return s->retain && s->removed;
}

void retained_fini(struct shard *s)
{
    uint32_t slot = 0;
    struct ask *a;

    for (uint32_t i = 0; i < s->query_table.bucket_count; i++)
        while (s->query_table.buckets[i]) {
            struct table_node *n = s->query_table.buckets[i];

            table_remove(&s->query_table, n);
            free_query(TABLE_OBJECT(n, struct query, node));
        }
    table_fini(&s->query_table);
    table_fini(&s->ask_table);
    while (s->queries) {
        struct query *q = s->queries;

        s->queries = q->next;
        free_query(q);
    }
    while ((a = slab_next(&s->asks, &slot))) {
        free(a->seen.v);
        free(a->filter);
    }
    slab_fini(&s->asks);
    retain_destroy(s->retain, release, NULL);
    removed_destroy(s->removed);
}
