/* link/retained_sync.c -- questions for what is retained, and answers. */
#include "link/retained_sync.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/base/check.h"
#include "core/mqtt/topic.h"
#include "link/incoming.h"

static uint64_t now(const struct retained_sync *r)
{
    return shard_now_ms(r->host->shard);
}

/* Where the connection is gone, the next one begins anew. */
static enum err send_control(const struct channel *to, enum native_kind kind, uint64_t question,
                             uint64_t number)
{
    struct native_frame f = {.kind = kind, .question = question, .number = number};
    uint8_t frame[NATIVE_CONTROL_BYTES_MAX];
    uint32_t size;

    if (native_frame_encode(&f, frame, sizeof(frame), &size) != OK)
        CHECK(false);
    return channel_send(to, bytes_of(frame, size));
}

/* ---- we ask ---- */

static bool can_ask(const struct retained_sync *r)
{
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < r->link->topic_count; i++)
        bytes += r->link->topics[i].n;
    if (r->link->topic_count <= RETAINED_FILTERS_MAX && bytes <= RETAINED_FILTERS_BYTES_MAX)
        return r->link->topic_count > 0 && r->host->limits->retain_available;
    host_log(r->host, 4, "link retained messages not asked for", r->link->name, NULL,
             "topics has too many filters for retained = sync", "it is as retained = pass");
    return false;
}

void retained_sync_online(struct retained_sync *r, const struct channel *to)
{
    if (r->link->retained != RETAINED_SYNC || !can_ask(r))
        return;
    r->asked = (struct retained_asked){
        .to = *to, .question = shard_random(r->host->shard) | 1, .say_ms = r->asked.say_ms};
}

/* All parts of the question. */
static void ask(struct retained_sync *r)
{
    uint32_t room = channel_frame_max(&r->asked.to), at = 0, taken, size;
    uint64_t part = 0;

    if (room > NATIVE_FRAME_BYTES + NATIVE_TEXT_BYTES_MAX)
        room = NATIVE_FRAME_BYTES + NATIVE_TEXT_BYTES_MAX; /* any filter fits */
    _Static_assert(NATIVE_FRAME_BYTES + NATIVE_TEXT_BYTES_MAX <= HOST_SCRATCH_BYTES, "there, too");
    for (; room > 0 && at < r->link->topic_count; at += taken) {
        size = native_retained_ask(r->asked.question, ++part, r->link->topics + at,
                                   r->link->topic_count - at, r->host->scratch, room, &taken);
        if (size == 0 || channel_send(&r->asked.to, bytes_of(r->host->scratch, size)) != OK)
            break;
    }
    r->asked.to = (struct channel){0};
}

static void say_ahead(struct retained_sync *r)
{
    if (now(r) < r->asked.say_ms)
        return;
    r->asked.say_ms = now(r) + RETAINED_SAY_MS;
    host_log(r->host, 4, "link retained message not taken", r->link->name, NULL,
             "its stamp is more than a day ahead of our clock", "compare the clocks of both");
}

/* false: no room now. Of an answer that comes after the link has ceased to be `sync` nothing is
 * taken. */
static bool take_record(struct retained_sync *r, const struct native_record *record)
{
    struct publish p;

    if (record->is_unfit || !record->retained_stamp || r->link->retained != RETAINED_SYNC ||
        !incoming_may_come(r->host, r->link, record->topic)) {
        STAT_INC(shard_count(r->host->shard), link_messages_dropped);
        return true;
    }
    native_record_publish(record, now(r), &p);
    p.retain = true;
    p.no_groups = r->no_groups;
    switch (shard_retained_put(r->host->shard, r->number, &p)) {
    case ERR_FULL:
        return false;
    case ERR_PEER:
        say_ahead(r);
        return true;
    case ERR_MEMORY:
        STAT_INC(shard_count(r->host->shard), dropped_memory);
        return true;
    default:
        return true;
    }
}

/* Whether it belongs to the answer to our question; else to that of an earlier one, or to none. */
static bool is_asked(const struct retained_sync *r, const struct native_frame *f)
{
    return r->asked.question && f->question == r->asked.question;
}

