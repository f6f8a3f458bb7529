/* tests/sim/world.c -- one broker's shards, the turns of its workers, and a fake kernel. */
#include "tests/sim/world.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cfg/change.h"
#include "core/mqtt/frame.h"
#include "core/policy/acl.h"
#include "link/hub.h"

#define SIM_WORKERS_MAX 8u
#define LINKED_WORKERS_MAX 4u
#define LINKED_LINK_WORKERS_MAX 3u
/* Each of 50 steps. In one of linked worlds, nobody who is parked is tried again after so many. */
#define REST_ROUNDS 4000u
#define PATIENT_ROUNDS 20u

enum phase {
    PHASE_BEGIN,
    PHASE_INPUT,
    PHASE_MAIL,
    PHASE_TIMERS,
    PHASE_END,
    PHASE_FLUSH,
    PHASE_SLEEP
};

/* The links by number, of one reading of the configuration. */
struct link_list {
    struct link_list *previous;
    struct cfg_link *links[LINKS_MAX];
    struct link_rules rules[LINKS_MAX];
};

struct worker {
    struct world *world;
    uint32_t number;
    struct shard *shard;
    struct hub *hub;               /* of a link worker, else NULL */
    const struct link_list *links; /* taken over; NULL: those at the start */
    bool must_apply;               /* and the hub has not made them all so yet */
    enum phase phase;
    bool more; /* this turn left work for another one at once */
    bool is_asleep;
    bool is_woken;          /* another worker was told to wake it */
    uint64_t now_ms;        /* told at the beginning of the turn */
    uint64_t wake_at_ms;    /* a sleeper's next timer */
    uint64_t timers_ran_ms; /* all due by then have fired */
    uint64_t busy;          /* counts what it visibly did */
};

struct world {
    struct sim *sim;
    struct listener listener;
    struct listener_rules rules;
    struct cluster_config config;
    struct cluster_state *cluster;
    struct world_links links; /* cfg NULL: none */
    struct link_rules link_rules[LINKS_MAX];
    struct link_list *reloaded; /* the last; NULL: none since the start */
    struct worker workers[SIM_WORKERS_MAX + LINK_WORKERS_MAX];
    uint32_t worker_count; /* that serve clients */
    uint32_t all_count;    /* with the link workers, which are the last */
    bool whole_turns;      /* turns of workers do not interleave */
    bool is_resting;       /* no delays: everything goes as fast as it can */
    bool is_patient;       /* who is parked waits, as for the link that other worlds must empty */
    struct wire **wires;   /* not gone */
    uint32_t wire_count, wire_capacity;
    struct wire **gone;
    uint32_t gone_count, gone_capacity;
};

static struct worker *worker_of(struct world *w, const struct wire *k)
{
    return &w->workers[k->worker];
}

static struct wire *wire_new(struct world *w, void *line, uint32_t worker)
{
    struct wire *k = must_alloc(sizeof(*k));

    k->number = w->wire_count + w->gone_count;
    k->line = line;
    k->worker = worker;
    w->wires = must_grow(w->wires, w->wire_count, &w->wire_capacity, sizeof(struct wire *));
    w->wires[w->wire_count++] = k;
    return k;
}

/* ---- what the broker does with a wire ---- */

/* Tells the clients' side, once, that the broker lets go of a wire. */
static void tell_ending(struct world *w, struct wire *k, enum close_reason why)
{
    if (k->is_ending)
        return;
    k->is_ending = true;
    w->listener.ending(w->listener.ctx, k, why);
}

static bool wants_close(const struct wire *k)
{
    return k->stream && (k->stream->close_wanted || k->stream->close_now);
}

/* After any call into a shard: which of its streams want to close now? All but `except`. */
static void tell_endings(struct world *w, uint32_t worker, const struct wire *except)
{
    for (uint32_t i = 0; i < w->wire_count; i++) {
        struct wire *k = w->wires[i];

        if (k->worker == worker && k != except && wants_close(k))
            tell_ending(w, k, k->stream->close_why);
    }
}

static void wire_forget(struct world *w, struct wire *k, enum close_reason why)
{
    k->state = WIRE_GONE;
    k->stream = NULL;
    free(k->lent);
    k->lent = NULL;
    k->sending = false;
    tell_ending(w, k, why);
    w->listener.closed(w->listener.ctx, k, why);
}

