/* link/native.c -- frames of the native dialect.
 *
 * Decoding reads through a cursor that remembers a fault instead of reporting each: once bad, it
 * gives zeros and empty views, and whoever used it asks once at the end. native_frame_decode walks
 * all ops or records, so the walkers that come after it cannot fail.
 */
#include "link/native.h"

#include "core/base/check.h"
#include "core/base/limits.h"
#include "core/mqtt/packet.h"
#include "core/mqtt/topic.h"
#include "link/path.h"

enum {
    FLAG_DELETE = 1,    /* op */
    FLAG_PASSING = 2,   /* op */
    FLAG_END = 1,       /* beat */
    FLAG_WANT_ALL = 1,  /* routes ack */
    FLAG_NEEDS_ALL = 1, /* welcome */
    FLAG_REFUSED = 2,   /* welcome */
    FLAG_GROUPS = 4,    /* welcome */
    FLAG_OFFERS = 1,    /* hello */
    RECORD_QOS = 3,
    RECORD_RETAIN = 4,
    RECORD_EXPIRY = 8,
    RECORD_USER = 16,
    RECORD_PUBLISHER = 32,
    RECORD_STAMP = 64,
    RECORD_GROUP = 128,
    RECORD_FLAGS = 255,
    PROTOCOL_WAY = 128, /* in the byte of the protocol */
    FLAG_LAST = 1,      /* retained ask */
};

/* Bytes of a number at most. */
#define NUMBER_BYTES_MAX 10u
/* A batch's count is written into a place of this size, so it has leading zeros. */
#define COUNT_BYTES 3u
_Static_assert(NATIVE_OPS_MAX < 1u << 7 * COUNT_BYTES, "the count has room");

/* ---- reading ---- */

/* A place in a frame; p <= end. */
struct cursor {
    const uint8_t *p, *end;
    bool is_bad;
};

static struct cursor cursor_of(struct bytes b)
{
    return (struct cursor){.p = b.p, .end = b.n ? b.p + b.n : b.p};
}

static struct bytes rest_of(const struct cursor *c)
{
    return bytes_of(c->p, (size_t)(c->end - c->p));
}

static uint8_t take_byte(struct cursor *c)
{
    if (c->p == c->end) {
        c->is_bad = true;
        return 0;
    }
    return *c->p++;
}

static uint8_t take_flags(struct cursor *c, uint8_t known)
{
    uint8_t flags = take_byte(c);

    if (flags & ~known)
        c->is_bad = true;
    return flags;
}

static uint64_t take_number(struct cursor *c)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < NUMBER_BYTES_MAX && c->p < c->end; i++) {
        uint8_t byte = *c->p++;

        sum |= (uint64_t)(byte & 0x7F) << (7 * i);
        if (i == NUMBER_BYTES_MAX - 1 && byte > 1)
            break;
        if (byte < 0x80)
            return sum;
    }
    c->is_bad = true;
    return 0;
}

static uint64_t take_number_in(struct cursor *c, uint64_t min, uint64_t max)
{
    uint64_t v = take_number(c);

    if (v < min || v > max)
        c->is_bad = true;
    return v;
}

static uint64_t take_id8(struct cursor *c)
{
    uint64_t v;

    if (c->end - c->p < 8) {
        c->is_bad = true;
        return 0;
    }
    v = (uint64_t)get_be32(c->p) << 32 | get_be32(c->p + 4);
    c->p += 8;
    return v;
}

static struct bytes take_text(struct cursor *c, uint32_t max)
{
    uint64_t n = take_number(c);
    struct bytes text = {0};

    if (c->is_bad || n > max || n > (uint64_t)(c->end - c->p)) {
        c->is_bad = true;
        return text;
    }
    text = bytes_of(c->p, n);
    c->p += n;
    return text;
}

/* ---- routes ---- */

/* Takes one op. `before` is the size of the filter before it, the result the size of this one;
 * `filter` (NULL: only look) has the one before and gets this one. */
static uint32_t take_op(struct cursor *c, uint32_t before, uint8_t *filter, uint8_t *flags)
{
    uint32_t common;
    struct bytes rest;

    *flags = take_flags(c, FLAG_DELETE | FLAG_PASSING);
    common = (uint32_t)take_number_in(c, 0, before);
    rest = take_text(c, NATIVE_TEXT_BYTES_MAX);
    if (c->is_bad || common + rest.n > NATIVE_TEXT_BYTES_MAX) {
        c->is_bad = true;
        return 0;
    }
    if (filter)
        bytes_put(filter + common, rest);
    return common + rest.n;
}

