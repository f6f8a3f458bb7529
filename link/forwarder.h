/* link/forwarder.h -- carries messages to one remote cluster on one connection.
 *
 * What it is given stands in a window (link/window.h): sent while the connection has room, QoS 0
 * and done, QoS 1 and kept until its PUBACK. What comes while the other side is away, slow or its
 * window is full waits, up to a bound and an age; what then comes is the link's on_full to say.
 *
 * Threads  the link worker.
 */
#ifndef LINK_FORWARDER_H
#define LINK_FORWARDER_H

#include "link/dialer.h"
#include "link/window.h"

/* Connections for messages where the configuration says auto, once it is known that the other side
 * is not a broker of ours: EMQX lets 32 messages of a connection wait for their PUBACK, and takes
 * each connection's in one process. Until then, and with one of ours, there is one. */
#define FORWARDER_CONNECTIONS_EMQX 8u
/* Payloads of at least this size are sent from where they are. */
#define FORWARDER_REFER_BYTES 1024u

struct forwarder;
struct peer;

struct forwarder_events {
    void (*up)(struct forwarder *f);
    /* A frame of our own dialect has come. false: no room now, it comes again. */
    bool (*frame)(struct forwarder *f, struct bytes payload);
    /* The connection or the attempt has ended for the reason in f->dialer.why. */
    void (*down)(struct forwarder *f, bool was_up);
    /* Messages were lost; f->window.lost says why. */
    void (*lost)(struct forwarder *f, uint64_t count);
};

struct forwarder {
    struct dialer dialer; /* first */
    struct window window;
    struct timer aging; /* while something waits: not later than it has waited too long */
    const struct forwarder_events *events;
    struct peer *peer; /* whose it is: for the events */
    uint64_t lost_told;
};

/* Prepares message connection `number` (1, 2, ...) that keeps at most `bytes_max`. ERR_MEMORY. */
MUST_USE enum err forwarder_init(struct forwarder *f, struct link_host *host,
                                 const struct cfg_link *link, uint32_t number, uint64_t bytes_max,
                                 const struct forwarder_events *events);
void forwarder_fini(struct forwarder *f);

/* From now on the link is this one: as dialer_use, and what waits is bounded by `bytes_max`. */
MUST_USE enum err forwarder_use(struct forwarder *f, const struct cfg_link *link,
                                uint64_t bytes_max);
/* Takes what waits in others that are OFF and will not be used again: `to` has `to_count`, where
 * each message goes by the hash of its publisher, as when it was pushed. */
void forwarders_move(struct forwarder *from, uint32_t from_count, struct forwarder *to,
                     uint32_t to_count);

/* Takes a record: a message whose topic and payload are those of the PUBLISH, with qos 0 or 1, and
 * whose stamp_ms is the present moment (shard_now_ms). */
void forwarder_push(struct forwarder *f, struct message *record);

#endif
