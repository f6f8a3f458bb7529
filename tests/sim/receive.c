/* tests/sim/receive.c -- what the broker sends, checked packet by packet and told to the model. */
#include "tests/sim/clients.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define WRONG(l, ...) line_wrong((l), __VA_ARGS__)

/* The broker broke a rule on this line. */
static void line_wrong(struct line *l, const char *what, uint32_t value)
{
    l->is_refused = true;
    differ(l->actor->all->sim, "actor %" PRIu32 ", wire %" PRIu32 ": %s (%" PRIu32 ")",
           l->actor->number, l->wire->number, what, value);
}

struct incoming *actor_incoming(struct actor *a, uint16_t packet_id)
{
    for (uint32_t i = 0; i < a->in_count; i++) {
        if (a->in[i].packet_id == packet_id)
            return &a->in[i];
    }
    return NULL;
}

/* Keeps the order of the others. */
void actor_drop_incoming(struct actor *a, struct incoming *in)
{
    uint32_t at = (uint32_t)(in - a->in);

    memmove(in, in + 1, (a->in_count - at - 1) * sizeof(*in));
    a->in_count--;
}

static void drop_outgoing(struct actor *a, struct outgoing *o)
{
    uint32_t at = (uint32_t)(o - a->out);

    memmove(o, o + 1, (a->out_count - at - 1) * sizeof(*o));
    a->out_count--;
}

/* ---- CONNACK ---- */

/* What is too large for a connection, or what its user may not read, is done, as if it had been
 * sent [MQTT-3.1.2-25]; a QoS 1 message of a shared group has gone to another member
 * [MQTT-4.8.2-5]. */
static bool vanishes(const struct line *l, const struct incoming *in)
{
    const struct model *m = l->actor->all->model;
    uint32_t max = l->session->packet_max; /* also of connections nobody has read from */
    bool is_large = max && model_packet_bytes(&m->messages[in->message]) > max;

    return !in->rec_taken && in->session == l->session &&
           (is_large ||
            !model_allows(m, l->connect.user, RIGHT_READ, m->messages[in->message].topic) ||
            (in->qos == 1 && model_may_be_shared(m, l->session, in->message)));
}

void line_mark_vanishing(struct line *l)
{
    for (uint32_t i = 0; i < l->actor->in_count; i++)
        l->actor->in[i].may_vanish |= vanishes(l, &l->actor->in[i]);
}

/* The same for what is read when others have been connected since, which nobody has read from. */
static bool has_vanished(const struct line *l, const struct incoming *in)
{
    const struct clients *c = l->actor->all;

    for (uint32_t i = 0; i < c->line_count; i++) {
        const struct line *x = c->lines[i];

        if (x->actor == l->actor && x->session && x->taken_step > l->taken_step && vanishes(x, in))
            return true;
    }
    return false;
}

/* Whether the session may be the one that has taken it, and holds its packet id until a PUBREL. */
static bool may_be_held(const struct m_session *s, const struct outgoing *o)
{
    return s && s->is_unknown && o->qos == 2 && o->was_taken && o->session != s;
}

/* What belongs to a session that has ended, perhaps without the client's knowledge, is void. Of one
 * that is unknown only the packet ids are given back. */
static void forget_others(struct line *l, const struct m_session *s)
{
    struct actor *a = l->actor;
    uint32_t in = 0, out = 0;

    for (uint32_t i = 0; i < a->in_count; i++) {
        if (a->in[i].session == s)
            a->in[in++] = a->in[i];
    }
    for (uint32_t i = 0; i < a->out_count; i++) {
        struct outgoing *o = &a->out[i];

        if (!outgoing_is_early(o, l) && may_be_held(s, o)) {
            o->session = s;
            o->state = OUT_RECEIVED;
        }
        if (outgoing_is_early(o, l) || (s && (!o->was_taken || o->session == s)))
            a->out[out++] = *o;
    }
    a->in_count = in;
    a->out_count = out;
}

