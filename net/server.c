/* net/server.c -- the broker as a process. */
#include "net/server.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "cfg/change.h"
#include "cfg/describe.h"
#include "core/base/check.h"
#include "net/auth.h"
#include "net/ban.h"
#include "net/http_pool.h"
#include "net/clock.h"
#include "net/conn.h"
#include "net/crypt.h"
#include "net/heap.h"
#include "net/link_set.h"
#include "net/listener.h"
#include "net/resolver.h"

/* Descriptors that are not connections of clients: standard ones, log files, resolver, probes. */
#define DESCRIPTORS_SPARE 64u
/* Connections of one link, at most, for the same sum. */
#define DESCRIPTORS_LINK 16u
/* How often the main thread looks at workers that are stopping. */
#define STOP_POLL_MS 10
/* The main thread looks at the clock so often, where nothing wakes it. */
#define SERVE_WAIT_MS 3600000
/* Certificates that end soon are named so often. */
#define CERTIFICATE_WATCH_MS (24ull * 3600 * 1000)

static void say(struct server *s, int level, const char *event, const char *detail)
{
    struct log_line line = {.level = level, .event = event, .detail = detail};

    log_event(s->net.log, LOG_SOURCE_MAIN, &line);
}

/* ---- what the machine gives ---- */

/* Raises the soft limit of descriptors to the hard one; returns what it is then. */
static uint64_t raise_descriptors(void)
{
    struct rlimit r = {.rlim_cur = 1024, .rlim_max = 1024};

    if (getrlimit(RLIMIT_NOFILE, &r) != 0)
        return 1024;
    if (r.rlim_cur < r.rlim_max) {
        struct rlimit want = {.rlim_cur = r.rlim_max, .rlim_max = r.rlim_max};

        if (setrlimit(RLIMIT_NOFILE, &want) == 0)
            r = want;
    }
    return r.rlim_cur;
}

static uint32_t core_count(void)
{
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof(set), &set) != 0)
        return 1;
    return (uint32_t)CPU_COUNT(&set);
}

/* The `idx`-th core this process may use, or -1. */
static int core_at(uint32_t idx)
{
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof(set), &set) != 0)
        return -1;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET((size_t)cpu, &set) && idx-- == 0)
            return cpu;
    }
    return -1;
}

static uint32_t enabled_links(const struct cfg *cfg)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < cfg->link_count; i++)
        count += cfg->links[i].enable;
    return count;
}

static void count_workers(struct server *s)
{
    const struct cfg *cfg = s->options->cfg;
    uint32_t links = cfg->cluster.name && s->options->link_ops ? cfg->cluster.link_workers : 0;
    uint32_t workers = cfg->broker.workers ? cfg->broker.workers : core_count();

    if (links > LINK_WORKERS_MAX)
        links = LINK_WORKERS_MAX;
    if (workers > WORKERS_MAX - links)
        workers = WORKERS_MAX - links;
    s->net.client_worker_count = workers;
    s->net.worker_count = workers + links;
}

/* How many connections fit, and a word about it. */
static void count_connections(struct server *s, uint64_t descriptors)
{
    const struct cfg *cfg = s->options->cfg;
    uint64_t used = DESCRIPTORS_SPARE + (uint64_t)cfg->listener_count * s->net.worker_count +
                    2u * s->net.worker_count + (uint64_t)enabled_links(cfg) * DESCRIPTORS_LINK;
    uint64_t fit = descriptors > used ? descriptors - used : 1;
    uint32_t wanted = cfg->limits.connections;
    char text[256];

    if (fit > UINT32_MAX / 2)
        fit = UINT32_MAX / 2;
    s->net.connections_max = wanted && wanted < fit ? wanted : (uint32_t)fit;
    if (wanted > fit) {
        snprintf(text, sizeof(text),
                 "max_connections = %u, but only %llu fit: open files are limited to %llu; raise "
                 "the hard limit (ulimit -Hn, or LimitNOFILE= of the service)",
                 wanted, (unsigned long long)fit, (unsigned long long)descriptors);
        say(s, 4, "capacity", text);
        return;
    }
    snprintf(text, sizeof(text),
             "%u connections fit; open files are limited to %llu, to raise by ulimit -Hn or "
             "LimitNOFILE= of the service",
             s->net.connections_max, (unsigned long long)descriptors);
    say(s, 6, "capacity", text);
}

