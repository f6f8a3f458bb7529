/* tests/link/test_transit.c -- clusters that reach each other through others. */
#include "tests/link/worlds.h"

#include "link/path.h"
#include "link/transit.h"

#define CLUSTERS WORLDS_MAX

static const char *const names[CLUSTERS] = {"alpha",   "beta",    "gamma", "delta",
                                            "epsilon", "foxtrot", "golf",  "hotel",
                                            "india",   "juliet",  "kilo"};
static struct world *at[CLUSTERS];
static struct wire *on[CLUSTERS];

/* Clusters that are not started; `edges` are pairs of first letters, as "ab bc"; of a pair in upper
 * case the links have no transit. */
static void design(uint32_t count, const char *edges)
{
    for (uint32_t i = 0; i < count; i++)
        at[i] = world_make(names[i], (uint16_t)(1001 + i));
    for (; *edges; edges += edges[2] ? 3 : 2) {
        bool transit = edges[0] >= 'a';
        uint32_t one = (uint32_t)(edges[0] - (transit ? 'a' : 'A'));
        uint32_t other = (uint32_t)(edges[1] - (transit ? 'a' : 'A'));

        world_link(at[one], names[other], (uint16_t)(1001 + other), "#")->transit = transit;
        world_link(at[other], names[one], (uint16_t)(1001 + one), "#")->transit = transit;
    }
}

/* Starts them, with a client in each. */
static void begin(uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        world_start(at[i]);
    worlds_pass(1000);
    for (uint32_t i = 0; i < count; i++)
        on[i] = client(at[i], names[i]);
}

static void build(uint32_t count, const char *edges)
{
    design(count, edges);
    begin(count);
}

/* The connections between two clusters, both ways. */
static void cut(uint32_t one, uint32_t other)
{
    for (uint32_t i = 0; i < all.wire_count; i++) {
        struct wire *k = all.wire[i];
        bool is_there = k->world[0] == at[one] && k->world[1] == at[other];

        is_there |= k->world[0] == at[other] && k->world[1] == at[one];
        for (int side = 0; side < 2 && is_there; side++)
            if (k->stream[side]) {
                outq_fini(&k->stream[side]->outq, shard_pool(k->stream[side]->shard));
                k->n[side] = 0;
                end_side(k, side, CLOSE_SOCKET_ERROR);
            }
    }
}

/* Nothing else may have come to anybody. */
static void expect_nothing(uint32_t count)
{
    worlds_settle();
    for (uint32_t i = 0; i < count; i++)
        assert_null(wire_next(on[i]));
}

/* Everybody publishes, and each of `subscribed` (a set) gets each once. */
static void all_publish(uint32_t count, uint32_t subscribed, const char *topic, uint8_t qos)
{
    for (uint32_t from = 0; from < count; from++) {
        struct publish_out p = {.qos = qos,
                                .packet_id = qos ? 9 : 0,
                                .topic = bytes_str(topic),
                                .payload = bytes_str(names[from])};
        bool is_acked = qos == 0, has_come = !(subscribed >> from & 1);

        wire_publish(on[from], &p);
        worlds_settle();
        for (uint32_t to = 0; to < count; to++)
            if ((subscribed >> to & 1) && to != from)
                expect_publish(on[to], topic, names[from]);
        while (!is_acked || !has_come) {
            const struct packet *got = wire_next(on[from]);

            assert_non_null(got);
            if (got->type == PACKET_PUBACK) {
                is_acked = true;
                continue;
            }
            assert_int_equal(got->type, PACKET_PUBLISH);
            assert_false(has_come);
            has_come = true;
            if (got->publish.qos == 1)
                wire_ack(on[from], got->publish.packet_id, 0);
        }
        expect_nothing(count);
    }
}

static struct transit *transit_of(uint32_t i)
{
    return world_peer(at[i], at[i]->cfg.links[0].name)->host->transit;
}

