/* link/window.c -- two rings of records and the packet ids between them. */
#include "link/window.h"

#include <stdlib.h>

#include "core/base/check.h"
#include "core/mqtt/packet.h"

#define RING_FIRST 64u
/* Packet ids are 1..65535. */
#define IDS 65535u

/* ---- rings ---- */

static struct message **at(const struct window_ring *r, uint32_t idx)
{
    DCHECK(idx < r->count);
    return &r->v[(r->head + idx) & (r->capacity - 1)];
}

static bool grow(struct window_ring *r)
{
    uint32_t capacity = r->capacity ? r->capacity * 2 : RING_FIRST;
    struct message **v = malloc(capacity * sizeof(struct message *));

    if (!v)
        return false;
    for (uint32_t i = 0; i < r->count; i++)
        v[i] = *at(r, i);
    free(r->v);
    r->v = v;
    r->head = 0;
    r->capacity = capacity;
    return true;
}

static bool put_last(struct window_ring *r, struct message *m)
{
    if (r->count == r->capacity && !grow(r))
        return false;
    r->count++;
    *at(r, r->count - 1) = m;
    return true;
}

static struct message *take_first(struct window_ring *r)
{
    struct message *m = *at(r, 0);

    r->head = (r->head + 1) & (r->capacity - 1);
    r->count--;
    return m;
}

/* An empty ring gives its memory back: a burst must not stay for ever. */
static void ring_rest(struct window_ring *r)
{
    if (r->count || r->capacity <= RING_FIRST)
        return;
    free(r->v);
    *r = (struct window_ring){0};
}

/* ---- life ---- */

void window_init(struct window *w, uint64_t bytes_max, uint64_t age_max, enum window_full full)
{
    *w = (struct window){
        .bytes_max = bytes_max, .age_max = age_max, .full = full, .first_id = 1, .inflight_max = 1};
}

void window_fini(struct window *w)
{
    while (w->waiting.count)
        message_release(take_first(&w->waiting));
    while (w->inflight.count)
        message_release(take_first(&w->inflight));
    free(w->waiting.v);
    free(w->inflight.v);
    *w = (struct window){0};
}

/* The packet id of inflight[idx], and back. */
static uint16_t id_of(const struct window *w, uint32_t idx)
{
    return (uint16_t)((w->first_id - 1u + idx) % IDS + 1);
}

static uint32_t idx_of(const struct window *w, uint16_t id)
{
    return (id + IDS - w->first_id) % IDS;
}

/* It was lost, and who waits for it hears why. */
static void lose(struct window *w, const struct message *m, uint64_t *cause)
{
    bool is_full = cause == &w->lost.full;

    acks_settle(&w->acks, message_tag(m),
                is_full ? REASON_QUOTA_EXCEEDED : REASON_UNSPECIFIED_ERROR);
    ++*cause;
}

static void drop(struct window *w, struct message *m, uint64_t *cause)
{
    lose(w, m, cause);
    w->bytes -= message_cost(m);
    message_release(m);
}

/* What was acknowledged at the front leaves. */
static void pop_acknowledged(struct window *w)
{
    while (w->inflight.count && !*at(&w->inflight, 0)) {
        (void)take_first(&w->inflight);
        w->first_id = (uint16_t)(w->first_id % IDS + 1);
        if (w->resent)
            w->resent--;
    }
    ring_rest(&w->inflight);
}

void window_restart(struct window *w, uint32_t inflight_max, uint32_t packet_max)
{
    CHECK(inflight_max >= 1 && inflight_max <= IDS);
    window_stop(w);
    w->inflight_max = inflight_max;
    w->packet_max = packet_max;
}

void window_stop(struct window *w)
{
    w->resent = 0;
    w->unacked = 0;
}

/* What it may hold now. */
static uint64_t bound_of(const struct window *w)
{
    uint64_t least = w->bytes > WINDOW_LEAST_BYTES ? w->bytes : WINDOW_LEAST_BYTES;

    return w->must_not_grow && least < w->bytes_max ? least : w->bytes_max;
}

void window_push(struct window *w, struct message *record)
{
    uint64_t cost = message_cost(record), most = bound_of(w);

    while (w->full == WINDOW_DROP_OLDEST && w->waiting.count && w->bytes + cost > most)
        drop(w, take_first(&w->waiting), &w->lost.full);
    if (w->full != WINDOW_BLOCK && w->bytes + cost > most) {
        lose(w, record, &w->lost.full);
        return;
    }
    if (!put_last(&w->waiting, record)) {
        lose(w, record, &w->lost.memory);
        return;
    }
    message_ref(record);
    w->bytes += cost;
}

struct message *window_pop(struct window *w)
{
    struct message *m;

    CHECK(w->resent == 0);
    pop_acknowledged(w);
    if (w->inflight.count) {
        m = take_first(&w->inflight);
        w->first_id = (uint16_t)(w->first_id % IDS + 1);
        pop_acknowledged(w);
    } else if (w->waiting.count) {
        m = take_first(&w->waiting);
    } else {
        return NULL;
    }
    w->bytes -= message_cost(m);
    return m;
}

/* ---- sending ---- */

