/* core/base/err.h -- what a function that can fail answers.
 *
 * Results leave through the last pointer; the return value only says how it went. `bool` is for
 * questions, never for failure. Kernel results become one of these once, in net/uring.c.
 */
#ifndef CORE_BASE_ERR_H
#define CORE_BASE_ERR_H

#define MUST_USE __attribute__((warn_unused_result))

enum err {
    OK = 0,
    ERR_MORE,   /* not enough bytes yet; call again with more */
    ERR_FULL,   /* a bound is reached; nothing was taken or changed */
    ERR_PEER,   /* the other side broke a rule; close that connection with a reason */
    ERR_MEMORY, /* the allocator had nothing */
    ERR_NONE,   /* what was looked for is not there */
    ERR_SYSTEM, /* the kernel refused; errno says why */
};

#endif
