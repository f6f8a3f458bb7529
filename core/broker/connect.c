/* core/broker/connect.c -- CONNECT: who is it, may it, which session. How it leaves that session
 * again: sessions.c.
 */
#include <stdlib.h>

#include "core/base/check.h"
#include "core/broker/state.h"
#include "core/mqtt/topic.h"
#include "core/policy/acl_claim.h"

/* What MQTT 3 says for a reason of MQTT 5. */
static uint8_t return_code(enum reason reason)
{
    switch (reason) {
    case REASON_SUCCESS:
        return 0;
    case REASON_UNSUPPORTED_PROTOCOL_VERSION:
        return 1;
    case REASON_CLIENT_ID_NOT_VALID:
        return 2;
    case REASON_BAD_USER_NAME_OR_PASSWORD:
        return 4;
    case REASON_NOT_AUTHORIZED:
    case REASON_TOPIC_NAME_INVALID:
        return 5;
    default:
        return 3;
    }
}

static void send_connack(struct client *c, struct connack_out *o)
{
    enum protocol protocol = (enum protocol)c->protocol;
    uint8_t *to;

    if (protocol != MQTT_5)
        o->reason = return_code((enum reason)o->reason);
    if (protocol == MQTT_31)
        o->session_present = false; /* reserved there */
    to = client_room(c, connack_size(protocol, o));
    if (to)
        connack_put(to, protocol, o);
}

/* One line with the address, for those who watch for guessers. */
static void log_refused(const struct client *c, const struct packet_connect *p,
                        enum close_reason why)
{
    const struct shard *s = c->stream.shard;
    struct log_event e = {.level = 5,
                          .event = "client refused",
                          .client = p->client_id,
                          .user = p->username,
                          .peer = c->peer,
                          .reason = close_reason_name(why),
                          .detail = c->admission ? c->admission->why : NULL};

    if (s->hooks.log)
        s->hooks.log(s->hooks.net, &e);
}

/* Tells the net of a client that was refused for `reason`, if it has not proven who it is. One that
 * has, and may not what it wants, is no guesser. */
static void note_failure(const struct client *c, const struct packet_connect *p, enum reason reason)
{
    const struct shard *s = c->stream.shard;
    const struct listener_rules *rules = &s->cluster->config.listeners[c->listener];
    bool is_proven = c->admission ? !c->admission->is_refused : rules->allow_anonymous;

    if (is_proven || !s->hooks.auth_failed ||
        (reason != REASON_BAD_USER_NAME_OR_PASSWORD && reason != REASON_NOT_AUTHORIZED))
        return;
    s->hooks.auth_failed(s->hooks.net, c->stream.conn, p->client_id);
}

void client_refuse(struct client *c, const struct packet_connect *p, enum reason reason,
                   enum close_reason why)
{
    struct connack_out o = {.reason = (uint8_t)reason, .retain_available = true, .maximum_qos = 2};

    STAT_INC(&c->stream.shard->stats, clients_refused);
    if (why == CLOSE_NOT_AUTHORIZED || why == CLOSE_BAD_CREDENTIALS)
        STAT_INC(&c->stream.shard->stats, auth_failures);
    note_failure(c, p, reason);
    send_connack(c, &o);
    log_refused(c, p, why);
    stream_close(&c->stream, why);
    c->state = CLIENT_CLOSING;
}

bool client_version_fits(const struct client *c, enum protocol protocol)
{
    uint8_t versions = c->stream.shard->cluster->config.listeners[c->listener].versions;

    return !versions || (versions & 1u << protocol);
}

/* Of many that were proven at once, none tells whether a guess was right, once others have made a
 * ban. All that come with one client id are judged here, one after the other. */
static bool is_banned(const struct client *c, const struct packet_connect *p)
{
    const struct shard_hooks *hooks = &c->stream.shard->hooks;

    return c->admission && hooks->is_banned &&
           hooks->is_banned(hooks->net, c->stream.conn, p->client_id);
}

/* Everything that can be said against it before there is a session. */
static enum reason judge(const struct client *c, const struct packet_connect *p)
{
    const struct shard *s = c->stream.shard;
    const struct listener_rules *rules = &s->cluster->config.listeners[c->listener];

