# tests/e2e/test_link_retained.py -- retained = off | pass | sync of a link, with mosquitto's clients.

import subprocess

import mqtt
from broker import FOREIGN_PORT, Broker, equal, free_port, main, seconds_until

SIDE = """
[broker]
workers = {workers}
[cluster]
name = {own}
[listener mqtt]
bind = 127.0.0.1:{port}
[listener clink]
bind = 127.0.0.1:{link_port}
[link {other}]
server = 127.0.0.1:{other_port}
topics = shared/#
dialect = {dialect}
retained = {retained}
"""
LIMIT = 3 * mqtt.WAIT


class Pair:
    """Two linked brokers, which start and end one by one."""

    def __init__(self, retained, workers=2, dialect="auto"):
        ports = [free_port() for _ in range(4)]
        names = ["here", "there"]
        self.brokers = [None, None]
        self.ports = ports[:2]
        self.link_ports = ports[2:]
        self.texts = [SIDE.format(own=names[i], other=names[1 - i], port=ports[i],
                                  link_port=ports[2 + i], other_port=ports[3 - i],
                                  retained=retained, workers=workers, dialect=dialect)
                      for i in range(2)]

    def start(self, at):
        self.brokers[at] = Broker(text=self.texts[at],
                                  ports=[self.ports[at], self.link_ports[at]])

    def stop(self, at):
        self.brokers[at].stop()
        self.brokers[at] = None

    def wait_for_links(self):
        for b in self.brokers:
            seconds_until("the link is up", lambda b=b: "link up" in b.said(), LIMIT)

    def __enter__(self):
        return self

    def __exit__(self, *failed):
        for b in self.brokers:
            if b:
                b.stop()

    def retain(self, at, topic, payload):
        what = ["-m", payload] if payload else ["-n"]
        subprocess.run(["mosquitto_pub", "-p", str(self.ports[at]), "-q", "1", "-r", "-t", topic,
                        *what], check=True, timeout=mqtt.WAIT)

    def retained(self, at, topics="shared/#"):
        """What a new subscriber gets within a second."""
        out = subprocess.run(["mosquitto_sub", "-p", str(self.ports[at]), "-t", topics,
                              "--retained-only", "-v", "-W", "1"], capture_output=True, text=True,
                             timeout=LIMIT, check=False).stdout
        return sorted(out.splitlines())

    def becomes(self, at, *lines):
        seconds_until(f"broker {at} retains {lines}", lambda: self.retained(at) == sorted(lines),
                      LIMIT)


def what_is_retained_comes_with_the_link_and_then_live():
    for workers in (1, 3):
        with Pair("sync", workers) as pair:
            pair.start(0)
            pair.retain(0, "shared/a", "before")
            pair.retain(0, "private/a", "stays")
            pair.start(1)
            pair.becomes(1, "shared/a before")
            pair.retain(0, "shared/b", "live")
            pair.retain(1, "shared/c", "back")
            for at in range(2):
                pair.becomes(at, "shared/a before", "shared/b live", "shared/c back")
            equal(pair.retained(1, "private/#"), [], "what is not shared")


def a_value_written_and_one_removed_while_apart_are_so_on_both_sides():
    with Pair("sync") as pair:
        pair.start(0)
        pair.start(1)
        pair.wait_for_links()
        pair.retain(0, "shared/gone", "x")
        pair.retain(0, "shared/new", "old")
        pair.becomes(1, "shared/gone x", "shared/new old")
        pair.stop(1)
        pair.retain(0, "shared/gone", "")
        pair.retain(0, "shared/new", "newer")
        pair.start(1)
        pair.becomes(1, "shared/new newer")
        pair.becomes(0, "shared/new newer")
        pair.retain(1, "shared/new", "newest")
        pair.becomes(0, "shared/new newest")
        pair.retain(1, "shared/new", "")
        pair.becomes(0)


def a_broker_that_begins_anew_gets_all_back():
    count = 300
    with Pair("sync") as pair:
        pair.start(0)
        pair.start(1)
        pair.wait_for_links()
        for i in range(count):
            pair.retain(i % 2, f"shared/{i}", str(i))
        lines = [f"shared/{i} {i}" for i in range(count)]
        pair.becomes(0, *lines)
        pair.stop(0)
        pair.start(0)
        pair.becomes(0, *lines)
        pair.becomes(1, *lines)


def with_pass_what_is_delivered_is_retained_in_both_dialects():
    for dialect in ("auto", "emqx"):
        with Pair("pass", dialect=dialect) as pair:
            pair.start(0)
            pair.start(1)
            pair.wait_for_links()
            sub = mqtt.Client(pair.brokers[1].address, 5).login("reader")
            sub.subscribe("shared/#")
            for i in range(200):  # until the route is there
                pair.retain(0, "shared/a", f"x{i}")
                if pair.retained(1):
                    break
            pair.retain(0, "shared/b", "y")
            pair.becomes(1, f"shared/a x{i}", "shared/b y")
            pair.retain(0, "shared/a", "")
            pair.becomes(1, "shared/b y")
            sub.close()


def with_off_nothing_is_retained():
    with Pair("off") as pair:
        pair.start(0)
        pair.start(1)
        pair.wait_for_links()
        sub = mqtt.Client(pair.brokers[1].address, 5).login("reader")
        sub.subscribe("shared/#")
        came = []
        for i in range(200):
            pair.retain(0, "shared/a", f"x{i}")
            came += [p for p in [sub.recv(0.5, quiet=True)] if p]
            if came:
                break
        equal(came[0].topic, "shared/a", "the topic")
        equal(pair.retained(1), [], "what is retained")
        sub.close()


if FOREIGN_PORT:
    print("ok retained_of_links_needs_our_own_broker")
else:
    main([what_is_retained_comes_with_the_link_and_then_live,
          a_value_written_and_one_removed_while_apart_are_so_on_both_sides,
          a_broker_that_begins_anew_gets_all_back,
          with_pass_what_is_delivered_is_retained_in_both_dialects, with_off_nothing_is_retained])
