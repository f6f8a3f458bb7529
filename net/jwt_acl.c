/* net/jwt_acl.c -- the claim of a token that says what its client may do. */
#include "net/jwt_acl.h"

#include <string.h>

static struct bytes text_of(const json_t *v)
{
    return bytes_of(json_string_value(v), json_string_length(v));
}

static bool is_word(const json_t *v, const char *word)
{
    return json_is_string(v) && bytes_eq(text_of(v), bytes_str(word));
}

static enum err refuse(const char **why, const char *what)
{
    *why = what;
    return ERR_PEER;
}

/* Adds a rule for one filter. */
static enum err add_filter(struct acl_claim_text *text, const struct acl_claim_rule *like,
                           const json_t *filter, const char **why)
{
    struct acl_claim_rule rule = *like;
    enum err e;

    if (!json_is_string(filter))
        return refuse(why, "a filter in the token's rules is no text");
    rule.filter = text_of(filter);
    e = acl_claim_add(text, &rule);
    if (e == ERR_PEER)
        return refuse(why, "a filter in the token's rules is none, or has a placeholder that is "
                           "not known");
    if (e == ERR_FULL)
        *why = "the token has too many rules";
    return e;
}

static enum err add_filters(struct acl_claim_text *text, const struct acl_claim_rule *like,
                            const json_t *filters, const char **why)
{
    enum err e = OK;

    if (!json_is_array(filters))
        return refuse(why, "the token's rules have filters that are no array");
    for (size_t i = 0; i < json_array_size(filters) && e == OK; i++)
        e = add_filter(text, like, json_array_get(filters, i), why);
    return e;
}

/* ---- what is allowed ---- */

static enum err read_allowed(const json_t *claim, struct acl_claim_text *text, const char **why)
{
    static const struct {
        const char *name;
        uint8_t actions;
    } lists[] = {{"pub", ACL_WRITE}, {"sub", ACL_READ}, {"all", ACL_READ | ACL_WRITE}};
    enum err e = OK;

    acl_claim_begin(text, true);
    for (uint32_t i = 0; i < 3 && e == OK; i++) {
        const struct acl_claim_rule like = {.is_allow = true,
                                            .actions = lists[i].actions,
                                            .qos = ACL_CLAIM_ANY_QOS,
                                            .retain = ACL_CLAIM_ANY_RETAIN};
        const json_t *filters = json_object_get(claim, lists[i].name);

        if (filters)
            e = add_filters(text, &like, filters, why);
    }
    return e;
}

/* ---- rules ---- */

/* The bit of a QoS; 0: it is none. */
static uint8_t qos_of(const json_t *v)
{
    static const char *const names[] = {"0", "1", "2"};

    for (uint8_t qos = 0; qos < 3; qos++) {
        if ((json_is_integer(v) && json_integer_value(v) == qos) || is_word(v, names[qos]))
            return (uint8_t)(1u << qos);
    }
    return 0;
}

/* false: it says no QoS. */
static bool read_qos(const json_t *v, uint8_t *qos)
{
    *qos = ACL_CLAIM_ANY_QOS;
    if (!v)
        return true;
    if (!json_is_array(v)) {
        *qos = qos_of(v);
        return *qos != 0;
    }
    *qos = 0;
    for (size_t i = 0; i < json_array_size(v); i++) {
        uint8_t bit = qos_of(json_array_get(v, i));

        if (!bit)
            return false;
        *qos |= bit;
    }
    return *qos != 0;
}

/* false: it says neither yes nor no. */
static bool read_retain(const json_t *v, uint8_t *retain)
{
    if (!v || is_word(v, "all"))
        *retain = ACL_CLAIM_ANY_RETAIN;
    else if (json_is_true(v) || is_word(v, "true") || is_word(v, "1") ||
             (json_is_integer(v) && json_integer_value(v) == 1))
        *retain = 2;
    else if (json_is_false(v) || is_word(v, "false") || is_word(v, "0") ||
             (json_is_integer(v) && json_integer_value(v) == 0))
        *retain = 1;
    else
        return false;
    return true;
}

/* 0: it is none. */
static uint8_t actions_of(const json_t *v)
{
    if (is_word(v, "publish"))
        return ACL_WRITE;
    if (is_word(v, "subscribe"))
        return ACL_READ;
    return is_word(v, "all") ? ACL_READ | ACL_WRITE : 0;
}

/* Whether all members of a rule are known, so that no condition of it is passed over. */
static bool is_understood(const json_t *rule)
{
    static const char *const members[] = {"permission", "action", "topic",
                                          "topics",     "qos",    "retain"};
    size_t known = 0;

    for (uint32_t i = 0; i < sizeof(members) / sizeof(members[0]); i++)
        known += json_object_get(rule, members[i]) != NULL;
    return json_object_size(rule) == known;
}

static enum err read_rule(const json_t *v, struct acl_claim_text *text, const char **why)
{
    const json_t *topic = json_object_get(v, "topic"), *topics = json_object_get(v, "topics");
    const json_t *permission = json_object_get(v, "permission");
    struct acl_claim_rule rule = {.is_allow = is_word(permission, "allow"),
                                  .actions = actions_of(json_object_get(v, "action"))};

    if (!json_is_object(v))
        return refuse(why, "a rule of the token is no object");
    if (!is_understood(v))
        return refuse(why, "a rule of the token has a member that is not known here");
    if (!rule.is_allow && !is_word(permission, "deny"))
        return refuse(why, "the permission of a rule of the token is neither allow nor deny");
    if (!rule.actions)
        return refuse(why, "the action of a rule of the token is not publish, subscribe or all");
    if (!read_qos(json_object_get(v, "qos"), &rule.qos))
        return refuse(why, "the qos of a rule of the token is none");
    if (!read_retain(json_object_get(v, "retain"), &rule.retain))
        return refuse(why, "the retain of a rule of the token is neither true nor false");
    if (!topic == !topics)
        return refuse(why, "a rule of the token needs a topic or topics, and not both");
    return topic ? add_filter(text, &rule, topic, why) : add_filters(text, &rule, topics, why);
}

static enum err read_rules(const json_t *claim, struct acl_claim_text *text, const char **why)
{
    enum err e = OK;

    acl_claim_begin(text, false);
    for (size_t i = 0; i < json_array_size(claim) && e == OK; i++)
        e = read_rule(json_array_get(claim, i), text, why);
    return e;
}

enum err jwt_acl_read(const json_t *claim, struct acl_claim_text *text, const char **why)
{
    if (json_is_object(claim))
        return read_allowed(claim, text, why);
    if (json_is_array(claim))
        return read_rules(claim, text, why);
    return refuse(why, "the token's rules are neither an object nor an array");
}
