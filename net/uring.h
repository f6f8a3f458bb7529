/* net/uring.h -- io_uring(7), and the only file that knows liburing.
 *
 * One ring per worker. The main thread makes it switched off, its worker switches it on and is from
 * then on the only one that touches it. Requests are collected and go to the kernel once a turn, in
 * the same system call that waits.
 *
 * Every request that somebody waits for carries the address of a struct uring_op, embedded in the
 * object it belongs to; its completion calls op->done. The object lives until then: who submits
 * counts, who gets the last completion frees. What a request points to (buffers, addresses,
 * vectors) is lent: buffers until the completion, everything else until the submit.
 *
 * What a kernel cannot do is found out once, at start (uring_probe). For tests, the environment
 * variable CAUSEWAY_MASK names features to do without, separated by commas: single_issuer,
 * defer_taskrun, submit_all, cqe_skip, buffer_ring, multishot_accept, multishot_recv, msg_ring, or
 * all of them: all.
 *
 * Threads  probe, create, destroy: main.  All else: the worker of the ring.
 * Errors   kernel results come to op->done as they are: negative errno values.
 */
#ifndef NET_URING_H
#define NET_URING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "core/base/err.h"

struct uring; /* opaque */

enum uring_feature {
    URING_SINGLE_ISSUER,
    URING_DEFER_TASKRUN,
    URING_SUBMIT_ALL,
    URING_CQE_SKIP,
    URING_BUFFER_RING,
    URING_MULTISHOT_ACCEPT,
    URING_MULTISHOT_RECV,
    URING_MSG_RING,
    URING_FEATURE_COUNT
};
#define URING_BIT(feature) (1u << (feature))

/* What a completion says. */
struct uring_event {
    int32_t res;        /* >= 0, or a negative errno */
    bool is_last;       /* no further completion of this request */
    bool has_buffer;    /* the kernel took a buffer of the ring: it is ours until given back */
    uint16_t buffer_id; /* with has_buffer */
};

struct uring_op;
typedef void uring_done(struct uring_op *op, const struct uring_event *event);
struct uring_op {
    uring_done *done;
};

/* The object that `p`, its member, is embedded in. */
#define URING_OWNER(p, type, member) ((type *)(void *)((char *)(p)-offsetof(type, member)))

/* The name of a feature as in logs and in CAUSEWAY_MASK. */
const char *uring_feature_name(enum uring_feature f);

/* Finds out what this kernel can do, less what `mask` (may be NULL) names.  OK: a set of URING_BIT
 * in *features.  Else ERR_SYSTEM, and `why` says what is wrong and what to do about it. */
MUST_USE enum err uring_probe(const char *mask, uint32_t *features, char *why, size_t why_bytes);

/* A switched-off ring for one worker.  NULL: `why` says why. */
struct uring *uring_create(uint32_t features, char *why, size_t why_bytes);
/* Closes the ring; the kernel gives up what was in flight before this returns.  NULL is fine. */
void uring_destroy(struct uring *u);
/* Switches the ring on for the calling thread.  ERR_SYSTEM: errno says why. */
MUST_USE enum err uring_enable(struct uring *u);
/* For uring_wake of another worker. */
int uring_fd(const struct uring *u);
/* Whether the ring has a feature. */
bool uring_has(const struct uring *u, enum uring_feature f);

/* ---- requests: all return at once; a full submission queue is submitted on the way ---- */

/* accept4(2) with SOCK_CLOEXEC; several completions if is_multishot. */
void uring_accept(struct uring *u, int fd, bool is_multishot, struct uring_op *op);
/* recv(2) into whatever buffer of the ring the kernel takes when bytes are there. */
void uring_recv_buffer(struct uring *u, int fd, bool is_multishot, struct uring_op *op);
/* recv(2) into `p`. */
void uring_recv(struct uring *u, int fd, void *p, uint32_t n, struct uring_op *op);
/* Completes once `fd` is readable: poll(2). */
void uring_poll(struct uring *u, int fd, struct uring_op *op);
/* read(2), for an eventfd. */
void uring_read(struct uring *u, int fd, void *p, uint32_t n, struct uring_op *op);
/* send(2) and sendmsg(2) with MSG_NOSIGNAL. */
void uring_send(struct uring *u, int fd, const void *p, size_t n, struct uring_op *op);
void uring_sendmsg(struct uring *u, int fd, const struct msghdr *m, struct uring_op *op);
/* The same for all of n bytes, tried once, when it is submitted: what does not fit then is not
 * waited for, so the completion may say fewer bytes, or -EAGAIN. If all fit, nobody is woken for
 * it, and the completion is told by the uring_run that follows the submit. What is lent is free
 * after the submit, too. Only a hint: where it cannot be done, it is as above. */
void uring_send_quiet(struct uring *u, int fd, const void *p, size_t n, struct uring_op *op);
void uring_sendmsg_quiet(struct uring *u, int fd, const struct msghdr *m, size_t n,
                         struct uring_op *op);
/* connect(2). */
void uring_connect(struct uring *u, int fd, const struct sockaddr *a, socklen_t n,
                   struct uring_op *op);
/* Asks the kernel to give a request back soon; its own completion still comes, maybe -ECANCELED. */
void uring_cancel(struct uring *u, const struct uring_op *op);
/* close(2); nobody is told. */
void uring_close(struct uring *u, int fd);
/* Ends the sleep of the worker whose ring is `ring_fd`. `failed` is called when that did not work;
 * on success nobody is told. Needs URING_MSG_RING. */
void uring_wake(struct uring *u, int ring_fd, struct uring_op *failed);

/* ---- the provided buffers, for net/bufring ---- */

/* Registers a ring for `count` (a power of two) buffers.  ERR_SYSTEM: errno says why. Main. */
MUST_USE enum err uring_buffers_register(struct uring *u, uint32_t count);
/* Gives buffer `id` at `p` to the kernel. */
void uring_buffers_give(struct uring *u, void *p, uint32_t n, uint16_t id);

/* ---- once per turn ---- */

#define URING_FOREVER UINT64_MAX
/* Submits and, unless completions are there, waits for one, at most so many microseconds (0: does
 * not wait, but lets the kernel post what is ready). One io_uring_enter(2). */
void uring_submit(struct uring *u, uint64_t wait_us);
/* Calls done for all quiet sends that were submitted, and for up to `budget` other completions;
 * returns how many of these it were. */
uint32_t uring_run(struct uring *u, uint32_t budget);
/* Whether completions are waiting. */
bool uring_is_ready(const struct uring *u);
/* Whether everything handed over so far has been taken by the kernel. */
bool uring_is_submitted(const struct uring *u);

#endif
