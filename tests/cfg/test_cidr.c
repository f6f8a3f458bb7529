/* tests/cfg/test_cidr.c -- which address lies in which network. */
#include "cfg/cidr.h"

#include "tests/support/test.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static void add(struct cidr_list *list, const char *text)
{
    const char *why;

    assert_int_equal(cidr_add(list, bytes_str(text), &why), OK);
}

/* A sealed list of the words in `text`, which blanks divide. */
static struct cidr_list list_of(const char *text)
{
    struct cidr_list list;
    char copy[512], *at = NULL;

    cidr_init(&list);
    snprintf(copy, sizeof(copy), "%s", text);
    for (char *word = strtok_r(copy, " ", &at); word; word = strtok_r(NULL, " ", &at))
        add(&list, word);
    cidr_seal(&list);
    return list;
}

static uint32_t ip_of(const char *text, uint8_t ip[16])
{
    if (inet_pton(AF_INET, text, ip) == 1)
        return 4;
    assert_int_equal(inet_pton(AF_INET6, text, ip), 1);
    return 16;
}

static bool has(const struct cidr_list *list, const char *address)
{
    uint8_t ip[16];
    uint32_t n = ip_of(address, ip);

    return cidr_has(list, ip, n);
}

static bool lies_in(const char *address, const char *nets)
{
    struct cidr_list list = list_of(nets);
    bool yes = has(&list, address);

    cidr_fini(&list);
    return yes;
}

TEST(cidr_knows_an_address_by_its_prefix)
{
    assert_true(lies_in("192.0.2.1", "192.0.2.1"));
    assert_false(lies_in("192.0.2.2", "192.0.2.1"));
    assert_true(lies_in("192.0.2.255", "192.0.2.0/24"));
    assert_false(lies_in("192.0.3.0", "192.0.2.0/24"));
    assert_false(lies_in("192.0.1.255", "192.0.2.0/24"));
    assert_true(lies_in("192.0.3.0", "192.0.2.0/23"));
    assert_true(lies_in("255.255.255.255", "0.0.0.0/0"));
    assert_true(lies_in("128.0.0.0", "128.0.0.0/1"));
    assert_false(lies_in("127.255.255.255", "128.0.0.0/1"));
    assert_true(lies_in("2001:db8::1", "2001:db8::1"));
    assert_true(lies_in("2001:db8:0:1::", "2001:db8::/32"));
    assert_false(lies_in("2001:db9::", "2001:db8::/32"));
    assert_true(lies_in("2001:db8::ffff", "2001:db8::/64"));
    assert_false(lies_in("2001:db8:0:1::", "2001:db8::/64"));
    assert_true(lies_in("2001:db8::8000:0:0:0", "2001:db8::8000:0:0:0/65"));
    assert_false(lies_in("2001:db8::7fff:0:0:0", "2001:db8::8000:0:0:0/65"));
    assert_true(lies_in("2001:db8::3", "2001:db8::2/127"));
    assert_true(lies_in("ffff::", "::/0"));
}

TEST(cidr_takes_ipv4_in_16_bytes_for_ipv4)
{
    assert_true(lies_in("::ffff:192.0.2.1", "192.0.2.0/24"));
    assert_true(lies_in("192.0.2.1", "::ffff:192.0.2.0/120"));
    assert_true(lies_in("192.0.2.1", "::ffff:0:0/96"));
    assert_true(lies_in("::ffff:192.0.2.1", "::ffff:192.0.2.1"));
}

TEST(cidr_keeps_ipv4_and_ipv6_apart)
{
    assert_false(lies_in("192.0.2.1", "::/0"));
    assert_false(lies_in("::ffff:192.0.2.1", "::/0"));
    assert_false(lies_in("192.0.2.1", "::/64"));
    assert_false(lies_in("::1", "0.0.0.0/0"));
    assert_false(lies_in("c000:201::", "192.0.2.1"));
    assert_false(lies_in("::192.0.2.1", "192.0.2.1"));
}