static void say_features(struct server *s)
{
    char with[256] = "";
    char without[256] = "";

    for (uint32_t f = 0; f < URING_FEATURE_COUNT; f++) {
        char *to = s->net.features & URING_BIT(f) ? with : without;
        size_t n = strlen(to);

        snprintf(to + n, sizeof(with) - n, "%s%s", n ? ", " : "",
                 uring_feature_name((enum uring_feature)f));
    }
    say(s, 6, "kernel features in use", *with ? with : "none");
    if (*without)
        say(s, 5, "kernel features missing", without);
}

/* ---- making ---- */

static void fill_rules(struct server *s)
{
    for (uint32_t i = 0; i < s->net.listener_count; i++) {
        const struct cfg_listener *l = &s->options->cfg->listeners[i];

        s->rules[i] = (struct listener_rules){
            .allow_anonymous = l->allow_anonymous,
            .is_loopback = cfg_listener_is_local(l),
            .links = (uint8_t)l->links,
            .versions = l->versions,
            .has_max_qos = true,
            .max_qos = l->max_qos,
            .mount_point = l->mount_point,
        };
    }
}

static enum err make_cluster(struct server *s)
{
    const struct cfg *cfg = s->options->cfg;
    struct cluster_config c = {
        .workers = s->net.client_worker_count,
        .link_workers = s->net.worker_count - s->net.client_worker_count,
        .limits = cfg->limits,
        .listeners = s->rules,
        .listener_count = s->net.listener_count,
        .links = s->net.links->rules,
        .link_count = LINKS_MAX,
        .cluster_name = cfg->cluster.name,
        .suback_linked = cfg->cluster.suback == SUBACK_LINKED,
        .version = s->options->version,
        .connections_max = s->net.connections_max,
        .acl = s->secrets.acl,
        .scram = s->secrets.scram,
        .scram_crypt = &crypt_scram,
        .acl_check_subscribe = cfg->auth.acl_check_subscribe,
        .check_retain_source = cfg->auth.check_retain_source,
    };

    if (getrandom(c.seed, sizeof(c.seed), 0) != (ssize_t)sizeof(c.seed)) {
        snprintf(s->why, sizeof(s->why), "no random numbers: %s", strerror(errno));
        return ERR_SYSTEM;
    }
    fill_rules(s);
    s->net.cluster = cluster_create(&c, clock_mono_ms(), clock_wall_ms());
    if (!s->net.cluster) {
        snprintf(s->why, sizeof(s->why), "no memory for %u workers", s->net.worker_count);
        return ERR_MEMORY;
    }
    return OK;
}

static enum err bind_all(struct server *s)
{
    const struct cfg *cfg = s->options->cfg;

    s->net.listeners = aligned_alloc(_Alignof(struct listener),
                                     (cfg->listener_count + 1) * sizeof(*s->net.listeners));
    if (!s->net.listeners) {
        snprintf(s->why, sizeof(s->why), "no memory for listeners");
        return ERR_MEMORY;
    }
    memset(s->net.listeners, 0, (cfg->listener_count + 1) * sizeof(*s->net.listeners));
    for (; s->net.listener_count < cfg->listener_count; s->net.listener_count++) {
        enum err err = listener_open(&s->net.listeners[s->net.listener_count],
                                     &cfg->listeners[s->net.listener_count],
                                     s->net.client_worker_count, s->why, sizeof(s->why));

        if (err != OK)
            return err;
    }
    return OK;
}

