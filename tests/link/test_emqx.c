/* tests/link/test_emqx.c -- the EMQX dialect against golden payloads, both ways. */
#include "link/emqx.h"

#include "core/base/limits.h"
#include "core/mqtt/packet.h"
#include "tests/link/vectors.h"

#define ACTOR "emqx@10.0.0.1"
#define CLUSTER "cluster-us-east"

static uint8_t room_bytes[1u << 17];

/* Encodes what was decoded: any control payload. */
static struct bytes encode_control(const struct emqx_control *c)
{
    struct emqx_batch b;
    uint32_t size;

    if (c->op == EMQX_ROUTE) {
        struct emqx_ops ops = emqx_ops_begin(c);
        struct emqx_route_op op;

        assert_int_equal(emqx_batch_begin(&b, c->actor, c->incarnation, EMQX_OPS_MAX, room_bytes,
                                          sizeof(room_bytes)),
                         OK);
        while (emqx_ops_next(&ops, &op))
            assert_int_equal(emqx_batch_add(&b, &op), OK);
        return bytes_of(room_bytes, emqx_batch_end(&b));
    }
    assert_int_equal(emqx_control_encode(c, room_bytes, sizeof(room_bytes), &size), OK);
    return bytes_of(room_bytes, size);
}

TEST(emqx_control_payloads_mean_what_the_vectors_say)
{
    struct vectors v = vectors_open();
    uint32_t count = 0;

    for (; vectors_next(&v, "control"); count++) {
        struct bytes payload = unhex(v.column[2]);
        char *got = meaning_of(payload, false);

        assert_string_equal(got, v.column[4]);
        free(got);
        free_bytes(payload);
    }
    assert_int_equal(count, 13);
}

TEST(emqx_control_payloads_are_encoded_byte_for_byte)
{
    struct vectors v = vectors_open();

    while (vectors_next(&v, "control")) {
        struct bytes plain = unhex(v.column[3]);
        struct emqx_control c;

        assert_int_equal(emqx_control_decode(plain, &c), OK);
        assert_true(bytes_eq(encode_control(&c), plain));
        free_bytes(plain);
    }
}

/* A record as one piece, from the three in which it is sent. */
static struct bytes encode_message(const struct emqx_message *m)
{
    uint8_t tail[EMQX_TAIL_BYTES];
    uint32_t head, behind;
    uint8_t *at;

    assert_int_equal(emqx_message_encode(m, room_bytes, sizeof(room_bytes), &head, tail, &behind),
                     OK);
    at = bytes_put(room_bytes + head, m->payload);
    at = bytes_put(at, bytes_of(tail, behind));
    return bytes_of(room_bytes, (size_t)(at - room_bytes));
}

/* What we would send on of a message that we received. */
static struct bytes encode_again(const struct emqx_message *m, uint8_t *props)
{
    struct emqx_message out = *m;

    out.properties = bytes_of(props, emqx_props_put(m, props));
    if (m->from_is_atom)
        out.from = (struct bytes){0};
    return encode_message(&out);
}

static void check_message_again(struct bytes plain, const char *name)
{
    struct emqx_message m, n;
    uint8_t props[2][2048];
    struct bytes again;

    assert_int_equal(emqx_message_decode(plain, &m), OK);
    again = encode_again(&m, props[0]);
    assert_int_equal(emqx_message_decode(again, &n), OK);
    assert_true(bytes_eq(m.id, n.id) && bytes_eq(m.topic, n.topic));
    assert_true(bytes_eq(m.payload, n.payload) && m.timestamp_ms == n.timestamp_ms);
    assert_int_equal(m.qos, n.qos);
    assert_int_equal(m.retain, n.retain);
    assert_int_equal(m.proto_ver, n.proto_ver);
    assert_true(bytes_eq(m.username, n.username));
    assert_true(m.from_is_atom ? n.from_is_atom : bytes_eq(m.from, n.from));
    assert_memory_equal(&m.peerhost, &n.peerhost, sizeof(m.peerhost));
    assert_memory_equal(&m.peername, &n.peername, sizeof(m.peername));
    assert_int_equal(m.peerport, n.peerport);
    assert_int_equal(m.has_expiry, n.has_expiry);
    assert_int_equal(m.message_expiry, n.message_expiry);
    assert_true(bytes_eq(bytes_of(props[0], emqx_props_put(&m, props[0])),
                         bytes_of(props[1], emqx_props_put(&n, props[1]))));
    if (strcmp(name, "peer_msg_minimal") == 0 || strcmp(name, "peer_msg_id_zero") == 0 ||
        strcmp(name, "peer_msg_undefined_from") == 0 || strcmp(name, "peer_msg_level1") == 0)
        assert_true(bytes_eq(again, plain));
}

