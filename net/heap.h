/* net/heap.h -- what the allocator says of itself; the only file that knows which one it is.
 *
 * Everybody allocates with malloc(3); the release build links jemalloc behind it. In sanitizer
 * builds malloc is the sanitizer's, and the figures come from mallinfo2(3) as far as it has any.
 */
#ifndef NET_HEAP_H
#define NET_HEAP_H

#include <stdint.h>

struct heap_stats {
    uint64_t allocated; /* bytes the program holds */
    uint64_t active;    /* in pages that hold them */
    uint64_t resident;  /* of those and of the allocator itself, in memory */
};

/* Reads the figures of this moment.  Any thread; some microseconds. */
void heap_stats_read(struct heap_stats *stats);
/* "jemalloc" or "libc".  Any thread. */
const char *heap_name(void);

#endif
