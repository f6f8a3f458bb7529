# tests/e2e/emqx.py -- a node of an EMQX cluster, as far as a cluster link sees it.
#
# Made from the description of the protocol and independent of the broker's own code: it listens
# where our links dial and dials where our links listen, writes and reads Erlang terms, and holds
# what it is told against what the protocol allows. With `version` 5 it talks as EMQX 5.8 (route
# connections with Clean Start 0, messages with the publisher's QoS, nothing compressed), with 6 as
# later ones (Clean Start 1, everything compressed that becomes shorter).

import hashlib
import itertools
import socket
import struct
import threading
import time
import zlib

import mqtt
from broker import seconds_until
from mqtt import CONNECT, DISCONNECT, PINGREQ, PUBACK, PUBLISH, SUBSCRIBE, Client, Failure

# ---- terms ----


class Atom(str):
    pass


def encode(t):
    if isinstance(t, Atom):
        return bytes([119, len(t)]) + t.encode()
    if isinstance(t, bool):
        return encode(Atom("true" if t else "false"))
    if isinstance(t, int):
        if 0 <= t < 256:
            return bytes([97, t])
        if -2 ** 31 <= t < 2 ** 31:
            return b"\x62" + struct.pack(">i", t)
        n = (t.bit_length() + 7) // 8
        return bytes([110, n, 0]) + t.to_bytes(n, "little")
    if isinstance(t, str):
        t = t.encode()
    if isinstance(t, bytes):
        return b"\x6d" + struct.pack(">I", len(t)) + t
    if isinstance(t, tuple):
        return bytes([104, len(t)]) + b"".join(map(encode, t))
    if isinstance(t, list):
        if not t:
            return b"\x6a"
        return b"\x6c" + struct.pack(">I", len(t)) + b"".join(map(encode, t)) + b"\x6a"
    return b"\x74" + struct.pack(">I", len(t)) + b"".join(encode(k) + encode(v)
                                                          for k, v in t.items())


def payload_of(t, compress):
    plain = encode(t)
    packed = struct.pack(">I", len(plain)) + zlib.compress(plain)
    if compress and len(packed) + 1 < len(plain):
        return b"\x83\x50" + packed
    return b"\x83" + plain


def term(b, i):
    """The term at b[i:] and where it ends; only what a broker of ours writes."""
    tag, n = b[i], i + 1
    if tag == 97:
        return b[n], n + 1
    if tag == 98:
        return struct.unpack_from(">i", b, n)[0], n + 4
    if tag == 110:
        return int.from_bytes(b[n + 2:n + 2 + b[n]], "little"), n + 2 + b[n]
    if tag == 119:
        return Atom(b[n + 1:n + 1 + b[n]].decode()), n + 1 + b[n]
    if tag == 109:
        size = struct.unpack_from(">I", b, n)[0]
        return bytes(b[n + 4:n + 4 + size]), n + 4 + size
    if tag == 106:
        return [], n
    many = {104: lambda: (b[n], n + 1), 108: lambda: (struct.unpack_from(">I", b, n)[0], n + 4),
            116: lambda: (2 * struct.unpack_from(">I", b, n)[0], n + 4)}
    if tag not in many:
        raise Failure(f"an Erlang term with tag {tag}")
    count, at = many[tag]()
    found = []
    for _ in range(count):
        one, at = term(b, at)
        found.append(one)
    if tag == 104:
        return tuple(found), at
    if tag == 116:
        return dict(zip(found[::2], found[1::2])), at
    if b[at] != 106:
        raise Failure("a list without an end")
    return found, at + 1


def decode(payload):
    if payload[:1] != b"\x83" or payload[1] == 80:
        raise Failure(f"not a plain term: {payload[:20]!r}")
    t, at = term(payload, 1)
    if at != len(payload):
        raise Failure("bytes behind a term")
    return t


OP, OK = Atom("$op"), Atom("ok")


