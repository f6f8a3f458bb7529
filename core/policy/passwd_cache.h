/* core/policy/passwd_cache.h -- the checks that went well, so that a reconnect costs none.
 *
 * What is kept is a proof: 128 bits of an HMAC-SHA-256, under a key drawn at start, of the user's
 * name, the password, and the kind, cost, salt and hash of the user's entry; and when it ends.
 * Neither name nor password can be found from it. A reload needs no call here: where an entry
 * changed, its proofs are never asked for again; where a user went, passwd_find gives no user.
 *
 * The cache is a fixed number of places, four to choose from for a proof. At the bound the one that
 * ends first makes room; its user is checked in full again.
 *
 * Threads  passwd_proof_make: any.  The cache has no lock: one for each worker, or one for all
 *          under a lock of the caller's (has and put look at four places, about 50 ns).
 */
#ifndef CORE_POLICY_PASSWD_CACHE_H
#define CORE_POLICY_PASSWD_CACHE_H

#include "core/base/bytes.h"
#include "core/base/err.h"
#include "core/policy/passwd.h"

/* Bytes of the key, drawn at start. */
#define PASSWD_CACHE_KEY_BYTES 32u
/* Places of a cache; a place takes 24 bytes. */
#define PASSWD_CACHE_PLACES_DEFAULT 65536u
#define PASSWD_CACHE_PLACES_MAX (1u << 24)

struct passwd_cache; /* opaque: the fields live in passwd_cache.c */

struct passwd_proof {
    uint64_t word[2];
};

/* Makes the proof for a name and a password as a client gave them and the entry found for them;
 * about a microsecond.  ERR_NONE: the entry is not a user's; ERR_MEMORY. */
MUST_USE enum err passwd_proof_make(const uint8_t key[PASSWD_CACHE_KEY_BYTES],
                                    const struct passwd_entry *e, struct bytes password,
                                    const struct passwd_crypt *crypt, struct passwd_proof *proof);

/* A cache of at least `places` (1 to PASSWD_CACHE_PLACES_MAX), rounded up to a power of two. NULL
 * when memory cannot be had. */
struct passwd_cache *passwd_cache_create(uint32_t places);
/* Wipes and frees it. NULL is fine. */
void passwd_cache_destroy(struct passwd_cache *c);

/* Whether the proof was put and has not ended. Times are milliseconds of one clock that only goes
 * forward. */
bool passwd_cache_has(const struct passwd_cache *c, const struct passwd_proof *proof,
                      uint64_t now_ms);

/* Notes a check that went well (passwd_verify said so) until `end_ms`. */
void passwd_cache_put(struct passwd_cache *c, const struct passwd_proof *proof, uint64_t now_ms,
                      uint64_t end_ms);

#endif
