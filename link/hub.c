/* link/hub.c -- peers, what they are told of, and the record of a message that leaves. */
#include "link/hub.h"

#include <stdlib.h>

#include "core/base/arena.h"
#include "core/base/check.h"
#include "link/barriers.h"
#include "link/emqx_message.h"
#include "link/lane.h"
#include "link/receiver.h"
#include "link/transit.h"

struct hub {
    struct link_host host;
    struct peer *peers[LINKS_MAX]; /* by number of the link; NULL: none, or it lives elsewhere */
    bool is_started;
    struct receiver *receiver;
    struct locals locals;
    struct lanes lanes; /* of links that live elsewhere */
    struct barriers barriers;
    struct acks acks;
    struct packing packing;
    struct timer teller;      /* says how the links are doing */
    struct link_status *said; /* by number of the link */
    bool is_full;             /* a link blocks: no publish for links finds room */
    uint64_t say_ms;          /* no line about that before */
    /* message ids: microseconds, who we are, and a count within one microsecond */
    uint64_t id_us;
    uint64_t id_node; /* 48 bits */
    uint16_t id_count;
};

/* ---- local filters ---- */

/* Says each change once, also when it was reported twice. */
static void on_interest(void *link, struct bytes group, struct bytes filter, bool is_added)
{
    struct hub *h = link;
    struct local *l = locals_find(&h->locals, group, filter);

    if (is_added == (l != NULL))
        return;
    if (is_added && !(l = locals_add(&h->locals, group, filter))) {
        STAT_INC(shard_count(h->host.shard), dropped_memory);
        return;
    }
    for (uint32_t i = 0; i < LINKS_MAX; i++)
        if (h->peers[i] && h->peers[i]->is_on && locals_walk_knows(&h->peers[i]->telling, l))
            peer_interest(h->peers[i], group, filter, is_added);
    if (!is_added) {
        locals_remove(&h->locals, l);
        h->host.has_news = true;
    }
}

static bool is_told(void *hub, struct bytes group, struct bytes filter)
{
    const struct hub *h = hub;

    for (uint32_t i = 0; i < LINKS_MAX; i++)
        if (h->peers[i] && !peer_is_told(h->peers[i], group, filter))
            return false;
    return true;
}

static void on_barrier(void *link, struct barrier *b, struct bytes group, struct bytes filter)
{
    struct hub *h = link;

    barriers_take(&h->barriers, b, group, filter);
}

uint32_t hub_local_count(const struct hub *h)
{
    return h->locals.table.count;
}

/* ---- messages that leave ---- */

static uint8_t *put_be64(uint8_t *to, uint64_t v)
{
    return put_be32(put_be32(to, (uint32_t)(v >> 32)), (uint32_t)v);
}

static void draw_id(struct hub *h, uint8_t id[16])
{
    uint64_t us = shard_wall_ms(h->host.shard) * 1000;
    uint8_t node[8];

    if (us > h->id_us) {
        h->id_us = us;
        h->id_count = 0;
    } else if (++h->id_count == 0) {
        h->id_us++;
    }
    put_be64(node, h->id_node);
    id = put_be64(id, h->id_us);
    id = bytes_put(id, bytes_of(node + 2, 6));
    put_be16(id, h->id_count);
}

/* The message as the other side wants it: seconds to live are counted from the timestamp. */
static void describe(struct hub *h, const struct publish *p, const uint8_t id[16],
                     struct emqx_message *m)
{
    uint64_t now = shard_now_ms(h->host.shard), wall = shard_wall_ms(h->host.shard);

    *m = (struct emqx_message){.id = bytes_of(id, 16),
                               .qos = p->qos,
                               .from = p->from_id,
                               .retain = p->retain,
                               .proto_ver = p->protocol,
                               .topic = p->topic,
                               .payload = p->payload,
                               .timestamp_ms = p->stamp_ms,
                               .properties = p->props};
    if (p->from_id.n == 0)
        m->from.p = NULL;
    if (p->from_user.n)
        m->username = p->from_user;
    if (p->expires_ms) {
        uint64_t left = p->expires_ms > now ? p->expires_ms - now : 0;
        uint64_t age = wall > p->stamp_ms ? wall - p->stamp_ms : 0;

        m->has_expiry = true;
        m->message_expiry = (uint32_t)((left + age + 500) / 1000); /* turns begin apart */
    }
}

/* The record of a publish, encoded once for all links, as a message of its own: its topic and its
 * payload are those of the PUBLISH that carries it. It waits since then. NULL: no memory. */
