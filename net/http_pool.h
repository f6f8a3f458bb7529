/* net/http_pool.h -- threads that put questions to HTTP servers, and the line in front of them.
 *
 * A question is a JSON text for an address. It has a moment by which it must be answered, also when
 * it stands in line until then: so a server that hangs holds nobody up for longer than that, and
 * what was not answered is denied. The answer is handed to the question's own function, on the
 * thread that asked.
 *
 * Threads  create, stop, destroy: main.  http_pool_ask: any.  ops->answered: a thread of the pool;
 *          it takes the job over.
 * Memory   a job is the pool's from http_pool_ask to ops->answered. Those that are left when the
 *          pool goes are given to ops->drop.
 * Bounds   line_bytes of the texts that stand in line. Beyond: ERR_FULL, and the job is not taken.
 */
#ifndef NET_HTTP_POOL_H
#define NET_HTTP_POOL_H

#include "core/base/atomic.h"
#include "core/base/bytes.h"
#include "core/base/err.h"
#include "net/http_answer.h"

/* Bytes of the questions that stand in line, unless the settings say otherwise. */
#define HTTP_LINE_BYTES (64u << 20)

struct http_job;
struct http_pool; /* opaque: the fields live in http_pool.c */

struct http_job_ops {
    void (*answered)(struct http_job *job);
    void (*drop)(struct http_job *job); /* any thread; nobody will answer it */
};

struct http_job {
    struct http_job *next;
    const struct http_job_ops *ops;
    const char *url; /* outlives the pool */
    char *body;      /* owned: wiped and freed with the job, see http_job_fini */
    uint32_t body_count;
    _Atomic uint32_t is_in_vain; /* nobody waits any more: it need not be asked */
    uint64_t end_ms;             /* set by http_pool_ask */
    /* the answer */
    struct http_answer answer;
    uint32_t status;   /* of HTTP; 0: none */
    const char *fault; /* why it is a denial of ours, as a fixed word; NULL: the server said so */
};

/* What the configuration says. */
struct http_pool_settings {
    uint32_t threads;
    uint32_t connect_ms, timeout_ms;
    const char *ca_file; /* NULL: the authorities of the system */
    uint64_t line_bytes; /* 0: HTTP_LINE_BYTES */
};

/* Starts `threads` threads (at most 256).  NULL: `why` says why. */
struct http_pool *http_pool_create(const struct http_pool_settings *settings, char *why,
                                   size_t why_bytes);
/* Ends the threads, within a second or so; what stands in line is answered no more.  NULL is fine.
 */
void http_pool_stop(struct http_pool *p);
/* Stops it, drops what stands in line, frees it.  NULL is fine. */
void http_pool_destroy(struct http_pool *p);

/* Puts a job in line.  ERR_FULL: there is no room, and it stays the caller's. */
MUST_USE enum err http_pool_ask(struct http_pool *p, struct http_job *job);
/* Wipes and frees what a job holds. */
void http_job_fini(struct http_job *job);

#endif