static enum err make_workers(struct server *s)
{
    struct net *net = &s->net;

    net->workers = calloc(net->worker_count, sizeof(struct worker *));
    if (!net->workers) {
        snprintf(s->why, sizeof(s->why), "no memory for workers");
        return ERR_MEMORY;
    }
    if (net->worker_count > net->client_worker_count) {
        net->resolver = resolver_create();
        if (!net->resolver) {
            snprintf(s->why, sizeof(s->why), "no thread for looking up names: %s", strerror(errno));
            return ERR_SYSTEM;
        }
    }
    for (uint32_t i = 0; i < net->worker_count; i++) {
        net->workers[i] = worker_create(net, i, s->why, sizeof(s->why));
        if (!net->workers[i])
            return ERR_SYSTEM;
        if (s->options->cfg->broker.pin && net->worker_count <= core_count())
            net->workers[i]->cpu = core_at(i);
    }
    return OK;
}

/* ---- certificates, users, rules ---- */

static void print_secret(void *context, bool is_mistake, const char *text)
{
    (void)context;
    fprintf(stderr, is_mistake ? "causeway: %s\n" : "causeway: warning: %s\n", text);
}

static void log_secret(void *context, bool is_mistake, const char *text)
{
    say(context, is_mistake ? 3 : 4, is_mistake ? "reload failed" : "configuration", text);
}

enum err server_check(const struct cfg *cfg)
{
    struct hash_key key = {{1, 2, 3, 4}}; /* nobody chooses names against this one */
    struct secrets secrets;
    enum err err = tls_init();

    if (err != OK)
        return err;
    err = secrets_load(cfg, &key, clock_wall_ms(), print_secret, NULL, &secrets);
    if (err == OK)
        secrets_release(&secrets);
    tls_fini();
    return err;
}

/* The configuration that counts: that of the start, with the links read last. */
static const struct cfg *cfg_now(const struct server *s)
{
    return s->reread.now ? s->reread.now : s->options->cfg;
}

/* Puts what was read where connections and workers find it. */
static void use_secrets(struct server *s, struct secrets *fresh, struct link_set *links)
{
    struct net *net = &s->net;
    struct secrets old = s->secrets;
    struct link_set *old_links;

    s->secrets = *fresh;
    for (uint32_t i = 0; i < net->listener_count; i++)
        listener_use_tls(&net->listeners[i], s->secrets.listeners[i]);
    auth_replace(net->auth, s->secrets.passwd, s->secrets.jwt);
    store_relaxed(&net->certificate_ends, secrets_end(&s->secrets)); /* stands alone */
    pthread_mutex_lock(&net->rules_lock);
    net->passwd = s->secrets.passwd;
    net->scram = s->secrets.scram;
    net->acl = s->secrets.acl;
    old_links = net->links;
    net->links = links;
    /* pairs with load_acquire in worker.c */
    store_release(&net->rules_version, load_relaxed(&net->rules_version) + 1);
    pthread_mutex_unlock(&net->rules_lock);
    link_set_release(old_links);
    secrets_release(&old);
}

/* Starts what asks HTTP servers, where one is to be asked. */
static bool use_http(struct server *s, const struct cfg_auth *auth)
{
    struct http_pool_settings settings = {.threads = auth->http_threads,
                                          .connect_ms = auth->http_connect_ms,
                                          .timeout_ms = auth->http_timeout_ms,
                                          .ca_file = auth->http_cafile};

    if (!auth->http_auth_url && !auth->http_acl_url)
        return true;
    s->net.http = http_pool_create(&settings, s->why, sizeof(s->why));
    if (s->net.http && auth->http_auth_url)
        auth_use_http(s->net.auth, s->net.http, auth->http_auth_url);
    return s->net.http != NULL;
}

static enum err read_secrets(struct server *s)
{
    const struct cfg_auth *auth = &s->options->cfg->auth;
    struct link_set *links;
    struct secrets fresh;

