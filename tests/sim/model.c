/* tests/sim/model.c -- the records: messages, subscriptions, wills, sessions, connections. */
#include "tests/sim/model.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Timers fire up to 1/64 of their delay late; a second more is never an error. */
#define LATE_MS(delay_ms) ((delay_ms) + (delay_ms) / 64 + 1000)

void model_init(struct model *m, struct sim *sim)
{
    memset(m, 0, sizeof(*m));
    m->sim = sim;
    m->rights_count = 1;
    m->rights[0].is_none = true;
}

void model_fini(struct model *m)
{
    for (uint32_t i = 0; i < m->session_count; i++) {
        free(m->sessions[i]->subs);
        free(m->sessions[i]->orders);
        free(m->sessions[i]->left);
        free(m->sessions[i]);
    }
    free(m->sessions);
    free(m->messages);
    free(m->copies);
    free(m->wills);
}

bool model_matches(const char *filter, const char *topic)
{
    const char *f = filter, *t = topic;

    if (t[0] == '$' && (f[0] == '+' || f[0] == '#')) /* [MQTT-4.7.2-1] */
        return false;
    for (;;) { /* one level a round */
        size_t f_count = strcspn(f, "/"), t_count = strcspn(t, "/");

        if (f_count == 1 && f[0] == '#')
            return true;
        if (!(f_count == 1 && f[0] == '+') && !(f_count == t_count && memcmp(f, t, f_count) == 0))
            return false;
        f += f_count;
        t += t_count;
        if (*t == '\0')
            return *f == '\0' || strcmp(f, "/#") == 0; /* `a/#` matches `a` */
        if (*f == '\0')
            return false;
        f++;
        t++;
    }
}

/* ---- messages ---- */

uint32_t model_message(struct model *m, const struct m_message *msg)
{
    struct m_message *p;

    m->messages =
        must_grow(m->messages, m->message_count, &m->message_capacity, sizeof(struct m_message));
    p = &m->messages[m->message_count];
    *p = *msg;
    p->offered = p->t0 = p->t1 = p->done = p->settled = NEVER;
    p->taken_ms = 0;
    p->last_copy = NONE;
    return m->message_count++;
}

void model_publish_taken(struct model *m, uint32_t message, uint32_t user, uint64_t now_ms)
{
    struct m_message *p = &m->messages[message];

    p->is_denied = !model_allows(m, user, RIGHT_WRITE, p->topic);
    if (p->is_denied)
        return;
    p->users |= 1u << user;
    p->t0 = p->t1 = m->sim->step;
    p->rest = m->rest;
    p->taken_ms = now_ms;
}

void model_publish_parked(struct model *m, uint32_t message, uint32_t user)
{
    struct m_message *p = &m->messages[message];

    if (!model_allows(m, user, RIGHT_WRITE, p->topic))
        return;
    p->users |= 1u << user;
    if (p->retain && p->offered == NEVER)
        p->offered = m->sim->step;
}

void model_publish_acked(struct model *m, uint32_t message)
{
    if (m->messages[message].done == NEVER)
        m->messages[message].done = m->sim->step;
}

/* ---- subscriptions ---- */

bool is_shared(const struct m_filter *f)
{
    return f->group[0] != '\0';
}

bool same_filter(const struct m_filter *a, const struct m_filter *b)
{
    return strcmp(a->filter, b->filter) == 0 && strcmp(a->group, b->group) == 0;
}

/* The subscription of this session to this filter that stands now, or NONE. */
static uint32_t sub_find(const struct m_session *s, const struct m_filter *f)
{
    for (uint32_t i = 0; i < s->sub_count; i++) {
        if (s->subs[i].end_taken == NEVER && same_filter(&s->subs[i].f, f))
            return i;
    }
    return NONE;
}

