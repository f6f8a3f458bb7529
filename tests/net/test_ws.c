/* tests/net/test_ws.c -- frames become a stream, and a peer can neither break it nor make it grow.
 */
#include "tests/net/ws_peer.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static struct ws_peer p;

/* Sends a frame (written as bytes) on an open connection, in chunks of every size; it must fail
 * with `why` and this answer, and nothing of the stream may be lost. */
static void refuses(const char *frame, enum ws_why why, const char *answer)
{
    for (uint32_t step = 0; step < 4; step++) {
        ws_peer_open(&p);
        ws_peer_frame(&p, 0x82, "ok", 2);
        ws_peer_wire(&p, frame);
        ws_peer_frame(&p, 0x82, "never", 5);
        assert_int_equal(ws_peer_send(&p, step), ERR_PEER);
        assert_string_equal(ws_why_name(p.ws.why), ws_why_name(why));
        ws_peer_expect(&p, "ok", answer);
        ws_peer_close(&p);
    }
}

/* The same of each of these frames, up to NULL, which break the protocol (1002). */
__attribute__((sentinel)) static void refuses_each(enum ws_why why, ...)
{
    const char *frame;
    va_list frames;

    va_start(frames, why);
    while ((frame = va_arg(frames, const char *)))
        refuses(frame, why, "88 02 03ea");
    va_end(frames);
}

/* ---- data ---- */

TEST(ws_unmasks_a_binary_frame)
{
    ws_peer_open(&p);
    /* RFC 6455, 5.7, as binary: a single masked frame that holds "Hello" */
    ws_peer_wire(&p, "82 85 37 fa 21 3d 7f 9f 4d 51 58");
    assert_int_equal(ws_peer_send(&p, 0), OK);
    ws_peer_expect(&p, "Hello", "");
    ws_peer_close(&p);
}

TEST(ws_state_of_an_open_connection_is_small)
{
    assert_true(sizeof(struct ws) < 100);
    ws_peer_open(&p);
    assert_int_equal(ws_held(&p.ws), 0);
    ws_peer_close(&p);
}

/* [MQTT-6.0.0-2]: packets neither begin nor end with frames. */
TEST(ws_gives_one_stream_wherever_frames_begin)
{
    ws_peer_open(&p);
    ws_peer_frame(&p, 0x82, "a", 1);
    ws_peer_frame(&p, 0x82, "", 0);
    ws_peer_frame(&p, 0x82, "bcd", 3);
    ws_peer_frame(&p, 0x82, "efghijklmnopqrstuvwxyz", 22);
    assert_int_equal(ws_peer_send(&p, 0), OK);
    ws_peer_expect(&p, "abcdefghijklmnopqrstuvwxyz", "");
    ws_peer_close(&p);
}

TEST(ws_joins_fragments_with_control_frames_between)
{
    for (uint32_t step = 0; step < 30; step++) {
        ws_peer_open(&p);
        ws_peer_frame(&p, 0x02, "ab", 2);
        ws_peer_frame(&p, 0x89, "hi", 2);
        ws_peer_frame(&p, 0x00, "", 0);
        ws_peer_frame(&p, 0x8A, "unasked", 7);
        ws_peer_frame(&p, 0x00, "cd", 2);
        ws_peer_frame(&p, 0x80, "ef", 2);
        ws_peer_frame(&p, 0x82, "gh", 2);
        assert_int_equal(ws_peer_send(&p, step), OK);
        ws_peer_expect(&p, "abcdefgh", "8a 02 'hi'");
        ws_peer_close(&p);
    }
}

TEST(ws_takes_payloads_of_every_length_in_chunks_of_every_size)
{
    static const uint32_t sizes[] = {0,  1,  2,   3,   4,   5,     15,    16,    17,   31,
                                     33, 64, 125, 126, 127, 65535, 65536, 65537, 70001};
    static const uint32_t steps[] = {0, 1, 2, 3, 5, 7, 8, 13, 16, 64, 1021};
    static uint8_t payload[70001];

    for (uint32_t i = 0; i < sizeof(payload); i++)
        payload[i] = (uint8_t)(i * 31 + i / 251);
    for (size_t k = 0; k < COUNT(sizes); k++) {
        for (size_t s = 0; s < COUNT(steps); s++) {
            ws_peer_open(&p);
            ws_peer_frame(&p, 0x82, "x", 1);
            ws_peer_frame(&p, 0x82, payload, sizes[k]);
            ws_peer_frame(&p, 0x82, "y", 1);
            assert_int_equal(ws_peer_send(&p, steps[s]), OK);
            assert_int_equal(p.plain_n, sizes[k] + 2);
            assert_int_equal(p.plain[0], 'x');
            assert_memory_equal(p.plain + 1, payload, sizes[k]);
            assert_int_equal(p.plain[sizes[k] + 1], 'y');
            assert_int_equal(p.out_n, 0);
            assert_int_equal(p.held_most, 0);
            ws_peer_close(&p);
        }
    }
}

