# tests/e2e/test_mqtt5_properties.py -- MQTT 5: properties, topic aliases, subscription ids, expiry.

import time

from broker import equal, run, test, true
from mqtt import (AUTH, CONNACK, DISCONNECT, PUBACK, PUBLISH, SUBACK, UNSUBACK, ack, connect,
                  disconnect, frame, one_property, publish, subscribe, text, unsubscribe, varint)

FORWARDED = [("payload_format", 1), ("content_type", "text/plain; Ü"), ("response_topic", "r/t"),
             ("correlation_data", b"\0\1\xff"), ("user", ("b", "1")), ("user", ("a", "2")),
             ("user", ("b", "1")), ("user", ("", "")), ("user", ("ü", "☃"))]


@test
def properties_arrive_as_they_were_sent(t):  # [MQTT-3.3.2-4], -15, -16, -17, -18, -20
    for qos in (0, 1, 2):
        sub = t.subscriber(t.topic(str(qos)), qos)
        t.connect(5).publish(t.topic(str(qos)), b"x", qos, props=FORWARDED)
        p = sub.message(qos=qos)
        equal(p.all("user"), [v for n, v in FORWARDED if n == "user"], "user properties")
        equal(sorted(x for x in p.props if x[0] != "user"), sorted(FORWARDED[:4]), "the others")


@test
def properties_of_waiting_messages_are_kept(t):
    keep = {"session_expiry": 60}
    sub = t.subscriber(t.topic(), 2, props=keep)
    sub.drop()
    pub = t.connect(5)
    for qos in (1, 2):
        pub.publish(t.topic(), b"x", qos, props=FORWARDED)
    sub = t.connect(5, client_id=sub.id, clean=False, props=keep)
    for qos in (1, 2):
        p = sub.message(qos=qos)
        equal(p.all("user"), [v for n, v in FORWARDED if n == "user"], "user properties")
        equal(p.get("correlation_data"), b"\0\1\xff")


@test
def older_clients_get_no_properties(t):
    for version in (3, 4):
        sub = t.subscriber(t.topic(), 1, version=version)
        t.connect(5).publish(t.topic(), b"body", 1, props=FORWARDED)
        sub.message(payload=b"body")
        new = t.subscriber(t.topic(), 1)
        t.connect(version).publish(t.topic(), b"old", 1)
        equal(new.message(payload=b"old").props, [])
        sub.message(payload=b"old")


@test
def a_request_finds_its_response(t):  # 4.10
    server = t.subscriber(t.topic("request"), 1)
    client = t.subscriber(t.topic("answers/me"), 1)
    client.publish(t.topic("request"), b"2+2", 1,
                   props=[("response_topic", t.topic("answers/me")), ("correlation_data", b"\x07")])
    p = server.message(payload=b"2+2")
    server.publish(p.get("response_topic"), b"4", 1,
                   props=[("correlation_data", p.get("correlation_data"))])
    client.message(payload=b"4", correlation_data=b"\x07")


@test
def large_properties_are_carried(t):
    props = [("correlation_data", b"c" * 60000), ("user", ("k" * 30000, "v" * 65535))]
    sub = t.subscriber(t.topic(), 1)
    t.connect(5).publish(t.topic(), b"x", 1, props=props)
    equal(sorted(sub.message().props), sorted(props))


@test
def wrong_publish_properties_end_the_connection(t):
    wrong = [
        [("payload_format", 2)], [("payload_format", 1), ("payload_format", 1)],
        [("message_expiry", 1), ("message_expiry", 1)],
        [("content_type", "a"), ("content_type", "a")],
        [("response_topic", "a"), ("response_topic", "a")],
        [("correlation_data", b"a"), ("correlation_data", b"a")],
        [("topic_alias", 1), ("topic_alias", 1)], [("topic_alias", 0)],
        [("subscription_id", 5)],  # [MQTT-3.3.4-6]
        [("response_topic", "a/+")], [("response_topic", "#")],  # [MQTT-3.3.2-14]
        [("content_type", b"\xff")], [("response_topic", b"a\0")], [("user", (b"\xff", "a"))],
        [("user", ("a", b"\xc0\x80"))], [("session_expiry", 1)], [("receive_maximum", 1)],
        [("reason_string", "a")], [("will_delay", 1)], [("server_keep_alive", 1)],
        [(0x04, b"\0")], [(0x7F, b"\0")], [(0x2B, b"\0")],
    ]
    for props in wrong:
        c = t.connect(5)
        c.send(publish(5, t.topic(), b"x", props=props))
        try:
            c.closed(0x81, 0x82, 0x90, 0x94)
        except Exception as error:
            raise AssertionError(f"{props}: {error}") from error


