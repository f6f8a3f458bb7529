/* core/broker/share.c -- the member's side of shared groups. */
#include <stdlib.h>

#include "core/base/check.h"
#include "core/broker/state.h"

static void todo(struct shard *s, struct share *h)
{
    if (h->is_todo)
        return;
    h->is_todo = true;
    h->todo_next = s->share_todo;
    s->share_todo = h;
}

/* Sends one record to the group's home; at home here it is handled at once. */
static bool tell(struct shard *s, struct share *h, const struct msg_group_member *m)
{
    struct msg_group_member *to;

    if (h->home == s->number)
        return shard_on_group_member(s, s->number, m);
    to = mail_post(s->cluster->mail, s->number, h->home, MAIL_REQUEST, sizeof *to);
    if (!to)
        return false;
    *to = *m;
    return true;
}

bool share_is_reachable(const struct share *h)
{
    return mounted_reaches(h->session, bytes_of(h->text + h->group_count, h->filter_count));
}

static bool join(struct shard *s, struct share *h)
{
    struct msg_group_member m = {.type = MSG_GROUP_JOIN,
                                 .options = (uint8_t)(h->options & ~SUB_COVERED),
                                 .is_connected = share_is_reachable(h),
                                 .session = h->session_handle,
                                 .share = slab_handle(&s->shares, h),
                                 .subscription_id = h->subscription_id,
                                 .group_count = h->group_count,
                                 .filter_count = h->filter_count,
                                 .text = h->text,
                                 .hash = h->hash};

    h->is_joining = true;
    h->join_again = false;
    h->told_connected = m.is_connected;
    if (tell(s, h, &m))
        return true;
    h->is_joining = false;
    h->join_again = true;
    return false;
}

static bool leave(struct shard *s, struct share *h)
{
    struct msg_group_member m = {
        .type = MSG_GROUP_LEAVE, .group = h->group, .session = h->session_handle};

    m.share = slab_handle(&s->shares, h);

    if (h->group.generation && !tell(s, h, &m))
        return false;
    STAT_ADD(&s->stats, filter_bytes_held,
             -(int64_t)(sizeof *h + h->group_count + h->filter_count));
    free(h->text);
    slab_free(&s->shares, h);
    return true;
}

static bool tell_state(struct shard *s, struct share *h, bool is_connected)
{
    struct msg_group_member m = {.type = MSG_GROUP_STATE,
                                 .is_connected = is_connected,
                                 .group = h->group,
                                 .session = h->session_handle};

    if (!tell(s, h, &m))
        return false;
    h->told_connected = is_connected;
    return true;
}

/* Brings the home up to date, one step; what finds no room is tried again each turn. */
void share_sync(struct shard *s, struct share *h)
{
    bool is_done = true;

    if (h->is_joining || h->is_todo)
        return;
    if (!h->session)
        is_done = leave(s, h);
    else if (!h->group.generation || h->join_again)
        is_done = join(s, h);
    else if (h->told_connected != share_is_reachable(h))
        is_done = tell_state(s, h, share_is_reachable(h));
    if (!is_done)
        todo(s, h);
}

bool shares_run(struct shard *s)
{
    struct share *h = s->share_todo;

    s->share_todo = NULL;
    while (h) {
        struct share *next = h->todo_next;

        h->is_todo = false;
        share_sync(s, h);
        h = next;
    }
    return s->share_todo != NULL;
}

static uint64_t table_hash(const struct shard *s, const struct session *x, uint64_t hash)
{
    return hash ^ (slab_handle(&s->sessions, x).slot * 0x9E3779B97F4A7C15ull);
}

static struct share *find(const struct shard *s, const struct session *x, struct bytes group,
                          struct bytes filter, uint64_t hash)
{
    struct table_node *n = table_first(&s->share_table, table_hash(s, x, hash));

    for (; n; n = table_after(n)) {
        struct share *h = TABLE_OBJECT(n, struct share, node);

        if (h->session == x && bytes_eq(bytes_of(h->text, h->group_count), group) &&
            bytes_eq(bytes_of(h->text + h->group_count, h->filter_count), filter))
            return h;
    }
    return NULL;
}

/* The session has left it: nobody finds it any more. */
static void detach(struct shard *s, struct share *h)
{
    table_remove(&s->share_table, &h->node);
    h->session = NULL;
}

static struct share *create(struct shard *s, struct session *x, struct bytes group,
                            struct bytes filter, uint64_t hash)
{
    struct share *h = memory_is_full(s) ? NULL : slab_alloc(&s->shares);

