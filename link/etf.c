/* link/etf.c -- reading and writing Erlang terms.
 *
 * Every read first asks how many bytes are left; every count is at most the bytes left, since no
 * term is shorter than its tag. So work and memory are linear in what really arrived.
 */
#include "link/etf.h"

#include "core/base/check.h"

enum tag {
    TAG_NEW_FLOAT = 70,
    TAG_BIT_BINARY = 77,
    TAG_NEW_PID = 88,
    TAG_NEWER_REFERENCE = 90,
    TAG_SMALL_INTEGER = 97,
    TAG_INTEGER = 98,
    TAG_ATOM = 100,
    TAG_SMALL_TUPLE = 104,
    TAG_LARGE_TUPLE = 105,
    TAG_NIL = 106,
    TAG_STRING = 107,
    TAG_LIST = 108,
    TAG_BINARY = 109,
    TAG_SMALL_BIG = 110,
    TAG_LARGE_BIG = 111,
    TAG_SMALL_ATOM = 115,
    TAG_MAP = 116,
    TAG_ATOM_UTF8 = 118,
    TAG_SMALL_ATOM_UTF8 = 119,
};

static const char *const atom_names[ETF_ATOM_COUNT] = {
    [ETF_A_OP] = "$op",
    [ETF_A_OK] = "ok",
    [ETF_A_ERROR] = "error",
    [ETF_A_TRUE] = "true",
    [ETF_A_FALSE] = "false",
    [ETF_A_UNDEFINED] = "undefined",
    [ETF_A_MESSAGE] = "message",
    [ETF_A_DUP] = "dup",
    [ETF_A_RETAIN] = "retain",
    [ETF_A_PROTO_VER] = "proto_ver",
    [ETF_A_PROTOCOL] = "protocol",
    [ETF_A_MQTT] = "mqtt",
    [ETF_A_USERNAME] = "username",
    [ETF_A_PEERHOST] = "peerhost",
    [ETF_A_PEERNAME] = "peername",
    [ETF_A_PROPERTIES] = "properties",
    [ETF_A_PAYLOAD_FORMAT] = "Payload-Format-Indicator",
    [ETF_A_MESSAGE_EXPIRY] = "Message-Expiry-Interval",
    [ETF_A_CONTENT_TYPE] = "Content-Type",
    [ETF_A_RESPONSE_TOPIC] = "Response-Topic",
    [ETF_A_CORRELATION_DATA] = "Correlation-Data",
    [ETF_A_USER_PROPERTY] = "User-Property",
};

/* ------------------------------------------------------------------------------- reading --- */

static uint64_t left(const struct etf_reader *r)
{
    return (uint64_t)(r->end - r->p);
}

/* An unsigned big-endian number of `width` bytes. */
static enum err take_number(struct etf_reader *r, uint32_t width, uint32_t *out)
{
    if (left(r) < width)
        return ERR_PEER;
    *out = 0;
    for (uint32_t i = 0; i < width; i++)
        *out = (*out << 8) | *r->p++;
    return OK;
}

static enum err take_bytes(struct etf_reader *r, uint32_t n, struct bytes *out)
{
    if (left(r) < n)
        return ERR_PEER;
    *out = bytes_of(r->p, n);
    r->p += n;
    return OK;
}

/* A length of `width` bytes and then as many bytes. */
static enum err take_counted(struct etf_reader *r, uint32_t width, struct bytes *out)
{
    uint32_t n;

    if (take_number(r, width, &n) != OK)
        return ERR_PEER;
    return take_bytes(r, n, out);
}

/* The number of a container's elements, each of `children` terms, with `tail` more at the end. */
static enum err take_count(struct etf_reader *r, uint32_t width, uint32_t children, uint32_t tail,
                           uint32_t *count)
{
    uint64_t all;

    if (take_number(r, width, count) != OK)
        return ERR_PEER;
    all = (uint64_t)*count * children + tail;
    return all <= left(r) && all <= ETF_CHILDREN_MAX ? OK : ERR_PEER;
}

