/* tools/load_run.h -- one run from the first connection to the last message, and what was measured.
 *
 * connect -> prepare -> settle -> warm up -> measure -> drain -> check -> clean -> linger. In the
 * check of scenarios that have one, every client gets one message, to see that each is still
 * served.
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

/* What happened in one of the short times that the measured time is divided into. */
struct load_point {
    double at; /* seconds since measuring began, at its end */
    double per_second;
    uint64_t p50, p99, max; /* of latency, in microseconds */
};

#define LOAD_POINTS_MAX 200u

struct load_result {
    struct load_sample start;     /* before the first connection */
    struct load_sample connected; /* all are ready */
    struct load_sample from, to;  /* of the time that was measured */
    struct load_counts counts;    /* at the end */
    uint32_t window;              /* that was used: brokers may allow less than was asked for */
    const char *failure;          /* NULL, or why the run ended early; static */
    const char *failure_detail;   /* NULL, or what the failing part said; static */
    struct load_point points[LOAD_POINTS_MAX];
    uint32_t point_count;
};

/* Does what the options say.  false: it could not be begun; why not was printed to stderr. */
bool load_run(struct load_traffic *t, const struct load_options *o, struct load_result *result);
/* What is counted as done, by the unit of the scenario. */
uint64_t load_run_done(const struct load_scenario *s, const struct load_counts *c);
/* Whether all arrived, once and in order. */
bool load_run_is_clean(const struct load_result *r);

#endif
