/* tools/load_plan.c -- what a comparison consists of: brokers, and runs against each of them. */
#include "tools/load_plan.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/load_values.h"

#define WORDS_MAX 64u
#define COMPARED_US 1000000u

/* Each row of the table of goals that any broker can do without TLS. */
static const char *const default_runs[] = {
    "\"point to point QoS 0\" -n 10 -q 0 p2p",
    "\"point to point QoS 1\" -n 10 -q 1 p2p",
    "\"point to point QoS 2\" -n 10 -q 2 p2p",
    "\"fan-in QoS 0\" -n 100 -q 0 fan-in",
    "\"fan-in QoS 1\" -n 100 -q 1 fan-in",
    "\"shared subscription QoS 1\" -n 10 -q 1 shared",
    "\"fan-out 1:100 QoS 0\" -n 100 -q 0 fan-out",
    "\"fan-out 1:100 QoS 1\" -n 100 -q 1 fan-out",
    "\"point to point QoS 0, 1 KiB\" -n 10 -q 0 --size 1024 p2p",
    "\"lone QoS 0, 100 pairs, 20k/s\" -n 100 -q 0 --rate 20000 p2p",
    "\"lone QoS 1, 100 pairs, 10k/s\" -n 100 -q 1 --rate 10000 p2p",
    "\"fan-out 1:100 QoS 0, 500/s\" -n 100 -q 0 --rate 500 fan-out",
    "\"connect and disconnect\" -n 50 ramp",
    "\"subscriptions of a storm\" -n 100 --topics 1000 subscribe",
    "\"silent connections\" -n 5000 hold",
};

/* A copy that lives as long as the plan. */
static char *keep(struct load_plan *p, const char *text)
{
    char *copy = strdup(text);

    if (!copy)
        load_complain("no memory");
    else
        p->texts[p->text_count++] = copy;
    return copy;
}

static bool add_peer(struct load_plan *p, struct load_peer peer)
{
    if (p->peer_count == LOAD_BROKERS_MAX)
        return load_complain("at most %u brokers", LOAD_BROKERS_MAX);
    if (!load_read_port(peer.name, peer.port, &peer.port))
        return false;
    for (uint32_t i = 0; i < p->peer_count; i++) {
        if (strcmp(p->peers[i].name, peer.name) == 0)
            return load_complain("there are two brokers '%s'", peer.name);
    }
    p->peers[p->peer_count++] = peer;
    return true;
}

/* NAME=COMMAND@PORT. */
static bool add_peer_text(struct load_plan *p, const char *option, const char *text, bool is_floor)
{
    char *copy = keep(p, text);
    char *command = copy ? strchr(copy, '=') : NULL;
    char *port = copy ? strrchr(copy, '@') : NULL;

    if (!copy)
        return false;
    if (!command || !port || port < command || command == copy || port == command + 1)
        return load_complain("%s: '%s' is no NAME=COMMAND@PORT", option, text);
    *command++ = '\0';
    *port++ = '\0';
    return add_peer(p, (struct load_peer){
                           .name = copy, .command = command, .port = port, .is_floor = is_floor});
}

/* `"LABEL" OPTION... SCENARIO`, or without a label. */
static bool add_run(struct load_plan *p, const struct load_options *base, const char *text,
                    const char *label)
{
    struct load_plan_run *run = &p->runs[p->run_count];
    char *words[WORDS_MAX + 1];
    char *copy;
    uint32_t count;

    if (p->run_count == LOAD_RUNS_MAX)
        return load_complain("at most %u runs", LOAD_RUNS_MAX);
    copy = keep(p, text);
    if (!copy)
        return false;
    /* Without a label the place of the program's name is before the first word. */
    count = load_split_words(copy, words + (label != NULL), WORDS_MAX - 1) + (label != NULL);
    if (label)
        words[0] = (char *)(uintptr_t)label;
    run->label = count > 0 ? words[0] : "";
    run->options = *base;
    run->options.measure_us = base->measure_us ? base->measure_us : COMPARED_US;
    if (count == 0 || load_options_add(&run->options, (int)count, words) != LOAD_ASKED_RUN ||
        !load_options_finish(&run->options))
        return load_complain("in the run '%s'", text);
    p->run_count++;
    return true;
}

