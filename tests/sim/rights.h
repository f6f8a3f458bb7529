/* tests/sim/rights.h -- who may read and write what, in the plainest form: a list of rules that is
 * gone through for every question.
 *
 * The text of the same rules is what the broker gets as its ACL.
 */
#ifndef TESTS_SIM_RIGHTS_H
#define TESTS_SIM_RIGHTS_H

#include "tests/sim/sim.h"

/* User names are levels of topics, so that patterns with %u match; user 0 has none. */
#define USERS 4u
#define USER_PATTERN USERS /* whose rules are for everybody */
#define RULES_MAX 24u
#define RIGHTS_TEXT_BYTES 1024u

enum right { RIGHT_DENY = 0, RIGHT_READ = 1, RIGHT_WRITE = 2 };

struct rule {
    uint32_t user;
    uint8_t rights; /* bits; 0: deny */
    char filter[16];
};

struct rights {
    bool is_none; /* there is no ACL */
    uint32_t count;
    struct rule v[RULES_MAX];
    uint64_t since; /* the step from which on they count */
};

/* The name of a user; NULL: none. */
const char *user_name(uint32_t user);
/* Rules that allow much and deny some of it; sometimes none at all. */
void rights_draw(struct sim *s, struct rights *r);
/* As an ACL file, into RIGHTS_TEXT_BYTES. `mount` stands in front of all filters. */
void rights_text(const struct rights *r, const char *mount, char *to);
/* Whether they let a user do that. */
bool rights_allow(const struct rights *r, uint32_t user, enum right right, const char *topic);

#endif
