/* link/wants.c -- distinct filters, what hides them, and what of them is on its way.
 *
 * A filter stands in exactly one list, that of its place. `is_announced` is the wish: the peer
 * should have it. `sent` and `number` say what it was last told. settle() puts a filter where both
 * together say:
 *
 *                         nothing sent    add or delete in flight      unsure        has it
 *     announced           adds            add: flying, delete: adds    adds          settled
 *     not announced       freed           add: deletes, delete: flying deletes       deletes
 *
 * Unsure is what was in flight at a loss: its number is not above `lost`. A hidden filter was
 * sent nothing; it stands in the list of its cover. So what is wanted is announced, hidden by an
 * announced cover, or hidden by one that is closing; and deletes wait while there are adds or
 * covers that close without ever having been sent.
 *
 * What was sent is valid only in the filter's `epoch`. wants_forget begins a new one and moves
 * whole lists; refresh() makes up for it when a filter is next met.
 */
#include "link/wants.h"

#include <stdlib.h>

#include "core/base/check.h"
#include "core/base/links.h"
#include "core/base/table.h"
#include "core/mqtt/topic.h"
#include "link/covers.h"
#include "link/imports.h"

enum place {
    PLACE_NONE,    /* in no list: being made or moved */
    PLACE_HIDDEN,  /* in the list of its cover */
    PLACE_CLOSING, /* a cover that was sent nothing and uncovers what it hid */
    PLACE_ADDS,
    PLACE_DELETES,
    PLACE_FLYING,  /* in the order of their numbers, but for those whose newer wish was dropped */
    PLACE_SETTLED, /* the peer has it, as it should */
    PLACE_ASIDE,   /* its operation fits into no frame */
    PLACE_STALE,   /* forgotten: to be freed */
    PLACE_COUNT
};

enum sent { SENT_NOTHING, SENT_ADD, SENT_DELETE, SENT_ACKED /* an add */ };

struct want {
    struct table_node node;
    struct links at;
    uint64_t number; /* of the element with SENT_ADD or SENT_DELETE */
    uint32_t refs;   /* subscriptions */
    uint32_t epoch;
    uint16_t text_n; /* the text stands behind the structure, which may be that of a wild */
    uint8_t place, sent;
    bool is_wild, is_announced;
};

/* A want whose filter has a wildcard. */
struct wild {
    struct want want;
    struct cover cover;  /* in the trie while it is announced, until it begins to close */
    struct links hidden; /* what it hides */
    struct links linger; /* in `lingering`, else NULL */
    uint64_t due;        /* when it closes */
};

_Static_assert(sizeof(struct want) == 56 && sizeof(struct wild) == 104, "as link/wants.h says");

/* A subscription that found no room: its removal must not be counted. */
struct refused {
    struct table_node node;
};

struct frame {
    uint64_t number, ms;
};

struct wants {
    struct hash_key key, digest_key;
    struct imports imports;
    struct table table, refused;
    struct covers covers;
    struct links places[PLACE_COUNT];
    uint32_t counts[PLACE_COUNT];
    struct links lingering; /* by their due */
    uint32_t lingering_count;
    uint32_t routes_max, wanted, epoch;
    uint64_t generation;                   /* 0: nothing is announced yet */
    uint64_t last, acked;                  /* numbers: acked <= last */
    uint64_t lost;                         /* up to here all is acked or nobody knows */
    uint64_t lost_ms;                      /* when the oldest of that was handed out */
    uint64_t end;                          /* the number of the end marker; 0: not sent */
    uint64_t count, digest;                /* of what has been handed out */
    uint64_t now;                          /* the latest time we were told */
    struct frame frames[WANTS_FRAMES_MAX]; /* in flight, a ring */
    uint32_t frame_first, frame_count;
    bool is_announcing; /* until the end marker is acked */
    bool is_resending;  /* until nothing waits */
    bool is_uncounted;  /* a refusal could not be remembered: nothing is removed any more */
};

#define WANT_OF(l) LINKS_OBJECT(l, struct want, at)
#define WILD_OF_LINGER(l) LINKS_OBJECT(l, struct wild, linger)

