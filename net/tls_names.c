/* net/tls_names.c -- the subject and the alternative names of a certificate.
 *
 * Texts are put twice, once to count and once to write, so they stand in one block. The subject is
 * written as OpenSSL's XN_FLAG_RFC2253 does, because that is what mosquitto calls the user: last
 * part first, everything but printable ASCII as \XX.
 */
#include "net/tls_names.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <strings.h>

#include "core/mqtt/topic.h"
#include "net/der.h"

/* Text that is counted (p is NULL) or written. */
struct text {
    char *p;
    uint32_t n;
};

struct tls_names {
    uint32_t common_at; /* in text; 0: there is none */
    uint32_t subject_at;
    uint32_t alternatives_at; /* each a byte 'd', 'e' or 'u' and a text; then a NUL */
    char text[];
};

static const struct {
    const char *oid; /* none has a zero in it */
    const char *name;
} known_parts[] = {
    {"\x55\x04\x03", "CN"},
    {"\x55\x04\x04", "SN"},
    {"\x55\x04\x05", "serialNumber"},
    {"\x55\x04\x06", "C"},
    {"\x55\x04\x07", "L"},
    {"\x55\x04\x08", "ST"},
    {"\x55\x04\x09", "street"},
    {"\x55\x04\x0a", "O"},
    {"\x55\x04\x0b", "OU"},
    {"\x55\x04\x0c", "title"},
    {"\x55\x04\x0d", "description"},
    {"\x55\x04\x11", "postalCode"},
    {"\x55\x04\x29", "name"},
    {"\x55\x04\x2a", "GN"},
    {"\x55\x04\x2b", "initials"},
    {"\x55\x04\x2e", "dnQualifier"},
    {"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x01", "emailAddress"},
    {"\x09\x92\x26\x89\x93\xf2\x2c\x64\x01\x01", "UID"},
    {"\x09\x92\x26\x89\x93\xf2\x2c\x64\x01\x19", "DC"},
};

#define OID_COMMON_NAME BYTES_LIT("\x55\x04\x03")

/* ---- texts ---- */

static void put(struct text *t, uint8_t byte)
{
    if (t->p)
        t->p[t->n] = (char)byte;
    t->n += 1;
}

static void put_text(struct text *t, const char *s)
{
    for (; *s; s++)
        put(t, (uint8_t)*s);
}

static void put_hex(struct text *t, uint8_t byte)
{
    put(t, (uint8_t) "0123456789ABCDEF"[byte >> 4]);
    put(t, (uint8_t) "0123456789ABCDEF"[byte & 15]);
}

static bool is_control(uint32_t code)
{
    return code < 0x20 || code == 0x7f;
}

/* Bytes of one character of this kind of string, 0: it is no kind of text. */
static uint32_t character_bytes(uint8_t tag)
{
    switch (tag) {
    case DER_UTF8:
    case DER_NUMERIC:
    case DER_PRINTABLE:
    case DER_T61:
    case DER_IA5:
    case DER_VISIBLE:
        return 1;
    case DER_BMP:
        return 2;
    case DER_UNIVERSAL:
        return 4;
    default:
        return 0;
    }
}

