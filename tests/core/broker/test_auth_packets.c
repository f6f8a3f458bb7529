/* tests/core/broker/test_auth_packets.c -- enhanced authentication, statement by statement: MQTT 5,
 * sections 3.15 and 4.12. The hashes are none (tests/core/policy/scram_client.h).
 */
#include <stdio.h>
#include <stdlib.h>

#include "core/broker/state.h"
#include "core/policy/scram.h"
#include "tests/core/policy/scram_client.h"
#include "tests/support/broker.h"
#include "tests/support/test.h"

#define METHOD "SCRAM-SHA-256"
#define NO_DATA ((struct bytes){0})

static const struct hash_key key = {{1, 2, 3, 4}};
static char said_event[64], said_user[64], said_peer[64], said_reason[64];

static void on_report(void *arg, uint32_t line, bool is_warning, const char *what)
{
    (void)arg;
    fail_msg("line %u, %d: %s", line, is_warning, what);
}

static void on_log(void *net, const struct log_event *e)
{
    (void)net;
    snprintf(said_event, sizeof said_event, "%s", e->event);
    snprintf(said_user, sizeof said_user, "%.*s", (int)e->user.n, (const char *)e->user.p);
    snprintf(said_peer, sizeof said_peer, "%s", e->peer ? e->peer : "");
    snprintf(said_reason, sizeof said_reason, "%s", e->reason ? e->reason : "");
}

static uint32_t failures; /* that the net was told of */

static void on_failure(void *net, void *conn, struct bytes client_id)
{
    (void)net;
    assert_non_null(conn);
    assert_int_equal(client_id.n, 1); /* "c" or "d" */
    failures++;
}

/* A file with these users, both with each mechanism. */
static struct scram_users *users_of(const char *name, const char *password, const char *other)
{
    char text[4096] = "";
    struct scram_users *u;

    scram_line(text, name, SCRAM_SHA256, 4096, "s", password, &fake_scram);
    scram_line(text, name, SCRAM_SHA512, 4096, "s", password, &fake_scram);
    scram_line(text, other, SCRAM_SHA256, 4096, "o", "other", &fake_scram);
    assert_int_equal(scram_users_parse(bytes_str(text), &key, on_report, NULL, &u), OK);
    return u;
}

static void set_users(struct broker *b, struct scram_users *u)
{
    for (uint32_t i = 0; i < b->worker_count; i++) {
        shard_set_scram(cluster_shard(b->cluster, i), u);
        shard_judge_all(cluster_shard(b->cluster, i));
        b->is_woken[i] = true;
    }
    scram_users_release(u);
}

/* A broker that knows "alice" with "secret", and "bob" with "other", with so much memory (0:
 * without a limit). */
static void start_with(struct broker *b, uint32_t workers, uint64_t memory_bytes)
{
    const struct shard_hooks hooks = {.log = on_log, .auth_failed = on_failure};
    struct scram_users *u = users_of("alice", "secret", "bob");

    failures = 0;
    broker_init(b, workers);
    b->listeners[0].allow_anonymous = false;
    b->config.limits.memory_bytes = memory_bytes;
    b->config.scram = u;
    b->config.scram_crypt = &fake_scram;
    broker_start(b);
    scram_users_release(u);
    for (uint32_t i = 0; i < workers; i++)
        shard_set_hooks(cluster_shard(b->cluster, i), &hooks);
}

static void start(struct broker *b, uint32_t workers)
{
    start_with(b, workers, 0);
}

static struct scram_client user_with(const char *user, const char *password)
{
    return (struct scram_client){.crypt = &fake_scram,
                                 .header = "n,,",
                                 .user = user,
                                 .password = password,
                                 .nonce = "client-nonce"};
}

/* ---- packets the encoder of the client's role does not have ---- */

static uint8_t *put_text(uint8_t *to, struct bytes b)
{
    return bytes_put(put_be16(to, (uint16_t)b.n), b);
}

struct hello {
    const char *id, *method;
    struct bytes data; /* no address: none */
    const char *username, *password;
    uint32_t packet_max; /* 0: left out */
    uint16_t keep_alive;
    const char *will_topic;
};

/* A CONNECT with an Authentication Method, and what the broker does about it. */
static struct peer *hello(struct broker *b, const struct hello *h)
{
    static uint8_t packet[20000];
    uint8_t props[10000], body[20000], *p = props, *to = body;
    struct peer *peer = broker_open(b, 0, h->id);

    *p++ = 0x11; /* session expiry */
    p = put_be32(p, 3600);
    if (h->method) {
        *p++ = 0x15;
        p = put_text(p, bytes_str(h->method));
    }
    if (h->data.p) {
        *p++ = 0x16;
        p = put_text(p, h->data);
    }
    if (h->packet_max) {
        *p++ = 0x27;
        p = put_be32(p, h->packet_max);
    }
    to = put_text(to, BYTES_LIT("MQTT"));
    *to++ = 5;
    *to++ =
        (uint8_t)((h->username ? 0x80 : 0) | (h->password ? 0x40 : 0) | (h->will_topic ? 0x04 : 0));
    to = put_be16(to, h->keep_alive);
    to = varint_put(to, (uint32_t)(p - props));
    to = bytes_put(to, bytes_of(props, (size_t)(p - props)));
    to = put_text(to, bytes_str(h->id));
    if (h->will_topic) {
        *to++ = 0;
        to = put_text(to, bytes_str(h->will_topic));
        to = put_text(to, BYTES_LIT("gone"));
    }
    if (h->username)
        to = put_text(to, bytes_str(h->username));
    if (h->password)
        to = put_text(to, bytes_str(h->password));
    packet[0] = 0x10;
    p = varint_put(packet + 1, (uint32_t)(to - body));
    p = bytes_put(p, bytes_of(body, (size_t)(to - body)));
    peer->protocol = MQTT_5;
    peer_write(peer, bytes_of(packet, (size_t)(p - packet)));
    broker_settle(b);
    return peer;
}

