# tests/e2e/test_websocket.py -- WebSocket by hand, frame by frame (RFC 6455), plain and within TLS.

import base64
import hashlib
import os
import socket
import struct
import time

import mqtt
from broker import Failure, equal, run, test, true
from mqtt import Closed, connect, publish, subscribe, take_frame
from secure import context, make_certs, server_keys

make_certs()
TEXT = f"""
[broker]
workers = {os.environ.get("WORKERS", "2")}
[listener ws]
bind = 127.0.0.1:{{port}}
protocol = websockets
[listener wss]
bind = 127.0.0.1:{{port2}}
protocol = websockets
websockets_path = /broker
websockets_origin = https://app.example.org:8443, https://other.example.org
{server_keys()}
[listener small]
bind = 127.0.0.1:{{port3}}
protocol = websockets
websockets_path = /
websockets_headers_size = 512
"""
WS, WSS, SMALL = range(3)
CONTINUATION, TEXT_FRAME, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def ws_frame(opcode, payload=b"", fin=True, masked=True, mask=None, flags=0):
    """One frame as a client sends it."""
    mask = os.urandom(4) if mask is None else mask
    n = len(payload)
    bit = 0x80 if masked else 0
    head = bytes([(0x80 if fin else 0) | flags | opcode])
    if n < 126:
        head += bytes([bit | n])
    elif n < 65536:
        head += bytes([bit | 126]) + struct.pack(">H", n)
    else:
        head += bytes([bit | 127]) + struct.pack(">Q", n)
    if not masked:
        return head + payload
    return head + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(payload))


class Web:
    """A WebSocket connection; `events` is what came that is no data."""

    id = "websocket"
    version = 5
    trace = ()

    def __init__(self, t, number=WS, tls=None):
        self.sock = socket.create_connection(("127.0.0.1", t.broker.ports[number]), mqtt.WAIT)
        self.port = self.sock.getsockname()[1]
        if tls:
            self.sock = tls.wrap_socket(self.sock, server_hostname="localhost")
        self.raw = self.data = b""
        self.events = []
        t.clients.append(self)

    def request(self, path="/mqtt", protocol="mqtt", **rest):
        """Sends a request; `rest` changes header lines, None leaves one out. Answers the status."""
        self.key = base64.b64encode(os.urandom(16)).decode()
        lines = {"Host": "localhost", "Upgrade": "websocket", "Connection": "Upgrade",
                 "Sec-WebSocket-Key": self.key, "Sec-WebSocket-Version": "13",
                 "Sec-WebSocket-Protocol": protocol,
                 **{k.replace("_", "-"): v for k, v in rest.items()}}
        text = f"GET {path} HTTP/1.1\r\n"
        text += "".join(f"{k}: {v}\r\n" for k, v in lines.items() if v is not None)
        self.sock.sendall(text.encode() + b"\r\n")
        return self.answer()

    def answer(self):
        while b"\r\n\r\n" not in self.raw:
            self.more()
        head, self.raw = self.raw.split(b"\r\n\r\n", 1)
        lines = head.decode().split("\r\n")
        self.headers = {k.lower(): v.strip() for k, v in (x.split(":", 1) for x in lines[1:])}
        true(lines[0].startswith("HTTP/1.1 "), lines[0])
        return int(lines[0].split()[1])

    def open(self, path="/mqtt", **rest):
        equal(self.request(path, **rest), 101, "status")
        wanted = base64.b64encode(hashlib.sha1(self.key.encode() + GUID).digest()).decode()
        equal(self.headers["sec-websocket-accept"], wanted)
        return self

    def more(self):
        try:
            got = self.sock.recv(65536)
        except ConnectionResetError:
            got = b""
        if not got:
            raise Closed("the broker closed the connection")
        self.raw += got

    def take(self, n):
        while len(self.raw) < n:
            self.more()
        got, self.raw = self.raw[:n], self.raw[n:]
        return got

    def frame(self):
        """The next frame: (opcode, payload)."""
        first, second = self.take(2)
        true(first & 0x80 and not first & 0x70, f"a frame that begins with 0x{first:02x}")
        true(not second & 0x80, "the broker masks")
        n = second & 0x7f
        if n == 126:
            n = struct.unpack(">H", self.take(2))[0]
        elif n == 127:
            n = struct.unpack(">Q", self.take(8))[0]
        return first & 15, self.take(n)

    def send(self, *packets):
        for p in packets:
            self.sock.sendall(ws_frame(BINARY, p))

    def packet(self):
        """The next MQTT packet."""
        while True:
            got = take_frame(self.data)
            if got:
                first, body, used = got
                self.data = self.data[used:]
                return mqtt.Packet(first >> 4, first & 15, body, 5, used)
            opcode, payload = self.frame()
            if opcode == BINARY:
                self.data += payload
            else:
                self.events.append((opcode, payload))

    def expect(self, kind):
        p = self.packet()
        equal(p.kind, kind, "packet")
        return p

    def login(self, client_id):
        self.send(connect(5, client_id))
        equal(self.expect(mqtt.CONNACK).reason, 0)
        return self

    def closed(self, code):
        """A close frame with this code comes, then the end."""
        try:
            while True:
                opcode, payload = self.frame()
                if opcode == CLOSE:
                    break
        except Closed:
            raise Failure(f"the end without a close frame; {code} was expected") from None
        equal(struct.unpack(">H", payload[:2])[0] if payload else None, code, "code")
        try:
            self.more()
        except Closed:
            self.sock.close()
            return
        raise Failure(f"{self.raw[:20]!r} behind the close frame")

    def ended(self):
        """No frame comes any more, only the end."""
        try:
            self.more()
        except Closed:
            return
        raise Failure(f"expected the end, got {self.raw[:40]!r}")

    def close(self):
        self.sock.close()


