/* core/base/check.c -- what happens when an assertion fails. */
#include "core/base/check.h"

static check_handler *on_failure;

void check_set_handler(check_handler *handler)
{
    on_failure = handler;
}

_Noreturn void check_failed(const char *file, int line, const char *what)
{
    if (on_failure)
        on_failure(file, line, what);
    abort();
}
