/* tests/cfg/test_describe.c -- what `-t` says is open, and what it warns of. */
#include "cfg/describe.h"

#include "cfg/parse.h"
#include "tests/support/test.h"

#include <stdlib.h>

/* What cfg_describe() writes of a file; the caller's to free. */
static char *description_of(const char *file)
{
    struct cfg_errors errs;
    struct cfg *cfg;
    char *text = NULL;
    size_t n = 0;
    FILE *to = open_memstream(&text, &n);

    assert_non_null(to);
    cfg_errors_init(&errs);
    assert_int_equal(cfg_load_memory("f.ini", bytes_str(file), &cfg, &errs), OK);
    cfg_describe(cfg, to);
    assert_int_equal(fclose(to), 0);
    cfg_free(cfg);
    cfg_errors_fini(&errs);
    return text;
}

static void check_says(const char *file, const char *words)
{
    char *text = description_of(file);

    if (!strstr(text, words))
        fail_msg("\"%s\" is not in: %s", words, text);
    free(text);
}

#define LINK "[cluster]\nname = us\n[link eu]\nserver = h, [::1]:5\ntopics = a/#, b\n"

TEST(describe_names_every_listener_and_who_may_use_it)
{
    check_says("", "listener default: 127.0.0.1:1883, this machine only, without authentication, "
                   "links too\n");
    check_says("[listener a]\nbind = 0.0.0.0:5\nallow_anonymous = true\nmax_connections = 3\n",
               "listener a: 0.0.0.0:5, OPEN TO OTHER MACHINES, without authentication, no links, "
               "at most 3 connections\n");
    check_says("[listener a]\nport = 5\nmount_point = t/%c/\n",
               "listener a: 127.0.0.1:5, this machine only, without authentication, no links, "
               "topics below t/%c/\n");
}

TEST(describe_warns_of_a_mount_point_that_anonymous_clients_choose)
{
    char *text;

    check_says(
        "[listener a]\nport = 5\nmount_point = t/${username}/\n",
        "warning: listener a (127.0.0.1:5) lets everybody choose a branch of its mount_point");
    text = description_of("[listener a]\nport = 5\nmount_point = t/%u/\n"
                          "[auth]\npassword_file = p\n");
    assert_null(strstr(text, "choose"));
    free(text);
    text = description_of("[listener a]\nport = 5\nmount_point = t/%u/\nallow_anonymous = true\n"
                          "[auth]\npassword_file = p\n"); /* who gives a name must prove it */
    assert_null(strstr(text, "choose"));
    free(text);
}

TEST(describe_names_every_link)
{
    check_says(LINK, "link eu: enabled, to h:1883 [::1]:5, we want a/# b\n");
    check_says("[cluster]\nname = us\n[link eu]\nserver = h\ntopics =\nenable = no\n",
               "link eu: disabled, to h:1883, we want nothing\n");
    check_says("[cluster]\nname = us\n[link eu]\ntopics = a\n",
               "link eu: enabled, it calls us, we want a\n");
    check_says(LINK "export = a, b\n", "we want a/# b, they may have a b\n");
    check_says(LINK "export =\n", "we want a/# b, they may have nothing\n");
}

TEST(describe_warns_of_links_anybody_may_speak_for)
{
    check_says(LINK,
               "warning: link eu has no peer_identity: whoever may connect to listener default "
               "(127.0.0.1:1883) may speak for it\n");
    check_says(LINK "[listener a]\nport = 1\nlinks = no\n",
               "warning: link eu can only be dialled from here");
}

TEST(describe_does_not_warn_of_links_with_an_identity)
{
    char *text = description_of(LINK "peer_identity = eu\n[auth]\npassword_file = p\n");

    assert_null(strstr(text, "warning"));
    free(text);
}

TEST(describe_warns_of_an_identity_that_nobody_can_prove)
{
    check_says(LINK "peer_identity = eu\n",
               "warning: link eu has a peer_identity, and nobody can prove one");
}

