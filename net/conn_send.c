/* net/conn_send.c -- bytes that go out: one send in flight for each connection.
 *
 * Without layers the kernel is given the stream's queue itself. With layers what waits in the queue
 * is sealed as far as there is room, leaves the queue at once, and the sealed bytes are sent.
 *
 * A short send that takes along all there is, and that nobody waits for, is a quiet one: the worker
 * does not wake to hear that it is done.
 */
#include "net/conn_state.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "core/base/check.h"
#include "core/base/stats.h"

/* Longest quiet send: what a socket nearly always has room for. */
#define QUIET_BYTES 16384u

_Static_assert(sizeof(struct outq_vec) == sizeof(struct iovec), "handed over as it is");

/* Whether nothing happens when these n bytes have left but that they have left. */
static bool may_be_quiet(const struct conn *c, size_t n)
{
    const struct worker *w = c->worker;

    return c->state == CONN_OPEN && !c->send_waits && !w->is_link && !c->stream->close_wanted &&
           !c->stream->wants_room && n <= QUIET_BYTES && n < w->net->cfg->limits.outq_bytes / 2;
}

/* The send that is in flight points into scratch memory only until it is submitted; its bytes stay
 * in the queue until the completion. */
static void send_queue(struct conn *c)
{
    struct worker *w = c->worker;
    struct outq_vec one;
    struct msghdr *m = NULL;
    uint32_t count = outq_front(&c->stream->outq, &one, 1);

    if (count == 0)
        return;
    if (one.length < c->stream->outq.bytes)
        m = arena_alloc(&w->scratch, sizeof(*m) + OUTQ_IOV_MAX * sizeof(struct iovec));
    if (m) {
        struct outq_vec *v = (struct outq_vec *)(m + 1);

        count = outq_front(&c->stream->outq, v, OUTQ_IOV_MAX);
        *m = (struct msghdr){.msg_iov = (struct iovec *)v, .msg_iovlen = count};
    }
    c->is_sending = true;
    if (m && count < OUTQ_IOV_MAX && may_be_quiet(c, c->stream->outq.bytes))
        uring_sendmsg_quiet(w->uring, c->fd, m, c->stream->outq.bytes, &c->send_op);
    else if (m)
        uring_sendmsg(w->uring, c->fd, m, &c->send_op);
    else if (one.length == c->stream->outq.bytes && may_be_quiet(c, one.length))
        uring_send_quiet(w->uring, c->fd, one.base, one.length, &c->send_op);
    else
        uring_send(w->uring, c->fd, one.base, one.length, &c->send_op);
}

/* Bytes of the stream's queue have left it. */
static void queue_sent(struct conn *c, uint32_t n)
{
    struct stream *s = c->stream;
    struct worker *w = c->worker;

    outq_sent(&s->outq, shard_pool(w->shard), n);
    s->wants_room = false;
    if (s->outq.bytes < w->net->cfg->limits.outq_bytes / 2 && s->ops->drained)
        s->ops->drained(s);
}

/* Moves one gathering of the queue into the layers. Returns whether there may be more. */
static bool seal_some(struct conn *c)
{
    struct outq_vec v[OUTQ_IOV_MAX];
    struct bytes pieces[OUTQ_IOV_MAX];
    uint32_t count = outq_front(&c->stream->outq, v, OUTQ_IOV_MAX), taken = 0;
    enum err err;

    for (uint32_t i = 0; i < count; i++)
        pieces[i] = bytes_of(v[i].base, v[i].length);
    err = layers_seal(c->layers, pieces, count, &taken);
    if (err == ERR_PEER || err == ERR_MEMORY) {
        stream_abort(c->stream, err == ERR_MEMORY ? CLOSE_MEMORY : CLOSE_SOCKET_ERROR);
        return false;
    }
    queue_sent(c, taken);
    return err == OK && c->stream->outq.bytes > 0;
}

static void send_layers(struct conn *c)
{
    struct bytes out;

    if (c->stream && c->stream->outq.bytes > 0 && layers_are_open(c->layers))
        while (seal_some(c))
            ;
    out = layers_output(c->layers);
    if (out.n == 0)
        return;
    c->is_sending = true;
    if (out.n == layers_waiting(c->layers) && c->stream && c->stream->outq.bytes == 0 &&
        may_be_quiet(c, out.n))
        uring_send_quiet(c->worker->uring, c->fd, out.p, out.n, &c->send_op);
    else
        uring_send(c->worker->uring, c->fd, out.p, out.n, &c->send_op);
}

void conn_send(struct conn *c)
{
    if (c->is_sending || c->send_failed)
        return;
    if (c->layers)
        send_layers(c);
    else if (c->stream && c->stream->outq.bytes > 0)
        send_queue(c);
}

/* Nothing can leave any more. What the peer sent before may still be on its way up, so the receive
 * side gets a moment to come to its own end. */
static void on_send_error(struct conn *c)
{
    c->send_failed = true;
    if (!c->stream)
        conn_drop(c, CLOSE_SOCKET_ERROR);
    else if (c->state == CONN_OPEN && !c->has_eof && c->recv != RECV_NONE)
        timer_arm(shard_timers(c->worker->shard), &c->timer, c->worker->now_ms + CONN_HALF_MS,
                  conn_on_timer);
    else
        conn_drop(c, c->stream->close_wanted ? (enum close_reason)c->stream->close_why
                                             : CLOSE_SOCKET_ERROR);
}

static void on_sent(struct conn *c, uint32_t n)
{
    struct stream *s = c->stream;
    bool is_more = false;

    STAT_ADD(shard_count(c->worker->shard), bytes_sent, n);
    if (c->layers) {
        layers_sent(c->layers, n);
        is_more = layers_waiting(c->layers) > 0;
    } else {
        queue_sent(c, n);
    }
    is_more |= s && s->outq.bytes > 0;
    c->send_waits = is_more;
    if (s && (is_more || s->close_wanted))
        stream_touch(s);
    else if (!s)
        conn_on_sent_early(c);
}

void conn_on_sent(struct uring_op *op, const struct uring_event *e)
{
    struct conn *c = URING_OWNER(op, struct conn, send_op);

    if (c->state == CONN_DIALING || (c->state == CONN_JOINING && c->u.dial)) {
        conn_on_connect(op, e);
        return;
    }
    c->is_sending = false;
    if (c->state == CONN_JOINING)
        conn_join(c);
    else if (e->res >= 0)
        on_sent(c, (uint32_t)e->res);
    else if (e->res != -EINTR && e->res != -EAGAIN && e->res != -ENOBUFS)
        on_send_error(c);
    else if (c->stream) {
        c->send_waits = true;
        stream_touch(c->stream);
    } else {
        conn_on_sent_early(c);
    }
}
