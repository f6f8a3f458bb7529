/* link/barriers.h -- SUBACKs that wait until remote clusters have a filter in force.
 *
 * With `suback = linked`, core asks of every filter that is subscribed to whether all remote
 * clusters have it that are connected and that it concerns. What is not so yet waits here, and is
 * looked at again when there is news of routes: an acknowledgement, a connection that is gone, a
 * subscription that has ended. After BARRIERS_WAIT_MS the answer is given without them.
 *
 * Threads  the link worker.
 * Memory   a small piece for each question, and what core keeps of it.
 * Bounds   beyond BARRIERS_MAX, or without memory, nobody waits.
 */
#ifndef LINK_BARRIERS_H
#define LINK_BARRIERS_H

#include "core/base/timer.h"
#include "link/host.h"

/* How long a SUBACK waits for remote clusters. */
#define BARRIERS_WAIT_MS 2000u
/* Questions of one link worker that wait. */
#define BARRIERS_MAX 65536u

struct barriers_item;

/* Whether all remote clusters that are connected have a filter, as far as it concerns them. */
typedef bool barriers_told(void *arg, struct bytes group, struct bytes filter);

struct barriers {
    struct link_host *host;
    barriers_told *is_told;
    void *arg;
    struct barriers_item *first, **last; /* in the order in which they came, and end */
    uint32_t count;
    struct timer timer; /* of the first */
};

/* Prepares; `is_told` is asked with `arg`. */
void barriers_init(struct barriers *b, struct link_host *host, barriers_told *is_told, void *arg);
/* Nobody waits any more. One that was never prepared is fine. */
void barriers_fini(struct barriers *b);

/* Takes a question: hooks.barrier of core. */
void barriers_take(struct barriers *b, struct barrier *question, struct bytes group,
                   struct bytes filter);
/* Once per turn: answers what can be, if host->has_news. */
void barriers_run(struct barriers *b);

#endif
