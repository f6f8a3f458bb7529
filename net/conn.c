/* net/conn.c -- the life of a connection: states, coming, closing.
 *
 * Invariant: what the kernel holds of a conn is said by `recv` and `is_sending`; as long as one of
 * them, or the worker's retry list, has it, it is not freed. conn_join is the only place that does.
 */
#include "net/conn.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/check.h"
#include "core/base/stats.h"
#include "net/auth.h"
#include "net/clock.h"
#include "net/conn_state.h"
#include "net/guard.h"
#include "net/listener.h"
#include "net/progress.h"
#include "net/resolver.h"

#define BIT(n) (1u << (n))
/* How the process and the user behind a Unix socket are shown. */
#define PEER_LOCAL_FORMAT "local pid=%u uid=%u"

_Static_assert(sizeof(struct conn) <= 256, "an idle connection stays small");

static const uint16_t may_become[CONN_STATE_COUNT] = {
    [CONN_FREE] = BIT(CONN_GREETING) | BIT(CONN_DIALING) | BIT(CONN_OPEN),
    [CONN_ASKING] = BIT(CONN_OPEN) | BIT(CONN_LEAVING) | BIT(CONN_JOINING),
    [CONN_GREETING] = BIT(CONN_ASKING) | BIT(CONN_OPEN) | BIT(CONN_LEAVING) | BIT(CONN_LINGERING) |
                      BIT(CONN_JOINING),
    [CONN_LEAVING] = BIT(CONN_JOINING),
    [CONN_DIALING] = BIT(CONN_OPEN) | BIT(CONN_JOINING),
    [CONN_OPEN] = BIT(CONN_CLOSING) | BIT(CONN_JOINING),
    [CONN_CLOSING] = BIT(CONN_LINGERING) | BIT(CONN_JOINING),
    [CONN_LINGERING] = BIT(CONN_JOINING),
    [CONN_JOINING] = BIT(CONN_FREE), /* only by conn_join */
};

uint32_t conn_bytes(void)
{
    return sizeof(struct conn);
}

void conn_become(struct conn *c, enum conn_state to)
{
    CHECK(may_become[c->state] & BIT(to));
    c->state = (uint8_t)to;
}

void conn_log(struct conn *c, int level, const char *event, const char *reason)
{
    char peer[64];
    struct log_line line = {.level = level, .event = event, .peer = peer, .reason = reason};

    if (!log_wants(c->worker->net->log, level))
        return;
    conn_peer_text(c, peer);
    if (c->is_counted)
        line.listener = c->worker->net->listeners[c->listener].config->name;
    worker_log(c->worker, &line);
}

void conn_ip_text(const struct conn *c, char *to)
{
    uint32_t ids[2];

    memcpy(ids, c->peer, sizeof(ids));
    if (c->peer_is_local)
        snprintf(to, INET6_ADDRSTRLEN, PEER_LOCAL_FORMAT, ids[0], ids[1]);
    else if (c->peer_is_known)
        inet_ntop(c->peer_is_v6 ? AF_INET6 : AF_INET, c->peer, to, INET6_ADDRSTRLEN);
    else
        memcpy(to, "local", 6);
}

void conn_peer_text(const struct conn *c, char to[64])
{
    char ip[INET6_ADDRSTRLEN];

    conn_ip_text(c, ip);
    if (c->peer_is_local)
        memcpy(to, ip, sizeof(ip));
    else
        snprintf(to, 64, c->peer_is_v6 ? "[%s]:%u" : "%s:%u", ip, c->peer_port);
}

int conn_fd(const struct conn *c)
{
    return c->fd;
}

/* ---- closing ---- */

/* Tells the stream that its connection is gone; from here on it is none of ours. */
static void release_stream(struct conn *c, enum close_reason why)
{
    struct stream *s = c->stream;

    CHECK(!c->is_sending);
    c->stream = NULL;
    s->conn = NULL;
    c->worker->must_turn = true;
    s->ops->closed(s, why);
}

