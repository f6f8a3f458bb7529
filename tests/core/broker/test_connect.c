/* tests/core/broker/test_connect.c -- CONNECT, sessions, wills, and how a connection ends. */
#include <stdio.h>
#include <stdlib.h>

#include "core/base/check.h"
#include "core/broker/state.h"
#include "tests/support/broker.h"
#include "tests/support/test.h"

TEST(will_does_not_come_back_to_a_subscription_with_no_local)
{
    struct connect_out o = {.protocol = MQTT_5,
                            .client_id = BYTES_LIT("w"),
                            .has_session_expiry = true,
                            .session_expiry = 100,
                            .has_will = true,
                            .will_qos = 1,
                            .will_topic = BYTES_LIT("t"),
                            .will_payload = BYTES_LIT("gone")};
    struct filter_request f = {.filter = BYTES_LIT("t"), .qos = 1, .no_local = true};
    struct broker b;
    struct peer *p;

    broker_init(&b, 1);
    broker_start(&b);
    p = broker_dial(&b, 0, &o);
    peer_subscribe_to(p, &f, 1, 0);
    broker_settle(&b);
    peer_drop(p);
    broker_settle(&b);
    o.has_will = false;
    p = broker_dial(&b, 0, &o);
    broker_settle(&b);
    assert_true(peer_expect(p, PACKET_CONNACK)->connack.session_present);
    peer_expect_nothing(p); /* [MQTT-3.8.3-3] */
    broker_stop(&b);
}

TEST(subscription_under_way_is_freed_with_the_broker)
{
    struct broker b;
    struct peer *p;

    broker_init(&b, 2);
    broker_start(&b);
    p = broker_client(&b, broker_id_at(&b, 0, 0));
    peer_subscribe(p, broker_topic_at(&b, 1, 0), 0);
    broker_turn(&b, 0);
    peer_drop(p);
    cluster_destroy(b.cluster); /* the leak sanitizer looks */
    check_set_handler(NULL);
    broker_forget_peers(&b);
}

/* ---- sessions ---- */

static struct connect_out lasting(const char *id, enum protocol protocol)
{
    return (struct connect_out){.protocol = protocol,
                                .client_id = bytes_str(id),
                                .has_session_expiry = true,
                                .session_expiry = 100};
}

BROKER_TEST(second_connection_takes_the_session_over)
{
    struct broker b;
    struct peer *old, *young, *q;
    const char *id, *topic;

    broker_init(&b, workers);
    broker_start(&b);
    id = broker_id_at(&b, workers - 1, 0);
    topic = broker_topic_at(&b, 0, 0);
    old = broker_durable(&b, id, MQTT_5);
    peer_subscribed(old, topic, 1);
    young = broker_durable(&b, id, MQTT_5);
    assert_true(young->packet.connack.session_present);
    peer_expect_end(old, REASON_SESSION_TAKEN_OVER, CLOSE_TAKEN_OVER); /* [MQTT-3.1.4-3] */
    assert_int_equal(BROKER_SUM(&b, takeovers), 1);
    q = broker_client(&b, broker_id_at(&b, 0, 1));
    peer_publish(q, topic, "x", 1);
    broker_settle(&b);
    peer_expect_publish(young, topic, "x");
    peer_expect_nothing(old);
    broker_stop(&b);
}

TEST(client_of_mqtt_3_is_taken_over_without_a_word)
{
    struct broker b;
    struct peer *old;

    broker_init(&b, 2);
    broker_start(&b);
    old = broker_durable(&b, "c", MQTT_311);
    (void)broker_durable(&b, "c", MQTT_311);
    peer_expect_end(old, 0, CLOSE_TAKEN_OVER);
    broker_stop(&b);
}

