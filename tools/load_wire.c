/* tools/load_wire.c -- one TCP connection of the load generator, on net/uring. */
#include "tools/load_wire.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/base/check.h"

#define BUFFER_BYTES_MIN 256u
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
    loop->uring = NULL;
}

static void send_rest(struct load_wire *w)
{
    w->is_sending = true;
    uring_send(w->loop->uring, w->fd, w->flying.p + w->flown, w->flying.n - w->flown, &w->send_op);
}

static void flush(struct load_wire *w)
{
    struct load_buffer empty = w->flying;

    if (w->is_sending || w->is_connecting || w->is_closed || w->filling.n == 0)
        return;
    w->flying = w->filling;
    w->flown = 0;
    w->filling = empty;
    w->filling.n = 0;
    send_rest(w);
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

void load_loop_turn(struct load_loop *loop, uint64_t wait_us)
{
    flush_dirty(loop);
    uring_submit(loop->uring, wait_us);
    (void)uring_run(loop->uring, TURN_BUDGET);
}

/* ---- closing ---- */

/* The descriptor is closed when the kernel has nothing left of this wire. */
static void join(struct load_wire *w)
{
    if (!w->is_closed || w->is_connecting || w->is_receiving || w->is_sending || w->fd < 0)
        return;
    close(w->fd);
    w->fd = -1;
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

/* ---- completions ---- */

static void receive(struct load_wire *w)
{
    w->is_receiving = true;
    uring_recv(w->loop->uring, w->fd, w->in + w->in_used, w->loop->in_bytes - w->in_used,
               &w->recv_op);
}

static void wire_on_recv(struct uring_op *op, const struct uring_event *event)
{
    struct load_wire *w = URING_OWNER(op, struct load_wire, recv_op);
    uint32_t done;

    w->is_receiving = false;
    if (w->is_closed) {
        join(w);
        return;
    }
    if (event->res <= 0) {
        gone(w, -event->res);
        return;
    }
    w->in_used += (uint32_t)event->res;
    done = w->loop->calls->on_bytes(w, bytes_of(w->in, w->in_used));
    if (w->is_closed) {
        join(w);
        return;
    }
    w->in_used -= done;
    if (w->in_used > 0 && done > 0)
        memmove(w->in, w->in + done, w->in_used);
    CHECK(w->in_used < w->loop->in_bytes);
    receive(w);
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
    w->flown += (uint32_t)event->res;
    if (w->flown < w->flying.n) {
        send_rest(w);
        return;
    }
    w->flying.n = 0;
    w->loop->calls->on_sent(w);
    flush(w);
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
    receive(w);
    w->loop->calls->on_open(w);
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

enum err load_wire_open(struct load_wire *w, struct load_loop *loop, const struct sockaddr *to,
                        socklen_t to_bytes, const struct sockaddr *from)
{
    int on = 1;

    *w = (struct load_wire){.loop = loop, .fd = -1};
    w->connect_op.done = wire_on_connect;
    w->recv_op.done = wire_on_recv;
    w->send_op.done = wire_on_send;
    w->in = malloc(loop->in_bytes);
    if (!w->in)
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

uint8_t *load_wire_room(struct load_wire *w, uint32_t n)
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

void load_wire_wrote(struct load_wire *w, const uint8_t *end)
{
    w->filling.n = (uint32_t)(end - w->filling.p);
    CHECK(w->filling.n <= w->filling.room);
    if (w->is_dirty || w->is_closed)
        return;
    w->is_dirty = true;
    w->next_dirty = w->loop->dirty;
    w->loop->dirty = w;
}

uint32_t load_wire_waiting(const struct load_wire *w)
{
    return w->filling.n + (w->flying.n - (w->is_sending ? w->flown : w->flying.n));
}

void load_wire_fini(struct load_wire *w)
{
    if (!w->loop)
        return; /* never opened */
    if (w->fd >= 0)
        close(w->fd);
    w->fd = -1;
    free(w->in);
    free(w->filling.p);
    free(w->flying.p);
    w->in = NULL;
    w->filling = w->flying = (struct load_buffer){0};
}