void conn_on_timer(struct timer *t, void *owner, uint64_t now_ms)
{
    struct conn *c = URING_OWNER(t, struct conn, timer);

    (void)owner;
    (void)now_ms;
    switch ((enum conn_state)c->state) {
    case CONN_GREETING:
    case CONN_ASKING:
    case CONN_LEAVING:
        STAT_INC(shard_count(c->worker->shard), connect_timeouts);
        conn_log(c, 5, "connection closed", close_reason_name(CLOSE_CONNECT_TIMEOUT));
        conn_drop(c, CLOSE_CONNECT_TIMEOUT);
        break;
    case CONN_DIALING:
        conn_dial_next(c);
        break;
    case CONN_OPEN:
        conn_drop(c, c->is_opening && !c->send_failed ? CLOSE_CONNECT_TIMEOUT : CLOSE_SOCKET_ERROR);
        break;
    case CONN_CLOSING:
        conn_drop(c, (enum close_reason)c->stream->close_why);
        break;
    case CONN_LINGERING:
        conn_drop(c, CLOSE_NONE);
        break;
    default:
        break;
    }
}

struct conn *conn_new(struct worker *w, int fd, uint16_t listener)
{
    struct conn *c = slab_alloc(&w->conns);

    if (!c)
        return NULL;
    store_relaxed(&w->conn_count, w->conns.count);
    c->recv_op.done = conn_on_recv;
    c->send_op.done = conn_on_sent;
    c->worker = w;
    c->fd = fd;
    c->listener = listener;
    return c;
}

static void free_conn(struct conn *c)
{
    struct worker *w = c->worker;

    conn_held_free(c);
    layers_destroy(c->layers);
    if (c->is_counted)
        listener_release(w, c->listener);
    conn_become(c, CONN_FREE);
    slab_free(&w->conns, c);
    store_relaxed(&w->conn_count, w->conns.count);
}

void conn_join(struct conn *c)
{
    CHECK(c->state == CONN_JOINING);
    if (c->recv != RECV_NONE || c->is_sending || c->in_retry || c->is_busy)
        return;
    if (c->stream && c->stream->is_dirty)
        return; /* still on the shard's list: conn_flush comes back here */
    CHECK(!timer_is_armed(&c->timer));
    if (c->fd >= 0)
        uring_close(c->worker->uring, c->fd);
    c->fd = -1;
    if (c->stream)
        release_stream(c, (enum close_reason)c->why);
    free_conn(c);
}

void conn_drop(struct conn *c, enum close_reason why)
{
    struct worker *w = c->worker;

    if (c->state == CONN_JOINING)
        return;
    if (c->state == CONN_ASKING && c->u.question) { /* else it has been answered */
        auth_forget(c->u.question);
        c->u.question = NULL;
    }
    if (c->state == CONN_LEAVING && c->u.handoff) /* else it has been handed off */
        conn_handoff_free(c);
    conn_dial_forget(c);
    conn_become(c, CONN_JOINING);
    c->why = (uint8_t)why;
    c->is_parked = false;
    timer_cancel(shard_timers(w->shard), &c->timer);
    conn_update_recv(c);
    if (c->is_sending && !c->send_cancelled) {
        c->send_cancelled = true;
        uring_cancel(w->uring, &c->send_op);
    }
    conn_join(c);
}

/* The layers' good-bye and what they hold come behind the stream's last byte. Where they failed, or
 * the peer has closed them, nothing of the stream can leave any more. */
static bool is_output_gone(struct conn *c)
{
    bool can_leave = !c->layers || layers_are_open(c->layers);

    if (c->is_sending || (can_leave && c->stream->outq.bytes > 0))
        return false;
    if (!c->layers)
        return true;
    layers_close(c->layers);
    return layers_waiting(c->layers) == 0;
}

/* All output has left. Where the peer may still be sending, closing at once would answer with a
 * reset, which may overtake our last packet: so only our half is closed, and the rest read. */