    if (tls_init() != OK) {
        snprintf(s->why, sizeof(s->why), "the TLS library does not start");
        return ERR_SYSTEM;
    }
    s->has_tls = true;
    if (getrandom(&s->key, sizeof(s->key), 0) != (ssize_t)sizeof(s->key)) {
        snprintf(s->why, sizeof(s->why), "no random numbers: %s", strerror(errno));
        return ERR_SYSTEM;
    }
    s->net.auth = auth_create(auth->threads, auth->cache_ms, s->why, sizeof(s->why));
    if (!s->net.auth || !use_http(s, auth))
        return ERR_SYSTEM;
    if (secrets_load(s->options->cfg, &s->key, clock_wall_ms(), print_secret, NULL, &fresh) != OK) {
        snprintf(s->why, sizeof(s->why), "not started");
        return ERR_SYSTEM;
    }
    links = link_set_create(s->options->cfg, &fresh, NULL);
    if (!links) {
        secrets_release(&fresh);
        snprintf(s->why, sizeof(s->why), "no memory for links");
        return ERR_MEMORY;
    }
    use_secrets(s, &fresh, links);
    return OK;
}

/* Once a day, since a certificate that is forgotten ends on a Sunday, and whenever there is
 * something new to say of an OCSP response. Returns how long nothing needs to be looked at. */
static int watch_certificates(struct server *s)
{
    uint64_t now_ms = clock_wall_ms();
    uint64_t staple_ms;

    if (now_ms >= s->watch_ms) {
        if (s->watch_ms)
            secrets_warn(cfg_now(s), &s->secrets, now_ms, log_secret, s);
        staple_ms = secrets_staple_ms(&s->secrets, now_ms);
        s->watch_ms = now_ms + CERTIFICATE_WATCH_MS;
        if (staple_ms < s->watch_ms)
            s->watch_ms = staple_ms;
    }
    return now_ms + SERVE_WAIT_MS < s->watch_ms ? SERVE_WAIT_MS : (int)(s->watch_ms - now_ms);
}

static enum err make_bans(struct server *s)
{
    const struct cfg_auth *auth = &s->options->cfg->auth;
    struct ban_rules rules = {.failures_max = auth->failures_max,
                              .window_ms = auth->failure_window_ms,
                              .ban_ms = auth->ban_ms,
                              .exempt = &auth->ban_exempt};

    if (!auth->ban_ms)
        return OK;
    s->net.bans = bans_create(&rules, &s->key, BAN_PLACES);
    if (s->net.bans)
        return OK;
    snprintf(s->why, sizeof(s->why), "no memory for the table of bans");
    return ERR_MEMORY;
}

/* A text that lines are put to, as many as there is room for. */
struct answer {
    struct server *server;
    char *text;
    size_t room, n;
};

static void put_line(struct answer *a, const char *line)
{
    int n = snprintf(a->text + a->n, a->room - a->n, "%s%s", a->n ? "\n" : "", line);

    if (n > 0)
        a->n += (size_t)n < a->room - a->n ? (size_t)n : a->room - a->n - 1;
}

static void log_and_answer(void *context, bool is_mistake, const char *text)
{
    struct answer *a = context;

    log_secret(a->server, is_mistake, text);
    put_line(a, text);
}

static void say_links(void *context, const char *what)
{
    struct answer *a = context;

    say(a->server, 5, "links", what);
    put_line(a, what);
}

/* Makes what was read count, all of it or, after a mistake, nothing. */
static enum err use_reread(struct answer *a, struct reread *fresh)
{
    struct server *s = a->server;
    struct secrets secrets;
    struct link_set *links;