TEST(emqx_messages_mean_what_the_vectors_say_and_are_encoded_again)
{
    struct vectors v = vectors_open();
    uint32_t count = 0;

    for (; vectors_next(&v, "forwarded"); count++) {
        struct bytes payload = unhex(v.column[2]), plain = unhex(v.column[3]);
        char *got = meaning_of(payload, true);

        assert_string_equal(got, v.column[4]);
        check_message_again(plain, v.column[1]);
        free(got);
        free_bytes(payload);
        free_bytes(plain);
    }
    assert_int_equal(count, 8);
}

/* Golden output of an independent encoder: the records byte for byte; its control maps begin with
 * `$op`, ours end with it as EMQX's do, so those are compared by their meaning. */
TEST(emqx_payloads_of_another_encoder_are_understood_and_equalled)
{
    struct vectors v = vectors_open();
    uint32_t count = 0;

    for (; vectors_next(&v, "peer_made"); count++) {
        bool is_message = strncmp(v.column[4], "message ", 8) == 0;
        struct bytes payload = unhex(v.column[2]), plain = unhex(v.column[3]);
        char *got = meaning_of(payload, is_message);
        struct emqx_control c;

        assert_string_equal(got, v.column[4]);
        free(got);
        if (is_message) {
            check_message_again(plain, v.column[1]);
        } else {
            assert_int_equal(emqx_control_decode(plain, &c), OK);
            assert_int_equal(c.native, strstr(v.column[1], "_extra_key") != NULL);
            got = meaning_of(encode_control(&c), false);
            assert_string_equal(got, v.column[4]);
            free(got);
        }
        free_bytes(payload);
        free_bytes(plain);
    }
    assert_int_equal(count, 12);
}

TEST(emqx_decoder_cases_are_accepted_and_refused)
{
    struct vectors v = vectors_open();
    uint32_t count = 0;

    for (; vectors_next(&v, "decoder"); count++) {
        struct bytes payload = unhex(v.column[2]);
        char *got = meaning_of(payload, strcmp(v.column[3], "message") == 0);

        assert_string_equal(got, v.column[4]);
        free(got);
        free_bytes(payload);
    }
    assert_int_equal(count, 24);
}

/* Nothing that is cut short is accepted, whatever the length. */
TEST(emqx_refuses_payloads_that_are_cut_short)
{
    static const char *const sections[] = {"control", "forwarded"};

    for (int s = 0; s < 2; s++) {
        struct vectors v = vectors_open();

        while (vectors_next(&v, sections[s])) {
            struct bytes plain = unhex(v.column[3]);
            struct emqx_control c;
            struct emqx_message m;

            for (uint32_t n = 0; n < plain.n && n < 700; n++) {
                uint8_t *part = malloc(n + 1u);

                assert_non_null(part);
                memcpy(part, plain.p, n);
                assert_int_equal(emqx_control_decode(bytes_of(part, n), &c), ERR_PEER);
                assert_int_equal(emqx_message_decode(bytes_of(part, n), &m), ERR_PEER);
                free(part);
            }
            free_bytes(plain);
        }
    }
}

/* The map of an actor_init_ack and its key 100 with the value `hex`. */
static uint32_t native_of_value(const char *hex)
{
    char all[1024];
    struct emqx_control c;
    struct bytes b;

    snprintf(all, sizeof(all),
             "83740000000561"
             "0a6d0000000161"
             "610f77026f6b"
             "61107704747275656164%s"
             "7703246f706d0000000e6163746f725f696e69745f61636b",
             hex);
    b = unhex(all);
    assert_int_equal(emqx_control_decode(b, &c), OK);
    assert_true(c.is_accepted);
    free_bytes(b);
    return c.native;
}

