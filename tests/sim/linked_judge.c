/* tests/sim/linked_judge.c -- what must, may and must not come across links. */
#include "link/barriers.h"
#include "tests/sim/linked.h"

#include <inttypes.h>
#include <string.h>

/* Whether what comes over other links with transit may go from one cluster to another. */
static bool link_passes(const struct linked *l, uint32_t from, uint32_t to)
{
    const struct cfg_link *there = l->cluster[from]->link[to], *here = l->cluster[to]->link[from];

    return there && here && there->transit && here->transit && there->dialect != DIALECT_EMQX &&
           here->dialect != DIALECT_EMQX;
}

static uint32_t cluster_of(const struct linked *l, const struct l_sub *sub)
{
    return l->clients[sub->client]->cluster;
}

/* Whether links with transit lead from one cluster to another, not by those that were `seen`. */
static bool passes(const struct linked *l, uint32_t from, uint32_t to, const char *topic,
                   uint32_t seen)
{
    if (from == to)
        return true;
    for (uint32_t by = 0; by < l->count; by++)
        if (!(seen >> by & 1) && link_passes(l, from, by) && links_must_let(l, from, by, topic) &&
            passes(l, by, to, topic, seen | 1u << by))
            return true;
    return false;
}

/* Whether a message can get to a cluster at all. */
static bool reaches(const struct linked *l, const struct l_message *m, uint32_t cluster)
{
    return m->cluster == cluster || links_must_let(l, m->cluster, cluster, m->topic) ||
           passes(l, m->cluster, cluster, m->topic, 1u << m->cluster);
}

static bool may_reach(const struct linked *l, const struct l_message *m, uint32_t cluster)
{
    return m->cluster == cluster || m->is_late[cluster] ||
           links_may_let(l, m->cluster, cluster, m->topic) ||
           passes(l, m->cluster, cluster, m->topic, 1u << m->cluster);
}

/* Whether a link of `at` to another cluster gave and took nothing since a message was published. */
static bool is_shut(const struct linked *l, const struct l_message *m, uint32_t at, uint32_t to)
{
    return !l->is_transit && at != to && l->cluster[at]->off_since[to] < m->published;
}

/* How many links are between two clusters; `seen`: not by these. */
static uint32_t distance(const struct linked *l, uint32_t from, uint32_t to, uint32_t seen)
{
    uint32_t best = from == to ? 0 : 99;

    for (uint32_t by = 0; from != to && by < l->count; by++) {
        uint32_t rest = 99;

        if (l->cluster[from]->link[by] && !(seen >> by & 1))
            rest = distance(l, by, to, seen | 1u << by);
        best = rest + 1 < best ? rest + 1 : best;
    }
    return best;
}

/* The copies of a message by which so many clusters (a set) get it from one that has it. */
static void expect_copies(struct linked *l, uint32_t at, uint32_t targets, uint32_t passed)
{
    uint32_t by_hop[CLUSTERS_MAX] = {0};

    for (uint32_t to = 0; to < l->count; to++) {
        uint32_t hop = 0, least = 99;

        for (uint32_t by = 0; (targets >> to & 1) && by < l->count; by++)
            if (l->cluster[at]->link[by] && !(passed >> by & 1) &&
                distance(l, by, to, passed | 1u << at | 1u << by) < least) {
                least = distance(l, by, to, passed | 1u << at | 1u << by);
                hop = by;
            }
        by_hop[hop] |= targets & 1u << to;
    }
    for (uint32_t by = 0; by < l->count; by++) {
        if (!by_hop[by])
            continue;
        l->cluster[at]->expected_sent++;
        expect_copies(l, by, by_hop[by] & ~(1u << by), passed | 1u << at);
    }
}

/* ---- publishing ---- */

uint32_t judge_group(struct linked *l, uint32_t cluster, const struct m_filter *f)
{
    uint32_t i = 0;

    if (!f->group[0])
        return NONE;
    while (i < l->group_count && ((l->groups[i].cluster != cluster && !l->is_global) ||
                                  strcmp(l->groups[i].group, f->group) != 0 ||
                                  strcmp(l->groups[i].filter, f->filter) != 0))
        i++;
    if (i == l->group_count) {
        l->groups = must_grow(l->groups, i, &l->group_capacity, sizeof(*l->groups));
        l->groups[i].cluster = cluster;
        strcpy(l->groups[i].group, f->group);
        strcpy(l->groups[i].filter, f->filter);
        l->group_count++;
    }
    l->groups[i].changed = l->sim->step;
    return i;
}

