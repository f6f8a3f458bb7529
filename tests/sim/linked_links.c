/* tests/sim/linked_links.c -- the links of the clusters: drawn at first, then changed as by SIGHUP.
 *
 * What a link may take and give is remembered as terms: those in force at the last quiet, and each
 * that a reload has brought since. A message must come if all of them let it, and may come if any
 * of them does. In runs where messages pass, nothing is changed that decides what may come: it is
 * not known here what that does to a message on its way.
 */
#include "tests/sim/linked.h"

#include <stdio.h>
#include <string.h>

#include "link/lane.h"

/* Nothing fills it. */
#define QUEUE_BYTES (64u << 20)

static const struct bytes everything = {(const uint8_t *)"#", 1};

/* ---- terms ---- */

static bool match(const struct bytes *filters, uint32_t count, const char *topic)
{
    char filter[NAME_BYTES];

    for (uint32_t i = 0; i < count; i++) {
        memcpy(filter, filters[i].p, filters[i].n);
        filter[filters[i].n] = '\0';
        if (model_matches(filter, topic))
            return true;
    }
    return false;
}

bool link_is_on(const struct linked *l, uint32_t at, uint32_t to)
{
    return l->cluster[at]->link[to] && l->cluster[at]->link[to]->enable;
}

/* What now decides which messages of one cluster come to another. */
static struct terms terms_of(const struct linked *l, uint32_t from, uint32_t to)
{
    const struct cfg_link *gives = l->cluster[from]->link[to], *takes = l->cluster[to]->link[from];
    struct terms t = {.is_on = link_is_on(l, from, to) && link_is_on(l, to, from)};

    if (!t.is_on)
        return t;
    t.export_count = gives->export_count;
    t.topic_count = takes->topic_count;
    memcpy(t.exports, gives->exports, t.export_count * sizeof(*t.exports));
    memcpy(t.topics, takes->topics, t.topic_count * sizeof(*t.topics));
    return t;
}

static bool lets(const struct terms *t, const char *topic)
{
    return t->is_on && match(t->topics, t->topic_count, topic) &&
           match(t->exports, t->export_count, topic);
}

bool links_must_let(const struct linked *l, uint32_t from, uint32_t to, const char *topic)
{
    const struct cluster *c = l->cluster[to];

    for (uint32_t i = 0; i < c->term_count[from]; i++)
        if (!lets(&c->terms[from][i], topic))
            return false;
    return true;
}

bool links_may_let(const struct linked *l, uint32_t from, uint32_t to, const char *topic)
{
    const struct cluster *c = l->cluster[to];

    for (uint32_t i = 0; i < c->term_count[from]; i++)
        if (lets(&c->terms[from][i], topic))
            return true;
    return c->is_loose[from];
}

static void add_terms(struct linked *l, uint32_t from, uint32_t to)
{
    struct cluster *c = l->cluster[to];

    c->terms[from][c->term_count[from]++] = terms_of(l, from, to);
}

void links_quiet(struct linked *l)
{
    for (uint32_t to = 0; to < l->count; to++)
        for (uint32_t from = 0; from < l->count; from++) {
            struct cluster *c = l->cluster[to];

            c->term_count[from] = 0;
            add_terms(l, from, to);
            c->is_loose[from] = !c->terms[from][0].is_on;
            if (!c->is_loose[from])
                c->repeats[from] = 0;
        }
}

/* Whether a link is what it was changed to. */
static bool is_taken_over(struct linked *l, uint32_t at, uint32_t to)
{
    const struct world *w = l->cluster[at]->world;
    const struct peer *p = peer_of(l, at, to);

    return !w || (world_has_links(w) && p && !p->next);
}

/* Whether some link worker takes what comes by a link, since it has not heard of the end yet. */
static bool has_lane(struct linked *l, uint32_t at, uint32_t to)
{
    for (uint32_t i = 0; i < LINK_WORKERS_MAX; i++) {
        const struct lane *lane = lane_of(l, at, to, i);

        if (lane && lane_takes(lane))
            return true;
    }
    return false;
}

void links_look(struct linked *l)
{
    for (uint32_t at = 0; at < l->count; at++)
        for (uint32_t to = 0; to < l->count; to++) {
            struct cluster *c = l->cluster[at];

            if (to == at || link_is_on(l, at, to))
                c->off_since[to] = NEVER;
            else if (c->off_since[to] == NEVER && c->world && world_has_links(c->world) &&
                     !has_lane(l, at, to))
                c->off_since[to] = l->sim->step;
            if (c->is_releasing[to] && is_taken_over(l, at, to))
                c->is_releasing[to] = false;
        }
}

/* ---- one link ---- */

