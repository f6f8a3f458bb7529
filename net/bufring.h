/* net/bufring.h -- the receive buffers that all connections of one worker share.
 *
 * The kernel takes one when bytes have arrived, so an idle connection has none; whoever gets the
 * completion reads the bytes where they are and gives the buffer back before it returns. When none
 * is left a receive ends with -ENOBUFS and is armed again: by then all are back.
 * They are used in turn, so what small packets touch of all of them stays inside the second-level
 * cache; what no packet was large enough for is never touched. With 2 KiB each, a message of 4 KiB
 * cost two or three receives and 1.4 times the processor time.
 *
 * Threads  create, destroy: main.  All else: the worker.
 */
#ifndef NET_BUFRING_H
#define NET_BUFRING_H

#include "net/uring.h"

#define BUFRING_COUNT 256u
#define BUFRING_BYTES 8192u

struct bufring {
    struct uring *uring;
    uint8_t *memory;
};

/* Makes and registers the buffers of a ring that has URING_BUFFER_RING.  ERR_MEMORY, ERR_SYSTEM. */
MUST_USE enum err bufring_create(struct bufring *b, struct uring *u);
/* Frees the memory; the ring is closed already. A zeroed one is fine. */
void bufring_destroy(struct bufring *b);
/* Where the bytes of a buffer that a completion named are. */
uint8_t *bufring_at(struct bufring *b, uint16_t id);
/* Gives the buffer back to the kernel. */
void bufring_return(struct bufring *b, uint16_t id);

#endif
