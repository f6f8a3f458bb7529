/* net/conn.h -- the socket of one stream: receive, send, join, close.
 *
 * Before its CONNECT is whole a connection has no stream: single receives gather bytes, then
 * shard_greet says where it belongs, and net/auth who it is, for which it may have to wait. At home
 * (or by way of a hand-off) it gets a client, and its bytes go to stream->ops->input, straight from
 * the shared receive buffer. Only the start of a packet that is not whole is copied, into memory
 * that exists as long as it is needed and grows with what arrives. An idle connection has no
 * buffer. That memory is counted with the shard; where memory_limit is reached, a connection that
 * needs much of it is closed.
 *
 * Sending: the dirty streams of a turn are walked once; each gives up to 64 vectors of its queue to
 * one send. While that is in flight new output gathers.
 *
 * Closing is a join: the kernel is asked to give back what it holds, and the last completion
 * closes the socket, tells the stream (ops->closed, exactly once) and frees the conn. A stream
 * that wants to close with output waiting gets up to CONN_LINGER_MS for it (CONN_STOP_LINGER_MS
 * while the process stops); then the socket is half-closed and what still comes is thrown away
 * until the peer closes too or CONN_HALF_MS pass, so that the last packet is not lost to a reset.
 *
 * Layers (TLS and the like, net/layers.h): what arrives is opened before it is looked at, and what
 * leaves is sealed before it is sent. Handshakes have a share of each turn and a rate; what goes
 * beyond waits in order.
 *
 * Threads  the worker of the connection.
 */
#ifndef NET_CONN_H
#define NET_CONN_H

#include "core/broker/shard.h"
#include "core/broker/stream.h"

struct conn;
struct tls_context;
struct worker;

/* How long a closing connection may take to send what waits. Beyond: it is cut. */
#define CONN_LINGER_MS 5000u
/* The same while the process stops: nobody may hold that up for long. */
#define CONN_STOP_LINGER_MS 1000u
/* How long a half-closed connection may take to be closed by the peer. Beyond: it is cut. */
#define CONN_HALF_MS 1000u

/* Bytes of a struct conn, for the plan of memory.  Any thread. */
uint32_t conn_bytes(void);

/* Takes an accepted socket of a listener, which was counted. Without memory it is closed. */
void conn_accept(struct worker *w, int fd, uint16_t listener);

/* Takes a connection that has come home, with its bytes; frees `h`. The hook `adopt`. */
void conn_adopt(struct worker *w, struct handoff *h);

/* Lets go of what a hand-off that never came home holds. The hook `abandon`. */
void conn_abandon_handoff(struct handoff *h);

/* Gives `stream` a socket that is connected already; sets stream->conn and begins to receive.
 * Without memory: ERR_MEMORY, and fd stays the caller's. */
MUST_USE enum err conn_attach(struct worker *w, int fd, struct stream *stream);

/* Whom to dial. Nothing of it is kept. */
struct conn_target {
    const char *host; /* a name, which is looked up anew, in another thread; or an address */
    uint16_t port;
    uint32_t timeout_ms;     /* for each address, and once more for the handshake of TLS */
    uint32_t attempt;        /* 0: the first address is the first, 1: the second ... */
    struct tls_context *tls; /* a client's; NULL: no TLS */
    const char *server_name; /* with TLS: who must answer */
};

/* Connects `stream`; sets stream->conn. Later calls ops->opened, or ops->closed when every address
 * failed or did not answer in time, or the one that did failed in TLS (ops->failed says how). The
 * stream may be closed meanwhile as always. ERR_MEMORY: nothing happened. */
MUST_USE enum err conn_dial(struct worker *w, struct stream *stream, const struct conn_target *to);

/* Sends and closes as the stream wants; it was taken off the dirty list. */
void conn_flush(struct stream *stream);

/* Tries once more, in order, what was parked or could not be handed off, if it is time. */
void conn_retry_all(struct worker *w);

/* Goes on with handshakes that were delayed, as many as one turn may have; once per turn. */
void conn_run_handshakes(struct worker *w);

/* Microseconds until a delayed handshake can go on. */
uint64_t conn_handshake_us(const struct worker *w);

/* Goes on with the dials whose names have been looked up. */
void conn_resolved(struct worker *w);

/* Goes on with connections of which is known now who they are. */
void conn_answered(struct worker *w);

/* For a clean stop that has begun (is_stopping): cuts every connection that has no stream (yet or
 * any more), and shortens the time of those that close already. */
void conn_stop_all(struct worker *w);

/* Frees what is left when the ring is closed already. Streams are not told. Main. */
void conn_abandon_all(struct worker *w);

/* The other side as text, in `to` of 64 bytes: "127.0.0.1:49152", or the process and the user that
 * came by a Unix socket. */
void conn_peer_text(const struct conn *c, char to[64]);
/* The socket, for getsockopt(2) by the link layer; -1 while there is none. */
int conn_fd(const struct conn *c);

#endif
