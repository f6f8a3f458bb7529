/* tests/link/test_groups.c -- shared groups that are served once over several clusters. */
#include "link/peer_groups.h"
#include "tests/link/worlds.h"

/* How the links that are made serve groups. */
static enum cfg_shared_groups groups_here = SHARED_GROUPS_GLOBAL;

static struct cfg_link *link_to(struct world *w, const char *name, uint16_t port,
                                const char *topics)
{
    struct cfg_link *l = world_link(w, name, port, topics);

    l->shared_groups = groups_here;
    return l;
}

/* Two clusters that are linked; of each a client that subscribes and one that publishes. */
struct two {
    struct world *a, *b;
    struct cfg_link *to_b, *to_a;
    struct wire *at_a, *at_b, *from_a, *from_b;
};

/* The links are made, and may be changed. */
static struct two two_made(void)
{
    struct two t = {.a = world_make("alpha", 1001), .b = world_make("beta", 1002)};

    t.to_b = link_to(t.a, "beta", 1002, "#");
    t.to_a = link_to(t.b, "alpha", 1001, "#");
    return t;
}

static void two_clients(struct two *t)
{
    t->at_a = client(t->a, "at-a");
    t->at_b = client(t->b, "at-b");
    t->from_a = client(t->a, "from-a");
    t->from_b = client(t->b, "from-b");
}

static void two_start(struct two *t)
{
    world_start(t->a);
    world_start(t->b);
    worlds_pass(2000);
    two_clients(t);
}

static struct two two(void)
{
    struct two t = two_made();

    two_start(&t);
    return t;
}

/* Neither can reach the other any more. */
static void two_part(const struct two *t)
{
    t->a->port = t->b->port = 0;
    world_cut(t->b);
    worlds_pass(1000);
}

static void two_meet(const struct two *t)
{
    t->a->port = 1001;
    t->b->port = 1002;
    worlds_pass(20000);
}

/* Three clusters, each linked with each other, or only the second with both. */
struct three {
    struct world *w[3];
    struct wire *at[3], *from[3];
};

static struct three three(bool is_mesh)
{
    static const char *const names[] = {"alpha", "beta", "gamma"};
    static const char *const ids[] = {"from-a", "from-b", "from-c"};
    struct three t;

    for (uint16_t i = 0; i < 3; i++)
        t.w[i] = world_make(names[i], (uint16_t)(1001 + i));
    for (uint16_t i = 0; i < 3; i++)
        for (uint16_t j = 0; j < 3; j++)
            if (i != j && (is_mesh || i == 1 || j == 1))
                link_to(t.w[i], names[j], (uint16_t)(1001 + j), "#");
    for (uint16_t i = 0; i < 3; i++)
        world_start(t.w[i]);
    worlds_pass(2000);
    for (uint16_t i = 0; i < 3; i++) {
        t.at[i] = client(t.w[i], names[i]);
        t.from[i] = client(t.w[i], ids[i]);
    }
    return t;
}

static void answer(struct wire *k, enum packet_type type, uint16_t id)
{
    uint8_t b[8];

    wire_send(k, b, ack_put(b, MQTT_5, type, id, 0, (struct bytes){0}));
    worlds_settle();
}

/* How many PUBLISHes have come to a client; they are acknowledged. */
static uint32_t came(struct wire *k)
{
    const struct packet *p;
    uint32_t n = 0;

    worlds_settle();
    while ((p = wire_next(k))) {
        if (p->type == PACKET_PUBREL)
            answer(k, PACKET_PUBCOMP, p->ack.packet_id);
        if (p->type != PACKET_PUBLISH)
            continue;
        n++;
        if (p->publish.qos)
            answer(k, p->publish.qos == 1 ? PACKET_PUBACK : PACKET_PUBREC, p->publish.packet_id);
    }
    return n;
}

