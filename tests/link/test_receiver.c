/* tests/link/test_receiver.c -- our server side of the link protocol: who may say what. */
#include "link/receiver.h"

#include "link/emqx_message.h"
#include "link/waiting.h"
#include "tests/link/worlds.h"

/* A world "alpha" that knows "beta" and wants t/# of it; nothing is dialled successfully. */
static struct world *alone(void)
{
    struct world *w = world_make("alpha", 1001);

    world_link(w, "beta", 3000, "t/#");
    world_start(w);
    worlds_settle();
    return w;
}

/* A client of cluster `cluster`, subscribed to its answers. */
static struct wire *node(struct world *w, const char *cluster)
{
    struct wire *k;
    char text[128];

    snprintf(text, sizeof(text), "%s:routesync:%u", cluster, all.wire_count);
    k = client(w, text);
    snprintf(text, sizeof(text), "$LINK/cluster/resp/%s/n1", cluster);
    subscribe(k, text, 1);
    return k;
}

/* On its way. */
static void put(struct wire *k, const char *topic, struct bytes payload, struct bytes props)
{
    struct publish_out p = {
        .qos = 1, .packet_id = 1, .topic = bytes_str(topic), .payload = payload, .props = props};

    wire_publish(k, &p);
}

static void say(struct wire *k, const char *topic, struct bytes payload, struct bytes props)
{
    put(k, topic, payload, props);
    worlds_settle();
}

/* With the response topic of `cluster` and correlation data "xy". */
static const char *introduced_actor = "n1"; /* the answer comes to n1's topic in any case */

static void put_introduction(struct wire *k, const char *cluster, const char *target,
                             uint64_t incarnation)
{
    struct emqx_control c = {.op = EMQX_ACTOR_INIT,
                             .actor = bytes_str(introduced_actor),
                             .incarnation = incarnation,
                             .version = 1,
                             .target = bytes_str(target)};
    char topic[128], response[128];
    uint8_t payload[256], props[256], *to = props;
    uint32_t n;

    assert_int_equal(emqx_control_encode(&c, payload, sizeof(payload), &n), OK);
    snprintf(topic, sizeof(topic), "$LINK/cluster/route/%s", cluster);
    snprintf(response, sizeof(response), "$LINK/cluster/resp/%s/n1", cluster);
    *to++ = 0x08;
    to = put_be16(to, (uint16_t)strlen(response));
    to = bytes_put(to, bytes_str(response));
    to = bytes_put(to, BYTES_LIT("\x09\x00\x02xy"));
    put(k, topic, bytes_of(payload, n), bytes_of(props, (size_t)(to - props)));
}

static void introduce(struct wire *k, const char *cluster, const char *target, uint64_t incarnation)
{
    put_introduction(k, cluster, target, incarnation);
    worlds_settle();
}

/* Reads PUBACK and answer, in any order. */
static struct emqx_control answer(struct wire *k)
{
    const struct packet *p = wire_next(k);
    struct emqx_control c;

    assert_non_null(p);
    if (p->type == PACKET_PUBACK)
        p = wire_expect(k, PACKET_PUBLISH);
    assert_int_equal(p->publish.qos, 1);
    assert_true(bytes_eq(p->publish.props.correlation_data, BYTES_LIT("xy")));
    assert_int_equal(emqx_control_decode(p->publish.payload, &c), OK);
    assert_int_equal(c.op, EMQX_ACTOR_INIT_ACK);
    wire_ack(k, p->publish.packet_id, 0);
    return c;
}

static struct wire *introduced(struct world *w, uint64_t incarnation)
{
    struct wire *k = node(w, "beta");

    introduce(k, "beta", "alpha", incarnation);
    assert_true(answer(k).is_accepted);
    return k;
}

static void routes(struct wire *k, const char *cluster, const char *actor, const char *add,
                   const char *delete)
{
    struct emqx_route_op op = {.is_add = true, .filter = bytes_str(add), .id = bytes_str(add)};
    struct emqx_batch batch;
    uint8_t payload[512];
    char topic[128];

    assert_int_equal(emqx_batch_begin(&batch, bytes_str(actor), 1, 10, payload, sizeof(payload)),
                     OK);
    if (*add)
        assert_int_equal(emqx_batch_add(&batch, &op), OK);
    op = (struct emqx_route_op){.filter = bytes_str(delete), .id = bytes_str(delete)};
    if (*delete)
        assert_int_equal(emqx_batch_add(&batch, &op), OK);
    snprintf(topic, sizeof(topic), "$LINK/cluster/route/%s", cluster);
    say(k, topic, bytes_of(payload, emqx_batch_end(&batch)), (struct bytes){0});
}

/* Announces `count` routes with filters NUMBER/filler of `bytes` each, from number `from` on. */
static void announce_long(struct wire *k, uint32_t from, uint32_t count, uint32_t bytes)
{
    uint32_t room = count * (2 * bytes + 64) + 512;
    uint8_t *payload = malloc(room);
    char *text = malloc(bytes + 16);
    struct emqx_batch batch;

    assert_non_null(payload);
    assert_non_null(text);
    assert_int_equal(emqx_batch_begin(&batch, BYTES_LIT("n1"), 1, count, payload, room), OK);
    for (uint32_t i = from; i < from + count; i++) {
        struct emqx_route_op op = {.is_add = true};

        memset(text, 'x', bytes);
        snprintf(text, 12, "%010u/", i);
        text[11] = 'x';
        op.filter = op.id = bytes_of(text, bytes);
        assert_int_equal(emqx_batch_add(&batch, &op), OK);
    }
    say(k, "$LINK/cluster/route/beta", bytes_of(payload, emqx_batch_end(&batch)),
        (struct bytes){0});
    free(text);
    free(payload);
}

static void beat(struct wire *k)
{
    struct emqx_control c = {.op = EMQX_HEARTBEAT, .actor = BYTES_LIT("n1"), .incarnation = 1};
    uint8_t payload[128];
    uint32_t n;

    assert_int_equal(emqx_control_encode(&c, payload, sizeof(payload), &n), OK);
    say(k, "$LINK/cluster/route/beta", bytes_of(payload, n), (struct bytes){0});
}

/* The connection was ended with 0x83. */
static void expect_kicked(struct wire *k)
{
    const struct packet *p;

    while ((p = wire_next(k)) && p->type != PACKET_DISCONNECT)
        ;
    assert_non_null(p);
    assert_int_equal(p->disconnect.reason, REASON_IMPLEMENTATION_SPECIFIC);
    assert_null(k->stream[1]);
}

static uint32_t wanted(struct world *w)
{
    return announced_filter_count(world_peer(w, "beta")->announced);
}

/* ---- introductions ---- */

TEST(receiver_tells_whether_routes_are_needed)
{
    struct world *w = alone();
    struct wire *k = node(w, "beta");

    introduce(k, "beta", "alpha", 10);
    assert_int_equal(answer(k).need_bootstrap, EMQX_NEED_TRUE);
    k = node(w, "beta");
    introduce(k, "beta", "alpha", 10); /* a reconnect: it may not have had the answer */
    assert_int_equal(answer(k).need_bootstrap, EMQX_NEED_TRUE);
    routes(k, "beta", "n1", "a", "");
    k = node(w, "beta");
    introduce(k, "beta", "alpha", 10);
    assert_int_equal(answer(k).need_bootstrap, EMQX_NEED_FALSE);
    routes(k, "beta", "n1", "a", "");
    assert_int_equal(wanted(w), 1);
    k = node(w, "beta");
    introduce(k, "beta", "alpha", 11); /* a new life */
    assert_int_equal(answer(k).need_bootstrap, EMQX_NEED_TRUE);
    k = node(w, "beta");
    introduce(k, "beta", "alpha", 10); /* from the past */
    expect_kicked(k);
    assert_true(world_said(w, "its incarnation is lower"));
    worlds_end();
}