static bool on_retained(struct retained_sync *r, const struct channel *from,
                        const struct native_frame *f, const char **fault)
{
    struct native_records records = native_records_begin(f);
    struct native_record record;
    uint64_t at = 0, taken = f->number == r->asked.at_frame ? r->asked.at : 0;

    if (!is_asked(r, f))
        return true;
    if (f->number <= r->asked.frames) {
        *fault = "retained messages that were numbered before";
        return true;
    }
    for (; native_records_next(&records, &record); at++) {
        if (at < taken || take_record(r, &record))
            continue;
        r->asked.at_frame = f->number;
        r->asked.at = at;
        return false;
    }
    r->asked.frames = f->number;
    r->asked.count += f->count;
    if (channel_takes_answers(from))
        (void)send_control(from, NATIVE_RETAINED_ACK, f->question, f->number);
    else
        *fault = "it does not read our acknowledgements";
    return true;
}

static void on_end(struct retained_sync *r, const struct native_frame *f)
{
    char detail[64];

    if (!is_asked(r, f) || now(r) < r->asked.end_say_ms)
        return;
    r->asked.end_say_ms = now(r) + RETAINED_SAY_MS;
    snprintf(detail, sizeof(detail), "%llu came", (unsigned long long)r->asked.count);
    host_log(r->host, 6, "link retained messages compared", r->link->name, NULL, NULL, detail);
}

/* ---- they ask ---- */

static void free_filters(struct retained_given *g)
{
    for (uint32_t i = 0; i < g->filter_count; i++)
        free((void *)(uintptr_t)g->filters[i].p);
    free(g->filters);
    g->filters = NULL;
    g->filter_count = g->filter_bytes = 0;
}

static void free_held(struct retained_given *g)
{
    while (g->held_at < g->held_count)
        message_release(g->held[g->held_at++]);
    g->held_at = g->held_count = 0;
}

static void on_pause(struct timer *t, void *owner, uint64_t now_ms)
{
    (void)t;
    (void)owner;
    (void)now_ms; /* retained_sync_run looks at the time itself, in this very turn */
}

/* What is published here from now on goes by the carrier. What is on the way to it was stamped
 * before, and is there when the pause ends. */
static void begin(struct retained_sync *r)
{
    struct retained_given *g = &r->given;

    shard_retained_feed(r->host->shard);
    shard_retained_stop(r->host->shard, r->number);
    free_held(g);
    g->state = GIVING_LATER;
    g->acked = g->sent; /* what was lost with a connection does not come any more */
    g->filter_at = 0;
    g->stamp = shard_retained_stamp(r->host->shard);
    g->changes = shard_retained_changes(r->host->shard, r->number);
    g->due_ms = now(r) + RETAINED_PAUSE_MS;
    timer_arm(shard_timers(r->host->shard), &r->pause, g->due_ms, on_pause);
}

/* false: it is too much, or there is no memory. */
static bool add_filter(struct retained_given *g, struct bytes filter)
{
    uint8_t *text;

    if (g->filter_count == RETAINED_FILTERS_MAX ||
        g->filter_bytes + filter.n > RETAINED_FILTERS_BYTES_MAX)
        return false;
    if (!g->filters)
        g->filters = calloc(RETAINED_FILTERS_MAX, sizeof(*g->filters));
    text = malloc(filter.n);
    if (!g->filters || !text) {
        free(text);
        return false;
    }
    bytes_put(text, filter);
    g->filters[g->filter_count++] = bytes_of(text, filter.n);
    g->filter_bytes += filter.n;
    return true;
}

static void on_ask(struct retained_sync *r, const struct native_frame *f, const char **fault)
{
    struct retained_given *g = &r->given;
    struct bytes left = f->body;

    if (f->number == 1) {
        shard_retained_stop(r->host->shard, r->number);
        free_held(g);
        free_filters(g);
        g->state = GIVING_NOTHING;
        g->question = f->question;
        g->part = g->sent = g->acked = 0;
    }
    if (f->question != g->question || f->number != g->part + 1 || g->state != GIVING_NOTHING) {
        *fault = "parts of a question for retained messages that do not follow each other";
        return;
    }
    g->part = f->number;
    for (uint64_t i = 0; i < f->count; i++) {
        struct bytes filter = native_retained_filter(&left);

        if (topic_filter_valid(filter, r->host->limits->topic_levels) && !add_filter(g, filter)) {
            *fault = "too many filters for retained messages, or no memory for them";
            return;
        }
    }
    if (f->is_end)
        begin(r);
}

