/* tools/load_report.c -- what a run found, for people and for programs. */
#include "tools/load_report.h"

#include <inttypes.h>
#include <string.h>

/* ---- text ---- */

static void print_done(FILE *to, const struct load_figures *f)
{
    if (!f->is_measured || f->scenario->kind == LOAD_SILENCE)
        return;
    if (f->scenario->kind == LOAD_MESSAGES && !f->scenario->has_no_subscriber)
        fprintf(to, "  delivered  %.0f %s a second, %.0f published; %.2f s\n", f->done_per_second,
                f->scenario->unit, f->sent_per_second, f->seconds);
    else
        fprintf(to, "  done       %.0f %s a second; %.2f s\n", f->done_per_second,
                f->scenario->unit, f->seconds);
    fprintf(to,
            "  latency    us: mean %.0f, 50 %% %" PRIu64 ", 90 %% %" PRIu64 ", 99 %% %" PRIu64
            ", 99.9 %% %" PRIu64 ", longest %" PRIu64 "\n",
            f->mean, f->p50, f->p90, f->p99, f->p999, f->max);
    if (f->has_broker)
        fprintf(to, "  broker     %.3f us of processor time for each, %.0f %% of one core\n",
                f->broker_us, f->broker_share * 100);
    fprintf(to, "  this tool  %.0f %% of one core\n", f->load_share * 100);
}

static void print_connections(FILE *to, const struct load_figures *f)
{
    if (!f->is_connected)
        return;
    fprintf(to, "  connected  %" PRIu32 " in %.2f s, %.0f a second\n", f->connections,
            f->connect_seconds, f->connects_per_second);
    if (!f->has_broker)
        return;
    fprintf(to, "  broker     %.1f us of processor time a connection", f->connect_broker_us);
    if (f->memory_connected != 0)
        fprintf(to, "; memory %.1f MB before, %.1f MB after", (double)f->memory_before / 1e6,
                (double)f->memory_connected / 1e6);
    if (f->memory_connected != 0 && f->connections >= LOAD_MANY_CONNECTIONS)
        fprintf(to, ": %.0f bytes a connection", f->connection_bytes);
    fprintf(to, "\n");
    if (f->scenario->kind == LOAD_SILENCE && f->is_measured)
        fprintf(to, "  idle       %.2f %% of one core for %.1f s\n", f->broker_share * 100,
                f->seconds);
    if (f->scenario->kind == LOAD_SUBSCRIBE && f->is_measured)
        fprintf(to, "  memory     %.0f bytes for each subscription\n",
                load_ratio((double)f->memory_after - (double)f->memory_connected,
                           (double)f->counts.finished));
}

static void print_counts(FILE *to, const struct load_figures *f)
{
    const struct load_counts *c = &f->counts;

    fprintf(to,
            "  sent       %" PRIu64 ": delivered %" PRIu64 ", lost %" PRIu64 ", doubled %" PRIu64
            ", out of order %" PRIu64 ", strange %" PRIu64 ", refused %" PRIu64 "\n",
            c->sent, c->delivered, c->lost, c->doubled, c->late, c->strange, c->refused);
    if (c->overdue > 0)
        fprintf(to,
                "  overdue    %" PRIu64 " could not be begun when they were due: too fast a rate\n",
                c->overdue);
    if (f->failure)
        fprintf(to, "  FAILED     %s%s%s\n", f->failure, f->failure_detail ? ": " : "",
                f->failure_detail ? f->failure_detail : "");
    else if (!f->is_clean)
        fprintf(to, "  FAILED     not all messages arrived once and in order\n");
}

static void print_text(FILE *to, const struct load_figures *f)
{
    fprintf(to,
            "%s, QoS %d, MQTT %s, %s: %" PRIu32 " publishers, %" PRIu32 " subscribers, %s bytes",
            f->scenario->name, f->qos, f->protocol, f->transport, f->publishers, f->subscribers,
            f->size);
    if (f->topics)
        fprintf(to, ", %" PRIu32 " topics", f->topics);
    if (f->rate)
        fprintf(to, ", %" PRIu32 " %s a second", f->rate, f->scenario->unit);
    fprintf(to, ", window %" PRIu32 "\n", f->window);
    print_connections(to, f);
    print_done(to, f);
    print_counts(to, f);
}

/* ---- JSON ---- */

void load_json_text(FILE *to, const char *text)
{
    putc('"', to);
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            fprintf(to, "\\%c", *text);
        else if ((unsigned char)*text < ' ')
            fprintf(to, "\\u%04x", (unsigned)*text);
        else
            putc(*text, to);
    }
    putc('"', to);
}

static void json_counts(FILE *to, const struct load_counts *c)
{
    fprintf(to,
            "\"sent\":%" PRIu64 ",\"delivered\":%" PRIu64 ",\"lost\":%" PRIu64
            ",\"doubled\":%" PRIu64 ",\"late\":%" PRIu64 ",\"strange\":%" PRIu64
            ",\"refused\":%" PRIu64 ",\"finished\":%" PRIu64 ",\"overdue\":%" PRIu64 ",",
            c->sent, c->delivered, c->lost, c->doubled, c->late, c->strange, c->refused,
            c->finished, c->overdue);
}

