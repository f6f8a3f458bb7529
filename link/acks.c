/* link/acks.c -- receipts by tag, and a bit for each link that has not answered. */
#include "link/acks.h"

#include "core/base/check.h"

struct place {
    struct receipt *receipt;
    uint64_t links; /* that have to settle it */
    uint8_t reason; /* of the first that has let it go */
};

void acks_init(struct acks *a, struct shard *shard)
{
    *a = (struct acks){.shard = shard};
    slab_init(&a->places, sizeof(struct place), ACKS_MAX);
}

void acks_fini(struct acks *a)
{
    uint32_t slot = 0;
    struct place *p;

    if (!a->shard)
        return;
    while ((p = slab_next(&a->places, &slot)))
        shard_receipt_done(a->shard, p->receipt, REASON_SERVER_SHUTTING_DOWN);
    slab_fini(&a->places);
    *a = (struct acks){0};
}

uint64_t acks_begin(struct acks *a, struct receipt *receipt, uint64_t links)
{
    struct place *p = slab_alloc(&a->places);
    struct handle h;

    CHECK(links);
    receipt->is_taken = true;
    if (!p) {
        shard_receipt_done(a->shard, receipt, REASON_QUOTA_EXCEEDED);
        return 0;
    }
    *p = (struct place){.receipt = receipt, .links = links};
    for (; links; links &= links - 1)
        a->waiting[__builtin_ctzll(links)]++;
    h = slab_handle(&a->places, p);
    return (uint64_t)h.generation << 32 | h.slot;
}

static void settle(struct acks *a, struct place *p, uint32_t link, uint8_t reason)
{
    uint64_t bit = 1ull << link;

    if (!(p->links & bit))
        return;
    CHECK(a->waiting[link]);
    a->waiting[link]--;
    p->links &= ~bit;
    if (reason && !p->reason)
        p->reason = reason;
    if (p->links)
        return;
    shard_receipt_done(a->shard, p->receipt, p->reason);
    slab_free(&a->places, p);
}

void acks_settle(const struct acks_of *of, uint64_t tag, uint8_t reason)
{
    struct handle h = {.slot = (uint32_t)tag, .generation = (uint32_t)(tag >> 32)};
    struct place *p;

    if (tag && of->far)
        of->far->settle(of->far, tag, reason);
    p = tag && of->acks ? slab_at(&of->acks->places, h) : NULL;

    if (p)
        settle(of->acks, p, of->link, reason);
}

void acks_release(struct acks *a, uint32_t link)
{
    uint32_t slot = 0;
    struct place *p;

    while (a->waiting[link] && (p = slab_next(&a->places, &slot)))
        settle(a, p, link, 0);
}
