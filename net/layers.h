/* net/layers.h -- what lies between a socket and MQTT: PROXY header, TLS, WebSocket.
 *
 * A connection of a plain listener has no layers and pays nothing for them. One that has some gives
 * them every byte of the socket and gets plain bytes back, and gives them every byte of the stream
 * and gets sealed ones. They stand in this order, each of them optional:
 *
 *     socket | PROXY header (once) | TLS | WebSocket | MQTT
 *
 * Threads  one at a time: the worker of the connection, and its home after the hand-off.
 * Memory   as net/tls.h and net/ws.h say; an idle connection has no buffer here.
 */
#ifndef NET_LAYERS_H
#define NET_LAYERS_H

#include "core/base/bytes.h"
#include "core/base/err.h"
#include "net/tls.h"
#include "net/ws.h"

struct layers; /* of one connection; opaque */

/* Room that layers_open wants: whatever one receive can set free fits. */
#define LAYERS_PLAIN_BYTES (48u << 10)
/* Bytes of one receive, at most. */
#define LAYERS_INPUT_BYTES_MAX (16u << 10)

/* Which layers a connection has. */
struct layers_rules {
    uint32_t proxy;            /* versions of the PROXY header that must come first; 0: none */
    struct tls_context *tls;   /* NULL: none; layers take a hold of their own */
    const char *server_name;   /* whom we dialled: our side of TLS is the client's; or NULL */
    const struct ws_rules *ws; /* NULL: none; outlives the layers */
};

/* Makes the layers of a connection.  NULL: no memory. */
struct layers *layers_create(const struct layers_rules *rules);
/* Frees them; the kernel must have given back the view of layers_output.  NULL is fine. */
void layers_destroy(struct layers *l);

enum layers_verdict {
    LAYERS_MORE,   /* all is taken */
    LAYERS_CLOSED, /* the peer said that it sends no more */
    LAYERS_FAILED, /* see layers_error; send what layers_output has, then close */
};

/* Takes a PROXY header off the front of `in`, so that layers_take_peer can be asked before anything
 * else is done, TLS above all. Where none is awaited nothing happens; what is left in `in` is for
 * layers_open. ERR_MORE: it is not whole, and all was taken.  ERR_PEER, ERR_MEMORY: failed. */
MUST_USE enum err layers_open_header(struct layers *l, struct bytes *in);

/* Takes all of `in` (at most LAYERS_INPUT_BYTES_MAX; none begins a client's handshake) and writes
 * the plain bytes that come of it: *count of them, to `plain`, which has LAYERS_PLAIN_BYTES. There
 * may be plain bytes with any verdict. */
MUST_USE enum layers_verdict layers_open(struct layers *l, struct bytes in, uint8_t *plain,
                                         uint32_t *count);
/* Whether layers_seal may be called: all handshakes are done, nothing has failed or was closed. */
bool layers_are_open(const struct layers *l);
/* Whether a handshake that costs a key exchange is under way. */
bool layers_are_handshaking(const struct layers *l);

/* Seals pieces behind what waits in layers_output. *taken of their bytes were taken: all with OK,
 * fewer with ERR_FULL. ERR_PEER, ERR_MEMORY: the connection has failed. */
MUST_USE enum err layers_seal(struct layers *l, const struct bytes *pieces, uint32_t piece_count,
                              uint32_t *taken);
/* Says good-bye behind the output, once; later calls do nothing. */
void layers_close(struct layers *l);

/* What is to be sent; empty: nothing. It stays where it is until layers_sent was told of all. */
struct bytes layers_output(struct layers *l);
void layers_sent(struct layers *l, uint32_t n); /* see layers_output */
/* Bytes that wait to be sent. */
uint32_t layers_waiting(const struct layers *l);

/* Why they failed, for the log; NULL: they have not. */
const char *layers_error(const struct layers *l);
/* Whether what failed was the handshake of TLS, and not what comes before or after it. */
bool layers_failed_handshake(const struct layers *l);

/* Who connected, by the PROXY header. */
struct layers_peer {
    uint8_t ip[16]; /* IPv4: the first four */
    bool is_v6;
    uint16_t port;
};

/* Whether a PROXY header named the peer; true once. */
bool layers_take_peer(struct layers *l, struct layers_peer *peer);

/* The name that a verified certificate or a pre-shared key has proven, here or to the balancer that
 * sent the PROXY header: the common name or the PSK identity, or with `subject` the whole subject
 * (here only). NULL: none.  Lives as long as the layers. */
const char *layers_identity(const struct layers *l, bool subject);
/* The common name of a verified certificate, here or of the balancer's telling, and never the
 * identity of a pre-shared key. NULL: none.  Lives as long as the layers. */
const char *layers_common_name(const struct layers *l);

#endif
