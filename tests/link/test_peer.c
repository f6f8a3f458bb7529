/* tests/link/test_peer.c -- one side of a link against a server or a client that the test plays. */
#include "tests/link/worlds.h"

#define SCRIPT_PORT 2000

/* A world "alpha" with a link to a fake server "beta". */
static struct world *alone(const char *topics)
{
    struct world *w = world_make("alpha", 1001);

    world_link(w, "beta", SCRIPT_PORT, topics);
    all.script_port = SCRIPT_PORT;
    return w;
}

/* The newest connection to the script whose client id contains `kind`; its CONNECT is read. */
static struct wire *dialled(const char *kind)
{
    for (uint32_t i = all.wire_count; i-- > 0;) {
        struct wire *k = all.wire[i];
        const struct packet *p;

        if (k->port != SCRIPT_PORT || !k->stream[0] || k->at)
            continue;
        p = wire_expect(k, PACKET_CONNECT);
        if (memmem(p->connect.client_id.p, p->connect.client_id.n, kind, strlen(kind)))
            return k;
        k->at = 0;
    }
    return NULL;
}

struct welcome {
    uint32_t packet_max;
    uint16_t receive_max;
};

static void welcome(struct wire *k, const struct welcome *how)
{
    struct connack_out c = {.retain_available = true,
                            .maximum_qos = 2,
                            .maximum_packet_size = how ? how->packet_max : 0,
                            .receive_maximum = how ? how->receive_max : 0};
    uint8_t b[128];

    wire_send(k, b, connack_put(b, MQTT_5, &c));
    worlds_settle();
}

/* Grants the subscription and reads actor_init: its packet id. Keeps the correlation data. */
static uint16_t read_introduction(struct wire *k, uint8_t correlation[16])
{
    const struct packet *p = wire_expect(k, PACKET_SUBSCRIBE);
    struct filter_request f;
    struct bytes rest = p->subscribe.list;
    struct emqx_control c;
    uint8_t b[16], granted = 1;

    assert_true(packet_next_filter(PACKET_SUBSCRIBE, MQTT_5, &rest, &f));
    assert_true(bytes_eq(f.filter, BYTES_LIT("$LINK/cluster/resp/alpha/causeway")));
    assert_int_equal(f.qos, 1);
    wire_send(k, b, suback_put(b, MQTT_5, PACKET_SUBACK, p->subscribe.packet_id, &granted, 1));
    worlds_settle();
    p = wire_expect(k, PACKET_PUBLISH);
    assert_true(bytes_eq(p->publish.topic, BYTES_LIT("$LINK/cluster/route/alpha")));
    assert_int_equal(p->publish.qos, 1);
    assert_true(
        bytes_eq(p->publish.props.response_topic, BYTES_LIT("$LINK/cluster/resp/alpha/causeway")));
    assert_int_equal(p->publish.props.correlation_data.n, 16);
    memcpy(correlation, p->publish.props.correlation_data.p, 16);
    assert_int_equal(emqx_control_decode(p->publish.payload, &c), OK);
    assert_int_equal(c.op, EMQX_ACTOR_INIT);
    assert_true(bytes_eq(c.actor, BYTES_LIT("causeway")));
    assert_true(bytes_eq(c.target, BYTES_LIT("beta")));
    assert_int_equal(c.version, 1);
    return p->publish.packet_id;
}

static void answer(struct wire *k, const uint8_t correlation[16], const char *refusal,
                   enum emqx_need need)
{
    struct emqx_control c = {.op = EMQX_ACTOR_INIT_ACK,
                             .actor = BYTES_LIT("causeway"),
                             .version = 1,
                             .is_accepted = !refusal,
                             .need_bootstrap = need};
    struct publish_out p = {
        .qos = 1, .packet_id = 3, .topic = BYTES_LIT("$LINK/cluster/resp/alpha/causeway")};
    uint8_t payload[256], props[32] = {0x09, 0, 16};
    uint32_t n;

    c.reason = bytes_str(refusal ? refusal : "");
    assert_int_equal(emqx_control_encode(&c, payload, sizeof(payload), &n), OK);
    memcpy(props + 3, correlation, 16);
    p.props = bytes_of(props, 19);
    p.payload = bytes_of(payload, n);
    wire_publish(k, &p);
    worlds_settle();
}

/* The whole handshake; PUBACK of actor_init before or after the answer. */
static struct wire *online(const struct welcome *how, enum emqx_need need, bool ack_first)
{
    struct wire *k = dialled(":routesync:");
    uint8_t correlation[16];
    uint16_t id;

    assert_non_null(k);
    welcome(k, how);
    id = read_introduction(k, correlation);
    if (ack_first)
        wire_ack(k, id, 0x10);
    answer(k, correlation, NULL, need);
    if (!ack_first)
        wire_ack(k, id, 0x10);
    worlds_settle();
    assert_int_equal(wire_expect(k, PACKET_PUBACK)->ack.packet_id, 3);
    return k;
}

