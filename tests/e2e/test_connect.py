# tests/e2e/test_connect.py -- CONNECT and CONNACK, keep alive, PINGREQ, DISCONNECT.

import socket
import struct
import time

from broker import equal, run, seconds_until, test, true
from mqtt import (AUTH, CONNACK, CONNECT, DISCONNECT, PINGREQ, PINGRESP, PUBACK, PUBLISH, SUBACK,
                  Closed, connect, disconnect, frame, octets, publish, subscribe, text, varint)

ALL = (3, 4, 5)


@test(versions=ALL)
def accepts_a_client(t, v):  # [MQTT-3.1.4-4], [MQTT-3.1.4-5]
    c = t.raw()
    c.send(connect(v, t.new_id()))
    c.expect(CONNACK, reason=0, session_present=False)


@test(versions=(3, 4))
def connack_of_mqtt_3_has_two_bytes(t, v):  # [MQTT-3.2.2-1]
    c = t.raw()
    c.send(connect(v, t.new_id()))
    equal(c.expect(CONNACK).body, b"\0\0")


@test(versions=(3, 4))
def accepts_the_bridge_bit_in_the_protocol_level(t, v):  # as mosquitto's bridges send it
    c = t.raw()
    c.send(connect(v, t.new_id(), level=0x80 | v))
    c.expect(CONNACK, reason=0)
    c.ping()


@test(versions=(3, 4))
def a_bridge_gets_no_own_messages_back_and_sees_the_retain_flag(t, v):  # as with mosquitto
    bridge = t.raw()
    bridge.send(connect(v, t.new_id(), level=0x80 | v))
    bridge.expect(CONNACK, reason=0)
    bridge.subscribe(t.topic("#"), 1)
    other = t.connect(5)
    bridge.publish(t.topic(), b"own", 1)
    other.publish(t.topic(), b"foreign", 1, retain=True)
    bridge.message(payload=b"foreign", retain=True)


@test(versions=ALL)
def pingreq_is_answered(t, v):  # [MQTT-3.12.4-1]
    c = t.connect()
    for _ in range(3):
        c.ping()


@test(versions=ALL)
def closes_on_a_second_connect(t, v):  # [MQTT-3.1.0-2]
    c = t.connect()
    c.send(connect(v, c.id))
    c.closed(0x82)


@test(versions=ALL)
def closes_when_the_first_packet_is_no_connect(t, v):  # [MQTT-3.1.0-1]
    for first in (publish(v, "a", b"b"), subscribe(v, 1, [("a", 0)]), frame(PINGREQ, 0, b""),
                  disconnect(v), frame(CONNACK, 0, b"\0\0"), frame(AUTH, 0, b""),
                  frame(0, 0, b""), frame(PUBACK, 0, b"\0\1")):
        c = t.raw()
        c.send(first)
        c.refused(0, 0x81, 0x82)


@test
def connect_may_come_byte_by_byte(t):
    c = t.raw(5)
    for byte in connect(5, t.new_id(), will={"topic": "w", "payload": "x"}, props={
            "session_expiry": 10, "user": ("a", "b")}) + frame(PINGREQ, 0, b""):
        c.send(bytes([byte]))
        time.sleep(0.001)
    c.expect(CONNACK, reason=0)
    c.expect(PINGRESP)


@test(versions=ALL)
def packets_may_come_in_one_piece_with_connect(t, v):  # [MQTT-3.2.0-1]
    c = t.raw()
    topic = t.topic()
    c.send(connect(v, t.new_id()), subscribe(v, 1, [(topic, 1)]),
           publish(v, topic, b"one", qos=1, pid=2), frame(PINGREQ, 0, b""))
    c.expect(CONNACK, reason=0)
    kinds = sorted(c.recv().kind for _ in range(4))
    equal(kinds, [PUBLISH, PUBACK, SUBACK, PINGRESP], "what came")


@test(versions=ALL)
def everything_up_to_disconnect_in_one_piece_is_done(t, v):
    sub = t.subscriber(t.topic("#"), version=5)
    c = t.raw()
    c.send(connect(v, t.new_id()), *[publish(v, t.topic(str(i)), b"x") for i in range(20)],
           disconnect(v))
    equal([sub.message().topic for _ in range(20)], [t.topic(str(i)) for i in range(20)])


@test(versions=ALL)
def a_packet_cut_into_two_pieces_is_one_packet(t, v):
    topic = t.topic()
    sub = t.subscriber(topic, version=5)
    c = t.connect()
    whole = publish(v, topic, b"0123456789" * 5)
    for at in (1, 2, 3, 8, len(whole) - 1):
        c.send(whole[:at])
        c.send(whole[at:] + whole[:at])
        c.send(whole[at:])
    for _ in range(10):
        sub.message(topic=topic, payload=b"0123456789" * 5)


