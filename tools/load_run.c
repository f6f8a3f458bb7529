/* tools/load_run.c -- one run from the first connection to the last message. */
#include "tools/load_run.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "core/base/check.h"
#include "net/clock.h"
#include "tools/load_act.h"
#include "tools/load_progress.h"

/* After the last message: what comes twice may still be on its way. */
#define LINGER_US 50000u
/* The same between two brokers. */
#define LINGER_FAR_US 500000u
/* Longest sleep: so soon a stall or the end of a phase is noticed. */
#define NAP_US 50000u
/* After a failure, how long removing what was left behind may take. */
#define CLEAN_US 2000000u
/* Descriptors for all but connections. */
#define SPARE_FDS 32u
/* Room to receive, of one connection, with few and with many of them. */
#define IN_BYTES 65536u
#define IN_BYTES_MANY 8192u
#define MANY_CONNECTIONS 2000u
/* The shortest of the times that the measured time is divided into. */
#define POINT_US_MIN 50000u

enum run_phase {
    RUN_CONNECT,
    RUN_PREPARE,
    RUN_SETTLE,
    RUN_WARM_UP,
    RUN_MEASURE,
    RUN_DRAIN,
    RUN_CHECK,
    RUN_CLEAN,
    RUN_LINGER,
    RUN_OVER,
};

static const char *const phase_names[] = {
    [RUN_CONNECT] = "connecting", [RUN_PREPARE] = "preparing", [RUN_SETTLE] = "settling",
    [RUN_WARM_UP] = "warming up", [RUN_MEASURE] = "measuring", [RUN_DRAIN] = "draining",
    [RUN_CHECK] = "checking",     [RUN_CLEAN] = "cleaning up", [RUN_LINGER] = "lingering",
};

struct run {
    const struct load_options *options;
    struct load_traffic *traffic;
    struct load_result *result;
    enum run_phase phase;
    uint64_t since_us; /* the phase began */
    uint32_t opened;
    uint64_t moved_us; /* something was last done */
    uint64_t moved_count;
    struct load_progress progress;
    uint64_t point_us; /* the last point ended, and what had been done by then */
    uint64_t point_done;
};

/* ---- measuring ---- */

static void take_sample(struct run *r, struct load_sample *s)
{
    const struct load_procs *procs = &r->options->procs;

    s->us = clock_mono_us();
    s->own_ns = load_own_cpu();
    s->counts = r->traffic->counts;
    if (load_procs_cpu(procs, &s->cpu_ns) != OK || load_procs_memory(procs, &s->memory) != OK)
        r->result->failure = "the broker's processes cannot be read; see --pid";
}

uint64_t load_run_done(const struct load_scenario *s, const struct load_counts *c)
{
    if (s->kind == LOAD_RETAINED || (s->kind == LOAD_MESSAGES && !s->has_no_subscriber))
        return c->delivered;
    if (s->kind == LOAD_SILENCE)
        return c->delivered;
    return s->kind == LOAD_MESSAGES ? c->complete : c->finished;
}

/* How long the times are that the measured time is divided into. */
static uint64_t point_every_us(const struct run *r)
{
    uint64_t us = r->options->measure_us / (LOAD_POINTS_MAX / 2);

    return us > POINT_US_MIN ? us : POINT_US_MIN;
}

/* Ends the short time that is measured by itself, if it is over, and tells how it goes. */
static void look_at_progress(struct run *r, uint64_t now_us)
{
    struct load_traffic *t = r->traffic;
    uint64_t every = point_every_us(r);
    struct load_point *point = &r->result->points[r->result->point_count];
    uint64_t done = load_run_done(r->options->scenario, &t->counts);

    if (!t->keeps_recent || r->phase == RUN_OVER || now_us - r->point_us < every)
        return;
    *point = (struct load_point){
        .at = (double)(now_us - t->measured_from_us) / 1e6,
        .per_second = (double)(done - r->point_done) * 1e6 / (double)(now_us - r->point_us),
        .p50 = load_hist_at(&t->recent, 0.5),
        .p99 = load_hist_at(&t->recent, 0.99),
        .max = t->recent.max,
    };
    load_progress_show(&r->progress, phase_names[r->phase], point, &t->counts, now_us);
    r->point_us = now_us;
    r->point_done = done;
    memset(&t->recent, 0, sizeof(t->recent));
    if (r->phase == RUN_MEASURE && r->result->point_count < LOAD_POINTS_MAX - 1)
        r->result->point_count++;
}

