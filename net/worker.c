/* net/worker.c -- one worker: a thread and its turn. */
#include "net/worker.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/base/check.h"
#include "net/auth.h"
#include "net/clock.h"
#include "net/conn.h"
#include "net/guard.h"
#include "net/heap.h"
#include "net/http_access.h"
#include "net/layers.h"
#include "net/link_set.h"
#include "net/listener.h"
#include "net/resolver.h"
#include "net/tls.h"
#include "net/wake.h"

/* Completions of one turn: mail and timers must not starve. */
#define COMPLETIONS_MAX 4096u
/* A worker looks again after this time for links that wait for the end of others. */
#define APPLY_US 10000u
#define FLOOD_PAUSE_MS 1000u
#define DAY_SECONDS 86400

/* ---- life ---- */

static void hook_adopt(void *net, struct handoff *h)
{
    conn_adopt(net, h);
}

static void hook_log(void *net, const struct log_event *e)
{
    struct log_line line = {
        .level = e->level,
        .event = e->event,
        .client = e->client,
        .user = e->user,
        .link = e->link,
        .peer = e->peer,
        .reason = e->reason,
        .detail = e->detail,
    };

    worker_log(net, &line);
}

static uint64_t hook_heap_bytes(void *net)
{
    struct heap_stats stats;

    (void)net;
    heap_stats_read(&stats);
    return stats.allocated;
}

static bool hook_certificate_days(void *net, int64_t *days)
{
    const struct worker *w = net;
    int64_t ends = load_relaxed(&w->net->certificate_ends); /* stands alone */
    int64_t left = ends - (int64_t)(clock_wall_ms() / 1000);

    *days = left >= 0 ? left / DAY_SECONDS : -1 - (-left - 1) / DAY_SECONDS;
    return ends != 0;
}

static bool hook_still_holds(void *net, struct bytes user, uint64_t credential)
{
    const struct worker *w = net;

    return auth_credential(w->net->auth, w->passwd, user) == credential;
}

static void hook_auth_failed(void *net, void *conn, struct bytes client_id)
{
    (void)net;
    if (conn)
        guard_on_failure(conn, client_id);
}

static bool hook_is_banned(void *net, void *conn, struct bytes client_id)
{
    (void)net;
    return conn && (!guard_still_admits(conn) || guard_bans(conn, client_id));
}

static enum access_answer hook_may(void *net, const struct access_question *q)
{
    const struct worker *w = net;

    return http_access_may(w->http_access, q);
}

static bool set_hooks(struct worker *w)
{
    struct net *net = w->net;
    struct shard_hooks hooks = {.net = w,
                                .adopt = hook_adopt,
                                .abandon = conn_abandon_handoff,
                                .log = hook_log,
                                .heap_bytes = hook_heap_bytes,
                                .certificate_days = hook_certificate_days,
                                .still_holds = hook_still_holds,
                                .auth_failed = hook_auth_failed,
                                .is_banned = hook_is_banned,
                                .may = w->http_access ? hook_may : NULL};

    if (w->is_link && net->link_ops) {
        w->link = net->link_ops->setup(net->cfg, w, w->number - net->client_worker_count,
                                       net->worker_count - net->client_worker_count, &hooks);
        if (!w->link)
            return false;
    }
    shard_set_hooks(w->shard, &hooks);
    return true;
}

static bool make_parts(struct worker *w, char *why, size_t why_bytes)
{
    struct net *net = w->net;

    w->uring = uring_create(net->features, why, why_bytes);
    if (!w->uring)
        return false;
    snprintf(why, why_bytes, "no memory for worker %u", w->number);
    if (uring_has(w->uring, URING_BUFFER_RING) && bufring_create(&w->bufring, w->uring) != OK)
        return false;
    w->event_fd = eventfd(0, EFD_CLOEXEC);
    if (w->event_fd < 0) {
        snprintf(why, why_bytes, "no descriptor for worker %u: %s", w->number, strerror(errno));
        return false;
    }
    w->plain = malloc(LAYERS_PLAIN_BYTES); /* touched only where there are layers */
    if (!w->plain)
        return false;
    if (!w->is_link) {
        w->acceptors = calloc(net->listener_count ? net->listener_count : 1, sizeof(*w->acceptors));
        if (!w->acceptors)
            return false;
        if (net->cfg->auth.http_acl_url && !(w->http_access = http_access_create(w)))
            return false;
    }
    return set_hooks(w);
}

struct worker *worker_create(struct net *net, uint32_t number, char *why, size_t why_bytes)
{
    struct worker *w = aligned_alloc(_Alignof(struct worker), sizeof(*w));

