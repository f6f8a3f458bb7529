/* link/covers.c -- a trie of levels, with its nodes in one hash table.
 *
 * A node without children and filters is freed with the last of either, and its parents after it.
 */
#include "link/covers.h"

#include <stdlib.h>

#include "core/base/check.h"
#include "core/mqtt/topic.h"

#define NODE_OF(n) TABLE_OBJECT(n, struct covers_node, item)

static bool is_one(struct bytes level, char c)
{
    return level.n == 1 && level.p[0] == (uint8_t)c;
}

static struct bytes level_of(const struct covers_node *n)
{
    return bytes_of(n + 1, n->level_n);
}

static struct covers_node *child_find(const struct covers *c, const struct covers_node *parent,
                                      struct bytes level)
{
    struct table_node *n;

    if (is_one(level, '+'))
        return parent->plus;
    n = table_first(&c->nodes, hash_more(c->key, parent->item.hash, level));
    for (; n; n = table_after(n))
        if (NODE_OF(n)->parent == parent && bytes_eq(level_of(NODE_OF(n)), level))
            return NODE_OF(n);
    return NULL;
}

static struct covers_node *child_make(struct covers *c, struct covers_node *parent,
                                      struct bytes level)
{
    struct covers_node *n = malloc(sizeof(*n) + level.n);

    if (!n)
        return NULL;
    *n = (struct covers_node){.parent = parent, .level_n = level.n};
    bytes_put((uint8_t *)(n + 1), level);
    if (!table_insert(&c->nodes, &n->item, hash_more(c->key, parent->item.hash, level))) {
        free(n);
        return NULL;
    }
    if (is_one(level, '+'))
        parent->plus = n;
    parent->children++;
    return n;
}

/* Frees what holds nothing any more, from here up. */
static void prune(struct covers *c, struct covers_node *n)
{
    while (n != &c->root && n->children == 0 && !n->here && !n->rest) {
        struct covers_node *parent = n->parent;

        if (parent->plus == n)
            parent->plus = NULL;
        parent->children--;
        table_remove(&c->nodes, &n->item);
        free(n);
        n = parent;
    }
}

bool covers_add(struct covers *c, struct bytes filter, struct cover *place)
{
    struct covers_node *n = &c->root, *child;
    struct bytes rest = filter, level;
    struct cover **end;
    bool first = true, is_rest = false;

    CHECK(!place->node);
    while (topic_next_level(&rest, &first, &level)) {
        is_rest = is_one(level, '#');
        if (is_rest)
            break;
        child = child_find(c, n, level);
        if (!child)
            child = child_make(c, n, level);
        if (!child) {
            prune(c, n);
            return false;
        }
        n = child;
    }
    end = is_rest ? &n->rest : &n->here;
    CHECK(!*end);
    *end = place;
    place->node = n;
    return true;
}

void covers_remove(struct covers *c, struct cover *place)
{
    struct covers_node *n = place->node;

    if (!n)
        return;
    *(n->rest == place ? &n->rest : &n->here) = NULL;
    place->node = NULL;
    prune(c, n);
}

/* ---------------------------------------------------------------------------- the search --- */

/* A node, and what of the filter is to be met below it. */
struct way {
    const struct covers_node *node;
    struct bytes rest;
    bool first; /* for topic_next_level */
};

struct search {
    struct way ways[COVERS_WAITING_MAX];
    uint32_t count;
};

static void search_push(struct search *s, const struct covers_node *node, const struct way *from)
{
    if (node && s->count < COVERS_WAITING_MAX)
        s->ways[s->count++] = (struct way){.node = node, .rest = from->rest, .first = from->first};
}

/* Goes one level on from a node. */
static struct cover *search_step(const struct covers *c, struct search *s, struct way w)
{
    bool is_first = w.node == &c->root;
    struct bytes level;
    bool has_level, is_hidden;

    has_level = topic_next_level(&w.rest, &w.first, &level);
    is_hidden = is_first && has_level && level.n > 0 && level.p[0] == '$';
    if (w.node->rest && !is_hidden)
        return w.node->rest;
    if (!has_level)
        return w.node->here;
    if (w.node->children == 0 || is_one(level, '#'))
        return NULL;
    if (!is_hidden)
        search_push(s, w.node->plus, &w);
    if (!is_one(level, '+'))
        search_push(s, child_find(c, w.node, level), &w);
    return NULL;
}

struct cover *covers_find(const struct covers *c, struct bytes filter)
{
    struct search s;
    struct cover *found = NULL;

    s.count = 1;
    s.ways[0] = (struct way){.node = &c->root, .rest = filter, .first = true};
    for (uint32_t visits = 0; s.count > 0 && !found && visits < COVERS_VISITS_MAX; visits++)
        found = search_step(c, &s, s.ways[--s.count]);
    return found;
}

/* ------------------------------------------------------------------------------ lifetime --- */

void covers_init(struct covers *c, const struct hash_key *key)
{
    *c = (struct covers){.key = key};
    table_init(&c->nodes);
}

void covers_fini(struct covers *c)
{
    struct table_node *n, *next;

    for (uint32_t i = 0; i < c->nodes.bucket_count; i++) {
        for (n = c->nodes.buckets[i]; n; n = next) {
            next = n->next;
            free(NODE_OF(n));
        }
    }
    table_fini(&c->nodes);
}
