/* tools/load_html.h -- a report with plots, as one HTML page that needs nothing else. */
#ifndef TOOLS_LOAD_HTML_H
#define TOOLS_LOAD_HTML_H

#include <stdio.h>

#include "tools/load_figures.h"

/* Opens a page; closes it.  NULL, false: it cannot be written, which was said to stderr. */
FILE *load_html_open(const char *path, const char *title);
/* See load_html_open. */
bool load_html_close(FILE *page, const char *path);
/* Writes what one run found: a table and its plots. */
void load_html_run(FILE *page, const struct load_figures *f);

#endif