/* An AUTH packet; nothing runs. */
static void put_auth(struct peer *p, uint8_t reason, const char *method, struct bytes data)
{
    uint8_t packet[16384];
    uint8_t *end = auth_put(packet, reason, bytes_str(method), data);

    peer_write(p, bytes_of(packet, (size_t)(end - packet)));
}

/* The same, and what the broker does about it. */
static void send_auth(struct peer *p, uint8_t reason, const char *method, struct bytes data)
{
    put_auth(p, reason, method, data);
    broker_settle(p->broker);
}

/* The server's AUTH, with this reason; its data. */
static struct bytes expect_auth(struct peer *p, uint8_t reason, const char *method)
{
    const struct packet_disconnect *a = &peer_expect(p, PACKET_AUTH)->disconnect;

    assert_int_equal(a->reason, reason); /* [MQTT-3.15.2-1] [MQTT-4.12.0-2] */
    assert_true(a->props.present & PROP_BIT(PROP_AUTH_METHOD)); /* [MQTT-4.12.0-5] */
    assert_true(bytes_eq(a->props.auth_method, bytes_str(method)));
    return a->props.present & PROP_BIT(PROP_AUTH_DATA) ? a->props.auth_data : NO_DATA;
}

/* The challenge has come; the client knows its last message. */
static void take_challenge(struct peer *p, struct scram_client *c)
{
    assert_non_null(scram_client_last(c, expect_auth(p, 0x18, METHOD)).p);
}

/* The client's last message. */
static void prove(struct peer *p, const struct scram_client *c)
{
    send_auth(p, 0x18, METHOD, bytes_str(c->last));
}

static void expect_let_in(struct peer *p)
{
    assert_int_equal(peer_expect(p, PACKET_CONNACK)->connack.reason, 0);
}

/* A CONNACK that refuses, and the end. */
static void expect_refusal(struct peer *p, uint8_t reason)
{
    const struct packet_connack *a = &peer_expect(p, PACKET_CONNACK)->connack;

    assert_int_equal(a->reason, reason);
    assert_false(a->session_present);
    peer_expect_nothing(p);
    assert_null(p->stream); /* [MQTT-4.12.0-4] */
}

/* CONNECT with the first message; the challenge has come. */
static struct peer *challenged(struct broker *b, struct scram_client *c, const char *id)
{
    struct bytes method = scram_method(c->kind);
    char text[32];
    struct hello h = {.id = id, .method = text, .data = scram_client_first(c)};
    struct peer *p;

    snprintf(text, sizeof text, "%.*s", (int)method.n, (const char *)method.p);
    p = hello(b, &h);
    assert_non_null(scram_client_last(c, expect_auth(p, 0x18, text)).p);
    return p;
}

/* A client that has logged in. */
static struct peer *logged_in(struct broker *b, struct scram_client *c, const char *id)
{
    const char *method = c->kind == SCRAM_SHA256 ? METHOD : "SCRAM-SHA-512";
    struct peer *p = challenged(b, c, id);
    const struct packet_connack *a;

    send_auth(p, 0x18, method, bytes_str(c->last));
    a = &peer_expect(p, PACKET_CONNACK)->connack;
    assert_int_equal(a->reason, 0);
    assert_true(a->props.present & PROP_BIT(PROP_AUTH_METHOD)); /* [MQTT-4.12.0-5] */
    assert_true(bytes_eq(a->props.auth_method, bytes_str(method)));
    assert_true(a->props.present & PROP_BIT(PROP_AUTH_DATA));
    assert_true(scram_client_believes(c, a->props.auth_data));
    return p;
}

static struct session *session_of(struct broker *b, const char *id)
{
    for (uint32_t i = 0; i < b->worker_count; i++) {
        struct session *x = session_find(cluster_shard(b->cluster, i), bytes_str(id));

        if (x)
            return x;
    }
    return NULL;
}

/* ---- CONNECT ---- */

BROKER_TEST(auth_lets_a_client_in_by_both_mechanisms)
{
    struct broker b;

    start(&b, workers);
    for (int kind = 0; kind < SCRAM_KIND_COUNT; kind++) {
        struct scram_client c = user_with("alice", "secret");
        const char *id = kind ? "c1" : "c0";
        struct peer *p;

        c.kind = (enum scram_kind)kind;
        p = logged_in(&b, &c, id);
        assert_true(bytes_eq(session_user(session_of(&b, id)), BYTES_LIT("alice")));
        peer_subscribed(p, "t", 1);
        peer_publish(p, "t", "x", 0);
        broker_settle(&b);
        peer_expect_publish(p, "t", "x");
    }
    assert_int_equal(BROKER_SUM(&b, clients_accepted), 2);
    broker_stop(&b);
}

