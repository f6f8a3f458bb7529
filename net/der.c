/* net/der.c -- the elements of DER, and a certificate as its parts (RFC 5280). */
#include "net/der.h"

#include <time.h>

#define OID_ALTERNATIVE BYTES_LIT("\x55\x1d\x11")

bool der_next(struct bytes *in, struct der *out)
{
    uint32_t header = 2;
    uint32_t length;

    if (in->n < 2 || (in->p[0] & 0x1f) == 0x1f)
        return false;
    length = in->p[1];
    if (length & 0x80) {
        uint32_t more = length & 0x7f;

        if (more == 0 || more > 3 || in->n < 2 + more)
            return false;
        header += more;
        for (length = 0; more > 0; more--)
            length = length << 8 | in->p[header - more];
    }
    if (length > in->n - header)
        return false;
    out->tag = in->p[0];
    out->body = bytes_of(in->p + header, length);
    out->whole = bytes_of(in->p, header + length);
    in->p += header + length;
    in->n -= header + length;
    return true;
}

bool der_take(struct bytes *in, uint8_t tag, struct der *out)
{
    return der_next(in, out) && out->tag == tag;
}

/* Two digits, or -1. */
static int two_digits(const uint8_t *p)
{
    bool good = p[0] >= '0' && p[0] <= '9' && p[1] >= '0' && p[1] <= '9';

    return good ? (p[0] - '0') * 10 + p[1] - '0' : -1;
}

/* YYMMDDhhmmssZ before 2050, YYYYMMDDhhmmssZ from then on (RFC 5280, 4.1.2.5). */
bool der_time(struct der time, int64_t *seconds)
{
    const uint8_t *p = time.body.p;
    struct tm tm = {0};
    int parts[7] = {19};
    int first = 0;

    if (time.tag == DER_UTC_TIME && time.body.n == 13)
        first = 1;
    else if (time.tag != DER_TIME || time.body.n != 15)
        return false;
    for (int i = first; i < 7; i++, p += 2) {
        parts[i] = two_digits(p);
        if (parts[i] < 0)
            return false;
    }
    if (first == 1 && parts[1] < 50)
        parts[0] = 20;
    tm.tm_year = parts[0] * 100 + parts[1] - 1900;
    tm.tm_mon = parts[2] - 1;
    tm.tm_mday = parts[3];
    tm.tm_hour = parts[4];
    tm.tm_min = parts[5];
    tm.tm_sec = parts[6];
    *seconds = timegm(&tm);
    return true;
}

static bool read_subject(struct certificate *c, struct bytes subject)
{
    struct der set, pair, oid;

    for (uint32_t sets = 0; subject.n > 0; sets++) {
        if (!der_take(&subject, DER_SET, &set))
            return false;
        while (set.body.n > 0) {
            struct subject_part *part = &c->parts[c->part_count];

            if (c->part_count == SUBJECT_PARTS_MAX || !der_take(&set.body, DER_SEQUENCE, &pair) ||
                !der_take(&pair.body, DER_OID, &oid) || !der_next(&pair.body, &part->value))
                return false;
            part->oid = oid.body;
            part->set = sets;
            c->part_count += 1;
        }
    }
    return true;
}

static bool read_extensions(struct certificate *c, struct bytes extensions)
{
    struct der extension, oid, value, names;

    while (extensions.n > 0) {
        if (!der_take(&extensions, DER_SEQUENCE, &extension) ||
            !der_take(&extension.body, DER_OID, &oid) || !der_next(&extension.body, &value))
            return false;
        if (value.tag == DER_BOOLEAN && !der_next(&extension.body, &value))
            return false;
        if (value.tag != DER_OCTETS)
            return false;
        if (!bytes_eq(oid.body, OID_ALTERNATIVE))
            continue;
        if (c->alternatives.p || !der_take(&value.body, DER_SEQUENCE, &names))
            return false;
        c->alternatives = names.body;
    }
    return true;
}

bool der_read_certificate(struct certificate *c, struct bytes der)
{
    struct der whole, inner, one;

    *c = (struct certificate){.part_count = 0};
    if (!der_take(&der, DER_SEQUENCE, &whole) || !der_take(&whole.body, DER_SEQUENCE, &inner) ||
        !der_next(&inner.body, &one))
        return false;
    if (one.tag == DER_VERSION && !der_next(&inner.body, &one)) /* else: it was the serial */
        return false;
    c->serial = one.body;
    if (!der_take(&inner.body, DER_SEQUENCE, &one)) /* the algorithm of the signature */
        return false;
    if (!der_take(&inner.body, DER_SEQUENCE, &one))
        return false;
    c->issuer = one.whole;
    if (!der_take(&inner.body, DER_SEQUENCE, &one))
        return false;
    c->validity = one.body;
    if (!der_take(&inner.body, DER_SEQUENCE, &one) || !read_subject(c, one.body) ||
        !der_take(&inner.body, DER_SEQUENCE, &one)) /* subject, key */
        return false;
    while (inner.body.n > 0) {
        if (!der_next(&inner.body, &one))
            return false;
        if (one.tag == DER_EXTENSIONS)
            return der_take(&one.body, DER_SEQUENCE, &inner) && read_extensions(c, inner.body);
    }
    return true;
}
