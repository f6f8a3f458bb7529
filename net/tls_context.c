/* net/tls_context.c -- settings and files become a context of the library.
 *
 * Every file is read here, into memory, and handed to the library from there: so a reason can be
 * given that names the file, and nothing is opened during a handshake.
 */
#include "net/tls_state.h"

#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>
#include <wolfssl/wolfcrypt/asn_public.h>
#include <wolfssl/error-ssl.h>

#include "core/base/check.h"
#include "net/clock.h"

/* What a client trusts when nothing else is said. */
#define SYSTEM_CA_FILE "/etc/ssl/certs/ca-certificates.crt"
/* Bytes of a PEM file at most. */
#define FILE_BYTES_MAX (16u << 20)
/* Bytes of one certificate at most. */
#define CERTIFICATE_BYTES_MAX 16384

#define DAY_SECONDS 86400

#define LIST_1_3 "TLS13-AES128-GCM-SHA256:TLS13-AES256-GCM-SHA384:TLS13-CHACHA20-POLY1305-SHA256"
/* Forward secrecy and authenticated encryption only. */
#define LIST_1_2                                                                                   \
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"                                   \
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"                                   \
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
/* With a PSK small devices may have nothing better than the last three. */
#define LIST_1_2_PSK                                                                               \
    "ECDHE-PSK-AES128-GCM-SHA256:ECDHE-PSK-CHACHA20-POLY1305:ECDHE-PSK-AES128-CBC-SHA256:"         \
    "PSK-AES128-GCM-SHA256:PSK-AES256-GCM-SHA384:PSK-CHACHA20-POLY1305"

/* A response may come from a clock that goes so much before ours. */
#define STAPLE_EARLY_SECONDS 300

/* What is being made, and where the reason goes. */
struct making {
    const struct tls_settings *settings;
    struct tls_context *context;
    char *why;
    size_t why_bytes;
    uint32_t der_count; /* of our certificate */
    uint8_t der[CERTIFICATE_BYTES_MAX];
};

struct file {
    uint8_t *p;
    long n;
};

__attribute__((format(printf, 2, 3))) static bool fail(const struct making *m, const char *format,
                                                       ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(m->why, m->why_bytes, format, args);
    va_end(args);
    return false;
}

/* ---- files ---- */

static void file_free(struct file *f)
{
    if (f->p)
        explicit_bzero(f->p, (size_t)f->n);
    free(f->p);
}

static bool file_read(const struct making *m, const char *path, struct file *f)
{
    FILE *in = fopen(path, "re");
    struct stat st;
    bool good = false;

    *f = (struct file){NULL, 0};
    if (!in)
        return fail(m, "%s: cannot be read: %s", path, strerror(errno));
    if (fstat(fileno(in), &st) != 0 || !S_ISREG(st.st_mode) || st.st_size > FILE_BYTES_MAX) {
        fail(m, "%s: is no file of certificates or keys", path);
    } else {
        f->p = malloc((size_t)st.st_size + 1);
        if (f->p)
            f->n = (long)fread(f->p, 1, (size_t)st.st_size, in);
        good = f->p && !ferror(in);
        if (good)
            f->p[f->n] = 0;
        else
            fail(m, "%s: cannot be read", path);
    }
    fclose(in);
    if (!good) {
        file_free(f);
        *f = (struct file){NULL, 0};
    }
    return good;
}

/* ---- our certificate ---- */

static bool use_chain(struct making *m, const char *path, const struct file *f)
{
    int n = wc_CertPemToDer(f->p, (int)f->n, m->der, sizeof(m->der), CERT_TYPE);
    int code;

    if (n <= 0 || tls_names_expiry(bytes_of(m->der, (size_t)n), &m->context->expires) != OK)
        return fail(m, "%s: has no certificate in PEM", path);
    m->der_count = (uint32_t)n;
    code = wolfSSL_CTX_use_certificate_chain_buffer(m->context->ctx, f->p, f->n);
    if (code != WOLFSSL_SUCCESS)
        return fail(m, "%s: cannot be used: %s", path, tls_error_words(code));
    return true;
}

static bool use_key(struct making *m, const char *path, const struct file *f)
{
    int code;

    CHECK(f->p);
    if (memmem(f->p, (size_t)f->n, "ENCRYPTED", 9))
        return fail(m, "%s: the key has a password; take it off (openssl pkey)", path);
    code = wolfSSL_CTX_use_PrivateKey_buffer(m->context->ctx, f->p, f->n, WOLFSSL_FILETYPE_PEM);
    if (code != WOLFSSL_SUCCESS)
        return fail(m, "%s: has no private key in PEM that can be used", path);
    return true;
}

