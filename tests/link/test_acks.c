/* tests/link/test_acks.c -- publishers that wait for remote clusters: `ack = remote`. */
#include "link/acks.h"

#include "core/broker/state.h"
#include "link/outstream.h"
#include "link/window.h"
#include "tests/link/worlds.h"

/* Alpha, whose link to beta has `ack = remote`, and beta; a reader at beta, a writer at alpha. */
struct pair {
    struct world *a, *b;
    struct cfg_link *link; /* alpha's */
    struct wire *reader, *writer;
};

static struct pair pair_made(void)
{
    struct pair p = {.a = world_make("alpha", 1001), .b = world_make("beta", 1002)};

    p.link = world_link(p.a, "beta", 1002, "#");
    p.link->ack = ACK_REMOTE;
    world_link(p.b, "alpha", 1001, "#");
    return p;
}

static void pair_start(struct pair *p)
{
    world_start(p->a);
    world_start(p->b);
    worlds_pass(1000);
    p->reader = client(p->b, "reader");
    subscribe(p->reader, "t/#", 2);
    worlds_settle();
    p->writer = client(p->a, "writer");
}

static struct pair pair(void)
{
    struct pair p = pair_made();

    pair_start(&p);
    return p;
}

/* One cluster alone moves, until it has nothing to do. */
static void run_only(struct world *w)
{
    for (uint32_t i = 0; i < 20; i++)
        for (uint32_t worker = 0; worker < 2; worker++)
            (void)turn(w, worker);
}

/* Nobody can connect to a world any more; all its connections but those of clients end. */
static void shut(struct world *w)
{
    w->port = 0;
    for (uint32_t n = 0; n < all.wire_count; n++)
        if (all.wire[n]->world[0] && all.wire[n]->world[1] == w && all.wire[n]->stream[0])
            wire_drop(all.wire[n]);
    worlds_settle();
}

static void push_bytes(struct wire *k, const char *topic, uint8_t qos, uint16_t id, bool dup,
                       uint32_t bytes)
{
    static char payload[4096];
    struct publish_out p = {.qos = qos,
                            .packet_id = id,
                            .dup = dup,
                            .topic = bytes_str(topic),
                            .payload = bytes_of(payload, bytes)};

    wire_publish(k, &p);
}

static void push(struct wire *k, const char *topic, uint8_t qos, uint16_t id)
{
    push_bytes(k, topic, qos, id, false, 4);
}

static void push_again(struct wire *k, const char *topic, uint8_t qos, uint16_t id)
{
    push_bytes(k, topic, qos, id, true, 4);
}

static void expect_ack(struct wire *k, enum packet_type type, uint16_t id, uint8_t reason)
{
    const struct packet *p = wire_expect(k, type);

    assert_int_equal(p->ack.packet_id, id);
    assert_int_equal(p->ack.reason, reason);
}

static void release(struct wire *k, uint16_t id)
{
    uint8_t b[8];

    wire_send(k, b, ack_put(b, MQTT_5, PACKET_PUBREL, id, 0, (struct bytes){0}));
    worlds_settle();
    expect_ack(k, PACKET_PUBCOMP, id, 0);
}

/* PUBLISHes that came; all are answered, QoS 2 to its end. */
static uint32_t came(struct wire *k)
{
    const struct packet *p;
    uint32_t count = 0;
    uint8_t b[8];

    worlds_settle();
    while ((p = wire_next(k))) {
        count += p->type == PACKET_PUBLISH;
        if (p->type == PACKET_PUBLISH && p->publish.qos == 1)
            wire_ack(k, p->publish.packet_id, 0);
        else if (p->type == PACKET_PUBLISH && p->publish.qos == 2)
            wire_send(k, b,
                      ack_put(b, MQTT_5, PACKET_PUBREC, p->publish.packet_id, 0, BYTES_LIT("")));
        else if (p->type == PACKET_PUBREC)
            wire_send(k, b, ack_put(b, MQTT_5, PACKET_PUBREL, p->ack.packet_id, 0, BYTES_LIT("")));
        worlds_settle();
    }
    return count;
}