/* ---- phases ---- */

static void start_act(struct load_traffic *t, uint64_t now_us)
{
    if (t->act->start || t->act->turn) {
        t->is_acting = true;
        t->started_us = now_us;
    }
    if (t->act->start)
        t->act->start(t, now_us);
}

static void start_measuring(struct run *r, uint64_t now_us)
{
    struct load_traffic *t = r->traffic;

    t->is_measuring = true;
    t->measured_from_us = r->point_us = now_us;
    r->point_done = load_run_done(r->options->scenario, &t->counts);
    memset(&t->recent, 0, sizeof(t->recent));
    take_sample(r, &r->result->from);
}

static void stop_measuring(struct run *r, uint64_t now_us)
{
    struct load_traffic *t = r->traffic;

    take_sample(r, &r->result->to);
    t->is_acting = false;
    if (t->act->stop)
        t->act->stop(t, now_us);
}

static void enter(struct run *r, enum run_phase phase, uint64_t now_us)
{
    struct load_traffic *t = r->traffic;

    r->phase = phase;
    r->since_us = r->moved_us = now_us;
    switch (phase) {
    case RUN_CONNECT:
        take_sample(r, &r->result->start);
        break;
    case RUN_PREPARE:
        take_sample(r, &r->result->connected);
        if (t->act->prepare)
            t->act->prepare(t, now_us);
        break;
    case RUN_WARM_UP:
        r->result->window = t->publishers[0].window;
        t->limit = r->options->count ? r->options->count : UINT64_MAX;
        start_act(t, now_us);
        break;
    case RUN_MEASURE:
        start_measuring(r, now_us);
        break;
    case RUN_DRAIN:
        stop_measuring(r, now_us);
        break;
    case RUN_CHECK:
        /* Silent clients have no other latency. */
        t->is_measuring = r->options->scenario->kind == LOAD_SILENCE;
        if (r->options->scenario->is_checked)
            load_traffic_check(t, now_us);
        break;
    case RUN_CLEAN:
        load_traffic_stop(t, now_us);
        if (t->act->clean)
            t->act->clean(t, now_us);
        break;
    case RUN_SETTLE:
    case RUN_LINGER:
    case RUN_OVER:
        break;
    }
}

static void fail(struct run *r, const char *failure, const char *detail)
{
    r->result->failure = failure;
    r->result->failure_detail = detail;
    r->phase = RUN_OVER;
}

static void open_more(struct run *r)
{
    struct load_traffic *t = r->traffic;

    while (r->opened < t->party_count && r->opened - t->counts.ready < r->options->ramp) {
        if (load_traffic_open(t, r->opened) != OK) {
            fail(r, "a connection could not be begun", strerrordesc_np(errno));
            return;
        }
        r->opened++;
    }
}

/* Everything that was begun has ended. */
static bool is_complete(const struct load_counts *c)
{
    return c->complete == c->sent && c->finished == c->begun && c->chores == 0;
}

/* And there is nothing left to begin. */
static bool is_sent_out(const struct load_traffic *t)
{
    return t->counts.sent + t->counts.begun >= t->limit && is_complete(&t->counts);
}

/* Every publisher has sent its message, and that has arrived. */
static bool is_checked(const struct load_traffic *t)
{
    return t->counts.sent == t->publisher_count && is_complete(&t->counts);
}

/* How long a phase lasts that ends by the clock; the others end when they are done. */
static uint64_t phase_us(const struct run *r)
{
    const struct load_options *o = r->options;

    switch (r->phase) {
    case RUN_SETTLE:
        return o->settle_us;
    case RUN_WARM_UP:
        return o->warm_up_us;
    case RUN_MEASURE:
        return o->scenario->kind == LOAD_SUBSCRIBE ? UINT64_MAX : o->measure_us;
    case RUN_LINGER:
        return o->far_port ? LINGER_FAR_US : LINGER_US;
    default:
        return UINT64_MAX;
    }
}

