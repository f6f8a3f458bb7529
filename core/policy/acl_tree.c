/* core/policy/acl_tree.c -- the rules of an ACL as a tree by levels.
 *
 * A question is a walk with a text, a topic or a filter, level by level. A node is reached by one
 * way only, so no walk visits a node twice and none is longer than the list of rules, whatever a
 * client sends. The walk calls itself where it branches; it is at most as deep as the deepest rule,
 * ACL_LEVELS_MAX, not as the text.
 *
 * Level by level means: `+` in the text stands for any level, so only a rule's `+` covers it, and
 * every level meets it; `#` in the text is covered by a rule's `#` only, and met by all that is
 * below the node.
 */
#include "core/policy/acl_tree.h"

#include <stdlib.h>

#include "core/base/check.h"
#include "core/base/limits.h"
#include "core/mqtt/topic.h"
#include "core/policy/acl_text.h"

#define NODES_FIRST 16u

/* Two of them in a cache line. In a finished tree a list of rules lies together, by levels, and the
 * children of a node side by side. */
struct acl_node {
    const uint8_t *level;  /* as written */
    uint32_t head;         /* its first bytes, so that most others are told apart without it */
    uint32_t sibling;      /* next in its parent's list; of a root: the number of its list */
    uint32_t literals;     /* children that are plain levels */
    uint32_t others;       /* children that are `+` or hold a placeholder */
    uint16_t level_n;      /* of a root, which has no level: its topics that are walked */
    uint8_t literal_count; /* of children; stays at MANY */
    uint8_t access;        /* rules that end here */
    uint8_t below_hash;    /* rules that end with a `#` behind this level */
    uint8_t all;           /* all rules here and below */
    uint8_t walked;        /* those of them that the table of topics does not know */
    uint8_t flags;
};

_Static_assert(sizeof(struct acl_node) <= 32, "two in a cache line");

enum { IS_TEMPLATE = 1, HAS_TOPICS = 2 /* a root with rules in the table of topics */ };

/* Children that are looked for one by one; more are found by the table, which costs a miss. */
#define MANY 5u
/* Plain topics of a list that are walked to like others; more stand in the table of topics. */
#define WALKED_TOPICS_MAX 4u

struct walk {
    const struct acl_tree *tree;
    const struct acl_subject *s;
    uint32_t root;
    uint8_t bits; /* rules that could still change the answer; 0: it is known */
    uint8_t found;
    bool is_meeting; /* asks what meets the text, not what covers it */
};

/* -------------------------------------------------------------------------------- building --- */

void acl_tree_init(struct acl_tree *t, const struct hash_key *key)
{
    *t = (struct acl_tree){0};
    acl_map_init(&t->children, key);
    acl_map_init(&t->topics, key);
}

void acl_tree_fini(struct acl_tree *t)
{
    acl_map_fini(&t->children);
    acl_map_fini(&t->topics);
    free(t->nodes);
    free(t->roots);
    t->nodes = NULL;
    t->roots = NULL;
    t->node_count = t->node_room = t->list_count = t->list_room = 0;
}

/* The first bytes of a level, as a number. */
static inline uint32_t head_of(struct bytes level)
{
    uint32_t head = 0;

    if (level.n >= sizeof(head))
        memcpy(&head, level.p, sizeof(head));
    else
        for (uint32_t i = 0; i < level.n; i++)
            head = head << 8 | level.p[i];
    return head;
}

/* 0: no memory. */
static uint32_t make_node(struct acl_tree *t, struct bytes level)
{
    if (t->node_count >= t->node_room) {
        uint32_t room = t->node_room ? t->node_room * 2 : NODES_FIRST;
        struct acl_node *nodes = realloc(t->nodes, room * sizeof(*nodes));

        if (!nodes)
            return 0;
        t->nodes = nodes;
        t->node_room = room;
        if (t->node_count == 0)
            nodes[t->node_count++] = (struct acl_node){0}; /* nobody */
    }
    t->nodes[t->node_count] =
        (struct acl_node){.level = level.p, .level_n = (uint16_t)level.n, .head = head_of(level)};
    return t->node_count++;
}

