# tests/e2e/test_paho.py -- Eclipse paho for Python, MQTT 3.1, 3.1.1 and 5, against our broker.

import threading

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

import mqtt
from broker import equal, run, seconds_until, test, true

ALL = (3, 4, 5)
VERSION = {3: paho.MQTTv31, 4: paho.MQTTv311, 5: paho.MQTTv5}


class Peer:
    """A paho client with its network thread; what it got is in `messages`."""

    def __init__(self, t, version, name, clean=True, expiry=0, will=None, connect_props=None):
        self.version = version
        self.messages = []
        self.acked = set()
        self.granted = {}
        self.reason = None
        self.up = threading.Event()
        self.down = threading.Event()
        rest = {} if version == 5 else {"clean_session": clean}
        self.client = c = paho.Client(name, protocol=VERSION[version], **rest)
        c.on_connect = self.on_connect
        c.on_disconnect = lambda *a: self.down.set()
        c.on_message = lambda c, u, m: self.messages.append(m)
        c.on_publish = lambda c, u, mid: self.acked.add(mid)
        c.on_subscribe = self.on_subscribe
        c.reconnect_delay_set(60, 60)
        if will:
            c.will_set(**will)
        rest = {}
        if version == 5:
            props = connect_props or Properties(PacketTypes.CONNECT)
            if expiry:
                props.SessionExpiryInterval = expiry
            rest = {"clean_start": clean, "properties": props}
        c.connect(*t.broker.address, keepalive=30, **rest)
        c.loop_start()
        true(self.up.wait(mqtt.WAIT), "paho does not connect")
        t.clients.append(self)

    id = "paho"
    trace = ()

    def on_connect(self, client, user, flags, reason, *rest):
        self.flags, self.reason = flags, int(getattr(reason, "value", reason))
        self.up.set()

    def on_subscribe(self, client, user, mid, granted, *rest):
        self.granted[mid] = [int(getattr(g, "value", g)) for g in granted]

    def subscribe(self, *args, **rest):
        _, mid = self.client.subscribe(*args, **rest)
        seconds_until("SUBACK", lambda: mid in self.granted)
        return self.granted[mid]

    def publish(self, *args, **rest):
        info = self.client.publish(*args, **rest)
        info.wait_for_publish(mqtt.WAIT)
        true(info.is_published(), "not published")

    def wait(self, count):
        seconds_until(f"{count} messages", lambda: len(self.messages) >= count)
        return self.messages

    def kill(self):
        """Ends the connection without DISCONNECT."""
        self.client.loop_stop()
        self.client._sock_close()

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


@test(versions=ALL)
def all_qos_in_both_directions(t, v):
    sub, pub = Peer(t, v, t.new_id()), Peer(t, v, t.new_id())
    for granted in (0, 1, 2):
        topic = t.topic(str(granted))
        equal(sub.subscribe(topic, granted), [granted])
        for qos in (0, 1, 2):
            pub.publish(topic, f"{qos}", qos)
    got = sorted((m.topic, int(m.payload), m.qos) for m in sub.wait(9))
    equal(got, sorted((t.topic(str(g)), q, min(g, q)) for g in (0, 1, 2) for q in (0, 1, 2)))


@test(versions=ALL)
def retained_messages(t, v):
    pub = Peer(t, v, t.new_id())
    pub.publish(t.topic(), "kept", 1, retain=True)
    sub = Peer(t, v, t.new_id())
    sub.subscribe(t.topic("#"), 1)
    m = sub.wait(1)[0]
    equal((m.payload, bool(m.retain)), (b"kept", True))
    pub.publish(t.topic(), "", 1, retain=True)
    sub.wait(2)
    late = Peer(t, v, t.new_id())
    late.subscribe([(t.topic("#"), 1), (t.topic("mark"), 1)])
    pub.publish(t.topic("mark"), "x", 1)
    equal(late.wait(1)[0].payload, b"x")


@test(versions=ALL)
def wills(t, v):
    watch = Peer(t, v, t.new_id())
    watch.subscribe(t.topic("will"), 2)
    dying = Peer(t, v, t.new_id(), will={"topic": t.topic("will"), "payload": "gone", "qos": 2})
    dying.kill()
    m = watch.wait(1)[0]
    equal((m.payload, m.qos), (b"gone", 2))


@test(versions=ALL)
def sessions_are_resumed(t, v):
    name = t.new_id()
    sub = Peer(t, v, name, clean=False, expiry=60)
    sub.subscribe(t.topic(), 2)
    sub.close()
    pub = Peer(t, v, t.new_id())
    for i in range(20):
        pub.publish(t.topic(), str(i), i % 2 + 1)
    sub = Peer(t, v, name, clean=False, expiry=60)
    if v != 3:
        equal(sub.flags["session present"], 1)
    equal(sorted(int(m.payload) for m in sub.wait(20)), list(range(20)))


