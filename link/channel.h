/* link/channel.h -- a connection with a broker of ours, whoever of the two opened it.
 *
 * The native dialect (link/native.h) goes both ways on a connection. Each frame travels as the
 * payload of one PUBLISH with QoS 0 to `$LINK/cluster/native/US`, written by channel_begin and then
 * filled piece by piece, so that large payloads need not be copied.
 *
 * A channel is only a name: of a connection of ours (a dialer) or of one that lives here as a
 * client of this link worker. A copy is as good as the original. The connection may be gone at any
 * time, then everything below says so.
 *
 * Threads  the link worker.
 */
#ifndef LINK_CHANNEL_H
#define LINK_CHANNEL_H

#include "link/dialer.h"
#include "link/native.h"

struct channel {
    struct link_host *host; /* NULL: no connection */
    struct dialer *dialer;  /* NULL: the client's */
    struct client_name client;
};

/* The connection that `d` has, or will have. */
struct channel channel_of_dialer(struct dialer *d);
/* The connection of a client that lives on this link worker. */
struct channel channel_of_client(struct link_host *host, struct client_name client);
/* Whether both are the same connection. None is the same as none. */
bool channel_eq(const struct channel *a, const struct channel *b);

/* Whether it stands. */
bool channel_is_up(const struct channel *c);
/* The largest frame that the other side takes now; 0: it is gone. */
uint32_t channel_frame_max(const struct channel *c);
/* Bytes that wait to leave; UINT32_MAX: it is gone. */
uint32_t channel_waiting(const struct channel *c);

/* Whether an answer may be put behind what waits: who asks and asks without reading must not make
 * more and more wait. */
bool channel_takes_answers(const struct channel *c);

/* Begins a frame of `frame_bytes` bytes, at most channel_frame_max; as many must follow at once.
 * ERR_NONE: it is gone. ERR_MEMORY: it is given up. */
MUST_USE enum err channel_begin(const struct channel *c, uint32_t frame_bytes);
/* The next `n` bytes of the frame, for the caller to fill. NULL: no memory, it is given up. */
uint8_t *channel_room(const struct channel *c, uint32_t n);
/* The next `n` bytes of the frame are those at `p`, which live in `m`. false: as channel_room. */
bool channel_refer(const struct channel *c, struct message *m, const uint8_t *p, uint32_t n);

/* A whole frame, copied. Errors as channel_begin. */
MUST_USE enum err channel_send(const struct channel *c, struct bytes frame);
/* A frame of any kind but ROUTES and MESSAGES. Where the connection is gone or given up, whoever
 * has it is told. */
void channel_say(const struct channel *c, const struct native_frame *f);
/* Sends a PUBLISH that is no frame, with QoS 0. Errors as channel_begin; ERR_FULL: too large. */
MUST_USE enum err channel_publish(const struct channel *c, const struct publish_out *p);

/* Gives the connection up, in these words. */
void channel_fail(const struct channel *c, const char *why);

#endif
