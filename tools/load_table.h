/* tools/load_table.h -- the result of a comparison: medians, spread and ratios. */
#ifndef TOOLS_LOAD_TABLE_H
#define TOOLS_LOAD_TABLE_H

#include <stdio.h>

#include "tools/load_figures.h"
#include "tools/load_plan.h"

/* The median of some values, and the least and most of them. */
struct load_spread {
    double median, least, most;
};

/* What was found; the runs of a broker that failed before anything was known are not in it. */
struct load_results {
    const struct load_plan *plan;
    uint32_t rounds;
    /* of [run][peer][round]; NULL scenario: none */
    struct load_figures *figures;
    struct load_pin pin; /* as it was used */
};

/* Sorts the values.  All 0 when there are none. */
struct load_spread load_spread_of(double *values, uint32_t count);
/* What a run with a broker found in a round. */
struct load_figures *load_results_at(const struct load_results *r, uint32_t run, uint32_t peer,
                                     uint32_t round);
/* Whether all runs were done, and were clean. */
bool load_results_are_clean(const struct load_results *r);
/* Prints them as text, JSON or CSV. */
void load_table(FILE *to, const struct load_results *r, enum load_form form);
/* Writes them to an HTML page. */
void load_table_html(FILE *page, const struct load_results *r);

#endif
