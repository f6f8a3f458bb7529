/* core/policy/scram.c -- the server's side of a SCRAM exchange.
 *
 * One block of memory: the fields, then the text of the AuthMessage as far as it is known
 * (client-first-message-bare "," server-first-message), then the user name, unescaped.
 */
#include "core/policy/scram.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/base64.h"
#include "core/base/check.h"
#include "core/mqtt/topic.h"

/* "i=" with its commas and digits, and the letters of the others. */
#define FIRST_SPARE_BYTES 32u
#define GS2_TEXT_BYTES BASE64_TEXT_BYTES(SCRAM_MESSAGE_BYTES_MAX)

struct scram {
    enum scram_kind kind;
    bool is_user;
    bool is_over;
    uint64_t credential;
    uint8_t stored_key[SCRAM_KEY_BYTES_MAX];
    uint8_t server_key[SCRAM_KEY_BYTES_MAX];
    char last[2 + BASE64_TEXT_BYTES(SCRAM_KEY_BYTES_MAX)]; /* v=... */
    uint32_t last_count;
    struct bytes bare;   /* client-first-message-bare */
    struct bytes header; /* gs2-header */
    struct bytes first;  /* server-first-message */
    struct bytes nonce;  /* of both; in `first` */
    struct bytes user;
    size_t block_bytes;
    uint8_t text[];
};

/* ---- the grammar of RFC 5802, section 7 ---- */

/* Up to the next comma, taken off `*rest` with it. *more: there was one. */
static struct bytes take_field(struct bytes *rest, bool *more)
{
    const uint8_t *comma = rest->n ? memchr(rest->p, ',', rest->n) : NULL;
    struct bytes head = {rest->p, comma ? (uint32_t)(comma - rest->p) : rest->n};

    *more = comma != NULL;
    *rest = comma ? bytes_of(comma + 1, rest->n - head.n - 1) : (struct bytes){0};
    return head;
}

/* The value of attribute `name`; false: the field is another one, or has no value. */
static bool value_of(struct bytes field, char name, struct bytes *value)
{
    if (field.n < 3 || field.p[0] != (uint8_t)name || field.p[1] != '=')
        return false;
    *value = bytes_of(field.p + 2, field.n - 2);
    return true;
}

/* printable: %x21-2B / %x2D-7E */
static bool is_printable(struct bytes b)
{
    for (uint32_t i = 0; i < b.n; i++) {
        if (b.p[i] < 0x21 || b.p[i] > 0x7e || b.p[i] == ',')
            return false;
    }
    return b.n > 0;
}

/* attr-val of an extension: a letter, "=", text. One that must be understood is none of ours. */
static bool is_extension(struct bytes field)
{
    if (field.n < 3 || field.p[1] != '=' || field.p[0] == 'm')
        return false;
    if ((field.p[0] | 0x20) < 'a' || (field.p[0] | 0x20) > 'z')
        return false;
    return utf8_valid(bytes_of(field.p + 2, field.n - 2));
}

/* saslname: "=2C" is a comma, "=3D" an equals sign, and nothing else begins with one. Returns the
 * bytes written to `to`, 0: it is no name. */
static uint32_t unescape(struct bytes name, uint8_t *to)
{
    uint32_t n = 0;

    if (!utf8_valid(name))
        return 0;
    for (uint32_t i = 0; i < name.n; i++) {
        struct bytes rest = bytes_of(name.p + i, name.n - i);

        if (name.p[i] != '=') {
            to[n++] = name.p[i];
            continue;
        }
        if (!bytes_begin(rest, BYTES_LIT("=2C")) && !bytes_begin(rest, BYTES_LIT("=3D")))
            return 0;
        to[n++] = rest.p[1] == '2' ? ',' : '=';
        i += 2;
    }
    return n <= SCRAM_NAME_BYTES_MAX ? n : 0;
}

/* What the first message says; views into it, `authzid` and `user` still escaped. */
struct opening {
    struct bytes header, bare, authzid, user, nonce;
};

/* gs2-header: flag "," [ "a=" saslname ] "," */
static bool read_header(struct bytes *rest, struct opening *o)
{
    const uint8_t *start = rest->p;
    bool more;
    struct bytes flag = take_field(rest, &more);
    struct bytes authzid;

    if (!more || flag.n != 1 || (flag.p[0] != 'n' && flag.p[0] != 'y'))
        return false;
    authzid = take_field(rest, &more);
    if (!more || (authzid.n > 0 && !value_of(authzid, 'a', &o->authzid)))
        return false;
    o->header = bytes_of(start, (size_t)(rest->p - start));
    return true;
}