/* Reads a batch: "+filter=id -filter=id ". */
static uint16_t read_batch(struct wire *k, char *text, size_t room)
{
    const struct packet *p = wire_expect(k, PACKET_PUBLISH);
    struct emqx_control c;
    struct emqx_route_op op;
    struct emqx_ops ops;
    size_t n = 0;

    assert_int_equal(p->publish.qos, 1);
    assert_int_equal(emqx_control_decode(p->publish.payload, &c), OK);
    assert_int_equal(c.op, EMQX_ROUTE);
    text[0] = '\0';
    for (ops = emqx_ops_begin(&c); emqx_ops_next(&ops, &op);)
        n += (size_t)snprintf(text + n, room - n, "%c%.*s=%.*s ", op.is_add ? '+' : '-',
                              (int)op.filter.n, (const char *)op.filter.p, (int)op.id.n,
                              (const char *)op.id.p);
    return p->publish.packet_id;
}

static void expect_batch(struct wire *k, const char *want)
{
    char text[512];
    uint16_t id = read_batch(k, text, sizeof(text));

    assert_string_equal(text, want);
    wire_ack(k, id, 0x10);
    worlds_settle();
}

static void disconnect(struct wire *k, uint8_t reason)
{
    uint8_t b[8];

    wire_send(k, b, disconnect_put(b, reason, (struct bytes){0}));
    wire_drop(k);
    worlds_settle();
}

/* ---- connecting ---- */

TEST(peer_connects_as_a_causeway_link)
{
    struct world *w = alone("#");
    const struct packet *p;
    struct wire *k;

    w->cfg.links[0].username = "user";
    w->cfg.links[0].password = "secret";
    w->cfg.links[0].clientid = "clink";
    world_start(w);
    worlds_settle();
    k = dialled(":msg:");
    assert_non_null(k);
    k->at = 0;
    p = wire_expect(k, PACKET_CONNECT);
    assert_int_equal(p->connect.protocol, MQTT_5);
    assert_true(p->connect.clean_start);
    assert_false(p->connect.has_will);
    assert_int_equal(p->connect.keep_alive, 60);
    assert_true(bytes_eq(p->connect.username, BYTES_LIT("user")));
    assert_true(bytes_eq(p->connect.password, BYTES_LIT("secret")));
    assert_memory_equal(p->connect.client_id.p, "clink:msg:", 10);
    assert_true(p->connect.props.present & PROP_BIT(PROP_USER_PROPERTY));
    assert_non_null(dialled(":routesync:"));
    worlds_end();
}

TEST(peer_pauses_grow_up_to_the_retry_interval)
{
    struct world *w = alone("#");
    uint32_t in_100_s;

    all.script_port = 0;
    world_start(w);
    worlds_pass(1000);
    assert_in_range(all.wire_count, 4, 12);
    worlds_pass(30000);
    in_100_s = all.wire_count;
    worlds_pass(100000);
    assert_in_range(all.wire_count - in_100_s, 2 * 100 / 15, 2 * 100 / 7);
    worlds_end();
}

TEST(peer_tries_its_servers_in_turn)
{
    struct world *w = alone("#");

    w->servers[0][1] = (struct cfg_server){.host = "second", .port = SCRIPT_PORT};
    w->servers[0][0].port = 3000; /* nobody */
    w->cfg.links[0].server_count = 2;
    world_start(w);
    worlds_pass(200);
    assert_non_null(dialled(":routesync:"));
    assert_non_null(dialled(":msg:"));
    worlds_end();
}

TEST(peer_comes_back_to_the_server_it_had)
{
    struct world *w = alone("#");
    struct wire *k;

    w->servers[0][1] = (struct cfg_server){.host = "second", .port = SCRIPT_PORT};
    w->servers[0][0].port = 3000; /* nobody */
    w->cfg.links[0].server_count = 2;
    world_start(w);
    for (int life = 0; life < 3; life++) {
        worlds_pass(300);
        k = dialled(":msg:");
        assert_non_null(k);
        welcome(k, NULL);
        worlds_pass(10000);
        assert_int_equal(world_peer(w, "beta")->forwarders[0].dialer.server, 1);
        wire_drop(k);
        worlds_settle();
        assert_int_equal(world_peer(w, "beta")->forwarders[0].dialer.server, 1);
    }
    worlds_end();
}

TEST(peer_gives_up_on_a_server_that_does_not_answer)
{
    struct world *w = alone("#");
    struct wire *k;

    world_start(w);
    worlds_settle();
    k = dialled(":routesync:");
    worlds_pass(6000);
    assert_null(k->stream[0]);
    assert_true(world_said(w, "no CONNACK in time"));
    k = dialled(":routesync:");
    welcome(k, NULL);
    worlds_pass(6000); /* no SUBACK */
    assert_null(k->stream[0]);
    assert_true(world_said(w, "no SUBACK in time"));
    worlds_end();
}

TEST(peer_says_why_it_was_not_let_in)
{
    struct connack_out c = {.reason = REASON_NOT_AUTHORIZED, .maximum_qos = 2};
    struct world *w = alone("#");
    struct wire *k;
    uint8_t b[64];

    world_start(w);
    worlds_settle();
    k = dialled(":routesync:");
    wire_send(k, b, connack_put(b, MQTT_5, &c));
    worlds_settle();
    assert_null(k->stream[0]);
    assert_true(world_said(w, "CONNACK 0x87: not let in: see username"));
    worlds_end();
}

TEST(peer_says_what_is_wrong_with_tls)
{
    struct world *w = alone("#");
    struct wire *k;

    world_start(w);
    worlds_settle();
    k = dialled(":routesync:");
    k->stream[0]->ops->failed(k->stream[0], "peer refused: certificate expired");
    wire_drop(k);
    worlds_settle();
    assert_true(world_said(
        w, "5 link not connected|beta|TLS: peer refused: certificate expired|it is tried again"));
    worlds_end();
}

