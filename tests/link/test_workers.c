/* tests/link/test_workers.c -- clusters with several link workers. */
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

/* Links that are added or gone since the start, as the net hands them to each link worker. */
static void apply(struct world *w)
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
        for (uint32_t i = 0; i < world_workers(hub); i++)
            (void)turn(hub, i);
    assert_null(wire_next(k));
    worlds_settle();
    assert_int_equal(wire_expect(k, PACKET_SUBACK)->suback.reasons.p[0], 1);
    assert_int_equal(WORLD_COUNT(hub, link_subacks_late), 0);
    for (uint32_t i = 0; i < 3; i++)
        assert_true(peer_is_told(world_peer(hub, names[i]), (struct bytes){0}, BYTES_LIT("t")));
    worlds_end();
}