/* The socket is closed for good. */
static void wire_close(struct world *w, struct wire *k, enum close_reason why)
{
    struct stream *s = k->stream;

    if (k->is_dialled && s->is_dirty)
        return; /* the shard has it on its list; tried again */
    note(w->sim, "w%" PRIu32 " closes wire %" PRIu32 ": %s", k->worker, k->number,
         close_reason_name(why));
    tell_ending(w, k, why);
    if (s) {
        s->ops->closed(s, why);
        worker_of(w, k)->more = true; /* no sleep now: it may be behind the shard's turn */
    }
    wire_forget(w, k, why);
}

/* The kernel borrows what stands in front. */
static void start_sending(struct world *w, struct wire *k)
{
    struct outq_vec v[OUTQ_IOV_MAX];
    uint32_t n = outq_front(&k->stream->outq, v, 1 + draw(w->sim, OUTQ_IOV_MAX));
    size_t bytes = 0;

    for (uint32_t i = 0; i < n; i++)
        bytes += v[i].length;
    if (bytes == 0 || bytes > k->stream->outq.bytes) {
        differ(w->sim, "outq_front gives %zu bytes of %" PRIu32, bytes, k->stream->outq.bytes);
        return;
    }
    k->lent = must_alloc(bytes);
    k->lent_count = 0;
    for (uint32_t i = 0; i < n; i++) {
        memcpy(k->lent + k->lent_count, v[i].base, v[i].length);
        k->lent_count += (uint32_t)v[i].length;
    }
    k->sending = true;
}

/* What was borrowed must be there unchanged. */
static bool lent_is_unchanged(const struct wire *k)
{
    struct outq_vec v[OUTQ_IOV_MAX];
    uint32_t n = outq_front(&k->stream->outq, v, OUTQ_IOV_MAX), at = 0;

    for (uint32_t i = 0; i < n && at < k->lent_count; i++) {
        uint32_t left = k->lent_count - at;
        uint32_t here = v[i].length < left ? (uint32_t)v[i].length : left;

        if (memcmp(v[i].base, k->lent + at, here) != 0)
            return false;
        at += here;
    }
    return at == k->lent_count;
}

/* Output of a stream: send what waits, close when it is time to. */
static void wire_push(struct world *w, struct wire *k)
{
    struct stream *s = k->stream;

    if (s->close_now) {
        wire_close(w, k, s->close_why);
        return;
    }
    if (!k->sending && s->outq.bytes > 0)
        start_sending(w, k);
    if (s->close_wanted && !k->sending && s->outq.bytes == 0)
        wire_close(w, k, s->close_why);
}

/* A send completes with a drawn part of what it was given. */
static void wire_sent(struct world *w, struct wire *k)
{
    struct worker *at = worker_of(w, k);
    uint32_t n = k->lent_count;
    uint8_t *lent = k->lent;

    if (chance(w->sim, w->is_resting ? 10 : 40))
        n = 1 + draw(w->sim, n);
    if (!lent_is_unchanged(k))
        differ(w->sim, "wire %" PRIu32 ": bytes lent to the kernel have changed", k->number);
    k->lent = NULL;
    k->sending = false;
    at->busy++;
    outq_sent(&k->stream->outq, shard_pool(at->shard), n);
    if (!k->reset && !k->hung_up)
        w->listener.bytes(w->listener.ctx, k, bytes_of(lent, n));
    free(lent);
    if (k->stream->outq.bytes <= w->config.limits.outq_bytes / 2)
        k->stream->ops->drained(k->stream);
    tell_endings(w, k->worker, NULL);
    wire_push(w, k);
}

/* ---- bytes towards the broker ---- */

/* More of what the client wrote reaches the broker's side of the kernel. */
static void wire_arrive(struct world *w, struct wire *k)
{
    uint32_t left = k->in_count - k->arrived;

    if (left == 0)
        return;
    switch (w->is_resting ? 3 : draw(w->sim, 6)) {
    case 0:
        k->arrived += 1;
        break;
    case 1:
    case 2:
        k->arrived += 1 + draw(w->sim, left);
        break;
    default:
        k->arrived += left;
    }
}

static void wire_consume(struct wire *k, uint32_t n)
{
    memmove(k->in, k->in + n, k->in_count - n);
    k->in_count -= n;
    k->arrived -= n;
    k->taken += n;
    k->offered = k->arrived;
}

