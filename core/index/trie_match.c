/* core/index/trie_match.c -- which filters of the trie match a topic: the readers' side.
 *
 * What costs time is memory that is not in a cache. The hash of a path needs no node, so while a
 * node is on its way, the buckets of the next two literal levels below it are, too; each level then
 * costs the wait for one node, not for a bucket and a node.
 */
#include "core/index/trie.h"
#include "core/index/path.h"
#include "core/index/trie_node.h"

/* A node and its path hash, and those of the literal child below it, and of that one's. */
struct step {
    const struct trie_node *node;
    uint64_t hash, child, grandchild;
    uint32_t depth;
};

struct level {
    uint32_t at, n;
    uint64_t hash;
};

/* Filters have at most TOPIC_LEVELS_MAX levels, and so do the paths of nodes; a topic is looked at
 * one level further, to know that it has not ended there. */
struct search {
    const struct trie *trie;
    struct bytes topic;
    struct matches *out;
    uint32_t level_count; /* taken apart so far */
    uint32_t next_at;     /* where the next level begins; behind the end: there is none */
    uint32_t step_count;
    bool is_large; /* prefetching pays */
    struct level levels[TOPIC_LEVELS_MAX + 1];
    struct step steps[TOPIC_LEVELS_MAX + 1]; /* at most one for each level: `+` beside the way */
};

/* The level at `depth`, which is at most one more than those taken apart; NULL when the topic is
 * shorter. */
static const struct level *level_at(struct search *s, uint32_t depth)
{
    struct level *l = &s->levels[depth];
    const uint8_t *start, *end;

    if (depth < s->level_count)
        return l;
    if (s->next_at > s->topic.n || depth > TOPIC_LEVELS_MAX)
        return NULL;
    start = s->topic.p + s->next_at;
    end = start;
    while (end < s->topic.p + s->topic.n && *end != '/') /* levels are short: no call of memchr */
        end++;
    l->at = s->next_at;
    l->n = (uint32_t)(end - start);
    l->hash = hash_bytes(s->trie->key, bytes_of(start, l->n));
    s->next_at += l->n + 1;
    s->level_count = depth + 1;
    return l;
}

/* The hash of the literal child of a path of `depth` levels; something else when the topic has
 * ended, which nobody will look up. Starts to load its bucket. */
static uint64_t hash_below(struct search *s, uint64_t hash, uint32_t depth)
{
    const struct level *l = depth <= s->level_count ? level_at(s, depth) : NULL;

    if (!l)
        return hash;
    hash = path_hash(hash, l->hash);
    if (s->is_large)
        lookup_prefetch(&s->trie->table, hash);
    return hash;
}

static struct step step_to(struct search *s, const struct trie_node *node, uint64_t hash,
                           uint32_t depth)
{
    struct step to = {.node = node, .hash = hash, .depth = depth};

    to.child = hash_below(s, hash, depth);
    to.grandchild = hash_below(s, to.child, depth + 1);
    return to;
}

/* Puts the child `+` aside for later, and asks for it. */
static void push_plus(struct search *s, const struct step *from)
{
    /* pairs with store_release in child_create and prune */
    const struct trie_node *plus = load_acquire(&from->node->plus);

    if (!plus)
        return;
    __builtin_prefetch(plus);
    s->steps[s->step_count++] =
        step_to(s, plus, path_hash(from->hash, s->trie->plus_hash), from->depth + 1);
}

/* Moves to the literal child. Returns false when there is none. */
static bool go_literal(struct search *s, struct step *at, const struct level *l)
{
    struct trie_edge edge = {at->node, bytes_of(s->topic.p + l->at, l->n)};

    /* pairs with store_release in child_create and prune */
    if (!load_acquire(&at->node->literals))
        return false;
    at->node = (const void *)lookup_find(&s->trie->table, at->child, trie_same_edge, &edge);
    at->depth++;
    at->hash = at->child;
    at->child = at->grandchild;
    at->grandchild = hash_below(s, at->child, at->depth + 1);
    return at->node;
}

/* Follows literal levels from a node as far as they go, leaving the `+` beside them for later. */
static void follow(struct search *s, struct step at)
{
    bool is_hidden = at.depth == 0 && s->topic.n && s->topic.p[0] == '$'; /* [MQTT-4.7.2-1] */
    const struct level *l;

    do {
        if (!is_hidden)
            dests_collect(&at.node->rest, s->out);
        l = level_at(s, at.depth);
        if (!l) {
            dests_collect(&at.node->here, s->out);
            return;
        }
        if (!is_hidden)
            push_plus(s, &at);
        is_hidden = false;
    } while (go_literal(s, &at, l));
}

void trie_match(const struct trie *t, struct bytes topic, struct matches *out)
{
    struct search s; /* not initialised as a whole: only what the topic's depth needs is touched */

    s.trie = t;
    s.topic = topic;
    s.out = out;
    s.level_count = s.next_at = 0;
    s.is_large = lookup_is_large(&t->table);
    s.steps[0] = step_to(&s, t->root, PATH_ROOT, 0);
    s.step_count = 1;
    while (s.step_count && !out->is_cut) {
        struct step next = s.steps[--s.step_count];

        follow(&s, next);
    }
}
