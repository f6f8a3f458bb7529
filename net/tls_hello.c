/* net/tls_hello.c -- the fields of a ClientHello, one byte after the other (RFC 8446, 4.1.2).
 *
 * Only lengths are followed, and all of them: if this reader and the library's could disagree on
 * where a field ends, a list could be hidden from this one.
 */
#include "net/tls_hello.h"

#define RECORD_HEADER_BYTES 5u
#define RECORD_HANDSHAKE 22
#define MESSAGE_CLIENT_HELLO 1u
#define EXTENSION_NAME 0u
#define EXTENSION_ALPN 16u
/* legacy_version and random stand in front of the first field that has a length. */
#define FIXED_BYTES 34u

enum hello_field {
    FIELD_TYPE,
    FIELD_LENGTH,
    FIELD_FIXED,
    FIELD_SESSION_LENGTH,
    FIELD_SESSION,
    FIELD_CIPHERS_LENGTH,
    FIELD_CIPHERS,
    FIELD_COMPRESSION_LENGTH,
    FIELD_COMPRESSION,
    FIELD_LIST_LENGTH,
    FIELD_EXTENSION,
    FIELD_EXTENSION_LENGTH,
    FIELD_EXTENSION_BODY,
    FIELD_ALPN_LENGTH,
    FIELD_NAME_LENGTH,
    FIELD_NAME,
};

/* Bytes of the fields that have a fixed size; the others take theirs from the number before. */
static const uint8_t field_bytes[] = {
    [FIELD_TYPE] = 1,           [FIELD_LENGTH] = 3,         [FIELD_FIXED] = FIXED_BYTES,
    [FIELD_SESSION_LENGTH] = 1, [FIELD_CIPHERS_LENGTH] = 2, [FIELD_COMPRESSION_LENGTH] = 1,
    [FIELD_LIST_LENGTH] = 2,    [FIELD_EXTENSION] = 2,      [FIELD_EXTENSION_LENGTH] = 2,
    [FIELD_ALPN_LENGTH] = 2,    [FIELD_NAME_LENGTH] = 1,
};

void tls_hello_init(struct tls_hello *h)
{
    *h = (struct tls_hello){.field = FIELD_TYPE, .field_left = field_bytes[FIELD_TYPE]};
}

/* Goes to a field whose size is known; one of no bytes has ended already. */
static void enter(struct tls_hello *h, enum hello_field field, uint32_t bytes)
{
    h->field = (uint8_t)field;
    h->field_left = bytes;
    h->number = 0;
}

static void enter_fixed(struct tls_hello *h, enum hello_field field)
{
    enter(h, field, field_bytes[field]);
}

/* Behind an extension or in front of the first. */
static enum err next_extension(struct tls_hello *h)
{
    if (h->list_left == 0) {
        h->is_whole = true;
        return OK;
    }
    if (h->list_left < 4)
        return ERR_PEER;
    h->list_left -= 4;
    enter_fixed(h, FIELD_EXTENSION);
    return OK;
}

static enum err list_begins(struct tls_hello *h)
{
    if (h->number != h->hello_left)
        return ERR_PEER;
    h->list_left = h->number;
    return next_extension(h);
}

static enum err extension_begins(struct tls_hello *h)
{
    if (h->number > h->list_left)
        return ERR_PEER;
    h->list_left -= h->number;
    if (!h->is_alpn) {
        enter(h, FIELD_EXTENSION_BODY, h->number);
        return OK;
    }
    if (h->number < 2)
        return ERR_PEER;
    h->alpn_left = h->number - 2;
    enter_fixed(h, FIELD_ALPN_LENGTH);
    return OK;
}

/* A name of the list begins with its length; it must end inside the list. */
static enum err name_begins(struct tls_hello *h)
{
    h->alpn_left -= 1;
    if (h->number == 0 || h->number > h->alpn_left)
        return ERR_PEER;
    h->alpn_left -= h->number;
    enter(h, FIELD_NAME, h->number);
    return OK;
}

static enum err name_ended(struct tls_hello *h)
{
    if (h->alpn_left == 0)
        return next_extension(h);
    enter_fixed(h, FIELD_NAME_LENGTH);
    return OK;
}

/* A hello of old may end behind its compression methods. */
static enum err compression_ended(struct tls_hello *h)
{
    if (h->hello_left == 0)
        h->is_whole = true;
    else
        enter_fixed(h, FIELD_LIST_LENGTH);
    return OK;
}