/* Whether a subscription was known where the message was published, before that, and stands. */
static bool is_certain(const struct l_sub *sub, const struct l_message *m)
{
    return (sub->known < m->published || sub->told[m->cluster] < m->published) &&
           sub->end_asked == NEVER && model_matches(sub->f.filter, m->topic);
}

void judge_subscribed(struct linked *l, struct l_sub *sub)
{
    const struct cluster *at = l->cluster[cluster_of(l, sub)];

    sub->acked = l->sim->step;
    if (at->cfg.cluster.suback != SUBACK_LINKED ||
        l->sim->now_ms - sub->asked_ms >= BARRIERS_WAIT_MS)
        return;
    cables_look(l);
    for (uint32_t other = 0; other < l->count; other++)
        if (at->telling[other] < sub->asked)
            sub->told[other] = l->sim->step;
}

void judge_published(struct linked *l, uint32_t message)
{
    struct l_message *m = &l->messages[message];
    uint32_t targets = 0;

    m->published = ++l->sim->step;
    m->published_ms = l->sim->now_ms;
    l->is_expiring |= m->expiry_s != 0;
    for (uint32_t to = 0; to < l->count; to++) {
        bool is_wanted = false;

        if (to == m->cluster)
            continue;
        if (judge_is_shaky(l, to, m->cluster))
            m->is_doubtful[to] = true;
        m->again[to] += l->cluster[to]->repeats[m->cluster];
        for (uint32_t i = 0; i < l->sub_count && !is_wanted; i++)
            is_wanted = cluster_of(l, &l->subs[i]) == to && is_certain(&l->subs[i], m);
        if (!is_wanted || !reaches(l, m, to))
            continue;
        targets |= 1u << to;
        l->cluster[to]->expected_received++;
        if (!l->is_transit)
            l->cluster[m->cluster]->expected_sent++;
    }
    if (l->is_transit && l->is_uniform)
        expect_copies(l, m->cluster, targets, 0);
}

void judge_acked(struct linked *l, uint32_t message, uint8_t reason)
{
    struct l_message *m = &l->messages[message];
    bool may_fail = false;

    for (uint32_t to = 0; to < l->count; to++)
        may_fail |= m->expiry_s && judge_waits_for(l, m, to);
    if (may_fail && reason == REASON_UNSPECIFIED_ERROR)
        return; /* it has expired on the way */
    m->is_acked = true;
    if (reason != 0 && reason != REASON_NO_MATCHING_SUBSCRIBERS)
        differ(l->sim, "message %" PRIu32 " is refused: 0x%02X", message, reason);
    if (m->settled != NEVER)
        return; /* it waited for a link that was off; what is in force now was not then */
    for (uint32_t i = 0; i < l->sub_count && reason; i++) {
        uint32_t to = cluster_of(l, &l->subs[i]);

        if (is_certain(&l->subs[i], m) && reaches(l, m, to) && !m->is_doubtful[to] &&
            !judge_is_shaky(l, to, m->cluster))
            differ(l->sim, "message %" PRIu32 ": 'no subscribers', but %s has one", message,
                   cluster_name(to));
    }
}

/* ---- copies ---- */

/* The count of copies that a life or a group got; a record is made. */
static uint32_t *copies_of(struct linked *l, struct l_message *m, bool is_group, uint32_t of)
{
    struct l_copy *c;

    for (uint32_t i = m->last_copy; i != NONE; i = l->copies[i].previous)
        if (l->copies[i].is_group == is_group && l->copies[i].of == of)
            return &l->copies[i].count;
    l->copies = must_grow(l->copies, l->copy_count, &l->copy_capacity, sizeof(*c));
    c = &l->copies[l->copy_count];
    *c = (struct l_copy){.is_group = is_group, .of = of, .previous = m->last_copy};
    m->last_copy = l->copy_count++;
    return &c->count;
}

struct arrival {
    struct l_client *client;
    uint32_t number;
    struct l_message *m;
    const struct packet_publish *p;
    struct l_sub *subs[16];
    uint32_t sub_count;
};

