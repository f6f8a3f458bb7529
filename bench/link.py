#!/usr/bin/python3
# bench/link.py -- what a link costs and how fast it is: messages, routes, and both against a bridge.
#
# Usage: bench/link.py [-r ROUNDS] [-s SECONDS] [-n SAMPLES] [-f FILTERS] [-t WORD] [--tiny]
#   -r  rounds; in each, every scenario runs with every kind of link (5)
#   -s  seconds that one run measures (1)
#   -n  samples of route propagation (300)
#   -f  routes of the bootstrap (1000000)
#   -t  only the parts with this word in their name: messages, compression, routes, bootstrap
#   --tiny  everything once, in small, to see that it still works
#
# Messages: causeway-load publishes at one broker and receives at another; between them is a link,
# or a bridge of mosquitto (`topic # out 1`), and a proxy of ours (tests/path) where a round trip
# takes 100 ms. Nothing may be lost, doubled or out of order. The processor time is that of both
# brokers together; each of ours has one worker and one link worker. Ratios are to mosquitto's.
# Compression: readings of sensors as JSON, many in a frame, with `compression = off` and `on`: the
# processor time of both brokers, and which part of the bytes of the frames was saved.
# Routes: the time from a SUBACK at one broker to the first message published at the other that
# comes, idle and while another client subscribes to 10,000 filters a second.
# Bootstrap: a broker comes up beside one that has a million filters; until all are routes there,
# and until they are gone again; once more while a client subscribes to as many at the new one. What
# another client of the new broker waits for a PINGRESP meanwhile.
#
# The programs come from $BUILD (build/release), mosquitto from bench/mosquitto.sh.

import argparse
import collections
import getpass
import json
import os
import random
import shlex
import signal
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "tests", "e2e"))
BUILD = os.environ.setdefault("BUILD", os.path.join(HERE, "..", "build", "release"))
os.environ.setdefault("CAUSEWAY", os.path.join(BUILD, "causeway"))
sys.argv, arguments = sys.argv[:1], sys.argv[1:]  # broker.py takes words for names of tests

import mqtt  # noqa: E402
from broker import Broker, Failure, free_port, seconds_until  # noqa: E402
from wan import Path, linked  # noqa: E402

PAIRS = 10
# QoS, bytes, milliseconds of a round trip, messages of each of ten publishers on their way
SCENARIOS = [(0, 100, 0, 100), (1, 100, 0, 100), (0, 4096, 0, 100), (1, 4096, 0, 100),
             (0, 100, 100, 4000), (1, 100, 100, 4000), (0, 4096, 100, 1000), (1, 4096, 100, 1000)]

CAUSEWAY = """
[broker]
workers = 1
sys_interval = {sys_interval}
[cluster]
name = {name}
[listener clients]
bind = 127.0.0.1:{port}
links = on
[log]
connection_messages = false
[limits]
max_inflight_messages = 1000
max_queued_messages = 1000000
max_subscriptions = 2000000
[link {peer}]
server = 127.0.0.1:{server}
topics = {topics}
dialect = {dialect}
compression = {compression}
"""
MOSQUITTO = """
listener {port} 127.0.0.1
allow_anonymous true
user {user}
persistence false
log_type error
max_inflight_messages 1000
max_queued_messages 1000000
"""
BRIDGE = """
connection there
address 127.0.0.1:{server}
topic # out 1
notifications false
cleansession true
restart_timeout 1
"""


class Pair:
    """Two linked brokers: messages go from `here` to `there`."""

    kind = "causeway"

    def __init__(self, delay_ms=0, dialect="auto", start_here=True, compression="off"):
        self.ports = [free_port(), free_port()]
        self.paths = []
        servers = list(self.ports)
        if delay_ms:
            self.paths = [Path(p, "--delay", delay_ms) for p in self.ports]
            servers = [p.port for p in self.paths]
        self.texts = [CAUSEWAY.format(name=a, peer=b, port=self.ports[i], server=servers[1 - i],
                                      topics="#" if i else "", dialect=dialect,
                                      compression=compression,
                                      sys_interval="10s" if compression == "off" else "1s")
                      for i, (a, b) in enumerate((("here", "there"), ("there", "here")))]
        self.there = Broker(text=self.texts[1], ports=self.ports[1:])
        self.here = None
        if start_here:
            self.come()
            linked(self.here, self.there)

    def come(self):
        self.here = Broker(text=self.texts[0], ports=self.ports[:1])

    def pids(self):
        return [self.here.pid, self.there.pid]

    def end(self):
        for b in (self.here, self.there):
            b.stop()
        for p in self.paths:
            p.end()


class Emqx(Pair):
    kind = "causeway, EMQX's dialect"

    def __init__(self, delay_ms=0):
        super().__init__(delay_ms, "emqx")


