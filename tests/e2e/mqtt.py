# tests/e2e/mqtt.py -- MQTT 3.1, 3.1.1 and 5 by hand: packets written and read byte by byte.
#
# Made from the specifications and independent of the broker's own code. Every packet that comes
# from the broker is checked against what its type may hold (flags, properties, reason codes,
# lengths, UTF-8), and a Client checks on its own what holds for a whole connection: CONNACK first,
# packet ids unique while in flight, Receive Maximum, Maximum Packet Size, topic aliases. So each
# test is also a test of these.

import collections
import os
import select
import socket
import struct
import time

WAIT = float(os.environ.get("E2E_WAIT", "5"))  # how long an expected packet may take, seconds

CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP = range(1, 8)
SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK, PINGREQ, PINGRESP, DISCONNECT, AUTH = range(8, 16)
KINDS = ["RESERVED", "CONNECT", "CONNACK", "PUBLISH", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP",
         "SUBSCRIBE", "SUBACK", "UNSUBSCRIBE", "UNSUBACK", "PINGREQ", "PINGRESP", "DISCONNECT",
         "AUTH"]

# MQTT 5, table 2-4: name, identifier, form.
PROPERTIES = {
    "payload_format": (0x01, "byte"), "message_expiry": (0x02, "u32"),
    "content_type": (0x03, "text"), "response_topic": (0x08, "text"),
    "correlation_data": (0x09, "bytes"), "subscription_id": (0x0B, "varint"),
    "session_expiry": (0x11, "u32"), "assigned_client_id": (0x12, "text"),
    "server_keep_alive": (0x13, "u16"), "auth_method": (0x15, "text"),
    "auth_data": (0x16, "bytes"), "request_problem_info": (0x17, "byte"),
    "will_delay": (0x18, "u32"), "request_response_info": (0x19, "byte"),
    "response_info": (0x1A, "text"), "server_reference": (0x1C, "text"),
    "reason_string": (0x1F, "text"), "receive_maximum": (0x21, "u16"),
    "topic_alias_maximum": (0x22, "u16"), "topic_alias": (0x23, "u16"),
    "maximum_qos": (0x24, "byte"), "retain_available": (0x25, "byte"), "user": (0x26, "pair"),
    "maximum_packet_size": (0x27, "u32"), "wildcard_available": (0x28, "byte"),
    "subscription_id_available": (0x29, "byte"), "shared_available": (0x2A, "byte"),
}
BY_ID = {number: (name, form) for name, (number, form) in PROPERTIES.items()}

# What a server may put into which packet.
ACK_PROPERTIES = {"reason_string", "user"}
MAY_HOLD = {
    CONNACK: {"session_expiry", "receive_maximum", "maximum_qos", "retain_available",
              "maximum_packet_size", "assigned_client_id", "topic_alias_maximum", "reason_string",
              "user", "wildcard_available", "subscription_id_available", "shared_available",
              "server_keep_alive", "response_info", "server_reference", "auth_method",
              "auth_data"},
    PUBLISH: {"payload_format", "message_expiry", "topic_alias", "response_topic",
              "correlation_data", "user", "subscription_id", "content_type"},
    PUBACK: ACK_PROPERTIES, PUBREC: ACK_PROPERTIES, PUBREL: ACK_PROPERTIES,
    PUBCOMP: ACK_PROPERTIES, SUBACK: ACK_PROPERTIES, UNSUBACK: ACK_PROPERTIES,
    DISCONNECT: {"reason_string", "user", "server_reference"},
    AUTH: {"auth_method", "auth_data", "reason_string", "user"},
}
# Reason codes a server may send in which packet.
PUBLISH_REASONS = {0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99}
REASONS = {
    CONNACK: {0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x8C, 0x90,
              0x95, 0x97, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9F},
    PUBACK: PUBLISH_REASONS, PUBREC: PUBLISH_REASONS, PUBREL: {0x00, 0x92}, PUBCOMP: {0x00, 0x92},
    SUBACK: {0x00, 0x01, 0x02, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2},
    UNSUBACK: {0x00, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91},
    DISCONNECT: {0x00, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8B, 0x8D, 0x8E, 0x8F, 0x90, 0x93,
                 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9E, 0x9F, 0xA0,
                 0xA1, 0xA2},
}


