# tests/e2e/test_link_suback.py -- suback = linked: who has a SUBACK misses nothing of the other side.

import signal
import time

import mqtt
from broker import FOREIGN_PORT, Broker, equal, free_port, main, seconds_until, true
from mqtt import Client

SIDE = """
[broker]
workers = {workers}
[cluster]
name = {own}
suback = {suback}
[listener mqtt]
bind = 127.0.0.1:{port}
[listener clink]
bind = 127.0.0.1:{link_port}
[link {other}]
server = 127.0.0.1:{other_port}
topics = in/#
dialect = {dialect}
"""
TIMES = 500
WAITS = 2.0  # BARRIERS_WAIT_MS


class Pair:
    """Two linked brokers; the first one's SUBACKs wait."""

    def __init__(self, suback="linked", workers=2, dialect="auto"):
        ports = [free_port() for _ in range(4)]
        names = ["here", "there"]
        self.brokers = []
        for i in range(2):
            self.brokers.append(Broker(text=SIDE.format(
                own=names[i], other=names[1 - i], port=ports[i], link_port=ports[2 + i],
                other_port=ports[3 - i], suback=suback, workers=workers, dialect=dialect),
                ports=[ports[i], ports[2 + i]]))
        self.clients = [self.connect(i, name) for i, name in enumerate(names)]
        for b in self.brokers:
            seconds_until("the link is up", lambda b=b: "link up" in b.said(), 2 * mqtt.WAIT)

    def connect(self, at, name):
        return Client(self.brokers[at].address, 5).login(f"client-{name}")

    def __enter__(self):
        return self

    def __exit__(self, *failed):
        for c in self.clients:
            c.close()
        for b in self.brokers:
            b.stop()


def nothing_is_missed(pair, filters, qos=1):
    sub, pub = pair.clients
    for i in range(TIMES):
        topic = f"in/{i}/x"
        sub.subscribe(filters(i))
        pub.publish(topic, str(i), qos)
        p = sub.message()
        equal((p.topic, p.payload), (topic, str(i).encode()), "the next message")


def what_is_published_there_after_the_suback_arrives():
    for workers in (1, 2, 3):
        with Pair(workers=workers) as pair:
            nothing_is_missed(pair, lambda i: f"in/{i}/x")


def so_it_does_by_wildcards():
    with Pair() as pair:
        nothing_is_missed(pair, lambda i: f"in/{i}/#", 0)


def so_it_does_by_shared_subscriptions():
    with Pair() as pair:
        nothing_is_missed(pair, lambda i: f"$share/g{i % 3}/in/{i}/+")


def so_it_does_while_others_subscribe_all_the_time():
    with Pair() as pair:
        noise = pair.connect(0, "noise")
        for at in range(20):
            noise.send(*[mqtt.subscribe(5, 1 + i, [(f"in/noise/{at}/{i}", 0)])
                         for i in range(200)])
            topic = f"in/quiet/{at}"
            pair.clients[0].subscribe(topic)
            pair.clients[1].publish(topic, "x", 1)
            equal(pair.clients[0].message().topic, topic, "the topic")
            for _ in range(200):
                equal(noise.recv().kind, mqtt.SUBACK, "the answer")
        pair.clients.append(noise)


def seconds_for_a_suback(client, topic):
    begin = time.monotonic()
    client.subscribe(topic)
    return time.monotonic() - begin


def a_frozen_peer_is_waited_for_a_bounded_time():
    with Pair() as pair:
        pair.brokers[1].process.send_signal(signal.SIGSTOP)
        try:
            took = seconds_for_a_suback(pair.clients[0], "in/frozen")
            true(took < WAITS + 1, f"the SUBACK took {took:.1f} s")
            took = seconds_for_a_suback(pair.clients[0], "out/frozen")
            true(took < WAITS / 2, f"of what the link does not take it took {took:.1f} s")
        finally:
            pair.brokers[1].process.send_signal(signal.SIGCONT)


def a_peer_that_is_gone_is_not_waited_for():
    with Pair() as pair:
        pair.brokers.pop().stop()
        seconds_until("the link is down", lambda: "link down" in pair.brokers[0].said(),
                      2 * mqtt.WAIT)
        took = seconds_for_a_suback(pair.clients[0], "in/gone")
        true(took < WAITS / 2, f"the SUBACK took {took:.1f} s")


def in_the_dialect_of_emqx_subacks_come_too():
    with Pair(dialect="emqx") as pair:
        for i in range(50):
            took = seconds_for_a_suback(pair.clients[0], f"in/{i}")
            true(took < WAITS / 2, f"the SUBACK took {took:.1f} s")


if FOREIGN_PORT:
    print("ok subacks_that_wait_need_our_own_broker")
else:
    main([what_is_published_there_after_the_suback_arrives, so_it_does_by_wildcards,
          so_it_does_by_shared_subscriptions, so_it_does_while_others_subscribe_all_the_time,
          a_frozen_peer_is_waited_for_a_bounded_time, a_peer_that_is_gone_is_not_waited_for,
          in_the_dialect_of_emqx_subacks_come_too])
