/* tools/load_wire.h -- one connection of the load generator: TCP, TLS, WebSocket, on net/uring.
 *
 * Bytes to send are collected in one buffer while the other is under way, so a turn needs one send
 * per connection. Received bytes are offered where they arrived; what is not consumed is offered
 * again with what follows. With TLS and WebSocket, on_open comes when their handshakes are done;
 * within WebSocket each packet that is written is a frame of its own.
 *
 * Threads  one, that of the loop.
 * Memory   the wire is embedded in its user and lives until its loop is closed.
 */
#ifndef TOOLS_LOAD_WIRE_H
#define TOOLS_LOAD_WIRE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "core/base/bytes.h"
#include "core/base/err.h"
#include "net/tls.h"
#include "net/uring.h"
#include "tools/load_ws.h"

struct load_wire;

/* What a wire tells its user. */
struct load_wire_calls {
    void (*on_open)(struct load_wire *w);
    /* Returns how many of the bytes are done with; the others are offered again. */
    uint32_t (*on_bytes)(struct load_wire *w, struct bytes in);
    void (*on_sent)(struct load_wire *w);
    /* Comes once. `error` is an errno; 0: the other side has closed. Not after load_wire_shut. */
    void (*on_gone)(struct load_wire *w, int error);
    /* The connection is over and the kernel has nothing left of it: the wire may be opened again.
     * May be NULL. */
    void (*on_free)(struct load_wire *w);
};

/* What all wires share. */
struct load_loop {
    struct uring *uring;
    struct load_wire *dirty; /* has something to send, linked by next_dirty */
    struct load_wire *freed; /* on_free is to be called, linked by next_free */
    const struct load_wire_calls *calls;
    uint32_t in_bytes;       /* room to receive, per wire; more than any packet */
    struct tls_context *tls; /* a client's, the caller's; NULL: no TLS */
    const char *server_name; /* whose certificate it must be; the host that WebSocket asks for */
    const char *ws_path;     /* NULL: no WebSocket */
    bool resumes;            /* all but the first connections resume the session of the first */
    struct tls_session *session;
};

struct load_buffer {
    uint8_t *p;
    uint32_t n, room;
};

struct load_wire {
    struct load_loop *loop;
    int fd;
    bool is_connecting, is_receiving, is_sending; /* a request is with the kernel */
    bool is_closed;                               /* nothing more is told or taken */
    bool is_secure;                               /* the handshake of TLS is done */
    bool is_open;                                 /* on_open has been called */
    bool is_dirty;
    struct load_wire *next_dirty, *next_free;
    struct load_ws ws;
    uint32_t header_bytes; /* of the frame that room was made for */
    uint32_t mask;         /* of the last frame */
    struct tls *tls;
    uint8_t *sealed; /* with TLS: what is received */
    struct uring_op connect_op, recv_op, send_op;
    uint8_t *in;
    uint32_t in_used;
    struct load_buffer filling, flying;
    uint32_t flown; /* of flying, bytes the kernel has */
};

/* Makes the ring of a loop.  ERR_SYSTEM, ERR_MEMORY: `why` says why. */
MUST_USE enum err load_loop_open(struct load_loop *loop, char *why, size_t why_bytes);
/* Closes the ring; nothing is with the kernel afterwards. */
void load_loop_close(struct load_loop *loop);
/* Sends what was collected, waits up to `wait_us` for something to happen, and handles it. */
void load_loop_turn(struct load_loop *loop, uint64_t wait_us);

/* Starts to connect, the first time (then the wire is zeroed) or after on_free; `to` lives as long
 * as the loop, `from` (may be NULL) is copied.  ERR_SYSTEM: errno says why; ERR_MEMORY. */
MUST_USE enum err load_wire_open(struct load_wire *w, struct load_loop *loop,
                                 const struct sockaddr *to, socklen_t to_bytes,
                                 const struct sockaddr *from);
/* Takes a connection that was accepted; it is open at once, and on_open does not come. The wire is
 * zeroed, and the loop without TLS and WebSocket.  ERR_MEMORY: the descriptor is still the
 * caller's. */
MUST_USE enum err load_wire_take(struct load_wire *w, struct load_loop *loop, int fd);
/* Room for `n` bytes at the end of what is collected, or NULL without memory. Valid until the next
 * call; load_wire_wrote tells where the writing ended. */
uint8_t *load_wire_room(struct load_wire *w, uint32_t n);
void load_wire_wrote(struct load_wire *w, const uint8_t *end);
/* Bytes that wait to be handed to the kernel. */
uint32_t load_wire_waiting(const struct load_wire *w);
/* Ends the connection from our side; on_gone does not come. */
void load_wire_shut(struct load_wire *w);
/* Frees the buffers; the loop is closed. A zeroed wire is fine. */
void load_wire_fini(struct load_wire *w);

#endif
