/* link/intake.c -- operations, beats, acknowledgements. */
#include "link/intake.h"

_Static_assert(HOST_FILTER_BYTES >= NATIVE_TEXT_BYTES_MAX, "any filter has room");

static void take_routes(struct intake *in, struct announced_actor *actor,
                        const struct native_frame *f)
{
    struct native_ops ops = native_ops_begin(f, in->host->filter);
    struct native_op op;

    while (native_ops_next(&ops, &op))
        if (!in->ops->apply(in->arg, actor, &op))
            announced_refuse(actor);
}

static void take_beat(struct intake *in, struct announced_actor *actor,
                      const struct native_frame *f)
{
    uint64_t now = shard_now_ms(in->host->shard);

    if (f->is_end) {
        announced_end(actor);
        in->ops->ended(in->arg);
    }
    if (in->wants_all || now < in->next_ms || !announced_differs(actor, f->count, f->digest))
        return;
    in->wants_all = true;
    in->resyncs++;
    in->next_ms = now + INTAKE_RESYNC_MS;
}

enum err intake_take(struct intake *in, struct announced_actor *actor, const struct native_frame *f)
{
    struct hash_key key = native_digest_key(in->incarnation, f->generation);

    if (f->generation == in->generation && f->number <= in->number)
        return ERR_PEER; /* one connection, one stream: it only goes on */
    if (announced_renew(actor, f->generation, &key) != OK)
        return ERR_PEER;
    if (f->generation != in->generation)
        in->wants_all = false;
    in->generation = f->generation;
    in->number = f->number;
    announced_beat(actor, shard_now_ms(in->host->shard) + ANNOUNCED_TTL_MS);
    if (f->kind == NATIVE_ROUTES)
        take_routes(in, actor, f);
    else
        take_beat(in, actor, f);
    return OK;
}

static void send_ack(struct intake *in)
{
    struct native_frame f = {.kind = NATIVE_ROUTES_ACK,
                             .generation = in->ack.generation,
                             .number = in->ack.number,
                             .wants_all = in->wants_all && in->ack.generation == in->generation};

    channel_say(&in->channel, &f); /* if it is gone, the next one begins anew */
}

/* Whether there is something that was not acknowledged, and is all asked for in the index. */
static bool begin_ack(struct intake *in, bool is_behind)
{
    if (is_behind || (in->ack.generation == in->generation && in->ack.number == in->number))
        return false;
    in->ack.generation = in->generation;
    in->ack.number = in->number;
    in->ack.asked = shard_link_routes_asked(in->host->shard);
    return true;
}

void intake_run(struct intake *in, bool is_behind)
{
    if (!in->ack_waits)
        in->ack_waits = begin_ack(in, is_behind);
    while (in->ack_waits && channel_takes_answers(&in->channel) &&
           shard_link_routes_in_force(in->host->shard, in->ack.asked)) {
        send_ack(in);
        in->ack_waits = begin_ack(in, is_behind);
    }
}

void intake_open(struct intake *in, const struct channel *channel, uint64_t incarnation)
{
    in->channel = *channel;
    in->ack_waits = false;
    in->ack.generation = in->generation; /* what came before is not acknowledged here */
    in->ack.number = in->number;
    if (incarnation != in->incarnation) {
        in->incarnation = incarnation;
        in->generation = in->number = 0;
        in->ack.generation = in->ack.number = 0;
        in->wants_all = false;
    }
}

void intake_gone(struct intake *in, const struct channel *channel)
{
    if (channel_eq(&in->channel, channel))
        in->channel = (struct channel){0};
}

void intake_init(struct intake *in, struct link_host *host, const struct intake_ops *ops, void *arg)
{
    *in = (struct intake){.host = host, .ops = ops, .arg = arg};
}
