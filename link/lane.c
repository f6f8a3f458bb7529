/* link/lane.c -- one stream of a link, away from the link's own worker. */
#include "link/lane.h"

#include <stdlib.h>

#include "cfg/change.h"
#include "core/base/check.h"
#include "core/mail/msg.h"
#include "link/peer.h"

struct lane {
    struct dialer dialer; /* first */
    struct lane *next;
    struct link_host *host;
    struct lane_board *board;
    uint32_t owner;         /* the link's own link worker */
    struct cfg_link *link;  /* a copy, as `fresh` is */
    struct cfg_link *fresh; /* what it becomes when its connection has ended; or NULL */
    struct carrier carrier;
    struct inlets inlets;
    struct hold hold;
    struct rate rate;
    uint64_t mark_asked, mark; /* of the carrier's stream, when it was asked for */
    uint8_t words;             /* what it is to do: a bit for each enum lane_word */
    bool has_news;             /* for the peer */
    struct acks_far acks;
    struct lane_settled *settled; /* that the peer has not been told of; or NULL */
    struct message *returning;    /* found no room on its way back; or NULL */
    char said[192];               /* the last failure that was said */
};

static uint64_t now(const struct lane *l)
{
    return shard_now_ms(l->host->shard);
}

/* ---- the connection ---- */

static struct lane *of_dialer(struct dialer *d)
{
    return (struct lane *)(void *)d;
}

static void on_up(struct dialer *d)
{
    struct lane *l = of_dialer(d);
    struct channel to = channel_of_dialer(d);

    carrier_up(&l->carrier, &to);
}

static bool take_frame(struct lane *l, const struct channel *from, struct bytes payload,
                       const char **fault);

/* On a connection that we opened; while they are held back, it waits as others do. */
static bool on_publish(struct dialer *d, const struct packet_publish *p)
{
    struct lane *l = of_dialer(d);
    struct channel from = channel_of_dialer(d);
    struct bytes cluster, actor;
    const char *fault = NULL;

    if (emqx_topic_parse(p->topic, &cluster, &actor) != EMQX_TOPIC_NATIVE)
        return true;
    if (p->qos > 0)
        fault = "a frame with QoS 1";
    else if (hold_is_on(&l->hold) || !take_frame(l, &from, p->payload, &fault))
        return false;
    if (fault)
        dialer_fail(d, fault);
    else
        hold_until(&l->hold, rate_take(&l->rate, p->payload.n, now(l)));
    return true;
}

static void on_ack(struct dialer *d, uint16_t id, uint8_t reason)
{
    (void)id;
    (void)reason;
    dialer_fail(d, "an acknowledgement of nothing that was sent");
}

static void on_drained(struct dialer *d)
{
    (void)d; /* the carrier looks itself, once per turn */
}

/* The peer says that the link is down; here is said why. The same again is no news. */
static void on_down(struct dialer *d, bool was_up)
{
    struct lane *l = of_dialer(d);
    struct channel gone = channel_of_dialer(d);
    bool is_news = was_up || strcmp(l->said, d->why) != 0;
    char peer[300];

    carrier_down(&l->carrier, &gone);
    dialer_peer_text(d, peer);
    host_log(l->host,
             d->must_stop || !is_news ? 7
             : was_up                 ? 4
                                      : 5,
             "link stream not connected", l->link->name, peer, d->why,
             d->must_stop ? NULL : "it is tried again");
    memcpy(l->said, d->why, sizeof(l->said));
}

static const struct dialer_events dialer_events = {.up = on_up,
                                                   .publish = on_publish,
                                                   .ack = on_ack,
                                                   .suback = on_ack,
                                                   .drained = on_drained,
                                                   .down = on_down};

/* ---- frames ---- */

