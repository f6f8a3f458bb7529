/* link/wants.c -- subscriptions counted by filter, and the elements of the stream.
 *
 * What a filter goes through is in link/want.h.
 */
#include "link/wants.h"

#include <stdlib.h>

#include "core/base/check.h"
#include "link/want.h"

/* ---------------------------------------------------------------------------------- time --- */

void wants_run(struct wants *w, uint64_t now)
{
    uint32_t budget = WANTS_SLICE;

    w->now = now;
    want_close_due(w, &budget);
    want_free_stale(w, &budget);
}

uint64_t wants_next_due(const struct wants *w)
{
    if (w->counts[WANT_STALE] > 0)
        return 0;
    return links_empty(&w->lingering) ? UINT64_MAX : WILD_OF_LINGER(w->lingering.next)->due;
}

/* ------------------------------------------------------------------------- subscriptions --- */

static void want_more(struct wants *w, struct want *x)
{
    if (x->refs++ > 0)
        return;
    w->wanted++;
    if (x->is_wild && want_wild(x)->linger.next) {
        want_unlinger(w, want_wild(x));
        want_announce(w, x);
    } else if (x->place != WANT_ASIDE || x->sent == WANT_SENT_ACKED) {
        want_leave(w, x);
        want_show(w, x);
    }
}

static void want_less(struct wants *w, struct want *x)
{
    CHECK(x->refs > 0);
    if (--x->refs > 0)
        return;
    w->wanted--;
    if (x->is_announced && x->is_wild && !links_empty(&want_wild(x)->hidden))
        want_linger(w, want_wild(x));
    else
        want_withdraw(w, x);
}

/* A subscription that found no room: its removal must not be counted. */
struct refused {
    struct table_node node;
};

static uint64_t refused_hash(const struct wants *w, struct bytes group, struct bytes filter)
{
    return hash_more(&w->key, hash_bytes(&w->key, group), filter);
}

static void refuse(struct wants *w, struct bytes group, struct bytes filter)
{
    struct refused *r = malloc(sizeof(*r));

    if (r && table_insert(&w->refused, &r->node, refused_hash(w, group, filter)))
        return;
    free(r);
    w->is_uncounted = true;
}

static bool was_refused(struct wants *w, struct bytes group, struct bytes filter)
{
    struct table_node *n;

    if (w->refused.count == 0)
        return false;
    n = table_first(&w->refused, refused_hash(w, group, filter));
    if (!n)
        return false;
    table_remove(&w->refused, n);
    free(TABLE_OBJECT(n, struct refused, node));
    return true;
}

/* Frees those of the first routes that are in no place: they have just been made. */
static void unmake_all(struct wants *w, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct bytes text = w->imports.found[i];
        struct want *x = want_find(w, text, hash_bytes(&w->key, text));

        if (x && x->place == WANT_NONE)
            want_free(w, x);
    }
}

/* Makes what the routes of a subscription need; what is new is in no place yet. Nor is what was
 * forgotten, lest it be freed to make room for another one. */
static enum err make_all(struct wants *w, uint32_t count)
{
    const uint64_t room = (uint64_t)w->routes_max + w->leaving;

    for (uint32_t i = 0; i < count; i++) {
        uint64_t hash = hash_bytes(&w->key, w->imports.found[i]);
        struct want *x = want_find(w, w->imports.found[i], hash);
        uint32_t budget = 1;
        enum err e;

        if (x && x->place == WANT_STALE)
            want_leave(w, x);
        if (x)
            continue;
        if (w->table.count >= room)
            want_free_stale(w, &budget);
        e = w->table.count < room ? want_make(w, w->imports.found[i], hash) : ERR_FULL;
        if (e != OK) {
            unmake_all(w, i);
            return e;
        }
    }
    return OK;
}

/* The filters of a subscription into w->imports.found. */
static enum err routes_of(struct wants *w, struct bytes group, struct bytes filter, uint32_t *count)
{
    return w->by_name && group.n ? imports_group(&w->imports, group, filter, count)
                                 : imports_routes(&w->imports, filter, count);
}

void wants_by_name(struct wants *w, bool by_name)
{
    w->by_name = by_name;
}

enum err wants_add(struct wants *w, struct bytes group, struct bytes filter)
{
    uint32_t count;
    enum err e = routes_of(w, group, filter, &count);

