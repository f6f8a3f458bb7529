/* cfg/describe.c -- what a configuration opens, and what it should be warned of. */
#include "cfg/describe.h"

#include "core/policy/mount.h"

#include <stdarg.h>

/* Bytes of one warning. */
#define WARNING_BYTES 2048

struct listing {
    cfg_warning_sink *sink;
    void *user;
};

__attribute__((format(printf, 2, 3))) static void warn(const struct listing *to, const char *format,
                                                       ...)
{
    char text[WARNING_BYTES];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    to->sink(to->user, text);
}

/* Appends "NAME (ADDRESS)" of the listeners where links are believed; 0: there is none. */
static uint32_t print_link_listeners(const struct cfg *cfg, char *to, size_t room)
{
    uint32_t count = 0;
    size_t n = 0;

    to[0] = '\0';
    for (uint32_t i = 0; i < cfg->listener_count; i++) {
        const struct cfg_listener *l = &cfg->listeners[i];

        if (l->links == LINKS_NO)
            continue;
        if (n < room)
            n += (size_t)snprintf(to + n, room - n, "%s%.60s (%s)", count ? ", " : "", l->name,
                                  l->bind.text);
        count++;
    }
    return count;
}

/* Whether clients can prove who they are. */
static bool has_authentication(const struct cfg_listener *l)
{
    return l->methods.count || l->identity != IDENTITY_NONE;
}

/* Whether they can on any listener. */
static bool has_any_authentication(const struct cfg *cfg)
{
    for (uint32_t i = 0; i < cfg->listener_count; i++)
        if (has_authentication(&cfg->listeners[i]))
            return true;
    return false;
}

static void warn_of_link(const struct cfg *cfg, const struct cfg_link *link,
                         const struct listing *to)
{
    char listeners[1024];

    if (!link->enable)
        return;
    if (link->peer_identity) {
        if (!has_any_authentication(cfg))
            warn(to,
                 "link %s has a peer_identity, and nobody can prove one: there is no password_file "
                 "in [auth], and no listener with use_identity_as_username",
                 link->name);
        return;
    }
    if (print_link_listeners(cfg, listeners, sizeof(listeners)))
        warn(to,
             "link %s has no peer_identity: whoever may connect to listener %s may speak for it",
             link->name, listeners);
    else
        warn(to,
             "link %s can only be dialled from here: no listener takes links; write links = on "
             "in one",
             link->name);
}

static void warn_of_listener(const struct cfg *cfg, const struct cfg_listener *l,
                             const struct listing *to)
{
    if (!l->allow_anonymous && !cfg->auth.scram_file && !has_authentication(l))
        warn(to,
             "listener %s (%s) lets nobody in: allow_anonymous is false and there is no "
             "password_file, scram_file, jwt_key_file or http_auth_url in [auth]",
             l->name, l->bind.text);
    if (!cfg_listener_is_local(l) && !l->tls.is_on && l->methods.count)
        warn(to,
             "listener %s (%s) takes passwords without TLS: who can listen on the way learns them",
             l->name, l->bind.text);
    if (l->allow_anonymous && !has_authentication(l) && l->mount_point &&
        mount_names_user(bytes_str(l->mount_point)))
        warn(to,
             "listener %s (%s) lets everybody choose a branch of its mount_point: without "
             "authentication a user name is not proven",
             l->name, l->bind.text);
    if (!l->allow_anonymous || cfg_listener_is_local(l))
        return;
    if (cfg_methods_have(&l->methods, METHOD_HTTP))
        warn(to,
             "listener %s (%s) lets everybody in without a user name whom the server of "
             "http_auth_url ignores",
             l->name, l->bind.text);
    else
        warn(to, "listener %s (%s) lets everybody in who can reach %s", l->name, l->bind.text,
             l->proxy == CFG_PROXY_NO ? "it" : "its balancer");
}

void cfg_warnings(const struct cfg *cfg, cfg_warning_sink *sink, void *user)
{
    struct listing to = {.sink = sink, .user = user};
    bool has_clients = false;

    for (uint32_t i = 0; i < cfg->listener_count; i++) {
        warn_of_listener(cfg, &cfg->listeners[i], &to);
        has_clients |= cfg->listeners[i].links != LINKS_ONLY;
    }
    if (!has_clients)
        warn(&to, "no listener takes clients: all have links = only");
    for (uint32_t i = 0; i < cfg->link_count; i++)
        warn_of_link(cfg, &cfg->links[i], &to);
}

