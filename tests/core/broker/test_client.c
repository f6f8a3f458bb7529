/* tests/core/broker/test_client.c -- the protocol of one connection. */
#include <stdio.h>
#include <stdlib.h>

#include "core/broker/state.h"
#include "tests/support/broker.h"
#include "tests/support/test.h"

TEST(every_packet_id_may_wait_for_its_pubrel)
{
    struct connect_out o = {
        .protocol = MQTT_311, .clean_start = true, .client_id = BYTES_LIT("all")};
    struct publish_out m = {.qos = 2, .topic = BYTES_LIT("t")};
    struct broker b;
    struct peer *p;

    broker_init(&b, 1);
    broker_start(&b);
    p = broker_dial(&b, 0, &o);
    for (uint32_t id = 1; id <= 65535; id++) {
        m.packet_id = (uint16_t)id;
        peer_publish_out(p, &m);
    }
    m.qos = 1;
    m.packet_id = 1;
    peer_publish_out(p, &m);
    peer_ack(p, PACKET_PUBREL, 1);
    broker_settle(&b);
    assert_non_null(p->stream);
    broker_stop(&b);
}
