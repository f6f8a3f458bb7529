/* tests/core/base/test_check.c -- what a failed assertion says, and that it ends the process. */
#include "core/base/check.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/test.h"

static jmp_buf back;
static const char *said, *where;
static int at_line;

static void jump(const char *file, int line, const char *what)
{
    where = file;
    at_line = line;
    said = what;
    longjmp(back, 1);
}

TEST(check_that_holds_says_nothing)
{
    said = NULL;
    check_set_handler(jump);
    CHECK(1 + 1 == 2);
    check_set_handler(NULL);
    assert_null(said);
}

TEST(check_that_fails_tells_place_and_text)
{
    volatile int line = 0;

    check_set_handler(jump);
    if (!setjmp(back)) {
        line = __LINE__ + 1;
        CHECK(1 + 1 == 3);
    }
    check_set_handler(NULL);
    assert_string_equal(said, "1 + 1 == 3");
    assert_string_equal(where, __FILE__);
    assert_int_equal(at_line, line);
}

static void come_back(const char *file, int line, const char *what)
{
    (void)file;
    (void)line;
    (void)what;
}

/* How a process ends whose check fails, with a handler that returns or without any. */
static int end_of(check_handler *handler)
{
    int status = 0;
    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0) {
        signal(SIGABRT, SIG_DFL);
        check_set_handler(handler);
        CHECK(!handler && handler);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

TEST(check_that_fails_aborts_also_when_the_handler_returns)
{
    int status = end_of(come_back);

    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    status = end_of(NULL);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

TEST(check_is_one_expression_and_looks_once)
{
    int looks = 0;

    if (looks == 0)
        CHECK(++looks == 1);
    else
        fail();
    assert_int_equal(looks, 1);
}

TEST(dcheck_is_compiled_into_builds_that_check)
{
    int looks = 0;

    DCHECK(++looks);
#if defined(CAUSEWAY_SANITIZE) || defined(CAUSEWAY_DEBUG)
    assert_int_equal(looks, 1);
#else
    assert_int_equal(looks, 0);
#endif
}
