/* tools/load_flow.h -- the messages of one publisher as one subscriber sees them.
 *
 * Every message has a sequence number; a flow knows which of the last ones came, so that a message
 * that comes late can be told from one that comes twice.
 */
#ifndef TOOLS_LOAD_FLOW_H
#define TOOLS_LOAD_FLOW_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/err.h"

struct load_flow {
    uint32_t next;      /* one more than the highest sequence that came */
    uint32_t word_mask; /* `seen` has word_mask + 1 words, a power of two */
    uint64_t *seen;     /* bit of each of the last sequences below `next`: it came */
};

enum load_arrival {
    LOAD_ARRIVAL_IN_ORDER, /* the next one */
    LOAD_ARRIVAL_GAP,      /* some before it have not come: next - before many */
    LOAD_ARRIVAL_LATE,     /* it was missed and came after a later one */
    LOAD_ARRIVAL_DOUBLE,   /* it had come already */
};

/* A flow that can look back at least `window` messages.  ERR_MEMORY. */
MUST_USE enum err load_flow_init(struct load_flow *f, uint32_t window);
/* Frees what init took; a zeroed flow is fine. */
void load_flow_fini(struct load_flow *f);
/* Takes note of a message; `sequence` is below UINT32_MAX. The time it takes grows with the gap. */
enum load_arrival load_flow_take(struct load_flow *f, uint32_t sequence);

#endif
