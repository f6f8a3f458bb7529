/* net/crypt.h -- hashes, password hashes and random bytes; all there is of libargon2 and, besides
 * net/crypt_key.h, of wolfCrypt.
 *
 * Core needs some of these and is handed them as `crypt_passwd` and `crypt_scram`.
 *
 * Threads  any; nothing here has a state.
 * Parts    are hashed one behind the other, as if they were one; an empty one may have p == NULL.
 * Errors   ERR_MEMORY, where nothing else is said: the library had none. The result is then zero.
 */
#ifndef NET_CRYPT_H
#define NET_CRYPT_H

#include "core/base/bytes.h"
#include "core/base/err.h"
#include "core/policy/passwd_hash.h"
#include "core/policy/scram_verifier.h"

#define CRYPT_SHA1_BYTES 20
#define CRYPT_SHA256_BYTES 32
#define CRYPT_SHA384_BYTES 48
#define CRYPT_SHA512_BYTES 64

/* SHA-1 (FIPS 180-4), for WebSocket's handshake; never for a secret. */
MUST_USE enum err crypt_sha1(const struct bytes *parts, uint32_t count,
                             uint8_t digest[CRYPT_SHA1_BYTES]);

/* SHA-256 and SHA-512 (FIPS 180-4). */
MUST_USE enum err crypt_sha256(const struct bytes *parts, uint32_t count,
                               uint8_t digest[CRYPT_SHA256_BYTES]);
MUST_USE enum err crypt_sha512(const struct bytes *parts, uint32_t count,
                               uint8_t digest[CRYPT_SHA512_BYTES]);

/* HMAC (RFC 2104) with SHA-256, with SHA-384 and with SHA-512. */
MUST_USE enum err crypt_hmac_sha256(struct bytes key, const struct bytes *parts, uint32_t count,
                                    uint8_t mac[CRYPT_SHA256_BYTES]);
MUST_USE enum err crypt_hmac_sha384(struct bytes key, const struct bytes *parts, uint32_t count,
                                    uint8_t mac[CRYPT_SHA384_BYTES]);
MUST_USE enum err crypt_hmac_sha512(struct bytes key, const struct bytes *parts, uint32_t count,
                                    uint8_t mac[CRYPT_SHA512_BYTES]);

/* PBKDF2 (RFC 8018) with HMAC-SHA-256 and with HMAC-SHA-512: n bytes to `to`. At least one
 * iteration. */
MUST_USE enum err crypt_pbkdf2_sha256(struct bytes password, struct bytes salt, uint32_t iterations,
                                      uint8_t *to, uint32_t n);
MUST_USE enum err crypt_pbkdf2_sha512(struct bytes password, struct bytes salt, uint32_t iterations,
                                      uint8_t *to, uint32_t n);

/* argon2id, version 19 (RFC 9106): n bytes to `to`. Holds memory_kib while it computes, and uses
 * the calling thread only, whatever the lanes.  ERR_PEER: a value outside what argon2 allows (salt
 * of 8 bytes and more, n of 4 and more, 8 KiB for each lane). */
MUST_USE enum err crypt_argon2id(struct bytes password, struct bytes salt, uint32_t passes,
                                 uint32_t memory_kib, uint32_t lanes, uint8_t *to, uint32_t n);

/* Whether n bytes are the same, in a time that does not depend on where they differ. */
bool crypt_equal(const void *a, const void *b, size_t n);

/* n bytes nobody can foretell, from getrandom(2).  ERR_SYSTEM: the kernel has none. */
MUST_USE enum err crypt_random(void *to, size_t n);

/* Overwrites n bytes, also where a compiler sees that nobody reads them any more. */
void crypt_wipe(void *p, size_t n);

/* What core/policy is handed. */
extern const struct passwd_crypt crypt_passwd;
extern const struct scram_crypt crypt_scram;

#endif
