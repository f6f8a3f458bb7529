/* tests/core/mqtt/test_packet_encode.c -- encoding, and that what is written can be read again. */
#include "tests/support/test.h"

#include "tests/core/mqtt/packets.h"

static const enum protocol versions[] = {MQTT_31, MQTT_311, MQTT_5};

/* What was written and what became of it; views point into `bytes`. */
struct written {
    uint8_t *bytes;
    struct packet packet;
};

/* Room for a packet of `size` bytes and not one more. */
static uint8_t *room(struct written *w, uint32_t size)
{
    w->bytes = malloc(size);
    assert_non_null(w->bytes);
    return w->bytes;
}

/* Decodes what was written up to `end`, which must be all of `size` bytes. */
static void read_again(struct written *w, const uint8_t *end, uint32_t size, enum protocol protocol)
{
    struct frame f;
    enum reason why;
    uint32_t need;

    assert_ptr_equal(end, w->bytes + size);
    assert_int_equal(frame_next(bytes_of(w->bytes, size), size, &f, &need), OK);
    assert_int_equal(need, size);
    if (packet_decode(&f, protocol, &w->packet, &why) != OK)
        fail_msg("reason %02x", (unsigned)why);
}

static void assert_wire(const uint8_t *p, uint32_t n, const char *text)
{
    struct bytes b = wire(text);

    assert_int_equal(n, b.n);
    assert_memory_equal(p, b.p, b.n);
    wire_free(b);
}

static void assert_text(struct bytes b, const char *text)
{
    assert_true(bytes_eq(b, bytes_str(text)));
}

TEST(connect_is_read_again)
{
    for (size_t i = 0; i < COUNT(versions); i++) {
        struct connect_out c = {
            .protocol = versions[i],
            .clean_start = true,
            .keep_alive = 60,
            .client_id = BYTES_LIT("client"),
            .username = BYTES_LIT("user"),
            .password = BYTES_LIT("secret"),
            .has_session_expiry = true,
            .session_expiry = 3600,
            .receive_maximum = 20,
            .maximum_packet_size = 65536,
            .topic_alias_maximum = 10,
            .has_will = true,
            .will_retain = true,
            .will_qos = 2,
            .will_delay = 5,
            .will_topic = BYTES_LIT("will/topic"),
            .will_payload = BYTES_LIT("gone"),
            .user_property_name = BYTES_LIT("name"),
            .user_property_value = BYTES_LIT("value"),
        };
        struct written w;
        struct packet_connect *p = &w.packet.connect;
        uint32_t size = connect_size(&c);

        read_again(&w, connect_put(room(&w, size), &c), size, MQTT_311);
        assert_int_equal(p->protocol, versions[i]);
        assert_true(p->clean_start && p->has_will && p->has_username && p->has_password);
        assert_true(p->will_retain);
        assert_int_equal(p->will_qos, 2);
        assert_int_equal(p->keep_alive, 60);
        assert_text(p->client_id, "client");
        assert_text(p->username, "user");
        assert_text(p->password, "secret");
        assert_text(p->will_topic, "will/topic");
        assert_text(p->will_payload, "gone");
        assert_false(p->is_bridge);
        if (versions[i] == MQTT_5) {
            struct bytes rest = p->props.all, name, value;

            assert_int_equal(p->props.session_expiry, 3600);
            assert_int_equal(p->props.receive_maximum, 20);
            assert_int_equal(p->props.maximum_packet_size, 65536);
            assert_int_equal(p->props.topic_alias_maximum, 10);
            assert_int_equal(p->will_props.present, PROP_BIT(PROP_WILL_DELAY));
            assert_int_equal(p->will_props.will_delay, 5);
            assert_true(props_next_user(&rest, &name, &value));
            assert_text(name, "name");
            assert_text(value, "value");
            assert_false(props_next_user(&rest, &name, &value));
        } else {
            assert_int_equal(p->props.present, 0);
            assert_int_equal(p->will_props.present, 0);
        }
        free(w.bytes);
    }
}

