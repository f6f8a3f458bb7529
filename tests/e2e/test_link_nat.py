# tests/e2e/test_link_nat.py -- a link of which only one side has a server: the other one may sit
# where nobody could dial it, and all goes over the connections that it opens.

import itertools

import mqtt
from broker import WORKERS, equal, free_port, main, true
from mqtt import publish
from wan import Clusters, count, crossing, linked, noticed_by, standing_still

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


class Pair(Clusters):
    def __init__(self):
        super().__init__()
        self.words = {"called": free_port(), "caller": free_port(), "clink": free_port(),
                      "workers": WORKERS}
        self.called = self.start(CALLED.format(**self.words), self.words["called"],
                                 self.words["clink"])
        self.caller = self.start(CALLER.format(**self.words), self.words["caller"])


def with_pair(f):
    def run():
        with Pair() as pair:
            linked(pair.called, pair.caller)
            f(pair)

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
    for broker, other in ((p.called, p.caller), (p.caller, p.called)):
        before = count(other, "link up")
        with noticed_by(other):
            broker.kill()
        broker.start()
        linked(other, times=before + 1)
        for here, there in ((p.called, p.caller), (p.caller, p.called)):
            topic = f"again/{next(numbers)}"
            crossing(p.connect(here), p.subscribe(there, topic), topic)


@with_pair
def nothing_is_lost_while_the_caller_does_not_run(p):
    total = 5000
    sub, pub = p.subscribe(p.caller, "held"), p.connect(p.called)
    crossing(pub, sub, "held")
    with standing_still(p.caller, p.called):
        for first in range(0, total, 500):
            pub.send(b"".join(publish(5, "held", f"{first + i}", 1, pid=1 + i)
                              for i in range(500)))
            for _ in range(500):
                pub.expect(mqtt.PUBACK)
    for i in range(total):
        equal(sub.message(timeout=LIMIT).payload, f"{i}".encode())
    true(sub.recv(0.3, quiet=True) is None, "something came twice")


main([messages_cross_in_both_directions_at_all_qos, only_one_side_opens_connections,
      links_come_back_whoever_was_restarted, nothing_is_lost_while_the_caller_does_not_run])
