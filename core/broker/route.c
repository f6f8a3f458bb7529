/* core/broker/route.c -- one publish to all its destinations, or to none.
 *
 * The way of a message: plan_of says which workers want it and under which of their filters; what
 * is ours is delivered at once, what is theirs is posted as one record per worker. Room is looked
 * for in every ring before the first post: a ring has one writer, so room once seen stays.
 *
 * A retained message is posted to the owner of its topic first, shown, and only then, after a full
 * fence, matched: a subscriber whose filter was not yet visible to us asks the owner later than
 * that and finds the new value there.
 */
#include "core/base/check.h"
#include "core/broker/plan.h"

#include <stdlib.h>

/* Met sessions of one publish under several filters. */
struct gathered {
    struct session *session;
    uint32_t *ids;
    uint32_t id_count, id_max;
    uint8_t options;
};

/* ---- bodies in records ---- */

/* Of a receipt, in a record. */
#define RECEIPT_BYTES ((uint32_t)sizeof(void *))

/* Towards links the publisher's names travel along; one that is longer than this is left out, so
 * that every record fits into every ring. */
#define FAR_NAME_BYTES_MAX 256u

static struct bytes far_name(struct bytes name, bool far)
{
    return far && name.n <= FAR_NAME_BYTES_MAX ? name : bytes_of("", 0);
}

static uint32_t far_bytes(const struct publish *p, bool far)
{
    return far_name(p->from_id, far).n + far_name(p->from_user, far).n +
           (far && p->retain ? (uint32_t)sizeof p->sequence : 0) +
           (far && p->owed ? RECEIPT_BYTES : 0);
}

uint32_t body_bytes(const struct publish *p, bool far)
{
    return (p->blob ? 0 : p->topic.n + p->props.n + p->payload.n) + far_bytes(p, far);
}

/* Of a body, in a record, once it is shared if it is large. */
static inline uint32_t inline_bytes(const struct publish *p)
{
    uint32_t n = p->topic.n + p->props.n + p->payload.n;

    return n > INLINE_BYTES_MAX ? 0 : n;
}

uint32_t body_bytes_shared(const struct publish *p, bool far)
{
    return inline_bytes(p) + far_bytes(p, far);
}

void body_put(struct shard *s, uint32_t receiver, struct msg_body *b, uint8_t *to,
              const struct publish *p, bool far)
{
    *b = (struct msg_body){.blob = p->blob,
                           .expires_ms = p->expires_ms,
                           .stamp_ms = p->stamp_ms,
                           .props_count = p->props.n,
                           .payload_count = p->payload.n,
                           .topic_count = (uint16_t)p->topic.n,
                           .from_id_count = (uint16_t)far_name(p->from_id, far).n,
                           .from_user_count = (uint16_t)far_name(p->from_user, far).n,
                           .qos = p->qos,
                           .protocol = p->protocol,
                           .retain = p->retain,
                           .from_link = p->from_link,
                           .has_sequence = far && p->retain,
                           .has_receipt = far && p->owed,
                           .no_groups = p->no_groups,
                           .group_hops = p->group_hops};
    if (p->blob) {
        blob_share(p->blob, 1);
        mail_count(s, receiver, p->blob->bytes_count);
    } else {
        to = bytes_put(to, p->topic);
        to = bytes_put(to, p->props);
        to = bytes_put(to, p->payload);
    }
    to = bytes_put(to, far_name(p->from_id, far));
    to = bytes_put(to, far_name(p->from_user, far));
    if (b->has_sequence) {
        memcpy(to, &p->sequence, sizeof p->sequence);
        to += sizeof p->sequence;
    }
    if (b->has_receipt) {
        struct receipt *r = receipt_next(s, p, receiver);

        memcpy(to, &r, RECEIPT_BYTES);
    }
}