TEST(cidr_knows_two_words)
{
    assert_true(lies_in("127.0.0.1", "localhost"));
    assert_true(lies_in("127.1.2.3", "LocalHost"));
    assert_true(lies_in("::1", "localhost"));
    assert_true(lies_in("::ffff:127.0.0.1", "localhost"));
    assert_false(lies_in("::2", "localhost"));
    assert_false(lies_in("128.0.0.1", "localhost"));
    assert_true(lies_in("192.0.2.1", "all"));
    assert_true(lies_in("2001:db8::", "ALL"));
}

TEST(cidr_refuses_what_is_no_network)
{
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"", "not an IPv4 or IPv6 address"},
        {"host", "not an IPv4 or IPv6 address"},
        {"1.2.3", "not an IPv4 or IPv6 address"},
        {"1.2.3.256", "not an IPv4 or IPv6 address"},
        {"01.2.3.4", "not an IPv4 or IPv6 address"},
        {" 1.2.3.4", "not an IPv4 or IPv6 address"},
        {"[::1]", "not an IPv4 or IPv6 address"},
        {"fe80::1%eth0", "not an IPv4 or IPv6 address"},
        {"1:2:3:4:5:6:7:8:9", "not an IPv4 or IPv6 address"},
        {"/8", "not an IPv4 or IPv6 address"},
        {"10.0.0.0/8/8", "the prefix is not a number from 0 to 32"},
        {"10.0.0.0/", "the prefix is not a number from 0 to 32"},
        {"10.0.0.0/08", "the prefix is not a number from 0 to 32"},
        {"10.0.0.0/33", "the prefix is not a number from 0 to 32"},
        {"10.0.0.0/-1", "the prefix is not a number from 0 to 32"},
        {"10.0.0.0/4294967304", "the prefix is not a number from 0 to 32"},
        {"10.0.0.0/255.0.0.0", "the prefix is not a number from 0 to 32"},
        {"::/1a", "the prefix is not a number from 0 to 128"},
        {"::/129", "the prefix is not a number from 0 to 128"},
        {"10.0.0.1/8", "bits are set behind the prefix"},
        {"2001:db8::1/64", "bits are set behind the prefix"},
        {"2001:db8:0:0:8000::/64", "bits are set behind the prefix"},
        {"0.0.0.1/0", "bits are set behind the prefix"},
        {"::ffff:0:0/95", "the prefix of an IPv4 address written as IPv6 is less than 96"},
        {"0000:0000:0000:0000:0000:0000:0000:0000:0000:0000", "not an IPv4 or IPv6 address"},
    };
    struct cidr_list list;

    cidr_init(&list);
    for (size_t i = 0; i < COUNT(cases); i++) {
        const char *why = NULL;

        assert_int_equal(cidr_add(&list, bytes_str(cases[i].text), &why), ERR_PEER);
        assert_string_equal(why, cases[i].why);
    }
    assert_int_equal(list.count, 0);
    cidr_fini(&list);
}

TEST(cidr_refuses_a_nul_within)
{
    struct cidr_list list;
    const char *why;

    cidr_init(&list);
    assert_int_equal(cidr_add(&list, BYTES_LIT("10.0.0.0\0/8"), &why), ERR_PEER);
    cidr_fini(&list);
}

TEST(cidr_takes_the_longest_way_to_write_a_network)
{
    assert_true(lies_in("2001:db8:1111:2222:3333:4444:255.255.255.255",
                        "2001:0db8:1111:2222:3333:4444:255.255.255.255/128"));
}

TEST(cidr_drops_what_lies_within_another)
{
    struct cidr_list list =
        list_of("10.1.0.0/16 10.0.0.0/8 10.1.2.3 10.0.0.0/8 11.0.0.0/8 ::/8 10.0.0.0/9 ::1");

    assert_int_equal(list.count, 3);
    assert_true(has(&list, "10.1.2.3"));
    assert_true(has(&list, "10.255.255.255"));
    assert_true(has(&list, "11.0.0.0"));
    assert_false(has(&list, "12.0.0.0"));
    assert_false(has(&list, "9.255.255.255"));
    assert_true(has(&list, "::1"));
    cidr_fini(&list);
}