TEST(emqx_native_is_offered_only_as_a_map_that_says_so)
{
    assert_int_equal(native_of_value("74000000016d000000066e61746976656101"), 1);
    assert_int_equal(native_of_value("74000000016d000000066e6174697665620000012c"), 300);
    /* beside what later versions say, and keys that are containers */
    assert_int_equal(native_of_value("7400000003"
                                     "6d000000017a6107"
                                     "6c0000000161016a6102"
                                     "6d000000066e61746976656102"),
                     2);
    assert_int_equal(native_of_value("7400000000"), 0);
    assert_int_equal(native_of_value("74000000016d000000056e6174697661"
                                     "01"),
                     0);
    assert_int_equal(native_of_value("740000000177066e61746976656101"), 0); /* an atom */
    assert_int_equal(native_of_value("74000000016d000000066e617469766562ffffffff"), 0);
    assert_int_equal(native_of_value("74000000016d000000066e61746976656e05000000000001"), 0);
    assert_int_equal(native_of_value("74000000016d000000066e61746976656d0000000131"), 0);
    assert_int_equal(native_of_value("6d000000086e61746976652031"), 0); /* no map at all */
    assert_int_equal(native_of_value("6a"), 0);
}

/* Of a broker of ours, without further abilities. */
static struct emqx_control an_introduction(void)
{
    return (struct emqx_control){.op = EMQX_ACTOR_INIT,
                                 .actor = BYTES_LIT("a"),
                                 .incarnation = 7,
                                 .target = BYTES_LIT("b"),
                                 .version = EMQX_PROTOCOL_VERSION,
                                 .native = 1};
}

TEST(emqx_native_is_encoded_as_the_last_key_but_one_or_not_at_all)
{
    static const char plain[] = "837400000005610a6d0000000161610b6107610d6d0000000162610e6101"
                                "7703246f706d0000000a6163746f725f696e6974";
    static const char native[] = "837400000006610a6d0000000161610b6107610d6d0000000162610e6101"
                                 "616474000000016d000000066e61746976656101"
                                 "7703246f706d0000000a6163746f725f696e6974";
    struct emqx_control init = an_introduction();
    struct bytes b = unhex(plain);

    init.native = 0;
    assert_true(bytes_eq(encode_control(&init), b));
    free_bytes(b);
    init.native = 1;
    b = unhex(native);
    assert_true(bytes_eq(encode_control(&init), b));
    free_bytes(b);
}

/* One of the abilities: "groups" => 1, "deflate" => 1, "transit" => 1. */
static bool *ability(struct emqx_control *c, int number)
{
    bool *const all_of_them[] = {&c->has_groups, &c->deflates, &c->transits};

    return all_of_them[number];
}

TEST(emqx_abilities_stand_beside_our_dialect_and_mean_nothing_without_it)
{
    static const char begin[] = "837400000006610a6d0000000161610b6107610d6d0000000162610e6101"
                                "616474000000";
    static const char *const keys[] = {"6d0000000667726f7570736101", "6d000000076465666c6174656101",
                                       "6d000000077472616e7369746101"};
    static const char end[] = "7703246f706d0000000a6163746f725f696e6974";
    char hex[300];

    for (int i = 0; i < 3; i++) {
        struct emqx_control init = an_introduction(), got;
        struct bytes b;

        *ability(&init, i) = true;
        snprintf(hex, sizeof(hex), "%s026d000000066e61746976656101%s%s", begin, keys[i], end);
        b = unhex(hex);
        assert_true(bytes_eq(encode_control(&init), b));
        assert_int_equal(emqx_control_decode(b, &got), OK);
        assert_int_equal(got.native, 1);
        for (int other = 0; other < 3; other++)
            assert_int_equal(*ability(&got, other), other == i);
        free_bytes(b);
        snprintf(hex, sizeof(hex), "%s01%s%s", begin, keys[i], end);
        b = unhex(hex);
        assert_int_equal(emqx_control_decode(b, &got), OK);
        assert_int_equal(got.native, 0);
        assert_false(*ability(&got, i));
        free_bytes(b);
        init.native = 0;
        assert_int_equal(emqx_control_decode(encode_control(&init), &got), OK);
        assert_false(*ability(&got, i));
    }
}