    if (!client_version_fits(c, p->protocol))
        return REASON_UNSUPPORTED_PROTOCOL_VERSION; /* [MQTT-3.1.2-2] */
    if (p->client_id.n == 0 && p->protocol != MQTT_5 && (!p->clean_start || p->protocol == MQTT_31))
        return REASON_CLIENT_ID_NOT_VALID; /* [MQTT-3.1.3-8] */
    if (c->admission && c->admission->is_refused)
        return (enum reason)c->admission->reason;
    if (is_banned(c, p))
        return REASON_CONNECTION_RATE_EXCEEDED;
    if (p->protocol == MQTT_5 && (p->props.present & PROP_BIT(PROP_AUTH_METHOD)) &&
        !login_is_used(c))
        return REASON_BAD_AUTHENTICATION_METHOD; /* [MQTT-4.12.0-1] */
    if (!c->admission && !rules->allow_anonymous)
        return p->has_username ? REASON_BAD_USER_NAME_OR_PASSWORD : REASON_NOT_AUTHORIZED;
    if (p->protocol != MQTT_5 && s->limits->keepalive < 65535 &&
        (p->keep_alive == 0 || p->keep_alive > s->limits->keepalive))
        return REASON_CLIENT_ID_NOT_VALID;
    if (!p->has_will)
        return REASON_SUCCESS;
    if (p->will_qos > c->max_qos)
        return REASON_QOS_NOT_SUPPORTED; /* [MQTT-3.2.2-12] */
    if (p->will_retain && !s->limits->retain_available)
        return REASON_RETAIN_NOT_SUPPORTED; /* [MQTT-3.2.2-13] */
    if (!topic_name_valid(p->will_topic, s->limits->topic_levels))
        return REASON_TOPIC_NAME_INVALID;
    return REASON_SUCCESS;
}

/* Whether it may leave its will: its own rules and the net are asked now, and their word holds
 * until the will is published; the ACL is asked again then.  ERR_FULL: it is not known yet. */
static enum err judge_will(struct client *c, const struct packet_connect *p, struct bytes id,
                           const struct bytes *user, const struct acl_claim *claim,
                           enum reason *reason)
{
    struct access_question q = {.client_id =
                                    p->client_id, /* an assigned one is another each time */
                                .user = user ? *user : (struct bytes){0},
                                .topic = p->will_topic,
                                .qos = p->will_qos,
                                .retain = p->will_retain};
    enum acl_claim_verdict by_claim = ACL_CLAIM_PASS;
    enum access_answer answer;

    if (!p->has_will)
        return OK;
    if (!client_may_publish(c, p->will_topic)) {
        *reason = REASON_NOT_AUTHORIZED;
        return OK;
    }
    if (claim)
        by_claim = acl_claim_publish(claim, p->will_topic, p->will_qos, p->will_retain);
    if (by_claim == ACL_CLAIM_PASS)
        answer = access_ask_net(c, &q);
    else
        answer = by_claim == ACL_CLAIM_ALLOW ? ACCESS_YES : ACCESS_NO;
    if (answer == ACCESS_WAIT && mounted_asks_in_vain(c, p)) {
        *reason = REASON_CLIENT_ID_NOT_VALID;
        return OK;
    }
    if (answer == ACCESS_WAIT)
        return ERR_FULL;
    c->has_granted_will = answer == ACCESS_YES;
    if (answer == ACCESS_NO ||
        (answer == ACCESS_FILE && !access_by_name(c->stream.shard, user, id, p->will_topic)))
        *reason = REASON_NOT_AUTHORIZED;
    return OK;
}

static enum close_reason close_for(enum reason reason)
{
    switch (reason) {
    case REASON_CLIENT_ID_NOT_VALID:
        return CLOSE_BAD_CLIENT_ID;
    case REASON_BAD_USER_NAME_OR_PASSWORD:
        return CLOSE_BAD_CREDENTIALS;
    case REASON_NOT_AUTHORIZED:
        return CLOSE_NOT_AUTHORIZED;
    case REASON_TOPIC_NAME_INVALID:
        return CLOSE_TOPIC_INVALID;
    case REASON_UNSUPPORTED_PROTOCOL_VERSION:
        return CLOSE_BAD_VERSION;
    case REASON_CONNECTION_RATE_EXCEEDED:
        return CLOSE_BANNED;
    case REASON_QUOTA_EXCEEDED:
        return CLOSE_QUOTA;
    default:
        return CLOSE_UNSUPPORTED;
    }
}

#define ASSIGNED_ID_BYTES 25

/* An id that is at home here, for a client that gave none [MQTT-3.1.3-6]. */
static struct bytes assign_id(struct shard *s, char to[ASSIGNED_ID_BYTES])
{
    static const char digits[] = "0123456789abcdefghijklmnopqrstuv";
    const uint32_t workers = s->cluster->config.workers;
    struct bytes id = bytes_of(to, ASSIGNED_ID_BYTES);

