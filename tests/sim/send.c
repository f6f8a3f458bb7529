/* tests/sim/send.c -- what simulated clients write: every packet of the client role, with the
 * choices in it drawn from the seed.
 */
#include "tests/sim/clients.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct sim *sim_of(const struct line *l)
{
    return l->actor->all->sim;
}

/* Puts a packet on the wire and remembers where it ends. */
static void line_write(struct line *l, const uint8_t *p, uint32_t n, struct sent what)
{
    wire_write(l->actor->all->world, l->wire, p, n);
    what.end = l->wire->written;
    l->sent = must_grow(l->sent, l->sent_count, &l->sent_capacity, sizeof(struct sent));
    l->sent[l->sent_count++] = what;
}

/* ---- drawing ---- */

/* A topic of one to four levels over a small alphabet; sometimes hidden by `$`, which hides nothing
 * below a mount point. */
static void draw_topic(struct sim *s, char *to)
{
    static const char *const levels[] = {"a", "b", "a", "b", "a", "b", "a", "b", ""};
    uint32_t depth = 1 + draw(s, 4);

    to[0] = '\0';
    for (uint32_t i = 0; i < depth; i++) {
        if (i)
            strcat(to, "/");
        if (i == 0)
            strcat(to, chance(s, 8) ? (s->opt.mount ? "x" : "$x") : draw(s, 2) ? "a" : "b");
        else
            strcat(to, levels[draw(s, 9)]);
    }
}

static void draw_filter(struct sim *s, char *to)
{
    static const char *const levels[] = {"a", "b", "+", "a", "b", "+", "a", "b", ""};
    uint32_t depth = 1 + draw(s, 4);

    to[0] = '\0';
    for (uint32_t i = 0; i < depth; i++) {
        if (i)
            strcat(to, "/");
        if (i == depth - 1 && chance(s, 35)) {
            strcat(to, "#");
            break;
        }
        if (i == 0)
            strcat(to, chance(s, 8) ? "$x" : levels[draw(s, 8)]);
        else
            strcat(to, levels[draw(s, 9)]);
    }
}

static uint8_t draw_qos(struct sim *s)
{
    return s->opt.qos12 ? (uint8_t)draw(s, 3) : 0;
}

static void draw_request(struct line *l, struct m_filter *f)
{
    struct sim *s = sim_of(l);

    memset(f, 0, sizeof(*f));
    draw_filter(s, f->filter);
    if (s->opt.share && chance(s, 20))
        strcpy(f->group, draw(s, 2) ? "g" : "h");
    f->qos = draw_qos(s);
    if (l->connect.is_v5) {
        f->no_local = !f->group[0] && chance(s, 15);
        f->retain_as_published = chance(s, 30);
        f->retain_handling = (uint8_t)(chance(s, 60) ? 0 : draw(s, 3));
    }
}

/* Sizes around what travels by value and what is shared. */
static uint32_t draw_payload_count(struct sim *s)
{
    switch (draw(s, 12)) {
    case 0:
        return 400 + draw(s, 200);
    case 1:
        return 1000 + draw(s, 3000);
    default:
        return 8 + draw(s, 30);
    }
}

/* ---- packet ids ---- */

struct outgoing *actor_outgoing(struct actor *a, uint16_t packet_id)
{
    for (uint32_t i = 0; i < a->out_count; i++) {
        if (a->out[i].packet_id == packet_id)
            return &a->out[i];
    }
    return NULL;
}

bool outgoing_is_early(const struct outgoing *o, const struct line *l)
{
    const struct line *from = o->line;

    return from != l && !from->session && !from->dropped;
}

static bool id_is_free(struct line *l, uint16_t id)
{
    for (uint32_t i = 0; i < l->request_count; i++) {
        if (l->requests[i].packet_id == id)
            return false;
    }
    return id != 0 && !actor_outgoing(l->actor, id);
}

/* A packet id that is not in use; small ones are used again soon. */
static uint16_t fresh_id(struct line *l)
{
    uint16_t id = l->actor->last_id;

    do
        id = (uint16_t)(id % 50 + 1);
    while (!id_is_free(l, id) && id != l->actor->last_id);
    while (!id_is_free(l, id))
        id++;
    l->actor->last_id = id;
    return id;
}

/* ---- PUBLISH ---- */

void payload_write(uint8_t *to, uint32_t count, uint32_t message)
{
    char head[16];
    int n = snprintf(head, sizeof(head), "m%" PRIu32 ".", message);

    for (uint32_t i = 0; i < count; i++)
        to[i] = i < (uint32_t)n ? (uint8_t)head[i] : (uint8_t)('a' + (message + i) % 26);
}

