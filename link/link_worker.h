/* link/link_worker.h -- links as net/worker.h wants them: the table for tools/causeway.c.
 *
 * Threads  any; it is constant.
 */
#ifndef LINK_LINK_WORKER_H
#define LINK_LINK_WORKER_H

#include "net/worker.h"

/* The link layer of this build. */
extern const struct net_link_ops link_worker_ops;

#endif
