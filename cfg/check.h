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

/* A bound and where it was given; 0: nowhere. */
struct bound {
    const char *name;
    uint64_t value;
    uint32_t line;
};

/* Reports it if `less` is more than `more`, at the one that the file gives. */
void check_order(struct draft *draft, const struct bound *less, const struct bound *more);
/* Reports a key that means nothing without another one. */
void check_needs(struct draft *draft, const struct draft_section *s, const char *name,
                 bool has_other, const char *other);
/* Reports a certificate without its key, and the like. */
void check_tls_files(struct draft *draft, const struct draft_section *s, const struct cfg_tls *tls);

#endif
