/* tools/load_table.c -- the result of a comparison: medians, spread and ratios.
 *
 * A row is a run with a broker. What is compared is the broker's processor time for each unit; in
 * the scenario hold nothing is done, and it is that of connecting.
 */
#include "tools/load_table.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tools/load_report.h"
#include "tools/load_svg.h"

/* The columns that have a spread. */
enum column { COLUMN_CPU, COLUMN_RATE, COLUMN_P50, COLUMN_P99, COLUMN_BYTES, COLUMN_CORES };

struct row {
    const char *run, *broker;
    uint32_t idx;   /* of the rows that are told */
    uint32_t count; /* of rounds that are known */
    bool is_clean;
    bool has_many; /* connections, enough to say what one takes */
    struct load_spread cpu, rate, p50, p99, bytes, cores;
    double ratio,
        floor_ratio; /* of processor time, to the first broker's and the floor's; 0: none */
};

static int by_value(const void *a, const void *b)
{
    const double *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

struct load_spread load_spread_of(double *values, uint32_t count)
{
    struct load_spread s = {0};

    if (count == 0)
        return s;
    qsort(values, count, sizeof(*values), by_value);
    s.least = values[0];
    s.most = values[count - 1];
    s.median = (values[count / 2] + values[(count - 1) / 2]) / 2;
    return s;
}

struct load_figures *load_results_at(const struct load_results *r, uint32_t run, uint32_t peer,
                                     uint32_t round)
{
    return &r->figures[(run * r->plan->peer_count + peer) * r->rounds + round];
}

bool load_results_are_clean(const struct load_results *r)
{
    for (uint32_t run = 0; run < r->plan->run_count; run++) {
        for (uint32_t peer = 0; peer < r->plan->peer_count; peer++) {
            if (!load_plan_can(&r->plan->peers[peer], &r->plan->runs[run]))
                continue;
            for (uint32_t round = 0; round < r->rounds; round++) {
                if (!load_results_at(r, run, peer, round)->is_clean)
                    return false;
            }
        }
    }
    return true;
}

static double value_of(const struct load_figures *f, enum column column)
{
    switch (column) {
    case COLUMN_CPU:
        return f->scenario->kind == LOAD_SILENCE ? f->connect_broker_us : f->broker_us;
    case COLUMN_RATE:
        return f->scenario->kind == LOAD_SILENCE ? f->connects_per_second : f->done_per_second;
    case COLUMN_P50:
        return (double)f->p50;
    case COLUMN_P99:
        return (double)f->p99;
    case COLUMN_BYTES:
        return f->connection_bytes;
    case COLUMN_CORES:
        return f->broker_share;
    }
    return 0;
}

static struct load_spread spread(const struct load_results *r, uint32_t run, uint32_t peer,
                                 enum column column)
{
    double values[LOAD_ROUNDS_MAX];
    uint32_t count = 0;

    for (uint32_t i = 0; i < r->rounds; i++) {
        const struct load_figures *f = load_results_at(r, run, peer, i);

        if (f->scenario)
            values[count++] = value_of(f, column);
    }
    return load_spread_of(values, count);
}

/* Rounds of which something is known. */
static uint32_t known(const struct load_results *r, uint32_t run, uint32_t peer)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < r->rounds; i++)
        count += load_results_at(r, run, peer, i)->scenario != NULL;
    return count;
}

static double floor_of(const struct load_results *r, uint32_t run)
{
    for (uint32_t i = 0; i < r->plan->peer_count; i++) {
        if (r->plan->peers[i].is_floor)
            return spread(r, run, i, COLUMN_CPU).median;
    }
    return 0;
}

static bool has_many(const struct load_options *o)
{
    return load_scenario_connections(o->scenario, o->clients) >= LOAD_MANY_CONNECTIONS;
}

static struct row row_of(const struct load_results *r, uint32_t run, uint32_t peer)
{
    struct row row = {
        .run = r->plan->runs[run].label,
        .broker = r->plan->peers[peer].name,
        .count = known(r, run, peer),
        .is_clean = true,
        .has_many = has_many(&r->plan->runs[run].options),
        .cpu = spread(r, run, peer, COLUMN_CPU),
        .rate = spread(r, run, peer, COLUMN_RATE),
        .p50 = spread(r, run, peer, COLUMN_P50),
        .p99 = spread(r, run, peer, COLUMN_P99),
        .bytes = spread(r, run, peer, COLUMN_BYTES),
        .cores = spread(r, run, peer, COLUMN_CORES),
    };

    for (uint32_t i = 0; i < r->rounds; i++)
        row.is_clean = row.is_clean && load_results_at(r, run, peer, i)->is_clean;
    row.ratio = load_ratio(row.cpu.median, spread(r, run, 0, COLUMN_CPU).median);
    row.floor_ratio = load_ratio(row.cpu.median, floor_of(r, run));
    return row;
}

