/* net/crypt.c -- hashes, password hashes and random bytes.
 *
 * PBKDF2 with SHA-512 is ours, over wolfCrypt's SHA-512: wolfCrypt's own hashes the two padded keys
 * anew in every iteration, four blocks where two will do. The attacker does it in two; a login
 * should not cost the broker twice as much.
 */
#include "net/crypt.h"

#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/settings.h>
#include <wolfssl/wolfcrypt/error-crypt.h>
#include <wolfssl/wolfcrypt/hmac.h>
#include <wolfssl/wolfcrypt/pwdbased.h>
#include <wolfssl/wolfcrypt/sha.h>
#include <wolfssl/wolfcrypt/sha256.h>
#include <wolfssl/wolfcrypt/sha512.h>

#include <argon2.h>
#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "core/base/check.h"

#define BLOCK_BYTES 128u /* of SHA-512 */
#define INNER_PAD 0x36
#define OUTER_PAD 0x5c

/* wolfCrypt refuses only what this file never asks for, so what remains is memory. */
static enum err err_of(int wolfcrypt)
{
    CHECK(wolfcrypt != BAD_FUNC_ARG);
    return wolfcrypt == 0 ? OK : ERR_MEMORY;
}

/* wolfCrypt picks its code for this processor at the first use and notes that without a lock. So
 * the first use is here, before there is a second thread. */
__attribute__((constructor)) static void pick_code(void)
{
    uint8_t digest[CRYPT_SHA512_BYTES];

    if (crypt_sha512(NULL, 0, digest) == OK)
        (void)!crypt_hmac_sha256((struct bytes){0}, NULL, 0, digest);
}

enum err crypt_sha1(const struct bytes *parts, uint32_t count, uint8_t digest[CRYPT_SHA1_BYTES])
{
    wc_Sha sha;
    int rc = wc_InitSha(&sha);

    for (uint32_t i = 0; i < count && rc == 0; i++)
        rc = parts[i].n ? wc_ShaUpdate(&sha, parts[i].p, parts[i].n) : 0;
    if (rc == 0)
        rc = wc_ShaFinal(&sha, digest);
    wc_ShaFree(&sha);
    if (rc != 0)
        memset(digest, 0, CRYPT_SHA1_BYTES);
    return err_of(rc);
}

enum err crypt_sha256(const struct bytes *parts, uint32_t count, uint8_t digest[CRYPT_SHA256_BYTES])
{
    wc_Sha256 sha;
    int rc = wc_InitSha256(&sha);

    memset(digest, 0, CRYPT_SHA256_BYTES);
    if (rc != 0)
        return err_of(rc);
    for (uint32_t i = 0; i < count && rc == 0; i++)
        rc = parts[i].n ? wc_Sha256Update(&sha, parts[i].p, parts[i].n) : 0;
    if (rc == 0)
        rc = wc_Sha256Final(&sha, digest);
    wc_Sha256Free(&sha);
    explicit_bzero(&sha, sizeof(sha));
    return err_of(rc);
}

static int add_parts(wc_Sha512 *sha, const struct bytes *parts, uint32_t count)
{
    int rc = 0;

    for (uint32_t i = 0; i < count && rc == 0; i++) {
        if (parts[i].n > 0)
            rc = wc_Sha512Update(sha, parts[i].p, parts[i].n);
    }
    return rc;
}

enum err crypt_sha512(const struct bytes *parts, uint32_t count, uint8_t digest[CRYPT_SHA512_BYTES])
{
    wc_Sha512 sha;
    int rc = wc_InitSha512(&sha);

    memset(digest, 0, CRYPT_SHA512_BYTES);
    if (rc != 0)
        return err_of(rc);
    rc = add_parts(&sha, parts, count);
    if (rc == 0)
        rc = wc_Sha512Final(&sha, digest);
    wc_Sha512Free(&sha);
    explicit_bzero(&sha, sizeof(sha));
    return err_of(rc);
}

/* `type` is WC_SHA256, WC_SHA384 or WC_SHA512. */
static enum err hmac(int type, struct bytes key, const struct bytes *parts, uint32_t count,
                     uint8_t *mac)
{
    static const uint8_t nothing[1];
    Hmac h;
    int rc = wc_HmacInit(&h, NULL, INVALID_DEVID);

    if (rc != 0)
        return err_of(rc);
    rc = wc_HmacSetKey(&h, type, key.n ? key.p : nothing, key.n);
    for (uint32_t i = 0; i < count && rc == 0; i++) {
        if (parts[i].n > 0)
            rc = wc_HmacUpdate(&h, parts[i].p, parts[i].n);
    }
    if (rc == 0)
        rc = wc_HmacFinal(&h, mac);
    wc_HmacFree(&h);
    explicit_bzero(&h, sizeof(h));
    return err_of(rc);
}