    if (secrets_load(fresh->now, &s->key, clock_wall_ms(), log_and_answer, a, &secrets) != OK)
        return ERR_PEER;
    links = link_set_create(fresh->now, &secrets, s->net.links);
    if (!links) {
        secrets_release(&secrets);
        log_and_answer(a, true, "no memory for links");
        return ERR_PEER;
    }
    use_secrets(s, &secrets, links);
    s->watch_ms = 0; /* all has been said just now; when next, watch_certificates finds out */
    for (uint32_t i = 0; i < s->net.worker_count; i++)
        worker_ring(s->net.workers[i]);
    cfg_link_changes(cfg_now(s), fresh->now, say_links, a);
    reread_free(&s->reread);
    s->reread = *fresh;
    *fresh = (struct reread){0};
    return OK;
}

/* Reads all anew, with the links of `given`, or, if that is NULL, of the file. */
static enum err read_anew(struct server *s, struct cfg *given, char *text, size_t text_bytes)
{
    static const char undone[] = "certificates, users, rules and links stay as they were";
    static const char done[] = "certificates, users, rules and links";
    bool can_link = s->net.worker_count > s->net.client_worker_count;
    struct answer a = {.server = s, .text = text, .room = text_bytes};
    struct reread fresh = {0};
    enum err err = OK;

    text[0] = 0;
    if (!given && s->options->file)
        err = reread_file(s->options->file, s->options->port, log_and_answer, &a, &given);
    if (err == OK)
        err = reread_take(s->options->cfg, given, can_link, log_and_answer, &a, &fresh);
    if (err == OK)
        err = use_reread(&a, &fresh);
    reread_free(&fresh);
    if (err != OK) {
        say(s, 3, "nothing reloaded", undone);
        put_line(&a, undone);
        return ERR_PEER;
    }
    say(s, 5, "reloaded", done);
    put_line(&a, "reloaded: certificates, users, rules and links");
    return OK;
}

enum err server_reload(struct server *s, char *text, size_t text_bytes)
{
    return server_set_links(s, NULL, text, text_bytes);
}

enum err server_set_links(struct server *s, struct cfg *links, char *text, size_t text_bytes)
{
    enum err err;

    CHECK(text_bytes > 0);
    text[0] = 0;
    if (reload_is_main(&s->reload))
        return read_anew(s, links, text, text_bytes);
    err = reload_ask(&s->reload, links, text, text_bytes);
    if (err == ERR_SYSTEM)
        cfg_free(links);
    return err;
}

/* Reads anew for other threads, where some wait for it. */
static void reload_for_others(struct server *s)
{
    char text[SERVER_RELOAD_BYTES];
    void *links;
    enum err err;

    if (!reload_take(&s->reload, &links))
        return;
    err = read_anew(s, links, text, sizeof(text));
    reload_answer(&s->reload, err, text);
}

enum err server_init(struct server *s, const struct server_options *options)
{
    const struct cfg *cfg = options->cfg;
    enum err err;

    memset(s, 0, sizeof(*s));
    s->options = options;
    s->signal_fd = -1;
    s->net.cfg = cfg;
    s->net.link_ops = options->link_ops;
    if (reload_init(&s->reload) != OK) {
        snprintf(s->why, sizeof(s->why), "no descriptor: %s", strerror(errno));
        return ERR_SYSTEM;
    }
    count_workers(s);
    s->net.log = log_create(&cfg->log, s->net.worker_count, s->why, sizeof(s->why));
    if (!s->net.log)
        return ERR_SYSTEM;
    pthread_mutex_init(&s->net.rules_lock, NULL);
    err = read_secrets(s);
    if (err == OK)
        err = make_bans(s);
    if (err != OK)
        return err;
    err = uring_probe(getenv("CAUSEWAY_MASK"), &s->net.features, s->why, sizeof(s->why));
    if (err != OK)
        return err;
    err = bind_all(s);
    if (err != OK)
        return err;
    for (uint32_t i = 0; i < s->net.listener_count; i++)
        listener_use_tls(&s->net.listeners[i], s->secrets.listeners[i]);
    count_connections(s, raise_descriptors());
    err = make_cluster(s);
    if (err != OK)
        return err;
    return make_workers(s);
}