/* A connection of that client id, with a session that stays. */
static struct wire *durable(struct world *w, const char *id, bool is_present)
{
    struct connect_out c = {.protocol = MQTT_5,
                            .has_session_expiry = true,
                            .session_expiry = 1000000,
                            .client_id = bytes_str(id)};
    struct wire *k = wire_to(w);
    uint8_t b[512];

    wire_send(k, b, connect_put(b, &c));
    worlds_settle();
    assert_int_equal(wire_expect(k, PACKET_CONNACK)->connack.session_present, is_present);
    return k;
}

/* A client that speaks MQTT 3.1.1. */
static struct wire *old_client(struct world *w, const char *id)
{
    struct connect_out c = {.protocol = MQTT_311, .clean_start = true, .client_id = bytes_str(id)};
    struct wire *k = wire_to(w);
    uint8_t b[512];

    wire_send(k, b, connect_put(b, &c));
    worlds_settle();
    k->at += 4; /* its CONNACK has no properties */
    return k;
}

static uint64_t waiting(struct world *w)
{
    return WORLD_COUNT(w, link_acks_waiting);
}

static uint64_t waiting_for(struct world *w, const char *name)
{
    struct link_status s;

    status_of(world_peer(w, name), &s);
    return s.acks_waiting;
}

/* ---- waiting ---- */

LINK_TEST(publisher_waits_until_the_other_side_has_it)
{
    struct pair p = pair();

    push(p.writer, "t/1", 1, 1);
    push(p.writer, "t/2", 2, 2);
    run_only(p.a);
    assert_null(wire_next(p.writer));
    assert_int_equal(waiting(p.a), 2);
    worlds_settle();
    expect_ack(p.writer, PACKET_PUBACK, 1, 0);
    expect_ack(p.writer, PACKET_PUBREC, 2, 0);
    release(p.writer, 2);
    assert_int_equal(came(p.reader), 2);
    assert_int_equal(waiting(p.a), 0);
    worlds_end();
}

LINK_TEST(publisher_does_not_wait_where_ack_is_local)
{
    struct pair p = pair_made();

    p.link->ack = ACK_LOCAL;
    pair_start(&p);
    push(p.writer, "t/1", 1, 1);
    run_only(p.a);
    expect_ack(p.writer, PACKET_PUBACK, 1, 0);
    worlds_end();
}

LINK_TEST(publisher_does_not_wait_for_what_nobody_there_wants)
{
    struct pair p = pair();

    push(p.writer, "mine", 1, 1);
    run_only(p.a);
    expect_ack(p.writer, PACKET_PUBACK, 1, REASON_NO_MATCHING_SUBSCRIBERS);
    worlds_end();
}

LINK_TEST_DIALLED(publisher_waits_while_the_other_side_is_away_and_others_do_not)
{
    struct pair p = pair();
    struct wire *other = client(p.a, "other");

    shut(p.b);
    push(p.writer, "t/1", 1, 1);
    push(p.writer, "mine", 1, 2); /* behind the first [MQTT-4.6.0-2] */
    push(p.writer, "mine", 2, 3);
    worlds_pass(60000);
    assert_null(wire_next(p.writer));
    assert_int_equal(waiting_for(p.a, "beta"), 1);
    publish(other, "mine", "x", 1);
    p.b->port = 1002;
    worlds_pass(20000);
    expect_ack(p.writer, PACKET_PUBACK, 1, 0);
    expect_ack(p.writer, PACKET_PUBACK, 2, REASON_NO_MATCHING_SUBSCRIBERS);
    expect_ack(p.writer, PACKET_PUBREC, 3, REASON_NO_MATCHING_SUBSCRIBERS);
    assert_int_equal(came(p.reader), 1);
    assert_int_equal(waiting_for(p.a, "beta"), 0);
    worlds_end();
}

