/* net/secrets.c -- what a configuration keeps in files of their own. */
#include "net/secrets.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/crypt.h"

/* A certificate that ends sooner is worth a warning. */
#define EXPIRES_SOON_DAYS 30
#define DAY_SECONDS 86400
#define DAYS_TEXT_BYTES 32
/* Bytes of one sentence. */
#define SAID_BYTES 1024

struct load {
    secrets_say *say;
    void *context;
    const char *file; /* the one that is read, for sentences about its lines */
    bool has_mistake;
};

__attribute__((format(printf, 3, 4))) static void say(struct load *l, bool is_mistake,
                                                      const char *format, ...)
{
    char text[SAID_BYTES];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    l->has_mistake |= is_mistake;
    l->say(l->context, is_mistake, text);
}

/* ---- files ---- */

/* Reads what is left of `fd`, which says of itself that it has `bytes`. */
static char *read_all(int fd, size_t bytes, size_t *n)
{
    char *text = malloc(bytes + 1);
    ssize_t came = 1;

    for (*n = 0; text && came > 0 && *n<bytes; *n += came> 0 ? (size_t)came : 0)
        came = read(fd, text + *n, bytes - *n);
    if (came >= 0)
        return text;
    free(text);
    return NULL;
}

/* The text of a regular file of at most `bytes_max`; NULL after saying why not. */
static char *read_file(struct load *l, const char *path, size_t bytes_max, size_t *n)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    char *text = NULL;
    struct stat st;

    if (fd < 0 || fstat(fd, &st) != 0)
        say(l, true, "%s: cannot be read: %s", path, strerror(errno));
    else if (!S_ISREG(st.st_mode))
        say(l, true, "%s: this is no file", path);
    else if ((size_t)st.st_size > bytes_max)
        say(l, true, "%s: it has %lld bytes, and may have %zu", path, (long long)st.st_size,
            bytes_max);
    else {
        text = read_all(fd, (size_t)st.st_size, n);
        if (!text)
            say(l, true, "%s: cannot be read: %s", path, strerror(errno));
    }
    if (fd >= 0)
        close(fd);
    return text;
}

/* ---- users and rules ---- */

static void say_of_line(struct load *l, bool is_mistake, uint32_t line, const char *what)
{
    if (line)
        say(l, is_mistake, "%s:%u: %s", l->file, line, what);
    else
        say(l, is_mistake, "%s: %s", l->file, what);
}

static void on_passwd(void *context, uint32_t line, bool is_warning, const char *what)
{
    say_of_line(context, !is_warning, line, what);
}

static void on_acl(void *context, bool is_mistake, uint32_t line, const char *what)
{
    say_of_line(context, is_mistake, line, what);
}

static void load_passwd(struct load *l, const char *path, const struct hash_key *key,
                        struct passwd **out)
{
    size_t n;
    char *text = read_file(l, path, USER_FILE_BYTES_MAX, &n);

    if (!text)
        return;
    l->file = path;
    if (passwd_parse(bytes_of(text, n), key, on_passwd, l, out) == ERR_MEMORY)
        say(l, true, "%s: no memory for it", path);
    crypt_wipe(text, n);
    free(text);
}

static void load_scram(struct load *l, const char *path, const struct hash_key *key,
                       struct scram_users **out)
{
    size_t n;
    char *text = read_file(l, path, USER_FILE_BYTES_MAX, &n);

    if (!text)
        return;
    l->file = path;
    if (scram_users_parse(bytes_of(text, n), key, on_passwd, l, out) == ERR_MEMORY)
        say(l, true, "%s: no memory for it", path);
    crypt_wipe(text, n);
    free(text);
}

static void load_acl(struct load *l, const char *path, const struct hash_key *key, struct acl **out)
{
    size_t n;
    char *text = read_file(l, path, ACL_BYTES_MAX, &n);

    if (!text)
        return;
    l->file = path;
    if (acl_create(bytes_of(text, n), key, on_acl, l, out) == ERR_MEMORY)
        say(l, true, "%s: no memory for it", path);
    free(text);
}

/* ---- keys for tokens ---- */

static void on_jwt(void *context, bool is_mistake, const char *what)
{
    say_of_line(context, is_mistake, 0, what);
}

typedef enum err jwt_add(struct jwt *j, struct bytes text, jwt_tell *tell, void *context);