/* Nobody knows a route or a wish of anybody. */
static void expect_no_routes(uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(transit_state(transit_of(i)).wishes, 0);
        assert_int_equal(transit_state(transit_of(i)).clusters, 0);
        assert_int_equal(transit_numbers(transit_of(i)), 0);
        for (uint32_t j = 0; j < at[i]->cfg.link_count; j++) {
            struct peer *p = world_peer(at[i], at[i]->cfg.links[j].name);

            assert_int_equal(announced_route_count(p->announced), 0);
            assert_int_equal(wants_state(p->routes.wants).wanted, 0);
        }
        assert_int_equal(WORLD_COUNT(at[i], link_routes_invalid), 0); /* nor told in vain */
    }
}

static uint64_t doubles(uint32_t i)
{
    uint64_t sum = 0;

    for (uint32_t j = 0; j < at[i]->cfg.link_count; j++)
        sum += world_peer(at[i], at[i]->cfg.links[j].name)->carrier.in.doubles;
    return sum;
}

LINK_TEST_NATIVE(transit_crosses_a_chain_of_three)
{
    build(3, "ab bc");
    subscribe(on[2], "t/#", 1);
    publish(on[0], "t/1", "through", 1);
    expect_publish(on[2], "t/1", "through");
    publish(on[0], "u/1", "nobody", 1);
    expect_nothing(3);
    assert_int_equal(WORLD_COUNT(at[0], link_messages_sent), 1);
    assert_int_equal(WORLD_COUNT(at[1], link_messages_sent), 1);
    assert_int_equal(WORLD_COUNT(at[1], link_messages_received), 0);
    unsubscribe(on[2], "t/#");
    worlds_settle();
    publish(on[0], "t/1", "late", 1);
    assert_int_equal(WORLD_COUNT(at[0], link_messages_sent), 1);
    expect_no_routes(3);
    worlds_end();
}

LINK_TEST_NATIVE(transit_crosses_a_chain_of_four_both_ways)
{
    build(4, "ab bc cd");
    for (uint32_t i = 0; i < 4; i++)
        subscribe(on[i], "t", 1);
    worlds_settle();
    all_publish(4, 15, "t", 1);
    all_publish(4, 15, "t", 0);
    for (uint32_t i = 0; i < 4; i++)
        unsubscribe(on[i], "t");
    worlds_settle();
    expect_no_routes(4);
    worlds_end();
}

LINK_TEST_NATIVE(transit_joins_the_spokes_of_a_hub)
{
    build(4, "ab ac ad");
    for (uint32_t i = 1; i < 4; i++)
        subscribe(on[i], i == 3 ? "+/x" : "t/x", 1);
    worlds_settle();
    all_publish(4, 14, "t/x", 1);
    assert_int_equal(WORLD_COUNT(at[1], link_messages_sent), 1); /* one copy for both others */
    worlds_end();
}

TEST(transit_has_its_links_on_one_of_several_link_workers)
{
    design(4, "ab ac ad");
    for (uint32_t i = 0; i < 4; i++)
        at[i]->link_workers = 3;
    begin(4);
    for (uint32_t i = 1; i < 4; i++) {
        assert_non_null(hub_peer(at[0]->hub[0], bytes_str(names[i])));
        subscribe(on[i], "t", 1);
    }
    worlds_settle();
    all_publish(4, 14, "t", 1);
    worlds_end();
}

TEST(transit_sends_each_cluster_of_a_ring_one_copy)
{
    for (uint32_t count = 3; count < 6; count++) {
        build(count, count == 3 ? "ab bc ca" : count == 4 ? "ab bc cd da" : "ab bc cd de ea");
        for (uint32_t i = 0; i < count; i++)
            subscribe(on[i], i & 1 ? "r/#" : "r/1", 1);
        worlds_settle();
        all_publish(count, (1u << count) - 1, "r/1", 1);
        for (uint32_t i = 0; i < count; i++) {
            assert_int_equal(doubles(i), 0);
            assert_int_equal(WORLD_COUNT(at[i], link_messages_received), count - 1);
            assert_int_equal(WORLD_COUNT(at[i], link_messages_dropped), 0);
        }
        worlds_end();
    }
}

