/* net/wake.h -- how a worker wakes workers that sleep.
 *
 * One message from ring to ring for each sleeper and turn; it rides in the sender's next submit and
 * is silent when it worked. Where the kernel cannot (or it failed), an eventfd does it. What there
 * is to do stands in the mailboxes; the wake itself says nothing.
 *
 * Threads  the worker.
 */
#ifndef NET_WAKE_H
#define NET_WAKE_H

#include "net/worker.h"

/* Prepares what lets this worker be woken, and its own wakes; once, before the first turn. */
void wake_init(struct worker *w);
/* Stops listening to the eventfd, at the end. */
void wake_fini(struct worker *w);
/* Wakes the workers of the set (bit = number). */
void wake_send(struct worker *w, uint64_t sleepers);

#endif
