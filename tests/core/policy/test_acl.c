/* tests/core/policy/test_acl.c -- who may read and write what. */
#include "core/policy/acl.h"

#include "tests/core/policy/acl_asks.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

/* Whether a client may read ("r") or write ("w") a topic. */
struct question {
    const char *user, *client, *access, *topic;
    bool is_allowed;
};

/* What a file says to each question. */
static void judges(const char *text, const struct question *questions, size_t count)
{
    struct acl *acl = read_acl(text);

    for (const struct question *q = questions; q < questions + count; q++) {
        if (ask(acl, q->user, q->client, q->access, q->topic) != q->is_allowed)
            fail_msg("user %s, client %s, %s %s: not %d", q->user ? q->user : "without a name",
                     q->client, q->access, q->topic, q->is_allowed);
    }
    acl_release(acl);
}

TEST(acl_none_allows_everything)
{
    assert_true(ask(NULL, NULL, "c", "w", "a/b"));
    assert_true(ask(NULL, "u+", "c#", "r", "$SYS/a"));
    assert_true(asks_covers(NULL, NULL, "c", "#"));
    assert_true(asks_subscribe(NULL, NULL, "c", "$SYS/#"));
    assert_null(acl_ref(NULL));
    acl_release(NULL);
    assert_int_equal(acl_rule_count(NULL), 0);
    assert_int_equal(acl_bytes(NULL), 0);
}

TEST(acl_subject_that_was_not_made_is_allowed_nothing)
{
    struct acl_subject s = {0};

    assert_false(acl_check(&s, ACL_READ, BYTES_LIT("a")));
    assert_false(acl_covers(&s, ACL_READ, BYTES_LIT("#")));
    assert_false(acl_check_subscribe(&s, BYTES_LIT("#")));
}

TEST(acl_empty_file_denies_everything) /* CVE-2018-12550 */
{
    static const char *const texts[] = {"", "\n", "# nothing\n\n   \n\t\n", "user joe\n"};

    for (int i = 0; i < 4; i++) {
        struct acl *acl = read_acl(texts[i]);

        assert_int_equal(acl_rule_count(acl), 0);
        assert_false(ask(acl, NULL, "c", "r", "a"));
        assert_false(ask(acl, "joe", "c", "w", "a"));
        assert_false(asks_covers(acl, "joe", "c", "#"));
        assert_false(asks_subscribe(acl, "joe", "c", "#"));
        acl_release(acl);
    }
}

TEST(acl_reads_each_access_word)
{
    struct acl *acl = read_acl("topic read r\ntopic write w\ntopic readwrite b\ntopic n\n");

    assert_true(ask(acl, NULL, "c", "r", "r") && !ask(acl, NULL, "c", "w", "r"));
    assert_true(!ask(acl, NULL, "c", "r", "w") && ask(acl, NULL, "c", "w", "w"));
    assert_true(ask(acl, NULL, "c", "r", "b") && ask(acl, NULL, "c", "w", "b"));
    assert_true(ask(acl, NULL, "c", "r", "n") && ask(acl, NULL, "c", "w", "n"));
    assert_int_equal(acl_rule_count(acl), 4);
    assert_true(acl_bytes(acl) > 0);
    acl_release(acl);
}

TEST(acl_rules_before_the_first_user_are_for_clients_without_a_name_only)
{
    static const char text[] = "topic a\nuser joe\ntopic b\n";
    static const struct question questions[] = {
        {NULL, "c", "r", "a", true},  {NULL, "c", "r", "b", false},   {"joe", "c", "r", "a", false},
        {"joe", "c", "r", "b", true}, {"", "c", "r", "a", false}, /* an empty name is a name */
        {"jo", "c", "r", "b", false}, {"joe2", "c", "r", "b", false},
    };

    judges(text, questions, COUNT(questions));
}

TEST(acl_repeated_user_extends_its_list)
{
    struct acl *acl = read_acl("user a\ntopic 1\nuser b\ntopic 2\nuser a\ntopic 3\n");

    assert_true(ask(acl, "a", "c", "r", "1") && ask(acl, "a", "c", "r", "3"));
    assert_false(ask(acl, "a", "c", "r", "2"));
    assert_true(ask(acl, "b", "c", "r", "2"));
    acl_release(acl);
}

