# tests/e2e/test_link_reload.py -- SIGHUP: links are added, changed, disabled and removed at run time.

import signal
import threading
import time

from broker import FOREIGN_PORT, WORKERS, Broker, equal, free_port, main, seconds_until, true
from mqtt import Client

NAMES = ("us", "eu", "asia")
LIMIT = 30


class Three:
    """Brokers that may be linked as a test says; each wants everything of its links, at first."""

    def __init__(self, names=NAMES, dialect="auto"):
        self.ports = {n: free_port() for n in names}
        self.links = {n: {} for n in names}
        self.dialect = dialect
        self.brokers = {}
        self.clients = []
        for n in names:
            self.start(n)

    def start(self, name):
        self.brokers[name] = Broker(text=self.text(name), ports=[self.ports[name]])

    def text(self, name):
        text = (f"[broker]\nworkers = {WORKERS}\n[cluster]\nname = {name}\n"
                f"[listener mqtt]\nbind = 127.0.0.1:{self.ports[name]}\n")
        for other, keys in self.links[name].items():
            text += f"[link {other}]\nserver = 127.0.0.1:{self.ports[other]}\n"
            text += "".join(f"{k} = {v}\n" for k, v in
                            {"topics": "#", "dialect": self.dialect, "retry_interval": "200ms",
                             **keys}.items())
        return text

    def reload(self, name, text=None, end="event=reloaded"):
        b = self.brokers[name]
        before = len(b.said())
        with open(b.config_path, "w", encoding="utf-8") as f:
            f.write(text or self.text(name))
        b.process.send_signal(signal.SIGHUP)
        seconds_until("the reload", lambda: end in b.said()[before:])
        return b.said()[before:]

    def link(self, name, other, **keys):
        self.links[name][other] = keys
        return self.reload(name)

    def unlink(self, name, other):
        del self.links[name][other]
        return self.reload(name)

    def both(self, name, other, **keys):
        self.link(name, other, **keys)
        self.link(other, name, **keys)

    def connect(self, name, client_id, **rest):
        c = Client(self.brokers[name].address, 5)
        self.clients.append(c)
        return c.login(client_id, **rest)

    def subscribe(self, name, client_id, filters, options=1):
        c = self.connect(name, client_id)
        c.subscribe(filters, options)
        return c

    def crosses(self, pub, sub, topic):
        """Waits until it does, and reads all of it."""
        def arrived():
            pub.publish(topic, b"probe", 1)
            return sub.recv(0.1, quiet=True) is not None

        seconds_until(f"{topic} crosses", arrived, LIMIT)
        pub.publish(topic, b"last", 1)
        while sub.message().payload != b"last":
            pass

    def crosses_not(self, pub, sub, topic):
        pub.publish(topic, b"must not cross", 1)
        equal(sub.recv(0.4, quiet=True), None, "it crossed")

    def stop(self):
        for c in self.clients:
            c.close()
        for b in self.brokers.values():
            b.stop()


class Traffic:
    """What a client publishes all the time, and another one gets, each once and in order."""

    def __init__(self, world, here, there):
        self.sub = world.subscribe(there, f"traffic-{there}", "traffic/#", 1)
        self.pub = world.connect(here, f"traffic-{here}")
        world.crosses(self.pub, self.sub, "traffic/probe")
        self.must_end = False
        self.count = 0
        self.wrong = None
        self.threads = [threading.Thread(target=f) for f in (self.give, self.get)]
        for t in self.threads:
            t.start()

    def give(self):
        while not self.must_end or self.count < 50:
            self.pub.publish("traffic/x", str(self.count), 1)
            self.count += 1
            time.sleep(0.002)
        self.pub.publish("traffic/x", "end", 1)

    def get(self):
        try:
            expected = 0
            while True:
                p = self.sub.message(timeout=LIMIT)
                if p.payload == b"end":
                    equal(expected, self.count, "messages of another link")
                    return
                equal(p.payload, str(expected).encode(), "message of another link")
                expected += 1
        except Exception as error:  # pylint: disable=broad-except
            self.wrong = error

    def end(self):
        self.must_end = True
        for t in self.threads:
            t.join()
        if self.wrong:
            raise self.wrong