/* What the client remembers of its session must now come again, or is void. */
static void resume(struct line *l, bool is_present)
{
    struct actor *a = l->actor;

    l->is_resumed = is_present;
    forget_others(l, is_present ? l->session : NULL);
    line_mark_vanishing(l); /* again: more may have come on the old connection */
    for (uint32_t i = 0; i < a->in_count; i++)
        a->in[i].again = true;
    if (is_present)
        line_send_again(l);
}

static void check_connack(struct line *l, const struct packet_connack *p)
{
    const struct limits *limits = world_limits(l->actor->all->world);

    if (p->reason != 0)
        WRONG(l, "CONNACK refuses", p->reason);
    if (!l->connect.is_v5)
        return;
    if (p->props.present & PROP_BIT(PROP_RECEIVE_MAXIMUM))
        l->broker_receive_max = p->props.receive_maximum;
    if (p->props.present & PROP_BIT(PROP_TOPIC_ALIAS_MAXIMUM))
        l->broker_alias_max = p->props.topic_alias_maximum;
    if (l->broker_receive_max != limits->receive_maximum)
        WRONG(l, "CONNACK announces another Receive Maximum", l->broker_receive_max);
    if (!l->actor->id[0] != !!(p->props.present & PROP_BIT(PROP_ASSIGNED_CLIENT_ID)))
        WRONG(l, "Assigned Client Identifier is there or missing wrongly", 0);
}

static void on_connack(struct line *l, const struct packet_connack *p)
{
    struct actor *a = l->actor;
    bool is_present;

    if (l->state != LINE_OPENING || !l->session) {
        WRONG(l, "CONNACK out of place", p->reason);
        return;
    }
    if (l != a->taken)
        return; /* it has lost to another connection already */
    check_connack(l, p);
    if (l->is_refused)
        return;
    note(a->all->sim, "actor %" PRIu32 " gets CONNACK on wire %" PRIu32 "%s", a->number,
         l->wire->number, p->session_present ? ", session present" : "");
    for (uint32_t i = 0; i < a->all->line_count; i++) {
        if (a->all->lines[i]->actor == a && a->all->lines[i] != l)
            a->all->lines[i]->is_muted = true;
    }
    l->state = LINE_UP;
    l->is_muted = false;
    is_present = p->session_present;
    if (a->protocol == MQTT_31) { /* has no such flag */
        if (is_present)
            WRONG(l, "a reserved bit in CONNACK", 1);
        is_present = l->session->expect_present;
    }
    l->session = model_connack(a->all->model, l->session, is_present);
    if (!l->connect.clean_start)
        resume(l, is_present);
    else if (is_present)
        WRONG(l, "session present after a clean start", 1);
}

/* ---- PUBLISH ---- */

static bool number_of(struct bytes payload, uint32_t *message)
{
    uint32_t i = 1, value = 0;

    if (payload.n < 3 || payload.p[0] != 'm')
        return false;
    while (i < payload.n && payload.p[i] >= '0' && payload.p[i] <= '9' && i < 9)
        value = 10 * value + (uint32_t)(payload.p[i++] - '0');
    *message = value;
    return i > 1 && i < payload.n && payload.p[i] == '.';
}

/* Which message this is; empty ones are told apart by nothing, so the first that may be. */
static bool find_message(struct line *l, const char *topic, struct bytes payload,
                         struct m_delivery *d)
{
    struct model *m = l->actor->all->model;
    bool any = false;
    uint32_t last = 0;

    if (payload.n > 0)
        return number_of(payload, &d->message) && d->message < m->message_count;
    for (uint32_t i = 0; i < m->message_count; i++) {
        if (!m->messages[i].is_deletion || strcmp(m->messages[i].topic, topic) != 0)
            continue;
        d->message = i;
        if (model_may_deliver(m, d))
            return true;
        any = true;
        last = i;
    }
    d->message = last;
    return any;
}