enum err crypt_hmac_sha256(struct bytes key, const struct bytes *parts, uint32_t count,
                           uint8_t mac[CRYPT_SHA256_BYTES])
{
    memset(mac, 0, CRYPT_SHA256_BYTES);
    return hmac(WC_SHA256, key, parts, count, mac);
}

enum err crypt_hmac_sha384(struct bytes key, const struct bytes *parts, uint32_t count,
                           uint8_t mac[CRYPT_SHA384_BYTES])
{
    memset(mac, 0, CRYPT_SHA384_BYTES);
    return hmac(WC_SHA384, key, parts, count, mac);
}

enum err crypt_hmac_sha512(struct bytes key, const struct bytes *parts, uint32_t count,
                           uint8_t mac[CRYPT_SHA512_BYTES])
{
    memset(mac, 0, CRYPT_SHA512_BYTES);
    return hmac(WC_SHA512, key, parts, count, mac);
}

enum err crypt_pbkdf2_sha256(struct bytes password, struct bytes salt, uint32_t iterations,
                             uint8_t *to, uint32_t n)
{
    static const uint8_t nothing[1];
    int rc;

    CHECK(iterations > 0 && iterations <= INT32_MAX && n > 0 && n <= INT32_MAX);
    CHECK(password.n <= INT32_MAX && salt.n <= INT32_MAX);
    memset(to, 0, n);
    rc = wc_PBKDF2(to, password.n ? password.p : nothing, (int)password.n,
                   salt.n ? salt.p : nothing, (int)salt.n, (int)iterations, (int)n, WC_SHA256);
    return err_of(rc);
}

/* HMAC-SHA-512 with a key that stays: the states behind the two padded keys, to go on from. */
struct keyed {
    wc_Sha512 inner, outer, work;
};

static int keyed_init(struct keyed *k, struct bytes password)
{
    uint8_t block[2][BLOCK_BYTES];
    uint8_t key[CRYPT_SHA512_BYTES];
    int rc;

    if (password.n > BLOCK_BYTES) {
        if (crypt_sha512(&password, 1, key) != OK)
            return MEMORY_E;
        password = bytes_of(key, sizeof(key));
    }
    memset(block[0], INNER_PAD, BLOCK_BYTES);
    memset(block[1], OUTER_PAD, BLOCK_BYTES);
    for (uint32_t i = 0; i < password.n; i++) {
        block[0][i] ^= password.p[i];
        block[1][i] ^= password.p[i];
    }
    rc = wc_Sha512Update(&k->inner, block[0], BLOCK_BYTES);
    if (rc == 0)
        rc = wc_Sha512Update(&k->outer, block[1], BLOCK_BYTES);
    explicit_bzero(block, sizeof(block));
    explicit_bzero(key, sizeof(key));
    return rc;
}

/* One half of an HMAC: goes on from a state with `parts`. */
static int keyed_half(struct keyed *k, const wc_Sha512 *from, const struct bytes *parts,
                      uint32_t count, uint8_t digest[CRYPT_SHA512_BYTES])
{
    int rc = wc_Sha512Copy((wc_Sha512 *)from, &k->work); /* it does not write to its source */

    if (rc != 0)
        return rc;
    rc = add_parts(&k->work, parts, count);
    if (rc == 0)
        rc = wc_Sha512Final(&k->work, digest);
    wc_Sha512Free(&k->work);
    return rc;
}

static int keyed_hmac(struct keyed *k, const struct bytes *parts, uint32_t count,
                      uint8_t mac[CRYPT_SHA512_BYTES])
{
    const struct bytes inside = bytes_of(mac, CRYPT_SHA512_BYTES);
    int rc = keyed_half(k, &k->inner, parts, count, mac);

    return rc == 0 ? keyed_half(k, &k->outer, &inside, 1, mac) : rc;
}

