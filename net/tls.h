/* net/tls.h -- TLS 1.2 and 1.3 as an engine: bytes in, bytes out, no socket.
 *
 * A context is what a listener or a link was configured to (certificate, trusted CAs, versions,
 * ciphers): read from files once, never changed, shared by all workers and counted. Main makes a
 * new one at a reload; connections keep theirs.
 *
 * A struct tls is one connection. What arrived from the socket goes through tls_open, which also
 * drives the handshake; what shall be sent goes through tls_seal; what the socket has to send,
 * handshake and alerts included, stands in tls_output. A connection's turn:
 *
 *     do {
 *         verdict = tls_open(t, &input, plain, sizeof(plain), &count);
 *         ... use the `count` bytes of plain ...
 *     } while (verdict == TLS_DATA);            a client calls it once with no input, to begin
 *     if (tls_is_established(t))
 *         err = tls_seal(t, pieces, piece_count, &taken);
 *     out = tls_output(t);                      send `out`; when the kernel took n bytes of it:
 *     tls_output_sent(t, n);
 *
 * Threads  tls_init, tls_fini: main. Contexts are made, taken and released by any thread. A struct
 *          tls belongs to one thread at a time and may move between them.
 * Memory   an idle connection has no buffer of its own; input that is not a whole record and output
 *          that was not sent is what stands by. Bounds: TLS_OUTPUT_BYTES_MAX, TLS_PEER_BYTES_MAX.
 * Errors   a connection that failed stays failed; tls_error says why in words for the log, and the
 *          output may hold an alert that the peer should get before the socket is closed.
 */
#ifndef NET_TLS_H
#define NET_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/bytes.h"
#include "core/base/err.h"

/* Plain bytes of one record at most: a buffer of this size given to tls_open takes one whole. */
#define TLS_RECORD_BYTES_MAX 16384u
/* Sealed bytes gathered for sending, besides those of the view given to the kernel. At the bound
 * tls_seal takes nothing more (ERR_FULL). A peer that makes us answer beyond twice of it without
 * reading (key updates) fails. */
#define TLS_OUTPUT_BYTES_MAX (128u << 10)
/* What a peer that has not finished its handshake can make a server connection hold in user space,
 * its own output apart: one record, one handshake message of the size we allow, keys and state. */
#define TLS_PEER_BYTES_MAX (96u << 10)
/* Bytes a peer may send before its handshake is finished. Beyond: the connection fails. */
#define TLS_HANDSHAKE_BYTES_MAX (64u << 10)

struct tls;         /* one connection; opaque */
struct tls_context; /* opaque */
struct tls_session; /* what a client may resume; opaque */

enum tls_side { TLS_SERVER, TLS_CLIENT };

enum tls_version { TLS_VERSION_UNSET, TLS_VERSION_1_2, TLS_VERSION_1_3 };

/* What a context is made of. Zero is a value for every field; nothing of it is kept. */
struct tls_settings {
    enum tls_side side;

    /* PEM files. The chain begins with our own certificate, intermediate ones follow; the key has
     * no password. A server needs both or PSKs; a client has them if the server asks for one. */
    const char *certificate_file, *key_file;

    /* Whom we trust: a PEM file, or a folder of such files, or both. A client that has neither
     * trusts the CAs of the system. */
    const char *ca_file, *ca_path;
    const char *crl_file; /* revoked certificates, PEM; NULL: not checked */

    /* Server: what its CA says of its certificate (OCSP, DER), for clients that ask; NULL: nothing.
     * It must hold at `now_ms` (clock_wall_ms). */
    const char *ocsp_file;
    uint64_t now_ms;

    bool require_certificate; /* server: every client must prove one of a CA we trust */
    bool accept_any;          /* client: do not verify the server at all */

    /* UNSET: 1.2, and 1.3 where require_certificate is set. A written 1.2 holds for both. */
    enum tls_version version_min;
    enum tls_version version_max; /* 1.2: for peers that stumble over 1.3; else 1.3 */
    const char *ciphers;          /* up to TLS 1.2, OpenSSL's names with ':'; NULL: a good list */
    const char *ciphers_tls1_3;   /* the same for TLS 1.3 */

    /* Protocols, best first, with ',' between: "mqtt", "http/1.1". NULL: ALPN is not spoken. A
     * client that offers only others is refused; one that offers none is taken. */
    const char *alpn;

    bool no_tickets; /* server: no resumption. Implied where certificate or PSK say who it is. */

    /* Pre-shared keys. Server: a file of lines `identity:hexkey`, and a hint shown to clients
     * (1.2); it has then no certificate. Client: its identity and key in hex digits. */
    const char *psk_file, *psk_hint;
    const char *psk_identity, *psk_key;
};

/* ---- the library ---- */

/* Starts the library, once per process before anything else here. ERR_SYSTEM: it does not start. */
MUST_USE enum err tls_init(void);
/* Ends it; nothing of here may be in use. */
void tls_fini(void);
/* "wolfSSL 5.5.4"; "... with OpenSSL layer" is one that was not built for us: slower, larger, and
 * it may not notice that a key is not its certificate's before the first handshake. */
const char *tls_library(void);

/* ---- contexts ---- */

/* Reads the files and makes a context that the caller holds. NULL: `why` says which file or value
 * is wrong, and how. An expired certificate of our own is none of these: see
 * tls_context_expires. */
struct tls_context *tls_context_create(const struct tls_settings *settings, char *why,
                                       size_t why_bytes);
/* Takes one more hold; returns `context`. */
struct tls_context *tls_context_ref(struct tls_context *context);
/* Gives a hold back; the last one frees.  NULL is fine. */
void tls_context_release(struct tls_context *context);

