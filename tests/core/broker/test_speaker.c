/* tests/core/broker/test_speaker.c -- which connections may speak for which links. */
#include <stdlib.h>

#include "core/broker/state.h"
#include "tests/support/broker.h"
#include "tests/support/test.h"

/* ---- a broker with three links, and what its link worker gets ---- */

#define SILENCE_MS 5000u

static const struct link_rules links[] = {{.name = "x", .identity = "link-x"},
                                          {.name = "y", .identity = "link-y"},
                                          {.name = "open", .silence_s = SILENCE_MS / 1000}};

struct taken {
    uint32_t count, impostors, gone;
    char user[32]; /* of the last one */
    struct client_name from, last_gone;
    bool has_no_room;
};
static struct taken taken;
static uint32_t refusals_said;

static bool take_packet(void *link, const struct link_packet *p)
{
    struct taken *t = link;

    if (t->has_no_room)
        return false;
    t->count++;
    t->from = p->from;
    t->impostors += p->is_impostor;
    assert_true(p->user.n < sizeof t->user);
    bytes_put((uint8_t *)t->user, p->user);
    t->user[p->user.n] = 0;
    return true;
}

static void note_gone(void *link, struct client_name who)
{
    struct taken *t = link;

    t->gone++;
    t->last_gone = who;
}

static void count_refusals(void *net, const struct log_event *e)
{
    (void)net;
    if (strcmp(e->event, "link refused") == 0) {
        assert_int_equal(e->level, 4);
        refusals_said++;
    }
}

static void start(struct broker *b, uint8_t inside)
{
    struct shard_hooks hooks = {
        .link = &taken, .link_packet = take_packet, .link_gone = note_gone, .log = count_refusals};
    struct shard_hooks logs = {.log = count_refusals};

    taken = (struct taken){0};
    refusals_said = 0;
    broker_init(b, 2);
    b->config.link_workers = 1;
    b->config.links = links;
    b->config.link_count = 3;
    b->listeners[0].links = inside;
    b->listeners[1].links = LISTENER_LINKS_NO;
    b->listeners[1].allow_anonymous = true;
    broker_start(b);
    shard_set_hooks(cluster_shard(b->cluster, 2), &hooks);
    for (uint32_t i = 0; i < 2; i++)
        shard_set_hooks(cluster_shard(b->cluster, i), &logs);
}

static struct admission *admission_of(const char *user)
{
    struct admission *a = calloc(1, sizeof *a + strlen(user));

    assert_non_null(a);
    a->has_user = true;
    a->user_count = (uint16_t)strlen(user);
    memcpy(a->user, user, strlen(user));
    return a;
}

/* A client that has proven a user name (NULL: none). */
static struct peer *proven(struct broker *b, uint16_t listener, const char *id, const char *user)
{
    b->admission = user ? admission_of(user) : NULL;
    return broker_client_as(b, listener, MQTT_5, id, NULL, false);
}

static uint8_t suback_of(struct peer *p, const char *filter)
{
    peer_subscribe(p, filter, 1);
    broker_settle(p->broker);
    return peer_expect(p, PACKET_SUBACK)->suback.reasons.p[0];
}

static uint8_t puback_of(struct peer *p, const char *topic)
{
    peer_publish(p, topic, "x", 1);
    broker_settle(p->broker);
    return peer_expect(p, PACKET_PUBACK)->ack.reason;
}

/* A packet under $LINK/ arrives at the link worker, from its cluster or from an impostor. */
static void expect_passed(struct peer *p, const char *topic, bool is_impostor)
{
    struct taken before = taken;

    assert_int_equal(puback_of(p, topic), REASON_SUCCESS);
    assert_int_equal(taken.count, before.count + 1);
    assert_int_equal(taken.impostors, before.impostors + is_impostor);
}

/* Neither may it subscribe to what the cluster "x" is told, nor say anything in its name. */
static void expect_closed(struct peer *p)
{
    assert_int_equal(suback_of(p, "$LINK/cluster/resp/x/node"), REASON_NOT_AUTHORIZED);
    assert_int_equal(puback_of(p, "$LINK/cluster/route/x"), REASON_NOT_AUTHORIZED);
}

/* ---- tests ---- */

