/* net/http.h -- asks an HTTP server; all there is of libcurl.
 *
 * One client is one thread's: it keeps its connection to the server open between questions. It
 * speaks HTTP/1.1 to http and https addresses only, follows no redirect, uses no proxy, and takes
 * at most HTTP_ANSWER_BYTES_MAX of an answer. A server of https is verified, by `ca_file` or by
 * the authorities of the system. A question waits for the server: helper threads only.
 *
 * Threads  http_init, http_fini: main, while nobody else uses it.  A client: one thread at a time.
 * Errors   a question that brought no answer gets status 0, and a fixed word why.
 */
#ifndef NET_HTTP_H
#define NET_HTTP_H

#include "core/base/atomic.h"
#include "core/base/bytes.h"
#include "core/base/err.h"

/* What is taken of an answer. A longer one counts as none. */
#define HTTP_ANSWER_BYTES_MAX 65536u

struct http_client; /* opaque: the fields live in http.c */

struct http_settings {
    uint32_t connect_ms; /* how long connecting may take */
    uint32_t timeout_ms; /* how long a question may take in all */
    const char *ca_file; /* NULL: the authorities of the system */
    /* When it becomes other than 0, questions under way end within a second or so. */
    const _Atomic uint32_t *must_end;
};

/* Starts the library.  ERR_SYSTEM: it does not start. */
MUST_USE enum err http_init(void);
/* The opposite; clients are gone. */
void http_fini(void);

/* `settings` is copied; what it points to outlives the client.  NULL: no memory. */
struct http_client *http_client_create(const struct http_settings *settings);
/* Closes its connection.  NULL is fine. */
void http_client_destroy(struct http_client *c);

struct http_reply {
    uint32_t status;   /* 0: there was no answer */
    struct bytes body; /* until the next question */
    const char *fault; /* with status 0: why, as a fixed word */
};

/* Posts JSON and waits for the answer, at most for `limit_ms` and the timeout. */
void http_post(struct http_client *c, const char *url, struct bytes json, uint32_t limit_ms,
               struct http_reply *reply);

#endif
