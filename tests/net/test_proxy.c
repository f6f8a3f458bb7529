/* tests/net/test_proxy.c -- PROXY headers are read exactly, or refused with a reason. */
#include "net/proxy.h"

#include "tests/core/mqtt/wire.h"
#include "tests/support/test.h"

#include <stdio.h>

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

/* The first twelve bytes of version 2. */
#define SIGNATURE "0d0a0d0a000d0a515549540a "
/* Addresses of an IPv4 header: 192.0.2.1:50000 to 198.51.100.2:1883. */
#define IPV4 "c0000201 c6336402 c350 075b "

/* Reads what `in` holds, in every length from nothing to all of it: it must wait until it is whole
 * or impossible, never ask for less than it has or more than there can be, and end the same way. */
static enum err read_bytes(struct bytes in, struct proxy *out, uint32_t *need, enum proxy_why *why)
{
    enum err err = ERR_MORE;

    for (uint32_t n = 0; n <= in.n && err == ERR_MORE; n++) {
        uint8_t *copy = exact_copy(in.p, n);

        err = proxy_next(bytes_of(copy, n), PROXY_ANY, out, need, why);
        if (err == ERR_MORE) {
            assert_true(*need > n && *need <= PROXY_BYTES_MAX);
            assert_int_equal(*why, PROXY_WHY_NONE);
        }
        free(copy);
    }
    if (err == OK) /* once more in memory that stays, for the views */
        assert_int_equal(proxy_next(in, PROXY_ANY, out, need, why), OK);
    return err;
}

static void takes(const char *text, struct proxy *out, struct bytes *in)
{
    enum proxy_why why;
    uint32_t need;

    *in = wire(text);
    assert_int_equal(read_bytes(*in, out, &need, &why), OK);
    assert_int_equal(need, in->n);
}

static void refuses_bytes(struct bytes in, enum proxy_why want)
{
    struct proxy out;
    enum proxy_why why;
    uint32_t need;

    assert_int_equal(read_bytes(in, &out, &need, &why), ERR_PEER);
    assert_string_equal(proxy_why_name(why), proxy_why_name(want));
    assert_int_equal(proxy_next(in, PROXY_ANY, &out, &need, &why), ERR_PEER);
    assert_string_equal(proxy_why_name(why), proxy_why_name(want));
}

static void refuses(const char *text, enum proxy_why want)
{
    struct bytes in = wire(text);

    refuses_bytes(in, want);
    wire_free(in);
}

/* ---- version 1 ---- */

static enum err read_line(const char *line, struct proxy *out)
{
    enum proxy_why why;
    uint32_t need;
    enum err err = read_bytes(bytes_str(line), out, &need, &why);

    if (err == OK)
        assert_int_equal(need, strlen(line));
    return err;
}

TEST(proxy_v1_names_both_ends_of_ipv4)
{
    struct proxy out;

    assert_int_equal(read_line("PROXY TCP4 192.0.2.1 255.255.255.255 50000 65535\r\n", &out), OK);
    assert_int_equal(out.version, 1);
    assert_int_equal(out.family, PROXY_IPV4);
    assert_memory_equal(out.source.ip, "\xc0\x00\x02\x01", 4);
    assert_memory_equal(out.destination.ip, "\xff\xff\xff\xff", 4);
    assert_int_equal(out.source.port, 50000);
    assert_int_equal(out.destination.port, 65535);
    assert_false(out.tls.is_tls);
}

