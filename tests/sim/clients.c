/* tests/sim/clients.c -- what simulated clients do, and what they learn from the world. */
#include "tests/sim/clients.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the broker took packets ---- */

/* A clean start: whatever earlier connections left behind is void. */
static void forget_session(struct line *l)
{
    struct actor *a = l->actor;
    uint32_t kept = 0;

    a->in_count = 0;
    for (uint32_t i = 0; i < a->out_count; i++) {
        if (a->out[i].line == l || outgoing_is_early(&a->out[i], l))
            a->out[kept++] = a->out[i];
    }
    a->out_count = kept;
    for (uint32_t i = 0; i < a->all->line_count; i++) {
        if (a->all->lines[i]->actor == a && a->all->lines[i] != l)
            a->all->lines[i]->is_muted = true;
    }
}

static struct request *find_request(struct line *l, uint16_t packet_id)
{
    for (uint32_t i = 0; i < l->request_count; i++) {
        if (l->requests[i].packet_id == packet_id)
            return &l->requests[i];
    }
    return NULL;
}

static void publish_taken(struct line *l, const struct sent *p, uint64_t now_ms)
{
    struct actor *a = l->actor;
    struct outgoing *o = actor_outgoing(a, p->packet_id);
    bool is_again = p->packet_id && o && o->qos == 2 && o->was_taken;

    note(a->all->sim, "m%" PRIu32 " is taken%s", p->message, is_again ? " again" : "");
    if (!is_again) /* QoS 2: only the first counts */
        model_publish_taken(a->all->model, p->message, l->connect.user, now_ms);
    if (p->packet_id && o) {
        if (!is_again)
            o->first = p->message;
        o->was_taken = is_again || !a->all->model->messages[p->message].is_denied;
        o->session = l->session;
        o->taken_now = true;
    }
}

static void request_taken(struct line *l, const struct sent *p)
{
    struct model *m = l->actor->all->model;
    struct request *r = find_request(l, p->packet_id);

    if (!r)
        return;
    note(l->actor->all->sim, "actor %" PRIu32 ": %s %d is taken", l->actor->number,
         r->is_unsubscribe ? "UNSUBSCRIBE" : "SUBSCRIBE", p->packet_id);
    r->is_taken = true;
    for (uint32_t i = 0; i < r->count; i++) {
        if (r->is_unsubscribe)
            r->subs[i] = model_unsubscribe_taken(m, l->session, &r->filters[i]);
        else
            r->subs[i] = model_subscribe_taken(m, l->session, &r->filters[i]);
        r->had[i] = r->subs[i] != NONE;
    }
}

static void answer_taken(struct line *l, const struct sent *p)
{
    struct incoming *in = actor_incoming(l->actor, p->packet_id);

    if (!in)
        return;
    if (p->type == PACKET_PUBREC)
        in->rec_taken = true;
    else if (p->type == PACKET_PUBACK || p->type == PACKET_PUBCOMP)
        actor_drop_incoming(l->actor, in);
}

static void connect_taken(struct line *l, uint64_t now_ms)
{
    struct clients *c = l->actor->all;

    note(c->sim, "actor %" PRIu32 ": CONNECT on wire %" PRIu32 " is taken", l->actor->number,
         l->wire->number);
    l->taken_step = c->sim->step;
    l->session = model_connect_taken(c->model, &l->connect, now_ms,
                                     world_timers_ran(c->world, l->wire->worker));
    if (l->connect.is_nameless && l != l->actor->line)
        return; /* given up; it takes the place of no other */
    l->actor->line = l->actor->taken = l;
    if (l->connect.clean_start)
        forget_session(l);
    else
        line_mark_vanishing(l);
}

static void disconnect_taken(struct line *l)
{
    l->bye_taken = true;
    if (l->has_bye_expiry && l->session)
        l->session->expiry_s = l->bye_expiry_s;
}

