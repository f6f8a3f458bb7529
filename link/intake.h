/* link/intake.h -- the routes of a broker of ours, as they come.
 *
 * Keeps up with the stream of link/route_stream.h on the other side: applies what comes, says how
 * far it is in force here, compares count and digest at each beat, and asks for everything anew
 * when they differ. A new generation wipes nothing: what it does not announce again goes at its end
 * marker.
 *
 * Threads  the link worker.
 */
#ifndef LINK_INTAKE_H
#define LINK_INTAKE_H

#include "link/announced.h"
#include "link/channel.h"
#include "link/native.h"

/* Pause between two times that everything is asked for anew. */
#define INTAKE_RESYNC_MS 10000u

/* What the owner does with operations. */
struct intake_ops {
    /* Applies one to an actor. false: not as it came, so there is nothing to compare. */
    bool (*apply)(void *arg, struct announced_actor *actor, const struct native_op *op);
    /* All of a generation was announced: what is left of earlier ones may be swept. */
    void (*ended)(void *arg);
};

struct intake {
    struct link_host *host;
    const struct intake_ops *ops;
    void *arg;
    struct channel channel; /* none: nobody is introduced, or that connection is gone */
    uint64_t incarnation;
    uint64_t generation, number; /* had */
    struct {
        uint64_t generation, number; /* of the last acknowledgement, or the one that waits */
        uint64_t asked;              /* shard_link_routes_asked, then */
    } ack;
    bool ack_waits;   /* until all of that is in force */
    bool wants_all;   /* what we have is not what they announced */
    uint64_t resyncs; /* how often that was so */
    uint64_t next_ms; /* not sooner is it asked for again */
};

/* Prepares the intake of a peer's routes. */
void intake_init(struct intake *in, struct link_host *host, const struct intake_ops *ops,
                 void *arg);

/* An actor was introduced on this connection. */
void intake_open(struct intake *in, const struct channel *channel, uint64_t incarnation);
/* A connection is gone. */
void intake_gone(struct intake *in, const struct channel *channel);

/* Takes a ROUTES or a BEAT of an actor. ERR_PEER: it makes no sense. */
MUST_USE enum err intake_take(struct intake *in, struct announced_actor *actor,
                              const struct native_frame *f);

/* Sends the acknowledgement that is due, if all that it names is in force, seen by every worker,
 * and the other side reads. `is_behind`: some of what was applied could not even be asked for in
 * the index. Once per turn. */
void intake_run(struct intake *in, bool is_behind);

#endif
