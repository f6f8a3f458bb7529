/* tools/load_report.h -- what a run found, for people and for programs. */
#ifndef TOOLS_LOAD_REPORT_H
#define TOOLS_LOAD_REPORT_H

#include "tools/load_run.h"

/* Prints a run as a few lines of text, or as one JSON object if the options say so. */
void load_report(const struct load_options *o, const struct load_traffic *t,
                 const struct load_result *r);

#endif
