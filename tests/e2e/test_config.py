# tests/e2e/test_config.py -- what the configuration makes of the broker, seen from outside.

import socket
import time

from broker import equal, free_port, run, test, true
from mqtt import Client, Failure, connect

TWO = """
[broker]
workers = 2
[listener first]
bind = 127.0.0.1:{port}
[listener second]
port = {port2}
address = 127.0.0.1
max_connections = 1
[listener closed]
bind = 127.0.0.1:{port3}
allow_anonymous = false
"""


def at(t, number, version=5):
    c = Client(("127.0.0.1", t.broker.ports[number]), version)
    t.clients.append(c)
    return c


@test(text=TWO)
def all_listeners_serve_the_same_broker(t):
    sub = at(t, 1).login(t.new_id())
    sub.subscribe("a", 1)
    pub = at(t, 0).login(t.new_id())
    pub.publish("a", b"x", 1)
    sub.message(payload=b"x")


def first_to_come(t):
    """A client of a listener that takes one, as soon as the one of an earlier test is gone."""
    for _ in range(100):
        try:
            return at(t, 1).login(t.new_id())
        except Failure:
            time.sleep(0.05)
    raise Failure("the place of an earlier client is not free")


@test(text=TWO)
def max_connections_is_of_one_listener(t):
    one = first_to_come(t)
    two = at(t, 1)
    two.send(connect(5, t.new_id()))
    two.refused(0, 0x97, 0x9F, 0x89, 0x88)
    for _ in range(3):
        at(t, 0).login(t.new_id()).ping()
    one.ping()


@test(text=TWO)
def a_listener_without_anonymous_clients_refuses_all(t):
    for version, reasons in ((3, (4, 5)), (4, (4, 5)), (5, (0x86, 0x87))):
        for fields in ({}, {"username": "a", "password": "b"}):
            c = at(t, 2, version)
            c.send(connect(version, t.new_id(), **fields))
            c.refused(*reasons)
    t.broker.says("refused", "peer=127.0.0.1")


@test(text="""
[auth]
allow_anonymous = false
[listener a]
bind = 127.0.0.1:{port}
[listener b]
bind = 127.0.0.1:{port2}
allow_anonymous = true
""")
def auth_sets_what_listeners_do_not_say(t):
    c = at(t, 0)
    c.send(connect(5, t.new_id()))
    c.refused(0x86, 0x87)
    at(t, 1).login(t.new_id()).ping()


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as s:
            s.bind(("::1", 0))
        return True
    except OSError:
        return False


@test(text="""
[listener a]
bind = 127.0.0.1:{port}
[listener b]
bind = [::1]:{port2}
""" if has_ipv6() else "[listener a]\nbind = 127.0.0.1:{port}\n")
def a_listener_may_be_ipv6(t):
    if not has_ipv6():
        return
    c = Client(("::1", t.broker.ports[1]), 5)
    t.clients.append(c)
    c.login("six").ping()
    t.broker.says("client=six", "::1")


@test(text="\ufeff; a comment\r\n# another\r\n[listener a]\r\n  bind  =  127.0.0.1:{port}  \r\n"
           "[limits]\r\nmax_qos=1\r\n\r\n")
def files_of_other_editors_are_read(t):
    equal(at(t, 0).login("a").connack.get("maximum_qos"), 1)


@test(text="""
[listener a]
bind = 127.0.0.1:{port}
[limits]
max_inflight = 7
server_keepalive = 30
max_qos_allowed = 1
idle_timeout = 5s
""")
def names_of_other_brokers_are_understood(t):
    c = at(t, 0)
    c.login("a", keepalive=100)
    equal(c.connack.get("maximum_qos"), 1)
    equal(c.connack.get("server_keep_alive"), 30)


@test(text="[listener a]\nbind = 127.0.0.1:{port}\n[limits]\nmax_packet_size = 0\n"
           "max_inflight_messages = 0\nmax_queued_messages = 0\n")
def a_bound_of_0_is_the_built_in_one(t):
    c = at(t, 0).login("a")
    true(1 << 20 <= c.connack.get("maximum_packet_size", 0) < 1 << 28, "maximum_packet_size")
    c.publish("a", bytes(100000), 1)


@test(log={"log_level": "error"})
def the_log_level_leaves_out_what_is_less(t):
    t.connect(5).logout()
    equal(t.broker.said(), "", "log")


@test
def every_start_says_what_is_open(t):
    t.broker.says("listening", f"127.0.0.1:{t.broker.port}")
    t.broker.says("connections fit")
    t.broker.says("multishot_recv")


@test
def a_connection_is_logged_with_its_end_and_reason(t):
    c = t.connect(5)
    name = c.id
    c.send(b"\x00\x00")
    c.closed()
    t.broker.says(f"client={name}", '"client connected"', "peer=127.0.0.1")
    t.broker.says(f"client={name}", '"client disconnected"', "peer=127.0.0.1", "reason=")


@test
def a_refused_connection_is_logged_with_its_address(t):
    for first in (b"\xff" * 6, connect(4, "x", flags=3),
                  connect(5, "x", props={"auth_method": "x"})):
        c = t.raw(5)
        port = c.sock.getsockname()[1]
        c.send(first)
        c.refused(0, 0x8C)
        t.broker.says(f"peer=127.0.0.1:{port}")


@test
def sixty_four_workers_are_possible(t):
    b = t.other(broker={"workers": 64})
    if not getattr(b, "ports", None):
        return
    clients = [Client(b.address, 5).login(f"c{i}") for i in range(70)]
    for i, c in enumerate(clients):
        c.subscribe(f"x/{i}", 1)
    clients[0].publish("x/69", b"x", 1)
    clients[69].message(payload=b"x")
    for c in clients:
        c.close()


@test
def many_listeners_are_possible(t):
    ports = set()
    while len(ports) < 20:
        ports.add(free_port())
    text = "".join(f"[listener l{i}]\nbind = 127.0.0.1:{p}\n" for i, p in enumerate(ports))
    b = t.other(text=text + "[listener main]\nbind = 127.0.0.1:{port}\n")
    if not getattr(b, "ports", None):
        return
    for p in ports:
        Client(("127.0.0.1", p), 4).login("a").logout()


run()
