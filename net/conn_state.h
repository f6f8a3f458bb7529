/* net/conn_state.h -- the fields of a connection, shared by the files net/conn*.c.
 *
 * Not for anybody else.
 */
#ifndef NET_CONN_STATE_H
#define NET_CONN_STATE_H

#include "core/base/timer.h"
#include "net/conn.h"
#include "net/layers.h"
#include "net/uring.h"
#include "net/worker.h"

enum conn_state {
    CONN_FREE,
    CONN_GREETING,  /* no stream; the CONNECT is not whole */
    CONN_ASKING,    /* no stream; whether its CONNECT is let in is being found out */
    CONN_LEAVING,   /* no stream; the hand-off found no room; tried again each turn */
    CONN_DIALING,   /* a stream, no connection yet */
    CONN_OPEN,      /* a stream, bytes both ways */
    CONN_CLOSING,   /* the stream wants to close; output still leaves, input is thrown away */
    CONN_LINGERING, /* no stream any more; half-closed, input is thrown away */
    CONN_JOINING,   /* waits for what the kernel holds, then closes and frees */
    CONN_STATE_COUNT
};

/* How a receive that is in flight was asked for. */
enum recv_mode {
    RECV_NONE,
    RECV_MULTI,  /* many completions, shared buffers */
    RECV_SINGLE, /* one completion, a shared buffer */
    RECV_DIRECT, /* straight into `held` behind held_end: that memory is lent to the kernel */
    RECV_POLL,   /* told when readable; then recv(2): kernels without buffer rings */
};

struct conn {
    struct uring_op recv_op;
    struct uring_op send_op; /* also of connect */
    struct worker *worker;
    struct stream *stream;
    struct conn *retry_next;
    struct timer timer; /* connect, linger, half-close: what the state waits for */
    union {
        struct handoff *handoff;        /* CONN_LEAVING */
        struct dial *dial;              /* CONN_DIALING */
        struct auth_question *question; /* CONN_ASKING */
    } u;
    struct layers *layers; /* NULL: the socket's bytes are MQTT's */
    /* Bytes received and not yet taken (plain ones; of a delayed handshake, sealed ones):
     * held[held_start .. held_end). held_start <= held_end <= held_room. NULL when there are none.
     */
    uint8_t *held;
    uint32_t held_start, held_end, held_room;
    uint32_t need; /* size of the packet that begins at held_start; 0: not known */
    int fd;
    uint16_t listener;
    uint16_t peer_port;
    uint16_t asked_count; /* questions under way whose answers offer the parked packet again */
    uint8_t peer[16];     /* or, of a Unix socket, the process and the user: 4 bytes each */
    uint8_t state;        /* enum conn_state */
    uint8_t recv;         /* enum recv_mode of what is in flight */
    uint8_t small_left;   /* receives with single completions left, after a large packet */
    uint8_t why;          /* enum close_reason, with CONN_JOINING */
    uint8_t home;         /* with CONN_LEAVING */
    bool is_counted : 1;  /* a client's socket, counted by its listener */
    bool peer_is_v6 : 1;
    bool peer_is_known : 1;
    bool peer_is_local : 1;  /* a process of this machine, by a Unix socket */
    bool is_sending : 1;     /* a send (or connect) is in flight */
    bool recv_cancelled : 1; /* the receive in flight was asked back */
    bool send_cancelled : 1;
    bool send_waits : 1;   /* the last send left bytes: the next one waits for room */
    bool is_parked : 1;    /* held bytes cannot be taken now */
    bool in_retry : 1;     /* on the worker's list, which keeps the conn alive */
    bool has_eof : 1;      /* the peer has sent its last byte */
    bool send_failed : 1;  /* nothing can leave any more */
    bool input_closed : 1; /* the stream wants no more bytes */
    bool is_busy : 1;      /* a function further up the stack still needs it */
    bool is_delayed : 1;   /* `held` waits for its turn among the handshakes */
    bool is_opening : 1;   /* we dialled; the layers' handshake is not done, `opened` not told */
};

