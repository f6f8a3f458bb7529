/* net/der.h -- the elements of DER, and a certificate as its parts (RFC 5280).
 *
 * Nothing is copied: every view points into the bytes that were given and lives as long as they.
 *
 * Pure: no library, any thread.
 */
#ifndef NET_DER_H
#define NET_DER_H

#include "core/base/bytes.h"

/* The tags that certificates have, and what is said of certificates. */
enum der_tag {
    DER_BOOLEAN = 0x01,
    DER_INTEGER = 0x02,
    DER_OCTETS = 0x04,
    DER_OID = 0x06,
    DER_ENUMERATED = 0x0a,
    DER_UTF8 = 0x0c,
    DER_NUMERIC = 0x12,
    DER_PRINTABLE = 0x13,
    DER_T61 = 0x14,
    DER_IA5 = 0x16,
    DER_UTC_TIME = 0x17,
    DER_TIME = 0x18,
    DER_VISIBLE = 0x1a,
    DER_UNIVERSAL = 0x1c,
    DER_BMP = 0x1e,
    DER_SEQUENCE = 0x30,
    DER_SET = 0x31,
    DER_VERSION = 0xa0,    /* [0] of a certificate */
    DER_EXTENSIONS = 0xa3, /* [3] of a certificate */
    DER_SAN_EMAIL = 0x81,  /* of a GeneralName */
    DER_SAN_DNS = 0x82,
    DER_SAN_URI = 0x86,
    DER_SAN_IP = 0x87,
};

/* An element. */
struct der {
    uint8_t tag;
    struct bytes body;
    struct bytes whole; /* with tag and length */
};

/* Parts of one subject at most; more make no sense. */
#define SUBJECT_PARTS_MAX 64u

/* A part of the subject. */
struct subject_part {
    struct bytes oid;
    struct der value;
    uint32_t set; /* those of one set are joined by '+' */
};

/* What is read of a certificate. */
struct certificate {
    struct subject_part parts[SUBJECT_PARTS_MAX];
    uint32_t part_count;
    struct bytes alternatives; /* GeneralNames one after the other */
    struct bytes validity;     /* not before, not after */
    struct bytes serial;       /* the body of the number */
    struct bytes issuer;       /* the whole name */
};

/* Takes the next element from the front. false: there is none, or it is cut short. */
bool der_next(struct bytes *in, struct der *out);
/* The same; it must have this tag. */
bool der_take(struct bytes *in, uint8_t tag, struct der *out);

/* A time in seconds since 1970, UTC, in one of the two forms that RFC 5280 allows. */
bool der_time(struct der time, int64_t *seconds);

/* Takes a certificate apart. false: its DER makes no sense, or its subject has too many parts. */
bool der_read_certificate(struct certificate *c, struct bytes der);

#endif
