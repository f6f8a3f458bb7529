# tests/e2e/test_proxy.py -- PROXY headers, and which addresses may connect.

import os
import socket
import ssl
import struct

import mqtt
from broker import Failure, equal, run, test, true
from mqtt import connect
from secure import Files, at, context, make_certs, server_keys

make_certs()
FILES = Files(acl="topic readwrite #\npattern readwrite u/%u/#\n")
TEXT = f"""
[broker]
workers = {os.environ.get("WORKERS", "2")}
[auth]
acl_file = {FILES.path("acl")}
[listener any]
bind = 127.0.0.1:{{port}}
proxy_protocol = on
allow_anonymous = true
proxy_trusted = 127.0.0.1
[listener one]
bind = 127.0.0.1:{{port2}}
proxy_protocol = 1
allow_anonymous = true
[listener two]
bind = 127.0.0.1:{{port3}}
proxy_protocol = 2
allow_anonymous = true
[listener picky]
bind = 127.0.0.1:{{port4}}
proxy_protocol = on
allow_anonymous = true
allow = 198.51.100.0/24, 2001:db8::/32
deny = 198.51.100.66, 2001:db8:6::/48
[listener tls]
bind = 127.0.0.1:{{port5}}
proxy_protocol = on
allow_anonymous = true
{server_keys()}
[listener named]
bind = 127.0.0.1:{{port6}}
proxy_protocol = 2
allow_anonymous = true
use_identity_as_username = true
[listener local]
bind = 127.0.0.1:{{port7}}
allow = 127.0.0.0/8
deny = 127.0.0.66
[listener web]
bind = 127.0.0.1:{{port8}}
proxy_protocol = on
allow_anonymous = true
protocol = websockets
"""
ANY, ONE, TWO, PICKY, TLS, NAMED, LOCAL, WEB = range(8)
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def v1(source, port=40000, family=None):
    family = family or ("TCP6" if ":" in source else "TCP4")
    target = "2001:db8::1" if family == "TCP6" else "192.0.2.1"
    return f"PROXY {family} {source} {target} {port} 1883\r\n".encode()


def tlv(kind, value):
    return struct.pack(">BH", kind, len(value)) + value


def v2(source, port=40000, command=1, tlvs=b""):
    is_v6 = ":" in source
    family = socket.AF_INET6 if is_v6 else socket.AF_INET
    target = "2001:db8::1" if is_v6 else "192.0.2.1"
    body = (socket.inet_pton(family, source) + socket.inet_pton(family, target) +
            struct.pack(">HH", port, 1883) + tlvs)
    return SIGNATURE + bytes([0x20 | command, 0x21 if is_v6 else 0x11]) + struct.pack(
        ">H", len(body)) + body


def name_of_certificate(name, flags=0x07, verify=0):
    """What a balancer says that has ended TLS with a client who has a certificate."""
    return tlv(0x20, bytes([flags]) + struct.pack(">I", verify) + tlv(0x21, b"TLSv1.3") +
               tlv(0x22, name))


def behind(t, number, header, version=5):
    """A client of a balancer that has sent this header."""
    c = at(t, number, version)
    c.sock.sendall(header)
    return c


def refused(t, number, first, source=None):
    """Nothing is answered and the connection closed; returns our port."""
    with socket.create_connection(("127.0.0.1", t.broker.ports[number]), mqtt.WAIT,
                                  source_address=(source, 0) if source else None) as s:
        port = s.getsockname()[1]
        try:
            s.sendall(first)
            got = s.recv(100)
        except ConnectionError:
            got = b""
    true(not got, f"expected the end, got {got!r}")
    return port


@test
def the_address_is_that_of_the_header(t):
    for make in (v1, v2):
        for source, shown in (("198.51.100.7", "198.51.100.7:40000"),
                              ("2001:db8::7", "[2001:db8::7]:40000")):
            name = t.new_id()
            behind(t, ANY, make(source)).login(name).logout()
            t.broker.says('event="client connected"', f"client={name}", f"peer={shown}")
            t.broker.says('event="client disconnected"', f"client={name}", f"peer={shown}")


