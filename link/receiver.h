/* link/receiver.h -- what remote clusters send us on the connections they opened.
 *
 * Their clients publish to `$LINK/cluster/route/X` (introductions, routes, heartbeats) and
 * `$LINK/cluster/msg/X` (messages); X is the sender's cluster. Core hands such packets over as they
 * are. Whoever breaks the protocol is disconnected with 0x83, as EMQX does it, and begins again.
 *
 * A client that has introduced an actor is bound to it: it may speak for that actor only, and
 * introduce no other. A client whose binding was forgotten (link/binding.h) is disconnected at its
 * next word, and begins again.
 *
 * Core says of each packet whether its client may speak for that cluster (core/broker/speaker.c).
 * An impostor's introduction is answered with `not_authorized`; anything else of it ends its
 * connection with 0x87.
 *
 * Little can unpack to much, so in a turn only so much is unpacked. A packet beyond that waits (see
 * link/waiting.h) with all that its client sends after it; others are not held up. When much waits
 * of those who may speak for a link, their connections are not read until it is less (link/hold.h).
 * A client of which too much waits all the same, or who speaks for no link, is disconnected with
 * 0x97, and what waits of it is dropped.
 *
 * Threads  the link worker.
 */
#ifndef LINK_RECEIVER_H
#define LINK_RECEIVER_H

#include "link/deflate.h"
#include "link/peer.h"

/* Clients that were disconnected last: what of theirs is still on its way is dropped unread. */
#define RECEIVER_KICKED_MAX 16u
/* Bytes unpacked in one turn. The first packet of a turn may have more; the others wait. */
#define RECEIVER_INFLATE_BYTES (4u << 20)
/* Looks at packets that wait, in one turn. */
#define RECEIVER_LOOKS_MAX 256u
/* Bytes, unpacked, of a route payload before the introduction: it must be one, or a heartbeat. */
#define RECEIVER_STRANGER_BYTES_MAX (16u << 10)
/* See PEER_AHEAD_MS. */
#define RECEIVER_AHEAD_MS PEER_AHEAD_MS
/* Pause between two lines about refused packets of one link, or of all who have none. */
#define RECEIVER_SAY_MS 1000u
/* A broker of ours that has connected before its link was there is sent away once more so long
 * after, since our dialect is spoken only where the link lives. Later: it is spoken to as EMQX. */
#define RECEIVER_EARLY_MS 5000u

struct receiver; /* opaque */

/* Finds the peer for the name of a cluster; NULL: no link has this name. */
typedef struct peer *receiver_find(void *arg, struct bytes cluster);

/* NULL: no memory. */
struct receiver *receiver_create(struct link_host *host, receiver_find *find, void *arg);
void receiver_destroy(struct receiver *r); /* NULL is fine */

/* Takes a packet, now or to let it wait; false: something has no room now, offer it again. The hook
 * `link_packet`. */
bool receiver_take(struct receiver *r, const struct link_packet *packet);

/* A client that lived on this link worker is gone. */
void receiver_gone(struct receiver *r, struct client_name who);

/* Disconnects all clients that speak for actors of a peer, which may then be destroyed. false: no
 * room now for all of them. */
bool receiver_forget(struct receiver *r, const struct peer *peer);

/* Takes what waits, a packet of each client after the other, and ends the turn. True: packets wait
 * for the next one. */
bool receiver_turn(struct receiver *r);

#endif