uint32_t model_subscribe_taken(struct model *m, struct m_session *s, const struct m_filter *f)
{
    uint32_t old = sub_find(s, f), at;
    struct m_sub *sub;

    s->subs = must_grow(s->subs, s->sub_count, &s->sub_capacity, sizeof(struct m_sub));
    at = s->sub_count++;
    sub = &s->subs[at];
    *sub = (struct m_sub){
        .f = *f,
        .taken = m->sim->step,
        .acked = NEVER,
        .end_taken = NEVER,
        .end_acked = NEVER,
        .successor = NONE,
        .predecessor = old,
        .line = s->line,
    };
    /* [MQTT-3.3.1-9..11]: 0 always, 1 only for a new subscription, 2 never; not for shared ones */
    sub->wants_retained =
        !is_shared(f) && (f->retain_handling == 0 || (f->retain_handling == 1 && old == NONE));
    if (old != NONE) {
        s->subs[old].end_taken = m->sim->step;
        s->subs[old].successor = at;
    }
    return at;
}

void model_subscribe_acked(struct model *m, struct m_session *s, uint32_t at)
{
    struct m_sub *sub = &s->subs[at];

    if (sub->acked == NEVER)
        sub->acked = m->sim->step;
    if (sub->predecessor != NONE && s->subs[sub->predecessor].end_acked == NEVER)
        s->subs[sub->predecessor].end_acked = m->sim->step;
}

uint32_t model_unsubscribe_taken(struct model *m, struct m_session *s, const struct m_filter *f)
{
    uint32_t at = sub_find(s, f);

    if (at != NONE)
        s->subs[at].end_taken = m->sim->step;
    return at;
}

void model_unsubscribe_acked(struct model *m, struct m_session *s, uint32_t at)
{
    if (at != NONE && s->subs[at].end_acked == NEVER)
        s->subs[at].end_acked = m->sim->step;
}

/* ---- wills ---- */

static struct m_will *will_of(struct model *m, const void *line)
{
    for (uint32_t i = 0; i < m->will_count; i++) {
        if (m->wills[i].line == line)
            return &m->wills[i];
    }
    return NULL;
}

static void will_send(struct model *m, struct m_will *w)
{
    struct m_message *p = &m->messages[w->message];

    p->is_denied = !model_allows(m, w->user, RIGHT_WRITE, p->topic);
    p->users = 1u << w->user;
    w->state = p->is_denied ? WILL_DROPPED : WILL_SENT;
    if (p->is_denied)
        return;
    m->messages[w->message].t0 = m->sim->step;
    m->messages[w->message].rest = m->rest;
    m->messages[w->message].taken_ms = m->sim->now_ms;
}

/* The connection ended without a clean DISCONNECT [MQTT-3.1.2-8]. */
static void will_start(struct model *m, struct m_will *w, uint32_t session_expiry_s,
                       uint64_t now_ms)
{
    uint32_t delay_s = w->delay_s < session_expiry_s ? w->delay_s : session_expiry_s;

    w->state = WILL_WAITING;
    w->is_delayed = delay_s > 0;
    w->delay_s = delay_s;
    w->due_min_ms = now_ms + delay_s * 1000ull;
    w->due_max_ms = NEVER;
    if (!w->is_delayed)
        will_send(m, w);
}

/* A new connection: the session goes on [MQTT-3.1.3-9], or it has ended. */
static void will_settle(struct model *m, uint32_t actor, bool is_resumed)
{
    for (uint32_t i = 0; i < m->will_count; i++) {
        struct m_will *w = &m->wills[i];

        if (w->actor != actor)
            continue;
        if (w->state == WILL_WAITING && is_resumed)
            w->state = WILL_DROPPED;
        else if (w->state == WILL_WAITING)
            will_send(m, w);
        else if (w->state == WILL_SENT && w->is_delayed && is_resumed &&
                 m->messages[w->message].t1 == NEVER)
            w->state = WILL_DOUBTFUL; /* due in this very moment */
    }
}

void model_time(struct model *m)
{
    for (uint32_t i = 0; i < m->will_count; i++) {
        struct m_will *w = &m->wills[i];

        if (w->state == WILL_WAITING && m->sim->now_ms >= w->due_min_ms)
            will_send(m, w);
    }
}

/* ---- sessions ---- */

static struct m_session *session_new(struct model *m, uint32_t actor)
{
    struct m_session *s = must_alloc(sizeof(*s));

