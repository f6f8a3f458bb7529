/* core/broker/subscribe.c -- SUBSCRIBE and UNSUBSCRIBE, and the way of a filter into the index.
 *
 * SUBACK means subscribed: a filter that is new here is told to the owner of its partition, and the
 * SUBACK waits for the owner's answer, also a second subscriber's. So a message that is published
 * anywhere after the SUBACK was received is delivered. With `suback = linked` it then waits for the
 * remote clusters too (interest.c).
 */
#include <stdlib.h>

#include "core/base/check.h"
#include "core/broker/state.h"
#include "core/mqtt/topic.h"

/* Requests that find no room in one turn; what is behind them waits for the next without being
 * asked about, so that a million at once do not cost a million tries each turn. Large enough that
 * behind those of one full ring others come, whose owners have room. */
#define WITHOUT_ROOM_MAX 64u

/* ---- this worker's filters, and the memory of their texts ---- */

struct filter *filter_create(struct shard *s, struct bytes text, uint64_t hash)
{
    struct filter *f =
        filters_create(&s->filters, text, hash, (uint16_t)owner_of_filter(s->cluster, text, hash));

    if (f)
        STAT_ADD(&s->stats, filter_bytes_held, sizeof *f + text.n);
    return f;
}

static void destroy(struct shard *s, struct filter *f)
{
    STAT_ADD(&s->stats, filter_bytes_held, -(int64_t)(sizeof *f + f->text_count));
    filters_remove(&s->filters, f);
}

/* ---- telling the owner ---- */

static void todo(struct shard *s, struct filter *f)
{
    if (f->is_todo)
        return;
    f->is_todo = true;
    f->todo_next = s->filter_todo;
    s->filter_todo = f;
}

/* How many client workers want a filter. */
static uint32_t local_dests(const struct shard *s, const struct index *ix, struct bytes filter)
{
    struct dest v[WORKERS_MAX * 2];
    struct matches m = {.v = v, .max = WORKERS_MAX * 2};
    uint32_t n = 0;

    index_find(ix, filter, &m);
    for (uint32_t i = 0; i < m.count; i++)
        n += !is_link_worker(s->cluster, v[i].worker) && v[i].kind == DEST_FILTER;
    return n;
}

/* Changes our partition. Returns false when there is no memory for it. */
static bool change_index(struct shard *s, struct bytes filter, uint64_t hash, struct dest d,
                         bool is_add)
{
    struct cluster_state *c = s->cluster;
    struct index *ix = partition_of_filter(c, filter, hash);
    bool tells = c->config.link_workers && !is_link_worker(c, d.worker);
    uint32_t before = tells ? local_dests(s, ix, filter) : 0;
    enum err err;

    if (is_add && partition_is_full(s))
        return false;
    err = is_add ? index_add(ix, filter, d, NULL) : index_remove(ix, filter, d, NULL);
    if (is_add && err != OK)
        return false;
    stripes_touch(c->stripes, &c->key, filter);
    if (tells && (before == 0) != (local_dests(s, ix, filter) == 0))
        interest_tell(s, bytes_of("", 0), filter, is_add);
    return true;
}

static void route_done(struct shard *s, struct filter *f, bool is_add, bool is_refused);

/* Everybody who waits for the filter is told. */
static void answer_waiting(struct shard *s, struct filter *f, bool is_refused)
{
    struct filter_wait *w = f->waiting;

    f->waiting = NULL;
    while (w) {
        struct filter_wait *next = w->next;

        suback_arrived(s, w->suback, w->at, is_refused);
        w = next;
    }
}