TEST(acl_deny_goes_first_wherever_it_stands)
{
    static const char text[] = "user u\ntopic a/#\ntopic deny a/b\ntopic a/b\n"
                               "pattern read p/#\npattern deny p/%c\n";
    static const struct question questions[] = {
        {"u", "c", "r", "a/c", true}, {"u", "c", "r", "a/b", false}, {"u", "c", "w", "a/b", false},
        {"u", "c", "r", "p/d", true}, {"u", "c", "r", "p/c", false},
    };

    judges(text, questions, COUNT(questions));
}

TEST(acl_own_rules_go_before_patterns)
{
    static const char text[] = "user u\ntopic deny x\ntopic read y\n"
                               "pattern readwrite x\npattern deny y\n";
    static const struct question questions[] = {
        {"u", "c", "r", "x", false},
        {"u", "c", "r", "y", true},  /* granted before the deny is asked */
        {"u", "c", "w", "y", false}, /* not granted by the own rules */
        {"v", "c", "w", "x", true},
    };

    judges(text, questions, COUNT(questions));
}

TEST(acl_patterns_put_names_in_wherever_they_stand)
{
    static const char text[] = "pattern a/%c/b\npattern u/x%uy/#\npattern m/%u-%c/%c%c/+\n";
    static const struct question questions[] = {
        {"joe", "c1", "r", "a/c1/b", true},          {"joe", "c1", "r", "a/c2/b", false},
        {"joe", "c1", "r", "a/c/b", false},          {"joe", "c1", "r", "u/xjoey", true},
        {"joe", "c1", "w", "u/xjoey/z/z", true},     {"joe", "c1", "w", "u/xjoe/z", false},
        {"joe", "c1", "w", "m/joe-c1/c1c1/z", true}, {"joe", "c1", "w", "m/joe-c1/c1/z", false},
    };

    judges(text, questions, COUNT(questions));
}

TEST(acl_placeholders_mean_nothing_outside_patterns)
{
    static const char text[] = "topic read a/%c\ntopic read b/%u/#\n";
    static const struct question questions[] = {
        {NULL, "c", "r", "a/%c", true},
        {NULL, "c", "r", "a/c", false},
        {NULL, "%c", "r", "a/%c", true},
    };

    judges(text, questions, COUNT(questions));
}

TEST(acl_placeholders_in_names_are_text)
{
    struct acl *acl = read_acl("pattern a/%u\n");

    assert_true(ask(acl, "%c", "joe", "r", "a/%c"));
    assert_false(ask(acl, "%c", "joe", "r", "a/joe"));
    acl_release(acl);
}

TEST(acl_user_patterns_say_nothing_to_clients_without_a_name)
{
    static const char text[] = "pattern a/%u\npattern b/%c\npattern deny b/%c/%u\npattern b/#\n";
    static const struct question questions[] = {
        {NULL, "c", "r", "a/", false}, {NULL, "c", "r", "a/%u", false},
        {NULL, "c", "r", "b/c", true}, {NULL, "c", "r", "b/c/", true},
        {"", "c", "r", "a/", true},    {"", "c", "r", "b/c/", false},
    };

    judges(text, questions, COUNT(questions));
}

TEST(acl_refuses_wildcards_in_names_where_it_comes_to_patterns) /* CVE-2017-7650 */
{
    static const char *const names[] = {"#", "+", "a#", "x+y"};
    struct acl *acl = read_acl("topic own\nuser a#\ntopic own\nuser #\ntopic own\n"
                               "pattern read %u/#\npattern read i/%c/#\npattern read all\n");

    for (int i = 0; i < 4; i++) {
        assert_false(ask(acl, names[i], "c", "r", "secret"));
        assert_false(ask(acl, names[i], "c", "r", "all"));
        assert_false(ask(acl, NULL, names[i], "r", "i/secret/x"));
        assert_false(ask(acl, NULL, names[i], "r", "all"));
        assert_true(ask(acl, NULL, names[i], "r", "own")); /* before it comes to the patterns */
        assert_false(asks_covers(acl, NULL, names[i], "all"));
        assert_false(asks_subscribe(acl, names[i], "c", "all/#"));
    }
    assert_true(ask(acl, "a#", "c", "r", "own"));
    assert_true(ask(acl, "#", "c", "r", "own"));
    acl_release(acl);
}

