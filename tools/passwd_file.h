/* tools/passwd_file.h -- the password file on disk: read whole, replaced whole.
 *
 * While a file is open its folder is locked (flock(2)), so two programs that change it at the same
 * time do not undo each other. A new text becomes the file in one step (rename(2)) and is on the
 * disk before that: a power cut leaves the old file or the new one. Owner, group and mode stay;
 * a new file is for its owner only. A symbolic link is followed, not replaced.
 *
 * Errors are printed to stderr.
 */
#ifndef TOOLS_PASSWD_FILE_H
#define TOOLS_PASSWD_FILE_H

#include <sys/stat.h>

#include "core/base/bytes.h"

struct passwd_file {
    char *path;   /* without symbolic links */
    char *folder; /* the one it is in */
    int folder_fd;
    bool is_there;
    struct stat stat;  /* of a file that is there */
    struct bytes text; /* of a file that is there; wiped by passwd_file_close */
};

/* Whether the file could be opened with `may_create`; looks only, so that nobody types a password
 * in vain. */
bool passwd_file_look(const char *path, bool may_create);

/* Locks and reads.  Warns of a file that everybody may read.  false: nothing is open. */
bool passwd_file_open(struct passwd_file *f, const char *path, bool may_create);
void passwd_file_close(struct passwd_file *f);

/* Makes `text` the file.  false: the old file is as it was. */
bool passwd_file_replace(const struct passwd_file *f, struct bytes text);

#endif