void body_get(struct publish *p, const struct msg_body *b, const uint8_t *at)
{
    const uint8_t *body = b->blob ? b->blob->bytes : at;
    uint32_t n = b->topic_count + b->props_count + b->payload_count;

    if (!b->blob)
        at += n;
    *p = (struct publish){.topic = bytes_of(body, b->topic_count),
                          .props = bytes_of(body + b->topic_count, b->props_count),
                          .payload =
                              bytes_of(body + b->topic_count + b->props_count, b->payload_count),
                          .from_id = bytes_of(at, b->from_id_count),
                          .from_user = bytes_of(at + b->from_id_count, b->from_user_count),
                          .expires_ms = b->expires_ms,
                          .stamp_ms = b->stamp_ms,
                          .qos = b->qos,
                          .protocol = b->protocol,
                          .retain = b->retain,
                          .from_link = b->from_link,
                          .no_groups = b->no_groups,
                          .group_hops = b->group_hops,
                          .blob = b->blob};
    at += b->from_id_count + b->from_user_count;
    if (b->has_sequence) {
        memcpy(&p->sequence, at, sizeof p->sequence);
        at += sizeof p->sequence;
    }
    if (b->has_receipt)
        memcpy(&p->receipt, at, RECEIPT_BYTES);
}

bool body_share(struct shard *s, struct publish *p)
{
    uint32_t n = p->topic.n + p->props.n + p->payload.n;
    struct blob *b;
    uint8_t *to;

    if (p->blob || n <= INLINE_BYTES_MAX)
        return true;
    b = blob_create(&s->blobs, n);
    if (!b)
        return false;
    to = bytes_put(b->bytes, p->topic);
    to = bytes_put(to, p->props);
    bytes_put(to, p->payload);
    p->topic.p = b->bytes;
    p->props.p = b->bytes + p->topic.n;
    p->payload.p = b->bytes + p->topic.n + p->props.n;
    p->blob = b;
    return true;
}

/* ---- what is ours ---- */

static void want(struct wanted *w, const struct subscriber *x)
{
    *w = (struct wanted){
        .ids = &x->subscription_id, .id_count = x->subscription_id != 0, .options = x->options};
}

/* Whether a subscription wants nothing of its own client, and this is from it [MQTT-3.8.3-3]. A
 * client that has published in another cluster is known by the keyed hash of its id, which a
 * session has at hand: those of two ids are not the same. */
static bool is_own(const struct subscriber *x, const struct publish *p)
{
    if (!(x->options & SUB_NO_LOCAL))
        return false;
    return x->session == p->from || (p->from_hash && x->session->node.hash == p->from_hash);
}

/* The common case: one filter, so no session is met twice. */
static void deliver_filter(struct shard *s, const struct filter *f, struct publish *p)
{
    p->is_wide = f->count > 1;
    for (uint32_t i = 0; i < f->count; i++) {
        const struct subscriber *x = &f->v[i];
        struct wanted w;

        if (is_own(x, p))
            continue;
        want(&w, x);
        deliver(s, x->session, p, &w);
    }
}

/* Adds one subscription to what its session gets; several make one copy with the highest QoS and
 * all identifiers [MQTT-3.3.4-2] [MQTT-3.3.4-3]. */
static void gather(struct shard *s, struct gathered *v, uint32_t *n, const struct subscriber *x)
{
    struct session *to = x->session;
    struct gathered *g;

    if (to->publish_mark != s->publish_mark) {
        to->publish_mark = s->publish_mark;
        to->gather_at = *n;
        v[(*n)++] = (struct gathered){.session = to, .options = x->options};
    }
    g = &v[to->gather_at];
    if ((x->options & SUB_QOS) > (g->options & SUB_QOS))
        g->options = (uint8_t)((g->options & ~SUB_QOS) | (x->options & SUB_QOS));
    g->options |= x->options & (SUB_RETAIN_AS_PUBLISHED | SUB_COVERED);
    if (!x->subscription_id)
        return;
    if (g->id_count == g->id_max) {
        uint32_t max = g->id_max ? g->id_max * 2 : 4;
        uint32_t *ids = arena_alloc(&s->arena, max * (uint32_t)sizeof *ids);

        if (!ids)
            return;
        if (g->id_count)
            memcpy(ids, g->ids, g->id_count * sizeof *ids);
        g->ids = ids;
        g->id_max = max;
    }
    g->ids[g->id_count++] = x->subscription_id;
}

static void deliver_gathered(struct shard *s, struct filter *const *f, uint32_t count,
                             struct publish *p)
{
    uint32_t most = 0, n = 0;
    struct gathered *v;

