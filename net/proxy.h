/* net/proxy.h -- the PROXY protocol, versions 1 and 2: who really connected.
 *
 * A balancer puts this header in front of a connection. It names the client, and with version 2
 * what the balancer's TLS knows of it. The header is believed, so a listener reads it only from
 * addresses it was told to trust (cfg/cidr.h), and on such a listener it must be there.
 *
 * Everything is a view into the input, valid as long as that; nothing is copied or kept. The header
 * is read when it is whole; before, only its first bytes are judged, so that something else than a
 * header is refused at once.
 *
 * Threads  any; it has no state.
 */
#ifndef NET_PROXY_H
#define NET_PROXY_H

#include "core/base/bytes.h"
#include "core/base/err.h"

/* A header of version 1, with its CR LF. Beyond: refused. */
#define PROXY_V1_BYTES_MAX 107u
/* A header of version 2. Beyond: refused from its first 16 bytes. */
#define PROXY_V2_BYTES_MAX 4096u
/* The larger one: what a caller may have to hold. */
#define PROXY_BYTES_MAX PROXY_V2_BYTES_MAX
/* Values (TLVs) of a header, those within the one of TLS counted too. Beyond: refused. */
#define PROXY_VALUES_MAX 64u
/* PP2_TYPE_UNIQUE_ID. Beyond: refused. */
#define PROXY_UNIQUE_ID_BYTES_MAX 128u

/* Which versions a listener takes: a set. */
enum proxy_versions { PROXY_V1 = 1, PROXY_V2 = 2, PROXY_ANY = PROXY_V1 | PROXY_V2 };

enum proxy_family {
    PROXY_NO_ADDRESS, /* LOCAL, UNKNOWN, UNSPEC: the addresses of the socket hold */
    PROXY_IPV4,
    PROXY_IPV6,
    PROXY_UNIX,
};

enum proxy_why {
    PROXY_WHY_NONE,
    PROXY_WHY_ABSENT,  /* something else than a header */
    PROXY_WHY_VERSION, /* one that this listener does not take, or that does not exist */
    PROXY_WHY_LONG,
    PROXY_WHY_SYNTAX, /* version 1 */
    PROXY_WHY_ADDRESS,
    PROXY_WHY_PORT,
    PROXY_WHY_COMMAND,
    PROXY_WHY_FAMILY,
    PROXY_WHY_DATAGRAM,
    PROXY_WHY_SHORT, /* no room for the addresses */
    PROXY_WHY_VALUE, /* a TLV that does not fit, or whose contents cannot be */
    PROXY_WHY_VALUES_MANY,
    PROXY_WHY_VALUE_TWICE,
    PROXY_WHY_CHECKSUM,
    PROXY_WHY_COUNT
};

/* One end of the connection; which fields count follows from the family. */
struct proxy_address {
    uint8_t ip[16];    /* the first 4 of them for PROXY_IPV4 */
    uint16_t port;     /* in our byte order */
    struct bytes path; /* PROXY_UNIX: up to its first NUL; empty: unnamed */
};

/* What the balancer's TLS knows (PP2_TYPE_SSL). Texts are UTF-8 without control characters, or
 * empty where the balancer did not say. */
struct proxy_tls {
    bool is_tls;          /* the client came by TLS */
    bool has_certificate; /* and showed a certificate, in this connection or in its session */
    bool is_verified;     /* and that was verified: only then its names are an identity */
    struct bytes version; /* "TLSv1.3" */
    struct bytes cipher;
    struct bytes common_name;
    struct bytes certificate; /* DER; few balancers send it */
};

struct proxy {
    uint8_t version; /* 1 or 2 */
    bool is_local;   /* version 2: the balancer speaks for itself (a health check) */
    enum proxy_family family;
    struct proxy_address source, destination;
    struct bytes authority; /* the name the client asked for (SNI) */
    struct bytes alpn;
    struct bytes unique_id;
    struct proxy_tls tls;
};

/* Reads the header at the front of `in`. `accepted` is a set of enum proxy_versions.
 * OK: *out is set; the header takes *need bytes.
 * ERR_MORE: not whole yet; *need is the least number of bytes that can end it, more than in.n and
 * at most PROXY_BYTES_MAX.
 * ERR_PEER: not a header we take; *why says what is wrong. */
MUST_USE enum err proxy_next(struct bytes in, uint32_t accepted, struct proxy *out, uint32_t *need,
                             enum proxy_why *why);

/* The reason in words, for the log: "proxy: no PROXY header". */
const char *proxy_why_name(enum proxy_why why);

#endif