LINK_TEST_DIALLED(process_can_end_while_publishers_wait)
{
    struct pair p = pair();

    shut(p.b);
    push(p.writer, "t/1", 1, 1);
    push(p.writer, "t/1", 2, 2);
    worlds_settle();
    push(p.writer, "t/1", 1, 3);
    for (uint32_t i = 0; i < 2; i++)
        (void)turn(p.a, WORLD_CLIENTS); /* it stands in the ring */
    assert_int_equal(waiting(p.a), 3);
    worlds_end();
}

static struct world *third(const char *name, uint16_t port)
{
    struct world *w = world_make(name, port);

    world_link(w, "alpha", 1001, "#");
    world_start(w);
    return w;
}

/* On so many link workers. */
static void wait_for_all_links(uint32_t link_workers)
{
    struct pair p = pair_made();
    struct world *c, *d;
    struct wire *at_c, *at_d;

    p.a->link_workers = link_workers;
    world_link(p.a, "gamma", 1003, "#")->ack = ACK_REMOTE;
    world_link(p.a, "delta", 1004, "#");
    pair_start(&p);
    c = third("gamma", 1003);
    d = third("delta", 1004);
    worlds_pass(20000);
    at_c = client(c, "at-c");
    at_d = client(d, "at-d");
    subscribe(at_c, "t/#", 1);
    subscribe(at_d, "t/#", 1);
    worlds_settle();
    shut(d); /* nobody waits for this one */
    shut(c);
    push(p.writer, "t/1", 1, 1);
    worlds_pass(1000);
    assert_int_equal(came(p.reader), 1);
    assert_null(wire_next(p.writer));
    assert_int_equal(waiting_for(p.a, "beta"), 0);
    assert_int_equal(waiting_for(p.a, "gamma"), 1);
    assert_int_equal(waiting_for(p.a, "delta"), 0);
    c->port = 1003;
    worlds_pass(20000);
    expect_ack(p.writer, PACKET_PUBACK, 1, 0);
    assert_int_equal(came(at_c), 1);
    worlds_end();
}

LINK_TEST_DIALLED(publisher_waits_for_all_links_that_acknowledge_remotely)
{
    for (uint32_t i = 1; i <= 3; i++)
        wait_for_all_links(i);
}

LINK_TEST_DIALLED(old_client_is_not_read_when_receive_maximum_wait)
{
    struct pair p = pair_made();
    struct wire *old, *other;
    uint32_t count = 0;

    p.a->cfg.limits.receive_maximum = 10;
    pair_start(&p);
    old = old_client(p.a, "old");
    other = client(p.a, "other");
    shut(p.b);
    for (uint16_t i = 1; i <= 15; i++)
        push(old, "t/1", 1, i);
    for (uint32_t i = 0; i < 50; i++)
        (void)world_turn(p.a);
    assert_int_equal(waiting(p.a), 10);
    push(other, "mine", 1, 1);
    for (uint32_t i = 0; i < 50; i++)
        (void)world_turn(p.a);
    expect_ack(other, PACKET_PUBACK, 1, REASON_NO_MATCHING_SUBSCRIBERS);
    p.b->port = 1002;
    for (uint32_t i = 0; i < 1000; i++) {
        all.now_ms += 50;
        all.wall_ms += 50;
        (void)world_turn(p.a);
        (void)world_turn(p.b);
    }
    while (wire_next(old))
        count++;
    assert_int_equal(count, 15);
    assert_int_equal(came(p.reader), 15);
    worlds_end();
}

/* ---- what the link lets go ---- */