static void check_ops(struct cursor *c, uint64_t count)
{
    uint32_t filter_bytes = 0;
    uint64_t sum = 0;
    uint8_t flags;

    if (count > NATIVE_OPS_MAX)
        c->is_bad = true;
    while (count-- > 0 && !c->is_bad) {
        filter_bytes = take_op(c, filter_bytes, NULL, &flags);
        sum += filter_bytes;
        c->is_bad |= sum > NATIVE_FILTERS_BYTES;
    }
}

struct native_ops native_ops_begin(const struct native_frame *routes, uint8_t *filter)
{
    CHECK(routes->kind == NATIVE_ROUTES);
    return (struct native_ops){.rest = routes->body, .left = routes->count, .filter = filter};
}

bool native_ops_next(struct native_ops *ops, struct native_op *op)
{
    struct cursor c = cursor_of(ops->rest);
    uint8_t flags;

    if (ops->left == 0)
        return false;
    ops->left--;
    ops->filter_bytes = take_op(&c, ops->filter_bytes, ops->filter, &flags);
    CHECK(!c.is_bad); /* native_frame_decode saw it */
    op->is_add = !(flags & FLAG_DELETE);
    op->is_passing = flags & FLAG_PASSING;
    ops->rest = rest_of(&c);
    op->filter = bytes_of(ops->filter, ops->filter_bytes);
    return true;
}

struct hash_key native_digest_key(uint64_t incarnation, uint64_t generation)
{
    /* Part of the protocol: both sides must come to the same sum. */
    return (struct hash_key){.k = {0x9e3779b97f4a7c15u ^ incarnation,
                                   0xd1b54a32d192ed03u + generation * 0x2545f4914f6cdd1du,
                                   0x8cb92ba72f3d8dd7u ^ generation,
                                   0xaef17502108ef2d9u + incarnation * 0x9fb21c651e98df25u}};
}

/* ---- messages ---- */

static void take_group(struct cursor *c, struct native_record *out)
{
    struct bytes name = take_text(c, NATIVE_TEXT_BYTES_MAX);
    const uint8_t *slash = name.n ? memchr(name.p, '/', name.n) : NULL;

    out->no_groups = name.n == 0;
    if (out->no_groups)
        return;
    out->hops = (uint8_t)take_number_in(c, 1, NATIVE_HOPS_MAX);
    if (!slash) {
        c->is_bad = true;
        return;
    }
    out->group = bytes_of(name.p, (size_t)(slash - name.p));
    out->filter = bytes_of(slash + 1, name.n - out->group.n - 1);
    c->is_bad |= out->group.n == 0 || out->filter.n == 0;
}

static void take_record(struct cursor *c, struct native_record *out)
{
    uint8_t flags = take_flags(c, RECORD_FLAGS), protocol;

    *out = (struct native_record){.qos = flags & RECORD_QOS, .retain = flags & RECORD_RETAIN};
    protocol = take_byte(c);
    out->protocol = (uint8_t)(protocol & (PROTOCOL_WAY - 1));
    if (out->qos > 2 || out->protocol < MQTT_31 || out->protocol > MQTT_5)
        c->is_bad = true;
    out->stamp_ms = take_number(c);
    if (flags & RECORD_EXPIRY)
        out->expiry_s = (uint32_t)take_number_in(c, 1, UINT32_MAX);
    if (flags & RECORD_STAMP) {
        out->retained_stamp = take_id8(c);
        c->is_bad |= !out->retain || !out->retained_stamp;
    }
    if (flags & RECORD_GROUP)
        take_group(c, out);
    out->topic = take_text(c, NATIVE_TEXT_BYTES_MAX);
    if (flags & RECORD_PUBLISHER) {
        out->from_id = take_text(c, NATIVE_TEXT_BYTES_MAX);
        out->source = SOURCE_NAMELESS;
    }
    if (flags & RECORD_USER) {
        out->from_user = take_text(c, NATIVE_TEXT_BYTES_MAX);
        out->source = SOURCE_USER;
    }
    if (protocol & PROTOCOL_WAY)
        out->way = take_text(c, NATIVE_TEXT_BYTES_MAX);
    c->is_bad |= (protocol & PROTOCOL_WAY) && (out->way.n == 0 || out->group.n);
    out->props = take_text(c, UINT32_MAX);
    out->payload = take_text(c, UINT32_MAX);
}

