/* tools/load_wire.c -- one connection of the load generator: TCP, TLS, WebSocket, on net/uring. */
#include "tools/load_wire.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/check.h"

#define BUFFER_BYTES_MIN 256u
/* Received at once within TLS. */
#define SEALED_BYTES 4096u
/* Completions handled before what they caused is sent. */
#define TURN_BUDGET 512u

/* ---- the loop ---- */

enum err load_loop_open(struct load_loop *loop, char *why, size_t why_bytes)
{
    uint32_t features;
    enum err err = uring_probe(getenv("CAUSEWAY_MASK"), &features, why, why_bytes);

    if (err != OK)
        return err;
    loop->uring = uring_create(features, why, why_bytes);
    if (!loop->uring)
        return ERR_SYSTEM;
    return uring_enable(loop->uring);
}

void load_loop_close(struct load_loop *loop)
{
    uring_destroy(loop->uring);
    tls_session_destroy(loop->session);
    loop->session = NULL;
    loop->uring = NULL;
}

/* ---- closing ---- */

/* The descriptor is closed when the kernel has nothing left of this wire. */
static void join(struct load_wire *w)
{
    if (!w->is_closed || w->is_connecting || w->is_receiving || w->is_sending || w->fd < 0)
        return;
    close(w->fd);
    w->fd = -1;
    w->next_free = w->loop->freed;
    w->loop->freed = w;
}

void load_wire_shut(struct load_wire *w)
{
    if (w->fd < 0 || w->is_closed)
        return;
    w->is_closed = true;
    (void)shutdown(w->fd, SHUT_RDWR); /* ends what is in flight */
    join(w);
}

static void gone(struct load_wire *w, int error)
{
    if (w->is_closed)
        return;
    load_wire_shut(w);
    w->loop->calls->on_gone(w, error);
}

/* ---- sending ---- */

static void send_rest(struct load_wire *w)
{
    w->is_sending = true;
    uring_send(w->loop->uring, w->fd, w->flying.p + w->flown, w->flying.n - w->flown, &w->send_op);
}

/* Seals what was collected, as far as there is room, and sends all that is sealed. */
static void flush_sealed(struct load_wire *w)
{
    struct bytes all = bytes_of(w->filling.p, w->filling.n), out;
    uint32_t taken = 0;

    if (w->is_secure && all.n > 0) {
        enum err err = tls_seal(w->tls, &all, 1, &taken);

        if (err != OK && err != ERR_FULL) {
            gone(w, EPROTO);
            return;
        }
        w->filling.n -= taken;
        memmove(w->filling.p, w->filling.p + taken, w->filling.n);
    }
    out = tls_output(w->tls);
    if (out.n == 0)
        return;
    w->is_sending = true;
    uring_send(w->loop->uring, w->fd, out.p, out.n, &w->send_op);
}

static void flush(struct load_wire *w)
{
    struct load_buffer empty = w->flying;

    if (w->is_sending || w->is_connecting || w->is_closed)
        return;
    if (w->tls) {
        flush_sealed(w);
        return;
    }
    if (w->filling.n == 0)
        return;
    w->flying = w->filling;
    w->flown = 0;
    w->filling = empty;
    w->filling.n = 0;
    send_rest(w);
}

static void make_dirty(struct load_wire *w)
{
    if (w->is_dirty || w->is_closed)
        return;
    w->is_dirty = true;
    w->next_dirty = w->loop->dirty;
    w->loop->dirty = w;
}

/* Room for n bytes at the end of what is collected, or NULL without memory. */
static uint8_t *make_room(struct load_wire *w, uint32_t n)
{
    struct load_buffer *b = &w->filling;

    if (b->room - b->n < n) {
        uint32_t room = b->room * 2 > b->n + n ? b->room * 2 : b->n + n;
        uint8_t *p = realloc(b->p, room < BUFFER_BYTES_MIN ? BUFFER_BYTES_MIN : room);

        if (!p)
            return NULL;
        b->p = p;
        b->room = room < BUFFER_BYTES_MIN ? BUFFER_BYTES_MIN : room;
    }
    return b->p + b->n;
}

static void flush_dirty(struct load_loop *loop)
{
    while (loop->dirty) {
        struct load_wire *w = loop->dirty;

        loop->dirty = w->next_dirty;
        w->is_dirty = false;
        flush(w);
    }
}

/* After the dirty ones, so that none of them is dirty. */
static void tell_freed(struct load_loop *loop)
{
    while (loop->freed) {
        struct load_wire *w = loop->freed;

        loop->freed = w->next_free;
        if (loop->calls->on_free)
            loop->calls->on_free(w);
    }
}

void load_loop_turn(struct load_loop *loop, uint64_t wait_us)
{
    flush_dirty(loop);
    tell_freed(loop);
    uring_submit(loop->uring, wait_us);
    (void)uring_run(loop->uring, TURN_BUDGET);
}

/* ---- completions ---- */

