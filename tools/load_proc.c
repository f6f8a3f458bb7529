/* tools/load_proc.c -- what a broker costs, as the kernel counts it: processor time and memory. */
#include "tools/load_proc.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define PATH_BYTES 320

/* Reads a whole small file as text; false if it cannot be. */
static bool read_text(const char *path, char *text, size_t n)
{
    FILE *f = fopen(path, "re");
    size_t got;

    if (!f)
        return false;
    got = fread(text, 1, n - 1, f);
    fclose(f);
    text[got] = '\0';
    return got > 0;
}

/* Adds what a clock of processor time says; false if there is none. */
static bool add_ns(clockid_t clock, uint64_t *ns)
{
    struct timespec t;

    if (clock_gettime(clock, &t) != 0)
        return false;
    *ns += (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
    return true;
}

enum err load_procs_cpu(const struct load_procs *procs, uint64_t *ns)
{
    *ns = 0;
    for (uint32_t i = 0; i < procs->count; i++) {
        clockid_t clock;

        if (clock_getcpuclockid(procs->pids[i], &clock) != 0 || !add_ns(clock, ns))
            return ERR_SYSTEM;
    }
    return OK;
}

/* A line `Name:   123 kB`. */
static bool line_kb(const char *text, const char *name, uint64_t *bytes)
{
    const char *p = strstr(text, name);
    uint64_t kb;

    if (!p || sscanf(p + strlen(name), " %" SCNu64, &kb) != 1)
        return false;
    *bytes += kb * 1024;
    return true;
}

static bool process_memory(pid_t pid, uint64_t *bytes)
{
    char path[PATH_BYTES], text[4096];

    snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)pid);
    if (read_text(path, text, sizeof(text)) && line_kb(text, "\nRss:", bytes))
        return true;
    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    return read_text(path, text, sizeof(text)) && line_kb(text, "\nVmRSS:", bytes);
}

enum err load_procs_memory(const struct load_procs *procs, uint64_t *bytes)
{
    *bytes = 0;
    for (uint32_t i = 0; i < procs->count; i++) {
        if (!process_memory(procs->pids[i], bytes))
            return ERR_SYSTEM;
    }
    return OK;
}

uint64_t load_own_cpu(void)
{
    uint64_t ns = 0;

    (void)add_ns(CLOCK_PROCESS_CPUTIME_ID, &ns);
    return ns;
}