class Failure(AssertionError):
    """Something that was expected did not happen, or something else did."""


class Closed(Failure):
    """The broker closed the connection."""


def show(value):
    """A value as it should stand in a message about a failure."""
    if isinstance(value, (bytes, bytearray)):
        return f"{bytes(value[:40])!r}" + (f"... {len(value)} bytes" if len(value) > 40 else "")
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value} (0x{value:02x})" if value > 9 else str(value)
    return repr(value)


def equal(got, wanted, what="value"):
    if got != wanted:
        raise Failure(f"{what}: expected {show(wanted)}, got {show(got)}")


def true(condition, what):
    if not condition:
        raise Failure(what)


# ------------------------------------------------------------------------------------- writing ---

def octets(value):
    return value.encode() if isinstance(value, str) else bytes(value)


def text(value):
    value = octets(value)
    return struct.pack(">H", len(value)) + value


def varint(value):
    out = bytearray()
    while True:
        value, low = divmod(value, 128)
        out.append(low | (0x80 if value else 0))
        if not value:
            return bytes(out)


def one_property(name, value):
    """`name` may be a number, with `value` the bytes behind it."""
    if isinstance(name, int):
        return varint(name) + value
    number, form = PROPERTIES[name]
    if form == "pair":
        return varint(number) + text(value[0]) + text(value[1])
    made = {"byte": lambda v: struct.pack(">B", v), "u16": lambda v: struct.pack(">H", v),
            "u32": lambda v: struct.pack(">I", v), "varint": varint, "text": text,
            "bytes": text}[form](value)
    return varint(number) + made


def block(props):
    """A property block with its length. `props`: a dict, a list of pairs, or the bytes."""
    if isinstance(props, (bytes, bytearray)):
        body = bytes(props)
    else:
        pairs = props.items() if isinstance(props, dict) else props or []
        body = b"".join(one_property(n, v) for n, v in pairs)
    return varint(len(body)) + body


def frame(kind, flags, body):
    return bytes([kind << 4 | flags]) + varint(len(body)) + body


def connect(version=5, client_id="", clean=True, keepalive=60, username=None, password=None,
            will=None, props=None, flags=None, name=None, level=None):
    """`will`: a dict of topic, payload, qos, retain, props. The last three parameters replace what
    is right."""
    bits = 0x02 if clean else 0
    if will is not None:
        bits |= 0x04 | will.get("qos", 0) << 3 | (0x20 if will.get("retain") else 0)
    bits |= (0x80 if username is not None else 0) | (0x40 if password is not None else 0)
    body = text(name if name is not None else ("MQIsdp" if version == 3 else "MQTT"))
    body += bytes([version if level is None else level, bits if flags is None else flags])
    body += struct.pack(">H", keepalive)
    if version == 5:
        body += block(props)
    body += text(client_id)
    if will is not None:
        body += block(will.get("props")) if version == 5 else b""
        body += text(will["topic"]) + text(will.get("payload", b""))
    body += text(username) if username is not None else b""
    body += text(password) if password is not None else b""
    return frame(CONNECT, 0, body)


def publish(version, topic, payload=b"", qos=0, retain=False, dup=False, pid=0, props=None):
    body = text(topic) + (struct.pack(">H", pid) if qos else b"")
    if version == 5:
        body += block(props)
    return frame(PUBLISH, (8 if dup else 0) | qos << 1 | (1 if retain else 0),
                 body + octets(payload))


def ack(kind, pid, reason=None, props=None):
    body = struct.pack(">H", pid)
    if reason is not None:
        body += bytes([reason])
    if props is not None:
        body += block(props)
    return frame(kind, 2 if kind == PUBREL else 0, body)


