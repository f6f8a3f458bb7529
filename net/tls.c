/* net/tls.c -- one connection of the engine.
 *
 * The library reads from and writes to us through two functions: tls_on_recv takes from the input
 * of the tls_open that is running, tls_on_send puts behind `gather`. What is handed out for sending
 * is another buffer, `lent`: it never moves, and the two change places when it is empty. The
 * library itself keeps a buffer only while it has a part of a record.
 *
 * Invariants: input_left is empty outside of tls_open; `why` is set exactly when failed.
 */
#include "net/tls.h"

#include <stdlib.h>

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>
#include <wolfssl/error-ssl.h>

#include "core/base/check.h"
#include "net/tls_state.h"

/* Without it names are not checked, and who a client is cannot be known. */
#ifndef WOLFSSL_ALWAYS_VERIFY_CB
#error "this wolfSSL does not show us good certificates: it was built without ALWAYS_VERIFY_CB"
#endif

/* What a record adds to its content at most (TLS 1.2 with CBC). */
#define RECORD_EXTRA_BYTES 128u
#define RECORD_HEADER_BYTES 5
/* Records in a row without data, once established (tickets, key updates, alerts, empty records).
 * Beyond: the connection fails. Counted roughly, up to twice each. */
#define QUIET_RECORDS_MAX 128u
#define GATHER_BYTES_MIN 512u

/* ---- the library ---- */

enum err tls_init(void)
{
    return wolfSSL_Init() == WOLFSSL_SUCCESS ? OK : ERR_SYSTEM;
}

void tls_fini(void)
{
    tls_tickets_fini();
    wolfSSL_Cleanup();
}

const char *tls_library(void)
{
#ifdef OPENSSL_EXTRA
    return "wolfSSL " LIBWOLFSSL_VERSION_STRING " with OpenSSL layer";
#else
    return "wolfSSL " LIBWOLFSSL_VERSION_STRING;
#endif
}

/* Where the library keeps a list of errors, nothing of it may meet the next connection. */
static void forget_errors(void)
{
#ifdef OPENSSL_EXTRA
    wolfSSL_ERR_clear_error();
#endif
}

static void fail(struct tls *t, const char *why)
{
    if (t->phase == PHASE_FAILED)
        return;
    t->phase = PHASE_FAILED;
    t->why = why;
    t->input_left = bytes_of(NULL, 0);
}

/* ---- buffers ---- */

static uint32_t buffer_count(const struct tls_buffer *b)
{
    return b->end - b->start;
}

static bool buffer_reserve(struct tls_buffer *b, uint32_t extra)
{
    uint32_t room = b->room ? b->room : GATHER_BYTES_MIN;
    uint8_t *p;

    if (b->room - b->end >= extra)
        return true;
    while (room - b->end < extra)
        room *= 2;
    p = realloc(b->p, room);
    if (!p)
        return false;
    b->p = p;
    b->room = room;
    return true;
}

static void buffer_free(struct tls_buffer *b)
{
    free(b->p);
    *b = (struct tls_buffer){.p = NULL};
}

struct bytes tls_output(struct tls *t)
{
    if (t->lent.p == NULL) {
        t->lent = t->gather;
        t->gather = (struct tls_buffer){.p = NULL};
    }
    return bytes_of(t->lent.p ? t->lent.p + t->lent.start : NULL, buffer_count(&t->lent));
}

void tls_output_sent(struct tls *t, uint32_t n)
{
    CHECK(n <= buffer_count(&t->lent));
    t->lent.start += n;
    if (buffer_count(&t->lent) == 0)
        buffer_free(&t->lent);
}

uint32_t tls_output_count(const struct tls *t)
{
    return buffer_count(&t->lent) + buffer_count(&t->gather);
}

/* ---- called by the library ---- */