/* With QoS 2 the whole exchange. */
static void publish_some(struct wire *k, const char *topic, uint32_t count, uint8_t qos)
{
    for (uint32_t i = 0; i < count; i++) {
        struct publish_out p = {
            .qos = 2, .packet_id = 9, .topic = bytes_str(topic), .payload = BYTES_LIT("m")};

        if (qos < 2) {
            publish(k, topic, "m", qos);
            continue;
        }
        wire_publish(k, &p);
        worlds_settle();
        wire_expect(k, PACKET_PUBREC);
        answer(k, PACKET_PUBREL, 9);
        wire_expect(k, PACKET_PUBCOMP);
    }
}

static void leave(struct wire *k)
{
    wire_drop(k);
    worlds_settle();
}

/* A client whose session stays when its connection ends. */
static struct wire *keeper(struct world *w, const char *id)
{
    struct connect_out c = {.protocol = MQTT_5, .client_id = bytes_str(id)};
    struct wire *k = wire_to(w);
    uint8_t b[512];

    c.has_session_expiry = true;
    c.session_expiry = 1000;
    wire_send(k, b, connect_put(b, &c));
    worlds_settle();
    assert_int_equal(wire_expect(k, PACKET_CONNACK)->connack.reason, 0);
    return k;
}

/* Whether both sides name their groups. */
static void check_global(struct world *w, const char *name, bool is_global)
{
    const struct peer *p = world_peer(w, name);

    assert_int_equal(p->takes_groups, is_global);
    assert_int_equal(p->gives_groups, is_global);
}

/* ---- who gets it ---- */

LINK_TEST_NATIVE(group_with_members_on_both_sides_gets_one_copy_the_local_one)
{
    struct two t = two();

    check_global(t.a, "beta", true);
    check_global(t.b, "alpha", true);
    subscribe(t.at_a, "$share/g/t/#", 2);
    subscribe(t.at_b, "$share/g/t/#", 2);
    for (uint8_t qos = 0; qos < 3; qos++)
        publish_some(t.from_b, "t/1", 3, qos);
    assert_int_equal(came(t.at_b), 9);
    assert_int_equal(came(t.at_a), 0);
    worlds_end();
}

LINK_TEST_NATIVE(group_without_local_members_is_served_by_the_other_cluster)
{
    struct two t = two();

    subscribe(t.at_a, "$share/g/t/+", 2);
    for (uint8_t qos = 0; qos < 3; qos++)
        publish_some(t.from_b, "t/1", 3, qos);
    assert_int_equal(came(t.at_a), 9);
    assert_int_equal(announced_filter_count(world_peer(t.b, "alpha")->announced), 1);
    unsubscribe(t.at_a, "$share/g/t/+");
    worlds_pass(1000);
    assert_int_equal(announced_filter_count(world_peer(t.b, "alpha")->announced), 0);
    publish(t.from_b, "t/1", "m", 1);
    assert_int_equal(came(t.at_a), 0);
    assert_int_equal(WORLD_COUNT(t.b, link_messages_sent), 9);
    worlds_end();
}

TEST(local_groups_get_a_copy_in_each_cluster)
{
    struct two t;

    groups_here = SHARED_GROUPS_LOCAL;
    t = two();
    groups_here = SHARED_GROUPS_GLOBAL;
    check_global(t.a, "beta", false);
    subscribe(t.at_a, "$share/g/t", 1);
    subscribe(t.at_b, "$share/g/t", 1);
    publish(t.from_b, "t", "m", 1);
    assert_int_equal(came(t.at_a), 1);
    assert_int_equal(came(t.at_b), 1);
    worlds_end();
}

LINK_TEST_NATIVE(plain_subscriber_and_group_on_one_filter_get_one_each)
{
    struct two t = two();
    struct wire *plain = client(t.a, "plain");

    subscribe(t.at_a, "$share/g/t", 1);
    subscribe(plain, "t", 1);
    publish_some(t.from_b, "t", 4, 1);
    assert_int_equal(came(t.at_a), 4);
    assert_int_equal(came(plain), 4);
    subscribe(t.at_b, "$share/g/t", 1);
    publish_some(t.from_b, "t", 4, 1);
    assert_int_equal(came(t.at_a), 0);
    assert_int_equal(came(t.at_b), 4);
    assert_int_equal(came(plain), 4);
    worlds_end();
}

