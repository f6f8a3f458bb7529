/* tools/load_hist.h -- how often each latency was seen, with an error below 2 %.
 *
 * Log-linear: every power of two is divided into LOAD_HIST_PARTS equal parts, so small values are
 * exact and large ones keep their leading bits. Fixed size, nothing is allocated.
 */
#ifndef TOOLS_LOAD_HIST_H
#define TOOLS_LOAD_HIST_H

#include <stdint.h>

#define LOAD_HIST_PART_BITS 6u
#define LOAD_HIST_PARTS (1u << LOAD_HIST_PART_BITS)
/* Values of 2^VALUE_BITS and more are counted as the largest. */
#define LOAD_HIST_VALUE_BITS 36u
#define LOAD_HIST_BINS ((LOAD_HIST_VALUE_BITS - LOAD_HIST_PART_BITS + 1u) * LOAD_HIST_PARTS)

struct load_hist {
    uint64_t count, sum, max;
    uint64_t bins[LOAD_HIST_BINS];
};

/* Counts one value. */
void load_hist_add(struct load_hist *h, uint64_t value);
/* The value behind which `share` (0 to 1) of all lie when they stand in order: 0 is the smallest,
 * 0.5 the median, 1 the largest. 0 when there are none. */
uint64_t load_hist_at(const struct load_hist *h, double share);
/* The mean of all values; 0 when there are none. */
double load_hist_mean(const struct load_hist *h);

#endif