    do {
        uint64_t bits = 0;

        bytes_put((uint8_t *)to, BYTES_LIT("auto-"));
        for (size_t n = 5; n < ASSIGNED_ID_BYTES; n++, bits >>= 5) {
            if ((n - 5) % 12 == 0)
                bits = shard_random(s); /* 60 bits make 12 digits */
            to[n] = digits[bits & 31];
        }
    } while (!s->is_link && (uint32_t)((hash_of(s, id) >> 32) % workers) != s->number);
    return id;
}

static bool set_will(struct shard *s, struct session *x, const struct packet_connect *p)
{
    const struct props *props = &p->will_props;
    struct publish out = {.topic = p->will_topic,
                          .payload = p->will_payload,
                          .stamp_ms = s->wall_ms,
                          .qos = p->will_qos,
                          .retain = p->will_retain,
                          .protocol = (uint8_t)p->protocol};
    struct will *w = calloc(1, sizeof *w);
    bool is_v5 = p->protocol == MQTT_5;

    if (!w || memory_is_full(s)) {
        free(w);
        return false;
    }
    if (is_v5 && props->present && !props_forward_view(props, &out.props)) {
        uint8_t *to = arena_alloc(&s->arena, props->all.n);

        if (!to) {
            free(w);
            return false;
        }
        out.props = bytes_of(to, props_forward(props, to));
    }
    w->message = publish_message(&out, &s->waiting_bytes);
    if (!w->message) {
        free(w);
        return false;
    }
    if (is_v5 && (props->present & PROP_BIT(PROP_WILL_DELAY)))
        w->delay = props->will_delay;
    w->has_expiry = is_v5 && (props->present & PROP_BIT(PROP_MESSAGE_EXPIRY));
    w->expiry = w->has_expiry ? props->message_expiry : 0;
    x->will = w;
    return true;
}

static void end_taken_over(struct client *old)
{
    struct shard *s = old->stream.shard;

    STAT_INC(&s->stats, takeovers);
    if (old->state == CLIENT_CONNECTED) {
        client_fail(old, REASON_SESSION_TAKEN_OVER, CLOSE_TAKEN_OVER); /* [MQTT-3.1.4-3] */
        return;
    }
    client_leave_session(old, true);
}

/* The session of this CONNECT. *present: it was there [MQTT-3.2.2-2]. NULL: no memory. */
static struct session *open_session(struct client *c, const struct packet_connect *p,
                                    struct bytes id, const struct bytes *user, bool *present)
{
    struct shard *s = c->stream.shard;
    struct session *x = session_find(s, id);

    if (x && x->client) {
        end_taken_over(x->client);
        x = session_find(s, id); /* it may have ended with its connection */
    }
    if (x && p->clean_start) {
        session_end(s, x); /* [MQTT-3.1.2-4] */
        x = NULL;
    }
    *present = x != NULL;
    if (x) {
        if (!session_has_user(x, user)) {
            access_forget(s, x); /* what the other one was allowed counts no more */
            if (!session_set_user(x, user))
                return NULL;
        }
        STAT_ADD(&s->stats, sessions_offline, -1);
        timer_cancel(&s->timers, &x->timer);
        will_drop(s, x); /* [MQTT-3.1.3-9]: back before the delay has passed */
        return x;
    }
    return session_create(s, id, user);
}

uint32_t client_expiry_max(const struct shard *s)
{
    return s->is_link ? 0 : s->limits->session_expiry;
}

static uint32_t expiry_of(const struct shard *s, const struct packet_connect *p)
{
    uint32_t expiry = p->clean_start ? 0 : UINT32_MAX;

    if (p->protocol == MQTT_5)
        expiry = p->props.present & PROP_BIT(PROP_SESSION_EXPIRY) ? p->props.session_expiry : 0;
    return expiry < client_expiry_max(s) ? expiry : client_expiry_max(s);
}

/* When what the client has proven ends; UINT64_MAX: never. */
static uint64_t end_ms(const struct client *c)
{
    return c->admission && c->admission->expires_ms ? c->admission->expires_ms : UINT64_MAX;
}

/* When the client must have been heard of, or must go; UINT64_MAX: there is no such time. */
static uint64_t client_due_ms(const struct client *c, uint64_t now_ms)
{
    uint64_t silent_ms = c->keep_alive ? c->last_input_ms + c->keep_alive * 1500ull : UINT64_MAX;
    uint64_t heard_ms = c->last_input_ms;

    if (c->silence_s && stream_heard_ms(&c->stream, now_ms) > heard_ms)
        heard_ms = stream_heard_ms(&c->stream, now_ms); /* a part of a packet counts, for links */
    if (c->silence_s && heard_ms + c->silence_s * 1000ull < silent_ms)
        silent_ms = heard_ms + c->silence_s * 1000ull;
    return end_ms(c) < silent_ms ? end_ms(c) : silent_ms;
}

