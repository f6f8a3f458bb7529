/* tests/core/policy/test_passwd.c -- the password file: users, mistakes, and everybody else. */
#include "core/policy/passwd.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/core/policy/fake_crypt.h"
#include "tests/support/test.h"

/* The golden vectors: password `password`, salt 00 01 ... 0b; and what mosquitto_passwd wrote. */
#define SHA512                                                                                     \
    "$6$AAECAwQFBgcICQoL$b4be9ENqb54sNj+csQTvm3qRtt6r5BJ4pdELhfw3543YRDKXy8YjBxqSsJubpfDSNaXeWIF"  \
    "nCuo6UMHsY83J5w=="
#define PBKDF2                                                                                     \
    "$7$101$AAECAwQFBgcICQoL$DEO14ViPofBJRJpN8uZINnuFUWj8eUeWhlyZ2QOQ+5LgiM0kGXMwv2HwhIvlBQTsHkd"  \
    "+uve2/GFOr/KZ8Y/8Hw=="
#define DEARER                                                                                     \
    "$7$210000$AAECAwQFBgcICQoL$DEO14ViPofBJRJpN8uZINnuFUWj8eUeWhlyZ2QOQ+5LgiM0kGXMwv2HwhIvlBQTs"  \
    "Hkd+uve2/GFOr/KZ8Y/8Hw=="
#define ARGON2ID "$argon2id$v=19$m=47104,t=4,p=1$AAECAwQFBgcICQoLDA0ODw$AAECAwQFBgcICQoLDA0ODw"

static const struct hash_key key = {{11, 22, 33, 44}};

/* What was reported: `line+ what` for a mistake, `line? what` for a warning, one a line. */
static char said[4096];
static uint32_t mistakes, warnings;

static void report(void *arg, uint32_t line, bool is_warning, const char *what)
{
    size_t n = strlen(said);

    assert_ptr_equal(arg, said);
    assert_true(strlen(what) < USER_FILE_SAID_BYTES);
    snprintf(said + n, sizeof(said) - n, "%u%c %s\n", line, is_warning ? '?' : '+', what);
    mistakes += !is_warning;
    warnings += is_warning;
}

static struct passwd *parse_bytes(struct bytes text)
{
    uint8_t *copy = malloc(text.n ? text.n : 1);
    struct passwd *p;
    enum err e;

    assert_non_null(copy);
    bytes_put(copy, text);
    said[0] = '\0';
    mistakes = warnings = 0;
    e = passwd_parse(bytes_of(copy, text.n), &key, report, said, &p);
    assert_int_equal(e, mistakes ? ERR_PEER : OK);
    assert_int_equal(p == NULL, mistakes != 0);
    free(copy); /* the table needs it no more */
    return p;
}

static struct passwd *parse(const char *text)
{
    return parse_bytes(bytes_str(text));
}

static bool has(const struct passwd *p, const char *user)
{
    return passwd_is_user(passwd_find(p, bytes_str(user)));
}

TEST(passwd_finds_the_users_of_a_file)
{
    struct passwd *p = parse("# users\nalice:" SHA512 "\n\nbob:" PBKDF2 "\ncarl:" ARGON2ID);
    const struct passwd_entry *e;

    assert_non_null(p);
    assert_string_equal(said, "");
    assert_int_equal(passwd_users(p), 3);
    e = passwd_find(p, BYTES_LIT("alice"));
    assert_true(passwd_is_user(e) && bytes_eq(e->name, BYTES_LIT("alice")));
    assert_int_equal(e->hash.kind, PASSWD_SHA512);
    assert_int_equal(e->line, 2);
    e = passwd_find(p, BYTES_LIT("bob"));
    assert_int_equal(e->hash.kind, PASSWD_PBKDF2);
    assert_int_equal(e->hash.cost, 101);
    assert_int_equal(e->hash.salt.n, 12);
    assert_int_equal(e->hash.salt.p[11], 0x0b);
    assert_int_equal(e->hash.hash.n, 64);
    assert_int_equal(e->hash.hash.p[0], 0x0c);
    assert_int_equal(e->line, 4);
    e = passwd_find(p, BYTES_LIT("carl"));
    assert_int_equal(e->hash.kind, PASSWD_ARGON2ID);
    assert_int_equal(e->hash.memory_kib, 47104);
    passwd_release(p);
}

