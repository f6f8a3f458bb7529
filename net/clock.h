/* net/clock.h -- what time it is; the broker's only clock, but for a deadline in net/resolver.c.
 *
 * Core is handed these numbers and never asks itself.  Any thread.
 */
#ifndef NET_CLOCK_H
#define NET_CLOCK_H

#include <stdint.h>

/* Milliseconds and microseconds that only go forward: clock_gettime(2), CLOCK_MONOTONIC. */
uint64_t clock_mono_ms(void);
uint64_t clock_mono_us(void);
/* Milliseconds since 1970, UTC; may jump: CLOCK_REALTIME. */
uint64_t clock_wall_ms(void);

/* Bytes that "2024-03-20T11:08:39.568Z" takes, with its NUL. */
#define CLOCK_TEXT_BYTES 32
/* Writes a wall clock time as ISO 8601 in UTC. */
void clock_text(uint64_t wall_ms, char text[CLOCK_TEXT_BYTES]);

#endif