/* The field that was read has ended, `number` is its value if it is a short one. */
static enum err field_ended(struct tls_hello *h)
{
    switch ((enum hello_field)h->field) {
    case FIELD_TYPE:
        if (h->number != MESSAGE_CLIENT_HELLO)
            return ERR_PEER;
        enter_fixed(h, FIELD_LENGTH);
        break;
    case FIELD_LENGTH:
        h->hello_left = h->number;
        enter_fixed(h, FIELD_FIXED);
        break;
    case FIELD_FIXED:
        enter_fixed(h, FIELD_SESSION_LENGTH);
        break;
    case FIELD_SESSION_LENGTH:
        enter(h, FIELD_SESSION, h->number);
        break;
    case FIELD_SESSION:
        enter_fixed(h, FIELD_CIPHERS_LENGTH);
        break;
    case FIELD_CIPHERS_LENGTH:
        enter(h, FIELD_CIPHERS, h->number);
        break;
    case FIELD_CIPHERS:
        enter_fixed(h, FIELD_COMPRESSION_LENGTH);
        break;
    case FIELD_COMPRESSION_LENGTH:
        enter(h, FIELD_COMPRESSION, h->number);
        break;
    case FIELD_COMPRESSION:
        return compression_ended(h);
    case FIELD_LIST_LENGTH:
        return list_begins(h);
    case FIELD_EXTENSION:
        h->is_alpn = h->number == EXTENSION_ALPN;
        h->is_name = h->number == EXTENSION_NAME;
        if (h->is_name)
            h->name_count = 0;
        enter_fixed(h, FIELD_EXTENSION_LENGTH);
        break;
    case FIELD_EXTENSION_LENGTH:
        return extension_begins(h);
    case FIELD_EXTENSION_BODY:
        return next_extension(h);
    case FIELD_ALPN_LENGTH:
        if (h->number != h->alpn_left || h->number == 0)
            return ERR_PEER;
        enter_fixed(h, FIELD_NAME_LENGTH);
        break;
    case FIELD_NAME_LENGTH:
        return name_begins(h);
    case FIELD_NAME:
        return name_ended(h);
    }
    return OK;
}

/* One byte of the message. */
static enum err look_at(struct tls_hello *h, uint8_t byte)
{
    enum err err = OK;

    if (h->field > FIELD_LENGTH) {
        if (h->hello_left == 0)
            return ERR_PEER;
        h->hello_left -= 1;
    }
    if (h->field == FIELD_EXTENSION_BODY && h->is_name && h->name_count < sizeof(h->name))
        h->name[h->name_count++] = byte;
    h->number = h->number << 8 | byte;
    h->field_left -= 1;
    while (err == OK && !h->is_whole && h->field_left == 0)
        err = field_ended(h);
    return err;
}

/* One byte of a record's header. */
static void look_at_header(struct tls_hello *h, uint8_t byte)
{
    if (h->header_count == 0)
        h->record_type = byte;
    if (h->header_count >= 3)
        h->record_left = h->record_left << 8 | byte;
    h->header_count += 1;
    if (h->header_count == RECORD_HEADER_BYTES && h->record_left == 0)
        h->header_count = 0;
}

/* One byte of a record. */
static enum err look_at_record(struct tls_hello *h, uint8_t byte)
{
    enum err err = OK;

    h->record_left -= 1;
    if (h->record_left == 0)
        h->header_count = 0;
    if (h->record_type == RECORD_HANDSHAKE)
        err = look_at(h, byte);
    return err == OK && h->is_whole && h->record_left > 0 ? ERR_PEER : err;
}

enum err tls_hello_look(struct tls_hello *h, struct bytes input)
{
    enum err err = OK;

    for (uint32_t i = 0; err == OK && i < input.n && !h->is_whole; i++) {
        if (h->header_count < RECORD_HEADER_BYTES)
            look_at_header(h, input.p[i]);
        else
            err = look_at_record(h, input.p[i]);
    }
    return err;
}

struct bytes tls_hello_name(const struct tls_hello *h)
{
    uint32_t n;

    if (!h->is_whole || h->name_count < 6 || h->name[2] != 0) /* a list of one host name */
        return bytes_of(NULL, 0);
    n = get_be16(h->name + 3);
    if (n + 3 != get_be16(h->name) || n + 5 != h->name_count)
        return bytes_of(NULL, 0);
    for (uint32_t i = 0; i < n; i++) {
        if (h->name[5 + i] <= ' ' || h->name[5 + i] >= 0x7f)
            return bytes_of(NULL, 0);
    }
    return bytes_of(h->name + 5, n);
}
