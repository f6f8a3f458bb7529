/* tools/load_options.c -- what causeway-load was asked to do: the command line. */
#include "tools/load_options.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/load_stamp.h"

#ifndef CAUSEWAY_VERSION
#define CAUSEWAY_VERSION "unknown"
#endif

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
    {"help", no_argument, NULL, OPT_HELP},
    {"version", no_argument, NULL, OPT_VERSION},
    {0},
};

static const char help_head[] =
    "causeway-load -- loads an MQTT broker, counts what arrives and measures what it costs\n"
    "\n"
    "Usage: causeway-load [OPTION]... SCENARIO\n"
    "\n";

static const char help_options[] =
    "\n"
    "  -h HOST            the broker's host (127.0.0.1)\n"
    "  -p PORT            and port (1883; 8883 with TLS)\n"
    "  -V VERSION         mqttv31, mqttv311 or mqttv5; 31, 311 or 5 will do (mqttv311)\n"
    "  -q QOS             of messages and subscriptions: 0, 1 or 2 (0)\n"
    "  -u NAME -P WORD    user name and password\n"
    "  -t PREFIX          topics are PREFIX/0, PREFIX/1 ... (load)\n"
    "  -A ADDRESS         where connections come from\n"
    "  --addresses N      and from the N - 1 addresses after it, in turn (1)\n"
    "  --subscribe-at HOST:PORT   where subscribers connect: to a broker that is linked with\n"
    "                     the one of -h and -p\n"
    "\n"
    "  --tls              within TLS; implied by all of these:\n"
    "  --cafile FILE      the broker's certificate must be of one of these CAs (the system's)\n"
    "  --cert FILE        our certificate, in PEM\n"
    "  --key FILE         and its key\n"
    "  --insecure         the broker's certificate is not looked at\n"
    "  --resume           all but the first handshakes resume the session of the first\n"
    "\n"
    "  -n N               clients on the wide side of the scenario\n"
    "  --size BYTES       payload (64)\n"
    "  --window N         messages a publisher has on their way at most: not yet with all\n"
    "                     subscribers, or with QoS 1 and 2 not yet acknowledged (100)\n"
    "  --rate N           messages a second, of all publishers together; latency then counts\n"
    "                     from when a message was due (0: as fast as the window lets)\n"
    "  -C COUNT           stop after so many messages\n"
    "  --seconds S        time that is measured (5); fractions are fine\n"
    "  --warm-up S        time before that (0.5, with -C 0)\n"
    "  --settle S         pause after connecting, for routes to cross (0.2; hold: 1)\n"
    "  --stall S          give up when nothing moves for so long (5)\n"
    "  --ramp N           connections that are being made at the same time (100)\n"
    "\n"
    "  --pid PID[,PID]    the broker's processes, on this machine: measure what they use\n"
    "  --json             print one JSON object\n"
    "  --help, --version\n"
    "\n"
    "Exit status: 0 all arrived once and in order; 1 not all did, or a connection was lost or\n"
    "refused; 2 mistakes on the command line.\n";

static void print_help(void)
{
    fputs(help_head, stdout);
    for (const struct load_scenario *s = load_scenarios; s->name; s++)
        printf("  %-18s %s (%" PRIu32 ")\n", s->name, s->what, s->clients_default);
    fputs(help_options, stdout);
}

static bool complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Always false, to be returned. */
static bool complain(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fputs("causeway-load: ", stderr);
    vfprintf(stderr, format, args);
    fputs("\n", stderr);
    va_end(args);
    return false;
}

/* ---- values ---- */

static bool read_number(const char *name, const char *text, uint64_t min, uint64_t max,
                        uint64_t *value)
{
    char *end;

    errno = 0;
    *value = strtoull(text, &end, 10);
    if (errno || end == text || *end || text[0] == '-' || *value < min || *value > max)
        return complain("%s: '%s' is no number from %" PRIu64 " to %" PRIu64, name, text, min, max);
    return true;
}

