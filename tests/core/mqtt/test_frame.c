/* tests/core/mqtt/test_frame.c -- cutting packets out of a stream. */
#include "tests/support/test.h"

#include "core/base/limits.h"
#include "core/mqtt/frame.h"
#include "tests/core/mqtt/wire.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static enum err cut(const char *text, uint32_t bytes_max, struct frame *out, uint32_t *need)
{
    struct bytes in = wire(text);
    enum err err = frame_next(in, bytes_max, out, need);

    wire_free(in);
    return err;
}

TEST(frame_takes_one_packet)
{
    struct bytes in = wire("30 05 0001 'a' 'xy' c0 00");
    struct frame f;
    uint32_t need;

    assert_int_equal(frame_next(in, 100, &f, &need), OK);
    assert_int_equal(f.first, 0x30);
    assert_int_equal(f.header_size, 2);
    assert_int_equal(f.body.n, 5);
    assert_ptr_equal(f.body.p, in.p + 2);
    assert_int_equal(need, 7);
    assert_int_equal(frame_next(bytes_of(in.p + 7, 2), 100, &f, &need), OK);
    assert_int_equal(f.first, 0xC0);
    assert_int_equal(f.body.n, 0);
    wire_free(in);
}

TEST(frame_waits_when_length_is_split)
{
    struct frame f;
    uint32_t need = 1;

    assert_int_equal(cut("", 100, &f, &need), ERR_MORE);
    assert_int_equal(need, 0);
    assert_int_equal(cut("30", 100, &f, &need), ERR_MORE);
    assert_int_equal(need, 0);
    assert_int_equal(cut("30 80", 100, &f, &need), ERR_MORE);
    assert_int_equal(need, 0);
    assert_int_equal(cut("30 ff ff ff", 100, &f, &need), ERR_MORE);
    assert_int_equal(need, 0);
    assert_int_equal(frame_next((struct bytes){0}, 100, &f, &need), ERR_MORE);
}

TEST(frame_says_how_much_it_needs)
{
    struct frame f;
    uint32_t need;

    assert_int_equal(cut("30 05", 100, &f, &need), ERR_MORE);
    assert_int_equal(need, 7);
    assert_int_equal(cut("30 80 01", 1000, &f, &need), ERR_MORE);
    assert_int_equal(need, 131);
}

TEST(frame_refuses_by_announced_length_alone)
{
    struct frame f;
    uint32_t need;

    /* CVE-2017-7651: a quarter of a gigabyte announced with five bytes. */
    assert_int_equal(cut("10 ff ff ff 7f", PACKET_BYTES_DEFAULT, &f, &need), ERR_FULL);
    assert_int_equal(need, PACKET_BYTES_MAX);
    assert_int_equal(cut("10 ff ff ff 7f", PACKET_BYTES_MAX, &f, &need), ERR_MORE);
    assert_int_equal(cut("30 05 0001 'a' 'xy'", 7, &f, &need), OK);
    assert_int_equal(cut("30 05 0001 'a' 'xy'", 6, &f, &need), ERR_FULL);
    assert_int_equal(cut("30 05", 6, &f, &need), ERR_FULL);
}

TEST(frame_refuses_a_fifth_byte_of_length)
{
    struct frame f;
    uint32_t need;

    assert_int_equal(cut("30 ff ff ff ff", 100, &f, &need), ERR_PEER);
    assert_int_equal(cut("30 80 80 80 80 00", 100, &f, &need), ERR_PEER);
    assert_int_equal(need, 0);
}

TEST(frame_takes_a_padded_length_of_mqtt_3)
{
    struct frame f;
    uint32_t need;

    assert_int_equal(cut("c0 80 80 00", 100, &f, &need), OK);
    assert_int_equal(f.header_size, 4);
    assert_int_equal(f.body.n, 0);
}

TEST(varint_has_the_bounds_of_table_1_1)
{
    static const struct {
        uint32_t value;
        const char *text;
    } cases[] = {
        {0, "00"},
        {1, "01"},
        {127, "7f"},
        {128, "80 01"},
        {321, "c1 02"},
        {16383, "ff 7f"},
        {16384, "80 80 01"},
        {2097151, "ff ff 7f"},
        {2097152, "80 80 80 01"},
        {268435455, "ff ff ff 7f"},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct bytes b = wire(cases[i].text);
        uint32_t value, size;
        uint8_t out[4];

        assert_int_equal(varint_get(b.p, b.n, &value, &size), OK);
        assert_int_equal(value, cases[i].value);
        assert_int_equal(size, b.n);
        assert_int_equal(varint_size(value), b.n);
        assert_ptr_equal(varint_put(out, value), out + b.n);
        assert_memory_equal(out, b.p, b.n);
        for (uint32_t n = 0; n < b.n; n++)
            assert_int_equal(varint_get(b.p, n, &value, &size), ERR_MORE);
        wire_free(b);
    }
}

TEST(varint_is_of_the_shortest_form)
{
    static const char *const cases[] = {"80 00",       "ff 00",       "80 80 00",
                                        "ff ff ff 00", "80 80 80 80", "ff ff ff ff 7f"};

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct bytes b = wire(cases[i]);
        uint32_t value, size;

        assert_int_equal(varint_get(b.p, b.n, &value, &size), ERR_PEER); /* [MQTT-1.5.5-1] */
        wire_free(b);
    }
}
