/* tools/load_ws.h -- the client's side of WebSocket (RFC 6455), for the load generator.
 *
 * Works in the caller's buffers and allocates nothing. Each packet that is written becomes a frame
 * of its own, as most clients do it. The key of the handshake is always the same, so the answer to
 * it is known; the broker cannot tell.
 *
 * Threads  any; one struct load_ws belongs to one connection.
 */
#ifndef TOOLS_LOAD_WS_H
#define TOOLS_LOAD_WS_H

#include "core/base/bytes.h"
#include "core/base/err.h"

#define LOAD_WS_REQUEST_BYTES_MAX 1024u
/* Of the broker's answer. */
#define LOAD_WS_ANSWER_BYTES_MAX 4096u
/* The largest header of a frame of ours, its key included. */
#define LOAD_WS_HEADER_BYTES_MAX 14u
/* A pong with the longest payload that a ping may have. */
#define LOAD_WS_PONG_BYTES_MAX 131u

/* What is under way of a stream of frames; zeroed at the start. */
struct load_ws {
    uint8_t header_n; /* bytes of `header` that are there; 0: between two frames */
    uint8_t header[10];
    bool in_payload;
    uint64_t left; /* of the payload, still to come */
    uint8_t ping[125];
    uint32_t ping_n;
};

/* Writes the request that opens a connection; returns its size, 0 when it is too long. */
uint32_t load_ws_request(char to[LOAD_WS_REQUEST_BYTES_MAX], const char *host, const char *path);
/* Reads the answer.  OK: granted; *used bytes of `in` were its own.  ERR_MORE, ERR_PEER. */
MUST_USE enum err load_ws_answer(struct bytes in, uint32_t *used);

/* The size of the header in front of a frame of `n` bytes. */
uint32_t load_ws_header_bytes(uint32_t n);
/* Writes that header to `to` and masks the n bytes that stand behind it. */
void load_ws_frame(uint8_t *to, uint32_t n, uint32_t key);

/* Takes n bytes at `p`; what they carry is moved to the front: *plain bytes. When a ping ends
 * within them, *pong is the size of what stands at `to` to be sent, else 0; of several pings only
 * the last is answered.  ERR_PEER: the broker closed, or sent what it must not. */
MUST_USE enum err load_ws_input(struct load_ws *ws, uint8_t *p, uint32_t n, uint32_t *plain,
                                uint8_t to[LOAD_WS_PONG_BYTES_MAX], uint32_t *pong);

#endif