static void load_keys(struct load *l, const char *path, jwt_add *add, struct jwt *jwt)
{
    size_t n;
    char *text = read_file(l, path, JWT_FILE_BYTES_MAX, &n);

    if (!text)
        return;
    l->file = path;
    if (add(jwt, bytes_of(text, n), on_jwt, l) == ERR_MEMORY)
        say(l, true, "%s: no memory for it", path);
    crypt_wipe(text, n);
    free(text);
}

static void load_jwt(struct load *l, const struct cfg_jwt *c, struct jwt **out)
{
    *out = jwt_create(c);
    if (!*out) {
        say(l, true, "no memory for keys of tokens");
        return;
    }
    if (c->key_file)
        load_keys(l, c->key_file, jwt_add_key_file, *out);
    if (c->jwks_file)
        load_keys(l, c->jwks_file, jwt_add_jwks, *out);
}

/* ---- certificates ---- */

static enum tls_version version_of(enum cfg_tls_version version)
{
    static const enum tls_version versions[] = {[CFG_TLS_DEFAULT] = TLS_VERSION_UNSET,
                                                [CFG_TLS_1_2] = TLS_VERSION_1_2,
                                                [CFG_TLS_1_3] = TLS_VERSION_1_3};

    return versions[version];
}

/* "less than a day", "1 day", "2 days". */
static const char *days_text(char text[DAYS_TEXT_BYTES], int64_t seconds)
{
    int64_t days = seconds / DAY_SECONDS;

    if (days == 0)
        snprintf(text, DAYS_TEXT_BYTES, "less than a day");
    else
        snprintf(text, DAYS_TEXT_BYTES, "%" PRId64 " day%s", days, days == 1 ? "" : "s");
    return text;
}

/* Warns where a certificate has ended or will soon. */
static void warn(struct load *l, const struct tls_context *context, const char *section,
                 const char *name, const char *file, uint64_t wall_ms)
{
    int64_t left = tls_context_expires(context) - (int64_t)(wall_ms / 1000);
    char days[DAYS_TEXT_BYTES];

    if (tls_context_expires(context) == 0)
        return;
    if (left < 0)
        say(l, false, "[%s %s]: certificate %s expired %s ago", section, name, file,
            days_text(days, -left));
    else if (left < EXPIRES_SOON_DAYS * DAY_SECONDS)
        say(l, false, "[%s %s]: certificate %s expires in %s", section, name, file,
            days_text(days, left));
}

/* Warns where a response is not stapled any more, or a newer one should be there. */
static void warn_of_staple(struct load *l, const struct tls_context *context,
                           const struct cfg_listener *c, uint64_t wall_ms)
{
    int64_t now = (int64_t)(wall_ms / 1000);
    int64_t ends = tls_context_staple_ends(context);
    char days[DAYS_TEXT_BYTES];

    if (ends == 0)
        return;
    if (now > ends)
        say(l, false, "[listener %s]: OCSP response %s expired %s ago and is not stapled any more",
            c->name, c->tls.ocsp_file, days_text(days, now - ends));
    else if (now >= tls_context_staple_due(context))
        say(l, false, "[listener %s]: OCSP response %s expires in %s; fetch a newer one", c->name,
            c->tls.ocsp_file, days_text(days, ends - now));
}

static struct tls_context *load_tls(struct load *l, const struct tls_settings *settings,
                                    const char *section, const char *name)
{
    char why[SAID_BYTES / 2];
    struct tls_context *context = tls_context_create(settings, why, sizeof(why));

    if (!context)
        say(l, true, "[%s %s]: %s", section, name, why);
    return context;
}

static struct tls_context *load_listener(struct load *l, const struct cfg_listener *c,
                                         uint64_t wall_ms)
{
    const struct cfg_tls *t = &c->tls;
    struct tls_settings settings = {
        .side = TLS_SERVER,
        .certificate_file = t->certfile,
        .key_file = t->keyfile,
        .ca_file = t->cafile,
        .ca_path = t->capath,
        .crl_file = t->crlfile,
        .ocsp_file = t->ocsp_file,
        .now_ms = wall_ms,
        .require_certificate = t->require_certificate,
        .version_min = version_of(t->version),
        .ciphers = t->ciphers,
        .ciphers_tls1_3 = t->ciphers_tls1_3,
        .alpn = "mqtt",
        .psk_file = t->psk_file,
        .psk_hint = t->psk_hint,
    };

    return load_tls(l, &settings, "listener", c->name);
}

