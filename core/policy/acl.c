/* core/policy/acl.c -- who may read and write what. */
#include "core/policy/acl.h"

#include <stdlib.h>

#include "core/base/atomic.h"
#include "core/base/check.h"
#include "core/base/limits.h"
#include "core/mqtt/topic.h"
#include "core/policy/acl_text.h"
#include "core/policy/acl_tree.h"

struct acl {
    _Atomic uint32_t refs;
    uint8_t apart[CACHE_LINE]; /* nobody writes what follows once it is made */
    uint32_t rule_count;
    struct acl_tree tree;
    struct acl_map users; /* user name -> list of its rules */
    uint32_t nameless;    /* list of the rules for clients without a user name; 0: none */
    uint32_t patterns;    /* list of the patterns; 0: none */
    uint32_t text_n;
    uint8_t text[]; /* of the file; what is above points into it */
};

/* -------------------------------------------------------------------------------- building --- */

static void destroy(struct acl *acl)
{
    acl_tree_fini(&acl->tree);
    acl_map_fini(&acl->users);
    free(acl);
}

static struct acl *create_empty(struct bytes text, const struct hash_key *key)
{
    struct acl *acl = malloc(sizeof(*acl) + text.n);

    if (!acl)
        return NULL;
    *acl = (struct acl){.refs = 1, .text_n = text.n};
    acl_tree_init(&acl->tree, key);
    acl_map_init(&acl->users, key);
    bytes_put(acl->text, text);
    return acl;
}

/* Adds a rule to a list, which is made by its first rule. */
static enum err add_rule(struct acl *acl, uint32_t *list, const struct acl_line *line)
{
    if (!*list)
        *list = acl_tree_list(&acl->tree);
    if (!*list)
        return ERR_MEMORY;
    acl->rule_count++;
    return acl_tree_add(&acl->tree, *list, line->text, line->access,
                        line->kind == ACL_LINE_PATTERN);
}

/* Adds a rule of a user; NULL: of the clients without a name. */
static enum err add_user_rule(struct acl *acl, const struct bytes *user,
                              const struct acl_line *line)
{
    uint32_t *list = user ? acl_map_at(&acl->users, 0, *user) : &acl->nameless;

    return list ? add_rule(acl, list, line) : ERR_MEMORY;
}

static enum err read_all(struct acl *acl, struct acl_text *t)
{
    struct acl_line line;
    struct bytes user;
    bool has_user = false;
    enum err e = OK;

    while (e == OK && acl_text_next(t, &line)) {
        if (line.kind == ACL_LINE_USER) {
            user = line.text;
            has_user = true;
        } else if (t->mistakes) {
            continue; /* the rest is read for its mistakes */
        } else if (line.kind == ACL_LINE_TOPIC) {
            e = add_user_rule(acl, has_user ? &user : NULL, &line);
        } else {
            e = add_rule(acl, &acl->patterns, &line);
        }
    }
    return e == OK ? acl_text_end(t) : e;
}

enum err acl_create(struct bytes text, const struct hash_key *key, acl_tell *tell, void *context,
                    struct acl **out)
{
    struct acl_text t;
    struct acl *acl;
    enum err e;

    if (text.n > ACL_BYTES_MAX) {
        if (tell)
            tell(context, true, 0, "the file is too large");
        return ERR_FULL;
    }
    acl = create_empty(text, key);
    if (!acl)
        return ERR_MEMORY;
    acl_text_begin(&t, bytes_of(acl->text, acl->text_n), tell, context);
    e = read_all(acl, &t);
    if (e == OK)
        e = acl_tree_finish(&acl->tree);
    if (e != OK) {
        destroy(acl);
        return e;
    }
    *out = acl;
    return OK;
}

struct acl *acl_ref(struct acl *acl)
{
    if (acl)
        CHECK(add_relaxed(&acl->refs, 1) > 0); /* the caller holds one, so it cannot go away */
    return acl;
}

void acl_release(struct acl *acl)
{
    /* Pairs with itself: what others did with it is done before the last one frees it. */
    if (acl && sub_acq_rel(&acl->refs, 1) == 1)
        destroy(acl);
}

uint32_t acl_rule_count(const struct acl *acl)
{
    return acl ? acl->rule_count : 0;
}