/* Asks for one change. false: no room towards the owner. */
static bool ask_owner(struct shard *s, struct filter *f, bool is_add)
{
    struct handle slot = slab_handle(&s->filters.slab, f);
    struct msg_route *m;

    if (f->owner == s->number) {
        struct dest d = {(uint16_t)s->number, DEST_FILTER, slot.slot, slot.generation};
        bool is_done = change_index(s, filter_text(f), f->node.hash, d, is_add);

        route_done(s, f, is_add, !is_done);
        return true;
    }
    m = mail_post(s->cluster->mail, s->number, f->owner, MAIL_REQUEST, sizeof *m);
    if (!m)
        return false;
    *m = (struct msg_route){.type = MSG_ROUTE,
                            .is_add = is_add,
                            .slot = slot,
                            .hash = f->node.hash,
                            .filter = f->text,
                            .filter_count = f->text_count};
    return true;
}

void filter_sync(struct shard *s, struct filter *f)
{
    bool is_wanted = f->count > 0;

    if (f->state == FILTER_IDLE && is_wanted) {
        f->state = FILTER_ADDING;
        if (!ask_owner(s, f, true)) {
            f->state = FILTER_IDLE;
            todo(s, f);
        }
    } else if (f->state == FILTER_VISIBLE && !is_wanted) {
        f->state = FILTER_REMOVING;
        if (!ask_owner(s, f, false)) {
            f->state = FILTER_VISIBLE;
            todo(s, f);
        }
    } else if (f->state == FILTER_IDLE && !f->is_todo) {
        answer_waiting(s, f, false); /* unsubscribed before it was asked for */
        destroy(s, f);
    }
}

bool subscribe_run(struct shard *s)
{
    struct filter *rest = s->filter_todo, **last = &s->filter_todo;
    uint32_t without_room = 0;

    s->filter_todo = NULL;
    while (rest && without_room < WITHOUT_ROOM_MAX) {
        struct filter *f = rest;
        const struct filter *before = s->filter_todo;

        rest = f->todo_next;
        f->is_todo = false;
        filter_sync(s, f); /* may free it */
        without_room += s->filter_todo != before;
    }
    while (*last)
        last = &(*last)->todo_next;
    *last = rest;
    return s->filter_todo != NULL;
}

bool shard_on_route(struct shard *s, uint32_t from, const struct msg_route *m)
{
    struct dest d = {(uint16_t)from, DEST_FILTER, m->slot.slot, m->slot.generation};
    struct msg_route_done *answer;

    if (!mail_room(s->cluster->mail, s->number, from, MAIL_ANSWER, sizeof *answer))
        return false;
    answer = mail_post(s->cluster->mail, s->number, from, MAIL_ANSWER, sizeof *answer);
    CHECK(answer);
    *answer = (struct msg_route_done){.type = MSG_ROUTE_DONE, .is_add = m->is_add, .slot = m->slot};
    answer->is_refused =
        !change_index(s, bytes_of(m->filter, m->filter_count), m->hash, d, m->is_add);
    return true;
}

/* Nobody can have this filter: its subscribers lose it again. */
static void refuse(struct shard *s, struct filter *f)
{
    while (f->count) {
        struct subscriber x = f->v[f->count - 1];

        session_drop_subscription(x.session, x.at);
        filter_leave(f, f->count - 1);
        STAT_ADD(&s->stats, subscriptions, -1);
        STAT_INC(&s->stats, subscriptions_refused);
    }
}

static void route_done(struct shard *s, struct filter *f, bool is_add, bool is_refused)
{
    if (is_add && is_refused)
        refuse(s, f);
    f->state = is_add && !is_refused ? FILTER_VISIBLE : FILTER_IDLE;
    if (is_add) /* else: subscribed again while it was taken away, and goes on waiting */
        answer_waiting(s, f, is_refused);
    filter_sync(s, f); /* what changed meanwhile; may free it */
}

void shard_on_route_done(struct shard *s, const struct msg_route_done *m)
{
    struct filter *f = filters_at(&s->filters, m->slot);

    CHECK(f); /* a filter is not freed while a request is out */
    route_done(s, f, m->is_add, m->is_refused);
}

/* ---- SUBSCRIBE ---- */

