/* tools/load_size.h -- how long payloads are: one size, a range, or several with their shares.
 *
 * Written as parts separated by commas: SIZE or FROM-TO, each with `:SHARE` behind it, of 1; those
 * without share what the others leave. "64", "20-1000", "64,1024:0.1,65536:0.001".
 * The size of a message follows from its numbers, so that whoever receives it knows it too.
 */
#ifndef TOOLS_LOAD_SIZE_H
#define TOOLS_LOAD_SIZE_H

#include <stdbool.h>
#include <stdint.h>

#define LOAD_SIZE_PARTS_MAX 16u

struct load_size_part {
    uint32_t from, to; /* both included */
    double share;
    uint64_t below; /* a random number of 32 bits below this, and not below the part before */
};

struct load_sizes {
    struct load_size_part parts[LOAD_SIZE_PARTS_MAX];
    uint32_t count;
    uint32_t max; /* of all parts */
};

/* Reads a distribution whose sizes are all from `min` to `max`.  false: it is none. */
bool load_sizes_read(struct load_sizes *s, const char *text, uint32_t min, uint32_t max);
/* The size that a random number stands for. */
uint32_t load_sizes_at(const struct load_sizes *s, uint64_t random);
/* The mean of all sizes. */
double load_sizes_mean(const struct load_sizes *s);
/* A number that follows from three others and looks like none of them. */
uint64_t load_size_random(uint32_t run, uint32_t publisher, uint32_t sequence);

#endif
