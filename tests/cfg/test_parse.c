/* tests/cfg/test_parse.c -- files right and wrong: every rule, and that every mistake is told. */
#include "cfg/parse.h"

#include "tests/support/test.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

/* ---- helpers ---- */

/* The configuration that `text` makes; the caller's to free. */
static struct cfg *load(const char *text)
{
    struct cfg_errors errs;
    struct cfg *cfg = NULL;

    cfg_errors_init(&errs);
    if (cfg_load_memory("f", bytes_str(text), &cfg, &errs) != OK)
        fail_msg("refused: %s", errs.count ? errs.items[0].text : "no memory");
    assert_int_equal(errs.count, 0);
    cfg_errors_fini(&errs);
    return cfg;
}

/* Loads text that is wrong; the list of mistakes is the caller's to free. */
static struct cfg_errors mistakes_of(struct bytes text)
{
    struct cfg_errors errs;
    struct cfg *cfg = NULL;

    cfg_errors_init(&errs);
    assert_int_equal(cfg_load_memory("f", text, &cfg, &errs), ERR_PEER);
    assert_null(cfg);
    assert_true(errs.count > 0);
    return errs;
}

/* The text has exactly one mistake, and its message begins so. */
static void check_mistake_bytes(struct bytes text, const char *begin)
{
    struct cfg_errors errs = mistakes_of(text);

    if (errs.count != 1)
        fail_msg("%u mistakes, the second: %s", errs.count, errs.items[1].text);
    if (strncmp(errs.items[0].text, begin, strlen(begin)) != 0)
        fail_msg("\"%s\" does not begin with \"%s\"", errs.items[0].text, begin);
    cfg_errors_fini(&errs);
}

static void check_mistake(const char *text, const char *begin)
{
    check_mistake_bytes(bytes_str(text), begin);
}

#define TLS "certfile = c.pem\nkeyfile = c.key\n"
#define CLUSTER "[cluster]\nname = us\n"
#define LINK CLUSTER "[link eu]\nserver = h\n"

/* ---- lines ---- */

TEST(parse_takes_comments_blanks_and_empty_lines)
{
    struct cfg *cfg = load("# a comment\n; another\n   # indented\n\n \t \n"
                           "  [broker]  \n   workers   =   3   \n\tpin=no\n");

    assert_int_equal(cfg->broker.workers, 3);
    assert_false(cfg->broker.pin);
    cfg_free(cfg);
}

TEST(parse_takes_crlf_a_byte_order_mark_and_no_newline_at_the_end)
{
    struct cfg *cfg = load("\xEF\xBB\xBF[broker]\r\nworkers = 3\r\n[cluster]\r\nname = us");

    assert_int_equal(cfg->broker.workers, 3);
    assert_string_equal(cfg->cluster.name, "us");
    cfg_free(cfg);
}

TEST(parse_leaves_hash_and_semicolon_in_values)
{
    struct cfg *cfg = load(LINK "topics = #\npassword = p ;w #x\nusername = a;b\n");

    assert_int_equal(cfg->links[0].topic_count, 1);
    assert_true(bytes_eq(cfg->links[0].topics[0], BYTES_LIT("#")));
    assert_string_equal(cfg->links[0].password, "p ;w #x");
    assert_string_equal(cfg->links[0].username, "a;b");
    cfg_free(cfg);
}

TEST(parse_does_not_continue_a_value_on_an_indented_line)
{
    struct cfg *cfg = load(LINK "  clientid = x\n  topics = a\n");

    assert_int_equal(cfg->links[0].server_count, 1);
    assert_string_equal(cfg->links[0].clientid, "x");
    cfg_free(cfg);
}

TEST(parse_counts_lines_exactly)
{
    check_mistake("\n\n# c\r\n[broker]\n\n  x = 1\n", "f:6: there is no key 'x' in [broker]");
    check_mistake("[broker]\nworkers = 1\nworkers2 = 1", "f:3: there is no key 'workers2'");
}

TEST(parse_refuses_a_line_without_equals_sign)
{
    check_mistake("[broker]\nworkers 3\n", "f:2: '=' is missing; right would be workers = VALUE");
    check_mistake("[broker]\nworkers\n", "f:2: '=' is missing; right would be workers = VALUE");
    check_mistake("[broker]\nzebra crossing\n", "f:2: this is neither [SECTION] nor");
    check_mistake(LINK "topics =\nserver h:1\n", "f:6: '=' is missing; right would be server");
    check_mistake("[broker]\nzebra crossing = 1\n", "f:2: 'zebra ...' is no key");
}

TEST(parse_refuses_a_key_before_the_first_section_once)
{
    check_mistake("workers = 3\npin = true\n", "f:1: this key stands before the first section");
}

TEST(parse_refuses_control_characters)
{
    check_mistake_bytes(BYTES_LIT("[broker]\npid_file = a\0b\n"),
                        "f:2: byte 13 of this line is the control character 0x00");
    check_mistake("[broker]\npid_file = \x1b[31m\n", "f:2: byte 12 of this line is the control");
    check_mistake("[broker]\npin = on\rpin = off\n", "f:2: byte 9 of this line is the control");
}

TEST(parse_refuses_text_that_is_not_utf8)
{
    check_mistake("[broker]\npid_file = \xff\n", "f:2: this line is not valid UTF-8");
}

TEST(parse_takes_a_line_of_the_full_length_and_refuses_a_longer_one)
{
    size_t room = CFG_LINE_BYTES_MAX + 64;
    char *text = calloc(1, room + 64), *line;
    const char head[] = "[broker]\n";
    struct cfg *cfg;

    assert_non_null(text);
    memcpy(text, head, sizeof(head) - 1);
    line = text + sizeof(head) - 1;
    memset(line, 'x', CFG_LINE_BYTES_MAX);
    memcpy(line, "pid_file = ", 11);
    snprintf(line + CFG_LINE_BYTES_MAX, 32, "\npin = no\n");
    cfg = load(text);
    assert_int_equal(strlen(cfg->broker.pid_file), CFG_LINE_BYTES_MAX - 11);
    assert_false(cfg->broker.pin);
    cfg_free(cfg);
    snprintf(line + CFG_LINE_BYTES_MAX, 32, "x\npin = no\n");
    check_mistake(text, "f:2: this line has 65537 bytes; right would be at most 65536");
    free(text);
}

/* ---- sections ---- */

TEST(parse_refuses_wrong_section_lines)
{
    check_mistake("[broker\nworkers = 1\n", "f:1: ']' is missing");
    check_mistake("[broker] # c\nworkers = 1\n", "f:1: there is text after ']'");
    check_mistake("[brokr]\nworkers = 1\n",
                  "f:1: there is no section [brokr]; did you mean [broker]?");
    check_mistake("[lisener a]\nbind = 1\n",
                  "f:1: there is no section [lisener NAME]; did you mean [listener NAME]?");
    check_mistake("[zebra]\n", "f:1: there is no section [zebra]; right would be broker");
    check_mistake("[]\n", "f:1: there is no section []");
    check_mistake("[broker a]\n", "f:1: [broker] has no name");
    check_mistake("[listener]\n", "f:1: [listener] has no name; right would be [listener NAME]");
    check_mistake("[bridge x]\n", "f:1: [bridge] does not exist; write a [link NAME]");
    check_mistake("[listener a b]\nbind = 1\n", "f:1: [listener a b] has a name that is not");
    check_mistake("[link -a]\n", "f:1: [link -a] has a name that is not possible");
}

TEST(parse_takes_section_names_of_any_length_apart)
{
    char text[2 * CFG_NAME_BYTES_MAX + 256], name[CFG_NAME_BYTES_MAX];
    struct cfg *cfg;

    memset(name, 'n', sizeof(name));
    snprintf(text, sizeof(text), "[listener %.253sa]\nport = 1\n[listener %.253sb]\nport = 2\n",
             name, name);
    cfg = load(text);
    assert_int_equal(cfg->listener_count, 2);
    assert_int_equal(strlen(cfg->listeners[0].name), CFG_NAME_BYTES_MAX);
    assert_int_equal(cfg->listeners[1].bind.port, 2);
    cfg_free(cfg);
}

TEST(parse_sees_a_section_without_keys)
{
    check_mistake("[listener a]\n[broker]\n", "f:1: [listener a] does not say where to listen");
}

TEST(parse_refuses_a_section_given_twice_and_still_reads_its_keys)
{
    struct cfg_errors errs;

    check_mistake("[broker]\n[limits]\n[broker]\n", "f:3: [broker] stands here a second time, "
                                                    "first in line 1");
    check_mistake("[listener a]\nport = 1\n[listener a]\nport = 2\n",
                  "f:3: [listener a] stands here a second time, first in line 1");
    check_mistake(LINK "topics =\n[link eu]\n", "f:6: [link eu] stands here a second time");
    errs = mistakes_of(bytes_str("[broker]\n[broker]\nworkers = x\n"));
    assert_int_equal(errs.count, 2);
    assert_non_null(strstr(errs.items[1].text, "f:3: workers = x"));
    cfg_errors_fini(&errs);
}

