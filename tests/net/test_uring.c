/* tests/net/test_uring.c -- rings, their features, and waking from one to another. */
#include "tests/support/test.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/atomic.h"
#include "net/bufring.h"
#include "net/clock.h"
#include "net/uring.h"

static char why[512];

static uint32_t probed(const char *mask)
{
    uint32_t features = 0;
    enum err err = uring_probe(mask, &features, why, sizeof(why));

    if (err != OK)
        fail_msg("%s", why);
    return features;
}

TEST(uring_mask_takes_features_away)
{
    uint32_t all = probed(NULL);

    for (uint32_t f = 0; f < URING_FEATURE_COUNT; f++) {
        uint32_t less = probed(uring_feature_name((enum uring_feature)f));

        assert_int_equal(less & URING_BIT(f), 0);
        if (f == URING_MSG_RING || f == URING_CQE_SKIP || f == URING_MULTISHOT_ACCEPT)
            assert_int_equal(less, all & ~URING_BIT(f));
    }
    assert_int_equal(probed("all"), 0);
    assert_int_equal(
        probed("msg_ring,cqe_skip") & (URING_BIT(URING_MSG_RING) | URING_BIT(URING_CQE_SKIP)), 0);
    assert_int_equal(probed("nonsense,,"), all);
}

/* What a container's filter does to io_uring_setup; in a child, because it stays for good. */
static enum err probe_behind_filter(int error)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof(filter) / sizeof(filter[0]), .filter = filter};
    uint32_t features;

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        return OK;
    return uring_probe(NULL, &features, why, sizeof(why));
}

