/* tests/link/test_workers.c -- clusters with several link workers. */
#include "core/mail/msg.h"
#include "link/lane.h"
#include "tests/link/worlds.h"

/* The link worker on which a link lives; the number of them: on none. */
static uint32_t home_of(struct world *w, const char *name)
{
    uint32_t found = w->link_workers;

    for (uint32_t i = 0; i < w->link_workers; i++) {
        if (!hub_peer(w->hub[i], bytes_str(name)))
            continue;
        assert_int_equal(found, w->link_workers); /* on no second one */
        found = i;
    }
    return found;
}

/* Links that are added, changed or gone, as the net hands them to each link worker. */
static void hand_links(struct world *w)
{
    const struct cfg_link *links[LINKS_MAX] = {0};

    for (uint32_t i = 0; i < w->cfg.link_count; i++) {
        bool is_there = w->cfg.links[i].name[0] != 0;

        links[i] = is_there ? &w->cfg.links[i] : NULL;
        w->links[i] = (struct link_rules){.name = is_there ? links[i]->name : NULL};
    }
    for (uint32_t i = 0; i < world_workers(w); i++) {
        assert_int_equal(shard_set_links(shard_of(w, i), w->links, w->cfg.link_count), OK);
        shard_begin_turn(shard_of(w, i), all.now_ms, all.wall_ms);
        if (i >= WORLD_LINKS)
            assert_int_equal(hub_apply(w->hub[i - WORLD_LINKS], links), OK);
    }
}

static void apply(struct world *w)
{
    hand_links(w);
    worlds_settle();
}

/* ---- several links ---- */

static struct world *hub, *spokes[3];
static const char *const names[3] = {"beta", "gamma", "delta"};

/* Beta, gamma and delta, each linked with alpha, which has three link workers. */
static void star(uint32_t links)
{
    hub = world_make("alpha", 1000);
    hub->link_workers = 3;
    hub->cfg.limits.sys_interval = 1;
    hub->cfg.cluster.suback = SUBACK_LINKED;
    for (uint32_t i = 0; i < links; i++)
        world_link(hub, names[i], (uint16_t)(1001 + i), "#");
    world_start(hub);
    for (uint32_t i = 0; i < 3; i++) {
        spokes[i] = world_make(names[i], (uint16_t)(1001 + i));
        world_link(spokes[i], "alpha", 1000, "#");
        world_start(spokes[i]);
    }
    worlds_pass(1000);
}

/* A message from each spoke to alpha and back. */
static void exchange(void)
{
    struct wire *at_hub = client(hub, "on-alpha");

    subscribe(at_hub, "up/#", 1);
    for (uint32_t i = 0; i < 3; i++) {
        struct wire *k = client(spokes[i], "there");

        subscribe(k, "down/#", 1);
        publish(k, "up/1", names[i], 1);
        expect_publish(at_hub, "up/1", names[i]);
        publish(at_hub, "down/1", "all", 1);
        expect_publish(k, "down/1", "all");
        wire_drop(k);
    }
    assert_null(wire_next(at_hub));
    wire_drop(at_hub);
    worlds_settle();
}

LINK_TEST(each_link_lives_on_the_link_worker_that_is_its_home)
{
    bool is_used[3] = {false};

    star(3);
    for (uint32_t i = 0; i < 3; i++) {
        uint32_t home = shard_link_home(shard_of(hub, 0), bytes_str(names[i]));

        assert_int_equal(home_of(hub, names[i]), home);
        assert_true(world_peer(hub, names[i])->is_up);
        is_used[home] = true;
    }
    assert_true(is_used[0] + is_used[1] + is_used[2] > 1);
    exchange();
    worlds_end();
}

LINK_TEST(link_that_is_added_goes_to_its_link_worker_and_leaves_it_when_it_is_removed)
{
    star(2);
    world_link(hub, "delta", 1003, "#");
    apply(hub);
    worlds_pass(20000);
    assert_int_equal(home_of(hub, "delta"), shard_link_home(shard_of(hub, 0), BYTES_LIT("delta")));
    assert_true(world_peer(hub, "delta")->is_up);
    exchange();
    hub->cfg.links[1].name = "";
    apply(hub);
    worlds_pass(1000);
    assert_int_equal(home_of(hub, "gamma"), hub->link_workers);
    assert_true(world_peer(hub, "beta")->is_up);
    assert_true(world_peer(hub, "delta")->is_up);
    worlds_end();
}

