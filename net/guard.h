/* net/guard.h -- whether a connection is let in by where it comes from.
 *
 * Asked as early as can be: a socket before anything is read of it or its TLS begins, a client
 * behind a balancer when the PROXY header has named it, and once more when its CONNECT is whole and
 * when its password has been checked or a proof of enhanced authentication comes, since a guesser
 * may open many connections before the first answer comes. What is refused is counted; a denied
 * address is logged each time, a banned one only when its ban begins.
 *
 * Threads  the worker of the connection.
 */
#ifndef NET_GUARD_H
#define NET_GUARD_H

#include "net/conn.h"

/* Whether the listener takes sockets from there. */
bool guard_admits_socket(struct conn *c);
/* The same for the client that a PROXY header has named. */
bool guard_admits_client(struct conn *c);
/* Whether its address is not banned now; false is counted. */
bool guard_still_admits(struct conn *c);
/* Whether a client id is banned at the address of the connection; true is counted. */
bool guard_bans(struct conn *c, struct bytes client_id);
/* The client of this connection has not proven who it is. */
void guard_on_failure(struct conn *c, struct bytes client_id);

#endif
