/* core/broker/link_groups.c -- shared groups of remote clusters, at the link worker.
 *
 * A link whose shared groups are global brings the names of those that have members over there. For
 * each name there is a record here, with a bit for each link; the group's home is told of them one
 * step at a time, as of a filter (core/session/filters.h), and once more when one of those links
 * has come up, because then what waits at home may leave. A name that no link has any more is
 * forgotten when the home has heard it. What the home sends for a name that is forgotten here, or
 * for a link that is gone, goes back to it: by then it will have heard of that, and finds another.
 *
 * Invariant: while a record is_asking its text is lent, and it stays.
 */
#include "core/base/check.h"
#include "core/broker/state.h"

#include <stdlib.h>

/* Something that is counted in link_routes.open[side]. */
struct wait {
    bool is_open;
    uint8_t side;
};

struct link_group {
    struct table_node node; /* by the name, hashed as a share's */
    struct link_group *todo_next;
    uint64_t links; /* that have members */
    uint64_t told;  /* as the home knows it, or is about to */
    uint16_t home;
    bool is_todo, is_asking;
    bool must_tell;        /* also if nothing has changed */
    struct wait now, next; /* for the answer of the home, and for the one after it */
    uint32_t group_count, filter_count;
    uint8_t *text; /* group, then filter */
};

static struct bytes group_of(const struct link_group *g)
{
    return bytes_of(g->text, g->group_count);
}

static struct bytes filter_of(const struct link_group *g)
{
    return bytes_of(g->text + g->group_count, g->filter_count);
}

/* What a record holds of the memory of the process. */
static int64_t held_bytes(const struct link_group *g)
{
    return (int64_t)(sizeof *g + g->group_count + g->filter_count);
}

/* ---- records ---- */

static struct link_group *find(const struct shard *s, struct bytes group, struct bytes filter,
                               uint64_t hash)
{
    for (struct table_node *n = table_first(&s->link_group_table, hash); n; n = table_after(n)) {
        struct link_group *g = TABLE_OBJECT(n, struct link_group, node);

        if (bytes_eq(group_of(g), group) && bytes_eq(filter_of(g), filter))
            return g;
    }
    return NULL;
}

static struct link_group *create(struct shard *s, struct bytes group, struct bytes filter,
                                 uint64_t hash)
{
    struct link_group *g = slab_alloc(&s->link_groups);

    if (!g)
        return NULL;
    g->text = malloc(group.n + filter.n);
    if (!g->text || !table_insert(&s->link_group_table, &g->node, hash)) {
        free(g->text);
        slab_free(&s->link_groups, g);
        return NULL;
    }
    bytes_put(bytes_put(g->text, group), filter);
    g->group_count = group.n;
    g->filter_count = filter.n;
    g->home = (uint16_t)owner_of_filter(s->cluster, filter, hash_of(s, filter));
    STAT_ADD(&s->stats, filter_bytes_held, held_bytes(g));
    return g;
}

static void forget(struct shard *s, struct link_group *g)
{
    STAT_ADD(&s->stats, filter_bytes_held, -held_bytes(g));
    table_remove(&s->link_group_table, &g->node);
    free(g->text);
    slab_free(&s->link_groups, g);
}

/* ---- telling the home ---- */

static void await(struct shard *s, struct wait *w)
{
    if (!w->is_open)
        *w = (struct wait){true, link_wait_begin(s)};
}

static void settle(struct shard *s, struct wait *w)
{
    if (w->is_open)
        link_wait_end(s, w->side);
    w->is_open = false;
}

/* false: no room now. */
static bool tell(struct shard *s, struct link_group *g)
{
    struct msg_group_links *m =
        mail_post(s->cluster->mail, s->number, g->home, MAIL_REQUEST, sizeof *m);

    if (!m)
        return false;
    *m = (struct msg_group_links){.type = MSG_GROUP_LINKS,
                                  .links = g->links,
                                  .link_group = slab_handle(&s->link_groups, g),
                                  .group_count = g->group_count,
                                  .filter_count = g->filter_count,
                                  .text = g->text,
                                  .hash = g->node.hash};
    g->told = g->links;
    g->must_tell = false;
    g->is_asking = true;
    g->now = g->next;
    g->next.is_open = false;
    return true;
}

static void sync(struct shard *s, struct link_group *g)
{
    if (g->is_asking || g->is_todo)
        return;
    if (g->told != g->links || g->must_tell) {
        if (tell(s, g))
            return;
        g->is_todo = true;
        g->todo_next = s->link_group_todo;
        s->link_group_todo = g;
        return;
    }
    settle(s, &g->next);
    if (!g->links)
        forget(s, g);
}

bool link_groups_run(struct shard *s)
{
    struct link_group *g = s->link_group_todo;

    s->link_group_todo = NULL;
    while (g) {
        struct link_group *next = g->todo_next;

        g->is_todo = false;
        sync(s, g);
        g = next;
    }
    return s->link_group_todo != NULL;
}

void shard_on_group_links_done(struct shard *s, const struct msg_group_links_done *m)
{
    struct link_group *g = slab_at(&s->link_groups, m->link_group);

    CHECK(g && g->is_asking);
    g->is_asking = false;
    if (m->is_refused) /* no memory there: nobody can have it */
        STAT_INC(&s->stats, link_routes_memory);
    settle(s, &g->now);
    sync(s, g);
}

