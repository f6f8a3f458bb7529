/* tests/link/test_bounds.c -- what a link gives, takes and keeps, and its bounds. */
#include "tests/link/worlds.h"

/* A and B, each with a link to the other, neither started: the caller sets bounds. */
static struct cfg_link *two(struct world **a, struct world **b, struct cfg_link **of_b)
{
    struct cfg_link *of_a;

    *a = world_make("alpha", 1001);
    *b = world_make("beta", 1002);
    of_a = world_link(*a, "beta", 1002, "#");
    *of_b = world_link(*b, "alpha", 1001, "#");
    return of_a;
}

static void start(struct world *a, struct world *b)
{
    world_start(a);
    world_start(b);
    worlds_pass(1000);
}

/* Nobody can connect to a world; what it has opened itself stays. */
static void shut(struct world *w)
{
    w->port = 0;
    for (uint32_t n = 0; n < all.wire_count; n++)
        if (all.wire[n]->world[0] && all.wire[n]->world[1] == w && all.wire[n]->stream[0])
            wire_drop(all.wire[n]);
    worlds_settle();
}

/* Sends a PUBLISH with QoS 1 and that number in a kilobyte of payload. */
static void push(struct wire *k, const char *topic, uint32_t number)
{
    char payload[1024] = {0};
    struct publish_out p = {.qos = 1,
                            .packet_id = (uint16_t)(number + 1),
                            .topic = bytes_str(topic),
                            .payload = bytes_of(payload, sizeof(payload))};

    snprintf(payload, sizeof(payload), "%u", number);
    wire_publish(k, &p);
}

/* How many packets of a type came; all are read, and PUBLISHes acknowledged and counted on. */
static uint32_t came(struct wire *k, enum packet_type type, uint32_t *next)
{
    const struct packet *p;
    uint32_t count = 0;

    while ((p = wire_next(k))) {
        count += p->type == type;
        if (p->type != PACKET_PUBLISH)
            continue;
        if (next)
            assert_int_equal(atoi((const char *)p->publish.payload.p), (*next)++);
        if (p->publish.qos)
            wire_ack(k, p->publish.packet_id, 0);
    }
    return count;
}

static struct wire *reader_of(struct world *w, const char *filter)
{
    struct wire *k = client(w, "reader");

    subscribe(k, filter, 1);
    worlds_settle();
    return k;
}

/* ---- what waits ---- */

LINK_TEST_DIALLED(link_drops_what_has_waited_longer_than_queue_age)
{
    struct world *a, *b;
    struct cfg_link *of_b;
    struct wire *reader, *writer;
    uint32_t next = 5;

    two(&a, &b, &of_b)->queue_age = 60;
    start(a, b);
    reader = reader_of(b, "t");
    writer = client(a, "writer");
    shut(b);
    for (uint32_t i = 0; i < 5; i++)
        push(writer, "t", i);
    worlds_pass(30000);
    for (uint32_t i = 5; i < 10; i++)
        push(writer, "t", i);
    worlds_pass(32000);
    assert_int_equal(WORLD_COUNT(a, link_messages_dropped), 5);
    assert_true(world_said(a, "4 link messages lost|beta||so far: 0 because the queue was full, 5 "
                              "waited too long"));
    b->port = 1002;
    worlds_pass(15000);
    assert_int_equal(came(reader, PACKET_PUBLISH, &next), 5);
    assert_int_equal(WORLD_COUNT(a, link_messages_dropped), 5);
    worlds_end();
}

LINK_TEST_DIALLED(link_drops_at_queue_bytes_as_on_full_says)
{
    for (int i = 0; i < 2; i++) {
        struct world *a, *b;
        struct cfg_link *of_b, *of_a = two(&a, &b, &of_b);
        uint32_t next, count;
        struct wire *reader, *writer;

        of_a->queue_bytes = (worlds_spread ? 3 : 1) * (64u << 10); /* one publisher has its part */
        of_a->on_full = i ? ON_FULL_DROP_NEWEST : ON_FULL_DROP_OLDEST;
        start(a, b);
        reader = reader_of(b, "t");
        writer = client(a, "writer");
        shut(b);
        for (uint32_t n = 0; n < 100; n++)
            push(writer, "t", n);
        worlds_settle();
        assert_int_equal(came(writer, PACKET_PUBACK, NULL), 100);
        count = 100 - (uint32_t)WORLD_COUNT(a, link_messages_dropped);
        assert_in_range(count, 30, 64);
        next = i ? 0 : 100 - count;
        b->port = 1002;
        worlds_pass(15000);
        assert_int_equal(came(reader, PACKET_PUBLISH, &next), count);
        worlds_end();
    }
}

