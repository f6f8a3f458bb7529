/* core/base/slab.h -- objects of one size, of one worker, named by handles that go stale.
 *
 * Grows by chunks of 64 objects up to a bound and keeps chunks for reuse. A handle is slot and
 * generation; a freed slot changes its generation, so an old handle finds nothing.
 *
 * Threads  the owning worker only.
 */
#ifndef CORE_BASE_SLAB_H
#define CORE_BASE_SLAB_H

#include "core/base/bytes.h"

struct handle {
    uint32_t slot;       /* from 0 */
    uint32_t generation; /* from 1; 0 names nothing */
};

struct slab {
    uint32_t object_bytes; /* rounded up to 16 */
    uint32_t count_max;
    uint32_t count; /* in use */
    uint32_t chunk_count;
    uint32_t free_head; /* slot, or UINT32_MAX */
    uint8_t **chunks;
};

/* Objects of `object_bytes`, at most `count_max` (rounded up to whole chunks). */
void slab_init(struct slab *s, uint32_t object_bytes, uint32_t count_max);
void slab_fini(struct slab *s);

/* A zeroed object, or NULL at the bound or without memory. */
void *slab_alloc(struct slab *s);
/* `object` came from slab_alloc of this slab. Frees whole chunks never. */
void slab_free(struct slab *s, void *object);

/* The handle of a living object; the object of a handle or NULL when it is stale. */
struct handle slab_handle(const struct slab *s, const void *object);
void *slab_at(const struct slab *s, struct handle h);

/* Walks living objects: *slot starts at 0; NULL at the end. Objects may be freed on the way. */
void *slab_next(const struct slab *s, uint32_t *slot);

#endif