TEST(ws_reserves_nothing_for_an_announced_length)
{
    ws_peer_open(&p);
    ws_peer_wire(&p, "82 ff 7fffffffffffffff 00000000 'abc'");
    assert_int_equal(ws_peer_send(&p, 1), OK);
    ws_peer_expect(&p, "abc", "");
    assert_int_equal(p.held_most, 0);
    ws_peer_close(&p);
}

/* CVE-2026-25627: a frame shorter than the packet in it says. It is just a part of the stream. */
TEST(ws_passes_on_a_frame_that_ends_within_a_packet)
{
    struct bytes want = wire("30 7f 0001");

    ws_peer_open(&p);
    ws_peer_frame(&p, 0x82, want.p, want.n);
    assert_int_equal(ws_peer_send(&p, 0), OK);
    assert_int_equal(p.plain_n, want.n);
    assert_memory_equal(p.plain, want.p, want.n);
    wire_free(want);
    ws_peer_close(&p);
}

/* ---- what a client must not send ---- */

/* RFC 6455, 5.1: a server must close on an unmasked frame. */
TEST(ws_refuses_an_unmasked_frame)
{
    refuses_each(WS_WHY_UNMASKED, "82 02 'ab'", "89 00", NULL);
}

/* 5.2: reserved bits without an extension that gives them a meaning; deflate sets RSV1. */
TEST(ws_refuses_reserved_bits)
{
    refuses_each(WS_WHY_RESERVED_BITS, "c2 81 00000000 00", "a2 81 00000000 00",
                 "92 81 00000000 00", "c9 80 00000000", NULL);
}

TEST(ws_refuses_reserved_opcodes)
{
    static const char digits[] = "34567bcdef";

    for (uint32_t i = 0; digits[i]; i++) {
        char frame[] = "8. 80 00000000";

        frame[1] = digits[i];
        refuses(frame, WS_WHY_OPCODE, "88 02 03ea");
    }
}

/* [MQTT-6.0.0-1] */
TEST(ws_refuses_text_with_1003)
{
    refuses("81 82 00000000 'ab'", WS_WHY_TEXT, "88 02 03eb");
    refuses("01 80 00000000", WS_WHY_TEXT, "88 02 03eb");
}

/* 5.2: the minimal number of bytes must encode the length. */
TEST(ws_refuses_a_length_that_is_not_the_shortest)
{
    refuses_each(WS_WHY_LENGTH_PADDED, "82 fe 007d 00000000", "82 fe 0000 00000000",
                 "82 ff 000000000000ffff 00000000", "82 ff 0000000000000001 00000000", NULL);
}

/* 5.2: the most significant bit must be 0. */
TEST(ws_refuses_a_length_of_2_to_63)
{
    refuses_each(WS_WHY_LENGTH_HUGE, "82 ff 8000000000000000 00000000",
                 "82 ff ffffffffffffffff 00000000", NULL);
}

/* 5.4 */
TEST(ws_refuses_fragments_out_of_order)
{
    refuses_each(WS_WHY_CONTINUATION, "80 81 00000000 'a'", "00 81 00000000 'a'", NULL);
    refuses_each(WS_WHY_INTERRUPTED, "02 80 00000000 82 81 00000000 'a'", NULL);
    refuses_each(WS_WHY_CONTINUATION, "02 80 00000000 80 80 00000000 80 80 00000000", NULL);
}

/* 5.5 */
TEST(ws_refuses_control_frames_that_are_long_or_fragmented)
{
    refuses_each(WS_WHY_CONTROL_LONG, "89 fe 007e 00000000", "88 ff 0000000000010000 00000000",
                 "8a fe 007e 00000000", NULL);
    refuses_each(WS_WHY_CONTROL_FRAGMENTED, "09 80 00000000", "08 80 00000000", "0a 80 00000000",
                 NULL);
}

