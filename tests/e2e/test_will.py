# tests/e2e/test_will.py -- wills: when they are published and when not.

import socket
import struct
import time

from broker import equal, run, test, true
from mqtt import AS_PUBLISHED, Failure, connect, disconnect, frame

ALL = (3, 4, 5)


def will(t, tail="will", payload="gone", **rest):
    return {"topic": t.topic(tail), "payload": payload, **rest}


@test(versions=ALL)
def a_lost_connection_publishes_the_will(t, v):  # [MQTT-3.1.2-8], [MQTT-3.1.2-14]
    watch = t.subscriber(t.topic("#"), 2, version=5)
    for qos in (0, 1, 2):
        t.connect(will=will(t, payload=f"at {qos}", qos=qos)).drop()
        watch.message(topic=t.topic("will"), payload=f"at {qos}", qos=qos, retain=False)


@test(versions=ALL)
def a_reset_connection_publishes_the_will(t, v):
    watch = t.subscriber(t.topic("#"), version=5)
    c = t.connect(will=will(t))
    c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    c.close()
    watch.message(topic=t.topic("will"))


@test(versions=ALL)
def disconnect_removes_the_will(t, v):  # [MQTT-3.1.2-10], [MQTT-3.14.4-3]
    watch = t.subscriber(t.topic("#"), version=5)
    t.connect(will=will(t)).logout()
    t.nothing(watch, t.connect(5))


@test
def disconnect_with_will_publishes_it(t):  # 3.14.2.1: 0x04
    watch = t.subscriber(t.topic("#"))
    t.connect(5, will=will(t)).logout(0x04)
    watch.message(topic=t.topic("will"))


@test
def disconnect_with_an_error_publishes_it(t):  # [MQTT-3.1.2-10]: only 0x00 removes it
    watch = t.subscriber(t.topic("#"))
    for reason in (0x80, 0x81, 0x97):
        t.connect(5, will=will(t, payload=hex(reason))).logout(reason)
        watch.message(payload=hex(reason))


@test(versions=ALL)
def a_protocol_error_publishes_the_will(t, v):
    watch = t.subscriber(t.topic("#"), version=5)
    c = t.connect(will=will(t))
    c.send(frame(0, 0, b""))
    c.closed()
    watch.message(topic=t.topic("will"))


@test(versions=ALL)
def a_second_connect_publishes_the_will_of_the_first(t, v):
    watch = t.subscriber(t.topic("#"), version=5)
    c = t.connect(will=will(t))
    c.send(connect(v, c.id))
    c.closed()
    watch.message(topic=t.topic("will"))


@test(versions=ALL)
def a_will_may_be_retained(t, v):  # [MQTT-3.1.2-16], [MQTT-3.1.2-17]
    watch = t.subscriber(t.topic("#"), AS_PUBLISHED, version=5)
    t.connect(will=will(t, retain=True, qos=1)).drop()
    watch.message(retain=True)
    t.subscriber(t.topic("will"), 1).message(payload=b"gone", retain=True, qos=1)


@test(versions=ALL)
def a_will_that_is_not_retained_leaves_the_retained_one(t, v):
    pub = t.connect(5)
    pub.publish(t.topic("will"), b"kept", 1, retain=True)
    watch = t.subscriber(t.topic("will"))
    watch.message(payload=b"kept")
    t.connect(will=will(t)).drop()
    watch.message(payload=b"gone")
    t.subscriber(t.topic("will")).message(payload=b"kept", retain=True)


@test(versions=ALL)
def a_will_may_be_empty_or_binary(t, v):
    watch = t.subscriber(t.topic("#"), version=5)
    for payload in (b"", b"\0\xff\0", b"x" * 60000):
        t.connect(will=will(t, payload=payload)).drop()
        watch.message(payload=payload)


@test
def an_empty_retained_will_removes_the_retained_message(t):
    pub = t.connect(5)
    pub.publish(t.topic("will"), b"kept", 1, retain=True)
    watch = t.subscriber(t.topic("will"))
    watch.message()
    t.connect(4, will=will(t, payload=b"", retain=True)).drop()
    watch.message(payload=b"")
    t.nothing(t.subscriber(t.topic("will")), pub)


