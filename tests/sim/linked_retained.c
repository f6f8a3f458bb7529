/* tests/sim/linked_retained.c -- whether linked clusters retain the same. */
#include <inttypes.h>
#include <string.h>

#include "core/broker/state.h"
#include "tests/sim/linked.h"

/* What a cluster retains, but for what it says of itself and what may have expired in one place
 * sooner than in another. */
struct kept {
    uint32_t count;
    uint64_t sum; /* of hashes of topic, payload and stamp */
};

static const struct hash_key key = {{1, 2, 3, 4}};

static void add(void *ctx, struct bytes topic, void *value)
{
    const struct message *m = value;
    struct kept *k = ctx;
    uint64_t hash = hash_more(&key, hash_bytes(&key, topic), message_payload(m));

    if (m->expires_ms)
        return;
    k->count++;
    k->sum += hash_more(&key, hash, bytes_of(&m->sequence, sizeof(m->sequence)));
}

static struct kept kept_of(struct linked *l, uint32_t cluster)
{
    struct world *w = l->cluster[cluster]->world;
    struct kept k = {0};

    for (uint32_t i = 0; i < world_workers(w); i++) {
        struct retain_cursor c;

        if (retain_cursor_init(&c, cluster_shard(world_cluster(w), i)->retain, BYTES_LIT("#")) !=
            OK)
            differ(l->sim, "no memory");
        while (retain_cursor_next(&c, 1000, add, &k))
            ;
        retain_cursor_fini(&c);
    }
    return k;
}

void judge_retained(struct linked *l)
{
    struct kept first = kept_of(l, 0);

    for (uint32_t i = 1; i < l->count; i++) {
        struct kept k = kept_of(l, i);

        if (k.count != first.count || k.sum != first.sum)
            differ(l->sim, "%s retains %" PRIu32 " messages, %s %" PRIu32 ", or not the same",
                   cluster_name(0), first.count, cluster_name(i), k.count);
    }
}
