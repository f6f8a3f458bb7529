/* net/tls_known.c -- what can be asked of a connection, and what it leaves for another one.
 *
 * Nothing is told of a peer before the handshake is done: only then has it proved what it said.
 */
#include "net/tls_state.h"

#include <stdlib.h>

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>

/* ---- what is known ---- */

const char *tls_error(const struct tls *t)
{
    return t->why;
}

bool tls_failed_handshake(const struct tls *t)
{
    return t->phase == PHASE_FAILED && !t->was_open;
}

const char *tls_version_name(const struct tls *t)
{
    return tls_is_established(t) ? wolfSSL_get_version(t->ssl) : NULL;
}

const char *tls_cipher_name(const struct tls *t)
{
    int suite = tls_is_established(t) ? wolfSSL_get_current_cipher_suite(t->ssl) : 0;

    if (suite == 0)
        return NULL;
    return wolfSSL_get_cipher_name_iana_from_suite((byte)(suite >> 8), (byte)suite);
}

const char *tls_server_name(const struct tls *t)
{
    return t->context->side == TLS_SERVER ? t->server_name : NULL;
}

const char *tls_alpn(const struct tls *t)
{
    return t->alpn;
}

bool tls_was_resumed(const struct tls *t)
{
    return tls_is_established(t) && !t->psk_identity && !t->context->psk &&
           wolfSSL_session_reused(t->ssl);
}

const char *tls_psk_identity(const struct tls *t)
{
    return tls_is_established(t) ? t->psk_identity : NULL;
}

/* The names, when they are proven. */
static const struct tls_names *proven_names(const struct tls *t)
{
    return tls_is_established(t) && t->saw_certificate ? t->names : NULL;
}

const char *tls_peer_common_name(const struct tls *t)
{
    const struct tls_names *names = proven_names(t);

    return names ? tls_names_common(names) : NULL;
}

const char *tls_peer_subject(const struct tls *t)
{
    const struct tls_names *names = proven_names(t);

    return names ? tls_names_subject(names) : NULL;
}

const char *tls_peer_name(const struct tls *t, enum tls_name kind, uint32_t idx)
{
    const struct tls_names *names = proven_names(t);

    return names ? tls_names_alternative(names, kind, idx) : NULL;
}

/* ---- resuming ---- */

struct tls_session *tls_session_create(const struct tls *t)
{
    uint8_t ticket[4096];
    word32 ticket_count = sizeof(ticket);
    struct tls_session *s;

    if (t->context->side != TLS_CLIENT || !tls_is_established(t) ||
        wolfSSL_get_SessionTicket(t->ssl, ticket, &ticket_count) != WOLFSSL_SUCCESS ||
        ticket_count == 0)
        return NULL;
    s = calloc(1, sizeof(*s));
    if (!s)
        return NULL;
    s->context = tls_context_ref(t->context);
    s->session = wolfSSL_get1_session(t->ssl);
    if (t->server_name)
        s->server_name = strdup(t->server_name);
    if (s->session && (!t->server_name || s->server_name))
        return s;
    tls_session_destroy(s);
    return NULL;
}

void tls_session_destroy(struct tls_session *session)
{
    if (!session)
        return;
    if (session->session)
        wolfSSL_SESSION_free(session->session);
    tls_context_release(session->context);
    free(session->server_name);
    free(session);
}
