/* link/route_stream.h -- tells a broker of ours which messages we want.
 *
 * Carries what link/wants.h hands out over one channel: frames of operations as many as may be in
 * flight, beats with count and digest, the end marker of an announcement; and takes what comes
 * back. When the connection is lost, what was not acknowledged goes over the next one.
 *
 * The other side may ask for everything anew. However often it does, an announcement begins only so
 * often: beyond that it waits for its time, and nothing else is told meanwhile.
 *
 * Threads  the link worker.
 * Memory   what link/wants.h takes.
 */
#ifndef LINK_ROUTE_STREAM_H
#define LINK_ROUTE_STREAM_H

#include "link/channel.h"
#include "link/native.h"
#include "link/wants.h"

/* Pause between two beats. The other side forgets us after ANNOUNCED_TTL_MS without one. */
#define ROUTE_STREAM_BEAT_MS 5000u
/* Announcements of everything: so many may begin one after the other, and then one in that time. */
#define ROUTE_STREAM_RESTARTS 8u
#define ROUTE_STREAM_RESTART_MS 5000u
/* Bytes that may wait to leave before more operations are written. */
#define ROUTE_STREAM_WAITING_BYTES (256u << 10)
/* Bytes of a frame; one operation always fits. */
#define ROUTE_STREAM_FRAME_BYTES (128u << 10)

struct route_stream {
    struct link_host *host;
    struct wants *wants;
    struct channel channel; /* none: nobody is told */
    struct timer timer;     /* the next beat, a cover that has lingered, or an announcement */
    uint64_t generation;    /* 0: none yet */
    uint64_t incarnation;   /* under which we are introduced */
    uint64_t beat_ms;       /* when the next one is due */
    uint64_t rtt_ms;        /* between the last frame and its acknowledgement */
    uint64_t restarts_ms;   /* when as many may begin again as ever */
    bool must_restart;      /* everything is to be announced as soon as it may be */
};

/* Prepares the stream to the cluster of a link. ERR_MEMORY. */
MUST_USE enum err route_stream_init(struct route_stream *r, struct link_host *host,
                                    const struct cfg_link *link, uint32_t routes_max);
/* The link has other topics or max_routes: as wants_import, then route_stream_imported, which also
 * follows wants_refill. ERR_MEMORY: nothing was changed. */
MUST_USE enum err route_stream_import(struct route_stream *r, const struct cfg_link *link);
void route_stream_imported(struct route_stream *r);
/* Nothing more is told. A stream that was never prepared is fine. */
void route_stream_fini(struct route_stream *r);

/* The other side has accepted us, as `incarnation`, on this connection; `needs_all`: it has none of
 * our routes. */
void route_stream_open(struct route_stream *r, const struct channel *channel, uint64_t incarnation,
                       bool needs_all);
/* The connection is gone. */
void route_stream_close(struct route_stream *r);
/* Sends what may be sent: once per turn. */
void route_stream_run(struct route_stream *r);
/* A ROUTES_ACK. ERR_PEER: it makes no sense, and the connection should be given up. */
MUST_USE enum err route_stream_take(struct route_stream *r, const struct native_frame *f);

#endif
