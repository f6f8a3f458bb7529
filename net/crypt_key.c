/* net/crypt_key.c -- public keys that prove who signed something. */
#include "net/crypt_key.h"

#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/settings.h>
#include <wolfssl/wolfcrypt/asn.h>
#include <wolfssl/wolfcrypt/asn_public.h>
#include <wolfssl/wolfcrypt/coding.h>
#include <wolfssl/wolfcrypt/ecc.h>
#include <wolfssl/wolfcrypt/ed25519.h>
#include <wolfssl/wolfcrypt/error-crypt.h>
#include <wolfssl/wolfcrypt/hash.h>
#include <wolfssl/wolfcrypt/rsa.h>

#include <stdlib.h>
#include <string.h>

#include "core/base/check.h"

#define RSA_BYTES_MAX (CRYPT_RSA_BITS_MAX / 8)
#define COORDINATE_BYTES 32u
#define ED25519_BYTES 32u
#define DIGEST_BYTES 32u
/* Of a signature with P-256 in DER: two numbers of up to 33 bytes, with their headers. */
#define DER_SIGNATURE_BYTES 80u

struct crypt_key {
    enum crypt_key_kind kind;
    uint32_t a_count, b_count;
    uint8_t a[RSA_BYTES_MAX]; /* modulus; x; the key */
    uint8_t b[RSA_BYTES_MAX]; /* exponent; y */
};

static struct bytes part_a(const struct crypt_key *k)
{
    return bytes_of(k->a, k->a_count);
}

static struct bytes part_b(const struct crypt_key *k)
{
    return bytes_of(k->b, k->b_count);
}

static enum err err_of(int wolfcrypt)
{
    return wolfcrypt == MEMORY_E ? ERR_MEMORY : ERR_PEER;
}

static enum err refused(enum err err, const char *what, const char **why)
{
    *why = err == ERR_MEMORY ? "no memory for it" : what;
    return err;
}

static struct crypt_key *new_key(enum crypt_key_kind kind, struct bytes a, struct bytes b)
{
    struct crypt_key *k = calloc(1, sizeof(*k));

    if (!k)
        return NULL;
    CHECK(a.n <= sizeof(k->a) && b.n <= sizeof(k->b));
    k->kind = kind;
    k->a_count = a.n;
    k->b_count = b.n;
    (void)bytes_put(k->a, a);
    (void)bytes_put(k->b, b);
    return k;
}

static enum err keep(struct crypt_key *k, struct crypt_key **key, const char **why)
{
    *key = k;
    return k ? OK : refused(ERR_MEMORY, NULL, why);
}

/* ---- from numbers ---- */

static struct bytes without_zeros(struct bytes b)
{
    while (b.n > 0 && b.p[0] == 0)
        b = bytes_of(b.p + 1, b.n - 1);
    return b;
}

static uint32_t bits_of(struct bytes number)
{
    uint32_t bits = number.n * 8;

    for (uint8_t top = number.n ? number.p[0] : 0xff; !(top & 0x80); top = (uint8_t)(top << 1))
        bits--;
    return bits;
}

enum err crypt_key_rsa(struct bytes n, struct bytes e, struct crypt_key **key, const char **why)
{
    n = without_zeros(n);
    e = without_zeros(e);
    if (n.n > RSA_BYTES_MAX)
        return refused(ERR_PEER, "an RSA key may have 4096 bits at most", why);
    if (bits_of(n) < CRYPT_RSA_BITS_MIN)
        return refused(ERR_PEER, "an RSA key must have 2048 bits", why);
    /* Even numbers are no key; a large exponent is nobody's, and dear. */
    if (!(n.p[n.n - 1] & 1) || e.n == 0 || e.n > 4 || !(e.p[e.n - 1] & 1) || bits_of(e) < 2)
        return refused(ERR_PEER, "the numbers of the RSA key are no key", why);
    return keep(new_key(CRYPT_KEY_RSA, n, e), key, why);
}

enum err crypt_key_p256(struct bytes x, struct bytes y, struct crypt_key **key, const char **why)
{
    ecc_key ecc;
    int rc;

