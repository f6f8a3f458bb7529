/* net/uring.c -- io_uring(7) through liburing.
 *
 * Written for Debian 12's liburing 2.3, linked statically (its shared library does not export
 * io_uring_enable_rings). user_data is the address of a struct uring_op, or 0 where nobody waits.
 * Completions of requests with 0 appear only when they failed, or where the kernel cannot leave
 * out the successful ones; they are ignored.
 *
 * A quiet send carries its round and its place in `quiet`, and the lowest bit. With MSG_DONTWAIT it
 * is done or has failed when the submit returns; with MSG_WAITALL fewer bytes are a failure, and of
 * success nothing is posted. So whoever has no completion by then was sent.
 */
#include "net/uring.h"

#include <errno.h>
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/base/check.h"

#define SQ_ENTRIES 1024u
#define CQ_ENTRIES 16384u
/* The one group of buffers a ring has. */
#define BUFFER_GROUP 0

/* Quiet sends between two runs; beyond, they are ordinary ones. */
#define QUIET_MAX 512u

struct quiet {
    struct uring_op *op;
    int32_t res;
};

struct uring {
    struct io_uring ring;
    uint32_t features;
    uint8_t skip_success; /* IOSQE_CQE_SKIP_SUCCESS where the kernel knows it, else 0 */
    struct io_uring_buf_ring *buffers;
    uint32_t buffer_count;
    uint32_t quiet_count;
    uint32_t quiet_submitted; /* of these; all or none */
    uint64_t quiet_round;     /* how often they were told */
    struct quiet quiet[QUIET_MAX];
};

static const char *const feature_names[URING_FEATURE_COUNT] = {
    [URING_SINGLE_ISSUER] = "single_issuer",   [URING_DEFER_TASKRUN] = "defer_taskrun",
    [URING_SUBMIT_ALL] = "submit_all",         [URING_CQE_SKIP] = "cqe_skip",
    [URING_BUFFER_RING] = "buffer_ring",       [URING_MULTISHOT_ACCEPT] = "multishot_accept",
    [URING_MULTISHOT_RECV] = "multishot_recv", [URING_MSG_RING] = "msg_ring",
};

const char *uring_feature_name(enum uring_feature f)
{
    return feature_names[f];
}

/* ---- what went wrong, in words ---- */

static int sysctl_disabled(void)
{
    FILE *f = fopen("/proc/sys/kernel/io_uring_disabled", "re");
    int value = 0;

    if (!f)
        return 0;
    if (fscanf(f, "%d", &value) != 1)
        value = 0;
    fclose(f);
    return value;
}

static void explain_forbidden(int error, char *why, size_t n)
{
    int disabled = sysctl_disabled();

    if (disabled == 2)
        snprintf(
            why, n,
            "io_uring is switched off on this machine (kernel.io_uring_disabled = 2); as root: "
            "sysctl -w kernel.io_uring_disabled=0");
    else if (disabled == 1)
        snprintf(why, n,
                 "io_uring is kept for some users on this machine (kernel.io_uring_disabled = 1); "
                 "add this user to the group of kernel.io_uring_group, or as root: "
                 "sysctl -w kernel.io_uring_disabled=0");
    else
        snprintf(why, n,
                 "io_uring is forbidden to this process (%s), most likely by the seccomp filter of "
                 "a container or service manager; allow the system calls io_uring_setup, "
                 "io_uring_enter and io_uring_register there",
                 strerror(error));
}

/* `error` is a positive errno of `what`. */
static void explain(int error, const char *what, char *why, size_t n)
{
    struct rlimit lock = {0};

    switch (error) {
    case EPERM:
    case EACCES:
        explain_forbidden(error, why, n);
        break;
    case ENOSYS:
        snprintf(why, n,
                 "there is no io_uring here: Linux 5.15 or later is needed (6.1 or later is best), "
                 "and a seccomp filter must not hide it");
        break;
    case ENOMEM:
        getrlimit(RLIMIT_MEMLOCK, &lock);
        snprintf(
            why, n,
            "the kernel has no memory for %s: locked memory is limited to %llu KiB (ulimit -l, "
            "or LimitMEMLOCK= of the service; 64 MiB is plenty), or the machine or its control "
            "group is out of memory; fewer workers need less",
            what, (unsigned long long)(lock.rlim_cur / 1024));
        break;
    case EMFILE:
    case ENFILE:
        snprintf(why, n, "no file descriptor is left for %s: raise ulimit -n", what);
        break;
    default:
        snprintf(why, n, "%s: %s", what, strerror(error));
    }
}

