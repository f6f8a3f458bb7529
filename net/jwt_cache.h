/* net/jwt_cache.h -- tokens that held, so that a client that comes again costs no signature.
 *
 * What is kept is 128 bits of a keyed hash of the whole token, and what it proves; the token cannot
 * be found from it. The cache is a fixed number of places, four to choose from for a token, and a
 * number of bytes. At the bounds the one that ends first makes room, or the new one is not kept; it
 * is judged in full again.
 *
 * Threads  one at a time: the caller has a lock.
 * Memory   what is found belongs to the cache, until the next call that changes it.
 */
#ifndef NET_JWT_CACHE_H
#define NET_JWT_CACHE_H

#include "core/policy/passwd_cache.h"
#include "net/jwt.h"

/* Places and bytes of a cache, at most. */
#define JWT_CACHE_PLACES 65536u
#define JWT_CACHE_BYTES (32u << 20)

/* What a token proves, as struct jwt_identity says it. */
struct jwt_proven {
    uint64_t expires_ms; /* wall time; UINT64_MAX: never */
    bool ends_connection;
    uint16_t user_count;
    uint16_t rules_count; /* 0: it brings none */
    uint8_t bytes[];      /* the user, then the rules */
};

/* Makes one of an identity, with malloc.  NULL: no memory. */
struct jwt_proven *jwt_proven_create(const struct jwt_identity *identity);

struct jwt_cache; /* opaque: the fields live in jwt_cache.c */

/* A cache of at least `places`, rounded up to a power of two.  NULL: no memory. */
struct jwt_cache *jwt_cache_create(uint32_t places, uint64_t bytes_max);
/* NULL is fine. */
void jwt_cache_destroy(struct jwt_cache *c);
/* Forgets everything. */
void jwt_cache_clear(struct jwt_cache *c);

/* What the token of this hash proves, at a moment of a clock that only goes forward.  NULL: it is
 * not known. */
const struct jwt_proven *jwt_cache_find(const struct jwt_cache *c, const struct passwd_proof *hash,
                                        uint64_t now_ms);
/* Keeps it until `end_ms`; takes `p` over, and frees it if it is not kept. */
void jwt_cache_put(struct jwt_cache *c, const struct passwd_proof *hash, struct jwt_proven *p,
                   uint64_t now_ms, uint64_t end_ms);
/* Bytes of what is kept, without the places. */
uint64_t jwt_cache_bytes(const struct jwt_cache *c);

#endif
