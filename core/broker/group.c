/* core/broker/group.c -- shared groups at their home, the owner of their filter's partition.
 *
 * The index knows only that a group exists. A publish sends one message for each matching group to
 * its home, which picks a member by the configured policy, connected ones only, or a remote cluster
 * (core/broker/group.h); what nobody can take waits here up to a bound. A member's worker gives
 * back what the member did not take.
 *
 * Threads  the home worker.
 */
#include "core/broker/group.h"

#include <stdlib.h>

#include "core/base/check.h"
#include "core/mqtt/topic.h"

/* ---- the backlog ---- */

static void pump_later(struct shard *s, struct group *g)
{
    if (g->is_pumped)
        return;
    g->is_pumped = true;
    g->pump_next = s->pump_first;
    s->pump_first = g;
}

/* The one behind `n` others. */
static struct waiting *waiting_at(struct group *g, uint32_t n)
{
    return &g->backlog[(g->backlog_head + n) & (g->backlog_capacity - 1)];
}

static void drop_first(struct group *g)
{
    message_release(waiting_at(g, 0)->message);
    g->backlog_head = (g->backlog_head + 1) & (g->backlog_capacity - 1);
    g->backlog_count--;
}

static bool grow_backlog(struct group *g)
{
    uint32_t capacity = g->backlog_capacity ? g->backlog_capacity * 2 : 8;
    struct waiting *v = malloc(capacity * sizeof *v);

    if (!v)
        return false;
    for (uint32_t i = 0; i < g->backlog_count; i++)
        v[i] = *waiting_at(g, i);
    free(g->backlog);
    g->backlog = v;
    g->backlog_capacity = capacity;
    g->backlog_head = 0;
    return true;
}

/* Keeps a message until a member can take it. At the bound the oldest goes. */
static void keep(struct shard *s, struct group *g, struct publish *p, uint64_t from_hash)
{
    if (g->backlog_count >= s->limits->group_queued) {
        STAT_INC(&s->stats, dropped_group_full);
        drop_first(g);
    }
    if (g->abroad_count && p->from_id.n && !p->source)
        p->source = p->from_user.n ? SOURCE_USER : SOURCE_NAMELESS;
    if (memory_is_full(s) || (g->backlog_count == g->backlog_capacity && !grow_backlog(g)) ||
        !publish_message(p, &s->waiting_bytes)) {
        STAT_INC(&s->stats, dropped_memory);
        return;
    }
    *waiting_at(g, g->backlog_count++) = (struct waiting){message_ref(p->message), from_hash};
}

/* ---- choosing a member ---- */

static struct member *nth_connected(struct group *g, uint32_t n)
{
    for (uint32_t i = 0; i < g->count; i++)
        if (g->members[i].is_connected && n-- == 0)
            return &g->members[i];
    return NULL;
}

static struct member *next_connected(struct group *g, uint32_t from)
{
    for (uint32_t i = 0; i < g->count; i++) {
        uint32_t at = (from + i) % g->count;

        if (g->members[at].is_connected)
            return &g->members[at];
    }
    return NULL;
}

static struct member *choose(struct shard *s, struct group *g, const struct publish *p,
                             uint64_t from_hash)
{
    if (g->connected_count == 0)
        return NULL;
    switch (s->limits->share_policy) {
    case SHARE_STICKY:
        return next_connected(g, g->next);
    case SHARE_HASH_CLIENTID:
        return nth_connected(g, (uint32_t)(from_hash % g->connected_count));
    case SHARE_HASH_TOPIC:
        return nth_connected(g, (uint32_t)(hash_of(s, p->topic) % g->connected_count));
    case SHARE_RANDOM:
        return nth_connected(g, (uint32_t)(shard_random(s) % g->connected_count));
    case SHARE_ROUND_ROBIN:
    case SHARE_POLICY_COUNT:
        break;
    }
    return next_connected(g, g->next);
}

/* The one that was chosen took the message. */
static void chosen(struct shard *s, struct group *g, const struct member *m)
{
    uint32_t at = (uint32_t)(m - g->members);

    g->next = s->limits->share_policy == SHARE_STICKY ? at : (at + 1) % g->count;
}

