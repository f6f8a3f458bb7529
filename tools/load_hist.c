/* tools/load_hist.c -- how often each latency was seen, with an error below 2 %.
 *
 * Values below 2 * PARTS have a bin each. Above, a value with its leading bit at position e is in
 * row e - PART_BITS, in the column of the PART_BITS bits below the leading one.
 */
#include "tools/load_hist.h"

static uint32_t bin_of(uint64_t value)
{
    uint32_t shift;

    if (value >> LOAD_HIST_VALUE_BITS)
        return LOAD_HIST_BINS - 1;
    if (value < LOAD_HIST_PARTS)
        return (uint32_t)value;
    shift = 63u - (uint32_t)__builtin_clzll(value) - LOAD_HIST_PART_BITS;
    return (shift << LOAD_HIST_PART_BITS) + (uint32_t)(value >> shift);
}

/* The largest value that is counted in a bin. */
static uint64_t top_of(uint32_t bin)
{
    uint32_t row = bin >> LOAD_HIST_PART_BITS;
    uint64_t column = bin & (LOAD_HIST_PARTS - 1);

    if (row == 0)
        return column;
    return ((column + LOAD_HIST_PARTS + 1) << (row - 1)) - 1;
}

void load_hist_add(struct load_hist *h, uint64_t value)
{
    h->count++;
    h->sum += value;
    if (value > h->max)
        h->max = value;
    h->bins[bin_of(value)]++;
}

uint64_t load_hist_at(const struct load_hist *h, double share)
{
    uint64_t wanted = (uint64_t)(share * (double)h->count);
    uint64_t seen = 0;

    if (wanted >= h->count)
        return h->max;
    for (uint32_t i = 0; i < LOAD_HIST_BINS; i++) {
        seen += h->bins[i];
        if (seen > wanted)
            return top_of(i) < h->max ? top_of(i) : h->max;
    }
    return h->max;
}

double load_hist_mean(const struct load_hist *h)
{
    return h->count ? (double)h->sum / (double)h->count : 0;
}