static struct message *encode(struct hub *h, const struct publish *p, uint64_t tag,
                              uint64_t since_ms)
{
    struct arena *arena = shard_arena(h->host.shard);
    uint32_t room = 512 + p->topic.n + p->from_id.n + p->from_user.n + 4 * p->props.n;
    uint8_t id[16], behind[EMQX_TAIL_BYTES], topic[CFG_NAME_BYTES_MAX + 32], *to;
    struct publish out = {.expires_ms = p->expires_ms,
                          .stamp_ms = since_ms, /* its age counts from here */
                          .qos = p->qos ? 1 : 0,
                          .tag = tag,
                          .protocol = MQTT_5};
    uint32_t head, tail, topic_n;
    struct emqx_message m;

    draw_id(h, id);
    describe(h, p, id, &m);
    to = arena_alloc(arena, room + p->payload.n + EMQX_TAIL_BYTES);
    if (!to || emqx_message_encode(&m, to, room, &head, behind, &tail) != OK)
        return NULL;
    bytes_put(bytes_put(to + head, p->payload), bytes_of(behind, tail));
    if (emqx_topic_put(EMQX_TOPIC_MSG, h->host.cluster, (struct bytes){0}, topic, sizeof(topic),
                       &topic_n) != OK)
        CHECK(false);
    out.topic = bytes_of(topic, topic_n);
    out.payload = bytes_of(to, head + p->payload.n + tail);
    return publish_message(&out, shard_waiting(h->host.shard));
}

/* The same of a message that waited for a broker of ours. */
static struct message *encode_again(void *hub, const struct message *m, uint64_t since_ms)
{
    struct publish p = {.topic = message_topic(m),
                        .props = message_props(m),
                        .payload = message_payload(m),
                        .expires_ms = m->expires_ms,
                        .stamp_ms = m->stamp_ms,
                        .qos = m->qos,
                        .retain = m->retain,
                        .protocol = m->protocol,
                        .from_id = message_from_id(m),
                        .from_user = message_from_user(m)};

    return encode(hub, &p, message_tag(m), since_ms);
}

/* Who publishes for a link that is full and blocks is kept waiting where it publishes, not by our
 * refusing what stands in the rings: behind it would wait what remote clusters send us, and with it
 * the room that we wait for. */
static void look_whether_full(struct hub *h)
{
    uint64_t now = shard_now_ms(h->host.shard);
    struct peer *p = NULL;

    for (uint32_t i = 0; i < LINKS_MAX && !p; i++)
        if (h->peers[i] && h->peers[i]->is_on && peer_blocks(h->peers[i]))
            p = h->peers[i];
    if (h->is_full == (p != NULL))
        return;
    h->is_full = p != NULL;
    shard_links_full(h->host.shard, h->is_full);
    if (!p)
        return;
    STAT_INC(shard_count(h->host.shard), link_blocks);
    if (now < h->say_ms)
        return;
    h->say_ms = now + PEER_SAY_MS;
    host_log(&h->host, 4, "link full", p->link->name, NULL, "queue_bytes is reached",
             "on_full = block: who publishes for links of its worker waits for room");
}

/* A publish that keeps its publisher's names. */
static struct publish with_names(const struct publish *p, uint64_t tag)
{
    struct publish own = *p;

    own.tag = tag;
    own.source = p->from_user.n ? SOURCE_USER : p->from_id.n ? SOURCE_NAMELESS : SOURCE_UNKNOWN;
    own.message = NULL;
    return own;
}

/* The message itself, for brokers of ours; where shared groups are served once over clusters, it is
 * for all others only. NULL: no memory. */
static struct message *keep(struct hub *h, const struct publish *p, bool no_groups, uint64_t tag)
{
    struct publish own = with_names(p, tag);

    own.no_groups = no_groups;
    return publish_message(&own, shard_waiting(h->host.shard));
}

/* Those of `links` whose clusters are brokers of ours, or are not; none that is off, whose routes
 * may not have left the index yet. */
static uint64_t speakers(const struct hub *h, uint64_t links, bool is_native)
{
    uint64_t found = 0;

    for (uint32_t i = 0; i < LINKS_MAX; i++)
        if ((links >> i & 1) && h->peers[i] && h->peers[i]->is_on &&
            peer_takes_native(h->peers[i]) == is_native)
            found |= 1ull << i;
    return found;
}

