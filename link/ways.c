/* link/ways.c -- clusters, and how each can be reached. */
#include "link/ways.h"

#include <stdlib.h>

/* ---- clusters ---- */

struct bytes far_name(const struct far *c)
{
    return bytes_of(c->name, c->name_n);
}

struct far *far_find(const struct transit *t, struct bytes name)
{
    struct far *c = t->clusters;

    while (c && !bytes_eq(far_name(c), name))
        c = c->next;
    return c;
}

struct far *far_make(struct transit *t, struct bytes name)
{
    struct far *c = malloc(sizeof(*c) + name.n);

    if (!c)
        return NULL;
    *c = (struct far){.next = t->clusters, .number = WAYS_NO_NUMBER, .name_n = name.n};
    bytes_put(c->name, name);
    t->clusters = c;
    return c;
}

bool far_number(struct transit *t, struct far *c)
{
    for (uint32_t i = TRANSIT_CLUSTERS_MAX; i-- > 0 && c->number == WAYS_NO_NUMBER;) {
        if (t->numbered[i] || t->peers[WAYS_NUMBER_FIRST + i])
            continue;
        t->numbered[i] = c;
        t->numbers |= 1ull << (WAYS_NUMBER_FIRST + i);
        c->number = WAYS_NUMBER_FIRST + i;
    }
    return c->number != WAYS_NO_NUMBER;
}

/* Whether messages may still come with its number. */
static bool is_leaving(const struct transit *t, struct far *c)
{
    if (c->number == WAYS_NO_NUMBER)
        return false;
    if (!c->has_left) {
        c->has_left = true;
        c->left = shard_link_routes_asked(t->host->shard);
    }
    return !shard_link_routes_in_force(t->host->shard, c->left);
}

bool far_reap(struct transit *t)
{
    bool has_free = false;

    for (struct far **at = &t->clusters, *c; (c = *at);) {
        c->has_left &= !c->ways;
        if (c->ways || is_leaving(t, c)) {
            at = &c->next;
            continue;
        }
        *at = c->next;
        if (c->number != WAYS_NO_NUMBER) {
            t->numbered[c->number - WAYS_NUMBER_FIRST] = NULL;
            t->numbers &= ~(1ull << c->number);
            has_free = true;
        }
        free(c);
    }
    return has_free;
}

/* ---- ways ---- */

struct bytes way_path(const struct way *w)
{
    return bytes_of(w->path, w->path_n);
}

bool way_is_far(const struct way *w)
{
    return w->length > 1;
}

bool way_is_away(const struct way *w)
{
    return w->was_away || w->peer->is_away;
}

bool way_is_before(const struct way *a, const struct way *b)
{
    uint32_t n = a->path_n < b->path_n ? a->path_n : b->path_n;
    int order;

    if (way_is_away(a) != way_is_away(b))
        return way_is_away(b);
    if (a->length != b->length)
        return a->length < b->length;
    if (a->peer->number != b->peer->number)
        return a->peer->number < b->peer->number;
    order = memcmp(a->path, b->path, n);
    if (order || a->path_n != b->path_n)
        return order ? order < 0 : a->path_n < b->path_n;
    return b->was_away && !a->was_away;
}

struct way *way_find(const struct far *c, const struct peer *p, const struct route_text *r)
{
    struct way *w = c->ways;

    for (; w; w = w->next) {
        struct bytes past = way_path(w), link;

        if (w->peer == p && w->was_away == r->is_away && path_next(&past, &link) &&
            bytes_eq(past, r->path))
            return w;
    }
    return NULL;
}

static void put_in_order(struct far *c, struct way *w)
{
    struct way **at = &c->ways;

    while (*at && way_is_before(*at, w))
        at = &(*at)->next;
    w->next = *at;
    *at = w;
}

struct way *way_make(struct transit *t, struct far *c, struct peer *p, const struct route_text *r)
{
    struct bytes link = bytes_str(p->link->name);
    uint32_t path_n = link.n + 1 + r->path.n;
    struct way *w = malloc(sizeof(*w) + path_n);

    if (!w)
        return NULL;
    *w = (struct way){
        .peer = p, .length = path_length(r->path) + 1, .path_n = path_n, .was_away = r->is_away};
    bytes_put(path_put(w->path, link), r->path);
    put_in_order(c, w);
    t->way_counts[p->number]++;
    return w;
}

void way_release(struct transit *t, struct far *c, struct way *w)
{
    struct way **at = &c->ways;

    if (w->refs > 0)
        return;
    while (*at != w)
        at = &(*at)->next;
    *at = w->next;
    if (--t->way_counts[w->peer->number] == 0)
        t->said &= ~(1ull << w->peer->number);
    free(w);
}

void ways_sort(struct far *c)
{
    struct way *left = c->ways, *next;

    c->ways = NULL;
    for (; left; left = next) {
        next = left->next;
        put_in_order(c, left);
    }
}

/* Whether a way goes by a cluster of a path. */
static bool is_past(const struct way *w, struct bytes path)
{
    struct bytes rest = way_path(w), name;

    while (path.n && path_next(&rest, &name))
        if (path_holds(path, name))
            return true;
    return false;
}

struct way *way_to(const struct far *c, struct bytes avoid)
{
    struct way *w = c ? c->ways : NULL;

    while (w && (!w->peer->transits || !w->peer->is_on || is_past(w, avoid)))
        w = w->next;
    return w;
}
