/* core/broker/publish.c -- what a client publishes: PUBLISH of each QoS, and PUBREL.
 *
 * A publish that cannot go to all its destinations now changes nothing and answers ERR_FULL: the
 * connection is parked and the same packet comes again.
 */
#include <stdlib.h>

#include "core/base/check.h"
#include "core/broker/state.h"
#include "core/mqtt/topic.h"

/* Which topic: given, or by alias [MQTT-3.3.2-8..12]. false: the client has been failed. */
static bool find_topic(struct client *c, const struct packet_publish *p, struct bytes *topic)
{
    const struct shard *s = c->stream.shard;
    uint32_t alias = p->props.present & PROP_BIT(PROP_TOPIC_ALIAS) ? p->props.topic_alias : 0;
    struct bytes *place;
    uint8_t *text;

    *topic = p->topic;
    if (!alias)
        return true;
    if (alias > s->limits->topic_alias) {
        client_fail(c, REASON_TOPIC_ALIAS_INVALID, CLOSE_TOPIC_ALIAS);
        return false;
    }
    if (!c->aliases_in)
        c->aliases_in = calloc(s->limits->topic_alias, sizeof *c->aliases_in);
    if (!c->aliases_in) {
        stream_abort(&c->stream, CLOSE_MEMORY);
        return false;
    }
    place = &c->aliases_in[alias - 1];
    if (p->topic.n == 0) {
        *topic = *place;
        if (place->n == 0)
            client_fail(c, REASON_PROTOCOL_ERROR, CLOSE_PROTOCOL_ERROR);
        return place->n > 0;
    }
    if (bytes_eq(*place, p->topic))
        return true;
    text = malloc(p->topic.n);
    if (!text) {
        stream_abort(&c->stream, CLOSE_MEMORY);
        return false;
    }
    bytes_put(text, p->topic);
    free((void *)(uintptr_t)place->p);
    *place = bytes_of(text, p->topic.n);
    return true;
}

/* Sends a `$LINK/` packet to a link worker. */
static enum err mail_to_link(struct shard *s, uint32_t worker, const struct link_packet *p)
{
    struct msg_link_packet *m;
    struct link_parcel *parcel;
    uint8_t *to;

    if (!mail_room(s->cluster->mail, s->number, worker, MAIL_PUBLISH, sizeof *m) ||
        !mail_takes(s, worker, p->payload.n))
        return ERR_FULL;
    parcel = malloc(sizeof *parcel + p->topic.n + p->client_id.n + p->user.n + p->response_topic.n +
                    p->correlation.n + p->payload.n);
    if (!parcel)
        return ERR_MEMORY;
    *parcel = (struct link_parcel){.topic_count = p->topic.n,
                                   .client_id_count = p->client_id.n,
                                   .user_count = p->user.n,
                                   .response_count = p->response_topic.n,
                                   .correlation_count = p->correlation.n,
                                   .payload_count = p->payload.n,
                                   .client = {p->from.slot, p->from.generation},
                                   .worker = p->from.worker,
                                   .qos = p->qos,
                                   .is_impostor = p->is_impostor};
    to = bytes_put(parcel->bytes, p->topic);
    to = bytes_put(to, p->client_id);
    to = bytes_put(to, p->user);
    to = bytes_put(to, p->response_topic);
    to = bytes_put(to, p->correlation);
    bytes_put(to, p->payload);
    m = mail_post(s->cluster->mail, s->number, worker, MAIL_PUBLISH, sizeof *m);
    CHECK(m);
    *m = (struct msg_link_packet){.type = MSG_LINK_PACKET, .parcel = parcel};
    mail_count(s, worker, parcel->payload_count);
    return OK;
}

/* A `$LINK/` packet goes to the link worker of its cluster's link as it is. */
static enum err pass_to_link(struct client *c, const struct packet_publish *p, struct bytes topic)
{
    struct shard *s = c->stream.shard;
    struct bytes cluster = speaker_cluster(topic);
    uint32_t home = s->cluster->config.workers + shard_link_home(s, cluster);
    uint32_t worker = s->is_link ? s->number : home; /* a link's connection is where it should be */
    struct link_packet packet = {.from = client_name(c),
                                 .client_id = session_id(c->session),
                                 .topic = topic,
                                 .payload = p->payload,
                                 .qos = p->qos,
                                 .is_impostor = speaker_is_impostor(c, cluster)};

