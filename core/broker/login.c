/* core/broker/login.c -- enhanced authentication: SCRAM in AUTH packets [MQTT5 4.12].
 *
 * A CONNECT that names a method waits, as the bytes it came in, until the exchange has proven a
 * name; then it is judged like any other, with that name. There is no session before that, and
 * neither an anonymous listener nor what TLS has proven stands in for the exchange: where names
 * come from certificates, no method is to be had.
 *
 * The login stays with the connection, so that the client can prove itself anew [MQTT5 4.12.1].
 * What it said first of itself counts on until then; another name than the first is refused.
 * A connection without enhanced authentication has no login.
 */
#include <stdlib.h>

#include "core/base/base64.h"
#include "core/base/check.h"
#include "core/broker/state.h"
#include "core/policy/scram.h"

struct login {
    struct client *client;
    struct timer timer; /* while an exchange is under way: how long it may last */
    enum scram_kind kind;
    bool is_renewing;       /* re-authentication is under way */
    bool is_proven;         /* what is left is to judge the CONNECT that waits */
    struct scram *exchange; /* NULL: none, or the client's first message has not come */
    struct frame connect;   /* the CONNECT that waits; its body is owned */
};

/* ---- life ---- */

void login_init(struct shard *s)
{
    s->scram = scram_users_ref(s->cluster->config.scram);
}

void login_fini(struct shard *s)
{
    scram_users_release(s->scram);
    s->scram = NULL;
}

void shard_set_scram(struct shard *s, struct scram_users *users)
{
    struct scram_users *old = s->scram;

    CHECK(!users || s->cluster->config.scram_crypt);
    s->scram = scram_users_ref(users);
    scram_users_release(old);
}

static struct login *login_of(const struct client *c)
{
    return c->admission ? c->admission->login : NULL;
}

bool login_is_used(const struct client *c)
{
    return login_of(c) != NULL;
}

/* The CONNECT is answered, or never will be. */
static void drop_connect(struct shard *s, struct login *l)
{
    (void)shard_hold_input(s, -(int64_t)l->connect.body.n);
    free((void *)(uintptr_t)l->connect.body.p);
    l->connect.body = (struct bytes){0};
}

/* The exchange is over, or never will be. */
static void end_exchange(struct shard *s, struct login *l)
{
    (void)shard_hold_input(s, -(int64_t)scram_bytes(l->exchange));
    scram_end(l->exchange);
    l->exchange = NULL;
}

void login_forget(struct client *c)
{
    struct login *l = login_of(c);

    if (l) {
        timer_cancel(&c->stream.shard->timers, &l->timer);
        drop_connect(c->stream.shard, l);
        end_exchange(c->stream.shard, l);
        free(l);
    }
    free(c->admission);
    c->admission = NULL;
}

bool login_still_holds(const struct client *c, struct bytes user)
{
    const struct scram_users *users = c->stream.shard->scram;

    return c->credential && c->credential == scram_users_credential(users, login_of(c)->kind, user);
}

void login_conclude(const struct client *c, struct connack_out *o)
{
    const struct login *l = login_of(c);

    o->auth_method = scram_method(l->kind); /* [MQTT-4.12.0-5] */
    o->auth_data = scram_says(l->exchange);
}

/* ---- the end of an exchange ---- */

/* The CONNECT that waits; views into the login. */
static void waiting_connect(const struct login *l, struct packet *p)
{
    enum reason why;

    if (packet_decode(&l->connect, MQTT_5, p, &why) != OK)
        CHECK(false); /* it was decoded when it came */
}

/* Tells the net of somebody who has not proven who he is, as of wrong passwords. */
static void note_failure(const struct client *c, struct bytes client_id)
{
    const struct shard_hooks *hooks = &c->stream.shard->hooks;

    if (hooks->auth_failed)
        hooks->auth_failed(hooks->net, c->stream.conn, client_id);
}

void login_refuse(struct client *c, enum reason reason, enum close_reason why)
{
    struct shard *s = c->stream.shard;
    struct login *l = login_of(c);
    struct packet p;

    waiting_connect(l, &p);
    if (l->exchange) /* the name for the log */
        p.connect.username = scram_user(l->exchange);
    if (why == CLOSE_MALFORMED || why == CLOSE_PROTOCOL_ERROR)
        STAT_INC(&s->stats, protocol_errors);
    if (why == CLOSE_BAD_CREDENTIALS)
        note_failure(c, p.connect.client_id);
    timer_cancel(&s->timers, &l->timer);
    client_refuse(c, &p.connect, reason, why);
}

/* The exchange fails, before CONNACK [MQTT-4.12.0-4] or after it [MQTT-4.12.1-2]. */
static void fail(struct client *c, enum reason reason, enum close_reason why)
{
    if (c->state == CLIENT_AUTHENTICATING) {
        login_refuse(c, reason, why);
        return;
    }
    if (why == CLOSE_BAD_CREDENTIALS) {
        STAT_INC(&c->stream.shard->stats, auth_failures);
        note_failure(c, session_id(c->session));
    }
    client_fail(c, reason, why);
}