# ---- what a CONNECT must not be ----

@test
def refuses_another_protocol_name(t):  # [MQTT-3.1.2-1]
    for name in ("MQTX", "mqtt", "MQIsdP", "", "MQTT\0", "HTTP"):
        c = t.raw(4)
        c.send(connect(4, t.new_id(), name=name))
        c.refused(0, 1, 0x84)


@test
def refuses_a_name_and_level_that_do_not_belong_together(t):
    for name, level in (("MQIsdp", 4), ("MQTT", 3), ("MQIsdp", 5)):
        c = t.raw(4)
        c.send(connect(4, t.new_id(), name=name, level=level))
        c.refused(0, 1)


@test
def refuses_an_unknown_level_with_unacceptable_version(t):  # [MQTT-3.1.2-2]
    for level in (0, 1, 2, 6, 7, 127):
        c = t.raw(4)
        c.send(connect(4, t.new_id(), level=level))
        answer = b""
        try:
            while c.fill(5):
                pass
        except Closed:
            answer = bytes(c.buffer)
        true(answer in (b"", b"\x20\x02\x00\x01") or answer[:4] == b"\x20\x03\x00\x84",
             f"level {level}: answered {answer.hex(' ')}")


@test(versions=(4, 5))
def refuses_the_reserved_connect_flag(t, v):  # [MQTT-3.1.2-3]
    c = t.raw()
    c.send(connect(v, t.new_id(), flags=0x03))
    c.refused(0, 0x81)


@test(versions=(4, 5))
def refuses_will_qos_3(t, v):  # [MQTT-3.1.2-14], MQTT 5 [MQTT-3.1.2-12]
    c = t.raw()
    c.send(connect(v, t.new_id(), will={"topic": "w", "payload": "x"}, flags=0x1E))
    c.refused(0, 0x81)


@test(versions=(4, 5))
def refuses_will_flags_without_a_will(t, v):  # [MQTT-3.1.2-13], [MQTT-3.1.2-15]
    for flags in (0x0A, 0x12, 0x22):
        c = t.raw()
        c.send(connect(v, t.new_id(), flags=flags))
        c.refused(0, 0x81)


@test
def refuses_a_password_without_a_user_name_in_mqtt_3(t):  # [MQTT-3.1.2-22]
    c = t.raw(4)
    c.send(connect(4, t.new_id(), password="p"))
    c.refused(0)


@test
def takes_a_password_without_a_user_name_in_mqtt_5(t):
    t.connect(5, password="p").ping()


@test(versions=ALL)
def takes_a_user_name_and_a_password(t, v):
    t.connect(username="somebody", password=b"\0\xff secret").ping()


@test(versions=ALL)
def refuses_flags_in_the_fixed_header_of_connect(t, v):  # [MQTT-2.1.3-1], FlashMQ 0c79f94
    for flags in (1, 2, 4, 8):
        c = t.raw()
        c.send(bytes([0x10 | flags]) + connect(v, t.new_id())[1:])
        c.refused(0, 0x81)


@test(versions=ALL)
def refuses_a_connect_that_is_cut_short(t, v):
    whole = connect(v, t.new_id(), will={"topic": "w", "payload": "p"},
                    props={"session_expiry": 1},
                    # MQTT 3.1 takes one whose flags promise a user name that is not there
                    **({} if v == 3 else {"username": "user", "password": "pass"}))
    body = whole[2:]
    for size in range(0, len(body)):
        c = t.raw()
        c.send(frame(CONNECT, 0, body[:size]))
        c.refused(0, 0x81, 0x82, 0x84, 1)


@test(versions=ALL)
def refuses_a_connect_with_bytes_left_over(t, v):
    c = t.raw()
    c.send(frame(CONNECT, 0, connect(v, t.new_id())[2:] + b"x"))
    c.refused(0, 0x81)


