/* link/instream.h -- messages from one native peer: what was taken, and what to answer.
 *
 * Sequences of a boot only grow, so one number says what was taken. It outlives connections: the
 * answer to OPEN tells the sender where to go on.
 *
 *     OPEN comes          instream_open, send instream_opened; its boot is the connection's
 *     a record comes      instream_wants; when it is taken for good, instream_take
 *     end of the turn     instream_ack: send it, if one is due, on the connection opened last
 *     connection is gone  nothing to do here; a record that waits may still be taken
 *
 * Records may still come on an older connection, or wait from it, after an OPEN on a newer one,
 * even from an earlier life of the sender. Whichever way a sequence comes first, it is taken once,
 * in order. A few boots are remembered for that; records of one that is forgotten are passed over.
 *
 * Threads  the worker that owns it; pure.
 * Memory   none.
 */
#ifndef LINK_INSTREAM_H
#define LINK_INSTREAM_H

#include "link/native.h"

/* Lives of the sender that are remembered. */
#define INSTREAM_BOOTS 4u

struct instream_mark {
    uint64_t boot;
    uint64_t last; /* taken of it; 0: none */
};

struct instream {
    uint32_t stream;             /* its number among those of the sender: set by the owner */
    struct native_window window; /* what is granted */
    struct instream_mark marks[INSTREAM_BOOTS]; /* the one opened last is the first */
    uint32_t mark_count;
    uint64_t doubles; /* records that had been taken before, or of a boot that is forgotten */
    bool ack_due;
};

/* Nothing was taken; at most `window` may be in flight, which includes what waits to be taken. */
void instream_init(struct instream *in, struct native_window window);

/* An OPEN came. */
void instream_open(struct instream *in, const struct native_frame *open);
/* The OPENED that answers it. */
void instream_opened(struct instream *in, struct native_frame *out);

/* Whether a record from a connection of `boot` is to be taken; false: it is a double, counted. May
 * be asked again of one that could not be taken yet. */
bool instream_wants(struct instream *in, uint64_t boot, uint64_t sequence);
/* A record that is wanted is taken for good, also when that means dropped: never again. */
void instream_take(struct instream *in, uint64_t boot, uint64_t sequence);

/* From the next answer on this is granted. */
void instream_grant(struct instream *in, struct native_window window);

/* The ACK that is due, for all that was taken; false: none is. */
bool instream_ack(struct instream *in, struct native_frame *out);

#endif