def refused(t, number, status, path="/mqtt", **rest):
    """The request is answered with this status, and with the end."""
    c = Web(t, number, context() if number == WSS else None)
    equal(c.request(path, **rest), status, "status")
    length = int(c.headers.get("content-length", 0))
    c.take(length)
    c.ended()
    c.close()
    t.broker.says(f"peer=127.0.0.1:{c.port}", "reason=\"websocket: ")


# --------------------------------------------------------------------------------- the request ---

@test
def a_request_is_answered_with_its_sub_protocol(t):
    for offered, taken in (("mqtt", "mqtt"), ("mqttv3.1", "mqttv3.1"), ("chat, mqtt", "mqtt")):
        c = Web(t).open(protocol=offered)
        equal(c.headers.get("sec-websocket-protocol"), taken)
        equal(c.headers.get("sec-websocket-extensions"), None, "extensions")
        c.login(t.new_id())


@test
def extensions_are_not_taken(t):  # NATS CVE-2026-27571
    c = Web(t).open(Sec_WebSocket_Extensions="permessage-deflate; client_max_window_bits")
    equal(c.headers.get("sec-websocket-extensions"), None)
    c.login(t.new_id())


@test
def a_wrong_path_is_404(t):
    for path in ("/", "/mqtt/", "/mqttx", "/MQTT", "/broker"):
        refused(t, WS, 404, path)
    Web(t).open("/mqtt?token=x").login(t.new_id())
    Web(t, WSS, context()).open("/broker").login(t.new_id())
    refused(t, WSS, 404)
    Web(t, SMALL).open("/what/ever").login(t.new_id())


@test
def no_sub_protocol_is_400(t):
    refused(t, WS, 400, protocol=None)
    refused(t, WS, 400, protocol="chat")
    refused(t, WS, 400, protocol="")


@test
def a_foreign_page_is_403(t):
    good = ("https://app.example.org:8443", "https://other.example.org", None)
    for origin in good:
        Web(t, WSS, context()).open("/broker", Origin=origin).login(t.new_id())
    for origin in ("https://evil.example", "http://app.example.org:8443", "null",
                   "https://app.example.org", "https://app.example.org:8443.evil.example"):
        refused(t, WSS, 403, "/broker", Origin=origin)
    Web(t).open(Origin="https://evil.example").login(t.new_id())  # no list, so all may