    for (uint32_t i = 0; i < count; i++)
        most += f[i]->count;
    v = arena_alloc(&s->arena, most * (uint32_t)sizeof *v + 1);
    if (!v) {
        STAT_ADD(&s->stats, dropped_memory, most);
        return;
    }
    s->publish_mark++;
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t at = 0; at < f[i]->count; at++) {
            const struct subscriber *x = &f[i]->v[at];

            if (!is_own(x, p))
                gather(s, v, &n, x);
        }
    p->is_wide = n > 1;
    for (uint32_t i = 0; i < n; i++) {
        struct wanted w = {.ids = v[i].ids, .id_count = v[i].id_count, .options = v[i].options};

        deliver(s, v[i].session, p, &w);
    }
}

/* Whether our own links are asked: those that have a route for it, or hear of what is retained. */
static bool is_forwarded(const struct shard *s, const struct publish *p, uint64_t links)
{
    if (p->from_link || !s->hooks.forward)
        return false;
    return links || (feeds_of(s, p) >> s->number & 1);
}

/* There is no memory for a message that was posted here: who waits for links hears of it. */
static void drop_posted(struct shard *s, struct publish *p)
{
    STAT_INC(&s->stats, dropped_memory);
    if (p->receipt)
        p->receipt->reason = REASON_UNSPECIFIED_ERROR;
}

/* Delivers to this worker's filters among `slots`, and to its links. false: a link cannot take it
 * now, and nothing was delivered. */
static bool deliver_slots(struct shard *s, struct publish *p, const struct handle *slots,
                          uint32_t count, uint64_t links)
{
    struct filter *one[DELIVER_SLOTS_MAX];
    struct filter **f = one;
    uint32_t n = 0;

    if (count > DELIVER_SLOTS_MAX) {
        f = arena_alloc(&s->arena, count * (uint32_t)sizeof(struct filter *));
        if (!f) {
            drop_posted(s, p);
            return true;
        }
    }
    for (uint32_t i = 0; i < count && !(slots[i].slot & DELIVER_GROUP); i++) {
        struct filter *x = filters_at(&s->filters, slots[i]);

        if (x && x->count) /* else gone since it was matched */
            f[n++] = x;
    }
    if (is_forwarded(s, p, links) && !s->hooks.forward(s->hooks.link, p, links))
        return false;
    if (n == 1)
        deliver_filter(s, f[0], p);
    else if (n > 1)
        deliver_gathered(s, f, n, p);
    return true;
}

/* ---- what is theirs ---- */

/* Towards a group's home only the names travel; who owes an acknowledgement waits for links. */
static struct publish as_named(const struct publish *p)
{
    struct publish named = *p;

    named.owed = NULL;
    return named;
}

static uint32_t deliver_bytes(const struct shard *s, const struct plan_worker *w,
                              const struct publish *p)
{
    uint32_t slots = w->count > DELIVER_SLOTS_MAX ? 0 : w->count;
    uint32_t bytes =
        (uint32_t)(sizeof(struct msg_deliver) + slots * sizeof(struct handle)) + inline_bytes(p);

    if (is_link_worker(s->cluster, w->worker)) {
        bytes += far_bytes(p, true);
    } else if (w->group_count && p->names_travel) {
        struct publish named = as_named(p);

        bytes += far_bytes(&named, true);
    }
    return bytes;
}

static bool skips(const struct shard *s, const struct plan_worker *w, const struct publish *p)
{
    return p->from_link && is_link_worker(s->cluster, w->worker);
}

/* A link worker that hears of it though it has no filter for it. */
static struct plan_worker feed(uint64_t feeds)
{
    return (struct plan_worker){.worker = (uint16_t)__builtin_ctzll(feeds)};
}

/* Of the link workers that hear of it, those that the plan leaves out. */
static uint64_t feeds_beside(const struct shard *s, const struct plan *plan,
                             const struct publish *p)
{
    uint64_t feeds = feeds_of(s, p) & ~(1ull << s->number);

    for (uint32_t i = 0; feeds && i < plan->worker_count; i++)
        feeds &= ~(1ull << plan->workers[i].worker);
    return feeds;
}

/* Whether the ring towards another worker has room. */
static bool has_room_at(struct shard *s, const struct plan_worker *w, const struct publish *p)
{
    uint32_t body = p->topic.n + p->props.n + p->payload.n;

    if (!p->is_due && load_relaxed(&s->cluster->shards[w->worker]->links_full))
        return false;
    return mail_room(s->cluster->mail, s->number, w->worker, MAIL_PUBLISH,
                     deliver_bytes(s, w, p)) &&
           (body <= INLINE_BYTES_MAX || mail_takes(s, w->worker, body));
}

