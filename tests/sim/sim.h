/* tests/sim/sim.h -- what all parts of the simulated world share: the seed, the clock, the trace.
 *
 * Nothing here or beside it knows real time or real randomness, so a seed always gives the same
 * trace. `step` counts everything that happens and so gives all events one order; the model speaks
 * of "before" and "after" in steps only, and of milliseconds only where MQTT does.
 */
#ifndef TESTS_SIM_SIM_H
#define TESTS_SIM_SIM_H

#include <stdbool.h>
#include <stdint.h>

#define NEVER UINT64_MAX
#define NONE UINT32_MAX

struct sim_options {
    bool qos12, retained, share, wills, sessions; /* what the clients use of MQTT */
    bool links, links_only;                       /* linked clusters too; nothing else */
    bool acl;                                     /* some seeds have an ACL */
    bool mount;                                   /* some have all clients below a mount point */
    bool verbose;
    uint32_t workers; /* 0: drawn from the seed */
};

/* Of these worlds. */
#define MOUNT_POINT "m/"

#define TRACE_EVENTS 120
#define TRACE_BYTES 200

struct sim {
    struct sim_options opt;
    uint64_t seed;
    uint64_t random;
    uint64_t step;
    uint64_t now_ms, wall_ms;
    bool failed;
    char difference[400]; /* the first one */
    uint64_t trace_count;
    char trace[TRACE_EVENTS][TRACE_BYTES];
};

/* Sets everything to the beginning of a seed. */
void sim_start(struct sim *s, uint64_t seed, const struct sim_options *opt);

/* A number 0..n-1 (n > 0), and true in `percent` of all cases. */
uint32_t draw(struct sim *s, uint32_t n);
bool chance(struct sim *s, uint32_t percent);

/* Time passes. */
void sim_pass(struct sim *s, uint64_t ms);

/* Remembers an event for the trace. */
void note(struct sim *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The broker and the model differ: the seed has failed. */
void differ(struct sim *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Prints the seed, the first difference and the last events. */
void sim_report(const struct sim *s);

/* Memory of the simulation itself; there is no broker to test without it. */
void *must_alloc(uint64_t bytes);
/* Makes room for one more element of `size` bytes in a growing array. */
void *must_grow(void *array, uint32_t count, uint32_t *capacity, uint64_t size);

#endif