/* All whole packets must have been taken; `need` is right or unknown. */
static void check_rest(struct world *w, const struct wire *k, uint32_t need)
{
    struct frame f;
    uint32_t whole = 0;
    enum err e = frame_next(bytes_of(k->in, k->arrived), UINT32_MAX, &f, &whole);

    if (e != ERR_MORE)
        differ(w->sim, "wire %" PRIu32 ": a whole packet was left without a word", k->number);
    else if (need && need != whole)
        differ(w->sim, "wire %" PRIu32 ": need is %" PRIu32 ", not %" PRIu32, k->number, need,
               whole);
}

/* Offers what has arrived, in memory of just that size, and sees what becomes of it. */
static void wire_offer(struct world *w, struct wire *k)
{
    struct stream *s = k->stream;
    uint32_t n = k->arrived, need = 0, used;
    uint8_t *copy = must_alloc(n);
    enum input verdict = INPUT_MORE;
    bool was_ending = wants_close(k);

    memcpy(copy, k->in, n);
    w->sim->step++;
    used = s->ops->input(s, bytes_of(copy, n), &verdict, &need);
    free(copy);
    if (used > n || (int)verdict > INPUT_CLOSED) {
        differ(w->sim, "wire %" PRIu32 ": took %" PRIu32 " of %" PRIu32, k->number, used, n);
        return;
    }
    tell_endings(w, k->worker, k);
    if (used)
        worker_of(w, k)->busy++;
    wire_consume(k, used);
    k->parked = verdict == INPUT_PARKED;
    k->refuses = verdict == INPUT_CLOSED;
    if (used && !was_ending)
        w->listener.taken(w->listener.ctx, k, k->taken);
    if (k->parked)
        w->listener.parked(w->listener.ctx, k);
    if (wants_close(k))
        tell_ending(w, k, s->close_why);
    else if (verdict == INPUT_CLOSED)
        differ(w->sim, "wire %" PRIu32 ": INPUT_CLOSED without a wish to close", k->number);
    else if (verdict == INPUT_MORE)
        check_rest(w, k, need);
}

/* ---- the way home ---- */

static void wire_become_open(struct world *w, struct wire *k)
{
    struct client *c = client_open(worker_of(w, k)->shard, 0, "127.0.0.1", 1883, NULL, k);

    if (!c) {
        differ(w->sim, "wire %" PRIu32 ": client_open refused", k->number);
        wire_forget(w, k, CLOSE_MEMORY);
        return;
    }
    k->state = WIRE_OPEN;
    k->stream = client_stream(c);
    k->offered = 0;
    note(w->sim, "w%" PRIu32 " opens wire %" PRIu32, k->worker, k->number);
    if (k->stream->conn != k)
        differ(w->sim, "wire %" PRIu32 ": the stream forgot its connection", k->number);
}

static struct wire *wire_find(struct world *w, uint32_t number)
{
    for (uint32_t i = 0; i < w->wire_count; i++) {
        if (w->wires[i]->number == number)
            return w->wires[i];
    }
    return NULL;
}

/* Hook: a connection has come home to this worker. */
static void world_adopt(void *net, struct handoff *h)
{
    struct worker *at = net;
    struct world *w = at->world;
    struct wire *k = wire_find(w, (uint32_t)h->fd);

    at->busy++;
    if (!k || k->state != WIRE_MOVING || k->worker != at->number || h->count != k->arrived ||
        memcmp(h->bytes, k->in, h->count) != 0) {
        differ(w->sim, "w%" PRIu32 ": a connection came home wrong", at->number);
        free(h);
        return;
    }
    free(h);
    wire_become_open(w, k);
    if (k->stream && chance(w->sim, 50))
        wire_offer(w, k);
}

/* Sends a connection home, or tries again next turn. */
static void wire_go(struct world *w, struct wire *k, uint32_t home)
{
    struct worker *at = worker_of(w, k);

    if (!k->away) {
        k->away = must_alloc(sizeof(*k->away) + k->arrived);
        k->away->fd = (int)k->number;
        memcpy(k->away->peer, "127.0.0.1", 10);
        k->away->peer_port = 1883;
        k->away->count = k->arrived;
        memcpy(k->away->bytes, k->in, k->arrived);
    }
    if (shard_handoff(at->shard, home, k->away) != OK)
        return;
    note(w->sim, "w%" PRIu32 " hands wire %" PRIu32 " to w%" PRIu32, k->worker, k->number, home);
    at->busy++;
    k->away = NULL;
    k->worker = home;
    k->state = WIRE_MOVING;
}

