/* tests/sim/judge.c -- what follows from the records: may a copy be, and what must have come?
 *
 * Every copy of a message must have a reason of its own: a session's subscriptions (one copy), a
 * SUBSCRIBE that asked for what is retained (one), or a shared group (one, and one more each time a
 * member has left). Every debt must be paid by a copy of its own. Copies do not say what they are
 * for, so reasons are found by assignment: a copy gives way to another if it has a second reason.
 */
#include "tests/sim/model.h"

#include <inttypes.h>
#include <string.h>

/* ---- may it? ---- */

static const char does_not_match[] = "no subscription matches";

/* Whether this subscription may take this message: it was there, or nearly, when it was sent. */
static bool may_match(const struct m_session *s, const struct m_sub *sub, const struct m_message *p)
{
    return sub->taken <= p->settled && p->t0 < sub->end_acked &&
           !(sub->f.no_local && p->publisher == s->who) && model_matches(sub->f.filter, p->topic);
}

/* Whether it surely stood, with just these options, from before the message was sent until it had
 * reached everybody. */
static bool must_match(const struct m_session *s, const struct m_sub *sub,
                       const struct m_message *p)
{
    bool stood = sub->end_taken == NEVER || p->settled < sub->end_taken;

    return sub->acked < p->t0 && stood && may_match(s, sub, p);
}

static uint8_t lower(uint8_t a, uint8_t b)
{
    return a < b ? a : b;
}

static bool has_id(const struct m_delivery *d, uint32_t id)
{
    for (uint32_t i = 0; i < d->id_count; i++) {
        if (d->ids[i] == id)
            return true;
    }
    return false;
}

/* Every identifier belongs to a subscription that may have matched. */
static bool ids_are_known(const struct m_session *s, const struct m_delivery *d,
                          const struct m_message *p)
{
    for (uint32_t i = 0; i < d->id_count; i++) {
        bool known = false;

        for (uint32_t j = 0; j < s->sub_count && !known; j++)
            known = s->subs[j].f.id == d->ids[i] && !is_shared(&s->subs[j].f) &&
                    may_match(s, &s->subs[j], p);
        if (!known)
            return false;
    }
    return true;
}

/* The copy for a session's ordinary subscriptions: one, at the highest QoS of those that match,
 * with all their identifiers [MQTT-3.3.4-2..4]. NULL: it may be; else what is wrong with it. */
static const char *judge_live(const struct m_delivery *d, const struct m_message *p)
{
    const struct m_session *s = d->session;
    bool any = false, qos_is_right = false, flag_is_right = false;

    if (p->t0 == NEVER)
        return "the broker has not taken it";
    for (uint32_t i = 0; i < s->sub_count; i++) {
        const struct m_sub *sub = &s->subs[i];

        if (is_shared(&sub->f) || !may_match(s, sub, p))
            continue;
        any = true;
        qos_is_right |= d->qos == lower(p->qos, sub->f.qos);
        flag_is_right |= d->retain == (p->retain && sub->f.retain_as_published);
        if (!must_match(s, sub, p))
            continue;
        if (d->qos < lower(p->qos, sub->f.qos))
            return "its QoS is too low";
        if (s->is_v5 && sub->f.id && !has_id(d, sub->f.id))
            return "a subscription identifier is missing";
    }
    if (!any)
        return does_not_match;
    if (!qos_is_right)
        return "its QoS is wrong";
    if (!flag_is_right)
        return "its retain flag is wrong";
    if (!ids_are_known(s, d, p))
        return "a subscription identifier is of none that matches";
    return NULL;
}

/* The first moment at which the broker may have stored it. */
static uint64_t stored_from(const struct m_message *p)
{
    return p->offered < p->t0 ? p->offered : p->t0;
}

/* Whether retained message `a` was surely there before `b`. */
static bool comes_before(const struct m_message *a, const struct m_message *b)
{
    if (a->publisher == b->publisher && !a->is_will && !b->is_will)
        return a->t0 < b->t0;
    return a->done < stored_from(b);
}

/* Whether retained message `p` was surely there when the subscription was made. */
static bool is_older(const struct m_session *s, const struct m_message *p, const struct m_sub *sub)
{
    if (p->publisher == s->who && !p->is_will)
        return p->t0 < sub->taken;
    return p->done < sub->taken;
}

