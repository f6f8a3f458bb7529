/* tests/link/test_emqx_message.c -- properties of forwarded messages. Whole messages are compared
 * with the vectors in test_emqx.c.
 */
#include "link/emqx_message.h"

#include "tests/link/vectors.h"

static uint8_t room[4096];

/* A record by hand, with one property map. */
static enum err decode_with_property(const char *map_hex, bool is_unfit)
{
    char hex[2048];
    struct bytes b;
    struct emqx_message m;
    enum err e;
    uint8_t props[512];

    snprintf(hex, sizeof(hex),
             "83680a77076d6573736167656d00000002001161006d0000000161740000000074000000017"
             "70a70726f70657274696573%s6d00000001746d0000000178610174%08x",
             map_hex, 0);
    b = unhex(hex);
    e = emqx_message_decode(b, &m);
    assert_int_equal(m.is_unfit, is_unfit);
    if (e == OK)
        assert_true(emqx_props_put(&m, props) <= m.properties.n);
    free_bytes(b);
    return e;
}

TEST(emqx_checks_properties_that_would_reach_subscribers)
{
    assert_int_equal(decode_with_property("7400000000", false), OK);
    assert_int_equal(decode_with_property("6a", false), ERR_PEER); /* not a map */
    /* Content-Type: text, bad UTF-8, an atom */
    assert_int_equal(
        decode_with_property("7400000001770c436f6e74656e742d547970656d0000000161", false), OK);
    assert_int_equal(
        decode_with_property("7400000001770c436f6e74656e742d547970656d00000001ff", true), ERR_PEER);
    assert_int_equal(decode_with_property("7400000001770c436f6e74656e742d54797065770161", false),
                     ERR_PEER);
    /* Response-Topic with a wildcard, empty */
    assert_int_equal(
        decode_with_property("7400000001770e526573706f6e73652d546f7069636d0000000123", true),
        ERR_PEER);
    assert_int_equal(
        decode_with_property("7400000001770e526573706f6e73652d546f7069636d00000000", true),
        ERR_PEER);
    /* Payload-Format-Indicator: 1, 2, negative */
    assert_int_equal(
        decode_with_property("740000000177185061796c6f61642d466f726d61742d496e6469636174"
                             "6f726101",
                             false),
        OK);
    assert_int_equal(
        decode_with_property("740000000177185061796c6f61642d466f726d61742d496e64696361746f726102",
                             true),
        ERR_PEER);
    assert_int_equal(
        decode_with_property("740000000177185061796c6f61642d466f726d61742d496e6469636174"
                             "6f7262ffffffff",
                             false),
        ERR_PEER);
    /* User-Property: none; a pair; a triple; not a list */
    assert_int_equal(decode_with_property("7400000001770d557365722d50726f70657274796a", false), OK);
    assert_int_equal(decode_with_property("7400000001770d557365722d50726f70657274796c00000001"
                                          "68026d000000006d000000006a",
                                          false),
                     OK);
    assert_int_equal(
        decode_with_property(
            "7400000001770d557365722d50726f70657274796c0000000168026d00000001006d000000006a", true),
        ERR_PEER);
    assert_int_equal(decode_with_property("7400000001770d557365722d50726f70657274796c00000001"
                                          "68036d000000006d0000000061016a",
                                          false),
                     ERR_PEER);
    assert_int_equal(decode_with_property("7400000001770d557365722d50726f70657274796101", false),
                     ERR_PEER);
    /* both at once is no record */
    assert_int_equal(decode_with_property("7400000002770c436f6e74656e742d547970656d00000001ff"
                                          "770d557365722d50726f70657274796101",
                                          false),
                     ERR_PEER);
    /* a topic alias left over means nothing */
    assert_int_equal(decode_with_property("7400000001770b546f7069632d416c6961736103", false), OK);
}

TEST(emqx_does_not_encode_a_property_block_that_does_not_travel)
{
    static const char *const blocks[] = {"0200000001", "23 0001", "01", "26000161", "0300056161"};
    uint8_t tail[EMQX_TAIL_BYTES];
    uint32_t head, behind;

    for (size_t i = 0; i < sizeof(blocks) / sizeof(*blocks); i++) {
        struct bytes block = unhex(blocks[i][2] == ' ' ? "230001" : blocks[i]);
        struct emqx_message m = {.topic = BYTES_LIT("t"), .properties = block};

        assert_int_equal(emqx_message_encode(&m, room, sizeof(room), &head, tail, &behind),
                         ERR_PEER);
        free_bytes(block);
    }
}