TEST(auth_gives_no_session_before_success)
{
    struct scram_client c = user_with("alice", "secret");
    struct broker b;
    struct peer *p;

    start(&b, 1);
    p = challenged(&b, &c, "c");
    assert_null(session_of(&b, "c"));
    assert_int_equal(BROKER_SUM(&b, clients_connected), 0);
    peer_drop(p);
    broker_settle(&b);
    assert_null(session_of(&b, "c"));
    broker_stop(&b);
}

TEST(auth_does_not_take_a_session_over_before_success)
{
    struct scram_client c = user_with("alice", "secret"), thief = user_with("alice", "guess");
    struct broker b;
    struct peer *p, *q;

    start(&b, 1);
    p = logged_in(&b, &c, "c");
    q = challenged(&b, &thief, "c");
    prove(q, &thief);
    expect_refusal(q, 0x87);
    peer_expect_nothing(p);
    assert_non_null(p->stream);
    broker_stop(&b);
}

TEST(auth_refuses_a_wrong_proof_counts_it_and_says_who)
{
    struct scram_client c = user_with("alice", "guess");
    struct broker b;
    struct peer *p;

    start(&b, 1);
    p = challenged(&b, &c, "c");
    prove(p, &c);
    expect_refusal(p, 0x87);
    assert_int_equal(BROKER_SUM(&b, auth_failures), 1);
    assert_int_equal(BROKER_SUM(&b, clients_refused), 1);
    assert_int_equal(failures, 1);
    assert_string_equal(said_event, "client refused");
    assert_string_equal(said_user, "alice");
    assert_string_equal(said_peer, "192.0.2.1:4711");
    assert_string_equal(said_reason, close_reason_name(CLOSE_BAD_CREDENTIALS));
    broker_stop(&b);
}

static bool bans_after_two(void *net, void *conn, struct bytes client_id)
{
    (void)net;
    assert_non_null(conn);
    assert_int_equal(client_id.n, 1);
    return failures >= 2;
}

TEST(auth_that_was_proven_elsewhere_is_refused_beyond_the_ban)
{
    const struct shard_hooks hooks = {.auth_failed = on_failure, .is_banned = bans_after_two};
    struct connect_out h = {.protocol = MQTT_5, .clean_start = true, .client_id = BYTES_LIT("c")};
    struct broker b;

    start(&b, 1);
    shard_set_hooks(cluster_shard(b.cluster, 0), &hooks);
    for (int i = 0; i < 4; i++) {
        struct peer *p;

        b.admission = calloc(1, sizeof(*b.admission));
        b.admission->is_refused = i == 1 || i == 2;
        b.admission->reason = REASON_BAD_USER_NAME_OR_PASSWORD;
        p = broker_dial(&b, 0, &h);
        broker_settle(&b);
        if (i == 0)
            assert_int_equal(peer_expect(p, PACKET_CONNACK)->connack.reason, 0);
        else
            expect_refusal(p, i == 3 ? REASON_CONNECTION_RATE_EXCEEDED
                                     : REASON_BAD_USER_NAME_OR_PASSWORD);
    }
    broker_stop(&b);
}

TEST(auth_of_many_guesses_made_at_once_looks_at_none_beyond_the_ban)
{
    static const char *const passwords[] = {"one", "two", "secret"};
    const struct shard_hooks hooks = {.auth_failed = on_failure, .is_banned = bans_after_two};
    static const uint8_t reasons[] = {0x87, 0x87, REASON_CONNECTION_RATE_EXCEEDED};
    struct scram_client c[3];
    struct peer *p[3];
    struct broker b;

    start(&b, 1);
    shard_set_hooks(cluster_shard(b.cluster, 0), &hooks);
    for (int i = 0; i < 3; i++) {
        c[i] = user_with("alice", passwords[i]);
        p[i] = challenged(&b, &c[i], "c");
    }
    for (int i = 0; i < 3; i++) {
        prove(p[i], &c[i]);
        expect_refusal(p[i], reasons[i]);
    }
    assert_int_equal(failures, 2); /* the last proof, which is right, is not looked at */
    broker_stop(&b);
}

TEST(auth_treats_unknown_users_like_wrong_proofs)
{
    struct scram_client c = user_with("nobody", "secret");
    struct broker b;
    struct peer *p;

    start(&b, 1);
    p = challenged(&b, &c, "c"); /* a challenge comes all the same */
    prove(p, &c);
    expect_refusal(p, 0x87);
    assert_string_equal(said_user, "nobody");
    broker_stop(&b);
}

TEST(auth_refuses_what_is_not_scram)
{
    struct hello h = {.id = "c", .method = METHOD, .data = BYTES_LIT("hello")};
    struct scram_client c = user_with("alice", "secret");
    struct broker b;
    struct peer *p;

    start(&b, 1);
    p = hello(&b, &h);
    expect_refusal(p, 0x87);
    p = challenged(&b, &c, "c");
    send_auth(p, 0x18, METHOD, BYTES_LIT("c=biws"));
    expect_refusal(p, 0x87);
    p = challenged(&b, &c, "c");
    send_auth(p, 0x18, METHOD, NO_DATA);
    expect_refusal(p, 0x87);
    assert_int_equal(BROKER_SUM(&b, auth_failures), 3);
    broker_stop(&b);
}

