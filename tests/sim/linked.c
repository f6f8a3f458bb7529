/* tests/sim/linked.c -- a seeded run of linked clusters: topology, phases, quiet, restarts. */
#include "tests/sim/linked.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "link/transit.h"

/* Links must stand again after so long, silent connections included; and where messages pass, each
 * cluster that a cover passes lets it linger. */
#define QUIET_MS 60000u

static const char *const names[CLUSTERS_MAX] = {"alpha", "beta", "gamma", "delta"};

const char *cluster_name(uint32_t number)
{
    return number < CLUSTERS_MAX ? names[number] : "nowhere";
}

struct peer *peer_of(struct linked *l, uint32_t from, uint32_t to)
{
    struct cluster *c = l->cluster[from];
    struct peer *p = NULL;
    struct hub *h;

    for (uint32_t i = 0; c->world && to < l->count && !p && (h = world_hub(c->world, i)); i++)
        p = hub_peer(h, bytes_str(names[to]));
    return p;
}

struct lane *lane_of(struct linked *l, uint32_t from, uint32_t to, uint32_t link_worker)
{
    const struct cluster *c = l->cluster[from];
    struct hub *h = c->world && to < l->count ? world_hub(c->world, link_worker) : NULL;

    return h ? hub_lane(h, bytes_str(names[to])) : NULL;
}

/* ---- topology ---- */

static void cluster_start(struct cluster *c)
{
    struct linked *l = c->all;
    struct listener listener = cables_listener(c);
    struct world_links links = {
        .cfg = &c->cfg, .ctx = c, .dialled = cable_dialled, .written = cable_written};

    c->sent = c->received = c->dropped = c->expected_sent = c->expected_received = 0;
    for (uint32_t i = 0; i < CLUSTERS_MAX; i++)
        c->telling[i] = NEVER;
    links_start(c);
    c->world = world_create_linked(l->sim, &listener, &links);
    note(l->sim, "%s: begins", names[c->number]);
}

static void draw_shape(struct linked *l)
{
    struct sim *s = l->sim;

    l->count = chance(s, 40) ? 3 : 2;
    l->is_synced = chance(s, 25);
    l->is_global = chance(s, 30);
    l->is_transit = !l->is_synced && !l->is_global && chance(s, 35);
    l->is_uniform = !l->is_transit || chance(s, 70);
    if (!l->is_transit && (l->is_synced || l->is_global || l->count == 2 || !chance(s, 50)))
        return;
    l->count = 3 + draw(s, 2);
    l->shape = (enum shape)(SHAPE_CHAIN + draw(s, SHAPE_COUNT - SHAPE_CHAIN));
}

static void build(struct linked *l)
{
    struct sim *s = l->sim;
    bool is_barred = chance(s, 40);

    draw_shape(l);
    for (uint32_t i = 0; i < l->count; i++) {
        l->cluster[i] = must_alloc(sizeof(struct cluster));
        l->cluster[i]->all = l;
        l->cluster[i]->number = i;
        l->cluster[i]->cfg.cluster.name = names[i];
        if (is_barred)
            l->cluster[i]->cfg.cluster.suback = SUBACK_LINKED;
        for (uint32_t j = 0; j < CLUSTERS_MAX; j++)
            l->cluster[i]->off_since[j] = NEVER;
    }
    links_draw(l);
    for (uint32_t i = 0; i < l->count; i++)
        cluster_start(l->cluster[i]);
    for (uint32_t n = l->count * (2 + draw(s, 4)), i = 0; i < n; i++)
        (void)client_new(l, i % l->count);
}

/* ---- running ---- */

static bool flush_clients(struct linked *l, uint32_t percent)
{
    bool has_moved = false;

    for (uint32_t i = 0; i < l->client_count; i++)
        if (l->clients[i]->tx_count && chance(l->sim, percent))
            has_moved |= client_flush(l->clients[i]);
    return has_moved;
}

/* Until nothing moves anywhere. */
static void rest(struct linked *l)
{
    bool was_calm = l->is_calm, has_moved = true;
    uint32_t rounds = 0;

    l->is_calm = true;
    while (has_moved && !l->sim->failed) {
        has_moved = cables_run(l);
        has_moved |= flush_clients(l, 100);
        for (uint32_t i = 0; i < l->count; i++) {
            uint64_t before;

            if (!l->cluster[i]->world)
                continue;
            before = world_busy(l->cluster[i]->world);
            if (!world_rest(l->cluster[i]->world) || ++rounds > 20000)
                differ(l->sim, "%s does not come to rest", names[i]);
            has_moved |= world_busy(l->cluster[i]->world) != before;
        }
    }
    l->is_calm = was_calm;
    cables_look(l);
    links_look(l);
}

