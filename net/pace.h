/* net/pace.h -- how often what cannot be done yet is tried again.
 *
 * Nobody says when a ring has room again, or the queue of a link that keeps publishers waiting. So
 * it is tried again, at first soon; as long as nothing comes of it the pauses double. So trying
 * costs little however long it lasts, and there is never much more waiting than there was already.
 *
 * Threads  the worker that has it; pure.
 */
#ifndef NET_PACE_H
#define NET_PACE_H

#include <stdbool.h>
#include <stdint.h>

/* The first pause, and the longest one. */
#define PACE_FIRST_US 200u
#define PACE_LONGEST_US 5000u

/* All zero: it may be tried at once. */
struct pace {
    uint32_t pause_us; /* after the last time; 0: something came of it */
    uint64_t due_us;   /* no attempt before */
};

/* Something is new among what is tried: it is tried at once, and the pauses go on as before. */
void pace_hurry(struct pace *p);
/* Whether it is time. */
bool pace_is_due(const struct pace *p, uint64_t now_us);
/* It was tried; whether anything came of it: then the next turn tries again. */
void pace_tried(struct pace *p, bool has_progress, uint64_t now_us);
/* How long a worker without other work may sleep: until it is time, or for the first pause. */
uint64_t pace_left_us(const struct pace *p, uint64_t now_us);

#endif