LINK_TEST(each_link_worker_says_how_its_links_are)
{
    struct wire *k;

    star(3);
    worlds_pass(2000);
    k = client(hub, "watcher");
    for (uint32_t i = 0; i < 3; i++) {
        char topic[64];

        snprintf(topic, sizeof(topic), "$SYS/broker/links/%s/state", names[i]);
        subscribe(k, topic, 0);
        expect_publish(k, topic, "up");
    }
    worlds_end();
}

LINK_TEST(suback_waits_for_the_links_of_all_link_workers)
{
    struct filter_request f = {.filter = BYTES_LIT("t"), .qos = 1};
    struct wire *k;
    uint8_t b[512];

    star(3);
    k = client(hub, "on-alpha");
    wire_send(k, b, subscribe_put(b, MQTT_5, 77, &f, 1, 0));
    for (uint32_t round = 0; round < 20; round++)
        (void)world_turn(hub);
    assert_null(wire_next(k));
    worlds_settle();
    assert_int_equal(wire_expect(k, PACKET_SUBACK)->suback.reasons.p[0], 1);
    assert_int_equal(WORLD_COUNT(hub, link_subacks_late), 0);
    for (uint32_t i = 0; i < 3; i++)
        assert_true(peer_is_told(world_peer(hub, names[i]), (struct bytes){0}, BYTES_LIT("t")));
    worlds_end();
}

/* ---- one link on several link workers ---- */

#define PUBLISHERS 12u

static struct world *alpha, *beta;

/* Alpha and beta, linked natively, with so many link workers. */
static void two(uint32_t at_alpha, uint32_t at_beta)
{
    worlds_dialect = DIALECT_AUTO;
    alpha = world_make("alpha", 1001);
    beta = world_make("beta", 1002);
    alpha->link_workers = at_alpha;
    beta->link_workers = at_beta;
    worlds_spread = true; /* settling takes longer */
    world_link(alpha, "beta", 1002, "#");
    world_link(beta, "alpha", 1001, "#");
}

static void two_start(void)
{
    world_start(alpha);
    world_start(beta);
    worlds_pass(1000);
    assert_true(world_peer(alpha, "beta")->is_up);
    assert_true(world_peer(beta, "alpha")->is_up);
}

static void two_end(void)
{
    worlds_spread = false;
    worlds_end();
}

/* A crowd of publishers at a world, each with a number. */
static void crowd(struct world *w, struct wire *k[PUBLISHERS])
{
    char id[16];

    for (uint32_t i = 0; i < PUBLISHERS; i++) {
        snprintf(id, sizeof(id), "writer%u", i);
        k[i] = client(w, id);
    }
}

/* Each publishes its next message, whose payload says whose and which it is. */
static void push_round(struct wire *k[PUBLISHERS], uint32_t round, uint8_t qos)
{
    for (uint32_t i = 0; i < PUBLISHERS; i++) {
        char topic[16], payload[16];
        struct publish_out p = {.qos = qos, .packet_id = qos ? (uint16_t)(round + 1) : 0};

        snprintf(topic, sizeof(topic), "t/%u", i);
        snprintf(payload, sizeof(payload), "%u %u", i, round);
        p.topic = bytes_str(topic);
        p.payload = bytes_str(payload);
        wire_publish(k[i], &p);
    }
}

/* Reads all that has come and acknowledges it: those of each publisher follow each other. */
static uint32_t read_all(struct wire *reader, uint32_t next[PUBLISHERS])
{
    const struct packet *p;
    uint32_t count = 0;

    while ((p = wire_next(reader))) {
        char text[16] = {0};
        uint32_t of, round;

        assert_int_equal(p->type, PACKET_PUBLISH);
        memcpy(text, p->publish.payload.p, p->publish.payload.n);
        assert_int_equal(sscanf(text, "%u %u", &of, &round), 2);
        assert_int_equal(round, next[of]++);
        if (p->publish.qos == 1)
            wire_ack(reader, p->publish.packet_id, 0);
        count++;
    }
    return count;
}

/* Sent in the streams of the other link workers. */
static uint64_t sent_in_lanes(struct world *w, const char *name)
{
    return SPREAD_SUM(&world_peer(w, name)->spread, sent);
}