TEST(parse_lets_a_listener_and_a_link_have_one_name)
{
    cfg_free(load(LINK "topics =\n[listener eu]\nport = 1\n"));
}

TEST(parse_refuses_more_listeners_than_there_may_be)
{
    char text[LISTENERS_MAX * 40 + 64], *to = text;

    for (int i = 0; i <= LISTENERS_MAX; i++)
        to += sprintf(to, "[listener l%d]\nport = %d\n", i, 1000 + i);
    check_mistake(text, "f:129: [listener l64] is one too many; there may be 64");
}

/* ---- keys ---- */

TEST(parse_refuses_a_key_given_twice)
{
    check_mistake("[broker]\nworkers = 1\nworkers = 2\n",
                  "f:3: workers is given a second time, first in line 2");
    check_mistake("[limits]\nmax_inflight = 1\nmax_inflight_messages = 2\n",
                  "f:3: max_inflight_messages is given a second time, first in line 2");
}

TEST(parse_says_what_was_meant_by_an_unknown_key)
{
    check_mistake("[limits]\nmax_conections = 1\n",
                  "f:2: there is no key 'max_conections' in [limits]; did you mean "
                  "'max_connections'?");
    check_mistake("[broker]\nmax_packet_size = 1MB\n",
                  "f:2: there is no key 'max_packet_size' in [broker]; it belongs into [limits]");
    check_mistake("[limits]\nbind = 1\n", "f:2: there is no key 'bind' in [limits]; it belongs "
                                          "into [listener NAME]");
    check_mistake("[log]\nzebra = 1\n", "f:2: there is no key 'zebra' in [log]; causeway "
                                        "--help-config lists");
    check_mistake("[broker]\n = 1\n", "f:2: there is no key '' in [broker]");
}

TEST(parse_says_of_known_keys_that_they_are_not_available)
{
    check_mistake("[broker]\ninclude_dir = /x\n", "f:2: include_dir is not available");
    check_mistake("[listener a]\nport = 1\ntls = true\n", "f:3: tls does not exist");
}

TEST(parse_knows_which_links_have_transit)
{
    struct cfg *cfg = load(LINK "topics =\ntransit = on\n");
    static char text[20000];
    size_t n = 0;

    assert_true(cfg->links[0].transit);
    cfg_free(cfg);
    cfg = load(LINK "topics =\n");
    assert_false(cfg->links[0].transit);
    cfg_free(cfg);
    check_mistake("[cluster]\nname = a\ntransit = on\n",
                  "f:3: there is no key 'transit' in [cluster]; it belongs into [link NAME]");
    check_mistake(LINK "topics =\nshared_groups = global\ntransit = on\n",
                  "f:7: transit = true cannot stand beside shared_groups = global (line 6); keep "
                  "one of them");
    check_mistake(LINK "topics =\ndialect = emqx\ntransit = on\n",
                  "f:7: transit = true is for brokers of this kind; right would be dialect = auto");
    n += (size_t)sprintf(text, "[cluster]\nname = a\n");
    for (int i = 0; i < 41; i++)
        n += (size_t)sprintf(text + n, "[link l%d]\nserver = h\ntopics =\n", i);
    cfg_free(load(text));
    sprintf(text + n, "transit = on\n");
    check_mistake(text,
                  "f:123: transit = true is possible with at most 40 links, and these are 41");
}

TEST(parse_knows_when_a_suback_is_sent)
{
    struct cfg *cfg = load("[cluster]\nname = a\n");

    assert_int_equal(cfg->cluster.suback, SUBACK_LOCAL);
    cfg_free(cfg);
    cfg = load("[cluster]\nname = a\nsuback = linked\n");
    assert_int_equal(cfg->cluster.suback, SUBACK_LINKED);
    cfg_free(cfg);
    check_mistake("[cluster]\nsuback = remote\n",
                  "f:2: suback = remote is not possible; right would be local | linked");
}

TEST(parse_accepts_the_names_of_other_brokers)
{
    struct cfg *cfg = load("[broker]\nthread_count = 2\nsys_msg_interval = 1m\n"
                           "[limits]\nmax_mqueue_len = 7\nserver_keepalive = 90\n"
                           "shared_subscription_targeting = sender_hash\n"
                           "[log]\nlog_facility = 3\nlog_level = information\n");

    assert_int_equal(cfg->broker.workers, 2);
    assert_int_equal(cfg->limits.sys_interval, 60);
    assert_int_equal(cfg->limits.queued_messages, 7);
    assert_int_equal(cfg->limits.keepalive, 90);
    assert_int_equal(cfg->limits.share_policy, SHARE_HASH_CLIENTID);
    assert_int_equal(cfg->log.facility, LOG_LOCAL3);
    assert_int_equal(cfg->log.level, LOG_LEVEL_INFO);
    cfg_free(cfg);
}

TEST(parse_tells_all_mistakes_in_the_order_of_lines)
{
    struct cfg_errors errs = mistakes_of(bytes_str("[listener a]\n"    /* 1: no address */
                                                   "links = perhaps\n" /* 2 */
                                                   "[broker]\n"
                                                   "workers = many\n" /* 4 */
                                                   "spin\n"           /* 5 */
                                                   "[limits]\n"
                                                   "max_qos = 3\n"  /* 7 */
                                                   "[nothing]\n"    /* 8 */
                                                   "[link eu]\n")); /* 9: two */
    static const uint32_t lines[] = {1, 2, 4, 5, 7, 8, 9, 9};

    assert_int_equal(errs.count, sizeof(lines) / sizeof(lines[0]));
    for (uint32_t i = 0; i < errs.count; i++)
        assert_int_equal(errs.items[i].line, lines[i]);
    cfg_errors_fini(&errs);
}

TEST(parse_bounds_the_list_of_mistakes_and_counts_the_rest)
{
    char text[16 + 300 * 8], *to = text + sprintf(text, "[broker]\n");
    struct cfg_errors errs;

    for (int i = 0; i < 300; i++)
        to += sprintf(to, "k%d=1\n", i);
    errs = mistakes_of(bytes_str(text));
    assert_int_equal(errs.count, CFG_ERRORS_MAX);
    assert_int_equal(errs.dropped, 300 - CFG_ERRORS_MAX);
    cfg_errors_fini(&errs);
}

TEST(parse_never_shows_a_password)
{
    static const char *const wrong[] = {
        LINK "topics =\npassword = secret\npassword = secret\n",
        LINK "topics =\npassword = secret\xff\n",
        LINK "topics =\npassword = sec\x01ret\n",
        LINK "topics =\npassword secret\n",
        LINK "topics =\npasword = secret\n",
        LINK "topics =\npasword secret\n",
        LINK "topics =\npasword secret : x\n",
        CLUSTER "[link eu]\ntopics =\nserver = mqtt://me:secret@h:1\n",
        "password = secret\n",
    };

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct cfg_errors errs = mistakes_of(bytes_str(wrong[i]));

        for (uint32_t e = 0; e < errs.count; e++)
            assert_null(strstr(errs.items[e].text, "secret"));
        cfg_errors_fini(&errs);
    }
}

/* ---- values ---- */

TEST(parse_defaults_are_those_of_limits_h)
{
    struct cfg *cfg;

    assert_int_equal(cfg_default(&cfg), OK);
    assert_null(cfg->file);
    assert_int_equal(cfg->limits.packet_bytes, PACKET_BYTES_DEFAULT);
    assert_int_equal(cfg->limits.connect_bytes, CONNECT_BYTES_DEFAULT);
    assert_int_equal(cfg->limits.connect_timeout_ms, CONNECT_TIMEOUT_DEFAULT);
    assert_int_equal(cfg->limits.topic_levels, TOPIC_LEVELS_DEFAULT);
    assert_int_equal(cfg->limits.connections, 0);
    assert_int_equal(cfg->limits.inflight, INFLIGHT_DEFAULT);
    assert_int_equal(cfg->limits.receive_maximum, RECEIVE_MAXIMUM_DEFAULT);
    assert_int_equal(cfg->limits.queued_messages, QUEUED_MESSAGES_DEFAULT);
    assert_int_equal(cfg->limits.queued_bytes, QUEUED_BYTES_DEFAULT);
    assert_int_equal(cfg->limits.outq_bytes, OUTQ_BYTES_DEFAULT);
    assert_int_equal(cfg->limits.subscriptions, SUBSCRIPTIONS_DEFAULT);
    assert_int_equal(cfg->limits.sessions, SESSIONS_DEFAULT);
    assert_int_equal(cfg->limits.retained, RETAINED_DEFAULT);
    assert_int_equal(cfg->limits.topic_alias, TOPIC_ALIAS_DEFAULT);
    assert_int_equal(cfg->limits.keepalive, KEEPALIVE_DEFAULT);
    assert_int_equal(cfg->limits.group_queued, GROUP_QUEUED_DEFAULT);
    assert_int_equal(cfg->limits.session_expiry, UINT32_MAX);
    assert_int_equal(cfg->limits.sys_interval, 10);
    assert_int_equal(cfg->limits.max_qos, 2);
    assert_true(cfg->limits.retain_available);
    assert_false(cfg->limits.queue_qos0);
    assert_false(cfg->limits.upgrade_qos);
    assert_int_equal(cfg->limits.queue_full, QUEUE_DROP_NEW);
    assert_int_equal(cfg->limits.share_policy, SHARE_ROUND_ROBIN);
    assert_true(cfg->limits.memory_bytes >= 16u << 20);
    assert_true(cfg->limits.retained_bytes <= RETAINED_BYTES_DEFAULT);
    assert_true(cfg->limits.retained_bytes <= cfg->limits.memory_bytes);
    cfg_free(cfg);
}

