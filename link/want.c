/* link/want.c -- filters in their places, and covers that open, linger and close. */
#include "link/want.h"

#include <stdlib.h>

#include "core/base/check.h"
#include "core/mqtt/topic.h"

struct wild *want_wild(struct want *x)
{
    CHECK(x->is_wild);
    return (struct wild *)(void *)x;
}

struct bytes want_text(const struct want *x)
{
    size_t size = x->is_wild ? sizeof(struct wild) : sizeof(struct want);

    return bytes_of((const uint8_t *)x + size, x->text_n);
}

/* -------------------------------------------------------------------------------- places --- */

void want_leave(struct wants *w, struct want *x)
{
    if (x->place == WANT_NONE)
        return;
    links_remove(&x->at);
    w->counts[x->place]--;
    x->place = WANT_NONE;
}

static void enter_list(struct wants *w, struct want *x, struct links *list, enum want_place place)
{
    want_leave(w, x);
    links_append(list, &x->at);
    w->counts[place]++;
    x->place = (uint8_t)place;
}

void want_enter(struct wants *w, struct want *x, enum want_place place)
{
    enter_list(w, x, &w->places[place], place);
}

/* All of one place to the end of another. Their own `place` is wrong until want_refresh(). */
static void move_all(struct wants *w, enum want_place to, enum want_place from)
{
    links_move(&w->places[to], &w->places[from]);
    w->counts[to] += w->counts[from];
    w->counts[from] = 0;
}

/* Where wants_forget has moved the list of a place. */
static const uint8_t forgotten[WANT_COUNT] = {
    [WANT_NONE] = WANT_NONE,    [WANT_HIDDEN] = WANT_HIDDEN, [WANT_CLOSING] = WANT_CLOSING,
    [WANT_ADDS] = WANT_ADDS,    [WANT_DELETES] = WANT_STALE, [WANT_FLYING] = WANT_ADDS,
    [WANT_SETTLED] = WANT_ADDS, [WANT_ASIDE] = WANT_ADDS,    [WANT_STALE] = WANT_STALE,
};

void want_forget_all(struct wants *w)
{
    w->epoch++;
    move_all(w, WANT_ADDS, WANT_SETTLED);
    move_all(w, WANT_ADDS, WANT_FLYING);
    move_all(w, WANT_ADDS, WANT_ASIDE);
    move_all(w, WANT_STALE, WANT_DELETES);
}

void want_refresh(struct wants *w, struct want *x)
{
    if (x->epoch == w->epoch)
        return;
    x->epoch = w->epoch;
    x->sent = WANT_SENT_NOTHING;
    x->place = forgotten[x->place];
}

struct want *want_find(struct wants *w, struct bytes text, uint64_t hash)
{
    struct table_node *n = table_first(&w->table, hash);

    for (; n; n = table_after(n)) {
        struct want *x = TABLE_OBJECT(n, struct want, node);

        if (bytes_eq(want_text(x), text)) {
            want_refresh(w, x);
            return x;
        }
    }
    return NULL;
}

enum err want_make(struct wants *w, struct bytes text, uint64_t hash)
{
    /* The name of a group is none: it covers nothing. */
    bool is_wild = topic_has_wildcard(text) && !bytes_begin(text, BYTES_LIT("$share/"));
    size_t size = is_wild ? sizeof(struct wild) : sizeof(struct want);
    struct want *x = malloc(size + text.n);

    if (!x)
        return ERR_MEMORY;
    memset(x, 0, size);
    x->epoch = w->epoch;
    x->text_n = (uint16_t)text.n;
    x->is_wild = is_wild;
    if (is_wild)
        links_init(&want_wild(x)->hidden);
    bytes_put((uint8_t *)x + size, text);
    if (!table_insert(&w->table, &x->node, hash)) {
        free(x);
        return ERR_MEMORY;
    }
    return OK;
}

void want_free(struct wants *w, struct want *x)
{
    CHECK(x->refs == 0 && !x->is_announced);
    if (x->is_wild)
        CHECK(!want_wild(x)->cover.node && !want_wild(x)->linger.next &&
              links_empty(&want_wild(x)->hidden));
    want_leave(w, x);
    table_remove(&w->table, &x->node);
    free(x);
}

