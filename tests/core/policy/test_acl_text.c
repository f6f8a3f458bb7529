/* tests/core/policy/test_acl_text.c -- the lines of an ACL file, what is told of them, bounds. */
#include "core/policy/acl_text.h"

#include "tests/core/policy/acl_asks.h"

TEST(acl_takes_one_word_as_the_filter_and_needs_an_access_before_a_blank)
{
    struct acl *acl = read_acl("topic read\ntopic read  two words \t\n");
    struct told told;

    assert_true(ask(acl, NULL, "c", "w", "read"));
    assert_true(ask(acl, NULL, "c", "r", "two words"));
    acl_release(acl);
    read_wrong(BYTES_LIT("topic two words\n"), &told);
    assert_non_null(strstr(told.text, "1: 'two' is no access"));
}

TEST(acl_separates_words_by_blanks_only)
{
    struct acl *acl = read_acl("   user    joe soap  \r\n  topic   read    a/b\t \r\n");
    struct told told;

    assert_true(ask(acl, "joe soap", "c", "r", "a/b"));
    acl_release(acl);
    acl = read_acl("topic read \t a\ntopic \tb\n"); /* a filter of one word keeps its tab */
    assert_true(ask(acl, NULL, "c", "r", "a"));
    assert_true(ask(acl, NULL, "c", "r", "\tb"));
    acl_release(acl);
    read_wrong(BYTES_LIT("topic\tread a\n"), &told);
    assert_non_null(strstr(told.text, "1: 'topic?read': only a blank separates words"));
    read_wrong(BYTES_LIT("topic read\ta b\n"), &told);
    assert_non_null(strstr(told.text, "1: 'read?a' is no access"));
}

TEST(acl_knows_comments_in_the_first_column_only)
{
    struct acl *acl = read_acl("# topic a\n#\n#topic a\n");
    struct told told;

    assert_int_equal(acl_rule_count(acl), 0);
    acl_release(acl);
    read_wrong(BYTES_LIT("topic a\n # x\ntopic read a # x\n"), &told);
    assert_non_null(strstr(told.text, "2: a comment begins in the first column\n"));
    assert_non_null(strstr(told.text, "3: 'a # x' is no filter"));
}

TEST(acl_tells_all_mistakes_with_their_lines)
{
    struct told told;

    read_wrong(BYTES_LIT("usr joe\nuser\ntopic\npattern  \n\ntopic red a\ntopic a/#/b\n"
                         "topic read a+\npattern deny \xff\ntopic a\0b\nuser \xc3\nTOPIC a"),
               &told);
    assert_string_equal(
        told.text,
        "1: 'usr' is not known here; a line begins with user, topic, pattern or #\n"
        "2: 'user' needs a name behind it\n"
        "3: 'topic' needs a filter behind it\n"
        "4: 'pattern' needs a filter behind it\n"
        "6: 'red' is no access (read, write, readwrite, deny); a filter with a blank in it needs "
        "one in front\n"
        "7: 'a/#/b' is no filter: '+' and '#' stand for whole levels, and '#' only for the last\n"
        "8: 'a+' is no filter: '+' and '#' stand for whole levels, and '#' only for the last\n"
        "9: the filter '?' is not UTF-8\n"
        "10: there is a NUL byte in the line\n"
        "11: the user name '?' is longer than 65535 bytes or not UTF-8\n"
        "12: 'TOPIC' is not known here; a line begins with user, topic, pattern or #\n");
    read_wrong(BYTES_LIT("\xEF\xBB\xBFtopic a\n"), &told);
    assert_non_null(strstr(told.text, "1: the file begins with a byte order mark"));
}

TEST(acl_takes_no_file_with_a_mistake_and_needs_nobody_to_tell)
{
    struct acl *acl = NULL;

    assert_int_equal(acl_create(BYTES_LIT("topic a\nx\n"), &key, NULL, NULL, &acl), ERR_PEER);
    assert_null(acl);
}

