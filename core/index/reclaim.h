/* core/index/reclaim.h -- memory of one index: counted, bounded, freed when nobody reads it.
 *
 * Threads  the writer only.
 */
#ifndef CORE_INDEX_RECLAIM_H
#define CORE_INDEX_RECLAIM_H

#include "core/base/check.h"
#include "core/base/epoch.h"

#include <stdlib.h>

struct reclaim {
    struct epoch *epoch; /* NULL: no other readers, memory is freed at once */
    uint32_t writer;
    uint64_t bytes, bytes_max; /* what is reachable now; beyond the bound there is no more */
};

/* The allocator's own rounding, so that what is counted is what is used. */
static inline size_t reclaim_round(size_t bytes)
{
    return (bytes + 15) & ~(size_t)15;
}

/* `bytes` of uninitialised memory, or NULL. */
static inline void *reclaim_alloc(struct reclaim *r, size_t bytes)
{
    size_t whole = reclaim_round(bytes);
    void *p = r->bytes + whole <= r->bytes_max ? malloc(whole) : NULL;

    if (p)
        r->bytes += whole;
    return p;
}

/* The same, at the start of a cache line; `bytes` is a multiple of CACHE_LINE. */
static inline void *reclaim_alloc_lines(struct reclaim *r, size_t bytes)
{
    void *p = r->bytes + bytes <= r->bytes_max ? aligned_alloc(CACHE_LINE, bytes) : NULL;

    if (p)
        r->bytes += bytes;
    return p;
}

/* Gives back what no reader has ever been able to reach. */
static inline void reclaim_free(struct reclaim *r, void *p, size_t bytes)
{
    CHECK(r->bytes >= reclaim_round(bytes));
    r->bytes -= reclaim_round(bytes);
    free(p);
}

/* Gives back what new readers cannot reach any more. */
static inline void reclaim_retire(struct reclaim *r, void *p, size_t bytes)
{
    CHECK(r->bytes >= reclaim_round(bytes));
    r->bytes -= reclaim_round(bytes);
    if (r->epoch)
        epoch_retire(r->epoch, r->writer, p, (uint32_t)reclaim_round(bytes));
    else
        free(p);
}

#endif
