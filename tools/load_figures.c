/* tools/load_figures.c -- what a run found, derived once for all forms of report. */
#include "tools/load_figures.h"

#include <math.h>
#include <string.h>

double load_ratio(double a, double b)
{
    return b > 0 ? a / b : 0;
}

double load_curve_share(uint32_t point)
{
    return 1 - pow(10, -(double)point / 10);
}

static const char *protocol_name(const struct load_options *o)
{
    if (o->is_bare)
        return "none";
    return o->protocol == MQTT_5 ? "5" : o->protocol == MQTT_31 ? "3.1" : "3.1.1";
}

static const char *transport_name(const struct load_options *o)
{
    if (o->ws_path)
        return o->has_tls ? "wss" : "ws";
    return o->has_tls ? "tls" : "tcp";
}

static void derive_latency(struct load_figures *f, const struct load_hist *h)
{
    f->mean = load_hist_mean(h);
    f->p50 = load_hist_at(h, 0.5);
    f->p90 = load_hist_at(h, 0.9);
    f->p99 = load_hist_at(h, 0.99);
    f->p999 = load_hist_at(h, 0.999);
    f->max = h->max;
    for (uint32_t i = 0; i < LOAD_CURVE_POINTS; i++)
        f->curve[i] = load_hist_at(h, load_curve_share(i));
}

static void derive_rates(struct load_figures *f, const struct load_result *r)
{
    const struct load_sample *from = &r->from, *to = &r->to;
    double us = (double)(to->us - from->us);
    double broker_ns = (double)(to->cpu_ns - from->cpu_ns);
    double done = (double)(load_run_done(f->scenario, &to->counts) -
                           load_run_done(f->scenario, &from->counts));

    if (!f->is_measured)
        return;
    f->seconds = us / 1e6;
    f->sent_per_second = load_ratio((double)(to->counts.sent - from->counts.sent) * 1e6, us);
    f->done_per_second = load_ratio(done * 1e6, us);
    f->broker_us = load_ratio(broker_ns / 1000, done);
    f->broker_share = load_ratio(broker_ns / 1000, us);
    f->load_share = load_ratio((double)(to->own_ns - from->own_ns) / 1000, us);
}

static void derive_connections(struct load_figures *f, const struct load_result *r)
{
    double us = (double)(r->connected.us - r->start.us);
    double connections = f->connections;

    f->memory_before = r->start.memory;
    f->memory_connected = r->from.memory;
    f->memory_after = r->to.memory;
    if (!f->is_connected)
        return;
    f->connect_seconds = us / 1e6;
    f->connects_per_second = load_ratio(connections * 1e6, us);
    f->connect_broker_us =
        load_ratio((double)(r->connected.cpu_ns - r->start.cpu_ns) / 1000, connections);
    if (r->from.us != 0)
        f->connection_bytes =
            load_ratio((double)r->from.memory - (double)r->start.memory, connections);
}

void load_figures_derive(struct load_figures *f, const struct load_options *o,
                         const struct load_traffic *t, const struct load_result *r)
{
    *f = (struct load_figures){
        .scenario = o->scenario,
        .size = o->size,
        .failure = r->failure,
        .failure_detail = r->failure_detail,
        .protocol = protocol_name(o),
        .transport = transport_name(o),
        .qos = o->qos,
        .is_clean = load_run_is_clean(r),
        .has_broker = o->procs.count > 0,
        .is_connected = r->connected.us != 0 && o->scenario->kind != LOAD_RAMP,
        .is_measured = r->to.us != 0,
        .clients = o->clients,
        .publishers = t->publisher_count,
        .subscribers = t->subscriber_count,
        .connections = t->party_count,
        .topics = o->topics,
        .window = r->window,
        .rate = o->rate,
        .counts = r->counts,
        .point_count = r->point_count,
    };
    memcpy(f->points, r->points, sizeof(f->points));
    derive_connections(f, r);
    derive_rates(f, r);
    derive_latency(f, &t->latency);
}