/* When the first certificate of our own chain expires: seconds since 1970, UTC; 0: we have none. */
int64_t tls_context_expires(const struct tls_context *context);
/* Whole days from `now_ms` (clock_wall_ms) until then, rounded down: 0 on the last day, -1 on the
 * first day behind it. INT32_MAX: we have no certificate. */
int32_t tls_context_days_left(const struct tls_context *context, uint64_t now_ms);

/* When what is stapled holds no more, and from when on a newer response should be there: a quarter
 * of its time is left. Seconds since 1970, UTC; 0: nothing is stapled. */
int64_t tls_context_staple_ends(const struct tls_context *context);
int64_t tls_context_staple_due(const struct tls_context *context);

/* ---- connections ---- */

/* Makes a connection of `context`, which it holds. `server_name` (a client's; else NULL) is the
 * host name or IP address the server's certificate must be for; a name is also sent to the server.
 * `session` (a client's, or NULL) is resumed if the server agrees and it is of the same context and
 * server name, so that nobody is trusted by somebody else's rules; it stays the caller's. NULL: no
 * memory. */
struct tls *tls_create(struct tls_context *context, const char *server_name,
                       const struct tls_session *session);
/* Frees it; the kernel must have given back the view of tls_output.  NULL is fine. */
void tls_destroy(struct tls *t);

enum tls_verdict {
    TLS_MORE,   /* all input is taken; call again when more arrives */
    TLS_DATA,   /* there are plain bytes, and maybe more: call again, also with no input left */
    TLS_CLOSED, /* the peer said that it sends no more (close_notify); input behind it is dropped */
    TLS_FAILED, /* see tls_error; send what tls_output has, then close */
};

/* Takes bytes from the start of `input`, which it moves on, and writes up to `room` (not 0) plain
 * bytes; `*count` says how many, and is 0 unless the answer is TLS_DATA. Input that is left after
 * TLS_DATA is the caller's to keep and to offer again: who stops reading stops calling. The socket
 * ending without TLS_CLOSED before is the peer's fault or an attack, and for MQTT no matter. */
MUST_USE enum tls_verdict tls_open(struct tls *t, struct bytes *input, uint8_t *plain,
                                   uint32_t room, uint32_t *count);

/* Whether the handshake is done: the peer is who it must be, and tls_seal may be called. */
bool tls_is_established(const struct tls *t);
/* Whether the handshake is neither done nor failed. */
bool tls_is_handshaking(const struct tls *t);

/* Encrypts pieces, in order and as if they stood behind each other, into as few records as can be,
 * behind what tls_output has. `*taken` of their bytes were taken: all with OK, fewer (maybe none)
 * with ERR_FULL; offer the rest again when output has been sent. ERR_PEER: the connection has
 * failed. ERR_MEMORY: it has failed for lack of memory. Only when established, not after
 * tls_close. */
MUST_USE enum err tls_seal(struct tls *t, const struct bytes *pieces, uint32_t piece_count,
                           uint32_t *taken);

/* Puts a close_notify behind the output: we send no more. Once; later calls do nothing, nor does
 * one before the handshake is done. */
void tls_close(struct tls *t);

/* What is to be sent; empty: nothing. The bytes stay where they are, whatever else is called, until
 * tls_output_sent has been told of all of them: so they can be lent to the kernel. */
struct bytes tls_output(struct tls *t);
/* The kernel took the first n bytes of tls_output. */
void tls_output_sent(struct tls *t, uint32_t n);
/* Sealed bytes that wait, those of the view included. */
uint32_t tls_output_count(const struct tls *t);

/* ---- what is known of it; texts live as long as `t` ---- */

/* Why it failed, for the log: "client gave no certificate". NULL: it has not. */
const char *tls_error(const struct tls *t);
/* Whether it failed before the handshake was done. */
bool tls_failed_handshake(const struct tls *t);
/* "TLSv1.3" and "TLS_AES_128_GCM_SHA256"; NULL before the handshake is done. */
const char *tls_version_name(const struct tls *t);
const char *tls_cipher_name(const struct tls *t);
/* The name a client asked a server for (SNI), or NULL. */
const char *tls_server_name(const struct tls *t);
/* The protocol both agreed on, or NULL. */
const char *tls_alpn(const struct tls *t);
/* Whether an earlier session was resumed; then the peer's certificate is not known. */
bool tls_was_resumed(const struct tls *t);
/* The PSK identity a client proved, or NULL. */
const char *tls_psk_identity(const struct tls *t);

/* Of the peer's certificate, when it was verified and the handshake is done; else NULL. A name with
 * a NUL byte in it is left out. */
const char *tls_peer_common_name(const struct tls *t);
/* The subject like RFC 2253 writes it, last part first: "CN=pump 1,O=Example". */
const char *tls_peer_subject(const struct tls *t);

enum tls_name { TLS_NAME_DNS, TLS_NAME_EMAIL, TLS_NAME_URI, TLS_NAME_COUNT };

/* The idx-th alternative name of that kind, or NULL. */
const char *tls_peer_name(const struct tls *t, enum tls_name kind, uint32_t idx);

/* ---- resuming; clients ---- */

/* What is needed to resume this connection later, or NULL: the server gave no ticket (yet; TLS 1.3
 * gives it after the handshake), or there is no memory. It shares memory with `t`: both are for one
 * thread at a time until `t` is gone. */
struct tls_session *tls_session_create(const struct tls *t);
/* Frees it.  NULL is fine. */
void tls_session_destroy(struct tls_session *session);

#endif