/* A connection that has no client yet: does it know where it belongs? */
static void wire_place(struct world *w, struct wire *k)
{
    struct worker *at = worker_of(w, k);
    struct greeting g;
    uint32_t need = 0;
    enum err e;

    if (k->reset ||
        (k->hung_up && !k->away && k->arrived == k->in_count && k->offered == k->arrived)) {
        free(k->away);
        k->away = NULL;
        wire_forget(w, k, CLOSE_EOF);
        return;
    }
    if (!k->away) /* single receives: nothing is received any more once the CONNECT is whole */
        wire_arrive(w, k);
    k->offered = k->arrived;
    e = shard_greet(at->shard, bytes_of(k->in, k->arrived), &g, &need);
    if (e == ERR_MORE)
        return;
    if (e != OK || g.home >= w->all_count) {
        differ(w->sim, "wire %" PRIu32 ": shard_greet says %d, home %" PRIu32, k->number, (int)e,
               g.home);
        return;
    }
    if (g.home != k->worker)
        wire_go(w, k, g.home);
    else
        wire_become_open(w, k);
}

/* Completions of one open wire. */
static void wire_complete(struct world *w, struct wire *k)
{
    bool is_at_end;

    if (k->reset) {
        wire_close(w, k, CLOSE_SOCKET_ERROR);
        return;
    }
    if (k->sending && (k->hung_up || !k->stalled))
        wire_sent(w, k);
    if (k->state != WIRE_OPEN)
        return;
    if (wants_close(k)) {
        /* Whatever does not leave in a short time never will. */
        if (k->stalled && chance(w->sim, 20))
            wire_close(w, k, k->stream->close_why);
        return;
    }
    if (!k->parked)
        wire_arrive(w, k);
    if (k->parked || k->offered < k->arrived)
        wire_offer(w, k);
    is_at_end = k->arrived == k->in_count && !k->parked && k->offered == k->arrived;
    if (k->state == WIRE_OPEN && k->hung_up && is_at_end && !wants_close(k))
        wire_close(w, k, CLOSE_EOF);
}

/* ---- connections that the broker opens ---- */

static enum err world_dial(void *net, struct stream *stream, const struct link_target *to)
{
    uint16_t port = to->server->port;
    struct worker *at = net;
    struct world *w = at->world;
    struct wire *k = wire_new(w, NULL, at->number);

    k->state = WIRE_DIALING;
    k->is_dialled = true;
    k->stream = stream;
    stream->conn = k;
    at->busy++;
    note(w->sim, "%s: wire %" PRIu32 " dials %u", w->links.cfg->cluster.name, k->number, port);
    w->links.dialled(w->links.ctx, w, k, port);
    return OK;
}

static void world_written(void *net, const struct stream *stream, struct pulse_written *to)
{
    const struct world *w = ((const struct worker *)net)->world;

    if (stream->conn)
        w->links.written(w->links.ctx, stream->conn, to);
    to->outstanding += stream->outq.bytes;
}

static void world_log(void *net, const struct log_event *e)
{
    const struct worker *at = net;

    note(at->world->sim, "%s: %s %s %s, %s", at->world->links.cfg->cluster.name, e->event,
         e->link ? e->link : "", e->reason ? e->reason : "", e->detail ? e->detail : "");
}

/* The network has answered. */
static void wire_dialled(struct world *w, struct wire *k)
{
    if (k->is_refused) {
        wire_close(w, k, CLOSE_SOCKET_ERROR);
        return;
    }
    k->state = WIRE_OPEN;
    worker_of(w, k)->busy++;
    k->stream->ops->opened(k->stream);
}

/* Whether the kernel has something for this wire's worker. */
static bool wire_is_ready(const struct wire *k)
{
    switch (k->state) {
    case WIRE_ACCEPTED:
        return k->away || k->reset || k->hung_up || k->arrived < k->in_count;
    case WIRE_OPEN:
        if (k->reset || k->parked || (k->sending && (k->hung_up || !k->stalled)))
            return true;
        if (wants_close(k))
            return k->stalled;
        return k->hung_up || k->offered < k->in_count;
    case WIRE_DIALING:
        return k->is_answered;
    case WIRE_MOVING:
    case WIRE_GONE:
        break;
    }
    return false;
}

/* ---- turns ---- */

static void sweep_gone(struct world *w)
{
    for (uint32_t i = 0; i < w->wire_count;) {
        struct wire *k = w->wires[i];

        if (k->state != WIRE_GONE) {
            i++;
            continue;
        }
        w->gone = must_grow(w->gone, w->gone_count, &w->gone_capacity, sizeof(struct wire *));
        w->gone[w->gone_count++] = k;
        w->wires[i] = w->wires[--w->wire_count];
    }
}