TEST(receiver_refuses_with_the_reasons_of_the_protocol)
{
    struct world *w = world_make("alpha", 0);
    struct wire *k;

    world_link(w, "beta", 3000, "t/#");
    world_link(w, "gamma", 3000, "t/#")->enable = false;
    world_start(w);
    k = node(w, "delta");
    introduce(k, "delta", "alpha", 1);
    assert_true(bytes_eq(answer(k).reason, BYTES_LIT("unknown_cluster")));
    k = node(w, "gamma");
    introduce(k, "gamma", "alpha", 1);
    assert_true(bytes_eq(answer(k).reason, BYTES_LIT("cluster_link_disabled")));
    k = node(w, "beta");
    introduce(k, "beta", "alpah", 1);
    assert_true(bytes_eq(answer(k).reason, BYTES_LIT("bad_remote_cluster_link_name")));
    introduce(k, "beta", "alpha", 1); /* a refused one may be followed by another */
    assert_true(answer(k).is_accepted);
    assert_int_equal(WORLD_COUNT(w, link_packets_refused), 3);
    worlds_end();
}

TEST(receiver_ends_connections_that_break_the_protocol)
{
    struct world *w = alone();
    struct emqx_control c = {.op = EMQX_ACTOR_INIT,
                             .actor = BYTES_LIT("n1"),
                             .incarnation = 1,
                             .version = 1,
                             .target = BYTES_LIT("alpha")};
    static const char stranger[] = "\x08\x00\x05"
                                   "a/b/c\x09\x00\x02xy";
    uint8_t payload[256];
    struct wire *k;
    uint32_t n;

    k = introduced(w, 1);
    introduce(k, "beta", "alpha", 1);
    expect_kicked(k); /* a second introduction */
    k = node(w, "beta");
    routes(k, "beta", "n1", "a", "");
    expect_kicked(k); /* routes first */
    k = introduced(w, 1);
    routes(k, "beta", "n2", "a", "");
    expect_kicked(k); /* another actor */
    k = introduced(w, 1);
    routes(k, "gamma", "n1", "a", "");
    expect_kicked(k); /* another cluster */
    assert_int_equal(emqx_control_encode(&c, payload, sizeof(payload), &n), OK);
    k = node(w, "beta");
    say(k, "$LINK/cluster/route/beta", bytes_of(payload, n), (struct bytes){0});
    expect_kicked(k); /* no response topic */
    k = node(w, "beta");
    say(k, "$LINK/cluster/route/beta", bytes_of(payload, n),
        bytes_of(stranger, sizeof(stranger) - 1));
    expect_kicked(k); /* an answer to somebody else */
    k = node(w, "beta");
    say(k, "$LINK/cluster/route/beta", BYTES_LIT("\x83garbage"), (struct bytes){0});
    expect_kicked(k);
    k = node(w, "beta");
    say(k, "$LINK/cluster/route/beta", BYTES_LIT("\x83\x50\xff\xff\xff\xff\x78"),
        (struct bytes){0});
    expect_kicked(k); /* claims 4 GiB */
    k = node(w, "beta");
    say(k, "$LINK/elsewhere", BYTES_LIT("x"), (struct bytes){0});
    expect_kicked(k);
    assert_int_equal(wanted(w), 0);
    assert_int_equal(WORLD_COUNT(w, link_packets_refused), 9);
    worlds_end();
}

TEST(receiver_ignores_a_heartbeat_before_the_introduction)
{
    struct world *w = alone();
    struct wire *k = node(w, "beta");

    beat(k);
    introduce(k, "beta", "alpha", 1);
    wire_expect(k, PACKET_PUBACK);
    assert_true(answer(k).is_accepted);
    worlds_end();
}

TEST(receiver_forgets_actors_that_are_silent)
{
    struct world *w = alone();
    struct wire *k = introduced(w, 1);

    world_peer(w, "beta")->link->queue_age = 1; /* nothing stands when it is silent */
    routes(k, "beta", "n1", "a/#", "");
    for (int i = 0; i < 10; i++) {
        worlds_pass(10000);
        beat(k);
    }
    assert_int_equal(wanted(w), 1);
    worlds_pass(40000);
    assert_int_equal(wanted(w), 0);
    assert_true(world_said(w, "4 link routes expired|beta|"));
    routes(k, "beta", "n1", "a/#", "");
    expect_kicked(k);
    worlds_end();
}

TEST(receiver_refuses_an_incarnation_from_far_ahead)
{
    struct world *w = alone();
    struct wire *k = node(w, "beta");

    introduce(k, "beta", "alpha", UINT64_MAX);
    expect_kicked(k);
    assert_true(world_said(w, "more than a day ahead of our clock"));
    assert_int_equal(WORLD_COUNT(w, link_packets_refused), 1);
    introduced(w, all.wall_ms);
    introduced(w, all.wall_ms + ANNOUNCER_JUMP_MAX_MS); /* what ours may grow to */
    worlds_end();
}

TEST(receiver_removes_the_routes_of_an_earlier_life_in_slices)
{
    enum { ROUTES = 2 * PEER_SWEEP_MAX + 500, TEXT = 16 };
    static uint8_t payload[ROUTES * 64];
    static char text[ROUTES][TEXT];
    struct world *w = alone();
    struct wire *k = introduced(w, 1);
    struct emqx_batch batch;
    uint32_t left;

    assert_int_equal(emqx_batch_begin(&batch, BYTES_LIT("n1"), 1, ROUTES, payload, sizeof(payload)),
                     OK);
    for (uint32_t i = 0; i < ROUTES; i++) {
        struct emqx_route_op op = {.is_add = true};

        snprintf(text[i], TEXT, "a/%u", i);
        op.filter = op.id = bytes_str(text[i]);
        assert_int_equal(emqx_batch_add(&batch, &op), OK);
    }
    say(k, "$LINK/cluster/route/beta", bytes_of(payload, emqx_batch_end(&batch)),
        (struct bytes){0});
    assert_int_equal(wanted(w), ROUTES);
    k = node(w, "beta");
    introduce(k, "beta", "alpha", 2);
    assert_true(answer(k).is_accepted);
    beat(k);
    all.now_ms += 2 * ANNOUNCED_SETTLE_MS;
    do {
        left = wanted(w);
        turn(w, WORLD_LINKS);
        turn(w, WORLD_CLIENTS);
        assert_true(left - wanted(w) <= PEER_SWEEP_MAX);
    } while (wanted(w));
    assert_true(left <= PEER_SWEEP_MAX);
    worlds_end();
}

/* A new life of a node: its routes are not dark until it has announced them again. */
TEST(receiver_keeps_the_routes_of_an_earlier_life_until_the_new_one_has_settled)
{
    struct world *w = alone();
    struct wire *k = introduced(w, 1), *other = node(w, "beta"), *writer = client(w, "writer");
    struct window *window = &world_peer(w, "beta")->forwarders[0].window;

    routes(k, "beta", "n1", "kept", "");
    routes(k, "beta", "n1", "old", "");
    introduce(other, "beta", "alpha", 2);
    assert_int_equal(answer(other).need_bootstrap, EMQX_NEED_TRUE);
    publish(writer, "kept", "x", 1);
    assert_int_equal(window_count(window), 1); /* not dark */
    worlds_pass(9000);
    routes(other, "beta", "n1", "kept", "");
    assert_int_equal(wanted(w), 2);
    beat(other); /* a long bootstrap: one comes in between */
    worlds_pass(1900);
    routes(other, "beta", "n1", "new", "");
    worlds_pass(1900);
    assert_int_equal(wanted(w), 3);
    worlds_pass(300);
    assert_int_equal(wanted(w), 2); /* kept, new */
    publish(writer, "old", "x", 1);
    assert_int_equal(window_count(window), 1);
    publish(writer, "kept", "x", 1);
    assert_int_equal(window_count(window), 2);
    worlds_end();
}

