/* tests/core/policy/test_acl_tree.c -- long lists, deep rules, and brute force over small words. */
#include "core/policy/acl_tree.h"

#include "tests/core/policy/acl_asks.h"
#include "tests/core/policy/acl_reference.h"

TEST(acl_walks_no_deeper_than_its_rules)
{
    static char topic[TOPIC_BYTES_MAX + 1];
    struct acl *acl = read_acl("topic +/+/+/x\ntopic read a/#\npattern %c/+/%c/#\n");

    memset(topic, '/', TOPIC_BYTES_MAX); /* CVE-2019-11779 */
    assert_false(ask(acl, NULL, "c", "r", topic));
    topic[0] = 'a';
    assert_true(ask(acl, NULL, "c", "r", topic));
    acl_release(acl);
}

TEST(acl_walks_the_deepest_rule_there_may_be)
{
    char text[32 + 2 * ACL_LEVELS_MAX] = "topic read +", topic[2 * ACL_LEVELS_MAX + 2] = "a";
    struct acl *acl;

    for (uint32_t i = 1; i < ACL_LEVELS_MAX; i++) {
        strcat(text, "/+");
        strcat(topic, "/a");
    }
    acl = read_acl(text);
    assert_true(ask(acl, NULL, "c", "r", topic));
    assert_true(asks_covers(acl, NULL, "c", text + strlen("topic read ")));
    strcat(topic, "/");
    assert_false(ask(acl, NULL, "c", "r", topic));
    acl_release(acl);
}

TEST(acl_tells_levels_apart_that_begin_alike)
{
    static const char *const others[] = {"room", "room1",   "room10", "room13",
                                         "roo",  "rooms/x", "/"};
    struct acl *acl = read_acl("topic room12\ntopic room11\ntopic rooms/+/a\n");

    for (int i = 0; i < 7; i++)
        assert_false(ask(acl, NULL, "c", "r", others[i]));
    assert_true(ask(acl, NULL, "c", "r", "room11"));
    assert_true(ask(acl, NULL, "c", "r", "room12"));
    assert_true(ask(acl, NULL, "c", "r", "rooms/x/a"));
    acl_release(acl);
}

TEST(acl_finds_each_of_many_users_and_rules)
{
    enum { USERS = 1000 };
    char *text = calloc(USERS, 64), name[16], topic[32];
    size_t n = 0;
    struct acl *acl;

    assert_non_null(text);
    for (int i = 0; i < USERS; i++)
        n += (size_t)sprintf(text + n, "user u%d\ntopic a/%d\ntopic read b/%d/+\n", i, i, i);
    acl = read_acl(text);
    assert_int_equal(acl_rule_count(acl), 2 * USERS);
    for (int i = 0; i < USERS; i++) {
        snprintf(name, sizeof(name), "u%d", i);
        for (int k = 0; k < 3; k++) {
            int other = (i + k) % USERS;

            snprintf(topic, sizeof(topic), "a/%d", other);
            assert_int_equal(ask(acl, name, "c", "w", topic), k == 0);
            snprintf(topic, sizeof(topic), "b/%d/x", other);
            assert_int_equal(ask(acl, name, "c", "r", topic), k == 0);
        }
    }
    acl_release(acl);
    free(text);
}

TEST(acl_joins_lines_about_one_topic_in_a_long_list)
{
    struct acl *acl = read_acl("topic 1\ntopic 2\ntopic 3\ntopic 4\ntopic 5\ntopic 6\n"
                               "topic read x/y\ntopic write x/y\ntopic read x/z\n"
                               "topic read z\ntopic deny z\n");

    assert_true(ask(acl, NULL, "c", "r", "x/y") && ask(acl, NULL, "c", "w", "x/y"));
    assert_true(ask(acl, NULL, "c", "r", "x/z") && !ask(acl, NULL, "c", "w", "x/z"));
    assert_false(ask(acl, NULL, "c", "r", "z"));
    acl_release(acl);
}

TEST(acl_topic_that_is_spelled_like_a_pattern_is_not_matched_by_it)
{
    struct acl *acl = read_acl("pattern read %c\npattern read 1\npattern read 2\n"
                               "pattern read 3\npattern read 4\npattern read 5\n"
                               "pattern read 6/+\n");

    assert_false(ask(acl, NULL, "c", "r", "%c"));
    assert_true(ask(acl, NULL, "%c", "r", "%c"));
    assert_true(ask(acl, NULL, "c", "r", "5"));
    acl_release(acl);
}

/* ----------------------------------------------------------------------------- brute force --- */

static uint64_t draw(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed * 0x2545f4914f6cdd1dull >> 20;
}

struct pool {
    char text[2000][20];
    uint32_t count;
};

static void pool_grow(struct pool *p, const char *prefix, int levels, const char *const *words,
                      uint32_t word_count)
{
    for (uint32_t i = 0; i < word_count; i++) {
        char *t = p->text[p->count];
        char longer[20];

        assert_true(p->count < 2000);
        snprintf(t, 20, "%s%s", prefix, words[i]);
        p->count += t[0] != '\0';
        snprintf(longer, sizeof(longer), "%s%s/", prefix, words[i]);
        if (levels > 1 && strcmp(words[i], "#") != 0)
            pool_grow(p, longer, levels - 1, words, word_count);
    }
}

