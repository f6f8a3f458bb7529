/* tools/load_help.c -- what causeway-load --help says. */
#include "tools/load_help.h"

#include <inttypes.h>
#include <stdio.h>

#include "tools/load_scenario.h"

static const char help_head[] =
    "causeway-load -- loads an MQTT broker, counts what arrives and measures what it costs\n"
    "\n"
    "Usage: causeway-load [OPTION]... SCENARIO\n"
    "       causeway-load [OPTION]... --compare FILE\n"
    "       causeway-load [OPTION]... --broker NAME=COMMAND@PORT... [--run 'OPTION... "
    "SCENARIO']...\n"
    "\n"
    "Scenarios, with the names that emqtt-bench and the open MQTT benchmark suite have for them,\n"
    "and N:\n"
    "\n";

static const char help_options[] =
    "\n"
    "  -h HOST            the broker's host (127.0.0.1)\n"
    "  -p PORT            and port (1883; 8883 with TLS; 80 and 443 with WebSocket)\n"
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
    "  --ws               within WebSocket, and with --tls within both\n"
    "  --ws-path PATH     the same, at another path than /mqtt\n"
    "  --bare             no MQTT, but the frames of bench/floor: a floor for all brokers\n"
    "\n"
    "  -n N               clients on the wide side of the scenario\n"
    "  --topics N         topics of each client (subscribe) or of all (retained) (1000)\n"
    "  --size SIZES       payload: bytes, FROM-TO, or several with their shares, as\n"
    "                     64,1024:0.1,4000-8000:0.01 (64)\n"
    "  --window N         messages a publisher has on their way at most: not yet with all\n"
    "                     subscribers, or with QoS 1 and 2 not yet acknowledged (100); of\n"
    "                     subscribe, requests of a client that are not answered\n"
    "  --rate N           messages, connections or subscriptions a second, of all clients\n"
    "                     together; latency then counts from when one was due (0: as fast as\n"
    "                     the window lets)\n"
    "  -C COUNT           stop after so many\n"
    "  --seconds S        time that is measured (5); fractions are fine\n"
    "  --warm-up S        time before that (0.5, with -C 0)\n"
    "  --settle S         pause after connecting, for routes to cross (0.2; hold: 1)\n"
    "  --stall S          give up when nothing moves for so long (5)\n"
    "  --ramp N           connections that are being made at the same time (100)\n"
    "\n"
    "  --pid PID[,PID]    the broker's processes, on this machine: measure what they use\n"
    "  --json, --csv      print one JSON object; print CSV, with a line of names\n"
    "  --html FILE        write a report with plots, too\n"
    "  --progress         tell how it goes on stderr, even if that is no terminal\n"
    "  --help, --version\n"
    "\n"
    "Comparing: each broker is started, measured and ended for every run, all in turn, in rounds.\n"
    "\n"
    "  --broker NAME=COMMAND@PORT   a broker that stays in the foreground; the first is what the\n"
    "                     others are compared with. May be repeated\n"
    "  --floor NAME=COMMAND@PORT    the same, of a program that speaks --bare, as bench/floor\n"
    "  --run 'OPTION... SCENARIO'   may be repeated; the options of the command line hold for "
    "all.\n"
    "                     Without: a set of its own\n"
    "  --compare FILE     the same as lines: `broker NAME PORT COMMAND...`, `floor ...` and\n"
    "                     `run \"LABEL\" OPTION... SCENARIO`; # begins a comment\n"
    "  --rounds N         how often everything is measured (3); medians are told\n"
    "  --pin WHAT         processors of brokers and load: no, auto (apart from three on), or\n"
    "                     BROKERS:OURS as 0-2:3 (auto)\n"
    "\n"
    "Exit status: 0 all arrived once and in order; 1 not all did, or a connection was lost or\n"
    "refused; 2 mistakes on the command line.\n";

void load_help_print(void)
{
    fputs(help_head, stdout);
    for (const struct load_scenario *s = load_scenarios; s->name; s++) {
        printf("  %-18s %s (%" PRIu32 ")\n", s->name, s->what, s->clients_default);
        if (s->aliases[0])
            printf("  %-18s also: %s\n", "", s->aliases);
    }
    fputs(help_options, stdout);
}
