/* tests/core/policy/test_user_file.c -- lines, blanks and sentences of files of users. */
#include "core/policy/user_file.h"

#include "tests/support/test.h"

struct said {
    uint32_t count, line;
    bool is_warning;
    char what[USER_FILE_SAID_BYTES];
};

static void on_report(void *arg, uint32_t line, bool is_warning, const char *what)
{
    struct said *s = arg;

    s->count++;
    s->line = line;
    s->is_warning = is_warning;
    assert_true(strlen(what) < sizeof s->what);
    strcpy(s->what, what);
}

TEST(user_file_gives_the_lines_that_say_something)
{
    const struct bytes text = BYTES_LIT("\xef\xbb\xbf"
                                        "a:1\n# b:2\n\n \t\r\n c\nd\0:4\ne:5");
    struct said s = {0};
    struct user_file f;
    struct bytes line;
    uint32_t users;

    assert_int_equal(user_file_begin(&f, text, on_report, &s, &users), OK);
    assert_int_equal(users, 3); /* a, d and e */
    assert_true(user_file_next(&f, &line));
    assert_true(bytes_eq(line, BYTES_LIT("a:1")));
    assert_int_equal(f.line, 1);
    assert_true(user_file_next(&f, &line));
    assert_true(bytes_eq(line, BYTES_LIT(" c")));
    assert_int_equal(f.line, 5);
    assert_int_equal(s.count, 0);
    assert_true(user_file_next(&f, &line));
    assert_true(bytes_eq(line, BYTES_LIT("e:5")));
    assert_int_equal(f.line, 7);
    assert_int_equal(s.count, 1);
    assert_int_equal(s.line, 6);
    assert_string_equal(s.what, "there is a NUL byte");
    assert_false(user_file_next(&f, &line));
    assert_int_equal(f.mistakes, 1);
}

TEST(user_file_counts_mistakes_and_not_warnings)
{
    struct said s = {0};
    struct user_file f;
    struct bytes line;
    uint32_t users;

    assert_int_equal(user_file_begin(&f, BYTES_LIT("a"), on_report, &s, &users), OK);
    assert_true(user_file_next(&f, &line));
    user_file_say(&f, true, "%s", "so so");
    assert_true(s.is_warning);
    assert_int_equal(f.mistakes, 0);
    user_file_say(&f, false, "%0*d", 2 * (int)USER_FILE_SAID_BYTES, 1); /* cut */
    assert_false(s.is_warning);
    assert_int_equal(f.mistakes, 1);
    assert_int_equal(s.line, 1);
}

TEST(user_file_shows_names_harmlessly)
{
    static const char long_name[] =
        "0123456789012345678901234567890123456789012345678901234567890123x";

    assert_string_equal(user_file_show(BYTES_LIT("")).text, "");
    assert_string_equal(user_file_show(BYTES_LIT("a\x1b[0m\x80z")).text, "a?[0m?z");
    assert_string_equal(user_file_show(bytes_of(long_name, 64)).text + 60, "0123");
    assert_string_equal(user_file_show(bytes_of(long_name, 65)).text + 60, "0123...");
}

TEST(user_file_takes_and_trims)
{
    struct bytes rest = BYTES_LIT(" a\v: b :c");

    assert_true(bytes_eq(user_file_trim(user_file_take(&rest, ':')), BYTES_LIT("a")));
    assert_true(bytes_eq(user_file_trim(user_file_take(&rest, ':')), BYTES_LIT("b")));
    assert_true(bytes_eq(user_file_take(&rest, ':'), BYTES_LIT("c")));
    assert_int_equal(rest.n, 0);
    assert_int_equal(user_file_take(&rest, ':').n, 0);
    assert_int_equal(user_file_trim(BYTES_LIT(" \t\n\v\f\r")).n, 0);
}
