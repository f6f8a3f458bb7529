/* core/base/epoch.c -- when memory that other workers may still be reading can be freed.
 *
 * A global epoch grows by one with each retired block, which keeps the value before as its stamp.
 * Each worker's local epoch is the global one it saw at its last quiescent point, 0 while offline.
 * A block with stamp s is freed when every worker is offline or has a local epoch above s.
 *
 * Why no reader can be in a freed block. The epoch is changed only by read-modify-writes, so any
 * value read from it synchronises with all earlier ones (one long release sequence). The writer did
 *     unlink; s = epoch++ (acq_rel); ... look at every local epoch (acquire); free.
 * What the look at reader R found is one of
 *   L > s   R stored it with release at a quiescent point or coming online, so what it read before
 *           is done. It had loaded L >= s + 1 from the epoch, after our increment, with acquire or
 *           before a read-modify-write of it: the unlink is visible to whatever it reads
 *           afterwards, it cannot find the block.
 *   0       R stored it with release when it went offline: what it read before is done. If R has
 *           come online since, without our look seeing it, take its read-modify-write of the epoch
 *           in epoch_online. Were it before our increment, then our increment would have
 *           synchronised with it, and our look would have seen the local epoch that R stored just
 *           before: a contradiction. So it comes after, synchronises with our increment, and R
 *           cannot find the block.
 * The same order is what "a full fence" gives on real machines; said in this way it needs no fence,
 * which ThreadSanitizer would not understand.
 *
 * The notes of retired blocks lie in chunks, not in the blocks: a reader may still follow the
 * pointers in them.
 */
#include "core/base/epoch.h"

#include "core/base/check.h"

#define NOTES_PER_CHUNK 168

struct note {
    void *p;
    uint64_t stamp;
    uint32_t bytes;
};

/* First in, first out; notes[first..end) are waiting. */
struct note_chunk {
    struct note_chunk *next; /* younger */
    uint32_t first;
    uint32_t end;
    struct note notes[NOTES_PER_CHUNK];
};

struct epoch_worker {
    /* the worker writes, writers of other partitions read */
    _Alignas(CACHE_LINE) _Atomic uint64_t local;
    /* only the worker itself looks at the rest */
    _Alignas(CACHE_LINE) struct note_chunk *oldest; /* NULL when nothing is retired */
    struct note_chunk *youngest;
    struct note_chunk *spare; /* the last one emptied */
    uint64_t safe;            /* blocks with a stamp below may be freed */
    uint64_t retired_bytes;
    uint32_t count;
};

struct epoch {
    /* every worker that retires or wakes writes */ _Alignas(CACHE_LINE) _Atomic uint64_t global;
    /* nobody writes */ _Alignas(CACHE_LINE) uint32_t workers;
    epoch_free_fn *give_back;
    struct epoch_worker worker[];
};

static void free_block(void *p, uint32_t bytes)
{
    (void)bytes;
    free(p);
}

struct epoch *epoch_create(uint32_t workers)
{
    size_t bytes = sizeof(struct epoch) + workers * sizeof(struct epoch_worker);
    struct epoch *e = aligned_alloc(CACHE_LINE, bytes);

    if (!e)
        return NULL;
    memset(e, 0, bytes);
    store_relaxed(&e->global, 1); /* 0 says offline; threads start after this */
    e->workers = workers;
    e->give_back = free_block;
    return e;
}

void epoch_set_free(struct epoch *e, epoch_free_fn *give_back)
{
    e->give_back = give_back;
}

static struct epoch_worker *worker_at(struct epoch *e, uint32_t worker)
{
    CHECK(worker < e->workers);
    return &e->worker[worker];
}

/* Frees the oldest block; its chunk becomes the spare when it was the last in it. */
static void free_oldest(struct epoch *e, struct epoch_worker *w)
{
    struct note_chunk *chunk = w->oldest;
    struct note note = chunk->notes[chunk->first++];

    w->count--;
    w->retired_bytes -= note.bytes;
    if (chunk->first == chunk->end) {
        w->oldest = chunk->next;
        if (!w->oldest)
            w->youngest = NULL;
        free(w->spare);
        w->spare = chunk;
    }
    e->give_back(note.p, note.bytes);
}