void server_fini(struct server *s)
{
    struct net *net = &s->net;

    auth_stop(net->auth);
    http_pool_stop(net->http);
    resolver_destroy(net->resolver);
    for (uint32_t i = 0; net->workers && i < net->worker_count; i++)
        worker_destroy(net->workers[i]);
    free(net->workers);
    for (uint32_t i = 0; net->listeners && i < s->options->cfg->listener_count; i++)
        listener_close(&net->listeners[i], net->client_worker_count);
    free(net->listeners);
    if (net->cluster)
        cluster_destroy(net->cluster);
    http_pool_destroy(net->http); /* drops questions of auth */
    auth_destroy(net->auth);
    bans_destroy(net->bans);
    secrets_release(&s->secrets);
    link_set_release(net->links);
    reread_free(&s->reread);
    pthread_mutex_destroy(&net->rules_lock);
    if (s->has_tls)
        tls_fini();
    log_destroy(net->log);
    reload_fini(&s->reload);
    if (s->signal_fd >= 0)
        close(s->signal_fd);
}

/* ---- running ---- */

static void on_check(const char *file, int line, const char *what)
{
    char text[512];
    int n = snprintf(text, sizeof(text), "causeway: %s:%d: this must hold and does not: %s\n", file,
                     line, what);

    if (n > 0)
        (void)!write(STDERR_FILENO, text, (size_t)n);
}

/* Signals come through a descriptor; threads that are made later inherit the mask. */
static void block_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGUSR1);
    sigaddset(set, SIGHUP);
    signal(SIGPIPE, SIG_IGN);
    pthread_sigmask(SIG_BLOCK, set, NULL);
}

static enum err take_signals(struct server *s, const sigset_t *set)
{
    s->signal_fd = signalfd(-1, set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (s->signal_fd >= 0)
        return OK;
    snprintf(s->why, sizeof(s->why), "signals: %s", strerror(errno));
    return ERR_SYSTEM;
}

static enum err write_pid_file(struct server *s)
{
    const char *path = s->options->cfg->broker.pid_file;
    FILE *f;

