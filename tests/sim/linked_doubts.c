/* tests/sim/linked_doubts.c -- what links may lose, and what they may bring twice. */
#include "tests/sim/linked.h"

bool judge_is_shaky(const struct linked *l, uint32_t of, uint32_t at)
{
    for (uint32_t i = 0; i < l->count && l->is_transit; i++)
        for (uint32_t j = 0; j < l->count; j++)
            if (l->cluster[i]->is_shaky[j])
                return true;
    return l->cluster[of]->is_shaky[at];
}

/* Whether it may be so by now, though nobody has looked since. */
static bool has_become_shaky(const struct linked *l, uint32_t of, uint32_t at)
{
    for (uint32_t i = 0; i < l->count && l->is_transit; i++)
        for (uint32_t j = 0; j < l->count; j++)
            if (cables_have_expired(l, i, j))
                return true;
    return cables_have_expired(l, of, at);
}

void judge_taken(struct linked *l, uint32_t message)
{
    struct l_message *m = &l->messages[message];
    const struct cluster *at = l->cluster[m->cluster];

    for (uint32_t to = 0; to < l->count; to++) {
        if (to == m->cluster)
            continue;
        m->is_doubtful[to] |=
            judge_is_shaky(l, to, m->cluster) || has_become_shaky(l, to, m->cluster);
        m->is_released[to] |= at->is_releasing[to];
    }
}

bool judge_waits_for(const struct linked *l, const struct l_message *m, uint32_t to)
{
    const struct cfg_link *link = l->cluster[m->cluster]->link[to];

    return link && link->ack == ACK_REMOTE && m->qos && !m->is_will;
}

void judge_link_ended(struct linked *l, uint32_t from, uint32_t to, const struct window *w)
{
    const struct window_ring *r = &w->inflight;

    for (uint32_t i = l->first_unsettled; i < l->message_count; i++) {
        struct l_message *m = &l->messages[i];

        m->is_shaken |= m->qos == 0;
        for (uint32_t other = 0; other < l->count; other++)
            if (m->qos == 0 && (l->is_transit || (other == to && m->cluster == from)))
                m->is_doubtful[other] = true;
    }
    for (uint32_t i = 0; i < r->count; i++) {
        const struct message *record = r->v[(r->head + i) & (r->capacity - 1)];
        uint32_t number = record ? find_mark(message_payload(record)) : NONE;

        if (number < l->message_count)
            l->messages[number].again[to]++;
    }
}

static void repeat(struct linked *l, uint32_t from, uint32_t to)
{
    l->cluster[to]->repeats[from]++;
    for (uint32_t i = 0; i < l->message_count; i++) {
        struct l_message *m = &l->messages[i];

        if (m->cluster == from && (m->settled == NEVER || m->is_late[to]))
            m->again[to]++;
    }
}

void judge_repeat(struct linked *l, uint32_t a, uint32_t b)
{
    repeat(l, a, b);
    repeat(l, b, a);
}

void judge_returned(struct linked *l, uint32_t from, uint32_t to)
{
    repeat(l, from, to);
}

void judge_release(struct linked *l, uint32_t from, uint32_t to)
{
    l->cluster[from]->is_releasing[to] = true;
    for (uint32_t i = l->first_unsettled; i < l->message_count; i++) {
        struct l_message *m = &l->messages[i];

        m->is_released[to] |= m->cluster == from && !m->is_acked;
    }
}

/* Whether a cluster has had a message, because its publisher was acknowledged. */
static bool has_crossed(const struct linked *l, const struct l_message *m, uint32_t to)
{
    return m->is_acked && judge_waits_for(l, m, to) && !m->is_released[to];
}

void judge_restart(struct linked *l, uint32_t cluster)
{
    for (uint32_t i = l->first_unsettled; i < l->message_count; i++)
        for (uint32_t to = 0; to < l->count; to++) {
            struct l_message *m = &l->messages[i];
            bool is_there = has_crossed(l, m, to);

            m->is_shaken = true;
            if (to == cluster || (m->cluster == cluster && !is_there) ||
                (l->is_transit && m->cluster != to && !is_there))
                m->is_doubtful[to] = true;
            if (l->is_transit && to != cluster && m->cluster != cluster)
                m->again[to]++; /* it may have sent it on, and forgotten that it has it */
        }
    for (uint32_t from = 0; from < l->count; from++)
        l->cluster[from]->is_shaky[cluster] = true; /* it knows no routes */
}