/* The next word of *rest, which moves behind it; between double quotes it may have blanks. */
static char *next_word(char **rest)
{
    char *word = *rest + strspn(*rest, " \t");
    bool is_quoted = *word == '"';

    word += is_quoted;
    *rest = word + strcspn(word, is_quoted ? "\"" : " \t");
    if (**rest)
        *(*rest)++ = '\0';
    *rest += strspn(*rest, " \t");
    return word;
}

bool load_plan_line(struct load_plan *p, const struct load_options *base, const char *where,
                    const char *line)
{
    char *rest, *word;
    struct load_peer peer;

    line += strspn(line, " \t");
    if (*line == '\0' || *line == '#')
        return true;
    if (strncmp(line, "run ", 4) == 0)
        return add_run(p, base, line + 4, NULL) || load_complain("%s: see above", where);
    if (p->peer_count == LOAD_BROKERS_MAX)
        return load_complain("%s: at most %u brokers", where, LOAD_BROKERS_MAX);
    rest = keep(p, line);
    if (!rest)
        return false;
    word = next_word(&rest);
    peer.is_floor = strcmp(word, "floor") == 0;
    if (!peer.is_floor && strcmp(word, "broker") != 0)
        return load_complain("%s: '%s' is none of broker, floor, run", where, word);
    peer.name = next_word(&rest);
    peer.port = next_word(&rest);
    peer.command = rest;
    if (!*peer.command)
        return load_complain("%s: %s wants a name, a port and a command", where, word);
    return add_peer(p, peer) || load_complain("%s: see above", where);
}

static bool read_file(struct load_plan *p, const struct load_options *base)
{
    FILE *f = fopen(base->compare.file, "re");
    char *line = NULL, where[300];
    size_t room = 0;
    uint32_t number = 0;
    bool ok = true;

    if (!f)
        return load_complain("%s: %s", base->compare.file, strerror(errno));
    while (ok && getline(&line, &room, f) >= 0) {
        line[strcspn(line, "\r\n")] = '\0';
        snprintf(where, sizeof(where), "%s:%u", base->compare.file, (unsigned)++number);
        ok = load_plan_line(p, base, where, line);
    }
    free(line);
    fclose(f);
    return ok;
}

/* The runs of the command line: those of --run, its scenario, or the default ones. */
static bool add_runs(struct load_plan *p, const struct load_options *base)
{
    const struct load_compare *c = &base->compare;
    bool is_said = c->run_count > 0 || base->scenario;
    bool ok = true;

    for (uint32_t i = 0; ok && i < c->run_count; i++)
        ok = add_run(p, base, c->runs[i], c->runs[i]);
    if (ok && base->scenario)
        ok = add_run(p, base, "", base->scenario->name);
    for (size_t i = 0; ok && !is_said && i < sizeof(default_runs) / sizeof(default_runs[0]); i++)
        ok = add_run(p, base, default_runs[i], NULL);
    return ok;
}

bool load_plan_read(struct load_plan *p, const struct load_options *base)
{
    const struct load_compare *c = &base->compare;
    bool ok = true;

    *p = (struct load_plan){0};
    for (uint32_t i = 0; ok && i < c->broker_count; i++)
        ok = add_peer_text(p, "--broker", c->brokers[i], false);
    if (ok && c->file)
        ok = read_file(p, base);
    if (ok && c->floor)
        ok = add_peer_text(p, "--floor", c->floor, true);
    if (ok && (p->run_count == 0 || c->run_count > 0 || base->scenario))
        ok = add_runs(p, base);
    if (ok && p->peer_count == 0)
        ok = load_complain("there is no broker to measure; see --broker");
    return ok;
}

void load_plan_fini(struct load_plan *p)
{
    for (uint32_t i = 0; i < p->text_count; i++)
        free(p->texts[i]);
    p->text_count = 0;
}

bool load_plan_can(const struct load_peer *peer, const struct load_plan_run *run)
{
    return !peer->is_floor || load_options_can_be_bare(&run->options);
}
