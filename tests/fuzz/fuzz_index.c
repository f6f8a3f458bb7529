/* tests/fuzz/fuzz_index.c -- bytes as a sequence of changes and matches, against a plain list.
 *
 * Filters are made of few words, so that they meet. The first byte says how much memory the index
 * may have, so that refusals are met, too.
 */
#include "core/base/check.h"
#include "core/index/index.h"
#include "core/index/retain.h"
#include "core/mqtt/topic.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define MODEL_MAX 256
#define TEXT_MAX 64

static const struct hash_key key = {{7, 0x9e3779b97f4a7c15, 0xd6e8feb86659fd93, 5}};

struct entry {
    uint8_t text[TEXT_MAX];
    uint32_t n, slot;
};

struct model {
    uint32_t count;
    struct entry v[MODEL_MAX];
};

struct input {
    const uint8_t *p;
    size_t n;
};

static uint8_t take(struct input *in)
{
    if (in->n == 0)
        return 0;
    in->n--;
    return *in->p++;
}

static struct bytes entry_text(const struct entry *e)
{
    return bytes_of(e->text, e->n);
}

/* One byte for each level: a word, and whether it is the last. */
static struct entry take_text(struct input *in, bool is_filter)
{
    static const char *const words[] = {"a", "b", "", "$x", "abcdefgh", "c", "+", "#"};
    struct entry e = {.slot = 0};

    for (uint32_t level = 0; level < 6; level++) {
        uint8_t b = take(in);
        uint32_t word = b % (is_filter ? 8 : 6);

        if (level)
            e.text[e.n++] = '/';
        for (const char *c = words[word]; *c; c++)
            e.text[e.n++] = (uint8_t)*c;
        if (b & 0x80 || word == 7)
            break;
    }
    if (e.n == 0)
        e.text[e.n++] = '/';
    return e;
}

static uint32_t find(const struct model *m, const struct entry *e)
{
    uint32_t i = 0;

    for (; i < m->count; i++) {
        if (m->v[i].slot == e->slot && bytes_eq(entry_text(&m->v[i]), entry_text(e)))
            break;
    }
    return i;
}

static uint32_t dests_of(const struct model *m, struct bytes filter)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < m->count; i++)
        n += bytes_eq(entry_text(&m->v[i]), filter);
    return n;
}

static struct dest dest_of(const struct entry *e)
{
    return (struct dest){.worker = 1, .kind = 1, .slot = e->slot, .generation = e->slot + 1};
}

static void on_add(struct index *ix, struct model *m, struct input *in)
{
    struct entry e = take_text(in, true);
    bool is_first, was_first;
    uint32_t i;
    enum err err;

    e.slot = take(in) % 4;
    i = find(m, &e);
    if (i == MODEL_MAX)
        return;
    was_first = dests_of(m, entry_text(&e)) == 0;
    err = index_add(ix, entry_text(&e), dest_of(&e), &is_first);
    CHECK(err == OK || err == ERR_MEMORY);
    if (err != OK)
        return;
    CHECK(is_first == was_first);
    m->v[i] = e;
    m->count += i == m->count;
}

static void on_remove(struct index *ix, struct model *m, struct input *in)
{
    struct entry e = take_text(in, true);
    bool is_last, was_there;
    uint32_t i;

    e.slot = take(in) % 4;
    if (m->count && e.n > 3) /* rather one that is there */
        e = m->v[take(in) % m->count];
    i = find(m, &e);
    was_there = i < m->count;
    CHECK(index_remove(ix, entry_text(&e), dest_of(&e), &is_last) == (was_there ? OK : ERR_NONE));
    if (was_there)
        m->v[i] = m->v[--m->count];
    CHECK(is_last == (was_there && dests_of(m, entry_text(&e)) == 0));
}

