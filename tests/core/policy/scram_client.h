/* tests/core/policy/scram_client.h -- the client's side of SCRAM, and functions that hash nothing,
 * so that core is tested alone.
 *
 * A "hash" is the sum of what goes in, spread over the bytes: equal input gives equal output, and a
 * different one, in these tests, a different one. tests/net/test_scram.c has the real ones.
 */
#ifndef TESTS_CORE_POLICY_SCRAM_CLIENT_H
#define TESTS_CORE_POLICY_SCRAM_CLIENT_H

#include <stdio.h>
#include <stdlib.h>

#include "core/base/base64.h"
#include "core/policy/scram_users.h"

/* What the functions answer from now on. */
static enum err fake_scram_answer;

/* The sum of the parts and a number, as n bytes. */
static inline enum err fake_scram_sum(const struct bytes *parts, uint32_t count, uint32_t more,
                                      uint8_t *to, uint32_t n)
{
    uint64_t h = 1469598103934665603u + more;

    for (uint32_t p = 0; p < count; p++) {
        for (uint32_t i = 0; i < parts[p].n; i++)
            h = (h ^ parts[p].p[i]) * 1099511628211u;
    }
    for (uint32_t i = 0; i < n; i++) {
        h = (h ^ i) * 1099511628211u;
        to[i] = (uint8_t)(h >> 32);
    }
    return fake_scram_answer;
}

/* The functions of struct scram_crypt. */
static inline enum err fake_scram_hash256(const struct bytes *parts, uint32_t count, uint8_t *to)
{
    return fake_scram_sum(parts, count, 1, to, 32);
}

/* See fake_scram_hash256. */
static inline enum err fake_scram_hash512(const struct bytes *parts, uint32_t count, uint8_t *to)
{
    return fake_scram_sum(parts, count, 2, to, 64);
}

/* HMAC of both kinds. */
static inline enum err fake_scram_mac(struct bytes key, const struct bytes *parts, uint32_t count,
                                      uint8_t *to, uint32_t n)
{
    uint8_t inner[8];
    const struct bytes both[] = {key, bytes_of(inner, sizeof(inner))};

    (void)fake_scram_sum(parts, count, 3, inner, sizeof(inner));
    return fake_scram_sum(both, 2, n, to, n);
}

/* See fake_scram_hash256. */
static inline enum err fake_scram_mac256(struct bytes key, const struct bytes *parts,
                                         uint32_t count, uint8_t *to)
{
    return fake_scram_mac(key, parts, count, to, 32);
}

/* See fake_scram_hash256. */
static inline enum err fake_scram_mac512(struct bytes key, const struct bytes *parts,
                                         uint32_t count, uint8_t *to)
{
    return fake_scram_mac(key, parts, count, to, 64);
}

/* See fake_scram_hash256. */
static inline enum err fake_scram_pbkdf2(struct bytes password, struct bytes salt,
                                         uint32_t iterations, uint8_t *to, uint32_t n)
{
    const struct bytes parts[] = {password, salt};

    return fake_scram_sum(parts, 2, iterations, to, n);
}

/* See fake_scram_hash256. */
static inline bool fake_scram_equal(const void *a, const void *b, size_t n)
{
    return memcmp(a, b, n) == 0;
}

/* Never the same twice. */
static inline enum err fake_scram_random(void *to, size_t n)
{
    static uint32_t calls;

    return fake_scram_sum(NULL, 0, ++calls, to, (uint32_t)n);
}

static const struct scram_crypt fake_scram = {
    .of = {{fake_scram_hash256, fake_scram_mac256, fake_scram_pbkdf2},
           {fake_scram_hash512, fake_scram_mac512, fake_scram_pbkdf2}},
    .equal = fake_scram_equal,
    .random = fake_scram_random,
};

/* ---- a file ---- */

