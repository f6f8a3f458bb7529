/* core/base/slab.c -- objects of one size, of one worker, named by handles that go stale.
 *
 * In front of each object stands its cell: slot, generation, and the next free slot while it is
 * free. Chunks never move, so an object's address is good for its life. Under AddressSanitizer the
 * bytes of a free object are poisoned: using it after slab_free is reported.
 */
#include "core/base/slab.h"

#include "core/base/check.h"

#define CHUNK_OBJECTS 64u
#define NO_SLOT UINT32_MAX
/* Slots that a slab can have: whole chunks, and NO_SLOT is none of them. */
#define SLOTS_MAX (UINT32_MAX - CHUNK_OBJECTS + 1)

#if defined(__SANITIZE_ADDRESS__)
#define HAS_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAS_ASAN 1
#endif
#endif
#ifdef HAS_ASAN
/* The two functions of the sanitizer's own run time that <sanitizer/asan_interface.h> declares. */
void __asan_poison_memory_region(void const volatile *p, size_t n);   /* NOLINT */
void __asan_unpoison_memory_region(void const volatile *p, size_t n); /* NOLINT */
#define POISON(p, n) __asan_poison_memory_region((p), (n))
#define UNPOISON(p, n) __asan_unpoison_memory_region((p), (n))
#else
#define POISON(p, n) ((void)(p), (void)(n))
#define UNPOISON(p, n) ((void)(p), (void)(n))
#endif

struct cell {
    uint32_t slot;
    uint32_t generation; /* from 1; changes when the object is freed */
    uint32_t free_next;  /* meaningful while free */
    uint32_t is_live;
};

_Static_assert(sizeof(struct cell) == 16, "the object behind it is aligned to 16");

static struct cell *cell_at(const struct slab *s, uint32_t slot)
{
    size_t stride = sizeof(struct cell) + s->object_bytes;

    return (void *)(s->chunks[slot / CHUNK_OBJECTS] + slot % CHUNK_OBJECTS * stride);
}

void slab_init(struct slab *s, uint32_t object_bytes, uint32_t count_max)
{
    CHECK(object_bytes > 0 && object_bytes <= UINT32_MAX - 15);
    *s = (struct slab){
        .object_bytes = (object_bytes + 15) & ~15u,
        .count_max = count_max >= SLOTS_MAX
                         ? SLOTS_MAX
                         : (count_max + CHUNK_OBJECTS - 1) / CHUNK_OBJECTS * CHUNK_OBJECTS,
        .free_head = NO_SLOT,
    };
}

void slab_fini(struct slab *s)
{
    for (uint32_t i = 0; i < s->chunk_count; i++)
        free(s->chunks[i]);
    free(s->chunks);
    *s = (struct slab){.free_head = NO_SLOT};
}

/* The table of chunks doubles when the number of chunks reaches a power of two. */
static bool has_chunk_place(struct slab *s)
{
    uint32_t n = s->chunk_count;
    uint8_t **grown;

    if (n & (n - 1))
        return true;
    grown = realloc(s->chunks, (n ? 2 * (size_t)n : 1) * sizeof *grown);
    if (!grown)
        return false;
    s->chunks = grown;
    return true;
}

/* One more chunk, its slots in rising order on the free list. */
static bool grow(struct slab *s)
{
    uint32_t first = s->chunk_count * CHUNK_OBJECTS;
    uint8_t *chunk;

    if (first >= s->count_max || !has_chunk_place(s))
        return false;
    chunk = calloc(CHUNK_OBJECTS, sizeof(struct cell) + s->object_bytes);
    if (!chunk)
        return false;
    s->chunks[s->chunk_count++] = chunk;
    for (uint32_t slot = first + CHUNK_OBJECTS; slot-- > first;) {
        struct cell *c = cell_at(s, slot);

        *c = (struct cell){.slot = slot, .generation = 1, .free_next = s->free_head};
        s->free_head = slot;
        POISON(c + 1, s->object_bytes);
    }
    return true;
}

void *slab_alloc(struct slab *s)
{
    struct cell *c;

    if (s->free_head == NO_SLOT && !grow(s))
        return NULL;
    c = cell_at(s, s->free_head);
    CHECK(!c->is_live);
    s->free_head = c->free_next;
    s->count++;
    c->is_live = 1;
    UNPOISON(c + 1, s->object_bytes);
    return memset(c + 1, 0, s->object_bytes);
}

/* `c` is the cell of a living object of this slab. */
static void check_cell(const struct slab *s, const struct cell *c)
{
    CHECK(c->is_live == 1);
    CHECK(c->slot / CHUNK_OBJECTS < s->chunk_count);
    DCHECK(cell_at(s, c->slot) == c);
}

void slab_free(struct slab *s, void *object)
{
    struct cell *c = (struct cell *)object - 1;

    check_cell(s, c);
    c->is_live = 0;
    if (++c->generation == 0)
        c->generation = 1;
    c->free_next = s->free_head;
    s->free_head = c->slot;
    s->count--;
    POISON(object, s->object_bytes);
}

struct handle slab_handle(const struct slab *s, const void *object)
{
    const struct cell *c = (const struct cell *)object - 1;

    check_cell(s, c);
    return (struct handle){.slot = c->slot, .generation = c->generation};
}

void *slab_at(const struct slab *s, struct handle h)
{
    struct cell *c;

    if (h.slot / CHUNK_OBJECTS >= s->chunk_count)
        return NULL;
    c = cell_at(s, h.slot);
    return c->is_live && c->generation == h.generation ? c + 1 : NULL;
}

void *slab_next(const struct slab *s, uint32_t *slot)
{
    while (*slot / CHUNK_OBJECTS < s->chunk_count) {
        struct cell *c = cell_at(s, (*slot)++);

        if (c->is_live)
            return c + 1;
    }
    return NULL;
}