TEST(transit_leaves_no_route_in_a_ring_when_the_last_subscriber_goes)
{
    uint64_t held;

    build(4, "ab bc cd da");
    held = WORLD_COUNT(at[0], filter_bytes_held);
    for (uint32_t round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < 4; i++) {
            subscribe(on[i], "same/+", 1);
            subscribe(on[i], names[i], 1);
        }
        worlds_settle();
        assert_int_equal(transit_state(transit_of(0)).clusters, 3);
        for (uint32_t i = 0; i < 4; i++) {
            unsubscribe(on[i], "same/+");
            unsubscribe(on[i], names[i]);
        }
        worlds_settle();
        expect_no_routes(4);
        assert_int_equal(WORLD_COUNT(at[0], filter_bytes_held), held);
    }
    worlds_end();
}

TEST(transit_takes_the_shorter_side_of_a_ring)
{
    build(5, "ab bc cd de ea");
    subscribe(on[3], "t", 1);
    worlds_settle();
    publish(on[0], "t", "by epsilon", 1);
    expect_publish(on[3], "t", "by epsilon");
    assert_int_equal(WORLD_COUNT(at[1], link_messages_sent), 0);
    assert_int_equal(WORLD_COUNT(at[4], link_messages_sent), 1);
    worlds_end();
}

TEST(transit_takes_one_side_of_a_diamond)
{
    build(4, "ab ac bd cd");
    subscribe(on[3], "t", 1);
    worlds_settle();
    for (uint32_t i = 0; i < 20; i++) {
        publish(on[0], "t", "m", 1);
        expect_publish(on[3], "t", "m");
    }
    expect_nothing(4);
    assert_int_equal(WORLD_COUNT(at[1], link_messages_sent), 20);
    assert_int_equal(WORLD_COUNT(at[2], link_messages_sent), 0);
    worlds_end();
}

TEST(transit_takes_the_other_side_when_one_is_gone_for_long)
{
    build(4, "ab ac bd cd");
    subscribe(on[3], "t", 1);
    worlds_settle();
    world_kill(at[1]);
    worlds_settle();
    publish(on[0], "t", "waits for beta", 1);
    assert_null(wire_next(on[3]));
    worlds_pass(TRANSIT_AWAY_MS + 100);
    publish(on[0], "t", "by gamma", 1);
    expect_publish(on[3], "t", "by gamma");
    world_start(at[1]);
    worlds_pass(30000);
    expect_publish(on[3], "t", "waits for beta");
    publish(on[0], "t", "again", 1);
    expect_publish(on[3], "t", "again");
    assert_null(wire_next(on[3]));
    worlds_end();
}

/* Messages flow while an edge is cut, for a moment and for so long that its routes go. */
static void cut_while_they_flow(uint64_t ms)
{
    char text[16];
    uint32_t sent = 0;

    build(4, "ab bc cd da");
    subscribe(on[2], "t", 1);
    worlds_settle();
    for (uint32_t i = 0; i < 60; i++) {
        if (i == 20) {
            all.world[1]->port = 0; /* nobody calls beta for a while */
            cut(1, 2);
        }
        if (i == 40)
            all.world[1]->port = 1002;
        snprintf(text, sizeof(text), "%u", sent++);
        publish(on[0], "t", text, 1);
        if (i >= 20 && i < 40) {
            cut(1, 2);
            worlds_pass(ms / 20);
        }
    }
    worlds_pass(60000);
    for (uint64_t come = 0; come != (1ull << sent) - 1;) {
        const struct packet *p = wire_expect(on[2], PACKET_PUBLISH);
        uint32_t number = 0;

        for (uint32_t i = 0; i < p->publish.payload.n; i++)
            number = number * 10 + p->publish.payload.p[i] - '0';
        assert_false(come >> number & 1);
        come |= 1ull << number;
        wire_ack(on[2], p->publish.packet_id, 0);
        worlds_settle();
    }
    expect_nothing(4);
    unsubscribe(on[2], "t");
    worlds_settle();
    expect_no_routes(4);
    worlds_end();
}

TEST(transit_loses_and_doubles_nothing_when_an_edge_is_cut)
{
    cut_while_they_flow(1000);
    cut_while_they_flow(10000);
    cut_while_they_flow(80000);
}

TEST(transit_is_one_hop_where_it_is_off)
{
    build(3, "AB BC");
    subscribe(on[2], "t", 1);
    subscribe(on[1], "t", 1);
    publish(on[0], "t", "one hop", 1);
    expect_publish(on[1], "t", "one hop");
    expect_nothing(3);
    worlds_end();
}