static enum err read_big(struct etf_reader *r, uint32_t width, struct etf_term *t)
{
    uint32_t n, sign;
    struct bytes digits;

    if (take_number(r, width, &n) != OK || take_number(r, 1, &sign) != OK ||
        take_bytes(r, n, &digits) != OK)
        return ERR_PEER;
    while (n > 0 && digits.p[n - 1] == 0) /* little-endian: zeros on top say nothing */
        n--;
    t->is_wide = n > 8;
    if (!t->is_wide)
        for (uint32_t i = 0; i < n; i++)
            t->number |= (uint64_t)digits.p[i] << (8 * i);
    t->is_negative = sign != 0 && n > 0;
    return OK;
}

static enum err read_integer(struct etf_reader *r, uint8_t tag, struct etf_term *t)
{
    uint32_t v;

    t->kind = ETF_INTEGER;
    if (tag == TAG_SMALL_BIG || tag == TAG_LARGE_BIG)
        return read_big(r, tag == TAG_SMALL_BIG ? 1 : 4, t);
    if (take_number(r, tag == TAG_SMALL_INTEGER ? 1 : 4, &v) != OK)
        return ERR_PEER;
    t->is_negative = v > INT32_MAX;
    t->number = t->is_negative ? ~v + 1u : v;
    return OK;
}

static enum err read_atom(struct etf_reader *r, uint32_t width, struct etf_term *t)
{
    t->kind = ETF_ATOM;
    if (take_counted(r, width, &t->bytes) != OK)
        return ERR_PEER;
    return t->bytes.n <= ETF_ATOM_BYTES_MAX ? OK : ERR_PEER;
}

/* Terms that mean nothing here but may stand in a header some plugin added. */
static enum err read_opaque(struct etf_reader *r, uint8_t tag, struct etf_term *t)
{
    struct etf_term node;
    struct bytes body;
    uint32_t n = 0;

    t->kind = ETF_OPAQUE;
    switch (tag) {
    case TAG_NEW_FLOAT:
        return take_bytes(r, 8, &body);
    case TAG_BIT_BINARY: /* length, bits used in the last byte, bytes */
        if (take_number(r, 4, &n) != OK || take_bytes(r, 1, &body) != OK)
            return ERR_PEER;
        return take_bytes(r, n, &body);
    case TAG_NEW_PID: /* node, id, serial, creation */
        n = 12;
        break;
    case TAG_NEWER_REFERENCE: /* number of words, node, creation, words */
        if (take_number(r, 2, &n) != OK || n > 5)
            return ERR_PEER;
        n = 4 + 4 * n;
        break;
    default:
        return ERR_PEER;
    }
    if (left(r) == 0 || (*r->p != TAG_SMALL_ATOM_UTF8 && *r->p != TAG_ATOM &&
                         *r->p != TAG_ATOM_UTF8 && *r->p != TAG_SMALL_ATOM))
        return ERR_PEER;
    if (etf_read(r, &node) != OK)
        return ERR_PEER;
    return take_bytes(r, n, &body);
}

enum err etf_read(struct etf_reader *r, struct etf_term *t)
{
    uint32_t tag;

    *t = (struct etf_term){.kind = ETF_NIL};
    if (take_number(r, 1, &tag) != OK)
        return ERR_PEER;
    switch (tag) {
    case TAG_SMALL_INTEGER:
    case TAG_INTEGER:
    case TAG_SMALL_BIG:
    case TAG_LARGE_BIG:
        return read_integer(r, (uint8_t)tag, t);
    case TAG_SMALL_ATOM:
    case TAG_SMALL_ATOM_UTF8:
        return read_atom(r, 1, t);
    case TAG_ATOM:
    case TAG_ATOM_UTF8:
        return read_atom(r, 2, t);
    case TAG_BINARY:
        t->kind = ETF_BINARY;
        return take_counted(r, 4, &t->bytes);
    case TAG_STRING:
        t->kind = ETF_STRING;
        return take_counted(r, 2, &t->bytes);
    case TAG_SMALL_TUPLE:
        t->kind = ETF_TUPLE;
        return take_count(r, 1, 1, 0, &t->count);
    case TAG_LARGE_TUPLE:
        t->kind = ETF_TUPLE;
        return take_count(r, 4, 1, 0, &t->count);
    case TAG_NIL:
        return OK;
    case TAG_LIST:
        t->kind = ETF_LIST;
        return take_count(r, 4, 1, 1, &t->count);
    case TAG_MAP:
        t->kind = ETF_MAP;
        return take_count(r, 4, 2, 0, &t->count);
    default:
        return read_opaque(r, (uint8_t)tag, t);
    }
}

