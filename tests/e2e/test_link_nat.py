# tests/e2e/test_link_nat.py -- a link of which only one side has a server: the other one may sit
# where nobody could dial it, and all goes over the connections that it opens.

import itertools
import signal
import time

import mqtt
from broker import WORKERS, Broker, Failure, equal, free_port, main, seconds_until, true
from mqtt import Client, publish

# The one that is called has no server; the one that calls listens for clients only.
CALLED = """
[broker]
workers = {workers}
sys_interval = 1
[cluster]
name = called
[listener mqtt]
bind = 127.0.0.1:{called}
[listener clink]
bind = 127.0.0.1:{clink}
links = only
[link caller]
topics = #
"""
CALLER = """
[broker]
workers = {workers}
sys_interval = 1
[limits]
max_queued_messages = 100000
[cluster]
name = caller
[listener mqtt]
bind = 127.0.0.1:{caller}
links = no
[link called]
server = 127.0.0.1:{clink}
topics = #
"""
LIMIT = 2 * mqtt.WAIT
numbers = itertools.count(1)


class Pair:
    def __init__(self):
        self.words = {"called": free_port(), "caller": free_port(), "clink": free_port(),
                      "workers": WORKERS}
        self.clients = []
        self.called = Broker(text=CALLED.format(**self.words),
                             ports=[self.words["called"], self.words["clink"]])
        self.caller = Broker(text=CALLER.format(**self.words), ports=[self.words["caller"]])

    def connect(self, broker, **rest):
        c = Client(broker.address, 5)
        self.clients.append(c)
        return c.login(f"nat{next(numbers)}", **rest)

    def subscribe(self, broker, filters, qos=1):
        c = self.connect(broker)
        for reason in c.subscribe(filters, qos):
            true(reason < 3, f"SUBACK says 0x{reason:02x}")
        return c

    def up(self, broker, other, since=0):
        """Until its log says that the link is up, after so many times before."""
        seconds_until(f"{broker.number}: link up", lambda: ups(broker, other) > since, LIMIT)

    def stop(self):
        for c in self.clients:
            c.close()
        wrong = []
        for b in (self.called, self.caller):
            try:
                b.stop()
            except Failure as error:
                wrong.append(str(error))
        true(not wrong, "\n".join(wrong))


def ups(broker, other):
    return sum("link up" in line and other in line for line in broker.said().split("\n"))


def crossing(pub, sub, topic):
    """Waits until what `pub` publishes reaches `sub`."""
    word = f"probe {next(numbers)}".encode()

    def arrived():
        pub.publish(topic, word, 0)
        return sub.recv(0.05, quiet=True)

    seconds_until(f"{topic} crosses the link", arrived, LIMIT)
    pub.publish(topic, b"last", 1)
    while True:
        p = sub.message()
        if p.payload == b"last":
            return


def with_pair(f):
    def run():
        pair = Pair()
        try:
            pair.up(pair.called, "caller")
            pair.up(pair.caller, "called")
            f(pair)
        finally:
            pair.stop()

    run.__name__ = f.__name__
    return run


@with_pair
def messages_cross_in_both_directions_at_all_qos(p):
    for n, (here, there) in enumerate(((p.called, p.caller), (p.caller, p.called))):
        topic = f"cross/{n}"
        sub, pub = p.subscribe(there, topic, 2), p.connect(here)
        crossing(pub, sub, topic)
        for qos in (0, 1, 2):
            pub.publish(topic, f"at {qos}", qos)
            sub.message(topic=topic, payload=f"at {qos}", qos=qos)


@with_pair
def only_one_side_opens_connections(p):
    true(f"127.0.0.1:{p.words['clink']}" in p.caller.said(), "the caller does not say whom")
    c = p.connect(p.called)
    c.subscribe("$SYS/broker/connection/caller/state")
    equal(c.message().payload, b"1", "state")
    p.caller.kill()
    equal(c.message(timeout=LIMIT).payload, b"0", "state")
    p.caller.start()
    equal(c.message(timeout=LIMIT).payload, b"1", "state")


@with_pair
def links_come_back_whoever_was_restarted(p):
    for broker, other, name in ((p.called, p.caller, "called"), (p.caller, p.called, "caller")):
        before = ups(other, name)
        broker.kill()
        time.sleep(0.5)
        broker.start()
        p.up(other, name, before)
        for here, there in ((p.called, p.caller), (p.caller, p.called)):
            topic = f"again/{next(numbers)}"
            crossing(p.connect(here), p.subscribe(there, topic), topic)


@with_pair
def nothing_is_lost_while_the_caller_does_not_run(p):
    count = 5000
    sub, pub = p.subscribe(p.caller, "held"), p.connect(p.called)
    crossing(pub, sub, "held")
    p.caller.process.send_signal(signal.SIGSTOP)
    try:
        for first in range(0, count, 500):
            pub.send(b"".join(publish(5, "held", f"{first + i}", 1, pid=1 + i)
                              for i in range(500)))
            for _ in range(500):
                pub.expect(mqtt.PUBACK)
    finally:
        time.sleep(4)  # longer than it takes to notice
        p.caller.process.send_signal(signal.SIGCONT)
    for i in range(count):
        equal(sub.message(timeout=LIMIT).payload, f"{i}".encode())
    true(sub.recv(0.3, quiet=True) is None, "something came twice")


main([messages_cross_in_both_directions_at_all_qos, only_one_side_opens_connections,
      links_come_back_whoever_was_restarted, nothing_is_lost_while_the_caller_does_not_run])