TEST(connection_is_taken_over_by_a_client_that_does_not_wait_for_its_end)
{
    struct connect_out o = lasting("c", MQTT_5);
    struct broker b;
    struct peer *v[5];

    broker_init(&b, 1);
    broker_start(&b);
    for (int i = 0; i < 5; i++) /* all in one turn */
        v[i] = broker_dial(&b, 0, &o);
    broker_settle(&b);
    assert_int_equal(BROKER_SUM(&b, takeovers), 4);
    assert_int_equal(BROKER_SUM(&b, clients_connected), 1);
    for (int i = 0, living = 0; i < 5; i++) {
        peer_expect(v[i], PACKET_CONNACK);
        living += v[i]->stream != NULL;
        assert_in_range(living, 0, 1);
    }
    broker_stop(&b);
}

BROKER_TEST(clean_start_ends_the_session_and_its_subscriptions)
{
    struct connect_out o;
    struct broker b;
    struct peer *p, *q;
    const char *id, *topic;

    broker_init(&b, workers);
    broker_start(&b);
    id = broker_id_at(&b, workers - 1, 0);
    topic = broker_topic_at(&b, 0, 0);
    q = broker_client(&b, broker_id_at(&b, 0, 1));
    p = broker_durable(&b, id, MQTT_5);
    peer_subscribed(p, topic, 1);
    peer_drop(p);
    peer_publish(q, topic, "waits", 1);
    broker_settle(&b);
    o = lasting(id, MQTT_5);
    o.clean_start = true;
    p = broker_connect(&b, &o);
    assert_false(p->packet.connack.session_present); /* [MQTT-3.2.2-2] */
    peer_publish(q, topic, "x", 1);
    broker_settle(&b);
    peer_expect_nothing(p);
    assert_int_equal(BROKER_SUM(&b, subscriptions), 0);
    peer_drop(p);
    o.clean_start = false;
    p = broker_connect(&b, &o);
    assert_true(p->packet.connack.session_present);
    peer_expect_nothing(p);
    broker_stop(&b);
}

BROKER_TEST(session_is_present_until_it_expires)
{
    struct broker b;
    struct peer *p, *q;
    const char *id, *topic;

    broker_init(&b, workers);
    broker_start(&b);
    id = broker_id_at(&b, workers - 1, 0);
    topic = broker_topic_at(&b, 0, 0);
    q = broker_client(&b, broker_id_at(&b, 0, 1));
    p = broker_durable(&b, id, MQTT_5);
    assert_false(p->packet.connack.session_present);
    peer_subscribed(p, topic, 1);
    peer_disconnect(p, 0);
    broker_settle(&b);
    peer_publish(q, topic, "x", 1);
    broker_pass(&b, 3599 * 1000);
    p = broker_durable(&b, id, MQTT_5);
    assert_true(p->packet.connack.session_present);
    peer_expect_publish(p, topic, "x");
    peer_drop(p);
    broker_settle(&b);
    broker_pass(&b, BROKER_LATE(3600 * 1000));
    assert_int_equal(BROKER_SUM(&b, sessions_expired), 1);
    assert_int_equal(BROKER_SUM(&b, subscriptions), 0);
    p = broker_durable(&b, id, MQTT_5);
    assert_false(p->packet.connack.session_present);
    peer_expect_nothing(p);
    broker_stop(&b);
}

TEST(session_without_expiry_ends_with_its_connection)
{
    struct connect_out o = {.protocol = MQTT_5, .client_id = BYTES_LIT("c")};
    struct broker b;
    struct peer *p;

    broker_init(&b, 1);
    broker_start(&b);
    p = broker_connect(&b, &o);
    peer_subscribed(p, "t", 1);
    peer_drop(p);
    broker_settle(&b);
    assert_int_equal(BROKER_SUM(&b, sessions), 0);
    p = broker_connect(&b, &o);
    assert_false(p->packet.connack.session_present);
    broker_stop(&b);
}