/* Lets time pass until there is one. */
static struct wire *next_dialled(const char *kind)
{
    for (int i = 0; i < 600; i++) {
        struct wire *k = dialled(kind);

        if (k)
            return k;
        worlds_pass(100);
    }
    fail_msg("nobody dials");
    return NULL;
}

TEST(peer_begins_with_another_address_after_each_round_of_failures)
{
    struct world *w = alone("#");
    uint32_t most = 0;
    struct wire *k;

    w->cfg.links[0].server_count = 2;
    w->servers[0][1] = (struct cfg_server){.host = "memory", .port = 9};
    all.script_port = 0; /* nobody listens on either */
    world_start(w);
    worlds_pass(3000);
    for (uint32_t i = 0; i < all.wire_count; i++) {
        assert_true(all.wire[i]->attempt <= most + 1);
        most = all.wire[i]->attempt > most ? all.wire[i]->attempt : most;
    }
    assert_in_range(most, 1, all.wire_count / 4);
    all.script_port = SCRIPT_PORT;
    k = next_dialled(":routesync:");
    assert_in_range(k->attempt, most, most + 2);
    welcome(k, NULL);
    wire_drop(k);
    worlds_settle();
    k = next_dialled(":routesync:");
    assert_int_equal(k->attempt, 0); /* all had been well */
    worlds_end();
}

/* Answers the pings that came; how many. */
static uint32_t answer_pings(struct wire *k)
{
    static const uint8_t pingresp[] = {0xD0, 0};
    uint32_t n = 0;

    for (const struct packet *p; (p = wire_next(k)) != NULL; n++) {
        assert_int_equal(p->type, PACKET_PINGREQ);
        wire_send(k, pingresp, pingresp + sizeof(pingresp));
    }
    return n;
}

/* A message connection to a server that answers pings. */
static struct wire *answering(struct world **w)
{
    struct wire *k;

    *w = alone("");
    world_start(*w);
    worlds_settle();
    k = dialled(":msg:");
    k->is_timed = true;
    welcome(k, NULL);
    return k;
}

/* Passes time until the connection is given up; returns how much. */
static uint64_t ms_to_death(struct wire *k, uint64_t most)
{
    uint64_t ms = 0;

    for (; k->stream[0] && ms < most; ms += 50)
        worlds_pass(50);
    return ms;
}

TEST(peer_pings_every_second_a_server_that_answers)
{
    struct world *w;
    struct wire *k = answering(&w);
    uint32_t pings = 0;

    for (int i = 0; i < 300; i++) {
        worlds_pass(200);
        pings += answer_pings(k);
    }
    assert_in_range(pings, 55, 60);
    assert_non_null(k->stream[0]);
    assert_true(world_peer(w, "beta")->forwarders[0].dialer.pulse.has_rtt);
    assert_in_range(world_peer(w, "beta")->forwarders[0].dialer.pulse.rtt_ms, 0, 250);
    worlds_end();
}

TEST(peer_notices_silence_after_dead_after)
{
    struct world *w;
    struct wire *k = answering(&w);

    assert_in_range(ms_to_death(k, 10000), 2900, 3100);
    assert_true(world_said(w, "it is silent: nothing came for the time of dead_after"));
    worlds_end();
}

TEST(peer_notices_a_stopped_process_by_its_pings_alone)
{
    struct world *w;
    struct wire *k = answering(&w);

    for (int i = 0; i < 50; i++) {
        worlds_pass(100);
        (void)answer_pings(k);
    }
    for (uint64_t ms = 0; k->stream[0]; ms += 50) { /* its kernel takes them */
        assert_true(ms < 3100);
        k->acked += wire_next(k) ? 2 : 0;
        worlds_pass(50);
    }
    worlds_end();
}

TEST(peer_lets_a_slow_path_live)
{
    struct world *w;
    struct wire *k = answering(&w);

    k->outstanding = 1u << 20;
    for (int i = 0; i < 30; i++) {
        k->acked += 1000;
        worlds_pass(2000);
    }
    assert_non_null(k->stream[0]);
    assert_in_range(ms_to_death(k, 10000), 900, 1300); /* nothing moved for 2 s before */
    worlds_end();
}

TEST(peer_notices_a_black_hole_while_data_flows)
{
    struct world *w;
    struct wire *k = answering(&w);

    k->outstanding = 1u << 20;
    for (uint16_t i = 0; i < 50; i++) { /* something comes all the time */
        static const uint8_t pingresp[] = {0xD0, 0};

        k->acked += 1000;
        wire_send(k, pingresp, pingresp + sizeof(pingresp));
        worlds_pass(100);
    }
    assert_non_null(k->stream[0]);
    assert_in_range(ms_to_death(k, 10000), 2700, 3100);
    worlds_end();
}

TEST(peer_waits_as_long_as_its_link_says)
{
    struct world *w = alone("");
    struct wire *k;

    w->cfg.links[0].dead_after_ms = 20000;
    world_start(w);
    worlds_settle();
    k = dialled(":msg:");
    k->is_timed = true;
    welcome(k, NULL);
    assert_in_range(ms_to_death(k, 60000), 19900, 20400);
    worlds_end();
}

