/* core/broker/keep.c -- the way of a retained publish to the owner of its topic, and its stamp.
 *
 * A stamp says which of two retained publishes to a topic is the later one, here and in every
 * cluster that synchronises with us: milliseconds of the wall clock, a count within them, and who
 * stamped, so that no two clusters (but for two whose names have the same few bits: then the values
 * themselves decide, see retained.c) give the same one. Each is later than every other that this
 * process has given or seen: a client that has read a value and then writes is never overtaken by
 * what it has read, however the clocks of clusters differ.
 *
 * A link worker that begins to hear of retained publishes sets its bit and then draws a stamp. Who
 * draws a later one has seen that stamp, and with it the bit: so what a link worker does not hear
 * of has an earlier stamp.
 *
 * Threads  any worker; retained_put runs at the owner.
 */
#include <stdlib.h>

#include "core/base/check.h"
#include "core/broker/state.h"

/* The lower bits of a stamp: who gave it. Above: a count within a millisecond, and milliseconds. */
#define ORIGIN_BITS 12u
#define COUNT_BITS 10u

/* Messages of other clusters that were retained here and wait to be published. Beyond: no more are
 * taken, and the links that bring them wait. */
#define DUE_MAX 1024u

/* ---- stamps ---- */

/* The same in every cluster and every life: the key is fixed. */
static uint64_t origin_of(const char *cluster)
{
    static const struct hash_key fixed = {
        {0x452821E638D01377u, 0xBE5466CF34E90C6Cu, 0xC0AC29B7C97C50DDu, 0x3F84D5B5B5470917u}};

    return hash_bytes(&fixed, bytes_str(cluster)) & ((1u << ORIGIN_BITS) - 1);
}

void stamps_init(struct cluster_state *c)
{
    if (c->config.cluster_name)
        c->retain_origin = origin_of(c->config.cluster_name);
}

/* How a message comes that the cluster of a link retains. */
static enum retain_way way_of(const struct shard *s, uint32_t link, uint64_t stamp)
{
    uint64_t origin = stamp & ((1u << ORIGIN_BITS) - 1);
    enum retain_way way = RETAIN_COMPARED;

    for (uint32_t i = 0; i < s->link_count; i++) {
        if (!s->links[i].name || origin != origin_of(s->links[i].name))
            continue;
        if (i == link)
            return RETAIN_COMPARED;
        way = RETAIN_OF_THIRD;
    }
    return way;
}

static uint64_t draw(struct shard *s)
{
    struct cluster_state *c = s->cluster;
    uint64_t wall = s->wall_ms << COUNT_BITS;
    uint64_t last = load_relaxed(&c->retain_clock), next;

    do {
        next = last < wall ? wall : last + 1;
    } while (!cas_weak_acq_rel(&c->retain_clock, &last, next));
    return next << ORIGIN_BITS | c->retain_origin;
}

/* A stamp of another cluster has come. false: it is too far ahead. */
static bool see(struct shard *s, uint64_t stamp)
{
    uint64_t last = load_relaxed(&s->cluster->retain_clock), time = stamp >> ORIGIN_BITS;

    if (time >> COUNT_BITS > s->wall_ms + RETAINED_AHEAD_MS)
        return false;
    while (last < time && !cas_weak_acq_rel(&s->cluster->retain_clock, &last, time))
        ;
    return true;
}

void shard_retained_feed(struct shard *s)
{
    CHECK(s->is_link);
    (void)or_seq_cst(&s->cluster->retain_feeds, 1ull << s->number);
}

uint64_t shard_retained_changes(const struct shard *s, uint32_t link)
{
    const struct cluster_state *c = s->cluster;
    uint64_t own = load_acquire(&c->retain_changes[link]); /* with the add in compare */

    return load_relaxed(&c->retain_changes_sum) - own;
}

uint64_t shard_retained_stamp(struct shard *s)
{
    return draw(s);
}

/* ---- to the owner ---- */

/* Whose message it is, for a mail. *source: NULL if nobody has to know. */
static enum err pack_source(const struct publish *p, struct retain_source **source)
{
    *source = NULL;
    if (!p->source || !p->payload.n ||
        p->from_link) /* names of another cluster are nobody's here */
        return OK;
    *source = malloc(sizeof **source + p->from_id.n + p->from_user.n);
    if (!*source)
        return ERR_MEMORY;
    **source = (struct retain_source){.kind = p->source,
                                      .id_count = (uint16_t)p->from_id.n,
                                      .user_count = (uint16_t)p->from_user.n};
    bytes_put(bytes_put((*source)->bytes, p->from_id), p->from_user);
    return OK;
}