/* Links that get nothing for want of memory. */
static void lose(struct hub *h, uint64_t links, uint64_t tag)
{
    STAT_ADD(shard_count(h->host.shard), link_messages_dropped, __builtin_popcountll(links));
    for (; links; links &= links - 1) {
        struct acks_of of = {.acks = &h->acks, .link = (uint32_t)__builtin_ctzll(links)};

        acks_settle(&of, tag, REASON_UNSPECIFIED_ERROR);
    }
}

/* The copies that were planned. */
static void forward_hops(struct hub *h, const struct publish *p, uint64_t tag)
{
    struct publish own = with_names(p, tag);
    uint64_t lost = transit_send(h->host.transit, &own);

    if (lost)
        lose(h, lost, tag);
}

static void carry(struct hub *h, const struct publish *p, uint64_t links, bool no_groups,
                  uint64_t tag)
{
    struct message *m = links ? keep(h, p, no_groups, tag) : NULL;

    for (; m && links; links &= links - 1)
        peer_carry(h->peers[__builtin_ctzll(links)], m);
    message_release(m);
    lose(h, links, tag);
}

/* Those of `links` whose clusters name their shared groups, so each is served by itself. */
static uint64_t named_groups(const struct hub *h, uint64_t links)
{
    uint64_t found = 0;

    for (; links; links &= links - 1)
        if (h->peers[__builtin_ctzll(links)]->takes_groups)
            found |= links & -links;
    return found;
}

static void forward_native(struct hub *h, const struct publish *p, uint64_t links, uint64_t tag)
{
    uint64_t global = named_groups(h, links);

    carry(h, p, links & ~global, false, tag);
    carry(h, p, global, true, tag);
}

static void forward_emqx(struct hub *h, const struct publish *p, uint64_t links, uint64_t tag)
{
    uint64_t publisher = hash_bytes(&h->host.key, p->from_id);
    struct message *record = encode(h, p, tag, shard_now_ms(h->host.shard));

    for (; record && links; links &= links - 1)
        peer_forward(h->peers[__builtin_ctzll(links)], record, publisher);
    message_release(record);
    lose(h, links, tag);
}

/* Keeps the receipt of a publish, if links of `ack = remote` get it. Its tag; 0: there is none. */
static uint64_t keep_receipt(struct hub *h, const struct publish *p, uint64_t links)
{
    uint64_t waited_for = 0;

    for (; p->receipt && links; links &= links - 1) {
        uint32_t i = (uint32_t)__builtin_ctzll(links);

        if (peer_acks_remotely(h->peers[i]))
            waited_for |= 1ull << i;
    }
    return waited_for ? acks_begin(&h->acks, p->receipt, waited_for) : 0;
}

/* The link worker that has the stream of a publisher, and those of `links` that have one there. */
struct far {
    uint32_t worker;
    uint64_t links;
};

static struct far far_of(const struct hub *h, const struct publish *p, uint64_t links)
{
    uint32_t count = h->host.workers, stream;
    struct far far = {0};

    if (count == 1 || !links)
        return far;
    stream = (uint32_t)((hash_bytes(&h->host.key, p->from_id) >> 32) % count);
    far.worker = (h->host.worker + stream) % count;
    for (; stream && links; links &= links - 1)
        if (peer_spreads(h->peers[__builtin_ctzll(links)]))
            far.links |= links & -links;
    return far;
}

/* Hands a message on to there; room was seen. */
static void forward_far(struct hub *h, const struct publish *p, const struct far *far, uint64_t tag)
{
    struct publish own = *p;

    own.tag = tag;
    if (shard_relay(h->host.shard, far->worker, far->links, named_groups(h, far->links), &own) !=
        OK)
        lose(h, far->links, tag);
}

/* Links whose clusters retain what we do, and so get it without a route. */
static uint64_t retainers(const struct hub *h, const struct publish *p)
{
    uint64_t found = 0;

    for (uint32_t i = 0; p->retain && i < LINKS_MAX; i++)
        if (h->peers[i] && peer_wants_retained(h->peers[i], p))
            found |= 1ull << i;
    return found;
}

