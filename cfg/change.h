/* cfg/change.h -- what differs between two configurations, and links that outlive theirs.
 *
 * A reload reads the whole file anew, takes its links over, and says what else has changed, which
 * needs a restart. All is found by the table of keys, so a new key is compared without a line here.
 *
 * Threads  any, on configurations that nobody writes.
 * Memory   a copy of a link is one piece, with its texts behind it; cfg_link_free wipes it.
 */
#ifndef CFG_CHANGE_H
#define CFG_CHANGE_H

#include "cfg/cfg.h"

/* A copy that needs nothing of `from` any more. NULL: no memory. */
struct cfg_link *cfg_link_copy(const struct cfg_link *from);
/* Wipes and frees a copy. NULL is fine. */
void cfg_link_free(struct cfg_link *copy);

/* The name of the first key in which two links differ, or NULL. Keys in `except`, which ends with
 * NULL, are passed over; `except` may be NULL. */
const char *cfg_link_difference(const struct cfg_link *a, const struct cfg_link *b,
                                const char *const *except);

/* Whether two links differ in a key. */
bool cfg_link_differs(const struct cfg_link *a, const struct cfg_link *b, const char *key);

/* Is told of a key, or of a section, as "[listener x] bind". */
typedef void cfg_told(void *arg, const char *what);

/* Tells of everything but links in which `is` differs from `was`. */
void cfg_changes(const struct cfg *was, const struct cfg *is, cfg_told *tell, void *arg);
/* Tells of links that are new, gone, or not as they were: "[link x] changed: server, topics". */
void cfg_link_changes(const struct cfg *was, const struct cfg *is, cfg_told *tell, void *arg);

#endif