@test
def a_refusal_shows_the_real_address(t):
    c = behind(t, ANY, v2("198.51.100.8"))
    c.send(connect(5, t.new_id(), props={"auth_method": "x"}))
    c.refused(0x8C)
    t.broker.says('event="client refused"', "peer=198.51.100.8:40000")
    c = behind(t, ANY, v1("198.51.100.9"))
    c.send(b"\xff\xff\xff\xff\xff\xff")
    c.refused(0)
    t.broker.says("peer=198.51.100.9:40000")


@test
def a_header_of_the_balancer_itself_changes_nothing(t):
    for header in (b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n",
                   v2("198.51.100.7", command=0)):
        name = t.new_id()
        c = behind(t, ANY, header).login(name)
        t.broker.says('event="client connected"', f"client={name}",
                      f"peer=127.0.0.1:{c.sock.getsockname()[1]}")


@test
def a_header_may_come_in_pieces_or_with_all_that_follows(t):
    for make in (v1, v2):
        header = make("198.51.100.10")
        c = at(t, ANY)
        for byte in header:
            c.sock.sendall(bytes([byte]))
        c.login(t.new_id()).ping()
        c = at(t, ANY)
        name = t.new_id()
        c.send(header + connect(5, name) + mqtt.subscribe(5, 1, [(t.topic(), 1)]))
        c.expect(mqtt.CONNACK, reason=0)
        c.expect(mqtt.SUBACK, pid=1)
        t.broker.says(f"client={name}", "peer=198.51.100.10:40000")


@test
def values_behind_the_addresses_do_no_harm(t):
    many = tlv(0x02, b"broker.test") + tlv(0x05, b"unique") + tlv(0xE0, bytes(200))
    name = t.new_id()
    behind(t, ANY, v2("198.51.100.11", tlvs=many)).login(name)
    t.broker.says(f"client={name}", "peer=198.51.100.11:40000")


@test
def without_a_header_nobody_gets_in(t):
    for first in (connect(5, "bare"), connect(4, "bare"), b"\x16\x03\x01\x02\x00\x01\x00"):
        for number in (ANY, ONE, TWO, TLS, WEB):
            port = refused(t, number, first)
            t.broker.says(f"peer=127.0.0.1:{port}", "reason=\"proxy: ")


@test
def the_other_version_is_refused(t):
    behind(t, ONE, v1("198.51.100.12")).login(t.new_id())
    behind(t, TWO, v2("198.51.100.12")).login(t.new_id())
    refused(t, ONE, v2("198.51.100.12") + connect(5, "wrong"))
    refused(t, TWO, v1("198.51.100.12") + connect(5, "wrong"))
    t.broker.says("version not accepted")


@test
def broken_headers_are_refused(t):
    for header in (b"PROXY TCP4 198.51.100.300 192.0.2.1 1 2\r\n", b"PROXY TCP4\r\n",
                   b"PROXY TCP4 198.51.100.3 192.0.2.1 1 99999\r\n", b"PROXY " + b"x" * 200,
                   SIGNATURE + b"\x31\x11\0\x0c" + bytes(12), SIGNATURE + b"\x21\x11\0\x03abc",
                   SIGNATURE + b"\x21\x11\0\x0f" + bytes(12) + b"\x20\xff\xff"):
        port = refused(t, ANY, header + connect(5, "broken"))
        t.broker.says(f"peer=127.0.0.1:{port}", "reason=\"proxy: ")


@test
def only_a_trusted_balancer_may_connect(t):
    port = refused(t, ANY, v1("198.51.100.13") + connect(5, "evil"), source="127.0.0.2")
    t.broker.says(f"peer=127.0.0.2:{port}", '"not a trusted balancer"')
    true("198.51.100.13" not in t.broker.said(), "what it said counts for nothing")
    refused(t, ANY, connect(5, "evil"), source="127.0.0.2")


