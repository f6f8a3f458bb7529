/* tools/load_report.h -- what a run found, for people and for programs. */
#ifndef TOOLS_LOAD_REPORT_H
#define TOOLS_LOAD_REPORT_H

#include <stdio.h>

#include "tools/load_figures.h"

/* Prints a run as a few lines of text, as one JSON object, or as a line of CSV below its names. */
void load_report(FILE *to, const struct load_figures *f, enum load_form form);
/* Writes the JSON object without a newline behind it. */
void load_report_json(FILE *to, const struct load_figures *f);
/* The names of what load_report_csv writes, and that, both without a newline. */
void load_report_csv_names(FILE *to);
/* See load_report_csv_names. */
void load_report_csv(FILE *to, const struct load_figures *f);
/* A text as a string of JSON, with its quotes; and as a field of CSV. */
void load_json_text(FILE *to, const char *text);
/* See load_json_text. */
void load_csv_text(FILE *to, const char *text);

#endif