/* A character as UTF-8 in up to 4 bytes; returns their number, 0: it is none. */
static uint32_t utf8_encode(uint32_t code, uint8_t to[4])
{
    if (code < 0x80) {
        to[0] = (uint8_t)code;
        return 1;
    }
    if (code < 0x800) {
        to[0] = (uint8_t)(0xc0 | code >> 6);
        to[1] = (uint8_t)(0x80 | (code & 0x3f));
        return 2;
    }
    if (code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
        return 0;
    if (code < 0x10000) {
        to[0] = (uint8_t)(0xe0 | code >> 12);
        to[1] = (uint8_t)(0x80 | (code >> 6 & 0x3f));
        to[2] = (uint8_t)(0x80 | (code & 0x3f));
        return 3;
    }
    to[0] = (uint8_t)(0xf0 | code >> 18);
    to[1] = (uint8_t)(0x80 | (code >> 12 & 0x3f));
    to[2] = (uint8_t)(0x80 | (code >> 6 & 0x3f));
    to[3] = (uint8_t)(0x80 | (code & 0x3f));
    return 4;
}

/* The next character of a string as UTF-8, taken from its front; a UTF-8 string by single bytes. */
static uint32_t next_character(uint8_t tag, struct bytes *s, uint8_t to[4])
{
    uint32_t width = character_bytes(tag);
    uint32_t code = 0;

    if (width == 0 || s->n < width)
        return 0;
    for (uint32_t i = 0; i < width; i++)
        code = code << 8 | s->p[i];
    s->p += width;
    s->n -= width;
    if (tag != DER_T61 && width == 1) {
        to[0] = (uint8_t)code;
        return 1;
    }
    return utf8_encode(code, to);
}

/* Whether it can be read to its end as text without control characters. */
static bool is_name(uint8_t tag, struct bytes s)
{
    uint8_t utf8[4];

    if (s.n == 0 || (tag != DER_T61 && character_bytes(tag) == 1 && !utf8_valid(s)))
        return false;
    while (s.n > 0) {
        if (next_character(tag, &s, utf8) == 0 || is_control(utf8[0]))
            return false;
    }
    return true;
}

/* A name as it is, with its NUL. */
static void put_name(struct text *t, uint8_t tag, struct bytes s)
{
    uint8_t utf8[4];

    while (s.n > 0) {
        uint32_t n = next_character(tag, &s, utf8);

        for (uint32_t i = 0; i < n; i++)
            put(t, utf8[i]);
    }
    put(t, 0);
}

static void put_escaped(struct text *t, uint8_t byte, bool is_first, bool is_last)
{
    if (is_control(byte) || byte >= 0x80) {
        put(t, '\\');
        put_hex(t, byte);
        return;
    }
    if (strchr(",+\"\\<>;", byte) || (is_first && (byte == '#' || byte == ' ')) ||
        (is_last && byte == ' '))
        put(t, '\\');
    put(t, byte);
}

/* Whether it can be read to its end as text. */
static bool is_text(struct der value)
{
    uint8_t utf8[4];

    if (character_bytes(value.tag) == 0)
        return false;
    while (value.body.n > 0) {
        if (next_character(value.tag, &value.body, utf8) == 0)
            return false;
    }
    return true;
}

static void put_value(struct text *t, struct der value, bool is_known)
{
    bool is_first = true;
    uint8_t utf8[4];

    if (!is_known || !is_text(value)) {
        put(t, '#');
        for (uint32_t i = 0; i < value.whole.n; i++)
            put_hex(t, value.whole.p[i]);
        return;
    }
    while (value.body.n > 0) {
        uint32_t n = next_character(value.tag, &value.body, utf8);

        for (uint32_t i = 0; i < n; i++)
            put_escaped(t, utf8[i], is_first, value.body.n == 0);
        is_first = false;
    }
}

static void put_number(struct text *t, uint64_t number)
{
    if (number >= 10)
        put_number(t, number / 10);
    put(t, (uint8_t)('0' + number % 10));
}

/* 1.2.840.113549 */
static void put_oid(struct text *t, struct bytes oid)
{
    uint64_t number = 0;
    bool is_first = true;

    for (uint32_t i = 0; i < oid.n; i++) {
        number = (number & (UINT64_MAX >> 8)) << 7 | (oid.p[i] & 0x7f);
        if (oid.p[i] & 0x80)
            continue;
        if (is_first) {
            uint64_t top = number < 80 ? number / 40 : 2;

            put_number(t, top);
            number -= top * 40;
        }
        put(t, '.');
        put_number(t, number);
        number = 0;
        is_first = false;
    }
}

static void put_part(struct text *t, const struct subject_part *part)
{
    const char *name = NULL;

    for (size_t i = 0; i < sizeof(known_parts) / sizeof(known_parts[0]); i++) {
        if (bytes_eq(part->oid, bytes_str(known_parts[i].oid)))
            name = known_parts[i].name;
    }
    if (name)
        put_text(t, name);
    else
        put_oid(t, part->oid);
    put(t, '=');
    put_value(t, part->value, name != NULL);
}

static void put_subject(struct text *t, const struct certificate *c)
{
    for (uint32_t i = c->part_count; i > 0; i--) {
        if (i < c->part_count)
            put(t, c->parts[i].set == c->parts[i - 1].set ? '+' : ',');
        put_part(t, &c->parts[i - 1]);
    }
    put(t, 0);
}

/* The kind of an alternative name as we keep it, 0: not kept. */
static uint8_t kind_of_tag(uint8_t tag)
{
    switch (tag) {
    case DER_SAN_DNS:
        return 'd';
    case DER_SAN_EMAIL:
        return 'e';
    case DER_SAN_URI:
        return 'u';
    default:
        return 0;
    }
}

static void put_alternatives(struct text *t, const struct certificate *c)
{
    struct bytes rest = c->alternatives;
    struct der name;

    while (der_next(&rest, &name)) {
        uint8_t kind = kind_of_tag(name.tag);

        if (kind == 0 || !is_name(DER_IA5, name.body))
            continue;
        put(t, kind);
        put_name(t, DER_IA5, name.body);
    }
    put(t, 0);
}

/* The first common name, as mosquitto has it. */
static const struct subject_part *common_name(const struct certificate *c)
{
    for (uint32_t i = 0; i < c->part_count; i++) {
        if (bytes_eq(c->parts[i].oid, OID_COMMON_NAME))
            return &c->parts[i];
    }
    return NULL;
}

/* Puts all texts; where they begin is left in `names`. */
static void put_all(struct text *t, const struct certificate *c, struct tls_names *names)
{
    const struct subject_part *common = common_name(c);

    put(t, 0); /* so that no text stands at 0 */
    names->subject_at = t->n;
    put_subject(t, c);
    names->common_at = 0;
    if (common && is_name(common->value.tag, common->value.body)) {
        names->common_at = t->n;
        put_name(t, common->value.tag, common->value.body);
    }
    names->alternatives_at = t->n;
    put_alternatives(t, c);
}

enum err tls_names_read(struct bytes der, struct tls_names **names)
{
    struct certificate c;
    struct tls_names at;
    struct text text = {NULL, 0};

    *names = NULL;
    if (!der_read_certificate(&c, der))
        return ERR_PEER;
    put_all(&text, &c, &at);
    *names = malloc(sizeof(**names) + text.n);
    if (!*names)
        return ERR_MEMORY;
    text = (struct text){(*names)->text, 0};
    put_all(&text, &c, *names);
    return OK;
}

const char *tls_names_common(const struct tls_names *names)
{
    return names->common_at ? names->text + names->common_at : NULL;
}

const char *tls_names_subject(const struct tls_names *names)
{
    return names->text + names->subject_at;
}

const char *tls_names_alternative(const struct tls_names *names, enum tls_name kind, uint32_t idx)
{
    const char *p = names->text + names->alternatives_at;

    for (; *p; p += strlen(p) + 1) {
        if (*p == "deu"[kind] && idx-- == 0)
            return p + 1;
    }
    return NULL;
}

/* ---- is it for this host? ---- */

static bool equal_ignoring_case(struct bytes a, struct bytes b)
{
    return a.n == b.n && strncasecmp((const char *)a.p, (const char *)b.p, a.n) == 0;
}

static struct bytes behind_label(struct bytes name)
{
    const uint8_t *dot = name.n ? memchr(name.p, '.', name.n) : NULL;

    return dot ? bytes_of(dot, (size_t)(name.p + name.n - dot)) : bytes_of(NULL, 0);
}

/* A name of a certificate against the name asked for. `*.example.com` stands for one label, and
 * there must be two behind it. */
static bool dns_matches(struct bytes pattern, struct bytes host)
{
    struct bytes rest;

    if (pattern.n == 0 || memchr(pattern.p, 0, pattern.n))
        return false;
    if (equal_ignoring_case(pattern, host))
        return true;
    if (!bytes_begin(pattern, BYTES_LIT("*.")))
        return false;
    pattern = behind_label(pattern);
    rest = behind_label(host);
    return rest.n > 0 && rest.n < host.n && pattern.n > 0 &&
           memchr(pattern.p + 1, '.', pattern.n - 1) && equal_ignoring_case(pattern, rest);
}

bool tls_names_match(struct bytes der, const char *host)
{
    struct bytes name = bytes_str(host);
    struct bytes rest;
    struct certificate c;
    struct der one;
    uint8_t ip[16];
    uint32_t ip_count = 0;
    bool has_any = false;
    const struct subject_part *common;

    if (!der_read_certificate(&c, der))
        return false;
    if (inet_pton(AF_INET, host, ip) == 1)
        ip_count = 4;
    else if (inet_pton(AF_INET6, host, ip) == 1)
        ip_count = 16;
    else if (name.n > 1 && name.p[name.n - 1] == '.')
        name.n -= 1;
    for (rest = c.alternatives; der_next(&rest, &one);) {
        if (one.tag == DER_SAN_IP && ip_count > 0 && bytes_eq(one.body, bytes_of(ip, ip_count)))
            return true;
        if (one.tag == DER_SAN_DNS && ip_count == 0 && dns_matches(one.body, name))
            return true;
        has_any |= one.tag == DER_SAN_IP || one.tag == DER_SAN_DNS;
    }
    common = common_name(&c);
    if (has_any || !common || character_bytes(common->value.tag) != 1)
        return false;
    return ip_count > 0 ? equal_ignoring_case(common->value.body, name)
                        : dns_matches(common->value.body, name);
}

/* ---- how long? ---- */

enum err tls_names_expiry(struct bytes der, int64_t *seconds)
{
    struct certificate c;
    struct der before, after;

    if (!der_read_certificate(&c, der) || !der_next(&c.validity, &before) ||
        !der_next(&c.validity, &after) || !der_time(after, seconds))
        return ERR_PEER;
    return OK;
}