static void check_crowd(uint32_t at_alpha, uint32_t at_beta)
{
    struct wire *reader, *writers[PUBLISHERS];
    uint32_t next[PUBLISHERS] = {0}, count = 0;
    const struct spread *s;
    struct link_status status;

    two(at_alpha, at_beta);
    two_start();
    reader = client(beta, "reader");
    subscribe(reader, "t/#", 1);
    crowd(alpha, writers);
    for (uint32_t round = 0; round < 20; round++)
        push_round(writers, round, 1);
    for (uint32_t i = 0; i < 10; i++) { /* the reader takes a hundred at a time */
        worlds_settle();
        count += read_all(reader, next);
    }
    assert_int_equal(count, 20 * PUBLISHERS);
    s = &world_peer(alpha, "beta")->spread;
    assert_int_equal(s->count, at_alpha - 1);
    for (uint32_t i = 0; i < s->count; i++) /* each has some */
        assert_true(load_relaxed(&s->lane[i].board->sent) >= 20);
    assert_true(sent_in_lanes(alpha, "beta") < count);
    assert_true(hub_status(alpha->hub[world_home(alpha, "beta")], BYTES_LIT("beta"), &status));
    assert_int_equal(status.sent, count);
    assert_int_equal(status.inflight + status.waiting + status.held_bytes, 0);
    assert_true(hub_status(beta->hub[world_home(beta, "alpha")], BYTES_LIT("alpha"), &status));
    assert_int_equal(status.received, count);
    assert_int_equal(status.doubles, 0);
    two_end();
}

TEST(publishers_are_spread_over_the_streams_and_each_keeps_its_order)
{
    check_crowd(3, 2);
    check_crowd(2, 3);
    check_crowd(4, 1);
    check_crowd(4, 4);
}

/* Breaks the connections of alpha's lanes, or all that alpha has opened. */
static void cut(bool lanes_only)
{
    for (uint32_t i = 0; i < all.wire_count; i++) {
        struct wire *k = all.wire[i];

        if (k->world[0] == alpha && k->stream[0] &&
            (!lanes_only || k->dialler != WORLD_LINKS + world_home(alpha, "beta")))
            wire_drop(k);
    }
}

/* What was in flight on a connection that breaks is sent again, and only that is taken. */
TEST(cut_of_streams_loses_and_doubles_and_disorders_nothing)
{
    for (uint32_t what = 0; what < 2; what++) {
        struct wire *reader, *writers[PUBLISHERS];
        uint32_t next[PUBLISHERS] = {0}, count = 0;

        two(3, 2);
        two_start();
        reader = client(beta, "reader");
        subscribe(reader, "t/#", 1);
        crowd(alpha, writers);
        for (uint32_t round = 0; round < 60; round++) {
            push_round(writers, round, 1);
            if (round % 10 == 5)
                cut(what == 0);
            for (uint32_t i = 0; i < 5; i++) {
                (void)world_turn(alpha);
                (void)world_turn(beta);
            }
            if (round % 20 == 19)
                worlds_pass(3000);
            count += read_all(reader, next);
        }
        worlds_pass(20000);
        count += read_all(reader, next);
        assert_int_equal(count, 60 * PUBLISHERS);
        assert_int_equal(WORLD_COUNT(alpha, link_messages_dropped), 0);
        two_end();
    }
}

TEST(link_is_down_while_the_connection_of_a_lane_is_missing)
{
    struct wire *watcher;

    two(3, 2);
    two_start();
    watcher = client(alpha, "watcher");
    subscribe(watcher, "$SYS/broker/connection/beta/state", 0);
    expect_publish(watcher, "$SYS/broker/connection/beta/state", "1");
    beta->port = 0;
    cut(true);
    worlds_settle();
    assert_false(world_peer(alpha, "beta")->is_up);
    assert_true(world_tells(alpha, "beta")); /* the routes stand */
    expect_publish(watcher, "$SYS/broker/connection/beta/state", "0");
    assert_true(world_said(alpha, "4 link stream not connected|beta|"));
    assert_true(world_said(alpha, "4 link down|beta|a connection of another link worker is gone"));
    beta->port = 1002;
    worlds_pass(20000);
    assert_true(world_peer(alpha, "beta")->is_up);
    expect_publish(watcher, "$SYS/broker/connection/beta/state", "1");
    two_end();
}