@test
def what_is_no_websocket_request_is_refused(t):
    refused(t, WS, 426, Sec_WebSocket_Version="8")
    for change in ({"Sec_WebSocket_Key": "short"}, {"Sec_WebSocket_Key": None},
                   {"Connection": "close"}, {"Host": None}):
        refused(t, WS, 400, **change)
    refused(t, SMALL, 431, X_Long="x" * 600)
    for text, status in ((b"POST /mqtt HTTP/1.1\r\nHost: x\r\n\r\n", 405),
                         (b"GET /mqtt HTTP/1.0\r\nHost: x\r\n\r\n", 505),
                         (b"GET " + b"x" * 5000 + b" HTTP/1.1\r\n", 414)):
        c = Web(t)
        c.sock.sendall(text)
        equal(c.answer(), status, "status")


@test
def mqtt_and_tls_without_websocket_are_refused(t):  # NATS dc6827ade
    for first in (connect(5, "x"), b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100)):
        c = Web(t)
        c.sock.sendall(first)
        try:
            while True:
                c.more()
        except Closed:
            true(not c.raw.startswith(b"\x20"), "no CONNACK")
        t.broker.says(f"peer=127.0.0.1:{c.port}", "websocket:")


@test
def a_request_may_come_byte_by_byte_with_its_packets_behind(t):
    c = Web(t)
    key = base64.b64encode(os.urandom(16)).decode()
    text = ("GET /mqtt HTTP/1.1\r\nhost: x\r\nUPGRADE: WebSocket\r\nconnection: keep-alive, "
            f"upgrade\r\nsec-websocket-key: {key}\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Protocol: mqtt\r\n\r\n").encode()
    for byte in text + ws_frame(BINARY, connect(5, t.new_id())):
        c.sock.sendall(bytes([byte]))
    equal(c.answer(), 101)
    c.expect(mqtt.CONNACK)


# -------------------------------------------------------------------------------------- frames ---

@test
def a_ping_is_answered(t):
    c = Web(t).open()
    for payload in (b"", b"x" * 125):  # before CONNECT too
        c.sock.sendall(ws_frame(PING, payload))
        equal(c.frame(), (PONG, payload))
    c.login(t.new_id())
    c.sock.sendall(ws_frame(PING, b"there?"))
    equal(c.frame(), (PONG, b"there?"))
    c.sock.sendall(ws_frame(PONG, b"not asked for"))
    c.send(mqtt.frame(mqtt.PINGREQ, 0, b""))
    c.expect(mqtt.PINGRESP)
    equal(c.events, [])


@test
def a_close_is_echoed(t):
    for payload, code in ((struct.pack(">H", 1000) + b"bye", 1000), (b"", 1000),
                          (struct.pack(">H", 4321), 4321)):
        c = Web(t).open().login(t.new_id())
        c.sock.sendall(ws_frame(CLOSE, payload))
        opcode, answer = c.frame()
        equal(opcode, CLOSE)
        true(answer[:2] == struct.pack(">H", code) or (not payload and not answer),
             f"the close frame says {answer!r}")
        c.ended()


@test
def a_text_frame_is_1003(t):
    for name in (None, t.new_id()):
        c = Web(t).open()
        if name:
            c.login(name)
        c.sock.sendall(ws_frame(TEXT_FRAME, b"hello"))
        c.closed(1003)
        t.broker.says(f"peer=127.0.0.1:{c.port}", "text frame")


@test
def frames_that_break_the_rules_are_1002(t):
    for bad in (ws_frame(BINARY, b"\xc0\0", masked=False), ws_frame(BINARY, b"\xc0\0", flags=0x40),
                ws_frame(3), ws_frame(11), ws_frame(PING, bytes(126)), ws_frame(PING, fin=False),
                ws_frame(CONTINUATION, b"\xc0\0"), ws_frame(CLOSE, b"\x03"),
                ws_frame(CLOSE, struct.pack(">H", 1005)),
                ws_frame(BINARY, b"\xc0", fin=False) + ws_frame(BINARY, b"\0"),
                b"\x82\xfe\0\x02\0\0\0\0\xc0\0", b"\x82\xff" + b"\xff" * 8 + bytes(4)):
        c = Web(t).open().login(t.new_id())
        c.sock.sendall(bad)
        c.closed(1002)
        t.broker.says(f"peer=127.0.0.1:{c.port}", "websocket:")


