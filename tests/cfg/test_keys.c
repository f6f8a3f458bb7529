/* tests/cfg/test_keys.c -- the table of keys is whole, and the files made from it are current. */
#include "cfg/keys.h"

#include "cfg/help.h"
#include "cfg/parse.h"
#include "tests/support/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What `print` writes; the caller's to free. */
static char *printed(void (*print)(FILE *to))
{
    char *text = NULL;
    size_t n = 0;
    FILE *to = open_memstream(&text, &n);

    assert_non_null(to);
    print(to);
    assert_int_equal(fclose(to), 0);
    return text;
}

/* The text of a file in this tree; the caller's to free. */
static char *content(const char *path)
{
    FILE *from = fopen(path, "r");
    char *text = NULL;
    size_t room = 0;

    if (!from)
        fail_msg("%s cannot be opened; tests run in the root of the tree", path);
    assert_true(getdelim(&text, &room, '\0', from) > 0);
    fclose(from);
    return text;
}

TEST(keys_fit_into_the_notes_of_a_section)
{
    assert_true(key_count < KEYS_MAX);
}

TEST(keys_all_have_help_and_a_value_to_show)
{
    char range[KEY_RANGE_BYTES];

    for (uint32_t i = 0; i < key_count; i++) {
        const struct key *key = &keys[i];

        assert_true(key->help && key->help[strlen(key->help) - 1] == '.');
        assert_true(key->preset || (key->example && key->unset));
        assert_true(!(key->preset && key->example));
        if (key->flags & KEY_ZERO_PRESETS)
            assert_non_null(key->preset);
        if (key->type == KEY_CHOICE)
            assert_non_null(key->choices);
        if (key->type == KEY_TIME)
            assert_true(key->unit_us > 0);
        key_print_range(range, key);
        assert_true(strlen(range) > 0 && strlen(range) < KEY_RANGE_BYTES - 1);
    }
}

TEST(keys_have_one_meaning_for_each_name_of_a_section)
{
    for (uint32_t i = 0; i < key_count; i++) {
        assert_ptr_equal(key_find(keys[i].section, keys[i].name), &keys[i]);
        for (uint32_t a = 0; a < KEY_ALIASES_MAX && keys[i].aliases[a]; a++)
            assert_ptr_equal(key_find(keys[i].section, keys[i].aliases[a]), &keys[i]);
    }
}

TEST(keys_that_exist_are_not_said_to_be_unavailable)
{
    for (uint32_t i = 0; i < key_count; i++) {
        if (strcmp(keys[i].name, "password_file") != 0) /* a link's; elsewhere it is not there */
            assert_null(key_unavailable(keys[i].section, keys[i].name));
    }
}

TEST(keys_know_the_names_of_other_brokers)
{
    assert_string_equal(key_find(SECTION_LIMITS, "max_inflight")->name, "max_inflight_messages");
    assert_string_equal(key_find(SECTION_LIMITS, "max_mqueue_len")->name, "max_queued_messages");
    assert_string_equal(key_find(SECTION_LIMITS, "server_keepalive")->name, "max_keepalive");
    assert_string_equal(key_find(SECTION_BROKER, "thread_count")->name, "workers");
    assert_string_equal(key_find(SECTION_LINK, "pool_size")->name, "connections");
    assert_null(key_find(SECTION_LINK, "max_mqueue_len"));
}

TEST(keys_nearest_finds_slips_and_nothing_far)
{
    assert_string_equal(key_nearest(SECTION_LIMITS, "max_paket_size"), "max_packet_size");
    assert_string_equal(key_nearest(SECTION_LIMITS, "max_pakcet_size"), "max_packet_size");
    assert_string_equal(key_nearest(SECTION_BROKER, "WORKERS"), "workers");
    assert_string_equal(key_nearest(SECTION_BROKER, "worker"), "workers");
    assert_string_equal(section_nearest("listner")->name, "listener");
    assert_null(key_nearest(SECTION_BROKER, "zebra"));
    assert_null(key_nearest(SECTION_BROKER, ""));
    assert_null(section_nearest("zebra"));
}