/* A client whose will says "gone" on that topic, and which is cut off. */
static void die(struct world *w, const char *topic)
{
    struct connect_out c = {.protocol = MQTT_5, .clean_start = true, .client_id = BYTES_LIT("die")};
    struct wire *k = wire_to(w);
    uint8_t b[256], *end = connect_put(b, &c);
    struct bytes will = bytes_str(topic);

    /* by hand: the flag, then empty will properties, topic and payload behind the client id */
    b[9] |= 4;
    *end++ = 0;
    end = put_be16(end, (uint16_t)will.n);
    end = bytes_put(end, will);
    end = put_be16(end, 4);
    end = bytes_put(end, BYTES_LIT("gone"));
    b[1] = (uint8_t)(end - b - 2);
    wire_send(k, b, end);
    worlds_settle();
    assert_int_equal(wire_expect(k, PACKET_CONNACK)->connack.reason, 0);
    wire_drop(k);
    worlds_settle();
}

LINK_TEST_DIALLED(link_that_blocks_makes_its_publishers_wait_and_nobody_else)
{
    struct world *a, *b;
    struct cfg_link *of_b, *of_a = two(&a, &b, &of_b);
    struct wire *reader, *writer, *other, *far, *watcher;
    uint32_t next = 0, taken;

    of_a->queue_bytes = (worlds_spread ? 3 : 1) * (64u << 10); /* one publisher has its part */
    of_a->on_full = ON_FULL_BLOCK;
    start(a, b);
    reader = reader_of(b, "t/#");
    watcher = reader_of(a, "#");
    writer = client(a, "writer");
    other = client(a, "other");
    far = client(b, "far");
    shut(b);
    for (uint32_t i = 0; i < 200; i++) {
        push(writer, "t/1", i);
        worlds_settle();
    }
    taken = came(writer, PACKET_PUBACK, NULL);
    assert_in_range(taken, 40, 100);
    assert_int_equal(WORLD_COUNT(a, link_blocks), 1);
    assert_true(world_said(a, "4 link full|beta|queue_bytes is reached|"));
    (void)came(watcher, PACKET_PUBLISH, NULL);
    push(other, "u", 0); /* no link wants it */
    push(far, "u", 1);   /* of the other cluster */
    die(a, "u");
    die(a, "t/will"); /* nobody can be made to wait for it */
    worlds_settle();
    assert_int_equal(came(other, PACKET_PUBACK, NULL), 1);
    assert_int_equal(came(far, PACKET_PUBACK, NULL), 1);
    assert_int_equal(came(watcher, PACKET_PUBLISH, NULL), 4);
    worlds_pass(60000);
    assert_int_equal(came(writer, PACKET_PUBACK, NULL), 0);
    assert_true(world_tells(b, "alpha"));
    b->port = 1002;
    worlds_pass(15000);
    assert_int_equal(came(writer, PACKET_PUBACK, NULL), 200 - taken);
    for (const struct packet *p; (p = wire_next(reader));)
        if (p->publish.payload.p[0] != 'g')
            assert_int_equal(atoi((const char *)p->publish.payload.p), next++);
    assert_int_equal(next, 100); /* the reader's window */
    assert_int_equal(WORLD_COUNT(a, link_messages_dropped), 0);
    worlds_end();
}

LINK_TEST_DIALLED(link_that_blocks_holds_up_its_publishers_for_queue_age_at_most)
{
    struct world *a, *b;
    struct cfg_link *of_b, *of_a = two(&a, &b, &of_b);
    uint32_t taken, more;
    struct wire *writer;

    of_a->queue_bytes = (worlds_spread ? 3 : 1) * (64u << 10); /* one publisher has its part */
    of_a->on_full = ON_FULL_BLOCK;
    of_a->queue_age = 60;
    start(a, b);
    (void)reader_of(b, "t");
    writer = client(a, "writer");
    shut(b);
    for (uint32_t i = 0; i < 300; i++) {
        push(writer, "t", i);
        worlds_settle();
    }
    taken = came(writer, PACKET_PUBACK, NULL);
    worlds_pass(58000);
    assert_int_equal(came(writer, PACKET_PUBACK, NULL), 0);
    worlds_pass(4000);
    more = came(writer, PACKET_PUBACK, NULL);
    assert_true(more > 0);
    assert_int_equal(WORLD_COUNT(a, link_messages_dropped), taken);
    worlds_end();
}

