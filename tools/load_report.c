/* tools/load_report.c -- what a run found, for people and for programs.
 *
 * Everything is derived first (struct figures), so that both forms say the same.
 */
#include "tools/load_report.h"

#include <inttypes.h>
#include <stdio.h>

struct figures {
    double connect_seconds, connects_per_second;
    double seconds; /* measured */
    double sent_per_second, delivered_per_second;
    double broker_us;                /* of processor time, a delivered message */
    double broker_share, load_share; /* of one core */
    double connect_broker_us;        /* of processor time, a connection */
    double connection_bytes;         /* of memory, a connection */
};

static double ratio(double a, double b)
{
    return b > 0 ? a / b : 0;
}

static struct figures derive(const struct load_traffic *t, const struct load_result *r)
{
    const struct load_sample *from = &r->from, *to = &r->to;
    double connections = t->party_count;
    double delivered = (double)(to->counts.delivered - from->counts.delivered);
    double sent = (double)(to->counts.sent - from->counts.sent);
    double us = (double)(to->us - from->us);
    double broker_ns = (double)(to->cpu_ns - from->cpu_ns);

    return (struct figures){
        .connect_seconds = (double)(r->connected.us - r->start.us) / 1e6,
        .connects_per_second = ratio(connections * 1e6, (double)(r->connected.us - r->start.us)),
        .seconds = us / 1e6,
        .sent_per_second = ratio(sent * 1e6, us),
        .delivered_per_second = ratio(delivered * 1e6, us),
        .broker_us = ratio(broker_ns / 1000, delivered),
        .broker_share = ratio(broker_ns / 1000, us),
        .load_share = ratio((double)(to->own_ns - from->own_ns) / 1000, us),
        .connect_broker_us =
            ratio((double)(r->connected.cpu_ns - r->start.cpu_ns) / 1000, connections),
        .connection_bytes = ratio((double)from->memory - (double)r->start.memory, connections),
    };
}

static const char *protocol_name(enum protocol p)
{
    return p == MQTT_5 ? "5" : p == MQTT_31 ? "3.1" : "3.1.1";
}

/* ---- text ---- */

static void print_traffic(const struct load_options *o, const struct load_traffic *t,
                          const struct load_result *r, const struct figures *f)
{
    const struct load_hist *h = &t->latency;

    if (r->to.us == 0 || o->scenario->is_hold)
        return;
    printf("  delivered  %.0f messages a second, %.0f published; %.2f s\n", f->delivered_per_second,
           f->sent_per_second, f->seconds);
    printf("  latency    us: mean %.0f, 50 %% %" PRIu64 ", 90 %% %" PRIu64 ", 99 %% %" PRIu64
           ", 99.9 %% %" PRIu64 ", longest %" PRIu64 "\n",
           load_hist_mean(h), load_hist_at(h, 0.5), load_hist_at(h, 0.9), load_hist_at(h, 0.99),
           load_hist_at(h, 0.999), h->max);
    if (o->procs.count > 0)
        printf("  broker     %.3f us of processor time a delivered message, %.0f %% of one core\n",
               f->broker_us, f->broker_share * 100);
    printf("  this tool  %.0f %% of one core\n", f->load_share * 100);
}

static void print_connections(const struct load_options *o, const struct load_traffic *t,
                              const struct load_result *r, const struct figures *f)
{
    if (r->connected.us == 0)
        return;
    printf("  connected  %" PRIu32 " in %.2f s, %.0f a second\n", t->party_count,
           f->connect_seconds, f->connects_per_second);
    if (o->procs.count == 0)
        return;
    printf("  broker     %.1f us of processor time a connection", f->connect_broker_us);
    if (r->from.us != 0)
        printf("; memory %.1f MB before, %.1f MB after: %.0f bytes a connection",
               (double)r->start.memory / 1e6, (double)r->from.memory / 1e6, f->connection_bytes);
    printf("\n");
    if (o->scenario->is_hold && r->to.us != 0)
        printf("  idle       %.2f %% of one core for %.1f s\n", f->broker_share * 100, f->seconds);
}