/* ---- one message ---- */

static enum err send_to(struct shard *s, struct group *g, const struct member *m, struct publish *p)
{
    struct mail *mail = s->cluster->mail;
    struct msg_dispatch *to;
    uint32_t bytes = (uint32_t)sizeof *to + body_bytes_shared(p, false);

    if (!mail_room(mail, s->number, m->worker, MAIL_GROUP, bytes))
        return ERR_FULL;
    if (!body_share(s, p))
        return ERR_MEMORY;
    to = mail_post(mail, s->number, m->worker, MAIL_GROUP, bytes);
    CHECK(to); /* room was seen */
    to->type = MSG_DISPATCH;
    to->options = m->options;
    to->group_home = (uint16_t)s->number;
    to->subscription_id = m->subscription_id;
    to->share = m->share;
    to->group = slab_handle(&s->groups, g);
    body_put(s, m->worker, &to->body, (uint8_t *)(to + 1), p, false);
    return OK;
}

static void deliver_to_member(struct shard *s, struct session *x, struct publish *p,
                              const struct msg_dispatch *m)
{
    struct wanted w = {.ids = &m->subscription_id,
                       .id_count = m->subscription_id != 0,
                       .options = m->options,
                       .group = m->group,
                       .group_home = m->group_home};
    const struct share *h = slab_at(&s->shares, m->share);

    if (h)
        w.options |= h->options & SUB_COVERED;
    deliver(s, x, p, &w);
}

static enum err dispatch(struct shard *s, struct group *g, const struct member *m,
                         struct publish *p)
{
    struct msg_dispatch here = {.options = m->options,
                                .group_home = (uint16_t)s->number,
                                .subscription_id = m->subscription_id,
                                .share = m->share,
                                .group = slab_handle(&s->groups, g)};
    struct blob *given = p->blob;
    struct publish copy = *p;
    enum err err;

    if (m->worker == s->number) {
        struct session *x = slab_at(&s->sessions, m->session);

        if (!x || !x->client)
            return ERR_NONE;
        deliver_to_member(s, x, p, &here);
        return OK;
    }
    err = send_to(s, g, m, &copy);
    if (copy.blob != given)
        blob_release(copy.blob);
    return err;
}

/* To a member or a remote cluster; `avoid` as of group_leaves. OK also where it is lost for want of
 * memory, which is counted. ERR_NONE: nobody can take it now. */
static enum err give_out(struct shard *s, struct group *g, struct publish *p, uint64_t from_hash,
                         uint64_t avoid)
{
    struct member *m = choose(s, g, p, from_hash);
    enum err err = ERR_NONE;

    if (m) {
        err = dispatch(s, g, m, p);
        if (err == OK)
            chosen(s, g, m);
    }
    if (err == ERR_NONE && g->abroad_count)
        err = group_leaves(s, g, p, avoid);
    if (err != ERR_MEMORY)
        return err;
    STAT_INC(&s->stats, dropped_memory);
    return OK;
}

/* Whether somebody might take what waits. */
static bool has_takers(const struct group *g)
{
    return g->connected_count || g->abroad_count;
}

/* Whether the backlog takes no more, but will when somebody has taken some of it. */
static bool is_full(const struct shard *s, const struct group *g)
{
    return g->backlog_count >= s->limits->group_queued && (g->connected_count || g->is_blocked);
}

/* ERR_NONE: it is for none of ours, now or later. ERR_FULL: not now. */
static enum err publish_to(struct shard *s, struct group *g, struct publish *p, uint64_t from_hash,
                           uint64_t avoid)
{
    if (!g->backlog_count) {
        enum err err = give_out(s, g, p, from_hash, avoid);

        if (err != ERR_NONE || g->count == 0)
            return err;
    } else if (is_full(s, g)) {
        return ERR_FULL;
    }
    if (p->qos == 0 && !g->backlog_count)
        STAT_INC(&s->stats, dropped_offline_qos0);
    else
        keep(s, g, p, from_hash);
    if (g->backlog_count && has_takers(g))
        pump_later(s, g);
    return OK;
}