class Connection(threading.Thread):
    """One that a broker opened to a node."""

    def __init__(self, node, sock):
        super().__init__(daemon=True)
        self.node, self.sock = node, sock
        self.client_id = ""
        self.buffer = bytearray()

    def run(self):
        try:
            while True:
                found = mqtt.take_frame(self.buffer)
                if found:
                    del self.buffer[:found[2]]
                    self.take(found[0] >> 4, found[0] & 15, mqtt.Reader(found[1]))
                    continue
                data = self.sock.recv(65536)
                if not data:
                    return
                self.buffer += data
        except OSError:
            pass
        except Exception as error:  # said by the test
            self.node.wrong = [repr(error)]
        finally:
            self.close()

    def close(self):
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.sock.close()

    def kick(self, reason):
        try:
            self.sock.sendall(mqtt.disconnect(5, reason))
        except OSError:
            pass
        self.close()

    def take(self, kind, flags, r):
        if kind == CONNECT:
            self.greet(r)
        elif kind == SUBSCRIBE:
            pid = r.u16()
            r.take(r.varint())
            self.sock.sendall(mqtt.frame(9, 0, struct.pack(">H", pid) + b"\0\1"))
        elif kind == PUBLISH:
            self.publish(flags, r)
        elif kind == PINGREQ:
            self.sock.sendall(mqtt.frame(13, 0, b""))
        elif kind == DISCONNECT:
            self.close()

    def greet(self, r):
        r.text(), r.byte(), r.byte(), r.u16()
        r.take(r.varint())
        self.client_id = r.text()
        node = self.node
        node.connects += 1
        if node.stalls:
            return
        reason = node.refuses
        self.sock.sendall(mqtt.frame(2, 0, bytes([0, reason]) + mqtt.block(
            {} if reason else {"receive_maximum": 32, "maximum_packet_size": 1 << 20})))
        if reason:
            self.close()

    def publish(self, flags, r):
        topic, qos = r.text(), flags >> 1 & 3
        pid = r.u16() if qos else 0
        props = dict(r.properties(PUBLISH))
        node = self.node
        if qos > 1 or flags & 1:
            raise Failure(f"a link's PUBLISH with flags {flags}")
        if topic == f"$LINK/cluster/msg/{node.remote}":
            node.on_message(decode(r.rest()))
        elif topic == f"$LINK/cluster/route/{node.remote}":
            if not node.on_route(self, decode(r.rest()), props):
                return
        else:
            raise Failure(f"a link publishes to {topic}")
        if qos:
            self.sock.sendall(mqtt.ack(PUBACK, pid, 0x10))


