/* net/worker.h -- one worker: a thread, its ring, its connections, and its turn.
 *
 * A turn: completions, mail, timers, what is the links', what waits to be tried again, handshakes,
 * the end of the shard's turn, the dirty streams (one send for each), wakes, and one system call
 * that submits all of it and sleeps if there is nothing to do. A worker never waits for anything
 * but the kernel.
 *
 * What all workers share stands in struct net; it is made by net/server.c before any worker runs.
 *
 * Threads  create, start, join, destroy: main.  worker_ring: any.  All else: the worker itself.
 */
#ifndef NET_WORKER_H
#define NET_WORKER_H

#include <pthread.h>
#include <sys/types.h>

#include "cfg/cfg.h"
#include "core/base/arena.h"
#include "core/base/atomic.h"
#include "core/base/slab.h"
#include "core/base/timer.h"
#include "core/broker/shard.h"
#include "net/bufring.h"
#include "net/log.h"
#include "net/pace.h"
#include "net/uring.h"
#include "net/ws.h"

struct acl;
struct auth;
struct bans;
struct auth_question;
struct conn;
struct dial;
struct http_access;
struct http_job;
struct http_pool;
struct link_set;
struct passwd;
struct resolver;
struct scram_users;
struct tls_context;
struct worker;

/* ---- what a link worker's other half gives us: link/ stands above net ---- */

/* A link worker is a worker whose clients are remote clusters; link/ fills this table and
 * tools/causeway.c hands it to server_run. All but setup may be NULL. */
struct net_link_ops {
    /* Main thread, before any worker runs: makes the link layer's state of this worker, sets the
     * hooks it wants (link, forward, link_packet, interest). `number` of `count` link workers.
     * NULL: no memory. */
    void *(*setup)(const struct cfg *cfg, struct worker *w, uint32_t number, uint32_t count,
                   struct shard_hooks *hooks);
    void (*start)(void *link); /* worker: before its first turn */
    /* Worker: the links are these from now on, by number. false: not all could be done, and it is
     * called again in the next turn. `links` lives until the next call. */
    bool (*apply)(void *link, struct cfg_link *const links[LINKS_MAX]);
    /* Worker: every turn, after the timers; true: there is work for another turn at once. */
    bool (*turn)(void *link);
    void (*stop)(void *link);    /* worker: a clean stop has begun: say good-bye, dial no more */
    void (*destroy)(void *link); /* main: no worker runs any more */
};

/* ---- what all workers share ---- */

/* One listener of the configuration. */
struct listener {
    const struct cfg_listener *config;
    uint32_t connections_max; /* of this listener */
    int *fds; /* one listening socket for each accepting worker; -1: it accepts none here */
    /* The file of our Unix socket, to be removed at the end if it still is that one. */
    bool has_file;
    dev_t file_device;
    ino_t file_number;
    struct ws_rules ws; /* with protocol = websockets */
    pthread_mutex_t tls_lock;
    struct tls_context *tls; /* under the lock; replaced at a reload; NULL: no TLS here */
    uint64_t rate_step_ns;   /* between two connections, by max_connection_rate; 0: no bound */
    uint64_t rate_period_ns;
    _Alignas(CACHE_LINE) _Atomic uint64_t rate_due_ns; /* see listener_spend; any worker writes */
    _Alignas(CACHE_LINE) _Atomic uint32_t connection_count; /* any worker writes */
};

enum net_phase {
    NET_RUNNING,
    NET_STOPPING, /* clients are told; workers go on until theirs are gone */
    NET_STOPPED,  /* workers leave their threads */
};

struct net {
    const struct cfg *cfg;
    struct log *log;
    struct cluster_state *cluster;
    struct resolver *resolver; /* NULL: no link needs one */
    struct auth *auth;
    struct bans *bans;      /* NULL: nobody is ever banned */
    struct http_pool *http; /* NULL: no HTTP server is asked */
    /* Who may do what: replaced at a reload by main, taken over by each worker in its next turn. */
    _Atomic int64_t certificate_ends; /* seconds since 1970: the first of ours; 0: we have none */
    pthread_mutex_t rules_lock;
    struct passwd *passwd;     /* under the lock */
    struct acl *acl;           /* under the lock */
    struct scram_users *scram; /* under the lock */
    struct link_set *links;    /* under the lock */
    _Alignas(CACHE_LINE) _Atomic uint32_t rules_version;
    struct listener *listeners;
    uint32_t listener_count;
    uint32_t features;            /* URING_BIT */
    uint32_t client_worker_count; /* those that accept: numbers 0.. */
    uint32_t worker_count;        /* all */
    struct worker **workers;
    uint32_t connections_max; /* in all, what descriptors and configuration allow */
    const struct net_link_ops *link_ops;
    _Alignas(CACHE_LINE) _Atomic uint32_t connection_count; /* sockets of clients, any worker */
    _Alignas(CACHE_LINE) _Atomic uint32_t phase;            /* enum net_phase, main writes */
    _Atomic uint32_t has_failed;                            /* a worker could not begin */
};