    if (x.n != COORDINATE_BYTES || y.n != COORDINATE_BYTES)
        return refused(ERR_PEER, "a coordinate of P-256 has 32 bytes", why);
    rc = wc_ecc_init(&ecc);
    if (rc == 0) {
        rc = wc_ecc_import_unsigned(&ecc, x.p, y.p, NULL, ECC_SECP256R1);
        if (rc == 0)
            rc = wc_ecc_check_key(&ecc);
        wc_ecc_free(&ecc);
    }
    if (rc != 0)
        return refused(err_of(rc), "the coordinates are no point of P-256", why);
    return keep(new_key(CRYPT_KEY_P256, x, y), key, why);
}

enum err crypt_key_ed25519(struct bytes x, struct crypt_key **key, const char **why)
{
    ed25519_key ed;
    int rc;

    if (x.n != ED25519_BYTES)
        return refused(ERR_PEER, "a key of Ed25519 has 32 bytes", why);
    rc = wc_ed25519_init(&ed);
    if (rc == 0) {
        rc = wc_ed25519_import_public(x.p, x.n, &ed);
        wc_ed25519_free(&ed);
    }
    if (rc != 0)
        return refused(err_of(rc), "the bytes are no key of Ed25519", why);
    return keep(new_key(CRYPT_KEY_ED25519, x, (struct bytes){0}), key, why);
}

/* ---- from SubjectPublicKeyInfo ---- */

static enum err spki_rsa(struct bytes der, struct crypt_key **key, const char **why)
{
    uint8_t n[RSA_BYTES_MAX], e[RSA_BYTES_MAX];
    word32 at = 0, n_count = sizeof(n), e_count = sizeof(e);
    RsaKey rsa;
    int rc = wc_InitRsaKey(&rsa, NULL);

    if (rc != 0)
        return refused(err_of(rc), NULL, why);
    rc = wc_RsaPublicKeyDecode(der.p, &at, &rsa, der.n);
    if (rc != 0) {
        wc_FreeRsaKey(&rsa);
        return refused(err_of(rc), "it is no RSA, P-256 or Ed25519 key", why);
    }
    rc = wc_RsaFlattenPublicKey(&rsa, e, &e_count, n, &n_count);
    wc_FreeRsaKey(&rsa);
    if (rc != 0)
        return refused(err_of(rc), "an RSA key may have 4096 bits at most", why);
    return crypt_key_rsa(bytes_of(n, n_count), bytes_of(e, e_count), key, why);
}

/* What stands in front of the point of a key on P-256, and of a key of Ed25519. These keys have one
 * form each, so they are compared with it, not parsed. */
static const uint8_t p256_form[] = {0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48,
                                    0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
                                    0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04};
static const uint8_t ed25519_form[] = {0x30, 0x2a, 0x30, 0x05, 0x06, 0x03,
                                       0x2b, 0x65, 0x70, 0x03, 0x21, 0x00};
/* The name of elliptic curves of the older kind, of which P-256 is one. */
static const uint8_t curve_name[] = {0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01};

/* Whether it has this form, with so many bytes behind it, which are *key. */
static bool has_form(struct bytes der, const uint8_t *form, uint32_t form_count, uint32_t count,
                     const uint8_t **key)
{
    *key = der.p + form_count;
    return der.n == form_count + count && memcmp(der.p, form, form_count) == 0;
}

static enum err from_spki(struct bytes der, struct crypt_key **key, const char **why)
{
    const uint8_t *at;

    if (has_form(der, p256_form, sizeof(p256_form), 2 * COORDINATE_BYTES, &at))
        return crypt_key_p256(bytes_of(at, COORDINATE_BYTES),
                              bytes_of(at + COORDINATE_BYTES, COORDINATE_BYTES), key, why);
    if (has_form(der, ed25519_form, sizeof(ed25519_form), ED25519_BYTES, &at))
        return crypt_key_ed25519(bytes_of(at, ED25519_BYTES), key, why);
    if (der.n && memmem(der.p, der.n < 32 ? der.n : 32, curve_name, sizeof(curve_name)))
        return refused(ERR_PEER, "of elliptic curves only P-256 and Ed25519 are known", why);
    return spki_rsa(der, key, why);
}

