/* tests/cfg/test_value.c -- numbers, sizes, durations, addresses and lists as text. */
#include "cfg/value.h"

#include "tests/support/test.h"

static uint64_t size_of(const char *text)
{
    uint64_t bytes = UINT64_MAX;

    assert_int_equal(value_size(text, &bytes), OK);
    return bytes;
}

static uint64_t duration_of(const char *text)
{
    uint64_t us = UINT64_MAX;
    bool has_bare_m;

    assert_int_equal(value_duration(text, &us, &has_bare_m), OK);
    return us;
}

static bool is_size(const char *text)
{
    uint64_t bytes;

    return value_size(text, &bytes) == OK;
}

static bool is_duration(const char *text)
{
    uint64_t us;
    bool has_bare_m;

    return value_duration(text, &us, &has_bare_m) == OK;
}

TEST(value_bool_knows_the_words_of_three_brokers)
{
    static const char *const yes[] = {"true", "yes", "on", "1", "TRUE", "Yes"};
    static const char *const no[] = {"false", "no", "off", "0", "OFF"};
    bool value;

    for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++) {
        value = false;
        assert_int_equal(value_bool(yes[i], &value), OK);
        assert_true(value);
    }
    for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++) {
        value = true;
        assert_int_equal(value_bool(no[i], &value), OK);
        assert_false(value);
    }
    assert_int_equal(value_bool("", &value), ERR_PEER);
    assert_int_equal(value_bool("tru", &value), ERR_PEER);
    assert_int_equal(value_bool("2", &value), ERR_PEER);
}

TEST(value_number_is_decimal_digits_only)
{
    uint64_t n = 0;

    assert_int_equal(value_number("18446744073709551615", &n), OK);
    assert_true(n == UINT64_MAX);
    assert_int_equal(value_number("18446744073709551616", &n), ERR_PEER);
    assert_int_equal(value_number("", &n), ERR_PEER);
    assert_int_equal(value_number("-1", &n), ERR_PEER);
    assert_int_equal(value_number("+1", &n), ERR_PEER);
    assert_int_equal(value_number("0x10", &n), ERR_PEER);
    assert_int_equal(value_number("1 ", &n), ERR_PEER);
    assert_int_equal(value_number("1k", &n), ERR_PEER);
}

TEST(value_size_takes_units_of_1024)
{
    assert_true(size_of("0") == 0);
    assert_true(size_of("17") == 17);
    assert_true(size_of("17B") == 17);
    assert_true(size_of("1K") == 1024 && size_of("1KB") == 1024 && size_of("1KiB") == 1024);
    assert_true(size_of("3M") == 3u << 20 && size_of("3mb") == 3u << 20);
    assert_true(size_of("3 MiB") == 3u << 20);
    assert_true(size_of("5GB") == 5ull << 30 && size_of("5G") == 5ull << 30);
    assert_false(is_size(""));
    assert_false(is_size("MB"));
    assert_false(is_size("1TB"));
    assert_false(is_size("1.5MB"));
    assert_false(is_size("1MB MB"));
    assert_false(is_size("-1MB"));
    assert_false(is_size("99999999999999GB"));
}

TEST(value_duration_takes_units_and_sums_of_them)
{
    assert_true(duration_of("10") == 10000000);
    assert_true(duration_of("20us") == 20);
    assert_true(duration_of("100ms") == 100000);
    assert_true(duration_of("15s") == 15000000);
    assert_true(duration_of("5m") == 300000000ull && duration_of("5min") == 300000000ull);
    assert_true(duration_of("2h") == 7200000000ull);
    assert_true(duration_of("1d") == 86400000000ull);
    assert_true(duration_of("2w") == 14 * 86400000000ull);
    assert_true(duration_of("1h30m") == 5400000000ull);
    assert_true(duration_of("1 h") == 3600000000ull);
    assert_false(is_duration(""));
    assert_false(is_duration("s"));
    assert_false(is_duration("1y"));
    assert_false(is_duration("1h30"));
    assert_false(is_duration("1.5s"));
    assert_false(is_duration("99999999999999999w"));
    assert_false(is_duration("18446744073709551615"));
}

TEST(value_duration_tells_of_a_bare_m)
{
    bool has_bare_m = false;
    uint64_t us;

    assert_int_equal(value_duration("1h2m", &us, &has_bare_m), OK);
    assert_true(has_bare_m);
    assert_int_equal(value_duration("2min", &us, &has_bare_m), OK);
    assert_false(has_bare_m);
}

