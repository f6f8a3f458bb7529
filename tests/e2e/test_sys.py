# tests/e2e/test_sys.py -- the topics under $SYS/broker/, named as mosquitto names them.

import re

from broker import equal, run, seconds_until, test, true
from mqtt import CONNACK, Failure, connect, publish

NUMBER = r"\d+"
DECIMAL = r"\d+(\.\d+)?"
EXPECTED = {
    "version": r"\S.*", "uptime": r"\d+ seconds",
    "clients/total": NUMBER, "clients/connected": NUMBER, "clients/disconnected": NUMBER,
    "clients/maximum": NUMBER, "clients/expired": NUMBER, "clients/active": NUMBER,
    "clients/inactive": NUMBER,
    "messages/received": NUMBER, "messages/sent": NUMBER, "messages/stored": NUMBER,
    "publish/messages/received": NUMBER, "publish/messages/sent": NUMBER,
    "publish/messages/dropped": NUMBER, "publish/bytes/received": NUMBER,
    "publish/bytes/sent": NUMBER, "bytes/received": NUMBER, "bytes/sent": NUMBER,
    "store/messages/count": NUMBER, "store/messages/bytes": NUMBER,
    "retained messages/count": NUMBER, "subscriptions/count": NUMBER,
    "shared_subscriptions/count": NUMBER, "heap/current": NUMBER, "heap/maximum": NUMBER,
}
for load in ("messages/received", "messages/sent", "publish/received", "publish/sent",
             "publish/dropped", "bytes/received", "bytes/sent", "sockets", "connections"):
    for span in ("1min", "5min", "15min"):
        EXPECTED[f"load/{load}/{span}"] = DECIMAL


# Not published while it is 0.
for span in ("1min", "5min", "15min"):
    del EXPECTED[f"load/publish/dropped/{span}"]


class Watch:
    """The values of $SYS, as they come."""

    def __init__(self, t):
        self.client = t.subscriber("$SYS/broker/#", 1)
        self.values = {}

    def look(self):
        while True:
            p = self.client.recv(0, quiet=True)
            if p is None:
                return self.values
            self.client.acknowledge(p)
            self.values[p.topic[len("$SYS/broker/"):]] = p.payload.decode()

    def settled(self):
        """The values when everything done so far is in them."""
        for _ in range(2):
            self.until("uptime", lambda v: True)
            last = self.values["uptime"]
            self.until("uptime", lambda v: v != last)
        return dict(self.look())

    def until(self, key, condition):
        seconds_until(f"{key} is as it should be",
                      lambda: key in self.look() and condition(self.values[key]))


@test
def all_topics_of_mosquitto_are_there(t):
    w = Watch(t)
    keep = t.subscriber(t.topic(), 1, props={"session_expiry": 1})
    c = t.connect(5)
    c.publish(t.topic(), b"x", 1, retain=True)
    keep.drop()
    try:
        seconds_until("all topics came", lambda: set(EXPECTED) <= set(w.look()))
    except Failure:
        raise Failure(f"missing: {sorted(set(EXPECTED) - set(w.values))}") from None
    for key, form in EXPECTED.items():
        true(re.fullmatch(form, w.values[key]), f"{key} is {w.values[key]!r}")
    true(int(w.values["heap/current"]) > 100000 or t.broker.is_sanitized,
         f"{w.values['heap/current']} are no bytes")


@test
def they_are_retained(t):
    Watch(t).until("version", lambda v: True)
    t.subscriber("$SYS/broker/version").message(retain=True)
    t.subscriber("$SYS/broker/retained messages/count").message(retain=True)


@test
def wildcards_at_the_beginning_do_not_find_them(t):  # [MQTT-4.7.2-1], CVE-2024-42655
    Watch(t).until("uptime", lambda v: True)
    sub = t.subscriber(["#", "+/broker/#", "+/broker/uptime"])
    found = [p.topic for p in t.until_mark(sub, t.connect(5))]
    equal([x for x in found if x.startswith("$")], [])


@test
def wildcards_further_on_find_them(t):
    Watch(t).until("uptime", lambda v: True)
    t.subscriber("$SYS/#").message()
    t.subscriber("$SYS/+/uptime").message(topic="$SYS/broker/uptime")
    t.subscriber("$SYS/broker/+/count").message()


@test
def the_uptime_goes_on(t):
    w = Watch(t)
    w.until("uptime", lambda v: True)
    first = int(w.values["uptime"].split()[0])
    w.until("uptime", lambda v: int(v.split()[0]) > first)


@test
def clients_are_counted(t):
    w = Watch(t)
    w.until("clients/connected", lambda v: int(v) == 1)
    keep = t.connect(5, props={"session_expiry": 60})
    others = [t.connect(4) for _ in range(4)]
    w.until("clients/connected", lambda v: int(v) == 6)
    w.until("clients/maximum", lambda v: int(v) >= 6)
    keep.drop()
    for c in others:
        c.drop()
    w.until("clients/connected", lambda v: int(v) == 1)
    w.until("clients/disconnected", lambda v: int(v) == 1)
    w.until("clients/total", lambda v: int(v) == 2)
    t.connect(5, client_id=keep.id, clean=True)
    w.until("clients/disconnected", lambda v: int(v) == 0)