static void on_output_gone(struct conn *c)
{
    enum close_reason why = (enum close_reason)c->stream->close_why;
    bool is_mutual = c->has_eof || c->send_failed || why == CLOSE_CLIENT || why == CLOSE_EOF ||
                     why == CLOSE_SOCKET_ERROR;

    if (is_mutual || shutdown(c->fd, SHUT_WR) != 0) {
        conn_drop(c, why);
        return;
    }
    conn_become(c, CONN_LINGERING);
    timer_arm(shard_timers(c->worker->shard), &c->timer, c->worker->now_ms + CONN_HALF_MS,
              conn_on_timer);
    conn_update_recv(c);
    release_stream(c, why);
}

void conn_refuse(struct conn *c)
{
    conn_send(c);
    if (!c->is_sending) {
        conn_drop(c, CLOSE_SOCKET_ERROR);
        return;
    }
    conn_become(c, CONN_LINGERING);
    timer_arm(shard_timers(c->worker->shard), &c->timer, c->worker->now_ms + CONN_HALF_MS,
              conn_on_timer);
}

void conn_on_sent_early(struct conn *c)
{
    bool is_more = c->layers && layers_waiting(c->layers) > 0;

    if (is_more && c->state != CONN_LEAVING)
        conn_send(c);
    else if (c->state == CONN_LEAVING)
        conn_leave(c);
    else if (c->state == CONN_LINGERING && shutdown(c->fd, SHUT_WR) != 0)
        conn_drop(c, CLOSE_SOCKET_ERROR);
}

static void arm_linger(struct conn *c)
{
    uint32_t ms = c->worker->is_stopping ? CONN_STOP_LINGER_MS : CONN_LINGER_MS;

    timer_arm(shard_timers(c->worker->shard), &c->timer, c->worker->now_ms + ms, conn_on_timer);
}

static void begin_closing(struct conn *c)
{
    conn_become(c, CONN_CLOSING);
    c->is_parked = false;
    if (c->recv != RECV_DIRECT)
        conn_held_free(c);
    arm_linger(c);
    conn_update_recv(c);
}

void conn_flush(struct stream *s)
{
    struct conn *c = s->conn;

    if (!c)
        return;
    if (c->state == CONN_JOINING) {
        conn_join(c);
        return;
    }
    if (s->close_now || (s->close_wanted && (c->state == CONN_DIALING || c->send_failed))) {
        conn_drop(c, (enum close_reason)s->close_why);
        return;
    }
    if (c->state == CONN_DIALING)
        return;
    if (s->close_wanted && c->state == CONN_OPEN)
        begin_closing(c);
    conn_send(c);
    if (c->state != CONN_CLOSING || !is_output_gone(c))
        conn_send(c); /* the good-bye */
    else
        on_output_gone(c);
}

/* ---- coming and going ---- */

static void set_local_peer(struct conn *c, uint32_t pid, uint32_t uid)
{
    const uint32_t ids[2] = {pid, uid};

    memcpy(c->peer, ids, sizeof(ids));
    c->peer_is_local = true;
}

/* Who it was that connected to a Unix socket, as the kernel noted then. */
static void read_local_peer(struct conn *c)
{
    struct ucred who;
    socklen_t n = sizeof(who);

    if (getsockopt(c->fd, SOL_SOCKET, SO_PEERCRED, &who, &n) == 0)
        set_local_peer(c, (uint32_t)who.pid, who.uid);
}

static void read_peer(struct conn *c)
{
    struct sockaddr_storage a = {0};
    socklen_t n = sizeof(a);
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)&a;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&a;

    if (getpeername(c->fd, (struct sockaddr *)&a, &n) != 0)
        return;
    if (a.ss_family == AF_INET) {
        memcpy(c->peer, &v4->sin_addr, 4);
        c->peer_port = ntohs(v4->sin_port);
        c->peer_is_known = true;
    } else if (a.ss_family == AF_INET6) {
        memcpy(c->peer, &v6->sin6_addr, 16);
        c->peer_port = ntohs(v6->sin6_port);
        c->peer_is_known = true;
        c->peer_is_v6 = true;
    } else if (a.ss_family == AF_UNIX) {
        read_local_peer(c);
    }
}