static struct wild *wild_of(struct want *x)
{
    CHECK(x->is_wild);
    return (struct wild *)(void *)x;
}

static struct bytes text_of(const struct want *x)
{
    size_t size = x->is_wild ? sizeof(struct wild) : sizeof(struct want);

    return bytes_of((const uint8_t *)x + size, x->text_n);
}

/* -------------------------------------------------------------------------------- places --- */

static void leave(struct wants *w, struct want *x)
{
    if (x->place == PLACE_NONE)
        return;
    links_remove(&x->at);
    w->counts[x->place]--;
    x->place = PLACE_NONE;
}

static void enter(struct wants *w, struct want *x, struct links *list, enum place place)
{
    leave(w, x);
    links_append(list, &x->at);
    w->counts[place]++;
    x->place = (uint8_t)place;
}

/* All of one place to the end of another. Their own `place` is wrong until refresh(). */
static void move_all(struct wants *w, enum place to, enum place from)
{
    links_move(&w->places[to], &w->places[from]);
    w->counts[to] += w->counts[from];
    w->counts[from] = 0;
}

/* Where wants_forget has moved the list of a place. */
static const uint8_t forgotten[PLACE_COUNT] = {
    [PLACE_NONE] = PLACE_NONE,    [PLACE_HIDDEN] = PLACE_HIDDEN, [PLACE_CLOSING] = PLACE_CLOSING,
    [PLACE_ADDS] = PLACE_ADDS,    [PLACE_DELETES] = PLACE_STALE, [PLACE_FLYING] = PLACE_ADDS,
    [PLACE_SETTLED] = PLACE_ADDS, [PLACE_ASIDE] = PLACE_ADDS,    [PLACE_STALE] = PLACE_STALE,
};

static void refresh(struct wants *w, struct want *x)
{
    if (x->epoch == w->epoch)
        return;
    x->epoch = w->epoch;
    x->sent = SENT_NOTHING;
    x->place = forgotten[x->place];
}

static struct want *want_find(struct wants *w, struct bytes text, uint64_t hash)
{
    struct table_node *n = table_first(&w->table, hash);

    for (; n; n = table_after(n)) {
        struct want *x = TABLE_OBJECT(n, struct want, node);

        if (bytes_eq(text_of(x), text)) {
            refresh(w, x);
            return x;
        }
    }
    return NULL;
}

static enum err want_make(struct wants *w, struct bytes text, uint64_t hash)
{
    bool is_wild = topic_has_wildcard(text);
    size_t size = is_wild ? sizeof(struct wild) : sizeof(struct want);
    struct want *x = malloc(size + text.n);

    if (!x)
        return ERR_MEMORY;
    memset(x, 0, size);
    x->epoch = w->epoch;
    x->text_n = (uint16_t)text.n;
    x->is_wild = is_wild;
    if (is_wild)
        links_init(&wild_of(x)->hidden);
    bytes_put((uint8_t *)x + size, text);
    if (!table_insert(&w->table, &x->node, hash)) {
        free(x);
        return ERR_MEMORY;
    }
    return OK;
}

static void want_free(struct wants *w, struct want *x)
{
    CHECK(x->refs == 0 && !x->is_announced);
    if (x->is_wild)
        CHECK(!wild_of(x)->cover.node && !wild_of(x)->linger.next &&
              links_empty(&wild_of(x)->hidden));
    leave(w, x);
    table_remove(&w->table, &x->node);
    free(x);
}

/* Whether the peer has it once all is applied that was handed out. */
static bool is_counted(const struct want *x)
{
    return x->sent == SENT_ADD || x->sent == SENT_ACKED;
}

/* See the top. The filter may be gone afterwards. */
static void settle(struct wants *w, struct want *x)
{
    enum sent hoped = x->is_announced ? SENT_ADD : SENT_DELETE;

    if (x->sent == hoped && x->number > w->lost && x->number > w->acked) {
        enter(w, x, &w->places[PLACE_FLYING], PLACE_FLYING);
        return;
    }
    if (x->sent == hoped && x->number > w->lost)
        x->sent = x->is_announced ? SENT_ACKED : SENT_NOTHING;
    if (x->is_announced && x->sent == SENT_ACKED)
        enter(w, x, &w->places[PLACE_SETTLED], PLACE_SETTLED);
    else if (x->is_announced)
        enter(w, x, &w->places[PLACE_ADDS], PLACE_ADDS);
    else if (x->sent != SENT_NOTHING)
        enter(w, x, &w->places[PLACE_DELETES], PLACE_DELETES);
    else
        want_free(w, x);
}

