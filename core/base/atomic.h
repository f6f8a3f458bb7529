/* core/base/atomic.h -- the only place that speaks to <stdatomic.h>.
 *
 * Every operation carries its order in its name; the caller names its partner in a comment.
 * ThreadSanitizer does not model stand-alone fences, so the one full fence there is
 * (the sleep protocol, retained publishes) is a sequentially consistent read-modify-write.
 */
#ifndef CORE_BASE_ATOMIC_H
#define CORE_BASE_ATOMIC_H

#include <stdatomic.h>
#include <stdint.h>

#define CACHE_LINE 64

#define load_relaxed(p) atomic_load_explicit((p), memory_order_relaxed)
#define load_acquire(p) atomic_load_explicit((p), memory_order_acquire)
#define load_seq_cst(p) atomic_load_explicit((p), memory_order_seq_cst)
#define store_relaxed(p, v) atomic_store_explicit((p), (v), memory_order_relaxed)
#define store_release(p, v) atomic_store_explicit((p), (v), memory_order_release)
#define store_seq_cst(p, v) atomic_store_explicit((p), (v), memory_order_seq_cst)
#define add_relaxed(p, v) atomic_fetch_add_explicit((p), (v), memory_order_relaxed)
#define add_acq_rel(p, v) atomic_fetch_add_explicit((p), (v), memory_order_acq_rel)
#define sub_acq_rel(p, v) atomic_fetch_sub_explicit((p), (v), memory_order_acq_rel)
#define or_seq_cst(p, v) atomic_fetch_or_explicit((p), (v), memory_order_seq_cst)
#define and_seq_cst(p, v) atomic_fetch_and_explicit((p), (v), memory_order_seq_cst)
#define or_release(p, v) atomic_fetch_or_explicit((p), (v), memory_order_release)
#define exchange_acq_rel(p, v) atomic_exchange_explicit((p), (v), memory_order_acq_rel)
#define exchange_seq_cst(p, v) atomic_exchange_explicit((p), (v), memory_order_seq_cst)
#define cas_weak_acq_rel(p, expected, v)                                                           \
    atomic_compare_exchange_weak_explicit((p), (expected), (v), memory_order_acq_rel,              \
                                          memory_order_relaxed)
#define cas_weak_release(p, expected, v)                                                           \
    atomic_compare_exchange_weak_explicit((p), (expected), (v), memory_order_release,              \
                                          memory_order_relaxed)

/* Adds to a counter that only the calling thread writes and others read for statistics. */
#define count_add(p, v) store_relaxed((p), load_relaxed(p) + (v))

/* A full barrier, as a read-modify-write on a word of the caller's own. */
static inline void fence_full(_Atomic uint32_t *own)
{
    (void)atomic_fetch_add_explicit(own, 1, memory_order_seq_cst);
}

#endif
