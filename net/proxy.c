/* net/proxy.c -- the PROXY protocol, versions 1 and 2.
 *
 * After "The PROXY protocol" of HAProxy, sections 2.1 and 2.2. Where that leaves a choice between
 * refusing and ignoring, we refuse: a header comes from a balancer, which can be put right.
 */
#include "net/proxy.h"

#include "core/base/check.h"
#include "core/mqtt/topic.h"

#include <arpa/inet.h>

/* What version 2 begins with. */
#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define SIGNATURE_BYTES 12u
/* Signature, version and command, family, length. */
#define V2_HEAD_BYTES 16u
/* Type and length of a value. */
#define VALUE_HEAD_BYTES 3u
/* Flags and verdict of PP2_TYPE_SSL. */
#define TLS_HEAD_BYTES 5u

/* Types of values, as the standard numbers them. */
enum {
    TYPE_ALPN = 0x01,
    TYPE_AUTHORITY = 0x02,
    TYPE_CRC32C = 0x03,
    TYPE_UNIQUE_ID = 0x05,
    TYPE_SSL = 0x20,
    SUBTYPE_VERSION = 0x21,
    SUBTYPE_COMMON_NAME = 0x22,
    SUBTYPE_CIPHER = 0x23,
    SUBTYPE_CERTIFICATE = 0x28,
};

/* Bits of the flags of PP2_TYPE_SSL. */
enum { CLIENT_SSL = 1, CLIENT_CERT_CONN = 2, CLIENT_CERT_SESS = 4 };

/* Reading the values of one header. */
struct values {
    struct proxy *out;
    struct bytes header; /* all of it, for the checksum */
    uint32_t count;
    bool has_checksum;
    bool has_tls;
};

static const char *const why_names[PROXY_WHY_COUNT] = {
    [PROXY_WHY_NONE] = "proxy: none",
    [PROXY_WHY_ABSENT] = "proxy: no PROXY header",
    [PROXY_WHY_VERSION] = "proxy: version not accepted",
    [PROXY_WHY_LONG] = "proxy: header too long",
    [PROXY_WHY_SYNTAX] = "proxy: malformed line",
    [PROXY_WHY_ADDRESS] = "proxy: bad address",
    [PROXY_WHY_PORT] = "proxy: bad port",
    [PROXY_WHY_COMMAND] = "proxy: unknown command",
    [PROXY_WHY_FAMILY] = "proxy: unknown address family",
    [PROXY_WHY_DATAGRAM] = "proxy: not a stream",
    [PROXY_WHY_SHORT] = "proxy: addresses cut short",
    [PROXY_WHY_VALUE] = "proxy: malformed value",
    [PROXY_WHY_VALUES_MANY] = "proxy: too many values",
    [PROXY_WHY_VALUE_TWICE] = "proxy: value given twice",
    [PROXY_WHY_CHECKSUM] = "proxy: wrong checksum",
};

const char *proxy_why_name(enum proxy_why why)
{
    CHECK(why < PROXY_WHY_COUNT);
    return why_names[why];
}

/* ---- version 1 ---- */

/* Cuts the word before the next blank off the front of *line; without a blank, all of it. */
static struct bytes next_word(struct bytes *line)
{
    const uint8_t *blank = line->n ? memchr(line->p, ' ', line->n) : NULL;
    struct bytes word = *line;

    if (blank) {
        word.n = (uint32_t)(blank - line->p);
        *line = bytes_of(blank + 1, line->n - word.n - 1);
    } else {
        *line = (struct bytes){0};
    }
    return word;
}

static enum proxy_why read_ip(struct bytes word, enum proxy_family family, uint8_t ip[16])
{
    char text[INET6_ADDRSTRLEN];

    if (word.n >= sizeof(text) || (word.n > 0 && memchr(word.p, 0, word.n)))
        return PROXY_WHY_ADDRESS;
    *bytes_put((uint8_t *)text, word) = 0;
    if (inet_pton(family == PROXY_IPV4 ? AF_INET : AF_INET6, text, ip) != 1)
        return PROXY_WHY_ADDRESS;
    return PROXY_WHY_NONE;
}

/* Digits without a leading zero, up to 65535. */
static enum proxy_why read_port(struct bytes word, uint16_t *port)
{
    uint32_t v = 0;

