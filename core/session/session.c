/* core/session/session.c -- the parts of a session: subscriptions, window, queue. */
#include "core/session/session.h"

#include <stdlib.h>

#include "core/base/check.h"
#include "core/session/share.h"

bool session_set_id(struct session *s, struct bytes id)
{
    CHECK(!s->id);
    s->id = malloc(id.n ? id.n : 1);
    if (!s->id)
        return false;
    bytes_put(s->id, id);
    s->id_count = (uint16_t)id.n;
    return true;
}

struct bytes session_id(const struct session *s)
{
    return bytes_of(s->id, s->id_count);
}

bool session_set_user(struct session *s, const struct bytes *user)
{
    uint32_t n = user ? user->n : 0;
    uint8_t *id = s->id;

    if (n != s->user_count)
        id = realloc(s->id, s->id_count + n + 1ul);
    if (!id)
        return false;
    if (n)
        bytes_put(id + s->id_count, *user);
    s->id = id;
    s->user_count = (uint16_t)n;
    s->has_user = user != NULL;
    return true;
}

struct bytes session_user(const struct session *s)
{
    return bytes_of(s->id + s->id_count, s->user_count);
}

bool session_has_user(const struct session *s, const struct bytes *user)
{
    return s->has_user == (user != NULL) && (!user || bytes_eq(session_user(s), *user));
}

uint32_t session_add_subscription(struct session *s, struct subscription sub)
{
    if (s->sub_count == s->sub_capacity) {
        uint32_t capacity = s->sub_capacity ? s->sub_capacity * 2 : 1;
        struct subscription *v = realloc(s->subs, capacity * sizeof *v);

        if (!v)
            return UINT32_MAX;
        s->subs = v;
        s->sub_capacity = capacity;
    }
    s->subs[s->sub_count] = sub;
    return s->sub_count++;
}

void session_drop_subscription(struct session *s, uint32_t at)
{
    struct subscription *moved = &s->subs[at];

    CHECK(at < s->sub_count);
    s->sub_count--;
    if (at == s->sub_count)
        return;
    *moved = s->subs[s->sub_count];
    if (moved->filter)
        moved->filter->v[moved->at].at = at;
    else
        moved->share->at = at;
}

uint32_t session_find_filter(const struct session *s, const struct filter *f)
{
    if (f->count < s->sub_count) {
        for (uint32_t i = 0; i < f->count; i++)
            if (f->v[i].session == s)
                return f->v[i].at;
        return UINT32_MAX;
    }
    for (uint32_t i = 0; i < s->sub_count; i++)
        if (s->subs[i].filter == f)
            return i;
    return UINT32_MAX;
}

/* ---- in flight ---- */

/* Room for so many stays when nothing is in flight any more, until session_trim. */
#define INFLIGHT_KEPT 1024u

static bool grow_inflight(struct session *s)
{
    uint32_t capacity = s->inflight_capacity ? s->inflight_capacity * 2 : 4;
    struct delivery *v;

    if (capacity > 65536)
        return false;
    v = calloc(capacity, sizeof *v);
    if (!v)
        return false;
    /* Ids that differ under the small mask differ under the large one: no place is taken twice. */
    for (uint32_t i = 0; i < s->inflight_capacity; i++)
        if (s->inflight[i].state != DELIVERY_FREE)
            v[s->inflight[i].packet_id & (capacity - 1)] = s->inflight[i];
    free(s->inflight);
    s->inflight = v;
    s->inflight_capacity = capacity;
    return true;
}

struct delivery *session_send(struct session *s, const struct delivery *d)
{
    struct delivery *place;

    /* Keep a quarter free so that a fresh id is found in a few steps. */
    if (s->inflight_count + 1 > s->inflight_capacity / 4 * 3 && !grow_inflight(s) &&
        s->inflight_count + 1 >= s->inflight_capacity)
        return NULL;
    do {
        if (++s->next_packet_id == 0)
            s->next_packet_id = 1; /* [MQTT-2.2.1-3]: never 0 */
        place = &s->inflight[s->next_packet_id & (s->inflight_capacity - 1)];
    } while (place->state != DELIVERY_FREE); /* [MQTT-2.2.1-4]: not one that is in use */
    *place = *d;
    place->packet_id = s->next_packet_id;
    place->sequence = s->next_sequence++;
    place->state = DELIVERY_SENT;
    s->inflight_count++;
    return place;
}

struct delivery *session_inflight(struct session *s, uint16_t packet_id)
{
    struct delivery *d;

    if (s->inflight_count == 0)
        return NULL;
    d = &s->inflight[packet_id & (s->inflight_capacity - 1)];
    return d->state != DELIVERY_FREE && d->packet_id == packet_id ? d : NULL;
}

void delivery_fini(struct delivery *d)
{
    message_release(d->message);
    free(d->more_ids);
    d->message = NULL;
    d->more_ids = NULL;
}

