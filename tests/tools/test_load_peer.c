/* tests/tools/test_load_peer.c -- brokers that are started for a run: what is ended, what not. */
#include "tests/support/test.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/load_peer.h"

#define IS(number) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (number), 0, 1)
#define FAILS BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EAGAIN)

/* No process can be made from now on, and who sends a signal is killed. */
static bool forbid_processes(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        IS(SYS_clone),
        FAILS,
        IS(SYS_clone3),
        FAILS,
#ifdef SYS_fork
        IS(SYS_fork),
        FAILS,
#endif
        IS(SYS_kill),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof(filter) / sizeof(filter[0]), .filter = filter};

    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/* kill(-1, ...) reaches every process of the user. */
TEST(load_peer_that_cannot_be_made_ends_nothing)
{
    struct load_peer peer = {.name = "it", .port = "1", .command = "true"};
    struct load_started started;
    pid_t child = fork();
    int status;

    if (child == 0)
        _exit(forbid_processes() && !load_peer_start(&started, &peer, 0) ? 0 : 1);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

TEST(load_peer_that_ends_by_itself_does_not_start)
{
    struct load_peer peer = {.name = "it", .port = "1", .command = "true"};
    struct load_started started;

    assert_false(load_peer_start(&started, &peer, 0));
    assert_int_equal(started.pid, 0);
}
