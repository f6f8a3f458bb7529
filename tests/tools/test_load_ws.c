/* tests/tools/test_load_ws.c -- the client's side of WebSocket, against the broker's. */
#include "tests/support/test.h"

#include <stdlib.h>

#include "net/crypt.h"
#include "net/ws.h"
#include "tools/load_ws.h"

static enum err sha1(const uint8_t *p, uint32_t n, uint8_t digest[WS_SHA1_BYTES])
{
    struct bytes part = bytes_of(p, n);

    return crypt_sha1(&part, 1, digest);
}

static const struct ws_rules rules = {.path = {(const uint8_t *)"/mqtt", 5}, .sha1 = sha1};

/* A broker's side whose handshake is done. */
static void open_both(struct ws *ws, struct ws_out *out)
{
    char request[LOAD_WS_REQUEST_BYTES_MAX];
    uint32_t n = load_ws_request(request, "example", "/mqtt"), plain;

    assert_true(n > 0);
    ws_init(ws, &rules);
    assert_int_equal(ws_input(ws, (uint8_t *)request, n, &plain, out), OK);
    assert_int_equal(ws->state, WS_OPEN);
}

TEST(load_ws_shakes_hands_with_the_broker)
{
    struct ws ws;
    struct ws_out out;
    uint32_t used = 0;

    open_both(&ws, &out);
    for (uint32_t n = 0; n < out.n; n++)
        assert_int_equal(load_ws_answer(bytes_of(out.p, n), &used), ERR_MORE);
    assert_int_equal(load_ws_answer(bytes_of(out.p, out.n), &used), OK);
    assert_int_equal(used, out.n);
    assert_int_equal(ws.protocol, WS_PROTOCOL_MQTT);
    ws_fini(&ws);
}

TEST(load_ws_refuses_answers_that_do_not_grant)
{
    static const char *const wrong[] = {
        "HTTP/1.1 400 Bad Request\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: x\r\n\r\n",
        "\r\n\r\n",
    };
    uint32_t used;

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_int_equal(load_ws_answer(bytes_str(wrong[i]), &used), ERR_PEER);
}

TEST(load_ws_gives_up_on_an_answer_without_end)
{
    static uint8_t endless[LOAD_WS_ANSWER_BYTES_MAX];
    uint32_t used;

    memset(endless, 'x', sizeof(endless));
    assert_int_equal(load_ws_answer(bytes_of(endless, sizeof(endless) - 1), &used), ERR_MORE);
    assert_int_equal(load_ws_answer(bytes_of(endless, sizeof(endless)), &used), ERR_PEER);
}

TEST(load_ws_request_that_is_too_long_is_none)
{
    char request[LOAD_WS_REQUEST_BYTES_MAX], path[LOAD_WS_REQUEST_BYTES_MAX + 1];

    memset(path, '/', sizeof(path));
    path[sizeof(path) - 1] = '\0';
    assert_int_equal(load_ws_request(request, "example", path), 0);
}

TEST(load_ws_request_names_the_host_as_http_wants_it)
{
    char request[LOAD_WS_REQUEST_BYTES_MAX];

    assert_true(load_ws_request(request, "broker.test", "/x") > 0);
    assert_non_null(strstr(request, "GET /x HTTP/1.1\r\nHost: broker.test\r\n"));
    assert_true(load_ws_request(request, "::1", "/x") > 0);
    assert_non_null(strstr(request, "\r\nHost: [::1]\r\n"));
}

TEST(load_ws_frames_of_every_size_reach_the_broker)
{
    static const uint32_t sizes[] = {1, 125, 126, 65535, 65536, 70000};
    static uint8_t frame[LOAD_WS_HEADER_BYTES_MAX + 70000];

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        uint32_t n = sizes[i], header = load_ws_header_bytes(n), plain;
        struct ws ws;
        struct ws_out out;

        open_both(&ws, &out);
        for (uint32_t at = 0; at < n; at++)
            frame[header + at] = (uint8_t)(at * 7);
        load_ws_frame(frame, n, 0xdeadbeef);
        assert_int_equal(ws_input(&ws, frame, header + n, &plain, &out), OK);
        assert_int_equal(plain, n);
        for (uint32_t at = 0; at < n; at++)
            assert_int_equal(frame[at], (uint8_t)(at * 7));
        ws_fini(&ws);
    }
}

/* Two frames of the broker with a ping between them, in pieces of every size. */
TEST(load_ws_takes_frames_in_pieces_and_answers_pings)
{
    static const uint8_t stream[] = {0x82, 3,   'a', 'b', 'c', 0x89, 2,   'h', 'i',  0x8a, 0,
                                     0x82, 126, 0,   4,   'd', 'e',  'f', 'g', 0x82, 0};
    uint8_t part[sizeof(stream)], pong[LOAD_WS_PONG_BYTES_MAX], got[16], first[8] = {0};

    for (uint32_t size = 1; size <= sizeof(stream); size++) {
        struct load_ws ws = {0};
        uint32_t got_n = 0, pongs = 0;

        for (uint32_t at = 0; at < sizeof(stream); at += size) {
            uint32_t n = sizeof(stream) - at < size ? (uint32_t)sizeof(stream) - at : size;
            uint32_t plain, pong_n;

            memcpy(part, stream + at, n);
            assert_int_equal(load_ws_input(&ws, part, n, &plain, pong, &pong_n), OK);
            memcpy(got + got_n, part, plain);
            got_n += plain;
            if (pong_n > 0) {
                assert_int_equal(pong_n, 8);
                memcpy(first, pong, 8);
                pongs++;
            }
        }
        assert_int_equal(got_n, 7);
        assert_memory_equal(got, "abcdefg", 7);
        assert_int_equal(pongs, 1);
        assert_memory_equal(first, "\x8a\x82\0\0\0\0hi", 8);
    }
}

TEST(load_ws_ends_at_what_a_broker_must_not_send)
{
    static const char *const wrong[] = {
        "\x88\x00",      /* a close frame */
        "\x81\x01x",     /* text */
        "\x82\x81kkkkx", /* masked */
        "\xc2\x01x",     /* a reserved bit */
        "\x09\x01x",     /* a ping in pieces */
        "\x89\x7e\x01",  /* a ping with 126 bytes or more */
    };
    uint8_t part[16], pong[LOAD_WS_PONG_BYTES_MAX];

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct load_ws ws = {0};
        uint32_t plain, pong_n;

        memset(part, 0, sizeof(part));
        memcpy(part, wrong[i], strlen(wrong[i]));
        assert_int_equal(load_ws_input(&ws, part, 8, &plain, pong, &pong_n), ERR_PEER);
    }
}