TEST(acl_split_names_reach_into_no_other_branch)
{
    static const char text[] = "pattern home/%u/#\npattern dev/%c\npattern read all\n"
                               "pattern deny all/%c\npattern all/#\n";
    static const struct question questions[] = {
        {"joe", "a/b", "w", "home/joe/x", true},
        {"joe/x", "c", "r", "home/joe/x", false},
        {"joe/x", "c", "r", "home/joe/x/y", false},
        {"joe", "a/b", "r", "dev/a/b", false},
        {"joe", "a/b", "r", "dev/a", false},
        {"joe/x", "a/b", "r", "all", true}, /* patterns that do not use them hold */
        {"joe", "a/b", "r", "all/a/b", false},
        {"joe", "a/b", "r", "all/a/c", true},
    };

    judges(text, questions, COUNT(questions));
}

TEST(acl_dollar_topics_match_only_rules_written_with_a_dollar)
{
    static const char text[] = "topic #\ntopic +/x\nuser a\ntopic read $SYS/#\n"
                               "user b\ntopic #\ntopic $SYS/#\ntopic deny #\n"
                               "pattern %c/#\npattern $%c/#\n";
    static const struct question questions[] = {
        {NULL, "c", "r", "SYS/x", true},
        {NULL, "c", "r", "$SYS/x", false},
        {NULL, "c", "r", "$x", false},
        {"a", "c", "r", "$SYS/x", true},
        {"a", "c", "r", "$SYS", true},
        {"a", "c", "r", "x", false},
        {"b", "c", "r", "$SYS/x", true}, /* nor does a deny of # */
        {"b", "c", "r", "SYS/x", false},
        {"x", "$SYS", "r", "$SYS/x", false}, /* the name's dollar is no rule's */
        {"x", "SYS", "r", "$SYS/x", true},
    };

    judges(text, questions, COUNT(questions));
}

TEST(acl_matches_the_parent_of_a_hash)
{
    static const char text[] = "topic a/b/#\n";
    static const struct question questions[] = {
        {NULL, "c", "r", "a/b", true},
        {NULL, "c", "r", "a/b/", true},
        {NULL, "c", "r", "a/bc", false},
        {NULL, "c", "r", "a", false},
    };

    judges(text, questions, COUNT(questions));
}

/* --------------------------------------------------------------------------------- filters --- */

TEST(acl_covers_what_one_rule_grants_and_no_deny_meets)
{
    struct acl *acl = read_acl("topic read a/#\ntopic write b/#\ntopic read +/x/+\n"
                               "topic deny a/secret/+\ntopic read $SYS/#\n");

    assert_true(asks_covers(acl, NULL, "c", "a/b"));
    assert_true(asks_covers(acl, NULL, "c", "a/b/#"));
    assert_true(asks_covers(acl, NULL, "c", "a/b/+/c"));
    assert_true(asks_covers(acl, NULL, "c", "c/x/+"));
    assert_true(asks_covers(acl, NULL, "c", "$SYS/+/a"));
    assert_true(asks_covers(acl, NULL, "c", "a/+"));
    assert_false(asks_covers(acl, NULL, "c", "a/#"));
    assert_false(asks_covers(acl, NULL, "c", "a/+/b"));
    assert_false(asks_covers(acl, NULL, "c", "a/secret/#"));
    assert_false(asks_covers(acl, NULL, "c", "b/#"));
    assert_false(asks_covers(acl, NULL, "c", "+/x/#"));
    assert_false(asks_covers(acl, NULL, "c", "#"));
    acl_release(acl);
}