    if (!w) {
        snprintf(why, why_bytes, "no memory for worker %u", number);
        return NULL;
    }
    memset(w, 0, sizeof(*w));
    w->net = net;
    w->number = number;
    w->is_link = number >= net->client_worker_count;
    w->shard = cluster_shard(net->cluster, number);
    w->links = link_set_ref(net->links);
    w->event_fd = -1;
    w->cpu = -1;
    pthread_mutex_init(&w->answers_lock, NULL);
    slab_init(&w->conns, conn_bytes(), net->connections_max + 64); /* and those that linger */
    arena_init(&w->scratch);
    if (!make_parts(w, why, why_bytes)) {
        worker_destroy(w);
        return NULL;
    }
    return w;
}

void worker_destroy(struct worker *w)
{
    if (!w)
        return;
    uring_destroy(w->uring);
    conn_abandon_all(w);
    bufring_destroy(&w->bufring);
    if (w->link && w->net->link_ops->destroy)
        w->net->link_ops->destroy(w->link);
    if (w->event_fd >= 0)
        close(w->event_fd);
    while (w->answers) {
        struct dial *d = w->answers;

        w->answers = d->next;
        free(d);
    }
    while (w->auth_answers) {
        struct auth_question *q = w->auth_answers;

        w->auth_answers = q->next;
        free(q->admission);
        auth_question_free(q);
    }
    http_access_destroy(w->http_access);
    passwd_release(w->passwd);
    link_set_release(w->links);
    slab_fini(&w->conns);
    arena_fini(&w->scratch);
    free(w->plain);
    pthread_mutex_destroy(&w->answers_lock);
    free(w->acceptors);
    free(w);
}

void worker_ring(const struct worker *w)
{
    uint64_t one = 1;

    (void)!write(w->event_fd, &one, sizeof(one));
}

struct tls_context *worker_link_tls(const struct worker *w, const char *name)
{
    return link_set_tls(w->links, name);
}

struct shard *worker_shard(struct worker *w)
{
    return w->shard;
}

const struct cfg *worker_cfg(const struct worker *w)
{
    return w->net->cfg;
}

/* ---- the log ---- */

void worker_log(struct worker *w, const struct log_line *line)
{
    log_event(w->net->log, LOG_SOURCE_WORKER(w->number), line);
}

void worker_log_flood(struct worker *w, enum log_flood kind, struct log_line *line)
{
    const char *detail = line->detail;
    char text[192];

    if (w->now_ms < w->floods[kind].next_ms) {
        w->floods[kind].held_back++;
        return;
    }
    if (w->floods[kind].held_back) {
        snprintf(text, sizeof(text), "%s%sand %llu more times since the last line like this",
                 detail ? detail : "", detail ? "; " : "",
                 (unsigned long long)w->floods[kind].held_back);
        line->detail = text;
    }
    w->floods[kind].held_back = 0;
    w->floods[kind].next_ms = w->now_ms + FLOOD_PAUSE_MS;
    worker_log(w, line);
    line->detail = detail;
}

/* ---- the turn ---- */

static void begin_stopping(struct worker *w)
{
    w->is_stopping = true;
    listener_disarm_all(w);
    if (w->link && w->net->link_ops->stop)
        w->net->link_ops->stop(w->link);
    conn_stop_all(w);
    shard_shutdown(w->shard);
}

/* Takes over the links that main has put there; false: no memory. The lock is held. */
static bool take_links(struct worker *w)
{
    struct link_set *set = w->net->links;

    if (w->links == set)
        return true;
    if (shard_set_links(w->shard, set->rules, LINKS_MAX) != OK)
        return false;
    link_set_release(w->links);
    w->links = link_set_ref(set);
    w->must_apply = w->link && w->net->link_ops->apply;
    return true;
}

/* Takes over the users, rules and links that main has put there. */
static void take_rules(struct worker *w)
{
    struct net *net = w->net;

    pthread_mutex_lock(&net->rules_lock);
    if (take_links(w)) /* else all is taken over once more in the next turn */
        w->rules_version = load_relaxed(&net->rules_version); /* stored under the lock */
    passwd_release(w->passwd);
    w->passwd = net->passwd ? passwd_ref(net->passwd) : NULL;
    shard_set_scram(w->shard, net->scram);
    shard_set_acl(w->shard, net->acl);
    pthread_mutex_unlock(&net->rules_lock);
    shard_judge_all(w->shard);
}