/* ---- making a ring ---- */

static uint32_t setup_flags(uint32_t features)
{
    uint32_t flags = IORING_SETUP_R_DISABLED | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;

    if (features & URING_BIT(URING_SINGLE_ISSUER))
        flags |= IORING_SETUP_SINGLE_ISSUER;
    if (features & URING_BIT(URING_DEFER_TASKRUN))
        flags |= IORING_SETUP_DEFER_TASKRUN;
    if (features & URING_BIT(URING_SUBMIT_ALL))
        flags |= IORING_SETUP_SUBMIT_ALL;
    return flags;
}

/* Returns 0 or a negative errno. */
static int setup(struct uring *u, uint32_t features, uint32_t sq, uint32_t cq)
{
    struct io_uring_params p = {.flags = setup_flags(features), .cq_entries = cq};
    int rc = io_uring_queue_init_params(sq, &u->ring, &p);

    if (rc < 0)
        return rc;
    u->features = features;
    u->skip_success = (features & URING_BIT(URING_CQE_SKIP)) ? IOSQE_CQE_SKIP_SUCCESS : 0;
    return 0;
}

struct uring *uring_create(uint32_t features, char *why, size_t why_bytes)
{
    struct uring *u = calloc(1, sizeof(*u));
    int rc;

    if (!u) {
        explain(ENOMEM, "a ring", why, why_bytes);
        return NULL;
    }
    rc = setup(u, features, SQ_ENTRIES, CQ_ENTRIES);
    if (rc < 0) {
        explain(-rc, "a ring", why, why_bytes);
        free(u);
        return NULL;
    }
    return u;
}

void uring_destroy(struct uring *u)
{
    if (!u)
        return;
    io_uring_queue_exit(&u->ring);
    if (u->buffers)
        munmap(u->buffers, u->buffer_count * sizeof(struct io_uring_buf));
    free(u);
}

enum err uring_enable(struct uring *u)
{
    int rc = io_uring_enable_rings(&u->ring);

    if (rc < 0) {
        errno = -rc;
        return ERR_SYSTEM;
    }
    (void)io_uring_register_ring_fd(&u->ring); /* saves a look-up per call; without it all works */
    return OK;
}

int uring_fd(const struct uring *u)
{
    return u->ring.ring_fd;
}

bool uring_has(const struct uring *u, enum uring_feature f)
{
    return (u->features & URING_BIT(f)) != 0;
}

/* ---- requests ---- */

static struct io_uring_sqe *next_sqe(struct uring *u)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);

    for (int tries = 0; !sqe && tries < 1000; tries++) {
        (void)io_uring_submit_and_get_events(&u->ring);
        sqe = io_uring_get_sqe(&u->ring);
    }
    CHECK(sqe != NULL);
    return sqe;
}

/* To be called after the io_uring_prep_ function, which clears the entry. */
static void set_op(struct io_uring_sqe *sqe, const struct uring_op *op)
{
    io_uring_sqe_set_data64(sqe, (uint64_t)(uintptr_t)op);
}

void uring_accept(struct uring *u, int fd, bool is_multishot, struct uring_op *op)
{
    struct io_uring_sqe *sqe = next_sqe(u);

    if (is_multishot)
        io_uring_prep_multishot_accept(sqe, fd, NULL, NULL, SOCK_CLOEXEC);
    else
        io_uring_prep_accept(sqe, fd, NULL, NULL, SOCK_CLOEXEC);
    set_op(sqe, op);
}