LINK_TEST_NATIVE(each_group_gets_its_own)
{
    struct two t = two();

    subscribe(t.at_a, "$share/g/t", 1);
    subscribe(t.at_a, "$share/h/#", 0);
    subscribe(t.at_b, "$share/h/#", 0);
    subscribe(t.at_a, "$queue/t", 0);
    publish(t.from_b, "t", "m", 1);
    assert_int_equal(came(t.at_a), 2); /* of g and of the queue */
    assert_int_equal(came(t.at_b), 1);
    worlds_end();
}

/* A wide group hides no narrow one, nor a plain filter, nor they it. */
LINK_TEST_NATIVE(names_of_groups_cover_nothing)
{
    struct two t = two();
    struct wire *plain = client(t.a, "plain");

    subscribe(t.at_a, "$share/g/#", 0);
    subscribe(t.at_a, "$share/g/t/1", 0);
    subscribe(plain, "#", 0);
    subscribe(plain, "t/+", 0);
    publish(t.from_b, "t/1", "m", 0);
    assert_int_equal(came(t.at_a), 2);
    assert_int_equal(came(plain), 1);
    unsubscribe(t.at_a, "$share/g/#");
    publish(t.from_b, "t/1", "m", 0);
    assert_int_equal(came(t.at_a), 1);
    worlds_end();
}

TEST(clusters_with_members_take_turns)
{
    struct three t = three(true);

    subscribe(t.at[0], "$share/g/t", 1);
    subscribe(t.at[1], "$share/g/t", 1);
    publish_some(t.from[2], "t", 6, 1);
    assert_int_equal(came(t.at[0]), 3);
    assert_int_equal(came(t.at[1]), 3);
    subscribe(t.at[2], "$share/g/t", 1);
    publish_some(t.from[2], "t", 6, 1);
    assert_int_equal(came(t.at[0]) + came(t.at[1]), 0);
    assert_int_equal(came(t.at[2]), 6);
    worlds_end();
}

/* ---- who has said what ---- */

LINK_TEST_NATIVE(one_side_alone_makes_nothing_global_and_it_is_said)
{
    struct two t = two_made();
    struct link_status s;

    t.to_a->shared_groups = SHARED_GROUPS_LOCAL;
    two_start(&t);
    check_global(t.a, "beta", false);
    check_global(t.b, "alpha", false);
    assert_true(world_said(t.a, "5 link shared groups not global|beta|its link to us does not say "
                                "shared_groups = global|shared_groups = global is as local"));
    assert_true(hub_status(t.a->hub[world_home(t.a, "beta")], BYTES_LIT("beta"), &s));
    assert_string_equal(s.groups, "refused");
    assert_true(hub_status(t.b->hub[world_home(t.b, "alpha")], BYTES_LIT("alpha"), &s));
    assert_string_equal(s.groups, "local");
    subscribe(t.at_a, "$share/g/t", 1);
    subscribe(t.at_b, "$share/g/t", 1);
    publish(t.from_b, "t", "m", 1);
    assert_int_equal(came(t.at_a), 1);
    assert_int_equal(came(t.at_b), 1);
    worlds_end();
}

TEST(global_is_as_local_with_emqx_and_it_is_said)
{
    struct two t;

    worlds_dialect = DIALECT_EMQX;
    t = two();
    worlds_dialect = DIALECT_AUTO;
    check_global(t.a, "beta", false);
    assert_true(
        world_said(t.a, "|it does not speak our dialect|shared_groups = global is as local"));
    subscribe(t.at_a, "$share/g/t", 1);
    subscribe(t.at_b, "$share/g/t", 1);
    publish(t.from_b, "t", "m", 1);
    assert_int_equal(came(t.at_a), 1);
    assert_int_equal(came(t.at_b), 1);
    worlds_end();
}

