/* core/broker/receipts.c -- acknowledgements that wait for remote clusters (`ack = remote`).
 *
 * A QoS 1 or 2 publish that goes to a link worker which has such a link takes a receipt along: a
 * part of one block, made before anything is posted, so that no answer can fail for want of memory.
 * The link layer keeps it until all such links that the message went to have had it acknowledged,
 * or have let it go, and gives it back with a reason (shard_receipt_done). The last one back frees
 * the acknowledgement, which then waits for its ticket as any other (core/broker/client.c).
 *
 * Order: what a connection has published is acknowledged in the order in which it came
 * [MQTT-4.6.0-2] [MQTT-4.6.0-3], so what follows one that waits stands behind it, receipts or not.
 * Other connections are not held up. PUBCOMP and SUBACK are not either.
 *
 * Bound: as any that is not answered, one that waits takes a place of the receive window. Who knows
 * no window (MQTT 3) is not read any more when receive_maximum wait, and nobody of whom one waits
 * while memory_limit is reached.
 *
 * When the connection ends, what waits stays with the session. A client that sends the message
 * again on a later one, with DUP, gets the answer to what was published before, and it is not
 * published again. Of what clients never send again, receive_maximum are kept; beyond that the
 * oldest is forgotten, as if it had not come.
 *
 * Fails: a link has let the message go. MQTT 5 hears the reason, and PUBREC ends the flow with it;
 * MQTT 3 has no word for it. It is counted (link_acks_failed).
 */
#include <stdlib.h>

#include "core/base/check.h"
#include "core/broker/state.h"

/* An acknowledgement of a publish that waits for links, or for one before it on its connection; and
 * what it has sent along to each link worker. One block. */
struct owed {
    struct table_node node;   /* of by_id, if is_found */
    struct owed *next, *prev; /* of `here` or `left` */
    struct handle session;    /* generation 0: nobody is to be answered any more */
    store_ticket ticket;
    uint32_t count, open; /* receipts: in all, and those that are not back */
    uint16_t packet_id;
    uint8_t type; /* enum packet_type */
    uint8_t reason;
    uint8_t failure; /* why a link has let it go; 0: none has */
    bool is_quota;
    bool is_left;  /* by an earlier connection */
    bool is_found; /* by its packet id */
    struct receipt receipts[];
};

struct owed_list {
    struct owed *first, *last;
    uint32_t count;
};

/* What waits of one session. */
struct owing {
    struct owed_list here; /* of this connection, as they were published */
    struct owed_list left; /* that earlier connections left */
    struct table by_id;    /* of both: one for each packet id */
};

/* ---- lists of a session ---- */

/* NULL: nothing of it waits, or ever did. */
static struct owing *owing_of(const struct shard *s, const struct session *x)
{
    uint32_t slot;

    if (!s->owing_capacity)
        return NULL;
    slot = slab_handle(&s->sessions, x).slot;
    return slot < s->owing_capacity ? s->owing[slot] : NULL;
}

/* Makes place for what waits of a session. false: no memory. */
static bool owing_begin(struct shard *s, const struct session *x)
{
    uint32_t slot = slab_handle(&s->sessions, x).slot, capacity = s->owing_capacity;

    if (slot >= capacity) {
        struct owing **v;

        while (slot >= capacity)
            capacity = capacity ? capacity * 2 : 64;
        v = realloc(s->owing, capacity * sizeof(struct owing *));
        if (!v)
            return false;
        for (uint32_t i = s->owing_capacity; i < capacity; i++)
            v[i] = NULL;
        s->owing = v;
        s->owing_capacity = capacity;
    }
    if (!s->owing[slot])
        s->owing[slot] = calloc(1, sizeof *s->owing[slot]);
    return s->owing[slot] != NULL;
}

/* A hash for each packet id. */
static uint64_t hash_of_id(uint16_t packet_id)
{
    return packet_id * 0x9E3779B97F4A7C15u;
}

static struct owed *find(const struct owing *w, uint16_t packet_id)
{
    struct table_node *n = table_first(&w->by_id, hash_of_id(packet_id));

    return n ? TABLE_OBJECT(n, struct owed, node) : NULL;
}

