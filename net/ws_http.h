/* net/ws_http.h -- the request that opens a WebSocket, and its answer.
 *
 * For net/ws.c, which knows when a request is whole. Pure functions over views.
 *
 * Strict where a proxy in front of us could read something else than we do: no folded lines, no
 * blank before a colon, no second Host, Origin, key or version, no body.
 *
 * Threads  any.
 */
#ifndef NET_WS_HTTP_H
#define NET_WS_HTTP_H

#include "net/ws.h"

/* What counts of a request that we grant. */
struct ws_request {
    struct bytes key; /* Sec-WebSocket-Key; a view of the request */
    enum ws_protocol protocol;
};

/* Reads a whole request: lines that end with CR LF, the last one empty, with no other control
 * character but tabs. WS_WHY_NONE: granted, and *out is set. */
enum ws_why ws_request_read(const struct ws_rules *rules, struct bytes request,
                            struct ws_request *out);

/* Writes "101 Switching Protocols" to `to` of WS_OUT_BYTES_MAX; *n becomes its size. Whatever
 * rules->sha1 answers but OK is passed on. */
MUST_USE enum err ws_accept_write(const struct ws_rules *rules, const struct ws_request *r,
                                  uint8_t *to, uint32_t *n);

/* Writes the answer that refuses a request, to be followed by the end of the connection, to `to`
 * of WS_OUT_BYTES_MAX; returns its size. */
uint32_t ws_refusal_write(enum ws_why why, uint8_t *to);

#endif
