/* tests/link/test_waiting.c -- packets that wait: whose, how many, in which order. */
#include "link/waiting.h"

#include "tests/link/worlds.h"

static struct link_host host;

static struct waiting make(void)
{
    struct world *w = world_make("alpha", 0);
    struct waiting x;

    w->cfg.limits.memory_bytes = 200u << 20;
    world_start(w);
    host = (struct link_host){.shard = shard_of(w, WORLD_LINKS), .key = {{1, 2, 3, 4}}};
    waiting_init(&x, &host);
    return x;
}

static void end(struct waiting *x)
{
    waiting_fini(x);
    assert_int_equal(WORLD_COUNT(all.world[0], input_bytes_held), 0);
    worlds_end();
}

static struct link_packet packet(const char *id, const char *topic, struct bytes payload)
{
    return (struct link_packet){.from = {1, 2, 3},
                                .client_id = bytes_str(id),
                                .topic = bytes_str(topic),
                                .payload = payload,
                                .response_topic = BYTES_LIT("r"),
                                .correlation = BYTES_LIT("c"),
                                .qos = 1};
}

static enum err put_in(struct waiting *x, const char *id, const char *topic, uint32_t bytes,
                       struct waiting_sum *sum)
{
    uint8_t *payload = calloc(1, bytes);
    struct link_packet p = packet(id, topic, bytes_of(payload, bytes));
    enum err err = waiting_put(x, &p, sum);

    free(payload);
    return err;
}

static enum err put(struct waiting *x, const char *id, const char *topic, uint32_t bytes)
{
    return put_in(x, id, topic, bytes, NULL);
}

static void expect_front(struct waiting *x, const char *id, const char *topic)
{
    struct waiting_client *c = waiting_of(x, bytes_str(id));

    assert_non_null(c);
    assert_true(bytes_eq(waiting_front(c)->topic, bytes_str(topic)));
    (void)waiting_pop(x, c);
}

TEST(waiting_keeps_packets_whole_and_in_order_by_client)
{
    struct waiting x = make();
    const struct link_packet *p;

    assert_int_equal(put(&x, "a", "1", 10), OK);
    assert_int_equal(put(&x, "b", "2", 10), OK);
    assert_int_equal(put(&x, "a", "3", 10), OK);
    p = waiting_front(waiting_of(&x, BYTES_LIT("a")));
    assert_true(bytes_eq(p->client_id, BYTES_LIT("a")));
    assert_true(bytes_eq(p->response_topic, BYTES_LIT("r")));
    assert_true(bytes_eq(p->correlation, BYTES_LIT("c")));
    assert_int_equal(p->payload.n, 10);
    assert_int_equal(p->from.generation, 3);
    assert_true(bytes_eq(waiting_back(waiting_of(&x, BYTES_LIT("a")))->topic, BYTES_LIT("3")));
    expect_front(&x, "a", "1");
    expect_front(&x, "a", "3");
    assert_null(waiting_of(&x, BYTES_LIT("a")));
    expect_front(&x, "b", "2");
    assert_true(x.bytes == 0);
    end(&x);
}

TEST(waiting_clients_stand_in_a_row)
{
    struct waiting x = make();

    assert_int_equal(put(&x, "a", "1", 10), OK);
    assert_int_equal(put(&x, "b", "2", 20), OK);
    assert_int_equal(put(&x, "c", "3", 10), OK);
    assert_ptr_equal(x.first, waiting_of(&x, BYTES_LIT("a")));
    waiting_to_end(&x, x.first);
    assert_ptr_equal(x.first, waiting_of(&x, BYTES_LIT("b")));
    assert_ptr_equal(x.last, waiting_of(&x, BYTES_LIT("a")));
    assert_ptr_equal(waiting_largest(&x), x.first);
    end(&x);
}

TEST(waiting_has_a_bound_for_each_client)
{
    struct waiting x = make();

    for (uint32_t i = 0; i < WAITING_PACKETS_MAX; i++)
        assert_int_equal(put(&x, "many", "t", 1), OK);
    assert_int_equal(put(&x, "many", "t", 1), ERR_FULL);
    assert_int_equal(put(&x, "large", "t", 2 * WAITING_BYTES_MAX), OK); /* alone: any size */
    assert_int_equal(put(&x, "large", "t", 1), ERR_FULL);
    assert_int_equal(put(&x, "other", "t", 1), OK);
    end(&x);
}

TEST(waiting_counts_packets_in_sums)
{
    struct waiting_sum sum = {0};
    struct waiting x = make();

    assert_int_equal(put_in(&x, "a", "1", 1000, &sum), OK);
    assert_int_equal(put(&x, "a", "2", 2000), OK);
    assert_int_equal(put_in(&x, "b", "3", 3000, &sum), OK);
    assert_int_equal(sum.count, 2);
    assert_in_range(sum.bytes, 4000, 5000);
    assert_ptr_equal(waiting_front_sum(waiting_of(&x, BYTES_LIT("a"))), &sum);
    expect_front(&x, "a", "1");
    assert_null(waiting_front_sum(waiting_of(&x, BYTES_LIT("a"))));
    expect_front(&x, "a", "2");
    assert_int_equal(sum.count, 1);
    expect_front(&x, "b", "3");
    assert_int_equal(sum.count, 0);
    assert_int_equal(sum.bytes, 0);
    for (uint32_t i = 0; i < 3 * WAITING_PACKETS_MAX; i++) /* whose keeper sees to it */
        assert_int_equal(put_in(&x, "many", "t", 1, &sum), OK);
    assert_int_equal(put_in(&x, "many", "t", WAITING_BYTES_MAX, &sum), ERR_FULL);
    assert_int_equal(put(&x, "many", "t", 1), ERR_FULL);
    assert_int_equal(sum.count, 3 * WAITING_PACKETS_MAX);
    end(&x);
}

TEST(waiting_has_a_bound_for_all_and_asks_for_memory)
{
    static uint8_t payload[1];
    struct link_packet p = packet("new", "t", bytes_of(payload, 1));
    struct waiting x = make();
    char id[16];

    assert_false(waiting_is_full(&x, &p));
    for (uint32_t i = 0; x.bytes < WAITING_ALL_BYTES_MAX; i++) {
        assert_false(waiting_is_full(&x, &p));
        snprintf(id, sizeof(id), "c%u", i);
        assert_int_equal(put(&x, id, "t", WAITING_BYTES_MAX - 1000), OK);
    }
    assert_true(waiting_is_full(&x, &p));
    assert_true(WORLD_COUNT(all.world[0], input_bytes_held) == x.bytes);
    assert_true(shard_hold_input(host.shard, 200 << 20));
    assert_int_equal(put(&x, "new", "t", 1), ERR_MEMORY);
    assert_null(waiting_of(&x, BYTES_LIT("new")));
    assert_true(shard_hold_input(host.shard, -(200 << 20)));
    end(&x);
}