TEST(transit_needs_both_sides)
{
    design(3, "ab bc");
    at[2]->cfg.links[0].transit = false;
    begin(3);
    subscribe(on[2], "t", 1);
    publish(on[0], "t", "not through", 1);
    expect_nothing(3);
    publish(on[1], "t", "one hop", 1);
    expect_publish(on[2], "t", "one hop");
    worlds_end();
}

TEST(transit_passes_nothing_from_or_to_a_link_without_it)
{
    build(4, "ab bc BD");
    subscribe(on[3], "t", 1);
    subscribe(on[2], "t", 1);
    publish(on[0], "t", "m", 1);
    expect_publish(on[2], "t", "m");
    publish(on[3], "t", "n", 0);
    expect_publish(on[3], "t", "n");
    expect_nothing(4);
    worlds_end();
}

TEST(transit_gives_who_is_linked_without_it_one_copy)
{
    build(3, "ab bc CA");
    for (uint32_t i = 0; i < 3; i++)
        subscribe(on[i], "t", 1);
    worlds_settle();
    all_publish(3, 7, "t", 1);
    worlds_end();
}

TEST(transit_sees_links_without_it_on_other_link_workers)
{
    for (uint32_t count = 2; count <= LINK_WORKERS_MAX; count++) {
        design(3, "ab bc CA");
        for (uint32_t i = 0; i < 3; i++)
            at[i]->link_workers = count;
        begin(3);
        for (uint32_t i = 0; i < 3; i++)
            subscribe(on[i], "t", 1);
        worlds_settle();
        all_publish(3, 7, "t", 1);
        worlds_end();
    }
}

TEST(transit_respects_topics_and_export_on_the_way)
{
    static struct bytes exported[] = {{(const uint8_t *)"a/#", 3}, {(const uint8_t *)"b/1", 3}};

    design(3, "ab bc");
    at[1]->cfg.links[1].exports = exported; /* what gamma may have of beta */
    at[1]->cfg.links[1].export_count = 2;
    at[1]->topics[0][0] = bytes_str("+/1"); /* what beta wants of alpha */
    begin(3);
    subscribe(on[2], "#", 1);
    worlds_settle();
    publish(on[0], "a/1", "yes", 1);
    expect_publish(on[2], "a/1", "yes");
    publish(on[0], "a/2", "not imported", 1);
    publish(on[0], "c/1", "not exported", 1);
    publish(on[0], "b/1", "both", 1);
    expect_publish(on[2], "b/1", "both");
    expect_nothing(3);
    worlds_end();
}

TEST(transit_passes_no_filter_that_begins_with_a_dollar_sign)
{
    static struct bytes both[] = {{(const uint8_t *)"#", 1}, {(const uint8_t *)"$other/#", 8}};

    design(3, "ab bc");
    for (uint32_t i = 0; i < 3; i++)
        for (uint32_t j = 0; j < at[i]->cfg.link_count; j++) {
            struct cfg_link *link = &at[i]->cfg.links[j];

            link->topics = link->exports = both;
            link->topic_count = link->export_count = 2;
        }
    begin(3);
    subscribe(on[2], "$other/#", 1);
    worlds_settle();
    assert_int_equal(announced_filter_count(world_peer(at[1], "gamma")->announced), 1);
    assert_int_equal(announced_filter_count(world_peer(at[0], "beta")->announced), 0);
    worlds_end();
}

TEST(transit_hides_nothing_of_others_behind_a_cover_of_ours)
{
    build(3, "ab bc");
    subscribe(on[1], "#", 1);
    subscribe(on[2], "+/x", 1);
    subscribe(on[2], "t/#", 1); /* a cover of the same cluster hides */
    subscribe(on[2], "t/y", 1);
    worlds_settle();
    assert_int_equal(announced_filter_count(world_peer(at[0], "beta")->announced), 3);
    publish(on[0], "t/y", "m", 1);
    expect_publish(on[1], "t/y", "m");
    expect_publish(on[2], "t/y", "m");
    expect_nothing(3);
    worlds_end();
}

