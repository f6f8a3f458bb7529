/* tests/sim/rights.c -- rules of who may what, drawn, written down and applied. */
#include "tests/sim/rights.h"

#include <stdio.h>
#include <string.h>

#include "tests/sim/model.h"

const char *user_name(uint32_t user)
{
    static const char *const names[USERS] = {NULL, "a", "b", "c"};

    return names[user];
}

static void add(struct rights *r, uint32_t user, uint8_t rights, const char *filter)
{
    struct rule *to = &r->v[r->count++];

    *to = (struct rule){.user = user, .rights = rights};
    snprintf(to->filter, sizeof to->filter, "%s", filter);
}

void rights_draw(struct sim *s, struct rights *r)
{
    static const char *const grants[] = {"#", "#", "a/#", "b/#", "+/a/#", "a", "+/+", "$x/#"};
    static const char *const denials[] = {"a/b/#", "b", "+/b", "a/a/a", "$x/a", "+/+/b/#"};
    static const char *const patterns[] = {"%u/#", "a/%u/#", "+/%u", "%u"};

    *r = (struct rights){.is_none = chance(s, 15)};
    for (uint32_t user = 0; user <= USER_PATTERN && !r->is_none; user++) {
        bool is_pattern = user == USER_PATTERN;

        for (uint32_t n = draw(s, 4); n > 0; n--)
            add(r, user, (uint8_t)(chance(s, 60) ? 3 : 1 + draw(s, 2)),
                is_pattern ? patterns[draw(s, 4)] : grants[draw(s, 8)]);
        if (chance(s, 40))
            add(r, user, RIGHT_DENY,
                is_pattern && draw(s, 2) ? patterns[draw(s, 4)] : denials[draw(s, 6)]);
    }
}

void rights_text(const struct rights *r, const char *mount, char *to)
{
    static const char *const words[] = {"deny", "read", "write", "readwrite"};
    uint32_t user = 0;

    to[0] = 0;
    for (uint32_t i = 0; i < r->count; i++) {
        const struct rule *x = &r->v[i];

        if (x->user != user && x->user < USERS)
            to += sprintf(to, "user %s\n", user_name(x->user));
        user = x->user;
        to += sprintf(to, "%s %s %s%s\n", user == USER_PATTERN ? "pattern" : "topic",
                      words[x->rights], mount, x->filter);
    }
}

/* The filter of a rule, with the name of the user in it. false: it says nothing to this user. */
static bool filter_for(const struct rule *x, uint32_t user, char *to)
{
    const char *at = x->user == USER_PATTERN ? strstr(x->filter, "%u") : NULL;

    if (!at) {
        strcpy(to, x->filter);
        return true;
    }
    if (!user_name(user))
        return false;
    sprintf(to, "%.*s%s%s", (int)(at - x->filter), x->filter, user_name(user), at + 2);
    return true;
}

/* By the rules of `whose`: 1 allowed, 0 denied, -1 they say nothing. */
static int judge(const struct rights *r, uint32_t whose, uint32_t user, enum right right,
                 const char *topic)
{
    int says = -1;

    for (uint32_t i = 0; i < r->count; i++) {
        char filter[32];

        if (r->v[i].user != whose || !filter_for(&r->v[i], user, filter) ||
            !model_matches(filter, topic))
            continue;
        if (r->v[i].rights == RIGHT_DENY)
            return 0;
        if (r->v[i].rights & right)
            says = 1;
    }
    return says;
}

bool rights_allow(const struct rights *r, uint32_t user, enum right right, const char *topic)
{
    int says;

    if (r->is_none)
        return true;
    says = judge(r, user, user, right, topic);
    if (says < 0)
        says = judge(r, USER_PATTERN, user, right, topic);
    return says == 1;
}
