/* tools/load_options.c -- what causeway-load was asked to do: the command line. */
#include "tools/load_options.h"

#include <getopt.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>

#include "tools/load_help.h"
#include "tools/load_stamp.h"
#include "tools/load_values.h"

#ifndef CAUSEWAY_VERSION
#define CAUSEWAY_VERSION "unknown"
#endif

#define MEASURE_US 5000000u
#define WARM_UP_US 500000u
/* Between the last connection and the first message: the broker ends what connecting began. */
#define SETTLE_US 200000u
/* The same where memory is about to be measured. */
#define SETTLE_HOLD_US 1000000u

/* Options without a letter. */
enum {
    OPT_HELP = 256,
    OPT_VERSION,
    OPT_ADDRESSES,
    OPT_SUBSCRIBE_AT,
    OPT_SETTLE,
    OPT_SIZE,
    OPT_WINDOW,
    OPT_RATE,
    OPT_SECONDS,
    OPT_WARM_UP,
    OPT_STALL,
    OPT_RAMP,
    OPT_PID,
    OPT_JSON,
    OPT_TLS,
    OPT_CAFILE,
    OPT_CERT,
    OPT_KEY,
    OPT_INSECURE,
    OPT_RESUME,
    OPT_WS,
    OPT_WS_PATH,
    OPT_TOPICS,
    OPT_CSV,
    OPT_HTML,
    OPT_PROGRESS,
    OPT_COMPARE,
    OPT_BROKER,
    OPT_RUN,
    OPT_ROUNDS,
    OPT_PIN,
    OPT_BARE,
    OPT_FLOOR,
};

static const char short_options[] = "h:p:q:V:t:u:P:A:n:C:";
static const struct option long_options[] = {
    {"host", required_argument, NULL, 'h'},
    {"port", required_argument, NULL, 'p'},
    {"qos", required_argument, NULL, 'q'},
    {"protocol-version", required_argument, NULL, 'V'},
    {"topic", required_argument, NULL, 't'},
    {"username", required_argument, NULL, 'u'},
    {"pw", required_argument, NULL, 'P'},
    {"clients", required_argument, NULL, 'n'},
    {"count", required_argument, NULL, 'C'},
    {"addresses", required_argument, NULL, OPT_ADDRESSES},
    {"subscribe-at", required_argument, NULL, OPT_SUBSCRIBE_AT},
    {"settle", required_argument, NULL, OPT_SETTLE},
    {"size", required_argument, NULL, OPT_SIZE},
    {"window", required_argument, NULL, OPT_WINDOW},
    {"rate", required_argument, NULL, OPT_RATE},
    {"seconds", required_argument, NULL, OPT_SECONDS},
    {"warm-up", required_argument, NULL, OPT_WARM_UP},
    {"stall", required_argument, NULL, OPT_STALL},
    {"ramp", required_argument, NULL, OPT_RAMP},
    {"pid", required_argument, NULL, OPT_PID},
    {"json", no_argument, NULL, OPT_JSON},
    {"tls", no_argument, NULL, OPT_TLS},
    {"cafile", required_argument, NULL, OPT_CAFILE},
    {"cert", required_argument, NULL, OPT_CERT},
    {"key", required_argument, NULL, OPT_KEY},
    {"insecure", no_argument, NULL, OPT_INSECURE},
    {"resume", no_argument, NULL, OPT_RESUME},
    {"ws", no_argument, NULL, OPT_WS},
    {"ws-path", required_argument, NULL, OPT_WS_PATH},
    {"topics", required_argument, NULL, OPT_TOPICS},
    {"csv", no_argument, NULL, OPT_CSV},
    {"html", required_argument, NULL, OPT_HTML},
    {"progress", no_argument, NULL, OPT_PROGRESS},
    {"compare", required_argument, NULL, OPT_COMPARE},
    {"broker", required_argument, NULL, OPT_BROKER},
    {"floor", required_argument, NULL, OPT_FLOOR},
    {"run", required_argument, NULL, OPT_RUN},
    {"rounds", required_argument, NULL, OPT_ROUNDS},
    {"pin", required_argument, NULL, OPT_PIN},
    {"bare", no_argument, NULL, OPT_BARE},
    {"help", no_argument, NULL, OPT_HELP},
    {"version", no_argument, NULL, OPT_VERSION},
    {0},
};