@test(versions=ALL)
def refuses_ill_formed_texts(t, v):  # [MQTT-1.5.3-1], [MQTT-1.5.3-2], [MQTT-3.1.3-4], -10, -11
    for bad in (b"\xff", b"a\0b", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf4\x90\x80\x80", b"\xe2\x82"):
        for fields in ({"client_id": bad}, {"username": bad},
                       {"will": {"topic": bad, "payload": "x"}}):
            c = t.raw()
            c.send(connect(v, **{"client_id": t.new_id(), **fields}))
            c.refused(0, 0x81, 0x85, 0x90, 2)


@test(versions=ALL)
def refuses_a_will_topic_that_is_no_topic(t, v):
    for bad in ("a/+", "#", ""):
        c = t.raw()
        c.send(connect(v, t.new_id(), will={"topic": bad, "payload": "x"}))
        c.refused(0, 0x81, 0x82, 0x90, 2)


@test
def refuses_wrong_connect_properties(t):  # [MQTT-3.1.2-...], 2.2.2.2
    once = {"session_expiry": 1, "receive_maximum": 1, "maximum_packet_size": 100,
            "topic_alias_maximum": 1, "request_response_info": 1, "request_problem_info": 1,
            "auth_method": "x"}
    wrong = [[(n, v), (n, v)] for n, v in once.items()]
    wrong += [[("receive_maximum", 0)], [("maximum_packet_size", 0)], [("request_problem_info", 2)],
              [("request_response_info", 2)], [("auth_data", b"x")]]
    for props in wrong:
        c = t.raw(5)
        c.send(connect(5, t.new_id(), props=props))
        c.refused(0, 0x82, 0x81, *([0x8C] if props[0][0] == "auth_method" else []))


@test
def refuses_properties_that_connect_cannot_hold(t):
    for props in ([("topic_alias", 1)], [("content_type", "x")], [("subscription_id", 1)],
                  [("maximum_qos", 1)], [("will_delay", 1)], [("message_expiry", 1)],
                  [("reason_string", "x")], [(0x7F, b"\0")], [(0x00, b"\0")]):
        c = t.raw(5)
        c.send(connect(5, t.new_id(), props=props))
        c.refused(0, 0x81, 0x82)


@test
def refuses_a_property_block_with_a_wrong_length(t):
    head = text("MQTT") + b"\x05\x02\0\x3c"
    for props in (varint(4) + b"\x11\0\0\0", varint(200) + b"\x11\0\0\0\1", varint(3) +
                  b"\x11\0\0\0\1", b"\xff\xff\xff\xff\x01", b"\x80\x80\x80\x80", b"\x85\x80\x80"):
        c = t.raw(5)
        c.send(frame(CONNECT, 0, head + props + text("x")))
        c.refused(0, 0x81, 0x82)


@test
def refuses_an_unknown_authentication_method(t):  # 4.12 [MQTT-4.12.0-1]
    c = t.raw(5)
    c.send(connect(5, t.new_id(), props={"auth_method": "SCRAM-SHA-1", "auth_data": b"n,,n=u"}))
    c.refused(0x8C)


# ---- client ids ----

@test
def gives_a_client_without_an_id_one_of_its_own(t):  # [MQTT-3.1.3-6], [MQTT-3.2.2-16]
    ids = set()
    for clean in (True, False):
        for _ in range(5):
            c = t.connect(5, client_id="", clean=clean)
            true(c.connack.get("assigned_client_id"), "no assigned client id")
            ids.add(c.connack.get("assigned_client_id"))
    equal(len(ids), 10, "different ids")


@test
def a_client_with_an_id_is_not_given_another(t):
    equal(t.connect(5).connack.get("assigned_client_id"), None)


@test
def an_assigned_id_can_be_used_to_come_back(t):
    c = t.connect(5, client_id="", props={"session_expiry": 60})
    c.subscribe(t.topic())
    c.drop()
    again = t.connect(5, client_id=c.id, clean=False)
    equal(again.connack.session_present, True)


@test
def takes_an_empty_id_with_clean_session_in_mqtt_311(t):  # [MQTT-3.1.3-6]
    a, b = t.connect(4, client_id=""), t.connect(4, client_id="")
    a.ping()  # they are two clients: nobody was taken over
    b.ping()


@test
def refuses_an_empty_id_without_clean_session_in_mqtt_311(t):  # [MQTT-3.1.3-8]
    c = t.raw(4)
    c.send(connect(4, "", clean=False))
    c.refused(2)


@test
def refuses_an_empty_id_in_mqtt_31(t):
    c = t.raw(3)
    c.send(connect(3, ""))
    c.refused(2)


@test(versions=(4, 5))
def takes_ids_of_all_lengths_and_letters(t, v):  # [MQTT-3.1.3-5]
    for name in ("a", "0123456789abcdefABCDEF0", "x" * 24, "y" * 1000, "z" * 60000, "Zürich ☃",
                 "a/b+c#d", "$SYS", " "):
        t.connect(client_id=name).ping()


# ---- what CONNACK says ----

@test
def connack_promises_what_the_broker_does(t):
    c = t.connect(5)
    for name in ("retain_available", "wildcard_available", "subscription_id_available",
                 "shared_available"):
        true(c.connack.get(name) in (None, 1), f"{name} is {c.connack.get(name)}")
    equal(c.connack.get("maximum_qos"), None, "maximum_qos, which only lesser brokers send")
    true(c.connack.get("receive_maximum", 65535) >= 20, "receive_maximum")
    true(c.connack.get("maximum_packet_size", 1 << 28) >= 1 << 20, "maximum_packet_size")


@test
def keeps_the_keep_alive_a_client_asks_for(t):
    equal(t.connect(5, keepalive=60).connack.get("server_keep_alive"), None)


@test
def takes_all_connect_properties_together(t):
    c = t.connect(5, props=[("session_expiry", 5), ("receive_maximum", 10),
                            ("maximum_packet_size", 100000), ("topic_alias_maximum", 5),
                            ("request_response_info", 1), ("request_problem_info", 0),
                            ("user", ("a", "b")), ("user", ("a", "b")), ("user", ("", ""))])
    c.ping()


# ---- the end of a connection ----

@test(versions=ALL)
def closes_after_disconnect(t, v):  # [MQTT-3.14.4-3]; MQTT 5 leaves it to the client
    c = t.connect()
    c.send(disconnect(v))
    c.closed()


@test(versions=ALL)
def nothing_behind_disconnect_is_done(t, v):
    sub = t.subscriber(t.topic(), version=5)
    other = t.connect(5)
    c = t.connect()
    c.send(disconnect(v), publish(v, t.topic(), b"late"))
    c.closed()
    t.nothing(sub, other)


@test(versions=ALL)
def refuses_flags_in_disconnect_and_pingreq(t, v):  # [MQTT-2.2.2-2], [MQTT-3.14.1-1]
    for kind in (DISCONNECT, PINGREQ):
        c = t.connect()
        c.send(frame(kind, 1, b""))
        c.closed(0x81)


@test(versions=ALL)
def refuses_reserved_packet_types(t, v):
    for kind in (0, 15) if v != 5 else (0,):
        c = t.connect()
        c.send(frame(kind, 0, b""))
        c.closed(0x81, 0x82)


@test
def auth_without_a_method_is_a_protocol_error(t):  # 4.12.1
    c = t.connect(5)
    c.send(frame(AUTH, 0, b""))
    c.closed(0x82)
    c = t.connect(5)
    c.send(frame(AUTH, 0, b"\x19" + b"\x07\x15" + text("SCRA")))
    c.closed(0x82, 0x8C)


@test(versions=ALL)
def packets_only_a_broker_sends_end_the_connection(t, v):  # CVE-2021-28166
    for packet in (frame(CONNACK, 0, b"\0\0\0" if v == 5 else b"\0\0"),
                   frame(SUBACK, 0, b"\0\1\0\0" if v == 5 else b"\0\1\0"),
                   frame(11, 0, b"\0\1\0\0" if v == 5 else b"\0\1"), frame(PINGRESP, 0, b"")):
        c = t.connect()
        c.send(packet)
        c.closed(0x82, 0x81)


@test
def a_half_closed_connection_is_closed(t):  # mosq#2807
    c = t.connect(5)
    c.sock.shutdown(socket.SHUT_WR)
    c.closed()


@test
def a_reset_connection_is_forgotten(t):
    before = t.broker.files_at_rest()
    for _ in range(20):
        c = t.connect(4)
        c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        c.close()
    seconds_until("the descriptors are closed", lambda: t.broker.open_files() <= before)


@test(versions=ALL, slow=True)
def closes_a_client_that_is_silent_for_one_and_a_half_keep_alives(t, v):  # [MQTT-3.1.2-24]
    c = t.connect(keepalive=1)
    began = time.monotonic()
    c.closed(0x8D)
    took = time.monotonic() - began
    true(1.0 <= took <= 3.5, f"closed after {took:.2f} s")


@test(versions=ALL, slow=True)
def any_packet_keeps_a_client_alive(t, v):  # [MQTT-3.1.2-23]
    c = t.connect(keepalive=1)
    for i in range(6):
        time.sleep(0.6)
        if i % 2:
            c.ping()
        else:
            c.publish(t.topic(), octets("x"))
    c.ping()


@test(slow=True)
def receiving_does_not_keep_a_client_alive(t):  # [MQTT-3.1.2-20]
    topic = t.topic()
    sub = t.subscriber(topic, keepalive=1)
    pub = t.connect(5)
    end = time.monotonic() + 4
    while time.monotonic() < end:
        pub.publish(topic, b"x")
        time.sleep(0.1)
        try:
            while True:
                p = sub.recv(0, quiet=True)
                if p is None:
                    break
                if p.kind == DISCONNECT:
                    return
        except Closed:
            return
    raise AssertionError("a client that only receives was kept")


@test(versions=ALL, slow=True)
def keep_alive_0_is_for_ever(t, v):
    c = t.connect(keepalive=0)
    time.sleep(2.5)
    c.ping()


run()