TEST(parse_defaults_of_the_rest_are_what_people_know)
{
    struct cfg *cfg;

    assert_int_equal(cfg_default(&cfg), OK);
    assert_int_equal(cfg->broker.workers, 0);
    assert_true(cfg->broker.pin);
    assert_int_equal(cfg->broker.spin_us, 0);
    assert_null(cfg->broker.pid_file);
    assert_null(cfg->cluster.name);
    assert_int_equal(cfg->cluster.link_workers, 1);
    assert_true(cfg->auth.allow_anonymous);
    assert_int_equal(cfg->log.dest_count, 1);
    assert_int_equal(cfg->log.dests[0].kind, LOG_TO_STDERR);
    assert_int_equal(cfg->log.format, LOG_TEXT);
    assert_int_equal(cfg->log.level, LOG_LEVEL_INFO);
    assert_int_equal(cfg->log.facility, LOG_DAEMON);
    assert_true(cfg->log.timestamp && cfg->log.connection_messages);
    cfg_free(cfg);
}

TEST(parse_takes_zero_for_a_bound_as_the_built_in_one)
{
    struct cfg *cfg = load("[broker]\nworkers = 0\n[limits]\nmax_packet_size = 0\n"
                           "max_queued_messages = 0\nconnect_timeout = 0\nmax_keepalive = 0\n"
                           "max_connections = 0\npersistent_client_expiration = 0\n");

    assert_int_equal(cfg->broker.workers, 0);
    assert_int_equal(cfg->limits.packet_bytes, PACKET_BYTES_DEFAULT);
    assert_int_equal(cfg->limits.queued_messages, QUEUED_MESSAGES_DEFAULT);
    assert_int_equal(cfg->limits.connect_timeout_ms, CONNECT_TIMEOUT_DEFAULT);
    assert_int_equal(cfg->limits.keepalive, KEEPALIVE_DEFAULT);
    assert_int_equal(cfg->limits.connections, 0);
    assert_int_equal(cfg->limits.session_expiry, UINT32_MAX);
    cfg_free(cfg);
}

TEST(parse_takes_zero_as_itself_where_it_means_none)
{
    struct cfg *cfg = load("[broker]\nsys_interval = 0\nspin = 0\n"
                           "[limits]\nmax_topic_alias = 0\nmax_qos = 0\n");

    assert_int_equal(cfg->limits.sys_interval, 0);
    assert_int_equal(cfg->limits.topic_alias, 0);
    assert_int_equal(cfg->limits.max_qos, 0);
    cfg_free(cfg);
}

TEST(parse_takes_units)
{
    struct cfg *cfg = load("[broker]\nspin = 20us\n[limits]\nmax_packet_size = 2MB\n"
                           "max_retained_bytes = 5000\nconnect_timeout = 1500ms\n"
                           "persistent_client_expiration = 2h\nmax_keepalive = 5m\n");

    assert_int_equal(cfg->broker.spin_us, 20);
    assert_int_equal(cfg->limits.packet_bytes, 2 << 20);
    assert_true(cfg->limits.retained_bytes == 5000);
    assert_int_equal(cfg->limits.connect_timeout_ms, 1500);
    assert_int_equal(cfg->limits.session_expiry, 7200);
    assert_int_equal(cfg->limits.keepalive, 300);
    cfg_free(cfg);
}

TEST(parse_refuses_values_out_of_range_with_the_range)
{
    check_mistake("[broker]\nworkers = 65\n",
                  "f:2: workers = 65 is not possible; right would be 1 to 64, or auto");
    check_mistake("[limits]\nmax_outq_bytes = 1KB\n",
                  "f:2: max_outq_bytes = 1KB is not possible; right would be 64KB to 1GB");
    check_mistake("[limits]\nconnect_timeout = 1ms\n",
                  "f:2: connect_timeout = 1ms is not possible; right would be 100ms to 10min");
    check_mistake("[limits]\nmax_keepalive = 1500ms\n", "f:2: max_keepalive = 1500ms");
    check_mistake("[limits]\nmax_qos = 3\n", "f:2: max_qos = 3 is not possible; right would be "
                                             "0 to 2");
    check_mistake("[limits]\nmax_qos =\n", "f:2: max_qos =  is not possible");
    check_mistake("[limits]\nmax_connections = -1\n", "f:2: max_connections = -1");
    check_mistake("[limits]\nretain_available = maybe\n",
                  "f:2: retain_available = maybe is not possible; right would be true | false");
    check_mistake("[limits]\nqueue_full = drop\n",
                  "f:2: queue_full = drop is not possible; right would be drop_new | drop_old | "
                  "disconnect");
    check_mistake("[broker]\npid_file =\n", "f:2: pid_file has no value");
    check_mistake("[cluster]\nname = a.b\n", "f:2: name = a.b is not possible");
}

TEST(parse_refuses_a_month_that_may_be_a_minute)
{
    struct cfg *cfg;

    check_mistake("[limits]\npersistent_client_expiration = 2m\n",
                  "f:2: persistent_client_expiration = 2m may be minutes or, as in mosquitto, "
                  "months");
    cfg = load("[limits]\npersistent_client_expiration = 2min\n");
    assert_int_equal(cfg->limits.session_expiry, 120);
    cfg_free(cfg);
}

TEST(parse_reads_where_to_log)
{
    struct cfg *cfg = load("[log]\nlog_dest = stdout, file /var/log/a\\,b.log\n"
                           "log_dest = syslog\nlog_format = JSON\nlog_level = debug\n");

    assert_int_equal(cfg->log.dest_count, 3);
    assert_int_equal(cfg->log.dests[0].kind, LOG_TO_STDOUT);
    assert_int_equal(cfg->log.dests[1].kind, LOG_TO_FILE);
    assert_string_equal(cfg->log.dests[1].path, "/var/log/a,b.log");
    assert_int_equal(cfg->log.dests[2].kind, LOG_TO_SYSLOG);
    assert_int_equal(cfg->log.format, LOG_JSON);
    assert_int_equal(cfg->log.level, LOG_LEVEL_DEBUG);
    cfg_free(cfg);
    cfg = load("[log]\nlog_dest = none\n");
    assert_int_equal(cfg->log.dest_count, 0);
    cfg_free(cfg);
    check_mistake("[log]\nlog_dest = file\n", "f:2: log_dest = file is not possible");
    check_mistake("[log]\nlog_dest = topic\n", "f:2: log_dest = topic is not possible");
}

/* ---- bounds and each other ---- */

TEST(parse_checks_bounds_against_each_other)
{
    check_mistake("[limits]\nmax_packet_size = 128MB\n",
                  "f:2: max_packet_size (128MB) is more than max_queued_bytes (64MB); lower "
                  "max_packet_size or raise max_queued_bytes");
    check_mistake("[limits]\nmax_packet_size = 1MB\nmax_connect_size = 2MB\n",
                  "f:2: max_connect_size (2MB) is more than max_packet_size (1MB)");
    check_mistake("[limits]\nmax_queued_bytes = 1MB\n",
                  "f:2: max_packet_size (16MB) is more than max_queued_bytes (1MB)");
    check_mistake("[limits]\nmemory_limit = 32MB\n",
                  "f:2: max_queued_bytes (64MB) is more than memory_limit (32MB)");
    check_mistake("[limits]\nmemory_limit = 64MB\nmax_retained_bytes = 65MB\n",
                  "f:2: max_retained_bytes (65MB) is more than memory_limit (64MB)");
    check_mistake("[limits]\nmax_connections = 10\n[listener a]\nport = 1\nmax_connections = 11\n",
                  "f:5: max_connections (11) is more than that of [limits] (10)");
    check_mistake("[broker]\nworkers = 64\n" LINK "topics =\n",
                  "f:2: workers (64) and link_workers (1) are more than 64 together");
}

