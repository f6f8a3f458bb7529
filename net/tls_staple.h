/* net/tls_staple.h -- what a CA says of a certificate: an OCSP response (RFC 6960), read.
 *
 * The response is sent to clients as it is (stapling, RFC 6066), and they check its signature; here
 * is looked whether it can be what they need. The operator fetches it, so nothing of the broker
 * ever waits for a responder.
 *
 * Pure: any thread.
 */
#ifndef NET_TLS_STAPLE_H
#define NET_TLS_STAPLE_H

#include <stdint.h>

#include "core/base/bytes.h"

/* Bytes of a response at most: what fits a record beside its neighbours. With a certificate of the
 * responder it has about 2 KiB. */
#define TLS_STAPLE_BYTES_MAX (8u << 10)

/* When a response holds, in seconds since 1970, UTC. */
struct tls_staple_times {
    int64_t from, until; /* thisUpdate and nextUpdate */
};

/* Reads a response and finds what it says of `certificate` (DER). NULL: that it is good, and
 * *times is set; whether the time has come is not looked at. Else: what is wrong with it, in words
 * that follow the name of its file. */
const char *tls_staple_read(struct bytes response, struct bytes certificate,
                            struct tls_staple_times *times);

#endif
