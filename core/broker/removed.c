/* core/broker/removed.c -- retained topics that were removed a moment ago.
 *
 * Rings of several senders are drained in any order, so an older retained publish may reach its
 * owner after a newer one; the higher sequence wins. Where the newer one was a removal, nothing is
 * stored that could say so: this remembers it for as long as an older publish may still stand in a
 * ring. Two generations of sets: the older one goes when the rings have been drained up to where
 * they stood when it was closed.
 *
 * Threads  the owning worker only.
 */
#include <stdlib.h>

#include "core/broker/state.h"

struct removed_topic {
    uint64_t hash, sequence; /* sequence 0: a free place */
};

/* Open addressing, linear probing. */
struct topic_set {
    struct removed_topic *v;
    uint32_t count, capacity;
};

struct removed {
    struct topic_set now, before;
    uint64_t marks[WORKERS_MAX];
};

struct removed *removed_create(void)
{
    return calloc(1, sizeof(struct removed));
}

void removed_destroy(struct removed *r)
{
    if (!r)
        return;
    free(r->now.v);
    free(r->before.v);
    free(r);
}

static struct removed_topic *place_of(const struct topic_set *t, uint64_t hash)
{
    uint32_t at = (uint32_t)hash & (t->capacity - 1);

    while (t->v[at].sequence && t->v[at].hash != hash)
        at = (at + 1) & (t->capacity - 1);
    return &t->v[at];
}

static bool has_later(const struct topic_set *t, uint64_t hash, uint64_t sequence)
{
    return t->count && place_of(t, hash)->sequence > sequence;
}

bool removed_later(const struct removed *r, uint64_t topic_hash, uint64_t sequence)
{
    return has_later(&r->now, topic_hash, sequence) || has_later(&r->before, topic_hash, sequence);
}

static bool grow(struct topic_set *t)
{
    struct topic_set wider = {.capacity = t->capacity ? t->capacity * 2 : 64};

    wider.v = calloc(wider.capacity, sizeof *wider.v);
    if (!wider.v)
        return false;
    for (uint32_t i = 0; i < t->capacity; i++)
        if (t->v[i].sequence)
            *place_of(&wider, t->v[i].hash) = t->v[i];
    wider.count = t->count;
    free(t->v);
    *t = wider;
    return true;
}

void removed_note(struct removed *r, uint64_t topic_hash, uint64_t sequence)
{
    struct topic_set *t = &r->now;
    struct removed_topic *place;

    if (t->count * 2 >= t->capacity && !grow(t))
        return; /* without memory an old value may come back once */
    place = place_of(t, topic_hash);
    t->count += place->sequence == 0;
    *place = (struct removed_topic){topic_hash, sequence};
}

void removed_run(struct shard *s)
{
    struct removed *r = s->removed;

    if (!r->before.count && !r->now.count)
        return;
    if (r->before.count && !mail_passed(s->cluster->mail, s->number, MAIL_PUBLISH, r->marks))
        return;
    free(r->before.v);
    r->before = r->now;
    r->now = (struct topic_set){0};
    mail_mark(s->cluster->mail, s->number, MAIL_PUBLISH, r->marks);
}