/* PUBACKs leave before we look: what is thrown away with a connection must be announced again. */
TEST(receiver_asks_for_all_routes_of_whom_it_disconnected)
{
    struct world *w = alone();
    struct wire *k = introduced(w, 1);

    routes(k, "beta", "n1", "a", "");
    put(k, "$LINK/cluster/route/beta", BYTES_LIT("\x83garbage"), (struct bytes){0});
    routes(k, "beta", "n1", "lost", ""); /* acknowledged, and dropped with its connection */
    expect_kicked(k);
    assert_int_equal(wanted(w), 1);
    k = node(w, "beta");
    introduce(k, "beta", "alpha", 1);
    assert_int_equal(answer(k).need_bootstrap, EMQX_NEED_TRUE);
    routes(k, "beta", "n1", "lost", "");
    k = node(w, "beta");
    introduce(k, "beta", "alpha", 1); /* once is enough */
    assert_int_equal(answer(k).need_bootstrap, EMQX_NEED_FALSE);
    worlds_end();
}

static void beat_of(struct wire *k, const char *cluster, const char *actor)
{
    struct emqx_control c = {.op = EMQX_HEARTBEAT, .actor = bytes_str(actor), .incarnation = 1};
    uint8_t payload[128];
    char topic[128];
    uint32_t n;

    assert_int_equal(emqx_control_encode(&c, payload, sizeof(payload), &n), OK);
    snprintf(topic, sizeof(topic), "$LINK/cluster/route/%s", cluster);
    say(k, topic, bytes_of(payload, n), (struct bytes){0});
}

/* Two nodes of one cluster and one of another: who is silent loses its routes, and nobody else. */
TEST(receiver_lets_nodes_of_a_cluster_go_one_by_one)
{
    struct world *w = world_make("alpha", 0);
    struct wire *k1, *k2, *other, *writer;
    struct window *window;

    world_link(w, "beta", 3000, "t/#");
    world_link(w, "gamma", 3001, "t/#");
    world_start(w);
    k1 = introduced(w, 1);
    introduced_actor = "n2";
    k2 = introduced(w, 1);
    introduced_actor = "n1";
    other = node(w, "gamma");
    introduce(other, "gamma", "alpha", 1);
    assert_true(answer(other).is_accepted);
    routes(k1, "beta", "n1", "t/+", "");
    routes(k2, "beta", "n2", "t/#", "");
    routes(other, "gamma", "n1", "t/#", "");
    writer = client(w, "writer");
    window = &world_peer(w, "beta")->forwarders[0].window;
    world_peer(w, "beta")->link->queue_age = 1;
    publish(writer, "t/1", "x", 1);
    publish(writer, "t/1/2", "x", 1);
    assert_int_equal(window_count(window), 2); /* one copy, whatever matches */
    for (int i = 0; i < 8; i++) {
        worlds_pass(5000);
        beat_of(k1, "beta", "n1");
        beat_of(other, "gamma", "n1");
    }
    publish(writer, "t/1", "x", 1);
    assert_int_equal(window_count(window), 3);
    publish(writer, "t/1/2", "x", 1); /* the silent one's */
    assert_int_equal(window_count(window), 3);
    for (int i = 0; i < 8; i++) {
        worlds_pass(5000);
        beat_of(other, "gamma", "n1");
    }
    assert_int_equal(wanted(w), 0);
    assert_int_equal(announced_actor_count(world_peer(w, "beta")->announced), 0);
    assert_int_equal(announced_filter_count(world_peer(w, "gamma")->announced), 1);
    publish(writer, "t/1", "x", 1);
    assert_int_equal(window_count(window), 3);
    worlds_end();
}

TEST(receiver_takes_no_routes_over_a_link_that_is_disabled_meanwhile)
{
    struct world *w = alone();
    struct wire *k = introduced(w, 1);

    world_peer(w, "beta")->is_on = false;
    routes(k, "beta", "n1", "a", "");
    expect_kicked(k);
    assert_int_equal(wanted(w), 0);
    worlds_end();
}

/* A node of the cluster, introduced, that wants a filter. */
static struct wire *member(struct world *w, const char *name, const char *filter)
{
    struct wire *k;

    introduced_actor = name;
    k = introduced(w, 1);
    introduced_actor = "n1";
    routes(k, "beta", name, filter, "");
    while (wire_next(k))
        ;
    return k;
}

/* A heartbeat every ten seconds. */
static void beat_for(struct wire *k, uint32_t seconds)
{
    for (uint32_t i = 0; i < seconds; i += 10) {
        worlds_pass(10000);
        beat(k);
    }
}

TEST(receiver_forgets_the_node_that_is_gone_while_another_is_there)
{
    struct world *w = alone();
    struct wire *n1 = member(w, "n1", "a"), *n2 = member(w, "n2", "b");

    wire_drop(n2);
    beat_for(n1, 30);
    assert_int_equal(wanted(w), 2);
    beat_for(n1, 10);
    assert_int_equal(wanted(w), 1);
    beat_for(n1, 100);
    assert_int_equal(wanted(w), 1);
    worlds_end();
}

/* While nobody can be heard nobody is gone; when the first returns the others must come, too. */
TEST(receiver_waits_for_each_node_when_a_cluster_returns)
{
    struct world *w = alone();
    struct wire *n1 = member(w, "n1", "a"), *n2 = member(w, "n2", "b");

    worlds_pass(5000);
    beat(n1); /* they are not silent since the same moment */
    wire_drop(n1);
    wire_drop(n2);
    worlds_pass(10 * ANNOUNCED_TTL_MS);
    assert_int_equal(wanted(w), 2);
    n1 = node(w, "beta");
    introduce(n1, "beta", "alpha", 1);
    assert_int_equal(answer(n1).need_bootstrap, EMQX_NEED_FALSE);
    beat_for(n1, 30);
    assert_int_equal(wanted(w), 2);
    beat_for(n1, 10);
    assert_int_equal(wanted(w), 1);
    worlds_end();
}

/* Says welcome to all that is dialled. */
static void welcome_all(struct world *w)
{
    struct connack_out c = {.retain_available = true, .maximum_qos = 2};
    uint8_t b[128];

    for (uint32_t i = 0; i < all.wire_count; i++) {
        struct wire *k = all.wire[i];
        const struct packet *p = k->world[0] == w && k->stream[0] ? wire_next(k) : NULL;

        if (p && p->type == PACKET_CONNECT)
            wire_send(k, b, connack_put(b, MQTT_5, &c));
    }
    worlds_settle();
}

/* A connection of ours shows that the cluster is there, too. */
TEST(receiver_forgets_who_is_silent_while_our_connection_stands)
{
    struct world *w = alone();

    wire_drop(member(w, "n1", "a"));
    worlds_pass(10 * ANNOUNCED_TTL_MS);
    assert_int_equal(wanted(w), 1);
    all.script_port = 3000;
    while (world_peer(w, "beta")->forwarders[0].dialer.state != DIALER_UP) {
        worlds_pass(100);
        welcome_all(w);
    }
    worlds_pass(ANNOUNCED_TTL_MS - 1000);
    assert_int_equal(wanted(w), 1);
    worlds_pass(2000);
    assert_int_equal(wanted(w), 0);
    worlds_end();
}

/* Else routes of who is never heard of again would stay for good. */
TEST(receiver_forgets_who_is_silent_though_our_connections_come_and_go)
{
    enum { AGE_S = 120 };
    struct world *w = alone();

    world_peer(w, "beta")->link->queue_age = AGE_S;
    wire_drop(member(w, "n1", "a"));
    all.script_port = 3000;
    for (uint32_t passed_s = 0; passed_s <= AGE_S + ANNOUNCED_TTL_MS / 1000; passed_s += 5) {
        worlds_pass(5000);
        welcome_all(w);
        for (uint32_t i = 0; i < all.wire_count; i++)
            if (all.wire[i]->stream[0])
                wire_drop(all.wire[i]);
        if (passed_s < AGE_S - 5)
            assert_int_equal(wanted(w), 1);
    }
    assert_int_equal(wanted(w), 0);
    worlds_end();
}