/* The topic, by name or by alias [MQTT-3.3.2-7..9]. */
static bool topic_of(struct line *l, const struct packet_publish *p, char *topic)
{
    uint16_t alias = p->props.present & PROP_BIT(PROP_TOPIC_ALIAS) ? p->props.topic_alias : 0;

    if (p->topic.n >= NAME_BYTES || alias > l->alias_max) {
        WRONG(l, "a topic or alias nobody has given out", alias);
        return false;
    }
    if (p->topic.n == 0) {
        strcpy(topic, l->aliases_in[alias]);
        return topic[0] != '\0';
    }
    memcpy(topic, p->topic.p, p->topic.n);
    topic[p->topic.n] = '\0';
    if (alias)
        strcpy(l->aliases_in[alias], topic);
    return true;
}

/* Properties that travel with the message. */
static void check_props(struct line *l, const struct packet_publish *p, const struct m_message *m,
                        uint32_t message)
{
    uint64_t age_s = (l->actor->all->sim->now_ms - m->taken_ms) / 1000 + 1;
    bool has_expiry = p->props.present & PROP_BIT(PROP_MESSAGE_EXPIRY), found = false;
    struct bytes rest = p->props.all, name, value;

    if (!l->connect.is_v5)
        return;
    if (has_expiry != (m->expiry_s != 0))
        WRONG(l, "Message Expiry Interval is there or missing wrongly", message);
    else if (has_expiry && (p->props.message_expiry > m->expiry_s ||
                            p->props.message_expiry + age_s < m->expiry_s))
        WRONG(l, "Message Expiry Interval was not counted down rightly", p->props.message_expiry);
    while (props_next_user(&rest, &name, &value)) {
        char text[16] = "m";

        if (value.n > 8)
            break;
        memcpy(text + 1, value.p, value.n);
        strcat(text, ".");
        found = number_of(bytes_str(text), &message);
    }
    if (found != m->has_note)
        WRONG(l, "a user property was lost or made up", message);
}

static void check_payload(struct line *l, struct bytes payload, const struct m_message *m,
                          uint32_t message)
{
    uint8_t *want = must_alloc(m->payload_count);

    payload_write(want, m->payload_count, message);
    if (payload.n != m->payload_count || memcmp(want, payload.p, payload.n) != 0)
        WRONG(l, "the payload of a message has changed", message);
    free(want);
}

/* QoS 1 and 2 messages on this line that the broker cannot think answered [MQTT-3.3.4-9]. */
static void check_receive_max(struct line *l)
{
    uint32_t in_flight = 0;

    for (uint32_t i = 0; i < l->actor->in_count; i++)
        in_flight += l->actor->in[i].line == l;
    if (in_flight > l->receive_max)
        WRONG(l, "Receive Maximum is exceeded", in_flight);
}

/* Whether they are one message, as far as anybody can tell. */
static bool is_same(const struct model *m, uint32_t a, uint32_t b)
{
    return a == b || (m->messages[a].is_deletion && m->messages[b].is_deletion &&
                      strcmp(m->messages[a].topic, m->messages[b].topic) == 0);
}

/* A packet id the client still remembers: the same message must come again. */
static void on_publish_again(struct line *l, const struct packet_publish *p, struct incoming *in,
                             uint32_t message)
{
    if (!in->again || in->rec_taken)
        WRONG(l, "a packet id in use is used again", p->packet_id);
    else if (!p->dup)
        WRONG(l, "a message comes again without DUP", p->packet_id);
    else if (in->qos != p->qos || !is_same(l->actor->all->model, in->message, message))
        WRONG(l, "another message comes under a packet id in use", p->packet_id);
    else if (in->order < l->last_again)
        WRONG(l, "what comes again is out of order", p->packet_id);
    in->again = false;
    in->line = l;
    l->last_again = in->order;
    check_receive_max(l);
}

