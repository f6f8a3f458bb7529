/* link/rate.c -- time as money. */
#include "link/rate.h"

uint64_t rate_take(struct rate *r, uint64_t n, uint64_t now_ms)
{
    uint64_t now_us = now_ms * 1000, burst_us = RATE_BURST_MS * 1000ull;
    uint64_t most_us = now_us + RATE_DEBT_MS * 1000ull;
    uint64_t cost_us = n / r->per_s * 1000000 + n % r->per_s * 1000000 / r->per_s;

    if (r->paid_us + burst_us < now_us)
        r->paid_us = now_us - burst_us;
    r->paid_us = cost_us > most_us - r->paid_us ? most_us : r->paid_us + cost_us;
    return (r->paid_us + 999) / 1000;
}