static void packet_taken(struct line *l, const struct sent *p, uint64_t now_ms)
{
    l->last_taken_ms = now_ms;
    switch (p->type) {
    case PACKET_CONNECT:
        connect_taken(l, now_ms);
        break;
    case PACKET_PUBLISH:
        publish_taken(l, p, now_ms);
        break;
    case PACKET_SUBSCRIBE:
    case PACKET_UNSUBSCRIBE:
        request_taken(l, p);
        break;
    case PACKET_DISCONNECT:
        disconnect_taken(l);
        break;
    default:
        answer_taken(l, p);
    }
}

static void on_taken(void *ctx, struct wire *k, uint64_t upto)
{
    struct clients *c = ctx;
    struct line *l = k->line;
    uint64_t now_ms = wire_now(c->world, k);

    while (l->sent_first < l->sent_count && l->sent[l->sent_first].end <= upto) {
        struct sent p = l->sent[l->sent_first++];

        c->sim->step++;
        packet_taken(l, &p, now_ms);
    }
}

/* The next packet did not fit into a mailbox. It has had no effect, but for one: a retained message
 * may be stored already. */
static void on_parked(void *ctx, struct wire *k)
{
    struct clients *c = ctx;
    const struct line *l = k->line;

    if (l->sent_first < l->sent_count && l->sent[l->sent_first].type == PACKET_PUBLISH)
        model_publish_parked(c->model, l->sent[l->sent_first].message, l->connect.user);
}

/* ---- connections end ---- */

static bool keepalive_is_over(const struct line *l, uint64_t now_ms)
{
    return l->keep_alive && now_ms >= l->last_taken_ms + l->keep_alive * 1500ull;
}

/* Another connection of this actor is under way, and its CONNECT may just have been taken. */
static bool has_rival(const struct line *l)
{
    const struct clients *c = l->actor->all;

    for (uint32_t i = 0; i < c->line_count; i++) {
        if (c->lines[i]->actor == l->actor && c->lines[i] != l && !c->lines[i]->session &&
            c->lines[i]->wire->state == WIRE_OPEN)
            return true;
    }
    return false;
}

/* Whether the broker had this reason to end the connection. */
static bool reason_is_right(const struct line *l, enum close_reason why, uint64_t now_ms)
{
    switch (why) {
    case CLOSE_CLIENT:
        return l->bye_taken;
    case CLOSE_EOF:
    case CLOSE_SOCKET_ERROR:
        return l->dropped;
    case CLOSE_TAKEN_OVER:
        return has_rival(l);
    case CLOSE_KEEPALIVE:
        return keepalive_is_over(l, now_ms);
    case CLOSE_CONNECT_TIMEOUT:
        return !l->session && now_ms >= l->opened_ms + CONNECT_TIMEOUT_DEFAULT;
    default:
        return false;
    }
}

static void on_ending(void *ctx, struct wire *k, enum close_reason why)
{
    struct clients *c = ctx;
    struct line *l = k->line;
    uint64_t now_ms = wire_now(c->world, k);

    /* No step of its own: those that end in one phase of a turn do so in any order. */
    note(c->sim, "wire %" PRIu32 " is ending: %s", k->number, close_reason_name(why));
    if (!reason_is_right(l, why, now_ms))
        differ(c->sim, "wire %" PRIu32 " of actor %" PRIu32 " was ended without reason: %s",
               k->number, l->actor->number, close_reason_name(why));
    model_line_ending(c->model, l, l->bye_taken && l->bye_is_clean, now_ms);
}

/* The newest connection came to nothing: an older one may still stand. */
static void go_back(struct actor *a)
{
    for (uint32_t i = 0; i < a->all->line_count; i++) {
        struct line *l = a->all->lines[i];

        if (l->actor == a && l->state == LINE_UP && l->session && l->session->line == l)
            a->line = l;
    }
}