TEST(small_connect_is_byte_exact)
{
    struct connect_out c = {
        .protocol = MQTT_311, .clean_start = true, .keep_alive = 10, .client_id = BYTES_LIT("id")};
    uint8_t out[64];

    connect_put(out, &c);
    assert_wire(out, connect_size(&c), "10 0e 0004 'MQTT' 04 02 000a 0002 'id'");
    c.protocol = MQTT_31;
    connect_put(out, &c);
    assert_wire(out, connect_size(&c), "10 10 0006 'MQIsdp' 03 02 000a 0002 'id'");
    c.protocol = MQTT_5;
    c.has_session_expiry = true;
    c.session_expiry = 10;
    c.password = BYTES_LIT("");
    c.client_id = (struct bytes){0};
    connect_put(out, &c);
    /* Variable header of MQTT 5, figure 3-6, with other flags. */
    assert_wire(out, connect_size(&c), "10 14 0004 'MQTT' 05 42 000a 05 11 0000000a 0000 0000");
}

TEST(connect_of_the_specification_is_read)
{
    /* MQTT 5, figure 3-6: user name, password, will retain 0, will qos 1, will, clean start. */
    struct bytes body = wire("0004 'MQTT' 05 ce 000a 05 11 0000000a 0001 'c' 00 0001 't' 0001 'p'"
                             " 0001 'u' 0001 'w'");
    struct packet p;
    enum reason why;

    assert_int_equal(decode_body_of(0x10, body, MQTT_311, &p, &why), OK);
    assert_int_equal(p.connect.will_qos, 1);
    assert_false(p.connect.will_retain);
    assert_int_equal(p.connect.keep_alive, 10);
    assert_int_equal(p.connect.props.session_expiry, 10);
    assert_text(p.connect.password, "w");
    wire_free(body);
}

TEST(bridge_bit_is_told)
{
    struct bytes body = wire("0004 'MQTT' 84 02 003c 0001 'a'");
    struct packet p;
    enum reason why;

    assert_int_equal(decode_body_of(0x10, body, MQTT_311, &p, &why), OK);
    assert_int_equal(p.connect.protocol, MQTT_311);
    assert_true(p.connect.is_bridge);
    wire_free(body);
}

TEST(missing_credentials_of_mqtt_31_are_absent)
{
    struct bytes body = wire("0006 'MQIsdp' 03 c2 003c 0001 'a' 0001 'u'");
    struct packet p;
    enum reason why;

    assert_int_equal(decode_body_of(0x10, body, MQTT_311, &p, &why), OK);
    assert_true(p.connect.has_username);
    assert_false(p.connect.has_password);
    wire_free(body);
}

TEST(connack_is_read_again)
{
    for (size_t i = 0; i < COUNT(versions); i++) {
        struct connack_out c = {
            .session_present = true,
            .receive_maximum = 100,
            .topic_alias_maximum = 10,
            .server_keep_alive = 30,
            .has_server_keep_alive = true,
            .has_session_expiry = true,
            .session_expiry = 7,
            .maximum_qos = 1,
            .maximum_packet_size = 1000,
            .assigned_client_id = BYTES_LIT("auto-1"),
            .reason_string = BYTES_LIT("because"),
            .response_info = BYTES_LIT("info"),
            .auth_method = BYTES_LIT("m"),
            .auth_data = BYTES_LIT("d"),
        };
        struct written w;
        struct props *p = &w.packet.connack.props;
        uint32_t size = connack_size(versions[i], &c);

        read_again(&w, connack_put(room(&w, size), versions[i], &c), size, versions[i]);
        assert_int_equal(w.packet.connack.session_present, versions[i] != MQTT_31);
        assert_int_equal(w.packet.connack.reason, 0);
        if (versions[i] == MQTT_5) {
            assert_int_equal(p->receive_maximum, 100);
            assert_int_equal(p->topic_alias_maximum, 10);
            assert_int_equal(p->server_keep_alive, 30);
            assert_int_equal(p->session_expiry, 7);
            assert_int_equal(p->maximum_qos, 1);
            assert_int_equal(p->retain_available, 0);
            assert_true(p->present & PROP_BIT(PROP_RETAIN_AVAILABLE));
            assert_int_equal(p->maximum_packet_size, 1000);
            assert_text(p->assigned_client_id, "auto-1");
            assert_text(p->reason_string, "because");
            assert_text(p->response_info, "info");
            assert_text(p->auth_method, "m");
            assert_text(p->auth_data, "d");
        } else {
            assert_int_equal(size, 4);
        }
        free(w.bytes);
    }
}