bool want_is_counted(const struct want *x)
{
    return x->sent == WANT_SENT_ADD || x->sent == WANT_SENT_ACKED;
}

bool want_is_unsure(const struct wants *w, const struct want *x)
{
    return (x->sent == WANT_SENT_ADD || x->sent == WANT_SENT_DELETE) && x->number <= w->lost;
}

void want_settle(struct wants *w, struct want *x)
{
    enum want_sent hoped = x->is_announced ? WANT_SENT_ADD : WANT_SENT_DELETE;

    if (x->sent == hoped && x->number > w->lost && x->number > w->acked) {
        want_enter(w, x, WANT_FLYING);
        return;
    }
    if (x->sent == hoped && x->number > w->lost)
        x->sent = x->is_announced ? WANT_SENT_ACKED : WANT_SENT_NOTHING;
    if (x->is_announced && x->sent == WANT_SENT_ACKED)
        want_enter(w, x, WANT_SETTLED);
    else if (x->is_announced)
        want_enter(w, x, WANT_ADDS);
    else if (x->sent != WANT_SENT_NOTHING)
        want_enter(w, x, WANT_DELETES);
    else
        want_free(w, x);
}

/* -------------------------------------------------------------------------------- covers --- */

/* A cover that finds no memory for its place hides nothing, which only costs announcements. */
static void cover_open(struct wants *w, struct want *x)
{
    if (x->is_wild && !want_wild(x)->cover.node)
        covers_add(&w->covers, want_text(x), &want_wild(x)->cover);
}

void want_announce(struct wants *w, struct want *x)
{
    x->is_announced = true;
    cover_open(w, x);
    want_settle(w, x);
}

/* What the peer may have is not hidden: it would have to be withdrawn. */
void want_show(struct wants *w, struct want *x)
{
    struct cover *c = x->sent == WANT_SENT_NOTHING ? covers_find(&w->covers, want_text(x)) : NULL;

    if (c)
        enter_list(w, x, &TABLE_OBJECT(c, struct wild, cover)->hidden, WANT_HIDDEN);
    else
        want_announce(w, x);
}

bool want_uncover(struct wants *w, struct wild *v, uint32_t *budget)
{
    covers_remove(&w->covers, &v->cover);
    while (!links_empty(&v->hidden)) {
        struct want *x = WANT_OF(v->hidden.next);

        if (*budget == 0)
            return false;
        --*budget;
        want_refresh(w, x);
        want_leave(w, x);
        want_show(w, x);
    }
    return true;
}

void want_unlinger(struct wants *w, struct wild *v)
{
    links_remove(&v->linger);
    w->lingering_count--;
}

/* A cover that was never sent shall not be sent now: it closes at once. */
void want_linger(struct wants *w, struct wild *v)
{
    bool is_sent = v->want.sent != WANT_SENT_NOTHING;

    v->due = is_sent ? w->now + WANTS_LINGER_MS : 0;
    links_append(is_sent ? &w->lingering : w->lingering.next, &v->linger);
    w->lingering_count++;
    if (is_sent)
        return;
    covers_remove(&w->covers, &v->cover);
    v->want.is_announced = false;
    want_enter(w, &v->want, WANT_CLOSING);
}

void want_withdraw(struct wants *w, struct want *x)
{
    x->is_announced = false;
    if (x->is_wild)
        covers_remove(&w->covers, &want_wild(x)->cover);
    want_settle(w, x);
}

void want_close_due(struct wants *w, uint32_t *budget)
{
    while (!links_empty(&w->lingering)) {
        struct wild *v = WILD_OF_LINGER(w->lingering.next);

        if (v->due > w->now)
            return;
        if (!want_uncover(w, v, budget))
            return;
        want_unlinger(w, v);
        want_refresh(w, &v->want);
        want_withdraw(w, &v->want);
    }
}

void want_free_stale(struct wants *w, uint32_t *budget)
{
    struct links *stale = &w->places[WANT_STALE];

    for (; !links_empty(stale) && *budget > 0; --*budget) {
        want_refresh(w, WANT_OF(stale->next));
        want_free(w, WANT_OF(stale->next));
    }
}