@test(versions=(4, 5))
def shared_subscriptions(t, v):
    subs = [Peer(t, v, t.new_id()) for _ in range(3)]
    for sub in subs:
        sub.subscribe(f"$share/g/{t.topic()}", 1)
    pub = Peer(t, v, t.new_id())
    for i in range(30):
        pub.publish(t.topic(), str(i), 1)
    for sub in subs:
        equal(len(sub.wait(10)), 10)
    equal(sorted(int(m.payload) for s in subs for m in s.messages), list(range(30)))


@test(versions=ALL)
def a_thousand_messages_in_order(t, v):
    sub, pub = Peer(t, v, t.new_id()), Peer(t, v, t.new_id())
    for qos in (0, 1, 2):
        sub.messages.clear()
        topic = t.topic(str(qos))
        sub.subscribe(topic, qos)
        infos = [pub.client.publish(topic, str(i), qos) for i in range(300)]
        infos[-1].wait_for_publish(mqtt.WAIT)
        equal([int(m.payload) for m in sub.wait(300)], list(range(300)))


@test(versions=ALL)
def unsubscribing(t, v):
    c = Peer(t, v, t.new_id())
    c.subscribe([(t.topic("a"), 1), (t.topic("b"), 1)])
    done = threading.Event()
    c.client.on_unsubscribe = lambda *a: done.set()
    c.client.unsubscribe(t.topic("a"))
    true(done.wait(mqtt.WAIT), "no UNSUBACK")
    c.publish(t.topic("a"), "x", 1)
    c.publish(t.topic("b"), "y", 1)
    equal([m.payload for m in c.wait(1)], [b"y"])


@test(versions=ALL)
def a_large_message(t, v):
    c = Peer(t, v, t.new_id())
    c.subscribe(t.topic(), 2)
    payload = bytes(range(256)) * 2000
    c.publish(t.topic(), payload, 2)
    true(c.wait(1)[0].payload == payload, "the payload was changed")


@test
def properties_of_mqtt_5(t):
    sub, pub = Peer(t, 5, t.new_id()), Peer(t, 5, t.new_id())
    subscribe_props = Properties(PacketTypes.SUBSCRIBE)
    subscribe_props.SubscriptionIdentifier = 7
    sub.subscribe(t.topic(), options=SubscribeOptions(qos=2, noLocal=True, retainAsPublished=True),
                  properties=subscribe_props)
    props = Properties(PacketTypes.PUBLISH)
    props.UserProperty = [("b", "1"), ("a", "2")]
    props.ContentType = "text"
    props.ResponseTopic = "r"
    props.CorrelationData = b"c"
    props.PayloadFormatIndicator = 1
    props.MessageExpiryInterval = 100
    pub.publish(t.topic(), "x", 2, retain=True, properties=props)
    m = sub.wait(1)[0]
    got = m.properties
    equal(got.UserProperty, [("b", "1"), ("a", "2")])
    equal((got.ContentType, got.ResponseTopic, got.CorrelationData, got.PayloadFormatIndicator),
          ("text", "r", b"c", 1))
    true(got.MessageExpiryInterval in (99, 100), "message expiry")
    equal(got.SubscriptionIdentifier, [7])
    true(m.retain, "retain as published")
    pub.publish(t.topic(), "", 1, retain=True)


@test
def a_topic_alias_of_mqtt_5(t):
    sub, pub = Peer(t, 5, t.new_id()), Peer(t, 5, t.new_id())
    sub.subscribe(t.topic(), 1)
    for i in range(3):
        props = Properties(PacketTypes.PUBLISH)
        props.TopicAlias = 4
        pub.publish(t.topic() if i == 0 else "", str(i), 1, properties=props)
    equal([(m.topic, m.payload) for m in sub.wait(3)], [(t.topic(), b"%d" % i) for i in range(3)])


@test(versions=ALL)
def a_second_client_takes_over(t, v):
    old = Peer(t, v, t.new_id())
    new = Peer(t, v, old.client._client_id.decode())
    true(old.down.wait(mqtt.WAIT), "the old client is still connected")
    new.publish(t.topic(), "x", 1)


@test(versions=ALL)
def clients_without_an_id(t, v):
    c = Peer(t, v, "" if v != 3 else "given")
    c.subscribe(t.topic(), 1)
    c.publish(t.topic(), "x", 1)
    c.wait(1)


run()