static enum err post_retain(struct shard *s, struct publish *p, uint32_t owner, enum retain_way way,
                            uint32_t link)
{
    struct retain_source *source;
    struct msg_retain *m;

    if (p->payload.n > INLINE_BYTES_MAX && !mail_takes(s, owner, p->payload.n))
        return ERR_FULL;
    if (!body_share(s, p) || pack_source(p, &source) != OK)
        return ERR_MEMORY;
    m = mail_post(s->cluster->mail, s->number, owner, MAIL_PUBLISH,
                  (uint32_t)sizeof *m + body_bytes(p, false));
    if (!m) {
        free(source);
        return ERR_FULL;
    }
    m->type = MSG_RETAIN;
    m->source = source;
    m->topic_hash = p->topic_hash;
    m->sequence = p->sequence;
    m->way = (uint8_t)way;
    m->link = (uint8_t)link;
    body_put(s, owner, &m->body, (uint8_t *)(m + 1), p, false);
    mail_show(s->cluster->mail, s->number, owner, MAIL_PUBLISH);
    return OK;
}

enum err retain_first(struct shard *s, struct publish *p)
{
    uint32_t owner = owner_of_topic(s->cluster, p->topic_hash);
    enum err err = OK;

    if (!p->from_link || !p->sequence) {
        p->sequence = draw(s);
    } else if (!see(s, p->sequence)) {
        STAT_INC(&s->stats, dropped_retained_ahead);
        return OK;
    }
    if (owner == s->number)
        (void)retained_put(s, p);
    else
        err = post_retain(s, p, owner, RETAIN_LIVE, 0);
    if (err != OK)
        return err;
    fence_full(&s->fence); /* pairs with the one in mail_mark's caller: see the head of route.c */
    return OK;
}

enum err shard_retained_put(struct shard *s, uint32_t link, struct publish *p)
{
    struct publish own = *p;
    uint32_t owner;
    enum err err;

    CHECK(s->is_link && link < LINKS_MAX);
    CHECK(p->retain && p->sequence && !p->message);
    if (!s->limits->retain_available)
        return OK;
    if (!see(s, p->sequence)) {
        STAT_INC(&s->stats, dropped_retained_ahead);
        return ERR_PEER;
    }
    own.from_link = true;
    own.topic_hash = hash_of(s, p->topic);
    owner = owner_of_topic(s->cluster, own.topic_hash);
    err = post_retain(s, &own, owner, way_of(s, link, p->sequence), link);
    if (own.blob != p->blob)
        blob_release(own.blob);
    return err;
}

/* ---- at the owner ---- */

/* What stands for this very publish in the store: its value, or that it was a removal. */
static struct message *kept_of(const struct shard *s, const struct publish *p)
{
    struct message *m = p->payload.n ? retain_get(s->retain, p->topic) : tombs_find(s, p->topic);

    return m && m->sequence == p->sequence ? m : NULL;
}

/* Whether this very publish has changed something before of which nobody was told; it is now. */
static bool take_unsaid(const struct shard *s, const struct publish *p)
{
    struct message *m = kept_of(s, p);
    bool is_unsaid = m && m->is_unsaid;

    if (is_unsaid)
        m->is_unsaid = false;
    return is_unsaid;
}

/* What another cluster retains; what it changes is published when there is room. */
static bool compare(struct shard *s, struct publish *p, const struct msg_retain *by)
{
    struct message *m;
    bool has_changed;

    if (s->due.count >= DUE_MAX)
        return false;
    has_changed = retained_put(s, p);
    if (has_changed) { /* the sum is never behind: at worst an answer begins anew for nothing */
        (void)add_acq_rel(&s->cluster->retain_changes_sum, 1);
        (void)add_acq_rel(&s->cluster->retain_changes[by->link], 1);
    }
    if (by->way == RETAIN_OF_THIRD) {
        m = has_changed ? kept_of(s, p) : NULL;
        if (m)
            m->is_unsaid = true;
        return true;
    }
    if (!take_unsaid(s, p) && !has_changed)
        return true;
    m = publish_message(p, &s->waiting_bytes);
    if (!m) {
        STAT_INC(&s->stats, dropped_memory);
        return true;
    }
    route_publish_later(s, message_ref(m), (struct bytes){0});
    return true;
}

bool shard_on_retain(struct shard *s, const struct msg_retain *m)
{
    struct publish p;
    bool is_done = true;

    body_get(&p, &m->body, (const uint8_t *)(m + 1));
    p.topic_hash = m->topic_hash;
    p.sequence = m->sequence;
    if (m->source) {
        p.source = m->source->kind;
        p.from_id = bytes_of(m->source->bytes, m->source->id_count);
        p.from_user = bytes_of(m->source->bytes + p.from_id.n, m->source->user_count);
    }
    if (m->way != RETAIN_LIVE) {
        is_done = compare(s, &p, m);
    } else {
        (void)retained_put(s, &p);
        if (p.from_link)
            (void)take_unsaid(s, &p);
    }
    publish_fini(&p);
    if (!is_done)
        return false;
    free(m->source);
    body_done(s, &m->body);
    return true;
}
