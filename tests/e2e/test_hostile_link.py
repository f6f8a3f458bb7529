# tests/e2e/test_hostile_link.py -- who is let in as a broker of ours, or only says so, and means
# harm: the link worker lives on, bounded, and works for the others.

import statistics
import struct
import threading
import time

import mqtt
from broker import Failure, equal, run, seconds_until, test, true
from mqtt import (PINGREQ, PINGRESP, PUBLISH, Client, Closed, connect, frame, publish,
                  subscribe, text, varint)

MB = 1 << 20
CONFIG = """
[broker]
workers = 2
sys_interval = 1
[cluster]
name = alpha
link_workers = 1
[limits]
memory_limit = 256M
[listener mqtt]
bind = 127.0.0.1:{port}
[link beta]
server = 127.0.0.1:1
topics = #
max_routes = 20000
[link gamma]
server = 127.0.0.1:1
topics = #
"""
ROUTES, BEAT, ROUTES_ACK, OPEN, OPENED, MESSAGES, ACK = range(1, 8)
LARGE = (1 << 64) - 1


# ---- the dialect, by hand ----

def id8(n):
    return struct.pack(">Q", n)


def counted(data):
    return varint(len(data)) + data


def number(n):
    return b"\x61" + bytes([n])


def binary(s):
    return b"\x6d" + struct.pack(">I", len(s)) + s


def introduction(cluster, incarnation, target=b"alpha", actor=b"1"):
    """An actor_init that offers the native dialect."""
    big = b"\x6e\x06\0" + struct.pack("<Q", incarnation)[:6]
    term = (b"\x83\x74" + struct.pack(">I", 6) + number(10) + binary(actor) + number(11) + big +
            number(13) + binary(target) + number(14) + number(1) + number(100) +
            b"\x74" + struct.pack(">I", 1) + binary(b"native") + number(1) +
            b"\x77\x03$op" + binary(b"actor_init"))
    return publish(5, f"$LINK/cluster/route/{cluster}", term, 0,
                   props=[("response_topic", f"$LINK/cluster/resp/{cluster}/1"),
                          ("correlation_data", b"x")])


def native(cluster, payload):
    return publish(5, f"$LINK/cluster/native/{cluster}", payload)


def opening(boot):
    return bytes([OPEN]) + id8(boot) + varint(1) + varint(0) + varint(1)


def record(topic, payload=b"x", flags=0, stamp=0):
    return (bytes([flags, 5]) + varint(stamp) + counted(topic) + counted(b"") +
            counted(payload))


def messages(first, records):
    return bytes([MESSAGES]) + varint(first) + varint(len(records)) + b"".join(records)


def add(common, rest):
    return b"\0" + varint(common) + counted(rest)


def routes(generation, n, ops):
    return bytes([ROUTES]) + varint(generation) + varint(n) + varint(len(ops)) + b"".join(ops)


def beat(generation, n, count=0, digest=0, is_end=0):
    return (bytes([BEAT]) + varint(generation) + varint(n) + varint(count) + id8(digest) +
            bytes([is_end]))


class Speaker(Client):
    """A connection that says it is a broker of `cluster`."""

    def __init__(self, t, cluster="beta", client_id=None, props=(), **rest):
        super().__init__(t.broker.address, 5, **rest)
        t.clients.append(self)
        self.cluster = cluster
        self.login(client_id or t.new_id(cluster),
                   props=[("user", ("causeway-link", cluster))] + list(props))

    def introduce(self, incarnation=None):
        self.send(introduction(self.cluster, incarnation or int(time.time() * 1000)))
        return self.expect(PUBLISH)

    def say(self, *payloads):
        self.send(b"".join(native(self.cluster, p) for p in payloads))

    def flood(self, data, seconds=2):
        """Sends the same again and again without reading. Bytes that the broker took."""
        sent, until = 0, time.monotonic() + seconds
        self.sock.settimeout(0.2)
        try:
            while time.monotonic() < until:
                try:
                    sent += self.sock.send(data[sent % len(data):])
                except TimeoutError:
                    pass
        except OSError:
            pass
        return sent

    def ended(self, seconds=mqtt.WAIT):
        self.sock.settimeout(seconds)
        try:
            while self.sock.recv(1 << 16):
                pass
        except TimeoutError as error:
            raise Failure("the connection is still open") from error
        except OSError:
            pass


