/* tests/net/test_http_body.c -- what an HTTP server is asked. */
#include "net/http_body.h"

#include <stdlib.h>

#include "tests/support/test.h"

static void expect(enum err err, char *text, uint32_t count, const char *wanted)
{
    assert_int_equal(err, OK);
    assert_int_equal(count, strlen(wanted));
    assert_memory_equal(text, wanted, count);
    free(text);
}

static void expect_connect(const struct http_connect *q, const char *wanted)
{
    char *text = NULL;
    uint32_t count = 0;
    enum err err = http_body_connect(q, &text, &count);

    expect(err, text, count, wanted);
}

TEST(http_body_says_who_connects)
{
    struct http_connect q = {.client_id = BYTES_LIT("c1"),
                             .username = BYTES_LIT("alice"),
                             .password = BYTES_LIT("secret"),
                             .peer = "192.0.2.1",
                             .listener = "tls",
                             .common_name = "pump"};

    expect_connect(&q, "{\"clientid\":\"c1\",\"username\":\"alice\",\"password\":\"secret\","
                       "\"peerhost\":\"192.0.2.1\",\"listener\":\"tls\","
                       "\"cert_common_name\":\"pump\"}");
}

TEST(http_body_tells_nothing_from_an_empty_text)
{
    struct http_connect q = {
        .client_id = BYTES_LIT(""), .username = BYTES_LIT(""), .peer = "::1", .listener = "a"};

    expect_connect(&q, "{\"clientid\":\"\",\"username\":\"\",\"password\":null,"
                       "\"peerhost\":\"::1\",\"listener\":\"a\",\"cert_common_name\":null}");
}

TEST(http_body_escapes_what_json_wants_escaped)
{
    struct http_connect q = {.client_id = BYTES_LIT("\"\\/\x01\x1f\x7f\n"),
                             .username = BYTES_LIT("\",\"password\":\"x"),
                             .password = BYTES_LIT("\xc3\xa9\xf0\x9f\x98\x80"),
                             .peer = "p",
                             .listener = "l"};

    expect_connect(&q, "{\"clientid\":\"\\\"\\\\/\\u0001\\u001f\\u007f\\u000a\","
                       "\"username\":\"\\\",\\\"password\\\":\\\"x\","
                       "\"password\":\"\xc3\xa9\xf0\x9f\x98\x80\",\"peerhost\":\"p\","
                       "\"listener\":\"l\",\"cert_common_name\":null}");
}

TEST(http_body_is_not_made_of_what_json_cannot_say)
{
    static const char *const texts[] = {"\xff", "a\xc3", "\xed\xa0\x80"};
    char *text = NULL;
    uint32_t count = 0;

    for (uint32_t i = 0; i < 3; i++) {
        struct http_connect q = {.client_id = BYTES_LIT("c"),
                                 .username = BYTES_LIT("u"),
                                 .password = bytes_str(texts[i]),
                                 .peer = "p",
                                 .listener = "l"};

        assert_int_equal(http_body_connect(&q, &text, &count), ERR_PEER);
        q.password = BYTES_LIT("");
        q.common_name = texts[i];
        assert_int_equal(http_body_connect(&q, &text, &count), ERR_PEER);
    }
    assert_null(text);
}

TEST(http_body_says_what_a_client_wants_to_do)
{
    struct http_right q = {.client_id = BYTES_LIT("c1"),
                           .username = BYTES_LIT("alice"),
                           .peer = "192.0.2.1",
                           .topic = BYTES_LIT("a/b"),
                           .qos = 2,
                           .retain = true};
    char *text = NULL;
    uint32_t count = 0;
    enum err err = http_body_access(&q, &text, &count);

    expect(err, text, count,
           "{\"clientid\":\"c1\",\"username\":\"alice\",\"peerhost\":\"192.0.2.1\","
           "\"action\":\"publish\",\"topic\":\"a/b\",\"qos\":2,\"retain\":true}");
    q.username.p = NULL;
    q.is_subscribe = true;
    q.retain = false;
    q.qos = 0;
    q.topic = BYTES_LIT("a/#");
    err = http_body_access(&q, &text, &count);
    expect(err, text, count,
           "{\"clientid\":\"c1\",\"username\":null,\"peerhost\":\"192.0.2.1\","
           "\"action\":\"subscribe\",\"topic\":\"a/#\",\"qos\":0,\"retain\":false}");
}