static void pass(struct linked *l, uint64_t ms)
{
    if (ms > 100) {
        rest(l);
        sim_pass(l->sim, ms);
        rest(l);
    } else {
        sim_pass(l->sim, ms);
    }
}

static uint64_t next_timer(const struct linked *l)
{
    uint64_t next = NEVER;

    for (uint32_t i = 0; i < l->count; i++) {
        uint64_t t = l->cluster[i]->world ? world_next_timer(l->cluster[i]->world) : NEVER;

        next = t < next ? t : next;
    }
    return next;
}

/* Waits, with all bad things over, until all links stand and are empty; then it is judged. */
static void quiet(struct linked *l)
{
    uint64_t begin = l->sim->now_ms;
    const char *why = NULL;

    l->is_calm = true;
    l->is_patient |= chance(l->sim, 50);
    links_widen(l);
    rest(l);
    while (!l->sim->failed && !cables_quiet(l, &why)) {
        uint64_t next = next_timer(l), now = l->sim->now_ms;

        if (now - begin > QUIET_MS + (l->is_transit ? CLUSTERS_MAX * WANTS_LINGER_MS : 0))
            differ(l->sim, "links do not come to rest: %s", why);
        sim_pass(l->sim, next <= now ? 1 : next - now > 1000 ? 1000 : next - now);
        rest(l);
        cables_check_silent(l, begin);
    }
    for (uint32_t i = 0; i < l->count && !l->sim->failed; i++)
        world_poke(l->cluster[i]->world);
    rest(l);
    if (!l->sim->failed)
        judge_quiet(l);
    l->is_exact &= l->is_patient;
    l->is_calm = l->is_patient = false;
}

static void tick(struct linked *l)
{
    uint32_t kind = draw(l->sim, 200);

    pass(l, kind == 0 ? draw(l->sim, 4000) : kind < 6 ? draw(l->sim, 300) : draw(l->sim, 6));
    (void)cables_run(l);
    for (uint32_t i = 0; i < l->count; i++)
        if (l->cluster[i]->world)
            (void)world_run(l->cluster[i]->world,
                            draw(l->sim, 3) ? draw(l->sim, 20) : draw(l->sim, 100));
    (void)flush_clients(l, 60);
    cables_look(l);
    links_look(l);
}

/* ---- phases ---- */

static struct l_client *draw_client(struct linked *l)
{
    return l->clients[draw(l->sim, l->client_count)];
}

static void churn(struct linked *l, struct l_client *c)
{
    if (!l->cluster[c->cluster]->world)
        return;
    if (client_is_away(c)) {
        client_connect(c);
    } else if (c->end && c->is_up) {
        uint32_t kind = draw(l->sim, 10);

        if (kind == 0)
            client_leave(c);
        else if (kind < 3)
            client_unsubscribe(c);
        else
            client_subscribe(c);
    }
}

static void cluster_stop(struct linked *l, uint32_t number)
{
    struct cluster *c = l->cluster[number];

    note(l->sim, "%s: ends", names[number]);
    if (chance(l->sim, 50)) {
        world_stop_links(c->world);
        if (chance(l->sim, 50))
            rest(l);
    }
    l->is_exact = false;
    judge_restart(l, number);
    cables_lose(l, number);
    for (uint32_t i = 0; i < l->client_count; i++)
        if (l->clients[i]->cluster == number)
            client_lost(l->clients[i]);
    world_destroy(c->world);
    c->world = NULL;
}

static void restart(struct linked *l)
{
    uint32_t number = draw(l->sim, l->count);

    cluster_stop(l, number);
    for (uint32_t i = draw(l->sim, 30); i > 0 && !l->sim->failed; i--) {
        struct l_client *c = draw_client(l);

        if (c->end && c->is_up)
            client_publish(c);
        tick(l);
    }
    pass(l, 1 + draw(l->sim, chance(l->sim, 20) ? 40000 : 3000));
    cluster_start(l->cluster[number]);
}

/* People come, go, subscribe; nobody publishes. */
static void change(struct linked *l)
{
    bool has_reloads = chance(l->sim, 20);

    for (uint32_t i = 10 + draw(l->sim, 40); i > 0 && !l->sim->failed; i--) {
        churn(l, draw_client(l));
        if (has_reloads && chance(l->sim, 10))
            links_reload(l);
        tick(l);
    }
}