static enum err from_certificate(struct bytes der, struct crypt_key **key, const char **why)
{
    struct DecodedCert *cert = malloc(sizeof(*cert));
    word32 n = 0;
    uint8_t *spki = NULL;
    enum err e = ERR_MEMORY;
    int rc;

    if (!cert)
        return refused(ERR_MEMORY, NULL, why);
    wc_InitDecodedCert(cert, der.p, der.n, NULL);
    rc = wc_ParseCert(cert, CERT_TYPE, NO_VERIFY, NULL);
    if (rc == 0)
        rc = wc_GetPubKeyDerFromCert(cert, NULL, &n);
    if (rc == LENGTH_ONLY_E) {
        spki = malloc((size_t)n + 1);
        rc = spki ? wc_GetPubKeyDerFromCert(cert, spki, &n) : MEMORY_E;
    }
    if (rc == 0 && spki && cert->keyOID == ED25519k) /* the library keeps these bare */
        e = crypt_key_ed25519(bytes_of(spki, n), key, why);
    else if (rc == 0 && spki)
        e = from_spki(bytes_of(spki, n), key, why);
    else
        e = refused(err_of(rc), "the certificate cannot be read", why);
    wc_FreeDecodedCert(cert);
    free(cert);
    free(spki);
    return e;
}

/* ---- from PEM ---- */

/* What stands before the first `mark`; *rest is what follows it. false: there is none. */
static bool cut(struct bytes text, const char *mark, struct bytes *head, struct bytes *rest)
{
    const uint8_t *at = text.n ? memmem(text.p, text.n, mark, strlen(mark)) : NULL;

    if (!at)
        return false;
    *head = bytes_of(text.p, (size_t)(at - text.p));
    *rest = bytes_of(at + strlen(mark), text.n - head->n - strlen(mark));
    return true;
}

static enum err from_der(struct bytes label, struct bytes der, struct crypt_key **key,
                         const char **why)
{
    if (bytes_eq(label, BYTES_LIT("PUBLIC KEY")))
        return from_spki(der, key, why);
    return from_certificate(der, key, why);
}

static enum err from_base64(struct bytes label, struct bytes base64, struct crypt_key **key,
                            const char **why)
{
    word32 n = base64.n + 1;
    uint8_t *der = malloc(n);
    enum err e;
    int rc;

    if (!der)
        return refused(ERR_MEMORY, NULL, why);
    rc = base64.n ? Base64_Decode(base64.p, base64.n, der, &n) : ASN_INPUT_E;
    if (rc != 0)
        e = refused(err_of(rc), "what stands between its first and last line is no base64", why);
    else
        e = from_der(label, bytes_of(der, n), key, why);
    free(der);
    return e;
}

enum err crypt_key_pem(struct bytes text, struct bytes *rest, struct crypt_key **key,
                       const char **why)
{
    struct bytes before, label, base64;

    *key = NULL;
    *why = NULL;
    if (!cut(text, "-----BEGIN ", &before, rest))
        return ERR_NONE;
    if (!cut(*rest, "-----", &label, rest) || !cut(*rest, "-----END ", &base64, rest) ||
        !bytes_begin(*rest, label))
        return refused(ERR_PEER, "a block in PEM has no end", why);
    *rest = bytes_of(rest->p + label.n, rest->n - label.n);
    if (!bytes_begin(*rest, BYTES_LIT("-----")))
        return refused(ERR_PEER, "a block in PEM has no end", why);
    *rest = bytes_of(rest->p + 5, rest->n - 5);
    if (label.n >= 11 && memcmp(label.p + label.n - 11, "PRIVATE KEY", 11) == 0)
        return refused(ERR_PEER, "it holds a private key; the broker needs the public one", why);
    if (!bytes_eq(label, BYTES_LIT("PUBLIC KEY")) && !bytes_eq(label, BYTES_LIT("CERTIFICATE")))
        return refused(ERR_PEER, "a block in PEM is neither PUBLIC KEY nor CERTIFICATE", why);
    return from_base64(label, base64, key, why);
}

enum crypt_key_kind crypt_key_kind(const struct crypt_key *key)
{
    return key->kind;
}

void crypt_key_destroy(struct crypt_key *key)
{
    free(key);
}

/* ---- signatures ---- */