/* Whether a newer message had surely taken the place of `p` before the subscription. */
static bool was_replaced(const struct model *m, const struct m_session *s,
                         const struct m_message *p, const struct m_sub *sub)
{
    for (uint32_t i = 0; i < m->message_count; i++) {
        const struct m_message *q = &m->messages[i];

        if (q != p && q->retain && q->t0 != NEVER && strcmp(q->topic, p->topic) == 0 &&
            comes_before(p, q) && is_older(s, q, sub))
            return true;
    }
    return false;
}

/* Whether the subscriber got a newer one in the meantime: then this one comes too late. */
static bool is_stale(const struct model *m, const struct m_delivery *d, const struct m_sub *sub)
{
    const struct m_message *p = &m->messages[d->message];

    for (uint32_t i = 0; i < m->copy_count; i++) {
        const struct m_delivery *c = &m->copies[i];
        const struct m_message *q = &m->messages[c->message];

        if (c->session == d->session && q->retain && c->step > sub->taken && c->step < d->step &&
            c->qos == d->qos && c->kind == KIND_LIVE && strcmp(q->topic, p->topic) == 0 &&
            comes_before(p, q))
            return true;
    }
    return false;
}

/* Whether its publisher had the right to write at some time since the SUBSCRIBE, or is unknown. */
static bool source_may_stand(const struct model *m, const struct m_message *p,
                             const struct m_sub *sub)
{
    return !model_had_rights(m, stored_from(p)) ||
           model_allowed_once(m, sub->taken, p->users, RIGHT_WRITE, p->topic);
}

/* The copy of a retained message for one SUBSCRIBE. */
static const char *judge_retained(const struct model *m, const struct m_delivery *d,
                                  const struct m_message *p, uint32_t at)
{
    const struct m_session *s = d->session;
    const struct m_sub *sub = &s->subs[at];

    if (!d->retain || !p->retain || p->is_deletion)
        return "it is not retained";
    if (sub->f.retain_handling == 2 || !model_matches(sub->f.filter, p->topic))
        return does_not_match;
    if (d->qos != lower(p->qos, sub->f.qos))
        return "its QoS is wrong";
    if (d->id_count > 1 || (d->id_count == 1 && d->ids[0] != sub->f.id) ||
        (d->id_count == 0 && s->is_v5 && sub->f.id))
        return "its subscription identifier is wrong";
    if (was_replaced(m, s, p, sub))
        return "it had been replaced or deleted before the SUBSCRIBE";
    if (is_stale(m, d, sub))
        return "a newer one went before";
    if (!source_may_stand(m, p, sub))
        return "its publisher may not write there any more";
    return NULL;
}

/* How often members may have handed messages of this group back since the message was sent. */
static uint32_t group_leaves(const struct model *m, const struct m_filter *f, uint64_t since)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < m->session_count; i++) {
        const struct m_session *s = m->sessions[i];

        for (uint32_t j = 0; j < s->sub_count; j++) {
            if (!same_filter(&s->subs[j].f, f))
                continue;
            n += s->subs[j].end_taken != NEVER && s->subs[j].end_taken >= since;
            for (uint32_t k = 0; k < s->left_count; k++)
                n += s->left[k] >= since;
        }
    }
    return n;
}

/* Whether the group may have existed when the message was sent. */
static bool group_was_there(const struct model *m, const struct m_filter *f,
                            const struct m_message *p)
{
    for (uint32_t i = 0; i < m->session_count; i++) {
        const struct m_session *s = m->sessions[i];

        for (uint32_t j = 0; j < s->sub_count; j++) {
            if (same_filter(&s->subs[j].f, f) && may_match(s, &s->subs[j], p))
                return true;
        }
    }
    return false;
}

/* The copy for a shared group, to this member of it. */
static const char *judge_shared(const struct model *m, const struct m_delivery *d,
                                const struct m_message *p, uint32_t at)
{
    const struct m_sub *sub = &d->session->subs[at];

    if (p->t0 == NEVER)
        return "the broker has not taken it";
    if (p->t0 >= sub->end_acked || !model_matches(sub->f.filter, p->topic) ||
        !group_was_there(m, &sub->f, p))
        return does_not_match;
    if (d->qos != lower(p->qos, sub->f.qos))
        return "its QoS is wrong";
    if (d->retain && !(p->retain && sub->f.retain_as_published))
        return "its retain flag is wrong";
    if (d->id_count > 1 || (d->id_count == 1 && d->ids[0] != sub->f.id))
        return "its subscription identifier is wrong";
    return NULL;
}

