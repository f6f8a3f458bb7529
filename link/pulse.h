/* link/pulse.h -- whether the other side of a connection is alive, and how far away it is.
 *
 * A PINGREQ leaves every second, also while data flows, so the other side too hears of us. Dead is
 * who sent nothing for dead_after_ms, although that is time enough for an answer. On a slow path it
 * may not be: there a ping stands behind what was written before it. So the kernel is asked what of
 * that was acknowledged: as long as that goes on, somebody lives. But when nothing stood before
 * the ping, its own acknowledgement says nothing: the kernel of a stopped process gives it too.
 *
 * Dead is, too, who goes on sending but does not hear us any more, because one direction of the
 * path is gone: something of ours is on its way, and for dead_after_ms nothing was acknowledged.
 * What the other side has no room for is not on its way: who is slow to read is not dead.
 *
 *     every time the owner's timer fires at due_ms: pulse_look
 *
 * It costs nothing while data flows: the owner notes when bytes came, and it is looked at once a
 * second. Time in which we did not run ourselves is not held against the other side.
 *
 * Threads  the worker that owns it; pure: time is given in.
 */
#ifndef LINK_PULSE_H
#define LINK_PULSE_H

#include "core/base/bytes.h"

/* Pause between two pings. */
#define PULSE_PING_MS 1000u
/* Pause between two looks at one from whom nothing has come for longer than that. */
#define PULSE_LOOK_MS 250u
/* A look that comes so much too late: we did not run. */
#define PULSE_LATE_MS 500u

/* What is known of what was written to a connection. */
struct pulse_written {
    bool is_known;        /* the kernel could say it */
    uint64_t acked;       /* bytes that the other side's kernel has acknowledged so far */
    uint64_t outstanding; /* bytes that it has not, and what waits to be written at all */
    uint64_t in_flight;   /* of those, what was sent */
};

enum pulse_verdict {
    PULSE_FINE,
    PULSE_PING, /* send a PINGREQ now */
    PULSE_DEAD
};

struct pulse {
    uint32_t dead_after_ms;
    uint32_t rtt_ms;     /* from a ping to its answer */
    bool has_rtt;        /* or none was answered yet */
    bool is_asked;       /* a ping has left since something came */
    bool is_due;         /* and nothing stood before the first such: its answer is due */
    uint32_t unanswered; /* pings */
    uint64_t alive_ms;   /* the last sign of life */
    uint64_t through_ms; /* the last moment that nothing was in flight, or more came through */
    uint64_t acked;      /* as last looked at */
    uint64_t looked_ms, due_ms;
    uint64_t pinged_ms;   /* the last one */
    uint64_t measured_ms; /* the oldest that is not answered, if that was the only one then */
    bool is_measured;
};

/* A connection stands since now. */
void pulse_begin(struct pulse *p, uint32_t dead_after_ms, uint64_t now_ms);

/* At due_ms or later, which is a new one then. `heard_ms`: when bytes came last. */
enum pulse_verdict pulse_look(struct pulse *p, uint64_t now_ms, uint64_t heard_ms,
                              const struct pulse_written *w);

/* A PINGRESP has come. */
void pulse_answer(struct pulse *p, uint64_t now_ms);

#endif