TEST(connack_leaves_out_what_is_default)
{
    struct connack_out c = {
        .session_present = true, .reason = 5, .retain_available = true, .maximum_qos = 2};
    uint8_t out[16];

    connack_put(out, MQTT_311, &c);
    assert_wire(out, connack_size(MQTT_311, &c), "20 02 00 05"); /* [MQTT-3.2.2-4] */
    c.reason = 0;
    connack_put(out, MQTT_311, &c);
    assert_wire(out, 4, "20 02 01 00");
    c.reason = 0x87;
    connack_put(out, MQTT_5, &c);
    assert_wire(out, connack_size(MQTT_5, &c), "20 03 00 87 00"); /* [MQTT-3.2.2-6] */
}

TEST(publish_is_read_again)
{
    static const uint32_t ids[] = {1, 200, 268435455};
    static const uint8_t forwarded[] = {0x01, 1, 0x08, 0, 1, 'r', 0x26, 0, 1, 'k', 0, 0};

    for (size_t i = 0; i < COUNT(versions); i++) {
        for (uint8_t qos = 0; qos <= 2; qos++) {
            struct publish_out o = {
                .qos = qos,
                .dup = qos > 0,
                .retain = true,
                .packet_id = 4711,
                .topic = BYTES_LIT("a/b"),
                .props = bytes_of(forwarded, sizeof(forwarded)),
                .payload = BYTES_LIT("payload"),
                .topic_alias = 3,
                .has_expiry = true,
                .message_expiry = 60,
                .subscription_ids = ids,
                .subscription_id_count = 3,
            };
            struct written w;
            struct packet_publish *p = &w.packet.publish;
            uint32_t header, size = publish_size(versions[i], &o, &header);
            uint8_t *end = publish_put_header(room(&w, size), versions[i], &o);

            assert_ptr_equal(end, w.bytes + header);
            read_again(&w, bytes_put(end, o.payload), size, versions[i]);
            assert_int_equal(p->qos, qos);
            assert_int_equal(p->dup, qos > 0);
            assert_true(p->retain);
            assert_int_equal(p->packet_id, qos ? 4711 : 0);
            assert_text(p->topic, "a/b");
            assert_text(p->payload, "payload");
            if (versions[i] == MQTT_5) {
                struct bytes rest = p->props.all;
                uint32_t id;

                assert_int_equal(p->props.topic_alias, 3);
                assert_int_equal(p->props.message_expiry, 60);
                assert_int_equal(p->props.subscription_id, 1);
                assert_int_equal(p->props.payload_format, 1);
                assert_text(p->props.response_topic, "r");
                for (size_t k = 0; k < COUNT(ids); k++) {
                    assert_true(props_next_subscription_id(&rest, &id));
                    assert_int_equal(id, ids[k]);
                }
                assert_false(props_next_subscription_id(&rest, &id));
            }
            free(w.bytes);
        }
    }
}

TEST(publish_of_the_specification_is_written)
{
    /* MQTT 5, figure 3-9: topic a/b, packet id 10, no properties. */
    struct publish_out o = {.qos = 1, .packet_id = 10, .topic = BYTES_LIT("a/b")};
    uint8_t out[32];
    uint32_t header;

    assert_int_equal(publish_size(MQTT_5, &o, &header), 10);
    publish_put_header(out, MQTT_5, &o);
    assert_wire(out, header, "32 08 0003 'a/b' 000a 00");
    assert_int_equal(publish_size(MQTT_311, &o, &header), 9);
    publish_put_header(out, MQTT_311, &o);
    assert_wire(out, header, "32 07 0003 'a/b' 000a");
}

TEST(publish_that_is_too_large_is_said)
{
    static const uint8_t nothing[1];
    struct publish_out o = {.topic = BYTES_LIT("a"), .payload = {nothing, 268435455u - 3}};
    uint32_t header;

    assert_int_equal(publish_size(MQTT_311, &o, &header), 268435460u);
    assert_int_equal(header, 8);
    o.payload.n++;
    assert_int_equal(publish_size(MQTT_311, &o, &header), 0);
    o.payload.n = UINT32_MAX;
    assert_int_equal(publish_size(MQTT_5, &o, &header), 0);
    o.props = (struct bytes){nothing, UINT32_MAX};
    assert_int_equal(publish_size(MQTT_5, &o, &header), 0);
}