TEST(emqx_native_is_granted_and_reported)
{
    struct emqx_control ack = {.op = EMQX_ACTOR_INIT_ACK,
                               .actor = BYTES_LIT("a"),
                               .version = EMQX_PROTOCOL_VERSION,
                               .reason = BYTES_LIT("no")};
    struct emqx_control got;

    for (ack.native = 0; ack.native < 3; ack.native++) {
        assert_int_equal(emqx_control_decode(encode_control(&ack), &got), OK);
        assert_int_equal(got.native, ack.native);
        assert_false(got.is_accepted);
        assert_true(bytes_eq(got.reason, BYTES_LIT("no")));
        assert_int_equal(got.need_bootstrap, EMQX_NEED_UNDEFINED);
    }
}

TEST(emqx_control_says_how_much_room_it_takes)
{
    struct emqx_control c = {.op = EMQX_HEARTBEAT, .actor = BYTES_LIT("ps-routes-v1")};
    uint32_t size, full;

    c.incarnation = 3;
    assert_int_equal(emqx_control_encode(&c, NULL, 0, &full), ERR_FULL);
    for (uint32_t room = 0; room < full; room++)
        assert_int_equal(emqx_control_encode(&c, room_bytes, room, &size), ERR_FULL);
    assert_int_equal(emqx_control_encode(&c, room_bytes, full, &size), OK);
    assert_int_equal(size, full);
}

TEST(emqx_batch_takes_as_many_ops_as_fit_by_bytes_and_by_count)
{
    for (uint32_t room = 0; room < 400; room += 7) {
        struct emqx_batch b;
        struct emqx_control c;
        struct emqx_route_op op = {true, BYTES_LIT("a/b/c"), BYTES_LIT("$s/g/a/b/c")};
        uint32_t count = 0, size;

        if (emqx_batch_begin(&b, BYTES_LIT(ACTOR), 1, 5, room_bytes, room) != OK) {
            assert_true(room < 60);
            continue;
        }
        while (emqx_batch_add(&b, &op) == OK) {
            count++;
            op.is_add = !op.is_add;
        }
        size = emqx_batch_end(&b);
        assert_true(size <= room);
        assert_true(count == 5 || room - size < 40);
        assert_int_equal(emqx_control_decode(bytes_of(room_bytes, size), &c), OK);
        assert_int_equal(c.add_count + c.delete_count, count);
    }
}

TEST(emqx_refuses_a_key_given_twice)
{
    /* {11 => 1, 11 => 2, 10 => "a", '$op' => "heartbeat"} */
    struct bytes b = unhex("837400000004610b6101610b6102610a6d0000000161"
                           "7703246f706d00000009686561727462656174");
    struct emqx_control c;

    assert_int_equal(emqx_control_decode(b, &c), ERR_PEER);
    ((uint8_t *)b.p)[11] = 99; /* an unknown key instead */
    assert_int_equal(emqx_control_decode(b, &c), OK);
    free_bytes(b);
}

TEST(emqx_topics_are_built_and_taken_apart)
{
    static const char *const none[] = {
        "$LINK/cluster/route/",    "$LINK/cluster/msg/a/b",
        "$LINK/cluster/resp/a",    "$LINK/cluster/resp/a/",
        "$LINK/cluster/resp//x",   "$LINK/cluster/resp/a/+",
        "$LINK/cluster/#",         "$LINK/cluster/other/a",
        "x/cluster/msg/a",         "$LINK/cluster/msg",
        "$LINK/cluster/resp/a/b#", "$LINK/cluster/native/a/b",
        "$LINK/cluster/native/",   "",
    };
    struct bytes cluster, actor;
    uint8_t b[128];
    uint32_t size;

    for (size_t i = 0; i < sizeof(none) / sizeof(*none); i++)
        assert_int_equal(emqx_topic_parse(bytes_str(none[i]), &cluster, &actor), EMQX_TOPIC_NONE);
    for (int k = EMQX_TOPIC_ROUTE; k < EMQX_TOPIC_COUNT; k++) {
        assert_int_equal(emqx_topic_put((enum emqx_topic)k, BYTES_LIT(CLUSTER), BYTES_LIT(ACTOR), b,
                                        sizeof(b), &size),
                         OK);
        assert_int_equal(emqx_topic_parse(bytes_of(b, size), &cluster, &actor), k);
        assert_true(bytes_eq(cluster, BYTES_LIT(CLUSTER)));
        assert_true(bytes_eq(actor, k == EMQX_TOPIC_RESP ? BYTES_LIT(ACTOR) : BYTES_LIT("")));
        assert_int_equal(emqx_topic_put((enum emqx_topic)k, BYTES_LIT(CLUSTER), BYTES_LIT(ACTOR), b,
                                        size - 1, &size),
                         ERR_FULL);
    }
}

