/* tests/support/test.h -- how a unit test is written.
 *
 *     #include "tests/support/test.h"
 *
 *     TEST(frame_waits_when_length_is_split)
 *     {
 *         assert_int_equal(frame_next(...), ERR_MORE);
 *     }
 *
 * A test registers itself before main(); tests/support/main.c runs all of a program in the order
 * in which they stand in the file, or only those that match the pattern given as its argument
 * ('*' and '?'). The name is the behaviour that is tested. cmocka's assertions jump, so they
 * belong on the main thread only.
 *
 * By hand: gcc -std=c11 -D_GNU_SOURCE -I. tests/core/mqtt/test_x.c core/mqtt/x.c \
 *              tests/support/main.c -lcmocka
 */
#ifndef TESTS_SUPPORT_TEST_H
#define TESTS_SUPPORT_TEST_H

/* cmocka wants these four first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Tests of one program; one more stops it. */
#define TESTS_MAX 1024

/* Adds a test to those main() runs. Called by TEST, before main(). */
void test_register(const char *name, void (*run)(void **state));

/* Defines a test and registers it. The body may use `state`, which is always NULL. */
#define TEST(name)                                                                                 \
    static void test_##name(void **state);                                                         \
    __attribute__((constructor)) static void register_##name(void)                                 \
    {                                                                                              \
        test_register(#name, test_##name);                                                         \
    }                                                                                              \
    static void test_##name(void **state __attribute__((unused)))

#endif