uint64_t acl_bytes(const struct acl *acl)
{
    if (!acl)
        return 0;
    return sizeof(*acl) + acl->text_n + acl_tree_bytes(&acl->tree) +
           (uint64_t)acl->users.capacity * sizeof(*acl->users.slots);
}

/* -------------------------------------------------------------------------------- subjects --- */

static bool has_any(struct bytes b, const char *of)
{
    for (uint32_t i = 0; i < b.n; i++) {
        if (b.p[i] != '\0' && strchr(of, b.p[i]))
            return true;
    }
    return false;
}

static uint32_t rules_of(const struct acl *acl, const struct bytes *user)
{
    const uint32_t *list = &acl->nameless;

    if (user)
        list = user->p ? acl_map_find(&acl->users, 0, *user) : NULL;
    return list ? acl_tree_root(&acl->tree, *list) : 0;
}

void acl_subject_init(struct acl_subject *s, struct acl *acl, const struct bytes *user,
                      struct bytes client_id)
{
    *s = (struct acl_subject){.acl = acl_ref(acl), .client_id = client_id, .is_open = !acl};
    if (user) {
        s->has_user = true;
        s->user = *user;
    }
    if (acl)
        s->own = rules_of(acl, user);
    s->is_guarded = has_any(s->user, "+#") || has_any(client_id, "+#");
    s->user_is_split = has_any(s->user, "/");
    s->client_id_is_split = has_any(client_id, "/");
}

void acl_subject_fini(struct acl_subject *s)
{
    acl_release(s->acl);
    *s = (struct acl_subject){0};
}

/* ------------------------------------------------------------------------------- questions --- */

/* The patterns; 0: there are none, or the client is refused where it comes to them. */
static uint32_t patterns_for(const struct acl_subject *s)
{
    return s->is_guarded || !s->acl ? 0 : acl_tree_root(&s->acl->tree, s->acl->patterns);
}

bool acl_check(const struct acl_subject *s, enum acl_access access, struct bytes topic)
{
    uint32_t patterns = patterns_for(s);
    uint8_t found = 0;

    if (!s->acl)
        return s->is_open;
    if (s->own)
        found = acl_tree_match(&s->acl->tree, s->own, s, access, topic);
    if (!found && patterns)
        found = acl_tree_match(&s->acl->tree, patterns, s, access, topic);
    return found && !(found & ACL_DENY);
}

/* Whether one list allows all of the filter (*is_known with true) or forbids a part of it. */
static bool list_covers(const struct acl_subject *s, uint32_t root, uint8_t access,
                        struct bytes filter, bool *is_known)
{
    const struct acl_tree *tree = &s->acl->tree;

    *is_known = true;
    if (acl_tree_meets(tree, root, s, ACL_DENY, filter))
        return false;
    if (acl_tree_covers(tree, root, s, access, filter))
        return true;
    *is_known = false;
    return false;
}

bool acl_covers(const struct acl_subject *s, enum acl_access access, struct bytes filter)
{
    bool is_known = false, covers = false;
    uint32_t patterns = patterns_for(s);

    if (!s->acl)
        return s->is_open;
    if (!topic_has_wildcard(filter))
        return acl_check(s, access, filter);
    if (s->own)
        covers = list_covers(s, s->own, (uint8_t)access, filter, &is_known);
    if (!is_known && patterns)
        covers = list_covers(s, patterns, (uint8_t)access, filter, &is_known);
    return covers;
}

/* Whether something in one list lets a part of the filter be read (*is_known with true) or
 * forbids all of it. */
static bool list_meets(const struct acl_subject *s, uint32_t root, struct bytes filter,
                       bool *is_known)
{
    const struct acl_tree *tree = &s->acl->tree;

    *is_known = true;
    if (acl_tree_covers(tree, root, s, ACL_DENY, filter))
        return false;
    if (acl_tree_meets(tree, root, s, ACL_READ, filter))
        return true;
    *is_known = false;
    return false;
}

bool acl_check_subscribe(const struct acl_subject *s, struct bytes filter)
{
    bool is_known = false, meets = false;
    uint32_t patterns = patterns_for(s);

    if (!s->acl)
        return s->is_open;
    if (!topic_has_wildcard(filter))
        return acl_check(s, ACL_READ, filter);
    if (s->own)
        meets = list_meets(s, s->own, filter, &is_known);
    if (!is_known && patterns)
        meets = list_meets(s, patterns, filter, &is_known);
    return meets;
}