TEST(session_of_mqtt_3_stays_unless_it_is_clean)
{
    struct connect_out o = {.protocol = MQTT_311, .client_id = BYTES_LIT("c")};
    struct broker b;

    broker_init(&b, 1);
    broker_start(&b);
    peer_drop(broker_connect(&b, &o));
    broker_pass(&b, 1000ull * 3600 * 24 * 365);
    assert_int_equal(BROKER_SUM(&b, sessions_offline), 1);
    o.clean_start = true;
    peer_drop(broker_connect(&b, &o));
    broker_settle(&b);
    assert_int_equal(BROKER_SUM(&b, sessions), 0);
    broker_stop(&b);
}

TEST(session_expiry_is_bounded_and_the_client_is_told)
{
    struct connect_out o = lasting("c", MQTT_5);
    const struct props *props;
    struct broker b;
    struct peer *p;

    broker_init(&b, 1);
    b.config.limits.session_expiry = 50;
    broker_start(&b);
    p = broker_connect(&b, &o);
    props = &p->packet.connack.props;
    assert_true(props->present & PROP_BIT(PROP_SESSION_EXPIRY));
    assert_int_equal(props->session_expiry, 50);
    peer_drop(p);
    broker_settle(&b);
    broker_pass(&b, BROKER_LATE(50000));
    assert_int_equal(BROKER_SUM(&b, sessions), 0);
    broker_stop(&b);
}

TEST(sessions_beyond_the_limit_end_with_their_connections)
{
    struct broker b;

    broker_init(&b, 1);
    b.config.limits.sessions = 3;
    broker_start(&b);
    for (uint32_t i = 0; i < 10; i++)
        peer_drop(broker_durable(&b, broker_id_at(&b, 0, i), MQTT_5));
    broker_settle(&b);
    assert_in_range(BROKER_SUM(&b, sessions_offline), 3, 4);
    assert_int_equal(BROKER_SUM(&b, sessions_refused), 10 - BROKER_SUM(&b, sessions_offline));
    broker_stop(&b);
}

/* ---- CONNECT and its answer ---- */

TEST(client_without_an_id_is_given_one_that_is_at_home_here)
{
    struct connect_out o = {.protocol = MQTT_5, .client_id = BYTES_LIT("")};
    struct bytes id[2];
    struct broker b;
    struct peer *p[2];

    broker_init(&b, 7);
    broker_start(&b);
    for (int i = 0; i < 2; i++) {
        p[i] = broker_connect(&b, &o);
        assert_true(p[i]->packet.connack.props.present & PROP_BIT(PROP_ASSIGNED_CLIENT_ID));
        id[i] = p[i]->packet.connack.props.assigned_client_id;
        assert_in_range(id[i].n, 1, 65535); /* [MQTT-3.1.3-7] */
        assert_non_null(session_find(cluster_shard(b.cluster, 0), id[i]));
    }
    assert_false(bytes_eq(id[0], id[1])); /* [MQTT-3.1.3-6] */
    broker_stop(&b);
}

static void expect_refused(struct broker *b, const struct connect_out *o, uint16_t listener,
                           uint8_t reason)
{
    struct peer *p = broker_dial(b, listener, o);

    broker_settle(b);
    assert_int_equal(peer_expect(p, PACKET_CONNACK)->connack.reason, reason);
    assert_false(p->packet.connack.session_present); /* [MQTT-3.2.2-6] */
    peer_expect_nothing(p);
    assert_null(p->stream);
}

static struct admission *admit(bool is_refused, uint8_t reason, const char *user)
{
    struct admission *a = calloc(1, sizeof *a + strlen(user));

    assert_non_null(a);
    a->is_refused = is_refused;
    a->reason = reason;
    a->has_user = *user != 0;
    a->user_count = (uint16_t)strlen(user);
    memcpy(a->user, user, strlen(user));
    return a;
}