static bool read_extensions(struct bytes rest, bool more)
{
    while (more) {
        if (!is_extension(take_field(&rest, &more)))
            return false;
    }
    return true;
}

static bool read_opening(struct bytes message, struct opening *o)
{
    struct bytes rest = message;
    bool more;

    memset(o, 0, sizeof(*o));
    if (message.n > SCRAM_MESSAGE_BYTES_MAX || !read_header(&rest, o))
        return false;
    o->bare = rest;
    if (!value_of(take_field(&rest, &more), 'n', &o->user) || !more)
        return false;
    if (!value_of(take_field(&rest, &more), 'r', &o->nonce) || !is_printable(o->nonce) ||
        o->nonce.n > SCRAM_NONCE_BYTES_MAX)
        return false;
    return read_extensions(rest, more);
}

/* ---- the first message ---- */

/* Whether there is no other authorization identity than the user himself. `room` is for a name. */
static bool is_himself(const struct opening *o, struct bytes user, uint8_t *room)
{
    return o->authzid.n == 0 || bytes_eq(bytes_of(room, unescape(o->authzid, room)), user);
}

/* Writes the server's first message behind the client's. */
static void put_first(struct scram *x, const struct opening *o, struct bytes nonce,
                      const struct scram_verifier *v, uint8_t *to)
{
    uint8_t *start = to;
    uint8_t *nonce_start;

    to = bytes_put(to, BYTES_LIT("r="));
    nonce_start = to;
    to = bytes_put(to, o->nonce);
    to = bytes_put(to, nonce);
    x->nonce = bytes_of(nonce_start, (size_t)(to - nonce_start));
    to = bytes_put(to, BYTES_LIT(",s="));
    to = (uint8_t *)base64_encode(v->salt, BASE64_PADDED, (char *)to);
    to += sprintf((char *)to, ",i=%" PRIu32, v->iterations);
    x->first = bytes_of(start, (size_t)(to - start));
    CHECK(x->first.p + x->first.n < x->text + x->block_bytes);
}

/* Room for what an exchange keeps: both first messages and the name. */
static struct scram *make(const struct opening *o, struct bytes nonce)
{
    size_t bytes = (size_t)o->header.n + o->bare.n + o->user.n + o->authzid.n + o->nonce.n +
                   nonce.n + BASE64_TEXT_BYTES(SCRAM_SALT_BYTES_MAX) + FIRST_SPARE_BYTES;
    struct scram *x = calloc(1, sizeof(*x) + bytes);

    if (x)
        x->block_bytes = bytes;
    return x;
}

/* Copies what is needed of the client's message; returns where there is room, NULL: a bad name. */
static uint8_t *take_opening(struct scram *x, const struct opening *o)
{
    uint8_t *to = x->text;
    uint32_t n;

    x->header = bytes_of(to, o->header.n);
    to = bytes_put(to, o->header);
    x->bare = bytes_of(to, o->bare.n);
    to = bytes_put(to, o->bare);
    n = unescape(o->user, to);
    x->user = bytes_of(to, n);
    to += n;
    return n > 0 && is_himself(o, x->user, to) ? to : NULL;
}

enum err scram_begin(enum scram_kind kind, struct bytes message, struct bytes nonce,
                     const struct scram_users *users, const struct scram_crypt *crypt,
                     struct scram **out)
{
    struct scram_entry entry;
    struct opening o;
    struct scram *x;
    uint8_t *to;
    enum err err;

    *out = NULL;
    CHECK(is_printable(nonce));
    if (!read_opening(message, &o))
        return ERR_PEER;
    x = make(&o, nonce);
    if (!x)
        return ERR_MEMORY;
    x->kind = kind;
    to = take_opening(x, &o);
    err = to ? scram_users_find(users, kind, x->user, crypt, &entry) : ERR_PEER;
    if (err != OK) {
        scram_end(x);
        return err;
    }
    x->is_user = entry.is_user;
    x->credential = entry.credential;
    (void)bytes_put(x->stored_key, entry.v.stored_key);
    (void)bytes_put(x->server_key, entry.v.server_key);
    put_first(x, &o, nonce, &entry.v, to);
    explicit_bzero(&entry, sizeof(entry));
    *out = x;
    return OK;
}