class Node:
    """`name` is its cluster, `remote` the broker's; `port` is where it listens."""

    def __init__(self, name, remote, port, version=6, node="emqx@127.0.0.1"):
        self.name, self.remote, self.port, self.version = name, remote, port, version
        self.actor = node
        self.hash = hashlib.sha1(node.encode()).hexdigest()[:8]
        self.incarnation = int(time.time() * 1000)
        self.routes, self.messages, self.wrong, self.inits = set(), [], [], []
        self.connects = self.beats = self.bootstraps = 0
        self.stalls, self.refuses, self.swallows, self.crashes = False, 0, 0, 0
        self.known = {}  # incarnations of actors
        self.connections = []
        self.lock = threading.Lock()
        self.ids = itertools.count(1)
        self.server = None
        self.route_client = None

    # ---- as the one who gives (P): our links dial it ----

    def listen(self):
        self.server = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self.accept, args=(self.server,), daemon=True).start()
        return self

    def accept(self, server):
        while True:
            try:
                sock, _ = server.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Connection(self, sock)
            self.connections.append(connection)
            connection.start()

    def cut(self, reason=None):
        """Ends all connections that were opened to it."""
        old, self.connections = self.connections, []
        for c in old:
            c.close() if reason is None else c.kick(reason)

    def deaf(self):
        """Listens no more, and ends what was opened to it."""
        if self.server:
            try:
                self.server.shutdown(socket.SHUT_RDWR)  # or accept() would hold it
            except OSError:
                pass
            self.server.close()
        self.cut()

    def stop(self):
        self.deaf()
        if self.wrong:
            raise Failure("the node says: " + "; ".join(self.wrong))

    def on_message(self, record):
        if len(record) != 10 or record[0] != Atom("message") or len(record[1]) != 16:
            raise Failure(f"no message: {record}")
        with self.lock:
            self.messages.append(record)

    def on_route(self, connection, m, props):
        """False: no PUBACK, as one that is gone."""
        if m[OP] == b"actor_init":
            return self.on_init(connection, m, props)
        if self.known.get(m[10]) != m[11]:
            connection.kick(0x83)
            return False
        if m[OP] == b"heartbeat":
            self.beats += 1
            return True
        with self.lock:
            for op in m[12]:
                if len(op) == 2:
                    self.routes.add(op)
                elif op[0] == 100:
                    self.routes.discard(op[1:])
        return True

    def on_init(self, connection, m, props):
        self.inits.append(m[11])
        if self.crashes:
            self.crashes -= 1
            connection.kick(0x83)
            return False
        if self.swallows:
            self.swallows -= 1
            return True
        answer = {10: m[10], 14: 1, 15: OK, 16: self.known.get(m[10]) != m[11],
                  OP: "actor_init_ack"}
        if m[13] != self.name.encode():
            answer[15] = (Atom("error"), "bad_remote_cluster_link_name")
            answer[16] = Atom("undefined" if self.version > 5 else "false")
        else:
            if answer[16]:
                self.routes = set()
                self.bootstraps += 1
            self.known[m[10]] = m[11]
        connection.sock.sendall(mqtt.publish(
            5, props["response_topic"], payload_of(answer, self.version > 5), 1, pid=1,
            props={"correlation_data": props["correlation_data"]}))
        return True

    def filters(self):
        with self.lock:
            return sorted(f.decode() for f, _ in self.routes)

    def payloads(self, topic=None):
        with self.lock:
            return [m[7] for m in self.messages if topic is None or m[6] == topic.encode()]

    # ---- as the one who wants (S): it dials our listener ----

    def hello(self, broker, port, actor=None):
        """Opens its route connection and introduces itself; returns the answer."""
        actor = actor or self.actor
        old = self.version < 6
        c = Client(("127.0.0.1", port))
        c.login(f"{self.name}:routesync:{self.hash}", clean=not old,
                props={"session_expiry": 60} if old else None)
        topic = f"$LINK/cluster/resp/{self.name}/{actor}"
        c.subscribe(topic, 1)
        correlation = f"{next(self.ids):016x}".encode()
        self.say(c, {10: actor, 11: self.incarnation, 13: self.remote, 14: 1, OP: "actor_init"},
                 props={"response_topic": topic, "correlation_data": correlation})
        while True:
            p = c.message(topic=topic)
            if p.get("correlation_data") == correlation:
                break
        self.route_client = c
        return decode(p.payload)

    def say(self, c, m, qos=1, props=None):
        return c.publish(f"$LINK/cluster/route/{self.name}", payload_of(m, self.version > 5), qos,
                         props=props)

    def announce(self, add=(), delete=(), actor=None):
        ops = [(f, f) for f in add] + [(100, f, f) for f in delete]
        return self.say(self.route_client, {OP: "route", 10: actor or self.actor,
                                            11: self.incarnation, 12: ops})

    def beat(self, actor=None):
        self.say(self.route_client, {OP: "heartbeat", 10: actor or self.actor,
                                     11: self.incarnation}, 0)

    def record(self, topic, payload, qos=1, retain=False, props=None, sender="device"):
        return (Atom("message"), struct.pack(">QQ", int(time.time() * 1e6), next(self.ids)), qos,
                sender, {Atom("dup"): False, Atom("retain"): retain},
                {Atom("proto_ver"): 5, Atom("protocol"): Atom("mqtt"),
                 Atom("username"): Atom("undefined"), Atom("peerhost"): (127, 0, 0, 1),
                 Atom("peername"): ((127, 0, 0, 1), 40000), Atom("client_attrs"): {},
                 Atom("properties"): props or {}},
                topic, payload, int(time.time() * 1000), {})

    def forwarder(self, port, number=1):
        return Client(("127.0.0.1", port)).login(f"{self.name}:msg:{self.hash}:{number}")

    def forward(self, c, topic, payload, qos=1, **rest):
        """Sends a message on a connection of forwarder(); the reason of the acknowledgement."""
        wire = qos if self.version < 6 else min(qos, 1)
        return c.publish(f"$LINK/cluster/msg/{self.name}",
                         payload_of(self.record(topic, payload, qos, **rest), self.version > 5),
                         wire)

    def wants(self, *filters):
        """Waits until the broker has announced exactly these."""
        seconds_until(f"routes {filters} (there are {self.filters()})",
                      lambda: self.filters() == sorted(filters), 4 * mqtt.WAIT)
