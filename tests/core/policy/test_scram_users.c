/* tests/core/policy/test_scram_users.c -- the file of SCRAM users. */
#include "core/policy/scram_users.h"

#include "tests/core/policy/scram_client.h"
#include "tests/support/test.h"

static const struct hash_key key = {{1, 2, 3, 4}};

#define SALT "AAAAAAAAAAAAAAAAAAAAAA=="
#define KEY256 "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
#define GOOD256 "SCRAM-SHA-256$4096:" SALT "$" KEY256 ":" KEY256

struct said {
    uint32_t mistakes, warnings, line;
    char what[USER_FILE_SAID_BYTES];
};

static void on_report(void *arg, uint32_t line, bool is_warning, const char *what)
{
    struct said *s = arg;

    s->mistakes += !is_warning;
    s->warnings += is_warning;
    s->line = line;
    snprintf(s->what, sizeof(s->what), "%s", what);
}

static struct scram_users *parse(const char *text, struct said *s)
{
    struct scram_users *u;
    enum err err;

    *s = (struct said){0};
    err = scram_users_parse(bytes_str(text), &key, on_report, s, &u);
    assert_int_equal(err, s->mistakes ? ERR_PEER : OK);
    assert_int_equal(u != NULL, err == OK);
    return u;
}

TEST(scram_users_are_found_by_name_and_mechanism)
{
    char text[2048] = "\xef\xbb\xbf# comment : with a colon\n\n \t\n";
    struct scram_entry entry;
    struct scram_users *u;
    struct said s;

    scram_line(text, " alice ", SCRAM_SHA256, 4096, "a", "x", &fake_scram);
    scram_line(text, "alice", SCRAM_SHA512, 5000, "b", "x", &fake_scram);
    text[strlen(text) - 1] = '\r'; /* without a line feed, and with a carriage return */
    u = parse(text, &s);
    assert_int_equal(scram_users_count(u), 2);
    assert_int_equal(s.warnings, 0);
    assert_int_equal(scram_users_find(u, SCRAM_SHA256, BYTES_LIT("alice"), &fake_scram, &entry),
                     OK);
    assert_true(entry.is_user && entry.v.iterations == 4096 && entry.v.salt.p[0] == 'a');
    assert_int_equal(scram_users_find(u, SCRAM_SHA512, BYTES_LIT("alice"), &fake_scram, &entry),
                     OK);
    assert_true(entry.is_user && entry.v.iterations == 5000 && entry.v.salt.p[0] == 'b');
    assert_int_equal(scram_users_find(u, SCRAM_SHA512, BYTES_LIT("Alice"), &fake_scram, &entry),
                     OK);
    assert_false(entry.is_user);
    assert_int_equal(entry.credential, 0);
    assert_ptr_equal(scram_users_ref(u), u);
    scram_users_release(u);
    scram_users_release(u);
    scram_users_release(NULL);
    assert_null(scram_users_ref(NULL));
}

TEST(scram_users_file_is_refused_with_all_its_mistakes)
{
    struct said s;

    assert_null(parse("nobody\n"
                      ":" GOOD256 "\n"
                      "a:" GOOD256 "\n"
                      "a:" GOOD256 "\n"
                      "b:$7$101$x$y\n"
                      "\xff:" GOOD256 "\n"
                      "c:\n",
                      &s));
    assert_int_equal(s.mistakes, 6);
    assert_int_equal(s.line, 7);
    assert_null(parse("b:" GOOD256 "\nx\n", &s));
    assert_string_equal(s.what, "no colon, so this is no user");
    assert_int_equal(s.line, 2);
}