static void json_what(FILE *to, const struct load_figures *f)
{
    fprintf(to,
            "\"scenario\":\"%s\",\"unit\":\"%s\",\"qos\":%d,\"protocol\":\"%s\",\"transport\":\"%"
            "s\",\"clients\":%" PRIu32 ",\"connections\":%" PRIu32 ",\"topics\":%" PRIu32
            ",\"window\":%" PRIu32 ",\"rate\":%" PRIu32 ",\"payload_bytes\":",
            f->scenario->name, f->scenario->unit, f->qos, f->protocol, f->transport, f->clients,
            f->connections, f->topics, f->window, f->rate);
    if (f->size[strspn(f->size, "0123456789")] == '\0')
        fputs(f->size, to);
    else
        load_json_text(to, f->size);
    fprintf(to, ",\"is_clean\":%s,\"failure\":", f->is_clean ? "true" : "false");
    load_json_text(to, f->failure ? f->failure : "");
    fprintf(to, ",\"failure_detail\":");
    load_json_text(to, f->failure_detail ? f->failure_detail : "");
    fprintf(to, ",");
}

void load_report_json(FILE *to, const struct load_figures *f)
{
    fprintf(to, "{");
    json_what(to, f);
    json_counts(to, &f->counts);
    fprintf(to,
            "\"seconds\":%.3f,\"sent_per_second\":%.1f,\"delivered_per_second\":%.1f,"
            "\"latency_us\":{\"mean\":%.1f,\"p50\":%" PRIu64 ",\"p90\":%" PRIu64 ",\"p99\":%" PRIu64
            ",\"p999\":%" PRIu64 ",\"max\":%" PRIu64 "},",
            f->seconds, f->sent_per_second, f->done_per_second, f->mean, f->p50, f->p90, f->p99,
            f->p999, f->max);
    fprintf(to, "\"load_cores\":%.4f,\"connects_per_second\":%.1f", f->load_share,
            f->connects_per_second);
    if (f->has_broker)
        fprintf(to,
                ",\"broker\":{\"cpu_us_per_delivered\":%.4f,\"cores\":%.5f,"
                "\"cpu_us_per_connection\":%.2f,\"memory_before\":%" PRIu64
                ",\"memory_connected\":%" PRIu64 ",\"memory_after\":%" PRIu64
                ",\"bytes_per_connection\":%.1f}",
                f->broker_us, f->broker_share, f->connect_broker_us, f->memory_before,
                f->memory_connected, f->memory_after, f->connection_bytes);
    fprintf(to, "}");
}

/* ---- CSV ---- */

void load_csv_text(FILE *to, const char *text)
{
    putc('"', to);
    for (; *text; text++) {
        if (*text == '"')
            putc('"', to);
        putc(*text, to);
    }
    putc('"', to);
}

void load_report_csv_names(FILE *to)
{
    fputs("scenario,unit,qos,protocol,transport,clients,connections,topics,payload_bytes,window,"
          "rate,is_clean,"
          "failure,sent,delivered,lost,doubled,late,strange,refused,finished,overdue,seconds,"
          "sent_per_second,delivered_per_second,mean_us,p50_us,p90_us,p99_us,p999_us,max_us,"
          "load_cores,connects_per_second,cpu_us_per_delivered,cores,cpu_us_per_connection,"
          "bytes_per_connection",
          to);
}

void load_report_csv(FILE *to, const struct load_figures *f)
{
    const struct load_counts *c = &f->counts;

    fprintf(to, "%s,%s,%d,%s,%s,%" PRIu32 ",%" PRIu32 ",%" PRIu32 ",", f->scenario->name,
            f->scenario->unit, f->qos, f->protocol, f->transport, f->clients, f->connections,
            f->topics);
    load_csv_text(to, f->size);
    fprintf(to, ",%" PRIu32 ",%" PRIu32 ",%d,", f->window, f->rate, f->is_clean);
    load_csv_text(to, f->failure ? f->failure : "");
    fprintf(to,
            ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64
            ",%" PRIu64 ",%" PRIu64 ",",
            c->sent, c->delivered, c->lost, c->doubled, c->late, c->strange, c->refused,
            c->finished, c->overdue);
    fprintf(to,
            "%.3f,%.1f,%.1f,%.1f,%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64
            ",%.4f,%.1f,",
            f->seconds, f->sent_per_second, f->done_per_second, f->mean, f->p50, f->p90, f->p99,
            f->p999, f->max, f->load_share, f->connects_per_second);
    if (f->has_broker)
        fprintf(to, "%.4f,%.5f,%.2f,%.1f", f->broker_us, f->broker_share, f->connect_broker_us,
                f->connection_bytes);
    else
        fputs(",,,", to);
}

void load_report(FILE *to, const struct load_figures *f, enum load_form form)
{
    switch (form) {
    case LOAD_FORM_TEXT:
        print_text(to, f);
        return;
    case LOAD_FORM_JSON:
        load_report_json(to, f);
        break;
    case LOAD_FORM_CSV:
        load_report_csv_names(to);
        putc('\n', to);
        load_report_csv(to, f);
        break;
    }
    putc('\n', to);
}