TEST(receiver_removes_the_routes_of_a_silent_actor_in_slices)
{
    enum { ROUTES = 2 * PEER_SWEEP_MAX + 500 };
    struct world *w = alone();
    struct wire *k = introduced(w, 1), *again = node(w, "beta");
    uint32_t left, slices = 0;

    announce_long(k, 0, ROUTES, 12);
    assert_int_equal(wanted(w), ROUTES);
    world_peer(w, "beta")->link->queue_age = 1;
    worlds_pass(ANNOUNCED_TTL_MS - 1000);
    all.now_ms += 2000;
    do {
        left = wanted(w);
        turn(w, WORLD_LINKS);
        turn(w, WORLD_CLIENTS);
        assert_true(left - wanted(w) <= PEER_SWEEP_MAX);
        slices++;
        if (slices == 1) /* it comes back */
            put_introduction(again, "beta", "alpha", 1);
    } while (wanted(w) && slices < 10);
    assert_true(wanted(w) > 0); /* what is left waits for it to settle */
    worlds_settle();
    assert_int_equal(answer(again).need_bootstrap, EMQX_NEED_TRUE);
    announce_long(again, 0, 7, 12);
    beat(again);
    worlds_pass(2 * ANNOUNCED_SETTLE_MS);
    assert_int_equal(wanted(w), 7);
    assert_true(
        world_said(w, "4 link routes expired|beta|not heard of for too long|2500 routes go"));
    worlds_end();
}

/* ---- routes ---- */

TEST(receiver_applies_routes_once)
{
    struct world *w = alone();
    struct wire *k = introduced(w, 1), *c = client(w, "publisher");
    struct window *window = &world_peer(w, "beta")->forwarders[0].window;

    routes(k, "beta", "n1", "a/+", "");
    routes(k, "beta", "n1", "a/+", "");
    routes(k, "beta", "n1", "a/#", "never");
    publish(c, "a/1", "x", 1);
    assert_int_equal(window_count(window), 1);
    routes(k, "beta", "n1", "", "a/+");
    publish(c, "a/1", "x", 1);
    assert_int_equal(window_count(window), 2);
    routes(k, "beta", "n1", "", "a/#");
    publish(c, "a/1", "x", 1);
    assert_int_equal(window_count(window), 2);
    worlds_end();
}

TEST(receiver_leaves_out_a_filter_that_is_none)
{
    struct world *w = alone();
    struct wire *k = introduced(w, 1);
    char deep[200];

    memset(deep, '/', sizeof(deep));
    deep[sizeof(deep) - 1] = '\0';
    routes(k, "beta", "n1", "a/#/b", "");
    routes(k, "beta", "n1", deep, "");
    routes(k, "beta", "n1", "good", "");
    assert_int_equal(wanted(w), 1);
    assert_non_null(k->stream[1]);
    assert_true(world_said(w, "4 link route not taken|beta|"));
    worlds_end();
}

TEST(receiver_takes_no_more_routes_than_memory_limit_allows)
{
    struct world *w = world_make("alpha", 0);
    struct wire *k;
    uint32_t taken;
    uint64_t before;

    world_link(w, "beta", 3000, "t/#")->queue_age = 1;
    w->cfg.limits.memory_bytes = 2u << 20;
    world_start(w);
    k = introduced(w, 1);
    before = WORLD_COUNT(w, filter_bytes_held);
    for (uint32_t i = 0; i < 4; i++)
        announce_long(k, 10 * i, 10, 40000);
    taken = wanted(w);
    assert_in_range(taken, 10, 35); /* each is held twice: here and in the route index */
    assert_in_range(WORLD_COUNT(w, filter_bytes_held), taken * 80000, 3u << 20);
    assert_int_equal(WORLD_COUNT(w, link_routes_memory), 40 - taken);
    assert_true(world_said(w, "4 link route not taken|beta|memory_limit is reached"));
    assert_non_null(k->stream[1]); /* the others must not suffer for one */
    worlds_pass(40000);            /* it is silent: all are let go */
    assert_int_equal(wanted(w), 0);
    assert_int_equal(WORLD_COUNT(w, filter_bytes_held), before);
    worlds_end();
}

/* ---- messages ---- */

static struct bytes encode(const struct emqx_message *m, uint8_t to[1024])
{
    uint8_t behind[EMQX_TAIL_BYTES];
    uint32_t head, tail;

    assert_int_equal(emqx_message_encode(m, to, 512, &head, behind, &tail), OK);
    bytes_put(bytes_put(to + head, m->payload), bytes_of(behind, tail));
    return bytes_of(to, head + m->payload.n + tail);
}

static void message(struct wire *k, const char *cluster, const char *topic, uint64_t age_ms,
                    uint32_t expiry)
{
    struct emqx_message m = {.id = BYTES_LIT("0123456789abcdef"),
                             .qos = 1,
                             .from = BYTES_LIT("dev"),
                             .topic = bytes_str(topic),
                             .payload = BYTES_LIT("hi"),
                             .timestamp_ms = all.wall_ms - age_ms,
                             .has_expiry = expiry != 0,
                             .message_expiry = expiry};
    uint8_t payload[1024];
    char to[128];

    snprintf(to, sizeof(to), "$LINK/cluster/msg/%s", cluster);
    say(k, to, encode(&m, payload), (struct bytes){0});
}

TEST(receiver_publishes_only_what_was_asked_for)
{
    struct world *w = world_make("alpha", 0);
    struct wire *k, *reader;

    world_link(w, "beta", 3000, "t/#");
    world_link(w, "gamma", 3000, "t/#")->enable = false;
    world_start(w);
    k = client(w, "beta:msg:1");
    reader = client(w, "reader");
    subscribe(reader, "#", 1);
    message(k, "beta", "t/1", 0, 0);
    expect_publish(reader, "t/1", "hi");
    message(k, "beta", "u/1", 0, 0);  /* not in our topics */
    message(k, "delta", "t/1", 0, 0); /* nobody */
    message(k, "beta", "$LINK/x/y", 0, 0);
    assert_null(wire_next(reader));
    assert_int_equal(WORLD_COUNT(w, link_messages_dropped), 3);
    assert_non_null(k->stream[1]);
    message(k, "beta", "t/2", 5000, 4); /* too old */
    assert_null(wire_next(reader));
    message(k, "beta", "t/2", 5000, 10);
    assert_int_equal(wire_expect(reader, PACKET_PUBLISH)->publish.props.message_expiry, 5);
    assert_int_equal(WORLD_COUNT(w, link_messages_received), 2);
    worlds_end();
}

TEST(receiver_disconnects_who_sends_messages_over_a_disabled_link)
{
    struct world *w = world_make("alpha", 0);
    struct wire *k, *reader;

    world_link(w, "gamma", 3000, "t/#")->enable = false;
    world_start(w);
    k = client(w, "gamma:msg:1");
    reader = client(w, "reader");
    subscribe(reader, "#", 1);
    message(k, "gamma", "t/1", 0, 0);
    while (wire_next(k) && k->packet.type != PACKET_DISCONNECT)
        ;
    assert_int_equal(k->packet.type, PACKET_DISCONNECT);
    assert_int_equal(k->packet.disconnect.reason, REASON_ADMINISTRATIVE_ACTION);
    assert_null(wire_next(reader));
    worlds_end();
}

TEST(receiver_never_publishes_a_payload_it_cannot_read)
{
    struct world *w = alone();
    struct wire *k = client(w, "beta:msg:1"), *reader = client(w, "reader");

    subscribe(reader, "#", 1);
    say(k, "$LINK/cluster/msg/beta", BYTES_LIT("\x83\x68\x0a"), (struct bytes){0});
    expect_kicked(k);
    assert_null(wire_next(reader));
    assert_int_equal(WORLD_COUNT(w, link_packets_refused), 1);
    worlds_end();
}

TEST(receiver_drops_a_message_that_is_none_of_mqtt_and_goes_on)
{
    struct world *w = alone();
    struct wire *k = client(w, "beta:msg:1"), *reader = client(w, "reader");

    subscribe(reader, "#", 1);
    message(k, "beta", "t/\xff", 0, 0); /* a broker that is not strict lets its clients do so */
    message(k, "beta", "t/1", 0, 0);
    expect_publish(reader, "t/1", "hi");
    assert_int_equal(WORLD_COUNT(w, link_messages_dropped), 1);
    assert_int_equal(WORLD_COUNT(w, link_packets_refused), 0);
    worlds_end();
}

