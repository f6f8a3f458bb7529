/* net/conn_dial.c -- outgoing connections: look up, connect, the next address.
 *
 * Where TLS is wanted its layers are made with the connection and begin when an address has
 * answered. A handshake that fails ends the dial; another attempt may begin at another address
 * (conn_target.attempt), so that one bad server behind a name does not hide the others.
 */
#include "net/conn_state.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/check.h"
#include "net/progress.h"
#include "net/resolver.h"

static struct dial *new_dial(struct worker *w, const struct conn_target *to)
{
    size_t n = strlen(to->host) + 1;
    struct dial *d = n <= DIAL_HOST_BYTES ? calloc(1, sizeof(*d)) : NULL;

    if (!d)
        return NULL;
    memcpy(d->host, to->host, n);
    d->worker = w;
    d->port = to->port;
    d->timeout_ms = to->timeout_ms;
    d->first = to->attempt;
    return d;
}

static struct layers *new_layers(const struct conn_target *to)
{
    struct layers_rules rules = {.tls = to->tls, .server_name = to->server_name};

    return layers_create(&rules);
}

enum err conn_dial(struct worker *w, struct stream *stream, const struct conn_target *to)
{
    struct layers *layers = to->tls ? new_layers(to) : NULL;
    struct dial *d = new_dial(w, to);
    struct conn *c = d && (layers || !to->tls) ? conn_new(w, -1, 0) : NULL; /* counted: so last */
    uint32_t timeout_ms = to->timeout_ms;

    if (!c) {
        layers_destroy(layers);
        free(d);
        return ERR_MEMORY;
    }
    d->conn = c;
    c->layers = layers;
    c->u.dial = d;
    c->stream = stream;
    stream->conn = c;
    conn_become(c, CONN_DIALING);
    if (resolver_numeric(d)) {
        timeout_ms = 0; /* the timer goes on with the first address: never from here, so that the
                         * stream is not told before its caller knows of this */
    } else if (w->net->resolver) {
        d->is_asked = true;
        resolver_ask(w->net->resolver, d);
    }
    timer_arm(shard_timers(w->shard), &c->timer, w->now_ms + timeout_ms, conn_on_timer);
    return OK;
}

void conn_dial_forget(struct conn *c)
{
    struct dial *d;

    if (c->state != CONN_DIALING)
        return;
    d = c->u.dial;
    d->conn = NULL;
    if (d->is_asked)
        c->u.dial = NULL; /* comes back by conn_resolved, which frees it */
    else if (!c->is_sending) {
        c->u.dial = NULL;
        free(d);
    } /* else a connect is in flight: conn_on_connect frees it */
}

/* The idx-th address to try. */
static const union dial_address *address_at(const struct dial *d, uint32_t idx)
{
    return &d->addresses[(d->first + idx) % d->count];
}

/* A socket for this address, set up as a client's. */
static int open_socket(const union dial_address *a)
{
    int fd = socket(a->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int one = 1;

    if (fd < 0)
        return fd;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    progress_bound_unsent(fd, LINK_UNSENT_BYTES);
    return fd;
}

void conn_dial_next(struct conn *c)
{
    struct worker *w = c->worker;
    struct dial *d = c->u.dial;
    const union dial_address *a = NULL;

    if (d->is_asked) { /* the name was not found in time; `d` is the resolver's */
        conn_drop(c, CLOSE_SOCKET_ERROR);
        return;
    }
    if (c->is_sending) { /* this address took too long: its completion comes back here */
        if (!c->send_cancelled)
            uring_cancel(w->uring, &c->send_op);
        c->send_cancelled = true;
        return;
    }
    if (c->fd >= 0)
        uring_close(w->uring, c->fd);
    c->fd = -1;
    while (c->fd < 0 && d->idx < d->count) {
        a = address_at(d, d->idx++);
        c->fd = open_socket(a);
    }
    if (c->fd < 0) {
        conn_drop(c, CLOSE_SOCKET_ERROR);
        return;
    }
    c->is_sending = true;
    c->send_cancelled = false;
    timer_arm(shard_timers(w->shard), &c->timer, w->now_ms + d->timeout_ms, conn_on_timer);
    uring_connect(w->uring, c->fd, &a->any,
                  a->any.sa_family == AF_INET ? sizeof(struct sockaddr_in)
                                              : sizeof(struct sockaddr_in6),
                  &c->send_op);
}

static void on_connected(struct conn *c)
{
    struct dial *d = c->u.dial;
    const union dial_address *a = address_at(d, d->idx - 1);
    uint32_t timeout_ms = d->timeout_ms;

    c->peer_is_known = true;
    c->peer_is_v6 = a->any.sa_family == AF_INET6;
    c->peer_port = d->port;
    if (c->peer_is_v6)
        memcpy(c->peer, &a->v6.sin6_addr, 16);
    else
        memcpy(c->peer, &a->v4.sin_addr, 4);
    c->u.dial = NULL;
    free(d);
    timer_cancel(shard_timers(c->worker->shard), &c->timer);
    conn_become(c, CONN_OPEN);
    conn_update_recv(c);
    if (c->layers)
        conn_open_layers(c, timeout_ms);
    else if (c->stream->ops->opened)
        c->stream->ops->opened(c->stream);
}

void conn_on_connect(struct uring_op *op, const struct uring_event *e)
{
    struct conn *c = URING_OWNER(op, struct conn, send_op);

    c->is_sending = false;
    if (c->state == CONN_JOINING) {
        free(c->u.dial);
        c->u.dial = NULL;
        conn_join(c);
    } else if (e->res == 0) {
        c->send_cancelled = false;
        on_connected(c);
    } else {
        conn_dial_next(c);
    }
}

void conn_resolved(struct worker *w)
{
    struct dial *d;

    pthread_mutex_lock(&w->answers_lock);
    d = w->answers;
    w->answers = NULL;
    pthread_mutex_unlock(&w->answers_lock);
    while (d) {
        struct dial *next = d->next;

        d->is_asked = false;
        if (d->conn)
            conn_dial_next(d->conn);
        else
            free(d);
        d = next;
    }
}