def subscribe(version, pid, filters, props=None):
    """`filters`: pairs of a filter and its options byte."""
    body = struct.pack(">H", pid) + (block(props) if version == 5 else b"")
    return frame(SUBSCRIBE, 2, body + b"".join(text(f) + bytes([o]) for f, o in filters))


def unsubscribe(version, pid, filters, props=None):
    body = struct.pack(">H", pid) + (block(props) if version == 5 else b"")
    return frame(UNSUBSCRIBE, 2, body + b"".join(text(f) for f in filters))


def disconnect(version, reason=None, props=None):
    body = b""
    if version == 5 and (reason is not None or props is not None):
        body = bytes([reason or 0]) + (block(props) if props is not None else b"")
    return frame(DISCONNECT, 0, body)


NO_LOCAL, AS_PUBLISHED, ONLY_NEW, NO_RETAINED = 0x04, 0x08, 0x10, 0x20  # subscription options

# ------------------------------------------------------------------------------------- reading ---


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, n):
        if self.at + n > len(self.data):
            raise Failure(f"the broker's packet ends {self.at + n - len(self.data)} bytes early")
        self.at += n
        return self.data[self.at - n:self.at]

    def byte(self):
        return self.take(1)[0]

    def u16(self):
        return struct.unpack(">H", self.take(2))[0]

    def u32(self):
        return struct.unpack(">I", self.take(4))[0]

    def bytes(self):
        return self.take(self.u16())

    def text(self):
        raw = self.bytes()
        if b"\0" in raw:
            raise Failure("the broker sent U+0000 in a text [MQTT-1.5.4-2]")
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            raise Failure("the broker sent ill-formed UTF-8 [MQTT-1.5.4-1]") from None

    def pair(self):
        return (self.text(), self.text())

    def varint(self):
        value = shift = 0
        while True:
            b = self.byte()
            value |= (b & 127) << shift
            if not b & 128:
                if shift and b == 0:
                    raise Failure("the broker sent a length in more bytes than needed "
                                  "[MQTT-1.5.5-1]")
                return value
            shift += 7
            if shift > 21:
                raise Failure("the broker sent a variable byte integer of five bytes")

    def rest(self):
        return self.take(len(self.data) - self.at)

    def left(self):
        return len(self.data) - self.at

    def properties(self, kind):
        end = self.varint()
        end += self.at
        if end > len(self.data):
            raise Failure("the broker's properties are longer than their packet")
        found = []
        while self.at < end:
            number = self.varint()
            if number not in BY_ID:
                raise Failure(f"the broker sent the unknown property 0x{number:02x}")
            name, form = BY_ID[number]
            if name not in MAY_HOLD.get(kind, ()):
                raise Failure(f"the broker sent {name} in {KINDS[kind]}")
            if name not in ("user", "subscription_id") and any(n == name for n, _ in found):
                raise Failure(f"the broker sent {name} twice in {KINDS[kind]}")
            found.append((name, getattr(self, form)()))
        if self.at != end:
            raise Failure("the broker's property block does not end where it says")
        return found


