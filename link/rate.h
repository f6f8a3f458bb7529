/* link/rate.h -- how much of something may come in a second.
 *
 * What comes is paid for with time. Up to RATE_BURST_MS of it may have been saved; what is taken
 * beyond makes debts, and who has debts is to wait. Whatever was taken at once, debts never grow
 * beyond RATE_DEBT_MS, so nobody waits for longer than that.
 *
 * Threads  the link worker; pure: time is given in.
 */
#ifndef LINK_RATE_H
#define LINK_RATE_H

#include <stdint.h>

#define RATE_BURST_MS 1000u
#define RATE_DEBT_MS 10000u

struct rate {
    uint64_t per_s;   /* never 0 */
    uint64_t paid_us; /* until when it is paid */
};

/* Takes `n`, which are there in any case. Returns the moment from which more may come: not after
 * `now_ms` when it may come at once. */
uint64_t rate_take(struct rate *r, uint64_t n, uint64_t now_ms);

#endif