/* ---- the command line ---- */

static bool read_tls(struct load_options *o, int option, const char *text)
{
    switch (option) {
    case OPT_TLS:
        break;
    case OPT_CAFILE:
        o->ca_file = text;
        break;
    case OPT_CERT:
        o->certificate_file = text;
        break;
    case OPT_KEY:
        o->key_file = text;
        break;
    case OPT_INSECURE:
        o->is_insecure = true;
        break;
    case OPT_RESUME:
        o->resumes = true;
        break;
    default: /* getopt has said it */
        return false;
    }
    o->has_tls = true;
    return true;
}

/* The rest: what the load looks like on the way, what is said of it, and comparing. */
static bool read_more(struct load_options *o, int option, const char *text)
{
    struct load_compare *c = &o->compare;

    switch (option) {
    case OPT_WS_PATH:
    case OPT_WS:
        o->ws_path = text ? text : "/mqtt";
        return o->ws_path[0] == '/' || load_complain("--ws-path: '%s' does not begin with /", text);
    case OPT_BARE:
        o->is_bare = true;
        return true;
    case OPT_CSV:
        o->form = LOAD_FORM_CSV;
        return true;
    case OPT_HTML:
        o->html_file = text;
        return true;
    case OPT_PROGRESS:
        o->shows_progress = true;
        return true;
    case OPT_COMPARE:
        c->file = text;
        return true;
    case OPT_BROKER:
        if (c->broker_count == LOAD_BROKERS_MAX)
            return load_complain("--broker: at most %u", LOAD_BROKERS_MAX);
        c->brokers[c->broker_count++] = text;
        return true;
    case OPT_FLOOR:
        c->floor = text;
        return true;
    case OPT_RUN:
        if (c->run_count == LOAD_RUNS_MAX)
            return load_complain("--run: at most %u", LOAD_RUNS_MAX);
        c->runs[c->run_count++] = text;
        return true;
    case OPT_ROUNDS:
        return load_read_u32("--rounds", text, 1, LOAD_ROUNDS_MAX, &c->rounds);
    case OPT_PIN:
        return load_read_pin(text, &c->pin);
    default:
        return read_tls(o, option, text);
    }
}

static bool read_time(struct load_options *o, int option, const char *text)
{
    switch (option) {
    case OPT_SECONDS:
        return load_read_seconds("--seconds", text, 0.001, &o->measure_us);
    case OPT_WARM_UP:
        return load_read_seconds("--warm-up", text, 0, &o->warm_up_us);
    case OPT_SETTLE:
        return load_read_seconds("--settle", text, 0, &o->settle_us);
    case OPT_STALL:
        return load_read_seconds("--stall", text, 0.1, &o->stall_us);
    default:
        return read_more(o, option, text);
    }
}

static bool read_sizes(struct load_options *o, const char *text)
{
    o->size = text;
    if (load_sizes_read(&o->sizes, text, LOAD_STAMP_BYTES, LOAD_PAYLOAD_MAX))
        return true;
    return load_complain("--size: '%s' is no SIZE[:SHARE] or FROM-TO[:SHARE] of %u to %u bytes, or "
                         "several separated by commas",
                         text, LOAD_STAMP_BYTES, LOAD_PAYLOAD_MAX);
}

/* How much, how fast, of what. */
static bool read_amount(struct load_options *o, int option, const char *text)
{
    uint32_t qos;

    switch (option) {
    case 'q':
        if (!load_read_u32("-q", text, 0, 2, &qos))
            return false;
        o->qos = (uint8_t)qos;
        return true;
    case 'n':
        return load_read_u32("-n", text, 1, LOAD_CLIENTS_MAX, &o->clients);
    case 'C':
        return load_read_number("-C", text, 1, UINT32_MAX, &o->count);
    case OPT_TOPICS:
        return load_read_u32("--topics", text, 1, LOAD_TOPICS_MAX, &o->topics);
    case OPT_SIZE:
        return read_sizes(o, text);
    case OPT_WINDOW:
        return load_read_u32("--window", text, 1, LOAD_WINDOW_MAX, &o->window);
    case OPT_RATE:
        return load_read_u32("--rate", text, 0, 1000000000, &o->rate);
    case OPT_RAMP:
        return load_read_u32("--ramp", text, 1, 10000, &o->ramp);
    default:
        return read_time(o, option, text);
    }
}

