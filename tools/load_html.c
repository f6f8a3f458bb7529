/* tools/load_html.c -- a report with plots, as one HTML page that needs nothing else. */
#include "tools/load_html.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "net/clock.h"
#include "tools/load_svg.h"

static const char head[] =
    "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width\">\n<style>\n"
    "body{font:15px/1.5 system-ui,sans-serif;max-width:800px;margin:2em auto;padding:0 1em}\n"
    "table{border-collapse:collapse;margin:1em 0}td,th{padding:2px 12px 2px 0;text-align:right;"
    "border-bottom:1px solid #ddd}td:first-child,th:first-child{text-align:left}\n"
    "h2{font-size:14px;margin:1.5em 0 0}svg{width:100%;margin:1em 0}svg text{font:11px "
    "sans-serif;fill:#333}"
    "svg .t{font-size:13px;font-weight:bold}svg .g{stroke:#ddd}.bad{color:#b00}\n"
    "</style>\n";

FILE *load_html_open(const char *path, const char *title)
{
    FILE *page = fopen(path, "we");
    char when[CLOCK_TEXT_BYTES];

    if (!page) {
        fprintf(stderr, "causeway-load: %s: %s\n", path, strerror(errno));
        return NULL;
    }
    clock_text(clock_wall_ms(), when);
    fputs(head, page);
    fputs("<title>", page);
    load_html_text(page, title);
    fputs("</title></head><body>\n<h1>", page);
    load_html_text(page, title);
    fprintf(page, "</h1>\n<p>%s</p>\n", when);
    return page;
}

bool load_html_close(FILE *page, const char *path)
{
    bool ok;

    fputs("</body></html>\n", page);
    ok = !ferror(page);
    ok = fclose(page) == 0 && ok;
    if (!ok)
        fprintf(stderr, "causeway-load: %s cannot be written\n", path);
    return ok;
}

/* ---- the table ---- */

static void row(FILE *page, const char *name, const char *unit, double value)
{
    fprintf(page, "<tr><td>%s</td><td>%.*f</td><td>%s</td></tr>\n", name, value < 100 ? 3 : 0,
            value, unit);
}

static void table(FILE *page, const struct load_figures *f)
{
    fputs("<table>\n", page);
    row(page, "done a second", f->scenario->unit, f->done_per_second);
    row(page, "latency, mean", "us", f->mean);
    row(page, "50 %", "us", (double)f->p50);
    row(page, "90 %", "us", (double)f->p90);
    row(page, "99 %", "us", (double)f->p99);
    row(page, "99.9 %", "us", (double)f->p999);
    row(page, "longest", "us", (double)f->max);
    if (f->has_broker) {
        row(page, "broker, processor time for each", "us", f->broker_us);
        row(page, "broker, cores", "", f->broker_share);
    }
    if (f->has_broker && f->connections >= LOAD_MANY_CONNECTIONS)
        row(page, "broker, memory for a connection", "bytes", f->connection_bytes);
    row(page, "this tool, cores", "", f->load_share);
    fputs("</table>\n", page);
}

static void counts(FILE *page, const struct load_figures *f)
{
    const struct load_counts *c = &f->counts;

    fprintf(page,
            "<p%s>sent %" PRIu64 ", delivered %" PRIu64 ", lost %" PRIu64 ", doubled %" PRIu64
            ", out of order %" PRIu64 ", strange %" PRIu64 ", refused %" PRIu64
            ", overdue %" PRIu64,
            f->is_clean ? "" : " class=\"bad\"", c->sent, c->delivered, c->lost, c->doubled,
            c->late, c->strange, c->refused, c->overdue);
    if (f->failure) {
        fputs("; FAILED: ", page);
        load_html_text(page, f->failure);
        fputs(f->failure_detail ? ": " : "", page);
        load_html_text(page, f->failure_detail ? f->failure_detail : "");
    }
    fputs("</p>\n", page);
}

/* ---- the plots ---- */

static void plot_curve(FILE *page, const struct load_figures *f)
{
    static const struct load_tick ticks[] = {{0, "0 %"},      {3.0103, "50 %"}, {10, "90 %"},
                                             {20, "99 %"},    {30, "99.9 %"},   {40, "99.99 %"},
                                             {50, "99.999 %"}};
    double x[LOAD_CURVE_POINTS], y[LOAD_CURVE_POINTS];
    struct load_line line = {.name = "", .x = x, .y = y, .n = LOAD_CURVE_POINTS};
    struct load_plot plot = {.title = "Latency by share of all",
                             .y_unit = "us",
                             .lines = &line,
                             .line_count = 1,
                             .ticks = ticks,
                             .tick_count = sizeof(ticks) / sizeof(ticks[0]),
                             .is_log = true};

    for (uint32_t i = 0; i < LOAD_CURVE_POINTS; i++) {
        x[i] = i;
        y[i] = (double)f->curve[i];
    }
    load_svg_lines(page, &plot);
}

static void plot_times(FILE *page, const struct load_figures *f)
{
    static double at[LOAD_POINTS_MAX], done[LOAD_POINTS_MAX];
    static double p50[LOAD_POINTS_MAX], p99[LOAD_POINTS_MAX], max[LOAD_POINTS_MAX];
    struct load_line rate = {.name = "", .x = at, .y = done, .n = f->point_count};
    struct load_line times[] = {{.name = "50 %", .x = at, .y = p50, .n = f->point_count},
                                {.name = "99 %", .x = at, .y = p99, .n = f->point_count},
                                {.name = "longest", .x = at, .y = max, .n = f->point_count}};
    struct load_plot plot = {
        .title = "Done a second", .y_unit = f->scenario->unit, .lines = &rate, .line_count = 1};

    for (uint32_t i = 0; i < f->point_count; i++) {
        at[i] = f->points[i].at;
        done[i] = f->points[i].per_second;
        p50[i] = (double)f->points[i].p50;
        p99[i] = (double)f->points[i].p99;
        max[i] = (double)f->points[i].max;
    }
    load_svg_lines(page, &plot);
    plot = (struct load_plot){.title = "Latency over time",
                              .y_unit = "us",
                              .lines = times,
                              .line_count = 3,
                              .is_log = true};
    load_svg_lines(page, &plot);
}

void load_html_run(FILE *page, const struct load_figures *f)
{
    fprintf(page, "<p>%s, QoS %d, MQTT %s, %s, %" PRIu32 " publishers, %" PRIu32 " subscribers, ",
            f->scenario->name, f->qos, f->protocol, f->transport, f->publishers, f->subscribers);
    load_html_text(page, f->size);
    fprintf(page, " bytes, window %" PRIu32 ", rate %" PRIu32 "</p>\n", f->window, f->rate);
    if (f->is_measured)
        table(page, f);
    counts(page, f);
    if (f->is_measured)
        plot_curve(page, f);
    if (f->point_count > 1)
        plot_times(page, f);
}