static void draw_filters(struct sim *s, struct bytes to[4], uint32_t *count, uint32_t all_percent)
{
    static const char *const choices[][4] = {
        {"#"}, {"a/#"}, {"+/x"}, {"a/+", "b/#", "c"}, {"a/x", "+/x/z"}, {"+", "a/+/z"}, {NULL}};
    const char *const *from = choices[chance(s, all_percent) ? 0 : draw(s, 7)];

    for (*count = 0; *count < 4 && from[*count]; ++*count)
        to[*count] = bytes_str(from[*count]);
}

static void note_filters(const struct cluster *c, uint32_t to, const char *key,
                         const struct bytes *filters, uint32_t count)
{
    char text[128] = "";

    for (uint32_t i = 0; i < count; i++)
        snprintf(text + strlen(text), sizeof(text) - strlen(text), " %.*s", (int)filters[i].n,
                 (const char *)filters[i].p);
    note(c->all->sim, "%s: link to %s: %s =%s", cluster_name(c->number), cluster_name(to), key,
         text);
}

/* Whether all links are native, of everything, between every pair. */
static bool is_mesh(const struct linked *l)
{
    return l->is_synced || l->is_global;
}

static void draw_topics(struct cluster *c, uint32_t to)
{
    draw_filters(c->all->sim, c->topics[to], &c->links[to].topic_count, 55);
    c->links[to].topics = c->topics[to];
    note_filters(c, to, "topics", c->topics[to], c->links[to].topic_count);
}

static void draw_exports(struct cluster *c, uint32_t to)
{
    draw_filters(c->all->sim, c->exports[to], &c->links[to].export_count, 75);
    c->links[to].exports = c->exports[to];
    note_filters(c, to, "export", c->exports[to], c->links[to].export_count);
}

static void draw_servers(struct cluster *c, uint32_t to)
{
    uint32_t first = chance(c->all->sim, 20) ? 1 : 0; /* a server that is not there comes first */

    c->servers[to][0] = (struct cfg_server){.host = "nowhere", .port = 9};
    c->servers[to][first] =
        (struct cfg_server){.host = cluster_name(to), .port = (uint16_t)(PORT_FIRST + to)};
    c->links[to].servers = c->servers[to];
    c->links[to].server_count = first + 1;
}

/* Where messages pass, a link that is full loses those of other clusters. */
static void draw_bounds(const struct linked *l, struct cfg_link *link)
{
    struct sim *s = l->sim;

    link->queue_bytes = QUEUE_BYTES;
    link->on_full = (enum cfg_on_full)draw(s, 3);
    if (link->on_full == ON_FULL_BLOCK && !l->is_transit && chance(s, 30))
        link->queue_bytes = 100 + draw(s, 5000);
}

static uint64_t draw_window(struct sim *s)
{
    static const uint64_t windows[] = {1, 200, 64u << 10, 16u << 20};

    return windows[draw(s, 4)];
}

static uint32_t draw_inflight(struct sim *s)
{
    static const uint32_t inflights[] = {1, 2, 32, 1024};

    return inflights[draw(s, 4)];
}

static uint32_t draw_keepalive(struct sim *s)
{
    return chance(s, 50) ? 60 : 10 + draw(s, 50);
}

/* A link that the configuration has from now on. */
static void add_link(struct cluster *c, uint32_t to)
{
    struct sim *s = c->all->sim;
    struct cfg_link *link = &c->links[to];

    *link = (struct cfg_link){.name = cluster_name(to),
                              .enable = true,
                              .clientid = cluster_name(c->number),
                              .dead_after_ms = DEAD_AFTER_MS,
                              .keepalive = draw_keepalive(s),
                              .retry_interval_ms = 1000 + draw(s, 14000),
                              .max_inflight = draw_inflight(s),
                              .connections = draw(s, 4),
                              .dialect = chance(s, 30) ? DIALECT_EMQX : DIALECT_AUTO,
                              .window_bytes = draw_window(s),
                              .queue_age = 86400,
                              .compression = chance(s, 60),
                              .ack = chance(s, 40) ? ACK_REMOTE : ACK_LOCAL,
                              .max_routes = 1u << 20,
                              .max_route_ops = 1000000,
                              .max_rate = 1u << 30};
    draw_servers(c, to);
    draw_topics(c, to);
    draw_exports(c, to);
    draw_bounds(c->all, link);
    if (c->all->is_synced) {
        link->dialect = DIALECT_AUTO;
        link->retained = RETAINED_SYNC;
        link->topics = link->exports = &everything;
        link->topic_count = link->export_count = 1;
    }
    if (c->all->is_transit) {
        link->transit = chance(s, c->all->is_uniform ? 100 : 85);
        link->dialect = chance(s, c->all->is_uniform ? 100 : 90) ? DIALECT_AUTO : DIALECT_EMQX;
    }
    if (c->all->is_transit && c->all->shape == SHAPE_RING) { /* either way takes the same */
        link->ack = ACK_LOCAL;
        link->topics = link->exports = &everything;
        link->topic_count = link->export_count = 1;
    }
    if (c->all->is_global) {
        link->dialect = DIALECT_AUTO;
        link->shared_groups = SHARED_GROUPS_GLOBAL;
        link->topics = link->exports = &everything;
        link->topic_count = link->export_count = 1;
    }
    c->link[to] = link;
}