static bool read_option(struct load_options *o, int option, const char *text)
{
    switch (option) {
    case 'h':
        o->host = text;
        return true;
    case 'p':
        return load_read_port("-p", text, &o->port);
    case 'u':
        o->username = text;
        return true;
    case 'P':
        o->password = text;
        return true;
    case 'A':
        o->bind_address = text;
        return true;
    case 't':
        return load_read_prefix(text, o);
    case 'V':
        return load_read_version(text, &o->protocol);
    case OPT_ADDRESSES:
        return load_read_u32("--addresses", text, 1, 65536, &o->bind_count);
    case OPT_SUBSCRIBE_AT:
        return load_read_place(text, o);
    case OPT_PID:
        return load_read_pids(text, &o->procs);
    case OPT_JSON:
        o->form = LOAD_FORM_JSON;
        return true;
    default:
        return read_amount(o, option, text);
    }
}

void load_options_init(struct load_options *o)
{
    *o = (struct load_options){
        .host = "127.0.0.1",
        .bind_count = 1,
        .topic_prefix = "load",
        .window = 100,
        .ramp = 100,
        .warm_up_us = UINT64_MAX,
        .settle_us = UINT64_MAX,
        .stall_us = 5000000,
        .compare = {.rounds = 3, .pin = {.is_wanted = true}},
    };
    (void)read_sizes(o, "64");
}

enum load_asked load_options_add(struct load_options *o, int argc, char **argv)
{
    int option;

    optind = 0; /* getopt begins anew */
    while ((option = getopt_long(argc, argv, short_options, long_options, NULL)) != -1) {
        if (option == OPT_HELP) {
            load_help_print();
            return LOAD_ASKED_DONE;
        }
        if (option == OPT_VERSION) {
            puts("causeway-load " CAUSEWAY_VERSION);
            return LOAD_ASKED_DONE;
        }
        if (!read_option(o, option, optarg))
            return LOAD_ASKED_WRONG;
    }
    for (; optind < argc; optind++) {
        const char *name = argv[optind];
        const struct load_scenario *s = load_scenario_find(name);

        if (!s || o->scenario) {
            load_complain(s ? "one scenario is enough: '%s'; see causeway-load --help"
                            : "there is no scenario '%s'; see causeway-load --help",
                          name);
            return LOAD_ASKED_WRONG;
        }
        o->scenario = s;
    }
    return LOAD_ASKED_RUN;
}

/* What was not said. */
static void fill_in(struct load_options *o)
{
    const struct load_scenario *s = o->scenario;

    if (o->clients == 0)
        o->clients = s->clients_default;
    if (o->topics == 0)
        o->topics = s->topics_default;
    if (s->kind == LOAD_SILENCE)
        o->window = 1;
    if (s->kind == LOAD_SILENCE || s->kind == LOAD_SUBSCRIBE)
        o->warm_up_us = 0;
    if (o->warm_up_us == UINT64_MAX)
        o->warm_up_us = o->count ? 0 : WARM_UP_US;
    if (o->measure_us == 0)
        o->measure_us = MEASURE_US;
    if (o->settle_us == UINT64_MAX)
        o->settle_us = s->kind == LOAD_SILENCE ? SETTLE_HOLD_US : SETTLE_US;
    if (o->protocol == PROTOCOL_UNKNOWN)
        o->protocol = s->is_answered ? MQTT_5 : MQTT_311;
    if (!o->port && o->ws_path)
        o->port = o->has_tls ? "443" : "80";
    if (!o->port)
        o->port = o->has_tls ? "8883" : "1883";
}