def in_both_dialects(f):
    def run_with(dialect):
        def run():
            world = Three(dialect=dialect)
            try:
                f(world)
            finally:
                world.stop()
        run.__name__ = f"{f.__name__}_{dialect}"
        return run
    return [run_with("auto"), run_with("emqx")]


def links_come_and_go_and_others_stand(w):
    w.both("us", "asia")
    traffic = Traffic(w, "us", "asia")
    sub = w.subscribe("us", "sub", "t/#")
    pub = w.connect("eu", "pub")
    w.crosses_not(pub, sub, "t/1")
    for _ in range(3):
        said = w.link("us", "eu")
        true("[link eu] added" in said, said)
        w.link("eu", "us")
        w.crosses(pub, sub, "t/1")
        w.link("us", "eu", topics="u/#")
        seconds_until("t/1 does not cross any more", lambda: not came(pub, sub, "t/1"))
        said = w.link("us", "eu", topics="u/#, t/#", username="anybody", connections="2")
        true("changed: topics, username, connections" in said, said)
        w.crosses(pub, sub, "t/1")
        w.link("us", "eu", enable="no")
        w.crosses_not(pub, sub, "t/1")
        w.link("us", "eu")
        w.crosses(pub, sub, "t/1")
        w.unlink("us", "eu")
        w.crosses_not(pub, sub, "t/1")
        w.unlink("eu", "us")
    sub.ping()
    pub.ping()
    traffic.end()


def came(pub, sub, topic):
    pub.publish(topic, b"x", 1)
    return sub.recv(0.2, quiet=True) is not None


def what_waits_goes_on_when_the_link_is_enabled_again(w):
    w.both("us", "eu")
    sub = w.subscribe("eu", "before", "t/#")
    pub = w.connect("us", "pub")
    w.crosses(pub, sub, "t/1")
    w.brokers["eu"].kill()
    for i in range(20):
        pub.publish("t/1", str(i), 1)
    w.link("us", "eu", enable="no")
    w.start("eu")
    sub = w.subscribe("eu", "after", "t/#")
    equal(sub.recv(1, quiet=True), None, "over a disabled link")
    w.link("us", "eu")
    payloads = []
    while b"19" not in payloads:
        p = sub.message(timeout=LIMIT)
        if p.payload not in payloads:  # EMQX's dialect may give it twice
            payloads.append(p.payload)
    equal(payloads, [str(i).encode() for i in range(20)], "what waited")


def a_broken_file_changes_nothing_and_says_why(w):
    w.both("us", "eu")
    sub = w.subscribe("us", "sub", "t/#")
    pub = w.connect("eu", "pub")
    w.crosses(pub, sub, "t/1")
    good = w.text("us")
    for wrong, words in ((good + "colour = red\n", "there is no key 'colour'"),
                         (good + "tls = on\ncafile = /nowhere\n", "/nowhere"),
                         (good.replace("topics = #", "topics = #, t/1"), "is covered by")):
        said = w.reload("us", wrong, 'event="nothing reloaded"')
        true(words in said, said)
        w.crosses(pub, sub, "t/1")
    said = w.reload("us", good.replace("[cluster]", "[limits]\nmax_qos = 1\n[cluster]"))
    true("needs a restart: [limits] max_qos" in said, said)
    w.crosses(pub, sub, "t/1")


if FOREIGN_PORT:
    print("ok links_need_our_own_broker")
else:
    main(in_both_dialects(links_come_and_go_and_others_stand) +
         in_both_dialects(what_waits_goes_on_when_the_link_is_enabled_again) +
         in_both_dialects(a_broken_file_changes_nothing_and_says_why))
