/* link/outstream.c -- two rings of messages and the sequences between them. */
#include "link/outstream.h"

#include <stdlib.h>

#include "core/base/check.h"

#define RING_FIRST 64u
#define RING_MAX (1u << 31)

/* ---- rings ---- */

static struct outstream_entry *at(const struct outstream_ring *r, uint32_t idx)
{
    DCHECK(idx < r->count);
    return &r->v[(r->head + idx) & (r->capacity - 1)];
}

/* Room for one more. false: no memory. */
static bool reserve(struct outstream_ring *r)
{
    uint32_t capacity = r->capacity ? r->capacity * 2 : RING_FIRST;
    struct outstream_entry *v;

    if (r->count < r->capacity)
        return true;
    v = r->capacity < RING_MAX ? malloc(capacity * sizeof(*v)) : NULL;
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

/* For which there is room. */
static void put_last(struct outstream_ring *r, struct outstream_entry e)
{
    CHECK(r->count < r->capacity);
    r->count++;
    *at(r, r->count - 1) = e;
}

static struct outstream_entry take_first(struct outstream_ring *r)
{
    struct outstream_entry e = *at(r, 0);

    r->head = (r->head + 1) & (r->capacity - 1);
    r->count--;
    return e;
}

/* An empty ring gives its memory back: a burst must not stay for ever. */
static void ring_rest(struct outstream_ring *r)
{
    if (r->count || r->capacity <= RING_FIRST)
        return;
    free(r->v);
    *r = (struct outstream_ring){0};
}

/* ---- life ---- */

void outstream_init(struct outstream *s, const struct outstream_config *config)
{
    *s = (struct outstream){.config = *config, .next_sequence = 1};
}

void outstream_fini(struct outstream *s)
{
    while (s->waiting.count)
        message_release(take_first(&s->waiting).message);
    while (s->sent.count)
        message_release(take_first(&s->sent).message);
    free(s->waiting.v);
    free(s->sent.v);
    *s = (struct outstream){0};
}

/* ---- letting go ---- */

/* Why a message is not to be sent any more; NULL: it is. */
static uint64_t *too_late(struct outstream *s, const struct outstream_entry *e, uint64_t now_ms)
{
    uint64_t age_max_ms = s->config.age_max_ms;

    if (e->message->expires_ms && e->message->expires_ms <= now_ms)
        return &s->lost.expired;
    return age_max_ms && now_ms > e->since_ms + age_max_ms ? &s->lost.aged : NULL;
}

/* It was lost, and who waits for it hears why. */
static void lose(struct outstream *s, const struct message *m, uint64_t *cause)
{
    bool is_full = cause == &s->lost.full;

    acks_settle(&s->acks, message_tag(m),
                is_full ? REASON_QUOTA_EXCEEDED : REASON_UNSPECIFIED_ERROR);
    ++*cause;
}

static void drop_waiting(struct outstream *s, uint64_t *cause)
{
    struct message *m = take_first(&s->waiting).message;

    lose(s, m, cause);
    s->waiting_bytes -= message_cost(m);
    message_release(m);
}

/* The message of an entry of `sent` goes; the entry stays. */
static void let_go(struct outstream *s, struct outstream_entry *e)
{
    s->kept_bytes -= message_cost(e->message);
    s->kept_count--;
    message_release(e->message);
    e->message = NULL;
}

static void pop_sent(struct outstream *s)
{
    struct outstream_entry *e = at(&s->sent, 0);

    if (e->message) {
        acks_settle(&s->acks, message_tag(e->message), 0);
        let_go(s, e);
    }
    s->inflight.messages -= e->bytes > 0;
    s->inflight.bytes -= e->bytes;
    s->live -= s->live > 0;
    (void)take_first(&s->sent);
}

/* The front of `sent` up to `last` leaves, and what is behind it without a message or a flight. */
static void pop_taken(struct outstream *s, uint64_t last)
{
    while (s->sent.count) {
        const struct outstream_entry *e = at(&s->sent, 0);

        if (e->sequence > last && (e->message || e->bytes > 0))
            break;
        pop_sent(s);
    }
    ring_rest(&s->sent);
}

void outstream_sweep(struct outstream *s, uint64_t now_ms)
{
    uint64_t *cause;

    while (s->waiting.count && (cause = too_late(s, at(&s->waiting, 0), now_ms)) != NULL)
        drop_waiting(s, cause);
    ring_rest(&s->waiting);
}

/* ---- pushing ---- */

/* What it may hold now. */
static uint64_t bound_of(const struct outstream *s)
{
    uint64_t held = s->waiting_bytes + s->kept_bytes;
    uint64_t least = held > OUTSTREAM_LEAST_BYTES ? held : OUTSTREAM_LEAST_BYTES;

    return s->must_not_grow && least < s->config.bytes_max ? least : s->config.bytes_max;
}

bool outstream_is_full(const struct outstream *s)
{
    return s->waiting_bytes + s->kept_bytes >= bound_of(s);
}

static bool lacks_room(const struct outstream *s, uint64_t cost, uint64_t most)
{
    return s->waiting_bytes + s->kept_bytes + cost > most;
}

void outstream_push(struct outstream *s, struct message *m, uint64_t now_ms)
{
    uint64_t cost = message_cost(m), most = bound_of(s);

    if (lacks_room(s, cost, most))
        outstream_sweep(s, now_ms);
    if (s->config.full == OUTSTREAM_DROP_OLDEST && s->kept_bytes + cost <= most)
        while (lacks_room(s, cost, most))
            drop_waiting(s, &s->lost.full);
    if (s->config.full != OUTSTREAM_BLOCK && lacks_room(s, cost, most)) {
        lose(s, m, &s->lost.full);
        return;
    }
    if (!reserve(&s->waiting)) {
        lose(s, m, &s->lost.memory);
        return;
    }
    put_last(&s->waiting, (struct outstream_entry){.message = message_ref(m), .since_ms = now_ms});
    s->waiting_bytes += cost;
}

/* ---- the connection ---- */

void outstream_open(const struct outstream *s, struct native_frame *out)
{
    *out = (struct native_frame){.kind = NATIVE_OPEN,
                                 .boot = s->config.boot,
                                 .stream = s->config.stream,
                                 .streams = s->config.streams,
                                 .first =
                                     s->sent.count ? at(&s->sent, 0)->sequence : s->next_sequence};
}

void outstream_gone(struct outstream *s)
{
    s->is_open = false;
    s->live = 0;
    s->inflight = (struct native_window){0};
    for (uint32_t i = 0; i < s->sent.count; i++)
        at(&s->sent, i)->bytes = 0;
    pop_taken(s, 0);
}

struct message *outstream_pop(struct outstream *s, uint64_t *since_ms)
{
    struct outstream_ring *r = s->sent.count ? &s->sent : &s->waiting;
    struct outstream_entry e;

    CHECK(!s->is_open);
    if (!r->count)
        return NULL;
    e = take_first(r);
    if (r == &s->sent) { /* outstream_gone has left none without a message in front */
        s->kept_bytes -= message_cost(e.message);
        s->kept_count--;
        pop_taken(s, 0);
    } else {
        s->waiting_bytes -= message_cost(e.message);
        ring_rest(r);
    }
    *since_ms = e.since_ms;
    return e.message;
}

static bool is_of_us(const struct outstream *s, const struct native_frame *f)
{
    return f->boot == s->config.boot && f->stream == s->config.stream && f->last < s->next_sequence;
}

enum err outstream_rewind(struct outstream *s, const struct native_frame *opened,
                          uint32_t frame_max)
{
    if (!is_of_us(s, opened))
        return ERR_PEER;
    outstream_gone(s);
    pop_taken(s, opened->last);
    s->window = opened->window;
    s->frame_max = frame_max;
    s->is_open = true;
    return OK;
}

enum err outstream_ack(struct outstream *s, const struct native_frame *ack)
{
    if (!s->is_open || !is_of_us(s, ack))
        return ERR_PEER;
    pop_taken(s, ack->last);
    s->window = ack->window;
    return OK;
}

/* ---- sending ---- */

/* A frame that grows. */
struct builder {
    struct outstream *s;
    struct outstream_frame *frame;
    uint64_t now_ms;
    uint32_t room;
    uint32_t records_bytes; /* of those in it */
};

/* The next record: its message, sequence and sizes. */
struct candidate {
    struct message *message;
    uint64_t sequence;
    uint32_t head_bytes, bytes;
};

static struct candidate candidate_of(const struct builder *b, struct message *m, uint64_t sequence)
{
    uint32_t head = native_record_head_bytes(m, b->now_ms);

    return (struct candidate){m, sequence, head, head + m->payload_count};
}

/* Why it is not to be sent; NULL: it is. */
static uint64_t *unwanted(const struct builder *b, const struct outstream_entry *e,
                          const struct candidate *c)
{
    uint64_t *cause = too_late(b->s, e, b->now_ms);

    if (!cause && native_messages_head_bytes(c->sequence, 1) + c->bytes > b->s->frame_max)
        cause = &b->s->lost.too_large;
    return cause;
}

/* Whether it may fly now, and in this frame. Alone it always may. */
static bool fits(const struct builder *b, const struct candidate *c)
{
    const struct outstream *s = b->s;
    const struct outstream_frame *f = b->frame;
    uint32_t most = b->room < s->frame_max ? b->room : s->frame_max, head;

    if (s->inflight.messages > 0 && (s->inflight.messages >= s->window.messages ||
                                     s->inflight.bytes + c->bytes > s->window.bytes))
        return false;
    if (f->count == 0)
        return true;
    if (f->count == OUTSTREAM_FRAME_MESSAGES || c->sequence != f->first + f->count)
        return false;
    head = native_messages_head_bytes(f->first, f->count + 1);
    return (uint64_t)head + b->records_bytes + c->bytes <=
           (most < NATIVE_FRAME_BYTES ? most : NATIVE_FRAME_BYTES);
}

/* Into the frame, with a reference that is the frame's; in flight from now on. */
static void add(struct builder *b, const struct candidate *c)
{
    struct outstream_frame *f = b->frame;

    if (f->count == 0)
        f->first = c->sequence;
    f->records[f->count++] =
        (struct outstream_record){.message = c->message, .head_bytes = c->head_bytes};
    b->records_bytes += c->bytes;
    f->bytes = native_messages_head_bytes(f->first, f->count) + b->records_bytes;
    b->s->inflight.messages++;
    b->s->inflight.bytes += c->bytes;
    b->s->live++;
}

/* What the connection before this one had. */
static void build_again(struct builder *b)
{
    struct outstream *s = b->s;

    while (s->live < s->sent.count) {
        struct outstream_entry *e = at(&s->sent, s->live);
        struct candidate c;
        uint64_t *cause;

        if (!e->message) {
            s->live++;
            continue;
        }
        c = candidate_of(b, e->message, e->sequence);
        cause = unwanted(b, e, &c);
        if (cause) {
            lose(s, e->message, cause);
            let_go(s, e);
            continue;
        }
        if (!fits(b, &c))
            break;
        message_ref(c.message);
        e->bytes = c.bytes;
        add(b, &c);
        s->again++;
    }
    pop_taken(s, 0);
}

/* The front of what waits gets its sequence. */
static void send_first(struct builder *b, const struct candidate *c)
{
    struct outstream *s = b->s;
    struct outstream_entry e = take_first(&s->waiting);

    s->waiting_bytes -= message_cost(e.message);
    s->next_sequence++;
    e.sequence = c->sequence;
    e.bytes = c->bytes;
    if (e.message->qos > 0) {
        s->kept_bytes += message_cost(e.message);
        s->kept_count++;
        message_ref(e.message);
    } else {
        e.message = NULL;
    }
    put_last(&s->sent, e);
    add(b, c);
}

static void build_fresh(struct builder *b)
{
    struct outstream *s = b->s;

    while (s->waiting.count) {
        const struct outstream_entry *e = at(&s->waiting, 0);
        struct candidate c = candidate_of(b, e->message, s->next_sequence);
        uint64_t *cause = unwanted(b, e, &c);

        if (cause) {
            drop_waiting(s, cause);
            continue;
        }
        if (!fits(b, &c) || s->sent.count >= OUTSTREAM_SENT_MAX || !reserve(&s->sent))
            break;
        send_first(b, &c);
    }
    ring_rest(&s->waiting);
}

bool outstream_next(struct outstream *s, uint64_t now_ms, uint32_t room,
                    struct outstream_frame *out)
{
    struct builder b = {.s = s, .frame = out, .now_ms = now_ms, .room = room};

    out->count = 0;
    if (!s->is_open)
        return false;
    build_again(&b);
    out->is_again = out->count > 0;
    if (out->count == 0 && s->live == s->sent.count)
        build_fresh(&b);
    return out->count > 0;
}

/* ---- asking ---- */

/* What waits may be dropped, and what comes after it then has a lower sequence than the mark: it is
 * waited for without need, and nothing is missed. */
uint64_t outstream_mark(const struct outstream *s)
{
    return s->next_sequence + s->waiting.count;
}

bool outstream_is_past(const struct outstream *s, uint64_t mark)
{
    if (s->sent.count)
        return at(&s->sent, 0)->sequence >= mark;
    return !s->waiting.count || s->next_sequence >= mark;
}

uint64_t outstream_age_ms(const struct outstream *s, uint64_t now_ms)
{
    const struct outstream_ring *r = s->sent.count ? &s->sent : &s->waiting;

    return r->count && now_ms > at(r, 0)->since_ms ? now_ms - at(r, 0)->since_ms : 0;
}

uint64_t outstream_lost_sum(const struct outstream *s)
{
    const struct outstream_lost *l = &s->lost;

    return l->full + l->expired + l->aged + l->too_large + l->memory;
}
