/* net/conn_greet.c -- a connection before it has a client: bytes are gathered until the CONNECT is
 * whole, who sends it is found out, and the connection goes to the home of its client id with all
 * that has arrived.
 */
#include "net/conn_state.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/check.h"
#include "core/base/stats.h"
#include "net/auth.h"
#include "net/guard.h"
#include "net/http_access.h"
#include "net/listener.h"

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
        (void)conn_offer_held(c);
    else
        conn_offer_first(c, in.p, in.n);
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
        (void)conn_keep(c, in.p, in.n);
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
void conn_greet(struct conn *c, const uint8_t *p, uint32_t n)
{
    struct worker *w = c->worker;
    struct bytes in = bytes_of(p, n);
    struct greeting g;
    enum err err;

    if (conn_held_count(c) > 0) {
        if (!conn_keep(c, p, n))
            return;
        in = bytes_of(c->held + c->held_start, conn_held_count(c));
        if (c->need > in.n)
            return;
    }
    c->need = 0;
    err = shard_greet(w->shard, in, &g, &c->need);
    if (err == ERR_MORE) {
        if (in.p == p)
            (void)conn_keep(c, p, n);
        return;
    }
    if (g.is_connect && w->net->auth)
        identify(c, &g, in);
    else
        place(c, g.home, in, NULL);
}

static void on_answer(struct conn *c, struct auth_question *q)
{
    struct bytes in = bytes_of(c->held + c->held_start, conn_held_count(c));
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