/* Whether it might be for a group with members in remote clusters while a link keeps publishers
 * waiting. Which one the group would choose is not known here. */
static bool is_held_up(const struct shard *s, const struct plan_worker *w, const struct publish *p)
{
    const struct cluster_state *c = s->cluster;

    if (!w->group_count || p->is_due || p->from_link || !p->names_travel)
        return false;
    for (uint32_t i = c->config.workers; i < c->worker_count; i++)
        if (load_relaxed(&c->shards[i]->links_full))
            return true;
    return false;
}

/* Whether every ring has room for this plan, and for those who hear of it besides. */
static bool has_room(struct shard *s, const struct plan *plan, uint64_t feeds,
                     const struct publish *p)
{
    for (uint32_t i = 0; i < plan->worker_count; i++) {
        const struct plan_worker *w = &plan->workers[i];

        if (is_held_up(s, w, p))
            return false;
        if (w->worker == s->number) {
            if (w->group_count && !groups_have_room(s, plan->slots + w->first, w->count))
                return false;
        } else if (!skips(s, w, p) && !has_room_at(s, w, p)) {
            return false;
        }
    }
    for (; feeds; feeds &= feeds - 1) {
        struct plan_worker w = feed(feeds);

        if (!has_room_at(s, &w, p))
            return false;
    }
    return true;
}

static void post(struct shard *s, const struct plan *plan, const struct plan_worker *w,
                 struct publish *p)
{
    bool far = is_link_worker(s->cluster, w->worker);
    uint32_t slots = w->count > DELIVER_SLOTS_MAX ? 0 : w->count;
    struct msg_deliver *m =
        mail_post(s->cluster->mail, s->number, w->worker, MAIL_PUBLISH, deliver_bytes(s, w, p));

    CHECK(m); /* room was seen, and this worker is the only one who could take it */
    m->type = MSG_DELIVER;
    m->slot_count = w->count > DELIVER_SLOTS_MAX ? DELIVER_MATCH_AGAIN : (uint8_t)slots;
    m->done = 0;
    m->topic_hash = p->topic_hash;
    m->from_hash = w->group_count ? hash_of(s, p->from_id) : p->from_hash;
    m->links = w->links;
    if (slots)
        memcpy(m->slots, plan->slots + w->first, slots * sizeof *m->slots);
    if (!far && w->group_count && p->names_travel) {
        struct publish named = as_named(p);

        body_put(s, w->worker, &m->body, (uint8_t *)&m->slots[slots], &named, true);
        return;
    }
    body_put(s, w->worker, &m->body, (uint8_t *)&m->slots[slots], p, far);
}

/* Groups at home here: what has no room towards its member waits in the group's backlog, so that
 * what comes later stands behind it. */
static void publish_to_own_groups(struct shard *s, const struct handle *slots, uint32_t count,
                                  struct publish *p, uint64_t from_hash)
{
    for (uint32_t i = 0; i < count; i++) {
        struct handle g = {slots[i].slot & ~DELIVER_GROUP, slots[i].generation};

        if ((slots[i].slot & DELIVER_GROUP) && group_publish(s, g, p, from_hash) == ERR_FULL)
            group_keep(s, g, p, from_hash);
    }
}

/* Makes what its acknowledgement waits for, if it goes to links that are to have it first. false:
 * no memory. */
static bool make_receipts(struct shard *s, const struct plan *plan, uint64_t feeds,
                          const struct publish *p)
{
    uint64_t to = feeds;

    if (!p->owed || p->from_link || !p->from)
        return true;
    for (uint32_t i = 0; i < plan->worker_count; i++)
        to |= 1ull << plan->workers[i].worker;
    to &= s->receipt_workers & ~(1ull << s->number);
    if (to)
        *p->owed = owed_make(s, p->from, (uint32_t)__builtin_popcountll(to));
    return !to || *p->owed;
}

/* Does what has_room has allowed. */
static void carry_out(struct shard *s, const struct plan *plan, uint64_t feeds, struct publish *p)
{
    for (; feeds; feeds &= feeds - 1) {
        struct plan_worker w = feed(feeds);

        post(s, plan, &w, p);
    }
    for (uint32_t i = 0; i < plan->worker_count; i++) {
        const struct plan_worker *w = &plan->workers[i];

        if (w->worker == s->number || skips(s, w, p))
            continue;
        post(s, plan, w, p);
    }
    for (uint32_t i = 0; i < plan->worker_count; i++) {
        const struct plan_worker *w = &plan->workers[i];

        if (w->worker != s->number)
            continue;
        deliver_slots(s, p, plan->slots + w->first, w->count - w->group_count, w->links);
        if (w->group_count)
            publish_to_own_groups(s, plan->slots + w->first, w->count, p, hash_of(s, p->from_id));
    }
}