TEST(link_with_a_peer_identity_is_spoken_for_by_that_user_alone)
{
    struct broker b;
    struct peer *p;

    for (int l = LISTENER_LINKS_ON; l <= LISTENER_LINKS_ONLY; l++) {
        start(&b, (uint8_t)l);
        p = proven(&b, 0, "a", "link-x");
        expect_passed(p, "$LINK/cluster/route/x", false);
        expect_passed(p, "$LINK/cluster/msg/x", false);
        assert_string_equal(taken.user, "");
        p = proven(&b, 0, "b", "eve");
        expect_passed(p, "$LINK/cluster/route/x", true);
        assert_string_equal(taken.user, "eve");
        expect_passed(p, "$LINK/cluster/msg/x", true);
        expect_passed(proven(&b, 0, "c", NULL), "$LINK/cluster/route/x", true);
        /* no prefix will do */
        expect_passed(proven(&b, 0, "d", "link-x2"), "$LINK/cluster/route/x", true);
        expect_passed(proven(&b, 0, "e", "link-"), "$LINK/cluster/route/x", true);
        broker_stop(&b);
    }
}

TEST(user_name_that_was_not_proven_is_no_peer_identity)
{
    struct broker b;
    struct peer *p;

    start(&b, LISTENER_LINKS_ON);
    p = broker_client_as(&b, 0, MQTT_5, "a", "link-x", false);
    expect_passed(p, "$LINK/cluster/route/x", true);
    assert_string_equal(taken.user, "link-x");
    p = broker_client_as(&b, 1, MQTT_5, "b", "link-x", false);
    assert_int_equal(puback_of(p, "$LINK/cluster/route/x"), REASON_NOT_AUTHORIZED);
    b.admission = admission_of("link-x");
    b.admission->has_user = false;
    p = broker_client_as(&b, 0, MQTT_5, "c", NULL, false);
    expect_passed(p, "$LINK/cluster/route/x", true);
    assert_int_equal(suback_of(p, "t"), 1); /* a client as any other */
    broker_stop(&b);
}

TEST(peer_identity_speaks_where_the_listener_takes_no_links)
{
    struct broker b;
    struct peer *p;

    start(&b, LISTENER_LINKS_NO);
    p = proven(&b, 1, "a", "link-x");
    assert_int_equal(suback_of(p, "$LINK/cluster/resp/x/node"), 1);
    assert_int_equal(suback_of(p, "$LINK/cluster/msg/x"), REASON_NOT_AUTHORIZED);
    expect_passed(p, "$LINK/cluster/route/x", false);
    expect_passed(proven(&b, 0, "b", "link-y"), "$LINK/cluster/msg/y", false);
    broker_stop(&b);
}

TEST(connection_of_a_peer_identity_is_a_links_and_nothing_else)
{
    struct broker b;
    struct peer *p;

    start(&b, LISTENER_LINKS_ON);
    p = proven(&b, 0, "a", "link-x");
    assert_int_equal(suback_of(p, "t"), REASON_NOT_AUTHORIZED);
    assert_int_equal(suback_of(p, "#"), REASON_NOT_AUTHORIZED);
    assert_int_equal(puback_of(p, "t"), REASON_NOT_AUTHORIZED);
    p = proven(&b, 0, "b", "somebody");
    assert_int_equal(suback_of(p, "t"), 1);
    broker_stop(&b);
}

TEST(cluster_does_not_speak_for_another)
{
    struct broker b;
    struct peer *p;

    start(&b, LISTENER_LINKS_ON);
    p = proven(&b, 0, "a", "link-x");
    expect_passed(p, "$LINK/cluster/route/y", true);
    expect_passed(p, "$LINK/cluster/msg/y", true);
    expect_passed(p, "$LINK/cluster/msg/y/more", true);
    expect_passed(p, "$LINK/cluster/route/open", true); /* it is known who it is */
    expect_passed(p, "$LINK/cluster/route/nobody", false);
    expect_passed(proven(&b, 1, "b", "link-x"), "$LINK/cluster/msg/y", true);
    broker_stop(&b);
}

TEST(link_without_a_peer_identity_is_open_where_the_listener_takes_links)
{
    struct broker b;

    start(&b, LISTENER_LINKS_ON);
    expect_passed(proven(&b, 0, "a", NULL), "$LINK/cluster/route/open", false);
    expect_passed(proven(&b, 0, "b", "somebody"), "$LINK/cluster/msg/open", false);
    assert_int_equal(refusals_said, 0);
    broker_stop(&b);
}

TEST(who_may_speak_for_no_link_is_refused_and_that_is_said_once)
{
    struct broker b;
    struct peer *p;

    start(&b, LISTENER_LINKS_ON);
    p = proven(&b, 1, "a", "somebody");
    expect_closed(p);
    assert_int_equal(puback_of(p, "$LINK/cluster/msg/open"), REASON_NOT_AUTHORIZED);
    assert_int_equal(taken.count, 0);
    assert_int_equal(refusals_said, 1);
    assert_int_equal(BROKER_SUM(&b, link_packets_refused), 3);
    broker_stop(&b);
}

