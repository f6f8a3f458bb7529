/* tests/net/test_ban.c -- who is banned, when, and for how long. */
#include "tests/support/test.h"

#include <stdio.h>
#include <string.h>

#include "net/ban.h"

#define MINUTE 60000u

static const struct hash_key key = {{11, 22, 33, 44}};
static const uint8_t one[4] = {203, 0, 113, 1}, two[4] = {203, 0, 113, 2};
static struct cidr_list exempt;

/* Ten failures in 5 minutes, banned for 2. */
static struct bans *make(uint32_t places)
{
    struct ban_rules rules = {
        .failures_max = 10, .window_ms = 5 * MINUTE, .ban_ms = 2 * MINUTE, .exempt = &exempt};
    struct bans *b = bans_create(&rules, &key, places);

    assert_non_null(b);
    return b;
}

/* `count` failures of clients without an id; how many of them began a ban. */
static uint32_t guess(struct bans *b, const uint8_t *ip, uint32_t n, uint32_t count,
                      uint64_t now_ms)
{
    uint32_t begun = 0;

    for (uint32_t i = 0; i < count; i++)
        begun += bans_failed(b, ip, n, bytes_of("", 0), now_ms) == BAN_ADDRESS;
    return begun;
}

TEST(ban_begins_with_the_last_failure_that_is_allowed)
{
    struct bans *b = make(64);

    assert_int_equal(guess(b, one, 4, 9, 1000), 0);
    assert_false(bans_address(b, one, 4, 1000));
    assert_int_equal(guess(b, one, 4, 1, 1500), 1);
    assert_true(bans_address(b, one, 4, 1500));
    assert_false(bans_address(b, two, 4, 1500));
    bans_destroy(b);
}

TEST(ban_ends_after_its_time_and_counting_begins_anew)
{
    struct bans *b = make(64);

    assert_int_equal(guess(b, one, 4, 10, 1000), 1);
    assert_true(bans_address(b, one, 4, 1000 + 2 * MINUTE - 1));
    assert_false(bans_address(b, one, 4, 1000 + 2 * MINUTE));
    assert_int_equal(guess(b, one, 4, 9, 1000 + 2 * MINUTE), 0);
    assert_int_equal(guess(b, one, 4, 1, 1000 + 2 * MINUTE), 1);
    bans_destroy(b);
}

TEST(ban_is_not_prolonged_by_failures_that_were_on_their_way)
{
    struct bans *b = make(64);

    assert_int_equal(guess(b, one, 4, 30, 1000), 1);
    assert_int_equal(guess(b, one, 4, 30, 1000 + MINUTE), 0);
    assert_false(bans_address(b, one, 4, 1000 + 2 * MINUTE));
    bans_destroy(b);
}

TEST(ban_forgives_failures_one_by_one)
{
    struct bans *b = make(64);
    uint64_t now_ms = 1000;

    for (uint32_t i = 0; i < 100; i++, now_ms += 31000) /* one each 30 s is forgiven */
        assert_int_equal(guess(b, one, 4, 1, now_ms), 0);
    assert_int_equal(guess(b, two, 4, 9, now_ms), 0);
    now_ms += 4 * 30000;
    assert_int_equal(guess(b, two, 4, 4, now_ms), 0);
    assert_int_equal(guess(b, two, 4, 1, now_ms), 1);
    bans_destroy(b);
}

TEST(ban_holds_for_the_64_bits_of_an_ipv6_network)
{
    uint8_t ip[16] = {0x20, 0x01, 0x0d, 0xb8, 0, 1, 0, 2, 3}, other[16];
    struct bans *b = make(64);

    for (uint8_t i = 0; i < 10; i++) {
        ip[15] = i;
        (void)guess(b, ip, 16, 1, 1000);
    }
    memcpy(other, ip, sizeof(ip));
    other[8] = 99;
    assert_true(bans_address(b, other, 16, 1000));
    other[7] = 3;
    assert_false(bans_address(b, other, 16, 1000));
    bans_destroy(b);
}

TEST(ban_takes_a_mapped_ipv4_address_for_what_it_is)
{
    uint8_t mapped[16] = {[10] = 0xFF, [11] = 0xFF, 203, 0, 113, 1};
    struct bans *b = make(64);

    assert_int_equal(guess(b, mapped, 16, 10, 1000), 1);
    assert_true(bans_address(b, one, 4, 1000));
    mapped[15] = 2;
    assert_false(bans_address(b, mapped, 16, 1000));
    bans_destroy(b);
}