TEST(acknowledgements_are_byte_exact)
{
    static const struct {
        enum protocol protocol;
        enum packet_type type;
        uint8_t reason;
        const char *text, *bytes;
    } cases[] = {
        {V31, PACKET_PUBACK, 0, "", "40 02 1234"},
        {V311, PACKET_PUBREC, 0x87, "no", "50 02 1234"},
        {V311, PACKET_PUBREL, 0, "", "62 02 1234"},
        {V311, PACKET_PUBCOMP, 0, "", "70 02 1234"},
        {V5, PACKET_PUBACK, 0, "", "40 02 1234"},
        {V5, PACKET_PUBACK, 0x10, "", "40 03 1234 10"},
        {V5, PACKET_PUBREC, 0x97, "no", "50 09 1234 97 05 1f 0002 'no'"},
        {V5, PACKET_PUBREL, 0x92, "", "62 03 1234 92"},
        {V5, PACKET_PUBCOMP, 0, "ok", "70 09 1234 00 05 1f 0002 'ok'"},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct bytes text = bytes_str(cases[i].text);
        uint32_t size = ack_size(cases[i].protocol, cases[i].reason, text);
        struct written w;

        read_again(&w,
                   ack_put(room(&w, size), cases[i].protocol, cases[i].type, 0x1234,
                           cases[i].reason, text),
                   size, cases[i].protocol);
        assert_wire(w.bytes, size, cases[i].bytes);
        assert_int_equal(w.packet.type, cases[i].type);
        assert_int_equal(w.packet.ack.packet_id, 0x1234);
        assert_int_equal(w.packet.ack.reason, cases[i].protocol == V5 ? cases[i].reason : 0);
        if (text.n == 0)
            assert_true(size <= ACK_BYTES_MAX);
        free(w.bytes);
    }
}

TEST(suback_and_unsuback_are_byte_exact)
{
    static const uint8_t granted[] = {0, 2, 0x87}, gone[] = {0, 0x11};
    uint8_t out[16];

    suback_put(out, MQTT_5, PACKET_SUBACK, 10, granted, 3);
    assert_wire(out, suback_size(MQTT_5, PACKET_SUBACK, 3), "90 06 000a 00 00 02 87");
    suback_put(out, MQTT_311, PACKET_SUBACK, 10, granted, 3);
    assert_wire(out, suback_size(MQTT_311, PACKET_SUBACK, 3), "90 05 000a 00 02 80");
    suback_put(out, MQTT_5, PACKET_UNSUBACK, 10, gone, 2);
    assert_wire(out, suback_size(MQTT_5, PACKET_UNSUBACK, 2), "b0 05 000a 00 00 11");
    suback_put(out, MQTT_311, PACKET_UNSUBACK, 10, gone, 2);
    assert_wire(out, suback_size(MQTT_311, PACKET_UNSUBACK, 2), "b0 02 000a");
}

TEST(disconnect_auth_and_ping_are_byte_exact)
{
    uint8_t out[32];

    disconnect_put(out, 0, (struct bytes){0});
    assert_wire(out, disconnect_size(0, (struct bytes){0}), "e0 00");
    disconnect_put(out, 0x8E, (struct bytes){0});
    assert_wire(out, disconnect_size(0x8E, (struct bytes){0}), "e0 01 8e");
    disconnect_put(out, 0x8E, BYTES_LIT("why"));
    assert_wire(out, disconnect_size(0x8E, BYTES_LIT("why")), "e0 08 8e 06 1f 0003 'why'");
    auth_put(out, 0x18, BYTES_LIT("m"), (struct bytes){0});
    assert_wire(out, auth_size(BYTES_LIT("m"), (struct bytes){0}), "f0 06 18 04 15 0001 'm'");
    auth_put(out, 0x18, BYTES_LIT("m"), BYTES_LIT("xy"));
    assert_wire(out, auth_size(BYTES_LIT("m"), BYTES_LIT("xy")),
                "f0 0b 18 09 15 0001 'm' 16 0002 'xy'");
    assert_ptr_equal(pingreq_put(out), out + 2);
    assert_wire(out, 2, "c0 00");
    assert_ptr_equal(pingresp_put(out), out + 2);
    assert_wire(out, 2, "d0 00");
}

