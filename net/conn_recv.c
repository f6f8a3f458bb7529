/* net/conn_recv.c -- bytes that come in: received, opened by the layers if there are any
 * (conn_layers.c), gathered before the CONNECT (conn_greet.c), offered to the stream after.
 *
 * Bytes are offered where the kernel put them. What the stream leaves (the start of a packet) is
 * kept in `held`; when its rest arrives only that one packet is completed there, and what follows
 * is offered from the shared buffer again. The rest of a large packet is received straight behind
 * its start: the multishot receive is asked back, and for some packets afterwards receives are
 * single, so that a sender of large packets does not pay for arming and cancelling each time.
 */
#include "net/conn_state.h"

#include <errno.h>
#include <string.h>

#include "core/base/check.h"
#include "core/base/stats.h"

/* From this size on a packet's rest is received directly. */
#define LARGE_BYTES 32768u
/* Rests below this are not worth a receive of their own. */
#define LARGE_REST_BYTES 4096u
/* First room for such a packet; doubles with what arrives, up to the packet's size. */
#define LARGE_STEP_BYTES 65536u
/* Single receives after a large packet, before receiving is multishot again. */
#define SMALL_AFTER_LARGE 16
/* Bytes read at once where there is no buffer ring. */
#define POLL_BYTES 4096u

/* ---- arming ---- */

static bool is_large(const struct conn *c)
{
    return !c->layers && c->need >= LARGE_BYTES && c->need >= conn_held_count(c) + LARGE_REST_BYTES;
}

static enum recv_mode single_mode(const struct worker *w)
{
    return uring_has(w->uring, URING_BUFFER_RING) ? RECV_SINGLE : RECV_POLL;
}

static enum recv_mode wanted_mode(const struct conn *c)
{
    const struct worker *w = c->worker;

    switch ((enum conn_state)c->state) {
    case CONN_GREETING:
    case CONN_CLOSING:
    case CONN_LINGERING:
        return c->has_eof || c->is_delayed ? RECV_NONE : single_mode(w);
    case CONN_OPEN:
        if (c->is_parked || c->has_eof)
            return RECV_NONE;
        if (is_large(c) && !c->input_closed)
            return RECV_DIRECT;
        if (c->small_left > 0 || !uring_has(w->uring, URING_MULTISHOT_RECV))
            return single_mode(w);
        return RECV_MULTI;
    default:
        return RECV_NONE;
    }
}

/* `need` is what the peer announced; memory follows only what has arrived. */
static void arm_direct(struct conn *c)
{
    uint32_t used = conn_held_count(c);
    uint32_t rest = c->need - used;
    uint32_t step = used > LARGE_STEP_BYTES ? used : LARGE_STEP_BYTES;

    if (step > rest)
        step = rest;
    if (!conn_held_reserve(c, step)) {
        conn_out_of_memory(c);
        return;
    }
    c->small_left = SMALL_AFTER_LARGE;
    c->recv = RECV_DIRECT;
    uring_recv(c->worker->uring, c->fd, c->held + c->held_end, step, &c->recv_op);
}

static void arm(struct conn *c, enum recv_mode mode)
{
    struct uring *u = c->worker->uring;

    if (mode == RECV_DIRECT) {
        arm_direct(c);
        return;
    }
    c->recv = (uint8_t)mode;
    if (mode == RECV_POLL)
        uring_poll(u, c->fd, &c->recv_op);
    else
        uring_recv_buffer(u, c->fd, mode == RECV_MULTI, &c->recv_op);
}

void conn_update_recv(struct conn *c)
{
    enum recv_mode mode = wanted_mode(c);

    if (c->recv == RECV_NONE) {
        if (mode != RECV_NONE)
            arm(c, mode);
        return;
    }
    if (mode != RECV_NONE && (mode != RECV_DIRECT || c->recv == RECV_DIRECT))
        return; /* what is in flight will do */
    if (!c->recv_cancelled)
        uring_cancel(c->worker->uring, &c->recv_op);
    c->recv_cancelled = true;
}

/* ---- offering ---- */

/* What the stream said of the bytes it was offered. */
static void heed(struct conn *c, enum input verdict, uint32_t need)
{
    c->need = verdict == INPUT_MORE ? need : 0;
    switch (verdict) {
    case INPUT_MORE:
        break;
    case INPUT_PARKED:
        c->is_parked = true;
        if (c->asked_count == 0) /* else conn_access_answered does that */
            conn_retry_later(c);
        break;
    case INPUT_CLOSED:
        c->input_closed = true;
        break;
    }
    if (conn_held_count(c) == 0 || c->input_closed)
        conn_held_free(c);
}

/* Offers what is held. Returns whether more may be offered. */
bool conn_offer_held(struct conn *c)
{
    enum input verdict = INPUT_MORE;
    uint32_t need = 0;
    struct stream *s = c->stream;

    c->held_start +=
        s->ops->input(s, bytes_of(c->held + c->held_start, conn_held_count(c)), &verdict, &need);
    heed(c, verdict, need);
    return verdict == INPUT_MORE;
}

void conn_offer_first(struct conn *c, const uint8_t *p, uint32_t n)
{
    enum input verdict = INPUT_MORE;
    uint32_t need = 0;
    struct stream *s = c->stream;
    uint32_t used = s->ops->input(s, bytes_of(p, n), &verdict, &need);

    c->need = verdict == INPUT_MORE ? need : 0;
    if (verdict != INPUT_CLOSED && !conn_keep(c, p + used, n - used))
        return;
    heed(c, verdict, need);
}