TEST(emqx_client_ids_are_those_of_the_vectors)
{
    struct vectors v = vectors_open();
    uint32_t count = 0, size;
    uint8_t suffix[EMQX_SUFFIX_BYTES];

    for (; vectors_next(&v, "client_id"); count++) {
        uint8_t b[64];

        assert_int_equal(emqx_client_id_put(bytes_str(v.column[1]), bytes_str(v.column[2]),
                                            (uint32_t)strtoul(v.column[3], NULL, 10), b, sizeof(b),
                                            &size),
                         OK);
        assert_true(bytes_eq(bytes_of(b, size), bytes_str(v.column[4])));
        assert_int_equal(emqx_client_id_put(bytes_str(v.column[1]), bytes_str(v.column[2]),
                                            4000000000u, b, 10, &size),
                         ERR_FULL);
    }
    assert_int_equal(count, 12);
    emqx_suffix(0x0123456789abcdefu, suffix);
    assert_memory_equal(suffix, "01234567", 8);
}

/* ---- whole packets ---- */

static struct bytes golden_frame(const char *name)
{
    struct vectors v = vectors_open();
    struct bytes b = {0};

    while (vectors_next(&v, "frame"))
        if (strcmp(v.column[1], name) == 0)
            b = unhex(v.column[2]);
    assert_non_null(b.p);
    return b;
}

static void check_frame(const char *name, const uint8_t *got, const uint8_t *end)
{
    struct bytes want = golden_frame(name);

    assert_int_equal(end - got, want.n);
    assert_memory_equal(got, want.p, want.n);
    free_bytes(want);
}

/* EMQX ends its answers with an empty property block; we may leave it out [MQTT5 3.4.2.2.1]. */
static void check_shorter(const char *name, const uint8_t *got, const uint8_t *end)
{
    struct bytes want = golden_frame(name);

    assert_true(end - got == want.n || end - got == want.n - 1);
    assert_int_equal(got[0], want.p[0]);
    assert_memory_equal(got + 2, want.p + 2, (size_t)(end - got - 2));
    free_bytes(want);
}

TEST(emqx_golden_connects_are_what_our_client_role_sends)
{
    struct connect_out c = {.protocol = MQTT_5,
                            .clean_start = true,
                            .keep_alive = 60,
                            .username = BYTES_LIT("clink-user:us-east"),
                            .password = BYTES_LIT("secret")};
    uint8_t id[64], b[256];
    uint32_t size;

    assert_int_equal(emqx_client_id_put(BYTES_LIT("clink-us-east"), BYTES_LIT("1b2c3d4e"), 0, id,
                                        sizeof(id), &size),
                     OK);
    c.client_id = bytes_of(id, size);
    check_frame("connect_route_client", b, connect_put(b, &c));
    assert_int_equal(emqx_client_id_put(BYTES_LIT("clink-us-east"), BYTES_LIT("1b2c3d4e"), 1, id,
                                        sizeof(id), &size),
                     OK);
    c.client_id = bytes_of(id, size);
    c.username = c.password = (struct bytes){0};
    check_frame("connect_msg_client", b, connect_put(b, &c));
}