/* Only part of the group's filter is imported: over this link it gets nothing, and others do. */
LINK_TEST_NATIVE(group_of_which_only_a_part_is_imported_gets_nothing_and_it_is_said)
{
    struct two t = two_made();

    t.a->topics[0][0] = BYTES_LIT("t/#");
    two_start(&t);
    subscribe(t.at_a, "$share/g/#", 1);
    subscribe(t.at_a, "$share/g/t/1", 1);
    subscribe(t.at_a, "$share/g/u", 1);
    assert_true(world_said(t.a, "4 link shared group not global|beta|"));
    assert_true(world_said(t.a, "|filter #\n"));
    publish(t.from_b, "t/1", "m", 1);
    assert_int_equal(came(t.at_a), 1);
    publish(t.from_a, "t/1", "m", 1);
    assert_int_equal(came(t.at_a), 2);
    assert_int_equal(WORLD_COUNT(t.a, link_routes_not_exported), 1);
    unsubscribe(t.at_a, "$share/g/#");
    unsubscribe(t.at_a, "$share/g/t/1");
    worlds_pass(1000);
    assert_int_equal(wants_state(world_peer(t.a, "beta")->routes.wants).held, 0);
    worlds_end();
}

TEST(group_of_which_only_a_part_is_exported_gets_nothing_and_it_is_said)
{
    static const struct bytes exported = {(const uint8_t *)"t/#", 3};
    struct two t = two_made();

    t.to_a->exports = &exported;
    two_start(&t);
    subscribe(t.at_a, "$share/g/+/1", 1);
    subscribe(t.at_a, "$share/g/t/+", 1);
    assert_true(world_said(t.b, "4 link shared group not global|alpha|"));
    publish(t.from_b, "t/1", "m", 1);
    assert_int_equal(came(t.at_a), 1);
    worlds_pass(20000); /* what was not taken is no reason to ask for all again */
    assert_int_equal(world_peer(t.b, "alpha")->intake.resyncs, 0);
    worlds_end();
}

/* ---- who comes and goes ---- */

TEST(what_a_leaving_member_has_not_acknowledged_goes_to_the_other_cluster)
{
    struct two t = two();
    const struct packet *p;

    subscribe(t.at_a, "$share/g/t", 1);
    subscribe(t.at_b, "$share/g/t", 1);
    publish_some(t.from_b, "t", 3, 1);
    for (int i = 0; i < 3; i++) {
        p = wire_expect(t.at_b, PACKET_PUBLISH);
        if (i == 1)
            wire_ack(t.at_b, p->publish.packet_id, 0);
    }
    worlds_settle();
    leave(t.at_b);
    assert_int_equal(came(t.at_a), 2);
    publish(t.from_b, "t", "m", 1);
    assert_int_equal(came(t.at_a), 1);
    worlds_end();
}

/* They came from gamma: with nobody left in alpha, they go on to beta. */
TEST(what_came_for_members_that_are_gone_is_handed_on)
{
    struct three t = three(true);

    subscribe(t.at[0], "$share/g/t", 1);
    publish_some(t.from[2], "t", 2, 1);
    wire_expect(t.at[0], PACKET_PUBLISH);
    wire_expect(t.at[0], PACKET_PUBLISH);
    subscribe(t.at[1], "$share/g/t", 1);
    leave(t.at[0]);
    assert_int_equal(came(t.at[1]), 2);
    worlds_end();
}

/* Hands a message to a group of a cluster as if it had come over its first link. */
static void hand_to(struct world *w, uint8_t hops)
{
    struct publish p = {.topic = BYTES_LIT("t"),
                        .payload = BYTES_LIT("m"),
                        .qos = 1,
                        .protocol = MQTT_5,
                        .group_hops = hops};

    shard_begin_turn(shard_of(w, WORLD_LINKS), all.now_ms, all.wall_ms);
    assert_int_equal(
        shard_publish_group(shard_of(w, WORLD_LINKS), 0, BYTES_LIT("g"), BYTES_LIT("t"), &p), OK);
    worlds_settle();
}