static void receive(struct load_wire *w)
{
    w->is_receiving = true;
    if (w->tls)
        uring_recv(w->loop->uring, w->fd, w->sealed, SEALED_BYTES, &w->recv_op);
    else
        uring_recv(w->loop->uring, w->fd, w->in + w->in_used, w->loop->in_bytes - w->in_used,
                   &w->recv_op);
}

/* Appends to what is collected, as it is. */
static bool write_raw(struct load_wire *w, const void *p, uint32_t n)
{
    uint8_t *to = make_room(w, n);

    if (!to)
        return false;
    memcpy(to, p, n);
    w->filling.n += n;
    make_dirty(w);
    return true;
}

/* The way for bytes is open: all but the handshake of WebSocket. */
static void become_open(struct load_wire *w)
{
    const struct load_loop *loop = w->loop;
    char request[LOAD_WS_REQUEST_BYTES_MAX];
    uint32_t n;

    if (!loop->ws_path) {
        w->is_open = true;
        loop->calls->on_open(w);
        return;
    }
    n = load_ws_request(request, loop->server_name, loop->ws_path);
    if (n == 0 || !write_raw(w, request, n))
        gone(w, EMSGSIZE);
}

/* Of n more bytes in `in`, those that WebSocket carries; the answer to our request is none. */
static bool take_frames(struct load_wire *w, uint32_t *n)
{
    uint8_t pong[LOAD_WS_PONG_BYTES_MAX];
    uint32_t used, pong_bytes;

    if (!w->is_open) {
        enum err err;

        w->in_used += *n;
        *n = 0;
        err = load_ws_answer(bytes_of(w->in, w->in_used), &used);
        if (err == ERR_MORE)
            return true;
        if (err != OK) {
            gone(w, ECONNREFUSED);
            return false;
        }
        *n = w->in_used - used;
        w->in_used = 0;
        memmove(w->in, w->in + used, *n);
        w->is_open = true;
        w->loop->calls->on_open(w);
    }
    if (load_ws_input(&w->ws, w->in + w->in_used, *n, n, pong, &pong_bytes) != OK) {
        gone(w, 0);
        return false;
    }
    if (pong_bytes == 0 || write_raw(w, pong, pong_bytes))
        return true;
    gone(w, ENOMEM);
    return false;
}

/* `n` more bytes are in `in`. False: it is closed now. */
static bool take(struct load_wire *w, uint32_t n)
{
    uint32_t done;

    if (w->loop->ws_path && !take_frames(w, &n))
        return false;
    if (!w->is_open)
        return true;
    w->in_used += n;
    done = w->loop->calls->on_bytes(w, bytes_of(w->in, w->in_used));
    if (w->is_closed)
        return false;
    w->in_used -= done;
    if (w->in_used > 0 && done > 0)
        memmove(w->in, w->in + done, w->in_used);
    CHECK(w->in_used < w->loop->in_bytes);
    return true;
}

/* The handshake may be done, and a ticket may have come. */
static void look_at_tls(struct load_wire *w)
{
    struct load_loop *loop = w->loop;

    if (loop->resumes && !loop->session && w->is_secure)
        loop->session = tls_session_create(w->tls);
    if (w->is_secure || !tls_is_established(w->tls))
        return;
    w->is_secure = true;
    become_open(w);
}

/* The same as take, of bytes that are sealed. */
static bool take_sealed(struct load_wire *w, struct bytes in)
{
    enum tls_verdict verdict;
    uint32_t n;

    do {
        verdict = tls_open(w->tls, &in, w->in + w->in_used, w->loop->in_bytes - w->in_used, &n);
        look_at_tls(w);
        if (w->is_closed || (verdict == TLS_DATA && !take(w, n)))
            return false;
    } while (verdict == TLS_DATA);
    make_dirty(w);
    if (verdict == TLS_MORE)
        return true;
    gone(w, verdict == TLS_CLOSED ? 0 : EPROTO);
    return false;
}

static void wire_on_recv(struct uring_op *op, const struct uring_event *event)
{
    struct load_wire *w = URING_OWNER(op, struct load_wire, recv_op);
    bool goes_on;

    w->is_receiving = false;
    if (w->is_closed) {
        join(w);
        return;
    }
    if (event->res <= 0) {
        gone(w, -event->res);
        return;
    }
    if (w->tls)
        goes_on = take_sealed(w, bytes_of(w->sealed, (size_t)event->res));
    else
        goes_on = take(w, (uint32_t)event->res);
    if (goes_on)
        receive(w);
    else
        join(w);
}

/* `n` bytes of what TLS has sealed are with the kernel. */
static void sealed_sent(struct load_wire *w, uint32_t n)
{
    tls_output_sent(w->tls, n);
    if (w->is_open && tls_output_count(w->tls) == 0 && w->filling.n == 0)
        w->loop->calls->on_sent(w);
    flush(w);
}

