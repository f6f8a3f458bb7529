/* net/jwt_keys.c -- the keys that may sign tokens, as files have them. */
#include "net/jwt_keys.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/check.h"
#include "net/crypt.h"
#include "net/jwt_text.h"

#define SAID_BYTES 256u

/* One file that is read. */
struct reading {
    struct jwt_keys *keys;
    jwt_tell *tell;
    void *context;
    uint32_t number; /* of the key in a set, from 1; 0: a file without numbers */
    bool has_mistake, has_no_memory;
};

__attribute__((format(printf, 3, 4))) static void tell(struct reading *r, bool is_mistake,
                                                       const char *format, ...)
{
    char text[SAID_BYTES];
    int at = 0;
    va_list args;

    if (r->number)
        at = snprintf(text, sizeof(text), "key %u: ", r->number);
    va_start(args, format);
    vsnprintf(text + at, sizeof(text) - (size_t)at, format, args);
    va_end(args);
    r->has_mistake |= is_mistake;
    if (r->tell)
        r->tell(r->context, is_mistake, text);
}

static enum err verdict(const struct reading *r)
{
    if (r->has_no_memory)
        return ERR_MEMORY;
    return r->has_mistake ? ERR_PEER : OK;
}

/* ---- taking keys ---- */

static void free_key(struct jwt_key *k)
{
    crypt_key_destroy(k->key);
    if (k->secret)
        crypt_wipe(k->secret, k->secret_count);
    free(k->secret);
    free(k->kid);
    *k = (struct jwt_key){0};
}

/* The algorithms of a key, by its kind and its length. RFC 7518, 3.2: a secret has at least the
 * bytes of the hash. */
static uint32_t algs_of(const struct jwt_key *k)
{
    static const uint32_t of_kind[CRYPT_KEY_COUNT] = {
        [CRYPT_KEY_RSA] = 1u << CFG_JWT_RS256,
        [CRYPT_KEY_P256] = 1u << CFG_JWT_ES256,
        [CRYPT_KEY_ED25519] = 1u << CFG_JWT_EDDSA,
    };

    if (k->key)
        return of_kind[crypt_key_kind(k->key)];
    return (uint32_t)(k->secret_count >= CRYPT_SHA256_BYTES) << CFG_JWT_HS256 |
           (uint32_t)(k->secret_count >= CRYPT_SHA384_BYTES) << CFG_JWT_HS384 |
           (uint32_t)(k->secret_count >= CRYPT_SHA512_BYTES) << CFG_JWT_HS512;
}

/* Takes over a key, or frees it. `algs`: those its own file allows. */
static void take(struct reading *r, struct jwt_key *k, uint32_t algs)
{
    struct jwt_keys *keys = r->keys;

    CHECK(!k->key != !k->secret);
    k->algs = algs_of(k) & algs;
    if (k->secret && k->secret_count < CRYPT_SHA256_BYTES)
        tell(r, true, "the secret has %u bytes; HS256 needs 32, HS384 48, HS512 64",
             k->secret_count);
    else if (!k->algs)
        tell(r, true, "the key does not fit the algorithm it is for");
    else if (keys->algs_wanted && !(k->algs & keys->algs_wanted))
        tell(r, true, "jwt_algorithms names none that this key can be used with");
    else if (keys->count == JWT_KEYS_MAX)
        tell(r, true, "there are more than %u keys", JWT_KEYS_MAX);
    else {
        if (keys->algs_wanted)
            k->algs &= keys->algs_wanted;
        keys->v[keys->count++] = *k;
        return;
    }
    free_key(k);
}

/* What became of a public key: takes it, or says why there is none. */
static void take_public(struct reading *r, enum err e, struct jwt_key *k, uint32_t algs,
                        const char *why)
{
    if (e == OK) {
        take(r, k, algs);
        return;
    }
    r->has_no_memory |= e == ERR_MEMORY;
    tell(r, true, "%s", why);
    free_key(k);
}

/* ---- PEM, and a secret ---- */

static void take_pem(struct reading *r, struct bytes text)
{
    const char *why;
    enum err e;

    do {
        struct jwt_key k = {0};

        e = crypt_key_pem(text, &text, &k.key, &why);
        if (e != ERR_NONE)
            take_public(r, e, &k, UINT32_MAX, why);
    } while (e == OK);
}

static bool is_blank(uint8_t c)
{
    return c == '\n' || c == '\r' || c == ' ' || c == '\t';
}

/* Standard base64 becomes base64url without padding. `to` has text.n bytes. */
static struct bytes as_base64url(struct bytes text, uint8_t *to)
{
    while (text.n && is_blank(text.p[text.n - 1]))
        text.n--;
    if (text.n && text.n % 4 == 0 && text.p[text.n - 1] == '=')
        text.n -= text.p[text.n - 2] == '=' ? 2 : 1;
    for (uint32_t i = 0; i < text.n; i++) {
        to[i] = text.p[i];
        if (to[i] == '+' || to[i] == '/')
            to[i] = to[i] == '+' ? '-' : '_';
    }
    return bytes_of(to, text.n);
}