void uring_recv_buffer(struct uring *u, int fd, bool is_multishot, struct uring_op *op)
{
    struct io_uring_sqe *sqe = next_sqe(u);

    if (is_multishot)
        io_uring_prep_recv_multishot(sqe, fd, NULL, 0, 0);
    else
        io_uring_prep_recv(sqe, fd, NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = BUFFER_GROUP;
    set_op(sqe, op);
}

void uring_recv(struct uring *u, int fd, void *p, uint32_t n, struct uring_op *op)
{
    struct io_uring_sqe *sqe = next_sqe(u);

    io_uring_prep_recv(sqe, fd, p, n, 0);
    set_op(sqe, op);
}

void uring_poll(struct uring *u, int fd, struct uring_op *op)
{
    struct io_uring_sqe *sqe = next_sqe(u);

    io_uring_prep_poll_add(sqe, fd, 0x001 /* POLLIN */);
    set_op(sqe, op);
}

void uring_read(struct uring *u, int fd, void *p, uint32_t n, struct uring_op *op)
{
    struct io_uring_sqe *sqe = next_sqe(u);

    io_uring_prep_read(sqe, fd, p, n, 0);
    set_op(sqe, op);
}

void uring_send(struct uring *u, int fd, const void *p, size_t n, struct uring_op *op)
{
    struct io_uring_sqe *sqe = next_sqe(u);

    io_uring_prep_send(sqe, fd, p, n, MSG_NOSIGNAL);
    set_op(sqe, op);
}

void uring_sendmsg(struct uring *u, int fd, const struct msghdr *m, struct uring_op *op)
{
    struct io_uring_sqe *sqe = next_sqe(u);

    io_uring_prep_sendmsg(sqe, fd, m, MSG_NOSIGNAL);
    set_op(sqe, op);
}

/* Whether a send of n bytes that has been prepared can be quiet; then it is. */
static void set_quiet(struct uring *u, struct io_uring_sqe *sqe, size_t n, struct uring_op *op)
{
    if (u->quiet_count == QUIET_MAX || !u->skip_success || n > INT32_MAX) {
        set_op(sqe, op);
        return;
    }
    sqe->flags |= u->skip_success;
    sqe->msg_flags |= MSG_DONTWAIT | MSG_WAITALL;
    io_uring_sqe_set_data64(sqe, 2 * (u->quiet_round * QUIET_MAX + u->quiet_count) + 1);
    u->quiet[u->quiet_count++] = (struct quiet){.op = op, .res = (int32_t)n};
}

void uring_send_quiet(struct uring *u, int fd, const void *p, size_t n, struct uring_op *op)
{
    struct io_uring_sqe *sqe = next_sqe(u);

    io_uring_prep_send(sqe, fd, p, n, MSG_NOSIGNAL);
    set_quiet(u, sqe, n, op);
}

void uring_sendmsg_quiet(struct uring *u, int fd, const struct msghdr *m, size_t n,
                         struct uring_op *op)
{
    struct io_uring_sqe *sqe = next_sqe(u);

    io_uring_prep_sendmsg(sqe, fd, m, MSG_NOSIGNAL);
    set_quiet(u, sqe, n, op);
}

void uring_connect(struct uring *u, int fd, const struct sockaddr *a, socklen_t n,
                   struct uring_op *op)
{
    struct io_uring_sqe *sqe = next_sqe(u);

    io_uring_prep_connect(sqe, fd, a, n);
    set_op(sqe, op);
}

void uring_cancel(struct uring *u, const struct uring_op *op)
{
    struct io_uring_sqe *sqe = next_sqe(u);

    io_uring_prep_cancel64(sqe, (uint64_t)(uintptr_t)op, 0);
    sqe->flags |= u->skip_success;
    set_op(sqe, NULL);
}

void uring_close(struct uring *u, int fd)
{
    struct io_uring_sqe *sqe = next_sqe(u);

    io_uring_prep_close(sqe, fd);
    sqe->flags |= u->skip_success;
    set_op(sqe, NULL);
}

void uring_wake(struct uring *u, int ring_fd, struct uring_op *failed)
{
    struct io_uring_sqe *sqe = next_sqe(u);

    io_uring_prep_msg_ring(sqe, ring_fd, 0, 0, 0);
    sqe->flags |= u->skip_success;
    set_op(sqe, failed);
}

/* ---- provided buffers ---- */

enum err uring_buffers_register(struct uring *u, uint32_t count)
{
    struct io_uring_buf_reg reg = {.ring_entries = count, .bgid = BUFFER_GROUP};
    size_t bytes = count * sizeof(struct io_uring_buf);
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int rc;

    if (p == MAP_FAILED)
        return ERR_SYSTEM;
    reg.ring_addr = (uint64_t)(uintptr_t)p;
    rc = io_uring_register_buf_ring(&u->ring, &reg, 0);
    if (rc < 0) {
        munmap(p, bytes);
        errno = -rc;
        return ERR_SYSTEM;
    }
    u->buffers = p;
    u->buffer_count = count;
    io_uring_buf_ring_init(u->buffers);
    return OK;
}

void uring_buffers_give(struct uring *u, void *p, uint32_t n, uint16_t id)
{
    io_uring_buf_ring_add(u->buffers, p, n, id, io_uring_buf_ring_mask(u->buffer_count), 0);
    io_uring_buf_ring_advance(u->buffers, 1);
}

/* ---- the turn ---- */

static void submit(struct uring *u, uint64_t wait_us)
{
    struct io_uring_cqe *cqe;
    struct __kernel_timespec ts;

    /* Whatever this returns (-ETIME, -EINTR, -EBUSY): the turn looks at the completions. */
    if (wait_us == 0) {
        (void)io_uring_submit_and_get_events(&u->ring);
        return;
    }
    if (wait_us == URING_FOREVER) {
        (void)io_uring_submit_and_wait_timeout(&u->ring, &cqe, 1, NULL, NULL);
        return;
    }
    ts.tv_sec = (long long)(wait_us / 1000000u);
    ts.tv_nsec = (long long)(wait_us % 1000000u) * 1000;
    (void)io_uring_submit_and_wait_timeout(&u->ring, &cqe, 1, &ts, NULL);
}

void uring_submit(struct uring *u, uint64_t wait_us)
{
    submit(u, wait_us);
    if (uring_is_submitted(u))
        u->quiet_submitted = u->quiet_count;
}

static bool is_quiet(const struct io_uring_cqe *cqe)
{
    return cqe->user_data & 1;
}

/* A quiet send has failed; of one that has been told of already nothing more is to be said. */
static void note_quiet(struct uring *u, const struct io_uring_cqe *cqe)
{
    uint64_t number = cqe->user_data >> 1;

    if (number / QUIET_MAX == u->quiet_round)
        u->quiet[number % QUIET_MAX].res = cqe->res;
}

/* Tells the quiet sends that have been submitted, before anything that came after them. false: not
 * all completions are in the ring yet. */
static bool run_quiet(struct uring *u)
{
    struct quiet done[QUIET_MAX];
    struct io_uring_cqe *cqe;
    uint32_t count = u->quiet_count;
    unsigned head;

    if (count == 0 || count != u->quiet_submitted)
        return true;
    if (io_uring_cq_has_overflow(&u->ring))
        return false;
    io_uring_for_each_cqe(&u->ring, head, cqe)
    {
        if (is_quiet(cqe))
            note_quiet(u, cqe);
    }
    memcpy(done, u->quiet, count * sizeof(done[0]));
    u->quiet_count = u->quiet_submitted = 0;
    u->quiet_round++;
    for (uint32_t i = 0; i < count; i++) {
        const struct uring_event event = {.res = done[i].res, .is_last = true};

        done[i].op->done(done[i].op, &event);
    }
    return true;
}

static void run_one(struct uring *u, const struct io_uring_cqe *cqe)
{
    struct uring_op *op = is_quiet(cqe) ? NULL : io_uring_cqe_get_data(cqe);
    struct uring_event event = {
        .res = cqe->res,
        .is_last = !(cqe->flags & IORING_CQE_F_MORE),
        .has_buffer = (cqe->flags & IORING_CQE_F_BUFFER) != 0,
        .buffer_id = (uint16_t)(cqe->flags >> IORING_CQE_BUFFER_SHIFT),
    };

    if (is_quiet(cqe))
        note_quiet(u, cqe);
    else if (op)
        op->done(op, &event);
}

uint32_t uring_run(struct uring *u, uint32_t budget)
{
    struct io_uring_cqe *cqes[64];
    bool all_quiet = run_quiet(u);
    uint32_t ran = 0;

    while (ran < budget) {
        uint32_t max = budget - ran < 64 ? budget - ran : 64;
        unsigned n = io_uring_peek_batch_cqe(&u->ring, cqes, max);

        if (n == 0)
            break;
        for (unsigned i = 0; i < n; i++)
            run_one(u, cqes[i]);
        io_uring_cq_advance(&u->ring, n);
        ran += n;
    }
    if (!all_quiet)
        (void)run_quiet(u); /* else there is more to run, and another turn */
    return ran;
}

bool uring_is_ready(const struct uring *u)
{
    return io_uring_cq_ready(&u->ring) != 0;
}

bool uring_is_submitted(const struct uring *u)
{
    return io_uring_sq_ready(&u->ring) == 0;
}

/* ---- what this kernel can do ---- */

static uint32_t parse_mask(const char *mask)
{
    uint32_t set = 0;

    while (mask && *mask) {
        size_t n = strcspn(mask, ",");

        for (uint32_t f = 0; f < URING_FEATURE_COUNT; f++) {
            if (strlen(feature_names[f]) == n && strncmp(feature_names[f], mask, n) == 0)
                set |= URING_BIT(f);
        }
        if (n == 3 && strncmp(mask, "all", 3) == 0)
            set = URING_BIT(URING_FEATURE_COUNT) - 1;
        mask += n + (mask[n] == ',');
    }
    return set;
}

/* The richest set of setup flags the kernel takes: step by step down on -EINVAL. */
static int probe_setup(struct uring *u, uint32_t allowed)
{
    static const uint32_t steps[] = {
        URING_BIT(URING_SINGLE_ISSUER) | URING_BIT(URING_DEFER_TASKRUN) |
            URING_BIT(URING_SUBMIT_ALL),
        URING_BIT(URING_SINGLE_ISSUER) | URING_BIT(URING_SUBMIT_ALL),
        URING_BIT(URING_SUBMIT_ALL),
        0,
    };
    int rc = -EINVAL;

    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]) && rc == -EINVAL; i++) {
        uint32_t features = steps[i] & allowed;

        if (!(features & URING_BIT(URING_SINGLE_ISSUER)))
            features &= ~URING_BIT(URING_DEFER_TASKRUN); /* needs the other */
        rc = setup(u, features, 16, 64);
    }
    return rc;
}