/* Gamma, which is linked with beta only, knows of no such group, as after a new start. */
TEST(what_came_for_a_group_that_is_not_known_goes_back)
{
    struct three t = three(false);

    subscribe(t.at[0], "$share/g/t", 1);
    hand_to(t.w[2], 1);
    assert_int_equal(came(t.at[0]), 1);
    hand_to(t.w[2], 8); /* it has been about for long enough */
    assert_int_equal(came(t.at[0]), 0);
    assert_int_equal(WORLD_COUNT(t.w[2], dropped_session_end), 1);
    worlds_end();
}

/* Nobody has it anywhere: it does not go to and fro for ever. */
TEST(what_is_for_a_group_that_nobody_has_is_dropped)
{
    struct two t = two();

    hand_to(t.a, 1);
    assert_int_equal(WORLD_COUNT(t.a, dropped_session_end) + WORLD_COUNT(t.b, dropped_session_end),
                     1);
    worlds_end();
}

/* The members of a cluster that is asked are away: it keeps what comes for them. */
TEST(a_cluster_keeps_what_it_was_given_for_members_that_are_away)
{
    struct two t = two();
    struct wire *k = keeper(t.a, "keeper");

    subscribe(k, "$share/g/t", 1);
    leave(k);
    publish_some(t.from_b, "t", 3, 0); /* as ever, that is not kept */
    publish_some(t.from_b, "t", 3, 1);
    k = keeper(t.a, "keeper");
    assert_int_equal(came(k), 3);
    worlds_end();
}

TEST(connected_members_elsewhere_come_before_local_ones_that_are_away)
{
    struct two t = two();
    struct wire *k = keeper(t.b, "keeper");

    subscribe(k, "$share/g/t", 1);
    leave(k);
    publish(t.from_b, "t", "m", 1); /* kept: nobody else is known */
    subscribe(t.at_a, "$share/g/t", 1);
    assert_int_equal(came(t.at_a), 1); /* but now */
    publish(t.from_b, "t", "m", 1);
    assert_int_equal(came(t.at_a), 1);
    k = keeper(t.b, "keeper");
    publish(t.from_b, "t", "m", 1);
    assert_int_equal(came(k), 1);
    assert_int_equal(came(t.at_a), 0);
    worlds_end();
}

/* ---- links that are down ---- */

LINK_TEST_NATIVE(what_is_for_a_cluster_that_is_away_waits_for_it)
{
    struct two t = two();

    subscribe(t.at_a, "$share/g/t", 1);
    two_part(&t);
    t.from_b = client(t.b, "from-b2");
    publish_some(t.from_b, "t", 5, 1);
    publish_some(t.from_b, "t", 1, 0);
    assert_int_equal(world_waiting(t.b, "alpha"), 6);
    two_meet(&t);
    assert_int_equal(came(t.at_a), 6);
    worlds_end();
}

TEST(clusters_whose_link_is_up_are_preferred)
{
    struct three t = three(true);

    subscribe(t.at[0], "$share/g/t", 1);
    subscribe(t.at[1], "$share/g/t", 1);
    t.w[0]->port = 0;
    world_cut(t.w[0]);
    worlds_pass(1000);
    publish_some(t.from[2], "t", 4, 1);
    assert_int_equal(came(t.at[1]), 4);
    worlds_end();
}

/* What waits for local members that are away leaves when a link comes up. */
TEST(what_waits_leaves_when_a_link_comes_up)
{
    struct two t = two();
    struct wire *k;

    subscribe(t.at_a, "$share/g/t", 1);
    two_part(&t);
    k = keeper(t.b, "keeper");
    subscribe(k, "$share/g/t", 1);
    leave(k);
    t.from_b = client(t.b, "from-b2");
    publish_some(t.from_b, "t", 3, 1);
    assert_int_equal(world_waiting(t.b, "alpha"), 0);
    two_meet(&t);
    assert_int_equal(came(t.at_a), 3);
    worlds_end();
}

