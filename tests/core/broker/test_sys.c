/* tests/core/broker/test_sys.c -- the topics under $SYS/broker/. */
#include <stdio.h>
#include <stdlib.h>

#include "core/broker/state.h"
#include "tests/support/broker.h"
#include "tests/support/test.h"

/* What a subscriber of all of it has received, by topic. */
struct seen {
    uint32_t count;
    char topic[128][64], value[128][32];
};

static void put_text(char *to, uint32_t room, struct bytes b)
{
    assert_true(b.n < room);
    memcpy(to, b.p, b.n);
    to[b.n] = 0;
}

/* Reads what has come. Returns how many messages. */
static uint32_t look(struct peer *p, struct seen *s)
{
    const struct packet *packet;
    uint32_t n = 0;

    while ((packet = peer_next(p))) {
        char topic[64];
        uint32_t i = 0;

        if (packet->type != PACKET_PUBLISH)
            continue;
        n++;
        put_text(topic, sizeof topic, packet->publish.topic);
        while (i < s->count && strcmp(s->topic[i], topic) != 0)
            i++;
        assert_in_range(i, 0, 127);
        if (i == s->count)
            memcpy(s->topic[s->count++], topic, sizeof topic);
        put_text(s->value[i], sizeof s->value[i], packet->publish.payload);
    }
    return n;
}

static const char *value_of(const struct seen *s, const char *name)
{
    char topic[64];

    snprintf(topic, sizeof topic, "$SYS/broker/%s", name);
    for (uint32_t i = 0; i < s->count; i++)
        if (strcmp(s->topic[i], topic) == 0)
            return s->value[i];
    return "(never said)";
}

static struct peer *start(struct broker *b, uint32_t workers)
{
    struct peer *p;

    broker_init(b, workers);
    b->config.limits.sys_interval = 10;
    broker_start(b);
    p = broker_client(b, broker_id_at(b, workers - 1, 0));
    peer_subscribed(p, "$SYS/broker/#", 0);
    return p;
}

BROKER_TEST(values_are_the_sums_of_all_workers)
{
    struct seen seen = {0};
    struct broker b;
    struct peer *p = start(&b, workers), *q = NULL;

    for (uint32_t i = 0; i < workers; i++) {
        q = broker_durable(&b, broker_id_at(&b, i, 10), MQTT_5);
        peer_subscribed(q, "a", 0);
        peer_subscribed(q, "$share/g/a", 0);
    }
    peer_drop(q);
    broker_pass(&b, BROKER_LATE(20000)); /* until a round that began after all this */
    broker_pass(&b, BROKER_LATE(10000));
    look(p, &seen);
    assert_string_equal(value_of(&seen, "version"), "causeway version test");
    assert_int_equal(atoi(value_of(&seen, "clients/total")), workers + 1);
    assert_int_equal(atoi(value_of(&seen, "clients/connected")), workers);
    assert_int_equal(atoi(value_of(&seen, "clients/disconnected")), 1);
    assert_int_equal(atoi(value_of(&seen, "subscriptions/count")), 2 * workers + 1);
    assert_int_equal(atoi(value_of(&seen, "shared_subscriptions/count")), workers);
    assert_in_range(atoi(value_of(&seen, "uptime")), 20, 31);
    broker_stop(&b);
}

BROKER_TEST(output_that_waits_is_said_in_bytes)
{
    struct seen seen = {0};
    struct broker b;
    struct peer *p = start(&b, workers), *q = broker_client(&b, broker_id_at(&b, 0, 10));

    peer_subscribed(q, "a", 0);
    q->reads = false;
    for (int i = 0; i < 100; i++)
        peer_publish(p, "a", i % 2 ? "some bytes" : "some more bytes", 0);
    broker_settle(&b);
    assert_true(q->stream->outq.bytes > 1000);
    broker_pass(&b, BROKER_LATE(10000));
    look(p, &seen);
    assert_int_equal(atoi(value_of(&seen, "packet/out/bytes")), q->stream->outq.bytes);
    q->reads = true;
    broker_settle(&b);
    broker_pass(&b, BROKER_LATE(10000));
    look(p, &seen);
    assert_string_equal(value_of(&seen, "packet/out/bytes"), "0");
    q->reads = false;
    peer_publish(p, "a", "lost", 0);
    broker_settle(&b);
    peer_drop(q); /* and with it what waited */
    broker_stop(&b);
}