/* Gives an accepted connection the layers of its listener.  False: no memory. */
static bool add_layers(struct conn *c)
{
    struct listener *l = &c->worker->net->listeners[c->listener];

    if (listener_has_layers(l))
        c->layers = listener_layers(l);
    return c->layers || !listener_has_layers(l);
}

static void say_no_memory(struct worker *w)
{
    struct log_line line = {
        .level = 3, .event = "connection refused", .reason = close_reason_name(CLOSE_MEMORY)};

    worker_log_flood(w, FLOOD_MEMORY, &line);
}

void conn_accept(struct worker *w, int fd, uint16_t listener)
{
    struct conn *c = conn_new(w, fd, listener);

    if (!c) {
        say_no_memory(w);
        listener_release(w, listener);
        uring_close(w->uring, fd);
        return;
    }
    c->is_counted = true;
    read_peer(c);
    conn_become(c, CONN_GREETING);
    if (!guard_admits_socket(c)) {
        conn_drop(c, CLOSE_NOT_AUTHORIZED);
        return;
    }
    listener_spend(w, listener);
    if (!add_layers(c)) {
        say_no_memory(w);
        conn_drop(c, CLOSE_MEMORY);
        return;
    }
    timer_arm(shard_timers(w->shard), &c->timer, w->now_ms + w->net->cfg->limits.connect_timeout_ms,
              conn_on_timer);
    conn_update_recv(c);
}

/* The peer as the other worker knew it: from its socket, or from a balancer. */
static void set_peer(struct conn *c, const struct handoff *h)
{
    uint32_t pid, uid;

    if (sscanf(h->peer, PEER_LOCAL_FORMAT, &pid, &uid) == 2) {
        set_local_peer(c, pid, uid);
        return;
    }
    c->peer_port = h->peer_port;
    c->peer_is_v6 = strchr(h->peer, ':') != NULL;
    c->peer_is_known = inet_pton(c->peer_is_v6 ? AF_INET6 : AF_INET, h->peer, c->peer) == 1;
}

/* Gives up what came by a hand-off and cannot be taken. */
static void refuse_handoff(struct worker *w, struct handoff *h)
{
    listener_release(w, h->listener);
    uring_close(w->uring, h->fd);
    layers_destroy(h->layers);
    free(h->admission);
    free(h);
}

void conn_abandon_handoff(struct handoff *h)
{
    if (h->fd >= 0)
        close(h->fd);
    layers_destroy(h->layers);
}

void conn_adopt(struct worker *w, struct handoff *h)
{
    struct conn *c = w->is_stopping ? NULL : conn_new(w, h->fd, h->listener);
    struct client *client;

    if (!c) { /* no memory, or on its way while the others were told of the end */
        refuse_handoff(w, h);
        return;
    }
    c->is_counted = true;
    c->layers = h->layers;
    c->has_eof = h->has_eof;
    if (w->is_link)
        progress_bound_unsent(h->fd, LINK_UNSENT_BYTES);
    set_peer(c, h);
    conn_become(c, CONN_GREETING);
    auth_confirm(w->net->auth, h->admission);
    client = client_open(w->shard, h->listener, h->peer, h->peer_port, h->admission, c);
    if (!client) {
        conn_log(c, 4, "connection closed", close_reason_name(CLOSE_SERVER_FULL));
        conn_drop(c, CLOSE_SERVER_FULL);
        free(h);
        return;
    }
    c->stream = client_stream(client);
    c->stream->conn = c;
    conn_become(c, CONN_OPEN);
    conn_offer(c, h->bytes, h->count); /* only now is more received */
    if (c->has_eof && !c->is_parked)
        stream_close(c->stream, CLOSE_EOF);
    conn_update_recv(c);
    if (c->layers && layers_waiting(c->layers) > 0)
        stream_touch(c->stream);
    free(h);
}