    if (e == OK)
        e = make_all(w, count);
    if (e == ERR_NONE)
        return e; /* as when it is removed */
    if (e != OK) {
        refuse(w, group, filter);
        return e;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct bytes text = w->imports.found[i];

        want_more(w, want_find(w, text, hash_bytes(&w->key, text)));
    }
    return OK;
}

void wants_remove(struct wants *w, struct bytes group, struct bytes filter, uint64_t now)
{
    uint32_t count;

    w->now = now;
    if (w->is_uncounted || was_refused(w, group, filter) ||
        routes_of(w, group, filter, &count) != OK)
        return;
    for (uint32_t i = 0; i < count; i++) {
        struct bytes text = w->imports.found[i];
        struct want *x = want_find(w, text, hash_bytes(&w->key, text));

        if (x && x->refs > 0)
            want_less(w, x);
    }
}

static bool is_in_force(struct wants *w, struct want *x)
{
    want_refresh(w, x);
    return x->is_announced && x->place == WANT_SETTLED;
}

bool wants_is_told(struct wants *w, struct bytes group, struct bytes filter)
{
    uint32_t count;

    if (routes_of(w, group, filter, &count) != OK)
        return true; /* it is not wanted */
    for (uint32_t i = 0; i < count; i++) {
        struct bytes text = w->imports.found[i];
        struct want *x = want_find(w, text, hash_bytes(&w->key, text));
        struct cover *c;

        if (!x || x->refs == 0 || x->place == WANT_ASIDE || is_in_force(w, x))
            continue;
        c = covers_find(&w->covers, text);
        if (!c || !is_in_force(w, &TABLE_OBJECT(c, struct wild, cover)->want))
            return false;
    }
    return true;
}

/* -------------------------------------------------------------------------- other topics --- */

/* Nobody wants what is in a bucket. */
static void unwant(struct wants *w, struct table_node *n, bool is_of_covers)
{
    for (struct table_node *next; n; n = next) {
        struct want *x = TABLE_OBJECT(n, struct want, node);

        next = n->next;
        want_refresh(w, x);
        if (x->refs == 0 || (is_of_covers && !(x->is_announced && x->is_wild &&
                                               !links_empty(&want_wild(x)->hidden))))
            continue;
        x->refs = 1;
        want_less(w, x);
    }
}

static void free_all(struct table *t);

void wants_refill(struct wants *w)
{
    w->is_importing = true;
    w->leaving = w->table.count;
    w->forgone = 0;
    w->forgone_max = 2 * w->table.bucket_count;
    free_all(&w->refused);
    table_init(&w->refused);
    w->is_uncounted = false;
}

/* First the covers, so that what they hide stays hidden if it is wanted again before they are. */
bool wants_forgo(struct wants *w, uint64_t now, uint32_t *budget)
{
    uint32_t buckets = w->forgone_max / 2; /* before anything is added anew */

    w->now = now;
    for (; w->forgone < w->forgone_max; w->forgone++, --*budget) {
        if (*budget == 0)
            return false;
        unwant(w, w->table.buckets[w->forgone % buckets], w->forgone < buckets);
    }
    return true;
}

enum err wants_import(struct wants *w, const struct bytes *topics, uint32_t topic_count,
                      uint32_t routes_max)
{
    struct imports fresh = {0};

    if (imports_init(&fresh, topics, topic_count) != OK) {
        imports_fini(&fresh);
        return ERR_MEMORY;
    }
    imports_fini(&w->imports);
    w->imports = fresh;
    w->routes_max = routes_max;
    wants_refill(w);
    return OK;
}

/* What lingered only until it is known that it hides nothing that is still wanted, goes. */
void wants_imported(struct wants *w)
{
    w->is_importing = false;
    w->leaving = 0;
    for (struct links *l = w->lingering.next, *next; l != &w->lingering; l = next) {
        struct wild *v = WILD_OF_LINGER(l);

        next = l->next;
        want_refresh(w, &v->want);
        if (!links_empty(&v->hidden) || v->want.place == WANT_CLOSING)
            continue;
        want_unlinger(w, v);
        want_withdraw(w, &v->want);
    }
}

/* -------------------------------------------------------------------------------- frames --- */

static int by_text(const void *left, const void *right)
{
    struct bytes a = want_text(*(struct want *const *)left);
    struct bytes b = want_text(*(struct want *const *)right);
    int order = memcmp(a.p, b.p, a.n < b.n ? a.n : b.n);

    return order ? order : (a.n > b.n) - (a.n < b.n);
}

