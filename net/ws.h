/* net/ws.h -- the server's side of WebSocket (RFC 6455): bytes in, the MQTT stream and bytes out.
 *
 * One struct ws stands between a socket (or its TLS) and the stream of a client. All that arrives
 * goes through ws_input, which works in the caller's buffer: what remains there is the plain MQTT
 * stream, in order, as if it had come over TCP; where frames begin and end says nothing about
 * packets [MQTT-6.0.0-2]. What is to be answered (the handshake, pongs, the close frame) is written
 * to a struct ws_out, which the caller sends between two whole frames of its own. What the broker
 * sends goes into binary frames: ws_frame_header in front of any number of bytes.
 *
 *     err = ws_input(&ws, buffer, n, &plain, &out);   buffer[0 .. plain) is MQTT, also at the end
 *     offer buffer[0 .. plain) to the stream; send out.p[0 .. out.n)
 *     if (err != OK) send nothing more, close the connection; ws_why_name(ws.why) is the reason
 *
 * No extension is ever accepted, so nothing is ever inflated. Nothing is reserved for a length that
 * a frame announces: a data frame is passed on as it comes, whatever its size.
 *
 * Threads  one struct ws belongs to one worker; struct ws_rules is written by nobody after start.
 * Memory   the start of a request that did not come in one piece, at most rules->header_bytes, and
 *          the start of a control frame that did not, 125 bytes; both only until the rest is there.
 *          Neither with bytes that come whole. ws_held tells how much it is.
 */
#ifndef NET_WS_H
#define NET_WS_H

#include "core/base/bytes.h"
#include "core/base/err.h"

/* Bytes of a request, with its first line. Beyond: 431, and 414 within the first line. */
#define WS_HEADER_BYTES_DEFAULT 4096u
#define WS_HEADER_BYTES_MIN 512u
#define WS_HEADER_BYTES_MAX 65535u
/* Header lines of a request. Beyond: 431. */
#define WS_HEADERS_MAX 64u
/* Payload of a control frame, by RFC 6455, 5.5. */
#define WS_CONTROL_BYTES_MAX 125u
/* Bytes that one ws_input can want to send: an answer to the request and one control frame. */
#define WS_OUT_BYTES_MAX 512u
/* Largest header of a frame that we send. */
#define WS_FRAME_HEADER_BYTES_MAX 10u
/* A close frame with a code. */
#define WS_CLOSE_FRAME_BYTES 4u
/* A SHA-1 digest. */
#define WS_SHA1_BYTES 20u

/* Codes of close frames that we send (RFC 6455, 7.4.1). */
enum ws_close_code {
    WS_CLOSE_NORMAL = 1000,
    WS_CLOSE_GOING_AWAY = 1001, /* the broker stops */
    WS_CLOSE_PROTOCOL = 1002,
    WS_CLOSE_UNSUPPORTED = 1003, /* text */
    WS_CLOSE_NOT_UTF8 = 1007,
    WS_CLOSE_POLICY = 1008,
    WS_CLOSE_TOO_BIG = 1009,
    WS_CLOSE_INTERNAL = 1011,
};

/* Why a connection is over. */
enum ws_why {
    WS_WHY_NONE,
    WS_WHY_CLOSE_FRAME, /* the peer asked for it, politely */
    WS_WHY_OURS,        /* ws_close */
    WS_WHY_MEMORY,
    /* the request */
    WS_WHY_REQUEST_LINE,
    WS_WHY_REQUEST_BYTE, /* NUL, a bare LF, any other control character */
    WS_WHY_REQUEST_LONG,
    WS_WHY_HEADERS_LONG,
    WS_WHY_HEADERS_MANY,
    WS_WHY_HEADER_SYNTAX,
    WS_WHY_HEADER_FOLDED,
    WS_WHY_HEADER_TWICE,
    WS_WHY_HTTP_VERSION,
    WS_WHY_METHOD,
    WS_WHY_PATH,
    WS_WHY_BODY,
    WS_WHY_HOST,
    WS_WHY_UPGRADE,
    WS_WHY_CONNECTION,
    WS_WHY_KEY,
    WS_WHY_VERSION,
    WS_WHY_PROTOCOL,
    WS_WHY_ORIGIN,
    WS_WHY_DIGEST, /* rules->sha1 failed */
    /* frames */
    WS_WHY_RESERVED_BITS,
    WS_WHY_OPCODE,
    WS_WHY_UNMASKED,
    WS_WHY_LENGTH_PADDED,
    WS_WHY_LENGTH_HUGE,
    WS_WHY_TEXT,
    WS_WHY_CONTINUATION, /* of nothing */
    WS_WHY_INTERRUPTED,  /* a new message within a fragmented one */
    WS_WHY_CONTROL_FRAGMENTED,
    WS_WHY_CONTROL_LONG,
    WS_WHY_CLOSE_PAYLOAD, /* of one byte, or a code that must not be sent */
    WS_WHY_CLOSE_UTF8,
    WS_WHY_COUNT
};