/* Returns whether there is work left for another turn at once. */
static bool run_shard(struct worker *w)
{
    bool more = false;
    bool more_end = false;
    struct stream *s;
    uint64_t sleepers;

    shard_begin_turn(w->shard, w->now_ms, clock_wall_ms());
    if (!w->is_stopping && load_acquire(&w->net->phase) != NET_RUNNING) /* pairs with server.c */
        begin_stopping(w);
    if (load_acquire(&w->net->rules_version) != w->rules_version) /* pairs with server.c */
        take_rules(w);
    more |= uring_run(w->uring, COMPLETIONS_MAX) == COMPLETIONS_MAX;
    more |= shard_run_mail(w->shard);
    more |= shard_run_timers(w->shard);
    if (w->must_apply && !w->is_stopping)
        w->must_apply = !w->net->link_ops->apply(w->link, w->links->links);
    if (w->link && w->net->link_ops->turn)
        more |= w->net->link_ops->turn(w->link);
    conn_retry_all(w);
    conn_run_handshakes(w);
    w->must_turn = false; /* what was called until here is part of this turn */
    sleepers = shard_end_turn(w->shard, &more_end);
    while ((s = shard_next_dirty(w->shard)) != NULL)
        conn_flush(s);
    wake_send(w, sleepers);
    log_flush(w->net->log, LOG_SOURCE_WORKER(w->number));
    return more || more_end || w->must_turn;
}

/* How long the worker may sleep, in microseconds; 0: not at all. */
static uint64_t sleep_us(struct worker *w, bool is_busy, uint64_t limit_us)
{
    uint64_t timer_ms = shard_next_timer_ms(w->shard);
    uint64_t us = timer_ms == UINT64_MAX ? URING_FOREVER : timer_ms * 1000u;
    uint32_t spin_us = w->net->cfg->broker.spin_us;

    if (is_busy || uring_is_ready(w->uring))
        us = 0;
    if (spin_us && us) {
        if (is_busy || uring_is_ready(w->uring))
            w->busy_us = clock_mono_us();
        else if (clock_mono_us() - w->busy_us < spin_us)
            us = 0;
    }
    if (w->retry_first && us) {
        uint64_t left_us = pace_left_us(&w->retry, clock_mono_us());

        us = left_us < us ? left_us : us;
    }
    if (w->must_apply && us > APPLY_US)
        us = APPLY_US;
    if (w->handshake_first && us > conn_handshake_us(w))
        us = conn_handshake_us(w);
    return us < limit_us ? us : limit_us;
}

bool worker_turn_within(struct worker *w, uint64_t limit_us)
{
    uint64_t wait_us;
    bool is_busy;

    w->now_ms = clock_mono_ms() + w->ahead_ms;
    is_busy = run_shard(w);
    if (load_acquire(&w->net->phase) == NET_STOPPED)
        return false;
    wait_us = sleep_us(w, is_busy, limit_us);
    if (wait_us > 0 && shard_sleep(w->shard)) {
        uring_submit(w->uring, wait_us);
        shard_awake(w->shard);
    } else {
        uring_submit(w->uring, 0);
    }
    if (uring_is_submitted(w->uring))
        arena_reset(&w->scratch);
    return true;
}

bool worker_turn(struct worker *w)
{
    return worker_turn_within(w, URING_FOREVER);
}

/* ---- the thread ---- */

enum err worker_begin(struct worker *w)
{
    if (uring_enable(w->uring) != OK)
        return ERR_SYSTEM;
    w->now_ms = clock_mono_ms();
    shard_awake(w->shard);
    shard_begin_turn(w->shard, w->now_ms, clock_wall_ms());
    wake_init(w);
    if (!w->is_link)
        listener_arm_all(w);
    if (w->link && w->net->link_ops->start)
        w->net->link_ops->start(w->link);
    return OK;
}

void worker_end(struct worker *w)
{
    wake_fini(w);
    uring_submit(w->uring, 0);
    uring_run(w->uring, COMPLETIONS_MAX);
}

static void pin(const struct worker *w)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET((size_t)w->cpu, &set);
    (void)pthread_setaffinity_np(pthread_self(), sizeof(set), &set); /* a wish, not a need */
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    char name[16];

    snprintf(name, sizeof(name), w->is_link ? "cw-link-%u" : "cw-worker-%u", w->number);
    (void)pthread_setname_np(pthread_self(), name);
    if (w->cpu >= 0)
        pin(w);
    if (worker_begin(w) != OK) {
        struct log_line line = {
            .level = 3, .event = "worker cannot start", .reason = strerror(errno)};

        worker_log(w, &line);
        log_flush(w->net->log, LOG_SOURCE_WORKER(w->number));
        store_release(&w->net->has_failed, 1); /* pairs with load_acquire in server.c */
        kill(getpid(), SIGTERM);
        return NULL;
    }
    while (worker_turn(w))
        ;
    worker_end(w);
    return NULL;
}

enum err worker_start(struct worker *w)
{
    int error = pthread_create(&w->thread, NULL, worker_main, w);

    if (error != 0) {
        errno = error;
        return ERR_SYSTEM;
    }
    w->has_thread = true;
    return OK;
}

void worker_join(struct worker *w)
{
    if (w->has_thread)
        pthread_join(w->thread, NULL);
    w->has_thread = false;
}
