/* tools/passwd_edit.h -- a new text of a password file from the old one.
 *
 * Lines that are not concerned stay as they are, byte for byte, comments too.
 */
#ifndef TOOLS_PASSWD_EDIT_H
#define TOOLS_PASSWD_EDIT_H

#include <stdio.h>

#include "core/base/bytes.h"

/* Gives the user the hash (which may go on in a line of its own): in the place of the old line, or
 * in a new one at the end. Further lines of the same user go.  false: the stream has no memory. */
bool passwd_edit_set(struct bytes old, struct bytes user, const char *hash, FILE *fresh);

/* Leaves out the user's lines; *found says whether there were any.  false: as above. */
bool passwd_edit_delete(struct bytes old, struct bytes user, FILE *fresh, bool *found);

/* Called for a user's password in plain text: writes its hash and a line feed.  false ends the
 * edit. */
typedef bool passwd_edit_hash(void *arg, struct bytes user, struct bytes password, FILE *fresh);

/* Hashes the passwords that are not hashed yet; blanks around them do not count.  false: the
 * stream has no memory (*number is 0), or a user without a password or `hash` ended it (in line
 * *number). */
bool passwd_edit_hash_all(struct bytes old, passwd_edit_hash *hash, void *arg, FILE *fresh,
                          uint32_t *number);

#endif