    if (word.n == 0 || word.n > 5 || (word.n > 1 && word.p[0] == '0'))
        return PROXY_WHY_PORT;
    for (uint32_t i = 0; i < word.n; i++) {
        if (word.p[i] < '0' || word.p[i] > '9')
            return PROXY_WHY_PORT;
        v = v * 10 + (uint32_t)(word.p[i] - '0');
    }
    *port = (uint16_t)v;
    return v > UINT16_MAX ? PROXY_WHY_PORT : PROXY_WHY_NONE;
}

/* Reads what stands between "PROXY " and CR LF. */
static enum proxy_why read_line(struct bytes line, struct proxy *out)
{
    struct bytes family = next_word(&line);
    struct bytes words[4];
    enum proxy_why why;

    if (bytes_eq(family, BYTES_LIT("UNKNOWN")))
        return PROXY_WHY_NONE; /* whatever else stands in the line */
    if (bytes_eq(family, BYTES_LIT("TCP4")))
        out->family = PROXY_IPV4;
    else if (bytes_eq(family, BYTES_LIT("TCP6")))
        out->family = PROXY_IPV6;
    else
        return PROXY_WHY_FAMILY;
    for (uint32_t i = 0; i < 4; i++) {
        words[i] = next_word(&line);
        if (words[i].n == 0 || (i < 3) != (line.p != NULL))
            return PROXY_WHY_SYNTAX;
    }
    why = read_ip(words[0], out->family, out->source.ip);
    if (why == PROXY_WHY_NONE)
        why = read_ip(words[1], out->family, out->destination.ip);
    if (why == PROXY_WHY_NONE)
        why = read_port(words[2], &out->source.port);
    if (why == PROXY_WHY_NONE)
        why = read_port(words[3], &out->destination.port);
    return why;
}

static enum err next_v1(struct bytes in, struct proxy *out, uint32_t *need, enum proxy_why *why)
{
    struct bytes start = BYTES_LIT("PROXY ");
    uint32_t n = in.n < PROXY_V1_BYTES_MAX ? in.n : PROXY_V1_BYTES_MAX;
    const uint8_t *end = memchr(in.p, '\n', n);

    if (!end) {
        *why = PROXY_WHY_LONG;
        *need = in.n + 1;
        return in.n < PROXY_V1_BYTES_MAX ? ERR_MORE : ERR_PEER;
    }
    *why = PROXY_WHY_SYNTAX;
    if (end[-1] != '\r')
        return ERR_PEER;
    out->version = 1;
    *need = (uint32_t)(end + 1 - in.p);
    *why = read_line(bytes_of(in.p + start.n, *need - 2 - start.n), out);
    return *why == PROXY_WHY_NONE ? OK : ERR_PEER;
}

/* ---- the values of version 2 ---- */

/* CRC-32C (Castagnoli), half a byte at a time: a header is short. */
static uint32_t crc32c(uint32_t crc, const uint8_t *p, uint32_t n)
{
    static const uint32_t table[16] = {
        0x00000000, 0x105EC76F, 0x20BD8EDE, 0x30E349B1, 0x417B1DBC, 0x5125DAD3,
        0x61C69362, 0x7198540D, 0x82F63B78, 0x92A8FC17, 0xA24BB5A6, 0xB21572C9,
        0xC38D26C4, 0xD3D3E1AB, 0xE330A81A, 0xF36E6F75,
    };

    for (uint32_t i = 0; i < n; i++) {
        crc ^= p[i];
        crc = crc >> 4 ^ table[crc & 15];
        crc = crc >> 4 ^ table[crc & 15];
    }
    return crc;
}

/* The sum is over the whole header with four zeros in the place of the sum. */
static enum proxy_why check_sum(struct bytes header, struct bytes sum)
{
    static const uint8_t zeros[4];
    uint32_t before = (uint32_t)(sum.p - header.p);
    uint32_t crc;

    if (sum.n != 4)
        return PROXY_WHY_VALUE;
    crc = crc32c(UINT32_MAX, header.p, before);
    crc = crc32c(crc, zeros, 4);
    crc = ~crc32c(crc, header.p + before + 4, header.n - before - 4);
    return crc == get_be32(sum.p) ? PROXY_WHY_NONE : PROXY_WHY_CHECKSUM;
}

/* Whether it can be a name: in a log line, a user name or a file nothing hides in it. */
static bool is_text(struct bytes s)
{
    for (uint32_t i = 0; i < s.n; i++) {
        if (s.p[i] < ' ' || s.p[i] == 0x7F)
            return false;
    }
    return utf8_valid(s);
}

