/* link/carrier.c -- frames of messages, both ways. */
#include "link/carrier.h"

#include <stdio.h>

#include "core/base/check.h"
#include "link/incoming.h"
#include "link/transit.h"

static uint64_t now(const struct carrier *c)
{
    return shard_now_ms(c->host->shard);
}

/* ---- what is lost ---- */

static void tell_losses(struct carrier *c)
{
    const struct outstream_lost *l = &c->out.lost;
    uint64_t lost = outstream_lost_sum(&c->out);
    char detail[256];

    if (lost == c->lost_told)
        return;
    STAT_ADD(shard_count(c->host->shard), link_messages_dropped, lost - c->lost_told);
    c->lost_told = lost;
    if (now(c) < c->say_ms)
        return;
    c->say_ms = now(c) + CARRIER_SAY_MS;
    snprintf(detail, sizeof(detail),
             "so far: %llu because the queue was full, %llu waited too long, %llu expired, %llu "
             "too large for the other side, %llu without memory",
             (unsigned long long)l->full, (unsigned long long)l->aged,
             (unsigned long long)l->expired, (unsigned long long)l->too_large,
             (unsigned long long)l->memory);
    host_log(c->host, 4, "link messages lost", c->link->name, NULL, NULL, detail);
}

static void on_aging(struct timer *t, void *owner, uint64_t now_ms);

/* What waits is looked at again later, whether a connection stands or not. */
static void arm(struct carrier *c)
{
    if (c->out.waiting.count == 0)
        timer_cancel(shard_timers(c->host->shard), &c->aging);
    else if (!timer_is_armed(&c->aging))
        timer_arm(shard_timers(c->host->shard), &c->aging, now(c) + CARRIER_AGING_MS, on_aging);
}

static void on_aging(struct timer *t, void *owner, uint64_t now_ms)
{
    struct carrier *c = (struct carrier *)(void *)((char *)t - offsetof(struct carrier, aging));

    (void)owner;
    outstream_sweep(&c->out, now_ms);
    tell_losses(c);
    arm(c);
}

/* ---- ours ---- */

static bool is_referred(const struct message *m)
{
    return m->payload_count >= CARRIER_REFER_BYTES;
}

/* Writes records from `at` on, up to the head of the first whose payload is only referred to.
 * Returns the place behind the last one written; 0: the connection is gone. */
static uint32_t put_run(struct carrier *c, const struct outstream_frame *f, uint32_t at)
{
    uint32_t n = 0, end = at;
    uint8_t *to;

    do {
        n += f->records[end].head_bytes;
        if (is_referred(f->records[end].message)) {
            end++;
            break;
        }
        n += f->records[end].message->payload_count;
    } while (++end < f->count);
    to = channel_room(&c->to, n);
    for (; to && at < end; at++) {
        const struct message *m = f->records[at].message;

        to = native_record_put_head(to, m, now(c));
        if (!is_referred(m))
            to = bytes_put(to, message_payload(m));
    }
    return to ? end : 0;
}

/* false: the frame is not sent, it goes as it is. */
static bool put_packed(struct carrier *c, const struct outstream_frame *f, enum err *err)
{
    struct packing *packing = c->host->packing;
    uint8_t *room, *to;
    struct bytes packed;

    if (!c->packs || !packer_wants(&c->packer, f->bytes))
        return false;
    room = packing_room(packing);
    if (!room)
        return false;
    to = native_messages_put_head(room, f->first, f->count);
    for (uint32_t i = 0; i < f->count; i++) {
        const struct message *m = f->records[i].message;

        to = bytes_put(native_record_put_head(to, m, now(c)), message_payload(m));
    }
    CHECK((uint32_t)(to - room) == f->bytes);
    packed = packing_pack(packing, &c->packer, f->bytes);
    if (packed.n == 0)
        return false;
    *err = channel_send(&c->to, packed);
    return true;
}

static bool put_frame(struct carrier *c, const struct outstream_frame *f)
{
    uint8_t *to;
    uint32_t at = 0;
    enum err err;

    if (put_packed(c, f, &err))
        return err == OK;
    if (channel_begin(&c->to, f->bytes) != OK)
        return false;
    to = channel_room(&c->to, native_messages_head_bytes(f->first, f->count));
    if (!to)
        return false;
    native_messages_put_head(to, f->first, f->count);
    while (at < f->count) {
        struct message *last;

        at = put_run(c, f, at);
        if (at == 0)
            return false;
        last = f->records[at - 1].message;
        if (is_referred(last) &&
            !channel_refer(&c->to, last, message_payload(last).p, last->payload_count))
            return false;
    }
    return true;
}