TEST(parse_lowers_defaults_to_the_bounds_above_them)
{
    struct cfg *cfg = load("[limits]\nmax_packet_size = 64KB\nmemory_limit = 100MB\n");

    assert_int_equal(cfg->limits.connect_bytes, 64 << 10);
    assert_true(cfg->limits.retained_bytes == 100u << 20);
    cfg_free(cfg);
}

TEST(parse_does_not_judge_a_refused_value_again)
{
    check_mistake("[limits]\nmax_packet_size = huge\nmax_connect_size = 1MB\n",
                  "f:2: max_packet_size = huge");
    check_mistake("[listener a]\nbind = nowhere\n", "f:2: bind = nowhere is not possible");
}

/* ---- listeners ---- */

TEST(parse_gives_a_file_without_listener_the_default_one)
{
    struct cfg *cfg = load("[broker]\nworkers = 1\n");

    assert_true(cfg->has_default_listener);
    assert_int_equal(cfg->listener_count, 1);
    assert_string_equal(cfg->listeners[0].name, "default");
    assert_string_equal(cfg->listeners[0].bind.text, "127.0.0.1:1883");
    assert_int_equal(cfg->listeners[0].bind.port, 1883);
    assert_true(cfg->listeners[0].bind.is_loopback);
    assert_true(cfg->listeners[0].allow_anonymous);
    assert_int_equal(cfg->listeners[0].links, LINKS_ON);
    cfg_free(cfg);
}

TEST(parse_adds_no_listener_to_those_a_file_names)
{
    struct cfg *cfg = load("[listener only-links]\nport = 2883\nlinks = only\n");

    assert_false(cfg->has_default_listener);
    assert_int_equal(cfg->listener_count, 1);
    assert_int_equal(cfg->listeners[0].links, LINKS_ONLY);
    assert_string_equal(cfg->listeners[0].name, "only-links");
    assert_int_equal(cfg->listeners[0].line, 1);
    cfg_free(cfg);
}

TEST(parse_reads_a_listener)
{
    struct cfg *cfg = load("[listener a]\nbind = [::1]:2883\nmax_connections = 5\n"
                           "allow_anonymous = no\nlinks = no\nset_tcp_nodelay = off\n"
                           "protocol = mqtt\n");
    const struct cfg_listener *a = &cfg->listeners[0];

    assert_string_equal(a->bind.text, "[::1]:2883");
    assert_true(a->bind.is_v6 && a->bind.is_loopback);
    assert_int_equal(a->max_connections, 5);
    assert_false(a->allow_anonymous);
    assert_int_equal(a->links, LINKS_NO);
    assert_false(a->set_tcp_nodelay);
    cfg_free(cfg);
}

TEST(parse_takes_port_and_address_instead_of_bind)
{
    struct cfg *cfg = load("[listener a]\naddress = 127.0.0.2\nport = 5\n[listener b]\nport = 6\n"
                           "[listener c]\naddress = ::1\n");

    assert_string_equal(cfg->listeners[0].bind.text, "127.0.0.2:5");
    assert_string_equal(cfg->listeners[1].bind.text, "127.0.0.1:6");
    assert_string_equal(cfg->listeners[2].bind.text, "[::1]:1883");
    cfg_free(cfg);
    check_mistake("[listener a]\nbind = 5\nport = 5\n", "f:3: port cannot stand beside bind (line "
                                                        "2)");
    check_mistake("[listener a]\naddress = ::1\nbind = 5\n", "f:2: address cannot stand beside");
    check_mistake("[listener a]\nport = 70000\n", "f:2: port = 70000 is not possible; right would "
                                                  "be 1 to 65535");
    check_mistake("[listener a]\naddress = example.org\n", "f:2: address = example.org");
}

TEST(parse_refuses_two_listeners_on_one_address)
{
    check_mistake("[listener a]\nport = 5\n[listener b]\nbind = 127.0.0.1:5\n",
                  "f:4: [listener b] on 127.0.0.1:5 takes the address of [listener a] in line 2");
    check_mistake(
        "[listener a]\nport = 5\n[listener b]\nallow_anonymous = true\nbind = 0.0.0.0:5\n",
        "f:5: [listener b] on 0.0.0.0:5 takes the address of [listener a] in line 2");
}

TEST(parse_refuses_a_listener_open_to_others_unless_it_says_so)
{
    struct cfg *cfg;

    check_mistake("[listener a]\nbind = 0.0.0.0:1883\n",
                  "f:2: [listener a] is open to other machines (0.0.0.0:1883) without "
                  "authentication; write password_file, jwt_key_file or http_auth_url in [auth], "
                  "or allow_anonymous = true in it to let everybody in, or bind it to 127.0.0.1");
    check_mistake("[listener a]\nport = 5\naddress = 10.0.0.1\nallow_anonymous = false\n",
                  "f:3: [listener a] is open to other machines");
    check_mistake("[auth]\nallow_anonymous = true\n[listener a]\nbind = [::]:1883\n",
                  "f:4: [listener a] is open to other machines");
    check_mistake("[listener a]\nbind = 0.0.0.0:1883\nlinks = only\n", "f:2: [listener a] is open");
    cfg = load("[listener a]\nbind = 0.0.0.0:1883\nallow_anonymous = true\n");
    assert_true(cfg->listeners[0].allow_anonymous);
    assert_int_equal(cfg->listeners[0].links, LINKS_NO);
    cfg_free(cfg);
    cfg = load("[listener a]\nbind = 0.0.0.0:1883\n[auth]\npassword_file = p\n");
    assert_false(cfg->listeners[0].allow_anonymous);
    cfg_free(cfg);
}

TEST(parse_takes_clients_of_a_balancer_for_those_of_other_machines)
{
    struct cfg_errors errs;
    struct cfg *cfg;

    check_mistake("[listener a]\nport = 1\nproxy_protocol = on\n",
                  "f:2: [listener a] is open to other machines (127.0.0.1:1, behind a balancer) "
                  "without authentication; write password_file, jwt_key_file or http_auth_url in "
                  "[auth], or allow_anonymous = true in it to let everybody in");
    errs = mistakes_of(BYTES_LIT("[listener a]\nport = 1\nproxy_protocol = on\n"));
    assert_null(strstr(errs.items[0].text, "bind it to 127.0.0.1")); /* it is */
    cfg_errors_fini(&errs);
    cfg = load("[listener a]\nport = 1\nproxy_protocol = on\n[auth]\npassword_file = p\n"
               "allow_anonymous = true\n");
    assert_false(cfg->listeners[0].allow_anonymous);
    cfg_free(cfg);
}

TEST(parse_lets_nobody_in_without_a_name_where_names_can_be_proven)
{
    struct cfg *cfg = load("[auth]\npassword_file = p\n");

    assert_false(cfg->listeners[0].allow_anonymous);
    cfg_free(cfg);
    cfg = load("[auth]\nscram_file = p\n");
    assert_false(cfg->listeners[0].allow_anonymous);
    assert_string_equal(cfg->auth.scram_file, "p");
    cfg_free(cfg);
    cfg = load("[listener a]\nbind = 0.0.0.0:1883\n[auth]\nscram_file = p\n");
    assert_false(cfg->listeners[0].allow_anonymous);
    cfg_free(cfg);
    cfg = load("[auth]\npassword_file = p\nallow_anonymous = true\n");
    assert_true(cfg->listeners[0].allow_anonymous);
    cfg_free(cfg);
    cfg = load("[listener a]\nport = 1\n" TLS "cafile = ca\nrequire_certificate = true\n"
               "use_identity_as_username = true\n");
    assert_false(cfg->listeners[0].allow_anonymous);
    assert_int_equal(cfg->listeners[0].identity, IDENTITY_COMMON_NAME);
    cfg_free(cfg);
}

TEST(parse_takes_the_addresses_of_http_servers)
{
    struct cfg *cfg = load("[auth]\n");

    assert_null(cfg->auth.http_auth_url);
    assert_null(cfg->auth.http_acl_url);
    assert_int_equal(cfg->auth.http_acl_cache_ms, 60000);
    assert_int_equal(cfg->auth.http_connect_ms, 2000);
    assert_int_equal(cfg->auth.http_timeout_ms, 5000);
    assert_int_equal(cfg->auth.http_threads, 8);
    cfg_free(cfg);
    cfg = load("[auth]\nhttp_acl_url = http://[::1]:8080/acl?x=1\nhttp_timeout = 300ms\n");
    assert_string_equal(cfg->auth.http_acl_url, "http://[::1]:8080/acl?x=1");
    assert_int_equal(cfg->auth.http_timeout_ms, 300);
    assert_true(cfg->listeners[0].allow_anonymous); /* that is another question */
    cfg_free(cfg);
    cfg = load("[auth]\nhttp_auth_url = https://h\n[listener a]\nbind = 0.0.0.0:1883\n");
    assert_false(cfg->listeners[0].allow_anonymous);
    cfg_free(cfg);
}