/* -------------------------------------------------------------------------------- covers --- */

/* A cover that finds no memory for its place hides nothing, which only costs announcements. */
static void cover_open(struct wants *w, struct want *x)
{
    if (x->is_wild && !wild_of(x)->cover.node)
        covers_add(&w->covers, text_of(x), &wild_of(x)->cover);
}

static void announce(struct wants *w, struct want *x)
{
    x->is_announced = true;
    cover_open(w, x);
    settle(w, x);
}

/* Hides or announces a filter that is wanted and not announced. What the peer may have is not
 * hidden: it would have to be withdrawn. */
static void show(struct wants *w, struct want *x)
{
    struct cover *c = x->sent == SENT_NOTHING ? covers_find(&w->covers, text_of(x)) : NULL;

    if (c)
        enter(w, x, &TABLE_OBJECT(c, struct wild, cover)->hidden, PLACE_HIDDEN);
    else
        announce(w, x);
}

/* Shows up to *budget of what a cover hides that takes no more in. False: some is left. */
static bool uncover(struct wants *w, struct wild *v, uint32_t *budget)
{
    CHECK(!v->cover.node);
    while (!links_empty(&v->hidden)) {
        struct want *x = WANT_OF(v->hidden.next);

        if (*budget == 0)
            return false;
        --*budget;
        refresh(w, x);
        leave(w, x);
        show(w, x);
    }
    return true;
}

static void unlinger(struct wants *w, struct wild *v)
{
    links_remove(&v->linger);
    w->lingering_count--;
}

/* A cover without subscribers. One that was never sent shall not be sent now: it closes at once. */
static void linger(struct wants *w, struct wild *v)
{
    bool is_sent = v->want.sent != SENT_NOTHING;

    v->due = is_sent ? w->now + WANTS_LINGER_MS : 0;
    links_append(is_sent ? &w->lingering : w->lingering.next, &v->linger);
    w->lingering_count++;
    if (is_sent)
        return;
    covers_remove(&w->covers, &v->cover);
    v->want.is_announced = false;
    enter(w, &v->want, &w->places[PLACE_CLOSING], PLACE_CLOSING);
}

static void withdraw(struct wants *w, struct want *x)
{
    x->is_announced = false;
    if (x->is_wild)
        covers_remove(&w->covers, &wild_of(x)->cover);
    settle(w, x);
}

static void close_due(struct wants *w, uint32_t *budget)
{
    while (!links_empty(&w->lingering)) {
        struct wild *v = WILD_OF_LINGER(w->lingering.next);

        if (v->due > w->now)
            return;
        covers_remove(&w->covers, &v->cover);
        if (!uncover(w, v, budget))
            return;
        unlinger(w, v);
        refresh(w, &v->want);
        withdraw(w, &v->want);
    }
}

static void free_stale(struct wants *w, uint32_t *budget)
{
    struct links *stale = &w->places[PLACE_STALE];

    for (; !links_empty(stale) && *budget > 0; --*budget) {
        refresh(w, WANT_OF(stale->next));
        want_free(w, WANT_OF(stale->next));
    }
}

void wants_run(struct wants *w, uint64_t now)
{
    uint32_t budget = WANTS_SLICE;

    w->now = now;
    close_due(w, &budget);
    free_stale(w, &budget);
}

uint64_t wants_next_due(const struct wants *w)
{
    if (w->counts[PLACE_STALE] > 0)
        return 0;
    return links_empty(&w->lingering) ? UINT64_MAX : WILD_OF_LINGER(w->lingering.next)->due;
}

/* ------------------------------------------------------------------------- subscriptions --- */