void conn_offer(struct conn *c, const uint8_t *p, uint32_t n)
{
    uint32_t held = conn_held_count(c);
    uint32_t part = n;

    c->stream->heard_ms = (uint32_t)c->worker->now_ms;
    if (c->input_closed || c->stream->close_wanted || c->stream->close_now)
        return;
    if (held == 0 && !c->is_parked) {
        conn_offer_first(c, p, n);
        return;
    }
    if (!c->is_parked && c->need > held && c->need - held < n)
        part = c->need - held; /* completes the packet */
    if (!conn_keep(c, p, part))
        return;
    if (c->is_parked || c->need > conn_held_count(c) || !conn_offer_held(c)) {
        if (!c->input_closed)
            (void)conn_keep(c, p + part, n - part);
        return;
    }
    if (n > part)
        conn_offer(c, p + part, n - part);
}

void conn_retry_input(struct conn *c)
{
    struct stream *s = c->stream;

    c->is_parked = false;
    if (s->close_wanted || s->close_now)
        return; /* the walk of this turn closes it */
    c->is_busy = true;
    if (conn_held_count(c) == 0 || conn_offer_held(c)) {
        if (c->send_failed && c->has_eof)
            stream_abort(s, CLOSE_SOCKET_ERROR);
        else if (c->has_eof)
            stream_close(s, CLOSE_EOF);
    }
    c->is_busy = false;
    conn_update_recv(c);
}

/* ---- completions ---- */

void conn_take_plain(struct conn *c, const uint8_t *p, uint32_t n)
{
    if (c->state == CONN_GREETING)
        conn_greet(c, p, n);
    else if (c->state == CONN_OPEN)
        conn_offer(c, p, n);
    /* else: it closes, and this is thrown away */
}

static void take(struct conn *c, const uint8_t *p, uint32_t n)
{
    if (c->layers)
        conn_take_sealed(c, p, n);
    else
        conn_take_plain(c, p, n);
}

/* The kernel put `n` bytes behind what is held. */
static void take_direct(struct conn *c, uint32_t n)
{
    if (c->state != CONN_OPEN || c->input_closed) {
        conn_held_free(c);
        return;
    }
    c->held_end += n;
    if (c->need <= conn_held_count(c))
        (void)conn_offer_held(c);
}

void conn_on_eof(struct conn *c)
{
    c->has_eof = true;
    if (c->state == CONN_GREETING) {
        conn_log(c, 7, "connection closed", close_reason_name(CLOSE_EOF));
        conn_drop(c, CLOSE_EOF);
    } else if (c->state == CONN_LINGERING) {
        conn_drop(c, CLOSE_EOF);
    } else if (c->state == CONN_OPEN && !c->is_parked) {
        stream_close(c->stream, CLOSE_EOF);
    }
}

static void on_error(struct conn *c, int error)
{
    if (error == ECANCELED || error == ENOBUFS || error == EAGAIN || error == EINTR)
        return;
    c->has_eof = true;
    c->send_failed = true;
    if (c->state == CONN_GREETING)
        conn_log(c, 7, "connection closed", strerror(error));
    if (c->state == CONN_OPEN) {
        if (!c->is_parked)
            stream_abort(c->stream, CLOSE_SOCKET_ERROR);
    } else if (c->state == CONN_CLOSING) {
        conn_drop(c, (enum close_reason)c->stream->close_why);
    } else {
        conn_drop(c, CLOSE_SOCKET_ERROR);
    }
}

/* Readable, says the kernel. */
static void read_now(struct conn *c)
{
    uint8_t buffer[POLL_BYTES];
    ssize_t n = recv(c->fd, buffer, sizeof(buffer), MSG_DONTWAIT);

    if (n > 0)
        take(c, buffer, (uint32_t)n);
    else if (n == 0)
        conn_on_eof(c);
    else
        on_error(c, errno);
}

static void receive(struct conn *c, enum recv_mode mode, const struct uring_event *e)
{
    if (e->res < 0) {
        on_error(c, -e->res);
    } else if (mode == RECV_POLL) {
        if (c->state != CONN_JOINING)
            read_now(c);
    } else if (e->res == 0) {
        conn_on_eof(c);
    } else if (mode == RECV_DIRECT) {
        take_direct(c, (uint32_t)e->res);
    } else {
        take(c, bufring_at(&c->worker->bufring, e->buffer_id), (uint32_t)e->res);
    }
}

void conn_on_recv(struct uring_op *op, const struct uring_event *e)
{
    struct conn *c = URING_OWNER(op, struct conn, recv_op);
    struct worker *w = c->worker;
    enum recv_mode mode = (enum recv_mode)c->recv;

    if (e->is_last) {
        c->recv = RECV_NONE;
        c->recv_cancelled = false;
    }
    if (mode == RECV_SINGLE && c->small_left > 0 && c->state == CONN_OPEN)
        c->small_left--;
    c->is_busy = true; /* nothing below frees it */
    receive(c, mode, e);
    c->is_busy = false;
    if (e->has_buffer)
        bufring_return(&w->bufring, e->buffer_id);
    if (c->state == CONN_JOINING)
        conn_join(c);
    else
        conn_update_recv(c);
}
