/* core/broker/plan.h -- where the messages of one topic go, and a cache of that for hot topics.
 *
 * A plan is the match of a topic in its exact partition and the two wildcard ones, grouped by
 * worker. The cache keeps plans of topics published here lately; an entry is true while the
 * versions of the index stripes it was read under stand. It holds destinations, not sessions: the
 * worker's own subscribers are found by slot, so a change of subscribers makes nothing stale.
 *
 * Threads  the owning worker only.
 */
#ifndef CORE_BROKER_PLAN_H
#define CORE_BROKER_PLAN_H

#include "core/broker/state.h"

/* What one worker gets: slots[first .. first + count), groups last, marked with DELIVER_GROUP; and,
 * if it is a link worker, a bit for each link. */
struct plan_worker {
    uint16_t worker;
    uint32_t first, count, group_count;
    uint64_t links;
};

struct plan {
    uint32_t worker_count;
    const struct plan_worker *workers;
    const struct handle *slots;
};

#endif