/* What an RSA signature with SHA-256 holds in front of the digest (RFC 8017, 9.2). */
static const uint8_t digest_info[] = {0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01,
                                      0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20};

static int verify_rsa(const struct crypt_key *k, const uint8_t *digest, struct bytes signature,
                      bool *matches)
{
    uint8_t plain[RSA_BYTES_MAX];
    RsaKey rsa;
    int rc;

    if (signature.n != k->a_count)
        return 0;
    rc = wc_InitRsaKey(&rsa, NULL);
    if (rc != 0)
        return rc;
    rc = wc_RsaPublicKeyDecodeRaw(part_a(k).p, part_a(k).n, part_b(k).p, part_b(k).n, &rsa);
    if (rc == 0)
        rc = wc_RsaSSL_Verify(signature.p, signature.n, plain, sizeof(plain), &rsa);
    wc_FreeRsaKey(&rsa);
    *matches = rc == (int)(sizeof(digest_info) + DIGEST_BYTES) &&
               memcmp(plain, digest_info, sizeof(digest_info)) == 0 &&
               memcmp(plain + sizeof(digest_info), digest, DIGEST_BYTES) == 0;
    return rc;
}

/* Whether a number is one of 1 .. n - 1, with n the order of P-256. */
static bool is_scalar(const uint8_t *number)
{
    static const uint8_t zero[COORDINATE_BYTES];
    static const uint8_t order[COORDINATE_BYTES] = {0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00,
                                                    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                                    0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84,
                                                    0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51};

    return memcmp(number, zero, sizeof(zero)) != 0 && memcmp(number, order, sizeof(order)) < 0;
}

static int verify_p256(const struct crypt_key *k, const uint8_t *digest, struct bytes signature,
                       bool *matches)
{
    uint8_t der[DER_SIGNATURE_BYTES];
    word32 n = sizeof(der);
    int rc, is_good = 0;
    ecc_key ecc;

    if (signature.n != 2 * COORDINATE_BYTES || !is_scalar(signature.p) ||
        !is_scalar(signature.p + COORDINATE_BYTES))
        return 0;
    rc = wc_ecc_init(&ecc);
    if (rc != 0)
        return rc;
    rc = wc_ecc_import_unsigned(&ecc, k->a, k->b, NULL, ECC_SECP256R1);
    if (rc == 0)
        rc = wc_ecc_rs_raw_to_sig(signature.p, COORDINATE_BYTES, signature.p + COORDINATE_BYTES,
                                  COORDINATE_BYTES, der, &n);
    if (rc == 0)
        rc = wc_ecc_verify_hash(der, n, digest, DIGEST_BYTES, &is_good, &ecc);
    wc_ecc_free(&ecc);
    *matches = rc == 0 && is_good == 1;
    return rc;
}

static int verify_ed25519(const struct crypt_key *k, struct bytes text, struct bytes signature,
                          bool *matches)
{
    int rc, is_good = 0;
    ed25519_key ed;

    if (signature.n != ED25519_SIG_SIZE)
        return 0;
    rc = wc_ed25519_init(&ed);
    if (rc != 0)
        return rc;
    rc = wc_ed25519_import_public(k->a, k->a_count, &ed);
    if (rc == 0)
        rc = wc_ed25519_verify_msg(signature.p, signature.n, text.p, text.n, &is_good, &ed);
    wc_ed25519_free(&ed);
    *matches = rc == 0 && is_good == 1;
    return rc;
}

enum err crypt_key_verify(const struct crypt_key *key, struct bytes text, struct bytes signature,
                          bool *matches)
{
    uint8_t digest[DIGEST_BYTES];
    int rc;

    *matches = false;
    if (key->kind == CRYPT_KEY_ED25519) {
        rc = verify_ed25519(key, text, signature, matches);
    } else {
        rc = wc_Sha256Hash(text.p, text.n, digest);
        if (rc == 0 && key->kind == CRYPT_KEY_RSA)
            rc = verify_rsa(key, digest, signature, matches);
        else if (rc == 0)
            rc = verify_p256(key, digest, signature, matches);
    }
    CHECK(rc >= 0 || !*matches);
    return rc == MEMORY_E ? ERR_MEMORY : OK;
}