enum err etf_open(struct etf_reader *r, struct bytes payload)
{
    if (payload.n < 2 || payload.p[0] != ETF_VERSION || payload.p[1] == ETF_COMPRESSED)
        return ERR_PEER;
    *r = etf_reader_of(bytes_of(payload.p + 1, payload.n - 1));
    return OK;
}

struct etf_reader etf_reader_of(struct bytes term)
{
    return (struct etf_reader){.p = term.p, .end = term.n ? term.p + term.n : term.p};
}

/* Terms that still belong to this one. */
static uint32_t children_of(const struct etf_term *t)
{
    switch (t->kind) {
    case ETF_TUPLE:
        return t->count;
    case ETF_LIST:
        return t->count + 1;
    case ETF_MAP:
        return t->count * 2;
    default:
        return 0;
    }
}

enum err etf_skip(struct etf_reader *r)
{
    uint32_t open[ETF_DEPTH_MAX]; /* terms still missing in each open container */
    uint32_t depth = 0;

    do {
        struct etf_term t;
        uint32_t children;

        if (etf_read(r, &t) != OK)
            return ERR_PEER;
        children = children_of(&t);
        if (children > 0) {
            if (depth == ETF_DEPTH_MAX)
                return ERR_PEER;
            open[depth++] = children;
            continue;
        }
        while (depth > 0 && --open[depth - 1] == 0)
            depth--;
    } while (depth > 0);
    return OK;
}

enum err etf_view(struct etf_reader *r, struct bytes *term)
{
    const uint8_t *from = r->p;

    if (etf_skip(r) != OK)
        return ERR_PEER;
    *term = bytes_of(from, (size_t)(r->p - from));
    return OK;
}

enum err etf_read_uint(struct etf_reader *r, uint64_t max, uint64_t *out)
{
    struct etf_term t;

    if (etf_read(r, &t) != OK || t.kind != ETF_INTEGER || t.is_negative || t.is_wide ||
        t.number > max)
        return ERR_PEER;
    *out = t.number;
    return OK;
}

/* Reads a term that must be of one kind. */
static enum err read_kind(struct etf_reader *r, enum etf_kind kind, struct etf_term *t)
{
    return etf_read(r, t) == OK && t->kind == kind ? OK : ERR_PEER;
}

enum err etf_read_binary(struct etf_reader *r, struct bytes *out)
{
    struct etf_term t;

    if (read_kind(r, ETF_BINARY, &t) != OK)
        return ERR_PEER;
    *out = t.bytes;
    return OK;
}

enum err etf_read_tuple(struct etf_reader *r, uint32_t *count)
{
    struct etf_term t;

    if (read_kind(r, ETF_TUPLE, &t) != OK)
        return ERR_PEER;
    *count = t.count;
    return OK;
}

enum err etf_read_list(struct etf_reader *r, uint32_t *count, bool *has_tail)
{
    struct etf_term t;

    if (etf_read(r, &t) != OK || (t.kind != ETF_LIST && t.kind != ETF_NIL))
        return ERR_PEER;
    *count = t.count;
    *has_tail = t.kind == ETF_LIST;
    return OK;
}

enum err etf_read_map(struct etf_reader *r, uint32_t *pairs)
{
    struct etf_term t;

    if (read_kind(r, ETF_MAP, &t) != OK)
        return ERR_PEER;
    *pairs = t.count;
    return OK;
}

enum err etf_read_nil(struct etf_reader *r)
{
    struct etf_term t;

    return read_kind(r, ETF_NIL, &t);
}