static void send_suback(struct client *c, const struct suback *a)
{
    uint8_t *reasons = malloc(a->count);
    uint8_t *to;

    if (!reasons) {
        stream_abort(&c->stream, CLOSE_MEMORY);
        return;
    }
    for (uint32_t i = 0; i < a->count; i++)
        reasons[i] = a->entries[i].reason;
    to = client_room(c, suback_size((enum protocol)c->protocol, PACKET_SUBACK, a->count));
    if (to)
        suback_put(to, (enum protocol)c->protocol, PACKET_SUBACK, a->packet_id, reasons, a->count);
    free(reasons);
}

void suback_free(struct suback *a)
{
    while (a->barriers) {
        struct barrier *b = a->barriers;

        a->barriers = b->next;
        free(b);
    }
    free(a->waits);
    free(a);
}

void suback_send(struct shard *s, struct suback *a)
{
    struct client *c = slab_at(&s->clients, a->client);
    struct session *x = slab_at(&s->sessions, a->session);

    if (a->is_late)
        STAT_INC(&s->stats, link_subacks_late);
    if (c && c->state == CLIENT_CONNECTED)
        send_suback(c, a);
    for (uint32_t i = 0; x && i < a->count; i++) {
        const struct suback_entry *e = &a->entries[i];
        const struct filter *f = e->wants_retained ? filters_at(&s->filters, e->filter) : NULL;

        if (f)
            ask_retained(s, x, filter_text(f), e->options, e->subscription_id);
    }
    suback_free(a);
}

/* All its filters are visible here. */
static void suback_complete(struct shard *s, struct suback *a)
{
    struct client *c = slab_at(&s->clients, a->client);

    if (c)
        c->suback_count--; /* it gets what it publishes itself from now on */
    if (a->barriers)
        barriers_ask(s, a);
    else
        suback_send(s, a);
}

void suback_arrived(struct shard *s, struct suback *a, uint32_t at, bool is_refused)
{
    if (is_refused) {
        a->entries[at].reason = REASON_QUOTA_EXCEEDED;
        a->entries[at].wants_retained = false;
    }
    if (--a->waiting == 0)
        suback_complete(s, a);
}

/* Subscribes to a filter without share prefix. Returns the reason code. */
static uint8_t subscribe_one(struct client *c, struct suback *a, uint32_t at, struct bytes text,
                             const struct filter_request *r)
{
    struct shard *s = c->stream.shard;
    struct session *x = c->session;
    struct suback_entry *e = &a->entries[at];
    uint64_t hash = hash_of(s, text);
    struct filter *f = filters_find(&s->filters, text, hash);
    uint32_t place = f ? session_find_filter(x, f) : UINT32_MAX;
    bool is_new = place == UINT32_MAX;

    if (is_new) {
        struct subscriber sub = {x, 0, e->subscription_id, e->options};

        if (x->sub_count >= s->limits->subscriptions)
            return REASON_QUOTA_EXCEEDED;
        if (!f && !memory_is_full(s))
            f = filter_create(s, text, hash);
        if (!f)
            return REASON_QUOTA_EXCEEDED;
        place = session_add_subscription(x, (struct subscription){.filter = f});
        if (place != UINT32_MAX) {
            sub.at = place;
            x->subs[place].at = filter_join(f, sub);
            if (x->subs[place].at == UINT32_MAX) {
                session_drop_subscription(x, place);
                place = UINT32_MAX;
            }
        }
        if (place == UINT32_MAX) {
            filter_sync(s, f);
            return REASON_QUOTA_EXCEEDED;
        }
        STAT_INC(&s->stats, subscriptions);
    } else { /* [MQTT-3.8.4-3]: replaces the one that is there */
        f->v[x->subs[place].at].options = e->options;
        f->v[x->subs[place].at].subscription_id = e->subscription_id;
    }
    e->filter = slab_handle(&s->filters.slab, f);
    e->wants_retained = r->retain_handling == 0 || (r->retain_handling == 1 && is_new);
    if (f->state != FILTER_VISIBLE) {
        a->waits[at] = (struct filter_wait){f->waiting, a, at};
        f->waiting = &a->waits[at];
        a->waiting++;
    }
    filter_sync(s, f);
    return e->options & SUB_QOS;
}