/* Sets a value that may stand once. */
static enum proxy_why set_once(struct bytes *to, struct bytes value, bool is_valid)
{
    if (to->p)
        return PROXY_WHY_VALUE_TWICE;
    *to = value;
    return is_valid ? PROXY_WHY_NONE : PROXY_WHY_VALUE;
}

/* Cuts one value off the front of *rest. */
static enum proxy_why next_value(struct values *v, struct bytes *rest, uint8_t *type,
                                 struct bytes *value)
{
    if (v->count++ == PROXY_VALUES_MAX)
        return PROXY_WHY_VALUES_MANY;
    if (rest->n < VALUE_HEAD_BYTES)
        return PROXY_WHY_VALUE;
    *type = rest->p[0];
    *value = bytes_of(rest->p + VALUE_HEAD_BYTES, get_be16(rest->p + 1));
    if (value->n > rest->n - VALUE_HEAD_BYTES)
        return PROXY_WHY_VALUE;
    *rest = bytes_of(value->p + value->n, rest->n - VALUE_HEAD_BYTES - value->n);
    return PROXY_WHY_NONE;
}

static enum proxy_why on_tls_value(struct proxy_tls *tls, uint8_t type, struct bytes value)
{
    switch (type) {
    case SUBTYPE_VERSION:
        return set_once(&tls->version, value, is_text(value));
    case SUBTYPE_COMMON_NAME:
        return set_once(&tls->common_name, value, is_text(value));
    case SUBTYPE_CIPHER:
        return set_once(&tls->cipher, value, is_text(value));
    case SUBTYPE_CERTIFICATE:
        return set_once(&tls->certificate, value, true);
    default:
        return PROXY_WHY_NONE;
    }
}

static enum proxy_why on_tls(struct values *v, struct bytes rest)
{
    struct proxy_tls *tls = &v->out->tls;
    enum proxy_why why = PROXY_WHY_NONE;

    if (v->has_tls)
        return PROXY_WHY_VALUE_TWICE;
    v->has_tls = true;
    if (rest.n < TLS_HEAD_BYTES)
        return PROXY_WHY_VALUE;
    tls->is_tls = rest.p[0] & CLIENT_SSL;
    tls->has_certificate = tls->is_tls && rest.p[0] & (CLIENT_CERT_CONN | CLIENT_CERT_SESS);
    tls->is_verified = tls->has_certificate && get_be32(rest.p + 1) == 0;
    rest = bytes_of(rest.p + TLS_HEAD_BYTES, rest.n - TLS_HEAD_BYTES);
    while (rest.n > 0 && why == PROXY_WHY_NONE) {
        struct bytes value;
        uint8_t type;

        why = next_value(v, &rest, &type, &value);
        if (why == PROXY_WHY_NONE)
            why = on_tls_value(tls, type, value);
    }
    return why;
}

static enum proxy_why on_value(struct values *v, uint8_t type, struct bytes value)
{
    switch (type) {
    case TYPE_ALPN:
        return set_once(&v->out->alpn, value, value.n > 0);
    case TYPE_AUTHORITY:
        return set_once(&v->out->authority, value, is_text(value));
    case TYPE_UNIQUE_ID:
        return set_once(&v->out->unique_id, value, value.n <= PROXY_UNIQUE_ID_BYTES_MAX);
    case TYPE_CRC32C:
        if (v->has_checksum)
            return PROXY_WHY_VALUE_TWICE;
        v->has_checksum = true;
        return check_sum(v->header, value);
    case TYPE_SSL:
        return on_tls(v, value);
    default:
        return PROXY_WHY_NONE; /* padding, and what we do not know */
    }
}

/* ---- version 2 ---- */

/* A path of a unix socket: up to its first NUL, or full length; an abstract one is unnamed. */
static struct bytes unix_path(const uint8_t *p)
{
    const uint8_t *nul = memchr(p, 0, 108);

    return bytes_of(p, nul ? (size_t)(nul - p) : 108);
}

/* Reads the addresses at the front of *rest. */
static enum proxy_why read_addresses(struct proxy *out, struct bytes *rest)
{
    static const uint8_t ip_bytes[] = {
        [PROXY_NO_ADDRESS] = 0, [PROXY_IPV4] = 4, [PROXY_IPV6] = 16, [PROXY_UNIX] = 108};
    uint32_t n = ip_bytes[out->family];
    bool has_ports = out->family == PROXY_IPV4 || out->family == PROXY_IPV6;
    uint32_t size = 2 * n + (has_ports ? 4 : 0);
    const uint8_t *p = rest->p;