static void client_is_due(struct timer *t, void *owner, uint64_t now_ms);

/* The other side of a link must not take us for dead while we do not read what it sends, its pings
 * among it. What waits to leave is sign enough. */
static void give_sign_of_life(struct client *c)
{
    uint8_t *to = c->stream.outq.bytes == 0 ? client_room(c, 2) : NULL;

    if (to)
        pingresp_put(to);
}

static void arm_due(struct client *c, uint64_t now_ms)
{
    uint64_t due = client_due_ms(c, now_ms), left = due > now_ms ? due - now_ms : 0;

    if (c->speaks_link && left > LINK_SIGN_MS) {
        timer_arm(&c->stream.shard->timers, &c->keepalive_timer, now_ms + LINK_SIGN_MS,
                  client_is_due);
        return;
    }
    if (due == UINT64_MAX)
        return;
    /* A timer may be late by a part of its time. Late by minutes is too much for a proof that has
     * ended, so a long way is gone in steps, of which the last one is short. */
    if (due == end_ms(c) && left > 1000)
        due -= left / 32;
    timer_arm(&c->stream.shard->timers, &c->keepalive_timer, due, client_is_due);
}

static void client_is_due(struct timer *t, void *owner, uint64_t now_ms)
{
    struct client *c = TABLE_OBJECT(t, struct client, keepalive_timer);
    struct shard *s = owner;

    if (c->is_parked) /* it is us who do not read */
        c->last_input_ms = now_ms;
    if (c->is_parked && c->speaks_link)
        give_sign_of_life(c);
    if (now_ms < client_due_ms(c, now_ms)) {
        arm_due(c, now_ms);
        return;
    }
    if (now_ms >= end_ms(c)) {
        client_fail(c, REASON_NOT_AUTHORIZED, CLOSE_NOT_AUTHORIZED);
        return;
    }
    STAT_INC(&s->stats, keepalive_timeouts);
    client_fail(c, REASON_KEEP_ALIVE_TIMEOUT, CLOSE_KEEPALIVE); /* [MQTT-3.1.2-22] */
}

void client_speaks_link(struct client *c)
{
    if (c->speaks_link)
        return;
    c->speaks_link = true;
    arm_due(c, c->stream.shard->now_ms);
}

/* What MQTT 5 lets both sides say about themselves. */
static void negotiate(struct client *c, const struct packet_connect *p, struct connack_out *o)
{
    struct shard *s = c->stream.shard;
    const struct limits *l = s->limits;
    uint32_t present = p->props.present;

    c->keep_alive = p->keep_alive;
    if (p->protocol != MQTT_5)
        return;
    if (l->keepalive < 65535 && (p->keep_alive == 0 || p->keep_alive > l->keepalive)) {
        c->keep_alive = (uint16_t)l->keepalive;
        o->has_server_keep_alive = true;
        o->server_keep_alive = c->keep_alive;
    }
    if (present & PROP_BIT(PROP_RECEIVE_MAXIMUM))
        c->receive_max = p->props.receive_maximum;
    if (present & PROP_BIT(PROP_MAXIMUM_PACKET_SIZE))
        c->packet_max = p->props.maximum_packet_size;
    if ((present & PROP_BIT(PROP_TOPIC_ALIAS_MAXIMUM)) && p->props.topic_alias_maximum) {
        uint32_t max = p->props.topic_alias_maximum;

        c->aliases_out = calloc(1, sizeof *c->aliases_out); /* without memory: no aliases */
        if (c->aliases_out)
            c->aliases_out->max = max < ALIASES_OUT_MAX ? max : ALIASES_OUT_MAX;
    }
    o->receive_maximum = (uint16_t)l->receive_maximum;
    o->topic_alias_maximum = (uint16_t)l->topic_alias;
    o->maximum_packet_size = l->packet_bytes;
    o->maximum_qos = c->max_qos;
    o->retain_available = l->retain_available;
    if ((present & PROP_BIT(PROP_SESSION_EXPIRY)) &&
        c->session->expiry != p->props.session_expiry) {
        o->has_session_expiry = true;
        o->session_expiry = c->session->expiry;
    }
}