void session_done(struct session *s, struct delivery *d)
{
    CHECK(d->state != DELIVERY_FREE);
    if (d->state == DELIVERY_HELD)
        s->held_count--;
    delivery_fini(d);
    d->state = DELIVERY_FREE;
    if (--s->inflight_count == 0 && s->inflight_capacity > INFLIGHT_KEPT)
        session_trim(s);
}

void session_trim(struct session *s)
{
    if (!s->received.count)
        idset_fini(&s->received);
    if (s->inflight_count)
        return;
    free(s->inflight);
    s->inflight = NULL;
    s->inflight_capacity = 0;
}

void session_accept(struct session *s, struct delivery *d)
{
    CHECK(d->state != DELIVERY_FREE);
    if (d->state == DELIVERY_HELD)
        s->held_count--;
    d->state = DELIVERY_RELEASED;
}

static int by_sequence(const void *a, const void *b)
{
    const struct delivery *x = *(struct delivery *const *)a;
    const struct delivery *y = *(struct delivery *const *)b;
    int32_t d = (int32_t)(x->sequence - y->sequence); /* sequences may wrap */

    return d < 0 ? -1 : d > 0;
}

uint32_t session_inflight_sorted(struct session *s, struct delivery **v)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < s->inflight_capacity; i++)
        if (s->inflight[i].state != DELIVERY_FREE)
            v[n++] = &s->inflight[i];
    if (n > 1)
        qsort(v, n, sizeof(struct delivery *), by_sequence);
    return n;
}

bool session_hold(struct session *s)
{
    struct delivery **v;
    uint16_t *ids;
    uint32_t n;

    if (s->inflight_count == 0)
        return true;
    v = malloc(s->inflight_count * sizeof(struct delivery *));
    ids = malloc(s->inflight_count * sizeof *ids);
    if (!v || !ids) {
        free(v);
        free(ids);
        return false;
    }
    free(s->resend);
    s->resend = ids;
    s->resend_at = s->resend_count = 0;
    n = session_inflight_sorted(s, v);
    for (uint32_t i = 0; i < n; i++) {
        if (v[i]->state == DELIVERY_RELEASED)
            continue;
        v[i]->state = DELIVERY_HELD;
        s->resend[s->resend_count++] = v[i]->packet_id;
    }
    s->held_count = s->resend_count;
    free(v);
    return true;
}

struct delivery *session_unhold(struct session *s)
{
    while (s->held_count) {
        struct delivery *d;

        CHECK(s->resend_at < s->resend_count);
        d = session_inflight(s, s->resend[s->resend_at++]);
        if (!d || d->state != DELIVERY_HELD)
            continue; /* acknowledged before it was sent again */
        d->state = DELIVERY_SENT;
        s->held_count--;
        return d;
    }
    free(s->resend);
    s->resend = NULL;
    return NULL;
}

/* ---- waiting ---- */

static uint32_t delivery_cost(const struct delivery *d)
{
    return message_cost(d->message) + (uint32_t)sizeof *d;
}

bool session_push(struct session *s, const struct delivery *d)
{
    if (s->queue_count == s->queue_capacity) {
        uint32_t capacity = s->queue_capacity ? s->queue_capacity * 2 : 4;
        struct delivery *v = malloc(capacity * sizeof *v);

        if (!v)
            return false;
        for (uint32_t i = 0; i < s->queue_count; i++)
            v[i] = s->queue[(s->queue_head + i) & (s->queue_capacity - 1)];
        free(s->queue);
        s->queue = v;
        s->queue_capacity = capacity;
        s->queue_head = 0;
    }
    s->queue[(s->queue_head + s->queue_count) & (s->queue_capacity - 1)] = *d;
    s->queue_count++;
    s->queue_bytes += delivery_cost(d);
    return true;
}

struct delivery *session_peek(struct session *s)
{
    return s->queue_count ? &s->queue[s->queue_head] : NULL;
}

void session_pop(struct session *s)
{
    CHECK(s->queue_count > 0);
    s->queue_bytes -= delivery_cost(&s->queue[s->queue_head]);
    s->queue_head = (s->queue_head + 1) & (s->queue_capacity - 1);
    if (--s->queue_count == 0) {
        free(s->queue);
        s->queue = NULL;
        s->queue_capacity = 0;
        s->queue_head = 0;
    }
}

void session_fini(struct session *s)
{
    for (uint32_t i = 0; i < s->inflight_capacity; i++)
        if (s->inflight[i].state != DELIVERY_FREE)
            delivery_fini(&s->inflight[i]);
    while (s->queue_count) {
        struct delivery d = *session_peek(s);

        session_pop(s);
        delivery_fini(&d);
    }
    free(s->inflight);
    free(s->queue);
    free(s->resend);
    idset_fini(&s->received);
    free(s->subs);
    free(s->id);
    if (s->will) {
        message_release(s->will->message);
        free(s->will);
    }
}
