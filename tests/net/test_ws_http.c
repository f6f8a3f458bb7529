/* tests/net/test_ws_http.c -- which requests open a WebSocket, and how the others are refused. */
#include "net/ws_http.h"

#include "tests/net/ws_peer.h"

#include <stdio.h>

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

/* What a request needs apart from its first line. */
#define HOST "Host: h\r\n"
#define UPGRADE "Upgrade: websocket\r\nConnection: Upgrade\r\n"
#define KEY "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define VERSION "Sec-WebSocket-Version: 13\r\n"
#define PROTOCOL "Sec-WebSocket-Protocol: mqtt\r\n"
#define LINE "GET /mqtt HTTP/1.1\r\n"
#define ALL HOST UPGRADE KEY VERSION PROTOCOL

static struct ws_peer p;

/* Sends a request in chunks of `step` bytes; what came back is a string in p.out. */
static void ask(const char *request, uint32_t step)
{
    ws_peer_text(&p, request);
    if (ws_peer_send(&p, step) == OK)
        assert_true(p.ws.state != WS_CLOSED);
    else
        assert_int_equal(p.ws.state, WS_CLOSED);
    p.out[p.out_n] = 0;
}

/* The request is refused for that reason, with an answer that is whole and begins with `status`. */
static void refuses(const char *request, enum ws_why why, const char *status)
{
    char start[64], length[64];
    const char *text, *body;

    for (uint32_t step = 0; step < 3; step++) {
        ws_peer_init(&p);
        ask(request, step);
        assert_int_equal(p.ws.state, WS_CLOSED);
        assert_string_equal(ws_why_name(p.ws.why), ws_why_name(why));
        snprintf(start, sizeof(start), "HTTP/1.1 %s\r\n", status);
        text = (const char *)p.out;
        assert_memory_equal(text, start, strlen(start));
        assert_non_null(strstr(text, "\r\nConnection: close"));
        body = strstr(text, "\r\n\r\n");
        assert_non_null(body);
        snprintf(length, sizeof(length), "\r\nContent-Length: %zu\r\n", strlen(body + 4));
        assert_non_null(strstr(text, length));
        assert_int_equal(p.plain_n, 0);
        ws_peer_close(&p);
    }
}

static void refuses_400(const char *request, enum ws_why why)
{
    refuses(request, why, "400 Bad Request");
}

/* The request is granted, in whatever chunks it comes. */
static void grants(const char *request)
{
    for (uint32_t step = 0; step < 3; step++) {
        ws_peer_init(&p);
        ask(request, step);
        assert_string_equal((const char *)p.out, WS_PEER_ANSWER);
        assert_int_equal(p.ws.state, WS_OPEN);
        assert_int_equal(p.ws.protocol, WS_PROTOCOL_MQTT);
        assert_int_equal(ws_held(&p.ws), 0);
        ws_peer_close(&p);
    }
}

/* ---- granted ---- */

/* RFC 6455, 1.3 and 4.2.2: the accept value of the standard's own key. */
TEST(ws_http_grants_the_request_of_the_standard)
{
    grants(WS_PEER_REQUEST);
}

TEST(ws_http_computes_the_accept_value_of_another_key)
{
    ws_peer_init(&p);
    ask(LINE HOST UPGRADE VERSION PROTOCOL "Sec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\n\r\n",
        0);
    assert_non_null(
        strstr((char *)p.out, "\r\nSec-WebSocket-Accept: HSmrc0sMlYUkAGmm5OPpG2HaGWk=\r\n"));
    ws_peer_close(&p);
}

TEST(ws_http_takes_header_names_and_words_in_any_case)
{
    grants(
        "GET /mqtt HTTP/1.1\r\nhOST:h\r\nUPGRADE: WebSocket\r\nconnection: keep-alive, uPGRADE\r\n"
        "sec-websocket-key:\t dGhlIHNhbXBsZSBub25jZQ== \t\r\nSEC-WEBSOCKET-VERSION:13\r\n"
        "sec-websocket-protocol: x,\tmqtt ,y\r\n\r\n");
}

TEST(ws_http_takes_lists_in_several_lines)
{
    grants(LINE HOST KEY VERSION "Upgrade: h2c\r\nUpgrade: websocket\r\nConnection: keep-alive\r\n"
                                 "Connection: upgrade\r\nSec-WebSocket-Protocol: chat\r\n"
                                 "Sec-WebSocket-Protocol: mqtt\r\n\r\n");
}