/* A new QoS 1 or 2 message. */
static void on_publish_new(struct line *l, const struct packet_publish *p, uint32_t message)
{
    struct actor *a = l->actor;

    for (uint32_t i = 0; i < a->in_count; i++) {
        if (a->in[i].again && !a->in[i].rec_taken && !a->in[i].may_vanish)
            WRONG(l, "a new message overtakes one that must come again", p->packet_id);
    }
    if (p->dup && !l->is_resumed)
        WRONG(l, "DUP on a message never sent before", p->packet_id);
    a->in = must_grow(a->in, a->in_count, &a->in_capacity, sizeof(struct incoming));
    a->in[a->in_count++] = (struct incoming){.packet_id = p->packet_id,
                                             .qos = p->qos,
                                             .message = message,
                                             .order = ++a->in_order,
                                             .session = l->session,
                                             .line = l};
    a->in[a->in_count - 1].may_vanish = has_vanished(l, &a->in[a->in_count - 1]);
    check_receive_max(l);
}

static void on_publish(struct line *l, const struct packet_publish *p)
{
    struct model *m = l->actor->all->model;
    struct m_delivery d = {.session = l->session, .qos = p->qos, .retain = p->retain};
    struct incoming *known = p->qos ? actor_incoming(l->actor, p->packet_id) : NULL;
    struct bytes rest = p->props.all;
    char topic[NAME_BYTES];
    uint32_t id;

    while (l->connect.is_v5 && d.id_count < 8 && props_next_subscription_id(&rest, &id))
        d.ids[d.id_count++] = id;
    if (!topic_of(l, p, topic) || !find_message(l, topic, p->payload, &d) ||
        strcmp(m->messages[d.message].topic, topic) != 0) {
        WRONG(l, "a message nobody has published", p->payload.n);
        return;
    }
    note(l->actor->all->sim,
         "actor %" PRIu32 " gets m%" PRIu32 " %s QoS %d%s%s id %d on wire %" PRIu32,
         l->actor->number, d.message, topic, p->qos, p->retain ? " retain" : "",
         p->dup ? " dup" : "", p->packet_id, l->wire->number);
    if (!model_allows(m, l->connect.user, RIGHT_READ, topic))
        WRONG(l, "a message that its user may not read", d.message);
    check_payload(l, p->payload, &m->messages[d.message], d.message);
    check_props(l, p, &m->messages[d.message], d.message);
    if (p->qos == 0 && p->dup)
        WRONG(l, "DUP with QoS 0", 0);
    if (known && known->may_vanish && (!p->dup || !is_same(m, known->message, d.message))) {
        actor_drop_incoming(l->actor, known);
        known = NULL;
    }
    if (known)
        on_publish_again(l, p, known, d.message);
    else if (p->qos)
        on_publish_new(l, p, d.message);
    if (!known && !l->is_refused)
        model_delivered(m, &d);
    if (p->qos)
        line_todo(l, p->qos == 1 ? PACKET_PUBACK : PACKET_PUBREC, p->packet_id);
}

/* ---- PUBACK, PUBREC, PUBREL, PUBCOMP ---- */

/* Acknowledgements of one kind come in the order of the messages [MQTT-4.6.0-2..3]. */
static bool is_oldest(const struct line *l, const struct outgoing *o)
{
    for (const struct outgoing *x = l->actor->out; x < o; x++) {
        if (x->qos == o->qos && x->state == OUT_SENT && !outgoing_is_early(x, l))
            return false;
    }
    return true;
}

/* A message without the right to it is acknowledged, with a reason where the protocol has one: then
 * all is said. Whether that settles it. */
static bool on_denied(struct line *l, const struct packet_ack *p, struct outgoing *o)
{
    const struct model *m = l->actor->all->model;
    bool is_denied = !o->was_taken && m->messages[o->message].is_denied;

    if (l->connect.is_v5 && is_denied != (p->reason == REASON_NOT_AUTHORIZED))
        WRONG(l, "PUBACK or PUBREC is wrong about authorization", p->reason);
    if (!is_denied)
        return false;
    note(l->actor->all->sim, "actor %" PRIu32 ": %d was denied", l->actor->number, p->packet_id);
    if (l->connect.is_v5 || o->qos == 1) {
        drop_outgoing(l->actor, o);
    } else {
        o->state = OUT_RECEIVED;
        line_todo(l, PACKET_PUBREL, p->packet_id);
    }
    return true;
}