/* What a filter may not be, apart from its form. `answer` is what the session's own rules and the
 * net say of it. */
static uint8_t refuse_filter(struct client *c, struct bytes filter, enum access_answer answer)
{
    struct shard *s = c->stream.shard;

    if (!topic_filter_valid(filter, s->limits->topic_levels))
        return REASON_TOPIC_FILTER_INVALID;
    if ((c->is_link_only || bytes_begin(filter, BYTES_LIT("$LINK/"))) &&
        !(c->may_link && bytes_begin(filter, BYTES_LIT("$LINK/cluster/resp/")))) {
        if (bytes_begin(filter, BYTES_LIT("$LINK/")))
            speaker_refused(c, filter);
        return REASON_NOT_AUTHORIZED;
    }
    if (answer == ACCESS_YES)
        return REASON_SUCCESS;
    if (answer == ACCESS_NO || !access_may_subscribe(s, c->session, filter)) {
        STAT_INC(&s->stats, denied_subscribe);
        return REASON_NOT_AUTHORIZED;
    }
    return REASON_SUCCESS;
}

static uint8_t subscribe_shared(struct client *c, struct suback *a, uint32_t at, struct bytes group,
                                struct bytes filter)
{
    struct suback_entry *e = &a->entries[at];
    enum err err;

    a->waits[at] = (struct filter_wait){NULL, a, at};
    a->waiting++; /* before: a home that is here answers at once */
    err = share_subscribe(c->stream.shard, c->session, group, filter, e->options,
                          e->subscription_id, &a->waits[at]);
    if (err == OK)
        return e->options & SUB_QOS;
    a->waiting--;
    return REASON_QUOTA_EXCEEDED;
}

static void subscribe_entry(struct client *c, struct suback *a, uint32_t at,
                            const struct filter_request *r, uint32_t id, enum access_answer answer)
{
    struct shard *s = c->stream.shard;
    const struct arena_mark mark = arena_mark(&s->arena);
    struct suback_entry *e = &a->entries[at];
    struct bytes group, filter;
    uint8_t qos = r->qos < c->max_qos ? r->qos : c->max_qos;
    bool is_shared;

    e->subscription_id = id;
    e->options = (uint8_t)(qos | (r->no_local ? SUB_NO_LOCAL : 0) |
                           (r->retain_as_published ? SUB_RETAIN_AS_PUBLISHED : 0));
    if (c->is_bridge) /* what mosquitto's bridges ask for by the bit of their protocol level */
        e->options |= SUB_NO_LOCAL | SUB_RETAIN_AS_PUBLISHED;
    e->reason = mounted_filter(c, r->filter, &is_shared, &group, &filter);
    if (e->reason == REASON_SUCCESS && c->session->has_claim && !s->hooks.may)
        answer = access_ask_filter(c, filter, r->qos); /* else it was asked with the net */
    if (e->reason == REASON_SUCCESS)
        e->reason = refuse_filter(c, filter, answer);
    if (e->reason == REASON_SUCCESS) {
        uint8_t reason;

        e->options |= access_covers(s, c->session, filter);
        reason = is_shared ? subscribe_shared(c, a, at, group, filter)
                           : subscribe_one(c, a, at, filter, r);
        if (s->cluster->config.suback_linked && reason < 0x80)
            barriers_make(s, a, is_shared ? group : bytes_of("", 0), filter);
        if (e->reason == REASON_SUCCESS) /* an owner that is here may have refused it already */
            e->reason = reason;
    }
    if (e->reason >= 0x80)
        STAT_INC(&s->stats, subscriptions_refused);
    arena_rewind(&s->arena, mark);
}