static void want_more(struct wants *w, struct want *x)
{
    if (x->refs++ > 0)
        return;
    w->wanted++;
    if (x->is_wild && wild_of(x)->linger.next) {
        unlinger(w, wild_of(x));
        announce(w, x);
    } else if (x->place != PLACE_ASIDE || x->sent == SENT_ACKED) {
        leave(w, x);
        show(w, x);
    }
}

static void want_less(struct wants *w, struct want *x)
{
    CHECK(x->refs > 0);
    if (--x->refs > 0)
        return;
    w->wanted--;
    if (x->is_announced && x->is_wild && !links_empty(&wild_of(x)->hidden))
        linger(w, wild_of(x));
    else
        withdraw(w, x);
}

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

/* Makes what the routes of a subscription need; what is new is in no place yet. */
static enum err make_all(struct wants *w, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        uint64_t hash = hash_bytes(&w->key, w->imports.found[i]);
        uint32_t budget = 1;
        enum err e;

        if (want_find(w, w->imports.found[i], hash))
            continue;
        if (w->table.count >= w->routes_max)
            free_stale(w, &budget);
        e = w->table.count < w->routes_max ? want_make(w, w->imports.found[i], hash) : ERR_FULL;
        if (e == OK)
            continue;
        for (uint32_t k = 0; k < i; k++) {
            struct bytes text = w->imports.found[k];
            struct want *x = want_find(w, text, hash_bytes(&w->key, text));

            if (x && x->place == PLACE_NONE)
                want_free(w, x);
        }
        return e;
    }
    return OK;
}

enum err wants_add(struct wants *w, struct bytes group, struct bytes filter)
{
    uint32_t count;
    enum err e = imports_routes(&w->imports, filter, &count);

    if (e == OK)
        e = make_all(w, count);
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
        imports_routes(&w->imports, filter, &count) != OK)
        return;
    for (uint32_t i = 0; i < count; i++) {
        struct bytes text = w->imports.found[i];
        struct want *x = want_find(w, text, hash_bytes(&w->key, text));

        if (x && x->refs > 0)
            want_less(w, x);
    }
}

/* -------------------------------------------------------------------------------- frames --- */

static int by_text(const void *left, const void *right)
{
    struct bytes a = text_of(*(struct want *const *)left);
    struct bytes b = text_of(*(struct want *const *)right);
    int order = memcmp(a.p, b.p, a.n < b.n ? a.n : b.n);

    return order ? order : (a.n > b.n) - (a.n < b.n);
}

/* The first of a list, sorted. Those that are not due there, because they were forgotten, go. */
static uint32_t gather(struct wants *w, enum place place, struct want *slice[WANTS_SORT])
{
    struct links *list = &w->places[place], *next;
    uint32_t count = 0;

    for (struct links *l = list->next; l != list && count < WANTS_SORT; l = next) {
        struct want *x = WANT_OF(l);

        next = l->next;
        refresh(w, x);
        if (place == PLACE_DELETES || x->is_announced) {
            slice[count++] = x;
        } else if (x->refs == 0) {
            want_free(w, x);
        } else { /* it was aside */
            leave(w, x);
            show(w, x);
        }
    }
    qsort(slice, count, sizeof(struct want *), by_text);
    return count;
}

static void put_aside(struct wants *w, struct want *x)
{
    uint32_t all = UINT32_MAX; /* a filter this long hides few */

    x->is_announced = false;
    enter(w, x, &w->places[PLACE_ASIDE], PLACE_ASIDE);
    if (!x->is_wild)
        return;
    covers_remove(&w->covers, &wild_of(x)->cover);
    (void)uncover(w, wild_of(x), &all);
    if (wild_of(x)->linger.next)
        unlinger(w, wild_of(x));
}

static void mark_sent(struct wants *w, struct want *x)
{
    bool is_add = x->is_announced;

    if (is_counted(x) != is_add) {
        uint64_t h = hash_bytes(&w->digest_key, text_of(x));

        w->count += is_add ? 1 : UINT64_MAX;
        w->digest += is_add ? h : 0 - h;
    }
    x->sent = is_add ? SENT_ADD : SENT_DELETE;
    x->number = w->last + 1;
    enter(w, x, &w->places[PLACE_FLYING], PLACE_FLYING);
}