TEST(scram_users_verifiers_are_read_strictly)
{
    static const char *const bad[] = {
        "SCRAM-SHA-1$4096:" SALT "$" KEY256 ":" KEY256,
        "scram-sha-256$4096:" SALT "$" KEY256 ":" KEY256,
        "SCRAM-SHA-512$4096:" SALT "$" KEY256 ":" KEY256,
        "SCRAM-SHA-256$0:" SALT "$" KEY256 ":" KEY256,
        "SCRAM-SHA-256$04096:" SALT "$" KEY256 ":" KEY256,
        "SCRAM-SHA-256$10000001:" SALT "$" KEY256 ":" KEY256,
        "SCRAM-SHA-256$99999999999999999999:" SALT "$" KEY256 ":" KEY256,
        "SCRAM-SHA-256$:" SALT "$" KEY256 ":" KEY256,
        "SCRAM-SHA-256$4096:AAAAAAAAAA==$" KEY256 ":" KEY256, /* 7 bytes */
        "SCRAM-SHA-256$4096:$" KEY256 ":" KEY256,
        "SCRAM-SHA-256$4096:AAAAAAAAAAAAAAAAAAAAAA$" KEY256 ":" KEY256,
        "SCRAM-SHA-256$4096:" SALT "$" KEY256,
        "SCRAM-SHA-256$4096:" SALT "$" KEY256 ":",
        "SCRAM-SHA-256$4096:" SALT "$" KEY256 ":" KEY256 "x",
        "SCRAM-SHA-256$4096:" SALT "$" KEY256 ":" KEY256 ":x",
        ("SCRAM-SHA-256$4096:" SALT),
        "SCRAM-SHA-256",
    };
    char text[512];
    struct said s;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        snprintf(text, sizeof(text), "u:%s", bad[i]);
        if (parse(text, &s))
            fail_msg("'%s' was accepted", bad[i]);
        assert_null(strstr(s.what, "AAAA")); /* nothing of a verifier is told */
    }
    scram_users_release(parse("u:" GOOD256, &s));
    assert_int_equal(s.mistakes + s.warnings, 0);
    scram_users_release(parse("u:SCRAM-SHA-256$4095:" SALT "$" KEY256 ":" KEY256, &s));
    assert_int_equal(s.warnings, 1);
}

TEST(scram_users_nul_and_long_names_are_mistakes)
{
    struct bytes nul = BYTES_LIT("a\0b:" GOOD256 "\n");
    char text[2048];
    struct scram_users *u;
    struct said s = {0};

    assert_int_equal(scram_users_parse(nul, &key, on_report, &s, &u), ERR_PEER);
    memset(text, 'n', SCRAM_NAME_BYTES_MAX);
    strcpy(text + SCRAM_NAME_BYTES_MAX, ":" GOOD256);
    scram_users_release(parse(text, &s));
    assert_int_equal(s.mistakes, 0);
    strcpy(text + SCRAM_NAME_BYTES_MAX, "n:" GOOD256);
    assert_null(parse(text, &s));
}

TEST(scram_users_credential_changes_with_the_line)
{
    char text[2048] = "", other[2048] = "";
    struct scram_users *u, *v;
    struct scram_entry entry;
    uint64_t was;
    struct said s;

    scram_line(text, "a", SCRAM_SHA256, 4096, "a", "x", &fake_scram);
    scram_line(text, "b", SCRAM_SHA256, 4096, "a", "y", &fake_scram);
    scram_line(other, "b", SCRAM_SHA256, 4096, "a", "y", &fake_scram);
    scram_line(other, "a", SCRAM_SHA256, 4097, "a", "x", &fake_scram);
    u = parse(text, &s);
    v = parse(other, &s);
    was = scram_users_credential(u, SCRAM_SHA256, BYTES_LIT("a"));
    assert_true(was != 0);
    assert_int_equal(scram_users_find(u, SCRAM_SHA256, BYTES_LIT("a"), &fake_scram, &entry), OK);
    assert_true(entry.credential == was);
    assert_true(was != scram_users_credential(v, SCRAM_SHA256, BYTES_LIT("a")));
    assert_true(scram_users_credential(u, SCRAM_SHA256, BYTES_LIT("b")) ==
                scram_users_credential(v, SCRAM_SHA256, BYTES_LIT("b")));
    assert_true(scram_users_credential(u, SCRAM_SHA512, BYTES_LIT("a")) == 0);
    assert_true(scram_users_credential(NULL, SCRAM_SHA256, BYTES_LIT("a")) == 0);
    scram_users_release(u);
    scram_users_release(v);
}

TEST(scram_users_of_one_mechanism_are_enough)
{
    char text[32768] = "";
    struct scram_entry entry;
    struct scram_users *u;
    struct said s;

    for (int i = 0; i < 70; i++) {
        char name[32];

        sprintf(name, "u%d", i);
        scram_line(text, name, SCRAM_SHA512, 4096, "a", "x", &fake_scram);
    }
    scram_line(text, "last", SCRAM_SHA256, 8000, "a", "x", &fake_scram);
    u = parse(text, &s);
    for (int i = 0; i < 20; i++) {
        char name[32];

        sprintf(name, "x%d", i);
        assert_int_equal(scram_users_find(u, SCRAM_SHA256, bytes_str(name), &fake_scram, &entry),
                         OK);
        assert_int_equal(entry.v.iterations, 8000);
    }
    scram_users_release(u);
}