static struct pool filters, topics;

static void make_pools(void)
{
    static const char *const filter_words[] = {"a", "b", "", "$s", "+", "#"};
    static const char *const topic_words[] = {"a", "b", "", "$s"};

    if (filters.count)
        return;
    pool_grow(&filters, "", 3, filter_words, 6);
    pool_grow(&topics, "", 4, topic_words, 4);
}

static const char *draw_word(uint64_t *seed, const char *const *words, uint32_t count)
{
    return words[draw(seed) % count];
}

/* A file of a few rules, now and then of some more, whose filters have few levels and few words. */
static void draw_file(uint64_t *seed, char *text)
{
    static const char *const kinds[] = {"topic", "topic", "pattern"};
    static const char *const accesses[] = {"read ", "write ", "readwrite ", "", "deny ", "deny "};
    static const char *const levels[] = {"a", "b",  "",   "$s", "+",  "+",   "#",
                                         "#", "%u", "%c", "%u", "%c", "$%c", "a%u"};
    bool is_long = draw(seed) % 4 == 0;
    uint32_t rules = (uint32_t)(draw(seed) % (is_long ? 32 : 8));

    *text = '\0';
    for (uint32_t i = 0; i < rules; i++) {
        if (draw(seed) % 3 == 0)
            text += sprintf(text, "user %s\n", draw(seed) % 2 ? "a" : "b/a");
        text += sprintf(text, "%s %s", draw_word(seed, kinds, 3),
                        draw_word(seed, accesses, is_long && i % 8 ? 4 : 6));
        for (int level = 0; level < 4; level++) {
            const char *word = draw_word(seed, levels, is_long && i % 2 ? 4 : 14);

            if (level == 3 || (*word == '\0' && level == 0))
                word = "a";
            text += sprintf(text, "%s%s", level ? "/" : "", word);
            if (*word == '#' || draw(seed) % 2)
                break;
        }
        text += sprintf(text, "\n");
    }
}

static const struct reference_client clients[] = {
    {NULL, "a"},    {"a", "b"},   {"b", ""},    {"", "a"},      {"b/a", "a"}, {"a", "a/b"},
    {"$s", "$s/a"}, {"b", "a/b"}, {"a+", "b"},  {NULL, "#"},    {"a", "+"},   {"%c", "a"},
    {"/", "/"},     {"s", "s"},   {"b/a", "/"}, {"a/$s", "$s"},
};

#define CLIENTS (sizeof(clients) / sizeof(clients[0]))

struct tally {
    uint32_t allowed, denied, covered, uncovered, refused, accepted;
    uint32_t missed; /* allowed throughout, as far as the pool goes, and yet not covered */
};

/* All topics of the pool for one client, and some filters. */
static void compare(const struct acl_subject *s, const struct reference *r,
                    const struct reference_client *c, uint64_t *seed, struct tally *tally)
{
    static bool may[2000];
    enum acl_access access = draw(seed) % 2 ? ACL_READ : ACL_WRITE;

    for (uint32_t i = 0; i < topics.count; i++) {
        struct bytes topic = bytes_str(topics.text[i]);

        may[i] = acl_check(s, access, topic);
        assert_int_equal(may[i], reference_check(r, c, access, topic));
        *(may[i] ? &tally->allowed : &tally->denied) += 1;
    }
    for (int k = 0; k < 12; k++) {
        struct bytes filter = bytes_str(filters.text[draw(seed) % filters.count]);
        bool covers = acl_covers(s, access, filter), all = true, some = false;
        bool accepts = access == ACL_WRITE || acl_check_subscribe(s, filter);

        for (uint32_t i = 0; i < topics.count; i++) {
            if (!topic_matches(filter, bytes_str(topics.text[i])))
                continue;
            all &= may[i];
            some |= may[i];
        }
        assert_true(!covers || all);
        assert_true(accepts || !some);
        if (!topic_has_wildcard(filter)) {
            assert_int_equal(covers, all);
            assert_true(access == ACL_WRITE || accepts == some);
        }
        *(covers ? &tally->covered : &tally->uncovered) += 1;
        *(accepts ? &tally->accepted : &tally->refused) += 1;
        tally->missed += all && !covers;
    }
}

TEST(acl_answers_as_the_plain_reference_does)
{
    static struct reference reference;
    uint64_t seed = 20260731;
    struct tally tally = {0};

    make_pools();
    for (int round = 0; round < 3000; round++) {
        struct reference_client c = clients[draw(&seed) % CLIENTS];
        struct acl *acl = NULL;
        struct acl_subject s;
        char text[2048];

        draw_file(&seed, text);
        reference_init(&reference);
        assert_true(reference_read(&reference, bytes_str(text)));
        assert_int_equal(acl_create(bytes_str(text), &key, NULL, NULL, &acl), OK);
        s = subject(acl, c.user, c.id);
        acl_release(acl);
        compare(&s, &reference, &c, &seed, &tally);
        acl_subject_fini(&s);
        reference_fini(&reference);
    }
    assert_true(tally.allowed > 10000 && tally.denied > 10000);
    assert_true(tally.covered > 500 && tally.uncovered > 5000);
    assert_true(tally.refused > 5000 && tally.accepted > 500);
    assert_in_range(tally.missed, 0, tally.covered / 4);
}