class Mosquitto:
    """The same with a bridge."""

    kind = "mosquitto"
    words = None

    def __init__(self, delay_ms=0):
        if not Mosquitto.words:
            Mosquitto.words = shlex.split(subprocess.run(
                [os.path.join(HERE, "mosquitto.sh")], capture_output=True, text=True,
                check=True).stdout)
        self.ports = [free_port(), free_port()]
        self.paths = [Path(self.ports[1], "--delay", delay_ms)] if delay_ms else []
        server = self.paths[0].port if delay_ms else self.ports[1]
        there = MOSQUITTO.format(port=self.ports[1], user=getpass.getuser())
        here = MOSQUITTO.format(port=self.ports[0], user=getpass.getuser()) + BRIDGE.format(server=server)
        self.processes = [self.start(there, self.ports[1]), self.start(here, self.ports[0])]
        time.sleep(1.5 + delay_ms * 0.01)  # the bridge says nothing when it stands

    def start(self, text, port):
        path = os.path.join(tempfile.mkdtemp(prefix="bridge-"), "mosquitto.conf")
        with open(path, "w", encoding="ascii") as f:
            f.write(text)
        process = subprocess.Popen(Mosquitto.words + ["-c", path])
        seconds_until("mosquitto listens", lambda: is_listening(port))
        return process

    def pids(self):
        return [p.pid for p in self.processes]

    def end(self):
        for p in self.processes:
            p.terminate()
            p.wait()
        for p in self.paths:
            p.end()


def is_listening(port):
    with mqtt.socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


# ---- messages ----

