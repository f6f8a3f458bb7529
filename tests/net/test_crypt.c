/* tests/net/test_crypt.c -- known answers: the RFCs', the password file's, mosquitto's own. */
#include "net/crypt.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/policy/passwd.h"
#include "core/policy/passwd_cache.h"
#include "tests/support/test.h"

static void assert_hex(const uint8_t *got, const char *hex)
{
    char text[512];
    size_t n = strlen(hex) / 2;

    assert_true(2 * n < sizeof(text));
    for (size_t i = 0; i < n; i++)
        snprintf(text + 2 * i, 3, "%02x", got[i]);
    assert_string_equal(text, hex);
}

/* A repeated byte, as test vectors like it. */
static struct bytes repeated(uint8_t byte, uint32_t n)
{
    static uint8_t many[256];

    memset(many, byte, n);
    return bytes_of(many, n);
}

TEST(crypt_sha256_of_the_standard)
{
    const struct bytes parts[] = {BYTES_LIT("a"), {NULL, 0}, BYTES_LIT("bc")};
    uint8_t digest[CRYPT_SHA256_BYTES];

    assert_int_equal(crypt_sha256(parts, 3, digest), OK);
    assert_hex(digest, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_int_equal(crypt_sha256(NULL, 0, digest), OK);
    assert_hex(digest, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST(crypt_sha512_of_the_standard)
{
    const struct bytes parts[] = {BYTES_LIT("a"), {NULL, 0}, BYTES_LIT("bc")};
    uint8_t digest[CRYPT_SHA512_BYTES];

    assert_int_equal(crypt_sha512(parts, 3, digest), OK);
    assert_hex(digest, "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
                       "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f");
    assert_int_equal(crypt_sha512(NULL, 0, digest), OK);
    assert_hex(digest, "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce"
                       "47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e");
}

/* RFC 4231, test cases 1, 2 and 6. */
TEST(crypt_hmac_of_rfc_4231)
{
    const struct bytes hi = BYTES_LIT("Hi There");
    const struct bytes what[] = {BYTES_LIT("what do ya want "), BYTES_LIT("for nothing?")};
    const struct bytes large = BYTES_LIT("Test Using Larger Than Block-Size Key - Hash Key First");
    uint8_t mac[CRYPT_SHA512_BYTES];

    assert_int_equal(crypt_hmac_sha256(repeated(0x0b, 20), &hi, 1, mac), OK);
    assert_hex(mac, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    assert_int_equal(crypt_hmac_sha256(BYTES_LIT("Jefe"), what, 2, mac), OK);
    assert_hex(mac, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    assert_int_equal(crypt_hmac_sha256(repeated(0xaa, 131), &large, 1, mac), OK);
    assert_hex(mac, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");

    assert_int_equal(crypt_hmac_sha512(repeated(0x0b, 20), &hi, 1, mac), OK);
    assert_hex(mac, "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cde"
                    "daa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854");
    assert_int_equal(crypt_hmac_sha512(BYTES_LIT("Jefe"), what, 2, mac), OK);
    assert_hex(mac, "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554"
                    "9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737");
    assert_int_equal(crypt_hmac_sha512(repeated(0xaa, 131), &large, 1, mac), OK);
    assert_hex(mac, "80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f352"
                    "6b56d037e05f2598bd0fd2215d6a1e5295e64f73f63f0aec8b915a985d786598");
}

TEST(crypt_hmac_of_nothing_under_no_key)
{
    uint8_t mac[CRYPT_SHA512_BYTES];

    assert_int_equal(crypt_hmac_sha256((struct bytes){0}, NULL, 0, mac), OK);
    assert_hex(mac, "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
    assert_int_equal(crypt_hmac_sha512((struct bytes){0}, NULL, 0, mac), OK);
    assert_hex(mac, "b936cee86c9f87aa5d3c6f2e84cb5a4239a5fe50480a6ec66b70ab5b1f4ac673"
                    "0c6c515421b327ec1d69402e53dfb49ad7381eb067b338fd7b0cb22247225d47");
}

/* RFC 7914, chapter 11. */
TEST(crypt_pbkdf2_sha256_of_rfc_7914)
{
    uint8_t key[64];

    assert_int_equal(
        crypt_pbkdf2_sha256(BYTES_LIT("passwd"), BYTES_LIT("salt"), 1, key, sizeof(key)), OK);
    assert_hex(key, "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc"
                    "49ca9cccf179b645991664b39d77ef317c71b845b1e30bd509112041d3a19783");
    assert_int_equal(
        crypt_pbkdf2_sha256(BYTES_LIT("Password"), BYTES_LIT("NaCl"), 80000, key, sizeof(key)), OK);
    assert_hex(key, "4ddcd8f60b98be21830cee5ef22701f9641a4418d04c0414aeff08876b34ab56"
                    "a1d425a1225833549adb841b51c9b3176a272bdebba1d078478f62b397f33c8d");
}

/* Answers of Python's hashlib. */
TEST(crypt_pbkdf2_sha512_gives_what_others_give)
{
    uint8_t key[150];

    assert_int_equal(crypt_pbkdf2_sha512(BYTES_LIT("password"), BYTES_LIT("salt"), 1, key, 64), OK);
    assert_hex(key, "867f70cf1ade02cff3752599a3a53dc4af34c7a669815ae5d513554e1c8cf252"
                    "c02d470a285a0501bad999bfe943c08f050235d7d68b1da55e63f73b60a57fce");
    assert_int_equal(crypt_pbkdf2_sha512(BYTES_LIT("password"), BYTES_LIT("salt"), 4096, key, 64),
                     OK);
    assert_hex(key, "d197b1b33db0143e018b12f3d1d1479e6cdebdcc97c5c0f87f6902e072f457b5"
                    "143f30602641b3d55cd335988cb36b84376060ecd532e039b742a239434af2d5");
    assert_int_equal(crypt_pbkdf2_sha512(BYTES_LIT("passwordPASSWORDpassword"),
                                         BYTES_LIT("saltSALTsaltSALTsaltSALTsaltSALTsalt"), 4096,
                                         key, 64),
                     OK);
    assert_hex(key, "8c0511f4c6e597c6ac6315d8f0362e225f3c501495ba23b868c005174dc4ee71"
                    "115b59f9e60cd9532fa33e0f75aefe30225c583a186cd82bd4daea9724a3d3b8");
}

TEST(crypt_pbkdf2_sha512_with_long_and_with_no_password)
{
    uint8_t key[150];

    assert_int_equal(
        crypt_pbkdf2_sha512(repeated('k', 129), BYTES_LIT("salt"), 3, key, sizeof(key)), OK);
    assert_hex(key, "e1ef2201eada65739fddeefdbaee39063df583be213382491bbed430b9b1de56"
                    "9c6306f8bff8b2e5219e3b4f020945541a6d77e883b569bf98be01db2eaad79d"
                    "550308c909587682e2264448bb7a2b68b90f229938a22c0d093b84546403747340e"
                    "485982dc396ff951829a17ce9e24fab84ecf35615aee605df2cf165981a584509b4"
                    "ed211206ecd0b99df357884fa4b4f175cdb94d");
    assert_int_equal(crypt_pbkdf2_sha512((struct bytes){0}, (struct bytes){0}, 2, key, 20), OK);
    assert_hex(key, "a422663fda8609a1e2fd53541260edf886ec6366");
}

/* A vector of the reference implementation. */
TEST(crypt_argon2id_of_the_reference)
{
    uint8_t key[32];

    assert_int_equal(
        crypt_argon2id(BYTES_LIT("password"), BYTES_LIT("somesalt"), 2, 65536, 1, key, sizeof(key)),
        OK);
    assert_hex(key, "09316115d5cf24ed5a15a31a3ba326e5cf32edc24702987c02b6566f61913cf7");
    assert_int_equal(
        crypt_argon2id(BYTES_LIT("password"), BYTES_LIT("somesalt"), 2, 256, 2, key, sizeof(key)),
        OK);
    assert_hex(key, "6d093c501fd5999645e0ea3bf620d7b8be7fd2db59c20d9fff9539da2bf57037");
}

TEST(crypt_argon2id_refuses_what_argon2_does_not_allow)
{
    uint8_t key[32];

    assert_int_equal(crypt_argon2id(BYTES_LIT("p"), BYTES_LIT("short"), 1, 64, 1, key, sizeof(key)),
                     ERR_PEER);
    assert_int_equal(
        crypt_argon2id(BYTES_LIT("p"), BYTES_LIT("somesalt"), 1, 8, 2, key, sizeof(key)), ERR_PEER);
}

TEST(crypt_equal_sees_every_byte)
{
    uint8_t a[64] = {0}, b[64] = {0};

    assert_true(crypt_equal(a, b, sizeof(a)));
    assert_true(crypt_equal(a, b, 0));
    for (size_t i = 0; i < sizeof(a); i++) {
        b[i] = (uint8_t)(1u << i % 8);
        assert_false(crypt_equal(a, b, sizeof(a)));
        b[i] = 0;
    }
}

TEST(crypt_random_differs_each_time)
{
    uint8_t a[600] = {0}, b[600] = {0}; /* more than one getrandom() must give at once */

    assert_int_equal(crypt_random(a, sizeof(a)), OK);
    assert_int_equal(crypt_random(b, sizeof(b)), OK);
    assert_memory_not_equal(a, b, sizeof(a));
    assert_memory_not_equal(a, a + 300, 300);
    assert_int_equal(crypt_random(NULL, 0), OK);
}

TEST(crypt_wipe_leaves_zeros)
{
    uint8_t a[16], zero[16] = {0};

    memset(a, 1, sizeof(a));
    crypt_wipe(a, sizeof(a));
    assert_memory_equal(a, zero, sizeof(a));
}

/* ------------------------------------------------------------- with core's password file --- */

/* The first two were made by hand (salt 00 01 ... 0b), the next three by mosquitto_passwd 2.0.11,
 * the last is the reference's. */
static const char file[] =
    "sha512:$6$AAECAwQFBgcICQoL$b4be9ENqb54sNj+csQTvm3qRtt6r5BJ4pdELhfw3543YRDKXy8YjBxqSsJubpfDSNa"
    "XeWIFnCuo6UMHsY83J5w==\n"
    "pbkdf2:$7$101$AAECAwQFBgcICQoL$DEO14ViPofBJRJpN8uZINnuFUWj8eUeWhlyZ2QOQ+5LgiM0kGXMwv2HwhIvlBQ"
    "TsHkd+uve2/GFOr/KZ8Y/8Hw==\n"
    "alice:$7$101$2vhc+apZQWLvsL8E$u2d2iVd3zOO+qx8ZBcGikPVBx/jxa9paCpqmT9ceeEVJpD4JVp47c7Akv/BbFIP6"
    "oqtpMZMC8+hBQFE3zDeP1A==\n"
    "bob:$6$RQjFooMG1olmOI8V$wXpkCWvVpmFkywkFApl/2+eKOik5n73JbeJjk1/X5frdG+X5r9LGJ+1I9+Bs2j3gzu2IJ9"
    "JWijYkwKDwoSjofQ==\n"
    "zo\xc3\xab:$7$101$OdYumNoq5OVVorr+$1wOmotg/p89hkp7ZLypcL0LrHKmgrvST3XI4EavuUdpS+fjEnkYAtst6ERP"
    "+5fE90kvt8V5O7l+wHD8FsQst6g==\n"
    "argon:$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$"
    "CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc\n";

static const struct {
    const char *user, *password;
} right[] = {
    {"sha512", "password"},
    {"pbkdf2", "password"},
    {"alice", "wonder land"},
    {"bob", "builder"},
    {"zo\xc3\xab", "p\xc3\xa4ssw\xc3\xb6rd"},
    {"argon", "password"},
};
#define RIGHT (sizeof(right) / sizeof(right[0]))

static void no_report(void *arg, uint32_t line, bool is_warning, const char *what)
{
    (void)arg;
    fail_msg("line %u: %s (%d)", line, what, is_warning);
}

static struct passwd *parse(void)
{
    const struct hash_key key = {{1, 2, 3, 4}};
    struct passwd *p;

    assert_int_equal(passwd_parse(bytes_str(file), &key, no_report, NULL, &p), OK);
    return p;
}

static bool lets_in(const struct passwd *p, const char *user, const char *password)
{
    bool matches;

    return passwd_verify(passwd_find(p, bytes_str(user)), bytes_str(password), &crypt_passwd,
                         &matches) == OK &&
           matches;
}

TEST(crypt_passwd_checks_the_files_of_mosquitto)
{
    struct passwd *p = parse();

    for (size_t i = 0; i < RIGHT; i++) {
        assert_true(lets_in(p, right[i].user, right[i].password));
        assert_false(lets_in(p, right[i].user, "Password"));
        assert_false(lets_in(p, right[i].user, ""));
    }
    assert_false(lets_in(p, "nobody", "password"));
    passwd_release(p);
}

/* One share for each thread; the first lets go of the table while the others check. */
struct checker {
    struct passwd *p;
    uint32_t good;
};

static void *check_all(void *arg)
{
    struct checker *c = arg;

    for (size_t i = 0; i + 1 < RIGHT; i++) /* without argon2id: memory */
        c->good += lets_in(c->p, right[i].user, right[i].password);
    passwd_release(c->p);
    return NULL;
}

TEST(crypt_passwd_serves_many_threads_across_a_reload)
{
    struct passwd *p = parse();
    struct checker checkers[4];
    pthread_t threads[4];

    for (size_t i = 0; i < 4; i++) {
        checkers[i] = (struct checker){.p = passwd_ref(p)};
        assert_int_equal(pthread_create(&threads[i], NULL, check_all, &checkers[i]), 0);
    }
    passwd_release(p);
    for (size_t i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(checkers[i].good, RIGHT - 1);
    }
}

TEST(crypt_passwd_makes_proofs_for_the_cache)
{
    static const uint8_t key[PASSWD_CACHE_KEY_BYTES] = {42};
    struct passwd *p = parse();
    struct passwd_cache *cache = passwd_cache_create(16);
    const struct passwd_entry *e = passwd_find(p, BYTES_LIT("alice"));
    struct passwd_proof good, bad;

    assert_int_equal(passwd_proof_make(key, e, BYTES_LIT("wonder land"), &crypt_passwd, &good), OK);
    assert_int_equal(passwd_proof_make(key, e, BYTES_LIT("wonderland"), &crypt_passwd, &bad), OK);
    passwd_cache_put(cache, &good, 0, 10);
    assert_true(passwd_cache_has(cache, &good, 9));
    assert_false(passwd_cache_has(cache, &bad, 9));
    assert_int_equal(passwd_proof_make(key, passwd_find(p, BYTES_LIT("nobody")), BYTES_LIT("x"),
                                       &crypt_passwd, &bad),
                     ERR_NONE);
    passwd_cache_destroy(cache);
    passwd_release(p);
}