/* Block `number` of the result, from 1 (RFC 8018, 5.2). */
static int pbkdf2_block(struct keyed *k, struct bytes salt, uint32_t iterations, uint32_t number,
                        uint8_t sum[CRYPT_SHA512_BYTES])
{
    uint64_t u[CRYPT_SHA512_BYTES / 8];
    uint64_t total[CRYPT_SHA512_BYTES / 8] = {0};
    uint8_t *mac = (uint8_t *)u;
    uint8_t index[4];
    const struct bytes first[] = {salt, bytes_of(index, sizeof(index))};
    const struct bytes again = bytes_of(mac, sizeof(u));
    int rc;

    put_be32(index, number);
    rc = keyed_hmac(k, first, 2, mac);
    for (uint32_t i = 1; rc == 0; i++) {
        for (uint32_t w = 0; w < CRYPT_SHA512_BYTES / 8; w++)
            total[w] ^= u[w];
        if (i == iterations)
            break;
        rc = keyed_hmac(k, &again, 1, mac);
    }
    memcpy(sum, total, sizeof(total));
    explicit_bzero(u, sizeof(u));
    explicit_bzero(total, sizeof(total));
    return rc;
}

static int pbkdf2_blocks(struct keyed *k, struct bytes salt, uint32_t iterations, uint8_t *to,
                         uint32_t n)
{
    uint8_t sum[CRYPT_SHA512_BYTES];
    int rc = 0;

    for (uint32_t number = 1; n > 0 && rc == 0; number++) {
        uint32_t take = n < CRYPT_SHA512_BYTES ? n : CRYPT_SHA512_BYTES;

        rc = pbkdf2_block(k, salt, iterations, number, sum);
        if (rc == 0)
            memcpy(to, sum, take);
        to += take;
        n -= take;
    }
    explicit_bzero(sum, sizeof(sum));
    return rc;
}

enum err crypt_pbkdf2_sha512(struct bytes password, struct bytes salt, uint32_t iterations,
                             uint8_t *to, uint32_t n)
{
    struct keyed k;
    int rc;

    CHECK(iterations > 0 && n > 0);
    memset(to, 0, n);
    rc = wc_InitSha512(&k.inner);
    if (rc != 0)
        return err_of(rc);
    rc = wc_InitSha512(&k.outer);
    if (rc != 0)
        goto inner;
    rc = keyed_init(&k, password);
    if (rc == 0)
        rc = pbkdf2_blocks(&k, salt, iterations, to, n);
    if (rc != 0)
        memset(to, 0, n);
    wc_Sha512Free(&k.outer);
inner:
    wc_Sha512Free(&k.inner);
    explicit_bzero(&k, sizeof(k));
    return err_of(rc);
}

enum err crypt_argon2id(struct bytes password, struct bytes salt, uint32_t passes,
                        uint32_t memory_kib, uint32_t lanes, uint8_t *to, uint32_t n)
{
    /* The library declares its inputs writable, and writes to them only when flags ask for it. */
    argon2_context context = {
        .out = to,
        .outlen = n,
        .pwd = (uint8_t *)password.p,
        .pwdlen = password.n,
        .salt = (uint8_t *)salt.p,
        .saltlen = salt.n,
        .t_cost = passes,
        .m_cost = memory_kib,
        .lanes = lanes,
        .threads = 1,
        .version = ARGON2_VERSION_13,
        .flags = ARGON2_DEFAULT_FLAGS,
    };
    int rc;

    memset(to, 0, n);
    rc = argon2id_ctx(&context);
    if (rc == ARGON2_OK)
        return OK;
    memset(to, 0, n);
    return rc == ARGON2_MEMORY_ALLOCATION_ERROR ? ERR_MEMORY : ERR_PEER;
}

bool crypt_equal(const void *a, const void *b, size_t n)
{
    const volatile uint8_t *x = a, *y = b;
    uint8_t different = 0;

    for (size_t i = 0; i < n; i++)
        different = (uint8_t)(different | (x[i] ^ y[i]));
    return different == 0;
}

enum err crypt_random(void *to, size_t n)
{
    uint8_t *p = to;

    while (n > 0) {
        ssize_t got = getrandom(p, n, 0);

        if (got < 0 && errno != EINTR)
            return ERR_SYSTEM;
        if (got > 0) {
            p += got;
            n -= (size_t)got;
        }
    }
    return OK;
}

void crypt_wipe(void *p, size_t n)
{
    explicit_bzero(p, n);
}

const struct passwd_crypt crypt_passwd = {
    .sha512 = crypt_sha512,
    .hmac_sha256 = crypt_hmac_sha256,
    .pbkdf2_sha512 = crypt_pbkdf2_sha512,
    .argon2id = crypt_argon2id,
    .equal = crypt_equal,
};

const struct scram_crypt crypt_scram = {
    .of = {[SCRAM_SHA256] = {crypt_sha256, crypt_hmac_sha256, crypt_pbkdf2_sha256},
           [SCRAM_SHA512] = {crypt_sha512, crypt_hmac_sha512, crypt_pbkdf2_sha512}},
    .equal = crypt_equal,
    .random = crypt_random,
};