/* ---- the last message ---- */

struct closing {
    struct bytes without_proof;
    uint8_t proof[SCRAM_KEY_BYTES_MAX];
};

/* channel-binding: the header of the first message again, in base64. */
static bool is_same_header(struct bytes text, struct bytes header)
{
    uint8_t said[SCRAM_MESSAGE_BYTES_MAX];
    uint32_t n;

    return text.n <= GS2_TEXT_BYTES &&
           base64_decode(text, BASE64_PADDED, said, sizeof(said), &n) == OK &&
           bytes_eq(bytes_of(said, n), header);
}

/* The fields before the proof, which is the last one. */
static bool read_closing(const struct scram *x, struct bytes message, struct closing *c)
{
    struct bytes rest = message, field, value;
    uint32_t n, count = scram_hash_bytes(x->kind);
    bool more;

    if (message.n > SCRAM_MESSAGE_BYTES_MAX)
        return false;
    if (!value_of(take_field(&rest, &more), 'c', &value) || !more ||
        !is_same_header(value, x->header))
        return false;
    if (!value_of(take_field(&rest, &more), 'r', &value) || !more || !bytes_eq(value, x->nonce))
        return false;
    for (field = take_field(&rest, &more); more; field = take_field(&rest, &more)) {
        if (!is_extension(field) || field.p[0] == 'p')
            return false;
    }
    if (!value_of(field, 'p', &value))
        return false;
    c->without_proof = bytes_of(message.p, (size_t)(field.p - message.p) - 1);
    return base64_decode(value, BASE64_PADDED, c->proof, sizeof(c->proof), &n) == OK && n == count;
}

/* RFC 5802, section 3: the proof gives the ClientKey back, whose hash we know. */
static enum err check_proof(const struct scram *x, const struct closing *c,
                            const struct bytes whole[5], const struct scram_crypt *crypt,
                            bool *matches)
{
    const struct scram_functions *f = &crypt->of[x->kind];
    uint32_t n = scram_hash_bytes(x->kind);
    uint8_t key[SCRAM_KEY_BYTES_MAX], hashed[SCRAM_KEY_BYTES_MAX];
    struct bytes made = bytes_of(key, n);
    enum err err = f->hmac(bytes_of(x->stored_key, n), whole, 5, key);

    *matches = false;
    for (uint32_t i = 0; i < n; i++)
        key[i] = (uint8_t)(key[i] ^ c->proof[i]);
    if (err == OK)
        err = f->hash(&made, 1, hashed);
    if (err == OK)
        *matches = crypt->equal(hashed, x->stored_key, n) && x->is_user;
    explicit_bzero(key, sizeof(key));
    explicit_bzero(hashed, sizeof(hashed));
    return err;
}

enum err scram_prove(struct scram *x, struct bytes message, const struct scram_crypt *crypt)
{
    const struct bytes comma = BYTES_LIT(",");
    uint8_t signature[SCRAM_KEY_BYTES_MAX];
    uint32_t n = scram_hash_bytes(x->kind);
    struct bytes whole[] = {x->bare, comma, x->first, comma, {0}}; /* AuthMessage */
    struct closing c;
    bool matches;
    enum err err;

    CHECK(!x->is_over);
    x->is_over = true;
    if (!read_closing(x, message, &c))
        return ERR_PEER;
    whole[4] = c.without_proof;
    err = check_proof(x, &c, whole, crypt, &matches);
    if (err == OK)
        err = crypt->of[x->kind].hmac(bytes_of(x->server_key, n), whole, 5, signature);
    if (err != OK || !matches)
        return err == OK ? ERR_PEER : err;
    memcpy(x->last, "v=", 2);
    x->last_count =
        (uint32_t)(base64_encode(bytes_of(signature, n), BASE64_PADDED, x->last + 2) - x->last);
    return OK;
}

struct bytes scram_says(const struct scram *x)
{
    return x->is_over ? bytes_of(x->last, x->last_count) : x->first;
}

struct bytes scram_user(const struct scram *x)
{
    return x->user;
}

uint64_t scram_credential(const struct scram *x)
{
    return x->credential;
}

uint32_t scram_bytes(const struct scram *x)
{
    return x ? (uint32_t)(sizeof(*x) + x->block_bytes) : 0;
}

void scram_end(struct scram *x)
{
    if (!x)
        return;
    explicit_bzero(x, sizeof(*x) + x->block_bytes);
    free(x);
}
