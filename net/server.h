/* net/server.h -- the broker as a process: everything made in order, run, and taken down again.
 *
 * Order at start: log, certificates, users and rules read, features of the kernel, sockets bound,
 * rings and workers made, then threads. What fails before the threads run is said on standard
 * error and ends the process with 1. The main thread then writes the log and takes signals: TERM
 * and INT stop cleanly (once more: at once), USR1 reopens log files, HUP reads certificates, users,
 * rules and links anew, all or none of them.
 *
 * Threads  main, but for server_reload.
 */
#ifndef NET_SERVER_H
#define NET_SERVER_H

#include "core/base/hash.h"
#include "net/reload.h"
#include "net/reread.h"
#include "net/secrets.h"
#include "net/worker.h"

/* Room for what server_reload has to say. Beyond: its last lines are cut off; the log has all. */
#define SERVER_RELOAD_BYTES 4096u
/* How long clients may take to go at a clean stop. Beyond: they are cut. */
#define SERVER_STOP_MS 5000u

struct server_options {
    const struct cfg *cfg;
    const char *file; /* where `cfg` came from, to be read anew; NULL: its links stay */
    uint16_t port;    /* as cfg_apply_port was given it; 0: it was not called */
    const char *version;
    const struct net_link_ops *link_ops; /* NULL: this build has no links */
};

/* Runs the broker until it is stopped. Returns the exit status of the process: 0 after a clean
 * stop, 1 when it could not start. */
int server_run(const struct server_options *options);

/* Reads what the configuration keeps in other files, as at start, and says every mistake on
 * standard error. ERR_PEER: there were some. For `causeway -t`. */
MUST_USE enum err server_check(const struct cfg *cfg);

/* The parts of server_run, also for tests that run workers on their own thread. */
struct server {
    struct net net;
    const struct server_options *options;
    struct listener_rules rules[LISTENERS_MAX];
    struct reread reread; /* what was read last; at first nothing */
    struct secrets secrets;
    uint64_t watch_ms;   /* wall clock: when certificates are looked at next */
    struct hash_key key; /* of the tables in the secrets */
    struct reload reload;
    int signal_fd;
    bool has_pid_file;
    bool has_tls;  /* tls_init went well */
    char why[512]; /* after a failure */
};

/* Makes everything up to the workers, without threads. ERR_SYSTEM: `s->why`, and what was made is
 * to be given to server_fini. */
MUST_USE enum err server_init(struct server *s, const struct server_options *options);
/* Takes one round of signals, wishes of other threads and log lines, waiting for some at most so
 * long. Returns whether to stop. */
bool server_serve(struct server *s, int timeout_ms);
/* Reads certificates, keys, CRLs, OCSP responses, users, rules, and the links of the configuration
 * file anew: what SIGHUP does, and what an administrator may ask for. All of them are replaced, or,
 * when there is a mistake in one, none. What else has changed in the file is said and left: it
 * needs a restart. `text` then says which and why, a line for each mistake; after OK it has the
 * warnings, if any, and what was reloaded. ERR_PEER: there were mistakes, or no memory. ERR_SYSTEM:
 * the broker stops. Any thread but a worker's: another than main waits until main has done it. */
enum err server_reload(struct server *s, char *text, size_t text_bytes);
/* The same with the links of another configuration than the file: what an administrator's change of
 * links is made of. It is taken over, also on failure (NULL: the file is read, see above). The next
 * server_reload makes the links those of the file again. */
enum err server_set_links(struct server *s, struct cfg *links, char *text, size_t text_bytes);
/* Stops workers that run in their threads: tells the clients, waits for them to go, at most
 * SERVER_STOP_MS or until a signal comes, and joins the threads. */
void server_stop(struct server *s);
/* Takes it down; no worker's thread runs any more. */
void server_fini(struct server *s);

#endif