/* People publish, and what else is drawn happens. */
static void publish(struct linked *l)
{
    bool has_cuts = chance(l->sim, 50), has_churn = chance(l->sim, 30);
    bool has_reloads = chance(l->sim, 30);
    uint32_t acts = 20 + draw(l->sim, 150);
    uint32_t restart_at = chance(l->sim, 15) ? draw(l->sim, acts) : NONE;

    l->is_calm = !has_cuts;
    for (uint32_t i = 0; i < acts && !l->sim->failed; i++) {
        struct l_client *c = draw_client(l);

        if (i == restart_at)
            restart(l);
        if (has_churn && chance(l->sim, 25))
            churn(l, c);
        else if (c->end && c->is_up)
            client_publish(c);
        if (has_cuts && chance(l->sim, 4))
            cables_cut(l);
        if (has_reloads && chance(l->sim, 5))
            links_reload(l);
        if (chance(l->sim, 70))
            tick(l);
    }
}

/* Two clusters cannot reach each other, often for longer than routes live of who is there and not
 * heard of. What is published waits. */
static void part(struct linked *l)
{
    uint32_t a = draw(l->sim, l->count), b = (a + 1 + draw(l->sim, l->count - 1)) % l->count;
    uint64_t until = l->sim->now_ms + draw(l->sim, 3 * ANNOUNCED_TTL_MS);

    l->is_exact = false;
    cables_part(l, a, b, true);
    while (l->sim->now_ms < until && !l->sim->failed) {
        struct l_client *c = draw_client(l);

        if (chance(l->sim, 50) && c->end && c->is_up)
            client_publish(c);
        tick(l);
        pass(l, draw(l->sim, 2000));
    }
    cables_part(l, a, b, false);
}

/* Nobody subscribes to anything, so nobody has a route. */
static void check_no_routes(struct linked *l)
{
    for (uint32_t i = 0; i < l->count && !l->sim->failed; i++) {
        for (uint32_t k = 0; world_hub(l->cluster[i]->world, k); k++)
            if (hub_local_count(world_hub(l->cluster[i]->world, k)))
                differ(l->sim, "%s still has local filters", names[i]);
        for (uint32_t j = 0; j < l->count; j++) {
            struct peer *p = peer_of(l, i, j);

            if (p && transit_state(p->host->transit).wishes)
                differ(l->sim, "%s still has wishes of others", names[i]);
            if (p && link_is_on(l, i, j) && link_is_on(l, j, i) &&
                (p->tells_native ? wants_state(p->routes.wants).wanted
                                 : interest_state(p->interest).held))
                differ(l->sim, "%s still wants routes of %s", names[i], names[j]);
            if (p && link_is_on(l, j, i) && announced_route_count(p->announced))
                differ(l->sim, "%s still has routes of %s", names[i], names[j]);
        }
    }
}

/* Everybody withdraws everything; what is published then stays where it is. */
static void finish(struct linked *l)
{
    for (uint32_t i = 0; i < l->client_count; i++)
        if (l->clients[i]->end && l->clients[i]->is_up)
            client_unsubscribe_all(l->clients[i]);
    l->is_patient = true;
    if (chance(l->sim, 70))
        links_enable_all(l);
    quiet(l);
    check_no_routes(l);
    for (uint32_t i = 0; i < 20 && !l->sim->failed; i++) {
        struct l_client *c = draw_client(l);

        if (c->end && c->is_up)
            client_publish(c);
        rest(l);
    }
    if (!l->sim->failed)
        quiet(l);
}

static void linked_fini(struct linked *l)
{
    for (uint32_t i = 0; i < l->count; i++) {
        if (l->cluster[i]->world)
            world_destroy(l->cluster[i]->world);
        free(l->cluster[i]);
    }
    for (uint32_t i = 0; i < l->client_count; i++)
        client_free(l->clients[i]);
    cables_fini(l);
    free(l->messages);
    free(l->subs);
    free(l->groups);
    free(l->copies);
}

void linked_run(struct sim *s)
{
    struct linked l = {.sim = s};
    uint32_t rounds;

    l.is_calm = chance(s, 70);
    build(&l);
    rounds = 2 + draw(s, 3);
    if (chance(s, 50))
        quiet(&l);
    for (uint32_t i = 0; i < rounds && !s->failed; i++) {
        if (i && chance(s, 15))
            restart(&l);
        if (i && chance(s, 20))
            links_reload(&l);
        change(&l);
        if (!s->failed)
            quiet(&l);
        if (!s->failed && chance(s, 20))
            part(&l);
        if (!s->failed)
            publish(&l);
        if (!s->failed)
            quiet(&l);
    }
    if (!s->failed)
        finish(&l);
    if (s->failed)
        sim_report(s);
    linked_fini(&l);
}