/* queue_bytes is divided among the streams. */
TEST(lane_that_is_full_drops_or_blocks_as_the_link_says)
{
    for (uint32_t what = 0; what < 2; what++) {
        struct wire *reader, *writers[PUBLISHERS];
        uint32_t next[PUBLISHERS] = {0}, count, acked = 0;

        two(3, 3);
        alpha->cfg.links[0].queue_bytes = 24u << 10;
        alpha->cfg.links[0].on_full = what ? ON_FULL_BLOCK : ON_FULL_DROP_NEWEST;
        two_start();
        reader = client(beta, "reader");
        subscribe(reader, "t/#", 1);
        crowd(alpha, writers);
        beta->port = 0;
        cut(false);
        worlds_settle();
        for (uint32_t round = 0; round < 50; round++) {
            push_round(writers, round, 1);
            worlds_settle();
        }
        for (uint32_t i = 0; i < PUBLISHERS; i++)
            while (wire_next(writers[i]))
                acked++;
        assert_in_range(world_waiting(alpha, "beta"), 24, what ? 49 * PUBLISHERS : 280);
        assert_true(what ? acked < 50 * PUBLISHERS : acked == 50 * PUBLISHERS);
        assert_int_equal(WORLD_COUNT(alpha, link_blocks) > 0, what);
        beta->port = 1002;
        worlds_pass(40000);
        count = what ? read_all(reader, next) : 0;
        for (uint32_t more = 0; what && more < 10; more++) {
            worlds_settle();
            count += read_all(reader, next);
        }
        assert_int_equal(count, what ? 50 * PUBLISHERS : 0);
        assert_int_equal(WORLD_COUNT(alpha, link_messages_dropped) > 0, !what);
        two_end();
    }
}

/* How many connections of a world's lanes stand. */
static uint32_t lanes_up(struct world *w, const char *name)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < w->link_workers; i++) {
        struct lane *l = hub_lane(w->hub[i], bytes_str(name));

        count += l && lane_dialer(l)->state == DIALER_UP;
    }
    return count;
}

TEST(lanes_follow_the_link_at_run_time)
{
    struct wire *reader, *writers[PUBLISHERS];
    uint32_t next[PUBLISHERS] = {0}, wires;

    two(3, 3);
    two_start();
    reader = client(beta, "reader");
    subscribe(reader, "t/#", 1);
    crowd(alpha, writers);
    assert_int_equal(lanes_up(alpha, "beta"), 2);
    wires = all.wire_count;
    alpha->cfg.links[0].queue_bytes = 1u << 20;
    apply(alpha);
    worlds_pass(1000);
    assert_int_equal(all.wire_count, wires); /* all stand */
    alpha->cfg.links[0].keepalive = 30;
    apply(alpha);
    worlds_pass(1000);
    assert_int_equal(all.wire_count, wires + 4); /* routes, and three streams */
    assert_int_equal(lanes_up(alpha, "beta"), 2);
    alpha->cfg.links[0].enable = false;
    apply(alpha);
    push_round(writers, 0, 1);
    worlds_pass(1000);
    assert_int_equal(lanes_up(alpha, "beta"), 0);
    for (uint32_t i = 0; i < all.wire_count; i++) /* theirs are closed, too, and refused */
        assert_false(all.wire[i]->world[1] == alpha && all.wire[i]->stream[1] &&
                     all.wire[i]->world[0] && all.wire[i]->dialler != WORLD_LINKS);
    alpha->cfg.links[0].enable = true;
    apply(alpha);
    worlds_pass(40000);
    assert_int_equal(lanes_up(alpha, "beta"), 2);
    assert_int_equal(lanes_up(beta, "alpha"), 2);
    push_round(writers, 0, 1);
    worlds_settle();
    assert_int_equal(read_all(reader, next), PUBLISHERS);
    alpha->cfg.links[0].name = "";
    apply(alpha);
    worlds_pass(1000);
    for (uint32_t i = 0; i < 3; i++)
        assert_null(hub_lane(alpha->hub[i], BYTES_LIT("beta")));
    alpha->cfg.links[0].name = "beta";
    apply(alpha);
    worlds_pass(40000);
    assert_int_equal(lanes_up(alpha, "beta"), 2);
    push_round(writers, 1, 1);
    worlds_settle();
    assert_int_equal(read_all(reader, next), PUBLISHERS);
    two_end();
}

/* A link with transit sends all in stream 0. Streams do not keep step with each other, so what is
 * there of a publisher must have come through before a lane sends what is next. */