static void on_acked(struct line *l, const struct packet_ack *p, uint8_t qos)
{
    struct actor *a = l->actor;
    struct outgoing *o = actor_outgoing(a, p->packet_id);

    if (!o || o->qos != qos || o->state != OUT_SENT || !o->taken_now) {
        WRONG(l, "PUBACK or PUBREC of nothing that waits for it", p->packet_id);
        return;
    }
    if (!is_oldest(l, o))
        WRONG(l, "PUBACK or PUBREC out of order", p->packet_id);
    if (on_denied(l, p, o))
        return;
    if (p->reason != 0 && p->reason != REASON_NO_MATCHING_SUBSCRIBERS)
        WRONG(l, "PUBACK or PUBREC refuses", p->reason);
    if (p->reason == REASON_NO_MATCHING_SUBSCRIBERS &&
        model_has_subscriber(a->all->model, qos == 2 ? o->first : o->message))
        WRONG(l, "0x10 although somebody has subscribed", p->packet_id);
    note(a->all->sim, "actor %" PRIu32 " gets %s %d", a->number, qos == 1 ? "PUBACK" : "PUBREC",
         p->packet_id);
    model_publish_acked(a->all->model, qos == 2 ? o->first : o->message);
    if (qos == 1) {
        drop_outgoing(a, o);
        return;
    }
    o->state = OUT_RECEIVED;
    line_todo(l, PACKET_PUBREL, p->packet_id);
}

static void on_pubcomp(struct line *l, const struct packet_ack *p)
{
    struct outgoing *o = actor_outgoing(l->actor, p->packet_id);

    note(l->actor->all->sim, "actor %" PRIu32 " gets PUBCOMP %d", l->actor->number, p->packet_id);
    if (!o || o->qos != 2 || o->state != OUT_RELEASED)
        WRONG(l, "PUBCOMP of nothing that waits for it", p->packet_id);
    else
        drop_outgoing(l->actor, o);
}

static void on_pubrel(struct line *l, const struct packet_ack *p)
{
    struct incoming *in = actor_incoming(l->actor, p->packet_id);

    note(l->actor->all->sim, "actor %" PRIu32 " gets PUBREL %d", l->actor->number, p->packet_id);
    if (!in && l->session->is_unknown) { /* of the life of the session that nobody followed */
        line_todo(l, PACKET_PUBCOMP, p->packet_id);
        return;
    }
    if (!in || in->qos != 2 || !in->rec_taken || (in->released && !in->again)) {
        WRONG(l, "PUBREL of nothing that waits for it", p->packet_id);
        return;
    }
    in->released = true;
    in->again = false;
    line_todo(l, PACKET_PUBCOMP, p->packet_id);
}

/* ---- SUBACK, UNSUBACK ---- */

static void check_reason(struct line *l, const struct request *r, uint32_t i, uint8_t reason)
{
    if (!r->is_unsubscribe && reason != r->filters[i].qos)
        WRONG(l, "SUBACK grants another QoS", reason);
    if (l->session->is_unknown)
        return;
    if (r->is_unsubscribe && reason != (r->had[i] ? 0 : REASON_NO_SUBSCRIPTION_EXISTED))
        WRONG(l, "UNSUBACK says whether there was one wrongly", reason);
}

static void on_suback(struct line *l, const struct packet_suback *p, bool is_unsubscribe)
{
    struct model *m = l->actor->all->model;
    struct request *r = l->requests, *end = l->requests + l->request_count;
    bool has_reasons = !is_unsubscribe || l->connect.is_v5;

    while (r < end && r->packet_id != p->packet_id)
        r++;
    if (r == end || r->is_unsubscribe != is_unsubscribe || !r->is_taken ||
        (has_reasons && p->reasons.n != r->count)) {
        WRONG(l, "SUBACK or UNSUBACK of nothing that waits for it", p->packet_id);
        return;
    }
    note(l->actor->all->sim, "actor %" PRIu32 " gets %s %d", l->actor->number,
         is_unsubscribe ? "UNSUBACK" : "SUBACK", p->packet_id);
    for (uint32_t i = 0; i < r->count; i++) {
        if (has_reasons)
            check_reason(l, r, i, p->reasons.p[i]);
        if (is_unsubscribe)
            model_unsubscribe_acked(m, l->session, r->subs[i]);
        else
            model_subscribe_acked(m, l->session, r->subs[i]);
    }
    memmove(r, r + 1, (size_t)(end - r - 1) * sizeof(*r));
    l->request_count--;
}