TEST(parse_refuses_addresses_that_are_not_of_http)
{
    check_mistake("[auth]\nhttp_auth_url = file:///etc/passwd\n",
                  "f:2: http_auth_url must be an address like http://127.0.0.1:8080/path");
    check_mistake("[auth]\n\nhttp_acl_url = http:///path\n", "f:3: http_acl_url must be");
    check_mistake("[auth]\nhttp_acl_url = https://\n", "f:2: http_acl_url must be");
    check_mistake("[auth]\nhttp_acl_url = http://a b/\n", "f:2: http_acl_url must be");
    check_mistake("[auth]\nhttp_acl_url = 127.0.0.1:80\n", "f:2: http_acl_url must be");
    check_mistake("[auth]\nhttp_acl_cache = 0\n", "f:2: http_acl_cache");
}

TEST(parse_turns_tls_on_by_a_certificate_or_keys)
{
    struct cfg *cfg = load("[listener a]\nport = 1\n[listener b]\nport = 2\n" TLS
                           "[listener c]\nport = 3\npsk_file = p\ntls_version = 1.3\n");

    assert_false(cfg->listeners[0].tls.is_on);
    assert_true(cfg->listeners[1].tls.is_on);
    assert_string_equal(cfg->listeners[1].tls.certfile, "c.pem");
    assert_int_equal(cfg->listeners[1].tls.version, CFG_TLS_DEFAULT);
    assert_true(cfg->listeners[2].tls.is_on);
    assert_int_equal(cfg->listeners[2].tls.version, CFG_TLS_1_3);
    cfg_free(cfg);
}

TEST(parse_refuses_keys_of_tls_that_mean_nothing_alone)
{
    check_mistake("[listener a]\nport = 1\ncertfile = c\n", "f:3: certfile needs keyfile");
    check_mistake("[listener a]\nport = 1\nkeyfile = k\n", "f:3: keyfile needs certfile");
    check_mistake("[listener a]\nport = 1\nciphers = X\n",
                  "f:3: ciphers needs certfile and keyfile");
    check_mistake("[listener a]\nport = 1\n" TLS "crlfile = c\n", "f:5: crlfile needs cafile");
    check_mistake("[listener a]\nport = 1\npsk_file = p\nocsp_file = o\n",
                  "f:4: ocsp_file needs certfile and keyfile");
    check_mistake("[listener a]\nport = 1\n" TLS "require_certificate = true\n",
                  "f:5: require_certificate needs cafile");
    check_mistake("[listener a]\nport = 1\n" TLS "use_identity_as_username = true\n",
                  "f:5: use_identity_as_username needs require_certificate, psk_file");
    check_mistake("[listener a]\nport = 1\n" TLS "psk_file = p\n",
                  "f:5: psk_file cannot stand beside certfile (line 3)");
    check_mistake("[listener a]\nport = 1\npsk_file = p\nuse_identity_as_username = true\n"
                  "cafile = c\nuse_subject_as_username = true\n",
                  "f:6: use_subject_as_username cannot stand beside use_identity_as_username");
}

TEST(parse_reads_what_belongs_to_websocket)
{
    struct cfg *cfg = load("[listener a]\nport = 1\nprotocol = websockets\n"
                           "websockets_origin = https://a, https://b:1\n"
                           "websockets_origin = http://c\n");
    const struct cfg_listener *a = &cfg->listeners[0];

    assert_int_equal(a->protocol, PROTOCOL_WEBSOCKETS);
    assert_string_equal(a->websockets_path, "/mqtt");
    assert_int_equal(a->websockets_headers_size, 4096);
    assert_int_equal(a->websockets_origins.count, 3);
    assert_true(bytes_eq(a->websockets_origins.v[2], BYTES_LIT("http://c")));
    cfg_free(cfg);
    check_mistake("[listener a]\nport = 1\nwebsockets_path = /x\n",
                  "f:3: websockets_path needs protocol = websockets");
    check_mistake("[listener a]\nport = 1\nprotocol = ws\nwebsockets_path = x\n",
                  "f:4: websockets_path = x does not begin with /");
}

TEST(parse_reads_networks)
{
    struct cfg *cfg = load("[listener a]\nport = 1\nproxy_protocol = on\nallow_anonymous = on\n"
                           "allow = 10.0.0.0/8, 192.0.2.1\ndeny = 10.1.0.0/16\n");
    const struct cfg_listener *a = &cfg->listeners[0];
    const uint8_t in[4] = {10, 2, 0, 1}, out[4] = {10, 1, 0, 1}, home[4] = {127, 0, 0, 1};

    assert_true(cidr_admits(&a->networks, in, 4));
    assert_false(cidr_admits(&a->networks, out, 4));
    assert_true(cidr_has(&a->proxy_trusted, home, 4));
    assert_false(cidr_has(&a->proxy_trusted, in, 4));
    assert_int_equal(a->links, LINKS_NO); /* who comes by a balancer is not on this machine */
    cfg_free(cfg);
    check_mistake("[listener a]\nport = 1\nallow = 10.0.0.0/33\n",
                  "f:3: allow = 10.0.0.0/33 is no address or network");
    check_mistake("[listener a]\nport = 1\nproxy_trusted = 10.0.0.0/8\n",
                  "f:3: proxy_trusted needs proxy_protocol");
}

TEST(parse_turns_tls_of_a_link_on_by_key_or_scheme)
{
    struct cfg *cfg = load(CLUSTER "[link eu]\ntopics =\nserver = mqtts://h, mqtts://i:1\n"
                                   "cafile = ca\n");

    assert_true(cfg->links[0].tls.is_on);
    assert_true(cfg->links[0].tls.verify);
    assert_int_equal(cfg->links[0].servers[0].port, MQTTS_PORT_DEFAULT);
    cfg_free(cfg);
    cfg = load(LINK "topics =\ntls = true\nverify = false\npeer_identity = eu\n");
    assert_true(cfg->links[0].tls.is_on);
    assert_false(cfg->links[0].tls.verify);
    assert_string_equal(cfg->links[0].peer_identity, "eu");
    cfg_free(cfg);
    check_mistake(CLUSTER "[link eu]\ntopics =\nserver = mqtts://h, mqtt://i\n",
                  "f:5: server begins with mqtt://, but the link speaks TLS (line 5)");
    check_mistake(LINK "topics =\ncafile = ca\n", "f:6: cafile needs tls = true");
}

TEST(parse_takes_auth_as_the_default_of_loopback_listeners)
{
    struct cfg *cfg = load("[listener a]\nport = 1\n[listener b]\nport = 2\nallow_anonymous = on\n"
                           "[auth]\nallow_anonymous = false\n");

    assert_false(cfg->listeners[0].allow_anonymous);
    assert_true(cfg->listeners[1].allow_anonymous);
    cfg_free(cfg);
    cfg = load("[auth]\nallow_anonymous = false\n");
    assert_false(cfg->listeners[0].allow_anonymous);
    cfg_free(cfg);
}

/* ---- links ---- */

TEST(parse_reads_the_quick_start)
{
    struct cfg *cfg = load("[cluster]\nname = cluster-us-east\n"
                           "[listener mqtt]\nbind = 127.0.0.1:1883\n"
                           "[listener clink]\nbind = 127.0.0.1:11883\n"
                           "[link cluster-eu-west]\nserver = 127.0.0.1:21883\n"
                           "clientid = clink-us-east\ntopics = #\n");
    const struct cfg_link *link = &cfg->links[0];

    assert_string_equal(cfg->cluster.name, "cluster-us-east");
    assert_int_equal(cfg->listener_count, 2);
    assert_int_equal(cfg->listeners[1].links, LINKS_ON);
    assert_int_equal(cfg->link_count, 1);
    assert_string_equal(link->name, "cluster-eu-west");
    assert_string_equal(link->clientid, "clink-us-east");
    assert_int_equal(link->server_count, 1);
    assert_string_equal(link->servers[0].host, "127.0.0.1");
    assert_int_equal(link->servers[0].port, 21883);
    assert_int_equal(link->topic_count, 1);
    assert_true(bytes_eq(link->topics[0], BYTES_LIT("#")));
    assert_true(link->enable);
    cfg_free(cfg);
}

TEST(parse_gives_a_link_its_defaults)
{
    struct cfg *cfg = load(LINK "topics =\n");
    const struct cfg_link *link = &cfg->links[0];

    assert_string_equal(link->clientid, "us");
    assert_null(link->username);
    assert_null(link->password);
    assert_int_equal(link->keepalive, 60);
    assert_int_equal(link->dead_after_ms, 3000);
    assert_int_equal(link->retry_interval_ms, 15000);
    assert_int_equal(link->max_inflight, 1024);
    assert_int_equal(link->connections, 0);
    assert_int_equal(link->servers[0].port, 1883);
    assert_int_equal(link->topic_count, 0);
    assert_int_equal(link->line, 3);
    assert_int_equal(link->export_count, 1);
    assert_true(bytes_eq(link->exports[0], BYTES_LIT("#")));
    assert_int_equal(link->dialect, DIALECT_AUTO);
    assert_int_equal(link->window_bytes, 16u << 20);
    assert_int_equal(link->queue_bytes, 64u << 20);
    assert_int_equal(link->queue_age, 86400);
    assert_int_equal(link->on_full, ON_FULL_DROP_OLDEST);
    assert_int_equal(link->ack, ACK_LOCAL);
    assert_false(link->compression);
    assert_int_equal(link->retained, RETAINED_OFF);
    assert_int_equal(link->max_routes, 4u << 20);
    assert_int_equal(link->max_route_ops, 1000000);
    assert_int_equal(link->max_rate, 1u << 30);
    cfg_free(cfg);
}

