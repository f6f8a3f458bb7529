/* tests/core/broker/test_route.c -- a publish to all its destinations or to none. */
#include <stdio.h>
#include <stdlib.h>

#include "core/broker/state.h"
#include "tests/support/broker.h"
#include "tests/support/test.h"

static bool take(void *link, const struct publish *p, uint64_t links)
{
    (void)p;
    (void)links;
    ++*(uint32_t *)link;
    return true;
}

TEST(publisher_with_a_long_client_id_reaches_a_link)
{
    struct shard_hooks hooks = {.forward = take};
    struct connect_out o = {.protocol = MQTT_5, .clean_start = true};
    struct broker b;
    struct peer *p;
    uint32_t taken = 0, n;
    uint8_t *bytes, *id = malloc(60000);

    assert_non_null(id);
    memset(id, 'i', 60000);
    broker_init(&b, 1);
    b.config.link_workers = 1;
    b.config.ring_bytes[MAIL_PUBLISH] = 8192; /* as with many workers */
    broker_start(&b);
    hooks.link = &taken;
    shard_set_hooks(cluster_shard(b.cluster, 1), &hooks);
    assert_int_equal(shard_link_route(cluster_shard(b.cluster, 1), 0, BYTES_LIT("t"), true), OK);
    b.is_woken[1] = true;
    broker_settle(&b);
    p = broker_open(&b, 0, "");
    o.client_id = bytes_of(id, 60000);
    n = connect_size(&o);
    bytes = malloc(n);
    assert_non_null(bytes);
    connect_put(bytes, &o);
    peer_write(p, bytes_of(bytes, n));
    peer_publish(p, "t", "x", 1);
    free(bytes);
    free(id);
    broker_settle(&b);
    assert_int_equal(taken, 1);
    broker_stop(&b);
}