TEST(value_bind_takes_the_path_of_a_unix_socket)
{
    struct cfg_address a, b, c;
    char longest[5 + CFG_SOCKET_PATH_MAX + 2] = "unix:/";

    assert_int_equal(value_bind("unix:/run/x.sock", &a), OK);
    assert_string_equal(a.path, "/run/x.sock");
    assert_true(a.is_loopback);
    assert_int_equal(a.port, 0);
    assert_int_equal(value_bind("unix:/run/y.sock", &b), OK);
    assert_int_equal(value_bind("127.0.0.1:1", &c), OK);
    assert_null(c.path);
    assert_true(value_addresses_meet(&a, &a));
    assert_false(value_addresses_meet(&a, &b));
    assert_false(value_addresses_meet(&a, &c));
    assert_int_equal(value_bind("unix:", &a), ERR_PEER);
    assert_int_equal(value_bind("unix:x.sock", &a), ERR_PEER);
    assert_int_equal(value_bind("unix:/", &a), ERR_PEER);
    assert_int_equal(value_bind("unix:/run/", &a), ERR_PEER);
    memset(longest + 6, 'x', CFG_SOCKET_PATH_MAX - 1);
    assert_int_equal(value_bind(longest, &a), OK);
    longest[5 + CFG_SOCKET_PATH_MAX] = 'x';
    assert_int_equal(value_bind(longest, &a), ERR_PEER);
}

TEST(value_mode_takes_octal_digits)
{
    uint32_t mode = 0;

    assert_int_equal(value_mode("0660", &mode), OK);
    assert_int_equal(mode, 0660);
    assert_int_equal(value_mode("777", &mode), OK);
    assert_int_equal(mode, 0777);
    assert_int_equal(value_mode("", &mode), ERR_PEER);
    assert_int_equal(value_mode("8", &mode), ERR_PEER);
    assert_int_equal(value_mode("1777", &mode), ERR_PEER);
    assert_int_equal(value_mode("00660", &mode), ERR_PEER);
}

static bool is_rate(const char *text, uint32_t count, uint32_t period_ms)
{
    struct cfg_rate rate = {0};

    return value_rate(text, &rate) == OK && rate.count == count && rate.period_ms == period_ms;
}

TEST(value_rate_takes_a_count_and_a_time)
{
    struct cfg_rate rate;

    assert_true(is_rate("1000/s", 1000, 1000));
    assert_true(is_rate("1000/10s", 1000, 10000));
    assert_true(is_rate("60/m", 60, 60000));
    assert_true(is_rate("1/1h", 1, 3600000));
    assert_true(is_rate("5/100ms", 5, 100));
    assert_int_equal(value_rate("1000", &rate), ERR_PEER);
    assert_int_equal(value_rate("/s", &rate), ERR_PEER);
    assert_int_equal(value_rate("5/", &rate), ERR_PEER);
    assert_int_equal(value_rate("0/s", &rate), ERR_PEER);
    assert_int_equal(value_rate("1/0s", &rate), ERR_PEER);
    assert_int_equal(value_rate("1/x", &rate), ERR_PEER);
    assert_int_equal(value_rate("1/s/s", &rate), ERR_PEER);
    assert_int_equal(value_rate("1000001/s", &rate), ERR_PEER);
    assert_int_equal(value_rate("1/2h", &rate), ERR_PEER);
    assert_int_equal(value_rate("1/999us", &rate), ERR_PEER);
}

static void check_bind(const char *text, const char *expected, bool is_loopback)
{
    struct cfg_address address;
    char printed[VALUE_PRINT_BYTES];

    assert_int_equal(value_bind(text, &address), OK);
    value_print_address(printed, &address);
    assert_string_equal(printed, expected);
    assert_int_equal(address.is_loopback, is_loopback);
}

TEST(value_bind_takes_addresses_with_and_without_port)
{
    check_bind("127.0.0.1:2883", "127.0.0.1:2883", true);
    check_bind("127.8.9.1", "127.8.9.1:1883", true);
    check_bind("0.0.0.0:1883", "0.0.0.0:1883", false);
    check_bind("10.0.0.1", "10.0.0.1:1883", false);
    check_bind("localhost:1", "127.0.0.1:1", true);
    check_bind("[::1]:65535", "[::1]:65535", true);
    check_bind("[::]", "[::]:1883", false);
    check_bind("[::ffff:127.0.0.1]:5", "[::ffff:127.0.0.1]:5", true);
    check_bind("[::ffff:10.0.0.1]:5", "[::ffff:10.0.0.1]:5", false);
}

TEST(value_bind_keeps_a_port_alone_on_loopback)
{
    check_bind("2883", "127.0.0.1:2883", true);
}

TEST(value_bind_refuses_what_is_no_numeric_address)
{
    static const char *const wrong[] = {
        "",           "0",        "65536",       ":1883",       "*:1883",        "example.org:1883",
        "1.2.3:1",    "::1:1883", "[::1",        "[::1]x",      "[::1]:",        "127.0.0.1:0",
        "127.0.0.1:", "[]:1",     "[1.2.3.4]:1", "1.2.3.4:1:2", "1.2.3.4:70000", "1.2.3.4: 5",
    };
    struct cfg_address address;

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_int_equal(value_bind(wrong[i], &address), ERR_PEER);
}

static void check_server(const char *text, const char *host, uint16_t port, bool is_v6)
{
    char found[VALUE_HOST_BYTES];
    uint16_t found_port;
    bool found_v6;

    assert_int_equal(value_server(text, found, &found_port, &found_v6), OK);
    assert_string_equal(found, host);
    assert_int_equal(found_port, port);
    assert_int_equal(found_v6, is_v6);
}