/* Shows a ClientHello, and the one after a retry, to tls_hello. */
static bool hello_is_good(struct tls *t, struct bytes input)
{
    if (!t->hello)
        return true;
    if (t->hello->is_whole && wolfSSL_version(t->ssl) == TLS1_3_VERSION)
        tls_hello_init(t->hello);
    if (tls_hello_look(t->hello, input) != OK) {
        fail(t, "hello malformed");
        return false;
    }
    if (t->hello->is_whole && !t->server_name) {
        struct bytes name = tls_hello_name(t->hello);

        if (name.n > 0)
            t->server_name = strndup((const char *)name.p, name.n);
    }
    return true;
}

static bool within_bounds(struct tls *t, int bytes)
{
    if (t->phase == PHASE_HANDSHAKE) {
        t->handshake_bytes += (uint32_t)bytes;
        if (t->handshake_bytes <= TLS_HANDSHAKE_BYTES_MAX)
            return true;
        fail(t, "handshake too long");
        return false;
    }
    /* The library asks for a header when a record begins. */
    if (bytes == RECORD_HEADER_BYTES && ++t->quiet_records > QUIET_RECORDS_MAX) {
        fail(t, "too many records without data");
        return false;
    }
    return true;
}

int tls_on_recv(struct WOLFSSL *ssl, char *to, int bytes, void *user)
{
    struct tls *t = user;

    (void)ssl;
    if (t->phase == PHASE_FAILED)
        return WOLFSSL_CBIO_ERR_GENERAL;
    if (t->input_left.n == 0)
        return WOLFSSL_CBIO_ERR_WANT_READ;
    if ((uint32_t)bytes > t->input_left.n)
        bytes = (int)t->input_left.n;
    if (!within_bounds(t, bytes) || !hello_is_good(t, bytes_of(t->input_left.p, (size_t)bytes)))
        return WOLFSSL_CBIO_ERR_GENERAL;
    memcpy(to, t->input_left.p, (size_t)bytes);
    t->input_left.p += bytes;
    t->input_left.n -= (uint32_t)bytes;
    return bytes;
}

int tls_on_send(struct WOLFSSL *ssl, char *from, int bytes, void *user)
{
    struct tls *t = user;
    uint32_t n = (uint32_t)bytes;

    (void)ssl;
    if (buffer_count(&t->gather) + n > 2 * TLS_OUTPUT_BYTES_MAX) {
        fail(t, "peer makes us answer and does not read");
        return WOLFSSL_CBIO_ERR_GENERAL;
    }
    if (!buffer_reserve(&t->gather, n)) {
        t->is_out_of_memory = true;
        fail(t, "no memory");
        return WOLFSSL_CBIO_ERR_GENERAL;
    }
    memcpy(t->gather.p + t->gather.end, from, n);
    t->gather.end += n;
    t->has_spoken = true;
    return bytes;
}

static bool take_certificate(struct tls *t, struct bytes der)
{
    if (t->context->side == TLS_SERVER) {
        free(t->names);
        if (tls_names_read(der, &t->names) == OK)
            return true;
        fail(t, "certificate malformed");
        return false;
    }
    if (!t->server_name || tls_names_match(der, t->server_name))
        return true;
    fail(t, "host name mismatch");
    return false;
}

/* A failure is told to the library by 0; it then sends an alert. */
int tls_on_certificate(int is_good, struct WOLFSSL_X509_STORE_CTX *store)
{
    struct tls *t = store->userCtx;

    if (!is_good)
        return 0; /* the library says itself what is wrong */
    if (store->error_depth != 0)
        return 1;
    if (store->totalCerts < 1 || !store->certs) { /* TLS 1.2 finds an empty list good */
        fail(t, tls_error_words(NO_PEER_CERT));
        return 0;
    }
    if (!take_certificate(t, bytes_of(store->certs[0].buffer, store->certs[0].length)))
        return 0;
    t->saw_certificate = true;
    return 1;
}