#define TLS "certfile = c.pem\nkeyfile = c.key\n"

TEST(describe_says_how_clients_prove_who_they_are)
{
    check_says("[listener a]\nbind = 0.0.0.0:5\n" TLS "[auth]\npassword_file = p\n",
               "listener a: 0.0.0.0:5 (TLS), OPEN TO OTHER MACHINES, by password, no links\n");
    check_says("[listener a]\nbind = 0.0.0.0:5\n" TLS
               "cafile = ca\nrequire_certificate = true\nuse_identity_as_username = true\n",
               "by certificate");
    check_says("[listener a]\nport = 5\npsk_file = p\nuse_identity_as_username = true\n",
               "listener a: 127.0.0.1:5 (TLS), this machine only, by pre-shared key");
    check_says("[listener a]\nport = 5\nallow_anonymous = true\n[auth]\npassword_file = p\n",
               "by password or anonymous");
    check_says("[auth]\nhttp_auth_url = http://h\n", "this machine only, by an HTTP server, links");
    check_says("[auth]\nhttp_auth_url = http://h\npassword_file = p\n",
               "by password or an HTTP server");
    check_says("[auth]\njwt_key_file = k\n", "this machine only, by token, links too\n");
    check_says("[auth]\njwt_key_file = k\npassword_file = p\n", "by password or token");
    check_says("[auth]\njwt_key_file = k\npassword_file = p\nhttp_auth_url = http://h\n",
               "by password, token or an HTTP server");
    check_says("[listener a]\nport = 5\nallow_anonymous = true\nauth_methods = http\n"
               "[auth]\npassword_file = p\nhttp_auth_url = http://h\n",
               "by an HTTP server or anonymous where it ignores,");
    check_says("[cluster]\nname = us\n[link eu]\nserver = mqtts://h\ntopics =\n",
               "link eu: enabled, to (TLS) h:8883,");
}

TEST(describe_warns_of_passwords_in_the_clear)
{
    check_says("[listener a]\nbind = 0.0.0.0:5\n[auth]\npassword_file = p\n",
               "warning: listener a (0.0.0.0:5) takes passwords without TLS");
    check_says("[listener a]\nbind = 0.0.0.0:5\n[auth]\nhttp_auth_url = http://h\n",
               "warning: listener a (0.0.0.0:5) takes passwords without TLS");
}

TEST(describe_does_not_warn_of_disabled_links)
{
    char *text = description_of(LINK "enable = false\n");

    assert_null(strstr(text, "warning"));
    free(text);
}

TEST(describe_warns_of_listeners_for_everybody_and_for_nobody)
{
    check_says("[listener a]\nbind = 0.0.0.0:5\nallow_anonymous = true\n",
               "warning: listener a (0.0.0.0:5) lets everybody in who can reach it\n");
    check_says("[listener a]\nport = 5\nproxy_protocol = on\nallow_anonymous = true\n",
               "warning: listener a (127.0.0.1:5) lets everybody in who can reach its balancer\n");
    check_says("[auth]\nallow_anonymous = false\n",
               "warning: listener default (127.0.0.1:1883) lets nobody in");
    check_says("[listener a]\nport = 1\nlinks = only\n", "warning: no listener takes clients");
}

TEST(describe_does_not_say_that_everybody_may_connect_where_a_server_decides)
{
    char *text = description_of("[listener a]\nbind = 0.0.0.0:5\nallow_anonymous = true\n"
                                "[auth]\nhttp_auth_url = http://h\n");

    assert_null(strstr(text, "who can reach it"));
    assert_non_null(strstr(text, "without a user name whom the server of http_auth_url ignores\n"));
    free(text);
}

TEST(describe_never_shows_a_password)
{
    char *text = description_of(LINK "password = secret\n");

    assert_null(strstr(text, "secret"));
    free(text);
}