class Watch:
    """A client and a broker of another link that behave, while others do not."""

    def __init__(self, t, grows=40 * MB, within=0.25):
        self.t, self.grows, self.within = t, grows, within
        self.took, self.wrong = {"client": [], "link": []}, None
        self.is_over = threading.Event()

    def __enter__(self):
        self.before = self.t.broker.memory()
        self.peers = {"client": self.t.connect(5), "link": Speaker(self.t, "gamma")}
        self.threads = [threading.Thread(target=self.watch, args=(k,)) for k in self.peers]
        for thread in self.threads:
            thread.start()
        return self

    def watch(self, kind):
        try:
            while not self.is_over.is_set():
                began = time.monotonic()
                self.peers[kind].send(frame(PINGREQ, 0, b""))
                self.peers[kind].expect(PINGRESP)
                self.took[kind].append(time.monotonic() - began)
                self.is_over.wait(0.005)
        except Exception as error:
            self.wrong = self.wrong or f"the {kind} that behaves: {error!r}"

    def __exit__(self, kind, error, trace):
        grown = self.t.broker.memory() - self.before
        self.is_over.set()
        for thread in self.threads:
            thread.join()
        if error:
            return
        true(not self.wrong, self.wrong)
        true(grown < self.grows, f"the broker grew by {grown >> 10} KiB")
        slow = 20 if self.t.broker.is_sanitized else 1
        for name, took in self.took.items():
            true(took, f"{name}: no round")
            true(max(took) < 4 * self.within * slow, f"{name}: {max(took):.2f} s")
            true(statistics.median(took) < self.within * slow,
                 f"{name}: a round takes {statistics.median(took) * 1000:.1f} ms")


def serves_links(t):
    """A broker that behaves is heard: what it sends is published."""
    sub = t.subscriber(t.topic("alive"))
    s = Speaker(t, "gamma")
    s.introduce()
    s.say(opening(int(time.time() * 1e6)), messages(1, [record(t.topic("alive").encode())]))
    sub.message(payload=b"x")
    s.close()


# ---- frames ----

@test
def the_dialect_by_hand_is_understood(t):
    serves_links(t)


@test
def frames_that_make_no_sense_end_the_connection(t):
    wrong = [b"", bytes([ROUTES]), bytes([BEAT, 1]), b"\x01" + b"\xff" * 11, bytes([OPEN]) + id8(1),
             opening(1) + b"x", bytes([MESSAGES, 1, 0]), messages(1, [record(b"a", flags=0xC0)]),
             bytes([MESSAGES]) + varint(LARGE) + varint(2) + record(b"a") * 2,
             bytes([MESSAGES, 1]) + varint(1 << 40) + record(b"a"),
             bytes([ROUTES, 1, 1]) + varint(LARGE), routes(1, 1, [add(1, b"x")])]
    with Watch(t):
        for payload in wrong:
            s = Speaker(t)
            s.introduce()
            s.say(opening(5))
            s.say(payload)
            s.ended()
    serves_links(t)


@test
def a_long_filter_said_in_few_bytes_does_not_stop_the_worker(t):
    ops = [add(0, b"x" * 60000)] + [add(60000, struct.pack(">I", i).hex().encode())
                                    for i in range(20000)]
    with Watch(t):
        for count in (4001, 20001):
            s = Speaker(t)
            s.introduce()
            s.say(routes(1, 1, ops[:count]))
            s.ended()
        s = Speaker(t)
        s.introduce()
        for i in range(300):  # as much as one frame may hold, with all that follows
            s.say(routes(1, i + 1, ops[:1] + ops[1 + i * 16:17 + i * 15]))
        s.close()
    serves_links(t)