    if (!path)
        return OK;
    f = fopen(path, "we");
    if (!f || fprintf(f, "%ld\n", (long)getpid()) < 0 || fclose(f) != 0) {
        snprintf(s->why, sizeof(s->why), "the pid file %s cannot be written: %s", path,
                 strerror(errno));
        return ERR_SYSTEM;
    }
    s->has_pid_file = true;
    return OK;
}

static void say_warning(void *user, const char *text)
{
    say(user, 4, "configuration", text);
}

static void say_start(struct server *s)
{
    const struct net *net = &s->net;
    char text[256];

    snprintf(text, sizeof(text), "causeway %s, %u workers, %u link workers, pid %ld, %s",
             s->options->version, net->client_worker_count,
             net->worker_count - net->client_worker_count, (long)getpid(), heap_name());
    say(s, 5, "starting", text);
    say_features(s);
    if (enabled_links(s->options->cfg) && !s->options->link_ops)
        say(s, 4, "links configured", "this build has no links: they are left out");
    cfg_warnings(s->options->cfg, say_warning, s);
    for (uint32_t i = 0; i < net->listener_count; i++) {
        static const char *const links[] = {"clients", "clients and links", "links only"};
        const struct cfg_listener *l = net->listeners[i].config;
        struct log_line line = {.level = 5, .event = "listening", .listener = l->name};

        snprintf(text, sizeof(text), "%s%s, %s%s", l->bind.text, l->tls.is_on ? ", TLS" : "",
                 links[l->links], l->allow_anonymous ? ", anonymous allowed" : "");
        line.detail = text;
        log_event(net->log, LOG_SOURCE_MAIN, &line);
    }
}

static enum err start_workers(struct server *s)
{
    for (uint32_t i = 0; i < s->net.worker_count; i++) {
        if (worker_start(s->net.workers[i]) != OK) {
            snprintf(s->why, sizeof(s->why), "no thread for worker %u: %s", i, strerror(errno));
            return ERR_SYSTEM;
        }
    }
    return OK;
}

static void set_phase(struct server *s, enum net_phase phase)
{
    store_release(&s->net.phase, phase); /* pairs with load_acquire in worker.c */
    for (uint32_t i = 0; i < s->net.worker_count; i++) {
        if (s->net.workers[i])
            worker_ring(s->net.workers[i]);
    }
}

/* The next signal, or 0. */
static int next_signal(struct server *s)
{
    struct signalfd_siginfo info;

    if (read(s->signal_fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
        return 0;
    return (int)info.ssi_signo;
}

bool server_serve(struct server *s, int timeout_ms)
{
    struct pollfd fds[] = {
        {.fd = s->signal_fd, .events = POLLIN},
        {.fd = log_wait_fd(s->net.log), .events = POLLIN},
        {.fd = s->reload.fd, .events = POLLIN},
    };
    char text[SERVER_RELOAD_BYTES];
    bool must_stop = false;
    int signo;

    (void)poll(fds, sizeof(fds) / sizeof(fds[0]), timeout_ms);
    while ((signo = next_signal(s)) != 0) {
        if (signo == SIGUSR1) {
            log_reopen(s->net.log);
            say(s, 5, "log files reopened", NULL);
        } else if (signo == SIGHUP) {
            server_reload(s, text, sizeof(text)); /* the log has all of it */
        } else {
            must_stop = true;
        }
    }
    reload_for_others(s);
    log_drain(s->net.log);
    return must_stop;
}

static uint32_t open_connections(const struct server *s)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < s->net.worker_count; i++)
        count += load_relaxed(&s->net.workers[i]->conn_count);
    return count;
}

void server_stop(struct server *s)
{
    uint64_t until = clock_mono_ms() + SERVER_STOP_MS;
    struct heap_stats heap;
    char text[160];

    heap_stats_read(&heap);
    snprintf(text, sizeof(text), "%u connections; memory: %llu KiB allocated, %llu KiB resident",
             open_connections(s), (unsigned long long)(heap.allocated / 1024),
             (unsigned long long)(heap.resident / 1024));
    say(s, 5, "stopping", text);
    set_phase(s, NET_STOPPING);
    do {
        if (server_serve(s, STOP_POLL_MS))
            break;
    } while (open_connections(s) > 0 && clock_mono_ms() < until);
    set_phase(s, NET_STOPPED);
    reload_close(&s->reload);
    for (uint32_t i = 0; i < s->net.worker_count; i++)
        worker_join(s->net.workers[i]);
    say(s, 5, "stopped", NULL);
}

/* After a failure: says it, and ends what threads there are. */
static void give_up(struct server *s)
{
    fprintf(stderr, "causeway: %s\n", s->why);
    if (!s->net.workers)
        return;
    set_phase(s, NET_STOPPED);
    for (uint32_t i = 0; i < s->net.worker_count && s->net.workers[i]; i++)
        worker_join(s->net.workers[i]);
}

int server_run(const struct server_options *options)
{
    static struct server s;
    sigset_t signals;
    enum err err;

    check_set_handler(on_check);
    block_signals(&signals);
    err = server_init(&s, options);
    if (err == OK)
        err = take_signals(&s, &signals);
    if (err == OK)
        err = write_pid_file(&s);
    if (err == OK) {
        say_start(&s);
        err = start_workers(&s);
    }
    if (err == OK) {
        while (!server_serve(&s, watch_certificates(&s)))
            continue;
        server_stop(&s);
        if (load_acquire(&s.net.has_failed)) /* pairs with store_release in worker.c */
            err = ERR_SYSTEM;
    } else {
        give_up(&s);
    }
    if (s.has_pid_file)
        unlink(options->cfg->broker.pid_file);
    server_fini(&s);
    return err == OK ? 0 : 1;
}
