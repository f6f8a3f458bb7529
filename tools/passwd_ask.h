/* tools/passwd_ask.h -- a new password, typed at a terminal or read from a pipe. */
#ifndef TOOLS_PASSWD_ASK_H
#define TOOLS_PASSWD_ASK_H

#include "core/base/bytes.h"
#include "core/policy/passwd_hash.h"

struct passwd_typed {
    char text[PASSWD_PASSWORD_BYTES_MAX + 3]; /* one too many, line feed, NUL */
};

/* Asks twice without showing what is typed, if stdin is a terminal. Else takes a line of stdin; a
 * second one, if there is one, must be the same.  false: why not was printed. Who calls wipes
 * `typed`. */
bool passwd_ask(struct passwd_typed *typed);

#endif