enum err group_publish(struct shard *s, struct handle group, struct publish *p, uint64_t from_hash)
{
    struct group *g = slab_at(&s->groups, group);

    if (!g)
        return ERR_NONE; /* its last member has left meanwhile */
    return p->no_groups ? OK : publish_to(s, g, p, from_hash, 0);
}

/* The group whose name has this hash, with our key: no two names do. */
static struct group *find_named(const struct shard *s, uint64_t hash)
{
    struct table_node *n = table_first(&s->group_table, hash);

    return n ? TABLE_OBJECT(n, struct group, node) : NULL;
}

void group_keep(struct shard *s, struct handle group, struct publish *p, uint64_t from_hash)
{
    struct group *g = slab_at(&s->groups, group);

    if (!g || p->no_groups)
        return;
    keep(s, g, p, from_hash);
    g->is_blocked = true;
    pump_later(s, g);
}

bool shard_on_group_publish(struct shard *s, uint32_t from, const struct msg_group_publish *m)
{
    struct group *g = find_named(s, m->hash);
    struct publish p;
    enum err err = ERR_NONE;

    body_get(&p, &m->body, (const uint8_t *)(m + 1) + m->group_count + m->filter_count);
    if (g && topic_matches(group_filter(g), p.topic))
        err = publish_to(s, g, &p, m->from_hash, 1ull << m->link);
    if (err == ERR_NONE)
        err = group_returns(s, from, m, &p);
    publish_fini(&p);
    if (err == ERR_FULL)
        return false;
    if (err == ERR_MEMORY)
        STAT_INC(&s->stats, dropped_memory);
    body_done(s, &m->body);
    return true;
}

bool groups_have_room(const struct shard *s, const struct handle *slots, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct handle h = {slots[i].slot & ~DELIVER_GROUP, slots[i].generation};
        const struct group *g = slots[i].slot & DELIVER_GROUP ? slab_at(&s->groups, h) : NULL;

        if (g && is_full(s, g))
            return false;
    }
    return true;
}

/* Offers one that waits. OK: that is done with. ERR_NONE: nobody takes it now. ERR_FULL: there is
 * no room. */
static enum err offer(struct shard *s, struct group *g, const struct waiting *w)
{
    struct publish p;
    enum err err;

    publish_of_message(&p, w->message);
    err = give_out(s, g, &p, w->from_hash, 0);
    if (err == ERR_NONE && g->count == 0) {
        STAT_INC(&s->stats, dropped_session_end); /* it was for members that are gone */
        err = OK;
    }
    return err;
}

/* Whether one that nobody takes lets pass what is behind it: it is for a member that is away, and
 * may not leave. Where one is connected, that has just gone: its worker will tell. */
static bool lets_pass(const struct group *g, const struct waiting *w)
{
    return g->connected_count == 0 && w->message->from_link;
}

/* The places [kept, done) of the backlog are free: what stands before them moves up. */
static void close_gap(struct group *g, uint32_t kept, uint32_t done)
{
    uint32_t gap = done - kept;

    while (kept-- > 0)
        *waiting_at(g, gap + kept) = *waiting_at(g, kept);
    g->backlog_head = (g->backlog_head + gap) & (g->backlog_capacity - 1);
    g->backlog_count -= gap;
}

/* Hands out the backlog, in its order. true: there is no room now. */
static bool pump(struct shard *s, struct group *g)
{
    uint32_t kept = 0, done = 0;
    enum err err = OK;

    while (done < g->backlog_count && has_takers(g)) {
        struct waiting *w = waiting_at(g, done);

        err = offer(s, g, w);
        if (err == ERR_FULL || (err == ERR_NONE && !lets_pass(g, w)))
            break;
        done++;
        if (err == ERR_NONE)
            *waiting_at(g, kept++) = *w;
        else
            message_release(w->message);
    }
    close_gap(g, kept, done);
    return err == ERR_FULL;
}