static void phase_input(struct world *w, struct worker *at)
{
    uint32_t first = w->wire_count ? draw(w->sim, w->wire_count) : 0;

    for (uint32_t i = 0; i < w->wire_count; i++) {
        struct wire *k = w->wires[(first + i) % w->wire_count];

        if (k->worker != at->number || !wire_is_ready(k))
            continue;
        if (!w->is_resting && chance(w->sim, 20))
            continue; /* its completion comes a turn later */
        w->sim->step++;
        if (k->state == WIRE_ACCEPTED)
            wire_place(w, k);
        else if (k->state == WIRE_DIALING)
            wire_dialled(w, k);
        else
            wire_complete(w, k);
    }
}

static void phase_flush(struct world *w, struct worker *at)
{
    struct stream *s;

    while ((s = shard_next_dirty(at->shard))) {
        struct wire *k = s->conn;

        if (k->stream != s || k->worker != at->number) {
            differ(w->sim, "w%" PRIu32 ": a dirty stream is not one of its own", at->number);
            return;
        }
        at->busy++;
        wire_push(w, k);
    }
}

static void phase_end(struct world *w, struct worker *at)
{
    bool more = false;
    uint64_t wake = shard_end_turn(at->shard, &more);

    at->more |= more;
    for (uint32_t i = 0; i < w->all_count; i++) {
        if (!(wake >> i & 1))
            continue;
        w->workers[i].is_woken = true;
        at->busy++;
    }
}

/* A worker with a parked connection, or one waiting to go home, must try again each turn. */
static bool may_sleep(const struct world *w, const struct worker *at)
{
    if (at->more)
        return false;
    for (uint32_t i = 0; i < w->wire_count; i++) {
        const struct wire *k = w->wires[i];

        if (k->worker == at->number && ((k->parked && !w->is_patient) || k->away))
            return false;
    }
    return w->is_resting || chance(w->sim, 60);
}

static void phase_sleep(struct world *w, struct worker *at)
{
    uint64_t in_ms;

    if (!may_sleep(w, at) || !shard_sleep(at->shard))
        return;
    in_ms = shard_next_timer_ms(at->shard);
    at->is_asleep = true;
    at->wake_at_ms = in_ms == UINT64_MAX ? NEVER : at->now_ms + in_ms;
}

/* As net/worker.c does it. */
static void take_links(struct world *w, struct worker *at)
{
    if (at->links == w->reloaded)
        return;
    if (shard_set_links(at->shard, w->reloaded->rules, LINKS_MAX) != OK)
        abort();
    at->links = w->reloaded;
    at->must_apply = at->hub != NULL;
}

static void turn_links(struct worker *at)
{
    if (!at->hub)
        return;
    if (at->must_apply)
        at->must_apply = hub_apply(at->hub, (const struct cfg_link *const *)at->links->links) != OK;
    at->more |= hub_turn(at->hub);
}

static void phase_begin(struct world *w, struct worker *at)
{
    if (at->is_asleep)
        shard_awake(at->shard);
    at->is_asleep = false;
    at->is_woken = false;
    at->more = false;
    at->now_ms = w->sim->now_ms;
    shard_begin_turn(at->shard, at->now_ms, w->sim->wall_ms);
    take_links(w, at);
}

/* Runs the next phase of a worker's turn. */
static void worker_step(struct world *w, struct worker *at)
{
    w->sim->step++;
    switch (at->phase) {
    case PHASE_BEGIN:
        phase_begin(w, at);
        break;
    case PHASE_INPUT:
        phase_input(w, at);
        break;
    case PHASE_MAIL:
        at->more |= shard_run_mail(at->shard);
        break;
    case PHASE_TIMERS:
        if (shard_run_timers(at->shard))
            at->more = true;
        else
            at->timers_ran_ms = at->now_ms;
        turn_links(at);
        break;
    case PHASE_END:
        phase_end(w, at);
        break;
    case PHASE_FLUSH:
        phase_flush(w, at);
        break;
    case PHASE_SLEEP:
        phase_sleep(w, at);
        break;
    }
    tell_endings(w, at->number, NULL);
    sweep_gone(w);
    at->phase = at->phase == PHASE_SLEEP ? PHASE_BEGIN : at->phase + 1;
}

