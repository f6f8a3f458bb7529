/* link/hold.h -- when the connections of a link's own speakers are not read, and why.
 *
 * There are two reasons: what they send is more than they may in a second, and more of it waits to
 * be unpacked than may. Each comes and goes by itself; they are read when there is none. What was
 * already on its way is taken all the same (shard_link_hold).
 *
 * Threads  the link worker.
 */
#ifndef LINK_HOLD_H
#define LINK_HOLD_H

#include "core/base/timer.h"
#include "link/host.h"

/* Pause between two lines about one link. */
#define HOLD_SAY_MS 10000u
/* After a time in which they were not read, nobody's silence counts for so long. */
#define HOLD_HEAR_MS 2000u

struct hold {
    struct link_host *host;
    const char *name;   /* of the link */
    uint32_t number;    /* of the link */
    struct timer timer; /* armed: for what they send in a second */
    bool is_crowded;    /* for what waits */
    uint64_t ended_ms;  /* when they were last held; 0: never */
    uint64_t say_ms;    /* no line before */
};

/* They are read. The name outlives the hold; hold_fini does not read them again, as at the end. */
void hold_init(struct hold *h, struct link_host *host, const char *name, uint32_t number);
void hold_fini(struct hold *h); /* one that was never prepared is fine */

/* They sent too much: not read until then. A moment that is not in the future, or before the one
 * that was said last, changes nothing. */
void hold_until(struct hold *h, uint64_t due_ms);
/* Too much of theirs waits, or no longer does. */
void hold_crowded(struct hold *h, bool is_crowded);

/* Whether they are held: who reads them elsewhere than on their own connections asks. */
bool hold_is_on(const struct hold *h);

/* The moment from which their silence counts: in the future while they are held, and for
 * HOLD_HEAR_MS after that. While they are held for what waits, it moves on. */
uint64_t hold_hears_ms(const struct hold *h);

#endif