TEST(value_server_takes_names_addresses_and_a_scheme)
{
    check_server("broker.example.org", "broker.example.org", 1883, false);
    check_server("emqxcl_b.host:2883", "emqxcl_b.host", 2883, false);
    check_server("10.1.2.3:1", "10.1.2.3", 1, false);
    check_server("[2001:db8::1]:1884", "2001:db8::1", 1884, true);
    check_server("[::1]", "::1", 1883, true);
    check_server("mqtt://a:7", "a", 7, false);
    check_server("MQTT://[::1]:7", "::1", 7, true);
}

TEST(value_server_refuses_what_nobody_could_dial)
{
    static const char *const wrong[] = {
        "",       ":1883",    "a:",      "a:0",         "a:65536",   "a b:1", "a/b",
        "::1",    "1.2.3",    "1883",    "999.1.1.1:1", "tcp://a:1", "-a:1",  "a..b:1",
        "[::1]x", "[a]:1883", "mqtt://", "a:1:2",       "a\\b",
    };
    char host[VALUE_HOST_BYTES], long_name[400];
    uint16_t port;
    bool is_v6;

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_int_equal(value_server(wrong[i], host, &port, &is_v6), ERR_PEER);
    memset(long_name, 'a', sizeof(long_name));
    long_name[253] = '\0';
    assert_int_equal(value_server(long_name, host, &port, &is_v6), OK);
    long_name[253] = 'a';
    long_name[254] = '\0';
    assert_int_equal(value_server(long_name, host, &port, &is_v6), ERR_PEER);
}

TEST(value_is_name_has_the_rule_of_emqx)
{
    char name[CFG_NAME_BYTES_MAX + 2];

    assert_true(value_is_name("cluster-us_East-1"));
    assert_true(value_is_name("1"));
    assert_false(value_is_name(""));
    assert_false(value_is_name("-a"));
    assert_false(value_is_name("_a"));
    assert_false(value_is_name("a.b"));
    assert_false(value_is_name("a b"));
    assert_false(value_is_name("\xC3\xA4"));
    memset(name, 'a', sizeof(name));
    name[CFG_NAME_BYTES_MAX + 1] = '\0';
    assert_false(value_is_name(name));
    name[CFG_NAME_BYTES_MAX] = '\0';
    assert_true(value_is_name(name));
}

static void check_list(const char *text, size_t count, const char *const *expected)
{
    char copy[64], *rest = copy, *element;
    size_t i = 0;

    assert_true(strlen(text) < sizeof(copy));
    memcpy(copy, text, strlen(text) + 1);
    while ((element = value_list_next(&rest))) {
        assert_true(i < count);
        assert_string_equal(element, expected[i++]);
    }
    assert_int_equal(i, count);
}

TEST(value_list_splits_at_commas_but_not_at_escaped_ones)
{
    check_list("a", 1, (const char *const[]){"a"});
    check_list("a,b", 2, (const char *const[]){"a", "b"});
    check_list(" a b ,\tc ", 2, (const char *const[]){"a b", "c"});
    check_list("a\\,b,c", 2, (const char *const[]){"a,b", "c"});
    check_list("\\,", 1, (const char *const[]){","});
    check_list("a\\b", 1, (const char *const[]){"a\\b"});
    check_list("a\\", 1, (const char *const[]){"a\\"});
    check_list("a,,b", 3, (const char *const[]){"a", "", "b"});
    check_list("a,", 2, (const char *const[]){"a", ""});
    check_list("", 1, (const char *const[]){""});
}

TEST(value_prints_what_it_reads)
{
    static const uint64_t sizes[] = {0,       1,       1023,       1024,       1536,
                                     1 << 20, 3 << 20, 1ull << 30, UINT32_MAX, UINT64_MAX};
    static const uint64_t times[] = {0, 1, 1500, 1000000, 90000000, 3600000000ull, 604800000000ull};
    char text[VALUE_PRINT_BYTES];

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        value_print_size(text, sizes[i]);
        assert_true(size_of(text) == sizes[i]);
    }
    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        value_print_duration(text, times[i]);
        assert_true(duration_of(text) == times[i]);
    }
    value_print_size(text, 16u << 20);
    assert_string_equal(text, "16MB");
    value_print_duration(text, 15000000);
    assert_string_equal(text, "15s");
}

static bool meet(const char *a, const char *b)
{
    struct cfg_address one, two;

    assert_int_equal(value_bind(a, &one), OK);
    assert_int_equal(value_bind(b, &two), OK);
    assert_int_equal(value_addresses_meet(&one, &two), value_addresses_meet(&two, &one));
    return value_addresses_meet(&one, &two);
}

TEST(value_addresses_meet_when_one_takes_what_the_other_does)
{
    assert_true(meet("127.0.0.1:1883", "127.0.0.1:1883"));
    assert_true(meet("0.0.0.0:1883", "127.0.0.1:1883"));
    assert_true(meet("[::]:1883", "[::1]:1883"));
    assert_false(meet("127.0.0.1:1883", "127.0.0.1:1884"));
    assert_false(meet("127.0.0.1:1883", "127.0.0.2:1883"));
    assert_false(meet("0.0.0.0:1883", "[::]:1883"));
}
