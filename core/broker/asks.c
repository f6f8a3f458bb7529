/* core/broker/asks.c -- retained messages for a new subscription: the subscriber's worker asks.
 *
 * A subscriber asks only when its filter is visible everywhere, one owner after the other (a filter
 * without wildcard has one). The owner (core/broker/retained.c) stops after each slice until it is
 * told that the session has room. A live retained publish that reached the subscription meanwhile
 * makes answers for its topic old: they are dropped, so nobody keeps an old value.
 *
 * Threads  the subscriber's worker; the owners by mail.
 */
#include <stdlib.h>

#include "core/base/check.h"
#include "core/broker/state.h"
#include "core/mqtt/topic.h"

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

bool asks_run(struct shard *s)
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

void asks_init(struct shard *s)
{
    slab_init(&s->asks, sizeof(struct ask), 1u << 26);
    table_init(&s->ask_table);
}

void asks_fini(struct shard *s)
{
    uint32_t slot = 0;
    struct ask *a;

    table_fini(&s->ask_table);
    while ((a = slab_next(&s->asks, &slot))) {
        free(a->seen.v);
        free(a->filter);
    }
    slab_fini(&s->asks);
}
