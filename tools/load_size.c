/* tools/load_size.c -- how long payloads are: one size, a range, or several with their shares. */
#include "tools/load_size.h"

#include <stdlib.h>

#define NO_SHARE (-1.0)
#define ALL (1ull << 32)

/* A whole number at *text, which moves behind it. */
static bool read_size(const char **text, uint32_t min, uint32_t max, uint32_t *size)
{
    char *end;
    unsigned long v;

    if (**text < '0' || **text > '9')
        return false;
    v = strtoul(*text, &end, 10);
    *text = end;
    *size = (uint32_t)v;
    return v >= min && v <= max;
}

static bool read_part(const char **text, uint32_t min, uint32_t max, struct load_size_part *p)
{
    char *end;

    p->share = NO_SHARE;
    if (!read_size(text, min, max, &p->from))
        return false;
    p->to = p->from;
    if (**text == '-') {
        ++*text;
        if (!read_size(text, p->from, max, &p->to))
            return false;
    }
    if (**text != ':')
        return true;
    ++*text;
    p->share = strtod(*text, &end);
    if (end == *text || !(p->share >= 0 && p->share <= 1))
        return false;
    *text = end;
    return true;
}

/* Gives parts without a share what is left.  false: the shares are not 1 together. */
static bool share_out(struct load_sizes *s)
{
    double left = 1, sum = 0;
    uint32_t without = 0;

    for (uint32_t i = 0; i < s->count; i++) {
        without += s->parts[i].share < 0;
        left -= s->parts[i].share < 0 ? 0 : s->parts[i].share;
    }
    if (left < -1e-9 || (without == 0 && left > 1e-9))
        return false;
    for (uint32_t i = 0; i < s->count; i++) {
        if (s->parts[i].share < 0)
            s->parts[i].share = left > 0 ? left / without : 0;
        sum += s->parts[i].share;
        s->parts[i].below = (uint64_t)(sum * (double)ALL + 0.5);
    }
    s->parts[s->count - 1].below = ALL;
    return true;
}

bool load_sizes_read(struct load_sizes *s, const char *text, uint32_t min, uint32_t max)
{
    *s = (struct load_sizes){0};
    for (;;) {
        struct load_size_part *p = &s->parts[s->count];

        if (s->count == LOAD_SIZE_PARTS_MAX || !read_part(&text, min, max, p))
            return false;
        s->count++;
        if (p->to > s->max)
            s->max = p->to;
        if (*text == '\0')
            return share_out(s);
        if (*text++ != ',')
            return false;
    }
}

uint32_t load_sizes_at(const struct load_sizes *s, uint64_t random)
{
    const struct load_size_part *p = s->parts;
    uint64_t which = random >> 32, where = random & UINT32_MAX;

    while (which >= p->below)
        p++;
    return p->from + (uint32_t)((where * (p->to - p->from + 1ull)) >> 32);
}

double load_sizes_mean(const struct load_sizes *s)
{
    double mean = 0;

    for (uint32_t i = 0; i < s->count; i++)
        mean += s->parts[i].share * ((double)s->parts[i].from + s->parts[i].to) / 2;
    return mean;
}

/* The finish of splitmix64: every bit of the input moves every bit of the result. */
uint64_t load_size_random(uint32_t run, uint32_t publisher, uint32_t sequence)
{
    uint64_t x = ((uint64_t)publisher << 32 | sequence) + run * 0x9e3779b97f4a7c15ull;

    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}
