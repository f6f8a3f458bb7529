/* tests/core/policy/acl_asks.h -- what the tests of the ACL share: a file and questions to it. */
#ifndef TESTS_CORE_POLICY_ACL_ASKS_H
#define TESTS_CORE_POLICY_ACL_ASKS_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/limits.h"
#include "core/policy/acl.h"
#include "tests/support/test.h"

static const struct hash_key key = {{1, 2, 3, 4}};

struct told {
    char text[16384]; /* `LINE: what`, a line each; warnings begin with `w` */
    uint32_t mistakes, warnings;
};

/* Takes down what is told. */
static inline void tell(void *context, bool is_mistake, uint32_t line, const char *what)
{
    struct told *t = context;
    size_t n = strlen(t->text);

    *(is_mistake ? &t->mistakes : &t->warnings) += 1;
    snprintf(t->text + n, sizeof(t->text) - n, "%s%u: %s\n", is_mistake ? "" : "w", line, what);
}

/* Reads a file that is right. */
static inline struct acl *read_acl(const char *text)
{
    struct acl *acl = NULL;
    struct told told = {0};

    assert_int_equal(acl_create(bytes_str(text), &key, tell, &told, &acl), OK);
    assert_int_equal(told.mistakes, 0);
    return acl;
}

/* Reads a file that must be refused. */
static inline void read_wrong(struct bytes text, struct told *told)
{
    struct acl *acl = NULL;

    memset(told, 0, sizeof(*told));
    assert_int_equal(acl_create(text, &key, tell, told, &acl), ERR_PEER);
    assert_null(acl);
    assert_true(told->mistakes > 0);
}

/* A client; `user` NULL: it has no name. */
static inline struct acl_subject subject(struct acl *acl, const char *user, const char *id)
{
    struct acl_subject s;
    struct bytes name = user ? bytes_str(user) : (struct bytes){0};

    acl_subject_init(&s, acl, user ? &name : NULL, bytes_str(id));
    return s;
}

/* One question to a file. `access`: "r" or "w"; `user` NULL: none. */
static inline bool ask(struct acl *acl, const char *user, const char *id, const char *access,
                       const char *topic)
{
    struct acl_subject s = subject(acl, user, id);
    bool is_allowed = acl_check(&s, *access == 'r' ? ACL_READ : ACL_WRITE, bytes_str(topic));

    acl_subject_fini(&s);
    return is_allowed;
}

/* acl_covers for reading. */
static inline bool asks_covers(struct acl *acl, const char *user, const char *id,
                               const char *filter)
{
    struct acl_subject s = subject(acl, user, id);
    bool is_covered = acl_covers(&s, ACL_READ, bytes_str(filter));

    acl_subject_fini(&s);
    return is_covered;
}

/* acl_check_subscribe. */
static inline bool asks_subscribe(struct acl *acl, const char *user, const char *id,
                                  const char *filter)
{
    struct acl_subject s = subject(acl, user, id);
    bool is_accepted = acl_check_subscribe(&s, bytes_str(filter));

    acl_subject_fini(&s);
    return is_accepted;
}

#endif
