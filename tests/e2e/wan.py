# tests/e2e/wan.py -- clusters far from each other: networks and paths that can be cut, held, made
# narrow or led elsewhere, and loads that cross them.
#
#     Networks   this program in a network of its own, and a far one behind two pairs of veth:
#                `wan` carries links and can be cut or made narrow, `lan` carries clients
#     Path       a TCP proxy of ours (tests/path), where a way through a host in between is wanted
#     Load       causeway-load between two brokers: numbered messages, and whether all came once
#                and in order

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time

import mqtt
from broker import WORKERS, Broker, Failure, free_port, seconds_until, true

BUILD = os.environ["BUILD"]
SOAK = "SOAK" in os.environ  # in full: minutes of load instead of seconds
INSIDE = "WAN_INSIDE"  # set where we are in a network of our own
LINK_PORT, CLIENT_PORT = 1884, 1883


def run(*words):
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failure(f"{' '.join(words)}: {done.stderr}")
    return done.stdout


def enter():
    """Begins this program anew in a network of its own; does nothing where that is not allowed or
    has been done."""
    if INSIDE in os.environ:
        run("ip", "link", "set", "lo", "up")
        return
    way = ["unshare", "-n"] if os.geteuid() == 0 else ["unshare", "-Urn"]
    if subprocess.run(way + ["true"], capture_output=True, check=False).returncode == 0:
        os.environ[INSIDE] = "yes"
        os.execvp(way[0], way + [sys.executable] + sys.argv)


def have_networks():
    return INSIDE in os.environ


class Networks:
    """Here and there, with the addresses 10.77.N.1 and 10.77.N.2 on wan (N = 1) and lan (2)."""

    def __init__(self):
        self.far = subprocess.Popen(["unshare", "-n", "sleep", "1000"])
        # The command is there once the network is.
        seconds_until("a network behind ours", lambda: "sleep" in self.command())
        self.within = ["nsenter", "-t", str(self.far.pid), "-n"]
        run(*self.within, "ip", "link", "set", "lo", "up")
        for n, name in ((1, "wan"), (2, "lan")):
            run("ip", "link", "add", name, "type", "veth", "peer", "name", name, "netns",
                str(self.far.pid))
            for side, before in ((1, []), (2, self.within)):
                run(*before, "ip", "addr", "add", f"10.77.{n}.{side}/24", "dev", name)
                run(*before, "ip", "link", "set", name, "up")

    def command(self):
        with open(f"/proc/{self.far.pid}/comm", encoding="ascii") as f:
            return f.read()

    def cut(self):
        """The wire is pulled: nothing passes, and nobody is told."""
        run(*self.within, "ip", "link", "set", "wan", "down")

    def mend(self):
        run(*self.within, "ip", "link", "set", "wan", "up")

    def swallow(self):
        """What there sends to here is lost; the other way still works."""
        run(*self.within, "ip", "route", "add", "blackhole", "10.77.1.1/32")

    def swallow_no_more(self):
        run(*self.within, "ip", "route", "del", "blackhole", "10.77.1.1/32")

    def narrow(self, mbit):
        for before in ([], self.within):
            run(*before, "tc", "qdisc", "add", "dev", "wan", "root", "tbf", "rate", f"{mbit}mbit",
                "burst", "32kb", "latency", "50ms")

    def end(self):
        self.far.kill()
        self.far.wait()
        for name in ("wan", "lan"):
            subprocess.run(["ip", "link", "del", name], capture_output=True, check=False)


