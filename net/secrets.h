/* net/secrets.h -- what a configuration names but keeps in files of their own: certificates, keys,
 * revocations, OCSP responses, users, rules and keys for tokens.
 *
 * They are read at start, for `causeway -t`, and again on SIGHUP: all of them or none. What is
 * wrong is said with its file (and line, where there is one), all mistakes at once.
 *
 * Threads  main.
 */
#ifndef NET_SECRETS_H
#define NET_SECRETS_H

#include "cfg/cfg.h"
#include "core/base/hash.h"
#include "core/policy/acl.h"
#include "core/policy/passwd.h"
#include "core/policy/scram_users.h"
#include "net/jwt.h"
#include "net/tls.h"

struct secrets {
    struct tls_context *listeners[LISTENERS_MAX]; /* by listener; NULL: no TLS */
    struct tls_context *links[LINKS_MAX];         /* by link; NULL: no TLS */
    struct passwd *passwd;                        /* NULL: no password_file */
    struct scram_users *scram;                    /* NULL: no scram_file */
    struct acl *acl;                              /* NULL: no acl_file */
    struct jwt *jwt;                              /* NULL: no keys for tokens */
};

/* Told of every mistake and every warning: a line of text with the file in it. */
typedef void secrets_say(void *context, bool is_mistake, const char *text);

/* Reads all files that `cfg` names. `key` is for the tables. `wall_ms`: the time, for certificates
 * that expire. ERR_PEER: there were mistakes, all said; *out holds nothing.  ERR_MEMORY, the same.
 * OK: *out is the caller's. */
MUST_USE enum err secrets_load(const struct cfg *cfg, const struct hash_key *key, uint64_t wall_ms,
                               secrets_say *say, void *context, struct secrets *out);
/* When the first of the certificates ends: seconds since 1970, UTC; 0: there is none. */
int64_t secrets_end(const struct secrets *s);
/* When secrets_warn has something new to say of an OCSP response, behind `wall_ms`: it should be
 * replaced, or is stapled no more. Milliseconds since 1970; UINT64_MAX: never. */
uint64_t secrets_staple_ms(const struct secrets *s, uint64_t wall_ms);
/* Warns of certificates and OCSP responses that have ended or will soon. */
void secrets_warn(const struct cfg *cfg, const struct secrets *s, uint64_t wall_ms,
                  secrets_say *say, void *context);
/* Lets go of all; zeroes it. */
void secrets_release(struct secrets *s);

#endif