TEST(order_is_kept_when_messages_take_other_streams_than_before)
{
    struct wire *reader, *writers[PUBLISHERS];
    uint32_t next[PUBLISHERS] = {0}, count = 0;

    two(3, 2);
    two_start();
    reader = client(beta, "reader");
    subscribe(reader, "t/#", 1);
    crowd(alpha, writers);
    for (uint32_t round = 0; round < 90; round++) {
        push_round(writers, round, 1);
        if (round % 10 == 5) {
            alpha->cfg.links[0].transit = !alpha->cfg.links[0].transit;
            hand_links(alpha);
        }
        for (uint32_t i = 0; i < 3; i++)
            (void)world_turn(alpha);
        if (round % 3 == 2)
            (void)world_turn(beta);
        count += read_all(reader, next);
    }
    assert_true(sent_in_lanes(alpha, "beta") > 0);
    for (uint32_t i = 0; i < 20; i++) {
        worlds_pass(1000);
        count += read_all(reader, next);
    }
    assert_int_equal(count, 90 * PUBLISHERS);
    two_end();
}

/* A stream that does not end on that link worker, or a frame that is not of messages. */
TEST(lane_takes_nothing_but_the_messages_of_its_stream)
{
    static const struct {
        const char *name;
        struct native_frame frame;
        const char *said;
    } cases[] = {
        {"routes", {.kind = NATIVE_HELLO, .incarnation = 1}, "a frame that is not of messages"},
        {"stream",
         {.kind = NATIVE_OPEN, .boot = 1, .first = 1, .stream = 0, .streams = 3},
         "a second OPEN on one connection"},
        {"ack", {.kind = NATIVE_ACK, .boot = 1, .stream = 1}, NULL},
    };

    for (uint32_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint32_t at = WORLD_LINKS + 0;
        struct dialer *d;
        struct channel c;

        two(3, 3);
        two_start();
        if (world_home(alpha, "beta") == 0)
            at++;
        d = lane_dialer(hub_lane(alpha->hub[at - WORLD_LINKS], BYTES_LIT("beta")));
        shard_begin_turn(shard_of(alpha, at), all.now_ms, all.wall_ms);
        c = channel_of_dialer(d);
        channel_say(&c, &cases[i].frame);
        worlds_settle();
        if (cases[i].said)
            assert_true(world_said(beta, cases[i].said));
        worlds_pass(20000);
        assert_true(world_peer(alpha, "beta")->is_up);
        two_end();
    }
}

/* ---- notes ---- */

/* A link worker of alpha that has a lane for beta. */
static uint32_t lane_worker(void)
{
    return world_home(alpha, "beta") == 0 ? 1 : 0;
}

/* Says something about a board to a link worker of alpha, as the home of its link does. */
static void say(uint32_t to, struct lane_board *board, uint8_t words)
{
    uint32_t home = world_home(alpha, "beta");
    struct link_note note = {.word = words, .about = board};

    shard_begin_turn(shard_of(alpha, WORLD_LINKS + home), all.now_ms, all.wall_ms);
    assert_int_equal(shard_link_note(shard_of(alpha, WORLD_LINKS + home), to, &note), OK);
    worlds_settle();
}

TEST(note_for_a_lane_that_was_never_made_is_passed_over_but_for_the_last)
{
    static struct lane_board board;

    board = (struct lane_board){.boot = 7, .number = 9, .stream = 1};
    two(3, 2);
    two_start();
    say(lane_worker(), &board, LANE_TAKES);
    assert_false(load_relaxed(&board.is_there));
    assert_false(load_relaxed(&board.is_gone));
    say(lane_worker(), &board, LANE_ENDS);
    assert_false(load_relaxed(&board.is_there));
    assert_true(load_relaxed(&board.is_gone));
    two_end();
}

TEST(lane_is_told_nothing_behind_that_it_ends)
{
    struct peer *p;

    two(3, 3);
    two_start();
    p = world_peer(alpha, "beta");
    shard_begin_turn(shard_of(alpha, WORLD_LINKS + world_home(alpha, "beta")), all.now_ms,
                     all.wall_ms);
    peer_remove(p);
    assert_false(spread_run(&p->spread, p->link, LANE_ENDS));
    spread_mark(&p->spread);
    spread_hurry(&p->spread);
    spread_changed(&p->spread);
    for (uint32_t i = 0; i < 2; i++) {
        assert_false(spread_run(&p->spread, p->link, LANE_ENDS));
        assert_int_equal(p->spread.lane[i].mark_told, p->spread.mark - 1);
    }
    worlds_settle();
    for (uint32_t i = 0; i < 3; i++)
        assert_null(hub_lane(alpha->hub[i], BYTES_LIT("beta")));
    assert_null(world_peer(alpha, "beta"));
    two_end();
}