static enum err decode_secret(struct bytes text, struct jwt_key *k)
{
    uint8_t *url = malloc(text.n + 1);
    enum err e;

    k->secret = malloc(jwt_text_room(text));
    if (!url || !k->secret) {
        free(url);
        return ERR_MEMORY;
    }
    e = jwt_text_decode(as_base64url(text, url), k->secret, &k->secret_count);
    crypt_wipe(url, text.n);
    free(url);
    return e;
}

static enum err copy_secret(struct bytes text, struct jwt_key *k)
{
    if (text.n && text.p[text.n - 1] == '\n') /* the end of the only line is no part of it */
        text.n--;
    if (text.n && text.p[text.n - 1] == '\r')
        text.n--;
    k->secret = malloc(text.n + 1);
    if (!k->secret)
        return ERR_MEMORY;
    k->secret_count = text.n;
    (void)bytes_put(k->secret, text);
    return OK;
}

/* Whether a text is a public key in a form other than PEM: JSON, DER, or a line of ssh. As the
 * secret of an HMAC it would let everybody sign. */
static bool is_public_form(struct bytes text)
{
    static const char *const ssh[] = {"ssh-", "ecdsa-sha2-"};

    /* A sequence in DER that is as long as the file. */
    if (text.n > 4 && text.p[0] == 0x30 &&
        ((text.p[1] == 0x82 && ((uint32_t)text.p[2] << 8 | text.p[3]) == text.n - 4) ||
         (text.p[1] == 0x81 && text.p[2] == text.n - 3) ||
         (text.p[1] < 0x80 && text.p[1] == text.n - 2)))
        return true;
    while (text.n && is_blank(text.p[0]))
        text = bytes_of(text.p + 1, text.n - 1);
    if (text.n && (text.p[0] == '{' || text.p[0] == '['))
        return true;
    return bytes_begin(text, bytes_str(ssh[0])) || bytes_begin(text, bytes_str(ssh[1]));
}

static void take_secret(struct reading *r, struct bytes text)
{
    static const struct bytes prefix = {(const uint8_t *)"base64:", 7};
    struct jwt_key k = {0};
    enum err e;

    if (!(r->keys->algs_wanted & JWT_ALGS_HMAC)) {
        tell(r, true,
             "it holds no public key in PEM; if it is a secret, write jwt_algorithms = HS256");
        return;
    }
    if (is_public_form(text)) {
        tell(r, true,
             "it looks like a public key that is not in PEM; everybody could sign with it "
             "as a secret (a key set belongs into jwt_jwks_file, a secret that looks like "
             "one behind base64:)");
        return;
    }
    if (bytes_begin(text, prefix))
        e = decode_secret(bytes_of(text.p + prefix.n, text.n - prefix.n), &k);
    else
        e = copy_secret(text, &k);
    take_public(r, e, &k, UINT32_MAX,
                e == ERR_MEMORY ? "no memory for it" : "what follows base64: is no base64");
}

enum err jwt_keys_add_file(struct jwt_keys *keys, struct bytes text, jwt_tell *tell_fn,
                           void *context)
{
    struct reading r = {.keys = keys, .tell = tell_fn, .context = context};

    if (text.n && memmem(text.p, text.n, "-----BEGIN ", 11))
        take_pem(&r, text);
    else
        take_secret(&r, text);
    return verdict(&r);
}

/* ---- key sets ---- */

static const char *word_of(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name)); /* NULL: there is none */
}

/* A number or a secret in base64url; what is in *to is freed by the caller. */
static bool bytes_member(struct reading *r, const json_t *object, const char *name, uint8_t **to,
                         uint32_t *n)
{
    const char *word = word_of(object, name);
    struct bytes text = word ? bytes_str(word) : (struct bytes){0};

    *to = NULL;
    if (!word) {
        tell(r, true, "its \"%s\" is missing", name);
        return false;
    }
    *to = malloc(jwt_text_room(text));
    if (!*to) {
        r->has_no_memory = true;
        return false;
    }
    if (jwt_text_decode(text, *to, n) == OK)
        return true;
    tell(r, true, "its \"%s\" is no base64url", name);
    return false;
}

typedef enum err maker_of_two(struct bytes a, struct bytes b, struct crypt_key **key,
                              const char **why);

static void take_two(struct reading *r, const json_t *jwk, struct jwt_key *k, uint32_t algs,
                     maker_of_two *make, const char *first, const char *second)
{
    uint8_t *a, *b = NULL;
    uint32_t a_count, b_count;
    const char *why = NULL;

    if (bytes_member(r, jwk, first, &a, &a_count) && bytes_member(r, jwk, second, &b, &b_count)) {
        enum err e = make(bytes_of(a, a_count), bytes_of(b, b_count), &k->key, &why);

        take_public(r, e, k, algs, why);
    } else {
        free_key(k);
    }
    free(a);
    free(b);
}

static void take_okp(struct reading *r, const json_t *jwk, struct jwt_key *k, uint32_t algs)
{
    const char *why = NULL;
    uint8_t *x;
    uint32_t n;

    if (bytes_member(r, jwk, "x", &x, &n)) {
        enum err e = crypt_key_ed25519(bytes_of(x, n), &k->key, &why);

        take_public(r, e, k, algs, why);
    } else {
        free_key(k);
    }
    free(x);
}

