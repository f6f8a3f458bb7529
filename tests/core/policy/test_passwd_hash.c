/* tests/core/policy/test_passwd_hash.c -- hashes as text: mosquitto's own, and damaged ones. */
#include "core/policy/passwd_hash.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/core/policy/fake_crypt.h"
#include "tests/support/test.h"

#define SALT12 "AAECAwQFBgcICQoL" /* 00 01 ... 0b */
#define HASH64                                                                                     \
    "DEO14ViPofBJRJpN8uZINnuFUWj8eUeWhlyZ2QOQ+5LgiM0kGXMwv2HwhIvlBQTsHkd+uve2/GFOr/KZ8Y/8Hw=="
#define BARE16 "AAECAwQFBgcICQoLDA0ODw"
#define BARE8 "AAECAwQFBgc"

static struct passwd_room room;

/* Parses from memory of just that size; what is wrong, or NULL. */
static const char *parse(const char *text, struct passwd_hash *hash)
{
    size_t n = strlen(text);
    uint8_t *copy = malloc(n ? n : 1);
    const char *why = NULL;
    enum err e;

    assert_non_null(copy);
    memcpy(copy, text, n);
    e = passwd_hash_parse(bytes_of(copy, n), &room, hash, &why);
    assert_int_equal(e, why ? ERR_PEER : OK);
    free(copy);
    return why;
}

static void assert_wrong(const char *text, const char *why)
{
    struct passwd_hash hash;
    const char *said = parse(text, &hash);

    assert_non_null(said);
    assert_string_equal(said, why);
}

static void assert_comes_back(const char *text)
{
    struct passwd_hash hash;
    char again[PASSWD_HASH_TEXT_BYTES];

    assert_null(parse(text, &hash));
    assert_int_equal(passwd_hash_format(&hash, again), strlen(text));
    assert_string_equal(again, text);
}

TEST(passwd_hash_reads_sha512)
{
    struct passwd_hash hash;

    assert_null(parse("$6$" SALT12 "$" HASH64, &hash));
    assert_int_equal(hash.kind, PASSWD_SHA512);
    assert_int_equal(hash.salt.n, 12);
    for (uint32_t i = 0; i < 12; i++)
        assert_int_equal(hash.salt.p[i], i);
    assert_int_equal(hash.hash.n, 64);
    assert_int_equal(hash.hash.p[0], 0x0c);
    assert_int_equal(hash.hash.p[63], 0x1f);
}

TEST(passwd_hash_reads_pbkdf2_with_its_iterations)
{
    struct passwd_hash hash;

    assert_null(parse("$7$101$" SALT12 "$" HASH64, &hash));
    assert_int_equal(hash.kind, PASSWD_PBKDF2);
    assert_int_equal(hash.cost, 101);
    assert_int_equal(hash.salt.n, 12);
    assert_int_equal(hash.hash.n, 64);
    assert_null(parse("$7$10000000$" SALT12 "$" HASH64, &hash));
    assert_int_equal(hash.cost, PASSWD_ITERATIONS_MAX);
}

TEST(passwd_hash_reads_a_phc_string)
{
    struct passwd_hash hash;

    assert_null(parse("$argon2id$v=19$m=47104,t=3,p=2$" BARE8 "$" BARE16, &hash));
    assert_int_equal(hash.kind, PASSWD_ARGON2ID);
    assert_int_equal(hash.memory_kib, 47104);
    assert_int_equal(hash.cost, 3);
    assert_int_equal(hash.lanes, 2);
    assert_int_equal(hash.salt.n, 8);
    assert_int_equal(hash.hash.n, 16);
}

TEST(passwd_hash_writes_what_it_read)
{
    assert_comes_back("$6$" SALT12 "$" HASH64);
    assert_comes_back("$7$210000$" SALT12 "$" HASH64);
    assert_comes_back("$7$1$" HASH64 "$" HASH64); /* a salt of 64 bytes, as mosquitto 2.1 has */
    assert_comes_back("$argon2id$v=19$m=262144,t=64,p=64$" BARE16 "$" BARE16);
}