TEST(connect_follows_what_authentication_found_out)
{
    struct connect_out o = {
        .protocol = MQTT_5, .client_id = BYTES_LIT("c"), .username = BYTES_LIT("claimed")};
    struct broker b;
    struct peer *p;

    broker_init(&b, 1);
    b.listeners[1].allow_anonymous = false;
    broker_start(&b);
    b.admission = admit(true, REASON_BAD_USER_NAME_OR_PASSWORD, "");
    expect_refused(&b, &o, 0, REASON_BAD_USER_NAME_OR_PASSWORD); /* also where nobody must ask */
    b.admission = admit(true, REASON_SERVER_BUSY, "");
    expect_refused(&b, &o, 1, REASON_SERVER_BUSY);
    o.protocol = MQTT_311;
    b.admission = admit(true, REASON_BAD_USER_NAME_OR_PASSWORD, "");
    expect_refused(&b, &o, 1, 4);
    b.admission = admit(false, 0, "proven");
    p = broker_dial(&b, 1, &o);
    broker_settle(&b);
    assert_int_equal(peer_expect(p, PACKET_CONNACK)->connack.reason, 0);
    broker_stop(&b);
}

static uint32_t failures;

static void count_failure(void *net, void *conn, struct bytes client_id)
{
    (void)net;
    (void)conn;
    assert_true(bytes_eq(client_id, BYTES_LIT("c")));
    failures++;
}

TEST(connect_tells_of_those_who_have_not_proven_who_they_are_and_of_nobody_else)
{
    const struct shard_hooks hooks = {.auth_failed = count_failure};
    struct connect_out o = {
        .protocol = MQTT_5, .client_id = BYTES_LIT("c"), .username = BYTES_LIT("claimed")};
    struct broker b;

    failures = 0;
    broker_init(&b, 1);
    b.listeners[1].allow_anonymous = false;
    broker_start(&b);
    shard_set_hooks(cluster_shard(b.cluster, 0), &hooks);
    b.admission = admit(true, REASON_BAD_USER_NAME_OR_PASSWORD, "");
    expect_refused(&b, &o, 0, REASON_BAD_USER_NAME_OR_PASSWORD);
    assert_int_equal(failures, 1);
    b.admission = admit(true, REASON_NOT_AUTHORIZED, "");
    expect_refused(&b, &o, 1, REASON_NOT_AUTHORIZED);
    expect_refused(&b, &o, 1, REASON_BAD_USER_NAME_OR_PASSWORD); /* nobody could be asked */
    assert_int_equal(failures, 3);
    b.admission = admit(true, REASON_SERVER_BUSY, ""); /* his password was not looked at */
    expect_refused(&b, &o, 1, REASON_SERVER_BUSY);
    b.admission = admit(true, REASON_CONNECTION_RATE_EXCEEDED, "");
    expect_refused(&b, &o, 1, REASON_CONNECTION_RATE_EXCEEDED);
    o.has_will = true;
    o.will_topic = BYTES_LIT("$LINK/x");
    b.admission = admit(false, 0, "proven");
    expect_refused(&b, &o, 1, REASON_NOT_AUTHORIZED); /* no guesser: it may not have its will */
    assert_int_equal(failures, 3);
    broker_stop(&b);
}

/* A client whose proof ends after so many seconds. */
static struct peer *connect_until(struct broker *b, struct connect_out *o, uint64_t seconds)
{
    struct peer *p;

    b->admission = admit(false, 0, "proven");
    b->admission->expires_ms = b->now_ms + 1000 * seconds;
    p = broker_dial(b, 1, o);
    broker_settle(b);
    assert_int_equal(peer_expect(p, PACKET_CONNACK)->connack.reason, 0);
    return p;
}

TEST(client_goes_when_what_it_proved_ends)
{
    struct connect_out o = {.protocol = MQTT_5, .client_id = BYTES_LIT("c")};
    struct broker b;
    struct peer *p;

    broker_init(&b, 1);
    b.listeners[1].allow_anonymous = false;
    broker_start(&b);
    for (uint16_t keep_alive = 0; keep_alive <= 6; keep_alive = (uint16_t)(keep_alive + 6)) {
        o.keep_alive = keep_alive;
        p = connect_until(&b, &o, 8);
        for (int i = 0; i < 3; i++) { /* what it sends makes no difference */
            broker_pass(&b, 2500);
            peer_ping(p);
            broker_settle(&b);
            (void)peer_expect(p, PACKET_PINGRESP);
        }
        broker_pass(&b, 480);
        peer_expect_nothing(p);
        broker_pass(&b, 40);
        peer_expect_end(p, REASON_NOT_AUTHORIZED, CLOSE_NOT_AUTHORIZED);
    }
    assert_int_equal(BROKER_SUM(&b, keepalive_timeouts), 0);
    broker_stop(&b);
}