static bool has_floor(const struct load_results *r)
{
    bool found = false;

    for (uint32_t i = 0; i < r->plan->peer_count; i++)
        found = found || r->plan->peers[i].is_floor;
    return found;
}

/* Calls a function for each row of a run, and counts them; what a peer cannot do is left out. */
typedef void each_row(FILE *to, const struct load_results *r, const struct row *row);
static void for_rows(FILE *to, const struct load_results *r, uint32_t run, uint32_t *idx,
                     each_row *each)
{
    for (uint32_t peer = 0; peer < r->plan->peer_count; peer++) {
        if (load_plan_can(&r->plan->peers[peer], &r->plan->runs[run])) {
            struct row row = row_of(r, run, peer);

            row.idx = (*idx)++;
            each(to, r, &row);
        }
    }
}

/* ---- text ---- */

/* A ratio, or a line where there is none. */
static const char *ratio_text(char to[16], double ratio)
{
    if (ratio > 0)
        snprintf(to, 16, "x%.3f", ratio);
    else
        strcpy(to, "-");
    return to;
}

static void text_row(FILE *to, const struct load_results *r, const struct row *row)
{
    char between[48], ratio[16];

    if (row->count == 0) {
        fprintf(to, "%-38s %-14s failed\n", row->run, row->broker);
        return;
    }
    snprintf(between, sizeof(between), "(%.3f..%.3f)", row->cpu.least, row->cpu.most);
    fprintf(to, "%-38s %-14s %9.3f %19s %8s", row->run, row->broker, row->cpu.median, between,
            ratio_text(ratio, row->ratio));
    if (has_floor(r))
        fprintf(to, " %8s", ratio_text(ratio, row->floor_ratio));
    fprintf(to, " %11.0f %9.0f %9.0f", row->rate.median, row->p50.median, row->p99.median);
    if (row->has_many)
        fprintf(to, " %9.0f", row->bytes.median);
    else
        fprintf(to, " %9s", "-");
    fprintf(to, " %6.2f%s\n", row->cores.median, row->is_clean ? "" : " FAILED");
}

/* " 0 1 3" for a set of processors. */
static const char *cpus_text(char to[4 * LOAD_CPUS_MAX], uint64_t cpus)
{
    uint32_t n = 0;

    to[0] = '\0';
    for (uint32_t i = 0; i < LOAD_CPUS_MAX; i++) {
        if (cpus & (1ull << i))
            n += (uint32_t)snprintf(to + n, 4, " %u", (unsigned)i);
    }
    return to;
}

static void text_table(FILE *to, const struct load_results *r)
{
    char brokers[4 * LOAD_CPUS_MAX], load[4 * LOAD_CPUS_MAX];

    fprintf(to, "%-38s %-14s %9s %19s %8s", "run", "broker", "CPU us", "(least..most)", "ratio");
    if (has_floor(r))
        fprintf(to, " %8s", "floor");
    fprintf(to, " %11s %9s %9s %9s %6s\n", "done/s", "50 % us", "99 % us", "bytes", "cores");
    for (uint32_t run = 0, idx = 0; run < r->plan->run_count; run++)
        for_rows(to, r, run, &idx, text_row);
    fprintf(to,
            "\nMedians of %" PRIu32 " rounds. CPU us: processor time of the broker for each "
            "message, connection or\nsubscription; of silent connections, to connect one. bytes: "
            "resident memory for each of many connections.\n",
            r->rounds);
    if (r->pin.broker)
        fprintf(to, "Brokers on processors%s, load on%s.\n", cpus_text(brokers, r->pin.broker),
                cpus_text(load, r->pin.load));
    else
        fprintf(to, "Brokers and load share the processors.\n");
}

/* ---- JSON and CSV ---- */

static void json_spread(FILE *to, const char *name, const struct load_spread *s)
{
    fprintf(to, ",\"%s\":{\"median\":%.4f,\"least\":%.4f,\"most\":%.4f}", name, s->median, s->least,
            s->most);
}

static void json_row(FILE *to, const struct load_results *r, const struct row *row)
{
    (void)r;
    fprintf(to, "%s{\"run\":", row->idx ? ",\n" : "");
    load_json_text(to, row->run);
    fprintf(to, ",\"broker\":");
    load_json_text(to, row->broker);
    fprintf(to, ",\"is_clean\":%s,\"ratio\":%.5f,\"floor_ratio\":%.5f",
            row->is_clean ? "true" : "false", row->ratio, row->floor_ratio);
    json_spread(to, "cpu_us", &row->cpu);
    json_spread(to, "done_per_second", &row->rate);
    json_spread(to, "p50_us", &row->p50);
    json_spread(to, "p99_us", &row->p99);
    json_spread(to, "bytes_per_connection", &row->bytes);
    json_spread(to, "cores", &row->cores);
    fprintf(to, "}");
}