/* A user property `n` with the number of the message; returns its bytes. */
static uint32_t note_write(uint8_t *to, uint32_t message)
{
    char text[16];
    uint32_t n = (uint32_t)snprintf(text, sizeof(text), "%" PRIu32, message);

    memcpy(to, "\x26\0\1n", 4);
    to[4] = 0;
    to[5] = (uint8_t)n;
    memcpy(to + 6, text, n);
    return 6 + n;
}

/* Sends the topic by its alias, if one is free to use and luck has it. */
static void choose_alias(struct line *l, struct publish_out *p, const char *topic)
{
    uint32_t max = l->broker_alias_max < ALIASES ? l->broker_alias_max : ALIASES - 1;

    if (!max || chance(sim_of(l), 50))
        return;
    p->topic_alias = (uint16_t)(1 + draw(sim_of(l), max));
    if (strcmp(l->aliases_out[p->topic_alias], topic) == 0)
        p->topic = (struct bytes){0};
    strcpy(l->aliases_out[p->topic_alias], topic);
}

/* Writes one PUBLISH of a message the model knows. */
static void publish_write(struct line *l, uint32_t message, uint16_t packet_id, bool dup)
{
    const struct m_message m = l->actor->all->model->messages[message];
    struct publish_out p = {.qos = m.qos,
                            .dup = dup,
                            .retain = m.retain,
                            .packet_id = packet_id,
                            .topic = bytes_str(m.topic),
                            .has_expiry = m.expiry_s != 0,
                            .message_expiry = m.expiry_s};
    uint8_t props[32], *payload = must_alloc(m.payload_count), *packet, *at;
    uint32_t header, size;

    payload_write(payload, m.payload_count, message);
    p.payload = bytes_of(payload, m.payload_count);
    if (m.has_note)
        p.props = bytes_of(props, note_write(props, message));
    if (l->connect.is_v5)
        choose_alias(l, &p, m.topic);
    size = publish_size(l->actor->protocol, &p, &header);
    packet = must_alloc(size);
    at = publish_put_header(packet, l->actor->protocol, &p);
    at = bytes_put(at, p.payload);
    if ((uint32_t)(at - packet) != size)
        differ(sim_of(l), "publish_size says %" PRIu32 ", written %td", size, at - packet);
    note(sim_of(l),
         "actor %" PRIu32 " publishes m%" PRIu32 " %s QoS %d%s%s id %d, %" PRIu32 " bytes",
         l->actor->number, message, m.topic, m.qos, m.retain ? " retain" : "", dup ? " dup" : "",
         packet_id, m.payload_count);
    line_write(l, packet, size,
               (struct sent){.type = PACKET_PUBLISH, .packet_id = packet_id, .message = message});
    free(packet);
    free(payload);
}

static void publish_message_of(struct line *l, const struct m_message *msg)
{
    uint32_t message = model_message(l->actor->all->model, msg);
    struct actor *a = l->actor;
    uint16_t id = 0;

    if (msg->qos) {
        id = fresh_id(l);
        a->out = must_grow(a->out, a->out_count, &a->out_capacity, sizeof(struct outgoing));
        a->out[a->out_count++] = (struct outgoing){
            .packet_id = id, .qos = msg->qos, .message = message, .first = message, .line = l};
    }
    publish_write(l, message, id, false);
}

void line_publish(struct line *l)
{
    struct sim *s = sim_of(l);
    struct m_message msg = {.publisher = l->who};

    draw_topic(s, msg.topic);
    msg.qos = draw_qos(s);
    if (l->actor->out_count >= l->broker_receive_max)
        msg.qos = 0;
    msg.payload_count = draw_payload_count(s);
    msg.retain = s->opt.retained && chance(s, 25);
    if (msg.retain && chance(s, 25)) {
        msg.is_deletion = true;
        msg.payload_count = 0;
    }
    if (l->connect.is_v5 && !msg.is_deletion) {
        msg.has_note = chance(s, 20);
        msg.expiry_s = chance(s, 8) ? 1 + draw(s, 30) : 0;
    }
    publish_message_of(l, &msg);
}

void line_delete_retained(struct line *l, const char *topic)
{
    struct m_message msg = {.publisher = l->who, .retain = true, .is_deletion = true};

    strcpy(msg.topic, topic);
    publish_message_of(l, &msg);
}

/* ---- answers ---- */