/* Which of our sub-protocols was agreed on. */
enum ws_protocol { WS_PROTOCOL_NONE, WS_PROTOCOL_MQTT, WS_PROTOCOL_MQTTV31 };

/* Writes the SHA-1 of n bytes; anything but OK fails the handshake with 500. */
typedef enum err ws_sha1_fn(const uint8_t *p, uint32_t n, uint8_t digest[WS_SHA1_BYTES]);

/* What a listener asks of its WebSocket clients. Outlives every struct ws that was given it. */
struct ws_rules {
    struct bytes path; /* "/mqtt"; empty: every path. The query is not compared. */
    /* Pages that may connect, as browsers write it: "https://example.org:8443". Letters of either
     * case are the same. A client that sends no Origin is no browser and may always. None: all. */
    const struct bytes *origins;
    uint32_t origin_count;
    uint32_t header_bytes; /* WS_HEADER_BYTES_MIN .. WS_HEADER_BYTES_MAX; 0: the default */
    ws_sha1_fn *sha1;
};

enum ws_state {
    WS_REQUEST, /* the request is not whole */
    WS_OPEN,
    WS_CLOSED, /* whatever arrives is thrown away; `why` says why */
};

/* One connection. Fields behind `why` are for ws.c alone. */
struct ws {
    uint8_t state;    /* enum ws_state */
    uint8_t protocol; /* enum ws_protocol */
    uint8_t why;      /* enum ws_why, with WS_CLOSED */

    uint8_t header_n;   /* bytes of `header` that are there; 0: between two frames */
    uint8_t header[14]; /* of the frame under way; its last four bytes are the masking key */
    uint8_t mask_idx;   /* the byte of the key that the next byte of the payload meets, 0..3 */
    bool in_payload;    /* the header is whole and was judged */
    bool in_message;    /* a fragmented message waits for its end */
    bool in_headers;    /* WS_REQUEST: the first line is whole */
    uint8_t last;       /* WS_REQUEST: the last byte seen */
    uint32_t line_n;    /* WS_REQUEST: bytes of the line under way, without CR LF */
    uint32_t held_n, held_room;
    uint8_t *held; /* the start of the request, later of a control frame's payload; or NULL */
    uint64_t left; /* bytes of the payload that are still to come */
    const struct ws_rules *rules;
};

/* What is to be sent, complete frames or a complete answer. Everything in it goes before the next
 * frame of data, never into the middle of one. With ERR_PEER nothing may be sent after it. */
struct ws_out {
    uint32_t n;
    /* From here to n stands a pong. While an earlier pong still waits to be sent, it may be thrown
     * away (RFC 6455, 5.5.3), so a peer that pings and does not read costs nothing. n: no pong. */
    uint32_t pong_at;
    uint8_t p[WS_OUT_BYTES_MAX];
};

/* Makes a connection that waits for its request. */
void ws_init(struct ws *ws, const struct ws_rules *rules);
/* Frees what it holds. */
void ws_fini(struct ws *ws);

/* Takes all n bytes at p. *plain becomes the number of bytes of the MQTT stream, which then stand
 * at p[0 .. *plain); what else was in the buffer is overwritten or means nothing. *out is set.
 * OK: go on.  ERR_PEER: over, because the peer closed or broke a rule: offer what is plain, send
 * `out`, close.  ERR_MEMORY: over in the same way, because memory could not be had.
 * Once over, further calls throw away what they get and answer ERR_PEER with nothing to send. */
MUST_USE enum err ws_input(struct ws *ws, uint8_t *p, uint32_t n, uint32_t *plain,
                           struct ws_out *out);

/* Bytes of memory held beside struct ws, for memory_limit. */
uint32_t ws_held(const struct ws *ws);

/* Writes the header of one unmasked binary frame of n bytes; returns its size, 2, 4 or 10. */
uint32_t ws_frame_header(uint8_t to[WS_FRAME_HEADER_BYTES_MAX], uint64_t n);

/* Our own close: from now on input is thrown away as after ERR_PEER. Writes the close frame, which
 * goes behind the last frame of data, and returns its size; 0: nothing is to be sent, since the
 * handshake is not over or a close frame was sent already. */
uint32_t ws_close(struct ws *ws, enum ws_close_code code, uint8_t to[WS_CLOSE_FRAME_BYTES]);

/* The reason in words, for the log: "websocket: unmasked frame". */
const char *ws_why_name(enum ws_why why);

#endif