TEST(keys_help_names_every_key)
{
    char *help = printed(cfg_print_help);

    for (uint32_t i = 0; i < key_count; i++)
        assert_non_null(strstr(help, keys[i].name));
    for (uint32_t i = 0; i < SECTION_COUNT; i++)
        assert_non_null(strstr(help, section_infos[i].name));
    free(help);
}

TEST(keys_help_stays_within_a_terminal)
{
    char *help = printed(cfg_print_help);

    for (char *line = help, *end; (end = strchr(line, '\n')); line = end + 1)
        assert_true(end - line <= 80);
    free(help);
}

TEST(keys_man_page_has_no_line_that_troff_takes_for_a_request)
{
    static const char *const requests[] = {".TH ", ".SH ", ".TP\n", ".B ", ".br\n", ".BR "};
    char *man = printed(cfg_print_man);

    for (char *line = man; *line; line = strchr(line, '\n') + 1) {
        bool is_known = line[0] != '.' && line[0] != '\'';

        for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++)
            is_known |= strncmp(line, requests[i], strlen(requests[i])) == 0;
        assert_true(is_known);
    }
    assert_null(strstr(man, "\\,"));
    free(man);
}

TEST(keys_sample_in_the_tree_is_what_the_table_makes)
{
    char *made = printed(cfg_print_sample);
    char *kept = content("cfg/causeway.ini");

    if (strcmp(made, kept) != 0)
        fail_msg("cfg/causeway.ini is old; write what cfg_print_sample() makes into it");
    free(made);
    free(kept);
}

TEST(keys_sample_is_an_empty_configuration)
{
    char *sample = printed(cfg_print_sample);
    struct cfg_errors errs;
    struct cfg *cfg, *plain;

    cfg_errors_init(&errs);
    assert_int_equal(cfg_load_memory("s", bytes_str(sample), &cfg, &errs), OK);
    assert_int_equal(cfg_default(&plain), OK);
    assert_true(cfg->has_default_listener);
    assert_int_equal(cfg->link_count, 0);
    assert_memory_equal(&cfg->limits, &plain->limits, sizeof(cfg->limits));
    cfg_free(cfg);
    cfg_free(plain);
    cfg_errors_fini(&errs);
    free(sample);
}

/* Whether a commented line of the sample would stand beside another that says the same, or is for
 * another kind of listener. */
static bool is_second_way(const char *line)
{
    static const char *const others[] = {
        "#port = ",         "#address = ",      "#password_file = ",
        "#psk_file = ",     "#psk_hint = ",     "#socket_mode = ",
        "#socket_owner = ", "#socket_group = ", "#mount_point = "};

    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        if (strncmp(line, others[i], strlen(others[i])) == 0)
            return true;
    }
    return false;
}

/* Some keys need another one that is off where nobody says otherwise. */
static void turn_on(char *line)
{
    static const char *const lines[][2] = {{" tls = false\n", " tls = true \n"},
                                           {" protocol = mqtt\n", " protocol = ws  \n"},
                                           {" proxy_protocol = no\n", " proxy_protocol = on\n"}};

    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        if (strncmp(line, lines[i][0], strlen(lines[i][0])) == 0)
            memcpy(line, lines[i][1], strlen(lines[i][1]));
    }
}

TEST(keys_sample_is_right_in_every_line_that_is_commented_out)
{
    char *sample = printed(cfg_print_sample);
    struct cfg_errors errs;
    struct cfg *cfg = NULL, *plain;

    for (char *line = sample; *line; line = strchr(line, '\n') + 1) {
        if (line[0] == '#' && line[1] != ' ' && line[1] != '\n' && !is_second_way(line))
            line[0] = ' ';
        turn_on(line);
    }
    cfg_errors_init(&errs);
    if (cfg_load_memory("sample", bytes_str(sample), &cfg, &errs) != OK)
        fail_msg("%s", errs.count ? errs.items[0].text : "no memory");
    assert_int_equal(cfg_default(&plain), OK);
    assert_int_equal(cfg->listener_count, 1);
    assert_int_equal(cfg->link_count, 1);
    assert_memory_equal(&cfg->limits, &plain->limits, sizeof(cfg->limits));
    assert_int_equal(cfg->broker.workers, plain->broker.workers);
    cfg_free(cfg);
    cfg_free(plain);
    cfg_errors_fini(&errs);
    free(sample);
}