    s->actor = actor;
    s->created = m->sim->step;
    s->ended = NEVER;
    s->up_since = NEVER;
    m->sessions =
        must_grow(m->sessions, m->session_count, &m->session_capacity, sizeof(struct m_session *));
    m->sessions[m->session_count++] = s;
    m->current[actor] = s;
    return s;
}

void session_over(struct model *m, struct m_session *s)
{
    s->ended = m->sim->step;
    s->line = NULL;
    if (m->current[s->actor] == s)
        m->current[s->actor] = NULL;
}

/* Does the session that this id had still exist? Sets *doubt when nobody can say. */
static bool session_is_there(const struct m_session *s, uint64_t now_ms, uint64_t timers_ran_ms,
                             bool *doubt)
{
    *doubt = false;
    if (!s)
        return false;
    *doubt = s->is_doubtful || s->is_unknown;
    if (s->gone_min_ms == NEVER || now_ms < s->gone_min_ms)
        return true;
    if (s->gone_max_ms != NEVER && timers_ran_ms >= s->gone_max_ms)
        return false;
    *doubt = true;
    return true;
}

static void session_attach(struct m_session *s, const struct m_connect *c)
{
    s->line = s->last_line = c->line;
    s->who = c->who;
    s->users |= 1u << c->user;
    s->up_since = NEVER;
    s->is_v5 = c->is_v5;
    s->expiry_s = c->expiry_s;
    if (c->packet_max && (!s->packet_max || c->packet_max < s->packet_max))
        s->packet_max = c->packet_max;
}

/* The session that was there had ended, and this is a fresh one. */
static struct m_session *session_replace(struct model *m, struct m_session *old)
{
    struct m_session *s;
    void *line = old->line;

    session_over(m, old);
    s = session_new(m, old->actor);
    s->line = line;
    s->last_line = old->last_line;
    s->who = old->who;
    s->users = old->users;
    s->is_v5 = old->is_v5;
    s->expiry_s = old->expiry_s;
    s->packet_max = old->packet_max;
    s->gone_min_ms = old->gone_min_ms;
    s->gone_max_ms = old->gone_max_ms;
    return s;
}

struct m_session *model_connect_taken(struct model *m, const struct m_connect *c, uint64_t now_ms,
                                      uint64_t timers_ran_ms)
{
    struct m_session *s = c->is_nameless ? NULL : m->current[c->actor];
    bool doubt, there;

    if (s && s->line)
        differ(m->sim, "actor %" PRIu32 " connected twice: the first connection was not ended",
               c->actor);
    there = session_is_there(s, now_ms, timers_ran_ms, &doubt) && !c->clean_start;
    if (!c->is_nameless)
        will_settle(m, c->actor, there);
    if (s && !there)
        session_over(m, s);
    if (!there) {
        s = session_new(m, c->actor);
    } else if (s->is_doubtful) { /* and nobody has read the CONNACK that would have told */
        s = session_replace(m, s);
        s->is_unknown = true;
    }
    s->expect_present = there;
    s->expect_doubt = there && doubt;
    s->is_doubtful = there && doubt;
    session_attach(s, c);
    if (c->will != NONE) {
        m->wills = must_grow(m->wills, m->will_count, &m->will_capacity, sizeof(struct m_will));
        m->wills[m->will_count++] = (struct m_will){.message = c->will,
                                                    .actor = c->actor,
                                                    .user = c->user,
                                                    .line = c->line,
                                                    .state = WILL_ARMED,
                                                    .delay_s = c->will_delay_s};
    }
    return s;
}

struct m_session *model_connack(struct model *m, struct m_session *s, bool session_present)
{
    if (!s->expect_doubt && session_present != s->expect_present)
        differ(m->sim, "actor %" PRIu32 ": session present is %d", s->actor, session_present);
    if (s->ended != NEVER)
        return s; /* with its connection, which the client does not know yet */
    if (s->expect_doubt && !session_present)
        s = session_replace(m, s);
    s->is_doubtful = false;
    s->expect_doubt = false;
    s->up_since = s->line ? m->sim->step : NEVER;
    return s;
}