/* false: no room now. */
static bool take_frame(struct lane *l, const struct channel *from, struct bytes payload,
                       const char **fault)
{
    uint32_t plain = 0;
    struct native_frame f;
    enum err err;

    *fault = NULL;
    if (native_frame_decode(payload, &f) != OK) {
        *fault = "a frame that cannot be understood";
        return true;
    }
    if (f.kind == NATIVE_DEFLATED) {
        plain = (uint32_t)f.count;
        err = carrier_unpack(&l->carrier, &f, fault);
        if (err != OK)
            return err != ERR_FULL;
    }
    switch (f.kind) {
    case NATIVE_OPEN:
    case NATIVE_OPENED:
    case NATIVE_MESSAGES:
    case NATIVE_ACK:
        if (!carrier_take(inlets_find(&l->inlets, &l->carrier, from, &f), from, &f, fault))
            return false;
        break;
    case NATIVE_LATER:
        return true;
    default:
        *fault = "a frame that is not of messages, on a connection for a stream of them";
        return true;
    }
    if (plain > payload.n) /* max_rate counts what it is, too */
        hold_until(&l->hold, rate_take(&l->rate, plain - payload.n, now(l)));
    if (f.kind == NATIVE_OPEN)
        l->rate.per_s = carrier_rate(&l->carrier);
    if (f.kind == NATIVE_OPENED && !*fault && channel_eq(&l->carrier.to, from)) {
        count_add(&l->board->opened, 1); /* the peer is told by the note */
        l->has_news = true;
    }
    return true;
}

bool lanes_have(const struct lanes *all, const struct link_packet *packet, struct bytes cluster)
{
    return packet->from.worker == shard_number(all->host->shard) && lanes_find(all, cluster);
}

/* Ends the connection of a packet, or of a stranger to it. */
static bool refuse(const struct lane *l, const struct channel *from, const char *why)
{
    host_log(l->host, 4, "link packet refused", l->link->name, NULL, why,
             "its client is disconnected");
    STAT_INC(shard_count(l->host->shard), link_packets_refused);
    channel_fail(from, why);
    return true;
}

bool lanes_take(struct lanes *all, const struct link_packet *packet, struct bytes cluster)
{
    struct channel from = channel_of_client(all->host, packet->from);
    struct lane *l = lanes_find(all, cluster);
    const char *fault;

    CHECK(l);
    if (packet->is_impostor)
        return refuse(l, &from, "it has not proven the peer_identity of this link");
    if (!(l->words & LANE_TAKES) || l->link->dialect == DIALECT_EMQX)
        return refuse(l, &from, "its link is disabled, or does not speak our dialect");
    if (!take_frame(l, &from, packet->payload, &fault))
        return false;
    if (fault)
        return refuse(l, &from, fault);
    hold_until(&l->hold,
               rate_take(&l->rate, (uint64_t)packet->topic.n + packet->payload.n, now(l)));
    return true;
}

void lanes_gone(struct lanes *all, struct client_name who)
{
    struct channel gone = channel_of_client(all->host, who);

    for (struct lane *l = all->first; l; l = l->next) {
        carrier_down(&l->carrier, &gone);
        inlets_down(&l->inlets, &gone);
    }
}

uint64_t lanes_push(struct lanes *all, uint32_t from, uint64_t links, struct message *m,
                    uint64_t tag)
{
    uint64_t left = links;

    for (struct lane *l = all->first; l; l = l->next) {
        if (l->owner != from || !(links >> l->board->number & 1))
            continue;
        left &= ~(1ull << l->board->number);
        if (l->words & LANE_ENDS)
            continue;
        if (m)
            carrier_push(&l->carrier, m);
        else
            acks_settle(&l->carrier.out.acks, tag, REASON_UNSPECIFIED_ERROR);
    }
    return left;
}

/* ---- publishers that wait ---- */

/* Gathered for one note per turn. */
static void on_settled(struct acks_far *far, uint64_t tag, uint8_t reason)
{
    struct lane *l = (struct lane *)(void *)((char *)far - offsetof(struct lane, acks));
    struct lane_settled *s = l->settled;
    uint32_t room = s ? s->room : 0;

    if (!s || s->count == room) {
        room = room ? room * 2 : 16;
        s = realloc(s, sizeof(*s) + room * sizeof(s->v[0]));
        if (!s) { /* who waits for it does so until it comes again */
            STAT_INC(shard_count(l->host->shard), dropped_memory);
            return;
        }
        s->count = l->settled ? s->count : 0;
        s->room = room;
        l->settled = s;
    }
    s->v[s->count].tag = tag;
    s->v[s->count++].reason = reason;
}