TEST(rules_of_links_and_not_the_acl_judge_a_link)
{
    struct broker b;
    struct peer *p;

    start(&b, LISTENER_LINKS_NO);
    broker_set_acl(&b, "user admin\ntopic #\n");
    broker_settle(&b);
    p = proven(&b, 1, "a", "link-x");
    assert_int_equal(suback_of(p, "$LINK/cluster/resp/x/node"), 1);
    expect_passed(p, "$LINK/cluster/route/x", false);
    expect_passed(p, "$LINK/cluster/msg/x", false);
    expect_closed(proven(&b, 1, "b", "admin")); /* nor does it open links to anybody */
    broker_stop(&b);
}

TEST(peer_identity_means_nothing_where_there_are_no_link_workers)
{
    struct broker b;
    struct peer *p;

    broker_init(&b, 1);
    b.config.links = links;
    b.config.link_count = 3;
    broker_start(&b);
    p = proven(&b, 0, "a", "link-x");
    assert_int_equal(suback_of(p, "t"), 1);
    assert_int_equal(puback_of(p, "$LINK/cluster/route/x"), REASON_NOT_AUTHORIZED);
    broker_stop(&b);
}

TEST(who_may_speak_for_a_link_changes_with_the_links)
{
    char name[] = "y", identity[] = "link-x"; /* copies are kept */
    struct link_rules other[] = {
        {.name = NULL}, {.name = name, .identity = identity}, {.name = "open"}};
    struct broker b;
    struct peer *p;

    start(&b, LISTENER_LINKS_NO);
    p = proven(&b, 0, "a", "link-x");
    expect_passed(p, "$LINK/cluster/route/x", false);
    expect_passed(p, "$LINK/cluster/route/y", true);
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(shard_set_links(cluster_shard(b.cluster, i), other, 3), OK);
    name[0] = identity[0] = '?';
    expect_passed(p, "$LINK/cluster/route/y", false);
    expect_passed(p, "$LINK/cluster/route/x", false); /* the link worker knows none */
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(shard_set_links(cluster_shard(b.cluster, i), NULL, 0), OK);
    expect_passed(p, "$LINK/cluster/route/y", false);
    broker_stop(&b);
}

/* ---- brokers of ours, which say so ---- */

/* A client whose CONNECT says that it is of the cluster `of`. */
static struct peer *of_cluster(struct broker *b, uint16_t listener, const char *id, const char *of)
{
    struct connect_out c = {.protocol = MQTT_5,
                            .clean_start = true,
                            .client_id = bytes_str(id),
                            .user_property_name = BYTES_LIT(LINK_PROPERTY),
                            .user_property_value = bytes_str(of)};
    struct peer *p = broker_dial(b, listener, &c);

    broker_settle(b);
    return p;
}

TEST(broker_of_a_linked_cluster_lives_on_the_link_worker)
{
    struct broker b;
    struct stream *stream;
    uint32_t packet_max;
    struct peer *p;

    start(&b, LISTENER_LINKS_ON);
    p = of_cluster(&b, 0, "a", "open");
    assert_int_equal(peer_expect(p, PACKET_CONNACK)->connack.reason, REASON_SUCCESS);
    assert_int_equal(p->home, 2);
    expect_passed(p, "$LINK/cluster/route/open", false);
    assert_int_equal(taken.from.worker, 2);
    stream = shard_link_stream(cluster_shard(b.cluster, 2), taken.from, &packet_max);
    assert_ptr_equal(stream, p->stream);
    assert_int_equal(packet_max, UINT32_MAX);
    peer_drop(p);
    broker_settle(&b);
    assert_int_equal(taken.gone, 1);
    assert_int_equal(taken.last_gone.slot, taken.from.slot);
    assert_int_equal(taken.last_gone.generation, taken.from.generation);
    assert_null(shard_link_stream(cluster_shard(b.cluster, 2), taken.from, &packet_max));
    broker_stop(&b);
}

TEST(connection_on_the_link_worker_is_a_links_and_nothing_else)
{
    struct broker b;
    struct peer *p;

    start(&b, LISTENER_LINKS_ON);
    p = of_cluster(&b, 0, "a", "open");
    (void)peer_expect(p, PACKET_CONNACK);
    assert_int_equal(suback_of(p, "t"), REASON_NOT_AUTHORIZED);
    assert_int_equal(puback_of(p, "t"), REASON_NOT_AUTHORIZED);
    assert_int_equal(suback_of(p, "$LINK/cluster/resp/open/node"), 1);
    p = of_cluster(&b, 0, "b", "x"); /* an identity is needed there all the same */
    (void)peer_expect(p, PACKET_CONNACK);
    expect_passed(p, "$LINK/cluster/route/x", true);
    broker_stop(&b);
}

