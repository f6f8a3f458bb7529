/* link/transit.c -- wishes, and who is told of them.
 *
 * A wish is a filter of one cluster; its choices stand in the order of their ways' rank, so the
 * first is the one that is told on.
 */
#include "link/transit.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/base/check.h"
#include "link/ways.h"

struct choice {
    struct choice *next;
    struct way *way;
};

struct wish {
    struct table_node node;
    struct far *of;
    struct choice *choices;
    uint32_t far_count; /* choices that are ways past another cluster */
    uint32_t filter_n;
    bool is_indexed;
    uint8_t filter[];
};

static struct bytes filter_of(const struct wish *w)
{
    return bytes_of(w->filter, w->filter_n);
}

/* ---- the route index ---- */

static void say_no_number(struct transit *t, const struct far *c)
{
    char text[300];

    STAT_INC(shard_count(t->host->shard), link_routes_over_limit);
    if (t->lacks_number)
        return;
    t->lacks_number = true;
    snprintf(text, sizeof(text), "nothing that is published here goes to %.*s by way of another",
             (int)c->name_n, (const char *)c->name);
    host_log(t->host, 4, "link transit", NULL, NULL, "too many clusters beyond others", text);
}

static void look_at_index(struct transit *t, struct wish *w)
{
    bool is_wanted = w->far_count > 0;

    if (w->is_indexed == is_wanted)
        return;
    if (is_wanted && !far_number(t, w->of)) {
        say_no_number(t, w->of);
        return;
    }
    w->is_indexed = is_wanted;
    changes_ask(&t->changes, w->of->number, filter_of(w), is_wanted);
}

/* Not often: it looks at all wishes. */
static void number_others(struct transit *t)
{
    uint64_t now_ms = shard_now_ms(t->host->shard);

    if (!t->lacks_number || !t->has_free || now_ms < t->number_ms)
        return;
    t->lacks_number = t->has_free = false;
    t->number_ms = now_ms + TRANSIT_NUMBER_MS;
    for (uint32_t i = 0; i < t->wishes.bucket_count; i++)
        for (struct table_node *n = t->wishes.buckets[i]; n; n = n->next)
            look_at_index(t, TABLE_OBJECT(n, struct wish, node));
}

bool transit_run(struct transit *t)
{
    bool more = changes_run(&t->changes);

    if (!changes_wait(&t->changes) && far_reap(t))
        t->has_free = true;
    number_others(t);
    return more;
}

bool transit_is_behind(const struct transit *t)
{
    return changes_wait(&t->changes);
}

uint64_t transit_numbers(const struct transit *t)
{
    return t->numbers;
}

/* ---- telling ---- */

/* What is told of a wish: a way, and whether somebody on it is away. */
struct told {
    const struct way *way; /* NULL: nothing */
    bool is_away;
};

static struct told told_of(const struct wish *x)
{
    const struct way *w = x->choices ? x->choices->way : NULL;

    return (struct told){.way = w, .is_away = w && way_is_away(w)};
}

static bool is_for(const struct way *w, const struct peer *p)
{
    return w && w->peer != p && w->length <= PATH_NAMES_MAX &&
           !path_holds(way_path(w), bytes_str(p->link->name));
}

static void tell(struct transit *t, const struct wish *x, struct told what, struct peer *p,
                 bool is_wanted)
{
    struct route_text r = {.is_away = what.is_away, .path = way_path(what.way)};
    uint8_t *end = bytes_put(route_put_head(t->text, &r), filter_of(x));

    peer_interest(p, (struct bytes){0}, bytes_of(t->text, (size_t)(end - t->text)), is_wanted);
}

/* Adds before it deletes, so that nobody is without the wish. */
static void tell_others(struct transit *t, const struct wish *x, struct told was)
{
    struct told is = told_of(x);

    if (is.way == was.way && is.is_away == was.is_away)
        return;
    for (uint32_t i = 0; i < LINKS_MAX; i++) {
        struct peer *p = t->peers[i];

        if (!p || !p->is_told)
            continue;
        if (is_for(is.way, p))
            tell(t, x, is, p, true);
        if (is_for(was.way, p))
            tell(t, x, was, p, false);
    }
}

