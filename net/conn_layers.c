/* net/conn_layers.c -- what comes in is opened by the layers of its connection (PROXY, TLS,
 * WebSocket), and handshakes take turns.
 */
#include "net/conn_state.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/check.h"
#include "core/base/stats.h"
#include "net/guard.h"

/* Steps of handshakes in one turn: about a millisecond. */
#define HANDSHAKES_TURN 4u
/* Where more wait, the next turn comes after this time at the latest. */
#define HANDSHAKE_PAUSE_US 200u

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
        conn_take_plain(c, w->plain, count);
    if (verdict == LAYERS_FAILED)
        on_layers_failed(c);
    else if (verdict == LAYERS_CLOSED)
        conn_on_eof(c);
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

    if (!conn_keep(c, p, n) || c->is_delayed)
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
        uint32_t n = conn_held_count(c);

        w->handshake_first = c->retry_next;
        c->in_retry = c->is_delayed = false;
        if (c->state == CONN_JOINING) {
            conn_join(c);
            continue;
        }
        conn_held_forget(c); /* open_layers may hold plain bytes there instead */
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

void conn_take_sealed(struct conn *c, const uint8_t *p, uint32_t n)
{
    if ((c->state != CONN_GREETING && c->state != CONN_OPEN) || c->input_closed)
        return; /* it closes, and this is thrown away */
    if (c->state != CONN_GREETING || !layers_are_handshaking(c->layers))
        open_layers(c, bytes_of(p, n));
    else if (c->worker->handshake_first || !may_shake_hands(c->worker))
        delay_handshake(c, p, n);
    else
        shake_hands(c, bytes_of(p, n));
}
