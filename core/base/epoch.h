/* core/base/epoch.h -- when memory that other workers may still be reading can be freed.
 *
 * Quiescent-state based reclamation: a reader holds nothing between two turns. The writer unlinks,
 * then retires; what was retired is freed by its own writer once every worker that was online has
 * passed a quiescent point (end of a turn) or gone offline (sleep). The writer counts too: while it
 * is online it must quiesce itself. Source: McKenney, QSBR.
 *
 * Threads  each worker calls with its own number only.
 * Memory   a retired block stays as it is until it is freed: the lists are kept outside of it,
 *          because readers may still be in it.
 */
#ifndef CORE_BASE_EPOCH_H
#define CORE_BASE_EPOCH_H

#include "core/base/atomic.h"
#include "core/base/bytes.h"

struct epoch; /* opaque */

/* For workers 0..workers-1, all offline at first.  NULL: no memory.  Boot only. */
struct epoch *epoch_create(uint32_t workers);
/* Frees it and everything still retired. No worker may be running.  Boot only. */
void epoch_destroy(struct epoch *e);

/* How a block is given back; free() unless set.  Boot only. */
typedef void epoch_free_fn(void *p, uint32_t bytes);
void epoch_set_free(struct epoch *e, epoch_free_fn *give_back);

/* Before the first look into shared memory after a sleep; a full fence is inside. */
void epoch_online(struct epoch *e, uint32_t worker);
/* Before sleeping: this worker holds nothing. */
void epoch_offline(struct epoch *e, uint32_t worker);
/* At the end of every turn: this worker holds nothing that it found before. Cheap: one store. */
void epoch_quiesce(struct epoch *e, uint32_t worker);

/* Gives `p` (from malloc, `bytes` large) to be freed when nobody can see it any more. It must be
 * unreachable for new readers already. Never fails: should there be no memory for the note of 24
 * bytes, the block is lost, not even epoch_destroy frees it, and it counts as retired for good. */
void epoch_retire(struct epoch *e, uint32_t worker, void *p, uint32_t bytes);

/* Frees what may be freed of this worker's, oldest first, at most `budget` blocks; returns how many
 * are left. */
uint32_t epoch_reclaim(struct epoch *e, uint32_t worker, uint32_t budget);

/* Bytes this worker has retired and not yet freed. At a bound SUBSCRIBE is refused with 0x97. */
uint64_t epoch_retired_bytes(const struct epoch *e, uint32_t worker);

#endif