/* Of many proofs that were begun at once, none tells whether it was right, once the others have
 * made a ban. A client that is in already is no guesser's. */
static bool is_banned(const struct client *c, const struct login *l)
{
    const struct shard_hooks *hooks = &c->stream.shard->hooks;
    struct packet p;

    if (c->state != CLIENT_AUTHENTICATING || !hooks->is_banned)
        return false;
    waiting_connect(l, &p);
    return hooks->is_banned(hooks->net, c->stream.conn, p.connect.client_id);
}

static void send_auth(struct client *c, enum reason reason, struct bytes data)
{
    struct bytes method = scram_method(login_of(c)->kind); /* [MQTT-4.12.0-5] */
    uint8_t *to = client_room(c, auth_size(method, data));

    if (to)
        auth_put(to, (uint8_t)reason, method, data);
}

/* The user is proven: the CONNECT goes on.  ERR_FULL: somebody outside has to say first whether it
 * may leave its will; the AUTH packet that proved the user is offered again then. */
static enum err go_on(struct client *c, struct login *l)
{
    struct packet p;

    waiting_connect(l, &p);
    if (client_on_connect(c, &p.connect) == ERR_FULL)
        return ERR_FULL;
    drop_connect(c->stream.shard, l);
    end_exchange(c->stream.shard, l);
    l->is_proven = false;
    return OK;
}

/* The user is proven, and has a name now.  ERR_FULL: as go_on. */
static enum err let_in(struct client *c, struct login *l)
{
    struct bytes user = scram_user(l->exchange);
    struct admission *a = calloc(1, sizeof(*a) + user.n);

    if (!a) {
        login_refuse(c, REASON_SERVER_UNAVAILABLE, CLOSE_MEMORY);
        return OK;
    }
    a->login = l;
    a->has_user = true;
    a->user_count = (uint16_t)user.n;
    (void)bytes_put((uint8_t *)a->user, user);
    a->credential = scram_credential(l->exchange);
    free(c->admission);
    c->admission = a;
    timer_cancel(&c->stream.shard->timers, &l->timer);
    l->is_proven = true;
    return go_on(c, l);
}

/* The user is proven once more: only the same one, and only while the file still says so. */
static void renew(struct client *c, struct login *l)
{
    struct bytes user = session_user(c->session);

    if (!bytes_eq(scram_user(l->exchange), user) ||
        scram_credential(l->exchange) != c->credential || !login_still_holds(c, user)) {
        fail(c, REASON_NOT_AUTHORIZED, CLOSE_BAD_CREDENTIALS);
        return;
    }
    timer_cancel(&c->stream.shard->timers, &l->timer);
    send_auth(c, REASON_SUCCESS, scram_says(l->exchange));
    end_exchange(c->stream.shard, l);
    l->is_renewing = false;
}

/* ---- messages ---- */

static enum err begin(struct shard *s, struct login *l, struct bytes message)
{
    const struct scram_crypt *crypt = s->cluster->config.scram_crypt;
    char nonce[BASE64_TEXT_BYTES(SCRAM_RANDOM_BYTES)];
    uint8_t random[SCRAM_RANDOM_BYTES];
    enum err err;

    if (!s->scram)
        return ERR_PEER; /* not any more */
    if (crypt->random(random, sizeof(random)) != OK)
        return ERR_SYSTEM;
    (void)base64_encode(bytes_of(random, sizeof(random)), BASE64_PADDED, nonce);
    err = scram_begin(l->kind, message, bytes_of(nonce, sizeof(nonce)), s->scram, crypt,
                      &l->exchange);
    if (err == OK && !shard_hold_input(s, scram_bytes(l->exchange))) {
        scram_end(l->exchange);
        l->exchange = NULL;
        return ERR_FULL;
    }
    return err;
}

/* One message of the client. The first one may be empty: then we ask for it.  ERR_FULL: as
 * go_on. */
static enum err take(struct client *c, const struct props *props, bool is_first)
{
    struct shard *s = c->stream.shard;
    struct login *l = login_of(c);
    bool has_data = props->present & PROP_BIT(PROP_AUTH_DATA);
    bool is_last = l->exchange != NULL;
    enum err err = ERR_PEER;

