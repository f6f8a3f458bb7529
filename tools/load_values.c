/* tools/load_values.c -- what stands behind an option: numbers, times, places, lists. */
#include "tools/load_values.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool load_complain(const char *format, ...)
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

bool load_read_number(const char *name, const char *text, uint64_t min, uint64_t max,
                      uint64_t *value)
{
    char *end;

    errno = 0;
    *value = strtoull(text, &end, 10);
    if (errno || end == text || *end || text[0] == '-' || *value < min || *value > max)
        return load_complain("%s: '%s' is no number from %" PRIu64 " to %" PRIu64, name, text, min,
                             max);
    return true;
}

bool load_read_u32(const char *name, const char *text, uint32_t min, uint32_t max, uint32_t *value)
{
    uint64_t v = 0;
    bool ok = load_read_number(name, text, min, max, &v);

    *value = (uint32_t)v;
    return ok;
}

bool load_read_port(const char *name, const char *text, const char **port)
{
    uint64_t number;

    *port = text;
    return load_read_number(name, text, 1, 65535, &number);
}

bool load_read_seconds(const char *name, const char *text, double min, uint64_t *us)
{
    char *end;
    double v;

    errno = 0;
    v = strtod(text, &end);
    if (errno || end == text || *end || !(v >= min && v <= LOAD_SECONDS_MAX))
        return load_complain("%s: '%s' is no time from %g to %u seconds", name, text, min,
                             LOAD_SECONDS_MAX);
    *us = (uint64_t)(v * 1e6);
    return true;
}

bool load_read_version(const char *text, enum protocol *protocol)
{
    const char *digits = strncmp(text, "mqttv", 5) == 0 ? text + 5 : text;

    if (strcmp(digits, "31") == 0)
        *protocol = MQTT_31;
    else if (strcmp(digits, "311") == 0)
        *protocol = MQTT_311;
    else if (strcmp(digits, "5") == 0)
        *protocol = MQTT_5;
    else
        return load_complain("-V: '%s' is none of mqttv31, mqttv311, mqttv5", text);
    return true;
}

bool load_read_pids(const char *text, struct load_procs *procs)
{
    procs->count = 0;
    while (*text) {
        char *end;
        long pid = strtol(text, &end, 10);

        if (end == text || (*end && *end != ',') || pid < 1 || pid > INT_MAX)
            return load_complain("--pid: '%s' is no list of process ids", text);
        if (procs->count == LOAD_PIDS_MAX)
            return load_complain("--pid: at most %u processes", LOAD_PIDS_MAX);
        procs->pids[procs->count++] = (pid_t)pid;
        text = *end ? end + 1 : end;
    }
    return true;
}

bool load_read_prefix(const char *text, struct load_options *o)
{
    if (!*text || strlen(text) > LOAD_PREFIX_MAX || strpbrk(text, "+#"))
        return load_complain("-t: '%s' is no topic of 1 to %u bytes", text, LOAD_PREFIX_MAX);
    o->topic_prefix = text;
    return true;
}

bool load_read_place(const char *text, struct load_options *o)
{
    const char *colon = strrchr(text, ':');
    size_t n = colon ? (size_t)(colon - text) : 0;

    if (n > 1 && text[0] == '[' && text[n - 1] == ']') {
        text++;
        n -= 2;
    }
    if (n == 0 || n >= sizeof(o->far_host))
        return load_complain("--subscribe-at: '%s' is no HOST:PORT", text);
    memcpy(o->far_host, text, n);
    o->far_host[n] = '\0';
    return load_read_port("--subscribe-at", colon + 1, &o->far_port);
}

/* ---- processors ---- */

bool load_read_cpus(const char *text, uint64_t *cpus)
{
    *cpus = 0;
    for (;;) {
        char *end;
        unsigned long from = strtoul(text, &end, 10), to = from;

        if (end == text || text[0] == '-')
            return false;
        if (*end == '-') {
            text = end + 1;
            to = strtoul(text, &end, 10);
            if (end == text)
                return false;
        }
        if (to < from || to >= LOAD_CPUS_MAX)
            return false;
        for (unsigned long i = from; i <= to; i++)
            *cpus |= 1ull << i;
        if (*end == '\0')
            return true;
        if (*end != ',')
            return false;
        text = end + 1;
    }
}

bool load_read_pin(const char *text, struct load_pin *pin)
{
    const char *colon = strchr(text, ':');
    char brokers[64];

    *pin = (struct load_pin){0};
    if (strcmp(text, "no") == 0)
        return true;
    pin->is_wanted = true;
    if (strcmp(text, "auto") == 0)
        return true;
    if (colon && (size_t)(colon - text) < sizeof(brokers)) {
        memcpy(brokers, text, (size_t)(colon - text));
        brokers[colon - text] = '\0';
        if (load_read_cpus(brokers, &pin->broker) && load_read_cpus(colon + 1, &pin->load))
            return true;
    }
    return load_complain("--pin: '%s' is none of no, auto, BROKERS:OURS (as 0-2:3)", text);
}

/* ---- words ---- */

uint32_t load_split_words(char *text, char **words, uint32_t max)
{
    uint32_t count = 0;
    char *to = text;

    while (count < max) {
        bool is_quoted = false;

        text += strspn(text, " \t");
        if (*text == '\0')
            break;
        words[count++] = to;
        for (; *text && (is_quoted || !strchr(" \t", *text)); text++) {
            if (*text == '"')
                is_quoted = !is_quoted;
            else
                *to++ = *text;
        }
        text += *text != '\0';
        *to++ = '\0';
    }
    words[count] = NULL;
    return count;
}
