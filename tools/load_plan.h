/* tools/load_plan.h -- what a comparison consists of: brokers, and runs against each of them.
 *
 * Brokers come from --broker and --floor, or from lines of a file:
 *
 *     broker NAME PORT COMMAND...        the rest of the line is for the shell
 *     floor NAME PORT COMMAND...         the same, of a program that speaks --bare
 *     run "LABEL" OPTION... SCENARIO
 *     # a comment
 *
 * The first broker is what the others are compared with; with a floor they are compared with that
 * too, in those runs that it can do.
 */
#ifndef TOOLS_LOAD_PLAN_H
#define TOOLS_LOAD_PLAN_H

#include "tools/load_options.h"

struct load_peer {
    const char *name, *port, *command;
    bool is_floor;
};

struct load_plan_run {
    const char *label;
    struct load_options options; /* but for host and port, and not resolved */
};

struct load_plan {
    struct load_peer peers[LOAD_BROKERS_MAX];
    uint32_t peer_count;
    struct load_plan_run runs[LOAD_RUNS_MAX];
    uint32_t run_count;
    /* What names, commands and options point into. */
    char *texts[LOAD_BROKERS_MAX + LOAD_RUNS_MAX + 1];
    uint32_t text_count;
};

/* Makes the plan that `base` asks for; its options hold for all runs.  false: something is wrong
 * with it, which was said to stderr. To be given back in both cases. */
bool load_plan_read(struct load_plan *p, const struct load_options *base);
/* Frees what it holds. */
void load_plan_fini(struct load_plan *p);
/* Adds a line of a file; `where` names it. false: as above. */
bool load_plan_line(struct load_plan *p, const struct load_options *base, const char *where,
                    const char *line);
/* Whether a peer can do a run. */
bool load_plan_can(const struct load_peer *peer, const struct load_plan_run *run);

#endif