/* A filter that breaks the syntax is a protocol violation [MQTT-4.7.1-1] [MQTT-4.7.1-2]
 * [MQTT-4.8.2-1]; one that is merely too deep is refused by its code. */
static bool list_is_well_formed(const struct client *c, enum packet_type type,
                                const struct packet_subscribe *p)
{
    struct bytes rest = p->list, group, filter;
    struct filter_request r;
    bool is_shared;

    while (packet_next_filter(type, (enum protocol)c->protocol, &rest, &r))
        if (topic_split_share(r.filter, &is_shared, &group, &filter) != OK ||
            !topic_filter_valid(filter, TOPIC_BYTES_MAX + 1))
            return false;
    return true;
}

/* More than any session may have is not worth looking at one by one: the client is ended. */
static bool has_too_many(struct client *c, const struct packet_subscribe *p)
{
    if (p->filter_count <= c->stream.shard->limits->subscriptions ||
        p->filter_count <= SUBSCRIPTIONS_DEFAULT)
        return false;
    client_fail(c, REASON_QUOTA_EXCEEDED, CLOSE_QUOTA);
    return true;
}

/* Asks the net about all filters; its answers are kept until the last one is known.  ERR_FULL: one
 * is not known yet; ERR_MEMORY. */
static enum err ask_net(struct client *c, const struct packet_subscribe *p)
{
    struct bytes rest = p->list, group, filter;
    struct arena *arena = &c->stream.shard->arena;
    struct filter_request r;
    uint32_t at = 0;
    bool is_shared, waits = false;

    if (!c->answers) {
        c->answers = malloc(p->filter_count);
        if (!c->answers)
            return ERR_MEMORY;
        memset(c->answers, ACCESS_WAIT, p->filter_count);
    }
    for (; packet_next_filter(PACKET_SUBSCRIBE, (enum protocol)c->protocol, &rest, &r); at++) {
        const struct arena_mark mark = arena_mark(arena);

        if (c->answers[at] != ACCESS_WAIT)
            continue;
        c->answers[at] = ACCESS_NO; /* also to what is refused for its form */
        if (mounted_filter(c, r.filter, &is_shared, &group, &filter) == REASON_SUCCESS)
            c->answers[at] = (uint8_t)access_ask_filter(c, filter, r.qos);
        waits |= c->answers[at] == ACCESS_WAIT;
        arena_rewind(arena, mark);
    }
    return waits ? ERR_FULL : OK;
}

/* Subscribes to what is allowed. `answers`: of the net, or NULL. */
static void subscribe_all(struct client *c, const struct packet_subscribe *p,
                          const uint8_t *answers)
{
    struct shard *s = c->stream.shard;
    uint32_t id = p->props.present & PROP_BIT(PROP_SUBSCRIPTION_ID) ? p->props.subscription_id : 0;
    struct bytes rest = p->list;
    struct filter_request r;
    struct suback *a;
    uint32_t at = 0;

    a = calloc(1, sizeof *a + p->filter_count * sizeof a->entries[0]);
    if (a)
        a->waits = calloc(p->filter_count, sizeof *a->waits);
    if (!a || !a->waits) {
        free(a);
        stream_abort(&c->stream, CLOSE_MEMORY);
        return;
    }
    a->client = slab_handle(&s->clients, c);
    a->session = slab_handle(&s->sessions, c->session);
    a->packet_id = p->packet_id;
    a->count = p->filter_count;
    a->waiting = 1; /* ours, until all entries are asked for */
    c->suback_count++;
    for (; packet_next_filter(PACKET_SUBSCRIBE, (enum protocol)c->protocol, &rest, &r); at++)
        subscribe_entry(c, a, at, &r, id, answers ? (enum access_answer)answers[at] : ACCESS_FILE);
    if (--a->waiting == 0)
        suback_complete(s, a);
}

