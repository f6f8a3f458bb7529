/* tests/core/policy/test_acl_claim.c -- the rules that a token brings for its own client. */
#include "core/policy/acl_claim.h"

#include <stdlib.h>
#include <string.h>

#include "tests/support/test.h"

#define PUB ACL_WRITE
#define SUB ACL_READ
#define ALL (ACL_READ | ACL_WRITE)
#define ALLOW true
#define DENY false

static struct acl_claim_text text;

static enum err add_if(bool is_allow, int actions, uint8_t qos, uint8_t retain, const char *filter)
{
    struct acl_claim_rule rule = {.is_allow = is_allow,
                                  .actions = (uint8_t)actions,
                                  .qos = qos,
                                  .retain = retain,
                                  .filter = bytes_str(filter)};

    return acl_claim_add(&text, &rule);
}

static void add(bool is_allow, int actions, const char *filter)
{
    assert_int_equal(add_if(is_allow, actions, ACL_CLAIM_ANY_QOS, ACL_CLAIM_ANY_RETAIN, filter),
                     OK);
}

/* The rules so far, for a client; NULL: it must not be let in. */
static struct acl_claim *bind_for(const char *user, const char *client_id)
{
    struct bytes name = bytes_str(user ? user : "");
    struct acl_claim *c = NULL;
    const char *why = NULL;
    enum err e =
        acl_claim_bind(acl_claim_text(&text), user ? &name : NULL, bytes_str(client_id), &c, &why);

    assert_int_equal(e == OK, why == NULL);
    assert_int_equal(e == OK, c != NULL);
    return c;
}

/* For questions: 'A' allow, 'D' deny, '-' neither. */
static char letter(enum acl_claim_verdict v)
{
    return v == ACL_CLAIM_ALLOW ? 'A' : v == ACL_CLAIM_DENY ? 'D' : '-';
}

static char pub(const struct acl_claim *c, const char *topic)
{
    return letter(acl_claim_publish(c, bytes_str(topic), 1, false));
}

static char sub(const struct acl_claim *c, const char *filter)
{
    return letter(acl_claim_subscribe(c, bytes_str(filter), 1));
}

static char got(const struct acl_claim *c, const char *topic)
{
    return letter(acl_claim_read(c, bytes_str(topic)));
}

static char covers(const struct acl_claim *c, const char *filter)
{
    return letter(acl_claim_covers(c, bytes_str(filter)));
}

TEST(acl_claim_first_rule_that_fits_decides)
{
    struct acl_claim *c;

    acl_claim_begin(&text, false);
    add(DENY, PUB, "a/secret");
    add(ALLOW, ALL, "a/#");
    add(DENY, ALL, "#");
    add(ALLOW, ALL, "b");
    c = bind_for("u", "c");
    assert_int_equal(pub(c, "a/secret"), 'D');
    assert_int_equal(sub(c, "a/secret"), 'A');
    assert_int_equal(pub(c, "a/x"), 'A');
    assert_int_equal(pub(c, "b"), 'D');
    assert_int_equal(sub(c, "b"), 'D');
    assert_int_equal(pub(c, "$SYS/x"), '-');
    assert_int_equal(sub(c, "$SYS/#"), '-');
    acl_claim_destroy(c);
}

TEST(acl_claim_hands_on_what_no_rule_fits_unless_it_is_a_list_of_the_allowed)
{
    for (int denies = 0; denies < 2; denies++) {
        char rest = denies ? 'D' : '-';
        struct acl_claim *c;

        acl_claim_begin(&text, denies);
        c = bind_for("u", "c"); /* no rule at all */
        assert_int_equal(pub(c, "a"), rest);
        acl_claim_destroy(c);
        add(ALLOW, PUB, "p");
        add(ALLOW, SUB, "s/+");
        c = bind_for("u", "c");
        assert_int_equal(pub(c, "p"), 'A');
        assert_int_equal(pub(c, "s/1"), rest);
        assert_int_equal(sub(c, "s/1"), 'A');
        assert_int_equal(sub(c, "s/+"), 'A');
        assert_int_equal(sub(c, "s/#"), rest); /* wider than the rule */
        assert_int_equal(sub(c, "p"), rest);
        assert_int_equal(got(c, "s/1"), 'A');
        assert_int_equal(got(c, "p"), rest);
        assert_int_equal(covers(c, "s/+"), 'A');
        assert_int_equal(covers(c, "s/#"), rest);
        acl_claim_destroy(c);
    }
}