static bool is_wanted(const struct shard *s, const struct plan *plan, const struct publish *p)
{
    for (uint32_t i = 0; i < plan->worker_count; i++)
        if (!skips(s, &plan->workers[i], p))
            return true;
    return false;
}

/* Whether the body must be shared: it is large and goes to another worker. */
static bool travels(const struct shard *s, const struct plan *plan, uint64_t feeds,
                    const struct publish *p)
{
    if (feeds)
        return true;
    for (uint32_t i = 0; i < plan->worker_count; i++)
        if (plan->workers[i].worker != s->number && !skips(s, &plan->workers[i], p))
            return true;
    return false;
}

static enum err publish_planned(struct shard *s, struct publish *p, bool *matched)
{
    const struct plan *plan = plan_of(s, p);
    enum err err = OK;
    uint64_t feeds;

    if (!plan)
        return ERR_MEMORY;
    p->names_travel = load_relaxed(&s->cluster->global_groups) > 0;
    feeds = feeds_beside(s, plan, p);
    if (!has_room(s, plan, feeds, p))
        return ERR_FULL;
    if (p->retain && (!p->from_link || p->is_kept) && s->limits->retain_available) {
        err = retain_first(s, p);
        if (err != OK)
            return err;
        plan = plan_of(s, p);
        if (!plan)
            return ERR_MEMORY;
        feeds = feeds_beside(s, plan, p);
        if (!has_room(s, plan, feeds, p))
            return ERR_FULL; /* tried again: storing the same value twice changes nothing */
    }
    if (travels(s, plan, feeds, p) && !body_share(s, p))
        return ERR_MEMORY;
    if (!make_receipts(s, plan, feeds, p))
        return ERR_MEMORY;
    *matched = is_wanted(s, plan, p);
    carry_out(s, plan, feeds, p);
    return OK;
}

enum err route_publish(struct shard *s, struct publish *p, bool *matched)
{
    const struct publish given = *p; /* a blob and a message made here are not the caller's */
    const struct arena_mark mark = arena_mark(&s->arena);
    bool is_wanted_somewhere = false;
    enum err err;

    if (!p->topic_hash)
        p->topic_hash = hash_of(s, p->topic);
    err = publish_planned(s, p, &is_wanted_somewhere);
    if (matched)
        *matched = is_wanted_somewhere;
    if (p->message != given.message)
        message_release(p->message);
    if (p->blob != given.blob)
        blob_release(p->blob);
    *p = given;
    arena_rewind(&s->arena, mark);
    return err;
}

/* ---- what others left for us ---- */

static bool deliver_groups(struct shard *s, struct msg_deliver *m, struct publish *p)
{
    for (; m->done < m->slot_count; m->done++) {
        struct handle g = m->slots[m->done];

        if (!(g.slot & DELIVER_GROUP))
            continue;
        g.slot &= ~DELIVER_GROUP;
        if (group_publish(s, g, p, m->from_hash) == ERR_FULL)
            return false;
    }
    return true;
}

static bool deliver_matched_again(struct shard *s, struct publish *p, uint64_t from_hash)
{
    const struct plan *plan = plan_of(s, p);
    bool is_found = false;

    if (!plan)
        drop_posted(s, p);
    for (uint32_t i = 0; plan && i < plan->worker_count; i++) {
        const struct plan_worker *w = &plan->workers[i];

        if (w->worker != s->number)
            continue;
        is_found = true;
        if (!deliver_slots(s, p, plan->slots + w->first, w->count - w->group_count, w->links))
            return false;
        publish_to_own_groups(s, plan->slots + w->first, w->count, p, from_hash);
    }
    return is_found || deliver_slots(s, p, NULL, 0, 0); /* links may hear of it all the same */
}