TEST(auth_asks_for_a_first_message_that_is_missing)
{
    struct hello h = {.id = "c", .method = METHOD};
    struct scram_client c = user_with("alice", "secret");
    struct broker b;
    struct peer *p;

    start(&b, 1);
    p = hello(&b, &h);
    assert_null(expect_auth(p, 0x18, METHOD).p);
    send_auth(p, 0x18, METHOD, scram_client_first(&c));
    take_challenge(p, &c);
    prove(p, &c);
    expect_let_in(p);

    h.id = "d";
    p = hello(&b, &h);
    (void)expect_auth(p, 0x18, METHOD);
    send_auth(p, 0x18, METHOD, NO_DATA); /* asked once is enough */
    expect_refusal(p, 0x87);
    broker_stop(&b);
}

TEST(auth_refuses_methods_it_does_not_have)
{
    static const char *const methods[] = {"SCRAM-SHA-1", "scram-sha-256", "SCRAM-SHA-256-PLUS",
                                          "PLAIN", ""};
    struct hello h = {.id = "c", .data = BYTES_LIT("n,,n=alice,r=x")};
    struct broker b;

    start(&b, 1);
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        struct peer *p;

        h.method = methods[i];
        p = hello(&b, &h);
        expect_refusal(p, 0x8C); /* [MQTT-4.12.0-1] */
    }
    broker_stop(&b);
}

TEST(auth_without_users_refuses_every_method)
{
    struct hello h = {.id = "c", .method = METHOD, .data = BYTES_LIT("n,,n=alice,r=x")};
    struct broker b;
    struct peer *p;

    broker_init(&b, 1);
    broker_start(&b);
    p = hello(&b, &h); /* though anybody may come without one */
    expect_refusal(p, 0x8C);
    broker_stop(&b);
}

TEST(auth_does_not_begin_where_the_listener_is_for_other_versions)
{
    struct hello h = {.id = "c", .method = METHOD, .data = BYTES_LIT("n,,n=alice,r=x")};
    struct broker b;
    struct peer *p;

    start(&b, 1);
    b.listeners[0].versions = 1u << MQTT_31 | 1u << MQTT_311;
    p = hello(&b, &h);
    expect_refusal(p, 0x84); /* [MQTT-3.1.2-2] */
    assert_int_equal(failures, 0);
    broker_stop(&b);
}

TEST(auth_is_not_for_those_whose_names_tls_has_proven)
{
    struct hello h = {.id = "c", .method = METHOD, .data = BYTES_LIT("n,,n=alice,r=x")};
    struct broker b;
    struct peer *p;

    start(&b, 1);
    b.admission = calloc(1, sizeof *b.admission + 3);
    assert_non_null(b.admission);
    b.admission->has_user = true;
    b.admission->user_count = 3;
    memcpy(b.admission->user, "bob", 3);
    p = hello(&b, &h);
    expect_refusal(p, 0x8C);
    broker_stop(&b);
}

TEST(auth_does_not_begin_with_who_is_banned)
{
    struct hello h = {.id = "c", .method = METHOD, .data = BYTES_LIT("n,,n=alice,r=x")};
    struct broker b;
    struct peer *p;

    start(&b, 1);
    b.admission = calloc(1, sizeof *b.admission);
    assert_non_null(b.admission);
    b.admission->is_refused = true;
    b.admission->reason = REASON_CONNECTION_RATE_EXCEEDED;
    p = hello(&b, &h);
    expect_refusal(p, REASON_CONNECTION_RATE_EXCEEDED);
    assert_int_equal(failures, 0);
    broker_stop(&b);
}

TEST(auth_is_not_passed_by_for_anonymous_listeners)
{
    struct scram_client c = user_with("alice", "guess");
    struct broker b;
    struct peer *p;

    start(&b, 1);
    b.listeners[0].allow_anonymous = true;
    p = challenged(&b, &c, "c");
    prove(p, &c);
    expect_refusal(p, 0x87);
    broker_stop(&b);
}

TEST(auth_does_not_heed_user_name_and_password_of_the_connect)
{
    struct scram_client c = user_with("alice", "secret");
    struct hello h = {.id = "c",
                      .method = METHOD,
                      .data = scram_client_first(&c),
                      .username = "root",
                      .password = "x"};
    struct broker b;
    struct peer *p;

    start(&b, 1);
    p = hello(&b, &h);
    take_challenge(p, &c);
    prove(p, &c);
    expect_let_in(p);
    assert_true(bytes_eq(session_user(session_of(&b, "c")), BYTES_LIT("alice")));
    broker_stop(&b);
}

TEST(auth_connect_is_judged_after_the_proof)
{
    struct scram_client c = user_with("alice", "secret");
    struct hello h = {
        .id = "c", .method = METHOD, .data = scram_client_first(&c), .will_topic = "w/denied"};
    struct broker b;
    struct peer *p;

    start(&b, 1);
    broker_set_acl(&b, "user alice\ntopic readwrite a/#\n");
    p = hello(&b, &h);
    take_challenge(p, &c);
    prove(p, &c);
    expect_refusal(p, 0x87);
    h.will_topic = "a/will";
    p = hello(&b, &h);
    take_challenge(p, &c);
    prove(p, &c);
    expect_let_in(p);
    broker_stop(&b);
}

static enum access_answer answer; /* of the net */

static enum access_answer may(void *net, const struct access_question *q)
{
    (void)net;
    assert_true(bytes_eq(q->user, BYTES_LIT("alice"))); /* whose name is proven by now */
    assert_true(bytes_eq(q->topic, BYTES_LIT("w")));
    return answer;
}