TEST(peer_does_not_believe_everything)
{
    static const struct {
        const char *bytes;
        size_t n;
        const char *said;
    } cases[] = {
        {"\xD0\x00", 2, "something else than CONNACK"},
        {"\x20\x02\x00", 3, NULL},
        {"\x20\x80\x80\x80\x80\x80", 6, "not MQTT 5"},
        {"\x20\x03\x00\x00\x00\x10\x02\x00\x00", 9, "not MQTT 5"},
        {"\x20\x03\x00\x00\x00\xC0\x00", 7, "a packet that no server sends"},
        {"\x20\x03\x00\x00\x00\x40\x02\x00\x07", 9, "a PUBACK for nothing"},
        {"\x20\x03\x00\x00\x00\x90\x04\x00\x07\x00\x01", 11, "a SUBACK that nobody asked for"},
        {"\x20\x03\x00\x00\x00\x34\x06\x00\x01t\x00\x09\x00", 13, "QoS 2"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct world *w = alone("#");
        struct wire *k;

        world_start(w);
        worlds_settle();
        k = dialled(":msg:");
        wire_put(k, 0, cases[i].bytes, cases[i].n);
        worlds_settle();
        if (cases[i].said) {
            assert_null(k->stream[0]);
            assert_true(world_said(w, cases[i].said));
        } else {
            assert_non_null(k->stream[0]);
        }
        worlds_end();
    }
}

/* ---- announcing ---- */

TEST(peer_announces_all_then_changes)
{
    struct world *w = alone("iot/#,pre/#");
    struct wire *k, *c;

    world_start(w);
    c = client(w, "local");
    subscribe(c, "pre/one", 0);
    subscribe(c, "$share/g/iot/+", 0);
    subscribe(c, "elsewhere", 0);
    k = online(NULL, EMQX_NEED_TRUE, true);
    expect_batch(k, "+pre/one=pre/one +iot/+=$s/g/iot/+ ");
    assert_null(wire_next(k));
    subscribe(c, "#", 0);
    expect_batch(k, "+iot/#=# +pre/#=# ");
    unsubscribe(c, "pre/one");
    expect_batch(k, "-pre/one=pre/one ");
    assert_null(wire_next(k));
    worlds_end();
}

TEST(peer_gathers_changes_while_a_batch_is_out)
{
    struct world *w = alone("#");
    char text[256];
    struct wire *k, *c;
    uint16_t id;

    world_start(w);
    c = client(w, "local");
    k = online(NULL, EMQX_NEED_TRUE, false);
    subscribe(c, "1", 0);
    id = read_batch(k, text, sizeof(text));
    assert_string_equal(text, "+1=1 ");
    subscribe(c, "2", 0);
    subscribe(c, "3", 0);
    subscribe(c, "4", 0);
    unsubscribe(c, "3");
    assert_null(wire_next(k));
    wire_ack(k, id, 0);
    worlds_settle();
    expect_batch(k, "+2=2 +4=4 ");
    assert_null(wire_next(k));
    worlds_end();
}

TEST(peer_beats_every_eight_seconds)
{
    struct world *w = alone("");
    struct emqx_control c;
    struct wire *k;

    world_start(w);
    worlds_settle();
    k = online(NULL, EMQX_NEED_TRUE, true);
    for (int i = 0; i < 3; i++) {
        const struct packet *p;

        worlds_pass(8200);
        p = wire_expect(k, PACKET_PUBLISH);
        assert_int_equal(p->publish.qos, 0);
        assert_int_equal(emqx_control_decode(p->publish.payload, &c), OK);
        assert_int_equal(c.op, EMQX_HEARTBEAT);
        assert_int_equal(c.incarnation, world_peer(w, "beta")->announcer.incarnation);
        assert_null(wire_next(k));
    }
    worlds_end();
}

/* The PUBACK of a batch is lost with the connection: what was in it is sent again, although the
 * other side still knows us. */
TEST(peer_sends_a_batch_again_whose_ack_was_lost)
{
    struct world *w = alone("#");
    struct wire *k, *c;
    char text[256];

    world_start(w);
    c = client(w, "local");
    subscribe(c, "kept", 0);
    k = online(NULL, EMQX_NEED_TRUE, true);
    expect_batch(k, "+kept=kept ");
    subscribe(c, "doubtful", 0);
    read_batch(k, text, sizeof(text));
    wire_drop(k);
    worlds_settle();
    subscribe(c, "new", 0);
    unsubscribe(c, "kept");
    worlds_pass(200);
    k = online(NULL, EMQX_NEED_FALSE, true);
    read_batch(k, text, sizeof(text));
    assert_non_null(strstr(text, "+doubtful=doubtful "));
    assert_non_null(strstr(text, "+new=new "));
    assert_non_null(strstr(text, "-kept=kept "));
    wire_drop(k);
    worlds_pass(1000);
    k = online(NULL, EMQX_NEED_TRUE, true); /* now it has forgotten us */
    read_batch(k, text, sizeof(text));
    assert_int_equal(strlen(text), strlen("+doubtful=doubtful +new=new "));
    worlds_end();
}

TEST(peer_tries_a_refused_batch_again)
{
    struct world *w = alone("#");
    struct wire *k, *c;
    char text[256];

    world_start(w);
    c = client(w, "local");
    k = online(NULL, EMQX_NEED_TRUE, true);
    subscribe(c, "f", 0);
    wire_ack(k, read_batch(k, text, sizeof(text)), REASON_QUOTA_EXCEEDED);
    worlds_settle();
    assert_null(wire_next(k));
    worlds_pass(600);
    expect_batch(k, "+f=f ");
    worlds_end();
}

TEST(peer_splits_batches_by_bytes_and_by_number)
{
    static const struct {
        uint32_t packet_max, subscriptions, batches_min, batches_max;
    } cases[] = {{1000, 200, 10, 20}, {0, 9000, 3, 3}};
    char filter[64];

    for (size_t i = 0; i < 2; i++) {
        struct welcome how = {.packet_max = cases[i].packet_max};
        struct world *w = alone("#");
        uint32_t batches = 0, ops = 0;
        struct wire *k, *c;

        world_start(w);
        c = client(w, "local");
        for (uint32_t n = 0; n < cases[i].subscriptions; n++) {
            struct filter_request f = {.filter = bytes_str(filter)};
            uint8_t b[128];

            snprintf(filter, sizeof(filter), "some/filter/%u", n);
            f.filter = bytes_str(filter);
            wire_send(c, b, subscribe_put(b, MQTT_5, 5, &f, 1, 0));
        }
        worlds_settle();
        k = online(&how, EMQX_NEED_TRUE, true);
        for (const struct packet *p; (p = wire_next(k)); batches++) {
            struct emqx_control control;

            assert_int_equal(p->type, PACKET_PUBLISH);
            assert_true(!how.packet_max || p->publish.payload.n + 35 <= how.packet_max);
            assert_int_equal(emqx_control_decode(p->publish.payload, &control), OK);
            assert_true(control.add_count <= 4000);
            ops += control.add_count;
            wire_ack(k, p->publish.packet_id, 0);
            worlds_settle();
        }
        assert_int_equal(ops, cases[i].subscriptions);
        assert_in_range(batches, cases[i].batches_min, cases[i].batches_max);
        worlds_end();
    }
}

TEST(peer_raises_a_refused_incarnation)
{
    struct world *w = alone("#");
    uint64_t first;
    struct wire *k;
    uint8_t correlation[16];

    world_start(w);
    worlds_settle();
    first = world_peer(w, "beta")->announcer.incarnation;
    assert_int_equal(first, all.wall_ms);
    k = dialled(":routesync:");
    welcome(k, NULL);
    read_introduction(k, correlation);
    disconnect(k, REASON_IMPLEMENTATION_SPECIFIC);
    worlds_pass(200);
    assert_true(world_peer(w, "beta")->announcer.incarnation >= first + 1000);
    online(NULL, EMQX_NEED_TRUE, true);
    worlds_end();
}

/* Not further ahead of the clock than a receiver of ours lets it be; then from the clock again. */
TEST(peer_raises_an_incarnation_by_a_day_at_most)
{
    struct world *w = alone("#");
    uint64_t highest = 0, ahead = 0;
    uint8_t correlation[16];

    world_start(w);
    worlds_settle();
    for (int i = 0; i < 10; i++) {
        struct wire *k = NULL;

        for (int s = 0; s < 60 && !(k = dialled(":routesync:")); s++)
            worlds_pass(1000);
        assert_non_null(k);
        welcome(k, NULL);
        read_introduction(k, correlation);
        disconnect(k, REASON_IMPLEMENTATION_SPECIFIC);
        worlds_settle();
        ahead = world_peer(w, "beta")->announcer.incarnation;
        ahead = ahead > all.wall_ms ? ahead - all.wall_ms : 0;
        assert_true(ahead <= ANNOUNCER_JUMP_MAX_MS);
        highest = ahead > highest ? ahead : highest;
    }
    assert_int_equal(highest, ANNOUNCER_JUMP_MAX_MS);
    assert_true(ahead < ANNOUNCER_JUMP_MAX_MS);
    worlds_end();
}

TEST(peer_says_that_it_may_not_subscribe_or_publish)
{
    struct world *w = alone("#");
    uint8_t b[16], denied = REASON_NOT_AUTHORIZED, correlation[16];
    struct wire *k;

    world_start(w);
    worlds_settle();
    k = dialled(":routesync:");
    welcome(k, NULL);
    wire_send(k, b,
              suback_put(b, MQTT_5, PACKET_SUBACK,
                         wire_expect(k, PACKET_SUBSCRIBE)->subscribe.packet_id, &denied, 1));
    worlds_settle();
    assert_null(k->stream[0]);
    assert_true(world_said(w, "we may not subscribe there"));
    worlds_pass(200);
    k = dialled(":routesync:");
    welcome(k, NULL);
    wire_ack(k, read_introduction(k, correlation), REASON_NOT_AUTHORIZED);
    worlds_settle();
    assert_null(k->stream[0]);
    assert_true(world_said(w, "we may not publish there"));
    worlds_end();
}

/* Sends the answer to an introduction as these bytes. */
static void answer_with(struct wire *k, const uint8_t correlation[16], struct bytes payload)
{
    struct publish_out p = {.qos = 1,
                            .packet_id = 3,
                            .topic = BYTES_LIT("$LINK/cluster/resp/alpha/causeway"),
                            .payload = payload};
    uint8_t props[19] = {0x09, 0, 16};

    memcpy(props + 3, correlation, 16);
    p.props = bytes_of(props, 19);
    wire_publish(k, &p);
    worlds_settle();
}

/* Later versions of EMQX compress whatever becomes shorter by it. */
TEST(peer_understands_a_compressed_answer)
{
    /* ok, need_bootstrap true, for an actor with eight times our name, which nobody compares */
    static const char *const hex =
        "835000000076789c2b616060604de4ca05520ec989a5c5a9e58995e4d2897c898c89fce54cf9d989"
        "02e52c2545a5a9e5cc2af90520b3f912934bf28be233f3324be21393b3018eb32994";
    struct world *w = alone("#");
    uint8_t correlation[16];
    struct bytes payload = unhex(hex);
    struct wire *k;

    world_start(w);
    worlds_settle();
    k = dialled(":routesync:");
    welcome(k, NULL);
    read_introduction(k, correlation);
    answer_with(k, correlation, payload);
    assert_int_equal(world_peer(w, "beta")->announcer.state, ANNOUNCER_ONLINE);
    free_bytes(payload);
    worlds_end();
}

TEST(peer_does_not_believe_a_compressed_answer_that_is_large_or_damaged)
{
    static const struct bytes answers[] = {
        {(const uint8_t *)"\x83\x50\xff\xff\xff\xff\x78\x9c", 8},
        {(const uint8_t *)"\x83\x50\x00\x00\x00\x04\x78\x9c\x00\x00", 10},
        {(const uint8_t *)"\x83\x50\x00", 3}};

    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        struct world *w = alone("#");
        uint8_t correlation[16];
        struct wire *k;

        world_start(w);
        worlds_settle();
        k = dialled(":routesync:");
        welcome(k, NULL);
        read_introduction(k, correlation);
        answer_with(k, correlation, answers[i]);
        assert_null(k->stream[0]);
        assert_true(world_said(w, "its answer to our introduction cannot be understood"));
        worlds_end();
    }
}

