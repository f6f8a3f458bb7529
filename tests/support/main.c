/* tests/support/main.c -- the main() of every unit test program.
 *
 * Usage: test_x [PATTERN]. Exit status 0 when all tests passed, 1 otherwise (cmocka would return
 * the number of failures, which wraps at 256).
 */
#include "tests/support/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct CMUnitTest tests[TESTS_MAX];
static size_t test_count;

void test_register(const char *name, void (*run)(void **state))
{
    if (test_count == TESTS_MAX) {
        fprintf(stderr, "test_register: more than %d tests in one program\n", TESTS_MAX);
        abort();
    }
    tests[test_count++] = (struct CMUnitTest){.name = name, .test_func = run};
}

int main(int argc, char **argv)
{
    const char *slash = strrchr(argv[0], '/');

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return _cmocka_run_group_tests(slash ? slash + 1 : argv[0], tests, test_count, NULL, NULL) != 0;
}