TEST(ws_http_ignores_what_it_does_not_know)
{
    grants(LINE ALL "Cookie: a=b\r\nX-09azAZ!~: 1\r\nX-Empty:\r\nUser-Agent: "
                    "\xC3\xA9\r\nContent-Length: 0\r\n\r\n");
}

/* 9.1: an extension that is not answered is not in use (NATS CVE-2026-27571: deflate bombs). */
TEST(ws_http_never_accepts_an_extension)
{
    grants(LINE ALL "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n");
}

/* 4.2.2: the first of the client's list that we know. */
TEST(ws_http_answers_the_first_sub_protocol_it_knows)
{
    static const struct {
        const char *offered, *answered;
        enum ws_protocol protocol;
    } cases[] = {
        {"mqtt", "mqtt", WS_PROTOCOL_MQTT},
        {"mqttv3.1", "mqttv3.1", WS_PROTOCOL_MQTTV31},
        {"mqttv3.1, mqtt", "mqttv3.1", WS_PROTOCOL_MQTTV31},
        {"chat,,mqtt,mqttv3.1", "mqtt", WS_PROTOCOL_MQTT},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        char request[512], line[64];

        snprintf(request, sizeof(request), "%sSec-WebSocket-Protocol: %s\r\n\r\n",
                 LINE HOST UPGRADE KEY VERSION, cases[i].offered);
        snprintf(line, sizeof(line), "\r\nSec-WebSocket-Protocol: %s\r\n\r\n", cases[i].answered);
        ws_peer_init(&p);
        ask(request, 0);
        assert_non_null(strstr((char *)p.out, line));
        assert_int_equal(p.ws.protocol, cases[i].protocol);
        ws_peer_close(&p);
    }
}

/* A client should wait for the answer, but one that does not is understood. */
TEST(ws_http_takes_frames_right_behind_the_request)
{
    for (uint32_t step = 0; step < 400; step += 7) {
        ws_peer_init(&p);
        ws_peer_text(&p, WS_PEER_REQUEST);
        ws_peer_frame(&p, 0x82, "early", 5);
        ws_peer_frame(&p, 0x89, "hi", 2);
        assert_int_equal(ws_peer_send(&p, step), OK);
        assert_int_equal(p.out_n, strlen(WS_PEER_ANSWER) + 4);
        assert_memory_equal(p.out, WS_PEER_ANSWER, strlen(WS_PEER_ANSWER));
        assert_memory_equal(p.out + p.out_n - 4, "\x8A\x02hi", 4);
        assert_int_equal(p.plain_n, 5);
        assert_memory_equal(p.plain, "early", 5);
        ws_peer_close(&p);
    }
}

TEST(ws_http_answers_and_closes_when_all_comes_at_once)
{
    ws_peer_init(&p);
    ws_peer_text(&p, WS_PEER_REQUEST);
    ws_peer_frame(&p, 0x89, "hi", 2);
    ws_peer_frame(&p, 0x88, "", 0);
    assert_int_equal(ws_peer_send(&p, 0), ERR_PEER);
    assert_int_equal(p.out_n, strlen(WS_PEER_ANSWER) + 2);
    assert_memory_equal(p.out + p.out_n - 2, "\x88\x00", 2);
    ws_peer_close(&p);
}

TEST(ws_http_throws_away_what_follows_a_refused_request)
{
    refuses("GET /other HTTP/1.1\r\n" ALL "\r\n\x82\x80zzzz", WS_WHY_PATH, "404 Not Found");
}

/* ---- memory ---- */

TEST(ws_http_holds_nothing_of_a_request_that_comes_whole)
{
    ws_peer_init(&p);
    ask(WS_PEER_REQUEST, 0);
    assert_int_equal(p.held_most, 0);
    ws_peer_close(&p);
    ws_peer_init(&p);
    ask(WS_PEER_REQUEST, 1);
    assert_int_equal(p.held_most, 512);
    ws_peer_close(&p);
}