TEST(passwd_hash_has_room_for_the_longest_text)
{
    uint8_t bytes[64];
    char text[PASSWD_HASH_TEXT_BYTES];
    struct passwd_hash hash = {.kind = PASSWD_ARGON2ID,
                               .cost = PASSWD_ARGON2_PASSES_MAX,
                               .memory_kib = PASSWD_ARGON2_KIB_MAX,
                               .lanes = PASSWD_ARGON2_LANES_MAX,
                               .salt = {bytes, 64},
                               .hash = {bytes, 64}};

    memset(bytes, 0xff, sizeof(bytes));
    assert_true(passwd_hash_format(&hash, text) < PASSWD_HASH_TEXT_BYTES);
    assert_comes_back(text);
}

TEST(passwd_hash_names_an_unknown_kind)
{
    static const char why[] = "the hash begins neither with $6$ nor $7$ nor $argon2id$";

    assert_wrong("", "there is no hash");
    assert_wrong("secret", why);
    assert_wrong("$5$" SALT12 "$" HASH64, why);
    assert_wrong("$2y$10$abcdefghijklmnopqrstuv", why);
    assert_wrong("$argon2i$v=19$m=47104,t=1,p=1$" BARE16 "$" BARE16, why);
    assert_wrong("$6", why);
}

TEST(passwd_hash_refuses_wrong_iterations)
{
    static const char why[] = "the iterations are no number from 1 to 10000000";

    assert_wrong("$7$0$" SALT12 "$" HASH64, why);
    assert_wrong("$7$-1$" SALT12 "$" HASH64, why);
    assert_wrong("$7$+1$" SALT12 "$" HASH64, why);
    assert_wrong("$7$ 1$" SALT12 "$" HASH64, why);
    assert_wrong("$7$1x$" SALT12 "$" HASH64, why);
    assert_wrong("$7$0101$" SALT12 "$" HASH64, why);
    assert_wrong("$7$10000001$" SALT12 "$" HASH64, why);
    assert_wrong("$7$4294967297$" SALT12 "$" HASH64, why);
    assert_wrong("$7$18446744073709551617$" SALT12 "$" HASH64, why);
    assert_wrong("$7$" SALT12 "$" HASH64, why);
    assert_wrong("$7$101", why);
    assert_wrong("$7$", why);
}

TEST(passwd_hash_refuses_wrong_lengths)
{
    assert_wrong("$6$AAECAwQFBgcICQo=$" HASH64, "the salt is not of 12 or 64 bytes");
    assert_wrong("$6$$" HASH64, "the salt is not of 12 or 64 bytes");
    assert_wrong("$6$" SALT12 "$" SALT12, "the hash is not of 64 bytes");
    assert_wrong("$6$" SALT12 "$", "the hash is not of 64 bytes");
    assert_wrong("$7$101$" SALT12 "$AAEC" HASH64, "the hash is too long");
    assert_wrong("$7$101$AAEC" HASH64 "$" HASH64, "the salt is too long");
    assert_wrong("$argon2id$v=19$m=47104,t=1,p=1$AAECAwQFBg$" BARE16,
                 "the salt is shorter than 8 bytes");
    assert_wrong("$argon2id$v=19$m=47104,t=1,p=1$" BARE16 "$" BARE8,
                 "the hash is shorter than 16 bytes");
}

TEST(passwd_hash_refuses_bad_base64_and_missing_parts)
{
    assert_wrong("$6$AAECAwQFBgcICQo*$" HASH64, "the salt is not base64");
    assert_wrong("$6$" SALT12 "$DEO14", "the hash is not base64");
    assert_wrong("$7$101$" SALT12 "$" BARE16, "the hash is not base64"); /* without padding */
    assert_wrong("$6$" SALT12, "salt and hash are not both there");
    assert_wrong("$6$", "salt and hash are not both there");
    assert_wrong("$7$101$" SALT12, "salt and hash are not both there");
    assert_wrong("$6$" SALT12 "$" HASH64 "$x", "something follows the hash");
    assert_wrong("$6$" SALT12 "$" HASH64 "$", "something follows the hash");
    assert_wrong("$argon2id$v=19$m=47104,t=1,p=1$" BARE16 "$" BARE16 "==",
                 "the hash is not base64");
}