LINK_TEST_DIALLED(publisher_hears_that_the_queue_was_full)
{
    for (int newest = 0; newest < 2; newest++) {
        struct pair p = pair_made();
        uint32_t acks = 0, failed = 0;
        const struct packet *k;

        p.link->queue_bytes = (worlds_spread ? 3 : 1) * (64u << 10); /* a publisher has its part */
        p.link->on_full = newest ? ON_FULL_DROP_NEWEST : ON_FULL_DROP_OLDEST;
        pair_start(&p);
        shut(p.b);
        for (uint16_t i = 1; i <= 100; i++)
            push_bytes(p.writer, "t/1", 1, i, false, 1024);
        worlds_settle();
        p.b->port = 1002;
        worlds_pass(20000);
        while ((k = wire_next(p.writer))) {
            assert_int_equal(k->type, PACKET_PUBACK);
            assert_int_equal(k->ack.packet_id, ++acks);
            assert_true(k->ack.reason == 0 || k->ack.reason == REASON_QUOTA_EXCEEDED);
            failed += k->ack.reason != 0;
        }
        assert_int_equal(acks, 100);
        assert_in_range(failed, 30, 70);
        assert_int_equal(failed, WORLD_COUNT(p.a, link_acks_failed));
        assert_int_equal(came(p.reader), 100 - failed);
        worlds_end();
    }
}

LINK_TEST_DIALLED(publisher_hears_that_it_waited_too_long_and_may_use_the_id_anew)
{
    struct pair p = pair_made();
    struct wire *old;

    p.link->queue_age = 60;
    pair_start(&p);
    old = old_client(p.a, "old");
    shut(p.b);
    push(p.writer, "t/1", 1, 1);
    push(p.writer, "t/1", 2, 2);
    push(old, "t/1", 1, 1);
    push(old, "t/1", 2, 2);
    worlds_pass(59000);
    assert_null(wire_next(p.writer));
    worlds_pass(3000);
    expect_ack(p.writer, PACKET_PUBACK, 1, REASON_UNSPECIFIED_ERROR);
    expect_ack(p.writer, PACKET_PUBREC, 2, REASON_UNSPECIFIED_ERROR);
    expect_ack(old, PACKET_PUBACK, 1, 0); /* MQTT 3 has no word for it */
    expect_ack(old, PACKET_PUBREC, 2, 0);
    assert_int_equal(WORLD_COUNT(p.a, link_acks_failed), 4);
    p.b->port = 1002;
    worlds_pass(20000);
    push(p.writer, "t/1", 2, 2);  /* the flow had ended: another message */
    push_again(old, "t/1", 2, 2); /* it goes on there: the same */
    worlds_settle();
    expect_ack(p.writer, PACKET_PUBREC, 2, 0);
    expect_ack(old, PACKET_PUBREC, 2, 0);
    release(p.writer, 2);
    assert_int_equal(came(p.reader), 1);
    worlds_end();
}

LINK_TEST_DIALLED(publisher_hears_that_the_message_expired_or_is_too_large)
{
    struct pair p = pair_made();
    uint8_t props[] = {2, 0, 0, 0, 5};
    struct publish_out o = {.qos = 1,
                            .packet_id = 1,
                            .topic = BYTES_LIT("t/1"),
                            .payload = BYTES_LIT("x"),
                            .props = bytes_of(props, sizeof(props))};

    p.b->cfg.limits.packet_bytes = 3000;
    pair_start(&p);
    push_bytes(p.writer, "t/1", 1, 2, false, 4000);
    worlds_settle();
    expect_ack(p.writer, PACKET_PUBACK, 2, REASON_UNSPECIFIED_ERROR);
    shut(p.b);
    wire_publish(p.writer, &o);
    worlds_pass(10000);
    p.b->port = 1002;
    worlds_pass(20000);
    expect_ack(p.writer, PACKET_PUBACK, 1, REASON_UNSPECIFIED_ERROR);
    assert_int_equal(came(p.reader), 0);
    worlds_end();
}

/* ---- connections and sessions ---- */

LINK_TEST_DIALLED(what_waits_is_not_forwarded_again_when_the_client_sends_it_again)
{
    struct pair p = pair();
    struct wire *k = durable(p.a, "durable", false);

    shut(p.b);
    push(k, "t/1", 1, 1);
    push(k, "t/2", 2, 2);
    push(k, "t/3", 1, 3);
    worlds_settle();
    wire_drop(k);
    worlds_settle();
    k = durable(p.a, "durable", true);
    push_again(k, "t/1", 1, 1);
    push_again(k, "t/2", 2, 2);
    push(k, "t/3", 1, 3); /* not the same: another message */
    worlds_settle();
    assert_null(wire_next(k));
    p.b->port = 1002;
    worlds_pass(20000);
    expect_ack(k, PACKET_PUBACK, 1, 0);
    expect_ack(k, PACKET_PUBREC, 2, 0);
    expect_ack(k, PACKET_PUBACK, 3, 0);
    release(k, 2);
    assert_int_equal(came(p.reader), 4);
    assert_int_equal(waiting(p.a), 0);
    worlds_end();
}