TEST(passwd_knows_only_whole_names)
{
    struct passwd *p = parse("alice:" PBKDF2 "\n");

    assert_false(has(p, ""));
    assert_false(has(p, "alic"));
    assert_false(has(p, "alice "));
    assert_false(has(p, "Alice"));
    assert_false(passwd_is_user(passwd_find(p, BYTES_LIT("alice\0"))));
    passwd_release(p);
}

TEST(passwd_trims_blanks_and_cuts_at_a_second_colon)
{
    struct passwd *p = parse(" alice\t:  " PBKDF2 " \r\nbob:" SHA512 ":rest:of it\r\n");

    assert_non_null(p);
    assert_true(has(p, "alice"));
    assert_true(has(p, "bob"));
    passwd_release(p);
}

TEST(passwd_passes_over_a_byte_order_mark)
{
    struct passwd *p = parse("\xef\xbb\xbf"
                             "alice:" PBKDF2 "\n");

    assert_true(has(p, "alice"));
    passwd_release(p);
}

TEST(passwd_warns_of_lines_without_a_colon_and_makes_no_user_of_them)
{
    struct passwd *p = parse("alice\n\n \t\n#bob:" PBKDF2 "\n " PBKDF2 "\n");

    assert_non_null(p);
    assert_string_equal(said, "1? no colon, so this is no user; the line is passed over\n"
                              "5? no colon, so this is no user; the line is passed over\n");
    assert_int_equal(passwd_users(p), 0);
    assert_false(has(p, "alice"));
    assert_false(has(p, "#bob"));
    passwd_release(p);
}

TEST(passwd_never_makes_a_user_without_a_password) /* CVE-2018-12551 */
{
    assert_null(parse("alice:\n"));
    assert_string_equal(said, "1+ user 'alice': there is no hash\n");
    assert_null(parse("alice: \t \n"));
    assert_null(parse(":" PBKDF2 "\n"));
    assert_string_equal(said, "1+ there is no user name before the colon\n");
    assert_null(parse("  :" PBKDF2 "\n"));
    assert_null(parse(":\n"));
    assert_null(parse("alice::" PBKDF2 "\n"));
}

TEST(passwd_reports_every_mistake_with_its_line)
{
    assert_null(parse("alice:secret\n"
                      "bob:" PBKDF2 "\n"
                      "no colon\n"
                      "carl:$7$0$AAECAwQFBgcICQoL$AAEC\n"
                      "bob:" SHA512 "\n"
                      ":x\n"
                      "dora:$6$AAEC*$AAEC"));
    assert_string_equal(said,
                        "1+ user 'alice': the hash begins neither with $6$ nor $7$ nor $argon2id$\n"
                        "3? no colon, so this is no user; the line is passed over\n"
                        "4+ user 'carl': the iterations are no number from 1 to 10000000\n"
                        "5+ user 'bob' is already on line 2\n"
                        "6+ there is no user name before the colon\n"
                        "7+ user 'dora': the salt is not base64\n");
}

TEST(passwd_refuses_nul_anywhere)
{
    assert_null(parse_bytes(BYTES_LIT("ali\0ce:" PBKDF2 "\n")));
    assert_string_equal(said, "1+ there is a NUL byte\n");
    assert_null(parse_bytes(BYTES_LIT("alice:" PBKDF2 "\0\n")));
    assert_null(parse_bytes(BYTES_LIT("bob:" PBKDF2 "\n\0\0\0\0"))); /* a file after a power cut */
    assert_string_equal(said, "2+ there is a NUL byte\n");
}

