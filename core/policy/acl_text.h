/* core/policy/acl_text.h -- the lines of an ACL file, as mosquitto reads them.
 *
 * Words are separated by blanks only, never by tabs; white space at the end of a line does not
 * count; `#` begins a comment in the first column and nowhere else. The word behind `topic` or
 * `pattern` is the access if another one follows, else it is the filter.
 *
 *     acl_text_begin(&t, text, tell, context);
 *     while (acl_text_next(&t, &line))
 *         ...
 *     e = acl_text_end(&t);
 *
 * Threads  any; a reader belongs to its caller. Views point into the text.
 */
#ifndef CORE_POLICY_ACL_TEXT_H
#define CORE_POLICY_ACL_TEXT_H

#include "core/policy/acl.h"

/* Beside ACL_READ and ACL_WRITE. */
#define ACL_DENY 4u

enum acl_line_kind { ACL_LINE_USER, ACL_LINE_TOPIC, ACL_LINE_PATTERN };

/* A line that says something. */
struct acl_line {
    enum acl_line_kind kind;
    uint8_t access;    /* of a rule: ACL_READ, ACL_WRITE, both, or ACL_DENY */
    struct bytes text; /* the user name, or the filter: a valid one */
};

struct acl_text {
    struct bytes rest;
    uint32_t line; /* number of the line last read */
    uint32_t rules;
    uint32_t mistakes, warnings;
    bool is_full; /* more rules than there may be */
    acl_tell *tell;
    void *context;
};

/* Starts to read. `tell` may be NULL. */
void acl_text_begin(struct acl_text *t, struct bytes text, acl_tell *tell, void *context);

/* The next line that says something; the mistakes before it are told. False: that was all, or more
 * rules than ACL_RULES_MAX follow. */
bool acl_text_next(struct acl_text *t, struct acl_line *line);

/* How it went, after the last line: OK, ERR_PEER (mistakes), ERR_FULL (too many rules). Tells how
 * much was not told. */
MUST_USE enum err acl_text_end(struct acl_text *t);

/* The next `%c` or `%u` of a pattern at or after `at`; text.n: none is left. */
uint32_t acl_text_placeholder(struct bytes text, uint32_t at);

#endif