@test(versions=ALL)
def take_over_publishes_the_will(t, v):  # [MQTT-3.1.4-3], 3.1.2.5
    watch = t.subscriber(t.topic("#"), version=5)
    old = t.connect(will=will(t))
    new = t.connect(client_id=old.id)
    watch.message(topic=t.topic("will"))
    new.logout()
    t.nothing(watch, t.connect(5))


@test(versions=ALL)
def each_connect_brings_its_own_will(t, v):
    watch = t.subscriber(t.topic("#"), version=5)
    name = t.new_id()
    t.connect(client_id=name, clean=False, will=will(t, payload="1")).drop()
    watch.message(payload=b"1")
    t.connect(client_id=name, clean=False).drop()
    t.nothing(watch, t.connect(5))
    t.connect(client_id=name, clean=False, will=will(t, payload="2")).drop()
    watch.message(payload=b"2")


@test
def properties_of_the_will_are_delivered(t):  # [MQTT-3.1.3-10] and 3.1.3.2
    props = [("payload_format", 1), ("content_type", "text"), ("response_topic", "r/t"),
             ("correlation_data", b"\0\1"), ("user", ("b", "1")), ("user", ("a", "2")),
             ("user", ("b", "1")), ("message_expiry", 100)]
    watch = t.subscriber(t.topic("#"))
    t.connect(5, will=will(t, props=props)).drop()
    p = watch.message()
    equal([x for x in p.props if x[0] == "user"], props[4:7], "user properties")
    for name in ("payload_format", "content_type", "response_topic", "correlation_data"):
        equal(p.get(name), dict(props)[name], name)
    true(p.get("message_expiry") in (99, 100), f"message expiry {p.get('message_expiry')}")
    equal(p.get("will_delay"), None)


@test
def wrong_will_properties_are_refused(t):
    for props in ([("will_delay", 1), ("will_delay", 1)], [("topic_alias", 1)],
                  [("payload_format", 2)], [("content_type", "a"), ("content_type", "a")],
                  [("session_expiry", 1)], [("subscription_id", 1)],
                  [("response_topic", "a/#")], [("response_topic", b"\xff")]):
        c = t.raw(5)
        c.send(connect(5, t.new_id(), will=will(t, props=props)))
        c.refused(0, 0x81, 0x82, 0x90)


@test(versions=ALL)
def the_client_itself_may_get_its_will_later(t, v):
    name = t.new_id()
    keep = {"props": {"session_expiry": 100}} if v == 5 else {}
    c = t.connect(client_id=name, clean=False, will=will(t, qos=1), **keep)
    c.subscribe(t.topic("will"), 1)
    c.drop()
    t.connect(client_id=name, clean=False, **keep).message(payload=b"gone")


@test
def a_will_goes_to_shared_subscriptions(t):
    watch = t.subscriber(f"$share/g/{t.topic('will')}", 1)
    t.connect(5, will=will(t, qos=1)).drop()
    watch.message(payload=b"gone", qos=1)


@test
def many_wills_at_once_all_arrive(t):
    watch = t.subscriber(t.topic("#"), 1)
    clients = [t.connect(ALL[i % 3], will=will(t, str(i), qos=1)) for i in range(200)]
    for c in clients:
        c.close()
    equal(len({watch.message().topic for _ in range(200)}), 200, "wills")


@test
def a_will_delay_without_a_session_does_not_wait(t):  # [MQTT-3.1.3-9]: the session ends first
    watch = t.subscriber(t.topic("#"))
    began = time.monotonic()
    t.connect(5, will=will(t, props={"will_delay": 60})).drop()
    watch.message(topic=t.topic("will"))
    true(time.monotonic() - began < 2, "it waited")


@test
def a_clean_start_within_the_delay_publishes_the_will(t):  # [MQTT-3.1.2-8]: the session ends
    watch = t.subscriber(t.topic("#"))
    c = t.connect(5, will=will(t, props={"will_delay": 60}), props={"session_expiry": 100})
    c.drop()
    t.connect(5, client_id=c.id, clean=True)
    watch.message(topic=t.topic("will"))