enum err etf_read_pair(struct etf_reader *r, struct etf_term *key, struct bytes *value)
{
    struct etf_reader from = *r;

    if (etf_read(r, key) != OK)
        return ERR_PEER;
    *r = from;
    return etf_skip(r) == OK ? etf_view(r, value) : ERR_PEER;
}

enum err etf_uint_of(struct bytes term, uint64_t *out)
{
    struct etf_reader r = etf_reader_of(term);

    return etf_read_uint(&r, UINT64_MAX, out);
}

enum err etf_binary_of(struct bytes term, struct bytes *out)
{
    struct etf_reader r = etf_reader_of(term);

    return etf_read_binary(&r, out);
}

bool etf_is_atom(const struct etf_term *t, const char *name)
{
    return t->kind == ETF_ATOM && bytes_eq(t->bytes, bytes_str(name));
}

/* ------------------------------------------------------------------------------- writing --- */

const char *etf_atom_name(enum etf_atom atom)
{
    CHECK(atom < ETF_ATOM_COUNT);
    return atom_names[atom];
}

struct etf_writer etf_writer_of(uint8_t *to, uint64_t room)
{
    return (struct etf_writer){.to = to, .room = to ? room : 0};
}

bool etf_fits(const struct etf_writer *w)
{
    return w->size <= w->room;
}

static void put(struct etf_writer *w, const void *p, uint32_t n)
{
    if (n > 0 && w->size + n <= w->room)
        memcpy(w->to + w->size, p, n);
    w->size += n;
}

static void put_tag(struct etf_writer *w, enum tag tag)
{
    uint8_t b = (uint8_t)tag;

    put(w, &b, 1);
}

static void put_tag_u32(struct etf_writer *w, enum tag tag, uint32_t v)
{
    uint8_t b[5] = {(uint8_t)tag};

    put_be32(b + 1, v);
    put(w, b, sizeof(b));
}

void etf_put_version(struct etf_writer *w)
{
    uint8_t b = ETF_VERSION;

    put(w, &b, 1);
}

void etf_put_uint(struct etf_writer *w, uint64_t v)
{
    uint8_t b[11] = {TAG_SMALL_BIG};
    uint8_t n = 0;

    if (v <= UINT8_MAX) {
        uint8_t small[2] = {TAG_SMALL_INTEGER, (uint8_t)v};

        put(w, small, sizeof(small));
        return;
    }
    if (v <= INT32_MAX) {
        put_tag_u32(w, TAG_INTEGER, (uint32_t)v);
        return;
    }
    for (; v > 0; v >>= 8) /* b: tag, n, sign 0, little-endian digits */
        b[3 + n++] = (uint8_t)v;
    b[1] = n;
    put(w, b, 3u + n);
}

void etf_put_atom(struct etf_writer *w, enum etf_atom atom)
{
    const char *name = etf_atom_name(atom);
    uint8_t n = (uint8_t)strlen(name);

    put_tag(w, TAG_SMALL_ATOM_UTF8);
    put(w, &n, 1);
    put(w, name, n);
}

void etf_put_bool(struct etf_writer *w, bool v)
{
    etf_put_atom(w, v ? ETF_A_TRUE : ETF_A_FALSE);
}

void etf_put_binary(struct etf_writer *w, struct bytes b)
{
    etf_put_binary_head(w, b.n);
    put(w, b.p, b.n);
}

void etf_put_binary_head(struct etf_writer *w, uint32_t n)
{
    put_tag_u32(w, TAG_BINARY, n);
}

void etf_put_tuple(struct etf_writer *w, uint8_t count)
{
    uint8_t b[2] = {TAG_SMALL_TUPLE, count};

    put(w, b, sizeof(b));
}

void etf_put_list(struct etf_writer *w, uint32_t count)
{
    CHECK(count > 0);
    put_tag_u32(w, TAG_LIST, count);
}

void etf_put_nil(struct etf_writer *w)
{
    put_tag(w, TAG_NIL);
}

void etf_put_map(struct etf_writer *w, uint32_t pairs)
{
    put_tag_u32(w, TAG_MAP, pairs);
}
