# tests/e2e/test_listener_limits.py -- what one listener takes, beside others that take more.

import time

from broker import Broker, main
from mqtt import Client, connect, equal, publish, true


def start(listener):
    return Broker(text=f"""[broker]
workers = 2
sys_interval = 1s
[listener narrow]
bind = 127.0.0.1:{{port}}
{listener}
[listener wide]
bind = 127.0.0.1:{{port2}}
""")


def narrow(broker, version=5):
    return Client(broker.address, version)


def wide(broker, version=5):
    return Client(("127.0.0.1", broker.ports[1]), version)


def other_versions_are_refused_in_their_own_words():
    broker = start("protocol_versions = 3.1.1")
    for version, reason in ((3, 1), (5, 0x84)):
        c = narrow(broker, version)
        c.send(connect(version, f"v{version}"))
        c.refused(reason)
        wide(broker, version).login(f"w{version}").ping()
    narrow(broker, 4).login("v4").ping()
    broker.stop()


def the_highest_qos_is_that_of_the_listener():
    broker = start("max_qos = 0")
    c = narrow(broker).login("a")
    equal(c.connack.get("maximum_qos"), 0)
    equal(wide(broker).login("b").connack.get("maximum_qos"), None, "that of the other listener")
    equal(c.subscribe("t", 2), [0], "granted")
    c.publish("t", b"x", 0)
    equal(c.message().payload, b"x")
    c.send(publish(5, "t", b"y", 1, pid=1))
    c.closed(0x9B)
    broker.stop()


def connections_beyond_the_rate_wait_and_are_not_refused():
    broker = start("max_connection_rate = 10/2s")
    began = time.monotonic()
    clients = [narrow(broker) for _ in range(20)]  # the kernel takes them all
    for i, c in enumerate(clients):
        c.send(connect(5, f"r{i}"))
    for c in clients:
        equal(c.recv().reason, 0)
    took = time.monotonic() - began
    # start() has used some of the first ten; the eleventh and on come each 0.2 s
    true(1.5 < took < 6, f"20 connections at 10 in 2 s took {took:.2f} s")
    other = wide(broker).login("watcher")
    other.subscribe("$SYS/broker/counters/accept_pauses")
    true(int(other.message().payload) > 0, "pauses are counted")
    broker.says("connections wait", "max_connection_rate")
    broker.stop()


main([other_versions_are_refused_in_their_own_words, the_highest_qos_is_that_of_the_listener,
      connections_beyond_the_rate_wait_and_are_not_refused])