static void pump(struct carrier *c)
{
    struct outstream_frame f;
    bool goes_on = !c->is_held;

    while (goes_on && c->out.is_open && channel_waiting(&c->to) < c->host->limits->outq_bytes &&
           outstream_next(&c->out, now(c), channel_frame_max(&c->to), &f)) {
        goes_on = put_frame(c, &f);
        if (goes_on && !f.is_again)
            STAT_ADD(shard_count(c->host->shard), link_messages_sent, f.count);
        for (uint32_t i = 0; i < f.count; i++)
            message_release(f.records[i].message);
    }
    tell_losses(c);
    arm(c);
}

void carrier_push(struct carrier *c, struct message *m)
{
    outstream_push(&c->out, m, now(c));
    tell_losses(c);
    arm(c);
}

bool carrier_is_full(struct carrier *c, bool is_memory_short)
{
    c->out.must_not_grow = is_memory_short;
    return outstream_is_full(&c->out);
}

void carrier_up(struct carrier *c, const struct channel *to)
{
    struct native_frame open;

    outstream_gone(&c->out);
    c->to = *to;
    outstream_open(&c->out, &open);
    channel_say(&c->to, &open); /* if it is gone already, we are told */
}

void carrier_leave(struct carrier *c)
{
    c->to = (struct channel){0};
    outstream_gone(&c->out);
}

void carrier_down(struct carrier *c, const struct channel *gone)
{
    if (channel_eq(&c->from, gone))
        c->from = (struct channel){0};
    if (channel_eq(&c->to, gone))
        carrier_leave(c);
}

bool carrier_is_up(const struct carrier *c)
{
    return c->out.is_open;
}

/* ---- theirs ---- */

/* The link's is for all their streams. */
static struct native_window window_of(const struct carrier *c)
{
    uint64_t bytes = c->link->window_bytes / (c->from_streams ? c->from_streams : 1);

    return (struct native_window){bytes ? bytes : 1, CARRIER_WINDOW_MESSAGES};
}

static void on_open(struct carrier *c, const struct channel *from, const struct native_frame *f,
                    const char **fault)
{
    struct native_frame opened;

    if (channel_eq(&c->from, from) || !channel_takes_answers(from)) {
        *fault = "a second OPEN on one connection";
        return;
    }
    if (f->stream != c->in.stream) {
        *fault = "an OPEN for a stream that does not belong here";
        return;
    }
    c->from = *from;
    c->from_boot = f->boot;
    c->from_streams = f->streams;
    c->taken_below = 0;
    instream_grant(&c->in, window_of(c));
    instream_open(&c->in, f);
    instream_opened(&c->in, &opened);
    channel_say(from, &opened);
}

/* false: no room now. */
static bool publish_record(struct carrier *c, const struct native_record *r)
{
    struct shard *s = c->host->shard;
    struct publish p;
    bool is_taken;

    if (r->way.n && !transit_is_ours(c->host, r->way))
        return true;
    native_record_publish(r, now(c), &p);
    is_taken = r->group.n ? incoming_publish_group(s, c->out.acks.link, r->group, r->filter, &p)
                          : incoming_publish(s, c->link, &p);
    c->received += is_taken;
    return is_taken;
}

static void pass_on(struct carrier *c, const struct native_record *r)
{
    uint32_t dropped;

    c->passed += transit_pass(c->host->transit, r, &dropped);
    c->unwanted += dropped;
    STAT_ADD(shard_count(c->host->shard), link_messages_dropped, dropped);
}

/* false: no room now. */
static bool take_record(struct carrier *c, const struct native_record *r)
{
    if (!instream_wants(&c->in, c->from_boot, r->sequence))
        return true;
    if (r->is_unfit || !incoming_may_come(c->host, c->link, r->topic)) {
        c->unwanted++;
        STAT_INC(shard_count(c->host->shard), link_messages_dropped);
    } else {
        if (!publish_record(c, r))
            return false;
        if (r->way.n && c->transits)
            pass_on(c, r);
    }
    instream_take(&c->in, c->from_boot, r->sequence);
    return true;
}