TEST(transit_carries_qos_retain_and_properties)
{
    static const uint8_t props[] = {0x03, 0, 1, 't'}; /* a content type */
    struct publish_out p = {.qos = 2,
                            .packet_id = 5,
                            .retain = true,
                            .topic = BYTES_LIT("t"),
                            .props = {props, sizeof(props)},
                            .payload = BYTES_LIT("all of it")};
    const struct packet *got;
    uint8_t b[8];

    build(3, "ab bc");
    subscribe(on[2], "t", 2);
    worlds_settle();
    wire_publish(on[0], &p);
    worlds_settle();
    wire_expect(on[0], PACKET_PUBREC);
    wire_send(on[0], b, ack_put(b, MQTT_5, PACKET_PUBREL, 5, 0, (struct bytes){0}));
    worlds_settle();
    wire_expect(on[0], PACKET_PUBCOMP);
    got = wire_expect(on[2], PACKET_PUBLISH);
    assert_int_equal(got->publish.qos, 2);
    assert_true(got->publish.retain);
    assert_true(bytes_eq(got->publish.payload, p.payload));
    assert_true(bytes_eq(got->publish.props.all, p.props));
    worlds_end();
}

TEST(transit_waits_for_a_cluster_that_is_away)
{
    build(3, "ab bc");
    subscribe(on[2], "t", 1);
    worlds_settle();
    at[2]->port = 0;
    cut(1, 2);
    for (uint32_t i = 0; i < 5; i++) {
        cut(1, 2);
        publish(on[0], "t", "waits", 1);
    }
    at[2]->port = 1003;
    worlds_pass(20000);
    for (uint32_t i = 0; i < 5; i++) {
        expect_publish(on[2], "t", "waits");
        worlds_settle();
    }
    expect_nothing(3);
    worlds_end();
}

TEST(transit_is_told_after_a_restart_in_the_middle)
{
    build(3, "ab bc");
    subscribe(on[2], "t", 1);
    worlds_settle();
    world_kill(at[1]);
    worlds_settle();
    world_start(at[1]);
    worlds_pass(30000);
    publish(on[0], "t", "again", 1);
    expect_publish(on[2], "t", "again");
    worlds_end();
}

TEST(transit_is_turned_on_and_off_while_links_stand)
{
    const struct cfg_link *links[LINKS_MAX] = {0};

    build(3, "ab bc");
    subscribe(on[2], "t", 1);
    worlds_settle();
    for (uint32_t i = 0; i < 4; i++) {
        at[1]->cfg.links[0].transit = i & 1;
        links[0] = &at[1]->cfg.links[0];
        links[1] = &at[1]->cfg.links[1];
        assert_int_equal(hub_apply(at[1]->hub[0], links), OK);
        worlds_pass(20000);
        publish(on[0], "t", "now", 1);
        if (i & 1)
            expect_publish(on[2], "t", "now");
        expect_nothing(3);
        publish(on[1], "t", "near", 1);
        expect_publish(on[2], "t", "near");
    }
    unsubscribe(on[2], "t");
    worlds_settle();
    expect_no_routes(3);
    worlds_end();
}

TEST(transit_announces_no_more_than_path_names_max_clusters_away)
{
    char wanted[PATH_NAMES_MAX + 2];

    build(PATH_NAMES_MAX + 3, "ab bc cd de ef fg gh hi ij jk");
    for (uint32_t i = 1; i < PATH_NAMES_MAX + 3; i++)
        subscribe(on[i], names[i], 1);
    worlds_settle();
    assert_int_equal(announced_filter_count(world_peer(at[0], "beta")->announced),
                     PATH_NAMES_MAX + 1);
    for (uint32_t i = 1; i < PATH_NAMES_MAX + 3; i++) {
        publish(on[0], names[i], "m", 1);
        wanted[i - 1] = wire_next(on[i]) ? 'y' : 'n';
    }
    assert_memory_equal(wanted, "yyyyyyyyyn", PATH_NAMES_MAX + 2);
    for (uint32_t i = 1; i < PATH_NAMES_MAX + 3; i++)
        unsubscribe(on[i], names[i]);
    worlds_settle();
    expect_no_routes(PATH_NAMES_MAX + 3);
    worlds_end();
}

