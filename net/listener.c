/* net/listener.c -- the sockets that connections come in by, and who may come in. */
#include "net/listener.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/base/check.h"
#include "net/conn.h"
#include "net/crypt.h"
#include "net/layers.h"
#include "net/proxy.h"

/* ---- layers ---- */

static enum err sha1(const uint8_t *p, uint32_t n, uint8_t digest[WS_SHA1_BYTES])
{
    struct bytes part = bytes_of(p, n);

    return crypt_sha1(&part, 1, digest);
}

static void set_ws_rules(struct listener *l)
{
    const struct cfg_listener *c = l->config;

    if (c->protocol != PROTOCOL_WEBSOCKETS)
        return;
    l->ws = (struct ws_rules){.path = bytes_str(c->websockets_path),
                              .origins = c->websockets_origins.v,
                              .origin_count = c->websockets_origins.count,
                              .header_bytes = c->websockets_headers_size,
                              .sha1 = sha1};
    if (l->ws.path.n == 1)
        l->ws.path.n = 0; /* "/" */
}

bool listener_has_layers(const struct listener *l)
{
    return l->config->tls.is_on || l->config->protocol == PROTOCOL_WEBSOCKETS ||
           l->config->proxy != CFG_PROXY_NO;
}

bool listener_knows(const struct listener *l, const uint8_t *ip, uint32_t n)
{
    const struct cfg_listener *c = l->config;

    if (c->proxy != CFG_PROXY_NO)
        return cidr_has(&c->proxy_trusted, ip, n);
    return (!c->networks.allow.count && !c->networks.deny.count) ||
           cidr_admits(&c->networks, ip, n);
}

bool listener_knows_all(const struct listener *l)
{
    const struct cfg_listener *c = l->config;

    return c->proxy == CFG_PROXY_NO && !c->networks.allow.count && !c->networks.deny.count;
}

bool listener_admits(const struct listener *l, const uint8_t *ip, uint32_t n)
{
    const struct cfg_listener *c = l->config;

    return (!c->networks.allow.count && !c->networks.deny.count) ||
           cidr_admits(&c->networks, ip, n);
}

void listener_use_tls(struct listener *l, struct tls_context *context)
{
    struct tls_context *old;

    pthread_mutex_lock(&l->tls_lock);
    old = l->tls;
    l->tls = context ? tls_context_ref(context) : NULL;
    pthread_mutex_unlock(&l->tls_lock);
    tls_context_release(old);
}

struct layers *listener_layers(struct listener *l)
{
    static const uint32_t versions[] = {[CFG_PROXY_NO] = 0,
                                        [CFG_PROXY_1] = PROXY_V1,
                                        [CFG_PROXY_2] = PROXY_V2,
                                        [CFG_PROXY_ON] = PROXY_ANY};
    struct layers_rules rules = {
        .proxy = versions[l->config->proxy],
        .ws = l->config->protocol == PROTOCOL_WEBSOCKETS ? &l->ws : NULL,
    };
    struct layers *layers;

    pthread_mutex_lock(&l->tls_lock);
    rules.tls = l->tls ? tls_context_ref(l->tls) : NULL;
    pthread_mutex_unlock(&l->tls_lock);
    CHECK(rules.tls || !l->config->tls.is_on);
    layers = layers_create(&rules);
    tls_context_release(rules.tls);
    return layers;
}

/* ---- binding ---- */

static socklen_t make_address(const struct cfg_address *a, struct sockaddr_storage *to)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)to;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)to;

    memset(to, 0, sizeof(*to));
    if (a->is_v6) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(a->port);
        memcpy(&v6->sin6_addr, a->ip, 16);
        return sizeof(*v6);
    }
    v4->sin_family = AF_INET;
    v4->sin_port = htons(a->port);
    memcpy(&v4->sin_addr, a->ip, 4);
    return sizeof(*v4);
}

static bool set_option(int fd, int level, int option)
{
    int one = 1;

    return setsockopt(fd, level, option, &one, sizeof(one)) == 0;
}