/* A client that uses an id twice at once is not understood if it sends the second again. */
static void push(struct owing *w, struct owed *o)
{
    struct owed_list *l = &w->here;

    o->next = NULL;
    o->prev = l->last;
    *(l->last ? &l->last->next : &l->first) = o;
    l->last = o;
    l->count++;
    o->is_found =
        !find(w, o->packet_id) && table_insert(&w->by_id, &o->node, hash_of_id(o->packet_id));
}

static void take_out(struct owing *w, struct owed *o)
{
    struct owed_list *l = o->is_left ? &w->left : &w->here;

    CHECK(l->count);
    l->count--;
    if (l->first == o)
        l->first = o->next;
    else
        o->prev->next = o->next;
    if (l->last == o)
        l->last = o->prev;
    else
        o->next->prev = o->prev;
    if (o->is_found)
        table_remove(&w->by_id, &o->node);
    o->is_left = o->is_found = false;
}

/* Puts what waits of this connection behind what others left. */
static void leave_all(struct owing *w)
{
    struct owed_list *here = &w->here, *left = &w->left;

    if (!here->first)
        return;
    for (struct owed *o = here->first; o; o = o->next)
        o->is_left = true;
    here->first->prev = left->last;
    *(left->last ? &left->last->next : &left->first) = here->first;
    left->last = here->last;
    left->count += here->count;
    *here = (struct owed_list){0};
}

/* ---- making and freeing ---- */

/* What it holds of the memory of the process. */
static int64_t owed_bytes(const struct owed *o)
{
    return (int64_t)(sizeof *o + o->count * sizeof o->receipts[0]);
}

struct owed *owed_make(struct shard *s, const struct session *x, uint32_t receipts)
{
    struct owed *o =
        owing_begin(s, x) ? malloc(sizeof *o + receipts * sizeof o->receipts[0]) : NULL;

    if (!o)
        return NULL;
    *o = (struct owed){.count = receipts};
    STAT_INC(&s->stats, link_acks_waiting);
    STAT_ADD(&s->stats, filter_bytes_held, owed_bytes(o));
    return o;
}

static void owed_free(struct shard *s, struct owed *o)
{
    STAT_ADD(&s->stats, filter_bytes_held, -owed_bytes(o));
    free(o);
}

/* Nobody is to be answered any more: it goes when its last receipt is back. */
static void let_go(struct shard *s, struct owed *o)
{
    STAT_ADD(&s->stats, link_acks_waiting, -1);
    o->session = (struct handle){0, 0};
    if (o->open == 0)
        owed_free(s, o);
}

static void let_go_all(struct shard *s, struct owed *o)
{
    while (o) {
        struct owed *next = o->next;

        let_go(s, o);
        o = next;
    }
}

struct receipt *receipt_next(const struct shard *s, const struct publish *p, uint32_t worker)
{
    struct owed *o = *p->owed;
    struct receipt *r;

    if (!o || !(s->receipt_workers >> worker & 1))
        return NULL;
    CHECK(o->open < o->count);
    r = &o->receipts[o->open++];
    *r = (struct receipt){.owed = o, .home = (uint16_t)s->number};
    return r;
}

/* The oldest that an earlier connection left was never published, as far as we know any more. */
static void forget_oldest(struct shard *s, struct session *x, struct owing *w)
{
    struct owed *o = w->left.first;
    bool is_old;

    take_out(w, o);
    if (o->type == PACKET_PUBREC)
        (void)idset_remove(&x->received, o->packet_id, &is_old);
    let_go(s, o);
}

void owed_leave(struct shard *s, struct session *x)
{
    struct owing *w = owing_of(s, x);

    if (!w)
        return;
    leave_all(w);
    while (w->left.count > s->limits->receive_maximum)
        forget_oldest(s, x, w);
}

void owed_drop(struct shard *s, const struct session *x)
{
    struct owing *w = owing_of(s, x);

    if (!w)
        return;
    let_go_all(s, w->here.first);
    let_go_all(s, w->left.first);
    table_fini(&w->by_id);
    s->owing[slab_handle(&s->sessions, x).slot] = NULL;
    free(w);
}

/* ---- answering ---- */

/* A link has let it go: MQTT 5 hears why, and may use the packet id anew [MQTT-4.3.3-9]. */
static void fail(struct client *c, struct owed *o)
{
    bool is_old;

    STAT_INC(&c->stream.shard->stats, link_acks_failed);
    if (c->protocol != MQTT_5)
        return;
    o->reason = o->failure;
    if (o->type == PACKET_PUBREC)
        o->is_quota = idset_remove(&c->session->received, o->packet_id, &is_old) && !is_old;
}