TEST(parse_reads_the_bounds_of_a_link)
{
    struct cfg *cfg = load(LINK "topics =\nexport = a/#, $SYS/broker/#\ndialect = native\n"
                                "window_bytes = 4MB\nqueue_bytes = 1GB\nqueue_age = 90s\n"
                                "on_full = block\nack = remote\ncompression = on\nretained = "
                                "sync\nmax_routes = 7\nmax_route_ops = 5000\n"
                                "max_rate = 1MB\n[limits]\nmemory_limit = 2GB\n");
    const struct cfg_link *link = &cfg->links[0];

    assert_int_equal(link->export_count, 2);
    assert_true(bytes_eq(link->exports[1], BYTES_LIT("$SYS/broker/#")));
    assert_int_equal(link->dialect, DIALECT_NATIVE);
    assert_int_equal(link->window_bytes, 4u << 20);
    assert_int_equal(link->queue_bytes, 1u << 30);
    assert_int_equal(link->queue_age, 90);
    assert_int_equal(link->on_full, ON_FULL_BLOCK);
    assert_int_equal(link->ack, ACK_REMOTE);
    assert_true(link->compression);
    assert_int_equal(link->retained, RETAINED_SYNC);
    assert_int_equal(link->max_routes, 7);
    assert_int_equal(link->max_route_ops, 5000);
    assert_int_equal(link->max_rate, 1u << 20);
    cfg_free(cfg);
    cfg = load(LINK "topics =\nexport =\non_full = drop_newest\ndialect = emqx\nqueue_age = 0\n");
    assert_int_equal(cfg->links[0].export_count, 0);
    assert_int_equal(cfg->links[0].on_full, ON_FULL_DROP_NEWEST);
    assert_int_equal(cfg->links[0].dialect, DIALECT_EMQX);
    assert_int_equal(cfg->links[0].queue_age, 86400); /* nothing is ever unlimited */
    cfg_free(cfg);
}

TEST(parse_refuses_impossible_bounds_of_a_link)
{
    check_mistake(LINK "topics =\non_full = wait\n",
                  "f:6: on_full = wait is not possible; right would be drop_oldest | drop_newest | "
                  "block");
    check_mistake(LINK "topics =\nack = both\n",
                  "f:6: ack = both is not possible; right would be local | remote");
    check_mistake(LINK "topics =\nretained = on\n",
                  "f:6: retained = on is not possible; right would be off | pass | sync");
    check_mistake(LINK "topics =\ndialect = mqtt\n", "f:6: dialect = mqtt is not possible");
    check_mistake(LINK "topics =\nqueue_bytes = 1KB\n", "f:6: queue_bytes = 1KB is not");
    check_mistake(LINK "topics =\nqueue_age = 31d\n", "f:6: queue_age = 31d is not");
    check_mistake(LINK "topics =\nmax_route_ops = 999\n", "f:6: max_route_ops = 999 is not");
    check_mistake(LINK "topics =\nqueue_bytes = 3GB\n[limits]\nmemory_limit = 2GB\n",
                  "f:6: queue_bytes (3GB) is more than memory_limit (2GB)");
    check_mistake(LINK "topics =\nexport = a+\n", "f:6: export: a+ is no filter");
    check_mistake(LINK "topics =\nexport = $LINK/#\n", "f:6: export: $LINK/# is closed");
    check_mistake(LINK "topics =\nexport = $share/g/a\n", "f:6: export: $share/g/a can never");
    check_mistake(LINK "topics = a\nexport = a\nexport = #\n",
                  "f:6: export: a is covered by # in line 7");
}

TEST(parse_reads_lists_by_comma_and_by_repetition)
{
    struct cfg *cfg = load(CLUSTER "[link eu]\nserver = a:1, [::1]:2\nserver = mqtt://c\n"
                                   "topics = a/#, b\\,c\ntopics = d e/+\n");
    const struct cfg_link *link = &cfg->links[0];

    assert_int_equal(link->server_count, 3);
    assert_string_equal(link->servers[1].host, "::1");
    assert_true(link->servers[1].is_v6);
    assert_string_equal(link->servers[2].host, "c");
    assert_int_equal(link->topic_count, 3);
    assert_true(bytes_eq(link->topics[0], BYTES_LIT("a/#")));
    assert_true(bytes_eq(link->topics[1], BYTES_LIT("b,c")));
    assert_true(bytes_eq(link->topics[2], BYTES_LIT("d e/+")));
    cfg_free(cfg);
    check_mistake(LINK "topics = a,,b\n", "f:5: topics has a comma too many");
    check_mistake(LINK "topics = a,\n", "f:5: topics has a comma too many");
}

TEST(parse_refuses_links_without_what_they_need)
{
    check_mistake(LINK, "f:3: [link eu] has no topics; right would be topics = #, or 'topics =' to "
                        "want nothing");
    check_mistake(CLUSTER "[link eu]\ntopics =\nserver =\n", "f:5: server has no value");
    check_mistake("[link eu]\nserver = h\ntopics =\n", "f:1: [link eu] needs a name for this "
                                                       "cluster; right would be [cluster]");
}

TEST(parse_takes_a_link_without_a_server_where_the_other_side_may_call)
{
    static const char *const dialects[] = {"", "dialect = auto\n", "dialect = native\n"};

    for (uint32_t i = 0; i < 3; i++) {
        char text[128];
        struct cfg *cfg;

        snprintf(text, sizeof(text), CLUSTER "[link eu]\ntopics =\n%s", dialects[i]);
        cfg = load(text);
        assert_int_equal(cfg->links[0].server_count, 0);
        cfg_free(cfg);
    }
    check_mistake(CLUSTER "[link eu]\ntopics =\ndialect = emqx\n",
                  "f:3: [link eu] has no server, and with dialect = emqx it needs one; right would "
                  "be server = 127.0.0.1:21883");
}

TEST(parse_refuses_a_link_named_like_ourselves)
{
    check_mistake("[link us]\nserver = h\ntopics =\n" CLUSTER,
                  "f:1: [link us] has the name of this cluster");
}

TEST(parse_refuses_servers_nobody_could_dial)
{
    check_mistake(CLUSTER "[link eu]\ntopics =\nserver = h:0\n", "f:5: server = h:0 is not");
    check_mistake(CLUSTER "[link eu]\ntopics =\nserver = h, x y\n", "f:5: server = x y is not");
    check_mistake(CLUSTER "[link eu]\ntopics =\nserver = me@h\n",
                  "f:5: server has a user name in it");
    check_mistake(CLUSTER "[link eu]\ntopics =\nserver = "
                          "a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,one-more\n",
                  "f:5: server = one-more is one too many; a link may have 16");
}

TEST(parse_refuses_filters_that_are_none)
{
    check_mistake(LINK "topics = a/#/b\n", "f:5: topics: a/#/b is no filter");
    check_mistake(LINK "topics = a+\n", "f:5: topics: a+ is no filter");
    check_mistake("[limits]\nmax_topic_levels = 2\n" LINK "topics = a/b, a/b/c\n",
                  "f:7: topics: a/b/c is no filter");
}

TEST(parse_refuses_filters_that_are_closed_or_never_match)
{
    check_mistake(LINK "topics = $LINK/#\n", "f:5: topics: $LINK/# is closed");
    check_mistake(LINK "topics = $LINK\n", "f:5: topics: $LINK is closed");
    check_mistake(LINK "topics = a\ntopics = $share/g/a\n",
                  "f:6: topics: $share/g/a can never match a topic; right would be the filter "
                  "without $share/");
    check_mistake(LINK "topics = $queue/a\n", "f:5: topics: $queue/a can never match");
    check_mistake(LINK "topics = $exclusive/a\n", "f:5: topics: $exclusive/a can never match");
    cfg_free(load(LINK "topics = $SYS/#, $shared, #\n"));
}

