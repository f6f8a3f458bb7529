/* core/index/retain.c -- the tree of retained messages and the cursors that walk it.
 *
 * A node has its siblings in a list; new ones come first in it and nothing else ever moves, so a
 * cursor needs no more than the node it stands on. That node is pinned: it stays in its list when
 * its topic goes, and with it the nodes above. What has no value, no children and no pins is freed.
 *
 * A cursor goes depth first in the order of these lists. A topic that stays keeps its node and its
 * place in the order, and no node is visited twice: so it is seen exactly once.
 */
#include "core/index/retain.h"
#include "core/base/limits.h"
#include "core/index/lookup.h"
#include "core/index/path.h"
#include "core/mqtt/topic.h"

struct retain_node {
    struct lookup_item item;         /* first: a lookup knows nothing else; the hash of the path */
    struct retain_node *parent;      /* NULL: the root */
    struct retain_node *child;       /* the first one */
    struct retain_node *next, *prev; /* siblings */
    void *value;                     /* NULL: no topic ends here */
    uint32_t pins;                   /* cursors that stand here */
    uint16_t level_n;
    uint8_t level[];
};

struct retain {
    struct lookup table; /* all nodes but the root */
    struct reclaim memory;
    const struct hash_key *key;
    struct retain_node *root;
    uint64_t count;
};

static size_t node_bytes(uint32_t level_n)
{
    return offsetof(struct retain_node, level) + level_n;
}

static struct retain_node *node_create(struct retain *r, uint64_t hash, struct bytes level)
{
    struct retain_node *n = reclaim_alloc(&r->memory, node_bytes(level.n));

    if (!n)
        return NULL;
    memset(n, 0, sizeof(*n));
    n->item.hash = hash;
    n->level_n = (uint16_t)level.n;
    (void)bytes_put(n->level, level);
    return n;
}

static void node_free(struct retain *r, struct retain_node *n)
{
    reclaim_free(&r->memory, n, node_bytes(n->level_n));
}

struct retain *retain_create(const struct hash_key *key)
{
    struct retain *r = aligned_alloc(CACHE_LINE, sizeof(*r)); /* its size is a multiple already */

    if (!r)
        return NULL;
    r->memory = (struct reclaim){.epoch = NULL, .bytes_max = UINT64_MAX};
    r->key = key;
    r->count = 0;
    r->root = node_create(r, PATH_ROOT, (struct bytes){0});
    if (!r->root)
        goto no_root;
    if (lookup_init(&r->table, &r->memory) != OK)
        goto no_table;
    return r;
no_table:
    node_free(r, r->root);
no_root:
    free(r);
    return NULL;
}

void retain_destroy(struct retain *r, retain_release_fn *release, void *ctx)
{
    struct lookup_item *item;
    uint64_t key = 0;

    if (!r)
        return;
    while ((item = lookup_after(&r->table, key, UINT32_MAX, &key)) != NULL) {
        struct retain_node *n = (void *)item;

        CHECK(n->pins == 0);
        if (n->value && release)
            release(ctx, n->value);
        lookup_remove(&r->table, item);
        node_free(r, n);
    }
    node_free(r, r->root);
    lookup_fini(&r->table);
    CHECK(r->memory.bytes == 0);
    free(r);
}

void retain_limit(struct retain *r, uint64_t bytes_max)
{
    r->memory.bytes_max = bytes_max;
}

/* ---- topics ---- */

/* Compares from the last level upwards. */
static bool same_path(const struct lookup_item *item, const void *key)
{
    const struct retain_node *n = (const void *)item;
    const struct bytes *topic = key;
    uint32_t left = topic->n;

    for (;;) {
        if (n->level_n > left || memcmp(n->level, topic->p + left - n->level_n, n->level_n) != 0)
            return false;
        left -= n->level_n;
        n = n->parent;
        if (!n->parent)
            return left == 0;
        if (left == 0 || topic->p[--left] != '/')
            return false;
    }
}

static struct retain_node *node_of(const struct retain *r, struct bytes topic)
{
    struct bytes left = topic, level;
    uint64_t hash = PATH_ROOT;
    bool first = true;

