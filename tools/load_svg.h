/* tools/load_svg.h -- plots as SVG, to stand within an HTML page.
 *
 * Nothing is loaded from anywhere: no script, no style sheet, no font. Numbers that are not finite
 * do not come in.
 */
#ifndef TOOLS_LOAD_SVG_H
#define TOOLS_LOAD_SVG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* One line of a plot. */
struct load_line {
    const char *name;
    const double *x, *y;
    uint32_t n;
};

/* A mark of the x axis, which begins at 0. */
struct load_tick {
    double at;
    const char *text;
};

struct load_plot {
    const char *title;
    const char *y_unit;
    const struct load_line *lines;
    uint32_t line_count;
    const struct load_tick *ticks; /* NULL: seconds, in round numbers */
    uint32_t tick_count;
    bool is_log; /* the y axis; what is below 1 counts as 1 */
};

/* One bar, and between which values it lay. */
struct load_bar {
    const char *name;
    double value, least, most;
};

/* Writes a plot of lines. */
void load_svg_lines(FILE *to, const struct load_plot *plot);
/* Writes bars that lie below each other, in a scale of their own. */
void load_svg_bars(FILE *to, const struct load_bar *bars, uint32_t count);
/* Writes a text with what means something in HTML replaced. */
void load_html_text(FILE *to, const char *text);
/* The smallest of 1, 2, 5, 10, 20, ... that is not below v; v is above 0. */
double load_svg_round_up(double v);

#endif
