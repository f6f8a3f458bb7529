/* link/route_stream.c -- frames of operations, and beats. */
#include "link/route_stream.h"

#include "core/base/check.h"
#include "link/path.h"

_Static_assert(HOST_SCRATCH_BYTES >= ROUTE_STREAM_FRAME_BYTES, "scratch holds a frame");
_Static_assert(HOST_FILTER_BYTES >= NATIVE_TEXT_BYTES_MAX, "any filter has room");
_Static_assert(ROUTE_STREAM_FRAME_BYTES > NATIVE_TEXT_BYTES_MAX + 64, "any operation fits");

static uint64_t now(const struct route_stream *r)
{
    return shard_now_ms(r->host->shard);
}

/* ---- time ---- */

static void on_timer(struct timer *t, void *owner, uint64_t now_ms);

/* Before that no announcement begins. */
static uint64_t restart_ms(const struct route_stream *r)
{
    const uint64_t others = (ROUTE_STREAM_RESTARTS - 1) * (uint64_t)ROUTE_STREAM_RESTART_MS;

    return r->restarts_ms > others ? r->restarts_ms - others : 0;
}

static void arm(struct route_stream *r)
{
    uint64_t due = wants_next_due(r->wants);
    uint64_t next = r->must_restart ? restart_ms(r) : r->beat_ms;

    if (r->channel.host && next < due)
        due = next;
    if (due == UINT64_MAX)
        timer_cancel(shard_timers(r->host->shard), &r->timer);
    else
        timer_arm(shard_timers(r->host->shard), &r->timer, due, on_timer);
}

static void on_timer(struct timer *t, void *owner, uint64_t now_ms)
{
    struct route_stream *r =
        (struct route_stream *)(void *)((char *)t - offsetof(struct route_stream, timer));

    (void)owner;
    wants_run(r->wants, now_ms);
    route_stream_run(r);
}

/* ---- sending ---- */

static void beat(struct route_stream *r)
{
    struct wants_beat b;
    struct native_frame f = {.kind = NATIVE_BEAT};

    r->beat_ms = now(r) + ROUTE_STREAM_BEAT_MS;
    if (!wants_beat(r->wants, &b))
        return;
    f.generation = b.generation;
    f.number = b.number;
    f.count = b.count;
    f.digest = b.digest;
    f.is_end = b.is_end;
    channel_say(&r->channel, &f);
}

static enum wants_taken take_op(void *arg, bool is_add, struct bytes filter)
{
    struct native_batch *batch = arg;
    struct native_op op = {
        .is_add = is_add, .is_passing = route_is_passing(filter), .filter = filter};

    if (batch->size >= NATIVE_FRAME_BYTES)
        return WANTS_NO_ROOM;
    if (native_batch_add(batch, &op) == OK)
        return WANTS_TAKEN;
    return batch->count ? WANTS_NO_ROOM : WANTS_NEVER;
}

/* Sends one frame of operations. false: there is none, or it cannot be sent. */
static bool send_routes(struct route_stream *r)
{
    uint8_t *to = r->host->scratch;
    struct wants_state s = wants_state(r->wants);
    uint32_t room = channel_frame_max(&r->channel);
    struct native_batch batch;

    room = room < ROUTE_STREAM_FRAME_BYTES ? room : ROUTE_STREAM_FRAME_BYTES;
    if (native_batch_begin(&batch, s.generation, s.next, r->host->filter, to, room) != OK) {
        channel_fail(&r->channel, "the other side's Maximum Packet Size is too small for a link");
        return false;
    }
    if (wants_take(r->wants, now(r), take_op, &batch) == 0)
        return false;
    return channel_send(&r->channel, bytes_of(to, native_batch_end(&batch))) == OK;
}

/* Announces everything, if that is asked for and it may begin. false: not yet. */
static bool restart(struct route_stream *r)
{
    struct hash_key key;

    if (!r->must_restart)
        return true;
    if (now(r) < restart_ms(r))
        return false;
    r->must_restart = false;
    r->restarts_ms = (r->restarts_ms > now(r) ? r->restarts_ms : now(r)) + ROUTE_STREAM_RESTART_MS;
    r->generation++;
    key = native_digest_key(r->incarnation, r->generation);
    wants_forget(r->wants, r->generation, &key);
    return true;
}

static void send_all(struct route_stream *r)
{
    while (wants_is_due(r->wants) && channel_waiting(&r->channel) < ROUTE_STREAM_WAITING_BYTES &&
           send_routes(r))
        ;
}

void route_stream_run(struct route_stream *r)
{
    if (channel_is_up(&r->channel) && restart(r)) {
        send_all(r);
        r->must_restart |= wants_state(r->wants).is_doubtful;
        if (r->must_restart && restart(r))
            send_all(r);
        if (wants_end_is_due(r->wants) || now(r) >= r->beat_ms)
            beat(r);
    }
    arm(r);
}

/* ---- what comes back ---- */

enum err route_stream_take(struct route_stream *r, const struct native_frame *f)
{
    uint64_t sent_ms = wants_state(r->wants).oldest_ms;

    CHECK(f->kind == NATIVE_ROUTES_ACK);
    if (wants_ack(r->wants, f->generation, f->number) != OK)
        return ERR_PEER;
    if (sent_ms && f->generation == r->generation)
        r->rtt_ms = now(r) - sent_ms;
    r->must_restart |= f->wants_all && f->generation == r->generation;
    return OK;
}

/* ---- life ---- */

void route_stream_open(struct route_stream *r, const struct channel *channel, uint64_t incarnation,
                       bool needs_all)
{
    r->channel = *channel;
    r->beat_ms = now(r) + ROUTE_STREAM_BEAT_MS;
    if (needs_all || !r->generation || incarnation != r->incarnation) {
        r->incarnation = incarnation;
        r->must_restart = true;
    }
}

void route_stream_close(struct route_stream *r)
{
    if (!r->channel.host)
        return;
    r->channel = (struct channel){0};
    wants_lost(r->wants);
    arm(r);
}

enum err route_stream_init(struct route_stream *r, struct link_host *host,
                           const struct cfg_link *link, uint32_t routes_max)
{
    *r = (struct route_stream){.host = host};
    r->wants = wants_create(link->topics, link->topic_count, routes_max, &host->key);
    return r->wants ? OK : ERR_MEMORY;
}

enum err route_stream_import(struct route_stream *r, const struct cfg_link *link)
{
    return wants_import(r->wants, link->topics, link->topic_count, link->max_routes);
}

void route_stream_imported(struct route_stream *r)
{
    wants_imported(r->wants);
    arm(r);
}

void route_stream_fini(struct route_stream *r)
{
    if (!r->host)
        return;
    timer_cancel(shard_timers(r->host->shard), &r->timer);
    wants_destroy(r->wants);
    *r = (struct route_stream){0};
}
