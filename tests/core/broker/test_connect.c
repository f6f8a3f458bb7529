/* tests/core/broker/test_connect.c -- CONNECT, sessions, wills, and how a connection ends. */
#include <stdio.h>
#include <stdlib.h>

#include "core/broker/state.h"
#include "tests/support/broker.h"
#include "tests/support/test.h"

TEST(will_does_not_come_back_to_a_subscription_with_no_local)
{
    struct connect_out o = {.protocol = MQTT_5,
                            .client_id = BYTES_LIT("w"),
                            .has_session_expiry = true,
                            .session_expiry = 100,
                            .has_will = true,
                            .will_qos = 1,
                            .will_topic = BYTES_LIT("t"),
                            .will_payload = BYTES_LIT("gone")};
    struct filter_request f = {.filter = BYTES_LIT("t"), .qos = 1, .no_local = true};
    struct broker b;
    struct peer *p;

    broker_init(&b, 1);
    broker_start(&b);
    p = broker_dial(&b, 0, &o);
    peer_subscribe_to(p, &f, 1, 0);
    broker_settle(&b);
    peer_drop(p);
    broker_settle(&b);
    o.has_will = false;
    p = broker_dial(&b, 0, &o);
    broker_settle(&b);
    assert_true(peer_expect(p, PACKET_CONNACK)->connack.session_present);
    peer_expect_nothing(p); /* [MQTT-3.8.3-3] */
    broker_stop(&b);
}

TEST(subscription_under_way_is_freed_with_the_broker)
{
    struct broker b;
    struct peer *p;

    broker_init(&b, 2);
    broker_start(&b);
    p = broker_client(&b, broker_id_at(&b, 0, 0));
    peer_subscribe(p, broker_topic_at(&b, 1, 0), 0);
    broker_turn(&b, 0);
    peer_drop(p);
    cluster_destroy(b.cluster); /* the leak sanitizer looks */
    while (b.peers) {
        p = b.peers;
        b.peers = p->next;
        free(p->in);
        free(p->out);
        free(p);
    }
}