TEST(acl_claim_puts_the_names_into_filters)
{
    struct acl_claim *c;

    acl_claim_begin(&text, false);
    add(ALLOW, PUB, "1/${clientid}/${username}/x");
    add(ALLOW, PUB, "2/%c/a%ub");
    add(ALLOW, PUB, "eq 3/${clientid}/%u");
    c = bind_for("joe", "dev");
    assert_int_equal(pub(c, "1/dev/joe/x"), 'A');
    assert_int_equal(pub(c, "1/joe/dev/x"), '-');
    assert_int_equal(pub(c, "2/dev/ajoeb"), 'A');
    assert_int_equal(pub(c, "3/${clientid}/%u"), 'A');
    assert_int_equal(pub(c, "3/dev/joe"), '-');
    acl_claim_destroy(c);
    c = bind_for(NULL, "dev"); /* without a name the rules with one say nothing */
    assert_int_equal(pub(c, "1/dev//x"), '-');
    assert_int_equal(pub(c, "3/${clientid}/%u"), 'A');
    acl_claim_destroy(c);
}

TEST(acl_claim_names_cannot_widen_a_rule)
{
    static const char *const wild[] = {"+", "#", "a+", "x/#"};
    struct acl_claim *c;

    acl_claim_begin(&text, false);
    add(DENY, ALL, "no/${clientid}");
    add(ALLOW, ALL, "t/${clientid}/cmd");
    add(ALLOW, ALL, "${clientid}/#");
    for (uint32_t i = 0; i < 4; i++)
        assert_null(bind_for("u", wild[i]));
    c = bind_for("+", "dev"); /* no rule uses that name */
    assert_int_equal(pub(c, "t/dev/cmd"), 'A');
    acl_claim_destroy(c);
    c = bind_for("u", "victim/x");
    assert_int_equal(pub(c, "t/victim/x/cmd"), '-');
    assert_int_equal(pub(c, "no/victim/x"), 'D');
    acl_claim_destroy(c);
    c = bind_for("u", "$SYS");
    assert_int_equal(sub(c, "$SYS/#"), '-');
    assert_int_equal(got(c, "$SYS/broker/x"), '-');
    assert_int_equal(pub(c, "t/$SYS/cmd"), 'A');
    acl_claim_destroy(c);
}

TEST(acl_claim_eq_is_one_text)
{
    struct acl_claim *c;

    acl_claim_begin(&text, false);
    add(DENY, SUB, "eq #");
    add(ALLOW, ALL, "eq t/1/#");
    add(DENY, ALL, "eq t/no");
    c = bind_for("u", "c");
    assert_int_equal(sub(c, "#"), 'D');
    assert_int_equal(sub(c, "a"), '-');
    assert_int_equal(got(c, "a"), '-'); /* not of every message */
    assert_int_equal(sub(c, "t/1/#"), 'A');
    assert_int_equal(sub(c, "t/1/x"), '-');
    assert_int_equal(pub(c, "t/1/x"), '-');
    assert_int_equal(got(c, "t/1/x"), 'A'); /* what that subscription brings */
    assert_int_equal(covers(c, "t/1/#"), 'A');
    assert_int_equal(pub(c, "t/no"), 'D');
    assert_int_equal(got(c, "t/no"), 'D');
    acl_claim_destroy(c);
}

TEST(acl_claim_heeds_qos_and_retain)
{
    struct acl_claim *c;

    acl_claim_begin(&text, false);
    assert_int_equal(add_if(DENY, PUB, ACL_CLAIM_ANY_QOS, 2, "r"), OK);
    assert_int_equal(add_if(ALLOW, ALL, 1u << 1, ACL_CLAIM_ANY_RETAIN, "q"), OK);
    assert_int_equal(add_if(DENY, ALL, 1u << 0 | 1u << 2, ACL_CLAIM_ANY_RETAIN, "q"), OK);
    assert_int_equal(add_if(DENY, SUB, 1u << 2, ACL_CLAIM_ANY_RETAIN, "z"), OK);
    c = bind_for("u", "c");
    for (uint8_t qos = 0; qos < 3; qos++) {
        char of_q = qos == 1 ? 'A' : 'D';

        assert_int_equal(letter(acl_claim_publish(c, BYTES_LIT("r"), qos, true)), 'D');
        assert_int_equal(letter(acl_claim_publish(c, BYTES_LIT("r"), qos, false)), '-');
        assert_int_equal(letter(acl_claim_publish(c, BYTES_LIT("q"), qos, false)), of_q);
        assert_int_equal(letter(acl_claim_subscribe(c, BYTES_LIT("q"), qos)), of_q);
        assert_int_equal(letter(acl_claim_subscribe(c, BYTES_LIT("z"), qos)), qos == 2 ? 'D' : '-');
    }
    assert_int_equal(got(c, "q"), 'A'); /* by the QoS that is allowed */
    assert_int_equal(got(c, "z"), '-');
    assert_int_equal(covers(c, "z"), 'D'); /* not known for all */
    acl_claim_destroy(c);
}

