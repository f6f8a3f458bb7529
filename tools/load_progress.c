/* tools/load_progress.c -- a line on the terminal that says how a run goes. */
#include "tools/load_progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#define SHOW_US 200000u
/* Carriage return, and clear to the end of the line. */
#define BEGIN_LINE "\r\x1b[K"

void load_progress_init(struct load_progress *p, bool is_wanted)
{
    *p = (struct load_progress){.is_shown = is_wanted || isatty(STDERR_FILENO)};
}

void load_progress_show(struct load_progress *p, const char *phase, const struct load_point *point,
                        const struct load_counts *counts, uint64_t now_us)
{
    if (p->began_us == 0)
        p->began_us = now_us;
    if (!p->is_shown || now_us - p->shown_us < SHOW_US)
        return;
    p->shown_us = now_us;
    fprintf(stderr,
            BEGIN_LINE "%.1f s %s: %" PRIu32 " connections, %.0f a second, 50 %% %" PRIu64
                       " us, 99 %% %" PRIu64 " us, lost %" PRIu64,
            (double)(now_us - p->began_us) / 1e6, phase, counts->ready, point->per_second,
            point->p50, point->p99, counts->lost);
    fflush(stderr);
}

void load_progress_end(struct load_progress *p)
{
    if (p->shown_us != 0)
        fputs(BEGIN_LINE, stderr);
}
