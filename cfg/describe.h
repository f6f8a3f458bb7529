/* cfg/describe.h -- what a configuration opens, and what it should be warned of.
 *
 * Threads: any; the configuration is only read.
 */
#ifndef CFG_DESCRIBE_H
#define CFG_DESCRIBE_H

#include <stdio.h>

#include "cfg/cfg.h"

/* Told of one warning: one line of text without a newline, valid during the call. */
typedef void cfg_warning_sink(void *user, const char *text);

/* Tells `sink` of everything that is allowed and probably not meant: links that anybody may speak
 * for, open listeners, listeners nobody may use. For the log at start. */
void cfg_warnings(const struct cfg *cfg, cfg_warning_sink *sink, void *user);

/* Writes what is effectively open, to whom, and all warnings: `causeway -t`. */
void cfg_describe(const struct cfg *cfg, FILE *to);

#endif
