/* net/wake.c -- how a worker wakes workers that sleep. */
#include "net/wake.h"

#include <errno.h>
#include <unistd.h>

#include "net/conn.h"
#include "net/http_access.h"

static void arm(struct worker *w)
{
    w->wake_is_armed = true;
    uring_read(w->uring, w->event_fd, &w->wake_value, sizeof(w->wake_value), &w->wake_op);
}

/* Somebody outside the rings wants us: the main thread, the resolver, or a worker without
 * MSG_RING. Why can be seen elsewhere. */
static void wake_on_event(struct uring_op *op, const struct uring_event *e)
{
    struct worker *w = URING_OWNER(op, struct worker, wake_op);

    w->wake_is_armed = false;
    if (e->res == -ECANCELED)
        return;
    conn_resolved(w);
    conn_answered(w);
    http_access_run(w->http_access);
    arm(w);
}

/* A message to another ring did not arrive. Which one is not said, and it is rare (the other ring
 * has no memory left): all are woken through their eventfd. */
static void wake_on_failure(struct uring_op *op, const struct uring_event *e)
{
    struct worker *w = URING_OWNER(op, struct worker, wake_failed_op);

    if (e->res >= 0)
        return; /* only where the kernel cannot leave out success */
    for (uint32_t i = 0; i < w->net->worker_count; i++) {
        if (i != w->number)
            worker_ring(w->net->workers[i]);
    }
}

void wake_init(struct worker *w)
{
    w->wake_op.done = wake_on_event;
    w->wake_failed_op.done = wake_on_failure;
    arm(w);
}

void wake_fini(struct worker *w)
{
    if (w->wake_is_armed)
        uring_cancel(w->uring, &w->wake_op);
}

void wake_send(struct worker *w, uint64_t sleepers)
{
    while (sleepers) {
        uint32_t to = (uint32_t)__builtin_ctzll(sleepers);
        struct worker *other = w->net->workers[to];

        sleepers &= sleepers - 1;
        if (uring_has(w->uring, URING_MSG_RING))
            uring_wake(w->uring, uring_fd(other->uring), &w->wake_failed_op);
        else
            worker_ring(other);
    }
}
