/* tools/load_proc.c -- what a broker costs, as the kernel counts it: processor time and memory. */
#include "tools/load_proc.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

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

/* The first number of a thread's schedstat: nanoseconds on a processor. */
static bool threads_cpu(pid_t pid, uint64_t *ns)
{
    char path[PATH_BYTES], text[128];
    DIR *dir;
    bool found = false;

    snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    dir = opendir(path);
    if (!dir)
        return false;
    for (const struct dirent *d; (d = readdir(dir)) != NULL;) {
        uint64_t value;

        if (d->d_name[0] == '.')
            continue;
        snprintf(path, sizeof(path), "/proc/%d/task/%s/schedstat", (int)pid, d->d_name);
        if (read_text(path, text, sizeof(text)) && sscanf(text, "%" SCNu64, &value) == 1) {
            *ns += value;
            found = true;
        }
    }
    closedir(dir);
    return found;
}

/* utime and stime, the 14th and 15th field of stat; the second may contain blanks. */
static bool process_cpu(pid_t pid, uint64_t *ns)
{
    char path[PATH_BYTES], text[1024];
    const char *rest;
    uint64_t user, kernel;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    if (!read_text(path, text, sizeof(text)) || !(rest = strrchr(text, ')')))
        return false;
    if (sscanf(rest, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %" SCNu64 " %" SCNu64, &user,
               &kernel) != 2)
        return false;
    *ns += (user + kernel) * (1000000000u / (uint64_t)sysconf(_SC_CLK_TCK));
    return true;
}

enum err load_procs_cpu(const struct load_procs *procs, uint64_t *ns)
{
    *ns = 0;
    for (uint32_t i = 0; i < procs->count; i++) {
        if (!threads_cpu(procs->pids[i], ns) && !process_cpu(procs->pids[i], ns))
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
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}
