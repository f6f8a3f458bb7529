/* net/progress.h -- how far what was written to a TCP connection has come.
 *
 * Threads  any; a system call each.
 */
#ifndef NET_PROGRESS_H
#define NET_PROGRESS_H

#include "core/base/bytes.h"

struct progress {
    uint64_t acked;       /* bytes that the other side's kernel has acknowledged so far */
    uint64_t outstanding; /* of those in the socket, how many it has not; about */
    uint64_t in_flight;   /* of those, how many were sent */
};

/* Asks the kernel (TCP_INFO). false: it is no TCP connection. */
bool progress_of(int fd, struct progress *to);

/* From now on the socket takes no more than `bytes` that are not sent, and a little; what waits
 * beyond waits with us. Where it is not TCP, nothing. */
void progress_bound_unsent(int fd, uint32_t bytes);

#endif