/* ---- one worker ---- */

/* Kinds of log lines that could come in floods: one a second each, the others are counted. */
enum log_flood {
    FLOOD_CONNECTIONS,
    FLOOD_RATE,
    FLOOD_DESCRIPTORS,
    FLOOD_MEMORY,
    FLOOD_HTTP,
    FLOOD_COUNT
};

/* What accepts on one listener for one worker. */
struct acceptor {
    struct uring_op op;
    struct worker *worker;
    uint16_t listener;
    bool is_armed;
    struct timer retry; /* armed while descriptors are short, or max_connection_rate is used up */
};

struct worker {
    struct net *net;
    uint32_t number;
    bool is_link;
    struct uring *uring;
    struct bufring bufring;
    struct shard *shard;
    void *link;                      /* of net_link_ops */
    struct http_access *http_access; /* NULL: no HTTP server is asked about rights */
    struct slab conns;
    struct link_set *links;                        /* in force here */
    bool must_apply;                               /* the link layer has not taken them over */
    struct passwd *passwd;                         /* the users by which clients are judged */
    uint32_t rules_version;                        /* of net->rules_version: what was taken over */
    struct conn *retry_first, *retry_last;         /* parked or waiting for a hand-off, in order */
    struct pace retry;                             /* of those */
    bool is_retrying;                              /* them, at this moment */
    struct conn *handshake_first, *handshake_last; /* handshakes that wait for their turn */
    uint64_t handshake_ms;                         /* when the credit was last counted */
    uint64_t handshake_credit;  /* by max_handshake_rate, in thousandths of a handshake */
    uint32_t handshakes_left;   /* in this turn */
    uint8_t *plain;             /* LAYERS_PLAIN_BYTES: what the layers have opened */
    struct arena scratch;       /* headers of sends, until the submit */
    struct acceptor *acceptors; /* one for each listener; NULL for link workers */
    struct uring_op wake_op;    /* the eventfd: worker_ring, and wakes without MSG_RING */
    struct uring_op wake_failed_op;
    uint64_t wake_value;
    bool wake_is_armed;
    int event_fd;
    bool must_turn; /* something was called after the end of the shard's turn: no sleep now */
    bool is_stopping;
    uint64_t now_ms;
    uint64_t ahead_ms; /* tests let time pass with this; 0 */
    uint64_t busy_us;  /* when there last was something to do, for `spin` */
    struct {
        uint64_t next_ms;
        uint64_t held_back;
    } floods[FLOOD_COUNT];
    pthread_t thread;
    bool has_thread;
    int cpu;                                          /* -1: not pinned */
    _Alignas(CACHE_LINE) _Atomic uint32_t conn_count; /* own: of conns, for main's clean stop */
    _Alignas(CACHE_LINE) pthread_mutex_t answers_lock;
    struct dial *answers;               /* names the resolver has looked up */
    struct auth_question *auth_answers; /* and who clients are; newest first */
    struct http_job *http_answers;      /* and what they may do */
};

/* Makes worker `number` with its ring and buffers.  NULL: `why` says why.  Main. */
struct worker *worker_create(struct net *net, uint32_t number, char *why, size_t why_bytes);
/* Its thread must have ended, or never have begun.  NULL is fine.  Main. */
void worker_destroy(struct worker *w);
/* Starts the thread.  ERR_SYSTEM: errno says why.  Main. */
MUST_USE enum err worker_start(struct worker *w);
/* Waits for the end of the thread.  Main. */
void worker_join(struct worker *w);
/* Wakes a worker from outside the rings, through its eventfd.  Any thread. */
void worker_ring(const struct worker *w);

/* The steps of a thread's life, also for tests that run a worker on their own thread: begin once,
 * turn until the answer is false, then end. */
MUST_USE enum err worker_begin(struct worker *w);
bool worker_turn(struct worker *w);
void worker_end(struct worker *w);
/* One turn that waits at most `wait_us` (0: not at all). */
bool worker_turn_within(struct worker *w, uint64_t wait_us);

/* Says a line in this worker's name. */
void worker_log(struct worker *w, const struct log_line *line);
/* The same, at most once a second for each kind; what was held back is counted in `detail`. */
void worker_log_flood(struct worker *w, enum log_flood kind, struct log_line *line);

/* The TLS of connections that a link opens from now on: a hold that is the caller's.  NULL: it has
 * none. */
struct tls_context *worker_link_tls(const struct worker *w, const char *name);
/* The shard and the configuration of a worker, for the link layer. */
struct shard *worker_shard(struct worker *w);
const struct cfg *worker_cfg(const struct worker *w);

#endif
