/* tests/sim/sim.c -- the seed, the clock and the trace. */
#include "tests/sim/sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void sim_start(struct sim *s, uint64_t seed, const struct sim_options *opt)
{
    memset(s, 0, sizeof(*s));
    s->opt = *opt;
    s->seed = seed;
    s->random = seed * 0x9E3779B97F4A7C15ull + 1;
    s->now_ms = 1000000;
    s->wall_ms = 1700000000000;
    for (int i = 0; i < 4; i++)
        (void)draw(s, 2);
}

/* splitmix64 */
uint32_t draw(struct sim *s, uint32_t n)
{
    uint64_t z = s->random += 0x9E3779B97F4A7C15ull;

    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return (uint32_t)(((z ^ (z >> 31)) >> 32) * n >> 32);
}

bool chance(struct sim *s, uint32_t percent)
{
    return draw(s, 100) < percent;
}

void sim_pass(struct sim *s, uint64_t ms)
{
    s->now_ms += ms;
    s->wall_ms += ms;
}

void note(struct sim *s, const char *format, ...)
{
    char *line = s->trace[s->trace_count++ % TRACE_EVENTS];
    int n = snprintf(line, TRACE_BYTES, "%6llu %8llu ms  ", (unsigned long long)s->step,
                     (unsigned long long)(s->now_ms - 1000000));
    va_list args;

    va_start(args, format);
    vsnprintf(line + n, (size_t)(TRACE_BYTES - n), format, args);
    va_end(args);
    if (s->opt.verbose)
        puts(line);
}

void differ(struct sim *s, const char *format, ...)
{
    va_list args;

    if (s->failed)
        return;
    s->failed = true;
    va_start(args, format);
    vsnprintf(s->difference, sizeof(s->difference), format, args);
    va_end(args);
    note(s, "DIFFERENCE: %s", s->difference);
}

void sim_report(const struct sim *s)
{
    uint64_t first = s->trace_count > TRACE_EVENTS ? s->trace_count - TRACE_EVENTS : 0;

    if (!s->opt.verbose) {
        for (uint64_t i = first; i < s->trace_count; i++)
            printf("    %s\n", s->trace[i % TRACE_EVENTS]);
    }
    printf("seed %llu%s: %s\n", (unsigned long long)s->seed, s->opt.links_only ? " --links" : "",
           s->difference);
    fflush(stdout);
}

void *must_alloc(uint64_t bytes)
{
    void *p = calloc(1, bytes ? bytes : 1);

    if (!p)
        abort();
    return p;
}

void *must_grow(void *array, uint32_t count, uint32_t *capacity, uint64_t size)
{
    void *p = array;

    if (count < *capacity)
        return array;
    *capacity = *capacity ? 2 * *capacity : 16;
    p = realloc(array, *capacity * size);
    if (!p)
        abort();
    memset((char *)p + count * size, 0, (*capacity - count) * size);
    return p;
}