/* What passes a link that blocks has no place to wait but there: it is bounded all the same. */
TEST(transit_drops_what_passes_a_link_that_blocks_beyond_twice_its_queue)
{
    static char text[1000];
    struct peer *p;
    uint32_t came = 0;

    memset(text, 'x', sizeof(text) - 1);
    design(3, "ab bc");
    at[1]->cfg.links[1].on_full = ON_FULL_BLOCK;
    at[1]->cfg.links[1].queue_bytes = 20000;
    begin(3);
    subscribe(on[2], "t", 1);
    worlds_settle();
    p = world_peer(at[1], "gamma");
    at[2]->port = 0;
    for (uint32_t i = 0; i < 100; i++) {
        cut(1, 2);
        publish(on[0], "t", text, 1);
    }
    assert_in_range(p->carrier.out.waiting_bytes, 30000, 42000);
    assert_int_equal(WORLD_COUNT(at[1], link_messages_dropped), 100 - p->carrier.out.waiting.count);
    at[2]->port = 1003;
    worlds_pass(20000);
    while (wire_next(on[2]))
        came++;
    assert_int_equal(came, 100 - WORLD_COUNT(at[1], link_messages_dropped));
    worlds_end();
}

/* Clusters beyond others have numbers as links have, and take none of a link's. */
TEST(transit_has_no_numbers_left_where_there_are_as_many_links)
{
    static char fake[LINKS_MAX][8];

    design(3, "ab bc");
    for (uint32_t i = 1; i < LINKS_MAX; i++) {
        struct cfg_link *l;

        snprintf(fake[i], sizeof(fake[i]), "fake%u", i);
        l = world_link(at[0], fake[i], 0, "#");
        l->transit = true;
        l->server_count = 0; /* it dials nobody */
    }
    begin(3);
    subscribe(on[2], "t", 1);
    subscribe(on[1], "t", 1);
    worlds_settle();
    publish(on[0], "t", "m", 1);
    expect_publish(on[1], "t", "m");
    expect_nothing(3);
    assert_true(world_said(at[0], "4 link transit||too many clusters beyond others|nothing that is "
                                  "published here goes to gamma"));
    assert_int_equal(WORLD_COUNT(at[0], link_routes_over_limit), 1);
    worlds_end();
}

TEST(transit_goes_round_a_ring_while_an_edge_is_cut_for_long)
{
    build(4, "ab bc cd da");
    for (uint32_t i = 0; i < 4; i++)
        subscribe(on[i], "t", 1);
    worlds_settle();
    at[1]->port = at[2]->port = 0;
    cut(1, 2);
    publish(on[1], "t", "waits", 0);
    for (uint32_t i = 0; i < 4; i++)
        if (i != 2)
            expect_publish(on[i], "t", "waits");
    worlds_pass(TRANSIT_AWAY_MS + 1000);
    all_publish(4, 15, "t", 1);
    at[1]->port = 1002;
    at[2]->port = 1003;
    worlds_pass(20000);
    expect_publish(on[2], "t", "waits");
    for (uint32_t i = 0; i < 4; i++)
        assert_int_equal(doubles(i), 0);
    all_publish(4, 15, "t", 1);
    for (uint32_t i = 0; i < 4; i++)
        unsubscribe(on[i], "t");
    worlds_settle();
    expect_no_routes(4);
    worlds_end();
}

/* A wish of another cluster reaches alpha by way of beta, or no longer does; and past an `x`, if
 * that is not 0. */
static void pass_wish_of(const char *name, uint32_t x, const char *filter, bool is_wanted)
{
    uint8_t path[64], text[128], *to = path;
    struct route_text r;
    char past[16];

    snprintf(past, sizeof(past), "x%u", x);
    if (x)
        to = path_put(to, bytes_str(past));
    to = path_put(to, bytes_str(name));
    r = (struct route_text){.path = bytes_of(path, (size_t)(to - path))};
    to = bytes_put(route_put_head(text, &r), bytes_str(filter));
    transit_route(transit_of(0), world_peer(at[0], "beta"), bytes_of(text, (size_t)(to - text)),
                  is_wanted);
}

static void pass_wish(const char *filter, bool is_wanted)
{
    pass_wish_of("gamma", 0, filter, is_wanted);
}

