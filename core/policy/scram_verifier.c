/* core/policy/scram_verifier.c -- what a server keeps of a password for SCRAM. */
#include "core/policy/scram_verifier.h"

#include <inttypes.h>
#include <stdio.h>

#include "core/base/base64.h"
#include "core/base/check.h"

static const struct {
    const char *method;
    uint32_t hash_bytes;
} kinds[SCRAM_KIND_COUNT] = {
    [SCRAM_SHA256] = {"SCRAM-SHA-256", 32},
    [SCRAM_SHA512] = {"SCRAM-SHA-512", 64},
};

struct bytes scram_method(enum scram_kind kind)
{
    return bytes_str(kinds[kind].method);
}

uint32_t scram_hash_bytes(enum scram_kind kind)
{
    return kinds[kind].hash_bytes;
}

bool scram_kind_of(struct bytes method, enum scram_kind *kind)
{
    for (int k = 0; k < SCRAM_KIND_COUNT; k++) {
        if (!bytes_eq(method, scram_method((enum scram_kind)k)))
            continue;
        *kind = (enum scram_kind)k;
        return true;
    }
    return false;
}

/* ---- reading ---- */

/* The bytes before `c`, taken off `*rest` with it; false: there is none. */
static bool take_until(struct bytes *rest, uint8_t c, struct bytes *head)
{
    const uint8_t *end = rest->n ? memchr(rest->p, c, rest->n) : NULL;

    if (!end)
        return false;
    *head = bytes_of(rest->p, (size_t)(end - rest->p));
    *rest = bytes_of(end + 1, rest->n - head->n - 1);
    return true;
}

/* Decimal, without sign, blank or leading zero, from 1 to the bound. */
static bool read_iterations(struct bytes text, uint32_t *iterations)
{
    uint64_t v = 0;

    if (text.n == 0 || text.n > 10 || text.p[0] == '0')
        return false;
    for (uint32_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9')
            return false;
        v = v * 10 + (text.p[i] - (uint32_t)'0');
    }
    *iterations = (uint32_t)v;
    return v <= SCRAM_ITERATIONS_MAX;
}

static bool read_bytes(struct bytes text, uint8_t *to, uint32_t least, uint32_t most,
                       struct bytes *out)
{
    uint32_t n;

    if (base64_decode(text, BASE64_PADDED, to, most, &n) != OK || n < least)
        return false;
    *out = bytes_of(to, n);
    return true;
}

enum err scram_verifier_parse(struct bytes text, struct scram_room *room,
                              struct scram_verifier *out, const char **why)
{
    struct bytes method, iterations, salt, stored, server = text;
    uint32_t n;

    memset(out, 0, sizeof(*out));
    *why = NULL;
    if (!take_until(&server, '$', &method) || !scram_kind_of(method, &out->kind)) {
        *why = "it begins neither with SCRAM-SHA-256$ nor with SCRAM-SHA-512$";
        return ERR_PEER;
    }
    n = scram_hash_bytes(out->kind);
    if (!take_until(&server, ':', &iterations) || !take_until(&server, '$', &salt) ||
        !take_until(&server, ':', &stored))
        *why = "it is not written METHOD$iterations:salt$StoredKey:ServerKey";
    else if (!read_iterations(iterations, &out->iterations))
        *why = "the iterations are no number from 1 to 10000000";
    else if (!read_bytes(salt, room->salt, SCRAM_SALT_BYTES_MIN, sizeof(room->salt), &out->salt))
        *why = "the salt is not base64 of 8 to 64 bytes";
    else if (!read_bytes(stored, room->stored_key, n, n, &out->stored_key))
        *why = "the StoredKey is not base64 of as many bytes as the hash has";
    else if (!read_bytes(server, room->server_key, n, n, &out->server_key))
        *why = "the ServerKey is not base64 of as many bytes as the hash has";
    return *why ? ERR_PEER : OK;
}

/* ---- writing ---- */

uint32_t scram_verifier_format(const struct scram_verifier *v, char text[SCRAM_VERIFIER_TEXT_BYTES])
{
    char *to = text;

    CHECK(v->kind < SCRAM_KIND_COUNT && v->salt.n <= SCRAM_SALT_BYTES_MAX);
    CHECK(v->stored_key.n <= SCRAM_KEY_BYTES_MAX && v->server_key.n <= SCRAM_KEY_BYTES_MAX);
    to += snprintf(text, SCRAM_VERIFIER_TEXT_BYTES, "%s$%" PRIu32 ":", kinds[v->kind].method,
                   v->iterations);
    to = base64_encode(v->salt, BASE64_PADDED, to);
    *to++ = '$';
    to = base64_encode(v->stored_key, BASE64_PADDED, to);
    *to++ = ':';
    to = base64_encode(v->server_key, BASE64_PADDED, to);
    *to = '\0';
    return (uint32_t)(to - text);
}

/* RFC 5802, section 3: SaltedPassword, ClientKey, StoredKey, ServerKey. */
enum err scram_verifier_make(struct scram_verifier *v, struct bytes password,
                             const struct scram_crypt *crypt, struct scram_room *room)
{
    const struct scram_functions *f = &crypt->of[v->kind];
    const struct bytes client_word = BYTES_LIT("Client Key"), server_word = BYTES_LIT("Server Key");
    uint8_t salted[SCRAM_KEY_BYTES_MAX], client_key[SCRAM_KEY_BYTES_MAX];
    uint32_t n = scram_hash_bytes(v->kind);
    struct bytes made = bytes_of(client_key, n);
    enum err err = f->pbkdf2(password, v->salt, v->iterations, salted, n);

    if (err == OK)
        err = f->hmac(bytes_of(salted, n), &client_word, 1, client_key);
    if (err == OK)
        err = f->hash(&made, 1, room->stored_key);
    if (err == OK)
        err = f->hmac(bytes_of(salted, n), &server_word, 1, room->server_key);
    v->stored_key = bytes_of(room->stored_key, n);
    v->server_key = bytes_of(room->server_key, n);
    explicit_bzero(salted, sizeof(salted));
    explicit_bzero(client_key, sizeof(client_key));
    return err;
}