/* Whether nothing but the native dialect may be spoken between two: it is the only one that one of
 * them can speak alone. */
static bool is_one_sided(const struct linked *l, uint32_t a, uint32_t b)
{
    const struct cfg_link *link[2] = {l->cluster[a]->link[b], l->cluster[b]->link[a]};

    return (link[0] && !link[0]->server_count) || (link[1] && !link[1]->server_count);
}

/* Of two that speak natively, one may leave it to the other to dial. */
static void draw_caller(struct linked *l, uint32_t a, uint32_t b)
{
    struct cfg_link *link[2] = {l->cluster[a]->link[b], l->cluster[b]->link[a]};

    if (!link[0] || !link[1] || link[0]->dialect == DIALECT_EMQX ||
        link[1]->dialect == DIALECT_EMQX || !chance(l->sim, 30))
        return;
    link[draw(l->sim, 2)]->server_count = 0;
}

static bool is_linked(const struct linked *l, uint32_t i, uint32_t j)
{
    uint32_t between = i < j ? j - i : i - j;

    switch (l->shape) {
    case SHAPE_CHAIN:
        return between == 1;
    case SHAPE_HUB:
        return between > 0 && (i == 0 || j == 0);
    case SHAPE_RING:
        return between == 1 || between == l->count - 1;
    default:
        return between > 0;
    }
}

void links_draw(struct linked *l)
{
    for (uint32_t i = 0; i < l->count; i++)
        for (uint32_t j = 0; j < l->count; j++)
            if (is_linked(l, i, j))
                add_link(l->cluster[i], j);
    for (uint32_t i = 0; i < l->count; i++)
        for (uint32_t j = i + 1; j < l->count; j++)
            draw_caller(l, i, j);
    links_quiet(l);
}

void links_start(struct cluster *c)
{
    c->cfg.link_count = 0;
    for (uint32_t to = 0; to < c->all->count; to++)
        if (c->link[to]) {
            c->link_number[to] = c->cfg.link_count;
            c->cfg.links[c->cfg.link_count++] = *c->link[to];
        }
}

/* ---- reloads ---- */

/* A number that is free in the configuration; the link that had it may not be gone yet. */
static uint32_t free_number(const struct cluster *c)
{
    uint32_t number = draw(c->all->sim, 4);
    bool is_taken = true;

    while (is_taken) {
        is_taken = false;
        number = (number + 1) % LINKS_MAX;
        for (uint32_t to = 0; to < c->all->count; to++)
            is_taken |= c->link[to] && c->link_number[to] == number;
    }
    return number;
}

static void apply(struct cluster *c)
{
    const struct cfg_link *links[LINKS_MAX] = {0};

    for (uint32_t to = 0; to < c->all->count; to++)
        if (c->link[to])
            links[c->link_number[to]] = c->link[to];
    if (c->world) /* else it starts with them */
        world_set_links(c->world, links);
}

/* Makes a link what it was not: there, or enabled, or neither. What it did. */
static const char *toggle(struct cluster *c, uint32_t to)
{
    struct cfg_link *link = c->link[to];
    struct linked *l = c->all;
    bool must_call = l->cluster[to]->link[c->number] && is_one_sided(l, c->number, to);

    if (!link) {
        c->link_number[to] = free_number(c);
        add_link(c, to);
        if (must_call)
            c->link[to]->dialect = DIALECT_AUTO;
        return "added";
    }
    if (chance(l->sim, 50)) {
        link->enable = !link->enable;
        return link->enable ? "enabled" : "disabled";
    }
    l->is_dropping = true;
    c->link[to] = NULL;
    judge_repeat(l, c->number, to);
    return "removed";
}

/* Keys for which no connection has to end. What it did. */
static const char *change_in_place(struct cluster *c, uint32_t to)
{
    struct cfg_link *link = c->link[to];
    struct sim *s = c->all->sim;

    switch (draw(s, is_mesh(c->all) || c->all->is_transit ? 3 : 6)) {
    case 0:
        link->window_bytes = draw_window(s);
        return "window_bytes";
    case 1:
        draw_bounds(c->all, link);
        return "on_full";
    case 2:
        link->retry_interval_ms = 1000 + draw(s, 14000);
        return "retry_interval";
    case 3:
        c->all->is_dropping = true;
        draw_exports(c, to);
        return "export";
    default:
        c->all->is_dropping = true; /* what is on its way when a topic goes */
        draw_topics(c, to);
        return "topics";
    }
}