static void forbidden_with(int error, const char *advice)
{
    pid_t child = fork();
    int status;

    if (child == 0)
        _exit(probe_behind_filter(error) == ERR_SYSTEM && strstr(why, advice) ? 0 : 1);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

TEST(uring_forbidden_says_what_to_do)
{
    forbidden_with(EPERM, "io_uring_setup, io_uring_enter and io_uring_register");
    forbidden_with(ENOSYS, "Linux 5.15 or later");
    forbidden_with(ENOMEM, "LimitMEMLOCK=");
    forbidden_with(EMFILE, "ulimit -n");
}

/* A waiting ring in a thread of its own. */
struct sleeper {
    struct uring *ring;
    _Atomic uint32_t is_ready;
    _Atomic uint32_t is_awake;
};

static void *sleep_once(void *arg)
{
    struct sleeper *s = arg;

    if (uring_enable(s->ring) != OK)
        return NULL;
    uring_submit(s->ring, 0);
    store_release(&s->is_ready, 1); /* pairs with load_acquire in the test */
    uring_submit(s->ring, 20 * 1000 * 1000);
    store_release(&s->is_awake, 1);
    uring_run(s->ring, 10); /* a wake's completion has no owner and is passed over */
    return NULL;
}

static uint32_t failures;

static void on_failure(struct uring_op *op, const struct uring_event *e)
{
    (void)op;
    failures += e->res < 0;
}

static void wake_with(const char *mask)
{
    uint32_t features = probed(mask);
    struct sleeper s = {.ring = uring_create(features, why, sizeof(why))};
    struct uring *waker = uring_create(features, why, sizeof(why));
    struct uring_op failed = {.done = on_failure};
    uint64_t begin = clock_mono_ms();
    pthread_t thread;

    failures = 0;
    assert_non_null(s.ring);
    assert_non_null(waker);
    assert_int_equal(uring_enable(waker), OK);
    assert_int_equal(pthread_create(&thread, NULL, sleep_once, &s), 0);
    while (!load_acquire(&s.is_ready))
        ;
    while (!load_acquire(&s.is_awake)) {
        uring_wake(waker, uring_fd(s.ring), &failed);
        uring_submit(waker, 1000);
        uring_run(waker, 100);
    }
    pthread_join(thread, NULL);
    assert_int_equal(failures, 0);
    assert_true(clock_mono_ms() - begin < 10000);
    uring_destroy(s.ring);
    uring_destroy(waker);
}

TEST(uring_wake_ends_the_sleep_of_another_ring)
{
    if (!(probed(NULL) & URING_BIT(URING_MSG_RING)))
        skip();
    wake_with(NULL);
    wake_with("cqe_skip");
    wake_with("defer_taskrun,single_issuer");
}

TEST(uring_wake_of_a_closed_ring_is_reported)
{
    uint32_t features = probed(NULL);
    struct uring *waker = uring_create(features, why, sizeof(why));
    struct uring_op failed = {.done = on_failure};

    if (!(features & URING_BIT(URING_MSG_RING)))
        skip();
    failures = 0;
    assert_int_equal(uring_enable(waker), OK);
    uring_wake(waker, STDERR_FILENO, &failed); /* no ring at all */
    uring_submit(waker, 1000000);
    uring_run(waker, 10);
    assert_int_equal(failures, 1);
    uring_destroy(waker);
}

static uint32_t completions;

static void on_completion(struct uring_op *op, const struct uring_event *e)
{
    (void)op;
    (void)e;
    completions++;
}

/* The rest stays for the next turn, and the ring says that it is there. */
TEST(uring_runs_no_more_completions_than_it_may)
{
    enum { COUNT = 200, BUDGET = 70 };
    struct uring *u = uring_create(probed(NULL), why, sizeof(why));
    struct uring_op op = {.done = on_completion};
    int pair[2];

    completions = 0;
    assert_int_equal(uring_enable(u), OK);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(send(pair[1], "x", 1, MSG_NOSIGNAL), 1);
    for (uint32_t i = 0; i < COUNT; i++)
        uring_poll(u, pair[0], &op); /* readable at once */
    uring_submit(u, 0);
    for (uint32_t left = COUNT; left > 0; left -= left < BUDGET ? left : BUDGET) {
        assert_true(uring_is_ready(u));
        assert_int_equal(uring_run(u, BUDGET), left < BUDGET ? left : BUDGET);
        assert_int_equal(completions, COUNT - left + (left < BUDGET ? left : BUDGET));
    }
    assert_false(uring_is_ready(u));
    assert_int_equal(uring_run(u, 0), 0);
    close(pair[0]);
    close(pair[1]);
    uring_destroy(u);
}

/* Keeps what the last completion said. */
struct sender {
    struct uring_op op;
    uint32_t completions;
    int32_t res;
};

static void on_sent(struct uring_op *op, const struct uring_event *e)
{
    struct sender *s = URING_OWNER(op, struct sender, op);

    s->completions++;
    s->res = e->res;
}

TEST(quiet_send_that_fits_wakes_nobody_and_is_told_by_the_next_run)
{
    static const struct msghdr none;
    struct uring *u = uring_create(probed(NULL), why, sizeof(why));
    struct sender one = {.op = {on_sent}}, two = {.op = {on_sent}};
    char ab[] = "ab", cde[] = "cde";
    struct iovec parts[2] = {{ab, 2}, {cde, 3}};
    struct msghdr m = none;
    char got[16];
    int pair[2];

    m.msg_iov = parts;
    m.msg_iovlen = 2;
    assert_int_equal(uring_enable(u), OK);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    for (uint32_t round = 1; round <= 3; round++) {
        uring_send_quiet(u, pair[0], "xy", 2, &one.op);
        uring_sendmsg_quiet(u, pair[0], &m, 5, &two.op);
        assert_int_equal(uring_run(u, 10), 0);
        assert_int_equal(one.completions, round - 1); /* not before it is submitted */
        uring_submit(u, 0);
        assert_int_equal(uring_is_ready(u), !uring_has(u, URING_CQE_SKIP));
        (void)uring_run(u, 10);
        assert_int_equal(one.completions, round);
        assert_int_equal(two.completions, round);
        assert_int_equal(one.res, 2);
        assert_int_equal(two.res, 5);
        assert_int_equal(recv(pair[1], got, sizeof(got), 0), 7);
        assert_memory_equal(got, "xyabcde", 7);
    }
    close(pair[0]);
    close(pair[1]);
    uring_destroy(u);
}

/* Also where a request for the next submit stands there already. */
TEST(quiet_send_is_told_whatever_was_prepared_since)
{
    struct uring *u = uring_create(probed(NULL), why, sizeof(why));
    struct sender s = {.op = {on_sent}};
    struct uring_op polled = {.done = on_completion};
    int pair[2];

    assert_int_equal(uring_enable(u), OK);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    uring_send_quiet(u, pair[0], "x", 1, &s.op);
    uring_submit(u, 0);
    uring_poll(u, pair[1], &polled);
    (void)uring_run(u, 10);
    assert_int_equal(s.completions, 1);
    uring_submit(u, 0);
    (void)uring_run(u, 10);
    close(pair[0]);
    close(pair[1]);
    uring_destroy(u);
}

/* Also when its completion stays in the ring while others are sent. */
TEST(quiet_send_that_does_not_fit_says_so_and_never_waits)
{
    struct uring *u = uring_create(probed(NULL), why, sizeof(why));
    struct sender part = {.op = {on_sent}}, none = {.op = {on_sent}}, other = {.op = {on_sent}};
    static char much[1 << 22];
    int full[2], open[2];

    assert_int_equal(uring_enable(u), OK);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, full), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, open), 0);
    uring_send_quiet(u, full[0], much, sizeof(much), &part.op);
    uring_send_quiet(u, full[0], "x", 1, &none.op);
    uring_send_quiet(u, open[0], "x", 1, &other.op);
    uring_submit(u, 0);
    assert_int_equal(uring_run(u, 0), 0);
    assert_true(part.res > 0 && part.res < (int32_t)sizeof(much));
    assert_int_equal(none.res, -EAGAIN);
    assert_int_equal(other.res, 1);
    uring_send_quiet(u, open[0], "abc", 3, &other.op);
    uring_submit(u, 0);
    (void)uring_run(u, 10); /* with the old completions still there */
    assert_int_equal(other.res, 3);
    assert_int_equal(part.completions + none.completions + other.completions, 4);
    assert_false(uring_is_ready(u));
    for (int i = 0; i < 2; i++) {
        close(full[i]);
        close(open[i]);
    }
    uring_destroy(u);
}

