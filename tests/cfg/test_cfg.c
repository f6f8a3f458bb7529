/* tests/cfg/test_cfg.c -- what `-p PORT` does to a configuration. */
#include "cfg/cfg.h"

#include "cfg/parse.h"
#include "tests/support/test.h"

#include <stdio.h>

static struct cfg *load(const char *text)
{
    struct cfg_errors errs;
    struct cfg *cfg;

    cfg_errors_init(&errs);
    assert_int_equal(cfg_load_memory("f", bytes_str(text), &cfg, &errs), OK);
    cfg_errors_fini(&errs);
    return cfg;
}

TEST(cfg_port_moves_the_default_listener)
{
    struct cfg *cfg;

    assert_int_equal(cfg_default(&cfg), OK);
    assert_int_equal(cfg_apply_port(cfg, 2883), OK);
    assert_int_equal(cfg->listener_count, 1);
    assert_string_equal(cfg->listeners[0].bind.text, "127.0.0.1:2883");
    assert_true(cfg->listeners[0].bind.is_loopback);
    assert_int_equal(cfg->listeners[0].bind.port, 2883);
    cfg_free(cfg);
}

TEST(cfg_port_adds_a_listener_to_named_ones)
{
    struct cfg *cfg = load("[listener a]\nport = 5\n[auth]\nallow_anonymous = false\n");

    assert_int_equal(cfg_apply_port(cfg, 2883), OK);
    assert_int_equal(cfg->listener_count, 2);
    assert_string_equal(cfg->listeners[0].bind.text, "127.0.0.1:5");
    assert_string_equal(cfg->listeners[1].bind.text, "127.0.0.1:2883");
    assert_string_equal(cfg->listeners[1].name, "command-line");
    assert_false(cfg->listeners[1].allow_anonymous);
    cfg_free(cfg);
}

TEST(cfg_port_changes_nothing_where_a_listener_has_it)
{
    struct cfg *cfg = load("[listener a]\nbind = 0.0.0.0:5\nallow_anonymous = true\n");

    assert_int_equal(cfg_apply_port(cfg, 5), OK);
    assert_int_equal(cfg->listener_count, 1);
    cfg_free(cfg);
    assert_int_equal(cfg_default(&cfg), OK);
    assert_int_equal(cfg_apply_port(cfg, 1883), OK);
    assert_int_equal(cfg->listener_count, 1);
    cfg_free(cfg);
}

TEST(cfg_port_is_refused_where_it_cannot_be_had)
{
    char text[LISTENERS_MAX * 40], *to = text;
    struct cfg *cfg = load("[listener a]\nport = 5\nlinks = only\n");

    assert_int_equal(cfg_apply_port(cfg, 5), ERR_PEER);
    assert_int_equal(cfg_apply_port(cfg, 0), ERR_PEER);
    cfg_free(cfg);
    for (int i = 0; i < LISTENERS_MAX; i++)
        to += sprintf(to, "[listener l%d]\nport = %d\n", i, 1000 + i);
    cfg = load(text);
    assert_int_equal(cfg_apply_port(cfg, 999), ERR_FULL);
    assert_int_equal(cfg_apply_port(cfg, 1000), OK);
    cfg_free(cfg);
}

TEST(cfg_free_takes_null)
{
    cfg_free(NULL);
}