bool groups_run(struct shard *s)
{
    struct group *g = s->pump_first;

    s->pump_first = NULL;
    while (g) {
        struct group *next = g->pump_next;

        g->is_pumped = false;
        g->is_blocked = pump(s, g);
        if (g->is_blocked)
            pump_later(s, g);
        g = next;
    }
    return s->pump_first != NULL;
}

/* ---- a member's worker speaks ---- */

static void change_index(struct shard *s, struct group *g, bool is_add, enum err *err)
{
    struct cluster_state *c = s->cluster;
    struct handle h = slab_handle(&s->groups, g);
    struct bytes filter = group_filter(g);
    struct index *ix = partition_of_filter(c, filter, hash_of(s, filter));
    struct dest d = {(uint16_t)s->number, DEST_GROUP, h.slot, h.generation};

    *err = is_add ? index_add(ix, filter, d, NULL) : index_remove(ix, filter, d, NULL);
    if (*err == OK)
        stripes_touch(c->stripes, &c->key, filter);
}

/* Link workers hear of the first member and the last one. */
static void tell_interest(struct shard *s, const struct group *g, bool is_added)
{
    interest_tell(s, bytes_of(g->text, g->group_count), group_filter(g), is_added);
}

static void destroy(struct shard *s, struct group *g)
{
    if (g->is_pumped) {
        struct group **at = &s->pump_first;

        while (*at != g)
            at = &(*at)->pump_next;
        *at = g->pump_next;
    }
    STAT_ADD(&s->stats, dropped_session_end, g->backlog_count);
    while (g->backlog_count)
        drop_first(g);
    table_remove(&s->group_table, &g->node);
    free(g->backlog);
    free(g->members);
    free(g->abroad);
    free(g->text);
    slab_free(&s->groups, g);
}

static struct group *create(struct shard *s, struct bytes text, uint32_t group_count, uint64_t hash)
{
    struct group *g = partition_is_full(s) ? NULL : slab_alloc(&s->groups);
    enum err err;

    if (!g)
        return NULL;
    g->text = malloc(text.n + 1);
    if (!g->text || !table_insert(&s->group_table, &g->node, hash)) {
        free(g->text);
        slab_free(&s->groups, g);
        return NULL;
    }
    bytes_put(g->text, text);
    g->group_count = group_count;
    g->filter_count = text.n - group_count;
    change_index(s, g, true, &err);
    if (err == OK)
        return g;
    destroy(s, g);
    return NULL;
}

struct group *group_find(struct shard *s, struct bytes text, uint32_t group_count, uint64_t hash,
                         bool is_wanted)
{
    for (struct table_node *n = table_first(&s->group_table, hash); n; n = table_after(n)) {
        struct group *g = TABLE_OBJECT(n, struct group, node);

        if (g->group_count == group_count &&
            bytes_eq(bytes_of(g->text, g->group_count + g->filter_count), text))
            return g;
    }
    return is_wanted ? create(s, text, group_count, hash) : NULL;
}

void group_look(struct shard *s, struct group *g)
{
    enum err err;

    if (g->count || g->abroad_count) {
        if (g->backlog_count)
            pump_later(s, g);
        return;
    }
    change_index(s, g, false, &err);
    CHECK(err == OK);
    destroy(s, g);
}

static struct member *find_member(struct group *g, uint32_t worker, struct handle session)
{
    for (uint32_t i = 0; i < g->count; i++) {
        struct member *m = &g->members[i];

        if (m->worker == worker && m->session.slot == session.slot &&
            m->session.generation == session.generation)
            return m;
    }
    return NULL;
}

static void set_connected(struct shard *s, struct group *g, struct member *m, bool is_connected)
{
    if (m->is_connected == is_connected)
        return;
    m->is_connected = is_connected;
    g->connected_count += is_connected ? 1u : (uint32_t)-1;
    if (g->connected_count && g->backlog_count)
        pump_later(s, g);
}