    if (!h)
        return NULL;
    h->text = malloc(group.n + filter.n + 1);
    h->at = h->text ? session_add_subscription(x, (struct subscription){.share = h}) : UINT32_MAX;
    if (h->at != UINT32_MAX && !table_insert(&s->share_table, &h->node, table_hash(s, x, hash))) {
        session_drop_subscription(x, h->at);
        h->at = UINT32_MAX;
    }
    if (h->at == UINT32_MAX) {
        free(h->text);
        slab_free(&s->shares, h);
        return NULL;
    }
    bytes_put(bytes_put(h->text, group), filter);
    h->group_count = group.n;
    h->filter_count = filter.n;
    h->hash = hash;
    h->session = x;
    h->session_handle = slab_handle(&s->sessions, x);
    h->home = (uint16_t)owner_of_filter(s->cluster, filter, hash_of(s, filter));
    STAT_INC(&s->stats, shared_subscriptions);
    STAT_ADD(&s->stats, filter_bytes_held, sizeof *h + group.n + filter.n);
    return h;
}

enum err share_subscribe(struct shard *s, struct session *x, struct bytes group,
                         struct bytes filter, uint8_t options, uint32_t id, struct filter_wait *w)
{
    uint64_t hash = hash_of_share(s, group, filter);
    struct share *h = find(s, x, group, filter, hash);

    if (!h) {
        if (x->sub_count >= s->limits->subscriptions)
            return ERR_FULL;
        h = create(s, x, group, filter, hash);
        if (!h)
            return ERR_MEMORY;
    }
    h->options = options;
    h->subscription_id = id;
    h->join_again = true;
    w->next = h->waiting;
    h->waiting = w;
    share_sync(s, h);
    return OK;
}

bool share_unsubscribe(struct shard *s, struct session *x, struct bytes group, struct bytes filter)
{
    struct share *h = find(s, x, group, filter, hash_of_share(s, group, filter));

    if (!h)
        return false;
    session_drop_subscription(x, h->at);
    STAT_ADD(&s->stats, shared_subscriptions, -1);
    share_leave(s, h);
    return true;
}

/* Everybody who waits for the membership is told. */
static void answer(struct shard *s, struct share *h, bool is_refused)
{
    struct filter_wait *w = h->waiting;

    h->waiting = NULL;
    while (w) {
        struct filter_wait *next = w->next;

        suback_arrived(s, w->suback, w->at, is_refused);
        w = next;
    }
}

void share_leave(struct shard *s, struct share *h)
{
    answer(s, h, false);
    detach(s, h);
    share_sync(s, h);
}

void shard_on_group_done(struct shard *s, const struct msg_group_done *m)
{
    struct share *h = slab_at(&s->shares, m->share);

    CHECK(h); /* a share is not freed while a JOIN is out */
    h->is_joining = false;
    h->group = m->group;
    if (m->is_refused && h->session) {
        struct session *x = h->session;

        session_drop_subscription(x, h->at);
        STAT_ADD(&s->stats, shared_subscriptions, -1);
        STAT_INC(&s->stats, subscriptions_refused);
        detach(s, h);
    }
    if (!h->join_again)
        answer(s, h, m->is_refused);
    share_sync(s, h);
}

/* QoS 1 messages that the leaving member has not acknowledged, and everything of its groups that
 * has not been sent to it, go back [MQTT-4.8.2-5]; QoS 2 once sent stays [MQTT-4.8.2-4]. */
static void take_back(struct shard *s, struct session *x)
{
    uint32_t n = x->inflight_count, waiting = x->queue_count;
    struct delivery **v = n ? malloc(n * sizeof(struct delivery *)) : NULL;

    n = v ? session_inflight_sorted(x, v) : 0;
    for (uint32_t i = 0; i < n; i++) {
        struct delivery d = *v[i];

        if (!d.group.generation || d.qos != 1)
            continue;
        v[i]->message = NULL; /* the copy has it now */
        v[i]->more_ids = NULL;
        session_done(x, v[i]);
        STAT_ADD(&s->stats, inflight_messages, -1);
        group_take_back(s, &d);
    }
    free(v);
    while (waiting--) {
        struct delivery d = *session_peek(x);

        session_pop(x);
        if (!d.group.generation) {
            if (!session_push(x, &d)) /* a place has just become free: cannot fail but for memory */
                delivery_fini(&d);
            continue;
        }
        STAT_ADD(&s->stats, queued_messages, -1);
        group_take_back(s, &d);
    }
}

void shares_connected(struct shard *s, struct session *x, bool is_connected)
{
    bool is_member = false;

    for (uint32_t i = 0; i < x->sub_count; i++) {
        if (x->subs[i].share) {
            is_member = true;
            share_sync(s, x->subs[i].share);
        }
    }
    if (!is_connected && (is_member || x->is_ending))
        take_back(s, x);
}
