/* tests/cfg/test_change.c -- what differs between two configurations; links that outlive theirs. */
#include "cfg/change.h"

#include "cfg/keys.h"
#include "cfg/parse.h"
#include "tests/support/test.h"

#include <stdio.h>

static struct cfg *read_text(const char *text)
{
    struct cfg_errors errs;
    struct cfg *cfg = NULL;

    cfg_errors_init(&errs);
    if (cfg_load_memory("f.ini", bytes_str(text), &cfg, &errs) != OK)
        fail_msg("%s", errs.count ? errs.items[0].text : "configuration");
    cfg_errors_fini(&errs);
    return cfg;
}

static char told_text[4096];

static void on_told(void *arg, const char *what)
{
    size_t n = strlen(told_text);

    (void)arg;
    snprintf(told_text + n, sizeof(told_text) - n, "%s\n", what);
}

typedef void compare(const struct cfg *was, const struct cfg *is, cfg_told *tell, void *arg);

static void check(compare *fn, const char *was, const char *is, const char *expected)
{
    struct cfg *a = read_text(was), *b = read_text(is);

    told_text[0] = 0;
    fn(a, b, on_told, NULL);
    assert_string_equal(told_text, expected);
    cfg_free(a);
    cfg_free(b);
}

#define LINK                                                                                       \
    "[cluster]\nname = us\n[link eu]\nserver = h:1, [::1]:5\ntopics = a/#, b\nexport = x/+, y\n"   \
    "username = u\npassword = p\nclientid = c\npeer_identity = i\ntls = true\nserver_name = s\n"   \
    "cafile = ca\n"

TEST(change_is_none_between_equal_files)
{
    static const char *const texts[] = {"", LINK,
                                        "[listener a]\nport = 5\nallow = 10.0.0.0/8\nprotocol = "
                                        "websockets\nwebsockets_origin = a, b\n",
                                        "[log]\nlog_dest = stderr, file /tmp/x\n[auth]\nacl_file = "
                                        "a\nauth_ban_exempt = localhost\n"};

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        check(cfg_changes, texts[i], texts[i], "");
        check(cfg_link_changes, texts[i], texts[i], "");
    }
}

TEST(change_outside_of_links_is_told_by_its_key)
{
    check(cfg_changes, "", "[broker]\nworkers = 7\n", "[broker] workers\n");
    check(cfg_changes, "[auth]\nacl_file = a\n", "[auth]\nacl_file = b\n", "[auth] acl_file\n");
    check(cfg_changes, "[cluster]\nname = us\n", "[cluster]\nname = eu\n", "[cluster] name\n");
    check(cfg_changes, "[limits]\nmax_qos = 1\n", "", "[limits] max_qos\n");
    check(cfg_changes, "[log]\nlog_dest = stderr\n", "[log]\nlog_dest = stdout\n",
          "[log] log_dest\n");
    check(cfg_changes, "[listener x]\nbind = 127.0.0.1:5\n", "[listener x]\nbind = 127.0.0.1:6\n",
          "[listener x] bind\n");
    check(cfg_changes, "[listener x]\nport = 5\n", "[listener x]\nport = 5\ndeny = 10.0.0.1\n",
          "[listener x] deny\n");
    check(cfg_changes, "[listener x]\nport = 5\n", "[listener y]\nport = 5\n",
          "[listener x]\n[listener y]\n");
    check(cfg_changes, "[cluster]\nname = us\n", LINK, "");
}

TEST(change_of_links_is_told_by_name_and_keys)
{
    check(cfg_link_changes, "[cluster]\nname = us\n", LINK, "[link eu] added\n");
    check(cfg_link_changes, LINK, "[cluster]\nname = us\n", "[link eu] removed\n");
    check(cfg_link_changes, LINK,
          "[cluster]\nname = us\n[link eu]\nserver = h:1, [::1]:6\ntopics = a/#\nexport = x/+, y\n"
          "username = v\npassword = q\nclientid = c\npeer_identity = i\ntls = true\n"
          "server_name = s\ncafile = ca\nenable = no\n",
          "[link eu] changed: enable, server, topics, username, password\n");
}

TEST(link_copy_needs_nothing_of_its_original)
{
    struct cfg *cfg = read_text(LINK), *other = read_text(LINK);
    struct cfg_link *copy = cfg_link_copy(&cfg->links[0]), *again;

    assert_non_null(copy);
    assert_null(cfg_link_difference(copy, &cfg->links[0], NULL));
    cfg_free(cfg);
    assert_null(cfg_link_difference(copy, &other->links[0], NULL));
    assert_string_equal(copy->name, "eu");
    assert_string_equal(copy->password, "p");
    assert_string_equal(copy->servers[1].host, "::1");
    assert_int_equal(((const char *)copy->topics[0].p)[copy->topics[0].n], 0);
    again = cfg_link_copy(copy);
    cfg_link_free(copy);
    assert_null(cfg_link_difference(again, &other->links[0], NULL));
    cfg_link_free(again);
    cfg_link_free(NULL);
    cfg_free(other);
}

TEST(link_copy_has_texts_of_its_own_for_every_key)
{
    struct cfg *cfg = read_text(LINK);
    struct cfg_link *copy = cfg_link_copy(&cfg->links[0]);

    for (uint32_t i = 0; i < key_count; i++) {
        const char *a, *b;

        if (keys[i].section != SECTION_LINK || keys[i].size != sizeof(char *) ||
            (keys[i].type != KEY_STRING && keys[i].type != KEY_PASSWORD))
            continue;
        memcpy(&a, (const uint8_t *)copy + keys[i].offset, sizeof(a));
        memcpy(&b, (const uint8_t *)&cfg->links[0] + keys[i].offset, sizeof(b));
        assert_true((!a && !b) || (a != b && strcmp(a, b) == 0));
    }
    assert_ptr_not_equal(copy->topics, cfg->links[0].topics);
    assert_ptr_not_equal(copy->exports[0].p, cfg->links[0].exports[0].p);
    cfg_link_free(copy);
    cfg_free(cfg);
}

TEST(link_difference_passes_over_what_it_is_told_to)
{
    static const char *const except[] = {"topics", NULL};
    struct cfg *a = read_text("[cluster]\nname = us\n[link eu]\nserver = h\ntopics = a\n");
    struct cfg *b = read_text("[cluster]\nname = us\n[link eu]\nserver = h\ntopics = b\n");

    assert_string_equal(cfg_link_difference(&a->links[0], &b->links[0], NULL), "topics");
    assert_null(cfg_link_difference(&a->links[0], &b->links[0], except));
    assert_true(cfg_link_differs(&a->links[0], &b->links[0], "topics"));
    assert_false(cfg_link_differs(&a->links[0], &b->links[0], "server"));
    cfg_free(a);
    cfg_free(b);
}