/* Turns in which somebody waits do not settle. */
static void turns(struct broker *b)
{
    for (int i = 0; i < 4; i++)
        broker_turn(b, 0);
}

/* A client with a will has proven its user; its CONNECT waits for what the net says of it. */
static struct peer *waiting_for_net(struct broker *b, struct scram_client *c)
{
    struct hello h = {
        .id = "c", .method = METHOD, .data = scram_client_first(c), .will_topic = "w"};
    struct peer *p = hello(b, &h);

    answer = ACCESS_WAIT;
    broker_settle(b);
    take_challenge(p, c);
    put_auth(p, 0x18, METHOD, bytes_str(c->last));
    turns(b);
    peer_expect_nothing(p);
    assert_non_null(p->stream);
    return p;
}

TEST(auth_connect_waits_for_what_the_net_says_of_its_will)
{
    const struct shard_hooks hooks = {.may = may};
    struct scram_client c = user_with("alice", "secret");
    const struct packet_connack *a;
    struct broker b;
    struct peer *p;

    start(&b, 1);
    shard_set_hooks(cluster_shard(b.cluster, 0), &hooks);
    p = waiting_for_net(&b, &c);
    assert_null(session_of(&b, "c"));
    broker_turn(&b, 0);
    b.now_ms +=
        BROKER_LATE(b.config.limits.connect_timeout_ms); /* it is not the client who waits */
    turns(&b);
    peer_expect_nothing(p);
    answer = ACCESS_YES;
    turns(&b);
    a = &peer_expect(p, PACKET_CONNACK)->connack;
    assert_int_equal(a->reason, 0);
    assert_true(scram_client_believes(&c, a->props.auth_data));
    peer_ping(p);
    broker_settle(&b);
    (void)peer_expect(p, PACKET_PINGRESP);
    p = waiting_for_net(&b, &c);
    answer = ACCESS_NO;
    turns(&b);
    expect_refusal(p, 0x87);
    p = waiting_for_net(&b, &c);
    set_users(&b, users_of("alice", "changed", "bob")); /* meanwhile */
    answer = ACCESS_YES;
    turns(&b);
    expect_refusal(p, 0x87);
    set_users(&b, users_of("alice", "secret", "bob"));
    peer_drop(waiting_for_net(&b, &c));
    broker_settle(&b);
    broker_stop(&b);
}

/* ---- between CONNECT and CONNACK ---- */

TEST(auth_only_auth_and_disconnect_may_come_before_connack)
{
    static const uint8_t bad[][8] = {
        {0xc0, 0},                     /* PINGREQ */
        {0x30, 4, 0, 1, 't', 0},       /* PUBLISH */
        {0x82, 7, 0, 1, 0, 0, 1, 't'}, /* SUBSCRIBE, cut off: known from one byte */
        {0x10, 4, 0, 4, 'M', 'Q'},     /* CONNECT */
        {0xf0, 0},                     /* AUTH, which says success and names no method */
        {0xf0, 2, 0x18, 0},            /* AUTH without a method */
    };
    static const uint32_t sizes[] = {2, 6, 8, 6, 2, 4};
    struct scram_client c = user_with("alice", "secret");
    struct broker b;
    struct peer *p;

    start(&b, 1);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        p = challenged(&b, &c, "c");
        peer_write(p, bytes_of(bad[i], sizes[i]));
        broker_settle(&b);
        expect_refusal(p, 0x82); /* [MQTT-3.1.2-30] */
    }
    p = challenged(&b, &c, "c");
    peer_disconnect(p, 0);
    broker_settle(&b);
    peer_expect_nothing(p);
    assert_null(p->stream);
    assert_int_equal(p->why, CLOSE_CLIENT);
    assert_int_equal(BROKER_SUM(&b, protocol_errors), 6);
    broker_stop(&b);
}

TEST(auth_flags_and_bytes_that_are_malformed_are_refused)
{
    static const uint8_t flags[] = {0xf1, 0}, cut[] = {0xf0, 3, 0x18, 9, 0x15};
    static const uint8_t reason[] = {0xf0, 7, 0x17, 5, 0x15, 0, 2, 'a', 'b'};
    struct scram_client c = user_with("alice", "secret");
    struct broker b;
    struct peer *p;

    start(&b, 1);
    p = challenged(&b, &c, "c");
    peer_write(p, bytes_of(flags, sizeof flags));
    broker_settle(&b);
    expect_refusal(p, 0x81); /* [MQTT-3.15.1-1] */
    p = challenged(&b, &c, "c");
    peer_write(p, bytes_of(cut, sizeof cut));
    broker_settle(&b);
    expect_refusal(p, 0x81);
    p = challenged(&b, &c, "c");
    peer_write(p, bytes_of(reason, sizeof reason));
    broker_settle(&b);
    expect_refusal(p, 0x82); /* [MQTT-3.15.2-1] */
    broker_stop(&b);
}

