/* link/dialer.h -- one outgoing MQTT 5 connection to a remote cluster, kept up for ever.
 *
 * Dials the servers of a link in turn, says CONNECT, waits for CONNACK, pings, and begins again
 * when the connection ends: first after 100 ms, then after pauses that double up to the link's
 * retry_interval, each with some chance in it. What is said on the connection is its user's
 * business (announcer.h, forwarder.h), who is told by struct dialer_events. Whether the other side
 * lives is for link/pulse.h to say, by the link's dead_after.
 *
 *     OFF -> DIALING -> GREETING -> UP -> (CLOSING) -> WAITING -> DIALING ...
 *
 * Threads  the link worker.  Time, randomness and connections come from the host.
 * Memory   embedded in its user; the stream is lent to the net from DIALING until `closed`.
 */
#ifndef LINK_DIALER_H
#define LINK_DIALER_H

#include "cfg/cfg.h"
#include "core/base/timer.h"
#include "core/mqtt/packet.h"
#include "link/host.h"

/* First pause after a failure. */
#define DIALER_PAUSE_FIRST_MS 100u
/* Time for a connection to one address, and from the connection to the CONNACK. */
#define DIALER_CONNECT_MS 5000u
#define DIALER_CONNACK_MS 5000u
/* A connection that held for so long was a good one: after it, the pause is the first again. */
#define DIALER_GOOD_MS 5000u

enum dialer_state {
    DIALER_OFF,      /* not started, or stopped */
    DIALER_WAITING,  /* the timer dials */
    DIALER_DIALING,  /* the net connects */
    DIALER_GREETING, /* CONNECT has left, no CONNACK yet */
    DIALER_UP,
    DIALER_CLOSING, /* given up; the net still has the stream */
    DIALER_STATE_COUNT
};

struct dialer;

/* What the user is told. All must be there. None is called from within a call of the user, but
 * `down` may be from dialer_fail's turn of the loop later. */
struct dialer_events {
    void (*up)(struct dialer *d); /* CONNACK says welcome */
    /* A PUBLISH of the server; it has been acknowledged. false: no room now, it comes again, and
     * nothing comes before it does; only one with QoS 0 may be put off so. */
    bool (*publish)(struct dialer *d, const struct packet_publish *p);
    void (*ack)(struct dialer *d, uint16_t id, uint8_t reason); /* PUBACK */
    void (*suback)(struct dialer *d, uint16_t id, uint8_t reason);
    void (*drained)(struct dialer *d); /* much of what waited has left */
    /* The attempt or the connection has ended for the reason in d->why; another follows. */
    void (*down)(struct dialer *d, bool was_up);
};

struct dialer {
    struct stream stream; /* first */
    struct link_host *host;
    const struct cfg_link *link;
    const struct dialer_events *events;
    struct timer timer;  /* WAITING: dial; GREETING: no CONNACK; CLOSING, OFF: none */
    struct timer pinger; /* UP: at pulse.due_ms */
    struct pulse pulse;  /* of this connection, or the last one */
    uint8_t *client_id;  /* owned */
    uint32_t client_id_n;
    uint32_t number;        /* of the connection */
    uint32_t stream_number; /* of messages for which it is: set by the user, before it dials */
    uint32_t pause_ms;      /* the last one; 0: none since all was well */
    uint64_t up_ms;         /* since when UP */
    uint32_t server;        /* which one is tried */
    uint32_t failures;      /* attempts since one went well */
    uint32_t packet_max;    /* what the server takes; UINT32_MAX: anything */
    uint16_t receive_max;
    uint8_t state;   /* enum dialer_state */
    uint8_t refusal; /* reason code of the server's DISCONNECT or CONNACK, 0: none */
    bool must_stop;  /* OFF after CLOSING */
    bool was_up;     /* with CLOSING */
    char why[192];   /* the connection ended, in words */
};

/* Prepares connection `number` (0: routes, else messages) of a link. ERR_MEMORY. */
MUST_USE enum err dialer_init(struct dialer *d, struct link_host *host, const struct cfg_link *link,
                              uint32_t number, const struct dialer_events *events);
/* From now on the link is this one. While OFF all of it counts, else only what says nothing of
 * where and as whom we connect. ERR_MEMORY: nothing has changed. */
MUST_USE enum err dialer_use(struct dialer *d, const struct cfg_link *link);
/* Frees what it has. The net must not have the stream any more. */
void dialer_fini(struct dialer *d);

/* Dials for the first time; only while OFF. */
void dialer_start(struct dialer *d);
/* The other side is reachable: dials now, if it waits. */
void dialer_hurry(struct dialer *d);
/* Gives this connection up, in these words; another attempt follows. */
void dialer_fail(struct dialer *d, const char *why);
/* Says DISCONNECT and stays away. */
void dialer_stop(struct dialer *d);

/* Room for a packet of exactly `n` bytes that leaves in this turn, while UP. NULL: no memory, and
 * the connection is given up. */
uint8_t *dialer_room(struct dialer *d, uint32_t n);
/* Sends a PUBLISH; `p` is complete. ERR_FULL: larger than the server takes; ERR_MEMORY: the
 * connection is given up. */
MUST_USE enum err dialer_publish(struct dialer *d, const struct publish_out *p);

/* "host:port" of the server tried last; empty for a link without one. */
void dialer_peer_text(const struct dialer *d, char to[300]);

#endif