/* ---- reasons ---- */

struct reason {
    enum m_kind kind;
    const struct m_session *session;
    uint32_t sub; /* KIND_RETAINED: which SUBSCRIBE; KIND_SHARED: any subscription to the group */
};

static bool has_reason(const struct m_delivery *c, const struct reason *r)
{
    if (c->kind != r->kind)
        return false;
    if (r->kind == KIND_SHARED)
        return same_filter(&c->session->subs[c->sub].f, &r->session->subs[r->sub].f);
    return c->session == r->session && (r->kind == KIND_LIVE || c->sub == r->sub);
}

/* How many copies of message `p` have this reason now, and how many may. */
static uint32_t count_copies(const struct model *m, const struct m_message *p,
                             const struct reason *r)
{
    uint32_t n = 0;

    for (uint32_t i = p->last_copy; i != NONE; i = m->copies[i].previous)
        n += has_reason(&m->copies[i], r);
    return n;
}

static uint32_t copies_max(const struct model *m, const struct m_message *p, const struct reason *r)
{
    if (p->is_deletion)
        return NONE; /* nobody can tell them apart */
    if (r->kind == KIND_SHARED)
        return 1 + group_leaves(m, &r->session->subs[r->sub].f, p->t0);
    return 1;
}

static void give_reason(struct m_delivery *c, enum m_kind kind, uint32_t sub)
{
    c->kind = kind;
    c->sub = sub;
}

static bool find_reason(struct model *m, uint32_t copy, const char **why);

/* Gives a copy a reason that fits; copies that have it already may have to take another one. */
static bool take_reason(struct model *m, uint32_t copy, enum m_kind kind, uint32_t sub)
{
    struct m_delivery *c = &m->copies[copy];
    const struct m_message *p = &m->messages[c->message];
    const struct reason r = {kind, c->session, sub};

    give_reason(c, kind, sub);
    if (count_copies(m, p, &r) <= copies_max(m, p, &r))
        return true;
    for (uint32_t i = p->last_copy; i != NONE; i = m->copies[i].previous) {
        struct m_delivery *other = &m->copies[i], was = *other;

        if (i == copy || other->is_tried || !has_reason(other, &r))
            continue;
        if (find_reason(m, i, NULL))
            return true;
        give_reason(other, was.kind, was.sub);
    }
    return false;
}

/* A reason for a copy; else *why says what is wrong with each. */
static bool find_reason(struct model *m, uint32_t copy, const char **why)
{
    struct m_delivery *c = &m->copies[copy];
    const struct m_message *p = &m->messages[c->message];
    const char *unused[3], **w = why ? why : unused;

    c->is_tried = true;
    for (uint32_t i = 0; i < c->session->sub_count; i++) {
        bool shared = is_shared(&c->session->subs[i].f);
        const char *says = shared ? judge_shared(m, c, p, i) : judge_retained(m, c, p, i);

        if (!says && take_reason(m, copy, shared ? KIND_SHARED : KIND_RETAINED, i))
            return true;
        if (says != does_not_match)
            w[shared ? KIND_SHARED : KIND_RETAINED] = says ? says : "too many have come";
    }
    w[KIND_LIVE] = judge_live(c, p);
    if (!w[KIND_LIVE] && take_reason(m, copy, KIND_LIVE, NONE))
        return true;
    if (!w[KIND_LIVE])
        w[KIND_LIVE] = "it has come before";
    return false;
}

static void forget_tries(struct model *m, const struct m_message *p)
{
    for (uint32_t i = p->last_copy; i != NONE; i = m->copies[i].previous)
        m->copies[i].is_tried = false;
}

