/* link/peer_switch.c -- what waits for a cluster that speaks another dialect than it did.
 *
 * A broker of ours that comes back as EMQX does, because `dialect` was changed on either side: what
 * waits in the carrier, sent or not, is made into records and goes by the forwarders, a slice in
 * each turn. Until none is left, what comes new goes behind it into the carrier. What was sent and
 * not acknowledged may arrive twice, as ever in that dialect.
 *
 * The other way round, the forwarders go on: a broker of ours takes records, too. Until they have
 * none left, the carrier waits.
 *
 * A link with transit sends all in stream 0, however many link workers there are: a copy of what
 * goes on from there names the clusters it is for, so a publisher's messages on one topic may be in
 * one copy now and in two then, and only one stream keeps their order. Where that begins, stream 0
 * waits for what the lanes still have. Where it ends, or we are no longer called only, or they
 * speak our dialect again, the lanes send nothing before stream 0 is past what it had then.
 */
#include "link/peer.h"

/* In one turn, whichever is reached first. */
#define SWITCH_MESSAGES 500u
#define SWITCH_BYTES (1u << 20)

static bool has_messages(const struct peer *p)
{
    return p->carrier.out.waiting.count || p->carrier.out.sent.count;
}

bool peer_takes_native(const struct peer *p)
{
    return p->speaks_native || has_messages(p);
}

static bool has_records(const struct peer *p)
{
    for (uint32_t i = 0; i < p->forwarder_count; i++)
        if (window_count(&p->forwarders[i].window))
            return true;
    return false;
}

static void move(struct peer *p, const struct message *m, uint64_t since_ms)
{
    struct message *record = p->host->encode(p->host->hub, m, since_ms);
    uint64_t publisher = hash_bytes(&p->host->key, message_from_id(m));
    struct window *w = &p->forwarders[publisher % p->forwarder_count].window;
    enum window_full full = w->full;

    if (!record) {
        STAT_INC(shard_count(p->host->shard), link_messages_dropped);
        acks_settle(&w->acks, message_tag(m), REASON_UNSPECIFIED_ERROR);
        return;
    }
    w->full = WINDOW_BLOCK; /* nothing is lost by moving */
    peer_forward(p, record, publisher);
    w->full = full;
    message_release(record);
}

/* Goes on where messages take other streams than before. True: in the next turn again. */
static bool look_whether_apart(struct peer *p)
{
    bool may_be = !p->is_ending && p->speaks_native && !peer_is_called(p) && !p->link->transit &&
                  !has_records(p) && spread_is_there(&p->spread);

    if (!may_be) {
        if (p->is_apart)
            spread_mark(&p->spread);
        p->is_apart = p->holds_lanes = false;
        return false;
    }
    if (p->is_apart) {
        p->holds_lanes = p->holds_lanes && !outstream_is_past(&p->carrier.out, p->apart_mark);
        return false;
    }
    p->holds_lanes = true; /* they are told at the end of the turn */
    p->is_apart = spread_has_told(&p->spread, LANE_HOLDS);
    p->apart_mark = outstream_mark(&p->carrier.out);
    return true;
}

/* Whether what goes another way, or is on the way, is to be there first. */
static bool must_wait(struct peer *p)
{
    return !peer_is_called(p) && (has_records(p) || peer_is_moving(p) ||
                                  (p->link->transit && !spread_is_past(&p->spread)));
}

bool peer_switch_run(struct peer *p)
{
    bool is_left = look_whether_apart(p);
    uint64_t bytes = 0, since_ms;
    struct message *m;

    peer_carry_on(p);
    p->carrier.is_held = p->speaks_native && must_wait(p);
    if (p->speaks_native || announced_actor_count(p->announced) == 0)
        return is_left; /* or nobody has said what they speak */
    for (uint32_t i = 0; i < SWITCH_MESSAGES && bytes < SWITCH_BYTES; i++) {
        m = outstream_pop(&p->carrier.out, &since_ms);
        if (!m)
            return false;
        bytes += message_cost(m);
        move(p, m, since_ms);
        message_release(m);
    }
    return has_messages(p);
}