void epoch_destroy(struct epoch *e)
{
    if (!e)
        return;
    for (uint32_t i = 0; i < e->workers; i++) {
        struct epoch_worker *w = &e->worker[i];

        while (w->oldest)
            free_oldest(e, w);
        free(w->spare);
    }
    free(e);
}

void epoch_online(struct epoch *e, uint32_t worker)
{
    struct epoch_worker *w = worker_at(e, worker);

    /* Any value not above the present one is right: an old one only delays a writer. Pairs with
     * load_acquire in look_around. */
    store_release(&w->local, load_relaxed(&e->global));
    /* Pairs with add_acq_rel in epoch_retire, either way round: one of us sees the other. */
    (void)add_acq_rel(&e->global, 0);
}

void epoch_offline(struct epoch *e, uint32_t worker)
{
    store_release(&worker_at(e, worker)->local, 0); /* pairs with load_acquire in look_around */
}

void epoch_quiesce(struct epoch *e, uint32_t worker)
{
    struct epoch_worker *w = worker_at(e, worker);

    CHECK(load_relaxed(&w->local) != 0); /* online: nobody else would ever look */
    /* load: pairs with add_acq_rel in epoch_retire, the unlinked is out of sight from here on.
     * store: pairs with load_acquire in look_around, what was read before is done with. */
    store_release(&w->local, load_acquire(&e->global));
}

/* A chunk with place for one more note, or NULL without memory. */
static struct note_chunk *room_for_note(struct epoch_worker *w)
{
    struct note_chunk *chunk = w->youngest;

    if (chunk && chunk->end < NOTES_PER_CHUNK)
        return chunk;
    chunk = w->spare ? w->spare : malloc(sizeof *chunk);
    if (!chunk)
        return NULL;
    w->spare = NULL;
    chunk->next = NULL;
    chunk->first = chunk->end = 0;
    if (w->youngest)
        w->youngest->next = chunk;
    else
        w->oldest = chunk;
    w->youngest = chunk;
    return chunk;
}

void epoch_retire(struct epoch *e, uint32_t worker, void *p, uint32_t bytes)
{
    struct epoch_worker *w = worker_at(e, worker);
    struct note_chunk *chunk = room_for_note(w);

    w->retired_bytes += bytes;
    if (!chunk)
        return; /* lost: safe for readers, and counted */
    w->count++;
    chunk->notes[chunk->end++] = (struct note){
        .p = p,
        /* Pairs with load_acquire in epoch_quiesce and add_acq_rel in epoch_online. */
        .stamp = add_acq_rel(&e->global, 1),
        .bytes = bytes,
    };
}

/* The stamp below which nobody can hold a block of ours. */
static uint64_t look_around(const struct epoch *e)
{
    /* A block that we retire later has at least this stamp: the answer does not cover it. */
    uint64_t safe = load_acquire(&e->global);

    for (uint32_t i = 0; i < e->workers; i++) {
        /* Pairs with store_release in epoch_quiesce and epoch_offline. */
        uint64_t local = load_acquire(&e->worker[i].local);

        if (local != 0 && local < safe)
            safe = local;
    }
    return safe;
}

uint32_t epoch_reclaim(struct epoch *e, uint32_t worker, uint32_t budget)
{
    struct epoch_worker *w = worker_at(e, worker);

    for (bool has_looked = false; w->oldest && budget > 0; budget--) {
        uint64_t stamp = w->oldest->notes[w->oldest->first].stamp;

        if (stamp >= w->safe && !has_looked) {
            w->safe = look_around(e); /* one look at most: it costs a miss per worker */
            has_looked = true;
        }
        if (stamp >= w->safe)
            break;
        free_oldest(e, w);
    }
    return w->count;
}

uint64_t epoch_retired_bytes(const struct epoch *e, uint32_t worker)
{
    return e->worker[worker].retired_bytes;
}
