/* link/changes.h -- changes of the route index that are due, in the order in which they came.
 *
 * A change that the index cannot take now waits, and all that come after it, so that changes of one
 * filter keep their order. A filter goes when those that were added before it are in force, since
 * they may be instead of it.
 *
 * Threads  the link worker that has it.
 * Memory   a piece for each change that waits. Whoever asks for changes has a bound for them, and
 *          asks for few while some wait.
 */
#ifndef LINK_CHANGES_H
#define LINK_CHANGES_H

#include "core/broker/shard.h"

struct change;

struct changes {
    struct shard *shard;
    struct change *first, **last;
    uint64_t added; /* before all of that is in force nothing goes */
    bool has_added; /* and more has come since */
};

/* Nothing is due; changes_fini forgets what is. One that was never prepared is fine. */
void changes_init(struct changes *c, struct shard *shard);
void changes_fini(struct changes *c);

/* A destination wants a filter, or the name of a shared group, or no longer does; or soon, when the
 * index takes it. */
void changes_ask(struct changes *c, uint32_t number, struct bytes filter, bool is_wanted);
/* Tries again what waits: once per turn. Whether it is to be tried again at once: where there is no
 * room, an answer comes that makes some, and wakes us. */
bool changes_run(struct changes *c);
/* Whether something waits. */
bool changes_wait(const struct changes *c);

#endif