class Path:
    """A proxy on 127.0.0.1 in front of a port."""

    def __init__(self, to, *options):
        self.port = free_port()
        self.process = subprocess.Popen(
            [os.path.join(BUILD, "path"), str(self.port), f"127.0.0.1:{to}",
             *map(str, options)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.process.stdout.readline()

    def ask(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline()

    def lead_to(self, port):
        """Connections that come from now on go to another broker; those that are there end."""
        self.ask("to", f"127.0.0.1:{port}")
        self.ask("reset")

    def end(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


class Load:
    """causeway-load from one broker to another, at once; end() waits for it. `pairs` publishers,
    each with a topic and a subscriber."""

    numbers = itertools.count(1)

    def __init__(self, here, there, qos, rate, seconds, pairs=4, size=64, window=20000, more=()):
        self.name = f"load{next(self.numbers)}q{qos}"
        self.seconds = seconds
        words = [os.path.join(BUILD, "causeway-load"), "-h", here.host, "-p", str(here.port),
                 "--subscribe-at", f"{there.host}:{there.port}", "-t", self.name, "-q", str(qos),
                 "-n", str(pairs), "--size", str(size), "--window", str(window), "--rate",
                 str(rate), "--seconds", str(seconds), "--settle", "1", "--warm-up", "0",
                 "--stall", "40", "--json", *more, "point-to-point"]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        text=True)

    def end(self):
        """What causeway-load says of it; all must have come once and in order."""
        said, _ = self.process.communicate(timeout=90 + self.seconds)
        try:
            found = json.loads(said)
        except ValueError:
            raise Failure(f"{self.name}: {said}") from None
        true(found["is_clean"], f"{self.name}: {said}")
        return found

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()


def cluster(name, listeners, links, more=""):
    """The configuration of a cluster; `links`: name of a peer -> keys, or its HOST:PORT."""
    text = (f"[cluster]\nname = {name}\n[broker]\nworkers = {WORKERS}\n"
            "[log]\nconnection_messages = false\n"
            # What piled up before a cut comes at once after it.
            f"[limits]\nmax_queued_messages = 1000000\n{more}")
    for i, place in enumerate(listeners):
        text += f"[listener l{i}]\nbind = {place}\nlinks = on\nallow_anonymous = true\n"
    for peer, keys in links.items():
        keys = keys if isinstance(keys, dict) else {"server": keys}
        keys = {"topics": "#", **keys}
        text += f"[link {peer}]\n" + "".join(f"{k} = {v}\n" for k, v in keys.items())
    return text


class Clusters:
    """Brokers that are linked, clients, paths and loads: all of one test, ended by end()."""

    def __init__(self):
        self.brokers, self.clients, self.things = [], [], []

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        for thing in self.clients:
            thing.close()
        for thing in self.things:
            if isinstance(thing, Load):
                thing.kill()
        wrong = []
        for b in self.brokers:
            try:
                b.stop()
            except Failure as failure:
                wrong.append(str(failure))
        for thing in self.things:
            if not isinstance(thing, Load):
                thing.end()
        if isinstance(error, Failure):
            said = "\n".join(f"{b.log_path}:\n{b.said()[-1500:]}" for b in self.brokers)
            raise Failure(f"{error}\n{said}") from error
        true(error or not wrong, "\n".join(wrong))

    def keep(self, thing):
        self.things.append(thing)
        return thing

    def start(self, text, *ports, **rest):
        self.brokers.append(Broker(text=text, ports=list(ports), **rest))
        return self.brokers[-1]

    def load(self, *args, **rest):
        return self.keep(Load(*args, **rest))

    def connect(self, broker, version=5, client_id=None, **rest):
        c = mqtt.Client(broker.address, version)
        self.clients.append(c)
        return c.login(client_id or f"wan{len(self.clients)}", **rest)

    def subscribe(self, broker, filters, qos=2, **rest):
        c = self.connect(broker, **rest)
        for reason in c.subscribe(filters, qos):
            true(reason < 3, f"SUBACK says 0x{reason:02x}")
        return c

    def kill(self, broker):
        """As a crash; start it again with restart()."""
        broker.kill()
        self.brokers.remove(broker)

    def restart(self, old):
        """The same broker in a new process; its log goes on in a new file."""
        return self.start(old.text, *old.ports, within=old.within, host=old.host)


def links_of(names, way=None):
    """Clusters with these names, each linked with all others: name -> (client port, link port) and
    name -> configuration. `way(a, b)`: the port at which a reaches b, or keys of that link."""
    ports = {n: (free_port(), free_port()) for n in names}
    texts = {}
    for a in names:
        links = {}
        for b in names:
            found = (way and a != b and way(a, b, ports[b][1])) or ports[b][1]
            if a != b:
                links[b] = found if isinstance(found, dict) else f"127.0.0.1:{found}"
        texts[a] = cluster(a, [f"127.0.0.1:{p}" for p in ports[a]], links)
    return ports, texts


def count(broker, event):
    """Lines of the log that say it."""
    return broker.said().count(event)


def linked(*brokers, times=1, limit=2 * mqtt.WAIT):
    """Waits until each has said so often that a link of its is up."""
    for b in brokers:
        seconds_until(f"link up, {times} times: {b.said()[-800:]}",
                      lambda b=b: count(b, "link up") >= times, limit)


def crossing(pub, sub, topic, limit=2 * mqtt.WAIT):
    """Waits until what `pub` publishes reaches `sub`."""
    def arrived():
        pub.publish(topic, b"probe", 0)
        return sub.recv(0.05, quiet=True)

    seconds_until(f"{topic} crosses the links", arrived, limit)
    pub.publish(topic, b"last", 1)
    while sub.message(timeout=limit).payload != b"last":
        pass


@contextlib.contextmanager
def noticed_by(*brokers):
    """What is done within is over when each of them has said that a link is down."""
    before = [count(b, "link down") for b in brokers]
    yield
    for b, n in zip(brokers, before):
        seconds_until("it is noticed", lambda b=b, n=n: count(b, "link down") > n, 2 * mqtt.WAIT)


@contextlib.contextmanager
def standing_still(broker, *neighbours):
    """The broker does not run, and runs again when its neighbours have noticed."""
    broker.process.send_signal(signal.SIGSTOP)
    try:
        with noticed_by(*neighbours):
            yield
    finally:
        broker.process.send_signal(signal.SIGCONT)


def slow(broker, number):
    """A rate that suits what the broker was built for."""
    return number // 5 if broker.is_sanitized else number