/* ---- little that unpacks to much ---- */

#define MSG_TOPIC "$LINK/cluster/msg/beta"

/* A damaged payload that claims so many bytes. Unpacking it ends the connection. */
static struct bytes bomb(uint32_t claimed)
{
    static uint8_t b[7] = {0x83, 0x50};

    put_be32(b + 2, claimed);
    b[6] = 'x';
    return bytes_of(b, sizeof(b));
}

TEST(receiver_unpacks_nothing_that_no_link_wants)
{
    struct world *w = world_make("alpha", 0);
    struct wire *k;

    world_link(w, "beta", 3000, "t/#");
    world_start(w);
    k = client(w, "bomber");
    say(k, "$LINK/cluster/msg/delta", bomb(500000), (struct bytes){0});
    assert_int_equal(WORLD_COUNT(w, link_messages_dropped), 1);
    assert_int_equal(WORLD_COUNT(w, link_packets_refused), 0);
    assert_non_null(k->stream[1]);
    say(k, "$LINK/cluster/route/delta", bomb(500000), (struct bytes){0});
    expect_kicked(k);
    assert_true(world_said(w, "a large compressed payload before an introduction"));
    worlds_end();
}

TEST(receiver_drops_what_a_disconnected_client_still_sends)
{
    struct world *w = alone();
    struct wire *k = client(w, "bomber"), *reader = client(w, "reader");

    subscribe(reader, "#", 1);
    put(k, MSG_TOPIC, bomb(500000), (struct bytes){0});
    message(k, "beta", "t/1", 0, 0);
    message(k, "beta", "t/2", 0, 0);
    expect_kicked(k);
    assert_null(wire_next(reader));
    assert_int_equal(WORLD_COUNT(w, link_messages_received), 0);
    assert_int_equal(WORLD_COUNT(w, link_packets_refused), 2); /* t/2 came too late for that */
    message(client(w, "beta:msg:1"), "beta", "t/3", 0, 0);
    expect_publish(reader, "t/3", "hi");
    worlds_end();
}

TEST(receiver_unpacks_only_so_much_in_a_turn)
{
    static const uint32_t claims[] = {3, 3, 1, 6, 1, 1}; /* MiB */
    static const uint32_t done[] = {2, 4, 5, 6, 6};      /* after each turn */
    struct world *w = world_make("alpha", 0);
    struct wire *k[6];

    world_link(w, "beta", 3000, "t/#");
    w->cfg.limits.packet_bytes = 16u << 20;
    world_start(w);
    for (uint32_t i = 0; i < 6; i++) {
        char id[16];

        snprintf(id, sizeof(id), "bomber%u", i);
        k[i] = client(w, id);
    }
    for (uint32_t i = 0; i < 6; i++)
        put(k[i], MSG_TOPIC, bomb((claims[i] << 20) - 1), (struct bytes){0});
    turn(w, WORLD_CLIENTS);
    for (uint32_t i = 0; i < 5; i++) {
        turn(w, WORLD_LINKS);
        assert_int_equal(WORLD_COUNT(w, link_packets_refused), done[i]);
    }
    worlds_settle();
    for (uint32_t i = 0; i < 6; i++)
        expect_kicked(k[i]);
    worlds_end();
}

/* ---- what waits ---- */

/* A zlib stream with fixed codes [RFC 1951 3.2.6]; runs become lengths of 258. */
struct deflate {
    uint8_t *to;
    uint32_t n, bit;
};

static void put_bits(struct deflate *z, uint32_t code, uint32_t count, bool is_huffman)
{
    for (uint32_t i = 0; i < count; i++) {
        if (z->bit == 0)
            z->to[z->n++] = 0;
        z->to[z->n - 1] |= (uint8_t)((code >> (is_huffman ? count - 1 - i : i) & 1) << z->bit);
        z->bit = (z->bit + 1) % 8;
    }
}

/* Whether the next 258 bytes are what the last one was. */
static bool is_run(const uint8_t *p, uint32_t at, uint32_t n)
{
    for (uint32_t i = 0; i < 258; i++)
        if (at == 0 || at + i >= n || p[at + i] != p[at - 1])
            return false;
    return true;
}

/* A compressed term out of a plain one. The caller frees it. */
static struct bytes deflated(struct bytes plain)
{
    uint8_t *to = malloc(plain.n + plain.n / 4 + 64);
    struct deflate z = {.to = to, .n = 8};
    const uint8_t *p = plain.p + 1;
    uint32_t n = plain.n - 1, a = 1, b = 0;

    assert_non_null(to);
    memcpy(to, "\x83\x50....\x78\x01", 8);
    put_be32(to + 2, n);
    put_bits(&z, 1, 1, false);
    put_bits(&z, 1, 2, false);
    for (uint32_t i = 0; i < n;) {
        if (is_run(p, i, n)) {
            put_bits(&z, 0xC0 + 285 - 280, 8, true);
            put_bits(&z, 0, 5, true);
            i += 258;
        } else {
            put_bits(&z, p[i] < 144 ? 0x30u + p[i] : 0x190u + p[i] - 144, p[i] < 144 ? 8 : 9, true);
            i++;
        }
    }
    put_bits(&z, 0, 7, true);
    for (uint32_t i = 0; i < n; i++) {
        a = (a + p[i]) % 65521;
        b = (b + a) % 65521;
    }
    put_be32(to + z.n, b << 16 | a);
    return bytes_of(to, z.n + 4);
}

/* A message of so many bytes, little when compressed. The caller frees it. */
static struct bytes packed(const char *topic, uint32_t bytes)
{
    uint8_t *plain = malloc(bytes + 1024), behind[EMQX_TAIL_BYTES], *text = malloc(bytes);
    struct emqx_message m = {.id = BYTES_LIT("0123456789abcdef"),
                             .qos = 1,
                             .from = BYTES_LIT("dev"),
                             .topic = bytes_str(topic),
                             .timestamp_ms = all.wall_ms};
    uint32_t head, tail;
    struct bytes z;

    assert_true(plain && text);
    memset(text, 'x', bytes);
    m.payload = bytes_of(text, bytes);
    assert_int_equal(emqx_message_encode(&m, plain, 1000, &head, behind, &tail), OK);
    bytes_put(bytes_put(plain + head, m.payload), bytes_of(behind, tail));
    z = deflated(bytes_of(plain, head + bytes + tail));
    free(text);
    free(plain);
    return z;
}

static void put_packed_to(struct wire *k, const char *to, const char *topic, uint32_t bytes,
                          uint32_t count)
{
    struct bytes z = packed(topic, bytes);

    while (count--)
        put(k, to, z, (struct bytes){0});
    free((void *)(uintptr_t)z.p);
}

static void put_packed(struct wire *k, const char *topic, uint32_t bytes, uint32_t count)
{
    put_packed_to(k, MSG_TOPIC, topic, bytes, count);
}

static void put_message(struct wire *k, const char *topic)
{
    struct emqx_message m = {.id = BYTES_LIT("0123456789abcdef"),
                             .qos = 1,
                             .from = BYTES_LIT("dev"),
                             .topic = bytes_str(topic),
                             .payload = BYTES_LIT("hi"),
                             .timestamp_ms = all.wall_ms};
    uint8_t payload[1024];

    put(k, MSG_TOPIC, encode(&m, payload), (struct bytes){0});
}

/* A world that lets clients send 16 MiB. */
static struct world *roomy(void)
{
    struct world *w = world_make("alpha", 1001);

    world_link(w, "beta", 3000, "t/#");
    w->cfg.limits.packet_bytes = 16u << 20;
    world_start(w);
    worlds_settle();
    return w;
}

/* All that is on the way to the clients' worker is with the link worker or in its ring. */
static void hand_over(struct world *w)
{
    for (int i = 0; i < 100; i++)
        turn(w, WORLD_CLIENTS);
}

