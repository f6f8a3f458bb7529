/* core/base/arena.c -- scratch memory of one worker, given back all at once at the end of a turn.
 *
 * Invariant: `used` counts bytes of the newest chunk only; older chunks are full or given up.
 */
#include "core/base/arena.h"

#include "core/base/check.h"

/* What one chunk takes from the allocator, unless one request alone needs more. */
#define CHUNK_BYTES (64u << 10)

struct arena_chunk {
    struct arena_chunk *next; /* older */
    uint64_t bytes;           /* behind this header */
};

_Static_assert(sizeof(struct arena_chunk) == 16, "what follows is aligned to 16");

void arena_init(struct arena *a)
{
    *a = (struct arena){0};
}

static void free_chunks(struct arena_chunk *chunk)
{
    while (chunk) {
        struct arena_chunk *next = chunk->next;

        free(chunk);
        chunk = next;
    }
}

void arena_fini(struct arena *a)
{
    free_chunks(a->chunk);
    *a = (struct arena){0};
}

/* A new newest chunk with at least `bytes`. */
static bool add_chunk(struct arena *a, uint64_t bytes)
{
    uint64_t total = bytes + sizeof(struct arena_chunk);
    struct arena_chunk *chunk;

    if (total < CHUNK_BYTES)
        total = CHUNK_BYTES;
    chunk = malloc(total);
    if (!chunk)
        return false;
    chunk->next = a->chunk;
    chunk->bytes = total - sizeof *chunk;
    a->chunk = chunk;
    a->used = 0;
    a->total += total;
    return true;
}

void *arena_alloc(struct arena *a, uint32_t bytes)
{
    uint64_t need = ((uint64_t)bytes + 15) & ~15ull;
    uint8_t *p;

    if (need == 0)
        need = 16; /* every result is another place */
    if (!a->chunk || a->chunk->bytes - a->used < need) {
        if (!add_chunk(a, need))
            return NULL;
    }
    p = (uint8_t *)(a->chunk + 1) + a->used;
    a->used += need;
    return p;
}

struct arena_mark arena_mark(const struct arena *a)
{
    return (struct arena_mark){a->chunk, a->used};
}

/* The sanitizers see a use after reset only if the memory really goes. */
static bool may_keep(const struct arena_chunk *chunk)
{
#ifdef CAUSEWAY_SANITIZE
    (void)chunk;
    return false;
#else
    return chunk->bytes + sizeof *chunk <= CHUNK_BYTES;
#endif
}

void arena_rewind(struct arena *a, struct arena_mark mark)
{
    while (a->chunk && a->chunk != mark.chunk) {
        struct arena_chunk *chunk = a->chunk;

        if (!chunk->next && may_keep(chunk)) { /* the first of the turn serves the rest of it */
            a->used = 0;
            return;
        }
        a->chunk = chunk->next;
        a->total -= chunk->bytes + sizeof *chunk;
        free(chunk);
    }
    a->used = mark.used;
}

void arena_reset(struct arena *a)
{
    struct arena_chunk *kept = NULL;

    for (struct arena_chunk **link = &a->chunk; *link; link = &(*link)->next) {
        if (may_keep(*link)) {
            kept = *link;
            *link = kept->next;
            break;
        }
    }
    free_chunks(a->chunk);
    if (kept)
        kept->next = NULL;
    a->chunk = kept;
    a->used = 0;
    a->total = kept ? kept->bytes + sizeof *kept : 0;
}