TEST(passwd_bounds_the_length_of_names)
{
    static char text[PASSWD_NAME_BYTES_MAX + 512];
    struct passwd *p;

    memset(text, 'x', PASSWD_NAME_BYTES_MAX);
    snprintf(text + PASSWD_NAME_BYTES_MAX, 512, ":%s\n", PBKDF2);
    p = parse(text);
    assert_non_null(p);
    assert_true(passwd_is_user(passwd_find(p, bytes_of(text, PASSWD_NAME_BYTES_MAX))));
    passwd_release(p);
    text[PASSWD_NAME_BYTES_MAX] = 'x';
    snprintf(text + PASSWD_NAME_BYTES_MAX + 1, 511, ":%s\n", PBKDF2);
    assert_null(parse(text));
    assert_string_equal(said, "1+ the user name is longer than 65535 bytes\n");
}

TEST(passwd_cuts_names_and_hides_control_characters_in_sentences)
{
    char text[256];

    memset(text, 'y', 100);
    memcpy(text, "\033[2J\xc3\xa9", 6);
    strcpy(text + 100, ":x\n");
    assert_null(parse(text));
    assert_non_null(strstr(said, "user '?[2J??yyyy"));
    assert_non_null(strstr(said, "yyy...': the hash"));
    assert_null(strstr(said, "\033"));
}

TEST(passwd_never_says_anything_of_a_hash)
{
    assert_null(parse("alice:hunter2\nbob:$7$101$hunter2$hunter2\ncarl:$6$hunter2$hunter2\n"));
    assert_null(strstr(said, "hunter2"));
    passwd_release(parse("hunter2\n"));
    assert_null(strstr(said, "hunter2"));
}

TEST(passwd_warns_of_names_that_are_not_utf8)
{
    struct passwd *p = parse("zo\xeb:" PBKDF2 "\nzo\xc3\xab:" PBKDF2 "\n");

    assert_non_null(p);
    assert_string_equal(said, "1? user 'zo?': no client can have this name, it is not UTF-8\n");
    assert_true(has(p, "zo\xc3\xab"));
    passwd_release(p);
}

TEST(passwd_finds_each_of_many_users)
{
    enum { USERS = 3000 };
    char *text = malloc(USERS * 160), *end = text, name[32];
    struct passwd *p;

    assert_non_null(text);
    for (int i = 0; i < USERS; i++)
        end += sprintf(end, "user%d:%s\n", i, i % 2 ? PBKDF2 : SHA512);
    p = parse(text);
    free(text);
    assert_int_equal(passwd_users(p), USERS);
    for (int i = 0; i < USERS; i++) {
        const struct passwd_entry *e;

        snprintf(name, sizeof(name), "user%d", i);
        e = passwd_find(p, bytes_str(name));
        assert_int_equal(e->line, i + 1);
        assert_int_equal(e->hash.kind, i % 2 ? PASSWD_PBKDF2 : PASSWD_SHA512);
    }
    assert_false(has(p, "user3000"));
    passwd_release(p);
}

TEST(passwd_refuses_too_many_users)
{
    size_t n = (USER_FILE_USERS_MAX + 1) * 2ul;
    char *text = malloc(n);

    assert_non_null(text);
    for (size_t i = 0; i < n; i += 2)
        memcpy(text + i, ":\n", 2);
    assert_null(parse_bytes(bytes_of(text, n)));
    assert_string_equal(said, "0+ there are more than 1000000 users\n");
    free(text);
}

TEST(passwd_refuses_too_large_a_file_without_reading_it)
{
    struct passwd *p;

    said[0] = '\0';
    assert_int_equal(passwd_parse((struct bytes){(const uint8_t *)"x", USER_FILE_BYTES_MAX + 1},
                                  &key, report, said, &p),
                     ERR_PEER);
    assert_null(p);
    assert_string_equal(said, "0+ the file is larger than 256 MiB\n");
}