/* Of a frame with so many bytes in `whole`. */
static void check_records(struct cursor *c, uint64_t count, uint32_t whole)
{
    struct native_record record;

    if (count > 1 && whole > NATIVE_FRAME_BYTES)
        c->is_bad = true;
    while (count-- > 0 && !c->is_bad)
        take_record(c, &record);
}

struct native_records native_records_begin(const struct native_frame *messages)
{
    CHECK(messages->kind == NATIVE_MESSAGES || messages->kind == NATIVE_RETAINED);
    return (struct native_records){
        .rest = messages->body, .left = messages->count, .sequence = messages->first};
}

static bool has_fit_group(const struct native_record *record)
{
    return record->group.n == 0 ||
           (utf8_valid(record->group) && !topic_has_wildcard(record->group) &&
            topic_filter_valid(record->filter, TOPIC_LEVELS_MAX) &&
            topic_matches(record->filter, record->topic));
}

static bool is_fit(const struct native_record *record)
{
    struct bytes targets, passed;

    if (record->way.n && !way_split(record->way, &targets, &passed))
        return false;
    return topic_name_valid(record->topic, TOPIC_LEVELS_MAX) && has_fit_group(record) &&
           props_travel(record->props) && utf8_valid(record->from_id) &&
           utf8_valid(record->from_user);
}

bool native_records_next(struct native_records *records, struct native_record *out)
{
    struct cursor c = cursor_of(records->rest);

    if (records->left == 0)
        return false;
    records->left--;
    take_record(&c, out);
    CHECK(!c.is_bad); /* native_frame_decode saw it */
    records->rest = rest_of(&c);
    out->sequence = records->sequence++;
    out->is_unfit = !is_fit(out);
    return true;
}

void native_record_publish(const struct native_record *record, uint64_t now_ms, struct publish *out)
{
    *out = (struct publish){.topic = record->topic,
                            .props = record->props,
                            .payload = record->payload,
                            .stamp_ms = record->stamp_ms,
                            .sequence = record->retained_stamp,
                            .qos = record->qos,
                            .retain = record->retain,
                            .from_link = true,
                            .no_groups = record->no_groups,
                            .group_hops = record->hops,
                            .protocol = record->protocol,
                            .from_id = record->from_id,
                            .from_user = record->from_user,
                            .source = record->source};
    if (record->expiry_s)
        out->expires_ms = now_ms + record->expiry_s * 1000ull;
}

/* ---- frames ---- */

static void take_open(struct cursor *c, struct native_frame *out)
{
    out->boot = take_id8(c);
    out->first = take_number_in(c, 1, UINT64_MAX);
    out->stream = (uint32_t)take_number_in(c, 0, NATIVE_STREAMS_MAX - 1);
    out->streams = (uint32_t)take_number_in(c, out->stream + 1, NATIVE_STREAMS_MAX);
}

static void take_window(struct cursor *c, struct native_frame *out)
{
    out->boot = take_id8(c);
    out->last = take_number(c);
    out->window.bytes = take_number(c);
    out->window.messages = take_number(c);
    out->stream = (uint32_t)take_number_in(c, 0, NATIVE_STREAMS_MAX - 1);
}

static void check_filters(struct cursor *c, uint64_t count)
{
    if (count > NATIVE_OPS_MAX)
        c->is_bad = true;
    while (count-- > 0 && !c->is_bad)
        (void)take_text(c, NATIVE_TEXT_BYTES_MAX);
}

static bool has_stream_place(enum native_kind kind)
{
    return kind == NATIVE_ROUTES || kind == NATIVE_BEAT || kind == NATIVE_ROUTES_ACK;
}

/* Kinds that have a question and a number. */
static bool is_of_question(uint8_t kind)
{
    return kind >= NATIVE_RETAINED_ASK && kind <= NATIVE_RETAINED_ACK;
}

static void take_welcome(struct cursor *c, struct native_frame *out)
{
    uint8_t flags;

    out->incarnation = take_number(c);
    flags = take_flags(c, FLAG_NEEDS_ALL | FLAG_REFUSED | FLAG_GROUPS);
    out->has_groups = flags & FLAG_GROUPS;
    out->needs_all = flags & FLAG_NEEDS_ALL;
    out->is_refused = flags & FLAG_REFUSED;
}

static void take_records(struct cursor *c, uint32_t whole, uint64_t most, struct native_frame *out)
{
    out->count = take_number_in(c, 1, most);
    out->body = rest_of(c);
    check_records(c, out->count, whole);
}

