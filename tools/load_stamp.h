/* tools/load_stamp.h -- what every message of the load generator carries in front of its filling.
 *
 * The run tells our messages from those of another load generator on the same topics.
 */
#ifndef TOOLS_LOAD_STAMP_H
#define TOOLS_LOAD_STAMP_H

#include "core/base/bytes.h"

#define LOAD_STAMP_BYTES 20u

struct load_stamp {
    uint32_t run;
    uint32_t publisher;
    uint32_t sequence;
    uint64_t sent_us; /* our clock, when it was sent or due */
};

/* Writes a stamp to the first LOAD_STAMP_BYTES of `to`. */
static inline void load_stamp_put(uint8_t *to, const struct load_stamp *s)
{
    to = put_be32(to, s->run);
    to = put_be32(to, s->publisher);
    to = put_be32(to, s->sequence);
    to = put_be32(to, (uint32_t)(s->sent_us >> 32));
    put_be32(to, (uint32_t)s->sent_us);
}

/* Reads a stamp; `p` has LOAD_STAMP_BYTES. */
static inline struct load_stamp load_stamp_get(const uint8_t *p)
{
    return (struct load_stamp){
        .run = get_be32(p),
        .publisher = get_be32(p + 4),
        .sequence = get_be32(p + 8),
        .sent_us = ((uint64_t)get_be32(p + 12) << 32) | get_be32(p + 16),
    };
}

#endif