static bool on_forward(void *link, const struct publish *p, uint64_t links)
{
    struct hub *h = link;
    uint64_t native, emqx, hops, tag;
    struct far far;

    if (p->from_link)
        return true; /* what came over a link, and passes, does so by link/transit.h */
    native = speakers(h, links, true) | retainers(h, p);
    emqx = speakers(h, links, false);
    far = far_of(h, p, native);
    if (far.links && !shard_relay_room(h->host.shard, far.worker, p))
        return false;
    native &= ~far.links;
    hops = links & transit_numbers(h->host.transit)
               ? transit_plan(h->host.transit, p, links, &native)
               : 0;
    tag = keep_receipt(h, p, native | far.links | hops | emqx);
    if (hops)
        forward_hops(h, p, tag);
    if (far.links)
        forward_far(h, p, &far, tag);
    if (native)
        forward_native(h, p, native, tag);
    if (emqx)
        forward_emqx(h, p, emqx, tag);
    if (!h->is_full)
        look_whether_full(h);
    return true;
}

static bool on_forward_group(void *link, uint32_t number, struct bytes group, struct bytes filter,
                             const struct publish *p)
{
    struct hub *h = link;
    struct peer *peer = h->peers[number];
    struct publish own = *p;
    struct message *m;
    uint8_t *to;

    if (!peer || peer->is_ending)
        return false;
    CHECK(group.n + 1 + filter.n <= HOST_FILTER_BYTES);
    to = bytes_put(h->host.filter, group);
    *to++ = '/';
    to = bytes_put(to, filter);
    own.group = bytes_of(h->host.filter, (size_t)(to - h->host.filter));
    own.group_hops++;
    m = keep(h, &own, false, 0);
    if (m)
        peer_carry(peer, m);
    else
        STAT_INC(shard_count(h->host.shard), link_messages_dropped);
    message_release(m);
    if (!h->is_full)
        look_whether_full(h);
    return true;
}

static void on_retained(void *link, uint32_t number, struct publish *p)
{
    struct hub *h = link;

    if (h->peers[number])
        retained_sync_found(&h->peers[number]->retained, p);
}

static void on_retained_end(void *link, uint32_t number, bool is_last)
{
    struct hub *h = link;

    if (h->peers[number])
        retained_sync_found_end(&h->peers[number]->retained, is_last);
}

/* Into lanes. Returns those of the links that have none. */
static uint64_t carry_far(struct hub *h, uint32_t from, const struct publish *p, uint64_t links,
                          bool no_groups)
{
    struct message *m = links ? keep(h, p, no_groups, p->tag) : NULL;
    uint64_t back = links ? lanes_push(&h->lanes, from, links, m, p->tag) : 0;

    if (!m)
        STAT_ADD(shard_count(h->host.shard), link_messages_dropped,
                 __builtin_popcountll(links & ~back));
    message_release(m);
    return back;
}

/* For lanes, or back from those of links of ours. */
static void on_relayed(void *link, uint32_t from, uint64_t links, uint64_t no_groups,
                       const struct publish *p)
{
    struct hub *h = link;
    uint64_t back = carry_far(h, from, p, links & ~no_groups, false), native, emqx;

    back |= carry_far(h, from, p, links & no_groups, true);
    native = speakers(h, back, true);
    emqx = speakers(h, back, false);
    carry(h, p, native & ~no_groups, false, p->tag);
    carry(h, p, native & no_groups, true, p->tag);
    if (emqx)
        forward_emqx(h, p, emqx, p->tag);
}

static void on_note(void *link, uint32_t from, const struct link_note *note)
{
    struct hub *h = link;

    lanes_note(&h->lanes, from, note);
}

/* A frame on a connection that lives here is for the link, or for the lane of one that lives
 * elsewhere. */
static bool on_link_packet(void *link, const struct link_packet *packet)
{
    struct hub *h = link;
    struct bytes cluster, actor;

    if (emqx_topic_parse(packet->topic, &cluster, &actor) == EMQX_TOPIC_NATIVE &&
        !hub_peer(h, cluster) && lanes_have(&h->lanes, packet, cluster))
        return lanes_take(&h->lanes, packet, cluster);
    return receiver_take(h->receiver, packet);
}

static void on_gone(void *link, struct client_name who)
{
    struct hub *h = link;
    struct channel channel = channel_of_client(&h->host, who);

    receiver_gone(h->receiver, who);
    lanes_gone(&h->lanes, who);
    for (uint32_t i = 0; i < LINKS_MAX; i++)
        if (h->peers[i])
            peer_channel_gone(h->peers[i], &channel);
}

