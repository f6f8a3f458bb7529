/* link/interest.c -- wanted routes against announced routes.
 *
 * A route is in a table by (filter, id), in the list of all in the order of its making, and in at
 * most one queue: `pending` or `out`. After every change route_settle puts it where it belongs:
 *
 *     wanted, peer may lack it      -> pending, will be an add
 *     unwanted, peer may have it    -> pending, will be a delete
 *     unwanted, peer lacks it       -> freed
 *     out                           -> stays out; settled when the batch ends
 *
 * What the peer has is valid only for the route's `epoch`; interest_forget starts a new epoch, and
 * with that every route is unknown to the peer without being touched. The walk then goes through
 * the list of all; what was pending before is either announced by it or freed.
 *
 * While all is added anew (is_importing), a route that is not wanted is left where it is, in no
 * queue, since it may be wanted again. What then is not is settled by a second walk.
 */
#include "link/interest.h"

#include <stdlib.h>

#include "core/base/check.h"
#include "core/base/limits.h"
#include "core/base/links.h"
#include "core/base/table.h"
#include "link/imports.h"

/* Who wants a route. A plain filter may be spelled like the id of a shared one. */
enum { WANTED_PLAIN = 1, WANTED_SHARED = 2 };

enum peer_has { PEER_LACKS, PEER_HAS, PEER_MAY_HAVE };

struct route {
    struct table_node node;
    struct links all;
    struct links queue; /* of `pending` or `out` */
    uint32_t epoch;
    uint32_t filter_n, id_n;
    uint8_t wanted;   /* WANTED_ bits */
    uint8_t peer_has; /* as of `epoch` */
    bool is_queued;   /* in `pending` */
    bool is_out;
    bool is_add_out; /* the operation that is out */
    bool is_aside;
    uint8_t text[]; /* filter, id */
};

struct interest {
    struct hash_key key;
    struct table table;
    struct links all, pending, out;
    struct links *cursor; /* of the walk, in `all`; NULL: no walk */
    struct links *forgo;  /* of interest_forgo, or of what settles after it; NULL: neither */
    bool is_importing;    /* between refill and imported */
    uint32_t epoch;
    uint32_t routes_max, wanted, pending_count, out_count, aside_count;
    uint32_t
        leaving; /* since refill, until all is settled: routes that may go, beyond routes_max */
    struct imports imports;
    uint8_t *id; /* $s/GROUP/FILTER */
    uint32_t id_bytes;
};

#define ROUTE_OF_ALL(l) LINKS_OBJECT(l, struct route, all)
#define ROUTE_OF_QUEUE(l) LINKS_OBJECT(l, struct route, queue)

/* -------------------------------------------------------------------------------- routes --- */

static struct bytes filter_of(const struct route *r)
{
    return bytes_of(r->text, r->filter_n);
}

static struct bytes id_of(const struct route *r)
{
    return bytes_of(r->text + r->filter_n, r->id_n);
}

static uint64_t hash_of(const struct interest *in, struct bytes filter, struct bytes id)
{
    return hash_more(&in->key, hash_bytes(&in->key, filter), id);
}

static struct route *route_find(const struct interest *in, struct bytes filter, struct bytes id)
{
    struct table_node *n = table_first(&in->table, hash_of(in, filter, id));

    for (; n; n = table_after(n)) {
        struct route *r = TABLE_OBJECT(n, struct route, node);

        if (bytes_eq(filter_of(r), filter) && bytes_eq(id_of(r), id))
            return r;
    }
    return NULL;
}

static enum err route_make(struct interest *in, struct bytes filter, struct bytes id,
                           struct route **out)
{
    struct route *r;

    if (in->table.count >= (uint64_t)in->routes_max + in->leaving)
        return ERR_FULL;
    r = malloc(sizeof(*r) + filter.n + id.n);
    if (!r)
        return ERR_MEMORY;
    *r = (struct route){.epoch = in->epoch, .filter_n = filter.n, .id_n = id.n};
    bytes_put(bytes_put(r->text, filter), id);
    if (!table_insert(&in->table, &r->node, hash_of(in, filter, id))) {
        free(r);
        return ERR_MEMORY;
    }
    links_append(&in->all, &r->all);
    *out = r;
    return OK;
}

static void route_free(struct interest *in, struct route *r)
{
    if (in->cursor == &r->all)
        in->cursor = r->all.next;
    if (in->forgo == &r->all)
        in->forgo = r->all.next;
    links_remove(&r->all);
    table_remove(&in->table, &r->node);
    free(r);
}

static enum peer_has route_peer_has(const struct interest *in, const struct route *r)
{
    return r->epoch == in->epoch ? (enum peer_has)r->peer_has : PEER_LACKS;
}

static void route_set_peer_has(struct interest *in, struct route *r, enum peer_has has)
{
    r->epoch = in->epoch;
    r->peer_has = (uint8_t)has;
}