/* The owners of the two filters in the index may be different workers. */
TEST(transit_lets_go_of_a_filter_when_what_came_instead_is_in_force)
{
    build(3, "ab bc");
    subscribe(on[2], "#", 1);
    pass_wish("t/1", true);
    pass_wish("#", false);
    assert_true(transit_is_behind(transit_of(0)));
    worlds_settle();
    assert_false(transit_is_behind(transit_of(0)));
    publish(on[0], "t/1", "new words", 1);
    expect_publish(on[2], "t/1", "new words");
    publish(on[0], "t/2", "not any more", 1);
    pass_wish("#", true);
    pass_wish("t/1", false);
    worlds_settle();
    publish(on[0], "t/2", "as before", 1);
    expect_publish(on[2], "t/2", "as before");
    expect_nothing(3);
    worlds_end();
}

/* A record for two clusters, on a way that passed so many. Returns how many copies leave beta. */
static uint32_t pass_record(uint32_t passed, uint32_t *dropped)
{
    struct native_record r = {
        .topic = BYTES_LIT("t"), .payload = BYTES_LIT("far"), .protocol = MQTT_5, .stamp_ms = 1};
    uint8_t *way = malloc(2 * (size_t)passed + 32), *to = way;
    uint32_t copies;

    assert_non_null(way);
    to = path_put(path_put(to, BYTES_LIT("gamma")), BYTES_LIT("delta"));
    *to++ = 0;
    while (passed--)
        to = path_put(to, BYTES_LIT("x"));
    r.way = bytes_of(way, (size_t)(to - way));
    copies = transit_pass(transit_of(1), &r, dropped);
    free(way);
    worlds_settle();
    return copies;
}

/* Else a way grew until it had no room in a record, which no cluster behind us would take. */
TEST(transit_lets_nothing_pass_more_clusters_than_it_may)
{
    uint32_t dropped;

    build(4, "ab bc cd");
    subscribe(on[2], "t", 0);
    subscribe(on[3], "t", 0);
    assert_int_equal(pass_record(PATH_PASSED_MAX - 1, &dropped), 1);
    assert_int_equal(dropped, 0);
    expect_publish(on[2], "t", "far");
    expect_publish(on[3], "t", "far");
    assert_int_equal(pass_record(PATH_PASSED_MAX, &dropped), 1);
    assert_int_equal(dropped, 1); /* for delta, which is not linked with beta */
    expect_publish(on[2], "t", "far");
    assert_int_equal(pass_record(PATH_PASSED_MAX + 1, &dropped), 0);
    assert_int_equal(pass_record(32759, &dropped), 0);
    assert_true(world_peer(at[1], "gamma")->is_up);
    expect_nothing(4);
    worlds_end();
}

static uint32_t number_count(void)
{
    return (uint32_t)__builtin_popcountll(transit_numbers(transit_of(0)));
}

TEST(transit_gives_a_number_that_is_free_again_to_who_has_none)
{
    char name[16];

    build(3, "ab bc");
    for (uint32_t i = 0; i <= TRANSIT_CLUSTERS_MAX; i++) {
        snprintf(name, sizeof(name), "n%u", i);
        pass_wish_of(name, 0, "t", true);
        pass_wish_of(name, 0, "u", true);
    }
    worlds_settle();
    assert_int_equal(number_count(), TRANSIT_CLUSTERS_MAX);
    assert_int_equal(WORLD_COUNT(at[0], link_routes_over_limit), 2);
    assert_true(world_said(at[0], "goes to n24 by way of another"));
    pass_wish_of("n3", 0, "t", false);
    pass_wish_of("n3", 0, "u", false);
    worlds_pass(20000);
    assert_int_equal(number_count(), TRANSIT_CLUSTERS_MAX);
    for (uint32_t i = 0; i <= TRANSIT_CLUSTERS_MAX; i++) {
        snprintf(name, sizeof(name), "n%u", i);
        pass_wish_of(name, 0, "t", false);
        pass_wish_of(name, 0, "u", false);
    }
    worlds_settle();
    assert_int_equal(number_count(), 0);
    worlds_end();
}

