/* tools/load_flow.c -- the messages of one publisher as one subscriber sees them. */
#include "tools/load_flow.h"

#include <stdlib.h>

enum err load_flow_init(struct load_flow *f, uint32_t window)
{
    uint32_t words = 1;

    while (words * 64 < window + 64)
        words *= 2;
    f->next = 0;
    f->word_mask = words - 1;
    f->seen = calloc(words, sizeof(*f->seen));
    return f->seen ? OK : ERR_MEMORY;
}

void load_flow_fini(struct load_flow *f)
{
    free(f->seen);
    f->seen = NULL;
}

static uint64_t *word_of(struct load_flow *f, uint32_t sequence)
{
    return &f->seen[(sequence / 64) & f->word_mask];
}

/* Goes on to the next sequence; its bit is clear. */
static void advance(struct load_flow *f)
{
    if (f->next % 64 == 0)
        *word_of(f, f->next) = 0;
    f->next++;
}

static void mark(struct load_flow *f, uint32_t sequence)
{
    *word_of(f, sequence) |= 1ull << (sequence % 64);
}

enum load_arrival load_flow_take(struct load_flow *f, uint32_t sequence)
{
    uint32_t next = f->next;

    if (sequence >= next) {
        while (f->next <= sequence)
            advance(f);
        mark(f, sequence);
        return sequence == next ? LOAD_ARRIVAL_IN_ORDER : LOAD_ARRIVAL_GAP;
    }
    /* What is too old to be known counts as a double: it was either that or written off. */
    if (next - sequence > f->word_mask * 64 ||
        (*word_of(f, sequence) & (1ull << (sequence % 64))) != 0)
        return LOAD_ARRIVAL_DOUBLE;
    mark(f, sequence);
    return LOAD_ARRIVAL_LATE;
}
