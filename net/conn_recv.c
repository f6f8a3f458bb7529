/* net/conn_recv.c -- bytes that come in: opened by the layers, gathered before the CONNECT, offered
 * to the stream after.
 *
 * Bytes are offered where the kernel put them. What the stream leaves (the start of a packet) is
 * kept in `held`; when its rest arrives only that one packet is completed there, and what follows
 * is offered from the shared buffer again. The rest of a large packet is received straight behind
 * its start: the multishot receive is asked back, and for some packets afterwards receives are
 * single, so that a sender of large packets does not pay for arming and cancelling each time.
 */
#include "net/conn_state.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/check.h"
#include "core/base/stats.h"
#include "net/auth.h"
#include "net/guard.h"
#include "net/http_access.h"
#include "net/listener.h"

/* From this size on a packet's rest is received directly. */
#define LARGE_BYTES 32768u
/* Rests below this are not worth a receive of their own. */
#define LARGE_REST_BYTES 4096u
/* First room for such a packet; doubles with what arrives, up to the packet's size. */
#define LARGE_STEP_BYTES 65536u
/* Single receives after a large packet, before receiving is multishot again. */
#define SMALL_AFTER_LARGE 16
/* Room up to which a connection may hold bytes even where the memory of the process is used up. */
#define HELD_ALWAYS_BYTES 65536u
/* Smallest room of `held`. */
#define HELD_BYTES_MIN 256u
/* Bytes read at once where there is no buffer ring. */
#define POLL_BYTES 4096u
/* Steps of handshakes in one turn: about a millisecond. */
#define HANDSHAKES_TURN 4u
/* Where more wait, the next turn comes after this time at the latest. */
#define HANDSHAKE_PAUSE_US 200u

/* ---- what is held ---- */

static uint32_t held_count(const struct conn *c)
{
    return c->held_end - c->held_start;
}

/* Tells the shard that the room of `held` becomes `room`; false: no such memory. */
static bool count_room(struct conn *c, uint32_t room)
{
    struct shard *s = c->worker->shard;
    int64_t more = (int64_t)room - c->held_room;

    if (shard_hold_input(s, more))
        return true;
    if (room > HELD_ALWAYS_BYTES)
        return false;
    STAT_ADD(shard_count(s), input_bytes_held, more);
    return true;
}

/* What was held is somebody else's now. */
static void held_forget(struct conn *c)
{
    CHECK(c->recv != RECV_DIRECT);
    (void)count_room(c, 0);
    c->held = NULL;
    c->held_start = c->held_end = c->held_room = 0;
}

void conn_held_free(struct conn *c)
{
    uint8_t *held = c->held;

    held_forget(c);
    free(held);
}

/* Makes room for `extra` bytes behind held_end. */
static bool held_reserve(struct conn *c, uint32_t extra)
{
    uint32_t used = held_count(c);
    uint32_t room;
    uint8_t *p;

    CHECK(c->recv != RECV_DIRECT);
    if (c->held_room - c->held_end >= extra)
        return true;
    if (c->held_start > 0) {
        memmove(c->held, c->held + c->held_start, used);
        c->held_start = 0;
        c->held_end = used;
        if (c->held_room - used >= extra)
            return true;
    }
    room = used + extra > 2 * used ? used + extra : 2 * used;
    if (room < HELD_BYTES_MIN)
        room = HELD_BYTES_MIN;
    if (c->need >= used + extra && room > c->need)
        room = c->need;
    if (!count_room(c, room))
        return false;
    p = realloc(c->held, room);
    if (!p) {
        (void)shard_hold_input(c->worker->shard, (int64_t)c->held_room - room);
        return false;
    }
    c->held = p;
    c->held_room = room;
    return true;
}