static struct member *add_member(struct group *g)
{
    if (g->count == g->capacity) {
        uint32_t capacity = g->capacity ? g->capacity * 2 : 2;
        struct member *v = realloc(g->members, capacity * sizeof *v);

        if (!v)
            return NULL;
        g->members = v;
        g->capacity = capacity;
    }
    g->members[g->count] = (struct member){0};
    return &g->members[g->count++];
}

static void remove_member(struct shard *s, struct group *g, struct member *m)
{
    uint32_t at = (uint32_t)(m - g->members);

    set_connected(s, g, m, false);
    g->count--;
    memmove(m, m + 1, (g->count - at) * sizeof *m);
    if (g->next > at)
        g->next--;
    if (g->count)
        return;
    tell_interest(s, g, false);
    group_look(s, g);
}

static void join(struct shard *s, uint32_t from, const struct msg_group_member *m,
                 struct msg_group_done *out)
{
    struct bytes text = bytes_of(m->text, m->group_count + m->filter_count);
    struct group *g = group_find(s, text, m->group_count, m->hash, true);
    struct member *x;

    *out = (struct msg_group_done){.type = MSG_GROUP_DONE, .share = m->share, .is_refused = true};
    if (!g)
        return;
    x = find_member(g, from, m->session);
    if (!x) {
        x = add_member(g);
        if (x && g->count == 1)
            tell_interest(s, g, true);
    }
    if (!x) {
        group_look(s, g);
        return;
    }
    x->worker = (uint16_t)from;
    x->session = m->session;
    x->share = m->share;
    x->options = m->options;
    x->subscription_id = m->subscription_id;
    set_connected(s, g, x, m->is_connected);
    out->group = slab_handle(&s->groups, g);
    out->is_refused = false;
}

bool shard_on_group_member(struct shard *s, uint32_t from, const struct msg_group_member *m)
{
    struct group *g;
    struct member *x;

    if (m->type == MSG_GROUP_JOIN) {
        struct msg_group_done done, *to = &done;

        if (from != s->number)
            to = mail_post(s->cluster->mail, s->number, from, MAIL_ANSWER, sizeof *to);
        if (!to)
            return false;
        join(s, from, m, to);
        if (from == s->number)
            shard_on_group_done(s, to);
        return true;
    }
    g = slab_at(&s->groups, m->group);
    x = g ? find_member(g, from, m->session) : NULL;
    if (!x)
        return true;
    if (m->type == MSG_GROUP_LEAVE) {
        /* Left and joined again meanwhile: the member is another membership's now. */
        if (x->share.slot == m->share.slot && x->share.generation == m->share.generation)
            remove_member(s, g, x);
    } else {
        set_connected(s, g, x, m->is_connected);
    }
    return true;
}

/* ---- at the member's worker ---- */

/* The member's session, if it is still a member and connected: after UNSUBACK nothing more is added
 * for it [MQTT-3.10.4-2]. */
static struct session *member_session(const struct shard *s, const struct msg_dispatch *m)
{
    const struct share *h = slab_at(&s->shares, m->share);
    struct session *x = h ? h->session : NULL;

    return x && share_is_reachable(h) && x->client->state == CLIENT_CONNECTED ? x : NULL;
}

bool shard_on_dispatch(struct shard *s, const struct msg_dispatch *m, const uint8_t *body)
{
    struct session *x = member_session(s, m);
    struct publish p;

    body_get(&p, &m->body, body);
    if (x) {
        deliver_to_member(s, x, &p, m);
    } else if (publish_message(&p, &s->waiting_bytes)) {
        struct delivery d = {
            .message = message_ref(p.message), .group = m->group, .group_home = m->group_home};

        group_take_back(s, &d);
    } else {
        STAT_INC(&s->stats, dropped_memory);
    }
    publish_fini(&p);
    body_done(s, &m->body);
    return true;
}

void groups_init(struct shard *s)
{
    slab_init(&s->groups, sizeof(struct group), 1u << 24);
    table_init(&s->group_table);
}

void groups_fini(struct shard *s)
{
    uint32_t slot = 0;
    struct group *g;

    while ((g = slab_next(&s->groups, &slot)))
        destroy(s, g);
    slab_fini(&s->groups);
    table_fini(&s->group_table);
}