static void route_unqueue(struct interest *in, struct route *r)
{
    if (!r->is_queued)
        return;
    links_remove(&r->queue);
    r->is_queued = false;
    in->pending_count--;
}

/* Puts a route where it belongs; it may be gone afterwards. */
static void route_settle(struct interest *in, struct route *r)
{
    enum peer_has has = route_peer_has(in, r);
    bool is_due = r->wanted ? has != PEER_HAS : has != PEER_LACKS;

    if (r->is_out)
        return;
    if (in->is_importing && !r->wanted) {
        route_unqueue(in, r);
        return;
    }
    if (!is_due || r->is_aside)
        route_unqueue(in, r);
    if (is_due && !r->is_aside && !r->is_queued) {
        links_append(&in->pending, &r->queue);
        r->is_queued = true;
        in->pending_count++;
    }
    if (!r->wanted && has == PEER_LACKS)
        route_free(in, r);
}

static void route_want(struct interest *in, struct route *r, uint8_t bit, bool is_on)
{
    bool was = r->wanted != 0;

    r->wanted = (uint8_t)(is_on ? r->wanted | bit : r->wanted & ~bit);
    if (was != (r->wanted != 0)) {
        in->wanted += is_on ? 1 : UINT32_MAX;
        r->is_aside = false;
    }
    route_settle(in, r);
}

/* ------------------------------------------------------------------------- subscriptions --- */

/* The id of a subscription: the filter itself, or $s/GROUP/FILTER. */
static enum err make_id(struct interest *in, struct bytes group, struct bytes filter,
                        struct bytes *id)
{
    uint8_t *to;

    *id = filter;
    if (group.n == 0)
        return OK;
    if (!imports_room(&in->id, &in->id_bytes, (uint64_t)group.n + filter.n + 4))
        return ERR_MEMORY;
    to = bytes_put(bytes_put(in->id, BYTES_LIT("$s/")), group);
    to = bytes_put(bytes_put(to, BYTES_LIT("/")), filter);
    *id = bytes_of(in->id, (size_t)(to - in->id));
    return OK;
}

static void unwant(struct interest *in, struct bytes id, uint8_t bit, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct route *r = route_find(in, in->imports.found[i], id);

        if (r && (r->wanted & bit))
            route_want(in, r, bit, false);
    }
}

enum err interest_add(struct interest *in, struct bytes group, struct bytes filter)
{
    uint8_t bit = group.n ? WANTED_SHARED : WANTED_PLAIN;
    struct bytes id;
    uint32_t count;
    enum err e = make_id(in, group, filter, &id);

    if (e == OK)
        e = imports_routes(&in->imports, filter, &count);
    if (e != OK)
        return e;
    for (uint32_t i = 0; i < count; i++) {
        struct route *r = route_find(in, in->imports.found[i], id);

        if (!r)
            e = route_make(in, in->imports.found[i], id, &r);
        if (e != OK) {
            unwant(in, id, bit, i); /* a second add would have found all its routes */
            return e;
        }
        route_want(in, r, bit, true);
    }
    return OK;
}

void interest_remove(struct interest *in, struct bytes group, struct bytes filter)
{
    struct bytes id;
    uint32_t count;

    /* The add of the same pair has left scratch memory that is large enough. */
    if (make_id(in, group, filter, &id) != OK || imports_routes(&in->imports, filter, &count) != OK)
        return;
    unwant(in, id, group.n ? WANTED_SHARED : WANTED_PLAIN, count);
}

bool interest_is_told(struct interest *in, struct bytes group, struct bytes filter)
{
    struct bytes id;
    uint32_t count;

    if (make_id(in, group, filter, &id) != OK || imports_routes(&in->imports, filter, &count) != OK)
        return true; /* it is not wanted */
    for (uint32_t i = 0; i < count; i++) {
        const struct route *r = route_find(in, in->imports.found[i], id);

        if (r && r->wanted && !r->is_aside && (r->is_out || route_peer_has(in, r) != PEER_HAS))
            return false;
    }
    return true;
}

/* -------------------------------------------------------------------------- other topics --- */

void interest_refill(struct interest *in)
{
    in->is_importing = true;
    in->leaving = in->table.count;
    in->forgo = in->all.next;
}

bool interest_forgo(struct interest *in, uint32_t *budget)
{
    for (; in->is_importing && in->forgo != &in->all; in->forgo = in->forgo->next, --*budget) {
        struct route *r = ROUTE_OF_ALL(in->forgo);

        if (*budget == 0)
            return false;
        in->wanted -= r->wanted != 0;
        r->wanted = 0;
        route_settle(in, r);
    }
    return true;
}

enum err interest_import(struct interest *in, const struct bytes *topics, uint32_t topic_count,
                         uint32_t routes_max)
{
    struct imports fresh = {0};

    if (imports_init(&fresh, topics, topic_count) != OK) {
        imports_fini(&fresh);
        return ERR_MEMORY;
    }
    imports_fini(&in->imports);
    in->imports = fresh;
    in->routes_max = routes_max;
    interest_refill(in);
    return OK;
}

