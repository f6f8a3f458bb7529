/* tests/sim/main.c -- runs seeds of the simulated world and compares it with the model.
 *
 * Usage: sim --seeds N [--first S] [--seed S] [--workers W] [--verbose] [--no-qos12]
 *            [--no-retained] [--no-share] [--no-wills] [--no-sessions] [--no-acl] [--no-mount]
 *            [--links | --no-links]
 * Every seed runs one broker, every third with an ACL, every fourth with a mount point; every
 * fifth, in addition, linked clusters.
 * --links runs nothing but linked clusters, with every seed. Prints each failing seed with what
 * differed and its last events, and at the end `N passed, N failed`; exit status 1 if any failed.
 */
#include "tests/sim/clients.h"
#include "tests/sim/linked.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/check.h"

/* One seed of so many also runs linked clusters. */
#define LINKS_EVERY 5
/* And of so many, one has an ACL. */
#define ACL_EVERY 3
/* And of so many, one has a mount point. */
#define MOUNT_EVERY 4

/* For the report of a failed check, which ends the program. */
static struct sim the_sim;
static uint64_t passed_count, failed_count;

static void on_check_failed(const char *file, int line, const char *what)
{
    differ(&the_sim, "%s:%d: check failed: %s", file, line, what);
    sim_report(&the_sim);
    printf("%" PRIu64 " passed, %" PRIu64 " failed\n", passed_count, failed_count + 1);
    fflush(stdout);
}

/* Mostly a little time passes, sometimes much, sometimes just until the next timer. */
static uint64_t draw_time(struct sim *s, const struct world *w)
{
    uint64_t next = world_next_timer(w);

    switch (draw(s, 60)) {
    case 0:
        return draw(s, 20000);
    case 1:
        if (next != NEVER && next > s->now_ms && next - s->now_ms < 60000)
            return next - s->now_ms - draw(s, 2);
        return 0;
    case 2:
    case 3:
        return draw(s, 1500);
    default:
        return draw(s, 6);
    }
}

static void pass_time(struct sim *s, struct world *w, struct model *m)
{
    uint64_t ms = draw_time(s, w);

    if (ms > 100)
        world_end_turns(w);
    sim_pass(s, ms);
    model_time(m);
}

static void run_clients(struct sim *s, struct clients *c)
{
    uint32_t rounds = 2 + draw(s, 3);

    if (s->opt.acl)
        clients_new_rights(c, false);
    for (uint32_t round = 0; round < rounds && !s->failed; round++) {
        uint32_t acts = 60 + draw(s, 240);

        while (acts-- > 0 && !s->failed) {
            clients_act(c);
            pass_time(s, c->world, c->model);
            (void)world_run(c->world, draw(s, 3) ? draw(s, 12) : draw(s, 80));
        }
        if (!s->failed)
            clients_rest(c);
        if (s->opt.acl && !s->failed)
            clients_new_rights(c, round + 1 == rounds && chance(s, 50));
    }
    if (!s->failed)
        clients_finish(c);
}

/* Whether the seed passed, with one broker. */
static bool run_broker(uint64_t seed, const struct sim_options *opt)
{
    struct sim *s = &the_sim;
    struct model model;
    struct clients clients;
    struct listener listener = clients_listener(&clients);

    sim_start(s, seed, opt);
    s->opt.acl = opt->acl && seed % ACL_EVERY == 0;
    s->opt.mount = opt->mount && seed % MOUNT_EVERY == 0;
    model_init(&model, s);
    clients_init(&clients, s, &model);
    clients.world = world_create(s, &listener);
    run_clients(s, &clients);
    if (s->failed)
        sim_report(s);
    world_destroy(clients.world);
    clients_fini(&clients);
    model_fini(&model);
    return !s->failed;
}

/* Whether the seed passed, with linked clusters. */
static bool run_links(uint64_t seed, const struct sim_options *opt)
{
    struct sim_options links = *opt;

    links.links_only = true; /* for the report */
    links.mount = false;
    sim_start(&the_sim, seed, &links);
    linked_run(&the_sim);
    return !the_sim.failed;
}

static bool run_seed(uint64_t seed, const struct sim_options *opt)
{
    if (!opt->links_only && !run_broker(seed, opt))
        return false;
    if (opt->links_only || (opt->links && seed % LINKS_EVERY == 0))
        return run_links(seed, opt);
    return true;
}

static bool switch_off(struct sim_options *opt, const char *arg)
{
    if (strcmp(arg, "--no-qos12") == 0)
        opt->qos12 = false;
    else if (strcmp(arg, "--no-retained") == 0)
        opt->retained = false;
    else if (strcmp(arg, "--no-share") == 0)
        opt->share = false;
    else if (strcmp(arg, "--no-wills") == 0)
        opt->wills = false;
    else if (strcmp(arg, "--no-sessions") == 0)
        opt->sessions = false;
    else if (strcmp(arg, "--no-acl") == 0)
        opt->acl = false;
    else if (strcmp(arg, "--no-mount") == 0)
        opt->mount = false;
    else if (strcmp(arg, "--links") == 0)
        opt->links_only = true;
    else if (strcmp(arg, "--no-links") == 0)
        opt->links = false;
    else if (strcmp(arg, "--verbose") == 0)
        opt->verbose = true;
    else
        return false;
    return true;
}

int main(int argc, char **argv)
{
    struct sim_options opt = {.qos12 = true,
                              .retained = true,
                              .share = true,
                              .wills = true,
                              .sessions = true,
                              .links = true,
                              .acl = true,
                              .mount = true};
    uint64_t first = 1, seeds = 1;

    for (int i = 1; i < argc; i++) {
        uint64_t value = i + 1 < argc ? strtoull(argv[i + 1], NULL, 10) : 0;

        if (switch_off(&opt, argv[i]))
            continue;
        i++;
        if (i < argc && strcmp(argv[i - 1], "--seeds") == 0) {
            seeds = value;
        } else if (i < argc &&
                   (strcmp(argv[i - 1], "--first") == 0 || strcmp(argv[i - 1], "--seed") == 0)) {
            first = value;
        } else if (i < argc && strcmp(argv[i - 1], "--workers") == 0 && value <= 8) {
            opt.workers = (uint32_t)value;
        } else {
            fprintf(stderr, "sim: what is '%s'? See the top of tests/sim/main.c.\n", argv[i - 1]);
            return 2;
        }
    }
    check_set_handler(on_check_failed);
    for (uint64_t seed = first; seed < first + seeds; seed++) {
        if (run_seed(seed, &opt))
            passed_count++;
        else
            failed_count++;
        if ((seed - first + 1) % 1000 == 0)
            fprintf(stderr, "%" PRIu64 " seeds\n", seed - first + 1);
    }
    printf("%" PRIu64 " passed, %" PRIu64 " failed\n", passed_count, failed_count);
    return failed_count != 0;
}