/* Headers that never end, one byte at a time and all at once. */
TEST(ws_http_bounds_a_request_without_end)
{
    static const uint32_t bounds[] = {512, 1000, 4096, 5000, 65535};

    for (size_t i = 0; i < COUNT(bounds); i++) {
        for (uint32_t step = 0; step < 2; step++) {
            ws_peer_init(&p);
            p.rules.header_bytes = bounds[i];
            ws_peer_text(&p, LINE "X: ");
            while (p.in_n < bounds[i])
                ws_peer_text(&p, "y");
            assert_int_equal(ws_peer_send(&p, step), OK);
            assert_true(p.held_most <= bounds[i]);
            ask("y", 0);
            assert_int_equal(p.ws.why, WS_WHY_HEADERS_LONG);
            assert_memory_equal(p.out, "HTTP/1.1 431 ", 13);
            ws_peer_close(&p);
        }
    }
}

TEST(ws_http_takes_a_request_that_just_fits)
{
    for (uint32_t more = 0; more < 2; more++) {
        ws_peer_init(&p);
        p.rules.header_bytes = 512;
        ws_peer_text(&p, LINE ALL "X: ");
        while (p.in_n < 512 - 4 + more)
            ws_peer_text(&p, "y");
        ask("\r\n\r\n", 1);
        assert_int_equal(p.ws.state, more ? WS_CLOSED : WS_OPEN);
        ws_peer_close(&p);
    }
}

TEST(ws_http_bounds_the_first_line)
{
    ws_peer_init(&p);
    ws_peer_text(&p, "GET /");
    for (uint32_t i = 0; i < 5000; i++)
        ws_peer_text(&p, "a");
    ask("", 0);
    assert_int_equal(p.ws.why, WS_WHY_REQUEST_LONG);
    assert_memory_equal(p.out, "HTTP/1.1 414 ", 13);
    ws_peer_close(&p);
}

TEST(ws_http_bounds_the_number_of_headers)
{
    for (uint32_t count = 63; count <= 65; count++) {
        ws_peer_init(&p);
        ws_peer_text(&p, LINE ALL); /* six headers and a line */
        for (uint32_t i = 6; i < count; i++)
            ws_peer_text(&p, "a:b\r\n");
        ask("\r\n", 0);
        assert_int_equal(p.ws.state, count <= WS_HEADERS_MAX ? WS_OPEN : WS_CLOSED);
        if (count > WS_HEADERS_MAX)
            assert_memory_equal(p.out, "HTTP/1.1 431 ", 13);
        ws_peer_close(&p);
    }
}

TEST(ws_http_frees_half_a_request_when_the_connection_ends)
{
    ws_peer_init(&p);
    ask(LINE "Host", 1);
    assert_true(ws_held(&p.ws) > 0);
    ws_peer_close(&p); /* the leak checker is the judge */
}

/* ---- the first line ---- */

TEST(ws_http_refuses_what_is_no_request)
{
    static const char *const lines[] = {"GET\r\n",
                                        "GET /mqtt\r\n",
                                        "GET  /mqtt HTTP/1.1\r\n",
                                        "GET /mqtt  HTTP/1.1\r\n",
                                        "GET /mqtt HTTP/1.1 \r\n",
                                        " GET /mqtt HTTP/1.1\r\n",
                                        "GET /mqtt HTTP/11\r\n",
                                        "GET /mqtt http/1.1\r\n",
                                        "GET /mqtt HTTP/1.10\r\n",
                                        "GET /mqtt HTTP/a.1\r\n",
                                        "G(T /mqtt HTTP/1.1\r\n",
                                        "GET mqtt HTTP/1.1\r\n",
                                        "GET * HTTP/1.1\r\n",
                                        "GET ftp://h/mqtt HTTP/1.1\r\n",
                                        "GET http:// HTTP/1.1\r\n",
                                        "GET /mqtt#a HTTP/1.1\r\n",
                                        "GET /mqtt\xC3\xA9 HTTP/1.1\r\n",
                                        "GET\t/mqtt\tHTTP/1.1\r\n",
                                        "\r\n"};

    for (size_t i = 0; i < COUNT(lines); i++) {
        char request[512];

        snprintf(request, sizeof(request), "%s%s\r\n", lines[i], ALL);
        refuses_400(request, WS_WHY_REQUEST_LINE);
    }
}

