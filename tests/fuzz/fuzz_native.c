/* tests/fuzz/fuzz_native.c -- frames of any bytes, decoded, and encoded again: what was understood
 * must mean the same after the way through our encoder.
 */
#include <stdlib.h>

#include "core/base/check.h"
#include "link/native.h"
#include "link/path.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FRAME_BYTES_MAX (1u << 14)

static uint8_t out_bytes[1u << 22], filter_bytes[3][NATIVE_TEXT_BYTES_MAX];

static void check_control(const struct native_frame *f)
{
    struct native_frame g;
    uint32_t n;

    CHECK(native_frame_encode(f, out_bytes, NATIVE_CONTROL_BYTES_MAX, &n) == OK);
    CHECK(native_frame_decode(bytes_of(out_bytes, n), &g) == OK);
    CHECK(g.kind == f->kind && g.generation == f->generation && g.number == f->number);
    CHECK(g.count == f->count && g.digest == f->digest && g.is_end == f->is_end);
    CHECK(g.wants_all == f->wants_all && g.boot == f->boot && g.first == f->first);
    CHECK(g.last == f->last && g.window.bytes == f->window.bytes);
    CHECK(g.window.messages == f->window.messages && g.question == f->question);
    CHECK(g.incarnation == f->incarnation && g.needs_all == f->needs_all);
    CHECK(g.is_refused == f->is_refused && g.has_groups == f->has_groups);
    CHECK(g.stream == f->stream && g.streams == f->streams);
}

/* The text of a passing route, taken apart and put together. */
static void check_text(const struct native_op *op)
{
    uint8_t text[NATIVE_TEXT_BYTES_MAX], *to;
    struct route_text r;

    if (!route_split(op->filter, &r))
        return;
    CHECK(route_is_passing(op->filter));
    (void)path_valid(r.path, PATH_NAMES_MAX);
    to = bytes_put(route_put_head(text, &r), r.filter);
    CHECK(to == text + route_head_bytes(&r) + r.filter.n);
    CHECK(bytes_eq(bytes_of(text, (size_t)(to - text)), op->filter));
}

static void check_routes(const struct native_frame *f)
{
    struct native_ops ops = native_ops_begin(f, filter_bytes[0]), again;
    struct native_batch b;
    struct native_frame g;
    struct native_op op, same;

    CHECK(native_batch_begin(&b, f->generation, f->number, filter_bytes[1], out_bytes,
                             sizeof(out_bytes)) == OK);
    while (native_ops_next(&ops, &op))
        CHECK(native_batch_add(&b, &op) == OK);
    CHECK(b.count == f->count);
    CHECK(native_frame_decode(bytes_of(out_bytes, native_batch_end(&b)), &g) == OK);
    CHECK(g.generation == f->generation && g.number == f->number && g.count == f->count);
    ops = native_ops_begin(f, filter_bytes[0]);
    again = native_ops_begin(&g, filter_bytes[2]);
    while (native_ops_next(&ops, &op)) {
        CHECK(native_ops_next(&again, &same));
        CHECK(op.is_add == same.is_add && op.is_passing == same.is_passing);
        CHECK(bytes_eq(op.filter, same.filter));
        check_text(&op);
    }
}

static void check_same(const struct native_record *a, const struct native_record *b)
{
    CHECK(a->sequence == b->sequence && a->stamp_ms == b->stamp_ms && a->expiry_s == b->expiry_s);
    CHECK(a->retained_stamp == b->retained_stamp);
    CHECK(a->qos == b->qos && a->retain == b->retain && a->protocol == b->protocol);
    CHECK(a->source == b->source && bytes_eq(a->from_id, b->from_id));
    CHECK(bytes_eq(a->from_user, b->from_user) && bytes_eq(a->topic, b->topic));
    CHECK(bytes_eq(a->props, b->props) && bytes_eq(a->payload, b->payload));
    CHECK(bytes_eq(a->way, b->way) && a->is_unfit == b->is_unfit);
    CHECK(a->no_groups == b->no_groups && a->hops == b->hops);
    CHECK(bytes_eq(a->group, b->group) && bytes_eq(a->filter, b->filter));
}

/* One record through a message, and through a frame of its own. */
static void check_record(const struct native_record *r)
{
    const uint64_t now_ms = 12345;
    struct native_records walk;
    struct native_record same;
    struct native_frame g;
    struct publish p;
    uint64_t held = 0;
    uint8_t *at;

    native_record_publish(r, now_ms, &p);
    p.way = r->way;
    if (r->group.n) /* it stands in one piece */
        p.group = bytes_of(r->group.p, r->group.n + 1 + r->filter.n);
    CHECK(publish_message(&p, &held));
    at = native_messages_put_head(out_bytes, r->sequence, 1);
    CHECK(at - out_bytes == native_messages_head_bytes(r->sequence, 1));
    at += native_record_head_bytes(p.message, now_ms);
    CHECK(native_record_put_head(out_bytes + native_messages_head_bytes(r->sequence, 1), p.message,
                                 now_ms) == at);
    at = bytes_put(at, r->payload);
    CHECK(native_frame_decode(bytes_of(out_bytes, (size_t)(at - out_bytes)), &g) == OK);
    walk = native_records_begin(&g);
    CHECK(native_records_next(&walk, &same));
    check_same(r, &same);
    CHECK(!native_records_next(&walk, &same));
    publish_fini(&p);
    CHECK(held == 0);
}

static void check_question(const struct native_frame *f)
{
    static struct bytes filters[NATIVE_OPS_MAX];
    struct bytes left = f->body, same;
    struct native_frame g;
    uint32_t taken, size;

    for (uint64_t i = 0; i < f->count; i++)
        filters[i] = native_retained_filter(&left);
    CHECK(left.n == 0);
    size = native_retained_ask(f->question, f->number, filters, (uint32_t)f->count, out_bytes,
                               sizeof(out_bytes), &taken);
    if (size == 0)
        return;
    CHECK(taken == f->count);
    CHECK(native_frame_decode(bytes_of(out_bytes, size), &g) == OK);
    CHECK(g.kind == f->kind && g.question == f->question && g.number == f->number && g.is_end);
    same = g.body;
    for (uint64_t i = 0; i < f->count; i++)
        CHECK(bytes_eq(native_retained_filter(&same), filters[i]));
}

static void check_retained(const struct native_frame *f)
{
    struct native_records walk = native_records_begin(f);
    struct native_record r;

    CHECK(native_retained_put_head(out_bytes, f->question, f->number, (uint32_t)f->count) -
              out_bytes ==
          native_retained_head_bytes(f->question, f->number, (uint32_t)f->count));
    while (native_records_next(&walk, &r)) {
        r.sequence = 1; /* there it has none */
        check_record(&r);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct native_records walk;
    struct native_record r;
    struct native_frame f;

    if (size > FRAME_BYTES_MAX || native_frame_decode(bytes_of(data, size), &f) != OK)
        return 0;
    switch (f.kind) {
    case NATIVE_LATER:
    case NATIVE_DEFLATED: /* see fuzz_packing.c */
        break;
    case NATIVE_ROUTES:
        check_routes(&f);
        break;
    case NATIVE_RETAINED_ASK:
        check_question(&f);
        break;
    case NATIVE_RETAINED:
        check_retained(&f);
        break;
    case NATIVE_MESSAGES:
        walk = native_records_begin(&f);
        while (native_records_next(&walk, &r))
            check_record(&r);
        break;
    default:
        check_control(&f);
    }
    return 0;
}