TEST(ban_spares_exempt_addresses_but_not_their_client_ids)
{
    const struct bytes id = BYTES_LIT("pump");
    const char *why;
    struct bans *b;
    uint32_t begun = 0;

    assert_int_equal(cidr_add(&exempt, BYTES_LIT("203.0.113.1"), &why), OK);
    cidr_seal(&exempt);
    b = make(64);
    assert_int_equal(guess(b, one, 4, 100, 1000), 0);
    for (uint32_t i = 0; i < 5; i++)
        begun |= bans_failed(b, one, 4, id, 1000);
    assert_int_equal(begun, BAN_CLIENT);
    assert_true(bans_client(b, one, 4, id, 1000));
    assert_false(bans_address(b, one, 4, 1000));
    bans_destroy(b);
    cidr_fini(&exempt);
}

TEST(ban_of_a_client_comes_before_that_of_its_address)
{
    const struct bytes id = BYTES_LIT("pump");
    struct bans *b = make(64);

    for (uint32_t i = 0; i < 4; i++)
        assert_int_equal(bans_failed(b, one, 4, id, 1000), 0);
    assert_int_equal(bans_failed(b, one, 4, id, 1000), BAN_CLIENT);
    assert_true(bans_client(b, one, 4, id, 1000));
    assert_false(bans_address(b, one, 4, 1000));
    assert_false(bans_client(b, one, 4, BYTES_LIT("pump2"), 1000));
    assert_false(bans_client(b, two, 4, id, 1000)); /* nobody locks out a stranger */
    bans_destroy(b);
}

TEST(ban_knows_the_clients_of_a_local_socket)
{
    struct bans *b = make(64);

    for (uint32_t i = 0; i < 20; i++)
        (void)bans_failed(b, NULL, 0, BYTES_LIT("tool"), 1000);
    assert_true(bans_client(b, NULL, 0, BYTES_LIT("tool"), 1000));
    assert_false(bans_address(b, NULL, 0, 1000));
    bans_destroy(b);
}

TEST(ban_with_one_failure_allowed_begins_at_once)
{
    struct ban_rules rules = {
        .failures_max = 1, .window_ms = 1000, .ban_ms = 1000, .exempt = &exempt};
    struct bans *b = bans_create(&rules, &key, 8);

    assert_int_equal(bans_failed(b, one, 4, BYTES_LIT("a"), 5), BAN_ADDRESS | BAN_CLIENT);
    bans_destroy(b);
}

TEST(ban_survives_a_crowd_that_has_failed_less)
{
    struct bans *b = make(8); /* one group: all share its eight places */
    uint64_t now_ms = 1000;

    assert_int_equal(guess(b, one, 4, 10, now_ms), 1);
    assert_int_equal(guess(b, two, 4, 9, now_ms), 0);
    for (uint32_t i = 0; i < 10000; i++) {
        const uint8_t ip[4] = {10, (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i};

        assert_int_equal(guess(b, ip, 4, 1, now_ms), 0);
    }
    assert_true(bans_address(b, one, 4, now_ms));
    assert_int_equal(guess(b, two, 4, 1, now_ms), 1); /* and what he had done is remembered */
    bans_destroy(b);
}

TEST(ban_gives_way_only_to_another_ban_when_all_places_are_banned)
{
    struct bans *b = make(8);
    uint32_t banned = 0;

    for (uint8_t i = 0; i < 9; i++) {
        const uint8_t ip[4] = {10, 0, 0, i};

        assert_int_equal(guess(b, ip, 4, 10, 1000 + i), 1);
    }
    for (uint8_t i = 0; i < 9; i++) {
        const uint8_t ip[4] = {10, 0, 0, i};

        banned += bans_address(b, ip, 4, 2000);
    }
    assert_int_equal(banned, 8);
    assert_false(bans_address(b, (const uint8_t[4]){10, 0, 0, 0}, 4, 2000)); /* it ended first */
    bans_destroy(b);
}

TEST(ban_is_never_where_there_is_no_table)
{
    assert_false(bans_address(NULL, one, 4, 1000));
    assert_false(bans_client(NULL, one, 4, BYTES_LIT("a"), 1000));
}