void hub_set_hooks(struct hub *h, struct shard_hooks *hooks)
{
    hooks->link = h;
    hooks->forward = on_forward;
    hooks->forward_group = on_forward_group;
    hooks->retained = on_retained;
    hooks->retained_end = on_retained_end;
    hooks->link_packet = on_link_packet;
    hooks->interest = on_interest;
    hooks->barrier = on_barrier;
    hooks->link_gone = on_gone;
    hooks->relayed = on_relayed;
    hooks->link_note = on_note;
}

/* ---- peers ---- */

struct peer *hub_peer(struct hub *h, struct bytes name)
{
    for (uint32_t i = 0; i < LINKS_MAX; i++)
        if (h->peers[i] && !h->peers[i]->is_ending &&
            bytes_eq(bytes_str(h->peers[i]->link->name), name))
            return h->peers[i];
    return NULL;
}

struct lane *hub_lane(struct hub *h, struct bytes name)
{
    return lanes_find(&h->lanes, name);
}

static struct peer *find_peer(void *arg, struct bytes cluster)
{
    return hub_peer(arg, cluster);
}

bool hub_status(struct hub *h, struct bytes name, struct link_status *to)
{
    struct peer *p = hub_peer(h, name);

    if (p)
        status_of(p, to);
    return p != NULL;
}

static void on_tell(struct timer *t, void *owner, uint64_t now_ms)
{
    struct hub *h = (struct hub *)(void *)((char *)t - offsetof(struct hub, teller));

    (void)owner;
    for (uint32_t i = 0; i < LINKS_MAX; i++)
        if (h->peers[i])
            status_say(h->peers[i], &h->said[i]);
    timer_arm(shard_timers(h->host.shard), t, now_ms + h->host.limits->sys_interval * 1000ull,
              on_tell);
}

/* Whether a link lives on this worker. */
static bool is_mine(const struct hub *h, const struct cfg_link *link)
{
    return shard_link_home(h->host.shard, bytes_str(link->name)) == h->host.worker;
}

/* Each life of a link has a boot of its own, or the other side took the messages of one that was
 * removed and comes again for those it had. */
static enum err add_peer(struct hub *h, const struct cfg_link *link, uint32_t number)
{
    h->host.boot++;
    h->peers[number] = peer_create(&h->host, link, number);
    if (!h->peers[number])
        return ERR_MEMORY;
    if (h->is_started)
        peer_start(h->peers[number]);
    return OK;
}

/* Makes the link of a number what it is to be. */
static enum err apply(struct hub *h, const struct cfg_link *link, uint32_t number)
{
    struct peer *p = h->peers[number];

    if (p && !p->is_ending && (!link || strcmp(link->name, p->link->name) != 0))
        peer_remove(p);
    if (!link)
        return OK;
    if (!p && transit_numbers(h->host.transit) >> number & 1)
        return ERR_FULL; /* that of a cluster beyond others */
    if (!p)
        return add_peer(h, link, number);
    return p->is_ending ? ERR_FULL : peer_change(p, link);
}

enum err hub_apply(struct hub *h, const struct cfg_link *const links[LINKS_MAX])
{
    enum err answer = OK;

    for (uint32_t i = 0; i < LINKS_MAX; i++) {
        if (transit_link(h->host.transit, i, links[i]) != OK)
            answer = ERR_MEMORY;
    }
    for (uint32_t i = 0; i < LINKS_MAX; i++) {
        enum err err = apply(h, links[i] && is_mine(h, links[i]) ? links[i] : NULL, i);

        answer = err == OK ? answer : err;
    }
    return answer;
}

void hub_start(struct hub *h)
{
    h->is_started = true;
    if (h->host.limits->sys_interval)
        timer_arm(shard_timers(h->host.shard), &h->teller, shard_now_ms(h->host.shard), on_tell);
    for (uint32_t i = 0; i < LINKS_MAX; i++)
        if (h->peers[i])
            peer_start(h->peers[i]);
}

/* Nothing is said of a link any more that is gone; unless there is one of that name again. */
static void unsay(struct hub *h, uint32_t number)
{
    struct peer *p = h->peers[number];

    if (!hub_peer(h, bytes_str(p->link->name))) {
        peer_say_state(p, "");
        status_unsay(p, &h->said[number]);
    }
    h->said[number] = (struct link_status){0};
}

/* What goes on with links that were changed. True: a number is free, for which another may wait. */
static bool tend(struct hub *h, uint32_t number)
{
    struct peer *p = h->peers[number];

    shard_link_up(h->host.shard, number, p->speaks_native && carrier_is_up(&p->carrier));
    if (p->must_kick)
        p->must_kick = !receiver_forget(h->receiver, p);
    if (!peer_is_gone(p))
        return false;
    shard_link_up(h->host.shard, number, false);
    unsay(h, number);
    shard_link_hold(h->host.shard, number, false); /* another may have the number next */
    peer_destroy(p);
    h->peers[number] = NULL;
    return true;
}

