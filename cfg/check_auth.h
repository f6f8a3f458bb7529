/* cfg/check_auth.h -- the part of check_draft() that looks at how clients prove who they are.
 * Private to cfg/.
 */
#ifndef CFG_CHECK_AUTH_H
#define CFG_CHECK_AUTH_H

#include "cfg/draft.h"

/* Looks at [auth], and makes its effective fields. `s` is its section. */
void check_auth(struct draft *draft, const struct draft_section *s);

/* Makes the methods of a listener, after check_auth. */
void check_listener_methods(struct draft *draft, const struct draft_section *s,
                            struct cfg_listener *listener);

#endif