TEST(acl_warns_of_what_is_probably_not_meant)
{
    struct acl *acl = NULL;
    struct told told = {0};

    assert_int_equal(acl_create(BYTES_LIT("pattern read a/b\ntopic write\npattern %c\n"), &key,
                                tell, &told, &acl),
                     OK);
    assert_string_equal(told.text,
                        "w1: the pattern 'a/b' has neither %c nor %u; it holds for every client\n"
                        "w2: 'write' is taken as the filter, as nothing follows it\n");
    assert_true(ask(acl, "joe", "c", "r", "a/b"));
    acl_release(acl);
}

TEST(acl_quotes_long_and_hostile_text_harmlessly)
{
    char text[512] = "topic \x1b[2J";
    struct told told;

    for (int i = 0; i < 100; i++)
        strcat(text, "\xc3\xa4");
    strcat(text, " a\n");
    read_wrong(bytes_str(text), &told);
    assert_non_null(strstr(told.text, "'?[2J\xc3\xa4"));
    assert_non_null(strstr(told.text, "\xc3\xa4...' is no access"));
    assert_null(strchr(told.text, '\x1b'));
}

TEST(acl_tells_the_first_hundred_mistakes_and_counts_the_rest)
{
    char text[256] = "";
    struct told told;

    for (int i = 0; i < 103; i++)
        strcat(text, "\b\n");
    read_wrong(bytes_str(text), &told);
    assert_int_equal(told.mistakes, ACL_MISTAKES_MAX + 1);
    assert_non_null(strstr(told.text, "100: '?' is not known here"));
    assert_non_null(strstr(told.text, "0: 3 more mistakes\n"));
}

TEST(acl_bounds_the_line_and_the_levels)
{
    static char text[ACL_LINE_BYTES_MAX + 100];
    struct acl *acl;
    struct told told;
    size_t n = (size_t)snprintf(text, sizeof(text), "topic readwrite ");

    memset(text + n, 'a', TOPIC_BYTES_MAX);
    acl = read_acl(text);
    assert_true(ask(acl, NULL, "c", "r", text + n));
    acl_release(acl);
    memset(text + n, 'a', TOPIC_BYTES_MAX + 1);
    read_wrong(bytes_str(text), &told);
    assert_non_null(strstr(told.text, "1: the filter has 65536 bytes; at most 65535"));
    memset(text + n, 'a', ACL_LINE_BYTES_MAX);
    read_wrong(bytes_str(text), &told);
    assert_non_null(strstr(told.text, "1: the line has"));

    memset(text, 0, sizeof(text));
    n = (size_t)snprintf(text, sizeof(text), "topic ");
    memset(text + n, '/', ACL_LEVELS_MAX - 1);
    acl = read_acl(text);
    assert_true(ask(acl, NULL, "c", "r", text + n));
    acl_release(acl);
    memset(text + n, '/', ACL_LEVELS_MAX);
    read_wrong(bytes_str(text), &told);
    assert_non_null(strstr(told.text, "has more than 200 levels"));
}

TEST(acl_bounds_the_file_and_the_rules)
{
    struct acl *acl = NULL;
    struct told told = {0};
    size_t n = (size_t)(ACL_RULES_MAX + 1) * 8;
    char *text = malloc(n);

    assert_int_equal(acl_create(bytes_of("", ACL_BYTES_MAX + 1), &key, tell, &told, &acl),
                     ERR_FULL);
    assert_string_equal(told.text, "0: the file is too large\n");
    assert_non_null(text);
    for (size_t i = 0; i < n; i += 8)
        memcpy(text + i, "topic a\n", 8);
    memset(&told, 0, sizeof(told));
    assert_int_equal(acl_create(bytes_of(text, n), &key, tell, &told, &acl), ERR_FULL);
    assert_string_equal(told.text, "1000001: there are more than 1000000 rules\n");
    assert_null(acl);
    assert_int_equal(acl_create(bytes_of(text, n - 8), &key, tell, &told, &acl), OK);
    assert_int_equal(acl_rule_count(acl), ACL_RULES_MAX);
    acl_release(acl);
    free(text);
}