uint32_t acl_tree_list(struct acl_tree *t)
{
    uint32_t root;

    if (t->list_count + 1 >= t->list_room) {
        uint32_t room = t->list_room ? t->list_room * 2 : NODES_FIRST;
        uint32_t *roots = realloc(t->roots, room * sizeof(*roots));

        if (!roots)
            return 0;
        t->roots = roots;
        t->list_room = room;
    }
    root = make_node(t, BYTES_LIT(""));
    if (!root)
        return 0;
    t->roots[0] = 0;
    t->roots[++t->list_count] = root;
    t->nodes[root].sibling = t->list_count;
    return t->list_count;
}

uint32_t acl_tree_root(const struct acl_tree *t, uint32_t list)
{
    return list ? t->roots[list] : 0;
}

static inline struct bytes level_of(const struct acl_node *n)
{
    return bytes_of(n->level, n->level_n);
}

static inline bool level_is(struct bytes level, char wildcard)
{
    return level.n == 1 && level.p[0] == (uint8_t)wildcard;
}

/* The child of `parent` for a level, made if it is not there. 0: no memory. */
static uint32_t child_at(struct acl_tree *t, uint32_t parent, struct bytes level, bool is_pattern)
{
    uint32_t *found = acl_map_at(&t->children, parent, level);
    bool is_template = is_pattern && acl_text_placeholder(level, 0) < level.n;
    struct acl_node *above;
    uint32_t idx, *head;

    if (!found || *found)
        return found ? *found : 0;
    idx = *found = make_node(t, level);
    if (!idx)
        return 0;
    above = &t->nodes[parent];
    head = &above->literals;
    if (is_template || level_is(level, '+'))
        head = &above->others;
    else if (above->literal_count < MANY)
        above->literal_count++;
    t->nodes[idx].flags = is_template ? IS_TEMPLATE : 0;
    t->nodes[idx].sibling = *head;
    *head = idx;
    return idx;
}

/* Puts a plain topic into the table, unless it is one of the first of its list. */
static enum err add_topic(struct acl_tree *t, uint32_t list, struct bytes topic, uint8_t access,
                          bool *is_walked)
{
    struct acl_node *root = &t->nodes[t->roots[list]];
    uint32_t *bits;

    *is_walked = root->level_n < WALKED_TOPICS_MAX;
    if (*is_walked) {
        root->level_n++;
        return OK;
    }
    bits = acl_map_at(&t->topics, list, topic);
    if (!bits)
        return ERR_MEMORY;
    *bits |= access;
    root->flags |= HAS_TOPICS;
    return OK;
}

enum err acl_tree_add(struct acl_tree *t, uint32_t list, struct bytes filter, uint8_t access,
                      bool is_pattern)
{
    bool has_template = is_pattern && acl_text_placeholder(filter, 0) < filter.n;
    bool is_walked = true;
    struct bytes rest = filter, level;
    uint32_t idx = t->roots[list];
    bool first = true;

    if (!has_template && !topic_has_wildcard(filter) &&
        add_topic(t, list, filter, access, &is_walked) != OK)
        return ERR_MEMORY;
    while (topic_next_level(&rest, &first, &level)) {
        if (level_is(level, '#')) {
            t->nodes[idx].below_hash |= access;
            t->nodes[idx].walked |= access;
            return OK;
        }
        idx = child_at(t, idx, level, is_pattern);
        if (!idx)
            return ERR_MEMORY;
    }
    t->nodes[idx].access |= access;
    if (is_walked)
        t->nodes[idx].walked |= access;
    return OK;
}

/* ------------------------------------------------------------------------------- finishing --- */

/* Copies a list of children to `to`, from *next on; answers where it begins. */
static uint32_t move_children(const struct acl_node *from, struct acl_node *to, uint32_t idx,
                              uint32_t *next)
{
    uint32_t first = idx ? *next : 0;

    while (idx) {
        struct acl_node *n = &to[(*next)++];

        *n = from[idx];
        idx = n->sibling;
        n->sibling = idx ? *next : 0;
    }
    return first;
}