/* The first of a list, sorted. Those that are not due there, because they were forgotten, go. */
static uint32_t gather(struct wants *w, enum want_place place, struct want *slice[WANTS_SORT])
{
    struct links *list = &w->places[place], *next;
    uint32_t count = 0;

    for (struct links *l = list->next; l != list && count < WANTS_SORT; l = next) {
        struct want *x = WANT_OF(l);

        next = l->next;
        want_refresh(w, x);
        if (place == WANT_DELETES || x->is_announced) {
            slice[count++] = x;
        } else if (x->refs == 0) {
            want_free(w, x);
        } else { /* it was aside */
            want_leave(w, x);
            want_show(w, x);
        }
    }
    qsort(slice, count, sizeof(struct want *), by_text);
    return count;
}

static void put_aside(struct wants *w, struct want *x)
{
    uint32_t all = UINT32_MAX; /* a filter this long hides few */

    w->is_doubtful |= want_is_unsure(w, x);
    x->is_announced = false;
    want_enter(w, x, WANT_ASIDE);
    if (x->is_wild)
        (void)want_uncover(w, want_wild(x), &all);
    if (x->is_wild && want_wild(x)->linger.next)
        want_unlinger(w, want_wild(x));
    if (x->refs == 0 && x->sent == WANT_SENT_NOTHING)
        want_free(w, x);
}

static void mark_sent(struct wants *w, struct want *x)
{
    bool is_add = x->is_announced;

    if (want_is_counted(x) != is_add) {
        uint64_t h = hash_bytes(&w->digest_key, want_text(x));

        w->count += is_add ? 1 : UINT64_MAX;
        w->digest += is_add ? h : 0 - h;
    }
    x->sent = is_add ? WANT_SENT_ADD : WANT_SENT_DELETE;
    x->number = w->last + 1;
    want_enter(w, x, WANT_FLYING);
}

/* Offers all of a list. False: no room. */
static bool offer(struct wants *w, enum want_place place, wants_emit *emit, void *arg,
                  uint32_t *count)
{
    struct want *slice[WANTS_SORT];

    while (!links_empty(&w->places[place])) {
        uint32_t n = gather(w, place, slice);

        for (uint32_t i = 0; i < n; i++) {
            switch (emit(arg, place == WANT_ADDS, want_text(slice[i]))) {
            case WANTS_NO_ROOM:
                return false;
            case WANTS_NEVER:
                put_aside(w, slice[i]);
                break;
            default:
                mark_sent(w, slice[i]);
                ++*count;
            }
        }
    }
    return true;
}

static bool may_delete(const struct wants *w)
{
    return !w->is_importing && w->counts[WANT_ADDS] == 0 && w->counts[WANT_CLOSING] == 0;
}

static bool has_pending(const struct wants *w)
{
    return w->counts[WANT_ADDS] > 0 || w->counts[WANT_DELETES] > 0;
}

bool wants_is_due(const struct wants *w)
{
    if (w->generation == 0 || w->frame_count == WANTS_FRAMES_MAX)
        return false;
    return w->counts[WANT_ADDS] > 0 || (w->counts[WANT_DELETES] > 0 && may_delete(w));
}

uint32_t wants_take(struct wants *w, uint64_t now, wants_emit *emit, void *arg)
{
    uint32_t count = 0;

    wants_run(w, now);
    if (!wants_is_due(w))
        return 0;
    if (offer(w, WANT_ADDS, emit, arg, &count) && may_delete(w))
        (void)offer(w, WANT_DELETES, emit, arg, &count);
    w->is_resending = w->is_resending && has_pending(w);
    if (count == 0)
        return 0;
    w->frames[(w->frame_first + w->frame_count++) % WANTS_FRAMES_MAX] =
        (struct wants_frame){.number = ++w->last, .ms = now};
    return count;
}

bool wants_end_is_due(const struct wants *w)
{
    return w->is_announcing && w->end == 0 && may_delete(w) && !w->is_doubtful &&
           !(w->is_resending && has_pending(w));
}

bool wants_beat(struct wants *w, struct wants_beat *beat)
{
    w->is_resending = w->is_resending && has_pending(w);
    if (w->generation == 0 || w->is_resending || w->is_doubtful)
        return false;
    *beat = (struct wants_beat){.generation = w->generation,
                                .number = w->last + 1,
                                .count = w->count,
                                .digest = w->digest,
                                .is_end = wants_end_is_due(w)};
    w->last++;
    if (beat->is_end)
        w->end = w->last;
    return true;
}