/* A bound socket or -1 with errno. TCP_NODELAY is inherited by what it accepts: tcp(7). */
static int bind_one(const struct cfg_listener *c, bool is_shared)
{
    struct sockaddr_storage address;
    socklen_t n = make_address(&c->bind, &address);
    int fd = socket(c->bind.is_v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int error;

    if (fd < 0)
        return -1;
    if (!set_option(fd, SOL_SOCKET, SO_REUSEADDR) ||
        (c->bind.is_v6 && !set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY)) ||
        (is_shared && !set_option(fd, SOL_SOCKET, SO_REUSEPORT)) ||
        (c->set_tcp_nodelay && !set_option(fd, IPPROTO_TCP, TCP_NODELAY)) ||
        bind(fd, (struct sockaddr *)&address, n) != 0) {
        error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

/* Whether we could have the address to ourselves; errno says why not. */
static bool is_free(const struct cfg_listener *c)
{
    int fd = bind_one(c, false);
    bool can = fd >= 0 && listen(fd, 1) == 0;
    int error = errno;

    if (fd >= 0)
        close(fd);
    errno = error;
    return can;
}

/* ---- Unix sockets ---- */

static socklen_t make_path(const struct cfg_address *a, struct sockaddr_un *to)
{
    *to = (struct sockaddr_un){.sun_family = AF_UNIX};
    (void)bytes_put((uint8_t *)to->sun_path, bytes_str(a->path)); /* cfg: there is room */
    return sizeof(*to);
}

/* Whether nobody listens there any more. The kernel gives up the rings of a process that was killed
 * in the background: until then its socket still takes connections, and then cuts them. So one that
 * was taken is watched for a moment, and if it is cut the question is put again. */
static bool is_deserted(const struct sockaddr_un *address, int wait_ms)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct pollfd cut = {.fd = fd, .events = POLLIN};
    bool is_refused, is_cut = false;

    if (fd < 0)
        return false;
    is_refused = connect(fd, (const struct sockaddr *)address, sizeof(*address)) != 0 &&
                 errno == ECONNREFUSED;
    if (!is_refused && wait_ms > 0)
        is_cut = poll(&cut, 1, wait_ms) > 0;
    close(fd);
    return is_refused || (is_cut && is_deserted(address, 0));
}

/* Whether the file is a socket that was left behind. errno says why not. */
static bool is_stale(const struct sockaddr_un *address)
{
    struct stat st;
    bool is_socket = lstat(address->sun_path, &st) == 0 && S_ISSOCK(st.st_mode);
    bool is_left = is_socket && is_deserted(address, LISTENER_GHOST_MS);

    errno = is_socket ? EADDRINUSE : ENOTSOCK;
    return is_left;
}

/* bind(2) makes the file; the mask makes it with the right mode at once. */
static int bind_file(int fd, const struct sockaddr_un *address, uint32_t mode)
{
    mode_t mask = umask(0777 & ~mode);
    int result = bind(fd, (const struct sockaddr *)address, sizeof(*address));
    int error = errno;

    (void)umask(mask);
    errno = error;
    return result;
}

/* Gives the new file to whom it is meant for, and notes which one it is. */
static bool own_file(struct listener *l, const char *path)
{
    const struct cfg_listener *c = l->config;
    struct stat st;

    if (lstat(path, &st) != 0)
        return false;
    l->has_file = true;
    l->file_device = st.st_dev;
    l->file_number = st.st_ino;
    return (c->socket_uid == UINT32_MAX && c->socket_gid == UINT32_MAX) ||
           lchown(path, c->socket_uid, c->socket_gid) == 0;
}

/* A listening socket in fds[0]; until listen(2) nobody can connect. errno says why not. */
static bool open_unix(struct listener *l)
{
    struct sockaddr_un address;

    (void)make_path(&l->config->bind, &address);
    l->fds[0] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (l->fds[0] < 0)
        return false;
    if (bind_file(l->fds[0], &address, l->config->socket_mode) != 0 &&
        (errno != EADDRINUSE || !is_stale(&address) || unlink(address.sun_path) != 0 ||
         bind_file(l->fds[0], &address, l->config->socket_mode) != 0))
        return false;
    return own_file(l, address.sun_path) && listen(l->fds[0], LISTENER_BACKLOG) == 0;
}

/* Removes our file, if nobody has put another one there. */
static void remove_file(struct listener *l)
{
    struct stat st;

    if (l->has_file && lstat(l->config->bind.path, &st) == 0 && st.st_dev == l->file_device &&
        st.st_ino == l->file_number)
        unlink(l->config->bind.path);
    l->has_file = false;
}

static void explain_unix(const struct cfg_listener *c, int error, char *why, size_t n)
{
    const char *path = c->bind.path;

    if (error == EADDRINUSE)
        snprintf(why, n, "listener %s: somebody listens on %s: is another broker running?", c->name,
                 path);
    else if (error == ENOTSOCK)
        snprintf(why, n,
                 "listener %s: %s is there already, and is no socket; remove it, or name "
                 "another path",
                 c->name, path);
    else if (error == ENOENT)
        snprintf(why, n, "listener %s: %s: the folder does not exist", c->name, path);
    else if (error == EPERM)
        snprintf(why, n,
                 "listener %s: %s: socket_owner and socket_group need root, or a group of "
                 "this user",
                 c->name, path);
    else
        snprintf(why, n, "listener %s: %s: %s", c->name, path, strerror(error));
}

static void explain(const struct cfg_listener *c, int error, char *why, size_t n)
{
    const char *address = c->bind.text;

    if (c->bind.path) {
        explain_unix(c, error, why, n);
        return;
    }
    switch (error) {
    case EADDRINUSE:
        snprintf(why, n, "listener %s: %s is already in use: is another broker running on %s?",
                 c->name, address, address);
        break;
    case EACCES:
        snprintf(why, n,
                 "listener %s: %s is not allowed: ports below %s need CAP_NET_BIND_SERVICE or root",
                 c->name, address, "1024");
        break;
    case EADDRNOTAVAIL:
        snprintf(why, n, "listener %s: %s is not an address of this machine", c->name, address);
        break;
    case EAFNOSUPPORT:
        snprintf(why, n, "listener %s: %s: this machine has no IPv%d", c->name, address,
                 c->bind.is_v6 ? 6 : 4);
        break;
    default:
        snprintf(why, n, "listener %s: %s: %s", c->name, address, strerror(error));
    }
}

enum err listener_open(struct listener *l, const struct cfg_listener *config, uint32_t count,
                       char *why, size_t why_bytes)
{
    l->config = config;
    pthread_mutex_init(&l->tls_lock, NULL);
    set_ws_rules(l);
    l->connections_max = config->max_connections ? config->max_connections : UINT32_MAX;
    if (config->max_connection_rate.count) {
        l->rate_period_ns = config->max_connection_rate.period_ms * 1000000ull;
        l->rate_step_ns = l->rate_period_ns / config->max_connection_rate.count;
    }
    l->fds = malloc(count * sizeof(*l->fds));
    if (!l->fds) {
        explain(config, ENOMEM, why, why_bytes);
        return ERR_MEMORY;
    }
    for (uint32_t i = 0; i < count; i++)
        l->fds[i] = -1;
    if (config->bind.path) {
        if (!open_unix(l))
            goto failed;
        return OK;
    }
    if (count > 1 && !is_free(config))
        goto failed;
    for (uint32_t i = 0; i < count; i++) {
        l->fds[i] = bind_one(config, count > 1);
        if (l->fds[i] < 0 || listen(l->fds[i], LISTENER_BACKLOG) != 0)
            goto failed;
    }
    return OK;
failed:
    explain(config, errno, why, why_bytes);
    listener_close(l, count);
    return ERR_SYSTEM;
}

void listener_close(struct listener *l, uint32_t count)
{
    remove_file(l);
    for (uint32_t i = 0; l->fds && i < count; i++) {
        if (l->fds[i] >= 0)
            close(l->fds[i]);
    }
    free(l->fds);
    l->fds = NULL;
    tls_context_release(l->tls);
    l->tls = NULL;
    pthread_mutex_destroy(&l->tls_lock);
}

/* ---- accepting ---- */

/* A bucket of as many connections as come in one period, kept as the time at which it is full
 * again, less the period: while that lies in the past, one more may come. */
void listener_spend(struct worker *w, uint16_t listener)
{
    struct listener *l = &w->net->listeners[listener];
    uint64_t now_ns = w->now_ms * 1000000ull;
    uint64_t full_ns = now_ns > l->rate_period_ns ? now_ns - l->rate_period_ns : 0;
    uint64_t due_ns, next_ns;

    if (!l->rate_step_ns)
        return;
    due_ns = load_relaxed(&l->rate_due_ns);
    do
        next_ns = (due_ns > full_ns ? due_ns : full_ns) + l->rate_step_ns;
    while (!cas_weak_release(&l->rate_due_ns, &due_ns, next_ns)); /* a number: guards nothing */
}

uint64_t listener_rate_wait_ms(struct worker *w, uint16_t listener)
{
    struct listener *l = &w->net->listeners[listener];
    uint64_t now_ns = w->now_ms * 1000000ull;
    uint64_t due_ns;

    if (!l->rate_step_ns)
        return 0;
    due_ns = load_relaxed(&l->rate_due_ns) + l->rate_step_ns;
    return due_ns > now_ns ? (due_ns - now_ns + 999999) / 1000000 : 0;
}

/* With a rate each accept is asked for by itself, when its time has come. */
static void accept_next(struct acceptor *a)
{
    struct worker *w = a->worker;
    struct listener *l = &w->net->listeners[a->listener];
    bool is_multi = uring_has(w->uring, URING_MULTISHOT_ACCEPT) && !l->rate_step_ns;

    CHECK(!a->is_armed);
    a->is_armed = true;
    uring_accept(w->uring, l->fds[w->number], is_multi, &a->op);
}

static void on_retry_timer(struct timer *t, void *owner, uint64_t now_ms);

static void say_pause(struct acceptor *a)
{
    struct worker *w = a->worker;
    struct log_line line = {
        .level = 5,
        .event = "connections wait",
        .listener = w->net->listeners[a->listener].config->name,
        .reason = "max_connection_rate",
    };

    STAT_INC(shard_count(w->shard), accept_pauses);
    worker_log_flood(w, FLOOD_RATE, &line);
}

static void arm(struct acceptor *a)
{
    struct worker *w = a->worker;
    uint64_t wait_ms = listener_rate_wait_ms(w, a->listener);

    if (wait_ms == 0) {
        accept_next(a);
        return;
    }
    say_pause(a);
    timer_arm(shard_timers(w->shard), &a->retry, w->now_ms + wait_ms, on_retry_timer);
}

static void on_retry_timer(struct timer *t, void *owner, uint64_t now_ms)
{
    struct acceptor *a = URING_OWNER(t, struct acceptor, retry);

    (void)owner;
    (void)now_ms;
    if (!a->is_armed && !a->worker->is_stopping)
        arm(a);
}

static void pause_accepting(struct acceptor *a, int error)
{
    struct worker *w = a->worker;
    struct log_line line = {
        .level = 4,
        .event = "accept failed",
        .listener = w->net->listeners[a->listener].config->name,
        .reason = strerror(error),
    };

    if (error == EMFILE)
        line.detail = "raise the number of open files (ulimit -n, LimitNOFILE=)";
    worker_log_flood(w, FLOOD_DESCRIPTORS, &line);
    timer_arm(shard_timers(w->shard), &a->retry, w->now_ms + LISTENER_PAUSE_MS, on_retry_timer);
}

bool listener_admit(struct worker *w, uint16_t listener)
{
    struct listener *l = &w->net->listeners[listener];

    if (add_relaxed(&l->connection_count, 1) >= l->connections_max) {
        (void)add_relaxed(&l->connection_count, (uint32_t)-1);
        return false;
    }
    if (add_relaxed(&w->net->connection_count, 1) >= w->net->connections_max) {
        (void)add_relaxed(&w->net->connection_count, (uint32_t)-1);
        (void)add_relaxed(&l->connection_count, (uint32_t)-1);
        return false;
    }
    return true;
}

void listener_release(struct worker *w, uint16_t listener)
{
    (void)add_relaxed(&w->net->listeners[listener].connection_count, (uint32_t)-1);
    (void)add_relaxed(&w->net->connection_count, (uint32_t)-1);
}

static void take(struct acceptor *a, int fd)
{
    struct worker *w = a->worker;
    struct listener *l = &w->net->listeners[a->listener];
    struct log_line line = {
        .level = 4,
        .event = "connection refused",
        .listener = l->config->name,
        .reason = "max_connections",
    };

    STAT_INC(shard_count(w->shard), sockets_accepted);
    if (w->is_stopping) {
        uring_close(w->uring, fd);
        return;
    }
    if (!listener_admit(w, a->listener)) {
        STAT_INC(shard_count(w->shard), connections_over_limit);
        worker_log_flood(w, FLOOD_CONNECTIONS, &line);
        uring_close(w->uring, fd);
        return;
    }
    conn_accept(w, fd, a->listener);
}

/* Errors of the connection that was to be accepted, not of accepting: accept(2), Error handling. */
static bool is_passing(int error)
{
    return error == ECONNABORTED || error == EINTR || error == EAGAIN || error == EPROTO ||
           error == ECANCELED;
}

static void acceptor_on_accept(struct uring_op *op, const struct uring_event *e)
{
    struct acceptor *a = URING_OWNER(op, struct acceptor, op);

    if (e->is_last)
        a->is_armed = false;
    if (e->res >= 0)
        take(a, e->res);
    else if (!is_passing(-e->res))
        pause_accepting(a, -e->res);
    if (!a->is_armed && !timer_is_armed(&a->retry) && !a->worker->is_stopping &&
        e->res != -ECANCELED)
        arm(a);
}

void listener_arm_all(struct worker *w)
{
    for (uint32_t i = 0; i < w->net->listener_count && w->acceptors; i++) {
        struct acceptor *a = &w->acceptors[i];

        *a = (struct acceptor){.op.done = acceptor_on_accept, .worker = w, .listener = (uint16_t)i};
        if (w->net->listeners[i].fds[w->number] >= 0)
            arm(a);
    }
}

void listener_disarm_all(struct worker *w)
{
    for (uint32_t i = 0; i < w->net->listener_count && w->acceptors; i++) {
        struct acceptor *a = &w->acceptors[i];

        timer_cancel(shard_timers(w->shard), &a->retry);
        if (a->is_armed)
            uring_cancel(w->uring, &a->op);
    }
}