/* Messages of one publisher to one topic at one QoS come in order [MQTT-4.6.0-5]. */
static void check_order(struct model *m, struct m_session *s, const struct m_delivery *d,
                        const struct m_message *p)
{
    struct m_order *o = s->orders, *end = o ? o + s->order_count : NULL;

    while (o < end && !(o->publisher == p->publisher && o->published_qos == p->qos &&
                        o->qos == d->qos && strcmp(o->topic, p->topic) == 0))
        o++;
    if (o == end) {
        s->orders =
            must_grow(s->orders, s->order_count, &s->order_capacity, sizeof(struct m_order));
        o = &s->orders[s->order_count++];
        *o = (struct m_order){.publisher = p->publisher, .published_qos = p->qos, .qos = d->qos};
        memcpy(o->topic, p->topic, NAME_BYTES);
    }
    if (p->t0 < o->last)
        differ(m->sim, "actor %" PRIu32 " got m%" PRIu32 " out of order", s->actor, d->message);
    o->last = p->t0;
}

static uint32_t remember(struct model *m, const struct m_delivery *d)
{
    m->copies = must_grow(m->copies, m->copy_count, &m->copy_capacity, sizeof(struct m_delivery));
    m->copies[m->copy_count] = *d;
    m->copies[m->copy_count].previous = m->messages[d->message].last_copy;
    m->messages[d->message].last_copy = m->copy_count;
    return m->copy_count++;
}

bool model_may_deliver(const struct model *m, const struct m_delivery *d)
{
    const struct m_message *p = &m->messages[d->message];

    if (!judge_live(d, p))
        return true;
    for (uint32_t i = 0; i < d->session->sub_count; i++) {
        if (is_shared(&d->session->subs[i].f) && !judge_shared(m, d, p, i))
            return true;
    }
    return false;
}

bool model_may_be_shared(const struct model *m, const struct m_session *s, uint32_t message)
{
    if (s->is_unknown)
        return true;
    for (uint32_t i = 0; i < s->sub_count; i++) {
        if (is_shared(&s->subs[i].f) &&
            model_matches(s->subs[i].f.filter, m->messages[message].topic))
            return true;
    }
    return false;
}

void model_delivered(struct model *m, struct m_delivery *d)
{
    const struct m_message *p = &m->messages[d->message];
    const char *why[3] = {does_not_match, does_not_match, does_not_match};
    uint32_t copy;

    if (d->session->is_unknown)
        return;
    d->step = m->sim->step;
    give_reason(d, KIND_NONE, NONE);
    copy = remember(m, d);
    forget_tries(m, p);
    if (!find_reason(m, copy, why))
        differ(m->sim,
               "actor %" PRIu32 " got m%" PRIu32 " wrongly: live: %s; retained: %s; shared: %s",
               d->session->actor, d->message, why[KIND_LIVE], why[KIND_RETAINED], why[KIND_SHARED]);
    else if (m->copies[copy].kind == KIND_LIVE && !p->is_will && !p->is_deletion && !d->retain &&
             !model_may_be_shared(m, d->session, d->message))
        check_order(m, d->session, d, p);
}

bool model_has_subscriber(const struct model *m, uint32_t message)
{
    const struct m_message *p = &m->messages[message];

    for (uint32_t i = 0; i < m->session_count; i++) {
        const struct m_session *s = m->sessions[i];

        if (s->ended != NEVER || s->is_doubtful || (!s->line && m->sim->now_ms >= s->gone_min_ms))
            continue;
        for (uint32_t j = 0; j < s->sub_count; j++) {
            if (s->subs[j].end_taken == NEVER && must_match(s, &s->subs[j], p))
                return true;
        }
    }
    return false;
}

/* ---- must it have? ---- */

uint32_t model_packet_bytes(const struct m_message *p)
{
    return p->payload_count + (uint32_t)strlen(p->topic) + 64; /* headers and properties */
}

static bool fits(const struct m_session *s, const struct m_message *p)
{
    return !s->packet_max || model_packet_bytes(p) <= s->packet_max;
}

static bool has_expired(const struct model *m, const struct m_message *p)
{
    return p->expiry_s && m->sim->now_ms >= p->taken_ms + p->expiry_s * 1000ull;
}

/* The lowest QoS a subscription and those that replaced it without a gap give; -1: it was not
 * there, or it has ended. A replacement must not lose messages [MQTT-3.8.4-3]. */
