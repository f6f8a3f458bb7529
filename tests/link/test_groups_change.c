/* tests/link/test_groups_change.c -- shared groups of links that are changed at run time. */
#include "tests/link/runtime.h"

/* How many PUBLISHes have come; they are acknowledged. */
static uint32_t came(struct wire *k)
{
    const struct packet *p;
    uint32_t n = 0;

    while ((p = wire_next(k))) {
        n += p->type == PACKET_PUBLISH;
        if (p->type == PACKET_PUBLISH && p->publish.qos == 1)
            wire_ack(k, p->publish.packet_id, 0);
    }
    worlds_settle();
    return n;
}

/* Two clusters whose shared groups have become global. */
static void two_global(void)
{
    two();
    alpha->cfg.links[0].shared_groups = beta->cfg.links[0].shared_groups = SHARED_GROUPS_GLOBAL;
    apply(alpha);
    apply(beta);
    worlds_pass(20000);
}

/* And back; a message in between is lost in no state. */
LINK_TEST_NATIVE(shared_groups_can_become_global_and_local_again)
{
    struct wire *a, *b, *from;
    uint32_t copies[] = {2, 2, 1, 2, 2}; /* neither, alpha, both, beta, neither */

    two();
    a = client(alpha, "a");
    b = client(beta, "b");
    from = client(beta, "from");
    subscribe(a, "$share/g/t/1", 1);
    subscribe(b, "$share/g/t/1", 1);
    for (uint32_t i = 0; i < 5; i++) {
        alpha->cfg.links[0].shared_groups = i == 1 || i == 2;
        beta->cfg.links[0].shared_groups = i == 2 || i == 3;
        apply(alpha);
        apply(beta);
        publish(from, "t/1", "m", 1); /* while the link is made anew */
        worlds_pass(40000);
        assert_int_equal(came(a) + came(b) >= 1, 1);
        publish(from, "t/1", "m", 1);
        assert_int_equal(came(a) + came(b), copies[i]);
        unsubscribe(b, "$share/g/t/1");
        publish(from, "t/1", "m", 1);
        assert_int_equal(came(a), 1);
        subscribe(b, "$share/g/t/1", 1);
    }
    worlds_end();
}

/* Their routes from before stand until the names are there: so long all is published for all. Some
 * may come twice. */
TEST(no_message_is_lost_while_shared_groups_become_global)
{
    const struct packet *got;
    bool has_come[100] = {false};
    struct wire *a, *from;
    uint8_t count = 0;

    two();
    a = client(alpha, "a");
    from = client(beta, "from");
    subscribe(a, "$share/g/t/1", 1);
    alpha->cfg.links[0].shared_groups = beta->cfg.links[0].shared_groups = SHARED_GROUPS_GLOBAL;
    assert_int_equal(apply_once(alpha), OK);
    assert_int_equal(apply_once(beta), OK);
    while (!world_peer(beta, "alpha")->takes_groups) {
        struct publish_out p = {.qos = 1, .topic = BYTES_LIT("t/1"), .payload = {&count, 1}};

        assert_true(++count < sizeof(has_come));
        p.packet_id = count;
        wire_publish(from, &p);
        all.now_ms += 10;
        all.wall_ms += 10;
        for (uint32_t i = 0; i < 4; i++)
            (void)turn(i < 2 ? alpha : beta, i & 1);
    }
    worlds_settle();
    while ((got = wire_next(a)))
        has_come[got->publish.payload.p[0]] = true;
    assert_true(count > 1);
    for (uint32_t i = 1; i <= count; i++)
        assert_true(has_come[i]);
    worlds_end();
}

/* The link that a group has chosen is removed: the message goes to another member, or waits. */
TEST(groups_find_other_members_when_a_link_is_removed)
{
    struct wire *a, *b, *from;

    two_global();
    a = client(alpha, "a");
    from = client(beta, "from");
    subscribe(a, "$share/g/t/1", 1);
    publish(from, "t/1", "m", 1);
    assert_int_equal(came(a), 1);
    beta->cfg.links[0].name = "";
    apply(beta);
    publish(from, "t/1", "m", 1);
    b = client(beta, "b");
    subscribe(b, "$share/g/t/1", 1);
    publish(from, "t/1", "n", 1);
    assert_int_equal(came(b), 1);
    worlds_pass(1000);
    assert_null(world_peer(beta, "alpha"));
    worlds_end();
}

/* Who introduces whom changes; what was agreed upon about groups does not. */
TEST(groups_stay_global_when_a_link_loses_its_server_and_gets_one)
{
    struct wire *a, *b, *from;

    two_global();
    a = client(alpha, "a");
    b = client(beta, "b");
    from = client(beta, "from");
    subscribe(a, "$share/g/t/1", 1);
    subscribe(b, "$share/g/t/1", 1);
    for (uint32_t i = 0; i < 4; i++) {
        struct world *w = i < 2 ? alpha : beta;

        w->cfg.links[0].server_count = i % 2;
        apply(w);
        publish(from, "t/1", "m", 1);
        worlds_pass(20000);
        assert_int_equal(came(a), 0);
        assert_int_equal(came(b), 1);
        assert_true(world_peer(alpha, "beta")->gives_groups);
        assert_true(world_peer(beta, "alpha")->gives_groups);
    }
    worlds_end();
}

/* More than are told in one turn. */
TEST(groups_take_their_names_in_slices)
{
    uint32_t count = PEER_TELL_MAX * 2 + 10;
    struct wire *a, *from;
    char filter[64];

    two();
    a = client(alpha, "a");
    from = client(beta, "from");
    for (uint32_t i = 0; i < count; i++) {
        snprintf(filter, sizeof(filter), "$share/g/t/%u", i);
        subscribe(a, filter, 1);
    }
    assert_int_equal(announced_filters(beta, "alpha"), count);
    alpha->cfg.links[0].shared_groups = beta->cfg.links[0].shared_groups = SHARED_GROUPS_GLOBAL;
    apply(alpha);
    apply(beta);
    worlds_pass(40000);
    assert_int_equal(announced_filters(beta, "alpha"), count);
    publish(from, "t/0", "m", 1);
    snprintf(filter, sizeof(filter), "t/%u", count - 1);
    publish(from, filter, "m", 1);
    assert_int_equal(came(a), 2);
    unsubscribe(a, "$share/g/t/0");
    worlds_pass(1000);
    assert_int_equal(announced_filters(beta, "alpha"), count - 1);
    worlds_end();
}