@test
def messages_and_bytes_are_counted(t):
    w = Watch(t)
    w.until("publish/messages/received", lambda v: True)
    w.until("publish/bytes/received", lambda v: True)
    before = {k: int(w.values[k]) for k in ("publish/messages/received", "publish/bytes/received")}
    sub, pub = t.subscriber(t.topic(), 1), t.connect(5)
    for _ in range(50):
        pub.publish(t.topic(), bytes(100), 1)
        sub.message()
    w.until("publish/messages/received",
            lambda v: int(v) >= before["publish/messages/received"] + 50)
    w.until("publish/bytes/received", lambda v: int(v) >= before["publish/bytes/received"] + 5000)
    w.until("publish/messages/sent", lambda v: int(v) >= 50)
    w.until("bytes/received", lambda v: int(v) > 5000)
    w.until("bytes/sent", lambda v: int(v) > 5000)
    w.until("messages/received", lambda v: int(v) > 50)


@test
def subscriptions_are_counted(t):
    w = Watch(t)
    start = int(w.settled()["subscriptions/count"])
    c = t.subscriber([t.topic(str(i)) for i in range(10)])
    w.until("subscriptions/count", lambda v: int(v) == start + 10)
    c.subscribe([f"$share/g/{t.topic()}", f"$share/h/{t.topic()}"])
    w.until("shared_subscriptions/count", lambda v: int(v) == 2)
    c.drop()
    w.until("subscriptions/count", lambda v: int(v) == start)
    w.until("shared_subscriptions/count", lambda v: int(v) == 0)


@test
def retained_messages_are_counted(t):
    w = Watch(t)
    start = int(w.settled()["retained messages/count"])
    true(start > 0, "the topics of $SYS are retained messages")
    pub = t.connect(5)
    for i in range(7):
        pub.publish(t.topic(str(i)), b"x", 1, retain=True)
    w.until("retained messages/count", lambda v: int(v) >= start + 7)
    for i in range(7):
        pub.publish(t.topic(str(i)), b"", 1, retain=True)
    w.until("retained messages/count", lambda v: int(v) <= start + 2)


@test(limits={"max_queued_messages": 5}, broker={"sys_interval": "1s"})
def dropped_messages_are_counted(t):
    w = Watch(t)
    before = int(w.settled().get("publish/messages/dropped", 0))
    keep = t.subscriber(t.topic(), 1, props={"session_expiry": 60})
    keep.drop()
    pub = t.connect(5)
    for _ in range(15):
        pub.publish(t.topic(), b"x", 1)
    w.until("publish/messages/dropped", lambda v: int(v) >= before + 10)


@test
def clients_cannot_write_there(t):
    w = Watch(t)
    w.until("version", lambda v: True)
    c = t.connect(5)
    for qos in (1, 2):
        reason = c.publish("$SYS/broker/version", b"forged", qos, retain=True)
        equal(reason, 0x87, f"reason at QoS {qos}")
    c.publish("$SYS/broker/version", b"forged", 0, retain=True)
    c.ping()
    old = t.connect(4)
    old.publish("$SYS/broker/version", b"forged", 1, retain=True)
    old.publish("$SYS/broker/version", b"", 2, retain=True)
    true(t.subscriber("$SYS/broker/version").message().payload != b"forged", "it was forged")
    equal(w.look()["version"] == "forged", False)


@test(versions=(3, 4))
def a_bridge_may_tell_its_state(t, v):  # mosquitto's bridges do, unless told otherwise
    topic = f"$SYS/broker/connection/{t.base}/state"
    c = t.raw()
    c.send(connect(v, t.new_id(), level=0x80 | v,
                   will={"topic": topic, "payload": "0", "retain": True}))
    c.expect(CONNACK, reason=0)
    c.publish(topic, b"1", 1, retain=True)
    c.publish(t.topic(), b"x", 1)
    c.drop()
    t.connect(5).ping()


@test
def nothing_unchanged_is_sent_again(t):
    w = Watch(t)
    w.until("version", lambda v: True)
    w.until("uptime", lambda v: True)
    first = int(w.values["uptime"].split()[0])
    del w.values["version"]
    w.until("uptime", lambda v: int(v.split()[0]) >= first + 2)
    true("version" not in w.values, "the version came again")


@test
def other_dollar_topics_are_ordinary(t):  # CVE-2018-12543
    sub = t.subscriber("$something/#", 1)
    c = t.connect(5)
    for topic in ("$something/x", "$something", "$something/SYS"):
        c.publish(topic, b"x", 1)
        sub.message(topic=topic)
    c.publish("$", b"x", 1)
    c.publish("$/x", b"x", 1)
    c.publish("$SYSTEM/x", b"x", 1)
    c.ping()


@test(broker={"sys_interval": 0})
def they_may_be_turned_off(t):
    sub = t.subscriber("$SYS/#")
    pub = t.connect(5)
    pub.send(*[publish(5, t.topic(), b"x") for _ in range(10)])
    t.nothing(sub, pub)


run(broker={"sys_interval": "1s"})