static bool use_certificate(struct making *m)
{
    const struct tls_settings *s = m->settings;
    struct file f;
    bool good;

    if (!s->certificate_file && !s->key_file)
        return true;
    if (!s->certificate_file)
        return fail(m, "%s: a key without a certificate (certfile)", s->key_file);
    if (!s->key_file)
        return fail(m, "%s: a certificate without a key (keyfile)", s->certificate_file);
    if (!file_read(m, s->certificate_file, &f))
        return false;
    good = use_chain(m, s->certificate_file, &f);
    file_free(&f);
    if (!good || !file_read(m, s->key_file, &f))
        return false;
    good = use_key(m, s->key_file, &f);
    file_free(&f);
    if (good && wolfSSL_CTX_check_private_key(m->context->ctx) != WOLFSSL_SUCCESS)
        return fail(m, "%s: is not the key of the certificate in %s", s->key_file,
                    s->certificate_file);
    return good;
}

/* ---- what our CA says of it ---- */

#ifdef WOLFSSL_STAPLE_GIVEN
/* The library, our build of it, sends these bytes as they are. */
static int on_status_request(void *user, const char *url, int url_count,
                             unsigned char *request, /* NOLINT: of the library's type */
                             int request_count, unsigned char **response)
{
    struct bytes staple = tls_context_staple(user, clock_wall_ms());

    (void)url, (void)url_count, (void)request, (void)request_count;
    *response = (unsigned char *)(uintptr_t)staple.p; /* it is only read */
    return (int)staple.n;
}

static bool staple(struct making *m)
{
    if (wolfSSL_CTX_EnableOCSPStapling(m->context->ctx) != WOLFSSL_SUCCESS ||
        wolfSSL_CTX_SetOCSP_Cb(m->context->ctx, on_status_request, NULL, m->context) !=
            WOLFSSL_SUCCESS)
        return fail(m, "no memory");
    return true;
}
#else
static bool staple(struct making *m)
{
    return fail(m,
                "%s: this wolfSSL cannot staple an OCSP response; one that was built for "
                "Causeway can (make without WOLFSSL=system)",
                m->settings->ocsp_file);
}
#endif

static bool staple_is_good(struct making *m, const char *path, struct bytes response)
{
    struct tls_staple_times *times = &m->context->staple_times;
    int64_t now = (int64_t)(m->settings->now_ms / 1000);
    const char *wrong = tls_staple_read(response, bytes_of(m->der, m->der_count), times);

    if (wrong)
        return fail(m, "%s: %s", path, wrong);
    if (times->from > now + STAPLE_EARLY_SECONDS)
        return fail(m, "%s: the OCSP response does not hold yet", path);
    if (times->until < now)
        return fail(m, "%s: the OCSP response has expired; fetch a newer one", path);
    return true;
}

static bool use_staple(struct making *m)
{
    const char *path = m->settings->ocsp_file;
    struct tls_context *c = m->context;
    struct file f;

    if (!path)
        return true;
    if (m->der_count == 0)
        return fail(m, "%s: a response without a certificate (certfile)", path);
    if (!file_read(m, path, &f))
        return false;
    c->staple = f.p; /* released with the context */
    c->staple_count = (uint32_t)f.n;
    if (f.n > (long)TLS_STAPLE_BYTES_MAX)
        return fail(m, "%s: it has %ld bytes, and may have %u", path, f.n, TLS_STAPLE_BYTES_MAX);
    return staple_is_good(m, path, bytes_of(c->staple, c->staple_count)) && staple(m);
}

struct bytes tls_context_staple(const struct tls_context *context, uint64_t now_ms)
{
    if ((int64_t)(now_ms / 1000) > context->staple_times.until)
        return bytes_of(NULL, 0);
    return bytes_of(context->staple, context->staple_count);
}

int64_t tls_context_staple_ends(const struct tls_context *context)
{
    return context->staple_times.until;
}

int64_t tls_context_staple_due(const struct tls_context *context)
{
    const struct tls_staple_times *t = &context->staple_times;

    return t->until - (t->until - t->from) / 4;
}

/* ---- whom we trust ---- */