/* Keeps the identity: the handshake ends well only if the client has the key too. */
unsigned int tls_on_psk(struct WOLFSSL *ssl, const char *identity, unsigned char *key,
                        unsigned int key_max)
{
    struct tls *t = wolfSSL_GetIOReadCtx(ssl);
    const struct tls_psk *psk = tls_psks_find(t->context->psks, identity);
    char *copy;

    if (!psk || psk->key_count > key_max) {
        t->is_stranger = true;
        return 0;
    }
    copy = strdup(psk->identity);
    if (!copy)
        return 0;
    free(t->psk_identity);
    t->psk_identity = copy;
    memcpy(key, psk->key, psk->key_count);
    return psk->key_count;
}

unsigned int tls_on_psk_ask(struct WOLFSSL *ssl, const char *hint, char *identity,
                            unsigned int identity_max, unsigned char *key, unsigned int key_max)
{
    const struct tls *t = wolfSSL_GetIOReadCtx(ssl);
    const struct tls_psk *psk = t->context->psk;

    (void)hint;
    if (!psk || psk->key_count > key_max || strlen(psk->identity) >= identity_max)
        return 0;
    strcpy(identity, psk->identity);
    memcpy(key, psk->key, psk->key_count);
    return psk->key_count;
}

/* ---- lifetime ---- */

static bool is_address(const char *host)
{
    return strchr(host, ':') || host[strspn(host, "0123456789.")] == 0;
}

/* What the library wants to know of a client's peer. A session that cannot be resumed is none. */
static bool prepare_client(struct tls *t, const struct tls_session *session)
{
    const char *name = t->server_name;
    const char *was;

    if (name && !is_address(name) &&
        wolfSSL_UseSNI(t->ssl, WOLFSSL_SNI_HOST_NAME, name, (unsigned short)strlen(name)) !=
            WOLFSSL_SUCCESS)
        return false;
    if (!session || session->context != t->context)
        return true;
    was = session->server_name;
    if (was ? name && strcmp(was, name) == 0 : !name)
        (void)wolfSSL_set_session(t->ssl, session->session);
    return true;
}

static bool prepare(struct tls *t, const struct tls_session *session)
{
    struct tls_context *c = t->context;

    wolfSSL_SetIOReadCtx(t->ssl, t);
    wolfSSL_SetIOWriteCtx(t->ssl, t);
    wolfSSL_SetCertCbCtx(t->ssl, t);
    if (c->alpn[0] && wolfSSL_UseALPN(t->ssl, c->alpn, (unsigned)strlen(c->alpn),
                                      WOLFSSL_ALPN_FAILED_ON_MISMATCH) != WOLFSSL_SUCCESS)
        return false;
    if (c->side == TLS_CLIENT)
        return prepare_client(t, session);
    t->hello = malloc(sizeof(*t->hello));
    if (t->hello)
        tls_hello_init(t->hello);
    return t->hello != NULL;
}

struct tls *tls_create(struct tls_context *context, const char *server_name,
                       const struct tls_session *session)
{
    struct tls *t = calloc(1, sizeof(*t));

    if (!t)
        return NULL;
    t->context = tls_context_ref(context);
    t->ssl = wolfSSL_new(context->ctx);
    if (server_name && server_name[0])
        t->server_name = strdup(server_name);
    if (t->ssl && (!server_name || !server_name[0] || t->server_name) && prepare(t, session))
        return t;
    tls_destroy(t);
    forget_errors();
    return NULL;
}

void tls_destroy(struct tls *t)
{
    if (!t)
        return;
    if (t->ssl)
        wolfSSL_free(t->ssl);
    tls_context_release(t->context);
    buffer_free(&t->gather);
    buffer_free(&t->lent);
    free(t->hello);
    free(t->names);
    free(t->server_name);
    free(t->psk_identity);
    free(t->alpn);
    free(t);
}

/* ---- bytes in ---- */

/* To a client of TLS 1.2 with which it shares nothing the library says nothing, against RFC 5246
 * (7.4.1.3). Nothing was agreed on yet, so an alert is not sealed. */