static void on_match(struct index *ix, struct model *m, struct input *in)
{
    struct entry e = take_text(in, false);
    struct bytes topic = entry_text(&e);
    struct dest room[MODEL_MAX];
    struct matches got = {.v = room, .max = MODEL_MAX};
    uint32_t count[4] = {0};

    index_match_wild(ix, topic, &got);
    index_match_exact(ix, topic, hash_bytes(&key, topic), &got);
    for (uint32_t i = 0; i < m->count; i++)
        count[m->v[i].slot] += topic_matches(entry_text(&m->v[i]), topic);
    CHECK(!got.is_cut);
    for (uint32_t i = 0; i < got.count; i++) {
        CHECK(room[i].generation == room[i].slot + 1);
        CHECK(count[room[i].slot]-- > 0);
    }
    CHECK(count[0] + count[1] + count[2] + count[3] == 0);
}

struct walked {
    const struct model *model;
    uint32_t dests;
};

static void on_walk(void *ctx, struct bytes filter, const struct dest *v, uint32_t count)
{
    struct walked *w = ctx;

    CHECK(count == dests_of(w->model, filter));
    for (uint32_t i = 0; i < count; i++)
        CHECK(v[i].slot < 4);
    w->dests += count;
}

static void walk_all(struct index *ix, const struct model *m)
{
    struct walked w = {.model = m};
    uint64_t cursor = 0;

    while (index_walk(ix, &cursor, 2, on_walk, &w))
        ;
    CHECK(w.dests == m->count);
}

/* ---- retained ---- */

static char there[MODEL_MAX]; /* values point at the model's places */

static void on_retain(struct retain *r, struct model *m, struct input *in, bool is_put)
{
    struct entry e = take_text(in, false);
    uint32_t i = find(m, &e);
    void *old = NULL;

    if (is_put && i < MODEL_MAX) {
        CHECK(retain_put(r, entry_text(&e), &there[i], &old) == OK);
        CHECK(old == (i < m->count ? &there[i] : NULL));
        m->v[i] = e;
        m->count += i == m->count;
    } else if (!is_put && i == m->count) {
        CHECK(!retain_remove(r, entry_text(&e)));
    } else if (!is_put && i == m->count - 1) { /* only the last: places do not move */
        CHECK(retain_remove(r, entry_text(&e)) == &there[i]);
        m->count--;
    }
}

struct collected {
    const struct model *model;
    uint32_t times[MODEL_MAX];
};

static void on_collect(void *ctx, struct bytes topic, void *value)
{
    struct collected *c = ctx;
    uint32_t i = (uint32_t)((char *)value - there);

    CHECK(bytes_eq(topic, entry_text(&c->model->v[i])));
    c->times[i]++;
}

static void on_cursor(struct retain *r, const struct model *m, struct input *in)
{
    struct entry e = take_text(in, true);
    struct collected c = {.model = m};
    struct retain_cursor cursor;

    CHECK(retain_cursor_init(&cursor, r, entry_text(&e)) == OK);
    while (retain_cursor_next(&cursor, 2, on_collect, &c))
        ;
    retain_cursor_fini(&cursor);
    for (uint32_t i = 0; i < m->count; i++)
        CHECK(c.times[i] == topic_matches(entry_text(&e), entry_text(&m->v[i])));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static struct model filters, topics;
    struct input in = {data, n < 4096 ? n : 4096};
    struct index *ix = index_create(&key, NULL, 0);
    struct retain *r = retain_create(&key);
    uint8_t room = take(&in);

    CHECK(ix && r);
    filters.count = topics.count = 0;
    index_limit(ix, room < 128 ? UINT64_MAX : index_bytes(ix) + 64u * room);
    while (in.n) {
        uint8_t what = take(&in) % 8;

        if (what < 3)
            on_add(ix, &filters, &in);
        else if (what == 3)
            on_remove(ix, &filters, &in);
        else if (what == 4)
            on_match(ix, &filters, &in);
        else if (what == 7)
            on_cursor(r, &topics, &in);
        else
            on_retain(r, &topics, &in, what == 5);
    }
    walk_all(ix, &filters);
    CHECK(retain_count(r) == topics.count);
    index_destroy(ix);
    retain_destroy(r, NULL, NULL);
    return 0;
}