TEST(parse_refuses_filters_that_another_covers)
{
    check_mistake(LINK "topics = a/#\ntopics = b, a/c\n",
                  "f:6: topics: a/c is covered by a/# in line 5; leave one of them out");
    check_mistake(LINK "topics = a/b\ntopics = a/+\n", "f:5: topics: a/b is covered by a/+ in line "
                                                       "6");
    check_mistake(LINK "topics = a\ntopics = a\n", "f:6: topics: a is covered by a in line 5");
    check_mistake(LINK "topics = #, a\n", "f:5: topics: a is covered by #");
    cfg_free(load(LINK "topics = #, $SYS/#\n"));
    cfg_free(load(LINK "topics = a/+, +/b\n"));
}

TEST(parse_compares_right_filters_also_beside_wrong_ones)
{
    struct cfg_errors errs = mistakes_of(bytes_str(LINK "topics = a/#\ntopics = x+\ntopics = a\n"));

    assert_int_equal(errs.count, 2);
    assert_int_equal(errs.items[0].line, 6);
    assert_int_equal(errs.items[1].line, 7);
    cfg_errors_fini(&errs);
}

TEST(parse_checks_disabled_links_too)
{
    check_mistake(LINK "topics = x+\nenable = false\n", "f:5: topics: x+ is no filter");
}

/* ---- files ---- */

/* A file with that text, in a place of its own; remove() it. */
static void write_file(char path[64], const char *text)
{
    int fd;

    snprintf(path, 64, "/tmp/causeway-cfg-XXXXXX");
    fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

TEST(parse_reads_a_file)
{
    struct cfg_errors errs;
    char path[64];
    struct cfg *cfg;

    write_file(path, "[broker]\nworkers = 3\n");
    cfg_errors_init(&errs);
    assert_int_equal(cfg_load(path, &cfg, &errs), OK);
    assert_int_equal(cfg->broker.workers, 3);
    assert_string_equal(cfg->file, path);
    cfg_free(cfg);
    cfg_errors_fini(&errs);
    remove(path);
}

static void check_unreadable(const char *path, const char *why)
{
    struct cfg_errors errs;
    struct cfg *cfg;

    cfg_errors_init(&errs);
    assert_int_equal(cfg_load(path, &cfg, &errs), ERR_SYSTEM);
    assert_null(cfg);
    assert_int_equal(errs.count, 1);
    assert_non_null(strstr(errs.items[0].text, why));
    cfg_errors_fini(&errs);
}

TEST(parse_says_why_a_file_cannot_be_read)
{
    check_unreadable("/nonexistent/causeway.ini", "No such file");
    check_unreadable("/tmp", "Is a directory");
}

TEST(parse_refuses_a_file_that_is_too_long)
{
    struct cfg_errors errs;
    char path[64];
    struct cfg *cfg;

    write_file(path, "");
    assert_int_equal(truncate(path, CFG_FILE_BYTES_MAX + 1), 0);
    cfg_errors_init(&errs);
    assert_int_equal(cfg_load(path, &cfg, &errs), ERR_PEER);
    assert_int_equal(errs.count, 1);
    assert_non_null(strstr(errs.items[0].text, "is too long"));
    cfg_errors_fini(&errs);
    remove(path);
}

TEST(parse_reads_the_password_of_a_link_from_a_file)
{
    char path[64], text[256];
    struct cfg *cfg;

    write_file(path, " pass word \t\r\nmore\n");
    snprintf(text, sizeof(text), LINK "topics =\npassword_file = %s\n", path);
    cfg = load(text);
    assert_string_equal(cfg->links[0].password, " pass word");
    cfg_free(cfg);
    snprintf(text, sizeof(text), LINK "topics =\npassword = x\npassword_file = %s\n", path);
    check_mistake(text, "f:7: password_file cannot stand beside password (line 6)");
    remove(path);
}

TEST(parse_refuses_a_password_file_without_password)
{
    char path[64], text[256];

    write_file(path, "\nsecond line\n");
    snprintf(text, sizeof(text), LINK "topics =\npassword_file = %s\n", path);
    check_mistake(text, "f:6: password_file = /tmp/causeway-cfg-");
    remove(path);
    check_mistake(LINK "topics =\npassword_file = /nonexistent/x\n",
                  "f:6: password_file = /nonexistent/x cannot be read (No such file");
    check_mistake(LINK "topics =\npassword_file = /tmp\n",
                  "f:6: password_file = /tmp cannot be read (it is no file)");
}

/* ---- bans ---- */

TEST(parse_bans_guessers_but_nobody_on_this_machine)
{
    const uint8_t here[4] = {127, 0, 0, 9}, there[4] = {192, 0, 2, 1};
    struct cfg *cfg = load("");

    assert_int_equal(cfg->auth.failures_max, 10);
    assert_int_equal(cfg->auth.failure_window_ms, 300000);
    assert_int_equal(cfg->auth.ban_ms, 300000);
    assert_true(cidr_has(&cfg->auth.ban_exempt, here, 4));
    assert_false(cidr_has(&cfg->auth.ban_exempt, there, 4));
    cfg_free(cfg);
    cfg = load("[auth]\nmax_auth_failures = 3\nauth_ban_time = 0\nauth_failure_window = 1min\n"
               "auth_ban_exempt = 192.0.2.0/24\n");
    assert_int_equal(cfg->auth.failures_max, 3);
    assert_int_equal(cfg->auth.failure_window_ms, 60000);
    assert_int_equal(cfg->auth.ban_ms, 0);
    assert_false(cidr_has(&cfg->auth.ban_exempt, here, 4));
    assert_true(cidr_has(&cfg->auth.ban_exempt, there, 4));
    cfg_free(cfg);
    check_mistake("[auth]\nauth_failure_window = 0\n", "f:2: auth_failure_window = 0 is not");
    check_mistake("[auth]\nauth_ban_exempt = x\n", "f:2: auth_ban_exempt = x is no address");
}

/* ---- limits of a listener ---- */

TEST(parse_gives_a_listener_limits_of_its_own)
{
    struct cfg *cfg = load("[listener a]\nport = 1\nmax_conn_rate = 100/10s\n"
                           "protocol_versions = 3.1.1, 5\nmax_qos = 1\n[listener b]\nport = 2\n");

    assert_int_equal(cfg->listeners[0].max_connection_rate.count, 100);
    assert_int_equal(cfg->listeners[0].max_connection_rate.period_ms, 10000);
    assert_int_equal(cfg->listeners[0].versions, CFG_MQTT_311 | CFG_MQTT_5);
    assert_int_equal(cfg->listeners[0].max_qos, 1);
    assert_int_equal(cfg->listeners[1].max_connection_rate.count, 0);
    assert_int_equal(cfg->listeners[1].versions, 0);
    assert_int_equal(cfg->listeners[1].max_qos, 2);
    cfg_free(cfg);
    cfg = load("");
    assert_int_equal(cfg->listeners[0].max_qos, 2);
    cfg_free(cfg);
    cfg = load("[listener a]\nport = 1\nprotocol_versions = 3\naccept_protocol_versions = 4\n"
               "max_connection_rate = infinity\n");
    assert_int_equal(cfg->listeners[0].versions, CFG_MQTT_31 | CFG_MQTT_311);
    cfg_free(cfg);
}

TEST(parse_refuses_limits_of_a_listener_that_mean_nothing)
{
    check_mistake("[listener a]\nport = 1\nmax_connection_rate = fast\n",
                  "f:3: max_connection_rate = fast is not possible; right would be COUNT/s");
    check_mistake("[listener a]\nport = 1\nprotocol_versions = 3.2\n",
                  "f:3: protocol_versions = 3.2 is not possible; right would be 3.1, 3.1.1 and 5");
    check_mistake("[listener a]\nport = 1\nprotocol_versions =\n", "f:3: protocol_versions =  is");
    check_mistake("[listener a]\nport = 1\nmax_qos = 3\n", "f:3: max_qos = 3 is not possible");
    check_mistake("[listener a]\nport = 1\nlinks = only\nprotocol_versions = 4\n",
                  "f:4: protocol_versions has no 5");
}

/* ---- mount points ---- */

TEST(parse_takes_a_mount_point)
{
    struct cfg *cfg = load("[listener a]\nport = 1\nmount_point = tenants/%u/${clientid}/\n"
                           "[listener b]\nport = 2\nmountpoint = /x y/\nlinks = no\n"
                           "[listener c]\nport = 3\n");

    assert_string_equal(cfg->listeners[0].mount_point, "tenants/%u/${clientid}/");
    assert_int_equal(cfg->listeners[0].links, LINKS_NO); /* although it is on loopback */
    assert_string_equal(cfg->listeners[1].mount_point, "/x y/");
    assert_null(cfg->listeners[2].mount_point);
    assert_int_equal(cfg->listeners[2].links, LINKS_ON);
    cfg_free(cfg);
}

TEST(parse_refuses_a_mount_point_that_clients_cannot_live_below)
{
    static const char *const wrong[][2] = {
        {"a/#/", "it is empty, holds a wildcard"},
        {"a/+/", "it is empty, holds a wildcard"},
        {"tenant", "it does not end with /"},
        {"a/%c", "it does not end with /"},
        {"a/%x/", "it holds a placeholder other than %c, %u, ${clientid} and ${username}"},
        {"${zone}/", "it holds a placeholder other than"},
        {"$LINK/", "topics that begin so are not a client's"},
        {"$share/g/", "topics that begin so are not a client's"},
        {"$%u/", "a name must not go on behind a $"}};
    static const char head[] = "[listener a]\nport = 1\nmountpoint = ";
    char text[CFG_LINE_BYTES_MAX], begin[256];

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        snprintf(text, sizeof(text), "[listener a]\nport = 1\nmount_point = %s\n", wrong[i][0]);
        snprintf(begin, sizeof(begin), "f:3: mount_point = %s is not possible: %s", wrong[i][0],
                 wrong[i][1]);
        check_mistake(text, begin);
    }
    check_mistake("[listener a]\nport = 1\nmount_point =\n", "f:3: mount_point");
    memset(text, 'x', sizeof(text));
    memcpy(text, head, strlen(head));
    memcpy(text + strlen(head) + MOUNT_BYTES_MAX, "/\n", 3); /* one byte too many */
    check_mistake(text, "f:3: mount_point = xxx");
}