static bool may_run(const struct world *w, const struct worker *at)
{
    if (!at->is_asleep || at->is_woken || w->sim->now_ms >= at->wake_at_ms)
        return true;
    for (uint32_t i = 0; i < w->wire_count; i++) {
        const struct wire *k = w->wires[i];

        if (k->worker == at->number && wire_is_ready(k) && !(w->is_patient && k->parked))
            return true;
    }
    return false;
}

bool world_run(struct world *w, uint32_t steps)
{
    while (steps-- > 0 && !w->sim->failed) {
        uint32_t first = draw(w->sim, w->all_count), i = 0;

        while (i < w->all_count && !may_run(w, &w->workers[(first + i) % w->all_count]))
            i++;
        if (i == w->all_count)
            return false;
        first = (first + i) % w->all_count;
        do
            worker_step(w, &w->workers[first]);
        while (w->whole_turns && w->workers[first].phase != PHASE_BEGIN);
    }
    return true;
}

void world_end_turns(struct world *w)
{
    for (uint32_t i = 0; i < w->all_count; i++) {
        while (w->workers[i].phase != PHASE_BEGIN && !w->sim->failed)
            worker_step(w, &w->workers[i]);
    }
}

bool world_rest(struct world *w)
{
    uint32_t rounds = 0;

    w->is_resting = true;
    while (rounds < REST_ROUNDS && world_run(w, 50) && !w->sim->failed) {
        rounds++;
        w->is_patient = w->links.cfg && rounds > PATIENT_ROUNDS;
    }
    w->is_resting = w->is_patient = false;
    return rounds < REST_ROUNDS;
}

uint64_t world_busy(const struct world *w)
{
    uint64_t n = 0;

    for (uint32_t i = 0; i < w->all_count; i++)
        n += w->workers[i].busy;
    return n;
}

void world_poke(struct world *w)
{
    uint64_t before = world_busy(w);

    w->is_resting = true;
    for (uint32_t round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < w->all_count && !w->sim->failed; i++) {
            do
                worker_step(w, &w->workers[i]);
            while (w->workers[i].phase != PHASE_BEGIN);
        }
    }
    if (world_busy(w) != before)
        differ(w->sim, "a wake-up was lost: all slept, and a look showed work");
    (void)world_run(w, 1000);
    w->is_resting = false;
}

uint64_t world_next_timer(const struct world *w)
{
    uint64_t next = NEVER;

    for (uint32_t i = 0; i < w->all_count; i++) {
        if (w->workers[i].is_asleep && w->workers[i].wake_at_ms < next)
            next = w->workers[i].wake_at_ms;
    }
    return next;
}

bool world_is_parked(const struct world *w)
{
    bool is_parked = false;

    for (uint32_t i = 0; i < w->wire_count; i++)
        is_parked |= w->wires[i]->parked;
    return is_parked;
}

/* ---- the client's end ---- */

struct wire *wire_open(struct world *w, void *line)
{
    return wire_new(w, line, draw(w->sim, w->worker_count));
}

void wire_answer(struct wire *k, bool is_accepted)
{
    k->is_answered = true;
    k->is_refused = !is_accepted;
}

void wire_write(struct world *w, struct wire *k, const void *p, uint32_t n)
{
    (void)w;
    if (k->in_count + n > k->in_capacity) {
        k->in_capacity = 2 * (k->in_count + n);
        k->in = realloc(k->in, k->in_capacity);
        if (!k->in)
            abort();
    }
    memcpy(k->in + k->in_count, p, n);
    k->in_count += n;
    k->written += n;
}

void wire_hang_up(struct world *w, struct wire *k, bool reset)
{
    if (k->state == WIRE_GONE)
        return;
    if (reset)
        k->reset = true;
    else if (k->in_count > k->arrived && chance(w->sim, 50)) /* cut anywhere */
        k->in_count = k->arrived + draw(w->sim, k->in_count - k->arrived);
    k->hung_up = true;
}

/* ---- asking ---- */

uint32_t world_workers(const struct world *w)
{
    return w->worker_count;
}

const struct limits *world_limits(const struct world *w)
{
    return &w->config.limits;
}

uint64_t wire_now(const struct world *w, const struct wire *k)
{
    return w->workers[k->worker].now_ms;
}

uint64_t world_timers_ran(const struct world *w, uint32_t worker)
{
    return w->workers[worker].timers_ran_ms;
}

uint64_t world_stat(struct world *w, uint64_t offset)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < w->all_count; i++) {
        const char *stats = (const char *)shard_stats(w->workers[i].shard);

        sum += load_relaxed((const _Atomic uint64_t *)(const void *)(stats + offset));
    }
    return sum;
}