LINK_TEST_DIALLED(answer_that_came_while_the_client_was_away_is_kept_for_it)
{
    struct pair p = pair();
    struct wire *k = durable(p.a, "durable", false);

    shut(p.b);
    push(k, "t/1", 1, 1);
    push(k, "t/2", 2, 2);
    worlds_settle();
    wire_drop(k);
    worlds_settle();
    p.b->port = 1002;
    worlds_pass(20000);
    assert_int_equal(came(p.reader), 2);
    k = durable(p.a, "durable", true);
    assert_null(wire_next(k)); /* it is not answered before it is asked */
    push_again(k, "t/1", 1, 1);
    push_again(k, "t/2", 2, 2);
    worlds_settle();
    expect_ack(k, PACKET_PUBACK, 1, 0);
    expect_ack(k, PACKET_PUBREC, 2, 0);
    release(k, 2);
    push_again(k, "t/1", 1, 1); /* it is gone now: as any other */
    worlds_settle();
    expect_ack(k, PACKET_PUBACK, 1, 0);
    assert_int_equal(came(p.reader), 1);
    worlds_end();
}

LINK_TEST_DIALLED(what_is_not_sent_again_at_once_waits_for_later_connections)
{
    struct pair p = pair();
    struct wire *k = durable(p.a, "durable", false);

    shut(p.b);
    push(k, "t/1", 1, 1);
    push(k, "t/2", 2, 2);
    worlds_settle();
    for (uint16_t i = 0; i < 3; i++) {
        k = durable(p.a, "durable", true); /* takes over */
        push(k, "t/3", 1, (uint16_t)(10 + i));
        worlds_settle();
        assert_int_equal(waiting(p.a), 3u + i);
    }
    push_again(k, "t/2", 2, 2);
    push_again(k, "t/1", 1, 1);
    worlds_settle();
    assert_null(wire_next(k));
    p.b->port = 1002;
    worlds_pass(20000);
    expect_ack(k, PACKET_PUBACK, 12, 0);
    expect_ack(k, PACKET_PUBREC, 2, 0);
    expect_ack(k, PACKET_PUBACK, 1, 0);
    assert_int_equal(came(p.reader), 5);
    assert_int_equal(waiting(p.a), 2);
    worlds_end();
}

LINK_TEST_DIALLED(oldest_that_is_never_sent_again_is_forgotten_at_receive_maximum)
{
    struct pair p = pair_made();
    struct wire *k;

    p.a->cfg.limits.receive_maximum = 3;
    pair_start(&p);
    k = durable(p.a, "durable", false);
    shut(p.b);
    push(k, "t/1", 2, 1);
    worlds_settle();
    for (uint16_t i = 2; i <= 4; i++) {
        k = durable(p.a, "durable", true);
        push(k, "t/1", 1, i);
        worlds_settle();
    }
    assert_int_equal(waiting(p.a), 4);
    k = durable(p.a, "durable", true);
    assert_int_equal(waiting(p.a), 3);
    push_again(k, "t/1", 2, 1); /* as if it had not come */
    p.b->port = 1002;
    worlds_pass(20000);
    expect_ack(k, PACKET_PUBREC, 1, 0);
    assert_int_equal(came(p.reader), 5);
    worlds_end();
}