@test
def a_wrong_property_length_ends_the_connection(t):
    for block in (varint(5) + b"\x01\1", varint(1) + b"\x01\1", b"\xff\xff\xff\xff\x01",
                  b"\x80\x80\x80\x80\x01", varint(300) + b"\x01\1", b"\x80"):
        c = t.connect(5)
        c.send(frame(PUBLISH, 0, text(t.topic()) + block))
        c.closed(0x81, 0x82)


@test
def wrong_properties_of_other_packets_end_the_connection(t):
    user = one_property("user", ("a", "b"))
    bad = one_property("topic_alias", 1)
    for packet in (
            subscribe(5, 1, [(t.topic(), 0)], bad), unsubscribe(5, 1, [t.topic()], bad),
            subscribe(5, 1, [(t.topic(), 0)], {"subscription_id": 0}),
            subscribe(5, 1, [(t.topic(), 0)], [("subscription_id", 1)] * 2),
            unsubscribe(5, 1, [t.topic()], {"subscription_id": 1}),
            ack(PUBACK, 1, 0, bad), disconnect(5, 0, {"server_reference": "a"}),
            disconnect(5, 0, [("session_expiry", 0)] * 2), disconnect(5, 0, bad),
            frame(DISCONNECT, 0, b"\0" + varint(9) + user),
            frame(PUBACK, 0, b"\0\1\0" + varint(1) + user)):
        c = t.connect(5)
        c.send(packet)
        try:
            # A wrong DISCONNECT may be answered by the end alone.
            c.closed(*(() if packet[0] >> 4 == DISCONNECT else (0x81, 0x82)))
        except Exception as error:
            raise AssertionError(f"{packet.hex(' ')}: {error}") from error


@test
def user_properties_are_welcome_everywhere(t):
    user = [("user", ("a", "b")), ("user", ("a", "c"))]
    c = t.connect(5, props=user)
    c.subscribe(t.topic(), 1, user)
    c.publish(t.topic(), b"x", 1, props=user)
    p = c.message(ack=False)
    del c.in_flight[p.pid]
    c.send(ack(PUBACK, p.pid, 0, [("reason_string", "fine")] + user))
    c.unsubscribe(t.topic(), user)
    c.ping()
    c.logout(0, [("reason_string", "bye")] + user)


@test
def no_problem_information_is_sent_when_not_wanted(t):  # [MQTT-3.1.2-29]
    c = t.connect(5, props={"request_problem_info": 0})
    c.send(publish(5, t.topic(), b"x", 1, pid=1), ack(4, 99), unsubscribe(5, 7, ["none"]),
           subscribe(5, 8, [("$share/x/" + t.topic(), 0)]), ack(6, 555))
    for _ in range(4):
        p = c.recv()
        true(p.kind in (PUBACK, UNSUBACK, SUBACK, 7), str(p))
        equal(p.props, [], f"properties of {p}")


# ---- topic aliases ----

@test
def a_topic_alias_stands_for_its_topic(t):  # [MQTT-3.3.2-12]
    sub = t.subscriber(t.topic("#"), 1)
    c = t.connect(5)
    most = c.connack.get("topic_alias_maximum", 0)
    true(most >= 2, f"topic_alias_maximum is {most}")
    for alias, tail in ((1, "a"), (most, "b")):
        c.publish(t.topic(tail), b"1", props={"topic_alias": alias})
        sub.message(topic=t.topic(tail))
        for qos in (0, 1, 2):
            c.publish("", b"2", qos, props={"topic_alias": alias})
            p = sub.message(topic=t.topic(tail))
    c.publish(t.topic("c"), b"3", props={"topic_alias": 1})  # set anew
    c.publish("", b"4", props={"topic_alias": 1})
    equal([sub.message().topic for _ in range(2)], [t.topic("c")] * 2)
    equal(p.get("topic_alias"), None, "the publisher's alias towards a subscriber without any")


@test
def wrong_topic_aliases_end_the_connection(t):  # [MQTT-3.3.2-8], [MQTT-3.3.2-9], 3.3.2.3.4
    c = t.connect(5)
    most = c.connack.get("topic_alias_maximum", 0)
    for topic, alias, reasons in (("a", 0, (0x94, 0x82)), ("a", most + 1, (0x94,)),
                                  ("a", 65535, (0x94,)), ("", 1, (0x82,)), ("", 0, (0x94, 0x82)),
                                  ("", most + 1, (0x94, 0x82))):
        c = t.connect(5)
        c.send(publish(5, topic, b"x", props={"topic_alias": alias}))
        c.closed(*reasons)


