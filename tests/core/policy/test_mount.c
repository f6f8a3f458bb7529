/* tests/core/policy/test_mount.c -- which mount points there are, and what names make of them. */
#include "core/policy/mount.h"

#include <stdlib.h>

#include "core/base/limits.h"
#include "tests/support/test.h"

static struct bytes view(const char *text)
{
    return text ? bytes_str(text) : (struct bytes){0};
}

/* The mount of a client has this text. */
static void expect_made(const char *pattern, const char *id, const char *user, const char *text)
{
    struct bytes name = view(user);
    struct mount *m = NULL;

    assert_null(mount_fault(view(pattern)));
    assert_int_equal(mount_create(view(pattern), view(id), user ? &name : NULL, &m), MOUNT_OK);
    if (!bytes_eq(bytes_of(m->text, m->n), view(text)))
        fail_msg("'%s' became '%.*s', not '%s'", pattern, (int)m->n, (const char *)m->text, text);
    free(m);
}

static void expect_refused(const char *pattern, const char *id, const char *user,
                           enum mount_verdict verdict)
{
    struct bytes name = view(user);
    struct mount *m = NULL;

    assert_null(mount_fault(view(pattern)));
    if (mount_create(view(pattern), view(id), user ? &name : NULL, &m) != verdict)
        fail_msg("'%s' with id '%s' and user '%s'", pattern, id, user ? user : "(none)");
    assert_null(m);
}

TEST(mount_point_has_the_names_of_its_client)
{
    expect_made("a/", "c", "u", "a/");
    expect_made("/", "c", NULL, "/");
    expect_made("a//b/", "c", NULL, "a//b/");
    expect_made("%c/", "c1", NULL, "c1/");
    expect_made("a/%u/%c/", "c1", "bob", "a/bob/c1/");
    expect_made("a/${username}/${clientid}/", "c1", "bob", "a/bob/c1/");
    expect_made("a-%c-%c/", "c", NULL, "a-c-c/");
    expect_made("x$y/${clientid}/", "c", NULL, "x$y/c/");
    expect_made("$own/%c/", "c", NULL, "$own/c/");
    expect_made("t/%c/", "%u", "bob", "t/%u/"); /* a name is not looked into again */
    expect_made("t/%c/", "$x", NULL, "t/$x/");
    expect_made("t-%u/", "c", "$SYS", "t-$SYS/");
    expect_made("t/%u/", "c", "\xC3\xA9 b", "t/\xC3\xA9 b/");
}

TEST(mount_point_that_is_none_is_known_at_once)
{
    static const char *const wrong[] = {
        "",        "a",         "a/b",       "a/%c",        "a/#/",   "a/+/",
        "+/",      "a#/",       "\xFF/",     "%d/",         "a/%/",   "100%/",
        "%C/",     "${zone}/",  "${client/", "${}/",        "$LINK/", "$LINK/a/",
        "$share/", "$share/g/", "$queue/",   "$exclusive/", "$%c/",   "$S${username}/"};
    char text[MOUNT_BYTES_MAX + 2];

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        if (!mount_fault(view(wrong[i])))
            fail_msg("'%s' is taken", wrong[i]);
    assert_null(mount_fault(BYTES_LIT("$LINKS/")));
    assert_null(mount_fault(BYTES_LIT("$SYS/")));
    memset(text, 'a', sizeof text);
    text[MOUNT_BYTES_MAX - 1] = '/';
    assert_null(mount_fault(bytes_of(text, MOUNT_BYTES_MAX)));
    text[MOUNT_BYTES_MAX] = '/';
    assert_non_null(mount_fault(bytes_of(text, MOUNT_BYTES_MAX + 1)));
    assert_non_null(mount_fault(bytes_of("a\0/", 3)));
}

TEST(mount_point_is_refused_to_names_that_could_leave_it)
{
    static const char *const bad[] = {"",   "a/b", "/",      "+",           "#",
                                      "a+", "a#b", "..\xFF", "\xED\xA0\x80"};

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        expect_refused("t/%c/", bad[i], "good", MOUNT_BAD_CLIENT_ID);
        expect_refused("t/%u/", "good", bad[i], MOUNT_BAD_USER);
        expect_refused("t/%u/%c/", "good", bad[i], MOUNT_BAD_USER);
        expect_made("t/%c/", "good", bad[i], "t/good/"); /* what is not in it does not matter */
        expect_made("t/%u/", bad[i], "good", "t/good/");
    }
    expect_refused("t/%u/", "c", NULL, MOUNT_NO_USER);
    expect_refused("%c/", "$SYS", NULL, MOUNT_BAD_CLIENT_ID);
    expect_refused("%u/%c/", "c", "$LINK", MOUNT_BAD_USER);
    expect_made("%u/%c/", "$c", "u", "u/$c/");
}

TEST(mount_point_is_refused_to_names_that_make_it_too_long)
{
    static char name[MOUNT_BYTES_MAX + 1];
    struct bytes user = bytes_of(name, MOUNT_BYTES_MAX - 3);
    struct mount *m = NULL;

    memset(name, 'n', sizeof name);
    assert_int_equal(mount_create(BYTES_LIT("t/%u/"), view("c"), &user, &m), MOUNT_OK);
    assert_int_equal(m->n, MOUNT_BYTES_MAX);
    free(m);
    m = NULL;
    user.n++;
    assert_int_equal(mount_create(BYTES_LIT("t/%u/"), view("c"), &user, &m), MOUNT_BAD_USER);
    assert_int_equal(mount_create(BYTES_LIT("t/%c/"), user, NULL, &m), MOUNT_BAD_CLIENT_ID);
    user.n = MOUNT_BYTES_MAX + 1;
    assert_int_equal(mount_create(BYTES_LIT("%u/"), view("c"), &user, &m), MOUNT_BAD_USER);
    assert_null(m);
}

TEST(mount_point_knows_which_names_it_holds)
{
    assert_true(mount_names_user(BYTES_LIT("a/%u/")));
    assert_false(mount_names_user(BYTES_LIT("a/%c/u/")));
    assert_true(mount_names_client(BYTES_LIT("a/%c/")));
    assert_true(mount_names_client(BYTES_LIT("${clientid}/")));
    assert_false(mount_names_client(BYTES_LIT("a/%u/c/")));
}

TEST(mount_point_is_taken_off_what_begins_with_it_and_goes_on)
{
    static const struct {
        const char *topic, *rest; /* NULL: it stays */
    } cases[] = {{"t/a/b", "b"},  {"t/a//", "/"},   {"t/a/", NULL}, {"t/a", NULL},
                 {"t/b/b", NULL}, {"xt/a/b", NULL}, {"", NULL},     {"t/a/$SYS/x", "$SYS/x"}};
    struct mount *m = NULL;

    assert_int_equal(mount_create(BYTES_LIT("t/%c/"), view("a"), NULL, &m), MOUNT_OK);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct bytes topic = view(cases[i].topic);
        bool is_below = mount_take_off(m, &topic);

        assert_int_equal(is_below, cases[i].rest != NULL);
        assert_true(bytes_eq(topic, view(is_below ? cases[i].rest : cases[i].topic)));
    }
    free(m);
}