LINK_TEST_DIALLED(session_can_end_while_its_acknowledgements_wait)
{
    struct pair p = pair();

    shut(p.b);
    push(p.writer, "t/1", 1, 1);
    push(p.writer, "mine", 1, 2);
    worlds_settle();
    assert_int_equal(waiting(p.a), 2);
    wire_drop(p.writer);
    worlds_settle();
    assert_int_equal(waiting(p.a), 0);
    p.b->port = 1002;
    worlds_pass(20000);
    assert_int_equal(came(p.reader), 1);
    worlds_end();
}

LINK_TEST_DIALLED(message_sent_twice_on_one_connection_is_answered_once)
{
    struct pair p = pair();

    shut(p.b);
    push(p.writer, "t/1", 1, 1);
    push_again(p.writer, "t/1", 1, 1);
    push(p.writer, "t/1", 2, 2);
    push_again(p.writer, "t/1", 2, 2);
    worlds_settle();
    p.b->port = 1002;
    worlds_pass(20000);
    expect_ack(p.writer, PACKET_PUBACK, 1, 0);
    expect_ack(p.writer, PACKET_PUBREC, 2, 0);
    assert_null(wire_next(p.writer));
    assert_int_equal(came(p.reader), 2);
    worlds_end();
}

/* ---- the link changes ---- */

/* Makes alpha's links what stands in its configuration; without a name there is none. */
static void apply(struct pair *p)
{
    const struct cfg_link *links[LINKS_MAX] = {p->link->name[0] ? p->link : NULL};

    p->a->links[0] = (struct link_rules){.name = p->link->name[0] ? p->link->name : NULL,
                                         .acks_remotely = p->link->ack == ACK_REMOTE};
    for (uint32_t worker = 0; worker < 2; worker++)
        assert_int_equal(shard_set_links(shard_of(p->a, worker), p->a->links, 1), OK);
    shard_begin_turn(shard_of(p->a, WORLD_LINKS), all.now_ms, all.wall_ms);
    assert_int_equal(hub_apply(p->a->hub[0], links), OK);
    worlds_settle();
}

LINK_TEST_DIALLED(change_of_the_link_releases_its_publishers)
{
    for (int what = 0; what < 4; what++) {
        struct pair p = pair();

        shut(p.b);
        push(p.writer, "t/1", 1, 1);
        push(p.writer, "t/1", 2, 2);
        worlds_settle();
        assert_null(wire_next(p.writer));
        if (what == 0)
            p.link->ack = ACK_LOCAL;
        else if (what == 1)
            p.link->enable = false;
        else if (what == 2)
            p.link->name = "";
        else
            p.link->dialect = p.link->dialect == DIALECT_EMQX ? DIALECT_AUTO : DIALECT_EMQX;
        apply(&p);
        worlds_pass(1000);
        expect_ack(p.writer, PACKET_PUBACK, 1, 0);
        expect_ack(p.writer, PACKET_PUBREC, 2, 0);
        assert_int_equal(waiting(p.a), 0);
        worlds_end();
    }
}

LINK_TEST_DIALLED(link_can_begin_to_acknowledge_remotely)
{
    struct pair p = pair_made();

    p.link->ack = ACK_LOCAL;
    pair_start(&p);
    shut(p.b);
    push(p.writer, "t/1", 1, 1);
    worlds_settle();
    expect_ack(p.writer, PACKET_PUBACK, 1, 0);
    p.link->ack = ACK_REMOTE;
    apply(&p);
    push(p.writer, "t/1", 1, 2);
    worlds_pass(1000);
    assert_null(wire_next(p.writer));
    p.b->port = 1002;
    worlds_pass(20000);
    expect_ack(p.writer, PACKET_PUBACK, 2, 0);
    assert_int_equal(came(p.reader), 2);
    worlds_end();
}

/* ---- queues and tags ---- */

struct stage {
    struct world *w;
    struct acks acks;
    struct receipt receipt;
    struct acks_of of;
};

static void stage_start(struct stage *s)
{
    *s = (struct stage){.w = world_make("alone", 0)};
    world_link(s->w, "other", 1, "#");
    world_start(s->w);
    acks_init(&s->acks, shard_of(s->w, WORLD_LINKS));
    s->of = (struct acks_of){.acks = &s->acks, .link = 0};
}

