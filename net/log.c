/* net/log.c -- what the broker says: destinations, and the way from workers to the main thread. */
#include "net/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include "core/base/atomic.h"
#include "core/base/spsc.h"
#include "net/clock.h"

/* Bytes collected for one write(2). */
#define BATCH_BYTES (32u << 10)
/* In a turn with very much to say the main thread is called already after so many lines. */
#define FLUSH_LINES 256u
/* How long the main thread waits for a reader of its output before it drops a batch. */
#define STALL_MS 1000
/* What a pipe or terminal takes without blocking once poll(2) says it is writable. */
#define PIPE_STEP 4096u

struct dest {
    enum cfg_log_kind kind;
    int fd; /* -1: none */
    bool may_block;
    bool is_stuck; /* did not take anything the last time */
    uint64_t lost; /* lines it has missed and not been told of */
    const char *path;
};

/* The ring of one worker. */
struct source {
    struct spsc *ring;
    uint32_t news_count;      /* worker: lines said since log_flush */
    _Atomic uint64_t dropped; /* worker writes, main reads */
    uint64_t dropped_told;    /* main */
};

struct log {
    const struct cfg_log *config;
    struct dest dests[LOG_DESTS_MAX];
    uint32_t dest_count;
    int event_fd;
    _Atomic uint32_t is_rung; /* event_fd was written and not yet read */
    uint32_t source_count;
    struct source *sources; /* of workers */
    char batch[BATCH_BYTES];
    uint32_t batch_count;
};

/* A line in a worker's ring: its level, then its text. */
struct record {
    int32_t level;
    uint32_t bytes_count;
    char text[];
};

/* ---- destinations ---- */

static bool dest_open_file(struct dest *d)
{
    int fd = open(d->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0640);

    if (fd < 0)
        return false;
    if (d->fd >= 0)
        close(d->fd);
    d->fd = fd;
    return true;
}

static bool is_regular(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

static bool dest_open(struct dest *d, const struct cfg_log_dest *c, int facility)
{
    *d = (struct dest){.kind = c->kind, .fd = -1, .path = c->path};
    switch (c->kind) {
    case LOG_TO_STDOUT:
        d->fd = STDOUT_FILENO;
        break;
    case LOG_TO_STDERR:
        d->fd = STDERR_FILENO;
        break;
    case LOG_TO_FILE:
        if (!dest_open_file(d))
            return false;
        break;
    case LOG_TO_SYSLOG:
        openlog("causeway", LOG_PID | LOG_NDELAY, facility);
        break;
    }
    d->may_block = d->fd >= 0 && !is_regular(d->fd);
    return true;
}

static void dest_close(struct dest *d)
{
    if (d->kind == LOG_TO_FILE && d->fd >= 0)
        close(d->fd);
    if (d->kind == LOG_TO_SYSLOG)
        closelog();
}

/* Writes what can be written: a reader that is stuck is waited for once, then not again until it
 * reads. Returns how much is left. */
static size_t dest_write(struct dest *d, const char *p, size_t n)
{
    while (n > 0) {
        size_t step = d->may_block && n > PIPE_STEP ? PIPE_STEP : n;
        struct pollfd ready = {.fd = d->fd, .events = POLLOUT};
        ssize_t wrote;

        if (d->may_block && poll(&ready, 1, d->is_stuck ? 0 : STALL_MS) <= 0) {
            d->is_stuck = true;
            return n;
        }
        d->is_stuck = false;
        wrote = write(d->fd, p, step);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote <= 0)
            return n;
        p += wrote;
        n -= (size_t)wrote;
    }
    return 0;
}

static uint64_t count_lines(const char *p, size_t n)
{
    uint64_t lines = 0;

    for (size_t i = 0; i < n; i++)
        lines += p[i] == '\n';
    return lines;
}

/* Says how many lines this destination has missed, once it takes some again. */
static void tell_lost(const struct log *log, struct dest *d)
{
    char detail[96], ts[CLOCK_TEXT_BYTES], text[LOG_LINE_BYTES_MAX];
    struct log_line line = {.level = 4, .event = "log lines lost", .detail = detail};
    uint32_t n;

    snprintf(detail, sizeof(detail), "%llu lines could not be written here",
             (unsigned long long)d->lost);
    clock_text(clock_wall_ms(), ts);
    n = log_format(log->config->format, log->config->timestamp ? ts : NULL, &line, text);
    text[n++] = '\n';
    if (dest_write(d, text, n) == 0)
        d->lost = 0;
}

static void write_batch(struct log *log)
{
    for (uint32_t i = 0; i < log->dest_count; i++) {
        struct dest *d = &log->dests[i];
        size_t left;

        if (d->fd < 0)
            continue;
        left = dest_write(d, log->batch, log->batch_count);
        d->lost += count_lines(log->batch + log->batch_count - left, left);
        if (left == 0 && d->lost > 0)
            tell_lost(log, d);
    }
    log->batch_count = 0;
}

/* Takes one line without its newline; `text` begins with the time stamp, if lines have one. */
static void take_line(struct log *log, int level, const char *text, uint32_t n)
{
    if (log->batch_count + n + 1 > BATCH_BYTES)
        write_batch(log);
    memcpy(log->batch + log->batch_count, text, n);
    log->batch_count += n;
    log->batch[log->batch_count++] = '\n';
    for (uint32_t i = 0; i < log->dest_count; i++) {
        if (log->dests[i].kind == LOG_TO_SYSLOG)
            syslog(level, "%.*s", (int)n, text);
    }
}

/* ---- life ---- */