void window_publish(const struct message *record, struct publish_out *out)
{
    *out = (struct publish_out){
        .qos = record->qos, .topic = message_topic(record), .payload = message_payload(record)};
}

/* Bytes before the payload; 0: the packet is larger than the other side takes. */
static uint32_t header_of(const struct window *w, const struct message *record)
{
    struct publish_out out;
    uint32_t header, size;

    window_publish(record, &out);
    out.packet_id = record->qos; /* any but 0 */
    size = publish_size(MQTT_5, &out, &header);
    return size == 0 || size > w->packet_max ? 0 : header;
}

/* ---- age ---- */

static uint64_t due_of(const struct window *w, const struct message *m)
{
    return m->stamp_ms + w->age_max;
}

bool window_is_full(const struct window *w)
{
    return w->bytes >= bound_of(w);
}

uint64_t window_age(struct window *w, uint64_t now_ms)
{
    uint64_t next = UINT64_MAX;

    for (uint32_t i = w->resent; i < w->inflight.count; i++) {
        struct message **m = at(&w->inflight, i);

        if (!*m)
            continue;
        next = due_of(w, *m);
        if (next > now_ms)
            break;
        drop(w, *m, &w->lost.aged);
        *m = NULL;
        next = UINT64_MAX;
    }
    pop_acknowledged(w);
    if (next != UINT64_MAX)
        return next; /* what waits came later */
    while (w->waiting.count && due_of(w, *at(&w->waiting, 0)) <= now_ms)
        drop(w, take_first(&w->waiting), &w->lost.aged);
    if (w->waiting.count)
        return due_of(w, *at(&w->waiting, 0));
    ring_rest(&w->waiting);
    return UINT64_MAX;
}

/* The next in flight that this connection has not had. */
static bool next_again(struct window *w, struct window_packet *out)
{
    while (w->resent < w->inflight.count) {
        struct message **m = at(&w->inflight, w->resent);
        uint16_t id = id_of(w, w->resent);

        w->resent++;
        if (!*m)
            continue;
        out->header_bytes = header_of(w, *m);
        if (out->header_bytes) {
            w->unacked++;
            out->record = message_ref(*m);
            out->id = id;
            out->is_again = true;
            return true;
        }
        drop(w, *m, &w->lost.too_large);
        *m = NULL;
    }
    pop_acknowledged(w);
    return false;
}

/* Takes the front of what waits; false: nothing to send came of it. */
static bool next_fresh(struct window *w, uint64_t now_ms, struct window_packet *out)
{
    struct message *m = *at(&w->waiting, 0);

    out->header_bytes = header_of(w, m);
    if (!out->header_bytes || (m->expires_ms && m->expires_ms <= now_ms)) {
        drop(w, take_first(&w->waiting), out->header_bytes ? &w->lost.expired : &w->lost.too_large);
        return false;
    }
    if (m->qos && !put_last(&w->inflight, m)) {
        drop(w, take_first(&w->waiting), &w->lost.memory);
        return false;
    }
    (void)take_first(&w->waiting);
    w->sent++;
    out->record = m;
    out->is_again = false;
    out->id = 0;
    if (m->qos) {
        out->id = id_of(w, w->resent);
        w->resent++;
        w->unacked++;
        message_ref(m);
    } else {
        w->bytes -= message_cost(m);
    }
    return true;
}

bool window_next(struct window *w, uint64_t now_ms, struct window_packet *out)
{
    (void)window_age(w, now_ms);
    if (w->unacked < w->inflight_max && next_again(w, out))
        return true;
    if (w->resent < w->inflight.count)
        return false;
    while (w->waiting.count) {
        bool needs_id = (*at(&w->waiting, 0))->qos > 0;

        if (needs_id && (w->unacked >= w->inflight_max || w->inflight.count >= IDS))
            return false;
        if (next_fresh(w, now_ms, out))
            return true;
    }
    ring_rest(&w->waiting);
    return false;
}

enum err window_ack(struct window *w, uint16_t id, bool is_refused)
{
    uint32_t idx = idx_of(w, id);
    struct message **m;

    if (id == 0 || idx >= w->resent || !*at(&w->inflight, idx))
        return ERR_PEER;
    m = at(&w->inflight, idx);
    if (is_refused)
        lose(w, *m, &w->lost.refused);
    else
        acks_settle(&w->acks, message_tag(*m), 0);
    w->bytes -= message_cost(*m);
    message_release(*m);
    *m = NULL;
    w->unacked--;
    pop_acknowledged(w);
    return OK;
}

uint64_t window_oldest_ms(const struct window *w, uint64_t now_ms)
{
    const struct window_ring *r = w->inflight.count ? &w->inflight : &w->waiting;
    const struct message *m = r->count ? *at(r, 0) : NULL;

    return m && m->stamp_ms < now_ms ? now_ms - m->stamp_ms : 0;
}

uint32_t window_count(const struct window *w)
{
    return w->waiting.count + w->inflight.count;
}

uint64_t window_lost_sum(const struct window *w)
{
    const struct window_lost *l = &w->lost;

    return l->full + l->aged + l->expired + l->too_large + l->refused + l->memory;
}