    if (!packet.is_impostor)
        client_speaks_link(c);
    else
        packet.user = session_user(c->session);
    if (p->props.present & PROP_BIT(PROP_RESPONSE_TOPIC))
        packet.response_topic = p->props.response_topic;
    if (p->props.present & PROP_BIT(PROP_CORRELATION_DATA))
        packet.correlation = p->props.correlation_data;
    if (!packet.is_impostor && speaker_is_held(c, worker, cluster))
        return ERR_FULL;
    if (worker != s->number)
        return mail_to_link(s, worker, &packet);
    return !s->hooks.link_packet || s->hooks.link_packet(s->hooks.link, &packet) ? OK : ERR_FULL;
}

bool client_may_publish(const struct client *c, struct bytes topic)
{
    if (bytes_begin(topic, BYTES_LIT("$SYS/"))) /* a bridge tells there whether it is connected */
        return c->is_bridge && bytes_begin(topic, BYTES_LIT("$SYS/broker/connection/"));
    return !c->is_link_only && !bytes_begin(topic, BYTES_LIT("$LINK/"));
}

/* Says and counts that a publish is not allowed. */
static void note_denied(struct client *c, struct bytes topic)
{
    struct shard *s = c->stream.shard;
    char text[128];
    uint32_t n = topic.n < sizeof text ? topic.n : (uint32_t)sizeof text - 1;

    STAT_INC(&s->stats, denied_publish);
    if (bytes_begin(topic, BYTES_LIT("$LINK/")))
        speaker_refused(c, topic);
    memcpy(text, topic.p, n);
    text[n] = 0;
    client_log_detail(c, 7, "publish denied", "not authorized", text);
}

/* What somebody outside says of it, if there is somebody. */
static enum access_answer ask_net(const struct client *c, const struct packet_publish *p,
                                  struct bytes topic)
{
    const struct session *x = c->session;
    struct access_question q = {.client_id = session_id(x),
                                .user = x->has_user ? session_user(x) : (struct bytes){0},
                                .topic = topic,
                                .qos = p->qos,
                                .retain = p->retain};

    return access_ask_net(c, &q);
}

/* Whether it is allowed: by rules of its own, the net or the ACL.  ERR_FULL: not known yet. */
static enum err judge(struct client *c, const struct packet_publish *p, struct publish *out,
                      bool *is_allowed)
{
    struct shard *s = c->stream.shard;
    enum access_answer answer = ACCESS_FILE;

    *is_allowed = false;
    if (!client_may_publish(c, out->topic))
        return OK;
    if (c->session->has_claim)
        answer = access_ask_claim(s, c->session, out, p->qos);
    if (s->hooks.may && answer == ACCESS_FILE)
        answer = ask_net(c, p, out->topic);
    if (answer == ACCESS_WAIT)
        return ERR_FULL;
    if (answer == ACCESS_YES)
        out->source = SOURCE_UNKNOWN; /* the ACL has no part in it, also later */
    *is_allowed =
        answer == ACCESS_YES ||
        (answer == ACCESS_FILE && access_may_write(s, c->session, out->topic, out->topic_hash));
    return OK;
}

/* Routes it. *reason: for the acknowledgement, which waits for *owed (NULL: for no link). ERR_FULL:
 * nothing happened. */