static struct tls_context *load_link(struct load *l, const struct cfg_link *c)
{
    const struct cfg_tls *t = &c->tls;
    struct tls_settings settings = {
        .side = TLS_CLIENT,
        .certificate_file = t->certfile,
        .key_file = t->keyfile,
        .ca_file = t->cafile,
        .ca_path = t->capath,
        .crl_file = t->crlfile,
        .accept_any = !t->verify,
        .version_min = version_of(t->version),
        .ciphers = t->ciphers,
        .ciphers_tls1_3 = t->ciphers_tls1_3,
        .alpn = "mqtt",
    };

    return load_tls(l, &settings, "link", c->name);
}

enum err secrets_load(const struct cfg *cfg, const struct hash_key *key, uint64_t wall_ms,
                      secrets_say *say_fn, void *context, struct secrets *out)
{
    struct load l = {.say = say_fn, .context = context};

    memset(out, 0, sizeof(*out));
    for (uint32_t i = 0; i < cfg->listener_count; i++) {
        if (cfg->listeners[i].tls.is_on)
            out->listeners[i] = load_listener(&l, &cfg->listeners[i], wall_ms);
    }
    for (uint32_t i = 0; i < cfg->link_count; i++) {
        if (cfg->links[i].enable && cfg->links[i].tls.is_on)
            out->links[i] = load_link(&l, &cfg->links[i]);
    }
    if (cfg->auth.password_file)
        load_passwd(&l, cfg->auth.password_file, key, &out->passwd);
    if (cfg->auth.scram_file)
        load_scram(&l, cfg->auth.scram_file, key, &out->scram);
    if (cfg->auth.acl_file)
        load_acl(&l, cfg->auth.acl_file, key, &out->acl);
    if (cfg->auth.jwt.key_file || cfg->auth.jwt.jwks_file)
        load_jwt(&l, &cfg->auth.jwt, &out->jwt);
    if (!l.has_mistake) {
        secrets_warn(cfg, out, wall_ms, say_fn, context);
        return OK;
    }
    secrets_release(out);
    return ERR_PEER;
}

int64_t secrets_end(const struct secrets *s)
{
    int64_t first = 0;

    for (uint32_t i = 0; i < LISTENERS_MAX + LINKS_MAX; i++) {
        const struct tls_context *context =
            i < LISTENERS_MAX ? s->listeners[i] : s->links[i - LISTENERS_MAX];
        int64_t end = context ? tls_context_expires(context) : 0;

        if (end && (!first || end < first))
            first = end;
    }
    return first;
}

uint64_t secrets_staple_ms(const struct secrets *s, uint64_t wall_ms)
{
    int64_t now = (int64_t)(wall_ms / 1000);
    int64_t first = INT64_MAX;

    for (uint32_t i = 0; i < LISTENERS_MAX; i++) {
        int64_t due = s->listeners[i] ? tls_context_staple_due(s->listeners[i]) : 0;
        int64_t ended = s->listeners[i] ? tls_context_staple_ends(s->listeners[i]) + 1 : 0;

        if (due > now && due < first)
            first = due;
        if (ended > now && ended < first)
            first = ended;
    }
    return first == INT64_MAX ? UINT64_MAX : (uint64_t)first * 1000;
}

void secrets_warn(const struct cfg *cfg, const struct secrets *s, uint64_t wall_ms,
                  secrets_say *say_fn, void *context)
{
    struct load l = {.say = say_fn, .context = context};

    for (uint32_t i = 0; i < cfg->listener_count; i++) {
        if (s->listeners[i])
            warn(&l, s->listeners[i], "listener", cfg->listeners[i].name,
                 cfg->listeners[i].tls.certfile, wall_ms);
        if (s->listeners[i])
            warn_of_staple(&l, s->listeners[i], &cfg->listeners[i], wall_ms);
    }
    for (uint32_t i = 0; i < cfg->link_count; i++) {
        if (s->links[i])
            warn(&l, s->links[i], "link", cfg->links[i].name, cfg->links[i].tls.certfile, wall_ms);
    }
}

void secrets_release(struct secrets *s)
{
    for (uint32_t i = 0; i < LISTENERS_MAX; i++)
        tls_context_release(s->listeners[i]);
    for (uint32_t i = 0; i < LINKS_MAX; i++)
        tls_context_release(s->links[i]);
    passwd_release(s->passwd);
    scram_users_release(s->scram);
    acl_release(s->acl);
    jwt_release(s->jwt);
    memset(s, 0, sizeof(*s));
}