/* Whether records for EMQX wait in a link, or may: they would stay where it loses its server. */
static bool has_records(struct linked *l, uint32_t from, uint32_t to)
{
    const struct peer *p = peer_of(l, from, to);

    for (uint32_t i = 0; p && i < p->forwarder_count; i++)
        if (window_count(&p->forwarders[i].window))
            return true;
    return p && !p->speaks_native;
}

/* Of two sides at least one must dial. What it did. */
static const char *change_servers(struct cluster *c, uint32_t to)
{
    struct linked *l = c->all;
    const struct cfg_link *theirs = l->cluster[to]->link[c->number];
    bool may_be_called = theirs && theirs->server_count && theirs->dialect == DIALECT_AUTO &&
                         c->link[to]->dialect == DIALECT_AUTO;
    bool has_called = c->link[to]->server_count > 0;

    if (may_be_called && !has_records(l, c->number, to) && chance(l->sim, 50))
        c->link[to]->server_count = 0;
    else
        draw_servers(c, to);
    if (has_called && !c->link[to]->server_count && c->world && world_hub(c->world, 1))
        judge_returned(l, c->number, to);
    return c->link[to]->server_count ? "server" : "no server";
}

/* Keys for which connections end. What it did. */
static const char *change_anew(struct cluster *c, uint32_t to)
{
    static const char *const ids[] = {"one", "two"};
    struct cfg_link *link = c->link[to];
    struct linked *l = c->all;

    switch (draw(l->sim, l->is_transit ? 4 : is_mesh(l) ? 6 : 7)) {
    case 0:
        link->dead_after_ms = 1000 + draw(l->sim, DEAD_AFTER_MS - 1000 + 1);
        return "dead_after";
    case 1:
        link->connections = draw(l->sim, 4);
        return "connections";
    case 2:
        link->max_inflight = draw_inflight(l->sim);
        return "max_inflight";
    case 3:
        link->clientid = ids[draw(l->sim, 2)];
        return "clientid";
    case 4:
        return change_servers(c, to);
    case 5:
        link->keepalive = draw_keepalive(l->sim);
        return "keepalive";
    default:
        if (is_one_sided(l, c->number, to))
            return "nothing";
        link->dialect = link->dialect == DIALECT_EMQX ? DIALECT_AUTO : DIALECT_EMQX;
        judge_repeat(l, c->number, to);
        judge_release(l, c->number, to);
        return link->dialect == DIALECT_EMQX ? "dialect = emqx" : "dialect = auto";
    }
}

static bool has_room(const struct linked *l, uint32_t a, uint32_t b)
{
    return l->cluster[a]->term_count[b] < TERMS_MAX && l->cluster[b]->term_count[a] < TERMS_MAX;
}

static void change(struct cluster *c, uint32_t to)
{
    struct linked *l = c->all;
    uint32_t kind = draw(l->sim, 100);
    const char *what;

    if (!has_room(l, c->number, to) || (l->is_transit && !c->link[to]))
        return;
    if (!l->is_global && !l->is_transit && (!c->link[to] || kind < 30))
        what = toggle(c, to);
    else if (kind < 65)
        what = change_in_place(c, to);
    else
        what = change_anew(c, to);
    note(l->sim, "%s: link to %s: %s", cluster_name(c->number), cluster_name(to), what);
    add_terms(l, c->number, to);
    add_terms(l, to, c->number);
}

void links_reload(struct linked *l)
{
    struct cluster *c = l->cluster[draw(l->sim, l->count)];

    l->is_exact = false;
    l->is_changed = true;
    cables_outlive_links(l, c->number);
    for (uint32_t n = chance(l->sim, 25) ? 2 : 1; n > 0; n--)
        change(c, (c->number + 1 + draw(l->sim, l->count - 1)) % l->count);
    apply(c);
    links_look(l);
}

void links_widen(struct linked *l)
{
    for (uint32_t at = 0; at < l->count; at++)
        for (uint32_t to = 0; to < l->count; to++) {
            struct cluster *c = l->cluster[at];
            bool is_on = link_is_on(l, at, to) && link_is_on(l, to, at);

            if (at == to || !c->link[to] || is_on || c->link[to]->queue_bytes == QUEUE_BYTES)
                continue;
            c->link[to]->queue_bytes = QUEUE_BYTES;
            apply(c);
        }
}

void links_enable_all(struct linked *l)
{
    l->is_exact = false;
    for (uint32_t i = 0; i < l->count; i++) {
        struct cluster *c = l->cluster[i];

        for (uint32_t to = 0; to < l->count; to++)
            if (c->link[to] && !c->link[to]->enable && has_room(l, i, to)) {
                c->link[to]->enable = true;
                add_terms(l, i, to);
                add_terms(l, to, i);
            }
        apply(c);
    }
    links_look(l);
}