static enum err route(struct client *c, const struct packet_publish *p, struct bytes topic,
                      uint8_t *reason, struct owed **owed)
{
    struct shard *s = c->stream.shard;
    struct publish out = {.topic = topic,
                          .payload = p->payload,
                          .stamp_ms = s->wall_ms,
                          .qos = p->qos,
                          .retain = p->retain,
                          .protocol = c->protocol,
                          .from = c->session,
                          .from_id = session_id(c->session),
                          .from_user = session_user(c->session),
                          .source = access_source(s, c->session, p->retain)};
    bool matched = false, is_allowed;
    enum err err;

    *reason = REASON_SUCCESS;
    *owed = NULL;
    if (p->qos && s->receipt_workers)
        out.owed = owed;
    if (bytes_begin(topic, BYTES_LIT("$LINK/")) && c->may_link)
        return pass_to_link(c, p, topic);
    if (s->acl || c->session->has_claim)
        out.topic_hash = hash_of(s, topic);
    err = judge(c, p, &out, &is_allowed);
    if (err != OK)
        return err;
    if (!is_allowed) {
        *reason = REASON_NOT_AUTHORIZED; /* an MQTT 3 client gets its PUBACK [MQTT-3.3.5-2] */
        note_denied(c, topic);
        return OK;
    }
    if (p->props.present & PROP_BIT(PROP_MESSAGE_EXPIRY)) {
        out.expires_ms = s->now_ms + p->props.message_expiry * 1000ull;
        if (p->props.message_expiry == 0)
            return OK;
    }
    if (p->props.present && !props_forward_view(&p->props, &out.props)) {
        uint8_t *to = arena_alloc(&s->arena, p->props.all.n);

        if (!to)
            return ERR_MEMORY;
        out.props = bytes_of(to, props_forward(&p->props, to));
    }
    err = route_publish(s, &out, &matched);
    if (err == OK && !matched)
        *reason = REASON_NO_MATCHING_SUBSCRIBERS;
    return err;
}

/* What a PUBLISH may not be, beyond its form. false: the client has been failed. */
static bool publish_is_allowed(struct client *c, const struct packet_publish *p)
{
    struct shard *s = c->stream.shard;

    if (p->props.present & PROP_BIT(PROP_SUBSCRIPTION_ID)) /* [MQTT-3.3.4-6] */
        client_fail(c, REASON_PROTOCOL_ERROR, CLOSE_PROTOCOL_ERROR);
    else if (p->qos > c->max_qos) /* [MQTT-3.2.2-11] */
        client_fail(c, REASON_QOS_NOT_SUPPORTED, CLOSE_UNSUPPORTED);
    else if (p->retain && !s->limits->retain_available) /* [MQTT-3.2.2-14] */
        client_fail(c, REASON_RETAIN_NOT_SUPPORTED, CLOSE_UNSUPPORTED);
    else
        return true;
    return false;
}

/* Incoming QoS 1 and 2 that are not answered yet [MQTT-3.3.4-9]. false: one too many. */
static bool take_quota(struct client *c)
{
    struct shard *s = c->stream.shard;

    if (c->quota_used >= s->limits->receive_maximum && c->protocol == MQTT_5) {
        STAT_INC(&s->stats, receive_maximum_exceeded);
        client_fail(c, REASON_RECEIVE_MAXIMUM_EXCEEDED, CLOSE_RECEIVE_MAXIMUM);
        return false;
    }
    return true;
}

static void count_publish(struct shard *s, const struct packet_publish *p)
{
    STAT_INC(&s->stats, publish_received);
    STAT_ADD(&s->stats, publish_bytes_received, p->payload.n);
}

static store_ticket put_received(struct shard *s, struct session *x, uint16_t packet_id,
                                 bool is_delete)
{
    struct record r = {.kind = RECORD_RECEIVED,
                       .is_delete = is_delete,
                       .client_id = session_id(x),
                       .packet_id = packet_id};

    return store_put(&s->store, &r);
}

/* QoS 2, method B: routed once when the id is new, remembered until PUBREL [MQTT-4.3.3-10]. */
static enum err publish_qos2(struct client *c, const struct packet_publish *p, struct bytes topic)
{
    struct shard *s = c->stream.shard;
    struct session *x = c->session;
    struct pending_ack ack = {.packet_id = p->packet_id, .type = PACKET_PUBREC};
    bool is_known = idset_has(&x->received, p->packet_id), is_old;
    struct owed *owed;
    enum err err;

    if (owed_again(c, p, is_known))
        return OK;
    if (is_known) {
        ack.ticket = put_received(s, x, p->packet_id, false);
        owed_put(c, NULL, &ack);
        return OK;
    }
    if (!take_quota(c))
        return OK;
    if (!idset_add(&x->received, p->packet_id)) {
        stream_abort(&c->stream, CLOSE_MEMORY);
        return OK;
    }
    err = route(c, p, topic, &ack.reason, &owed);
    if (err != OK || ack.reason >= 0x80)
        (void)idset_remove(&x->received, p->packet_id, &is_old); /* [MQTT-4.3.3-9] */
    if (err != OK)
        return err;
    count_publish(s, p);
    c->quota_used++;
    ack.ticket = put_received(s, x, p->packet_id, false);
    ack.is_quota = ack.reason >= 0x80;
    owed_put(c, owed, &ack);
    return OK;
}