static void out_of_memory(struct conn *c)
{
    struct log_line line = {
        .level = 4, .event = "no memory for a packet", .reason = close_reason_name(CLOSE_MEMORY)};

    if (c->stream && c->stream->close_now)
        return; /* that is known */
    STAT_INC(shard_count(c->worker->shard), dropped_memory);
    worker_log_flood(c->worker, FLOOD_MEMORY, &line);
    if (c->stream)
        stream_abort(c->stream, CLOSE_MEMORY);
    else
        conn_drop(c, CLOSE_MEMORY);
}

static bool keep(struct conn *c, const uint8_t *p, uint32_t n)
{
    if (n == 0)
        return true;
    if (!held_reserve(c, n)) {
        out_of_memory(c);
        return false;
    }
    memcpy(c->held + c->held_end, p, n);
    c->held_end += n;
    return true;
}

/* ---- arming ---- */

static bool is_large(const struct conn *c)
{
    return !c->layers && c->need >= LARGE_BYTES && c->need >= held_count(c) + LARGE_REST_BYTES;
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
    uint32_t used = held_count(c);
    uint32_t rest = c->need - used;
    uint32_t step = used > LARGE_STEP_BYTES ? used : LARGE_STEP_BYTES;

    if (step > rest)
        step = rest;
    if (!held_reserve(c, step)) {
        out_of_memory(c);
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
    if (held_count(c) == 0 || c->input_closed)
        conn_held_free(c);
}

/* Offers what is held. Returns whether more may be offered. */
static bool offer_held(struct conn *c)
{
    enum input verdict = INPUT_MORE;
    uint32_t need = 0;
    struct stream *s = c->stream;

    c->held_start +=
        s->ops->input(s, bytes_of(c->held + c->held_start, held_count(c)), &verdict, &need);
    heed(c, verdict, need);
    return verdict == INPUT_MORE;
}

static void offer_direct(struct conn *c, const uint8_t *p, uint32_t n)
{
    enum input verdict = INPUT_MORE;
    uint32_t need = 0;
    struct stream *s = c->stream;
    uint32_t used = s->ops->input(s, bytes_of(p, n), &verdict, &need);

    c->need = verdict == INPUT_MORE ? need : 0;
    if (verdict != INPUT_CLOSED && !keep(c, p + used, n - used))
        return;
    heed(c, verdict, need);
}

void conn_offer(struct conn *c, const uint8_t *p, uint32_t n)
{
    uint32_t held = held_count(c);
    uint32_t part = n;

    c->stream->heard_ms = (uint32_t)c->worker->now_ms;
    if (c->input_closed || c->stream->close_wanted || c->stream->close_now)
        return;
    if (held == 0 && !c->is_parked) {
        offer_direct(c, p, n);
        return;
    }
    if (!c->is_parked && c->need > held && c->need - held < n)
        part = c->need - held; /* completes the packet */
    if (!keep(c, p, part))
        return;
    if (c->is_parked || c->need > held_count(c) || !offer_held(c)) {
        if (!c->input_closed)
            (void)keep(c, p + part, n - part);
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
    if (held_count(c) == 0 || offer_held(c)) {
        if (c->send_failed && c->has_eof)
            stream_abort(s, CLOSE_SOCKET_ERROR);
        else if (c->has_eof)
            stream_close(s, CLOSE_EOF);
    }
    c->is_busy = false;
    conn_update_recv(c);
}

/* ---- before there is a stream ---- */

static void open_here(struct conn *c, struct bytes in, struct admission *admission)
{
    struct worker *w = c->worker;
    char ip[INET6_ADDRSTRLEN];
    struct client *client;

    conn_ip_text(c, ip);
    auth_confirm(w->net->auth, admission);
    client = client_open(w->shard, c->listener, ip, c->peer_port, admission, c);
    if (!client) {
        conn_log(c, 4, "connection closed", close_reason_name(CLOSE_SERVER_FULL));
        conn_drop(c, CLOSE_SERVER_FULL);
        return;
    }
    c->stream = client_stream(client);
    c->stream->conn = c;
    conn_become(c, CONN_OPEN);
    c->need = 0;
    if (c->held && in.p == c->held + c->held_start)
        (void)offer_held(c);
    else
        offer_direct(c, in.p, in.n);
}

static void send_home(struct conn *c, uint32_t home, struct bytes in, struct admission *admission)
{
    struct handoff *h = malloc(sizeof(*h) + in.n);
    struct worker *w = c->worker;

    if (!h) {
        free(admission);
        conn_drop(c, CLOSE_MEMORY);
        return;
    }
    memset(h, 0, sizeof(*h));
    h->fd = c->fd;
    h->listener = c->listener;
    h->peer_port = c->peer_port;
    h->has_eof = c->has_eof;
    h->admission = admission;
    conn_ip_text(c, h->peer);
    h->count = in.n;
    memcpy(h->bytes, in.p, in.n);
    conn_held_free(c);
    STAT_ADD(shard_count(w->shard), input_bytes_held, handoff_bytes(h)); /* they moved */
    c->u.handoff = h;
    c->home = (uint8_t)home;
    conn_become(c, CONN_LEAVING);
    timer_arm(shard_timers(w->shard), &c->timer, w->now_ms + w->net->cfg->limits.connect_timeout_ms,
              conn_on_timer); /* a peer that does not read holds up what must be sent before */
    conn_leave(c);
}

/* Goes where it belongs, with all that has arrived. */
static void place(struct conn *c, uint32_t home, struct bytes in, struct admission *admission)
{
    timer_cancel(shard_timers(c->worker->shard), &c->timer);
    if (home == c->worker->number)
        open_here(c, in, admission);
    else
        send_home(c, home, in, admission);
}

/* Waits for the answer; what has arrived is kept, and nothing more is received. */
static void await_answer(struct conn *c, struct auth_question *q, struct bytes in)
{
    struct worker *w = c->worker;

    q->conn = c;
    c->u.question = q;
    conn_become(c, CONN_ASKING);
    timer_arm(shard_timers(w->shard), &c->timer, w->now_ms + AUTH_WAIT_MS, conn_on_timer);
    if (!c->held || in.p != c->held + c->held_start)
        (void)keep(c, in.p, in.n);
}

/* No password of a banned client id is looked at, and none that was is answered; it is told so. */
static void refuse_banned(struct conn *c, const struct greeting *g, struct bytes in)
{
    struct admission *admission = auth_refusal(REASON_CONNECTION_RATE_EXCEEDED);

    if (admission)
        place(c, g->home, in, admission);
    else
        conn_drop(c, CLOSE_MEMORY);
}

static struct admission *refuse_over_limit(void)
{
    struct admission *admission = auth_refusal(REASON_QUOTA_EXCEEDED);

    if (admission)
        admission->why = "no memory for another question about a client";
    return admission;
}

/* Asks who sends the CONNECT. What the question holds is counted until it comes back. */
static enum auth_verdict ask_who(struct conn *c, const struct greeting *g,
                                 const struct auth_peer *peer, struct admission **admission,
                                 struct auth_question **q)
{
    struct worker *w = c->worker;
    const struct cfg_listener *listener = w->net->listeners[c->listener].config;
    uint32_t room = auth_question_room(listener, &g->connect);
    enum auth_verdict verdict;

    if (shard_hold_input(w->shard, room)) {
        verdict = auth_ask(w->net->auth, listener, &g->connect, peer, w, admission, q);
        if (verdict == AUTH_ASKED) {
            if ((*q)->bytes > room) /* by the names of listener and certificate */
                (*q)->bytes = room;
            room -= (*q)->bytes;
        }
        (void)shard_hold_input(w->shard, -(int64_t)room);
    } else {
        *admission = refuse_over_limit();
        verdict = *admission ? AUTH_KNOWN : AUTH_MEMORY;
    }
    if (verdict == AUTH_KNOWN && (*admission)->reason == REASON_QUOTA_EXCEEDED)
        STAT_INC(shard_count(w->shard), auth_over_limit);
    return verdict;
}

/* The CONNECT is whole: who is it? */
static void identify(struct conn *c, const struct greeting *g, struct bytes in)
{
    struct worker *w = c->worker;
    const struct cfg_listener *listener = w->net->listeners[c->listener].config;
    const char *identity =
        c->layers ? layers_identity(c->layers, listener->identity == IDENTITY_SUBJECT) : NULL;
    struct admission *admission = NULL;
    struct auth_question *q = NULL;
    char ip[INET6_ADDRSTRLEN];
    const struct auth_peer peer = {
        .ip = ip,
        .identity = identity,
        .common_name = c->layers ? layers_common_name(c->layers) : NULL,
    };

    if (listener->proxy != CFG_PROXY_NO ? !guard_admits_client(c) : !guard_still_admits(c)) {
        conn_drop(c, CLOSE_NOT_AUTHORIZED); /* a header may name nobody */
        return;
    }
    if (guard_bans(c, g->connect.client_id)) {
        refuse_banned(c, g, in);
        return;
    }
    conn_ip_text(c, ip);
    switch (ask_who(c, g, &peer, &admission, &q)) {
    case AUTH_NONE:
    case AUTH_KNOWN:
        place(c, g->home, in, admission);
        break;
    case AUTH_ASKED:
        await_answer(c, q, in);
        break;
    case AUTH_MEMORY:
        conn_drop(c, CLOSE_MEMORY);
        break;
    }
}

/* Gathers until the CONNECT is whole. */
static void greet(struct conn *c, const uint8_t *p, uint32_t n)
{
    struct worker *w = c->worker;
    struct bytes in = bytes_of(p, n);
    struct greeting g;
    enum err err;

    if (held_count(c) > 0) {
        if (!keep(c, p, n))
            return;
        in = bytes_of(c->held + c->held_start, held_count(c));
        if (c->need > in.n)
            return;
    }
    c->need = 0;
    err = shard_greet(w->shard, in, &g, &c->need);
    if (err == ERR_MORE) {
        if (in.p == p)
            (void)keep(c, p, n);
        return;
    }
    if (g.is_connect && w->net->auth)
        identify(c, &g, in);
    else
        place(c, g.home, in, NULL);
}

static void on_answer(struct conn *c, struct auth_question *q)
{
    struct bytes in = bytes_of(c->held + c->held_start, held_count(c));
    struct greeting g;

    c->u.question = NULL;
    if (!guard_still_admits(c)) { /* of many tried at once, none tells whether it was right */
        conn_drop(c, CLOSE_BANNED);
        return;
    }
    if ((!q->admission && !q->is_open) || shard_greet(c->worker->shard, in, &g, &c->need) != OK) {
        conn_drop(c, CLOSE_MEMORY);
        return;
    }
    c->is_busy = true;
    if (guard_bans(c, g.connect.client_id)) {
        refuse_banned(c, &g, in);
    } else {
        place(c, g.home, in, q->admission);
        q->admission = NULL;
    }
    if (c->has_eof && c->state == CONN_OPEN && !c->is_parked)
        stream_close(c->stream, CLOSE_EOF);
    c->is_busy = false;
    if (c->state == CONN_JOINING)
        conn_join(c);
    else
        conn_update_recv(c);
}

void conn_answered(struct worker *w)
{
    struct auth_question *q, *next, *in_order = NULL;

    pthread_mutex_lock(&w->answers_lock);
    q = w->auth_answers;
    w->auth_answers = NULL;
    pthread_mutex_unlock(&w->answers_lock);
    for (; q; q = next) {
        next = q->next;
        q->next = in_order;
        in_order = q;
    }
    for (q = in_order; q; q = next) {
        next = q->next;
        if (q->conn && q->http.fault)
            http_access_note_fault(w, &q->http);
        if (q->conn)
            on_answer(q->conn, q);
        (void)shard_hold_input(w->shard, -(int64_t)q->bytes);
        free(q->admission);
        auth_question_free(q);
    }
}

void conn_access_answered(struct conn *c)
{
    CHECK(c->asked_count);
    c->asked_count--;
    if (c->asked_count == 0 && c->is_parked)
        conn_retry_later(c);
}

/* ---- completions ---- */

static void take_plain(struct conn *c, const uint8_t *p, uint32_t n)
{
    if (c->state == CONN_GREETING)
        greet(c, p, n);
    else if (c->state == CONN_OPEN)
        conn_offer(c, p, n);
    /* else: it closes, and this is thrown away */
}

static void on_eof(struct conn *c);

/* ---- layers ---- */

static void on_layers_failed(struct conn *c)
{
    if (layers_failed_handshake(c->layers))
        STAT_INC(shard_count(c->worker->shard), handshakes_failed);
    else
        STAT_INC(shard_count(c->worker->shard), protocol_errors);
    if (c->stream && c->stream->ops->failed)
        c->stream->ops->failed(c->stream, layers_error(c->layers)); /* which says it */
    else
        conn_log(c, 4, "connection closed", layers_error(c->layers));
    c->input_closed = true;
    if (c->stream)
        stream_close(c->stream, CLOSE_LAYERS);
    else
        conn_refuse(c);
}

/* We dialled, and now the layers stand: what the stream waits for. */
static void on_layers_open(struct conn *c)
{
    c->is_opening = false;
    if (!c->send_failed) /* else it ends the connection soon */
        timer_cancel(shard_timers(c->worker->shard), &c->timer);
    if (c->stream->ops->opened)
        c->stream->ops->opened(c->stream);
}

/* The header of a balancer, which says who connected. False: nobody who may, and it is dropped, or
 * no header; nothing more is to be opened. */
static bool open_header(struct conn *c, struct bytes *in)
{
    struct layers_peer peer;
    enum err err = layers_open_header(c->layers, in);

    if (err == ERR_MORE)
        return false;
    if (err != OK) {
        on_layers_failed(c);
        return false;
    }
    if (!layers_take_peer(c->layers, &peer))
        return true;
    memcpy(c->peer, peer.ip, sizeof(c->peer));
    c->peer_is_v6 = peer.is_v6;
    c->peer_is_known = true;
    c->peer_is_local = false; /* that was the balancer */
    c->peer_port = peer.port;
    if (guard_admits_client(c))
        return true;
    conn_drop(c, CLOSE_NOT_AUTHORIZED);
    return false;
}

/* Opens what came from the socket; at most one receive. */
static void open_layers(struct conn *c, struct bytes in)
{
    struct worker *w = c->worker;
    uint32_t count = 0;
    enum layers_verdict verdict;

    if (!open_header(c, &in))
        return;
    verdict = layers_open(c->layers, in, w->plain, &count);
    if (c->is_opening && layers_are_open(c->layers))
        on_layers_open(c);
    /* What comes with a failure is not worth a client; that could also be gone from here then. */
    if (verdict == LAYERS_CLOSED)
        c->has_eof = true; /* goes with it to its home, too */
    if (count > 0 && (verdict != LAYERS_FAILED || c->stream))
        take_plain(c, w->plain, count);
    if (verdict == LAYERS_FAILED)
        on_layers_failed(c);
    else if (verdict == LAYERS_CLOSED)
        on_eof(c);
    if (c->stream && layers_waiting(c->layers) > 0)
        stream_touch(c->stream);
    else if (!c->stream && c->state != CONN_JOINING && c->layers)
        conn_send(c);
}

void conn_open_layers(struct conn *c, uint32_t timeout_ms)
{
    struct worker *w = c->worker;

    CHECK(c->stream && c->state == CONN_OPEN);
    c->is_opening = true;
    timer_arm(shard_timers(w->shard), &c->timer, w->now_ms + timeout_ms, conn_on_timer);
    open_layers(c, (struct bytes){0});
}

/* A key exchange costs as much as a thousand messages: no turn does many, so that connections that
 * stand do not wait for those that come. */
static bool may_shake_hands(struct worker *w)
{
    uint64_t rate = w->net->cfg->limits.handshake_rate;

    w->handshake_credit += (w->now_ms - w->handshake_ms) * rate; /* in thousandths of one */
    w->handshake_ms = w->now_ms;
    if (w->handshake_credit > rate * 1000)
        w->handshake_credit = rate * 1000;
    if (w->handshakes_left == 0 || w->handshake_credit < 1000)
        return false;
    w->handshakes_left--;
    w->handshake_credit -= 1000;
    return true;
}

/* One step of a handshake. What is answered by nothing was a part of a message, and is not counted
 * by max_handshake_rate: nobody uses that up by sending bytes one by one. */
static void shake_hands(struct conn *c, struct bytes in)
{
    uint32_t waiting = layers_waiting(c->layers);

    open_layers(c, in);
    if (c->state == CONN_GREETING && layers_waiting(c->layers) == waiting)
        c->worker->handshake_credit += 1000;
}

/* Behind those that wait already. */
static void delay_handshake(struct conn *c, const uint8_t *p, uint32_t n)
{
    struct worker *w = c->worker;

    if (!keep(c, p, n) || c->is_delayed)
        return;
    c->is_delayed = true;
    c->in_retry = true;
    c->retry_next = NULL;
    if (w->handshake_first)
        w->handshake_last->retry_next = c;
    else
        w->handshake_first = c;
    w->handshake_last = c;
}

uint64_t conn_handshake_us(const struct worker *w)
{
    uint64_t rate = w->net->cfg->limits.handshake_rate;

    if (w->handshake_credit >= 1000)
        return HANDSHAKE_PAUSE_US;
    return HANDSHAKE_PAUSE_US + (1000 - w->handshake_credit) * 1000 / rate;
}

void conn_run_handshakes(struct worker *w)
{
    w->handshakes_left = HANDSHAKES_TURN;
    while (w->handshake_first &&
           (w->handshake_first->state == CONN_JOINING || may_shake_hands(w))) {
        struct conn *c = w->handshake_first;
        uint8_t *held = c->held;
        uint32_t n = held_count(c);

        w->handshake_first = c->retry_next;
        c->in_retry = c->is_delayed = false;
        if (c->state == CONN_JOINING) {
            conn_join(c);
            continue;
        }
        held_forget(c); /* open_layers may hold plain bytes there instead */
        c->is_busy = true;
        shake_hands(c, bytes_of(held, n));
        c->is_busy = false;
        free(held);
        if (c->state == CONN_JOINING)
            conn_join(c);
        else
            conn_update_recv(c);
    }
}

static void take(struct conn *c, const uint8_t *p, uint32_t n)
{
    if (!c->layers)
        take_plain(c, p, n);
    else if ((c->state != CONN_GREETING && c->state != CONN_OPEN) || c->input_closed)
        return; /* it closes, and this is thrown away */
    else if (c->state != CONN_GREETING || !layers_are_handshaking(c->layers))
        open_layers(c, bytes_of(p, n));
    else if (c->worker->handshake_first || !may_shake_hands(c->worker))
        delay_handshake(c, p, n);
    else
        shake_hands(c, bytes_of(p, n));
}

/* The kernel put `n` bytes behind what is held. */
static void take_direct(struct conn *c, uint32_t n)
{
    if (c->state != CONN_OPEN || c->input_closed) {
        conn_held_free(c);
        return;
    }
    c->held_end += n;
    if (c->need <= held_count(c))
        (void)offer_held(c);
}

static void on_eof(struct conn *c)
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
        on_eof(c);
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
        on_eof(c);
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