static void print_counts(const struct load_result *r)
{
    const struct load_counts *c = &r->counts;

    printf("  sent       %" PRIu64 ": delivered %" PRIu64 ", lost %" PRIu64 ", doubled %" PRIu64
           ", out of order %" PRIu64 ", strange %" PRIu64 ", refused %" PRIu64 "\n",
           c->sent, c->delivered, c->lost, c->doubled, c->late, c->strange, c->refused);
    if (r->failure)
        printf("  FAILED     %s%s%s\n", r->failure, r->failure_detail ? ": " : "",
               r->failure_detail ? r->failure_detail : "");
    else if (!load_run_is_clean(r))
        printf("  FAILED     not all messages arrived once and in order\n");
}

static void print_text(const struct load_options *o, const struct load_traffic *t,
                       const struct load_result *r, const struct figures *f)
{
    printf("%s, QoS %d, MQTT %s: %" PRIu32 " publishers, %" PRIu32 " subscribers, %" PRIu32
           " bytes",
           o->scenario->name, o->qos, protocol_name(o->protocol), t->publisher_count,
           t->subscriber_count, o->payload_bytes);
    if (o->rate)
        printf(", %" PRIu32 " messages a second", o->rate);
    printf(", window %" PRIu32 "\n", r->window);
    print_connections(o, t, r, f);
    print_traffic(o, t, r, f);
    print_counts(r);
}

/* ---- JSON ---- */

static void print_json(const struct load_options *o, const struct load_traffic *t,
                       const struct load_result *r, const struct figures *f)
{
    const struct load_counts *c = &r->counts;
    const struct load_hist *h = &t->latency;

    printf("{\"scenario\":\"%s\",\"qos\":%d,\"protocol\":\"%s\",\"clients\":%" PRIu32
           ",\"connections\":%" PRIu32 ",\"payload_bytes\":%" PRIu32 ",\"window\":%" PRIu32
           ",\"rate\":%" PRIu32 ",",
           o->scenario->name, o->qos, protocol_name(o->protocol), o->clients, t->party_count,
           o->payload_bytes, r->window, o->rate);
    printf("\"is_clean\":%s,\"failure\":\"%s\",\"failure_detail\":\"%s\",",
           load_run_is_clean(r) ? "true" : "false", r->failure ? r->failure : "",
           r->failure_detail ? r->failure_detail : "");
    printf("\"sent\":%" PRIu64 ",\"delivered\":%" PRIu64 ",\"lost\":%" PRIu64
           ",\"doubled\":%" PRIu64 ",\"late\":%" PRIu64 ",\"strange\":%" PRIu64
           ",\"refused\":%" PRIu64 ",",
           c->sent, c->delivered, c->lost, c->doubled, c->late, c->strange, c->refused);
    printf("\"seconds\":%.3f,\"sent_per_second\":%.1f,\"delivered_per_second\":%.1f,"
           "\"latency_us\":{\"mean\":%.1f,\"p50\":%" PRIu64 ",\"p90\":%" PRIu64 ",\"p99\":%" PRIu64
           ",\"p999\":%" PRIu64 ",\"max\":%" PRIu64 "},",
           f->seconds, f->sent_per_second, f->delivered_per_second, load_hist_mean(h),
           load_hist_at(h, 0.5), load_hist_at(h, 0.9), load_hist_at(h, 0.99),
           load_hist_at(h, 0.999), h->max);
    printf("\"load_cores\":%.4f,\"connects_per_second\":%.1f", f->load_share,
           f->connects_per_second);
    if (o->procs.count > 0)
        printf(",\"broker\":{\"cpu_us_per_delivered\":%.4f,\"cores\":%.5f,"
               "\"cpu_us_per_connection\":%.2f,\"memory_before\":%" PRIu64
               ",\"memory_connected\":%" PRIu64 ",\"bytes_per_connection\":%.1f}",
               f->broker_us, f->broker_share, f->connect_broker_us, r->start.memory, r->from.memory,
               f->connection_bytes);
    printf("}\n");
}

void load_report(const struct load_options *o, const struct load_traffic *t,
                 const struct load_result *r)
{
    struct figures f = derive(t, r);

    if (o->is_json)
        print_json(o, t, r, &f);
    else
        print_text(o, t, r, &f);
}
