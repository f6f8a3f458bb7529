/* net/pace.c -- pauses that double. */
#include "net/pace.h"

void pace_hurry(struct pace *p)
{
    p->due_us = 0;
}

bool pace_is_due(const struct pace *p, uint64_t now_us)
{
    return now_us >= p->due_us;
}

void pace_tried(struct pace *p, bool has_progress, uint64_t now_us)
{
    uint32_t next = p->pause_us ? p->pause_us * 2 : PACE_FIRST_US;

    p->pause_us = has_progress ? 0 : next < PACE_LONGEST_US ? next : PACE_LONGEST_US;
    p->due_us = now_us + p->pause_us;
}

uint64_t pace_left_us(const struct pace *p, uint64_t now_us)
{
    if (!p->pause_us)
        return PACE_FIRST_US;
    return p->due_us > now_us ? p->due_us - now_us : 0;
}