#define WRONG(a, what)                                                                             \
    differ((a)->client->all->sim, "%s: client %" PRIu32 " gets message %" PRIu32 " of %s: %s",     \
           cluster_name((a)->client->cluster), (a)->client->number, (a)->number,                   \
           (a)->m ? cluster_name((a)->m->cluster) : "nobody", (what))

static bool find_message(struct arrival *a)
{
    struct linked *l = a->client->all;
    uint8_t expected[32768];

    a->number = find_mark(a->p->payload);
    if (a->number >= l->message_count) {
        WRONG(a, "nobody published it");
        return false;
    }
    a->m = &l->messages[a->number];
    mark_payload(expected, a->m->payload_count, a->number);
    if (!bytes_eq(a->p->payload, bytes_of(expected, a->m->payload_count)) ||
        !bytes_eq(a->p->topic, bytes_str(a->m->topic)))
        WRONG(a, "payload or topic are not as published");
    if (a->m->published == NEVER)
        WRONG(a, "its publisher is still connected");
    return !l->sim->failed;
}

/* By which subscriptions it says it came. */
static bool find_subs(struct arrival *a)
{
    struct linked *l = a->client->all;
    struct bytes rest = a->p->props.all;
    uint32_t id;

    while (props_next_subscription_id(&rest, &id) && a->sub_count < 16) {
        struct l_sub *sub = id - 1 < l->sub_count ? &l->subs[id - 1] : NULL;

        if (!sub || sub->life != a->client->life || !model_matches(sub->f.filter, a->m->topic)) {
            WRONG(a, "by a subscription that does not match");
            return false;
        }
        if (sub->end_acked < a->m->published)
            WRONG(a, "the subscription had ended before");
        if (sub->group != NONE && a->sub_count)
            WRONG(a, "by a shared and another subscription at once");
        a->subs[a->sub_count++] = sub;
    }
    if (a->sub_count == 0)
        WRONG(a, "by no subscription");
    return !l->sim->failed;
}

static bool is_replay(const struct arrival *a)
{
    const struct l_sub *sub = a->subs[0];

    return a->p->retain && a->m->retain &&
           (a->m->cluster == a->client->cluster || a->client->all->is_synced) &&
           a->sub_count == 1 && !sub->f.retain_as_published && sub->f.retain_handling == 0 &&
           sub->group == NONE;
}

/* Whether it may have come because it was retained elsewhere, at any time. */
static bool is_synced(const struct arrival *a)
{
    return a->client->all->is_synced && a->m->retain;
}

static void check_flags(struct arrival *a)
{
    uint8_t qos = 0;
    bool has_rap = false, has_plain = false;
    bool has_expiry = a->p->props.present & PROP_BIT(PROP_MESSAGE_EXPIRY);

    for (uint32_t i = 0; i < a->sub_count; i++) {
        qos = a->subs[i]->f.qos > qos ? a->subs[i]->f.qos : qos;
        has_rap |= a->subs[i]->f.retain_as_published;
        has_plain |= !a->subs[i]->f.retain_as_published;
    }
    if (a->p->qos != (qos < a->m->qos ? qos : a->m->qos))
        WRONG(a, "with another QoS");
    if (!has_rap && a->p->retain)
        WRONG(a, "retain is set, and it was not asked for");
    if (!has_plain && a->p->retain != a->m->retain)
        WRONG(a, "retain is not as published");
    if (has_expiry != (a->m->expiry_s != 0) ||
        (has_expiry && a->p->props.message_expiry > a->m->expiry_s))
        differ(a->client->all->sim, "message %" PRIu32 " comes with expiry %" PRIu32 " of %" PRIu32,
               a->number, has_expiry ? a->p->props.message_expiry : 0, a->m->expiry_s);
}

static void check_route(struct arrival *a)
{
    const struct linked *l = a->client->all;
    uint32_t from = a->m->cluster, to = a->client->cluster;

    if (!may_reach(l, a->m, to))
        WRONG(a, "no link takes it there");
    if (!is_synced(a) && is_shut(l, a->m, to, from))
        WRONG(a, "the link takes nothing");
    if (!is_synced(a) && (a->m->is_barred[to] || is_shut(l, a->m, from, to)))
        WRONG(a, "the link gave nothing");
    for (uint32_t i = 0; i < a->sub_count && !is_synced(a) && !a->m->is_late[to]; i++)
        if (a->m->settled < a->subs[i]->asked)
            WRONG(a, "long before the subscription");
}