/* Submits what was prepared and waits up to `wait_us`: the first completion's result and flags, or
 * false when there was none. */
static bool probe_run(struct uring *u, uint64_t wait_us, struct io_uring_cqe *out)
{
    struct io_uring_cqe *cqe;

    uring_submit(u, wait_us);
    if (io_uring_peek_cqe(&u->ring, &cqe) != 0)
        return false;
    *out = *cqe;
    io_uring_cqe_seen(&u->ring, cqe);
    return true;
}

/* A kernel without multishot accept refuses it at once; with it, it stays armed and is silent. */
static bool probe_accept(struct uring *u)
{
    struct sockaddr_un any = {.sun_family = AF_UNIX}; /* the kernel picks an abstract name */
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct uring_op op = {0};
    struct io_uring_cqe cqe;
    bool works = false;

    if (fd < 0)
        return false;
    if (bind(fd, (struct sockaddr *)&any, sizeof(any.sun_family)) == 0 && listen(fd, 1) == 0) {
        uring_accept(u, fd, true, &op);
        works = !probe_run(u, 0, &cqe);
        if (works)
            uring_cancel(u, &op);
        while (probe_run(u, 1000, &cqe))
            ; /* what the cancelling left */
    }
    close(fd);
    return works;
}

static bool probe_recv(struct uring *u)
{
    int pair[2];
    uint8_t buffer[64];
    struct uring_op op = {0};
    struct io_uring_cqe cqe;
    bool works;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
        return false;
    uring_buffers_give(u, buffer, sizeof(buffer), 0);
    if (send(pair[1], "x", 1, MSG_NOSIGNAL) != 1)
        works = false;
    else {
        uring_recv_buffer(u, pair[0], true, &op);
        works = probe_run(u, 10000, &cqe) && cqe.res == 1 && (cqe.flags & IORING_CQE_F_MORE);
    }
    close(pair[1]); /* ends the receive: nothing is lent when this returns */
    while (probe_run(u, 1000, &cqe))
        ;
    close(pair[0]);
    return works;
}

