/* core/broker/sessions.c -- the sessions of a worker: found, made and ended, and what happens when
 * their client leaves: the will, and the time for which they stay.
 */
#include <stdlib.h>

#include "core/base/check.h"
#include "core/broker/state.h"

struct session *session_find(struct shard *s, struct bytes id)
{
    uint64_t hash = hash_of(s, id);

    for (struct table_node *n = table_first(&s->session_table, hash); n; n = table_after(n)) {
        struct session *x = TABLE_OBJECT(n, struct session, node);

        if (bytes_eq(session_id(x), id))
            return x;
    }
    return NULL;
}

struct session *session_create(struct shard *s, struct bytes id, const struct bytes *user)
{
    struct session *x = slab_alloc(&s->sessions);

    if (!x)
        return NULL;
    if (!session_set_id(x, id) || !session_set_user(x, user) ||
        !table_insert(&s->session_table, &x->node, hash_of(s, id))) {
        free(x->id);
        slab_free(&s->sessions, x);
        return NULL;
    }
    STAT_INC(&s->stats, sessions);
    return x;
}

void session_note(struct shard *s, const struct session *x, bool is_delete)
{
    struct record r = {.kind = RECORD_SESSION,
                       .is_delete = is_delete,
                       .client_id = session_id(x),
                       .session_expiry = x->expiry};

    if (s->store.keeps)
        (void)store_put(&s->store, &r);
}

void will_drop(struct shard *s, struct session *x)
{
    timer_cancel(&s->timers, &x->will_timer);
    if (!x->will)
        return;
    message_release(x->will->message);
    free(x->will);
    x->will = NULL;
}

void will_publish(struct shard *s, struct session *x)
{
    struct will *w = x->will;
    struct publish p;
    struct message *own;
    enum err err;

    if (!w)
        return;
    publish_of_message(&p, w->message);
    own = w->message;
    if (w->has_expiry)
        p.expires_ms = s->now_ms + w->expiry * 1000ull;
    p.stamp_ms = s->wall_ms;
    p.message = NULL; /* with its own moment of expiry */
    p.is_will = true;
    p.from = x;
    p.from_id = session_id(x);
    p.from_user = session_user(x);
    p.source = w->is_granted ? SOURCE_UNKNOWN : access_source(s, x, p.retain);
    if (!w->is_granted &&
        !access_may_write(s, x, p.topic, 0)) { /* it was, when the will was left */
        STAT_INC(&s->stats, denied_publish);
        will_drop(s, x);
        return;
    }
    err = route_publish(s, &p, NULL);
    if (err == ERR_MEMORY)
        STAT_INC(&s->stats, dropped_memory);
    if (err == ERR_FULL) {
        if (publish_message(&p, &s->waiting_bytes))
            route_publish_later(s, p.message, p.from_id);
        else
            STAT_INC(&s->stats, dropped_memory);
    }
    CHECK(w->message == own);
    will_drop(s, x);
}

static void will_is_due(struct timer *t, void *owner, uint64_t now_ms)
{
    struct session *x = TABLE_OBJECT(t, struct session, will_timer);

    (void)now_ms;
    will_publish(owner, x);
}

static void session_is_due(struct timer *t, void *owner, uint64_t now_ms)
{
    struct shard *s = owner;

    (void)now_ms;
    STAT_INC(&s->stats, sessions_expired);
    session_end(s, TABLE_OBJECT(t, struct session, timer));
}

void session_end(struct shard *s, struct session *x)
{
    CHECK(!x->client && !x->is_ending);
    x->is_ending = true;
    will_publish(s, x); /* [MQTT-3.1.3-9]: the end of the session ends the delay */
    shares_connected(s, x, false);
    subscriptions_drop_all(s, x);
    asks_drop(s, x);
    owed_drop(s, x);
    if (x->expiry) /* it was counted when its client went */
        STAT_ADD(&s->stats, sessions_offline, -1);
    timer_cancel(&s->timers, &x->timer);
    STAT_ADD(&s->stats, sessions, -1);
    STAT_ADD(&s->stats, queued_messages, -(int64_t)x->queue_count);
    STAT_ADD(&s->stats, inflight_messages, -(int64_t)x->inflight_count);
    STAT_ADD(&s->stats, dropped_session_end, x->queue_count);
    access_drop(s, x);
    session_note(s, x, true);
    table_remove(&s->session_table, &x->node);
    session_fini(x);
    slab_free(&s->sessions, x);
}

/* Sessions without a connection, of all workers. */
static uint64_t offline_sessions(const struct shard *s)
{
    const struct cluster_state *c = s->cluster;
    uint64_t sum = 0;

    for (uint32_t i = 0; i < c->worker_count; i++)
        sum += load_relaxed(&c->shards[i]->stats.sessions_offline);
    return sum;
}

/* How long the session may stay without a connection, from now. */
static void wait_for_client(struct shard *s, struct session *x)
{
    if (x->expiry && offline_sessions(s) >= s->limits->sessions) {
        STAT_INC(&s->stats, sessions_refused);
        x->expiry = 0;
    }
    if (x->expiry == 0) {
        session_end(s, x);
        return;
    }
    STAT_INC(&s->stats, sessions_offline);
    if (x->expiry != UINT32_MAX)
        timer_arm(&s->timers, &x->timer, s->now_ms + x->expiry * 1000ull, session_is_due);
}

void client_leave_session(struct client *c, bool with_will)
{
    struct shard *s = c->stream.shard;
    struct session *x = c->session;

    c->state = CLIENT_CLOSING;
    timer_cancel(&s->timers, &c->keepalive_timer);
    if (!x)
        return;
    c->session = NULL;
    x->client = NULL;
    STAT_ADD(&s->stats, clients_connected, -1);
    if (!with_will)
        will_drop(s, x);
    else if (x->will && x->will->delay && x->expiry)
        timer_arm(&s->timers, &x->will_timer, s->now_ms + x->will->delay * 1000ull, will_is_due);
    else
        will_publish(s, x);
    shares_connected(s, x, false);
    owed_leave(s, x);
    session_trim(x);
    wait_for_client(s, x);
    if (s->hooks.link_gone)
        s->hooks.link_gone(s->hooks.link, client_name(c));
}
