# tests/e2e/test_link_alive.py -- how soon a linked broker notices that the other one is dead.

import signal
import socket
import threading
import time

from broker import FOREIGN_PORT, WORKERS, Broker, free_port, main, seconds_until, true
from mqtt import Client

TEXT = """
[broker]
workers = {workers}
[cluster]
name = {name}
[listener mqtt]
bind = 127.0.0.1:{port}
[listener clink]
bind = 127.0.0.1:{link_port}
[link {other}]
server = {servers}
topics = #
dialect = {dialect}
retry_interval = 1s
"""
# The time that is promised, a timer that may be late, and a busy machine.
NOTICED = 3.6


class Valve:
    """A proxy in front of a port: while it is shut, nothing goes through, and nobody is told."""

    def __init__(self, to):
        self.to = to
        self.is_open = threading.Event()
        self.is_open.set()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.sockets = [self.listener]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                near = self.listener.accept()[0]
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self.to))
            except OSError:
                near.close()
                continue
            self.sockets += [near, far]
            for a, b in ((near, far), (far, near)):
                threading.Thread(target=self.copy, args=(a, b), daemon=True).start()

    def copy(self, a, b):
        try:
            while data := a.recv(65536):
                self.is_open.wait()
                b.sendall(data)
            b.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def close(self):
        self.is_open.set()
        for s in self.sockets:
            s.close()


class Pair:
    def __init__(self, dialect="auto", valve=False):
        ports = {n: free_port() for n in ("us", "us_link", "eu", "eu_link")}
        self.valve = Valve(ports["eu_link"]) if valve else None
        eu_link = self.valve.port if valve else ports["eu_link"]
        self.us = self.start("us", "eu", ports, f"127.0.0.1:{eu_link}", dialect)
        self.eu = self.start("eu", "us", ports, f"127.0.0.1:{ports['us_link']}", dialect)
        self.sub = Client(self.eu.address, 5).login("sub")
        self.sub.subscribe("t/#")
        self.pub = Client(self.us.address, 5).login("pub")
        self.up("us")
        self.up("eu")

    @staticmethod
    def start(name, other, ports, servers, dialect):
        text = TEXT.format(workers=WORKERS, name=name, other=other, port=ports[name],
                           link_port=ports[name + "_link"], servers=servers, dialect=dialect)
        return Broker(text=text, ports=[ports[name], ports[name + "_link"]])

    def up(self, name, times=1):
        broker = getattr(self, name)
        seconds_until(f"{name} is linked", lambda: broker.said().count("link up") >= times, 15)

    def down_after(self, broker):
        """Seconds until a broker says that its link is down."""
        began = time.monotonic()
        seconds_until("the link is down", lambda: "link down" in broker.said(), 10)
        return time.monotonic() - began

    def stop(self):
        for c in (self.sub, self.pub):
            c.close()
        if self.valve:
            self.valve.close()
        for b in (self.us, self.eu):
            b.stop()


def with_pair(f, **how):
    def run():
        pair = Pair(**how)
        try:
            f(pair)
        finally:
            pair.stop()
    run.__name__ = f"{f.__name__}_{how['dialect']}"
    return run


def a_link_that_is_alive_stays(pair):
    time.sleep(5)
    true("link down" not in pair.us.said() + pair.eu.said(), "a link went down")


def a_stopped_peer_is_noticed(pair):
    pair.eu.process.send_signal(signal.SIGSTOP)
    try:
        took = pair.down_after(pair.us)
    finally:
        pair.eu.process.send_signal(signal.SIGCONT)
    true(1.5 < took < NOTICED, f"noticed after {took:.1f} s")
    true("it is silent" in pair.us.said(), "another reason")
    pair.up("us", 2)


def a_stopped_peer_is_noticed_while_data_flows(pair):
    ends = threading.Event()

    def flood():
        while not ends.is_set():
            pair.pub.publish("t/x", bytes(20000), 0)
            time.sleep(0.001)

    flow = threading.Thread(target=flood)
    flow.start()
    try:
        time.sleep(0.5)
        pair.eu.process.send_signal(signal.SIGSTOP)
        took = pair.down_after(pair.us)
    finally:
        pair.eu.process.send_signal(signal.SIGCONT)
        ends.set()
        flow.join()
    true(1.5 < took < NOTICED + 1, f"noticed after {took:.1f} s")
    pair.up("us", 2)


def a_path_that_swallows_everything_is_noticed_on_both_sides(pair):
    pair.valve.is_open.clear()
    took = pair.down_after(pair.us)
    true(1.5 < took < NOTICED, f"noticed after {took:.1f} s")
    # Half-open: the other side has connections of ours that nobody will speak on any more.
    seconds_until("they are closed", lambda: "keep alive" in pair.eu.said(), 10)
    pair.valve.is_open.set()
    pair.up("us", 2)


TESTS = [with_pair(a_link_that_is_alive_stays, dialect="auto"),
         with_pair(a_stopped_peer_is_noticed, dialect="auto"),
         with_pair(a_stopped_peer_is_noticed, dialect="emqx"),
         with_pair(a_stopped_peer_is_noticed_while_data_flows, dialect="auto"),
         with_pair(a_path_that_swallows_everything_is_noticed_on_both_sides, dialect="auto", valve=True)]

if FOREIGN_PORT:
    print("ok links_need_our_own_broker")
else:
    main(TESTS)