/* At the peer's link worker. */
static void take_settled(const struct lanes *all, uint32_t number, struct lane_settled *s)
{
    struct acks_of of = {.acks = all->host->acks, .link = number};

    for (uint32_t i = 0; i < s->count; i++)
        acks_settle(&of, s->v[i].tag, s->v[i].reason);
    free(s);
}

/* ---- what the peer says ---- */

/* Sets what may be news. */
static void set(struct lane *l, _Atomic bool *field, bool is_true)
{
    if (load_relaxed(field) == is_true)
        return;
    store_release(field, is_true); /* pairs with load_acquire in spread.c */
    l->has_news = true;
}

static void lane_free(struct lane *l)
{
    hold_fini(&l->hold);
    if (l->hold.host)
        shard_link_hold(l->host->shard, l->hold.number, false);
    carrier_fini(&l->carrier);
    inlets_fini(&l->inlets);
    dialer_fini(&l->dialer);
    cfg_link_free(l->link);
    cfg_link_free(l->fresh);
    free(l->settled);
    message_release(l->returning);
    free(l);
}

/* Takes over `link`. NULL: no memory. */
static struct lane *lane_create(struct link_host *host, uint32_t owner, struct lane_board *board,
                                struct cfg_link *link)
{
    struct carrier_place place = {
        .boot = board->boot, .stream = board->stream, .streams = host->workers};
    struct lane *l = calloc(1, sizeof(*l));

    if (!l) {
        cfg_link_free(link);
        return NULL;
    }
    l->host = host;
    l->board = board;
    l->owner = owner;
    l->link = link;
    if (dialer_init(&l->dialer, host, link, LANE_CONNECTIONS + board->stream, &dialer_events) !=
        OK) {
        lane_free(l);
        return NULL;
    }
    l->dialer.stream_number = board->stream;
    carrier_init(&l->carrier, host, link, &place);
    l->acks.settle = on_settled;
    l->carrier.out.acks = (struct acks_of){.link = board->number, .far = &l->acks};
    l->carrier.unpacks = link->compression; /* theirs may be here before the peer's note */
    inlets_init(&l->inlets, host, link, &place, board->number);
    hold_init(&l->hold, host, link->name, board->number);
    l->rate.per_s = carrier_rate(&l->carrier);
    return l;
}

static struct lane *lane_of(const struct lanes *all, const struct lane_board *board)
{
    struct lane *l = all->first;

    while (l && l->board != board)
        l = l->next;
    return l;
}

/* Makes the peer look. Where there is no room, it has turns to come, and looks in them. */
static void wake_peer(const struct link_host *host, uint32_t owner)
{
    struct link_note news = {0};

    if (shard_link_note(host->shard, owner, &news) != OK)
        return;
}

/* From here on the board may be gone. */
static void end_board(const struct link_host *host, uint32_t owner, struct lane_board *board)
{
    store_release(&board->is_gone, true); /* pairs with load_acquire in spread.c */
    wake_peer(host, owner);
}

/* Without memory for it the peer brings the link again. */
static struct lane *begin(struct lanes *all, uint32_t from, struct lane_board *board,
                          struct cfg_link *link)
{
    struct lane *l = lane_create(all->host, from, board, link);

    if (!l) {
        STAT_INC(shard_count(all->host->shard), dropped_memory);
        count_add(&board->failures, 1);
        wake_peer(all->host, from);
        return NULL;
    }
    l->next = all->first;
    all->first = l;
    set(l, &board->is_there, true);
    return l;
}

/* A note for a lane that is not there: it begins by one that brings the link. One that was never
 * made has ended; between that and the link's coming again there may be other words. */
static struct lane *take_first_note(struct lanes *all, uint32_t from, const struct link_note *note)
{
    if (note->gift)
        return begin(all, from, note->about, note->gift);
    if (note->word & LANE_ENDS)
        end_board(all->host, from, note->about);
    return NULL;
}

