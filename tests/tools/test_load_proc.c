/* tests/tools/test_load_proc.c -- what a broker costs: threads that have ended count, too. */
#include "tests/support/test.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tools/load_proc.h"

#define BURNT_NS 20000000u

static void *burn(void *unused)
{
    struct timespec t;

    do
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    while (t.tv_sec == 0 && t.tv_nsec < (long)BURNT_NS);
    return unused;
}

/* A process whose only busy thread has ended; *said is readable from then on. */
static pid_t start(int *said)
{
    int ends[2];
    pid_t pid;

    assert_int_equal(pipe(ends), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        pthread_t thread;
        bool ok = pthread_create(&thread, NULL, burn, NULL) == 0 && pthread_join(thread, NULL) == 0;

        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)!write(ends[1], "", ok);
        for (;;)
            pause();
    }
    close(ends[1]);
    *said = ends[0];
    return pid;
}

TEST(load_procs_count_threads_that_have_ended)
{
    struct load_procs procs = {.count = 1};
    uint64_t ns = 0, bytes = 0;
    char c;
    int said;

    procs.pids[0] = start(&said);
    assert_int_equal(read(said, &c, 1), 1);
    assert_int_equal(load_procs_cpu(&procs, &ns), OK);
    assert_int_equal(load_procs_memory(&procs, &bytes), OK);
    assert_true(ns >= BURNT_NS);
    assert_true(bytes > 0);
    kill(procs.pids[0], SIGKILL);
    waitpid(procs.pids[0], NULL, 0);
    close(said);
    assert_int_equal(load_procs_cpu(&procs, &ns), ERR_SYSTEM);
}
