/* core/broker/sys.c -- the $SYS/broker topics, with mosquitto's names, published by worker 0.
 *
 * Each interval the counters of all workers are added up; a topic whose text has changed is
 * published, retained. Loads are exponentially damped averages per minute over 1, 5 and 15 minutes.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/check.h"
#include "core/broker/state.h"

enum load {
    LOAD_MESSAGES_RECEIVED,
    LOAD_MESSAGES_SENT,
    LOAD_PUBLISH_DROPPED,
    LOAD_PUBLISH_RECEIVED,
    LOAD_PUBLISH_SENT,
    LOAD_BYTES_RECEIVED,
    LOAD_BYTES_SENT,
    LOAD_SOCKETS,
    LOAD_CONNECTIONS,
    LOAD_COUNT
};
static const char *const load_names[LOAD_COUNT] = {
    "messages/received", "messages/sent", "publish/dropped", "publish/received", "publish/sent",
    "bytes/received",    "bytes/sent",    "sockets",         "connections",
};
static const double load_minutes[3] = {1, 5, 15};

#define VALUES_MAX 40u

#define X(name) +1
enum { COUNTERS = 0 STATS_LIST(X) };
#undef X

struct sys {
    uint64_t counted[COUNTERS]; /* as last said */
    uint64_t last_ms;
    uint64_t clients_max, heap_max;
    int64_t days_said; /* of certificate/days_left */
    bool has_said_days;
    uint64_t before[LOAD_COUNT];
    double average[LOAD_COUNT][3];
    uint64_t said[VALUES_MAX]; /* value + 1; 0: never said */
    bool version_said, loads_said;
};

struct sums {
#define X(name) uint64_t name;
    STATS_LIST(X)
#undef X
};

static void add_up(const struct shard *s, struct sums *sum)
{
    memset(sum, 0, sizeof *sum);
    for (uint32_t i = 0; i < s->cluster->worker_count; i++) {
        const struct stats *one = &s->cluster->shards[i]->stats;

#define X(name) sum->name += load_relaxed(&one->name);
        STATS_LIST(X)
#undef X
    }
}

/* Publishes a retained text under $SYS/broker/. */
static void say(struct shard *s, const char *topic, const char *text)
{
    char full[384]; /* the name of a link has up to 254 bytes */
    struct publish p = {.stamp_ms = s->wall_ms, .qos = 2, .retain = true, .protocol = MQTT_311};
    int n = snprintf(full, sizeof full, "$SYS/broker/%s", topic);

    CHECK(n > 0 && (size_t)n < sizeof full);
    p.topic = bytes_of(full, (size_t)n);
    p.payload = bytes_str(text);
    if (publish_message(&p, &s->waiting_bytes))
        route_publish_later(s, p.message, bytes_of("", 0));
    else
        STAT_INC(&s->stats, dropped_memory);
}

void shard_sys_say(struct shard *s, const char *topic, const char *text)
{
    if (s->limits->sys_interval)
        say(s, topic, text);
}

static uint64_t dropped(const struct sums *t)
{
    return t->dropped_qos0_slow + t->dropped_queue_full + t->dropped_queue_bytes +
           t->dropped_expired + t->dropped_too_large + t->dropped_offline_qos0 +
           t->dropped_group_full + t->dropped_memory + t->dropped_session_end +
           t->dropped_mount_point + t->link_messages_dropped;
}

static void say_numbers(struct shard *s, const struct sums *t)
{
    struct sys *y = s->sys;
    uint64_t heap = s->hooks.heap_bytes ? s->hooks.heap_bytes(s->hooks.net) : t->message_bytes_held;
    const struct {
        const char *topic;
        uint64_t value;
    } values[] = {
        {"clients/total", t->sessions},
        {"clients/connected", t->clients_connected},
        {"clients/active", t->clients_connected},
        {"clients/disconnected", t->sessions_offline},
        {"clients/inactive", t->sessions_offline},
        {"clients/maximum", y->clients_max},
        {"clients/expired", t->sessions_expired},
        {"messages/received", t->packets_received},
        {"messages/sent", t->packets_sent},
        {"messages/stored", t->queued_messages + t->retained},
        {"messages/inflight", t->inflight_messages},
        {"store/messages/count", t->queued_messages + t->retained},
        {"store/messages/bytes", t->message_bytes_held},
        {"publish/messages/received", t->publish_received},
        {"publish/messages/sent", t->publish_sent},
        {"publish/messages/dropped", dropped(t)},
        {"publish/bytes/received", t->publish_bytes_received},
        {"publish/bytes/sent", t->publish_bytes_sent},
        {"bytes/received", t->bytes_received},
        {"bytes/sent", t->bytes_sent},
        {"packet/out/bytes", t->output_bytes_queued}, /* packets are not counted while they wait */
        {"retained messages/count", t->retained},
        {"subscriptions/count", t->subscriptions + t->shared_subscriptions},
        {"shared_subscriptions/count", t->shared_subscriptions},
        {"connections/socket/count", t->clients_connected},
        {"heap/current", heap},
        {"heap/maximum", y->heap_max = heap > y->heap_max ? heap : y->heap_max},
    };
    char text[32];

    _Static_assert(sizeof values / sizeof values[0] <= VALUES_MAX, "struct sys has a place each");
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        if (y->said[i] == values[i].value + 1)
            continue;
        y->said[i] = values[i].value + 1;
        snprintf(text, sizeof text, "%" PRIu64, values[i].value);
        say(s, values[i].topic, text);
    }
}