TEST(emqx_golden_subscribe_and_answers_are_what_we_send)
{
    struct filter_request f = {.qos = 1};
    uint8_t topic[128], b[256];
    uint32_t size;

    assert_int_equal(emqx_topic_put(EMQX_TOPIC_RESP, BYTES_LIT("clink-us-east"), BYTES_LIT(ACTOR),
                                    topic, sizeof(topic), &size),
                     OK);
    assert_int_equal(emqx_topic_put(EMQX_TOPIC_RESP, BYTES_LIT(CLUSTER), BYTES_LIT(ACTOR), topic,
                                    sizeof(topic), &size),
                     OK);
    f.filter = bytes_of(topic, size);
    check_frame("subscribe_resp", b, subscribe_put(b, MQTT_5, 1, &f, 1, 0));
    check_shorter(
        "puback_no_matching_subscribers", b,
        ack_put(b, MQTT_5, PACKET_PUBACK, 3, REASON_NO_MATCHING_SUBSCRIBERS, (struct bytes){0}));
    check_shorter("disconnect_protocol_error", b,
                  disconnect_put(b, REASON_IMPLEMENTATION_SPECIFIC, (struct bytes){0}));
}

/* Puts a PUBLISH to a link topic together as the peer state machine will. */
static void check_publish(const char *name, enum emqx_topic kind, uint8_t qos, uint16_t id,
                          struct bytes props, struct bytes payload)
{
    struct publish_out p = {.qos = qos, .packet_id = id, .props = props, .payload = payload};
    uint8_t topic[128], b[1024], *end;
    uint32_t size;

    assert_int_equal(
        emqx_topic_put(kind, BYTES_LIT(CLUSTER), BYTES_LIT(ACTOR), topic, sizeof(topic), &size),
        OK);
    p.topic = bytes_of(topic, size);
    end = publish_put_header(b, MQTT_5, &p);
    check_frame(name, b, bytes_put(end, payload));
}

TEST(emqx_golden_control_publishes_are_what_we_send)
{
    struct emqx_control c = {.op = EMQX_ACTOR_INIT,
                             .actor = BYTES_LIT(ACTOR),
                             .incarnation = 1754550000123u,
                             .target = BYTES_LIT("cluster-eu-west"),
                             .version = 1,
                             .is_accepted = true,
                             .need_bootstrap = EMQX_NEED_TRUE};
    uint8_t props[128], *at;
    struct bytes correlation = BYTES_LIT("0123456789ABCDEF");
    uint32_t size, topic;

    props[0] = 9;
    at = bytes_put(put_be16(props + 1, (uint16_t)correlation.n), correlation);
    *at++ = 8;
    assert_int_equal(
        emqx_topic_put(EMQX_TOPIC_RESP, BYTES_LIT(CLUSTER), BYTES_LIT(ACTOR), at + 2, 100, &topic),
        OK);
    at = put_be16(at, (uint16_t)topic) + topic;
    size = (uint32_t)(at - props);
    check_publish("publish_actor_init", EMQX_TOPIC_ROUTE, 1, 2, bytes_of(props, size),
                  encode_control(&c));
    c.op = EMQX_ACTOR_INIT_ACK;
    check_publish("publish_actor_init_ack", EMQX_TOPIC_RESP, 1, 1, bytes_of(props, 19),
                  encode_control(&c));
    c.op = EMQX_HEARTBEAT;
    check_publish("publish_heartbeat", EMQX_TOPIC_ROUTE, 0, 0, (struct bytes){0},
                  encode_control(&c));
}

/* All ten golden packets pass our decoder. */
TEST(emqx_golden_frames_decode)
{
    static const uint8_t types[] = {1, 1, 8, 3, 3, 3, 3, 3, 4, 14};
    struct vectors v = vectors_open();
    uint32_t count = 0;

    for (; vectors_next(&v, "frame"); count++) {
        struct bytes b = unhex(v.column[2]);
        struct frame f;
        struct packet p;
        enum reason why;
        uint32_t need;

        assert_int_equal(frame_next(b, PACKET_BYTES_DEFAULT, &f, &need), OK);
        assert_int_equal(f.header_size + f.body.n, b.n);
        assert_int_equal(packet_decode(&f, MQTT_5, &p, &why), OK);
        assert_int_equal(p.type, types[count]);
        free_bytes(b);
    }
    assert_int_equal(count, 10);
}