/* The clock was set back, and this life began in the very millisecond of the last one. */
TEST(peer_takes_a_later_incarnation_where_an_earlier_life_had_its_own)
{
    struct world *w = alone("#");
    uint8_t correlation[16];
    uint64_t first;
    struct wire *k;

    world_start(w);
    subscribe(client(w, "local"), "f", 0);
    first = world_peer(w, "beta")->announcer.incarnation;
    k = dialled(":routesync:");
    welcome(k, NULL);
    read_introduction(k, correlation);
    answer(k, correlation, NULL, EMQX_NEED_FALSE);
    assert_null(k->stream[0]);
    worlds_pass(200);
    assert_int_equal(world_peer(w, "beta")->announcer.incarnation, first + 1);
    k = online(NULL, EMQX_NEED_FALSE, true); /* some versions say it in any case */
    expect_batch(k, "+f=f ");
    worlds_end();
}

TEST(peer_ignores_answers_to_others)
{
    struct world *w = alone("#");
    uint8_t correlation[16], other[16] = "0123456789abcde";
    struct wire *k;

    world_start(w);
    worlds_settle();
    k = dialled(":routesync:");
    welcome(k, NULL);
    read_introduction(k, correlation);
    answer(k, other, NULL, EMQX_NEED_TRUE);
    assert_int_equal(world_peer(w, "beta")->announcer.state, ANNOUNCER_INTRODUCING);
    worlds_pass(6000);
    assert_null(k->stream[0]);
    assert_true(world_said(w, "no answer to our introduction"));
    worlds_end();
}