/* ---- what else a message has ---- */

static void publish_retained(struct wire *k, const char *topic, const char *payload,
                             uint32_t expiry_s)
{
    struct publish_out p = {.qos = 1,
                            .packet_id = 9,
                            .retain = true,
                            .topic = bytes_str(topic),
                            .payload = bytes_str(payload),
                            .has_expiry = expiry_s != 0,
                            .message_expiry = expiry_s};

    wire_publish(k, &p);
    worlds_settle();
    wire_expect(k, PACKET_PUBACK);
}

TEST(retain_flag_and_expiry_travel_to_the_member_and_nothing_is_retained)
{
    struct two t = two();
    struct wire *late = client(t.a, "late");
    const struct packet *p;

    subscribe(t.at_a, "$share/g/t", 1);
    publish_retained(t.from_b, "t", "m", 100);
    p = wire_expect(t.at_a, PACKET_PUBLISH);
    assert_true(p->publish.retain);
    assert_true(p->publish.props.present & PROP_BIT(PROP_MESSAGE_EXPIRY));
    assert_int_equal(p->publish.props.message_expiry, 100);
    subscribe(late, "t", 1);
    assert_int_equal(came(late), 0);
    worlds_end();
}

/* What is retained comes to alpha by the question, and to its group not a second time. */
TEST(what_is_retained_everywhere_is_given_to_a_group_once)
{
    struct two t = two_made();
    struct wire *late;

    t.to_a->retained = t.to_b->retained = RETAINED_SYNC;
    two_start(&t);
    subscribe(t.at_a, "$share/g/#", 1);
    subscribe(t.at_b, "$share/g/#", 1);
    publish_retained(t.from_b, "t", "m", 0);
    assert_int_equal(came(t.at_b), 1);
    assert_int_equal(came(t.at_a), 0);
    late = client(t.a, "late");
    subscribe(late, "t", 1);
    assert_int_equal(came(late), 1);
    two_part(&t);
    two_clients(&t);
    subscribe(t.at_a, "$share/g/#", 1);
    subscribe(t.at_b, "$share/g/#", 1);
    publish_retained(t.from_b, "u", "m", 0);
    assert_int_equal(came(t.at_b), 1);
    two_meet(&t);
    assert_int_equal(came(t.at_a), 0);
    late = client(t.a, "late");
    subscribe(late, "u", 1);
    assert_int_equal(came(late), 1);
    worlds_end();
}

/* ---- acknowledgements ---- */

/* It may go to another cluster still: there is nobody to wait for. */
LINK_TEST_NATIVE(publisher_does_not_wait_for_who_has_it_for_a_group)
{
    struct two t = two_made();
    struct wire *plain;

    t.to_a->ack = ACK_REMOTE;
    two_start(&t);
    plain = client(t.a, "plain");
    subscribe(t.at_a, "$share/g/t", 1);
    subscribe(plain, "t", 1);
    publish_some(t.from_b, "t", 3, 1); /* for the plain one it does */
    assert_int_equal(came(t.at_a) + came(plain), 6);
    unsubscribe(plain, "t");
    two_part(&t);
    t.from_b = client(t.b, "from-b2");
    publish(t.from_b, "t", "m", 1);
    assert_int_equal(WORLD_COUNT(t.b, link_acks_waiting), 0);
    worlds_end();
}

/* ---- SUBACKs that wait ---- */

TEST(suback_linked_waits_for_the_name_of_a_group)
{
    struct two t = two_made();

    t.a->cfg.cluster.suback = SUBACK_LINKED;
    two_start(&t);
    subscribe(t.at_a, "$share/g/t", 1); /* it is answered without time passing */
    assert_int_equal(WORLD_COUNT(t.a, link_subacks_late), 0);
    publish(t.from_b, "t", "m", 1);
    assert_int_equal(came(t.at_a), 1);
    worlds_end();
}
