/* net/tls_staple.c -- an OCSP response, read.
 *
 * A response may speak of several certificates. Ours is found by its serial number and the hash of
 * its issuer's name, which together are of one certificate only; the hash of the issuer's key is
 * left to clients, who have that key.
 */
#include "net/tls_staple.h"

#include "net/crypt.h"
#include "net/der.h"

/* Tags that mean this in a response only; [0] is also its version, as DER_VERSION. */
enum response_tag {
    DER_BYTES = 0xa0,      /* of OCSPResponse */
    DER_BY_NAME = 0xa1,    /* of ResponderID */
    DER_BY_KEY = 0xa2,     /* of ResponderID */
    DER_GOOD = 0x80,       /* of CertStatus */
    DER_REVOKED = 0xa1,    /* of CertStatus */
    DER_NEXT_UPDATE = 0xa0 /* of SingleResponse */
};

#define OID_BASIC BYTES_LIT("\x2b\x06\x01\x05\x05\x07\x30\x01\x01")
#define OID_SHA1 BYTES_LIT("\x2b\x0e\x03\x02\x1a")
#define OID_SHA256 BYTES_LIT("\x60\x86\x48\x01\x65\x03\x04\x02\x01")

static const char malformed[] = "is no OCSP response in DER";

/* Unwraps what a responder has signed; only the outer layer may say that there is nothing. */
static const char *read_wrapping(struct bytes response, struct bytes *responses)
{
    struct der whole, status, one, data;

    if (!der_take(&response, DER_SEQUENCE, &whole) || response.n > 0 ||
        !der_take(&whole.body, DER_ENUMERATED, &status) || status.body.n != 1)
        return malformed;
    if (status.body.p[0] != 0)
        return "has no answer in it: the responder refused the question or was too busy";
    if (!der_take(&whole.body, DER_BYTES, &one) || !der_take(&one.body, DER_SEQUENCE, &whole) ||
        !der_take(&whole.body, DER_OID, &one))
        return malformed;
    if (!bytes_eq(one.body, OID_BASIC))
        return "is an OCSP response of an unknown kind";
    if (!der_take(&whole.body, DER_OCTETS, &one) || !der_take(&one.body, DER_SEQUENCE, &whole) ||
        !der_take(&whole.body, DER_SEQUENCE, &data) || !der_next(&data.body, &one))
        return malformed;
    if (one.tag == DER_VERSION && !der_next(&data.body, &one))
        return malformed;
    if ((one.tag != DER_BY_NAME && one.tag != DER_BY_KEY) ||
        !der_take(&data.body, DER_TIME, &one) || !der_take(&data.body, DER_SEQUENCE, &one))
        return malformed;
    *responses = one.body;
    return NULL;
}

/* Whether an identifier of a certificate, CertID, is of this one; false in *is_whole: its DER makes
 * no sense. */
static bool is_of(struct bytes id, const struct certificate *c, bool *is_whole)
{
    uint8_t digest[CRYPT_SHA256_BYTES];
    struct der algorithm, oid, name_hash, key_hash, serial;
    uint32_t n = 0;

    *is_whole = der_take(&id, DER_SEQUENCE, &algorithm) &&
                der_take(&algorithm.body, DER_OID, &oid) && der_take(&id, DER_OCTETS, &name_hash) &&
                der_take(&id, DER_OCTETS, &key_hash) && der_take(&id, DER_INTEGER, &serial);
    if (!*is_whole || !bytes_eq(serial.body, c->serial))
        return false;
    if (bytes_eq(oid.body, OID_SHA1) && crypt_sha1(&c->issuer, 1, digest) == OK)
        n = CRYPT_SHA1_BYTES;
    else if (bytes_eq(oid.body, OID_SHA256) && crypt_sha256(&c->issuer, 1, digest) == OK)
        n = CRYPT_SHA256_BYTES;
    return n > 0 && bytes_eq(name_hash.body, bytes_of(digest, n));
}

/* What is said of our certificate, behind its identifier. */
static const char *read_status(struct bytes said, struct tls_staple_times *times)
{
    struct der status, from, next, until;

    if (!der_next(&said, &status) || !der_next(&said, &from) || from.tag != DER_TIME ||
        !der_time(from, &times->from))
        return malformed;
    if (status.tag == DER_REVOKED)
        return "says that the certificate is revoked";
    if (status.tag != DER_GOOD)
        return "says that its CA does not know the certificate";
    if (said.n == 0 || !der_next(&said, &next) || next.tag != DER_NEXT_UPDATE)
        return "does not say how long it holds (nextUpdate)";
    if (!der_take(&next.body, DER_TIME, &until) || !der_time(until, &times->until) ||
        times->until < times->from)
        return malformed;
    return NULL;
}

const char *tls_staple_read(struct bytes response, struct bytes certificate,
                            struct tls_staple_times *times)
{
    struct bytes responses = bytes_of(NULL, 0);
    struct certificate ours;
    const char *wrong;

    if (!der_read_certificate(&ours, certificate))
        return "cannot be compared with the certificate";
    wrong = read_wrapping(response, &responses);
    if (wrong)
        return wrong;
    while (responses.n > 0) {
        struct der single, id;
        bool is_whole;

        if (!der_take(&responses, DER_SEQUENCE, &single) ||
            !der_take(&single.body, DER_SEQUENCE, &id))
            return malformed;
        if (is_of(id.body, &ours, &is_whole))
            return read_status(single.body, times);
        if (!is_whole)
            return malformed;
    }
    return "is about another certificate";
}