TEST(passwd_hash_bounds_what_a_check_may_cost)
{
    static const char *const bad[][2] = {
        {"$argon2id$v=19$m=262145,t=1,p=1", "argon2id's m is not from 8 to 262144"},
        {"$argon2id$v=19$m=4294967295,t=1,p=1", "argon2id's m is not from 8 to 262144"},
        {"$argon2id$v=19$m=1024,t=65,p=1", "argon2id's t is not from 1 to 64"},
        {"$argon2id$v=19$m=1024,t=0,p=1", "argon2id's t is not from 1 to 64"},
        {"$argon2id$v=19$m=1024,t=1,p=65", "argon2id's p is not from 1 to 64"},
        {"$argon2id$v=19$m=15,t=1,p=2", "argon2id's m is less than 8 times its p"},
        {"$argon2id$v=16$m=1024,t=1,p=1",
         "argon2id is not written v=19$m=...,t=...,p=...$salt$hash"},
        {"$argon2id$m=1024,t=1,p=1", "argon2id is not written v=19$m=...,t=...,p=...$salt$hash"},
        {"$argon2id$v=19$t=1,m=1024,p=1",
         "argon2id is not written v=19$m=...,t=...,p=...$salt$hash"},
    };
    char text[PASSWD_HASH_TEXT_BYTES];

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        snprintf(text, sizeof(text), "%s$" BARE16 "$" BARE16, bad[i][0]);
        assert_wrong(text, bad[i][1]);
    }
}

/* A hash of each kind, made by the fake functions from `password`. */
static void make(enum passwd_kind kind, struct bytes password, struct passwd_hash *hash)
{
    memset(&room, 7, sizeof(room));
    *hash = (struct passwd_hash){.kind = kind,
                                 .cost = kind == PASSWD_SHA512 ? 1 : 5,
                                 .memory_kib = kind == PASSWD_ARGON2ID ? 64 : 0,
                                 .lanes = kind == PASSWD_ARGON2ID,
                                 .salt = {room.salt, 12},
                                 .hash = {room.hash, 64}};
    assert_int_equal(passwd_hash_make(hash, password, &fake_crypt, room.hash), OK);
}

TEST(passwd_hash_matches_the_password_it_was_made_of)
{
    struct passwd_hash hash;
    bool matches;

    fake = (struct fake_work){0};
    for (uint32_t kind = 0; kind < PASSWD_KIND_COUNT; kind++) {
        make((enum passwd_kind)kind, BYTES_LIT("secret"), &hash);
        assert_int_equal(passwd_hash_check(&hash, BYTES_LIT("secret"), &fake_crypt, &matches), OK);
        assert_true(matches);
        assert_int_equal(passwd_hash_check(&hash, BYTES_LIT("secreu"), &fake_crypt, &matches), OK);
        assert_false(matches);
        assert_int_equal(passwd_hash_check(&hash, (struct bytes){0}, &fake_crypt, &matches), OK);
        assert_false(matches);
    }
    assert_int_equal(fake.sha512, 4);
    assert_int_equal(fake.pbkdf2, 4);
    assert_int_equal(fake.argon2id, 4);
    assert_int_equal(fake.compared, 9); /* always in the time that says nothing */
}

TEST(passwd_hash_never_matches_a_password_with_nul_or_beyond_the_bound)
{
    static uint8_t big[PASSWD_PASSWORD_BYTES_MAX + 1];
    struct passwd_hash hash;
    bool matches = true;

    fake = (struct fake_work){0};
    memset(big, 'x', sizeof(big));
    make(PASSWD_PBKDF2, BYTES_LIT("secret"), &hash);
    assert_int_equal(passwd_hash_check(&hash, BYTES_LIT("secret\0"), &fake_crypt, &matches), OK);
    assert_false(matches);
    assert_int_equal(passwd_hash_make(&hash, BYTES_LIT("a\0b"), &fake_crypt, room.hash), ERR_PEER);
    assert_int_equal(passwd_hash_make(&hash, bytes_of(big, sizeof(big)), &fake_crypt, room.hash),
                     ERR_PEER);
    assert_int_equal(
        passwd_hash_make(&hash, bytes_of(big, sizeof(big) - 1), &fake_crypt, room.hash), OK);
}

TEST(passwd_hash_without_memory_is_no_match)
{
    struct passwd_hash hash;
    bool matches = true;

    fake = (struct fake_work){0};
    make(PASSWD_ARGON2ID, BYTES_LIT("secret"), &hash);
    fake.answer = ERR_MEMORY;
    assert_int_equal(passwd_hash_check(&hash, BYTES_LIT("secret"), &fake_crypt, &matches),
                     ERR_MEMORY);
    assert_false(matches);
}