/* Answers what can be answered now, in order. */
static void run(struct client *c, struct owing *w)
{
    struct owed *o;

    while ((o = w->here.first) && o->open == 0) {
        CHECK(!o->is_left);
        take_out(w, o);
        if (o->failure)
            fail(c, o);
        client_ack(c, (enum packet_type)o->type, o->packet_id, o->reason, o->ticket, o->is_quota);
        let_go(c->stream.shard, o);
    }
}

/* Behind what waits on this connection already. */
static void wait(struct client *c, struct owing *w, struct owed *o)
{
    o->session = slab_handle(&c->stream.shard->sessions, c->session);
    push(w, o);
    run(c, w);
}

void owed_put(struct client *c, struct owed *o, const struct pending_ack *a)
{
    struct shard *s = c->stream.shard;
    struct owing *w = owing_of(s, c->session);

    if (!o && (!w || !w->here.first)) {
        client_ack(c, (enum packet_type)a->type, a->packet_id, a->reason, a->ticket, a->is_quota);
        return;
    }
    if (!o)
        o = owed_make(s, c->session, 0);
    if (!o) {
        stream_abort(&c->stream, CLOSE_MEMORY);
        return;
    }
    o->ticket = a->ticket;
    o->packet_id = a->packet_id;
    o->type = a->type;
    o->reason = a->reason;
    o->is_quota = a->is_quota;
    wait(c, w, o);
}

bool owed_is_full(const struct client *c)
{
    struct shard *s = c->stream.shard;
    const struct owing *w = owing_of(s, c->session);

    if (!w || !w->here.first)
        return false;
    return (w->here.count >= s->limits->receive_maximum && c->protocol != MQTT_5) ||
           memory_is_full(s);
}

bool owed_again(struct client *c, const struct packet_publish *p, bool is_known)
{
    uint8_t type = p->qos == 1 ? PACKET_PUBACK : PACKET_PUBREC;
    struct owing *w = owing_of(c->stream.shard, c->session);
    struct owed *o = w ? find(w, p->packet_id) : NULL;
    bool is_same = o && is_known && o->type == type;

    if (!o || !o->is_left)
        return is_same;
    take_out(w, o);
    if (!is_same) { /* another message under the same id */
        let_go(c->stream.shard, o);
        return false;
    }
    o->is_quota = p->qos == 1; /* [MQTT-4.9.0-1]: an old QoS 2 has no place in this window */
    c->quota_used += o->is_quota;
    wait(c, w, o);
    return true;
}

/* ---- receipts that come back ---- */

static void back(struct shard *s, const struct receipt *r)
{
    struct owed *o = r->owed;
    struct session *x;

    CHECK(o->open);
    if (r->reason && !o->failure)
        o->failure = r->reason;
    if (--o->open)
        return;
    if (o->session.generation == 0) {
        owed_free(s, o);
        return;
    }
    x = slab_at(&s->sessions, o->session);
    CHECK(x);
    if (x->client)
        run(x->client, owing_of(s, x));
}

void shard_on_receipt(struct shard *s, const struct msg_pointer *m)
{
    back(s, m->p);
}

void shard_receipt_done(struct shard *s, struct receipt *r, uint8_t reason)
{
    r->reason = reason;
    r->next = NULL;
    *s->receipt_last = r;
    s->receipt_last = &r->next;
}

bool receipts_run(struct shard *s)
{
    struct receipt *r;

    while ((r = s->receipt_first)) {
        struct msg_pointer *m;

        m = mail_post(s->cluster->mail, s->number, r->home, MAIL_ANSWER, sizeof *m);
        if (!m)
            return true;
        s->receipt_first = r->next;
        *m = (struct msg_pointer){.type = MSG_RECEIPT, .p = r};
    }
    s->receipt_last = &s->receipt_first;
    return false;
}

void receipt_forget(struct receipt *r)
{
    struct owed *o = r->owed;

    if (--o->open == 0 && o->session.generation == 0)
        free(o);
}

void receipts_fini(struct shard *s)
{
    while (s->receipt_first) {
        struct receipt *r = s->receipt_first;

        s->receipt_first = r->next;
        receipt_forget(r);
    }
}
