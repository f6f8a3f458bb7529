/* core/index/trie.c -- filters with a wildcard: the writer's side.
 *
 * Invariant: a node is complete before it is in the table, where readers find it, and before its
 * parent's `plus` shows it; it is out of both before it is retired. A node without lists and
 * children is removed, and then its parent if that is left with nothing.
 */
#include "core/index/trie.h"
#include "core/index/path.h"
#include "core/index/trie_node.h"
#include "core/mqtt/topic.h"

static const struct bytes plus_level = {(const uint8_t *)"+", 1};

static size_t node_bytes(uint32_t level_n)
{
    return offsetof(struct trie_node, level) + level_n;
}

static void node_init(struct trie_node *n, struct trie_node *parent, uint64_t hash)
{
    n->item.hash = hash;
    n->parent = parent;
    store_relaxed(&n->plus, NULL); /* nobody sees it yet */
    store_relaxed(&n->here, 0);
    store_relaxed(&n->rest, 0);
    store_relaxed(&n->literals, 0);
    n->is_plus = 0;
    n->level_n = 0;
}

enum err trie_init(struct trie *t, const struct hash_key *key, struct reclaim *memory)
{
    t->key = key;
    t->memory = memory;
    t->plus_hash = hash_bytes(key, plus_level);
    t->count = 0;
    t->root = reclaim_alloc(memory, node_bytes(0));
    if (!t->root)
        return ERR_MEMORY;
    node_init(t->root, NULL, PATH_ROOT);
    if (lookup_init(&t->table, memory) == OK)
        return OK;
    reclaim_free(memory, t->root, node_bytes(0));
    return ERR_MEMORY;
}

static _Atomic uint64_t *dests_of(struct trie_node *n, bool is_rest)
{
    return is_rest ? &n->rest : &n->here;
}

void trie_fini(struct trie *t)
{
    uint64_t key = 0;
    struct lookup_item *item;

    dests_drop_all(t->memory, &t->root->rest); /* the root has no `here` */
    while ((item = lookup_after(&t->table, key, UINT32_MAX, &key)) != NULL) {
        struct trie_node *n = (void *)item;

        lookup_remove(&t->table, item);
        dests_drop_all(t->memory, &n->here);
        dests_drop_all(t->memory, &n->rest);
        reclaim_retire(t->memory, n, node_bytes(n->level_n));
    }
    lookup_fini(&t->table);
    reclaim_free(t->memory, t->root, node_bytes(0));
}

static struct trie_node *child_of(const struct trie *t, const struct trie_node *n,
                                  struct bytes level)
{
    struct trie_edge edge = {n, level};
    uint64_t hash = path_hash(n->item.hash, hash_bytes(t->key, level));

    return (void *)lookup_find(&t->table, hash, trie_same_edge, &edge);
}

/* A filter taken apart: the levels before `#`, and whether there is one. */
static bool filter_next(struct bytes *left, bool *first, struct bytes *level, bool *is_rest)
{
    if (!topic_next_level(left, first, level))
        return false;
    *is_rest = level->n == 1 && level->p[0] == '#';
    return !*is_rest;
}

/* Adds a child without lists, for the writer to fill.  NULL: no memory. */
static struct trie_node *child_create(struct trie *t, struct trie_node *parent, struct bytes level)
{
    struct trie_node *n = reclaim_alloc(t->memory, node_bytes(level.n));

    if (!n)
        return NULL;
    node_init(n, parent, path_hash(parent->item.hash, hash_bytes(t->key, level)));
    n->level_n = (uint16_t)level.n;
    n->is_plus = bytes_eq(level, plus_level);
    (void)bytes_put(n->level, level);
    if (lookup_insert(&t->table, &n->item) != OK) {
        reclaim_free(t->memory, n, node_bytes(level.n));
        return NULL;
    }
    /* both pair with load_acquire in trie_match: the child, then the way to it */
    if (n->is_plus)
        store_release(&parent->plus, n);
    else
        store_release(&parent->literals, load_relaxed(&parent->literals) + 1);
    return n;
}

static bool is_needed(const struct trie *t, const struct trie_node *n)
{
    return n == t->root || load_relaxed(&n->plus) || load_relaxed(&n->here) || /* all ours */
           load_relaxed(&n->rest) || load_relaxed(&n->literals);
}

/* Removes a node that is not needed, and what is not needed above it. */
static void prune(struct trie *t, struct trie_node *n)
{
    while (!is_needed(t, n)) {
        struct trie_node *parent = n->parent;

        /* both pair with load_acquire in trie_match */
        if (n->is_plus)
            store_release(&parent->plus, NULL);
        else
            store_release(&parent->literals, load_relaxed(&parent->literals) - 1);
        lookup_remove(&t->table, &n->item);
        reclaim_retire(t->memory, n, node_bytes(n->level_n));
        n = parent;
    }
}

enum err trie_add(struct trie *t, struct bytes filter, struct dest d, bool *is_first)
{
    struct trie_node *n = t->root, *child;
    struct bytes left = filter, level;
    bool first = true, is_rest = false;
    enum err err;

    while (filter_next(&left, &first, &level, &is_rest)) {
        child = child_of(t, n, level);
        if (!child)
            child = child_create(t, n, level);
        if (!child) {
            prune(t, n);
            return ERR_MEMORY;
        }
        n = child;
    }
    *is_first = !load_relaxed(dests_of(n, is_rest)); /* ours */
    err = dests_add(t->memory, dests_of(n, is_rest), d);
    if (err != OK)
        prune(t, n);
    else
        t->count += *is_first;
    return err;
}

/* The node a filter ends in, NULL when there is none. */
static struct trie_node *node_of(const struct trie *t, struct bytes filter, bool *is_rest)
{
    const struct trie_node *n = t->root;
    struct bytes left = filter, level;
    bool first = true;

    while (n && filter_next(&left, &first, &level, is_rest))
        n = child_of(t, n, level);
    return (struct trie_node *)(uintptr_t)n;
}

enum err trie_remove(struct trie *t, struct bytes filter, struct dest d, bool *is_last)
{
    bool is_rest = false;
    struct trie_node *n = node_of(t, filter, &is_rest);
    enum err err = n ? dests_remove(t->memory, dests_of(n, is_rest), d) : ERR_NONE;

    *is_last = err == OK && !load_relaxed(dests_of(n, is_rest)); /* ours */
    if (*is_last) {
        t->count--;
        prune(t, n);
    }
    return err;
}

void trie_find(const struct trie *t, struct bytes filter, struct matches *out)
{
    bool is_rest = false;
    struct trie_node *n = node_of(t, filter, &is_rest);

    if (n)
        dests_collect(dests_of(n, is_rest), out);
}

uint8_t *trie_path(const struct trie *t, const struct trie_node *node, uint8_t *end)
{
    uint8_t *at = end;

    for (const struct trie_node *n = node; n != t->root; n = n->parent) {
        if (n != node)
            *--at = '/';
        at -= n->level_n;
        memcpy(at, n->level, n->level_n);
    }
    return at;
}