static int standing_qos(const struct m_session *s, const struct m_sub *sub,
                        const struct m_message *p)
{
    int qos = sub->f.qos;

    if (sub->acked >= p->t0 || !may_match(s, sub, p))
        return -1;
    while (sub->successor != NONE) {
        sub = &s->subs[sub->successor];
        if (sub->f.no_local && p->publisher == s->who)
            return -1;
        qos = lower((uint8_t)qos, sub->f.qos);
    }
    return sub->end_taken == NEVER ? qos : -1;
}

/* Whether a connected session must have got this message by now. QoS 0 only promises it to a
 * connection that stood when the message was sent. */
static bool is_owed(const struct model *m, const struct m_session *s, const struct m_message *p)
{
    int best = -1;

    if (p->settled == NEVER || p->is_deletion || s->created > p->t0 || !fits(s, p) ||
        has_expired(m, p) || !model_allowed_since(m, p->t0, s->users, RIGHT_READ, p->topic))
        return false;
    for (uint32_t i = 0; i < s->sub_count; i++) {
        if (!is_shared(&s->subs[i].f)) {
            int qos = standing_qos(s, &s->subs[i], p);

            best = qos > best ? qos : best;
        }
    }
    if (best < 0)
        return false;
    if (best == 0 || p->qos == 0)
        return s->up_since < p->t0;
    return true;
}

/* Whether whoever of the group gets the message can take it: it is small enough; and if it may go
 * at QoS 0, all of the group have known for long who is connected. */
static bool group_can_take(const struct model *m, const struct m_filter *f,
                           const struct m_message *p)
{
    for (uint32_t i = 0; i < m->session_count; i++) {
        const struct m_session *s = m->sessions[i];

        for (uint32_t j = 0; j < s->sub_count; j++) {
            if (!same_filter(&s->subs[j].f, f))
                continue;
            if (!fits(s, p) || !model_allowed_since(m, p->t0, s->users, RIGHT_READ, p->topic))
                return false;
            if (lower(p->qos, s->subs[j].f.qos) == 0 && s->ended == NEVER &&
                (!s->line || s->up_since >= p->rest))
                return false;
        }
    }
    return true;
}

/* Whether this member could surely have taken the group's message, and nobody of the group left. */
static bool group_owes(const struct model *m, const struct m_session *s, const struct m_sub *sub,
                       const struct m_message *p)
{
    return p->settled != NEVER && !p->is_deletion && is_shared(&sub->f) &&
           sub->end_taken == NEVER && must_match(s, sub, p) && s->up_since < p->t0 &&
           !has_expired(m, p) && group_leaves(m, &sub->f, p->t0) == 0 &&
           group_can_take(m, &sub->f, p);
}

static bool is_debt(const struct model *m, const struct m_message *p, const struct reason *r)
{
    if (r->kind == KIND_LIVE)
        return is_owed(m, r->session, p);
    return r->kind == KIND_SHARED && group_owes(m, r->session, &r->session->subs[r->sub], p);
}

/* Whether a copy of the message could be for this reason; *sub is then what it came by. */
static bool could_be(const struct model *m, const struct m_delivery *c, const struct m_message *p,
                     const struct reason *r, uint32_t *sub)
{
    *sub = NONE;
    if (r->kind == KIND_LIVE)
        return c->session == r->session && !judge_live(c, p);
    for (*sub = 0; *sub < c->session->sub_count; (*sub)++) {
        if (same_filter(&c->session->subs[*sub].f, &r->session->subs[r->sub].f) &&
            !judge_shared(m, c, p, *sub))
            return true;
    }
    return false;
}

/* Whether a debt is paid, by a copy that has this reason or that another debt can spare. */
static bool is_paid(struct model *m, const struct m_message *p, const struct reason *r)
{
    if (count_copies(m, p, r) > 0)
        return true;
    for (uint32_t i = p->last_copy; i != NONE; i = m->copies[i].previous) {
        struct m_delivery *c = &m->copies[i];
        const struct reason old = {c->kind, c->session, c->sub};
        uint32_t sub;

        if (c->is_tried || !could_be(m, c, p, r, &sub))
            continue;
        c->is_tried = true;
        give_reason(c, r->kind, sub);
        if (!is_debt(m, p, &old) || is_paid(m, p, &old))
            return true;
        give_reason(c, old.kind, old.sub);
    }
    return false;
}