/* Takes what has gone back; whether something has. */
static bool went_back(struct stage *s)
{
    struct shard *shard = shard_of(s->w, WORLD_LINKS);
    bool did = shard->receipt_first != NULL;

    shard->receipt_first = NULL;
    shard->receipt_last = &shard->receipt_first;
    return did;
}

static void stage_end(struct stage *s)
{
    acks_fini(&s->acks);
    (void)went_back(s);
    worlds_end();
}

TEST(receipt_goes_back_when_the_last_link_has_settled_it_and_only_once)
{
    struct stage s;
    struct acks_of other;
    uint64_t tag;

    stage_start(&s);
    other = (struct acks_of){.acks = &s.acks, .link = 5};
    tag = acks_begin(&s.acks, &s.receipt, 1u << 0 | 1u << 5);
    assert_true(s.receipt.is_taken);
    acks_settle(&s.of, tag, REASON_QUOTA_EXCEEDED);
    acks_settle(&s.of, tag, 0);
    assert_false(went_back(&s));
    acks_settle(&other, tag, REASON_UNSPECIFIED_ERROR);
    assert_true(went_back(&s));
    assert_int_equal(s.receipt.reason, REASON_QUOTA_EXCEEDED); /* of the first */
    acks_settle(&other, tag, 0);                               /* the tag is stale */
    acks_settle(&s.of, 0, 0);
    assert_false(went_back(&s));
    stage_end(&s);
}

TEST(receipt_that_finds_no_place_goes_back_at_once_with_a_fault)
{
    struct receipt *many = calloc(ACKS_MAX, sizeof(*many));
    struct stage s;

    assert_non_null(many);
    stage_start(&s);
    for (uint32_t i = 0; i < ACKS_MAX; i++)
        assert_true(acks_begin(&s.acks, &many[i], 1) != 0);
    assert_false(went_back(&s));
    assert_int_equal(acks_begin(&s.acks, &s.receipt, 1), 0);
    assert_true(s.receipt.is_taken);
    assert_true(shard_of(s.w, WORLD_LINKS)->receipt_first == &s.receipt);
    assert_int_equal(s.receipt.reason, REASON_QUOTA_EXCEEDED);
    assert_int_equal(s.acks.waiting[0], ACKS_MAX);
    stage_end(&s);
    free(many);
}

TEST(receipts_of_a_link_that_is_released_go_back_without_a_fault)
{
    struct stage s;
    struct receipt second = {0};

    stage_start(&s);
    (void)acks_begin(&s.acks, &s.receipt, 1u << 0);
    (void)acks_begin(&s.acks, &second, 1u << 0 | 1u << 1);
    acks_release(&s.acks, 0);
    assert_int_equal(s.acks.waiting[0], 0);
    assert_int_equal(s.acks.waiting[1], 1);
    assert_true(shard_of(s.w, WORLD_LINKS)->receipt_first == &s.receipt);
    assert_null(s.receipt.next);
    assert_int_equal(s.receipt.reason, 0);
    stage_end(&s);
}

TEST(record_that_the_other_side_refuses_is_let_go)
{
    uint64_t bytes = 0;
    struct stage s;
    struct publish p = {.topic = BYTES_LIT("t"), .qos = 1};
    struct window_packet out;
    struct window w;

    stage_start(&s);
    window_init(&w, 1u << 20, 1000, WINDOW_DROP_OLDEST);
    w.acks = s.of;
    p.tag = acks_begin(&s.acks, &s.receipt, 1u << 0);
    window_push(&w, publish_message(&p, &bytes));
    publish_fini(&p);
    window_restart(&w, 10, 1000);
    assert_true(window_next(&w, 0, &out));
    message_release(out.record);
    assert_int_equal(window_ack(&w, out.id, true), OK);
    assert_true(went_back(&s));
    assert_int_equal(s.receipt.reason, REASON_UNSPECIFIED_ERROR);
    window_fini(&w);
    stage_end(&s);
}
