# tests/e2e/hostile.py -- for tests of hostile peers on every transport: MQTT alone, within TLS,
# within WebSocket, within both.
#
# While they do it, clients that behave go round and round: how long a round takes, how much memory
# the broker holds and what its counters say is watched (class Watch). Bounds of time are generous,
# since the machine is shared.

import os
import select
import socket
import ssl
import statistics
import struct
import subprocess
import threading
import time

import mqtt
from broker import Failure, seconds_until, true
from mqtt import PINGREQ, connect, frame

MB = 1 << 20
HERE = os.path.dirname(os.path.abspath(__file__))
CERTS = os.path.join(os.environ["BUILD"], "certs")
subprocess.run(["bash", os.path.join(HERE, "..", "support", "certs.sh"), CERTS], check=True)
KINDS = ("mqtt", "mqtts", "ws", "wss")
KEYS = f"certfile = {CERTS}/server.crt\nkeyfile = {CERTS}/server.key\n"
CONFIG = (f"[broker]\nworkers = 2\nsys_interval = 1\n[limits]\nconnect_timeout = 3s\n"
          "[listener mqtt]\nbind = 127.0.0.1:{port}\n%s"
          "[listener mqtts]\nbind = 127.0.0.1:{port2}\n" + KEYS + "%s"
          "[listener ws]\nbind = 127.0.0.1:{port3}\nprotocol = websockets\n%s"
          "[listener wss]\nbind = 127.0.0.1:{port4}\nprotocol = websockets\n" + KEYS + "%s")
OPEN = CONFIG % (("allow_anonymous = true\n",) * 4)
PROXY = ("[broker]\nworkers = 2\nsys_interval = 1\n[limits]\nconnect_timeout = 3s\n"
         "[listener plain]\nbind = 127.0.0.1:{port}\n"
         "[listener one]\nbind = 127.0.0.1:{port2}\nproxy_protocol = on\nallow_anonymous = true\n"
         "proxy_trusted = 127.0.0.1\ndeny = 192.0.2.66\n"
         "[listener two]\nbind = 127.0.0.1:{port3}\nproxy_protocol = on\nallow_anonymous = true\n"
         "proxy_trusted = 127.0.0.1\nprotocol = websockets\n" + KEYS +
         "[listener far]\nbind = 127.0.0.1:{port4}\nproxy_protocol = on\nallow_anonymous = true\n"
         "proxy_trusted = 192.0.2.1\n")
GREETING = (b"GET /mqtt HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Protocol: mqtt\r\n\r\n")


def tls_context(version=None):
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    c.check_hostname = False
    c.verify_mode = ssl.CERT_NONE
    if version:
        c.minimum_version = c.maximum_version = version
    return c