static bool is_phase_over(const struct run *r, uint64_t now_us)
{
    const struct load_traffic *t = r->traffic;
    bool is_silent = r->options->scenario->kind == LOAD_SILENCE;

    if (now_us - r->since_us >= phase_us(r))
        return true;
    switch (r->phase) {
    case RUN_CONNECT:
        return t->counts.ready == t->party_count || t->act->connects_late;
    case RUN_MEASURE:
        return !is_silent && is_sent_out(t);
    case RUN_PREPARE:
    case RUN_DRAIN:
    case RUN_CLEAN:
        return is_complete(&t->counts);
    case RUN_CHECK:
        return !r->options->scenario->is_checked || is_checked(t);
    default:
        return false;
    }
}

static void step(struct run *r, uint64_t now_us)
{
    if (r->phase == RUN_CONNECT && !r->traffic->act->connects_late)
        open_more(r);
    while (r->phase != RUN_OVER && is_phase_over(r, now_us))
        enter(r, r->phase + 1, now_us);
}

/* Whether the broker owes us something. */
static bool is_waiting(const struct run *r)
{
    const struct load_traffic *t = r->traffic;

    return r->phase == RUN_CONNECT || !is_complete(&t->counts);
}

static const char *why_stuck(const struct run *r)
{
    const struct load_counts *c = &r->traffic->counts;

    if (r->phase == RUN_CONNECT)
        return "connecting got stuck";
    if (c->complete < c->sent || r->options->scenario->kind == LOAD_RETAINED)
        return "messages do not arrive";
    return "the broker does not answer any more";
}

static void look_for_trouble(struct run *r, uint64_t now_us)
{
    const struct load_counts *c = &r->traffic->counts;
    uint64_t count = c->ready + c->delivered + c->acked + c->finished;

    if (c->gone > 0) {
        fail(r, "a connection ended", r->traffic->why_gone);
        return;
    }
    if (count != r->moved_count || !is_waiting(r)) {
        r->moved_count = count;
        r->moved_us = now_us;
    } else if (now_us - r->moved_us >= r->options->stall_us) {
        fail(r, why_stuck(r), NULL);
    }
}

/* Until something has to be done even if nothing happens. */
static uint64_t wait_us(const struct run *r, uint64_t now_us)
{
    struct load_traffic *t = r->traffic;
    uint64_t next = load_traffic_next_us(t);
    uint64_t act_us = t->act->next_us ? t->act->next_us(t) : UINT64_MAX;
    uint64_t rest = phase_us(r) - (now_us - r->since_us);

    if (act_us < next)
        next = act_us;
    if (r->phase == RUN_CONNECT && !t->act->connects_late && r->opened < t->party_count &&
        r->opened - t->counts.ready < r->options->ramp)
        return 0;
    if (next <= now_us)
        return 0;
    if (rest > next - now_us)
        rest = next - now_us;
    return rest < NAP_US ? rest : NAP_US;
}

static void run_all(struct run *r)
{
    struct load_traffic *t = r->traffic;
    uint64_t now_us = clock_mono_us();

    r->point_us = now_us;
    enter(r, RUN_CONNECT, now_us);
    while (r->phase != RUN_OVER && !r->result->failure) {
        step(r, now_us);
        look_for_trouble(r, now_us);
        if (t->act->turn)
            t->act->turn(t, now_us);
        load_traffic_publish(t, now_us);
        look_at_progress(r, now_us);
        load_loop_turn(t->loop, wait_us(r, now_us));
        now_us = clock_mono_us();
    }
}

/* A run that failed before it was cleaned up after leaves nothing at the broker either, if that
 * still answers. */
static void clean_up(struct load_traffic *t, const struct load_result *result)
{
    uint64_t now_us = clock_mono_us(), until = now_us + CLEAN_US;

    if (!result->failure || !t->act->clean || t->counts.gone > 0 ||
        t->counts.ready < t->party_count)
        return;
    t->act->clean(t, now_us);
    while (t->counts.chores > 0 && clock_mono_us() < until)
        load_loop_turn(t->loop, NAP_US);
}

