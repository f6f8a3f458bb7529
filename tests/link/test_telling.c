/* tests/link/test_telling.c -- links are told of many subscriptions, a slice in each turn. */
#include "tests/link/runtime.h"

#define MANY (3 * PEER_TELL_MAX)

/* Subscribes to so many filters T/NUMBER. */
static void subscribe_many(struct wire *k, const char *t, uint32_t count)
{
    uint8_t b[64];
    char text[32];

    for (uint32_t i = 0; i < count; i++) {
        struct filter_request f = {.filter = {0}, .qos = 1};

        snprintf(text, sizeof(text), "%s/%u", t, i);
        f.filter = bytes_str(text);
        wire_send(k, b, subscribe_put(b, MQTT_5, 77, &f, 1, 0));
    }
    worlds_settle();
    for (uint32_t i = 0; i < count; i++)
        wire_expect(k, PACKET_SUBACK);
}

/* How many routes a peer wants. */
static uint32_t wanted_of(const struct peer *p)
{
    return p->tells_native ? wants_state(p->routes.wants).wanted
                           : interest_state(p->interest).wanted;
}

/* Lets beta's link worker work until all is told; in how many turns. */
static uint32_t slices(const struct peer *p)
{
    uint32_t count = 0;

    do {
        uint32_t before = wanted_of(p);

        turn(beta, WORLD_LINKS + world_home(beta, "alpha"));
        assert_true(wanted_of(p) <= before + PEER_TELL_MAX);
        assert_true(++count < 100);
    } while (p->is_telling);
    return count;
}

LINK_TEST(changed_topics_are_looked_at_in_slices)
{
    struct wire *k;
    struct peer *p;
    uint64_t before;

    two();
    p = world_peer(beta, "alpha");
    k = client(beta, "reader");
    subscribe_many(k, "t", MANY);
    subscribe_many(k, "u", 10);
    worlds_pass(2000);
    assert_int_equal(announced_filters(alpha, "beta"), MANY);
    before = told(beta, "alpha");
    wish(beta, 0, "t/#,u/#");
    assert_int_equal(apply_once(beta), OK);
    assert_true(slices(p) >= MANY / PEER_TELL_MAX);
    worlds_settle();
    assert_int_equal(announced_filters(alpha, "beta"), MANY + 10);
    assert_in_range(told(beta, "alpha") - before, 1, p->tells_native ? 1 : 2); /* what is new */
    wish(beta, 0, "u/#");
    assert_int_equal(apply_once(beta), OK);
    assert_true(slices(p) >= MANY / PEER_TELL_MAX);
    worlds_pass(2000);
    assert_int_equal(announced_filters(alpha, "beta"), 10);
    worlds_end();
}

LINK_TEST(subscriptions_change_while_changed_topics_are_looked_at)
{
    static const char *const gone[] = {"t/0", "t/4321", "t/5999", "u/1"};
    struct wire *k, *writer;
    struct peer *p;

    two();
    p = world_peer(beta, "alpha");
    k = client(beta, "reader");
    writer = client(alpha, "writer");
    subscribe_many(k, "t", MANY);
    subscribe_many(k, "u", 10);
    worlds_pass(2000);
    for (uint32_t after = 0; after < 12; after++) { /* at all stages of it */
        wish(beta, 0, after % 2 ? "t/#" : "t/#,u/#");
        assert_int_equal(apply_once(beta), OK);
        for (uint32_t i = 0; i < after; i++)
            turn(beta, WORLD_LINKS + world_home(beta, "alpha"));
        for (size_t i = 0; i < sizeof(gone) / sizeof(gone[0]); i++)
            unsubscribe(k, gone[i]);
        subscribe(k, "t/new", 1);
        worlds_pass(2000);
        assert_false(p->is_telling);
        assert_int_equal(announced_filters(alpha, "beta"), MANY - 2 + (after % 2 ? 0 : 9));
        publish(writer, "t/new", "x", 1);
        publish(writer, "t/0", "x", 1);
        expect_publish(k, "t/new", "x");
        unsubscribe(k, "t/new");
        for (size_t i = 0; i < sizeof(gone) / sizeof(gone[0]); i++)
            subscribe(k, gone[i], 1);
        worlds_settle();
    }
    worlds_end();
}

LINK_TEST(added_link_is_told_of_what_is_subscribed_to_in_slices)
{
    struct wire *k;

    two();
    beta->cfg.links[0].name = "";
    apply(beta);
    worlds_pass(1000);
    k = client(beta, "reader");
    subscribe_many(k, "t", MANY);
    beta->cfg.links[0].name = "alpha";
    assert_int_equal(apply_once(beta), OK);
    assert_true(slices(world_peer(beta, "alpha")) >= MANY / PEER_TELL_MAX - 1);
    unsubscribe(k, "t/1");
    worlds_pass(20000);
    assert_int_equal(announced_filters(alpha, "beta"), MANY - 1);
    worlds_end();
}

/* Whoever waits for remote clusters to know of it must wait. */
LINK_TEST(subscription_does_not_count_as_told_before_its_turn_has_come)
{
    struct filter_request f = {.filter = BYTES_LIT("t/new"), .qos = 1};
    struct wire *k;
    struct peer *p;
    uint8_t b[64];

    two();
    p = world_peer(beta, "alpha");
    k = client(beta, "reader");
    subscribe_many(k, "t", MANY);
    worlds_pass(2000);
    wish(beta, 0, "t/#,u/#");
    assert_int_equal(apply_once(beta), OK);
    turn(beta, WORLD_LINKS); /* it begins */
    wire_send(k, b, subscribe_put(b, MQTT_5, 77, &f, 1, 0));
    for (int i = 0; i < 2; i++) {
        turn(beta, WORLD_CLIENTS);
        turn(beta, WORLD_LINKS + world_home(beta, "alpha"));
    }
    assert_int_equal(hub_local_count(beta->hub[world_home(beta, "alpha")]), MANY + 1);
    assert_true(p->is_telling);
    assert_false(peer_is_told(p, (struct bytes){0}, BYTES_LIT("t/new")));
    worlds_pass(2000);
    assert_true(peer_is_told(p, (struct bytes){0}, BYTES_LIT("t/new")));
    worlds_end();
}