/* ---- beginning and end ---- */

static void draw_limits(struct sim *s, struct limits *l)
{
    *l = (struct limits){
        .packet_bytes = 100000,
        .connect_bytes = CONNECT_BYTES_DEFAULT,
        .connect_timeout_ms = CONNECT_TIMEOUT_DEFAULT,
        .topic_levels = TOPIC_LEVELS_DEFAULT,
        .connections = 1000,
        .inflight = 1 + draw(s, 20),
        .receive_maximum = 1 + draw(s, 30),
        .queued_messages = 100000,
        .queued_bytes = QUEUED_BYTES_DEFAULT,
        .outq_bytes = OUTQ_BYTES_DEFAULT,
        .subscriptions = SUBSCRIPTIONS_DEFAULT,
        .sessions = SESSIONS_DEFAULT,
        .retained = RETAINED_DEFAULT,
        .topic_alias = draw(s, 8),
        .keepalive = KEEPALIVE_DEFAULT,
        .group_queued = 100000,
        .session_expiry = UINT32_MAX,
        .sys_interval = 0,
        .retained_bytes = RETAINED_BYTES_DEFAULT,
        .memory_bytes = 1u << 30,
        .max_qos = 2,
        .retain_available = true,
        .share_policy = (enum share_policy)draw(s, SHARE_POLICY_COUNT),
    };
}

/* Its workers get what they need to call the world. */
static void make_workers(struct world *w)
{
    for (uint32_t i = 0; i < w->all_count; i++) {
        struct worker *at = &w->workers[i];
        struct shard_hooks hooks = {.net = at, .adopt = world_adopt};

        at->world = w;
        at->number = i;
        at->shard = cluster_shard(w->cluster, i);
        at->now_ms = w->sim->now_ms;
        shard_set_hooks(at->shard, &hooks);
    }
}

/* What link_rules say of a link, as net/link_set.c has it. */
static struct link_rules rules_of(const struct cfg_link *link)
{
    return (struct link_rules){
        .name = link->name,
        .transits = link->transit,
        .identity = link->peer_identity,
        .acks_remotely = link->ack == ACK_REMOTE,
        .silence_s = (uint16_t)((link->dead_after_ms + 999) / 1000 + LINK_SILENCE_MORE_S)};
}

static struct world *create(struct sim *sim, const struct listener *listener,
                            const struct world_links *links)
{
    static const uint32_t ring_sizes[] = {4096, 8192, 16384, 65536};
    struct world *w = must_alloc(sizeof(*w));
    uint32_t most = links ? LINKED_WORKERS_MAX : SIM_WORKERS_MAX;

    w->sim = sim;
    w->listener = *listener;
    w->worker_count = sim->opt.workers ? sim->opt.workers : 1 + draw(sim, most);
    w->config.link_workers = links ? 1 + draw(sim, LINKED_LINK_WORKERS_MAX) : 0;
    w->all_count = w->worker_count + w->config.link_workers;
    w->whole_turns = chance(sim, 30);
    w->rules = (struct listener_rules){.allow_anonymous = true, .is_loopback = true};
    if (sim->opt.mount)
        w->rules.mount_point = MOUNT_POINT;
    w->config.workers = w->worker_count;
    w->config.listeners = &w->rules;
    w->config.listener_count = 1;
    w->config.version = "sim";
    w->config.connections_max = 1000;
    w->config.check_retain_source = true;
    draw_limits(sim, &w->config.limits);
    for (int i = 0; i < 4; i++) {
        w->config.seed[i] = (uint64_t)draw(sim, UINT32_MAX) << 32 | draw(sim, UINT32_MAX);
        w->config.ring_bytes[i] = ring_sizes[draw(sim, 4)];
    }
    if (links) {
        w->links = *links;
        w->rules.links = LISTENER_LINKS_ON;
        for (uint32_t i = 0; i < links->cfg->link_count; i++)
            w->link_rules[i] = rules_of(&links->cfg->links[i]);
        w->config.links = w->link_rules;
        w->config.link_count = links->cfg->link_count;
        w->config.cluster_name = links->cfg->cluster.name;
        w->config.suback_linked = links->cfg->cluster.suback == SUBACK_LINKED;
        links->cfg->limits = w->config.limits;
    }
    w->cluster = cluster_create(&w->config, sim->now_ms, sim->wall_ms);
    if (!w->cluster)
        abort();
    make_workers(w);
    note(sim, "%" PRIu32 " workers, rings %" PRIu32 " %" PRIu32 " %" PRIu32 " %" PRIu32,
         w->worker_count, w->config.ring_bytes[0], w->config.ring_bytes[1], w->config.ring_bytes[2],
         w->config.ring_bytes[3]);
    return w;
}