void line_todo(struct line *l, enum packet_type type, uint16_t packet_id)
{
    l->todo = must_grow(l->todo, l->todo_count, &l->todo_capacity, sizeof(struct todo));
    l->todo[l->todo_count++] = (struct todo){.type = type, .packet_id = packet_id};
}

static void ack_write(struct line *l, enum packet_type type, uint16_t packet_id)
{
    uint8_t b[ACK_BYTES_MAX];
    uint8_t *end = ack_put(b, l->actor->protocol, type, packet_id, 0, (struct bytes){0});

    note(sim_of(l), "actor %" PRIu32 " writes %s %d", l->actor->number,
         type == PACKET_PUBACK   ? "PUBACK"
         : type == PACKET_PUBREC ? "PUBREC"
         : type == PACKET_PUBREL ? "PUBREL"
                                 : "PUBCOMP",
         packet_id);
    line_write(l, b, (uint32_t)(end - b), (struct sent){.type = type, .packet_id = packet_id});
}

bool line_answer(struct line *l)
{
    struct todo t;

    if (l->todo_first == l->todo_count)
        return false;
    t = l->todo[l->todo_first++];
    if (t.type == PACKET_PUBREL && actor_outgoing(l->actor, t.packet_id))
        actor_outgoing(l->actor, t.packet_id)->state = OUT_RELEASED;
    ack_write(l, t.type, t.packet_id);
    return true;
}

void line_send_again(struct line *l)
{
    struct actor *a = l->actor;

    for (uint32_t i = 0; i < a->out_count; i++) {
        struct outgoing *o = &a->out[i];

        if (outgoing_is_early(o, l))
            continue;
        o->taken_now = false;
        if (o->state != OUT_SENT) {
            o->state = OUT_RELEASED;
            ack_write(l, PACKET_PUBREL, o->packet_id);
            continue;
        }
        /* The broker cannot see that the copy has another payload, but the model can. */
        if (o->was_taken) {
            struct m_message copy = a->all->model->messages[o->message];

            o->message = model_message(a->all->model, &copy);
        }
        publish_write(l, o->message, o->packet_id, true);
    }
}

/* ---- SUBSCRIBE, UNSUBSCRIBE ---- */

static void filter_text(const struct m_filter *f, char *to)
{
    to[0] = '\0';
    if (f->group[0])
        sprintf(to, "$share/%s/", f->group);
    strcat(to, f->filter);
}

static struct request *request_new(struct line *l, bool is_unsubscribe)
{
    struct request *r;

    l->requests =
        must_grow(l->requests, l->request_count, &l->request_capacity, sizeof(struct request));
    r = &l->requests[l->request_count];
    memset(r, 0, sizeof(*r));
    r->packet_id = fresh_id(l);
    r->is_unsubscribe = is_unsubscribe;
    l->request_count++;
    return r;
}

static bool request_has(const struct request *r, const struct m_filter *f)
{
    for (uint32_t i = 0; i < r->count; i++) {
        if (strcmp(r->filters[i].filter, f->filter) == 0 &&
            strcmp(r->filters[i].group, f->group) == 0)
            return true;
    }
    return false;
}

/* Adds a filter unless the same packet has it already. */
static void request_add(struct request *r, const struct m_filter *f)
{
    if (!request_has(r, f))
        r->filters[r->count++] = *f;
}

void line_subscribe(struct line *l)
{
    struct sim *s = sim_of(l);
    struct request *r = request_new(l, false);
    struct filter_request f[FILTERS_MAX];
    char text[FILTERS_MAX][2 * NAME_BYTES];
    uint32_t id = l->connect.is_v5 && chance(s, 50) ? 1 + draw(s, 300) : 0;
    uint32_t n = 1 + draw(s, FILTERS_MAX), size;
    uint8_t *packet, *end;

    for (uint32_t i = 0; i < n; i++) {
        struct m_filter one;

        draw_request(l, &one);
        one.id = id;
        request_add(r, &one);
    }
    for (uint32_t i = 0; i < r->count; i++) {
        filter_text(&r->filters[i], text[i]);
        f[i] = (struct filter_request){.filter = bytes_str(text[i]),
                                       .qos = r->filters[i].qos,
                                       .no_local = r->filters[i].no_local,
                                       .retain_as_published = r->filters[i].retain_as_published,
                                       .retain_handling = r->filters[i].retain_handling};
        note(s, "actor %" PRIu32 " subscribes %s QoS %d%s%s rh %d sid %" PRIu32 " id %d",
             l->actor->number, text[i], f[i].qos, f[i].no_local ? " nl" : "",
             f[i].retain_as_published ? " rap" : "", f[i].retain_handling, id, r->packet_id);
    }
    size = subscribe_size(l->actor->protocol, f, r->count, id);
    packet = must_alloc(size);
    end = subscribe_put(packet, l->actor->protocol, r->packet_id, f, r->count, id);
    if ((uint32_t)(end - packet) != size)
        differ(s, "subscribe_size says %" PRIu32 ", written %td", size, end - packet);
    line_write(l, packet, size, (struct sent){.type = PACKET_SUBSCRIBE, .packet_id = r->packet_id});
    free(packet);
}

