# tests/e2e/test_link_ack.py -- ack = remote: who has a PUBACK has it because the other cluster has
# the message.

import signal
import threading

import mqtt
from broker import FOREIGN_PORT, Broker, equal, free_port, main, seconds_until
from mqtt import Client, Closed
from wan import Path

SIDE = """
[broker]
workers = 2
[cluster]
name = {own}
[listener mqtt]
bind = 127.0.0.1:{port}
[listener clink]
bind = 127.0.0.1:{link_port}
[link {other}]
server = 127.0.0.1:{other_port}
topics = {topics}
dialect = {dialect}
retry_interval = 1s
{more}
"""
DIALECTS = ("auto", "emqx")


class Pair:
    """Two linked brokers, here with `ack = remote`, and a path between them that can be cut; a
    writer here, a reader there."""

    def __init__(self, dialect="auto", more=""):
        here, there, here_link, there_link = [free_port() for _ in range(4)]
        self.path = Path(there_link)
        self.text = SIDE.format(own="here", other="there", port=here, link_port=here_link,
                                other_port=self.path.port, topics="", dialect=dialect,
                                more="ack = remote\n" + more)
        self.here = Broker(text=self.text, ports=[here, here_link])
        self.there = Broker(text=SIDE.format(own="there", other="here", port=there,
                                             link_port=there_link, other_port=here_link,
                                             topics="out/#", dialect=dialect, more=""),
                            ports=[there, there_link])
        self.brokers = [self.here, self.there]
        for b in self.brokers:
            seconds_until("the link is up", lambda b=b: "link up" in b.said(), 2 * mqtt.WAIT)
        self.reader = Client(self.there.address, 5).login("reader")
        self.writer = Client(self.here.address, 5).login("writer")
        self.reader.subscribe("out/#", 1)
        seconds_until("the route is there",
                      lambda: self.writer.publish("out/known", b"", 1) == 0, 2 * mqtt.WAIT)
        equal(self.reader.message().topic, "out/known", "the first message")

    def cut(self):
        self.path.ask("hold")

    def mend(self):
        self.path.ask("pass")

    def __enter__(self):
        return self

    def __exit__(self, *failed):
        for c in (self.reader, self.writer):
            c.close()
        for b in self.brokers:
            b.stop()
        self.path.end()


def nothing_comes(client, seconds=0.5):
    try:
        packet = client.recv(seconds)
    except mqtt.Failure:
        return
    raise mqtt.Failure(f"nothing should come, and {packet} has")


def payloads(reader, count):
    return [reader.message(timeout=3 * mqtt.WAIT).payload for _ in range(count)]


def publishers_wait_while_the_path_is_cut():
    for dialect in DIALECTS:
        with Pair(dialect) as pair:
            w = pair.writer
            equal(w.publish("out/1", b"before", 1), 0, "the PUBACK")
            equal(w.publish("out/1", b"too", 2), 0, "the PUBREC")
            equal(payloads(pair.reader, 2), [b"before", b"too"], "messages")
            pair.cut()
            w.send(mqtt.publish(5, "out/1", b"meanwhile", 1, pid=1000))
            w.send(mqtt.publish(5, "here/1", b"behind it", 1, pid=1001))
            nothing_comes(w, 4.5)  # the link is down by now, and dials in vain
            other = Client(pair.here.address, 5).login("other")
            equal(other.publish("here/1", b"x", 1), 0x10, "another client's PUBACK")
            other.close()
            pair.mend()
            equal(w.expect(mqtt.PUBACK).pid, 1000, "the first PUBACK")
            equal(w.expect(mqtt.PUBACK).pid, 1001, "the second PUBACK")
            equal(payloads(pair.reader, 1), [b"meanwhile"], "messages")


def a_client_that_comes_back_is_answered_and_nothing_goes_twice():
    with Pair() as pair:
        props = {"session_expiry": 1000}
        c = Client(pair.here.address, 5).login("comes-back", clean=False, props=props)
        pair.cut()
        c.send(mqtt.publish(5, "out/1", b"once", 1, pid=7))
        nothing_comes(c)
        c.close()
        c = Client(pair.here.address, 5).login("comes-back", clean=False, props=props)
        c.send(mqtt.publish(5, "out/1", b"once", 1, dup=True, pid=7))
        nothing_comes(c)
        pair.mend()
        equal(c.expect(mqtt.PUBACK).pid, 7, "the PUBACK")
        equal(c.publish("out/1", b"next", 1), 0, "the PUBACK of the next")
        equal(payloads(pair.reader, 2), [b"once", b"next"], "messages")
        c.close()


def a_full_queue_is_answered():
    with Pair(more="queue_bytes = 64KB\non_full = drop_newest") as pair:
        pair.cut()
        w, count = pair.writer, 300
        for pid in range(1, count + 1):
            w.send(mqtt.publish(5, "out/1", bytes(1000), 1, pid=pid))
        nothing_comes(w)  # what is dropped stands behind what waits
        pair.mend()
        acks = [w.recv(3 * mqtt.WAIT) for _ in range(count)]
        equal([a.pid for a in acks], list(range(1, count + 1)), "packet ids in order")
        reasons = {a.reason for a in acks}
        equal(reasons, {0, 0x97}, "reasons")
        payloads(pair.reader, sum(a.reason == 0 for a in acks))


def what_was_acknowledged_is_there_though_the_broker_is_killed():
    for dialect in DIALECTS:
        with Pair(dialect) as pair:
            acked, c = [], Client(pair.here.address, 5).login("hurried")

            def publish_all(c=c, acked=acked):
                sent = 0
                try:
                    while True:
                        while sent < len(acked) + 50:
                            sent += 1
                            c.send(mqtt.publish(5, "out/1", str(sent).encode(), 1, pid=sent))
                        acked.append(c.expect(mqtt.PUBACK, reason=0).pid)
                except (Closed, OSError, mqtt.Failure):
                    pass

            thread = threading.Thread(target=publish_all)
            thread.start()
            seconds_until("some are acknowledged", lambda a=acked: len(a) > 300, 4 * mqtt.WAIT)
            pair.brokers.remove(pair.here)
            pair.here.kill()
            thread.join()
            c.close()
            got = [int(p) for p in payloads(pair.reader, len(acked))]
            equal(acked, list(range(1, len(acked) + 1)), "acknowledged in order")
            equal(got, acked, "what the other cluster has")


def a_change_of_the_file_releases_who_waits():
    with Pair() as pair:
        pair.cut()
        pair.writer.send(mqtt.publish(5, "out/1", b"x", 1, pid=9))
        nothing_comes(pair.writer)
        with open(pair.here.config_path, "w", encoding="utf-8") as f:
            f.write(pair.text.replace("ack = remote", "ack = local"))
        pair.here.process.send_signal(signal.SIGHUP)
        equal(pair.writer.expect(mqtt.PUBACK).pid, 9, "the PUBACK")


if FOREIGN_PORT:
    print("ok acknowledgements_that_wait_need_our_own_broker")
else:
    main([publishers_wait_while_the_path_is_cut,
          a_client_that_comes_back_is_answered_and_nothing_goes_twice, a_full_queue_is_answered,
          what_was_acknowledged_is_there_though_the_broker_is_killed,
          a_change_of_the_file_releases_who_waits])
