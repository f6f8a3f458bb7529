/* bench/bench_routes.c -- a million routes to a native peer and from one.
 *
 * Filters of about 20 bytes without a wildcard, subscribed to in no order. BM_wants_*: subscribing,
 * and announcing all of them into frames. BM_announced_bootstrap: those frames decoded and taken by
 * the other side, with the digest. An item is a route; `bytes` is memory for each, `wire` what it
 * takes in a frame. `hidden` puts all filters under a hundred covers. BM_covers_find looks for the
 * cover of a filter among a million with a wildcard, in four shapes and random order; half of the
 * filters have one.
 */
#include "bench/shim.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/base/check.h"
#include "core/base/limits.h"
#include "link/announced.h"
#include "link/covers.h"
#include "link/native.h"
#include "link/wants.h"
#include "net/heap.h"

#define TEXT_MAX 32u
#define FRAMES_MAX 4096u

static const struct hash_key key = {
    {0x243f6a8885a308d3, 0x13198a2e03707344, 0xa4093822299f31d0, 0x082efa98ec4e6c89}};

static uint8_t filter_before[NATIVE_TEXT_BYTES_MAX];

static uint32_t count_of(int64_t routes)
{
    return bench_is_tiny() ? 1000 : (uint32_t)routes;
}

static struct bytes filter_text(char text[TEXT_MAX], uint32_t i, uint32_t count)
{
    uint32_t k = (uint32_t)((uint64_t)i * 611953 % count); /* a prime: each once, in no order */
    int n = snprintf(text, TEXT_MAX, "site/%02u/dev/%07u", k % 100, k);

    return bytes_of(text, (size_t)n);
}

static int64_t heap_bytes(void)
{
    struct heap_stats s;

    heap_stats_read(&s);
    return (int64_t)s.allocated;
}

/* ---- our side ---- */

static struct wants *make_wants(uint32_t count, bool is_hidden)
{
    struct bytes topic = BYTES_LIT("#");
    struct wants *w = wants_create(&topic, 1, count + 100, &key);
    char text[TEXT_MAX];

    CHECK(w);
    for (uint32_t i = 0; i < 100 && is_hidden; i++) {
        int n = snprintf(text, sizeof(text), "site/%02u/#", i);

        CHECK(wants_add(w, BYTES_LIT(""), bytes_of(text, (size_t)n)) == OK);
    }
    for (uint32_t i = 0; i < count; i++)
        CHECK(wants_add(w, BYTES_LIT(""), filter_text(text, i, count)) == OK);
    return w;
}

static void subscribe(struct bench *b, int64_t routes, bool is_hidden)
{
    uint32_t count = count_of(routes);
    uint64_t items = 0;
    double bytes = 0;

    while (bench_next(b)) {
        int64_t before = heap_bytes();
        struct wants *w = make_wants(count, is_hidden);

        bench_pause(b);
        bytes = (double)(heap_bytes() - before) / count;
        CHECK(wants_state(w).hidden == (is_hidden ? count : 0));
        wants_destroy(w);
        bench_resume(b);
        items += count;
    }
    bench_items(b, items);
    bench_counter(b, "bytes", bytes);
}

static void bench_subscribe(struct bench *b, int64_t routes)
{
    subscribe(b, routes, false);
}

static void bench_hidden(struct bench *b, int64_t routes)
{
    subscribe(b, routes, true);
}

/* Frames as they go over the wire. */
struct frames {
    struct bytes frame[FRAMES_MAX];
    uint32_t count;
    uint64_t bytes;
};

static enum wants_taken take_op(void *arg, bool is_add, struct bytes filter)
{
    struct native_op op = {.is_add = is_add, .filter = filter};

    return native_batch_add(arg, &op) == OK ? WANTS_TAKEN : WANTS_NO_ROOM;
}

/* Everything in a new generation, each frame acked at once. The frames are kept in `f`, if any. */
static void announce(struct wants *w, struct frames *f)
{
    static uint8_t to[NATIVE_FRAME_BYTES];
    uint64_t generation = wants_state(w).generation + 1;
    struct hash_key k = native_digest_key(1, generation);

    wants_forget(w, generation, &k);
    while (wants_is_due(w)) {
        struct native_batch batch;
        uint64_t number = wants_state(w).next;
        uint32_t n;

        CHECK(native_batch_begin(&batch, generation, number, filter_before, to, sizeof(to)) == OK);
        if (wants_take(w, 0, take_op, &batch) == 0)
            continue;
        n = native_batch_end(&batch);
        CHECK(wants_ack(w, generation, number) == OK);
        if (f) {
            uint8_t *copy = malloc(n);

            CHECK(copy && f->count < FRAMES_MAX);
            f->frame[f->count++] = bytes_of(memcpy(copy, to, n), n);
            f->bytes += n;
        }
    }
}

static void bench_announce(struct bench *b, int64_t routes)
{
    uint32_t count = count_of(routes);
    struct wants *w = make_wants(count, false);
    uint64_t items = 0;

    while (bench_next(b)) {
        announce(w, NULL);
        items += count;
    }
    bench_items(b, items);
    wants_destroy(w);
}

