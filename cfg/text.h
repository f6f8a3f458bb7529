/* cfg/text.h -- the memory behind the pointers of a struct cfg.
 *
 * Pieces hang on the struct cfg and are freed, and wiped, with it by cfg_free(); none is freed
 * alone.  Threads: start only.  NULL: memory cannot be had.
 */
#ifndef CFG_TEXT_H
#define CFG_TEXT_H

#include "cfg/cfg.h"

/* `n` zeroed bytes, aligned for any type. */
void *cfg_alloc(struct cfg *cfg, size_t n);

/* A copy of `text`. */
char *cfg_copy(struct cfg *cfg, const char *text);

/* Frees what a listener has besides: its lists of networks. */
void cfg_listener_fini(struct cfg_listener *listener);

#endif