static void check_debt(struct model *m, const struct m_message *p, const struct reason *r)
{
    uint32_t message = (uint32_t)(p - m->messages);

    if (count_copies(m, p, r) > 0 || !is_debt(m, p, r))
        return;
    forget_tries(m, p);
    if (is_paid(m, p, r))
        return;
    if (r->kind == KIND_LIVE)
        differ(m->sim, "actor %" PRIu32 " never got m%" PRIu32 " (from %" PRIu32 ", %s, QoS %d%s)",
               r->session->actor, message, p->publisher, p->topic, p->qos,
               p->is_will ? ", a will" : "");
    else
        differ(m->sim, "nobody of group %s, %s got m%" PRIu32 ", not even actor %" PRIu32,
               r->session->subs[r->sub].f.group, r->session->subs[r->sub].f.filter, message,
               r->session->actor);
}

static void check_debts(struct model *m, const struct m_session *s)
{
    for (uint32_t i = 0; i < m->message_count && !m->sim->failed; i++) {
        struct reason r = {KIND_LIVE, s, NONE};

        check_debt(m, &m->messages[i], &r);
        r.kind = KIND_SHARED;
        for (r.sub = 0; r.sub < s->sub_count; r.sub++) {
            if (is_shared(&s->subs[r.sub].f))
                check_debt(m, &m->messages[i], &r);
        }
    }
}

static bool has_got_since(const struct model *m, const struct m_session *s,
                          const struct m_message *p, uint64_t step)
{
    for (uint32_t i = p->last_copy; i != NONE; i = m->copies[i].previous) {
        if (m->copies[i].session == s && m->copies[i].step > step)
            return true;
    }
    return false;
}

/* Must the SUBSCRIBE have brought a retained message on this topic? If it must, has the session
 * since got one that is not older? */
static void check_retained_topic(struct model *m, const struct m_session *s,
                                 const struct m_sub *sub, const char *topic)
{
    bool must = false;

    for (uint32_t i = 0; i < m->message_count; i++) {
        const struct m_message *p = &m->messages[i];

        if (!p->retain || stored_from(p) == NEVER || strcmp(p->topic, topic) != 0 ||
            was_replaced(m, s, p, sub))
            continue;
        if (p->is_deletion || p->expiry_s || !fits(s, p) ||
            (p->publisher == s->who && sub->f.no_local) ||
            !model_allowed_since(m, sub->taken, s->users, RIGHT_READ, topic) ||
            !model_allowed_since(m, stored_from(p), p->users, RIGHT_WRITE, topic))
            return; /* rightly nothing, perhaps */
        must |= is_older(s, p, sub);
        if (has_got_since(m, s, p, sub->taken))
            return;
    }
    if (must)
        differ(m->sim, "actor %" PRIu32 " subscribed to %s and never got what is retained on %s",
               s->actor, sub->f.filter, topic);
}

static void check_retained(struct model *m, const struct m_session *s)
{
    for (uint32_t i = 0; i < s->sub_count; i++) {
        struct m_sub *sub = &s->subs[i];
        bool ask = sub->wants_retained;

        sub->wants_retained = false;
        if (!ask || sub->end_taken != NEVER || sub->line != s->line)
            continue;
        for (uint32_t j = 0; j < m->message_count && !m->sim->failed; j++) {
            const struct m_message *p = &m->messages[j];

            if (p->retain && is_older(s, p, sub) && model_matches(sub->f.filter, p->topic))
                check_retained_topic(m, s, sub, p->topic);
        }
    }
}

/* Everything that was taken has had its effect by now. */
static void settle_all(struct model *m)
{
    for (uint32_t i = 0; i < m->will_count; i++) {
        struct m_will *w = &m->wills[i];

        if ((w->state == WILL_SENT || w->state == WILL_DOUBTFUL) &&
            m->sim->now_ms >= w->due_max_ms && m->messages[w->message].t1 == NEVER)
            m->messages[w->message].t1 = m->sim->step;
    }
    for (uint32_t i = 0; i < m->message_count; i++) {
        struct m_message *p = &m->messages[i];

        if (p->t1 == NEVER)
            continue;
        if (p->done == NEVER)
            p->done = m->sim->step;
        if (p->settled == NEVER)
            p->settled = m->sim->step;
    }
}