TEST(client_goes_within_seconds_when_a_long_proof_ends)
{
    struct connect_out o = {.protocol = MQTT_5, .client_id = BYTES_LIT("c")};
    const uint64_t day_ms = 86400000;
    struct broker b;
    struct peer *p;

    broker_init(&b, 1);
    broker_start(&b);
    p = connect_until(&b, &o, day_ms / 1000);
    for (uint64_t ms = 0; ms < day_ms - 60000; ms += 60000)
        broker_pass(&b, 60000);
    broker_pass(&b, 59999);
    peer_expect_nothing(p);
    broker_pass(&b, 100);
    peer_expect_end(p, REASON_NOT_AUTHORIZED, CLOSE_NOT_AUTHORIZED);
    broker_stop(&b);
}

TEST(client_that_is_silent_goes_before_what_it_proved_ends)
{
    struct connect_out o = {.protocol = MQTT_5, .client_id = BYTES_LIT("c"), .keep_alive = 2};
    struct broker b;
    struct peer *p;

    broker_init(&b, 1);
    broker_start(&b);
    p = connect_until(&b, &o, 60);
    broker_pass(&b, BROKER_LATE(3000));
    peer_expect_end(p, REASON_KEEP_ALIVE_TIMEOUT, CLOSE_KEEPALIVE);
    assert_int_equal(BROKER_SUM(&b, keepalive_timeouts), 1);
    broker_stop(&b);
}

TEST(connect_is_refused_with_the_reason_of_its_protocol)
{
    struct connect_out o = {.protocol = MQTT_311, .client_id = BYTES_LIT("")};
    struct broker b;
    char deep[600];

    broker_init(&b, 1);
    b.config.limits.max_qos = 1;
    b.config.limits.retain_available = false;
    b.listeners[1].allow_anonymous = false;
    broker_start(&b);
    expect_refused(&b, &o, 0, 2); /* [MQTT-3.1.3-8] */
    o.client_id = BYTES_LIT("c");
    expect_refused(&b, &o, 1, 5);
    o.username = BYTES_LIT("u");
    expect_refused(&b, &o, 1, 4);
    o.protocol = MQTT_5;
    expect_refused(&b, &o, 1, REASON_BAD_USER_NAME_OR_PASSWORD);
    o.username = (struct bytes){0};
    expect_refused(&b, &o, 1, REASON_NOT_AUTHORIZED);
    o.has_will = true;
    o.will_topic = BYTES_LIT("w");
    o.will_qos = 2;
    expect_refused(&b, &o, 0, REASON_QOS_NOT_SUPPORTED); /* [MQTT-3.2.2-12] */
    o.will_qos = 1;
    o.will_retain = true;
    expect_refused(&b, &o, 0, REASON_RETAIN_NOT_SUPPORTED); /* [MQTT-3.2.2-13] */
    o.will_retain = false;
    o.will_topic = BYTES_LIT("$SYS/broker/x");
    expect_refused(&b, &o, 0, REASON_NOT_AUTHORIZED);
    o.will_topic = BYTES_LIT("$LINK/cluster/x");
    expect_refused(&b, &o, 0, REASON_NOT_AUTHORIZED);
    memset(deep, '/', sizeof deep);
    o.will_topic = bytes_of(deep, sizeof deep);
    expect_refused(&b, &o, 0, REASON_TOPIC_NAME_INVALID);
    assert_int_equal(BROKER_SUM(&b, clients_refused), 10);
    assert_int_equal(BROKER_SUM(&b, auth_failures), 6);
    assert_int_equal(BROKER_SUM(&b, sessions), 0);
    broker_stop(&b);
}

