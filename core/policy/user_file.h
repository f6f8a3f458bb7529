/* core/policy/user_file.h -- what files of users have in common: lines, blanks, sentences.
 *
 * A user a line, with a colon behind the name. '#' in the first column begins a comment; blanks
 * around a name do not count; some editors put a byte order mark first. What stands behind the
 * colon is the business of who reads the file.
 *
 * Threads  any; a reader belongs to its caller. Views point into the text.
 */
#ifndef CORE_POLICY_USER_FILE_H
#define CORE_POLICY_USER_FILE_H

#include "core/base/bytes.h"
#include "core/base/err.h"

/* Bytes of a file, and lines with users in it. Beyond: a mistake, and the file is refused. */
#define USER_FILE_BYTES_MAX (256u << 20)
#define USER_FILE_USERS_MAX 1000000u
/* Bytes of a sentence about a line, with its NUL. */
#define USER_FILE_SAID_BYTES 256u
/* Bytes of a user name that are shown in a sentence. */
#define USER_FILE_SHOWN_BYTES 64u

/* Told of every mistake and every warning, in the order of lines. `line` is 0 where it is the
 * file's. `what` is printable text without anything of a secret and lives during the call. */
typedef void user_file_report(void *arg, uint32_t line, bool is_warning, const char *what);

/* A user name as a sentence shows it. */
struct user_file_shown {
    char text[USER_FILE_SHOWN_BYTES + 4];
};

/* One reading of a file. */
struct user_file {
    struct bytes rest;
    user_file_report *report;
    void *arg;
    uint32_t line; /* number of the line last read; 0: before the first one */
    uint32_t mistakes;
};

/* Starts to read. *users: lines that could be users, to make room for.  ERR_PEER: the file is too
 * large, or they are too many, and that has been reported. */
MUST_USE enum err user_file_begin(struct user_file *f, struct bytes text, user_file_report *report,
                                  void *arg, uint32_t *users);

/* The next line that is neither a comment nor blank, without its end; a line with a NUL byte is
 * reported and passed over. False: that was all. */
bool user_file_next(struct user_file *f, struct bytes *line);

/* Reports a mistake or a warning about the line last read. */
__attribute__((format(printf, 3, 4))) void user_file_say(struct user_file *f, bool is_warning,
                                                         const char *format, ...);

/* A name for a person to read: its first bytes, what is not plain ASCII as '?'. */
struct user_file_shown user_file_show(struct bytes name);

/* The same without the blanks at both ends. */
struct bytes user_file_trim(struct bytes b);

/* The bytes before the first `c`, taken off `*rest` with it; all of them when there is none. */
struct bytes user_file_take(struct bytes *rest, uint8_t c);

#endif