/* Appends the line of a user to a text; the salt is made of `salt`, 16 bytes at most. */
static inline void scram_line(char *text, const char *user, enum scram_kind kind,
                              uint32_t iterations, const char *salt, const char *password,
                              const struct scram_crypt *crypt)
{
    struct scram_room room;
    struct scram_verifier v = {.kind = kind, .iterations = iterations};

    memset(room.salt, '.', sizeof(room.salt));
    v.salt = bytes_of(room.salt, SCRAM_SALT_BYTES);
    memcpy(room.salt, salt, strlen(salt));
    if (scram_verifier_make(&v, bytes_str(password), crypt, &room) != OK)
        abort();
    text += strlen(text);
    text += sprintf(text, "%s:", user);
    text += scram_verifier_format(&v, text);
    strcpy(text, "\n");
}

/* ---- a client ---- */

struct scram_client {
    const struct scram_crypt *crypt;
    enum scram_kind kind;
    const char *header; /* "n,," */
    const char *user;   /* escaped */
    const char *password;
    const char *nonce;
    const char *spoil_nonce; /* appended to the nonce of the last message */
    const char *extension;   /* before the proof: ",x=y" */
    char first[8192];        /* its first message */
    char last[8192];         /* its last one */
    char server_first[8192]; /* what the server answered */
    uint8_t server_key[SCRAM_KEY_BYTES_MAX];
    char whole[32768]; /* AuthMessage */
};

/* Writes the first message. */
static inline struct bytes scram_client_first(struct scram_client *c)
{
    snprintf(c->first, sizeof(c->first), "%sn=%s,r=%s", c->header, c->user, c->nonce);
    return bytes_str(c->first);
}

/* Writes the last message, for the server's first; NULL as `p`: that is not SCRAM's. */
static inline struct bytes scram_client_last(struct scram_client *c, struct bytes server)
{
    const struct scram_functions *f = &c->crypt->of[c->kind];
    struct bytes client_word = BYTES_LIT("Client Key"), server_word = BYTES_LIT("Server Key"), m;
    uint8_t salted[64], key[64], stored[64], signature[64], salt[64];
    char nonce[2048], salt_text[256], *to;
    uint32_t n = scram_hash_bytes(c->kind), iterations, salt_count;
    struct bytes made = bytes_of(key, n);

    snprintf(c->server_first, sizeof(c->server_first), "%.*s", (int)server.n,
             (const char *)server.p);
    if (sscanf(c->server_first, "r=%2047[^,],s=%255[^,],i=%u", nonce, salt_text, &iterations) !=
            3 ||
        strncmp(nonce, c->nonce, strlen(c->nonce)) != 0 ||
        base64_decode(bytes_str(salt_text), BASE64_PADDED, salt, sizeof(salt), &salt_count) != OK)
        return (struct bytes){0};
    (void)!f->pbkdf2(bytes_str(c->password), bytes_of(salt, salt_count), iterations, salted, n);
    (void)!f->hmac(bytes_of(salted, n), &client_word, 1, key);
    (void)!f->hash(&made, 1, stored);
    (void)!f->hmac(bytes_of(salted, n), &server_word, 1, c->server_key);
    strcpy(c->last, "c=");
    to = base64_encode(bytes_str(c->header), BASE64_PADDED, c->last + 2);
    to += sprintf(to, ",r=%s%s%s", nonce, c->spoil_nonce ? c->spoil_nonce : "",
                  c->extension ? c->extension : "");
    *to = '\0';
    snprintf(c->whole, sizeof(c->whole), "n=%s,r=%s,%s,%s", c->user, c->nonce, c->server_first,
             c->last);
    m = bytes_str(c->whole);
    (void)!f->hmac(bytes_of(stored, n), &m, 1, signature);
    for (uint32_t i = 0; i < n; i++)
        key[i] ^= signature[i];
    to += sprintf(to, ",p=");
    *base64_encode(made, BASE64_PADDED, to) = '\0';
    return bytes_str(c->last);
}

/* Whether the server's last message proves that it knows the user. */
static inline bool scram_client_believes(const struct scram_client *c, struct bytes server)
{
    uint32_t n = scram_hash_bytes(c->kind);
    struct bytes m = bytes_str(c->whole);
    uint8_t signature[64];
    char text[128] = "v=";

    (void)!c->crypt->of[c->kind].hmac(bytes_of(c->server_key, n), &m, 1, signature);
    *base64_encode(bytes_of(signature, n), BASE64_PADDED, text + 2) = '\0';
    return bytes_eq(server, bytes_str(text));
}

#endif