@test
def topic_aliases_end_with_the_connection(t):  # [MQTT-3.3.2-7]
    c = t.connect(5, props={"session_expiry": 60})
    c.publish(t.topic(), b"x", 1, props={"topic_alias": 1})
    c.drop()
    c = t.connect(5, client_id=c.id, clean=False)
    c.send(publish(5, "", b"x", props={"topic_alias": 1}))
    c.closed(0x82)


@test
def a_retransmission_may_use_an_alias(t):
    sub = t.subscriber(t.topic(), 2)
    c = t.connect(5)
    c.send(publish(5, t.topic(), b"x", 2, pid=1, props={"topic_alias": 1}),
           publish(5, "", b"x", 2, pid=1, dup=True, props={"topic_alias": 1}))
    c.expect(5, pid=1)
    c.expect(5, pid=1)
    c.send(ack(6, 1))
    c.expect(7, pid=1)
    equal(len(t.until_mark(sub, c)), 1, "copies")


@test
def the_broker_keeps_to_the_topic_aliases_allowed(t):  # [MQTT-3.1.2-26], [MQTT-3.1.2-27]
    pub = t.connect(5)
    for most in (0, 1, 3, 65535):
        props = {"topic_alias_maximum": most} if most else None
        sub = t.subscriber(t.topic(f"{most}/#"), 1, props=props)
        for i in range(40):  # the client looks aliases up and complains about wrong ones
            tail = f"{most}/{'long ' * 20}{i % 7}"
            pub.publish(t.topic(tail), str(i), i % 2)
            sub.message(topic=t.topic(tail), payload=str(i))


@test
def aliases_of_the_broker_hold_for_one_connection(t):
    keep = {"session_expiry": 60, "topic_alias_maximum": 5}
    pub = t.connect(5)
    sub = t.subscriber(t.topic(), 1, props=keep)
    for _ in range(4):
        pub.publish(t.topic(), b"x", 1)
    unacked = [sub.message(ack=False, topic=t.topic()) for _ in range(4)]
    sub.drop()
    for _ in range(4):
        pub.publish(t.topic(), b"y", 1)
    sub = t.connect(5, client_id=sub.id, clean=False, props=keep)
    for _ in range(len(unacked) + 4):
        sub.message(topic=t.topic())
    sub.drop()
    sub = t.connect(5, client_id=sub.id, clean=False, props={"session_expiry": 60})
    pub.publish(t.topic(), b"z", 1)
    sub.message(topic=t.topic())


# ---- subscription identifiers ----

@test
def messages_carry_the_subscription_id(t):  # [MQTT-3.3.4-3]
    pub = t.connect(5)
    for number in (1, 127, 128, 16384, 268435455):
        sub = t.subscriber(t.topic("#"), 1, sub_props={"subscription_id": number})
        pub.publish(t.topic("x"), b"x", 1)
        sub.message(subscription_id=[number])


@test
def overlapping_subscriptions_bring_all_their_ids(t):  # [MQTT-3.3.4-4], [MQTT-3.3.4-5]
    sub = t.connect(5)
    sub.subscribe(t.topic("a"), 1, {"subscription_id": 1})
    sub.subscribe(t.topic("+"), 1, {"subscription_id": 2})
    sub.subscribe(t.topic("#"), 1, {"subscription_id": 3})
    sub.subscribe(t.topic("b"), 1, {"subscription_id": 4})
    sub.subscribe(t.topic("a/#"), 1)
    pub = t.connect(5)
    pub.publish(t.topic("a"), b"x", 1)
    found = t.until_mark(sub, pub)
    numbers = [n for p in found for n in p.all("subscription_id")]
    equal(sorted(numbers), [1, 2, 3], "subscription ids of all copies")
    true(len(found) in (1, 3, 4), f"{len(found)} copies")


@test
def subscribing_again_changes_the_id(t):  # 3.8.4
    sub = t.subscriber(t.topic(), 0, sub_props={"subscription_id": 1})
    pub = t.connect(5)
    sub.subscribe(t.topic(), 0, {"subscription_id": 2})
    pub.publish(t.topic(), b"x")
    sub.message(subscription_id=[2])
    sub.subscribe(t.topic(), 0)
    pub.publish(t.topic(), b"x")
    sub.message(subscription_id=[])