    while (topic_next_level(&left, &first, &level))
        hash = path_hash(hash, hash_bytes(r->key, level));
    return (void *)lookup_find(&r->table, hash, same_path, &topic);
}

struct edge {
    const struct retain_node *parent;
    struct bytes level;
};

static bool same_edge(const struct lookup_item *item, const void *key)
{
    const struct retain_node *n = (const void *)item;
    const struct edge *edge = key;

    return n->parent == edge->parent && bytes_eq(bytes_of(n->level, n->level_n), edge->level);
}

static struct retain_node *child_of(const struct retain *r, const struct retain_node *n,
                                    struct bytes level)
{
    struct edge edge = {n, level};
    uint64_t hash = path_hash(n->item.hash, hash_bytes(r->key, level));

    return (void *)lookup_find(&r->table, hash, same_edge, &edge);
}

static struct retain_node *child_create(struct retain *r, struct retain_node *parent,
                                        struct bytes level)
{
    struct retain_node *n =
        node_create(r, path_hash(parent->item.hash, hash_bytes(r->key, level)), level);

    if (!n)
        return NULL;
    n->parent = parent;
    if (lookup_insert(&r->table, &n->item) != OK) {
        node_free(r, n);
        return NULL;
    }
    n->next = parent->child; /* first: a cursor below this parent has it behind itself */
    if (n->next)
        n->next->prev = n;
    parent->child = n;
    return n;
}

/* Frees a node that nobody needs, and what nobody needs above it. */
static void prune(struct retain *r, struct retain_node *n)
{
    while (n->parent && !n->value && !n->child && !n->pins) {
        struct retain_node *parent = n->parent;

        if (n->prev)
            n->prev->next = n->next;
        else
            parent->child = n->next;
        if (n->next)
            n->next->prev = n->prev;
        lookup_remove(&r->table, &n->item);
        node_free(r, n);
        n = parent;
    }
}

/* The node of a topic, with all nodes above it made where they are missing. NULL: no memory. */
static struct retain_node *node_make(struct retain *r, struct bytes topic)
{
    struct retain_node *n = r->root, *child;
    struct bytes left = topic, level;
    bool first = true;

    while (topic_next_level(&left, &first, &level)) {
        child = child_of(r, n, level);
        if (!child)
            child = child_create(r, n, level);
        if (!child) {
            prune(r, n);
            return NULL;
        }
        n = child;
    }
    return n;
}

enum err retain_put(struct retain *r, struct bytes topic, void *value, void **old)
{
    struct retain_node *n = node_of(r, topic);

    CHECK(value);
    if (!n)
        n = node_make(r, topic);
    if (!n)
        return ERR_MEMORY;
    *old = n->value;
    r->count += !n->value;
    n->value = value;
    return OK;
}

void *retain_get(const struct retain *r, struct bytes topic)
{
    const struct retain_node *n = node_of(r, topic);

    return n ? n->value : NULL;
}

void *retain_remove(struct retain *r, struct bytes topic)
{
    struct retain_node *n = node_of(r, topic);
    void *value = n ? n->value : NULL;

    if (value) {
        n->value = NULL;
        r->count--;
        prune(r, n);
    }
    return value;
}

uint64_t retain_count(const struct retain *r)
{
    return r->count;
}

uint64_t retain_bytes(const struct retain *r)
{
    return sizeof(*r) + r->memory.bytes;
}

/* ---- cursors ---- */

static void cursor_move(struct retain_cursor *c, struct retain_node *to)
{
    struct retain_node *from = c->at;

    if (to)
        to->pins++;
    c->at = to;
    if (from) {
        from->pins--;
        prune(c->r, from);
    }
}

enum err retain_cursor_init(struct retain_cursor *c, struct retain *r, struct bytes filter)
{
    struct bytes left = filter, level;
    uint32_t count = 1, at = 0;
    uint8_t *text;
    bool first = true;

