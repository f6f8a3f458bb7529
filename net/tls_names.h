/* net/tls_names.h -- whom a certificate is for, and how long: its DER (RFC 5280).
 *
 * The library has checked the certificate before; this reads the subject and the alternative names
 * out of it, once, into one block of text. Not the library's own reader: which of its functions and
 * structures exist depends on how it was built, and what a name means decides who somebody is.
 *
 * Pure: no library, any thread. A name with a NUL or control byte in it is left out, since somebody
 * further on could take it for a shorter one.
 */
#ifndef NET_TLS_NAMES_H
#define NET_TLS_NAMES_H

#include "net/tls.h"

struct tls_names; /* opaque; a block of malloc(3), free() gives it back */

/* Reads the names of a certificate. NULL with ERR_PEER: its DER makes no sense, ERR_MEMORY:
 * there is no memory. */
MUST_USE enum err tls_names_read(struct bytes der, struct tls_names **names);

/* The texts; see tls_peer_common_name and so on in net/tls.h. They live as long as the block. */
const char *tls_names_common(const struct tls_names *names);
const char *tls_names_subject(const struct tls_names *names);
const char *tls_names_alternative(const struct tls_names *names, enum tls_name kind, uint32_t idx);

/* Whether a certificate is for this host: an IP address (as text, v6 without brackets) must be
 * among its addresses, a name among its DNS names, where the first label of one may be `*` and then
 * stands for one label (RFC 6125). Where it has neither kind the common name counts instead. */
bool tls_names_match(struct bytes der, const char *host);

/* When a certificate expires, in seconds since 1970, UTC. ERR_PEER: its DER makes no sense. */
MUST_USE enum err tls_names_expiry(struct bytes der, int64_t *seconds);

#endif