/* ---- forwarding ---- */

/* The script says that it wants `filter`, as cluster beta. */
static struct wire *want(struct world *w, const char *filter)
{
    struct wire *k = client(w, "beta:routesync:x");
    struct emqx_control c = {.op = EMQX_ACTOR_INIT,
                             .actor = BYTES_LIT("n1"),
                             .incarnation = 7,
                             .version = 1,
                             .target = BYTES_LIT("alpha")};
    struct emqx_route_op op = {
        .is_add = true, .filter = bytes_str(filter), .id = bytes_str(filter)};
    struct publish_out p = {
        .qos = 1, .packet_id = 1, .topic = BYTES_LIT("$LINK/cluster/route/beta")};
    static const char props[] = "\x08\x00\x1a$LINK/cluster/resp/beta/n1\x09\x00\x01x";
    uint8_t payload[512];
    struct emqx_batch batch;
    uint32_t n;

    subscribe(k, "$LINK/cluster/resp/beta/n1", 1);
    assert_int_equal(emqx_control_encode(&c, payload, sizeof(payload), &n), OK);
    p.payload = bytes_of(payload, n);
    p.props = bytes_of(props, sizeof(props) - 1);
    wire_publish(k, &p);
    worlds_settle();
    p.props = (struct bytes){0};
    assert_int_equal(emqx_batch_begin(&batch, c.actor, 7, 10, payload, sizeof(payload)), OK);
    assert_int_equal(emqx_batch_add(&batch, &op), OK);
    p.payload = bytes_of(payload, emqx_batch_end(&batch));
    wire_publish(k, &p);
    worlds_settle();
    return k;
}

