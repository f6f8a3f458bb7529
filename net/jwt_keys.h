/* net/jwt_keys.h -- the keys that may sign tokens, as files have them. Private to net/jwt.c.
 *
 * Threads  all: one.  Then they are only read.
 */
#ifndef NET_JWT_KEYS_H
#define NET_JWT_KEYS_H

#include "cfg/cfg.h"
#include "net/crypt_key.h"
#include "net/jwt.h"

/* Exactly one of `key` and `secret`. Invariant: `algs` are those of that kind, never none. */
struct jwt_key {
    uint32_t algs;         /* a bit for each enum cfg_jwt_alg */
    struct crypt_key *key; /* NULL: a secret */
    uint8_t *secret;       /* NULL: a public key */
    uint32_t secret_count;
    char *kid; /* NULL: it has none */
};

struct jwt_keys {
    uint32_t algs_wanted; /* by the configuration; 0: it says nothing */
    uint32_t count;
    struct jwt_key v[JWT_KEYS_MAX];
};

/* The algorithms with a secret. */
#define JWT_ALGS_HMAC (1u << CFG_JWT_HS256 | 1u << CFG_JWT_HS384 | 1u << CFG_JWT_HS512)

/* See jwt_add_key_file. */
MUST_USE enum err jwt_keys_add_file(struct jwt_keys *keys, struct bytes text, jwt_tell *tell,
                                    void *context);
/* See jwt_add_jwks. */
MUST_USE enum err jwt_keys_add_set(struct jwt_keys *keys, struct bytes text, jwt_tell *tell,
                                   void *context);
/* Frees and wipes all. */
void jwt_keys_fini(struct jwt_keys *keys);

#endif