TEST(auth_must_go_on_with_the_method_and_reason_it_began_with)
{
    static const uint8_t reasons[] = {0x19, 0x00};
    struct scram_client c = user_with("alice", "secret");
    struct broker b;
    struct peer *p;

    start(&b, 1);
    p = challenged(&b, &c, "c");
    send_auth(p, 0x18, "SCRAM-SHA-512", bytes_str(c.last)); /* [MQTT-4.12.0-5] */
    expect_refusal(p, 0x82);
    for (size_t i = 0; i < sizeof reasons; i++) {
        p = challenged(&b, &c, "c");
        send_auth(p, reasons[i], METHOD, bytes_str(c.last)); /* [MQTT-4.12.0-3] */
        expect_refusal(p, 0x82);
    }
    broker_stop(&b);
}

TEST(auth_packet_larger_than_a_connect_may_be_is_refused)
{
    static const uint8_t large[] = {0xf0, 0x80, 0x80, 0x80, 0x01};
    struct scram_client c = user_with("alice", "secret");
    struct broker b;
    struct peer *p;

    start(&b, 1);
    p = challenged(&b, &c, "c");
    peer_write(p, bytes_of(large, sizeof large));
    broker_settle(&b);
    expect_refusal(p, 0x95);
    broker_stop(&b);
}

TEST(auth_exchange_must_end_in_time)
{
    struct scram_client c = user_with("alice", "secret");
    struct broker b;
    struct peer *p, *q;

    start(&b, 1);
    p = challenged(&b, &c, "c");
    broker_pass(&b, b.config.limits.connect_timeout_ms / 2);
    assert_non_null(p->stream);
    broker_pass(&b, BROKER_LATE(b.config.limits.connect_timeout_ms / 2 + 1));
    peer_expect_nothing(p);
    assert_null(p->stream);
    assert_int_equal(p->why, CLOSE_CONNECT_TIMEOUT);
    assert_int_equal(BROKER_SUM(&b, connect_timeouts), 1);
    q = logged_in(&b, &c, "c");
    broker_pass(&b, BROKER_LATE(b.config.limits.connect_timeout_ms * 2));
    assert_non_null(q->stream); /* who is in stays */
    broker_stop(&b);
}

TEST(auth_packets_keep_to_the_clients_maximum)
{
    struct scram_client c = user_with("alice", "secret");
    struct hello h = {
        .id = "c", .method = METHOD, .data = scram_client_first(&c), .packet_max = 40};
    struct broker b;
    struct peer *p;

    start(&b, 1);
    p = hello(&b, &h);
    peer_expect_nothing(p); /* [MQTT-3.1.2-24] */
    assert_null(p->stream);
    broker_stop(&b);
}

TEST(auth_never_comes_to_who_named_no_method)
{
    struct broker b;
    struct peer *p;
    struct connect_out o = {.protocol = MQTT_5, .clean_start = true, .client_id = BYTES_LIT("c")};

    start(&b, 1);
    b.listeners[0].allow_anonymous = true;
    p = broker_connect(&b, &o);
    assert_false(p->packet.connack.props.present &
                 PROP_BIT(PROP_AUTH_METHOD)); /* [MQTT-4.12.0-6] */
    send_auth(p, 0x19, METHOD, BYTES_LIT("n,,n=alice,r=x"));
    peer_expect_end(p, 0x82, CLOSE_PROTOCOL_ERROR); /* [MQTT-4.12.0-7] */
    broker_stop(&b);
}

TEST(auth_is_not_of_mqtt_3)
{
    static const uint8_t empty[] = {0xf0, 0};
    struct connect_out o = {.protocol = MQTT_311, .clean_start = true, .client_id = BYTES_LIT("c")};
    struct broker b;
    struct peer *p;

    start(&b, 1);
    b.listeners[0].allow_anonymous = true;
    p = broker_connect(&b, &o);
    peer_write(p, bytes_of(empty, sizeof empty));
    broker_settle(&b);
    peer_expect_nothing(p);
    assert_null(p->stream);
    broker_stop(&b);
}

/* ---- re-authentication ---- */

/* A renewal that the client has begun, and whose challenge it has got. */
static void renewing(struct peer *p, struct scram_client *c)
{
    send_auth(p, 0x19, METHOD, scram_client_first(c));
    take_challenge(p, c);
}

static void expect_renewed(struct peer *p, const struct scram_client *c)
{
    assert_true(scram_client_believes(c, expect_auth(p, 0x00, METHOD)));
}

BROKER_TEST(auth_renews_what_was_proven_while_messages_flow)
{
    struct scram_client c = user_with("alice", "secret");
    struct broker b;
    struct peer *p;

    start(&b, workers);
    p = logged_in(&b, &c, "c");
    peer_subscribed(p, "t", 0);
    for (int i = 0; i < 3; i++) {
        c.nonce = i ? "another" : "and-one";
        renewing(p, &c); /* [MQTT-4.12.1-1] */
        peer_publish(p, "t", "meanwhile", 0);
        broker_settle(&b);
        peer_expect_publish(p, "t", "meanwhile");
        prove(p, &c);
        expect_renewed(p, &c);
    }
    assert_non_null(p->stream);
    assert_int_equal(BROKER_SUM(&b, auth_failures), 0);
    broker_stop(&b);
}