/* Reads a forwarded message: its packet id. */
static uint16_t read_message(struct wire *k, const char *payload, uint8_t qos, bool is_again)
{
    const struct packet *p = wire_expect(k, PACKET_PUBLISH);
    struct emqx_message m;

    assert_true(bytes_eq(p->publish.topic, BYTES_LIT("$LINK/cluster/msg/alpha")));
    assert_int_equal(emqx_message_decode(p->publish.payload, &m), OK);
    assert_true(bytes_eq(m.payload, bytes_str(payload)));
    assert_int_equal(p->publish.qos, qos);
    assert_int_equal(p->publish.dup, is_again);
    assert_int_equal(m.id.n, 16);
    assert_true(bytes_eq(m.from, BYTES_LIT("publisher")));
    return p->publish.packet_id;
}

TEST(peer_forwards_within_the_window_of_the_other_side)
{
    struct welcome how = {.receive_max = 2};
    struct world *w = alone("");
    struct wire *k, *c;
    uint16_t id;

    world_start(w);
    worlds_settle();
    want(w, "t/#");
    c = client(w, "publisher");
    publish(c, "t/0", "before", 1);
    k = dialled(":msg:");
    welcome(k, &how);
    id = read_message(k, "before", 1, false);
    publish(c, "t/1", "1", 1);
    publish(c, "t/2", "2", 1);
    publish(c, "t/3", "3", 0);
    publish(c, "u", "other", 1);
    read_message(k, "1", 1, false);
    assert_null(wire_next(k));
    wire_ack(k, id, 0x10);
    worlds_settle();
    read_message(k, "2", 1, false);
    read_message(k, "3", 0, false);
    assert_null(wire_next(k));
    assert_int_equal(WORLD_COUNT(w, link_messages_sent), 4);
    worlds_end();
}

TEST(peer_sends_unacknowledged_messages_again_after_a_cut)
{
    struct world *w = alone("");
    struct wire *k, *c;

    world_start(w);
    worlds_settle();
    want(w, "#");
    c = client(w, "publisher");
    k = dialled(":msg:");
    welcome(k, NULL);
    publish(c, "a", "1", 1);
    publish(c, "a", "2", 1);
    publish(c, "a", "lost", 0);
    publish(c, "a", "3", 1);
    wire_ack(k, read_message(k, "1", 1, false), 0);
    worlds_settle();
    wire_drop(k);
    worlds_settle();
    publish(c, "a", "4", 1);
    worlds_pass(200);
    k = dialled(":msg:");
    welcome(k, NULL);
    wire_ack(k, read_message(k, "2", 1, true), 0);
    wire_ack(k, read_message(k, "3", 1, true), 0);
    wire_ack(k, read_message(k, "4", 1, false), 0);
    worlds_settle();
    assert_null(wire_next(k));
    assert_int_equal(window_count(&world_peer(w, "beta")->forwarders[0].window), 0);
    worlds_end();
}

TEST(peer_keeps_messages_that_a_connection_may_not_publish)
{
    struct world *w = alone("");
    struct wire *k, *c;

    world_start(w);
    worlds_settle();
    want(w, "#");
    c = client(w, "publisher");
    k = dialled(":msg:");
    welcome(k, NULL);
    publish(c, "a", "1", 1);
    wire_ack(k, read_message(k, "1", 1, false), REASON_NOT_AUTHORIZED);
    worlds_settle();
    assert_null(k->stream[0]);
    assert_true(world_said(w, "we may not publish there to $LINK/cluster/msg/"));
    worlds_pass(200);
    k = dialled(":msg:"); /* as somebody else, perhaps */
    welcome(k, NULL);
    wire_ack(k, read_message(k, "1", 1, true), 0);
    worlds_settle();
    assert_int_equal(WORLD_COUNT(w, link_messages_dropped), 0);
    worlds_end();
}

TEST(peer_does_not_send_what_the_other_side_cannot_take)
{
    struct welcome how = {.packet_max = 2000};
    char *large = calloc(1, 3001);
    struct world *w = alone("");
    struct wire *k, *c;

    assert_non_null(large);
    memset(large, 'x', 3000);
    world_start(w);
    worlds_settle();
    want(w, "#");
    c = client(w, "publisher");
    k = dialled(":msg:");
    welcome(k, &how);
    publish(c, "a", large, 1);
    publish(c, "a", "small", 1);
    read_message(k, "small", 1, false);
    assert_null(wire_next(k));
    assert_int_equal(WORLD_COUNT(w, link_messages_dropped), 1);
    assert_true(world_said(w, "4 link messages lost|beta|"));
    free(large);
    worlds_end();
}

TEST(peer_keeps_no_more_than_its_bound_for_an_absent_one)
{
    char *large = calloc(1, 1000001);
    struct world *w = alone("");
    struct wire *k, *c;
    uint32_t kept = 0;
    const struct packet *p;

    assert_non_null(large);
    memset(large, 'x', 1000000);
    world_start(w);
    worlds_settle();
    want(w, "#");
    c = client(w, "publisher");
    for (int i = 0; i < 100; i++)
        publish(c, "a", large, 1);
    k = dialled(":msg:");
    assert_true(world_peer(w, "beta")->forwarders[0].window.bytes <= 64u << 20);
    welcome(k, NULL);
    while ((p = wire_next(k))) {
        wire_ack(k, p->publish.packet_id, 0);
        worlds_settle();
        kept++;
    }
    assert_in_range(kept, 60, 67);
    assert_int_equal(WORLD_COUNT(w, link_messages_dropped), 100 - kept);
    free(large);
    worlds_end();
}