    if (rest->n < size)
        return PROXY_WHY_SHORT;
    if (has_ports) {
        memcpy(out->source.ip, p, n);
        memcpy(out->destination.ip, p + n, n);
        out->source.port = get_be16(p + (size_t)2 * n);
        out->destination.port = get_be16(p + (size_t)2 * n + 2);
    } else if (out->family == PROXY_UNIX) {
        out->source.path = unix_path(p);
        out->destination.path = unix_path(p + n);
    }
    *rest = bytes_of(p + size, rest->n - size);
    return PROXY_WHY_NONE;
}

/* Reads a whole header. */
static enum proxy_why read_v2(struct bytes header, struct proxy *out)
{
    struct bytes rest = bytes_of(header.p + V2_HEAD_BYTES, header.n - V2_HEAD_BYTES);
    struct values v = {.out = out, .header = header};
    enum proxy_why why;

    out->version = 2;
    out->is_local = (header.p[12] & 15) == 0;
    if (out->is_local)
        return PROXY_WHY_NONE; /* all the rest is to be thrown away */
    out->family = (enum proxy_family)(header.p[13] >> 4);
    why = read_addresses(out, &rest);
    while (rest.n > 0 && why == PROXY_WHY_NONE) {
        struct bytes value;
        uint8_t type;

        why = next_value(&v, &rest, &type, &value);
        if (why == PROXY_WHY_NONE)
            why = on_value(&v, type, value);
    }
    return why;
}

/* Judges version, command and family, which stand before the length. */
static enum proxy_why judge_head(const uint8_t *p)
{
    if (p[12] >> 4 != 2)
        return PROXY_WHY_VERSION;
    if ((p[12] & 15) > 1)
        return PROXY_WHY_COMMAND;
    if ((p[12] & 15) == 0)
        return PROXY_WHY_NONE; /* LOCAL: the family means nothing */
    if (p[13] >> 4 > PROXY_UNIX || (p[13] & 15) > 2)
        return PROXY_WHY_FAMILY;
    if ((p[13] & 15) == 2)
        return PROXY_WHY_DATAGRAM;
    if ((p[13] >> 4 == PROXY_NO_ADDRESS) != ((p[13] & 15) == 0))
        return PROXY_WHY_FAMILY; /* a family without a transport, or the other way round */
    return PROXY_WHY_NONE;
}

static enum err next_v2(struct bytes in, struct proxy *out, uint32_t *need, enum proxy_why *why)
{
    *need = V2_HEAD_BYTES;
    if (in.n < V2_HEAD_BYTES)
        return ERR_MORE;
    *why = judge_head(in.p);
    if (*why != PROXY_WHY_NONE)
        return ERR_PEER;
    *need += get_be16(in.p + 14);
    *why = PROXY_WHY_LONG;
    if (*need > PROXY_V2_BYTES_MAX)
        return ERR_PEER;
    if (*need > in.n)
        return ERR_MORE;
    *why = read_v2(bytes_of(in.p, *need), out);
    return *why == PROXY_WHY_NONE ? OK : ERR_PEER;
}

/* Whether `in`, as far as it goes, begins with `start`. */
static bool may_begin(struct bytes in, struct bytes start)
{
    uint32_t n = in.n < start.n ? in.n : start.n;

    return memcmp(in.p, start.p, n) == 0;
}

enum err proxy_next(struct bytes in, uint32_t accepted, struct proxy *out, uint32_t *need,
                    enum proxy_why *why)
{
    struct bytes v1 = BYTES_LIT("PROXY "), v2 = bytes_of(SIGNATURE, SIGNATURE_BYTES);
    bool is_v1, is_v2;
    enum err err;

    *out = (struct proxy){0};
    *why = PROXY_WHY_NONE;
    *need = 1;
    if (in.n == 0)
        return ERR_MORE;
    is_v1 = may_begin(in, v1);
    is_v2 = may_begin(in, v2);
    *why = !is_v1 && !is_v2 ? PROXY_WHY_ABSENT : PROXY_WHY_VERSION;
    if (!(is_v1 && accepted & PROXY_V1) && !(is_v2 && accepted & PROXY_V2))
        return ERR_PEER;
    *need = is_v1 ? v1.n + 2 : V2_HEAD_BYTES;
    if (in.n < (is_v1 ? v1.n : v2.n))
        err = ERR_MORE;
    else if (is_v1)
        err = next_v1(in, out, need, why);
    else
        err = next_v2(in, out, need, why);
    if (err == ERR_MORE)
        *why = PROXY_WHY_NONE;
    return err;
}