TEST(auth_renewal_that_fails_ends_the_connection)
{
    struct scram_client c = user_with("alice", "secret"), bob = user_with("bob", "other");
    struct broker b;
    struct peer *p;

    start(&b, 1);
    p = logged_in(&b, &c, "c");
    c.password = "guess";
    renewing(p, &c);
    prove(p, &c);
    peer_expect_end(p, 0x87, CLOSE_BAD_CREDENTIALS); /* [MQTT-4.12.1-2] */
    assert_int_equal(failures, 1);
    assert_int_equal(BROKER_SUM(&b, auth_failures), 1);

    c.password = "secret";
    p = logged_in(&b, &c, "c");
    send_auth(p, 0x19, METHOD, BYTES_LIT("nonsense"));
    peer_expect_end(p, 0x87, CLOSE_BAD_CREDENTIALS);

    p = logged_in(&b, &c, "c");
    renewing(p, &bob); /* somebody else, though it is proven */
    prove(p, &bob);
    peer_expect_end(p, 0x87, CLOSE_BAD_CREDENTIALS);
    broker_stop(&b);
}

TEST(auth_renewal_out_of_order_is_a_protocol_error)
{
    static const uint8_t empty[] = {0xf0, 0};
    static const struct {
        uint8_t reason;
        const char *method;
    } bad[] = {{0x18, METHOD}, {0x00, METHOD}, {0x19, "SCRAM-SHA-512"}, {0x19, "PLAIN"}};
    struct scram_client c = user_with("alice", "secret");
    struct broker b;
    struct peer *p;

    start(&b, 1);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        p = logged_in(&b, &c, "c");
        send_auth(p, bad[i].reason, bad[i].method, scram_client_first(&c));
        peer_expect_end(p, 0x82, CLOSE_PROTOCOL_ERROR); /* [MQTT-4.12.1-1] */
    }
    p = logged_in(&b, &c, "c");
    peer_write(p, bytes_of(empty, sizeof empty));
    broker_settle(&b);
    peer_expect_end(p, 0x82, CLOSE_PROTOCOL_ERROR);
    p = logged_in(&b, &c, "c");
    send_auth(p, 0x19, METHOD, scram_client_first(&c));
    (void)expect_auth(p, 0x18, METHOD);
    send_auth(p, 0x19, METHOD, scram_client_first(&c)); /* one is under way */
    peer_expect_end(p, 0x82, CLOSE_PROTOCOL_ERROR);
    broker_stop(&b);
}

TEST(auth_renewal_may_be_asked_for_its_first_message_too)
{
    struct scram_client c = user_with("alice", "secret");
    struct broker b;
    struct peer *p;

    start(&b, 1);
    p = logged_in(&b, &c, "c");
    send_auth(p, 0x19, METHOD, NO_DATA);
    assert_null(expect_auth(p, 0x18, METHOD).p);
    send_auth(p, 0x18, METHOD, scram_client_first(&c));
    take_challenge(p, &c);
    prove(p, &c);
    expect_renewed(p, &c);
    broker_stop(&b);
}

TEST(auth_renewal_must_end_in_time)
{
    struct scram_client c = user_with("alice", "secret");
    struct broker b;
    struct peer *p;

    start(&b, 1);
    for (int asked = 0; asked < 2; asked++) {
        p = logged_in(&b, &c, "c");
        if (asked) {
            send_auth(p, 0x19, METHOD, NO_DATA);
            (void)expect_auth(p, 0x18, METHOD);
        } else {
            renewing(p, &c);
        }
        broker_pass(&b, b.config.limits.connect_timeout_ms - 1);
        peer_ping(p); /* a client that lives, and does not go on */
        broker_settle(&b);
        (void)peer_expect(p, PACKET_PINGRESP);
        broker_pass(&b, BROKER_LATE(b.config.limits.connect_timeout_ms) -
                            b.config.limits.connect_timeout_ms);
        peer_expect_end(p, 0x87, CLOSE_AUTH_TIMEOUT); /* [MQTT-4.12.1-2] */
        assert_int_equal(BROKER_SUM(&b, connect_timeouts), asked + 1);
    }
    assert_int_equal(failures, 0); /* it has guessed nothing */
    broker_stop(&b);
}

TEST(auth_renewal_in_time_is_limited_no_more)
{
    struct scram_client c = user_with("alice", "secret");
    struct broker b;
    struct peer *p;

    start(&b, 1);
    p = logged_in(&b, &c, "c");
    for (int i = 0; i < 2; i++) {
        renewing(p, &c);
        broker_pass(&b, b.config.limits.connect_timeout_ms - 1);
        prove(p, &c);
        expect_renewed(p, &c);
    }
    broker_pass(&b, BROKER_LATE(b.config.limits.connect_timeout_ms));
    peer_expect_nothing(p);
    assert_non_null(p->stream);
    assert_int_equal(BROKER_SUM(&b, connect_timeouts), 0);
    broker_stop(&b);
}

/* What it sends stands behind a packet that waits for the net. */
TEST(auth_renewal_has_time_while_the_broker_does_not_read)
{
    const struct shard_hooks hooks = {.may = may};
    struct scram_client c = user_with("alice", "secret");
    struct broker b;
    struct peer *p;

    start(&b, 1);
    p = logged_in(&b, &c, "c");
    renewing(p, &c);
    shard_set_hooks(cluster_shard(b.cluster, 0), &hooks);
    answer = ACCESS_WAIT;
    peer_publish(p, "w", "x", 1);
    put_auth(p, 0x18, METHOD, bytes_str(c.last));
    turns(&b);
    b.now_ms += BROKER_LATE(b.config.limits.connect_timeout_ms);
    turns(&b);
    peer_expect_nothing(p);
    assert_non_null(p->stream);
    answer = ACCESS_YES;
    turns(&b);
    expect_renewed(p, &c);
    (void)peer_expect(p, PACKET_PUBACK);
    broker_settle(&b);
    broker_stop(&b);
}