static bool trust_file(struct making *m, const char *path, word32 flags)
{
    struct file f;
    int code;

    if (!file_read(m, path, &f))
        return false;
    code = wolfSSL_CTX_load_verify_buffer_ex(m->context->ctx, f.p, f.n, WOLFSSL_FILETYPE_PEM, 0,
                                             flags | WOLFSSL_LOAD_FLAG_DATE_ERR_OKAY);
    file_free(&f);
    if (code != WOLFSSL_SUCCESS)
        return fail(m, "%s: has no CA certificates that can be used: %s", path,
                    tls_error_words(code));
    return true;
}

/* Every file of the folder; one that is no certificate is passed over, but one must be. */
static bool trust_path(struct making *m, const char *path)
{
    DIR *dir = opendir(path);
    struct dirent *entry;
    unsigned good = 0;

    if (!dir)
        return fail(m, "%s: cannot be read: %s", path, strerror(errno));
    while ((entry = readdir(dir)) != NULL) {
        char name[PATH_MAX];

        if (entry->d_name[0] == '.')
            continue;
        if (snprintf(name, sizeof(name), "%s/%s", path, entry->d_name) < (int)sizeof(name))
            good += trust_file(m, name, WOLFSSL_LOAD_FLAG_IGNORE_ERR);
    }
    closedir(dir);
    return good > 0 || fail(m, "%s: has no file with CA certificates", path);
}

/* A file may have the lists of several CAs; the library takes one at a time. */
static bool use_revoked(struct making *m, const char *path)
{
    static const char begin[] = "-----BEGIN X509 CRL-----";
    struct file f;
    const char *at;
    unsigned count = 0;
    int code = wolfSSL_CTX_EnableCRL(m->context->ctx, WOLFSSL_CRL_CHECK);

    if (code != WOLFSSL_SUCCESS)
        return fail(m, "%s: this wolfSSL does not check CRLs", path);
    if (!file_read(m, path, &f))
        return false;
    CHECK(f.p);
    for (at = strstr((const char *)f.p, begin); at && code == WOLFSSL_SUCCESS; count++) {
        const char *next = strstr(at + 1, begin);
        const char *end = next ? next : (const char *)f.p + f.n;

        code = wolfSSL_CTX_LoadCRLBuffer(m->context->ctx, (const uint8_t *)at, end - at,
                                         WOLFSSL_FILETYPE_PEM);
        at = next;
    }
    file_free(&f);
    if (count == 0)
        return fail(m, "%s: has no revocation list in PEM", path);
    if (code != WOLFSSL_SUCCESS)
        return fail(m, "%s: the revocation list cannot be used: %s", path, tls_error_words(code));
    return true;
}

static bool use_trust(struct making *m)
{
    const struct tls_settings *s = m->settings;
    bool is_server = s->side == TLS_SERVER;

    if (!m->context->checks_peer && !(is_server && (s->ca_file || s->ca_path)))
        return true; /* a server reads what nobody is judged by, so that mistakes are found */
    if (is_server && s->psk_file)
        return true;
    if (is_server && !s->ca_file && !s->ca_path)
        return fail(m, "require_certificate needs the CAs of the clients (cafile or capath)");
    if (!is_server && !s->ca_file && !s->ca_path)
        return s->psk_identity || trust_file(m, SYSTEM_CA_FILE, WOLFSSL_LOAD_FLAG_IGNORE_ERR);
    if (s->ca_file && !trust_file(m, s->ca_file, WOLFSSL_LOAD_FLAG_NONE))
        return false;
    if (s->ca_path && !trust_path(m, s->ca_path))
        return false;
    return !s->crl_file || use_revoked(m, s->crl_file);
}

/* ---- versions and ciphers ---- */

/* The library has its own names for the ciphers of TLS 1.3. */
static bool put_ciphers_1_3(const struct making *m, const char *list, char *to, size_t room)
{
    static const char *const names[][2] = {
        {"TLS_AES_128_GCM_SHA256", "TLS13-AES128-GCM-SHA256"},
        {"TLS_AES_256_GCM_SHA384", "TLS13-AES256-GCM-SHA384"},
        {"TLS_CHACHA20_POLY1305_SHA256", "TLS13-CHACHA20-POLY1305-SHA256"},
    };

    to[0] = 0;
    for (const char *at = list; *at;) {
        size_t n = strcspn(at, ": ,");
        const char *known = NULL;

        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
            if (strlen(names[i][0]) == n && strncmp(names[i][0], at, n) == 0)
                known = names[i][1];
        }
        if (!known)
            return fail(m, "ciphers_tls1.3: %.*s is not known; there are %s, %s and %s", (int)n, at,
                        names[0][0], names[1][0], names[2][0]);
        if (strlen(to) + strlen(known) + 2 > room)
            return fail(m, "ciphers_tls1.3: the list is too long");
        if (to[0])
            strcat(to, ":");
        strcat(to, known);
        at += n + strspn(at + n, ": ,");
    }
    return to[0] || fail(m, "ciphers_tls1.3: the list is empty");
}