static void on_ack(struct retained_sync *r, const struct native_frame *f, const char **fault)
{
    struct retained_given *g = &r->given;

    if (f->question != g->question)
        return;
    if (f->number > g->sent)
        *fault = "an acknowledgement of retained messages that were never sent";
    else if (f->number > g->acked)
        g->acked = f->number;
}

bool retained_sync_take(struct retained_sync *r, const struct channel *from,
                        const struct native_frame *f, const char **fault)
{
    *fault = NULL;
    switch (f->kind) {
    case NATIVE_RETAINED_ASK:
        on_ask(r, f, fault);
        return true;
    case NATIVE_RETAINED:
        return on_retained(r, from, f, fault);
    case NATIVE_RETAINED_END:
        on_end(r, f);
        return true;
    default:
        CHECK(f->kind == NATIVE_RETAINED_ACK);
        on_ack(r, f, fault);
        return true;
    }
}

void retained_sync_carried(struct retained_sync *r)
{
    if (r->given.state != GIVING_NOTHING)
        begin(r);
}

/* ---- what they get ---- */

static bool is_among(const struct bytes *filters, uint32_t count, struct bytes topic)
{
    for (uint32_t i = 0; i < count; i++)
        if (topic_matches(filters[i], topic))
            return true;
    return false;
}

bool retained_sync_wants(const struct retained_sync *r, struct bytes topic)
{
    const struct retained_given *g = &r->given;

    return g->state != GIVING_NOTHING && is_among(g->filters, g->filter_count, topic) &&
           is_among(r->link->exports, r->link->export_count, topic);
}

void retained_sync_found(struct retained_sync *r, struct publish *p)
{
    struct retained_given *g = &r->given;
    struct message *m;

    if ((!p->from_link && p->sequence > g->stamp) ||
        !is_among(r->link->exports, r->link->export_count, p->topic))
        return;
    CHECK(g->state == GIVING && g->held_count < RETAINED_SLICE_MAX);
    m = publish_message(p, shard_waiting(r->host->shard));
    if (m)
        g->held[g->held_count++] = message_ref(m);
    else
        STAT_INC(shard_count(r->host->shard), dropped_memory);
}

void retained_sync_found_end(struct retained_sync *r, bool is_last)
{
    r->given.is_slice_over = true;
    r->given.is_last = is_last;
}

/* How many of what is held go into a frame; *bytes of records. Those too large for any go. */
static uint32_t frame_count(struct retained_sync *r, uint32_t room, uint32_t *bytes)
{
    struct retained_given *g = &r->given;
    uint32_t count = 0;

    *bytes = 0;
    while (g->held_at + count < g->held_count) {
        struct message *m = g->held[g->held_at + count];
        uint64_t size = native_record_head_bytes(m, now(r)) + (uint64_t)m->payload_count;
        uint32_t head = native_retained_head_bytes(g->question, g->sent + 1, count + 1);

        if (count == 0 && head + size > room) {
            STAT_INC(shard_count(r->host->shard), link_messages_dropped);
            message_release(m);
            g->held_at++;
            continue;
        }
        if (count > 0 && (head + *bytes + size > room || head + *bytes + size > NATIVE_FRAME_BYTES))
            break;
        *bytes += (uint32_t)size;
        count++;
    }
    return count;
}

/* false: the connection is gone. */
static bool send_frame(struct retained_sync *r, const struct channel *to)
{
    struct retained_given *g = &r->given;
    uint32_t bytes, count = frame_count(r, channel_frame_max(to), &bytes), head;
    uint8_t *at;

    if (count == 0)
        return true;
    head = native_retained_head_bytes(g->question, g->sent + 1, count);
    if (channel_begin(to, head + bytes) != OK)
        return false;
    at = channel_room(to, head + bytes);
    if (!at)
        return false;
    at = native_retained_put_head(at, g->question, ++g->sent, count);
    for (; count > 0; count--) {
        struct message *m = g->held[g->held_at++];

        at = bytes_put(native_record_put_head(at, m, now(r)), message_payload(m));
        message_release(m);
    }
    return true;
}

/* Sends what is held as far as it may leave. Whether all of it has left. */
static bool send_held(struct retained_sync *r, const struct channel *to)
{
    struct retained_given *g = &r->given;

    while (g->held_at < g->held_count) {
        if (g->sent - g->acked >= NATIVE_RETAINED_WINDOW ||
            channel_waiting(to) >= r->host->limits->outq_bytes || !send_frame(r, to))
            return false;
    }
    g->held_at = g->held_count = 0;
    return true;
}