static struct m_session *session_of(struct model *m, const void *line)
{
    for (uint32_t i = 0; i < m->session_count; i++) {
        if (m->sessions[i]->line == line)
            return m->sessions[i];
    }
    return NULL;
}

void model_line_ending(struct model *m, void *line, bool is_clean, uint64_t now_ms)
{
    struct m_session *s = session_of(m, line);
    struct m_will *w = will_of(m, line);

    if (!s)
        return;
    if (w && w->state == WILL_ARMED) {
        if (is_clean)
            w->state = WILL_DROPPED;
        else
            will_start(m, w, s->expiry_s, now_ms);
    }
    s->left = must_grow(s->left, s->left_count, &s->left_capacity, sizeof(uint64_t));
    s->left[s->left_count++] = m->sim->step;
    s->line = NULL;
    s->up_since = NEVER;
    s->gone_min_ms = s->expiry_s == NONE ? NEVER : now_ms + s->expiry_s * 1000ull;
    s->gone_max_ms = NEVER;
    if (s->expiry_s == 0)
        session_over(m, s);
}

void model_line_closed(struct model *m, const void *line, uint64_t now_ms)
{
    struct m_will *w = will_of(m, line);

    if (w && w->due_max_ms == NEVER)
        w->due_max_ms = now_ms + LATE_MS(w->delay_s * 1000ull);
    for (uint32_t i = 0; i < m->session_count; i++) {
        struct m_session *s = m->sessions[i];

        if (!s->line && s->last_line == line && s->gone_min_ms != NEVER)
            s->gone_max_ms = now_ms + LATE_MS(s->expiry_s * 1000ull);
    }
}

/* ---- rights ---- */

/* A will that was due may be late: nobody knows by which rights it was judged. */
static void doubt_wills(struct model *m)
{
    for (uint32_t i = 0; i < m->will_count; i++) {
        struct m_will *w = &m->wills[i];
        struct m_message *p = &m->messages[w->message];
        bool was_due = w->state == WILL_SENT || (w->state == WILL_DROPPED && p->is_denied);

        if (!w->is_delayed || !was_due || p->t1 != NEVER)
            continue;
        w->state = WILL_DOUBTFUL;
        p->is_denied = false;
        if (p->t0 == NEVER) {
            p->t0 = m->sim->step;
            p->rest = m->rest;
            p->taken_ms = m->sim->now_ms;
        }
    }
}

void model_set_rights(struct model *m, const struct rights *r)
{
    doubt_wills(m);
    m->rights[m->rights_count] = *r;
    m->rights[m->rights_count++].since = m->sim->step++;
}

bool model_allows(const struct model *m, uint32_t user, enum right right, const char *topic)
{
    return rights_allow(&m->rights[m->rights_count - 1], user, right, topic);
}

/* How many of `users` x the rights that counted since that step allow it, and do not. */
static void count_rights(const struct model *m, uint64_t step, uint32_t users, enum right right,
                         const char *topic, uint32_t *yes, uint32_t *no)
{
    *yes = *no = 0;
    for (uint32_t i = m->rights_count; i-- > 0;) {
        for (uint32_t user = 0; user < USERS; user++) {
            bool is_allowed = rights_allow(&m->rights[i], user, right, topic);

            if (users & (1u << user))
                *(is_allowed ? yes : no) += 1;
        }
        if (m->rights[i].since <= step)
            break;
    }
}

bool model_allowed_since(const struct model *m, uint64_t step, uint32_t users, enum right right,
                         const char *topic)
{
    uint32_t yes, no;

    count_rights(m, step, users, right, topic, &yes, &no);
    return no == 0;
}

bool model_allowed_once(const struct model *m, uint64_t step, uint32_t users, enum right right,
                        const char *topic)
{
    uint32_t yes, no;

    count_rights(m, step, users, right, topic, &yes, &no);
    return yes > 0;
}

bool model_had_rights(const struct model *m, uint64_t step)
{
    uint32_t i = m->rights_count - 1;

    while (m->rights[i].since > step)
        i--;
    return !m->rights[i].is_none;
}