/* RFC 6455, 4.2.1: "an HTTP/1.1 or higher GET request". */
TEST(ws_http_refuses_other_versions_of_http)
{
    refuses("GET /mqtt HTTP/1.0\r\n" ALL "\r\n", WS_WHY_HTTP_VERSION,
            "505 HTTP Version Not Supported");
    refuses("GET /mqtt HTTP/0.9\r\n" ALL "\r\n", WS_WHY_HTTP_VERSION,
            "505 HTTP Version Not Supported");
    refuses("GET /mqtt HTTP/9.9\r\n" ALL "\r\n", WS_WHY_HTTP_VERSION,
            "505 HTTP Version Not Supported");
    refuses("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", WS_WHY_HTTP_VERSION,
            "505 HTTP Version Not Supported");
    grants("GET /mqtt HTTP/1.2\r\n" ALL "\r\n");
}

TEST(ws_http_refuses_other_methods_with_405)
{
    static const char *const methods[] = {"POST", "HEAD", "get", "GETS", "CONNECT"};

    for (size_t i = 0; i < COUNT(methods); i++) {
        char request[512];

        snprintf(request, sizeof(request), "%s /mqtt HTTP/1.1\r\n%s\r\n", methods[i], ALL);
        refuses(request, WS_WHY_METHOD, "405 Method Not Allowed");
        ws_peer_init(&p);
        ask(request, 0);
        assert_non_null(strstr((char *)p.out, "\r\nAllow: GET\r\n"));
        ws_peer_close(&p);
    }
}

TEST(ws_http_compares_the_path_and_not_the_query)
{
    static const struct {
        const char *target;
        bool is_ours;
    } cases[] = {
        {"/mqtt", true},
        {"/mqtt?", true},
        {"/mqtt?token=/a?b", true},
        {"http://h/mqtt?x", true},
        {"HTTPS://h:443/mqtt", true},
        {"/", false},
        {"/mqtt/", false},
        {"/MQTT", false},
        {"/mqtt2", false},
        {"/mqt", false},
        {"//mqtt", false},
        {"/a/../mqtt", false},
        {"/%6dqtt", false},
        {"/?/mqtt", false},
        {"http://h", false},
        {"http://h?/mqtt", false},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        char request[512];

        snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\n%s\r\n", cases[i].target, ALL);
        if (cases[i].is_ours)
            grants(request);
        else
            refuses(request, WS_WHY_PATH, "404 Not Found");
    }
}

TEST(ws_http_takes_every_path_without_a_rule)
{
    ws_peer_init(&p);
    p.rules.path = (struct bytes){0};
    ask("GET /whatever/there/is HTTP/1.1\r\n" ALL "\r\n", 0);
    assert_int_equal(p.ws.state, WS_OPEN);
    ws_peer_close(&p);
}

/* ---- headers that are none ---- */

/* MQTT or TLS on the wrong port is told at once, not when a timer runs out. */
TEST(ws_http_refuses_control_characters_at_once)
{
    static const char *const starts[] = {"\x10",   "\x16\x03\x01",   "GET /\x7f",    "GET /mqtt\n",
                                         "GET\rx", LINE "Host: h\n", LINE "Host\x0B"};

    for (size_t i = 0; i < COUNT(starts); i++)
        refuses_400(starts[i], WS_WHY_REQUEST_BYTE);
    ws_peer_init(&p);
    ws_peer_bytes(&p, LINE "Host: h\0", strlen(LINE) + 8);
    ask("", 1);
    assert_int_equal(p.ws.why, WS_WHY_REQUEST_BYTE);
    ws_peer_close(&p);
}

TEST(ws_http_refuses_bare_line_feeds_and_returns)
{
    refuses_400("GET /mqtt HTTP/1.1\n" ALL "\r\n", WS_WHY_REQUEST_BYTE);
    refuses_400(LINE ALL "\n", WS_WHY_REQUEST_BYTE);
    refuses_400(LINE ALL "X: a\rb\r\n\r\n", WS_WHY_REQUEST_BYTE);
    refuses_400(LINE ALL "X: a\r\r\n\r\n", WS_WHY_REQUEST_BYTE);
}

TEST(ws_http_refuses_folded_headers)
{
    refuses_400(LINE ALL "X: a\r\n b\r\n\r\n", WS_WHY_HEADER_FOLDED);
    refuses_400(LINE "\tHost: h\r\n" ALL "\r\n", WS_WHY_HEADER_FOLDED);
}