static void wire_on_send(struct uring_op *op, const struct uring_event *event)
{
    struct load_wire *w = URING_OWNER(op, struct load_wire, send_op);

    w->is_sending = false;
    if (w->is_closed) {
        join(w);
        return;
    }
    if (event->res < 0) {
        gone(w, -event->res);
        return;
    }
    if (w->tls) {
        sealed_sent(w, (uint32_t)event->res);
        return;
    }
    w->flown += (uint32_t)event->res;
    if (w->flown < w->flying.n) {
        send_rest(w);
        return;
    }
    w->flying.n = 0;
    if (w->is_open)
        w->loop->calls->on_sent(w);
    flush(w);
}

/* A client's handshake. */
static void begin_tls(struct load_wire *w)
{
    struct load_loop *loop = w->loop;

    w->tls = tls_create(loop->tls, loop->server_name, loop->session);
    if (!w->sealed)
        w->sealed = malloc(SEALED_BYTES);
    if (!w->tls || !w->sealed)
        gone(w, ENOMEM);
    else if (take_sealed(w, bytes_of("", 0)))
        receive(w);
}

static void wire_on_connect(struct uring_op *op, const struct uring_event *event)
{
    struct load_wire *w = URING_OWNER(op, struct load_wire, connect_op);

    w->is_connecting = false;
    if (w->is_closed) {
        join(w);
        return;
    }
    if (event->res < 0) {
        gone(w, -event->res);
        return;
    }
    if (w->loop->tls) {
        begin_tls(w);
        return;
    }
    receive(w);
    become_open(w);
}

/* ---- the user's side ---- */

static bool bind_to(int fd, const struct sockaddr *from)
{
    int on = 1;
    socklen_t n =
        from->sa_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);

    /* The port is chosen at connect, by what is free towards that destination. */
    (void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
    return bind(fd, from, n) == 0;
}

/* As new, but for the buffers it has already. False without memory. */
static bool renew(struct load_wire *w, struct load_loop *loop)
{
    struct load_wire old = *w;

    tls_destroy(w->tls);
    *w = (struct load_wire){.loop = loop, .fd = -1, .in = old.in, .sealed = old.sealed};
    w->filling = (struct load_buffer){.p = old.filling.p, .room = old.filling.room};
    w->flying = (struct load_buffer){.p = old.flying.p, .room = old.flying.room};
    w->mask = (uint32_t)(uintptr_t)w;
    w->connect_op.done = wire_on_connect;
    w->recv_op.done = wire_on_recv;
    w->send_op.done = wire_on_send;
    if (!w->in)
        w->in = malloc(loop->in_bytes);
    return w->in != NULL;
}

enum err load_wire_open(struct load_wire *w, struct load_loop *loop, const struct sockaddr *to,
                        socklen_t to_bytes, const struct sockaddr *from)
{
    int on = 1;

    if (!renew(w, loop))
        return ERR_MEMORY;
    w->fd = socket(to->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (w->fd < 0)
        return ERR_SYSTEM;
    (void)setsockopt(w->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (from && !bind_to(w->fd, from))
        return ERR_SYSTEM;
    w->is_connecting = true;
    uring_connect(loop->uring, w->fd, to, to_bytes, &w->connect_op);
    return OK;
}

enum err load_wire_take(struct load_wire *w, struct load_loop *loop, int fd)
{
    int on = 1;

    if (!renew(w, loop))
        return ERR_MEMORY;
    w->fd = fd;
    (void)setsockopt(w->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    w->is_open = true;
    receive(w);
    return OK;
}

uint8_t *load_wire_room(struct load_wire *w, uint32_t n)
{
    uint32_t header = w->loop->ws_path ? load_ws_header_bytes(n) : 0;
    uint8_t *p = make_room(w, header + n);

    w->header_bytes = header;
    return p ? p + header : NULL;
}

void load_wire_wrote(struct load_wire *w, const uint8_t *end)
{
    uint8_t *begin = w->filling.p + w->filling.n;
    uint32_t n = (uint32_t)(end - begin) - w->header_bytes;

    if (w->header_bytes > 0) {
        CHECK(load_ws_header_bytes(n) == w->header_bytes);
        w->mask = w->mask * 1664525u + 1013904223u;
        load_ws_frame(begin, n, w->mask);
    }
    w->filling.n += w->header_bytes + n;
    CHECK(w->filling.n <= w->filling.room);
    make_dirty(w);
}

uint32_t load_wire_waiting(const struct load_wire *w)
{
    if (w->tls)
        return w->filling.n + tls_output_count(w->tls);
    return w->filling.n + (w->flying.n - (w->is_sending ? w->flown : w->flying.n));
}

void load_wire_fini(struct load_wire *w)
{
    if (!w->loop)
        return; /* never opened */
    if (w->fd >= 0)
        close(w->fd);
    w->fd = -1;
    tls_destroy(w->tls);
    w->tls = NULL;
    free(w->sealed);
    free(w->in);
    free(w->filling.p);
    free(w->flying.p);
    w->in = w->sealed = NULL;
    w->filling = w->flying = (struct load_buffer){0};
}
