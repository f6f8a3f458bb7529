/* cfg/errors.h -- the list of mistakes in a configuration file.
 *
 * Each is one line of text without a newline, `FILE:LINE: what is wrong; what would be right`, and
 * never contains the value of a secret key. The list is bounded: beyond CFG_ERRORS_MAX, mistakes
 * are only counted.
 */
#ifndef CFG_ERRORS_H
#define CFG_ERRORS_H

#include <stdint.h>

/* Mistakes kept with their text. */
#define CFG_ERRORS_MAX 200u
/* Bytes of one text; longer ones are cut. */
#define CFG_ERROR_BYTES_MAX 1024u

struct cfg_error {
    char *text;
    uint32_t line;
};

struct cfg_errors {
    struct cfg_error *items; /* sorted by line once loading has ended */
    uint32_t count;          /* entries of items */
    uint32_t dropped;        /* mistakes beyond the bound, or without memory */
};

/* Makes an empty list.  Start only. */
void cfg_errors_init(struct cfg_errors *errs);

/* Frees the texts; the list is empty again and may be used on. */
void cfg_errors_fini(struct cfg_errors *errs);

/* Adds `file:line: ` and the formatted text. Line 0 is left out: the mistake is the file's. Bytes
 * that are not printable in a terminal are shown as '?'. */
__attribute__((format(printf, 4, 5))) void cfg_errors_add(struct cfg_errors *errs, const char *file,
                                                          uint32_t line, const char *format, ...);

/* Puts the entries from `from` on in the order of their lines; equal lines keep their order. */
void cfg_errors_sort(struct cfg_errors *errs, uint32_t from);

#endif