static void say_certificate(struct shard *s)
{
    struct sys *y = s->sys;
    char text[32];
    int64_t days;

    if (!s->hooks.certificate_days || !s->hooks.certificate_days(s->hooks.net, &days) ||
        (y->has_said_days && days == y->days_said))
        return;
    y->has_said_days = true;
    y->days_said = days;
    snprintf(text, sizeof text, "%" PRId64, days);
    say(s, "certificate/days_left", text);
}

/* e^-x for the small x of an interval over minutes; core has no need of the mathematics library
 * elsewhere. Taylor series of e^x, inverted; exact to 1e-9 for x below 4. */
static double exp_minus(double x)
{
    double sum = 1, term = 1;

    for (int i = 1; i < 24; i++) {
        term *= x / i;
        sum += term;
    }
    return 1 / sum;
}

/* Every counter that has counted, by its own name, losses by their cause, under counters/. */
static void say_counters(struct shard *s, const struct sums *t)
{
    static const struct {
        const char *topic;
        size_t at;
    } counters[] = {
#define X(name) {"counters/" #name, offsetof(struct sums, name)},
        STATS_LIST(X)
#undef X
    };
    char text[32];

    _Static_assert(sizeof counters / sizeof counters[0] == COUNTERS, "struct sys has a place each");
    for (size_t i = 0; i < COUNTERS; i++) {
        uint64_t value;

        memcpy(&value, (const char *)t + counters[i].at, sizeof value);
        if (s->sys->counted[i] == value)
            continue;
        s->sys->counted[i] = value;
        snprintf(text, sizeof text, "%" PRIu64, value);
        say(s, counters[i].topic, text);
    }
}

static void say_loads(struct shard *s, const struct sums *t)
{
    const uint64_t now[LOAD_COUNT] = {
        t->packets_received, t->packets_sent,     dropped(t),
        t->publish_received, t->publish_sent,     t->bytes_received,
        t->bytes_sent,       t->sockets_accepted, t->clients_accepted,
    };
    struct sys *y = s->sys;
    double minutes = (double)(s->now_ms - y->last_ms) / 60000;
    char topic[64], text[32];

    if (minutes <= 0)
        return;
    for (int i = 0; i < LOAD_COUNT; i++) {
        double rate = (double)(now[i] - y->before[i]) / minutes;

        for (int k = 0; k < 3; k++) {
            double old = y->average[i][k];
            double keep = exp_minus(minutes < 4 ? minutes / load_minutes[k] : 4);

            y->average[i][k] = rate + (old - rate) * keep;
            if (y->loads_said && y->average[i][k] - old < 0.005 && old - y->average[i][k] < 0.005)
                continue;
            snprintf(topic, sizeof topic, "load/%s/%dmin", load_names[i], (int)load_minutes[k]);
            snprintf(text, sizeof text, "%.2f", y->average[i][k]);
            say(s, topic, text);
        }
        y->before[i] = now[i];
    }
    y->loads_said = true;
    y->last_ms = s->now_ms;
}

static void on_interval(struct timer *timer, void *owner, uint64_t now_ms)
{
    struct shard *s = owner;
    struct sys *y = s->sys;
    struct sums t;
    char text[64];

    add_up(s, &t);
    if (t.clients_connected > y->clients_max)
        y->clients_max = t.clients_connected;
    if (!y->version_said) {
        y->version_said = true;
        snprintf(text, sizeof text, "causeway version %s", s->cluster->config.version);
        say(s, "version", text);
    }
    snprintf(text, sizeof text, "%" PRIu64 " seconds", (now_ms - s->cluster->started_ms) / 1000);
    say(s, "uptime", text);
    say_numbers(s, &t);
    say_counters(s, &t);
    say_certificate(s);
    say_loads(s, &t);
    timer_arm(&s->timers, timer, now_ms + s->limits->sys_interval * 1000ull, on_interval);
}

void sys_start(struct shard *s)
{
    if (!s->limits->sys_interval)
        return;
    s->sys = calloc(1, sizeof *s->sys);
    if (!s->sys)
        return; /* a broker without $SYS is better than none */
    s->sys->last_ms = s->now_ms;
    timer_arm(&s->timers, &s->sys_timer, s->now_ms, on_interval);
}

void sys_stop(struct shard *s)
{
    free(s->sys);
    s->sys = NULL;
}