void transit_tell_all(struct transit *t, struct peer *p, bool is_wanted)
{
    for (uint32_t i = 0; i < t->wishes.bucket_count; i++)
        for (struct table_node *n = t->wishes.buckets[i]; n; n = n->next) {
            const struct wish *x = TABLE_OBJECT(n, struct wish, node);
            struct told what = told_of(x);

            if (is_for(what.way, p))
                tell(t, x, what, p, is_wanted);
        }
}

/* ---- wishes ---- */

static uint64_t wish_hash(const struct transit *t, struct bytes of, struct bytes filter)
{
    return hash_more(&t->host->key, hash_bytes(&t->host->key, of), filter);
}

static struct wish *wish_find(const struct transit *t, struct bytes of, struct bytes filter)
{
    struct table_node *n = table_first(&t->wishes, wish_hash(t, of, filter));

    for (; n; n = table_after(n)) {
        struct wish *w = TABLE_OBJECT(n, struct wish, node);

        if (bytes_eq(far_name(w->of), of) && bytes_eq(filter_of(w), filter))
            return w;
    }
    return NULL;
}

static int64_t wish_bytes(uint32_t filter_n)
{
    return (int64_t)(sizeof(struct wish) + filter_n);
}

static struct wish *wish_make(struct transit *t, struct far *of, struct bytes filter)
{
    struct wish *w;

    if (!shard_hold_routes(t->host->shard, wish_bytes(filter.n)))
        return NULL;
    w = malloc(sizeof(*w) + filter.n);
    if (w) {
        *w = (struct wish){.of = of, .filter_n = filter.n};
        bytes_put(w->filter, filter);
        if (table_insert(&t->wishes, &w->node, wish_hash(t, far_name(of), filter)))
            return w;
    }
    free(w);
    (void)shard_hold_routes(t->host->shard, -wish_bytes(filter.n));
    return NULL;
}

static void wish_free(struct transit *t, struct wish *w)
{
    table_remove(&t->wishes, &w->node);
    (void)shard_hold_routes(t->host->shard, -wish_bytes(w->filter_n));
    free(w);
}

static struct choice **choice_at(struct wish *x, const struct way *w)
{
    struct choice **at = &x->choices;

    while (*at && (*at)->way != w && way_is_before((*at)->way, w))
        at = &(*at)->next;
    return at;
}

/* Takes a choice in. false: no memory. */
static bool choose(struct transit *t, struct wish *x, struct way *w)
{
    struct choice **at = choice_at(x, w), *c;
    struct told was = told_of(x);

    if (*at && (*at)->way == w)
        return true;
    c = malloc(sizeof(*c));
    if (!c)
        return false;
    *c = (struct choice){.next = *at, .way = w};
    *at = c;
    w->refs++;
    x->far_count += way_is_far(w);
    look_at_index(t, x);
    tell_others(t, x, was);
    return true;
}

static void unchoose(struct transit *t, struct wish *x, struct way *w)
{
    struct choice **at = choice_at(x, w), *c = *at;
    struct told was = told_of(x);

    if (!c || c->way != w)
        return;
    *at = c->next;
    free(c);
    x->far_count -= way_is_far(w);
    look_at_index(t, x);
    tell_others(t, x, was);
    w->refs--;
    way_release(t, x->of, w);
    if (!x->choices)
        wish_free(t, x);
}

static void say_too_many_ways(struct transit *t, const struct peer *p)
{
    STAT_INC(shard_count(t->host->shard), link_routes_over_limit);
    if (t->said >> p->number & 1)
        return;
    t->said |= 1ull << p->number;
    host_log(t->host, 4, "link transit", p->link->name, NULL, "too many ways to other clusters",
             "routes that come on more of them are left out");
}

static void add(struct transit *t, struct peer *p, struct bytes of, const struct route_text *r)
{
    struct far *c = far_find(t, of);
    struct way *w = c ? way_find(c, p, r) : NULL;
    struct wish *x = NULL;

    if (!w && t->way_counts[p->number] == TRANSIT_WAYS_MAX) {
        say_too_many_ways(t, p);
        return;
    }
    if (!t->text)
        t->text = malloc(TRANSIT_TEXT_BYTES);
    if (!c)
        c = far_make(t, of);
    if (c && t->text) {
        w = w ? w : way_make(t, c, p, r);
        x = wish_find(t, of, r->filter);
        x = x ? x : wish_make(t, c, r->filter);
    }
    if (w && x && choose(t, x, w))
        return;
    if (x && !x->choices)
        wish_free(t, x);
    if (w)
        way_release(t, c, w);
    STAT_INC(shard_count(t->host->shard), link_routes_memory);
}

