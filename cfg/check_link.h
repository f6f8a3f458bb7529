/* cfg/check_link.h -- the part of check_draft() that looks at links.
 * Private to cfg/.
 */
#ifndef CFG_CHECK_LINK_H
#define CFG_CHECK_LINK_H

#include "cfg/draft.h"

/* Looks at one [link NAME], and makes its effective fields; after those of [limits]. */
void check_link(struct draft *draft, struct draft_section *s);

#endif