TEST(subscribe_of_the_specification_is_written)
{
    /* MQTT 5, figures 3-19 to 3-22, with the subscription options spelled out. */
    const struct filter_request f[] = {
        {.filter = BYTES_LIT("a/b"),
         .qos = 1,
         .no_local = true,
         .retain_as_published = true,
         .retain_handling = 2},
        {.filter = BYTES_LIT("c/d"), .qos = 2},
    };
    struct filter_request got;
    struct written w;
    struct bytes rest;

    for (size_t i = 0; i < COUNT(versions); i++) {
        enum protocol v = versions[i];
        uint32_t size = subscribe_size(v, f, 2, 321);

        read_again(&w, subscribe_put(room(&w, size), v, 10, f, 2, 321), size, v);
        assert_wire(w.bytes, size,
                    v == MQTT_5 ? "82 12 000a 03 0b c102 0003 'a/b' 2d 0003 'c/d' 02"
                                : "82 0e 000a 0003 'a/b' 01 0003 'c/d' 02");
        assert_int_equal(w.packet.subscribe.packet_id, 10);
        assert_int_equal(w.packet.subscribe.filter_count, 2);
        if (v == MQTT_5)
            assert_int_equal(w.packet.subscribe.props.subscription_id, 321);
        rest = w.packet.subscribe.list;
        assert_true(packet_next_filter(PACKET_SUBSCRIBE, v, &rest, &got));
        assert_text(got.filter, "a/b");
        assert_int_equal(got.qos, 1);
        assert_int_equal(got.no_local, v == MQTT_5);
        assert_int_equal(got.retain_as_published, v == MQTT_5);
        assert_int_equal(got.retain_handling, v == MQTT_5 ? 2 : 0);
        assert_true(packet_next_filter(PACKET_SUBSCRIBE, v, &rest, &got));
        assert_text(got.filter, "c/d");
        assert_int_equal(got.qos, 2);
        assert_false(packet_next_filter(PACKET_SUBSCRIBE, v, &rest, &got));
        free(w.bytes);
    }
}

TEST(unsubscribe_is_read_again)
{
    const struct bytes f[] = {BYTES_LIT("a/b"), BYTES_LIT("c/d")};
    struct filter_request got;
    struct written w;
    struct bytes rest;

    for (size_t i = 0; i < COUNT(versions); i++) {
        enum protocol v = versions[i];
        uint32_t size = unsubscribe_size(v, f, 2);

        read_again(&w, unsubscribe_put(room(&w, size), v, 10, f, 2), size, v);
        assert_wire(w.bytes, size,
                    v == MQTT_5 ? "a2 0d 000a 00 0003 'a/b' 0003 'c/d'"
                                : "a2 0c 000a 0003 'a/b' 0003 'c/d'");
        rest = w.packet.subscribe.list;
        assert_true(packet_next_filter(PACKET_UNSUBSCRIBE, v, &rest, &got));
        assert_text(got.filter, "a/b");
        assert_true(packet_next_filter(PACKET_UNSUBSCRIBE, v, &rest, &got));
        assert_text(got.filter, "c/d");
        assert_false(packet_next_filter(PACKET_UNSUBSCRIBE, v, &rest, &got));
        free(w.bytes);
    }
}

TEST(unused_bits_of_mqtt_31_are_masked)
{
    struct bytes body = wire("0001 0001 'a' fd"), rest;
    struct filter_request got;
    struct packet p;
    enum reason why;

    assert_int_equal(decode_body_of(0x82, body, MQTT_31, &p, &why), OK);
    rest = p.subscribe.list;
    assert_true(packet_next_filter(PACKET_SUBSCRIBE, MQTT_31, &rest, &got));
    assert_int_equal(got.qos, 1);
    assert_false(got.no_local);
    wire_free(body);
}