/* ---- the other side ---- */

static void on_report(void *arg, struct bytes filter, bool is_wanted)
{
    uint64_t *reports = arg;

    (void)filter;
    (void)is_wanted;
    ++*reports;
}

static const struct announced_ops ops = {.report = on_report};

static void take_frame(struct announced *a, struct announced_actor *actor, struct bytes payload)
{
    struct native_frame frame;
    struct native_ops walk;
    struct native_op op;
    struct hash_key k;

    CHECK(native_frame_decode(payload, &frame) == OK && frame.kind == NATIVE_ROUTES);
    k = native_digest_key(1, frame.generation);
    CHECK(announced_renew(actor, frame.generation, &k) == OK);
    walk = native_ops_begin(&frame, filter_before);
    while (native_ops_next(&walk, &op))
        CHECK(announced_add(a, actor, op.filter, BYTES_LIT("")) == OK);
}

static struct announced *take_all(const struct frames *f, uint32_t count, uint64_t *reports)
{
    struct announced *a = announced_create(4, count, TOPIC_LEVELS_DEFAULT, &key, &ops, reports);
    struct announced_actor *actor;
    bool need;

    CHECK(a && announced_hello(a, BYTES_LIT("n"), 1, 1, ANNOUNCED_OLD_STAY, &need) == OK);
    actor = announced_find(a, BYTES_LIT("n"), 1);
    for (uint32_t i = 0; i < f->count; i++)
        take_frame(a, actor, f->frame[i]);
    announced_end(actor);
    return a;
}

static void bench_bootstrap(struct bench *b, int64_t routes)
{
    uint32_t count = count_of(routes);
    struct frames *f = calloc(1, sizeof(*f));
    struct wants *w = make_wants(count, false);
    uint64_t items = 0;
    double bytes = 0;

    CHECK(f);
    announce(w, f);
    while (bench_next(b)) {
        uint64_t reports = 0;
        int64_t before = heap_bytes();
        struct announced *a = take_all(f, count, &reports);
        struct announced_actor *actor = announced_find(a, BYTES_LIT("n"), 1);
        struct wants_beat beat;

        bench_pause(b);
        bytes = (double)(heap_bytes() - before) / count;
        CHECK(reports == count && wants_beat(w, &beat));
        CHECK(!announced_differs(actor, beat.count, beat.digest));
        CHECK(announced_differs(actor, beat.count, beat.digest + 1));
        announced_destroy(a);
        bench_resume(b);
        items += count;
    }
    bench_items(b, items);
    bench_counter(b, "bytes", bytes);
    bench_counter(b, "wire", (double)f->bytes / count);
    for (uint32_t i = 0; i < f->count; i++)
        free((void *)(uintptr_t)f->frame[i].p);
    free(f);
    wants_destroy(w);
}

/* ---- covers ---- */

/* A filter with a wildcard, or a topic that it matches. */
static struct bytes shape_text(char text[2 * TEXT_MAX], uint32_t i, bool is_filter)
{
    size_t room = 2 * TEXT_MAX;
    uint32_t site = i % 1000;
    int n;

    if (i % 4 == 0)
        n = snprintf(text, room, "site/%03u/device/%08u/%s", site, i, is_filter ? "#" : "a/b");
    else if (i % 4 == 1)
        n = snprintf(text, room, "site/%03u/device/%08u/%s", site, i, is_filter ? "+" : "a");
    else if (i % 4 == 2)
        n = snprintf(text, room, "site/%s/meter/%08u/temp", is_filter ? "+" : "any", i);
    else
        n = snprintf(text, room, "line%08u/%s/machine/state", i, is_filter ? "+" : "any");
    return bytes_of(text, (size_t)n);
}

static void bench_find(struct bench *b, int64_t filters)
{
    uint32_t count = count_of(filters), i = 0;
    struct cover *places = calloc(count, sizeof(*places));
    struct covers covers;
    char text[2 * TEXT_MAX];
    int64_t before = heap_bytes();
    uint64_t found = 0, asked = 0;

    CHECK(places);
    covers_init(&covers, &key);
    for (uint32_t k = 0; k < count; k++)
        CHECK(covers_add(&covers, shape_text(text, k, true), &places[k]));
    bench_counter(b, "bytes", (double)(heap_bytes() - before) / count);
    while (bench_next(b)) {
        i = (i + 611953) % (2 * count);
        found += covers_find(&covers, shape_text(text, i, false)) != NULL;
        asked++;
    }
    bench_counter(b, "found", (double)found / (double)asked);
    covers_fini(&covers);
    free(places);
}

__attribute__((constructor)) static void register_routes(void)
{
    bench_register("BM_wants_subscribe/routes:1000000", bench_subscribe, 1000000);
    bench_register("BM_wants_subscribe/routes:1000000/hidden", bench_hidden, 1000000);
    bench_register("BM_wants_announce/routes:1000000", bench_announce, 1000000);
    bench_register("BM_announced_bootstrap/routes:1000000", bench_bootstrap, 1000000);
    bench_register("BM_covers_find/filters:1000000", bench_find, 1000000);
}