static void on_closed(void *ctx, struct wire *k, enum close_reason why)
{
    struct clients *c = ctx;
    struct line *l = k->line;

    if (why == CLOSE_TAKEN_OVER && l->connect.is_v5 && l->state != LINE_OPENING && !l->dropped &&
        !l->was_stalled && !l->told_over)
        differ(c->sim, "wire %" PRIu32 " was taken over without DISCONNECT 0x8E", k->number);
    l->state = LINE_OVER;
    if (l == l->actor->line && !l->session)
        go_back(l->actor);
    model_line_closed(c->model, l, wire_now(c->world, k));
}

static void on_bytes(void *ctx, struct wire *k, struct bytes b)
{
    (void)ctx;
    line_received(k->line, b);
}

struct listener clients_listener(struct clients *c)
{
    return (struct listener){.ctx = c,
                             .taken = on_taken,
                             .parked = on_parked,
                             .ending = on_ending,
                             .bytes = on_bytes,
                             .closed = on_closed};
}

/* ---- beginning and end ---- */

void clients_init(struct clients *c, struct sim *sim, struct model *model)
{
    static const enum protocol protocols[] = {MQTT_31, MQTT_311, MQTT_311, MQTT_5, MQTT_5, MQTT_5};

    memset(c, 0, sizeof(*c));
    c->sim = sim;
    c->model = model;
    c->actor_count = 2 + draw(sim, 7);
    for (uint32_t i = 0; i < c->actor_count; i++) {
        struct actor *a = &c->actors[i];

        a->all = c;
        a->number = i;
        a->protocol = protocols[draw(sim, 6)];
        if (a->protocol == MQTT_31 || chance(sim, 90))
            snprintf(a->id, sizeof(a->id), "actor-%" PRIu32 "-%" PRIu32, i, draw(sim, 1000));
        if (sim->opt.acl)
            a->user = draw(sim, USERS);
    }
}

void clients_fini(struct clients *c)
{
    for (uint32_t i = 0; i < c->line_count; i++) {
        free(c->lines[i]->sent);
        free(c->lines[i]->todo);
        free(c->lines[i]->requests);
        free(c->lines[i]->rx);
        free(c->lines[i]);
    }
    for (uint32_t i = 0; i < c->actor_count; i++) {
        free(c->actors[i].out);
        free(c->actors[i].in);
    }
    free(c->lines);
}

/* ---- what a client does ---- */

/* A connection just opened may be used before CONNACK, if nothing depends on what it says. */
static void act_early(struct line *l)
{
    if (!l->connect.clean_start || chance(l->actor->all->sim, 70))
        return;
    if (chance(l->actor->all->sim, 50))
        line_subscribe(l);
    if (l->actor->line == l && l->actor->out_count == 0)
        line_publish(l);
}

static void act_offline(struct actor *a)
{
    if (chance(a->all->sim, 20))
        return;
    line_connect(a, true, false);
    act_early(a->line);
}

/* A second connection takes the place of this one. */
static void act_take_over(struct actor *a)
{
    if (!a->id[0] || !a->all->sim->opt.sessions)
        return;
    line_connect(a, true, false);
}

static void act_stall(struct line *l)
{
    l->wire->stalled = !l->wire->stalled;
    l->was_stalled = true;
}

static void act_up(struct line *l)
{
    struct sim *s = l->actor->all->sim;
    uint32_t what = draw(s, 100);

    if (what < 40) {
        for (uint32_t n = draw(s, 6); n > 0 && line_answer(l);)
            n--;
    } else if (what < 72) {
        for (uint32_t n = 1 + draw(s, 4); n > 0; n--)
            line_publish(l);
    } else if (what < 83) {
        line_subscribe(l);
    } else if (what < 88) {
        line_unsubscribe(l);
    } else if (what < 91) {
        line_ping(l);
    } else if (what < 93) {
        line_disconnect(l, chance(s, 70));
    } else if (what < 95) {
        line_drop(l);
    } else if (what < 97) {
        act_take_over(l->actor);
    } else {
        act_stall(l);
    }
}