TEST(ws_http_refuses_malformed_headers)
{
    refuses_400(LINE ALL "X\r\n\r\n", WS_WHY_HEADER_SYNTAX);
    refuses_400(LINE ALL ": x\r\n\r\n", WS_WHY_HEADER_SYNTAX);
    refuses_400(LINE ALL "X : a\r\n\r\n", WS_WHY_HEADER_SYNTAX);
    refuses_400(LINE ALL "X(y): a\r\n\r\n", WS_WHY_HEADER_SYNTAX);
    refuses_400(LINE ALL "X\xC3\xA9: a\r\n\r\n", WS_WHY_HEADER_SYNTAX);
}

/* 11.3.1, 11.3.5: key and version must not appear more than once; RFC 9112, 3.2: nor Host. */
TEST(ws_http_refuses_headers_given_twice)
{
    refuses_400(LINE ALL HOST "\r\n", WS_WHY_HEADER_TWICE);
    refuses_400(LINE ALL KEY "\r\n", WS_WHY_HEADER_TWICE);
    refuses_400(LINE ALL VERSION "\r\n", WS_WHY_HEADER_TWICE);
    refuses_400(LINE ALL "Origin: a\r\nOrigin: b\r\n\r\n", WS_WHY_HEADER_TWICE);
    refuses_400(LINE ALL "Origin:\r\nOrigin: b\r\n\r\n", WS_WHY_HEADER_TWICE);
    refuses_400(LINE ALL "Content-Length: 0\r\nContent-Length: 0\r\n\r\n", WS_WHY_HEADER_TWICE);
}

/* ---- headers that must be there (RFC 6455, 4.2.1) ---- */

TEST(ws_http_refuses_a_request_without_host)
{
    refuses_400(LINE UPGRADE KEY VERSION PROTOCOL "\r\n", WS_WHY_HOST);
    refuses_400(LINE "Host:\r\n" UPGRADE KEY VERSION PROTOCOL "\r\n", WS_WHY_HOST);
}

TEST(ws_http_tells_a_browser_that_an_upgrade_is_needed)
{
    refuses(LINE HOST "\r\n", WS_WHY_UPGRADE, "426 Upgrade Required");
    refuses(LINE HOST KEY VERSION PROTOCOL "Upgrade: websockets\r\nConnection: Upgrade\r\n\r\n",
            WS_WHY_UPGRADE, "426 Upgrade Required");
    ws_peer_init(&p);
    ask(LINE HOST "\r\n", 0);
    assert_non_null(strstr((char *)p.out, "\r\nUpgrade: websocket\r\n"));
    assert_non_null(strstr((char *)p.out, "\r\nConnection: close, Upgrade\r\n"));
    ws_peer_close(&p);
}

TEST(ws_http_refuses_a_connection_header_without_upgrade)
{
    refuses_400(LINE HOST KEY VERSION PROTOCOL "Upgrade: websocket\r\n\r\n", WS_WHY_CONNECTION);
    refuses_400(LINE HOST KEY VERSION PROTOCOL
                "Upgrade: websocket\r\nConnection: keep-alive, xUpgrade\r\n\r\n",
                WS_WHY_CONNECTION);
}

/* 4.2.1: a key that, decoded, is 16 bytes. */
TEST(ws_http_refuses_a_bad_key)
{
    static const char *const keys[] = {
        "",
        "dGhlIHNhbXBsZSBub25jZQ=",
        "dGhlIHNhbXBsZSBub25jZQ===",
        "dGhlIHNhbXBsZSBub25jZQAA",
        "dGhlIHNhbXBsZSBub25jZ===",
        "dGhlIHNhbXBs ZSBub25jZQ=",
        "dGhlIHNhbXBs-SBub25jZQ==",
        "dGhlIHNhbXBsZSBub25jZSBmb3IgYQ==",
    };

    refuses_400(LINE HOST UPGRADE VERSION PROTOCOL "\r\n", WS_WHY_KEY);
    for (size_t i = 0; i < COUNT(keys); i++) {
        char request[512];

        snprintf(request, sizeof(request), "%sSec-WebSocket-Key: %s\r\n\r\n",
                 LINE HOST UPGRADE VERSION PROTOCOL, keys[i]);
        refuses_400(request, WS_WHY_KEY);
    }
}