static bool open_all(struct log *log, char *why, size_t why_bytes)
{
    for (uint32_t i = 0; i < log->config->dest_count; i++) {
        const struct cfg_log_dest *c = &log->config->dests[i];

        if (!dest_open(&log->dests[i], c, log->config->facility)) {
            snprintf(why, why_bytes, "the log file %s cannot be opened: %s", c->path,
                     strerror(errno));
            return false;
        }
        log->dest_count++;
    }
    return true;
}

struct log *log_create(const struct cfg_log *config, uint32_t workers, char *why, size_t why_bytes)
{
    struct log *log = calloc(1, sizeof(*log));

    if (!log)
        goto no_memory;
    log->config = config;
    log->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    log->sources = calloc(workers ? workers : 1, sizeof(*log->sources));
    if (log->event_fd < 0 || !log->sources)
        goto no_memory;
    for (; log->source_count < workers; log->source_count++) {
        log->sources[log->source_count].ring = spsc_create(LOG_RING_BYTES);
        if (!log->sources[log->source_count].ring)
            goto no_memory;
    }
    if (!open_all(log, why, why_bytes)) {
        log_destroy(log);
        return NULL;
    }
    return log;
no_memory:
    snprintf(why, why_bytes, "no memory or no descriptor for the log");
    log_destroy(log);
    return NULL;
}

void log_destroy(struct log *log)
{
    if (!log)
        return;
    log_drain(log);
    for (uint32_t i = 0; i < log->dest_count; i++)
        dest_close(&log->dests[i]);
    for (uint32_t i = 0; i < log->source_count; i++)
        spsc_destroy(log->sources[i].ring);
    free(log->sources);
    if (log->event_fd >= 0)
        close(log->event_fd);
    free(log);
}

bool log_wants(const struct log *log, int level)
{
    return log->config->dest_count > 0 && level <= 3 + (int)log->config->level;
}

/* `connection_messages = false` silences clients that come and go as they should. */
static bool is_silenced(const struct log *log, const struct log_line *line)
{
    return !log->config->connection_messages && line->level >= 5 &&
           (strcmp(line->event, "client connected") == 0 ||
            strcmp(line->event, "client disconnected") == 0);
}

static uint32_t format_now(const struct log *log, const struct log_line *line, char *to)
{
    char ts[CLOCK_TEXT_BYTES];

    if (log->config->timestamp)
        clock_text(clock_wall_ms(), ts);
    return log_format(log->config->format, log->config->timestamp ? ts : NULL, line, to);
}

static void ring(struct log *log)
{
    uint64_t one = 1;

    /* pairs with the exchange in log_drain, which comes before its look into the rings */
    if (exchange_seq_cst(&log->is_rung, 1) == 0)
        (void)!write(log->event_fd, &one, sizeof(one));
}

void log_event(struct log *log, uint32_t source, const struct log_line *line)
{
    char text[LOG_LINE_BYTES_MAX];
    struct record *r;
    struct source *s;
    uint32_t n;

    if (!log_wants(log, line->level) || is_silenced(log, line))
        return;
    n = format_now(log, line, text);
    if (source == LOG_SOURCE_MAIN) {
        take_line(log, line->level, text, n);
        write_batch(log);
        return;
    }
    s = &log->sources[source - 1];
    if (++s->news_count % FLUSH_LINES == 0)
        ring(log);
    r = spsc_reserve(s->ring, (uint32_t)sizeof(*r) + n);
    if (!r) {
        count_add(&s->dropped, 1);
        return;
    }
    r->level = line->level;
    r->bytes_count = n;
    memcpy(r->text, text, n);
    spsc_commit(s->ring);
}

void log_flush(struct log *log, uint32_t source)
{
    struct source *s = &log->sources[source - 1];

    if (s->news_count > 0)
        ring(log);
    s->news_count = 0;
}

int log_wait_fd(const struct log *log)
{
    return log->event_fd;
}

static void tell_dropped(struct log *log, struct source *s)
{
    uint64_t dropped = load_relaxed(&s->dropped); /* a counter: nothing else depends on it */
    char text[96];
    struct log_line line = {.level = 4, .event = "log lines dropped", .detail = text};

    if (dropped == s->dropped_told)
        return;
    snprintf(text, sizeof(text), "%llu lines dropped: the log is slower than what it is told",
             (unsigned long long)(dropped - s->dropped_told));
    s->dropped_told = dropped;
    log_event(log, LOG_SOURCE_MAIN, &line);
}

void log_drain(struct log *log)
{
    uint64_t ignored;
    uint32_t n;

    (void)!read(log->event_fd, &ignored, sizeof(ignored));
    (void)exchange_seq_cst(&log->is_rung, 0);
    for (uint32_t i = 0; i < log->source_count; i++) {
        struct source *s = &log->sources[i];
        struct record *r;

        while ((r = spsc_peek(s->ring, &n)) != NULL) {
            take_line(log, r->level, r->text, r->bytes_count);
            spsc_pop(s->ring);
        }
        if (log->batch_count)
            write_batch(log);
        tell_dropped(log, s);
    }
}

void log_reopen(struct log *log)
{
    for (uint32_t i = 0; i < log->dest_count; i++) {
        struct dest *d = &log->dests[i];
        struct log_line line = {.level = 3, .event = "log file not reopened"};

        if (d->kind != LOG_TO_FILE || dest_open_file(d))
            continue;
        line.reason = strerror(errno);
        line.detail = d->path;
        log_event(log, LOG_SOURCE_MAIN, &line);
    }
}
