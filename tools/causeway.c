/* tools/causeway.c -- the broker's command line.
 *
 * Everything that can be wrong is said before anything listens: mistakes of the command line and
 * all mistakes of the configuration on standard error, exit status 1.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cfg/cfg.h"
#include "cfg/describe.h"
#include "cfg/errors.h"
#include "cfg/help.h"
#include "cfg/parse.h"
#include "link/link_worker.h"
#include "net/server.h"

#ifndef CAUSEWAY_VERSION
#define CAUSEWAY_VERSION "unknown"
#endif

struct command_line {
    const char *file;
    uint16_t port; /* 0: not given */
    bool check_only, help, version, help_config, man, sample_config;
};

enum long_option { OPT_HELP_CONFIG = 256, OPT_MAN, OPT_SAMPLE_CONFIG };

static const struct option long_options[] = {
    {"config", required_argument, NULL, 'c'},
    {"config-file", required_argument, NULL, 'c'},
    {"test-config", no_argument, NULL, 't'},
    {"port", required_argument, NULL, 'p'},
    {"version", no_argument, NULL, 'V'},
    {"help", no_argument, NULL, 'h'},
    {"help-config", no_argument, NULL, OPT_HELP_CONFIG},
    {"man", no_argument, NULL, OPT_MAN},
    {"sample-config", no_argument, NULL, OPT_SAMPLE_CONFIG},
    {NULL, 0, NULL, 0},
};

static void print_help(FILE *to)
{
    fputs("causeway " CAUSEWAY_VERSION ", an MQTT broker with links between clusters\n"
          "\n"
          "Usage: causeway [-c FILE] [-p PORT] [-t]\n"
          "\n"
          "  -c FILE          read the configuration from FILE\n"
          "  -p PORT          listen on 127.0.0.1:PORT; without FILE, instead of port 1883\n"
          "  -t               check the configuration, say what it opens, and exit\n"
          "  -V, --version    print the version and exit\n"
          "  -h, --help       print this and exit\n"
          "  --help-config    explain every key of the configuration file and exit\n"
          "      --man        ... as a man page\n"
          "  --sample-config  print a configuration file with every key and its default, and exit\n"
          "\n"
          "Without a file the broker listens on 127.0.0.1:1883 and takes anonymous clients.\n"
          "It stays in the foreground. Signals: TERM and INT stop it, USR1 reopens its log files; "
          "HUP reads\n"
          "certificates, keys, users, rules and links anew.\n",
          to);
}

static bool parse_port(const char *text, uint16_t *port)
{
    char *end;
    unsigned long value;

    errno = 0;
    value = strtoul(text, &end, 10);
    if (errno != 0 || end == text || *end || text[0] == '-' || value < 1 || value > 65535)
        return false;
    *port = (uint16_t)value;
    return true;
}

/* False after saying what is wrong. */
static bool parse_options(int argc, char **argv, struct command_line *line)
{
    int opt;

    while ((opt = getopt_long(argc, argv, "c:p:tVh", long_options, NULL)) != -1) {
        switch (opt) {
        case 'c':
            line->file = optarg;
            break;
        case 'p':
            if (!parse_port(optarg, &line->port)) {
                fprintf(stderr, "causeway: -p %s: a port is a number from 1 to 65535\n", optarg);
                return false;
            }
            break;
        case 't':
            line->check_only = true;
            break;
        case 'V':
            line->version = true;
            break;
        case 'h':
            line->help = true;
            break;
        case OPT_HELP_CONFIG:
            line->help_config = true;
            break;
        case OPT_MAN:
            line->man = true;
            break;
        case OPT_SAMPLE_CONFIG:
            line->sample_config = true;
            break;
        default:
            fputs("Try causeway --help\n", stderr);
            return false;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "causeway: %s: unexpected; a configuration file is given with -c\n",
                argv[optind]);
        return false;
    }
    return true;
}

static void print_errors(const struct cfg_errors *errs)
{
    for (uint32_t i = 0; i < errs->count; i++)
        fprintf(stderr, "%s\n", errs->items[i].text);
    if (errs->dropped)
        fprintf(stderr, "and %u more\n", errs->dropped);
}

/* The configuration, or NULL after printing why there is none. */
static struct cfg *load(const struct command_line *line)
{
    struct cfg_errors errs;
    struct cfg *cfg = NULL;
    enum err err;

    cfg_errors_init(&errs);
    err = line->file ? cfg_load(line->file, &cfg, &errs) : cfg_default(&cfg);
    print_errors(&errs);
    if (err == ERR_MEMORY)
        fputs("causeway: no memory for the configuration\n", stderr);
    else if (err != OK && errs.count == 0)
        fprintf(stderr, "causeway: %s cannot be used\n", line->file ? line->file : "defaults");
    cfg_errors_fini(&errs);
    if (err != OK)
        return NULL;
    if (line->port == 0)
        return cfg;
    err = cfg_apply_port(cfg, line->port);
    if (err == OK)
        return cfg;
    fprintf(stderr, "causeway: -p %u: %s\n", line->port,
            err == ERR_FULL   ? "the configuration has as many listeners as there may be"
            : err == ERR_PEER ? "a listener for links only has this port in the configuration"
                              : "no memory");
    cfg_free(cfg);
    return NULL;
}

static int flush_output(void)
{
    return fflush(stdout) == 0 && !ferror(stdout) ? 0 : 1;
}

/* What only prints something; -1: none of that. */
static int print_and_leave(const struct command_line *line)
{
    if (line->help) {
        print_help(stdout);
        return flush_output();
    }
    if (line->version) {
        puts("causeway " CAUSEWAY_VERSION);
        return flush_output();
    }
    if (line->help_config) {
        if (line->man)
            cfg_print_man(stdout);
        else
            cfg_print_help(stdout);
        return flush_output();
    }
    if (line->sample_config) {
        cfg_print_sample(stdout);
        return flush_output();
    }
    return -1;
}

int main(int argc, char **argv)
{
    struct command_line line = {0};
    struct server_options options = {.version = CAUSEWAY_VERSION, .link_ops = &link_worker_ops};
    struct cfg *cfg;
    int status;

    if (!parse_options(argc, argv, &line))
        return 1;
    status = print_and_leave(&line);
    if (status >= 0)
        return status;
    cfg = load(&line);
    if (!cfg)
        return 1;
    if (line.check_only) {
        cfg_describe(cfg, stdout);
        status = flush_output();
        if (server_check(cfg) != OK)
            status = 1;
    } else {
        options.cfg = cfg;
        options.file = line.file;
        options.port = line.port;
        status = server_run(&options);
    }
    cfg_free(cfg);
    return status;
}