static void forward(const char *in, const char *out, bool as_is)
{
    struct bytes body = wire(in), view, expected = wire(out);
    uint8_t *to = exact_copy(body.p, body.n);
    struct packet p;
    enum reason why;

    assert_int_equal(decode_body_of(0x30, body, MQTT_5, &p, &why), OK);
    memset(to, 0, body.n);
    assert_int_equal(props_forward(&p.publish.props, to), expected.n);
    assert_memory_equal(to, expected.p, expected.n);
    assert_int_equal(props_forward_view(&p.publish.props, &view), as_is);
    if (as_is)
        assert_true(bytes_eq(view, expected));
    assert_true(props_travel(expected));
    assert_int_equal(props_travel(p.publish.props.all), as_is);
    free(to);
    wire_free(body);
    wire_free(expected);
}

static bool travels(const char *block)
{
    struct bytes b = wire(block);
    uint8_t *exact = exact_copy(b.p, b.n);
    bool answer = props_travel(bytes_of(exact, b.n));

    free(exact);
    wire_free(b);
    return answer;
}

TEST(a_block_from_elsewhere_travels_only_if_it_is_right)
{
    assert_true(travels(""));
    assert_true(travels("01 00 26 0001 'a' 0000 26 0001 'a' 0000"));
    assert_false(travels("01"));          /* cut short */
    assert_false(travels("03 0002 'a'")); /* cut short */
    assert_false(travels("01 02"));       /* out of range */
    assert_false(travels("01 00 01 00")); /* twice */
    assert_false(travels("03 0001 ff"));  /* not UTF-8 */
    assert_false(travels("08 0001 '#'")); /* not a topic name */
    assert_false(travels("02 00000001")); /* of one hop only */
    assert_false(travels("23 0001"));     /* of one hop only */
    assert_false(travels("21 0001"));     /* of another packet */
    assert_false(travels("7f"));          /* unknown */
}

TEST(what_travels_is_copied_in_its_order)
{
    forward("0001 't' 00", "", true);
    forward("0001 't' 02 01 01", "01 01", true);
    forward("0001 't' 10 26 0001 'b' 0000 26 0001 'a' 0000 03 0001 'c'",
            "26 0001 'b' 0000 26 0001 'a' 0000 03 0001 'c'", true);
    forward("0001 't' 03 23 0001", "", false);
    forward("0001 't' 1c 26 0001 'b' 0000 23 0001 01 01 02 0000003c 26 0001 'a' 0000 09 0001 00"
            " 0b 05",
            "26 0001 'b' 0000 01 01 26 0001 'a' 0000 09 0001 00", false);
}

TEST(walkers_end_on_blocks_nobody_checked)
{
    static const char *const blocks[] = {"",        "26",          "26 ffff", "00",     "ff",
                                         "26 0000", "0b ffffffff", "11 00",   "1f 0001"};

    for (size_t i = 0; i < COUNT(blocks); i++) {
        struct bytes block = wire(blocks[i]), rest = block, name, value;
        uint32_t id;

        assert_false(props_next_user(&rest, &name, &value));
        rest = block;
        assert_false(props_next_subscription_id(&rest, &id));
        assert_false(props_next_subscription_id(&rest, &id));
        wire_free(block);
    }
}

TEST(many_user_properties_are_linear)
{
    /* CVE-2021-41039: as many as fit into a megabyte; quadratic work would take minutes. */
    const uint32_t n = 1u << 20;
    uint8_t *body = malloc(n + 16), *to = body;
    struct bytes rest, name, value;
    struct packet p;
    enum reason why;
    uint32_t count = 0;

    assert_non_null(body);
    to = bytes_put(to, BYTES_LIT("\0\1t"));
    to = varint_put(to, n / 5 * 5);
    for (uint32_t i = 0; i < n / 5; i++)
        to = bytes_put(to, BYTES_LIT("\x26\0\0\0\0"));
    assert_int_equal(decode_body_of(0x30, bytes_of(body, (size_t)(to - body)), MQTT_5, &p, &why),
                     OK);
    for (rest = p.publish.props.all; props_next_user(&rest, &name, &value);)
        count++;
    assert_int_equal(count, n / 5);
    free(body);
}