bool shard_on_deliver(struct shard *s, struct msg_deliver *m)
{
    uint32_t slots = m->slot_count == DELIVER_MATCH_AGAIN ? 0 : m->slot_count;
    const struct arena_mark mark = arena_mark(&s->arena);
    struct publish p;
    bool is_done;

    body_get(&p, &m->body, (const uint8_t *)&m->slots[slots]);
    p.topic_hash = m->topic_hash;
    p.from_hash = p.from_link ? m->from_hash : 0;
    if (m->slot_count == DELIVER_MATCH_AGAIN) {
        is_done = deliver_matched_again(s, &p, m->from_hash);
    } else {
        uint32_t filters = 0;

        while (filters < slots && !(m->slots[filters].slot & DELIVER_GROUP))
            filters++;
        is_done =
            (filters && m->done >= filters) || deliver_slots(s, &p, m->slots, filters, m->links);
        if (is_done) {
            if (m->done < filters)
                m->done = (uint8_t)filters;
            is_done = deliver_groups(s, m, &p);
        }
    }
    publish_fini(&p);
    arena_rewind(&s->arena, mark);
    if (is_done && p.receipt && !p.receipt->is_taken)
        shard_receipt_done(s, p.receipt, p.receipt->reason);
    if (is_done)
        body_done(s, &m->body);
    return is_done;
}

/* ---- publishes nobody can be parked for ---- */

static void due_push(struct shard *s, struct due_publish *d)
{
    d->next = NULL;
    *s->due.last = d;
    s->due.last = &d->next;
    s->due.count++;
}

void route_publish_later(struct shard *s, struct message *m, struct bytes from_id)
{
    struct due_publish *d = malloc(sizeof *d + from_id.n);

    if (!d) {
        STAT_INC(&s->stats, dropped_memory);
        message_release(m);
        return;
    }
    *d = (struct due_publish){.message = m, .from_count = (uint16_t)from_id.n};
    bytes_put(d->from_id, from_id);
    due_push(s, d);
}

void group_take_back(struct shard *s, struct delivery *from)
{
    struct due_publish *d = malloc(sizeof *d);

    if (!d) {
        STAT_INC(&s->stats, dropped_memory);
        delivery_fini(from);
        return;
    }
    *d = (struct due_publish){
        .message = from->message, .group = from->group, .group_home = from->group_home};
    from->message = NULL;
    delivery_fini(from);
    due_push(s, d);
}

static enum err post_to_group(struct shard *s, const struct due_publish *d, struct publish *p)
{
    uint32_t bytes;
    struct msg_deliver *m;

    if (d->group_home == s->number)
        return group_publish(s, d->group, p, d->from_hash);
    if (!body_share(s, p))
        return ERR_MEMORY;
    bytes = (uint32_t)(sizeof *m + sizeof(struct handle)) + body_bytes(p, false);
    m = mail_post(s->cluster->mail, s->number, d->group_home, MAIL_PUBLISH, bytes);
    if (!m)
        return ERR_FULL;
    m->type = MSG_DELIVER;
    m->slot_count = 1;
    m->done = 0;
    m->topic_hash = hash_of(s, p->topic);
    m->from_hash = d->from_hash;
    m->links = 0;
    m->slots[0] = (struct handle){d->group.slot | DELIVER_GROUP, d->group.generation};
    body_put(s, d->group_home, &m->body, (uint8_t *)&m->slots[1], p, false);
    return OK;
}

bool due_run(struct shard *s)
{
    struct due_publish *d;

    while ((d = s->due.first)) {
        struct publish p;
        enum err err;

        publish_of_message(&p, d->message);
        p.from_id = bytes_of(d->from_id, d->from_count);
        p.from = d->from_count ? session_find(s, p.from_id) : NULL;
        p.is_due = true;
        if (d->group.generation) {
            struct blob *given = p.blob;

            err = post_to_group(s, d, &p);
            if (p.blob && p.blob != given)
                blob_release(p.blob);
        } else {
            err = route_publish(s, &p, NULL);
        }
        if (err == ERR_FULL)
            return true;
        if (err == ERR_MEMORY)
            STAT_INC(&s->stats, dropped_memory);
        s->due.first = d->next;
        if (!s->due.first)
            s->due.last = &s->due.first;
        s->due.count--;
        message_release(d->message);
        free(d);
    }
    return false;
}

void due_fini(struct shard *s)
{
    while (s->due.first) {
        struct due_publish *d = s->due.first;

        s->due.first = d->next;
        message_release(d->message);
        free(d);
    }
    s->due.last = &s->due.first;
    s->due.count = 0;
}