TEST(receiver_answers_others_while_one_floods_bombs)
{
    enum { BOMBS = 60, BYTES = 3 << 20 };
    struct world *w = roomy();
    struct wire *k = introduced(w, 1), *again = node(w, "beta"), *publisher = client(w, "pub");
    struct wire *bomber = client(w, "bomber");
    struct announced *a = world_peer(w, "beta")->announced;
    struct window *window = &world_peer(w, "beta")->forwarders[0].window;
    struct emqx_control beat = {.op = EMQX_HEARTBEAT, .actor = BYTES_LIT("n1"), .incarnation = 1};
    uint8_t payload[128];
    uint64_t expiry;
    uint32_t n;

    routes(k, "beta", "n1", "a/+", "");
    put_packed(bomber, "u/1", BYTES, BOMBS); /* not asked for: unpacked for nothing */
    hand_over(w);
    turn(w, WORLD_LINKS);
    put_introduction(again, "beta", "alpha", 1);
    wire_publish(publisher,
                 &(struct publish_out){.topic = BYTES_LIT("a/1"), .payload = BYTES_LIT("x")});
    for (int i = 0; i < 2; i++) {
        turn(w, WORLD_CLIENTS);
        turn(w, WORLD_LINKS);
    }
    turn(w, WORLD_CLIENTS);
    assert_true(answer(again).is_accepted);
    assert_int_equal(window_count(window), 1);
    all.now_ms += 50;
    expiry = announced_next_expiry(a);
    assert_int_equal(emqx_control_encode(&beat, payload, sizeof(payload), &n), OK);
    put(k, "$LINK/cluster/route/beta", bytes_of(payload, n), (struct bytes){0});
    turn(w, WORLD_CLIENTS);
    turn(w, WORLD_LINKS);
    assert_true(announced_next_expiry(a) > expiry);
    assert_in_range(WORLD_COUNT(w, link_messages_dropped), 3, 8); /* and the bombs wait */
    worlds_settle();
    assert_int_equal(WORLD_COUNT(w, link_messages_dropped), BOMBS);
    assert_int_equal(WORLD_COUNT(w, input_bytes_held), 0);
    assert_non_null(bomber->stream[1]);
    worlds_end();
}

TEST(receiver_unpacks_of_one_client_after_the_other)
{
    enum { BOMBERS = 5 };
    struct world *w = roomy();
    struct wire *reader = client(w, "reader"), *k = client(w, "beta:msg:1"), *bomber[BOMBERS];
    char id[24];
    int turns = 0;

    subscribe(reader, "t/#", 0);
    for (int i = 0; i < BOMBERS; i++) {
        snprintf(id, sizeof(id), "bomber%d", i);
        bomber[i] = client(w, id);
    }
    for (int i = 0; i < BOMBERS; i++)
        put_packed(bomber[i], "u/1", 4 << 20, 10);
    hand_over(w);
    turn(w, WORLD_LINKS);
    put_packed(k, "t/1", 2000, 1);
    for (const struct packet *p = NULL; !p && turns < 100; turns++) {
        turn(w, WORLD_CLIENTS);
        turn(w, WORLD_LINKS);
        turn(w, WORLD_CLIENTS);
        p = wire_next(reader);
    }
    assert_in_range(turns, 1, BOMBERS + 2);
    worlds_settle();
    assert_int_equal(WORLD_COUNT(w, link_messages_dropped), 10 * BOMBERS);
    worlds_end();
}

TEST(receiver_keeps_the_order_of_a_client_that_waits)
{
    struct world *w = roomy();
    struct wire *reader = client(w, "reader"), *k = client(w, "beta:msg:1");
    struct wire *bomber = client(w, "bomber");

    subscribe(reader, "t/#", 0);
    put_packed(bomber, "u/1", 4 << 20, 4);
    hand_over(w);
    turn(w, WORLD_LINKS);
    put_packed(k, "t/1", 300000, 1);
    put_message(k, "t/2");
    put_packed(k, "t/3", 1000, 1);
    put_message(k, "t/4");
    hand_over(w);
    turn(w, WORLD_LINKS);
    k = client(w, "beta:msg:1"); /* its next connection is still the same publisher */
    put_message(k, "t/5");
    worlds_settle();
    assert_true(bytes_eq(wire_expect(reader, PACKET_PUBLISH)->publish.topic, BYTES_LIT("t/1")));
    expect_publish(reader, "t/2", "hi");
    assert_true(bytes_eq(wire_expect(reader, PACKET_PUBLISH)->publish.topic, BYTES_LIT("t/3")));
    expect_publish(reader, "t/4", "hi");
    expect_publish(reader, "t/5", "hi");
    worlds_end();
}

static void expect_quota(struct wire *k)
{
    const struct packet *p;

    while ((p = wire_next(k)) && p->type != PACKET_DISCONNECT)
        ;
    assert_non_null(p);
    assert_int_equal(p->disconnect.reason, REASON_QUOTA_EXCEEDED);
    assert_null(k->stream[1]);
}

/* Of a client that speaks for no link, behind one that waits. */
TEST(receiver_disconnects_a_stranger_of_which_too_much_waits)
{
    struct emqx_control c = {.op = EMQX_HEARTBEAT, .actor = BYTES_LIT("n1"), .incarnation = 1};
    struct world *w = roomy();
    struct wire *reader = client(w, "reader"), *bomber = client(w, "bomber");
    struct wire *stranger = client(w, "stranger");
    static uint8_t nothing[1 << 20];
    uint8_t payload[128];
    struct bytes z;
    uint32_t n;

    subscribe(reader, "t/#", 0);
    put_packed(bomber, "u/1", 3 << 20, 3);
    assert_int_equal(emqx_control_encode(&c, payload, sizeof(payload), &n), OK);
    z = deflated(bytes_of(payload, n));
    put(stranger, "$LINK/cluster/route/nobody", z, (struct bytes){0});
    free((void *)(uintptr_t)z.p);
    for (int i = 0; i < 12; i++) /* not compressed, but behind the former */
        put(stranger, "$LINK/cluster/route/nobody", bytes_of(nothing, sizeof(nothing)),
            (struct bytes){0});
    hand_over(w);
    worlds_settle();
    expect_quota(stranger);
    assert_non_null(bomber->stream[1]);
    assert_int_equal(WORLD_COUNT(w, link_clients_over_limit), 1);
    assert_int_equal(WORLD_COUNT(w, link_messages_dropped), 3);
    assert_int_equal(WORLD_COUNT(w, link_packets_refused), 13);
    assert_int_equal(WORLD_COUNT(w, link_holds), 0);
    assert_int_equal(WORLD_COUNT(w, input_bytes_held), 0);
    assert_true(world_said(w, "too many of its packets wait to be unpacked"));
    message(client(w, "beta:msg:1"), "beta", "t/3", 0, 0);
    expect_publish(reader, "t/3", "hi");
    worlds_end();
}

