/* link/locals.c -- a table, a list, and walks along the list. */
#include "link/locals.h"

#include <stdlib.h>

struct local {
    struct table_node node;
    struct links at;
    uint64_t number; /* grows along the list */
    uint32_t group_n, filter_n;
    uint8_t text[]; /* group, filter */
};

#define LOCAL_OF(l) LINKS_OBJECT(l, struct local, at)
#define WALK_OF(l) LINKS_OBJECT(l, struct locals_walk, at)

/* Where a walk goes on: at a local, or at the end, where the next one will come. */
static void walk_to(const struct locals *all, struct locals_walk *walk, struct links *next)
{
    walk->next = next;
    walk->below = next == &all->all ? all->last + 1 : LOCAL_OF(next)->number;
}

static struct bytes group_of(const struct local *l)
{
    return bytes_of(l->text, l->group_n);
}

static struct bytes filter_of(const struct local *l)
{
    return bytes_of(l->text + l->group_n, l->filter_n);
}

static uint64_t hash_of(const struct locals *all, struct bytes group, struct bytes filter)
{
    return hash_more(&all->key, hash_bytes(&all->key, group), filter);
}

struct local *locals_find(const struct locals *all, struct bytes group, struct bytes filter)
{
    struct table_node *n = table_first(&all->table, hash_of(all, group, filter));

    for (; n; n = table_after(n)) {
        struct local *l = TABLE_OBJECT(n, struct local, node);

        if (bytes_eq(group_of(l), group) && bytes_eq(filter_of(l), filter))
            return l;
    }
    return NULL;
}

struct local *locals_add(struct locals *all, struct bytes group, struct bytes filter)
{
    struct local *l = malloc(sizeof(*l) + group.n + filter.n);

    if (!l)
        return NULL;
    *l = (struct local){.number = all->last + 1, .group_n = group.n, .filter_n = filter.n};
    bytes_put(bytes_put(l->text, group), filter);
    if (!table_insert(&all->table, &l->node, hash_of(all, group, filter))) {
        free(l);
        return NULL;
    }
    all->last++;
    links_append(&all->all, &l->at);
    for (struct links *at = all->walks.next; at != &all->walks; at = at->next)
        if (WALK_OF(at)->next == &all->all)
            walk_to(all, WALK_OF(at), &l->at);
    return l;
}

void locals_remove(struct locals *all, struct local *l)
{
    for (struct links *at = all->walks.next; at != &all->walks; at = at->next)
        if (WALK_OF(at)->next == &l->at)
            walk_to(all, WALK_OF(at), l->at.next);
    table_remove(&all->table, &l->node);
    links_remove(&l->at);
    free(l);
}

/* ---- walks ---- */

void locals_walk_begin(struct locals *all, struct locals_walk *walk)
{
    locals_walk_end(walk);
    links_append(&all->walks, &walk->at);
    walk_to(all, walk, all->all.next);
}

void locals_walk_end(struct locals_walk *walk)
{
    if (!walk->next)
        return;
    links_remove(&walk->at);
    walk->next = NULL;
}

bool locals_walk_on(struct locals *all, struct locals_walk *walk, uint32_t *budget,
                    locals_tell *tell, void *arg)
{
    for (; walk->next && walk->next != &all->all; walk_to(all, walk, walk->next->next), --*budget) {
        const struct local *l = LOCAL_OF(walk->next);

        if (*budget == 0)
            return false;
        tell(arg, group_of(l), filter_of(l));
    }
    locals_walk_end(walk);
    return true;
}

bool locals_walk_knows(const struct locals_walk *walk, const struct local *l)
{
    return !walk->next || l->number < walk->below;
}

/* ---- life ---- */

void locals_init(struct locals *all, const struct hash_key *key)
{
    *all = (struct locals){.key = *key};
    table_init(&all->table);
    links_init(&all->all);
    links_init(&all->walks);
}

void locals_fini(struct locals *all)
{
    for (struct links *l = all->all.next, *next; l != &all->all; l = next) {
        next = l->next;
        free(LOCAL_OF(l));
    }
    table_fini(&all->table);
}