@test
def packets_are_split_and_joined_by_frames(t):
    c, topic = Web(t).open().login(t.new_id()), t.topic()
    stream = subscribe(5, 1, [(topic, 1)]) + publish(5, topic, b"split", 1, pid=2)
    c.sock.sendall(b"".join(ws_frame(BINARY, bytes([b])) for b in stream))  # a byte in each
    equal(sorted(c.packet().kind for _ in range(3)), [mqtt.PUBLISH, mqtt.PUBACK, mqtt.SUBACK])
    c.send(publish(5, topic, b"1") + publish(5, topic, b"2") + publish(5, topic, b"3"))
    equal([c.expect(mqtt.PUBLISH).payload for _ in range(3)], [b"1", b"2", b"3"])
    c.send(b"", publish(5, topic, b"behind an empty frame"))
    c.expect(mqtt.PUBLISH)


@test
def messages_of_many_fragments_are_one_stream(t):
    c, topic = Web(t).open().login(t.new_id()), t.topic()
    c.send(subscribe(5, 1, [(topic, 0)]))
    c.expect(mqtt.SUBACK)
    p = publish(5, topic, b"fragmented")
    pieces = [ws_frame(BINARY if i == 0 else CONTINUATION, p[i:i + 3], fin=i + 3 >= len(p))
              for i in range(0, len(p), 3)]
    c.sock.sendall(pieces[0] + ws_frame(PING, b"in between") + b"".join(pieces[1:]))
    equal(c.expect(mqtt.PUBLISH).payload, b"fragmented")
    equal(c.events, [(PONG, b"in between")])


@test
def a_large_message_crosses_in_both_directions(t):
    payload = os.urandom(1 << 20)
    for number, path in ((WS, "/mqtt"), (WSS, "/broker")):
        c = Web(t, number, context() if number == WSS else None).open(path).login(t.new_id())
        topic = t.topic()
        c.send(subscribe(5, 1, [(topic, 1)]))
        c.expect(mqtt.SUBACK)
        p = publish(5, topic, payload, 1, pid=7)
        zero = bytes(4)  # this mask changes nothing, which is quick
        c.sock.sendall(ws_frame(BINARY, p[:300000], fin=False, mask=zero, masked=True)[:14]
                       + p[:300000] + ws_head(CONTINUATION, len(p) - 300000) + p[300000:])
        kinds = [c.packet() for _ in range(2)]
        got = next(k for k in kinds if k.kind == mqtt.PUBLISH)
        true(got.payload == payload, "the same bytes")


def ws_head(opcode, n):
    """The header of a last frame of n bytes with a mask of zeros."""
    return bytes([0x80 | opcode, 0xff]) + struct.pack(">Q", n) + bytes(4)


@test
def who_pings_and_does_not_read_costs_nothing(t):
    c = Web(t).open().login(t.new_id())
    before = t.broker.memory()
    ping = ws_frame(PING, b"p" * 125) * 200
    c.sock.settimeout(0.3)
    try:
        for _ in range(400):
            c.sock.sendall(ping)
    except socket.timeout:
        pass
    true(t.broker.memory() - before < 8 << 20, "memory for pongs that nobody reads")
    Web(t).open().login(t.new_id())


@test
def the_broker_closes_with_a_close_frame(t):
    c = Web(t).open().login(t.new_id())
    c.send(mqtt.disconnect(5))
    c.closed(1000)
    c = Web(t).open().login(t.new_id())
    c.send(b"\x00\x00")
    c.closed(1000)


@test(text=TEXT + "[limits]\nconnect_timeout = 500ms\n")
def who_does_not_ask_is_closed_in_time(t):
    began = time.monotonic()
    silent, half, opened = Web(t), Web(t), Web(t).open()
    half.sock.sendall(b"GET /mqtt HTTP/1.1\r\nHost: x\r\n")
    for c in (silent, half, opened):
        try:
            while True:
                c.more()
        except Closed:
            pass
    true(0.4 < time.monotonic() - began < 0.5 + mqtt.WAIT / 2, "closed at connect_timeout")


run(text=TEXT)