void line_unsubscribe(struct line *l)
{
    struct sim *s = sim_of(l);
    struct request *r = request_new(l, true);
    struct bytes filters[FILTERS_MAX];
    char text[FILTERS_MAX][2 * NAME_BYTES];
    uint32_t n = 1 + draw(s, FILTERS_MAX), size;
    uint8_t *packet;

    for (uint32_t i = 0; i < n; i++) {
        struct m_filter f;

        if (l->session && l->session->sub_count && chance(s, 80))
            f = l->session->subs[draw(s, l->session->sub_count)].f;
        else
            draw_request(l, &f);
        request_add(r, &f);
    }
    for (uint32_t i = 0; i < r->count; i++) {
        filter_text(&r->filters[i], text[i]);
        filters[i] = bytes_str(text[i]);
        note(s, "actor %" PRIu32 " unsubscribes %s id %d", l->actor->number, text[i], r->packet_id);
    }
    size = unsubscribe_size(l->actor->protocol, filters, r->count);
    packet = must_alloc(size);
    (void)unsubscribe_put(packet, l->actor->protocol, r->packet_id, filters, r->count);
    line_write(l, packet, size,
               (struct sent){.type = PACKET_UNSUBSCRIBE, .packet_id = r->packet_id});
    free(packet);
}

/* ---- CONNECT, PINGREQ, DISCONNECT ---- */

static void draw_will(struct line *l, struct connect_out *c, struct m_message *will)
{
    struct sim *s = sim_of(l);

    draw_topic(s, will->topic);
    will->publisher = l->who;
    will->payload_count = draw_payload_count(s);
    will->is_will = true;
    will->qos = draw_qos(s);
    will->retain = s->opt.retained && chance(s, 25);
    c->has_will = true;
    c->will_retain = will->retain;
    c->will_qos = will->qos;
    c->will_topic = bytes_str(will->topic);
    if (l->connect.is_v5 && chance(s, 50))
        c->will_delay = 1 + draw(s, 15);
}

/* How long the session is to last after the connection, seconds. */
static uint32_t draw_expiry(struct sim *s)
{
    switch (draw(s, 4)) {
    case 0:
        return 0;
    case 1:
        return 1 + draw(s, 20);
    case 2:
        return 300;
    default:
        return NONE;
    }
}

static void draw_connect(struct line *l, struct connect_out *c, bool may_resume, bool is_plain)
{
    static const uint16_t keep_alives[] = {0, 0, 60, 600, 5};
    struct sim *s = sim_of(l);
    bool has_session = may_resume && l->actor->id[0] && s->opt.sessions;

    c->protocol = l->actor->protocol;
    c->client_id = bytes_str(l->actor->id);
    c->clean_start = !has_session || (!is_plain && chance(s, 25));
    c->keep_alive = is_plain ? 0 : keep_alives[draw(s, 5)];
    l->connect.is_v5 = c->protocol == MQTT_5;
    if (!l->connect.is_v5) {
        l->connect.expiry_s = c->clean_start ? 0 : NONE;
    } else {
        l->connect.expiry_s = has_session && !is_plain ? draw_expiry(s) : has_session ? 300 : 0;
        c->has_session_expiry = l->connect.expiry_s != 0;
        c->session_expiry = l->connect.expiry_s;
        c->receive_maximum = (uint16_t)(chance(s, 50) ? 0 : 1 + draw(s, 5));
        c->maximum_packet_size = is_plain || chance(s, 90) ? 0 : 60 + draw(s, 300);
        c->topic_alias_maximum = (uint16_t)draw(s, 4);
    }
    if (s->opt.acl) {
        l->connect.user = chance(s, 85) ? l->actor->user : draw(s, USERS);
        if (user_name(l->connect.user))
            c->username = bytes_str(user_name(l->connect.user));
    }
    l->connect.clean_start = c->clean_start;
    l->connect.is_nameless = l->actor->id[0] == '\0';
    l->connect.packet_max = c->maximum_packet_size;
    l->keep_alive = c->keep_alive;
    l->receive_max = c->receive_maximum ? c->receive_maximum : 65535;
    l->alias_max = c->topic_alias_maximum;
}