/* Puts the choices of a wish in their order anew. */
static void sort_choices(struct wish *x)
{
    struct choice *left = x->choices, *next;

    x->choices = NULL;
    for (; left; left = next) {
        struct choice **at = choice_at(x, left->way);

        next = left->next;
        left->next = *at;
        *at = left;
    }
}

static void on_away_changed(struct transit *t, struct wish *x, const struct peer *p)
{
    struct told was = told_of(x);

    if (was.way && was.way->peer == p)
        was.is_away = was.way->was_away || !p->is_away;
    sort_choices(x);
    tell_others(t, x, was);
}

void transit_away(struct transit *t, struct peer *p, bool is_away)
{
    if (p->is_away == is_away)
        return;
    p->is_away = is_away;
    for (struct far *c = t->clusters; c; c = c->next)
        ways_sort(c);
    for (uint32_t i = 0; i < t->wishes.bucket_count; i++)
        for (struct table_node *n = t->wishes.buckets[i]; n; n = n->next)
            on_away_changed(t, TABLE_OBJECT(n, struct wish, node), p);
}

void transit_route(struct transit *t, struct peer *p, struct bytes text, bool is_wanted)
{
    struct bytes of = bytes_str(p->link->name);
    struct route_text r = {.filter = text};
    struct wish *x;
    struct way *w;

    if (!is_wanted && t->wishes.count == 0)
        return;
    if (route_is_passing(text)) {
        CHECK(route_split(text, &r)); /* announced takes no others */
        of = path_last(r.path);
    }
    if (bytes_begin(r.filter, BYTES_LIT("$")))
        return;
    if (is_wanted) {
        add(t, p, of, &r);
        return;
    }
    x = wish_find(t, of, r.filter);
    w = x ? way_find(x->of, p, &r) : NULL;
    if (w)
        unchoose(t, x, w);
}

/* ---- life ---- */

enum err transit_link(struct transit *t, uint32_t number, const struct cfg_link *link)
{
    bool is_plain = link && link->enable && !link->transit;
    char *name = is_plain ? strdup(link->name) : NULL;

    if (is_plain && !name)
        return ERR_MEMORY;
    free(t->plain[number]);
    t->plain[number] = name;
    return OK;
}

struct transit_state transit_state(const struct transit *t)
{
    struct transit_state s = {.wishes = t->wishes.count};

    for (const struct far *c = t->clusters; c; c = c->next)
        s.clusters += c->ways != NULL;
    return s;
}

struct transit *transit_create(struct link_host *host, struct peer *const *peers)
{
    struct transit *t = calloc(1, sizeof(*t));

    if (!t)
        return NULL;
    *t = (struct transit){.host = host, .peers = peers};
    changes_init(&t->changes, host->shard);
    table_init(&t->wishes);
    return t;
}

static void free_wishes(struct transit *t)
{
    for (uint32_t i = 0; i < t->wishes.bucket_count; i++)
        while (t->wishes.buckets[i]) {
            struct wish *x = TABLE_OBJECT(t->wishes.buckets[i], struct wish, node);

            while (x->choices) {
                struct choice *c = x->choices;

                x->choices = c->next;
                free(c);
            }
            wish_free(t, x);
        }
    table_fini(&t->wishes);
}

void transit_destroy(struct transit *t)
{
    if (!t)
        return;
    free_wishes(t);
    while (t->clusters) {
        struct far *c = t->clusters;

        while (c->ways) {
            struct way *w = c->ways;

            c->ways = w->next;
            free(w);
        }
        t->clusters = c->next;
        free(c);
    }
    changes_fini(&t->changes);
    for (uint32_t i = 0; i < LINKS_MAX; i++)
        free(t->plain[i]);
    free(t->text);
    free(t);
}