void clients_act(struct clients *c)
{
    struct actor *a = &c->actors[draw(c->sim, c->actor_count)];
    struct line *l = a->line;

    c->sim->step++;
    if (!l || l->state == LINE_OVER) {
        act_offline(a);
    } else if (l->said_bye) {
        if (chance(c->sim, 10))
            line_drop(l); /* MQTT lets the client close after DISCONNECT */
    } else if (l->state == LINE_OPENING) {
        if (chance(c->sim, 3))
            line_drop(l);
        else if (chance(c->sim, 3))
            act_take_over(a);
    } else {
        act_up(l);
    }
}

/* ---- rest ---- */

/* Everybody answers all that is to be answered. Whether anybody had to. */
static bool answer_all(struct clients *c)
{
    bool any = false;

    for (uint32_t i = 0; i < c->line_count; i++) {
        struct line *l = c->lines[i];

        while (l->state == LINE_UP && !l->is_muted && !l->said_bye && line_answer(l))
            any = true;
    }
    return any;
}

/* What a connection was too small for is gone by now. */
static void forget_vanished(struct clients *c)
{
    for (uint32_t i = 0; i < c->actor_count; i++) {
        struct actor *a = &c->actors[i];

        for (uint32_t j = a->in_count; j-- > 0 && a->line && a->line->state == LINE_UP;) {
            if (a->in[j].may_vanish && a->in[j].again)
                actor_drop_incoming(a, &a->in[j]);
        }
    }
}

static void check_line(struct clients *c, const struct line *l)
{
    uint32_t n = l->actor->number;

    if (l->state == LINE_OVER) {
        if (l->wire->state != WIRE_GONE)
            differ(c->sim, "wire %" PRIu32 " of actor %" PRIu32 " was never closed",
                   l->wire->number, n);
        return;
    }
    if (l->said_bye)
        differ(c->sim, "actor %" PRIu32 " said DISCONNECT and is still connected", n);
    else if (l->session && l->session->line != l)
        differ(c->sim, "actor %" PRIu32 " was taken over and is still connected", n);
    else if (l->state == LINE_OPENING)
        differ(c->sim, "actor %" PRIu32 " never got CONNACK", n);
    else if (l->request_count)
        differ(c->sim, "actor %" PRIu32 " never got SUBACK or UNSUBACK %d", n,
               l->requests[0].packet_id);
    else if (l->pings)
        differ(c->sim, "actor %" PRIu32 " never got PINGRESP", n);
    else if (l->actor->out_count)
        differ(c->sim, "actor %" PRIu32 " never got the acknowledgement of %d", n,
               l->actor->out[0].packet_id);
    else if (l->actor->in_count)
        differ(c->sim, "actor %" PRIu32 ": packet id %d never came again, or PUBREL is missing", n,
               l->actor->in[0].packet_id);
    else if (l->keep_alive &&
             c->sim->now_ms > l->last_taken_ms + l->keep_alive * 1500ull * 65 / 64 + 1000)
        differ(c->sim, "actor %" PRIu32 " is silent for longer than its keep alive", n);
}

static void check_gauge(struct clients *c, const char *name, uint64_t is, uint64_t must)
{
    if (is != must)
        differ(c->sim, "gauge %s is %" PRIu64 ", must be %" PRIu64, name, is, must);
}

static void check_gauges(struct clients *c)
{
    struct m_gauges g;

    if (c->sim->failed || !model_gauges(c->model, &g))
        return;
    check_gauge(c, "clients_connected", WORLD_STAT(c->world, clients_connected), g.clients);
    check_gauge(c, "sessions", WORLD_STAT(c->world, sessions), g.sessions);
    check_gauge(c, "sessions_offline", WORLD_STAT(c->world, sessions_offline),
                g.sessions - g.clients);
    check_gauge(c, "subscriptions", WORLD_STAT(c->world, subscriptions), g.subscriptions);
    check_gauge(c, "shared_subscriptions", WORLD_STAT(c->world, shared_subscriptions),
                g.shared_subscriptions);
    check_gauge(c, "retained", WORLD_STAT(c->world, retained), g.retained);
}

