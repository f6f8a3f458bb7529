/* core/policy/scram_users.h -- the file of SCRAM users, as a table that does not change.
 *
 * One user a line, `name:verifier` (core/policy/scram_verifier.h); a user may have one line for
 * each mechanism. '#' in the first column begins a comment; blanks around name and verifier do not
 * count. A file with any mistake is refused whole.
 *
 * Nobody outside learns whether a user exists: an unknown name gets a salt and iterations too, made
 * of the name and of keys in the file, so that they are the same each time, also after a restart
 * (until the first line of that mechanism changes), and iterations as some user of the file has.
 * Only the user of that first line, who knows his own keys, could compute them.
 *
 * Threads  parse: one thread, at start or at a reload.  Everything else: any.
 * Memory   counted: the first share is the parser's caller's.
 */
#ifndef CORE_POLICY_SCRAM_USERS_H
#define CORE_POLICY_SCRAM_USERS_H

#include "core/base/hash.h"
#include "core/policy/scram_verifier.h"
#include "core/policy/user_file.h"

/* Bytes of a user name. Beyond: a mistake; in a message: refused. */
#define SCRAM_NAME_BYTES_MAX 1024u

struct scram_users; /* opaque: the fields live in scram_users.c */

/* What an exchange is begun with. */
struct scram_entry {
    bool is_user;            /* false: whatever the client proves, it fails */
    uint64_t credential;     /* as scram_users_credential */
    struct scram_verifier v; /* of a user; views that live as long as the table and `room` */
    struct scram_room room;
};

/* Compiles the text of a file; the text is not needed afterwards. `key` is that of the broker's
 * hash tables.  OK: `*out` is the caller's share.  ERR_PEER: mistakes, all reported; ERR_MEMORY.
 * Then `*out` is NULL. */
MUST_USE enum err scram_users_parse(struct bytes text, const struct hash_key *key,
                                    user_file_report *report, void *arg, struct scram_users **out);

/* One share more, for who already has one; NULL is fine. Returns `u`. */
struct scram_users *scram_users_ref(struct scram_users *u);
/* Gives a share back; the last one frees the table and wipes it. NULL is fine. */
void scram_users_release(struct scram_users *u);

/* Lines with users in the file. */
uint32_t scram_users_count(const struct scram_users *u);

/* Fills `*out` for a name, in the file or not, with the same work.  ERR_MEMORY. */
MUST_USE enum err scram_users_find(const struct scram_users *u, enum scram_kind kind,
                                   struct bytes name, const struct scram_crypt *crypt,
                                   struct scram_entry *out);

/* A number that stands for what the file says of a user: another one when his line changes.
 * 0: he is not in it; `u` may be NULL. */
uint64_t scram_users_credential(const struct scram_users *u, enum scram_kind kind,
                                struct bytes name);

#endif