static bool read_u32(const char *name, const char *text, uint32_t min, uint32_t max,
                     uint32_t *value)
{
    uint64_t v = 0;
    bool ok = read_number(name, text, min, max, &v);

    *value = (uint32_t)v;
    return ok;
}

static bool read_seconds(const char *name, const char *text, double min, uint64_t *us)
{
    char *end;
    double v;

    errno = 0;
    v = strtod(text, &end);
    if (errno || end == text || *end || !(v >= min && v <= LOAD_SECONDS_MAX))
        return complain("%s: '%s' is no time from %g to %u seconds", name, text, min,
                        LOAD_SECONDS_MAX);
    *us = (uint64_t)(v * 1e6);
    return true;
}

static bool read_version(const char *text, enum protocol *protocol)
{
    const char *digits = strncmp(text, "mqttv", 5) == 0 ? text + 5 : text;

    if (strcmp(digits, "31") == 0)
        *protocol = MQTT_31;
    else if (strcmp(digits, "311") == 0)
        *protocol = MQTT_311;
    else if (strcmp(digits, "5") == 0)
        *protocol = MQTT_5;
    else
        return complain("-V: '%s' is none of mqttv31, mqttv311, mqttv5", text);
    return true;
}

static bool read_pids(const char *text, struct load_procs *procs)
{
    procs->count = 0;
    while (*text) {
        char *end;
        long pid = strtol(text, &end, 10);

        if (end == text || (*end && *end != ',') || pid < 1 || pid > INT_MAX)
            return complain("--pid: '%s' is no list of process ids", text);
        if (procs->count == LOAD_PIDS_MAX)
            return complain("--pid: at most %u processes", LOAD_PIDS_MAX);
        procs->pids[procs->count++] = (pid_t)pid;
        text = *end ? end + 1 : end;
    }
    return true;
}

static bool read_prefix(const char *text, struct load_options *o)
{
    if (!*text || strlen(text) > LOAD_PREFIX_MAX || strpbrk(text, "+#"))
        return complain("-t: '%s' is no topic of 1 to %u bytes", text, LOAD_PREFIX_MAX);
    o->topic_prefix = text;
    return true;
}

/* HOST:PORT; the host of IPv6 is in brackets. */
static bool read_place(const char *text, struct load_options *o)
{
    const char *colon = strrchr(text, ':');
    size_t n = colon ? (size_t)(colon - text) : 0;

    if (n > 1 && text[0] == '[' && text[n - 1] == ']') {
        text++;
        n -= 2;
    }
    if (n == 0 || n >= sizeof(o->far_host) || !colon[1])
        return complain("--subscribe-at: '%s' is no HOST:PORT", text);
    memcpy(o->far_host, text, n);
    o->far_host[n] = '\0';
    o->far_port = colon + 1;
    return true;
}

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

static bool read_time(struct load_options *o, int option, const char *text)
{
    switch (option) {
    case OPT_SECONDS:
        return read_seconds("--seconds", text, 0.001, &o->measure_us);
    case OPT_WARM_UP:
        return read_seconds("--warm-up", text, 0, &o->warm_up_us);
    case OPT_SETTLE:
        return read_seconds("--settle", text, 0, &o->settle_us);
    case OPT_STALL:
        return read_seconds("--stall", text, 0.1, &o->stall_us);
    default:
        return read_tls(o, option, text);
    }
}