/* Puts the nodes in the order in which they are walked. */
static enum err move_nodes(struct acl_tree *t)
{
    struct acl_node *to = malloc(t->node_count * sizeof(*to));
    uint32_t next = 1, at = 1;

    if (!to)
        return ERR_MEMORY;
    to[0] = t->nodes[0];
    for (uint32_t list = 1; list <= t->list_count; list++) {
        to[next] = t->nodes[t->roots[list]];
        t->roots[list] = next++;
        for (; at < next; at++) {
            to[at].literals = move_children(t->nodes, to, to[at].literals, &next);
            to[at].others = move_children(t->nodes, to, to[at].others, &next);
        }
    }
    CHECK(next == t->node_count);
    free(t->nodes);
    t->nodes = to;
    t->node_room = t->node_count;
    return OK;
}

/* Makes the table of children anew, for those that are looked for in it. */
static enum err index_children(struct acl_tree *t)
{
    acl_map_fini(&t->children);
    for (uint32_t i = 1; i < t->node_count; i++) {
        if (t->nodes[i].literal_count < MANY)
            continue;
        for (uint32_t c = t->nodes[i].literals; c; c = t->nodes[c].sibling) {
            uint32_t *at = acl_map_at(&t->children, i, level_of(&t->nodes[c]));

            if (!at)
                return ERR_MEMORY;
            *at = c;
        }
    }
    return OK;
}

static void add_up(struct acl_node *nodes, uint32_t idx, uint32_t child)
{
    for (; child; child = nodes[child].sibling) {
        CHECK(child > idx);
        nodes[idx].all |= nodes[child].all;
        nodes[idx].walked |= nodes[child].walked;
    }
}

/* Lets each node know what is below it: children stand behind their parents. */
static void sum_up(struct acl_tree *t)
{
    for (uint32_t i = t->node_count - 1; i > 0; i--) {
        struct acl_node *n = &t->nodes[i];

        n->all = n->access | n->below_hash;
        add_up(t->nodes, i, n->literals);
        add_up(t->nodes, i, n->others);
    }
}

enum err acl_tree_finish(struct acl_tree *t)
{
    if (t->node_count == 0)
        return OK;
    if (move_nodes(t) != OK)
        return ERR_MEMORY;
    sum_up(t);
    return index_children(t);
}

uint64_t acl_tree_bytes(const struct acl_tree *t)
{
    return (uint64_t)t->node_room * sizeof(*t->nodes) + (uint64_t)t->list_room * sizeof(*t->roots) +
           ((uint64_t)t->children.capacity + t->topics.capacity) * sizeof(*t->topics.slots);
}

/* --------------------------------------------------------------------------------- walking --- */

/* How a level with placeholders stands to a text. */
enum fit { FIT_NOT, FIT_WHOLE, FIT_SPLIT };

/* Whether the text begins with the level, the names put in, and the level ends there; *used: where.
 * FIT_SPLIT: the names were split, so that it may be several levels of the text. */
static enum fit fit_template(const struct acl_subject *s, struct bytes level, struct bytes text,
                             uint32_t *used)
{
    enum fit fit = FIT_WHOLE;
    uint32_t at = 0, done = 0;

    while (at < level.n) {
        uint32_t place = acl_text_placeholder(level, at);
        struct bytes part = bytes_of(level.p + at, place > at ? place - at : 0);

        if (place > at) {
            at = place;
        } else if (level.p[at + 1] == 'c') {
            part = s->client_id;
            fit = s->client_id_is_split ? FIT_SPLIT : fit;
            at += 2;
        } else {
            if (!s->has_user)
                return FIT_NOT;
            part = s->user;
            fit = s->user_is_split ? FIT_SPLIT : fit;
            at += 2;
        }
        if (part.n > 0 && !bytes_begin(bytes_of(text.p + done, text.n - done), part))
            return FIT_NOT;
        done += part.n;
    }
    *used = done;
    return done == text.n || text.p[done] == '/' ? fit : FIT_NOT;
}

