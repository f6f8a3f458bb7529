/* tools/load_compare.c -- several brokers under the same loads, in turn, in rounds. */
#include "tools/load_compare.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/load_html.h"
#include "tools/load_peer.h"
#include "tools/load_table.h"
#include "tools/load_values.h"

static volatile sig_atomic_t is_told_to_end;
/* A byte in it wakes who waits for figures, however shortly before the signal came. */
static int told[2];

static void on_signal(int number)
{
    int before = errno;

    (void)number;
    is_told_to_end = 1;
    if (write(told[1], "", 1) < 0)
        errno = before;
}

/* ---- one run ---- */

/* In the child: runs the load and writes what it found to the pipe. */
static void measure(struct load_options *o, int to, uint64_t cpus)
{
    static struct load_traffic traffic;
    static struct load_result result;
    static struct load_figures figures;
    const char *p = (const char *)&figures;
    size_t left = sizeof(figures);

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    load_pin_to(cpus);
    if (!load_options_resolve(o) || !load_run(&traffic, o, &result))
        _exit(1);
    load_figures_derive(&figures, o, &traffic, &result);
    while (left > 0) {
        ssize_t n = write(to, p, left);

        if (n <= 0)
            _exit(1);
        p += n;
        left -= (size_t)n;
    }
    _exit(0);
}

/* Reads figures from the pipe.  false: the load did not come to an end. */
static bool collect(int from, struct load_figures *f)
{
    struct pollfd either[2] = {{.fd = from, .events = POLLIN}, {.fd = told[0], .events = POLLIN}};
    char *p = (char *)f;
    size_t left = sizeof(*f);

    while (left > 0) {
        ssize_t n = -1;

        if (poll(either, 2, -1) < 0 && errno == EINTR)
            continue;
        if (!either[1].revents)
            n = read(from, p, left);
        if (n <= 0) {
            *f = (struct load_figures){0};
            return false;
        }
        p += n;
        left -= (size_t)n;
    }
    return true;
}

/* The load is a process of its own; texts in its figures are ours too, since it is our copy. */
static bool run_load(struct load_options *o, struct load_figures *f, uint64_t cpus)
{
    int ends[2];
    pid_t pid;
    bool ok;

    if (is_told_to_end)
        return false;
    if (pipe(ends) != 0)
        return load_complain("no pipe: %s", strerror(errno));
    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        close(ends[0]);
        measure(o, ends[1], cpus);
    }
    close(ends[1]);
    ok = pid > 0 && collect(ends[0], f);
    close(ends[0]);
    if (pid > 0) {
        if (is_told_to_end)
            (void)kill(pid, SIGKILL);
        (void)waitpid(pid, NULL, 0);
    }
    return ok;
}

static void run_one(const struct load_results *r, uint32_t run, uint32_t peer, uint32_t round)
{
    const struct load_peer *p = &r->plan->peers[peer];
    struct load_options o = r->plan->runs[run].options;
    struct load_figures *f = load_results_at(r, run, peer, round);
    const char *label = r->plan->runs[run].label;
    struct load_started started;

    if (!load_plan_can(p, &r->plan->runs[run]) || !load_peer_start(&started, p, r->pin.broker))
        return;
    o.host = "127.0.0.1";
    o.port = p->port;
    o.is_bare = p->is_floor;
    o.procs = (struct load_procs){.pids = {started.pid}, .count = 1};
    if (!run_load(&o, f, r->pin.load) && !is_told_to_end)
        load_complain("%s, %s: could not be measured", p->name, label);
    else if (!f->is_clean && !is_told_to_end)
        load_complain("%s, %s: not clean: %s", p->name, label,
                      f->failure ? f->failure : "not all arrived once and in order");
    if (!load_peer_stop(&started, p))
        f->is_clean = false;
}

/* ---- all ---- */

static void run_rounds(const struct load_results *r)
{
    bool tells = isatty(STDERR_FILENO);

    for (uint32_t round = 0; round < r->rounds; round++) {
        for (uint32_t run = 0; run < r->plan->run_count; run++) {
            for (uint32_t peer = 0; peer < r->plan->peer_count && !is_told_to_end; peer++) {
                if (tells)
                    fprintf(stderr, "\r\x1b[Kround %" PRIu32 " of %" PRIu32 ": %s, %s", round + 1,
                            r->rounds, r->plan->runs[run].label, r->plan->peers[peer].name);
                run_one(r, run, peer, round);
            }
        }
        fprintf(stderr, "%sround %" PRIu32 " of %" PRIu32 "\n", tells ? "\r\x1b[K" : "", round + 1,
                r->rounds);
    }
}

static bool write_page(const struct load_options *base, const struct load_results *r)
{
    FILE *page;

    if (!base->html_file)
        return true;
    page = load_html_open(base->html_file, "causeway-load: brokers compared");
    if (!page)
        return false;
    load_table_html(page, r);
    return load_html_close(page, base->html_file);
}

static int compare(const struct load_options *base, const struct load_plan *plan)
{
    struct load_results r = {
        .plan = plan, .rounds = base->compare.rounds, .pin = base->compare.pin};
    struct sigaction act = {.sa_handler = on_signal};
    bool ok;

    r.figures = calloc((size_t)plan->run_count * plan->peer_count * r.rounds, sizeof(*r.figures));
    if (!r.figures)
        return load_complain("no memory") + 1;
    if (!load_pin_choose(&r.pin, load_pin_available()))
        r.pin = (struct load_pin){0};
    if (pipe2(told, O_CLOEXEC) != 0) {
        free(r.figures);
        return load_complain("no pipe: %s", strerror(errno)) + 1;
    }
    (void)sigaction(SIGINT, &act, NULL);
    (void)sigaction(SIGTERM, &act, NULL);
    run_rounds(&r);
    load_table(stdout, &r, base->form);
    ok = write_page(base, &r) && load_results_are_clean(&r);
    free(r.figures);
    return ok ? 0 : 1;
}

int load_compare(const struct load_options *base)
{
    static struct load_plan plan;
    int status = load_plan_read(&plan, base) ? compare(base, &plan) : 2;

    load_plan_fini(&plan);
    return status;
}
