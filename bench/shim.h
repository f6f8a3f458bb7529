/* bench/shim.h -- benchmarks in C, over Google Benchmark (which is C++, in bench/shim.cc only).
 *
 *     static void bench_split(struct bench *b, int64_t arg)
 *     {
 *         uint64_t n;
 *
 *         while (bench_next_batch(b, &n)) {
 *             for (; n > 0; n--)
 *                 bench_keep(split(...));
 *         }
 *         bench_goal(b, 0.5);
 *     }
 *     __attribute__((constructor)) static void register_split(void)
 *     {
 *         bench_register("BM_split/levels:6", bench_split, 6);
 *     }
 *
 * The name carries the parameters. An item is an iteration unless bench_items says otherwise.
 * Debian's library always warns that it was built as DEBUG: harmless, the timed loops are ours.
 *
 * Threads  the functions are for the thread that runs the benchmark.
 */
#ifndef BENCH_SHIM_H
#define BENCH_SHIM_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct bench; /* opaque: one run of one benchmark */
typedef void bench_fn(struct bench *b, int64_t arg);

/* Adds a benchmark; call it from a constructor. `name` must live on. */
void bench_register(const char *name, bench_fn *fn, int64_t arg);
/* The same, timed by the clock on the wall: for work that is done by several threads. */
void bench_register_wall(const char *name, bench_fn *fn, int64_t arg);

/* Whether to go on with one more iteration. Costs about 2 ns: below 50 ns use batches. */
bool bench_next(struct bench *b);
/* Whether to go on with *n more iterations (64 to 1024), which the caller loops over. */
bool bench_next_batch(struct bench *b, uint64_t *n);

/* Leaves what is between them out of the time. Each costs some 100 ns. */
void bench_pause(struct bench *b);
void bench_resume(struct bench *b);

/* Reports, after the loop: how many items were handled in all (default: the iterations), a figure,
 * a remark. */
void bench_items(struct bench *b, uint64_t count);
void bench_counter(struct bench *b, const char *name, double value);
void bench_label(struct bench *b, const char *text);
/* Reports the time of an item in dependent cache misses of this machine, beside the goal for it. */
void bench_goal(struct bench *b, double misses);

/* What one dependent cache miss costs here: a chase through 256 MiB in random order, in huge pages
 * where the kernel has them. Measured at the first call, which takes about a second. */
double bench_cache_miss_ns(void);

/* Whether BENCH_TINY is set: `make check` runs every benchmark once, in small. */
bool bench_is_tiny(void);

/* Makes the compiler believe that what `p` points at is read and written. */
static inline void bench_keep(const void *p)
{
    __asm__ volatile("" : : "g"(p) : "memory");
}

#ifdef __cplusplus
}
#endif

#endif