bool load_options_can_be_bare(const struct load_options *o)
{
    const struct load_scenario *s = o->scenario;

    return s->kind != LOAD_RETAINED && s->kind != LOAD_ROUTES && !s->is_answered && !o->ws_path &&
           !o->has_tls;
}

bool load_options_finish(struct load_options *o)
{
    const struct load_scenario *s = o->scenario;

    if (!s)
        return load_complain("one scenario is needed; see causeway-load --help");
    if (o->topics && s->topics_default == 0)
        return load_complain("--topics: %s has none", s->name);
    fill_in(o);
    if (s->is_answered && o->protocol != MQTT_5)
        return load_complain("-V: %s needs mqttv5", s->name);
    if (s->is_far && !o->far_port)
        return load_complain("%s needs --subscribe-at", s->name);
    if (o->far_port && (s->is_checked || s->has_no_subscriber))
        return load_complain("--subscribe-at: clients of %s do not only subscribe", s->name);
    if (s->kind == LOAD_SUBSCRIBE && o->count)
        return load_complain("-C: %s ends with the last of its --topics", s->name);
    if (s->kind == LOAD_SILENCE && o->rate)
        return load_complain("--rate: clients of %s are silent", s->name);
    if (o->is_bare && !load_options_can_be_bare(o))
        return load_complain("--bare knows no TLS, no WebSocket, and none of request-response, "
                             "retained and routes");
    if (!o->certificate_file != !o->key_file)
        return load_complain("--cert and --key belong together");
    if (o->bind_count > 1 && !o->bind_address)
        return load_complain("--addresses needs -A, the first of them");
    return true;
}

enum load_asked load_options_read(struct load_options *o, int argc, char **argv)
{
    enum load_asked asked;

    load_options_init(o);
    asked = load_options_add(o, argc, argv);
    if (asked != LOAD_ASKED_RUN)
        return asked;
    if (o->compare.file || o->compare.broker_count > 0)
        return LOAD_ASKED_COMPARE;
    if (o->compare.run_count > 0 || o->compare.floor) {
        load_complain("--run and --floor belong to --compare and --broker");
        return LOAD_ASKED_WRONG;
    }
    return load_options_finish(o) ? LOAD_ASKED_RUN : LOAD_ASKED_WRONG;
}

/* ---- addresses ---- */

static bool resolve(const char *host, const char *port, int flags, struct sockaddr_storage *to,
                    socklen_t *n)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = flags};
    struct addrinfo *found;
    int rc = getaddrinfo(host, port, &hints, &found);

    if (rc != 0)
        return load_complain("%s: %s", host, gai_strerror(rc));
    memcpy(to, found->ai_addr, found->ai_addrlen);
    *n = found->ai_addrlen;
    freeaddrinfo(found);
    return true;
}

bool load_options_resolve(struct load_options *o)
{
    socklen_t n;

    if (!resolve(o->host, o->port, 0, &o->to, &o->to_bytes))
        return false;
    if (o->far_port && !resolve(o->far_host, o->far_port, 0, &o->far_to, &o->far_to_bytes))
        return false;
    if (!o->bind_address)
        return true;
    if (!resolve(o->bind_address, NULL, AI_NUMERICHOST, &o->from, &n))
        return false;
    if (o->from.ss_family != o->to.ss_family)
        return load_complain("-A: %s and %s are of different families", o->bind_address, o->host);
    if (o->bind_count > 1 && o->from.ss_family != AF_INET)
        return load_complain("--addresses: only with IPv4");
    return true;
}

const struct sockaddr *load_options_source(const struct load_options *o, uint32_t idx,
                                           struct sockaddr_storage *a)
{
    struct sockaddr_in in;

    if (!o->bind_address)
        return NULL;
    *a = o->from;
    if (a->ss_family == AF_INET) {
        memcpy(&in, a, sizeof(in));
        in.sin_addr.s_addr = htonl(ntohl(in.sin_addr.s_addr) + idx % o->bind_count);
        memcpy(a, &in, sizeof(in));
    }
    return (const struct sockaddr *)a;
}