class Packet:
    """One packet from the broker; `props` is a list of pairs in the order they came."""

    def __init__(self, kind, flags, body, version, size):
        self.kind, self.flags, self.version, self.size = kind, flags, version, size
        self.body = body
        self.pid = self.reason = self.topic = self.payload = None
        self.qos = self.retain = self.dup = self.session_present = None
        self.reasons = []
        self.props = []
        self.parse(Reader(body))

    def parse(self, r):
        kind = self.kind
        if kind not in (CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK,
                        PINGRESP, DISCONNECT, AUTH) or (self.version != 5 and kind >= DISCONNECT):
            raise Failure(f"a broker does not send {KINDS[kind]} to an MQTT {self.version} client")
        if kind != PUBLISH and self.flags != (2 if kind == PUBREL else 0):
            raise Failure(f"the broker sent {KINDS[kind]} with flags {self.flags} [MQTT-2.1.3-1]")
        {CONNACK: self.connack, PUBLISH: self.publish, SUBACK: self.suback,
         UNSUBACK: self.unsuback, PINGRESP: lambda r: None,
         DISCONNECT: self.reason_only, AUTH: self.reason_only}.get(kind, self.ack)(r)
        if r.left():
            raise Failure(f"{r.left()} bytes too many in the broker's {KINDS[kind]}")
        if self.version == 5:
            for reason in [self.reason] if self.reason is not None else self.reasons:
                if reason not in REASONS.get(kind, (reason,)):
                    raise Failure(f"the broker sent reason 0x{reason:02x} in {KINDS[kind]}")

    def connack(self, r):
        first = r.byte()
        true(first in (0, 1), "CONNACK flags with reserved bits [MQTT-3.2.2-1]")
        self.session_present = first == 1
        self.reason = r.byte()
        if self.version == 5:
            self.props = r.properties(CONNACK)
            for name in ("maximum_qos", "retain_available", "wildcard_available",
                         "subscription_id_available", "shared_available"):
                true(self.get(name) in (None, 0, 1), f"{name} is {self.get(name)}")
            true(self.get("receive_maximum") != 0, "receive_maximum 0")
            true(self.get("maximum_packet_size") != 0, "maximum_packet_size 0")
        else:
            true(self.reason <= 5, f"CONNACK with return code {self.reason}")
        true(not (self.reason and self.session_present),
             "CONNACK refuses and says session present [MQTT-3.2.2-6]")

    def publish(self, r):
        self.dup, self.qos = bool(self.flags & 8), self.flags >> 1 & 3
        self.retain = bool(self.flags & 1)
        true(self.qos < 3, "the broker sent QoS 3 [MQTT-3.3.1-4]")
        true(self.qos or not self.dup, "the broker sent QoS 0 with DUP [MQTT-3.3.1-2]")
        self.topic = r.text()
        true(not set("+#") & set(self.topic), "the broker sent a wildcard topic [MQTT-3.3.2-2]")
        if self.qos:
            self.pid = r.u16()
            true(self.pid, "the broker sent packet id 0 [MQTT-2.2.1-4]")
        if self.version == 5:
            self.props = r.properties(PUBLISH)
            true(self.get("topic_alias") != 0, "the broker sent topic alias 0 [MQTT-3.3.2-10]")
            true(0 not in self.all("subscription_id"), "the broker sent subscription id 0")
        true(self.topic or self.get("topic_alias"), "the broker sent an empty topic")
        self.payload = r.rest()

    def ack(self, r):
        self.pid = r.u16()
        self.reason = 0
        if self.version == 5 and r.left():
            self.reason = r.byte()
            if r.left():
                self.props = r.properties(self.kind)

    def suback(self, r):
        self.pid = r.u16()
        if self.version == 5:
            self.props = r.properties(SUBACK)
        self.reasons = list(r.rest())
        true(self.reasons, "SUBACK without a return code")
        if self.version != 5:
            for reason in self.reasons:
                true(reason in (0, 1, 2, 0x80), f"SUBACK with 0x{reason:02x} [MQTT-3.9.3-2]")

    def unsuback(self, r):
        self.pid = r.u16()
        if self.version == 5:
            self.props = r.properties(UNSUBACK)
            self.reasons = list(r.rest())

    def reason_only(self, r):
        self.reason = 0
        if r.left():
            self.reason = r.byte()
            if r.left():
                self.props = r.properties(self.kind)

    def get(self, name, default=None):
        return next((v for n, v in self.props if n == name), default)

    def all(self, name):
        return [v for n, v in self.props if n == name]

    def __repr__(self):
        parts = [KINDS[self.kind]]
        for name in ("topic", "payload", "qos", "retain", "dup", "pid", "session_present"):
            value = getattr(self, name)
            if value is not None and value is not False:
                parts.append(f"{name}={show(value) if name == 'payload' else value}")
        if self.reason is not None:
            parts.append(f"reason=0x{self.reason:02x}")
        if self.reasons:
            parts.append("reasons=" + " ".join(f"{r:02x}" for r in self.reasons[:20]))
        if self.props:
            parts.append(f"props={self.props[:12]}")
        return " ".join(parts)


