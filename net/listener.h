/* net/listener.h -- the sockets that connections come in by, and who may come in.
 *
 * Every listener has one socket for each worker, bound to the same address with SO_REUSEPORT, so
 * the kernel spreads connections over workers evenly (one shared socket would always wake the same
 * worker first). Because SO_REUSEPORT would also let a second broker bind there, the address is
 * first bound once without it.
 *
 * A Unix socket is one, on which the first worker accepts for all: what is local is little, and
 * clients go home by their ids anyway. Its file is made with its mode at once, before anybody can
 * connect. A file that a dead broker left is removed first, but only a socket on which nobody
 * listens; ours is removed at the end.
 *
 * Limits: beyond `max_connections` of the listener or of the broker a connection is accepted and
 * closed at once, counted and (rarely) logged. When descriptors or memory are short, accepting
 * pauses for LISTENER_PAUSE_MS.
 *
 * Beyond `max_connection_rate` nothing is accepted until its time has come: connections wait in the
 * kernel's queue, and no client sees an error. The rate is that of all workers together; each may
 * have one accept under way when it is used up, which is then owed. What is refused for its address
 * is not counted, so that it takes nobody's place.
 *
 * Threads  open, close: main.  All else: the worker.
 */
#ifndef NET_LISTENER_H
#define NET_LISTENER_H

#include <stddef.h>

#include "net/worker.h"

/* Connections the kernel completes before they are accepted, for each socket. */
#define LISTENER_BACKLOG 4096
/* How long a Unix socket at our path may take to show that its broker was killed. */
#define LISTENER_GHOST_MS 1000
/* Pause after EMFILE and its like. */
#define LISTENER_PAUSE_MS 200u

/* Binds `count` sockets and listens on each.  ERR_SYSTEM: `why` says which address and why. */
MUST_USE enum err listener_open(struct listener *l, const struct cfg_listener *config,
                                uint32_t count, char *why, size_t why_bytes);
/* Closes them; a zeroed one is fine. */
void listener_close(struct listener *l, uint32_t count);

/* Whether anything lies between the sockets of this listener and MQTT.  Any thread. */
bool listener_has_layers(const struct listener *l);
/* Whether a socket from this address (n: 4 or 16 bytes) may come in: it is not denied, or where
 * PROXY headers are expected, it is a balancer's.  Any thread. */
bool listener_knows(const struct listener *l, const uint8_t *ip, uint32_t n);
/* Whether a socket may that has no address any more: only where every address may.  Any thread. */
bool listener_knows_all(const struct listener *l);
/* Whether a client of this address may: it is not denied.  Any thread. */
bool listener_admits(const struct listener *l, const uint8_t *ip, uint32_t n);
/* The TLS of connections from now on; NULL: none. Takes a hold of its own.  Main. */
void listener_use_tls(struct listener *l, struct tls_context *context);
/* Layers for one accepted connection.  NULL: no memory.  Any thread. */
struct layers *listener_layers(struct listener *l);

/* Begins to accept on all listeners, for this worker. */
void listener_arm_all(struct worker *w);
/* Stops accepting. */
void listener_disarm_all(struct worker *w);
/* Takes one connection off what max_connection_rate allows. */
void listener_spend(struct worker *w, uint16_t listener);
/* How long from now none may be accepted by that rate; 0: one may now. */
uint64_t listener_rate_wait_ms(struct worker *w, uint16_t listener);
/* Whether a connection of this listener may come in now: counts it if so. */
bool listener_admit(struct worker *w, uint16_t listener);
/* An admitted connection is gone. */
void listener_release(struct worker *w, uint16_t listener);

#endif
