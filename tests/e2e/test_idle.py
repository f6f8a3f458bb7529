# tests/e2e/test_idle.py -- what does nothing costs nothing: peers that are silent, half-closed or
# half-way in a handshake, on every transport, and links that nobody wants to accept.

import socket
import ssl
import threading
import time

import mqtt
from broker import Broker, run, seconds_until, test, true
from hostile import CERTS, CONFIG, GREETING, KINDS, Peer, tls_context
from mqtt import connect

PATIENT = (CONFIG % (("allow_anonymous = true\n",) * 4)).replace("connect_timeout = 3s",
                                                                "connect_timeout = 60s")
MUTUAL = (f"[broker]\nworkers = 2\n[listener a]\nbind = 127.0.0.1:{{port}}\n"
          f"[listener tls]\nbind = 127.0.0.1:{{port2}}\ncertfile = {CERTS}/server.crt\n"
          f"keyfile = {CERTS}/server.key\ncafile = {CERTS}/ca.crt\nrequire_certificate = true\n"
          "use_identity_as_username = true\n")
SECONDS = 1.5


def cost(broker):
    """CPU seconds of the broker while nobody does anything."""
    time.sleep(0.5)
    before = broker.cpu_seconds()
    time.sleep(SECONDS)
    return broker.cpu_seconds() - before


def hello():
    out = ssl.MemoryBIO()
    c = tls_context().wrap_bio(ssl.MemoryBIO(), out, server_hostname="localhost")
    try:
        c.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return out.read()


def in_all_states(t, kind):
    """Peers that go no further: in each state in which one may stop."""
    first = {"mqtt": connect(5, "half"), "ws": GREETING}.get(kind) or hello()
    Peer(t, kind, shake=False)
    Peer(t, kind, shake=False).raw(first[:len(first) // 2])
    if kind in ("mqtts", "wss"):
        Peer(t, kind, shake=False).raw(first)  # and does not read the answer
    Peer(t, kind)
    Peer(t, kind).send(connect(5, "half")[:9])
    Peer(t, kind).login()
    Peer(t, kind).login().send(mqtt.publish(5, "a", bytes(900))[:500])


def half_closed(t, kind):
    for login in (False, True):
        p = Peer(t, kind)
        if login:
            p.login()
        p.sock.shutdown(socket.SHUT_WR)  # below TLS, without a word


@test(text=PATIENT)
def the_silent_cost_nothing_on_any_transport(t):  # mosq#2053, CVE-2023-5632, mosq#2004
    for kind in KINDS:
        for _ in range(5):
            in_all_states(t, kind)
    spent = cost(t.broker)
    true(spent < 0.1, f"{spent:.2f} s of CPU in {SECONDS} s")


@test(text=PATIENT + "# of the half-closed\n")
def the_half_closed_cost_nothing_and_are_closed(t):  # mosq#2807, mosq#1979
    before = t.broker.files_at_rest()
    for kind in KINDS:
        for _ in range(5):
            half_closed(t, kind)
    spent = cost(t.broker)
    true(spent < 0.1, f"{spent:.2f} s of CPU in {SECONDS} s")
    seconds_until("half-closed connections are closed", lambda: t.broker.open_files() <= before)


@test(text=PATIENT + "# of those who do not read\n")
def readers_that_stop_cost_nothing_once_their_buffers_are_full(t):  # mosq#2053
    readers = [Peer(t, kind).login() for kind in KINDS for _ in range(3)]
    for p in readers:
        p.send(mqtt.subscribe(5, 1, [("flood", 0)]))
    pub = t.connect(5)
    for _ in range(300):
        pub.publish("flood", bytes(30000))
    pub.ping()
    spent = cost(t.broker)
    true(spent < 0.1, f"{spent:.2f} s of CPU in {SECONDS} s")


# ---- links that nobody accepts ----

class Refusing:
    """A server that treats each connection in its own way, and counts them."""

    def __init__(self, answer):
        self.answer = answer  # bytes; None: closes at once; "": says nothing
        self.count = 0
        self.kept = []
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.port = self.sock.getsockname()[1]
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while True:
            try:
                s, _ = self.sock.accept()
            except OSError:
                return
            self.count += 1
            if self.answer is None:
                s.close()
                continue
            self.kept.append(s)
            if self.answer:
                s.recv(1000)
                s.sendall(self.answer)

    def end(self):
        for s in self.kept:
            s.close()
        self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()


def refused_links_cost_nothing(more=""):
    with socket.create_server(("127.0.0.1", 0)) as s:
        nobody = s.getsockname()[1]
    servers = [Refusing(x) for x in (
        None, "", b"\x20\3\0\x87\0", b"\x20\3\0\x86\0", b"HTTP/1.1 400", b"\x16\3\1\2\0",
        b"\x20\3\0\0\0\xe0\2\x8b\0", bytes(5000))]
    text = "[broker]\nworkers = 2\n[cluster]\nname = here\n[listener a]\nbind = 127.0.0.1:{port}\n"
    for i, port in enumerate([nobody] + [s.port for s in servers]):
        text += f"[link l{i}]\nserver = 127.0.0.1:{port}\ntopics = #\nretry_interval = 1s\n{more}"
    b = Broker(text=text)
    try:
        time.sleep(1.0)
        before = [s.count for s in servers]
        spent = cost(b)
        tries = [s.count - n for s, n in zip(servers, before)]
        true(spent < 0.2, f"{spent:.2f} s of CPU in {SECONDS} s")
        # Each link may have several connections (2 here at most, with one worker of links).
        true(max(tries) <= 12, f"each was tried so often in {SECONDS + 0.5} s: {tries}")
        true(min(s.count for s in servers) >= 1, "not all were tried")
        c = mqtt.Client(b.address, 5).login("alive")
        c.ping()
        c.close()
        lines = b.said().count("\n")
        true(lines < 200, f"{lines} lines in the log")
    finally:
        b.stop()
        for s in servers:
            s.end()


@test(text=PATIENT)
def links_that_are_refused_cost_nothing(t):  # mosq#1979, thin-edge#2692
    refused_links_cost_nothing()


@test(text=PATIENT)
def links_that_are_refused_within_tls_cost_nothing(t):  # mosq#1979, thin-edge#2692
    refused_links_cost_nothing(f"tls = true\ncafile = {CERTS}/ca.crt\n")


# ---- memory ----

@test(text=MUTUAL)
def an_idle_client_with_a_certificate_takes_little_memory(t):  # emqx#3277, emqx#3289
    tls = tls_context()
    tls.load_cert_chain(f"{CERTS}/client.crt", f"{CERTS}/client.key")

    def come(count):
        for _ in range(count):
            p = Peer(t, "mqtts", tls=tls).login()
            p.send(mqtt.subscribe(5, 1, [(f"own/{len(t.clients)}", 1)]))
            true(p.got(mqtt.WAIT), "no SUBACK")

    come(50)
    before = t.broker.memory()
    come(300)
    each = (t.broker.memory() - before) // 300
    true(each < 16000, f"{each} bytes for each")


run(text=PATIENT)