static void settle_subs(struct model *m, struct m_session *s)
{
    for (uint32_t i = 0; i < s->sub_count; i++) {
        if (s->subs[i].acked == NEVER)
            s->subs[i].acked = m->sim->step;
        if (s->subs[i].end_taken != NEVER && s->subs[i].end_acked == NEVER)
            s->subs[i].end_acked = m->sim->step;
    }
}

/* A will that may or may not have been sent is never owed. */
static void forget_doubtful_wills(struct model *m)
{
    for (uint32_t i = 0; i < m->will_count; i++) {
        if (m->wills[i].state == WILL_DOUBTFUL)
            m->messages[m->wills[i].message].settled = m->messages[m->wills[i].message].done =
                NEVER;
    }
}

void model_rest(struct model *m)
{
    m->sim->step++;
    settle_all(m);
    forget_doubtful_wills(m);
    for (uint32_t i = 0; i < m->session_count && !m->sim->failed; i++) {
        struct m_session *s = m->sessions[i];

        if (s->ended != NEVER)
            continue;
        if (!s->line && s->gone_max_ms != NEVER && m->sim->now_ms >= s->gone_max_ms) {
            session_over(m, s);
            continue;
        }
        if (s->line && s->up_since != NEVER && !s->is_doubtful && !s->is_unknown) {
            check_debts(m, s);
            check_retained(m, s);
        }
        settle_subs(m, s);
    }
    m->rest = m->sim->step++;
}

/* ---- gauges ---- */

bool model_may_be_retained(const struct model *m, const char *topic)
{
    for (uint32_t i = 0; i < m->message_count; i++) {
        const struct m_message *p = &m->messages[i];

        if (p->retain && stored_from(p) != NEVER && !p->is_deletion && strcmp(p->topic, topic) == 0)
            return true;
    }
    return false;
}

/* Whether a message is retained on the topic of message `at`, counted at its first message only;
 * false: it cannot be known. */
static bool count_retained(const struct model *m, uint32_t at, uint64_t *count)
{
    const char *topic = m->messages[at].topic;
    uint32_t kept = 0, deleted = 0;

    for (uint32_t i = 0; i < m->message_count; i++) {
        const struct m_message *p = &m->messages[i];
        bool is_last = p->retain && p->t0 != NEVER && strcmp(p->topic, topic) == 0;

        if (is_last && i < at)
            return true; /* counted already */
        for (uint32_t j = 0; is_last && j < m->message_count; j++) {
            const struct m_message *q = &m->messages[j];

            is_last = !(q->retain && q->t0 != NEVER && strcmp(q->topic, topic) == 0 &&
                        comes_before(p, q));
        }
        if (p->retain && p->t0 == NEVER && p->offered != NEVER && strcmp(p->topic, topic) == 0)
            return false;
        if (!is_last)
            continue;
        if (p->expiry_s || p->settled == NEVER)
            return false;
        kept += !p->is_deletion;
        deleted += p->is_deletion;
    }
    *count += kept > 0;
    return kept == 0 || deleted == 0;
}

bool model_gauges(const struct model *m, struct m_gauges *g)
{
    memset(g, 0, sizeof(*g));
    for (uint32_t i = 0; i < m->session_count; i++) {
        const struct m_session *s = m->sessions[i];

        if (s->ended != NEVER)
            continue;
        if (s->is_doubtful || s->is_unknown || (!s->line && m->sim->now_ms >= s->gone_min_ms))
            return false;
        g->sessions++;
        g->clients += s->line != NULL;
        for (uint32_t j = 0; j < s->sub_count; j++) {
            if (s->subs[j].end_taken == NEVER) {
                g->subscriptions += !is_shared(&s->subs[j].f);
                g->shared_subscriptions += is_shared(&s->subs[j].f);
            }
        }
    }
    for (uint32_t i = 0; i < m->message_count; i++) {
        if (m->messages[i].retain && stored_from(&m->messages[i]) != NEVER &&
            !count_retained(m, i, &g->retained))
            return false;
    }
    return true;
}
