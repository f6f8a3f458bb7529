/* tools/load_progress.h -- a line on the terminal that says how a run goes. */
#ifndef TOOLS_LOAD_PROGRESS_H
#define TOOLS_LOAD_PROGRESS_H

#include "tools/load_run.h"

struct load_progress {
    bool is_shown;
    uint64_t began_us, shown_us; /* 0: not yet */
};

/* Shows it if that is wanted, or if the standard error is a terminal. */
void load_progress_init(struct load_progress *p, bool is_wanted);
/* Writes the line anew, a few times a second. */
void load_progress_show(struct load_progress *p, const char *phase, const struct load_point *point,
                        const struct load_counts *counts, uint64_t now_us);
/* Clears the line. */
void load_progress_end(struct load_progress *p);

#endif