@test
def millions_of_small_records_leave_time_for_others(t):
    s = Speaker(t)
    s.say(opening(9))
    n = 5000
    with Watch(t):
        data = b"".join(native("beta", messages(1 + i * n, [record(b"a")] * n))
                        for i in range(200))
        true(s.flood(data, 3) > 0, "nothing was taken")
        s = Speaker(t)
        s.say(opening(10), messages(1, [record(b"a")] * 20000))  # more than a frame may have
        s.ended()
    serves_links(t)


@test
def windows_and_numbers_of_any_size_are_taken(t):
    s = Speaker(t)
    s.introduce()
    s.say(opening(11), messages(LARGE - 2, [record(t.topic().encode())]),
          beat(LARGE - 1, LARGE - 1, LARGE, LARGE, 1), beat(LARGE, 1, 0, 0, 1),
          bytes([ACK]) + id8(1) + varint(LARGE) * 3 + varint(0),
          bytes([OPENED]) + id8(1) + varint(LARGE) * 3 + varint(63),
          bytes([ROUTES_ACK]) + varint(LARGE) * 2 + b"\1", bytes([99]) + b"later")
    s.ping()
    s.say(beat(1, 1))  # back
    s.ended()
    serves_links(t)


# ---- who does not read ----

@test
def answers_that_nobody_reads_do_not_pile_up(t):
    floods = [b"".join(native("beta", beat(1, i + 1)) for i in range(20000)),
              b"".join(introduction("beta", 1, b"nobody") for _ in range(20000)),
              frame(PINGREQ, 0, b"") * 200000]
    with Watch(t, grows=24 * MB):
        for flood in floods:
            s = Speaker(t, receive_buffer=4096)
            s.introduce()
            s.flood(flood)
    serves_links(t)


@test
def openings_from_two_connections_in_turn_are_bounded(t):
    with Watch(t, grows=24 * MB):
        two = [Speaker(t, receive_buffer=4096) for _ in range(2)]
        for i in range(2000):
            two[i % 2].say(opening(i + 1))
    serves_links(t)


# ---- sessions ----

@test
def connections_with_a_session_expiry_leave_nothing(t):
    with Watch(t, grows=8 * MB):
        for i in range(1000):
            c = Client(t.broker.address, 5)
            c.send(connect(5, f"{t.base}-{i}", props=[("session_expiry", 0xFFFFFFFF),
                                                      ("user", ("causeway-link", "beta"))]))
            equal(c.recv().get("session_expiry"), 0, "session expiry")
            c.close()


@test
def many_filters_of_a_connection_among_the_links_are_refused(t):
    s = Speaker(t)
    with Watch(t, grows=24 * MB):
        for first in range(0, 20000, 500):
            filters = [(f"{t.base}/{first + i}/#", 1) for i in range(500)]
            s.send(subscribe(5, 1 + first // 500, filters))
            equal(set(s.expect(mqtt.SUBACK).reasons), {0x87}, "reasons")
    serves_links(t)


@test
def connections_that_are_cut_anywhere_are_cleaned_up(t):
    whole = connect(5, t.new_id(), props=[("user", ("causeway-link", "beta"))]) + \
        introduction("beta", int(time.time() * 1000)) + native("beta", opening(77)) + \
        native("beta", routes(1, 1, [add(0, b"cut/#")])) + \
        native("beta", messages(1, [record(b"cut/x", b"y" * 3000)])) + native("beta", beat(1, 2))
    before = t.broker.files_at_rest()
    for i in range(0, len(whole), 37):
        c = Client(t.broker.address, 5)
        c.send(whole[:i])
        c.close()
    seconds_until("all are closed", lambda: t.broker.open_files() <= before)
    serves_links(t)


run(text=CONFIG)