void world_set_acl(struct world *w, const char *text)
{
    struct acl *acl = NULL;

    if (text && acl_create(bytes_str(text), &(struct hash_key){{1, 2, 3, 4}}, NULL, NULL, &acl))
        abort();
    for (uint32_t i = 0; i < w->all_count; i++) {
        shard_set_acl(w->workers[i].shard, acl);
        w->workers[i].is_woken = true;
    }
    acl_release(acl);
}

struct world *world_create(struct sim *sim, const struct listener *listener)
{
    return create(sim, listener, NULL);
}

/* The hub of a link worker, by its number among them. */
static void make_hub(struct world *w, uint32_t number, const struct hash_key *key)
{
    struct worker *at = &w->workers[w->worker_count + number];
    struct shard_hooks hooks = {.net = at, .adopt = world_adopt, .log = world_log};
    struct hub_config config = {.cfg = w->links.cfg,
                                .shard = at->shard,
                                .number = number,
                                .key = *key,
                                .net = at,
                                .dial = world_dial,
                                .written = world_written,
                                .log = world_log};

    shard_begin_turn(at->shard, w->sim->now_ms, w->sim->wall_ms);
    at->hub = hub_create(&config);
    if (!at->hub)
        abort();
    hub_set_hooks(at->hub, &hooks);
    shard_set_hooks(at->shard, &hooks);
    hub_start(at->hub);
}

struct world *world_create_linked(struct sim *sim, const struct listener *listener,
                                  const struct world_links *links)
{
    struct world *w = create(sim, listener, links);
    struct hash_key key;

    for (int i = 0; i < 4; i++)
        key.k[i] = draw(sim, UINT32_MAX);
    for (uint32_t i = 0; i < w->config.link_workers; i++)
        make_hub(w, i, &key);
    return w;
}

struct cluster_state *world_cluster(struct world *w)
{
    return w->cluster;
}

struct hub *world_hub(struct world *w, uint32_t number)
{
    return number < w->config.link_workers ? w->workers[w->worker_count + number].hub : NULL;
}

void world_stop_links(struct world *w)
{
    world_end_turns(w);
    for (uint32_t i = 0; i < w->config.link_workers; i++)
        hub_stop(world_hub(w, i));
}

void world_set_links(struct world *w, const struct cfg_link *const links[LINKS_MAX])
{
    struct link_list *list = must_alloc(sizeof(*list));

    for (uint32_t i = 0; i < LINKS_MAX; i++) {
        list->links[i] = links[i] ? cfg_link_copy(links[i]) : NULL;
        if (list->links[i])
            list->rules[i] = rules_of(list->links[i]);
    }
    list->previous = w->reloaded;
    w->reloaded = list;
    for (uint32_t i = 0; i < w->all_count; i++)
        w->workers[i].is_woken = true;
}

bool world_has_links(const struct world *w)
{
    for (uint32_t i = 0; i < w->all_count; i++)
        if (w->workers[i].links != w->reloaded || w->workers[i].must_apply)
            return false;
    return true;
}

static void free_links(struct link_list *list)
{
    while (list) {
        struct link_list *previous = list->previous;

        for (uint32_t i = 0; i < LINKS_MAX; i++)
            cfg_link_free(list->links[i]);
        free(list);
        list = previous;
    }
}

static void wire_free(struct wire *k)
{
    free(k->in);
    free(k->lent);
    free(k->away);
    free(k);
}

void world_destroy(struct world *w)
{
    for (uint32_t i = w->worker_count; i < w->all_count; i++)
        while (shard_next_dirty(w->workers[i].shard))
            ;
    for (uint32_t i = 0; i < w->wire_count; i++) {
        if (w->wires[i]->stream)
            w->wires[i]->stream->ops->closed(w->wires[i]->stream, CLOSE_SHUTDOWN);
        wire_free(w->wires[i]);
    }
    for (uint32_t i = 0; i < w->gone_count; i++)
        wire_free(w->gone[i]);
    free(w->wires);
    free(w->gone);
    for (uint32_t i = 0; i < w->all_count; i++)
        hub_destroy(w->workers[i].hub);
    cluster_destroy(w->cluster);
    free_links(w->reloaded);
    free(w);
}