/* 4.4: the answer names the version that we know. */
TEST(ws_http_refuses_other_versions_with_426_and_ours)
{
    static const char *const versions[] = {"", "8", "0", "14", "013", "13, 8", "thirteen"};

    refuses(LINE HOST UPGRADE KEY PROTOCOL "\r\n", WS_WHY_VERSION, "426 Upgrade Required");
    for (size_t i = 0; i < COUNT(versions); i++) {
        char request[512];

        snprintf(request, sizeof(request), "%sSec-WebSocket-Version: %s\r\n\r\n",
                 LINE HOST UPGRADE KEY PROTOCOL, versions[i]);
        refuses(request, WS_WHY_VERSION, "426 Upgrade Required");
        ws_peer_init(&p);
        ask(request, 0);
        assert_non_null(strstr((char *)p.out, "\r\nSec-WebSocket-Version: 13\r\n"));
        ws_peer_close(&p);
    }
}

/* [MQTT-6.0.0-3] */
TEST(ws_http_refuses_clients_that_do_not_offer_mqtt)
{
    refuses_400(LINE HOST UPGRADE KEY VERSION "\r\n", WS_WHY_PROTOCOL);
    refuses_400(LINE HOST UPGRADE KEY VERSION "Sec-WebSocket-Protocol: chat, MQTT, mqtt2\r\n\r\n",
                WS_WHY_PROTOCOL);
}

TEST(ws_http_refuses_a_request_with_a_body)
{
    refuses_400(LINE ALL "Content-Length: 5\r\n\r\nhello", WS_WHY_BODY);
    refuses_400(LINE ALL "Content-Length: 00\r\n\r\n", WS_WHY_BODY);
    refuses_400(LINE ALL "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", WS_WHY_BODY);
}

/* 4.2.2: if the origin is not acceptable, 403. */
TEST(ws_http_lets_in_only_pages_of_allowed_origins)
{
    static const struct bytes origins[] = {{(const uint8_t *)"https://example.org", 19},
                                           {(const uint8_t *)"http://localhost:8080", 21}};
    static const struct {
        const char *header;
        bool may;
    } cases[] = {
        {"Origin: https://example.org\r\n", true},
        {"origin:HTTPS://Example.ORG\r\n", true},
        {"Origin: http://localhost:8080\r\n", true},
        {"", true}, /* no browser */
        {"Origin: http://example.org\r\n", false},
        {"Origin: https://example.org.evil.net\r\n", false},
        {"Origin: https://example.org:8443\r\n", false},
        {"Origin: null\r\n", false},
        {"Origin:\r\n", false},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        char request[512];

        ws_peer_init(&p);
        p.rules.origins = origins;
        p.rules.origin_count = COUNT(origins);
        snprintf(request, sizeof(request), "%s%s\r\n", LINE ALL, cases[i].header);
        ask(request, 0);
        assert_int_equal(p.ws.state, cases[i].may ? WS_OPEN : WS_CLOSED);
        if (!cases[i].may) {
            assert_int_equal(p.ws.why, WS_WHY_ORIGIN);
            assert_memory_equal(p.out, "HTTP/1.1 403 Forbidden\r\n", 24);
        }
        ws_peer_close(&p);
    }
}

static enum err no_sha1(const uint8_t *text, uint32_t n, uint8_t digest[WS_SHA1_BYTES])
{
    (void)text, (void)n;
    memset(digest, 0, WS_SHA1_BYTES);
    return ERR_SYSTEM;
}

TEST(ws_http_answers_500_without_a_digest)
{
    ws_peer_init(&p);
    p.rules.sha1 = no_sha1;
    ask(WS_PEER_REQUEST, 0);
    assert_int_equal(p.ws.why, WS_WHY_DIGEST);
    assert_memory_equal(p.out, "HTTP/1.1 500 ", 13);
    ws_peer_close(&p);
}

TEST(ws_http_has_room_for_every_refusal)
{
    for (int i = 0; i < WS_WHY_COUNT; i++) {
        uint8_t to[WS_OUT_BYTES_MAX];

        assert_true(ws_refusal_write((enum ws_why)i, to) + 127 <= WS_OUT_BYTES_MAX);
    }
}