static void take_oct(struct reading *r, const json_t *jwk, struct jwt_key *k, uint32_t algs)
{
    if (bytes_member(r, jwk, "k", &k->secret, &k->secret_count))
        take(r, k, algs);
    else
        free_key(k);
}

static bool is_word(const json_t *object, const char *name, const char *word)
{
    const char *has = word_of(object, name);

    return has && strcmp(has, word) == 0;
}

/* Whether `key_ops` is absent or allows to verify. */
static bool may_verify(const json_t *jwk)
{
    const json_t *ops = json_object_get(jwk, "key_ops");

    if (!ops)
        return true;
    for (size_t i = 0; i < json_array_size(ops); i++) {
        const char *op = json_string_value(json_array_get(ops, i));

        if (op && strcmp(op, "verify") == 0)
            return true;
    }
    return false;
}

/* The algorithms a key of a set says it is for; 0: none that is known, which has been told. */
static uint32_t algs_named(struct reading *r, const json_t *jwk)
{
    const char *alg = word_of(jwk, "alg");
    enum cfg_jwt_alg found;

    if (json_object_get(jwk, "use") && !is_word(jwk, "use", "sig")) {
        tell(r, false, "it is not for signatures, and passed over");
        return 0;
    }
    if (!may_verify(jwk)) {
        tell(r, false, "its key_ops do not hold verify; it is passed over");
        return 0;
    }
    if (!json_object_get(jwk, "alg"))
        return UINT32_MAX;
    if (alg && cfg_jwt_alg_find(bytes_str(alg), &found))
        return 1u << found;
    tell(r, false, "its algorithm is not known here; it is passed over");
    return 0;
}

static void take_jwk(struct reading *r, const json_t *jwk)
{
    const char *kid = word_of(jwk, "kid");
    struct jwt_key k = {0};
    uint32_t algs;

    if (!json_is_object(jwk) || !word_of(jwk, "kty")) {
        tell(r, true, "it is no object with a \"kty\"");
        return;
    }
    if (json_object_get(jwk, "kid") && !kid) { /* without one it would be tried for every kid */
        tell(r, true, "its \"kid\" is no text");
        return;
    }
    algs = algs_named(r, jwk);
    if (!algs)
        return;
    if (kid && !(k.kid = strdup(kid))) {
        r->has_no_memory = true;
        return;
    }
    if (is_word(jwk, "kty", "RSA")) {
        take_two(r, jwk, &k, algs, crypt_key_rsa, "n", "e");
    } else if (is_word(jwk, "kty", "EC") && is_word(jwk, "crv", "P-256")) {
        take_two(r, jwk, &k, algs, crypt_key_p256, "x", "y");
    } else if (is_word(jwk, "kty", "OKP") && is_word(jwk, "crv", "Ed25519")) {
        take_okp(r, jwk, &k, algs);
    } else if (is_word(jwk, "kty", "oct")) {
        take_oct(r, jwk, &k, algs);
    } else {
        tell(r, false, "it is of a kind that is not known here, and passed over");
        free_key(&k);
    }
}

static void take_set(struct reading *r, const json_t *set)
{
    const json_t *v = json_object_get(set, "keys");
    uint32_t before = r->keys->count;

    if (!json_is_array(v)) {
        tell(r, true, "it has no array \"keys\"");
        return;
    }
    for (size_t i = 0; i < json_array_size(v) && r->keys->count < JWT_KEYS_MAX; i++) {
        r->number = (uint32_t)i + 1;
        take_jwk(r, json_array_get(v, i));
    }
    r->number = 0;
    if (json_array_size(v) > JWT_KEYS_MAX)
        tell(r, true, "there are more than %u keys", JWT_KEYS_MAX);
    else if (r->keys->count == before && !r->has_mistake)
        tell(r, true, "no key in it can be used");
}

enum err jwt_keys_add_set(struct jwt_keys *keys, struct bytes text, jwt_tell *tell_fn,
                          void *context)
{
    struct reading r = {.keys = keys, .tell = tell_fn, .context = context};
    json_error_t error;
    json_t *set;

    if (text.n == 0 || !jwt_text_is_shallow(text, JWT_DEPTH_MAX)) {
        tell(&r, true, text.n ? "its objects lie too deep" : "it is empty");
        return ERR_PEER;
    }
    set = json_loadb((const char *)text.p, text.n, JSON_REJECT_DUPLICATES, &error);
    if (!set) {
        if (json_error_code(&error) == json_error_out_of_memory)
            return ERR_MEMORY;
        tell(&r, true, "line %d is no JSON", error.line); /* its words may hold parts of a key */
        return ERR_PEER;
    }
    take_set(&r, set);
    json_decref(set);
    return verdict(&r);
}

void jwt_keys_fini(struct jwt_keys *keys)
{
    for (uint32_t i = 0; i < keys->count; i++)
        free_key(&keys->v[i]);
    keys->count = 0;
}