/* Beyond its bound, and where completions cannot be left out, a quiet send is as others. */
TEST(quiet_sends_beyond_the_bound_and_without_the_feature_are_told_too)
{
    for (int masked = 0; masked < 2; masked++) {
        struct uring *u = uring_create(probed(masked ? "cqe_skip" : NULL), why, sizeof(why));
        struct sender s = {.op = {on_sent}};
        int pair[2];

        assert_int_equal(uring_enable(u), OK);
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
        for (int i = 0; i < 2000; i++) {
            uring_send_quiet(u, pair[0], "x", 1, &s.op);
            if (i % 50 == 49) {
                char got[64];

                uring_submit(u, 0);
                assert_int_equal(recv(pair[1], got, sizeof(got), 0) > 0, 1);
                while (recv(pair[1], got, sizeof(got), MSG_DONTWAIT) > 0)
                    ;
            }
        }
        while (s.completions < 2000) {
            uring_submit(u, 0);
            (void)uring_run(u, 10000);
        }
        assert_int_equal(s.res, 1);
        assert_int_equal(s.completions, 2000);
        close(pair[0]);
        close(pair[1]);
        uring_destroy(u);
    }
}

/* Counts what a multishot receive brings. */
struct receiver {
    struct uring_op op;
    struct bufring *buffers;
    uint32_t bytes, completions, ends;
    int32_t last_res;
};

static void on_recv(struct uring_op *op, const struct uring_event *e)
{
    struct receiver *r = URING_OWNER(op, struct receiver, op);

    r->completions++;
    r->last_res = e->res;
    r->ends += e->is_last;
    if (e->res > 0)
        r->bytes += (uint32_t)e->res;
    if (e->has_buffer)
        bufring_return(r->buffers, e->buffer_id);
}

TEST(bufring_lends_and_takes_back_more_than_it_has)
{
    uint32_t features = probed(NULL);
    struct uring *u = uring_create(features, why, sizeof(why));
    struct bufring buffers;
    struct receiver r = {.op.done = on_recv, .buffers = &buffers};
    uint32_t sent = 0;
    uint8_t block[4096] = {1};
    int pair[2];

    if (!(features & URING_BIT(URING_MULTISHOT_RECV)))
        skip();
    assert_int_equal(bufring_create(&buffers, u), OK);
    assert_int_equal(uring_enable(u), OK);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    uring_recv_buffer(u, pair[0], true, &r.op);
    while (r.bytes < 4u << 20) {
        ssize_t n = send(pair[1], block, sizeof(block), MSG_DONTWAIT);

        if (n > 0) {
            sent += (uint32_t)n;
            continue; /* fills the socket, beyond what the buffers hold */
        }
        uring_submit(u, 100000);
        uring_run(u, 100000);
        if (r.ends) { /* -ENOBUFS: all buffers are back, go on */
            r.ends = 0;
            uring_recv_buffer(u, pair[0], true, &r.op);
        }
    }
    close(pair[1]);
    while (r.last_res != 0) {
        uring_submit(u, 100000);
        uring_run(u, 100000);
        if (r.ends && r.last_res != 0) {
            r.ends = 0;
            uring_recv_buffer(u, pair[0], true, &r.op);
        }
    }
    assert_int_equal(r.bytes, sent);
    close(pair[0]);
    uring_destroy(u);
    bufring_destroy(&buffers);
}
