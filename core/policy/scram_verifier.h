/* core/policy/scram_verifier.h -- what a server keeps of a password for SCRAM (RFC 5802, RFC 7677).
 *
 *     SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>
 *     SCRAM-SHA-512$<iterations>:<salt>$<StoredKey>:<ServerKey>
 *
 * Salt and keys are base64 with padding; the form is PostgreSQL's. Nobody can log in with it who
 * does not find the password by trying, but who has it can pretend to be the server. Core computes
 * no hash itself: the functions are handed in. Passwords are taken as they are, without SASLprep,
 * which changes nothing in ASCII.
 *
 * Threads  any; nothing here has a state.
 */
#ifndef CORE_POLICY_SCRAM_VERIFIER_H
#define CORE_POLICY_SCRAM_VERIFIER_H

#include "core/base/bytes.h"
#include "core/base/err.h"

enum scram_kind { SCRAM_SHA256, SCRAM_SHA512, SCRAM_KIND_COUNT };

/* Iterations of a password: the client's work, not ours. Beyond: a mistake. Below the least that
 * RFC 7677 asks for: a warning. */
#define SCRAM_ITERATIONS_MAX 10000000u
#define SCRAM_ITERATIONS_ADVISED 4096u
#define SCRAM_SALT_BYTES_MIN 8u
#define SCRAM_SALT_BYTES_MAX 64u
/* Of the salts that are made here. */
#define SCRAM_SALT_BYTES 16u
#define SCRAM_KEY_BYTES_MAX 64u
/* Bytes of the longest text of a verifier, with its NUL. */
#define SCRAM_VERIFIER_TEXT_BYTES 320u

/* What SCRAM is made of; net/crypt.c has it as `crypt_scram`. Each function answers OK or
 * ERR_MEMORY (`random`: ERR_SYSTEM) and may be called on any thread. */
struct scram_crypt {
    struct scram_functions {
        /* The hash of the parts one behind the other. */
        enum err (*hash)(const struct bytes *parts, uint32_t count, uint8_t *digest);
        /* HMAC of the parts one behind the other. */
        enum err (*hmac)(struct bytes key, const struct bytes *parts, uint32_t count, uint8_t *mac);
        /* PBKDF2 with that HMAC: slow, and only for who makes a verifier. */
        enum err (*pbkdf2)(struct bytes password, struct bytes salt, uint32_t iterations,
                           uint8_t *to, uint32_t n);
    } of[SCRAM_KIND_COUNT];
    /* Whether n bytes are the same, in a time that does not depend on where they differ. */
    bool (*equal)(const void *a, const void *b, size_t n);
    /* n bytes nobody can foretell. */
    enum err (*random)(void *to, size_t n);
};

struct scram_verifier {
    enum scram_kind kind;
    uint32_t iterations;
    struct bytes salt, stored_key, server_key;
};

/* Room for the bytes of one. */
struct scram_room {
    uint8_t salt[SCRAM_SALT_BYTES_MAX];
    uint8_t stored_key[SCRAM_KEY_BYTES_MAX];
    uint8_t server_key[SCRAM_KEY_BYTES_MAX];
};

/* The name of a mechanism, and bytes of its hash. */
struct bytes scram_method(enum scram_kind kind);
/* See scram_method. */
uint32_t scram_hash_bytes(enum scram_kind kind);
/* The mechanism of a name; false: none of ours. Names are compared byte by byte. */
bool scram_kind_of(struct bytes method, enum scram_kind *kind);

/* Reads the text of a verifier. OK: `*out` points into `room`.  ERR_PEER: `*why` is a sentence
 * without an end, fixed text, and contains nothing of the verifier. */
MUST_USE enum err scram_verifier_parse(struct bytes text, struct scram_room *room,
                                       struct scram_verifier *out, const char **why);

/* Writes the text of a verifier, with a NUL, and returns its length. */
uint32_t scram_verifier_format(const struct scram_verifier *v,
                               char text[SCRAM_VERIFIER_TEXT_BYTES]);

/* Makes the keys of a verifier whose kind, iterations and salt are set; they point into `room`.
 * Takes as long as a login takes the client.  ERR_MEMORY. */
MUST_USE enum err scram_verifier_make(struct scram_verifier *v, struct bytes password,
                                      const struct scram_crypt *crypt, struct scram_room *room);

#endif