/* Each costs everybody who looks for one. */
TEST(transit_takes_no_more_ways_of_a_link_than_it_may)
{
    char name[16];

    build(3, "ab bc");
    for (uint32_t i = 1; i <= TRANSIT_WAYS_MAX; i++) {
        snprintf(name, sizeof(name), "n%u", i & 1 ? i : 0);
        pass_wish_of(name, i, "t", true);
    }
    assert_int_equal(WORLD_COUNT(at[0], link_routes_memory), 0);
    assert_false(world_said(at[0], "ways"));
    pass_wish_of("gamma", 0, "t", true);
    assert_true(world_said(at[0], "4 link transit|beta|too many ways to other clusters"));
    assert_int_equal(transit_state(transit_of(0)).clusters, TRANSIT_WAYS_MAX / 2 + 1);
    pass_wish_of("n0", 4, "t", false);
    pass_wish_of("gamma", 0, "t", true);
    assert_int_equal(transit_state(transit_of(0)).clusters, TRANSIT_WAYS_MAX / 2 + 2);
    for (uint32_t i = 1; i <= TRANSIT_WAYS_MAX; i++) {
        snprintf(name, sizeof(name), "n%u", i & 1 ? i : 0);
        pass_wish_of(name, i, "t", false);
    }
    pass_wish_of("gamma", 0, "t", false);
    worlds_settle();
    expect_no_routes(3);
    worlds_end();
}

/* What alpha's links are from now on; `off` is disabled, before another turn. */
static void disable(uint32_t off)
{
    const struct cfg_link *links[LINKS_MAX] = {0};

    at[0]->cfg.links[off].enable = false;
    for (uint32_t i = 0; i < at[0]->cfg.link_count; i++)
        links[i] = &at[0]->cfg.links[i];
    shard_begin_turn(shard_of(at[0], WORLD_LINKS), all.now_ms, all.wall_ms);
    assert_int_equal(hub_apply(at[0]->hub[0], links), OK);
}

TEST(transit_takes_no_way_by_a_link_that_is_disabled)
{
    build(4, "ab ac bd cd");
    subscribe(on[3], "t", 1);
    disable(0);
    wire_publish(on[0], &(struct publish_out){.topic = BYTES_LIT("t"), .payload = BYTES_LIT("m")});
    (void)turn(at[0], WORLD_CLIENTS);
    worlds_settle();
    expect_publish(on[3], "t", "m");
    expect_nothing(4);
    worlds_end();
}

TEST(transit_goes_round_a_link_that_never_came_up)
{
    design(3, "ab bc ca");
    at[0]->servers[0][0].port = 9999; /* alpha cannot call beta, beta can call alpha */
    begin(3);
    subscribe(on[1], "t", 1);
    publish(on[0], "t", "waits", 1);
    assert_null(wire_next(on[1]));
    worlds_pass(TRANSIT_AWAY_MS);
    publish(on[0], "t", "by gamma", 1);
    expect_publish(on[1], "t", "by gamma");
    worlds_end();
}

/* In packets of 100. */
static void subscribe_to_many(struct wire *k, uint32_t count)
{
    struct filter_request f[100];
    char text[100][16];
    uint8_t b[4096];

    for (uint32_t i = 0; i < count; i += 100) {
        for (uint32_t j = 0; j < 100; j++) {
            snprintf(text[j], sizeof(text[j]), "f/%u", i + j);
            f[j] = (struct filter_request){.filter = bytes_str(text[j])};
        }
        wire_send(k, b, subscribe_put(b, MQTT_5, 77, f, 100, 0));
        worlds_settle();
        wire_expect(k, PACKET_SUBACK);
    }
}

/* What the index cannot take yet waits in memory. */
TEST(transit_lets_routes_go_no_faster_than_the_index_does)
{
    struct peer *p;

    build(3, "ab bc");
    subscribe_to_many(on[2], 3 * PEER_SWEEP_MAX);
    p = world_peer(at[0], "beta");
    assert_int_equal(announced_route_count(p->announced), 3 * PEER_SWEEP_MAX);
    pass_wish_of("n0", 0, "t", true); /* behind this all that goes waits */
    disable(0);
    for (uint32_t i = 0; i < 10; i++)
        (void)turn(at[0], WORLD_LINKS);
    assert_int_equal(announced_route_count(p->announced), 2 * PEER_SWEEP_MAX);
    worlds_settle();
    assert_int_equal(announced_route_count(p->announced), 0);
    assert_false(transit_is_behind(p->host->transit));
    worlds_end();
}