/* Offers all of a list. False: no room. */
static bool offer(struct wants *w, enum place place, wants_emit *emit, void *arg, uint32_t *count)
{
    struct want *slice[WANTS_SORT];

    while (!links_empty(&w->places[place])) {
        uint32_t n = gather(w, place, slice);

        for (uint32_t i = 0; i < n; i++) {
            switch (emit(arg, place == PLACE_ADDS, text_of(slice[i]))) {
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
    return w->counts[PLACE_ADDS] == 0 && w->counts[PLACE_CLOSING] == 0;
}

static bool has_pending(const struct wants *w)
{
    return w->counts[PLACE_ADDS] > 0 || w->counts[PLACE_DELETES] > 0;
}

bool wants_is_due(const struct wants *w)
{
    if (w->generation == 0 || w->frame_count == WANTS_FRAMES_MAX)
        return false;
    return w->counts[PLACE_ADDS] > 0 || (w->counts[PLACE_DELETES] > 0 && may_delete(w));
}

uint32_t wants_take(struct wants *w, uint64_t now, wants_emit *emit, void *arg)
{
    uint32_t count = 0;

    wants_run(w, now);
    if (!wants_is_due(w))
        return 0;
    if (offer(w, PLACE_ADDS, emit, arg, &count) && may_delete(w))
        (void)offer(w, PLACE_DELETES, emit, arg, &count);
    w->is_resending = w->is_resending && has_pending(w);
    if (count == 0)
        return 0;
    w->frames[(w->frame_first + w->frame_count++) % WANTS_FRAMES_MAX] =
        (struct frame){.number = ++w->last, .ms = now};
    return count;
}

bool wants_end_is_due(const struct wants *w)
{
    return w->is_announcing && w->end == 0 && may_delete(w) && !(w->is_resending && has_pending(w));
}

bool wants_beat(struct wants *w, struct wants_beat *beat)
{
    w->is_resending = w->is_resending && has_pending(w);
    if (w->generation == 0 || w->is_resending)
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
    struct links *flying = &w->places[PLACE_FLYING];

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
        settle(w, WANT_OF(flying->next));
    if (w->end > 0 && number >= w->end)
        w->is_announcing = false;
    return OK;
}

/* ---------------------------------------------------------------------------- the peer --- */

void wants_forget(struct wants *w, uint64_t generation, const struct hash_key *digest_key)
{
    CHECK(generation > w->generation);
    w->generation = generation;
    w->digest_key = *digest_key;
    w->epoch++;
    move_all(w, PLACE_ADDS, PLACE_SETTLED);
    move_all(w, PLACE_ADDS, PLACE_FLYING);
    move_all(w, PLACE_ADDS, PLACE_ASIDE);
    move_all(w, PLACE_STALE, PLACE_DELETES);
    w->last = w->acked = w->lost = w->end = 0;
    w->count = w->digest = 0;
    w->frame_count = 0;
    w->is_announcing = true;
    w->is_resending = false;
}

/* Every filter of a list anew; none of them comes back to it. */
static void settle_all(struct wants *w, struct links *list)
{
    while (!links_empty(list)) {
        struct want *x = WANT_OF(list->next);

        leave(w, x);
        if (x->refs > 0 && !x->is_announced)
            show(w, x);
        else
            settle(w, x);
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
    links_move(&later, &w->places[PLACE_ADDS]);
    settle_all(w, &w->places[PLACE_FLYING]);
    settle_all(w, &w->places[PLACE_ASIDE]);
    links_move(&w->places[PLACE_ADDS], &later);
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
                                .hidden = w->counts[PLACE_HIDDEN],
                                .lingering = w->lingering_count,
                                .pending = w->counts[PLACE_ADDS] + w->counts[PLACE_DELETES],
                                .flying = w->counts[PLACE_FLYING],
                                .frames = w->frame_count,
                                .aside = w->counts[PLACE_ASIDE],
                                .is_announcing = w->is_announcing};
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
    for (uint32_t i = 0; i < PLACE_COUNT; i++)
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
