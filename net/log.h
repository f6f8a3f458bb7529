/* net/log.h -- what the broker says, as lines with fixed keys.
 *
 * A line has the keys ts level event link client user peer listener reason detail, in this order,
 * those that have a value; as text (logfmt: key=value, quoted where needed) or as JSON. Values come
 * from anywhere, so every byte that is not plain text is escaped: nobody can forge or break a line.
 *
 * Workers never wait for a disk or a terminal: each formats into a bounded ring of its own, which
 * the main thread empties (log_drain). When the ring is full lines are dropped, counted, and the
 * number is logged later.
 *
 * Threads  log_event: source 0 is the main thread, which writes at once; source 1+n is worker n.
 *          All else: main.
 */
#ifndef NET_LOG_H
#define NET_LOG_H

#include <stdio.h>

#include "cfg/cfg.h"
#include "core/base/bytes.h"
#include "core/base/err.h"

/* The source of the main thread; a worker's is LOG_SOURCE_WORKER(its number). */
#define LOG_SOURCE_MAIN 0u
#define LOG_SOURCE_WORKER(number) (1u + (number))

/* Bytes of one line. A long value is cut and ends with "...". */
#define LOG_LINE_BYTES_MAX 2048u
/* Bytes waiting in one worker's ring. Beyond: lines are dropped and counted. */
#define LOG_RING_BYTES (256u << 10)

/* Levels are those of syslog(3): 3 error, 4 warning, 5 notice, 6 info, 7 debug. */
struct log_line {
    int level;
    const char *event; /* a fixed word or two */
    struct bytes client, user;
    const char *link, *peer, *listener, *reason, *detail; /* NULL or empty: left out */
};

struct log; /* opaque */

/* Opens what the configuration names, for `workers` workers.  NULL: `why` says why. */
struct log *log_create(const struct cfg_log *config, uint32_t workers, char *why, size_t why_bytes);
/* Writes what waits and closes.  NULL is fine. */
void log_destroy(struct log *log);

/* Whether a line of this level would be written.  Any thread. */
bool log_wants(const struct log *log, int level);
/* Says a line. A worker's line leaves with the next log_drain. */
void log_event(struct log *log, uint32_t source, const struct log_line *line);

/* What becomes readable when workers have left lines; for poll(2). */
int log_wait_fd(const struct log *log);
/* Shows the main thread what this worker said since the last time: once per turn. */
void log_flush(struct log *log, uint32_t source);
/* Writes what workers left. */
void log_drain(struct log *log);
/* Opens the files anew, after they were moved away. A file that cannot be opened stays as it was,
 * and that is logged. */
void log_reopen(struct log *log);

/* Formats a line without a newline into `to` (LOG_LINE_BYTES_MAX) and returns its length. `ts` may
 * be NULL.  Any thread. */
uint32_t log_format(enum cfg_log_format format, const char *ts, const struct log_line *line,
                    char *to);

#endif