TEST(who_says_that_it_is_a_links_where_it_may_not_is_refused)
{
    struct broker b;
    struct peer *p;

    start(&b, LISTENER_LINKS_ON);
    p = of_cluster(&b, 1, "a", "open");
    assert_int_equal(peer_expect(p, PACKET_CONNACK)->connack.reason, REASON_NOT_AUTHORIZED);
    assert_null(p->stream);
    assert_int_equal(refusals_said, 1);
    broker_stop(&b);
}

TEST(broker_of_a_cluster_without_a_link_is_a_client_as_any_other)
{
    struct broker b;
    struct peer *p;

    start(&b, LISTENER_LINKS_ON);
    p = of_cluster(&b, 0, "a", "elsewhere");
    (void)peer_expect(p, PACKET_CONNACK);
    assert_true(p->home < 2);
    assert_int_equal(suback_of(p, "t"), 1);
    broker_stop(&b);
}

TEST(link_packet_without_room_parks_a_connection_that_lives_on_the_link_worker)
{
    struct broker b;
    struct peer *p;

    start(&b, LISTENER_LINKS_ON);
    p = of_cluster(&b, 0, "a", "open");
    (void)peer_expect(p, PACKET_CONNACK);
    taken.has_no_room = true;
    peer_publish(p, "$LINK/cluster/route/open", "x", 1);
    broker_turn(&b, 2);
    assert_true(p->is_parked);
    taken.has_no_room = false;
    broker_settle(&b);
    assert_int_equal(peer_expect(p, PACKET_PUBACK)->ack.reason, REASON_SUCCESS);
    assert_int_equal(taken.count, 1);
    broker_stop(&b);
}

TEST(connection_on_the_link_worker_that_is_silent_is_closed)
{
    struct broker b;
    struct peer *p, *other;

    start(&b, LISTENER_LINKS_ON);
    p = of_cluster(&b, 0, "a", "open");
    (void)peer_expect(p, PACKET_CONNACK);
    other = of_cluster(&b, 0, "b", "elsewhere");
    for (int i = 0; i < 10; i++) {
        broker_pass(&b, SILENCE_MS - 1000);
        peer_ping(p);
        broker_settle(&b);
        (void)peer_expect(p, PACKET_PINGRESP);
    }
    broker_pass(&b, SILENCE_MS - 1000);
    p->stream->heard_ms = (uint32_t)b.now_ms; /* a part of a packet has come */
    broker_pass(&b, SILENCE_MS - 1000);
    assert_non_null(p->stream);
    broker_pass(&b, 1200);
    assert_null(p->stream);
    assert_non_null(other->stream); /* a client, without a keep alive */
    broker_stop(&b);
}

/* Passes seconds in which a connection is parked, so that there is no rest. */
static void pass_parked(struct broker *b, uint32_t seconds)
{
    for (; seconds; seconds--) {
        b->now_ms += 1000;
        for (int turns = 0; turns < 4; turns++)
            for (uint32_t i = 0; i < 3; i++)
                broker_turn(b, i);
    }
}

TEST(link_connection_that_is_not_read_is_told_every_second_that_we_live)
{
    struct broker b;
    struct peer *p[2];

    start(&b, LISTENER_LINKS_ON);
    p[0] = of_cluster(&b, 0, "a", "open");
    (void)peer_expect(p[0], PACKET_CONNACK);
    p[1] = proven(&b, 0, "b", NULL); /* it does not say so, but speaks for a link */
    expect_passed(p[1], "$LINK/cluster/route/open", false);
    broker_pass(&b, 3000);
    for (int i = 0; i < 2; i++)
        assert_null(peer_next(p[i])); /* who is read gets answers, nothing else */
    shard_link_hold(cluster_shard(b.cluster, 2), 2, true);
    for (int i = 0; i < 2; i++)
        peer_publish(p[i], "$LINK/cluster/route/open", "x", 1);
    pass_parked(&b, 15);
    for (int i = 0; i < 2; i++) {
        uint32_t signs = 0;

        assert_non_null(p[i]->stream);
        for (const struct packet *got; (got = peer_next(p[i])) != NULL; signs++)
            assert_int_equal(got->type, PACKET_PINGRESP);
        assert_in_range(signs, 14, 15);
    }
    broker_stop(&b);
}