static enum err publish_qos1(struct client *c, const struct packet_publish *p, struct bytes topic)
{
    struct shard *s = c->stream.shard;
    struct record r = {.kind = RECORD_PUBLISH, .client_id = session_id(c->session)};
    struct pending_ack ack = {.packet_id = p->packet_id, .type = PACKET_PUBACK, .is_quota = true};
    struct owed *owed;
    enum err err;

    if (!take_quota(c) || owed_again(c, p, p->dup))
        return OK;
    err = route(c, p, topic, &ack.reason, &owed);
    if (err != OK)
        return err;
    count_publish(s, p);
    c->quota_used++;
    ack.ticket = store_put(&s->store, &r);
    owed_put(c, owed, &ack);
    return OK;
}

/* To a topic as the index has it. */
static enum err publish_to(struct client *c, const struct packet_publish *p, struct bytes topic)
{
    struct shard *s = c->stream.shard;
    struct owed *owed;
    uint8_t reason;
    enum err err;

    if (p->qos == 0) {
        err = route(c, p, topic, &reason, &owed);
        if (err == OK)
            count_publish(s, p);
    } else {
        err = p->qos == 1 ? publish_qos1(c, p, topic) : publish_qos2(c, p, topic);
    }
    if (err != ERR_MEMORY)
        return err;
    STAT_INC(&s->stats, dropped_memory);
    if (p->qos) /* not acknowledged, so not lost: the client sends it again elsewhere or later */
        client_fail(c, REASON_QUOTA_EXCEEDED, CLOSE_MEMORY);
    return OK;
}

static void refuse_topic(struct client *c)
{
    STAT_INC(&c->stream.shard->stats, dropped_topic_levels);
    client_fail(c, REASON_TOPIC_NAME_INVALID, CLOSE_TOPIC_INVALID);
}

/* To a topic below the client's mount point. */
static enum err publish_mounted(struct client *c, const struct packet_publish *p,
                                struct bytes topic)
{
    struct shard *s = c->stream.shard;
    const struct arena_mark mark = arena_mark(&s->arena);
    enum err err = mounted_put(c, &topic);

    if (err == ERR_MEMORY) {
        stream_abort(&c->stream, CLOSE_MEMORY);
        return OK;
    }
    if (err == OK && topic_name_valid(topic, s->limits->topic_levels)) {
        err = publish_to(c, p, topic);
    } else {
        refuse_topic(c);
        err = OK;
    }
    arena_rewind(&s->arena, mark);
    return err;
}

enum err client_on_publish(struct client *c, const struct packet_publish *p)
{
    struct bytes topic;

    if (c->suback_count)
        return ERR_FULL; /* what a client subscribes to and then publishes, it gets itself */
    if (p->qos && owed_is_full(c))
        return ERR_FULL; /* it knows no receive window */
    if (!publish_is_allowed(c, p) || !find_topic(c, p, &topic))
        return OK;
    /* packet_decode has seen to all else that a topic name must be */
    if (!topic_depth_allowed(topic, c->stream.shard->limits->topic_levels)) {
        refuse_topic(c);
        return OK;
    }
    return c->mount ? publish_mounted(c, p, topic) : publish_to(c, p, topic);
}

void client_on_pubrel(struct client *c, const struct packet_ack *p)
{
    struct shard *s = c->stream.shard;
    bool is_old, was_there = idset_remove(&c->session->received, p->packet_id, &is_old);

    if (was_there && !is_old) { /* [MQTT-4.9.0-1]: an old one has no place in this window */
        CHECK(c->quota_used);
        c->quota_used--;
    }
    client_ack(c, PACKET_PUBCOMP, p->packet_id,
               was_there ? REASON_SUCCESS : REASON_PACKET_ID_NOT_FOUND,
               put_received(s, c->session, p->packet_id, true), false);
}
