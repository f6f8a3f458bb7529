/* core/broker/tombs.c -- retained topics that were removed, for clusters that do not know it yet.
 *
 * A cluster that was away while a topic was removed still has its value, and would bring it back:
 * the stamp of the removal says that it is older. Kept only where a link wants to hear of retained
 * publishes at all, for a bounded time and in a bounded number (core/base/limits.h).
 *
 * Threads  the owning worker only.
 * Memory   a message without payload, a place in a tree, and a link in a list for each.
 */
#include <stdlib.h>

#include "core/base/check.h"
#include "core/base/links.h"
#include "core/broker/state.h"

struct tomb {
    struct links age; /* removed longest ago first */
    struct message *message;
    uint64_t until_ms;
};

struct tombs {
    struct retain *tree;
    struct links ages;
};

struct tombs *tombs_create(const struct hash_key *key)
{
    struct tombs *t = calloc(1, sizeof *t);

    if (!t)
        return NULL;
    links_init(&t->ages);
    t->tree = retain_create(key);
    if (t->tree)
        return t;
    free(t);
    return NULL;
}

static void free_tomb(struct tomb *b)
{
    message_release(b->message);
    free(b);
}

static void release(void *ctx, void *value)
{
    (void)ctx;
    free_tomb(value);
}

void tombs_destroy(struct tombs *t)
{
    if (!t)
        return;
    retain_destroy(t->tree, release, NULL);
    free(t);
}

void tombs_remove(struct shard *s, struct bytes topic)
{
    struct tomb *b = retain_remove(s->tombs->tree, topic);

    if (!b)
        return;
    links_remove(&b->age);
    free_tomb(b);
    STAT_ADD(&s->stats, tombstones, -1);
}

static struct tomb *oldest(const struct tombs *t)
{
    return links_empty(&t->ages) ? NULL : LINKS_OBJECT(t->ages.next, struct tomb, age);
}

static struct tomb *create_tomb(struct shard *s, struct bytes topic, uint64_t stamp)
{
    struct publish p = {.topic = topic,
                        .stamp_ms = s->wall_ms,
                        .sequence = stamp,
                        .retain = true,
                        .protocol = MQTT_5};
    struct tomb *b = calloc(1, sizeof *b);

    if (!b)
        return NULL;
    b->message = publish_message(&p, &s->waiting_bytes);
    b->until_ms = s->now_ms + TOMBSTONE_MS;
    if (b->message)
        return b;
    free(b);
    return NULL;
}

void tombs_put(struct shard *s, struct bytes topic, uint64_t stamp)
{
    struct tombs *t = s->tombs;
    struct tomb *b;
    void *old;

    if (!load_relaxed(&s->cluster->retain_feeds) || bytes_begin(topic, BYTES_LIT("$SYS/")))
        return;
    tombs_remove(s, topic);
    if (oldest(t) && (retain_count(t->tree) >= TOMBSTONES_MAX || memory_is_full(s))) {
        STAT_INC(&s->stats, dropped_tombstones);
        tombs_remove(s, message_topic(oldest(t)->message));
    }
    b = create_tomb(s, topic, stamp);
    if (!b || retain_put(t->tree, topic, b, &old) != OK) {
        STAT_INC(&s->stats, dropped_tombstones);
        if (b)
            free_tomb(b);
        return;
    }
    CHECK(!old);
    links_append(&t->ages, &b->age);
    STAT_INC(&s->stats, tombstones);
}

struct message *tombs_find(const struct shard *s, struct bytes topic)
{
    const struct tomb *b = retain_get(s->tombs->tree, topic);

    return b ? b->message : NULL;
}

struct retain *tombs_tree(struct tombs *t)
{
    return t->tree;
}

struct message *tombs_message(void *value)
{
    return ((struct tomb *)value)->message;
}

void tombs_run(struct shard *s)
{
    struct tomb *b;

    while ((b = oldest(s->tombs)) && b->until_ms <= s->now_ms)
        tombs_remove(s, message_topic(b->message));
}