/* ---- the link layer speaks ---- */

enum err shard_link_group(struct shard *s, uint32_t link, struct bytes group, struct bytes filter,
                          bool is_added)
{
    uint64_t hash = hash_of_share(s, group, filter);
    struct link_group *g = find(s, group, filter, hash);

    CHECK(s->is_link && link < LINKS_MAX);
    if (!g && !is_added)
        return OK;
    if (!g) {
        g = create(s, group, filter, hash);
        if (!g)
            return ERR_MEMORY;
    }
    if (is_added)
        g->links |= 1ull << link;
    else
        g->links &= ~(1ull << link);
    if (g->is_asking || g->told != g->links)
        await(s, &g->next);
    sync(s, g);
    return OK;
}

void shard_link_up(struct shard *s, uint32_t link, bool is_up)
{
    uint64_t bit = 1ull << link, up = load_relaxed(&s->links_up);
    struct link_group *g;
    uint32_t slot = 0;

    CHECK(link < LINKS_MAX);
    if (((up & bit) != 0) == is_up)
        return;
    store_relaxed(&s->links_up, up ^ bit); /* a hint: a message then waits in that link's queue */
    while (is_up && (g = slab_next(&s->link_groups, &slot)))
        if (g->links & bit) {
            g->must_tell = true;
            sync(s, g);
        }
}

enum err shard_publish_group(struct shard *s, uint32_t link, struct bytes group,
                             struct bytes filter, struct publish *p)
{
    uint32_t home = owner_of_filter(s->cluster, filter, hash_of(s, filter));
    uint32_t body = p->topic.n + p->props.n + p->payload.n;
    bool has_name = group.n + filter.n <= INLINE_NAME_BYTES_MAX;
    uint32_t name = has_name ? group.n + filter.n : 0;
    struct mail *mail = s->cluster->mail;
    struct publish copy = *p;
    struct msg_group_publish *m;
    uint32_t bytes = (uint32_t)sizeof *m + name + body_bytes_shared(p, true);
    uint8_t *at;

    CHECK(p->group_hops);
    copy.from_link = true;
    if (!mail_room(mail, s->number, home, MAIL_PUBLISH, bytes) ||
        (body > INLINE_BYTES_MAX && !mail_takes(s, home, body)))
        return ERR_FULL;
    if (!body_share(s, &copy))
        return ERR_MEMORY;
    m = mail_post(mail, s->number, home, MAIL_PUBLISH, bytes);
    CHECK(m); /* room was seen */
    *m = (struct msg_group_publish){.type = MSG_GROUP_PUBLISH,
                                    .link = (uint8_t)link,
                                    .group_count = has_name ? (uint16_t)group.n : 0,
                                    .filter_count = has_name ? (uint16_t)filter.n : 0,
                                    .hash = hash_of_share(s, group, filter),
                                    .from_hash = hash_of(s, p->from_id)};
    at = (uint8_t *)(m + 1);
    if (has_name)
        at = bytes_put(bytes_put(at, group), filter);
    body_put(s, home, &m->body, at, &copy, true);
    if (copy.blob != p->blob)
        blob_release(copy.blob);
    return OK;
}

/* ---- a message leaves ---- */

static bool forward(struct shard *s, const struct msg_group_leaves *m, const struct publish *p)
{
    const struct link_group *g = slab_at(&s->link_groups, m->link_group);
    const uint8_t *name = (const uint8_t *)(m + 1);
    struct bytes group = bytes_of(name, m->group_count);
    struct bytes filter = bytes_of(name + m->group_count, m->filter_count);

    if (g) {
        group = group_of(g);
        filter = filter_of(g);
    }
    return group.n && s->hooks.forward_group &&
           s->hooks.forward_group(s->hooks.link, m->link, group, filter, p);
}

/* Nobody can take it there: its home is to find another. */
static void give_back(struct shard *s, uint32_t home, struct handle group, struct publish *p)
{
    struct delivery d = {.group = group, .group_home = (uint16_t)home};

    if (!group.generation) {
        STAT_INC(&s->stats, dropped_session_end); /* it came from a link that is gone */
        return;
    }
    if (!publish_message(p, &s->waiting_bytes)) {
        STAT_INC(&s->stats, dropped_memory);
        return;
    }
    d.message = message_ref(p->message);
    group_take_back(s, &d);
}

void shard_on_group_leaves(struct shard *s, uint32_t from, const struct msg_group_leaves *m)
{
    struct publish p;

    body_get(&p, &m->body, (const uint8_t *)(m + 1) + m->group_count + m->filter_count);
    if (!forward(s, m, &p))
        give_back(s, from, m->group, &p);
    publish_fini(&p);
    body_done(s, &m->body);
}

/* ---- life ---- */

void link_groups_init(struct shard *s)
{
    slab_init(&s->link_groups, sizeof(struct link_group), 1u << 24);
    table_init(&s->link_group_table);
}

void link_groups_fini(struct shard *s)
{
    uint32_t slot = 0;
    struct link_group *g;

    while ((g = slab_next(&s->link_groups, &slot)))
        forget(s, g);
    slab_fini(&s->link_groups);
    table_fini(&s->link_group_table);
}