enum err client_on_subscribe(struct client *c, const struct packet_subscribe *p)
{
    enum err err = OK;

    if (!c->answers) { /* else this has been found out */
        if (has_too_many(c, p))
            return OK;
        if (!list_is_well_formed(c, PACKET_SUBSCRIBE, p)) {
            client_fail(c, REASON_TOPIC_FILTER_INVALID, CLOSE_TOPIC_INVALID);
            return OK;
        }
    }
    if (c->stream.shard->hooks.may)
        err = ask_net(c, p);
    if (err == ERR_FULL)
        return ERR_FULL;
    if (err == OK)
        subscribe_all(c, p, c->answers);
    else
        stream_abort(&c->stream, CLOSE_MEMORY);
    free(c->answers);
    c->answers = NULL;
    return OK;
}

/* ---- UNSUBSCRIBE ---- */

static void drop_subscription(struct shard *s, struct session *x, uint32_t at)
{
    struct subscription sub = x->subs[at];

    if (sub.filter) {
        filter_leave(sub.filter, sub.at);
        session_drop_subscription(x, at);
        STAT_ADD(&s->stats, subscriptions, -1);
        filter_sync(s, sub.filter);
    } else {
        session_drop_subscription(x, at);
        STAT_ADD(&s->stats, shared_subscriptions, -1);
        share_leave(s, sub.share);
    }
}

void subscriptions_drop_all(struct shard *s, struct session *x)
{
    while (x->sub_count)
        drop_subscription(s, x, x->sub_count - 1);
}

static uint8_t unsubscribe_one(struct client *c, struct bytes text)
{
    struct shard *s = c->stream.shard;
    struct session *x = c->session;
    struct bytes group, filter;
    struct filter *f;
    uint32_t at;
    bool is_shared;
    uint8_t reason = mounted_filter(c, text, &is_shared, &group, &filter);

    if (reason != REASON_SUCCESS)
        return reason;
    if (is_shared)
        return share_unsubscribe(s, x, group, filter) ? REASON_SUCCESS
                                                      : REASON_NO_SUBSCRIPTION_EXISTED;
    f = filters_find(&s->filters, filter, hash_of(s, filter));
    at = f ? session_find_filter(x, f) : UINT32_MAX;
    if (at == UINT32_MAX)
        return REASON_NO_SUBSCRIPTION_EXISTED;
    drop_subscription(s, x, at);
    return REASON_SUCCESS;
}

void client_on_unsubscribe(struct client *c, const struct packet_subscribe *p)
{
    struct shard *s = c->stream.shard;
    struct bytes rest = p->list;
    struct filter_request r;
    uint8_t *reasons = malloc(p->filter_count);
    uint32_t n = 0;
    uint8_t *to;

    if (has_too_many(c, p)) {
        free(reasons);
        return;
    }
    if (!list_is_well_formed(c, PACKET_UNSUBSCRIBE, p)) {
        client_fail(c, REASON_TOPIC_FILTER_INVALID, CLOSE_TOPIC_INVALID);
        free(reasons);
        return;
    }
    if (!reasons) {
        stream_abort(&c->stream, CLOSE_MEMORY);
        return;
    }
    while (packet_next_filter(PACKET_UNSUBSCRIBE, (enum protocol)c->protocol, &rest, &r)) {
        const struct arena_mark mark = arena_mark(&s->arena);

        reasons[n++] = unsubscribe_one(c, r.filter);
        arena_rewind(&s->arena, mark);
    }
    to = client_room(c, suback_size((enum protocol)c->protocol, PACKET_UNSUBACK, n));
    if (to) /* [MQTT-3.10.4-4]: also when nothing was deleted */
        suback_put(to, (enum protocol)c->protocol, PACKET_UNSUBACK, p->packet_id, reasons, n);
    free(reasons);
}