LINK_TEST_DIALLED(links_that_block_both_ways_do_not_lock_each_other)
{
    struct world *a, *b;
    struct cfg_link *of_b, *of_a = two(&a, &b, &of_b);
    struct wire *reader_a, *reader_b, *writer_a, *writer_b;
    uint32_t next_a = 0, next_b = 0;

    of_a->queue_bytes = of_b->queue_bytes = 64u << 10;
    of_a->on_full = of_b->on_full = ON_FULL_BLOCK;
    start(a, b);
    reader_a = reader_of(a, "to/a");
    reader_b = reader_of(b, "to/b");
    writer_a = client(a, "writer");
    writer_b = client(b, "writer");
    shut(a);
    shut(b);
    for (uint32_t i = 0; i < 500; i++) {
        push(writer_a, "to/b", i);
        push(writer_b, "to/a", i);
        worlds_settle();
    }
    assert_true(came(writer_a, PACKET_PUBACK, NULL) < 500);
    assert_true(came(writer_b, PACKET_PUBACK, NULL) < 500);
    a->port = 1001;
    b->port = 1002;
    for (int i = 0; i < 200; i++) {
        worlds_pass(100);
        (void)came(reader_a, PACKET_PUBLISH, &next_a);
        (void)came(reader_b, PACKET_PUBLISH, &next_b);
    }
    assert_int_equal(next_a, 500);
    assert_int_equal(next_b, 500);
    worlds_end();
}

/* ---- what they may have ---- */

LINK_TEST(link_gives_only_what_it_exports)
{
    static const struct bytes exports[] = {{(const uint8_t *)"pub/#", 5},
                                           {(const uint8_t *)"+/y", 3}};
    static const char *const topics[] = {"pub/x", "secret", "other/y", "pub/y/z", "other/x"};
    struct world *a, *b;
    struct cfg_link *of_b, *of_a = two(&a, &b, &of_b);
    struct wire *reader, *writer;

    of_a->exports = exports;
    of_a->export_count = 2;
    start(a, b);
    reader = client(b, "reader");
    writer = client(a, "writer");
    subscribe(reader, "#", 1);
    subscribe(reader, "secret", 1);
    subscribe(reader, "other/+", 1);
    worlds_settle();
    for (size_t i = 0; i < 5; i++)
        publish(writer, topics[i], topics[i], 1);
    expect_publish(reader, "pub/x", "pub/x");
    expect_publish(reader, "other/y", "other/y");
    expect_publish(reader, "pub/y/z", "pub/y/z");
    assert_null(wire_next(reader));
    assert_int_equal(WORLD_COUNT(a, link_messages_sent), 3);
    if (worlds_dialect == DIALECT_EMQX) { /* else `#` covers it, and it is never asked for */
        assert_int_equal(WORLD_COUNT(a, link_routes_not_exported), 1);
        assert_true(world_said(a, "4 link route not taken|beta|export of the link has nothing of "
                                  "it|filter secret"));
    }
    unsubscribe(reader, "#");
    worlds_pass(40000);
    publish(writer, "pub/x", "x", 1);
    publish(writer, "other/y", "y", 1);
    expect_publish(reader, "other/y", "y"); /* the route of the other filter is still there */
    assert_null(wire_next(reader));
    unsubscribe(reader, "other/+");
    unsubscribe(reader, "secret");
    assert_int_equal(announced_route_count(world_peer(a, "beta")->announced), 0);
    worlds_end();
}

LINK_TEST(link_gives_no_dollar_topics_unless_they_are_named)
{
    static const struct bytes exports[] = {{(const uint8_t *)"#", 1},
                                           {(const uint8_t *)"$app/#", 6}};

    for (uint32_t count = 1; count < 3; count++) {
        struct world *a = world_make("alpha", 1001), *b = world_make("beta", 1002);
        struct wire *reader, *writer;

        world_link(a, "beta", 1002, "")->exports = exports;
        a->cfg.links[0].export_count = count;
        world_link(b, "alpha", 1001, "$app/#");
        start(a, b);
        reader = reader_of(b, "$app/x");
        writer = client(a, "writer");
        publish(writer, "$app/x", "x", 1);
        if (count == 2)
            expect_publish(reader, "$app/x", "x");
        assert_null(wire_next(reader));
        assert_int_equal(WORLD_COUNT(a, link_routes_not_exported), count == 1);
        worlds_end();
    }
}