/* The name the client goes by: what was proven, or what it says of itself. false: none. */
static bool user_of(const struct client *c, const struct packet_connect *p, struct bytes *user)
{
    const struct admission *a = c->admission;

    *user = a && a->has_user ? bytes_of(a->user, a->user_count) : p->username;
    return (a && a->has_user) || p->has_username;
}

/* Joins connection and session, answers, and goes on where the session stopped. Takes the rules
 * that the client has brought; or NULL. */
static void welcome(struct client *c, struct session *x, const struct packet_connect *p,
                    bool is_present, struct bytes assigned, struct acl_claim *claim)
{
    struct shard *s = c->stream.shard;
    struct connack_out o = {.session_present = is_present,
                            .retain_available = true,
                            .maximum_qos = 2,
                            .assigned_client_id = assigned};

    c->session = x;
    c->state = CLIENT_CONNECTED;
    x->client = c;
    if (!is_present || x->is_local != s->cluster->config.listeners[c->listener].is_loopback)
        access_forget(s, x);
    x->is_local = s->cluster->config.listeners[c->listener].is_loopback;
    x->protocol = (uint8_t)p->protocol;
    x->expiry = expiry_of(s, p);
    idset_mark_all(&x->received); /* the receive window begins anew */
    c->connect_expiry =
        p->props.present & PROP_BIT(PROP_SESSION_EXPIRY) ? p->props.session_expiry : 0;
    STAT_INC(&s->stats, clients_accepted);
    STAT_INC(&s->stats, clients_connected);
    negotiate(c, p, &o);
    if (!access_set_claim(s, x, claim, c->admission ? c->admission->rules_end_ms : 0) ||
        (p->has_will && !set_will(s, x, p))) {
        client_refuse(c, p, REASON_QUOTA_EXCEEDED, CLOSE_MEMORY);
        client_leave_session(c, false);
        return;
    }
    if (login_is_used(c))
        login_conclude(c, &o);
    if (x->will)
        x->will->is_granted = c->has_granted_will;
    session_note(s, x, false);
    send_connack(c, &o);
    client_log(c, 5, "client connected", NULL);
    arm_due(c, s->now_ms);
    deliver_resume(s, x);
    shares_connected(s, x, true);
}

enum err client_on_connect(struct client *c, const struct packet_connect *p)
{
    struct shard *s = c->stream.shard;
    struct bytes id = p->client_id, assigned = {0}, name;
    const struct bytes *user = user_of(c, p, &name) ? &name : NULL;
    struct packet_connect mounted;
    enum reason reason;
    struct acl_claim *claim = NULL;
    struct session *x;
    bool is_present;
    char fresh[ASSIGNED_ID_BYTES];

    c->protocol = (uint8_t)p->protocol;
    c->is_bridge = p->is_bridge;
    speaker_begin(c);
    c->credential = c->admission ? c->admission->credential : 0;
    if (id.n == 0) {
        id = assign_id(s, fresh);
        if (p->protocol == MQTT_5)
            assigned = id;
    }
    reason = judge(c, p);
    if (reason == REASON_SUCCESS && !client_still_holds(c, name))
        reason = REASON_NOT_AUTHORIZED; /* the users have changed since it was asked */
    if (reason == REASON_SUCCESS && !speaker_may_be_here(c, p))
        reason = REASON_NOT_AUTHORIZED;
    if (reason == REASON_SUCCESS && !speaker_may_take_over(c, id))
        reason = REASON_CLIENT_ID_NOT_VALID;
    if (reason == REASON_SUCCESS) {
        reason = mounted_begin(c, id, user);
        if (reason != REASON_SUCCESS) {
            client_refuse(c, p, reason, CLOSE_MOUNT_POINT);
            return OK;
        }
        reason = mounted_will(c, &p, &mounted);
    }
    if (reason == REASON_SUCCESS)
        reason = access_bind_claim(c, id, user, &claim);
    if (reason == REASON_SUCCESS && judge_will(c, p, id, user, claim, &reason) == ERR_FULL) {
        acl_claim_destroy(claim);
        return ERR_FULL;
    }
    x = reason == REASON_SUCCESS ? open_session(c, p, id, user, &is_present) : NULL;
    if (!x) {
        acl_claim_destroy(claim);
        if (reason == REASON_SUCCESS)
            client_refuse(c, p, REASON_SERVER_UNAVAILABLE, CLOSE_MEMORY);
        else
            client_refuse(c, p, reason, close_for(reason));
        return OK;
    }
    welcome(c, x, p, is_present, assigned, claim);
    return OK;
}