static void json_table(FILE *to, const struct load_results *r)
{
    fprintf(to, "{\"rounds\":%" PRIu32 ",\"is_pinned\":%s,\"is_clean\":%s,\"results\":[\n",
            r->rounds, r->pin.broker ? "true" : "false",
            load_results_are_clean(r) ? "true" : "false");
    for (uint32_t run = 0, idx = 0; run < r->plan->run_count; run++)
        for_rows(to, r, run, &idx, json_row);
    fprintf(to, "\n]}\n");
}

static void csv_table(FILE *to, const struct load_results *r)
{
    fprintf(to, "round,run,broker,");
    load_report_csv_names(to);
    putc('\n', to);
    for (uint32_t run = 0; run < r->plan->run_count; run++) {
        for (uint32_t at = 0; at < r->plan->peer_count * r->rounds; at++) {
            uint32_t peer = at % r->plan->peer_count, round = at / r->plan->peer_count;
            const struct load_figures *f = load_results_at(r, run, peer, round);

            if (!f->scenario)
                continue;
            fprintf(to, "%" PRIu32 ",", round + 1);
            load_csv_text(to, r->plan->runs[run].label);
            putc(',', to);
            load_csv_text(to, r->plan->peers[peer].name);
            putc(',', to);
            load_report_csv(to, f);
            putc('\n', to);
        }
    }
}

void load_table(FILE *to, const struct load_results *r, enum load_form form)
{
    if (form == LOAD_FORM_JSON)
        json_table(to, r);
    else if (form == LOAD_FORM_CSV)
        csv_table(to, r);
    else
        text_table(to, r);
}

/* ---- HTML ---- */

static void html_row(FILE *to, const struct load_results *r, const struct row *row)
{
    char ratio[16], bytes[32] = "-";

    (void)r;
    fputs("<tr><td>", to);
    load_html_text(to, row->run);
    fputs("</td><td>", to);
    load_html_text(to, row->broker);
    if (row->count == 0) {
        fputs("</td><td colspan=\"9\" class=\"bad\">failed</td></tr>\n", to);
        return;
    }
    if (row->has_many)
        snprintf(bytes, sizeof(bytes), "%.0f", row->bytes.median);
    fprintf(to, "</td><td>%.3f</td><td>%.3f to %.3f</td><td>%s</td>", row->cpu.median,
            row->cpu.least, row->cpu.most, ratio_text(ratio, row->ratio));
    fprintf(to, "<td>%s</td><td>%.0f</td><td>%.0f</td><td>%.0f</td><td>%s</td><td%s</td></tr>\n",
            ratio_text(ratio, row->floor_ratio), row->rate.median, row->p50.median, row->p99.median,
            bytes, row->is_clean ? ">yes" : " class=\"bad\">no");
}

/* The bars of one column of a run. */
static void html_bars(FILE *to, const struct load_results *r, uint32_t run, enum column column,
                      const char *what)
{
    struct load_bar bars[LOAD_BROKERS_MAX];
    uint32_t count = 0;

    for (uint32_t peer = 0; peer < r->plan->peer_count; peer++) {
        struct load_spread s = spread(r, run, peer, column);

        if (known(r, run, peer) > 0)
            bars[count++] = (struct load_bar){.name = r->plan->peers[peer].name,
                                              .value = s.median,
                                              .least = s.least,
                                              .most = s.most};
    }
    fputs("<h2>", to);
    load_html_text(to, r->plan->runs[run].label);
    fprintf(to, ": %s</h2>\n", what);
    load_svg_bars(to, bars, count);
}

void load_table_html(FILE *page, const struct load_results *r)
{
    fprintf(page,
            "<p>Medians of %" PRIu32 " rounds, and between which values they lay.</p>\n<table>\n"
            "<tr><th>run</th><th>broker</th><th>CPU us</th><th>between</th><th>ratio</th>"
            "<th>to the floor</th><th>done/s</th><th>50 %% us</th><th>99 %% us</th>"
            "<th>bytes a connection</th><th>clean</th></tr>\n",
            r->rounds);
    for (uint32_t run = 0, idx = 0; run < r->plan->run_count; run++)
        for_rows(page, r, run, &idx, html_row);
    fputs("</table>\n", page);
    for (uint32_t run = 0; run < r->plan->run_count; run++) {
        html_bars(page, r, run, COLUMN_CPU, "processor time for each, us");
        html_bars(page, r, run, COLUMN_RATE, "done a second");
        html_bars(page, r, run, COLUMN_P99, "99 % of latencies within, us");
    }
}