def load(pair, qos, size, delay_ms, window, seconds):
    words = [os.path.join(BUILD, "causeway-load"), "-p", str(pair.ports[0]), "--subscribe-at",
             f"127.0.0.1:{pair.ports[1]}", "-q", str(qos), "--size", str(size), "-n", str(PAIRS),
             "--window", str(window), "--settle", str(0.5 + delay_ms * 0.01), "--warm-up",
             str(0.3 + delay_ms * 0.007), "--seconds", str(seconds), "--stall", "20", "--pid",
             ",".join(map(str, pair.pids())), "--json", "point-to-point"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failure(f"not clean with {pair.kind}: {' '.join(words)}\n{done.stdout}{done.stderr}")
    return json.loads(done.stdout)


def kinds_of(o, delay_ms):
    if o.tiny:
        return [Pair]
    return [Mosquitto, Pair, Emqx] if delay_ms == 0 else [Mosquitto, Pair]


def messages(o):
    found = collections.defaultdict(list)
    for i in range(o.r):
        for scenario in SCENARIOS[1:6:4] if o.tiny else SCENARIOS:
            qos, size, round_trip_ms, window = scenario
            for kind in kinds_of(o, round_trip_ms):
                pair = kind(round_trip_ms // 2)
                try:
                    found[scenario, kind.kind].append(
                        load(pair, qos, size, round_trip_ms / 2, window, o.s))
                finally:
                    pair.end()
        print(f"round {i + 1} of {o.r}", file=sys.stderr)
    print_messages(found)


def print_messages(found):
    form = "{:<34} {:<25} {:>8} {:>17} {:>7} {:>8} {:>11} {:>10}"
    print(form.format("scenario", "link", "CPU us", "(least..most)", "ratio", "times", "messages/s",
                      "99 % us"))
    base = 0
    for ((qos, size, round_trip_ms, _), kind), runs in found.items():
        cpu = [r["broker"]["cpu_us_per_delivered"] for r in runs]
        median = statistics.median(cpu)
        base = median if kind == Mosquitto.kind else base
        print(form.format(
            f"QoS {qos}, {size} bytes, round trip {round_trip_ms} ms", kind, f"{median:.3f}",
            f"({min(cpu):.3f}..{max(cpu):.3f})", f"x{median / base:.3f}" if base else "-",
            f"{base / median:.1f}" if base else "-",
            f"{statistics.median(r['delivered_per_second'] for r in runs):,.0f}",
            f"{statistics.median(r['latency_us']['p99'] for r in runs):,.0f}"), flush=True)


# ---- compression ----

READINGS = 50000
RECORD_BYTES = 16  # around topic and payload
READING = ('{{"device":"pump-{0:04d}","time":"2026-11-23T04:{1:02d}:{2:02d}Z","temperature":{3:.2f},'
           '"pressure":{4:.3f},"state":"running","unit":{{"temperature":"C","pressure":"bar"}}}}')


def readings(count):
    draw = random.Random(7)
    for i in range(count):
        yield (f"plant/hall-3/pump-{i % 50:04d}/reading",
               READING.format(i % 50, i // 60 % 60, i % 60, draw.uniform(20, 90),
                              draw.uniform(1, 16)).encode())


def send_readings(pair, count):
    """Microseconds of processor time for each, and which part of the bytes was saved."""
    clients = [mqtt.Client(b.address, 5) for b in (pair.here, pair.there)]
    pub, sub = [c.login(name) for c, name in zip(clients, ("pub", "sub"))]
    sub.subscribe("plant/#")
    seconds_until("the route", lambda: pub.publish("plant/first", b"", 1) == 0)
    sub.message()
    before = pair.here.cpu_seconds() + pair.there.cpu_seconds()
    sent, packets, plain = 0, [], 0
    for topic, payload in readings(count):
        packets.append(mqtt.publish(5, topic, payload))
        plain += len(topic) + len(payload) + RECORD_BYTES
        if len(packets) == 500:
            pub.send(*packets)
            sent += len(packets)
            packets = []
            sub.messages(500)
    cpu = pair.here.cpu_seconds() + pair.there.cpu_seconds() - before
    time.sleep(1.5)  # until the status has been said again
    pub.subscribe("$SYS/broker/links/there/messages/out/saved_bytes")
    saved = int(pub.message().payload)
    for c in clients:
        c.close()
    return cpu * 1e6 / sent, saved / plain


def compression(o):
    print(f"{'readings as JSON, 150 bytes':<34} {'CPU us':>8} {'(least..most)':>17} {'saved':>7}")
    for kind in ("off", "on"):
        found = []
        for _ in range(o.r):
            pair = Pair(compression=kind)
            try:
                found.append(send_readings(pair, READINGS // 50 if o.tiny else READINGS))
            finally:
                pair.end()
        cpu = [f[0] for f in found]
        print(f"{'compression = ' + kind:<34} {statistics.median(cpu):>8.3f} "
              f"({min(cpu):>6.3f}..{max(cpu):>6.3f}) "
              f"{statistics.median(f[1] for f in found):>7.0%}", flush=True)


# ---- routes ----

def one_route(sub, pub, n):
    """Seconds from the SUBACK to the publishing of the first message that came."""
    topic = f"route/{n}"
    sub.send(mqtt.subscribe(5, n % 60000 + 1, [(topic, 0)]))
    sub.reply(mqtt.SUBACK)
    acked = time.monotonic()
    while True:
        pub.sock.sendall(mqtt.publish(5, topic, b"%.7f" % time.monotonic()))
        p = sub.recv(0, quiet=True)
        while p and p.topic != topic:
            p = sub.recv(0, quiet=True)
        if p:
            return max(0, float(p.payload) - acked)
        if time.monotonic() > acked + 20:
            raise Failure(f"no route for {topic}")
        time.sleep(0.00002)


SUBSCRIBER = """
import sys, time
sys.path.insert(0, {folder!r})
import mqtt
c = mqtt.Client(("127.0.0.1", {port}), 4)
c.login("busy")
frames = [mqtt.subscribe(4, i % 60000 + 1, [("busy/%d/x" % i, 0)]) for i in range({rate} * 30)]
print("in", flush=True)
began, n, acks = time.monotonic(), 0, 0
try:
    while n < len(frames):
        due = min(len(frames), int((time.monotonic() - began) * {rate}) + 1)
        if due > n:
            c.sock.sendall(b"".join(frames[n:due]))
            n = due
        while c.fill(0.001):
            acks += len(c.buffer) // 5
            del c.buffer[:len(c.buffer) // 5 * 5]
except KeyboardInterrupt:
    print(int(acks / (time.monotonic() - began)), flush=True)
"""


class Busy:
    """A client that subscribes to so many filters a second, in a process of its own."""

    def __init__(self, port, rate):
        self.process = subprocess.Popen(
            [sys.executable, "-c", SUBSCRIBER.format(folder=sys.path[0], port=port, rate=rate)],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.process.stdout.readline()
        time.sleep(0.5)

    def end(self):
        """How many a second were granted."""
        self.process.send_signal(signal.SIGINT)
        said, _ = self.process.communicate()
        return int(said or 0)


def sampled(pair, samples):
    sub, pub = (mqtt.Client(("127.0.0.1", p), 5) for p in reversed(pair.ports))
    sub.login("sampler")
    pub.login("prober")
    took = []
    for n in range(samples):
        took.append(one_route(sub, pub, n) * 1000)
        time.sleep(random.uniform(0, 0.02))
    for c in (sub, pub):
        c.close()
    took.sort()
    return [took[min(samples - 1, int(samples * x))] for x in (0.5, 0.99, 1)]


def routes(o):
    form = "{:<52} {:>9} {:>9} {:>9}"
    print(form.format(f"from SUBACK to the first message, {o.n} samples", "50 % ms", "99 % ms",
                      "max ms"))
    for rate in (0, 500) if o.tiny else (0, 10000):
        pair = Pair()
        try:
            busy = Busy(pair.ports[1], rate) if rate else None
            took = sampled(pair, o.n)
            others = busy.end() if busy else 0
            print(form.format(f"with {others:,} other subscribes a second",
                              *(f"{x:.2f}" for x in took)), flush=True)
        finally:
            pair.end()


# ---- bootstrap ----

def subscribe_all(port, count, begin="site"):
    c = mqtt.Client(("127.0.0.1", port), 4)
    c.login("million")
    began = time.monotonic()
    for at in range(0, count, 1000):
        c.send(mqtt.subscribe(4, 1, [(f"{begin}/{i % 100:02}/dev/{i:07}", 0)
                                     for i in range(at, min(at + 1000, count))]))
        reply = c.reply(mqtt.SUBACK)
        if max(reply.reasons) > 2:
            raise Failure(f"filter {at} is refused")
    return c, time.monotonic() - began


class Pings:
    """What another client of a broker waits for the answer to a PINGREQ, again and again."""

    def __init__(self, port):
        self.client = mqtt.Client(("127.0.0.1", port), 5)
        self.client.login("pinger")
        self.took = []

    def some(self, count=5):
        for _ in range(count):
            began = time.monotonic()
            self.client.send(b"\xc0\0")
            self.client.reply(mqtt.PINGRESP)
            self.took.append((time.monotonic() - began) * 1000)
            time.sleep(0.002)

    def end(self):
        """As text; begins anew."""
        took, self.took = sorted(self.took), []
        return (f"ping 50 % {took[len(took) // 2]:.2f}, 99 % {took[len(took) * 99 // 100]:.2f}, "
                f"longest {took[-1]:.1f} ms ({len(took)})")


class Spent:
    """Wall and processor time of both brokers from now on."""

    def __init__(self, pair):
        self.pair = pair
        self.brokers = pair.here, pair.there
        self.cpu = [b.cpu_seconds() for b in self.brokers]
        self.began = time.monotonic()

    def __str__(self):
        wall = time.monotonic() - self.began
        here, there = (b.cpu_seconds() - was for b, was in zip(self.brokers, self.cpu))
        return f"{wall:.2f} s, CPU {here:.2f} s here and {there:.2f} s there"


def until_all(pub, numbers, is_wanted, pings):
    left = list(numbers)
    while left:
        pings.some()
        while left and is_route(pub, left[-1]) == is_wanted:
            left.pop()


def bootstrap(o):
    for beside in (0, o.f):
        bootstrap_beside(o, beside)
    bench = os.path.join(BUILD, "bench")
    if os.path.exists(bench) and not o.tiny:
        subprocess.run([bench, "--benchmark_filter=BM_(announced_bootstrap|wants_)"], check=False)


def bootstrap_beside(o, own):
    """`own`: filters that a client of the new broker has before it is linked."""
    pair = Pair(start_here=False)
    try:
        c, took = subscribe_all(pair.ports[1], o.f)
        print(f"{o.f:,} filters are subscribed to in {took:.2f} s, by a client in Python")
        pair.come()
        pub = mqtt.Client(("127.0.0.1", pair.ports[0]), 5)
        pub.login("prober")
        pings = Pings(pair.ports[0])
        before, spent = pair.here.memory(), Spent(pair)
        mine = subscribe_all(pair.ports[0], own, "own")[0] if own else None
        seconds_until("a link", lambda: "link up" in pair.here.said(), 60)
        since = Spent(pair)
        some = random.Random(1).sample(range(o.f), 300)
        until_all(pub, some, True, pings)
        print(f"all are routes after {spent}; after the link was up {since}; {pings.end()}"
              + (f"; meanwhile {own:,} filters were subscribed to there" if own else
                 f"; {(pair.here.memory() - before) / o.f:.0f} bytes a route there"), flush=True)
        if mine:
            mine.close()
            return
        spent = Spent(pair)
        c.close()
        until_all(pub, some, False, pings)
        print(f"all are gone {spent} after their subscriber; {pings.end()}", flush=True)
    finally:
        pair.end()


def is_route(pub, i):
    return pub.publish(f"site/{i % 100:02}/dev/{i:07}", b"", 1) == 0


def main():
    options = argparse.ArgumentParser()
    options.add_argument("-r", type=int, default=5)
    options.add_argument("-s", type=float, default=1)
    options.add_argument("-n", type=int, default=300)
    options.add_argument("-f", type=int, default=1000000)
    options.add_argument("-t", default="")
    options.add_argument("--tiny", action="store_true")
    o = options.parse_args(arguments)
    if o.tiny:
        o.r, o.s, o.n, o.f = 1, 0.2, 20, 5000
    for part in (messages, compression, routes, bootstrap):
        if o.t in part.__name__:
            part(o)


with tempfile.TemporaryDirectory() as tempfile.tempdir:
    main()