TEST(proxy_v1_names_both_ends_of_ipv6)
{
    struct proxy out;
    char longest[PROXY_V1_BYTES_MAX + 1];

    assert_int_equal(read_line("PROXY TCP6 2001:db8::1 ::1 1 59999\r\n", &out), OK);
    assert_int_equal(out.family, PROXY_IPV6);
    assert_memory_equal(out.source.ip, "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1", 16);
    assert_memory_equal(out.destination.ip, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1", 16);
    assert_int_equal(out.source.port, 1);
    assert_int_equal(out.destination.port, 59999);
    assert_int_equal(read_line("PROXY TCP6 ::1 ::1 0 0\r\n", &out), OK);
    assert_int_equal(out.source.port, 0);
    snprintf(longest, sizeof(longest), "PROXY TCP6 %s %s 65535 65535\r\n",
             "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
    assert_int_equal(read_line(longest, &out), OK);
}

TEST(proxy_v1_unknown_leaves_the_addresses_of_the_socket)
{
    struct proxy out;

    assert_int_equal(read_line("PROXY UNKNOWN\r\n", &out), OK);
    assert_int_equal(out.family, PROXY_NO_ADDRESS);
    assert_int_equal(read_line("PROXY UNKNOWN ff::1 any thing  at all\r\n", &out), OK);
    assert_int_equal(out.family, PROXY_NO_ADDRESS);
}

TEST(proxy_takes_no_byte_behind_the_header)
{
    struct proxy out;
    enum proxy_why why;
    uint32_t need;
    struct bytes in = BYTES_LIT("PROXY UNKNOWN\r\n\x10\x0c\r\n");

    assert_int_equal(proxy_next(in, PROXY_ANY, &out, &need, &why), OK);
    assert_int_equal(need, 15);
    in = wire(SIGNATURE "20 00 0000 10 0c");
    assert_int_equal(proxy_next(in, PROXY_ANY, &out, &need, &why), OK);
    assert_int_equal(need, 16);
    wire_free(in);
}

TEST(proxy_v1_refuses_lines_that_are_not_exact)
{
    static const struct {
        const char *line;
        enum proxy_why why;
    } cases[] = {
        {"PROXY \r\n", PROXY_WHY_FAMILY},
        {"PROXY \n", PROXY_WHY_SYNTAX},
        {"PROXY UNKNOWNS\r\n", PROXY_WHY_FAMILY},
        {"PROXY unknown\r\n", PROXY_WHY_FAMILY},
        {"PROXY UDP4 1.1.1.1 2.2.2.2 1 2\r\n", PROXY_WHY_FAMILY},
        {"PROXY  TCP4 1.1.1.1 2.2.2.2 1 2\r\n", PROXY_WHY_FAMILY},
        {"PROXY TCP4\r\n", PROXY_WHY_SYNTAX},
        {"PROXY TCP4 1.1.1.1 2.2.2.2 1\r\n", PROXY_WHY_SYNTAX},
        {"PROXY TCP4 1.1.1.1 2.2.2.2 1 \r\n", PROXY_WHY_SYNTAX},
        {"PROXY TCP4 1.1.1.1 2.2.2.2 1 2 \r\n", PROXY_WHY_SYNTAX},
        {"PROXY TCP4 1.1.1.1 2.2.2.2 1 2 3\r\n", PROXY_WHY_SYNTAX},
        {"PROXY TCP4  1.1.1.1 2.2.2.2 1 2\r\n", PROXY_WHY_SYNTAX},
        {"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\n", PROXY_WHY_SYNTAX},
        {"PROXY TCP4 1.1.1 2.2.2.2 1 2\r\n", PROXY_WHY_ADDRESS},
        {"PROXY TCP4 1.1.1.1 2.2.2.256 1 2\r\n", PROXY_WHY_ADDRESS},
        {"PROXY TCP4 ::1 ::2 1 2\r\n", PROXY_WHY_ADDRESS},
        {"PROXY TCP6 1.1.1.1 ::2 1 2\r\n", PROXY_WHY_ADDRESS},
        {"PROXY TCP6 0000000000000000000000000000000000000000000001 ::2 1 2\r\n",
         PROXY_WHY_ADDRESS},
        {"PROXY TCP6 00000000000000000000000000000000000000000000001 ::2 1 2\r\n",
         PROXY_WHY_ADDRESS},
        {"PROXY TCP4 1.1.1.1 2.2.2.2 65536 2\r\n", PROXY_WHY_PORT},
        {"PROXY TCP4 1.1.1.1 2.2.2.2 1 99999\r\n", PROXY_WHY_PORT},
        {"PROXY TCP4 1.1.1.1 2.2.2.2 01 2\r\n", PROXY_WHY_PORT},
        {"PROXY TCP4 1.1.1.1 2.2.2.2 +1 2\r\n", PROXY_WHY_PORT},
        {"PROXY TCP4 1.1.1.1 2.2.2.2 1a 2\r\n", PROXY_WHY_PORT},
        {"PROXY TCP4 1.1.1.1 2.2.2.2 1 2:\r\n", PROXY_WHY_PORT},
        {"PROXY TCP4 1.1.1.1 2.2.2.2 1 4294967297\r\n", PROXY_WHY_PORT},
    };

    for (size_t i = 0; i < COUNT(cases); i++)
        refuses_bytes(bytes_str(cases[i].line), cases[i].why);
    refuses_bytes(BYTES_LIT("PROXY TCP4 1.1.1.1\0 2.2.2.2 1 2\r\n"), PROXY_WHY_ADDRESS);
}

TEST(proxy_v1_is_bounded)
{
    char line[PROXY_V1_BYTES_MAX + 8];
    struct proxy out;
    enum proxy_why why;
    uint32_t need;

    memset(line, 'x', sizeof(line));
    memcpy(line, "PROXY UNKNOWN ", 14);
    refuses_bytes(bytes_of(line, PROXY_V1_BYTES_MAX), PROXY_WHY_LONG);
    memcpy(line + PROXY_V1_BYTES_MAX - 1, "\r\n", 2);
    refuses_bytes(bytes_of(line, PROXY_V1_BYTES_MAX + 1), PROXY_WHY_LONG);
    memcpy(line + PROXY_V1_BYTES_MAX - 2, "\r\n", 2);
    assert_int_equal(proxy_next(bytes_of(line, sizeof(line)), PROXY_ANY, &out, &need, &why), OK);
    assert_int_equal(need, PROXY_V1_BYTES_MAX);
}

/* ---- which of them ---- */

TEST(proxy_refuses_what_is_no_header_at_its_first_byte)
{
    refuses("10 0c 0004 'MQTT'", PROXY_WHY_ABSENT);
    refuses("16 03 01", PROXY_WHY_ABSENT);
    refuses("'GET / HTTP/1.1'", PROXY_WHY_ABSENT);
    refuses("'PROXYZ'", PROXY_WHY_ABSENT);
    refuses("'proxy '", PROXY_WHY_ABSENT);
    refuses("0d0a0d0a000d0a515549540b", PROXY_WHY_ABSENT);
    refuses("0d0a0d0a0d", PROXY_WHY_ABSENT);
}

TEST(proxy_waits_for_a_first_byte)
{
    struct proxy out;
    enum proxy_why why;
    uint32_t need;

    assert_int_equal(proxy_next((struct bytes){0}, PROXY_ANY, &out, &need, &why), ERR_MORE);
    assert_int_equal(need, 1);
}

TEST(proxy_takes_only_versions_the_listener_wants)
{
    struct bytes v1 = BYTES_LIT("PROXY UNKNOWN\r\n"), v2 = wire(SIGNATURE "20 00 0000");
    struct proxy out;
    enum proxy_why why;
    uint32_t need;

    assert_int_equal(proxy_next(v1, PROXY_V1, &out, &need, &why), OK);
    assert_int_equal(proxy_next(v2, PROXY_V2, &out, &need, &why), OK);
    assert_int_equal(proxy_next(v1, PROXY_V2, &out, &need, &why), ERR_PEER);
    assert_int_equal(why, PROXY_WHY_VERSION);
    assert_int_equal(proxy_next(v2, PROXY_V1, &out, &need, &why), ERR_PEER);
    assert_int_equal(why, PROXY_WHY_VERSION);
    assert_int_equal(proxy_next(bytes_of(v1.p, 1), PROXY_V2, &out, &need, &why), ERR_PEER);
    wire_free(v2);
}

/* ---- version 2 ---- */

TEST(proxy_v2_names_both_ends_of_ipv4)
{
    struct proxy out;
    struct bytes in;

    takes(SIGNATURE "21 11 000c " IPV4, &out, &in);
    assert_int_equal(out.version, 2);
    assert_false(out.is_local);
    assert_int_equal(out.family, PROXY_IPV4);
    assert_memory_equal(out.source.ip, "\xc0\x00\x02\x01", 4);
    assert_memory_equal(out.destination.ip, "\xc6\x33\x64\x02", 4);
    assert_int_equal(out.source.port, 50000);
    assert_int_equal(out.destination.port, 1883);
    wire_free(in);
}

TEST(proxy_v2_names_both_ends_of_ipv6)
{
    struct proxy out;
    struct bytes in;

    takes(SIGNATURE "21 21 0024 20010db8000000000000000000000001 20010db8000000000000000000000002 "
                    "c350 22b3",
          &out, &in);
    assert_int_equal(out.family, PROXY_IPV6);
    assert_memory_equal(out.source.ip, "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1", 16);
    assert_memory_equal(out.destination.ip, "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\2", 16);
    assert_int_equal(out.source.port, 50000);
    assert_int_equal(out.destination.port, 8883);
    wire_free(in);
}

TEST(proxy_v2_names_unix_sockets)
{
    uint8_t header[16 + 216] = {0};
    struct proxy out;
    enum proxy_why why;
    uint32_t need;
    struct bytes start = wire(SIGNATURE "21 31 00d8");

    bytes_put(header, start);
    memcpy(header + 16, "/run/a", 6);
    memset(header + 16 + 108, 'b', 108);
    assert_int_equal(read_bytes(bytes_of(header, sizeof(header)), &out, &need, &why), OK);
    assert_int_equal(out.family, PROXY_UNIX);
    assert_true(bytes_eq(out.source.path, BYTES_LIT("/run/a")));
    assert_int_equal(out.destination.path.n, 108);
    header[15] = 0xd7;
    refuses_bytes(bytes_of(header, sizeof(header)), PROXY_WHY_SHORT);
    wire_free(start);
}

TEST(proxy_v2_local_and_unspec_leave_the_addresses_of_the_socket)
{
    static const char *const locals[] = {
        SIGNATURE "20 00 0000", SIGNATURE "20 11 000c " IPV4,
        SIGNATURE "20 ff 0003 ffffff", /* all of it is thrown away, the family too */
    };
    struct proxy out;
    struct bytes in;

    for (size_t i = 0; i < COUNT(locals); i++) {
        takes(locals[i], &out, &in);
        assert_true(out.is_local);
        assert_int_equal(out.family, PROXY_NO_ADDRESS);
        wire_free(in);
    }
    takes(SIGNATURE "21 00 0005 02 0002 'ab'", &out, &in);
    assert_false(out.is_local);
    assert_int_equal(out.family, PROXY_NO_ADDRESS);
    assert_true(bytes_eq(out.authority, BYTES_LIT("ab")));
    wire_free(in);
}

TEST(proxy_v2_refuses_versions_commands_and_families_that_do_not_exist)
{
    refuses(SIGNATURE "11 11 000c " IPV4, PROXY_WHY_VERSION);
    refuses(SIGNATURE "31 11 000c " IPV4, PROXY_WHY_VERSION);
    refuses(SIGNATURE "22 11 000c " IPV4, PROXY_WHY_COMMAND);
    refuses(SIGNATURE "2f 11 000c " IPV4, PROXY_WHY_COMMAND);
    refuses(SIGNATURE "21 41 000c " IPV4, PROXY_WHY_FAMILY);
    refuses(SIGNATURE "21 13 000c " IPV4, PROXY_WHY_FAMILY);
    refuses(SIGNATURE "21 10 000c " IPV4, PROXY_WHY_FAMILY);
    refuses(SIGNATURE "21 01 000c " IPV4, PROXY_WHY_FAMILY);
    refuses(SIGNATURE "21 12 000c " IPV4, PROXY_WHY_DATAGRAM);
    refuses(SIGNATURE "21 22 000c " IPV4, PROXY_WHY_DATAGRAM);
}

TEST(proxy_v2_refuses_a_length_without_room_for_the_addresses)
{
    refuses(SIGNATURE "21 11 000b " IPV4, PROXY_WHY_SHORT);
    refuses(SIGNATURE "21 11 0000", PROXY_WHY_SHORT);
    refuses(SIGNATURE "21 21 000c " IPV4, PROXY_WHY_SHORT);
}

TEST(proxy_v2_is_bounded_by_its_announced_length)
{
    struct bytes in = wire(SIGNATURE "21 11 0ff0");
    struct proxy out;
    enum proxy_why why;
    uint32_t need;

    assert_int_equal(proxy_next(in, PROXY_ANY, &out, &need, &why), ERR_MORE);
    assert_int_equal(need, 4096);
    wire_free(in);
    refuses(SIGNATURE "21 11 0ff1", PROXY_WHY_LONG);
    refuses(SIGNATURE "20 00 ffff", PROXY_WHY_LONG);
}

/* ---- values ---- */

TEST(proxy_v2_tells_what_the_balancer_knows_of_tls)
{
    struct proxy out;
    struct bytes in;

    takes(SIGNATURE "21 11 0060 " IPV4 "01 0004 'mqtt' 02 000b 'example.org' 05 0003 aabbcc "
                    "20 0036 03 00000000 21 0007 'TLSv1.3' 22 0006 'dev 17' "
                    "23 000c 'TLS_AES_128_' 25 0003 'EC2' 28 0003 300100 fe 0000",
          &out, &in);
    assert_true(bytes_eq(out.alpn, BYTES_LIT("mqtt")));
    assert_true(bytes_eq(out.authority, BYTES_LIT("example.org")));
    assert_int_equal(out.unique_id.n, 3);
    assert_true(out.tls.is_tls && out.tls.has_certificate && out.tls.is_verified);
    assert_true(bytes_eq(out.tls.version, BYTES_LIT("TLSv1.3")));
    assert_true(bytes_eq(out.tls.common_name, BYTES_LIT("dev 17")));
    assert_true(bytes_eq(out.tls.cipher, BYTES_LIT("TLS_AES_128_")));
    assert_int_equal(out.tls.certificate.n, 3);
    assert_ptr_equal(out.tls.certificate.p, in.p + in.n - 6);
    wire_free(in);
}

/* A name is an identity only if a certificate was shown and verified. */
TEST(proxy_v2_believes_a_certificate_only_when_all_says_so)
{
    static const struct {
        const char *value;
        bool is_tls, has_certificate, is_verified;
    } cases[] = {
        {"00 00000000", false, false, false}, /* no TLS */
        {"01 00000000", true, false, false},  /* no certificate */
        {"02 00000000", false, false, false}, /* a certificate without TLS */
        {"03 00000000", true, true, true},    /* in this connection */
        {"05 00000000", true, true, true},    /* in its session */
        {"07 00000001", true, true, false},   /* not verified */
        {"07 80000000", true, true, false},   /* nor here */
        {"f8 00000000", false, false, false}, /* flags we do not know */
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        char text[128];
        struct proxy out;
        struct bytes in;

        snprintf(text, sizeof(text), "%s%s", SIGNATURE "21 11 0014 " IPV4 "20 0005 ",
                 cases[i].value);
        takes(text, &out, &in);
        assert_int_equal(out.tls.is_tls, cases[i].is_tls);
        assert_int_equal(out.tls.has_certificate, cases[i].has_certificate);
        assert_int_equal(out.tls.is_verified, cases[i].is_verified);
        wire_free(in);
    }
}

TEST(proxy_v2_refuses_values_that_do_not_fit)
{
    refuses(SIGNATURE "21 11 000d " IPV4 "04", PROXY_WHY_VALUE);
    refuses(SIGNATURE "21 11 000e " IPV4 "04 00", PROXY_WHY_VALUE);
    refuses(SIGNATURE "21 11 000f " IPV4 "04 0001", PROXY_WHY_VALUE);
    refuses(SIGNATURE "21 11 0010 " IPV4 "04 ffff 00", PROXY_WHY_VALUE);
    refuses(SIGNATURE "21 11 0013 " IPV4 "20 0004 01 000000", PROXY_WHY_VALUE);
    refuses(SIGNATURE "21 11 0015 " IPV4 "20 0006 01 00000000 22", PROXY_WHY_VALUE);
    /* a name that would reach beyond the value it stands in */
    refuses(SIGNATURE "21 11 001b " IPV4 "20 0009 01 00000000 22 0002 'a' 04 0000",
            PROXY_WHY_VALUE);
}

TEST(proxy_v2_refuses_values_that_cannot_be)
{
    refuses(SIGNATURE "21 11 0016 " IPV4 "20 0007 03 00000000 220001", PROXY_WHY_VALUE);
    refuses(SIGNATURE "21 11 0011 " IPV4 "02 0002 'a' 00", PROXY_WHY_VALUE);
    refuses(SIGNATURE "21 11 0011 " IPV4 "02 0002 'a' 0a", PROXY_WHY_VALUE);
    refuses(SIGNATURE "21 11 0011 " IPV4 "02 0002 c328", PROXY_WHY_VALUE);
    refuses(SIGNATURE "21 11 001a " IPV4 "20 000b 03 00000000 22 0003 'a' 00 'b'", PROXY_WHY_VALUE);
    refuses(SIGNATURE "21 11 000f " IPV4 "01 0000", PROXY_WHY_VALUE);
    refuses(SIGNATURE "21 11 0011 " IPV4 "03 0002 0000", PROXY_WHY_VALUE);
}

TEST(proxy_v2_bounds_a_unique_id)
{
    char text[512] = SIGNATURE "21 11 008f " IPV4 "05 0080 ";
    struct proxy out;
    struct bytes in;

    for (uint32_t i = 0; i < 128; i++)
        strcat(text, "aa");
    takes(text, &out, &in);
    assert_int_equal(out.unique_id.n, 128);
    wire_free(in);
    memcpy(text + strlen(SIGNATURE), "21 11 0090", 10);
    memcpy(text + strlen(SIGNATURE "21 11 008f " IPV4), "05 0081", 7);
    strcat(text, "aa");
    refuses(text, PROXY_WHY_VALUE);
}

TEST(proxy_v2_refuses_a_second_value_where_one_is_meant)
{
    refuses(SIGNATURE "21 11 0014 " IPV4 "02 0001 'a' 02 0001 'b'", PROXY_WHY_VALUE_TWICE);
    refuses(SIGNATURE "21 11 0012 " IPV4 "02 0000 02 0000", PROXY_WHY_VALUE_TWICE);
    refuses(SIGNATURE "21 11 001c " IPV4 "20 0005 01 00000000 20 0005 03 00000000",
            PROXY_WHY_VALUE_TWICE);
    refuses(SIGNATURE "21 11 001c " IPV4 "20 000d 03 00000000 22 0001 'a' 22 0001 'b'",
            PROXY_WHY_VALUE_TWICE);
}

TEST(proxy_v2_bounds_the_number_of_values)
{
    for (uint32_t count = 63; count <= 65; count++) {
        uint8_t header[16 + 12 + 65 * 3] = {0};
        struct bytes start = wire(SIGNATURE "21 11 0000 " IPV4);
        uint32_t n = 28 + 3 * count;
        struct proxy out;
        enum proxy_why why;
        uint32_t need;
        enum err err;

        bytes_put(header, start);
        put_be16(header + 14, (uint16_t)(n - 16));
        for (uint32_t i = 0; i < count; i++)
            header[28 + 3 * i] = 4;
        err = read_bytes(bytes_of(header, n), &out, &need, &why);
        assert_int_equal(err, count <= PROXY_VALUES_MAX ? OK : ERR_PEER);
        assert_int_equal(why, count <= PROXY_VALUES_MAX ? PROXY_WHY_NONE : PROXY_WHY_VALUES_MANY);
        wire_free(start);
    }
}

TEST(proxy_v2_checks_a_checksum_that_is_there)
{
    struct proxy out;
    struct bytes in;

    takes(SIGNATURE "21 11 0013 " IPV4 "03 0004 b8ab272c", &out, &in);
    wire_free(in);
    takes(SIGNATURE "21 11 0018 " IPV4 "03 0004 01c1262e 02 0002 'ab'", &out, &in);
    wire_free(in);
    refuses(SIGNATURE "21 11 0018 " IPV4 "03 0004 01c1262e 02 0002 'ac'", PROXY_WHY_CHECKSUM);
    refuses(SIGNATURE "21 11 0013 " IPV4 "03 0004 00000000", PROXY_WHY_CHECKSUM);
    refuses(SIGNATURE "21 11 001a " IPV4 "03 0004 b8ab272c 03 0004 b8ab272c", PROXY_WHY_CHECKSUM);
    refuses(SIGNATURE "21 11 001a " IPV4 "03 0004 f0bcced9 03 0004 00000000",
            PROXY_WHY_VALUE_TWICE);
}

TEST(proxy_names_every_reason)
{
    for (int i = 0; i < PROXY_WHY_COUNT; i++)
        assert_memory_equal(proxy_why_name((enum proxy_why)i), "proxy: ", 7);
}