TEST(acl_claim_covers_is_never_wrongly_true)
{
    static const struct {
        const char *deny, *filter;
        char expected;
    } v[] = {
        {"a/b", "a/+", 'D'}, {"a/b", "a/#", 'D'},  {"a/b", "#", 'D'},       {"a/b", "a/c", 'A'},
        {"a/b", "+/c", 'A'}, {"a/#", "a", 'D'},    {"a/+/c", "+/b/c", 'D'}, {"a/+/c", "a/b", 'A'},
        {"$x/a", "#", 'A'},  {"$x/a", "+/a", 'A'}, {"+/a", "$x/a", '-'},    {"#", "$x/a", '-'},
        {"b/#", "a/#", 'A'}, {"a", "a/+", 'A'},    {"a/+", "a", 'A'},       {"+/#", "a/b", 'D'}};

    for (uint32_t i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
        struct acl_claim *c;

        acl_claim_begin(&text, false);
        add(DENY, SUB, v[i].deny);
        add(ALLOW, SUB, "#");
        c = bind_for("u", "c");
        if (covers(c, v[i].filter) != v[i].expected)
            fail_msg("%s, %s: %c", v[i].deny, v[i].filter, covers(c, v[i].filter));
        acl_claim_destroy(c);
    }
}

TEST(acl_claim_refuses_what_is_no_filter_or_not_known)
{
    static const char *const bad[] = {"",       "eq ",  "a/#/b", "a+",          "eq a/#/b",
                                      "a/\xff", "${x}", "a/${",  "${peerhost}", "a/${username"};

    acl_claim_begin(&text, false);
    for (uint32_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(add_if(ALLOW, PUB, 7, 3, bad[i]), ERR_PEER);
    assert_int_equal(text.rule_count, 0);
    assert_int_equal(add_if(ALLOW, PUB, 7, 3, "eq ${x}"), OK);
    assert_int_equal(add_if(ALLOW, PUB, 7, 3, "$x/{}/100%"), OK);
}

TEST(acl_claim_has_a_bounded_number_of_rules_and_bytes)
{
    static char filter[ACL_CLAIM_TEXT_BYTES_MAX], id[TOPIC_BYTES_MAX + 1];
    struct acl_claim *c;
    const char *why;

    acl_claim_begin(&text, false);
    for (uint32_t i = 0; i < ACL_CLAIM_RULES_MAX; i++)
        add(ALLOW, PUB, "a/%c");
    assert_int_equal(add_if(ALLOW, PUB, 7, 3, "a"), ERR_FULL);
    c = bind_for("u", "c");
    assert_true(acl_claim_bytes(c) > 0 && acl_claim_bytes(NULL) == 0);
    acl_claim_destroy(c);
    memset(id, 'i', 1000);
    assert_null(bind_for("u", id));
    memset(id, 'i', TOPIC_BYTES_MAX); /* longer than a topic: these fit nothing */
    c = bind_for("u", id);
    assert_int_equal(pub(c, "a/i"), '-');
    acl_claim_destroy(c);
    acl_claim_begin(&text, false);
    memset(filter, 'x', sizeof(filter) - 6);
    assert_int_equal(add_if(ALLOW, PUB, 7, 3, filter), OK);
    assert_int_equal(add_if(ALLOW, PUB, 7, 3, "a"), ERR_FULL);
    assert_int_equal(acl_claim_bind(acl_claim_text(&text), NULL, BYTES_LIT("c"), &c, &why), OK);
    acl_claim_destroy(c);
}
