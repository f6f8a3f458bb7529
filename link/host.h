/* link/host.h -- what the parts of the link layer have of the worker they run on.
 *
 * The link layer makes no system call: connections, time and the log come from here, so that a test
 * runs whole clusters in memory.
 *
 * Threads  the link worker.
 */
#ifndef LINK_HOST_H
#define LINK_HOST_H

#include "cfg/cfg.h"
#include "core/base/hash.h"
#include "core/broker/shard.h"
#include "link/acks.h"
#include "link/emqx.h"
#include "link/locals.h"
#include "link/packing.h"
#include "link/pulse.h"

/* Room for one route batch, kept for all links of a worker: one operation always fits, its filter
 * and its id have at most 65535 and 131086 bytes. Batches are cut at this size too. */
#define HOST_SCRATCH_BYTES (256u << 10)

/* Room for the filter before, where each is told by how it differs from that one. */
#define HOST_FILTER_BYTES 65536u

/* Whom a link dials. */
struct link_target {
    const struct cfg_link *link;
    const struct cfg_server *server; /* one of the link's */
    uint32_t attempt;                /* at this server, since one went well: where a name has many
                                      * addresses, each attempt begins with another */
    uint32_t timeout_ms;
};

/* A turn that comes so long after it was due: see host_stood_still. */
#define HOST_STANDSTILL_MS 2000u

struct transit;

struct link_host {
    struct shard *shard;
    const struct limits *limits;
    uint64_t wake_ms;     /* when the next turn is due at the latest; 0: not at any time */
    struct bytes cluster; /* our own name */
    struct hash_key key;
    uint64_t boot;                     /* this life of ours: no other has the same */
    uint32_t worker;                   /* which link worker it is, of */
    uint32_t workers;                  /* so many */
    uint8_t suffix[EMQX_SUFFIX_BYTES]; /* of our client ids */
    void *net;                         /* first argument of the functions */
    /* conn_dial with the link's TLS, or what a test has instead. */
    enum err (*dial)(void *net, struct stream *stream, const struct link_target *to);
    /* What became of what was written to a connection of ours; NULL: nothing is known. */
    void (*written)(void *net, const struct stream *stream, struct pulse_written *to);
    void (*log)(void *net, const struct log_event *e); /* may be NULL */
    uint8_t *scratch;                                  /* HOST_SCRATCH_BYTES */
    uint8_t *filter;                                   /* HOST_FILTER_BYTES */
    struct transit *transit;                           /* what passes: link/transit.h */
    bool has_news; /* of routes: who waits for remote clusters may look again (link/barriers.h) */
    struct packing *packing; /* for compressed frames */
    struct acks *acks;       /* publishes whose acknowledgement waits for links */
    struct locals *locals;   /* what is subscribed to here */
    void *hub;               /* first argument of encode */
    /* The record for EMQX of a message for a broker of ours, as of that moment. NULL: no memory. */
    struct message *(*encode)(void *hub, const struct message *m, uint64_t since_ms);
};

/* A turn ends: the next one is due when a timer is. */
void host_turned(struct link_host *host);
/* Whether this turn comes so late that the process must have stood still, as on a paused machine:
 * who was not heard of meanwhile may well be there. */
bool host_stood_still(const struct link_host *host);

/* Says a line about the link of that name. `peer`, `reason` and `detail` may be NULL. Levels as in
 * syslog: 3 error, 4 warning, 5 notice, 6 info, 7 debug. */
void host_log(const struct link_host *host, int level, const char *event, const char *link,
              const char *peer, const char *reason, const char *detail);

#endif