static void on_disconnect(struct line *l, const struct packet_disconnect *p)
{
    note(l->actor->all->sim, "actor %" PRIu32 " gets DISCONNECT 0x%02x on wire %" PRIu32,
         l->actor->number, p->reason, l->wire->number);
    if (!l->connect.is_v5)
        WRONG(l, "DISCONNECT to an MQTT 3 client", p->reason);
    else if (p->reason == REASON_SESSION_TAKEN_OVER && l != l->actor->line)
        l->told_over = true;
    else if (p->reason != REASON_KEEP_ALIVE_TIMEOUT || !l->keep_alive)
        WRONG(l, "DISCONNECT without a reason", p->reason);
    l->state = LINE_OVER;
}

/* ---- all packets ---- */

static void dispatch(struct line *l, const struct packet *p)
{
    switch (p->type) {
    case PACKET_PUBLISH:
        on_publish(l, &p->publish);
        break;
    case PACKET_PUBACK:
    case PACKET_PUBREC:
        on_acked(l, &p->ack, p->type == PACKET_PUBACK ? 1 : 2);
        break;
    case PACKET_PUBREL:
        on_pubrel(l, &p->ack);
        break;
    case PACKET_PUBCOMP:
        on_pubcomp(l, &p->ack);
        break;
    case PACKET_SUBACK:
    case PACKET_UNSUBACK:
        on_suback(l, &p->suback, p->type == PACKET_UNSUBACK);
        break;
    case PACKET_PINGRESP:
        if (l->pings-- == 0)
            WRONG(l, "PINGRESP without PINGREQ", 0);
        break;
    default:
        WRONG(l, "a packet no server sends", p->type);
    }
}

static void on_packet(struct line *l, const struct frame *f)
{
    enum reason why = REASON_SUCCESS;
    struct packet p;

    l->actor->all->sim->step++;
    if (packet_decode(f, l->actor->protocol, &p, &why) != OK) {
        WRONG(l, "a packet that cannot be decoded", why);
        return;
    }
    if (l->connect.packet_max && f->header_size + f->body.n > l->connect.packet_max)
        WRONG(l, "Maximum Packet Size is exceeded", f->header_size + f->body.n);
    if (p.type == PACKET_DISCONNECT)
        on_disconnect(l, &p.disconnect);
    else if (l->state == LINE_OPENING && p.type == PACKET_CONNACK)
        on_connack(l, &p.connack);
    else if (l->state == LINE_OPENING && !l->is_muted && l == l->actor->taken)
        WRONG(l, "something before CONNACK", p.type);
    else if (l->state == LINE_UP && !l->is_muted)
        dispatch(l, &p);
}

void line_received(struct line *l, struct bytes b)
{
    uint32_t done = 0, need;
    struct frame f;
    enum err e = OK;

    while (l->rx_count + b.n > l->rx_capacity) {
        l->rx_capacity = 2 * l->rx_capacity + b.n;
        l->rx = realloc(l->rx, l->rx_capacity);
        if (!l->rx)
            abort();
    }
    (void)bytes_put(l->rx + l->rx_count, b);
    l->rx_count += b.n;
    while (!l->is_refused && (e = frame_next(bytes_of(l->rx + done, l->rx_count - done), UINT32_MAX,
                                             &f, &need)) == OK) {
        on_packet(l, &f);
        done += f.header_size + f.body.n;
    }
    if (e != OK && e != ERR_MORE)
        WRONG(l, "bytes that are no packet", (uint32_t)e);
    l->rx_count -= done;
    memmove(l->rx, l->rx + done, l->rx_count);
}
