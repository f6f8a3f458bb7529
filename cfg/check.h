/* cfg/check.h -- does the configuration hold together as a whole?
 *
 * Private to cfg/.  Threads: the one that loads.
 */
#ifndef CFG_CHECK_H
#define CFG_CHECK_H

#include "cfg/draft.h"

/* Makes the fields that follow from several keys (addresses, filters, what is derived), adds the
 * default listener to a file that names none, and reports what does not fit together. Defaults have
 * been assigned. A field whose own value was refused is not judged again. */
void check_draft(struct draft *draft);

#endif
