/* core/base/arena.h -- scratch memory of one worker, given back all at once at the end of a turn.
 *
 * Threads  the owning worker only.
 */
#ifndef CORE_BASE_ARENA_H
#define CORE_BASE_ARENA_H

#include "core/base/bytes.h"

struct arena_chunk;
struct arena {
    struct arena_chunk *chunk; /* newest first */
    uint64_t used;             /* bytes of the newest chunk */
    uint64_t total;            /* bytes of all chunks */
};

/* Takes no memory yet. */
void arena_init(struct arena *a);
void arena_fini(struct arena *a);

/* `bytes` of uninitialised memory, 16-byte aligned, valid until arena_reset. NULL: no memory. */
void *arena_alloc(struct arena *a, uint32_t bytes);
/* A position, and giving back what was allocated after it. */
struct arena_mark {
    struct arena_chunk *chunk;
    uint64_t used;
};
/* See struct arena_mark. */
struct arena_mark arena_mark(const struct arena *a);
/* See struct arena_mark. */
void arena_rewind(struct arena *a, struct arena_mark mark);
/* Gives everything back; keeps one chunk of at most 64 KiB for the next turn (none under a
 * sanitizer, so that it sees a use after the reset). */
void arena_reset(struct arena *a);

#endif