void clients_rest(struct clients *c)
{
    uint32_t rounds = 0;

    note(c->sim, "rest");
    for (uint32_t i = 0; i < c->line_count; i++)
        c->lines[i]->wire->stalled = false;
    do {
        if (!world_rest(c->world))
            differ(c->sim, "the broker never comes to rest");
    } while (answer_all(c) && ++rounds < 2000 && !c->sim->failed);
    if (!c->sim->failed)
        world_poke(c->world);
    forget_vanished(c);
    for (uint32_t i = 0; i < c->line_count && !c->sim->failed; i++)
        check_line(c, c->lines[i]);
    if (!c->sim->failed)
        model_rest(c->model);
    check_gauges(c);
}

void clients_new_rights(struct clients *c, bool is_none)
{
    const char *mount = c->sim->opt.mount ? MOUNT_POINT : "";
    char text[RIGHTS_TEXT_BYTES];
    struct rights r = {.is_none = true};

    if (!is_none)
        rights_draw(c->sim, &r);
    rights_text(&r, mount, text);
    note(c->sim, "%s", r.is_none ? "no ACL" : "an ACL");
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
        note(c->sim, "    %s", line);
    rights_text(&r, mount, text);
    model_set_rights(c->model, &r);
    world_set_acl(c->world, r.is_none ? NULL : text);
}

/* ---- the end of a seed ---- */

static bool is_up(const struct actor *a)
{
    return a->line && a->line->state == LINE_UP && !a->line->said_bye;
}

static void everybody(struct clients *c, bool connects, bool may_resume)
{
    for (uint32_t i = 0; i < c->actor_count; i++) {
        struct actor *a = &c->actors[i];

        if (!connects && is_up(a))
            line_disconnect(a->line, true);
        else if (connects && !is_up(a))
            line_connect(a, may_resume, true);
    }
    clients_rest(c);
}

static void delete_all_retained(struct clients *c)
{
    struct model *m = c->model;
    uint32_t count = m->message_count;

    for (uint32_t i = 0; i < count; i++) {
        bool seen = false;
        char topic[NAME_BYTES];

        for (uint32_t j = 0; j < i && !seen; j++)
            seen = m->messages[j].retain && strcmp(m->messages[j].topic, m->messages[i].topic) == 0;
        if (seen || !m->messages[i].retain || !model_may_be_retained(m, m->messages[i].topic))
            continue;
        memcpy(topic, m->messages[i].topic, NAME_BYTES);
        line_delete_retained(c->actors[0].line, topic);
    }
    clients_rest(c);
}

static void check_empty(struct clients *c)
{
    check_gauge(c, "clients_connected", WORLD_STAT(c->world, clients_connected), 0);
    check_gauge(c, "sessions", WORLD_STAT(c->world, sessions), 0);
    check_gauge(c, "subscriptions", WORLD_STAT(c->world, subscriptions), 0);
    check_gauge(c, "shared_subscriptions", WORLD_STAT(c->world, shared_subscriptions), 0);
    check_gauge(c, "retained", WORLD_STAT(c->world, retained), 0);
    check_gauge(c, "retained_bytes", WORLD_STAT(c->world, retained_bytes), 0);
    check_gauge(c, "queued_messages", WORLD_STAT(c->world, queued_messages), 0);
    check_gauge(c, "inflight_messages", WORLD_STAT(c->world, inflight_messages), 0);
    check_gauge(c, "message_bytes_held", WORLD_STAT(c->world, message_bytes_held), 0);
}

void clients_finish(struct clients *c)
{
    everybody(c, true, true);   /* what waits for them comes now */
    everybody(c, false, false); /* no will is left */
    if (!c->sim->failed)
        everybody(c, true, false); /* a clean start ends the sessions */
    if (!c->sim->failed && c->sim->opt.acl)
        clients_new_rights(c, true);
    if (!c->sim->failed)
        delete_all_retained(c);
    if (!c->sim->failed)
        everybody(c, false, false);
    if (!c->sim->failed)
        check_empty(c);
}