LINK_TEST(link_that_exports_nothing_only_wants)
{
    struct world *a, *b;
    struct cfg_link *of_b, *of_a = two(&a, &b, &of_b);
    struct wire *ka, *kb;

    of_a->export_count = 0;
    start(a, b);
    ka = reader_of(a, "t");
    kb = reader_of(b, "t");
    publish(client(a, "wa"), "t", "stays", 1);
    publish(client(b, "wb"), "t", "goes", 1);
    expect_publish(ka, "t", "stays");
    expect_publish(ka, "t", "goes");
    expect_publish(kb, "t", "goes");
    assert_null(wire_next(kb));
    worlds_end();
}

/* ---- what they may send ---- */

LINK_TEST(link_takes_as_many_routes_as_max_routes)
{
    struct world *a, *b;
    struct cfg_link *of_b;
    struct wire *reader;
    char filter[16];

    two(&a, &b, &of_b)->max_routes = 3;
    start(a, b);
    reader = client(b, "reader");
    for (int i = 0; i < 5; i++) {
        snprintf(filter, sizeof(filter), "t/%d", i);
        subscribe(reader, filter, 0);
    }
    assert_int_equal(announced_route_count(world_peer(a, "beta")->announced), 3);
    assert_int_equal(WORLD_COUNT(a, link_routes_over_limit), 2);
    assert_true(world_said(a, "|the link has as many routes as max_routes allows|filter t/3"));
    publish(client(a, "writer"), "t/2", "x", 1);
    expect_publish(reader, "t/2", "x");
    worlds_end();
}

/* Subscribes to `count` filters at once. */
static void subscribe_many(struct wire *k, uint32_t count)
{
    for (uint32_t n = 0; n < count; n++) {
        char filter[32];
        struct filter_request f = {.filter = bytes_str(filter)};
        uint8_t b[64];

        snprintf(filter, sizeof(filter), "some/%u", n);
        f.filter = bytes_str(filter);
        wire_send(k, b, subscribe_put(b, MQTT_5, 5, &f, 1, 0));
    }
    worlds_settle();
}

static uint32_t routes_of(struct world *w, const char *cluster)
{
    return announced_route_count(world_peer(w, cluster)->announced);
}

LINK_TEST(link_holds_back_who_sends_more_than_max_route_ops)
{
    struct world *a, *b;
    struct cfg_link *of_b;
    uint32_t seconds = 0;

    two(&a, &b, &of_b)->max_route_ops = 1000;
    start(a, b);
    subscribe_many(client(b, "reader"), 30000);
    assert_in_range(routes_of(a, "beta"), 1000, 9000);
    assert_true(world_said(a, "5 link held back|beta|"));
    for (; routes_of(a, "beta") < 30000 && seconds < 60; seconds++) {
        assert_true(routes_of(a, "beta") <= (seconds + 1) * 1000 + 9000);
        worlds_pass(1000);
    }
    assert_in_range(seconds, 20, 32);
    worlds_pass(60000);
    assert_int_equal(routes_of(a, "beta"), 30000); /* no actor went meanwhile */
    assert_false(world_said(a, "link routes expired"));
    assert_false(world_said(b, "link down"));
    assert_int_equal(WORLD_COUNT(a, link_packets_refused), 0);
    worlds_end();
}

LINK_TEST(link_holds_back_who_sends_more_than_max_rate)
{
    struct world *a, *b;
    struct cfg_link *of_b;
    struct wire *reader, *writer, *local;
    uint32_t next = 0, got, seconds = 0;

    two(&a, &b, &of_b)->max_rate = (worlds_spread ? 2 : 1) * (128u << 10); /* for each stream */
    start(a, b);
    reader = reader_of(a, "t");
    writer = client(b, "writer");
    local = client(a, "local");
    for (uint32_t i = 0; i < 1000; i++) /* 1.2 MB with what is around them */
        push(writer, "t", i);
    worlds_settle();
    got = came(reader, PACKET_PUBLISH, &next);
    assert_true(got < 600);
    publish(local, "u", "x", 1); /* clients are not held */
    for (; got < 1000 && seconds < 20; seconds++) {
        worlds_pass(1000);
        got += came(reader, PACKET_PUBLISH, &next);
    }
    assert_int_equal(got, 1000); /* nothing was lost, and in order */
    assert_in_range(seconds, 5, 12);
    assert_true(WORLD_COUNT(a, link_holds) >= 1);
    worlds_end();
}