TEST(passwd_unknown_user_costs_what_the_dearest_one_does)
{
    struct passwd *p = parse("a:" SHA512 "\nb:" DEARER "\nc:" PBKDF2 "\n");
    uint64_t work_us;
    uint32_t memory_kib;
    bool matches;

    fake = (struct fake_work){0};
    assert_int_equal(
        passwd_verify(passwd_find(p, BYTES_LIT("b")), BYTES_LIT("x"), &fake_crypt, &matches), OK);
    assert_int_equal(fake.iterations, 210000);
    fake = (struct fake_work){0};
    assert_int_equal(
        passwd_verify(passwd_find(p, BYTES_LIT("nobody")), BYTES_LIT("x"), &fake_crypt, &matches),
        OK);
    assert_false(matches);
    assert_int_equal(fake.pbkdf2, 1);
    assert_int_equal(fake.iterations, 210000);
    assert_int_equal(fake.compared, 1);
    passwd_dearest(p, &work_us, &memory_kib);
    assert_in_range(work_us, 50000, 250000);
    assert_int_equal(memory_kib, 0);
    passwd_release(p);

    p = parse("b:" DEARER "\nc:" ARGON2ID "\na:" SHA512 "\n");
    fake = (struct fake_work){0};
    assert_int_equal(
        passwd_verify(passwd_find(p, (struct bytes){0}), BYTES_LIT("x"), &fake_crypt, &matches),
        OK);
    assert_int_equal(fake.argon2id, 1);
    assert_int_equal(fake.memory_kib, 47104);
    passwd_dearest(p, &work_us, &memory_kib);
    assert_int_equal(memory_kib, 47104);
    passwd_release(p);
}

TEST(passwd_unknown_user_is_refused_even_with_the_password_of_the_dearest)
{
    struct passwd_room room = {{0}, {0}};
    struct passwd_hash hash = {
        .kind = PASSWD_PBKDF2, .cost = 9, .salt = {room.salt, 12}, .hash = {room.hash, 64}};
    char text[PASSWD_HASH_TEXT_BYTES], file[PASSWD_HASH_TEXT_BYTES + 8];
    struct passwd *p;
    bool matches;

    fake = (struct fake_work){0};
    assert_int_equal(passwd_hash_make(&hash, BYTES_LIT("secret"), &fake_crypt, room.hash), OK);
    passwd_hash_format(&hash, text);
    snprintf(file, sizeof(file), "alice:%s\n", text);
    p = parse(file);
    assert_int_equal(passwd_verify(passwd_find(p, BYTES_LIT("alice")), BYTES_LIT("secret"),
                                   &fake_crypt, &matches),
                     OK);
    assert_true(matches);
    assert_int_equal(passwd_verify(passwd_find(p, BYTES_LIT("mallory")), BYTES_LIT("secret"),
                                   &fake_crypt, &matches),
                     OK);
    assert_false(matches);
    assert_int_equal(passwd_verify(passwd_find(p, (struct bytes){0}), BYTES_LIT("secret"),
                                   &fake_crypt, &matches),
                     OK);
    assert_false(matches);
    passwd_release(p);
}

TEST(passwd_of_an_empty_file_refuses_everybody)
{
    struct passwd *p = parse("");
    bool matches = true;

    fake = (struct fake_work){0};
    assert_non_null(p);
    assert_int_equal(passwd_users(p), 0);
    assert_int_equal(
        passwd_verify(passwd_find(p, BYTES_LIT("a")), BYTES_LIT("b"), &fake_crypt, &matches), OK);
    assert_false(matches);
    assert_int_equal(fake.sha512, 1);
    passwd_release(p);
}

TEST(passwd_lives_until_its_last_share_is_released)
{
    struct passwd *p = parse("alice:" PBKDF2 "\n");
    const struct passwd_entry *e = passwd_find(p, BYTES_LIT("alice"));

    assert_ptr_equal(passwd_ref(p), p); /* a check under way */
    passwd_release(p);                  /* a reload */
    assert_true(bytes_eq(e->name, BYTES_LIT("alice")));
    passwd_release(p);
    passwd_release(NULL);
}