/* It comes in pieces, and what is not read stays with the sender. */
TEST(receiver_holds_a_link_of_which_many_bytes_wait_and_loses_nothing)
{
    enum { BOMBS = 40, PIECES = 60, PIECE = 256 << 10 };
    struct world *w = roomy();
    struct wire *reader = client(w, "reader"), *k = client(w, "beta:msg:1");
    struct wire *other = client(w, "beta:msg:2");
    static uint8_t nothing[PIECE];
    struct emqx_message m = {.id = BYTES_LIT("0123456789abcdef"),
                             .qos = 1,
                             .from = BYTES_LIT("dev"),
                             .topic = BYTES_LIT("u/2"),
                             .payload = bytes_of(nothing, PIECE - 512),
                             .timestamp_ms = all.wall_ms};
    uint8_t *payload = malloc(PIECE);
    uint64_t most = 0;

    assert_non_null(payload);
    subscribe(reader, "t/#", 0);
    put_packed(k, "u/1", 4 << 20, BOMBS);
    for (int i = 0; i < PIECES; i++) {
        put(k, MSG_TOPIC, encode(&m, payload), (struct bytes){0});
        turn(w, WORLD_CLIENTS);
        turn(w, WORLD_LINKS);
        most = WORLD_COUNT(w, input_bytes_held) > most ? WORLD_COUNT(w, input_bytes_held) : most;
    }
    free(payload);
    assert_in_range(most, PEER_WAITING_BYTES, PEER_WAITING_BYTES + 4 * PIECE);
    assert_true(WORLD_COUNT(w, link_holds) >= 1);
    assert_true(world_said(w, "5 link held back|beta|"));
    assert_true(world_said(w, "|much of what it sent waits to be unpacked|"));
    put_message(other, "t/1");
    put_message(k, "t/2");
    worlds_settle();
    assert_int_equal(wire_expect(reader, PACKET_PUBLISH)->publish.topic.n, 3); /* in any order */
    assert_int_equal(wire_expect(reader, PACKET_PUBLISH)->publish.topic.n, 3);
    assert_non_null(k->stream[1]);
    assert_int_equal(WORLD_COUNT(w, link_messages_dropped), BOMBS + PIECES);
    assert_int_equal(WORLD_COUNT(w, link_packets_refused), 0);
    assert_int_equal(WORLD_COUNT(w, input_bytes_held), 0);
    assert_int_equal(world_peer(w, "beta")->waiting.count, 0);
    worlds_end();
}

/* More are on their way than may wait of a stranger, before the link worker sees the first. */
TEST(receiver_holds_a_link_of_which_many_packets_wait)
{
    enum { BOMBS = 20, MANY = 3 * WAITING_PACKETS_MAX };
    struct world *w = roomy();
    struct wire *k = client(w, "beta:msg:1"), *later = client(w, "beta:msg:2");
    struct waiting_sum *sum = &world_peer(w, "beta")->waiting;
    bool *is_held = &world_peer(w, "beta")->hold.is_crowded;
    struct emqx_message m = {.id = BYTES_LIT("0123456789abcdef"),
                             .from = BYTES_LIT("dev"),
                             .topic = BYTES_LIT("u/2"),
                             .timestamp_ms = all.wall_ms};
    struct publish_out p = {.topic = BYTES_LIT(MSG_TOPIC)}; /* QoS 0: no Receive Maximum */
    uint8_t payload[1024];
    uint32_t most = 0;

    p.payload = encode(&m, payload);
    put_packed(k, "u/1", 4 << 20, BOMBS);
    for (uint32_t i = 0; i < MANY; i++) {
        wire_publish(k, &p);
        if (i != PEER_WAITING_PACKETS - BOMBS - 2)
            continue;
        hand_over(w);
        turn(w, WORLD_LINKS);
        assert_false(*is_held);
    }
    hand_over(w);
    turn(w, WORLD_LINKS);
    assert_true(*is_held);
    put_message(later, "t/1");
    for (uint32_t read = later->n[1]; *is_held;) {
        assert_true(sum->count >= PEER_WAITING_PACKETS / 2);
        assert_int_equal(later->n[1], read);
        turn(w, WORLD_CLIENTS);
        turn(w, WORLD_LINKS);
        most = sum->count > most ? sum->count : most;
    }
    assert_true(most > WAITING_PACKETS_MAX);
    assert_in_range(sum->count, 0, PEER_WAITING_PACKETS / 2);
    worlds_settle();
    assert_int_equal(WORLD_COUNT(w, link_messages_received), 1);
    assert_int_equal(WORLD_COUNT(w, link_messages_dropped), BOMBS + MANY);
    assert_int_equal(WORLD_COUNT(w, link_clients_over_limit), 0);
    worlds_end();
}

TEST(receiver_disconnects_who_has_most_when_too_much_of_all_waits)
{
    enum { BOMBERS = 16 };
    static uint8_t nothing[1 << 20];
    static char name[BOMBERS][16];
    struct world *w = world_make("alpha", 0);
    struct wire *bomber[BOMBERS], *k;
    char to[64], id[24];
    uint32_t gone = 0;

    world_link(w, "beta", 3000, "t/#");
    for (int i = 0; i < BOMBERS; i++) {
        snprintf(name[i], sizeof(name[i]), "l%d", i);
        world_link(w, name[i], 3000, "t/#");
    }
    w->cfg.limits.packet_bytes = 16u << 20;
    world_start(w);
    worlds_settle();
    k = introduced(w, 1);
    for (int i = 0; i < BOMBERS; i++) {
        snprintf(id, sizeof(id), "bomber%d", i);
        bomber[i] = client(w, id);
    }
    for (int i = 0; i < BOMBERS; i++) { /* the first has most */
        snprintf(to, sizeof(to), "$LINK/cluster/msg/l%d", i);
        put_packed_to(bomber[i], to, "u/1", 4 << 20, 20);
        for (int n = 0; n < 6; n++)
            put(bomber[i], to, bytes_of(nothing, sizeof(nothing) - (i ? 200000 : 0)),
                (struct bytes){0});
    }
    for (int i = 0; i < 15; i++) {
        turn(w, WORLD_CLIENTS);
        turn(w, WORLD_LINKS);
        assert_true(WORLD_COUNT(w, input_bytes_held) <= WAITING_ALL_BYTES_MAX);
    }
    put_packed(k, "t/1", 1000, 1);
    turn(w, WORLD_CLIENTS);
    assert_in_range(WORLD_COUNT(w, link_clients_over_limit), 1, BOMBERS - 1);
    expect_quota(bomber[0]);
    for (int i = 0; i < BOMBERS; i++)
        gone += !bomber[i]->stream[1];
    assert_int_equal(gone, WORLD_COUNT(w, link_clients_over_limit));
    assert_true(world_said(w, "too much waits to be unpacked"));
    worlds_settle();
    assert_int_equal(WORLD_COUNT(w, link_messages_received), 1);
    assert_int_equal(WORLD_COUNT(w, input_bytes_held), 0);
    assert_non_null(k->stream[1]);
    worlds_end();
}

TEST(receiver_lets_nothing_wait_when_the_memory_is_used_up)
{
    struct world *w = world_make("alpha", 0);
    struct wire *bomber;

    world_link(w, "beta", 3000, "t/#");
    w->cfg.limits.packet_bytes = 16u << 20;
    w->cfg.limits.memory_bytes = 1u << 20;
    world_start(w);
    bomber = client(w, "bomber");
    put_packed(bomber, "u/1", 4 << 20, 100);
    hand_over(w);
    worlds_settle();
    expect_quota(bomber);
    assert_int_equal(WORLD_COUNT(w, link_clients_over_limit), 1);
    assert_true(world_said(w, "no memory for its packets that wait"));
    assert_int_equal(WORLD_COUNT(w, input_bytes_held), 0);
    worlds_end();
}

static uint32_t lines_of(const struct world *w, const char *event)
{
    uint32_t count = 0;

    for (const char *at = w->log.text; (at = strstr(at, event)); at++)
        count++;
    return count;
}

TEST(receiver_says_only_so_many_lines_of_refused_packets)
{
    struct world *w = alone();

    for (int i = 0; i < 5; i++)
        say(client(w, "bomber"), MSG_TOPIC, bomb(1000), (struct bytes){0});
    assert_int_equal(lines_of(w, "link packet refused"), 1);
    say(client(w, "bomber"), "$LINK/elsewhere", bomb(1000), (struct bytes){0});
    assert_int_equal(lines_of(w, "link packet refused"), 2); /* of no link: counted apart */
    worlds_pass(RECEIVER_SAY_MS);
    say(client(w, "bomber"), MSG_TOPIC, bomb(1000), (struct bytes){0});
    assert_int_equal(lines_of(w, "link packet refused"), 3);
    assert_true(world_said(w, "4 more were refused since the last line"));
    for (int i = 0; i < 5; i++)
        introduce(node(w, "delta"), "delta", "alpha", 1);
    assert_int_equal(lines_of(w, "link refused"), 1);
    assert_int_equal(WORLD_COUNT(w, link_packets_refused), 12);
    worlds_end();
}

