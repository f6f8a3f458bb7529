/* core/base/check.h -- assertions that stay in release builds.
 *
 * CHECK states what must hold if our own code is right; a failure stops the process at once, with
 * the place. It is never used for what a peer sends or what the world does. DCHECK is for walks
 * that would cost too much in a release build.
 */
#ifndef CORE_BASE_CHECK_H
#define CORE_BASE_CHECK_H

#include <stdlib.h>

/* Called with the place and the text of a failed check, before the process aborts.  */
typedef void check_handler(const char *file, int line, const char *what);

/* Sets who is told of a failed check; the default tells nobody and aborts.  Boot only. */
void check_set_handler(check_handler *handler);

/* Reports and aborts; never returns.  Any thread. */
_Noreturn void check_failed(const char *file, int line, const char *what);

#define CHECK(cond)                                                                                \
    (__builtin_expect(!!(cond), 1) ? (void)0 : check_failed(__FILE__, __LINE__, #cond))

#ifdef NDEBUG
#define DCHECK(cond) ((void)0)
#elif defined(CAUSEWAY_SANITIZE) || defined(CAUSEWAY_DEBUG)
#define DCHECK(cond) CHECK(cond)
#else
#define DCHECK(cond) ((void)0)
#endif

#endif