bool hub_turn(struct hub *h)
{
    bool more = false;

    for (uint32_t i = 0; i < LINKS_MAX; i++)
        if (h->peers[i]) {
            more |= peer_run(h->peers[i]);
            more |= tend(h, i);
        }
    more |= transit_run(h->host.transit);
    more |= lanes_run(&h->lanes);
    more |= receiver_turn(h->receiver);
    barriers_run(&h->barriers);
    look_whether_full(h);
    host_turned(&h->host);
    return more;
}

void hub_stop(struct hub *h)
{
    for (uint32_t i = 0; i < LINKS_MAX; i++)
        if (h->peers[i])
            peer_stop(h->peers[i]);
    lanes_stop(&h->lanes);
}

/* ---- life ---- */

/* What tells us from other clusters and stays the same over restarts, so that a new life takes over
 * the connections of the last one. Not a secret: the key is fixed. */
static uint64_t name_hash(struct bytes name)
{
    static const struct hash_key fixed = {
        {0x243F6A8885A308D3u, 0x13198A2E03707344u, 0xA4093822299F31D0u, 0x082EFA98EC4E6C89u}};

    return hash_bytes(&fixed, name);
}

static bool make_parts(struct hub *h, const struct hub_config *config)
{
    const struct cfg *cfg = config->cfg;

    h->host.scratch = malloc(HOST_SCRATCH_BYTES);
    h->host.filter = malloc(HOST_FILTER_BYTES);
    h->receiver = receiver_create(&h->host, find_peer, h);
    h->host.transit = transit_create(&h->host, h->peers);
    h->said = calloc(LINKS_MAX, sizeof(*h->said));
    if (!h->host.scratch || !h->host.filter || !h->receiver || !h->host.transit || !h->said)
        return false;
    for (uint32_t i = 0; i < cfg->link_count; i++)
        if (transit_link(h->host.transit, i, &cfg->links[i]) != OK)
            return false;
    for (uint32_t i = 0; i < cfg->link_count; i++)
        if (is_mine(h, &cfg->links[i]) && add_peer(h, &cfg->links[i], i) != OK)
            return false;
    return true;
}

struct hub *hub_create(const struct hub_config *config)
{
    struct hub *h = calloc(1, sizeof(*h));
    uint64_t hash;

    if (!h)
        return NULL;
    h->host = (struct link_host){.shard = config->shard,
                                 .limits = &config->cfg->limits,
                                 .cluster = bytes_str(config->cfg->cluster.name),
                                 .key = config->key,
                                 .worker = config->number,
                                 .workers = shard_link_workers(config->shard),
                                 .boot = shard_random(config->shard) ^ shard_wall_ms(config->shard),
                                 .net = config->net,
                                 .dial = config->dial,
                                 .written = config->written,
                                 .log = config->log,
                                 .locals = &h->locals,
                                 .hub = h,
                                 .encode = encode_again};
    hash = name_hash(h->host.cluster);
    emqx_suffix(hash, h->host.suffix);
    h->id_node = (hash & 0xFFFFFFFF0000u) | config->number;
    locals_init(&h->locals, &config->key);
    lanes_init(&h->lanes, &h->host);
    barriers_init(&h->barriers, &h->host, is_told, h);
    acks_init(&h->acks, config->shard);
    h->host.acks = &h->acks;
    packing_init(&h->packing);
    h->host.packing = &h->packing;
    if (!make_parts(h, config)) {
        hub_destroy(h);
        return NULL;
    }
    return h;
}

void hub_destroy(struct hub *h)
{
    if (!h)
        return;
    acks_fini(&h->acks);
    receiver_destroy(h->receiver); /* what waits there is counted by the peers */
    for (uint32_t i = 0; i < LINKS_MAX; i++)
        peer_destroy(h->peers[i]);
    transit_destroy(h->host.transit);
    lanes_fini(&h->lanes);
    barriers_fini(&h->barriers);
    packing_fini(&h->packing);
    locals_fini(&h->locals);
    timer_cancel(shard_timers(h->host.shard), &h->teller);
    free(h->said);
    free(h->host.scratch);
    free(h->host.filter);
    free(h);
}