/* Clients that leave say so, for at most a nap. */
static void leave(struct load_traffic *t)
{
    uint64_t until = clock_mono_us() + NAP_US;

    for (uint32_t i = 0; i < t->party_count; i++)
        load_client_leave(&t->parties[i].client);
    do
        load_loop_turn(t->loop, 1000);
    while (t->loop->dirty && clock_mono_us() < until);
}

/* ---- beginning ---- */

static bool raise_descriptors(uint32_t connections)
{
    struct rlimit l;

    if (getrlimit(RLIMIT_NOFILE, &l) != 0)
        return true;
    l.rlim_cur = l.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &l);
    if (l.rlim_cur >= connections + SPARE_FDS)
        return true;
    fprintf(stderr,
            "causeway-load: %" PRIu32 " connections need more than the %llu descriptors a process "
            "may have; raise the hard limit (ulimit -Hn) or take fewer\n",
            connections, (unsigned long long)l.rlim_cur);
    return false;
}

/* The context of all connections; it stays until the loop is closed. */
static bool open_tls(struct load_loop *loop, const struct load_options *o)
{
    struct tls_settings settings = {.side = TLS_CLIENT,
                                    .ca_file = o->ca_file,
                                    .certificate_file = o->certificate_file,
                                    .key_file = o->key_file,
                                    .accept_any = o->is_insecure,
                                    .alpn = "mqtt"};
    char why[512] = "the TLS library does not start";

    if (!o->has_tls)
        return true;
    loop->resumes = o->resumes;
    if (tls_init() == OK)
        loop->tls = tls_context_create(&settings, why, sizeof(why));
    if (loop->tls)
        return true;
    fprintf(stderr, "causeway-load: %s\n", why);
    return false;
}

static bool open_loop(struct load_loop *loop, const struct load_options *o, uint32_t connections)
{
    char why[512] = "no memory";
    uint32_t least = 2 * (o->sizes.max + 1024);

    *loop = (struct load_loop){
        .calls = &load_client_wire_calls, .server_name = o->host, .ws_path = o->ws_path};
    loop->in_bytes = connections > MANY_CONNECTIONS ? IN_BYTES_MANY : IN_BYTES;
    if (loop->in_bytes < least)
        loop->in_bytes = least;
    if (!open_tls(loop, o))
        return false;
    if (load_loop_open(loop, why, sizeof(why)) == OK)
        return true;
    tls_context_release(loop->tls);
    fprintf(stderr, "causeway-load: %s\n", why);
    return false;
}

bool load_run(struct load_traffic *t, const struct load_options *o, struct load_result *result)
{
    struct load_loop loop;
    struct run r = {.options = o, .traffic = t, .result = result};
    uint32_t connections = load_scenario_connections(o->scenario, o->clients);
    bool ok = false;

    *result = (struct load_result){.window = o->window};
    if (!raise_descriptors(connections) || !open_loop(&loop, o, connections))
        return false;
    (void)prctl(PR_SET_TIMERSLACK, 1000ul, 0ul, 0ul, 0ul); /* paced messages leave in time */
    if (load_traffic_init(t, o, &loop) == OK) {
        load_progress_init(&r.progress, o->shows_progress);
        t->keeps_recent = o->html_file || r.progress.is_shown;
        run_all(&r);
        load_progress_end(&r.progress);
        load_traffic_write_off(t);
        if (t->act->write_off)
            t->act->write_off(t);
        result->counts = t->counts;
        clean_up(t, result);
        leave(t);
        ok = true;
    } else {
        fprintf(stderr, "causeway-load: no memory for so many clients\n");
    }
    load_loop_close(&loop);
    load_traffic_fini(t);
    tls_context_release(loop.tls);
    return ok;
}

bool load_run_is_clean(const struct load_result *r)
{
    const struct load_counts *c = &r->counts;

    return !r->failure && c->gone == 0 && c->refused == 0 && c->lost == 0 && c->doubled == 0 &&
           c->late == 0 && c->strange == 0 && is_complete(c);
}
