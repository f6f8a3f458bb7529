/* tests/tools/test_load_bare.c -- frames without MQTT, there and back. */
#include "tests/support/test.h"

#include "tools/load_bare.h"

TEST(load_bare_frames_come_back_as_they_were)
{
    uint8_t bytes[64];
    struct load_bare_frame f = {
        .kind = LOAD_BARE_WITH_ACK, .id = 0xabcd, .topic = 70000, .payload = BYTES_LIT("payload")};
    struct load_bare_frame got;
    uint32_t n = (uint32_t)(load_bare_put(bytes, &f) - bytes), used = 0;

    assert_int_equal(n, LOAD_BARE_HEADER_BYTES + 7);
    for (uint32_t i = 0; i < n; i++)
        assert_int_equal(load_bare_next(bytes_of(bytes, i), &got, &used), ERR_MORE);
    assert_int_equal(load_bare_next(bytes_of(bytes, sizeof(bytes)), &got, &used), OK);
    assert_int_equal(used, n);
    assert_int_equal(got.kind, LOAD_BARE_WITH_ACK);
    assert_int_equal(got.id, 0xabcd);
    assert_int_equal(got.topic, 70000);
    assert_true(bytes_eq(got.payload, f.payload));
}

TEST(load_bare_refuses_frames_that_cannot_be)
{
    uint8_t bytes[LOAD_BARE_HEADER_BYTES] = {0, 0, 0, 0, LOAD_BARE_ACK};
    struct load_bare_frame got;
    uint32_t used;

    assert_int_equal(load_bare_next(bytes_of(bytes, sizeof(bytes)), &got, &used), OK);
    bytes[4] = 0;
    assert_int_equal(load_bare_next(bytes_of(bytes, sizeof(bytes)), &got, &used), ERR_PEER);
    bytes[4] = LOAD_BARE_COMP + 1;
    assert_int_equal(load_bare_next(bytes_of(bytes, sizeof(bytes)), &got, &used), ERR_PEER);
    bytes[4] = LOAD_BARE_ACK;
    bytes[0] = 1;
    assert_int_equal(load_bare_next(bytes_of(bytes, sizeof(bytes)), &got, &used), ERR_PEER);
}

TEST(load_bare_topic_follows_from_the_text)
{
    uint32_t topic = load_bare_topic(bytes_str("load/1"));

    assert_int_equal(load_bare_topic(bytes_str("load/1")), topic);
    assert_int_not_equal(load_bare_topic(bytes_str("load/2")), topic);
    assert_int_not_equal(topic, LOAD_BARE_ALL);
    assert_int_equal(load_bare_topic(bytes_str("load/+")), LOAD_BARE_ALL);
    assert_int_equal(load_bare_topic(bytes_str("$share/x/load/+")), LOAD_BARE_ALL);
}

TEST(load_bare_tells_messages_and_their_qos)
{
    uint8_t qos;

    assert_true(load_bare_is_message(LOAD_BARE_MESSAGE, &qos));
    assert_int_equal(qos, 0);
    assert_true(load_bare_is_message(LOAD_BARE_WITH_REC, &qos));
    assert_int_equal(qos, 2);
    assert_false(load_bare_is_message(LOAD_BARE_GRANTED, &qos));
    assert_false(load_bare_is_message(LOAD_BARE_ACK, &qos));
}