static void tell_nothing_is_shared(struct tls *t, int code)
{
    static const uint8_t record[] = {0x15, 3, 3, 0, 2, alert_fatal, handshake_failure};

    if (t->has_spoken || t->context->side != TLS_SERVER ||
        (code != MATCH_SUITE_ERROR && code != UNSUPPORTED_SUITE && code != ECC_CURVE_ERROR) ||
        !buffer_reserve(&t->gather, sizeof(record)))
        return;
    memcpy(t->gather.p + t->gather.end, record, sizeof(record));
    t->gather.end += (uint32_t)sizeof(record);
}

/* Says why the library gave up. What our own functions said comes first. */
static void fail_by_library(struct tls *t, int code)
{
    WOLFSSL_ALERT_HISTORY alerts = {.last_rx = {-1, -1}};

    tell_nothing_is_shared(t, code);
    (void)wolfSSL_get_alert_history(t->ssl, &alerts);
    if (code == FATAL_ERROR && alerts.last_rx.level == alert_fatal)
        fail(t, tls_alert_words(alerts.last_rx.code));
    else if (t->is_stranger && !t->psk_identity)
        fail(t, tls_error_words(PSK_KEY_ERROR)); /* what 1.3 says then tells nobody anything */
    else
        fail(t, tls_error_words(code));
    forget_errors();
}

/* What is asked for later than the handshake, when the library has thrown it away. */
static bool keep_texts(struct tls *t)
{
    char *alpn = NULL;
    unsigned short alpn_count = 0;

    if (t->context->alpn[0] &&
        wolfSSL_ALPN_GetProtocol(t->ssl, &alpn, &alpn_count) == WOLFSSL_SUCCESS) {
        t->alpn = strndup(alpn, alpn_count);
        if (!t->alpn)
            return false;
    }
    free(t->hello);
    t->hello = NULL;
    return true;
}

/* Whether the peer has proved what the context demands; the library should have seen to it. */
static bool is_proven(const struct tls *t)
{
    const struct tls_context *c = t->context;

    if (!c->checks_peer || t->saw_certificate)
        return true;
    return c->side == TLS_SERVER ? c->psks && t->psk_identity
                                 : c->psk || wolfSSL_session_reused(t->ssl);
}

static void shake(struct tls *t)
{
    int done = t->context->side == TLS_SERVER ? wolfSSL_accept(t->ssl) : wolfSSL_connect(t->ssl);
    int code;

    if (done == WOLFSSL_SUCCESS) {
        if (!is_proven(t))
            fail(t, "peer did not prove its certificate");
        else if (!keep_texts(t))
            fail(t, "no memory");
        else
            t->phase = PHASE_OPEN;
        t->was_open = t->phase == PHASE_OPEN;
        return;
    }
    code = wolfSSL_get_error(t->ssl, done);
    if (code != WOLFSSL_ERROR_WANT_READ)
        fail_by_library(t, code);
}

static enum tls_verdict read_plain(struct tls *t, uint8_t *plain, uint32_t room, uint32_t *count)
{
    int n = wolfSSL_read(t->ssl, plain, (int)room);
    int code;

    if (t->phase == PHASE_FAILED)
        return TLS_FAILED;
    if (n > 0) {
        t->quiet_records = 0;
        *count = (uint32_t)n;
        return TLS_DATA;
    }
    code = wolfSSL_get_error(t->ssl, n);
    if (code == WOLFSSL_ERROR_WANT_READ)
        return TLS_MORE;
    if (code == WOLFSSL_ERROR_ZERO_RETURN) {
        t->phase = PHASE_PEER_CLOSED;
        return TLS_CLOSED;
    }
    fail_by_library(t, code);
    return TLS_FAILED;
}