enum err conn_attach(struct worker *w, int fd, struct stream *stream)
{
    struct conn *c = conn_new(w, fd, 0);

    if (!c)
        return ERR_MEMORY;
    read_peer(c);
    c->stream = stream;
    stream->conn = c;
    conn_become(c, CONN_OPEN);
    conn_update_recv(c);
    return OK;
}

/* ---- what is tried again each turn ---- */

void conn_retry_later(struct conn *c)
{
    struct worker *w = c->worker;

    if (c->in_retry)
        return;
    if (!w->is_retrying)
        pace_hurry(&w->retry);
    c->in_retry = true;
    c->retry_next = NULL;
    if (w->retry_first)
        w->retry_last->retry_next = c;
    else
        w->retry_first = c;
    w->retry_last = c;
}

void conn_handoff_free(struct conn *c)
{
    (void)shard_hold_input(c->worker->shard, -(int64_t)handoff_bytes(c->u.handoff));
    free(c->u.handoff->admission);
    free(c->u.handoff);
    c->u.handoff = NULL;
}

void conn_leave(struct conn *c)
{
    struct shard *s = c->worker->shard;
    uint32_t bytes = handoff_bytes(c->u.handoff);

    if (c->is_sending)
        return; /* the kernel reads from the layers: its completion comes back here */
    c->u.handoff->layers = c->layers;
    if (shard_handoff(s, c->home, c->u.handoff) != OK) {
        conn_retry_later(c);
        return;
    }
    (void)shard_hold_input(s, -(int64_t)bytes); /* the mail counts them now */
    c->u.handoff = NULL; /* and socket, layers and its place among the connections go with it */
    c->fd = -1;
    c->layers = NULL;
    c->is_counted = false;
    conn_drop(c, CLOSE_NONE);
}

/* Whether anything came of it: a packet was taken, or somebody needs no other try. */
static bool retry_all(struct worker *w)
{
    const struct stats *stats = shard_count(w->shard);
    uint64_t before = load_relaxed(&stats->packets_received);
    struct conn *c = w->retry_first;
    uint32_t left = 0;

    w->retry_first = w->retry_last = NULL;
    for (; c; left++) {
        struct conn *next = c->retry_next;

        c->in_retry = false;
        if (c->state == CONN_LEAVING)
            conn_leave(c);
        else if (c->state == CONN_JOINING)
            conn_join(c);
        else if (c->is_parked)
            conn_retry_input(c);
        c = next;
    }
    for (c = w->retry_first; c && left; c = c->retry_next)
        left--;
    return left > 0 || load_relaxed(&stats->packets_received) != before;
}

void conn_retry_all(struct worker *w)
{
    uint64_t now_us;

    if (!w->retry_first)
        return;
    now_us = clock_mono_us();
    if (!pace_is_due(&w->retry, now_us))
        return;
    w->is_retrying = true;
    pace_tried(&w->retry, retry_all(w), now_us);
    w->is_retrying = false;
}

void conn_abandon_all(struct worker *w)
{
    uint32_t slot = 0;
    struct conn *c;

    while ((c = slab_next(&w->conns, &slot)) != NULL) {
        c->recv = RECV_NONE; /* the ring is gone and with it what the kernel held */
        conn_held_free(c);
        layers_destroy(c->layers);
        if (c->state == CONN_LEAVING)
            conn_handoff_free(c);
        else if (c->state == CONN_ASKING)
            auth_forget(c->u.question);
        else if (c->u.dial && !c->u.dial->is_asked)
            free(c->u.dial);
        if (c->fd >= 0)
            close(c->fd);
        slab_free(&w->conns, c);
    }
}

void conn_stop_all(struct worker *w)
{
    uint32_t slot = 0;
    struct conn *c;

    CHECK(w->is_stopping);
    while ((c = slab_next(&w->conns, &slot)) != NULL) {
        if (!c->stream && c->state != CONN_JOINING)
            conn_drop(c, CLOSE_SHUTDOWN);
        else if (c->state == CONN_CLOSING)
            arm_linger(c);
    }
}