@test
def whom_a_balancer_hands_on_is_not_on_this_machine(t):
    # $SYS is for clients of this machine, whichever way the balancer comes.
    here, there = at(t, LOCAL).login(t.new_id()), behind(t, ANY, v2("198.51.100.7"))
    there.login(t.new_id())
    here.subscribe("$SYS/broker/version")
    there.subscribe("$SYS/#")
    here.message(topic="$SYS/broker/version")
    equal(t.settled(there), [])


@test
def lists_of_addresses_judge_the_real_client(t):
    for make in (v1, v2):
        for source in ("198.51.100.1", "198.51.100.255", "2001:db8::1"):
            behind(t, PICKY, make(source)).login(t.new_id()).ping()
        for source in ("198.51.100.66", "203.0.113.1", "2001:db8:6::1", "2001:db9::1",
                       "127.0.0.1"):
            refused(t, PICKY, make(source) + connect(5, "denied"))
            shown = f"[{source}]" if ":" in source else source
            t.broker.says(f"peer={shown}:40000", "listener=picky", '"address denied"')


@test
def who_is_not_named_is_judged_as_the_balancer(t):
    for header in (b"PROXY UNKNOWN\r\n", v2("198.51.100.1", command=0)):
        port = refused(t, PICKY, header + connect(5, "nobody"))
        t.broker.says(f"peer=127.0.0.1:{port}", "listener=picky", '"address denied"')


@test
def lists_of_addresses_judge_sockets_without_a_balancer(t):
    at(t, LOCAL).login(t.new_id()).ping()
    port = refused(t, LOCAL, connect(5, "denied"), source="127.0.0.66")
    t.broker.says(f"peer=127.0.0.66:{port}", "listener=local", '"address denied"')


@test
def a_header_stands_in_front_of_tls(t):
    name = t.new_id()
    c = at(t, TLS, 5, context(), before=v2("198.51.100.14")).login(name)
    equal(c.publish(t.topic(), bytes(100000), 1) & 0x80, 0)
    t.broker.says(f"client={name}", "peer=198.51.100.14:40000")
    with socket.create_connection(("127.0.0.1", t.broker.ports[TLS]), mqtt.WAIT) as s:
        s.sendall(v2("198.51.100.15"))
        try:
            context(trust="other_ca").wrap_socket(s, server_hostname="localhost")
        except ssl.SSLError:
            pass
    t.broker.says("peer=198.51.100.15:40000", "connection closed")


@test
def a_header_stands_in_front_of_websocket(t):
    with socket.create_connection(("127.0.0.1", t.broker.ports[WEB]), mqtt.WAIT) as s:
        s.sendall(v1("198.51.100.16") + b"GET /mqtt HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
                  b"Connection: upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                  b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n")
        got = s.recv(1000)
    true(got.startswith(b"HTTP/1.1 101 "), f"got {got!r}")


@test
def the_balancer_may_tell_the_certificate(t):
    name = t.new_id()
    c = behind(t, NAMED, v2("198.51.100.17", tlvs=name_of_certificate(b"pump 1")))
    c.login(name, username="somebody else")
    t.broker.says(f"client={name}", 'user="pump 1"', "peer=198.51.100.17:40000")
    equal(c.publish("u/pump 1/x", b"x", 1) & 0x80, 0)
    equal(c.publish("u/somebody else/x", b"x", 1), 0x87)


@test
def without_a_verified_certificate_there_is_no_name(t):
    for tlvs in (b"", name_of_certificate(b"pump 1", flags=0x01),
                 name_of_certificate(b"pump 1", flags=0), name_of_certificate(b"pump 1", verify=1),
                 name_of_certificate(b"")):
        for version, reason in ((4, 5), (5, 0x87)):
            c = behind(t, NAMED, v2("198.51.100.18", tlvs=tlvs), version)
            c.send(connect(version, t.new_id(), username="pump 1"))
            try:
                c.refused(reason)
            except Failure as error:
                raise Failure(f"{tlvs!r}: {error}") from None


run(text=TEXT)
