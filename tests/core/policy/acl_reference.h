/* tests/core/policy/acl_reference.h -- an ACL file read and asked in the plainest way.
 *
 * Rules stand in a list; every question goes through all of them, with the names put into patterns
 * as text. For files and names of a few thousand bytes.
 */
#ifndef TESTS_CORE_POLICY_ACL_REFERENCE_H
#define TESTS_CORE_POLICY_ACL_REFERENCE_H

#include <ctype.h>
#include <string.h>

#include "core/base/check.h"
#include "core/base/limits.h"
#include "core/mqtt/topic.h"
#include "core/policy/acl.h"

#define REFERENCE_RULES_MAX 512u
#define REFERENCE_LINE_MAX 4200u
#define REFERENCE_TEXT_MAX (256u << 10)

struct reference_rule {
    bool is_pattern, has_user, reads, writes, denies;
    char *user, *filter;
};

struct reference {
    struct reference_rule rules[REFERENCE_RULES_MAX];
    uint32_t count;
    bool has_user; /* a `user` line was read, and its name */
    char user[REFERENCE_LINE_MAX];
};

struct reference_client {
    const char *user; /* NULL: none */
    const char *id;
};

/* An empty file; and its end. */
static inline void reference_init(struct reference *r)
{
    memset(r, 0, sizeof(*r));
}

/* See reference_init. */
static inline void reference_fini(struct reference *r)
{
    for (uint32_t i = 0; i < r->count; i++) {
        free(r->rules[i].user);
        free(r->rules[i].filter);
    }
    reference_init(r);
}

/* Whether the rest of a `topic` or `pattern` line is right; adds the rule. */
static inline bool reference_rule(struct reference *r, bool is_pattern, char *rest)
{
    struct reference_rule *rule = &r->rules[r->count];
    char *save = NULL, *word = rest ? strtok_r(rest, " ", &save) : NULL, *filter;
    const char *access;

    if (!word)
        return false;
    CHECK(r->count < REFERENCE_RULES_MAX);
    *rule = (struct reference_rule){.is_pattern = is_pattern, .has_user = r->has_user};
    filter = strtok_r(NULL, "", &save);
    while (filter && isspace((unsigned char)*filter))
        filter++;
    access = filter ? word : "readwrite";
    filter = filter ? filter : word;
    rule->reads = strcmp(access, "read") == 0 || strcmp(access, "readwrite") == 0;
    rule->writes = strcmp(access, "write") == 0 || strcmp(access, "readwrite") == 0;
    rule->denies = strcmp(access, "deny") == 0;
    if (!rule->reads && !rule->writes && !rule->denies)
        return false;
    if (!topic_filter_valid(bytes_str(filter), ACL_LEVELS_MAX))
        return false;
    rule->user = strdup(r->user);
    rule->filter = strdup(filter);
    CHECK(rule->user && rule->filter);
    r->count++;
    return true;
}

/* Whether one line is right. */
static inline bool reference_line(struct reference *r, char *line)
{
    char *save = NULL, *word, *rest;
    size_t n = strlen(line);

    while (n > 0 && isspace((unsigned char)line[n - 1]))
        line[--n] = '\0';
    if (line[0] == '#')
        return true;
    word = strtok_r(line, " ", &save);
    if (!word)
        return true;
    rest = strtok_r(NULL, "", &save);
    if (strcmp(word, "topic") == 0 || strcmp(word, "pattern") == 0)
        return reference_rule(r, word[0] == 'p', rest);
    if (strcmp(word, "user") != 0 || !rest)
        return false;
    while (isspace((unsigned char)*rest))
        rest++;
    strcpy(r->user, rest);
    r->has_user = true;
    return *rest != '\0' && utf8_valid(bytes_str(rest));
}

/* Whether the file is right. */
static inline bool reference_read(struct reference *r, struct bytes text)
{
    static char line[REFERENCE_LINE_MAX];

    while (text.n > 0) {
        const uint8_t *end = memchr(text.p, '\n', text.n);
        uint32_t n = end ? (uint32_t)(end - text.p) : text.n;

        CHECK(n < sizeof(line));
        memcpy(line, text.p, n);
        line[n] = '\0';
        if (strlen(line) != n || !reference_line(r, line))
            return false;
        n += end != NULL;
        text = bytes_of(text.p + n, text.n - n);
    }
    return true;
}

/* The filter of a pattern for a client; false: it says nothing to it. */
static inline bool reference_fill(const struct reference_rule *rule,
                                  const struct reference_client *c, char *to)
{
    bool uses_user = strstr(rule->filter, "%u") != NULL;
    bool uses_id = strstr(rule->filter, "%c") != NULL;

    if (uses_user && !c->user)
        return false;
    if (!rule->denies && uses_user && strchr(c->user, '/'))
        return false;
    if (!rule->denies && uses_id && strchr(c->id, '/'))
        return false;
    *to = '\0';
    for (const char *p = rule->filter; *p; p++) {
        size_t n = strlen(to);

        CHECK(n + strlen(c->id) + 2 < REFERENCE_TEXT_MAX);
        if (p[0] == '%' && p[1] == 'c') {
            strcat(to, c->id);
            p++;
        } else if (p[0] == '%' && p[1] == 'u') {
            CHECK(n + strlen(c->user) + 2 < REFERENCE_TEXT_MAX);
            strcat(to, c->user);
            p++;
        } else {
            to[n] = *p;
            to[n + 1] = '\0';
        }
    }
    return true;
}

/* Whether a rule matches a topic. */
static inline bool reference_matches(const struct reference_rule *rule,
                                     const struct reference_client *c, struct bytes topic)
{
    static char text[REFERENCE_TEXT_MAX];

    if (topic.p[0] == '$' && rule->filter[0] != '$')
        return false;
    if (!rule->is_pattern)
        return topic_matches(bytes_str(rule->filter), topic);
    return reference_fill(rule, c, text) && topic_matches(bytes_str(text), topic);
}

/* Whether a `topic` rule is in the list of the client. */
static inline bool reference_is_mine(const struct reference_rule *rule,
                                     const struct reference_client *c)
{
    if (!c->user || !rule->has_user)
        return !c->user && !rule->has_user;
    return strcmp(rule->user, c->user) == 0;
}

/* What one list says: -1 refused, 1 allowed, 0 nothing. */
static inline int reference_ask(const struct reference *r, bool patterns,
                                const struct reference_client *c, enum acl_access access,
                                struct bytes topic)
{
    for (int denies = 1; denies >= 0; denies--) {
        for (uint32_t i = 0; i < r->count; i++) {
            const struct reference_rule *rule = &r->rules[i];

            if (rule->is_pattern != patterns || rule->denies != denies)
                continue;
            if (!patterns && !reference_is_mine(rule, c))
                continue;
            if (!denies && !(access == ACL_READ ? rule->reads : rule->writes))
                continue;
            if (reference_matches(rule, c, topic))
                return denies ? -1 : 1;
        }
    }
    return 0;
}

/* What acl_check must answer. */
static inline bool reference_check(const struct reference *r, const struct reference_client *c,
                                   enum acl_access access, struct bytes topic)
{
    int said = reference_ask(r, false, c, access, topic);

    if (said != 0)
        return said > 0;
    if (strpbrk(c->id, "+#") || (c->user && strpbrk(c->user, "+#")))
        return false;
    return reference_ask(r, true, c, access, topic) > 0;
}

#endif