TEST(ws_judges_a_frame_by_its_first_two_bytes)
{
    ws_peer_open(&p);
    ws_peer_wire(&p, "81 fe");
    assert_int_equal(ws_peer_send(&p, 1), ERR_PEER);
    ws_peer_expect(&p, "", "88 02 03eb");
    ws_peer_close(&p);
}

/* ---- ping ---- */

/* 5.5.2, 5.5.3: a pong with the same payload. */
TEST(ws_answers_a_ping_with_its_own_payload)
{
    uint8_t most[125], want[127] = {0x8A, 125};

    for (uint32_t i = 0; i < 125; i++)
        want[2 + i] = most[i] = (uint8_t)(i * 7);
    for (uint32_t step = 0; step < 140; step += 3) {
        ws_peer_open(&p);
        ws_peer_frame(&p, 0x89, "", 0);
        assert_int_equal(ws_peer_send(&p, step), OK);
        ws_peer_expect(&p, "", "8a 00");
        ws_peer_frame(&p, 0x89, most, 125);
        assert_int_equal(ws_peer_send(&p, step), OK);
        assert_int_equal(p.out_n, sizeof(want));
        assert_memory_equal(p.out, want, sizeof(want));
        assert_int_equal(ws_held(&p.ws), 0);
        ws_peer_close(&p);
    }
}

/* 5.5.3: only the most recent ping needs an answer. */
TEST(ws_answers_only_the_last_ping_of_what_comes_at_once)
{
    ws_peer_open(&p);
    for (uint32_t i = 0; i < 10000; i++)
        ws_peer_frame(&p, 0x89, "flood", 5);
    ws_peer_frame(&p, 0x82, "data", 4);
    ws_peer_frame(&p, 0x89, "last", 4);
    assert_int_equal(ws_peer_send(&p, 0), OK);
    assert_int_equal(p.pongs, 1);
    assert_int_equal(p.held_most, 0);
    ws_peer_expect(&p, "data", "8a 04 'last'");
    ws_peer_close(&p);
}

TEST(ws_holds_a_ping_in_pieces_in_125_bytes_and_no_pong_at_all)
{
    ws_peer_open(&p);
    for (uint32_t i = 0; i < 100; i++)
        ws_peer_frame(&p, 0x89, "in pieces", 9);
    assert_int_equal(ws_peer_send(&p, 4), OK);
    assert_true(p.held_most > 0 && p.held_most <= WS_CONTROL_BYTES_MAX);
    for (uint32_t i = 0; i < 100; i++)
        ws_peer_frame(&p, 0x8A, "in pieces", 9);
    p.held_most = p.out_n = 0;
    assert_int_equal(ws_peer_send(&p, 4), OK);
    assert_int_equal(p.held_most, 0);
    ws_peer_expect(&p, "", "");
    ws_peer_close(&p);
}

TEST(ws_frees_half_a_ping_when_the_connection_ends)
{
    ws_peer_open(&p);
    ws_peer_wire(&p, "89 85 00000000 'ab'");
    assert_int_equal(ws_peer_send(&p, 1), OK);
    assert_true(ws_held(&p.ws) > 0);
    ws_peer_close(&p); /* the leak checker is the judge */
}

/* ---- close ---- */

/* 5.5.1: answered with a close frame, which typically echoes the code. */
TEST(ws_echoes_a_close_frame_and_throws_away_what_follows)
{
    static const struct {
        const char *frame, *answer;
    } cases[] = {
        {"88 80 00000000", "88 00"},
        {"88 82 00000000 03e8", "88 02 03e8"},
        {"88 82 00000000 03e9", "88 02 03e9"},
        {"88 85 00000000 0fa0 'bye'", "88 02 0fa0"},
        {"88 86 00000000 1387 c3a9 00 'x'", "88 02 1387"},
    };

    for (size_t i = 0; i < COUNT(cases); i++)
        refuses(cases[i].frame, WS_WHY_CLOSE_FRAME, cases[i].answer);
}

TEST(ws_ends_a_fragmented_message_at_a_close_frame)
{
    refuses("02 80 00000000 88 80 00000000", WS_WHY_CLOSE_FRAME, "88 00");
}

/* 5.5.3: no pong is due once a close frame was received. */
TEST(ws_sends_a_close_instead_of_a_waiting_pong)
{
    ws_peer_open(&p);
    ws_peer_frame(&p, 0x89, "hi", 2);
    ws_peer_frame(&p, 0x88, "", 0);
    assert_int_equal(ws_peer_send(&p, 0), ERR_PEER);
    ws_peer_expect(&p, "", "88 00");
    ws_peer_close(&p);
}

