/* net/auth_http.h -- who a client is, by an HTTP server: its part of net/auth.
 *
 * Threads  auth_http_ask: any worker. The answers come on threads of net/http_pool, which either
 *          bring the question back to its worker or hand it to the helpers, for the next method.
 * Memory   as net/auth.h.
 */
#ifndef NET_AUTH_HTTP_H
#define NET_AUTH_HTTP_H

#include "net/auth_state.h"

/* Asks the server about a CONNECT, unless its yes is remembered. Results as those of auth_ask. */
enum auth_verdict auth_http_ask(struct auth *a, struct auth_asking *asking,
                                struct admission **admission, struct auth_question **question);
/* Bytes of the text of a question, at most, by those of the client's names in it. */
uint32_t auth_http_room(uint32_t names);

#endif
