/* net/http_verdicts.h -- what an HTTP server has said about rights, for a while.
 *
 * A verdict stands under the keyed hash of everything that was asked. The table is a fixed number
 * of places, four to choose from for a hash. At the bound the verdict that ends first makes room;
 * it is asked for again.
 *
 * Threads  none: one worker's.  Times are milliseconds of one clock that only goes forward.
 */
#ifndef NET_HTTP_VERDICTS_H
#define NET_HTTP_VERDICTS_H

#include "net/http_answer.h"

/* Places of a table; a place takes 16 bytes. */
#define HTTP_VERDICTS_PLACES 65536u

struct http_verdicts; /* opaque: the fields live in http_verdicts.c */

/* A table of `places`, a power of two and at least 4.  NULL: no memory. */
struct http_verdicts *http_verdicts_create(uint32_t places);
/* NULL is fine. */
void http_verdicts_destroy(struct http_verdicts *v);
/* The verdict that stands under a hash.  false: none does. */
bool http_verdicts_find(const struct http_verdicts *v, uint64_t hash, uint64_t now_ms,
                        enum http_verdict *verdict);
/* Notes a verdict until `end_ms`; one that stands under the hash goes. */
void http_verdicts_put(struct http_verdicts *v, uint64_t hash, enum http_verdict verdict,
                       uint64_t now_ms, uint64_t end_ms);

#endif