static bool use_ciphers(struct making *m)
{
    const struct tls_settings *s = m->settings;
    bool has_psk = s->psk_file || s->psk_identity;
    const char *list_1_2 = s->ciphers ? s->ciphers : has_psk ? LIST_1_2_PSK ":" LIST_1_2 : LIST_1_2;
    char list_1_3[512] = LIST_1_3;
    char list[4096];

    if (s->ciphers_tls1_3 && !put_ciphers_1_3(m, s->ciphers_tls1_3, list_1_3, sizeof(list_1_3)))
        return false;
    /* First alone, since of a list the library takes what it knows. */
    if (s->ciphers && wolfSSL_CTX_set_cipher_list(m->context->ctx, s->ciphers) != WOLFSSL_SUCCESS)
        return fail(m, "ciphers: none of %s is known; the default is %s", s->ciphers, LIST_1_2);
    if (snprintf(list, sizeof(list), "%s:%s", list_1_3, list_1_2) >= (int)sizeof(list))
        return fail(m, "ciphers: the list is too long");
    if (wolfSSL_CTX_set_cipher_list(m->context->ctx, list) != WOLFSSL_SUCCESS)
        return fail(m, "ciphers: %s cannot be used", list);
    return true;
}

static bool use_versions(struct making *m)
{
    const struct tls_settings *s = m->settings;
    int groups[] = {WOLFSSL_ECC_X25519, WOLFSSL_ECC_SECP256R1, WOLFSSL_ECC_SECP384R1};
    bool only_1_3 =
        s->version_min == TLS_VERSION_1_3 ||
        (s->version_min == TLS_VERSION_UNSET && s->side == TLS_SERVER && s->require_certificate);

    if (s->version_max == TLS_VERSION_1_2) {
        if (only_1_3)
            return fail(m, "TLS 1.2 at most and 1.3 at least exclude each other");
        for (int i = 0; i < 3; i++)
            (void)wolfSSL_CTX_UseSupportedCurve(m->context->ctx, (word16)groups[i]);
        return true; /* the method is one of 1.2 alone */
    }
    if (wolfSSL_CTX_SetMinVersion(m->context->ctx, only_1_3 ? WOLFSSL_TLSV1_3 : WOLFSSL_TLSV1_2) !=
            WOLFSSL_SUCCESS ||
        wolfSSL_CTX_set_groups(m->context->ctx, groups, 3) != WOLFSSL_SUCCESS)
        return fail(m, "this wolfSSL lacks TLS 1.3 or X25519");
    return true;
}

static WOLFSSL_METHOD *method_of(const struct tls_settings *s)
{
    if (s->version_max == TLS_VERSION_1_2)
        return s->side == TLS_SERVER ? wolfTLSv1_2_server_method() : wolfTLSv1_2_client_method();
    return s->side == TLS_SERVER ? wolfTLS_server_method() : wolfTLS_client_method();
}

/* ---- keys of both ---- */

static bool use_psk(struct making *m)
{
    const struct tls_settings *s = m->settings;
    struct tls_context *c = m->context;
    const char *wrong;

    if (s->side == TLS_SERVER && s->psk_file) {
        c->psks = tls_psks_read(s->psk_file, m->why, m->why_bytes);
        if (!c->psks)
            return false;
        wolfSSL_CTX_set_psk_server_callback(c->ctx, tls_on_psk);
        return !s->psk_hint ||
               wolfSSL_CTX_use_psk_identity_hint(c->ctx, s->psk_hint) == WOLFSSL_SUCCESS ||
               fail(m, "psk_hint: cannot be used");
    }
    if (s->side == TLS_CLIENT && s->psk_identity) {
        c->psk = malloc(sizeof(*c->psk));
        if (!c->psk)
            return fail(m, "no memory");
        wrong = tls_psk_parse(bytes_str(s->psk_identity), bytes_str(s->psk_key ? s->psk_key : ""),
                              c->psk);
        if (wrong)
            return fail(m, "psk: %s", wrong);
        wolfSSL_CTX_set_psk_client_callback(c->ctx, tls_on_psk_ask);
    }
    return true;
}