    for (uint32_t i = 0; i < filter.n; i++)
        count += filter.p[i] == '/';
    *c = (struct retain_cursor){.r = r, .has_wildcard = topic_has_wildcard(filter)};
    c->level_ends = malloc(count * sizeof(*c->level_ends) + filter.n);
    if (!c->level_ends)
        return ERR_MEMORY;
    text = (uint8_t *)(c->level_ends + count);
    (void)bytes_put(text, filter);
    c->text = text;
    while (topic_next_level(&left, &first, &level)) {
        at += level.n;
        c->level_ends[c->level_count++] = (uint16_t)at++;
    }
    if (filter.n && filter.p[filter.n - 1] == '#') {
        c->has_rest = true;
        c->level_count--;
    }
    cursor_move(c, r->root);
    return OK;
}

void retain_cursor_fini(struct retain_cursor *c)
{
    cursor_move(c, NULL);
    free(c->level_ends);
    c->level_ends = NULL;
}

/* The filter's level that nodes of this depth (from 1) must match. */
static struct bytes filter_level(const struct retain_cursor *c, uint32_t depth)
{
    uint32_t start = depth > 1 ? c->level_ends[depth - 2] + 1u : 0;

    return bytes_of(c->text + start, c->level_ends[depth - 1] - start);
}

/* Whether nodes of this depth (from 1) match whatever they are called. */
static bool is_wild(const struct retain_cursor *c, uint32_t depth)
{
    if (depth > c->level_count)
        return c->has_rest;
    return bytes_eq(filter_level(c, depth), BYTES_LIT("+"));
}

/* Whether a leading wildcard passes by this node [MQTT-4.7.2-1]. */
static bool is_hidden(const struct retain_cursor *c, const struct retain_node *n, uint32_t depth)
{
    return depth == 1 && n->level_n && n->level[0] == '$' && is_wild(c, 1);
}

/* The first child of the cursor's node that can match or lead to a match. */
static struct retain_node *way_down(const struct retain_cursor *c)
{
    if (is_hidden(c, c->at, c->depth))
        return NULL;
    if (is_wild(c, c->depth + 1))
        return c->at->child;
    if (c->depth < c->level_count)
        return child_of(c->r, c->at, filter_level(c, c->depth + 1));
    return NULL;
}

/* Moves to the next node in the order; at the end `at` is NULL. */
static void cursor_step(struct retain_cursor *c)
{
    struct retain_node *n = way_down(c);

    if (n) {
        c->depth++;
        cursor_move(c, n);
        return;
    }
    for (n = c->at; c->depth; c->depth--, n = n->parent) {
        if (is_wild(c, c->depth) && n->next)
            break;
    }
    cursor_move(c, c->depth ? n->next : NULL);
}

static void cursor_emit(struct retain_cursor *c, retain_match_fn *fn, void *ctx)
{
    uint8_t text[TOPIC_BYTES_MAX], *at = text + sizeof(text);

    for (const struct retain_node *n = c->at; n->parent; n = n->parent) {
        if (n != c->at)
            *--at = '/';
        at -= n->level_n;
        memcpy(at, n->level, n->level_n);
    }
    fn(ctx, bytes_of(at, (size_t)(text + sizeof(text) - at)), c->at->value);
}

/* A filter without wildcards is the name of its topic. */
static bool cursor_next_exact(struct retain_cursor *c, retain_match_fn *fn, void *ctx)
{
    struct bytes topic = bytes_of(c->text, c->level_count ? c->level_ends[c->level_count - 1] : 0);
    void *value = retain_get(c->r, topic);

    cursor_move(c, NULL);
    if (value)
        fn(ctx, topic, value);
    return false;
}

bool retain_cursor_next(struct retain_cursor *c, uint32_t budget, retain_match_fn *fn, void *ctx)
{
    if (c->at == c->r->root && !c->has_wildcard && budget)
        return cursor_next_exact(c, fn, ctx);
    for (; c->at && budget; budget--) {
        cursor_step(c);
        if (c->at && c->at->value && c->depth >= c->level_count && !is_hidden(c, c->at, c->depth))
            cursor_emit(c, fn, ctx);
    }
    return c->at;
}
