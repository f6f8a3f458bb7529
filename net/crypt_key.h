/* net/crypt_key.h -- public keys that prove who signed something: RSA, P-256, Ed25519.
 *
 * A key belongs to one kind of signature and never changes, so that it cannot be used for another
 * one. What is kept is its numbers; wolfCrypt's own form is made for each question, as it is
 * written to while it computes.
 *
 * Threads  any may ask a key; whoever made it destroys it when nobody asks any more.
 * Cost     30 (RSA) to 100 us (P-256) for each question.
 */
#ifndef NET_CRYPT_KEY_H
#define NET_CRYPT_KEY_H

#include "core/base/bytes.h"
#include "core/base/err.h"

/* Bits of an RSA key. Beyond, or below: it is refused. */
#define CRYPT_RSA_BITS_MIN 2048u
#define CRYPT_RSA_BITS_MAX 4096u

enum crypt_key_kind {
    CRYPT_KEY_RSA,     /* PKCS#1 v1.5 with SHA-256 (RFC 8017) */
    CRYPT_KEY_P256,    /* ECDSA with SHA-256 on P-256; a signature is r and s, 32 bytes each */
    CRYPT_KEY_ED25519, /* Ed25519 (RFC 8032) */
    CRYPT_KEY_COUNT
};

struct crypt_key; /* opaque: the fields live in crypt_key.c */

/* Makes the key of an RSA modulus and exponent, of the coordinates of a point of P-256, and of the
 * 32 bytes of Ed25519. Leading zeros of the RSA numbers do not count.  ERR_PEER: there is no such
 * key, or it is too weak, and *why says so.  ERR_MEMORY, with words too. */
MUST_USE enum err crypt_key_rsa(struct bytes n, struct bytes e, struct crypt_key **key,
                                const char **why);
MUST_USE enum err crypt_key_p256(struct bytes x, struct bytes y, struct crypt_key **key,
                                 const char **why);
MUST_USE enum err crypt_key_ed25519(struct bytes x, struct crypt_key **key, const char **why);

/* Makes the key of the first block of a text in PEM: a public key (SubjectPublicKeyInfo) or a
 * certificate, of which only the key is taken; nobody asks who vouches for it, or until when. *rest
 * is what follows the block.  ERR_NONE: there is no block in the text.  ERR_PEER, ERR_MEMORY: as
 * above. */
MUST_USE enum err crypt_key_pem(struct bytes text, struct bytes *rest, struct crypt_key **key,
                                const char **why);

/* What signatures it is for. */
enum crypt_key_kind crypt_key_kind(const struct crypt_key *key);

/* Whether the owner of the key has signed `text`. A signature of another form does not match.
 * ERR_MEMORY: it is not known; *matches is false. */
MUST_USE enum err crypt_key_verify(const struct crypt_key *key, struct bytes text,
                                   struct bytes signature, bool *matches);

/* Frees a key. NULL is fine. */
void crypt_key_destroy(struct crypt_key *key);

#endif
