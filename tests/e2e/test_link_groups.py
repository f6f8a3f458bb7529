# tests/e2e/test_link_groups.py -- shared groups over three linked brokers, each message to one member.

import signal
import threading
import time

import mqtt
import paho.mqtt.client as paho
from broker import Broker, equal, free_port, main, seconds_until, true

NAMES = ["one", "two", "three"]
HEAD = """
[broker]
workers = 2
sys_interval = 1
[cluster]
name = {own}
suback = linked
[listener mqtt]
bind = 127.0.0.1:{port}
[listener clink]
bind = 127.0.0.1:{link_port}
"""
LINK = """
[link {other}]
server = 127.0.0.1:{other_port}
topics = #
retry_interval = 1s
shared_groups = {groups}
"""
LIMIT = 2 * mqtt.WAIT


class Member:
    """A client of paho's that keeps what comes."""

    def __init__(self, broker, name, *filters):
        self.got, self.lock, self.subscribed = [], threading.Lock(), 0
        self.client = paho.Client(client_id=name, protocol=paho.MQTTv5)
        self.client.on_message = self.on_message
        self.client.on_subscribe = self.on_subscribe
        self.client.connect(*broker.address)
        self.client.loop_start()
        for f in filters:
            self.client.subscribe(f, qos=1)
        seconds_until("SUBACK", lambda: self.subscribed == len(filters), LIMIT)

    def on_subscribe(self, *_):
        self.subscribed += 1

    def on_message(self, client, data, message):
        with self.lock:
            self.got.append(message.payload.decode())

    def count(self):
        with self.lock:
            return len(self.got)

    def publish(self, topic, count, qos=1):
        """Waits until the broker has acknowledged all of them."""
        sent = [self.client.publish(topic, f"{topic} {i}", qos) for i in range(count)]
        for one in sent:
            one.wait_for_publish(LIMIT)
            true(one.is_published(), "a publish was not acknowledged")

    def stop(self):
        self.client.disconnect()
        self.client.loop_stop()


class Mesh:
    def __init__(self, count=3, groups=None):
        groups = groups or ["global"] * count
        ports = [free_port() for _ in range(2 * count)]
        self.members, self.brokers = [], []
        for i in range(count):
            text = HEAD.format(own=NAMES[i], port=ports[i], link_port=ports[count + i])
            for j in range(count):
                if i != j:
                    text += LINK.format(other=NAMES[j], other_port=ports[count + j],
                                        groups=groups[i])
            self.brokers.append(Broker(text=text, ports=[ports[i], ports[count + i]]))
        for i in range(count):
            self.up(i, count - 1)

    def up(self, at, links):
        seconds_until("all links are up",
                      lambda: self.brokers[at].said().count("link up") >= links, LIMIT)

    def member(self, at, *filters):
        m = Member(self.brokers[at], f"m{len(self.members)}", *filters)
        self.members.append(m)
        return m

    def __enter__(self):
        return self

    def __exit__(self, *failed):
        for m in self.members:
            m.stop()
        for b in self.brokers:
            b.stop()


def came(members, count):
    """Until so many have come to all of them together; and then no more."""
    seconds_until(f"{count} messages", lambda: sum(m.count() for m in members) >= count, LIMIT)
    time.sleep(0.3)
    equal(sum(m.count() for m in members), count, "messages that came")
    return [m.count() for m in members]


def each_message_goes_to_one_member_the_local_one_first():
    with Mesh() as mesh:
        a, b = mesh.member(0, "$share/g/t/#"), mesh.member(1, "$share/g/t/#")
        plain = mesh.member(0, "t/+")
        pub = mesh.member(2)
        pub.publish("t/1", 100)
        equal(came([a, b], 100), [50, 50], "shares of the two")
        came([plain], 100)
        c = mesh.member(2, "$share/g/t/#")
        pub.publish("t/2", 50, 2)
        came([c], 50)
        equal(came([a, b], 100), [50, 50], "no more of the others")
        came([plain], 150)


def one_side_alone_makes_nothing_global():
    with Mesh(2, ["global", "local"]) as mesh:
        a, b = mesh.member(0, "$share/g/t"), mesh.member(1, "$share/g/t")
        mesh.member(0).publish("t", 20)
        equal(came([a, b], 40), [20, 20], "a copy for each cluster")
        true("shared groups not global" in mesh.brokers[0].said(), "it is not said")


def a_member_that_leaves_is_replaced_by_another_cluster():
    with Mesh() as mesh:
        a, b = mesh.member(0, "$share/g/t"), mesh.member(1, "$share/g/t")
        pub = mesh.member(0)
        pub.publish("t", 10)
        came([a], 10)
        a.stop()
        pub.publish("t", 10)
        came([b], 10)


def the_cluster_that_is_up_is_preferred_and_nothing_is_lost():
    with Mesh() as mesh:
        a, b = mesh.member(0, "$share/g/t"), mesh.member(1, "$share/g/t")
        pub = mesh.member(2)
        state = mesh.member(2, "$SYS/broker/links/one/messages/out/state")
        pub.publish("t", 10)
        equal(came([a, b], 10), [5, 5], "shares")
        seconds_until("messages can leave", lambda: state.got[-1:] == ["up"], LIMIT)
        mesh.brokers[0].process.send_signal(signal.SIGSTOP)
        try:
            seconds_until("nothing can leave", lambda: state.got[-1] == "connecting", LIMIT)
            pub.publish("t", 50)
            seconds_until("all at the other", lambda: b.count() >= 55, LIMIT)
        finally:
            mesh.brokers[0].process.send_signal(signal.SIGCONT)
        equal(came([a, b], 60), [5, 55], "shares")


main([each_message_goes_to_one_member_the_local_one_first, one_side_alone_makes_nothing_global,
      a_member_that_leaves_is_replaced_by_another_cluster,
      the_cluster_that_is_up_is_preferred_and_nothing_is_lost])