static bool read_option(struct load_options *o, int option, const char *text)
{
    uint32_t qos;

    switch (option) {
    case 'h':
        o->host = text;
        return true;
    case 'p':
        o->port = text;
        return true;
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
        return read_prefix(text, o);
    case 'V':
        return read_version(text, &o->protocol);
    case 'q':
        if (!read_u32("-q", text, 0, 2, &qos))
            return false;
        o->qos = (uint8_t)qos;
        return true;
    case 'n':
        return read_u32("-n", text, 1, LOAD_CLIENTS_MAX, &o->clients);
    case 'C':
        return read_number("-C", text, 1, UINT32_MAX, &o->count);
    case OPT_ADDRESSES:
        return read_u32("--addresses", text, 1, 65536, &o->bind_count);
    case OPT_SUBSCRIBE_AT:
        return read_place(text, o);
    case OPT_SIZE:
        return read_u32("--size", text, LOAD_STAMP_BYTES, LOAD_PAYLOAD_MAX, &o->payload_bytes);
    case OPT_WINDOW:
        return read_u32("--window", text, 1, LOAD_WINDOW_MAX, &o->window);
    case OPT_RATE:
        return read_u32("--rate", text, 0, 1000000000, &o->rate);
    case OPT_RAMP:
        return read_u32("--ramp", text, 1, 10000, &o->ramp);
    case OPT_PID:
        return read_pids(text, &o->procs);
    case OPT_JSON:
        o->is_json = true;
        return true;
    default:
        return read_time(o, option, text);
    }
}

static bool read_scenario(struct load_options *o, int argc, char **argv)
{
    if (optind + 1 != argc)
        return complain("one scenario is needed; see causeway-load --help");
    o->scenario = load_scenario_find(argv[optind]);
    if (!o->scenario)
        return complain("there is no scenario '%s'; see causeway-load --help", argv[optind]);
    if (o->clients == 0)
        o->clients = o->scenario->clients_default;
    if (o->scenario->is_hold)
        o->window = 1;
    if (o->warm_up_us == UINT64_MAX)
        o->warm_up_us = o->count ? 0 : WARM_UP_US;
    if (o->settle_us == UINT64_MAX)
        o->settle_us = o->scenario->is_hold ? SETTLE_HOLD_US : SETTLE_US;
    if (o->far_port && o->scenario->is_hold)
        return complain("--subscribe-at: clients of hold publish and subscribe");
    if (!o->port)
        o->port = o->has_tls ? "8883" : "1883";
    if (!o->certificate_file != !o->key_file)
        return complain("--cert and --key belong together");
    if (o->bind_count > 1 && !o->bind_address)
        return complain("--addresses needs -A, the first of them");
    return true;
}

enum load_asked load_options_read(struct load_options *o, int argc, char **argv)
{
    int option;

    *o = (struct load_options){
        .host = "127.0.0.1",
        .bind_count = 1,
        .topic_prefix = "load",
        .protocol = MQTT_311,
        .payload_bytes = 64,
        .window = 100,
        .ramp = 100,
        .warm_up_us = UINT64_MAX,
        .settle_us = UINT64_MAX,
        .measure_us = 5000000,
        .stall_us = 5000000,
    };
    while ((option = getopt_long(argc, argv, short_options, long_options, NULL)) != -1) {
        if (option == OPT_HELP) {
            print_help();
            return LOAD_ASKED_DONE;
        }
        if (option == OPT_VERSION) {
            puts("causeway-load " CAUSEWAY_VERSION);
            return LOAD_ASKED_DONE;
        }
        if (!read_option(o, option, optarg))
            return LOAD_ASKED_WRONG;
    }
    return read_scenario(o, argc, argv) ? LOAD_ASKED_RUN : LOAD_ASKED_WRONG;
}

/* ---- addresses ---- */

static bool resolve(const char *host, const char *port, int flags, struct sockaddr_storage *to,
                    socklen_t *n)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = flags};
    struct addrinfo *found;
    int rc = getaddrinfo(host, port, &hints, &found);

    if (rc != 0)
        return complain("%s: %s", host, gai_strerror(rc));
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
        return complain("-A: %s and %s are of different families", o->bind_address, o->host);
    if (o->bind_count > 1 && o->from.ss_family != AF_INET)
        return complain("--addresses: only with IPv4");
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