def ws_frame(data, first=0x82, mask=b"\x01\x02\x03\x04"):
    n = len(data)
    head = bytes([first, 0x80 | n]) if n < 126 else \
        bytes([first, 0xFE]) + struct.pack(">H", n) if n < 65536 else \
        bytes([first, 0xFF]) + struct.pack(">Q", n)
    key = (mask * (n // 4 + 1))[:n]
    return head + mask + (int.from_bytes(data, "big") ^ int.from_bytes(key, "big")).to_bytes(
        n, "big")


class Peer:
    """A connection of one kind: send() goes through the layers, raw() only through TLS, and through
    none where hands were not shaken."""

    def __init__(self, t, kind, broker=None, tls=None, shake=True):
        port = (broker or t.broker).ports[KINDS.index(kind)]
        self.kind = kind
        self.id = kind
        self.trace = []
        t.clients.append(self)
        self.sock = socket.create_connection(("127.0.0.1", port), mqtt.WAIT)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.version = 5
        if not shake:
            return
        if kind in ("mqtts", "wss"):
            self.sock = (tls or tls_context()).wrap_socket(self.sock)
        if kind in ("ws", "wss"):
            self.sock.sendall(GREETING)
            got = b""
            while b"\r\n\r\n" not in got:
                got += self.sock.recv(1)
            true(got.startswith(b"HTTP/1.1 101"), repr(got))

    def send(self, data, first=0x82):
        return self.raw(ws_frame(data, first) if self.kind in ("ws", "wss") else data)

    def raw(self, data):
        """False: the broker has closed, or takes no more for now."""
        try:
            self.sock.sendall(data)
            return True
        except (OSError, ssl.SSLError):
            return False

    def got(self, seconds):
        """What comes within this time; None: the end."""
        pending = getattr(self.sock, "pending", lambda: 0)
        if not pending() and not select.select([self.sock], [], [], seconds)[0]:
            return b""
        try:
            self.sock.settimeout(0.05)
            return self.sock.recv(1 << 16) or None
        except socket.timeout:
            return b""
        except (ssl.SSLError, OSError):
            return None

    def ends(self, seconds=mqtt.WAIT):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self.got(0.2) is None:
                return
        raise Failure(f"{self.kind}: the connection is still open after {seconds} s")

    def swallow(self, seconds=0.05):
        while self.got(seconds):
            pass

    def login(self, client_id="", version=5):
        self.send(connect(version, client_id))
        got = b""
        while len(got) < 4:
            some = self.got(mqtt.WAIT)
            true(some, f"{self.kind}: no CONNACK")
            got += some
        return self

    def reset(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self):
        try:
            self.sock.close()
        except OSError:
            pass


class Watch:
    """Clients that behave, one without layers and one within TLS, while others do not."""

    def __init__(self, t, grows=24 * MB, within=0.25):
        self.t, self.grows, self.within = t, grows, within
        self.rounds = {}
        self.wrong = None
        self.is_over = threading.Event()

    def __enter__(self):
        self.before = self.t.broker.memory()
        self.threads = [threading.Thread(target=self.watch, args=(k,)) for k in ("mqtt", "mqtts")]
        for thread in self.threads:
            thread.start()
        return self

    def watch(self, kind):
        took = self.rounds[kind] = []
        try:
            port = self.t.broker.ports[KINDS.index(kind)]
            c = mqtt.Client(("127.0.0.1", port), 5)
            if kind == "mqtts" and self.t.broker.text is not PROXY:
                c.sock = tls_context().wrap_socket(c.sock)
            elif kind == "mqtts":
                c.sock.sendall(b"PROXY UNKNOWN\r\n")
            c.fill = lambda timeout: self.fill(c, timeout)
            c.login(self.t.new_id(kind))
            while not self.is_over.is_set():
                began = time.monotonic()
                c.send(frame(PINGREQ, 0, b""))
                c.expect(13)
                took.append(time.monotonic() - began)
                self.is_over.wait(0.005)
            c.logout()
        except Exception as error:
            self.wrong = self.wrong or f"the {kind} client that behaves: {error!r}"

    @staticmethod
    def fill(c, timeout):
        pending = getattr(c.sock, "pending", lambda: 0)
        if not pending() and not select.select([c.sock], [], [], max(0, timeout))[0]:
            return False
        data = c.sock.recv(1 << 16)
        if not data:
            raise mqtt.Closed("the broker closed the connection")
        c.buffer += data
        return True

    def __exit__(self, kind, error, trace):
        grown = self.t.broker.memory() - self.before
        self.is_over.set()
        for thread in self.threads:
            thread.join()
        if error:
            return
        true(not self.wrong, self.wrong)
        true(grown < self.grows, f"the broker grew by {grown >> 10} KiB")
        for name, took in self.rounds.items():
            true(took, f"{name}: no round")
            middle = statistics.median(took)
            slow = 20 if self.t.broker.is_sanitized else 1
            true(middle < self.within * slow,
                 f"{name}: a round takes {middle * 1000:.1f} ms, of {len(took)}")


def counters(t, name):
    """A counter of $SYS, as it is within the next second or so."""
    c = t.connect(5)
    c.subscribe(f"$SYS/broker/counters/{name}")
    value = 0
    try:
        while True:
            p = c.inbox.popleft() if c.inbox else c.recv(1.3, quiet=True)
            if p is None:
                return value
            value = int(p.payload)
    finally:
        c.logout()


def counts(t, name, least, before=0):
    seconds_until(f"{name} counts {least}", lambda: counters(t, name) >= before + least)


def everywhere(t, packets, ends=True, version=5, login=True):
    """Sends packets on every transport and expects the connection to end."""
    for kind in KINDS:
        for packet in packets:
            p = Peer(t, kind)
            if login:
                p.login()
            p.send(packet)
            if ends:
                p.ends()
            p.close()
