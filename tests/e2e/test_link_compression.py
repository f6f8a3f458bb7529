# tests/e2e/test_link_compression.py -- compression = on: messages cross in fewer bytes, as they were.

import json

import mqtt
from broker import FOREIGN_PORT, Broker, equal, free_port, main, seconds_until, true
from mqtt import Client

SIDE = """
[broker]
workers = 2
sys_interval = 1s
[cluster]
name = {own}
[listener mqtt]
bind = 127.0.0.1:{port}
[listener clink]
bind = 127.0.0.1:{link_port}
[link {other}]
server = 127.0.0.1:{other_port}
topics = out/#
compression = {compression}
"""
COUNT = 2000
SENT = COUNT + COUNT // 500 + 1  # with the large ones, and the first


class Pair:
    """Two linked brokers, each with its own `compression`; a writer here, a reader there."""

    def __init__(self, *compression):
        ports = [free_port() for _ in range(4)]
        names = ["here", "there"]
        self.brokers = [Broker(text=SIDE.format(
            own=names[i], other=names[1 - i], port=ports[i], link_port=ports[2 + i],
            other_port=ports[3 - i], compression=compression[i]),
            ports=[ports[i], ports[2 + i]]) for i in range(2)]
        for b in self.brokers:
            seconds_until("the link is up", lambda b=b: "link up" in b.said(), 2 * mqtt.WAIT)
        self.writer, self.reader = [Client(b.address, 5).login(f"client-{n}")
                                    for b, n in zip(self.brokers, names)]
        self.reader.subscribe("out/#", 1)
        seconds_until("the route", lambda: self.writer.publish("out/known", b"", 1) == 0)
        self.reader.message()

    def saved(self):
        """What the status says of all that was sent: all topics of one look stand before those of
        the next one, in which one more was sent."""
        c = Client(self.brokers[0].address, 5).login("status")
        c.subscribe("$SYS/broker/links/there/messages/out/#")
        said = {"sent": 0}
        for count in (SENT, SENT + 1):
            while said["sent"] < count:
                p = c.message()
                name = p.topic.rsplit("/", 1)[1]
                if name in ("sent", "saved_bytes"):
                    said[name] = int(p.payload)
            self.writer.publish("out/1", b"x", 1)
        c.close()
        return said["saved_bytes"]

    def __enter__(self):
        return self

    def __exit__(self, *failed):
        self.writer.close()
        self.reader.close()
        for b in self.brokers:
            b.stop()


def payload_of(i):
    return json.dumps({"device": f"pump-{i % 50}", "value": i, "state": "running"}).encode()


def send(pair):
    """Many at once, and a large one between them; all must come as they were, in order."""
    large = bytes(range(256)) * 800
    for begin in range(0, COUNT, 500):
        pair.writer.send(*[mqtt.publish(5, "out/1", payload_of(i))
                           for i in range(begin, begin + 500)])
        pair.writer.send(mqtt.publish(5, "out/1", large))
        for i in range(begin, begin + 500):
            equal(pair.reader.message().payload, payload_of(i), "the next message")
        equal(pair.reader.message().payload, large, "the large one")


def messages_cross_in_fewer_bytes():
    with Pair("on", "on") as pair:
        send(pair)
        saved = pair.saved()
        true(saved > COUNT * 30, f"{saved} bytes saved of {COUNT} messages")


def nothing_is_compressed_where_one_side_does_not_take_it():
    for compression in (("on", "off"), ("off", "on")):
        with Pair(*compression) as pair:
            send(pair)
            equal(pair.saved(), 0, "bytes saved")


if FOREIGN_PORT:
    print("ok compression_of_links_needs_our_own_broker")
else:
    main([messages_cross_in_fewer_bytes, nothing_is_compressed_where_one_side_does_not_take_it])
