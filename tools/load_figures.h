/* tools/load_figures.h -- what a run found, derived once for all forms of report.
 *
 * Plain data: it can cross a pipe between processes of one program. Its texts live as long as the
 * options, or for ever.
 */
#ifndef TOOLS_LOAD_FIGURES_H
#define TOOLS_LOAD_FIGURES_H

#include "tools/load_run.h"

/* Points of the curve of latencies: 0 %, then each a tenth of the way to the next nine. */
#define LOAD_CURVE_POINTS 51u
/* With fewer, what a broker takes in advance is most of what a connection seems to need. */
#define LOAD_MANY_CONNECTIONS 1000u

struct load_figures {
    const struct load_scenario *scenario;
    const char *size;
    const char *transport;                /* tcp, tls, ws, wss */
    const char *failure, *failure_detail; /* NULL: none */
    const char *protocol;                 /* 3.1, 3.1.1, 5 or none */
    uint8_t qos;
    bool is_clean;
    bool has_broker; /* what the broker used is known */
    bool is_connected, is_measured;
    uint32_t clients, publishers, subscribers, connections, topics;
    uint32_t window, rate;
    struct load_counts counts;
    double connect_seconds, connects_per_second;
    double seconds; /* measured */
    double sent_per_second, done_per_second;
    double broker_us;                /* of processor time, for each unit that was done */
    double broker_share, load_share; /* of one core */
    double connect_broker_us;        /* of processor time, a connection */
    double connection_bytes;         /* of memory, a connection */
    uint64_t memory_before, memory_connected, memory_after;
    double mean;
    uint64_t p50, p90, p99, p999, max; /* of latency, in microseconds */
    uint64_t curve[LOAD_CURVE_POINTS];
    struct load_point points[LOAD_POINTS_MAX];
    uint32_t point_count;
};

/* Derives all of it. */
void load_figures_derive(struct load_figures *f, const struct load_options *o,
                         const struct load_traffic *t, const struct load_result *r);
/* The share, 0 to 1, of all latencies that a point of the curve stands for. */
double load_curve_share(uint32_t point);
/* a / b; 0 when b is 0. */
double load_ratio(double a, double b);
#endif