@test
def taking_over_a_session_in_time_cancels_a_delayed_will(t):  # [MQTT-3.1.3-9]
    watch = t.subscriber(t.topic("#"))
    keep = {"session_expiry": 100}
    old = t.connect(5, will=will(t, props={"will_delay": 1}), props=keep)
    new = t.connect(5, client_id=old.id, clean=False, props=keep)
    time.sleep(1.5)
    new.ping()
    t.nothing(watch, t.connect(5))


@test(slow=True)
def a_will_waits_for_its_delay(t):  # [MQTT-3.1.3-9]
    watch = t.subscriber(t.topic("#"))
    c = t.connect(5, will=will(t, props={"will_delay": 1}), props={"session_expiry": 100})
    c.drop()
    began = time.monotonic()
    watch.message(topic=t.topic("will"))
    took = time.monotonic() - began
    true(0.8 <= took <= 2.5, f"it came after {took:.2f} s")


@test(slow=True)
def coming_back_in_time_cancels_the_will(t):  # [MQTT-3.1.3-9]
    watch = t.subscriber(t.topic("#"))
    keep = {"session_expiry": 100}
    c = t.connect(5, will=will(t, props={"will_delay": 1}), props=keep)
    c.drop()
    again = t.connect(5, client_id=c.id, clean=False, props=keep)
    time.sleep(2.2)
    again.ping()
    t.nothing(watch, t.connect(5))


@test(slow=True)
def the_end_of_the_session_ends_the_delay(t):  # [MQTT-3.1.2-8], CVE-2019-11778
    watch = t.subscriber(t.topic("#"))
    c = t.connect(5, will=will(t, props={"will_delay": 60}), props={"session_expiry": 1})
    c.drop()
    began = time.monotonic()
    watch.message(topic=t.topic("will"))
    took = time.monotonic() - began
    true(0.8 <= took <= 2.5, f"it came after {took:.2f} s")


@test(slow=True)
def disconnect_with_expiry_0_and_will_publishes_at_once(t):
    watch = t.subscriber(t.topic("#"))
    c = t.connect(5, will=will(t, props={"will_delay": 60}), props={"session_expiry": 100})
    c.logout(0x04, {"session_expiry": 0})
    watch.message(topic=t.topic("will"))


@test(versions=ALL, slow=True)
def a_silent_client_has_its_will_published(t, v):  # [MQTT-3.1.2-24]
    watch = t.subscriber(t.topic("#"), version=5)
    t.connect(keepalive=1, will=will(t))
    watch.message(topic=t.topic("will"), timeout=6)


@test(slow=True)
def the_expiry_of_a_will_starts_when_it_is_published(t):  # 3.1.3.2.4
    watch = t.subscriber(t.topic("#"))
    c = t.connect(5, will=will(t, props={"will_delay": 1, "message_expiry": 50}),
                  props={"session_expiry": 100})
    c.drop()
    p = watch.message()
    true(p.get("message_expiry") in (49, 50), f"message expiry {p.get('message_expiry')}")


@test(slow=True)
def a_will_is_published_once(t):
    watch = t.subscriber(t.topic("#"))
    keep = {"session_expiry": 100}
    c = t.connect(5, will=will(t, props={"will_delay": 1}), props=keep)
    c.drop()
    watch.message(topic=t.topic("will"))
    again = t.connect(5, client_id=c.id, clean=False, props=keep)
    again.drop()
    t.nothing(watch, t.connect(5))


@test
def a_will_before_connack_is_not_published(t):
    watch = t.subscriber(t.topic("#"))
    whole = connect(5, t.new_id(), will=will(t))
    c = t.raw(5)
    c.send(whole[:-1])
    c.close()
    c = t.raw(5)
    c.send(connect(5, t.new_id(), will=will(t), props={"auth_method": "x"}))
    c.refused(0x8C)
    t.nothing(watch, t.connect(5))


@test(versions=ALL)
def nothing_behind_disconnect_brings_the_will_back(t, v):
    watch = t.subscriber(t.topic("#"), version=5)
    c = t.connect(will=will(t))
    c.send(disconnect(v), frame(0, 0, b""))
    try:
        c.closed()
    except Failure:
        pass
    t.nothing(watch, t.connect(5))


run()