enum err wants_ack(struct wants *w, uint64_t generation, uint64_t number)
{
    struct links *flying = &w->places[WANT_FLYING];

    if (generation < w->generation)
        return OK;
    if (generation > w->generation || number > w->last)
        return ERR_PEER;
    if (number <= w->acked)
        return OK;
    w->acked = number;
    while (w->frame_count > 0 && w->frames[w->frame_first].number <= number) {
        w->frame_first = (w->frame_first + 1) % WANTS_FRAMES_MAX;
        w->frame_count--;
    }
    while (!links_empty(flying) && WANT_OF(flying->next)->number <= number)
        want_settle(w, WANT_OF(flying->next));
    if (w->end > 0 && number >= w->end)
        w->is_announcing = false;
    return OK;
}

/* ------------------------------------------------------------------------------ the peer --- */

void wants_forget(struct wants *w, uint64_t generation, const struct hash_key *digest_key)
{
    CHECK(generation > w->generation);
    w->generation = generation;
    w->digest_key = *digest_key;
    want_forget_all(w);
    w->last = w->acked = w->lost = w->end = 0;
    w->count = w->digest = 0;
    w->frame_count = 0;
    w->is_announcing = true;
    w->is_resending = w->is_doubtful = false;
}

/* Every filter of a list anew; none of them comes back to it. */
static void settle_all(struct wants *w, struct links *list)
{
    while (!links_empty(list)) {
        struct want *x = WANT_OF(list->next);

        want_leave(w, x);
        if (x->refs > 0 && !x->is_announced)
            want_show(w, x);
        else
            want_settle(w, x);
    }
}

void wants_lost(struct wants *w)
{
    struct links later;

    if (w->frame_count > 0 && !(w->is_resending && w->lost_ms))
        w->lost_ms = w->frames[w->frame_first].ms;
    w->frame_count = 0;
    w->lost = w->last;
    if (w->is_announcing)
        w->end = 0;
    links_init(&later); /* what was in flight comes first */
    links_move(&later, &w->places[WANT_ADDS]);
    settle_all(w, &w->places[WANT_FLYING]);
    settle_all(w, &w->places[WANT_ASIDE]);
    links_move(&w->places[WANT_ADDS], &later);
    w->is_resending = has_pending(w);
}

static uint64_t oldest_ms(const struct wants *w)
{
    if (w->frame_count > 0)
        return w->frames[w->frame_first].ms;
    return w->is_resending ? w->lost_ms : 0;
}

struct wants_state wants_state(const struct wants *w)
{
    return (struct wants_state){.generation = w->generation,
                                .next = w->last + 1,
                                .count = w->count,
                                .oldest_ms = oldest_ms(w),
                                .wanted = w->wanted,
                                .held = w->table.count,
                                .hidden = w->counts[WANT_HIDDEN],
                                .lingering = w->lingering_count,
                                .pending = w->counts[WANT_ADDS] + w->counts[WANT_DELETES],
                                .flying = w->counts[WANT_FLYING],
                                .frames = w->frame_count,
                                .aside = w->counts[WANT_ASIDE],
                                .is_announcing = w->is_announcing,
                                .is_doubtful = w->is_doubtful};
}

/* ------------------------------------------------------------------------------ lifetime --- */

struct wants *wants_create(const struct bytes *topics, uint32_t topic_count, uint32_t routes_max,
                           const struct hash_key *key)
{
    struct wants *w = calloc(1, sizeof(*w));

    if (!w)
        return NULL;
    w->key = *key;
    w->routes_max = routes_max;
    table_init(&w->table);
    table_init(&w->refused);
    covers_init(&w->covers, &w->key);
    for (uint32_t i = 0; i < WANT_COUNT; i++)
        links_init(&w->places[i]);
    links_init(&w->lingering);
    if (imports_init(&w->imports, topics, topic_count) != OK) {
        wants_destroy(w);
        return NULL;
    }
    return w;
}

/* Frees what begins with its node. */
static void free_all(struct table *t)
{
    for (uint32_t i = 0; i < t->bucket_count; i++) {
        while (t->buckets[i]) {
            struct table_node *n = t->buckets[i];

            t->buckets[i] = n->next;
            free(n);
        }
    }
    table_fini(t);
}

void wants_destroy(struct wants *w)
{
    if (!w)
        return;
    free_all(&w->table);
    free_all(&w->refused);
    covers_fini(&w->covers);
    imports_fini(&w->imports);
    free(w);
}