/* Becomes `to`; checks that it may, from where it is. */
void conn_become(struct conn *c, enum conn_state to);
/* A zeroed conn of this worker with its operations set.  NULL: the bound, or no memory. */
struct conn *conn_new(struct worker *w, int fd, uint16_t listener);
/* Asks for what the kernel holds and closes when it has come: at once if nothing is. */
void conn_drop(struct conn *c, enum close_reason why);
/* Finishes CONN_JOINING if nothing is in flight any more: `c` may be gone afterwards, so after this
 * and conn_drop nobody touches it who did not set is_busy. */
void conn_join(struct conn *c);
/* Puts it on the worker's list of what is tried again each turn, once. */
void conn_retry_later(struct conn *c);
/* CONN_LEAVING: tries to hand off; if there is no room, later again. */
void conn_leave(struct conn *c);
/* The address without the port; `to` has room for INET6_ADDRSTRLEN (46). */
void conn_ip_text(const struct conn *c, char *to);
/* Sends what waits, if nothing is in flight. */
void conn_send(struct conn *c);
/* A completion of send_op. */
void conn_on_sent(struct uring_op *op, const struct uring_event *e);
/* What was sent before there is a stream, or after, has left: handshakes, refusals. */
void conn_on_sent_early(struct conn *c);
/* Lets the peer have what the layers have to say, then closes. There is no stream. */
void conn_refuse(struct conn *c);
/* CONN_LEAVING: frees what was to be handed off. */
void conn_handoff_free(struct conn *c);
/* Logs what happened to a connection that has no client to say it. */
void conn_log(struct conn *c, int level, const char *event, const char *reason);

/* What the state waited for has not come in time. */
void conn_on_timer(struct timer *t, void *owner, uint64_t now_ms);

/* ---- conn_recv.c ---- */

/* Begins, changes or ends the receive according to state. */
void conn_update_recv(struct conn *c);
/* A completion of recv_op. */
void conn_on_recv(struct uring_op *op, const struct uring_event *e);
/* Offers bytes that came from elsewhere (a hand-off) to the stream. */
void conn_offer(struct conn *c, const uint8_t *p, uint32_t n);
/* Offers what is held once more, after it was parked. */
void conn_retry_input(struct conn *c);
/* Offers what is held. Returns whether more may be offered. */
bool conn_offer_held(struct conn *c);
/* Offers bytes while nothing is held. */
void conn_offer_first(struct conn *c, const uint8_t *p, uint32_t n);
/* Bytes without layers have come: to whom the state says. */
void conn_take_plain(struct conn *c, const uint8_t *p, uint32_t n);
/* The peer has sent its last byte. */
void conn_on_eof(struct conn *c);

/* ---- conn_held.c ---- */

/* Bytes that are held. */
static inline uint32_t conn_held_count(const struct conn *c)
{
    return c->held_end - c->held_start;
}

/* Keeps bytes behind what is held. false: no memory, and the connection ends with that reason. */
bool conn_keep(struct conn *c, const uint8_t *p, uint32_t n);
/* Makes room for `extra` bytes behind held_end. false: no memory. */
bool conn_held_reserve(struct conn *c, uint32_t extra);
/* Frees what is held. Nothing may be lent. */
void conn_held_free(struct conn *c);
/* What was held is somebody else's now. */
void conn_held_forget(struct conn *c);
/* Counts it, says it, and ends the connection. */
void conn_out_of_memory(struct conn *c);

/* ---- conn_greet.c ---- */

/* CONN_GREETING: gathers until the CONNECT is whole. */
void conn_greet(struct conn *c, const uint8_t *p, uint32_t n);
/* A question that was asked for its parked packet has its answer; with the last the packet is
 * offered again. */
void conn_access_answered(struct conn *c);

/* ---- conn_layers.c ---- */

/* Bytes have come that are the layers'. */
void conn_take_sealed(struct conn *c, const uint8_t *p, uint32_t n);
/* We dialled, and the socket is connected: begins the handshake of the layers. When it is done, the
 * stream is told that it is open. */
void conn_open_layers(struct conn *c, uint32_t timeout_ms);

/* ---- conn_dial.c ---- */

/* A completion of send_op while CONN_DIALING. */
void conn_on_connect(struct uring_op *op, const struct uring_event *e);
/* Tries the next address; without one the dial has failed. */
void conn_dial_next(struct conn *c);
/* Lets go of the dial. */
void conn_dial_forget(struct conn *c);

#endif
