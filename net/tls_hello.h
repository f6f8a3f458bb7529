/* net/tls_hello.h -- a look at what a client says first, before the library acts on it.
 *
 * The library's reader of the list of protocols (ALPN) may read behind a list whose last length is
 * wrong (CVE-2026-3547). So the records of a ClientHello pass here byte by byte before they reach
 * it, and a hello or a list that is not exactly as RFC 8446 and RFC 7301 want it ends the
 * connection. Nothing is kept but a few counters; in how many pieces it comes does not matter.
 *
 * The host name a client asks for (SNI) is kept on the way.
 *
 * Pure: no memory, no library, any thread.
 */
#ifndef NET_TLS_HELLO_H
#define NET_TLS_HELLO_H

#include <stdbool.h>

#include "core/base/bytes.h"
#include "core/base/err.h"

/* Bytes of a host name at most. */
#define TLS_HELLO_NAME_BYTES_MAX 255u

struct tls_hello {
    uint32_t record_left; /* bytes of this record still to come */
    uint32_t field_left;  /* of the field that is read */
    uint32_t hello_left;  /* of the hello */
    uint32_t list_left;   /* of the list of extensions */
    uint32_t alpn_left;   /* of the ALPN extension */
    uint32_t number;      /* what the bytes of a length add up to */
    uint8_t header_count; /* bytes of the record's header seen */
    uint8_t record_type;
    uint8_t field; /* enum hello_field in tls_hello.c */
    bool is_alpn;  /* the extension that is read is the list of protocols */
    bool is_name;  /* it is the host name */
    bool is_whole; /* the hello has ended; tls_hello_init if another may come */
    uint16_t name_count;
    uint8_t name[5 + TLS_HELLO_NAME_BYTES_MAX]; /* the start of that extension */
};

/* Expects a ClientHello. */
void tls_hello_init(struct tls_hello *h);

/* Looks at the next bytes of the connection. OK: the library may have them. ERR_PEER: the handshake
 * does not begin with a hello, or its lengths do not add up, or something follows it in its record.
 * Records of other kinds pass, and so does all that comes when it is whole. */
MUST_USE enum err tls_hello_look(struct tls_hello *h, struct bytes input);

/* The host name of a whole hello, a view into `h`; empty: none, or none that makes sense. */
struct bytes tls_hello_name(const struct tls_hello *h);

#endif