/* The ways of proving who one is, as "password, token or an HTTP server". */
static void print_methods(const struct cfg *cfg, const struct cfg_listener *l, FILE *to)
{
    static const char *const names[METHOD_COUNT] = {
        [METHOD_PASSWORD] = "password", [METHOD_JWT] = "token", [METHOD_HTTP] = "an HTTP server"};
    const char *ways[METHOD_COUNT + 1];
    uint32_t count = 0;

    for (uint32_t i = 0; i < METHOD_COUNT; i++) {
        enum cfg_method method = (enum cfg_method)i;

        if (cfg_methods_have(&l->methods, method) ||
            (method == METHOD_PASSWORD && cfg->auth.scram_file))
            ways[count++] = names[i];
    }
    if (l->allow_anonymous)
        ways[count++] =
            cfg_methods_have(&l->methods, METHOD_HTTP) ? "anonymous where it ignores" : "anonymous";
    for (uint32_t i = 0; i < count; i++)
        fprintf(to, "%s%s", i == 0 ? "" : i + 1 < count ? ", " : " or ", ways[i]);
}

static void print_who_may_connect(const struct cfg *cfg, const struct cfg_listener *l, FILE *to)
{
    if (l->identity != IDENTITY_NONE) {
        fputs(l->tls.require_certificate ? "by certificate" : "by pre-shared key", to);
    } else if (l->methods.count || cfg->auth.scram_file) {
        fputs("by ", to);
        print_methods(cfg, l, to);
    } else {
        fputs(l->allow_anonymous ? "without authentication" : "nobody may connect", to);
    }
}

static void describe_listener(const struct cfg *cfg, const struct cfg_listener *l, FILE *to)
{
    static const char *const links[] = {
        [LINKS_NO] = "no links", [LINKS_ON] = "links too", [LINKS_ONLY] = "links only"};

    fprintf(to, "listener %s: %s%s, %s, ", l->name, l->bind.text, l->tls.is_on ? " (TLS)" : "",
            cfg_listener_is_local(l) ? "this machine only" : "OPEN TO OTHER MACHINES");
    print_who_may_connect(cfg, l, to);
    fprintf(to, ", %s", links[l->links]);
    if (l->max_connections)
        fprintf(to, ", at most %u connections", l->max_connections);
    if (l->mount_point)
        fprintf(to, ", topics below %s", l->mount_point);
    fputc('\n', to);
}

/* Unless it is everything. */
static void describe_exports(const struct cfg_link *link, FILE *to)
{
    if (link->export_count == 1 && bytes_eq(link->exports[0], BYTES_LIT("#")))
        return;
    fputs(link->export_count ? ", they may have" : ", they may have nothing", to);
    for (uint32_t i = 0; i < link->export_count; i++)
        fprintf(to, " %.*s", (int)link->exports[i].n, (const char *)link->exports[i].p);
}

static void describe_link(const struct cfg_link *link, FILE *to)
{
    fprintf(to, "link %s: %s, %s", link->name, link->enable ? "enabled" : "disabled",
            link->server_count ? "to" : "it calls us");
    if (link->tls.is_on)
        fputs(link->tls.verify ? " (TLS)" : " (TLS, not verified)", to);
    for (uint32_t i = 0; i < link->server_count; i++)
        fprintf(to, link->servers[i].is_v6 ? " [%s]:%u" : " %s:%u", link->servers[i].host,
                (unsigned)link->servers[i].port);
    fputs(link->topic_count ? ", we want" : ", we want nothing", to);
    for (uint32_t i = 0; i < link->topic_count; i++)
        fprintf(to, " %.*s", (int)link->topics[i].n, (const char *)link->topics[i].p);
    describe_exports(link, to);
    fputc('\n', to);
}

static void print_warning(void *user, const char *text)
{
    fprintf(user, "warning: %s\n", text);
}

void cfg_describe(const struct cfg *cfg, FILE *to)
{
    fprintf(to, "configuration: %s\n", cfg->file ? cfg->file : "built-in");
    if (cfg->broker.workers)
        fprintf(to, "workers: %u\n", cfg->broker.workers);
    else
        fputs("workers: one for each core\n", to);
    fprintf(to, "cluster: %s\n", cfg->cluster.name ? cfg->cluster.name : "no name");
    for (uint32_t i = 0; i < cfg->listener_count; i++)
        describe_listener(cfg, &cfg->listeners[i], to);
    for (uint32_t i = 0; i < cfg->link_count; i++)
        describe_link(&cfg->links[i], to);
    cfg_warnings(cfg, print_warning, to);
}