static void give_next(struct retained_sync *r, const struct carrier *carrier)
{
    struct retained_given *g = &r->given;
    enum err err;

    if (g->filter_at == g->filter_count) {
        (void)send_control(&carrier->to, NATIVE_RETAINED_END, g->question, g->sent);
        g->state = GIVING_DONE;
        return;
    }
    g->is_slice_over = g->is_last = false;
    err = shard_retained_ask(r->host->shard, r->number, g->filters[g->filter_at]);
    if (err == OK)
        g->state = GIVING;
}

static void give(struct retained_sync *r, const struct carrier *carrier)
{
    struct retained_given *g = &r->given;

    if (!send_held(r, &carrier->to) || !g->is_slice_over)
        return;
    g->is_slice_over = false;
    if (!g->is_last) {
        shard_retained_more(r->host->shard, r->number);
        return;
    }
    g->filter_at++;
    g->state = GIVING_NEXT;
    give_next(r, carrier);
}

bool retained_sync_is_behind(const struct retained_sync *r)
{
    const struct retained_given *g = &r->given;

    return g->state != GIVING_DONE ||
           shard_retained_changes(r->host->shard, r->number) != g->changes;
}

/* In all streams. */
static uint64_t lost_of(const struct carrier *carrier, const struct spread *spread)
{
    return outstream_lost_sum(&carrier->out) + SPREAD_SUM(spread, lost);
}

static bool has_lost(const struct retained_sync *r, const struct carrier *carrier,
                     const struct spread *spread)
{
    return lost_of(carrier, spread) != r->given.lost && !carrier->out.waiting.count &&
           !SPREAD_SUM(spread, waiting);
}

static void go_on(struct retained_sync *r, const struct carrier *carrier, struct spread *spread)
{
    struct retained_given *g = &r->given;

    switch (g->state) {
    case GIVING_LATER:
        if (now(r) < g->due_ms)
            break;
        g->mark = outstream_mark(&carrier->out);
        spread_mark(spread);
        g->lost = lost_of(carrier, spread);
        g->state = GIVING_BEHIND;
        break;
    case GIVING_BEHIND:
        if (outstream_is_past(&carrier->out, g->mark) && spread_is_past(spread))
            g->state = GIVING_NEXT;
        break;
    case GIVING_NEXT:
        give_next(r, carrier);
        break;
    case GIVING:
        give(r, carrier);
        break;
    default: /* what the carrier has lost may be what they should retain, and what others brought */
        if (has_lost(r, carrier, spread) || retained_sync_is_behind(r))
            begin(r);
    }
}

void retained_sync_run(struct retained_sync *r, const struct carrier *carrier,
                       struct spread *spread)
{
    uint8_t before;

    if (r->asked.to.host && channel_is_up(&r->asked.to))
        ask(r);
    if (r->given.state == GIVING_NOTHING || !carrier_is_up(carrier))
        return;
    do {
        before = r->given.state;
        go_on(r, carrier, spread);
    } while (r->given.state != before && r->given.state != GIVING_DONE);
}

/* ---- life ---- */

void retained_sync_gone(struct retained_sync *r, const struct channel *gone)
{
    if (channel_eq(&r->asked.to, gone))
        r->asked.to = (struct channel){0};
}

void retained_sync_init(struct retained_sync *r, struct link_host *host,
                        const struct cfg_link *link, uint32_t number)
{
    *r = (struct retained_sync){.host = host, .link = link, .number = number};
    if (link->retained == RETAINED_SYNC && link->enable)
        shard_retained_feed(host->shard); /* removals are remembered from the beginning */
}

void retained_sync_use(struct retained_sync *r, const struct cfg_link *link)
{
    r->link = link;
    if (link->retained == RETAINED_SYNC && link->enable)
        shard_retained_feed(r->host->shard);
}

void retained_sync_fini(struct retained_sync *r)
{
    if (!r->host)
        return;
    timer_cancel(shard_timers(r->host->shard), &r->pause);
    shard_retained_stop(r->host->shard, r->number);
    free_held(&r->given);
    free_filters(&r->given);
    *r = (struct retained_sync){0};
}