@test
def one_id_may_stand_for_several_filters(t):
    sub = t.subscriber([t.topic("a"), t.topic("b")], sub_props={"subscription_id": 9})
    pub = t.connect(5)
    for tail in "ab":
        pub.publish(t.topic(tail), b"x")
        sub.message(topic=t.topic(tail), subscription_id=[9])


@test
def ids_outlive_the_connection(t):
    keep = {"session_expiry": 60}
    sub = t.subscriber(t.topic(), 1, props=keep, sub_props={"subscription_id": 42})
    sub.drop()
    pub = t.connect(5)
    pub.publish(t.topic(), b"1", 1)
    sub = t.connect(5, client_id=sub.id, clean=False, props=keep)
    sub.message(payload=b"1", subscription_id=[42])
    pub.publish(t.topic(), b"2", 1)
    sub.message(payload=b"2", subscription_id=[42])


# ---- message expiry ----

@test
def the_message_expiry_is_passed_on(t):  # [MQTT-3.3.2-6]
    sub = t.subscriber(t.topic(), 1)
    t.connect(5).publish(t.topic(), b"x", 1, props={"message_expiry": 100})
    true(sub.message().get("message_expiry") in (99, 100), "message expiry")
    t.connect(5).publish(t.topic(), b"x", 1, props={"message_expiry": 0xFFFFFFFF})
    true(sub.message().get("message_expiry") >= 0xFFFFFFFE, "the greatest message expiry")


@test(slow=True)
def the_message_expiry_is_counted_down(t):  # [MQTT-3.3.2-6]
    keep = {"session_expiry": 60}
    sub = t.subscriber(t.topic(), 1, props=keep)
    sub.drop()
    t.connect(5).publish(t.topic(), b"x", 1, props={"message_expiry": 100})
    time.sleep(1.6)
    sub = t.connect(5, client_id=sub.id, clean=False, props=keep)
    true(sub.message().get("message_expiry") in (98, 99), "message expiry after 1.6 s")


@test(slow=True)
def an_expired_message_is_not_delivered(t):  # [MQTT-3.3.2-5]
    keep = {"session_expiry": 60}
    sub = t.subscriber(t.topic(), 2, props=keep)
    sub.drop()
    pub = t.connect(5)
    for qos in (1, 2):
        pub.publish(t.topic(), b"short", qos, props={"message_expiry": 1})
        pub.publish(t.topic(), b"long", qos, props={"message_expiry": 100})
        pub.publish(t.topic(), b"none", qos)
    time.sleep(2.2)
    sub = t.connect(5, client_id=sub.id, clean=False, props=keep)
    equal(sorted(p.payload for p in t.until_mark(sub, pub)),
          [b"long", b"long", b"none", b"none"])


@test(slow=True)
def a_message_that_expires_in_the_window_does_not_block_it(t):
    sub = t.subscriber(t.topic(), 1, props={"receive_maximum": 1})
    pub = t.connect(5)
    pub.publish(t.topic(), b"first", 1)
    pub.publish(t.topic(), b"short", 1, props={"message_expiry": 1})
    pub.publish(t.topic(), b"last", 1)
    p = sub.message(ack=False, payload=b"first")
    time.sleep(2.2)
    sub.acknowledge(p)
    sub.message(payload=b"last")


# ---- reasons ----

@test
def malformed_packets_are_told_apart_from_protocol_errors(t):  # 4.13
    for packet, reasons in ((frame(PUBLISH, 6, text("a") + b"\0\1\0"), (0x81,)),
                            (subscribe(5, 1, []), (0x82,)), (publish(5, "", b"x"), (0x82,)),
                            (connect(5, "x"), (0x82,)), (frame(AUTH, 0, b""), (0x82,)),
                            (publish(5, t.topic(), b"", 1, pid=0), (0x81, 0x82)),
                            (publish(5, "a/#", b""), (0x90, 0x81))):
        c = t.connect(5)
        c.send(packet)
        c.closed(*reasons)


@test
def disconnect_may_have_all_forms(t):
    for packet in (frame(DISCONNECT, 0, b""), frame(DISCONNECT, 0, b"\0"),
                   frame(DISCONNECT, 0, b"\0\0"), frame(DISCONNECT, 0, b"\x04"),
                   disconnect(5, 0, {"reason_string": "bye", "session_expiry": 0})):
        c = t.connect(5)
        c.send(packet)
        c.closed()


@test
def a_user_property_costs_nothing_in_connack(t):
    c = t.raw(5)
    c.send(connect(5, t.new_id(), props=[("user", (f"k{i}", "v")) for i in range(100)]))
    equal(c.expect(CONNACK, reason=0).all("user"), [])


run()
