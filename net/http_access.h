/* net/http_access.h -- whether an HTTP server lets a client publish or subscribe.
 *
 * One for each worker. A verdict that is known is answered at once. Else the question goes to the
 * threads of net/http_pool, the packet stays parked with its connection, and the answer offers it
 * again; so only the client that asks waits. A verdict stands for `http_acl_cache`, a question that
 * brought no answer denies for a second.
 *
 * Threads  the worker; create and destroy: main, while it does not run.
 * Bounds   HTTP_ACCESS_QUESTIONS questions and HTTP_ACCESS_BYTES of their texts are under way at a
 *          time; who asks beyond is asked again in a later turn. HTTP_ACCESS_OF_ONE for one
 *          connection.
 */
#ifndef NET_HTTP_ACCESS_H
#define NET_HTTP_ACCESS_H

#include "core/broker/shard.h"

#define HTTP_ACCESS_QUESTIONS 4096u
#define HTTP_ACCESS_BYTES (16u << 20)
#define HTTP_ACCESS_OF_ONE 32u

struct http_access; /* opaque: the fields live in http_access.c */
struct http_job;
struct worker;

/* By the configuration of the worker.  NULL: no memory. */
struct http_access *http_access_create(struct worker *w);
/* The threads of the pool have ended.  NULL is fine. */
void http_access_destroy(struct http_access *a);
/* What is known: ACCESS_FILE stands for `ignore`, ACCESS_WAIT for: it is being asked. */
enum access_answer http_access_may(struct http_access *a, const struct access_question *q);
/* Counts and logs that a question, also one about a CONNECT, has brought no verdict. */
void http_access_note_fault(struct worker *w, const struct http_job *job);
/* Takes over what has been answered.  NULL is fine. */
void http_access_run(struct http_access *a);

#endif