TEST(connack_announces_the_bounds_of_this_run)
{
    struct connect_out o = {
        .protocol = MQTT_5, .client_id = BYTES_LIT("c"), .clean_start = true, .keep_alive = 100};
    const struct props *props;
    struct broker b;
    struct peer *p;

    broker_init(&b, 1);
    b.config.limits.receive_maximum = 7;
    b.config.limits.topic_alias = 3;
    b.config.limits.packet_bytes = 5000;
    b.config.limits.max_qos = 1;
    b.config.limits.retain_available = false;
    b.config.limits.keepalive = 60;
    broker_start(&b);
    p = broker_connect(&b, &o);
    props = &p->packet.connack.props;
    assert_int_equal(props->receive_maximum, 7);
    assert_int_equal(props->topic_alias_maximum, 3);
    assert_int_equal(props->maximum_packet_size, 5000);
    assert_int_equal(props->maximum_qos, 1);
    assert_int_equal(props->retain_available, 0);
    assert_int_equal(props->server_keep_alive, 60);
    o.protocol = MQTT_311; /* it cannot be told */
    o.client_id = BYTES_LIT("d");
    expect_refused(&b, &o, 0, 2);
    broker_stop(&b);
}

TEST(connect_is_refused_in_a_version_that_its_listener_does_not_speak)
{
    struct connect_out o = {.protocol = MQTT_31, .client_id = BYTES_LIT("c"), .clean_start = true};
    struct broker b;
    struct peer *p;

    broker_init(&b, 1);
    b.listeners[1].versions = 1u << MQTT_311;
    broker_start(&b);
    expect_refused(&b, &o, 1, 1); /* [MQTT-3.1.2-2] */
    o.protocol = MQTT_5;
    expect_refused(&b, &o, 1, REASON_UNSUPPORTED_PROTOCOL_VERSION);
    p = broker_dial(&b, 0, &o); /* the other listener speaks all */
    broker_settle(&b);
    assert_int_equal(peer_expect(p, PACKET_CONNACK)->connack.reason, 0);
    o.protocol = MQTT_311;
    o.client_id = BYTES_LIT("d");
    p = broker_dial(&b, 1, &o);
    broker_settle(&b);
    assert_int_equal(peer_expect(p, PACKET_CONNACK)->connack.reason, 0);
    broker_stop(&b);
}

TEST(connect_is_told_the_lower_of_two_highest_qos)
{
    struct connect_out o = {
        .protocol = MQTT_5, .client_id = BYTES_LIT("c"), .clean_start = true, .keep_alive = 60};
    struct broker b;
    struct peer *p;

    broker_init(&b, 1);
    b.config.limits.max_qos = 1;
    b.listeners[0].has_max_qos = b.listeners[1].has_max_qos = true;
    b.listeners[0].max_qos = 2;
    b.listeners[1].max_qos = 0;
    broker_start(&b);
    p = broker_connect(&b, &o);
    assert_int_equal(p->packet.connack.props.maximum_qos, 1);
    o.client_id = BYTES_LIT("d");
    p = broker_dial(&b, 1, &o);
    broker_settle(&b);
    assert_int_equal(peer_expect(p, PACKET_CONNACK)->connack.props.maximum_qos, 0);
    o.client_id = BYTES_LIT("e");
    o.has_will = true;
    o.will_topic = BYTES_LIT("w");
    o.will_qos = 1;
    expect_refused(&b, &o, 1, REASON_QOS_NOT_SUPPORTED); /* [MQTT-3.2.2-12] */
    broker_stop(&b);
}

/* ---- wills ---- */

enum end { END_DROP, END_DISCONNECT, END_WITH_WILL, END_TAKE_OVER, END_CLEAN, END_BAD };

#define NEVER UINT32_MAX