/* ---- whole ---- */

static bool settings_agree(const struct making *m)
{
    const struct tls_settings *s = m->settings;

    if (s->side == TLS_SERVER && s->psk_file && (s->certificate_file || s->require_certificate))
        return fail(m, "psk_file and a certificate exclude each other on one listener");
    if (s->side == TLS_SERVER && !s->psk_file && !s->certificate_file && !s->key_file)
        return fail(m, "a TLS listener needs certfile and keyfile, or psk_file");
    if (s->alpn && strlen(s->alpn) > TLS_ALPN_BYTES_MAX)
        return fail(m, "alpn: the list is too long");
    return true;
}

static void use_checks(struct making *m)
{
    struct tls_context *c = m->context;
    bool is_server = c->side == TLS_SERVER;
    int mode = WOLFSSL_VERIFY_NONE;

    if (c->checks_peer && !(is_server && m->settings->psk_file))
        mode = WOLFSSL_VERIFY_PEER | (is_server ? WOLFSSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0);
    wolfSSL_CTX_set_verify(c->ctx, mode, mode == WOLFSSL_VERIFY_NONE ? NULL : tls_on_certificate);
    wolfSSL_CTX_SetIORecv(c->ctx, tls_on_recv);
    wolfSSL_CTX_SetIOSend(c->ctx, tls_on_send);
    c->has_tickets = is_server ? !c->checks_peer && !m->settings->no_tickets : true;
    if (!is_server) {
        wolfSSL_CTX_UseSessionTicket(c->ctx);
        return;
    }
    wolfSSL_CTX_set_session_cache_mode(c->ctx, WOLFSSL_SESS_CACHE_OFF);
    if (c->has_tickets) {
        tls_tickets_enable(c->ctx);
        return;
    }
    wolfSSL_CTX_set_TicketEncCb(c->ctx, NULL); /* none is given, none is opened */
    wolfSSL_CTX_NoTicketTLSv12(c->ctx);
    wolfSSL_CTX_no_ticket_TLSv13(c->ctx);
}

static bool fill(struct making *m)
{
    const struct tls_settings *s = m->settings;
    struct tls_context *c = m->context;

    c->side = s->side;
    c->checks_peer = s->side == TLS_SERVER ? s->require_certificate || s->psk_file : !s->accept_any;
    if (!settings_agree(m))
        return false;
    if (s->alpn)
        strcpy(c->alpn, s->alpn);
    c->ctx = wolfSSL_CTX_new(method_of(s));
    if (!c->ctx)
        return fail(m, "no memory");
    use_checks(m);
    return use_psk(m) && use_versions(m) && use_ciphers(m) && use_certificate(m) && use_staple(m) &&
           use_trust(m);
}

struct tls_context *tls_context_create(const struct tls_settings *settings, char *why,
                                       size_t why_bytes)
{
    struct tls_context *c = calloc(1, sizeof(*c));
    struct making m = {.settings = settings, .context = c, .why = why, .why_bytes = why_bytes};

    if (why_bytes > 0)
        why[0] = 0;
    if (!c) {
        fail(&m, "no memory");
        return NULL;
    }
    store_relaxed(&c->holds, 1);
    if (fill(&m))
        return c;
    tls_context_release(c);
    return NULL;
}

struct tls_context *tls_context_ref(struct tls_context *context)
{
    uint32_t before = add_relaxed(&context->holds, 1); /* who calls has a hold already */

    CHECK(before > 0);
    return context;
}

void tls_context_release(struct tls_context *context)
{
    uint32_t before;

    if (!context)
        return;
    before = sub_acq_rel(&context->holds, 1); /* pairs with itself: the last sees all others' use */
    CHECK(before > 0);
    if (before > 1)
        return;
    wolfSSL_CTX_free(context->ctx);
    free(context->staple);
    tls_psks_destroy(context->psks);
    if (context->psk)
        explicit_bzero(context->psk, sizeof(*context->psk));
    free(context->psk);
    free(context);
}

int64_t tls_context_expires(const struct tls_context *context)
{
    return context->expires;
}

int32_t tls_context_days_left(const struct tls_context *context, uint64_t now_ms)
{
    int64_t left = context->expires - (int64_t)(now_ms / 1000);

    if (context->expires == 0)
        return INT32_MAX;
    return (int32_t)((left < 0 ? left - (DAY_SECONDS - 1) : left) / DAY_SECONDS);
}