TEST(lane_that_could_not_be_made_is_brought_the_link_again)
{
    uint32_t wires;
    struct peer *p;

    two(2, 2);
    two_start();
    p = world_peer(alpha, "beta");
    wires = all.wire_count;
    p->link->keepalive = 30;
    worlds_settle();
    assert_int_equal(all.wire_count, wires);
    count_add(&p->spread.lane[0].board->failures, 1);
    worlds_settle();
    assert_int_equal(all.wire_count, wires + 1); /* it has seen what is new in it */
    assert_int_equal(lanes_up(alpha, "beta"), 1);
    two_end();
}

/* Link workers stop one after the other. */
TEST(lane_that_has_stopped_does_not_dial_because_its_peer_says_so)
{
    uint32_t worker, wires;

    two(3, 2);
    two_start();
    worker = lane_worker();
    shard_begin_turn(shard_of(alpha, WORLD_LINKS + worker), all.now_ms, all.wall_ms);
    hub_stop(alpha->hub[worker]);
    spread_hurry(&world_peer(alpha, "beta")->spread);
    worlds_settle();
    wires = all.wire_count;
    spread_mark(&world_peer(alpha, "beta")->spread);
    worlds_pass(20000);
    assert_int_equal(lane_dialer(hub_lane(alpha->hub[worker], BYTES_LIT("beta")))->state,
                     DIALER_OFF);
    assert_int_equal(all.wire_count, wires);
    two_end();
}

/* Else nothing would wake who has to tell it. */
TEST(mark_is_told_to_the_lanes_in_the_turn_that_makes_it)
{
    uint64_t marks = 0;

    two(3, 2);
    alpha->cfg.links[0].retained = beta->cfg.links[0].retained = RETAINED_SYNC;
    world_start(alpha);
    world_start(beta);
    for (uint32_t i = 0; i < 500; i++) {
        const struct spread *s = &world_peer(alpha, "beta")->spread;

        all.now_ms += 10;
        (void)world_turn(alpha);
        for (uint32_t n = 0; n < s->count; n++)
            assert_int_equal(s->lane[n].mark_told, s->mark);
        marks = s->mark;
        (void)world_turn(beta);
    }
    assert_int_not_equal(marks, 0);
    two_end();
}

/* ---- what a message was when it was handed on ---- */

/* Whether shared groups are to get it is decided where it is matched: what is agreed upon behind it
 * is not for it. */
TEST(message_is_for_shared_groups_or_not_as_was_agreed_when_it_was_published)
{
    struct wire *plain, *shared, *writers[PUBLISHERS];
    uint32_t next[PUBLISHERS] = {0};
    struct peer *p;

    two(3, 2);
    two_start();
    plain = client(beta, "plain");
    subscribe(plain, "t/#", 0);
    shared = client(beta, "shared");
    subscribe(shared, "$share/g/t/#", 0);
    crowd(alpha, writers);
    p = world_peer(alpha, "beta");
    for (uint32_t round = 0; round < 2; round++) {
        push_round(writers, round, 0);
        (void)turn(alpha, WORLD_CLIENTS);
        p->takes_groups = round == 0;
        (void)turn(alpha, WORLD_LINKS + world_home(alpha, "beta"));
        p->takes_groups = round != 0;
        worlds_settle();
        p->takes_groups = false;
        assert_int_equal(read_all(plain, next), PUBLISHERS);
        for (uint32_t i = 0; round && i < PUBLISHERS; i++)
            assert_int_equal(wire_expect(shared, PACKET_PUBLISH)->type, PACKET_PUBLISH);
        assert_null(wire_next(shared));
    }
    assert_true(sent_in_lanes(alpha, "beta") > 0);
    two_end();
}

/* ---- max_rate ---- */

TEST(max_rate_is_divided_among_the_streams_that_come_also_when_it_changes)
{
    two(3, 2);
    two_start();
    assert_int_equal(world_peer(beta, "alpha")->bytes.per_s, (1u << 30) / 2);
    beta->cfg.links[0].max_rate = 1000;
    apply(beta);
    assert_int_equal(world_peer(beta, "alpha")->bytes.per_s, 500);
    assert_int_equal(world_peer(alpha, "beta")->bytes.per_s, (1u << 30) / 2);
    two_end();
}
