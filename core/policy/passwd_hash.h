/* core/policy/passwd_hash.h -- one hash of a password file: text, structure, check.
 *
 *     $6$<salt>$<hash>                                SHA-512 of password and salt, one round
 *     $7$<iterations>$<salt>$<hash>                   PBKDF2-HMAC-SHA-512
 *     $argon2id$v=19$m=<KiB>,t=<passes>,p=<lanes>$<salt>$<hash>
 *
 * Salt and hash are base64, with padding in the first two, without in the third (a PHC string).
 * This is what mosquitto_passwd writes. Core computes no hash itself: the functions are handed in.
 *
 * Threads  any; nothing here has a state.
 */
#ifndef CORE_POLICY_PASSWD_HASH_H
#define CORE_POLICY_PASSWD_HASH_H

#include "core/base/bytes.h"
#include "core/base/err.h"

/* What a hash may cost whoever checks it. Beyond: the line is a mistake, and the file is refused.
 * 10,000,000 iterations are three to ten seconds; argon2id holds its memory while it computes, so a
 * server needs it times the checks that run at once. */
#define PASSWD_ITERATIONS_MAX 10000000u
#define PASSWD_ARGON2_KIB_MAX (256u << 10)
#define PASSWD_ARGON2_PASSES_MAX 64u
#define PASSWD_ARGON2_LANES_MAX 64u

/* Bytes of salt and hash. SHA-512 and PBKDF2: a salt of 12 or 64 and a hash of 64, nothing else. */
#define PASSWD_SALT_BYTES_MAX 64u
#define PASSWD_HASH_BYTES_MAX 64u
#define PASSWD_ARGON2_SALT_BYTES_MIN 8u
#define PASSWD_ARGON2_HASH_BYTES_MIN 16u

/* Bytes of the longest text of a hash, with its NUL. */
#define PASSWD_HASH_TEXT_BYTES 256u

/* Bytes of a password; those of MQTT. Beyond: it matches nothing. */
#define PASSWD_PASSWORD_BYTES_MAX 65535u

enum passwd_kind { PASSWD_SHA512, PASSWD_PBKDF2, PASSWD_ARGON2ID, PASSWD_KIND_COUNT };

struct passwd_hash {
    enum passwd_kind kind;
    uint32_t cost;       /* PBKDF2: iterations; argon2id: passes; SHA-512: 1 */
    uint32_t memory_kib; /* of argon2id; 0 else */
    uint32_t lanes;      /* of argon2id; 0 else */
    struct bytes salt;
    struct bytes hash;
};

/* The functions a check needs; net/crypt.c has them as `crypt_passwd`. Each may be called on any
 * thread, answers OK or ERR_MEMORY, and holds nothing when it has answered. */
struct passwd_crypt {
    /* SHA-512 of the parts one behind the other. */
    enum err (*sha512)(const struct bytes *parts, uint32_t count, uint8_t digest[64]);
    /* HMAC-SHA-256 of the parts one behind the other. */
    enum err (*hmac_sha256)(struct bytes key, const struct bytes *parts, uint32_t count,
                            uint8_t mac[32]);
    /* PBKDF2 with HMAC-SHA-512. */
    enum err (*pbkdf2_sha512)(struct bytes password, struct bytes salt, uint32_t iterations,
                              uint8_t *to, uint32_t n);
    /* argon2id, version 19. */
    enum err (*argon2id)(struct bytes password, struct bytes salt, uint32_t passes,
                         uint32_t memory_kib, uint32_t lanes, uint8_t *to, uint32_t n);
    /* Whether n bytes are the same, in a time that does not depend on where they differ. */
    bool (*equal)(const void *a, const void *b, size_t n);
};

/* Room for the salt and the hash of one. */
struct passwd_room {
    uint8_t salt[PASSWD_SALT_BYTES_MAX];
    uint8_t hash[PASSWD_HASH_BYTES_MAX];
};

/* Reads the text of a hash. OK: `*out` points into `room`.  ERR_PEER: `*why` is a sentence without
 * an end, fixed text, and never contains anything of the hash. */
MUST_USE enum err passwd_hash_parse(struct bytes text, struct passwd_room *room,
                                    struct passwd_hash *out, const char **why);

/* Writes the text of a hash, with a NUL, and returns its length. */
uint32_t passwd_hash_format(const struct passwd_hash *hash, char text[PASSWD_HASH_TEXT_BYTES]);

/* Computes the hash of `password` with the kind, cost and salt of `hash`: hash->hash.n bytes to
 * `to`.  ERR_PEER: a password with a NUL or beyond the bound; ERR_MEMORY. */
MUST_USE enum err passwd_hash_make(const struct passwd_hash *hash, struct bytes password,
                                   const struct passwd_crypt *crypt, uint8_t *to);

/* Whether `password` is the one that was hashed. Takes from microseconds to seconds: not for the
 * thread of a worker.  ERR_MEMORY: it is not known, `*matches` is false.  A password with a NUL or
 * beyond the bound never matches. */
MUST_USE enum err passwd_hash_check(const struct passwd_hash *hash, struct bytes password,
                                    const struct passwd_crypt *crypt, bool *matches);

/* What a check costs, in about microseconds of one processor; for comparing. */
uint64_t passwd_hash_work_us(const struct passwd_hash *hash);

#endif