TEST(acl_covers_with_patterns_as_with_rules)
{
    struct acl *acl = read_acl("pattern read d/%c/#\npattern read u/+/%u\npattern deny d/%c/x\n"
                               "user boss\ntopic read #\nuser half\ntopic deny q\n");

    assert_true(asks_covers(acl, "joe", "c", "d/c/y/#"));
    assert_true(asks_covers(acl, "joe", "c", "u/+/joe"));
    assert_false(asks_covers(acl, "joe", "c", "d/c/#"));
    assert_false(asks_covers(acl, "joe", "c", "d/+/y"));
    assert_false(asks_covers(acl, NULL, "c", "u/+/joe"));
    assert_true(asks_covers(acl, "boss", "c", "#")); /* does not come to the patterns */
    assert_true(asks_covers(acl, "half", "c", "d/c/y/#"));
    assert_false(asks_covers(acl, "half", "c", "+"));
    acl_release(acl);
}

TEST(acl_subscribe_is_refused_only_if_nothing_could_be_read)
{
    struct acl *acl = read_acl("topic read a/b\ntopic write w/#\ntopic read s/#\ntopic deny s/#\n"
                               "topic read $SYS/x\npattern read p/%c/+\n");

    assert_true(asks_subscribe(acl, NULL, "c", "a/b"));
    assert_true(asks_subscribe(acl, NULL, "c", "#"));
    assert_true(asks_subscribe(acl, NULL, "c", "a/+"));
    assert_true(asks_subscribe(acl, NULL, "c", "p/+/x"));
    assert_true(asks_subscribe(acl, NULL, "c", "$SYS/#"));
    assert_false(asks_subscribe(acl, NULL, "c", "a/c"));
    assert_false(asks_subscribe(acl, NULL, "c", "a/+/b"));
    assert_false(asks_subscribe(acl, NULL, "c", "w/#"));
    assert_false(asks_subscribe(acl, NULL, "c", "s/+"));
    assert_false(asks_subscribe(acl, NULL, "c", "s/#"));
    assert_false(asks_subscribe(acl, NULL, "c", "p/d/+"));
    assert_false(asks_subscribe(acl, NULL, "c", "$other/#"));
    acl_release(acl);
    acl = read_acl("topic read $SYS/x\n"); /* out of sight of a leading wildcard */
    assert_false(asks_subscribe(acl, NULL, "c", "#"));
    assert_false(asks_subscribe(acl, NULL, "c", "+/x"));
    acl_release(acl);
}

TEST(acl_subscribe_knows_that_user_patterns_need_a_user)
{
    struct acl *acl = read_acl("pattern read a/%u/x\npattern read b/%c/x\n");

    assert_false(asks_subscribe(acl, NULL, "c", "a/+/x"));
    assert_true(asks_subscribe(acl, "joe", "c", "a/+/x"));
    assert_true(asks_subscribe(acl, NULL, "c", "b/+/x"));
    acl_release(acl);
}

/* -------------------------------------------------------------------------------- lifetime --- */

TEST(acl_lives_as_long_as_a_subject_of_it)
{
    struct acl *acl = read_acl("topic a\n");
    struct acl_subject s = subject(acl, NULL, "c"), other = subject(acl, NULL, "d");

    assert_ptr_equal(acl_ref(acl), acl);
    acl_release(acl);
    acl_release(acl); /* ours; a reload has put another in its place */
    assert_true(acl_check(&s, ACL_READ, BYTES_LIT("a")));
    acl_subject_fini(&s);
    assert_null(s.acl);
    assert_true(acl_check(&other, ACL_READ, BYTES_LIT("a")));
    acl_subject_fini(&other);
}

TEST(acl_subject_takes_empty_names_without_memory)
{
    struct acl *acl = read_acl("pattern a/%c/%u\n");
    struct bytes none = {0};
    struct acl_subject s;

    acl_subject_init(&s, acl, &none, none);
    assert_true(acl_check(&s, ACL_READ, BYTES_LIT("a//")));
    acl_subject_fini(&s);
    acl_release(acl);
}