/* How a connection with a will ends, and when, in seconds after that, the will is published. */
struct will_case {
    const char *name;
    enum protocol protocol;
    uint32_t delay, expiry;
    enum end end;
    uint32_t due;
};

static const struct will_case will_cases[] = {
    {"socket gone", MQTT_5, 0, 100, END_DROP, 0},
    {"socket gone, delay", MQTT_5, 10, 100, END_DROP, 10},
    {"socket gone, session ends first", MQTT_5, 100, 10, END_DROP, 10},
    {"socket gone, session ends with it", MQTT_5, 10, 0, END_DROP, 0},
    {"DISCONNECT 0x00", MQTT_5, 0, 100, END_DISCONNECT, NEVER},
    {"DISCONNECT 0x00, delay", MQTT_5, 10, 100, END_DISCONNECT, NEVER},
    {"DISCONNECT 0x04", MQTT_5, 0, 100, END_WITH_WILL, 0},
    {"DISCONNECT 0x04, delay", MQTT_5, 10, 100, END_WITH_WILL, 10},
    {"taken over", MQTT_5, 0, 100, END_TAKE_OVER, 0},
    {"taken over before the delay has passed", MQTT_5, 10, 100, END_TAKE_OVER, NEVER},
    {"taken over with a clean start", MQTT_5, 10, 100, END_CLEAN, 0},
    {"bad packet", MQTT_5, 0, 100, END_BAD, 0},
    {"MQTT 3, socket gone", MQTT_311, 0, 0, END_DROP, 0},
    {"MQTT 3, DISCONNECT", MQTT_311, 0, 0, END_DISCONNECT, NEVER},
    {"MQTT 3, taken over", MQTT_311, 0, 0, END_TAKE_OVER, 0},
};

static void end_connection(struct broker *b, struct peer *p, struct connect_out o, enum end end)
{
    static const uint8_t bad[] = {0x00, 0x00};

    o.has_will = false;
    o.clean_start = end == END_CLEAN;
    if (end == END_DROP)
        peer_drop(p);
    else if (end == END_DISCONNECT)
        peer_disconnect(p, REASON_SUCCESS);
    else if (end == END_WITH_WILL)
        peer_disconnect(p, REASON_DISCONNECT_WITH_WILL);
    else if (end == END_BAD)
        peer_write(p, bytes_of(bad, sizeof bad));
    else
        (void)broker_dial(b, 0, &o);
    broker_settle(b);
}

static void try_will(uint32_t workers, const struct will_case *c)
{
    struct connect_out o = {.protocol = c->protocol,
                            .has_session_expiry = true,
                            .session_expiry = c->expiry,
                            .has_will = true,
                            .will_qos = 1,
                            .will_delay = c->delay,
                            .will_payload = BYTES_LIT("gone")};
    struct broker b;
    struct peer *p, *q;
    const char *topic;

    print_message("%s\n", c->name);
    broker_init(&b, workers);
    broker_start(&b);
    topic = broker_topic_at(&b, 0, 0);
    q = broker_client(&b, broker_id_at(&b, 0, 1));
    peer_subscribed(q, topic, 1);
    o.client_id = bytes_str(broker_id_at(&b, workers - 1, 0));
    o.will_topic = bytes_str(topic);
    p = broker_connect(&b, &o);
    end_connection(&b, p, o, c->end);
    if (c->due == NEVER) {
        broker_pass(&b, 1000000);
    } else if (c->due) {
        broker_pass(&b, c->due * 1000 - 1);
        peer_expect_nothing(q);
        broker_pass(&b, BROKER_LATE(c->due * 1000) - (c->due * 1000 - 1));
    }
    if (c->due != NEVER)
        peer_expect_publish(q, topic, "gone");
    peer_expect_nothing(q);
    broker_pass(&b, 1000000); /* not a second time */
    peer_expect_nothing(q);
    broker_stop(&b);
}

BROKER_TEST(will_is_published_when_it_is_due)
{
    for (size_t i = 0; i < sizeof will_cases / sizeof will_cases[0]; i++)
        try_will(workers, &will_cases[i]);
}

