/* core/policy/passwd.h -- the password file, as a table that does not change.
 *
 * One user a line, `name:hash`, as mosquitto_passwd writes it (core/policy/passwd_hash.h). '#' in
 * the first column begins a comment. Blanks around name and hash do not count, nor does what
 * follows a second colon. A line without a colon is no user: it is passed over with a warning. A
 * file with any mistake is refused whole, so no user is ever without a password.
 *
 * Nobody outside learns from the time of an answer whether a user exists: who looks up an unknown
 * name gets an entry too, a copy of the dearest of the file that no password matches. (In a file of
 * hashes of different cost, the cheaper ones can be told apart.)
 *
 * Threads  parse: one thread, at start or at a reload.  Everything else: any.
 * Memory   counted: the first share is the parser's caller's; each check under way holds one, so
 *          a reload just releases the old table. An entry lives as long as its table.
 */
#ifndef CORE_POLICY_PASSWD_H
#define CORE_POLICY_PASSWD_H

#include "core/base/bytes.h"
#include "core/base/err.h"
#include "core/base/hash.h"
#include "core/policy/passwd_hash.h"
#include "core/policy/user_file.h"

/* Bytes of a user name; those of MQTT. Beyond: a mistake. */
#define PASSWD_NAME_BYTES_MAX 65535u

struct passwd; /* opaque: the fields live in passwd.c */

struct passwd_entry {
    struct bytes name; /* empty: the entry of those who are not in the file */
    struct passwd_hash hash;
    uint32_t line; /* 0: the entry of those who are not in the file */
};

/* Compiles the text of a password file; the text is not needed afterwards. `key` is that of the
 * broker's hash tables.  OK: `*out` is the caller's share.  ERR_PEER: mistakes, all reported;
 * ERR_MEMORY. Then `*out` is NULL. */
MUST_USE enum err passwd_parse(struct bytes text, const struct hash_key *key,
                               user_file_report *report, void *arg, struct passwd **out);

/* One share more, for who already has one. Returns `p`. */
struct passwd *passwd_ref(struct passwd *p);
/* Gives a share back; the last one frees the table and wipes it. NULL is fine. */
void passwd_release(struct passwd *p);

/* Users in the file. */
uint32_t passwd_users(const struct passwd *p);
/* The most a check with this table can cost: about microseconds, and KiB of memory. */
void passwd_dearest(const struct passwd *p, uint64_t *work_us, uint32_t *memory_kib);

/* The entry of a user; never NULL: see above. */
const struct passwd_entry *passwd_find(const struct passwd *p, struct bytes user);

/* Whether the entry is that of a user, not that of those who are not in the file. */
static inline bool passwd_is_user(const struct passwd_entry *e)
{
    return e->line != 0;
}

/* Whether `password` is the user's; never for an entry that is not a user's, but at the same cost.
 * Takes from microseconds to seconds: not for the thread of a worker.  ERR_MEMORY: it is not known,
 * `*matches` is false. */
MUST_USE enum err passwd_verify(const struct passwd_entry *e, struct bytes password,
                                const struct passwd_crypt *crypt, bool *matches);

#endif