/* ---- the recorded conversation, as the server ---- */

struct replay {
    struct wire *wire[16]; /* by number of the recorded connection */
    uint16_t last_id;      /* of the PUBLISH we sent last */
    uint32_t answers;
};

static void compare(struct replay *r, struct wire *k, struct bytes recorded)
{
    struct packet want;
    const struct packet *got = wire_next(k);
    struct frame f;
    enum reason why;
    uint32_t need;

    assert_int_equal(frame_next(recorded, 1u << 20, &f, &need), OK);
    assert_int_equal(packet_decode(&f, MQTT_5, &want, &why), OK);
    assert_non_null(got);
    assert_int_equal(got->type, want.type);
    r->answers++;
    switch (want.type) {
    case PACKET_CONNACK:
        assert_int_equal(got->connack.reason, 0);
        assert_int_equal(got->connack.session_present, want.connack.session_present);
        break;
    case PACKET_SUBACK:
        assert_true(bytes_eq(got->suback.reasons, want.suback.reasons));
        break;
    case PACKET_PUBACK:
        assert_int_equal(got->ack.packet_id, want.ack.packet_id);
        assert_true(got->ack.reason < REASON_UNSPECIFIED_ERROR);
        break;
    case PACKET_PUBLISH:
        assert_true(bytes_eq(got->publish.topic, want.publish.topic));
        assert_true(bytes_eq(got->publish.props.all, want.publish.props.all));
        assert_true(bytes_eq(got->publish.payload, want.publish.payload));
        r->last_id = got->publish.packet_id;
        break;
    default: /* the QoS 2 message, which EMQX 5.8 sends as such */
        break;
    }
}

/* Says the `>` packets of a recording to a world and compares what it answers with the `<` ones. */
static void replay(struct world *w, const char *file, struct replay *r)
{
    struct vectors v = vectors_open();

    while (vectors_next(&v, "capture")) {
        size_t n = strlen(file);
        struct bytes b;
        int number;

        if (strncmp(v.column[1], file, n) != 0)
            continue;
        number = atoi(v.column[1] + n + 1);
        b = unhex(v.column[3]);
        if (v.column[2][0] == '>') {
            if (b.p[0] == 0x10)
                r->wire[number] = wire_to(w);
            if (b.p[0] == 0x40)
                put_be16((uint8_t *)b.p + 2, r->last_id);
            wire_put(r->wire[number], 1, b.p, b.n);
            worlds_settle();
        } else {
            compare(r, r->wire[number], b);
        }
        free_bytes(b);
    }
}

TEST(receiver_answers_the_recorded_routes_as_emqx_did)
{
    struct world *w = world_make("cluster-us-east", 0);
    struct replay r = {0};

    world_link(w, "cluster-eu-west", 3000, "#");
    world_start(w);
    replay(w, "b_to_a", &r);
    assert_true(r.answers > 15);
    assert_int_equal(announced_actor_count(world_peer(w, "cluster-eu-west")->announced), 1);
    assert_int_equal(announced_filter_count(world_peer(w, "cluster-eu-west")->announced), 0);
    worlds_end();
}

TEST(receiver_publishes_the_recorded_messages)
{
    static const char *const payloads[] = {"q0v5", "q1v5", "q2v5", "q1v311"};
    struct world *w = world_make("cluster-eu-west", 0);
    struct wire *reader;
    struct replay r = {0};
    uint32_t count = 0;
    const struct packet *p;

    world_link(w, "cluster-us-east", 3000, "iot/#,pre/#,shared/#,nosub/#");
    all.wall_ms = 1795362180998u; /* the time of the recording: one message has an expiry */
    world_start(w);
    reader = client(w, "reader");
    subscribe(reader, "#", 0);
    replay(w, "a_to_b", &r);
    for (; (p = wire_next(reader)); count++) {
        assert_int_equal(p->type, PACKET_PUBLISH);
        if (count < 4)
            assert_true(bytes_eq(p->publish.payload, bytes_str(payloads[count])));
    }
    assert_int_equal(count, 8);
    assert_int_equal(WORLD_COUNT(w, link_messages_received), 8);
    worlds_end();
}

/* ---- who may speak for a link ---- */

/* As alone(), and only the user "link-beta" may speak for beta. */
static struct world *alone_with_identity(void)
{
    struct world *w = world_make("alpha", 1001);

    world_link(w, "beta", 3000, "t/#")->peer_identity = "link-beta";
    world_link(w, "gamma", 3001, "g/#");
    world_start(w);
    worlds_settle();
    return w;
}

/* A client that has proven to be `user`. */
static struct wire *proven(struct world *w, const char *id, const char *user)
{
    struct admission *a = calloc(1, sizeof(*a) + strlen(user));
    struct wire *k;

    assert_non_null(a);
    a->has_user = true;
    a->user_count = (uint16_t)strlen(user);
    memcpy(a->user, user, strlen(user));
    w->admission = a;
    k = client(w, id);
    subscribe(k, "$LINK/cluster/resp/beta/n1", 1);
    return k;
}

/* The connection was ended with 0x87. */
static void expect_not_authorized(struct wire *k)
{
    const struct packet *p;

    while ((p = wire_next(k)) && p->type != PACKET_DISCONNECT)
        ;
    assert_non_null(p);
    assert_int_equal(p->disconnect.reason, REASON_NOT_AUTHORIZED);
}

TEST(peer_identity_introduces_itself_and_others_are_told_that_they_may_not)
{
    struct world *w = alone_with_identity();
    struct wire *good, *eve = node(w, "beta"), *mallory = proven(w, "m", "mallory");
    struct emqx_control c;

    introduce(eve, "beta", "alpha", 5);
    c = answer(eve);
    assert_false(c.is_accepted);
    assert_true(bytes_eq(c.reason, BYTES_LIT("not_authorized")));
    assert_true(world_said(w, "4 link refused|beta|we answer not_authorized"));
    introduce(mallory, "beta", "alpha", 5);
    assert_false(answer(mallory).is_accepted);
    assert_int_equal(WORLD_COUNT(w, link_impostors), 2);
    assert_int_equal(wanted(w), 0);
    good = proven(w, "b", "link-beta");
    introduce(good, "beta", "alpha", 5);
    assert_true(answer(good).is_accepted);
    routes(good, "beta", "n1", "a/b", "");
    assert_int_equal(wanted(w), 1);
    assert_int_equal(WORLD_COUNT(w, link_impostors), 2);
    worlds_end();
}

TEST(refused_introduction_is_said_also_right_behind_another_packet)
{
    struct world *w = alone_with_identity();

    message(client(w, "e"), "beta", "t/forged", 0, 0);
    introduce(node(w, "beta"), "beta", "alpha", 5);
    assert_int_equal(lines_of(w, "link packet refused"), 1);
    assert_true(world_said(w, "4 link refused|beta|we answer not_authorized"));
    worlds_end();
}

TEST(routes_and_messages_of_an_impostor_end_its_connection)
{
    struct world *w = alone_with_identity();
    struct wire *reader = client(w, "r"), *k;

    subscribe(reader, "#", 0);
    k = client(w, "e1");
    routes(k, "beta", "n1", "stolen/#", "");
    expect_not_authorized(k);
    k = client(w, "e2");
    message(k, "beta", "t/forged", 0, 0);
    expect_not_authorized(k);
    assert_true(world_said(w, "4 link packet refused|beta|it has not proven the peer_identity of "
                              "this link"));
    assert_int_equal(WORLD_COUNT(w, link_impostors), 2);
    k = proven(w, "e3", "link-beta"); /* one cluster in the name of another */
    message(k, "gamma", "g/forged", 0, 0);
    expect_not_authorized(k);
    assert_null(wire_next(reader));
    assert_int_equal(wanted(w), 0);
    k = proven(w, "b", "link-beta");
    message(k, "beta", "t/true", 0, 0);
    assert_true(bytes_eq(wire_expect(reader, PACKET_PUBLISH)->publish.topic, BYTES_LIT("t/true")));
    worlds_end();
}