/* A will with a delay; the client comes back after half of it. What the subscriber gets. */
static void come_back(uint32_t workers, bool clean_start, const char *expected)
{
    struct connect_out o = lasting("", MQTT_5);
    struct broker b;
    struct peer *q;
    const char *topic;

    broker_init(&b, workers);
    broker_start(&b);
    topic = broker_topic_at(&b, 0, 0);
    q = broker_client(&b, broker_id_at(&b, 0, 1));
    peer_subscribed(q, topic, 1);
    o.client_id = bytes_str(broker_id_at(&b, workers - 1, 0));
    o.has_will = true;
    o.will_delay = 10;
    o.will_topic = bytes_str(topic);
    o.will_payload = BYTES_LIT("gone");
    peer_drop(broker_connect(&b, &o));
    broker_settle(&b);
    broker_pass(&b, 5000);
    o.has_will = false;
    o.clean_start = clean_start;
    (void)broker_connect(&b, &o);
    if (expected)
        peer_expect_publish(q, topic, expected);
    broker_pass(&b, 50000);
    peer_expect_nothing(q);
    broker_stop(&b);
}

BROKER_TEST(will_is_dropped_when_the_client_is_back_in_time)
{
    come_back(workers, false, NULL); /* [MQTT-3.1.3-9] */
}

BROKER_TEST(will_is_published_when_a_clean_start_ends_the_session)
{
    come_back(workers, true, "gone");
}

BROKER_TEST(will_is_retained_when_it_says_so)
{
    struct connect_out o = {.protocol = MQTT_5, .clean_start = true, .has_will = true};
    struct broker b;
    struct peer *q;
    const char *topic;

    broker_init(&b, workers);
    broker_start(&b);
    topic = broker_topic_at(&b, 0, 0);
    o.client_id = bytes_str(broker_id_at(&b, workers - 1, 0));
    o.will_topic = bytes_str(topic);
    o.will_payload = BYTES_LIT("gone");
    o.will_retain = true;
    peer_drop(broker_connect(&b, &o));
    broker_settle(&b);
    q = broker_client(&b, broker_id_at(&b, workers - 1, 1));
    peer_subscribed(q, topic, 1);
    assert_true(peer_expect_publish(q, topic, "gone")->retain);
    broker_stop(&b);
}

TEST(disconnect_may_shorten_the_session_and_then_the_will_is_due)
{
    /* reason 0x04, session expiry 0 */
    static const uint8_t disconnect[] = {0xe0, 7, 4, 5, 0x11, 0, 0, 0, 0};
    struct connect_out o = lasting("c", MQTT_5);
    struct broker b;
    struct peer *p, *q;

    broker_init(&b, 1);
    broker_start(&b);
    q = broker_client(&b, "q");
    peer_subscribed(q, "t", 0);
    o.has_will = true;
    o.will_delay = 50;
    o.will_topic = BYTES_LIT("t");
    o.will_payload = BYTES_LIT("gone");
    p = broker_connect(&b, &o);
    peer_write(p, bytes_of(disconnect, sizeof disconnect));
    broker_settle(&b);
    peer_expect_publish(q, "t", "gone");
    assert_int_equal(BROKER_SUM(&b, sessions), 1);
    broker_stop(&b);
}

TEST(disconnect_may_not_give_a_session_that_had_none)
{
    static const uint8_t disconnect[] = {0xe0, 7, 0, 5, 0x11, 0, 0, 0, 9};
    struct broker b;
    struct peer *p;

    broker_init(&b, 1);
    broker_start(&b);
    p = broker_client(&b, "c");
    peer_write(p, bytes_of(disconnect, sizeof disconnect));
    broker_settle(&b);
    peer_expect_end(p, REASON_PROTOCOL_ERROR, CLOSE_PROTOCOL_ERROR); /* [MQTT-3.14.2-2] */
    broker_stop(&b);
}