    if (is_first && !has_data) {
        send_auth(c, REASON_CONTINUE_AUTHENTICATION, (struct bytes){0});
        return OK;
    }
    if (is_last && is_banned(c, l)) {
        fail(c, REASON_CONNECTION_RATE_EXCEEDED, CLOSE_BANNED);
        return OK;
    }
    if (has_data && is_last)
        err = scram_prove(l->exchange, props->auth_data, s->cluster->config.scram_crypt);
    else if (has_data)
        err = begin(s, l, props->auth_data);
    if (err == ERR_PEER)
        fail(c, REASON_NOT_AUTHORIZED, CLOSE_BAD_CREDENTIALS);
    else if (err == ERR_FULL)
        fail(c, REASON_QUOTA_EXCEEDED, CLOSE_MEMORY);
    else if (err != OK)
        fail(c, REASON_SERVER_BUSY, CLOSE_MEMORY);
    else if (!is_last)
        send_auth(c, REASON_CONTINUE_AUTHENTICATION, scram_says(l->exchange));
    else if (l->is_renewing)
        renew(c, l);
    else
        return let_in(c, l);
    return OK;
}

static void lasts_too_long(struct timer *t, void *owner, uint64_t now_ms);

/* An exchange begins: it may last as long as a connection may be without its CONNECT. */
static void limit_time(struct login *l)
{
    struct shard *s = l->client->stream.shard;

    timer_arm(&s->timers, &l->timer, s->now_ms + s->limits->connect_timeout_ms, lasts_too_long);
}

/* The client has not proven anything in time: before CONNACK no packet can say so, after it the
 * re-authentication has failed [MQTT-4.12.1-2]. */
static void lasts_too_long(struct timer *t, void *owner, uint64_t now_ms)
{
    struct login *l = TABLE_OBJECT(t, struct login, timer);
    struct client *c = l->client;
    struct shard *s = owner;

    (void)now_ms;
    if (c->state == CLIENT_CLOSING)
        return;
    if (c->is_parked) { /* it is us who do not read */
        limit_time(l);
        return;
    }
    STAT_INC(&s->stats, connect_timeouts);
    if (c->state != CLIENT_AUTHENTICATING) {
        client_fail(c, REASON_NOT_AUTHORIZED, CLOSE_AUTH_TIMEOUT);
        return;
    }
    client_log(c, 5, "connection refused", close_reason_name(CLOSE_CONNECT_TIMEOUT));
    stream_close(&c->stream, CLOSE_CONNECT_TIMEOUT);
    c->state = CLIENT_CLOSING;
}

enum err login_on_packet(struct client *c, const struct packet_disconnect *p)
{
    struct login *l = login_of(c);
    bool begins = p->reason == REASON_REAUTHENTICATE;
    bool is_under_way = l && (l->is_renewing || c->state == CLIENT_AUTHENTICATING);

    if (l && l->is_proven)
        return go_on(c, l);
    if (!l || /* [MQTT-4.12.0-7] */
        !(p->props.present & PROP_BIT(PROP_AUTH_METHOD)) ||
        !bytes_eq(p->props.auth_method, scram_method(l->kind)) || /* [MQTT-4.12.0-5] */
        (!begins && p->reason != REASON_CONTINUE_AUTHENTICATION) || begins == is_under_way) {
        if (c->state == CLIENT_AUTHENTICATING)
            login_refuse(c, REASON_PROTOCOL_ERROR, CLOSE_PROTOCOL_ERROR);
        else
            client_fail(c, REASON_PROTOCOL_ERROR, CLOSE_PROTOCOL_ERROR);
        return OK;
    }
    if (begins) {
        l->is_renewing = true;
        limit_time(l);
    }
    return take(c, &p->props, begins);
}

/* ---- CONNECT ---- */

/* A login that keeps the CONNECT.  NULL: no memory. */
static struct login *make_login(struct client *c, enum scram_kind kind, const struct frame *f)
{
    struct shard *s = c->stream.shard;
    struct login *l = calloc(1, sizeof(*l));
    uint8_t *body = malloc(f->body.n);

    if (!l || !body || !shard_hold_input(s, f->body.n)) {
        free(l);
        free(body);
        return NULL;
    }
    (void)bytes_put(body, f->body);
    l->client = c;
    l->kind = kind;
    l->connect = *f;
    l->connect.body = bytes_of(body, f->body.n);
    return l;
}

bool login_begin(struct client *c, const struct frame *f, const struct packet_connect *p)
{
    struct shard *s = c->stream.shard;
    enum scram_kind kind;

    if (!client_version_fits(c, p->protocol) || c->admission || !s->scram ||
        !scram_kind_of(p->props.auth_method, &kind))
        return false;
    c->protocol = (uint8_t)p->protocol;
    if (p->props.present & PROP_BIT(PROP_MAXIMUM_PACKET_SIZE))
        c->packet_max = p->props.maximum_packet_size; /* AUTH must keep to it */
    c->admission = calloc(1, sizeof(*c->admission));
    if (c->admission)
        c->admission->login = make_login(c, kind, f);
    if (!login_is_used(c)) {
        client_refuse(c, p, REASON_SERVER_UNAVAILABLE, CLOSE_MEMORY);
        login_forget(c);
        return true;
    }
    c->state = CLIENT_AUTHENTICATING;
    limit_time(login_of(c));
    (void)take(c, &p->props, true); /* one message proves nothing: it cannot be ERR_FULL */
    return true;
}