void lanes_note(struct lanes *all, uint32_t from, const struct link_note *note)
{
    uint8_t passing = LANE_HURRIES | (all->is_stopping ? LANE_DIALS : 0);
    struct lane *l;

    if (!note->about && note->gift)
        take_settled(all, note->number, note->gift);
    if (!note->about)
        return; /* news for a peer, which looks in this turn */
    l = lane_of(all, note->about);
    if (!l) {
        l = take_first_note(all, from, note);
    } else if (note->gift) {
        cfg_link_free(l->fresh);
        l->fresh = note->gift;
    }
    if (!l)
        return;
    l->words = note->word & (uint8_t)~passing;
    l->carrier.is_held = l->words & LANE_HOLDS;
    carrier_agree(&l->carrier, l->words & LANE_PACKS);
    if ((note->word & LANE_HURRIES) && !all->is_stopping)
        dialer_hurry(&l->dialer);
    if (note->value != l->mark_asked) {
        l->mark_asked = note->value;
        l->mark = outstream_mark(&l->carrier.out);
    }
    if (!(l->words & LANE_TAKES))
        inlets_close(&l->inlets, &l->carrier, "the link is disabled");
}

/* ---- the turn ---- */

/* Takes the changed link over, as soon as no connection is in the way. */
static void take_over(struct lane *l)
{
    bool redials = peer_must_redial(l->link, l->fresh);

    if (redials && l->dialer.state != DIALER_OFF && !l->dialer.must_stop)
        dialer_stop(&l->dialer);
    if (redials && l->dialer.state != DIALER_OFF)
        return;
    if (dialer_use(&l->dialer, l->fresh) != OK)
        return; /* in the next turn again */
    carrier_use(&l->carrier, l->fresh, l->host->workers);
    l->carrier.unpacks |= l->fresh->compression;
    inlets_use(&l->inlets, l->fresh);
    l->hold.name = l->fresh->name;
    cfg_link_free(l->link);
    l->link = l->fresh;
    l->fresh = NULL;
    l->rate.per_s = carrier_rate(&l->carrier);
}

static void look_at_dialer(struct lane *l)
{
    bool dials;

    if (l->fresh)
        take_over(l);
    dials = (l->words & LANE_DIALS) && !(l->words & LANE_ENDS) && !l->fresh;
    if (dials && l->dialer.state == DIALER_OFF && l->link->server_count)
        dialer_start(&l->dialer);
    else if (!dials && l->dialer.state != DIALER_OFF && !l->dialer.must_stop)
        dialer_stop(&l->dialer);
}

/* What waits goes back, oldest first. */
static void give_back(struct lane *l)
{
    uint64_t links = 1ull << l->board->number;
    struct publish p;
    uint64_t since_ms;

    carrier_leave(&l->carrier);
    while (l->returning || (l->returning = outstream_pop(&l->carrier.out, &since_ms))) {
        publish_of_message(&p, l->returning);
        p.tag = message_tag(l->returning);
        if (!shard_relay_room(l->host->shard, l->owner, &p))
            return;
        if (shard_relay(l->host->shard, l->owner, links, p.no_groups ? links : 0, &p) != OK) {
            STAT_INC(shard_count(l->host->shard), link_messages_dropped);
            acks_settle(&l->carrier.out.acks, p.tag, REASON_UNSPECIFIED_ERROR);
        }
        message_release(l->returning);
        l->returning = NULL;
    }
}

static void look_at_mark(struct lane *l)
{
    if (load_relaxed(&l->board->passed) == l->mark_asked ||
        !outstream_is_past(&l->carrier.out, l->mark))
        return;
    store_release(&l->board->passed, l->mark_asked); /* pairs with load_acquire in spread.c */
    l->has_news = true;
}

/* Of what comes beside the carrier's own. */
static uint64_t sum_of_inlets(const struct lane *l, uint64_t *doubles, uint64_t *unwanted)
{
    uint64_t received = l->carrier.received;

    *doubles = l->carrier.in.doubles;
    *unwanted = l->carrier.unwanted;
    for (uint32_t i = 0; i < l->inlets.count; i++) {
        received += l->inlets.more[i].received;
        *doubles += l->inlets.more[i].in.doubles;
        *unwanted += l->inlets.more[i].unwanted;
    }
    return received;
}