TEST(parse_refuses_a_mount_point_that_takes_all_levels)
{
    struct cfg *cfg = load("[listener a]\nport = 1\nmount_point = a/b/\n"
                           "[limits]\nmax_topic_levels = 3\n");

    assert_string_equal(cfg->listeners[0].mount_point, "a/b/");
    cfg_free(cfg);
    check_mistake("[listener a]\nport = 1\nmount_point = a/b/c/\n"
                  "[limits]\nmax_topic_levels = 3\n",
                  "f:3: mount_point = a/b/c/ leaves no level for topics");
}

TEST(parse_refuses_links_below_a_mount_point)
{
    check_mistake("[listener a]\nport = 1\nmount_point = a/\nlinks = on\n",
                  "f:4: links cannot stand beside mount_point (line 3)");
    check_mistake("[listener a]\nport = 1\nlinks = only\nmount_point = a/\n",
                  "f:3: links cannot stand beside mount_point (line 4)");
}

/* ---- Unix sockets ---- */

TEST(parse_takes_a_unix_socket)
{
    struct cfg *cfg = load("[listener a]\nbind = unix:/run/a.sock\nsocket_mode = 0600\n"
                           "socket_owner = root\nsocket_group = 7\n"
                           "[listener b]\nbind = unix:/run/b.sock\n");

    assert_string_equal(cfg->listeners[0].bind.text, "unix:/run/a.sock");
    assert_string_equal(cfg->listeners[0].bind.path, "/run/a.sock");
    assert_int_equal(cfg->listeners[0].socket_mode, 0600);
    assert_int_equal(cfg->listeners[0].socket_uid, 0);
    assert_int_equal(cfg->listeners[0].socket_gid, 7);
    assert_int_equal(cfg->listeners[1].socket_mode, 0660);
    assert_true(cfg->listeners[1].socket_uid == UINT32_MAX);
    assert_true(cfg->listeners[1].socket_gid == UINT32_MAX);
    assert_true(cfg->listeners[1].allow_anonymous); /* as on loopback */
    assert_int_equal(cfg->listeners[1].links, LINKS_ON);
    cfg_free(cfg);
}

TEST(parse_refuses_what_a_unix_socket_does_not_have)
{
    check_mistake("[listener a]\nbind = unix:a.sock\n", "f:2: bind = unix:a.sock is not possible");
    check_mistake("[listener a]\nbind = 1\nsocket_mode = 0600\n",
                  "f:3: socket_mode needs bind = unix:/PATH");
    check_mistake("[listener a]\nbind = unix:/a\nsocket_mode = 999\n",
                  "f:3: socket_mode = 999 is not possible; right would be an octal number");
    check_mistake("[listener a]\nbind = unix:/a\ndeny = 10.0.0.1\n",
                  "f:3: deny does not apply to a Unix socket (line 2)");
    check_mistake("[listener a]\nbind = unix:/a\n" TLS, "f:3: certfile does not apply to a Unix");
    check_mistake("[listener a]\nbind = unix:/a\nuse_identity_as_username = true\n",
                  "f:3: use_identity_as_username needs");
    check_mistake("[listener a]\nbind = unix:/a\nsocket_owner = no such user\n",
                  "f:3: socket_owner = no such user is not known to this system");
    check_mistake("[listener a]\nbind = unix:/a\n[listener b]\nbind = unix:/a\n",
                  "f:4: [listener b] on unix:/a takes the address of [listener a] in line 2 "
                  "(unix:/a); give one of them another path");
}

/* ---- tokens ---- */

#define JWT "[auth]\njwt_key_file = k\n"

TEST(parse_takes_all_methods_that_have_files)
{
    struct cfg *cfg = load(JWT);

    assert_int_equal(cfg->auth.methods.count, 1);
    assert_int_equal(cfg->auth.methods.v[0], METHOD_JWT);
    assert_false(cfg->listeners[0].allow_anonymous); /* names can be proven */
    assert_int_equal(cfg->listeners[0].methods.count, 1);
    assert_int_equal(cfg->auth.jwt.leeway_s, 0);
    assert_false(cfg->auth.jwt.require_exp);
    assert_true(cfg->auth.jwt.disconnect_after_expire);
    assert_string_equal(cfg->auth.jwt.acl_claim, "acl");
    cfg_free(cfg);
    cfg = load("[auth]\njwt_jwks_file = k\npassword_file = p\n");
    assert_int_equal(cfg->auth.methods.count, 2);
    assert_int_equal(cfg->auth.methods.v[0], METHOD_PASSWORD);
    assert_int_equal(cfg->auth.methods.v[1], METHOD_JWT);
    cfg_free(cfg);
    cfg = load("[auth]\nhttp_auth_url = http://h\njwt_key_file = k\npassword_file = p\n");
    assert_int_equal(cfg->auth.methods.count, 3);
    assert_int_equal(cfg->auth.methods.v[2], METHOD_HTTP);
    cfg_free(cfg);
    cfg = load("[auth]\nallow_anonymous = true\nhttp_acl_url = http://h\n");
    assert_int_equal(cfg->listeners[0].methods.count, 0);
    cfg_free(cfg);
}

TEST(parse_keeps_the_order_of_methods_and_a_listener_has_its_own)
{
    struct cfg *cfg =
        load("[listener a]\nport = 5\nauth_methods = password\n"
             "[listener b]\nbind = 0.0.0.0:6\n" JWT "password_file = p\nmethods = jwt, password\n");

    assert_int_equal(cfg->listeners[0].methods.count, 1);
    assert_int_equal(cfg->listeners[0].methods.v[0], METHOD_PASSWORD);
    assert_int_equal(cfg->listeners[1].methods.count, 2);
    assert_int_equal(cfg->listeners[1].methods.v[0], METHOD_JWT);
    assert_true(cfg_methods_have(&cfg->listeners[1].methods, METHOD_PASSWORD));
    assert_false(cfg_methods_have(&cfg->listeners[0].methods, METHOD_JWT));
    cfg_free(cfg);
}

TEST(parse_refuses_methods_that_cannot_be)
{
    check_mistake(JWT "methods = jwt, kerberos\n", "f:3: methods = kerberos is no method");
    check_mistake(JWT "methods = jwt, jwt\n", "f:3: methods names jwt twice");
    check_mistake(JWT "methods = password\n", "f:3: methods names password, which needs");
    check_mistake(JWT "methods = http\n", "f:3: methods names http, which needs http_auth_url");
    check_mistake("[listener a]\nport = 5\nauth_methods = jwt\n",
                  "f:3: auth_methods names jwt, which needs jwt_key_file");
}

TEST(parse_refuses_keys_of_tokens_that_cannot_be)
{
    struct cfg *cfg = load(JWT "jwt_algorithms = RS256, EdDSA\njwt_leeway = 30s\n"
                               "acl_claim_name = rights\n");

    assert_int_equal(cfg->auth.jwt.algs, 1u << CFG_JWT_RS256 | 1u << CFG_JWT_EDDSA);
    assert_int_equal(cfg->auth.jwt.leeway_s, 30);
    assert_string_equal(cfg->auth.jwt.acl_claim, "rights");
    cfg_free(cfg);
    cfg = load(JWT "jwt_acl_claim = none\n");
    assert_null(cfg->auth.jwt.acl_claim);
    cfg_free(cfg);
    check_mistake("[auth]\njwt_acl_claim = a\n", "f:2: jwt_acl_claim needs jwt_key_file");
    check_mistake("[auth]\njwt_audience = a\n", "f:2: jwt_audience needs jwt_key_file");
    check_mistake(JWT "jwt_algorithms = none\n", "f:3: jwt_algorithms = none is not known");
    check_mistake(JWT "jwt_algorithms = hs256\n", "f:3: jwt_algorithms = hs256 is not known");
}
