/* core/broker/group_links.c -- remote clusters that have members of a group, at the group's home.
 *
 * Each link worker says which of its links have members (core/broker/link_groups.c on the other
 * side); whether a link is up stands in a word of the link worker's that everybody reads. A message
 * goes to the link worker that has said so, with its own handle for the group's name.
 */
#include "core/base/check.h"
#include "core/broker/group.h"

#include <stdlib.h>

/* ---- choosing one ---- */

/* The links whose clusters have members, as far as they are up. */
static uint64_t links_of(const struct shard *s, const struct group *g, bool only_up)
{
    uint64_t links = 0;

    for (uint32_t i = 0; i < g->abroad_count; i++) {
        const struct group_links *l = &g->abroad[i];
        uint64_t up = load_relaxed(&s->cluster->shards[l->worker]->links_up);

        links |= only_up ? l->links & up : l->links;
    }
    return links;
}

/* The one behind the one chosen last. */
static uint32_t next_link(const struct group *g, uint64_t links)
{
    uint64_t behind = links & ~((2ull << g->last_link) - 1);

    return (uint32_t)__builtin_ctzll(behind ? behind : links);
}

static const struct group_links *worker_of(const struct group *g, uint32_t link)
{
    uint32_t i = 0;

    while (!(g->abroad[i].links >> link & 1))
        i++;
    return &g->abroad[i];
}

static bool may_leave(const struct group *g, const struct publish *p)
{
    if (!p->from_link)
        return true;
    return p->group_hops && p->group_hops < GROUP_HOPS_MAX && g->count == 0;
}

static enum err post(struct shard *s, struct group *g, uint32_t link, struct publish *p)
{
    const struct group_links *l = worker_of(g, link);
    struct mail *mail = s->cluster->mail;
    struct msg_group_leaves *m;
    uint32_t bytes = (uint32_t)sizeof *m + body_bytes_shared(p, true);

    if (!mail_room(mail, s->number, l->worker, MAIL_GROUP, bytes))
        return ERR_FULL;
    if (!body_share(s, p))
        return ERR_MEMORY;
    m = mail_post(mail, s->number, l->worker, MAIL_GROUP, bytes);
    CHECK(m); /* room was seen */
    *m = (struct msg_group_leaves){.type = MSG_GROUP_LEAVES,
                                   .link = (uint8_t)link,
                                   .link_group = l->link_group,
                                   .group = slab_handle(&s->groups, g)};
    body_put(s, l->worker, &m->body, (uint8_t *)(m + 1), p, true);
    return OK;
}

enum err group_leaves(struct shard *s, struct group *g, struct publish *p, uint64_t avoid)
{
    struct publish copy = *p;
    uint64_t links;
    uint32_t link;
    enum err err;

    copy.owed = NULL; /* nobody is acknowledged for the sake of a group */
    if (!may_leave(g, p))
        return ERR_NONE;
    links = links_of(s, g, true) & ~avoid;
    if (!links && g->count == 0)
        links = links_of(s, g, false) & ~avoid;
    if (!links)
        return ERR_NONE;
    link = next_link(g, links);
    err = post(s, g, link, &copy);
    if (err == OK)
        g->last_link = (uint8_t)link;
    if (copy.blob != p->blob)
        blob_release(copy.blob);
    return err;
}

enum err group_returns(struct shard *s, uint32_t from, const struct msg_group_publish *m,
                       struct publish *p)
{
    uint32_t name = (uint32_t)m->group_count + m->filter_count;
    struct mail *mail = s->cluster->mail;
    struct publish copy = *p;
    struct msg_group_leaves *to;
    uint32_t bytes = (uint32_t)sizeof *to + name + body_bytes_shared(p, true);

    if (!name || p->group_hops >= GROUP_HOPS_MAX) {
        STAT_INC(&s->stats, dropped_session_end); /* its last member has left meanwhile */
        return OK;
    }
    if (!mail_room(mail, s->number, from, MAIL_GROUP, bytes))
        return ERR_FULL;
    if (!body_share(s, &copy))
        return ERR_MEMORY;
    to = mail_post(mail, s->number, from, MAIL_GROUP, bytes);
    CHECK(to); /* room was seen */
    *to = (struct msg_group_leaves){.type = MSG_GROUP_LEAVES,
                                    .link = m->link,
                                    .group_count = m->group_count,
                                    .filter_count = m->filter_count};
    body_put(s, from, &to->body, bytes_put((uint8_t *)(to + 1), bytes_of(m + 1, name)), &copy,
             true);
    if (copy.blob != p->blob)
        blob_release(copy.blob);
    return OK;
}

/* ---- a link worker speaks ---- */

static struct group_links *find_worker(const struct group *g, uint32_t worker)
{
    for (uint32_t i = 0; i < g->abroad_count; i++)
        if (g->abroad[i].worker == worker)
            return &g->abroad[i];
    return NULL;
}

static struct group_links *add_worker(struct shard *s, struct group *g)
{
    struct group_links *v = realloc(g->abroad, (g->abroad_count + 1) * sizeof *v);

    if (!v)
        return NULL;
    g->abroad = v;
    if (g->abroad_count == 0)
        add_relaxed(&s->cluster->global_groups, 1);
    return &v[g->abroad_count++];
}

static void remove_worker(struct shard *s, struct group *g, struct group_links *l)
{
    *l = g->abroad[--g->abroad_count];
    if (g->abroad_count == 0)
        add_relaxed(&s->cluster->global_groups, (uint32_t)-1);
}

/* false: no memory. */
static bool set_links(struct shard *s, uint32_t from, const struct msg_group_links *m)
{
    struct bytes text = bytes_of(m->text, m->group_count + m->filter_count);
    struct group *g = group_find(s, text, m->group_count, m->hash, m->links != 0);
    struct group_links *l = g ? find_worker(g, from) : NULL;

    if (!g)
        return m->links == 0;
    if (!l && m->links)
        l = add_worker(s, g);
    if (l && m->links)
        *l = (struct group_links){m->links, m->link_group, (uint16_t)from};
    else if (l)
        remove_worker(s, g, l);
    group_look(s, g);
    return l || !m->links;
}

bool shard_on_group_links(struct shard *s, uint32_t from, const struct msg_group_links *m)
{
    struct msg_group_links_done *to;

    if (m->links && partition_is_full(s))
        return false; /* what was taken away is freed first */
    to = mail_post(s->cluster->mail, s->number, from, MAIL_ANSWER, sizeof *to);
    if (!to)
        return false;
    *to = (struct msg_group_links_done){.type = MSG_GROUP_LINKS_DONE,
                                        .link_group = m->link_group,
                                        .is_refused = !set_links(s, from, m)};
    return true;
}