/* Whether a group certainly had a member where a message was published. */
static bool has_local_member(const struct linked *l, const struct l_message *m, uint32_t group)
{
    for (uint32_t i = 0; i < l->sub_count; i++)
        if (l->subs[i].group == group && cluster_of(l, &l->subs[i]) == m->cluster &&
            is_certain(&l->subs[i], m))
            return true;
    return false;
}

static void check_count(struct arrival *a)
{
    struct linked *l = a->client->all;
    uint32_t group = a->subs[0]->group, to = a->client->cluster;
    uint32_t *count = copies_of(l, a->m, group != NONE, group != NONE ? group : a->client->life);
    uint32_t most = 1 + (a->m->qos && a->m->cluster != to ? a->m->again[to] : 0);

    /* one by another cluster that retains it, and one that waited for a link to be enabled */
    if (is_synced(a) && (a->m->is_late[to] || !reaches(l, a->m, to)))
        most++;

    ++*count;
    if (group != NONE && l->is_global)
        most = 1;
    if (group != NONE && l->groups[group].changed > a->m->published)
        return; /* another member got what one did not acknowledge */
    if (*count > most)
        WRONG(a, group != NONE ? "once too often for its group" : "once too often");
    if (group != NONE && l->is_global && a->client->cluster != a->m->cluster &&
        has_local_member(l, a->m, group))
        WRONG(a, "though its group has a member where it was published");
}

/* The first copies of a publisher, topic and QoS, as published and as delivered, come in order. */
static void check_order(struct arrival *a)
{
    struct l_client *c = a->client;
    uint32_t i = 0;

    if (is_synced(a))
        return;
    if (a->subs[0]->group != NONE || a->m->is_will || *copies_of(c->all, a->m, false, c->life) > 1)
        return;
    if (c->all->is_transit && c->all->shape == SHAPE_RING && !c->all->is_exact)
        return; /* what waits for a link that is down may come behind what goes round */
    if (a->m->cluster != c->cluster && a->m->again[c->cluster])
        return; /* for who subscribed meanwhile, the second copy over the link is the first */
    while (i < c->order_count &&
           (c->orders[i].publisher != a->m->life || c->orders[i].published_qos != a->m->qos ||
            c->orders[i].qos != a->p->qos || strcmp(c->orders[i].topic, a->m->topic) != 0))
        i++;
    if (i == c->order_count) {
        c->orders = must_grow(c->orders, i, &c->order_capacity, sizeof(*c->orders));
        c->orders[i] =
            (struct l_order){.publisher = a->m->life, .published_qos = a->m->qos, .qos = a->p->qos};
        strcpy(c->orders[i].topic, a->m->topic);
        c->order_count++;
    } else if (a->number < c->orders[i].last) {
        WRONG(a, "behind a later one");
    }
    c->orders[i].last = a->number;
}

void judge_delivery(struct l_client *c, const struct packet_publish *p)
{
    struct arrival a = {.client = c, .p = p};

    if (c->all->is_synced && p->payload.n == 0)
        return;
    if (!find_message(&a) || !find_subs(&a))
        return;
    note(c->all->sim, "%s: client %" PRIu32 " gets %" PRIu32 " of %s, QoS %u",
         cluster_name(c->cluster), c->number, a.number, cluster_name(a.m->cluster), p->qos);
    if (is_replay(&a))
        return;
    check_flags(&a);
    check_route(&a);
    check_count(&a);
    check_order(&a);
}

/* ---- quiet ---- */

/* What a link does that is off at a quiet. */
static void judge_off(const struct linked *l, struct l_message *m)
{
    for (uint32_t to = 0; to < l->count; to++) {
        if (to == m->cluster || (link_is_on(l, to, m->cluster) && link_is_on(l, m->cluster, to)))
            continue;
        m->is_late[to] = true;
        m->is_barred[to] |= is_shut(l, m, m->cluster, to);
    }
}

/* Whether the broker certainly has it. */
static bool was_taken(const struct linked *l, const struct l_message *m)
{
    const struct l_client *c = l->clients[m->client];

    if (m->is_will)
        return m->is_acked;
    return m->qos ? m->is_acked : c->life == m->life && c->end;
}