/* Whether a level uses a name that is split, and none that is not there. */
static bool uses_split(const struct acl_subject *s, struct bytes level)
{
    bool split = false;

    for (uint32_t at = acl_text_placeholder(level, 0); at < level.n;
         at = acl_text_placeholder(level, at + 2)) {
        bool is_user = level.p[at + 1] == 'u';

        if (is_user && !s->has_user)
            return false;
        split |= is_user ? s->user_is_split : s->client_id_is_split;
    }
    return split;
}

/* Whether a level uses the user name of a client that has none. */
static bool lacks_user(const struct acl_subject *s, struct bytes level)
{
    for (uint32_t at = acl_text_placeholder(level, 0); at < level.n && !s->has_user;
         at = acl_text_placeholder(level, at + 2)) {
        if (level.p[at + 1] == 'u')
            return true;
    }
    return false;
}

/* What is left of a text: the level to be matched and all behind it. */
struct ahead {
    struct bytes text;
    bool has_level; /* false: the text has ended */
    bool split;     /* on the way was a split name */
};

static struct ahead ahead_after(struct ahead a, uint32_t used)
{
    if (used == a.text.n)
        return (struct ahead){.split = a.split};
    a.text = bytes_of(a.text.p + used + 1, a.text.n - used - 1);
    return a;
}

/* Takes rules that fit. After one that grants only a deny matters, and after that nothing. */
static inline void note(struct walk *w, uint8_t access, bool split)
{
    uint8_t fit = access & w->bits & (split ? ACL_DENY : 0xFF);

    w->found |= fit;
    if (fit)
        w->bits &= fit & ACL_DENY ? 0 : ACL_DENY;
}

static inline bool is_worth(const struct walk *w, const struct acl_node *n)
{
    return ((w->is_meeting ? n->all : n->walked) & w->bits) != 0;
}

/* `$` levels of rules and of texts only know each other [MQTT-4.7.2-1]. What counts is how the rule
 * is written: a name in its place changes nothing. */
static inline bool begins_with_dollar(struct bytes b)
{
    return b.n > 0 && *b.p == '$';
}

static void walk(struct walk *w, uint32_t idx, struct ahead a);

static void walk_template(struct walk *w, uint32_t idx, struct ahead a, uint32_t level_n)
{
    const struct acl_node *n = &w->tree->nodes[idx];
    uint32_t used = level_n;
    enum fit fit;

    if (w->is_meeting && uses_split(w->s, level_of(n))) {
        note(w, n->all, true); /* perhaps: a wildcard of the text may stand where the names do */
        return;
    }
    if (w->is_meeting && level_is(bytes_of(a.text.p, level_n), '+'))
        fit = lacks_user(w->s, level_of(n)) ? FIT_NOT : FIT_WHOLE;
    else
        fit = fit_template(w->s, level_of(n), a.text, &used);
    if (fit == FIT_NOT)
        return;
    a.split |= fit == FIT_SPLIT;
    walk(w, idx, ahead_after(a, used));
}

/* Goes on with the children of a list that fit a level, of which `level_n` bytes are at a.text. */
static void walk_list(struct walk *w, uint32_t idx, struct ahead a, uint32_t level_n, bool is_first)
{
    bool is_plus = level_is(bytes_of(a.text.p, level_n), '+');

    for (; idx && w->bits; idx = w->tree->nodes[idx].sibling) {
        const struct acl_node *n = &w->tree->nodes[idx];

        if (!is_worth(w, n))
            continue;
        if (is_first && begins_with_dollar(level_of(n)) != begins_with_dollar(a.text))
            continue;
        if (n->flags & IS_TEMPLATE)
            walk_template(w, idx, a, level_n);
        else if (level_is(level_of(n), '+') || (w->is_meeting && is_plus))
            walk(w, idx, ahead_after(a, level_n));
    }
}

