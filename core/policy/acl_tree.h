/* core/policy/acl_tree.h -- the rules of an ACL as a tree by levels, and the questions to it.
 *
 * Every list of rules (of a user, of those without a name, the patterns) has a root of its own.
 * Plain topics of a long list also stand in a table of whole topics, and a question about a topic
 * goes down the tree only where other rules are. As in a list a deny goes before all else and of
 * the others the order does not matter, a node needs to know of its rules only the union of their
 * bits.
 *
 * Memory   views into the text of the file, which must outlive the tree.
 * Threads  one while it is built; any once acl_tree_finish has been called.
 */
#ifndef CORE_POLICY_ACL_TREE_H
#define CORE_POLICY_ACL_TREE_H

#include "core/policy/acl.h"
#include "core/policy/acl_map.h"

struct acl_node;

struct acl_tree {
    struct acl_map children; /* (parent, level) -> node; in the end only where there are many */
    struct acl_map topics;   /* (list, topic) -> bits of the rules that are this topic */
    struct acl_node *nodes;  /* 0 is nobody */
    uint32_t *roots;         /* list -> node; list 0 has none */
    uint32_t node_count, node_room;
    uint32_t list_count, list_room;
};

/* An empty tree owns nothing. */
void acl_tree_init(struct acl_tree *t, const struct hash_key *key);
void acl_tree_fini(struct acl_tree *t);

/* A new list of rules: its number. 0: no memory. */
uint32_t acl_tree_list(struct acl_tree *t);
/* Adds a rule with its ACL_ bits to a list; `filter` is a valid one of at most ACL_LEVELS_MAX
 * levels. %c and %u mean something only if `is_pattern`. OK or ERR_MEMORY. */
MUST_USE enum err acl_tree_add(struct acl_tree *t, uint32_t list, struct bytes filter,
                               uint8_t access, bool is_pattern);
/* Makes it ready for questions, after the last rule. OK or ERR_MEMORY. */
MUST_USE enum err acl_tree_finish(struct acl_tree *t);
/* The root of a list, for questions, once the tree is finished; of list 0: 0. */
uint32_t acl_tree_root(const struct acl_tree *t, uint32_t list);

/* In all questions the placeholders stand for the names of `s`. A rule whose placeholder stands for
 * a split name counts only if it denies.
 *
 * What the list says of a topic: ACL_DENY among other bits, `access`, or 0. */
uint8_t acl_tree_match(const struct acl_tree *t, uint32_t root, const struct acl_subject *s,
                       enum acl_access access, struct bytes topic);
/* Whether a rule with the ACL_ bit matches all that `filter`, which has wildcards, matches. Never
 * wrongly true. */
bool acl_tree_covers(const struct acl_tree *t, uint32_t root, const struct acl_subject *s,
                     uint8_t bit, struct bytes filter);
/* Whether a rule with the ACL_ bit matches a part of what `filter` matches. Never wrongly false. */
bool acl_tree_meets(const struct acl_tree *t, uint32_t root, const struct acl_subject *s,
                    uint8_t bit, struct bytes filter);

/* Bytes of memory it holds. */
uint64_t acl_tree_bytes(const struct acl_tree *t);

#endif