/* What comes behind the back of a newer connection will come on that one again. */
static bool on_messages(struct carrier *c, const struct channel *from, const struct native_frame *f,
                        const char **fault)
{
    struct native_records records = native_records_begin(f);
    uint64_t below = c->taken_first == f->first ? c->taken_below : 0;
    struct native_record r;

    if (!c->from.host)
        *fault = "messages before an OPEN";
    if (!channel_eq(&c->from, from))
        return true;
    c->taken_below = 0;
    while (native_records_next(&records, &r)) {
        if (r.sequence < below || take_record(c, &r))
            continue;
        c->taken_first = f->first;
        c->taken_below = r.sequence;
        return false;
    }
    return true;
}

void carrier_agree(struct carrier *c, bool may_pack)
{
    c->packs = may_pack;
    c->unpacks |= may_pack;
}

enum err carrier_unpack(struct carrier *c, struct native_frame *f, const char **fault)
{
    struct native_frame packed = *f;
    enum err err;

    if (!c->unpacks) {
        *fault = "a compressed frame, which was not agreed on";
        return ERR_PEER;
    }
    if (c->unpacked > CARRIER_UNPACK_BYTES)
        return ERR_FULL;
    err = packing_take(c->host->packing, &packed, f);
    if (err == OK) {
        c->unpacked += (uint32_t)packed.count;
        return OK;
    }
    if (err == ERR_PEER)
        STAT_INC(shard_count(c->host->shard), link_unpack_faults);
    *fault = err == ERR_PEER ? "a compressed frame that is broken, or not of the size it claims"
                             : "no memory for a compressed frame";
    return err;
}

bool carrier_take(struct carrier *c, const struct channel *from, const struct native_frame *f,
                  const char **fault)
{
    *fault = NULL;
    switch (f->kind) {
    case NATIVE_OPEN:
        on_open(c, from, f, fault);
        return true;
    case NATIVE_MESSAGES:
        return on_messages(c, from, f, fault);
    case NATIVE_OPENED:
        if (channel_eq(&c->to, from) && c->out.is_open)
            *fault = "a second OPENED on one connection"; /* all of it would be sent again */
        else if (channel_eq(&c->to, from) &&
                 outstream_rewind(&c->out, f, channel_frame_max(from)) != OK)
            *fault = "an OPENED for what was never sent";
        return true;
    case NATIVE_ACK:
        if (channel_eq(&c->to, from) && outstream_ack(&c->out, f) != OK)
            *fault = "an ACK for what was never sent";
        return true;
    default:
        CHECK(false);
        return true;
    }
}

void carrier_run(struct carrier *c)
{
    struct native_frame ack;

    c->unpacked = 0;
    if (channel_takes_answers(&c->from) && instream_ack(&c->in, &ack))
        channel_say(&c->from, &ack); /* if it is gone: OPENED will say it */
    pump(c);
}

/* ---- life ---- */

static enum outstream_full full_of(const struct cfg_link *link)
{
    switch (link->on_full) {
    case ON_FULL_DROP_NEWEST:
        return OUTSTREAM_DROP_NEWEST;
    case ON_FULL_BLOCK:
        return OUTSTREAM_BLOCK;
    case ON_FULL_DROP_OLDEST:
    default:
        return OUTSTREAM_DROP_OLDEST;
    }
}

void carrier_init(struct carrier *c, struct link_host *host, const struct cfg_link *link,
                  const struct carrier_place *place)
{
    struct outstream_config config = {.boot = place->boot, .stream = place->stream};

    *c = (struct carrier){.host = host, .link = link};
    outstream_init(&c->out, &config);
    instream_init(&c->in, window_of(c));
    c->in.stream = place->stream;
    carrier_use(c, link, place->streams);
}

void carrier_use(struct carrier *c, const struct cfg_link *link, uint32_t streams)
{
    c->link = link;
    c->out.config.streams = streams;
    c->out.config.bytes_max = link->queue_bytes / streams;
    c->out.config.age_max_ms = link->queue_age * 1000ull;
    c->out.config.full = full_of(link);
    instream_grant(&c->in, window_of(c));
}

uint64_t carrier_rate(const struct carrier *c)
{
    uint32_t workers = c->host->workers;
    uint32_t parts = c->from_streams < workers ? c->from_streams : workers;
    uint64_t part = c->link->max_rate / (parts ? parts : 1);

    return part ? part : 1;
}

void carrier_fini(struct carrier *c)
{
    if (!c->host)
        return;
    timer_cancel(shard_timers(c->host->shard), &c->aging);
    outstream_fini(&c->out);
    *c = (struct carrier){0};
}