/* The text ends with `#`: what is below the node meets it. */
static void meet_all(struct walk *w, const struct acl_node *n, bool split, bool is_first)
{
    uint32_t lists[] = {n->literals, n->others};

    if (!is_first) {
        note(w, n->all, split);
        return;
    }
    for (int i = 0; i < 2; i++) {
        for (uint32_t c = lists[i]; c; c = w->tree->nodes[c].sibling) {
            if (!begins_with_dollar(level_of(&w->tree->nodes[c])))
                note(w, w->tree->nodes[c].all, split);
        }
    }
}

/* The child that is this plain level; 0: there is none that is worth it. */
static inline uint32_t literal_child(const struct walk *w, uint32_t idx, struct bytes level)
{
    const struct acl_node *nodes = w->tree->nodes;
    const uint32_t *found;
    uint32_t child = 0;

    if (nodes[idx].literal_count >= MANY) {
        found = acl_map_find(&w->tree->children, idx, level);
        child = found ? *found : 0;
    } else {
        uint32_t head = head_of(level);

        for (child = nodes[idx].literals; child; child = nodes[child].sibling) {
            if (nodes[child].head == head && bytes_eq(level_of(&nodes[child]), level))
                break;
        }
    }
    return is_worth(w, &nodes[child]) ? child : 0;
}

/* Goes on from a node with what is ahead. */
static void walk(struct walk *w, uint32_t idx, struct ahead a)
{
    while (idx && w->bits) {
        const struct acl_node *n = &w->tree->nodes[idx];
        bool is_first = idx == w->root;
        const uint8_t *slash;
        struct bytes level;

        if (!is_first || !begins_with_dollar(a.text))
            note(w, n->below_hash, a.split);
        if (!a.has_level) {
            note(w, n->access, a.split);
            return;
        }
        slash = a.text.n ? memchr(a.text.p, '/', a.text.n) : NULL;
        level = slash ? bytes_of(a.text.p, (size_t)(slash - a.text.p)) : a.text;
        if (level_is(level, '#')) {
            if (w->is_meeting)
                meet_all(w, n, a.split, is_first);
            return;
        }
        if (n->others)
            walk_list(w, n->others, a, level.n, is_first);
        if (level_is(level, '+')) {
            if (w->is_meeting)
                walk_list(w, n->literals, a, level.n, is_first);
            return;
        }
        idx = literal_child(w, idx, level);
        a = ahead_after(a, level.n);
    }
}

/* ------------------------------------------------------------------------------- questions --- */

static uint8_t ask(struct walk *w, struct bytes text)
{
    if (is_worth(w, &w->tree->nodes[w->root]))
        walk(w, w->root, (struct ahead){.text = text, .has_level = true});
    return w->found;
}

uint8_t acl_tree_match(const struct acl_tree *t, uint32_t root, const struct acl_subject *s,
                       enum acl_access access, struct bytes topic)
{
    struct walk w = {.tree = t, .s = s, .root = root, .bits = (uint8_t)(access | ACL_DENY)};
    const uint32_t *plain = NULL;

    if (t->nodes[root].flags & HAS_TOPICS)
        plain = acl_map_find(&t->topics, t->nodes[root].sibling, topic);
    if (plain)
        note(&w, (uint8_t)*plain, false);
    return ask(&w, topic);
}

bool acl_tree_covers(const struct acl_tree *t, uint32_t root, const struct acl_subject *s,
                     uint8_t bit, struct bytes filter)
{
    struct walk w = {.tree = t, .s = s, .root = root, .bits = bit};

    return ask(&w, filter) != 0;
}

bool acl_tree_meets(const struct acl_tree *t, uint32_t root, const struct acl_subject *s,
                    uint8_t bit, struct bytes filter)
{
    struct walk w = {.tree = t, .s = s, .root = root, .bits = bit, .is_meeting = true};

    return ask(&w, filter) != 0;
}