/* 7.4, 5.5.1 */
TEST(ws_refuses_close_frames_with_a_code_nobody_may_send)
{
    static const uint16_t codes[] = {0,    1,    999,  1004, 1005, 1006,
                                     1015, 1016, 2000, 2999, 5000, 65535};

    refuses("88 81 00000000 03", WS_WHY_CLOSE_PAYLOAD, "88 02 03ea");
    for (size_t i = 0; i < COUNT(codes); i++) {
        char frame[40];

        snprintf(frame, sizeof(frame), "88 82 00000000 %04x", codes[i]);
        refuses(frame, WS_WHY_CLOSE_PAYLOAD, "88 02 03ea");
    }
}

/* 8.1 */
TEST(ws_refuses_a_close_reason_that_is_not_utf8)
{
    refuses("88 83 00000000 03e8 c3", WS_WHY_CLOSE_UTF8, "88 02 03ef");
    refuses("88 86 00000000 03e8 'a' 00 c328", WS_WHY_CLOSE_UTF8, "88 02 03ef");
}

TEST(ws_says_nothing_more_once_it_is_over)
{
    uint8_t chunk[] = {0x81, 0x80, 0, 0, 0, 0};
    struct ws_out out;
    uint32_t plain;

    ws_peer_open(&p);
    ws_peer_wire(&p, "81 80");
    assert_int_equal(ws_peer_send(&p, 0), ERR_PEER);
    assert_int_equal(ws_input(&p.ws, chunk, sizeof(chunk), &plain, &out), ERR_PEER);
    assert_int_equal(plain, 0);
    assert_int_equal(out.n, 0);
    assert_int_equal(ws_close(&p.ws, WS_CLOSE_NORMAL, chunk), 0);
    assert_int_equal(p.ws.why, WS_WHY_TEXT);
    ws_peer_close(&p);
}

TEST(ws_closes_on_our_side_once)
{
    uint8_t to[WS_CLOSE_FRAME_BYTES], chunk[] = {0x82, 0x80, 0, 0, 0, 0};
    struct ws_out out;
    uint32_t plain;

    ws_peer_open(&p);
    ws_peer_wire(&p, "89 85 00000000 'ab'");
    assert_int_equal(ws_peer_send(&p, 1), OK);
    assert_int_equal(ws_close(&p.ws, WS_CLOSE_GOING_AWAY, to), 4);
    assert_memory_equal(to, "\x88\x02\x03\xe9", 4);
    assert_int_equal(ws_close(&p.ws, WS_CLOSE_GOING_AWAY, to), 0);
    assert_int_equal(ws_input(&p.ws, chunk, sizeof(chunk), &plain, &out), ERR_PEER);
    assert_int_equal(out.n, 0);
    assert_int_equal(p.ws.why, WS_WHY_OURS);
    ws_peer_close(&p);
}

TEST(ws_sends_no_close_frame_before_the_handshake)
{
    uint8_t to[WS_CLOSE_FRAME_BYTES];

    ws_peer_init(&p);
    ws_peer_text(&p, "GET /mq");
    assert_int_equal(ws_peer_send(&p, 1), OK);
    assert_int_equal(ws_close(&p.ws, WS_CLOSE_NORMAL, to), 0);
    ws_peer_close(&p);
}

/* ---- what we send ---- */

/* 5.1: a server must not mask; 5.2: shortest lengths; [MQTT-6.0.0-1]: binary. */
TEST(ws_writes_headers_of_binary_frames)
{
    static const struct {
        uint64_t n;
        const char *header;
    } cases[] = {
        {0, "82 00"},
        {125, "82 7d"},
        {126, "82 7e 007e"},
        {65535, "82 7e ffff"},
        {65536, "82 7f 0000000000010000"},
        {0x7FFFFFFFFFFFFFFF, "82 7f 7fffffffffffffff"},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct bytes want = wire(cases[i].header);
        uint8_t to[WS_FRAME_HEADER_BYTES_MAX];

        assert_int_equal(ws_frame_header(to, cases[i].n), want.n);
        assert_memory_equal(to, want.p, want.n);
        wire_free(want);
    }
}

TEST(ws_names_every_reason)
{
    for (int i = 0; i < WS_WHY_COUNT; i++)
        assert_memory_equal(ws_why_name((enum ws_why)i), "websocket: ", 11);
}
