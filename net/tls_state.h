/* net/tls_state.h -- what the files of net/tls*.c share: contexts and connections from inside.
 *
 * tls.c is the connection, tls_known.c what can be asked of it, tls_context.c reads settings into
 * contexts, tls_psk.c holds pre-shared keys, tls_ticket.c the keys of tickets, tls_error.c has the
 * words for what went wrong. tls_hello.c, tls_names.c, tls_staple.c and der.c do not know the
 * library.
 */
#ifndef NET_TLS_STATE_H
#define NET_TLS_STATE_H

#include "core/base/atomic.h"
#include "net/tls.h"
#include "net/tls_hello.h"
#include "net/tls_names.h"
#include "net/tls_staple.h"

/* The library's, which only the .c files know. */
struct WOLFSSL;
struct WOLFSSL_CTX;
struct WOLFSSL_SESSION;
struct WOLFSSL_X509_STORE_CTX;
struct tls_psks;

/* Bytes of a pre-shared key at most. */
#define TLS_PSK_BYTES_MAX 64u
/* Bytes of an identity at most. */
#define TLS_PSK_IDENTITY_BYTES_MAX 127u
/* Bytes of a list of protocols at most. */
#define TLS_ALPN_BYTES_MAX 63u

struct tls_psk {
    char identity[TLS_PSK_IDENTITY_BYTES_MAX + 1];
    uint8_t key[TLS_PSK_BYTES_MAX];
    uint8_t key_count;
};

struct tls_context {
    _Atomic uint32_t holds;
    /* nobody writes what follows, once it is made */
    enum tls_side side;
    bool checks_peer; /* the other side must prove a certificate (or a PSK) */
    bool has_tickets;
    struct WOLFSSL_CTX *ctx;
    struct tls_psks *psks; /* a server's */
    struct tls_psk *psk;   /* a client's */
    int64_t expires;
    uint8_t *staple; /* a server's, an OCSP response; NULL: none */
    uint32_t staple_count;
    struct tls_staple_times staple_times;
    char alpn[TLS_ALPN_BYTES_MAX + 1];
};

/* How far a connection is. */
enum tls_phase { PHASE_HANDSHAKE, PHASE_OPEN, PHASE_PEER_CLOSED, PHASE_FAILED };

struct tls_buffer {
    uint8_t *p;
    uint32_t start, end, room;
};

struct tls {
    struct WOLFSSL *ssl;
    struct tls_context *context;
    const char *why;
    struct bytes input_left;
    struct tls_buffer gather, lent;
    uint32_t handshake_bytes; /* received before it was done */
    uint16_t quiet_records;
    uint8_t phase;           /* enum tls_phase */
    bool was_open;           /* the handshake was done */
    bool has_spoken;         /* the library had something to send */
    bool has_closed;         /* we sent close_notify */
    bool saw_certificate;    /* the peer's own, and it was good */
    bool is_out_of_memory;   /* the output could not grow */
    bool is_stranger;        /* a client named a PSK identity we do not know */
    struct tls_hello *hello; /* a server's, during the handshake */
    struct tls_names *names;
    char *server_name; /* a client's: whom it wants; a server's: whom it was asked for */
    char *psk_identity;
    char *alpn;
};

struct tls_session {
    struct WOLFSSL_SESSION *session;
    struct tls_context *context; /* whose rules it was made by */
    char *server_name;           /* or NULL */
};

/* ---- tls_context.c ---- */

/* What is stapled at that time; empty: nothing. It lives as long as the context. */
struct bytes tls_context_staple(const struct tls_context *context, uint64_t now_ms);

/* ---- tls_psk.c ---- */

/* Reads a file of lines `identity:hexkey`. NULL: `why` says what is wrong with it. */
struct tls_psks *tls_psks_read(const char *path, char *why, size_t why_bytes);
/* Frees them.  NULL is fine. */
void tls_psks_destroy(struct tls_psks *psks);
/* The one of that identity, or NULL. */
const struct tls_psk *tls_psks_find(const struct tls_psks *psks, const char *identity);
/* Reads one pair. NULL, or what is wrong with it. */
const char *tls_psk_parse(struct bytes identity, struct bytes hex, struct tls_psk *psk);

/* ---- tls_ticket.c ---- */

/* Lets a server's context give and take tickets under the keys of the process. */
void tls_tickets_enable(struct WOLFSSL_CTX *ctx);
/* Forgets the keys. */
void tls_tickets_fini(void);
/* Changes the key as if its time had come, `times` times. For tests. */
void tls_tickets_rotate(uint32_t times);

/* ---- tls_error.c ---- */

/* Words for an error of the library; never NULL. */
const char *tls_error_words(int code);
/* Words for a fatal alert of the peer; never NULL. */
const char *tls_alert_words(int alert);

/* ---- tls.c: what contexts have the library call ---- */

/* Reads from the input that tls_open was given, writes to the output. */
int tls_on_recv(struct WOLFSSL *ssl, char *to, int bytes, void *user);
int tls_on_send(struct WOLFSSL *ssl, char *from, int bytes, void *user);
/* Is told of each certificate that is bad, and of the peer's own when it is good: 0 refuses. */
int tls_on_certificate(int is_good, struct WOLFSSL_X509_STORE_CTX *store);
/* Looks up the PSK of a client; tells our own. */
unsigned int tls_on_psk(struct WOLFSSL *ssl, const char *identity, unsigned char *key,
                        unsigned int key_max);
unsigned int tls_on_psk_ask(struct WOLFSSL *ssl, const char *hint, char *identity,
                            unsigned int identity_max, unsigned char *key, unsigned int key_max);

/* Changes the keys of what we send and asks the peer to change its own. For tests. */
void tls_update_keys(struct tls *t);

#endif