static void judge_missing(struct linked *l, uint32_t number)
{
    struct l_message *m = &l->messages[number];

    for (uint32_t i = 0; i < l->sub_count; i++) {
        const struct l_sub *sub = &l->subs[i];
        uint32_t to = cluster_of(l, sub);
        bool is_group = sub->group != NONE;

        if (!is_certain(sub, m) || !reaches(l, m, to) || m->is_doubtful[to])
            continue;
        if (l->is_transit && m->cluster != to && judge_is_shaky(l, to, m->cluster))
            continue; /* somebody on the way may have forgotten it */
        if (is_group &&
            (l->groups[sub->group].changed > m->published || (l->is_global && m->is_shaken)))
            continue;
        if (*copies_of(l, m, is_group, is_group ? sub->group : sub->life) == 0)
            differ(l->sim, "message %" PRIu32 " (QoS %u, %s) of %s has not come to %s, id %" PRIu32,
                   number, m->qos, m->topic, cluster_name(m->cluster), cluster_name(to), i + 1);
    }
}

/* Whether no cluster has a link to one that has none, and tries. */
static bool is_mutual(const struct linked *l)
{
    bool all = true;

    for (uint32_t i = 0; i < l->count; i++)
        for (uint32_t j = 0; j < l->count; j++)
            all &= i == j || link_is_on(l, i, j) == link_is_on(l, j, i);
    return all;
}

static void judge_counts(struct linked *l, struct cluster *c)
{
    uint64_t sent = WORLD_STAT(c->world, link_messages_sent);
    uint64_t received = WORLD_STAT(c->world, link_messages_received);
    uint64_t dropped = WORLD_STAT(c->world, link_messages_dropped);

    bool is_exact = l->is_exact && !l->is_synced && !l->is_global && is_mutual(l);

    if (is_exact && l->is_uniform && sent - c->sent != c->expected_sent)
        differ(l->sim, "%s sent %" PRIu64 " messages over links, not %" PRIu64,
               cluster_name(c->number), sent - c->sent, c->expected_sent);
    if (is_exact && received - c->received != c->expected_received)
        differ(l->sim, "%s got %" PRIu64 " messages over links, not %" PRIu64,
               cluster_name(c->number), received - c->received, c->expected_received);
    if (dropped != c->dropped && !l->is_expiring && !l->is_dropping &&
        (l->is_exact || !l->is_transit))
        differ(l->sim, "%s dropped %" PRIu64 " messages of links", cluster_name(c->number),
               dropped);
    c->sent = sent;
    c->received = received;
    c->dropped = dropped;
    c->expected_sent = c->expected_received = 0;
    for (uint32_t to = 0; to < l->count; to++)
        c->is_shaky[to] = false;
}

static bool are_all_on(const struct linked *l)
{
    bool all = true;

    for (uint32_t i = 0; i < l->count; i++)
        for (uint32_t j = 0; j < l->count; j++)
            all &= i == j || link_is_on(l, i, j);
    return all;
}

void judge_quiet(struct linked *l)
{
    uint64_t step = ++l->sim->step;

    cables_doubt_silent(l);
    for (uint32_t i = l->first_unsettled; i < l->message_count; i++) {
        struct l_message *m = &l->messages[i];

        if (m->published == NEVER || m->settled != NEVER)
            continue;
        if (was_taken(l, m) &&
            (!m->expiry_s || m->published_ms + m->expiry_s * 1000ull > l->sim->now_ms + 1000))
            judge_missing(l, i);
        judge_off(l, m);
        m->settled = step;
    }
    while (l->first_unsettled < l->message_count &&
           l->messages[l->first_unsettled].settled != NEVER)
        l->first_unsettled++;
    for (uint32_t i = 0; i < l->count; i++)
        judge_counts(l, l->cluster[i]);
    if (l->is_synced && are_all_on(l))
        judge_retained(l);
    links_quiet(l);
    for (uint32_t i = 0; i < l->sub_count; i++)
        if (l->subs[i].acked != NEVER && l->subs[i].known == NEVER)
            l->subs[i].known = step;
    l->is_exact = true;
    l->is_changed = false;
    l->sim->step++;
}
