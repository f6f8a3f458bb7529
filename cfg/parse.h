/* cfg/parse.h -- from the text of an INI file to a checked struct cfg.
 *
 * Every mistake is reported, not only the first: unreadable lines, unknown sections and keys,
 * values out of range, and what does not fit together. A caller that gets anything but OK prints
 * the list and ends; nothing of a wrong file is ever used.
 *
 * Threads  the main thread, at start or at a reload; never two at once (inih's options are global).
 */
#ifndef CFG_PARSE_H
#define CFG_PARSE_H

#include "cfg/cfg.h"
#include "cfg/errors.h"

/* Bytes of one line. Beyond: a mistake, and the line is skipped. */
#define CFG_LINE_BYTES_MAX 65536u
/* Bytes of one file. Beyond: a mistake, and nothing is read. */
#define CFG_FILE_BYTES_MAX (16u << 20)

/* Reads the file at `path`.  OK: `*out` is the caller's, to be given to cfg_free().  Else `*out` is
 * NULL and `errs` says why: ERR_PEER the file has mistakes, ERR_SYSTEM it cannot be read,
 * ERR_MEMORY.  `errs` must be initialised; mistakes are added to it, in the order of lines. */
MUST_USE enum err cfg_load(const char *path, struct cfg **out, struct cfg_errors *errs);

/* The same for text in memory; `name` stands for the file in messages.  Opens no file but those
 * the text names as `password_file`. */
MUST_USE enum err cfg_load_memory(const char *name, struct bytes text, struct cfg **out,
                                  struct cfg_errors *errs);

/* The configuration of a broker that was given no file: every default, and the listener
 * 127.0.0.1:1883.  ERR_MEMORY leaves `*out` NULL. */
MUST_USE enum err cfg_default(struct cfg **out);

#endif