static void take_body(struct cursor *c, uint32_t whole, struct native_frame *out)
{
    switch (out->kind) {
    case NATIVE_ROUTES:
        out->count = take_number(c);
        out->body = rest_of(c);
        check_ops(c, out->count);
        break;
    case NATIVE_BEAT:
        out->count = take_number(c);
        out->digest = take_id8(c);
        out->is_end = take_flags(c, FLAG_END);
        break;
    case NATIVE_ROUTES_ACK:
        out->wants_all = take_flags(c, FLAG_WANT_ALL);
        break;
    case NATIVE_OPEN:
        take_open(c, out);
        break;
    case NATIVE_OPENED:
    case NATIVE_ACK:
        take_window(c, out);
        break;
    case NATIVE_HELLO:
        out->incarnation = take_number(c);
        out->has_groups = take_flags(c, FLAG_OFFERS);
        break;
    case NATIVE_WELCOME:
        take_welcome(c, out);
        break;
    case NATIVE_MESSAGES:
        out->first = take_number_in(c, 1, UINT64_MAX);
        take_records(c, whole, UINT64_MAX - out->first, out);
        break;
    case NATIVE_RETAINED_ASK:
        out->count = take_number(c);
        out->is_end = take_flags(c, FLAG_LAST);
        out->body = rest_of(c);
        check_filters(c, out->count);
        break;
    case NATIVE_RETAINED:
        take_records(c, whole, UINT64_MAX, out);
        break;
    case NATIVE_RETAINED_END:
    case NATIVE_RETAINED_ACK:
        break;
    case NATIVE_DEFLATED: /* who takes it judges its size */
        out->count = take_number(c);
        out->body = rest_of(c);
        c->p = c->end;
        break;
    default:
        c->p = c->end; /* whatever a later version has there */
    }
}

enum err native_frame_decode(struct bytes payload, struct native_frame *out)
{
    struct cursor c = cursor_of(payload);
    uint8_t kind = take_byte(&c);

    *out = (struct native_frame){.kind = NATIVE_LATER};
    if (kind < NATIVE_KIND_COUNT)
        out->kind = (enum native_kind)kind;
    if (has_stream_place(out->kind))
        out->generation = take_number(&c);
    if (is_of_question((uint8_t)out->kind))
        out->question = take_number(&c);
    if (has_stream_place(out->kind) || is_of_question((uint8_t)out->kind))
        out->number = take_number(&c);
    take_body(&c, payload.n, out);
    return c.is_bad || c.p != c.end ? ERR_PEER : OK;
}

/* ---- writing ---- */

static uint32_t number_bytes(uint64_t v)
{
    return (uint32_t)(63 - __builtin_clzll(v | 1)) / 7 + 1;
}