static struct line *line_new(struct actor *a)
{
    struct clients *all = a->all;
    struct line *l = must_alloc(sizeof(*l));

    l->actor = a;
    l->wire = wire_open(all->world, l);
    l->opened_ms = all->sim->now_ms;
    l->connect.actor = a->number;
    l->connect.line = l;
    l->who = l->connect.who = a->id[0] ? a->number : 1000 + all->line_count;
    l->connect.will = NONE;
    l->broker_receive_max = (uint16_t)world_limits(all->world)->receive_maximum;
    all->lines = must_grow(all->lines, all->line_count, &all->line_capacity, sizeof(struct line *));
    all->lines[all->line_count++] = l;
    a->line = l;
    return l;
}

void line_connect(struct actor *a, bool may_resume, bool is_plain)
{
    struct line *l = line_new(a);
    struct sim *s = a->all->sim;
    struct connect_out c = {0};
    struct m_message will = {0};
    uint8_t *payload = NULL, *packet;
    uint32_t size;

    draw_connect(l, &c, may_resume, is_plain);
    if (!is_plain && s->opt.wills && chance(s, 40)) {
        draw_will(l, &c, &will);
    }
    if (c.has_will && !model_allows(a->all->model, l->connect.user, RIGHT_WRITE, will.topic))
        c.has_will = false; /* CONNECT would be refused */
    if (c.has_will) {
        l->connect.will = model_message(a->all->model, &will);
        l->connect.will_delay_s = c.will_delay;
        payload = must_alloc(will.payload_count);
        payload_write(payload, will.payload_count, l->connect.will);
        c.will_payload = bytes_of(payload, will.payload_count);
    }
    size = connect_size(&c);
    packet = must_alloc(size);
    (void)connect_put(packet, &c);
    note(s,
         "actor %" PRIu32 " '%s' connects, wire %" PRIu32 ", v%d%s expiry %" PRId32
         " rm %d pmax %" PRIu32 " ka %d",
         a->number, a->id, l->wire->number, (int)a->protocol, c.clean_start ? " clean" : "",
         (int32_t)l->connect.expiry_s, l->receive_max, l->connect.packet_max, l->keep_alive);
    if (c.has_will)
        note(s, "    with will m%" PRIu32 " %s QoS %d%s delay %" PRIu32, l->connect.will,
             will.topic, will.qos, will.retain ? " retain" : "", c.will_delay);
    line_write(l, packet, size, (struct sent){.type = PACKET_CONNECT});
    free(packet);
    free(payload);
}

void line_ping(struct line *l)
{
    uint8_t b[2];

    (void)pingreq_put(b);
    l->pings++;
    line_write(l, b, 2, (struct sent){.type = PACKET_PINGREQ});
}

/* DISCONNECT, sometimes with another session expiry [MQTT-3.14.2-2]. */
void line_disconnect(struct line *l, bool is_clean)
{
    uint8_t b[16] = {0xE0, 0}, *end = b + 2;
    uint8_t reason = is_clean ? REASON_SUCCESS : REASON_DISCONNECT_WITH_WILL;

    if (l->connect.is_v5)
        end = disconnect_put(b, reason, (struct bytes){0});
    if (l->connect.is_v5 && l->connect.expiry_s && chance(sim_of(l), 25)) {
        l->has_bye_expiry = true;
        l->bye_expiry_s = draw_expiry(sim_of(l));
        memcpy(b, "\xE0\7\0\5\x11", 5);
        b[2] = reason;
        end = put_be32(b + 5, l->bye_expiry_s);
    }
    l->said_bye = true;
    l->bye_is_clean = is_clean || !l->connect.is_v5;
    note(sim_of(l), "actor %" PRIu32 " disconnects wire %" PRIu32 "%s", l->actor->number,
         l->wire->number, l->bye_is_clean ? "" : " with will");
    line_write(l, b, (uint32_t)(end - b), (struct sent){.type = PACKET_DISCONNECT});
}

void line_drop(struct line *l)
{
    bool reset = chance(sim_of(l), 50);

    note(sim_of(l), "actor %" PRIu32 " drops wire %" PRIu32 "%s", l->actor->number, l->wire->number,
         reset ? " at once" : "");
    l->dropped = true;
    l->state = LINE_OVER;
    wire_hang_up(l->actor->all->world, l->wire, reset);
}