enum tls_verdict tls_open(struct tls *t, struct bytes *input, uint8_t *plain, uint32_t room,
                          uint32_t *count)
{
    enum tls_verdict verdict = TLS_MORE;

    CHECK(room > 0);
    *count = 0;
    if (t->phase != PHASE_FAILED)
        t->input_left = *input;
    if (t->phase == PHASE_HANDSHAKE)
        shake(t);
    if (t->phase == PHASE_OPEN)
        verdict = read_plain(t, plain, room, count);
    if (t->phase == PHASE_PEER_CLOSED)
        verdict = TLS_CLOSED;
    if (t->phase == PHASE_FAILED)
        verdict = TLS_FAILED;
    *input = t->input_left;
    t->input_left = bytes_of(NULL, 0);
    if (verdict != TLS_DATA) {
        CHECK(verdict != TLS_MORE || input->n == 0);
        *input = bytes_of(NULL, 0);
    }
    return verdict;
}

bool tls_is_established(const struct tls *t)
{
    return t->phase == PHASE_OPEN || t->phase == PHASE_PEER_CLOSED;
}

bool tls_is_handshaking(const struct tls *t)
{
    return t->phase == PHASE_HANDSHAKE;
}

/* ---- bytes out ---- */

/* Where a run through pieces stands. */
struct cursor {
    const struct bytes *pieces;
    uint32_t count;
    uint32_t at; /* in pieces[0] */
};

/* The next bytes, up to one record: a view of a piece that is large, else gathered in `scratch`. */
static struct bytes next_record(struct cursor *c, uint8_t scratch[TLS_RECORD_BYTES_MAX])
{
    uint32_t n = 0;

    while (c->count > 0 && n < TLS_RECORD_BYTES_MAX) {
        uint32_t left = c->pieces->n - c->at;
        uint32_t part = left < TLS_RECORD_BYTES_MAX - n ? left : TLS_RECORD_BYTES_MAX - n;
        const uint8_t *from = c->pieces->p ? c->pieces->p + c->at : NULL;

        c->at += part;
        if (part == left) {
            c->pieces += 1;
            c->count -= 1;
            c->at = 0;
        }
        if (n == 0 && (part == TLS_RECORD_BYTES_MAX || c->count == 0))
            return bytes_of(from, part);
        if (from && part > 0)
            memcpy(scratch + n, from, part);
        n += part;
    }
    return bytes_of(scratch, n);
}

static enum err seal_record(struct tls *t, struct bytes record)
{
    int n;

    if (!buffer_reserve(&t->gather, record.n + RECORD_EXTRA_BYTES)) {
        t->is_out_of_memory = true;
        fail(t, "no memory");
        return ERR_MEMORY;
    }
    n = wolfSSL_write(t->ssl, record.p, (int)record.n);
    if (n == (int)record.n)
        return OK;
    fail_by_library(t, wolfSSL_get_error(t->ssl, n));
    return t->is_out_of_memory ? ERR_MEMORY : ERR_PEER;
}

enum err tls_seal(struct tls *t, const struct bytes *pieces, uint32_t piece_count, uint32_t *taken)
{
    struct cursor c = {pieces, piece_count, 0};
    uint8_t scratch[TLS_RECORD_BYTES_MAX];
    enum err err = OK;

    CHECK(t->phase != PHASE_HANDSHAKE);
    CHECK(!t->has_closed);
    *taken = 0;
    if (t->phase == PHASE_FAILED)
        return ERR_PEER;
    while (c.count > 0 && err == OK) {
        struct bytes record;

        if (buffer_count(&t->gather) + TLS_RECORD_BYTES_MAX + RECORD_EXTRA_BYTES >
            TLS_OUTPUT_BYTES_MAX)
            return ERR_FULL;
        record = next_record(&c, scratch);
        if (record.n == 0)
            continue;
        err = seal_record(t, record);
        *taken += err == OK ? record.n : 0;
    }
    return err;
}

void tls_close(struct tls *t)
{
    if (t->has_closed || !tls_is_established(t))
        return;
    t->has_closed = true;
    (void)wolfSSL_shutdown(t->ssl); /* puts the alert; the answer is about the peer's */
    forget_errors();
}

void tls_update_keys(struct tls *t)
{
    CHECK(t->phase == PHASE_OPEN);
    (void)wolfSSL_update_keys(t->ssl);
}
