/* net/jwt.h -- JSON Web Tokens (RFC 7519): the keys that may sign them, and what one says.
 *
 * A token is three parts in base64url: header, claims, signature. Its header names an algorithm;
 * here the key decides: a key has the algorithms of its own kind and of the configuration, and a
 * header that names another one finds no key. So `none` never holds, and a public key is never
 * taken for the secret of an HMAC. Keys inside a token, or addresses of keys, are not looked at.
 *
 *     struct jwt *j = jwt_create(&cfg->auth.jwt);
 *     e = jwt_add_key_file(j, text, tell, context);   and jwt_add_jwks, while nobody else has it
 *     e = jwt_verify(j, token, wall_ms, &identity, &why);
 *
 * Threads  create and add: one thread.  Everything else: any; then nothing of it changes.
 * Memory   counted, as core/policy/passwd.h. The configuration is borrowed while it lives.
 * Cost     about 8 us with an HMAC; with a public key what it costs besides (net/crypt_key.h).
 */
#ifndef NET_JWT_H
#define NET_JWT_H

#include "cfg/cfg.h"
#include "core/base/bytes.h"
#include "core/base/err.h"
#include "core/policy/acl_claim.h"

/* Bytes of a token. Beyond: it is none. */
#define JWT_TOKEN_BYTES_MAX 16384u
/* Objects and arrays inside each other, in a token or a key set. Beyond: it is refused. */
#define JWT_DEPTH_MAX 16u
/* Bytes of a user name in a token. Beyond: it is refused. */
#define JWT_USER_BYTES_MAX 1024u
/* Keys of one broker, and bytes of their files. Beyond: a mistake. */
#define JWT_KEYS_MAX 64u
#define JWT_FILE_BYTES_MAX (1u << 20)
/* Keys that are tried for one token. Beyond: it is refused; a `kid` picks one. */
#define JWT_TRIES_MAX 8u

struct jwt; /* opaque: the fields live in jwt.c */

/* Told of every mistake and every warning about a file: a line of text without the file's name. */
typedef void jwt_tell(void *context, bool is_mistake, const char *what);

/* Makes one without keys. NULL: no memory. */
struct jwt *jwt_create(const struct cfg_jwt *rules);
/* Takes the keys of a file: public keys and certificates in PEM, or a secret, as it stands or in
 * base64 behind `base64:`. A secret is only taken where jwt_algorithms names HS256, HS384 or HS512.
 * ERR_PEER: there were mistakes, all told.  ERR_MEMORY. */
MUST_USE enum err jwt_add_key_file(struct jwt *j, struct bytes text, jwt_tell *tell, void *context);
/* Takes a JSON Web Key Set (RFC 7517): RSA, EC with P-256, OKP with Ed25519, oct. A key of another
 * kind or for another use is passed over with a warning.  Errors as above. */
MUST_USE enum err jwt_add_jwks(struct jwt *j, struct bytes text, jwt_tell *tell, void *context);
/* Keys that it has. */
uint32_t jwt_key_count(const struct jwt *j);

/* One share more, for who already has one. Returns `j`. NULL is fine for both. */
struct jwt *jwt_ref(struct jwt *j);
/* Gives a share back; the last one frees it and wipes its secrets. */
void jwt_release(struct jwt *j);

/* What a token proves. */
struct jwt_identity {
    uint64_t expires_ms;  /* wall time, leeway included; UINT64_MAX: never */
    bool ends_connection; /* at expires_ms, by the configuration */
    bool has_rules;       /* and brings them: `rules` */
    uint32_t user_count;  /* at least 1 */
    char user[JWT_USER_BYTES_MAX];
    struct acl_claim_text rules;
};

/* Whether a password looks like a token: three parts of the alphabet, of which the first may be a
 * JSON object. */
bool jwt_has_form(struct bytes password);

/* Judges a token at `wall_ms`.  OK: *identity is what it proves.  ERR_PEER: it proves nothing, and
 * *why (a fixed text) says what is wrong with it.  ERR_MEMORY: it is not known, also with words. */
MUST_USE enum err jwt_verify(const struct jwt *j, struct bytes token, uint64_t wall_ms,
                             struct jwt_identity *identity, const char **why);

#endif