static uint8_t *put_number(uint8_t *to, uint64_t v)
{
    while (v >= 0x80) {
        *to++ = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    *to++ = (uint8_t)v;
    return to;
}

static uint8_t *put_id8(uint8_t *to, uint64_t v)
{
    return put_be32(put_be32(to, (uint32_t)(v >> 32)), (uint32_t)v);
}

static uint8_t *put_text(uint8_t *to, struct bytes text)
{
    return bytes_put(put_number(to, text.n), text);
}

static uint32_t text_bytes(struct bytes text)
{
    return number_bytes(text.n) + text.n;
}

static uint8_t *put_stream_place(uint8_t *to, const struct native_frame *f)
{
    return put_number(put_number(to, f->generation), f->number);
}

enum err native_frame_encode(const struct native_frame *f, uint8_t *to, uint32_t room,
                             uint32_t *size)
{
    uint8_t frame[NATIVE_CONTROL_BYTES_MAX], *at = frame;

    *at++ = (uint8_t)f->kind;
    switch (f->kind) {
    case NATIVE_BEAT:
        at = put_number(put_stream_place(at, f), f->count);
        at = put_id8(at, f->digest);
        *at++ = f->is_end ? FLAG_END : 0;
        break;
    case NATIVE_ROUTES_ACK:
        at = put_stream_place(at, f);
        *at++ = f->wants_all ? FLAG_WANT_ALL : 0;
        break;
    case NATIVE_OPEN:
        at = put_number(put_id8(at, f->boot), f->first);
        at = put_number(put_number(at, f->stream), f->streams);
        break;
    case NATIVE_RETAINED_END:
    case NATIVE_RETAINED_ACK:
        at = put_number(put_number(at, f->question), f->number);
        break;
    case NATIVE_HELLO:
        at = put_number(at, f->incarnation);
        *at++ = f->has_groups ? FLAG_OFFERS : 0;
        break;
    case NATIVE_WELCOME:
        at = put_number(at, f->incarnation);
        *at++ = (uint8_t)((f->needs_all ? FLAG_NEEDS_ALL : 0) | (f->is_refused ? FLAG_REFUSED : 0) |
                          (f->has_groups ? FLAG_GROUPS : 0));
        break;
    default:
        CHECK(f->kind == NATIVE_OPENED || f->kind == NATIVE_ACK);
        at = put_number(put_id8(at, f->boot), f->last);
        at = put_number(put_number(at, f->window.bytes), f->window.messages);
        at = put_number(at, f->stream);
    }
    *size = (uint32_t)(at - frame);
    if (*size > room)
        return ERR_FULL;
    memcpy(to, frame, *size);
    return OK;
}

/* Around a frame: first byte, length, topic, no properties. */
uint32_t native_frame_max(uint32_t packet_max, uint32_t topic_bytes)
{
    const uint32_t length_bytes = 4, packet_bytes = 1 + length_bytes + ((1u << 28) - 1);
    uint32_t around = 1 + length_bytes + 2 + topic_bytes + 1;

    if (packet_max > packet_bytes)
        packet_max = packet_bytes;
    return packet_max > around ? packet_max - around : 0;
}

enum err native_batch_begin(struct native_batch *b, uint64_t generation, uint64_t number,
                            uint8_t *filter, uint8_t *to, uint32_t room)
{
    uint32_t count_at = 1 + number_bytes(generation) + number_bytes(number);

    if (room < count_at + COUNT_BYTES)
        return ERR_FULL;
    *to = NATIVE_ROUTES;
    put_number(put_number(to + 1, generation), number);
    *b = (struct native_batch){
        .to = to, .room = room, .size = count_at + COUNT_BYTES, .count_at = count_at};
    b->filter = filter;
    return OK;
}

enum err native_batch_add(struct native_batch *b, const struct native_op *op)
{
    struct bytes rest = op->filter;
    uint32_t common = 0;
    uint8_t *at;

    CHECK(op->filter.n <= NATIVE_TEXT_BYTES_MAX);
    while (common < b->filter_bytes && common < rest.n && b->filter[common] == rest.p[common])
        common++;
    rest.n -= common;
    if (common)
        rest.p += common;
    if (b->count == NATIVE_OPS_MAX ||
        (b->count && b->filters_bytes + op->filter.n > NATIVE_FILTERS_BYTES) ||
        1 + number_bytes(common) + text_bytes(rest) > b->room - b->size)
        return ERR_FULL;
    at = b->to + b->size;
    *at++ = (uint8_t)((op->is_add ? 0 : FLAG_DELETE) | (op->is_passing ? FLAG_PASSING : 0));
    at = put_text(put_number(at, common), rest);
    bytes_put(b->filter + common, rest);
    b->filter_bytes = op->filter.n;
    b->filters_bytes += op->filter.n;
    b->size = (uint32_t)(at - b->to);
    b->count++;
    return OK;
}

uint32_t native_batch_end(struct native_batch *b)
{
    uint8_t *at = b->to + b->count_at;

    for (uint32_t i = 0; i < COUNT_BYTES; i++)
        at[i] = (uint8_t)(((b->count >> 7 * i) & 0x7F) | (i + 1 < COUNT_BYTES ? 0x80 : 0));
    return b->size;
}

uint32_t native_messages_head_bytes(uint64_t first, uint32_t count)
{
    return 1 + number_bytes(first) + number_bytes(count);
}

uint8_t *native_messages_put_head(uint8_t *to, uint64_t first, uint32_t count)
{
    *to++ = NATIVE_MESSAGES;
    return put_number(put_number(to, first), count);
}

/* What of its expiry is left, at least 1; 0: it never expires. It is rounded to the nearest second
 * as it is towards clients: our turn may have begun before the publisher's, and then a little more
 * is left than it had at first. */
static uint64_t seconds_left(const struct message *m, uint64_t now_ms)
{
    uint64_t left;

    if (!m->expires_ms)
        return 0;
    left = m->expires_ms > now_ms ? (m->expires_ms - now_ms + 500) / 1000 : 0;
    return left == 0 ? 1 : left < UINT32_MAX ? left : UINT32_MAX;
}

static bool has_retained_stamp(const struct message *m)
{
    return m->retain && m->sequence;
}

uint32_t native_record_head_bytes(const struct message *m, uint64_t now_ms)
{
    uint32_t n = 2 + number_bytes(m->stamp_ms) + text_bytes(message_topic(m)) +
                 text_bytes(message_props(m)) + number_bytes(m->payload_count);

    if (m->expires_ms)
        n += number_bytes(seconds_left(m, now_ms));
    if (has_retained_stamp(m))
        n += 8;
    if (m->no_groups || message_group(m).n)
        n += text_bytes(message_group(m)) + (message_group(m).n ? number_bytes(m->group_hops) : 0);
    if (m->source != SOURCE_UNKNOWN)
        n += text_bytes(message_from_id(m));
    if (m->source == SOURCE_USER)
        n += text_bytes(message_from_user(m));
    if (m->has_way)
        n += text_bytes(message_way(m));
    return n;
}

uint8_t *native_record_put_head(uint8_t *to, const struct message *m, uint64_t now_ms)
{
    bool has_protocol = m->protocol >= MQTT_31 && m->protocol <= MQTT_5;

    CHECK(m->qos <= 2);
    *to++ =
        (uint8_t)(m->qos | (m->retain ? RECORD_RETAIN : 0) | (m->expires_ms ? RECORD_EXPIRY : 0) |
                  (m->source != SOURCE_UNKNOWN ? RECORD_PUBLISHER : 0) |
                  (m->source == SOURCE_USER ? RECORD_USER : 0) |
                  (has_retained_stamp(m) ? RECORD_STAMP : 0) |
                  (m->no_groups || message_group(m).n ? RECORD_GROUP : 0));
    *to++ = (uint8_t)((has_protocol ? m->protocol : MQTT_5) | /* what no client of ours sent: 5 */
                      (m->has_way ? PROTOCOL_WAY : 0));
    to = put_number(to, m->stamp_ms);
    if (m->expires_ms)
        to = put_number(to, seconds_left(m, now_ms));
    if (has_retained_stamp(m))
        to = put_id8(to, m->sequence);
    if (m->no_groups || message_group(m).n)
        to = put_text(to, message_group(m));
    if (message_group(m).n)
        to = put_number(to, m->group_hops);
    to = put_text(to, message_topic(m));
    if (m->source != SOURCE_UNKNOWN)
        to = put_text(to, message_from_id(m));
    if (m->source == SOURCE_USER)
        to = put_text(to, message_from_user(m));
    if (m->has_way)
        to = put_text(to, message_way(m));
    to = put_text(to, message_props(m));
    return put_number(to, m->payload_count);
}

uint8_t *native_deflated_put_head(uint8_t *to, uint32_t size)
{
    *to++ = NATIVE_DEFLATED;
    return put_number(to, size);
}

/* ---- retained messages ---- */

static uint8_t *put_question(uint8_t *to, enum native_kind kind, uint64_t question, uint64_t number)
{
    *to++ = (uint8_t)kind;
    return put_number(put_number(to, question), number);
}

uint32_t native_retained_ask(uint64_t question, uint64_t part, const struct bytes *filters,
                             uint32_t count, uint8_t *to, uint32_t room, uint32_t *taken)
{
    uint32_t head = 1 + number_bytes(question) + number_bytes(part) + number_bytes(count) + 1;
    uint64_t size = head;
    uint8_t *at = to;

    for (*taken = 0; *taken < count && *taken < NATIVE_OPS_MAX; ++*taken) {
        if (size + text_bytes(filters[*taken]) > room)
            break;
        size += text_bytes(filters[*taken]);
    }
    if (*taken == 0)
        return 0;
    at = put_number(put_question(at, NATIVE_RETAINED_ASK, question, part), *taken);
    *at++ = *taken == count ? FLAG_LAST : 0;
    for (uint32_t i = 0; i < *taken; i++)
        at = put_text(at, filters[i]);
    return (uint32_t)(at - to);
}

struct bytes native_retained_filter(struct bytes *left)
{
    struct cursor c = cursor_of(*left);
    struct bytes filter = take_text(&c, NATIVE_TEXT_BYTES_MAX);

    CHECK(!c.is_bad); /* native_frame_decode saw it */
    *left = rest_of(&c);
    return filter;
}

uint32_t native_retained_head_bytes(uint64_t question, uint64_t number, uint32_t count)
{
    return 1 + number_bytes(question) + number_bytes(number) + number_bytes(count);
}

uint8_t *native_retained_put_head(uint8_t *to, uint64_t question, uint64_t number, uint32_t count)
{
    return put_number(put_question(to, NATIVE_RETAINED, question, number), count);
}
