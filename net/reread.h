/* net/reread.h -- the configuration read anew while the broker runs.
 *
 * Of a file that was read anew its links count from now on. All else stays as it was at start; what
 * differs there is said, since it needs a restart.
 *
 * Threads  main.
 */
#ifndef NET_REREAD_H
#define NET_REREAD_H

#include "net/secrets.h"

/* Of the configuration that is to count, and of the one whose links these are. */
struct reread {
    struct cfg *now;   /* that of the start with other links; its texts are those of both */
    struct cfg *links; /* owned; NULL: the links are those of the start */
};

/* Reads `file`, as at start with `-p port` (0: without). OK: *out is the caller's, for
 * cfg_free(). ERR_PEER: there are mistakes, all said. */
MUST_USE enum err reread_file(const char *file, uint16_t port, secrets_say *say, void *context,
                              struct cfg **out);
/* What counts when the links of `fresh` do (NULL: those of the start): takes it over, also on
 * failure. Says what else differs. `can_link`: there are link workers.  ERR_PEER: a link cannot be
 * taken, said; ERR_MEMORY, said. */
MUST_USE enum err reread_take(const struct cfg *start, struct cfg *fresh, bool can_link,
                              secrets_say *say, void *context, struct reread *out);
/* Zeroes it. */
void reread_free(struct reread *r);

#endif