TEST(cidr_can_be_added_to_and_sealed_again)
{
    struct cidr_list list = list_of("10.0.0.0/16 10.2.0.0/16");

    add(&list, "10.1.0.0/16");
    cidr_seal(&list);
    assert_true(has(&list, "10.1.0.0"));
    assert_true(has(&list, "10.2.0.0"));
    assert_false(has(&list, "10.3.0.0"));
    cidr_fini(&list);
    assert_int_equal(list.count, 0);
}

TEST(cidr_has_nothing_in_an_empty_list)
{
    struct cidr_list list = {0};

    assert_false(has(&list, "0.0.0.0"));
    assert_false(has(&list, "::"));
    cidr_seal(&list);
    assert_false(has(&list, "0.0.0.0"));
    cidr_fini(&list);
}

TEST(cidr_is_bounded)
{
    struct cidr_list list;
    const char *why;
    char text[32];

    cidr_init(&list);
    for (uint32_t i = 0; i < CIDR_LIST_MAX; i++) {
        snprintf(text, sizeof(text), "10.%u.%u.%u", i >> 15, i >> 7 & 255, (i & 127) * 2);
        add(&list, text);
    }
    assert_int_equal(cidr_add(&list, BYTES_LIT("1.2.3.4"), &why), ERR_FULL);
    assert_int_equal(cidr_add(&list, BYTES_LIT("all"), &why), ERR_FULL);
    cidr_seal(&list);
    assert_int_equal(list.count, CIDR_LIST_MAX);
    assert_true(has(&list, "10.3.0.0"));
    assert_false(has(&list, "10.3.0.1"));
    assert_false(has(&list, "9.255.255.255"));
    assert_false(has(&list, "11.0.0.0"));
    cidr_fini(&list);
}

/* Against a plain walk over all entries, in a small world where networks often nest. */
TEST(cidr_agrees_with_a_linear_search)
{
    uint32_t seed = 7;

    for (uint32_t round = 0; round < 300; round++) {
        uint32_t nets[24][2], count = round % 24;
        struct cidr_list list;
        char text[32];

        cidr_init(&list);
        for (uint32_t i = 0; i < count; i++) {
            seed = seed * 1103515245u + 12345u;
            nets[i][1] = 24 + (seed >> 24) % 9;
            nets[i][0] = (seed >> 16 & 255) & (0xFFu << (32 - nets[i][1]));
            snprintf(text, sizeof(text), "10.0.0.%u/%u", nets[i][0], nets[i][1]);
            add(&list, text);
        }
        cidr_seal(&list);
        for (uint32_t a = 0; a < 256; a++) {
            uint8_t ip[4] = {10, 0, 0, (uint8_t)a};
            bool want = false;

            for (uint32_t i = 0; i < count; i++)
                want |= (a & (0xFFu << (32 - nets[i][1])) & 0xFFu) == nets[i][0];
            assert_int_equal(cidr_has(&list, ip, 4), want);
        }
        cidr_fini(&list);
    }
}

static bool admits(const char *allow, const char *deny, const char *address)
{
    struct cidr_rules rules = {.allow = list_of(allow), .deny = list_of(deny)};
    uint8_t ip[16];
    uint32_t n = ip_of(address, ip);
    bool yes = cidr_admits(&rules, ip, n);

    cidr_fini(&rules.allow);
    cidr_fini(&rules.deny);
    return yes;
}

TEST(cidr_denies_before_it_allows)
{
    assert_true(admits("", "", "192.0.2.1"));
    assert_true(admits("192.0.2.0/24", "", "192.0.2.1"));
    assert_false(admits("192.0.2.0/24", "", "192.0.3.1"));
    assert_false(admits("192.0.2.0/24", "", "::1"));
    assert_false(admits("192.0.2.0/24", "192.0.2.1", "192.0.2.1"));
    assert_false(admits("192.0.2.1", "192.0.2.0/24", "192.0.2.1"));
    assert_true(admits("", "192.0.2.0/24", "192.0.3.1"));
    assert_false(admits("", "all", "::1"));
}