static void write_counts(struct lane *l)
{
    const struct outstream *out = &l->carrier.out;
    struct lane_board *b = l->board;
    uint64_t age = outstream_age_ms(out, now(l)), doubles, unwanted;

    store_relaxed(&b->received, sum_of_inlets(l, &doubles, &unwanted));
    store_relaxed(&b->doubles, doubles);
    store_relaxed(&b->unwanted, unwanted);
    store_relaxed(&b->sent, out->next_sequence - 1);
    store_relaxed(&b->inflight, out->live);
    store_relaxed(&b->waiting, out->waiting.count + (uint64_t)(out->sent.count - out->live));
    store_relaxed(&b->held_bytes, out->waiting_bytes + out->kept_bytes);
    store_relaxed(&b->saved_bytes, l->carrier.packer.saved);
    store_relaxed(&b->since_ms, age ? now(l) - age : 0);
    store_relaxed(&b->lost, outstream_lost_sum(out));
    store_relaxed(&b->lost_full, out->lost.full);
    store_relaxed(&b->lost_aged, out->lost.aged);
    store_relaxed(&b->lost_expired, out->lost.expired);
    store_relaxed(&b->lost_too_large, out->lost.too_large);
    store_relaxed(&b->lost_memory, out->lost.memory);
}

/* True: something had no room. */
static bool lane_run(struct lane *l)
{
    bool blocks = l->link->on_full == ON_FULL_BLOCK;
    struct link_note news = {.number = (uint8_t)l->board->number};

    look_at_dialer(l);
    if (l->words & LANE_RETURNS)
        give_back(l);
    carrier_run(&l->carrier);
    inlets_run(&l->inlets);
    write_counts(l);
    look_at_mark(l);
    set(l, &l->board->is_up, carrier_is_up(&l->carrier));
    set(l, &l->board->is_full,
        carrier_is_full(&l->carrier, blocks && shard_memory_is_full(l->host->shard)) && blocks);
    if (!l->has_news && !l->settled)
        return l->returning != NULL;
    news.gift = l->settled;
    news.drop = free;
    if (shard_link_note(l->host->shard, l->owner, &news) != OK)
        return true;
    l->has_news = false;
    l->settled = NULL;
    return l->returning != NULL;
}

/* Whether a lane that ends has ended. */
static bool has_ended(struct lane *l)
{
    if (!(l->words & LANE_ENDS) || l->dialer.state != DIALER_OFF || l->settled)
        return false;
    end_board(l->host, l->owner, l->board);
    return true;
}

bool lanes_run(struct lanes *all)
{
    struct lane **at = &all->first, *l;
    bool more = false;

    while ((l = *at)) {
        more |= lane_run(l);
        if (!has_ended(l)) {
            at = &l->next;
            continue;
        }
        *at = l->next;
        lane_free(l);
    }
    return more;
}

/* ---- life ---- */

struct lane *lanes_find(const struct lanes *all, struct bytes cluster)
{
    struct lane *l = all->first;

    while (l && ((l->words & LANE_ENDS) || !bytes_eq(bytes_str(l->link->name), cluster)))
        l = l->next;
    return l;
}

bool lane_takes(const struct lane *l)
{
    return l->words & LANE_TAKES;
}

struct dialer *lane_dialer(struct lane *l)
{
    return &l->dialer;
}

void lanes_init(struct lanes *all, struct link_host *host)
{
    *all = (struct lanes){.host = host};
}

void lanes_stop(struct lanes *all)
{
    all->is_stopping = true; /* the peer's link worker may hear of it later, and say otherwise */
    for (struct lane *l = all->first; l; l = l->next) {
        l->words &= (uint8_t)~LANE_DIALS;
        if (l->dialer.state != DIALER_OFF)
            dialer_stop(&l->dialer);
    }
}

void lanes_fini(struct lanes *all)
{
    while (all->first) {
        struct lane *l = all->first;

        all->first = l->next;
        lane_free(l);
    }
}