/* What every version has that this program can run on. */
static bool probe_basics(struct uring *u, const struct io_uring_probe *ops, char *why, size_t n)
{
    static const int needed[] = {IORING_OP_ACCEPT,  IORING_OP_RECV,    IORING_OP_SEND,
                                 IORING_OP_SENDMSG, IORING_OP_CONNECT, IORING_OP_ASYNC_CANCEL,
                                 IORING_OP_CLOSE,   IORING_OP_READ,    IORING_OP_POLL_ADD};
    uint32_t features = IORING_FEAT_EXT_ARG | IORING_FEAT_NODROP | IORING_FEAT_SUBMIT_STABLE |
                        IORING_FEAT_FAST_POLL;
    bool ok = (u->ring.features & features) == features && ops != NULL;

    for (size_t i = 0; ok && i < sizeof(needed) / sizeof(needed[0]); i++)
        ok = io_uring_opcode_supported(ops, needed[i]) != 0;
    if (!ok)
        snprintf(why, n,
                 "the io_uring of this kernel is too old: Linux 5.15 or later is needed, 6.1 or "
                 "later is best");
    return ok;
}

static uint32_t probe_all(struct uring *u, const struct io_uring_probe *ops, uint32_t allowed)
{
    uint32_t found = u->features;

    if (u->ring.features & IORING_FEAT_CQE_SKIP)
        found |= URING_BIT(URING_CQE_SKIP);
    if (io_uring_opcode_supported(ops, IORING_OP_MSG_RING))
        found |= URING_BIT(URING_MSG_RING);
    if (probe_accept(u))
        found |= URING_BIT(URING_MULTISHOT_ACCEPT);
    if ((allowed & URING_BIT(URING_BUFFER_RING)) && uring_buffers_register(u, 8) == OK) {
        found |= URING_BIT(URING_BUFFER_RING);
        if (probe_recv(u))
            found |= URING_BIT(URING_MULTISHOT_RECV);
    }
    return found & allowed;
}

enum err uring_probe(const char *mask, uint32_t *features, char *why, size_t why_bytes)
{
    uint32_t allowed = ~parse_mask(mask);
    struct uring *u = calloc(1, sizeof(*u));
    struct io_uring_probe *ops = NULL;
    enum err err = ERR_SYSTEM;
    int rc = u ? probe_setup(u, allowed) : -ENOMEM;

    if (rc < 0) {
        explain(-rc, "a ring", why, why_bytes);
        free(u);
        return ERR_SYSTEM;
    }
    rc = io_uring_enable_rings(&u->ring);
    if (rc < 0) {
        explain(-rc, "switching a ring on", why, why_bytes);
        goto out;
    }
    ops = io_uring_get_probe_ring(&u->ring);
    if (!probe_basics(u, ops, why, why_bytes))
        goto out;
    *features = probe_all(u, ops, allowed);
    err = OK;
out:
    if (ops)
        io_uring_free_probe(ops);
    uring_destroy(u);
    return err;
}
