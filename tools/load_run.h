/* tools/load_run.h -- one run from the first connection to the last message, and what was measured.
 *
 * connect -> settle -> warm up -> measure -> drain -> linger. The scenario hold is silent while it
 * measures, and afterwards sends one message to every client, to see that each is still served.
 */
#ifndef TOOLS_LOAD_RUN_H
#define TOOLS_LOAD_RUN_H

#include "tools/load_traffic.h"

/* What was known at one moment. */
struct load_sample {
    uint64_t us;     /* our clock */
    uint64_t cpu_ns; /* of the broker's processes, if they are known */
    uint64_t memory; /* likewise */
    uint64_t own_ns; /* of this process */
    struct load_counts counts;
};

struct load_result {
    struct load_sample start;     /* before the first connection */
    struct load_sample connected; /* all are ready */
    struct load_sample from, to;  /* of the time that was measured */
    struct load_counts counts;    /* at the end */
    uint32_t window;              /* that was used: the broker may allow less than was asked for */
    const char *failure;          /* NULL, or why the run ended early; static */
    const char *failure_detail;   /* NULL, or what the failing part said; static */
};

/* Does what the options say.  false: it could not be begun; why not was printed to stderr. */
bool load_run(struct load_traffic *t, const struct load_options *o, struct load_result *result);
/* Whether all arrived, once and in order. */
bool load_run_is_clean(const struct load_result *r);

#endif