/* ---- another file ---- */

BROKER_TEST(auth_users_who_left_the_file_are_disconnected)
{
    struct scram_client alice = user_with("alice", "secret"), bob = user_with("bob", "other");
    struct broker b;
    struct peer *p, *q;

    start(&b, workers);
    p = logged_in(&b, &alice, "c");
    q = logged_in(&b, &bob, "d");
    set_users(&b, users_of("alice", "secret", "bob")); /* the same */
    broker_settle(&b);
    peer_expect_nothing(p);
    peer_expect_nothing(q);
    set_users(&b, users_of("alice", "changed", "bob"));
    broker_settle(&b);
    peer_expect_end(p, 0x87, CLOSE_NOT_AUTHORIZED);
    peer_expect_nothing(q);
    set_users(&b, NULL);
    broker_settle(&b);
    peer_expect_end(q, 0x87, CLOSE_NOT_AUTHORIZED);
    broker_stop(&b);
}

TEST(auth_exchange_begun_with_an_old_file_does_not_let_in)
{
    struct scram_client c = user_with("alice", "secret");
    struct broker b;
    struct peer *p;

    start(&b, 1);
    for (int i = 0; i < 3; i++) {
        p = challenged(&b, &c, "c");
        if (i < 2)
            set_users(&b,
                      i ? users_of("carl", "secret", "bob") : users_of("alice", "changed", "bob"));
        else
            set_users(&b, NULL);
        prove(p, &c);
        expect_refusal(p, 0x87);
        set_users(&b, users_of("alice", "secret", "bob"));
    }
    p = logged_in(&b, &c, "c");
    renewing(p, &c);
    put_auth(p, 0x18, METHOD, bytes_str(c.last));
    set_users(&b, users_of("alice", "changed", "bob"));
    broker_settle(&b);
    peer_expect_end(p, 0x87, CLOSE_BAD_CREDENTIALS);
    broker_stop(&b);
}

TEST(auth_without_memory_or_randomness_refuses)
{
    struct scram_client c = user_with("alice", "secret");
    struct hello h = {.id = "c", .method = METHOD, .data = scram_client_first(&c)};
    struct broker b;
    struct peer *p;

    start(&b, 1);
    fake_scram_answer = ERR_MEMORY;
    p = hello(&b, &h);
    fake_scram_answer = OK;
    expect_refusal(p, 0x89);
    broker_stop(&b);
}

TEST(auth_counts_what_an_exchange_holds_until_it_is_over)
{
    struct scram_client c = user_with("alice", "secret");
    struct hello h = {.id = "c", .method = METHOD};
    struct broker b;
    struct peer *p;
    uint64_t connect_bytes;

    start(&b, 1);
    p = hello(&b, &h);
    broker_settle(&b);
    (void)expect_auth(p, 0x18, METHOD);
    connect_bytes = BROKER_SUM(&b, input_bytes_held);
    send_auth(p, 0x18, METHOD, scram_client_first(&c));
    broker_settle(&b);
    (void)expect_auth(p, 0x18, METHOD);
    assert_true(BROKER_SUM(&b, input_bytes_held) > connect_bytes + 100);
    peer_drop(p);
    broker_settle(&b);
    assert_int_equal(BROKER_SUM(&b, input_bytes_held), 0);
    p = logged_in(&b, &c, "c");
    assert_int_equal(BROKER_SUM(&b, input_bytes_held), 0);
    send_auth(p, 0x19, METHOD, scram_client_first(&c));
    broker_settle(&b);
    (void)scram_client_last(&c, expect_auth(p, 0x18, METHOD));
    assert_true(BROKER_SUM(&b, input_bytes_held) > 0);
    send_auth(p, 0x18, METHOD, bytes_str(c.last));
    broker_settle(&b);
    assert_int_equal(BROKER_SUM(&b, input_bytes_held), 0);
    broker_stop(&b);
}

TEST(auth_begins_no_exchange_beyond_the_memory)
{
    struct scram_client c = user_with("alice", "secret");
    struct hello h = {.id = "c", .method = METHOD};
    struct broker b;
    struct shard *s;
    struct peer *p;

    start_with(&b, 1, 1u << 20);
    s = cluster_shard(b.cluster, 0);
    p = hello(&b, &h);
    broker_settle(&b);
    (void)expect_auth(p, 0x18, METHOD);
    STAT_ADD(&s->stats, filter_bytes_held, 2u << 20); /* others have all of it */
    send_auth(p, 0x18, METHOD, scram_client_first(&c));
    broker_pass(&b, 1);
    STAT_ADD(&s->stats, filter_bytes_held, -(2 << 20));
    expect_refusal(p, REASON_QUOTA_EXCEEDED);
    broker_settle(&b);
    assert_int_equal(BROKER_SUM(&b, input_bytes_held), 0);
    broker_stop(&b);
}

TEST(auth_costs_other_clients_nothing)
{
    struct scram_client alice = user_with("alice", "secret");
    struct broker b;

    start(&b, 1);
    b.listeners[0].allow_anonymous = true;
    assert_null(client_of(broker_client(&b, "c")->stream)->admission);
    assert_non_null(client_of(logged_in(&b, &alice, "d")->stream)->admission);
    broker_stop(&b);
}