TEST(peer_waits_for_a_slow_reader_without_losing)
{
    char *large = calloc(1, 100001);
    struct world *w = alone("");
    struct wire *k, *c;
    uint32_t got = 0;

    assert_non_null(large);
    memset(large, 'x', 100000);
    world_start(w);
    worlds_settle();
    want(w, "#");
    c = client(w, "publisher");
    k = dialled(":msg:");
    welcome(k, NULL);
    k->reads = false; /* towards the script nothing leaves */
    for (int i = 0; i < 50; i++)
        publish(c, "a", large, 0);
    assert_true(k->stream[0]->outq.bytes < 2u << 20);
    k->reads = true;
    stream_touch(k->stream[0]);
    worlds_settle();
    while (wire_next(k))
        got++;
    assert_int_equal(got, 50);
    assert_int_equal(WORLD_COUNT(w, link_messages_dropped), 0);
    free(large);
    worlds_end();
}

/* ---- the recorded conversation, as the client ---- */

/* Replaces the recorded correlation data by ours. */
static void patch(struct bytes b, const uint8_t *from, const uint8_t *to)
{
    uint8_t *at = memmem(b.p, b.n, from, 16);

    assert_non_null(at);
    memcpy(at, to, 16);
}

/* What our side has said since, and what the next recorded packet needs to be an answer to it. */
struct speaker {
    struct wire *wire;
    uint8_t correlation[16], recorded[16]; /* ours, EMQX's */
    uint16_t id;
    uint32_t answers;
};

/* Says one recorded packet of the server; then reads what it makes us say. */
static void say_recorded(struct speaker *s, struct bytes b)
{
    uint8_t *raw = (uint8_t *)b.p;
    const struct packet *p;
    char text[512];

    if (raw[0] == 0x90)
        put_be16(raw + 2, wire_expect(s->wire, PACKET_SUBSCRIBE)->subscribe.packet_id);
    else if (raw[0] == 0x40)
        put_be16(raw + 2, s->id);
    else if (raw[0] == 0x32)
        patch(b, s->recorded, s->correlation);
    wire_put(s->wire, 0, b.p, b.n);
    worlds_settle();
    s->answers++;
    if (raw[0] == 0x90) {
        p = wire_expect(s->wire, PACKET_PUBLISH);
        memcpy(s->correlation, p->publish.props.correlation_data.p, 16);
        s->id = p->publish.packet_id;
    } else if (raw[0] == 0x32) {
        wire_expect(s->wire, PACKET_PUBACK);
        s->id = read_batch(s->wire, text, sizeof(text));
        assert_string_equal(text, "+pre/one=pre/one ");
    }
}

/* What EMQX's listener said to B's route connection, said to ours: understood all the way. */
TEST(peer_understands_the_recorded_server)
{
    struct world *w = alone("iot/#,pre/#,shared/#,nosub/#");
    struct vectors v = vectors_open();
    struct speaker s = {0};

    world_start(w);
    subscribe(client(w, "local"), "pre/one", 0);
    s.wire = dialled(":routesync:");
    while (vectors_next(&v, "capture")) {
        struct bytes b;

        if (strcmp(v.column[1], "b_to_a#3") != 0)
            continue;
        b = unhex(v.column[3]);
        if (v.column[2][0] == '>' && memmem(b.p, b.n, "actor_init", 10))
            memcpy(s.recorded, (uint8_t *)memmem(b.p, b.n, "\x09\x00\x10", 3) + 3, 16);
        if (v.column[2][0] == '<' && s.answers < 5)
            say_recorded(&s, b);
        free_bytes(b);
    }
    assert_int_equal(s.answers, 5); /* CONNACK SUBACK PUBACK PUBLISH PUBACK */
    assert_int_equal(world_peer(w, "beta")->announcer.state, ANNOUNCER_ONLINE);
    assert_int_equal(interest_state(world_peer(w, "beta")->interest).out, 0);
    worlds_end();
}

/* What EMQX's listener said to a message connection of A, said to ours. */
TEST(peer_understands_the_recorded_server_of_messages)
{
    struct world *w = alone("");
    struct vectors v = vectors_open();
    struct wire *k, *c;
    uint16_t id[3];
    uint32_t acks = 0;

    world_start(w);
    worlds_settle();
    want(w, "#");
    c = client(w, "publisher");
    publish(c, "a", "1", 1);
    publish(c, "a", "2", 1);
    publish(c, "a", "3", 1);
    k = dialled(":msg:");
    while (vectors_next(&v, "capture")) {
        struct bytes b;

        if (strcmp(v.column[1], "a_to_b#1") != 0 || v.column[2][0] != '<')
            continue;
        b = unhex(v.column[3]);
        if (b.p[0] == 0x40)
            put_be16((uint8_t *)b.p + 2, id[acks++]);
        wire_put(k, 0, b.p, b.n);
        worlds_settle();
        if (b.p[0] == 0x20)
            for (int i = 0; i < 3; i++)
                id[i] = read_message(k, i == 0 ? "1" : i == 1 ? "2" : "3", 1, false);
        free_bytes(b);
    }
    assert_int_equal(acks, 3);
    assert_non_null(k->stream[0]);
    assert_int_equal(window_count(&world_peer(w, "beta")->forwarders[0].window), 0);
    assert_int_equal(WORLD_COUNT(w, link_messages_dropped), 0);
    worlds_end();
}