bool interest_imported(struct interest *in, uint32_t *budget)
{
    if (in->is_importing)
        in->forgo = in->all.next;
    in->is_importing = false;
    while (in->forgo && in->forgo != &in->all) {
        struct route *r = ROUTE_OF_ALL(in->forgo);

        if (*budget == 0)
            return false;
        --*budget;
        in->forgo = in->forgo->next;
        if (r->wanted)
            continue;
        r->is_aside = false;
        route_settle(in, r);
    }
    in->forgo = NULL;
    in->leaving = 0;
    return true;
}

/* ------------------------------------------------------------------------------- batches --- */

/* Ends the batch that is out; `forgotten`: the peer has nothing, whatever was sent. */
static void end_batch(struct interest *in, bool is_applied, bool is_forgotten)
{
    while (in->out.next != &in->out) {
        struct route *r = ROUTE_OF_QUEUE(in->out.next);
        enum peer_has now = r->is_add_out ? PEER_HAS : PEER_LACKS;

        links_remove(&r->queue);
        r->is_out = false;
        in->out_count--;
        route_set_peer_has(in, r, is_forgotten ? PEER_LACKS : is_applied ? now : PEER_MAY_HAVE);
        route_settle(in, r);
    }
    CHECK(in->out_count == 0);
}

void interest_ack(struct interest *in)
{
    end_batch(in, true, false);
}

void interest_fail(struct interest *in)
{
    end_batch(in, false, false);
}

void interest_forget(struct interest *in)
{
    in->epoch++;
    end_batch(in, false, true);
    in->cursor = in->all.next;
}

/* Offers a due route to the receiver. False: no room. */
static bool offer(struct interest *in, struct route *r, interest_emit *emit, void *arg)
{
    switch (emit(arg, r->wanted != 0, filter_of(r), id_of(r))) {
    case INTEREST_NO_ROOM:
        return false;
    case INTEREST_NEVER:
        r->is_aside = true;
        in->aside_count++;
        route_settle(in, r);
        return true;
    default:
        route_unqueue(in, r);
        links_append(&in->out, &r->queue);
        r->is_out = true;
        r->is_add_out = r->wanted != 0;
        in->out_count++;
        return true;
    }
}

/* Announces what the walk finds. Routes that the peer got meanwhile are passed over. */
static bool walk(struct interest *in, uint32_t count_max, interest_emit *emit, void *arg)
{
    while (in->cursor != &in->all) {
        struct route *r = ROUTE_OF_ALL(in->cursor);

        if (in->out_count == count_max)
            return false;
        if (r->epoch != in->epoch) { /* first meeting in this epoch */
            route_set_peer_has(in, r, PEER_LACKS);
            r->is_aside = false;
        }
        if (!r->wanted && route_peer_has(in, r) == PEER_LACKS && !r->is_out) {
            route_unqueue(in, r);
            route_free(in, r); /* moves the cursor on */
            continue;
        }
        if (r->wanted && route_peer_has(in, r) != PEER_HAS && !r->is_out && !r->is_aside &&
            !offer(in, r, emit, arg))
            return false;
        in->cursor = in->cursor->next;
    }
    in->cursor = NULL;
    return true;
}

uint32_t interest_take(struct interest *in, uint32_t count_max, interest_emit *emit, void *arg)
{
    if (in->out_count > 0)
        return 0;
    if (in->cursor && !walk(in, count_max, emit, arg))
        return in->out_count;
    while (in->pending.next != &in->pending && in->out_count < count_max)
        if (!offer(in, ROUTE_OF_QUEUE(in->pending.next), emit, arg))
            break;
    return in->out_count;
}

struct interest_state interest_state(const struct interest *in)
{
    return (struct interest_state){.wanted = in->wanted,
                                   .held = in->table.count,
                                   .pending = in->pending_count,
                                   .out = in->out_count,
                                   .aside = in->aside_count,
                                   .is_walking = in->cursor != NULL};
}

/* ------------------------------------------------------------------------------ lifetime --- */

struct interest *interest_create(const struct bytes *topics, uint32_t topic_count,
                                 uint32_t routes_max, const struct hash_key *key)
{
    struct interest *in = calloc(1, sizeof(*in));

    if (!in)
        return NULL;
    in->key = *key;
    in->routes_max = routes_max;
    table_init(&in->table);
    links_init(&in->all);
    links_init(&in->pending);
    links_init(&in->out);
    if (imports_init(&in->imports, topics, topic_count) != OK) {
        interest_destroy(in);
        return NULL;
    }
    return in;
}

void interest_destroy(struct interest *in)
{
    if (!in)
        return;
    for (struct links *l = in->all.next, *next; l != &in->all; l = next) {
        next = l->next;
        free(ROUTE_OF_ALL(l));
    }
    table_fini(&in->table);
    imports_fini(&in->imports);
    free(in->id);
    free(in);
}