TEST(value_that_has_not_changed_is_not_said_again)
{
    struct seen seen = {0};
    struct broker b;
    struct peer *p = start(&b, 2);

    for (int i = 0; i < 100; i++)
        broker_pass(&b, BROKER_LATE(10000));
    peer_disconnect(p, 0);
    broker_settle(&b);
    p = broker_client(&b, broker_id_at(&b, 1, 0));
    peer_subscribed(p, "$SYS/broker/version", 0);
    assert_int_equal(look(p, &seen), 1); /* it is retained */
    peer_subscribed(p, "$SYS/broker/clients/#", 0);
    look(p, &seen);
    broker_pass(&b, BROKER_LATE(10000));
    broker_pass(&b, BROKER_LATE(10000));
    look(p, &seen);
    broker_pass(&b, BROKER_LATE(10000));
    assert_int_equal(look(p, &seen), 0);
    broker_stop(&b);
}

TEST(nothing_is_said_without_an_interval)
{
    struct broker b;
    struct peer *p;

    broker_init(&b, 2);
    broker_start(&b);
    p = broker_client(&b, "c");
    peer_subscribed(p, "$SYS/#", 0);
    shard_sys_say(cluster_shard(b.cluster, 0), "links/x/state", "up");
    broker_pass(&b, 1000000);
    peer_expect_nothing(p);
    assert_int_equal(BROKER_SUM(&b, retained), 0);
    broker_stop(&b);
}

BROKER_TEST(others_may_say_something_too)
{
    struct seen seen = {0};
    struct broker b;
    struct peer *p = start(&b, workers);

    shard_sys_say(cluster_shard(b.cluster, workers - 1), "links/x/state", "up");
    b.is_woken[workers - 1] = true;
    broker_settle(&b);
    look(p, &seen);
    assert_string_equal(value_of(&seen, "links/x/state"), "up");
    broker_stop(&b);
}

TEST(loads_rise_and_fall)
{
    struct seen seen = {0};
    struct broker b;
    struct peer *p = start(&b, 1), *q = broker_client(&b, "q");
    double busy;

    for (int i = 0; i < 60; i++) { /* ten minutes of ten messages a second */
        for (int k = 0; k < 100; k++)
            peer_publish(q, "t", "x", 0);
        broker_pass(&b, BROKER_LATE(10000));
    }
    look(p, &seen);
    busy = atof(value_of(&seen, "load/publish/received/1min"));
    assert_true(busy > 560 && busy < 620);
    assert_true(atof(value_of(&seen, "load/publish/received/15min")) < busy);
    for (int i = 0; i < 60; i++)
        broker_pass(&b, BROKER_LATE(10000));
    look(p, &seen);
    assert_true(atof(value_of(&seen, "load/publish/received/1min")) < 1);
    assert_true(atof(value_of(&seen, "load/publish/received/15min")) > 50);
    broker_stop(&b);
}

static int64_t days_left;

static bool certificate_days(void *net, int64_t *days)
{
    (void)net;
    *days = days_left;
    return true;
}

TEST(certificate_that_ends_is_counted_down_and_beyond)
{
    struct shard_hooks hooks = {.certificate_days = certificate_days};
    struct seen seen = {0};
    struct broker b;
    struct peer *p = start(&b, 1);

    shard_set_hooks(cluster_shard(b.cluster, 0), &hooks);
    days_left = 3;
    broker_pass(&b, BROKER_LATE(10000));
    look(p, &seen);
    assert_string_equal(value_of(&seen, "certificate/days_left"), "3");
    days_left = -1;
    broker_pass(&b, BROKER_LATE(10000));
    look(p, &seen);
    assert_string_equal(value_of(&seen, "certificate/days_left"), "-1");
    broker_stop(&b);
}

TEST(certificate_is_not_spoken_of_where_there_is_none)
{
    struct seen seen = {0};
    struct broker b;
    struct peer *p = start(&b, 1);

    broker_pass(&b, BROKER_LATE(10000));
    look(p, &seen);
    assert_string_equal(value_of(&seen, "certificate/days_left"), "(never said)");
    broker_stop(&b);
}