def take_frame(buffer):
    """(first byte, body, bytes used) of the first whole packet in the buffer, or None."""
    size = shift = 0
    at = 1
    while True:
        if at >= len(buffer):
            return None
        b = buffer[at]
        size |= (b & 127) << shift
        shift += 7
        at += 1
        if not b & 128:
            break
        if at == 5:
            raise Failure("the broker sent a remaining length of five bytes")
    if len(buffer) < at + size:
        return None
    return buffer[0], bytes(buffer[at:at + size]), at + size


# -------------------------------------------------------------------------------------- client ---


class Client:
    """A connection, with what every connection must obey. `trace` says what went to and fro."""

    def __init__(self, address, version=5, receive_buffer=None):
        self.version = version
        self.trace = collections.deque(maxlen=40)
        self.inbox = collections.deque()  # PUBLISH packets that came while waiting for others
        self.buffer = bytearray()
        self.connack = None
        self.id = None
        self.last_pid = 0
        self.marked = False
        self.aliases = {}
        self.alias_maximum = 0
        self.receive_maximum = 65535
        self.packet_maximum = None
        self.in_flight = {}  # packet id -> QoS, from the broker and not yet acknowledged
        self.peak = 0
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(WAIT)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.connect(address)

    # ---- bytes ----

    def note(self, arrow, data, what=""):
        shown = data[:48].hex(" ") + (f" ... {len(data)} bytes" if len(data) > 48 else "")
        self.trace.append(f"{arrow} {shown}  {what}".rstrip())

    def send(self, *packets):
        data = b"".join(packets)
        self.note(">", data)
        try:
            self.sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            self.note(">", b"", "(the broker had closed)")

    def fill(self, timeout):
        """Waits for bytes; False at the timeout."""
        if not select.select([self.sock], [], [], max(0, timeout))[0]:
            return False
        try:
            data = self.sock.recv(1 << 18)
        except ConnectionResetError:
            data = b""
        if not data:
            raise Closed("the broker closed the connection")
        self.buffer += data
        return True

    def recv(self, timeout=None, quiet=False):
        """The next packet as it comes. None at the timeout if `quiet`."""
        end = time.monotonic() + (WAIT if timeout is None else timeout)
        while True:
            got = take_frame(self.buffer)
            if got:
                first, body, used = got
                raw = bytes(self.buffer[:used]) if used <= 4096 else bytes(self.buffer[:49])
                del self.buffer[:used]
                return self.read(first, body, used, raw)
            if not self.fill(end - time.monotonic()):
                if quiet:
                    return None
                raise Failure(f"nothing came within {WAIT if timeout is None else timeout:g} s"
                              + (f" but {bytes(self.buffer[:16]).hex(' ')}" if self.buffer else ""))

    def read(self, first, body, used, raw):
        try:
            packet = Packet(first >> 4, first & 15, body, self.version, used)
        except Failure:
            self.note("<", raw, "(refused by the test)")
            raise
        self.note("<", raw, repr(packet))
        if self.packet_maximum is not None:
            true(used <= self.packet_maximum, f"{used} bytes where {self.packet_maximum} are "
                 "allowed [MQTT-3.1.2-24]")
        true(self.connack or packet.kind in (CONNACK, AUTH),
             f"{KINDS[packet.kind]} before CONNACK [MQTT-3.2.0-1]")
        true(not (self.connack and packet.kind == CONNACK), "a second CONNACK [MQTT-3.2.0-2]")
        if packet.kind == CONNACK:
            self.connack = packet
            self.id = packet.get("assigned_client_id", self.id)
        elif packet.kind == PUBLISH:
            self.note_publish(packet)
        return packet

    def note_publish(self, p):
        alias = p.get("topic_alias")
        if alias is not None:
            true(alias <= self.alias_maximum, f"topic alias {alias} where {self.alias_maximum} are "
                 "allowed [MQTT-3.1.2-26]")
            if p.topic:
                self.aliases[alias] = p.topic
            true(alias in self.aliases, f"topic alias {alias} was never set")
            p.topic = self.aliases[alias]
        if p.qos:
            true(p.pid not in self.in_flight, f"packet id {p.pid} is in flight [MQTT-2.2.1-4]")
            self.in_flight[p.pid] = p.qos
            self.peak = max(self.peak, len(self.in_flight))
            if self.version == 5:
                true(len(self.in_flight) <= self.receive_maximum, f"{len(self.in_flight)} messages "
                     f"in flight where {self.receive_maximum} are allowed [MQTT-3.3.4-9]")

    def close(self):
        """Closes without DISCONNECT."""
        if self.sock:
            self.sock.close()
            self.sock = None

    # ---- waiting for something ----

    def check(self, packet, wanted):
        for name, value in wanted.items():
            if name in PROPERTIES:
                got = packet.all(name) if isinstance(value, list) else packet.get(name)
            else:
                got = getattr(packet, name)
            if name == "payload":
                value = octets(value)
            if got != value:
                raise Failure(f"{KINDS[packet.kind]}.{name}: expected {show(value)}, got "
                              f"{show(got)}")
        return packet

    def expect(self, kind, **wanted):
        """The next packet on the wire must be this."""
        packet = self.recv()
        if packet.kind != kind:
            raise Failure(f"expected {KINDS[kind]}, got {packet}")
        return self.check(packet, wanted)

    def reply(self, kind, **wanted):
        """As expect, but PUBLISH packets may come in between; they are kept for message()."""
        while True:
            packet = self.recv()
            if packet.kind != PUBLISH:
                break
            self.inbox.append(packet)
        if packet.kind != kind:
            raise Failure(f"expected {KINDS[kind]}, got {packet}")
        return self.check(packet, wanted)

    def message(self, ack=True, timeout=None, **wanted):
        """The next PUBLISH, acknowledged unless told otherwise."""
        packet = self.inbox.popleft() if self.inbox else self.recv(timeout)
        if packet.kind != PUBLISH:
            raise Failure(f"expected PUBLISH, got {packet}")
        self.check(packet, wanted)
        if ack:
            self.acknowledge(packet)
        return packet

    def messages(self, count, ack=True):
        return [self.message(ack) for _ in range(count)]

    def acknowledge(self, p):
        if p.qos == 1:
            self.puback(p.pid)
        elif p.qos == 2:
            self.send(ack(PUBREC, p.pid))
            self.reply(PUBREL, pid=p.pid, reason=0)
            self.pubcomp(p.pid)

    def puback(self, pid):
        self.in_flight.pop(pid, None)
        self.send(ack(PUBACK, pid))

    def pubcomp(self, pid):
        self.in_flight.pop(pid, None)
        self.send(ack(PUBCOMP, pid))

    def closed(self, *reasons):
        """The broker closes, and before it says one of the reasons if it is MQTT 5."""
        said = []
        try:
            while True:
                packet = self.recv()
                if packet.kind != PUBLISH:
                    said.append(packet)
        except Closed:
            pass
        finally:
            self.close()
        if self.version != 5 or not reasons:
            true(all(p.kind == DISCONNECT for p in said), f"before closing came {said}")
            return
        wanted = " or ".join(f"0x{r:02x}" for r in reasons)
        true(len(said) == 1 and said[0].kind == DISCONNECT and said[0].reason in reasons,
             f"expected DISCONNECT with {wanted} and the end, got {said or 'only the end'}")

    def refused(self, *reasons):
        """The CONNECT just sent is not accepted: CONNACK with one of the reasons (MQTT 5 codes or
        return codes), or nothing if 0 is among them; then the broker closes."""
        said = []
        try:
            while True:
                said.append(self.recv())
        except Closed:
            pass
        finally:
            self.close()
        true(len(said) <= 1, f"expected one CONNACK at most, got {said}")
        if said:
            true(said[0].kind == CONNACK and said[0].reason in [r for r in reasons if r],
                 f"expected a refusal with {[hex(r) for r in reasons]}, got {said[0]}")
        else:
            true(0 in reasons, f"closed without the CONNACK {[hex(r) for r in reasons]}")

    # ---- whole exchanges ----

    def login(self, client_id="", clean=True, props=None, reason=0, **rest):
        """CONNECT and CONNACK."""
        self.id = client_id
        names = dict(props) if props and not isinstance(props, bytes) else {}
        self.alias_maximum = names.get("topic_alias_maximum", 0)
        self.receive_maximum = names.get("receive_maximum", 65535)
        self.packet_maximum = names.get("maximum_packet_size")
        self.send(connect(self.version, client_id, clean, props=props, **rest))
        self.expect(CONNACK, reason=reason)
        return self

    def new_pid(self):
        self.last_pid = self.last_pid % 65535 + 1
        return self.last_pid

    def subscribe(self, filters, options=0, props=None):
        """The granted QoS or reason of each filter. `filters`: one, or a list of filters or of
        pairs with options."""
        if isinstance(filters, (str, bytes)):
            filters = [filters]
        pairs = [f if isinstance(f, tuple) else (f, options) for f in filters]
        pid = self.new_pid()
        self.send(subscribe(self.version, pid, pairs, props))
        packet = self.reply(SUBACK, pid=pid)
        equal(len(packet.reasons), len(pairs), "reasons in SUBACK")
        return packet.reasons

    def unsubscribe(self, filters, props=None):
        if isinstance(filters, (str, bytes)):
            filters = [filters]
        pid = self.new_pid()
        self.send(unsubscribe(self.version, pid, filters, props))
        packet = self.reply(UNSUBACK, pid=pid)
        equal(len(packet.reasons), len(filters) if self.version == 5 else 0, "reasons in UNSUBACK")
        return packet.reasons

    def publish(self, topic, payload=b"", qos=0, retain=False, props=None, dup=False):
        """The whole hand-over; the reason of PUBACK or PUBREC (0 for QoS 0)."""
        # (A retained message at QoS 0 is followed by PINGREQ, so that it is there on return.)
        pid = self.new_pid() if qos else 0
        self.send(publish(self.version, topic, payload, qos, retain, dup, pid, props))
        if qos == 1:
            return self.reply(PUBACK, pid=pid).reason
        if qos == 2:
            reason = self.reply(PUBREC, pid=pid).reason
            if reason < 0x80:
                self.send(ack(PUBREL, pid))
                self.reply(PUBCOMP, pid=pid, reason=0)
            return reason
        if retain:
            self.ping()
        return 0

    def ping(self):
        self.send(frame(PINGREQ, 0, b""))
        self.reply(PINGRESP)

    def logout(self, reason=None, props=None):
        """DISCONNECT, and waits for the broker to see it."""
        self.send(disconnect(self.version, reason, props))
        try:
            self.sock.shutdown(socket.SHUT_WR)
            end = time.monotonic() + WAIT
            while self.fill(end - time.monotonic()):
                pass
            raise Failure("the broker does not close after DISCONNECT [MQTT-3.14.4-3]")
        except (Closed, OSError):
            self.close()

    def drop(self):
        """Ends the connection as a crash does, and waits until the broker has seen it."""
        try:
            self.sock.shutdown(socket.SHUT_WR)
            end = time.monotonic() + WAIT
            while self.fill(end - time.monotonic()):
                pass
            raise Failure("the broker does not close a connection the client has closed")
        except (Closed, OSError):
            self.close()
