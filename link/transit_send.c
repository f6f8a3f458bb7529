/* link/transit_send.c -- copies of messages, each for clusters that it names. */
#include "core/base/arena.h"
#include "core/base/check.h"
#include "core/mqtt/topic.h"
#include "link/ways.h"

/* Each target once, whatever a way says. */
static void copies_add(struct transit_copies *c, struct bytes target, struct peer *hop)
{
    for (uint32_t i = 0; i < c->count; i++)
        if (bytes_eq(c->v[i].target, target))
            return;
    if (c->count == sizeof(c->v) / sizeof(c->v[0]))
        return;
    c->v[c->count].target = target;
    c->v[c->count++].hop = hop;
}

static bool exports(const struct cfg_link *link, struct bytes topic)
{
    for (uint32_t i = 0; i < link->export_count; i++)
        if (topic_matches(link->exports[i], topic))
            return true;
    return false;
}

/* The copy for all targets that have this hop. NULL: no memory. */
static struct message *copy_for(struct transit *t, const struct publish *p,
                                const struct transit_copies *c, const struct peer *hop,
                                struct bytes passed)
{
    struct publish own = *p;
    uint32_t room = 1 + passed.n + t->host->cluster.n + 1, targets = 0;
    uint8_t *text, *to;
    bool is_plain = true;

    for (uint32_t i = 0; i < c->count; i++)
        if (c->v[i].hop == hop) {
            is_plain &= bytes_eq(c->v[i].target, bytes_str(hop->link->name));
            room += c->v[i].target.n + 1;
            targets++;
        }
    if (is_plain && targets == 1)
        return publish_message(&own, shard_waiting(t->host->shard));
    to = text = arena_alloc(shard_arena(t->host->shard), room);
    if (!text)
        return NULL;
    for (uint32_t i = 0; i < c->count; i++)
        if (c->v[i].hop == hop)
            to = path_put(to, c->v[i].target);
    *to++ = 0;
    to = path_put(bytes_put(to, passed), t->host->cluster);
    own.way = bytes_of(text, (size_t)(to - text));
    return publish_message(&own, shard_waiting(t->host->shard));
}

/* Sends a copy by each hop; returns those hops for which there was no memory. */
static uint64_t send_copies(struct transit *t, const struct publish *p,
                            const struct transit_copies *c, struct bytes passed)
{
    const struct arena_mark mark = arena_mark(shard_arena(t->host->shard));
    uint64_t done = 0, lost = 0;

    for (uint32_t i = 0; i < c->count; i++) {
        struct peer *hop = c->v[i].hop;
        struct message *m;

        if (done >> hop->number & 1)
            continue;
        done |= 1ull << hop->number;
        m = copy_for(t, p, c, hop, passed);
        if (m)
            peer_carry(hop, m);
        else
            lost |= 1ull << hop->number;
        message_release(m);
    }
    arena_rewind(shard_arena(t->host->shard), mark);
    return lost;
}

static uint64_t hops_of(const struct transit_copies *c)
{
    uint64_t hops = 0;

    for (uint32_t i = 0; i < c->count; i++)
        hops |= 1ull << c->v[i].hop->number;
    return hops;
}

static struct peer *peer_named(const struct transit *t, struct bytes name)
{
    for (uint32_t i = 0; i < LINKS_MAX; i++)
        if (t->peers[i] && !t->peers[i]->is_ending &&
            bytes_eq(bytes_str(t->peers[i]->link->name), name))
            return t->peers[i];
    return NULL;
}

/* Whether a cluster has a link without transit, on whatever link worker. */
static bool is_plain(const struct transit *t, struct bytes name)
{
    for (uint32_t i = 0; i < LINKS_MAX; i++)
        if (t->plain[i] && bytes_eq(bytes_str(t->plain[i]), name))
            return true;
    return false;
}

/* Whether a cluster that is a link gets what is published here by that, rather than on a way. */
static bool is_direct(const struct peer *own, const struct way *w, uint64_t wanted)
{
    if (!own || !own->is_on || !(wanted >> own->number & 1))
        return false;
    return !own->transits || !own->is_away || way_is_away(w);
}

uint64_t transit_plan(struct transit *t, const struct publish *p, uint64_t links, uint64_t *direct)
{
    struct transit_copies *c = &t->plan;
    uint64_t hops;

    c->count = 0;
    for (uint64_t left = links & t->numbers; left; left &= left - 1) {
        const struct far *to = t->numbered[(uint32_t)__builtin_ctzll(left) - WAYS_NUMBER_FIRST];
        const struct peer *own = peer_named(t, far_name(to));
        const struct way *w = way_to(to, (struct bytes){0});

        if (!w || is_plain(t, far_name(to)) || is_direct(own, w, links | *direct) ||
            !exports(w->peer->link, p->topic))
            continue;
        copies_add(c, far_name(to), w->peer);
        if (own)
            *direct &= ~(1ull << own->number);
    }
    hops = hops_of(c);
    for (uint64_t left = *direct & hops; left; left &= left - 1) {
        struct peer *hop = t->peers[__builtin_ctzll(left)];

        copies_add(c, bytes_str(hop->link->name), hop);
    }
    *direct &= ~hops;
    return hops;
}

uint64_t transit_send(struct transit *t, const struct publish *p)
{
    return send_copies(t, p, &t->plan, (struct bytes){0});
}

bool transit_is_ours(const struct link_host *host, struct bytes way)
{
    struct bytes targets, passed;

    return way_split(way, &targets, &passed) && path_holds(targets, host->cluster);
}

/* The link by which a message goes on to a cluster; NULL: there is none. */
static struct peer *hop_to(const struct transit *t, struct bytes name, struct bytes passed)
{
    const struct far *c = path_length(passed) < PATH_PASSED_MAX ? far_find(t, name) : NULL;
    const struct way *w = way_to(c, passed);
    struct peer *own;

    if (!w)
        w = way_to(c, (struct bytes){0});
    if (w)
        return w->peer;
    own = peer_named(t, name); /* its routes may be gone, but it may come back */
    return own && own->transits && own->is_on ? own : NULL;
}

/* At a link that blocks, what passes may be as much again as what is ours: to wait for room with it
 * would hold up a cluster that may hold up us. */
static bool lacks_room(struct peer *p)
{
    const struct outstream *out = &p->carrier.out;

    return p->link->on_full == ON_FULL_BLOCK &&
           out->waiting_bytes + out->kept_bytes >= 2 * p->link->queue_bytes;
}

uint32_t transit_pass(struct transit *t, const struct native_record *r, uint32_t *dropped)
{
    struct bytes targets, passed, name;
    struct publish p;
    struct transit_copies c;
    uint64_t lost;

    *dropped = 0;
    c.count = 0;
    if (!way_split(r->way, &targets, &passed))
        return 0;
    while (path_next(&targets, &name)) {
        struct peer *hop;

        if (bytes_eq(name, t->host->cluster))
            continue;
        hop = hop_to(t, name, passed);
        if (hop && exports(hop->link, r->topic) && !lacks_room(hop))
            copies_add(&c, name, hop);
        else
            ++*dropped;
    }
    native_record_publish(r, shard_now_ms(t->host->shard), &p);
    lost = send_copies(t, &p, &c, passed);
    *dropped += (uint32_t)__builtin_popcountll(lost);
    return (uint32_t)__builtin_popcountll(hops_of(&c) & ~lost);
}
